"""Connections to Postgres, and the one border its errors have to cross.

What a driver says of an error may quote a row or, for a malformed address, the
password. Only the SQLSTATE of it goes any further.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

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


if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@contextmanager
def connect(conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection for control: each statement is its own transaction."""
    with classified():
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            client_encoding="utf8",
            application_name="recon-engine",
        )
    with connection:
        yield connection


@contextmanager
def bulk(conninfo: str) -> Iterator[Any]:
    """An ADBC connection in one transaction: commit it, or nothing has happened."""
    with classified(), adbc_driver_postgresql.dbapi.connect(conninfo) as connection:
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise


def ask(conninfo: str, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of one statement, which can change nothing."""
    with connect(conninfo) as connection:
        connection.execute("SET default_transaction_read_only = on")
        with _explained(statement):
            cursor = connection.execute(statement)
            names = [column.name for column in cursor.description or ()]
            return names, cursor.fetchall() if names else []


@contextmanager
def _explained(statement: str) -> Iterator[None]:
    """A user's own statement: Postgres says where it is wrong, and quotes no row."""
    try:
        with classified():
            yield
    except (InternalError, ConfigError) as error:
        raise ConfigError(
            "Postgres refuses the statement",
            why=error.why,
            help="check it: " + statement,
        ) from None


@contextmanager
def classified() -> Iterator[None]:
    """Turn what psycopg and ADBC raise into errors of ours."""
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        raise _ours(error) from None


def _ours(error: psycopg.Error | adbc_driver_manager.Error) -> ReconError:
    code = getattr(error, "sqlstate", None) or ""
    why = f"SQLSTATE {code}" if code else None
    if isinstance(error, psycopg.ProgrammingError) and not code:
        return ConfigError(
            "the address of the database cannot be understood",
            help="RECON_DATABASE_URL=postgresql://user@host/database",
        )
    if code.startswith("28") or code == "42501":
        return PermissionDenied(
            "Postgres refuses these credentials",
            why=why,
            help="check user, password and grants",
        )
    if code == "53100":
        return DiskFull("the disk of Postgres is full", why=why)
    if code in {"42P01", "3F000", "42703"}:
        return ConfigError(
            "the database does not have the tables of this version",
            why=why,
            help="run recon migrate",
        )
    if code.startswith(("22", "23", "42")):
        return InternalError("Postgres refuses what was to be recorded", why=why)
    return DatabaseUnavailable(
        "Postgres cannot be reached, or could not do what it was asked",
        why=why,
        help="check the address and that the server runs, then run again",
    )
