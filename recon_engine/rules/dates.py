"""Days: formats, presets, two-digit years, and tolerances in days.

A format is read by a regular expression that says what a text may be, and by the parser
of Polars, which says which day it is. The forms that the expression does not describe
(such as `%j`) are parsed, and read only if they are written in the same way again.
"""

from __future__ import annotations

import functools
import re
from datetime import date
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.rules.base import NORMAL_PREFIX, is_marked, where_both_read
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
else:
    pl = LazyModule("polars")

PRESETS: Final = {
    "iso": ("%Y-%m-%d",),
    "us": ("%m/%d/%Y",),
    "eu": ("%d.%m.%Y", "%d/%m/%Y"),
    "oracle": ("%d-%b-%y", "%d-%b-%Y"),
    "sas": ("%d%b%Y",),
}
DIRECTIVE: Final = lazy_pattern(r"%([-_0]?)(.?)", re.DOTALL)
DAY_DIRECTIVES: Final = frozenset("aAbBCdDeFgGhjmnqtuUvVwWxyY%")
# Those that write a year of two digits, and those that write its century.
SHORT_YEARS: Final = frozenset("yDgx")
# A timestamp has no other directive of such a year.
SHORT_YEARS_OF_INSTANTS: Final = frozenset("y")
CENTURIES: Final = frozenset("CYGFv")
# Two centuries, and months and days of one and of two digits: a format that loses any
# of these cannot read all three back.
TRIAL_DAYS: Final = (date(1987, 12, 31), date(2001, 2, 3), date(2024, 10, 9))
# The parser reads its year of two digits as 2055. The day has another weekday there.
MOVED_DAY: Final = date(1955, 3, 8)
YEAR: Final = "[1-9][0-9]{3}"
# Written in the C locale, whatever the locale of the process is.
SHORT_MONTHS: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
LONG_MONTHS: Final = (
    "January|February|March|April|May|June|July|August|September|October|November"
    "|December"
)
NEXT_CENTURY: Final = 2000
FIRST_DAY, LAST_DAY = date(1000, 1, 1), date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class Day:
    """Compare as days, in one of several formats, at most `within` days apart.

    `pivot`: a two-digit year below it is of the 21st century, any other of the 20th.
    """

    formats: tuple[str, ...]
    within: int = 0
    pivot: int | None = None

    @property
    def family(self) -> str:
        """Days are compared with days and with instants."""
        return "day"

    @property
    def has_tolerance(self) -> bool:
        """Whether different days may be equal."""
        return self.within > 0

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Days since 1970, by the first format that fits the text."""
        days = pl.coalesce(
            parse_day(text, each, self.pivot) for each in self.formats
        ).cast(pl.Int32)
        read = NORMAL_PREFIX + days.cast(pl.String)
        return pl.when(days.is_not_null()).then(read).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return is_marked(text, form)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Whether both normal forms are days, at most `within` days apart."""
        return where_both_read(
            old,
            new,
            lambda o, n: (o.cast(pl.Int32) - n.cast(pl.Int32)).abs() <= self.within,
        )


def expand_formats(spelled: str, pivot: int | None, rule: str) -> tuple[str, ...]:
    """The formats of `iso|%d.%m.%Y`, with presets written out.

    Raises ConfigError for a two-digit year without a pivot. Raises ValueError for what
    is no format.
    """
    every = (form for each in spelled.split("|") for form in PRESETS.get(each, (each,)))
    formats = tuple(dict.fromkeys(every))
    short = SHORT_YEARS if rule == "date" else SHORT_YEARS_OF_INSTANTS
    for form in formats:
        if "%" not in form:
            raise ValueError
        if pivot is None and _lacks_century(form, short):
            raise ConfigError(
                f"rule {rule}: the format {form} has a year of two digits",
                why="it does not say the century",
                help=f"such as: {rule}({spelled},pivot=30), by which 30 is 1930 and 29"
                " is 2029; or %Y for four digits",
            )
    if pivot is not None and not any(_lacks_century(form, short) for form in formats):
        raise ConfigError(
            f"rule {rule}: pivot={pivot:02} has no year of two digits to read",
            help="remove the pivot, or write %y in the format",
        )
    return formats


@functools.lru_cache(maxsize=256)
def check_day_format(form: str, pivot: int | None) -> None:
    """Raise ConfigError for a date format that does not round-trip the trial days."""
    for padding, letter in DIRECTIVE.findall(form):
        # Polars prints a warning for some other directives and fails for most.
        if letter not in DAY_DIRECTIVES or not letter:
            raise ConfigError(
                f"rule date: %{padding}{letter} in the format {form} is not part of a"
                " date",
                why="a date rule reads days: years, months, weeks and days",
                help="such as: date(%Y%m%d|%Y-%m-%d); for a time of day use"
                " timestamp(%Y-%m-%d %H:%M:%S,zone=UTC)",
            )
    trials = list(TRIAL_DAYS)
    # A pivot of which all trial days are in reach: 1955 to 2024.
    trial = pivot if pivot is None else 50
    why = "it must contain the year, the month and the day"
    if _lacks_century(form):
        trials.append(MOVED_DAY)
        why += ", and no week or weekday with a year of two digits"
    days = pl.Series(trials).alias("day").to_frame()
    try:
        written = days.select(text=pl.col("day").dt.strftime(form))
        found = written.select(parse_day(pl.col("text"), form, trial))
        read = found.to_series().to_list()
    except pl.exceptions.PolarsError:
        read = []
    if read != trials:
        raise ConfigError(
            f"rule date: the format {form} does not describe a day",
            why=why,
            help="such as: date(%Y%m%d|%Y-%m-%d)",
        )


def parse_day(text: pl.Expr, form: str, pivot: int | None) -> pl.Expr:
    """The day of a text in a format; null if the text is not written in it."""
    read = text.str.to_date(form, strict=False)
    if pivot is not None and _lacks_century(form):
        read = choose_century(read, pivot)
    pattern = describe_day(form)
    if pattern is not None:
        return pl.when(text.str.contains(pattern)).then(read)
    same = (read.dt.strftime(form) == text) & read.is_between(FIRST_DAY, LAST_DAY)
    return pl.when(same).then(read)


def describe_day(form: str) -> str | None:
    """A regular expression of the texts of a date format.

    Days and months may have one digit where no digit can follow or precede them. None
    for a format with directives other than %Y, %y, %m, %d, %b, %B and %%, or with one
    of them twice.
    """
    parts = list(parts_of(form))
    found = [letter for letter, _ in parts if letter]
    if len(found) != len(set(found)) or not set(found) <= set("YymdbB"):
        return None
    if "Y" in found and "y" in found:
        return None
    pattern = "".join(
        describe_part(letter, literal, is_beside_digits(parts, at))
        for at, (letter, literal) in enumerate(parts)
    )
    return f"^{pattern}$"


def describe_part(letter: str, literal: str, beside_digits: bool) -> str:  # noqa: FBT001
    """A regular expression of one directive of a day, or of the text between two."""
    match letter:
        case "Y":
            return YEAR
        case "y":
            return "[0-9]{2}"
        case "m" | "d":
            return "[0-9]{2}" if beside_digits else "[0-9]{1,2}"
        case "b":
            return f"(?i:{SHORT_MONTHS})"
        case "B":
            return f"(?i:{LONG_MONTHS})"
        case _:
            return re.escape(literal)


def choose_century(day: pl.Expr, pivot: int) -> pl.Expr:
    """Days of two-digit years: the parser has read 69 as 2069, and 70 as 1970."""
    year = day.dt.year()
    back = (year >= NEXT_CENTURY) & (year % 100 >= pivot)
    on = (year < NEXT_CENTURY) & (year % 100 < pivot)
    # 1900 had no 29 February, which 2000 had. Other years of a pair are both leap years
    # or both none.
    no_day = (day.dt.month() == 2) & (day.dt.day() == 29) & (year % 100 == 0)  # noqa: PLR2004
    return (
        pl.when(back & ~no_day)
        .then(day.dt.offset_by("-100y"))
        .when(on)
        .then(day.dt.offset_by("100y"))
        .when(~back)
        .then(day)
    )


def parts_of(form: str) -> Iterator[tuple[str, str]]:
    """The directives of a format and the texts between them: one of each pair is ""."""
    at = 0
    for found in DIRECTIVE.finditer(form):
        if found.start() > at:
            yield "", form[at : found.start()]
        padding, letter = found[1], found[2]
        if padding or letter != "%":
            # A padding is no directive that `describe_day` knows.
            yield padding + letter, ""
        else:
            yield "", "%"
        at = found.end()
    if at < len(form):
        yield "", form[at:]


def _lacks_century(form: str, short: frozenset[str] = SHORT_YEARS) -> bool:
    """Whether a format has a year of two digits, and nothing that says its century."""
    letters = {letter[-1:] for letter, _ in parts_of(form)}
    return bool(letters & short) and letters.isdisjoint(CENTURIES)


def is_beside_digits(parts: Sequence[tuple[str, str]], at: int) -> bool:
    """Whether digits may stand directly before or after a part."""
    before = parts[at - 1] if at else ("", " ")
    after = parts[at + 1] if at + 1 < len(parts) else ("", " ")
    return any(
        letter not in {"", "b", "B", "p"} or (literal and literal[edge].isdigit())
        for (letter, literal), edge in ((before, -1), (after, 0))
    )
