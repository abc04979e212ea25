"""Hints are measured on what differs: how many, by which flag, and when not."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recon_engine as rx
from recon_engine.analysis import column_hints, key_hints
from recon_engine.analysis.code_hints import name_code_file, read_codes, without_codes
from recon_engine.analysis.hints import HINTS
from recon_engine.analysis.notations import FORMATS, find_formats
from recon_engine.analysis.patterns import group_changes
from recon_engine.hint_settings import as_arguments, read_settings
from recon_engine.kinds import classify_cells
from recon_engine.model import Hint, HintKind, Suppressible
from recon_engine.rules.assembly import GivenRules


LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
EXAMPLES = 1_000 if LONG else min(20, settings().max_examples)
Cells = list[tuple[str, str]]


@given(st.dates(date(1000, 1, 1), date(2999, 12, 31)))
def test_a_day_of_each_format_is_found_by_its_length(day: date) -> None:
    for _, form in FORMATS:
        assert form in find_formats(pl.Series([f" {day.strftime(form)} "]))


def hints_of(cells: Cells, *given: str) -> list[Hint]:
    """The hints for a column with these cells."""
    frame = pl.DataFrame(cells, schema=["old", "new"], orient="row")
    return column_hints.for_column(
        "C",
        group_changes(classify_cells(frame)),
        GivenRules(tuple((False, each) for each in given)),
    )


def hinted(cells: Cells, *given: str) -> list[tuple[str, int]]:
    """The flags for a column with these cells, and how many each one settles."""
    found = hints_of(cells, *given)
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
        # By `trim` alone no cell is equal.
        ([(" 0.50", "0.5")] * 3 + [(" 1.234", "1.23")] * 3,
         [("C=trim --rule 'C=decimal(abs=0.005)'", 6)]),
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


OF_SOURCES: list[tuple[Cells, list[tuple[str, int]]]] = [
    ([("1.234,50", "1234.5"), ("2,00", "2.00")],
     [("--old-rule 'C=decimal(comma)'", 2)]),
    ([("1234.5", "1.234,50")], [("--new-rule 'C=decimal(comma)'", 1)]),
    ([("1.234,50", "1234,5")], [("'C=decimal(comma)'", 1)]),
    ([("$1,234.50", "1234.5"), ("(45.00)", "-45"), ("$4.00", "4.01")],
     [("'C=decimal(money=$)'", 2)]),
    ([("1,50 €", "1.5"), ("2,00 €", "2")],
     [("--old-rule 'C=decimal(comma,money=€)'", 2)]),
    ([("1.5E+06", "1500000")], [("'C=decimal(exp)'", 1)]),
    ([("123.45-", "-123.45")], [("'C=decimal(trailing)'", 1)]),
    ([("12.5%", "0.125")], [("'C=decimal(percent)'", 1)]),
    ([("0000012345", "123.45"), ("0000000100", "1.00"), ("7", "0.07")],
     [("--old-rule 'C=scale(2)'", 3)]),
    ([("01/02/2026", "02/01/2026"), ("12/31/2025", "31/12/2025"),
      ("03/04/2026", "04/03/2026")],
     [("--old-rule 'C=date(%m/%d/%Y)' --new-rule 'C=date(%d/%m/%Y)'", 3)]),
    ([("2026-01-05 10:00:00", "2026-01-05 15:00:00"),
      ("2026-01-05 23:30:00", "2026-01-06 04:30:00"),
      ("2026-07-05 10:00:00", "2026-07-05 15:00:00")],
     [(("--old-rule 'C=timestamp(%Y-%m-%d %H:%M:%S,zone=Etc/GMT+5)'"
       " --new-rule 'C=timestamp(%Y-%m-%d %H:%M:%S,zone=UTC)'"), 3)]),
    ([("2026-01-05 10:00:00", "2026-01-05T15:00:00Z"),
      ("2026-07-05 10:00:00", "2026-07-05T14:00:00Z"),
      ("2026-07-05 10:00:01", "2026-07-05T14:00:01Z")],
     [(("--old-rule 'C=timestamp(%Y-%m-%d %H:%M:%S,zone=America/New_York)'"
       " --new-rule 'C=timestamp(%Y-%m-%dT%H:%M:%S%z)'"), 3)]),
    ([(f"2026-01-05T04:3{n}:00+00:00", f"2026-01-05 10:0{n}:00.0") for n in range(3)],
     [(("--old-rule 'C=timestamp(%Y-%m-%dT%H:%M:%S%z)'"
       " --new-rule 'C=timestamp(%Y-%m-%d %H:%M:%S.%f,zone=Asia/Kolkata)'"), 3)]),
    ([(f"2026-01-05 10:00:0{n}", f"2026-01-05T10:00:0{n}.000") for n in range(3)],
     [(("--old-rule 'C=timestamp(%Y-%m-%d %H:%M:%S,zone=UTC)'"
       " --new-rule 'C=timestamp(%Y-%m-%dT%H:%M:%S.%f,zone=UTC)'"), 3)]),
    ([("K\u00f6ln", "Ko\u0308ln")], [("C=nfc", 1)]),
    ([("A1", "A1\u200b"), ("a\u00a0 b", "a b")], [("C=blanks", 2)]),
    ([("a\r\nb", "a\nb")], [("C=newlines", 1)]),
    ([('="00123"', "00123"), ("'7", "7")], [("C=unwrap", 2)]),
    ([("E11.9", "E119"), ("J45.40", "J4541")], [("'C=strip(.)'", 1)]),
    ([("(555) 010-0001", "5550100001")], [("'C=strip( ()-)'", 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "expected"), OF_SOURCES)
def test_the_notation_of_a_source_is_recognized(
    cells: Cells, expected: list[tuple[str, int]]
) -> None:
    assert hinted(cells) == expected


@pytest.mark.parametrize(
    "cells",
    [
        # Another currency, several currencies, and a point that is by chance.
        [("$4", "€4"), ("5", "6")],
        [("1", "100"), ("10", "1"), ("3", "2")],
        [("12345678.00", "1.2E7")],
    ],
)
def test_no_notation_is_proposed_that_explains_nothing(cells: Cells) -> None:
    assert hinted(cells) == []


VALUES = [
    ["1.234,50", "7,00", "12,5", "0,01"], ["$1,234.50", "(45.00)", "$7.00", "$0.10"],
    ["1.5E+06", "2E+06", "1E-3"], ["123.45-", "7.00", "5.10-"], ["12.5%", "7%", "1%"],
    ["0000012345", "0000000100", "0000000001"], ["1", "10", "100", "1000", "2"],
    ["01/02/2026", "02/01/2026", "12/31/2025", "03/04/2026"], ["M", "F", "U"],
    ["E11.9", "I10", "J45.40"], ["900-11-0001", "900-11-0002"], ["K\u00f6ln", "Nice"],
    ["0.5", "1.25", "2.50", "10.75"], ["true", "false"], ["a b", "c", "d e"],
    ["2026-01-05 10:00:00", "2026-01-05 15:00:00", "2026-01-06 04:45:00"],
    ["2026-01-05T10:00:00Z", "2026-07-05T10:15:00-05:00"],
    ["K\u00f6ln", "M\u00fcnchen", "Bremen", "J?rgen"],
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000 if LONG else 30))
def test_shuffled_columns_are_given_no_hint(seed: int) -> None:
    """The values of NEW are those of OLD in another order: nothing explains them."""
    chance = random.Random(seed)
    names = [f"V{at}" for at in range(len(VALUES))]
    rows = 200
    columns = {
        name: chance.choices(v, k=rows) for name, v in zip(names, VALUES, strict=True)
    }
    shuffled = {name: chance.sample(texts, rows) for name, texts in columns.items()}
    keys = {"ID": [f"{at}" for at in range(rows)]}
    found = rx.diff(
        pl.DataFrame(keys | columns), pl.DataFrame(keys | shuffled), keys="ID"
    )
    assert found.hints == ()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([("K\u00f6ln", "K?ln"), ("K\u00f6ln", "K\ufffdln"), ("a", "b")], [("NEW", 2)]),
        ([("M\u00c3\u00bcller", "M\u00fcller"), ("a", "b")], [("OLD", 1)]),
        ([("K?ln", "K\u00f6ln"), ("Z\u00fcrich", "Z\u00c3\u00bcrich")],
         [("NEW", 1), ("OLD", 1)]),
        ([("why?", "why"), ("K\u00f6ln", "Bonn")], []),
    ],
)  # fmt: skip
def test_damaged_letters_are_named_with_their_exact_count(
    cells: Cells, expected: list[tuple[str, int]]
) -> None:
    found = [hint for hint in hints_of(cells) if hint.kind == "damage"]
    assert [(hint.text.split()[7], hint.count) for hint in found] == expected
    assert all(hint.flag == "" and hint.total == len(cells) for hint in found)


def test_digits_that_an_exponent_replaced_are_named_and_not_repaired() -> None:
    old = pl.DataFrame(
        {"ID": [f"10203040506{n}" for n in range(3)], "A": ["1", "2", "3"]}
    )
    new = old.with_columns(ID=pl.lit("1.0203E+11"))
    for pair, side in (((old, new), "NEW"), ((new, old), "OLD")):
        [hint] = rx.diff(*pair, keys="ID").hints
        assert (hint.kind, hint.flag, hint.count) == ("damage", "", 3)
        assert hint.text == (
            f"{side}'s ID is written with exponents: 3 unmatched rows have 1 value. Its"
            " digits are lost; export it again as text"
        )


@pytest.mark.parametrize(
    "codes", [["2E14", "3E07", "5E21"], ["2E14", "2E14", "5E21"]], ids=["keys", "parts"]
)
def test_codes_that_look_like_exponents_are_paired_by_a_rule(codes: list[str]) -> None:
    lines = ["1", "2", "3"]
    old = pl.DataFrame({"ID": codes, "LINE": lines})
    new = old.with_columns(ID="0" + pl.col("ID"))
    for pair in ((old, new), (new, old)):
        [hint] = rx.diff(*pair, keys=["ID", "LINE"]).hints
        assert (hint.kind, hint.flag) == ("key_rule", "--rule ID=lstrip0")


def test_exponents_without_a_plus_are_damage_if_keys_became_one() -> None:
    old = pl.DataFrame({"ID": [f"20{n}000000" for n in range(3)]})
    new = old.with_columns(ID=pl.Series(["2E8", "2E8", "2E8"]))
    [hint] = rx.diff(old, new, keys="ID").hints
    assert (hint.kind, hint.count) == ("damage", 3)
    single = pl.DataFrame({"ID": ["1.0203E+11"], "A": ["1"]})
    [hint] = rx.diff(single, old[:1].with_columns(A=pl.lit("1")), keys="ID").hints
    assert hint.kind == "damage"


def test_punctuation_in_keys_is_dropped_if_no_two_keys_become_one() -> None:
    old = pl.DataFrame({"ID": ["A-100", "B-200", "C-300"], "V": ["1", "2", "3"]})
    new = pl.DataFrame({"ID": ["A100", "B200", "C300"], "V": ["1", "2", "3"]})
    [hint] = rx.diff(old, new, keys="ID").hints
    assert (hint.flag, hint.count) == ("--rule 'ID=strip(-)'", 3)
    twins = old.with_columns(ID=pl.Series(["A-100", "A1-00", "C-300"]))
    assert not [h for h in rx.diff(twins, new, keys="ID").hints if "strip" in h.flag]


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


@settings(max_examples=EXAMPLES)
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


def show_hints(hints: tuple[Hint, ...]) -> list[tuple[str, str, int, int]]:
    return [(hint.kind, hint.flag, hint.count, hint.total) for hint in hints]


def test_a_key_column_that_was_made_anew_is_to_be_dropped() -> None:
    old = [(f"{at}", "1", f"x{at}") for at in range(100)]
    new = [(key, "2" if at < 30 else "1", x) for at, (key, _, x) in enumerate(old)]
    d = keyed(old, new)
    assert show_hints(d.hints) == [("drop_key", "--key ID", 30, 30)]
    [hint] = d.hints
    assert hint.text == (
        "30 rows are missing; 100% would match an extra row with another LINE"
    )
    assert d.remainder() == "0 of 30 missing rows · 0 of 30 extra rows"
    followed = keyed(old, new, "ID")
    assert (followed.counts.missing, followed.counts.mismatched_rows) == (0, 30)


def test_a_hint_does_not_know_which_of_its_rows_are_accepted() -> None:
    numbers = [f"{at}" for at in range(1, 6)]
    old = ["M", *(f"00{at}" for at in numbers), *(f"A{at}" for at in numbers)]
    new = ["M", *numbers, *(f"B{at}" for at in numbers)]
    accepted = [
        rx.Suppression(what=what, keys=keys, reason="r", owner="o", until=date.max)
        for what, keys in (
            (Suppressible.MISSING, old[1:6]),
            (Suppressible.EXTRA, new[1:6]),
        )
    ]
    for suppressions, left in (
        ([], "5 of 10 missing rows · 5 of 10 extra rows"),
        (accepted, ""),
    ):
        d = rx.diff(
            *(pl.DataFrame({"ID": keys, "V": "x"}) for keys in (old, new)),
            keys="ID",
            suppressions=suppressions,
        )
        assert [hint.count for hint in d.hints_to_show] == [5]
        assert d.remainder() == left


def test_a_key_column_is_kept_that_tells_rows_apart() -> None:
    """Of two lines of a claim, which is which is unknown without the line."""
    old = [(f"{at // 2}", f"{at % 2}", "x") for at in range(100)]
    assert keyed(old, [(key, f"{line}9", x) for key, line, x in old]).hints == ()


def test_a_key_column_is_kept_if_most_rows_are_missing_without_it_as_well() -> None:
    old = [(f"{at}", "1", "x") for at in range(100)]
    gone = [(f"{key}0{key}", line, x) for key, line, x in old]
    half = [(key, "2", x) for key, _, x in old[:50]] + gone[50:]
    assert [hint.kind for hint in keyed(old, half).hints] == ["drop_key"]
    assert keyed(old, half[1:50] + gone[49:]).hints == ()


def test_rules_of_the_key_go_before_a_key_less() -> None:
    """Half drifted by zeros, half renumbered: both are shown, and what each pairs."""
    old = [(f"{at:04}", "1", f"x{at}") for at in range(100)]
    new = [
        (key.lstrip("0") or "0", "1", x) if at % 2 else (key, "2", x)
        for at, (key, _, x) in enumerate(old)
    ]
    d = keyed(old, new)
    assert show_hints(d.hints) == [
        ("key_rule", "--rule ID=lstrip0", 50, 100),
        ("drop_key", "--key ID --rule ID=lstrip0", 100, 100),
    ]
    assert d.hints[1].text == (
        "100 rows are missing; 100% would match an extra row with another LINE"
        " if leading zeros were ignored"
    )
    # Each does by itself what it says.
    sides = [
        pl.DataFrame(rows, schema=["ID", "LINE", "X"], orient="row")
        for rows in (old, new)
    ]
    for hint in d.hints:
        asked = {"keys": ["ID", "LINE"], **as_arguments(read_settings(hint))}
        assert rx.diff(*sides, **asked).counts.matched == hint.count
    assert d.remainder() == "0 of 100 missing rows · 0 of 100 extra rows"


def test_a_rule_that_several_key_columns_need_is_one_hint() -> None:
    old = [(f"a{at}", f"b{at}", "x") for at in range(20)]
    new = [(key.upper(), line.upper(), x) for key, line, x in old]
    assert show_hints(keyed(old, new).hints) == [
        ("key_rule", "--rule ID=casefold --rule LINE=casefold", 20, 20)
    ]


def test_rows_pair_up_one_to_one() -> None:
    """Three are missing and two extra under one normal key: two pairs."""
    old = [("007", "1", "x")] * 3
    new = [("7", "1", "x")] * 2
    assert show_hints(keyed(old, new).hints) == [
        ("key_rule", "--rule ID=lstrip0", 2, 3)
    ]


def test_a_rule_that_pairs_less_than_one_in_a_hundred_is_no_hint() -> None:
    old = [("007", "1", "x"), *((f"a{at}", "1", "x") for at in range(100))]
    new = [("7", "1", "x"), *((f"b{at}", "1", "x") for at in range(100))]
    assert keyed(old, new).hints == ()
    assert show_hints(keyed(old[:-1], new).hints) == [
        ("key_rule", "--rule ID=lstrip0", 1, 100)
    ]


KEYS_NEAR = st.sampled_from(
    [
        "", "1", "01", "-1", "1.0", "1,000", "1000", "a", "A", "a ", "A-1", "é",
        "e\u0301", "x\u00a0y", "00123", '="00123"', "20200131", "2020-01-31",
        "01/31/2020",
    ]
)  # fmt: skip


@settings(max_examples=EXAMPLES)
@given(data=st.data(), width=st.integers(1, 3))
def test_few_rows_are_counted_as_by_queries(data: st.DataObject, width: int) -> None:
    names = {f"k{at}": f"K{at}" for at in range(width)}
    rows = st.lists(st.tuples(*[KEYS_NEAR] * width), min_size=1, max_size=8)
    old, new = (
        pl.DataFrame(
            data.draw(rows), schema=dict.fromkeys(names, pl.String), orient="row"
        )
        for _ in range(2)
    )
    found = key_hints.for_keys((old, new), names, {}, old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_hints, "FEW_ROWS", 0)
        assert key_hints.for_keys((old, new), names, {}, old) == found


def test_no_rule_is_proposed_for_a_column_whose_name_is_that_of_all() -> None:
    ids = [str(at) for at in range(50)]
    points = [f"{at}.0" for at in ids]
    d = rx.diff(
        pl.DataFrame({"ID": ids, "*": points, "B": points}),
        pl.DataFrame({"ID": ids, "*": ids, "B": ids}),
        keys="ID",
    )
    assert [hint.flag for hint in d.hints] == ["--rule B=decimal"]
    zeros = pl.DataFrame({"*": [f"0{at}" for at in ids], "B": ids})
    bare = zeros.with_columns(pl.col("*").str.slice(1))
    assert rx.diff(zeros, bare, keys="*").hints == ()


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-01-{0:02}", "202601{0:02}"),
        ("{0:02}/01/2026", "2026-01-{0:02}"),
        ("01/{0:02}/2026", "2026-01-{0:02}"),
        ("{0:02}-Jan-2026", "2026-01-{0:02} 00:00:00"),
        ("1.2{0:02},50", "12{0:02}.5"),
        ("{0},5", "{0}.50"),
        ("€ 1,2{0:02}", "12{0:02}"),
        ("{0}.5-", "-{0}.50"),
        ("1{0:02}E2", "1{0:02}00"),
        ('="0{0}"', "0{0}"),
    ],
)
def test_a_renamed_column_may_be_written_in_another_way(old: str, new: str) -> None:
    columns = ([form.format(at % 28 + 1) for at in range(100)] for form in (old, new))
    assert renamed(*columns) == [("--map A=B", 100, 100)]


def test_a_null_word_is_a_blank_in_a_renamed_column() -> None:
    old = ["NULL" if at % 3 else f"v{at}" for at in range(99)]
    assert renamed(old, [text.replace("NULL", "") for text in old]) == [
        ("--map A=B", 33, 33)
    ]


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


SEXES: Cells = [("M", "1"), ("F", "2")]
TABLE = "--old-rule 'C=map(F=2,M=1,rest=same)'"


def table_of(cells: Cells, *given: str) -> tuple[str, int] | None:
    """The code table for a column with these cells, and how many it settles."""
    found = [hint for hint in hints_of(cells, *given) if hint.code_file]
    return (found[0].flag, found[0].count) if found else None


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (SEXES * 10, (TABLE, 20)),
        # Several codes of OLD may have one of NEW.
        ([("M", "1"), ("m", "1"), ("F", "2")] * 10,
         ("--old-rule 'C=map(F=2,M=1,m=1,rest=same)'", 30)),
        # Exceptions are counted: 1 in 20 may be.
        (SEXES * 19 + [("M", "9"), ("F", "")], (TABLE, 38)),
        (SEXES * 19 + [("M", "9"), ("M", "8"), ("F", "")], None),
        # A code of OLD with two of NEW, however many cells others have.
        ([("M", "1")] * 50 + [("F", "2"), ("F", "3")] * 2, None),
        # Too few cells, too few of a code, one code only, too many codes.
        (SEXES * 9, None),
        ([("M", "1")] * 38 + [("F", "2")] * 2, None),
        ([("M", "1")] * 50, None),
        ([(f"a{n}", f"b{n}") for n in range(21)] * 3, None),
        # Other numbers and other days are changes.
        ([("1", "5"), ("2", "6")] * 20, None),
        ([("2026-01-05", "2026-01-06"), ("2026-02-05", "2026-02-07")] * 20, None),
        # What the rule itself is written with is in no code.
        ([("A,B", "1"), ("C", "2")] * 20, None),
        ([("A", "1)"), ("C", "2")] * 20, None),
        ([("@A", "1"), ("C", "2")] * 20, None),
        # Rules that read the same value come before.
        ([("007", "7"), ("008", "8")] * 20, None),
        ([("a", "A"), ("b", "B")] * 20, None),
    ],
)  # fmt: skip
def test_a_code_table_is_proposed_if_each_code_has_one(
    cells: Cells, expected: tuple[str, int] | None
) -> None:
    assert table_of(cells) == expected


def test_a_code_table_is_measured_after_other_rules() -> None:
    cells = [*SEXES * 20, *[("x ", "x")] * 10]
    assert hinted(cells) == [("C=trim", 10), (TABLE, 40)]
    assert table_of([("M ", "1"), ("F", "2")] * 20, "trim") == (TABLE, 40)
    assert table_of(SEXES * 20, "decimal") is None


def test_a_code_table_does_what_it_says_on_all_rows() -> None:
    sexes = ["M", "F", "U", "", "M"] * 40
    coded = [{"M": "1", "F": "2"}.get(sex, sex) for sex in sexes]
    coded[0] = "9"
    keys = [str(at) for at in range(len(sexes))]
    old = pl.DataFrame({"ID": keys, "C": sexes})
    new = pl.DataFrame({"ID": keys, "C": coded})
    first = rx.diff(old, new, keys="ID")
    [hint] = first.hints
    assert (hint.flag, hint.count, hint.total) == (TABLE, 119, 120)
    assert hint.text == (
        "C: 120 differ, 119 of them by a code table: each of 2 codes of OLD has one"
        " code of NEW"
    )
    after = rx.diff(old, new, keys="ID", old_rules={"C": "map(F=2,M=1,rest=same)"})
    assert after.counts.mismatched_cells == first.counts.mismatched_cells - 119
    assert after.counts.tolerated_cells == 119


def test_a_code_that_is_also_the_same_on_both_sides_is_not_translated() -> None:
    keys = [str(at) for at in range(200)]
    old = ["open", "held"] * 100
    wrong = ["closed" if s == "open" else "gone" for s in old[:60]]
    found = rx.diff(
        pl.DataFrame({"ID": keys, "C": old}),
        pl.DataFrame({"ID": keys, "C": wrong + old[60:]}),
        keys="ID",
    )
    assert found.counts.mismatched_cells == 60
    assert found.hints == ()


def test_a_masked_column_is_given_no_code_table() -> None:
    keys = [str(at) for at in range(60)]
    old = pl.DataFrame({"ID": keys, "C": ["M", "F"] * 30, "D": ["a", "b"] * 30})
    new = old.with_columns(C=pl.Series(["1", "2"] * 30), D=pl.Series(["x", "y"] * 30))
    found = rx.diff(old, new, keys="ID", masks={"C": "redact"})
    assert [hint.column for hint in found.hints] == ["D"]
    assert rx.diff(old, new, keys="ID", masks={"*": "redact"}).hints == ()


def test_the_codes_of_a_table_are_left_out_where_no_value_may_be() -> None:
    [hint] = [h for h in hints_of(SEXES * 20) if h.code_file]
    assert read_codes(hint) == (("F", "2"), ("M", "1"))
    stripped = "--old-rule 'C=map(@C.map.csv,rest=same)'"
    assert without_codes(hint).flag == stripped
    [row] = HINTS.rows_to_store([hint])
    assert row["flag"] == stripped
    assert row["count"] == 40
    assert "M=1" not in str(row)
    [rule] = hints_of(ENDS)
    assert without_codes(rule) == rule
    assert name_code_file("A B") != name_code_file("A_B") == "A_B.map.csv"
    assert "/" not in name_code_file("../x")


def test_no_rule_has_more_implied_decimals_than_a_rule_may_have() -> None:
    wrong = [("1", "0." + "0" * 30 + "1"), ("2", "0." + "0" * 300 + "2")]
    assert "scale" not in str(hinted(wrong * 20))
    [(flag, _)] = hinted([("12", "0." + "0" * 28 + "12")] * 20)
    assert flag == "--old-rule 'C=scale(30)'"


def test_yes_and_no_in_other_words_are_boolean_and_no_table() -> None:
    words = [("J", "true"), ("N", "false")]
    assert hinted(words * 20) == [("C=boolean", 40)]
    assert hinted([*words * 20, ("N", "true")]) == [("C=boolean", 40)]
    # One of the two words may be any text.
    assert hinted([("1", "y")] * 3) == []
