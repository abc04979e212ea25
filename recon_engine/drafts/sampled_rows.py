"""Rows of both files of equal keys, by which rules are found, and fewer of them.

Of a column in which every row differs, few rows show how it is written, and a rule is
tried on each of them many times. Where these few do not show a notation, some rows of
the whole sample still differ under the rules that were found: those are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.drafts.columns import hash_keys, parse_rules
from recon_engine.drafts.name_pairs import name_cells
from recon_engine.model import SIDES
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.drafts.columns import Frames, Place, Sides

    # The hashes of the keys of pairs of rows, and these rows of OLD and of NEW.
    PairedRows = tuple[pl.Series, Frames]


FEW_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Rows of both sides.

    `whole`: all of them, under the names of the files. `hashes`: of the keys of the
    rows of each side, in normal form.
    """

    whole: Frames
    hashes: tuple[pl.Series, pl.Series]

    def take_few(self) -> Frames | None:
        """The rows of about `FEW_ROWS` keys; None if there are hardly more."""
        if self._one_in < 2:  # noqa: PLR2004
            return None
        return self._pick([each % self._one_in == 0 for each in self.hashes])

    def take_few_and(self, others: pl.Series) -> Frames:
        """The same rows, and those whose keys have these hashes."""
        more = others.implode()
        return self._pick(
            [(each % self._one_in == 0) | each.is_in(more) for each in self.hashes]
        )

    def pair_rows(self) -> PairedRows:
        """The rows whose keys are on both sides and repeat on none, row by row.

        Returns the hashes of their keys, and the rows of OLD and of NEW.
        """
        old, new = (
            # `none` drops every row of a key that repeats, not all but one.
            pl.LazyFrame({"key": each}).with_row_index(side).unique("key", keep="none")
            for side, each in zip(SIDES, self.hashes, strict=True)
        )
        found = old.join(new, on="key").collect(engine="in-memory")
        left, right = (
            rows[found[side]] for side, rows in zip(SIDES, self.whole, strict=True)
        )
        return found["key"], (left, right)

    @property
    def _one_in(self) -> int:
        return max(side.height for side in self.whole) // FEW_ROWS

    def _pick(self, kept: Sequence[pl.Series]) -> Frames:
        old, new = (
            rows.filter(some) for rows, some in zip(self.whole, kept, strict=True)
        )
        return old, new


def hold_sample(
    cells: Frames,
    sides: Sides,
    keys: Sequence[Place],
    chains: Sequence[Sequence[str]],
) -> SampledRows:
    """Rows of both sides as a sample.

    Args:
        cells: The rows, with columns `c0`….
        sides: OLD and NEW.
        keys: The places of each key column in OLD and in NEW.
        chains: The rules of each key column.
    """
    rules = [parse_rules(chain) for chain in chains]
    old, new = (
        hash_keys(rows, [pair[at] for pair in keys], rules)
        for at, rows in enumerate(cells)
    )
    return SampledRows(name_cells(cells, sides), (old, new))
