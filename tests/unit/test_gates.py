from __future__ import annotations

import re
from dataclasses import fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.results import with_findings
from support.suppressed_pairs import DAY, pair

from recon_engine import Reconciliation, diff, verdict
from recon_engine.config import Options
from recon_engine.errors import ConfigError
from recon_engine.gate_syntax import METRICS, Operator, TakesColumn, parse_gate
from recon_engine.model import GateResult, Total
from recon_engine.suppressions import NarrowCounts
from recon_engine.verdict import GateShare, Measurements, evaluate_gates


def evaluated(result: Reconciliation, *gates: str) -> tuple[GateResult, ...]:
    """Gates on the measurements of a result, which may be edited ones."""
    # A result without suppressions has no counts of narrow ones.
    names = {each.name for each in fields(Measurements)} - {"narrow"}
    measured = Measurements(
        **{name: getattr(result, name) for name in names}, narrow=NarrowCounts()
    )
    return evaluate_gates(measured, Options(keys=("ID",), gates=gates), DAY).gates


def value_of(gate: str, result: Reconciliation) -> int | float | str:
    [answer] = evaluated(result, gate)
    return answer.value


def test_a_gate_is_read_with_and_without_spaces() -> None:
    for text in ("mismatch_rate(PAID)<=0.1%", " mismatch_rate ( PAID ) <= 0.1 % "):
        gate = parse_gate(text)
        assert (gate.metric, gate.column) == ("mismatch_rate", "PAID")
        assert (gate.operator, gate.limit) == (Operator.AT_MOST, Fraction(1, 1000))


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("mismatches(Amount (USD))<=0", "Amount (USD)"),
        ("mismatches(a)<=1(b)<=0", "a)<=1(b"),
        ('mismatches("say ""when""")<=0', 'say "when"'),
        ('mismatches(" x ")<=0', " x "),
        ("mismatches(Größe %)<=0", "Größe %"),
    ],
)
def test_a_column_may_have_any_name(text: str, column: str) -> None:
    assert parse_gate(text).column == column


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 1, "expected a metric"),
        ("mising<=0", 1, "Did you mean missing?"),
        ("mismatches<=0", 11, "mismatches needs a column"),
        ("missing(PAID)<=0", 8, "missing takes no column"),
        ("mismatches(PAID<=0", 11, "not closed"),
        ("mismatches()<=0", 11, "expected a column name"),
        ("missing", 8, "expected an operator"),
        ("missing=0", 8, "did you mean ==?"),
        ("missing=<0", 8, "did you mean <=?"),
        ("missing!=0", 8, "unknown operator !="),
        ("missing<=", 10, "expected a number"),
        ("missing<=-1", 10, "no sign"),
        ("missing<=1,000", 11, "unexpected text"),
        ("missing<=1%", 11, "takes no %"),
        ("missing<=1 extra<=1", 12, "its own --gate"),
        ("missing_rate<=1e3", 16, "unexpected text"),
    ],
)
def test_a_gate_that_cannot_be_read_says_where_and_why(
    text: str, at: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_gate(text)
    assert f"character {at}: " in caught.value.message
    assert words in f"{caught.value.message} {caught.value.help}"


def test_a_gate_of_an_unknown_column_is_refused_before_anything_is_read() -> None:
    old, new = pair()
    with pytest.raises(ConfigError, match=r"Did you mean PAID\?"):
        diff(old, new, keys="ID", gates="mismatches(PIAD)<=0")
    with pytest.raises(ConfigError, match="no compared column"):
        diff(old, new, keys="ID", gates="mismatches(ID)<=0")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        # Half of the keys are missing, and three of four rows.
        ({"old_fold": True, "old_sum": "P"}, "1 of 2 old rows is missing (50%)"),
        ({"where": "P = '1'"}, "1 of 1 old row is missing (100%)"),
        ({"old_where": "P != '5'"}, "3 of 3 old rows are missing (100%)"),
        ({"old_derive": "Q=slice(P,2)"}, "0 of 0 old rows are missing (0%)"),
        ({}, "3 of 4 old rows are missing (75%)"),
    ],
)
def test_a_rate_is_of_the_rows_that_are_compared(
    options: dict[str, Any], text: str
) -> None:
    old = pl.DataFrame({"ID": ["1", "1", "1", "2"], "P": ["1", "2", "3", "5"]})
    new = pl.DataFrame({"ID": ["2", "4"], "P": ["5", "1"]})
    asked = {"keys": "ID", "compare_only": "P"} | options
    d = diff(old, new, gates="missing_rate<=30%", **asked)
    assert (d.gates[0].text, d.passes) == (f"{text}, limit 30%", text.startswith("0"))
    # The same of the other side.
    asked = {name.replace("old_", "new_"): each for name, each in asked.items()}
    d = diff(new, old, gates="extra_rate<=30%", **asked)
    said = text.replace("old", "new").replace("missing", "extra")
    assert d.gates[0].text == f"{said}, limit 30%"


def test_blank_keys_are_counted_of_the_rows_that_no_filter_leaves_out() -> None:
    old = pl.DataFrame({"ID": ["", "", "2", "3"], "P": ["1", "2", "1", "5"]})
    d = diff(
        old, old.tail(2), keys="ID", where="P != '5'", fold=True, sum="P",
        gates=["blank_keys_old<=0", "blank_keys_new<=0"],
    )  # fmt: skip
    assert [gate.text for gate in d.gates] == [
        "2 of 3 old rows have a blank key, limit 0",
        "0 of 1 new row has a blank key, limit 0",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gate", "value"),
    [
        ("missing<=0", 2),
        ("extra<=0", 1),
        ("mismatched_rows<=0", 3),
        ("mismatched_cells<=0", 4),
        ("mismatches(PAID)<=0", 3),
        ("tolerated(CODE)<=0", 0),
        ("tolerated_cells<=0", 0),
        ("missing_rate<=0", 2 / 7),
        ("extra_rate<=0", 1 / 6),
        ("mismatch_rate<=0", 3 / 5),
        ("mismatch_rate(CODE)<=0", 1 / 5),
        ("tolerated_rate(CODE)<=0", 0),
        ("rows_old>=1", 7),
        ("rows_new>=1", 6),
        ("matched>=1", 5),
        ("duplicate_keys_old<=0", 0),
        ("duplicate_keys_new<=0", 0),
        ("blank_keys_old<=0", 0),
        ("blank_keys_new<=0", 0),
        ("rejected<=0", 0),
        ("rejected_old<=0", 0),
        ("rejected_new<=0", 0),
        ("drift<=0", 0),
        ("sum_delta(CODE)<=0", "no sum"),
    ],
)
def test_each_metric_is_what_it_says(gate: str, value: float | str) -> None:
    old, new = pair()
    result = diff(old, new, keys="ID", gates=gate)
    assert result.gates[0].value == value


@pytest.mark.slow
def test_every_metric_can_be_measured() -> None:
    old, new = pair()
    for name, metric in METRICS.items():
        forms = {
            TakesColumn.NO: [name],
            TakesColumn.YES: [f"{name}(PAID)"],
            TakesColumn.OPTIONAL: [name, f"{name}(PAID)"],
        }[metric.takes_column]
        for form in forms:
            [gate] = diff(old, new, keys="ID", gates=f"{form}>=0").gates
            assert gate.text


def test_rows_set_aside_and_columns_of_one_side_can_be_gated() -> None:
    old, new = pair()
    new = new.with_columns(LOADED=pl.lit("x"))
    gates = ["drift<=0", "drift<=1"]
    result = diff(old, new, keys="ID", gates=gates, on_schema_drift="compare")
    assert [gate.passed for gate in result.gates] == [False, True]


@given(
    part=st.integers(0, 10**9),
    whole=st.integers(1, 10**9),
    limit=st.decimals(0, 1, places=9),
    operator=st.sampled_from(Operator),
)
def test_rates_are_compared_exactly(
    part: int, whole: int, limit: Decimal, operator: Operator
) -> None:
    gate = parse_gate(f"mismatch_rate{operator}{limit:f}")
    # In whole numbers alone: part / whole against limit / 10^9.
    left, right = part * 10**9, int(limit * 10**9) * whole
    expected = {
        Operator.AT_MOST: left <= right,
        Operator.BELOW: left < right,
        Operator.AT_LEAST: left >= right,
        Operator.ABOVE: left > right,
        Operator.EXACTLY: left == right,
    }
    assert gate.holds(Fraction(part, whole)) is expected[operator]


def test_a_third_of_a_percent_is_not_rounded_to_its_limit() -> None:
    assert not parse_gate("mismatch_rate<=0.3333333333333333%").holds(Fraction(1, 300))
    assert parse_gate("mismatch_rate<=0.3333333333333334%").holds(Fraction(1, 300))


def test_the_sum_of_a_column_is_gated_to_the_last_digit() -> None:
    old, new = pair()
    result = diff(old, new, keys="ID")
    huge = Decimal("12345678901234567890123456789.10")
    more = Decimal("12345678901234567890123456889.11")
    totals = (Total("PAID", huge, more, Decimal(0), Decimal(0)),)
    result = with_findings(result, totals=totals)
    gates = ("sum_delta(PAID)<=100", "sum_delta(PAID)<=100.01")
    gated = evaluated(result, *gates)
    assert [gate.passed for gate in gated] == [False, True]
    assert {gate.value for gate in gated} == {"100.01"}
    fewer = replace(totals[0], old=more, new=huge)
    less = with_findings(result, totals=(fewer,))
    assert value_of("sum_delta(PAID)<=0", less) == "100.01"


def test_a_column_without_differences_has_a_sum_that_did_not_change() -> None:
    old, _ = pair()
    [gate] = diff(old, old, keys="ID", gates="sum_delta(CODE)<=0").gates
    assert (gate.passed, gate.value) == (True, "0")


def test_a_column_that_is_no_number_fails_the_gate_of_its_sum() -> None:
    old, new = pair()
    [gate] = diff(old, new, keys="ID", gates="sum_delta(CODE)<=1000").gates
    assert not gate.passed
    assert gate.text.startswith("CODE has no sum: it is masked, not all its values are")


def test_whole_numbers_of_one_width_have_a_sum_once_a_rule_makes_amounts() -> None:
    old, new = (
        pl.DataFrame({"ID": ["1"], "CENTS": [cents]})
        for cents in ("12345678", "12345679")
    )
    gate = "sum_delta(CENTS)<=0.01"
    [failed] = diff(old, new, keys="ID", gates=gate).gates
    assert (failed.passed, failed.value) == (False, "no sum")
    assert "all are whole numbers of one width, as identifiers are" in failed.text
    assert "the rule scale(2) makes amounts" in failed.text
    [passed] = diff(old, new, keys="ID", gates=gate, rules={"CENTS": "scale(2)"}).gates
    assert (passed.passed, passed.value) == (True, "0.01")


def test_a_masked_column_has_no_sum_to_keep_to() -> None:
    old, new = pair()
    result = diff(old, new, keys="ID", masks={"PAID": "redact"})
    assert value_of("sum_delta(PAID)<=1000", result) == "no sum"


def test_what_a_rule_tolerates_has_a_part_in_a_sum() -> None:
    old, new = pair()
    rules = {"PAID": "decimal(abs=1)"}
    result = with_findings(diff(old, new, keys="ID", rules=rules), totals=())
    assert result.left.mismatches["PAID"] == 0
    assert value_of("sum_delta(PAID)<=1000", result) == "no sum"


def test_empty_tables_have_rates_of_nothing() -> None:
    empty = pl.DataFrame(schema={"ID": pl.String, "PAID": pl.String})
    gates = ["missing_rate<=0", "mismatch_rate<=0", "mismatch_rate(PAID)<=0"]
    assert diff(empty, empty, keys="ID", gates=gates).passes
    failed = diff(empty, empty, keys="ID", gates="rows_old>=1")
    assert (failed.agrees, failed.passes, failed.verdict) == (
        True,
        False,
        "gates_failed",
    )


def test_gates_decide_what_passes() -> None:
    old, new = pair()
    lenient = diff(old, new, keys="ID", gates=["missing<=2", "mismatch_rate<=60%"])
    assert (lenient.agrees, lenient.passes, lenient.verdict) == (False, True, "differ")
    assert lenient.headline().endswith("; all 2 gates pass")
    strict = diff(old, new, keys="ID", gates=["missing<=2", "mismatch_rate<=59.9%"])
    assert (strict.passes, strict.verdict) == (False, "gates_failed")
    assert strict.headline() == ("FAIL: 3 of 5 matched rows differ (60%), limit 59.9%")
    strict.to_json()
    lenient.assert_passes()
    # A gate does not make sides agree that differ; the error says what accepts it.
    with pytest.raises(AssertionError, match=r"^the sides differ, which gates or supp"):
        lenient.assert_agrees()
    with pytest.raises(AssertionError, match=r"^\*\*FAIL"):
        strict.assert_agrees()
    with pytest.raises(AssertionError, match=r"limit 59\.9%"):
        strict.assert_passes()


@pytest.mark.parametrize(
    ("part", "limit", "shown"),
    [
        (2_000, "<=10%", "10%"),
        (2_001, "<=10%", "10.01%"),
        (1_999, "<10%", "9.99%"),
        (2_001, "<=5%", "10%"),
        (2_469, "==12.345%", "12.345%"),
        (2_470, "<=12.345%", "12.35%"),
        (19_999, "<100%", "99.995%"),
        (19_999, "<=5%", ">99.9%"),
        (19_992, "<=99.95%", "99.96%"),
        (0, "<=0%", "0%"),
        (1, "<=0%", "0.005%"),
    ],
)
def test_a_rate_is_shown_on_its_side_of_the_limit(
    part: int, limit: str, shown: str
) -> None:
    gate = parse_gate(f"mismatch_rate{limit}")
    text = verdict._describe_share(gate, GateShare(part, 20_000, "row", "differ"))
    assert f"({shown})" in text


def test_without_gates_differences_decide() -> None:
    old, new = pair()
    assert not diff(old, new, keys="ID").passes
    assert diff(old, old, keys="ID").passes


@given(
    st.integers(1, 10**12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
@example((4, 10_000_000))
@example((9_999_999, 10_000_000))
@example((29, 100))
def test_a_rate_is_shown_without_exponent_and_never_as_none_or_all(
    share: tuple[int, int],
) -> None:
    part, whole = share
    gate = parse_gate("mismatch_rate<=5%")
    text = verdict._describe_share(gate, GateShare(part, whole, "row", "differ"))
    [shown] = re.findall(r"\(([>0-9.]+)%\), limit 5%$", text)
    assert (shown == "0") is (part == 0)
    assert (shown == "100") is (part == whole)
    if not shown.startswith(">"):
        assert float(shown) == pytest.approx(100 * part / whole, rel=0.006)
