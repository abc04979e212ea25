"""Control totals: exact sums of the columns that are amounts. Pure.

A column is one of amounts if in every row that differs, missing and extra ones
included, it is a number or blank, and somewhere a number. A blank counts as absent.
Numbers that are names of things are no amounts: codes with zeros before their digits
(`007`), and columns of whole numbers that are all as wide as each other on one side,
with eight digits or more, as identifiers and dates are. No amount is longer than
`LONGEST`. Key columns have no totals.

Sums are of integers of 128 bits where they fit, and else of Decimals in a context that
refuses to round. They are sums of parts, so groups of rows are added up in any order.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.model import EXACT, Total
from recon_engine.rules import (
    DIGIT,
    INTEGER_DIGITS,
    NORMAL,
    Number,
    integers,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


AMOUNT: Final = r"^[+-]?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)?(?:\.[0-9]*)?$"
WIDTH_OF_NAMES: Final = 8
FIRST: Final = 256
FEW: Final = 1_000
LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of some cells of a column.

    `amounts`: whether all can be added up; `widths`: the least and the most characters
    of its numbers, `whole`: whether none has a fraction.
    """

    value: Decimal = Decimal(0)
    amounts: bool = True
    widths: tuple[int, int] | None = None
    whole: bool = True

    def __add__(self, other: Sum) -> Sum:
        """Of the cells of both."""
        if not (self.amounts and other.amounts):
            return NO_AMOUNTS
        widths = [each for each in (self.widths, other.widths) if each]
        return Sum(
            EXACT.add(self.value, other.value),
            amounts=True,
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


NO_AMOUNTS: Final = Sum(amounts=False)
NOTHING: Final = Sum()
Sums = tuple[Sum, Sum]


def summed(cells: pl.Series) -> Sum:
    """The sum of cells."""
    if not _are_amounts(cells.head(FIRST).unique().str.strip_chars()):
        return NO_AMOUNTS
    texts, rows = _distinct(cells)
    texts = texts.str.strip_chars()
    given = texts != ""
    if not given.any():
        return NOTHING
    if not _are_amounts(texts):
        return NO_AMOUNTS
    if not given.all():
        texts, rows = texts.filter(given), rows.filter(given)
    sizes = texts.str.len_bytes()
    if int(sizes.max()) > LONGEST:  # type: ignore[arg-type]
        return NO_AMOUNTS
    return Sum(
        _exact_sum(texts, rows),
        amounts=True,
        widths=(sizes.min(), sizes.max()),  # type: ignore[arg-type]
        whole=not texts.str.contains(".", literal=True).any(),
    )


def of_pairs(old: pl.Series, new: pl.Series) -> Sums:
    """The sums of both sides of some pairs."""
    # Most cells of a pair that differs are the same: they are added up once.
    differs = old != new
    same = summed(old.filter(~differs))
    if not (same.amounts and differs.any()):
        return same, same
    return same + summed(old.filter(differs)), same + summed(new.filter(differs))


def added(parts: Iterable[Mapping[str, Sums]]) -> dict[str, Sums]:
    """The sums of several groups of pairs, column by column."""
    result: dict[str, Sums] = {}
    for part in parts:
        for column, (old, new) in part.items():
            o, n = result.get(column, (NOTHING, NOTHING))
            result[column] = o + old, n + new
    return result


def total(
    column: str, pairs: Sums, missing: pl.Series, extra: pl.Series
) -> Total | None:
    """The totals of a column over everything that differs, if it is one of amounts."""
    old, new = pairs
    if not (old.amounts and new.amounts):
        return None
    gone, come = summed(missing), summed(extra)
    sides = old + gone, new + come
    if not all(side.amounts and not side.are_names for side in sides):
        return None
    if all(side.widths is None for side in sides):
        return None
    return Total(column, old.value, new.value, gone.value, come.value)


def _are_amounts(texts: pl.Series) -> bool:
    """Whether all are amounts, or blank."""
    number = texts.str.contains(AMOUNT) & texts.str.contains(DIGIT)
    return bool((number | (texts == "")).all())


def _distinct(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Texts, and how many cells each is for; grouped where that is worth it."""
    if cells.head(FIRST).n_unique() > FIRST // 2:
        return cells, pl.repeat(1, len(cells), eager=True)
    counted = cells.alias("text").value_counts(name="rows")
    return counted["text"], counted["rows"]


def _exact_sum(texts: pl.Series, rows: pl.Series) -> Decimal:
    """The sum of amounts, each so many times, with as many places as are written."""
    if len(texts) <= FEW:
        return _sum_of_decimals(texts, rows)
    whole = texts.str.find(".", literal=True)
    shift = int((texts.str.len_bytes() - whole).max() or 1) - 1  # type: ignore[arg-type]
    cells = pl.DataFrame({"text": texts, "rows": rows})
    if int(texts.str.len_bytes().max()) + shift + len(str(rows.sum())) > INTEGER_DIGITS:  # type: ignore[arg-type]
        return _sum_of_decimals(texts, rows)
    number = Number().normal(pl.col("text")).str.strip_prefix(NORMAL)
    scaled = integers(number, shift) * pl.col("rows").cast(pl.Int128)
    return EXACT.scaleb(Decimal(cells.select(scaled.sum()).item()), -shift)


def _sum_of_decimals(texts: pl.Series, rows: pl.Series) -> Decimal:
    every = (
        EXACT.multiply(Decimal(text.replace(",", "")), Decimal(count))
        for text, count in zip(texts, rows, strict=True)
    )
    return functools.reduce(EXACT.add, every, Decimal(0))
