"""A reconciliation of real files with every section that a page can have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from support.results import with_findings

from recon_engine import diff
from recon_engine.config import Options
from recon_engine.model import (
    Acceptance,
    BreakCounts,
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
from recon_engine.pipeline import demo
from recon_engine.report.artifacts import FILES
from recon_engine.report.result_page import OpenBreak, OpenBreaks, PageFacts


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
DAYS_OF_TROUBLE = (8, 9, 21)
DAY_WITHOUT_FILES = 15


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
    gated = replace(
        result,
        acceptance=Acceptance(
            gates=(
                GateResult(
                    "mismatch_rate<=0.05",
                    False,
                    0.1019,
                    "10.19% of rows differ, limit 5%",
                ),
                GateResult(
                    "missing<=200",
                    True,
                    result.counts.missing,
                    "few are missing, limit 200",
                ),
            ),
            suppressed=(),
        ),
    )
    return with_findings(
        gated,
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


def facts(past: int = len(NORMAL)) -> PageFacts:
    """A run of the thirtieth day, and breaks that are open."""
    return PageFacts(
        dataset="daily_claims",
        run_id=RUN,
        started=STARTED,
        options=Options(keys=demo.KEYS, rules={"CLM_NOTE": ("trim",)}),
        past=[_day(at) for at in range(past)],
        breaks=OpenBreaks(
            "new 0, recurring 2 (oldest 9 days), changed 0, resolved 4, reopened 0",
            2,
            (
                OpenBreak(
                    '["0023F5F9E4BE1CE4", "196000000000220", "1"]',
                    "CLM_PMT_AMT",
                    "number",
                    "recurring",
                    date(2026, 11, 13),
                    9,
                    7,
                    "14000.00",
                    "14280.00",
                ),
                OpenBreak(
                    '["B21E1E9A7D4ADBEA", "196000000000321", "1"]',
                    None,
                    "missing",
                    "recurring",
                    date(2026, 11, 21),
                    1,
                    2,
                    None,
                    None,
                ),
            ),
        ),
        files=FILES,
        timed=True,
    )


def _day(before: int) -> PastRun:
    """A run so many days before: most pass their gates, three fail, one is none."""
    run_id = uuid5(RUN, str(before))
    started = STARTED - timedelta(days=before + 1)
    if before == DAY_WITHOUT_FILES:
        return PastRun(run_id, started, "NO_FILES", 0.3, None)
    failed = before in DAYS_OF_TROUBLE
    differ = NORMAL[-1 - before] + 900 * failed
    missing, extra = 91 + before * 7 % 13 + 120 * failed, 60 + before * 5 % 11
    rows = 20_000 + before * 37 % 90
    result = PastResult(
        verdict="gates_failed" if failed else "differ",
        passed=not failed,
        rows_old=rows,
        rows_new=rows - missing + extra,
        matched=rows - missing,
        missing=missing,
        extra=extra,
        mismatched_rows=differ,
        mismatched_cells=differ + 70,
        accepted_rows=0,
    )
    found = missing + extra + differ
    counts = BreakCounts(
        new=80 + 700 * failed,
        recurring=found - 100 - 700 * failed,
        changed=18,
        resolved=75 + before * 11 % 17,
        reopened=2,
        unseen=12,
        gone=4,
        open=found + 12,
        oldest_days=3 + (len(NORMAL) - before) % 12,
        accepted=0,
        accepted_appeared=0,
        oldest_unaccepted_days=3 + (len(NORMAL) - before) % 12,
    )
    return PastRun(
        run_id, started, "SUCCEEDED", 1.4 + before * 7 % 5 / 10, result, counts
    )
