"""Hints are measured on what differs: how many, by which flag, and when not."""

from __future__ import annotations

import os
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recon_engine as rx
from recon_engine.analysis import hints
from recon_engine.analysis.patterns import group_changes
from recon_engine.kinds import classify_cells
from recon_engine.model import Hint, HintKind
from recon_engine.rules.assembly import GivenRules


LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
Cells = list[tuple[str, str]]


def hinted(cells: Cells, *given: str) -> list[tuple[str, int]]:
    """The flags for a column with these cells, and how many each one settles."""
    frame = pl.DataFrame(cells, schema=["old", "new"], orient="row")
    found = hints.for_column(
        "C",
        group_changes(classify_cells(frame)),
        GivenRules([(False, each) for each in given]),
    )
    assert {hint.total for hint in found} <= {len(cells)}
    return [(hint.flag.removeprefix("--rule "), hint.count) for hint in found]


ZEROS: Cells = [("007", "7")]
CASE: Cells = [("a", "A")]
ENDS: Cells = [("a ", "a")]
NUMBER: Cells = [("1.50", "1.5")]
DATE: Cells = [("20260105", "2026-01-05")]
WORD: Cells = [("NULL", "")]
ROUNDED: Cells = [("1.234", "1.23"), ("2.345", "2.35"), ("9.999", "10.00")]
CUT: Cells = [("1.239", "1.23"), ("2.349", "2.34"), ("9.999", "9.99")]
REAL: Cells = [("x", "y")]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (ZEROS, [("C=lstrip0", 1)]),
        (CASE, [("C=casefold", 1)]),
        (ENDS, [("C=trim", 1)]),
        (NUMBER, [("C=decimal", 1)]),
        (DATE, [("'C=date(%Y%m%d|%Y-%m-%d)'", 1)]),
        (WORD, [("'C=nulls(NULL)'", 1)]),
        ([("NULL", "NA"), ("", "NA")], [("'C=nulls(NA,NULL)'", 2)]),
        (ROUNDED, [("'C=decimal(abs=0.005)'", 3)]),
        (CUT, [("'C=decimal(abs=0.01)'", 3)]),
        ([("20260105 00:00:00", "x")], []),
        ([("2026-01-05 00:00:00", "20260105")],
         [("'C=date(%Y-%m-%d 00:00:00|%Y%m%d)'", 1)]),
        ([(" 1.50", "1.5")], [("C=trim --rule C=decimal", 1)]),
        (ZEROS * 2 + CASE, [("C=lstrip0", 2), ("C=casefold", 1)]),
        (ZEROS * 4 + CASE * 2 + [("00a", "A")], [("C=lstrip0", 4), ("C=casefold", 3)]),
        (CASE * 4 + ZEROS * 3 + WORD,
         [("C=casefold", 4), ("C=lstrip0", 3), ("'C=nulls(null)'", 1)]),
        (ZEROS * 4 + ENDS * 3, [("C=trim --rule C=lstrip0", 7)]),
        (ZEROS * 4 + CASE * 3 + WORD * 2 + DATE,
         [("C=lstrip0", 4), ("C=casefold", 3), ("'C=nulls(null)'", 2)]),
        (REAL, []),
        ([("10.00", "12.00"), ("5.00", "7.00")], []),
    ],
)  # fmt: skip
def test_a_column_is_given_the_rules_that_settle_most(
    cells: Cells, expected: list[tuple[str, int]]
) -> None:
    assert hinted(cells) == expected


def test_what_settles_less_than_one_in_a_hundred_is_not_worth_a_rule() -> None:
    assert hinted(ZEROS + REAL * 99) == [("C=lstrip0", 1)]
    assert hinted(ZEROS + REAL * 100) == []


def test_two_roundings_are_none_yet() -> None:
    assert hinted(ROUNDED[:2]) == []


def test_a_tolerance_that_would_swallow_other_changes_is_not_proposed() -> None:
    """One in twenty of what it settles may be something else, and no more."""
    near = [("5.00", "5.01")]
    assert hinted(CUT * 7 + near) == [("'C=decimal(abs=0.01)'", 22)]
    assert hinted(CUT * 6 + near) == []


def test_the_tolerance_that_settles_most_roundings_is_proposed() -> None:
    """Other changes that one would settle on the way are no roundings."""
    others = [("5.001", "5.002")]
    assert hinted(ROUNDED * 7 + others + CUT[:1]) == [("'C=decimal(abs=0.01)'", 23)]


def test_a_column_that_has_a_tolerance_is_given_no_rule_after_it() -> None:
    assert hinted(ZEROS, "decimal(abs=0.5)") == []


def test_a_hint_counts_what_it_settles_after_the_rules_given() -> None:
    assert hinted([("A 1.50", "a 1.5")], "casefold") == []
    assert hinted([(" 007", "7")], "trim") == [("C=lstrip0", 1)]


NEAR = st.tuples(
    *[st.sampled_from([" 007", "7", "7.0", "7.004", "a", "A ", "NULL", ""])] * 2
)


@settings(max_examples=1_000 if LONG else 20)
@given(st.lists(NEAR.filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=40))
def test_a_hint_does_what_it_says(cells: Cells) -> None:
    """Each flag, given after those before it, makes so many more cells equal."""
    keys = [f"{at:03}" for at in range(len(cells))]
    sides = [
        pl.DataFrame({"ID": keys, "C": [cell[at] for cell in cells]}) for at in (0, 1)
    ]
    given, settled = list[str](), 0
    for hint in rx.diff(*sides, keys="ID").hints:
        assert hint.kind is HintKind.RULE
        given += [
            each.partition("=")[2].strip("'") for each in hint.flag.split("--rule ")[1:]
        ]
        settled += hint.count
        found = rx.diff(
            *sides, keys="ID", rules={"C": [each.strip(" '") for each in given]}
        )
        assert found.counts.tolerated_cells == settled
        assert found.counts.mismatched_cells == len(cells) - settled


# Keys


Rows = Sequence[tuple[str, str, str]]


def keyed(old: Rows, new: Rows, *keys: str) -> rx.Reconciliation:
    names = ["ID", "LINE", "X"]
    sides = [pl.DataFrame(rows, schema=names, orient="row") for rows in (old, new)]
    return rx.diff(*sides, keys=keys or ("ID", "LINE"))


def told(hints: tuple[Hint, ...]) -> list[tuple[str, str, int, int]]:
    return [(hint.kind, hint.flag, hint.count, hint.total) for hint in hints]


def test_a_key_column_that_was_made_anew_is_to_be_dropped() -> None:
    old = [(f"{at}", "1", f"x{at}") for at in range(100)]
    new = [(key, "2" if at < 30 else "1", x) for at, (key, _, x) in enumerate(old)]
    d = keyed(old, new)
    assert told(d.hints) == [("drop_key", "--key ID", 30, 30)]
    [hint] = d.hints
    assert hint.text == (
        "30 rows are missing; 100% would match an extra row with another LINE"
    )
    assert d.remainder() == "0 of 30 missing rows · 0 of 30 extra rows"
    followed = keyed(old, new, "ID")
    assert (followed.counts.missing, followed.counts.mismatched_rows) == (0, 30)


def test_a_key_column_is_kept_that_tells_rows_apart() -> None:
    """Of two lines of a claim, which is which cannot be told without the line."""
    old = [(f"{at // 2}", f"{at % 2}", "x") for at in range(100)]
    assert keyed(old, [(key, f"{line}9", x) for key, line, x in old]).hints == ()


def test_a_key_column_is_kept_if_most_rows_are_missing_without_it_as_well() -> None:
    old = [(f"{at}", "1", "x") for at in range(100)]
    gone = [(f"{key}0{key}", line, x) for key, line, x in old]
    half = [(key, "2", x) for key, _, x in old[:50]] + gone[50:]
    assert [hint.kind for hint in keyed(old, half).hints] == ["drop_key"]
    assert keyed(old, half[1:50] + gone[49:]).hints == ()


def test_rules_of_the_key_go_before_a_key_less() -> None:
    """Half drifted by zeros, half renumbered: both are told, and what each pairs."""
    old = [(f"{at:04}", "1", f"x{at}") for at in range(100)]
    new = [
        (key.lstrip("0") or "0", "1", x) if at % 2 else (key, "2", x)
        for at, (key, _, x) in enumerate(old)
    ]
    d = keyed(old, new)
    assert told(d.hints) == [
        ("key_rule", "--rule ID=lstrip0", 50, 100),
        ("drop_key", "--key ID", 100, 100),
    ]
    assert d.remainder() == "0 of 100 missing rows · 0 of 100 extra rows"


def test_a_rule_that_several_key_columns_need_is_one_hint() -> None:
    old = [(f"a{at}", f"b{at}", "x") for at in range(20)]
    new = [(key.upper(), line.upper(), x) for key, line, x in old]
    assert told(keyed(old, new).hints) == [
        ("key_rule", "--rule ID=casefold --rule LINE=casefold", 20, 20)
    ]


def test_rows_pair_up_one_to_one() -> None:
    """Three are missing and two extra under one normal key: two pairs."""
    old = [("007", "1", "x")] * 3
    new = [("7", "1", "x")] * 2
    assert told(keyed(old, new).hints) == [("key_rule", "--rule ID=lstrip0", 2, 3)]


def test_a_rule_that_pairs_less_than_one_in_a_hundred_is_no_hint() -> None:
    old = [("007", "1", "x"), *((f"a{at}", "1", "x") for at in range(100))]
    new = [("7", "1", "x"), *((f"b{at}", "1", "x") for at in range(100))]
    assert keyed(old, new).hints == ()
    assert told(keyed(old[:-1], new).hints) == [
        ("key_rule", "--rule ID=lstrip0", 1, 100)
    ]


def test_names_in_flags_are_quoted_for_the_shell() -> None:
    old = pl.DataFrame({"A KEY": ["007"], "PAID, $": ["1.0"]})
    new = pl.DataFrame({"A KEY": ["7"], "PAID, $": ["1"]})
    [hint] = rx.diff(old, new, keys="A KEY").hints
    assert hint.flag == "--rule 'A KEY=lstrip0'"
    [hint] = rx.diff(old, new, keys="A KEY", rules={"A KEY": "lstrip0"}).hints
    assert hint.flag == "--rule 'PAID, $=decimal'"


# Names


def renamed(old: list[str], new: list[str]) -> list[tuple[str, int, int]]:
    """The flags for a column of another name in NEW, and in how many rows it agrees."""
    keys = [f"{at:03}" for at in range(len(old))]
    sides = (pl.DataFrame({"ID": keys, "A": old}), pl.DataFrame({"ID": keys, "B": new}))
    found = rx.diff(*sides, keys="ID", on_schema_drift="compare").hints
    return [(hint.flag, hint.count, hint.total) for hint in found]


def test_a_renamed_column_agrees_in_four_of_five_rows() -> None:
    old = [f"v{at}" for at in range(100)]
    assert renamed(old, [*old[:80], *["x"] * 20]) == [("--map A=B", 80, 100)]
    assert renamed(old, [*old[:79], *["x"] * 21]) == []


def test_a_renamed_column_may_be_written_in_another_way() -> None:
    days = [f"202601{at % 28 + 1:02}" for at in range(100)]
    spelled = [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in days]
    assert renamed(days, spelled) == [("--map A=B", 100, 100)]


def test_rows_in_which_neither_says_anything_tell_of_no_name() -> None:
    old = ["", *(f"v{at}" for at in range(9))] * 10
    assert renamed(old, old) == [("--map A=B", 90, 90)]
    assert renamed(["x"] * 100, ["x"] * 100) == []
    assert renamed([""] * 100, [""] * 100) == []


def test_a_rule_of_the_key_leaves_the_hints_of_names() -> None:
    """Rows are matched by the key as its rules read it."""
    old = pl.DataFrame({"ID": [f"{at:05}" for at in range(50)], "A": range(50)})
    new = pl.DataFrame({"NR": [f"{at} " for at in range(50)], "B": range(50)})
    found = rx.diff(
        old, new, keys="ID", renames={"ID": "NR"}, on_schema_drift="compare",
        rules={"ID": ["trim", "lstrip0"]},
    ).hints  # fmt: skip
    assert [(h.flag, h.count, h.total) for h in found] == [("--map A=B", 50, 50)]
    by_new_name = rx.diff(
        old, new, keys="ID", renames={"ID": "NR"}, on_schema_drift="compare",
        rules={"NR": ["trim", "lstrip0"]},
    ).hints  # fmt: skip
    assert by_new_name == found


@pytest.mark.parametrize("form", ["{:08}", "0{:03}/12/31", "31.12.0{:03}"])
def test_no_date_before_the_year_1000_is_evidence_of_a_name(form: str) -> None:
    """00051231 is the number 51231, and no day of the year 5."""
    numbers = [at * 10_000 + 1231 for at in range(1, 90)]
    if form == "{:08}":
        padded = [form.format(number) for number in numbers]
        assert renamed(padded, [f"{number}" for number in numbers]) == [
            ("--map A=B", 89, 89)
        ]
    else:
        spelled = [form.format(at) for at in range(1, 90)]
        days = [f"{at:04}-12-31" for at in range(1, 90)]
        assert renamed(spelled, days) == []


def test_a_rule_that_a_later_one_makes_needless_is_no_hint() -> None:
    """The tolerance settles what `decimal` settles, so it is pasted alone."""
    assert hinted(NUMBER * 9 + CUT) == [("'C=decimal(abs=0.01)'", 12)]
    assert hinted(ENDS * 9 + CUT) == [("C=trim", 9), ("'C=decimal(abs=0.01)'", 3)]
