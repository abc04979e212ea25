"""Find the causes of differences, under the user's column names.

All findings are additive: compute them for each group of rows and merge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.analysis import few_cells, hints, patterns, segments, totals
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from recon_engine.analysis.segments import Of, ValueCounts
    from recon_engine.analysis.totals import ColumnSum, SumPair
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.model import Hint, Patterns, Segment, Splits, Total

    Learned = tuple[tuple[Hint, ...], SumPair]


OLD, NEW = 0, 1
SIDE_OF: Final[Mapping[Of, int]] = {"mismatched": OLD, "missing": OLD, "extra": NEW}


@dataclass(frozen=True, slots=True)
class Causes:
    """Patterns, totals, segments and hints of one reconciliation."""

    patterns: tuple[Patterns, ...]
    totals: tuple[Total, ...]
    segments: tuple[Segment, ...]
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class ColumnFindings:
    """The findings about the differing cells of a column."""

    patterns: Patterns
    hints: tuple[Hint, ...]
    sums: SumPair


@dataclass(frozen=True, slots=True)
class UnmatchedRows:
    """The rows on one side only: their number, and facts about their values.

    `keys`: their key columns; None if they are too many to keep.
    """

    rows: int
    sums: dict[str, ColumnSum]
    values: ValueCounts
    keys: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class CauseInputs:
    """What causes are derived from.

    `told`: the findings of each differing column; `tolerated`: the sums of cells that
    rules make equal; `values`: of mismatched rows; `lone`: the missing and the extra
    rows; `samples`: of all rows of OLD and NEW; `repeated`: the keys that repeat, on
    both sides together; `telling`: the column that would make them unique; `kept`: the
    `matched` rows in which this column is equal on both sides; `splits`: of OLD and
    NEW.
    """

    plan: ComparisonPlan
    told: Mapping[str, ColumnFindings]
    tolerated: Mapping[str, SumPair]
    values: ValueCounts
    lone: tuple[UnmatchedRows, UnmatchedRows]
    samples: Sequence[pl.DataFrame]
    repeated: int
    telling: str | None
    kept: int
    matched: int
    splits: tuple[Splits, Splits]

    def causes(self) -> Causes:
        """All causes."""
        layout = self.plan.layout
        told = [self.told[name] for name in layout.columns if name in self.told]
        rules = (hint for each in told for hint in each.hints)
        return Causes(
            tuple(each.patterns for each in told),
            tuple(self.totals()),
            tuple(self.segments()),
            (*self.hints(), *sorted(rules, key=lambda hint: -hint.total)),
        )

    def totals(self) -> Iterator[Total]:
        """The control totals, in the order of OLD."""
        plan = self.plan
        ours = plan.names[OLD].columns
        found = {
            name: (at, self._sums(name, at))
            for name, at in zip(plan.columns, ours, strict=True)
        }
        asked = {at for at, sums in found.values() if totals.have_amounts(sums)}
        written = [totals.detect_forms(rows, asked) for rows in self.samples]
        for name in plan.layout.columns:
            at, sums = found[name]
            if at in asked:
                old, new = (forms[at] for forms in written)
                yield from totals.build_total(name, sums, (old, new))

    def _sums(
        self, name: str, column_id: str
    ) -> tuple[ColumnSum, ColumnSum, ColumnSum, ColumnSum]:
        """The sums of a column.

        Its differing cells in OLD and NEW, its missing and extra rows.
        """
        changed = self.tolerated.get(column_id, totals.ZERO_SUM_PAIR)
        if name in self.told:
            changed = totals.add_sum_pairs(changed, self.told[name].sums)
        missing, extra = (side.sums[column_id] for side in self.lone)
        return *changed, missing, extra

    def segments(self) -> Iterator[Segment]:
        """Values in which mismatched, missing or extra rows concentrate."""
        plan = self.plan
        people = [*plan.layout.keys, *plan.columns]
        names = dict(zip(plan.names[OLD].compared, people, strict=True))
        missing, extra = self.lone
        every: dict[Of, ValueCounts] = {
            "mismatched": self.values,
            "missing": missing.values,
            "extra": extra.values,
        }
        for of, values in every.items():
            sample = self.samples[SIDE_OF[of]]
            yield from segments.find_segments(of, values, sample, names)

    def hints(self) -> Iterator[Hint]:
        """Hints about renames, splits and keys."""
        layout, names = self.plan.layout, self.plan.names[OLD]
        yield from hints.for_renames(layout.drift.renamed, layout.agreements)
        splits = hints.for_splits(self.plan.columns, *self.splits)
        yield from splits
        # If most repeated keys are splits, the column that tells their rows apart is a
        # line number, which the other side does not have.
        if hints.HALF * sum(each.total for each in splits) < self.repeated:
            yield from hints.for_duplicate_keys(
                layout.keys, self.telling, self.repeated, self.kept, self.matched
            )
        keys = dict(zip(names.keys, layout.keys, strict=True))
        old, new = (side.keys for side in self.lone)
        if old is None or new is None or old.is_empty() or new.is_empty():
            return
        yield from hints.for_keys((old, new), keys, names.rules, self.samples[OLD])


def analyze_columns(
    difference: Difference, plan: ComparisonPlan
) -> dict[str, ColumnFindings]:
    """The findings of each differing column, by name."""
    if difference.cells.height <= few_cells.MAX_CELLS:
        return _analyze_few_cells(difference, plan)

    def tell(column: tuple[int, pl.DataFrame]) -> tuple[pl.DataFrame, Learned]:
        at, cells = column
        changes = patterns.group_changes(cells)
        rules = find_rule_hints(plan.columns[at], changes, plan)
        return changes, (rules, totals.sum_changes(changes))

    by_column = difference.cells.partition_by("column", as_dict=True, include_key=False)
    columns = [(int(at), cells) for (at,), cells in by_column.items()]
    every = list(map_ordered(tell, columns))
    changes = [
        (plan.columns[at], at, each)
        for (at, _), (each, _) in zip(columns, every, strict=True)
    ]
    keys = plan.layout.keys
    shown = (
        patterns.build_patterns(changes, difference.cells, difference.keys, keys)
        if every
        else ()
    )
    return {
        each.column: ColumnFindings(each, *facts)
        for each, (_, facts) in zip(shown, every, strict=True)
    }


def _analyze_few_cells(
    difference: Difference, plan: ComparisonPlan
) -> dict[str, ColumnFindings]:
    """The same of few cells, by queries for all columns at once."""
    if difference.cells.is_empty():
        return {}
    names, keys = plan.columns, plan.layout.keys
    changes = few_cells.group_changes(difference.cells, difference.keys)
    promising = hints.find_promising_columns(changes)
    found = {}
    for at, place, shown, sums in few_cells.summarize_columns(changes, names, keys):
        name, rules = names[at], tuple["Hint", ...]()
        if at in promising or name in plan.layout.rules:
            rules = find_rule_hints(name, changes[place], plan)
        found[name] = ColumnFindings(shown, rules, sums)
    return found


def find_rule_hints(
    column: str, changes: pl.DataFrame, plan: ComparisonPlan
) -> tuple[Hint, ...]:
    """The rules that would explain the changes of a column."""
    given = plan.layout.rules.get(column, ())
    return tuple(hints.for_column(column, changes, given))


def summarize_unmatched(rows: pl.DataFrame, plan: ComparisonPlan) -> UnmatchedRows:
    """Facts about rows on one side only."""
    names = plan.names[OLD]
    if rows.is_empty():
        sums = dict.fromkeys(names.columns, totals.ZERO_SUM)
        values: ValueCounts = dict.fromkeys(names.compared, segments.NO_VALUES)
        return UnmatchedRows(0, sums, values, rows[list(names.keys)])
    return UnmatchedRows(
        rows.height,
        totals.sum_rows(rows[list(names.columns)]),
        segments.count_values(rows[list(names.compared)]),
        rows[list(names.keys)],
    )
