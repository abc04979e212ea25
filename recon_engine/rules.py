"""Rules: in what ways two texts may differ and still be the same value. Pure.

A rule turns a text into a normal form, as a Polars expression; two cells are equal
under a column's rules if their normal forms are. What a rule cannot read it leaves as
it is. `decimal` and `date` may also tolerate a distance, which is measured exactly, in
whole numbers, and symmetric: `|o - n| <= max(abs, rel * max(|o|, |n|))`.

Rules are reflexive: cells of equal bytes are equal under each of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from recon_engine.errors import ConfigError, did_you_mean
from recon_engine.lazy import Lazy
from recon_engine.model import EXACT


if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
else:
    pl = Lazy("polars")

# The gate refuses NUL, so no text of a file is taken for a normal form.
NORMAL: Final = "\0"
NUMBER: Final = r"^[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?$"
DIGIT: Final = r"[0-9]"
DIGITS: Final = r"^[0-9]+$"
CODE: Final = r"^[0-9A-Za-z]+$"
SPELLED: Final = re.compile(r"([a-z0-9]+)(?:\((.*)\))?", re.DOTALL)
DAYS: Final = re.compile(r"within=([0-9]{1,6})d")
WIDEST: Final = 1000
INTEGER_DIGITS: Final = 37


class Rule(Protocol):
    """One way in which texts may differ."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The normal form of a text; the text itself where it cannot be read."""
        ...


Rules = Mapping[str, Sequence[Rule]]
NO_RULES: Final[Rules] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Trim:
    """White space at both ends does not count."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Without it."""
        return text.str.strip_chars()


@dataclass(frozen=True, slots=True)
class Casefold:
    """Upper and lower case do not count."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """In lower case, by way of upper case: `ß` is `SS` is `ss`."""
        return text.str.to_uppercase().str.to_lowercase()


@dataclass(frozen=True, slots=True)
class Nulls:
    """Some texts stand for a blank."""

    texts: tuple[str, ...]

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Blank, if it is one of them."""
        return pl.when(text.is_in(list(self.texts))).then(pl.lit("")).otherwise(text)


@dataclass(frozen=True, slots=True)
class Zeropad:
    """Digits are as wide as zeros before them make them."""

    width: int

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Digits filled up to the width."""
        padded = text.str.zfill(self.width)
        return pl.when(text.str.contains(DIGITS)).then(padded).otherwise(text)


@dataclass(frozen=True, slots=True)
class LeadingZeros:
    """Zeros at the beginning of a code do not count."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """A code without them; of zeros alone, one is left."""
        bare = text.str.strip_chars_start("0")
        one = pl.when(bare == "").then(pl.lit("0")).otherwise(bare)
        return pl.when(text.str.contains(CODE)).then(one).otherwise(text)


@dataclass(frozen=True, slots=True)
class Number:
    """The same number may be written in another way, or be near enough.

    `least` and `share` are the absolute and the relative tolerance, inclusive.
    """

    least: Decimal = Decimal(0)
    share: Decimal = Decimal(0)

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Sign and digits without zeros that say nothing: of any length, as text."""
        digits = text.str.replace_all(",", "", literal=True)
        bare = digits.str.strip_chars_start("+-").str.strip_chars_start("0")
        size = (
            pl.when(bare.str.contains(".", literal=True))
            .then(bare.str.strip_chars_end("0"))
            .otherwise(bare + ".")
        )
        below = text.str.starts_with("-") & (size != ".")
        sign = (
            pl.when(below).then(pl.lit(f"{NORMAL}-0")).otherwise(pl.lit(f"{NORMAL}+0"))
        )
        number = text.str.contains(NUMBER) & text.str.contains(DIGIT)
        return pl.when(number).then(sign + size).otherwise(text)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Of normal forms, whether both are numbers, and within the tolerance."""
        if not (self.least or self.share):
            return pl.repeat(False, len(old), eager=True)
        return _where_both_read(old, new, self._within, point=True)

    def _within(self, old: pl.Series, new: pl.Series) -> pl.Series:
        shift = max(places(old), places(new), -_exponent(self.least))
        whole = max(longest(old), longest(new), self.least.adjusted() + 1)
        if whole + shift + _ratio_digits(self.share) > INTEGER_DIGITS:
            pairs = zip(old, new, strict=True)
            return pl.Series([self._within_exactly(*pair) for pair in pairs])
        top, bottom = self.share.as_integer_ratio()
        o, n = (integers(side, shift) for side in (pl.col("old"), pl.col("new")))
        least = pl.lit(int(EXACT.scaleb(self.least, shift)), dtype=pl.Int128)
        apart, size = (o - n).abs(), pl.max_horizontal(o.abs(), n.abs())
        within = (apart <= least) | (apart * bottom <= size * top)
        return pl.DataFrame({"old": old, "new": new}).select(within).to_series()

    def _within_exactly(self, old: str, new: str) -> bool:
        """In decimals: Python reads no integer of more than 4,300 digits."""
        o, n = Decimal(old), Decimal(new)
        apart = EXACT.subtract(o, n).copy_abs()
        size = max(o.copy_abs(), n.copy_abs())
        return apart <= max(self.least, EXACT.multiply(self.share, size))


@dataclass(frozen=True, slots=True)
class Day:
    """The same day may be written in another format, or be some days away."""

    formats: tuple[str, ...]
    within: int = 0

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The day, in days since 1970, by the first format that writes it so."""
        days = pl.coalesce(_day(text, each) for each in self.formats).cast(pl.Int32)
        read = NORMAL + days.cast(pl.String)
        return pl.when(days.is_not_null()).then(read).otherwise(text)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Of normal forms, whether both are days, and no more than `within` apart."""
        return _where_both_read(
            old,
            new,
            lambda o, n: (o.cast(pl.Int32) - n.cast(pl.Int32)).abs() <= self.within,
            point=False,
        )


def normal_form(rules: Sequence[Rule], text: pl.Expr) -> pl.Expr:
    """A text after all rules of a column, in order."""
    return functools.reduce(lambda form, rule: rule.normal(form), rules, text)


def tolerates(rules: Sequence[Rule]) -> bool:
    """Whether texts of different normal forms may be equal: a distance is allowed."""
    match rules:
        case [*_, Number(least=least, share=share)]:
            return bool(least or share)
        case [*_, Day(within=within)]:
            return within > 0
        case _:
            return False


def equal(rules: Sequence[Rule], old: pl.Series, new: pl.Series) -> pl.Series:
    """Which pairs of texts are equal under the rules of a column, applied in order."""
    cells = pl.DataFrame({"old": old, "new": new}).select(
        normal_form(rules, pl.col(side)).alias(side) for side in ("old", "new")
    )
    same = cells["old"] == cells["new"]
    match rules:
        case [*_, Number() | Day() as last]:
            return same | last.near(cells["old"], cells["new"])
        case _:
            return same


def parse(text: str) -> Rule:
    """A rule as it is spelled: `trim`, `nulls(NA,NULL)`, `decimal(abs=0.01)`.

    Raises ConfigError, with the spellings there are.
    """
    found = SPELLED.fullmatch(text.strip())
    name, inner = (found[1], found[2]) if found else (text.strip(), None)
    make = RULES.get(name)
    if make is None or not found:
        raise ConfigError(
            f"there is no rule {name}.{did_you_mean(name, RULES)}",
            help="one of: " + ", ".join(SPELLINGS),
        )
    try:
        return make([part.strip() for part in inner.split(",")] if inner else [])
    except (ValueError, InvalidOperation):
        raise ConfigError(
            f"rule {text.strip()} is not spelled right",
            help="such as: "
            + next(each for each in SPELLINGS if each.startswith(name)),
        ) from None


def _plain(rule: Callable[[], Rule]) -> Callable[[list[str]], Rule]:
    def made(arguments: list[str]) -> Rule:
        if arguments:
            raise ValueError
        return rule()

    return made


def _nulls(arguments: list[str]) -> Rule:
    if not arguments:
        raise ValueError
    return Nulls(tuple(arguments))


def _zeropad(arguments: list[str]) -> Rule:
    [width] = arguments
    if not 1 <= int(width) <= WIDEST:
        raise ValueError
    return Zeropad(int(width))


def _decimal(arguments: list[str]) -> Rule:
    given = dict(each.split("=") for each in arguments)
    tolerances = {name.strip(): Decimal(value) for name, value in given.items()}
    if tolerances.keys() - {"abs", "rel"} or not all(
        value.is_finite() and value >= 0 for value in tolerances.values()
    ):
        raise ValueError
    return Number(tolerances.get("abs", Decimal(0)), tolerances.get("rel", Decimal(0)))


def _date(arguments: list[str]) -> Rule:
    formats, *rest = arguments
    within = 0
    for each in rest:
        found = DAYS.fullmatch(each.replace(" ", ""))
        if found is None:
            raise ValueError
        within = int(found[1])
    if not all("%" in each for each in formats.split("|")):
        raise ValueError
    return Day(tuple(formats.split("|")), within)


RULES: Final[dict[str, Callable[[list[str]], Rule]]] = {
    "trim": _plain(Trim),
    "casefold": _plain(Casefold),
    "nulls": _nulls,
    "decimal": _decimal,
    "date": _date,
    "zeropad": _zeropad,
    "lstrip0": _plain(LeadingZeros),
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


def _day(text: pl.Expr, form: str) -> pl.Expr:
    """Strictly: a reader of dates takes `2026015` for one as well."""
    read = text.str.to_date(form, strict=False)
    return pl.when(read.dt.strftime(form) == text).then(read)


def _where_both_read(
    old: pl.Series,
    new: pl.Series,
    within: Callable[[pl.Series, pl.Series], pl.Series],
    *,
    point: bool,
) -> pl.Series:
    """`within` of the pairs whose normal forms both were read, less their mark.

    An earlier rule may have read some for what they are not now: numbers have a
    `point`, days have none.
    """
    both = old.str.starts_with(NORMAL) & new.str.starts_with(NORMAL)
    for side in (old, new):
        both &= side.str.contains(".", literal=True) == point
    near = pl.repeat(False, len(old), eager=True)
    if not both.any():
        return near
    read = [side.filter(both).str.strip_prefix(NORMAL) for side in (old, new)]
    return near.scatter(both.arg_true(), within(*read))


def places(numbers: pl.Series) -> int:
    """The longest fraction among normal numbers."""
    after = numbers.str.len_bytes() - numbers.str.find(".", literal=True) - 1
    return int(after.to_numpy().max())


def longest(numbers: pl.Series) -> int:
    """The longest whole part among normal numbers."""
    return int(numbers.str.find(".", literal=True).to_numpy().max())


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def _ratio_digits(number: Decimal) -> int:
    """How many digits its ratio of two integers has at most, in either of them."""
    return len(number.as_tuple().digits) + abs(_exponent(number))


def integers(number: pl.Expr, shift: int) -> pl.Expr:
    """Normal numbers times ten to `shift`, which is not less than their places."""
    parts = number.str.split_exact(".", 1)
    fraction = parts.struct.field("field_1").str.pad_end(shift, "0")
    return (parts.struct.field("field_0") + fraction).cast(pl.Int128)
