"""Publish a run: rename its stage tables, and load its result into metrics by ADBC.

`stage.py` has loaded the tables under a name private to the run. Publishing renames
them, inserts the metrics and marks the run RECONCILED in one transaction on one
connection: readers see all of a run or nothing of it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import adbc_driver_manager
import pyarrow as pa

from recon_engine.errors import (
    CommitUnknown,
    DatabaseUnavailable,
    ReconError,
    TransientError,
)
from recon_engine.postgres import breaks
from recon_engine.postgres.claims import CLAIM, claimed_elsewhere
from recon_engine.postgres.connection import (
    open_bulk_connection,
    open_connection,
    translate_database_errors,
)
from recon_engine.postgres.metrics_rows import build_metrics_rows
from recon_engine.postgres.stage import StageTable, publish_table
from recon_engine.runtime.failpoints import failpoint
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.config import Address
    from recon_engine.model import Artifact, Breaks
    from recon_engine.postgres.breaks import Observation, Observed
    from recon_engine.record_table import Row


ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "bool": pa.bool_(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "text": pa.large_string(),
    "_text": pa.list_(pa.large_string()),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "jsonb": pa.json_(pa.large_string()),
    "uuid": pa.binary(16),
}


# Held from the first statement of a publication to its commit or rollback: publications
# of one dataset run one after the other. Two workers (of two inbound locations) would
# otherwise rename stage tables to the same name and interleave their breaks.
# A purge takes it too, before it drops the public tables. `{}`: the name.
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended({}, 0))::text"
UNIQUE_VIOLATION: Final = "23505"
# The type of exact sums, which has no equal in Arrow.
EXACT_NUMBER: Final = "numeric"
# Of every table at once: Postgres takes 5 ms to plan a query of
# `information_schema.columns`.
COLUMN_TYPES: Final = """
SELECT r.relname::text, c.attname::text, t.typname::text
FROM pg_catalog.pg_class r
JOIN pg_catalog.pg_attribute c ON c.attrelid = r.oid
JOIN pg_catalog.pg_type t ON t.oid = c.atttypid
WHERE r.relnamespace = 'metrics'::regnamespace AND r.relkind = 'r'
    AND c.attnum > 0 AND NOT c.attisdropped
"""
# The condition on the status decides between this statement and `run_log.INTERRUPT` or
# `run_log.ABANDON`: all update the same row. The second one to reach it waits for the
# first, and then finds another status.
MARK_RECONCILED: Final = """
UPDATE metrics.pipeline_run_log SET status = 'RECONCILED', step = 'archive',
    old_rows = $2, new_rows = $3, old_sha256 = $4, new_sha256 = $5
WHERE run_id = ($1::text)::uuid AND status = 'STARTED'
RETURNING status
"""
INSERT: Final = "INSERT INTO metrics.{} ({}) VALUES ({})"
# FOR SHARE waits for a transaction that holds the row, so it never reads a status that
# a commit in progress is about to change.
SELECT_STATUS: Final = (
    "SELECT status FROM metrics.pipeline_run_log WHERE run_id = %s FOR SHARE"
)
RECORDED_STATUSES: Final = frozenset({RunStatus.RECONCILED, RunStatus.SUCCEEDED})


class LostRace(Exception):
    """The pair already has a result, or the run was abandoned; nothing is recorded."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What one transaction makes visible, besides the stage tables.

    It is built before the transaction begins, to keep that short. `breaks_seen`: the
    breaks as Arrow tables, None if they are over the limit. `tracks`: whether breaks
    are tracked.
    """

    observation: Observation
    metrics: Mapping[str, list[Row]]
    breaks_seen: Observed | None
    tracks: bool

    @classmethod
    def of(
        cls, observation: Observation, artifacts: Sequence[Artifact], break_limit: int
    ) -> Publication:
        """The publication of an observation; a `break_limit` of 0 tracks no breaks."""
        found = breaks.observed(observation, break_limit) if break_limit else None
        return cls(
            observation,
            build_metrics_rows(observation, artifacts),
            found,
            break_limit > 0,
        )


def name_publish_lock(dataset: str) -> str:
    """The name of the lock that ONE_AT_A_TIME takes."""
    return f"recon.publish:{dataset}"


def publish_run(
    conninfo: Address, publication: Publication, stage: Sequence[StageTable]
) -> Breaks | None:
    """Make a run visible in one transaction; return the break counts if tracked.

    Raises LostRace if the pair already has a result, FileClaimed if another dataset has
    claimed one of the files, CommitUnknown if the outcome cannot be found out.

    The order matters. Marking the run comes first, so that a worker that lost the race
    writes nothing. Breaks need the metrics rows. Renaming the stage tables comes last:
    it takes ACCESS EXCLUSIVE locks, which block readers until the commit. A reader that
    holds a stage table longer than RECON_LOCK_TIMEOUT makes this DatabaseUnavailable.
    """
    observation = publication.observation
    with open_bulk_connection(conninfo) as connection:
        with closing(connection.cursor()) as cursor:
            # Before MARK_RECONCILED, which locks a row: all publications of a dataset
            # take these two in one order, so none can wait for another in a circle.
            lock = name_publish_lock(observation.dataset)
            cursor.execute(ONE_AT_A_TIME.format("$1"), (lock,))
            failpoint("publish-mark")
            _mark_reconciled(cursor, observation)
            failpoint("publish-claim")
            _claim_files(cursor, observation)
            failpoint("publish-metrics")
            tables = _read_column_types(cursor)
            for name, rows in publication.metrics.items():
                _insert_rows(cursor, name, tables[name], rows)
            failpoint("publish-breaks")
            tracked = _record_breaks(cursor, tables["break_summary"], publication)
            for table in stage:
                failpoint("publish-swap")
                publish_table(cursor, table, observation.run_id)
        failpoint("publish-commit")
        commit_error = _try_commit(connection)
    failpoint("publish-confirm")
    _confirm_commit(conninfo, observation.run_id, commit_error)
    return tracked


def _try_commit(connection: Any) -> ReconError | None:
    """Commit and return the error, if any: the commit may have succeeded all the same.

    A lost connection loses the reply, not the commit.
    """
    try:
        with translate_database_errors():
            connection.commit()
    except ReconError as error:
        return error
    return None


def _confirm_commit(
    conninfo: Address, run_id: UUID, commit_error: ReconError | None
) -> None:
    """Read on a new connection whether the commit took effect.

    The driver's answer is not enough in either direction: COMMIT of a failed
    transaction reports success and rolls back. A commit in progress is waited for.
    """
    try:
        with open_connection(conninfo) as connection:
            row = connection.execute(SELECT_STATUS, [run_id]).fetchone()
    except TransientError as error:
        raise CommitUnknown(
            "the reply to COMMIT was lost, and Postgres cannot be reached to check",
            why=error.why,
            help="run again: the next run finds out, and finishes the archive",
        ) from None
    if row is None or row[0] not in RECORDED_STATUSES:
        raise commit_error or DatabaseUnavailable(
            "Postgres rolled back the publication", help="run again"
        )


def _mark_reconciled(cursor: Any, observation: Observation) -> None:
    """Mark the run RECONCILED; LostRace if it was abandoned or its pair has a result.

    The unique index on the fingerprint of reconciled runs decides between two workers.
    """
    old, new = observation.result.old, observation.result.new
    values = (str(observation.run_id), old.rows, new.rows, old.sha256, new.sha256)
    try:
        cursor.execute(MARK_RECONCILED, values)
        marked = cursor.fetchone()
    except adbc_driver_manager.IntegrityError as error:
        if error.sqlstate != UNIQUE_VIOLATION:
            raise
        # Another run of the same work has been recorded since this one started.
        marked = None
    if marked is None:
        raise LostRace


def _claim_files(cursor: Any, observation: Observation) -> None:
    """Claim both files again: another dataset may hold the claim of the start by now.

    A run that lost its lock may have been abandoned, which releases its claim. In the
    transaction that records the result, the claim is as final as the result.
    """
    cursor.execute(CLAIM.format("($1::text)"), (str(observation.run_id),))
    taken = cursor.fetchall()
    if taken:
        raise claimed_elsewhere(taken)


def _record_breaks(
    cursor: Any, types: Mapping[str, str], publication: Publication
) -> Breaks | None:
    """Update the breaks, and record their counts in `metrics.break_summary`.

    `types`: of the columns of that table.
    """
    if not publication.tracks:
        return None
    observation = publication.observation
    tracked = breaks.track_breaks(cursor, observation, publication.breaks_seen)
    row = breaks.make_summary_row(observation, tracked)
    _insert_rows(cursor, "break_summary", types, [row])
    return tracked


def _insert_rows(
    cursor: Any, table: str, types: Mapping[str, str], rows: list[Row]
) -> None:
    """Insert the rows of one table in bulk; `types`: of its columns."""
    if not rows:
        return
    # A generated column has no value in the rows.
    types = {name: types[name] for name in rows[0]}
    if EXACT_NUMBER in types.values():
        _insert_as_text(cursor, table, types, rows)
    else:
        _ingest_rows(cursor, table, types, rows)


def _ingest_rows(
    cursor: Any, table: str, types: Mapping[str, str], rows: list[Row]
) -> None:
    """Ingest rows. ADBC converts no types, so each value gets its column's type."""
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in types.items()])
    data = pa.Table.from_pylist(rows, schema=schema)
    cursor.adbc_ingest(table, data, mode="append", db_schema_name="metrics")


def _insert_as_text(
    cursor: Any, table: str, types: Mapping[str, str], rows: list[Row]
) -> None:
    """Insert rows as texts: no Arrow decimal has as many digits as Postgres' numeric.

    A statement for each row, which is for tables of few rows: one for each column of
    the files at most.
    """
    casts = (f"(${at}::text)::{kind}" for at, kind in enumerate(types.values(), 1))
    statement = INSERT.format(table, ", ".join(types), ", ".join(casts))
    for row in rows:
        cursor.execute(statement, tuple(map(_as_sql_text, row.values())))


def _as_sql_text(value: object) -> str | None:
    if value is None:
        return None
    return str(UUID(bytes=value)) if isinstance(value, bytes) else str(value)


def _read_column_types(cursor: Any) -> dict[str, dict[str, str]]:
    """The type of each column of each metrics table."""
    cursor.execute(COLUMN_TYPES)
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in cursor.fetchall():
        found.setdefault(table, {})[column] = kind
    return found
