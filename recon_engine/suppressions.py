"""Suppressions: known and accepted differences, counted separately. Pure.

A difference counts for the first suppression that fits it. A suppression that expired,
or fits more than its maximum, covers nothing: the gates count all its differences.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.model import (
    NO_SUPPRESSION,
    Coverage,
    Left,
    Suppressed,
    Suppressible,
    SuppressionState,
)


if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from recon_engine.model import Column, Counts, Suppression


def count_coverage(
    cells: pl.DataFrame, names: Sequence[str], suppressions: Sequence[Suppression]
) -> tuple[Coverage, ...]:
    """Count the rows by the set of suppressions that fit their cells; () without any.

    `cells` has `pair`, `column` (an index into `names`) and `kind`.
    """
    if not suppressions:
        return ()
    # A suppression depends on column and kind only: few combinations, however many
    # cells.
    kinds = cells.select("column", "kind").unique()
    fits = kinds.with_columns(
        by=pl.Series(
            [
                _first_cell_suppression(suppressions, names[at], kind)
                for at, kind in kinds.iter_rows()
            ],
            dtype=pl.Int32,
        )
    )
    found = (
        cells.lazy()
        .select("pair", "column", "kind")
        .join(fits.lazy(), on=["column", "kind"])
        .select("pair", "by")
        .unique()
        .group_by("pair")
        .agg(pl.col("by").sort())
        .group_by("by")
        .agg(rows=pl.len())
        .sort("by")
        .collect(engine="in-memory")
    )
    return tuple(Coverage(tuple(by), rows) for by, rows in found.iter_rows())


def apply_suppressions(
    suppressions: Sequence[Suppression],
    counts: Counts,
    columns: Sequence[Column],
    today: date,
) -> tuple[Suppressed, ...]:
    """How many differences each suppression fits, and its state on the day `today`."""
    rows = {Suppressible.MISSING: counts.missing, Suppressible.EXTRA: counts.extra}
    found = Counter(
        {
            _first_row_suppression(suppressions, what): count
            for what, count in rows.items()
        }
    )
    for column in columns:
        for kind, count in column.kinds.items():
            found[_first_cell_suppression(suppressions, column.name, kind)] += count
    return tuple(
        Suppressed(each, found[at], _suppression_state(each, found[at], today))
        for at, each in enumerate(suppressions)
    )


def count_unsuppressed(
    counts: Counts,
    columns: Sequence[Column],
    suppressed: Sequence[Suppressed],
    covered: Sequence[Coverage],
) -> Left:
    """The differences that no active suppression covers."""
    active = {
        at
        for at, each in enumerate(suppressed)
        if each.state is SuppressionState.ACTIVE
    }
    suppressions = [each.suppression for each in suppressed]
    return Left(
        missing=_unsuppressed_rows(
            counts.missing, Suppressible.MISSING, suppressions, active
        ),
        extra=_unsuppressed_rows(
            counts.extra, Suppressible.EXTRA, suppressions, active
        ),
        mismatched_rows=counts.mismatched_rows
        # A row is covered only if suppressions that are active cover all its differing
        # cells. NO_SUPPRESSION is never active.
        - sum(each.rows for each in covered if active.issuperset(each.by)),
        mismatches={
            column.name: sum(
                count
                for kind, count in column.kinds.items()
                if _first_cell_suppression(suppressions, column.name, kind)
                not in active
            )
            for column in columns
        },
    )


def list_accepted_kinds(
    columns: Sequence[Column], suppressed: Sequence[Suppressed]
) -> frozenset[tuple[str, str]]:
    """The columns and kinds of difference whose cells an active suppression covers."""
    suppressions = [each.suppression for each in suppressed]
    first = {
        (column.name, str(kind)): _first_cell_suppression(
            suppressions, column.name, kind
        )
        for column in columns
        for kind in column.kinds
    }
    return frozenset(
        which
        for which, at in first.items()
        if at != NO_SUPPRESSION and suppressed[at].state is SuppressionState.ACTIVE
    )


def _unsuppressed_rows(
    count: int,
    what: Suppressible,
    suppressions: Sequence[Suppression],
    active: set[int],
) -> int:
    return 0 if _first_row_suppression(suppressions, what) in active else count


def _first_row_suppression(
    suppressions: Sequence[Suppression], what: Suppressible
) -> int:
    fitting = (at for at, each in enumerate(suppressions) if each.what is what)
    return next(fitting, NO_SUPPRESSION)


def _first_cell_suppression(
    suppressions: Sequence[Suppression], column: str, kind: str
) -> int:
    """The index of the first suppression that fits a kind of difference in a column."""
    fitting = (
        at
        for at, each in enumerate(suppressions)
        if each.column == column and each.kind in {None, kind}
    )
    return next(fitting, NO_SUPPRESSION)


def _suppression_state(
    suppression: Suppression, count: int, today: date
) -> SuppressionState:
    # First: a suppression without differences has nothing to fail, even after its last
    # day.
    if not count:
        return SuppressionState.UNUSED
    if today > suppression.until:
        return SuppressionState.EXPIRED
    if suppression.max is not None and count > suppression.max:
        return SuppressionState.EXCEEDED
    return SuppressionState.ACTIVE
