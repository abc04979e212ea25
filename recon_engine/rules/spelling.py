"""Rules as people write them: `trim`, `nulls(NA,NULL)`, `decimal(abs=0.01)`."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.rules.code_tables import (
    Boolean,
    hash_code_file,
    make_code_table,
    read_code_file,
)
from recon_engine.rules.dates import PRESETS, Day, check_day_format, expand_formats
from recon_engine.rules.instants import Instant, check_instant_format, parse_duration
from recon_engine.rules.numbers import (
    MAX_IMPLIED,
    ImpliedPoint,
    Number,
    WrittenNumber,
    ratio_digits,
)
from recon_engine.rules.texts import (
    Blanks,
    Casefold,
    ComposedForm,
    LeadingZeros,
    Newlines,
    Nulls,
    Strip,
    Trim,
    Unwrap,
    Zeropad,
)
from recon_engine.rules.zones import check_zone
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recon_engine.rules.base import Rule

RULE_PATTERN: Final = lazy_pattern(r"([a-z0-9]+)(?:\((.*)\))?", re.DOTALL)
DAYS_PATTERN: Final = lazy_pattern(r"([0-9]{1,6})d")
PIVOT_PATTERN: Final = lazy_pattern(r"[0-9]{2}")
# A currency sign or its letters: `$`, `€`, `EUR`, `kr`. Digits, signs, points, and
# commas would be read as parts of the number.
MONEY_PATTERN: Final = lazy_pattern(r"[^\s0-9+\-.,()%'\"]{1,8}")
MAX_WIDTH: Final = 1000
# The digits of a tolerance, written out. Exact arithmetic takes time that grows with
# them; 10,000 exceed any real tolerance.
MOST_DIGITS: Final = 10_000
NOTATIONS: Final = ("comma", "exp", "trailing", "percent")


def parse_rule(text: str) -> Rule:
    """Parse a rule such as `trim`, `nulls(NA,NULL)`, `decimal(abs=0.01)`.

    Raises ConfigError for an unknown or malformed rule, for a format that does not read
    back what it writes, for an unknown time zone, and for a code table that cannot be
    read.
    """
    found = RULE_PATTERN.fullmatch(text.strip())
    name, inner = (found[1], found[2]) if found else (text.strip(), None)
    make = RULES.get(name)
    if make is None or not found:
        raise ConfigError(
            f"unknown rule {name}{did_you_mean(name, RULES)}",
            help="one of: " + ", ".join(SPELLINGS),
        )
    try:
        return make(inner or "")
    except (ValueError, InvalidOperation):
        raise ConfigError(
            f"rule {text.strip()} is malformed",
            help="such as: "
            + next(each for each in SPELLINGS if each.startswith(name))
            + MORE_HELP.get(name, ""),
        ) from None


def spell_by_content(text: str) -> str:
    """A rule with the SHA-256 of its code table in the place of the file's name.

    A rule that names no file stays as it is. Raises ConfigError for a file that cannot
    be read.
    """
    named = _find_named(text)
    if named is None:
        return text
    name, rest_same = named
    return f"map(@sha256:{hash_code_file(name)}{',rest=same' if rest_same else ''})"


def find_code_file(text: str) -> str | None:
    """The file that a rule reads its codes from; None if it names none."""
    named = _find_named(text)
    return named and named[0]


# What the help of a rule that is malformed says besides an example.
MORE_HELP: Final = {
    "date": "; a format has %d, %m and %Y, or is "
    + ", ".join(f"{name} ({' or '.join(forms)})" for name, forms in PRESETS.items()),
    "timestamp": "; a format has %d, %m, %Y, %H, %M and %S",
    "map": "; each code, =, and its value",
}


def _without_arguments(rule: Callable[[], Rule]) -> Callable[[str], Rule]:
    def made(inner: str) -> Rule:
        if inner:
            raise ValueError
        return rule()

    return made


def _split(inner: str) -> list[str]:
    return [part.strip() for part in inner.split(",")] if inner else []


def _split_settings(
    parts: Iterable[str], names: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """The parts that are no settings, and the values of `name=value`."""
    others, settings = list[str](), dict[str, str]()
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name.strip() in names:
            if name.strip() in settings:
                raise ValueError
            settings[name.strip()] = value.strip()
        else:
            others.append(part)
    return others, settings


def _make_nulls(inner: str) -> Rule:
    texts = _split(inner)
    if not texts:
        raise ValueError
    return Nulls(tuple(texts))


def _make_zeropad(inner: str) -> Rule:
    [width] = _split(inner)
    if not 1 <= int(width) <= MAX_WIDTH:
        raise ValueError
    return Zeropad(int(width))


def _make_strip(inner: str) -> Rule:
    """The characters as they are written: a comma or a space is one of them."""
    if not inner:
        raise ValueError
    return Strip("".join(dict.fromkeys(inner)))


def _make_number(inner: str) -> Rule:
    words, settings = _split_settings(_split(inner), ("abs", "rel", "money"))
    if len(set(words)) < len(words) or not set(words) <= set(NOTATIONS):
        raise ValueError
    money = settings.pop("money", "")
    least, share = _parse_tolerance(settings)
    # Of the text: `money=` has no sign, and is refused as well.
    if "money" in inner and not MONEY_PATTERN.fullmatch(money):
        raise ConfigError(
            "the currency sign of rule decimal is not usable",
            why="it may have neither digits nor spaces nor any of + - . , ( ) % ' \"",
            help="such as: decimal(money=$) or decimal(money=EUR,comma)",
        )
    if money in {"e", "E"} and "exp" in words:
        raise ConfigError(
            f"the currency sign {money} of rule decimal is that of an exponent",
            why="1E3 E has two of them",
            help="leave out exp, or money",
        )
    if not (words or money):
        return Number(least, share)
    return WrittenNumber(least, share, money=money, **dict.fromkeys(words, True))


def _parse_tolerance(settings: dict[str, str]) -> tuple[Decimal, Decimal]:
    tolerances = {name: Decimal(value) for name, value in settings.items()}
    if not all(value.is_finite() and value >= 0 for value in tolerances.values()):
        raise ValueError
    if any(ratio_digits(value) > MOST_DIGITS for value in tolerances.values()):
        raise ConfigError(
            f"a tolerance of rule decimal has more than {MOST_DIGITS:,} digits",
            help="such as: decimal(abs=0.01,rel=0.001)",
        )
    return tolerances.get("abs", Decimal(0)), tolerances.get("rel", Decimal(0))


def _make_implied_point(inner: str) -> Rule:
    words, settings = _split_settings(_split(inner), ("abs", "rel"))
    [places] = words
    if not places.isdecimal() or not 1 <= int(places) <= MAX_IMPLIED:
        raise ValueError
    return ImpliedPoint(int(places), *_parse_tolerance(settings))


def _split_formats(inner: str, names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The formats, in which a comma may be, and the settings after them."""
    others, settings = _split_settings(inner.split(","), names)
    spelled = ",".join(others).strip()
    if not spelled:
        raise ValueError
    return spelled, settings


def _parse_pivot(text: str | None) -> int | None:
    if text is None:
        return None
    if not PIVOT_PATTERN.fullmatch(text):
        raise ValueError
    return int(text)


def _make_day(inner: str) -> Rule:
    spelled, settings = _split_formats(inner, ("within", "pivot"))
    within = DAYS_PATTERN.fullmatch(settings.get("within", "0d").replace(" ", ""))
    if within is None:
        raise ValueError
    pivot = _parse_pivot(settings.get("pivot"))
    formats = expand_formats(spelled, pivot, "date")
    for form in formats:
        check_day_format(form, pivot)
    return Day(formats, int(within[1]), pivot)


def _make_instant(inner: str) -> Rule:
    spelled, settings = _split_formats(inner, ("within", "pivot", "zone"))
    within = parse_duration(settings.get("within", "0s"))
    pivot = _parse_pivot(settings.get("pivot"))
    zone = settings.get("zone", "")
    if "zone" in settings:
        check_zone(zone)
    formats = expand_formats(spelled, pivot, "timestamp")
    for form in formats:
        check_instant_format(form, has_zone=bool(zone))
    return Instant(formats, zone, within, pivot)


def _find_named(text: str) -> tuple[str, bool] | None:
    """The file that a rule names, and whether `rest=same`; None if it names none."""
    found = RULE_PATTERN.fullmatch(text.strip())
    return _split_named(found[2] or "") if found and found[1] == "map" else None


def _split_named(inner: str) -> tuple[str, bool] | None:
    """The same, of what is in the parentheses of a code table."""
    # The folder of a file may have a comma in its name.
    before, _, last = inner.rpartition(",")
    first, _, after = inner.partition(",")
    name, rest_same = inner, True
    if last.strip() == "rest=same":
        name = before
    elif first.strip() == "rest=same":
        name = after
    else:
        rest_same = False
    name = name.strip()
    return (name[1:], rest_same) if name.startswith("@") else None


def _make_code_table(inner: str) -> Rule:
    if named := _split_named(inner):
        name, rest_same = named
        return read_code_file(name, rest_same=rest_same)
    parts = _split(inner)
    rest_same = "rest=same" in parts
    others = [part for part in parts if part != "rest=same"]
    if len(others) + rest_same != len(parts) or not others:
        raise ValueError
    pairs = [tuple(part.split("=", 1)) for part in others]
    return make_code_table(
        ((code.strip(), right.strip()) for code, right in pairs), rest_same=rest_same
    )


RULES: Final[dict[str, Callable[[str], Rule]]] = {
    "trim": _without_arguments(Trim),
    "casefold": _without_arguments(Casefold),
    "nulls": _make_nulls,
    "zeropad": _make_zeropad,
    "lstrip0": _without_arguments(LeadingZeros),
    "nfc": _without_arguments(ComposedForm),
    "blanks": _without_arguments(Blanks),
    "newlines": _without_arguments(Newlines),
    "strip": _make_strip,
    "unwrap": _without_arguments(Unwrap),
    "decimal": _make_number,
    "scale": _make_implied_point,
    "date": _make_day,
    "timestamp": _make_instant,
    "map": _make_code_table,
    "boolean": _without_arguments(Boolean),
}
SPELLINGS: Final = (
    "trim",
    "casefold",
    "nulls(NA,NULL)",
    "zeropad(9)",
    "lstrip0",
    "nfc",
    "blanks",
    "newlines",
    "strip(-. ())",
    "unwrap",
    "decimal(abs=0.01,rel=0.001)",
    "scale(2)",
    "date(%Y%m%d|%Y-%m-%d,within=1d)",
    "timestamp(%Y-%m-%d %H:%M:%S,zone=UTC,within=1s)",
    "map(M=1,F=2)",
    "boolean",
)
