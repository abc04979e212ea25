"""Pair and compare rows that are prepared: filtered, folded, or with derived columns.

Rows are paired in steps. First those that are kept on both sides, as without filters.
Then a kept row without a partner takes one that fails `--where`: only a pair of which
both rows fail is left out. Last, a kept row whose partner would be one that the filter
of its side leaves out has no partner: it is neither missing nor extra.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.compare.folding import (
    FOLDABLE,
    WEIGHT,
    find_unfoldable,
    fold_rows,
    key_forms,
    with_key_forms,
)
from recon_engine.compare.pairing import compare_rows, pair_rows
from recon_engine.compare.preparation import PLACE, REASON, Place
from recon_engine.compare.set_aside import SetAside, count_reasons, list_unpairable
from recon_engine.model import SIDES, RowCounts
from recon_engine.records import dataclass
from recon_engine.rules.chains import aside_tally, count_codes
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.pairing import Difference
    from recon_engine.rules.chains import Tallies


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """The pairable rows of a side with their places.

    `weights`: the number of rows of the file that each of them represents.
    """

    rows: pl.DataFrame
    places: NDArray[np.uint8]
    weights: NDArray[np.int64]

    def numbers(self, place: Place) -> NDArray[np.int64]:
        """The numbers of the rows of a place."""
        return np.flatnonzero(self.places == place)


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Rows by their numbers: `pairs` as `pair_rows` has them, and what is left out.

    `failing`: the rows of pairs that fail `--where`, of which the other row is kept.
    """

    pairs: pl.DataFrame
    left_out: tuple[NDArray[np.int64], NDArray[np.int64]]
    partner_left_out: tuple[NDArray[np.int64], NDArray[np.int64]]
    failing: tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ArrangedRows:
    """All rows of some keys, paired: `old` and `new` are numbered by `paired`.

    `weights`: the number of rows of the file that each row represents. `unpairable`:
    the rows of each side that are in no pair, with their `REASON`; None without any.
    `placed`: the pairable rows of each side, before any is folded.
    """

    old: pl.DataFrame
    new: pl.DataFrame
    paired: PairedRows
    weights: tuple[NDArray[np.int64], NDArray[np.int64]]
    unpairable: tuple[pl.DataFrame | None, pl.DataFrame | None]
    placed: tuple[PreparedRows, PreparedRows]

    def compare(self, names: ColumnIds) -> Difference:
        """The difference of the pairs; `names`: the columns of OLD."""
        return compare_rows(
            self.old,
            self.new,
            keys=names.keys,
            columns=names.columns,
            rules=names.chains,
            pairs=self.paired.pairs,
        )

    def count_aside_codes(self, names: Sequence[ColumnIds]) -> Tallies:
        """The codes of kept rows that are set aside, or folded into another.

        Without those of rows that are not kept, and that are compared.
        """
        found: Tallies = {}
        sides = zip(SIDES, names, self.placed, (self.old, self.new), strict=True)
        for side, its, placed, rows in sides:
            for name, rules in its.coded.items():
                kept = placed.rows[name].gather(placed.numbers(Place.KEPT))
                compared = rows[name].gather(self.paired.pairs[side].drop_nulls())
                codes = count_codes(rules, kept) - count_codes(rules, compared)
                found[aside_tally(name, side)] = codes
        return found


@dataclass(frozen=True, slots=True)
class _Step:
    """Pairs of one step, and the rows of either side that found no partner."""

    old: NDArray[np.int64]
    new: NDArray[np.int64]
    alone_old: NDArray[np.int64]
    alone_new: NDArray[np.int64]


def compare_prepared(
    old: pl.DataFrame, new: pl.DataFrame, names: Sequence[ColumnIds]
) -> Difference:
    """Compare all rows of some keys that have to be decided, as `compare_rows` does.

    `old`, `new`: rows with derived columns. What is set aside is counted.
    """
    ours, arranged = names[0], arrange_rows(old, new, names)
    paired, unpairable = arranged.paired, arranged.unpairable
    found = arranged.compare(ours)
    tallies = found.tallies | arranged.count_aside_codes(names)
    counts = [
        RowCounts(
            left_out=int(weights[left_out].sum()),
            partner_left_out=int(weights[partner].sum()),
            folded_away=int((weights[matched] - 1).sum()),
            unpairable=0 if rows is None else rows.height,
        )
        for weights, matched, left_out, partner, rows in zip(
            arranged.weights,
            [paired.pairs[side].drop_nulls().to_numpy() for side in SIDES],
            paired.left_out,
            paired.partner_left_out,
            unpairable,
            strict=True,
        )
    ]
    reasons = count_reasons(unpairable[0]), count_reasons(unpairable[1])
    of_old, of_new = (
        rows.select(ours.keys)[numbers] if len(numbers) else None
        for rows, numbers in zip(
            (arranged.old, arranged.new), paired.failing, strict=True
        )
    )
    aside = SetAside((counts[0], counts[1]), unpairable, reasons, (of_old, of_new))
    return replace(found.with_aside(aside), tallies=tallies)


def arrange_rows(
    old: pl.DataFrame, new: pl.DataFrame, names: Sequence[ColumnIds]
) -> ArrangedRows:
    """Pair all rows of some keys; `old`, `new`: with derived columns."""
    (ours, lost_old), (theirs, lost_new) = (
        _place_rows(rows, each) for rows, each in zip((old, new), names, strict=True)
    )
    placed = ours, theirs
    if names[0].prepared.either_folds:
        (ours, bad_old), (theirs, bad_new) = _fold_sides((ours, theirs), names)
        lost_old, lost_new = _join(lost_old, bad_old), _join(lost_new, bad_new)
    paired = _pair_prepared((ours, theirs), names[0])
    return ArrangedRows(
        ours.rows,
        theirs.rows,
        paired,
        (ours.weights, theirs.weights),
        (lost_old, lost_new),
        placed,
    )


def _fold_sides(
    sides: Sequence[PreparedRows], names: Sequence[ColumnIds]
) -> list[tuple[PreparedRows, pl.DataFrame | None]]:
    """Fold the sides that have to be; the rows of keys that cannot be, with a reason.

    A key that cannot be folded on one side is unpairable on both.
    """
    by = key_forms(names[0])
    placed = [
        with_key_forms(side.rows, each).with_columns(pl.Series(PLACE, side.places))
        for side, each in zip(sides, names, strict=True)
    ]
    able = [rows.filter(pl.col(PLACE).is_in(FOLDABLE)) for rows in placed]
    bad = [
        find_unfoldable(rows, each)
        for rows, each in zip(able, names, strict=True)
        if each.prepared.fold
    ]
    reasons = pl.concat(bad).group_by(by).agg(pl.col(REASON).min())
    folded = []
    for rows, others, each in zip(able, placed, names, strict=True):
        lost = rows.join(reasons, on=by, how="inner", maintain_order="left")
        foldable = rows.join(reasons, on=by, how="anti", maintain_order="left")
        whole = (
            fold_rows(foldable, each)
            if each.prepared.fold
            else foldable.with_columns(pl.lit(1, pl.Int64).alias(WEIGHT))
        )
        # A row that is left out is only counted, or found as a partner: it stays as it
        # is.
        out = others.filter(~pl.col(PLACE).is_in(FOLDABLE))
        every = pl.concat([whole, out.with_columns(pl.lit(1, pl.Int64).alias(WEIGHT))])
        side = PreparedRows(
            every.drop(*by, PLACE, WEIGHT),
            every[PLACE].to_numpy(),
            every[WEIGHT].to_numpy(),
        )
        listed = None if lost.is_empty() else lost.drop(*by, PLACE)
        folded.append((side, listed))
    return folded


def _join(one: pl.DataFrame | None, two: pl.DataFrame | None) -> pl.DataFrame | None:
    found = [rows for rows in (one, two) if rows is not None]
    return pl.concat(found) if found else None


def _place_rows(
    rows: pl.DataFrame, names: ColumnIds
) -> tuple[PreparedRows, pl.DataFrame | None]:
    """The pairable rows of a side, and those that are not, with their reasons."""
    prepared = names.prepared
    places = prepared.find_places(rows).to_numpy()
    if not (places == Place.UNPAIRABLE).any():
        return PreparedRows(rows, places, np.ones(len(places), np.int64)), None
    unpairable = rows.filter(places == Place.UNPAIRABLE)
    able = places != Place.UNPAIRABLE
    listed = list_unpairable(unpairable, prepared.find_reasons(unpairable))
    kept = places[able]
    return PreparedRows(rows.filter(able), kept, np.ones(len(kept), np.int64)), listed


def _pair_prepared(sides: Sequence[PreparedRows], names: ColumnIds) -> PairedRows:
    """Pair rows in the steps that the module describes."""

    def pair(old: NDArray[np.int64], new: NDArray[np.int64]) -> _Step:
        if not (len(old) and len(new)):
            # Most steps: few rows fail a filter, and without one none does.
            return _Step(old[:0], new[:0], np.sort(old), np.sort(new))
        found = pair_rows(
            sides[0].rows[old],
            sides[1].rows[new],
            keys=names.keys,
            columns=names.columns,
            rules=names.chains,
        )
        both = found.drop_nulls()
        alone_old = found.filter(pl.col("new").is_null())["old"]
        alone_new = found.filter(pl.col("old").is_null())["new"]
        return _Step(
            old[both["old"].to_numpy()],
            new[both["new"].to_numpy()],
            np.sort(old[alone_old.to_numpy()]),
            np.sort(new[alone_new.to_numpy()]),
        )

    kept, failing, out = (
        [side.numbers(place) for side in sides]
        for place in (Place.KEPT, Place.FAILING, Place.LEFT_OUT)
    )
    first = pair(kept[0], kept[1])
    ours = pair(first.alone_old, failing[1])
    theirs = pair(failing[0], first.alone_new)
    old_gone = pair(ours.alone_old, out[1])
    new_gone = pair(out[0], theirs.alone_new)
    missing, extra = old_gone.alone_old, new_gone.alone_new
    matched = [(step.old, step.new) for step in (first, ours, theirs)]
    old, new = (np.concatenate(numbers) for numbers in zip(*matched, strict=True))
    nothing = pl.Series(dtype=pl.UInt32)
    pairs = pl.concat(
        [
            pl.DataFrame({"old": old, "new": new}),
            pl.DataFrame(
                {"old": missing, "new": nothing.extend_constant(None, len(missing))}
            ),
            pl.DataFrame(
                {"old": nothing.extend_constant(None, len(extra)), "new": extra}
            ),
        ],
        # Numbers of NumPy have 64 bits, the empty column has 32.
        how="vertical_relaxed",
    ).cast(pl.UInt32)
    return PairedRows(
        pairs,
        (
            np.concatenate([theirs.alone_old, out[0]]),
            np.concatenate([ours.alone_new, out[1]]),
        ),
        (old_gone.old, new_gone.new),
        (theirs.old, ours.new),
    )
