"""Change patterns: which old value became which new one, and how often. Pure.

They are counted column by column, so that what is grouped at once stays small, and
exactly: every distinct change is there before the commonest are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.model import Pattern, Patterns


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


SHOWN: Final = 10
AT: Final = "\0at"


def changes(cells: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes among cells of a column: `old`, `new`, `kind`, `rows`."""
    # A kind is of the two texts alone, so each of a change has the same.
    return (
        cells.lazy()
        .group_by("old", "new")
        .agg(pl.col("kind").first(), rows=pl.len())
        .collect()
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
    tops = [_commonest(changes) for _, _, changes in found]
    ordinals = [pl.lit(ordinal, pl.UInt32).alias("column") for _, ordinal, _ in found]
    every = pl.concat(
        [top.with_columns(at) for top, at in zip(tops, ordinals, strict=True)]
    )
    examples = _least_keys(every, cells, keys).iter_rows()
    for (column, _, changes), top in zip(found, tops, strict=True):
        rows = top.select("old", "new", "kind", "rows").iter_rows()
        shown = [
            Pattern(old, new, kind, count, dict(zip(names, key, strict=True)))
            for (old, new, kind, count), key in zip(rows, examples, strict=False)
        ]
        yield Patterns(column, changes.height, tuple(shown))


def _commonest(changes: pl.DataFrame) -> pl.DataFrame:
    order = changes.lazy().sort("rows", "old", "new", descending=[True, False, False])
    return order.head(SHOWN).collect()


def _least_keys(
    changes: pl.DataFrame, cells: pl.DataFrame, keys: pl.DataFrame
) -> pl.DataFrame:
    """For each change the least of the keys that have it, column by column."""
    change = ["column", "old", "new"]
    having = (
        cells.lazy()
        .select(*change, "pair")
        .join(changes.lazy().select(change).with_row_index(AT), on=change)
        .select(AT, "pair")
        .collect()
    )
    rows = keys[having["pair"]].with_columns(having[AT])
    for name in keys.columns:
        rows = rows.filter(pl.col(name) == pl.col(name).min().over(AT))
    return rows.unique(AT, keep="any").sort(AT).drop(AT)
