"""Rules against plain Python: decimal, fractions, datetime, str."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recon_engine as rx
from recon_engine.errors import ConfigError
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import equal_under_rules
from recon_engine.rules.spelling import parse_rule


def same(spelled: str, old: str, new: str) -> bool:
    chain = chain_of(*spelled.split(";"))
    return bool(equal_under_rules(chain, pl.Series([old]), pl.Series([new])).item())


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.integers(-(10**25), 10**25).map(str),
    st.integers(0, 9999).map(lambda n: f"{n:,}.50"),
    st.sampled_from(
        ["0", "-0", "0.00", ".5", "5.", "+5", "00005", "1,000", "x", "", "."]
    ),
    st.from_regex(r"[+-]?[0-9]{0,45}(\.[0-9]{0,45})?", fullmatch=True),
)
NUMBER = re.compile(r"[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)?(\.[0-9]*)?")


def read(text: str) -> Fraction | None:
    """A number as people write them; Python's own grammar allows more."""
    if not NUMBER.fullmatch(text) or not any(char.isdigit() for char in text):
        return None
    whole, _, rest = text.replace(",", "").partition(".")
    sign = -1 if whole.startswith("-") else 1
    digits = whole.lstrip("+-") + rest
    return Fraction(sign * int(digits), 10 ** len(rest))


@given(old=NUMBERS, new=NUMBERS)
def test_the_same_number_is_equal_however_written(old: str, new: str) -> None:
    o, n = read(old), read(new)
    expected = o == n if o is not None and n is not None else old == new
    assert same("decimal", old, new) == expected


@given(
    old=NUMBERS,
    step=st.sampled_from(["0", "0.01", "-0.01", "0.0100001", "1", "-7.5", "1e-30"]),
    least=st.sampled_from(
        ["0", "0.01", "1", "7.5", "0.000000000000000000000000000001"]
    ),
    share=st.sampled_from(["0", "0.001", "0.1", "1", "0.333333333333333333333"]),
)
def test_a_tolerance_is_exact_and_inclusive(
    old: str, step: str, least: str, share: str
) -> None:
    o = read(old)
    rule = f"decimal(abs={least},rel={share})"
    if o is None:
        assert same(rule, old, old)
        return
    n = o + Fraction(step)
    new = written(n)
    limit = max(Fraction(least), Fraction(share) * max(abs(o), abs(n)))
    assert same(rule, old, new) == (abs(o - n) <= limit)
    assert same(rule, old, new) == same(rule, new, old)


@pytest.mark.parametrize(
    ("rule", "old", "new", "expected"),
    [
        ("decimal(abs=1)", "1" * 5000 + "1", "1" * 5000 + "2", True),
        ("decimal(abs=1)", "1" * 5000 + "1", "1" * 5000 + "3", False),
        ("decimal(abs=1)", "-0." + "1" * 5000, "-1." + "1" * 5000, True),
        ("decimal(abs=1)", "-0." + "1" * 5000, "-1." + "1" * 4999 + "2", False),
        ("decimal(rel=0.5)", "1" + "0" * 5000, "2" + "0" * 5000, True),
        ("decimal(rel=0.5)", "1" + "0" * 5000, "2" + "0" * 4999 + "1", False),
        ("decimal(rel=1e-5000)", "1", "1.1", False),
        ("decimal(rel=1e40)", "1", "3", True),
        ("decimal(abs=1e50)", "1", "3", True),
        ("decimal(abs=1e5000)", "1", "3", True),
    ],
)
def test_numbers_and_tolerances_may_have_any_number_of_digits(
    rule: str, old: str, new: str, *, expected: bool
) -> None:
    assert same(rule, old, new) is expected


def written(number: Fraction) -> str:
    """All digits of a fraction whose denominator divides a power of ten."""
    places = next(n for n in range(100) if 10**n % number.denominator == 0)
    digits = f"{abs(number.numerator) * 10**places // number.denominator:0{places + 1}}"
    text = digits[: len(digits) - places] + ("." + digits[-places:] if places else "")
    return f"-{text}" if number < 0 else text


FORMATS = ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y")
DATES = st.one_of(
    st.builds(
        lambda day, form: day.strftime(form),
        st.dates(date(1900, 1, 1), date(2100, 1, 1)),
        st.sampled_from(FORMATS),
    ),
    st.sampled_from(["", "20260230", "2026-1-5", "never"]),
)


@given(old=DATES, new=DATES, within=st.integers(0, 40_000))
def test_days_are_equal_in_any_format_and_near_by_days(
    old: str, new: str, within: int
) -> None:
    o, n = day(old), day(new)
    rule = f"date({'|'.join(FORMATS)},within={within}d)"
    expected = old == new if o is None or n is None else abs((o - n).days) <= within
    assert same(rule, old, new) == expected


def day(text: str) -> date | None:
    for form in FORMATS:
        with suppress(ValueError):
            found = datetime.strptime(text, form).date()  # noqa: DTZ007
            # Days and months may have one digit beside a separator.
            if form != "%Y%m%d" or found.strftime(form) == text:
                return found
    return None


@pytest.mark.parametrize(
    ("rule", "old", "new", "expected"),
    [
        ("trim", " a\t", "a", True),
        ("trim", "a b", "ab", False),
        ("casefold", "Straße", "STRASSE", True),
        ("casefold", "a", "b", False),
        ("nulls(NA,NULL)", "NA", "", True),
        ("nulls(NA,NULL)", "NA", "NULL", True),
        ("nulls(NA,NULL)", "na", "", False),
        ("zeropad(5)", "123", "00123", True),
        ("zeropad(5)", "123", "000123", False),
        ("zeropad(5)", "A23", "00A23", False),
        ("lstrip0", "000", "0", True),
        ("lstrip0", "0A7", "A7", True),
        ("lstrip0", "0", "", False),
        ("lstrip0", "0-7", "-7", False),
        ("trim;nulls(NA);decimal", " NA ", "", True),
        ("trim;decimal(abs=0.01)", " 1.00 ", "1.01", True),
        ("trim", "1.0", "1", False),
        ("scale(2,abs=0.01)", "12345", "12346", True),
        ("scale(2,abs=0.01)", "12345", "12347", False),
        # Text rules come first, in whatever order rules are given.
        ("decimal;trim", " 1.0", "1", True),
        ("decimal(abs=1);zeropad(4)", "7", "8.0", True),
        ("date(%Y%m%d,within=1d);trim", "20260101 ", "20260102", True),
    ],
)
def test_a_rule_says_which_texts_are_equal(
    rule: str, old: str, new: str, *, expected: bool
) -> None:
    assert same(rule, old, new) is expected
    assert same(rule, new, old) is expected


CELLS = st.one_of(
    NUMBERS, DATES, st.text(max_size=12).filter(lambda text: "\0" not in text)
)


@given(
    texts=st.lists(CELLS, min_size=1, max_size=4), others=st.lists(CELLS, max_size=2)
)
def test_equal_bytes_are_equal_under_every_rule(
    texts: list[str], others: list[str]
) -> None:
    """In any row, among any other texts."""
    old, new = pl.Series([*texts, *others]), pl.Series([*others, *texts])
    for rule in (
        "trim", "casefold", "nulls(a)", "decimal(abs=1)", "scale(2,abs=1)",
        f"date({'|'.join(FORMATS)},within=1d)", "zeropad(4)", "lstrip0",
    ):  # fmt: skip
        equal = equal_under_rules(chain_of(rule), old[: len(texts)], new[len(others) :])
        assert equal.all(), rule


@pytest.mark.parametrize(
    "spelled",
    ["", "trimm", "trim(1)", "nulls", "nulls()", "zeropad", "zeropad(0)", "zeropad(x)",
     "decimal(abs=x)", "decimal(abs=-1)", "decimal(rel=nan)", "decimal(tol=1)",
     "date", "date(tomorrow)", "date(%Y,within=1)", "date(%Y,near=1d)", "trim) (trim"],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_the_spellings(spelled: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(spelled)
    assert caught.value.help


def test_totals_are_read_by_the_notation_of_each_side() -> None:
    old = pl.DataFrame(
        {
            "ID": ["1", "2", "3", "4", "5"],
            "PAID": ["$1,234.50", "(45.00)", "$7", "", "$10.00"],
        }
    )
    new = pl.DataFrame(
        {"ID": ["1", "2", "3", "4", "6"], "PAID": ["123450", "-4400", "700", "", "125"]}
    )
    rules: Any = {
        "old_rules": {"PAID": "decimal(money=$)"},
        "new_rules": {"PAID": "scale(2)"},
    }
    d = rx.diff(old, new, keys="ID", **rules)
    assert d.counts.mismatched_cells == 1
    [total] = d.totals
    # Cells that a rule makes equal are on both sides of the sum.
    assert total.parts() == {
        "old": Decimal("1196.50"),
        "new": Decimal("1197.50"),
        "missing": 10,
        "extra": Decimal("1.25"),
    }
    assert total.delta == 1
    d = rx.diff(old, new.with_columns(PAID=pl.lit("x")), keys="ID", **rules)
    assert d.totals == ()
