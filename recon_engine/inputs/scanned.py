"""What the native kernel has read of two files: facts, and rows on demand.

The kernel reads each file in one pass, validates it as `csv_reader` does, and pairs the
rows of keys that do not repeat by digests. It lists the pairs that differ, the rows
without a partner, and the rows of repeated keys, which are paired by their text. A file
that the kernel refuses is read by `csv_reader`, which words the error.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from recon_engine.errors import InternalError
from recon_engine.inputs.csv_reader import make_dialect
from recon_engine.inputs.csvfile import (
    CsvFile,
    RowGroup,
    as_arrow_array,
    as_binary_array,
)
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import Matched, Status
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanning import KernelRefusal
from recon_engine.model import Rejects
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.inputs.scanning import ScannedSide, Scanning
    from recon_engine.runtime.progress import Progress

ROW_GROUP_BYTES: Final = 1 << 22
ALL: Final = slice(None)
REPEATED: Final = (Matched.REPEATED_OLD, Matched.REPEATED_NEW)
# No byte of UTF-8 is one of these.
SEPARATOR: Final = bytes([binding.SEPARATOR])
MASKED_SEPARATOR: Final = b"\xff"
KEY_END: Final = b"\xfe"
ENTRY: Final = np.dtype(
    [
        ("key", "<u8"),
        ("rest", "<u4"),
        ("number", "<u4"),
        ("row", "<u8"),
        ("check", "<u8"),
    ]
)


_make_capsule = ctypes.pythonapi.PyCapsule_New
_make_capsule.restype = ctypes.py_object
_make_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class TextColumns:
    """Columns of text in memory of the kernel, which lives as long as this."""

    def __init__(self, kernel: ctypes.CDLL, pointer: int | None) -> None:
        if not pointer:
            raise InternalError("the native kernel could not split rows it had read")
        self._kernel = kernel
        self._pointer = pointer

    def __del__(self) -> None:
        """Free the memory, to which no array points any more."""
        if pointer := getattr(self, "_pointer", None):
            self._kernel.columns_free(pointer)

    def take_texts(self, at: int) -> pl.Series:
        """A column, without a copy; callable once."""
        return pl.Series(TextArray(self._kernel, self._pointer, at))

    def cells(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]:
        """The pair and the column of each cell; the cells of keys that differ.

        Callable before the texts are taken.
        """
        pairs, ordinals, ends = (ctypes.c_void_p() for _ in range(3))
        both = ctypes.byref(pairs), ctypes.byref(ordinals)
        collisions = self._kernel.columns_cells(self._pointer, *both)
        text = ctypes.byref(ctypes.c_void_p()), ctypes.byref(ends)
        count = self._kernel.columns_text(self._pointer, 0, *text)
        first, second = (_copy_numbers(at.value, count) for at in (pairs, ordinals))
        return first, second, collisions


class TextArray:
    """A column that any library can import by Arrow's C data interface, once.

    Unlike pyarrow, which takes a third as long to import as Polars, it costs nothing.
    """

    def __init__(self, kernel: ctypes.CDLL, columns: int, at: int) -> None:
        self._kernel = kernel
        self._array, self._schema = binding.ArrowArray(), binding.ArrowSchema()
        to = ctypes.byref(self._array), ctypes.byref(self._schema)
        if not kernel.columns_export(columns, at, *to):
            raise MemoryError

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        """Capsules of the schema and of the array; the consumer takes the memory."""
        del requested_schema
        return (
            _make_capsule(ctypes.addressof(self._schema), b"arrow_schema", None),
            _make_capsule(ctypes.addressof(self._array), b"arrow_array", None),
        )

    def __del__(self) -> None:
        """Free the memory if no consumer has taken it."""
        self._kernel.array_free(ctypes.byref(self._array))


def _copy_numbers(address: int | None, count: int) -> NDArray[np.uint32]:
    if not count:
        return np.zeros(0, np.uint32)
    raw = ctypes.string_at(address, 4 * count)  # type: ignore[arg-type]
    return np.frombuffer(raw, np.uint32)


@dataclass(frozen=True, slots=True)
class GatheredRows:
    """Rows of a file in memory, as written; each ends with a newline."""

    kernel: ctypes.CDLL
    text: NDArray[np.uint8]
    offsets: NDArray[np.uint64]
    delimiter: str
    width: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    @property
    def raw(self) -> binding.RawRows:
        """As the kernel takes them; valid as long as this object."""
        return binding.RawRows(
            self.text.ctypes.data,
            self.offsets.ctypes.data,
            ord(self.delimiter),
            self.width,
        )

    def frame(
        self, names: Sequence[str], wanted: Sequence[str], most: int | None = None
    ) -> pl.DataFrame:
        """Some columns of all rows, or of the first `most`; a blank is ""."""
        place = {name: number for number, name in enumerate(names)}
        rows = self.rows if most is None else min(most, self.rows)
        numbers = binding.make_numbers([place[name] for name in wanted])
        raw = self.raw
        columns = TextColumns(
            self.kernel,
            self.kernel.extract(ctypes.byref(raw), 0, rows, len(wanted), numbers),
        )
        return pl.DataFrame(
            [columns.take_texts(n).alias(name) for n, name in enumerate(wanted)]
        )

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings in columns of these names; a blank is ""."""
        return self.frame(names, names).lazy()

    def picked(self, numbers: NDArray[np.int64]) -> GatheredRows:
        """The rows of these numbers."""
        if len(numbers) == self.rows:
            return self
        lines = as_binary_array(self.offsets.astype(np.int64), self.text)
        _, edges, text = lines.take(as_arrow_array(numbers)).buffers()
        offsets = np.frombuffer(edges, np.int64)[: len(numbers) + 1].astype(np.uint64)
        data = np.frombuffer(text, np.uint8) if text else self.text[:0]
        return GatheredRows(self.kernel, data, offsets, self.delimiter, self.width)


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that the kernel has read: its facts, and its rows on demand."""

    scanned: ScannedSide

    @property
    def is_open(self) -> bool:
        """Whether the kernel still knows the rows."""
        return self.scanned.is_open

    def take(self, numbers: NDArray[np.integer]) -> GatheredRows:
        """Rows by their numbers, in this order.

        Raises InputChanged if the file was modified.
        """
        header, side = self.scanned.header, self.scanned.side
        kernel, pointer = side.kernel, side.pointer
        rows = np.ascontiguousarray(numbers, np.uint32)
        offsets = np.zeros(len(rows) + 1, np.uint64)
        where = rows.ctypes.data, len(rows), offsets.ctypes.data
        if not kernel.gathered_offsets(pointer, *where):
            raise InternalError("a row was requested that the file does not have")
        text = np.empty(int(offsets[-1]), np.uint8)
        with open_unchanged(header.path, header.uri, header.state) as descriptor:
            status = kernel.gather(pointer, descriptor, *where, text.ctypes.data)
            if status:
                raise InternalError(
                    f"rows could not be read again: {Status(status).name}"
                )
        width = len(header.columns)
        return GatheredRows(kernel, text, offsets, header.delimiter, width)

    def sampled(self) -> NDArray[np.uint32]:
        """The numbers of the sampled rows, ascending."""
        side = self.scanned.side
        pointer = side.kernel.side_sample(side.pointer)
        return _copy_numbers(pointer, side.facts.sampled)

    def find_keys(self, keys: Sequence[Sequence[str]]) -> NDArray[np.uint32] | None:
        """The rows whose key seems to be one of `keys`, unordered.

        None if the file was only validated.
        """
        if not self.scanned.has_keys:
            return None
        packed = [_pack_key(key) for key in keys]
        return _copy_numbers(*self.scanned.side.find(packed))

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
            bytes=origin.bytes if origin else facts.end,
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
        room = 2 + facts.end // ROW_GROUP_BYTES
        first = np.zeros(room, np.uint32)
        count = kernel.side_runs(pointer, ROW_GROUP_BYTES, first.ctypes.data, room)
        edges = [*first[:count].tolist(), facts.rows]
        for row, after in itertools.pairwise(edges):
            start = kernel.side_start(pointer, row)
            # Blank lines at the end of the file belong to no row.
            size = kernel.side_start(pointer, after) - start
            yield RowGroup(start, size, row, after - row)


@dataclass(frozen=True, slots=True)
class MatchedFiles:
    """Both files, matched. `lists`: the entries of rows that are not identical."""

    sides: tuple[ScannedFile, ScannedFile]
    identical: int
    lists: dict[Matched, NDArray[np.void]]

    def take(self, which: Matched, part: slice = ALL) -> GatheredRows:
        """The rows of a list, or of a part of it, in its order."""
        side = self.sides[which % 2]
        return side.take(self.lists[which][part]["number"])

    @property
    def differing(self) -> tuple[int, int]:
        """The rows of each side in a pair that differs, or without a partner."""
        missing, extra = (
            len(self.lists[which]) for which in (Matched.MISSING, Matched.EXTRA)
        )
        return self.pairs + missing, self.pairs + extra

    @property
    def blank_keys(self) -> list[int]:
        """The rows of each side whose key has a blank."""
        return [side.scanned.side.facts.blank_keys for side in self.sides]

    @property
    def has_repeats(self) -> bool:
        """Whether a key repeats on a side, or seems to."""
        return any(len(self.lists[which]) for which in REPEATED)

    @property
    def has_one_line_per_record(self) -> bool:
        """Whether no field of either file contains a newline."""
        return not any(side.scanned.side.facts.embedded for side in self.sides)

    @property
    def pairs(self) -> int:
        """The number of pairs that differ."""
        return len(self.lists[Matched.PAIRED_OLD])

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

    def digests(self, which: Matched, part: slice = ALL) -> pl.DataFrame:
        """The digests of a list, or of a part of it, as `Buckets` has them."""
        found = self.lists[which][part]
        names = ("row", "check", "key", "number")
        return pl.DataFrame({name: np.ascontiguousarray(found[name]) for name in names})

    def take_digests(self, which: Matched) -> pl.DataFrame:
        """The digests of a list, which is freed: it may hold all rows."""
        digests = self.digests(which)
        self.lists[which] = np.empty(0, ENTRY)
        return digests


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
    lists = {
        which: np.concatenate(
            [_view_entries(kernel, found, which) for found in scanning.matched]
        )
        for which in Matched
    }
    identical = sum(kernel.found_list(found, -1, None) for found in scanning.matched)
    order = np.argsort(lists[Matched.PAIRED_OLD]["number"])
    for which in (Matched.PAIRED_OLD, Matched.PAIRED_NEW):
        lists[which] = lists[which][order]
    scanning.free_matched()
    for which in REPEATED:
        lists[which] = lists[which][np.argsort(lists[which]["number"])]
    old, new = map(ScannedFile, scanning.sides)
    return MatchedFiles((old, new), identical, lists)


def _pack_key(key: Sequence[str]) -> bytes:
    """A key as the kernel digests it."""
    fields = [field.encode().replace(SEPARATOR, MASKED_SEPARATOR) for field in key]
    return fields[0] if len(fields) == 1 else b"".join(f + KEY_END for f in fields)


def _count_listed(scanning: Scanning, which: Matched) -> int:
    at = ctypes.byref(ctypes.c_void_p())
    count = scanning.kernel.found_list
    return sum(count(found, which, at) for found in scanning.matched)


def _view_entries(kernel: ctypes.CDLL, found: int, which: Matched) -> NDArray[np.void]:
    """A list in memory of the kernel, valid until it is freed."""
    at = ctypes.c_void_p()
    count = kernel.found_list(found, which, ctypes.byref(at))
    if not count:
        return np.empty(0, ENTRY)
    raw = (ctypes.c_char * (ENTRY.itemsize * count)).from_address(at.value or 0)
    return np.frombuffer(raw, ENTRY)
