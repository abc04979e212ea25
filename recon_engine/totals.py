"""Control totals: exact sums of the columns that are amounts. Pure.

A column is one of amounts if every cell that differs, in missing and extra rows too,
is a number or blank, and some is a number; and if so is every cell in the samples of
all rows, or of small files in all. A blank counts as absent. Numbers that are names of
things are no amounts: codes with zeros before their digits (`007`), and columns of
whole numbers that are all as wide as each other on one side, with eight digits or more,
as identifiers and dates are. No amount is longer than `LONGEST`. Key columns have no
totals.

Cells that are equal say nothing of by how much a column changed, so they are not added
up. Sums are of integers of 128 bits where they fit, and else of Decimals in a context
that refuses to round. They are sums of parts, so groups are added up in any order.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.model import EXACT, Total
from recon_engine.rules import INTEGER_DIGITS, NORMAL, Number, integers


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


WHOLE: Final = "(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)"
AMOUNT: Final = rf"^(?:[+-]?(?:{WHOLE}(?:\.[0-9]*)?|\.[0-9]+))?$"
WIDTH_OF_NAMES: Final = 8
FIRST: Final = 256
FEW: Final = 1_000
LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Form:
    """How some cells are written.

    `amounts`: whether each is one or blank; `widths`: the least and the most characters
    of the numbers, if there are any, `whole`: whether none has a fraction.
    """

    amounts: bool = True
    widths: tuple[int, int] | None = None
    whole: bool = True

    def __add__(self, other: Form) -> Form:
        """Of the cells of both."""
        if not (self.amounts and other.amounts):
            return NO_AMOUNTS
        widths = [each for each in (self.widths, other.widths) if each]
        return Form(
            widths=(min(w for w, _ in widths), max(w for _, w in widths))
            if widths
            else None,
            whole=self.whole and other.whole,
        )

    @property
    def are_names(self) -> bool:
        """Whether the numbers seem to be identifiers or dates."""
        if not self.whole or self.widths is None:
            return False
        least, most = self.widths
        return least == most >= WIDTH_OF_NAMES


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of some cells of a column; of no meaning if they are no amounts."""

    value: Decimal
    form: Form

    def __add__(self, other: Sum) -> Sum:
        """Of the cells of both."""
        return Sum(EXACT.add(self.value, other.value), self.form + other.form)


NO_AMOUNTS: Final = Form(amounts=False)
BLANK: Final = Form()
NOTHING: Final = Sum(Decimal(0), BLANK)
Sums = tuple[Sum, Sum]
NO_CELLS: Final[Sums] = (NOTHING, NOTHING)


def of_changes(changes: pl.DataFrame) -> Sums:
    """The sums of both sides of the `changes` that `patterns` has of a column."""
    written = forms(changes.select("old", "new"))
    old, new = (
        _summed(changes[side], changes["rows"], form) for side, form in written.items()
    )
    return old, new


def of_pairs(old: pl.Series, new: pl.Series) -> Sums:
    """The sums of the cells of both sides."""
    pairs = pl.DataFrame({"old": old, "new": new})
    return of_changes(pairs.with_columns(rows=pl.lit(1)))


def of_rows(rows: pl.DataFrame) -> dict[str, Sum]:
    """The sum of each column."""
    found = {}
    for name, form in forms(rows).items():
        if form.widths and rows.height <= FEW:
            texts = (text.strip() for text in rows[name].to_list())
            value = sum_of_decimals((text, 1) for text in texts if text)
            found[name] = Sum(value, form)
            continue
        cells = rows[name] if form.widths else rows[name].clear()
        counted = cells.alias("text").value_counts(name="rows")
        found[name] = _summed(counted["text"], counted["rows"], form)
    return found


def forms(cells: pl.DataFrame) -> dict[str, Form]:
    """How the cells of each column are written."""
    able = cells.select(pl.all().str.strip_chars())
    # The first rows tell of most columns that they are none of amounts.
    for rows in (FIRST, able.height):
        amounts = _each(able.head(rows), pl.all().str.contains(AMOUNT).all())
        able = able.select(name for name, yes in amounts.items() if yes)
    sizes = able.select(pl.all().str.len_bytes())
    given = sizes.select(pl.when(pl.all() > 0).then(pl.all()))
    least, most = _each(given, pl.all().min()), _each(given, pl.all().max())
    point = _each(able, pl.all().str.contains(".", literal=True).any())
    known = {
        name: form_of(least[name], most[name], whole=not point[name])
        for name in able.columns
    }
    return {name: known.get(name, NO_AMOUNTS) for name in cells.columns}


def both(sums: Sums, others: Sums) -> Sums:
    """The sums of two groups of pairs."""
    (old, new), (o, n) = sums, others
    return old + o, new + n


def added(parts: Iterable[Mapping[str, Sums]]) -> dict[str, Sums]:
    """The sums of several groups of pairs, column by column."""
    result: dict[str, Sums] = {}
    for part in parts:
        for column, sums in part.items():
            result[column] = both(result.get(column, NO_CELLS), sums)
    return result


def added_up(parts: Iterable[Mapping[str, Sum]]) -> dict[str, Sum]:
    """The sums of several groups of rows, column by column."""
    result: dict[str, Sum] = {}
    for part in parts:
        for column, each in part.items():
            result[column] = result.get(column, NOTHING) + each
    return result


def have_amounts(sums: Iterable[Sum]) -> bool:
    """Whether all these cells are amounts or blank, and some are amounts."""
    form = functools.reduce(operator.add, (each.form for each in sums))
    return form.amounts and form.widths is not None


def total(
    column: str, sums: tuple[Sum, Sum, Sum, Sum], samples: tuple[Form, Form]
) -> Iterator[Total]:
    """The totals of a column over everything that differs, if it is one of amounts.

    `sums`, which `have_amounts`: of its cells that differ in pairs, of OLD and NEW, and
    of those in missing and in extra rows; `samples`: of rows of all kinds.
    """
    old, new, missing, extra = sums
    sides = old.form + missing.form + samples[0], new.form + extra.form + samples[1]
    if all(side.amounts and not side.are_names for side in sides):
        yield Total(column, *(each.value for each in sums))


def _each(cells: pl.DataFrame, query: pl.Expr) -> dict[str, Any]:
    """The answers of all columns: one query costs little more than a column's own."""
    return cells.select(query).row(0, named=True) if cells.width else {}


def form_of(least: int | None, most: int | None, *, whole: bool) -> Form:
    """Of cells that are amounts or blank: the least and the most characters of them."""
    if least is None or most is None:
        return BLANK
    return NO_AMOUNTS if most > LONGEST else Form(widths=(least, most), whole=whole)


def _summed(texts: pl.Series, rows: pl.Series, form: Form) -> Sum:
    """The sum of texts that are so written, each of which is in so many rows."""
    if form.widths is None:
        return Sum(Decimal(0), form)
    texts = texts.str.strip_chars()
    given = texts != ""
    if not given.all():
        texts, rows = texts.filter(given), rows.filter(given)
    return Sum(_exact_sum(texts, rows, max(form.widths)), form)


def _exact_sum(texts: pl.Series, rows: pl.Series, longest: int) -> Decimal:
    """With as many places as are written."""
    if len(texts) <= FEW:
        return sum_of_decimals(zip(texts, rows, strict=True))
    point = texts.str.find(".", literal=True)
    shift = int((texts.str.len_bytes() - point).max() or 1) - 1  # type: ignore[arg-type]
    if longest + shift + len(str(rows.sum())) > INTEGER_DIGITS:
        return sum_of_decimals(zip(texts, rows, strict=True))
    number = Number().normal(pl.col("text")).str.strip_prefix(NORMAL)
    scaled = integers(number, shift) * pl.col("rows").cast(pl.Int128)
    cells = pl.DataFrame({"text": texts, "rows": rows})
    return EXACT.scaleb(Decimal(cells.select(scaled.sum()).item()), -shift)


def sum_of_decimals(cells: Iterable[tuple[str, int]]) -> Decimal:
    """The sum of texts of numbers, each of which is in so many rows."""
    every = (
        EXACT.multiply(Decimal(text.replace(",", "")), Decimal(count))
        for text, count in cells
    )
    return functools.reduce(EXACT.add, every, Decimal(0))
