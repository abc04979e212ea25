"""Rules: how two texts may differ and still be the same value. Pure.

A rule maps a text to a normal form, as a Polars expression; two cells are equal under a
column's rules if their normal forms are equal. A text that a rule cannot read stays as
it is. `decimal` and `date` may also tolerate a distance. It is computed exactly, in
integers, and is symmetric: `|o - n| <= max(abs, rel * max(|o|, |n|))`.

Rules are reflexive: cells of equal bytes are equal under every rule.

The effect of each rule of a column is counted by side: values that it `read` and that
it left `unread`. Blank values are neither. `trim`, `casefold` and `nulls` read every
value; `decimal` reads numbers, `date` days, `zeropad` digits, `lstrip0` digits and
letters. A cell that is unequal before a rule and equal after it is `made_equal`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.model import EXACT
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import LazyModule
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    # One row a rule, in the order of the chain: the columns of TALLY.
    Tally = NDArray[np.int64]
else:
    # The kernel begins to read files by the rules of their keys, before Polars is here.
    np, pl = LazyModule("numpy"), LazyModule("polars")

# Marks a normal form. Inputs cannot contain NUL, so no text is mistaken for one.
NORMAL_PREFIX: Final = "\0"
NUMBER_PATTERN: Final = r"^[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?$"
DIGIT_PATTERN: Final = r"[0-9]"
DIGITS_PATTERN: Final = r"^[0-9]+$"
CODE_PATTERN: Final = r"^[0-9A-Za-z]+$"
RULE_PATTERN: Final = lazy_pattern(r"([a-z0-9]+)(?:\((.*)\))?", re.DOTALL)
DAYS_PATTERN: Final = lazy_pattern(r"within=([0-9]{1,6})d")
MAX_WIDTH: Final = 1000
# An Int128 holds every number of 38 digits. One of them is left for a difference.
INTEGER_DIGITS: Final = 37
# The digits of a tolerance, written out. Exact arithmetic takes time that grows with
# them; 10,000 exceed any real tolerance.
MOST_DIGITS: Final = 10_000
MOST_RULES: Final = 100
DIRECTIVE: Final = lazy_pattern(r"%([-_0]?)(.?)", re.DOTALL)
DAY_DIRECTIVES: Final = frozenset("aAbBCdDeFgGhjmnqtuUvVwWxyY%")
# Two centuries, and months and days of one and of two digits: a format that loses any
# of these cannot read all three back.
TRIAL_DAYS: Final = (date(1987, 12, 31), date(2001, 2, 3), date(2024, 10, 9))

TALLY: Final = ("old read", "old unread", "new read", "new unread", "made equal")
READ: Final[Mapping[str, slice]] = {"old": slice(0, 2), "new": slice(2, 4)}
MADE_EQUAL: Final = 4


class Rule(Protocol):
    """One way in which texts may differ."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The normal form of a text; the text itself if the rule cannot read it."""
        ...

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        """Whether the rule reads a text; `form` is its normal form under this rule."""
        ...


# By column.
Tallies = dict[str, "Tally"]
Rules = Mapping[str, Sequence[Rule]]
NO_RULES: Final[Rules] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Trim:
    """Ignore white space at both ends."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        return text.str.strip_chars()

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.is_not_null()


@dataclass(frozen=True, slots=True)
class Casefold:
    """Ignore upper and lower case."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Lower case of the upper case: `ß` becomes `SS` becomes `ss`."""
        return text.str.to_uppercase().str.to_lowercase()

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.is_not_null()


@dataclass(frozen=True, slots=True)
class Nulls:
    """Read some texts as a blank."""

    texts: tuple[str, ...]

    def normal(self, text: pl.Expr) -> pl.Expr:
        return pl.when(text.is_in(list(self.texts))).then(pl.lit("")).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.is_not_null()


@dataclass(frozen=True, slots=True)
class Zeropad:
    """Pad digits with leading zeros to a width."""

    width: int

    def normal(self, text: pl.Expr) -> pl.Expr:
        padded = text.str.zfill(self.width)
        return pl.when(text.str.contains(DIGITS_PATTERN)).then(padded).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.str.contains(DIGITS_PATTERN)


@dataclass(frozen=True, slots=True)
class LeadingZeros:
    """Ignore leading zeros of a code."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The code without them; of zeros alone, one is kept."""
        bare = text.str.strip_chars_start("0")
        one = pl.when(bare == "").then(pl.lit("0")).otherwise(bare)
        return pl.when(text.str.contains(CODE_PATTERN)).then(one).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.str.contains(CODE_PATTERN)


@dataclass(frozen=True, slots=True)
class Number:
    """Compare as numbers, within a tolerance.

    `least`: the absolute, `share`: the relative tolerance, both inclusive.
    """

    least: Decimal = Decimal(0)
    share: Decimal = Decimal(0)

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Sign and digits without redundant zeros: of any length, as text."""
        digits = text.str.replace_all(",", "", literal=True)
        bare = digits.str.strip_chars_start("+-").str.strip_chars_start("0")
        size = (
            pl.when(bare.str.contains(".", literal=True))
            .then(bare.str.strip_chars_end("0"))
            .otherwise(bare + ".")
        )
        # Minus zero is zero. The 0 behind the sign keeps the integer part from being
        # empty.
        below = text.str.starts_with("-") & (size != ".")
        sign = (
            pl.when(below)
            .then(pl.lit(f"{NORMAL_PREFIX}-0"))
            .otherwise(pl.lit(f"{NORMAL_PREFIX}+0"))
        )
        number = text.str.contains(NUMBER_PATTERN) & text.str.contains(DIGIT_PATTERN)
        return pl.when(number).then(sign + size).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return _is_marked(text, form)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Whether both normal forms are numbers within the tolerance."""
        if not (self.least or self.share):
            return pl.repeat(False, len(old), eager=True)
        return _where_both_read(old, new, self._within, point=True)

    def _within(self, old: pl.Series, new: pl.Series) -> pl.Series:
        shift = max(
            max_decimal_places(old), max_decimal_places(new), -_exponent_of(self.least)
        )
        whole = max(
            max_integer_digits(old), max_integer_digits(new), self.least.adjusted() + 1
        )
        if whole + shift + _ratio_digits(self.share) > INTEGER_DIGITS:
            pairs = zip(old, new, strict=True)
            return pl.Series([self._within_exactly(*pair) for pair in pairs])
        # `size * share` in integers: the other side is multiplied by the denominator.
        top, bottom = self.share.as_integer_ratio()
        o, n = (
            as_scaled_integers(side, shift) for side in (pl.col("old"), pl.col("new"))
        )
        least = pl.lit(int(EXACT.scaleb(self.least, shift)), dtype=pl.Int128)
        apart, size = (o - n).abs(), pl.max_horizontal(o.abs(), n.abs())
        within = (apart <= least) | (apart * bottom <= size * top)
        return pl.DataFrame({"old": old, "new": new}).select(within).to_series()

    def _within_exactly(self, old: str, new: str) -> bool:
        """In decimals, because Python parses no integer of more than 4,300 digits."""
        o, n = Decimal(old), Decimal(new)
        apart = EXACT.subtract(o, n).copy_abs()
        size = max(o.copy_abs(), n.copy_abs())
        return apart <= max(self.least, EXACT.multiply(self.share, size))


@dataclass(frozen=True, slots=True)
class Day:
    """Compare as days, in one of several formats, at most `within` days apart."""

    formats: tuple[str, ...]
    within: int = 0

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Days since 1970, by the first format that reproduces the text."""
        days = pl.coalesce(_parse_day(text, each) for each in self.formats).cast(
            pl.Int32
        )
        read = NORMAL_PREFIX + days.cast(pl.String)
        return pl.when(days.is_not_null()).then(read).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return _is_marked(text, form)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Whether both normal forms are days, at most `within` days apart."""
        return _where_both_read(
            old,
            new,
            lambda o, n: (o.cast(pl.Int32) - n.cast(pl.Int32)).abs() <= self.within,
            point=False,
        )


def normal_form(rules: Sequence[Rule], text: pl.Expr) -> pl.Expr:
    """A text after all rules of a column, in order."""
    if len(rules) <= 1:
        return functools.reduce(lambda form, rule: rule.normal(form), rules, text)
    # A rule uses its text several times: nested expressions would grow exponentially.
    return text.map_batches(functools.partial(_forms, rules), return_dtype=pl.String)


def has_tolerance(rules: Sequence[Rule]) -> bool:
    """Whether texts of different normal forms may be equal."""
    match rules:
        case [*_, Number(least=least, share=share)]:
            return bool(least or share)
        case [*_, Day(within=within)]:
            return within > 0
        case _:
            return False


def equal_under_rules(
    rules: Sequence[Rule], old: pl.Series, new: pl.Series
) -> pl.Series:
    """Which pairs of texts are equal under the rules of a column, applied in order."""
    cells = pl.DataFrame({"old": old, "new": new}).select(
        normal_form(rules, pl.col(side)).alias(side) for side in ("old", "new")
    )
    return _same(rules, cells["old"], cells["new"])


def equal_and_counted(
    rules: Sequence[Rule], old: pl.Series, new: pl.Series
) -> tuple[pl.Series, Tally]:
    """As `equal_under_rules`, with the tally of each rule.

    Requires at least one rule.
    """
    tally, same = no_tally(rules), old == new
    steps = zip(tally, _steps(rules, old), _steps(rules, new), strict=True)
    for row, (left, *of_old), (right, *of_new) in steps:
        before, same = int(same.sum()), left == right
        row[:] = (*of_old, *of_new, int(same.sum()) - before)
        old, new = left, right
    near = _same(rules, old, new)
    # A tolerance belongs to the last rule of a chain.
    tally[-1, MADE_EQUAL] += int(near.sum()) - int(same.sum())
    return near, tally


def read_and_counted(
    rules: Sequence[Rule], texts: pl.Series, side: str
) -> tuple[pl.Series, Tally]:
    """The normal forms of a side's texts, and the tally of what each rule read."""
    tally = no_tally(rules)
    for row, (forms, *counts) in zip(tally, _steps(rules, texts), strict=True):
        row[READ[side]] = counts
        texts = forms
    return texts, tally


def no_tally(rules: Sequence[object]) -> Tally:
    """The tally of rules that met no value: shape (rules, 5), zeros."""
    return np.zeros((len(rules), len(TALLY)), np.int64)


def added(parts: Iterable[Tallies]) -> Tallies:
    """The tallies of several groups of values as one, by column."""
    result: Tallies = {}
    for part in parts:
        for column, tally in part.items():
            before = result.get(column)
            result[column] = tally if before is None else before + tally
    return result


def check_chain(column: str, spelled: Sequence[str]) -> None:
    """Raise ConfigError for a list of rules that is too long or has an invalid rule."""
    if len(spelled) > MOST_RULES:
        raise ConfigError(
            f"--rule {column}: {len(spelled):,} rules are too many",
            help=f"at most {MOST_RULES} rules per column",
        )
    for each in spelled:
        parse_rule(each)


def parse_rule(text: str) -> Rule:
    """Parse a rule such as `trim`, `nulls(NA,NULL)`, `decimal(abs=0.01)`.

    Raises ConfigError for an unknown or malformed rule, and for a date format that does
    not round-trip some trial days.
    """
    found = RULE_PATTERN.fullmatch(text.strip())
    name, inner = (found[1], found[2]) if found else (text.strip(), None)
    make = RULES.get(name)
    if make is None or not found:
        raise ConfigError(
            f"unknown rule {name}.{did_you_mean(name, RULES)}",
            help="one of: " + ", ".join(SPELLINGS),
        )
    try:
        return make([part.strip() for part in inner.split(",")] if inner else [])
    except (ValueError, InvalidOperation):
        raise ConfigError(
            f"rule {text.strip()} is malformed",
            help="such as: "
            + next(each for each in SPELLINGS if each.startswith(name)),
        ) from None


def _without_arguments(rule: Callable[[], Rule]) -> Callable[[list[str]], Rule]:
    def made(arguments: list[str]) -> Rule:
        if arguments:
            raise ValueError
        return rule()

    return made


def _make_nulls(arguments: list[str]) -> Rule:
    if not arguments:
        raise ValueError
    return Nulls(tuple(arguments))


def _make_zeropad(arguments: list[str]) -> Rule:
    [width] = arguments
    if not 1 <= int(width) <= MAX_WIDTH:
        raise ValueError
    return Zeropad(int(width))


def _make_number(arguments: list[str]) -> Rule:
    given = dict(each.split("=") for each in arguments)
    tolerances = {name.strip(): Decimal(value) for name, value in given.items()}
    if tolerances.keys() - {"abs", "rel"} or not all(
        value.is_finite() and value >= 0 for value in tolerances.values()
    ):
        raise ValueError
    if any(_ratio_digits(value) > MOST_DIGITS for value in tolerances.values()):
        raise ConfigError(
            f"a tolerance of rule decimal has more than {MOST_DIGITS:,} digits",
            help="such as: decimal(abs=0.01,rel=0.001)",
        )
    return Number(tolerances.get("abs", Decimal(0)), tolerances.get("rel", Decimal(0)))


def _make_day(arguments: list[str]) -> Rule:
    formats, *others = arguments
    within = 0
    for each in others:
        found = DAYS_PATTERN.fullmatch(each.replace(" ", ""))
        if found is None:
            raise ValueError
        within = int(found[1])
    if not all("%" in each for each in formats.split("|")):
        raise ValueError
    for each in formats.split("|"):
        _try_format(each)
    return Day(tuple(formats.split("|")), within)


def _try_format(form: str) -> None:
    """Raise ConfigError for a date format that does not round-trip the trial days."""
    for padding, letter in DIRECTIVE.findall(form):
        # Polars prints a warning for some other directives and fails for most.
        if letter not in DAY_DIRECTIVES or not letter:
            raise ConfigError(
                f"rule date: %{padding}{letter} in the format {form} is not part of a"
                " date",
                why="a date rule reads days: years, months, weeks and days",
                help="such as: date(%Y%m%d|%Y-%m-%d); write text that every value"
                " shares as it is: date(%Y-%m-%d 00:00:00)",
            )
    days = pl.Series(TRIAL_DAYS).alias("day").to_frame()
    try:
        written = days.select(text=pl.col("day").dt.strftime(form))
        read = written.select(_parse_day(pl.col("text"), form)).to_series().to_list()
    except pl.exceptions.PolarsError:
        read = []
    if read != list(TRIAL_DAYS):
        raise ConfigError(
            f"rule date: the format {form} does not read back a date that it writes",
            why="it must contain the year, the month and the day",
            help="such as: date(%Y%m%d|%Y-%m-%d)",
        )


RULES: Final[dict[str, Callable[[list[str]], Rule]]] = {
    "trim": _without_arguments(Trim),
    "casefold": _without_arguments(Casefold),
    "nulls": _make_nulls,
    "decimal": _make_number,
    "date": _make_day,
    "zeropad": _make_zeropad,
    "lstrip0": _without_arguments(LeadingZeros),
}
SPELLINGS: Final = (
    "trim",
    "casefold",
    "nulls(NA,NULL)",
    "decimal(abs=0.01,rel=0.001)",
    "date(%Y%m%d|%Y-%m-%d,within=1d)",
    "zeropad(9)",
    "lstrip0",
)


def _same(rules: Sequence[Rule], old: pl.Series, new: pl.Series) -> pl.Series:
    """Which pairs of normal forms are equal, or within the last rule's tolerance."""
    match rules:
        case [*_, Number() | Day() as last]:
            return (old == new) | last.near(old, new)
        case _:
            return old == new


def _forms(rules: Sequence[Rule], texts: pl.Series) -> pl.Series:
    for rule in rules:
        frame = texts.alias("text").to_frame()
        texts = frame.select(rule.normal(pl.col("text"))).to_series()
    return texts


def _steps(
    rules: Sequence[Rule], texts: pl.Series
) -> Iterator[tuple[pl.Series, int, int]]:
    """Yield after each rule the forms, and the numbers of read and unread values."""
    text, form = pl.col("text"), pl.col("form")
    for rule in rules:
        step = texts.alias("text").to_frame()
        step = step.with_columns(form=rule.normal(text))
        read, values = step.select(
            read=((text != "") & rule.reads(text, form)).sum(),
            values=(text != "").sum(),
        ).row(0)
        texts = step["form"]
        yield texts, read, values - read


def _is_marked(text: pl.Expr, form: pl.Expr) -> pl.Expr:
    """Whether this rule marked the form; an earlier rule may have marked the text."""
    return form.str.starts_with(NORMAL_PREFIX) & ~text.str.starts_with(NORMAL_PREFIX)


def _parse_day(text: pl.Expr, form: str) -> pl.Expr:
    """Parse a day strictly: a lenient date parser accepts `2026015` as well."""
    read = text.str.to_date(form, strict=False)
    return pl.when(read.dt.strftime(form) == text).then(read)


def _where_both_read(
    old: pl.Series,
    new: pl.Series,
    within: Callable[[pl.Series, pl.Series], pl.Series],
    *,
    point: bool,
) -> pl.Series:
    """Apply `within` to the pairs in which both forms are marked, without the mark.

    An earlier rule may have marked a form as another type: numbers have a `point`, days
    have none.
    """
    both = old.str.starts_with(NORMAL_PREFIX) & new.str.starts_with(NORMAL_PREFIX)
    for side in (old, new):
        both &= side.str.contains(".", literal=True) == point
    near = pl.repeat(False, len(old), eager=True)
    if not both.any():
        return near
    read = [side.filter(both).str.strip_prefix(NORMAL_PREFIX) for side in (old, new)]
    return near.scatter(both.arg_true(), within(*read))


def max_decimal_places(numbers: pl.Series) -> int:
    """The largest number of digits after the point among normal numbers."""
    after = numbers.str.len_bytes() - numbers.str.find(".", literal=True) - 1
    return int(after.max())  # type: ignore[arg-type]


def max_integer_digits(numbers: pl.Series) -> int:
    """The largest number of characters before the point among normal numbers."""
    return int(numbers.str.find(".", literal=True).max())  # type: ignore[arg-type]


def _exponent_of(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def _ratio_digits(number: Decimal) -> int:
    """An upper bound of the digits of either integer of the number's ratio."""
    return len(number.as_tuple().digits) + abs(_exponent_of(number))


def as_scaled_integers(number: pl.Expr, shift: int) -> pl.Expr:
    """Normal numbers times 10**`shift`; `shift` is at least their decimal places."""
    parts = number.str.split_exact(".", 1)
    fraction = parts.struct.field("field_1").str.pad_end(shift, "0")
    return (parts.struct.field("field_0") + fraction).cast(pl.Int128)
