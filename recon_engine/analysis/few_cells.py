"""The findings about all columns of a small difference, by a fixed number of queries.

They are those of `patterns` and `totals` about one column. A query costs as much as a
thousand cells, so few cells in many columns share one. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis import patterns, totals


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.analysis.amounts import AmountForm, SumPair
    from recon_engine.model import Patterns


# Beyond it each column is grouped by itself, so that little is grouped at once.
MAX_CELLS: Final = 1 << 15
SIDES: Final = ("old", "new")


def group_changes(cells: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes, by column and in display order, each with its least key.

    `cells`: `pair`, `column`, `old`, `new` and `kind`; `keys`: the key of each pair.
    Returns `column`, the columns of `patterns.group_changes`, and the key columns.
    """
    return (
        cells.hstack(keys[cells["pair"]])
        .lazy()
        .sort(keys.columns)
        .group_by("column", *SIDES, maintain_order=True)
        .agg(pl.col("kind").first(), pl.col(keys.columns).first(), rows=pl.len())
        .sort("column", "rows", *SIDES, descending=[False, True, False, False])
        .select("column", *patterns.CHANGE_COLUMNS, *keys.columns)
        .collect(engine="in-memory")
    )


def summarize_columns(
    changes: pl.DataFrame, columns: Sequence[str], keys: Sequence[str]
) -> Iterator[tuple[int, pl.DataFrame, Patterns, SumPair]]:
    """Each column's ordinal, its changes, the most frequent of them, and their sums.

    `changes`: as `group_changes` returns them; `columns`: names by ordinal; `keys`: the
    names of the key columns.
    """
    facts = [f for side in SIDES for f in totals.form_facts(_stripped(side))]
    found = (
        changes.lazy()
        .group_by("column", maintain_order=True)
        .agg(pl.len().alias("distinct"), *facts)
        .collect(engine="in-memory")
    )
    start, per_side = 0, len(facts) // len(SIDES)
    for at, count, *of_sides in found.iter_rows():
        mine = changes[start : start + count]
        old, new = (
            totals.make_form(*each)
            for each in (of_sides[:per_side], of_sides[per_side:])
        )
        yield (
            at,
            mine,
            _build_patterns(columns[at], mine, keys),
            _sum_changes(mine, old, new),
        )
        start += count


def _stripped(side: str) -> pl.Expr:
    return pl.col(side).str.strip_chars()


def _build_patterns(
    column: str, changes: pl.DataFrame, keys: Sequence[str]
) -> Patterns:
    """The most frequent changes of a column."""
    size = 1 + len(patterns.CHANGE_COLUMNS)
    top = [*changes.head(patterns.CHANGES_SHOWN).iter_rows()]
    return patterns.make_patterns(
        column,
        changes.height,
        [row[1:size] for row in top],
        [row[size:] for row in top],
        keys,
    )


def _sum_changes(changes: pl.DataFrame, old: AmountForm, new: AmountForm) -> SumPair:
    """As `totals.sum_changes`, where the forms of both sides are known."""
    if changes.height > totals.FEW_TEXTS:
        return totals.sum_changes(changes)
    rows = changes["rows"].to_list()
    return (
        totals.sum_few(zip(changes["old"].to_list(), rows, strict=True), old),
        totals.sum_few(zip(changes["new"].to_list(), rows, strict=True), new),
    )
