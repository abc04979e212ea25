"""Compare two files cell by cell, where nearly all rows are written differently.

Digests find the rows that are identical. If hardly any is, as between two systems with
another spelling, they cost a pass over both files and decide nothing. Then rows are
paired by their keys, and all of them are compared. The result is the same.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.buckets import open_buckets
from recon_engine.compare.digests import (
    KEY_SEED,
    Seeds,
    digest_keys,
    make_empty_sample,
)
from recon_engine.compare.local_engine import ReadTables, compare_tables
from recon_engine.compare.plan import make_plan
from recon_engine.compare.scanned_digests import digest_sides
from recon_engine.inputs.scanned import RANGE_ROWS, HeldFile, find_source
from recon_engine.inputs.scanning import sampling_rate
from recon_engine.inputs.trailer_sums import check_sums
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules.chains import Tallies, added, code_table
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np
from recon_engine.runtime.memory import Budget, default_budget
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.config import Options
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.result import Reconciliation


# Rows are never equal by digests, so no secret is needed.
SEEDS: Final = Seeds(0, 0, KEY_SEED)


@dataclass(frozen=True, slots=True)
class KeyDigests:
    """The digests of the keys of a validated file; its cells are not digested.

    Its rows are held, for all of them are compared afterwards.

    A strategy as `digests.Strategy`: `every` is the inverse of the sampling rate.
    """

    side: str
    names: ColumnIds
    every: int
    file: HeldFile
    name: str = "columns"
    seeds: Seeds = SEEDS
    sampled: list[NDArray[np.uint32]] = field(default_factory=list)
    counted: list[Tallies] = field(default_factory=list)

    def digest_groups(self) -> Iterator[pl.DataFrame]:
        """The digests of the keys of all rows, group by group."""
        firsts = range(0, self.file.rows.rows, RANGE_ROWS)
        return map_ordered(self._digest_group, firsts)

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows."""
        if not self.sampled:
            return make_empty_sample(self.names)
        rows = self.file.take(np.concatenate(self.sampled))
        return rows.frame(self.names.all, self.names.compared)

    def tallies(self) -> Tallies:
        """What the rules of the key columns read."""
        return added(self.counted)

    def _digest_group(self, first: int) -> pl.DataFrame:
        some = slice(first, first + RANGE_ROWS)
        cells = self.file.rows.frame(self.names.all, self.names.keys, some)
        key, is_sampled, tallies = digest_keys(cells, self)
        drawn = is_sampled.arg_true().to_numpy().astype(np.uint32)
        self.sampled.append(drawn + np.uint32(first))
        self.counted.append(tallies)
        # `by_keys` leaves all rows undecided, so these are never compared.
        zero = np.zeros(cells.height, np.uint64)
        return pl.DataFrame({"row": zero, "check": zero, **key})


def compare_whole_rows(
    old: Unread,
    new: Unread,
    options: Options,
    tables: tuple[Table, Table],
    today: date,
    progress: Progress = SILENT,
    *,
    budget: Budget | None = None,
) -> Reconciliation | None:
    """The result of `compare_tables`, of files that are validated already.

    Args:
        old: OLD, with its header read.
        new: NEW, with its header read.
        options: How the files are compared.
        tables: Both, read to their ends.
        today: The day for which suppressions are evaluated.
        progress: Reports the steps.
        budget: The memory to use.

    Returns:
        None if the native kernel has not read both files, if they exceed the memory,
        or if more than the cells of a pair decides: filters, folds, derived columns and
        code tables.
    """
    plan, budget = make_plan(old, new, options), budget or default_budget()
    files = [file for table in tables if (file := find_source(table)) is not None]
    rows = (tables[0].rows, tables[1].rows)
    if len(files) < len(tables) or budget.buckets(sum(rows)) > 1 or not _applies(plan):
        return None
    if not budget.holds(sum(file.scanned.side.facts.end for file in files)):
        return None
    check_sums((old, new), tables, options)
    held = [*map_ordered(HeldFile.hold, files)]
    strategies = [
        KeyDigests(side, names, sampling_rate(unread.expected_rows), file)
        for side, names, unread, file in zip(
            SIDES, plan.names, (old, new), held, strict=True
        )
    ]
    left, right = (file.file() for file in held)
    with open_buckets(rows, 1) as digests:
        digest_sides(strategies, digests, progress)
        reading = ReadTables(
            plan,
            (left, right),
            strategies,
            digests,
            1,
            budget,
            by_kernel=True,
            by_keys=True,
        )
        return compare_tables(reading, today, progress)


def _applies(plan: ComparisonPlan) -> bool:
    """Whether the cells of a pair alone decide whether it differs."""
    if any(names.prepared for names in plan.names):
        return False
    chains = plan.names[0].chains.values()
    return all(code_table(chain.of(side)) is None for chain in chains for side in SIDES)
