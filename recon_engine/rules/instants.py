"""Instants: dates with a time of day, offsets and zones, exact to the nanosecond.

The normal form is NUL, the day since 1970 in UTC, `T`, and the nanosecond of that day
in 14 digits: no instant of the years 1000 to 9999 is too large for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.rules.base import NORMAL_PREFIX, is_marked, where_both_read
from recon_engine.rules.dates import (
    choose_century,
    describe_part,
    is_beside_digits,
    parse_day,
    parts_of,
)
from recon_engine.rules.zones import load_zone
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    import polars as pl
else:
    pl = LazyModule("polars")

DURATION: Final = lazy_pattern(r"([0-9]{1,9})(ns|us|ms|s|m|h|d)")
NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
DAY_SECONDS: Final = 86_400
DAY_NANOSECONDS: Final = DAY_SECONDS * 10**9
DAY_LETTERS: Final = frozenset("YymdbB")
TIME_PATTERNS: Final = {
    "H": "(?:[01][0-9]|2[0-3])",
    "I": "(?:0[1-9]|1[0-2])",
    "M": "[0-5][0-9]",
    "S": "[0-5][0-9]",
    "p": "(?i:AM|PM)",
    "f": "[0-9]{1,9}",
    "z": "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)",
}
OFFSET: Final = f"({TIME_PATTERNS['z']})$"
FRACTION: Final = r"([0-9]+)\s*$"
# The hours that may have one digit where no digit can follow or precede them.
SHORT_HOURS: Final = {"H": "[0-9]", "I": "[1-9]"}


@dataclass(frozen=True, slots=True)
class Instant:
    """Compare as instants, in one of several formats, at most `within` ns apart.

    `zone`: of values without an offset. A local time that the zone does not have, or
    has twice, is not read. `pivot`: as of `Day`.
    """

    formats: tuple[str, ...]
    zone: str = ""
    within: int = 0
    pivot: int | None = None

    @property
    def family(self) -> str:
        """Instants are compared with instants and with days."""
        return "day"

    @property
    def has_tolerance(self) -> bool:
        """Whether different instants may be equal."""
        return self.within > 0

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The instant, by the first format that fits the text."""
        return text.map_batches(self._read, return_dtype=pl.String)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return is_marked(text, form)

    def near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Whether both normal forms are instants, at most `within` ns apart."""
        return where_both_read(old, new, self._within)

    def _within(self, old: pl.Series, new: pl.Series) -> pl.Series:
        o, n = (as_nanoseconds(pl.col(side)) for side in ("old", "new"))
        limit = pl.lit(self.within, dtype=pl.Int128)
        near = (o - n).abs() <= limit
        return pl.DataFrame({"old": old, "new": new}).select(near).to_series()

    def _read(self, texts: pl.Series) -> pl.Series:
        frame = texts.alias("text").to_frame()
        read = [self._read_format(frame, form) for form in self.formats]
        forms = pl.DataFrame(read).select(pl.coalesce(pl.all())).to_series()
        return frame.select(pl.coalesce(forms, pl.col("text"))).to_series()

    def _read_format(self, frame: pl.DataFrame, form: str) -> pl.Series:
        """The normal forms of the texts in a format; null for other texts."""
        letters = {letter for letter, _ in parts_of(form)}
        text, remaining, kept = pl.col("text"), form, {}
        if "z" in letters:
            kept["offset"] = _offset_seconds(text.str.extract(OFFSET))
            text, remaining = text.str.replace(OFFSET, ""), remaining.removesuffix("%z")
        if "f" in letters:
            digits = text.str.extract(FRACTION)
            kept["fraction"] = digits.str.pad_end(9, "0").cast(pl.Int64, strict=False)
            text = text.str.replace(FRACTION, "")
            remaining = remaining[: remaining.index("%f")]
        if letters.isdisjoint(TIME_PATTERNS):
            # A day has every directive of a date, also those without a pattern.
            local = parse_day(text, form, self.pivot).cast(pl.Datetime("us"))
        else:
            # Microseconds hold the years 1000 to 9999, nanoseconds those from 1677 to
            # 2262. The fraction is read apart.
            local = text.str.to_datetime(remaining, strict=False, time_unit="us")
            if "y" in letters and self.pivot is not None:
                local = choose_century(local, self.pivot)
            whole = pl.col("text").str.contains(describe_instant(form))
            local = pl.when(whole).then(local)
        read = frame.select(
            second=local.dt.epoch("s"),
            offset=kept.get("offset", pl.lit(0, pl.Int64)),
            fraction=kept.get("fraction", pl.lit(0, pl.Int64)),
        )
        if "z" in letters:
            utc = pl.col("second") - pl.col("offset")
        else:
            utc = pl.lit(self._to_utc(read["second"]))
        day = utc.floordiv(DAY_SECONDS)
        nanosecond = utc.mod(DAY_SECONDS) * 10**9 + pl.col("fraction")
        written = NORMAL_PREFIX + day.cast(pl.String) + "T"
        return read.select(
            # The last nanosecond of a day, 86,399,999,999,999, has 14 digits.
            (written + nanosecond.cast(pl.String).str.zfill(14)).alias(f"\0{form}")
        ).to_series()

    def _to_utc(self, local: pl.Series) -> pl.Series:
        """UTC seconds of local ones; null if a local time does not exist once."""
        known = local.is_not_null()
        # Any number will do for a null, which is null again below.
        found, once = load_zone(self.zone).to_utc(local.fill_null(0).to_numpy())
        utc = pl.Series(found)
        return utc.set(~(known & pl.Series(once)), None)


def parse_duration(text: str) -> int:
    """The nanoseconds of `1s`, `500ms`, `2h`. Raises ValueError for anything else."""
    found = DURATION.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ValueError
    return int(found[1]) * NANOSECONDS[found[2]]


def check_instant_format(form: str, *, has_zone: bool) -> None:
    """Raise ConfigError for a format that is no date with a time of day."""
    every = [letter for letter, _ in parts_of(form) if letter]
    letters = set(every)
    unknown = [each for each in every if each not in DAY_LETTERS | TIME_PATTERNS.keys()]
    example = "such as: timestamp(%Y-%m-%d %H:%M:%S.%f,zone=Europe/Berlin)"
    if unknown or len(every) != len(letters):
        one = unknown[0] if unknown else max(every, key=every.count)
        raise ConfigError(
            f"rule timestamp: %{one} in the format {form} "
            + ("is not known" if unknown else "occurs twice"),
            why="a timestamp has %Y %m %d (or %y, %b, %B), %H %M %S (or %I and %p), %f"
            " for a fraction, and %z for an offset",
            help=example,
        )
    if not _is_complete(letters):
        raise ConfigError(
            f"rule timestamp: the format {form} is not complete",
            why="it needs a year, a month and a day, hours and minutes only together,"
            " and seconds only after minutes",
            help=example,
        )
    if not ("z" in letters or has_zone):
        raise ConfigError(
            f"rule timestamp: the format {form} has no offset, and there is no zone",
            why="without one of them a time of day is no instant",
            help=example,
        )
    if not _has_tail_in_order(form):
        raise ConfigError(
            f"rule timestamp: the format {form} has %f or %z at another place",
            why="a fraction follows the seconds, and an offset is the end of the value",
            help="such as: timestamp(%Y-%m-%dT%H:%M:%S.%f%z)",
        )


def describe_instant(form: str) -> str:
    """A regular expression of the texts of a format."""
    parts = list(parts_of(form))
    pattern = "".join(
        _describe_time(letter, is_beside_digits(parts, at))
        if letter in TIME_PATTERNS
        else describe_part(letter, literal, is_beside_digits(parts, at))
        for at, (letter, literal) in enumerate(parts)
    )
    return f"^{pattern}$"


def _describe_time(letter: str, beside_digits: bool) -> str:  # noqa: FBT001
    pattern = TIME_PATTERNS[letter]
    if letter in SHORT_HOURS and not beside_digits:
        return f"(?:{pattern}|{SHORT_HOURS[letter]})"
    return pattern


def _is_complete(letters: set[str]) -> bool:
    day = letters & set("Yy") and letters & set("mbB") and "d" in letters
    hours = bool(letters & {"H", "I"})
    return bool(
        day
        and len(letters & set("Yy")) == len(letters & set("mbB")) == 1
        and not ("H" in letters and letters & {"I", "p"})
        and ("M" in letters) == hours
        and ("S" not in letters or "M" in letters)
        and ("f" not in letters or "S" in letters)
        and (("I" in letters) == ("p" in letters))
    )


def _has_tail_in_order(form: str) -> bool:
    """Whether nothing follows an offset, and only blanks and an offset a fraction."""
    before_offset = form.removesuffix("%z")
    fraction = re.search(r"%S[^%0-9]%f\s*$", before_offset)
    return "%z" not in before_offset and ("%f" not in form or fraction is not None)


def _offset_seconds(offset: pl.Expr) -> pl.Expr:
    """The seconds of `Z`, `+05`, `+0530` or `+05:30`."""
    digits = offset.str.replace(":", "", literal=True).str.slice(1)
    hours = digits.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    return (sign * (hours * 3_600 + minutes * 60)).fill_null(0)


def as_nanoseconds(form: pl.Expr) -> pl.Expr:
    """A normal form as one number of 128 bits."""
    parts = form.str.split_exact("T", 1)
    # 64 bits hold the nanoseconds of 584 years only.
    day, nanosecond = (
        parts.struct.field(f"field_{at}").cast(pl.Int128) for at in (0, 1)
    )
    return day * DAY_NANOSECONDS + nanosecond
