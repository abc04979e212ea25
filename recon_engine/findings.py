"""The list of findings: metrics rows, history, artifacts and JSON derive from it.

An analysis is added by its line in `FINDINGS`; the page shows what its author chooses.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from recon_engine.analysis.constants import CONSTANTS
from recon_engine.analysis.hints import HINTS
from recon_engine.analysis.patterns import PATTERNS
from recon_engine.analysis.segments import SEGMENTS
from recon_engine.analysis.totals import TOTALS
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.analysis.finding import Finding, ValueMasks
    from recon_engine.record_table import Record


# The order of JSON and of artifacts.
FINDINGS: Final[tuple[Finding[Any], ...]] = (
    *(PATTERNS, CONSTANTS, TOTALS, SEGMENTS, HINTS),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """The records of each finding of one result, by the name of the finding."""

    by_name: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def collect(cls, records_of: Callable[[Finding[Any]], Iterable[Any]]) -> Findings:
        """The records that a function returns for each finding of the list."""
        return cls({each.name: tuple(records_of(each)) for each in FINDINGS})

    def __getitem__(self, finding: Finding[Record]) -> tuple[Record, ...]:
        return self.by_name.get(finding.name, ())

    def masked(self, masks: ValueMasks) -> Findings:
        """The same, with what is shown in place of values."""
        return Findings.collect(lambda each: each.mask(self[each], masks))

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Plain values by the name of the finding."""
        return {
            each.name: [each.to_json(record) for record in self[each]]
            for each in FINDINGS
        }


def find_all(evidence: Evidence) -> Findings:
    """Each finding of a comparison."""
    return Findings.collect(lambda each: each.find(evidence))
