"""What is known of some buckets of keys; the parts of all buckets merge into the whole.

Counts add up. Of what is to be shown the whole is kept, or as much as a limit can ask
for: the least rows in order of content, and what a sample may choose. Either way the
merged parts are the same, however they were grouped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from recon_engine import sample
from recon_engine.compare import Difference, in_order_of_content, merge


if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Repeats:
    """The keys that repeat on a side: a struct `key` and `rows`, worst first."""

    keys: int
    rows: int
    worst: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Partial:
    """Some buckets, reconciled.

    `identical` pairs were dropped by digest; `matched` were compared. `kinds`: how many
    cells (`len`) of each `column` are of each `kind`; `signatures`: how many `rows`
    differ in each set of columns. `shown`: the difference, or what is kept of it.
    `repeats`: of OLD and of NEW.
    """

    identical: int
    matched: int
    mismatched: int
    missing: int
    extra: int
    kinds: pl.DataFrame
    signatures: pl.DataFrame
    shown: Difference
    repeats: tuple[Repeats, Repeats]

    def limited(self, limit: int, keys: Sequence[str]) -> Partial:
        """The same, with no more to show than `limit` can ask for."""
        worst = (replace(each, worst=each.worst.head(limit)) for each in self.repeats)
        old, new = worst
        return replace(
            self, shown=_limited(self.shown, limit, keys), repeats=(old, new)
        )


def partial(
    found: Difference, identical: int, repeats: Sequence[pl.DataFrame]
) -> Partial:
    """What is known of the buckets that a difference is of."""
    old, new = (Repeats(each.height, int(each["rows"].sum()), each) for each in repeats)
    return Partial(
        identical=identical,
        matched=found.keys.height,
        mismatched=found.cells["pair"].n_unique(),
        missing=found.missing.height,
        extra=found.extra.height,
        kinds=found.cells.group_by("column", "kind").len(),
        signatures=_signatures(found.cells),
        shown=found,
        repeats=(old, new),
    )


def merged(parts: Sequence[Partial], keys: Sequence[str]) -> Partial:
    """Disjoint sets of buckets as one."""
    old, new = (_repeats([part.repeats[at] for part in parts]) for at in (0, 1))
    kinds = pl.concat([part.kinds for part in parts])
    signatures = pl.concat([part.signatures for part in parts])
    return Partial(
        identical=sum(part.identical for part in parts),
        matched=sum(part.matched for part in parts),
        mismatched=sum(part.mismatched for part in parts),
        missing=sum(part.missing for part in parts),
        extra=sum(part.extra for part in parts),
        kinds=kinds.group_by("column", "kind").agg(pl.col("len").sum()),
        signatures=signatures.group_by("columns").agg(pl.col("rows").sum()),
        shown=merge((part.shown for part in parts), keys),
        repeats=(old, new),
    )


def _signatures(cells: pl.DataFrame) -> pl.DataFrame:
    """`columns`, a set of ordinals that differ together, and in how many `rows`."""
    pair = cells["pair"].to_numpy()
    # Most rows differ in one cell: only the others need their sets put together.
    alone = pl.Series((np.bincount(pair) == 1)[pair], dtype=pl.Boolean)
    single = cells.filter(alone).group_by("column").agg(rows=pl.len())
    several = (
        cells.filter(~alone)
        .group_by("pair")
        .agg(columns=pl.col("column").sort())
        .group_by("columns")
        .agg(rows=pl.len())
    )
    one = single.select(pl.concat_list("column").alias("columns"), "rows")
    return pl.concat([one, several])


def _repeats(parts: Sequence[Repeats]) -> Repeats:
    worst = pl.concat([part.worst for part in parts])
    return Repeats(
        sum(part.keys for part in parts),
        sum(part.rows for part in parts),
        worst.sort("rows", "key", descending=[True, False]),
    )


def _limited(found: Difference, limit: int, keys: Sequence[str]) -> Difference:
    pairs = sample.candidates(found.cells, sample.stable_hash(found.keys), limit)
    numbers = pl.DataFrame({"pair": pairs}).with_row_index("number")
    cells = found.cells.join(numbers, on="pair", maintain_order="left")
    return replace(
        found,
        keys=found.keys[pairs],
        cells=cells.with_columns(pair="number").drop("number"),
        missing=in_order_of_content(found.missing, keys).head(limit),
        extra=in_order_of_content(found.extra, keys).head(limit),
    )
