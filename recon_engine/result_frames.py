"""Rows of a result as wide frames: key columns by name, a column for each side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def put_key_first(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The same columns, those of the key first."""
    # Not selected by name: Polars reads some names as patterns.
    first = [name for name in keys if name in rows.columns]
    names = dict.fromkeys((*first, *rows.columns))
    return pl.DataFrame([rows.get_column(name) for name in names])


def flatten_key(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """A frame whose first column is the struct `key`, with the key columns instead."""
    others = frame.columns[1:]
    parts = frame["key"].struct.unnest()
    return pl.DataFrame(
        [
            *(
                column.alias(name)
                for column, name in zip(parts, _key_names(keys, others), strict=True)
            ),
            *(frame[name] for name in others),
        ]
    )


def _key_names(keys: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names of key columns beside others; one that is taken is `key.NAME`."""
    names: list[str] = []
    for key in keys:
        name = key
        while name in taken or name in names:
            name = f"key.{name}"
        names.append(name)
    return names


def spread_cells(
    cells: pl.DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame:
    """Differing cells as one row for each pair of rows."""
    pairs = cells.select("pair", "key").unique("pair", maintain_order=True)
    # Both have the pairs in the order of their first cells.
    spread = cells.pivot(
        "column", index="pair", values=list(SIDES), maintain_order=True
    )
    found = dict(zip(spread.columns, spread, strict=True))
    # A column may have no cell among those that are shown.
    absent = pl.repeat(None, pairs.height, dtype=pl.String, eager=True)
    texts = {
        f"{name}_{side}": found.get(f"{side}_{name}", absent)
        for name in columns
        for side in SIDES
    }
    return lay_out_rows(pairs["key"].struct.unnest(), keys, texts)


def lay_out_rows(
    shown: pl.DataFrame, keys: Sequence[str], texts: Mapping[str, pl.Series]
) -> pl.DataFrame:
    """Rows with the columns of their keys before other texts, ordered by all of them.

    `shown`: the columns of the keys, named `keys`, of which one may have another name
    beside those of `texts`.
    """
    # Numbers as names: no user's name is used in an expression.
    every = [*shown, *texts.values()]
    rows = pl.DataFrame([each.alias(str(at)) for at, each in enumerate(every)])
    rows.columns = [*_key_names(keys, list(texts)), *texts]
    # By content: the numbers of pairs depend on the order of rows in the files.
    return rows[rows.to_struct().arg_sort()]
