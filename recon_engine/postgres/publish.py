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
from recon_engine.postgres.connection import bulk, classified, connect
from recon_engine.postgres.metrics_rows import Row, _metrics
from recon_engine.postgres.stage import StageTable, _swap
from recon_engine.runtime.failpoints import reached
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from recon_engine.config import Address
    from recon_engine.model import Artifact, Breaks
    from recon_engine.postgres.breaks import Look, Observed


ARROW: Final[Mapping[str, pa.DataType]] = {
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
RECONCILED: Final = """
UPDATE metrics.pipeline_run_log SET status = 'RECONCILED', step = 'archive',
    old_rows = $2, new_rows = $3, old_sha256 = $4, new_sha256 = $5
WHERE run_id = ($1::text)::uuid AND status = 'STARTED'
RETURNING status
"""
TOTAL: Final = """
INSERT INTO metrics.control_total (
    run_id, run_date, column_name, ordinal,
    old_total, new_total, missing_total, extra_total
) VALUES (
    ($1::text)::uuid, ($2::text)::date, $3::text, ($4::text)::integer,
    ($5::text)::numeric, ($6::text)::numeric, ($7::text)::numeric, ($8::text)::numeric
)
"""
STATUS: Final = (
    "SELECT status FROM metrics.pipeline_run_log WHERE run_id = %s FOR SHARE"
)
RECORDED: Final = frozenset({RunStatus.RECONCILED, RunStatus.SUCCEEDED})


class LostRace(Exception):
    """The pair has a result, or this run was given up: nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What one transaction makes visible, besides stage.

    It is made before, so that the transaction is short. `found`: what the look tells of
    breaks; `tracks`: whether any are to be tracked.
    """

    look: Look
    metrics: Mapping[str, list[Row]]
    found: Observed | None
    tracks: bool

    @classmethod
    def of(
        cls, look: Look, artifacts: Sequence[Artifact], break_limit: int
    ) -> Publication:
        """Everything about a look at the differences of a dataset."""
        found = breaks.observed(look, break_limit) if break_limit else None
        return cls(look, _metrics(look, artifacts), found, break_limit > 0)


def publish(
    conninfo: Address, publication: Publication, stage: Sequence[StageTable]
) -> Breaks | None:
    """Make a run visible, whole; raises LostRace when its pair has a result already.

    FileClaimed when another dataset has one of its files. Answers what became of the
    breaks, unless none are tracked.

    Readers of stage are shut out only at its end, for as long as two renames take. A
    reader who keeps them locked for `RECON_LOCK_TIMEOUT` makes it DatabaseUnavailable.
    """
    look = publication.look
    with bulk(conninfo) as connection:
        with closing(connection.cursor()) as cursor:
            cursor.execute(ONE_AT_A_TIME, (f"recon.publish:{look.dataset}",))
            reached("publish-mark")
            _mark_reconciled(cursor, look)
            reached("publish-claim")
            _claim_files(cursor, look)
            reached("publish-metrics")
            for name, rows in publication.metrics.items():
                _insert(cursor, name, rows)
            _insert_totals(cursor, look)
            reached("publish-breaks")
            tracked = _track(cursor, publication)
            for table in stage:
                reached("publish-swap")
                _swap(cursor, table)
        reached("publish-commit")
        unheard = _commit(connection)
    reached("publish-confirm")
    _confirm(conninfo, look.run_id, unheard)
    return tracked


def _commit(connection: Any) -> ReconError | None:
    """Commit; what went wrong is no answer yet, for only its reply may be lost."""
    try:
        with classified():
            connection.commit()
    except ReconError as error:
        return error
    return None


def _confirm(conninfo: Address, run_id: UUID, unheard: ReconError | None) -> None:
    """A commit after an error returns without one and rolls back: ask, never assume.

    One that is still in the balance is waited for.
    """
    try:
        with connect(conninfo) as connection:
            row = connection.execute(STATUS, [run_id]).fetchone()
    except TransientError as error:
        raise CommitUnknown(
            "the reply to COMMIT was lost, and Postgres cannot be asked what it was",
            why=error.why,
            help="run again: that run finds out, and finishes the archive",
        ) from None
    if row is None or row[0] not in RECORDED:
        raise unheard or DatabaseUnavailable(
            "Postgres rolled the publication back", help="run again"
        )


def _mark_reconciled(cursor: Any, look: Look) -> None:
    """First of all, so that a worker that has lost writes nothing."""
    old, new = look.result.old, look.result.new
    values = (str(look.run_id), old.rows, new.rows, old.sha256, new.sha256)
    try:
        cursor.execute(RECONCILED, values)
        marked = cursor.fetchone()
    except adbc_driver_manager.IntegrityError as error:
        if error.sqlstate != UNIQUE_VIOLATION:
            raise
        marked = None
    if marked is None:
        raise LostRace


def _claim_files(cursor: Any, look: Look) -> None:
    """Claim both files anew, for the claim of the start may be another's by now.

    A run that lost its lock may have been given up and its claim may have passed on. In
    the transaction that records the result, the claim is as final as the result.
    """
    cursor.execute(CLAIM.format("($1::text)"), (str(look.run_id),))
    taken = cursor.fetchall()
    if taken:
        raise claimed_elsewhere(taken)


def _track(cursor: Any, publication: Publication) -> Breaks | None:
    """Carry the breaks on, and record what became of them."""
    if not publication.tracks:
        return None
    look = publication.look
    tracked = breaks.track(cursor, look, publication.found)
    _insert(cursor, "break_summary", [breaks.summary(look, tracked)])
    return tracked


def _insert(cursor: Any, table: str, rows: list[Row]) -> None:
    """Ingest rows, each value in the exact type of its column: ADBC checks none."""
    if rows:
        types = _types(cursor, table)
        data = pa.Table.from_pylist(
            rows, schema=pa.schema([(name, types[name]) for name in rows[0]])
        )
        cursor.adbc_ingest(table, data, mode="append", db_schema_name="metrics")


def _insert_totals(cursor: Any, look: Look) -> None:
    """As text: of Arrow's numbers none has as many digits as one of Postgres may."""
    stamp = str(look.run_id), str(look.day)
    for at, each in enumerate(look.result.totals):
        sums = [f"{value:f}" for value in each.parts().values()]
        cursor.execute(TOTAL, (*stamp, each.column, str(at), *sums))


def _types(cursor: Any, table: str) -> dict[str, pa.DataType]:
    cursor.execute(
        "SELECT column_name::text, udt_name::text FROM information_schema.columns"
        " WHERE table_schema = 'metrics' AND table_name = $1",
        (table,),
    )
    return {name: ARROW[kind] for name, kind in cursor.fetchall()}
