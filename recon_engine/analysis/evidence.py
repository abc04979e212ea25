"""What analyses read: what was counted of the rows that differ. Plain values.

Counts are additive: they are taken for each group of rows and merged, so memory budget
and Spark do not change a finding.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping, Sequence

    import polars as pl

    from recon_engine.analysis.amounts import ColumnSum, SumPair
    from recon_engine.model import Constant, Hint, Patterns, Splits
    from recon_engine.rules.assembly import GivenRules
    from recon_engine.rules.chains import Rules, Tallies

    # The rows by value, for each column; None for a column with too many values.
    ValueCounts = dict[str, Counter[str] | None]


@dataclass(frozen=True, slots=True)
class ColumnFindings:
    """The findings about the differing cells of a column.

    `constant`: what most of them have in common; None without it. `is_examined`:
    whether hints and the constant were looked for.
    """

    patterns: Patterns
    hints: tuple[Hint, ...]
    sums: SumPair
    constant: Constant | None = None
    is_examined: bool = True


@dataclass(frozen=True, slots=True)
class UnmatchedRows:
    """The rows on one side only: their number, and facts about their values.

    `keys`: their key columns; None if they are too many to keep. `codes`: how often
    each code of a code table occurs, by the name of the tally.
    """

    rows: int
    sums: dict[str, ColumnSum]
    values: ValueCounts
    keys: pl.DataFrame | None
    codes: Tallies = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What findings are derived from. Pairs have OLD first.

    Columns by the user's names: `keys`, and the compared `columns` in the order of OLD.
    Frames and counts have internal names: `names` translates them, `key_names` those of
    the key; `given`: the rules of the key, by internal name; `chains`: those of all
    columns. `new_names`: what NEW calls columns, by their names in results. `taken`:
    the names of all columns of both files, and of those that are derived. `derive`:
    those of each side that one more flag of a derivation replaces.

    `column_findings`: of each differing column. `tolerated`: the sums of cells that
    rules make equal. `values`: of mismatched rows. `unmatched`: the missing and the
    extra rows. `samples`: of all rows. `repeated`: the keys of each side that
    repeat; `unique_column` would make them unique, and `unchanged` of the `matched`
    rows are equal in it. `splits`: keys with several rows on a side.
    `swapped`: columns that seem to be in each other's place.
    """

    keys: Sequence[str]
    columns: Sequence[str]
    names: Mapping[str, str]
    key_names: Mapping[str, str]
    given: Mapping[str, GivenRules]
    chains: Rules
    new_names: Mapping[str, str]
    taken: Collection[str]
    derive: Sequence[Sequence[str]]
    renamed: Sequence[tuple[str, str]]
    agreements: Mapping[tuple[str, str], tuple[int, int]]
    column_findings: Mapping[str, ColumnFindings]
    tolerated: Mapping[str, SumPair]
    values: ValueCounts
    unmatched: tuple[UnmatchedRows, UnmatchedRows]
    samples: Sequence[pl.DataFrame]
    repeated: tuple[int, int]
    unique_column: str | None
    unchanged: int
    matched: int
    splits: tuple[Splits, Splits]
    swapped: Sequence[Hint] = ()

    @property
    def differing(self) -> list[ColumnFindings]:
        """The findings of the columns that differ, in the order of OLD."""
        known = self.column_findings
        return [known[name] for name in self.columns if name in known]
