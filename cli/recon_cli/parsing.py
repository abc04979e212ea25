"""Parse text options: names, pairs, rules, gates and masks.

An option that is not given is read from its RECON_* variable.
"""

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
    """`OLD=NEW` arguments; quote a name that contains `=` with double quotes."""
    result: dict[str, str] = {}
    for text in _texts_or_environment(pairs, "RECON_MAP"):
        match _split_quoted(text, "="):
            case [old, new] if old and new and old not in result:
                result[old] = new
            case _:
                raise ConfigError(
                    f"--map {text} is not OLD=NEW, or OLD occurs twice",
                    help="use for example --map PAID_AMT=PAID_AMOUNT",
                )
    return result


def parse_rules(
    texts: list[str] | None, before: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`COLUMN=RULE` arguments; quote a name that contains `=` with double quotes.

    `before`: rules of the configuration file. Arguments apply after them: a hint says
    what a rule would add to the rules that already apply.
    """
    result = dict(before)
    for text in texts or os.environ.get("RECON_RULE", "").split(";"):
        found = RULE_PATTERN.fullmatch(text)
        if found is None and text.strip():
            raise ConfigError(
                f"--rule {text} is not COLUMN=RULE",
                help="use for example --rule PAID_AMT=decimal, or --rule '*=trim'",
            )
        if found is not None:
            [name] = _split_quoted(found[1], "=")
            result[name] = (*result.get(name, ()), found[2].strip())
    return result


def parse_gates(texts: list[str] | None) -> tuple[str, ...]:
    """Repeated --gate arguments, or RECON_GATE, separated by semicolons."""
    given = texts or os.environ.get("RECON_GATE", "").split(";")
    return tuple(text.strip() for text in given if text.strip())


def parse_masks(texts: list[str] | None) -> dict[str, str]:
    """`COLUMN=MASK` arguments; quote a name that contains `=` with double quotes."""
    result: dict[str, str] = {}
    for text in filter(str.strip, texts or os.environ.get("RECON_MASK", "").split(";")):
        match _split_quoted(text, "="):
            case [name, mask] if name and mask and name not in result:
                result[name] = mask
            case _:
                raise ConfigError(
                    f"--mask {text} is not COLUMN=MASK, or COLUMN occurs twice",
                    help="use for example --mask MEMBER_ID=hmac, or --mask '*=redact'",
                )
    return result


def parse_names(texts: list[str] | None, variable: str) -> tuple[str, ...]:
    """Repeated and comma-separated names, without surrounding spaces.

    A name that contains a comma, or begins or ends with a space, is in double quotes.
    """
    return tuple(
        name
        for text in _texts_or_environment(texts, variable)
        for name in _split_quoted(text, ",")
        if name
    )


def _texts_or_environment(texts: list[str] | None, variable: str) -> list[str]:
    """The arguments, or the value of the variable as one argument.

    RECON_MAP is split at commas into several arguments.
    """
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
            f"{text} is not a valid list of names",
            help="quote names as fields of a CSV file",
        ) from None
