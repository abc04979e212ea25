"""Decide how one file is read: encoding, delimiter, lines before the header, header.

Every reading is tried by the strict reader on the first bytes. Whether all rows fit is
checked by reading the file as a whole, afterwards.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_engine.config import LIMITS, Encoding, Limits, Quote, SideOptions
from recon_engine.drafts.layout import Layout, find_layout, split_lines
from recon_engine.errors import ConfigError, EmptyFile, EncodingError, ReconError
from recon_engine.formatting import format_count
from recon_engine.inputs.encodings import count_foreign, tried, tried_wide
from recon_engine.inputs.file_shape import (
    DELIMITERS,
    count_data_names,
    count_trailing_delimiters,
)
from recon_engine.inputs.header import BOM, parse_header
from recon_engine.inputs.scanner import index_records, whole_records_size
from recon_engine.records import dataclass
from recon_engine.suggestions import looks_like_header


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.inputs.header import Header


HEAD_BYTES: Final = 1 << 20
TAIL_BYTES: Final = 1 << 16
BYTE_ORDERS: Final = {b"\xff\xfe": Encoding.UTF_16_LE, b"\xfe\xff": Encoding.UTF_16_BE}
# A field as Excel writes text, and one that quotes enclose.
EXCEL_FIELD: Final = re.compile(rb'(^|[^"\w])="', re.MULTILINE)
ENCLOSED_FIELD: Final = re.compile(
    rb'(?:^|[,;\t|])"[^"\n]*"(?:[,;\t|]|\r?$)', re.MULTILINE
)
QUOTED_TEXT: Final = re.compile(rb'"[^"]*"')
# How the record at the end of a delivery begins.
TRAILER_WORDS: Final = frozenset(
    {"TRL", "TRAILER", "TRAIL", "TR", "FOOTER", "FTR", "EOF", "END", "TOTAL", "TOTALS"}
)
TRAILER_MARK: Final = re.compile(r"[A-Za-z]{2,}")
# Enough to see whether a character is a delimiter, or is within texts.
FEW_LINES: Final = 1_000
SOME_LINES: Final = 10
# Rare ones after the usual: a text may hold any of them.
CANDIDATES: Final = (*DELIMITERS, "~", "^", "\x1f", "\x01")
# A preamble is short: a longer one has to be named with --skip-lines.
MOST_LINES: Final = 20
# The codec `utf-16` reads both orders, by this mark.
WIDE_BOMS: Final = {b"\xff\xfe": Encoding.UTF_16, b"\xfe\xff": Encoding.UTF_16}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read.

    `rows`: the regular rows among the first bytes; `evidence`: what is known of the
    encoding; `others`: other readings that fit, as text. `layout`: the columns of lines
    of one width; None of a delimited file. `limits`: of the fields of the rows.
    """

    encoding: Encoding
    delimiter: str
    frame: SideOptions
    columns: tuple[str, ...]
    rows: int
    evidence: str = ""
    others: tuple[str, ...] = ()
    layout: Layout | None = None
    limits: Limits = LIMITS

    @property
    def has_header(self) -> bool:
        """Whether the first record has the names of the columns."""
        return not self.frame.no_header if self.layout is None else self.layout.named

    def with_layout(self, layout: Layout) -> Reading:
        """The same with the columns of a layout."""
        return replace(
            self,
            layout=layout,
            columns=tuple(each.name for each in layout.columns),
            frame=replace(self.frame, fixed=layout.text),
        )


def find_reading(path: Path, uri: str, side: str, limits: Limits) -> Reading:
    """The reading of a file under which most columns fit its first rows.

    Raises EmptyFile, EncodingError for bytes that are no text, and the error of the
    strict reader if no reading fits.
    """
    head, whole = read_head(path)
    if not head:
        raise EmptyFile(
            f"{side.upper()} is empty", file=uri, help="deliver a file with a header"
        )
    encoding, evidence = _find_encoding(head, uri, side)
    # The strict reader takes UTF-8. What is no character of the encoding is found when
    # the whole file is read.
    text = head.removeprefix(BOM).decode(encoding, "replace").encode()
    if not whole:
        text = text[: whole_records_size(text)] or text[: text.rfind(b"\n") + 1]
    found = (
        _rank_readings(text, whole=whole, limits=limits)
        or _find_other_quotes(text, whole=whole, limits=limits)
        or (_without_last_line(text, limits) if whole else [])
    )
    if not found:
        fixed = _find_fixed(path, encoding, text, None)
        if fixed is not None:
            return replace(fixed, evidence=evidence)
        return Reading(encoding, _most_frequent(text), SideOptions(), (), 0, evidence)
    best, *others = found
    fixed = _find_fixed(path, encoding, text, best)
    if fixed is not None:
        return replace(fixed, evidence=evidence)
    trailers = best.frame.trailers or _find_trailer(path, best, encoding, text)
    return replace(
        best,
        frame=replace(best.frame, trailers=trailers),
        encoding=encoding,
        evidence=evidence,
        others=tuple(
            f"{show_delimiter(each.delimiter)} with"
            f" {format_count(len(each.columns), 'column')}"
            for each in others
            if each.frame.skip_lines == best.frame.skip_lines and len(each.columns) > 1
        ),
    )


def _rank_readings(text: bytes, *, whole: bool, limits: Limits) -> list[Reading]:
    """All readings under which the first rows are regular, best first."""
    return sorted(
        _readings(text, whole=whole, limits=limits),
        # The fewest lines are skipped; then most columns. A list of words has one.
        key=lambda each: (
            len(each.columns) < 2,  # noqa: PLR2004 - a table has several columns
            each.frame.skip_lines,
            -len(each.columns),
        ),
    )


def _find_other_quotes(text: bytes, *, whole: bool, limits: Limits) -> list[Reading]:
    """The readings of a text whose quotes are not those of CSV, best first."""
    changes: dict[str, Any]
    if EXCEL_FIELD.search(text):
        plain, changes = EXCEL_FIELD.sub(rb'\1"', text), {"excel_text": True}
    elif b'"' in text and not ENCLOSED_FIELD.search(text):
        plain, changes = text.replace(b'"', b"'"), {"quote": Quote.NONE}
    else:
        return []
    return [
        replace(each, frame=replace(each.frame, **changes))
        for each in _rank_readings(plain, whole=whole, limits=limits)
    ]


def _without_last_line(text: bytes, limits: Limits) -> list[Reading]:
    """The readings of a text whose last record is a trailer of another width."""
    lines = text.rstrip(b"\r\n\x1a").splitlines(keepends=True)
    found = []
    for each in _rank_readings(b"".join(lines[:-1]), whole=True, limits=limits):
        first = lines[-1].decode(errors="replace").partition(each.delimiter)[0].strip()
        if len(each.columns) > 1 and _is_word(first):
            frame = replace(each.frame, trailers=(first,))
            found.append(replace(each, frame=frame))
    return found


def _is_word(text: str) -> bool:
    """Whether a field may be the first of a trailer."""
    return text.isascii() and text.isalpha() and len(text) > 1


def _find_fixed(
    path: Path, encoding: Encoding, text: bytes, delimited: Reading | None
) -> Reading | None:
    """The reading of a file whose lines have one width and several columns.

    None if it is delimited: `delimited` is the best such reading.
    """
    lines = split_lines(text.decode(errors="replace"))
    if lines is None:
        return None
    many = delimited is not None and len(delimited.columns) > 1
    if delimited is None or many:
        delimiter = delimited.delimiter if delimited else _most_frequent(text)
        if not _is_within_text(lines.rows, delimiter):
            return None
    last = read_last_line(path, encoding)
    found = TRAILER_MARK.match(last)
    mark = found.group() if found else ""
    starts = any(row.startswith(mark) for row in lines.rows if row != last)
    ends = len(last) != lines.width or mark.upper() in TRAILER_WORDS
    if not mark or starts or not ends:
        mark = ""
    layout = find_layout(path, encoding, lines, mark)
    count = len(layout.columns)
    if delimited is not None and (
        count <= len(delimited.columns) if many else count == 1 and lines.header
    ):
        return None
    frame = SideOptions(
        skip_lines=lines.leading, trailers=(mark,) if mark else (), fixed=layout.text
    )
    return Reading(encoding, ",", frame, (), len(lines.rows)).with_layout(layout)


def _is_within_text(rows: Sequence[str], delimiter: str) -> bool:
    """Whether a character has other places in each row, as it has in padded text."""
    places = {
        tuple(at for at, char in enumerate(row) if char == delimiter)
        for row in rows[:FEW_LINES]
    }
    return places == {()} or (len(rows) > SOME_LINES and len(places) > 1)


def refuse_layout(reading: Reading, uri: str, side: str) -> None:
    """Raise the error that says what is needed if the lines show a single column."""
    layout = reading.layout
    if layout is None or len(layout.columns) > 1:
        return
    raise ConfigError(
        f"{side.upper()} has no delimiter, and its lines have"
        f" {format_count(layout.width, 'character')} each, as in a fixed-width file",
        file=uri,
        why="; ".join(
            ("where its columns begin and end is not in the file", *layout.doubts)
        ),
        help=f"recon diff OLD NEW --key NAME --{side}-fixed NAME:FROM-TO,NAME:FROM-TO"
        f" (or --{side}-fixed @layout.csv, with the columns name, from, to)",
    )


def _find_trailer(
    path: Path, reading: Reading, encoding: Encoding, text: bytes
) -> tuple[str, ...]:
    """The first field of the last line, if it is that of a trailer and of no other row.

    Only the usual words count: any other may begin a row, which is not left out. A last
    line with other fields than the rows is found by the strict reader.
    """
    last = read_last_field(path, reading.delimiter, encoding)
    mark = reading.delimiter.encode()
    if last is None or last.upper() not in TRAILER_WORDS:
        return ()
    lines = text.splitlines()[reading.frame.skip_lines :]
    first = {line.partition(mark)[0].decode() for line in lines[reading.has_header :]}
    first.discard(last)
    has_digits = all(any(map(str.isdigit, each)) for each in first)
    return (last,) if first and has_digits else ()


def read_last_field(path: Path, delimiter: str, encoding: Encoding) -> str | None:
    """The first field of the last line, if it is a word, as that of a trailer is."""
    last = read_last_line(path, encoding).partition(delimiter)[0]
    return last if _is_word(last) else None


def choose_codec(mark: bytes, encoding: Encoding) -> Encoding:
    """The encoding of any part of a file that begins with these two bytes.

    Only the first bytes of a file have the mark of UTF-16.
    """
    wide = encoding is Encoding.UTF_16
    return BYTE_ORDERS.get(mark, encoding) if wide else encoding


def read_last_line(path: Path, encoding: Encoding) -> str:
    """The last line that is not blank, or its end if it is long."""
    size = path.stat().st_size
    with path.open("rb") as file:
        codec = choose_codec(file.read(2), encoding)
        # An even offset, for a character of UTF-16 has two bytes.
        file.seek(max(size - TAIL_BYTES, 0) // 2 * 2)
        data = file.read()
    lines = data.decode(codec, "replace").rstrip("\r\n\x1a").splitlines()
    return lines[-1] if lines else ""


def read_table(path: Path, limits: Limits) -> Reading:
    """The reading of a CSV file that was made from a table with a schema."""
    with path.open("rb") as file:
        text = file.read(HEAD_BYTES)
    header = _parse_header(text, ",", SideOptions(), limits)
    rows = text.count(b"\n", len(header.raw))
    return Reading(Encoding.UTF_8, ",", SideOptions(), header.columns, rows)


def find_rows(text: bytes, reading: Reading) -> tuple[Header, int] | None:
    """The header of a text that is read so, and where its rows begin; None if none.

    `text`: the first bytes in UTF-8.
    """
    start = find_line(text, reading.frame.skip_lines)
    trailing = reading.frame.trailing_delimiter
    with suppress(ReconError):
        header = _parse_header(
            text[start:],
            reading.delimiter,
            SideOptions(trailing_delimiter=trailing),
            reading.limits,
        )
        if len(header.columns) == len(reading.columns):
            return header, start if reading.frame.no_header else start + len(header.raw)
    return None


def find_line(text: bytes, lines: int) -> int:
    """Where the line after some lines begins."""
    start = 0
    for _ in range(lines):
        start = text.find(b"\n", start) + 1
    return start


def read_head(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a plain file, and whether these are all of it."""
    with path.open("rb") as file:
        # One byte more says whether the file goes on.
        data = file.read(HEAD_BYTES + 1)
    return data[:HEAD_BYTES], len(data) <= HEAD_BYTES


def find_encoding_at(path: Path, offset: int) -> Encoding | None:
    """The encoding in which the bytes around an offset are text, if any."""
    with path.open("rb") as file:
        file.seek(max(offset - HEAD_BYTES // 2, 0))
        trial = tried(file.read(HEAD_BYTES))
    return Encoding(trial.encoding) if trial else None


def show_delimiter(delimiter: str) -> str:
    """A delimiter in quotes; a control character by its name or number."""
    return {"\t": "tab"}.get(delimiter) or (
        f"'{delimiter}'" if delimiter.isprintable() else f"0x{ord(delimiter):02x}"
    )


def _find_encoding(head: bytes, uri: str, side: str) -> tuple[Encoding, str]:
    wide = WIDE_BOMS.get(head[:2]) or _wide_without_mark(head)
    if wide is not None and tried_wide(head, wide) is not None:
        return wide, f"the first {len(head):,} bytes are valid {wide}"
    if b"\0" in head:
        raise EncodingError(
            f"{side.upper()} is no text: it has NUL bytes",
            file=uri,
            byte_offset=head.index(b"\0"),
            help="deliver a CSV file",
        )
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The head may end within a character.
        if error.start < len(head) - 4:
            trial = tried(head)
            if trial is None:
                raise EncodingError(
                    f"{side.upper()} is no text in a known encoding",
                    file=uri,
                    byte_offset=error.start,
                    why="its first bytes are not UTF-8, cp1252, cp850 or mac-roman",
                    help="is it a CSV file? If so, name its encoding with --encoding",
                ) from None
            return Encoding(trial.encoding), (
                f"not UTF-8 at byte {error.start:,}; as {trial.encoding},"
                f" {format_count(trial.characters, 'character')} outside ASCII"
            )
    foreign = count_foreign(head.decode(errors="ignore"))
    if not foreign:
        return Encoding.UTF_8, "only ASCII"
    characters = format_count(foreign, "character")
    return Encoding.UTF_8, f"valid, {characters} outside ASCII"


def _wide_without_mark(head: bytes) -> Encoding | None:
    """UTF-16 by its zero bytes: half of a text in Latin letters."""
    sample = head[:4096]
    odd, even = sample[1::2].count(0), sample[::2].count(0)
    # Two thirds of the high bytes are zero, and less than a quarter of the low ones.
    if 3 * odd > len(sample) > 8 * even:
        return Encoding.UTF_16_LE
    if 3 * even > len(sample) > 8 * odd:
        return Encoding.UTF_16_BE
    return None


def _readings(text: bytes, *, whole: bool, limits: Limits) -> Iterator[Reading]:
    """All readings under which the first rows are regular."""
    some = False
    for lines, offset in _line_starts(text):
        first = text[offset : text.find(b"\n", offset) + 1 or None]
        for delimiter in CANDIDATES:
            # A file of one column has no delimiter: it is tried once, with the comma.
            if delimiter.encode() not in first and (delimiter, lines) != (",", 0):
                continue
            found = _try_reading(text[offset:], delimiter, whole=whole, limits=limits)
            if found is not None and _may_precede(text[:offset], found):
                some = some or len(found.columns) > 1
                yield replace(found, frame=replace(found.frame, skip_lines=lines))
        # A header that fits all rows has no lines before it.
        if some:
            return


def _may_precede(lines: bytes, found: Reading) -> bool:
    """Whether lines may be before a header: none is as wide, and it has names.

    Otherwise the lines after a malformed row would be taken for the table.
    """
    if not lines:
        return True
    mark, width = found.delimiter.encode(), len(found.columns)
    narrow = all(line.count(mark) + 1 < width for line in lines.splitlines())
    return narrow and found.has_header and looks_like_header(found.columns)


def _line_starts(text: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    for number in range(MOST_LINES + 1):
        yield number, at
        at = text.find(b"\n", at) + 1
        if not at:
            return


def _try_reading(
    text: bytes, delimiter: str, *, whole: bool, limits: Limits
) -> Reading | None:
    with suppress(ReconError):
        return _read_regular(text, delimiter, whole=whole, limits=limits)
    return None


def _read_regular(
    text: bytes, delimiter: str, *, whole: bool, limits: Limits
) -> Reading | None:
    frame = SideOptions(trailing_delimiter=_ends_with_delimiters(text, delimiter))
    header = _parse_header(text, delimiter, frame, limits)
    if count_data_names(header.columns, header.head, delimiter):
        frame = replace(frame, no_header=True)
        header = replace(header, raw=b"")
    rows = text[len(header.raw) :]
    if whole:
        # Blank lines at the end are no rows of several columns (docs/csv.md).
        rows = rows.rstrip(b"\r\n") + b"\n" if rows.strip() else b""
    if not rows:
        return Reading(Encoding.UTF_8, delimiter, frame, header.columns, 0)
    found = index_records(rows, ord(delimiter), header.width, limits)
    if found is not None:
        names = header.columns
        if frame.no_header:
            names = tuple(f"c{at + 1}" for at in range(len(names)))
        return Reading(Encoding.UTF_8, delimiter, frame, names, found.rows)
    return None


def _ends_with_delimiters(text: bytes, delimiter: str) -> bool:
    """Whether each record, of several, ends with a delimiter."""
    if not _first(text).rstrip(b"\r").endswith(delimiter.encode()):
        return False
    # Without what is in quotes, a line is a record.
    return count_trailing_delimiters(QUOTED_TEXT.sub(b"", text), delimiter) > 1


def _parse_header(
    text: bytes, delimiter: str, frame: SideOptions, limits: Limits
) -> Header:
    return parse_header(
        io.BytesIO(text),
        path=Path(os.devnull),
        uri="",
        state=(0, 0, 0, 0),
        delimiter=delimiter,
        limits=limits,
        frame=frame,
    )


def _most_frequent(text: bytes) -> str:
    first = _first(text).decode(errors="replace")
    counts: dict[str, int] = {each: first.count(each) for each in CANDIDATES}
    return max(counts, key=lambda each: counts[each])


def _first(text: bytes) -> bytes:
    return text.partition(b"\n")[0]
