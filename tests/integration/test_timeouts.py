"""No lock of another session keeps a run, or its dataset, for longer than is set."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from support.sites import NEW, OLD

from recon_engine.errors import ConfigError, DatabaseUnavailable
from recon_engine.postgres import migrations, purge
from recon_engine.postgres.connection import (
    open_bulk_connection,
    open_connection,
    query_read_only,
)
from recon_engine.status import STATUSES, RunStatus, status_of


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.sites import FolderSite


SET = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
# Whatever a run reads or writes in metrics, but for the log itself.
TABLES = (
    "artifact",
    "break",
    "break_summary",
    "constant_change",
    "control_total",
    "file_claim",
    "gate_result",
    "hint",
    "mismatch_by_column",
    "mismatch_detail_sample",
    "mismatch_pattern",
    "mismatch_signature",
    "recon_summary",
)

# Beside what tests deliver, cells with a change in common: a table gets rows of it.
RAISED = [(f"{at},{at}0.00,x\n", f"x,{at},{at}5.00\n") for at in range(6, 11)]


@contextmanager
def locked(site: FolderSite, table: str) -> Iterator[None]:
    """Someone keeps a whole table, and never ends."""
    with psycopg.connect(site.database) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        connection.rollback()


def by_psycopg(conninfo: str) -> tuple[str, str]:
    with open_connection(conninfo) as connection:
        return connection.execute(SET).fetchall()[0]


def by_transaction(conninfo: str) -> tuple[str, str]:
    with open_connection(conninfo, autocommit=False, control=False) as connection:
        connection.rollback()
        return connection.execute(SET).fetchall()[0]


def by_adbc(conninfo: str) -> tuple[str, str]:
    with (
        open_bulk_connection(conninfo) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute(SET)
        lock, statement = cursor.fetchone()
        return lock, statement


def by_sql(conninfo: str) -> tuple[str, str]:
    _, [(lock, statement)] = query_read_only(conninfo, SET)
    return lock, statement


@pytest.mark.parametrize(
    ("opened", "statement"),
    [(by_psycopg, "1min"), (by_transaction, "0"), (by_adbc, "0"), (by_sql, "0")],
)
def test_every_connection_bounds_its_waits_and_control_its_statements(
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[[str], tuple[str, str]],
    statement: str,
) -> None:
    assert opened(database) == ("30s", statement)
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "7")
    monkeypatch.setenv("RECON_STATEMENT_TIMEOUT", "90")
    assert opened(database) == ("7s", "90s" if statement == "1min" else "0")


@pytest.mark.parametrize("value", ["", "0", "-1", "30s", "1.5", "9" * 5_000])
@pytest.mark.parametrize("name", ["RECON_LOCK_TIMEOUT", "RECON_STATEMENT_TIMEOUT"])
def test_what_is_no_number_of_seconds_is_refused(
    database: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name} is not a number of seconds"):
        by_psycopg(database)


@pytest.mark.parametrize("table", TABLES)
def test_a_run_does_not_wait_for_ever_on_a_table_that_is_locked(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")
    old, new = ("".join(lines).encode() for lines in zip(*RAISED, strict=True))
    folders.deliver(OLD + old, NEW + new)
    before = folders.names(folders.inbound)
    with locked(folders, f"metrics.{table}"):
        began = time.monotonic()
        outcome = folders.run()
        assert time.monotonic() - began < 20
    assert outcome.error is not None
    assert outcome.record.status is RunStatus.DATABASE_UNAVAILABLE
    assert outcome.record.exit_code == 4
    assert outcome.error.why == "SQLSTATE 55P03"
    assert "RECON_LOCK_TIMEOUT" in outcome.error.message
    assert folders.names(folders.inbound) == before
    assert folders.names(folders.processed) == {}
    # The lock of the dataset is free, and nothing is left to clean up.
    assert folders.run().record.status is RunStatus.SUCCEEDED


def test_a_run_does_not_wait_for_ever_on_the_log(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")
    folders.deliver()
    with (
        locked(folders, "metrics.pipeline_run_log"),
        pytest.raises(DatabaseUnavailable) as caught,
    ):
        folders.run()
    assert STATUSES[status_of(caught.value)].exit_code == 4
    assert len(folders.names(folders.inbound)) == 2
    assert folders.run().record.status is RunStatus.SUCCEEDED


def test_neither_migrations_nor_a_purge_wait_for_ever(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")
    with (
        locked(folders, "metrics.schema_migration"),
        pytest.raises(DatabaseUnavailable),
    ):
        migrations.apply_migrations(folders.database)
    with (
        locked(folders, "metrics.mismatch_detail_sample"),
        pytest.raises(DatabaseUnavailable),
    ):
        purge.find_old_values(
            folders.database, purge.parse_age("1d"), None, artifacts=False
        )


def test_a_statement_of_control_that_takes_too_long_ends_the_run(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a slow server: here a trigger that sleeps when the run is logged."""
    with psycopg.connect(folders.database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;"
            "CREATE TRIGGER slow BEFORE INSERT ON metrics.file_claim"
            " FOR EACH ROW EXECUTE FUNCTION public.sleep()"
        )
    monkeypatch.setenv("RECON_STATEMENT_TIMEOUT", "1")
    folders.deliver()
    outcome = folders.run()
    assert outcome.error is not None
    assert outcome.record.status is RunStatus.DATABASE_UNAVAILABLE
    assert (outcome.record.exit_code, outcome.error.why) == (4, "SQLSTATE 57014")
    assert "RECON_STATEMENT_TIMEOUT" in outcome.error.message
    assert folders.statuses() == ["DATABASE_UNAVAILABLE"]
    assert len(folders.names(folders.inbound)) == 2


def test_the_bulk_load_takes_as_long_as_it_takes(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing sleeps for longer than a statement of control may take."""
    with psycopg.connect(folders.database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;"
            "CREATE TRIGGER slow BEFORE INSERT ON metrics.recon_summary"
            " FOR EACH ROW EXECUTE FUNCTION public.sleep()"
        )
    monkeypatch.setenv("RECON_STATEMENT_TIMEOUT", "1")
    folders.deliver()
    assert folders.run().record.status is RunStatus.SUCCEEDED
