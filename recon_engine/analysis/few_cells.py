"""The findings about all columns of a small difference, by a fixed number of queries.

They are those of `patterns` and `totals` about one column. A query costs as much as a
thousand cells, so few cells in many columns share one. Pure.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.analysis import patterns, totals
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.analysis.amounts import SumPair
    from recon_engine.model import Patterns

    # Of `group_changes`.
    Row = tuple[Any, ...]


# Beyond it each column is grouped by itself, so that little is grouped at once.
MAX_CELLS: Final = 1 << 15
OLD, NEW, KIND, ROWS = range(1, 1 + len(patterns.CHANGE_COLUMNS))


def group_changes(cells: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes, by column and in display order, each with its least key.

    `cells`: `pair`, `column`, `old`, `new` and `kind`; `keys`: the key of each pair.
    Returns `column`, the columns of `patterns.group_changes`, and the key columns.
    """
    return (
        cells.hstack(keys[cells["pair"]])
        .lazy()
        # Sorted by key, so that the first key of a group is its least.
        .sort(keys.columns)
        .group_by("column", *SIDES, maintain_order=True)
        .agg(pl.col("kind").first(), pl.col(keys.columns).first(), rows=pl.len())
        .sort("column", "rows", *SIDES, descending=[False, True, False, False])
        .select("column", *patterns.CHANGE_COLUMNS, *keys.columns)
        .collect(engine="in-memory")
    )


def summarize_columns(
    changes: pl.DataFrame, columns: Sequence[str], keys: Sequence[str]
) -> Iterator[tuple[int, slice, Sequence[Row], Patterns, SumPair]]:
    """Each column's ordinal, its changes by place and as rows, the most frequent, sums.

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
    rows = _RowReader(changes)
    for at, count, *of_sides in found.iter_rows():
        # `changes` is sorted by column, and `found` has the groups in that order.
        place = slice(start, start + count)
        start += count
        old = totals.make_form(*of_sides[:per_side])
        new = totals.make_form(*of_sides[per_side:])
        mine = rows.read(place.start, count)
        if count > totals.FEW_TEXTS:
            sums = totals.sum_changes(changes[place])
        else:
            sums = (
                totals.sum_few(((row[OLD], row[ROWS]) for row in mine), old),
                totals.sum_few(((row[NEW], row[ROWS]) for row in mine), new),
            )
        top = mine[: patterns.CHANGES_SHOWN]
        yield at, place, mine, _build_patterns(columns[at], count, top, keys), sums


def changes_of(rows: Sequence[Row]) -> Iterator[Row]:
    """Of rows of `group_changes`, the columns of `patterns.group_changes`."""
    return map(itemgetter(OLD, NEW, KIND, ROWS), rows)


class _RowReader:
    """Rows of a frame as tuples: of few rows all at once, of many some at a time."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self._rows = frame.rows() if frame.height <= totals.FEW_TEXTS else None

    def read(self, start: int, count: int) -> Sequence[Row]:
        """So many rows from the one at `start` on."""
        if self._rows is not None:
            return self._rows[start : start + count]
        return self._frame.slice(start, count).rows()


def _stripped(side: str) -> pl.Expr:
    return pl.col(side).str.strip_chars()


def _build_patterns(
    column: str, distinct: int, top: Sequence[Row], keys: Sequence[str]
) -> Patterns:
    """The most frequent changes of a column."""
    size = 1 + len(patterns.CHANGE_COLUMNS)
    shown, examples = [row[1:size] for row in top], [row[size:] for row in top]
    return patterns.make_patterns(column, distinct, shown, examples, keys)
