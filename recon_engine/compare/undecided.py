"""Find the rows that digests leave undecided: they are parsed, all others are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.multisets import drop_equal
from recon_engine.compare.pairing import drop_identical, has_repeats, longest_run
from recon_engine.compare.preparation import PLACE_BITS, Place, place_of
from recon_engine.model import NEW, OLD
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import DiskBuckets
    from recon_engine.compare.digests import ColumnIds

    # The numbers of the rows of either side whose key seems to repeat, ascending.
    Numbers = NDArray[np.uint32] | tuple[()]
    Suspects = tuple[Numbers, Numbers]

NO_SUSPECTS: Final[Suspects] = ((), ())


@dataclass(frozen=True, slots=True)
class Undecided:
    """The rows of a bucket that digests do not decide; pairs are (OLD, NEW).

    `left`: the digests of the rows that are not identical; `sought`: of the rows whose
    key digest is that of a sought key; `of_key`: an upper bound of the rows of `left`
    with one key, 0 if no key seems to repeat; `left_out`: the rows of each side that a
    filter leaves out, as far as they are not among `left`; `folded_away`: those that
    are folded into another of an identical row.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    sought: tuple[pl.DataFrame, pl.DataFrame]
    of_key: int = 0
    left_out: tuple[int, int] = (0, 0)
    folded_away: tuple[int, int] = (0, 0)


def find_undecided(
    digests_of: Callable[[int], pl.DataFrame],
    whole: tuple[bool, bool],
    wanted: pl.Series | None = None,
    *,
    judged: bool = False,
    by_cells: bool = False,
) -> tuple[Undecided, Suspects]:
    """The rows of a bucket that have to be parsed, and those whose keys seem to repeat.

    `digests_of`: returns the digests of side 0 or 1, in parallel; `whole`: whether all
    columns of a side are compared; `wanted`: the digests of sought keys; `judged`:
    whether digests carry the places of their rows; `by_cells`: whether only cells
    decide, as of rows that are folded.
    """
    sides = list(map_ordered(digests_of, (OLD, NEW)))
    if by_cells:
        return _keep_all(sides, wanted, judged=judged)
    # Before keys are counted: a row that is not kept repeats none.
    others = _take_others(sides) if judged else None
    old, new = map_ordered(_suspects, sides)
    found = _dropped(sides, (len(old) > 0, len(new) > 0), whole, wanted)
    return found if others is None else _with_others(found, others), (old, new)


def _keep_all(
    sides: list[pl.DataFrame], wanted: pl.Series | None, *, judged: bool
) -> tuple[Undecided, Suspects]:
    """Leave all rows to be parsed."""
    left = sides[OLD], sides[NEW]
    kept = list(sides)
    if judged:
        # A row that is not kept neither repeats a key nor is sought.
        _take_others(kept)
    old, new = map_ordered(_suspects, kept)
    ours, theirs = (_with_keys(side, wanted) for side in kept)
    of_key = _of_key(*left) if judged or len(old) or len(new) else 0
    return Undecided(0, left, (ours, theirs), of_key), (old, new)


def are_judged(names: Sequence[ColumnIds]) -> bool:
    """Whether a row of either side can have another place than `KEPT`."""
    return any(each.prepared.places for each in names)


def _take_others(sides: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Take the rows that are not kept out of both sides: only others can be equal."""
    others = []
    for at, side in enumerate(sides):
        kept = place_of(side["check"]) == Place.KEPT
        if kept.all():
            others.append(side.clear())
            continue
        sides[at] = side.filter(kept)
        others.append(side.filter(~kept))
    return others


def _with_others(found: Undecided, others: Sequence[pl.DataFrame]) -> Undecided:
    """Add the rows that are not kept, if they may be partners, or have to be listed.

    A row that is left out decides something only for a kept row of its key. All others
    are left out, whatever their cells are.
    """
    left, left_out = list(found.left), [0, 0]
    for at, rows in enumerate(others):
        listed = place_of(rows["check"]) == Place.UNPAIRABLE
        needed = listed | rows["key"].is_in(found.left[1 - at]["key"].implode())
        left[at] = pl.concat([left[at], rows.filter(needed)])
        left_out[at] = rows.height - int(needed.sum())
    return replace(
        found,
        left=(left[OLD], left[NEW]),
        left_out=(left_out[OLD], left_out[NEW]),
        of_key=_of_key(*left),
    )


def _with_keys(side: pl.DataFrame, keys: pl.Series | None) -> pl.DataFrame:
    if keys is None or keys.is_empty():
        return side.clear()
    return side.filter(side["key"].is_in(keys.implode()))


def find_undecided_in_pieces(
    sides: tuple[DiskBuckets, DiskBuckets],
    at: int,
    count: int,
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
    *,
    judged: bool,
) -> tuple[Undecided, Suspects]:
    """The same of a bucket that is larger than others, with less of it in memory.

    Equal rows have equal digests, so these are in one piece.
    """
    # The places of rows that are kept are 0, as the lowest bits of all rows may be.
    bits = PLACE_BITS if judged else 0
    old_suspects, new_suspects = (side.repeated(at, bits) for side in sides)
    parts, others = [], []
    for number in range(count):
        piece = [side.piece(at, number, count) for side in sides]
        if judged:
            others.append(_take_others(piece))
        # Whether a key repeats in a piece is not known. As if one does is right in both
        # cases.
        parts.append(_dropped(piece, (True, True), whole, wanted))
    old, new = (pl.concat(each) for each in zip(*(p.left for p in parts), strict=True))
    ours, theirs = (
        pl.concat(each) for each in zip(*(p.sought for p in parts), strict=True)
    )
    identical = sum(part.identical for part in parts)
    found = Undecided(identical, (old, new), (ours, theirs), _of_key(old, new))
    if judged:
        every = [pl.concat(rows) for rows in zip(*others, strict=True)]
        found = _with_others(found, every)
    return found, (old_suspects, new_suspects)


def _dropped(
    sides: list[pl.DataFrame],
    repeats: tuple[bool, bool],
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
) -> Undecided:
    """Drop equal rows: first those whose digest occurs once, then the others.

    `sides` is emptied, so that their memory is free for what follows.
    """
    old, new = (_with_keys(side, wanted) for side in sides)
    left = drop_identical(*sides, repeats=repeats)
    sides.clear()
    if not any(repeats):
        return Undecided(left.identical, (left.old, left.new), (old, new))
    again = drop_equal(left.old, left.new, whole=whole)
    identical = left.identical + again.identical
    of_key = _of_key(again.old, again.new)
    return Undecided(identical, (again.old, again.new), (old, new), of_key)


def _of_key(old: pl.DataFrame, new: pl.DataFrame) -> int:
    return longest_run(old["key"]) + longest_run(new["key"])


def _suspects(side: pl.DataFrame) -> NDArray[np.uint32]:
    if not has_repeats(side["key"]):
        return np.empty(0, np.uint32)
    return side["number"].filter(side["key"].is_duplicated()).to_numpy()
