"""Validate a CSV file: bytes become a `CsvFile`, or one error with the byte's place.

Guarantee: a file is accepted if and only if `rfc4180` accepts it and every record has
as many fields as the header. Polars merges rows at stray quotes and pads short rows
silently, so it parses only validated bytes.

With `--on-bad-row quarantine` a row is quarantined if the start of the next row is
still unambiguous: a one-line row with too few or too many fields, a blank line inside
the file, a line without quotes that has a NUL or a byte that is not UTF-8. Every other
fault, above all a misplaced quote, refuses the file.

A file is read once, in blocks of whole records. `scanner` checks several blocks at once
at memory speed. If it cannot accept a block, the reference parser reads the block. It
names the fault, or accepts what only it can decide (trailing blank lines, a last line
without a newline). A caller may examine each block while it is in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from recon_engine.config import OnBadRow
from recon_engine.errors import MalformedInput
from recon_engine.formatting import format_count
from recon_engine.inputs.blocks import make_bytes_reader, read_blocks, read_lines
from recon_engine.inputs.csvfile import Block, CsvFile, RowGroup
from recon_engine.inputs.file_shape import count_trailing_delimiters, is_excel_text
from recon_engine.inputs.header import (
    Header,
    annotate_counted_in,
    column_name,
    error_for_fault,
    named_by_kind,
    trailing_help,
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
    RecordIndex,
    ends_with_delimiter,
    has_marked_record,
    index_records,
    is_utf8_without_nul,
    no_records,
)
from recon_engine.inputs.trailers import check_trailer, unexpected_trailer
from recon_engine.lazy import lazy_pattern
from recon_engine.model import Dialect, Reject, Rejects
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np
from recon_engine.runtime.progress import ignore_advance


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from recon_engine.errors import ReconError
    from recon_engine.inputs.decoding import PartPlace
    from recon_engine.inputs.scanner import RaggedRecords

    Examine = Callable[[Block], pl.DataFrame | None]
    Keep = Callable[[pl.DataFrame], None]
    ReadAt = Callable[[int, int], bytes]

# 4 MiB: large enough to make the fixed cost of a numpy call small, small enough that
# the blocks of all workers stay within `memory.BASE_BYTES`.
BLOCK_BYTES: Final = 1 << 22
# An irregular block is split by 8 from 256 KiB to 4 KiB (64, 8, 1 times), so the slow
# reference parser reads at most about 4 KiB for each irregular place.
STRETCH_BYTES: Final = 1 << 18
SHORT_STRETCH_BYTES: Final = 1 << 12
# A tuple, not a set: testing membership in a set would hash the whole block.
BLANK_LINES: Final = (b"\n", b"\r\n")
BLANK_LINE_REASON: Final = "a blank line inside the file"
RAGGED: Final = (
    "a delimiter or a quote is missing, or the row is truncated",
    "write one field for each column",
)
NOT_TRAILING: Final = "a record that does not end with a delimiter"
LAST_LINE: Final = (
    "it is the last line of the file: a trailer record, or a truncated row",
    "use {flag} PREFIX for a trailer record, or deliver the complete file again",
)
END_OF_COPY: Final = lazy_pattern(rb"^\\\.\r?$", re.MULTILINE)


def examine_nothing(_block: Block) -> None:
    """Examine nothing: the default of `read_rows`."""


def keep_nothing(_found: pl.DataFrame) -> None:
    """Discard the findings of an examination: the default of `read_rows`."""


def read_rows(
    header: Header,
    *,
    advance: Callable[[int], None] = ignore_advance,
    examine: Examine = examine_nothing,
    keep: Keep = keep_nothing,
    keep_ends: bool = False,
) -> CsvFile:
    """Read and validate everything after a header.

    Args:
        header: The validated header.
        advance: Called with the number of bytes of each block.
        examine: Called with each block of rows, on several threads at once.
        keep: Called with the findings of `examine`, on one thread, in file order.
        keep_ends: Whether row groups keep the ends of their records, for up to four
            bytes a row; rows are taken faster then.

    Raises:
        MalformedInput: A record is malformed; with line, byte offset and column.
        EncodingError: A byte is not UTF-8; with line, byte offset and column.
        InputChanged: The file was modified since its header was read.
    """
    origin = header.origin
    gate = CsvReader(header, examine, keep_ends=keep_ends)
    with (
        annotate_counted_in(origin),
        open_unchanged(header.path, header.uri, header.state) as descriptor,
    ):
        read = limit_reads(partial(read_lines, descriptor), header.end)
        for found in gate.read(read, advance):
            if found is not None:
                keep(found)
        gate.hash_remaining(partial(os.pread, descriptor), advance)
        check_trailer(header, gate.counts.rows, gate.quarantine.count)
    return CsvFile(
        path=header.path,
        uri=header.uri,
        columns=header.columns,
        rows=gate.counts.rows,
        parts=tuple(gate.parts),
        bytes=origin.bytes if origin else gate.offset + header.after,
        sha256=gate.file_sha256(),
        dialect=gate.dialect(),
        end_of_copy=gate.counts.end_of_copy,
        state=header.state,
        rejects=map_rejects(header, gate.quarantine.rejects),
        delimiter=header.delimiter,
        trailing=header.trailing,
    )


def map_rejects(header: Header, rejects: Rejects) -> Rejects:
    """The rejects with their places in the text, or the part, as delivered."""
    if header.origin and header.origin.parts:
        parts = header.origin.parts
        placed = tuple(_map_to_part(each, parts) for each in rejects.sample)
        return Rejects(rejects.count, placed)
    translation = header.origin.translation if header.origin else None
    if translation is None or not rejects.sample:
        return rejects
    offsets = translation.map_offsets([each.byte_offset for each in rejects.sample])
    sample = (
        dataclasses.replace(each, byte_offset=offset)
        for each, offset in zip(rejects.sample, offsets, strict=True)
    )
    return Rejects(rejects.count, tuple(sample))


def _map_to_part(reject: Reject, parts: Sequence[PartPlace]) -> Reject:
    """A reject at its place in its part, which its reason names."""
    part = parts[bisect_right(parts, reject.byte_offset, key=lambda p: p.offset) - 1]
    line = reject.line - part.line + part.header_lines + 1
    offset = reject.byte_offset - part.offset + part.header_bytes
    return Reject(line, part.rejects.get(line, offset), f"{part.uri}: {reject.reason}")


def limit_reads(read: ReadAt, end: int) -> ReadAt:
    """`read`, limited to the bytes before `end`."""
    return lambda size, offset: read(max(0, min(size, end - offset)), offset)


@dataclass(frozen=True, slots=True)
class ReaderCounts:
    """What was counted in a part of a file; the counts of parts add up to the file's.

    `rows` are accepted ones. `lf`, `crlf`: the newlines that end records; `embedded`:
    those inside fields. `quotes`: whether there is a quote; `end_of_copy`: whether a
    line is a backslash and a point, which ends COPY of Postgres.
    """

    rows: int = 0
    lf: int = 0
    crlf: int = 0
    embedded: int = 0
    quotes: bool = False
    end_of_copy: bool = False

    def __add__(self, other: ReaderCounts) -> ReaderCounts:
        return ReaderCounts(
            rows=self.rows + other.rows,
            lf=self.lf + other.lf,
            crlf=self.crlf + other.crlf,
            embedded=self.embedded + other.embedded,
            quotes=self.quotes or other.quotes,
            end_of_copy=self.end_of_copy or other.end_of_copy,
        )

    @property
    def newlines(self) -> dict[str, int]:
        """The newlines that end records, by kind."""
        return {"LF": self.lf, "CRLF": self.crlf}


@dataclass(frozen=True, slots=True)
class _ScannedBlock:
    """A block, its index if it is regular, and the findings of the examination."""

    data: bytes
    found: RecordIndex | None
    examined: pl.DataFrame | None


class CsvReader:
    """The state of one pass over a file.

    `offset`, `line`: where the next unread record begins. `begun`: whether a record was
    read yet; blank lines are not records. Only the thread that iterates `read` changes
    the state. `judged` runs on worker threads and reads constants only.
    """

    def __init__(self, header: Header, examine: Examine, *, keep_ends: bool) -> None:
        self.header = header
        self.keep_ends = keep_ends
        self.delimiter = ord(header.delimiter)
        self.width = header.width
        self.examine = examine
        self.counts = ReaderCounts(quotes=b'"' in header.raw[header.start :])
        self.parts: list[RowGroup] = []
        self.offset = len(header.raw)
        self.line = 1 + header.lines
        self.blank_lines = 0
        self.blanks: list[Reject] = []
        self.begun = False
        self.quarantines = header.on_bad_row is OnBadRow.QUARANTINE
        self.quarantine = Quarantine()
        self.sha256 = hashlib.sha256(header.raw)
        self.hashes = header.hashes and header.origin is None
        # No record within the limits is longer: each field has at most `field_bytes`
        # bytes and one delimiter. One more field covers a ragged row.
        self.longest = (header.limits.field_bytes + 1) * (self.width + 1)
        self.count_newline(header.raw)

    def dialect(self) -> Dialect:
        """Delimiter, newlines, quotes and encoding, as counted so far."""
        return make_dialect(
            self.header,
            self.counts.newlines,
            quotes=self.counts.quotes,
            embedded=self.counts.embedded,
            blank_lines=self.blank_lines,
        )

    def file_sha256(self) -> str | None:
        """The SHA-256 of the delivered file; None if it was not taken."""
        origin = self.header.origin
        if origin is not None:
            return origin.sha256
        return self.sha256.hexdigest() if self.hashes else None

    def read(
        self, read: ReadAt, advance: Callable[[int], None]
    ) -> Iterator[pl.DataFrame | None]:
        """Read every record from `offset` on.

        Yield the findings of examinations in order.
        """
        # Blocks are judged on several threads, and arrive here in file order. Only this
        # thread counts, so offsets and line numbers need no lock.
        for judged in map_ordered(self.judged, self.hashed(read, advance)):
            start, first = self.offset, self.counts.rows
            self.quarantine.start_row_group()
            if judged.found is None:
                examined = self.read_irregular(judged.data)
            else:
                self.count(judged.data, judged.found)
                examined = judged.examined
            self.note(judged.data, judged.found)
            # A block of blank or quarantined lines has no rows.
            if rows := self.counts.rows - first:
                size, gaps = self.end - start, self.quarantine.gaps(start)
                ends = self.ends(judged.found)
                self.parts.append(RowGroup(start, size, first, rows, gaps, ends))
                yield examined

    def ends(self, index: RecordIndex | None) -> NDArray[np.integer] | None:
        """The ends of the records of a regular block, in the narrowest integer type."""
        if not self.keep_ends or index is None or index.ragged:
            return None
        return index.ends.astype(np.min_scalar_type(index.ends[-1]))

    def hashed(self, read: ReadAt, advance: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the blocks after the header, hashing and reporting each."""
        advance(self.offset)
        for data in read_blocks(read, self.offset, BLOCK_BYTES, self.longest):
            if self.hashes:
                # Here, because a hash needs the order of the file. hashlib releases the
                # interpreter lock, so the workers go on.
                self.sha256.update(data)
            advance(len(data))
            yield data

    def hash_remaining(self, read: ReadAt, advance: Callable[[int], None]) -> None:
        """Hash and report what follows the table: trailers and an end mark."""
        for offset in range(self.header.end, self.header.bytes, BLOCK_BYTES):
            data = read(min(BLOCK_BYTES, self.header.bytes - offset), offset)
            if self.hashes:
                self.sha256.update(data)
            advance(len(data))

    def judged(self, data: bytes) -> _ScannedBlock:
        """Index and examine one block; called for several blocks at once."""
        found = self.regular(data)
        if found is None or not found.rows:
            return _ScannedBlock(data, found, None)
        return _ScannedBlock(data, found, self.examine(self.block(data, found)))

    def regular(self, data: bytes) -> RecordIndex | None:
        """The index of a block; None if only the reference parser can decide."""
        if not is_utf8_without_nul(data):
            return None
        # Only a later record decides whether a blank line is inside the file. In a
        # file of one column a blank line is a row with a blank.
        rows = _without_blank_end(data) if self.width > 1 else data
        if not rows:
            return no_records()
        limits = self.header.limits
        index = index_records(
            rows, self.delimiter, self.width, limits, ragged=self.quarantines
        )
        return index if index is None or self.fits_frame(rows, index) else None

    def fits_frame(self, data: bytes, index: RecordIndex) -> bool:
        """Whether each record ends with a delimiter, if it has to, and none is marked.

        False leaves the block to the reference, which also accepts a quoted blank.
        """
        if self.header.trailing and not ends_with_delimiter(
            data, index, self.delimiter
        ):
            return False
        return not has_marked_record(data, index, self.delimiter, self.header.marks)

    def block(self, data: bytes, index: RecordIndex) -> Block:
        """The accepted records of a block, without the ragged ones."""
        delimiter, trailing = self.header.delimiter, self.header.trailing
        if not index.ragged:
            return Block.of(data[: index.size], delimiter, index, trailing=trailing)
        data = remove_gaps(data[: index.size], byte_ranges(index.ragged))
        sizes = np.delete(np.diff(index.ends, prepend=0), index.ragged.numbers)
        return Block(
            data,
            index.rows,
            delimiter,
            index.embedded,
            np.cumsum(sizes),
            trailing=trailing,
        )

    def read_irregular(self, data: bytes) -> pl.DataFrame | None:
        """Read an irregular block.

        Find its irregular stretch, and parse that by reference.
        """
        start, before = self.offset, self.counts
        self.read_in_stretches(data, STRETCH_BYTES)
        rows, passed = self.counts.rows - before.rows, data[: self.end - start]
        if not rows:
            return None
        if (gaps := self.quarantine.gaps(start)) is not None:
            passed = remove_gaps(passed, gaps)
        inner = self.counts.embedded - before.embedded
        header = self.header
        return self.examine(
            Block(passed, rows, header.delimiter, inner, trailing=header.trailing)
        )

    def read_in_stretches(self, data: bytes, size: int) -> None:
        """Split a block into shorter stretches: the reference parser is slow."""
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
        """The end of the last row; trailing blank lines belong to no row."""
        return self.blanks[0].byte_offset if self.blanks else self.offset

    def count(self, data: bytes, index: RecordIndex) -> None:
        """Count the records of a regular block, and the blank lines at its end."""
        if index.size:
            self.settle_blank_lines()
        if index.ragged:
            rejects = self.rejects(data, index.ragged)
            self.quarantine.add_ragged_records(index.ragged, self.offset, rejects)
        self.line += len(index.ends) + index.embedded
        self.offset += index.size
        self.counts += ReaderCounts(
            rows=index.rows,
            crlf=index.crlf,
            lf=len(index.ends) - index.crlf,
            embedded=index.embedded,
        )
        if len(data) > index.size:
            self.count_blank_lines(data[index.size :])

    def count_blank_lines(self, data: bytes) -> None:
        """Count blank lines.

        Only a later record shows whether they are inside the file.
        """
        at, room = self.offset, MAX_LISTED - len(self.blanks)
        # A blank line is two bytes at most.
        listed = data[: 2 * room].splitlines(keepends=True)[:room]
        for line, raw in enumerate(listed, self.line):
            self.blanks.append(Reject(line, at, BLANK_LINE_REASON))
            at += len(raw)
        lines, crlf = data.count(b"\n"), data.count(b"\r\n")
        self.counts += ReaderCounts(crlf=crlf, lf=lines - crlf)
        self.blank_lines += lines
        self.line += lines
        self.offset += len(data)

    def note(self, data: bytes, index: RecordIndex | None) -> None:
        r"""Record whether the block has quotes, and a line `\.` (the end of COPY)."""
        self.counts += ReaderCounts(
            quotes=index.quotes if index is not None else b'"' in data,
            # The search for one byte runs at memory speed (memchr); a regex does not.
            end_of_copy=not self.counts.end_of_copy
            and b"\\" in data
            and END_OF_COPY.search(data) is not None,
        )

    def read_by_reference(self, data: bytes) -> None:
        """Parse a stretch by reference.

        Raise the error of a fault that cannot be quarantined.
        """
        unread = data
        while unread:
            start = self.offset
            try:
                self.accept(unread)
            except Fault as fault:
                line = _first_line(unread[self.offset - start :])
                if not self.certainly_ends_record(line, fault):
                    at = fault.offset - start
                    raise self.refusal(fault, unread, at) from None
                self.settle_blank_lines()
                self.set_aside(len(line), fault.reason)
                self.count_newline(line)
                self.line += line.endswith(b"\n")
                self.offset += len(line)
            unread = unread[self.offset - start :]

    def refusal(self, fault: Fault, data: bytes, at: int) -> ReconError:
        """The error for a fault at an offset of `data`."""
        header = self.header
        return error_for_fault(
            fault,
            header.uri,
            header.columns,
            head=header.head,
            excel=is_excel_text(data, at, header.delimiter),
            flags=header.frame.flags,
        )

    def accept(self, data: bytes) -> None:
        """Count the records that the reference parser accepts; raises Fault."""
        # Kept: `count_record` moves `offset` while the records of `data` are yielded.
        limits, line, start = self.header.limits, self.line, self.offset
        for record in parse_records(
            data, self.delimiter, limits, line=line, offset=start
        ):
            self.count_record(record, data[record.offset - start : record.end - start])

    def certainly_ends_record(self, line: bytes, fault: Fault) -> bool:
        """Whether a line with a fault is one record, however the fault is read."""
        return (
            # A quote may open a field that continues on the next line, and a carriage
            # return without a line feed may be meant as a line end.
            self.quarantines
            and isinstance(fault, EncodingFault | NulFault)
            and b'"' not in line
            and b"\r" not in line.replace(b"\r\n", b"")
            and len(line) <= self.longest
        )

    def count_record(self, record: Record, raw: bytes) -> None:
        """Count a record of the reference parser; quarantine or refuse a ragged one.

        `raw`: its bytes, with the newline.
        """
        if record.blank and self.width > 1:
            self.count_blank_lines(raw)
            return
        self.settle_blank_lines()
        if record.fields[0] in self.header.marks:
            prefix = record.fields[0].decode()
            raise unexpected_trailer(self.header, record.line, record.offset, prefix)
        inner = record.lines - raw.endswith(b"\n")
        full = len(record.fields) == self.width
        if full and not (self.header.trailing and record.fields[-1]):
            self.counts += ReaderCounts(rows=1)
        elif full and self.quarantines and not inner:
            self.set_aside(len(raw), NOT_TRAILING)
        elif full:
            raise MalformedInput(
                NOT_TRAILING,
                file=self.header.uri,
                line=record.line,
                byte_offset=record.offset,
                why=f"{self.header.frame.flags.spell('trailing-delimiter')} drops"
                " only a blank field",
                help="omit the option if the last field is a column",
            )
        # A ragged record over several lines may lack a quote: where it ends is not
        # certain, so it is refused.
        elif self.quarantines and not inner:
            self.set_aside(len(raw), self.shape(len(record.fields)))
        else:
            self.reject_ragged_record(record)
        self.counts += ReaderCounts(embedded=inner)
        self.count_newline(raw)
        self.line += record.lines
        self.offset = record.end

    def set_aside(self, size: int, reason: str) -> None:
        """Quarantine the line of `size` bytes that begins at `offset`."""
        reject = Reject(self.line, self.offset, reason)
        self.quarantine.add(self.offset, self.offset + size, [reject])

    def rejects(self, data: bytes, ragged: RaggedRecords) -> Iterator[Reject]:
        """The ragged records of a block that begins at `offset`, with reasons."""
        found = zip(ragged.lines, ragged.starts, ragged.fields, strict=True)
        for lines, start, fields in found:
            reason = BLANK_LINE_REASON if data[start] in b"\r\n" else self.shape(fields)
            yield Reject(self.line + int(lines), self.offset + int(start), reason)

    def shape(self, fields: int) -> str:
        """The reason for a row with another number of fields."""
        return (
            f"a row of {format_count(fields, 'field')} under a header of {self.width:,}"
            + " with the delimiter at its end" * self.header.trailing
        )

    def count_newline(self, raw: bytes) -> None:
        """Count the newline at the end of a record."""
        if raw.endswith(b"\n"):
            crlf = raw.endswith(b"\r\n")
            self.counts += ReaderCounts(crlf=int(crlf), lf=int(not crlf))

    def settle_blank_lines(self) -> None:
        """Decide on pending blank lines.

        A record follows, so they are inside the file.
        """
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
        """Refuse a record with another number of fields."""
        found = len(record.fields)
        why, remedy = self.explain_ragged(record)
        error = MalformedInput(
            self.shape(found),
            file=self.header.uri,
            line=record.line,
            byte_offset=record.offset,
            column=column_name(self.header.columns, found),
            why=why,
            help=remedy
            + ("" if self.quarantines else ", or use --on-bad-row quarantine"),
        )
        raise named_by_kind(error, self.header.head)

    def explain_ragged(self, record: Record) -> tuple[str, str]:
        """The likely cause of another number of fields, and the remedy."""
        _, _, rows = self.header.head.partition(b"\n")
        lines = count_trailing_delimiters(rows, self.header.delimiter)
        if lines and len(record.fields) == self.width + 1 and not record.fields[-1]:
            ends = format_count(lines, "line", "were examined after the header")
            remedy = trailing_help(self.header.frame.flags)
            return f"{ends}; each ends with a delimiter", remedy
        if self.header.trailing and len(record.fields) == self.width - 1:
            flag = self.header.frame.flags.spell("trailing-delimiter")
            return (
                f"{flag} is set, and the record does not end with a delimiter",
                "omit the option if records do not end with one",
            )
        if record.end == self.header.end and len(record.fields) < self.width:
            why, remedy = LAST_LINE
            return why, remedy.format(flag=self.header.frame.flags.spell("trailer"))
        return RAGGED


def make_dialect(
    header: Header,
    newlines: Mapping[str, int],
    *,
    quotes: bool,
    embedded: int,
    blank_lines: int,
) -> Dialect:
    """The dialect of a file, from what was counted in it."""
    kinds = [kind for kind, count in newlines.items() if count]
    newline = "none" if not kinds else kinds[0] if len(kinds) == 1 else "mixed"
    return Dialect(
        delimiter=header.written,
        newline=newline,  # type: ignore[arg-type]
        bom=header.bom,
        quotes=quotes,
        embedded_newlines=embedded,
        trailing_blank_lines=blank_lines,
        encoding=header.encoding,
        compression=header.compression,
        frame=header.found_frame,
    )


def blank_line_error(header: Header, blank: Reject) -> ReconError:
    """The error for a blank line inside the file."""
    error = MalformedInput(
        BLANK_LINE_REASON,
        file=header.uri,
        line=blank.line,
        byte_offset=blank.byte_offset,
        why="CSV readers disagree on it: some read a row of blanks, others skip it",
        help="remove the line, or use --on-bad-row quarantine",
    )
    return named_by_kind(error, header.head)


def _first_line(data: bytes) -> bytes:
    """The first line, with its newline."""
    return data[: data.find(b"\n") + 1 or len(data)]


def _without_blank_end(data: bytes) -> bytes:
    """Whole records without the blank lines at their end."""
    if not data.endswith((b"\n\n", b"\n\r\n")) and data not in BLANK_LINES:
        return data
    last = len(data.rstrip(b"\r\n"))
    end = data.find(b"\n", last) + 1 if last else 0
    # A carriage return without a line feed is no blank line, and the parser refuses it.
    return data[:end] if b"\r" not in data[end:].replace(b"\r\n", b"") else data
