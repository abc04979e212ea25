"""Validate splits of a file separately, and join their results.

Guarantee: the file that `join_results` returns, or the error it raises, is the one that
the CSV reader returns or raises for the whole file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from recon_engine.config import OnBadRow
from recon_engine.errors import InputError
from recon_engine.inputs.csv_reader import (
    CsvReader,
    ReaderCounts,
    blank_line_error,
    make_dialect,
    map_rejects,
)
from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.quarantine import MAX_LISTED
from recon_engine.inputs.trailer_sums import add_sums, check_amounts, sum_rows
from recon_engine.inputs.trailers import add_exactly, check_trailer, summed_columns
from recon_engine.model import Rejects


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from recon_engine.config import Options
    from recon_engine.inputs.csv_reader import Examine, ReadAt
    from recon_engine.inputs.csvfile import Block, RowGroup
    from recon_engine.inputs.header import Header
    from recon_engine.inputs.trailer_sums import Sums
    from recon_engine.model import Reject
    from recon_engine.spark.splits import Split


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What was read of a split: to its end, or to its `fault`.

    `begun`: whether it has a record, of which blank lines are none. `blanks`: the first
    of the blank lines at its end; `blank_lines`: how many these are. `sums`: those of
    the columns that a trailer sums; None if one has a value that is no number.
    """

    counts: ReaderCounts
    begun: bool
    blanks: tuple[Reject, ...]
    blank_lines: int
    rejects: Rejects
    fault: InputError | None
    sums: Sums = field(default_factory=dict)

    def limited_to_room(self, room: int) -> SplitResult:
        """The same, which lists no more rows than there is room for."""
        rejects = self.rejects.sample[:room]
        blanks = self.blanks[: room - len(rejects)]
        rejected = Rejects(self.rejects.count, rejects)
        return replace(self, rejects=rejected, blanks=blanks)


def read_split(
    header: Header,
    span: Split,
    read: ReadAt,
    examine: Examine,
    keep: Callable[[pl.DataFrame, RowGroup], None],
    options: Options,
) -> SplitResult:
    """Read the records of a split; `keep` gets the findings of each of its parts."""
    found_sums: list[Sums] = []

    def examine_and_sum(block: Block) -> pl.DataFrame | None:
        found_sums.append(sum_rows(block, header, options))
        return examine(block)

    sums = bool(summed_columns(header))
    gate = CsvReader(header, examine_and_sum if sums else examine, keep_ends=False)
    gate.offset, gate.line = span.start, span.line
    # `join_results` counts the header, once; the hash of a span has no use.
    gate.counts = ReaderCounts()
    gate.hashes = False
    fault: InputError | None = None
    try:
        for found in gate.read(span.read(read), lambda _: None):
            if found is not None:
                keep(found, gate.parts[-1])
    except InputError as error:
        fault = error
    return SplitResult(
        counts=gate.counts,
        begun=gate.begun,
        blanks=tuple(gate.blanks),
        blank_lines=gate.blank_lines,
        rejects=gate.quarantine.rejects,
        fault=fault,
        sums=_add_all(found_sums),
    )


def _add_all(found: Sequence[Sums]) -> Sums:
    """The sums of several blocks; None if one has none."""
    totals: dict[str, Decimal] = {}
    for sums in found:
        if sums is None:
            return None
        add_exactly(totals, sums)
    return totals


def merge_results(
    result_maps: Iterable[Mapping[int, SplitResult]],
) -> dict[int, SplitResult]:
    """The results by the numbers of their splits, with no more rows than are listed."""
    found = {at: each for few in result_maps for at, each in few.items()}
    room = MAX_LISTED
    for at in sorted(found):
        found[at] = found[at].limited_to_room(room)
        room -= len(found[at].rejects.sample) + len(found[at].blanks)
    return found


def join_results(
    header: Header,
    split_results: Iterable[SplitResult],
    sha256: str | None,
) -> CsvFile:
    """The file that its splits make up; raises the first error in it."""
    whole = _FileTotals(header)
    for each in split_results:
        # In file order, so the first fault raised is the first one of the file.
        whole.add(each)
    rows, rejected = whole.counts.rows, whole.rejected
    check_trailer(header, rows, rejected)
    return CsvFile(
        path=header.path,
        uri=header.uri,
        columns=header.columns,
        rows=rows,
        parts=(),
        bytes=header.origin.bytes if header.origin else header.bytes,
        sha256=header.origin.sha256 if header.origin else sha256,
        dialect=make_dialect(
            header,
            whole.counts.newlines,
            quotes=whole.counts.quotes,
            embedded=whole.counts.embedded,
            blank_lines=whole.blank_lines,
        ),
        end_of_copy=whole.counts.end_of_copy,
        state=header.state,
        rejects=map_rejects(header, Rejects(rejected, tuple(whole.listed))),
        delimiter=header.delimiter,
        trailing=header.trailing,
    )


def check_split_sums(
    header: Header,
    split_results: Iterable[SplitResult],
    file: CsvFile,
    options: Options,
) -> None:
    """Compare the sums of a trailer with those of all splits, as `check_sums`."""
    if summed_columns(header):
        totals = dict.fromkeys(summed_columns(header), Decimal(0))
        for each in split_results:
            add_sums(header, totals, each.sums)
        check_amounts(header, file.rows, file.rejects.count, totals, options)


class _FileTotals:
    """The sum of the splits so far.

    Its last blank lines are inside the file if a record follows.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        # A reader that has read nothing has counted the header.
        self.counts = CsvReader(header, lambda _: None, keep_ends=False).counts
        self.blanks: list[Reject] = []
        self.blank_lines = 0
        self.rejected = 0
        self.listed: list[Reject] = []

    def add(self, split_result: SplitResult) -> None:
        """Add the next span; raises its fault, unless there is one before it."""
        if split_result.begun:
            self.settle_blank_lines()
        if split_result.fault is not None:
            raise split_result.fault
        self.counts += split_result.counts
        self.add_rejects(split_result.rejects.count, split_result.rejects.sample)
        self.blank_lines += split_result.blank_lines
        self.blanks += split_result.blanks[: MAX_LISTED - len(self.blanks)]

    def settle_blank_lines(self) -> None:
        """Refuse or quarantine the pending blank lines: a record follows them."""
        # The span of the blank lines could not know whether a record follows them.
        if self.blanks and self.header.on_bad_row is not OnBadRow.QUARANTINE:
            raise blank_line_error(self.header, self.blanks[0])
        self.add_rejects(self.blank_lines, self.blanks)
        self.blanks, self.blank_lines = [], 0

    def add_rejects(self, count: int, rejects: Iterable[Reject]) -> None:
        self.rejected += count
        self.listed += list(rejects)[: MAX_LISTED - len(self.listed)]
