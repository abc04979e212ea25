"""Pairs that the native kernel has matched become a difference.

The kernel pairs rows by the digests of keys that do not repeat. Only what differs is
parsed. Cells are compared as text, those of the key too: two keys with one digest are
found, and such rows are paired by their text, like those of repeated keys.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis import segments
from recon_engine.compare.native_judges import NativeJudges
from recon_engine.compare.pairing import Difference, judge_cells
from recon_engine.compare.preparation import Place
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import Matched
from recon_engine.inputs.native.texts import take_columns
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import WORKERS, map_ordered


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.analysis.amounts import SumPair
    from recon_engine.analysis.evidence import ValueCounts
    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.native_judges import JudgedColumn
    from recon_engine.inputs.native.binding import Judging
    from recon_engine.inputs.scanned import GatheredRows, MatchedFiles, ScannedFile
    from recon_engine.rules.chains import Rules, Tallies

# About so many bytes of OLD's rows are gathered and compared at once. Their partners
# are anywhere in NEW, so each group reads most of that file: few groups are best.
GROUP_BYTES: Final = 32 << 20
# Fewer pairs are compared sooner than another thread starts.
GROUP_PAIRS: Final = 1 << 12
CELLS: Final = {
    "pair": pl.UInt32,
    "column": pl.UInt32,
    "old": pl.String,
    "new": pl.String,
}
NO_VALUES: Final = Counter[str]()


@dataclass(frozen=True, slots=True)
class KernelSample:
    """The rows that the kernel has sampled of a side, in place of a strategy.

    `name`: the strategy that is exact for these files without the kernel.
    """

    name: str
    file: ScannedFile
    names: ColumnIds

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows."""
        rows, names = self.file.take_sample(), self.names
        if not (names.prepared or names.prepared.derived):
            return rows.frame(names.all, names.compared)
        cells = names.read_cells(rows).collect(engine="in-memory")
        kept = names.prepared.find_places(cells) == Place.KEPT
        return cells.filter(kept).select(names.compared)

    def tallies(self) -> Tallies:
        """Nothing: the kernel reads no key that has rules."""
        return {}


def compare_pairs(
    files: MatchedFiles, names: Sequence[ColumnIds]
) -> Iterator[Difference | slice]:
    """Compare the pairs that differ, group by group.

    Yields a slice of the pairs instead if the keys of one of them are not equal.
    """
    count = files.pairs
    step = int(GROUP_BYTES / files.sides[0].row_bytes)
    # Each worker gets a part of fewer pairs, too.
    step = max(1, min(step, max(GROUP_PAIRS, -(-count // WORKERS))))
    groups = [slice(at, min(at + step, count)) for at in range(0, count, step)]
    return map_ordered(lambda group: _compare_group(files, names, group), groups)


def unmatched_rows(files: MatchedFiles, names: Sequence[ColumnIds]) -> Difference:
    """The missing and the extra rows: no key of the other side has their digest."""
    ours = names[0]
    missing, extra = map_ordered(
        lambda side: files.take(side[0]).frame(side[1].all, side[1].all),
        zip((Matched.MISSING, Matched.EXTRA), names, strict=True),
    )
    return Difference(
        keys=pl.DataFrame(schema=dict.fromkeys(ours.keys, pl.String)),
        cells=pl.DataFrame(schema=CELLS),
        tolerated=[0] * len(ours.columns),
        tolerated_keys=0,
        tallies={},
        sums={},
        missing=missing,
        extra=extra,
        values=dict.fromkeys(ours.compared, NO_VALUES),
    )


def _compare_group(
    files: MatchedFiles, names: Sequence[ColumnIds], group: slice
) -> Difference | slice:
    old, new = (
        files.take(which, group) for which in (Matched.PAIRED_OLD, Matched.PAIRED_NEW)
    )
    ours = names[0]
    judges = NativeJudges(ours.compared, ours.chains, len(ours.keys))
    find = partial(_find_differing_cells, old, new, names)
    (cells, collisions), judged = judges.judge(find)
    if collisions:
        return group
    cells, tolerated, tallies, sums = apply_rules(
        cells, ours.columns, ours.chains, judged
    )
    return Difference(
        keys=old.frame(ours.all, ours.keys),
        cells=cells,
        tolerated=tolerated,
        # The kernel pairs keys of equal bytes, which no rule has made equal.
        tolerated_keys=0,
        tallies=tallies,
        sums=sums,
        missing=old.frame(ours.all, ours.all, slice(0)),
        extra=new.frame(names[1].all, names[1].all, slice(0)),
        values=_count_values(old, ours, cells["pair"]),
    )


def _find_differing_cells(
    old: GatheredRows,
    new: GatheredRows,
    names: Sequence[ColumnIds],
    judging: ctypes.Array[Judging] | None,
) -> tuple[pl.DataFrame, int]:
    """The cells that differ as text, and the number of cells of keys that do.

    `judging`: which of them are equal by rules, and left out.
    """
    compared = names[0].compared
    places = [{name: at for at, name in enumerate(side.all)} for side in names]
    ordinals = [binding.make_numbers([of[name] for name in compared]) for of in places]
    rows = old.raw, new.raw
    keys = len(names[0].keys)
    pointer = old.kernel.compare(
        *map(ctypes.byref, rows),
        0,
        old.rows,
        len(compared),
        keys,
        *ordinals,
        judging,
    )
    return take_columns(old.kernel, pointer, list(CELLS))


def apply_rules(
    cells: pl.DataFrame,
    columns: Sequence[str],
    rules: Rules,
    judged: Mapping[str, JudgedColumn],
) -> tuple[pl.DataFrame, list[int], Tallies, dict[str, SumPair]]:
    """The cells that no rule makes equal; of the others the number and the sums.

    `judged`: the columns of which only unequal cells are left.
    """
    tolerated = [0] * len(columns)
    tallies: Tallies = {}
    sums: dict[str, SumPair] = {}
    kept: pl.Series | None = None
    for ordinal, name in enumerate(columns):
        if name in judged:
            known = judged[name]
            tolerated[ordinal] = known.tolerated
            tallies[name], sums[name] = known.tally, known.sums
        if name in judged or name not in rules:
            continue
        mine = (cells["column"] == ordinal).arg_true()
        if mine.is_empty():
            continue
        unlike = cells["old"].gather(mine), cells["new"].gather(mine)
        found = judge_cells(rules[name], *unlike)
        if kept is None:
            kept = pl.repeat(True, cells.height, eager=True)
        kept = kept.scatter(mine.filter(found.alike), False)
        tolerated[ordinal] = int(found.tolerated.sum())
        tallies |= {name: found.tally, **found.count_wrong_codes(name)}
        sums[name] = found.sums
    return cells if kept is None else cells.filter(kept), tolerated, tallies, sums


def _count_values(
    old: GatheredRows, names: ColumnIds, mismatched: pl.Series
) -> ValueCounts:
    """The values of OLD in mismatched rows.

    `mismatched`: the pair of each differing cell.
    """
    rows = None if mismatched.n_unique() == old.rows else mismatched.unique()
    return old.count_values(names.all, names.compared, rows, segments.MAX_VALUES)
