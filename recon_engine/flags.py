"""Options of the command line as people paste them: names quoted, the shell minded."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from recon_engine.characters import escapes, is_seen


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def rule(column: str, rules: Sequence[str]) -> str:
    """`--rule PAID=trim --rule PAID=decimal`."""
    name = field(column, "=")
    return " ".join(f"--rule {quoted(f'{name}={each}')}" for each in rules)


def keys(columns: Iterable[str]) -> str:
    """`--key CLM_ID --key SEGMENT`."""
    return " ".join(f"--key {quoted(field(name, ','))}" for name in columns)


def rename(old: str, new: str) -> str:
    """`--map PAID=AMOUNT`."""
    return "--map " + quoted(f"{field(old, '=')}={field(new, '=')}")


def quoted(word: str) -> str:
    r"""A word as a shell takes it; with escapes where it needs some: `$'A\u00a0B'`."""
    if all(map(is_seen, word)):
        return shlex.quote(word)
    return "$'" + "".join(escapes(word)).replace("'", r"\'") + "'"


def field(name: str, delimiter: str) -> str:
    """A name in quotes, where what stands around it could be taken for a part of it."""
    if delimiter in name or '"' in name:
        return '"' + name.replace('"', '""') + '"'
    return name
