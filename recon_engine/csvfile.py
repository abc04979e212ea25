"""A gated CSV file: parts of whole records, read and parsed as they are needed.

A part is some megabytes of bytes from one record's first to another's last, so parts
are parsed one by one, in parallel, and in bounded memory; nothing maps a whole file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from recon_engine.parallel import in_order


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


Bytes = bytes
Newline = Literal["LF", "CRLF", "mixed", "none"]

# Polars takes a byte order mark off the first bytes it sees: let them never be data.
BOM: Final = b"\xef\xbb\xbf"
HEADER: Final = b"h\n"
HEADER_AND_BOM: Final = HEADER + BOM
UNUSED: Final = "\x01"


@dataclass(frozen=True, slots=True)
class Dialect:
    r"""How a file is written; none of it changes what its cells say.

    `soh`: it holds the byte 0x01, which else serves to read a line as one field.
    `end_of_copy`: a line of it is `\\.`, which an older Postgres takes for the end.
    """

    delimiter: str
    newline: Newline
    bom: bool
    quotes: bool
    soh: bool
    end_of_copy: bool
    embedded_newlines: int
    trailing_blank_lines: int


@dataclass(frozen=True, slots=True)
class Part:
    """Whole records: `size` bytes from `offset`, rows from number `first` on."""

    offset: int
    size: int
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file that passed the gate: `rows` records of `columns`, all of them text."""

    path: Path
    uri: str
    columns: tuple[str, ...]
    rows: int
    parts: tuple[Part, ...]
    bytes: int
    sha256: str
    dialect: Dialect

    @property
    def has_lines(self) -> bool:
        """Whether each record is one line, and a line can be read as one field."""
        d = self.dialect
        return not d.embedded_newlines and not d.soh and d.delimiter != UNUSED

    def bytes_of(self, part: Part) -> Bytes:
        """The bytes of a part, as they are in the file."""
        with self.path.open("rb") as stream:
            return os.pread(stream.fileno(), part.size, part.offset)

    def read(self, part: Part) -> Bytes:
        """The same for `parsed` and `lines`."""
        data = self.bytes_of(part)
        return HEADER + data if data.startswith(BOM) else data

    def cells(self, part: Part, names: Sequence[str]) -> pl.LazyFrame:
        """The cells of a part as strings under these names; a blank is ""."""
        return self.parsed(self.read(part), names)

    def parsed(self, data: Bytes, names: Sequence[str]) -> pl.LazyFrame:
        """The same, of bytes that were read."""
        return pl.scan_csv(
            data,
            has_header=False,
            skip_rows=int(data.startswith(HEADER_AND_BOM)),
            separator=self.dialect.delimiter,
            schema=dict.fromkeys(names, pl.String),
            empty_string_is_null=False,
        )

    def lines(self, data: Bytes) -> pl.LazyFrame:
        """The records of bytes that were read as one column `line` (`has_lines`)."""
        return pl.scan_csv(
            data,
            has_header=False,
            skip_rows=int(data.startswith(HEADER_AND_BOM)),
            separator=UNUSED,
            quote_char=None,
            schema={"line": pl.String},
            empty_string_is_null=False,
        )

    def take(self, numbers: pl.Series, names: Sequence[str]) -> pl.DataFrame:
        """Whole rows by their numbers (ascending): only they are parsed if possible."""
        wanted = [
            (part, numbers[start:stop] - part.first)
            for part, start, stop in _spans(self.parts, numbers)
            if start < stop
        ]
        taken = self._take_lines if self.has_lines else self._take_cells
        frames = in_order(lambda each: taken(*each, names), wanted)
        empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        return pl.concat([empty, *frames])

    def _take_cells(
        self, part: Part, local: pl.Series, names: Sequence[str]
    ) -> pl.DataFrame:
        return self.cells(part, names).collect()[local]

    def _take_lines(
        self, part: Part, local: pl.Series, names: Sequence[str]
    ) -> pl.DataFrame:
        lines = self.lines(self.read(part)).collect()["line"].gather(local)
        text = lines.str.join("\n").item().encode() + b"\n"
        data = HEADER + text if text.startswith(BOM) else text
        return self.parsed(data, names).collect()


def _spans(
    parts: Sequence[Part], numbers: pl.Series
) -> Iterator[tuple[Part, int, int]]:
    """Which run of the ascending `numbers` is in each part."""
    firsts = pl.Series([part.first for part in parts], dtype=numbers.dtype)
    starts = [*numbers.search_sorted(firsts), len(numbers)]
    return zip(parts, starts[:-1], starts[1:], strict=True)
