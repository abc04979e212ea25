"""What the native kernel has read of two files: facts, and rows on demand.

The kernel reads each file in one pass, validates it as `csv_reader` does, and pairs the
rows of keys that do not repeat by digests. It lists the pairs that differ, the rows
without a partner, and the rows of repeated keys, which are paired by their text. A file
that the kernel refuses is read by `csv_reader`, which reports the error.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.errors import InternalError
from recon_engine.inputs.csv_reader import make_dialect
from recon_engine.inputs.csvfile import (
    CsvFile,
    RowGroup,
)
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import Matched, Memory, Status
from recon_engine.inputs.native.texts import read_counts, take_columns
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanning import KernelRefusal
from recon_engine.model import Rejects
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from recon_engine.inputs.native.texts import Counts
    from recon_engine.inputs.scanning import ScannedSide, Scanning
    from recon_engine.runtime.progress import Progress

ROW_GROUP_BYTES: Final = 1 << 22
# Consecutive rows that are read at once, at most, and about the bytes of them: a group
# takes some milliseconds, however small it is.
RANGE_ROWS: Final = 1 << 17
RANGE_BYTES: Final = 1 << 24
NEWLINE: Final = ord("\n")
ALL: Final = slice(None)
# The lists of OLD and of NEW: pairs that differ, rows without a partner, and rows of
# repeated keys.
PAIRED: Final = (Matched.PAIRED_OLD, Matched.PAIRED_NEW)
UNMATCHED: Final = (Matched.MISSING, Matched.EXTRA)
REPEATED: Final = (Matched.REPEATED_OLD, Matched.REPEATED_NEW)
# No byte of UTF-8 is one of these.
MASKED_SEPARATOR: Final = b"\xff"
KEY_END: Final = b"\xfe"
# As `entry` in `kernel.c`: a row has 96 bits, so its `check` has 32 here, and 64 in
# frames, as on the other path.
ENTRY: Final = (
    ("key", "<u8"),
    ("row", "<u8"),
    ("check", "<u4"),
    ("number", "<u4"),
)
ENTRY_BYTES: Final = 24
DIGESTS: Final = {
    "row": pl.UInt64,
    "check": pl.UInt64,
    "key": pl.UInt64,
    "number": pl.UInt32,
}
WIDTHS: Final = {"row": 8, "check": 8, "key": 8, "number": 4}


def _copy_numbers(address: int | None, count: int) -> NDArray[np.uint32]:
    if not count:
        return np.zeros(0, np.uint32)
    raw = ctypes.string_at(address, 4 * count)  # type: ignore[arg-type]
    return np.frombuffer(raw, np.uint32)


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """Rows of a file in memory, as written; each ends with a newline."""

    kernel: ctypes.CDLL
    rows: int
    text: Memory
    offsets: Memory
    delimiter: str
    width: int

    @property
    def raw(self) -> binding.RawRows:
        """As the kernel takes them; valid as long as this object."""
        return binding.RawRows(
            self.text.address, self.offsets.address, ord(self.delimiter), self.width
        )

    def frame(
        self, names: Sequence[str], wanted: Sequence[str], some: slice = ALL
    ) -> pl.DataFrame:
        """Some columns of all rows, or of `some`; a blank is ""."""
        if not wanted:
            return pl.DataFrame()
        place = {name: number for number, name in enumerate(names)}
        first, end, _ = some.indices(self.rows)
        numbers = binding.make_numbers([place[name] for name in wanted])
        raw = ctypes.byref(self.raw)
        found = self.kernel.extract(raw, first, end, len(wanted), numbers)
        return take_columns(self.kernel, found, wanted)[0]

    def count_values(
        self,
        names: Sequence[str],
        wanted: Sequence[str],
        rows: pl.Series | None,
        most: int,
    ) -> Counts:
        """The rows by value, for some columns; None for one with more than `most`.

        `rows`: the numbers of the rows to count; all by default.
        """
        place = {name: number for number, name in enumerate(names)}
        columns = binding.make_numbers([place[name] for name in wanted])
        numbers = None if rows is None else np.ascontiguousarray(rows, np.uint32)
        address = None if numbers is None else numbers.ctypes.data
        count = self.rows if numbers is None else len(numbers)
        raw = ctypes.byref(self.raw)
        full = (ctypes.c_ubyte * max(1, len(wanted)))()
        found = self.kernel.count_values(
            raw, address, count, len(wanted), columns, most, full
        )
        return read_counts(self.kernel, found, wanted, full)

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings in columns of these names; a blank is ""."""
        return self.frame(names, names).lazy()

    def picked(self, numbers: NDArray[np.int64]) -> GatheredRows:
        """The rows of these numbers."""
        # Numbers ascend without repeats (`Rows.picked`), so these are all.
        if len(numbers) == self.rows:
            return self
        edges = np.frombuffer(self.offsets.view, np.uint64, self.rows + 1)
        places = np.ascontiguousarray(numbers, np.int64)
        offsets = np.zeros(len(places) + 1, np.uint64)
        np.cumsum(edges[places + 1] - edges[places], out=offsets[1:])
        text = Memory(self.kernel, int(offsets[-1]))
        raw = ctypes.byref(self.raw)
        self.kernel.pick(raw, places.ctypes.data, len(places), text.address)
        return GatheredRows(
            self.kernel,
            len(places),
            text,
            Memory.copy(self.kernel, offsets.data),
            self.delimiter,
            self.width,
        )


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that the kernel has read: its facts, and its rows on demand."""

    scanned: ScannedSide

    @property
    def is_open(self) -> bool:
        """Whether the kernel still knows the rows."""
        return self.scanned.is_open

    @property
    def row_bytes(self) -> float:
        """The average length of a record in bytes; 1 without records."""
        facts = self.scanned.side.facts
        return float(max(1, facts.end / max(1, facts.rows)))

    @property
    def has_one_line_per_record(self) -> bool:
        """Whether no field contains a newline."""
        return not self.scanned.side.facts.embedded

    def take(self, numbers: NDArray[np.integer]) -> GatheredRows:
        """Rows by their numbers, in this order.

        Raises InputChanged if the file was modified.
        """
        # All rows are one part of the file, which has neither gaps nor another order.
        count = self.scanned.side.facts.rows
        if 0 < count == len(numbers) and np.array_equal(numbers, np.arange(count)):
            return self.take_range(self.find_ends())
        rows = np.ascontiguousarray(numbers, np.uint32)
        return self.gather(rows.ctypes.data, len(rows))

    def gather(self, numbers: object, count: int) -> GatheredRows:
        """Rows by their numbers, which are at an address, or an array of ctypes."""
        header, side = self.scanned.header, self.scanned.side
        kernel, pointer = side.kernel, side.pointer
        offsets = Memory(kernel, 8 * (count + 1))
        where = numbers, count, offsets.address
        if not kernel.gathered_offsets(pointer, *where):
            raise InternalError("a row was requested that the file does not have")
        last = ctypes.c_uint64.from_address(offsets.address + 8 * count)
        text = Memory(kernel, last.value)
        with open_unchanged(header.path, header.uri, header.state) as descriptor:
            status = kernel.gather(pointer, descriptor, *where, text.address)
            if status:
                raise InternalError(
                    f"rows could not be read again: {Status(status).name}"
                )
        width = header.width
        return GatheredRows(kernel, count, text, offsets, header.delimiter, width)

    def find_ends(self) -> NDArray[np.uint64]:
        """Where each row begins in the file, and last where the last one ends."""
        side = self.scanned.side
        ends = np.empty(side.facts.rows + 1, np.uint64)
        ends[0] = side.kernel.side_start(side.pointer, 0)
        side.kernel.side_ends(side.pointer, ends[1:].ctypes.data)
        return ends

    def ranges(self) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """The first of some rows, and their part of `find_ends`, for all rows."""
        ends = self.find_ends()
        rows = len(ends) - 1
        row_bytes = int(ends[-1] - ends[0]) // max(1, rows) + 1
        size = min(RANGE_ROWS, 1 + RANGE_BYTES // row_bytes)
        for first in range(0, rows, size):
            yield first, ends[first : first + size + 1]

    def take_range(self, ends: NDArray[np.uint64]) -> GatheredRows:
        """Consecutive rows, which begin and end at a part of `find_ends`.

        They are not validated again. Raises InputChanged if the file was modified.
        """
        header, kernel = self.scanned.header, self.scanned.side.kernel
        start, size = int(ends[0]), int(ends[-1] - ends[0])
        offsets = ends - ends[0]
        # One byte more: the last line of a file may lack its newline.
        text = Memory(kernel, size + 1)
        with open_unchanged(header.path, header.uri, header.state) as descriptor:
            have = 0
            # A call reads at most 2 GiB.
            while have < size:
                got = os.preadv(descriptor, [text.view[have:size]], start + have)
                if not got:
                    raise InternalError("rows could not be read again: they are gone")
                have += got
        if text.view[size - 1] != NEWLINE:
            # The last line of the file.
            text.view[size:] = b"\n"
            offsets[-1] += np.uint64(1)
        return GatheredRows(
            kernel,
            len(offsets) - 1,
            text,
            Memory.copy(kernel, offsets.data),
            header.delimiter,
            header.width,
        )

    def read_totals(self) -> list[Decimal | None]:
        """The sums of the columns that a trailer sums, in the order of its options.

        None for one that is not of numbers as plain `decimal` reads them, or too large.
        """
        return self.scanned.side.read_totals()

    def take_sample(self) -> GatheredRows:
        """The sampled rows, in file order."""
        side = self.scanned.side
        pointer = side.kernel.side_sample(side.pointer)
        return self.gather(pointer, side.facts.sampled)

    def find_keys(self, keys: Sequence[Sequence[str]]) -> NDArray[np.uint32] | None:
        """The rows whose key seems to be one of `keys`, unordered.

        None if the file was only validated.
        """
        if not self.scanned.has_keys:
            return None
        side = self.scanned.side
        packed = [_pack_key(key, side.separator) for key in keys]
        return _copy_numbers(*side.find(packed))

    def start_of(self, row: int) -> int:
        """The offset of a row in the file."""
        side = self.scanned.side
        return int(side.kernel.side_start(side.pointer, row))

    def file(self) -> CsvFile:
        """The validated file."""
        header, facts = self.scanned.header, self.scanned.side.facts
        origin = header.origin
        return CsvFile(
            path=header.path,
            uri=header.uri,
            columns=header.columns,
            rows=facts.rows,
            parts=tuple(self._row_groups(facts)),
            bytes=origin.bytes if origin else facts.end + header.after,
            sha256=origin.sha256 if origin else self.scanned.sha256,
            dialect=make_dialect(
                header,
                self._newlines(facts),
                quotes=b'"' in header.raw[header.start :] or bool(facts.quotes),
                embedded=facts.embedded,
                blank_lines=facts.blanks,
            ),
            end_of_copy=bool(facts.end_of_copy),
            state=header.state,
            rejects=Rejects(),
            delimiter=header.delimiter,
            trailing=header.trailing,
            source=self,
        )

    def _newlines(self, facts: binding.Facts) -> Counter[str]:
        counts = Counter[str]()
        raw = self.scanned.header.raw
        if raw.endswith(b"\n"):
            counts["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1
        counts["CRLF"] += facts.crlf
        counts["LF"] += facts.rows - facts.unended + facts.blanks - facts.crlf
        return counts

    def _row_groups(self, facts: binding.Facts) -> Iterator[RowGroup]:
        side = self.scanned.side
        kernel, pointer = side.kernel, side.pointer
        # A run has at least this size, but for the last one.
        room = 2 + facts.end // ROW_GROUP_BYTES
        first = (ctypes.c_uint32 * room)()
        count = kernel.side_runs(pointer, ROW_GROUP_BYTES, first, room)
        edges = [*first[:count], facts.rows]
        for row, after in itertools.pairwise(edges):
            start = kernel.side_start(pointer, row)
            # Blank lines at the end of the file belong to no row.
            size = kernel.side_start(pointer, after) - start
            yield RowGroup(start, size, row, after - row)


def find_source(table: object) -> ScannedFile | None:
    """The kernel's access to the rows of a table; None if it has not read it."""
    source = table.source if isinstance(table, CsvFile) else None
    return source if isinstance(source, ScannedFile) and source.is_open else None


@dataclass(frozen=True, slots=True)
class MatchedDigests:
    """Digests of both sides, matched. `found`: in the kernel, of rows that differ."""

    kernel: ctypes.CDLL
    found: int

    @property
    def identical(self) -> int:
        """The number of pairs of identical rows."""
        return int(self.kernel.found_list(self.found, -1, None))

    def count(self, which: Matched) -> int:
        """The number of rows in a list."""
        at = ctypes.byref(ctypes.c_void_p())
        return int(self.kernel.found_list(self.found, which, at))

    def numbers(self, which: Matched) -> NDArray[np.uint32]:
        """The numbers of the rows of a list, in its order."""
        numbers = np.empty(self.count(which), np.uint32)
        where = self.found, which, 0, len(numbers), numbers.ctypes.data
        self.kernel.found_numbers(*where)
        return numbers

    def digests(self, which: Matched, part: slice = ALL) -> pl.DataFrame:
        """The digests of a list, or of a part of it, as `Buckets` has them."""
        entries = self._entries(which)[part]
        return pl.DataFrame(
            {name: entries[name].astype(f"u{kind}") for name, kind in WIDTHS.items()},
            schema=DIGESTS,
        )

    def take_digests(self, which: Matched) -> pl.DataFrame:
        """The digests of a list, which is freed: it may hold all rows."""
        digests = self.digests(which)
        self.kernel.found_forget(self.found, which)
        return digests

    def _entries(self, which: Matched) -> NDArray[np.void]:
        """A list in memory of the kernel, valid until it is freed."""
        at = ctypes.c_void_p()
        count = self.kernel.found_list(self.found, which, ctypes.byref(at))
        if not count:
            return np.empty(0, [*ENTRY])
        raw = (ctypes.c_char * (ENTRY_BYTES * count)).from_address(at.value or 0)
        return np.frombuffer(raw, [*ENTRY])


@dataclass(frozen=True, slots=True)
class MatchedFiles(MatchedDigests):
    """Both files, matched.

    `folds`: whether the rows of a key were folded before. All rows of keys that have no
    identical rows then are in the lists of repeated keys.
    """

    sides: tuple[ScannedFile, ScannedFile]
    folds: bool

    @property
    def folded_away(self) -> tuple[int, int]:
        """The rows of each side that are folded into another of identical ones."""
        old, new = (self.kernel.found_folded(self.found, side) for side in (0, 1))
        return old, new

    def take(self, which: Matched, part: slice = ALL) -> GatheredRows:
        """The rows of a list, or of a part of it, in its order."""
        start, stop, _ = part.indices(self.count(which))
        numbers = (ctypes.c_uint32 * (stop - start))()
        self.kernel.found_numbers(self.found, which, start, stop, numbers)
        # Lists of OLD have even numbers (`Matched`).
        return self.sides[which % 2].gather(numbers, stop - start)

    @property
    def differing(self) -> tuple[int, int]:
        """The rows of each side in a pair that differs, or without a partner."""
        missing, extra = map(self.count, (Matched.MISSING, Matched.EXTRA))
        return self.pairs + missing, self.pairs + extra

    @property
    def blank_keys(self) -> list[int]:
        """The rows of each side whose key has a blank."""
        return [side.scanned.side.facts.blank_keys for side in self.sides]

    @property
    def has_repeats(self) -> bool:
        """Whether a key repeats on a side, or seems to.

        If rows are folded: whether any key is left to be compared.
        """
        return any(map(self.count, REPEATED))

    @property
    def has_one_line_per_record(self) -> bool:
        """Whether no field of either file contains a newline."""
        return all(side.has_one_line_per_record for side in self.sides)

    @property
    def pairs(self) -> int:
        """The number of pairs that differ."""
        return self.count(Matched.PAIRED_OLD)

    def find_keys(self, side: int, keys: Sequence[Sequence[str]]) -> NDArray[np.uint32]:
        """The rows of a side whose key seems to be one of `keys`.

        Callable before `forget_digests`.
        """
        rows = self.sides[side].find_keys(keys)
        assert rows is not None  # noqa: S101 - rows are matched by their keys
        return rows

    def forget_digests(self) -> None:
        """Free the digests of identical rows."""
        for side in self.sides:
            side.scanned.side.forget()


@dataclass(frozen=True, slots=True)
class HeldFile(ScannedFile):
    """A file that the kernel has read, with all of its rows in memory."""

    rows: GatheredRows

    @classmethod
    def hold(cls, file: ScannedFile) -> HeldFile:
        """Read the rows once more."""
        every = np.arange(file.scanned.side.facts.rows)
        return cls(file.scanned, file.take(every))

    def take(self, numbers: NDArray[np.integer]) -> GatheredRows:
        """As of the file, which is not read for all rows in their order."""
        if np.array_equal(numbers, np.arange(self.rows.rows)):
            return self.rows
        return ScannedFile.take(self, numbers)


@contextmanager
def open_scanned(
    scanning: Scanning, progress: Progress
) -> Iterator[tuple[ScannedFile, ScannedFile]]:
    """Yield both files once they are read, as `open_matched`, without any match."""
    with closing(scanning):
        scanning.wait(progress)
        old, new = map(ScannedFile, scanning.sides)
        yield old, new


@contextmanager
def open_matched(
    scanning: Scanning, progress: Progress, most_repeated: int
) -> Iterator[MatchedFiles]:
    """Yield both files once they are read; rows can be taken as long as this lasts.

    Raises KernelRefusal if `csv_reader` has to read them, also for more than
    `most_repeated` rows of repeated keys, and InputChanged.
    """
    with closing(scanning):
        scanning.wait(progress)
        if sum(_count_listed(scanning, which) for which in REPEATED) > most_repeated:
            raise KernelRefusal(fault=False)
        yield _collect_lists(scanning)


def _collect_lists(scanning: Scanning) -> MatchedFiles:
    """The lists of all partitions; pairs and rows of repeated keys in file order."""
    kernel = scanning.kernel
    found, *others = scanning.matched
    merged = all(kernel.found_append(found, other) for other in others)
    if not (merged and kernel.found_sort(found)):
        raise MemoryError
    old, new = map(ScannedFile, scanning.sides)
    folds = scanning.folding is not None
    return MatchedFiles(kernel, found, (old, new), folds)


def _pack_key(key: Sequence[str], separator: int) -> bytes:
    """A key as the kernel digests it."""
    mark = bytes([separator])
    fields = [field.encode().replace(mark, MASKED_SEPARATOR) for field in key]
    return fields[0] if len(fields) == 1 else b"".join(f + KEY_END for f in fields)


def _count_listed(scanning: Scanning, which: Matched) -> int:
    at = ctypes.byref(ctypes.c_void_p())
    count = scanning.kernel.found_list
    return sum(count(found, which, at) for found in scanning.matched)
