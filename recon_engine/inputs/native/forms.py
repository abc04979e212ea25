"""Read numbers and days by the native kernel: normal forms, and what was read.

The kernel reads numbers with or without a decimal comma, groups and a sign behind the
digits, whole numbers with an implied point, and days in formats of digits. Whatever
else a rule reads is left to the rule, and so is everything without the kernel. Both
have the same forms.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.native import binding
from recon_engine.inputs.native.texts import open_table
from recon_engine.rules.base import Apart, mark_apart
from recon_engine.rules.chains import apply_rule
from recon_engine.rules.dates import Day, is_beside_digits, parts_of
from recon_engine.rules.numbers import ImpliedPoint, Number, WrittenNumber


if TYPE_CHECKING:
    import polars as pl

    from recon_engine.rules.base import Rule


# Between the digits of a day: bytes that mean themselves to every parser of formats.
LITERALS: Final = frozenset("-./_:,")


def apply_natively(rule: Rule, texts: pl.Series) -> tuple[pl.Series, int, int]:
    """As `apply_rule`, by the kernel where it can read such values."""
    reading = describe_reading(rule)
    if reading is not None:
        # The rule itself reads what is too much for the kernel.
        with suppress(MemoryError), open_table(texts.to_frame()) as table:
            if table is not None:
                return table.read_forms(reading)
    return apply_rule(rule, texts)


def describe_reading(rule: Rule) -> binding.Reading | None:
    """How the kernel reads what a rule reads; None if it does not."""
    found: binding.Reading | None = None
    bare = rule.rule if isinstance(rule, Apart) else rule
    # Exactly these classes: a subclass may read other texts.
    if type(bare) is Number:
        found = binding.Reading(point=ord("."), group=ord(","))
    elif type(bare) is WrittenNumber and not (bare.money or bare.exp or bare.percent):
        point, group = (",", ".") if bare.comma else (".", ",")
        found = binding.Reading(
            point=ord(point), group=ord(group), trailing=bare.trailing
        )
    elif type(bare) is ImpliedPoint:
        found = binding.Reading(places=bare.places)
    elif type(bare) is Day:
        formats = [*map(_describe_format, bare.formats)]
        if all(formats):
            found = binding.Reading(formats="\0".join([*formats, "\0"]).encode())
    if found is not None and isinstance(rule, Apart):
        mark = mark_apart(rule.side).encode()
        found.apart, found.apart_size = mark, len(mark)
    return found


def _describe_format(form: str) -> str:
    """The parts of a format of days; "" if it has any but digits and plain marks."""
    parts = [*parts_of(form)]
    if sorted(letter for letter, _ in parts if letter) != ["Y", "d", "m"]:
        return ""
    if not {*"".join(literal for _, literal in parts)} <= LITERALS:
        return ""
    found = []
    for at, (letter, literal) in enumerate(parts):
        two = letter != "Y" and is_beside_digits(parts, at)
        found.append(letter.upper() if two else letter)
        found += [f"={char}" for char in literal]
    return "".join(found)
