from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import make_conninfo

from recon_engine.errors import ConfigError, DatabaseUnavailable, PermissionDenied
from recon_engine.kinds import KINDS
from recon_engine.pipeline.doctor import CheckState, examine_setup
from recon_engine.postgres import migrations
from recon_engine.postgres.embedded import server
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[object, ...]]


ALL = (
    "0001_reconciliation.sql",
    "0002_revisions_and_history.sql",
    "0003_dialects.sql",
    "0004_why.sql",
    "0005_gates.sql",
    "0006_breaks.sql",
    "0007_totals.sql",
    "0008_unseen_breaks.sql",
    "0009_rules.sql",
    "0010_kinds.sql",
    "0011_file_claims.sql",
    "0012_unusable_files.sql",
    "0013_comments.sql",
    "0014_names_and_options.sql",
    "0015_row_accounting.sql",
    "0016_rules_of_sides.sql",
    "0017_parts.sql",
    "0018_accepted.sql",
    "0019_accepted_keys.sql",
    "0020_terms.sql",
    "0021_constants.sql",
    "0022_kinds.sql",
    "0023_counted_values.sql",
    "0024_order.sql",
)
DEBIAN = Path("/usr/lib/postgresql/15/bin")
TABLES = {
    "artifact",
    "gate_result",
    "break",
    "break_summary",
    "constant_change",
    "control_total",
    "file_claim",
    "hint",
    "mismatch_by_column",
    "mismatch_detail_sample",
    "mismatch_pattern",
    "mismatch_signature",
    "pipeline_run_log",
    "recon_summary",
    "rule_count",
    "run_part",
    "run_step",
    "schema_migration",
    "suppression",
    "segment",
}
STATEMENTS = (
    "SELECT * FROM metrics.pipeline_run_log ORDER BY run_ts DESC LIMIT 10",
    "SELECT * FROM metrics.recon_summary ORDER BY run_date DESC LIMIT 10",
    "SELECT * FROM metrics.mismatch_by_column ORDER BY run_date DESC LIMIT 50",
    "SELECT * FROM metrics.mismatch_detail_sample ORDER BY created_ts DESC LIMIT 50",
    """SELECT d.run_date, d.key_text, kv.key AS column_name, kv.value AS old_new_value
    FROM metrics.mismatch_detail_sample d
    CROSS JOIN LATERAL jsonb_each_text(d.payload) kv;""",
)
SUMMARY = {
    "run_date": "2026-11-23",
    "dataset": "claims",
    "keys": ["ID"],
    "rows_old": 9,
    "rows_new": 9,
    "matched": 8,
    "missing": 1,
    "extra": 1,
    "identical": 6,
    "mismatched_rows": 2,
    "mismatched_cells": 3,
    "columns_compared": 4,
    "verdict": "differ",
}
COLUMN = {
    "run_date": "2026-11-23",
    "column_name": "PAID",
    "ordinal": 0,
    "compared": 8,
    "equal_exact": 5,
    "tolerated": 1,
    "mismatched": 2,
    "kind_case": 1,
    "kind_text": 1,
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server.run_embedded_server(durable=False) as conninfo:
        yield conninfo


@pytest.fixture
def database(postgres: str) -> str:
    """An empty database of its own."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_conninfo(postgres, dbname=name)


@pytest.fixture(scope="module")
def migrated(postgres: str) -> str:
    """A database with all tables, whose tests roll back what they do."""
    migrations.apply_migrations(postgres)
    return postgres


@pytest.fixture
def connection(migrated: str) -> Iterator[Connection]:
    with psycopg.connect(migrated) as connected:
        yield connected
        connected.rollback()


@pytest.fixture
def run(connection: Connection) -> UUID:
    return add_run(connection, "STARTED")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations in place of ours."""
    monkeypatch.setattr(migrations, "schema_folder", lambda: tmp_path)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / "grants.sql").write_text("SELECT 1;")
    return tmp_path / "migrations"


def add_run(connection: Connection, status: str, run_fp: str | None = "f") -> UUID:
    run_id = uuid4()
    connection.execute(
        "INSERT INTO metrics.pipeline_run_log (run_id, run_fp, dataset, status)"
        " VALUES (%s, %s, 'claims', %s)",
        (run_id, run_fp, status),
    )
    return run_id


def insert(connection: Connection, table: str, row: dict[str, object]) -> None:
    names, holes = ", ".join(row), ", ".join(["%s"] * len(row))
    query = f"INSERT INTO metrics.{table} ({names}) VALUES ({holes})"
    connection.execute(query.encode(), list(row.values()))


def tables(conninfo: str) -> set[str]:
    with psycopg.connect(conninfo) as connected:
        found = connected.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname IN ('metrics', 'public')"
        )
        return {name for (name,) in found}


def test_applies_everything_once_and_then_nothing(database: str) -> None:
    assert migrations.apply_migrations(database) == ALL
    assert migrations.apply_migrations(database) == ()
    assert tables(database) == TABLES


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's PostgreSQL 15")
def test_applies_to_postgresql_15(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_PG_BIN", str(DEBIAN))
    with server.run_embedded_server(durable=False) as conninfo:
        assert migrations.apply_migrations(conninfo) == ALL


def test_an_administrator_who_is_no_superuser_sets_it_all_up() -> None:
    """As of RDS: one that may make databases and roles."""
    with server.run_embedded_server(durable=False) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE ROLE rds_admin LOGIN CREATEDB CREATEROLE")
        admin = make_conninfo(conninfo, user="rds_admin")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("CREATE DATABASE recon")
        with psycopg.connect(make_conninfo(admin, dbname="recon")) as connection:
            connection.execute("REVOKE TEMPORARY ON DATABASE recon FROM PUBLIC")
            for _ in range(2):
                connection.execute(migrations.read_access_sql("roles"))
        owner, app = (
            make_conninfo(conninfo, user=role, dbname="recon")
            for role in ("recon_owner", "recon_app")
        )
        assert migrations.apply_migrations(owner)
        by_check = {finding.check: finding for finding in examine_setup({}, app)}
    assert by_check["database"].found.endswith("as recon_app, without TLS")
    assert by_check["grants"].state is CheckState.OK


def test_many_at_once_apply_exactly_once(database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(migrations.apply_migrations, [database] * 4))
    assert sorted(done) == [(), (), (), ALL]


def test_an_up_to_date_database_needs_no_right_to_change_it(
    database: str, postgres: str
) -> None:
    migrations.apply_migrations(database)
    with psycopg.connect(database) as connected:
        connected.execute(
            "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA metrics TO reader;"
            "GRANT SELECT ON metrics.schema_migration TO reader"
        )
    assert migrations.apply_migrations(make_conninfo(database, user="reader")) == ()
    with pytest.raises(PermissionDenied):
        migrations.apply_migrations(
            make_conninfo(postgres, dbname="template1", user="reader")
        )


def test_a_broken_file_rolls_all_of_them_back(database: str, folder: Path) -> None:
    (folder / "0001_good.sql").write_text("CREATE TABLE public.good (a int);")
    (folder / "0002_bad.sql").write_text(
        "CREATE TABLE public.bad (a int); SELECT 'a patient'::int;"
    )
    with pytest.raises(ConfigError) as caught:
        migrations.apply_migrations(database)

    assert tables(database) == set()
    assert caught.value.file == "0002_bad.sql"
    assert caught.value.why == "SQLSTATE 22P02"
    assert "patient" not in f"{caught.value}{caught.value.help}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_later_files_are_added_in_order(database: str, folder: Path) -> None:
    (folder / "0001_one.sql").write_text("CREATE TABLE public.one (a int);")
    assert migrations.apply_migrations(database) == ("0001_one.sql",)
    (folder / "0010_ten.sql").write_text("ALTER TABLE public.two ADD c int;")
    (folder / "0002_two.sql").write_text("CREATE TABLE public.two (b int);")
    assert migrations.apply_migrations(database) == ("0002_two.sql", "0010_ten.sql")


def test_a_changed_file_is_refused(database: str, folder: Path) -> None:
    (folder / "0001_one.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    migrations.apply_migrations(database)
    (folder / "0001_one.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    assert migrations.apply_migrations(database) == ()
    (folder / "0001_one.sql").write_bytes(b"SELECT 1;\nSELECT 3;\n")
    with pytest.raises(ConfigError, match=r"0001_one\.sql was changed"):
        migrations.apply_migrations(database)


def test_a_database_ahead_of_the_files_is_refused(database: str, folder: Path) -> None:
    (folder / "0001_one.sql").write_text("SELECT 1;")
    migrations.apply_migrations(database)
    (folder / "0001_one.sql").rename(folder / "0002_two.sql")
    with pytest.raises(ConfigError, match=r"0001_one\.sql, which this version lacks"):
        migrations.apply_migrations(database)


def test_a_number_before_the_latest_is_refused(database: str, folder: Path) -> None:
    (folder / "0002_two.sql").write_text("SELECT 1;")
    migrations.apply_migrations(database)
    (folder / "0001_one.sql").write_text("SELECT 1;")
    with pytest.raises(ConfigError, match=r"0001_one\.sql sorts before 0002_two\.sql"):
        migrations.apply_migrations(database)


@pytest.mark.parametrize("names", [["1_one.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_a_folder_that_leaves_the_order_open_is_refused(
    names: list[str], folder: Path
) -> None:
    for name in names:
        (folder / name).write_text("SELECT 1;")
    with pytest.raises(ConfigError, match=r"name|number"):
        migrations.apply_migrations("")


def test_breaks_of_earlier_versions_are_open_by_their_state(
    database: str, folder: Path
) -> None:
    files = sorted((Path(__file__).parents[2] / "schemas" / "migrations").iterdir())
    at = next(at for at, path in enumerate(files) if "unseen_breaks" in path.name)
    for path in files[:at]:
        (folder / path.name).write_bytes(path.read_bytes())
    migrations.apply_migrations(database)
    known = ("new", "recurring", "changed", "resolved", "reopened")
    with psycopg.connect(database) as connection:
        run_id = add_run(connection, "STARTED")
        dates = dict.fromkeys(("as_of", "first_seen", "last_seen"), "2026-11-23")
        ids = ("book", "content", "as_of_run", "first_seen_run", "last_seen_run")
        for state in known:
            row = {
                "break_id": uuid4(), "dataset": "claims", "key_text": state,
                "kind": "missing", "occurrences": 1, "state": state, "runs_seen": 1,
            }  # fmt: skip
            insert(connection, "break", row | dates | dict.fromkeys(ids, run_id))
        counts = ("new", "recurring", "changed", "resolved", "reopened", "open")
        summary = {
            "run_id": run_id, "dataset": "claims", "run_date": "2026-11-23",
            "book": run_id, "pair": run_id, "tracking": "tracked", "differences": 5,
        }  # fmt: skip
        summary |= {f"breaks_{name}": 1 for name in counts} | {"breaks_open": 4}
        insert(connection, "break_summary", summary)
        connection.commit()
        before = stored(connection)
    for path in files[at:]:
        (folder / path.name).write_bytes(path.read_bytes())
    migrations.apply_migrations(database)
    with psycopg.connect(database) as connection:
        for one, two in zip(before, stored(connection), strict=True):
            assert two.items() >= one.items()
        found = connection.execute("SELECT state, open FROM metrics.break").fetchall()
        assert dict(found) == {state: state != "resolved" for state in known}
        unknown = "SELECT as_of, breaks_unseen, breaks_gone FROM metrics.break_summary"
        assert connection.execute(unknown).fetchall() == [(None, None, None)]


def stored(connection: Connection) -> list[dict[str, object]]:
    """All rows about breaks, as JSON."""
    rows: list[dict[str, object]] = []
    for table, first in (("break", "break_id"), ("break_summary", "run_id")):
        query = f"SELECT to_jsonb(t) FROM metrics.{table} t ORDER BY {first}"
        rows += [row for (row,) in connection.execute(query.encode())]  # type: ignore[misc]
    return rows


def test_an_unreachable_server_is_said_without_its_words(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        migrations.apply_migrations(f"host={tmp_path} password=hush")
    assert "hush" not in f"{caught.value}{caught.value.help}"
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.usefixtures("run")
def test_the_statements_of_the_readme_run(connection: Connection, run: UUID) -> None:
    insert(
        connection,
        "mismatch_detail_sample",
        {
            "run_id": run,
            "run_date": "2026-11-23",
            "ordinal": 0,
            "key_text": "1",
            "key": '{"ID": "1"}',
            "payload": '{"PAID": "1.0~1", "CODE": "a~b"}',
        },
    )
    *_, pairs = (connection.execute(text.encode()).fetchall() for text in STATEMENTS)
    assert [pair[1:] for pair in pairs] == [
        ("1", "CODE", "a~b"),
        ("1", "PAID", "1.0~1"),
    ]


def test_every_table_and_column_is_explained(connection: Connection) -> None:
    silent = connection.execute(
        """
        SELECT c.relname, a.attname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT attisdropped
        WHERE c.relnamespace = 'metrics'::regnamespace AND c.relkind = 'r'
          AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL
        SELECT relname, '' FROM pg_class
        WHERE relnamespace = 'metrics'::regnamespace AND relkind = 'r'
          AND obj_description(oid, 'pg_class') IS NULL
        """
    ).fetchall()
    assert silent == []


def test_exactly_the_statuses_of_the_code_are_known(connection: Connection) -> None:
    definition = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conname = 'status_is_known'"
    ).fetchone()
    assert definition is not None
    assert set(str(definition[0]).split("'")[1::2]) == set(RunStatus)


def test_exactly_the_kinds_of_the_code_have_a_column(connection: Connection) -> None:
    columns = connection.execute(
        "SELECT substr(attname::text, 6) FROM pg_attribute"
        " WHERE attrelid = 'metrics.mismatch_by_column'::regclass"
        " AND attname LIKE 'kind%'"
    ).fetchall()
    # A later kind has a later column, whatever its place among the kinds.
    assert {name for (name,) in columns} == set(KINDS)


def test_a_fingerprint_has_one_result(connection: Connection) -> None:
    for status in ("STARTED", "ABANDONED", "RECONCILED"):
        add_run(connection, status)
    with pytest.raises(psycopg.errors.UniqueViolation):
        add_run(connection, "SUCCEEDED")


def test_a_result_has_a_fingerprint(connection: Connection) -> None:
    add_run(connection, "NO_FILES", run_fp=None)
    with pytest.raises(psycopg.errors.CheckViolation):
        add_run(connection, "SUCCEEDED", run_fp=None)


def test_a_lawful_summary_is_stored(connection: Connection, run: UUID) -> None:
    insert(connection, "recon_summary", SUMMARY | {"run_id": run})
    insert(connection, "mismatch_by_column", COLUMN | {"run_id": run})


@pytest.mark.parametrize(
    "unlawful",
    [
        {"missing": 2},
        {"extra": 0},
        {"rejected_old": 1},
        {"rejected_new": 1},
        {"identical": 7},
        {"mismatched_cells": 1},
        {"identical": 8, "mismatched_rows": 0},
        {"matched": -1},
        {"verdict": "agree"},
        {"verdict": "maybe"},
        {"keys": []},
    ],
)
def test_a_summary_that_breaks_a_constraint_is_refused(
    connection: Connection, run: UUID, unlawful: dict[str, object]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(connection, "recon_summary", SUMMARY | {"run_id": run} | unlawful)


@pytest.mark.parametrize(
    "unlawful", [{"compared": 9}, {"kind_text": 2}, {"tolerated": 0, "kind_case": 0}]
)
def test_a_column_that_breaks_a_constraint_is_refused(
    connection: Connection, run: UUID, unlawful: dict[str, object]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(connection, "mismatch_by_column", COLUMN | {"run_id": run} | unlawful)


def test_a_result_without_a_run_is_refused(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(connection, "recon_summary", SUMMARY | {"run_id": uuid4()})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE metrics.pipeline_run_log SET status = 'STARTED'",
        "UPDATE metrics.pipeline_run_log SET host = 'x'",
        "DELETE FROM metrics.pipeline_run_log",
    ],
)
@pytest.mark.parametrize("status", sorted(set(RunStatus) - {"STARTED", "RECONCILED"}))
def test_a_run_that_has_ended_is_final(
    connection: Connection, change: str, status: str
) -> None:
    run_id = add_run(connection, status)
    with pytest.raises(psycopg.errors.RestrictViolation) as caught:
        connection.execute(change.encode())
    assert f"run {run_id} has ended as {status}" in str(caught.value)


def test_a_run_under_way_moves_on(connection: Connection, run: UUID) -> None:
    for status in ("RECONCILED", "SUCCEEDED"):
        connection.execute(
            "UPDATE metrics.pipeline_run_log SET status = %s WHERE run_id = %s",
            (status, run),
        )


def test_adbc_fills_and_reads_the_tables(migrated: str) -> None:
    names = pa.array([["PAID", "CODE"]], pa.list_(pa.string()))
    day = pa.array([20000], pa.int32()).cast(pa.date32())
    row = {
        "run_date": day,
        "ordinal": pa.array([0], pa.int32()),
        "columns": names,
        "rows": pa.array([3], pa.int64()),
    }
    with adbc.connect(migrated) as connected, connected.cursor() as cursor:
        run_id = uuid4()
        cursor.execute(
            "INSERT INTO metrics.pipeline_run_log (run_id, dataset, status)"
            " VALUES ($1::text::uuid, 'claims', 'STARTED')",
            (str(run_id),),
        )
        ids = pa.array([run_id.bytes], pa.binary(16))
        cursor.adbc_ingest(
            "mismatch_signature",
            pa.table({"run_id": ids, **row}),
            mode="append",
            db_schema_name="metrics",
        )
        sample = {
            "run_id": ids,
            "run_date": day,
            "ordinal": row["ordinal"],
            "key_text": pa.array(["1"]),
            "key": pa.array(['{"ID": "1"}']).cast(pa.json_()),
            "payload": pa.array(['{"PAID": "1~2"}']).cast(pa.json_()),
        }
        cursor.adbc_ingest(
            "mismatch_detail_sample",
            pa.table(sample),
            mode="append",
            db_schema_name="metrics",
        )
        for table in sorted(TABLES):
            cursor.execute(f"SELECT * FROM metrics.{table}")
            read = cursor.fetch_arrow_table()
            if table == "mismatch_signature":
                assert read.column("columns").to_pylist() == [["PAID", "CODE"]]
            if table == "mismatch_detail_sample":
                assert read.column("created_ts").null_count == 0
        connected.rollback()
