"""A validated CSV file, read and parsed in row groups as they are needed.

A row group is some megabytes of whole records, so row groups are parsed in parallel and
in bounded memory; no file is memory-mapped.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recon_engine.inputs.header import BOM
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.quarantine import remove_gaps
from recon_engine.inputs.rfc4180 import QUOTE
from recon_engine.inputs.scanner import find_newlines, next_set_bits
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import LazyModule, np


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from recon_engine.inputs.pinned_file import State
    from recon_engine.inputs.scanner import RecordIndex
    from recon_engine.model import Dialect, Rejects
else:
    # The native kernel reads files without it.
    pa = LazyModule("pyarrow")


# Polars strips a byte order mark from the first bytes it sees, and decompresses bytes
# that begin like a zlib stream (`x^`). `GUARD` keeps such bytes from being the first.
TAKEN: Final = (BOM, b"x")
GUARD: Final = b"h\n"
# The name of the blank field behind a trailing delimiter. No column has a blank name.
NO_COLUMN: Final = ""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Whole records: `size` bytes from `offset`, numbered from `first` on.

    `gaps`: offset pairs, relative to `offset`, of quarantined rows; None if there are
    none. `ends`: the end offset of each record; None if it was not kept or there are
    gaps.
    """

    offset: int
    size: int
    first: int
    rows: int
    gaps: NDArray[np.integer] | None = field(default=None, compare=False)
    ends: NDArray[np.integer] | None = field(default=None, compare=False)


def as_arrow_array(numbers: NDArray[np.integer]) -> pa.Array:
    """Integers as an Arrow array, without a copy.

    `pa.array` would import pandas wherever it is installed.
    """
    kind, data = pa.from_numpy_dtype(numbers.dtype), np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def as_binary_array(
    edges: NDArray[np.int64], data: bytes | NDArray[np.uint8]
) -> pa.LargeBinaryArray:
    """The bytes between consecutive `edges` as an Arrow array, without a copy."""
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(edges) - 1, buffers)


class Rows(Protocol):
    """Rows in memory: as written (`Block`, `Blocks`) or parsed (`FrameSlice`)."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        ...

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings in columns of these names; a blank is ""."""
        ...

    def picked(self, numbers: NDArray[np.int64]) -> Rows:
        """The rows of `numbers`, which count from 0 and ascend without repeats."""
        ...


@dataclass(frozen=True, slots=True)
class FrameSlice:
    """Parsed rows: a frame of strings, in which a null or "" is a blank."""

    data: pl.DataFrame

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.data.height

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells in columns of these names, one for each column of the frame."""
        renamed = self.data.clone()
        renamed.columns = list(names)
        return renamed.lazy()

    def picked(self, numbers: NDArray[np.int64]) -> FrameSlice:
        """The rows of `numbers`, which count from 0."""
        return FrameSlice(self.data[numbers])


@dataclass(frozen=True)
class Block:
    """Whole records in memory.

    `ends`: the end offset of each record, if known. `delimiters`: a bit mask of the
    delimiters between fields, if known. `quotes`, `crlf`: whether there may be any.
    `trailing`: whether each record has one more, empty field, which is no column.
    `lines` requires that no field contains a newline.
    """

    data: bytes
    rows: int
    delimiter: str
    embedded_newlines: int = 0
    ends: NDArray[np.integer] | None = None
    delimiters: NDArray[np.uint64] | None = None
    quotes: bool = True
    crlf: bool = True
    trailing: bool = False

    @classmethod
    def of(
        cls, data: bytes, delimiter: str, index: RecordIndex, *, trailing: bool = False
    ) -> Block:
        """The records of an index without ragged records."""
        return cls(
            data,
            index.rows,
            delimiter,
            index.embedded,
            index.ends,
            index.delimiters,
            index.quotes,
            crlf=index.crlf > 0,
            trailing=trailing,
        )

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings in columns of these names; a blank is ""."""
        guarded = self.data.startswith(TAKEN)
        every = [*names, NO_COLUMN] if self.trailing else names
        cells = pl.scan_csv(
            GUARD + self.data if guarded else self.data,
            has_header=False,
            skip_rows=int(guarded),
            separator=self.delimiter,
            schema=dict.fromkeys(every, pl.String),
            empty_string_is_null=False,
        )
        return cells.select(names) if self.trailing else cells

    def table(self, schema: pa.Schema) -> pa.Table:
        """The cells as strings in the columns of a schema; a blank is "".

        Uses Arrow's parser: half the work of Polars' parser, on one thread.
        """
        if not self.data:
            return schema.empty_table()
        guarded = self.data.startswith(TAKEN)
        data = GUARD + self.data if guarded else self.data
        import pyarrow.csv

        every = [*schema.names, NO_COLUMN] if self.trailing else schema.names
        return pyarrow.csv.read_csv(
            pa.py_buffer(data),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=len(data) + 1,
                skip_rows=int(guarded),
                column_names=every,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=bool(self.embedded_newlines),
                ignore_empty_lines=False,
            ),
            # The reader has validated the bytes.
            pyarrow.csv.ConvertOptions(
                check_utf8=False, column_types=schema, include_columns=schema.names
            ),
        )

    @cached_property
    def lines(self) -> pl.Series:
        """Each record as written, with CRLF as LF and without the final newline."""
        data, ends = self.data, self.ends
        if (self.crlf and b"\r" in data) or not data.endswith(b"\n"):
            # One form for every newline, so that files with LF and with CRLF have equal
            # lines.
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
            ends = None
        if ends is None:
            ends = find_newlines(data) + 1
        # Zero-copy and unchecked: the reader has validated the bytes as UTF-8.
        return pl.Series(
            pa.LargeStringArray.from_buffers(
                len(ends), pa.py_buffer(np.append(0, ends)), pa.py_buffer(data)
            )
        )

    def parse_first_cells(self, count: int) -> Iterator[pl.Series]:
        """Yield the cells of the first `count` columns without a parser.

        `count` must be less than the number of columns; `ends` and `delimiters` must be
        known.
        """
        assert self.ends is not None  # noqa: S101 - the caller looked
        assert self.delimiters is not None  # noqa: S101
        text = np.frombuffer(self.data, np.uint8)
        starts = np.append(0, self.ends[:-1])
        for _ in range(count):
            ends = next_set_bits(self.delimiters, starts)
            quoted = self.quotes and text[starts] == QUOTE
            # A quoted field begins and ends with a quote, which is no part of its text.
            cells = _texts_between(self.data, starts + quoted, ends - quoted)
            if np.any(quoted) and cells.str.contains('"', literal=True).any():
                cells = cells.str.replace_all('""', '"', literal=True)
            yield cells
            starts = ends + 1

    def picked(self, numbers: NDArray[np.int64]) -> Block:
        """The records of these ascending numbers, as written."""
        data = self.data if self.data.endswith(b"\n") else self.data + b"\n"
        ends = find_newlines(data) + 1 if self.ends is None else self.ends
        lines = as_binary_array(np.append(0, ends), data)
        _, offsets, text = lines.take(as_arrow_array(numbers)).buffers()
        # The offsets that Arrow computed for the taken lines are the ends of the new
        # block.
        ends = np.frombuffer(offsets, np.int64)[1 : len(numbers) + 1]
        return Block(
            bytes(text), len(numbers), self.delimiter, ends=ends, trailing=self.trailing
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """Records of several blocks of one file, in file order."""

    blocks: tuple[Block, ...]
    delimiter: str
    trailing: bool = False

    @property
    def rows(self) -> int:
        """The number of records of all blocks."""
        return sum(block.rows for block in self.blocks)

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """The cells as strings in columns of these names; a blank is ""."""
        text = b"".join([block.data for block in self.blocks])
        return Block(text, self.rows, self.delimiter, trailing=self.trailing).cells(
            names
        )

    def picked(self, numbers: NDArray[np.int64]) -> Blocks:
        """The records of `numbers`, which count from 0 over all blocks and ascend."""
        firsts = np.cumsum([0, *(block.rows for block in self.blocks)])
        picked = (
            block.picked(numbers[start:stop] - first)
            for block, first, (start, stop) in zip(
                self.blocks,
                firsts,
                _split_into_runs(numbers, firsts[:-1]),
                strict=False,
            )
            if start < stop
        )
        return Blocks(tuple(picked), self.delimiter, self.trailing)


class RowSource(Protocol):
    """A reader that knows where the rows of a file are, as long as it is open."""

    @property
    def is_open(self) -> bool: ...

    def take(self, numbers: NDArray[np.integer]) -> Rows:
        """Rows by their numbers."""
        ...

    def find_keys(self, keys: Sequence[Sequence[str]]) -> NDArray[np.uint32] | None:
        """The rows whose key seems to be one of `keys`; None if keys are not known."""
        ...

    def start_of(self, row: int) -> int:
        """The offset of a row in the file."""
        ...


@dataclass(frozen=True, slots=True)
class CsvFile:
    r"""A validated file: `rows` records of `columns`, all of them text.

    `bytes` and `sha256` are those of the delivered file; `sha256` is None if it was not
    taken. `end_of_copy`: whether a line is `\\.`, which Postgres before version 18
    reads as the end of COPY data. Quarantined rows (`rejects`) are not among the rows.
    `delimiter`: that of the text at `path`; `dialect` has the one as delivered.
    `trailing`: whether each record has one more, empty field, which is no column.
    `source`: takes rows without a parser, as long as it is open.
    """

    path: Path
    uri: str
    columns: tuple[str, ...]
    rows: int
    parts: tuple[RowGroup, ...]
    bytes: int
    sha256: str | None
    dialect: Dialect
    end_of_copy: bool
    state: State
    rejects: Rejects
    delimiter: str
    trailing: bool = False
    source: RowSource | None = field(default=None, compare=False, repr=False)

    @property
    def row_bytes(self) -> float:
        """The average length of a record in bytes."""
        return sum(part.size for part in self.parts) / max(self.rows, 1)

    @property
    def has_one_line_per_record(self) -> bool:
        """Whether no field contains a newline."""
        return not self.dialect.embedded_newlines

    def read(self, part: RowGroup) -> Block:
        """The records of a row group; raises InputChanged if the file was modified."""
        with open_unchanged(self.path, self.uri, self.state) as descriptor:
            data = os.pread(descriptor, part.size, part.offset)
        if part.gaps is not None:
            data = remove_gaps(data, part.gaps)
        embedded = self.dialect.embedded_newlines
        return Block(
            data,
            part.rows,
            self.delimiter,
            embedded,
            part.ends,
            trailing=self.trailing,
        )

    def cells(self, part: RowGroup, names: Sequence[str]) -> pl.LazyFrame:
        """The cells of a row group as strings in columns of these names.

        A blank is "".
        """
        return self.read(part).cells(names)

    def take(self, numbers: NDArray[np.int64]) -> Rows:
        """Rows by ascending numbers; parsed only if records may span lines."""
        if self.source is not None and self.source.is_open:
            return self.source.take(numbers)
        firsts = np.array([part.first for part in self.parts], np.int64)
        wanted = [
            (part, numbers[start:stop] - part.first)
            for part, (start, stop) in zip(
                self.parts, _split_into_runs(numbers, firsts), strict=True
            )
            if start < stop
        ]
        # Each line is a record: the wanted lines are cut out, and only these are
        # parsed.
        if self.has_one_line_per_record:
            blocks = map_ordered(
                lambda each: self.read(each[0]).picked(each[1]), wanted
            )
            return Blocks(tuple(blocks), self.delimiter, self.trailing)
        frames = map_ordered(self._parsed, wanted)
        # For the columns, if no row is wanted.
        empty = pl.DataFrame(schema=dict.fromkeys(self._names, pl.String))
        return FrameSlice(pl.concat([empty, *frames]))

    def _parsed(self, wanted: tuple[RowGroup, NDArray[np.int64]]) -> pl.DataFrame:
        part, numbers = wanted
        return self.cells(part, self._names).collect(engine="in-memory")[numbers]

    @property
    def _names(self) -> list[str]:
        return [f"c{at}" for at in range(len(self.columns))]


def _texts_between(
    data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> pl.Series:
    """The texts between `starts` and `ends`, which ascend and do not overlap."""
    # Arrow slices the texts and the gaps between them without a copy, and takes every
    # other one. Polars would visit each text while it holds the interpreter lock.
    every = as_binary_array(np.column_stack((starts, ends)).ravel(), data)
    texts = every.take(as_arrow_array(np.arange(0, len(every), 2)))
    _, offsets, text = texts.buffers()
    return pl.Series(pa.LargeStringArray.from_buffers(len(texts), offsets, text))


def _split_into_runs(
    numbers: NDArray[np.int64], firsts: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """For each of `firsts`, the slice of the ascending `numbers` that belongs to it."""
    bounds = [*np.searchsorted(numbers, firsts).tolist(), len(numbers)]
    return itertools.pairwise(bounds)
