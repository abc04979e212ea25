"""Count the changes of each column, in tasks that get all of a column's changes.

A change (old text, new text) always goes to the same task, so its count there is final.
The changes of a large column are divided among several tasks, by a hash of the texts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.analysis import patterns, totals
from recon_engine.analysis.evidence import ColumnFindings
from recon_engine.compare import sampling
from recon_engine.compare.causes import find_constant, find_rule_hints, sum_amounts
from recon_engine.spark.findings import Findings
from recon_engine.spark.packets import Packet, limit_packets
from recon_engine.spark.rows import numbers_by_place
from recon_engine.spark.settings import BUCKET, MOST


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.analysis.amounts import SumPair
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.spark.packets import Packets

# With the default size of buckets, the changes of a column in 16 GiB of inputs.
BUCKETS_A_SHARE: Final = 128
# Hints and the constant need all distinct changes of a column in one task. Beyond 4
# million there are none for it; patterns and sums do not need them.
MAX_CHANGES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class ChangeShare:
    """A part of the distinct changes of a column; no other share has any of them.

    `distinct`: their number. `top`: the most common ones, with an example key.
    `changes`: all of them; None if they are too many to send to another task.
    """

    distinct: int
    top: pl.DataFrame
    sums: SumPair
    changes: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class ColumnChanges:
    """The tasks that count changes: `shares` for each column, of up to `max_bytes`."""

    plan: ComparisonPlan
    shares: int
    max_bytes: int

    @classmethod
    def of(cls, plan: ComparisonPlan, buckets: int, max_bytes: int) -> ColumnChanges:
        """One share per column for every BUCKETS_A_SHARE buckets of the inputs."""
        return cls(plan, 1 + buckets // BUCKETS_A_SHARE, max_bytes)

    @property
    def task_count(self) -> int:
        """The maximum number of tasks."""
        return len(self.plan.columns) * self.shares

    def send_changes(self, difference: Difference) -> Packets:
        """Send the changes of each column to the tasks that count them."""
        for column, changes in patterns.group_changes_with_keys(
            difference.cells, difference.keys
        ):
            # By the texts alone, so that equal changes of all buckets meet in one
            # share.
            share = np.zeros(changes.height, np.int64)
            if self.shares > 1:
                texts = sampling.stable_hash(changes.select("old", "new")).to_numpy()
                share = (texts % np.uint64(self.shares)).astype(np.int64)
            for at, which in numbers_by_place(share):
                yield Packet.for_task(column * self.shares + at, changes[which])

    def count_share(self, place: int, packets: Packets) -> Packets:
        """Count a share of a column's changes; a single share is the final result."""
        column = place // self.shares
        changes = patterns.merge_changes(
            [each.open() for each in self.limit_size(packets)]
        )
        share = ChangeShare(
            distinct=changes.height,
            top=patterns.most_frequent_changes(changes),
            sums=sum_amounts(self.plan.columns[column], changes, self.plan),
            # A hash divides the changes evenly, so one share is enough to estimate all
            # of them.
            changes=changes if changes.height * self.shares <= MAX_CHANGES else None,
        )
        if self.shares > 1:
            yield Packet.for_task(column, share)
        else:
            yield self.summarize(column, [share])

    def merge_shares(self, column: int, packets: Packets) -> Packets:
        """The findings of a column, from all its shares."""
        yield self.summarize(column, [each.open() for each in self.limit_size(packets)])

    def summarize(self, column: int, shares: Sequence[ChangeShare]) -> Packet:
        """Patterns, hints, sums and the constant of a column.

        Hints and the constant need all changes: they are left out if a share had too
        many to send.
        """
        name, keys = self.plan.columns[column], self.plan.layout.keys
        distinct = sum(each.distinct for each in shares)
        top = pl.concat([each.top for each in shares])
        changes = [each.changes for each in shares if each.changes is not None]
        whole = pl.concat(changes) if len(changes) == len(shares) else None
        found = ColumnFindings(
            patterns.summarize_changes(name, distinct, top, keys),
            () if whole is None else find_rule_hints(name, whole, self.plan),
            functools.reduce(totals.add_sum_pairs, (each.sums for each in shares)),
            None if whole is None else find_constant(name, whole, self.plan),
            is_examined=whole is not None,
        )
        return Packet.for_driver(column, Findings(column_findings={name: found}))

    def limit_size(self, packets: Packets) -> Packets:
        """The packets; OutOfBudget if they exceed what a task may hold."""
        return limit_packets(
            packets,
            self.max_bytes,
            "the changes of a column take",
            why="the column has very many distinct changes",
            remedy=f"exclude it with --ignore, or set a smaller {BUCKET}, or a larger"
            f" {MOST} with more memory for each task",
        )
