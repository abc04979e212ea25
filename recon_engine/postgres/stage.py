"""Load stage tables: each input as TEXT columns, under a name private to its run.

Publishing renames a private table to its public name. So readers never see a table that
is partly loaded, and a failed run leaves the public tables as they were.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import adbc_driver_manager
import polars as pl
import psycopg
import pyarrow as pa

from recon_engine.config import StageLoader
from recon_engine.errors import InternalError
from recon_engine.postgres.connection import (
    open_bulk_connection,
    open_connection,
    quote_identifier,
    translate_database_errors,
)
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.failpoints import failpoint
from recon_engine.runtime.progress import ignore_advance


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from recon_engine.config import Address
    from recon_engine.inputs.csvfile import CsvFile, RowGroup


# Larger batches keep encoding and sending from overlapping; smaller ones cost calls.
BATCH_ROWS: Final = 5_000

COPY_BYTES: Final = 1 << 17

# Limits of Postgres: names have 63 bytes, and a row must fit a page of 8 KiB. Tested:
# 388 columns of 20 characters do not fit; 387 columns fit at every length.
NAME_BYTES: Final = 63

MAX_COLUMNS: Final = 387

SYSTEM_COLUMNS: Final = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

# The beginning of the comment of a public table; the id of its run follows.
LOADED_BY: Final = "loaded by run "

# How long the cleanup waits for a reader of an orphaned table before it goes on.
ORPHAN_TIMEOUT: Final = "1s"

ORPHANS: Final = """
SELECT t.tablename FROM pg_catalog.pg_tables t
JOIN metrics.pipeline_run_log r ON t.tablename IN (
    r.dataset || '_old__' || right(r.run_id::text, 8),
    r.dataset || '_new__' || right(r.run_id::text, 8)
)
WHERE t.schemaname = 'stage' AND r.dataset = %s AND r.status <> 'STARTED'
"""

# Postgres' own count of this transaction: SELECT count(*) would read the whole table,
# and set hint bits in every page of it.
COUNT_INSERTED: Final = "SELECT pg_stat_get_xact_tuples_inserted($1::text::regclass)"


@dataclass(frozen=True, slots=True)
class StageTable:
    """A loaded table under its private name; `as_array`: one column of text[]."""

    private: str
    public: str
    rows: int
    as_array: bool


def fits_columns(columns: Sequence[str]) -> bool:
    """Whether a table can have these columns; if not, each row becomes one text[]."""
    return len(columns) <= MAX_COLUMNS and all(
        len(name.encode()) <= NAME_BYTES and name not in SYSTEM_COLUMNS
        for name in columns
    )


def private_table_name(dataset: str, side: str, run_id: UUID) -> str:
    """The private name of a run's stage table."""
    # The end of a uuid7 is random, its beginning is the time. Eight digits keep the
    # name within NAME_BYTES.
    return f"{dataset}_{side}__{run_id.hex[-8:]}"


def load_stage_table(
    conninfo: Address,
    dataset: str,
    side: str,
    run_id: UUID,
    file: CsvFile,
    advance: Callable[[int], None] = ignore_advance,
    loader: StageLoader = StageLoader.ADBC,
) -> StageTable:
    """Load a validated file into a private stage table, in constant memory.

    Both loaders produce the same table. Where COPY would read the file differently,
    ADBC is used instead.

    Args:
        conninfo: The address of the database.
        dataset: The dataset; with `side` it gives the table its name.
        side: `old` or `new`.
        run_id: The run, which makes the private name unique.
        file: The file. Its rows were counted when it was read.
        advance: Called with the number of rows loaded since the last call.
        loader: ADBC, or COPY for files that Postgres reads exactly as the CSV reader.

    Raises:
        InternalError: Postgres took another number of rows than the file has.
    """
    public, private = f"{dataset}_{side}", private_table_name(dataset, side, run_id)
    as_array = not fits_columns(file.columns)
    schema = _stage_schema(file.columns, as_array=as_array)
    columns = ", ".join(
        f"{quote_identifier(field.name)} {'text[]' if as_array else 'text'}"
        for field in schema
    )
    create = f"CREATE TABLE stage.{quote_identifier(private)} ({columns})"
    if loader is StageLoader.COPY and not as_array and _copies_faithfully(file):
        rows = _load_by_copy(conninfo, create, private, file, advance)
    else:
        batches = _BatchReader(file, schema, advance, as_array=as_array)
        rows = _load_by_adbc(conninfo, create, private, batches)
    # The count is Postgres' own, so a row that either side lost cannot go unnoticed.
    if rows != file.rows:
        raise InternalError(
            f"the stage table has {rows:,} rows, and the file has {file.rows:,}",
            file=file.uri,
        )
    return StageTable(private, public, rows, as_array)


def _load_by_adbc(
    conninfo: Address, create: str, private: str, batches: _BatchReader
) -> int:
    with open_bulk_connection(conninfo) as connection:
        with closing(connection.cursor()) as cursor:
            failpoint("stage-create")
            cursor.execute(create)
            batches.ingest(cursor, private)
            # In the transaction of the load: the count is of this transaction only.
            cursor.execute(COUNT_INSERTED, (f"stage.{quote_identifier(private)}",))
            rows = int(cursor.fetchone()[0])
        failpoint("stage-commit")
        connection.commit()
    return rows


def _load_by_copy(
    conninfo: Address,
    create: str,
    private: str,
    file: CsvFile,
    advance: Callable[[int], None],
) -> int:
    """Send the bytes of a file to COPY; FORCE_NOT_NULL loads blanks as '', not NULL."""
    names = ", ".join(quote_identifier(name) for name in file.columns)
    delimiter = file.delimiter
    # These two need another spelling as a literal of SQL.
    delimiter = {"\t": "E'\\t'", "'": "''''"}.get(delimiter, f"'{delimiter}'")
    options = f"FORMAT csv, DELIMITER {delimiter}, FORCE_NOT_NULL ({names})"
    statement = f"COPY stage.{quote_identifier(private)} FROM STDIN WITH ({options})"
    with open_connection(conninfo, autocommit=False, control=False) as connection:
        failpoint("stage-create")
        connection.execute(create)
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for part in file.parts:
                    for block in _split_for_copy(file.read(part).data):
                        copy.write(block)
                    advance(part.rows)
            failpoint("stage-commit")
            return cursor.rowcount


def _copies_faithfully(file: CsvFile) -> bool:
    r"""Whether COPY reads these bytes exactly as the CSV reader does.

    COPY rejects mixed newlines, and a field behind a trailing delimiter. Before version
    18 it takes a line `\\.` for the end.
    """
    if file.trailing:
        return False
    return file.dialect.newline != "mixed" and not file.end_of_copy


def _split_for_copy(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), COPY_BYTES):
        yield data[at : at + COPY_BYTES]


def _stage_schema(columns: Sequence[str], *, as_array: bool) -> pa.Schema:
    if as_array:
        return pa.schema([("cells", pa.list_(pa.large_string()))])
    return pa.schema([(name, pa.large_string()) for name in columns])


class _BatchReader:
    """Reads a file as record batches, and keeps its error, which ADBC would replace."""

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
            for table in map_ordered(self.read_as_arrow, self.file.parts):
                for batch in table.to_batches(BATCH_ROWS):
                    yield batch
                    # After the `yield`: ADBC has taken the batch when it asks for the
                    # next one.
                    self.rows += batch.num_rows
                    self.advance(batch.num_rows)
        except BaseException as error:
            self.error = error
            raise

    def read_as_arrow(self, part: RowGroup) -> pa.Table:
        """A part as Arrow, in the exact types of the table."""
        block = self.file.read(part)
        if not self.as_array:
            return block.table(self.schema)
        names = [f"c{at}" for at in range(len(self.file.columns))]
        cells = block.cells(names).select(pl.concat_list(pl.all()).alias("cells"))
        table = cells.collect().to_arrow(compat_level=pl.CompatLevel.oldest())
        return table.cast(self.schema)


def drop_tables(conninfo: Address, tables: Iterable[str]) -> None:
    """Drop the private stage tables of a run that will not be published."""
    failpoint("discard")
    with open_connection(conninfo) as connection:
        for name in tables:
            connection.execute(f"DROP TABLE IF EXISTS stage.{quote_identifier(name)}")


def drop_orphans(connection: psycopg.Connection, dataset: str) -> list[str]:
    """Drop the private stage tables of runs that have ended; return their names.

    Tables of a STARTED run are kept: it may be alive, with another inbound and lock. A
    table that someone is reading is left to the next run.
    """
    dropped = []
    with translate_database_errors():
        for (name,) in connection.execute(ORPHANS, [dataset]).fetchall():
            failpoint("recover-sweep")
            # One transaction a table: SET LOCAL ends with it, and a table that is
            # locked does not keep the others.
            with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{ORPHAN_TIMEOUT}'")
                connection.execute(
                    f"DROP TABLE IF EXISTS stage.{quote_identifier(name)}"
                )
                dropped.append(name)
    return dropped


def publish_table(cursor: Any, table: StageTable, run_id: UUID) -> None:
    """Replace the public table by a private one, in the transaction of the cursor.

    Its comment names the run: later runs may leave the table as it is.
    """
    private, public = quote_identifier(table.private), quote_identifier(table.public)
    # DROP takes ACCESS EXCLUSIVE on the old table, and this transaction holds it until
    # its commit: readers wait for that.
    cursor.execute(f"DROP TABLE IF EXISTS stage.{public}")
    cursor.execute(f"ALTER TABLE stage.{private} RENAME TO {public}")
    cursor.execute(f"COMMENT ON TABLE stage.{public} IS '{LOADED_BY}{run_id}'")
