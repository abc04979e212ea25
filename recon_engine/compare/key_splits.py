"""Find keys whose one row on a side corresponds to several on the other. Pure.

Such a key has one row on a side and several on the other, and the paired row differs
from its partner. A column adds up if the one value is the exact sum of the several; a
blank is not a zero. All counts are additive over groups of keys.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.inputs.native.forms import apply_natively
from recon_engine.model import SIDES, Splits
from recon_engine.rules.base import NORMAL_PREFIX
from recon_engine.rules.chains import normal_column, rules_of_side
from recon_engine.rules.numbers import Number, as_scaled_integers


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recon_engine.compare.pairing import Difference
    from recon_engine.rules.chains import Rules


# With 20 digits before and 12 after the point, sums of a million amounts fit 128 bits
# (38 digits).
WHOLE, PLACES = 20, 12
READABLE: Final = rf"^[+-][0-9]{{1,{WHOLE}}}\.[0-9]{{0,{PLACES}}}$"
PAIR: Final = "\0pair"
SUM: Final = "\0sum"
DELTA: Final = "\0delta"


def added(parts: Iterable[Splits]) -> Splits:
    """The counts of disjoint sets of keys as one."""
    total = Splits()
    for part in parts:
        total.sizes.update(part.sizes)
        total.sums.update(part.sums)
        total.meaningful_sums.update(part.meaningful_sums)
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
    """The keys with one row on the other side and several on `side`.

    Args:
        found: The difference of some keys.
        side: 1 for NEW, whose surplus rows are extra; 0 for OLD.
        repeated: The keys that repeat on the other side, as a struct `key`.
        keys: The key columns.
        columns: The compared columns.
        rules: The chains of the key columns.
    """
    surplus = (found.missing, found.extra)[side]
    if surplus.is_empty() or found.keys.is_empty():
        return Splits()
    by = [f"\0{name}" for name in keys]
    of_old, of_new = (
        [
            normal_column(name, of_side).alias(form)
            for name, form in zip(keys, by, strict=True)
        ]
        for of_side in (rules_of_side(rules, each) for each in SIDES)
    )
    surplus = surplus.with_columns(of_new if side else of_old)
    # Pairs have the key as in OLD.
    pairs = found.keys.lazy().with_row_index(PAIR).select(PAIR, *of_old)
    again = repeated["key"].struct.unnest() if repeated.height else found.keys.clear()
    again.columns = list(keys)
    # Keys of one row on the other side: their pair is the only one of the key, and the
    # key does not repeat there.
    one = (
        pairs.filter(~pl.struct(by).is_duplicated())
        .join(again.lazy().select(of_old if side else of_new), on=by, how="anti")
        .join(surplus.lazy().group_by(by).agg(rows=pl.len()), on=by)
        .collect(engine="in-memory")
    )
    if one.is_empty():
        return Splits()
    cells = found.cells.join(one.select(pl.col(PAIR).alias("pair")), on="pair")
    differing = cells["pair"].unique().alias(PAIR).to_frame()
    one = one.join(differing, on=PAIR, how="semi")
    if one.is_empty():
        return Splits()
    many = surplus.join(one, on=by)
    # The surplus rows, and the row that was paired.
    result = Splits(Counter(int(rows) + 1 for rows in one["rows"]))
    for at, name in enumerate(columns):
        mine = cells.filter(pl.col("column") == at)
        sums, meaningful = _adding_up(many.select(PAIR, name), mine, side)
        if sums:
            result.sums[at], result.meaningful_sums[at] = sums, meaningful
    return result


def _adding_up(many: pl.DataFrame, cells: pl.DataFrame, side: int) -> tuple[int, int]:
    """The pairs in which a column adds up, and those of them whose values differ.

    `many`: the pair of each surplus row and its text; `cells`: the differing cells of
    the same column.
    """
    pair, name = many.columns
    # Amounts are read once for all rows: an expression over the texts of each group
    # takes a hundred times as long.
    amounts = many.select(pair, _read_integers(many[name]).alias(SUM))
    if not amounts[SUM].count():
        return 0, 0
    # With a text that is no amount the sum is null, which equals nothing.
    whole = pl.when(pl.col(SUM).null_count() == 0).then(pl.col(SUM).sum())
    sums = amounts.lazy().group_by(pair).agg(whole)
    one, first = ("old", "new") if side else ("new", "old")
    # What the surplus rows have to make up for: 100 in one file, and 60 in the paired
    # row of the other, leave 40.
    deltas = pl.LazyFrame(
        {
            pair: cells["pair"],
            DELTA: _read_integers(cells[one]) - _read_integers(cells[first]),
        }
    ).with_columns(meaningful=True)
    every = sums.join(deltas, on=pair, how="left").with_columns(
        pl.col("meaningful").fill_null(False)
    )
    zero = pl.lit(0, pl.Int128)
    # Without a differing cell the paired values are equal, and the other rows have to
    # add up to 0.
    delta = pl.when("meaningful").then(pl.col(DELTA)).otherwise(zero)
    adds = (pl.col(SUM) == delta).fill_null(False)
    found = every.select(
        adds.sum().alias("sums"), meaningful=(adds & pl.col("meaningful")).sum()
    )
    sums_, meaningful = found.collect(engine="in-memory").row(0)
    return int(sums_), int(meaningful)


def _read_integers(texts: pl.Series) -> pl.Series:
    """Texts as whole numbers of 10**-`PLACES` units; null if one is not an amount."""
    forms, _, _ = apply_natively(Number(), texts.str.strip_chars())
    read = pl.col("form").str.strip_prefix(NORMAL_PREFIX)
    fits = pl.col("form").str.starts_with(NORMAL_PREFIX) & read.str.contains(READABLE)
    amount = as_scaled_integers(pl.when(fits).then(read), PLACES)
    return forms.alias("form").to_frame().select(amount).to_series()
