"""Which data from outside of the files a rule uses: code tables, time zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.model import SIDES
from recon_engine.rules.chains import code_table
from recon_engine.rules.instants import Instant
from recon_engine.rules.zones import zone_data_version


if TYPE_CHECKING:
    from recon_engine.rules.chains import Step


def describe_source(step: Step) -> str | None:
    """`sha256:…` of the file of a code table, or `tzdata 2026c`; None for no data."""
    for rule in map(step.of, SIDES):
        if rule is None:
            continue
        table = code_table([rule])
        if table is not None and table.sha256:
            return f"sha256:{table.sha256}"
        read = getattr(rule, "rule", rule)
        if isinstance(read, Instant) and read.zone:
            return f"tzdata {zone_data_version()}"
    return None
