"""What is known of some buckets of keys; the parts of all buckets merge into the whole.

Counts add up. Of what is to be shown the whole is kept, or as much as a limit can ask
for: the least rows in order of content, and what a sample may choose. Either way the
merged parts are the same, however they were grouped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import sample, segments, totals
from recon_engine.causes import Lone, lone
from recon_engine.compare import (
    Difference,
    in_order_of_content,
    merge,
    repeated,
    telling_apart,
)
from recon_engine.masks import order
from recon_engine.model import Coverage
from recon_engine.parallel import in_order
from recon_engine.suppressions import coverage


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recon_engine.names import Names
    from recon_engine.question import Question


MOST_KEYS: Final = 1 << 20
# Cells that differ, and rows of all buckets, may be more than 32 bits can count.
COUNT: Final = pl.len().cast(pl.Int64)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How many keys repeat on a side, and on how many rows.

    `worst`: a struct `key` and its `rows`, worst first; `telling`: the columns of which
    each would make them unique.
    """

    keys: int
    rows: int
    worst: pl.DataFrame
    telling: frozenset[str]


@dataclass(frozen=True, slots=True)
class Partial:
    """Some buckets, reconciled.

    `identical` pairs were dropped by digest; `matched` were compared. `kinds`: how many
    cells (`len`) of each `column` are of each `kind`; `signatures`: how many `rows`
    differ in each set of columns. `shown`: the difference, or what is kept of it.
    `coverage`: by the suppressions; `repeats`: of OLD and of NEW.
    """

    identical: int
    matched: int
    mismatched: int
    missing: Lone
    extra: Lone
    kinds: pl.DataFrame
    signatures: pl.DataFrame
    shown: Difference
    coverage: tuple[Coverage, ...]
    repeats: tuple[Repeats, Repeats]

    @property
    def differences(self) -> int:
        """Cells that differ, missing and extra rows."""
        return int(self.kinds["len"].sum()) + self.missing.rows + self.extra.rows

    def limited(self, question: Question, whole: int = 0) -> Partial:
        """The same, with no more to show than the detail limit can ask for.

        Up to `whole` differences are all kept.
        """
        most = max(whole, question.options.detail_limit)
        old, new = (replace(each, worst=each.worst.head(most)) for each in self.repeats)
        fits = self.differences <= whole
        shown = self.shown if fits else _limited(self.shown, question)
        return replace(self, shown=shown, repeats=(old, new))


def repeats_among(
    suspects: pl.DataFrame, names: Names, columns: Iterable[str]
) -> Repeats:
    """The keys that repeat among rows, of which `columns` may be telling."""
    found = repeated(suspects.select(names.keys), names.keys, names.rules)
    telling = telling_apart(suspects, names.keys, columns, names.rules)
    return Repeats(found.height, int(found["rows"].sum()), found, frozenset(telling))


def partial(
    found: Difference, identical: int, repeats: Sequence[Repeats], question: Question
) -> Partial:
    """What is known of the buckets that a difference is of."""
    old, new = repeats
    suppressions = question.options.suppressions
    sides = found.missing, found.extra
    missing, extra = in_order(lambda rows: lone(rows, question), sides)
    return Partial(
        identical=identical,
        matched=found.keys.height,
        mismatched=found.cells["pair"].n_unique(),
        missing=missing,
        extra=extra,
        kinds=found.cells.group_by("column", "kind").agg(len=COUNT),
        signatures=_signatures(found.cells),
        shown=found,
        coverage=coverage(found.cells, question.columns, suppressions),
        repeats=(old, new),
    )


def merged(parts: Sequence[Partial], question: Question) -> Partial:
    """Disjoint sets of buckets as one."""
    old, new = (together([part.repeats[at] for part in parts]) for at in (0, 1))
    covered = Counter[tuple[int, ...]]()
    for part in parts:
        covered.update({each.by: each.rows for each in part.coverage})
    kinds = pl.concat([part.kinds for part in parts])
    signatures = pl.concat([part.signatures for part in parts])
    return Partial(
        identical=sum(part.identical for part in parts),
        matched=sum(part.matched for part in parts),
        mismatched=sum(part.mismatched for part in parts),
        missing=_lone([part.missing for part in parts]),
        extra=_lone([part.extra for part in parts]),
        kinds=kinds.group_by("column", "kind").agg(pl.col("len").sum()),
        signatures=signatures.group_by("columns").agg(pl.col("rows").sum()),
        shown=merge((part.shown for part in parts), question.names[0].keys),
        coverage=tuple(Coverage(by, rows) for by, rows in sorted(covered.items())),
        repeats=(old, new),
    )


def together(parts: Sequence[Repeats]) -> Repeats:
    """What repeats in disjoint sets of keys."""
    worst = pl.concat([part.worst for part in parts])
    return Repeats(
        sum(part.keys for part in parts),
        sum(part.rows for part in parts),
        worst.sort("rows", "key", descending=[True, False]),
        frozenset.intersection(*(part.telling for part in parts)),
    )


def _lone(parts: Sequence[Lone]) -> Lone:
    keys = [part.keys for part in parts if part.keys is not None]
    rows = sum(part.rows for part in parts)
    return Lone(
        rows,
        totals.added_up(part.sums for part in parts),
        segments.added(part.values for part in parts),
        pl.concat(keys) if rows <= MOST_KEYS and len(keys) == len(parts) else None,
    )


def _signatures(cells: pl.DataFrame) -> pl.DataFrame:
    """`columns`, a set of ordinals that differ together, and in how many `rows`."""
    pair = cells["pair"].to_numpy()
    # Most rows differ in one cell: only the others need their sets put together.
    alone = pl.Series((np.bincount(pair) == 1)[pair], dtype=pl.Boolean)
    single = cells.filter(alone).group_by("column").agg(rows=COUNT)
    several = (
        cells.filter(~alone)
        .group_by("pair")
        .agg(columns=pl.col("column").sort())
        .group_by("columns")
        .agg(rows=COUNT)
    )
    one = single.select(pl.concat_list("column").alias("columns"), "rows")
    return pl.concat([one, several])


def _limited(found: Difference, question: Question) -> Difference:
    limit = question.options.detail_limit
    pairs = sample.candidates(found.cells, sample.stable_hash(found.keys), limit)
    numbers = pl.DataFrame({"pair": pairs}).with_row_index("number")
    cells = found.cells.join(numbers, on="pair", maintain_order="left")
    missing, extra = (
        _first(side, rows, question)
        for side, rows in enumerate((found.missing, found.extra))
    )
    return replace(
        found,
        keys=found.keys[pairs],
        cells=cells.with_columns(pair="number").drop("number"),
        missing=missing,
        extra=extra,
    )


def _first(side: int, rows: pl.DataFrame, question: Question) -> pl.DataFrame:
    """The rows that are shown first: behind masks, in the order of what is seen."""
    limit, masks = question.options.detail_limit, question.masks
    if not masks.by_column:
        return in_order_of_content(rows, question.names[side].keys).head(limit)
    shown = masks.rows(question.rows(side, rows))
    return rows[order(shown).head(limit)]
