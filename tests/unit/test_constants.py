"""Constants: one and the same change of most differing cells of a column."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import oracle
from support.compared_pairs import answer, expected
from support.strategies import CELLS, Pair

import recon_engine as rx
from recon_engine.analysis import constants, few_cells
from recon_engine.analysis.constants import CONSTANTS
from recon_engine.kinds import classify_cells
from recon_engine.model import Suppressible, Suppression
from recon_engine.report.workbook import write_workbook


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

    from recon_engine import Reconciliation


def compared(cells: Sequence[tuple[str, str]], **options: Any) -> Reconciliation:
    """A result with one column of these old and new cells."""
    sides = zip(*cells, strict=True)
    old, new = (
        pl.DataFrame({"ID": [str(at) for at in range(len(cells))], "V": texts})
        for texts in sides
    )
    return rx.diff(old, new, keys="ID", **options)


def formulas(cells: Sequence[tuple[str, str]], **options: Any) -> list[str]:
    """What is said of a column of these old and new cells."""
    return [
        f"{each.rows} of {each.total}: {each.formula}"
        for each in compared(cells, **options).constants
    ]


def moved(count: int, by: str = "1.00") -> list[tuple[str, str]]:
    """So many different amounts, all changed by the same number."""
    return [
        (f"{100 + 7 * at}.50", str(Decimal(f"{100 + 7 * at}.50") + Decimal(by)))
        for at in range(count)
    ]


def days(count: int, form: str, by: int = 9) -> list[tuple[str, str]]:
    """So many different days in a format, all changed by so many days."""
    every = [date(2024, 1, 3) + timedelta(days=5 * at) for at in range(count)]
    return [
        (each.strftime(form), (each + timedelta(days=by)).strftime(form))
        for each in every
    ]


def test_a_constant_is_said_with_the_number_of_its_cells() -> None:
    notes = [(f"note {at}", f"note {at} later") for at in range(10)]
    rest = [(f"note {at}", f"memo {at}") for at in range(3)]
    assert formulas(moved(12)) == ["12 of 12: new = old + 1.00"]
    assert formulas(moved(12, "-0.5")) == ["12 of 12: new = old - 0.50"]
    assert formulas(days(15, "%Y-%m-%d")) == ["15 of 15: new = old + 9 days"]
    assert formulas([*notes, *rest]) == ['10 of 13: new = old + " later"']


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (lambda at: (f"{at}", f"{at * 100}"), "new = old \u00d7 100"),
        (lambda at: (f"{at}.00", f"-{at}.00"), "new = old \u00d7 -1"),
        (lambda at: (f"{at * 12}", f"{at}"), "new = old \u00f7 12"),
        (lambda at: (f"{at}.x", f"A-{at}.x"), 'new = "A-" + old'),
        (lambda at: (f"{at}.x USD", f"{at}.x"), 'old = new + " USD"'),
        (lambda at: (f"no {at}.x", f"{at}.x"), 'old = "no " + new'),
        (lambda at: (f"{at}:15", f"{at + 2}:45"), "new = old + 150 minutes"),
        (
            lambda at: (f"2024-01-1{at} 07:00:01.5", f"2024-01-1{at} 06:40:01.5"),
            "new = old - 20 minutes",
        ),
        (
            lambda at: (f"2024-01-{at + 10}T07:00:00Z", f"2024-02-{at + 10}T07:00:00Z"),
            "new = old + 31 days",
        ),
        (lambda at: (f"{at}:15:01", f"{at}:15:02"), "new = old + 1 second"),
        (lambda at: (f"1{at}:00", f"0{at}:00"), "new = old - 10 hours"),
        (lambda at: (f"2024013{at}", f"2024013{at + 1}"), "new = old + 1"),
        (lambda at: (f"2024011{at}", f"2024021{at}"), "new = old + 31 days"),
    ],
)
def test_every_form_of_change(
    cell: Callable[[int], tuple[str, str]], said: str
) -> None:
    assert formulas([cell(at) for at in range(1, 7)]) == [f"6 of 6: {said}"]


def test_it_takes_five_cells_half_of_those_and_two_pairs_of_values() -> None:
    others = [("1", "4"), ("2", "9"), ("3", "1"), ("5", "11"), ("7", "15")]
    assert formulas(moved(4)) == []
    assert formulas(moved(5)) == ["5 of 5: new = old + 1.00"]
    assert formulas([*moved(5), *others]) == ["5 of 10: new = old + 1.00"]
    assert formulas([*moved(5), *others, ("8", "1")]) == []
    assert formulas([("1.00", "2.00")] * 9) == []
    assert formulas([("1.00", "2.00")] * 9 + [("2.00", "3.00")]) == [
        "10 of 10: new = old + 1.00"
    ]


def test_blanks_and_values_written_in_another_way_are_only_counted() -> None:
    others = [("", "1"), ("1", ""), ("1", "1.0"), ("a", "A"), ("a", "a ")] * 4
    assert formulas([*moved(5), *others]) == ["5 of 25: new = old + 1.00"]


@pytest.mark.parametrize("singly", [0, constants.FEW_CHANGES])
def test_a_blank_that_gets_the_text_of_the_others_is_counted(
    monkeypatch: pytest.MonkeyPatch, singly: int
) -> None:
    monkeypatch.setattr(constants, "FEW_CHANGES", singly)
    longer = [(f"note {at}", f"note {at} later") for at in range(8)]
    others = [("", "later"), (" later", ""), ("", "")]
    said = '10 of 12: {} = {} + " later"'
    cells = [*longer, *[("", " later")] * 2, *others]
    back = [(new, old) for old, new in cells]
    assert formulas(cells) == [said.format("new", "old")]
    assert formulas(back) == [said.format("old", "new")]
    # Blanks alone are a pattern.
    assert formulas([*longer[:4], *[("", " later")] * 5]) == []


def test_each_way_to_read_cells_is_by_itself() -> None:
    texts = [(f"a{at}", f"b{at}x") for at in range(30)]
    assert formulas([*moved(5), *texts]) == ["5 of 35: new = old + 1.00"]


def test_days_with_slashes_need_a_day_that_shows_the_order() -> None:
    month_first, day_first = "%m/%d/%Y", "%d/%m/%Y"
    said = ["15 of 15: new = old + 9 days"]
    assert formulas(days(15, month_first)) == said
    assert formulas(days(15, day_first)) == said
    # The fifth of some months to the fifth of the next ones: read with the day first,
    # they are one day apart.
    of_months = [(f"0{at}/05/2024", f"0{at + 1}/05/2024") for at in range(1, 9)]
    assert formulas(of_months) == []
    assert formulas([*of_months, ("20/05/2024", "21/05/2024")]) == [
        "9 of 9: new = old + 1 day"
    ]
    # Neither order reads both of these.
    mixed = [("20/05/2024", "21/05/2024"), ("05/20/2024", "05/22/2024")]
    assert formulas([*of_months, *mixed]) == []


def test_rules_say_how_values_are_read() -> None:
    comma = [(f"1.{at}00,50", f"1.{at}01,50") for at in range(6)]
    assert formulas(comma) == []
    assert formulas(comma, rules={"V": "decimal(comma)"}) == ["6 of 6: new = old + 1.0"]
    sas = [(f"0{at}FEB2024", f"1{at}FEB2024") for at in range(1, 7)]
    assert formulas(sas, rules={"V": "date(sas)"}) == ["6 of 6: new = old + 10 days"]
    us = [(f"0{at}/05/2024", f"0{at}/06/2024") for at in range(1, 7)]
    assert formulas(us, rules={"V": "date(us)"}) == ["6 of 6: new = old + 1 day"]
    ends = [("9999-12-31", f"2024-01-0{at}") for at in range(1, 7)]
    days_ = days(9, "%Y-%m-%d")
    assert formulas([*days_, *ends], rules={"V": "date(iso)"}) == [
        "9 of 15: new = old + 9 days"
    ]


def test_long_numbers_are_exact() -> None:
    cells = [
        (f"{10**17 + at}.000000000000000001", f"{10**17 + at + 1}.0") for at in range(6)
    ]
    assert formulas(cells) == ["6 of 6: new = old + 0.999999999999999999"]
    longer = [(f"{10**18 + 7 * at}", f"{10**18 + 7 * at + 1}") for at in range(1, 7)]
    assert formulas(longer) == []


def test_of_equally_frequent_changes_one_is_said_whatever_the_order() -> None:
    up, down = moved(5), [(new, old) for old, new in moved(5)]
    for cells in itertools.permutations([up, down]):
        assert formulas([each for some in cells for each in some]) == [
            "5 of 10: new = old + 1.00"
        ]
    # Each adds 10 and appends a 0; each day is one later, and the number one more.
    assert formulas([(f"{at}", f"{at}0") for at in (1, 2, 3, 4, 5)]) == [
        "5 of 5: new = old \u00d7 10"
    ]
    eight = [(f"2024010{at}", f"2024010{at + 1}") for at in range(1, 7)]
    assert formulas(eight) == ["6 of 6: new = old + 1 day"]


def test_what_a_hint_says_is_not_said_again() -> None:
    implied = [(f"{at}.50", f"{at}50") for at in range(10, 20)]
    d = compared(implied)
    assert "scale(2)" in d.hints[0].flag
    assert d.constants == ()
    zones = [
        (f"2024-01-{at} 12:00:00", f"2024-01-{at} 07:00:00") for at in range(10, 20)
    ]
    d = compared(zones)
    assert "timestamp(" in d.hints[0].flag
    assert d.constants == ()


def test_a_masked_column_has_no_constant() -> None:
    d = compared(moved(12), masks={"V": "redact"})
    assert d.constants == ()
    assert "change:" not in str(d)


def test_a_constant_of_accepted_cells_is_shown_last_and_marked(tmp_path: Path) -> None:
    accepted = Suppression(
        what=Suppressible.COLUMN,
        column="V",
        reason="a known increase",
        owner="ops",
        until=date.max,
    )

    def pair(at: int) -> pl.DataFrame:
        keys = map(str, range(12))
        values = [each[at] for each in moved(12)]
        others = [each[at] for each in days(9, "%Y-%m-%d")]
        return pl.DataFrame({"ID": keys, "V": values, "W": others + ["x"] * 3})

    d = rx.diff(pair(0), pair(1), keys="ID", suppressions=[accepted])
    said = ["9 of 9 cells: new = old + 9 days", "12 of 12 cells: new = old + 1.00"]
    said[1] += " (accepted)"
    lines = [f"change: W: {said[0]}", f"change: V: {said[1]}"]
    shown = [each for each in str(d).splitlines() if each.startswith("change:")]
    assert shown == lines
    shown = [each for each in d.to_markdown().splitlines() if "new = old" in each]
    assert shown == [f"- `W`: {said[0]}", f"- `V`: {said[1]}"]
    page = d.to_html()
    assert "<code>new = old + 1.00</code> · accepted</td>" in page
    assert page.index("new = old + 9 days") < page.index("new = old + 1.00")
    write_workbook(d, tmp_path / "d.xlsx")
    summary = openpyxl.load_workbook(tmp_path / "d.xlsx").worksheets[0]
    rows = summary.iter_rows(values_only=True)
    assert [row[1] for row in rows if "change of" in str(row[0])] == said


def test_outputs_say_it() -> None:
    notes = [(f"note {at}", f"note {at} <later>") for at in range(10)]
    d = compared(notes)
    assert 'change: V: 10 of 10 cells: new = old + " <later>"' in str(d).splitlines()
    assert '- `V`: 10 of 10 cells: new = old + "…"' in d.to_markdown().splitlines()
    assert "later" not in d.to_markdown()
    assert "10 of 10</td><td><code>new = old + &#34; &lt;later&gt;&#34;" in d.to_html()
    assert d.to_dict()["constants"] == [
        {
            "column": "V",
            "change": "append",
            "by": " <later>",
            "rows": 10,
            "total": 10,
            "formula": 'new = old + " <later>"',
        }
    ]


def test_columns_without_a_cause_are_named() -> None:
    texts = [(f"a{7 * at % 11}", f"b{5 * at % 13}") for at in range(9)]
    said = "o hint and no common change: V (9 cells)"
    d = compared(texts)
    assert f"n{said}" in str(d).splitlines()
    assert f"N{said}" in d.to_markdown().splitlines()
    assert f"N{said}</p>" in d.to_html()
    # Too few cells, a mask, a constant, a pair of values of half of them, and a hint.
    trimmed = [*texts, *[(f"x{at}", f"x{at} ") for at in range(3)]]
    for other in (
        compared(texts[:4]),
        compared(texts, masks={"V": "redact"}),
        compared(moved(9)),
        compared([*texts, *[("a", "b")] * 9]),
        compared(trimmed),
    ):
        assert "common change" not in str(other)
        assert "common change" not in other.to_markdown()
        assert "common change" not in other.to_html()


def test_it_is_stored_as_it_is() -> None:
    d = compared(moved(12))
    [row] = CONSTANTS.rows_to_store(d.constants)
    stored = {each.name: row[each.sql_name] for each in CONSTANTS.fields if each.stored}
    assert CONSTANTS.read([stored]) == d.constants


def in_format(form: str) -> Callable[[int], str]:
    return lambda at: (date(2023, 12, 20) + timedelta(days=at)).strftime(form)


def at_time(form: str) -> Callable[[int], str]:
    start = datetime(2024, 2, 28, 21, 15)  # noqa: DTZ001
    return lambda at: (start + timedelta(minutes=15 * at)).strftime(form)


# How the values of a column are written, by a number.
WRITTEN: dict[str, Callable[[int], str]] = {
    "cents": lambda at: f"{Decimal(at) / 100:.2f}",
    "places": lambda at: f"{Decimal(at) / 10}",
    "thousands": lambda at: f"{at * 100:,}",
    "whole": str,
    "long": lambda at: f"{10**17 + at}.5",
    "longer": lambda at: f"{10**18 + at}",
    "comma": lambda at: f"{at},5",
    "iso": in_format("%Y-%m-%d"),
    "digits": in_format("%Y%m%d"),
    "slashed": in_format("%Y/%m/%d"),
    "us": in_format("%m/%d/%Y"),
    "eu": in_format("%d/%m/%Y"),
    "dotted": in_format("%d.%m.%Y"),
    "oracle": in_format("%d-%b-%Y"),
    "sas": in_format("%d%b%Y"),
    "stamp": at_time("%Y-%m-%d %H:%M:%S"),
    "fraction": at_time("%Y-%m-%dT%H:%M:%S.250Z"),
    "minutes": at_time("%d.%m.%Y %H:%M"),
    "clock": at_time("%H:%M"),
    "words": lambda at: f"w{at} é",
    "nothing": lambda _: "",
    "codes": lambda at: "AB"[at % 2] + "7" * (at % 3),
}
# What is done to a value: to its number, or to its text.
PLANTED: dict[str, tuple[Callable[[int], int], Callable[[str], str]]] = {
    "more": (lambda at: at + 3, str),
    "less": (lambda at: at - 40, str),
    "other sign": (lambda at: -at, str),
    "tenfold": (lambda at: 10 * at, str),
    "third": (lambda at: at // 3, str),
    "longer": (lambda at: at, lambda text: text + "0"),
    "later": (lambda at: at, lambda text: text + " later"),
    "shorter": (lambda at: at, lambda text: text[:-1]),
    "begun": (lambda at: at, lambda text: "x-" + text),
    "headless": (lambda at: at, lambda text: text[1:]),
}
RULES = [
    *([()] * 4),
    ("decimal",),
    ("trim",),
    ("casefold",),
    ("boolean",),
    ("decimal(comma)",),
    ("scale(2)",),
    (oracle.DAY_RULE,),
    ("date(us)",),
    ("date(sas)",),
    (oracle.STAMP,),
]


@st.composite
def planted(draw: st.DrawFn) -> Pair:
    """A pair with columns of which some cells are changed in the same way."""
    rows = draw(st.integers(5, 12))
    keys = st.sampled_from(["k", *map(str, range(rows))])
    repeats = draw(st.booleans())
    old = [[draw(keys) if repeats else str(at)] for at in range(rows)]
    new = [row[:] for row in old]
    for _ in range(2):
        forms = [draw(st.sampled_from(sorted(WRITTEN)))]
        ways = draw(st.lists(st.sampled_from(sorted(PLANTED)), min_size=1, max_size=2))
        if draw(st.integers(0, 3)) == 0:
            forms.append(draw(st.sampled_from(sorted(WRITTEN))))
        numbers = st.integers(0, draw(st.sampled_from([0, 3, 60, 5_000])))
        for one, other in zip(old, new, strict=True):
            number = draw(numbers)
            write = WRITTEN[draw(st.sampled_from(forms))]
            count, spell = PLANTED[draw(st.sampled_from(ways))]
            one.append(write(number))
            if draw(st.integers(0, 9)):
                other.append(spell(write(count(number))))
            else:
                other.append(draw(st.one_of(CELLS, st.just(one[-1]))))
    order = draw(st.permutations(range(rows))) if draw(st.booleans()) else range(rows)
    return Pair(
        ["id", "v", "w"],
        1,
        [tuple(row) for row in old],
        [tuple(new[at]) for at in order],
    )


def told(
    pair: Pair, rules: dict[str, tuple[str, ...]], few: int, singly: int
) -> dict[str, oracle.Constant]:
    """What the engine says.

    `few`: so many cells share queries; `singly`: so many changes are counted without.
    """
    schema = dict.fromkeys(pair.names, pl.String)
    old, new = (
        pl.DataFrame(side, schema=schema, orient="row") for side in (pair.old, pair.new)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_cells, "MAX_CELLS", few)
        patch.setattr(constants, "FEW_CHANGES", singly)
        patch.setattr(constants, "SAID_BY_RULES", {})
        d = rx.diff(old, new, keys="id", rules={k: list(v) for k, v in rules.items()})
    return answer(d, pair.columns).constants


@example(
    pair=Pair(["id", "v", "w"], 1, [("1", "2", "7")], [("1", "1", "true")]),
    rules={"v": ("boolean",), "w": ("boolean",)},
    few=0,
    singly=0,
)
@example(
    pair=Pair(["id", "v", "w"], 1, [("1", "2", "7")], [("1", "1", "true")]),
    rules={"v": ("boolean",), "w": ("boolean",)},
    few=9,
    singly=6,
)
@given(
    pair=planted(),
    rules=st.fixed_dictionaries({name: st.sampled_from(RULES) for name in "vw"}),
    few=st.sampled_from([0, 9, few_cells.MAX_CELLS]),
    singly=st.sampled_from([0, 6, constants.FEW_CHANGES]),
)
def test_planted_constants_are_those_of_the_oracle(
    pair: Pair, rules: dict[str, tuple[str, ...]], few: int, singly: int
) -> None:
    given_rules = {name: each for name, each in rules.items() if each}
    assert told(pair, given_rules, few, singly) == expected(pair, given_rules).constants


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(sorted(WRITTEN)),
        st.integers(0, 40),
        st.sampled_from(["more", "more", "tenfold", "later"]),
        st.integers(1, 4),
    ),
    min_size=5,
    max_size=40,
)


@given(drawn=CHANGES, random=st.randoms(use_true_random=False))
def test_the_order_of_changes_changes_nothing(
    drawn: list[tuple[str, int, str, int]], random: Random
) -> None:
    changes: dict[tuple[str, str], int] = {}
    for written, number, way, rows in drawn:
        count, spell = PLANTED[way]
        old, new = WRITTEN[written](number), spell(WRITTEN[written](count(number)))
        if old != new:
            changes[old, new] = rows
    frame = pl.DataFrame(
        [(*change, rows) for change, rows in changes.items()],
        schema={"old": pl.String, "new": pl.String, "rows": pl.Int64},
        orient="row",
    )
    cells = classify_cells(frame).select("old", "new", "kind", "rows")
    shuffled = random.sample(cells.rows(), cells.height)
    found = constants.find_constant("V", cells.rows())
    assert constants.find_constant("V", shuffled) == found
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "FEW_CHANGES", 0)
        assert constants.find_constant_of_many("V", cells) == found
