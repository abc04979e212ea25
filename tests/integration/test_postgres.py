"""The border of Postgres: an SQLSTATE passes, the words of a driver do not."""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import TYPE_CHECKING
from unittest.mock import patch

import adbc_driver_postgresql
import pytest

from recon_engine.errors import (
    ConfigError,
    DatabaseUnavailable,
    InternalError,
    PermissionDenied,
    ReconError,
)
from recon_engine.postgres.connection import (
    open_bulk_connection,
    open_connection,
    query_read_only,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from support.sites import FolderSite


def by_psycopg(conninfo: str, statement: str) -> None:
    with open_connection(conninfo) as connection:
        connection.execute(statement.encode())


def by_adbc(conninfo: str, statement: str) -> None:
    with (
        open_bulk_connection(conninfo) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute(statement)
        cursor.fetchall()


def printed(error: ReconError) -> str:
    """What a log with a traceback would hold, but for lines of source."""
    lines = traceback.format_exception(error)
    return "".join(line for line in lines if not line.startswith("  "))


@pytest.mark.parametrize("driver", [by_psycopg, by_adbc])
@pytest.mark.parametrize(
    ("statement", "kind", "code"),
    [
        ("SELECT 'SECRET'::text::int", InternalError, "22P02"),
        ("SELECT 1 FROM pg_class WHERE 'SECRET'::uuid IS NULL", InternalError, "22P02"),
        ("SELECT 1 / (length('SECRET') - 6)", InternalError, "22012"),
        ("SELECT * FROM public.secret", ConfigError, "42P01"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable, "57P01"),
    ],
)
def test_what_a_driver_says_stays_behind(
    database: str,
    driver: Callable[[str, str], None],
    statement: str,
    kind: type[ReconError],
    code: str,
) -> None:
    with pytest.raises(kind) as caught:
        driver(database, statement)
    # ADBC has no SQLSTATE for a connection that is gone.
    unnamed = driver is by_adbc and kind is DatabaseUnavailable
    assert caught.value.why == (None if unnamed else f"SQLSTATE {code}")
    said = str(vars(caught.value)) + printed(caught.value)
    for words in ('"SECRET"', "invalid input", "by zero", "does not exist", "command"):
        assert words not in said


def test_a_role_without_grants_is_denied(database: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        by_psycopg(database, "SET ROLE pg_monitor; SELECT * FROM metrics.recon_summary")
    assert caught.value.why == "SQLSTATE 42501"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT count(DISTINCT a) OVER () FROM (SELECT 1) AS _ (a)", "0A000: feature"),
        ("SELECT repeat('x', 2000000000)", "54000: program limit exceeded"),
        ("SELECT " + ", ".join(["1"] * 1_700), "54011: too many columns"),
        ("SELECT lastval()", "55000: object not in"),
        ("SELECT $1", "08P01: protocol violation"),
        ("DO $$BEGIN RAISE unique_violation; END$$", "23505: unique violation"),
        ("SELECT pg_read_file('/nope')", "58P01: undefined file"),
        ("SELECT 1 / 0", "22012: division by zero"),
        ("COPY (SELECT 1) TO STDOUT", None),
        ("SELECT 'infinity'::timestamptz", "Python has no such value"),
        ("SELECT '0044-03-15 BC'::date", "Python has no such value"),
        ("SELECT '24:00'::time", "Python has no such value"),
    ],
)
def test_a_statement_that_is_refused_is_not_a_database_that_is_gone(
    database: str, statement: str, why: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        query_read_only(database, statement)
    assert caught.value.__context__ is None
    if why is None:
        assert caught.value.message == "the statement returns no rows"
    else:
        assert (caught.value.why or "").removeprefix("SQLSTATE ").startswith(why)


def test_an_interval_is_shown_as_postgres_writes_it(database: str) -> None:
    statement = "SELECT 'infinity'::interval a, '1 month'::interval b"
    assert query_read_only(database, statement) == (["a", "b"], [("infinity", "1 mon")])


def test_an_end_of_the_server_is_not_a_refused_statement(database: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        query_read_only(database, "SELECT pg_terminate_backend(pg_backend_pid())")


def test_an_address_that_is_none_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        by_psycopg("postgresql://u:hunter2 pw@host:1:2/db", "SELECT 1")
    assert "hunter2" not in str(vars(caught.value)) + printed(caught.value)


def test_a_run_reads_the_catalog_of_types_once(folders: FolderSite) -> None:
    folders.deliver()
    opened = patch.object(
        adbc_driver_postgresql, "connect", wraps=adbc_driver_postgresql.connect
    )
    with opened as connect:
        folders.run()
    assert folders.statuses() == ["SUCCEEDED"]
    assert connect.call_count == 1  # for two loads and the result


def test_a_connection_goes_on_after_others_of_its_address_and_of_another(
    database: str,
) -> None:
    other = f"{database} application_name=other"
    with (
        open_bulk_connection(database) as connection,
        closing(connection.cursor()) as cursor,
    ):
        for address in (database, other, database):
            by_adbc(address, "SELECT 1")
            cursor.execute("SELECT current_database()")
            assert f"dbname={cursor.fetchone()[0]}" in database
