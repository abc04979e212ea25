"""Pair rows that the kernel has gathered by the text of their keys, and compare them.

This is `compare_rows` for rows in the kernel, if no key repeats. Only the key columns
of all rows are parsed, and then the cells that differ. Of columns in which cells of
equal bytes may be different, all cells are parsed.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.analysis import segments
from recon_engine.compare.native_judges import NativeJudges
from recon_engine.compare.pairing import (
    Difference,
    count_equal_keys,
    find_differing_pairs,
    pair_unrepeated_keys,
)
from recon_engine.compare.pairs import CELLS, apply_rules
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.texts import take_columns
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.inputs.native.binding import Judging
    from recon_engine.inputs.scanned import GatheredRows


def compare_gathered(
    old: GatheredRows,
    new: GatheredRows,
    digests: Sequence[pl.Series],
    names: Sequence[ColumnIds],
    group_pairs: int,
) -> Iterator[Difference] | None:
    """Compare rows in groups of so many pairs; None if a key repeats on a side.

    `digests`: those of their keys, for both sides.
    """
    ours = names[0]
    keys_old, keys_new = map_ordered(
        lambda side: side[0].frame(side[1].all, side[1].keys),
        zip((old, new), names, strict=True),
    )
    keys = keys_old, keys_new
    pairs = pair_unrepeated_keys(*keys, digests, keys=ours.keys, rules=ours.chains)
    if pairs is None:
        return None
    missing = pairs.filter(pl.col("new").is_null())["old"]
    extra = pairs.filter(pl.col("old").is_null())["new"]
    paired = _PairedRows(old, new, names, keys, pairs.drop_nulls())
    height = paired.pairs.height
    # At least one group: the first has the rows without a partner.
    groups = [
        slice(at, at + group_pairs) for at in range(0, max(height, 1), group_pairs)
    ]
    alone = (
        rows.picked(np.sort(numbers.to_numpy())).frame(each.all, each.all)
        for rows, numbers, each in zip((old, new), (missing, extra), names, strict=True)
    )
    unmatched = tuple(alone)
    none = tuple(rows.clear() for rows in unmatched)

    def compare(at: int) -> Difference:
        # The rows without a partner are with one of the groups.
        return paired.compare(groups[at], *(none if at else unmatched))

    return map_ordered(compare, range(len(groups)))


@dataclass(frozen=True, slots=True)
class _PairedRows:
    """Rows of both sides, their keys, and `pairs` of their numbers `old` and `new`."""

    old: GatheredRows
    new: GatheredRows
    names: Sequence[ColumnIds]
    keys: tuple[pl.DataFrame, pl.DataFrame]
    pairs: pl.DataFrame

    def compare(
        self, group: slice, missing: pl.DataFrame, extra: pl.DataFrame
    ) -> Difference:
        """The difference of some pairs, with these rows without a partner."""
        ours, pairs = self.names[0], self.pairs[group]
        judges = NativeJudges(ours.columns, ours.chains)
        found, judged = judges.judge(partial(self._find_cells, pairs))
        cells, tolerated, tallies, sums = apply_rules(
            found, ours.columns, ours.chains, judged
        )
        tolerated_keys, of_keys = count_equal_keys(
            *self.keys, pairs, ours.keys, ours.chains
        )
        differing = pairs["old"][find_differing_pairs(cells, pairs.height)]
        return Difference(
            keys=self.keys[0][pairs["old"]],
            cells=cells,
            tolerated=tolerated,
            tolerated_keys=tolerated_keys,
            tallies=tallies | of_keys,
            sums=sums,
            missing=missing,
            extra=extra,
            values=self.old.count_values(
                ours.all, ours.compared, differing, segments.MAX_VALUES
            ),
        )

    def _find_cells(
        self, pairs: pl.DataFrame, judging: ctypes.Array[Judging] | None
    ) -> pl.DataFrame:
        """The cells that differ as text, and all cells of columns that are read apart.

        `pair` counts from the first of `pairs`; `column` is an ordinal. `judging`:
        which of them are equal by rules, and left out.
        """
        ours, theirs = self.names
        columns, apart = ours.columns, {*ours.read_apart}
        places = [
            binding.make_numbers([at[name] for name in columns])
            for each in (ours, theirs)
            for at in [{name: place for place, name in enumerate(each.all)}]
        ]
        numbers = [
            np.ascontiguousarray(pairs[side].to_numpy(), np.uint32)
            for side in ("old", "new")
        ]
        found = self.old.kernel.compare_pairs(
            *(ctypes.byref(rows.raw) for rows in (self.old, self.new)),
            0,
            pairs.height,
            len(columns),
            *places,
            *(each.ctypes.data for each in numbers),
            bytes(name in apart for name in columns),
            judging,
        )
        cells, _ = take_columns(self.old.kernel, found, list(CELLS))
        return cells
