"""The tasks, step by step. Spark may run a task again, or twice at the same time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from recon_engine.compare.digests import CellDigests, LineDigests, all_is_compared
from recon_engine.compare.groups import compare_groups, parse_cells
from recon_engine.compare.lookup import sightings
from recon_engine.compare.pairing import merge_differences, with_kinds
from recon_engine.compare.partial_result import find_repeats, summarize_difference
from recon_engine.compare.undecided import are_judged, find_undecided
from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.scanned import PAIRED, REPEATED, UNMATCHED
from recon_engine.model import SIDES
from recon_engine.spark.column_changes import ColumnChanges
from recon_engine.spark.findings import Findings
from recon_engine.spark.kernel_splits import (
    ENTRY_TYPE,
    KernelDigests,
    digest_natively,
    gather_natively,
    match_natively,
)
from recon_engine.spark.output_parts import write_bucket
from recon_engine.spark.packets import Packet, limit_packets
from recon_engine.spark.rows import (
    LEFT,
    ROW_TYPE,
    SOUGHT,
    SUSPECT,
    TAKEN_TYPE,
    WANTED_TYPE,
    DigestedRows,
    TableReader,
    TakenRows,
    WantedRows,
    concat_rows,
    digests_as_frame,
    place_rows,
    record_ends,
    send_rows,
    split_by_place,
)
from recon_engine.spark.settings import BUCKET, MOST
from recon_engine.spark.split_reader import read_split
from recon_engine.spark.splits import cut_at_newlines


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds, Seeds, Strategy
    from recon_engine.compare.lookup import Sought
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.compare.undecided import Undecided
    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.csvfile import RowGroup as Run
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.header import Header
    from recon_engine.inputs.native.binding import ReadPlan
    from recon_engine.spark.byte_sources import ByteSource
    from recon_engine.spark.kernel_splits import Plans
    from recon_engine.spark.packets import Packets
    from recon_engine.spark.splits import Split


@dataclass(frozen=True, slots=True)
class Sampling:
    """How digests are computed; rows of one in `sample_every` keys are sampled."""

    strategy: str
    seeds: Seeds
    sample_every: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Job:
    """What every task knows: the inputs, and how they are read and compared.

    `splits`: each with the number of its side; without `is_counted`, blocks that tasks
    cut at newlines, see `splits`. `bits`: keys have 2**bits buckets, by
    the high bits of their digests. `max_bytes`: of a bucket. `whole`: how
    many differences reach the driver at least. `out`: the URL of the complete
    difference, None if it is not written. `sought`: the keys of open breaks. `kernel`:
    how the native kernel reads both files; None if Python reads them.
    """

    plan: ComparisonPlan
    headers: tuple[Header, Header]
    sources: tuple[ByteSource, ByteSource]
    sampling: Sampling
    splits: tuple[tuple[int, Split], ...]
    is_counted: bool
    bits: int
    max_bytes: int
    whole: int = 0
    out: str | None = None
    sought: Sought | None = None
    kernel: Plans | None = None

    @property
    def buckets(self) -> int:
        """The number of buckets of keys."""
        return 1 << self.bits

    @property
    def column_changes(self) -> ColumnChanges:
        """The tasks that count changes."""
        return ColumnChanges.of(self.plan, self.buckets, self.max_bytes)

    def strategy_of(self, side: int) -> Strategy | KernelDigests:
        """How digests are taken. Where records are lines was counted before."""
        if self.kernel is not None:
            return KernelDigests(self.kernel[side], self.plan.names[side])
        names, each = self.plan.names[side], self.sampling
        facts = SIDES[side], names, each.seeds, each.sample_every[side]
        return (
            LineDigests(*facts, Event())
            if each.strategy == "line"
            else CellDigests(*facts)
        )

    def digest_split(self, split_number: int, _: Packets) -> Packets:
        """Read a span, and send the digests of its rows to their buckets."""
        side, span = self.splits[split_number]
        with self.sources[side].opened() as read:
            cut: Split | None = span
            if not self.is_counted:
                header = self.headers[side]
                cut = cut_at_newlines(span, read, len(header.raw), header.end)
            if cut is None:
                yield from self.report_miscut(split_number)
            elif self.kernel is None:
                yield from self.digest_in_python(split_number, cut, read)
            else:
                yield from self.digest_by_kernel(
                    split_number, cut, read, self.kernel[side]
                )

    def digest_by_kernel(
        self, split_number: int, span: Split, read: ReadAt, plan: ReadPlan
    ) -> Packets:
        """The digests of a span of whole records, unless it was not counted."""
        side, block = self.splits[split_number]
        header, names = self.headers[side], self.plan.names[side]
        plan = replace(plan, bits=self.bits)
        with digest_natively(plan, header, span, read, names, block.start) as digested:
            if digested is not None:
                yield Packet.for_driver(
                    split_number,
                    Findings(
                        split_results=_of_side(
                            side, {split_number: digested.result}, {}
                        ),
                        blanks=_of_side(side, digested.blanks, 0),
                        samples=_of_side(side, (digested.sample,), ()),
                    ),
                )
                for bucket, rows in digested.digests_by_bucket():
                    yield Packet.for_task(
                        bucket, DigestedRows(side, split_number, rows)
                    )
                return
        # The last span of a file may have blank lines at its end.
        if self.is_counted or span.end == header.end:
            yield from self.digest_in_python(split_number, span, read)
        else:
            yield from self.report_miscut(split_number)

    def report_miscut(self, split_number: int) -> Packets:
        """Report a span that may not be one of whole records, so that all steps end."""
        yield Packet.for_driver(split_number, Findings(miscut=True))
        for bucket in range(self.buckets):
            yield Packet.for_task(bucket, None)

    def digest_in_python(self, split_number: int, span: Split, read: ReadAt) -> Packets:
        """The same by the reader in Python, which also reports what is wrong."""
        side, block = self.splits[split_number]
        header, strategy = self.headers[side], self.strategy_of(side)
        kind = ROW_TYPE if self.kernel is None else ENTRY_TYPE
        found: list[NDArray[np.void]] = []
        blank = 0

        def examine(block: Block) -> pl.DataFrame | None:
            digests = strategy.digest(block)
            sizes = np.diff(record_ends(block, header), prepend=0)
            return None if digests is None else digests.with_columns(size=sizes)

        def keep(frame: pl.DataFrame, part: Run) -> None:
            nonlocal blank
            blank += int(frame["blank"].sum())
            found.append(place_rows(frame, part, block.start, kind))

        split_result = read_split(header, span, read, examine, keep, self.plan.options)
        # Without a count, the numbers of lines are unknown.
        if not self.is_counted and (split_result.fault or split_result.rejects.count):
            yield from self.report_miscut(split_number)
            return
        drawn, tallies = (strategy.sample(),), strategy.tallies()
        yield Packet.for_driver(
            split_number,
            Findings(
                split_results=_of_side(side, {split_number: split_result}, {}),
                blanks=_of_side(side, blank, 0),
                tallies=_of_side(side, tallies, {}),
                samples=_of_side(side, drawn, ()),
            ),
        )
        rows = concat_rows(found, kind)
        # The digests are held twice from here on, not three times.
        found.clear()
        # The high bits: the low ones choose the group within a bucket. In two steps,
        # because a shift by all 64 bits is undefined.
        place = rows["key"] >> np.uint64(1) >> np.uint64(63 - self.bits)
        for bucket, part in split_by_place(rows, place):
            yield Packet.for_task(bucket, DigestedRows(side, split_number, part))

    # A bucket has all rows of its keys, on both sides: no other task has a part in what
    # is decided about them.
    def find_undecided_rows(self, bucket: int, packets: Packets) -> Packets:
        """Drop the identical rows of a bucket, and request the other rows' bytes."""
        sides: tuple[list[DigestedRows], list[DigestedRows]] = [], []
        for packet in self.limit_bucket_size(packets):
            digested = packet.open()
            if digested is None:
                return  # The files are cut again.
            sides[digested.side].append(digested)
        arrays = [[each.rows for each in side] for side in sides]
        if self.kernel is None:
            found, reasons = self.match_in_python(arrays)
        else:
            found, reasons = self.match_by_kernel(arrays)
        yield Packet.for_driver(
            bucket, Findings(identical=found.identical, left_out=found.left_out)
        )
        for side, why in zip(sides, reasons, strict=True):
            first = 0
            for digested in side:
                mine = why[first : first + len(digested.rows)]
                first += len(mine)
                which = np.flatnonzero(mine)
                if len(which):
                    wanted = np.empty(len(which), WANTED_TYPE)
                    wanted["offset"] = digested.rows["number"][which]
                    wanted["key"] = digested.rows["key"][which]
                    wanted["why"] = mine[which]
                    yield Packet.for_task(digested.span, WantedRows(bucket, wanted))

    def match_in_python(
        self, arrays: Sequence[Sequence[NDArray[np.void]]]
    ) -> tuple[Undecided, list[NDArray[np.uint8]]]:
        """The undecided rows of a bucket, and of all its rows why they are wanted."""
        keys = None if self.sought is None else self.sought.keys
        found, suspects = find_undecided(
            lambda side: digests_as_frame(concat_rows(arrays[side], ROW_TYPE)),
            all_is_compared(self.plan.names),
            keys,
            judged=are_judged(self.plan.names),
            by_cells=self.plan.names[0].prepared.either_folds,
        )
        reasons = []
        for side, rows in enumerate(arrays):
            # A row may be wanted for several reasons, and is sent once.
            why = np.zeros(sum(map(len, rows)), "u1")
            why[found.left[side]["number"].to_numpy()] |= LEFT
            why[suspects[side]] |= SUSPECT
            why[found.sought[side]["number"].to_numpy()] |= SOUGHT
            reasons.append(why)
        return found, reasons

    def match_by_kernel(
        self, arrays: Sequence[Sequence[NDArray[np.void]]]
    ) -> tuple[Undecided, list[NDArray[np.uint8]]]:
        """The same by the kernel, which leaves the rows of repeated keys to Python."""
        with match_natively(arrays, self.bits) as matched:
            found, suspects = find_undecided(
                lambda side: matched.take_digests(REPEATED[side]),
                all_is_compared(self.plan.names),
            )
            reasons = []
            for side, rows in enumerate(arrays):
                why = np.zeros(sum(map(len, rows)), "u1")
                for which in (PAIRED[side], UNMATCHED[side]):
                    why[matched.numbers(which)] |= LEFT
                why[found.left[side]["number"].to_numpy()] |= LEFT
                why[suspects[side]] |= SUSPECT
                reasons.append(why)
            identical = matched.identical + found.identical
        return replace(found, identical=identical), reasons

    def read_wanted_rows(self, at: int, packets: Packets) -> Packets:
        """Read the rows of a span that are wanted, and send them to their buckets."""
        every = [packet.open() for packet in packets]
        wanted = concat_rows((each.rows for each in every), WANTED_TYPE)
        bucket = np.repeat(
            [each.bucket for each in every], [len(e.rows) for e in every]
        )
        order = np.argsort(wanted["offset"])
        side, span = self.splits[at]
        with self.sources[side].opened() as read:
            table = TableReader.of(self.headers[side], read)
            yield from send_rows(side, table, span, wanted[order], bucket[order])

    def compare_bucket(self, bucket: int, packets: Packets) -> Packets:
        """Pair and compare the rows of a bucket."""
        sides: tuple[list[TakenRows], list[TakenRows]] = [], []
        for packet in self.limit_bucket_size(packets):
            taken = packet.open()
            sides[taken.side].append(taken)
        blocks, whys, keys = zip(*map(self.join_rows, (0, 1), sides), strict=True)
        left = [np.flatnonzero(why & LEFT) for why in whys]
        rows = [block.picked(which) for block, which in zip(blocks, left, strict=True)]
        digests = [pl.Series(key[which]) for key, which in zip(keys, left, strict=True)]
        names = self.plan.names
        found = with_kinds(
            merge_differences(compare_groups(rows, digests, names), names[0].keys),
            names[0].columns,
            names[0].chains,
        )
        repeats = [
            find_repeats(
                parse_cells(block.picked(np.flatnonzero(why & SUSPECT)), each),
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
            names,
        )
        whole = summarize_difference(found, 0, repeats, self.plan, seen)
        parts = write_bucket(found, bucket, self.plan, self.out) if self.out else ()
        yield Packet.for_driver(
            bucket,
            Findings(partial=whole.limited(self.plan, self.whole), parts=tuple(parts)),
        )
        yield from self.column_changes.send_changes(found)

    def sought_keys(
        self, block: Rows, why: NDArray[np.uint8], names: ColumnIds
    ) -> Iterator[pl.DataFrame]:
        """The keys of rows whose digest equals that of a sought key."""
        which = np.flatnonzero(why & SOUGHT)
        if len(which):
            cells = names.read_cells(block.picked(which))
            yield cells.select(names.keys).collect(engine="in-memory")

    def join_rows(
        self, side: int, taken: Sequence[TakenRows]
    ) -> tuple[Rows, NDArray[np.uint8], NDArray[np.uint64]]:
        """The rows of a side, why they were requested, and their keys' digests."""
        rows = concat_rows((each.rows for each in taken), TAKEN_TYPE)
        texts = [each.text for each in taken]
        header = self.headers[side]
        if self.kernel is not None:
            joined: Rows = gather_natively(texts, rows["size"], header)
        else:
            ends = np.cumsum(rows["size"], dtype=np.int64)
            joined = Block(
                b"".join(texts),
                len(rows),
                header.delimiter,
                ends=ends,
                trailing=header.trailing,
            )
        return joined, rows["why"], rows["key"]

    def limit_bucket_size(self, packets: Packets) -> Packets:
        """The packets of a bucket; OutOfBudget if they exceed what a task may hold."""
        return limit_packets(
            packets,
            self.max_bytes,
            "a bucket of keys takes",
            why="one key occurs on very many rows, or buckets are too large",
            remedy=f"add a column to the key, or set a smaller {BUCKET}, or a larger"
            f" {MOST} with more memory for each task",
        )


def _of_side(side: int, found: Any, none: Any) -> tuple[Any, Any]:
    """What was found of a side, beside nothing of the other."""
    return (none, found) if side else (found, none)
