"""The kernel: two tables of text become what is missing, extra and changed. Pure.

`drop_identical` removes, by digest, the rows that stand unchanged on both sides;
`diff` pairs and compares the rest. Removing them first changes no result: within a key
equal rows are paired first anyway, and one of two equal rows is like the other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import segments, totals
from recon_engine.kinds import with_kind
from recon_engine.parallel import in_order
from recon_engine.rules import NO_RULES, equal, normal_form


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.rules import Rules
    from recon_engine.segments import Values
    from recon_engine.totals import Sums


# The gate refuses NUL in a header, so no column of a user can have such a name.
_OLD: Final = "\0old"
_NEW: Final = "\0new"
_NTH: Final = "\0nth"
_NORMAL: Final = "\0normal"
FEW: Final = 4_096


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left after equal rows are removed: the digests of each side."""

    identical: int
    old: pl.DataFrame
    new: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Difference:
    """Two remainders reconciled.

    `keys`: the key columns of the matched pairs, in pair order, as OLD has them;
    `cells`: `pair`, `column` (its ordinal), `old`, `new` of each mismatched cell, and
    its `kind` once that was `judged`; `tolerated`: for each column, how many cells are
    equal only under its rules; `sums`: of these cells, of columns that have rules;
    `missing`, `extra`: whole rows, in any order until they are merged; `values`: what
    OLD has in the pairs that are mismatched, keys included.
    """

    keys: pl.DataFrame
    cells: pl.DataFrame
    tolerated: NDArray[np.int64]
    sums: dict[str, Sums]
    missing: pl.DataFrame
    extra: pl.DataFrame
    values: Values


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

    def agreeing(digest: str) -> pl.Series:
        mine, theirs = old[digest], new[digest]
        return mine.gather(same_row["old"]) == theirs.gather(same_row["new"])

    check, key = in_order(agreeing, ("check", "key"))
    joined = same_row.filter(check & key)

    def left_over(side: tuple[pl.DataFrame, str]) -> pl.DataFrame:
        rows, name = side
        kept = pl.repeat(True, rows.height, eager=True)
        return rows.filter(kept.scatter(joined[name], False))

    return Remainder(joined.height, *in_order(left_over, ((old, "old"), (new, "new"))))


def diff(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    rules: Rules = NO_RULES,
) -> Difference:
    """Reconcile two frames of strings by `keys`, cell by cell over `columns`.

    Each row of `old` is in exactly one pair or missing, each of `new` in exactly one
    pair or extra; file order has no part in which. Rules of a key column say which
    keys are the same.
    """
    pairs = paired(old, new, keys=keys, columns=columns, rules=rules)
    matched = pairs.drop_nulls()
    cells, tolerated, sums = _cells(old, new, matched, columns, rules)
    mismatched = matched["old"].gather(cells["pair"].unique())
    return Difference(
        keys=old.select(keys)[matched["old"]],
        cells=cells,
        tolerated=tolerated,
        sums=sums,
        missing=old[pairs.filter(pl.col("new").is_null())["old"]],
        extra=new[pairs.filter(pl.col("old").is_null())["new"]],
        values=segments.counted(old.select(*keys, *columns), mismatched),
    )


def paired(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    rules: Rules = NO_RULES,
) -> pl.DataFrame:
    """The pairs of `diff` as row numbers `old` and `new`; null for no partner."""
    by = [f"{_NORMAL}{name}" if name in rules else name for name in keys]
    left, right = (_keyed(side, keys, rules) for side in (old, new))
    return _pair(left, right, keys, by, columns)


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
        tolerated=np.sum([part.tolerated for part in found], axis=0),
        sums=totals.added(part.sums for part in found),
        missing=in_order_of_content(missing, keys),
        extra=in_order_of_content(extra, keys),
        values=segments.added(part.values for part in found),
    )


def judged(found: Difference) -> Difference:
    """With the kind of each cell."""
    return replace(found, cells=with_kind(found.cells))


def repeated(
    rows: pl.DataFrame, keys: Sequence[str], rules: Rules = NO_RULES
) -> pl.DataFrame:
    """The keys that stand more than once: a struct `key` and `rows`, worst first.

    Of keys that are the same under a rule, the first in sorted order is shown.
    """
    by = [_normal(name, rules).alias(f"{_NORMAL}{name}") for name in keys]
    return (
        rows.sort(keys)
        .group_by(by, maintain_order=True)
        .agg(key=pl.struct(keys).first(), rows=pl.len())
        .filter(pl.col("rows") > 1)
        .select("key", "rows")
        .sort("rows", "key", descending=[True, False])
    )


def telling_apart(
    rows: pl.DataFrame,
    keys: Sequence[str],
    columns: Iterable[str],
    rules: Rules = NO_RULES,
) -> list[str]:
    """The columns of which each makes the key unique among these rows."""
    if rows.is_empty():
        return [*columns]
    by = [f"{_NORMAL}{name}" for name in keys]
    keyed = rows.with_columns(
        _normal(name, rules).alias(form) for name, form in zip(keys, by, strict=True)
    )
    # The rows of a few keys rule most columns out.
    every = max(1, rows.height // FEW)
    few = keyed.filter(pl.struct(by).hash() % every == 0)
    return [
        name
        for name in columns
        if not any(
            part.select(*by, name).is_duplicated().any() for part in (few, keyed)
        )
    ]


def any_repeats(numbers: pl.Series) -> bool:
    """Whether a number stands there twice; sorting them is cheaper than hashing."""
    ordered = np.sort(numbers.to_numpy())
    return bool((ordered[1:] == ordered[:-1]).any())


def in_order_of_content(rows: pl.DataFrame, first: Sequence[str]) -> pl.DataFrame:
    """Sorted by `first`, then by all other columns, in an order of their names."""
    if rows.height < 2:  # noqa: PLR2004 - one row is in order
        return rows
    others = set(rows.columns) - {*first, _OLD, _NEW}
    return rows.sort([*first, *sorted(others)])


def _rows(side: pl.DataFrame, index: str, *, unrepeated: bool) -> pl.LazyFrame:
    rows = side.lazy().select("row").with_row_index(index)
    return rows.filter(pl.col("row").is_unique()) if unrepeated else rows


def _pair(
    old: pl.DataFrame,
    new: pl.DataFrame,
    keys: Sequence[str],
    by: Sequence[str],
    columns: Sequence[str],
) -> pl.DataFrame:
    """Row numbers `old` and `new`, one row a pair; null where there is no partner.

    `by` are the keys, or the normal forms of those that have rules.
    """
    left, right = old.with_row_index(_OLD), new.with_row_index(_NEW)
    if all(side.n_unique(by) == side.height for side in (old, new)):
        return _joined(left, right, by)
    many = pl.concat(
        [side.select(by).filter(pl.struct(by).is_duplicated()) for side in (old, new)]
    ).unique()
    single = _joined(
        left.join(many, on=by, how="anti"),
        right.join(many, on=by, how="anti"),
        by,
    )
    multiple = _pair_multisets(
        left.join(many, on=by, how="semi"),
        right.join(many, on=by, how="semi"),
        keys,
        by,
        columns,
    )
    return pl.concat([single, *multiple])


def _pair_multisets(
    old: pl.DataFrame,
    new: pl.DataFrame,
    keys: Sequence[str],
    by: Sequence[str],
    columns: Sequence[str],
) -> Iterator[pl.DataFrame]:
    """Pair rows under repeated keys: equal rows first, the others in sorted order.

    Equal are first those that spell their key alike too, then all.
    """
    compared = [*by, *sorted(columns)]
    left, right = (in_order_of_content(side, compared) for side in (old, new))
    for same in dict.fromkeys(((*dict.fromkeys([*compared, *keys]),), (*compared,))):
        equal = _ranked(left, same).join(
            _ranked(right, same), on=[*same, _NTH], how="inner"
        )
        yield equal.select(old=_OLD, new=_NEW)
        left, right = (
            side.join(equal, on=at, how="anti", maintain_order="left")
            for side, at in ((left, _OLD), (right, _NEW))
        )
    yield _joined(_ranked(left, by), _ranked(right, by), [*by, _NTH])


def _ranked(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """With which of the rows with equal `by` a row is, in frame order."""
    nth = pl.int_range(pl.len(), dtype=pl.UInt32).over(by)
    return rows.with_columns(nth.alias(_NTH))


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
        .collect(engine="in-memory")
    )


def _cells(
    old: pl.DataFrame,
    new: pl.DataFrame,
    pairs: pl.DataFrame,
    columns: Sequence[str],
    rules: Rules,
) -> tuple[pl.DataFrame, NDArray[np.int64], dict[str, Sums]]:
    """The cells that differ, column by column; how many others rules make equal.

    And the sums of those others.
    """
    numbers, counts = [np.zeros(0, np.uint32)], []
    lefts, rights = ([pl.Series(dtype=pl.String)] for _ in range(2))
    tolerated = np.zeros(len(columns), np.int64)
    sums: dict[str, Sums] = {}
    for ordinal, name in enumerate(columns):
        left, right = old[name].gather(pairs["old"]), new[name].gather(pairs["new"])
        differs = left != right
        if name in rules and differs.any():
            at = differs.arg_true()
            unlike = left.gather(at), right.gather(at)
            alike = equal(rules[name], *unlike)
            differs = differs.scatter(at.filter(alike), False)
            tolerated[ordinal] = alike.sum()
            sums[name] = totals.of_pairs(*(side.filter(alike) for side in unlike))
        numbers.append(np.flatnonzero(differs.to_numpy()).astype(np.uint32))
        counts.append(len(numbers[-1]))
        lefts.append(left.filter(differs))
        rights.append(right.filter(differs))
    cells = pl.DataFrame(
        {
            "pair": np.concatenate(numbers),
            "column": np.repeat(np.arange(len(columns), dtype=np.uint32), counts),
            "old": pl.concat(lefts),
            "new": pl.concat(rights),
        }
    )
    return cells, tolerated, sums


def _keyed(side: pl.DataFrame, keys: Sequence[str], rules: Rules) -> pl.DataFrame:
    """With the normal forms of the key columns that have rules."""
    return side.with_columns(
        _normal(name, rules).alias(f"{_NORMAL}{name}") for name in keys if name in rules
    )


def _normal(name: str, rules: Rules) -> pl.Expr:
    return normal_form(rules.get(name, ()), pl.col(name))
