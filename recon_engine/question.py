"""What is asked of two tables: which columns belong together, and how they compare."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.alignment import Alignment, align
from recon_engine.masks import Masks, keyed
from recon_engine.names import Names, named
from recon_engine.renames import agreements


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.compare import Difference
    from recon_engine.config import Options
    from recon_engine.digest import Unread
    from recon_engine.renames import Reads


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison, the same for every engine. Of pairs, the first is OLD's.

    `files`: the columns of each in their order there, by the names that OLD has for
    them; `names`: those that are ours, in the same order; `started`: when it was posed,
    on the monotonic clock.
    """

    files: tuple[tuple[str, ...], tuple[str, ...]]
    names: tuple[Names, Names]
    layout: Alignment
    masks: Masks
    options: Options
    started: float

    @property
    def columns(self) -> list[str]:
        """The compared columns by their ordinals in cells that differ."""
        return sorted(self.layout.columns)

    def rows(self, side: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Whole rows of a side under the names of the user."""
        named = rows.clone()
        named.columns = list(self.files[side])
        return named

    def keyed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`key`, a struct, with the names of the key columns as its fields."""
        keys = frame["key"].struct.rename_fields(list(self.layout.keys))
        return frame.with_columns(keys)

    def cells(self, found: Difference) -> pl.LazyFrame:
        """Every cell that differs, by key and column."""
        names = pl.lit(pl.Series(self.columns, dtype=pl.String))
        keys = self.keyed(found.keys.to_struct("key").to_frame())
        return (
            found.cells.lazy()
            .select(
                pl.lit(keys["key"]).gather(pl.col("pair")),
                names.gather(pl.col("column")).alias("column"),
                "old",
                "new",
                "kind",
            )
            .sort("key", "column", "old", "new")
        )


def posed(
    old: Unread, new: Unread, options: Options, reads: Reads | None = None
) -> Question:
    """Align the columns of both, and measure what seems renamed.

    `reads`: of both files, where they are not of this machine. Raises
    KeyMissing, SchemaMismatch and ConfigError.
    """
    started = time.monotonic()
    layout = align(
        old.columns,
        new.columns,
        options,
        uris=(old.uri, new.uri),
        measure=partial(agreements, old, new, reads=reads),
    )
    names = (
        named(old.columns, layout, {}),
        named(new.columns, layout, layout.new_names),
    )
    files = _named(old.columns, {}), _named(new.columns, layout.new_names)
    return Question(files, names, layout, keyed(layout.masks), options, started)


def _named(columns: Sequence[str], renames: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(renames.get(name, name) for name in columns)
