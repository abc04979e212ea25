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

from recon_engine.blocks import blocks, read_lines, slices
from recon_engine.config import OnBadRow
from recon_engine.csvfile import Block, CsvFile, Part
from recon_engine.errors import MalformedInput
from recon_engine.header import (
    Header,
    column_name,
    counted_in,
    read_header,
    refusal,
)
from recon_engine.model import Dialect, Reject
from recon_engine.parallel import in_order
from recon_engine.progress import ignore
from recon_engine.rejects import LISTED, Quarantine, spans, without
from recon_engine.rfc4180 import EncodingFault, Fault, NulFault, Record, records
from recon_engine.steady import steady
from recon_engine.structure import NOTHING, Structure, is_plain, structure


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from recon_engine.rfc4180 import Limits
    from recon_engine.structure import Ragged

    Examine = Callable[[Block], pl.DataFrame | None]
    Keep = Callable[[pl.DataFrame], None]
    ReadAt = Callable[[int, int], bytes]

BLOCK: Final = 1 << 22
STRETCH: Final = 1 << 18
SHORT: Final = 1 << 12
# No set: to look for a block in one would be to hash all of it.
BLANK_LINES: Final = (b"\n", b"\r\n")
BLANK: Final = "a blank line inside the file"
END_OF_COPY: Final = re.compile(rb"^\\\.\r?$", re.MULTILINE)


def unexamined(_block: Block) -> None:
    """Look at nothing."""


def forget(_found: pl.DataFrame) -> None:
    """Keep nothing."""


def open_csv(
    path: Path,
    *,
    uri: str | None = None,
    delimiter: str = ",",
    limits: Limits | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
    advance: Callable[[int], None] = ignore,
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
    advance: Callable[[int], None] = ignore,
    examine: Examine = unexamined,
    keep: Keep = forget,
    keep_ends: bool = False,
) -> CsvFile:
    """Read what is behind a header, with the law and the errors of `open_csv`.

    InputChanged where the file is no longer as it was when its header was read.

    `examine` is called with each block of rows, on several threads; `keep` with what
    it answers, in file order. `keep_ends`: parts know where their records end, for up
    to four bytes a row, so that rows are taken faster.
    """
    origin = header.origin
    gate = Gate(header, examine, keep_ends=keep_ends)
    with (
        counted_in(origin),
        steady(header.path, header.uri, header.state) as descriptor,
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
        sha256=gate.taken_sha256(),
        dialect=gate.dialect(),
        end_of_copy=gate.end_of_copy,
        state=header.state,
        rejects=gate.quarantine.rejects,
    )


class _Judged(NamedTuple):
    """A block, its structure if that is regular, and what an examination found."""

    data: bytes
    found: Structure | None
    examined: pl.DataFrame | None


class Gate:
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
        self.parts: list[Part] = []
        self.offset = len(header.raw)
        self.line = 1 + header.lines
        self.quotes = b'"' in header.raw
        self.end_of_copy = False
        self.embedded = 0
        self.newlines: Counter[str] = Counter()
        self.blank_lines = 0
        self.blanks: list[Reject] = []
        self.begun = False
        self.tolerant = header.on_bad_row is OnBadRow.QUARANTINE
        self.quarantine = Quarantine()
        self.sha256 = hashlib.sha256(header.raw)
        self.hashes = header.hashes and header.origin is None
        # A record within the limits ends before; one field more is one too many.
        self.longest = (header.limits.field_bytes + 1) * (self.width + 1)
        self.count_newline(header.raw)

    def dialect(self) -> Dialect:
        """How the file is written."""
        return dialect_of(
            self.header,
            self.newlines,
            quotes=self.quotes,
            embedded=self.embedded,
            blank_lines=self.blank_lines,
        )

    def taken_sha256(self) -> str | None:
        """Of the input as it was delivered; None where it was not asked for."""
        origin = self.header.origin
        if origin is not None:
            return origin.sha256
        return self.sha256.hexdigest() if self.hashes else None

    def read(
        self, read: ReadAt, advance: Callable[[int], None]
    ) -> Iterator[pl.DataFrame | None]:
        """Pass every record from `offset` on; what examinations found, in order."""
        for judged in in_order(self.judged, self.hashed(read, advance)):
            start, first = self.offset, self.rows
            self.quarantine.forget_spans()
            if judged.found is None:
                examined = self.judged_again(judged.data)
            else:
                self.count(judged.data, judged.found)
                examined = judged.examined
            self.note(judged.data, judged.found)
            if rows := self.rows - first:
                size, gaps = self.end - start, self.quarantine.gaps(start)
                ends = self.ends(judged.found)
                self.parts.append(Part(start, size, first, rows, gaps, ends))
                yield examined

    def ends(self, found: Structure | None) -> NDArray[np.integer] | None:
        """Where the records of a regular block end, as narrow as that can be kept."""
        if not self.keep_ends or found is None or found.ragged:
            return None
        return found.ends.astype(np.min_scalar_type(found.ends[-1]))

    def hashed(self, read: ReadAt, advance: Callable[[int], None]) -> Iterator[bytes]:
        """The blocks behind the header, as they are read."""
        advance(self.offset)
        for data in blocks(read, self.offset, BLOCK, self.longest):
            if self.hashes:
                self.sha256.update(data)
            advance(len(data))
            yield data

    def judged(self, data: bytes) -> _Judged:
        """What a look at a block by itself tells; several looks go on at once."""
        found = self.regular(data)
        if found is None or not found.rows:
            return _Judged(data, found, None)
        return _Judged(data, found, self.examine(self.block(data, found)))

    def regular(self, data: bytes) -> Structure | None:
        """The structure of a block, if it needs no reference."""
        if not is_plain(data):
            return None
        # Whether a blank line is inside the file, only what follows it can tell.
        rows = _without_blank_end(data) if self.width > 1 else data
        if not rows:
            return NOTHING
        limits = self.header.limits
        return structure(rows, self.delimiter, self.width, limits, ragged=self.tolerant)

    def block(self, data: bytes, found: Structure) -> Block:
        """The records of a block that are rows."""
        delimiter = self.header.delimiter
        if not found.ragged:
            return Block.of(data[: found.size], delimiter, found)
        data = without(data[: found.size], spans(found.ragged))
        sizes = np.delete(np.diff(found.ends, prepend=0), found.ragged.numbers)
        return Block(data, found.rows, delimiter, found.embedded, np.cumsum(sizes))

    def judged_again(self, data: bytes) -> pl.DataFrame | None:
        """Pass a block that is not regular: stretch by stretch, one by reference."""
        start, first, embedded = self.offset, self.rows, self.embedded
        self.in_stretches(data, STRETCH)
        rows, passed = self.rows - first, data[: self.end - start]
        if not rows:
            return None
        if (gaps := self.quarantine.gaps(start)) is not None:
            passed = without(passed, gaps)
        inner = self.embedded - embedded
        return self.examine(Block(passed, rows, self.header.delimiter, inner))

    def in_stretches(self, data: bytes, size: int) -> None:
        """Find what is not regular in ever shorter stretches; the reference is slow."""
        for stretch in blocks(slices(data), 0, size, self.longest):
            found = self.regular(stretch)
            if found is not None:
                self.count(stretch, found)
            elif size > SHORT:
                self.in_stretches(stretch, size // 8)
            else:
                self.by_reference(stretch)

    @property
    def end(self) -> int:
        """Behind the last row: blank lines at the end of a file belong to none."""
        return self.blanks[0].byte_offset if self.blanks else self.offset

    def count(self, data: bytes, found: Structure) -> None:
        """Count the records of a regular block, and the blank lines at its end."""
        if found.size:
            self.settle_blanks()
        if found.ragged:
            rejects = self.rejects(data, found.ragged)
            self.quarantine.add_ragged(found.ragged, self.offset, rejects)
        self.rows += found.rows
        self.line += len(found.ends) + found.embedded
        self.offset += found.size
        self.embedded += found.embedded
        self.newlines["CRLF"] += found.crlf
        self.newlines["LF"] += len(found.ends) - found.crlf
        if len(data) > found.size:
            self.count_blanks(data[found.size :])

    def count_blanks(self, data: bytes) -> None:
        """Count blank lines; whether they are rows is not known yet."""
        at, room = self.offset, LISTED - len(self.blanks)
        # A blank line is two bytes at most.
        listed = data[: 2 * room].splitlines(keepends=True)[:room]
        for line, raw in enumerate(listed, self.line):
            self.blanks.append(Reject(line, at, BLANK))
            at += len(raw)
        lines, crlf = data.count(b"\n"), data.count(b"\r\n")
        self.newlines["CRLF"] += crlf
        self.newlines["LF"] += lines - crlf
        self.blank_lines += lines
        self.line += lines
        self.offset += len(data)

    def note(self, data: bytes, found: Structure | None) -> None:
        """Keep what readers of other tastes than ours would stumble over."""
        self.quotes |= found.quotes if found is not None else b'"' in data
        # One byte is found at memory speed, two are not.
        if not self.end_of_copy and b"\\" in data:
            self.end_of_copy = END_OF_COPY.search(data) is not None

    def by_reference(self, data: bytes) -> None:
        """Let the reference judge: it counts what it accepts and names what not."""
        rest = data
        while rest:
            start = self.offset
            try:
                self.accept(rest)
            except Fault as fault:
                line = _line(rest[self.offset - start :])
                if not self.ends_for_certain(line, fault):
                    raise refusal(fault, self.header.uri, self.header.columns) from None
                self.settle_blanks()
                self.set_aside(len(line), fault.reason)
                self.count_newline(line)
                self.line += line.endswith(b"\n")
                self.offset += len(line)
            rest = rest[self.offset - start :]

    def accept(self, data: bytes) -> None:
        """Count the records of the reference, as far as it goes; raises Fault."""
        limits, line, start = self.header.limits, self.line, self.offset
        for record in records(data, self.delimiter, limits, line=line, offset=start):
            self.count_record(record, data[record.offset - start : record.end - start])

    def ends_for_certain(self, line: bytes, fault: Fault) -> bool:
        """Whether a line with a fault is one record, whatever the fault may mean."""
        return (
            self.tolerant
            and isinstance(fault, EncodingFault | NulFault)
            and b'"' not in line
            and b"\r" not in line.replace(b"\r\n", b"")
            and len(line) <= self.longest
        )

    def count_record(self, record: Record, raw: bytes) -> None:
        """Count a record of the reference."""
        if record.blank and self.width > 1:
            self.count_blanks(raw)
            return
        self.settle_blanks()
        inner = record.lines - raw.endswith(b"\n")
        if len(record.fields) == self.width:
            self.rows += 1
        elif self.tolerant and not inner:
            self.set_aside(len(raw), self.shape(len(record.fields)))
        else:
            self.refuse_ragged(record)
        self.embedded += inner
        self.count_newline(raw)
        self.line += record.lines
        self.offset = record.end

    def set_aside(self, size: int, reason: str) -> None:
        """Reject the line of so many bytes that begins here."""
        reject = Reject(self.line, self.offset, reason)
        self.quarantine.add(self.offset, self.offset + size, [reject])

    def rejects(self, data: bytes, ragged: Ragged) -> Iterator[Reject]:
        """Why records of a block that begins here are set aside, one by one."""
        found = zip(ragged.lines, ragged.starts, ragged.fields, strict=True)
        for lines, start, fields in found:
            reason = BLANK if data[start] in b"\r\n" else self.shape(fields)
            yield Reject(self.line + int(lines), self.offset + int(start), reason)

    def shape(self, fields: int) -> str:
        """Why a row of another number of fields is refused."""
        return f"a row of {fields:,} fields under a header of {self.width:,}"

    def count_newline(self, raw: bytes) -> None:
        """Count the newline at the end of a record."""
        if raw.endswith(b"\n"):
            self.newlines["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1

    def settle_blanks(self) -> None:
        """Something follows the blank lines: they are inside the file."""
        self.begun = True
        if not self.blanks:
            return
        if not self.tolerant:
            raise blank_refusal(self.header, self.blanks[0])
        start = self.blanks[0].byte_offset
        self.quarantine.add(start, self.offset, self.blanks, self.blank_lines)
        self.blank_lines = 0
        self.blanks.clear()

    def refuse_ragged(self, record: Record) -> NoReturn:
        """Refuse a record of another number of fields."""
        found = len(record.fields)
        raise MalformedInput(
            self.shape(found),
            file=self.header.uri,
            line=record.line,
            byte_offset=record.offset,
            column=column_name(self.header.columns, found),
            why="a delimiter or a quote was lost, or the row was cut",
            help="write the row again with one field for each column"
            + ("" if self.tolerant else ", or --on-bad-row quarantine"),
        )


def dialect_of(
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


def blank_refusal(header: Header, blank: Reject) -> MalformedInput:
    """The error for a blank line that something follows."""
    return MalformedInput(
        BLANK,
        file=header.uri,
        line=blank.line,
        byte_offset=blank.byte_offset,
        why="readers disagree on it: a row of blanks, or nothing",
        help="remove the line, or --on-bad-row quarantine",
    )


def _line(data: bytes) -> bytes:
    """The first line, with its newline."""
    return data[: data.find(b"\n") + 1 or len(data)]


def _without_blank_end(data: bytes) -> bytes:
    """Whole records but for blank lines at their end."""
    if not data.endswith((b"\n\n", b"\n\r\n")) and data not in BLANK_LINES:
        return data
    last = len(data.rstrip(b"\r\n"))
    end = data.find(b"\n", last) + 1 if last else 0
    return data[:end] if b"\r" not in data[end:].replace(b"\r\n", b"") else data
