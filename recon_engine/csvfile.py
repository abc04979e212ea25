"""A gated CSV file: blocks of whole records, read and parsed as they are needed.

A part of a file is some megabytes from one record's first byte to another's last, so
parts are parsed one by one, in parallel, and in bounded memory; nothing maps a file.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv

from recon_engine.header import BOM
from recon_engine.parallel import in_order
from recon_engine.rejects import without
from recon_engine.rfc4180 import QUOTE
from recon_engine.steady import steady
from recon_engine.structure import newlines, next_set


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recon_engine.model import Dialect, Rejects
    from recon_engine.steady import State
    from recon_engine.structure import Structure


# Polars takes a byte order mark off the first bytes it sees, and unpacks what begins as
# zlib does, with `x^`: let them never be data.
TAKEN: Final = (BOM, b"x")
GUARD: Final = b"h\n"


@dataclass(frozen=True, slots=True)
class Part:
    """Whole records: `size` bytes from `offset`, rows from number `first` on.

    `gaps`: pairs of offsets within, between which there are rows that were set aside.
    `ends`: the offset behind each record, where there are none and it was kept.
    """

    offset: int
    size: int
    first: int
    rows: int
    gaps: NDArray[np.integer] | None = field(default=None, compare=False)
    ends: NDArray[np.integer] | None = field(default=None, compare=False)


def arrow(numbers: NDArray[np.integer]) -> pa.Array:
    """Numbers as Arrow, not copied. `pa.array` loads pandas, wherever there is one."""
    kind, data = pa.from_numpy_dtype(numbers.dtype), np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def binary(
    edges: NDArray[np.int64], data: bytes | NDArray[np.uint8]
) -> pa.LargeBinaryArray:
    """The bytes between each edge and the next, not copied."""
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(edges) - 1, buffers)


# Not by `pa.array`, which loads pandas.
NO_TEXTS: Final = pa.LargeStringArray.from_buffers(
    0, pa.py_buffer(bytes(8)), pa.py_buffer(b"")
)


def text_frame(names: Sequence[str], columns: Sequence[pa.Array]) -> pl.DataFrame:
    """Columns of text as a frame, all at once: one by one each takes its time."""
    table = pa.Table.from_arrays(list(columns), names=list(names))
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it makes a frame
    return frame


class Rows(Protocol):
    """Some rows in memory."""

    @property
    def rows(self) -> int:
        """How many."""
        ...

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """Their cells as strings under these names; a blank is ""."""
        ...

    def picked(self, numbers: NDArray[np.int64]) -> Rows:
        """Some of them, by their numbers, which ascend."""
        ...


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that are cells already."""

    data: pl.DataFrame

    @property
    def rows(self) -> int:
        """How many."""
        return self.data.height

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """Their cells under these names."""
        renamed = self.data.clone()
        renamed.columns = list(names)
        return renamed.lazy()

    def picked(self, numbers: NDArray[np.int64]) -> Slice:
        """Some of them."""
        return Slice(self.data[numbers])


@dataclass(frozen=True)
class Block:
    """Whole records in memory.

    `ends`: the offset behind each, if that is known; `delimiters`: the bits of those
    between fields, if they are; `quotes`, `crlf`: whether there may be any. `lines`
    asks that none has a newline in a field.
    """

    data: bytes
    rows: int
    delimiter: str
    embedded_newlines: int = 0
    ends: NDArray[np.integer] | None = None
    delimiters: NDArray[np.uint64] | None = None
    quotes: bool = True
    crlf: bool = True

    @classmethod
    def of(cls, data: bytes, delimiter: str, found: Structure) -> Block:
        """Records of this structure, none of them ragged."""
        return cls(
            data,
            found.rows,
            delimiter,
            found.embedded,
            found.ends,
            found.delimiters,
            found.quotes,
            crlf=found.crlf > 0,
        )

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings under these names; a blank is ""."""
        guarded = self.data.startswith(TAKEN)
        return pl.scan_csv(
            GUARD + self.data if guarded else self.data,
            has_header=False,
            skip_rows=int(guarded),
            separator=self.delimiter,
            schema=dict.fromkeys(names, pl.String),
            empty_string_is_null=False,
        )

    def table(self, schema: pa.Schema) -> pa.Table:
        """The cells as strings in the columns of a schema; a blank is "".

        By Arrow's parser, which takes half the work of Polars' and one thread for it.
        """
        if not self.data:
            return schema.empty_table()
        guarded = self.data.startswith(TAKEN)
        data = GUARD + self.data if guarded else self.data
        return pyarrow.csv.read_csv(
            pa.py_buffer(data),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=len(data) + 1,
                skip_rows=int(guarded),
                column_names=schema.names,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=bool(self.embedded_newlines),
                ignore_empty_lines=False,
            ),
            pyarrow.csv.ConvertOptions(check_utf8=False, column_types=schema),
        )

    @cached_property
    def lines(self) -> pl.Series:
        """Each record as it is written, but for a line feed alone at its end."""
        data, ends = self.data, self.ends
        if (self.crlf and b"\r" in data) or not data.endswith(b"\n"):
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
            ends = None
        if ends is None:
            ends = newlines(data) + 1
        # Nothing is copied or checked: the gate has seen that it is UTF-8.
        return pl.Series(
            pa.LargeStringArray.from_buffers(
                len(ends), pa.py_buffer(np.append(0, ends)), pa.py_buffer(data)
            )
        )

    def first_cells(self, count: int) -> Iterator[pl.Series]:
        """The cells of so many columns, the last not among them, without a parser.

        `ends` and `delimiters` have to be known.
        """
        assert self.ends is not None  # noqa: S101 - the caller looked
        assert self.delimiters is not None  # noqa: S101
        text = np.frombuffer(self.data, np.uint8)
        starts = np.append(0, self.ends[:-1])
        for _ in range(count):
            ends = next_set(self.delimiters, starts)
            quoted = self.quotes and text[starts] == QUOTE
            cells = _between(self.data, starts + quoted, ends - quoted)
            if np.any(quoted) and cells.str.contains('"', literal=True).any():
                cells = cells.str.replace_all('""', '"', literal=True)
            yield cells
            starts = ends + 1

    def picked(self, numbers: NDArray[np.int64]) -> Block:
        """Some of the lines, by their numbers, as they are written."""
        data = self.data if self.data.endswith(b"\n") else self.data + b"\n"
        ends = newlines(data) + 1 if self.ends is None else self.ends
        lines = binary(np.append(0, ends), data)
        _, offsets, text = lines.take(arrow(numbers)).buffers()
        ends = np.frombuffer(offsets, np.int64)[1 : len(numbers) + 1]
        return Block(bytes(text), len(numbers), self.delimiter, ends=ends)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Lines from several places, in their order."""

    blocks: tuple[Block, ...]
    delimiter: str

    @property
    def rows(self) -> int:
        """How many."""
        return sum(block.rows for block in self.blocks)

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """Their cells as strings under these names; a blank is ""."""
        text = b"".join([block.data for block in self.blocks])
        return Block(text, self.rows, self.delimiter).cells(names)

    def picked(self, numbers: NDArray[np.int64]) -> Blocks:
        """Some of them."""
        firsts = np.cumsum([0, *(block.rows for block in self.blocks)])
        picked = (
            block.picked(numbers[start:stop] - first)
            for block, first, (start, stop) in zip(
                self.blocks, firsts, _runs(numbers, firsts[:-1]), strict=False
            )
            if start < stop
        )
        return Blocks(tuple(picked), self.delimiter)


class Taker(Protocol):
    """Who has read a file, and knows where its rows are as long as it is open."""

    @property
    def is_open(self) -> bool:
        """Whether it still knows."""
        ...

    def take(self, numbers: NDArray[np.integer]) -> Rows:
        """Rows by their numbers."""
        ...


@dataclass(frozen=True, slots=True)
class CsvFile:
    r"""A file that passed the gate: `rows` records of `columns`, all of them text.

    `bytes` and `sha256` are of the file as it was delivered. `end_of_copy`: a line is
    `\\.`, which an older Postgres takes for the end. `rejects` are not among the rows.
    `scanned`: who takes rows faster, for a time.
    """

    path: Path
    uri: str
    columns: tuple[str, ...]
    rows: int
    parts: tuple[Part, ...]
    bytes: int
    sha256: str | None
    dialect: Dialect
    end_of_copy: bool
    state: State
    rejects: Rejects
    scanned: Taker | None = field(default=None, compare=False, repr=False)

    @property
    def row_bytes(self) -> float:
        """How long a row is as text, on average."""
        return sum(part.size for part in self.parts) / max(self.rows, 1)

    @property
    def has_lines(self) -> bool:
        """Whether each record is one line."""
        return not self.dialect.embedded_newlines

    def read(self, part: Part) -> Block:
        """A part as it is in the file; InputChanged where that was written to."""
        with steady(self.path, self.uri, self.state) as descriptor:
            data = os.pread(descriptor, part.size, part.offset)
        if part.gaps is not None:
            data = without(data, part.gaps)
        embedded = self.dialect.embedded_newlines
        return Block(data, part.rows, self.dialect.delimiter, embedded, part.ends)

    def cells(self, part: Part, names: Sequence[str]) -> pl.LazyFrame:
        """The cells of a part as strings under these names; a blank is ""."""
        return self.read(part).cells(names)

    def take(self, numbers: NDArray[np.int64]) -> Rows:
        """Rows by their numbers, which ascend; parsed only where that must be."""
        if self.scanned is not None and self.scanned.is_open:
            return self.scanned.take(numbers)
        firsts = np.array([part.first for part in self.parts], np.int64)
        wanted = [
            (part, numbers[start:stop] - part.first)
            for part, (start, stop) in zip(
                self.parts, _runs(numbers, firsts), strict=True
            )
            if start < stop
        ]
        if self.has_lines:
            blocks = in_order(lambda each: self.read(each[0]).picked(each[1]), wanted)
            return Blocks(tuple(blocks), self.dialect.delimiter)
        frames = in_order(self._parsed, wanted)
        empty = pl.DataFrame(schema=dict.fromkeys(self._names, pl.String))
        return Slice(pl.concat([empty, *frames]))

    def _parsed(self, wanted: tuple[Part, NDArray[np.int64]]) -> pl.DataFrame:
        part, numbers = wanted
        return self.cells(part, self._names).collect(engine="in-memory")[numbers]

    @property
    def _names(self) -> list[str]:
        return [f"c{at}" for at in range(len(self.columns))]


def _between(
    data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> pl.Series:
    """The texts from starts to ends, which do not overlap, and ascend."""
    # With those between them they are what Arrow takes without a copy; of those Polars
    # would look at every one, while no other thread can run Python.
    every = binary(np.column_stack((starts, ends)).ravel(), data)
    texts = every.take(arrow(np.arange(0, len(every), 2)))
    _, offsets, text = texts.buffers()
    return pl.Series(pa.LargeStringArray.from_buffers(len(texts), offsets, text))


def _runs(
    numbers: NDArray[np.int64], firsts: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Which run of the ascending `numbers` begins at each of `firsts`."""
    bounds = [*np.searchsorted(numbers, firsts).tolist(), len(numbers)]
    return itertools.pairwise(bounds)
