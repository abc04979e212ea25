"""The rows that differ in a result, with the texts of columns that are equal.

The rows of the keys that differ are read, paired and compared again. This gives the
cells of the result, or the inputs are not those that it was made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.digests import assign_ids
from recon_engine.compare.explained_rows import ALL, find_context
from recon_engine.compare.masks import make_masks, mask_cells
from recon_engine.compare.pairing import find_differing_pairs
from recon_engine.compare.prepared_rows import arrange_rows
from recon_engine.model import SIDES
from recon_engine.result_frames import lay_out_rows
from recon_engine.rules.chains import normal_column
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recon_engine.compare.alignment import Alignment
    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.masks import Masks
    from recon_engine.compare.pairing import Difference
    from recon_engine.inputs.csvfile import RowGroup
    from recon_engine.inputs.tables import Table
    from recon_engine.result import Reconciliation

    # Of rows, what their keys are found by.
    ReadKeys = Callable[[pl.DataFrame], pl.DataFrame]

NUMBER: Final = "\0number"
# No column of a side has it: these end with `_old` or `_new`.
DIFFERS: Final = "differs"


def read_differing_rows(
    tables: tuple[Table, Table],
    layout: Alignment,
    result: Reconciliation,
    context: Sequence[str],
) -> pl.DataFrame | None:
    """The rows that differ in a result, in the form of `Reconciliation.rows`.

    None if the tables have other differences than the result in the rows of its keys.
    All rows of these keys are in memory at once.

    Args:
        tables: Both inputs, read again.
        layout: Their columns.
        result: What the first reading gave.
        context: The columns that are shown besides those that differ.

    Raises ConfigError if no side has a column of `context`.
    """
    ours, theirs = names = (
        assign_ids(tables[0].columns, layout, "old"),
        assign_ids(tables[1].columns, layout, "new"),
    )
    masks = make_masks(layout.masks)
    columns = tables[0].columns, tables[1].columns
    every = find_context(layout, names, columns, context)
    by_name = dict(zip(sorted(layout.columns), ours.columns, strict=True))
    shown = {each.name for each in result.by_column if each.mismatched}
    shown |= {name for name in by_name if name in context or ALL in context}
    every |= {name: (by_name[name], by_name[name]) for name in shown}

    old = _read_rows_of(result, tables[0], ours, layout, masks)
    forms = _normalize_keys(old, ours).unique()
    if not ours.chains.keys().isdisjoint(ours.keys):
        # A row of the same key may have another text of it.
        old = _read_rows(
            tables[0], ours, lambda rows: _normalize_keys(rows, ours), forms
        )
    new = _read_rows(
        tables[1], theirs, lambda rows: _normalize_keys(rows, theirs), forms
    )
    arranged = arrange_rows(old, new, names)
    found = arranged.compare(ours)
    if not _is_of_result(found, layout, masks, result):
        return None
    pairs = arranged.paired.pairs.drop_nulls()
    differing = pairs[find_differing_pairs(found.cells, pairs.height)]
    sides = arranged.old[differing["old"]], arranged.new[differing["new"]]
    in_order = dict.fromkeys((*_order_names(layout, columns), *every))
    texts = {
        f"{name}_{side}": masks.values(name, rows[of])
        for name in in_order
        if name in every
        for of, side, rows in zip(every[name], SIDES, sides, strict=True)
        if of is not None
    }
    texts[DIFFERS] = _list_differing(found.cells, layout.columns)
    keys = masks.rows(sides[0].select(ours.keys), layout.keys)
    return lay_out_rows(keys, result.keys, texts)


def _list_differing(cells: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """The columns that differ in each pair that has some: `PAID, NOTE`, as in OLD.

    A text and no list, so that the rows can be written to a file.
    """
    names = sorted(columns)
    place = {name: at for at, name in enumerate(columns)}
    listed: dict[int, list[str]] = {}
    for pair, column in zip(
        cells["pair"].to_list(), cells["column"].to_list(), strict=True
    ):
        listed.setdefault(pair, []).append(names[column])
    return pl.Series(
        [
            ", ".join(sorted(listed[pair], key=place.__getitem__))
            for pair in sorted(listed)
        ],
        dtype=pl.String,
    )


def _read_rows_of(
    result: Reconciliation,
    table: Table,
    names: ColumnIds,
    layout: Alignment,
    masks: Masks,
) -> pl.DataFrame:
    """The rows of OLD that have, as they are shown, a key of a pair that differs."""
    keys = result.frames.numbered["key"].unique().struct.unnest()
    keys.columns = names.keys
    return _read_rows(
        table,
        names,
        lambda rows: masks.rows(rows.select(names.keys), layout.keys),
        keys,
    )


def _read_rows(
    table: Table, names: ColumnIds, read_keys: ReadKeys, wanted: pl.DataFrame
) -> pl.DataFrame:
    """The rows of a table whose keys are among `wanted`, with all columns."""

    def read(part: RowGroup) -> pl.DataFrame:
        rows = names.read_cells(table.read(part)).collect(engine="in-memory")
        numbered = read_keys(rows).with_row_index(NUMBER)
        return rows[numbered.join(wanted, on=names.keys, how="semi")[NUMBER].sort()]

    schema = dict.fromkeys(names.all, pl.String)
    return pl.concat([pl.DataFrame(schema=schema), *map_ordered(read, table.parts)])


def _normalize_keys(rows: pl.DataFrame, names: ColumnIds) -> pl.DataFrame:
    """The normal forms of the keys of rows."""
    return rows.select(normal_column(key, names.rules) for key in names.keys)


def _is_of_result(
    found: Difference, layout: Alignment, masks: Masks, result: Reconciliation
) -> bool:
    """Whether the differing cells are those of the result.

    A result of Spark may have some of them: these are among the differing cells.
    """
    keys = found.keys[found.cells["pair"]]
    keys.columns = list(layout.keys)
    names = pl.Series(sorted(layout.columns), dtype=pl.String)
    # `mask_cells` sorts by the kind. It follows from the column and both texts, so it
    # is not found again, and not compared.
    cells = pl.DataFrame(
        [
            keys.to_struct("key"),
            names.gather(found.cells["column"]).alias("column"),
            *(found.cells[side] for side in SIDES),
        ]
    ).with_columns(kind=pl.lit(""))
    shown = mask_cells(cells, masks).drop("kind")
    before = result.frames.mismatches.drop("kind")
    if before.height == result.counts.mismatched_cells:
        return shown.equals(before.sort(*shown.columns))
    # A cell of the result that is not found again leaves a negative sum.
    both = [shown.with_columns(n=pl.lit(1)), before.with_columns(n=pl.lit(-1))]
    left = pl.concat(both).group_by(shown.columns).agg(pl.col("n").sum())
    return bool((left["n"] >= 0).all())


def _order_names(
    layout: Alignment, columns: tuple[Sequence[str], Sequence[str]]
) -> list[str]:
    """The names of all columns, as in OLD; those of NEW only come last."""
    theirs = (layout.new_names.get(name, name) for name in columns[1])
    return [*columns[0], *layout.prepared[0].new_names, *theirs]
