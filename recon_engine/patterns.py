"""Change patterns: which old value became which new one, and how often. Pure.

They are counted column by column, so that what is grouped at once stays small, and
exactly: every distinct change is there before the commonest are taken.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.model import Pattern, Patterns


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


SHOWN: Final = 10
AT: Final = "\0at"
CHANGE: Final = ("old", "new", "kind", "rows")


def changes(cells: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes among cells of a column: `old`, `new`, `kind`, `rows`."""
    # A kind is of the two texts alone, so each of a change has the same.
    return (
        cells.lazy()
        .group_by("old", "new")
        .agg(pl.col("kind").first(), rows=pl.len())
        .collect(engine="in-memory")
    )


def patterns(
    found: Sequence[tuple[str, int, pl.DataFrame]],
    cells: pl.DataFrame,
    keys: pl.DataFrame,
    names: Sequence[str],
) -> Iterator[Patterns]:
    """The changes of columns in short: the commonest first, then by content.

    `found`: name, ordinal in `cells`, and `changes` of each column that has some;
    `keys`: of each pair; `names`: of their columns. The example of a change is the
    least key that has it.
    """
    tops = [commonest(changes) for _, _, changes in found]
    ordinals = [pl.lit(ordinal, pl.UInt32).alias("column") for _, ordinal, _ in found]
    every = pl.concat(
        [top.with_columns(at) for top, at in zip(tops, ordinals, strict=True)]
    )
    examples = least_keys(every, cells, keys).iter_rows()
    for (column, _, changes), top in zip(found, tops, strict=True):
        mine = itertools.islice(examples, top.height)
        yield _shown(column, changes.height, top, mine, names)


def located(
    cells: pl.DataFrame, keys: pl.DataFrame
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The ordinal of each column that has changes, and these, with keys.

    In the columns of `keys` each change has the least of those that have it.
    """
    order = keys.with_row_index(AT).sort(keys.columns)[AT]
    place = pl.int_range(keys.height, dtype=pl.UInt32, eager=True)
    rank = place.scatter(order, place)
    found = (
        cells.lazy()
        .with_columns(rank.gather(cells["pair"]).alias(AT))
        .group_by("column", "old", "new")
        .agg(pl.col("kind").first(), pl.col(AT).min(), rows=pl.len())
        .collect(engine="in-memory")
    )
    least = keys[order.gather(found[AT])]
    every = found.drop(AT).hstack(least)
    for (at,), part in every.partition_by(
        "column", as_dict=True, include_key=False
    ).items():
        yield int(at), part


def together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The `located` changes of disjoint sets of cells as one."""
    every = pl.concat(parts)
    keys = [name for name in every.columns if name not in CHANGE]
    return (
        every.lazy()
        .sort(keys)
        .group_by("old", "new", maintain_order=True)
        .agg(
            pl.col("kind").first(),
            pl.col("rows").cast(pl.Int64).sum(),
            pl.col(keys).first(),
        )
        .collect(engine="in-memory")
    )


def in_short(
    column: str, distinct: int, changes: pl.DataFrame, names: Sequence[str]
) -> Patterns:
    """The commonest of `located` changes, of which there are so many."""
    top = commonest(changes)
    examples = top.drop(CHANGE).iter_rows()
    return _shown(column, distinct, top, examples, names)


def _shown(
    column: str,
    distinct: int,
    top: pl.DataFrame,
    examples: Iterable[tuple[str, ...]],
    names: Sequence[str],
) -> Patterns:
    rows = zip(top.select(CHANGE).iter_rows(), examples, strict=True)
    return shown(column, distinct, [(*change, key) for change, key in rows], names)


def shown(
    column: str,
    distinct: int,
    changes: Iterable[tuple[str, str, str, int, tuple[str, ...]]],
    names: Sequence[str],
) -> Patterns:
    """Changes with their `CHANGE` and an example, of so many distinct ones."""
    every = (
        Pattern(old, new, kind, rows, dict(zip(names, key, strict=True)))
        for old, new, kind, rows, key in changes
    )
    return Patterns(column, distinct, tuple(every))


def commonest(changes: pl.DataFrame) -> pl.DataFrame:
    """The changes to show, in the order in which they are."""
    order = changes.lazy().sort("rows", "old", "new", descending=[True, False, False])
    return order.head(SHOWN).collect(engine="in-memory")


def least_keys(
    changes: pl.DataFrame, cells: pl.DataFrame, keys: pl.DataFrame
) -> pl.DataFrame:
    """For each change the least of the keys that have it, column by column."""
    change = ["column", "old", "new"]
    having = (
        cells.lazy()
        .select(*change, "pair")
        .join(changes.lazy().select(change).with_row_index(AT), on=change)
        .select(AT, "pair")
        .collect(engine="in-memory")
    )
    rows = keys[having["pair"]].with_columns(having[AT])
    for name in keys.columns:
        rows = rows.filter(pl.col(name) == pl.col(name).min().over(AT))
    return rows.unique(AT, keep="any").sort(AT).drop(AT)
