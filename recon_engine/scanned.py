"""What the native kernel has found in two files: rows, facts and lists.

It reads each file in one pass, checks what the gate checks, and pairs the rows of keys
that are not repeated by digests. What is left are rows that differ, rows without a
partner, and rows of repeated keys, which are paired by their text as ever. Whatever the
kernel does not accept, the reader in Python reads again and words.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
import pyarrow as pa

from recon_engine.csvfile import NO_TEXTS, CsvFile, Part, arrow, binary, text_frame
from recon_engine.errors import InternalError
from recon_engine.gate import dialect_of
from recon_engine.model import Rejects
from recon_engine.native import binding
from recon_engine.native.binding import Matched, Status
from recon_engine.steady import steady


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.names import Names
    from recon_engine.progress import Progress
    from recon_engine.scanning import Scanned, Scanning

PART: Final = 1 << 22
EVERY: Final = slice(None)
ENTRY: Final = np.dtype(
    [
        ("key", "<u8"),
        ("rest", "<u4"),
        ("number", "<u4"),
        ("row", "<u8"),
        ("check", "<u8"),
    ]
)


class Columns:
    """Columns of text that the kernel has made; they own its memory."""

    def __init__(self, kernel: ctypes.CDLL, pointer: int | None) -> None:
        if not pointer:
            raise InternalError("the native kernel could not split rows it had read")
        self._kernel = kernel
        self._pointer = pointer

    def __del__(self) -> None:
        """Nothing points to it any more."""
        if pointer := getattr(self, "_pointer", None):
            self._kernel.columns_free(pointer)

    def texts(self, at: int) -> pa.LargeStringArray:
        """A column; nothing is copied."""
        text, ends = ctypes.c_void_p(), ctypes.c_void_p()
        get = self._kernel.columns_text
        count = get(self._pointer, at, ctypes.byref(text), ctypes.byref(ends))
        if not count:
            return NO_TEXTS
        edges = pa.foreign_buffer(ends.value, 8 * (count + 1), self)
        size = int(np.frombuffer(edges, np.int64)[-1])
        data = pa.foreign_buffer(text.value, size, self) if size else pa.py_buffer(b"")
        return pa.LargeStringArray.from_buffers(count, edges, data)

    def cells(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]:
        """Of each cell its pair and its column; how many pairs have no equal keys."""
        pairs, ordinals, ends = (ctypes.c_void_p() for _ in range(3))
        both = ctypes.byref(pairs), ctypes.byref(ordinals)
        collisions = self._kernel.columns_cells(self._pointer, *both)
        text = ctypes.byref(ctypes.c_void_p()), ctypes.byref(ends)
        count = self._kernel.columns_text(self._pointer, 0, *text)
        first, second = (_copied(at.value, count) for at in (pairs, ordinals))
        return first, second, collisions


def _copied(address: int | None, count: int) -> NDArray[np.uint32]:
    if not count:
        return np.zeros(0, np.uint32)
    raw = ctypes.string_at(address, 4 * count)  # type: ignore[arg-type]
    return np.frombuffer(raw, np.uint32)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of a file in memory, as they are written, each with a newline at its end."""

    kernel: ctypes.CDLL
    text: NDArray[np.uint8]
    offsets: NDArray[np.uint64]
    delimiter: str
    width: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.offsets) - 1

    @property
    def raw(self) -> binding.Rows:
        """As the kernel takes them, as long as these live."""
        return binding.Rows(
            self.text.ctypes.data,
            self.offsets.ctypes.data,
            ord(self.delimiter),
            self.width,
        )

    def frame(
        self, names: Sequence[str], wanted: Sequence[str], most: int | None = None
    ) -> pl.DataFrame:
        """Some of the columns, of the first rows or of all; a blank is ""."""
        at = {name: number for number, name in enumerate(names)}
        rows = self.rows if most is None else min(most, self.rows)
        numbers = binding.numbers([at[name] for name in wanted])
        raw = self.raw
        found = Columns(
            self.kernel,
            self.kernel.extract(ctypes.byref(raw), 0, rows, len(wanted), numbers),
        )
        return text_frame(wanted, [found.texts(n) for n in range(len(wanted))])

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """All cells as strings under these names."""
        return self.frame(names, names).lazy()

    def picked(self, numbers: NDArray[np.int64]) -> Gathered:
        """Some of them."""
        if len(numbers) == self.rows:
            return self
        lines = binary(self.offsets.astype(np.int64), self.text)
        _, edges, text = lines.take(arrow(numbers)).buffers()
        offsets = np.frombuffer(edges, np.int64)[: len(numbers) + 1].astype(np.uint64)
        data = np.frombuffer(text, np.uint8) if text else self.text[:0]
        return Gathered(self.kernel, data, offsets, self.delimiter, self.width)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was scanned of a file, as rows and facts."""

    scanned: Scanned

    @property
    def is_open(self) -> bool:
        """Whether rows can still be taken."""
        return self.scanned.is_open

    def take(self, numbers: NDArray[np.integer]) -> Gathered:
        """Rows by their numbers, in this order; InputChanged where the file has."""
        header, side = self.scanned.header, self.scanned.side
        kernel, pointer = side.kernel, side.pointer
        rows = np.ascontiguousarray(numbers, np.uint32)
        offsets = np.zeros(len(rows) + 1, np.uint64)
        where = rows.ctypes.data, len(rows), offsets.ctypes.data
        if not kernel.gathered_offsets(pointer, *where):
            raise InternalError("a row was asked for that there is not")
        text = np.empty(int(offsets[-1]), np.uint8)
        with steady(header.path, header.uri, header.state) as descriptor:
            status = kernel.gather(pointer, descriptor, *where, text.ctypes.data)
            if status:
                raise InternalError(
                    f"rows could not be read again: {Status(status).name}"
                )
        width = len(header.columns)
        return Gathered(kernel, text, offsets, header.delimiter, width)

    def sampled(self) -> NDArray[np.uint32]:
        """The rows of one in so many keys."""
        side = self.scanned.side
        pointer = side.kernel.side_sample(side.pointer)
        return _copied(pointer, side.facts.sampled)

    def file(self) -> CsvFile:
        """The file as one that passed the gate."""
        header, facts = self.scanned.header, self.scanned.side.facts
        origin = header.origin
        return CsvFile(
            path=header.path,
            uri=header.uri,
            columns=header.columns,
            rows=facts.rows,
            parts=tuple(self._parts(facts)),
            bytes=origin.bytes if origin else facts.end,
            sha256=origin.sha256 if origin else self.scanned.sha256,
            dialect=dialect_of(
                header,
                self._newlines(facts),
                quotes=b'"' in header.raw or bool(facts.quotes),
                embedded=facts.embedded,
                blank_lines=facts.blanks,
            ),
            end_of_copy=bool(facts.end_of_copy),
            state=header.state,
            rejects=Rejects(),
            scanned=self,
        )

    def _newlines(self, facts: binding.Facts) -> Counter[str]:
        counts = Counter[str]()
        raw = self.scanned.header.raw
        if raw.endswith(b"\n"):
            counts["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1
        counts["CRLF"] += facts.crlf
        counts["LF"] += facts.rows - facts.unended + facts.blanks - facts.crlf
        return counts

    def _parts(self, facts: binding.Facts) -> Iterator[Part]:
        side = self.scanned.side
        kernel, pointer = side.kernel, side.pointer
        room = 2 + facts.end // PART
        first = np.zeros(room, np.uint32)
        count = kernel.side_runs(pointer, PART, first.ctypes.data, room)
        edges = [*first[:count].tolist(), facts.rows]
        for row, after in itertools.pairwise(edges):
            start = kernel.side_start(pointer, row)
            # Blank lines at the end of a file belong to no row.
            size = kernel.side_start(pointer, after) - start
            yield Part(start, size, row, after - row)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the kernel has drawn of one in so many keys, in the place of a strategy.

    `name`: of the strategy that would have been exact.
    """

    name: str
    taken: Taken
    names: Names

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of these rows."""
        rows = self.taken.take(self.taken.sampled())
        return rows.frame(self.names.all, self.names.compared)


@dataclass(frozen=True, slots=True)
class Scan:
    """Both files, matched. `lists`: the entries of rows that are not identical."""

    sides: tuple[Taken, Taken]
    identical: int
    lists: dict[Matched, NDArray[np.void]]

    def take(self, which: Matched, at: slice = EVERY) -> Gathered:
        """The rows of a list, or a part of it, in its order."""
        side = self.sides[which % 2]
        return side.take(self.lists[which][at]["number"])

    @property
    def differing(self) -> tuple[int, int]:
        """How many rows of each side are in such a pair, or have no partner."""
        missing, extra = (
            len(self.lists[at]) for at in (Matched.MISSING, Matched.EXTRA)
        )
        return self.pairs + missing, self.pairs + extra

    @property
    def blank_keys(self) -> list[int]:
        """In how many rows of each side a part of the key is blank."""
        return [each.scanned.side.facts.blank_keys for each in self.sides]

    @property
    def has_lines(self) -> bool:
        """Whether each record of both is one line."""
        return not any(each.scanned.side.facts.embedded for each in self.sides)

    @property
    def pairs(self) -> int:
        """How many pairs differ."""
        return len(self.lists[Matched.PAIRED_OLD])

    def digests(self, which: Matched, at: slice = EVERY) -> pl.DataFrame:
        """The digests of a list, or a part of it, as `buckets` has them."""
        found = self.lists[which][at]
        names = ("row", "check", "key", "number")
        return pl.DataFrame({name: np.ascontiguousarray(found[name]) for name in names})


@contextmanager
def scan(scanning: Scanning, progress: Progress) -> Iterator[Scan]:
    """What a scan finds, of use as long as this lasts.

    Raises KernelRefusal where that is left to the other reader, and InputChanged.
    """
    with closing(scanning):
        scanning.wait(progress)
        yield _found(scanning)


def _found(scanning: Scanning) -> Scan:
    """The lists of all partitions; the digests themselves are let go of."""
    kernel = scanning.kernel
    lists = {
        which: np.concatenate(
            [_entries(kernel, found, which) for found in scanning.matched]
        )
        for which in Matched
    }
    identical = sum(kernel.found_list(each, -1, None) for each in scanning.matched)
    for scanned in scanning.sides:
        scanned.side.forget()
    order = np.argsort(lists[Matched.PAIRED_OLD]["number"])
    for which in (Matched.PAIRED_OLD, Matched.PAIRED_NEW):
        lists[which] = lists[which][order]
    old, new = map(Taken, scanning.sides)
    return Scan((old, new), identical, lists)


def _entries(kernel: ctypes.CDLL, found: int, which: Matched) -> NDArray[np.void]:
    at = ctypes.c_void_p()
    count = kernel.found_list(found, which, ctypes.byref(at))
    raw = ctypes.string_at(at, ENTRY.itemsize * count) if count else b""
    return np.frombuffer(raw, ENTRY)
