"""Change patterns: which old value became which new one, and how often. Pure.

Changes are grouped column by column, so that little is grouped at once, and exactly:
every distinct change is counted before the most frequent are selected.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.analysis.finding import Finding
from recon_engine.model import Pattern, Patterns
from recon_engine.record_table import Field
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.analysis.finding import ValueMasks
    from recon_engine.record_table import Row


# What fits a table of the page; all distinct changes are counted.
CHANGES_SHOWN: Final = 10
RANK_COLUMN: Final = "\0at"
CHANGE_COLUMNS: Final = ("old", "new", "kind", "rows")
CHANGE_FIELDS: Final = (*CHANGE_COLUMNS, "example")


def group_changes(cells: pl.DataFrame) -> pl.DataFrame:
    """The distinct changes of a column's cells: `old`, `new`, `kind`, `rows`."""
    # A kind depends on the two texts only, so all cells of a change have the same.
    return (
        cells.lazy()
        .group_by("old", "new")
        .agg(pl.col("kind").first(), rows=pl.len())
        .collect(engine="in-memory")
    )


def build_patterns(
    changed_columns: Sequence[tuple[str, int, pl.DataFrame]],
    cells: pl.DataFrame,
    keys: pl.DataFrame,
    names: Sequence[str],
) -> Iterator[Patterns]:
    """The most frequent changes of each column, ties by content.

    `changed_columns`: name, ordinal in `cells`, and changes of each column that has
    some; `keys`: the key of each pair; `names`: the key columns. The example of a
    change is its least key.
    """
    tops = [most_frequent_changes(changes) for _, _, changes in changed_columns]
    ordinals = [
        pl.lit(ordinal, pl.UInt32).alias("column") for _, ordinal, _ in changed_columns
    ]
    every = pl.concat(
        [top.with_columns(at) for top, at in zip(tops, ordinals, strict=True)]
    )
    examples = _least_keys(every, cells, keys).iter_rows()
    for (column, _, changes), top in zip(changed_columns, tops, strict=True):
        mine = itertools.islice(examples, top.height)
        shown = top.select(CHANGE_COLUMNS).iter_rows()
        yield make_patterns(column, changes.height, shown, mine, names)


def group_changes_with_keys(
    cells: pl.DataFrame, keys: pl.DataFrame
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield each column's ordinal and changes, with the least key of each change."""
    order = keys.with_row_index(RANK_COLUMN).sort(keys.columns)[RANK_COLUMN]
    # `rank` is the inverse of the permutation `order`. With the keys sorted once, the
    # least key of a group is the minimum of a column of integers.
    place = pl.int_range(keys.height, dtype=pl.UInt32, eager=True)
    rank = place.scatter(order, place)
    found = (
        cells.lazy()
        .with_columns(rank.gather(cells["pair"]).alias(RANK_COLUMN))
        .group_by("column", "old", "new")
        .agg(pl.col("kind").first(), pl.col(RANK_COLUMN).min(), rows=pl.len())
        .collect(engine="in-memory")
    )
    least = keys[order.gather(found[RANK_COLUMN])]
    every = found.drop(RANK_COLUMN).hstack(least)
    for (at,), part in every.partition_by(
        "column", as_dict=True, include_key=False
    ).items():
        yield int(at), part


def merge_changes(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The changes, with keys, of disjoint sets of cells as one."""
    every = pl.concat(parts)
    keys = [name for name in every.columns if name not in CHANGE_COLUMNS]
    return (
        every.lazy()
        # Sorted by key, so that the first key of a change is its least.
        .sort(keys)
        .group_by("old", "new", maintain_order=True)
        .agg(
            pl.col("kind").first(),
            pl.col("rows").cast(pl.Int64).sum(),
            pl.col(keys).first(),
        )
        .collect(engine="in-memory")
    )


def summarize_changes(
    column: str, distinct: int, changes: pl.DataFrame, names: Sequence[str]
) -> Patterns:
    """The most frequent of `distinct` changes that have keys."""
    top = most_frequent_changes(changes)
    examples = top.drop(CHANGE_COLUMNS).iter_rows()
    shown = top.select(CHANGE_COLUMNS).iter_rows()
    return make_patterns(column, distinct, shown, examples, names)


def make_patterns(
    column: str,
    distinct: int,
    changes: Iterable[tuple[str, str, str, int]],
    examples: Iterable[tuple[str, ...]],
    names: Sequence[str],
) -> Patterns:
    """The patterns of a column from the changes to show, each with its least key."""
    shown = [
        Pattern(*change, dict(zip(names, key, strict=True)))
        for change, key in zip(changes, examples, strict=True)
    ]
    return Patterns(column, distinct, tuple(shown))


def most_frequent_changes(changes: pl.DataFrame) -> pl.DataFrame:
    """The changes to show, in display order."""
    # Ties by content: the order is the same on every engine and in every run.
    order = changes.lazy().sort("rows", "old", "new", descending=[True, False, False])
    return order.head(CHANGES_SHOWN).collect(engine="in-memory")


def _least_keys(
    changes: pl.DataFrame, cells: pl.DataFrame, keys: pl.DataFrame
) -> pl.DataFrame:
    """The least key of each change, column by column."""
    change = ["column", "old", "new"]
    having = (
        cells.lazy()
        .select(*change, "pair")
        .join(changes.lazy().select(change).with_row_index(RANK_COLUMN), on=change)
        .select(RANK_COLUMN, "pair")
        .collect(engine="in-memory")
    )
    rows = keys[having["pair"]].with_columns(having[RANK_COLUMN])
    # The least key, one column after the other: each step keeps the rows that have the
    # least value among those that are left.
    for name in keys.columns:
        rows = rows.filter(pl.col(name) == pl.col(name).min().over(RANK_COLUMN))
    return rows.unique(RANK_COLUMN, keep="any").sort(RANK_COLUMN).drop(RANK_COLUMN)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PatternsFinding(Finding[Patterns]):
    """Patterns are nested: a row of table and artifact is one change of a column."""

    @property
    def order(self) -> tuple[str, ...]:
        """The place of the column, then that of the change."""
        return ("ordinal", "place")

    def flatten(self, record: Patterns) -> Iterator[Row]:
        """A row for each change."""
        for change in record.top:
            yield {
                "column": record.column,
                **{name: getattr(change, name) for name in CHANGE_FIELDS},
                "distinct": record.distinct,
            }

    def read(self, rows: Iterable[Row]) -> tuple[Patterns, ...]:
        """The changes of the rows of a run, by column."""
        by_column = itertools.groupby(rows, itemgetter("column", "distinct"))
        return tuple(
            self.load(column, distinct, tuple(map(_load_pattern, changes)))
            for (column, distinct), changes in by_column
        )

    def to_json(self, record: Patterns) -> dict[str, Any]:
        """A column with its changes in a list."""
        return asdict(record)


def _load_pattern(row: Row) -> Pattern:
    return Pattern(**{name: row[name] for name in CHANGE_FIELDS})


def _mask_patterns(
    every: tuple[Patterns, ...], masks: ValueMasks
) -> tuple[Patterns, ...]:
    return tuple(_mask_column(each, masks) for each in every)


def _mask_column(patterns: Patterns, masks: ValueMasks) -> Patterns:
    def shown(pattern: Pattern) -> Pattern:
        return replace(
            pattern,
            old=masks.value(patterns.column, pattern.old),
            new=masks.value(patterns.column, pattern.new),
            example=masks.row(pattern.example),
        )

    # By the shown values: the order of the values behind them would say something of
    # them.
    top = sorted(map(shown, patterns.top), key=lambda p: (-p.rows, p.old, p.new))
    return replace(patterns, top=tuple(top))


def _find_patterns(evidence: Evidence) -> Iterator[Patterns]:
    return (each.patterns for each in evidence.differing)


PATTERNS: Final = _PatternsFinding(
    name="patterns",
    table="mismatch_pattern",
    fields=(
        Field("column", "column_name"),
        Field("old", "old_value"),
        Field("new", "new_value"),
        Field("kind"),
        Field("rows"),
        Field("example"),
        Field("distinct", "distinct_changes"),
    ),
    load=Patterns,
    find=_find_patterns,
    mask=_mask_patterns,
    holds_values=True,
)
