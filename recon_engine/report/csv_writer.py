"""CSV as this program writes it: the smallest quoting that its own reader accepts.

Python's csv leaves a lone carriage return unquoted before 3.13, and neither it nor
Polars quotes a byte order mark at the beginning of a file, which a reader drops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final


if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl


SPECIAL: Final = frozenset('",\r\n')
BOM: Final = "\ufeff"


def format_record(values: Iterable[object]) -> str:
    """One record with its newline; None is blank."""
    fields = ["" if value is None else str(value) for value in values]
    # A blank line is no record to a reader of several columns.
    if fields == [""]:
        return '""\n'
    return ",".join(map(_format_field, fields)) + "\n"


def write_frame(frame: pl.DataFrame, target: BinaryIO) -> None:
    """Write a header and the rows of a frame."""
    target.write(format_record(frame.columns).encode())
    frame.write_csv(target, include_header=False)


def _format_field(text: str) -> str:
    if SPECIAL.isdisjoint(text) and not text.startswith(BOM):
        return text
    return '"' + text.replace('"', '""') + '"'
