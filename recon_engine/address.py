"""Where the database is, and that whoever answers there is the one that was meant.

Off this machine Postgres is spoken to under TLS alone, and has to prove its name
(`sslmode=verify-full`), unless `RECON_DATABASE_TLS=unverified` waives that in words.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from recon_engine.config import Address


WAIVER: Final = "RECON_DATABASE_TLS"
WAIVED: Final = "unverified"
VERIFIED: Final = "verify-full"
AUTHORITIES: Final = Path("~/.postgresql/root.crt")


def conninfo_of(address: Address) -> str:
    """The connection string of now, held to the law of TLS.

    psycopg.ProgrammingError if it cannot be understood.
    """
    conninfo = address() if callable(address) else address
    given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    if _is_here(given) or _is_waived():
        return conninfo
    mode = given.get("sslmode") or os.environ.get("PGSSLMODE") or VERIFIED
    if mode != VERIFIED:
        raise ConfigError(
            f"sslmode={mode} does not prove which server answers",
            why="the database is not on this machine",
            help=f"sslmode={VERIFIED}; or waive it in words: {WAIVER}={WAIVED}",
        )
    _check_authorities(given)
    return make_conninfo(conninfo, sslmode=VERIFIED)


def _is_waived() -> bool:
    said = os.environ.get(WAIVER, "")
    if said not in {"", WAIVED}:
        raise ConfigError(f"{WAIVER} can only be {WAIVED}", help="or unset it")
    return said == WAIVED


def _is_here(given: Mapping[str, str]) -> bool:
    """Whether every host it may connect to is this machine.

    What a service file says is not known here, so it is taken for elsewhere.
    """
    named = given.get("hostaddr") or given.get("host")
    if named is None and (given.get("service") or os.environ.get("PGSERVICE")):
        return False
    hosts = named or os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST") or ""
    return all(_is_loopback(host.strip()) for host in hosts.split(","))


def _is_loopback(host: str) -> bool:
    """A socket in the file system, or an address that no packet leaves for."""
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def authorities_of(conninfo: str) -> tuple[str, str] | None:
    """The host of a connection string of now, and the file its certificate must fit.

    None where nobody has to prove a name.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    if _is_here(given) or _is_waived():
        return None
    host = given.get("host") or os.environ.get("PGHOST") or ""
    return host, _named_authorities(given) or str(AUTHORITIES.expanduser())


def _named_authorities(given: Mapping[str, str]) -> str | None:
    return given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")


def _check_authorities(given: Mapping[str, str]) -> None:
    named = _named_authorities(given)
    if named == "system" or Path(named or AUTHORITIES).expanduser().is_file():
        return
    raise ConfigError(
        "there are no authorities to check the certificate of Postgres against",
        file=named,
        help="PGSSLROOTCERT=FILE; that of RDS is its global certificate bundle",
    )
