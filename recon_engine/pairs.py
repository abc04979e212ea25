"""Pairs that the kernel has matched become a difference: only what differs is parsed.

The kernel pairs rows by digests of keys that are not repeated. It compares their cells
as text, key included, so two keys of one digest are found out: such rows are left to be
paired by their text, like those of repeated keys.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import segments, totals
from recon_engine.compare import Difference
from recon_engine.digest import no_rows
from recon_engine.native import binding
from recon_engine.native.binding import Matched
from recon_engine.parallel import in_order
from recon_engine.rules import equal
from recon_engine.scanned import Columns


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.names import Names
    from recon_engine.rules import Rules
    from recon_engine.scanned import Gathered, Scan
    from recon_engine.segments import Values
    from recon_engine.totals import Sums

# Of so many cells the rows are gathered and compared at once.
GROUP_CELLS: Final = 1 << 21


def differences(scan: Scan, names: Sequence[Names]) -> Iterator[Difference | slice]:
    """The pairs that differ, some at a time.

    A slice of the pairs where a key of them is not the same on both sides.
    """
    count = scan.pairs
    step = max(1, GROUP_CELLS // len(names[0].all))
    groups = [slice(at, min(at + step, count)) for at in range(0, count, step)]
    return in_order(lambda group: _difference(scan, names, group), groups)


def without_partner(scan: Scan, names: Sequence[Names]) -> Difference:
    """The missing and the extra rows: no key on the other side has their digest."""
    ours = names[0]
    missing, extra = in_order(
        lambda each: scan.take(each[0]).frame(each[1].all, each[1].all),
        zip((Matched.MISSING, Matched.EXTRA), names, strict=True),
    )
    return Difference(
        keys=no_rows(ours).select(ours.keys),
        cells=pl.DataFrame(
            schema={
                "pair": pl.UInt32,
                "column": pl.UInt32,
                "old": pl.String,
                "new": pl.String,
            }
        ),
        tolerated=np.zeros(len(ours.columns), np.int64),
        sums={},
        missing=missing,
        extra=extra,
        values=dict.fromkeys(ours.compared, segments.NO_VALUES),
    )


def _difference(scan: Scan, names: Sequence[Names], group: slice) -> Difference | slice:
    old, new = (
        scan.take(which, group) for which in (Matched.PAIRED_OLD, Matched.PAIRED_NEW)
    )
    ours = names[0]
    found, collisions = _compared(old, new, names)
    if collisions:
        return group
    cells, tolerated, sums = _judged_by_rules(found, ours.columns, ours.rules)
    return Difference(
        keys=old.frame(ours.all, ours.keys),
        cells=cells,
        tolerated=tolerated,
        sums=sums,
        missing=no_rows(ours),
        extra=no_rows(names[1]),
        values=_values(old, ours, cells["pair"].unique()),
    )


def _compared(
    old: Gathered, new: Gathered, names: Sequence[Names]
) -> tuple[pl.DataFrame, int]:
    """The cells that differ, and how many cells of keys do."""
    wanted = names[0].compared
    places = [
        binding.numbers([at[name] for name in wanted])
        for at in ({name: n for n, name in enumerate(each.all)} for each in names)
    ]
    rows = old.raw, new.raw
    keys = len(names[0].keys)
    pointer = old.kernel.compare(
        *map(ctypes.byref, rows), 0, old.rows, len(wanted), keys, *places
    )
    found = Columns(old.kernel, pointer)
    pairs, ordinals, collisions = found.cells()
    cells = pl.DataFrame(
        {
            "pair": pairs,
            "column": ordinals - np.uint32(keys),
            "old": pl.Series(found.texts(0)),
            "new": pl.Series(found.texts(1)),
        }
    )
    return cells, collisions


def _judged_by_rules(
    cells: pl.DataFrame, columns: Sequence[str], rules: Rules
) -> tuple[pl.DataFrame, np.ndarray, dict[str, Sums]]:
    """Without the cells that rules make equal; how many these are, and their sums."""
    tolerated = np.zeros(len(columns), np.int64)
    sums: dict[str, Sums] = {}
    ruled = [at for at, name in enumerate(columns) if name in rules]
    if not ruled:
        return cells, tolerated, sums
    kept = pl.repeat(True, cells.height, eager=True)
    for at in ruled:
        mine = (cells["column"] == at).arg_true()
        if mine.is_empty():
            continue
        unlike = cells["old"].gather(mine), cells["new"].gather(mine)
        alike = equal(rules[columns[at]], *unlike)
        kept = kept.scatter(mine.filter(alike), False)
        tolerated[at] = alike.sum()
        sums[columns[at]] = totals.of_pairs(*(side.filter(alike) for side in unlike))
    return cells.filter(kept), tolerated, sums


def _values(old: Gathered, names: Names, mismatched: pl.Series) -> Values:
    """What OLD has in the rows that are mismatched, of columns of few values."""
    wanted = names.compared
    first = old.frame(names.all, wanted, most=segments.FIRST)
    at = mismatched.sort()
    few = at.filter(at < first.height)
    if few.len() == at.len() <= segments.FIRST:
        return segments.counted(first, at)
    able = [name for name in wanted if segments.may_be_few(first[name].gather(few))]
    counted = segments.counted(old.frame(names.all, able), at)
    return {name: counted.get(name) for name in wanted}
