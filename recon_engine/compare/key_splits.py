"""Keys of which one row of a side stands for several of the other. Pure.

A key is one of them if it is on one row of a side and on more of the other, and the
row that was paired differs from its partner. A column adds up where the one value is
the exact sum of the several; blanks are no zeros. Everything here adds up over groups
of keys.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.model import Splits
from recon_engine.rules import NORMAL_PREFIX, Number, as_scaled_integers, normal_form


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recon_engine.compare.pairing import Difference
    from recon_engine.rules import Rules


# Of so many digits before and behind the point sums are exact in 128 bits.
WHOLE, PLACES = 20, 12
READABLE: Final = rf"^[+-][0-9]{{1,{WHOLE}}}\.[0-9]{{0,{PLACES}}}$"
PAIR: Final = "\0pair"
SUM: Final = "\0sum"
DELTA: Final = "\0delta"


def added(parts: Iterable[Splits]) -> Splits:
    """Those of disjoint sets of keys as one."""
    total = Splits()
    for part in parts:
        total.sizes.update(part.sizes)
        total.sums.update(part.sums)
        total.told.update(part.told)
    return total


def counted(
    found: Difference,
    side: int,
    repeated: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    rules: Rules,
) -> Splits:
    """The keys of which one row of the other side stands for several of `side`.

    `side`: 1 for NEW, whose surplus rows are extra, 0 for OLD; `repeated`: the keys
    that repeat on the other side, as a struct `key`.
    """
    surplus = (found.missing, found.extra)[side]
    if surplus.is_empty() or found.keys.is_empty():
        return Splits()
    by = [f"\0{name}" for name in keys]
    normal = [
        normal_form(rules.get(name, ()), pl.col(name)).alias(form)
        for name, form in zip(keys, by, strict=True)
    ]
    surplus = surplus.with_columns(normal)
    pairs = found.keys.with_row_index(PAIR).select(PAIR, *normal)
    again = repeated["key"].struct.unnest() if repeated.height else found.keys.clear()
    again.columns = list(keys)
    one = (
        pairs.filter(~pl.struct(by).is_duplicated())
        .join(again.select(normal), on=by, how="anti")
        .join(surplus.group_by(by).agg(rows=pl.len()), on=by)
    )
    cells = found.cells.join(one.select(pl.col(PAIR).alias("pair")), on="pair")
    differing = cells["pair"].unique().alias(PAIR).to_frame()
    one = one.join(differing, on=PAIR, how="semi")
    if one.is_empty():
        return Splits()
    many = surplus.join(one, on=by)
    result = Splits(Counter(int(rows) + 1 for rows in one["rows"]))
    for at, name in enumerate(columns):
        mine = cells.filter(pl.col("column") == at)
        sums, told = _adding_up(many.select(PAIR, name), mine, side)
        if sums:
            result.sums[at], result.told[at] = sums, told
    return result


def _adding_up(many: pl.DataFrame, cells: pl.DataFrame, side: int) -> tuple[int, int]:
    """In how many pairs a column adds up, and in how many with values that differ.

    `many`: the pair of each surplus row, and its text; `cells`: those of pairs that
    differ, of the same column.
    """
    pair, name = many.columns
    amount = _integer(name)
    whole = pl.when(amount.is_not_null().all()).then(amount.sum()).alias(SUM)
    sums = many.lazy().group_by(pair).agg(whole)
    one, first = ("old", "new") if side else ("new", "old")
    deltas = cells.lazy().select(
        pl.col("pair").alias(pair),
        (_integer(one) - _integer(first)).alias(DELTA),
        told=True,
    )
    every = sums.join(deltas, on=pair, how="left").with_columns(
        pl.col("told").fill_null(False)
    )
    zero = pl.lit(0, pl.Int128)
    delta = pl.when("told").then(pl.col(DELTA)).otherwise(zero)
    adds = (pl.col(SUM) == delta).fill_null(False)
    found = every.select(adds.sum().alias("sums"), told=(adds & pl.col("told")).sum())
    sums_, told = found.collect(engine="in-memory").row(0)
    return int(sums_), int(told)


def _integer(name: str) -> pl.Expr:
    """A text as a whole number of the smallest places; null where it is no amount."""
    normal = Number().normal(pl.col(name).str.strip_chars())
    read = normal.str.strip_prefix(NORMAL_PREFIX)
    fits = normal.str.starts_with(NORMAL_PREFIX) & read.str.contains(READABLE)
    return as_scaled_integers(pl.when(fits).then(read), PLACES)
