"""The reference parser of records; `csv_reader` validates a whole file.

    file   = record *(newline record) [newline]
    record = field *(delimiter field)
    field  = *TEXT / DQUOTE *(TEXT / delimiter / CR / LF / 2DQUOTE) DQUOTE
    newline = LF / CRLF
    TEXT   = any UTF-8 byte but NUL, CR, LF, DQUOTE and the delimiter

It is strict RFC 4180 over bytes, written to be read: it goes from one byte that the
grammar names to the next. `scanner` decides for regular blocks. `csv_reader` calls this
parser for the header and for blocks that `scanner` rejects, to name the fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Limits


QUOTE: Final = 0x22
LF: Final = 0x0A
CR: Final = 0x0D
NUL: Final = 0x00
END_IN_QUOTES: Final = lazy_pattern(rb'[\x00\n"]')


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its place, and its fields as unquoted bytes.

    `end` is the offset after its newline; `lines` the number of newlines in it.
    """

    line: int
    offset: int
    end: int
    lines: int
    fields: tuple[bytes, ...]

    @property
    def blank(self) -> bool:
        """Whether it is an empty line: no bytes but the newline."""
        return self.fields == (b"",) and self.end - self.offset - self.lines <= 1


class Fault(Exception):
    """The first byte that violates the grammar: its place, never its value."""

    def __init__(
        self, reason: str, line: int, offset: int, field: int | None = None
    ) -> None:
        """`line` from 1, `offset` and `field` from 0."""
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.offset = offset
        self.field = field


class EncodingFault(Fault):
    """A field has a byte sequence that is not UTF-8; `offset` is its first byte."""


class NulFault(Fault):
    """A NUL byte, in or outside of quotes."""


class Unterminated(Fault):
    """The bytes end inside a quoted field."""


def parse_records(
    data: bytes,
    delimiter: int,
    limits: Limits,
    *,
    line: int = 1,
    offset: int = 0,
) -> Iterator[Record]:
    """Yield the records of `data`, which begins at a record boundary.

    `line` and `offset` are the place of `data` in the file. Raises Fault.
    """
    reader = _RecordParser(data, delimiter, limits, line, offset)
    while reader.at < len(data):
        yield reader.read_record()


class _RecordParser:
    """A cursor over the bytes; `at` is the offset of the next byte."""

    def __init__(
        self, data: bytes, delimiter: int, limits: Limits, line: int, offset: int
    ) -> None:
        self.data = data
        self.delimiter = delimiter
        ends = b'\x00\n\r"' + re.escape(bytes([delimiter]))
        self.end_of_text = re.compile(b"[" + ends + b"]")
        self.limits = limits
        self.line = line
        self.base = offset
        self.at = 0
        self.field = 0

    def read_record(self) -> Record:
        line, start = self.line, self.at
        fields = [self.read_next_field(0)]
        while self.peek() == self.delimiter:
            self.at += 1
            fields.append(self.read_next_field(len(fields)))
        self.read_newline()
        return Record(
            line, self.base + start, self.base + self.at, self.line - line, (*fields,)
        )

    def read_next_field(self, number: int) -> bytes:
        self.field = number
        start, line = self.at, self.line
        value = self.read_quoted() if self.peek() == QUOTE else self.read_unquoted()
        # Each field by itself: what ends one is ASCII, and no byte of a longer
        # character is.
        self.check_utf8(value, start, line)
        return value

    def read_unquoted(self) -> bytes:
        start = self.at
        if self.skip_text(self.end_of_text, start, self.line) == QUOTE:
            self.fault("a quote inside an unquoted field")
        return self.data[start : self.at]

    def read_quoted(self) -> bytes:
        start, line = self.at, self.line
        self.at += 1
        # Limits are checked while reading: after a missing quote, the field would go on
        # to the end of the file.
        while (byte := self.skip_text(END_IN_QUOTES, start, line)) is not None:
            self.at += 1
            if byte == QUOTE and self.peek() != QUOTE:
                self.read_after_quote()
                self.check_length(start, line)
                return self.data[start + 1 : self.at - 1].replace(b'""', b'"')
            # The second quote of a doubled one.
            self.at += byte == QUOTE
            self.line += byte == LF
            self.check_length(start, line)
            if self.line - line >= self.limits.field_lines:
                lines = self.limits.field_lines
                self.fault(f"a field of more than {lines} lines", line, start)
        # At its opening quote: the place of the missing one is not known.
        raise Unterminated(
            "a quoted field that never ends", line, self.base + start, self.field
        )

    def read_after_quote(self) -> None:
        if self.peek() not in (None, self.delimiter, LF, CR):
            self.fault("text after a closing quote")

    def skip_text(self, end: re.Pattern[bytes], start: int, line: int) -> int | None:
        """Go to the first byte that is no text of the field, and return it."""
        found = end.search(self.data, self.at)
        self.at = found.start() if found else len(self.data)
        self.check_length(start, line)
        byte = self.peek()
        if byte == NUL:
            raise NulFault("a NUL byte", self.line, self.base + self.at, self.field)
        return byte

    def read_newline(self) -> None:
        if self.peek() == CR:
            if self.data[self.at + 1 : self.at + 2] != b"\n":
                self.fault("a carriage return without a line feed")
            self.at += 1
        if self.peek() == LF:
            self.at += 1
            self.line += 1

    def peek(self) -> int | None:
        return self.data[self.at] if self.at < len(self.data) else None

    def fault(
        self, reason: str, line: int | None = None, offset: int | None = None
    ) -> NoReturn:
        raise Fault(
            reason,
            self.line if line is None else line,
            self.base + (self.at if offset is None else offset),
            self.field,
        )

    def check_length(self, start: int, line: int) -> None:
        if self.at - start > self.limits.field_bytes:
            longest = f"{self.limits.field_bytes:,}"
            self.fault(f"a field of more than {longest} bytes", line, start)

    def check_utf8(self, value: bytes, start: int, line: int) -> None:
        if (bad := _first_bad_byte(value)) is None:
            return
        # `value` lacks the quotes, so the place is found in the bytes as written.
        raw = self.data[start : self.at]
        at = _first_bad_byte(raw) or bad
        raise EncodingFault(
            "a byte that is not UTF-8",
            line + raw.count(b"\n", 0, at),
            self.base + start + at,
            self.field,
        )


def _first_bad_byte(data: bytes) -> int | None:
    """The offset of the first byte that is not UTF-8; None if there is none."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None
