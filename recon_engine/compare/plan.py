"""Plan a comparison: which columns belong together, and how they are compared."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.analysis.key_parts import propose_derivation
from recon_engine.analysis.rename_detection import measure_agreements
from recon_engine.compare.alignment import Alignment, align_columns
from recon_engine.compare.digests import ColumnIds, assign_ids
from recon_engine.compare.masks import Masks, make_masks
from recon_engine.inputs.delimiters import other_reading
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.compare.pairing import Difference
    from recon_engine.config import Options
    from recon_engine.inputs.first_rows import Reads
    from recon_engine.inputs.tables import Unread


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """One comparison, the same for every engine.

    The first item of a pair is that of OLD.

    `files`: the columns of each file in order, by their names in OLD; `names`: their
    internal names, in the same order; `started`: the start, on the monotonic clock.
    """

    files: tuple[tuple[str, ...], tuple[str, ...]]
    names: tuple[ColumnIds, ColumnIds]
    layout: Alignment
    masks: Masks
    options: Options
    started: float

    @property
    def columns(self) -> list[str]:
        """The compared columns by the ordinals that differing cells refer to."""
        return sorted(self.layout.columns)

    def rows(self, side: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Whole rows of a side under the user's names."""
        # Assigned, not renamed by an expression: Polars reads some names as patterns.
        named = rows.clone()
        named.columns = list(self.files[side])
        return named

    def keyed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the user's key names as the fields of the struct `key`."""
        if frame.is_empty():
            key = pl.Struct(dict.fromkeys(self.layout.keys, pl.String))
            return pl.DataFrame(schema={**frame.schema, "key": key})
        keys = pl.col("key").struct.rename_fields(list(self.layout.keys))
        return frame.with_columns(keys)

    def cells(self, difference: Difference) -> pl.LazyFrame:
        """Every differing cell, ordered by key and column, with its `pair` of rows."""
        names = pl.lit(pl.Series(self.columns, dtype=pl.String))
        keys = difference.keys.clone()
        keys.columns = list(self.layout.keys)
        return (
            difference.cells.lazy()
            .select(
                pl.lit(keys.to_struct("key")).gather(pl.col("pair")),
                names.gather(pl.col("column")).alias("column"),
                "old",
                "new",
                "kind",
                "pair",
            )
            # By content alone, so that every engine returns the same order.
            .sort("key", "column", "old", "new")
        )


def make_plan(
    old: Unread, new: Unread, options: Options, reads: Reads | None = None
) -> ComparisonPlan:
    """Align the columns of both inputs, and measure likely renames.

    `reads`: `pread` of both files, if they are not local. Raises KeyMissing,
    SchemaMismatch and ConfigError.
    """
    started = time.monotonic()
    layout = align_columns(
        old.columns,
        new.columns,
        options,
        uris=(old.uri, new.uri),
        heads=(old.head, new.head),
        measure=partial(measure_agreements, old, new, reads=reads),
        retry=partial(other_reading, old, new, options, reads=reads),
        propose_parts=partial(propose_derivation, old, new, reads=reads),
    )
    names = (
        assign_ids(old.columns, layout, "old"),
        assign_ids(new.columns, layout, "new"),
    )
    files = (
        (*old.columns, *layout.prepared[0].new_names),
        (
            *_apply_renames(new.columns, layout.new_names),
            *layout.prepared[1].new_names,
        ),
    )
    return ComparisonPlan(
        files, names, layout, make_masks(layout.masks), options, started
    )


def _apply_renames(
    columns: Sequence[str], renames: Mapping[str, str]
) -> tuple[str, ...]:
    return tuple(renames.get(name, name) for name in columns)
