"""Turn a result into rows of the metrics tables, one list of dicts per table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recon_engine.findings import FINDINGS
from recon_engine.postgres.metrics_tables import (
    COLUMNS,
    GATES,
    RULES,
    SIGNATURES,
    SUPPRESSIONS,
)


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.model import Artifact
    from recon_engine.postgres.breaks import Observation
    from recon_engine.record_table import RecordTable, Row
    from recon_engine.result import Reconciliation


def build_metrics_rows(
    observation: Observation, artifacts: Sequence[Artifact]
) -> dict[str, list[Row]]:
    """The rows of each metrics table, by its name. Values are masked as in outputs."""
    result, run_id = observation.result, observation.run_id.bytes
    stamp = {"run_id": run_id, "run_date": observation.day}
    summary = {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in result.summary().items()
    }
    return {
        "recon_summary": [
            stamp
            | {"dataset": observation.dataset}
            | summary
            | {"strategy": result.engine.strategy, "seconds": result.engine.seconds}
        ],
        **{
            each.table: [stamp | row for row in each.rows_to_store(records)]
            for each, records in _list_records(result)
        },
        "mismatch_detail_sample": [
            stamp
            | {
                "ordinal": at,
                # Postgres' text cannot hold NUL.
                "key_text": row.key_text.replace("\0", ""),
                "key": json.dumps(row.key, ensure_ascii=False),
                "payload": json.dumps(row.payload, ensure_ascii=False),
            }
            for at, row in enumerate(result.sample)
        ],
        "artifact": [
            {
                "run_id": run_id,
                "name": each.name,
                "uri": each.uri,
                "sha256": each.sha256,
                "bytes": each.bytes,
                "rows": each.rows,
            }
            for each in artifacts
        ],
    }


def _list_records(
    result: Reconciliation,
) -> Iterator[tuple[RecordTable[Any], Sequence[Any]]]:
    """The records of a result, each kind with its table."""
    yield COLUMNS, result.by_column
    yield RULES, result.rules
    yield SIGNATURES, result.signatures
    yield GATES, result.gates
    yield SUPPRESSIONS, result.suppressed
    for finding in FINDINGS:
        yield finding, result.findings[finding]
