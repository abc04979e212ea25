"""Pair equal rows under repeated keys by digest, as multisets. Pure.

Equal rows of a key are paired first. Therefore equal rows that both sides have can be
dropped, as often as both have them, before any row is parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from recon_engine.compare.pairing import NonIdentical
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


def drop_equal(
    old: pl.DataFrame, new: pl.DataFrame, *, whole: tuple[bool, bool]
) -> NonIdentical:
    """Pair rows of equal digests as often as they occur on both sides.

    `old`, `new`: the `row`, `check` and `key` digests and the row `number`; `whole`:
    whether equal digests of a side mean rows that are equal in all columns. If not,
    only the rows themselves show which of them are left over.
    """
    if old.is_empty() or new.is_empty():
        return NonIdentical(0, old, new)
    ours, theirs = _Runs.of(old), _Runs.of(new)
    # A digest above all of theirs would be out of range: `agreeing` finds it unequal.
    at = np.searchsorted(theirs.rows, ours.rows).clip(max=len(theirs.rows) - 1)
    same = ours.agreeing(theirs, at)
    ours_too, at = np.flatnonzero(same), at[same]
    pairs = np.minimum(ours.lengths[ours_too], theirs.lengths[at])
    # Rows of equal digests may differ in columns that are not compared. Which of them
    # is left over matters then, so all of them are kept.
    if not whole[0]:
        pairs[ours.lengths[ours_too] > pairs] = 0
    if not whole[1]:
        pairs[theirs.lengths[at] > pairs] = 0
    return NonIdentical(
        int(pairs.sum()), ours.left(old, ours_too, pairs), theirs.left(new, at, pairs)
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """The distinct row digests of a side, ascending, with their rows.

    `order`: all rows by digest; the rows of one digest begin at `starts`. `digests`:
    their `check` and `key`; `alike`: whether all rows of a digest share these.
    """

    order: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    rows: NDArray[np.uint64]
    digests: tuple[NDArray[np.uint64], ...]
    alike: NDArray[np.bool_]

    @classmethod
    def of(cls, side: pl.DataFrame) -> Self:
        """The runs of a side that is not empty."""
        rows = side["row"].to_numpy()
        # Not stable: where some rows of a digest are dropped, all of them are equal.
        order = np.argsort(rows).astype(np.uint32)
        rows = rows[order]
        begins = np.append(True, rows[1:] != rows[:-1])
        starts = np.flatnonzero(begins).astype(np.uint32)
        digests = []
        alike = np.ones(len(starts), np.bool_)
        for name in ("check", "key"):
            values = side[name].to_numpy()[order]
            # If the least and the greatest value of a run are equal, all are. Rows that
            # collide in `row` alone do not share the other two digests.
            digests.append(np.minimum.reduceat(values, starts))
            alike &= digests[-1] == np.maximum.reduceat(values, starts)
        ends = np.append(starts[1:], np.uint32(len(rows)))
        lengths = (ends - starts).astype(np.uint32)
        return cls(order, starts, lengths, rows[starts], tuple(digests), alike)

    def agreeing(self, other: _Runs, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which runs equal those of `other` at these positions."""
        same = self.alike & other.alike[at]
        pairs = zip(
            (self.rows, *self.digests), (other.rows, *other.digests), strict=True
        )
        for mine, theirs in pairs:
            same &= mine == theirs[at]
        return same

    def left(
        self, side: pl.DataFrame, at: NDArray[np.int64], pairs: NDArray[np.uint32]
    ) -> pl.DataFrame:
        """The rows of a side without `pairs` rows of each of these digests."""
        dropped = np.zeros(len(self.starts), np.uint32)
        dropped[at] = pairs
        nth = np.arange(len(self.order), dtype=np.uint32)
        nth -= np.repeat(self.starts, self.lengths)
        kept = np.ones(len(self.order), np.bool_)
        kept[self.order[nth < np.repeat(dropped, self.lengths)]] = False
        return side.filter(kept)
