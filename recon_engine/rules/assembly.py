"""Assemble the chain of a column from the rules that were given for it.

The rules of a side come first, then those of both sides; text rules first, then one
typed rule for each side. Therefore a text rule that is added never disables a number or
a tolerance, whatever the order in which rules are given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from recon_engine.errors import ConfigError
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules.base import Apart
from recon_engine.rules.chains import Chain, Step
from recon_engine.rules.dates import Day
from recon_engine.rules.instants import DAY_NANOSECONDS, Instant
from recon_engine.rules.numbers import Number
from recon_engine.rules.spelling import parse_rule


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.rules.base import Rule

MOST_RULES: Final = 100
# The name by which rules of every column are given. A column may have it, too: none can
# be given for that column alone, so none is proposed.
ALL_COLUMNS: Final = "*"
RULE_FLAGS: Final = {"both": "--rule", "old": "--old-rule", "new": "--new-rule"}
# Each rule as it was given, and whether it was given for `*`.
Spelled = tuple[tuple[bool, str], ...]


@dataclass(frozen=True, slots=True)
class GivenRules:
    """The rules that were given for a column: for both sides, for OLD, for NEW."""

    both: Spelled = ()
    old: Spelled = ()
    new: Spelled = ()

    def with_rules(self, rules: Sequence[str], side: str = "both") -> GivenRules:
        """The same with more rules, as if they were given behind the others."""
        return self.with_spelled(tuple((False, rule) for rule in rules), side)

    def with_spelled(self, more: Spelled, side: str) -> GivenRules:
        """The same with more rules, each with whether it was given for `*`."""
        return replace(self, **{side: (*getattr(self, side), *more)})


@dataclass(frozen=True, slots=True)
class _Typed:
    """A typed rule, as it was given."""

    every: bool
    text: str
    rule: Any
    implied: bool = False


def check_rules(column: str, spelled: Sequence[str], side: str = "both") -> None:
    """Raise ConfigError for too many rules, an invalid rule, and two typed rules."""
    if len(spelled) > MOST_RULES:
        raise ConfigError(
            f"{RULE_FLAGS[side]} {column}: {len(spelled):,} rules are too many",
            help=f"at most {MOST_RULES} rules per column",
        )
    typed = [text for text in spelled if is_typed(text)]
    if len(typed) > 1:
        raise ConfigError(
            f"{RULE_FLAGS[side]} {column}: two typed rules, {typed[0]} and {typed[1]}",
            why="a value is read by one of decimal, scale, date, timestamp, map, and"
            " boolean",
            help="keep one of them",
        )


def is_typed(text: str) -> bool:
    """Whether a rule reads a value as one of a type; ConfigError for an invalid one."""
    return bool(parse_rule(text).family)


def chain_of(*spelled: str) -> Chain:
    """The chain of rules for both sides."""
    return assemble_chain("", GivenRules(tuple((False, text) for text in spelled)))


def assemble_chain(column: str, given: GivenRules) -> Chain:
    """The chain of a column.

    Raises ConfigError for rules that cannot be combined.
    """
    steps = [
        Step(
            text,
            rule if side != "new" else None,
            rule if side != "old" else None,
            every,
        )
        for side in (*SIDES, "both")
        for every, text in getattr(given, side)
        for rule in [parse_rule(text)]
        if not rule.family
    ]
    shared = _find_typed(given.both)
    typed = [_choose_typed(column, given, side) for side in SIDES]
    if typed == [None, None]:
        return Chain(tuple(steps))
    old, new = _complete(column, *typed)
    chain = Chain((*steps, *_typed_steps(old, new)))
    if not chain.is_reflexive:
        chain = Chain((*steps, *map(_set_apart, _typed_steps(old, new))))
    tolerance = _tolerance(column, shared, [old, new])
    return replace(chain, tolerance=tolerance)


def _find_typed(spelled: Spelled) -> _Typed | None:
    """The typed rule among these: that of the column, or else that of `*`."""
    found = [
        _Typed(every, text, rule)
        for every, text in spelled
        for rule in [parse_rule(text)]
        if rule.family
    ]
    # False sorts before True: a rule of the column comes before one of `*`.
    return min(found, key=lambda each: each.every, default=None)


def _choose_typed(column: str, given: GivenRules, side: str) -> _Typed | None:
    """The typed rule of a side: its own if it has one, else that of both sides.

    A rule of `*` gives way to the typed rule of the column that reads other values.
    """
    own, shared = _find_typed(getattr(given, side)), _find_typed(given.both)
    if own is None:
        return shared
    if getattr(own.rule, "has_tolerance", False):
        raise ConfigError(
            f"{RULE_FLAGS[side]} {column}={own.text}: a rule of one side has no"
            " tolerance",
            why="a tolerance is about what both sides read",
            help=f"give it with --rule, such as --rule {column}=decimal(abs=0.01), and"
            f" the notation with {RULE_FLAGS[side]}",
        )
    if own.every and shared is not None and not shared.every:
        return own if own.rule.family == shared.rule.family else shared
    return own


def _complete(
    column: str, old: _Typed | None, new: _Typed | None
) -> tuple[_Typed | None, _Typed | None]:
    """The typed rules of both sides, with what one implies for the other.

    Raises ConfigError if they cannot be compared.
    """
    one = old or new
    assert one is not None  # noqa: S101 - the caller has one
    if old is None or new is None:
        if one.rule.family == "number":
            plain = _Typed(one.every, "decimal", Number(), implied=True)
            return old or plain, new or plain
        # The codes of one side are compared with the texts of the other.
        if one.rule.family == "code":
            return old, new
        side = "new" if new is None else "old"
        raise ConfigError(
            f"{column}: {one.text} reads one side only",
            why=f"the values of {side.upper()} would stay texts, and none would be"
            " equal",
            help=f"add {RULE_FLAGS[side]} '{column}=…' with the rule that reads them,"
            " or use --rule if both sides are written alike",
        )
    if old.rule.family != new.rule.family:
        raise ConfigError(
            f"{column}: {old.text} of OLD and {new.text} of NEW read different things",
            why="numbers are compared with numbers, days with days or instants, and"
            " truth values with truth values",
            help="name two rules that read the same thing",
        )
    return _as_instants(column, old, new)


def _as_instants(column: str, old: _Typed, new: _Typed) -> tuple[_Typed, _Typed]:
    """Days are read as instants, if the other side has instants: midnight of a zone."""
    days = [isinstance(each.rule, Day) for each in (old, new)]
    if days in ([True, True], [False, False]):
        return old, new
    day, instant = (old, new) if days[0] else (new, old)
    if not instant.rule.zone:
        raise ConfigError(
            f"{column}: {instant.text} has no zone, so {day.text} has no midnight",
            help="add the zone of the days: timestamp(…,zone=Europe/Berlin)",
        )
    read = Instant(day.rule.formats, instant.rule.zone, 0, day.rule.pivot)
    changed = replace(day, rule=read)
    return (changed, new) if days[0] else (old, changed)


def _typed_steps(old: _Typed | None, new: _Typed | None) -> list[Step]:
    """One step if both sides are read by one rule, else one for each side."""
    if old is not None and new is not None and old == new:
        return [Step(old.text, old.rule, new.rule, old.every)]
    found = []
    if old is not None:
        found.append(Step(old.text, old.rule, None, old.every, old.implied))
    if new is not None:
        found.append(Step(new.text, None, new.rule, new.every, new.implied))
    return found


def _set_apart(step: Step) -> Step:
    """The step with rules whose unread values equal nothing."""
    old, new = (
        None if rule is None else Apart(rule, side)
        for side in SIDES
        for rule in [step.of(side)]
    )
    return replace(step, old=old, new=new)


def _tolerance(
    column: str, shared: _Typed | None, typed: Sequence[_Typed | None]
) -> Any:
    """The rule whose tolerance applies: that of both sides, if it has one."""
    if shared is None or not getattr(shared.rule, "has_tolerance", False):
        return None
    rule: Rule = shared.rule
    read = [each.rule for each in typed if each is not None]
    if any(each.family != rule.family for each in read):
        if shared.every:
            return None
        raise ConfigError(
            f"--rule {column}={shared.text}: its tolerance is about another kind of"
            " value than the rules of both sides read",
            help="remove it, or name rules that read the same thing",
        )
    instants = any(isinstance(each, Instant) for each in read)
    if isinstance(rule, Day) and instants:
        return Instant((), "", rule.within * DAY_NANOSECONDS)
    if isinstance(rule, Instant) and not instants:
        # Days are apart by whole days.
        days = Day((), rule.within // DAY_NANOSECONDS)
        return days if days.has_tolerance else None
    return rule
