"""What rules did is counted and shown in every output; so is an empty comparison."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from decimal import Decimal
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from support.program import recon

import recon_engine as rx
from recon_engine.compare.explain import explain_key
from recon_engine.config import Options
from recon_engine.formatting import count_places, list_sums
from recon_engine.report import result_page
from recon_engine.report.junit import render_junit as junit
from recon_engine.result import NO_SUM


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine import Reconciliation

DATES = "date(%m/%d/%Y|%Y-%m-%d)"


def compared(folder: Path, old: str, new: str, **asked: Any) -> Reconciliation:
    for name, text in (("old", old), ("new", new)):
        (folder / f"{name}.csv").write_text(text)
    return rx.diff(folder / "old.csv", folder / "new.csv", keys="id", **asked)


def outputs(d: Reconciliation) -> dict[str, str]:
    """Every text that says what came out."""
    page = result_page.render_result(d)
    return {
        "json": d.to_json(),
        "markdown": d.to_markdown(),
        "report": page[: page.index('id="evidence"')],
        "notebook": d._repr_html_(),
        "junit": junit(d).decode(),
    }


@pytest.mark.parametrize("order", [*permutations(["2026-01-02", "2025-02-01"])])
def test_repeated_keys_pair_by_normal_forms_before_the_rest(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    new = "id,v\n" + "".join(f"k,{day}\n" for day in order)
    old = "id,v\nk,01/02/2026\nk,02/01/2025\n"
    d = compared(tmp_path, old, new, rules={"v": DATES})
    assert d.agrees
    assert d.counts.tolerated_cells == 2
    [rule] = d.rules
    assert (rule.old, rule.new, rule.made_equal) == ((2, 0), (2, 0), 2)


def test_equal_bytes_pair_before_equal_normal_forms(tmp_path: Path) -> None:
    old, new = "id,v,w\nk,1.0,a\nk,1,a\n", "id,v,w\nk,1,a\nk,1.00,a\n"
    d = compared(tmp_path, old, new, rules={"v": "decimal"})
    assert d.agrees
    assert d.counts.tolerated_cells == 1


def test_a_tolerance_pairs_no_rows(tmp_path: Path) -> None:
    # In the order of normal forms 1.9 meets 2, and 3 meets 2.9: near is not equal.
    old, new = "id,v\nk,1.9\nk,3\n", "id,v\nk,2.9\nk,2\n"
    d = compared(tmp_path, old, new, rules={"v": "decimal(abs=0.5)"})
    assert d.counts.tolerated_cells == 2
    far = compared(tmp_path, "id,v\nk,1\nk,2.4\n", "id,v\nk,2\nk,9\n",
                   rules={"v": "decimal(abs=0.5)"})  # fmt: skip
    assert far.counts.mismatched_cells == 2


def test_rows_that_rules_call_equal_keep_the_others_apart(tmp_path: Path) -> None:
    old = "id,v\nk,01/02/2026\nk,x\nk,y\n"
    new = "id,v\nk,2026-01-02\nk,y\nk,z\n"
    d = compared(tmp_path, old, new, rules={"v": DATES})
    assert [(c["old"], c["new"]) for c in d.mismatches().to_dicts()] == [("x", "z")]


def test_keys_that_a_rule_pairs_are_counted_everywhere(tmp_path: Path) -> None:
    old, new = "id,v\n1 ,a\n2 ,b\n3,c\n", "id,v\n1,a\n2,b\n3,c\n"
    d = compared(tmp_path, old, new, rules={"id": "trim"}, gates=["tolerated_keys<=1"])
    assert d.counts.tolerated_keys == 2
    assert d.counts.tolerated_cells == 0
    assert d.gates[0].text == "2 of 3 keys are equal by a rule, limit 1"
    assert d.summary()["tolerated_keys"] == 2
    said = outputs(d)
    assert json.loads(said["json"])["counts"]["tolerated_keys"] == 2
    assert 'keys equal by a rule</th><td class="number">2' in said["report"]
    for name in ("markdown", "notebook", "junit"):
        assert "2 keys are equal by a rule" in said[name]


def test_of_keys_all_values_are_counted(tmp_path: Path) -> None:
    old, new = "id,v\n01,a\n2,b\nx-9,c\n,d\n", "id,v\n1,a\n02,b\n7,q\n"
    [rule] = compared(tmp_path, old, new, rules={"id": "lstrip0"}).rules
    assert (rule.of, rule.old, rule.new) == ("keys", (2, 1), (3, 0))
    assert rule.made_equal == 2


def test_of_cells_those_that_differ_in_bytes_are_counted(tmp_path: Path) -> None:
    old = 'id,v,w\n1,1.0,a\n2,"1,000",a\n3,x,a\n4,,a\n5,7,a\n6,0,a\n'
    new = "id,v,w\n1,1,a\n2,1000,a\n3,y,a\n4,4,a\n5,7,a\n7,0,a\n"
    d = compared(tmp_path, old, new, rules={"*": ["trim"], "v": ["decimal"]})
    trim, decimal, of_w = d.rules
    assert (trim.old, trim.new, trim.made_equal) == ((3, 0), (4, 0), 0)
    assert (decimal.old, decimal.new, decimal.made_equal) == ((2, 1), (3, 1), 2)
    assert [trim.every, decimal.every, of_w.every] == [True, False, True]
    assert not of_w.met
    assert not d.warnings()


MONEY = ("id,v,w\n1,1234.56,a\n2,2.00,b\n", 'id,v,w\n1,"1.234,56",A\n2,"2,00",b\n')


def test_a_rule_that_reads_nothing_of_a_side_warns_in_every_output(
    tmp_path: Path,
) -> None:
    d = compared(tmp_path, *MONEY, rules={"v": "decimal"})
    warning = "the rule v=decimal read 0 of 2 differing values of NEW"
    assert d.warnings() == (warning,)
    said = outputs(d)
    assert json.loads(said["json"])["warnings"] == [warning]
    assert json.loads(said["json"])["rules"] == [
        {
            "column": "v", "rule": "decimal", "of": "cells", "every": False,
            "old": {"read": 2, "unread": 0}, "new": {"read": 0, "unread": 2},
            "made_equal": 0, "side": "both", "implied": False, "codes": None,
            "source": None,
        }
    ]  # fmt: skip
    del said["json"], said["notebook"]
    assert all(warning in text for text in said.values())
    counts = (
        "v=decimal: read 2 of 2 in old, 0 of 2 in new; differing cells made equal: 0"
    )
    assert counts in said["markdown"]
    assert counts in said["junit"]
    assert '>2 of 2</td><td class="number">0 of 2</td>' in said["report"]


def test_the_values_of_a_rule_of_one_side_need_not_differ(tmp_path: Path) -> None:
    text = "id,v\n1,ab\n2,cd\n3,ef\n"
    d = compared(tmp_path, text, text, old_rules={"v": "zeropad(5)"})
    assert d.agrees
    assert d.warnings() == ("the rule v=zeropad(5) read 0 of 3 values of OLD",)


def test_a_rule_of_every_column_warns_where_one_side_has_what_it_reads(
    tmp_path: Path,
) -> None:
    d = compared(tmp_path, *MONEY, rules={"*": "decimal"})
    assert d.warnings() == ("the rule v=decimal read 0 of 2 differing values of NEW",)
    text = ("id,v\n1,a\n", "id,v\n1,b\n")
    assert len(compared(tmp_path, *text, rules={"*": "decimal"}).warnings()) == 2
    assert not compared(tmp_path, *text, rules={"*": "trim"}).warnings()


def test_a_rule_that_reads_no_key_warns(tmp_path: Path) -> None:
    d = compared(tmp_path, "id,v\nA-1,a\n", "id,v\nA-1,a\n", rules={"id": "zeropad(5)"})
    assert d.agrees
    assert d.warnings() == tuple(
        f"the rule id=zeropad(5) read 0 of 1 value of {side}" for side in ("OLD", "NEW")
    )


def test_an_agreement_over_no_rows_says_so_in_every_output(tmp_path: Path) -> None:
    d = compared(tmp_path, "id,v\n", "id,v\n")
    assert d.passes
    assert d.headline() == "AGREE: nothing to compare: 0 rows"
    assert all("nothing to compare: 0 rows" in text for text in outputs(d).values())
    assert not any("the same on both sides" in text for text in outputs(d).values())


def test_the_gate_matched_refuses_an_empty_agreement(tmp_path: Path) -> None:
    d = compared(tmp_path, "id,v\n", "id,v\n", gates=["matched >= 1"])
    assert not d.passes
    assert d.headline() == "FAIL: 0 rows are matched, at least 1"


def test_a_pass_without_a_pair_says_that_no_row_was_compared(tmp_path: Path) -> None:
    d = compared(tmp_path, "id,v\n1,a\n", "id,v\n", gates=["mismatch_rate<=0.1%"])
    assert d.passes
    said = outputs(d)
    del said["notebook"]
    assert all("no row was compared" in text for text in said.values())


def test_totals_are_named_for_what_they_are(tmp_path: Path) -> None:
    old = "id,paid,fee\n1,1.50,7.25\n2,2.00,3.00\n3,9.75,4.50\n"
    new = "id,paid,fee\n1,1.75,7.25\n2,2.00,3.00\n"
    d = compared(tmp_path, old, new)
    page = result_page.render_result(d)
    changed = page[page.index('id="totals"') : page.index('id="unmatched-totals"')]
    assert "Changed cells: old, new, delta" in changed
    assert "<code>paid</code>" in changed
    assert "<code>fee</code>" not in changed
    unmatched = page[page.index('id="unmatched-totals"') : page.index("Run facts")]
    assert '<code>fee</code></th><td class="number">4.50' in unmatched
    untouched = result_page.render_result(
        compared(tmp_path, old, old.replace("3,9.75,4.50\n", ""))
    )
    assert "Changed cells" not in untouched


def test_the_totals_say_what_they_are_over_and_all_reports_show_the_same(
    tmp_path: Path,
) -> None:
    old = "id,line,paid,fee\n1,1,1.50,7\n2,1,2.00,3\n3,1,9.75,4\n4,1,1.00,4\n"
    new = "id,line,paid,fee\n1,1,1.75,7\n2,1,2,3.0\n4,1,1.00,4\n"
    d = compared(tmp_path, old, new, rules={"*": "decimal"})
    paid = (
        "paid: 1 cell that differs: old 1.50 · new 1.75 · delta 0.25"
        " · missing rows: 9.75"
    )
    lines = str(d.totals).splitlines()
    assert paid in lines
    assert repr(d.totals) == str(d.totals)
    # Whole numbers may be codes: the result has them, and no report shows them.
    assert "line: missing rows: 1" in lines
    assert [each.column for each in d.totals_to_show] == ["paid", "fee"]
    assert "fee: 1 cell equal by a rule: old 3.0 · new 3.0 · delta 0.0 · missing" in (
        str(d.totals)
    )
    page = result_page.render_result(d)
    unmatched = page[page.index('id="unmatched-totals"') : page.index("Run facts")]
    assert "<code>paid</code>" in unmatched
    assert "<code>line</code>" not in unmatched
    assert "sum: line" not in str(d)
    # Unless a gate is about their sum.
    asked = compared(
        tmp_path, old, new, rules={"*": "decimal"}, gates="sum_delta(line)<=1"
    )
    assert [each.column for each in asked.totals_to_show] == ["line", "paid", "fee"]
    assert "sum: line: missing rows: 1" in str(asked)
    assert "sum: " + paid in str(d).replace("\n      ", " ")
    assert str(copy.copy(d.totals)) == str(d.totals)
    # A stored total does not tell what a rule makes equal.
    [stored] = [replace(each, differing=None) for each in d.totals if each.old > 3]
    columns = {each.name: each for each in d.by_column}
    both = "1 cell that differs and 1 cell equal by a rule"
    assert list_sums(stored, columns["paid"]) == [
        f"{both}: old 3.50 · new 3.75 · delta 0.25",
        "missing rows: 9.75",
    ]
    # Nothing differs, or what differs is masked.
    assert str(compared(tmp_path, old, old).totals) == NO_SUM
    masked = compared(
        tmp_path, "id,v\n1,1.50\n", "id,v\n1,2.50\n", masks={"v": "redact"}
    )
    assert (masked.counts.mismatched_cells, masked.totals) == (1, ())
    assert str(masked.totals) == NO_SUM


def test_a_delta_that_a_tolerance_hides_is_a_sum_of_its_own(tmp_path: Path) -> None:
    old = "id,paid\n1,100.00\n2,7.00\n3,9.50\n"
    new = "id,paid\n1,100.010\n2,8.000\n3,9.500\n"
    d = compared(tmp_path, old, new, rules={"paid": "decimal(abs=0.01)"})
    differ = "1 cell that differs: old 7.00 · new 8.00 · delta 1.00"
    equal = "2 cells equal by a rule: old 109.50 · new 109.51 · delta 0.01"
    assert f"paid: {differ} · {equal}" in str(d.totals)
    page = result_page.render_result(d)
    changed = page[page.index('id="totals"') :]
    assert '<td>1 cell that differs</td><td class="number">7.00</td>' in changed
    assert '<td>2 cells equal by a rule</td><td class="number">109.50</td>' in changed
    # The JSON and the tables keep the sums over all changed cells.
    [total] = json.loads(d.to_json())["totals"]
    assert (total["old"], total["delta"]) == ("116.50", "1.010")
    assert "differing" not in total


def test_amounts_of_a_line_have_the_same_decimals() -> None:
    for texts, places in (
        (("154837563.99", "154837575.990"), 2),
        (("1.50", "1.500"), 2),
        (("1.5", "10"), 1),
        (("1.055", "2.10"), 3),
        (("0.001", "0.0010"), 3),
        (("3", "4E+2"), 0),
        ((), 0),
    ):
        amounts = [Decimal(text) for text in texts]
        assert count_places(amounts) == places
        written = [f"{each:.{places}f}" for each in amounts]
        assert [Decimal(text) for text in written] == amounts


def test_the_terminal_tells_rules_and_changed_cells(tmp_path: Path) -> None:
    compared(tmp_path, *MONEY)
    rules = "--rule", "v=decimal"
    done = recon("diff", "old.csv", "new.csv", "--key", "id", *rules, cwd=tmp_path)
    assert "▲ the rule v=decimal read 0 of 2 differing values" in done.stdout
    assert "rule v=decimal: 2 of 2 values of NEW are not read" in done.stdout
    compared(tmp_path, "id,v\n1,1.50\n2,7.25\n", "id,v\n1,1.75\n")
    done = recon("diff", "old.csv", "new.csv", "--key", "id", cwd=tmp_path)
    sums = "changed cells: old 1.50 · new 1.75 · delta 0.25 · missing rows: 7.25"
    assert f"sum: v: {sums}" in done.stdout
    compared(tmp_path, "id,v\n", "id,v\n")
    done = recon("diff", "old.csv", "new.csv", "--key", "id", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("nothing to compare: 0 rows") == 1


def test_an_explanation_shows_a_key_that_only_a_rule_makes_equal(
    tmp_path: Path,
) -> None:
    compared(tmp_path, "id,v\n007,a\n", "id,v\n7,a\n", rules={"id": "lstrip0"})
    options = Options(keys=("id",), rules={"id": ("lstrip0",)})
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    [pair] = explain_key(*paths, options, ["7"]).pairs
    first = pair.cells[0]
    assert (first.column, first.old, first.new) == ("id", "007", "7")
    assert (first.state, first.rules) == ("tolerated", ("lstrip0",))
    assert not first.differs
