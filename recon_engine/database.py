"""Steps 5 and 8: both files into stage, and the result into metrics, in bulk by ADBC.

Stage tables are loaded under a name private to the run. Publishing renames them,
inserts the metrics and marks the run RECONCILED in one transaction on one connection:
readers see all of a run or nothing of it.
"""

from __future__ import annotations

import json
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import adbc_driver_manager
import polars as pl
import psycopg
import pyarrow as pa

from recon_engine import breaks
from recon_engine.claims import CLAIM, claimed_elsewhere
from recon_engine.config import StageLoader
from recon_engine.errors import (
    CommitUnknown,
    DatabaseUnavailable,
    InternalError,
    ReconError,
    TransientError,
)
from recon_engine.failpoint import reached
from recon_engine.kinds import KINDS
from recon_engine.parallel import in_order
from recon_engine.postgres import bulk, classified, connect
from recon_engine.progress import ignore
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from recon_engine.breaks import Look, Observed
    from recon_engine.config import Address
    from recon_engine.csvfile import CsvFile, Part
    from recon_engine.model import Artifact, Breaks, RuleCount, Suppressed
    from recon_engine.reconciliation import Reconciliation


# Wider batches keep encoding and sending from overlapping; narrower ones cost calls.
BATCH_ROWS: Final = 5_000
COPY_BYTES: Final = 1 << 17

# Postgres: names of 63 bytes, and a row that fits a page. As few as 388 columns of 20
# characters do not fit, whatever the types; at 387 every length tried did.
NAME_BYTES: Final = 63
WIDEST: Final = 387
SYSTEM: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

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

# How long tidying up waits for anyone; all else waits as long as the session may.
ORPHAN_TIMEOUT: Final = "1s"

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
ORPHANS: Final = """
SELECT t.tablename FROM pg_catalog.pg_tables t
JOIN metrics.pipeline_run_log r ON t.tablename IN (
    r.dataset || '_old__' || right(r.run_id::text, 8),
    r.dataset || '_new__' || right(r.run_id::text, 8)
)
WHERE t.schemaname = 'stage' AND r.dataset = %s AND r.status <> 'STARTED'
"""
STATUS: Final = (
    "SELECT status FROM metrics.pipeline_run_log WHERE run_id = %s FOR SHARE"
)
RECORDED: Final = frozenset({RunStatus.RECONCILED, RunStatus.SUCCEEDED})

# What Postgres itself counted in this transaction: to count the rows again would read
# and rewrite the whole table.
INSERTED: Final = "SELECT pg_stat_get_xact_tuples_inserted($1::text::regclass)"

Row = dict[str, Any]


class LostRace(Exception):
    """The pair has a result, or this run was given up: nothing was recorded."""


@dataclass(frozen=True, slots=True)
class StageTable:
    """A loaded table, still under its private name."""

    private: str
    public: str
    rows: int
    as_array: bool


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


def fits_columns(columns: Sequence[str]) -> bool:
    """Whether a table can have these columns; else each row is one `text[]`."""
    return len(columns) <= WIDEST and all(
        len(name.encode()) <= NAME_BYTES and name not in SYSTEM for name in columns
    )


def stage_name(dataset: str, side: str, run_id: UUID) -> str:
    """The private name of a run's stage table."""
    return f"{dataset}_{side}__{run_id.hex[-8:]}"


def load(
    conninfo: Address,
    dataset: str,
    side: str,
    run_id: UUID,
    file: CsvFile,
    advance: Callable[[int], None] = ignore,
    loader: StageLoader = StageLoader.ADBC,
) -> StageTable:
    """Load a gated file into a private table of TEXT columns, in constant memory.

    Both loaders leave the same table; where `copy` would not, ADBC is taken.
    """
    public, private = f"{dataset}_{side}", stage_name(dataset, side, run_id)
    as_array = not fits_columns(file.columns)
    schema = _stage_schema(file.columns, as_array=as_array)
    columns = ", ".join(
        f"{quoted(field.name)} {'text[]' if as_array else 'text'}" for field in schema
    )
    create = f"CREATE TABLE stage.{quoted(private)} ({columns})"
    if loader is StageLoader.COPY and not as_array and _copies_faithfully(file):
        rows = _load_by_copy(conninfo, create, private, file, advance)
    else:
        batches = _Batches(file, schema, advance, as_array=as_array)
        rows = _load_by_adbc(conninfo, create, private, batches)
    if rows != file.rows:
        raise InternalError(
            f"stage took {rows:,} rows where the gate counted {file.rows:,}",
            file=file.uri,
        )
    return StageTable(private, public, rows, as_array)


def _load_by_adbc(
    conninfo: Address, create: str, private: str, batches: _Batches
) -> int:
    with bulk(conninfo) as connection:
        with closing(connection.cursor()) as cursor:
            reached("stage-create")
            cursor.execute(create)
            batches.ingest(cursor, private)
            cursor.execute(INSERTED, (f"stage.{quoted(private)}",))
            rows = int(cursor.fetchone()[0])
        reached("stage-commit")
        connection.commit()
    return rows


def _load_by_copy(
    conninfo: Address,
    create: str,
    private: str,
    file: CsvFile,
    advance: Callable[[int], None],
) -> int:
    """Pass the bytes of a file on; FORCE_NOT_NULL keeps every blank a blank."""
    names = ", ".join(quoted(name) for name in file.columns)
    delimiter = file.dialect.delimiter
    delimiter = {"\t": "E'\\t'", "'": "''''"}.get(delimiter, f"'{delimiter}'")
    options = f"FORMAT csv, DELIMITER {delimiter}, FORCE_NOT_NULL ({names})"
    statement = f"COPY stage.{quoted(private)} FROM STDIN WITH ({options})"
    with connect(conninfo, autocommit=False, control=False) as connection:
        reached("stage-create")
        connection.execute(create)
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for part in file.parts:
                    for block in _blocks(file.read(part).data):
                        copy.write(block)
                    advance(part.rows)
            reached("stage-commit")
            return cursor.rowcount


def _copies_faithfully(file: CsvFile) -> bool:
    r"""Whether Postgres reads these bytes as the gate does.

    It refuses mixed line ends, and before version 18 takes a line `\\.` for the end.
    """
    return file.dialect.newline != "mixed" and not file.end_of_copy


def _blocks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), COPY_BYTES):
        yield data[at : at + COPY_BYTES]


def _stage_schema(columns: Sequence[str], *, as_array: bool) -> pa.Schema:
    if as_array:
        return pa.schema([("cells", pa.list_(pa.large_string()))])
    return pa.schema([(name, pa.large_string()) for name in columns])


class _Batches:
    """Record batches of a file; keeps the error that a driver would swallow."""

    def __init__(
        self,
        file: CsvFile,
        schema: pa.Schema,
        advance: Callable[[int], None],
        *,
        as_array: bool,
    ) -> None:
        self.file = file
        self.schema = schema
        self.advance = advance
        self.as_array = as_array
        self.rows = 0
        self.error: BaseException | None = None

    def ingest(self, cursor: Any, table: str) -> None:
        reader = pa.RecordBatchReader.from_batches(self.schema, self.read())
        try:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name="stage")
        except adbc_driver_manager.Error:
            if self.error is not None:
                raise self.error from None
            raise

    def read(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in in_order(self.arrow, self.file.parts):
                for batch in table.to_batches(BATCH_ROWS):
                    yield batch
                    self.rows += batch.num_rows
                    self.advance(batch.num_rows)
        except BaseException as error:
            self.error = error
            raise

    def arrow(self, part: Part) -> pa.Table:
        """A part as Arrow, in the exact types of the table."""
        block = self.file.read(part)
        if not self.as_array:
            return block.table(self.schema)
        names = [f"c{at}" for at in range(len(self.file.columns))]
        cells = block.cells(names).select(pl.concat_list(pl.all()).alias("cells"))
        table = cells.collect().to_arrow(compat_level=pl.CompatLevel.oldest())
        return table.cast(self.schema)


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


def discard(conninfo: Address, tables: Iterable[str]) -> None:
    """Drop private stage tables that will not be published."""
    reached("discard")
    with connect(conninfo) as connection:
        for name in tables:
            connection.execute(f"DROP TABLE IF EXISTS stage.{quoted(name)}")


def discard_orphans(connection: psycopg.Connection, dataset: str) -> list[str]:
    """Drop the private stage tables of runs that ended; answer their names.

    A run that is STARTED keeps its own: it may come from another inbound place, under
    another lock. What someone looks at right now is left to the next run.
    """
    dropped = []
    with classified():
        for (name,) in connection.execute(ORPHANS, [dataset]).fetchall():
            reached("recover-sweep")
            with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{ORPHAN_TIMEOUT}'")
                connection.execute(f"DROP TABLE IF EXISTS stage.{quoted(name)}")
                dropped.append(name)
    return dropped


def _swap(cursor: Any, table: StageTable) -> None:
    """Give a private table the name that readers know."""
    private, public = quoted(table.private), quoted(table.public)
    cursor.execute(f"DROP TABLE IF EXISTS stage.{public}")
    cursor.execute(f"ALTER TABLE stage.{private} RENAME TO {public}")


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


def _metrics(look: Look, artifacts: Sequence[Artifact]) -> dict[str, list[Row]]:
    """The rows of each metrics table."""
    result, run_id = look.result, look.run_id.bytes
    stamp = {"run_id": run_id, "run_date": look.day}
    summary = {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in result.summary().items()
    }
    return {
        "recon_summary": [
            stamp
            | {"dataset": look.dataset}
            | summary
            | {"strategy": result.engine.strategy, "seconds": result.engine.seconds}
        ],
        "mismatch_by_column": [
            stamp | {"column_name": row.pop("name"), "ordinal": at} | row
            for at, row in enumerate(_columns(result))
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
                "value": _number(gate.value),
                "says": gate.text,
            }
            for at, gate in enumerate(result.gates)
        ],
        "suppression": [
            stamp | {"ordinal": at} | _suppression(each)
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


def _track(cursor: Any, publication: Publication) -> Breaks | None:
    """Carry the breaks on, and record what became of them."""
    if not publication.tracks:
        return None
    look = publication.look
    tracked = breaks.track(cursor, look, publication.found)
    _insert(cursor, "break_summary", [breaks.summary(look, tracked)])
    return tracked


def _columns(result: Reconciliation) -> Iterator[Row]:
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


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _suppression(each: Suppressed) -> Row:
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


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
