"""Read the header of a CSV file: the column names, and where the rows begin."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from recon_engine.config import (
    AS_DEFAULT,
    UNKNOWN_SIDE,
    Encoding,
    Limits,
    NameStyle,
    OnBadRow,
    Quote,
)
from recon_engine.errors import (
    EmptyFile,
    EncodingError,
    MalformedInput,
    ReconError,
)
from recon_engine.formatting import format_count
from recon_engine.inputs.encodings import SAMPLE_BYTES, UNNAMED, tried, tried_wide
from recon_engine.inputs.file_kinds import identify_kind, refuse_kind
from recon_engine.inputs.file_shape import (
    HEAD_BYTES,
    count_data_names,
    count_trailing_delimiters,
    is_excel_text,
)
from recon_engine.inputs.pinned_file import open_unchanged, state_of
from recon_engine.inputs.rfc4180 import (
    EncodingFault,
    Fault,
    Record,
    Unterminated,
    parse_records,
)
from recon_engine.inputs.trailers import (
    DeliveredOffset,
    FileEnd,
    check_sum_columns,
    find_end,
)
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.suggestions import join_names, looks_like_header


if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from recon_engine.config import SideFlags, SideOptions
    from recon_engine.inputs.decoding import DecodedFrom
    from recon_engine.inputs.pinned_file import State
    from recon_engine.inputs.trailers import Trailer
    from recon_engine.model import Compression

    Raw = bytes  # `Header` has a field of this name

BOM: Final = b"\xef\xbb\xbf"
CSV_WRITER: Final = (
    "export the file again with a CSV writer: quote fields that contain quotes, "
    "delimiters or newlines, and double the quotes inside them"
)
EXCEL_TEXT: Final = 'the field uses the Excel form of text: ="…"'
# 256 KiB give the header and enough rows to estimate the size of a row. A header of
# 16 MiB has hundreds of thousands of columns: it is not a header.
FIRST_BYTES: Final = 1 << 18
MAX_HEADER_BYTES: Final = 1 << 24
# Bytes of a character that is cut: it has four at most.
MOST_CUT: Final = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WideText:
    """The first bytes of text in 16 or 32 bits a character.

    `encoding`: the one to propose; None if it cannot be read.
    """

    pattern: re.Pattern[bytes]
    why: str
    encoding: Encoding | None


UTF_16: Final = "it begins with a byte order mark of UTF-16"
NO_MARK: Final = "it looks like UTF-16 without a byte order mark"
UTF_32: Final = "it begins with a byte order mark of UTF-32"
# One of these is among the first four bytes of such a text.
WIDE_BYTES: Final = frozenset(b"\0\xfe\xff")
# ASCII text in 16 bits has a NUL in each character: the column names begin with one.
WIDE_TEXTS: Final = (
    WideText(
        lazy_pattern(rb"(?!\xff\xfe\0\0)(?:\xff\xfe|\xfe\xff)"), UTF_16, Encoding.UTF_16
    ),
    WideText(lazy_pattern(rb"(?!\xff\xfe)[^\0]\0"), NO_MARK, Encoding.UTF_16_LE),
    WideText(lazy_pattern(rb"\0[^\0]"), NO_MARK, Encoding.UTF_16_BE),
    WideText(lazy_pattern(rb"\xff\xfe\0\0|\0\0\xfe\xff"), UTF_32, None),
)


@dataclass(frozen=True, slots=True)
class Header:
    """A file whose header is valid; its rows are not read yet.

    `raw`: all bytes before the first row, including a byte order mark and skipped
    lines; `lines`: the newlines in them; `start`: where the header begins in them.
    `row_bytes`, `row_quotes`: estimated bytes and quotes per row,
    from the first rows. `state`: the identity of the file, which must not change.
    `origin`: the delivered file, if `path` is a decoded copy. `on_bad_row`: the policy
    for malformed rows. `head`: up to `HEAD_BYTES` bytes after the byte order mark, for
    error texts. `hashes`: whether the SHA-256 of the file is taken while it is read.
    `frame`: what is around the table in the file; `trailers`: those that were found;
    `found_frame`: how often each option about it was applied. `end`: where the table
    ends, which is at the end of the file unless something follows it. `written`: the
    delimiter as delivered.
    """

    path: Path
    uri: str
    delimiter: str
    limits: Limits
    columns: tuple[str, ...]
    raw: bytes
    head: bytes = dataclasses.field(repr=False)
    start: int
    lines: int
    bytes: int
    end: int
    row_bytes: float
    row_quotes: float
    state: State
    origin: DecodedFrom | None = None
    on_bad_row: OnBadRow = OnBadRow.FAIL
    hashes: bool = True
    frame: SideOptions = AS_DEFAULT
    trailers: tuple[Trailer, ...] = ()
    found_frame: Mapping[str, int] = dataclasses.field(default_factory=dict)
    written: str = ""

    @property
    def side(self) -> str:
        """The side of the file, "old" or "new"; "" if it is not known."""
        return self.frame.flags.side

    @property
    def trailing(self) -> bool:
        """Whether each record has one more, empty field, which is no column."""
        return self.frame.trailing_delimiter

    @property
    def width(self) -> int:
        """The number of fields of a record."""
        return len(self.columns) + self.trailing

    @property
    def after(self) -> int:
        """The number of bytes after the table, which are trailers and an end mark."""
        return self.bytes - self.end

    @property
    def marks(self) -> tuple[Raw, ...]:
        """The first fields that no record of the table may have."""
        return tuple(prefix.encode() for prefix in self.frame.trailers)

    @property
    def encoding(self) -> Encoding:
        """The encoding of the delivered file, before it was transcoded to UTF-8."""
        return self.origin.encoding if self.origin else Encoding.UTF_8

    @property
    def compression(self) -> Compression | None:
        """The compression of the delivered file; None if uncompressed."""
        return self.origin.compression if self.origin else None

    @property
    def bom(self) -> bool:
        """Whether the text begins with a byte order mark."""
        return self.raw.startswith(BOM)

    @property
    def expected_rows(self) -> int:
        """The estimated number of rows, plus 10%: buffers of this size rarely grow."""
        return int(1.1 * (self.bytes - len(self.raw)) / self.row_bytes) + 1


def read_header(
    path: Path,
    *,
    uri: str | None = None,
    delimiter: str = ",",
    limits: Limits | None = None,
    origin: DecodedFrom | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
    frame: SideOptions = AS_DEFAULT,
) -> Header:
    """Read the first record of a file as its header.

    Args:
        path: The file as UTF-8 text.
        uri: Its name for errors; the path by default.
        delimiter: One ASCII character.
        limits: Size limits of fields.
        origin: The delivered file, if `path` is a decoded copy.
        on_bad_row: The policy for malformed rows.
        frame: What is around the table in the file.

    Raises:
        MalformedInput: The header is malformed, or a name is blank or repeated.
        EncodingError: The header is not UTF-8.
        EmptyFile: The file has no bytes.
    """
    with annotate_counted_in(origin), path.open("rb") as stream:
        header = parse_header(
            stream,
            path=path,
            uri=uri or str(path),
            state=state_of(stream.fileno()),
            delimiter=delimiter,
            limits=limits,
            origin=origin,
            on_bad_row=on_bad_row,
            frame=frame,
        )
    warn_of_data_names(header)
    return header


def warn_of_data_names(header: Header) -> None:
    """Log that all names of a header look like data, so that it may be missing."""
    if header.frame.no_header or header.frame.fixed:
        return
    names = count_data_names(header.columns, header.head, header.delimiter)
    if names:
        # Their number only: if the header is missing, the names are values.
        facts = {"file": header.uri, "names": names}
        log.warning("column_names_look_like_data", extra=facts)


def parse_header(
    stream: BinaryIO,
    *,
    path: Path,
    uri: str,
    state: State,
    delimiter: str,
    limits: Limits | None,
    origin: DecodedFrom | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
    frame: SideOptions,
) -> Header:
    """As `read_header`, for an open stream.

    Args:
        stream: The text; read from its current position, which is its beginning.
        path: The path that `Header.path` keeps.
        uri: The name for errors.
        state: The identity of the file.
        delimiter: One ASCII character.
        limits: Size limits of fields.
        origin: The delivered file, if the text is a decoded copy.
        on_bad_row: The policy for malformed rows.
        frame: What is around the table in the file.
    """
    translation = origin.translation if origin else None
    written = translation.syntax.shown if translation else delimiter
    found = translation.found if translation else None
    limits = limits or Limits()
    begin = stream.tell()
    size = stream.seek(0, os.SEEK_END) - begin
    if found is None:
        found = find_end(
            lambda count, at: read_at(stream, count, begin + at),
            size,
            frame,
            delimiter=delimiter,
            limits=limits,
            uri=uri,
        )
    # A translated text has no trailer.
    end = size if translation else found.end
    stream.seek(begin)
    reader = HeaderReader(uri, ord(delimiter), limits, frame, end)
    data, record = reader.read(stream)
    names, numbered = reader.parse_names(record, written)
    has_header = not (frame.no_header or frame.fixed)
    # Without a header the first record is a row.
    start = record.end if has_header else record.offset
    lines = record.lines if has_header else 0
    rows = data[start:]
    # Newlines inside of fields are counted too: this only estimates.
    count = max(1, rows.count(b"\n"))
    header = Header(
        path=path,
        uri=uri,
        delimiter=delimiter,
        limits=limits,
        columns=names,
        raw=data[:start],
        head=reader.head,
        start=reader.start,
        lines=reader.line - 1 + lines,
        bytes=size,
        end=end,
        row_bytes=max(1, len(rows) / count),
        row_quotes=rows.count(b'"') / count,
        state=state,
        origin=origin,
        on_bad_row=on_bad_row,
        frame=frame,
        trailers=found.trailers,
        found_frame=_count_applied(frame, found, reader, names, origin) | numbered,
        written=written,
    )
    check_sum_columns(header)
    return header


def read_at(stream: BinaryIO, count: int, offset: int) -> bytes:
    """At most `count` bytes from `offset` on."""
    stream.seek(offset)
    return stream.read(count)


def _count_applied(
    frame: SideOptions,
    found: FileEnd,
    reader: HeaderReader,
    names: Sequence[str],
    origin: DecodedFrom | None,
) -> dict[str, int]:
    """How often each option about the frame was applied, if it is set."""
    counts = (
        ("skip_lines", frame.skip_lines, frame.skip_lines),
        ("comment_prefix", frame.comment_prefix, len(reader.comments)),
        ("no_header", frame.no_header, len(names)),
        ("trailing_delimiter", frame.trailing_delimiter, 1),
        ("trailer", frame.trailers, len(found.trailers)),
        ("eof_mark", frame.eof_mark, found.marks),
        ("quote", frame.quote is Quote.NONE, 1),
        ("fixed", frame.fixed, len(names)),
        ("excel_text", frame.excel_text, origin.unwrapped if origin else 0),
        ("nulls", origin and origin.nulls, origin.nulls if origin else 0),
    )
    return {name: count or 0 for name, is_set, count in counts if is_set}


@contextmanager
def annotate_counted_in(origin: DecodedFrom | None) -> Iterator[None]:
    """Add to errors what their places refer to, if not to the delivered file."""
    try:
        yield
    except ReconError as error:
        if origin is not None:
            error.counted_in = origin.counted_in
            _map_offset(error, origin)
        raise


def _map_offset(error: ReconError, origin: DecodedFrom) -> None:
    """Replace an offset in the translated text by that in the text as delivered."""
    offset, translation = error.byte_offset, origin.translation
    if translation is None or offset is None or isinstance(offset, DeliveredOffset):
        return
    [mapped] = translation.map_offsets([offset])
    error.byte_offset = DeliveredOffset(mapped)


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class HeaderReader:
    """Reads a text up to its first row: preamble, comments, header record."""

    uri: str
    delimiter: int
    limits: Limits
    frame: SideOptions
    end: int
    start: int = 0
    line: int = 1
    head: bytes = b""
    comments: list[tuple[int, bytes]] = dataclasses.field(default_factory=list)

    @property
    def flags(self) -> SideFlags:
        """How the options of the file were given."""
        return self.frame.flags

    def read(self, stream: BinaryIO) -> tuple[bytes, Record]:
        """The first bytes of the file, and its first record behind the frame."""
        data = self.open_table(stream)
        self.head = data[self.start :][:HEAD_BYTES]
        if len(data) == self.start:
            names = self.frame.names or tuple(c.name for c in self.frame.columns)
            if names and self.frame.trailers:
                # A delivery without rows: its trailer shows that it is complete.
                fields = tuple(name.encode() for name in names)
                fields += (b"",) * self.frame.trailing_delimiter
                return data, Record(self.line, self.start, self.start, 0, fields)
            raise EmptyFile(
                "the file is empty"
                if self.line == 1
                else "no line is left after the skipped lines",
                file=self.uri,
                line=self.line,
                byte_offset=self.start,
                why="it has no header",
                help="deliver it again; a table without rows still has a header",
            )
        while (record := self.parse_first_record(data, final=False)) is None:
            if len(data) > MAX_HEADER_BYTES:
                self.refuse(f"a header of more than {MAX_HEADER_BYTES:,} bytes")
            # Doubling: the parser starts again each time, and the total stays linear.
            more = self.read_more(stream, data, len(data))
            if len(more) == len(data):
                record = self.parse_first_record(data, final=True)
                break
            data = more
        assert record is not None  # noqa: S101 - a final read ends or raises
        return data, record

    def open_table(self, stream: BinaryIO) -> bytes:
        """Move `start` to the first record behind the frame; return the bytes read."""
        data = self.read_more(stream, b"", FIRST_BYTES)
        self.reject_foreign_format(data)
        self.start = len(BOM) if data.startswith(BOM) else 0
        return self.skip_comments(stream, self.skip_lines(stream, data))

    def read_more(self, stream: BinaryIO, data: bytes, count: int) -> bytes:
        """The bytes before and up to so many more, none from behind the table."""
        return data + stream.read(max(0, min(count, self.end - len(data))))

    def skip_comments(self, stream: BinaryIO, data: bytes) -> bytes:
        """Move `start` behind the comment lines; return the bytes read."""
        prefix = self.frame.comment_prefix.encode()
        data = self.read_ahead(stream, data, len(prefix))
        while prefix and data.startswith(prefix, self.start):
            data, end = self.find_line_end(stream, data)
            line = data[self.start : end].rstrip(b"\r\n")
            self.comments.append((self.start, line))
            self.start, self.line = end, self.line + 1
            # A prefix may continue where the bytes read so far end.
            data = self.read_ahead(stream, data, len(prefix))
        return data

    def read_ahead(self, stream: BinaryIO, data: bytes, count: int) -> bytes:
        """The bytes read, with so many after `start` if the table has them."""
        if len(data) - self.start >= count:
            return data
        return self.read_more(stream, data, max(count, FIRST_BYTES))

    def skip_lines(self, stream: BinaryIO, data: bytes) -> bytes:
        """Move `start` behind the lines before the header; return the bytes read."""
        lines = self.frame.skip_lines
        while self.line <= lines:
            data, end = self.find_line_end(stream, data)
            if end == self.start:
                raise MalformedInput(
                    f"the file has {format_count(self.line - 1, 'line')}",
                    file=self.uri,
                    line=self.line,
                    byte_offset=self.start,
                    why=f"{self.flags.spell('skip-lines')} is {lines:,}",
                    help="skip only the lines before the header",
                )
            self.start, self.line = end, self.line + 1
            data = self.read_ahead(stream, data, 1)
        return data

    def find_line_end(self, stream: BinaryIO, data: bytes) -> tuple[bytes, int]:
        """The bytes read, and the offset behind the line at `start`."""
        while not (end := data.find(b"\n", self.start) + 1):
            if len(data) - self.start > MAX_HEADER_BYTES:
                self.refuse(
                    f"a line of more than {MAX_HEADER_BYTES:,} bytes before the header"
                )
            more = self.read_more(stream, data, len(data) or 1)
            if len(more) == len(data):
                return data, len(data)
            data = more
        return data, end

    def parse_first_record(self, data: bytes, *, final: bool) -> Record | None:
        """The header record; None if it may continue after `data`."""
        found = parse_records(
            data[self.start :],
            self.delimiter,
            self.limits,
            line=self.line,
            offset=self.start,
        )
        try:
            record = next(found)
        except Unterminated as fault:
            if final:
                raise error_for_fault(
                    fault, self.uri, head=self.head, sample=data
                ) from None
            return None
        except Fault as fault:
            # A fault at the last bytes may be a record that is cut there, as a carriage
            # return before its line feed is, and a character of several bytes.
            if final or fault.offset < len(data) - MOST_CUT:
                excel = is_excel_text(data, fault.offset, chr(self.delimiter))
                raise error_for_fault(
                    fault,
                    self.uri,
                    head=self.head,
                    sample=data,
                    excel=excel,
                    flags=self.flags,
                ) from None
            return None
        # A record that ends where the bytes end may continue in the file.
        return record if final or record.end < len(data) else None

    def parse_names(
        self, record: Record, written: str
    ) -> tuple[tuple[str, ...], dict[str, int]]:
        """The exact column names, and how many were numbered, by option.

        Blank and repeated names are refused by position, unless they are numbered.
        """
        fields = record.fields
        # In a header the delimiter at the end is allowed to be missing.
        if self.frame.trailing_delimiter and not fields[-1] and len(fields) > 1:
            fields = fields[:-1]
        elif self.frame.trailing_delimiter and self.frame.no_header:
            self.refuse("the first record does not end with a delimiter")
        if self.frame.fixed:
            return tuple(column.name for column in self.frame.columns), {}
        if self.frame.no_header:
            return self.name_columns(len(fields)), {}
        names, numbered = complete_names(
            tuple(field.decode() for field in fields), self.frame, self.refuse
        )
        self.check_comments(len(names), written.encode())
        blank = [str(at) for at, name in enumerate(names, 1) if not name.strip()]
        if record.blank:
            self.refuse("the line of the header is blank", option="skip-lines")
        if blank:
            lines = count_trailing_delimiters(self.head, chr(self.delimiter))
            # A delimiter at the end of each line makes the last name blank, and no
            # other one.
            only_last = blank == [str(len(names))] and len(names) > 1
            flag = self.flags.spell("trailing-delimiter")
            self.refuse(
                f"the header has no name in column {join_names(blank)}",
                trailing=lines if only_last else 0,
                option="blank-names",
                more=f"; use {flag} if each record ends with a delimiter"
                if only_last
                else "",
            )
        if len(set(names)) < len(names):
            repeated = next(name for name, n in Counter(names).items() if n > 1)
            at = [str(at) for at, name in enumerate(names, 1) if name == repeated]
            # The name itself may be a value, if the header is missing.
            self.refuse(
                f"the header repeats a name: columns {join_names(at)}",
                option="repeat-names",
            )
        return names, numbered

    def name_columns(self, width: int) -> tuple[str, ...]:
        """The names of the columns of a file without a header."""
        names = self.frame.names or tuple(f"c{at}" for at in range(1, width + 1))
        if len(names) != width:
            raise MalformedInput(
                f"the first record has {format_count(width, 'field')}",
                file=self.uri,
                line=self.line,
                byte_offset=self.start,
                why=f"{self.flags.spell('names')} names"
                f" {format_count(len(names), 'column')}",
                help="name every column, in the order of the file",
            )
        return names

    def check_comments(self, width: int, delimiter: bytes) -> None:
        """Refuse a comment line that may be the header, or a row."""
        for at, (start, line) in enumerate(self.comments):
            if line.count(delimiter) + 1 == width:
                raise MalformedInput(
                    "a comment line has as many fields as the header",
                    file=self.uri,
                    line=self.line - len(self.comments) + at,
                    byte_offset=start,
                    why=f"{self.flags.spell('comment-prefix')} would skip what may be"
                    " the header or a row",
                    help=f"use {self.flags.spell('skip-lines')} for the lines before"
                    " the header",
                )

    def refuse(
        self,
        message: str,
        *,
        trailing: int = 0,
        option: str | None = None,
        more: str = "",
    ) -> NoReturn:
        """Refuse the header.

        `trailing`: how many lines all end with a delimiter; `option`: what would number
        the names; `more`: another remedy than to number them.
        """
        unique = "give every column a unique name"
        if option == "skip-lines":
            unique = f"if the header is below, use {self.flags.spell(option)} N"
        elif option is not None:
            unique += f", or use {self.flags.spell(option)} number{more}"
        error = MalformedInput(
            message,
            file=self.uri,
            line=self.line,
            byte_offset=self.start,
            why=f"{format_count(trailing, 'line', 'were examined')}; each ends with a "
            "delimiter"
            if trailing
            else "columns are compared by name",
            help=trailing_help(self.flags) if trailing else unique,
        )
        raise named_by_kind(error, self.head)

    def reject_foreign_format(self, data: bytes) -> None:
        if WIDE_BYTES.isdisjoint(data[:4]):
            return
        for text in WIDE_TEXTS:
            if text.pattern.match(data):
                refused = EncodingError(
                    "the file is not UTF-8 text",
                    file=self.uri,
                    line=1,
                    byte_offset=0,
                    why=text.why,
                    help=UNNAMED if text.encoding else "save it as UTF-8",
                )
                if text.encoding:
                    refused.trial = tried_wide(data, text.encoding)
                raise refused


def complete_names(
    names: Sequence[str], frame: SideOptions, refuse: Callable[[str], None]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of all columns, and how many were numbered, by option.

    `refuse` raises the error for a name that is there already.
    """
    found, counts = list(names), {"blank_names": 0, "repeat_names": 0}
    taken = Counter(name for name in names if name.strip())

    def number(at: int, name: str, option: str) -> None:
        if name in taken:
            refuse(
                f"column {at + 1} cannot be named by its number: another column has"
                " that name"
            )
        taken[name] += 1
        found[at] = name
        counts[option] += 1

    if frame.blank_names is NameStyle.NUMBER:
        for at, name in enumerate(names):
            if not name.strip():
                number(at, f"c{at + 1}", "blank_names")
    # After blank names: of two blank ones, the second would become `.2`.
    if frame.repeat_names is NameStyle.NUMBER:
        seen = Counter[str]()
        for at, name in enumerate(tuple(found)):
            seen[name] += 1
            if seen[name] > 1:
                number(at, f"{name}.{seen[name]}", "repeat_names")
    return tuple(found), {
        option: count
        for option, count in counts.items()
        if getattr(frame, option) is NameStyle.NUMBER
    }


def read_sample(table: object, start: int = 0) -> bytes:
    """Up to `SAMPLE_BYTES` of the text of an input; empty for a frame."""
    if not isinstance(table, Header):
        return b""
    with open_unchanged(table.path, table.uri, table.state) as descriptor:
        return os.pread(descriptor, SAMPLE_BYTES, start)


def trailing_help(flags: SideFlags) -> str:
    """The remedy for a file in which each line ends with a delimiter."""
    return (
        f"every record ends with a delimiter; use {flags.spell('trailing-delimiter')}"
    )


def error_for_fault(
    fault: Fault,
    uri: str,
    columns: Sequence[str] = (),
    *,
    head: bytes,
    sample: bytes = b"",
    excel: bool = False,
    flags: SideFlags = UNKNOWN_SIDE,
) -> ReconError:
    """The error for bytes that violate the grammar.

    Args:
        fault: The violation and its place.
        uri: The name of the file.
        columns: The column names, if the header was read.
        head: The first bytes of the file, to recognise other formats.
        sample: Bytes around the fault, to propose an encoding.
        excel: Whether the fault is at a field of the form `="…"`.
        flags: How the options of the file were given, for the remedy.
    """
    encoding = isinstance(fault, EncodingFault)
    error: type[ReconError] = EncodingError if encoding else MalformedInput
    why, remedy = "the file is not strict RFC 4180 CSV in UTF-8", CSV_WRITER
    if excel:
        why, remedy = EXCEL_TEXT, f"use {flags.spell('excel-text')}"
    refused = error(
        fault.reason,
        file=uri,
        line=fault.line,
        byte_offset=fault.offset,
        column=column_name(columns, fault.field),
        why=why,
        help=UNNAMED if encoding else remedy,
    )
    if isinstance(refused, EncodingError) and sample:
        refused.trial = tried(sample)
    return named_by_kind(refused, head)


def named_by_kind(error: ReconError, head: bytes) -> ReconError:
    """The error itself, or one that names the format if the file is not CSV."""
    kind = identify_kind(head)
    return error if kind is None else refuse_kind(kind, str(error.file))


def column_name(columns: Sequence[str], field: int | None) -> str | None:
    """The column for error texts: its name, or `#number` if names may be data."""
    if field is None or field >= len(columns):
        return None
    return columns[field] if looks_like_header(columns) else f"#{field + 1}"
