"""Suppressions: known and accepted differences, counted separately. Pure.

A difference counts for the first suppression that fits it. A suppression that expired,
or fits more than its maximum, covers nothing: the gates count all its differences.

A general suppression fits all rows of one side, or all cells of a column and kind, so
counts say what it fits. What a narrow one fits depends on keys and values of rows: it
is counted while rows are compared.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.model import (
    NO_SUPPRESSION,
    Coverage,
    Left,
    Sha256,
    Suppressed,
    Suppressible,
    SuppressionState,
)
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from recon_engine.model import Cell, Column, Counts, Suppression


# The differences that a narrow suppression is the first to fit, by its index and the
# kind of difference. Those of disjoint sets of rows add up.
NarrowCounts = Counter[tuple[int, str]]


def count_coverage(
    cells: pl.DataFrame,
    names: Sequence[str],
    suppressions: Sequence[Suppression],
    narrow: pl.DataFrame | None,
) -> tuple[tuple[Coverage, ...], NarrowCounts]:
    """Count the rows by the set of suppressions that fit their cells; () without any.

    `cells` has `pair`, `column` (an index into `names`) and `kind`. `narrow`: `pair`,
    `column` and `narrow`, the index of the first narrow suppression that fits the cell;
    None if none fits any. Also counts the cells that narrow suppressions are the first
    to fit.
    """
    if not suppressions:
        return (), Counter()
    # A general suppression depends on column and kind only: few combinations, however
    # many cells.
    kinds = cells.select("column", "kind").unique()
    of_kinds = _list_general(suppressions)
    fits = kinds.with_columns(
        by=pl.Series(
            [_find_first(of_kinds, names[at], kind) for at, kind in kinds.iter_rows()],
            dtype=pl.Int32,
        )
    )
    fitted = (
        cells.lazy()
        .select("pair", "column", "kind")
        .join(fits.lazy(), on=["column", "kind"])
    )
    counts = NarrowCounts()
    if narrow is not None:
        general, ours = pl.col("by"), pl.col("narrow")
        # Not the smaller index alone: NO_SUPPRESSION is below all of them.
        comes_first = (general == NO_SUPPRESSION) | (ours < general)
        fitted = (
            fitted.join(narrow.lazy(), on=["pair", "column"], how="left")
            .with_columns(pl.when(comes_first).then(ours))
            .with_columns(by=pl.coalesce(ours, general))
            # Two queries read it, so it is computed once.
            .collect(engine="in-memory")
            .lazy()
        )
        counted = fitted.filter(ours.is_not_null()).group_by("narrow", "kind").len()
        for at, kind, count in counted.collect(engine="in-memory").iter_rows():
            counts[at, kind] = count
    found = (
        fitted.select("pair", "by")
        .unique()
        .group_by("pair")
        .agg(pl.col("by").sort())
        .group_by("by")
        .agg(rows=pl.len())
        .sort("by")
        .collect(engine="in-memory")
    )
    return tuple(Coverage(tuple(by), rows) for by, rows in found.iter_rows()), counts


def count_narrow_rows(
    what: Suppressible, narrow: pl.Series, suppressions: Sequence[Suppression]
) -> NarrowCounts:
    """Count the rows of one side that narrow suppressions are the first to fit.

    `narrow`: for each row that one fits, the index of the first.
    """
    general = _find_first(_list_general(suppressions), None, what)
    counts = Counter(narrow.to_list())
    return Counter(
        {
            (at, what.value): rows
            for at, rows in counts.items()
            if general == NO_SUPPRESSION or at < general
        }
    )


def apply_suppressions(
    suppressions: Sequence[Suppression],
    counts: Counts,
    columns: Sequence[Column],
    narrow: NarrowCounts,
    today: date,
) -> tuple[Suppressed, ...]:
    """How many differences each suppression fits, and its state on the day `today`."""
    kinds: list[dict[str, int]] = [{} for _ in suppressions]
    for (at, kind), count in sorted(narrow.items()):
        kinds[at][kind] = count
    found = Counter({at: sum(each.values()) for at, each in enumerate(kinds)})
    rest = _subtract_narrow(counts, columns, suppressions, kinds)
    general = _list_general(suppressions)
    for (column, kind), count in rest.items():
        found[_find_first(general, column, kind)] += count
    return tuple(
        Suppressed(
            each.without_values(),
            found[at],
            _suppression_state(each, found[at], today),
            kinds[at],
        )
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
    left = count_left_by_kind(counts, columns, suppressed)
    cells = {column.name: 0 for column in columns}
    for (column, _), count in left.items():
        if column is not None:
            cells[column] += count
    return Left(
        missing=left[None, Suppressible.MISSING],
        extra=left[None, Suppressible.EXTRA],
        mismatched_rows=counts.mismatched_rows
        # A row is covered only if suppressions that are active cover all its differing
        # cells. NO_SUPPRESSION is never active.
        - sum(each.rows for each in covered if active.issuperset(each.by)),
        mismatches=cells,
    )


def count_left_by_kind(
    counts: Counts, columns: Sequence[Column], suppressed: Sequence[Suppressed]
) -> dict[tuple[str | None, str], int]:
    """The differences that no active suppression covers, by column and kind.

    Those of rows have no column.
    """
    suppressions = [each.suppression for each in suppressed]
    left = _subtract_narrow(
        counts, columns, suppressions, [each.kinds for each in suppressed]
    )
    general = _list_general(suppressions)
    for column, kind in left:
        at = _find_first(general, column, kind)
        if at != NO_SUPPRESSION and suppressed[at].state is SuppressionState.ACTIVE:
            left[column, kind] = 0
    # What narrow ones fit is left if they are not active.
    for each in suppressed:
        if each.state is not SuppressionState.ACTIVE:
            for kind, count in each.kinds.items():
                left[each.suppression.column, kind] += count
    return left


def count_unfitted_by_kind(
    counts: Counts, columns: Sequence[Column], suppressed: Sequence[Suppressed]
) -> dict[tuple[str | None, str], int]:
    """The differences that no suppression fits, in whatever state, by column and kind.

    One more suppression, behind the others, accepts no other ones.
    """
    suppressions = [each.suppression for each in suppressed]
    rest = _subtract_narrow(
        counts, columns, suppressions, [each.kinds for each in suppressed]
    )
    general = _list_general(suppressions)
    return {
        (column, kind): count
        for (column, kind), count in rest.items()
        if _find_first(general, column, kind) == NO_SUPPRESSION
    }


@dataclass(frozen=True, slots=True)
class Acceptances:
    """Which single differences of a result an active suppression accepts.

    `found`, `left`: all differences, and those that none accepts, by column and kind;
    those of all kinds of a column have the kind "". `exact_keys`: whether keys are
    compared as they are written. Under a rule, a digest does not say what fits a key.
    `keys`: the digests of those of each suppression; None if it is of every key.
    """

    suppressed: Sequence[Suppressed]
    keys: Sequence[frozenset[str] | None]
    found: Mapping[tuple[str | None, str], int]
    left: Mapping[tuple[str | None, str], int]
    exact_keys: bool

    def accepts_all(self, column: str | None, kind: str = "") -> bool | None:
        """Whether all differences of a column and kind are accepted; None if some."""
        # The kind of a cell that was read from the tables may be unknown.
        group = (column, kind) if (column, kind) in self.found else (column, "")
        found, left = self.found[group], self.left[group]
        return None if 0 < left < found else left < found

    def accepts_cell(self, column: str, key: str, cell: Cell) -> bool | None:
        """Whether a cell is accepted; None if that is not known.

        `key`: the text of the key of its row.
        """
        known = self.accepts_all(column, cell.kind)
        if known is not None or (column, cell.kind) not in self.found:
            return known
        return self._accepts(column, cell.kind, key, (cell.old, cell.new))

    def accepts_row(self, what: Suppressible, key: str) -> bool | None:
        """Whether a missing or extra row is accepted; None if that is not known."""
        known = self.accepts_all(None, what)
        return self._accepts(None, what, key) if known is None else known

    def _accepts(
        self,
        column: str | None,
        kind: str,
        key: str,
        values: tuple[str | None, str | None] = (None, None),
    ) -> bool | None:
        """Whether the first suppression that fits a difference is active."""
        for each, keys in zip(self.suppressed, self.keys, strict=True):
            it = each.suppression
            named = zip((it.old, it.new), values, strict=True)
            if not fits_kind(it, column, kind) or any(
                digest is not None and digest != Sha256.of(text or "")
                for digest, text in named
            ):
                continue
            if keys is not None and Sha256.of(key) not in keys:
                if self.exact_keys:
                    continue
                return None
            return each.state is SuppressionState.ACTIVE
        return False


def judge_differences(
    counts: Counts,
    columns: Sequence[Column],
    suppressed: Sequence[Suppressed],
    *,
    exact_keys: bool,
) -> Acceptances:
    """What the suppressions of a result accept; `exact_keys`: no key has a rule."""
    found = dict(_list_counts(counts, columns))
    left = count_left_by_kind(counts, columns, suppressed)
    keys = [
        None if given is None else frozenset((*map(str, given), *each.spelled))
        for each in suppressed
        for given in [each.suppression.keys]
    ]
    return Acceptances(
        suppressed, keys, _with_sums(found), _with_sums(left), exact_keys
    )


def _with_sums(
    counts: Mapping[tuple[str | None, str], int],
) -> dict[tuple[str | None, str], int]:
    """Counts by column and kind, and the sums of each column, with the kind ""."""
    sums = Counter[tuple[str | None, str]]()
    for (column, _), count in counts.items():
        sums[column, ""] += count
    return {**counts, **sums}


def _list_general(
    suppressions: Iterable[Suppression],
) -> list[tuple[int, Suppression]]:
    """The general suppressions, each with its index."""
    return [(at, each) for at, each in enumerate(suppressions) if not each.is_narrow]


def _find_first(
    general: Sequence[tuple[int, Suppression]], column: str | None, kind: str
) -> int:
    """The index of the first that fits a kind of difference; no column: of rows."""
    fitting = (at for at, each in general if fits_kind(each, column, kind))
    return next(fitting, NO_SUPPRESSION)


def fits_kind(suppression: Suppression, column: str | None, kind: str) -> bool:
    """Whether a suppression is for this kind of difference, whatever key or value."""
    if column is None:
        return suppression.what == kind
    kinds = suppression.kinds
    return suppression.column == column and (kinds is None or kind in kinds)


def _subtract_narrow(
    counts: Counts,
    columns: Sequence[Column],
    suppressions: Sequence[Suppression],
    kinds: Sequence[Mapping[str, int]],
) -> dict[tuple[str | None, str], int]:
    """The differences that no narrow suppression is the first to fit.

    By column and kind. `kinds`: what each suppression fits if it is narrow.
    """
    found = dict(_list_counts(counts, columns))
    for suppression, fitted in zip(suppressions, kinds, strict=True):
        for kind, count in fitted.items():
            found[suppression.column, kind] -= count
    return found


def _list_counts(
    counts: Counts, columns: Sequence[Column]
) -> Iterator[tuple[tuple[str | None, str], int]]:
    """All differences, by column and kind."""
    yield (None, Suppressible.MISSING), counts.missing
    yield (None, Suppressible.EXTRA), counts.extra
    for column in columns:
        for kind, count in column.kinds.items():
            yield (column.name, kind), count


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
