"""The database of a command: the one in the environment, or the embedded server."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Address


log = logging.getLogger("recon")

EMBEDDED_HOME: Final = Path(".recon")

ADDRESS_VARIABLES: Final = (
    "RECON_DATABASE_URL",
    "RECON_DATABASE_SECRET",
    "RECON_DATABASE_IAM",
)

# Any of these means that there is a server, and libpq finds it without an address.
LIBPQ_VARIABLES: Final = (
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGSERVICE",
)


def choose_home(config_file: Path | None = None) -> Path:
    """The home of the embedded server: `.recon` of the working directory.

    If that has no database, and the folder of the configuration file has one, it is
    that of the configuration file: the same `--config` from another folder continues
    the same history. `config_file`: as it is named, whether or not it is read.
    """
    if config_file is None or _address_from_environment() is not None:
        return EMBEDDED_HOME
    beside = config_file.parent / EMBEDDED_HOME
    if not _has_cluster(beside) or beside.resolve() == EMBEDDED_HOME.resolve():
        return EMBEDDED_HOME
    if _has_cluster(EMBEDDED_HOME):
        facts = {"used": str(EMBEDDED_HOME.resolve()), "other": str(beside.resolve())}
        log.warning("two_databases", extra=facts)
        return EMBEDDED_HOME
    return beside


def _has_cluster(home: Path) -> bool:
    from recon_engine.postgres.embedded.cluster import majors

    return bool(majors(home))


@contextmanager
def past_runs(config_file: Path | None = None) -> Iterator[Address]:
    """Open the database to read earlier runs; do not create an embedded server.

    `config_file`: as `choose_home` takes it.
    """
    home = choose_home(config_file)
    if is_yet_to_be_made(home):
        raise ConfigError(
            "there are no runs yet",
            why="RECON_DATABASE_URL is not set, and there is no embedded database: "
            f"{home.resolve()} does not exist or is empty",
            help="change to the folder of the runs, or set RECON_DATABASE_URL; "
            "recon run creates a database here",
        )
    with open_database(home) as address:
        yield address


def is_yet_to_be_made(home: Path = EMBEDDED_HOME) -> bool:
    """Whether the database is an embedded server that no run has created yet."""
    return _address_from_environment() is None and not _has_cluster(home)


@contextmanager
def open_database(
    home: Path = EMBEDDED_HOME, *, up_to_date: bool = True
) -> Iterator[Address]:
    """Open the database in the environment, or the embedded server if there is none.

    `up_to_date`: apply pending migrations, to an embedded database only. The owner of
    any other database runs `recon migrate`.
    """
    address = _address_from_environment()
    if address is not None:
        yield address
    else:
        with open_embedded_database(home, up_to_date=up_to_date) as conninfo:
            yield conninfo


def _address_from_environment() -> Address | None:
    """The address by URL, secret, IAM token or libpq's variables; None without one."""
    given = {name: os.environ[name] for name in ADDRESS_VARIABLES if name in os.environ}
    if len(given) > 1:
        raise ConfigError(
            f"{' and '.join(given)} are both set", help="set only one of them"
        )
    for name, value in given.items():
        if not value.strip():
            raise ConfigError(
                f"{name} is set to an empty value",
                help="set it to a value, or unset it to use the embedded server",
            )
    match given:
        case {"RECON_DATABASE_URL": url}:
            return url
        case {"RECON_DATABASE_SECRET": arn}:
            # Lazy, as below: only these two addresses need a client of AWS.
            from recon_engine.aws.database_login import DatabaseSecret

            return DatabaseSecret(arn)
        case {"RECON_DATABASE_IAM": region}:
            from recon_engine.aws.database_login import IamToken

            return IamToken(region)
    by_libpq = any(name in os.environ for name in LIBPQ_VARIABLES)
    # An address that names nothing: libpq takes everything from its variables.
    return "application_name=recon-engine" if by_libpq else None


def embedded_home(home: Path = EMBEDDED_HOME) -> Path | None:
    """The home of the embedded server, unless the environment names a database."""
    return home if _address_from_environment() is None else None


@contextmanager
def open_embedded_database(home: Path, *, up_to_date: bool = True) -> Iterator[str]:
    """Run the embedded server of a folder; yield its connection string."""
    from recon_engine.postgres import migrations
    from recon_engine.postgres.embedded import server

    with server.run_embedded_server(home) as conninfo:
        # Nobody else owns this database, so no one has to run `recon migrate`.
        if up_to_date:
            migrations.apply_migrations(conninfo)
        yield conninfo
