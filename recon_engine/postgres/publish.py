"""Steps 5 and 8: both files into stage, and the result into metrics, in bulk by ADBC.

Stage tables are loaded under a name private to the run. Publishing renames them,
inserts the metrics and marks the run RECONCILED in one transaction on one connection:
readers see all of a run or nothing of it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
from recon_engine.postgres.metrics_rows import Row, build_metrics_rows
from recon_engine.postgres.stage import StageTable, publish_table
from recon_engine.runtime.failpoints import failpoint
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from recon_engine.config import Address
    from recon_engine.model import Artifact, Breaks
    from recon_engine.postgres.breaks import Observation, Observed


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


# Two workers on one dataset would otherwise rename to the same name at once.
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text"
UNIQUE_VIOLATION: Final = "23505"
MARK_RECONCILED: Final = """
UPDATE metrics.pipeline_run_log SET status = 'RECONCILED', step = 'archive',
    old_rows = $2, new_rows = $3, old_sha256 = $4, new_sha256 = $5
WHERE run_id = ($1::text)::uuid AND status = 'STARTED'
RETURNING status
"""
INSERT_TOTAL: Final = """
INSERT INTO metrics.control_total (
    run_id, run_date, column_name, ordinal,
    old_total, new_total, missing_total, extra_total
) VALUES (
    ($1::text)::uuid, ($2::text)::date, $3::text, ($4::text)::integer,
    ($5::text)::numeric, ($6::text)::numeric, ($7::text)::numeric, ($8::text)::numeric
)
"""
SELECT_STATUS: Final = (
    "SELECT status FROM metrics.pipeline_run_log WHERE run_id = %s FOR SHARE"
)
RECORDED_STATUSES: Final = frozenset({RunStatus.RECONCILED, RunStatus.SUCCEEDED})


class LostRace(Exception):
    """The pair has a result, or this run was given up: nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What one transaction makes visible, besides stage.

    It is made before, so that the transaction is short. `found`: what the look tells of
    breaks; `tracks`: whether any are to be tracked.
    """

    look: Observation
    metrics: Mapping[str, list[Row]]
    found: Observed | None
    tracks: bool

    @classmethod
    def of(
        cls, look: Observation, artifacts: Sequence[Artifact], break_limit: int
    ) -> Publication:
        """Everything about a look at the differences of a dataset."""
        found = breaks.observed(look, break_limit) if break_limit else None
        return cls(look, build_metrics_rows(look, artifacts), found, break_limit > 0)


def publish_run(
    conninfo: Address, publication: Publication, stage: Sequence[StageTable]
) -> Breaks | None:
    """Make a run visible, whole; raises LostRace when its pair has a result already.

    FileClaimed when another dataset has one of its files. Answers what became of the
    breaks, unless none are tracked.

    Readers of stage are shut out only at its end, for as long as two renames take. A
    reader who keeps them locked for `RECON_LOCK_TIMEOUT` makes it DatabaseUnavailable.
    """
    look = publication.look
    with open_bulk_connection(conninfo) as connection:
        with closing(connection.cursor()) as cursor:
            cursor.execute(ONE_AT_A_TIME, (f"recon.publish:{look.dataset}",))
            failpoint("publish-mark")
            _mark_reconciled(cursor, look)
            failpoint("publish-claim")
            _claim_files(cursor, look)
            failpoint("publish-metrics")
            for name, rows in publication.metrics.items():
                _insert_rows(cursor, name, rows)
            _insert_totals(cursor, look)
            failpoint("publish-breaks")
            tracked = _record_breaks(cursor, publication)
            for table in stage:
                failpoint("publish-swap")
                publish_table(cursor, table)
        failpoint("publish-commit")
        unheard = _try_commit(connection)
    failpoint("publish-confirm")
    _confirm_commit(conninfo, look.run_id, unheard)
    return tracked


def _try_commit(connection: Any) -> ReconError | None:
    """Commit; what went wrong is no answer yet, for only its reply may be lost."""
    try:
        with translate_database_errors():
            connection.commit()
    except ReconError as error:
        return error
    return None


def _confirm_commit(
    conninfo: Address, run_id: UUID, unheard: ReconError | None
) -> None:
    """A commit after an error returns without one and rolls back: ask, never assume.

    One that is still in the balance is waited for.
    """
    try:
        with open_connection(conninfo) as connection:
            row = connection.execute(SELECT_STATUS, [run_id]).fetchone()
    except TransientError as error:
        raise CommitUnknown(
            "the reply to COMMIT was lost, and Postgres cannot be asked what it was",
            why=error.why,
            help="run again: that run finds out, and finishes the archive",
        ) from None
    if row is None or row[0] not in RECORDED_STATUSES:
        raise unheard or DatabaseUnavailable(
            "Postgres rolled the publication back", help="run again"
        )


def _mark_reconciled(cursor: Any, look: Observation) -> None:
    """First of all, so that a worker that has lost writes nothing."""
    old, new = look.result.old, look.result.new
    values = (str(look.run_id), old.rows, new.rows, old.sha256, new.sha256)
    try:
        cursor.execute(MARK_RECONCILED, values)
        marked = cursor.fetchone()
    except adbc_driver_manager.IntegrityError as error:
        if error.sqlstate != UNIQUE_VIOLATION:
            raise
        marked = None
    if marked is None:
        raise LostRace


def _claim_files(cursor: Any, look: Observation) -> None:
    """Claim both files anew, for the claim of the start may be another's by now.

    A run that lost its lock may have been given up and its claim may have passed on. In
    the transaction that records the result, the claim is as final as the result.
    """
    cursor.execute(CLAIM.format("($1::text)"), (str(look.run_id),))
    taken = cursor.fetchall()
    if taken:
        raise claimed_elsewhere(taken)


def _record_breaks(cursor: Any, publication: Publication) -> Breaks | None:
    """Carry the breaks on, and record what became of them."""
    if not publication.tracks:
        return None
    look = publication.look
    tracked = breaks.track_breaks(cursor, look, publication.found)
    _insert_rows(cursor, "break_summary", [breaks.make_summary_row(look, tracked)])
    return tracked


def _insert_rows(cursor: Any, table: str, rows: list[Row]) -> None:
    """Ingest rows, each value in the exact type of its column: ADBC checks none."""
    if rows:
        types = _column_types(cursor, table)
        data = pa.Table.from_pylist(
            rows, schema=pa.schema([(name, types[name]) for name in rows[0]])
        )
        cursor.adbc_ingest(table, data, mode="append", db_schema_name="metrics")


def _insert_totals(cursor: Any, look: Observation) -> None:
    """As text: of Arrow's numbers none has as many digits as one of Postgres may."""
    stamp = str(look.run_id), str(look.day)
    for at, each in enumerate(look.result.totals):
        sums = [f"{value:f}" for value in each.parts().values()]
        cursor.execute(INSERT_TOTAL, (*stamp, each.column, str(at), *sums))


def _column_types(cursor: Any, table: str) -> dict[str, pa.DataType]:
    cursor.execute(
        "SELECT column_name::text, udt_name::text FROM information_schema.columns"
        " WHERE table_schema = 'metrics' AND table_name = $1",
        (table,),
    )
    return {name: ARROW_TYPES[kind] for name, kind in cursor.fetchall()}
