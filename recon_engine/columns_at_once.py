"""What the columns that differ tell, of all columns in a few queries. Pure.

It is what `causes` asks of each column by itself, for differences so small that the
queries would cost more than the cells: thousands of columns, or a few rows.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine import hints, patterns, totals


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.model import Patterns
    from recon_engine.totals import Form, Sum, Sums

# Of more cells each column is asked by itself: what is grouped at once stays small.
MOST_CELLS: Final = 1 << 15
SIDES: Final = ("old", "new")


def changes(cells: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes, `patterns.changes` of each `column`, column by column."""
    return (
        cells.lazy()
        .group_by("column", "old", "new")
        .agg(pl.col("kind").first(), rows=pl.len())
        .sort("column", "rows", "old", "new", descending=[False, True, False, False])
        .collect(engine="in-memory")
    )


def glance(every: pl.DataFrame) -> dict[int, dict[str, Any]]:
    """Of each column how its changes are written, and whether hints are to be tried."""
    facts = [hints.may_settle().any().alias("hints"), pl.len().alias("distinct")]
    for side in SIDES:
        text = pl.col(side).str.strip_chars()
        size = text.str.len_bytes()
        given = pl.when(size > 0).then(size)
        facts += [
            text.str.contains(totals.AMOUNT).all().alias(f"{side}_amounts"),
            given.min().alias(f"{side}_least"),
            given.max().alias(f"{side}_most"),
            text.str.contains(".", literal=True).any().alias(f"{side}_point"),
        ]
    found = (
        every.lazy()
        .group_by("column", maintain_order=True)
        .agg(facts)
        .collect(engine="in-memory")
    )
    return {row["column"]: row for row in found.iter_rows(named=True)}


def sums(every: pl.DataFrame, seen: dict[int, dict[str, Any]]) -> dict[int, Sums]:
    """The sums of both sides of each column, as `totals.of_changes` has them."""
    texts = [every[side].to_list() for side in (*SIDES, "rows")]
    result, start = {}, 0
    for column, facts in seen.items():
        stop = start + facts["distinct"]
        if stop - start > totals.FEW:
            result[column] = totals.of_changes(every[start:stop])
        else:
            rows = texts[2][start:stop]
            old, new = (
                _sum(part[start:stop], rows, _form(facts, side))
                for side, part in zip(SIDES, texts, strict=False)
            )
            result[column] = old, new
        start = stop
    return result


def _form(facts: dict[str, Any], side: str) -> Form:
    if not facts[f"{side}_amounts"]:
        return totals.NO_AMOUNTS
    least, most = facts[f"{side}_least"], facts[f"{side}_most"]
    return totals.form_of(least, most, whole=not facts[f"{side}_point"])


def _sum(texts: Sequence[str], rows: Sequence[int], form: Form) -> Sum:
    if form.widths is None:
        return totals.Sum(Decimal(0), form)
    stripped = (text.strip() for text in texts)
    given = [(text, n) for text, n in zip(stripped, rows, strict=True) if text]
    return totals.Sum(totals.sum_of_decimals(given), form)


def in_short(
    every: pl.DataFrame,
    seen: dict[int, dict[str, Any]],
    columns: Sequence[str],
    cells: pl.DataFrame,
    keys: pl.DataFrame,
    names: Sequence[str],
) -> dict[int, Patterns]:
    """The commonest changes of each column, as `patterns.patterns` shows them."""
    top = every.group_by("column", maintain_order=True).head(patterns.SHOWN)
    examples = patterns.least_keys(top, cells, keys).iter_rows()
    rows = zip(top.iter_rows(), examples, strict=True)
    result = {}
    for column, mine in itertools.groupby(rows, key=lambda row: row[0][0]):
        shown = [(*change[1:], key) for change, key in mine]
        result[column] = patterns.shown(
            columns[column], seen[column]["distinct"], shown, names
        )
    return result
