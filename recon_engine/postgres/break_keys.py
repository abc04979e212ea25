"""The texts under which the breaks of a key are recorded.

A key is recorded as OLD writes it, or as NEW does if its row is extra. A caller may
write it in another way that is the same key under the rules of the key columns.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.characters import may_be_in_a_file
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_key
from recon_engine.model import SIDES
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.chains import read_forms


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import psycopg

    from recon_engine.rules.chains import Chain

RECORDED: Final = """
SELECT key_text, array_agg(DISTINCT CASE kind WHEN 'extra' THEN 'new' ELSE 'old' END)
FROM metrics.break WHERE book = %s GROUP BY key_text
"""

Key = tuple[str, ...]


def read_key(text: str, keys: Sequence[str]) -> Key:
    """The values of the key columns, from the text of a break."""
    return tuple(json.loads(text)) if len(keys) > 1 else (text,)


def write_key_texts(values: Sequence[str]) -> list[str]:
    """The texts that a key may have: its values may also be one JSON array."""
    return [format_key(key) for key in _read_values(values)]


def find_key_texts(
    connection: psycopg.Connection,
    book: UUID,
    values: Sequence[str],
    keys: Sequence[str],
    options: Mapping[str, Any],
) -> list[str]:
    """The recorded texts that are the same key under the rules of a run.

    Args:
        connection: Reads the breaks.
        book: The book of the breaks.
        values: The key, as a caller writes it.
        keys: The key columns.
        options: Those of the run, as the run log has them.

    Without rules for the key columns, and with a code table that cannot be read now,
    there is none.
    """
    chains: list[Chain] = []
    # A file of codes may have been moved since. The text as listed still finds a break.
    with suppress(ConfigError):
        chains = _assemble_chains(keys, options)
    if not any(chain.steps for chain in chains):
        return []
    wanted = [key for key in _read_values(values) if len(key) == len(keys)]
    asked = _normalize_keys(wanted, chains)
    sought = {form for forms in asked for form in forms}
    written = connection.execute(RECORDED, [book]).fetchall()
    recorded = _normalize_keys([read_key(text, keys) for text, _ in written], chains)
    return [
        text
        for (text, sides), forms in zip(written, recorded, strict=True)
        if any(forms[SIDES.index(side)] in sought for side in sides)
    ]


def _read_values(values: Sequence[str]) -> list[Key]:
    """The keys that values may be: one for each column, or one JSON array.

    None of them has a value that no file can hold.
    """
    found = [tuple(values)]
    if len(values) == 1:
        with suppress(ValueError, TypeError, RecursionError):
            found.append(tuple(str(each) for each in json.loads(values[0])))
    return [key for key in found if all(map(may_be_in_a_file, key))]


def _assemble_chains(keys: Sequence[str], options: Mapping[str, Any]) -> list[Chain]:
    """The rules of each key column, by the names that the run was given.

    Raises ConfigError for a code table that cannot be read.
    """
    chains = []
    for name, spelled in zip(keys, options["keys"], strict=True):
        given = GivenRules()
        for side in ("both", *SIDES):
            of_side = options if side == "both" else options.get(side, {})
            rules = of_side.get("rules", {})
            for known in dict.fromkeys((name, spelled)):
                given = given.with_rules(rules.get(known, ()), side)
        chains.append(assemble_chain(name, given))
    return chains


def _normalize_keys(
    keys: Sequence[Key], chains: Sequence[Chain]
) -> list[tuple[Key, ...]]:
    """The normal forms of each key: as OLD may write it, and as NEW may."""
    columns = [
        pl.Series([key[at] for key in keys], dtype=pl.String)
        for at in range(len(chains))
    ]
    by_side = [
        zip(
            *(
                read_forms(chain.of(side), texts)
                for chain, texts in zip(chains, columns, strict=True)
            ),
            strict=True,
        )
        for side in SIDES
    ]
    return list(zip(*by_side, strict=True))
