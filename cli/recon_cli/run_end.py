"""The end of a run: a summary for people, and an event for programs."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from recon_engine.command_line import quoted
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recon_engine.model import GateResult
    from recon_engine.pipeline.runner import Outcome


log = logging.getLogger("recon")

MIN_SHARE: Final = 0.01


class RunClock:
    """The wall time of a command that runs the pipeline, and how its run ended."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)
        self.outcome: Outcome | None = None
        # Whether the run is clean, in one line; empty if that is unknown.
        self.clean_state = ""
        # The settings that the result before it had otherwise, without the rules.
        self.changed_settings: list[str] = []
        # The home of an embedded database that did not exist before.
        self.created: Path | None = None
        # The options without which another command does not find the database.
        self.words: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began

    def format_seconds(self) -> str:
        """The wall time, with the share of each step.

        `2.41 s of the command: start 43%, …`; a history has the time without the start.
        """
        total = self.seconds
        if self.outcome is None or not self.outcome.steps:
            return f"{total:.2f} s"
        from recon_engine.formatting import format_percent

        # Until the attempt has its id: most of all, an embedded server starts.
        start = (self.outcome.record.started - self._began_at).total_seconds()
        steps = [("start", max(start, 0.0)), *self.outcome.steps]
        # What takes less than a hundredth is among the others.
        steps = [(name, part) for name, part in steps if part >= MIN_SHARE * total]
        steps.append(("other", max(total - sum(part for _, part in steps), 0.0)))
        shares = (
            f"{name} {format_percent(round(1e6 * part), round(1e6 * total))}"
            for name, part in steps
        )
        return f"{total:.2f} s of the command: {', '.join(shares)}"


@contextmanager
def log_run_end(dataset: str, *, dry_run: bool) -> Iterator[RunClock]:
    """Log the event `run_ended` when the block ends, however it ends."""
    clock = RunClock()
    code = 0
    try:
        yield clock
    except BaseException as ended:
        # `CommandEnded`, errors and signals have one.
        internal = STATUSES[RunStatus.INTERNAL_ERROR].exit_code
        code = int(getattr(ended, "exit_code", internal))
        raise
    finally:
        facts = {"dataset": dataset, "dry_run": dry_run, "exit_code": code}
        seconds = {"seconds": round(clock.seconds, 3)}
        log.info("run_ended", extra=facts | _facts_of(clock.outcome) | seconds)


def _facts_of(outcome: Outcome | None) -> dict[str, Any]:
    """How a run ended and what it measured; no value of a cell."""
    if outcome is None:
        return {}
    record, result = outcome.record, outcome.result
    facts: dict[str, Any] = {"run_id": str(record.run_id), "status": record.status}
    if record.recovered:
        facts["finished"] = [asdict(each) for each in record.recovered]
    if result is not None:
        facts |= {
            "verdict": result.verdict,
            "gates": [_facts_of_gate(each) for each in result.gates],
            "counts": {
                "old": result.old.rows,
                "new": result.new.rows,
                **asdict(result.counts),
            },
        }
    if outcome.breaks is not None and outcome.breaks.counts is not None:
        facts["breaks"] = asdict(outcome.breaks.counts)
    if outcome.steps:
        facts["steps"] = {name: round(each, 3) for name, each in outcome.steps}
    return facts


def _facts_of_gate(gate: GateResult) -> dict[str, Any]:
    """The gate and how it ended, with a count or a rate; a sum is of cell values."""
    facts: dict[str, Any] = {"gate": gate.gate, "passed": gate.passed}
    return facts if isinstance(gate.value, str) else facts | {"value": gate.value}


def format_summary(clock: RunClock, program: str) -> Iterator[str]:
    """The lines at the end of a run that has a result.

    `program`: how this program is called.
    """
    outcome = clock.outcome
    if outcome is None or outcome.result is None:
        return
    found = "".join(f" {quoted(word)}" for word in clock.words)
    yield f"time:      {clock.format_seconds()}"
    yield f"verdict:   {outcome.result.headline()}"
    if outcome.breaks is not None:
        from recon_engine.postgres.breaks import format_breaks

        yield f"breaks:    {format_breaks(outcome.breaks)}"
    if clock.changed_settings:
        names = ", ".join(clock.changed_settings)
        yield f"settings:  changed since the last result: {names}"
    if clock.clean_state:
        yield f"state:     {clock.clean_state}"
    if outcome.artifacts_at:
        yield f"artifacts: {outcome.artifacts_at}"
        yield f"report:    {outcome.artifacts_at}report.html"
        # That page is written before the breaks are known.
        command = f"{program} report {outcome.record.run_id}{found}"
        yield f"page:      {command} writes it with the state and the breaks"
    yield f"next:      {program} {_next_command(outcome)}{found}"


def _next_command(outcome: Outcome) -> str:
    dataset = f"--dataset {quoted(outcome.record.dataset)}"
    counts = outcome.breaks.counts if outcome.breaks else None
    # `breaks` leaves out what suppressions accept.
    if counts is None or not counts.unaccepted:
        return f"history {dataset}"
    if not counts.unaccepted_appeared:
        return f"breaks {dataset} --totals"
    states = ("new", counts.new), ("reopened", counts.reopened)
    appeared = (f" --state {state}" for state, count in states if count)
    return f"breaks {dataset}" + "".join(appeared)
