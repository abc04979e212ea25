"""Kinds of difference: by example, and against the oracle."""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import oracle
from support.strategies import CELLS

from recon_engine.kinds import KINDS, Kind, classify_cells, classify_read
from recon_engine.rules.assembly import chain_of


if TYPE_CHECKING:
    from collections.abc import Callable

    Changes = list[Callable[[str], str]]


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


# Characters that the Unicode of every Python knows.
LETTERS = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")
TEXTS = st.one_of(CELLS, NUMBERS, DAYS, ODD, st.text(LETTERS, max_size=5))


def read_as(codec: str) -> Callable[[str], str]:
    """What UTF-8 is in another encoding; what that lacks is a control."""

    def read(text: str) -> str:
        parts = [(bytes([b]).decode(codec, "replace"), b) for b in text.encode()]
        return "".join(chr(b) if c == "\ufffd" else c for c, b in parts)

    return read


def in_format(form: str) -> Callable[[str], str]:
    """The first day that a text may mean, written another way."""
    return lambda text: min(oracle.dates(text), default=DAY).strftime(form)


def with_inserted(char: str) -> Callable[[str], str]:
    """A character more in the middle."""
    return lambda text: f"{text[: len(text) // 2]}{char}{text[len(text) // 2 :]}"


def with_end(end: str) -> Callable[[str], str]:
    """Characters more behind it."""
    return lambda text: text + end


def with_break(mark: str) -> Callable[[str], str]:
    """Another mark where a line ends."""
    return lambda text: text.replace("\n", mark)


DAY = date(2020, 1, 31)
# A text as a system may write it that is not the first: letters, numbers, lines, days.
OF_LETTERS: Changes = [
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
    str.upper,
    str.casefold,
    lambda text: "".join(c if c.isascii() else "?" for c in text),
    lambda text: "".join(c if c.isascii() else "??" for c in text),
    *map(read_as, ("cp1252", "latin-1")),
    *map(with_inserted, ("é", "\u200b", "\x01")),
]
OF_NUMBERS: Changes = [
    lambda text: "0" + text,
    lambda text: "-" + text,
    lambda text: text[:-1],
    *map(with_end, ("0", ".0", "5")),
    *map(with_inserted, ("-", ".", ",")),
]
OF_LINES: Changes = [
    str.strip,
    lambda text: text.replace(" ", "\n"),
    *map(with_break, ("\r\n", "\r", "\n\n", " ", "\xa0")),
    *map(with_inserted, (" ", "\xa0")),
]
OF_DAYS: Changes = [*map(in_format, oracle.FORMATS)]
CHANGES: Changes = [lambda _: "", *OF_LETTERS, *OF_NUMBERS, *OF_LINES, *OF_DAYS]


def near(texts: st.SearchStrategy[str], changes: Changes) -> Any:
    """Two texts that are made of one."""
    either = st.sampled_from(changes)
    return st.tuples(texts, either, st.one_of(st.just(str), either)).map(
        lambda each: (each[1](each[0]), each[2](each[0]))
    )


WORDS = st.text(st.sampled_from("aAßéÉöŁ가€"), min_size=1, max_size=4)
# By what is changed, so that each kind occurs.
PAIRS = st.one_of(
    st.tuples(TEXTS, TEXTS),
    st.tuples(DAYS, DAYS),
    near(TEXTS, CHANGES),
    near(DAYS, OF_DAYS),
    near(WORDS, OF_LETTERS),
    near(NUMBERS, OF_NUMBERS),
    near(ODD.map("{}\nb".format), OF_LINES),
)


@given(st.lists(PAIRS.filter(lambda pair: pair[0] != pair[1]), min_size=1))
@example([("0", "-0.0"), ("1", "a"), ("20200101", "01/01/2020")])
@example(
    [("9" * 29, "-" + "9" * 29), ("1" * 30, "1" * 29 + "2"), ("łł", "Å\u201aÅ\x82")]
)
@example([("0." + "0" * 61 + "1", "0." + "0" * 61 + "2"), ("1" * 30, "1" * 30 + "0")])
def test_kinds_are_those_of_the_oracle(pairs: list[tuple[str, str]]) -> None:
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
OTHERS = st.one_of(DAYS, DAY_NUMBERS, NUMBERS, CELLS)
# Texts of which each typed rule reads some.
SOME_TEXTS = [
    *(
        day.strftime(form)
        for day in (date(2020, 1, 31), date(2020, 2, 1), date(1999, 12, 9))
        for form in (*oracle.FORMATS, "%d-%b-%y", "%d%b%Y", "%Y-%m-%d %H:%M:%S")
    ),
    *("2020-01-31T05:00:00Z", "2020-01-31T05:00:00.5-05:00", "2020-02-01 00:00:00.9"),
    *("1", "-1", "10", "1.5", "1,5", "15", "0", "123456789", "1,000", "1.000,00", "01"),
    *("$1", "$ 10.00", "(1.00)", "€1,5", "1 €", "1-", "10%", "1E+03", "2e-1", "12.50"),
    *("true", "FALSE", "Y", "n", "J", "a", "b", "A"),
]
TYPED = [rule for rule in sorted(oracle.NORMAL) if oracle.is_typed(rule)]
READ = {
    rule: st.sampled_from(
        [
            text
            for text in SOME_TEXTS
            if oracle.READS[rule.split("(", maxsplit=1)[0]](rule, text)
        ]
    )
    for rule in TYPED
}
# A rule, and pairs of which it reads both texts, one of them, or none.
RULES_AND_PAIRS = {
    rule: st.tuples(
        st.just(rule),
        st.lists(
            st.one_of(
                st.tuples(read, read),
                st.tuples(read, st.sampled_from(CHANGES)).map(
                    lambda each: (each[0], each[1](each[0]))
                ),
                st.tuples(read, OTHERS),
                st.tuples(OTHERS, read),
                st.tuples(OTHERS, OTHERS),
            ),
            min_size=1,
        ),
    )
    for rule, read in READ.items()
}


@given(
    st.lists(RULES.filter(lambda rule: not oracle.is_typed(rule)), max_size=1),
    st.sampled_from(TYPED).flatmap(RULES_AND_PAIRS.__getitem__),
)
@example([], ("date(iso)", [("2024-02-10", "1976"), ("19763", "2024-02-10")]))
def test_kinds_under_rules_are_those_of_the_oracle(
    texts: list[str], drawn: tuple[str, list[tuple[str, str]]]
) -> None:
    typed, pairs = drawn
    chain, expected = chain_of(*texts, typed), oracle.arrange([*texts, typed], [], [])
    pairs = [pair for pair in pairs if not oracle.alike(expected, *pair)]
    cells = pl.DataFrame(
        pairs, schema={"old": pl.String, "new": pl.String}, orient="row"
    )
    assert classify_read(chain, cells["old"], cells["new"]).to_list() == [
        oracle.kind_read(expected, *pair) for pair in pairs
    ]
