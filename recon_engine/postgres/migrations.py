"""Apply the migrations: plain SQL files, in order, each exactly once.

All pending files are applied in one transaction, so the schema is never half migrated.
Applied files are recorded with their SHA-256. Files are only ever added: a file that
was changed, removed or inserted before an applied one is an error.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from recon_engine.errors import (
    ConfigError,
    DatabaseUnavailable,
    PermissionDenied,
    ReconError,
)
from recon_engine.postgres.conninfo import conninfo_of
from recon_engine.postgres.refusals import refusal_of
from recon_engine.postgres.timeouts import lock_timeout


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from recon_engine.config import Address


NAME_PATTERN = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration file."""

    name: str
    sql: bytes

    @property
    def number(self) -> str:
        """The four digits that begin the name; files are applied in their order."""
        return self.name[:4]

    @property
    def sha256(self) -> str:
        """The hash in the ledger. CRLF counts as LF: a checkout may convert it."""
        return hashlib.sha256(self.sql.replace(b"\r\n", b"\n")).hexdigest()


def schema_folder() -> Traversable:
    """The folder `schemas`: inside an installed package, at the root of a checkout."""
    packaged = files("recon_engine") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"


def apply_migrations(address: Address) -> tuple[str, ...]:
    """Apply all pending migrations and the grants; return the names newly applied.

    The grants of `access/grants.sql` are skipped if the roles do not exist. Several
    processes may call this at once. After a failure nothing has changed.
    """
    migrations = _read_migrations()
    with _open_transaction(address) as connection:
        applied = _apply_pending(connection, migrations)
        connection.execute(read_access_sql("grants"))
        return applied


def pending_migrations(address: Address) -> tuple[str, ...]:
    """The names that `apply_migrations` would apply; changes nothing."""
    migrations = _read_migrations()
    with _open_transaction(address) as connection:
        connection.read_only = True
        applied = _read_ledger(connection) if _has_ledger(connection) else {}
    _check_drift(applied, migrations)
    return tuple(each.name for each in migrations if each.name not in applied)


def read_access_sql(name: str) -> bytes:
    """The SQL of the `roles` of a shared database, or of their `grants`."""
    return (schema_folder() / "access" / f"{name}.sql").read_bytes()


@contextmanager
def _open_transaction(address: Address) -> Iterator[psycopg.Connection]:
    try:
        conninfo = conninfo_of(address)
        with psycopg.connect(conninfo, client_encoding="utf8") as connection:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.execute(lock_timeout().encode())
            # SET is undone by a rollback: committed, the limit holds for what follows.
            connection.commit()
            yield connection
    except psycopg.Error as error:
        raise _translate_error(error) from None


def _read_migrations() -> tuple[Migration, ...]:
    """Every migration by number; ConfigError for a misnamed or duplicate one."""
    found = sorted(
        (schema_folder() / "migrations").iterdir(), key=lambda file: file.name
    )
    scripts = [file for file in found if file.name.endswith(".sql")]
    migrations = tuple(Migration(file.name, file.read_bytes()) for file in scripts)
    for migration in migrations:
        _check_name(migration, migrations)
    return migrations


def _check_name(migration: Migration, among: Sequence[Migration]) -> None:
    if NAME_PATTERN.fullmatch(migration.name) is None:
        raise ConfigError(
            f"invalid migration file name: {migration.name}",
            help="use a name such as 0002_what_it_adds.sql",
        )
    twins = [other.name for other in among if other.number == migration.number]
    if len(twins) > 1:
        raise ConfigError(
            f"two migrations have the number {migration.number}: {', '.join(twins)}",
            help="give the later one the next free number",
        )


def _apply_pending(
    connection: psycopg.Connection, migrations: Sequence[Migration]
) -> tuple[str, ...]:
    # The transaction holds this lock to its end. READ COMMITTED lets a process that
    # waited for it see what the other one applied.
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('recon.schema', 0))"
    )
    applied = _read_ledger(connection)
    _check_drift(applied, migrations)
    pending = [each for each in migrations if each.name not in applied]
    for migration in pending:
        _apply_one(connection, migration)
    return tuple(migration.name for migration in pending)


CREATE_LEDGER = """
CREATE SCHEMA IF NOT EXISTS metrics;
CREATE TABLE metrics.schema_migration (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE metrics.schema_migration IS 'The migrations applied to this database.';
COMMENT ON COLUMN metrics.schema_migration.name IS 'The name of the file.';
COMMENT ON COLUMN metrics.schema_migration.sha256 IS
    'The SHA-256 of the file, with line ends as LF.';
COMMENT ON COLUMN metrics.schema_migration.applied_at IS 'When it was applied.';
"""


def _read_ledger(connection: psycopg.Connection) -> dict[str, str]:
    """The SHA-256 of each applied migration, by name.

    The ledger is created only if it is missing: checking an up-to-date database needs
    no right to create anything.
    """
    if not _has_ledger(connection):
        connection.execute(CREATE_LEDGER)
    return dict(connection.execute("SELECT name, sha256 FROM metrics.schema_migration"))


def _has_ledger(connection: psycopg.Connection) -> bool:
    known = connection.execute("SELECT to_regclass('metrics.schema_migration')")
    return known.fetchone() != (None,)


def _check_drift(applied: Mapping[str, str], migrations: Sequence[Migration]) -> None:
    """Raise ConfigError unless applied files are an unchanged prefix of all files."""
    by_name = {migration.name: migration for migration in migrations}
    for name in sorted(applied):
        if name not in by_name:
            raise ConfigError(
                f"the database has the migration {name}, which this version lacks",
                help="use the version of recon-engine that applied it, or a later one",
            )
        if by_name[name].sha256 != applied[name]:
            raise ConfigError(
                f"the migration {name} was changed after it was applied",
                help="restore the file, and put the change into a new migration",
            )
    # A migration below an applied one was never tried in the order of this database.
    latest = max(applied, default="")
    for name in by_name.keys() - applied.keys():
        if name < latest:
            raise ConfigError(
                f"the migration {name} sorts before {latest}, which is already applied",
                help=f"rename {name} to a number after {latest[:4]}",
            )


def _apply_one(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        connection.execute(migration.sql)
    except psycopg.Error as error:
        raise _translate_error(error, migration.name) from None
    connection.execute(
        "INSERT INTO metrics.schema_migration (name, sha256) VALUES (%s, %s)",
        (migration.name, migration.sha256),
    )


def _translate_error(error: psycopg.Error, file: str | None = None) -> ReconError:
    """The error for a refusal, without its text: it may quote data or passwords."""
    match error.sqlstate:
        case None:
            return refusal_of(str(error)) or DatabaseUnavailable(
                "Postgres cannot be reached, or closed the connection",
                file=file,
                help="check the address and that the server is running; nothing has "
                "changed",
            )
        case "42501" | "28000" | "28P01" as code:
            return PermissionDenied(
                "this database user may not change the schema",
                file=file,
                why=f"SQLSTATE {code}",
                help="run recon migrate as the owner of the schema metrics",
            )
        # Classes that pass by themselves: connection, rollback (as after a deadlock),
        # resources, objects in use, operator intervention, system errors.
        case code if code[:2] in {"08", "40", "53", "55", "57", "58"}:
            return DatabaseUnavailable(
                "Postgres could not apply the migrations now",
                file=file,
                why=f"SQLSTATE {code}",
                help="run the command again; nothing has changed",
            )
        case code:
            return ConfigError(
                "a migration failed and was rolled back",
                file=file,
                why=f"SQLSTATE {code}",
                help="see the log of the Postgres server for details",
            )
