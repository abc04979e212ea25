"""What people type as text, parsed: names, pairs, rules, gates, masks."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from recon_engine.column_maps import parse_column_map
from recon_engine.command_line import split_names
from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.options import Option, Shape


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# The first `=` outside of quotes ends the name: a rule may contain others.
RULE_PATTERN: Final = lazy_pattern(r'(\s*"(?:[^"]|"")*"\s*|[^"=]*)=(.+)', re.DOTALL)


def parse_values(option: Option, texts: list[str] | None, filed: Any = None) -> Any:
    """The values of an option that has several, as the field that it sets has them.

    `texts`: the arguments; without any, the environment variable counts. `filed`: what
    the configuration file has. A list takes the place of the one in the file; a table
    by column is merged with it.
    """
    given = texts or _read_variable(option)
    match option.shape:
        case Shape.NAMES:
            return parse_names(given) or filed or ()
        case Shape.RENAMES:
            # A variable that is set and blank maps nothing.
            return {**(filed or {}), **parse_column_map(filter(str.strip, given))}
        case Shape.COLUMN_VALUE:
            return {**(filed or {}), **_parse_column_value(option, given)}
        case Shape.COLUMN_VALUES:
            return _parse_column_values(option, given, filed or {})
        case _ if option.value_type is str:
            return tuple(text.strip() for text in given if text.strip()) or filed or ()
        case _:
            return tuple(given or map(option.value_type, filed or ()))


def _read_variable(option: Option) -> list[str]:
    value = os.environ.get(option.env, "") if option.env else ""
    if not value:
        return []
    return value.split(option.separator) if option.separator else [value]


def parse_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names that are separated by commas, without the blanks around them.

    A name that holds a comma, or blanks at its ends, is in double quotes.
    """
    return tuple(name for text in texts for name in _split_quoted(text, ",") if name)


def _parse_column_value(option: Option, texts: list[str]) -> dict[str, str]:
    """`COLUMN=MASK`; a name that holds `=` is in double quotes."""
    result: dict[str, str] = {}
    for text in filter(str.strip, texts):
        match _split_quoted(text, "="):
            case [name, value] if name and value and name not in result:
                result[name] = value
            case _:
                raise ConfigError(
                    f"{option.flag} {text} is not {option.metavar},"
                    " once for each column",
                    help="such as --mask MEMBER_ID=hmac, or --mask '*=redact'",
                )
    return result


def _parse_column_values(
    option: Option, texts: list[str], before: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`COLUMN=RULE`; a name that holds `=` is in double quotes.

    They come after those of a column that were there `before`, as hints are measured. A
    typed rule, such as `date(…)`, takes the place of the typed rule before: a value is
    read by one of them.
    """
    added: dict[str, tuple[str, ...]] = {}
    for text in texts:
        found = RULE_PATTERN.fullmatch(text)
        if found is None and text.strip():
            raise ConfigError(
                f"{option.flag} {text} is not {option.metavar}",
                help=f"such as {option.flag} PAID_AMT=decimal, or"
                f" {option.flag} '*=trim'",
            )
        if found is not None:
            [name] = _split_quoted(found[1], "=")
            added[name] = (*added.get(name, ()), found[2].strip())
    result = dict(before)
    for name, rules in added.items():
        kept = result.get(name, ())
        # `kept` first: `_is_typed` imports Polars, and there is mostly nothing to
        # replace.
        if kept and any(map(_is_typed, rules)):
            kept = tuple(rule for rule in kept if not _is_typed(rule))
        result[name] = (*kept, *rules)
    return result


def _is_typed(rule: str) -> bool:
    # Polars, which rules import, takes a while to load.
    from recon_engine.rules.assembly import is_typed

    return is_typed(rule)


def _split_quoted(text: str, delimiter: str) -> list[str]:
    try:
        return split_names(text, delimiter)
    except ValueError:
        raise ConfigError(
            f"{text} is not a list of names", help="quote it as a field of a CSV file"
        ) from None
