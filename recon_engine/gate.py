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
import re
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import numpy as np

from recon_engine.csvfile import BOM, CsvFile, Dialect, Part
from recon_engine.errors import (
    EmptyFile,
    EncodingError,
    MalformedInput,
    ReconError,
    listed,
    looks_like_header,
)
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

    from numpy.typing import NDArray


BLOCK: Final = 1 << 18
PART: Final = 1 << 23
HEADER_BYTES: Final = 1 << 24
END_OF_COPY: Final = re.compile(rb"^\\\.\r?$", re.MULTILINE)
FOREIGN: Final = (
    (b"\xff\xfe", EncodingError, "it begins with a UTF-16 or UTF-32 byte order mark"),
    (b"\xfe\xff", EncodingError, "it begins with a UTF-16 byte order mark"),
    (b"\x00\x00\xfe\xff", EncodingError, "it begins with a UTF-32 byte order mark"),
    (b"\x1f\x8b", MalformedInput, "it is a gzip stream"),
    (b"\x28\xb5\x2f\xfd", MalformedInput, "it is a zstd stream"),
    (b"PK\x03\x04", MalformedInput, "it is a zip archive or a spreadsheet"),
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
        gate.end_part()
    return CsvFile(
        path=path,
        uri=uri or str(path),
        columns=gate.columns,
        rows=gate.rows,
        parts=tuple(gate.parts),
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
        self.parts: list[Part] = []
        self.part_offset = 0
        self.part_rows = 0
        self.offset = 0
        self.line = 1
        self.bom = False
        self.quotes = False
        self.soh = False
        self.end_of_copy = False
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
            soh=self.soh,
            end_of_copy=self.end_of_copy,
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
            if len(data) > HEADER_BYTES:
                self.refuse_header(f"a header of more than {HEADER_BYTES:,} bytes")
            block = source.more(max(BLOCK, len(data)))
            if not block:
                record = self.first_record(data, final=True)
                break
            data += block
        assert record is not None  # noqa: S101 - a final read ends or raises
        source.rest = data[record.end - self.offset :]
        self.count_header(record, data)
        self.columns = self.names(record)
        self.part_offset = self.offset
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
            self.refuse_header(f"the header has no name in column {listed(blank)}")
        if len(set(names)) < len(names):
            repeated = next(name for name, n in Counter(names).items() if n > 1)
            at = [str(at) for at, name in enumerate(names, 1) if name == repeated]
            name = f"the name {repeated}" if looks_like_header([repeated]) else "a name"
            self.refuse_header(
                f"the header has {name} more than once: columns {listed(at)}"
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
        while block := source.more(max(BLOCK, len(pending))):
            # A field over the limit fills at least one whole block without a record's
            # end, so only behind such blocks need field sizes be looked at.
            huge = len(pending) >= BLOCK or self.limits.field_bytes < 2 * BLOCK
            pending = self.consume(pending + block, careful=huge)
        if pending:
            self.quotes |= b'"' in pending
            self.note(pending)
            self.by_reference(pending)

    def consume(self, data: bytes, *, careful: bool) -> bytes:
        """Pass the whole records at the start of `data`; answer what is left."""
        view = _Quoted(data, self.delimiter) if b'"' in data else None
        cut = view.complete if view else data.rfind(b"\n") + 1
        if cut:
            self.check(data[:cut], view, careful=careful)
        elif len(data) > self.limits.field_bytes * (len(self.columns) + 1):
            self.by_reference(data)
        return data[cut:]

    def check(self, data: bytes, view: _Quoted | None, *, careful: bool) -> None:
        """Pass whole records, or find out from the reference why not."""
        rows = None
        if not careful and not self.blank_lines and b"\0" not in data and _utf8(data):
            rows = self.quoted_rows(data, view) if view else self.plain_rows(data)
        if rows is None:
            self.by_reference(data)
        else:
            self.rows += rows
            self.line += data.count(b"\n") if view else rows
            self.offset += len(data)
        self.quotes |= view is not None and b'"' in data
        self.note(data)
        if self.offset - self.part_offset >= PART:
            self.end_part()

    def note(self, data: bytes) -> None:
        """Keep what readers of other tastes than ours would stumble over."""
        self.soh |= b"\x01" in data
        self.end_of_copy |= b"\\." in data and END_OF_COPY.search(data) is not None

    def end_part(self) -> None:
        """Close the part that has grown; blank lines at the end are not in it."""
        end = self.first_blank.offset if self.first_blank else self.offset
        if rows := self.rows - self.part_rows:
            size = end - self.part_offset
            self.parts.append(Part(self.part_offset, size, self.part_rows, rows))
        self.part_offset, self.part_rows = end, self.rows

    def plain_rows(self, data: bytes) -> int | None:
        """The number of records, if none has a quote and all have the right shape."""
        crlf = 0
        if b"\r" in data:
            crlf = data.count(b"\r\n")
            if crlf != data.count(b"\r"):
                return None
        rows = self.regular(data.translate(None, self.other))
        if rows is not None:
            self.count_newlines(rows, crlf)
        return rows

    def quoted_rows(self, data: bytes, view: _Quoted) -> int | None:
        """The same where there are quotes: parity says what is inside a field."""
        if not view.quotes_stand_right():
            return None
        crlf = 0
        if b"\r" in data:
            crlf = view.carriage_returns()
            if crlf < 0:
                return None
        embedded = view.embedded_newlines()
        if len(embedded) >= self.limits.field_lines and view.any_field_holds(
            embedded, self.limits.field_lines
        ):
            return None
        rows = self.regular(view.skeleton())
        if rows is not None:
            self.embedded += len(embedded)
            self.count_newlines(rows, crlf)
        return rows

    def regular(self, skeleton: bytes) -> int | None:
        """How often the row skeleton stands here, if it is nothing else."""
        width = len(self.columns)
        while len(skeleton) > len(self.skeleton):
            self.skeleton *= 2
        if len(skeleton) % width or not self.skeleton.startswith(skeleton):
            return None
        return len(skeleton) // width

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

    def count_newlines(self, rows: int, crlf: int) -> None:
        self.newlines["CRLF"] += crlf
        self.newlines["LF"] += rows - crlf

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
                column=self.column(found),
                why="a delimiter or a quote was lost, or the row was cut",
                help="write the row again with one field for each column",
            )

    def refuse(self, fault: Fault) -> NoReturn:
        error: type[ReconError] = (
            EncodingError if isinstance(fault, EncodingFault) else MalformedInput
        )
        raise error(
            fault.reason,
            file=self.uri,
            line=fault.line,
            byte_offset=fault.offset,
            column=self.column(fault.field),
            why="the file is not strict RFC 4180 CSV in UTF-8",
            help="write the file again with a CSV writer; fields that hold quotes, "
            "delimiters or newlines are quoted, and quotes in them doubled",
        ) from None

    def column(self, at: int | None) -> str | None:
        """A column for people: its number where names may be a record's values."""
        if at is None or at >= len(self.columns):
            return None
        return self.columns[at] if looks_like_header(self.columns) else f"#{at + 1}"


class _Quoted:
    """Bytes from a record's first on, with the quote parity of each.

    `inside` is 1 from an opening quote up to, not including, the closing one. All
    views end with the last whole record; `complete` is how many bytes that is.
    """

    def __init__(self, data: bytes, delimiter: int) -> None:
        array = np.frombuffer(data, np.uint8)
        quote = array == QUOTE
        inside = np.add.accumulate(quote.view(np.uint8), dtype=np.uint8) & np.uint8(1)
        self.complete = _last_newline_outside(data, inside)
        self.array = array[: self.complete]
        self.quote = quote[: self.complete]
        self.inside = inside[: self.complete].view(bool)
        self.newline = self.array == LF
        self.separator = self.newline | (self.array == delimiter)

    def quotes_stand_right(self) -> bool:
        """Opening quotes begin a field, closing ones end it, or both are doubled.

        The bytes begin and end at record borders, so no neighbour is out of reach.
        """
        opening, closing = self.quote & self.inside, self.quote & ~self.inside
        before = self.separator | self.quote
        after = before | (self.array == CR)
        strays = (opening[1:] & ~before[:-1]).any() or (closing[:-1] & ~after[1:]).any()
        return not strays

    def carriage_returns(self) -> int:
        """How many there are outside of fields; -1 if one is not before a newline."""
        at = np.flatnonzero((self.array == CR) & ~self.inside)
        return len(at) if self.newline[at + 1].all() else -1

    def embedded_newlines(self) -> NDArray[np.intp]:
        """Where newlines are inside of fields."""
        return np.flatnonzero(self.newline & self.inside)

    def any_field_holds(self, newlines: NDArray[np.intp], limit: int) -> bool:
        """Whether one field spans more than `limit` lines."""
        field = np.cumsum(self.separator & ~self.inside)[newlines]
        step = limit - 1
        return bool((field[step:] == field[: len(field) - step]).any())

    def skeleton(self) -> bytes:
        """The delimiters and newlines that are outside of fields."""
        return bytes(self.array[self.separator & ~self.inside].tobytes())


def _last_newline_outside(data: bytes, inside: NDArray[np.uint8]) -> int:
    """The length of the whole records at the start of `data`."""
    at = data.rfind(b"\n")
    while at >= 0 and inside[at]:
        at = data.rfind(b"\n", 0, at)
    return at + 1


def _utf8(data: bytes) -> bool:
    """Whether whole records are UTF-8; a record never ends inside a character."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
