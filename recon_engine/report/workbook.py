"""Write a result as an Excel workbook in which every cell is text.

No value is a formula, and none loses a zero. A sheet has a limited number of rows and
characters: what is cut is counted on the first sheet.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from recon_engine.characters import readable
from recon_engine.formatting import (
    describe_drift,
    describe_side,
    format_count,
    format_kinds,
    name_both,
)
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from recon_engine.result import Reconciliation

# The limits of the format: rows of a sheet with its header, characters of a cell.
MOST_ROWS: Final = 1_048_576
MOST_CHARACTERS: Final = 32_767
CUT: Final = "… (cut)"
# Of characters: the widest column, and what the mark of a filter takes.
WIDEST: Final = 60
MARGIN: Final = 3
# So many rows say how wide a column is: the sheet is written row by row.
ROWS_MEASURED: Final = 200
# Control characters have no place in XML; a tab and a line feed do.
CONTROL: Final = lazy_pattern(r"[\x00-\x08\x0b-\x1f\x7f]")


class _Sheet:
    """A sheet that is written row by row; `cut_rows`, `cut_cells`: what did not fit."""

    def __init__(self, book: Any, name: str, text: Any) -> None:
        self._sheet = book.add_worksheet(name)
        self._text = text
        self.name = name
        self.rows = self.cut_rows = self.cut_cells = 0

    def write(self, values: Iterable[object], style: Any = None) -> None:
        """Write the next row, every value as text."""
        if self.rows >= MOST_ROWS:
            self.cut_rows += 1
            return
        for column, value in enumerate(values):
            text = "" if value is None else str(value)
            if CONTROL.search(text):
                text = readable(text)
            if len(text) > MOST_CHARACTERS:
                text = text[: MOST_CHARACTERS - len(CUT)] + CUT
                self.cut_cells += 1
            self._sheet.write_string(self.rows, column, text, style or self._text)
        self.rows += 1

    def write_table(
        self,
        names: Sequence[str],
        rows: Iterable[Sequence[object]],
        first: Iterable[Sequence[object]],
        head: Any,
    ) -> None:
        """Write names, which stay in view and have filters, and rows.

        `first`: the rows by which the columns are as wide as their texts.
        """
        self.fit([names, *first])
        self._sheet.freeze_panes(1, 0)
        self.write(names, head)
        for row in rows:
            self.write(row)
        if names:
            self._sheet.autofilter(0, 0, self.rows - 1, len(names) - 1)

    def fit(self, rows: Iterable[Sequence[object]]) -> None:
        """Make columns as wide as their texts in these rows, before any is written."""
        for column, texts in enumerate(zip_longest(*rows, fillvalue="")):
            longest = max(len(str(text)) for text in texts if text is not None)
            self._sheet.set_column(column, column, min(longest, WIDEST) + MARGIN)

    def notes(self) -> Iterator[str]:
        """A sentence for what did not fit."""
        if self.cut_rows:
            rows = format_count(self.cut_rows, "row", "are left out")
            yield f"sheet {self.name}: {rows}, for a sheet has {MOST_ROWS:,} rows"
        if self.cut_cells:
            cells = format_count(self.cut_cells, "value", "are cut")
            yield (
                f"sheet {self.name}: {cells}, for a cell has {MOST_CHARACTERS:,}"
                " characters"
            )


def write_workbook(result: Reconciliation, path: Path) -> tuple[str, ...]:
    """Write the sheets summary, columns, mismatches, missing and extra.

    Returns a sentence for each thing that did not fit; the sheet `summary` has it too.
    Raises OSError.
    """
    import xlsxwriter

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    # Opened here, so that a failure is an OSError and not one of the library.
    with path.open("wb") as target, xlsxwriter.Workbook(target, options) as book:
        text = book.add_format({"num_format": "@"})
        head = book.add_format({"num_format": "@", "bold": True})
        names = ("summary", "columns", "mismatches", "missing", "extra")
        summary, columns, *others = (_Sheet(book, name, text) for name in names)
        facts = [
            (
                name_both(column.name, result.new_names),
                column.compared,
                column.equal_exact,
                column.tolerated,
                column.mismatched,
                format_kinds(column) if column.mismatched else "",
            )
            for column in result.by_column
        ]
        columns.write_table(COLUMNS, facts, facts, head)
        for sheet, frame in zip(others, _name_both_in(result), strict=True):
            first = frame.head(ROWS_MEASURED).iter_rows()
            sheet.write_table(frame.columns, frame.iter_rows(), first, head)
        notes = tuple(note for sheet in (columns, *others) for note in sheet.notes())
        rows = [*_summary_rows(result, notes)]
        summary.fit(rows)
        for row in rows:
            summary.write(row)
    return notes


def _name_both_in(result: Reconciliation) -> Iterator[pl.DataFrame]:
    """The cells that differ, missing and extra rows, with the names of both sides."""
    both = {name: name_both(name, result.new_names) for name in result.new_names}
    cells = result.frames.mismatches
    if both:
        cells = cells.with_columns(cells["column"].replace(both))
    keys = {f"key.{name}": f"key.{text}" for name, text in both.items()}
    yield cells.unnest("key", separator=".").rename(keys, strict=False)
    for rows in (result.missing(), result.extra()):
        yield rows.rename(both, strict=False)


COLUMNS: Final = ("column", "compared", "equal", "equal by a rule", "differ", "kinds")


def _summary_rows(
    result: Reconciliation, notes: Sequence[str]
) -> Iterator[tuple[str, str]]:
    yield "verdict", result.headline()
    yield "rows", result.accounting()
    for text in result.reading():
        yield "read", text
    for text in result.warnings():
        yield "warning", text
    for text in describe_drift(SIDES, result.drift):
        yield "warning", text
    for name, side in (("old", result.old), ("new", result.new)):
        yield f"{name} file", side.uri
        yield f"{name} sha256", side.sha256 or ""
        for text in describe_side(name, side):
            yield "note", text
    for gate in result.gates:
        yield f"gate {'passed' if gate.passed else 'failed'}", gate.text
    for note in notes:
        yield "left out", note
