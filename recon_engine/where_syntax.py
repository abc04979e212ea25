"""The expressions of `--where`: conditions on columns, joined by `and`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterator


# A quoted name, a quoted text, an operator, or a bare word.
TOKEN: Final = lazy_pattern(
    r"""\s*(?:("(?:[^"]|"")*+")|('(?:[^']|'')*+')|(<=|>=|!=|=|<|>|\(|\)|,)"""
    r"""|([^\s"'<>=!(),]+))"""
)
BARE_NAME: Final = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_.]*")
COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")
# These put values in order, so both sides of them have to be readable.
ORDERED: Final = frozenset({"<", "<=", ">", ">="})
HELP: Final = (
    "such as: CLOSED >= '2026-01-01' and REGION in ('N', 'S'); a name with spaces is in"
    " double quotes, a text in single quotes"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: `operator` is `=`, `!=`, `<`, `<=`, `>`, `>=` or `in`.

    `values`: one text, or those of the list of `in`.
    """

    column: str
    operator: str
    values: tuple[str, ...]


class _MalformedError(Exception):
    """What is wrong with an expression, without its values."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A part of an expression; `kind`: name, text, sign or word."""

    kind: str
    text: str


def parse_where(text: str, flag: str = "--where") -> tuple[Condition, ...]:
    """Parse `A = 'x' and B >= 10 and C in ('a', 'b')`; a blank text has no condition.

    Raises ConfigError, which names `flag` and quotes no value of the expression.
    """
    if not text.strip():
        return ()
    try:
        return _parse_conditions(list(_tokens(text)))
    except _MalformedError as error:
        raise ConfigError(f"{flag}: {error}", help=HELP) from None


def _parse_conditions(tokens: list[_Token]) -> tuple[Condition, ...]:
    found = list[Condition]()
    while True:
        found.append(_take_condition(tokens, len(found) + 1))
        if not tokens:
            return tuple(found)
        word = tokens.pop(0)
        # Words of the syntax may be in any case, as in SQL.
        if word.kind != "word" or word.text.lower() != "and":
            unsupported = "; 'or' is not supported" * (word.text.lower() == "or")
            raise _MalformedError(
                f"'and' is missing after condition {len(found)}{unsupported}"
            )


def write_exclusion(column: str, value: str) -> str:
    """The condition that a column does not have a value, as `parse_where` reads it."""
    text = value.replace("'", "''")
    return f"{_write_name(column)} != '{text}'"


def write_without_values(text: str) -> str:
    """An expression whose values are cut: `CLOSED >= … and REGION in (…)`."""
    return " and ".join(
        f"{_write_name(each.column)} {each.operator}"
        f" {'(…)' if each.operator == 'in' else '…'}"
        for each in parse_where(text)
    )


def _write_name(column: str) -> str:
    # Bare, these two are read as names, too. The quotes are for people.
    if BARE_NAME.fullmatch(column) and column.lower() not in {"and", "in"}:
        return column
    name = column.replace('"', '""')
    return f'"{name}"'


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            # A token begins with the spaces before it.
            place = len(text) - len(text[at:].lstrip()) + 1
            raise _MalformedError(f"character {place:,} is not part of a condition")
        name, quoted, sign, word = found.groups()
        if name is not None:
            yield _Token("name", name[1:-1].replace('""', '"'))
        elif quoted is not None:
            yield _Token("text", quoted[1:-1].replace("''", "'"))
        elif sign is not None:
            yield _Token("sign", sign)
        else:
            yield _Token("word", word)
        at = found.end()


def _take_condition(tokens: list[_Token], number: int) -> Condition:
    """The condition of this number, from 1.

    Errors have the number only: what is in the place of a column may be a value.
    """
    if not tokens or tokens[0].kind not in {"name", "word"} or not tokens[0].text:
        raise _MalformedError(f"condition {number} does not begin with a column")
    column = tokens.pop(0).text
    operator = tokens.pop(0) if tokens else _Token("sign", "")
    if operator.kind == "sign" and operator.text in COMPARISONS:
        return Condition(column, operator.text, (_take_value(tokens, number),))
    if operator.kind == "word" and operator.text.lower() == "in":
        return Condition(column, "in", _take_values(tokens, number))
    raise _MalformedError(
        f"the column of condition {number} is not followed by =, !=, <, <=, >, >= or in"
    )


def _take_value(tokens: list[_Token], number: int) -> str:
    if not tokens or tokens[0].kind not in {"text", "word"}:
        raise _MalformedError(f"condition {number} has no value")
    return tokens.pop(0).text


def _take_values(tokens: list[_Token], number: int) -> tuple[str, ...]:
    """The values of `in (…)`."""
    expected, found = "(", []
    while True:
        if not tokens or tokens.pop(0) != _Token("sign", expected):
            raise _MalformedError(
                f"the list of condition {number} is not written as ('a', 'b')"
            )
        found.append(_take_value(tokens, number))
        if tokens and tokens[0] == _Token("sign", ")"):
            tokens.pop(0)
            return tuple(found)
        expected = ","
