"""Find the columns of a file whose lines have one width: a layout for `--fixed`.

A border is where all lines are blank. Where digits become letters in all lines, there
may be one: a header, or a column of the other file with these values, decides.
Together the columns have every character of a line, so that no value is left unread.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from recon_engine.command_line import quote_name
from recon_engine.config import Encoding, FixedColumn
from recon_engine.formatting import format_count
from recon_engine.inputs.file_shape import FIXED_LINES, FIXED_WIDTH
from recon_engine.records import dataclass
from recon_engine.suggestions import looks_like_header


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    Table = np.ndarray[tuple[int, int], np.dtype[Any]]


# As many as the reader in Python takes at a time (docs/design.md).
BLOCK_BYTES: Final = 1 << 22
# Bits: a place has those of the characters of all lines. 1 alone is blank in every
# line.
BLANK, DIGIT, LETTER, OTHER = 1, 2, 4, 8
# The classes of a character that is blank in some rows.
PADDED: Final = bytes(each for each in range(2, 16) if each & BLANK)
# What the characters of ASCII are; all others are letters.
CLASSES: Final = np.array(
    [
        BLANK
        if chr(code) == " "
        else DIGIT
        if chr(code).isdigit()
        else LETTER
        if chr(code).isalpha()
        else OTHER
        for code in range(128)
    ],
    np.uint8,
)
# With fewer lines, a place can be blank in all of them by chance.
FEW_LINES: Final = 20
# Of the first lines; the reader refuses the others, at their places.
LEAST_SAME: Final = 0.98
# As many as `reading.MOST_LINES`.
MOST_LEADING: Final = 20
MOST_SHOWN: Final = 5
WORD: Final = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Characters:
    """What the characters of lines of one width are.

    `classes`: what each is in some line, as bits. `blanks`: in how many lines it is
    blank. `rows`: the number of lines.
    """

    classes: bytes
    blanks: tuple[int, ...]
    rows: int

    def merged(self, other: Characters) -> Characters:
        """The same of the lines of two files."""
        return Characters(
            bytes(a | b for a, b in zip(self.classes, other.classes, strict=True)),
            tuple(a + b for a, b in zip(self.blanks, other.blanks, strict=True)),
            self.rows + other.rows,
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of lines of one width.

    `columns`: their places, under the names of the header if it has some (`named`).
    `shown`: what the lines show. `confirmed`: what shows borders besides blanks.
    `named_by`: which columns of the other file gave names, with the rows that agree.
    """

    columns: tuple[FixedColumn, ...]
    shown: Characters
    named: bool = False
    confirmed: tuple[str, ...] = ()
    named_by: str = ""

    @property
    def width(self) -> int:
        """The number of characters of a line."""
        return len(self.shown.classes)

    @property
    def rows(self) -> int:
        """The number of lines that were measured."""
        return self.shown.rows

    @property
    def text(self) -> str:
        """The layout as `--fixed` takes it."""
        return ",".join(
            f"{quote_name(each.name, ',:')}:{each.start + 1}-{each.stop}"
            for each in self.columns
        )

    @property
    def evidence(self) -> str:
        """What shows the borders."""
        blank = [
            _show_range(start, stop)
            for start, stop in _find_gaps(self.shown.classes)
            if any(start <= each.start <= stop for each in self.columns)
        ]
        shown = f"blank in all rows: {_shorten(blank)}" if blank else ""
        return "; ".join(filter(None, (shown, *self.confirmed)))

    @property
    def doubts(self) -> list[str]:
        """Why a border may be missing, or be none."""
        found = []
        unnamed = [each for each in self.columns if is_number(each.name)]
        changes = [
            f"{at} and {at + 1}"
            for at in find_changes(self.shown.classes)
            if any(each.start < at < each.stop for each in unnamed)
        ]
        if changes:
            places = _shorten(changes)
            found.append(f"columns may also meet between characters {places}")
        texts = [
            _show_range(start, stop)
            for start, stop in _find_gaps(self.shown.classes)
            if any(start <= each.start <= stop for each in unnamed)
            and self.shown.classes[stop] & (BLANK | LETTER) == BLANK | LETTER
        ]
        if texts:
            found.append(f"the spaces at {_shorten(texts)} may be within a text")
        if unnamed and self.rows < FEW_LINES:
            count = format_count(self.rows, "row")
            found.append(f"{count} may be blank at one place by chance")
        return found

    def has_mark_at(self, border: int) -> bool:
        """Whether a border is beside a sign, which separates parts of one value."""
        beside = self.shown.classes[border - 1] | self.shown.classes[border]
        return bool(beside & OTHER)

    def with_columns(
        self, columns: Sequence[FixedColumn], confirmed: Sequence[str] = ()
    ) -> Layout:
        """The same with other columns; `confirmed`: what shows borders besides."""
        every = *self.confirmed, *confirmed
        return replace(self, columns=tuple(columns), confirmed=every)

    def with_names(self, names: Sequence[str], named_by: str = "") -> Layout:
        """The same columns under other names."""
        columns = tuple(
            FixedColumn(name, each.start, each.stop)
            for name, each in zip(names, self.columns, strict=True)
        )
        return replace(self, columns=columns, named_by=named_by or self.named_by)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of the beginning of a file, of which nearly all have one width.

    `leading`: the number of lines before the rows, with the header. `header`: that
    line, or "". `rows`: the others but the last, if that has another width (`last`).
    """

    width: int
    leading: int
    header: str
    rows: tuple[str, ...]
    last: str


def split_lines(text: str) -> Lines | None:
    """The lines of a text; None if they do not have nearly all one width.

    Lines before the rows, and the last one, may have another.
    """
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n\x1a").split("\n")]
    counts = Counter(map(len, lines[:-1] or lines))
    width = counts.most_common(1)[0][0]
    if width < FIXED_WIDTH:
        return None
    last = lines.pop() if len(lines) > FIXED_LINES and len(lines[-1]) != width else ""
    leading = next(at for at, line in enumerate(lines) if len(line) == width)
    rows, header = [line for line in lines[leading:] if len(line) == width], ""
    usual = len(rows) >= LEAST_SAME * (len(lines) - leading)
    if leading > MOST_LEADING or not usual or len(rows) < FIXED_LINES:
        return None
    if _is_header(rows[0], rows[1:]):
        header, rows, leading = rows[0], rows[1:], leading + 1
    elif leading and _is_header(lines[leading - 1], rows):
        header = lines[leading - 1]
    return Lines(width, leading, header, tuple(rows), last)


def find_layout(path: Path, encoding: Encoding, lines: Lines, mark: str) -> Layout:
    """The layout of a file, by all of its rows.

    Lines of another width are left out: the reader refuses them, or they are no rows.
    So are those that begin with `mark`, as a trailer does.
    """
    classes, rows = np.zeros(lines.width, np.uint8), 0
    blanks = np.zeros(lines.width, np.int64)
    for table in _read_tables(path, encoding, lines, mark):
        classes |= np.bitwise_or.reduce(_classify(table), axis=0)
        blanks += np.count_nonzero(table == ord(" "), axis=0)
        rows += len(table)
    shown = Characters(classes.tobytes(), tuple(blanks.tolist()), rows)
    return make_layout(shown, lines.header)


def make_layout(shown: Characters, header: str = "") -> Layout:
    """The columns between blanks, at the ends of padding, and as the header shows."""
    classes, padded = shown.classes, _find_padding(shown)
    borders = [
        *padded,
        *(
            _place_border(classes, *gap)
            for gap in _find_gaps(classes)
            if not _is_within_text(shown, *gap)
        ),
    ]
    reasons = [f"{reason} {at + 1}" for at, reason in padded.items()]
    named_at = _find_header_borders(classes, borders, header)
    reasons += [f"the header shows a border before {at + 1}" for at in named_at]
    spans = cut_at(len(classes), sorted({*borders, *named_at}))
    named = _name_by_header(spans, header)
    names = named or [f"column_{at + 1}" for at in range(len(spans))]
    columns = (
        FixedColumn(name, *span) for name, span in zip(names, spans, strict=True)
    )
    return Layout(tuple(columns), shown, bool(named), tuple(reasons))


def is_number(name: str) -> bool:
    """Whether a column is named by its place."""
    return name.startswith("column_") and name.removeprefix("column_").isdecimal()


def cut_at(width: int, borders: Sequence[int]) -> list[tuple[int, int]]:
    """The places between borders, from the first character to the last."""
    ends = [0, *borders, width]
    return [*itertools.pairwise(ends)]


def find_changes(classes: bytes) -> list[int]:
    """Where two columns may meet without a blank.

    Digits become letters in all rows, or letters digits; or characters that are blank
    in some rows are between others that never are.
    """
    found = []
    for at in range(1, len(classes)):
        before, after = classes[at - 1], classes[at]
        changes = {before & ~BLANK, after & ~BLANK} == {DIGIT, LETTER}
        # What begins with such characters is one number, with blanks before it.
        left = bytes(classes[:at]).rstrip(PADDED)
        inside = left[-1:] and left[-1] != BLANK and len(left) < at
        if BLANK not in {before, after} and (
            changes or (inside and not after & BLANK and after & DIGIT)
        ):
            found.append(at)
    return found


def _find_padding(shown: Characters) -> dict[int, str]:
    """Where the blanks behind a text end, or those before a number begin."""
    found, classes = {}, shown.classes
    for at in range(1, len(classes)):
        before, after = classes[at - 1], classes[at]
        text = before & BLANK and before & LETTER and not after & BLANK
        # Two words may be blank at one place in some rows, but not in most of many.
        usual = shown.rows >= FEW_LINES and 2 * shown.blanks[at - 1] >= shown.rows
        if text and (after == DIGIT or usual):
            found[at] = "padding ends before"
        elif before == LETTER and after & ~OTHER == DIGIT | BLANK:
            found[at] = "padding begins at"
    return found


def _find_header_borders(
    classes: bytes, borders: Sequence[int], header: str
) -> list[int]:
    """The borders between words of a header that no other border separates."""
    words = [found.span() for found in WORD.finditer(header)]
    known, shown = {*find_changes(classes)}, []
    for (first, end), (start, stop) in itertools.pairwise(words):
        if any(first < at < stop for at in borders):
            continue
        places = [at for at in range(start, end - 1, -1) if at in known]
        # A single blank may be in the name of one column.
        if places or start > end + 1:
            shown.append(places[0] if places else start)
    return shown


def _is_header(line: str, rows: Sequence[str]) -> bool:
    """Whether a line has names: letters where no row has one."""
    if not rows or not looks_like_header(WORD.findall(line)):
        return False
    return any(
        char.isalpha() and not any(row[at].isalpha() for row in rows)
        for at, char in enumerate(line[: len(rows[0])])
    )


def _name_by_header(spans: Sequence[tuple[int, int]], header: str) -> list[str]:
    """The words of a header over its columns; none if they do not fit them."""
    words = [(found[0], *found.span()) for found in WORD.finditer(header)]
    over: list[list[str]] = [[] for _ in spans]
    for word, start, stop in words:
        inside = [
            at
            for at, (first, end) in enumerate(spans)
            if first <= start and stop <= max(end, first + 1)
        ]
        if inside:
            over[inside[0]].append(word)
    names = [" ".join(each) for each in over]
    if not all(names) or sum(map(len, over)) < len(words):
        # Words that are longer than their columns are in the same order.
        names = [word for word, _, _ in words]
    fits = len(names) == len(spans) and len(set(names)) == len(names)
    return names if fits and all(names) else []


def _find_gaps(classes: bytes) -> list[tuple[int, int]]:
    """The places between two columns that are blank in all lines."""
    found = re.finditer(rb"(?<=[^\x01])\x01+(?=[^\x01])", classes)
    return [each.span() for each in found]


def _is_within_text(shown: Characters, start: int, stop: int) -> bool:
    """Whether a single blank is followed by letters in few rows.

    These are more likely the end of a long text than a column.
    """
    is_letter = shown.classes[stop] & LETTER
    return bool(
        stop == start + 1 and is_letter and 2 * shown.blanks[stop] >= shown.rows
    )


def _place_border(classes: bytes, start: int, stop: int) -> int:
    """Where the next column begins, at blanks from `start` to before `stop`.

    A longer value takes the blanks behind a text, and those before a number.
    """
    ends = re.match(rb"[^\x01]+", classes[stop:])
    right = ends.group() if ends else b""
    before = re.search(rb"[^\x01]+\Z", classes[:start])
    left = before.group() if before else b""
    is_number = not any(each & LETTER for each in right)
    padded = right[:1] and right[0] & BLANK and not right[-1] & BLANK
    text_before = bool(left) and bool(left[-1] & BLANK)
    return start if is_number and padded and not text_before else stop


def _read_tables(
    path: Path, encoding: Encoding, lines: Lines, mark: str
) -> Iterator[Table]:
    """The rows of a file as tables of characters, block by block."""
    # Bytes that are no text count as characters here: the strict reader refuses them at
    # their place.
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest, skip, starts = "", lines.leading, True
    with path.open("rb") as file:
        while data := file.read(BLOCK_BYTES):
            text = rest + decoder.decode(data)
            # The mark is no character of the first line.
            text, starts = text.removeprefix("\ufeff") if starts else text, False
            end = text.rfind("\n") + 1
            text, rest = text[:end], text[end:]
            while skip and text:
                text, skip = text.partition("\n")[2], skip - 1
            if text:
                yield _as_table(text, lines.width, mark)
    if rest.rstrip("\r\n\x1a"):
        yield _as_table(rest + "\n", lines.width, mark)


def _as_table(text: str, width: int, mark: str) -> Table:
    """The lines of one width as rows of characters."""
    size = text.find("\n") + 1
    plain = not (mark and mark in text)
    if plain and len(text) % size == 0 and size - width in {1, 2}:
        table = _encode(text).reshape(-1, size)
        # The last one or two of CR and LF, as many as the lines have.
        ends = table[:, width:] == np.array([13, 10][-(size - width) :], table.dtype)
        # No other line feed: two short lines could have the size of one.
        if ends.all() and text.count("\n") == len(table):
            return table[:, :width]
    rows = [line.removesuffix("\r") for line in text.split("\n")]
    kept = "".join(
        row for row in rows if len(row) == width and not (mark and row.startswith(mark))
    )
    return _encode(kept).reshape(-1, width)


def _encode(text: str) -> np.ndarray[tuple[int], np.dtype[Any]]:
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    # Four bytes for any character, so that a place is a column of the table.
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


def _classify(table: Table) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if table.dtype == np.uint8:
        return CLASSES[table]
    # The remainder keeps the index in its range. What it finds is not used there.
    return np.where(table < len(CLASSES), CLASSES[table % len(CLASSES)], LETTER).astype(
        np.uint8
    )


def _show_range(start: int, stop: int) -> str:
    return f"{start + 1}" if stop == start + 1 else f"{start + 1}-{stop}"


def _shorten(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_SHOWN
    shown = ", ".join(texts[:MOST_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown
