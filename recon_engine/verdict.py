"""Evaluate the gates and suppressions of a result.

Counts exclude what active suppressions cover. Sums include all rows.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from recon_engine.formatting import (
    conjugate,
    describe_accepted_rows,
    format_count,
    format_share,
)
from recon_engine.gate_syntax import METRICS, parse_gate
from recon_engine.model import EXACT, Acceptance, GateResult
from recon_engine.records import dataclass
from recon_engine.suppressions import apply_suppressions, count_unsuppressed


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from recon_engine.config import Options
    from recon_engine.gate_syntax import Gate
    from recon_engine.model import (
        Column,
        Counts,
        Coverage,
        Drift,
        Left,
        Side,
        Suppressed,
        Total,
    )
    from recon_engine.suppressions import NarrowCounts


# No `float` has more.
MOST_DIGITS: Final = 18

EQUAL_BY_RULE: Final = "are equal by a rule"
QUARANTINED: Final = "are quarantined"
MATCHED_ROW: Final = "matched row"


@dataclass(frozen=True, slots=True)
class GateShare:
    """A count, the whole it is a part of (None if there is none), and what both are.

    `noun`: what is counted, in the singular; `predicate`: what is true of it, in the
    plural; `suppressed`: how many more there are that the count excludes.
    """

    part: int
    whole: int | None
    noun: str
    predicate: str
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Measurements:
    """What gates are evaluated on: counts and sums of a comparison, and no values.

    `totals`: without those of masked columns, whose sums no gate may show. `narrow`:
    what narrow suppressions fit.
    """

    old: Side
    new: Side
    counts: Counts
    by_column: tuple[Column, ...]
    drift: Drift
    totals: tuple[Total, ...]
    coverage: tuple[Coverage, ...]
    narrow: NarrowCounts
    suppressed: tuple[Suppressed, ...] = ()

    @property
    def left(self) -> Left:
        """The differences that no active suppression covers."""
        return count_unsuppressed(
            self.counts, self.by_column, self.suppressed, self.coverage
        )


def evaluate_gates(measured: Measurements, options: Options, today: date) -> Acceptance:
    """Evaluate the gates and suppressions of the options on the day `today`.

    Suppressions come first: gates count only the differences that they leave.
    """
    suppressed = apply_suppressions(
        options.suppressions,
        measured.counts,
        measured.by_column,
        measured.narrow,
        today,
    )
    known = replace(measured, suppressed=suppressed)
    gates = tuple(_evaluate_gate(parse_gate(text), known) for text in options.gates)
    return Acceptance(gates, suppressed)


def _evaluate_gate(gate: Gate, measured: Measurements) -> GateResult:
    if gate.metric == "sum_delta":
        return _evaluate_sum_gate(gate, measured)
    from fractions import Fraction

    share = _share_for_gate(gate, measured)
    if not METRICS[gate.metric].rate:
        passed = gate.holds(Fraction(share.part))
        return GateResult(gate.text, passed, share.part, _describe_share(gate, share))
    # Of nothing, the rate is 0.
    rate = Fraction(share.part, share.whole or 1)
    # The fraction decides, as a float may round to the limit.
    return GateResult(
        gate.text, gate.holds(rate), float(rate), _describe_share(gate, share)
    )


def _evaluate_sum_gate(gate: Gate, measured: Measurements) -> GateResult:
    """Evaluate the change of a column's sum; a column without a sum fails."""
    column = gate.column or ""
    total = next((each for each in measured.totals if each.column == column), None)
    from fractions import Fraction

    # There is one: `compare.alignment` has refused a gate of any other column.
    [facts] = (each for each in measured.by_column if each.name == column)
    # Without a changed cell the sum is unchanged, even of a column that is not summed.
    if total is None and facts.mismatched + facts.tolerated:
        why = (
            f"{column} has no sum: it is masked, not all its values are numbers, or all"
            " are whole numbers of one width, as identifiers are (of cents, the rule"
            " scale(2) makes amounts)"
        )
        return GateResult(gate.text, passed=False, value="no sum", text=why)
    delta = EXACT.subtract(total.new, total.old).copy_abs() if total else Decimal(0)
    text = f"the sum of {column} changed by {delta:,f}, {gate.limit_words}"
    return GateResult(gate.text, gate.holds(Fraction(delta)), f"{delta:f}", text)


def _describe_share(gate: Gate, share: GateShare) -> str:
    """`7,257 of 66,675 matched rows differ (10.9%), limit 5%`.

    Accepted rows are named, because the accounting of the result counts them.
    """
    words = (
        format_count(share.part, share.noun, share.predicate)
        if share.whole is None
        else format_share(share.part, share.whole, share.noun, share.predicate)
    )
    percent = _format_percent(gate, share) if METRICS[gate.metric].rate else ""
    facts = "; ".join(filter(None, (percent, _describe_accepted(share))))
    return f"{words}{f' ({facts})' if facts else ''}, {gate.limit_words}"


def _format_percent(gate: Gate, share: GateShare) -> str:
    """The share with three digits, or as many as say whether it keeps the limit.

    One that three digits round to 100% is shown as `>99.9%` if that says it.
    """
    from fractions import Fraction

    rate = Fraction(share.part, share.whole or 1)
    for digits in range(3, MOST_DIGITS):
        # Through a decimal number, which `f` writes without an exponent.
        percent = Decimal(f"{float(100 * rate):.{digits}g}")
        shown, bounds = f"{percent:f}%", [Fraction(percent) / 100]
        # Chained: three digits round the rate to 100%, and it is less.
        if bounds == [1] != [rate]:
            shown, bounds = ">99.9%", [Fraction(999, 1000), Fraction(1)]
        if all(gate.holds(each) == gate.holds(rate) for each in bounds):
            break
    return shown


def _describe_accepted(share: GateShare) -> str:
    """How many more there are that suppressions accept; empty without any.

    A row that differs may hold cells of several suppressions, and a suppression counts
    cells, so rows and cells have different words.
    """
    if not share.suppressed:
        return ""
    if share.noun == MATCHED_ROW:
        return describe_accepted_rows(share.suppressed)
    return f"{share.suppressed:,} more {conjugate(share.suppressed, 'are')} accepted"


def _share_for_gate(gate: Gate, measured: Measurements) -> GateShare:
    metric = gate.metric.removesuffix("_rate")
    if gate.column is not None:
        return _share_of_column(metric, gate.column, measured)
    # `mismatch_rate` without a column is of rows. All other rates have the name of
    # their count.
    return SHARES["mismatched_rows" if metric == "mismatch" else metric](measured)


def _share_of_column(metric: str, name: str, measured: Measurements) -> GateShare:
    [column] = (each for each in measured.by_column if each.name == name)
    cell = f"cell of {name}"
    if metric == "tolerated":
        return GateShare(column.tolerated, column.compared, cell, EQUAL_BY_RULE)
    left, compared = measured.left.mismatches[name], column.compared
    return GateShare(left, compared, cell, "differ", column.mismatched - left)


SHARES: Final[Mapping[str, Callable[[Measurements], GateShare]]] = {
    "missing": lambda r: GateShare(
        r.left.missing,
        r.old.rows_of_rates,
        "old row",
        "are missing",
        r.counts.missing - r.left.missing,
    ),
    "extra": lambda r: GateShare(
        r.left.extra,
        r.new.rows_of_rates,
        "new row",
        "are extra",
        r.counts.extra - r.left.extra,
    ),
    "mismatched_rows": lambda r: GateShare(
        r.left.mismatched_rows,
        r.counts.matched,
        MATCHED_ROW,
        "differ",
        r.counts.mismatched_rows - r.left.mismatched_rows,
    ),
    "mismatched_cells": lambda r: GateShare(
        sum(r.left.mismatches.values()),
        _compared_cells(r),
        "cell",
        "differ",
        r.counts.mismatched_cells - sum(r.left.mismatches.values()),
    ),
    "tolerated_cells": lambda r: GateShare(
        r.counts.tolerated_cells, _compared_cells(r), "cell", EQUAL_BY_RULE
    ),
    "tolerated_keys": lambda r: GateShare(
        r.counts.tolerated_keys, r.counts.matched, "key", EQUAL_BY_RULE
    ),
    "rows_old": lambda r: GateShare(r.old.rows, None, "row", "are in OLD"),
    "rows_new": lambda r: GateShare(r.new.rows, None, "row", "are in NEW"),
    "matched": lambda r: GateShare(r.counts.matched, None, "row", "are matched"),
    "duplicate_keys_old": lambda r: GateShare(
        r.old.duplicate_keys, None, "key", "repeat in OLD"
    ),
    "duplicate_keys_new": lambda r: GateShare(
        r.new.duplicate_keys, None, "key", "repeat in NEW"
    ),
    "blank_keys_old": lambda r: GateShare(
        r.old.blank_keys, r.old.rows - r.old.left_out, "old row", "have a blank key"
    ),
    "blank_keys_new": lambda r: GateShare(
        r.new.blank_keys, r.new.rows - r.new.left_out, "new row", "have a blank key"
    ),
    "rejected": lambda r: GateShare(
        r.old.rejected + r.new.rejected, r.old.rows + r.new.rows, "row", QUARANTINED
    ),
    "rejected_old": lambda r: GateShare(
        r.old.rejected, r.old.rows, "old row", QUARANTINED
    ),
    "rejected_new": lambda r: GateShare(
        r.new.rejected, r.new.rows, "new row", QUARANTINED
    ),
    "drift": lambda r: GateShare(
        len(r.drift.only_in_old) + len(r.drift.only_in_new),
        None,
        "column",
        "are on one side only",
    ),
}


def _compared_cells(measured: Measurements) -> int:
    return sum(column.compared for column in measured.by_column)
