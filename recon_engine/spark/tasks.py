"""The work of the tasks, step by step. Every one may be run again, or twice."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recon_engine.compare.digests import Columns, Lines, all_is_compared
from recon_engine.compare.local_engine import cells_of, differences, rest
from recon_engine.compare.lookup import sightings
from recon_engine.compare.pairing import judged, merge
from recon_engine.compare.partial_result import partial, repeats_among
from recon_engine.inputs.csvfile import Block
from recon_engine.model import SIDES
from recon_engine.spark.column_changes import Telling
from recon_engine.spark.findings import Findings
from recon_engine.spark.output_parts import write
from recon_engine.spark.packets import Packet, fitting
from recon_engine.spark.rows import (
    LEFT,
    ROW,
    SOUGHT,
    SUSPECT,
    WANTED,
    Digested,
    Taken,
    Wanted,
    batches,
    ends_of,
    frame,
    picked,
    placed,
    split,
    table,
    taken,
    together,
)
from recon_engine.spark.settings import BUCKET, MOST
from recon_engine.spark.split_reader import read_span


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.digests import Names, Seeds, Strategy
    from recon_engine.compare.lookup import Sought
    from recon_engine.compare.plan import Question
    from recon_engine.inputs.csvfile import Part as Run
    from recon_engine.inputs.header import Header
    from recon_engine.spark.byte_sources import Source
    from recon_engine.spark.packets import Packets
    from recon_engine.spark.splits import Span


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
    whole difference goes; `sought`: the keys of open breaks.
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
    sought: Sought | None = None

    @property
    def telling(self) -> Telling:
        """The tasks that count changes."""
        return Telling.of(self.question, self.buckets, self.most)

    def strategy_of(self, side: int) -> Strategy:
        """How digests are taken. Where records are lines was counted before."""
        names, each = self.question.names[side], self.sampling
        facts = SIDES[side], names, each.seeds, each.every[side]
        return Lines(*facts, Event()) if each.strategy == "line" else Columns(*facts)

    def digests(self, at: int, _: Packets) -> Packets:
        """Pass a span, and send the digests of its rows to their buckets."""
        side, span = self.spans[at]
        header, strategy = self.headers[side], self.strategy_of(side)
        found: list[NDArray[np.void]] = []
        blank = 0

        def examine(block: Block) -> pl.DataFrame | None:
            digests = strategy.digest(block)
            sizes = np.diff(ends_of(block, header), prepend=0)
            return None if digests is None else digests.with_columns(size=sizes)

        def keep(frame: pl.DataFrame, part: Run) -> None:
            nonlocal blank
            blank += int(frame["blank"].sum())
            found.append(placed(frame, part))

        with self.sources[side].opened() as read:
            passage = read_span(header, span, read, examine, keep)
        drawn, tallies = (strategy.sample(),), strategy.tallies()
        yield Packet.answer(
            at,
            Findings(
                passages=({}, {at: passage}) if side else ({at: passage}, {}),
                blanks=(0, blank) if side else (blank, 0),
                tallies=({}, tallies) if side else (tallies, {}),
                samples=((), drawn) if side else (drawn, ()),
            ),
        )
        rows = together(found, ROW)
        found.clear()
        # The high bits: the low ones choose the group within a bucket.
        place = (rows["key"] >> np.uint64(32)) % np.uint64(self.buckets)
        for bucket, part in split(rows, place):
            yield Packet.of(bucket, Digested(side, at, part))

    def leftovers(self, bucket: int, packets: Packets) -> Packets:
        """Drop what is identical in a bucket; have the rest read again."""
        sides: tuple[list[Digested], list[Digested]] = [], []
        for packet in self.within(packets):
            digested = packet.open()
            sides[digested.side].append(digested)
        tables = [table(side) for side in sides]
        whole = all_is_compared(self.question.names)
        keys = None if self.sought is None else self.sought.keys
        found, every = rest(lambda side: frame(tables[side][0]), whole, keys)
        yield Packet.answer(bucket, Findings(identical=found.identical))
        for (rows, span), left, suspects, sought in zip(
            tables, found.left, every, found.sought, strict=True
        ):
            why = np.zeros(len(rows), "u1")
            why[left["number"].to_numpy()] |= LEFT
            why[suspects] |= SUSPECT
            why[sought["number"].to_numpy()] |= SOUGHT
            wanted = np.empty(np.count_nonzero(why), WANTED)
            for name in ("offset", "size", "key"):
                wanted[name] = rows[name][why > 0]
            wanted["why"] = why[why > 0]
            for at, part in split(wanted, span[why > 0]):
                yield Packet.of(at, Wanted(bucket, part))

    def reread(self, at: int, packets: Packets) -> Packets:
        """Read the rows of a span that are wanted, and send them to their buckets."""
        every = [packet.open() for packet in packets]
        rows = together((each.rows for each in every), WANTED)
        bucket = np.repeat(
            [each.bucket for each in every], [len(e.rows) for e in every]
        )
        order = np.argsort(rows["offset"])
        rows, bucket = picked(rows, order), bucket[order]
        side, _ = self.spans[at]
        with self.sources[side].opened() as read:
            for start, stop in batches(rows):
                yield from taken(side, read, rows[start:stop], bucket[start:stop])

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
        found = judged(merge(differences(rows, digests, names), names[0].keys))
        repeats = [
            repeats_among(
                cells_of(block.picked(np.flatnonzero(why & SUSPECT)), each),
                each,
                each.columns,
            )
            for block, why, each in zip(blocks, whys, names, strict=True)
        ]
        seen = sightings(
            self.sought,
            [
                self.sought_keys(block, why, each)
                for block, why, each in zip(blocks, whys, names, strict=True)
            ],
            [side.worst for side in repeats],
            found,
            names[0],
        )
        whole = partial(found, 0, repeats, self.question, seen)
        parts = write(found, bucket, self.question, self.out) if self.out else ()
        yield Packet.answer(
            bucket,
            Findings(
                partial=whole.limited(self.question, self.whole), parts=tuple(parts)
            ),
        )
        yield from self.telling.sent(found)

    def sought_keys(
        self, block: Block, why: NDArray[np.uint8], names: Names
    ) -> Iterator[pl.DataFrame]:
        """The keys of the rows that seem to have one that is sought."""
        which = np.flatnonzero(why & SOUGHT)
        if len(which):
            cells = block.picked(which).cells(names.all)
            yield cells.select(names.keys).collect(engine="in-memory")

    def block(
        self, side: int, taken: Sequence[Taken]
    ) -> tuple[Block, NDArray[np.uint8], NDArray[np.uint64]]:
        """The rows of a side, why they were wanted, and the digests of their keys."""
        rows = together((each.rows for each in taken), WANTED)
        text = b"".join([each.text for each in taken])
        ends = np.cumsum(rows["size"], dtype=np.int64)
        delimiter = self.headers[side].delimiter
        block = Block(text, len(rows), delimiter, ends=ends)
        return block, rows["why"], rows["key"]

    def within(self, packets: Packets) -> Packets:
        """Packets of one bucket, as long as they fit into a task."""
        return fitting(
            packets,
            self.most,
            "a bucket of keys is",
            why="one key stands on very many rows, or buckets are too large",
            mend=f"add a column to the key; or a smaller {BUCKET}; or a larger {MOST},"
            " with more memory for each task",
        )
