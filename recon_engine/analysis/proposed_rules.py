"""Rules that hints propose: their descriptions, and when one is worth a hint."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from recon_engine.analysis.notations import find_formats
from recon_engine.rules.assembly import GivenRules
from recon_engine.rules.spelling import parse_rule


if TYPE_CHECKING:
    import polars as pl


# Thresholds of what users see. A hint explains at least 1 in 100 differences: fewer are
# not worth a flag. At most 1 in 20 of the cells that a tolerance settles is no
# rounding, and at most 1 in 20 of the rows repeats a shorter key.
MIN_SETTLED_ONE_IN: Final = 100
MAX_OTHERS_ONE_IN: Final = 20
# Each further rule multiplies the chains to try and explains less.
MAX_RULES: Final = 3
RULE_DESCRIPTIONS: Final = {
    "trim": "white space",
    "casefold": "case",
    "lstrip0": "leading zeros",
    "decimal": "number format",
    "date": "date format",
    "nulls": "null markers",
    "blanks": "blanks and invisible characters",
    "newlines": "line breaks",
    "nfc": "Unicode form",
    "unwrap": "the wrapping of a spreadsheet",
    "strip": "punctuation",
    "scale": "implied decimals",
    "timestamp": "time zone",
    "boolean": "yes and no in other words",
}
NOTATION_DESCRIPTIONS: Final = {
    "comma": "decimal comma",
    "money": "currency",
    "exp": "exponents",
    "trailing": "trailing signs",
    "percent": "percent",
}
# As a spreadsheet wraps text, or marks it with an apostrophe.
WRAPPED: Final = r"""^(?:="[^"]*"|'.*)$"""
# What a code may have between its letters and digits.
PUNCTUATION: Final = r"[ !#$%&()*+,./:;@_~-]"
# The side that a rule reads, or "both", and the rule.
SideRule = tuple[str, str]
RuleTexts = tuple[SideRule, ...]
NO_GIVEN: Final = GivenRules()


def is_typed(rule: SideRule) -> bool:
    """Whether it is the last rule of a chain, such as `decimal`."""
    return bool(parse_rule(rule[1]).family)


def apply_to_both(*rules: str) -> RuleTexts:
    """These rules, each for both sides."""
    return tuple(("both", rule) for rule in rules)


def has_own_typed_rule(given: GivenRules) -> bool:
    """Whether another typed rule of both sides would be refused, or read one side."""
    own = [rule for every, rule in given.both if not every]
    own += [rule for _, rule in (*given.old, *given.new)]
    return any(is_typed(("both", rule)) for rule in own)


def describe_rule(rule: str) -> str:
    """What a rule ignores, in words."""
    name, _, inner = rule.partition("(")
    if name != "decimal" or not inner:
        return RULE_DESCRIPTIONS[name]
    words = [text for word, text in NOTATION_DESCRIPTIONS.items() if word in inner]
    return " and ".join(words) or "rounding"


def find_date_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """Rules that read one format of each side."""
    formats = [find_formats(texts) for texts in (old, new)]
    return [f"date({o}|{n})" for o, n in itertools.product(*formats) if o != n]


def find_strip_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """A rule that drops the punctuation which only one side has."""
    marks = [
        set(texts.str.extract_all(PUNCTUATION).explode().drop_nulls().unique())
        for texts in (old, new)
    ]
    characters = "".join(sorted(marks[0] ^ marks[1]))
    return [f"strip({characters})"] if characters else []
