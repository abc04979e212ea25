"""Numbers: notations, exact normal forms, and tolerances.

A normal number is NUL, the sign, a zero, the digits before the point, the point, and
the digits after it, without redundant zeros: `-12.50` is `-012.5` behind a NUL. It may
have any number of digits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from recon_engine.model import EXACT, SIDES
from recon_engine.records import dataclass
from recon_engine.rules.base import NORMAL_PREFIX, is_marked, is_read_form
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    import polars as pl
else:
    pl = LazyModule("polars")

NUMBER_PATTERN: Final = r"^[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?$"
DIGIT_PATTERN: Final = r"[0-9]"
IMPLIED_PATTERN: Final = r"^[+-]?[0-9]+$"
# An Int128 holds every number of 38 digits. One of them is left for a difference.
INTEGER_DIGITS: Final = 37
MAX_IMPLIED: Final = 30
# Exponents from -400 to 400, with any zeros before them.
EXPONENT: Final = r"[eE][+-]?0*(?:[0-9]{1,2}|[1-3][0-9]{2}|400)"
# A space, a no-break space, a narrow no-break space: between an amount and its sign.
GAP: Final = "[ \u00a0\u202f]?"
GAPS: Final = "[ \u00a0\u202f]"
SIGN: Final = "[+-]"


class Amount:
    """What every rule of numbers has: a tolerance, which is 0 by default.

    `least`: the absolute, `share`: the relative tolerance, both inclusive.
    """

    __slots__ = ()

    least: Decimal
    share: Decimal

    @property
    def family(self) -> str:
        """Numbers are compared with numbers."""
        return "number"

    @property
    def has_tolerance(self) -> bool:
        """Whether different numbers may be equal."""
        return bool(self.least or self.share)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return is_marked(text, form)

    def write(self, plain: pl.Expr) -> pl.Expr:
        """A number such as `-1234.50` as a text that the rule reads as this number."""
        return plain

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Whether both normal forms are numbers within the tolerance."""
        if not self.has_tolerance:
            return pl.repeat(False, len(old), eager=True)
        return NumberPairs(old, new).are_within(self.least, self.share)


class NumberPairs:
    """Pairs of normal forms, read once to be asked about several tolerances."""

    def __init__(self, old: pl.Series, new: pl.Series) -> None:
        """Find the pairs of two numbers, and scale them to integers if they fit."""
        self._size = len(old)
        both = is_read_form(old) & is_read_form(new)
        self._places = both.arg_true()
        if self._places.is_empty():
            return
        bare = pl.col(*SIDES).filter(both).str.strip_prefix(NORMAL_PREFIX)
        frame = pl.DataFrame({"old": old, "new": new})
        self._texts = frame.select(bare)
        self._shift, self._digits = _largest_sizes(self._texts)
        self._integers: pl.DataFrame | None = None
        if self._digits + self._shift <= INTEGER_DIGITS:
            self._integers = self._texts.select(
                as_scaled_integers(pl.col(side), self._shift).alias(side)
                for side in SIDES
            )

    def are_within(self, least: Decimal, share: Decimal = Decimal(0)) -> pl.Series:
        """Which pairs are two numbers within the larger of both tolerances.

        `least`: the absolute, `share`: the relative tolerance.
        """
        near = pl.repeat(False, self._size, eager=True)
        if self._places.is_empty():
            return near
        room = max(self._digits, least.adjusted() + 1) + self._shift
        if self._integers is None or room + ratio_digits(share) > INTEGER_DIGITS:
            pairs = self._texts.iter_rows()
            within = pl.Series([_is_within(o, n, least, share) for o, n in pairs])
        else:
            # What is below one unit of the integers makes no difference to them.
            bound = pl.lit(int(EXACT.scaleb(least, self._shift)), dtype=pl.Int128)
            old, new = pl.col("old"), pl.col("new")
            apart = (old - new).abs()
            near_enough = apart <= bound
            if share:
                # In integers: the other side is multiplied by the denominator.
                top, bottom = share.as_integer_ratio()
                size = pl.max_horizontal(old.abs(), new.abs())
                near_enough |= apart * bottom <= size * top
            within = self._integers.select(near_enough).to_series()
        return near.scatter(self._places, within)


def _is_within(old: str, new: str, least: Decimal, share: Decimal) -> bool:
    """In decimals, because Python parses no integer of more than 4,300 digits."""
    o, n = Decimal(old), Decimal(new)
    apart = EXACT.subtract(o, n).copy_abs()
    size = max(o.copy_abs(), n.copy_abs())
    return apart <= max(least, EXACT.multiply(share, size))


def _largest_sizes(numbers: pl.DataFrame) -> tuple[int, int]:
    """The most digits after, and characters before, the point of normal numbers."""
    point = pl.col(*SIDES).str.find(".", literal=True)
    after = pl.col(*SIDES).str.len_bytes() - point - 1
    sizes = numbers.select(
        after=pl.max_horizontal(after.max()), before=pl.max_horizontal(point.max())
    )
    shift, digits = sizes.row(0)
    return int(shift), int(digits)


@dataclass(frozen=True, slots=True)
class Number(Amount):
    """A number with a point, and with or without commas between groups of three."""

    least: Decimal = Decimal(0)
    share: Decimal = Decimal(0)

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Sign and digits without redundant zeros: of any length, as text."""
        digits = text.str.replace_all(",", "", literal=True)
        bare = digits.str.strip_chars_start("+-")
        number = text.str.contains(NUMBER_PATTERN) & text.str.contains(DIGIT_PATTERN)
        form = _form(text.str.starts_with("-"), bare)
        return pl.when(number).then(form).otherwise(text)


@dataclass(frozen=True, slots=True)
class WrittenNumber(Amount):
    """A number in the notation of a source.

    `comma`: decimal comma, and points between groups of three. `money`: the currency
    sign, "" for none. `exp`: exponents. `trailing`: a sign after the digits.
    `percent`: `12.5%` is 0.125.
    """

    least: Decimal = Decimal(0)
    share: Decimal = Decimal(0)
    comma: bool = False
    money: str = ""
    exp: bool = False
    trailing: bool = False
    percent: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression of what is a number in this notation."""
        group, point = (r"\.", ",") if self.comma else (",", r"\.")
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{group}[0-9]{{3}})+)"
        size = rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)"
        size += f"(?:{EXPONENT})?" * self.exp + f"(?:{GAP}%)?" * self.percent
        forms = [f"{SIGN}?{size}"]
        if self.money:
            sign = re.escape(self.money)
            forms += [
                rf"{SIGN}?{sign}{GAP}{size}",
                rf"{sign}{GAP}{SIGN}{size}",
                rf"{SIGN}?{size}{GAP}{sign}",
                rf"\((?:{sign}{GAP})?{size}\)",
                rf"\({size}{GAP}{sign}\)",
            ]
        if self.trailing:
            forms.append(rf"{size}{SIGN}")
            if self.money:
                forms += [
                    rf"{sign}{GAP}{size}{SIGN}",
                    rf"{size}{SIGN}{GAP}{sign}",
                ]
        return f"^(?:{'|'.join(forms)})$"

    def normal(self, text: pl.Expr) -> pl.Expr:
        """As `Number`, after the notation is removed."""
        return text.map_batches(self._read, return_dtype=pl.String)

    def write(self, plain: pl.Expr) -> pl.Expr:
        return plain.str.replace(".", ",", literal=True) if self.comma else plain

    def _read(self, texts: pl.Series) -> pl.Series:
        """Step by step: as one expression, each part would be evaluated many times.

        As one query without an optimizer, which takes longer than a step of few texts.
        """
        text, bare, digits = pl.col("text"), pl.col("bare"), pl.col("digits")
        steps = [
            {"bare": self._without_signs(text), "moved": pl.lit(0, pl.Int64)},
            {"below": text.str.starts_with("(") | bare.str.contains("-", literal=True)},
        ]
        if self.percent:
            shared = bare.str.contains("%", literal=True)
            steps += [
                {
                    "moved": pl.when(shared).then(-2).otherwise(0),
                    "bare": bare.str.replace("%", "", literal=True),
                }
            ]
        if self.exp:
            mark = pl.col("mark")
            size = pl.coalesce(mark, bare.str.len_bytes())
            # A sign behind the exponent belongs to the number.
            power = bare.str.slice(mark + 1).str.strip_chars_end("+-()")
            power = power.cast(pl.Int64, strict=False).fill_null(0)
            mantissa = bare.str.slice(0, size)
            minus = mantissa.str.contains("-", literal=True)
            steps += [
                {"bare": bare.str.replace("E", "e", literal=True)},
                {"mark": bare.str.find("e", literal=True)},
                {
                    "moved": pl.col("moved") + power,
                    "below": text.str.starts_with("(")
                    | minus
                    | bare.str.ends_with("-"),
                    "bare": mantissa,
                },
            ]
        steps.append({"digits": bare.str.strip_chars("+-()")})
        if self.exp or self.percent:
            steps += _move_point(digits, pl.col("moved"))
        frame = texts.alias("text").to_frame().lazy()
        for step in steps:
            frame = frame.with_columns(**step)
        read = frame.with_columns(
            form=_form(pl.col("below"), digits), read=text.str.contains(self.pattern)
        )
        form = pl.when(pl.col("read")).then(pl.col("form")).otherwise(text)
        as_written = pl.QueryOptFlags.none()
        found = read.select(form).collect(engine="in-memory", optimizations=as_written)
        return found.to_series()

    def _without_signs(self, text: pl.Expr) -> pl.Expr:
        """A number without its currency, blanks and groups, with a decimal point."""
        group, point = (".", ",") if self.comma else (",", ".")
        bare = text
        if self.money:
            bare = bare.str.replace(self.money, "", literal=True)
        if self.money or self.percent:
            bare = bare.str.replace_all(GAPS, "")
        # Groups first: with a decimal comma they have the point that the comma becomes.
        bare = bare.str.replace_all(group, "", literal=True)
        return bare if point == "." else bare.str.replace(point, ".", literal=True)


@dataclass(frozen=True, slots=True)
class ImpliedPoint(Amount):
    """Whole numbers whose last `places` digits are behind a point."""

    places: int
    least: Decimal = Decimal(0)
    share: Decimal = Decimal(0)

    def normal(self, text: pl.Expr) -> pl.Expr:
        """As `Number`; a text with a point, or with other signs, is not read."""
        bare = text.str.strip_chars_start("+-").str.zfill(self.places)
        # `zfill` pads to a width, so there are at least as many digits as places.
        places = -self.places
        point = bare.str.head(places) + "." + bare.str.tail(self.places)
        form = _form(text.str.starts_with("-"), point)
        return pl.when(text.str.contains(IMPLIED_PATTERN)).then(form).otherwise(text)

    def write(self, plain: pl.Expr) -> pl.Expr:
        """The number must have at most `places` digits after the point."""
        parts = plain.str.split_exact(".", 1)
        part = parts.struct.field("field_1").fill_null("")
        return parts.struct.field("field_0") + part.str.pad_end(self.places, "0")


def read_number(form: pl.Expr) -> pl.Expr:
    """A normal number as people write it: `-12.5`."""
    # Behind the NUL, the sign and the zero.
    digits = form.str.slice(3).str.strip_suffix(".")
    whole = pl.when(digits.str.starts_with(".") | (digits == "")).then(pl.lit("0"))
    sign = pl.when(form.str.slice(1, 1) == "-").then(pl.lit("-")).otherwise(pl.lit(""))
    return sign + whole.otherwise(pl.lit("")) + digits


def _form(below: pl.Expr, digits: pl.Expr) -> pl.Expr:
    """The normal form of digits with at most one point."""
    bare = digits.str.strip_chars_start("0")
    size = (
        pl.when(bare.str.contains(".", literal=True))
        .then(bare.str.strip_chars_end("0"))
        .otherwise(bare + ".")
    )
    # Minus zero is zero. The 0 behind the sign keeps the integer part from being empty.
    sign = (
        pl.when(below & (size != "."))
        .then(pl.lit(f"{NORMAL_PREFIX}-0"))
        .otherwise(pl.lit(f"{NORMAL_PREFIX}+0"))
    )
    return sign + size


def _move_point(digits: pl.Expr, moved: pl.Expr) -> list[dict[str, pl.Expr]]:
    """Steps by which `digits` become digits times 10**`moved`: exact, as text."""
    size = pl.col("size")
    at = pl.col("point") + moved
    inside = at.clip(0, size)
    before = digits.str.slice(0, inside).str.pad_end(at.clip(0), "0")
    after = digits.str.slice(inside).str.pad_start((size - at).clip(0), "0")
    point = pl.coalesce(
        digits.str.find(".", literal=True), digits.str.len_bytes()
    ).cast(pl.Int64)
    return [
        {"point": point, "digits": digits.str.replace(".", "", literal=True)},
        {"size": digits.str.len_bytes().cast(pl.Int64)},
        {"digits": before + "." + after},
    ]


def max_decimal_places(numbers: pl.Series) -> int:
    """The largest number of digits after the point among normal numbers."""
    after = numbers.str.len_bytes() - numbers.str.find(".", literal=True) - 1
    return int(after.max())  # type: ignore[arg-type]


def max_integer_digits(numbers: pl.Series) -> int:
    """The largest number of characters before the point among normal numbers."""
    return int(numbers.str.find(".", literal=True).max())  # type: ignore[arg-type]


def ratio_digits(number: Decimal) -> int:
    """An upper bound of the digits of either integer of the number's ratio."""
    return len(number.as_tuple().digits) + abs(_exponent_of(number))


def as_scaled_integers(number: pl.Expr, shift: int) -> pl.Expr:
    """Normal numbers times 10**`shift`; `shift` is at least their decimal places."""
    parts = number.str.split_exact(".", 1)
    fraction = parts.struct.field("field_1").str.pad_end(shift, "0")
    return (parts.struct.field("field_0") + fraction).cast(pl.Int128)


def _exponent_of(number: Decimal) -> int:
    return int(number.as_tuple().exponent)
