"""Write the metrics of a run for CloudWatch: one line of EMF on stderr.

EMF is CloudWatch's embedded metric format. The log driver of a task sends the line to
the log, and CloudWatch extracts the metrics; no agent and no further permission is
needed. RECON_METRICS_NAMESPACE is their namespace; without it no line is written. The
only dimension is the dataset.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ReconError
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recon_engine.config import RunConfig
    from recon_engine.pipeline.runner import Outcome
    from recon_engine.result import Reconciliation


NAMESPACE_VARIABLE: Final = "RECON_METRICS_NAMESPACE"
UNITS: Final[Mapping[str, str]] = {
    "RunSucceeded": "Count",
    "RunFailed": "Count",
    "RunSeconds": "Seconds",
    "OldRows": "Count",
    "NewRows": "Count",
    "MatchedRows": "Count",
    "MissingRows": "Count",
    "ExtraRows": "Count",
    "MismatchedRows": "Count",
    "MismatchedCells": "Count",
    "RejectedRows": "Count",
    "BytesRead": "Bytes",
    "PeakRssBytes": "Bytes",
    # CloudWatch has no unit for hours.
    "HoursSinceSuccess": "None",
}
# The run produced a result: the files agree or differ, or a gate failed.
RESULT_EXIT_CODES: Final = (0, 1)
UNFORESEEN: Final = STATUSES[RunStatus.INTERNAL_ERROR].exit_code


class RunMetrics:
    """The metrics of one run, collected until it ends."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._outcome: Outcome | None = None
        self._last_success: datetime | None = None

    def record_outcome(self, outcome: Outcome, config: RunConfig) -> None:
        """Record how the run ended; its database must still be open.

        A database error leaves out the time since the last success.
        """
        from recon_engine.postgres.run_log import last_success

        self._outcome = outcome
        with suppress(ReconError):
            self._last_success = last_success(config)

    def format_line(self, namespace: str, dataset: str, exit_code: int) -> str:
        """The EMF line, as JSON."""
        values = self._values(exit_code)
        metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
        directive = {
            "Namespace": namespace,
            "Dimensions": [["Dataset"]],
            "Metrics": metrics,
        }
        now = datetime.now(UTC)
        return json.dumps(
            {
                "_aws": {
                    # EMF counts milliseconds since 1970.
                    "Timestamp": int(now.timestamp() * 1000),
                    "CloudWatchMetrics": [directive],
                },
                "event": "run_measured",
                "Dataset": dataset,
                "exit_code": exit_code,
                **self._properties(),
                **values,
            }
        )

    def _properties(self) -> dict[str, str]:
        """Fields that can be searched in the log, and are not dimensions."""
        if self._outcome is None:
            return {}
        record = self._outcome.record
        return {"run_id": str(record.run_id), "status": record.status}

    def _values(self, exit_code: int) -> dict[str, float]:
        from recon_engine.runtime.memory import peak_rss_bytes

        ended = self._outcome
        succeeded = ended is not None and ended.record.status is RunStatus.SUCCEEDED
        values: dict[str, float] = {
            "RunSucceeded": int(succeeded),
            "RunFailed": int(exit_code not in RESULT_EXIT_CODES),
            "RunSeconds": round(time.monotonic() - self._began, 3),
            "PeakRssBytes": peak_rss_bytes(),
        }
        if ended is not None and ended.result is not None:
            values |= _result_metrics(ended.result)
        if self._last_success is not None:
            since = datetime.now(UTC) - self._last_success
            values["HoursSinceSuccess"] = round(since.total_seconds() / 3600, 3)
        return values


@contextmanager
def emit_metrics(dataset: str, *, emit: bool = True) -> Iterator[RunMetrics]:
    """Write the line when the block ends, with the exit code of its exception."""
    meter = RunMetrics()
    code = 0
    try:
        yield meter
    except BaseException as ended:
        # `CommandEnded`, errors and signals have one.
        code = getattr(ended, "exit_code", UNFORESEEN)
        raise
    finally:
        namespace = os.environ.get(NAMESPACE_VARIABLE)
        # Python has no `sys.stderr` if descriptor 2 is closed.
        if emit and namespace and sys.stderr is not None:
            sys.stderr.write(meter.format_line(namespace, dataset, code) + "\n")
            sys.stderr.flush()


def _result_metrics(result: Reconciliation) -> dict[str, float]:
    counts, sides = result.counts, (result.old, result.new)
    return {
        "OldRows": result.old.rows,
        "NewRows": result.new.rows,
        "MatchedRows": counts.matched,
        "MissingRows": counts.missing,
        "ExtraRows": counts.extra,
        "MismatchedRows": counts.mismatched_rows,
        "MismatchedCells": counts.mismatched_cells,
        "RejectedRows": sum(side.rejected for side in sides),
        "BytesRead": sum(side.bytes for side in sides),
    }
