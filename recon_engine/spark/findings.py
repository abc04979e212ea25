"""The findings of tasks: they can be merged in any order, and stay small."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.compare.partial_result import merge_partial_results
from recon_engine.rules import chains
from recon_engine.spark.packets import Packet
from recon_engine.spark.split_reader import merge_results


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recon_engine.analysis.evidence import ColumnFindings
    from recon_engine.compare.partial_result import PartialResult
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.errors import ReconError
    from recon_engine.model import Artifact
    from recon_engine.rules.chains import Tallies
    from recon_engine.spark.packets import Packets
    from recon_engine.spark.split_reader import SplitResult


# The findings of the 7,500 buckets of a TB are merged in three rounds: 235 tasks, 8, 1.
FAN_IN: Final = 32


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of one or more tasks. In pairs, OLD is first.

    `miscut`: whether a span may not be one of whole records: then nothing else holds.
    `split_results`: by the number of their span. `blanks`: rows with a blank key.
    `left_out`: rows that a filter leaves out, besides those of `partial`.
    `tallies`: what the rules of key columns parsed. `samples`: of all rows of a side.
    `column_findings`: those of each differing column. `parts`: the files with the
    complete difference of each bucket.
    """

    miscut: bool = False
    split_results: tuple[Mapping[int, SplitResult], Mapping[int, SplitResult]] = (
        {},
        {},
    )
    blanks: tuple[int, int] = (0, 0)
    tallies: tuple[Tallies, Tallies] = ({}, {})
    samples: tuple[tuple[pl.DataFrame, ...], ...] = ((), ())
    identical: int = 0
    left_out: tuple[int, int] = (0, 0)
    partial: PartialResult | None = None
    column_findings: dict[str, ColumnFindings] = field(default_factory=dict)
    error: ReconError | None = None
    parts: tuple[Artifact, ...] = ()


def merge_findings(
    findings: Iterable[Findings], plan: ComparisonPlan, whole: int
) -> Findings:
    """All findings as one, merged a few at a time."""
    found = iter(findings)
    total = next(found, Findings())
    while few := list(itertools.islice(found, FAN_IN)):
        total = _merge_few([total, *few], plan, whole)
    return total


def _merge_few(few: Sequence[Findings], plan: ComparisonPlan, whole: int) -> Findings:
    parts = [each.partial for each in few if each.partial is not None]
    columns = dict[str, Any]()
    for each in few:
        columns |= each.column_findings
    # Any one of them: an error in a file is the `fault` of its split, and in order.
    errors = [each.error for each in few if each.error is not None]
    old, new = (
        tuple(rows for each in few for rows in each.samples[side]) for side in (0, 1)
    )
    return Findings(
        miscut=any(each.miscut for each in few),
        split_results=(
            merge_results(each.split_results[0] for each in few),
            merge_results(each.split_results[1] for each in few),
        ),
        blanks=(sum(e.blanks[0] for e in few), sum(e.blanks[1] for e in few)),
        tallies=(
            chains.added(each.tallies[0] for each in few),
            chains.added(each.tallies[1] for each in few),
        ),
        samples=(_concat_samples(old), _concat_samples(new)),
        identical=sum(each.identical for each in few),
        left_out=(sum(e.left_out[0] for e in few), sum(e.left_out[1] for e in few)),
        # Limited at every merge: neither a task nor the driver ever holds all details.
        partial=merge_partial_results(parts, plan).limited(plan, whole)
        if parts
        else None,
        column_findings=columns,
        error=errors[0] if errors else None,
        parts=tuple(part for each in few for part in each.parts),
    )


def _concat_samples(rows: tuple[pl.DataFrame, ...]) -> tuple[pl.DataFrame, ...]:
    return (pl.concat(rows),) if rows else ()


@dataclass(frozen=True, slots=True)
class MergeTask:
    """The task that adds what was found."""

    plan: ComparisonPlan
    whole: int

    def __call__(self, place: int, packets: Packets) -> Packets:
        """Merge all packets, whatever their place, into one for the driver."""
        every = (packet.open() for packet in packets)
        yield Packet.for_driver(place, merge_findings(every, self.plan, self.whole))
