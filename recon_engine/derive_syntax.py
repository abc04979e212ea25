"""The expressions of `--derive`: new columns of one side, from its columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Sequence


# Greedy up to the last parenthesis: a separator in quotes may hold one.
CALL: Final = lazy_pattern(r"(split|join|slice)\s*\((.*)\)\s*", re.DOTALL)
# A text or a quoted name, or a bare word, up to a comma or `=`.
ITEM: Final = lazy_pattern(r'\s*("(?:[^"]|"")*+"|[^",=()]+)\s*')
# A place in a text; nine digits are more than any text has characters.
DIGITS: Final = lazy_pattern(r"[0-9]{1,9}")
FORMS: Final = {
    "split": 'A,B=split(COLUMN,"SEPARATOR")',
    "join": 'A=join(COLUMN,COLUMN,"SEPARATOR")',
    "slice": "A=slice(COLUMN,FIRST,LAST)",
}
HELP: Final = (
    """such as: CLM_NO,LINE=split(CLAIM,"-"), ID=join(A,B,"-"), STATE=slice(ZIP,1,2)"""
)


@dataclass(frozen=True, slots=True)
class Derivation:
    """Columns that one function makes of others.

    `function`: `split` makes `names` of one column, at `separator`; `join` makes one
    name of several columns, with `separator` between them; `slice` takes the characters
    `first` to `last` (from 1; None is the end) of a column.
    """

    names: tuple[str, ...]
    function: str
    sources: tuple[str, ...]
    separator: str = ""
    first: int = 1
    last: int | None = None


class _MalformedError(Exception):
    """What is wrong with an expression."""


def parse_derivation(text: str, flag: str = "--derive") -> Derivation:
    """Parse `A,B=split(C,"-")`, `A=join(B,C,"-")` or `A=slice(B,1,4)`.

    Raises ConfigError, which names `flag`.
    """
    try:
        return _parse(text)
    except _MalformedError as error:
        raise ConfigError(f"{flag}: {error}", help=HELP) from None


def _parse(text: str) -> Derivation:
    names, at = _take_names(text)
    found = CALL.fullmatch(text, at)
    if found is None:
        raise _MalformedError(f"{', '.join(names)} is not made by split, join or slice")
    function, arguments = found[1], _split_arguments(found[2])
    if len(set(names)) < len(names):
        raise _MalformedError("a name is given twice")
    match function, arguments:
        case "split", [(_, source), (True, separator)] if separator and len(names) > 1:
            return Derivation(names, "split", (source,), separator)
        case "join", [*sources, (True, separator)] if (
            len(sources) > 1 and len(names) == 1
        ):
            return Derivation(names, "join", tuple(s for _, s in sources), separator)
        case "slice", [(_, source), *bounds] if len(names) == 1:
            first, last = _parse_bounds([bound for _, bound in bounds])
            return Derivation(names, "slice", (source,), first=first, last=last)
    raise _MalformedError(f"{function} is written as {FORMS[function]}")


def _take_names(text: str) -> tuple[tuple[str, ...], int]:
    """The names before `=`, and where the call begins."""
    names, at = [], 0
    while True:
        found = ITEM.match(text, at)
        if found is None:
            raise _MalformedError("it does not begin with the names of new columns")
        # Not split at commas first: a quoted name may hold a comma or `=`.
        names.append(_unquoted(found[1]))
        at = found.end() + 1
        match text[found.end() : at]:
            case "=":
                while text[at : at + 1].isspace():
                    at += 1
                return tuple(names), at
            case ",":
                continue
            case _:
                raise _MalformedError("the names of new columns are not followed by =")


def _split_arguments(text: str) -> list[tuple[bool, str]]:
    """The arguments of a call, each with whether it is in quotes."""
    found, at = [], 0
    while True:
        item = ITEM.match(text, at)
        if item is None:
            raise _MalformedError("an argument is missing or not closed")
        found.append((item[1].startswith('"'), _unquoted(item[1])))
        at = item.end()
        if at == len(text):
            return found
        if text[at] != ",":
            raise _MalformedError("arguments are not separated by commas")
        at += 1


def _unquoted(item: str) -> str:
    if item.startswith('"'):
        return item[1:-1].replace('""', '"')
    return item.strip()


def _parse_bounds(bounds: Sequence[str]) -> tuple[int, int | None]:
    """The first and the last character of a slice; None is the end."""
    digits = [bound for bound in bounds if DIGITS.fullmatch(bound)]
    match list(map(int, digits)):
        case [first] if len(bounds) == 1 and first:
            return first, None
        case [first, last] if len(bounds) == len(digits) and 1 <= first <= last:
            return first, last
    raise _MalformedError("slice takes the first and the last character, from 1")
