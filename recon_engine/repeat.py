"""The command that makes a result again, as a shell takes it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Options


def command(options: Options, old: str, new: str) -> str:
    """`recon diff OLD NEW` with every option that is not as it is by default."""
    words = ("recon", "diff", old, new, *_flags(options))
    return " ".join(map(shlex.quote, words))


def _flags(options: Options) -> Iterator[str]:
    for name in options.keys:
        yield from ("--key", _field(name, ","))
    for name in options.ignore:
        yield from ("--ignore", _field(name, ","))
    for old, new in options.renames.items():
        yield from ("--map", f"{_field(old, '=')}={_field(new, '=')}")
    for column, rules in options.rules.items():
        for rule in rules:
            yield from ("--rule", f"{_field(column, '=')}={rule}")
    plain = type(options)(keys=options.keys)
    for name in ("on_duplicate_keys", "on_schema_drift", "on_bad_row", "delimiter"):
        if getattr(options, name) != getattr(plain, name):
            yield from (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    if options.encodings != plain.encodings:
        yield from ("--encoding", ":".join(options.encodings))
    if options.detail_limit != plain.detail_limit:
        yield from ("--detail-limit", str(options.detail_limit))


def _field(name: str, delimiter: str) -> str:
    """A name in quotes, where what stands in it could be taken for a delimiter."""
    if delimiter in name or '"' in name:
        return '"' + name.replace('"', '""') + '"'
    return name
