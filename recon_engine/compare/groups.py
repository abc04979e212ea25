"""Compare the rows that are left, in groups of keys: what is parsed stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.compare.digests import make_empty_rows
from recon_engine.compare.gathered_pairs import compare_gathered
from recon_engine.compare.pairing import compare_rows
from recon_engine.compare.prepared_rows import compare_prepared
from recon_engine.errors import InternalError
from recon_engine.inputs.scanned import GatheredRows
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.pairing import Difference
    from recon_engine.inputs.csvfile import Rows

# `memory.BASE_BYTES` covers the groups under way: another size has to be measured. No
# answer depends on it, so tests set it to 1.
GROUP_CELLS: Final = 1 << 21


def compare_groups(
    taken: Sequence[Rows],
    keys: Sequence[pl.Series],
    names: Sequence[ColumnIds],
    *,
    repeat: bool = False,
) -> Iterator[Difference]:
    """Rows of both sides compared.

    Rows in the kernel whose keys do not repeat are paired at once, others group by
    group of the digests of their keys. `repeat`: whether keys are known to repeat, so
    that those of all rows need not be parsed to find it.
    """
    cells = sum(rows.rows for rows in taken) * len(names[0].all)
    old_rows, new_rows = taken
    prepared = any(each.prepared for each in names)
    if (
        isinstance(old_rows, GatheredRows)
        and isinstance(new_rows, GatheredRows)
        and not (prepared or repeat)
    ):
        pairs_at_once = max(1, GROUP_CELLS // len(names[0].all))
        found = compare_gathered(old_rows, new_rows, keys, names, pairs_at_once)
        if found is not None:
            return found
    count = 1 + cells // GROUP_CELLS
    groups = [_group_by_key(digests, count) for digests in keys]

    def compared(at: int) -> Difference:
        old, new = (
            parse_cells(rows.picked(group[at]), each)
            for rows, group, each in zip(taken, groups, names, strict=True)
        )
        if prepared:
            return compare_prepared(old, new, names)
        return compare_rows(
            old,
            new,
            keys=names[0].keys,
            columns=names[0].columns,
            rules=names[0].chains,
        )

    return map_ordered(compared, range(count))


def parse_cells(rows: Rows, names: ColumnIds) -> pl.DataFrame:
    """Parse rows into one frame of strings with the ids of all columns.

    A blank is "". Raises InternalError if the parser finds another number of rows.
    """
    if not rows.rows:
        return make_empty_rows(names)
    # One chunk, because rows are gathered from it column by column.
    cells = names.read_cells(rows).collect(engine="in-memory").rechunk()
    if cells.height != rows.rows:
        raise InternalError(
            f"{cells.height:,} rows were parsed where {rows.rows:,} were taken"
        )
    return cells


def _group_by_key(keys: pl.Series, count: int) -> list[NDArray[np.int64]]:
    """Which rows are in which group, by their key."""
    # numpy sorts integers of 16 bits by radix, which is fastest by far.
    place = (keys.to_numpy() % np.uint64(count)).astype(np.min_scalar_type(count))
    order = np.argsort(place, kind="stable")
    return np.split(order, np.searchsorted(place[order], np.arange(1, count)))
