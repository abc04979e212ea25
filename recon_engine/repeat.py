"""The command that makes a result again, as a shell takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.flags import field, quoted


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Options


def command(options: Options, old: str, new: str) -> str:
    """`recon diff OLD NEW` with every option that is not as it is by default."""
    words = ("recon", "diff", old, new, *_flags(options))
    return " ".join(map(quoted, words))


def _flags(options: Options) -> Iterator[str]:
    for name in options.keys:
        yield from ("--key", field(name, ","))
    for name in options.ignore:
        yield from ("--ignore", field(name, ","))
    rules = [
        (name, each) for name, several in options.rules.items() for each in several
    ]
    for flag, pairs in (
        ("--map", [(old, field(new, "=")) for old, new in options.renames.items()]),
        ("--rule", rules),
        ("--mask", options.masks.items()),
    ):
        for column, value in pairs:
            yield from (flag, f"{field(column, '=')}={value}")
    for gate in options.gates:
        yield from ("--gate", gate)
    plain = type(options)(keys=options.keys)
    for name in ("on_duplicate_keys", "on_schema_drift", "on_bad_row", "delimiter"):
        if getattr(options, name) != getattr(plain, name):
            yield from (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    if options.encodings != plain.encodings:
        yield from ("--encoding", ":".join(options.encodings))
    if options.detail_limit != plain.detail_limit:
        yield from ("--detail-limit", str(options.detail_limit))
