"""Open connections to Postgres, and translate the errors of its drivers.

A driver's error text may quote a row or, for a malformed address, the password. So only
the SQLSTATE is passed on, never the text.
"""

from __future__ import annotations

import re
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import adbc_driver_manager
import psycopg
from psycopg.types.string import TextLoader

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
from recon_engine.runtime.lazy_module import defer_module


# ADBC imports it for data sets, which are not used here. It imports pandas if that is
# installed, and then takes a third of the time in which a run starts.
defer_module("pyarrow.dataset")
import adbc_driver_postgresql.dbapi  # noqa: E402


if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from recon_engine.config import Address

_OPENING: Final = threading.Lock()


class ErrorClass(NamedTuple):
    """The error for SQLSTATEs that begin with one of `prefixes`."""

    prefixes: tuple[str, ...]
    error: type[ReconError]
    message: str
    help: str


# The first entry that fits decides: single codes come before their classes. A SQLSTATE
# that is not listed may pass by itself, so it is DatabaseUnavailable, which is retried.
ERROR_CLASSES: Final = (
    ErrorClass(
        ("28", "42501"),
        PermissionDenied,
        "Postgres denies access with these credentials",
        "check the user, the password and the grants",
    ),
    ErrorClass(
        ("55P03",),
        DatabaseUnavailable,
        "another session has held a lock for longer than RECON_LOCK_TIMEOUT",
        "find and end the transaction that holds it (pg_stat_activity), then run again",
    ),
    ErrorClass(
        ("57014",),
        DatabaseUnavailable,
        "a statement took longer than RECON_STATEMENT_TIMEOUT, or was cancelled",
        "find out what slows Postgres down (pg_stat_activity), then run again",
    ),
    ErrorClass(
        ("53100",),
        DiskFull,
        "the disk of the Postgres server is full",
        "free disk space there, then run again",
    ),
    ErrorClass(
        ("42P01", "3F000", "42703"),
        ConfigError,
        "the database does not have the tables of this version",
        "run recon migrate",
    ),
    ErrorClass(
        ("2BP01",),
        ConfigError,
        "a view or other object depends on a stage table, which each run replaces",
        "build views on the metrics tables instead",
    ),
    ErrorClass(
        ("22", "23", "42", "54"),
        InternalError,
        "Postgres rejects what the run records",
        "please report this with the SQLSTATE",
    ),
)


# What a statement of a user is refused with: the classes of psycopg, and SQLSTATEs that
# psycopg has for those of the server. They are limits of a statement (54), a function
# that has no value yet, a parameter without one, and a file that is not there.
REFUSALS: Final = (
    psycopg.ProgrammingError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.InternalError,
    psycopg.NotSupportedError,
)
REFUSED: Final = ("54", "55000", "08P01", "58P01")
SELECT_HELP: Final = "pass one valid SELECT, which changes no data"


@contextmanager
def open_connection(
    address: Address, *, autocommit: bool = True, control: bool = True
) -> Iterator[psycopg.Connection]:
    """Open a psycopg connection; with `autocommit` each statement is a transaction.

    Every wait for a lock is bounded by RECON_LOCK_TIMEOUT. With `control` every
    statement is bounded by RECON_STATEMENT_TIMEOUT too: pass False for statements whose
    work grows with the data. Driver errors become errors of recon_engine.errors.
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
        # While autocommit is on: SET in a transaction would end with its rollback.
        connection.execute(lock_timeout().encode())
        if control:
            connection.execute(statement_timeout().encode())
        connection.autocommit = autocommit
        yield connection


@dataclass(frozen=True, slots=True, eq=False)
class _BulkDriver:
    """ADBC's handle of a database, with its catalog of types.

    Reading the catalog takes 50 ms of CPU, so the connections of a run share it. It is
    released with the last of them: each would close it.
    """

    handle: adbc_driver_manager.AdbcDatabase

    def __del__(self) -> None:
        # Nobody can do anything about an error here, and nothing is lost by it.
        with suppress(adbc_driver_manager.Error):
            self.handle.close()

    def connect(self) -> Any:
        """A connection in a transaction."""
        # The driver counts its connections without a lock of its own.
        with _OPENING:
            connection = adbc_driver_manager.AdbcConnection(self.handle)
        return adbc_driver_postgresql.dbapi.Connection(self, connection)

    def close(self) -> None:
        """Keep the handle: other connections may have it."""


def _open_driver(conninfo: str) -> _BulkDriver:
    # Both loads of a run begin at once: the second takes the handle of the first.
    with _OPENING:
        return _driver_for(conninfo)


# A changed password is another string. Only types that every database has are read or
# written, so a catalog does not get old.
@lru_cache(maxsize=1)
def _driver_for(conninfo: str) -> _BulkDriver:
    return _BulkDriver(adbc_driver_postgresql.connect(conninfo))


@contextmanager
def open_bulk_connection(address: Address) -> Iterator[Any]:
    """Open an ADBC connection with one transaction, which the caller commits.

    Without a commit nothing is changed: any exception rolls back.
    """
    with (
        translate_database_errors(),
        _open_driver(conninfo_of(address)).connect() as connection,
    ):
        try:
            with closing(connection.cursor()) as cursor:
                # No limit for statements: the time of a load grows with the file.
                cursor.execute(lock_timeout())
            yield connection
        except BaseException:
            connection.rollback()
            raise


def query_read_only(
    address: Address, statement: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and rows of one statement that cannot change anything.

    `prepare=True` makes Postgres reject several statements in one text. So no statement
    can end the read-only transaction and go on outside it.
    """
    refusal: ConfigError | None = None
    with open_connection(address, autocommit=False, control=False) as connection:
        connection.read_only = True
        # The driver reads a month as 30 days, and infinity as 0.
        connection.adapters.register_loader("interval", TextLoader)
        try:
            cursor = connection.execute(statement.encode(), prepare=True)
            names = [column.name for column in cursor.description or ()]
            return names, cursor.fetchall() if names else []
        except psycopg.Error as error:
            if not _is_refusal(error):
                raise
            refusal = _describe_refusal(error)
            # It may be in the middle of a COPY, after which it takes no COMMIT.
            connection.close()
    # Raised outside the handler: the driver's error must not be its context.
    raise refusal


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether a statement is the cause of its error, and not the server."""
    return isinstance(error, REFUSALS) or (error.sqlstate or "").startswith(REFUSED)


def _describe_refusal(error: psycopg.Error) -> ConfigError:
    """Why a statement of a user is refused, by Postgres or by the driver."""
    if error.sqlstate is not None:
        at = error.diag.statement_position
        return ConfigError(
            "Postgres refuses the statement" + (f" at character {at}" if at else ""),
            why=f"SQLSTATE {error.sqlstate}: {_name_condition(error)}",
            help=SELECT_HELP,
        )
    if isinstance(error, psycopg.DataError):
        return ConfigError(
            "a value of the result cannot be read",
            why="Python has no such value: an infinite timestamp, a day after the year"
            " 9999 or before the year 1, or 24:00",
            help="read its column as text: SELECT column::text",
        )
    return ConfigError("the statement returns no rows", help=SELECT_HELP)


def _name_condition(error: psycopg.Error) -> str:
    """The name of the condition of an SQLSTATE, such as `undefined column`.

    It is that of the standard, and has no word of the statement or of a value.
    """
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Translate errors of psycopg and ADBC to `recon_engine.errors`, without texts."""
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        # `from None`: a traceback would print the driver's text, which may quote a
        # cell.
        raise _translate_error(error) from None


def _translate_error(error: psycopg.Error | adbc_driver_manager.Error) -> ReconError:
    code = getattr(error, "sqlstate", None) or ""
    # No SQLSTATE means no server was asked: libpq could not parse the address.
    if isinstance(error, psycopg.ProgrammingError) and not code:
        return ConfigError(
            "the address of the database is malformed",
            help="use RECON_DATABASE_URL=postgresql://user@host/database",
        )
    for known in ERROR_CLASSES:
        if code.startswith(known.prefixes):
            return known.error(known.message, why=f"SQLSTATE {code}", help=known.help)
    refusal = None if code else refusal_of(str(error))
    return refusal or DatabaseUnavailable(
        "Postgres cannot be reached, or could not carry out a statement",
        why=f"SQLSTATE {code}" if code else None,
        help="check the address and that the server is running, then run again",
    )


def quote_identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
