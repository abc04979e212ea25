"""The database of a command: the one that is named, or the embedded server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Address


EMBEDDED_HOME: Final = Path(".recon")

ADDRESS_VARIABLES: Final = (
    "RECON_DATABASE_URL",
    "RECON_DATABASE_SECRET",
    "RECON_DATABASE_IAM",
)

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


@contextmanager
def past_runs() -> Iterator[Address]:
    """The database, to ask what is in it: no embedded server is made for that."""
    if is_yet_to_be_made():
        raise ConfigError(
            "there are no runs yet",
            why=f"no database is named, and {EMBEDDED_HOME} in this folder has none",
            help="go to the folder of the runs, or name their database by "
            "RECON_DATABASE_URL; recon run makes the first one here",
        )
    with open_database() as address:
        yield address


def is_yet_to_be_made() -> bool:
    """Whether the database is an embedded server that no run has made yet."""
    return _address_from_environment() is None and not any(
        EMBEDDED_HOME.glob("cluster-*")
    )


@contextmanager
def open_database(*, up_to_date: bool = True) -> Iterator[Address]:
    """The database that the environment names, else the embedded server.

    The tables of the embedded one are brought `up_to_date`; others are their owner's.
    """
    address = _address_from_environment()
    if address is not None:
        yield address
    else:
        with open_embedded_database(EMBEDDED_HOME, up_to_date=up_to_date) as conninfo:
            yield conninfo


def _address_from_environment() -> Address | None:
    """By URL, by a secret, by tokens of IAM, or by libpq's own variables."""
    given = {name: os.environ[name] for name in ADDRESS_VARIABLES if name in os.environ}
    if len(given) > 1:
        raise ConfigError(
            f"{' and '.join(given)} are both set", help="name one database, in one way"
        )
    for name, value in given.items():
        if not value.strip():
            raise ConfigError(
                f"{name} is set, and empty",
                help="give it a value, or unset it for the embedded server",
            )
    match given:
        case {"RECON_DATABASE_URL": url}:
            return url
        case {"RECON_DATABASE_SECRET": arn}:
            from recon_engine.aws.database_login import DatabaseSecret

            return DatabaseSecret(arn)
        case {"RECON_DATABASE_IAM": region}:
            from recon_engine.aws.database_login import IamToken

            return IamToken(region)
    by_libpq = any(name in os.environ for name in LIBPQ_VARIABLES)
    return "application_name=recon-engine" if by_libpq else None


def embedded_home() -> Path | None:
    """The home of the embedded server, unless the environment names a database."""
    return EMBEDDED_HOME if _address_from_environment() is None else None


@contextmanager
def open_embedded_database(home: Path, *, up_to_date: bool = True) -> Iterator[str]:
    """The embedded server of a folder."""
    from recon_engine.postgres import migrations
    from recon_engine.postgres.embedded import server

    with server.run_embedded_server(home) as conninfo:
        if up_to_date:
            migrations.apply_migrations(conninfo)
        yield conninfo
