"""The forms in which two column names can be equal: `--match-names`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


EXACT: Final = "exact"


class NameForm(StrEnum):
    """`trim`: without surrounding blanks; `casefold`: without regard to case."""

    TRIM = "trim"
    CASEFOLD = "casefold"


def fold_name(name: str, forms: Sequence[NameForm]) -> str:
    """A column name in these forms."""
    if NameForm.TRIM in forms:
        name = name.strip()
    return name.casefold() if NameForm.CASEFOLD in forms else name


def find_by_form(
    name: str, names: Collection[str], forms: Sequence[NameForm]
) -> str | None:
    """The name that equals another one in these forms; no two of `names` do."""
    if not forms:
        return None
    form = fold_name(name, forms)
    return next((each for each in names if fold_name(each, forms) == form), None)


def spell_as(name: str, names: Collection[str], forms: Sequence[NameForm]) -> str:
    """A name as the file spells it; itself if the file has no such column."""
    if name in names:
        return name
    return find_by_form(name, names, forms) or name


def parse_match_names(text: str) -> tuple[NameForm, ...]:
    """Parse `exact`, `trim`, `casefold`, or `trim,casefold`."""
    words = [word.strip() for word in text.split(",")]
    if words == [EXACT]:
        return ()
    for word in words:
        if word not in set(NameForm):
            raise ConfigError(
                f"--match-names {text}: unknown value {word or '(blank)'}"
                + did_you_mean(word, (EXACT, *NameForm)),
                help=f"one of: {EXACT}, trim, casefold; or trim,casefold for both",
            )
        if words.count(word) > 1:
            raise ConfigError(
                f"--match-names {text}: {word} is given twice", help="give it once"
            )
    # In the order of the class: the digest of the options of a run must not depend on
    # the order of the words.
    return tuple(form for form in NameForm if form in words)


def write_match_names(forms: Sequence[NameForm]) -> str:
    """The text from which `parse_match_names` reads them."""
    return ",".join(forms) or EXACT
