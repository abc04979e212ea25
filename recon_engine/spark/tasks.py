"""The work of the tasks, step by step. Every one may be run again, or twice."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import patterns, sample, totals
from recon_engine.buckets import DIGESTS
from recon_engine.causes import Told, rule_hints
from recon_engine.compare import merge
from recon_engine.csvfile import Block
from recon_engine.digest import Columns, Lines
from recon_engine.errors import OutOfBudget
from recon_engine.partial import partial, repeats_among
from recon_engine.parts import write
from recon_engine.passage import read_span
from recon_engine.reconcile import cells_of, differences, rest
from recon_engine.rfc4180 import records
from recon_engine.spark.findings import Findings
from recon_engine.spark.packets import Packet
from recon_engine.spark.settings import BUCKET, MOST
from recon_engine.structure import structure


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare import Difference
    from recon_engine.csvfile import Part as Run
    from recon_engine.digest import Seeds, Strategy
    from recon_engine.gate import ReadAt
    from recon_engine.header import Header
    from recon_engine.question import Question
    from recon_engine.sources import Source
    from recon_engine.spans import Span
    from recon_engine.spark.packets import Packets
    from recon_engine.totals import Sums

WINDOW: Final = 1 << 22
BUCKETS_A_SHARE: Final = 128
MOST_CHANGES: Final = 1 << 22
LEFT: Final = 1
SUSPECT: Final = 2
ROW: Final = np.dtype(
    [*((name, "<u8") for name in DIGESTS), ("offset", "<u8"), ("size", "<u4")]
)
WANTED: Final = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("key", "<u8"), ("why", "u1")]
)


@dataclass(frozen=True, slots=True)
class Digested:
    """Digests of rows of a side, and where these are, by the number of their span."""

    side: int
    span: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of a bucket that are to be read again, and why."""

    bucket: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of a side, as they are written, each with a newline."""

    side: int
    text: bytes
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the changes of a column, of which no other task has one.

    `distinct`: how many; `top`: the commonest, located; `changes`: all, if these are
    not too many to look for hints in.
    """

    distinct: int
    top: pl.DataFrame
    sums: Sums
    changes: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How digests are taken, and the sample: of the rows of one in `every` keys."""

    strategy: str
    seeds: Seeds
    every: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Job:
    """What every task knows: the inputs, and how they are read and compared.

    `spans`: with the number of their side; `most`: bytes of a bucket; `out`: where the
    whole difference goes.
    """

    question: Question
    headers: tuple[Header, Header]
    sources: tuple[Source, Source]
    sampling: Sampling
    spans: tuple[tuple[int, Span], ...]
    buckets: int
    most: int
    whole: int = 0
    out: str | None = None

    @property
    def shares(self) -> int:
        """Among how many tasks the changes of a column are."""
        return 1 + self.buckets // BUCKETS_A_SHARE

    def strategy_of(self, side: int) -> Strategy:
        """How digests are taken. Where records are lines was counted before."""
        names, each = self.question.names[side], self.sampling
        if each.strategy == "line":
            return Lines(names, each.seeds, each.every[side], Event())
        return Columns(names, each.seeds, each.every[side])

    def digests(self, at: int, _: Packets) -> Packets:
        """Pass a span, and send the digests of its rows to their buckets."""
        side, span = self.spans[at]
        header, strategy = self.headers[side], self.strategy_of(side)
        found: list[NDArray[np.void]] = []
        blank = 0

        def examine(block: Block) -> pl.DataFrame | None:
            digests = strategy.digest(block)
            sizes = np.diff(_ends(block, header), prepend=0)
            return None if digests is None else digests.with_columns(size=sizes)

        def keep(frame: pl.DataFrame, part: Run) -> None:
            nonlocal blank
            blank += int(frame["blank"].sum())
            found.append(_placed(frame, part))

        with self.sources[side].opened() as read:
            passage = read_span(header, span, read, examine, keep)
        drawn = (strategy.sample(),) if found else ()
        yield Packet.answer(
            at,
            Findings(
                passages={at: passage},
                blanks=(0, blank) if side else (blank, 0),
                samples=((), drawn) if side else (drawn, ()),
            ),
        )
        rows = np.concatenate([np.empty(0, ROW), *found])
        # The high bits: the low ones choose the group within a bucket.
        place = (rows["key"] >> np.uint64(32)) % np.uint64(self.buckets)
        for bucket, part in _split(rows, place):
            yield Packet.of(bucket, Digested(side, at, part))

    def leftovers(self, bucket: int, packets: Packets) -> Packets:
        """Drop what is identical in a bucket; have the rest read again."""
        sides: tuple[list[Digested], list[Digested]] = [], []
        for packet in self.within(packets):
            digested = packet.open()
            sides[digested.side].append(digested)
        tables = [_table(side) for side in sides]
        found = rest(lambda side: _frame(tables[side][0]))
        yield Packet.answer(bucket, Findings(identical=found.identical))
        for (rows, span), left, suspects in zip(
            tables, found.left, found.suspects, strict=True
        ):
            why = np.zeros(len(rows), "u1")
            why[left["number"].to_numpy()] |= LEFT
            why[suspects["number"].to_numpy()] |= SUSPECT
            wanted = np.empty(np.count_nonzero(why), WANTED)
            for name in ("offset", "size", "key"):
                wanted[name] = rows[name][why > 0]
            wanted["why"] = why[why > 0]
            for at, part in _split(wanted, span[why > 0]):
                yield Packet.of(at, Wanted(bucket, part))

    def reread(self, at: int, packets: Packets) -> Packets:
        """Read the rows of a span that are wanted, and send them to their buckets."""
        every = [packet.open() for packet in packets]
        rows = np.concatenate([each.rows for each in every])
        bucket = np.repeat(
            [each.bucket for each in every], [len(e.rows) for e in every]
        )
        order = np.argsort(rows["offset"])
        rows, bucket = rows[order], bucket[order]
        side, _ = self.spans[at]
        with self.sources[side].opened() as read:
            for start, stop in _windows(rows):
                yield from _taken(side, read, rows[start:stop], bucket[start:stop])

    def compared(self, bucket: int, packets: Packets) -> Packets:
        """Pair and compare the rows of a bucket."""
        sides: tuple[list[Taken], list[Taken]] = [], []
        for packet in self.within(packets):
            taken = packet.open()
            sides[taken.side].append(taken)
        blocks, whys, keys = zip(*map(self.block, (0, 1), sides), strict=True)
        left = [np.flatnonzero(why & LEFT) for why in whys]
        rows = [block.picked(which) for block, which in zip(blocks, left, strict=True)]
        digests = [pl.Series(key[which]) for key, which in zip(keys, left, strict=True)]
        names = self.question.names
        found = merge(differences(rows, digests, names), names[0].keys)
        repeats = [
            repeats_among(
                cells_of(block.picked(np.flatnonzero(why & SUSPECT)), each),
                each,
                each.columns,
            )
            for block, why, each in zip(blocks, whys, names, strict=True)
        ]
        whole = partial(found, 0, repeats, self.question)
        parts = write(found, bucket, self.question, self.out) if self.out else ()
        yield Packet.answer(
            bucket,
            Findings(
                partial=whole.limited(self.question, self.whole), parts=tuple(parts)
            ),
        )
        yield from self.changes(found)

    def changes(self, found: Difference) -> Packets:
        """The changes of each column, to the tasks that have them all."""
        for column, changes in patterns.located(found.cells, found.keys):
            place = np.zeros(changes.height, np.int64)
            if self.shares > 1:
                texts = sample.stable_hash(changes.select("old", "new")).to_numpy()
                place = (texts % np.uint64(self.shares)).astype(np.int64)
            for share, which in _split_numbers(place):
                yield Packet.of(column * self.shares + share, changes[which])

    def told(self, place: int, packets: Packets) -> Packets:
        """Count a share of the changes of a column; the only one tells all."""
        column, _ = divmod(place, self.shares)
        changes = patterns.together([each.open() for each in self.fitting(packets)])
        share = Share(
            distinct=changes.height,
            top=patterns.commonest(changes),
            sums=totals.of_changes(changes),
            changes=changes if changes.height * self.shares <= MOST_CHANGES else None,
        )
        if self.shares > 1:
            yield Packet.of(column, share)
        else:
            yield self.learned(column, [share])

    def told_together(self, column: int, packets: Packets) -> Packets:
        """What a column tells, by the shares of its changes."""
        yield self.learned(column, [each.open() for each in self.fitting(packets)])

    def learned(self, column: int, shares: Sequence[Share]) -> Packet:
        """Patterns, hints and sums of a column."""
        question = self.question
        name, keys = question.columns[column], question.layout.keys
        changes = [each.changes for each in shares if each.changes is not None]
        found = Told(
            patterns.in_short(
                name,
                sum(each.distinct for each in shares),
                pl.concat([each.top for each in shares]),
                keys,
            ),
            rule_hints(name, pl.concat(changes), question)
            if len(changes) == len(shares)
            else (),
            functools.reduce(totals.both, (each.sums for each in shares)),
        )
        return Packet.answer(column, Findings(told={name: found}))

    def block(
        self, side: int, taken: Sequence[Taken]
    ) -> tuple[Block, NDArray[np.uint8], NDArray[np.uint64]]:
        """The rows of a side, why they were wanted, and the digests of their keys."""
        rows = np.concatenate([np.empty(0, WANTED), *(each.rows for each in taken)])
        text = b"".join([each.text for each in taken])
        ends = np.cumsum(rows["size"], dtype=np.int64)
        delimiter = self.headers[side].delimiter
        block = Block(text, len(rows), delimiter, ends=ends)
        return block, rows["why"], rows["key"]

    def within(self, packets: Packets) -> Packets:
        """Packets of one bucket, as long as they fit into a task."""
        return self.fitting(
            packets,
            what="a bucket of keys is",
            why="one key stands on very many rows, or buckets are too large",
            mend=f"add a column to the key; or a smaller {BUCKET}; or a larger {MOST},"
            " with more memory for each task",
        )

    def fitting(
        self,
        packets: Packets,
        *,
        what: str = "the changes of a column are",
        why: str = "it differs in very many ways",
        mend: str = f"leave it out by --ignore; or a smaller {BUCKET}; or a larger"
        f" {MOST}, with more memory for each task",
    ) -> Packets:
        """Packets, as long as they fit into a task; else OutOfBudget."""
        size = 0
        for packet in packets:
            size += len(packet.data)
            if size > self.most:
                raise OutOfBudget(
                    f"{what} more than {self.most:,} bytes", why=why, help=mend
                )
            yield packet


def _ends(block: Block, header: Header) -> NDArray[np.integer]:
    """The offset behind each record of a block that passed the gate."""
    if block.ends is not None:
        return block.ends
    data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
    delimiter, width = ord(header.delimiter), len(header.columns)
    found = structure(data, delimiter, width, header.limits)
    if found is not None:
        ends = found.ends
    else:
        every = records(data, delimiter, header.limits)
        ends = np.array([record.end for record in every], np.int64)
    ends[-1] = len(block.data)
    return ends


def _placed(frame: pl.DataFrame, part: Run) -> NDArray[np.void]:
    """Rows of a part, by their places in the file."""
    rows = np.empty(frame.height, ROW)
    for name in (*DIGESTS, "size"):
        rows[name] = frame[name].to_numpy()
    starts = np.cumsum(rows["size"], dtype=np.int64) - rows["size"]
    if part.gaps is not None:
        first, last = part.gaps.astype(np.int64).T
        gone = np.cumsum(last - first)
        # Where each gap was closed, among the bytes that are left.
        seams = first - np.append(0, gone[:-1])
        at = np.searchsorted(seams, starts, side="right")
        starts += np.append(0, gone)[at]
    rows["offset"] = part.offset + starts
    return rows


def _split(
    rows: NDArray[np.void], place: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The rows of each place that has some."""
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    for at, part in zip(places, np.split(rows[order], starts[1:]), strict=False):
        yield int(at), part


def _table(side: Sequence[Digested]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All digests of a side, and the number of the span of each."""
    rows = np.concatenate([np.empty(0, ROW), *(each.rows for each in side)])
    span = np.repeat([each.span for each in side], [len(each.rows) for each in side])
    return rows, span.astype(np.int64)


def _frame(rows: NDArray[np.void]) -> pl.DataFrame:
    digests = {name: np.ascontiguousarray(rows[name]) for name in DIGESTS}
    frame = pl.DataFrame(digests, schema=dict.fromkeys(DIGESTS, pl.UInt64))
    return frame.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


def _windows(rows: NDArray[np.void]) -> Iterator[tuple[int, int]]:
    """Runs of rows that are read at once."""
    ends = rows["offset"] + rows["size"]
    start = 0
    while start < len(rows):
        within = np.searchsorted(ends, int(rows["offset"][start]) + WINDOW, "right")
        stop = max(start + 1, int(within))
        yield start, stop
        start = stop


def _taken(
    side: int, read: ReadAt, rows: NDArray[np.void], bucket: NDArray[np.integer]
) -> Packets:
    """A window of rows, by bucket."""
    first = int(rows["offset"][0])
    data = memoryview(read(int(rows["offset"][-1] + rows["size"][-1]) - first, first))
    starts = rows["offset"].astype(np.int64) - first
    for at, which in _split_numbers(bucket):
        mine = rows[which].copy()
        texts = [
            bytes(data[start : start + size])
            for start, size in zip(
                starts[which].tolist(), mine["size"].tolist(), strict=True
            )
        ]
        if not texts[-1].endswith(b"\n"):
            texts[-1] += b"\n"
            mine["size"][-1] += 1
        taken = Taken(side, b"".join(texts), mine)
        yield Packet.of(at, taken)


def _split_numbers(
    place: NDArray[np.integer],
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    for at, part in zip(places, np.split(order, starts[1:]), strict=False):
        yield int(at), part
