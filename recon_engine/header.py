"""The first record of a CSV file: what its columns are called, and where rows begin."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from recon_engine.config import Encoding, OnBadRow
from recon_engine.errors import (
    EmptyFile,
    EncodingError,
    MalformedInput,
    ReconError,
    listed,
    looks_like_header,
)
from recon_engine.progress import SILENT, Progress
from recon_engine.rfc4180 import EncodingFault, Fault, Limits, Unterminated, records
from recon_engine.spool import is_text, spooled
from recon_engine.steady import state_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recon_engine.config import Options
    from recon_engine.model import Compression
    from recon_engine.rfc4180 import Record
    from recon_engine.spool import Origin
    from recon_engine.steady import State

BOM: Final = b"\xef\xbb\xbf"
CSV_WRITER: Final = (
    "write the file again with a CSV writer; fields that hold quotes, delimiters or "
    "newlines are quoted, and quotes in them doubled"
)
OTHER_ENCODING: Final = (
    "add --encoding cp1252, as Windows writes it, or what else it is written in; "
    "OLD:NEW where the two files differ, such as --encoding cp1252:utf-8"
)
FIRST: Final = 1 << 18
LONGEST: Final = 1 << 24
UTF_16: Final = "it begins with a byte order mark of UTF-16", "add --encoding utf-16"
UTF_32: Final = "it begins with a byte order mark of UTF-32", "save it as UTF-8"
NO_MARK: Final = "it looks like UTF-16 without a byte order mark"
FOREIGN: Final = (
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff"), EncodingError, *UTF_32),
    (re.compile(rb"\xff\xfe|\xfe\xff"), EncodingError, *UTF_16),
    (re.compile(rb"[^\0]\0"), EncodingError, NO_MARK, "add --encoding utf-16-le"),
    (re.compile(rb"\0[^\0]"), EncodingError, NO_MARK, "add --encoding utf-16-be"),
    (
        re.compile(rb"\x1f\x8b"),
        MalformedInput,
        "it is a gzip stream",
        "name it .csv.gz, or unpack it",
    ),
    (
        re.compile(rb"\x28\xb5\x2f\xfd"),
        MalformedInput,
        "it is a zstd stream",
        "name it .csv.zst, or unpack it",
    ),
    (
        re.compile(rb"PK\x03\x04"),
        MalformedInput,
        "it is a zip archive or a spreadsheet",
        "unpack it, or save it as CSV in UTF-8",
    ),
)


@dataclass(frozen=True, slots=True)
class Header:
    """A file whose header passed the gate; its rows are yet to be read.

    `raw`: all bytes before the first row, a byte order mark included; `lines`: the
    newlines in them. `row_bytes` and `row_quotes`: about how long a row is and how
    many quotes it has, by the first rows. `state`: how the file is, and has to stay.
    `origin`: what the text at `path` was made from, if it is not the input itself.
    `on_bad_row`: what becomes of rows that are malformed; `hashes`: whether the SHA-256
    of the file is taken while it is read.
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
    state: State
    origin: Origin | None = None
    on_bad_row: OnBadRow = OnBadRow.FAIL
    hashes: bool = True

    @property
    def encoding(self) -> Encoding:
        """What the input is written in."""
        return self.origin.encoding if self.origin else Encoding.UTF_8

    @property
    def compression(self) -> Compression | None:
        """What the input is compressed by."""
        return self.origin.compression if self.origin else None

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
    origin: Origin | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
) -> Header:
    """Read the first record of a file and settle its columns.

    Raises MalformedInput, EncodingError or EmptyFile, each with its place.
    """
    with counted_in(origin), path.open("rb") as stream:
        return header_in(
            stream,
            path=path,
            uri=uri or str(path),
            state=state_of(stream.fileno()),
            delimiter=delimiter,
            limits=limits,
            origin=origin,
            on_bad_row=on_bad_row,
        )


def header_in(
    stream: BinaryIO,
    *,
    path: Path,
    uri: str,
    state: State,
    delimiter: str = ",",
    limits: Limits | None = None,
    origin: Origin | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
) -> Header:
    """`read_header` of what is open already, wherever it is."""
    reader = _Reader(uri, ord(delimiter), limits or Limits())
    data, record = reader.read(stream)
    names = reader.names(record)
    size = stream.seek(0, 2)
    rows = data[record.end :]
    count = max(1, rows.count(b"\n"))
    return Header(
        path=path,
        uri=uri,
        delimiter=delimiter,
        limits=reader.limits,
        columns=names,
        raw=data[: record.end],
        lines=record.lines,
        bytes=size,
        row_bytes=max(1, len(rows) / count),
        row_quotes=rows.count(b'"') / count,
        state=state,
        origin=origin,
        on_bad_row=on_bad_row,
    )


def open_input(
    path: Path,
    *,
    uri: str,
    side: str,
    options: Options,
    limits: Limits,
    folder: Path,
    progress: Progress = SILENT,
) -> Header:
    """Read the header of an input, whose text is made in `folder` if it has to be.

    `path` is the input as it was delivered, `uri` its name. Raises what `spooled` and
    `read_header` raise.
    """
    encoding, origin = options.encoding_of(side), None
    if not is_text(uri, encoding):
        source, path = path, folder / f"{side}.utf8"
        size = source.stat().st_size
        with progress.step(f"unpack {side}", total=size, unit="bytes") as advance:
            origin = spooled(
                source,
                uri=uri,
                encoding=encoding,
                limits=limits,
                to=path,
                advance=advance,
            )
    delimiter = options.delimiter_of(side)
    return read_header(
        path,
        uri=uri,
        delimiter=delimiter,
        limits=limits,
        origin=origin,
        on_bad_row=options.on_bad_row,
    )


@contextmanager
def counted_in(origin: Origin | None) -> Iterator[None]:
    """Have the places of errors say what they count in, if not the input itself."""
    try:
        yield
    except ReconError as error:
        error.counted_in = origin.counted_in if origin else None
        raise


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
                "the file is empty",
                file=self.uri,
                line=1,
                byte_offset=self.start,
                why="it has not even a header",
                help="deliver it again; a table of no rows still has a header",
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
            # Not the name: it is a value where the header is missing.
            self.refuse(f"the header has a name more than once: columns {listed(at)}")
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
        for magic, error, what, remedy in FOREIGN:
            if magic.match(data):
                raise error(
                    "the file is not UTF-8 text",
                    file=self.uri,
                    line=1,
                    byte_offset=0,
                    why=what,
                    help=remedy,
                )


def refusal(fault: Fault, uri: str, columns: Sequence[str] = ()) -> ReconError:
    """The error for bytes that leave the grammar."""
    encoding = isinstance(fault, EncodingFault)
    error: type[ReconError] = EncodingError if encoding else MalformedInput
    return error(
        fault.reason,
        file=uri,
        line=fault.line,
        byte_offset=fault.offset,
        column=column_name(columns, fault.field),
        why="the file is not strict RFC 4180 CSV in UTF-8",
        help=OTHER_ENCODING if encoding else CSV_WRITER,
    )


def column_name(columns: Sequence[str], at: int | None) -> str | None:
    """A column for people: its number where names may be a record's values."""
    if at is None or at >= len(columns):
        return None
    return columns[at] if looks_like_header(columns) else f"#{at + 1}"
