"""Translate a text with another record syntax to CSV, and its offsets back.

Fixed width, delimiters of several characters, quotes that are ordinary characters, and
fields as Excel writes text: the table is written as CSV to local disk, in blocks. Lines
keep their numbers. The reader then decides what is accepted, and its offsets are mapped
back to the text as delivered (`Translation.map_offsets`).
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Final, NoReturn

from recon_engine.errors import EncodingError, MalformedInput
from recon_engine.formatting import format_count
from recon_engine.inputs.encodings import UNNAMED
from recon_engine.inputs.native.binding import replace_marks
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanner import whole_records_size
from recon_engine.inputs.trailers import DeliveredOffset, line_of
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import SMALL_BYTES
from recon_engine.runtime.lazy_module import np
from recon_engine.storage.base import sha256_of


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from recon_engine.config import FixedColumn, SideFlags
    from recon_engine.inputs.pinned_file import State
    from recon_engine.inputs.trailers import FileEnd

    ReadAt = Callable[[int, int], bytes]
    # The bytes from the first to the second offset become the third.
    Piece = tuple[int, int, bytes]

BLOCK_BYTES: Final = 1 << 22
# The number of characters of a longer line is not counted.
LONG_LINE: Final = 1 << 20
# The delimiter of the translated text: a control character that tables hardly have.
SEPARATOR: Final = b"\x1f"
# What a line of a fixed width is examined for, one by one.
SPECIAL: Final = (b'"', b"\0", SEPARATOR)
SEPARATOR_NAME: Final = "0x1F"


LONE_RETURN: Final = "a carriage return without a line feed"
FORBIDDEN: Final = (
    (b"\r", LONE_RETURN),
    (b"\0", "a NUL byte"),
)
CSV_TEXT: Final = "export the file again as text"


class _Unreadable(Exception):
    """A place in a block that cannot be translated, and why."""

    def __init__(self, offset: int, message: str, why: str, remedy: str) -> None:
        super().__init__(message)
        self.offset, self.why, self.remedy = offset, why, remedy


@dataclass(frozen=True, slots=True)
class Syntax:
    """How the records of a text are written.

    `delimiter`: as delivered. `quotes`: whether quotes enclose fields. `excel`: whether
    `="…"` is a field. `columns`: those of a fixed width; without a delimiter then.
    `marks`: how a trailer begins, which no record of a fixed width may. `field_bytes`:
    the largest field that the reader accepts. `flags`: how the options were given, for
    errors.
    """

    delimiter: bytes
    quotes: bool
    excel: bool
    columns: tuple[FixedColumn, ...]
    marks: tuple[bytes, ...]
    field_bytes: int
    flags: SideFlags

    @property
    def written(self) -> str:
        """The delimiter of the translated text."""
        plain = len(self.delimiter) == 1 and not self.columns
        return (self.delimiter if plain else SEPARATOR).decode()

    @property
    def shown(self) -> str:
        """The delimiter as delivered; that of the translated text for a fixed width."""
        return self.written if self.columns else self.delimiter.decode()

    def translator(self) -> _Translator:
        """What translates blocks of whole records."""
        if self.columns:
            return _FixedWidth(self)
        return _Delimited(self) if self.quotes else _Unquoted(self)


class _Translator:
    """Translates blocks; `count`: how many fields were unwrapped."""

    def __init__(self, syntax: Syntax) -> None:
        self.syntax = syntax
        self.out = syntax.written.encode()
        self.count = 0

    def translate(self, data: bytes) -> bytes | memoryview:
        """The CSV of a block; raises _Unreadable."""
        text, at = list[bytes](), 0
        for start, stop, new in self.pieces(data):
            text += (data[at:start], new)
            at = stop
        return b"".join([*text, data[at:]])

    def pieces(self, data: bytes) -> Iterator[Piece]:
        """What is replaced in a block, in its order."""
        raise NotImplementedError

    @property
    def longest(self) -> int:
        """How many bytes without the end of a field are too many for a table."""
        return self.syntax.field_bytes

    def whole(self, data: bytes, mark: bytes = b"\n") -> int:
        """How many bytes of a block are whole records, or end with another mark."""
        at = data.rfind(mark)
        return at + len(mark) if at >= 0 else 0

    def part(self, data: bytes) -> int:
        """How many bytes of the beginning of a record end behind a delimiter."""
        mark = self.syntax.delimiter
        # What follows decides where a delimiter is that begins again within itself.
        return self.whole(data.rstrip(mark) if self.overlaps else data, mark)

    @cached_property
    def overlaps(self) -> list[int]:
        """The distances at which the delimiter may begin again within itself."""
        mark = self.syntax.delimiter
        return [at for at in range(1, len(mark)) if mark[at:] == mark[: len(mark) - at]]

    def split_all(self, data: bytes) -> bytes | memoryview:
        """A text without quotes in which each delimiter is the translated one.

        Raises _Unreadable if it cannot be split surely.
        """
        mark = self.syntax.delimiter
        if self.out == mark:
            return data
        if (at := data.find(self.out)) >= 0:
            self.refuse_separator(at)
        text = replace_marks(data, mark, self.out)
        if text is not None:
            return text
        if self.overlaps:
            at = data.find(mark)
            while at >= 0:
                if self.overlaps_at(data, at):
                    self.refuse_overlap(at)
                at = data.find(mark, at + len(mark))
        return data.replace(mark, self.out)

    def overlaps_at(self, data: bytes, at: int) -> bool:
        """Whether the delimiter at an offset begins again within itself."""
        mark = self.syntax.delimiter
        return any(
            data.startswith(mark, at + each) for each in self.overlaps
        ) and not data.startswith(mark, at + len(mark))

    def refuse_overlap(self, at: int) -> NoReturn:
        raise _Unreadable(
            at,
            "overlapping delimiters",
            "the delimiter begins again within itself: the end of a field is unclear",
            "export the file again with another delimiter",
        )

    def refuse_separator(self, at: int) -> NoReturn:
        raise _Unreadable(
            at,
            f"the control character {SEPARATOR_NAME} outside of quotes",
            "it is the delimiter while the file is translated",
            "export the file again without control characters",
        )


class _Delimited(_Translator):
    """A delimiter of several characters, or `="…"`, with quotes that enclose fields."""

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        mark = re.escape(self.syntax.delimiter)
        # Possessive: a doubled quote is not taken apart to end a field that is never
        # closed.
        quoted = rb'"(?:[^"]|"")*+"'
        parts = [rb"(?P<quoted>" + quoted + rb")"]
        if self.syntax.excel:
            parts.append(
                rb"(?:\A|(?<=\n)|(?<=" + mark + rb"))=(?P<excel>" + quoted + rb")"
                rb"(?=" + mark + rb"|\r?\n|\Z)"
            )
        if self.out != self.syntax.delimiter:
            parts += [rb"(?P<delimiter>" + mark + rb")", rb"(?P<separator>\x1f)"]
        return re.compile(b"|".join(parts))

    def whole(self, data: bytes, mark: bytes = b"\n") -> int:
        return whole_records_size(data, mark)

    def translate(self, data: bytes) -> bytes | memoryview:
        if b'"' not in data:
            return self.split_all(data)
        if self.out == self.syntax.delimiter and b'="' not in data:
            return data
        return super().translate(data)

    def pieces(self, data: bytes) -> Iterator[Piece]:
        for found in self.pattern.finditer(data):
            match found.lastgroup:
                case "excel":
                    self.count += 1
                    yield found.start(), found.start() + 1, b""
                case "delimiter":
                    at = found.start()
                    if self.overlaps_at(data, at):
                        self.refuse_overlap(at)
                    yield *found.span(), self.out
                case "separator":
                    self.refuse_separator(found.start())


class _Unquoted(_Translator):
    """Quotes are ordinary characters: a field with one is quoted in CSV."""

    def translate(self, data: bytes) -> bytes | memoryview:
        text = self.split_all(data)
        return super().translate(data) if b'"' in data else text

    def pieces(self, data: bytes) -> Iterator[Piece]:
        mark, start = self.syntax.delimiter, 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            line = data[start:end]
            if b'"' in line or self.out != mark:
                yield from self.pieces_of_line(line, start)
            start = end

    def pieces_of_line(self, line: bytes, at: int) -> Iterator[Piece]:
        mark = self.syntax.delimiter
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        for number, each in enumerate(text.split(mark)):
            if number:
                if self.out != mark:
                    yield at, at + len(mark), self.out
                at += len(mark)
            if (new := _quote_if_needed(each)) != each:
                if b"\r" in each:
                    # In quotes the reader would accept it.
                    place = at + each.index(b"\r")
                    raise _Unreadable(place, LONE_RETURN, "no text has it", CSV_TEXT)
                yield at, at + len(each), new
            at += len(each)


class _FixedWidth(_Translator):
    """Columns by the places of their characters."""

    @cached_property
    def width(self) -> int:
        """The number of characters of a line."""
        return max(column.stop for column in self.syntax.columns)

    @property
    def longest(self) -> int:
        """The bytes of a line of which each character has four, and its end."""
        return 4 * self.width + 2

    def part(self, data: bytes) -> int:  # noqa: ARG002
        """None: a line has no delimiter."""
        return 0

    def translate(self, data: bytes) -> bytes | memoryview:
        table = self.as_table(data)
        if table is None:
            return super().translate(data)
        for mark in self.syntax.marks:
            if len(mark) > self.width:
                continue
            prefix = np.frombuffer(mark, np.uint8)
            found = (table[:, : len(mark)] == prefix).all(axis=1)
            if found.any():
                self.refuse_mark(int(found.argmax()) * table.shape[1], mark)
        separator = np.full((len(table), 1), SEPARATOR[0], np.uint8)
        parts = []
        for column in self.syntax.columns:
            parts += [table[:, column.start : column.stop], separator]
        return np.hstack([*parts[:-1], table[:, self.width :]]).tobytes()

    def as_table(
        self, data: bytes
    ) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]] | None:
        """The lines of a block as rows of bytes; None if they are not all alike."""
        size = data.find(b"\n") + 1
        newline = b"\r\n" if data[size - 2 : size] == b"\r\n" else b"\n"
        rows = len(data) // size if size else 0
        plain = data.isascii() and not any(map(data.__contains__, SPECIAL))
        if data.count(b"\r") != rows * (len(newline) - 1):
            return None
        if not plain or not rows or rows * size != len(data):
            return None
        table = np.frombuffer(data, np.uint8).reshape(rows, size)
        ends = np.frombuffer(newline, np.uint8)
        alike = (table[:, size - len(newline) :] == ends).all()
        fits = size - len(newline) == self.width and data.count(b"\n") == rows
        return table if alike and fits else None

    def pieces(self, data: bytes) -> Iterator[Piece]:
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            text = data[start:end].removesuffix(b"\n").removesuffix(b"\r")
            # A blank line is counted by the reader, which refuses it before a row.
            if text or len(self.syntax.columns) == 1:
                yield start, start + len(text), self.cut(text, start)
            start = end

    def cut(self, text: bytes, at: int) -> bytes:
        """A line as CSV."""
        for mark in self.syntax.marks:
            if text.startswith(mark):
                self.refuse_mark(at, mark)
        # Also between the columns, where the reader does not see it.
        for byte, what in FORBIDDEN:
            if byte in text:
                place = at + text.index(byte)
                raise _Unreadable(place, what, "no text has it", CSV_TEXT)
        if len(text) > max(self.longest, LONG_LINE):
            # It may be a part of the line.
            self.refuse_width(at, f"more than {format_count(LONG_LINE, 'byte')}")
        try:
            line = text.decode()
        except UnicodeDecodeError as error:
            place = at + error.start
        else:
            place = -1
        if place >= 0:
            raise _Unreadable(place, "a byte that is not UTF-8", "", "")
        if len(line) != self.width:
            self.refuse_width(at, format_count(len(line), "character"))
        fields = (line[each.start : each.stop].encode() for each in self.syntax.columns)
        return SEPARATOR.join(map(_quote_if_needed, fields))

    def refuse_width(self, at: int, size: str) -> NoReturn:
        flag = self.syntax.flags.spell("fixed")
        raise _Unreadable(
            at,
            f"a line of {size}",
            f"{flag} has {format_count(self.width, 'character')} in each line",
            "deliver the complete file again, or correct the layout",
        )

    def refuse_mark(self, at: int, mark: bytes) -> NoReturn:
        flag = self.syntax.flags.spell("trailer")
        raise _Unreadable(
            at,
            f"an unexpected trailer: a line begins with {mark.decode()}",
            "a trailer is at the end of a file; two deliveries may have been joined",
            f"deliver one file, or choose a {flag} that no other line begins with",
        )


def _quote_if_needed(field: bytes) -> bytes:
    """A field as CSV has it."""
    if b'"' not in field and SEPARATOR not in field:
        return field
    return b'"' + field.replace(b'"', b'""') + b'"'


@dataclass(frozen=True, slots=True)
class Translation:
    """The text that a CSV file was translated from.

    `start`: where the table begins; what is before it is the same in both texts.
    `found`: where it ends in the source, and what follows it.
    """

    source: Path
    uri: str
    state: State
    syntax: Syntax
    start: int
    found: FileEnd

    @property
    def end(self) -> int:
        """The end of the table in the source."""
        return self.found.end

    def write(self, target: Path, advance: Callable[[int], None]) -> int:
        """Write the CSV; returns how many fields were unwrapped.

        Raises MalformedInput and EncodingError at their place in the source.
        """
        translator = self.syntax.translator()
        with (
            open_unchanged(self.source, self.uri, self.state) as descriptor,
            target.open("xb") as stream,
        ):
            read = _reader_of(descriptor)
            stream.write(read(self.start, 0))
            for offset, data in self.blocks(read, translator):
                try:
                    text = translator.translate(data)
                except _Unreadable as found:
                    fault = found
                else:
                    stream.write(text)
                    advance(len(data))
                    continue
                raise self.error(fault, offset + fault.offset, read)
        return translator.count

    def blocks(
        self, read: ReadAt, translator: _Translator
    ) -> Iterator[tuple[int, bytes]]:
        """The offset and the bytes of each block of whole records.

        A record that is too long for a block is cut behind a field. If no field ends
        either, the bytes are a block too, and the reader reports the fault in it.
        """
        offset, size = self.start, BLOCK_BYTES
        while data := read(min(size, self.end - offset), offset):
            stop = offset + len(data)
            # The file may have been cut: `open_unchanged` says so at the end.
            last = stop == self.end or not read(1, stop)
            cut = len(data) if last else translator.whole(data)
            if not cut and len(data) > translator.longest:
                cut = translator.part(data) or len(data)
            size = BLOCK_BYTES if cut else 2 * size
            if cut:
                yield offset, data[:cut]
                offset += cut

    def map_offsets(self, offsets: Sequence[int]) -> list[int]:
        """Offsets in the source, for ascending offsets in the translated text."""
        translator, mapped = self.syntax.translator(), list[int]()
        wanted = iter(offsets)
        with open_unchanged(self.source, self.uri, self.state) as descriptor:
            read = _reader_of(descriptor)
            # How far the translated text is ahead of the source.
            moved, following = 0, next(wanted, None)
            for offset, data in self.blocks(read, translator):
                if following is None:
                    break
                while following is not None and following <= self.start:
                    mapped.append(following)
                    following = next(wanted, None)
                try:
                    pieces = list(translator.pieces(data))
                except _Unreadable:
                    break
                for start, stop, new in [*pieces, (len(data), len(data), b"")]:
                    # Before the piece the texts are equal; in it, its start is meant.
                    while following is not None and following < (
                        offset + start + moved + len(new)
                    ):
                        mapped.append(min(following - moved, offset + start))
                        following = next(wanted, None)
                    moved += len(new) - (stop - start)
            while following is not None:
                mapped.append(min(following - moved, self.end))
                following = next(wanted, None)
        return mapped

    def error(self, fault: _Unreadable, offset: int, read: ReadAt) -> MalformedInput:
        """The error for a place in the source."""
        encoding = not fault.why
        kind: type[MalformedInput | EncodingError] = (
            EncodingError if encoding else MalformedInput
        )
        return kind(  # type: ignore[return-value]
            str(fault),
            file=self.uri,
            line=line_of(read, offset),
            byte_offset=DeliveredOffset(offset),
            why=fault.why or "the file is not UTF-8 text",
            help=fault.remedy or UNNAMED,
        )


def _reader_of(descriptor: int) -> ReadAt:
    return lambda size, offset: os.pread(descriptor, max(0, size), offset)


def hash_beside(path: Path, work: Callable[[], int]) -> tuple[int, str]:
    """The answer of `work`, and the SHA-256 of a file that is read meanwhile."""
    # A thread takes longer to start than a small file takes to read.
    if path.stat().st_size < SMALL_BYTES:
        return work(), sha256_of(path)
    with ThreadPoolExecutor(1, "hash") as pool:
        digest = pool.submit(sha256_of, path)
        return work(), digest.result()
