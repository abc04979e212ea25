"""Write CSV with the least quoting that the program's own reader accepts.

Python's csv module does not quote a carriage return before 3.13. Neither it nor Polars
quotes a byte order mark at the beginning of a file, which a reader then drops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final


if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl


# What a field is quoted for. A byte order mark at its beginning is one more: a reader
# may strip it.
SPECIAL: Final = frozenset('",\r\n')
BOM: Final = "\ufeff"


def format_record(values: Iterable[object]) -> str:
    """One record with its newline; None becomes a blank field."""
    fields = ["" if value is None else str(value) for value in values]
    # Readers skip a blank line, so a record of one blank field is quoted.
    if fields == [""]:
        return '""\n'
    return ",".join(map(_format_field, fields)) + "\n"


def write_frame(frame: pl.DataFrame, target: BinaryIO) -> None:
    """Write the header and the rows of a frame as UTF-8."""
    target.write(format_record(frame.columns).encode())
    frame.write_csv(target, include_header=False)


def _format_field(text: str) -> str:
    if SPECIAL.isdisjoint(text) and not text.startswith(BOM):
        return text
    return '"' + text.replace('"', '""') + '"'
