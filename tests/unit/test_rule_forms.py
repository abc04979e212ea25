"""The normal form of every rule is that of the oracle, also for what is nearly read."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import oracle

from recon_engine.errors import ConfigError
from recon_engine.rules import chains
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import read_and_counted, read_forms
from recon_engine.rules.spelling import parse_rule


if TYPE_CHECKING:
    from recon_engine.rules.chains import Chain


NUMBERS = st.one_of(
    st.from_regex(
        r"[-+(]?[$€]?[ \u00a0]?[-+]?[0-9]{0,4}([.,][0-9]{3}){0,2}([.,][0-9]{0,3})?"
        r"([eE][+-]?[0-9]{1,4})?\s?%?[-+]?[ \u202f]?[$€]?\)?",
        fullmatch=True,
    ),
    st.from_regex(r"[+-]?[0-9]{1,45}(\.[0-9]{0,45})?(e-?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["1E400", "1E401", "1e-0400", "(1.00-)", "$-5-", ".5%", "%", "()"]),
)
DAYS = st.one_of(
    st.from_regex(r"[0-9]{1,4}[-./]?[0-9]{1,2}[-./]?[0-9]{1,4}", fullmatch=True),
    st.from_regex(
        r"[0-9]{1,2}-?(jan|FEB|Mar|Apr|Foo|dec)-?([0-9]{2}){1,2}", fullmatch=True
    ),
    st.dates().map(lambda day: day.strftime("%Y-%m-%d")),
    st.sampled_from(
        ["29-FEB-00", "29-Feb-2000", "1900-02-29", "0999-01-01", "2026-2-3"]
    ),
)
INSTANTS = st.one_of(
    st.from_regex(
        r"(1[09]|20|99)[0-9]{2}-(0?[1-9]|1[0-2])-[0-3]?[0-9]"
        r"([T ][012]?[0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?"
        r"(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?",
        fullmatch=True,
    ),
    # Around the changes of clocks, of any year.
    st.builds(
        "{}-{} {:02}:{:02}:00".format,
        st.integers(1880, 2500),
        st.sampled_from(
            ["03-08", "03-14", "04-26", "10-31", "11-01", "11-07", "11-18"]
        ),
        st.integers(0, 4),
        st.sampled_from([0, 29, 30, 59]),
    ),
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from("aAß \t\u00a0\u200b\r\n='\"-.(),0é\u0308\u0301oÖ"),
        st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"),
    ),
    max_size=8,
)
WORDS = st.sampled_from(["true", "FALSE", "Y", "n", "J", "1", "0", "yes", "a", "b", ""])
NEAR = {
    "decimal": NUMBERS,
    "scale": NUMBERS,
    "date": DAYS,
    "timestamp": INSTANTS,
    "boolean": WORDS,
    "map": WORDS,
}
NAMES = {rule: rule.split("(", maxsplit=1)[0] for rule in oracle.NORMAL}


def lists_near(name: str) -> st.SearchStrategy[list[str]]:
    """Texts that a rule of this name reads or nearly reads, and any others."""
    text = st.one_of(NEAR[name], TEXTS) if name in NEAR else TEXTS
    return st.lists(text, min_size=1, max_size=30)


# One list is read by all rules of a name: to draw it takes longer than to read it.
@pytest.mark.parametrize("name", [*dict.fromkeys(NAMES.values())])
@given(st.data())
def test_a_normal_form_is_that_of_the_oracle(name: str, data: st.DataObject) -> None:
    texts = data.draw(lists_near(name))
    given = [text for text in texts if text]
    for rule in (rule for rule, its in NAMES.items() if its == name):
        expected = [oracle.NORMAL[rule](text) for text in texts]
        chain = chain_by_rule(rule)
        [row] = read_and_counted(chain, pl.Series(texts), "old")[1].tolist()
        read = sum(oracle.READS[name](rule, text) for text in given)
        assert (rule, row[0], row[1]) == (rule, read, len(given) - read)
        forms = read_forms(chain.of("old"), pl.Series(texts)).to_list()
        # Where a code table reads a side, an unlisted code is marked.
        marked = [form.removeprefix("\0\0old\0") for form in forms]
        assert (rule, marked) == (rule, expected)


@pytest.mark.parametrize("words", ["", ",exp", ",exp,percent,trailing", ",comma,exp"])
@pytest.mark.parametrize("sign", ["e", "E", "EE", "eE", "EUR", "€", "x", "\u0415"])
def test_a_currency_sign_is_not_taken_for_a_part_of_the_number(
    sign: str, words: str
) -> None:
    rule = f"decimal(money={sign}{words})"
    if sign in {"e", "E"} and "exp" in words:
        with pytest.raises(ConfigError, match="is that of an exponent"):
            parse_rule(rule)
        return
    sizes = ["1", "1E3", "1e3", "1E+3", "1.5e-3", "1E3E", "E", "13", "1E3-", "1e3 %"]
    texts = [
        form.format(size, sign)
        for size in sizes
        for form in ("{0}", "{0}{1}", "{0} {1}", "{1}{0}", "{1} -{0}", "({1}{0})")
    ]
    read = oracle._written_or_text(rule)
    forms = read_forms(chain_of(rule).of("old"), pl.Series(texts)).to_list()
    assert dict(zip(texts, forms, strict=True)) == {text: read(text) for text in texts}


def texts_of(pattern: str) -> st.SearchStrategy[str]:
    """Texts of a pattern of instants, with each number in any number of digits."""
    near = pattern
    for name, digits in [
        ("Y", "(1[09]|20)[0-9]{2}"), ("m", "0?[1-9]|1[0-2]"), ("d", "[0-2]?[0-9]"),
        ("H", "[01]?[0-9]|2[0-4]"), ("I", "0?[0-9]|1[0-3]"), ("M", "[0-6]?[0-9]"),
        ("S", "[0-6]?[0-9]"), ("f", "[0-9]{1,10}"),
    ]:  # fmt: skip
        near = re.sub(rf"\(\?P<{name}>[^)]*\)", f"({digits})", near)
    return st.from_regex(near, fullmatch=True)


@given(
    st.sampled_from([*oracle.INSTANTS]).flatmap(
        lambda form: st.tuples(
            st.just(form),
            st.lists(texts_of(oracle.INSTANTS[form]), min_size=1, max_size=30),
        )
    )
)
@example(("%Y%m%d %H%M%S", ["20240131 123405", "20240131 12345"]))
@example(("%Y%m%d%H%M", ["202401311230", "20240131930", "20240131123"]))
@example(("%d.%m.%Y %I%M %p", ["1.2.2024 0930 AM", "1.2.2024 930 am"]))
def test_an_instant_in_any_format_is_that_of_the_oracle(
    drawn: tuple[str, list[str]],
) -> None:
    """Also without separators, where one digit fewer could be another time of day."""
    form, texts = drawn
    expected = [oracle.instant_in_utc(oracle.INSTANTS[form], text) for text in texts]
    rules = chain_by_rule(f"timestamp({form},zone=UTC)").of("old")
    assert read_forms(rules, pl.Series(texts)).to_list() == expected


@functools.cache
def chain_by_rule(rule: str) -> Chain:
    return chain_of(rule)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
@example(["1", "2"])
def test_texts_that_repeat_are_read_once_with_the_same_forms(texts: list[str]) -> None:
    """A column of many texts is read as the dictionary of its distinct texts."""
    chain = chain_of("trim", "decimal(money=$,exp,trailing,percent)")
    many = pl.Series(texts * 40)
    expected = read_forms(chain.of("old"), many)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "MANY_TEXTS", 1)
        patch.setattr(chains, "FEW_TEXTS", 1)
        patch.setattr(chains, "MOST_DISTINCT", 2)
        assert read_forms(chain.of("old"), many).equals(expected)
