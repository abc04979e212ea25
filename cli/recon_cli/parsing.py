"""What people type as text, parsed: names, pairs, rules, gates, masks."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from recon_engine.command_line import QUOTED, read_name, split_list, split_names
from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping


RULE_PATTERN: Final = re.compile(r'(\s*"(?:[^"]|"")*"\s*|[^"=]*)=(.+)', re.DOTALL)


def parse_mapping(pairs: list[str] | None) -> dict[str, str]:
    """`OLD=NEW` arguments; a name that holds `=` stands in double quotes."""
    result: dict[str, str] = {}
    for text in _texts_or_environment(pairs, "RECON_MAP"):
        match _split_quoted(text, "="):
            case [old, new] if old and new and old not in result:
                result[old] = new
            case _:
                raise ConfigError(
                    f"--map {text} is not OLD=NEW, once for each OLD",
                    help="such as --map PAID_AMT=PAID_AMOUNT",
                )
    return result


def parse_rules(
    texts: list[str] | None, before: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`COLUMN=RULE` arguments; a name that holds `=` stands in double quotes.

    They come after those of a column that were there `before`, as hints are measured.
    """
    result = dict(before)
    for text in texts or os.environ.get("RECON_RULE", "").split(";"):
        found = RULE_PATTERN.fullmatch(text)
        if found is None and text.strip():
            raise ConfigError(
                f"--rule {text} is not COLUMN=RULE",
                help="such as --rule PAID_AMT=decimal, or --rule '*=trim'",
            )
        if found is not None:
            [name] = _split_quoted(found[1], "=")
            result[name] = (*result.get(name, ()), found[2].strip())
    return result


def parse_gates(texts: list[str] | None) -> tuple[str, ...]:
    """Repeated --gate arguments, or the environment's, by semicolons."""
    given = texts or os.environ.get("RECON_GATE", "").split(";")
    return tuple(text.strip() for text in given if text.strip())


def parse_masks(texts: list[str] | None) -> dict[str, str]:
    """`COLUMN=MASK` arguments; a name that holds `=` stands in double quotes."""
    result: dict[str, str] = {}
    for text in filter(str.strip, texts or os.environ.get("RECON_MASK", "").split(";")):
        match _split_quoted(text, "="):
            case [name, mask] if name and mask and name not in result:
                result[name] = mask
            case _:
                raise ConfigError(
                    f"--mask {text} is not COLUMN=MASK, once for each column",
                    help="such as --mask MEMBER_ID=hmac, or --mask '*=redact'",
                )
    return result


def parse_names(texts: list[str] | None, variable: str) -> tuple[str, ...]:
    """Repeated and comma-separated names, without the blanks around them.

    A name that holds a comma, or blanks at its ends, is in double quotes.
    """
    return tuple(
        name
        for text in _texts_or_environment(texts, variable)
        for name in _split_quoted(text, ",")
        if name
    )


def _texts_or_environment(texts: list[str] | None, variable: str) -> list[str]:
    """The arguments, or the environment's: one value, whatever blanks it holds."""
    if texts:
        return texts
    value = os.environ.get(variable, "")
    if not value:
        return []
    if variable != "RECON_MAP":
        return [value]
    # A pair may be in quotes as a whole, or each of its names by itself.
    pairs = (pair.strip() for pair in split_list(value, ","))
    return [read_name(pair) if QUOTED.fullmatch(pair) else pair for pair in pairs]


def _split_quoted(text: str, delimiter: str) -> list[str]:
    try:
        return split_names(text, delimiter)
    except ValueError:
        raise ConfigError(
            f"{text} is no list of names", help="quote it as a field of a CSV file"
        ) from None
