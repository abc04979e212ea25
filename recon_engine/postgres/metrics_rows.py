"""Turn a result into rows of the metrics tables, one list of dicts per table.

Control totals are not here: their numbers need SQL (publish.INSERT_TOTAL).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recon_engine.kinds import KINDS


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.model import Artifact, RuleCount, Suppressed
    from recon_engine.postgres.breaks import Observation
    from recon_engine.result import Reconciliation


Row = dict[str, Any]


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
        "mismatch_by_column": [
            stamp | {"column_name": row.pop("name"), "ordinal": at} | row
            for at, row in enumerate(_column_rows(result))
        ],
        "rule_count": [
            stamp | {"ordinal": at} | _rule(each)
            for at, each in enumerate(result.rules)
        ],
        "mismatch_signature": [
            stamp | {"ordinal": at, "columns": list(s.columns), "rows": s.rows}
            for at, s in enumerate(result.signatures)
        ],
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
        "gate_result": [
            stamp
            | {
                "ordinal": at,
                "gate": gate.gate,
                "passed": gate.passed,
                "value": _number_or_null(gate.value),
                "says": gate.text,
            }
            for at, gate in enumerate(result.gates)
        ],
        "suppression": [
            stamp | {"ordinal": at} | _suppression_row(each)
            for at, each in enumerate(result.suppressed)
        ],
        "mismatch_pattern": [
            stamp
            | {
                "column_name": column.column,
                "ordinal": ordinal,
                "place": place,
                "old_value": each.old,
                "new_value": each.new,
                "kind": each.kind,
                "rows": each.rows,
                "example": json.dumps(each.example, ensure_ascii=False),
                "distinct_changes": column.distinct,
            }
            for ordinal, column in enumerate(result.patterns)
            for place, each in enumerate(column.top)
        ],
        "segment": [
            stamp
            | {"ordinal": at, "differs": each.of, "column_name": each.column}
            | {name: getattr(each, name) for name in ("value", "rows", "share", "base")}
            for at, each in enumerate(result.segments)
        ],
        "hint": [
            stamp
            | {"ordinal": at, "kind": each.kind, "column_name": each.column}
            | {name: getattr(each, name) for name in ("flag", "count", "total", "text")}
            for at, each in enumerate(result.hints)
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


def _column_rows(result: Reconciliation) -> Iterator[Row]:
    for column in result.by_column:
        yield {
            "name": column.name,
            "compared": column.compared,
            "equal_exact": column.equal_exact,
            "tolerated": column.tolerated,
            "mismatched": column.mismatched,
            **{f"kind_{kind}": column.kinds.get(kind, 0) for kind in KINDS},
        }


def _rule(each: RuleCount) -> Row:
    return {
        "column_name": each.column,
        "rule": each.rule,
        "counted": each.of,
        "every_column": each.every,
        "old_read": each.old.read,
        "old_unread": each.old.unread,
        "new_read": each.new.read,
        "new_unread": each.new.unread,
        "made_equal": each.made_equal,
    }


def _number_or_null(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _suppression_row(each: Suppressed) -> Row:
    return {
        "what": each.suppression.what,
        "column_name": each.suppression.column,
        "kind": each.suppression.kind,
        "reason": each.suppression.reason,
        "owner": each.suppression.owner,
        "until_date": each.suppression.until,
        "most": each.suppression.max,
        "found": each.count,
        "state": each.state,
    }
