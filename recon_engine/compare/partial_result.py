"""The result of some buckets; partial results merge into the whole result.

Counts are additive. Of the details, everything is kept, or as much as a limit can ask
for: the first rows in content order, and the candidates of a sample. Merging gives the
same result for every grouping of buckets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import model
from recon_engine.analysis import segments, totals
from recon_engine.analysis.evidence import UnmatchedRows
from recon_engine.compare import key_splits, lookup, sampling
from recon_engine.compare.causes import summarize_unmatched
from recon_engine.compare.masks import sorted_positions
from recon_engine.compare.narrow_suppressions import count_fits
from recon_engine.compare.pairing import (
    Difference,
    columns_that_make_unique,
    find_repeated_keys,
    make_empty_repeats,
    merge_differences,
    sort_by_content,
)
from recon_engine.compare.preparation import REASON
from recon_engine.compare.set_aside import SetAside, merge_set_aside
from recon_engine.model import NEW, OLD, SIDES, UNMATCHED_ROWS, Coverage, RowCounts
from recon_engine.records import dataclass
from recon_engine.rules import chains
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.lookup import Sightings
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.model import Splits
    from recon_engine.suppressions import NarrowCounts


# Keys of unmatched rows are kept for hints up to this number; beyond it they cost too
# much memory, and no key hints are given.
MAX_KEYS: Final = 1 << 20
# Differing cells, and rows of all buckets, may exceed 32 bits.
ROW_COUNT: Final = pl.len().cast(pl.Int64)


@dataclass(frozen=True, slots=True)
class Repeats:
    """The number of keys that repeat on a side, and of their rows.

    `worst`: a struct `key` and its `rows`, most first; `telling`: the columns each of
    which would make them unique.
    """

    keys: int
    rows: int
    worst: pl.DataFrame
    telling: frozenset[str]


@dataclass(frozen=True, slots=True)
class PartialResult:
    """The findings of a set of buckets. Those of disjoint sets merge by addition.

    `identical` pairs were dropped by digest; `matched` were compared. `kinds`: cells
    (`len`) by `column` and `kind`; `signatures`: rows by the set of differing columns.
    `shown`: the difference, or what is kept of it. `coverage`: by the suppressions;
    `narrow`: what narrow ones fit; `repeats`: of OLD and NEW; `splits`: keys with
    several rows of OLD, or of NEW, for one of the other; `seen`: what break tracking
    needs.
    """

    identical: int
    matched: int
    mismatched: int
    missing: UnmatchedRows
    extra: UnmatchedRows
    kinds: pl.DataFrame
    signatures: pl.DataFrame
    shown: Difference
    coverage: tuple[Coverage, ...]
    narrow: NarrowCounts
    repeats: tuple[Repeats, Repeats]
    splits: tuple[Splits, Splits]
    seen: Sightings = lookup.NONE

    @property
    def differences(self) -> int:
        """The number of differing cells, missing rows and extra rows together."""
        return int(self.kinds["len"].sum()) + self.missing.rows + self.extra.rows

    def with_aside(self, old: RowCounts, new: RowCounts) -> PartialResult:
        """The same, with more rows of each side that are set aside."""
        if not (old.total or new.total):
            return self
        more = SetAside((old, new))
        aside = merge_set_aside([self.shown.aside, more])
        return replace(self, shown=self.shown.with_aside(aside))

    def limited(self, plan: ComparisonPlan, whole: int = 0) -> PartialResult:
        """The same, with details up to the detail limit.

        `whole` differences or fewer are all kept.
        """
        most = max(whole, plan.options.detail_limit)
        old, new = (replace(each, worst=each.worst.head(most)) for each in self.repeats)
        fits = self.differences <= whole
        # Breaks are tracked by all differences or not at all: what fits is kept whole.
        shown = self.shown if fits else _limit_details(self.shown, plan)
        # Unpairable rows are no differences: there may be many more of them.
        aside = shown.aside.with_rows(
            lambda side, rows: _select_unpairable(side, rows, plan)
        )
        shown = shown.with_aside(aside)
        seen = self.seen if fits else lookup.NONE
        return replace(self, shown=shown, repeats=(old, new), seen=seen)


def no_repeats(keys: Sequence[str], columns: Iterable[str]) -> Repeats:
    """What `find_repeats` returns of no rows."""
    return Repeats(0, 0, make_empty_repeats(keys), frozenset(columns))


def find_repeats(
    suspects: pl.DataFrame, names: ColumnIds, columns: Iterable[str]
) -> Repeats:
    """The keys that repeat among rows; `columns` are candidates to make them unique."""
    # No key of a side repeats after its rows are folded.
    if suspects.is_empty() or names.prepared.fold:
        return no_repeats(names.keys, columns)
    found = find_repeated_keys(suspects.select(names.keys), names.keys, names.rules)
    telling = columns_that_make_unique(suspects, names.keys, columns, names.rules)
    return Repeats(found.height, int(found["rows"].sum()), found, frozenset(telling))


def summarize_difference(
    difference: Difference,
    identical: int,
    repeats: Sequence[Repeats],
    plan: ComparisonPlan,
    seen: Sightings = lookup.NONE,
) -> PartialResult:
    """The partial result of the buckets of a difference."""
    old, new = repeats
    fits = count_fits(difference, plan)
    sides = zip((difference.missing, difference.extra), SIDES, strict=True)
    missing, extra = map_ordered(
        lambda side: summarize_unmatched(side[0], plan, side[1]), sides
    )
    kinds, signatures = _count_cells(difference.cells)
    return PartialResult(
        identical=identical,
        matched=difference.keys.height,
        mismatched=difference.cells["pair"].n_unique(),
        missing=missing,
        extra=extra,
        kinds=kinds,
        signatures=signatures,
        shown=difference,
        coverage=fits.coverage,
        narrow=fits.narrow,
        repeats=(old, new),
        splits=(
            _splits(difference, OLD, repeats, plan),
            _splits(difference, NEW, repeats, plan),
        ),
        seen=seen,
    )


def merge_partial_results(
    parts: Sequence[PartialResult], plan: ComparisonPlan
) -> PartialResult:
    """The findings of disjoint sets of buckets, at least one, as those of one set."""
    old, new = (merge_repeats([part.repeats[at] for part in parts]) for at in (0, 1))
    covered = Counter[tuple[int, ...]]()
    for part in parts:
        covered.update({each.by: each.rows for each in part.coverage})
    kinds = pl.concat([part.kinds for part in parts])
    signatures = pl.concat([part.signatures for part in parts])
    return PartialResult(
        identical=sum(part.identical for part in parts),
        matched=sum(part.matched for part in parts),
        mismatched=sum(part.mismatched for part in parts),
        missing=_merge_unmatched([part.missing for part in parts]),
        extra=_merge_unmatched([part.extra for part in parts]),
        kinds=kinds.group_by("column", "kind").agg(pl.col("len").sum()),
        signatures=signatures.group_by("columns").agg(pl.col("rows").sum()),
        shown=merge_differences((part.shown for part in parts), plan.names[0].keys),
        coverage=tuple(Coverage(by, rows) for by, rows in sorted(covered.items())),
        narrow=sum((part.narrow for part in parts), Counter()),
        repeats=(old, new),
        splits=(
            key_splits.added(part.splits[OLD] for part in parts),
            key_splits.added(part.splits[NEW] for part in parts),
        ),
        seen=lookup.together([part.seen for part in parts]),
    )


def _splits(
    found: Difference, side: int, repeats: Sequence[Repeats], plan: ComparisonPlan
) -> Splits:
    """The keys with several rows of a side for one of the other."""
    if not repeats[side].keys:
        return model.Splits()
    names = plan.names[OLD]
    return key_splits.counted(
        found,
        side,
        repeats[1 - side].worst,
        keys=names.keys,
        columns=names.columns,
        rules=names.chains,
    )


def merge_repeats(parts: Sequence[Repeats]) -> Repeats:
    """The repeats of disjoint sets of keys as one."""
    if len(parts) == 1:
        return parts[0]
    worst = pl.concat([part.worst for part in parts])
    return Repeats(
        sum(part.keys for part in parts),
        sum(part.rows for part in parts),
        worst.sort("rows", "key", descending=[True, False]),
        # A column makes all keys unique only if it does so in every part.
        frozenset.intersection(*(part.telling for part in parts)),
    )


def _merge_unmatched(parts: Sequence[UnmatchedRows]) -> UnmatchedRows:
    keys = [part.keys for part in parts if part.keys is not None]
    rows = sum(part.rows for part in parts)
    return UnmatchedRows(
        rows,
        totals.merge_column_sums(part.sums for part in parts),
        segments.merge_value_counts(part.values for part in parts),
        # None for good, once a part had too many: shares of a part of the keys mislead.
        pl.concat(keys) if rows <= MAX_KEYS and len(keys) == len(parts) else None,
        chains.added(part.codes for part in parts),
    )


def _count_cells(cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells (`len`) by `column` and `kind`, and rows (`rows`) by signature.

    A signature, `columns`, is a set of ordinals that differ together.
    """
    kinds = cells.lazy().group_by("column", "kind").agg(len=ROW_COUNT)
    # Most rows differ in one cell; only the others need an aggregation to a set. To
    # compare a cell with its neighbours takes a tenth of the time of `is_unique`.
    if not cells["pair"].is_sorted():
        cells = cells.select("pair", "column", "kind").sort("pair")
    pair = pl.col("pair")
    alone = pair.ne_missing(pair.shift()) & pair.ne_missing(pair.shift(-1))
    single = cells.lazy().filter(alone).group_by("column").agg(rows=ROW_COUNT)
    several = (
        cells.lazy()
        .filter(~alone)
        .group_by("pair")
        .agg(columns=pl.col("column").sort())
        .group_by("columns")
        .agg(rows=ROW_COUNT)
    )
    one = single.select(pl.concat_list("column").alias("columns"), "rows")
    signatures = pl.concat([one, several])
    by_kind, by_set = pl.collect_all([kinds, signatures], engine="in-memory")
    return by_kind, by_set


def _limit_details(difference: Difference, plan: ComparisonPlan) -> Difference:
    limit = plan.options.detail_limit
    # Not simply the first rows: these are all that the sample of the merged result may
    # need.
    pairs = sampling.candidate_rows(
        difference.cells, sampling.stable_hash(difference.keys), limit
    )
    numbers = pl.DataFrame({"pair": pairs}).with_row_index("number")
    cells = difference.cells.join(numbers, on="pair", maintain_order="left")
    missing, extra = (
        _select_first_rows(side, rows, plan)
        for side, rows in enumerate((difference.missing, difference.extra))
    )
    return replace(
        difference,
        aside=replace(difference.aside, failing=(None, None)),
        keys=difference.keys[pairs],
        cells=cells.with_columns(pair="number").drop("number"),
        missing=missing,
        extra=extra,
    )


def _select_first_rows(
    side: int, rows: pl.DataFrame, plan: ComparisonPlan
) -> pl.DataFrame:
    """The rows that are shown first; with masks, in the order of displayed values."""
    limit, masks = max(plan.options.detail_limit, UNMATCHED_ROWS), plan.masks
    if not masks.by_column:
        return sort_by_content(rows, plan.names[side].keys).head(limit)
    shown = masks.rows(plan.rows(side, rows))
    return rows[sorted_positions(shown).head(limit)]


def _select_unpairable(
    side: int, rows: pl.DataFrame, plan: ComparisonPlan
) -> pl.DataFrame:
    """The unpairable rows that are shown first, in the order of displayed values."""
    shown = plan.masks.rows(plan.rows(side, rows.drop(REASON)))
    shown = shown.with_columns(rows[REASON])
    return rows[sorted_positions(shown).head(plan.options.detail_limit)]
