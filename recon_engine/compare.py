"""The kernel: two tables of text become what is missing, extra and changed. Pure.

`drop_identical` removes, by digest, the rows that stand unchanged on both sides;
`diff` pairs and compares the rest. Removing them first changes no result: within a key
equal rows are paired first anyway, and one of two equal rows is like the other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.kinds import with_kind


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


# The gate refuses NUL in a header, so no column of a user can have such a name.
_OLD: Final = "\0old"
_NEW: Final = "\0new"
_NTH: Final = "\0nth"


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left after equal rows are removed: the digests of each side."""

    identical: int
    old: pl.DataFrame
    new: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Difference:
    """Two remainders reconciled.

    `keys`: the key columns of the matched pairs, in pair order; `cells`: `pair`,
    `column` (its ordinal), `old`, `new`, `kind` of each mismatched cell;
    `missing`, `extra`: whole rows, in any order until they are merged.
    """

    keys: pl.DataFrame
    cells: pl.DataFrame
    missing: pl.DataFrame
    extra: pl.DataFrame


def drop_identical(
    old: pl.DataFrame, new: pl.DataFrame, *, repeats: tuple[bool, bool]
) -> Remainder:
    """Pair rows of equal digests that stand once on each side; answer the rest.

    `old`, `new`: the `row`, `check` and `key` digests and the row `number`; `repeats`:
    whether a key does. Repeated rows are left to `diff`, which pairs them by content.
    """
    # Joined on one integer and nothing carried along, which is cheapest by far; the
    # others have to agree all the same.
    left, right = (
        _rows(side, name, unrepeated=again)
        for side, name, again in zip((old, new), ("old", "new"), repeats, strict=True)
    )
    same_row = (
        left.join(right, on="row", how="inner")
        .select("old", "new")
        .collect(engine="streaming")
    )
    agree = pl.Series([True]).new_from_index(0, same_row.height)
    for digest in ("check", "key"):
        agree &= old[digest].gather(same_row["old"]) == new[digest].gather(
            same_row["new"]
        )
    joined = same_row.filter(agree)
    rest = (
        side.filter(pl.repeat(True, side.height, eager=True).scatter(paired, False))
        for side, paired in ((old, joined["old"]), (new, joined["new"]))
    )
    return Remainder(joined.height, *rest)


def diff(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
) -> Difference:
    """Reconcile two frames of strings by `keys`, cell by cell over `columns`.

    Each row of `old` is in exactly one pair or missing, each of `new` in exactly one
    pair or extra; file order has no part in which.
    """
    pairs = _pair(old, new, keys, columns)
    matched = pairs.drop_nulls()
    return Difference(
        keys=old.select(keys)[matched["old"]],
        cells=_cells(old, new, matched, columns),
        missing=old[pairs.filter(pl.col("new").is_null())["old"]],
        extra=new[pairs.filter(pl.col("old").is_null())["new"]],
    )


def merge(parts: Iterable[Difference], keys: Sequence[str]) -> Difference:
    """The differences of disjoint sets of keys as one; leftovers in content order."""
    found = list(parts)
    offsets = [0, *itertools.accumulate(part.keys.height for part in found)]
    cells = [
        part.cells.with_columns(pl.col("pair") + pl.lit(offset, pl.UInt32))
        for part, offset in zip(found, offsets, strict=False)
    ]
    missing = pl.concat([part.missing for part in found])
    extra = pl.concat([part.extra for part in found])
    return Difference(
        keys=pl.concat([part.keys for part in found]),
        cells=pl.concat(cells),
        missing=_in_order_of_content(missing, keys),
        extra=_in_order_of_content(extra, keys),
    )


def repeated(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The keys that stand more than once: a struct `key` and `rows`, worst first."""
    return (
        rows.group_by(key=pl.struct(keys))
        .agg(rows=pl.len())
        .filter(pl.col("rows") > 1)
        .sort("rows", "key", descending=[True, False])
    )


def any_repeats(numbers: pl.Series) -> bool:
    """Whether a number stands there twice; sorting them is cheaper than hashing."""
    ordered = np.sort(numbers.to_numpy())
    return bool((ordered[1:] == ordered[:-1]).any())


def _rows(side: pl.DataFrame, index: str, *, unrepeated: bool) -> pl.LazyFrame:
    rows = side.lazy().select("row").with_row_index(index)
    return rows.filter(pl.col("row").is_unique()) if unrepeated else rows


def _pair(
    old: pl.DataFrame, new: pl.DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame:
    """Row numbers `old` and `new`, one row a pair; null where there is no partner."""
    left, right = old.with_row_index(_OLD), new.with_row_index(_NEW)
    many = pl.concat(
        [
            side.select(keys).filter(pl.struct(keys).is_duplicated())
            for side in (old, new)
        ]
    ).unique()
    if many.is_empty():
        return _joined(left, right, keys)
    single = _joined(
        left.join(many, on=keys, how="anti"),
        right.join(many, on=keys, how="anti"),
        keys,
    )
    multiple = _pair_multisets(
        left.join(many, on=keys, how="semi"),
        right.join(many, on=keys, how="semi"),
        keys,
        columns,
    )
    return pl.concat([single, *multiple])


def _pair_multisets(
    old: pl.DataFrame, new: pl.DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pair rows under repeated keys: equal rows first, the others in sorted order."""
    compared = [*keys, *sorted(columns)]
    left, right = (
        _in_order_of_content(side, compared).with_columns(_nth(compared))
        for side in (old, new)
    )
    equal = left.join(right, on=[*compared, _NTH], how="inner").select(_OLD, _NEW)
    old_rest, new_rest = (
        side.join(equal, on=at, how="anti", maintain_order="left").with_columns(
            _nth(keys)
        )
        for side, at in ((left, _OLD), (right, _NEW))
    )
    pairs = equal.rename({_OLD: "old", _NEW: "new"})
    return pairs, _joined(old_rest, new_rest, [*keys, _NTH])


def _in_order_of_content(rows: pl.DataFrame, first: Sequence[str]) -> pl.DataFrame:
    """Sorted by `first`, then by all other columns, in an order of their names."""
    others = set(rows.columns) - {*first, _OLD, _NEW}
    return rows.sort([*first, *sorted(others)])


def _joined(old: pl.DataFrame, new: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """The full outer join as row numbers, in the order of `old`."""
    return (
        old.lazy()
        .select(*on, _OLD)
        .join(
            new.lazy().select(*on, _NEW),
            on=on,
            how="full",
            coalesce=False,
            maintain_order="left",
        )
        .select(old=_OLD, new=_NEW)
        .collect(engine="streaming")
    )


def _cells(
    old: pl.DataFrame, new: pl.DataFrame, pairs: pl.DataFrame, columns: Sequence[str]
) -> pl.DataFrame:
    """The cells that differ, column by column."""
    numbers, counts = [np.zeros(0, np.uint32)], []
    lefts, rights = ([pl.Series(dtype=pl.String)] for _ in range(2))
    for name in columns:
        left, right = old[name].gather(pairs["old"]), new[name].gather(pairs["new"])
        differs = left != right
        numbers.append(np.flatnonzero(differs.to_numpy()).astype(np.uint32))
        counts.append(len(numbers[-1]))
        lefts.append(left.filter(differs))
        rights.append(right.filter(differs))
    ordinals = np.repeat(np.arange(len(columns), dtype=np.uint32), counts)
    return with_kind(
        pl.DataFrame(
            {
                "pair": np.concatenate(numbers),
                "column": ordinals,
                "old": pl.concat(lefts),
                "new": pl.concat(rights),
            }
        )
    )


def _nth(by: Sequence[str]) -> pl.Expr:
    """Which of the rows with equal `by` a row is, in frame order."""
    return pl.int_range(pl.len(), dtype=pl.UInt32).over(by).alias(_NTH)
