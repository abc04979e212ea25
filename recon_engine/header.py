"""The first record of a CSV file: what its columns are called, and where rows begin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from recon_engine.errors import (
    EmptyFile,
    EncodingError,
    MalformedInput,
    ReconError,
    listed,
    looks_like_header,
)
from recon_engine.rfc4180 import EncodingFault, Fault, Limits, Unterminated, records


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine.rfc4180 import Record

BOM: Final = b"\xef\xbb\xbf"
FIRST: Final = 1 << 18
LONGEST: Final = 1 << 24
FOREIGN: Final = (
    (b"\xff\xfe", EncodingError, "it begins with a UTF-16 or UTF-32 byte order mark"),
    (b"\xfe\xff", EncodingError, "it begins with a UTF-16 byte order mark"),
    (b"\x00\x00\xfe\xff", EncodingError, "it begins with a UTF-32 byte order mark"),
    (b"\x1f\x8b", MalformedInput, "it is a gzip stream"),
    (b"\x28\xb5\x2f\xfd", MalformedInput, "it is a zstd stream"),
    (b"PK\x03\x04", MalformedInput, "it is a zip archive or a spreadsheet"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """A file whose header passed the gate; its rows are yet to be read.

    `raw`: all bytes before the first row, a byte order mark included; `lines`: the
    newlines in them. `row_bytes` and `row_quotes`: about how long a row is and how
    many quotes it has, by the first rows.
    """

    path: Path
    uri: str
    delimiter: str
    limits: Limits
    columns: tuple[str, ...]
    raw: bytes
    lines: int
    bytes: int
    row_bytes: float
    row_quotes: float

    @property
    def bom(self) -> bool:
        """Whether the file begins with a byte order mark."""
        return self.raw.startswith(BOM)

    @property
    def expected_rows(self) -> int:
        """About how many rows there are; rather too many."""
        return int(1.1 * (self.bytes - len(self.raw)) / self.row_bytes) + 1


def read_header(
    path: Path,
    *,
    uri: str | None = None,
    delimiter: str = ",",
    limits: Limits | None = None,
) -> Header:
    """Read the first record of a file and settle its columns.

    Raises MalformedInput, EncodingError or EmptyFile, each with its place.
    """
    reader = _Reader(uri or str(path), ord(delimiter), limits or Limits())
    with path.open("rb") as stream:
        data, record = reader.read(stream)
        size = stream.seek(0, 2)
    rows = data[record.end :]
    count = max(1, rows.count(b"\n"))
    return Header(
        path=path,
        uri=reader.uri,
        delimiter=delimiter,
        limits=reader.limits,
        columns=reader.names(record),
        raw=data[: record.end],
        lines=record.lines,
        bytes=size,
        row_bytes=max(1, len(rows) / count),
        row_quotes=rows.count(b'"') / count,
    )


@dataclass(slots=True)
class _Reader:
    uri: str
    delimiter: int
    limits: Limits
    start: int = 0

    def read(self, stream: BinaryIO) -> tuple[bytes, Record]:
        """The bytes read, which begin the file, and the first record in them."""
        data = stream.read(FIRST)
        self.refuse_foreign(data)
        self.start = len(BOM) if data.startswith(BOM) else 0
        if len(data) == self.start:
            raise EmptyFile(
                "the file is empty", file=self.uri, why="it has not even a header"
            )
        while (record := self.first(data, final=False)) is None:
            if len(data) > LONGEST:
                self.refuse(f"a header of more than {LONGEST:,} bytes")
            more = stream.read(len(data))
            if not more:
                record = self.first(data, final=True)
                break
            data += more
        assert record is not None  # noqa: S101 - a final read ends or raises
        return data, record

    def first(self, data: bytes, *, final: bool) -> Record | None:
        """The header record, or None where it may go on behind `data`."""
        found = records(
            data[self.start :], self.delimiter, self.limits, offset=self.start
        )
        try:
            record = next(found)
        except Unterminated as fault:
            if final:
                raise refusal(fault, self.uri) from None
            return None
        except Fault as fault:
            if final or fault.offset < len(data) - 1:
                raise refusal(fault, self.uri) from None
            return None
        return record if final or record.end < len(data) else None

    def names(self, record: Record) -> tuple[str, ...]:
        """Column names, exact; blank and repeated ones are refused by position."""
        names = tuple(field.decode() for field in record.fields)
        blank = [str(at) for at, name in enumerate(names, 1) if not name.strip()]
        if blank:
            self.refuse(f"the header has no name in column {listed(blank)}")
        if len(set(names)) < len(names):
            repeated = next(name for name, n in Counter(names).items() if n > 1)
            at = [str(at) for at, name in enumerate(names, 1) if name == repeated]
            name = f"the name {repeated}" if looks_like_header([repeated]) else "a name"
            self.refuse(f"the header has {name} more than once: columns {listed(at)}")
        return names

    def refuse(self, message: str) -> NoReturn:
        raise MalformedInput(
            message,
            file=self.uri,
            line=1,
            byte_offset=self.start,
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


def refusal(fault: Fault, uri: str, columns: Sequence[str] = ()) -> ReconError:
    """The error for bytes that leave the grammar."""
    error: type[ReconError] = (
        EncodingError if isinstance(fault, EncodingFault) else MalformedInput
    )
    return error(
        fault.reason,
        file=uri,
        line=fault.line,
        byte_offset=fault.offset,
        column=column_name(columns, fault.field),
        why="the file is not strict RFC 4180 CSV in UTF-8",
        help="write the file again with a CSV writer; fields that hold quotes, "
        "delimiters or newlines are quoted, and quotes in them doubled",
    )


def column_name(columns: Sequence[str], at: int | None) -> str | None:
    """A column for people: its number where names may be a record's values."""
    if at is None or at >= len(columns):
        return None
    return columns[at] if looks_like_header(columns) else f"#{at + 1}"
