"""Count, for one group of rows, what findings are derived from.

All counts are additive: take them for each group of rows and merge. `result_builder`
makes the `Evidence` of the whole comparison, from which `findings` are derived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from recon_engine.analysis import (
    column_hints,
    constants,
    few_cells,
    patterns,
    segments,
    totals,
)
from recon_engine.analysis.amounts import ZERO_SUM
from recon_engine.analysis.evidence import ColumnFindings, UnmatchedRows
from recon_engine.model import OLD, SIDES
from recon_engine.rules.assembly import GivenRules
from recon_engine.rules.chains import (
    NO_CHAIN,
    amounts_of_changes,
    code_table,
    code_tally,
    count_codes,
    has_notation,
    read_amounts,
    show_changes,
)
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from recon_engine.analysis.amounts import SumPair
    from recon_engine.analysis.evidence import ValueCounts
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.model import Constant, Hint

    Learned = tuple[tuple[Hint, ...], SumPair, Constant | None]


def analyze_columns(
    difference: Difference, plan: ComparisonPlan
) -> dict[str, ColumnFindings]:
    """The findings of each differing column, by name."""
    # A query takes longer than so few cells: one for all columns, not one for each.
    if difference.cells.height <= few_cells.MAX_CELLS:
        return _analyze_few_cells(difference, plan)

    by_column = difference.cells.partition_by("column", as_dict=True, include_key=False)
    cells = {int(at): part for (at,), part in by_column.items()}
    grouped = map_ordered(patterns.group_changes, cells.values())
    changes = dict(zip(cells, grouped, strict=True))
    # Systems repeat few changes often, so one query for all columns costs little.
    promising = column_hints.find_promising_columns(
        pl.concat([each.with_columns(column=at) for at, each in changes.items()])
    )

    def learn(at: int) -> Learned:
        name, rules = plan.columns[at], tuple["Hint", ...]()
        if name in plan.layout.rules or at in promising:
            rules = find_rule_hints(name, changes[at], plan)
        sums = sum_amounts(name, changes[at], plan)
        return rules, sums, find_constant(name, changes[at], plan)

    learned = list(map_ordered(learn, changes))
    shown = patterns.build_patterns(
        [(plan.columns[at], at, each) for at, each in changes.items()],
        difference.cells,
        difference.keys,
        plan.layout.keys,
    )
    return {
        each.column: ColumnFindings(each, *facts)
        for each, facts in zip(shown, learned, strict=True)
    }


def _analyze_few_cells(
    difference: Difference, plan: ComparisonPlan
) -> dict[str, ColumnFindings]:
    """The same of few cells, by queries for all columns at once."""
    if difference.cells.is_empty():
        return {}
    names, keys = plan.columns, plan.layout.keys
    changes = few_cells.group_changes(difference.cells, difference.keys)
    promising = column_hints.find_promising_columns(changes)
    every = list(few_cells.summarize_columns(changes, names, keys))
    # `find_promising_columns` decides for columns without rules only.
    hinted = [
        (names[at], place)
        for at, place, *_ in every
        if at in promising or names[at] in plan.layout.rules
    ]
    rules = map_ordered(
        lambda each: find_rule_hints(each[0], changes[each[1]], plan), hinted
    )
    rules_of = dict(zip((name for name, _ in hinted), rules, strict=True))
    found = {}
    for at, place, rows, shown, sums in every:
        name = names[at]
        # `few_cells` adds up the texts as plain numbers. A column in another notation
        # is added up by its rules.
        of_texts = not has_notations(name, plan)
        amounts = sums if of_texts else sum_amounts(name, changes[place], plan)
        if name in plan.layout.rules or len(rows) > constants.FEW_CHANGES:
            constant = find_constant(name, changes[place], plan)
        else:
            constant = constants.find_constant(name, few_cells.changes_of(rows))
        found[name] = ColumnFindings(shown, rules_of.get(name, ()), amounts, constant)
    return found


def find_constant(
    column: str, changes: pl.DataFrame, plan: ComparisonPlan
) -> Constant | None:
    """The change that most cells of a column have in common, as its rules read them."""
    shown = show_changes(plan.layout.rules.get(column, NO_CHAIN), changes)
    return constants.find_constant_of_many(
        column, shown.select(patterns.CHANGE_COLUMNS)
    )


def has_notations(column: str, plan: ComparisonPlan) -> bool:
    """Whether a rule reads numbers of a column in another notation."""
    chain = plan.layout.rules.get(column, NO_CHAIN)
    return any(has_notation(chain.of(side)) for side in SIDES)


def sum_amounts(column: str, changes: pl.DataFrame, plan: ComparisonPlan) -> SumPair:
    """The sums of both sides over the changes of a column, read by its rules."""
    chain = plan.layout.rules.get(column, NO_CHAIN)
    return totals.sum_changes(amounts_of_changes(chain, changes))


def find_rule_hints(
    column: str, changes: pl.DataFrame, plan: ComparisonPlan
) -> tuple[Hint, ...]:
    """The rules that would explain the changes of a column."""
    given = plan.layout.given.get(column, GivenRules())
    return tuple(column_hints.for_column(column, changes, given))


def summarize_unmatched(
    rows: pl.DataFrame, plan: ComparisonPlan, side: str
) -> UnmatchedRows:
    """Count the missing or the extra rows, sum their amounts, and count their values.

    `rows`: of a side, with the column ids of the plan; a blank is "".
    """
    # Keys and compared columns have the same ids on both sides (`assign_ids`).
    names = plan.names[OLD]
    if rows.is_empty():
        sums = dict.fromkeys(names.columns, ZERO_SUM)
        values: ValueCounts = dict.fromkeys(names.compared, segments.NO_VALUES)
        return UnmatchedRows(0, sums, values, rows[names.keys])
    return UnmatchedRows(
        rows.height,
        totals.sum_rows(
            rows.select(
                read_amounts(names.chains.get(name, NO_CHAIN).of(side), rows[name])
                for name in names.columns
            )
        ),
        segments.count_values(rows[names.compared]),
        rows[names.keys],
        {
            code_tally(name, side): count_codes(chain.of(side), rows[name])
            for name, chain in names.chains.items()
            if code_table(chain.of(side)) is not None
        },
    )
