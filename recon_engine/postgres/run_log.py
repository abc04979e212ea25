"""The run log: a dataset's lock, recovery of dead runs, a row for every attempt."""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from recon_engine.aws.task import task_arn
from recon_engine.errors import Busy, ReconError
from recon_engine.model import SIDES, FilePair, RecoveredRun, RunRecord, SourceFile
from recon_engine.postgres.claims import CLAIM, claimed_elsewhere
from recon_engine.postgres.connection import open_connection, translate_database_errors
from recon_engine.postgres.history import is_unsettled
from recon_engine.runtime.failpoints import failpoint
from recon_engine.status import STATUSES, RunStatus, exit_code_of, status_of
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from recon_engine.config import RunConfig
    from recon_engine.errors import Interrupted


# A recorded result can only succeed: no later error takes it back.
ALLOWED_FROM = {RunStatus.SUCCEEDED: [RunStatus.RECONCILED]}

# A session lock: Postgres releases it when the connection ends, also of a dead worker.
LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# Only with LOCK held: then no living worker of this dataset and inbound is STARTED.
ABANDON = """
UPDATE metrics.pipeline_run_log SET status = 'ABANDONED', finished_ts = now(),
    error_message = 'the worker died before it recorded a result'
WHERE dataset = %s AND config->>'inbound' = %s AND status = 'STARTED'
RETURNING run_id
"""
UNFINISHED = """
SELECT * FROM metrics.pipeline_run_log
WHERE dataset = %s AND config->>'inbound' = %s AND status = 'RECONCILED'
ORDER BY run_ts
"""
# Without LOCK: the worker still holds it. The condition on the status decides between
# this statement and publish.MARK_RECONCILED, which updates the same row.
INTERRUPT = """
UPDATE metrics.pipeline_run_log SET status = 'INTERRUPTED', exit_code = %s,
    error_code = 'INTERRUPTED', error_message = %s, finished_ts = now()
WHERE run_id = %s AND status = 'STARTED'
"""
# Only from some statuses (ALLOWED_FROM): an abandoned or interrupted run stays what it
# is, even if its worker is alive and ends later.
CLOSE = """
UPDATE metrics.pipeline_run_log SET status = %s, exit_code = %s, error_code = %s,
    error_message = %s, finished_ts = %s, step = %s
WHERE run_id = %s AND status = ANY(%s)
"""
VERDICT = "SELECT verdict, created_ts FROM metrics.recon_summary WHERE run_id = %s"
INSERT_PART = """
INSERT INTO metrics.run_part (run_id, side, number, uri, name, version, etag, size)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
PARTS = """
SELECT side, uri, name, size, etag, version FROM metrics.run_part
WHERE run_id = %s ORDER BY side, number
"""
LAST_SUCCESS = """
SELECT max(finished_ts) FROM metrics.pipeline_run_log
WHERE dataset = %s AND status = 'SUCCEEDED'
"""
RESULT = """
SELECT run_id FROM metrics.pipeline_run_log
WHERE run_fp = %s AND status IN ('RECONCILED', 'SUCCEEDED')
"""
# The last published result of files with the names of those of a run, whatever their
# bytes and the options, and its feed.
LAST_RESULT = """
SELECT r.run_id, coalesce(r.config->>'feed', 'incremental')
FROM metrics.pipeline_run_log own
    JOIN metrics.pipeline_run_log r USING (dataset, old_uri, new_uri)
    JOIN metrics.recon_summary s ON s.run_id = r.run_id
WHERE own.run_id = %s
ORDER BY s.created_ts DESC, r.run_id DESC LIMIT 1
"""


@dataclass(slots=True)
class Run:
    """One attempt: its id, its pair, and the time of each step.

    `steps`: name, start and seconds of each finished step. `rules`: each rule of the
    options, with the content that its code table had at the start.
    """

    run_id: UUID
    dataset: str
    started: datetime
    pair: FilePair | None = None
    revision: int = 1
    steps: list[tuple[str, datetime, float]] = field(default_factory=list)
    rules: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step of the pipeline, also if it fails."""
        began, clock = datetime.now(UTC), time.monotonic()
        try:
            yield
        finally:
            self.steps.append((name, began, time.monotonic() - clock))


class RunLog:
    """The run log of one dataset and inbound location.

    Call the recovery methods only inside `locked()`: without the lock, a run that looks
    dead may be alive.

    `recovered`: the runs that were finished here. No run has reported their result, so
    the records of this run name them, and have exit code 1 in place of 0 if one failed.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        config: RunConfig,
        recovered: tuple[RecoveredRun, ...] = (),
    ) -> None:
        self.connection = connection
        self.config = config
        self.recovered = recovered

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of dataset and inbound for the block; Busy if another has it.

        The lock only saves work. The unique index on the fingerprint keeps a pair from
        being recorded twice, even if the lock was lost.
        """
        name = f"recon:{self.config.dataset}:{self.config.inbound}"
        with translate_database_errors():
            row = self.connection.execute(LOCK, [name]).fetchone()
        if not (row and row[0]):
            raise Busy(
                f"another worker is reconciling {self.config.dataset}",
                why=f"it holds the lock of {self.config.inbound}",
                help="wait for it to end, or stop it, then run again",
            )
        try:
            yield
        finally:
            # Closing the connection releases the lock too, but Postgres may notice that
            # only after the next run has asked for it.
            with suppress(ReconError), translate_database_errors():
                self.connection.execute(UNLOCK, [name])

    def abandon_dead_runs(self) -> list[UUID]:
        """Mark runs that started and never ended as ABANDONED; return their ids."""
        failpoint("recover-abandon")
        with translate_database_errors():
            rows = self.connection.execute(ABANDON, self._place).fetchall()
        return [row[0] for row in rows]

    def unfinished(self) -> list[Run]:
        """Runs whose result is recorded and whose inputs may still be in inbound."""
        with translate_database_errors():
            cursor = self.connection.execute(UNFINISHED, self._place)
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [
            Run(
                row["run_id"],
                row["dataset"],
                row["run_ts"],
                _pair_from_row(row, self._parts_of(row["run_id"])),
                row["revision"],
            )
            for row in rows
        ]

    def finish(self, run: Run, warning: ReconError | None) -> RecoveredRun:
        """Log that a run of `unfinished` is archived.

        It ended when its result was published, as far as is known: how long its worker
        lived after that is not.
        """
        record = self._judge(run, RunStatus.SUCCEEDED, warning)
        verdict, published = self._read_verdict(run.run_id)
        record = replace(record, finished=max(run.started, published or run.started))
        recovered = RecoveredRun(
            run.run_id,
            verdict or "no verdict",
            # A warning decides the exit code, and hides that the result fails.
            self._fails(run.run_id) if warning else record.failed,
            warning.status if warning else None,
        )
        # Nothing is asked after it: no later run finishes this one again, and one that
        # is interrupted from now on names it.
        self._close(run, RunStatus.SUCCEEDED, record, warning)
        self.recovered += (recovered,)
        return recovered

    def with_recovered(self, record: RunRecord) -> RunRecord:
        """The record of this run, which names the runs that were finished first."""
        clauses = (each.describe() for each in self.recovered)
        message = "; ".join(filter(None, (record.message, *clauses)))
        failed = any(each.failed for each in self.recovered)
        return replace(
            record,
            exit_code=record.exit_code or int(failed),
            message=message or None,
            recovered=self.recovered,
        )

    def results_of(self, pair: FilePair) -> list[UUID]:
        """The runs that reconciled this pair with these options, by revision."""
        found: list[UUID] = []
        # Revisions have no gaps: one is started only after all before it are recorded.
        while run_id := self.result_of(pair, 1 + len(found)):
            found.append(run_id)
        return found

    def result_of(self, pair: FilePair, revision: int) -> UUID | None:
        """The run that recorded this revision of a pair's result, if there is one."""
        with translate_database_errors():
            row = self.connection.execute(
                RESULT, [fingerprint_work(self.config, pair, revision)]
            ).fetchone()
        return row[0] if row else None

    def is_last(self, result: UUID) -> bool:
        """Whether a recorded result is the last one of its names, with this feed.

        If it is not, other settings have been applied to the pair since, or other bytes
        were delivered under its names: what was recorded is not the present state.
        """
        with translate_database_errors():
            row = self.connection.execute(LAST_RESULT, [result]).fetchone()
        return row == (result, self.config.feed)

    def start(self, pair: FilePair, revision: int = 1) -> Run:
        """Log that work on a pair starts, and claim both files for the dataset.

        Raises FileClaimed, and writes no row, if another dataset has claimed one.
        """
        run = new_run(self.config.dataset, pair, revision)
        # Before the fingerprint and the row, which read code tables again: one that is
        # replaced later differs from this.
        run.rules = self.config.options.rules_by_content
        run_fp = fingerprint_work(self.config, pair, revision)
        with translate_database_errors():
            row = self.connection.execute(
                "SELECT count(*) FROM metrics.pipeline_run_log WHERE run_fp = %s",
                [run_fp],
            ).fetchone()
        failpoint("start")
        # One transaction: a run that is STARTED has its claims, and a refused claim
        # leaves no run that the next worker would have to abandon.
        with translate_database_errors(), self.connection.transaction():
            self._insert(
                run,
                status=RunStatus.STARTED,
                run_fp=run_fp,
                revision=revision,
                attempt=1 + (row[0] if row else 0),
                step="fetch",
                **_pair_columns(pair),
            )
            self._insert_parts(run.run_id, pair)
            failpoint("claim")
            taken = self.connection.execute(CLAIM.format("%s"), [run.run_id]).fetchall()
            if taken:
                raise claimed_elsewhere(taken)
        return run

    def record_without_pair(
        self,
        status: RunStatus,
        message: str | None,
        error: ReconError | None = None,
        result: UUID | None = None,
    ) -> RunRecord:
        """Log an attempt that ended before it worked on a pair.

        `result`: the earlier run whose result it reports. The exit code is 1 if that
        fails, by a gate, a suppression or `fail_on_diff`.
        """
        run = new_run(self.config.dataset)
        record = make_record(run, self.config, status, message, error)
        error_code = None if record.exit_code == 0 else record.status
        record = self.with_recovered(self._with_exit_code_of(result, record))
        failpoint("note")
        self._insert(
            run,
            status=status,
            exit_code=record.exit_code,
            error_code=error_code,
            error_message=record.message,
            finished_ts=record.finished,
        )
        return record

    def close(
        self,
        run: Run,
        status: RunStatus,
        error: ReconError | None = None,
        result: UUID | None = None,
    ) -> RunRecord:
        """Log how a run ended. SUCCEEDED with an error means a warning.

        A run whose result fails is SUCCEEDED with exit code 1. `result`: the run that
        recorded the result of the pair, if it was another one.
        """
        record = self.with_recovered(self._judge(run, status, error, result))
        self._close(run, status, record, error)
        return record

    def _judge(
        self,
        run: Run,
        status: RunStatus,
        error: ReconError | None,
        result: UUID | None = None,
    ) -> RunRecord:
        # Errors of recon_engine quote no cell, so their messages may be stored.
        message = error.message if error else None
        record = make_record(run, self.config, status, message, error)
        return self._with_exit_code_of(result or run.run_id, record)

    def _close(
        self, run: Run, status: RunStatus, record: RunRecord, error: ReconError | None
    ) -> None:
        failpoint("close")
        with translate_database_errors():
            self.connection.execute(
                CLOSE,
                [
                    status,
                    record.exit_code,
                    error.status if error else None,
                    record.message,
                    record.finished,
                    run.steps[-1][0] if run.steps else None,
                    run.run_id,
                    ALLOWED_FROM.get(status, [RunStatus.STARTED]),
                ],
            )
            failpoint("close-steps")
            self.connection.cursor().executemany(
                "INSERT INTO metrics.run_step VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [(run.run_id, *step) for step in run.steps],
            )

    def interrupt(self, run: Run, error: Interrupted) -> RunRecord | None:
        """Log that a run was interrupted, so that its worker can no longer publish.

        None if it has already published. Raises DatabaseUnavailable if its publication
        is in progress, as that holds the row.
        """
        record = make_record(
            run, self.config, RunStatus.INTERRUPTED, error.message, error
        )
        record = self.with_recovered(record)
        failpoint("interrupt")
        with translate_database_errors():
            # The process is about to exit: wait for the row no longer than a person
            # would wait for Ctrl-C.
            self.connection.execute("SET lock_timeout = '300ms'")
            stopped = self.connection.execute(
                INTERRUPT, [record.exit_code, record.message, run.run_id]
            )
        return record if stopped.rowcount else None

    def _with_exit_code_of(self, result: UUID | None, record: RunRecord) -> RunRecord:
        """The record with exit code 1 if it is 0 and a recorded result fails."""
        if record.exit_code or result is None:
            return record
        failed = self._fails(result)
        return replace(record, exit_code=int(failed), failed=failed)

    def _fails(self, result: UUID) -> bool:
        """Whether a recorded result ends a run with exit code 1."""
        verdict, _ = self._read_verdict(result)
        if verdict == "gates_failed":
            return True
        with translate_database_errors():
            return self.config.fail_on_diff and is_unsettled(self.connection, result)

    def _read_verdict(self, result: UUID) -> tuple[str | None, datetime | None]:
        """The verdict of a recorded result and its time; None without one."""
        with translate_database_errors():
            row = self.connection.execute(VERDICT, [result]).fetchone()
        return row or (None, None)

    def _insert_parts(self, run_id: UUID, pair: FilePair) -> None:
        """Log the parts of each side, and the done files, if there are any."""
        sets = {"old": pair.old.parts, "new": pair.new.parts, "done": pair.done}
        self.connection.cursor().executemany(
            INSERT_PART,
            [
                (run_id, side, number, f.uri, f.name, f.version, f.etag, f.size)
                for side, files in sets.items()
                for number, f in enumerate(files, 1)
            ],
        )

    def _parts_of(self, run_id: UUID) -> dict[str, tuple[SourceFile, ...]]:
        """The parts and done files that a run has logged, by side."""
        with translate_database_errors():
            rows = self.connection.execute(PARTS, [run_id]).fetchall()
        parts = dict[str, tuple[SourceFile, ...]]()
        for side, uri, name, size, etag, version in rows:
            file = SourceFile(uri, name, size, etag, version)
            parts[side] = (*parts.get(side, ()), file)
        return parts

    @property
    def _place(self) -> tuple[str, str]:
        return self.config.dataset, self.config.inbound

    def _insert(self, run: Run, **values: Any) -> None:
        row = {
            "run_id": run.run_id,
            "dataset": run.dataset,
            "run_ts": run.started,
            "run_date": run.started.date(),
            "host": platform.node(),
            "task_arn": task_arn(),
            "engine_version": __version__,
            "config": json.dumps(self.config.public),
            **values,
        }
        columns = ", ".join(row)
        slots = ", ".join(["%s"] * len(row))
        with translate_database_errors():
            self.connection.execute(
                f"INSERT INTO metrics.pipeline_run_log ({columns}) VALUES ({slots})",  # noqa: S608
                list(row.values()),
            )


@contextmanager
def open_locked(
    config: RunConfig, recovered: tuple[RecoveredRun, ...] = ()
) -> Iterator[RunLog]:
    """Open the run log on a new connection, without the lock.

    The worker then takes the lock. The main thread uses a second one, to record an
    interruption while the worker still holds the lock; `recovered`: what that worker
    has finished.
    """
    with open_connection(config.database) as connection:
        yield RunLog(connection, config, recovered)


def last_success(config: RunConfig) -> datetime | None:
    """When a run of the dataset last SUCCEEDED; None if none has."""
    with open_connection(config.database) as connection, translate_database_errors():
        row = connection.execute(LAST_SUCCESS, [config.dataset]).fetchone()
    return row[0] if row else None


def fingerprint_work(config: RunConfig, pair: FilePair, revision: int = 1) -> str:
    """A hash that is equal for the same work: dataset, inputs, options, revision."""
    sides = [[file.pin for file in side.files] for side in (pair.old, pair.new)]
    # A side of one file is written as in versions without parts.
    inputs = [side[0] if len(side) == 1 else side for side in sides]
    work = [config.dataset, inputs, config.options.digest]
    # Without a number for revision 1, fingerprints of earlier versions remain valid.
    text = json.dumps(work if revision == 1 else [*work, revision])
    return hashlib.sha256(text.encode()).hexdigest()


def new_run(dataset: str, pair: FilePair | None = None, revision: int = 1) -> Run:
    """A run that starts now, with a new id."""
    return Run(make_uuid7(), dataset, datetime.now(UTC), pair, revision)


def make_record(
    run: Run,
    config: RunConfig,
    status: RunStatus,
    message: str | None = None,
    error: ReconError | None = None,
) -> RunRecord:
    """How a run ended; NO_FILES has exit code 3 only with `fail_on_no_files`."""
    if error is not None:
        status, code = status_of(error), exit_code_of(error)
    elif status is RunStatus.NO_FILES and config.fail_on_no_files:
        code = 3
    else:
        code = STATUSES[status].exit_code
    now = datetime.now(UTC)
    return RunRecord(run.run_id, run.dataset, status, code, run.started, now, message)


def make_uuid7() -> UUID:
    """A time-ordered UUID of version 7 (RFC 9562); uuid.uuid7 needs Python 3.14."""
    # 48 bits of milliseconds, then the version, 12 random bits, the variant and 62
    # random bits. Ids sort by start, so their index grows at one end.
    value = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(3 << 62) | 2 << 62)


def _pair_columns(pair: FilePair) -> dict[str, Any]:
    return {
        f"{side}_{fact}": getattr(file, fact)
        for side, file in zip(SIDES, (pair.old, pair.new), strict=True)
        for fact in ("uri", "name", "version", "etag", "size")
    }


def _pair_from_row(
    row: dict[str, Any], parts: Mapping[str, tuple[SourceFile, ...]]
) -> FilePair:
    old, new = (
        SourceFile(
            uri=row[f"{side}_uri"],
            name=row[f"{side}_name"],
            size=row[f"{side}_size"],
            etag=row[f"{side}_etag"],
            version=row[f"{side}_version"],
            parts=parts.get(side, ()),
        )
        for side in SIDES
    )
    return FilePair(old, new, parts.get("done", ()))
