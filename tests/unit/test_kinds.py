"""Kinds of difference: by example, and against the oracle."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import oracle
from support.strategies import CELLS

from recon_engine.kinds import KINDS, Kind, classify_cells, classify_read
from recon_engine.rules.assembly import chain_of


EXAMPLES = {
    Kind.VALUE_TO_BLANK: [("x", ""), (" ", "")],
    Kind.BLANK_TO_VALUE: [("", "x"), ("", "0")],
    Kind.WHITESPACE: [("x ", "x"), ("\tx", "x\u00a0"), ("a  b", "a b"),
                      ("Ann Lee", "Ann\u00a0Lee"), ("a \nb", "a\n b")],
    Kind.LINE_BREAK: [("a\nb", "a\r\nb"), ("a\nb", "a\rb"), ("a\n\nb", "a b")],
    Kind.INVISIBLE: [("A1", "A1\u200b"), ("a\u00adb", "ab"), ("\ufeffx", "x"),
                     ("a\x01b", "ab"), ("a\u2060\u00a0b", "a b")],
    Kind.CASE: [("ab", "AB"), ("straße", "STRASSE"), ("É", "é")],
    Kind.UNICODE_FORM: [("Köln", "Ko\u0308ln"), ("가", "\u1100\u1161")],
    Kind.LEADING_ZEROS: [("00123", "123"), ("0A1", "A1"), ("000", "0")],
    Kind.NUMBER_FORMAT: [
        ("1.0", "1"), ("1,000", "1000.00"), ("+5", "5"), ("-0", "0"), (".5", "0.50"),
        ("12345678901234567890.10", "12345678901234567890.1"),
    ],
    Kind.DATE_FORMAT: [
        ("20200131", "2020-01-31"), ("01/31/2020", "31.01.2020"),
        ("31-JAN-2020", "2020/01/31"), ("2020-01-31 00:00:00", "20200131"),
    ],
    Kind.ENCODING_DAMAGE: [
        ("Köln", "KÃ¶ln"), ("\xe2\u201a\xac 5", "€ 5"), ("Köln", "K?ln"),
        ("K\ufffd\ufffdln", "Köln"),
        ("Łódź", "?ód?"), ("Łódź", "????d??"), ("what?ö", "what??"), ("ö", "?"),
        ("\xc1", "\xc3\x81"),
    ],
    Kind.SIGN_FLIP: [("5", "-5"), ("-1.50", "1.5")],
    Kind.SCALE: [("12.34", "1234"), ("5", "50"), ("-1", "-0.001")],
    Kind.TRUNCATED: [("abcdef", "abc"), ("12.345", "12.34"), ("5% off", "5%"),
                     ("12345-6789", "12345"), ("10.00 EUR", "10.00")],
    Kind.NUMBER: [
        ("10.00", "10.01"), ("9007199254740993", "9007199254740992"),
        ("12345678901234567890.10", "12345678901234567890.20"), ("7", "-8"),
    ],
    Kind.DATE: [("2020-01-31", "2020-02-01"), ("01/31/2020", "2020-02-01")],
    Kind.PUNCTUATION: [("A-100", "A100"), ("E11.9", "E119"), ("(45.00)", "-45.00"),
                       ("$20.00", "20.00"), ("(555) 010-0001", "5550100001"),
                       ("123-", "123")],
    Kind.TEXT: [("abc", "abd"), ("1,00", "2"), ("x", "abcx"), ("2020-01-31", "soon"),
                ("100%", "1"), ("1.5E+06", "1.5"), ("Köln", "Kéln"),
                ("ab", "a b"), ("K?ln", "Kéln?"), ("abc?", "abcd")],
}  # fmt: skip


def kind(old: str, new: str) -> str:
    cells = pl.DataFrame({"old": [old], "new": [new]})
    return str(classify_cells(cells)["kind"].item())


@pytest.mark.parametrize(
    ("expected", "old", "new"),
    [(k, old, new) for k, pairs in EXAMPLES.items() for old, new in pairs],
)
def test_a_difference_has_the_first_kind_that_fits(
    expected: Kind, old: str, new: str
) -> None:
    assert kind(old, new) == expected == oracle.kind(old, new)


def test_every_kind_has_an_example() -> None:
    of_tables = {Kind.UNLISTED, Kind.CODE}
    assert set(EXAMPLES) == set(KINDS) - of_tables


NUMBERS = st.from_regex(
    r"[+-]?[0-9]{0,3}(,[0-9]{3}){0,2}(\.[0-9]{0,3})?", fullmatch=True
)
DAYS = st.dates().flatmap(
    lambda day: st.sampled_from(list(oracle.FORMATS)).map(day.strftime)
)
# Few characters, so that texts are often the same but for one thing.
ODD = st.lists(
    st.sampled_from(
        [
            *"aA1%? \xa0\t\r\n\u200b\ufe0föéÃ¶€\ufffd\x85\x1c",
            *("o\u0308", "Ã¶", "\xe2\u201a\xac"),
        ]
    ),
    max_size=4,
).map("".join)


@given(
    st.lists(
        st.tuples(
            st.one_of(CELLS, NUMBERS, DAYS, ODD, st.text(max_size=5)),
            st.one_of(CELLS, NUMBERS, DAYS, ODD, st.text(max_size=5)),
        ).filter(lambda pair: pair[0] != pair[1]),
        min_size=1,
    )
)
@example([("0", "-0.0"), ("1", "a"), ("20200101", "01/01/2020")])
def test_kinds_are_those_of_the_oracle(pairs: list[tuple[str, str]]) -> None:
    assume(all("\x00" not in text for pair in pairs for text in pair))
    cells = pl.DataFrame(
        pairs, schema={"old": pl.String, "new": pl.String}, orient="row"
    )
    assert classify_cells(cells)["kind"].to_list() == [
        oracle.kind(*pair) for pair in pairs
    ]


def kind_read(rules: list[str], old: str, new: str) -> str:
    texts = (pl.Series([text], dtype=pl.String) for text in (old, new))
    return str(classify_read(chain_of(*rules), *texts).item())


@pytest.mark.parametrize(
    ("rules", "old", "new", "expected"),
    [
        # The day is number 19,763 since 1970.
        (["date(iso)"], "2024-02-10", "1976", Kind.TEXT),
        (["date(iso)"], "2024-02-10", "019763", Kind.TEXT),
        (["date(iso)"], "2024-02-10", "45332", Kind.TEXT),
        (["date(iso)"], "19763", "2024-02-10", Kind.TEXT),
        (["date(iso)"], "2024-02-10", "2024-02", Kind.TRUNCATED),
        (["date(iso)"], "2024-02-10", "10.02.2024", Kind.DATE_FORMAT),
        (["timestamp(iso,zone=UTC)"], "2024-02-10T00:00:00", "19763", Kind.TEXT),
        (["trim", "date(iso)"], "2024-02-10", " 2024-02", Kind.TRUNCATED),
        (["decimal"], "12.5x", "12.50", Kind.TEXT),
        (["decimal"], "12.50 EUR", "12.50", Kind.TRUNCATED),
        (["scale(2)"], "1250", "12.50", Kind.SCALE),
        (["boolean"], "true", "true!", Kind.PUNCTUATION),
        (["date(iso)"], "2024-02-10", "2024-02-11", Kind.DATE),
        (["decimal"], "4.00", "4.01", Kind.NUMBER),
    ],
)
def test_a_pair_that_is_not_read_has_the_kind_of_its_texts(
    rules: list[str], old: str, new: str, expected: Kind
) -> None:
    assert kind_read(rules, old, new) == expected


RULES = st.sampled_from(sorted(oracle.NORMAL))
DAY_NUMBERS = st.integers(19_000, 21_000).map(str)
READABLE = st.one_of(DAYS, DAY_NUMBERS, NUMBERS, CELLS)


@given(
    st.lists(RULES.filter(lambda rule: not oracle.is_typed(rule)), max_size=1),
    RULES.filter(oracle.is_typed),
    st.lists(st.tuples(READABLE, READABLE), min_size=1),
)
@example([], "date(iso)", [("2024-02-10", "1976"), ("19763", "2024-02-10")])
def test_kinds_under_rules_are_those_of_the_oracle(
    texts: list[str], typed: str, pairs: list[tuple[str, str]]
) -> None:
    chain, expected = chain_of(*texts, typed), oracle.arrange([*texts, typed], [], [])
    pairs = [pair for pair in pairs if not oracle.alike(expected, *pair)]
    cells = pl.DataFrame(
        pairs, schema={"old": pl.String, "new": pl.String}, orient="row"
    )
    assert classify_read(chain, cells["old"], cells["new"]).to_list() == [
        oracle.kind_read(expected, *pair) for pair in pairs
    ]
