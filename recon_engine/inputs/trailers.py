"""The end of a file: trailers with a count and sums, and an end mark.

`find_end` reads the end of a file before its rows, so that a trailer is in no row. Its
count and sums are checked when the rows were read (`check_trailer`, `trailer_sums`).
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NoReturn

from recon_engine.config import ONE_CHARACTER, Quote
from recon_engine.errors import ConfigError, MalformedInput, ReconError
from recon_engine.formatting import describe_columns, format_count
from recon_engine.inputs.rfc4180 import Fault, parse_records
from recon_engine.lazy import lazy_pattern
from recon_engine.model import EXACT
from recon_engine.records import dataclass
from recon_engine.suggestions import looks_like_header


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from recon_engine.config import Limits, SideOptions
    from recon_engine.inputs.header import Header

    ReadAt = Callable[[int, int], bytes]
    ReadAmount = Callable[[str, str], Decimal | None]

PLAIN_NUMBER: Final = lazy_pattern(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)
EOF_MARK: Final = b"\x1a"
# 64 KiB hold any usual trailer. One of more than 16 MiB is none.
TAIL_BYTES: Final = 1 << 16
MOST_TAIL_BYTES: Final = 1 << 24
COUNT_BYTES: Final = 1 << 20
# No file has as many records as a number of more digits says.
MOST_DIGITS: Final = 20


class DeliveredOffset(int):
    """An offset in the text as delivered, where the reader has a translated one."""


@dataclass(frozen=True, slots=True)
class Trailer:
    """A record at the end of a file that is no row; `offset` is where it begins."""

    prefix: str
    offset: int
    fields: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FileEnd:
    """Where the table ends, and what follows it.

    `marks`: how many end marks there are, 0 or 1.
    """

    end: int
    trailers: tuple[Trailer, ...] = ()
    marks: int = 0


@dataclass(frozen=True, slots=True)
class _TailReader:
    """The end of a file, with the options that say what it has to be."""

    frame: SideOptions
    delimiter: str
    limits: Limits
    uri: str

    def find(self, read: ReadAt, size: int) -> FileEnd:
        """The end of the table; raises MalformedInput if a trailer is missing."""
        window = TAIL_BYTES
        try:
            while True:
                start = max(0, size - window)
                found = self._cut(read(size - start, start), start)
                if found is not None:
                    return found
                # Four times as many bytes: what is read again stays below what is read.
                window *= 4
        except MalformedInput as error:
            error.line = line_of(read, error.byte_offset or 0)
            raise

    def _cut(self, data: bytes, start: int) -> FileEnd | None:
        """The end, from the bytes from `start` on; None if more are needed."""
        stop = len(data)
        marks = int(self.frame.eof_mark and data.endswith(EOF_MARK))
        stop -= marks
        if not self.frame.trailers:
            return FileEnd(start + stop, (), marks)
        found: list[Trailer] = []
        # Blank lines at the end of a file are allowed, with a trailer before them too.
        end = _without_newlines(data, stop)
        for prefix in reversed(self.frame.trailers):
            # A trailer is one line, so the newline before it is the last one, whatever
            # quotes are in it.
            begin = data.rfind(b"\n", 0, end) + 1
            if not begin and start:
                if len(data) < MOST_TAIL_BYTES:
                    return None
                self.refuse_missing(prefix, start)
            fields = self.split(data[begin:end], prefix)
            if not fields or fields[0] != prefix.encode():
                self.refuse_missing(prefix, start + begin)
            found.append(Trailer(prefix, start + begin, fields))
            stop, end = begin, _without_newline(data, begin)
        return FileEnd(start + stop, tuple(reversed(found)), marks)

    def split(self, line: bytes, prefix: str) -> tuple[bytes, ...]:
        """The fields of a trailer; none if it is not one record."""
        own = self.frame.trailer_delimiter
        delimiter = own or self.delimiter
        plain = self.frame.fixed or self.frame.quote is Quote.NONE
        if plain or not ONE_CHARACTER.fullmatch(delimiter):
            return self.split_plain(line, prefix, delimiter)
        try:
            records = list(parse_records(line, ord(delimiter), self.limits))
        except Fault:
            return ()
        return records[0].fields if len(records) == 1 else ()

    def split_plain(
        self, line: bytes, prefix: str, delimiter: str
    ) -> tuple[bytes, ...]:
        """The fields of a trailer in which quotes are ordinary characters."""
        # What the reader refuses in any record: a byte that is not UTF-8, NUL, a
        # carriage return.
        if line.decode(errors="replace").encode() != line or {0, 13} & set(line):
            return ()
        fields = tuple(line.split(delimiter.encode()))
        # A line of a fixed width has no fields, so its first characters are compared.
        if self.frame.fixed and line.startswith(prefix.encode()):
            others = fields[1:] if self.frame.trailer_delimiter else ()
            return (prefix.encode(), *others)
        return () if self.frame.fixed else fields

    def refuse_missing(self, prefix: str, offset: int) -> NoReturn:
        """Raise the error for a file that does not end with its trailer."""
        flag = self.frame.flags.spell("trailer")
        raise MalformedInput(
            f"the file does not end with a record {prefix}: it may be cut",
            file=self.uri,
            byte_offset=offset,
            why=f"{flag} is {prefix}, and the last record has another first field",
            help="deliver the complete file again, or omit the option",
        )


def find_end(
    read: ReadAt,
    size: int,
    frame: SideOptions,
    *,
    delimiter: str,
    limits: Limits,
    uri: str,
) -> FileEnd:
    """Where the table of a file ends.

    Args:
        read: `pread` of the file: size, then offset.
        size: The number of bytes of the file.
        frame: What is around the table.
        delimiter: The delimiter of the table.
        limits: Size limits of fields.
        uri: The name of the file, for errors.

    Raises MalformedInput if the file does not end with the trailers that are named.
    """
    if not (frame.trailers or frame.eof_mark):
        return FileEnd(size)
    return _TailReader(frame, delimiter, limits, uri).find(read, size)


def _without_newline(data: bytes, stop: int) -> int:
    """The offset of the newline that ends before `stop`; `stop` without one."""
    if data[stop - 1 : stop] != b"\n":
        return stop
    return stop - 1 - (data[stop - 2 : stop - 1] == b"\r")


def _without_newlines(data: bytes, stop: int) -> int:
    while (before := _without_newline(data, stop)) < stop:
        stop = before
    return stop


def line_of(read: ReadAt, offset: int) -> int:
    """The line number of an offset, from 1."""
    count = 1
    for start in range(0, offset, COUNT_BYTES):
        count += read(min(COUNT_BYTES, offset - start), start).count(b"\n")
    return count


@dataclass(frozen=True, slots=True)
class Expected:
    """A number that a trailer says; `column`: None for the number of records."""

    trailer: Trailer
    field: int
    column: str | None


def list_expected(
    frame: SideOptions, trailers: Sequence[Trailer]
) -> Iterator[Expected]:
    """What the trailers of a file say about its records, as the options name it."""
    by_prefix = {trailer.prefix: trailer for trailer in trailers}
    for text in frame.trailer_counts:
        prefix, number = frame.split_trailer_field(text)
        yield Expected(by_prefix[prefix], number, None)
    for text in frame.trailer_sums:
        place, _, column = text.partition("=")
        prefix, number = frame.split_trailer_field(place)
        yield Expected(by_prefix[prefix], number, column)


def check_trailer(
    header: Header,
    rows: int,
    rejected: int = 0,
    sums: Mapping[str, Decimal] | None = None,
    read_amount: ReadAmount | None = None,
) -> None:
    """Compare what the trailers of a file say with what it has.

    Args:
        header: The header of the file.
        rows: The number of its rows.
        rejected: The number of its quarantined rows, which are counted, not summed.
        sums: The sum of each column that a trailer sums; None to check counts only.
        read_amount: Reads a text as a value of a column; None if it is none. A text
            that it does not read may be a plain number.

    Raises MalformedInput; a sum is never in its text.
    """
    records = rows + rejected
    for each in list_expected(header.frame, header.trailers):
        if each.column is None:
            stated = _read_number(header, each)
            if stated != records:
                raise trailer_error(
                    header,
                    each.trailer.offset,
                    f"the trailer says {_say(stated)}, the file has {records:,}",
                    why="records are missing, or were added, after the trailer was"
                    " written",
                )
        elif sums is not None:
            stated = _read_number(header, each, read_amount)
            if stated == sums[each.column]:
                continue
            raise _sum_error(header, each, rejected)


def _sum_error(header: Header, expected: Expected, rejected: int) -> ReconError:
    """The error for a sum that is another one than that of the rows."""
    reason = {
        "why": "a record is missing, was added or was changed after the trailer"
        " was written; or the column has a rule that reads other values"
    }
    if rejected:
        flag = header.frame.flags.spell("trailer-sum")
        reason = {
            "why": format_count(rejected, "quarantined row")
            + f" {'is' if rejected == 1 else 'are'} not in the sum",
            "help": f"correct these rows, which are listed without {flag}",
        }
    message = f"field {expected.field} of the trailer is not the sum of "
    message += str(expected.column)
    return trailer_error(header, expected.trailer.offset, message, **reason)


def _say(count: Decimal) -> str:
    digits = count.adjusted() + 1
    if digits > MOST_DIGITS:
        return f"a number of {format_count(digits, 'digit')}"
    if count == count.to_integral_value():
        return format_count(int(count), "record")
    return "no whole number of records"


def _read_number(
    header: Header, expected: Expected, read_amount: ReadAmount | None = None
) -> Decimal:
    fields = expected.trailer.fields
    number = None
    if expected.field <= len(fields):
        text = fields[expected.field - 1].decode(errors="replace").strip()
        if read_amount is not None and expected.column is not None:
            number = read_amount(expected.column, text)
        # Digits only: an exponent could stand for more digits than there is memory.
        if number is None and PLAIN_NUMBER.fullmatch(text):
            number = Decimal(text)
    if number is None:
        raise trailer_error(
            header,
            expected.trailer.offset,
            f"field {expected.field} of the trailer is not a number"
            if expected.field <= len(fields)
            else f"the trailer has {format_count(len(fields), 'field')}",
            why=f"field {expected.field} is to be the "
            + ("number of records" if expected.column is None else "sum of a column"),
            help="name the field of the trailer that has it, counted from 1",
        )
    return number


def trailer_error(
    header: Header,
    offset: int,
    message: str,
    *,
    why: str,
    help: str = "deliver the complete file again",  # noqa: A002 - as in ReconError
) -> ReconError:
    """The error for a trailer, with its line."""
    error = MalformedInput(
        message,
        file=header.uri,
        byte_offset=DeliveredOffset(offset),
        why=why,
        help=help,
    )
    translation = header.origin.translation if header.origin else None
    path = translation.source if translation else header.path
    # The path of an object is only its name, which a file here may have, too: an object
    # has no state. The offset says where it is, as in a file of another machine.
    if header.state and path.exists():
        with path.open("rb") as stream:
            descriptor = stream.fileno()
            error.line = line_of(lambda n, at: os.pread(descriptor, n, at), offset)
    return error


def unexpected_trailer(
    header: Header, line: int, offset: int, prefix: str
) -> ReconError:
    """The error for a record that begins as a trailer, and is not at the end."""
    flag = header.frame.flags.spell("trailer")
    return MalformedInput(
        f"an unexpected trailer: the first field of a record is {prefix}",
        file=header.uri,
        line=line,
        byte_offset=offset,
        why="a trailer is at the end of a file; two deliveries may have been joined",
        help=f"deliver one file, or choose a {flag} that is the first field of no other"
        " record",
    )


def check_sum_columns(header: Header) -> None:
    """Raise ConfigError if a trailer sums a column that the file does not have."""
    for each in list_expected(header.frame, header.trailers):
        if each.column is not None and each.column not in header.columns:
            raise ConfigError(
                f"{header.frame.flags.spell('trailer-sum')}: the file has no column "
                f"{each.column}",
                file=header.uri,
                # Without a header they are values of the first row.
                help=describe_columns(
                    header.columns, quotable=looks_like_header(header.columns)
                ),
            )


def summed_columns(header: Header) -> tuple[str, ...]:
    """The columns that a trailer sums."""
    expected = list_expected(header.frame, header.trailers)
    return tuple(dict.fromkeys(each.column for each in expected if each.column))


def add_exactly(sums: dict[str, Decimal], others: Mapping[str, Decimal]) -> None:
    """Add the sums of other records."""
    for name, value in others.items():
        sums[name] = EXACT.add(sums.get(name, Decimal(0)), value)
