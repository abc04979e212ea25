"""Facts about the first lines of a file, for errors and warnings.

The strict reader reads by none of them; `recon init` drafts by two. Lines are counted
in the head of the file only; a line that the head cuts is left out. A head with quotes
yields no facts about lines that may not be records.
"""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING, Final

from recon_engine.lazy import lazy_pattern


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


# The usual delimiters, in the order of trial.
DELIMITERS: Final = ",;\t|"
# 16 KiB hold any usual preamble, and cost little to split.
HEAD_BYTES: Final = 1 << 14
# One line has no width to compare. Lines shorter than 12 bytes may be a list of codes.
FIXED_LINES: Final = 2
FIXED_WIDTH: Final = 12
EXCEL_TEXT: Final = b'="'
_DIGITS: Final = lazy_pattern(r"\d+")
_LETTERS: Final = lazy_pattern(r"[^\W\d_]+")


def count_trailing_delimiters(head: bytes, delimiter: str) -> int:
    """The number of lines if every line ends with a delimiter; else 0.

    Then each record does, also one with quotes and newlines in them.
    """
    lines = _split_lines(head)
    ends = bool(lines) and all(line.endswith(delimiter.encode()) for line in lines)
    return len(lines) if ends else 0


def find_header_line(head: bytes, delimiter: str, names: Collection[str]) -> int | None:
    """The first line after line 1 that has each of `names` as a field.

    Counted from 1.
    """
    wanted = {name.encode() for name in names}
    for number, line in enumerate(_lines(head)[1:], 2):
        if wanted <= set(line.split(delimiter.encode())):
            return number
    return None


def measure_fixed_width(head: bytes) -> tuple[int, int] | None:
    """The number of lines and their common length in bytes.

    None if the length varies.
    """
    lines = _lines(head)
    widths = {len(line) for line in lines}
    if len(lines) < FIXED_LINES or len(widths) > 1 or min(widths) < FIXED_WIDTH:
        return None
    return len(lines), widths.pop()


def count_data_names(names: Sequence[str], head: bytes, delimiter: str) -> int:
    """The number of column names if all of them look like data; else 0.

    Names look like data if all are numbers, or if each has the form of the value below
    it in the first row (as `M01` and `M02` have) and at least one has a digit.
    """
    if not any(map(_DIGITS.search, names)):
        return 0
    if all(_is_number(name) for name in names):
        return len(names)
    values = _first_values(head, delimiter)
    alike = list(map(_form, names)) == list(map(_form, values))
    return len(names) if alike else 0


def is_excel_text(data: bytes, quote_at: int, delimiter: str) -> bool:
    """Whether the quote at an offset is that of a field of the form `="…"`."""
    start = quote_at - 1
    before = data[max(start - 1, 0) : start]
    begins = before in {b"", b"\n", delimiter.encode()}
    return begins and start >= 0 and data[start : quote_at + 1] == EXCEL_TEXT


def _first_values(head: bytes, delimiter: str) -> list[str]:
    """The fields of the record after the header; [] if there is none."""
    if b'"' not in head:
        lines = _lines(head)
        return lines[1].decode(errors="replace").split(delimiter) if lines[1:] else []
    import csv  # Lazy: few files need it.

    text = io.StringIO(head.decode(errors="replace"), newline="")
    return next(islice(csv.reader(text, delimiter=delimiter), 1, None), [])


def _lines(head: bytes) -> list[bytes]:
    """The lines that are records; [] if they may not be, for the head has quotes."""
    return [] if b'"' in head else _split_lines(head)


def _split_lines(head: bytes) -> list[bytes]:
    lines = head.split(b"\n")
    # Behind the last newline is nothing, or a line that may be cut.
    complete = lines[:-1] if not lines[-1] or len(head) >= HEAD_BYTES else lines
    return [line.removesuffix(b"\r") for line in complete]


def _is_number(name: str) -> bool:
    return bool(_DIGITS.search(name)) and not any(char.isalpha() for char in name)


def _form(text: str) -> str:
    """A text with each run of letters as `a` and each run of digits as `9`."""
    return _DIGITS.sub("9", _LETTERS.sub("a", text.strip()))
