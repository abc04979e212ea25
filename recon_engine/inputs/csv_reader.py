"""The CSV gate: bytes become a `CsvFile`, or one error that names the byte.

The law: a file passes iff `rfc4180` accepts it and each record has as many fields as
the header. Polars, which merges rows on stray quotes and pads short ones in silence,
parses only what has passed.

With `--on-bad-row quarantine` a row is set aside if it is certain all the same where
the next one begins: a row of one line with too few or too many fields; a blank line
inside the file; a line with a byte that is NUL or not UTF-8, and no quote. Every other
fault, above all a quote that is not where it may be, refuses the file.

A file is read once, in blocks of whole records. `structure` judges each at memory
speed, several at once; where it does not vouch for one, the reference reads it, and
names the fault or accepts what only it can judge (trailing blank lines, a last line
without its newline). While a block is in memory it may be examined for another
purpose too.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import numpy as np

from recon_engine.config import OnBadRow
from recon_engine.errors import EncodingError, MalformedInput
from recon_engine.inputs.blocks import make_bytes_reader, read_blocks, read_lines
from recon_engine.inputs.csvfile import Block, CsvFile, RowGroup
from recon_engine.inputs.encodings import tried
from recon_engine.inputs.file_shape import count_trailing_delimiters, is_excel_text
from recon_engine.inputs.header import (
    TRAILING,
    Header,
    annotate_counted_in,
    column_name,
    error_for_fault,
    named_by_kind,
    read_header,
)
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.quarantine import (
    MAX_LISTED,
    Quarantine,
    byte_ranges,
    remove_gaps,
)
from recon_engine.inputs.rfc4180 import (
    EncodingFault,
    Fault,
    NulFault,
    Record,
    parse_records,
)
from recon_engine.inputs.scanner import (
    NO_RECORDS,
    RecordIndex,
    index_records,
    is_utf8_without_nul,
)
from recon_engine.model import Dialect, Reject
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.progress import ignore_advance
from recon_engine.suggestions import counted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from recon_engine.config import Limits
    from recon_engine.errors import ReconError
    from recon_engine.inputs.scanner import RaggedRecords

    Examine = Callable[[Block], pl.DataFrame | None]
    Keep = Callable[[pl.DataFrame], None]
    ReadAt = Callable[[int, int], bytes]

BLOCK_BYTES: Final = 1 << 22
STRETCH_BYTES: Final = 1 << 18
SHORT_STRETCH_BYTES: Final = 1 << 12
# No set: to look for a block in one would be to hash all of it.
BLANK_LINES: Final = (b"\n", b"\r\n")
BLANK_LINE_REASON: Final = "a blank line inside the file"
RAGGED: Final = (
    "a delimiter or a quote was lost, or the row was cut",
    "write the row again with one field for each column",
)
LAST_LINE: Final = (
    "it is the last line of the file: a trailer record, or a row that was cut",
    "remove the trailer record, or deliver the file again, whole",
)
END_OF_COPY: Final = re.compile(rb"^\\\.\r?$", re.MULTILINE)


def examine_nothing(_block: Block) -> None:
    """Look at nothing."""


def keep_nothing(_found: pl.DataFrame) -> None:
    """Keep nothing."""


def open_csv(
    path: Path,
    *,
    uri: str | None = None,
    delimiter: str = ",",
    limits: Limits | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
    advance: Callable[[int], None] = ignore_advance,
) -> CsvFile:
    """Read a whole file through the gate, once.

    `advance` hears the number of bytes of every block. Raises MalformedInput,
    EncodingError or EmptyFile, each with line, byte offset and, where known, column.
    """
    header = read_header(
        path, uri=uri, delimiter=delimiter, limits=limits, on_bad_row=on_bad_row
    )
    return read_rows(header, advance=advance)


def read_rows(
    header: Header,
    *,
    advance: Callable[[int], None] = ignore_advance,
    examine: Examine = examine_nothing,
    keep: Keep = keep_nothing,
    keep_ends: bool = False,
) -> CsvFile:
    """Read what is behind a header, with the law and the errors of `open_csv`.

    InputChanged where the file is no longer as it was when its header was read.

    `examine` is called with each block of rows, on several threads; `keep` with what
    it answers, in file order. `keep_ends`: parts know where their records end, for up
    to four bytes a row, so that rows are taken faster.
    """
    origin = header.origin
    gate = CsvReader(header, examine, keep_ends=keep_ends)
    with (
        annotate_counted_in(origin),
        open_unchanged(header.path, header.uri, header.state) as descriptor,
    ):
        for found in gate.read(partial(read_lines, descriptor), advance):
            if found is not None:
                keep(found)
    return CsvFile(
        path=header.path,
        uri=header.uri,
        columns=header.columns,
        rows=gate.rows,
        parts=tuple(gate.parts),
        bytes=origin.bytes if origin else gate.offset,
        sha256=origin.sha256 if origin else gate.sha256.hexdigest(),
        dialect=gate.dialect(),
        end_of_copy=gate.end_of_copy,
        state=header.state,
        rejects=gate.quarantine.rejects,
    )


class _ScannedBlock(NamedTuple):
    """A block, its structure if that is regular, and what an examination found."""

    data: bytes
    found: RecordIndex | None
    examined: pl.DataFrame | None


class CsvReader:
    """Counts what passes. `offset`, `line`: where the next unread record begins.

    `begun`: whether there was a record yet, of which blank lines are none.
    """

    def __init__(self, header: Header, examine: Examine, *, keep_ends: bool) -> None:
        self.header = header
        self.keep_ends = keep_ends
        self.delimiter = ord(header.delimiter)
        self.width = len(header.columns)
        self.examine = examine
        self.rows = 0
        self.parts: list[RowGroup] = []
        self.offset = len(header.raw)
        self.line = 1 + header.lines
        self.quotes = b'"' in header.raw
        self.end_of_copy = False
        self.embedded = 0
        self.newlines: Counter[str] = Counter()
        self.blank_lines = 0
        self.blanks: list[Reject] = []
        self.begun = False
        self.quarantines = header.on_bad_row is OnBadRow.QUARANTINE
        self.quarantine = Quarantine()
        self.sha256 = hashlib.sha256(header.raw)
        self.hashes = header.origin is None
        # A record within the limits ends before; one field more is one too many.
        self.longest = (header.limits.field_bytes + 1) * (self.width + 1)
        self.count_newline(header.raw)

    def dialect(self) -> Dialect:
        """How the file is written."""
        return make_dialect(
            self.header,
            self.newlines,
            quotes=self.quotes,
            embedded=self.embedded,
            blank_lines=self.blank_lines,
        )

    def read(
        self, read: ReadAt, advance: Callable[[int], None]
    ) -> Iterator[pl.DataFrame | None]:
        """Pass every record from `offset` on; what examinations found, in order."""
        for judged in map_ordered(self.judged, self.hashed(read, advance)):
            start, first = self.offset, self.rows
            self.quarantine.start_row_group()
            if judged.found is None:
                examined = self.read_irregular(judged.data)
            else:
                self.count(judged.data, judged.found)
                examined = judged.examined
            self.note(judged.data, judged.found)
            if rows := self.rows - first:
                size, gaps = self.end - start, self.quarantine.gaps(start)
                ends = self.ends(judged.found)
                self.parts.append(RowGroup(start, size, first, rows, gaps, ends))
                yield examined

    def ends(self, found: RecordIndex | None) -> NDArray[np.integer] | None:
        """Where the records of a regular block end, as narrow as that can be kept."""
        if not self.keep_ends or found is None or found.ragged:
            return None
        return found.ends.astype(np.min_scalar_type(found.ends[-1]))

    def hashed(self, read: ReadAt, advance: Callable[[int], None]) -> Iterator[bytes]:
        """The blocks behind the header, as they are read."""
        advance(self.offset)
        for data in read_blocks(read, self.offset, BLOCK_BYTES, self.longest):
            if self.hashes:
                self.sha256.update(data)
            advance(len(data))
            yield data

    def judged(self, data: bytes) -> _ScannedBlock:
        """What a look at a block by itself tells; several looks go on at once."""
        found = self.regular(data)
        if found is None or not found.rows:
            return _ScannedBlock(data, found, None)
        return _ScannedBlock(data, found, self.examine(self.block(data, found)))

    def regular(self, data: bytes) -> RecordIndex | None:
        """The structure of a block, if it needs no reference."""
        if not is_utf8_without_nul(data):
            return None
        # Whether a blank line is inside the file, only what follows it can tell.
        rows = _without_blank_end(data) if self.width > 1 else data
        if not rows:
            return NO_RECORDS
        limits = self.header.limits
        return index_records(
            rows, self.delimiter, self.width, limits, ragged=self.quarantines
        )

    def block(self, data: bytes, found: RecordIndex) -> Block:
        """The records of a block that are rows."""
        delimiter = self.header.delimiter
        if not found.ragged:
            return Block.of(data[: found.size], delimiter, found)
        data = remove_gaps(data[: found.size], byte_ranges(found.ragged))
        sizes = np.delete(np.diff(found.ends, prepend=0), found.ragged.numbers)
        return Block(data, found.rows, delimiter, found.embedded, np.cumsum(sizes))

    def read_irregular(self, data: bytes) -> pl.DataFrame | None:
        """Pass a block that is not regular: stretch by stretch, one by reference."""
        start, first, embedded = self.offset, self.rows, self.embedded
        try:
            self.read_in_stretches(data, STRETCH_BYTES)
        except EncodingError as error:
            error.trial = tried(self.header.raw + data)
            raise
        rows, passed = self.rows - first, data[: self.end - start]
        if not rows:
            return None
        if (gaps := self.quarantine.gaps(start)) is not None:
            passed = remove_gaps(passed, gaps)
        inner = self.embedded - embedded
        return self.examine(Block(passed, rows, self.header.delimiter, inner))

    def read_in_stretches(self, data: bytes, size: int) -> None:
        """Find what is not regular in ever shorter stretches; the reference is slow."""
        for stretch in read_blocks(make_bytes_reader(data), 0, size, self.longest):
            found = self.regular(stretch)
            if found is not None:
                self.count(stretch, found)
            elif size > SHORT_STRETCH_BYTES:
                self.read_in_stretches(stretch, size // 8)
            else:
                self.read_by_reference(stretch)

    @property
    def end(self) -> int:
        """Behind the last row: blank lines at the end of a file belong to none."""
        return self.blanks[0].byte_offset if self.blanks else self.offset

    def count(self, data: bytes, found: RecordIndex) -> None:
        """Count the records of a regular block, and the blank lines at its end."""
        if found.size:
            self.settle_blank_lines()
        if found.ragged:
            rejects = self.rejects(data, found.ragged)
            self.quarantine.add_ragged_records(found.ragged, self.offset, rejects)
        self.rows += found.rows
        self.line += len(found.ends) + found.embedded
        self.offset += found.size
        self.embedded += found.embedded
        self.newlines["CRLF"] += found.crlf
        self.newlines["LF"] += len(found.ends) - found.crlf
        if len(data) > found.size:
            self.count_blank_lines(data[found.size :])

    def count_blank_lines(self, data: bytes) -> None:
        """Count blank lines; whether they are rows is not known yet."""
        at, room = self.offset, MAX_LISTED - len(self.blanks)
        # A blank line is two bytes at most.
        listed = data[: 2 * room].splitlines(keepends=True)[:room]
        for line, raw in enumerate(listed, self.line):
            self.blanks.append(Reject(line, at, BLANK_LINE_REASON))
            at += len(raw)
        lines, crlf = data.count(b"\n"), data.count(b"\r\n")
        self.newlines["CRLF"] += crlf
        self.newlines["LF"] += lines - crlf
        self.blank_lines += lines
        self.line += lines
        self.offset += len(data)

    def note(self, data: bytes, found: RecordIndex | None) -> None:
        """Keep what readers of other tastes than ours would stumble over."""
        self.quotes |= found.quotes if found is not None else b'"' in data
        # One byte is found at memory speed, two are not.
        if not self.end_of_copy and b"\\" in data:
            self.end_of_copy = END_OF_COPY.search(data) is not None

    def read_by_reference(self, data: bytes) -> None:
        """Let the reference judge: it counts what it accepts and names what not."""
        rest = data
        while rest:
            start = self.offset
            try:
                self.accept(rest)
            except Fault as fault:
                line = _first_line(rest[self.offset - start :])
                if not self.certainly_ends_record(line, fault):
                    at = fault.offset - start
                    raise self.refusal(fault, rest, at) from None
                self.settle_blank_lines()
                self.set_aside(len(line), fault.reason)
                self.count_newline(line)
                self.line += line.endswith(b"\n")
                self.offset += len(line)
            rest = rest[self.offset - start :]

    def refusal(self, fault: Fault, data: bytes, at: int) -> ReconError:
        """The error for a fault that is at an offset of `data`."""
        header = self.header
        return error_for_fault(
            fault,
            header.uri,
            header.columns,
            head=header.head,
            excel=is_excel_text(data, at, header.delimiter),
        )

    def accept(self, data: bytes) -> None:
        """Count the records of the reference, as far as it goes; raises Fault."""
        limits, line, start = self.header.limits, self.line, self.offset
        for record in parse_records(
            data, self.delimiter, limits, line=line, offset=start
        ):
            self.count_record(record, data[record.offset - start : record.end - start])

    def certainly_ends_record(self, line: bytes, fault: Fault) -> bool:
        """Whether a line with a fault is one record, whatever the fault may mean."""
        return (
            self.quarantines
            and isinstance(fault, EncodingFault | NulFault)
            and b'"' not in line
            and b"\r" not in line.replace(b"\r\n", b"")
            and len(line) <= self.longest
        )

    def count_record(self, record: Record, raw: bytes) -> None:
        """Count a record of the reference."""
        if record.blank and self.width > 1:
            self.count_blank_lines(raw)
            return
        self.settle_blank_lines()
        inner = record.lines - raw.endswith(b"\n")
        if len(record.fields) == self.width:
            self.rows += 1
        elif self.quarantines and not inner:
            self.set_aside(len(raw), self.shape(len(record.fields)))
        else:
            self.reject_ragged_record(record)
        self.embedded += inner
        self.count_newline(raw)
        self.line += record.lines
        self.offset = record.end

    def set_aside(self, size: int, reason: str) -> None:
        """Reject the line of so many bytes that begins here."""
        reject = Reject(self.line, self.offset, reason)
        self.quarantine.add(self.offset, self.offset + size, [reject])

    def rejects(self, data: bytes, ragged: RaggedRecords) -> Iterator[Reject]:
        """Why records of a block that begins here are set aside, one by one."""
        found = zip(ragged.lines, ragged.starts, ragged.fields, strict=True)
        for lines, start, fields in found:
            reason = BLANK_LINE_REASON if data[start] in b"\r\n" else self.shape(fields)
            yield Reject(self.line + int(lines), self.offset + int(start), reason)

    def shape(self, fields: int) -> str:
        """Why a row of another number of fields is refused."""
        return f"a row of {counted(fields, 'field')} under a header of {self.width:,}"

    def count_newline(self, raw: bytes) -> None:
        """Count the newline at the end of a record."""
        if raw.endswith(b"\n"):
            self.newlines["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1

    def settle_blank_lines(self) -> None:
        """Something follows the blank lines: they are inside the file."""
        self.begun = True
        if not self.blanks:
            return
        if not self.quarantines:
            raise blank_line_error(self.header, self.blanks[0])
        start = self.blanks[0].byte_offset
        self.quarantine.add(start, self.offset, self.blanks, self.blank_lines)
        self.blank_lines = 0
        self.blanks.clear()

    def reject_ragged_record(self, record: Record) -> NoReturn:
        """Refuse a record of another number of fields."""
        found = len(record.fields)
        why, remedy = self.explain_ragged(record)
        error = MalformedInput(
            self.shape(found),
            file=self.header.uri,
            line=record.line,
            byte_offset=record.offset,
            column=column_name(self.header.columns, found),
            why=why,
            help=remedy + ("" if self.quarantines else ", or --on-bad-row quarantine"),
        )
        raise named_by_kind(error, self.header.head)

    def explain_ragged(self, record: Record) -> tuple[str, str]:
        """Why a record may have another number of fields, and what to do."""
        _, _, rows = self.header.head.partition(b"\n")
        lines = count_trailing_delimiters(rows, self.header.delimiter)
        if lines and len(record.fields) == self.width + 1 and not record.fields[-1]:
            why = "every line behind the header ends with a delimiter, of the first "
            return f"{why}{lines:,}", TRAILING
        if record.end == self.header.bytes and len(record.fields) < self.width:
            return LAST_LINE
        return RAGGED


def make_dialect(
    header: Header,
    newlines: Counter[str],
    *,
    quotes: bool,
    embedded: int,
    blank_lines: int,
) -> Dialect:
    """How a file is written, by what was counted in it."""
    kinds = [kind for kind, count in newlines.items() if count]
    newline = "none" if not kinds else kinds[0] if len(kinds) == 1 else "mixed"
    return Dialect(
        delimiter=header.delimiter,
        newline=newline,  # type: ignore[arg-type]
        bom=header.bom,
        quotes=quotes,
        embedded_newlines=embedded,
        trailing_blank_lines=blank_lines,
        encoding=header.encoding,
        compression=header.compression,
    )


def blank_line_error(header: Header, blank: Reject) -> ReconError:
    """The error for a blank line that something follows."""
    error = MalformedInput(
        BLANK_LINE_REASON,
        file=header.uri,
        line=blank.line,
        byte_offset=blank.byte_offset,
        why="readers disagree on it: a row of blanks, or nothing",
        help="remove the line, or --on-bad-row quarantine",
    )
    return named_by_kind(error, header.head)


def _first_line(data: bytes) -> bytes:
    """The first line, with its newline."""
    return data[: data.find(b"\n") + 1 or len(data)]


def _without_blank_end(data: bytes) -> bytes:
    """Whole records but for blank lines at their end."""
    if not data.endswith((b"\n\n", b"\n\r\n")) and data not in BLANK_LINES:
        return data
    last = len(data.rstrip(b"\r\n"))
    end = data.find(b"\n", last) + 1 if last else 0
    return data[:end] if b"\r" not in data[end:].replace(b"\r\n", b"") else data
