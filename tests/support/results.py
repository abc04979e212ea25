"""Results with findings that no comparison of a test's size would have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recon_engine.findings import Findings


if TYPE_CHECKING:
    from recon_engine.result import Reconciliation


def with_findings(result: Reconciliation, **records: tuple[Any, ...]) -> Reconciliation:
    """The result with other records of some findings, by their names."""
    return replace(result, findings=Findings({**result.findings.by_name, **records}))
