"""The CSV gate: bytes become a `CsvFile`, or one error that names the byte.

The law: a file passes iff `rfc4180` accepts it and each record has as many fields as
the header. Polars, which merges rows on stray quotes and pads short ones in silence,
parses only what has passed.

Where a block of bytes holds no quote, all bytes but delimiters and newlines are
deleted from it: what is left must be the same row skeleton over and over, one memcmp.
Where it holds quotes, numpy finds the structural bytes and their quote parity. Bytes
that fail either way go to the reference, which names the fault, or accepts what only
it can judge (trailing blank lines, huge fields).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, NoReturn

import numpy as np
import polars as pl

from recon_engine.errors import EmptyFile, EncodingError, MalformedInput, ReconError
from recon_engine.progress import ignore
from recon_engine.rfc4180 import (
    CR,
    LF,
    QUOTE,
    EncodingFault,
    Fault,
    Limits,
    Record,
    Unterminated,
    records,
)


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


BLOCK: Final = 1 << 18
BOM: Final = b"\xef\xbb\xbf"
HEADER_BYTES: Final = 1 << 24
FOREIGN: Final = (
    (b"\xff\xfe", EncodingError, "it begins with a UTF-16 or UTF-32 byte order mark"),
    (b"\xfe\xff", EncodingError, "it begins with a UTF-16 byte order mark"),
    (b"\x00\x00\xfe\xff", EncodingError, "it begins with a UTF-32 byte order mark"),
    (b"\x1f\x8b", MalformedInput, "it is a gzip stream"),
    (b"\x28\xb5\x2f\xfd", MalformedInput, "it is a zstd stream"),
    (b"PK\x03\x04", MalformedInput, "it is a zip archive or a spreadsheet"),
)

Newline = Literal["LF", "CRLF", "mixed", "none"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written; none of it changes what its cells say."""

    delimiter: str
    newline: Newline
    bom: bool
    quotes: bool
    embedded_newlines: int
    trailing_blank_lines: int


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file that passed the gate: `rows` records of `columns`, all of them text."""

    path: Path
    uri: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    dialect: Dialect

    def scan(self) -> pl.LazyFrame:
        """Its cells as a LazyFrame of strings; a blank is the empty string."""
        return pl.scan_csv(
            self.path,
            has_header=False,
            skip_rows=1,
            separator=self.dialect.delimiter,
            schema=dict.fromkeys(self.columns, pl.String),
            empty_string_is_null=False,
            n_rows=self.rows if self.dialect.trailing_blank_lines else None,
            glob=False,
        )


def open_csv(
    path: Path,
    *,
    uri: str | None = None,
    delimiter: str = ",",
    limits: Limits | None = None,
    advance: Callable[[int], None] = ignore,
) -> CsvFile:
    """Read a whole file through the gate, once.

    `advance` hears the number of bytes of every block. Raises MalformedInput,
    EncodingError or EmptyFile, each with line, byte offset and, where known, column.
    """
    with path.open("rb") as stream:
        source = _Source(stream, advance)
        gate = _Gate(uri or str(path), delimiter, limits or Limits())
        gate.header(source)
        gate.body(source)
    return CsvFile(
        path=path,
        uri=uri or str(path),
        columns=gate.columns,
        rows=gate.rows,
        bytes=source.size,
        sha256=source.digest.hexdigest(),
        dialect=gate.dialect(),
    )


class _Source:
    """A stream that is hashed and counted as it is read, with bytes to put back."""

    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        self.stream = stream
        self.advance = advance
        self.digest = hashlib.sha256()
        self.size = 0
        self.rest = b""

    def more(self, size: int = BLOCK) -> bytes:
        """The next block; b"" at the end of the file."""
        block = self.stream.read(size)
        self.digest.update(block)
        self.size += len(block)
        self.advance(len(block))
        return block


class _Gate:
    """Counts what passes. `offset`, `line`: where the next unread record begins."""

    def __init__(self, uri: str, delimiter: str, limits: Limits) -> None:
        self.uri = uri
        self.delimiter = ord(delimiter)
        self.limits = limits
        self.columns: tuple[str, ...] = ()
        self.rows = 0
        self.offset = 0
        self.line = 1
        self.bom = False
        self.quotes = False
        self.embedded = 0
        self.newlines: Counter[str] = Counter()
        self.blank_lines = 0
        self.first_blank: Record | None = None
        self.skeleton = b""
        self.structural = bytes({self.delimiter, LF})
        self.other = bytes(b for b in range(256) if b not in self.structural)

    def dialect(self) -> Dialect:
        kinds = [kind for kind, count in self.newlines.items() if count]
        newline = "none" if not kinds else kinds[0] if len(kinds) == 1 else "mixed"
        return Dialect(
            delimiter=chr(self.delimiter),
            newline=newline,  # type: ignore[arg-type]
            bom=self.bom,
            quotes=self.quotes,
            embedded_newlines=self.embedded,
            trailing_blank_lines=self.blank_lines,
        )

    # -- header ------------------------------------------------------------------

    def header(self, source: _Source) -> None:
        """Read the first record and settle the columns."""
        data = source.more()
        self.refuse_foreign(data)
        if data.startswith(BOM):
            self.bom, self.offset, data = True, len(BOM), data[len(BOM) :]
        if not data:
            raise EmptyFile(
                "the file is empty", file=self.uri, why="it has not even a header"
            )
        while (record := self.first_record(data, final=False)) is None:
            block = source.more() if len(data) < HEADER_BYTES else b""
            if not block:
                record = self.first_record(data, final=True)
                break
            data += block
        assert record is not None  # noqa: S101 - a final read ends or raises
        source.rest = data[record.end - self.offset :]
        self.count_header(record, data)
        self.columns = self.names(record)
        width = len(self.columns)
        row = bytes([self.delimiter]) * (width - 1) + b"\n"
        self.skeleton = row * (4 * BLOCK // width + 1)

    def first_record(self, data: bytes, *, final: bool) -> Record | None:
        """The header record, or None where it may go on behind `data`."""
        start = {"line": self.line, "offset": self.offset}
        try:
            record = next(records(data, self.delimiter, self.limits, **start))
        except Unterminated as fault:
            if final:
                self.refuse(fault)
            return None
        except Fault as fault:
            if final or fault.offset - self.offset < len(data) - 1:
                self.refuse(fault)
            return None
        if record.end - self.offset < len(data) or final:
            return record
        return None

    def count_header(self, record: Record, data: bytes) -> None:
        raw = data[: record.end - self.offset]
        self.quotes = b'"' in raw
        self.line += record.lines
        self.offset = record.end
        self.count_newline(raw)

    def names(self, record: Record) -> tuple[str, ...]:
        """Column names, exact; blank and repeated ones are refused by position."""
        names = tuple(field.decode() for field in record.fields)
        blank = [str(at) for at, name in enumerate(names, 1) if not name.strip()]
        if blank:
            self.refuse_header(f"the header has no name in column {', '.join(blank)}")
        if len(set(names)) < len(names):
            repeated = next(name for name, n in Counter(names).items() if n > 1)
            at = [str(at) for at, name in enumerate(names, 1) if name == repeated]
            self.refuse_header(
                f"the header has {repeated} more than once: columns {', '.join(at)}"
            )
        return names

    def refuse_header(self, message: str) -> NoReturn:
        raise MalformedInput(
            message,
            file=self.uri,
            line=1,
            byte_offset=len(BOM) if self.bom else 0,
            why="columns are compared by name",
            help="give every column a name of its own",
        )

    def refuse_foreign(self, data: bytes) -> None:
        for magic, error, what in FOREIGN:
            if data.startswith(magic):
                raise error(
                    "the file is not UTF-8 text",
                    file=self.uri,
                    line=1,
                    byte_offset=0,
                    why=what,
                    help="unpack it, or save it as CSV in UTF-8",
                )

    # -- body --------------------------------------------------------------------

    def body(self, source: _Source) -> None:
        """Pass every record behind the header."""
        pending = source.rest
        huge = False
        while block := source.more(max(BLOCK, len(pending))):
            huge = huge or b"\n" not in block
            left = self.consume(pending + block, careful=huge)
            huge = huge and len(left) > len(block)
            pending = left
        if pending:
            self.consume_last(pending)

    def consume(self, data: bytes, *, careful: bool) -> bytes:
        """Pass the whole records at the start of `data`; answer what is left."""
        cut = self.complete(data)
        if cut:
            self.check(data[:cut], careful=careful)
        elif len(data) > self.limits.field_bytes * (len(self.columns) + 1):
            self.by_reference(data)
        return data[cut:]

    def consume_last(self, data: bytes) -> None:
        """Pass the end of the file, where the last newline may be missing."""
        cut = self.complete(data)
        if cut:
            self.check(data[:cut], careful=False)
        if data[cut:]:
            self.quotes |= b'"' in data
            self.by_reference(data[cut:])

    def complete(self, data: bytes) -> int:
        """The length of the whole records at the start of `data`."""
        if b'"' not in data:
            return data.rfind(b"\n") + 1
        array = np.frombuffer(data, np.uint8)
        at = np.flatnonzero((array == QUOTE) | (array == LF))
        quote = array[at] == QUOTE
        ends = at[~quote & (np.cumsum(quote) % 2 == 0)]
        return int(ends[-1]) + 1 if len(ends) else 0

    def check(self, data: bytes, *, careful: bool) -> None:
        """Pass whole records, or find out from the reference why not."""
        quoted = b'"' in data
        rows = None
        careful = careful or self.limits.field_bytes < 2 * BLOCK or self.blank_lines > 0
        if not careful and b"\0" not in data and _utf8(data):
            rows = self.quoted_rows(data) if quoted else self.plain_rows(data)
        if rows is None:
            self.by_reference(data)
        else:
            self.rows += rows
            self.line += data.count(b"\n") if quoted else rows
            self.offset += len(data)
        self.quotes |= quoted

    def plain_rows(self, data: bytes) -> int | None:
        """The number of records, if none has a quote and all have the right shape."""
        crlf = 0
        if b"\r" in data:
            crlf = data.count(b"\r\n")
            if crlf != data.count(b"\r"):
                return None
        rows = self.regular(data.translate(None, self.other))
        if rows is not None:
            self.newlines += Counter(CRLF=crlf, LF=rows - crlf)
        return rows

    def quoted_rows(self, data: bytes) -> int | None:
        """The same where there are quotes: parity says what is inside a field."""
        array = np.frombuffer(data, np.uint8)
        structural = (array == QUOTE) | (array == LF) | (array == self.delimiter)
        if has_cr := b"\r" in data:
            structural |= array == CR
        at = np.flatnonzero(structural)
        byte = array[at]
        quote = byte == QUOTE
        inside = np.cumsum(quote, dtype=np.uint32) & 1 == 1
        if not self.quotes_stand_right(array, at[quote & inside], at[quote & ~inside]):
            return None
        if has_cr:
            returns = at[(byte == CR) & ~inside]
            if not (array[returns + 1] == LF).all():
                return None
        outside = ~inside & ~quote & (byte != CR)
        rows = self.regular(byte[outside].tobytes())
        embedded = int(np.count_nonzero(inside & (byte == LF)))
        if rows is None or self.too_wide(at[outside]):
            return None
        if embedded >= self.limits.field_lines and self.too_tall(
            np.cumsum(outside)[inside & (byte == LF)]
        ):
            return None
        crlf = len(returns) if has_cr else 0
        self.embedded += embedded
        self.newlines += Counter(CRLF=crlf, LF=rows - crlf)
        return rows

    def quotes_stand_right(
        self, array: np.ndarray, opening: np.ndarray, closing: np.ndarray
    ) -> bool:
        """Opening quotes begin a field, closing ones end it, or both are doubled.

        `array` begins and ends at record borders, so neither index can fall off it.
        """
        before = array[opening[opening > 0] - 1]
        after = array[closing + 1]
        borders = (before == self.delimiter) | (before == LF) | (before == QUOTE)
        ends = (after == self.delimiter) | (after == LF) | (after == CR)
        return bool(borders.all() and (ends | (after == QUOTE)).all())

    def regular(self, skeleton: bytes) -> int | None:
        """How often the row skeleton stands here, if it is nothing else."""
        width = len(self.columns)
        while len(skeleton) > len(self.skeleton):
            self.skeleton *= 2
        if len(skeleton) % width or not self.skeleton.startswith(skeleton):
            return None
        return len(skeleton) // width

    def too_wide(self, separators: np.ndarray) -> bool:
        """Whether a field may be over the limit: two separators that far apart."""
        gaps = np.diff(separators, prepend=-1)
        return bool(gaps.max(initial=0) > self.limits.field_bytes)

    def too_tall(self, fields: np.ndarray) -> bool:
        """Whether one field holds as many newlines as the limit has lines.

        `fields` says for each embedded newline the number of the field it is in.
        """
        step = self.limits.field_lines - 1
        return bool((fields[step:] == fields[: len(fields) - step]).any())

    def by_reference(self, data: bytes) -> None:
        """Let the reference judge: it counts what it accepts and names what not."""
        found = records(
            data, self.delimiter, self.limits, line=self.line, offset=self.offset
        )
        start = self.offset
        try:
            for record in found:
                self.count(record, data[record.offset - start : record.end - start])
        except Fault as fault:
            self.refuse(fault)

    def count(self, record: Record, raw: bytes) -> None:
        if record.blank and len(self.columns) > 1:
            self.first_blank = self.first_blank or record
            self.blank_lines += 1
        else:
            self.refuse_blank()
            self.refuse_ragged(record)
            self.rows += 1
            self.embedded += record.lines - raw.endswith(b"\n")
            self.count_newline(raw)
        self.line += record.lines
        self.offset = record.end

    def count_newline(self, raw: bytes) -> None:
        if raw.endswith(b"\n"):
            self.newlines["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1

    # -- refusals ----------------------------------------------------------------

    def refuse_blank(self) -> None:
        if self.first_blank is not None:
            raise MalformedInput(
                "a blank line inside the file",
                file=self.uri,
                line=self.first_blank.line,
                byte_offset=self.first_blank.offset,
                why="readers disagree on it: a row of blanks, or nothing",
                help="remove the line",
            )

    def refuse_ragged(self, record: Record) -> None:
        found, expected = len(record.fields), len(self.columns)
        if found != expected:
            raise MalformedInput(
                f"a row of {found} fields under a header of {expected}",
                file=self.uri,
                line=record.line,
                byte_offset=record.offset,
                column=self.columns[found] if found < expected else None,
                why="a delimiter or a quote was lost, or the row was cut",
                help="write the row again with one field for each column",
            )

    def refuse(self, fault: Fault) -> NoReturn:
        error: type[ReconError] = (
            EncodingError if isinstance(fault, EncodingFault) else MalformedInput
        )
        known = fault.field is not None and fault.field < len(self.columns)
        raise error(
            fault.reason,
            file=self.uri,
            line=fault.line,
            byte_offset=fault.offset,
            column=self.columns[fault.field]
            if known and fault.field is not None
            else None,
            why="the file is not strict RFC 4180 CSV in UTF-8",
            help="write the file again with a CSV writer; fields that hold quotes, "
            "delimiters or newlines are quoted, and quotes in them doubled",
        ) from None


def _utf8(data: bytes) -> bool:
    """Whether whole records are UTF-8; a record never ends inside a character."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
