"""Filters of rows: which rows are compared, and where all others are counted."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import pairing_oracle
from support.flags import diff
from support.pairing_oracle import SidePlan
from support.prepared_pairs import (
    compare_by,
    expression,
    has_unreadable,
    is_emptied,
    said,
    write_table,
)
from support.program import recon

from recon_engine.command_line import rebuild_command
from recon_engine.compare.explain import explain_key
from recon_engine.config import Options, SideOptions
from recon_engine.errors import ConfigError
from recon_engine.model import Suppressible, Suppression
from recon_engine.result_document import write_markdown
from recon_engine.where_syntax import Condition, parse_where, write_exclusion


if TYPE_CHECKING:
    from pathlib import Path


NAMES = ["k", "a", "b"]
TEXTS = ["", "1", "2", "2.0", "-3", "10", "x", "é", "20200131", "2020-02-01", "a 'b'"]
RULES: list[dict[str, tuple[str, ...]]] = [
    {},
    {"a": ("decimal",)},
    {"a": ("date(%Y%m%d|%Y-%m-%d)",), "b": ("trim", "decimal")},
    {"k": ("lstrip0",), "b": ("casefold",)},
]
Rows = list[tuple[str, ...]]
Tests = tuple[pairing_oracle.Test, ...]
ROW = st.tuples(st.sampled_from(["1", "01", "2", ""]), *[st.sampled_from(TEXTS)] * 2)
FATES = st.sampled_from(["keep", "keep", "spell", "spell", "change", "drop"])
# What some of the rules make equal.
TWINS = {
    "1": "01",
    "01": "1",
    "2": "2.0",
    "2.0": "2",
    "x": "X",
    "20200131": "2020-01-31",
}
COMPARISONS = st.sampled_from(["=", "!=", "!=", "<", "<=", ">", ">=", "in"])


@st.composite
def filtered_sides(draw: st.DrawFn) -> tuple[Rows, Rows, Tests, tuple[Tests, Tests]]:
    """OLD, NEW that is made of it, tests for both sides, and those of either side."""
    old: Rows = draw(st.lists(ROW, max_size=8))
    new: Rows = []
    for row in old:
        key, a, b = row
        match draw(FATES):
            case "keep":
                new.append(row)
            case "spell":
                key = TWINS.get(key, key) if draw(st.booleans()) else key
                new.append((key, TWINS.get(a, a), TWINS.get(b, b)))
            case "change":
                new.append((key, draw(st.sampled_from(TEXTS)), b))
    new = draw(st.permutations(new)) + draw(st.lists(ROW, max_size=2))
    # Each with its place: OLD, NEW or both.
    tests = [
        (draw(st.integers(0, 2)), draw_test(draw, [*old, *new]))
        for _ in range(draw(st.integers(0, 3)))
    ]
    of_old, of_new, both = (
        tuple(test for place, test in tests if place == at) for at in range(3)
    )
    return old, new, both, (of_old, of_new)


def draw_test(draw: st.DrawFn, rows: Rows) -> pairing_oracle.Test:
    """A test that some row fulfils or just fails: its values are cells."""
    at = draw(st.integers(0, len(NAMES) - 1))
    comparison = draw(COMPARISONS)
    cells = st.sampled_from([row[at] for row in rows] or TEXTS)
    values = st.lists(cells, min_size=1, max_size=3 if comparison == "in" else 1)
    return NAMES[at], comparison, tuple(draw(values))


@given(
    drawn=filtered_sides(),
    rules=st.sampled_from(RULES),
    how=st.sampled_from(["kernel", "kernel", "memory", "disk", "pieces", "spark"]),
)
def test_filters_give_what_the_oracle_says(
    tmp_path: Path,
    drawn: tuple[Rows, Rows, Tests, tuple[Tests, Tests]],
    rules: dict[str, tuple[str, ...]],
    how: str,
) -> None:
    old, new, both, own = drawn
    plans = SidePlan(own=own[0], both=both), SidePlan(own=own[1], both=both)
    sides = [
        [dict(zip(NAMES, row, strict=True)) for row in each] for each in (old, new)
    ]
    options = Options(
        keys=("k",),
        rules=rules,
        where=expression(both),
        old=SideOptions(where=expression(own[0])),
        new=SideOptions(where=expression(own[1])),
    )
    paths = (
        write_table(tmp_path / "o.csv", NAMES, old),
        write_table(tmp_path / "n.csv", NAMES, new),
    )
    chains = pairing_oracle.chains_of(rules)
    if has_unreadable(plans, chains):
        with pytest.raises(ConfigError, match="cannot read"):
            compare_by(how, paths, options)
        return
    wanted = pairing_oracle.compare(
        sides[0], sides[1], ["k"], ["a", "b"], chains, plans
    )
    if is_emptied(wanted.old) or is_emptied(wanted.new):
        with pytest.raises(ConfigError, match="leaves no row"):
            compare_by(how, paths, options)
        return
    d = compare_by(how, paths, options)
    assert said(d, ["a", "b"]) == wanted
    if wanted.old.unpairable or wanted.new.unpairable:
        assert not d.agrees
    listed = [row["side"] for row in d.unpairable().to_dicts()]
    assert listed.count("old") == wanted.old.unpairable
    assert listed.count("new") == wanted.new.unpairable


OLD = pl.DataFrame(
    {
        "ID": ["1", "2", "3"],
        "CLOSED": ["2025-12-01", "2026-01-10", "2026-02-01"],
        "PAID": ["10", "20", "30"],
    }
)
NEW = pl.DataFrame(
    {
        "ID": ["2", "3"],
        "CLOSED": ["2026-01-10", "2026-02-01"],
        "PAID": ["20", "31"],
    }
)
CLOSED = "CLOSED >= 2026-01-01"


def test_an_agreement_names_the_rows_that_it_is_not_about() -> None:
    d = diff(OLD, OLD.head(2), keys="ID", where="ID != 3")
    assert d.headline() == "AGREE on 2 of 3 rows (1 left out)"
    assert d.agrees
    assert "old 3 = 2 matched + 0 missing + 1 left out" in d.accounting()
    assert "AGREE on 2 of 3 rows (1 left out)" in d.to_markdown()
    assert "2 of 3 rows agree (1 left out)." in (page := d.to_html())
    assert "100.00% of 2 old rows" in page
    assert d.to_dict()["old"]["left_out"] == 1  # type: ignore[index]
    assert "left_out" not in d.to_dict()["new"]  # type: ignore[operator]
    d = diff(OLD, OLD, keys="ID", where="ID != 3", old_where="ID != 2")
    assert d.headline() == (
        "AGREE on 1 of 3 rows (2 of OLD and 1 of NEW left out, 1 partner left out)"
    )
    assert "1 of 3 rows agrees (2 of OLD and 1 of NEW left out" in d.to_html()
    # A gate that fails is a headline of its own.
    d = diff(OLD, OLD, keys="ID", where="ID != 3", gates=["matched>=3"])
    assert d.headline() == "FAIL: 2 rows are matched, at least 3"
    for text in (d.to_html(), d._repr_html_()):
        assert "2 of 3 rows agree (1 left out)." in text


def test_filters_that_leave_no_pair_are_no_agreement(tmp_path: Path) -> None:
    sides = [
        pl.DataFrame({"ID": ["1", "3"], "S": of}) for of in (["a", "b"], ["b", "a"])
    ]
    d = diff(*sides, keys="ID", old_where="S = 'a'", new_where="S = 'a'")
    assert (d.agrees, d.passes, d.verdict) == (False, False, "differ")
    assert d.headline() == (
        "DIFFER: no row was compared: 0 rows are matched"
        " (1 left out, 1 partner left out)"
    )
    for name, side in zip(("old", "new"), sides, strict=True):
        side.write_csv(tmp_path / f"{name}.csv")
    filters = ("--old-where", "S = 'a'", "--new-where", "S = 'a'")
    said = recon(
        "diff", "old.csv", "new.csv", "-k", "ID", *filters, "-o", "r.xml", cwd=tmp_path
    )
    assert said.returncode == 1
    assert 'failures="1"' in (tmp_path / "r.xml").read_text()


def test_rows_that_are_accepted_as_missing_pass_beside_a_filter() -> None:
    new = OLD.with_columns(ID=pl.col("ID") + "x")
    accepted = [
        Suppression(what=what, reason="known", owner="ops", until=date.max)
        for what in (Suppressible.MISSING, Suppressible.EXTRA)
    ]
    d = diff(OLD, new, keys="ID", where=CLOSED, suppressions=accepted)
    assert d.old.left_out
    assert (d.counts.matched, d.agrees, d.passes) == (0, False, True)


def test_a_pair_stays_if_one_of_its_rows_fulfils_the_filter() -> None:
    new = OLD.with_columns(CLOSED=pl.lit("2026-03-01"))
    d = diff(OLD, new, keys="ID", where=CLOSED)
    assert (d.counts.matched, d.old.left_out, d.new.left_out) == (3, 0, 0)
    assert d.counts.mismatched_rows == 3


@pytest.mark.slow
def test_a_row_whose_partner_is_left_out_is_neither_missing_nor_extra() -> None:
    d = diff(OLD, OLD, keys="ID", new_where=CLOSED)
    assert (d.counts.matched, d.counts.missing) == (2, 0)
    assert (d.old.partner_left_out, d.new.left_out) == (1, 1)
    assert d.headline() == "AGREE on 2 of 3 rows (1 left out, 1 partner left out)"


def test_the_filter_and_its_counts_are_in_every_output() -> None:
    d = diff(OLD, NEW, keys="ID", where=CLOSED)
    line = f"--where {CLOSED}: 1 row of OLD and 0 of NEW left out"
    assert [each.line for each in d.applied] == [line]
    assert line in write_markdown(d).replace("\\", "")
    assert d.headline() == "DIFFER: 1 of 2 matched rows differs (1 left out)"
    assert d.summary()["left_out_old"] == 1
    d = diff(OLD, OLD, keys="ID", where="ID != 9")
    assert [each.line for each in d.applied] == ["--where ID != 9: no effect"]


def test_a_value_that_a_filter_cannot_read_makes_its_row_unpairable() -> None:
    old = OLD.with_columns(PAID=pl.Series(["10", "abc", ""]))
    d = diff(
        old, old, keys="ID", where="PAID > 9", rules={"PAID": "decimal"},
        masks={"PAID": "redact"},
    )  # fmt: skip
    assert (d.counts.matched, d.old.unpairable, d.new.unpairable) == (1, 2, 2)
    assert (d.agrees, d.passes) == (False, False)
    assert d.headline() == "DIFFER: 4 unpairable"
    assert "abc" not in d.to_json()
    first, *_ = d.unpairable().to_dicts()
    assert first["reason"] == "--where cannot read PAID"
    assert "(redacted)" in first["row"]
    listed = json.loads(d.to_json())["unpairable_sample"]
    assert [(each["side"], each["row"]["ID"]) for each in listed] == [
        ("old", "2"),
        ("old", "3"),
        ("new", "2"),
        ("new", "3"),
    ]
    assert listed[0] == first | {"row": json.loads(first["row"])}


def test_unpairable_rows_are_said_of_the_option_that_they_are_due_to(
    tmp_path: Path,
) -> None:
    """Of no other option, and of all rows, not only of those that are listed."""
    old = [("1-1", "5", "a"), ("2", "6", "a"), ("3", "6", "a"), ("4-1", "x", "a")]
    # A key that is not listed, and one that cannot be folded.
    old += [("9-1", "7", "a"), ("5-1", "7", "a"), ("5-1", "7", "b")]
    options = Options(
        keys=("c", "l"),
        rules={"amount": ("decimal",)},
        where="amount > 1",
        detail_limit=1,
        old=SideOptions(
            derive=('c,l=split(claim,"-")', "d=slice(t,1)"),
            rules={"c": ("map(1=1,4=4,5=5)",)},
            fold=True,
        ),
        ignore=("d",),
    )
    new = [("1", "1", "5", "a"), ("6", "1", "x", "a")]
    paths = (
        write_table(tmp_path / "o.csv", ["claim", "amount", "t"], old),
        write_table(tmp_path / "n.csv", ["c", "l", "amount", "t"], new),
    )
    for how in ("kernel", "disk", "spark"):
        d = compare_by(how, paths, options)
        assert (d.old.unpairable, d.new.unpairable) == (6, 1)
        assert [each.line.partition(": ")[2] for each in d.applied] == [
            "derived in 7 rows of OLD; 2 unpairable",
            "no effect",
            "0 rows of OLD and 0 of NEW left out; 1 and 1 could not be read",
        ]


def test_a_false_condition_decides_before_one_that_cannot_be_read() -> None:
    old = OLD.with_columns(PAID=pl.Series(["10", "abc", "12"]))
    d = diff(old, old, keys="ID", where="ID != 2 and PAID > 9",
                rules={"PAID": "decimal"})  # fmt: skip
    assert (d.old.left_out, d.old.unpairable, d.agrees) == (1, 0, True)


def test_rows_that_may_be_among_rejected_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("ID,A\n1,x\n2,y\n")
    (tmp_path / "n.csv").write_text("ID,A\n1,x\n2,y,z\n")
    d = diff(tmp_path / "o.csv", tmp_path / "n.csv", keys="ID",
                on_bad_row="quarantine")  # fmt: skip
    assert d.warnings() == ("1 missing may be among 1 rejected of new",)
    d = diff(tmp_path / "n.csv", tmp_path / "o.csv", keys="ID",
                on_bad_row="quarantine")  # fmt: skip
    assert d.warnings() == ("1 extra may be among 1 rejected of old",)


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_filter_that_leaves_no_row_is_an_error(side: str) -> None:
    with pytest.raises(ConfigError, match="leaves no row of OLD"):
        diff(OLD, NEW, keys="ID", where="PAID = 'none'")
    with pytest.raises(ConfigError, match=f"leaves no row of {side.upper()}"):
        diff(OLD, NEW, keys="ID", **{f"{side}_where": "ID = 9"})
    assert diff(OLD.clear(), NEW.clear(), keys="ID", where="ID = 9").agrees


@pytest.mark.parametrize(
    "text",
    [
        "A", "A =", "= 1", "A = 'x", "A = 1 or B = 2", "A = 1 B = 2", "A = 1 and",
        "A in", "A in ()", "A in ('x',)", "A in 'x'", "A == 1", "A ! 1", "A in ('x'",
        "'A' = 1", "A = (1)", '"" = 1', 'A = "x"',
    ],
)  # fmt: skip
def test_a_malformed_filter_is_a_usage_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--where") as caught:
        parse_where(text)
    assert "x" not in caught.value.message.replace("expr", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = 1 or B = 2", "'and' is missing after condition 1; 'or' is not supported"),
        ("A = 1 B = 2", "'and' is missing after condition 1"),
        ("A = 'x", "character 5 is not part of a condition"),
        ("A = 1 and = 2", "condition 2 does not begin with a column"),
        (
            "A = 1 and 123",
            "the column of condition 2 is not followed by =, !=, <, <=, >, >= or in",
        ),
        ("A = 1 and 123 >", "condition 2 has no value"),
        ("123 in 4", "the list of condition 1 is not written as ('a', 'b')"),
    ],
)
def test_a_malformed_filter_is_told_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_where(text)
    assert caught.value.message == f"--where: {message}"


@given(
    st.lists(
        st.sampled_from(
            [
                "A",
                "=",
                "and",
                "in",
                "(",
                ",",
                ")",
                "SECRET",
                '"SECRET"',
                "'SECRET'",
                "'",
            ]
        ),
        max_size=8,
    )
)
@example(["A", "=", "'SECRET'", "and", "SECRET"])
@example(['"SECRET"', "in", "A"])
def test_no_error_of_a_malformed_filter_has_a_part_of_it(words: list[str]) -> None:
    with suppress(ConfigError):
        parse_where(" ".join(words))
        return
    with pytest.raises(ConfigError) as caught:
        parse_where(" ".join(words))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["A", "b c", 'x"y', "AND", "in", "a=b", "1st"])
@pytest.mark.parametrize("text", ["", "it's", "a and b", '"', "2026-01-01"])
def test_a_written_condition_is_read_back(name: str, text: str) -> None:
    written = write_exclusion(name, text)
    assert parse_where(written) == (Condition(name, "!=", (text,)),)


def test_a_filter_is_read_as_it_is_written() -> None:
    found = parse_where("""A>=2026-01-01 AND "b c" in ('it''s', x) and D != ''""")
    assert found == (
        Condition("A", ">=", ("2026-01-01",)),
        Condition("b c", "in", ("it's", "x")),
        Condition("D", "!=", ("",)),
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"where": "NONE = 1"}, "no column that both files have is called NONE"),
        ({"where": "CLOSE = 1"}, "Did you mean CLOSED"),
        ({"where": "X = 1"}, "no column that both files have is called X"),
        ({"old_where": "X = 1"}, "--old-where: no column"),
        ({"where": "PAID > x", "rules": {"PAID": "decimal"}}, "cannot read"),
        ({"where": "PAID = x", "rules": {"PAID": "decimal"}}, "cannot read"),
    ],
)
def test_a_filter_that_does_not_fit_is_a_usage_error(
    options: dict[str, Any], words: str
) -> None:
    new = NEW.with_columns(X=pl.lit("1"))
    with pytest.raises(ConfigError, match=words):
        diff(OLD, new, keys="ID", ignore="X", **options)
    assert diff(OLD, new, keys="ID", ignore="X", new_where="X = 1").counts.matched


def test_a_filter_uses_the_rules_of_a_column_that_is_not_compared() -> None:
    d = diff(
        OLD, NEW, keys="ID", compare_only="PAID", where="CLOSED >= 20260101",
        rules={"CLOSED": "date(%Y-%m-%d|%Y%m%d)"},
    )  # fmt: skip
    assert (d.counts.matched, d.old.left_out) == (2, 1)
    assert [column.name for column in d.by_column] == ["PAID"]


def test_a_key_that_is_left_out_is_explained(tmp_path: Path) -> None:
    OLD.write_csv(tmp_path / "o.csv")
    options = Options(keys=("ID",), where=CLOSED)
    found = explain_key(tmp_path / "o.csv", tmp_path / "o.csv", options, ["1"])
    assert [(each.side, each.reason, each.row.line) for each in found.aside] == [
        ("old", "left out", 2),
        ("new", "left out", 2),
    ]
    assert not found.agrees
    assert explain_key(tmp_path / "o.csv", tmp_path / "o.csv", options, ["2"]).agrees
    done = recon("explain", "o.csv", "o.csv", "1", "-k", "ID", "--where", CLOSED,
                 cwd=tmp_path)  # fmt: skip
    assert found.disagreement == "no row of the key is compared: left out"
    again = tmp_path / "again.csv"
    again.write_text("ID,PAID\n1,10\n1,x\n2,9\n2,5\n")
    options = Options(keys=("ID",), rules={"PAID": ("decimal",)}, where="PAID > 8")
    one, two = (explain_key(again, again, options, [key]) for key in "12")
    assert (
        one.disagreement == "a row of the key is not compared: --where cannot read PAID"
    )
    # The other row is left out, which is no difference.
    assert two.agrees
    assert "2 set aside" in done.stdout
    assert "left out" in done.stdout


def test_the_command_line_and_the_file_filter_alike(tmp_path: Path) -> None:
    OLD.write_csv(tmp_path / "old.csv")
    NEW.write_csv(tmp_path / "new.csv")
    flags = ("--where", CLOSED, "--new-where", "ID != 2")
    given = recon("diff", "old.csv", "new.csv", "-k", "ID", *flags, "-f", "json",
                  cwd=tmp_path)  # fmt: skip
    (tmp_path / "recon.toml").write_text(
        f'keys = "ID"\nwhere = "{CLOSED}"\n[new]\nwhere = "ID != 2"\n'
    )
    filed = recon("diff", "old.csv", "new.csv", "-f", "json", cwd=tmp_path)
    results = [json.loads(each.stdout) for each in (given, filed)]
    assert results[0] | {"engine": 0} == results[1] | {"engine": 0}
    assert results[0]["old"]["partner_left_out"] == 1
    wrong = recon("diff", "old.csv", "new.csv", "--where", "CLOSED = = 1", cwd=tmp_path)
    assert (wrong.returncode, "USAGE_ERROR" in wrong.stderr) == (2, True)
    line = rebuild_command(
        Options(keys=("ID",), where=CLOSED, new=SideOptions(where="ID != 2")), "o", "n"
    )
    assert line == (
        "recon diff o n --key ID --where 'CLOSED >= 2026-01-01' --new-where 'ID != 2'"
    )


def test_a_number_that_is_compared_as_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("ID,N,DAY\n1,9,2026-01-02\n2,10,2026-01-03\n")
    (tmp_path / "n.csv").write_text("ID,N,DAY\n1,9,2026-01-02\n2,10,2026-01-03\n")

    def shown(where: str, *flags: str) -> str:
        command = ("diff", "o.csv", "n.csv", "-k", "ID", "--new-where", where, *flags)
        return recon(*command, cwd=tmp_path).stdout

    said = "--new-where: N is compared as text, where 9 is above 10; --rule N=decimal"
    assert "AGREE on 1 of 2 rows" in shown("N > 8")
    assert f"  {said} compares numbers\n" in shown("N > 8")
    assert "compared as text" in shown("N > 8.5 and N <= '9'")
    # With the rule it is no text; and no order, a day and a word are compared as meant.
    assert "compared as text" not in shown("N > 8", "--rule", "N=decimal")
    for where in ("N = 9", "N != 8", "DAY > 2026-01-02", "DAY > A"):
        assert "compared as text" not in shown(where)
    assert "compared as text" not in shown("N > 8", "-f", "json")
