"""Write a result as an Excel workbook: values of cells are text, counts are numbers.

No value is a formula, and none loses a zero. A sheet has a limited number of rows,
columns and characters: what is cut is counted on the first sheet.
"""

from __future__ import annotations

import tempfile
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.characters import readable
from recon_engine.formatting import (
    describe_drift,
    describe_side,
    format_constant,
    format_count,
    format_kinds,
    list_changed_sums,
    name_both,
)
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES, Suppressible
from recon_engine.result_frames import flatten_key, put_key_first


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from recon_engine.result import Reconciliation

    Row = tuple[object, ...]

# The limits of the format: rows of a sheet with its header, columns of a sheet, and
# characters of a cell. A character beyond the first 65,536 of Unicode counts as two.
MOST_ROWS: Final = 1_048_576
MOST_COLUMNS: Final = 16_384
MOST_CHARACTERS: Final = 32_767
CUT: Final = "… (cut)"
# Of characters: the widest column, and what the mark of a filter takes.
WIDEST: Final = 60
MARGIN: Final = 3
# Excel keeps 15 digits of a number.
MOST_EXACT: Final = 10**15
# So many rows say how wide a column is: the sheet is written row by row.
ROWS_MEASURED: Final = 200
# Control characters have no place in XML; a tab and a line feed do.
CONTROL: Final = lazy_pattern(r"[\x00-\x08\x0b-\x1f\x7f]")


class _Sheet:
    """A sheet that is written row by row; `cut_rows` and others: what did not fit."""

    def __init__(self, book: Any, name: str, text: Any, number: Any) -> None:
        self._sheet = book.add_worksheet(name)
        self._text, self._number = text, number
        self.name = name
        self.rows = self.cut_rows = self.cut_columns = self.cut_cells = 0

    def write(self, values: Iterable[object], style: Any = None) -> None:
        """Write the next row: a count or a sum as a number, every value as text."""
        if self.rows >= MOST_ROWS:
            self.cut_rows += 1
            return
        for column, value in enumerate(values):
            if column >= MOST_COLUMNS:
                self.cut_columns = max(self.cut_columns, column + 1 - MOST_COLUMNS)
                continue
            if isinstance(value, int | Decimal) and _fits_number(value):
                self._sheet.write_number(self.rows, column, value, self._number)
                continue
            text = "" if value is None else str(value)
            if CONTROL.search(text):
                text = readable(text)
            shown = _cut_text(text)
            self.cut_cells += shown != text
            self._sheet.write_string(self.rows, column, shown, style or self._text)
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
            last = min(len(names), MOST_COLUMNS) - 1
            self._sheet.autofilter(0, 0, self.rows - 1, last)

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
        if self.cut_columns:
            columns = format_count(self.cut_columns, "column", "are left out")
            yield (
                f"sheet {self.name}: {columns}, for a sheet has {MOST_COLUMNS:,}"
                " columns"
            )
        if self.cut_cells:
            cells = format_count(self.cut_cells, "value", "are cut")
            yield (
                f"sheet {self.name}: {cells}, for a cell has {MOST_CHARACTERS:,}"
                " characters"
            )


def _cut_text(text: str) -> str:
    """A text that fits a cell; one that is longer is cut, with a mark."""
    # No character counts more than twice.
    if len(text) <= MOST_CHARACTERS // 2:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MOST_CHARACTERS:
        return text
    kept = units[: 2 * (MOST_CHARACTERS - len(CUT))]
    # A character of which one half is cut is left out.
    return kept.decode("utf-16-le", "ignore") + CUT


def _fits_number(value: int | Decimal) -> bool:
    """Whether a number is exact in Excel, which has binary ones of 15 digits."""
    return -MOST_EXACT < value < MOST_EXACT and Decimal(str(float(value))) == value


def write_workbook(
    result: Reconciliation, path: Path, made_by: Iterable[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """Write the sheets summary, columns, mismatches, missing and extra.

    `made_by`: what the summary says besides the result, such as the command.

    Returns a sentence for each thing that did not fit; the sheet `summary` has it too.
    Raises OSError.
    """
    import xlsxwriter

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
        "use_zip64": True,
    }
    try:
        # The library leaves its files, which hold values of cells, where it fails.
        with (
            tempfile.TemporaryDirectory(prefix="recon-") as folder,
            # Opened here, so that a failure is an OSError and not one of the library.
            path.open("wb") as target,
            xlsxwriter.Workbook(target, {**options, "tmpdir": folder}) as book,
        ):
            return _write_sheets(book, result, made_by)
    except xlsxwriter.exceptions.FileCreateError as error:
        [cause] = error.args
        raise cause from None


def _write_sheets(
    book: Any, result: Reconciliation, made_by: Iterable[tuple[str, str]]
) -> tuple[str, ...]:
    text = book.add_format({"num_format": "@"})
    head = book.add_format({"num_format": "@", "bold": True})
    names = ("summary", "columns", "mismatches", "missing", "extra")
    number = book.add_format({"num_format": "General"})
    summary, columns, *others = (_Sheet(book, name, text, number) for name in names)
    left, accepts = result.left.mismatches, bool(result.accepted_cells)
    facts = [
        (
            name_both(column.name, result.new_names),
            column.compared,
            column.equal_exact,
            column.tolerated,
            column.mismatched,
            format_kinds(column) if column.mismatched else "",
            *[column.mismatched - left[column.name]] * accepts,
        )
        for column in result.by_column
    ]
    columns.write_table((*COLUMNS, *["accepted"] * accepts), facts, facts, head)
    for sheet, (heads, frame, marks) in zip(others, _list_tables(result), strict=True):
        rows: Iterable[Row] = frame.iter_rows()
        if marks is not None:
            heads.append("accepted")
            rows = ((*row, mark) for row, mark in zip(rows, marks, strict=True))
        first = frame.head(ROWS_MEASURED).iter_rows()
        sheet.write_table(heads, rows, first, head)
    notes = tuple(note for sheet in (columns, *others) for note in sheet.notes())
    listed = [*_summary_rows(result, notes, made_by)]
    summary.fit(listed)
    for line in listed:
        summary.write(line)
    return notes


def _list_tables(
    result: Reconciliation,
) -> Iterator[tuple[list[str], pl.DataFrame, Iterable[str] | None]]:
    """The cells that differ, missing and extra rows: their heads, and the rows.

    Heads are the names of both sides, of which two may be equal. The last: whether a
    suppression accepts each row, as `Reconciliation.mark_cells` says it; None if none
    accepts any.
    """
    both = {name: name_both(name, result.new_names) for name in result.new_names}
    cells = flatten_key(result.frames.mismatches, result.keys)
    if both:
        cells = cells.with_columns(cells["column"].replace(both))
    words = cells["kind"].cast(pl.String).str.replace_all("_", " ", literal=True)
    cells = cells.with_columns(words)
    # A key column may be called as one of the others, `column`.
    keys, others = cells.columns[: len(result.keys)], cells.columns[len(result.keys) :]
    heads = [*(both.get(name, name) for name in keys), *others]
    yield heads, cells, result.mark_cells() if result.suppressed else None
    for what, rows in (
        (Suppressible.MISSING, result.missing()),
        (Suppressible.EXTRA, result.extra()),
    ):
        ordered = put_key_first(rows, result.keys)
        marks = result.mark_rows(what, rows)
        heads = [both.get(name, name) for name in ordered.columns]
        yield heads, ordered, marks if any(marks) else None


COLUMNS: Final = ("column", "compared", "equal", "equal by a rule", "differ", "kinds")


def _summary_rows(
    result: Reconciliation,
    notes: Sequence[str],
    made_by: Iterable[tuple[str, str]],
) -> Iterator[Row]:
    yield "verdict", result.headline()
    yield from made_by
    yield "rows", result.accounting()
    if result.accepted_cells:
        yield "open", result.describe_open()
    keys = (name_both(name, result.new_names) for name in result.keys)
    yield "key", ", ".join(keys)
    yield from _count_rows(result)
    yield from (("read", text) for text in result.reading())
    yield from (("warning", text) for text in result.warnings())
    yield from (("warning", text) for text in describe_drift(SIDES, result.drift))
    for name, side in (("old", result.old), ("new", result.new)):
        yield f"{name} file", side.uri
        yield f"{name} sha256", side.sha256 or ""
        for text in describe_side(name, side):
            yield "note", text
    for gate in result.gates:
        yield f"gate {'passed' if gate.passed else 'failed'}", gate.text
    yield from (
        ("suppression", result.describe_suppressed(each)) for each in result.suppressed
    )
    yield from (("rule", each.text) for each in result.rules_to_show)
    accepted = result.accepted_columns
    for each in result.constants_to_show:
        name = name_both(each.column, result.new_names)
        text = format_constant(each, each.by, accepted=each.column in accepted)
        yield f"change of {name}", text
    yield from _sum_rows(result)
    for note in notes:
        yield "left out", note


def _sum_rows(result: Reconciliation) -> Iterator[Row]:
    """The sums that the terminal prints, each part that is not zero in a row."""
    columns = {each.name: each for each in result.by_column}
    # Read once: it is found from all columns.
    summed = result.summed
    for total in result.totals_to_show:
        shown = total.column in summed
        for each in list_changed_sums(total, columns[total.column]) if shown else ():
            yield f"sum of {total.column}", f"{each.cells}, old", each.old
            yield f"sum of {total.column}", f"{each.cells}, new", each.new
            if each.delta:
                yield (
                    f"sum of {total.column}",
                    f"{each.cells}, new minus old",
                    each.delta,
                )
        for what, value in (("missing", total.missing), ("extra", total.extra)):
            if value:
                yield f"sum of {total.column}", f"{what} rows", value


def _count_rows(result: Reconciliation) -> Iterator[Row]:
    """The counts of the verdict, as numbers."""
    n, left = result.counts, result.left
    for what, count, of_them in (
        ("rows of old", result.old.rows, 0),
        ("rows of new", result.new.rows, 0),
        ("matched rows", n.matched, 0),
        ("rows that differ", n.mismatched_rows, result.accepted_rows),
        ("cells that differ", n.mismatched_cells, result.accepted_cells),
        ("missing rows", n.missing, n.missing - left.missing),
        ("extra rows", n.extra, n.extra - left.extra),
    ):
        yield what, count
        if of_them:
            yield f"{what}, accepted", of_them
