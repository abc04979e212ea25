"""Connections to Postgres, and the one border its errors have to cross.

What a driver says of an error may quote a row or, for a malformed address, the
password. Only the SQLSTATE of it goes any further.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg

from recon_engine.errors import (
    ConfigError,
    DatabaseUnavailable,
    DiskFull,
    InternalError,
    PermissionDenied,
    ReconError,
)
from recon_engine.postgres.conninfo import conninfo_of
from recon_engine.postgres.refusals import refusal_of
from recon_engine.postgres.timeouts import lock_timeout, statement_timeout


if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from recon_engine.config import Address


# By the beginning of the SQLSTATE, the first that fits; all others may pass.
ERROR_CLASSES: Final[
    tuple[tuple[tuple[str, ...], type[ReconError], str, str | None], ...]
] = (
    (
        ("28", "42501"),
        PermissionDenied,
        "Postgres refuses these credentials",
        "check user, password and grants",
    ),
    (
        ("55P03",),
        DatabaseUnavailable,
        "another session keeps a lock for longer than RECON_LOCK_TIMEOUT allows",
        "end the transaction that holds it (pg_stat_activity), run again",
    ),
    (
        ("57014",),
        DatabaseUnavailable,
        "a statement took longer than RECON_STATEMENT_TIMEOUT, or was cancelled",
        "find what slows Postgres down (pg_stat_activity), run again",
    ),
    (("53100",), DiskFull, "the disk of Postgres is full", "make room, then run again"),
    (
        ("42P01", "3F000", "42703"),
        ConfigError,
        "the database does not have the tables of this version",
        "run recon migrate",
    ),
    (
        ("2BP01",),
        ConfigError,
        "something depends on a stage table, which each run replaces",
        "build views on the metrics tables instead",
    ),
    (
        ("22", "23", "42", "54"),
        InternalError,
        "Postgres refuses what was to be recorded",
        "please report it with the SQLSTATE",
    ),
)


@contextmanager
def open_connection(
    address: Address, *, autocommit: bool = True, control: bool = True
) -> Iterator[psycopg.Connection]:
    """A connection by psycopg; with `autocommit` each statement is a transaction.

    Waits for locks are bounded, and statements of `control` altogether; not those that
    do work that grows with the data.
    """
    with (
        translate_database_errors(),
        psycopg.connect(
            conninfo_of(address),
            autocommit=True,
            client_encoding="utf8",
            application_name="recon-engine",
        ) as connection,
    ):
        connection.execute(lock_timeout().encode())
        if control:
            connection.execute(statement_timeout().encode())
        connection.autocommit = autocommit
        yield connection


@contextmanager
def open_bulk_connection(address: Address) -> Iterator[Any]:
    """An ADBC connection in one transaction: commit it, or nothing has happened."""
    with (
        translate_database_errors(),
        adbc_driver_postgresql.dbapi.connect(conninfo_of(address)) as connection,
    ):
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(lock_timeout())
            yield connection
        except BaseException:
            connection.rollback()
            raise


def query_read_only(
    address: Address, statement: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of one statement, which can change nothing.

    One, because a prepared statement is one; nothing, because the transaction it runs
    in is read-only and cannot be left by it.
    """
    refusal: ConfigError | None = None
    with open_connection(address, autocommit=False, control=False) as connection:
        connection.read_only = True
        try:
            cursor = connection.execute(statement.encode(), prepare=True)
            names = [column.name for column in cursor.description or ()]
            return names, cursor.fetchall() if names else []
        except (
            psycopg.ProgrammingError,
            psycopg.DataError,
            psycopg.InternalError,
        ) as e:
            at = e.diag.statement_position
            refusal = ConfigError(
                "Postgres refuses the statement"
                + (f" at character {at}" if at else ""),
                why=f"SQLSTATE {e.sqlstate}",
                help="one SELECT, spelled right; 25006 means it would change something",
            )
    raise refusal


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Turn what psycopg and ADBC raise into errors of ours, which do not carry it."""
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        raise _translate_error(error) from None


def _translate_error(error: psycopg.Error | adbc_driver_manager.Error) -> ReconError:
    code = getattr(error, "sqlstate", None) or ""
    if isinstance(error, psycopg.ProgrammingError) and not code:
        return ConfigError(
            "the address of the database cannot be understood",
            help="RECON_DATABASE_URL=postgresql://user@host/database",
        )
    for codes, kind, message, remedy in ERROR_CLASSES:
        if code.startswith(codes):
            return kind(message, why=f"SQLSTATE {code}", help=remedy)
    refusal = None if code else refusal_of(str(error))
    return refusal or DatabaseUnavailable(
        "Postgres cannot be reached, or could not do what it was asked",
        why=f"SQLSTATE {code}" if code else None,
        help="check the address and that the server runs, then run again",
    )


def quote_identifier(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
