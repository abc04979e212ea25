"""What each column tells: its changes, counted where all of them come together.

A change is always at the same task, by its texts, so what is counted there is all of
it. Of a column that has many, several tasks have a share each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.analysis import patterns, totals
from recon_engine.compare import sampling
from recon_engine.compare.causes import ColumnFindings, find_rule_hints
from recon_engine.spark.findings import Findings
from recon_engine.spark.packets import Packet, limit_packets
from recon_engine.spark.rows import numbers_by_place
from recon_engine.spark.settings import BUCKET, MOST


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.analysis.totals import SumPair
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.spark.packets import Packets

BUCKETS_A_SHARE: Final = 128
MAX_CHANGES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class ChangeShare:
    """Some of the changes of a column, of which no other task has one.

    `distinct`: how many; `top`: the commonest, located; `changes`: all, if these are
    not too many to look for hints in.
    """

    distinct: int
    top: pl.DataFrame
    sums: SumPair
    changes: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class ColumnChanges:
    """The tasks that count changes: `shares` for each column, of up to `most` bytes."""

    plan: ComparisonPlan
    shares: int
    most: int

    @classmethod
    def of(cls, plan: ComparisonPlan, buckets: int, most: int) -> ColumnChanges:
        """As many as there is to count for, at the worst."""
        return cls(plan, 1 + buckets // BUCKETS_A_SHARE, most)

    @property
    def places(self) -> int:
        """How many tasks there are, at the most."""
        return len(self.plan.columns) * self.shares

    def sent(self, found: Difference) -> Packets:
        """The changes of each column, to the tasks that have all of each."""
        for column, changes in patterns.group_changes_with_keys(
            found.cells, found.keys
        ):
            share = np.zeros(changes.height, np.int64)
            if self.shares > 1:
                texts = sampling.stable_hash(changes.select("old", "new")).to_numpy()
                share = (texts % np.uint64(self.shares)).astype(np.int64)
            for at, which in numbers_by_place(share):
                yield Packet.of(column * self.shares + at, changes[which])

    def counted(self, place: int, packets: Packets) -> Packets:
        """A share of the changes of a column; the only one tells all."""
        column = place // self.shares
        changes = patterns.merge_changes(
            [each.open() for each in self.fitting(packets)]
        )
        share = ChangeShare(
            distinct=changes.height,
            top=patterns.most_frequent_changes(changes),
            sums=totals.sum_changes(changes),
            changes=changes if changes.height * self.shares <= MAX_CHANGES else None,
        )
        if self.shares > 1:
            yield Packet.of(column, share)
        else:
            yield self.told(column, [share])

    def together(self, column: int, packets: Packets) -> Packets:
        """What a column tells, by the shares of its changes."""
        yield self.told(column, [each.open() for each in self.fitting(packets)])

    def told(self, column: int, shares: Sequence[ChangeShare]) -> Packet:
        """Patterns, hints and sums of a column."""
        name, keys = self.plan.columns[column], self.plan.layout.keys
        distinct = sum(each.distinct for each in shares)
        top = pl.concat([each.top for each in shares])
        changes = [each.changes for each in shares if each.changes is not None]
        whole = len(changes) == len(shares)
        found = ColumnFindings(
            patterns.summarize_changes(name, distinct, top, keys),
            find_rule_hints(name, pl.concat(changes), self.plan) if whole else (),
            functools.reduce(totals.add_sum_pairs, (each.sums for each in shares)),
        )
        return Packet.answer(column, Findings(told={name: found}))

    def fitting(self, packets: Packets) -> Packets:
        """Changes, as long as they fit into a task."""
        return limit_packets(
            packets,
            self.most,
            "the changes of a column are",
            why="it differs in very many ways",
            mend=f"leave it out by --ignore; or a smaller {BUCKET}; or a larger"
            f" {MOST}, with more memory for each task",
        )
