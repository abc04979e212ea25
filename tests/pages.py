"""A reconciliation of real files with every section that a page can have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from recon_engine import demo, diff
from recon_engine.config import Options
from recon_engine.model import (
    GateResult,
    Hint,
    HintKind,
    PastResult,
    PastRun,
    Pattern,
    Patterns,
    Segment,
    Total,
)
from recon_engine.report import Breaks, Facts


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine import Reconciliation


STARTED = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
RUN = UUID("01a2103e-09b1-7a26-8ad3-7b022f01d674")
NORMAL = (
    1230, 1198, 1241, 1207, 1211, 1215, 1189, 1222, 1210, 1290, 1236, 1231, 1228, 1219,
    1205, 1216, 1240, 1233, 1244, 1226, 1229, 1258, 1248, 1231, 1235, 1249, 1263, 1230,
    1232,
)  # fmt: skip


def claims(folder: Path, rows: int = 20_000) -> Reconciliation:
    """The demo's pair, reconciled."""
    old = folder / "claims_20261122_OLDSYSTEM.csv"
    new = folder / "claims_20261122_NEWSYSTEM.csv"
    demo.write_pair(old, new, rows=rows)
    return diff(old, new, keys=demo.KEYS)


def with_everything(result: Reconciliation) -> Reconciliation:
    """The same with findings of every sort."""
    rows = result.counts.mismatched_rows
    amounts = next(c for c in result.by_column if c.name == "CLM_PMT_AMT")
    key = dict.fromkeys(result.keys, "1")
    return replace(
        result,
        gates=(
            GateResult("mismatched_rate<=0.05", False, 0.1019),
            GateResult("missing<=200", True, result.counts.missing),
        ),
        hints=(
            Hint(
                HintKind.RULE,
                "CLM_PMT_AMT",
                "--rule CLM_PMT_AMT=decimal",
                amounts.kinds["number_format"],
                amounts.mismatched,
                "CLM_PMT_AMT is mostly the same number written another way",
            ),
        ),
        patterns=(
            Patterns(
                "CLM_PMT_AMT",
                812,
                (
                    Pattern("3000.00", "3000", "number_format", 41, key),
                    Pattern("1000.00", "1020.00", "number", 12, key),
                ),
            ),
            Patterns(
                "OP_PHYSN_NPI",
                57,
                (Pattern("7267285873", "", "value_to_blank", 2, key),),
            ),
        ),
        totals=(
            Total(
                "CLM_PMT_AMT",
                Decimal("8123000.00"),
                Decimal("8168240.40"),
                Decimal("1210000.00"),
                Decimal("640500.00"),
            ),
        ),
        segments=(
            Segment("mismatched", "PRVDR_NUM", "2600GD", rows // 3, 0.334, 0.021),
            Segment("missing", "CLM_FROM_DT", "20260131", 60, 0.52, 0.031),
        ),
    )


def facts(past: int = len(NORMAL)) -> Facts:
    """A run of the thirtieth day, and a break that is open."""
    runs = [
        PastRun(
            UUID(int=at + 1),
            STARTED - timedelta(days=at + 1),
            "SUCCEEDED",
            4.0 + at % 3,
            PastResult(
                "differ", 20_000, 19_980, 19_900, 100, 80, NORMAL[-1 - at], 1400
            ),
        )
        for at in range(past)
    ]
    return Facts(
        dataset="daily_claims",
        run_id=RUN,
        started=STARTED,
        options=Options(keys=demo.KEYS, rules={"CLM_NOTE": ("trim",)}),
        past=runs,
        breaks=Breaks(
            "2 open, the oldest for 9 days",
            ("Key", "Column", "Since", "Age"),
            (
                ("A1 · 196000000000220 · 1", "CLM_PMT_AMT", "2026-11-13", "9 days"),
                ("B2 · 196000000000321 · 1", "", "2026-11-21", "1 day"),
            ),
        ),
        timed=True,
    )
