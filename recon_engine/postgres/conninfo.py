"""Where the database is, and that whoever answers there is the one that was meant.

Off this machine Postgres is spoken to under TLS alone, and has to prove its name
(`sslmode=verify-full`), unless `RECON_DATABASE_TLS=unverified` waives that in words.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from recon_engine.errors import ConfigError
from recon_engine.postgres import services


if TYPE_CHECKING:
    from collections.abc import Mapping

    from recon_engine.config import Address


TLS_VARIABLE: Final = "RECON_DATABASE_TLS"
TLS_UNVERIFIED: Final = "unverified"
TLS_VERIFIED: Final = "verify-full"
PORT: Final = re.compile("[0-9]{1,5}")
MOST_PORT: Final = 65_535
ROOT_CERTIFICATES: Final = Path("~/.postgresql/root.crt")
# What decides here, and the variable that libpq takes it from.
VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def conninfo_of(address: Address) -> str:
    """The connection string of now, held to the law of TLS.

    psycopg.ProgrammingError if it cannot be understood.
    """
    conninfo = address() if callable(address) else address
    given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    service = services.defined_by(given)
    known = _by_variables() | (service or {}) | given
    _check_ports(known.get("port") or os.environ.get("PGPORT") or "")
    if (service is not None and _is_local(known)) or _is_waived():
        return conninfo
    mode = known.get("sslmode") or TLS_VERIFIED
    if mode != TLS_VERIFIED:
        raise ConfigError(
            f"sslmode={mode} does not prove which server answers",
            why="the database is not on this machine",
            help=f"sslmode={TLS_VERIFIED}; or waive it in words:"
            f" {TLS_VARIABLE}={TLS_UNVERIFIED}",
        )
    if any(address and not name for address, name in _hosts(known)):
        raise ConfigError(
            "the address of the database has no host name to verify",
            why="the database is not on this machine, and hostaddr is no name",
            help="give host=NAME beside hostaddr, or PGHOST beside PGHOSTADDR",
        )
    _check_authorities(known)
    return make_conninfo(conninfo, sslmode=TLS_VERIFIED)


def _check_ports(ports: str) -> None:
    """Raise ConfigError for what is no port: libpq calls that unreachable."""
    for port in filter(None, ports.split(",")):
        if not PORT.fullmatch(port.strip()) or not 1 <= int(port) <= MOST_PORT:
            raise ConfigError(
                "the port of the database is no port",
                help="PGPORT, or the port in RECON_DATABASE_URL: from 1 to 65535",
            )


def _is_waived() -> bool:
    said = os.environ.get(TLS_VARIABLE, "")
    if said not in {"", TLS_UNVERIFIED}:
        raise ConfigError(
            f"{TLS_VARIABLE} can only be {TLS_UNVERIFIED}", help="or unset it"
        )
    return said == TLS_UNVERIFIED


def _by_variables() -> dict[str, str]:
    """What is not said by the address or its service, libpq takes from these."""
    return {
        name: os.environ[variable]
        for name, variable in VARIABLES.items()
        if variable in os.environ
    }


def _is_local(known: Mapping[str, str]) -> bool:
    """Whether every host that libpq may connect to is this machine."""
    return all(_is_loopback(address or name) for address, name in _hosts(known))


def _hosts(known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Address and name of each: without an address libpq looks up the name."""
    addresses = known.get("hostaddr", "").split(",")
    names = known.get("host", "").split(",")
    return list(zip_longest(addresses, names, fillvalue=""))


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
    service = services.defined_by(given)
    known = _by_variables() | (service or {}) | given
    if (service is not None and _is_local(known)) or _is_waived():
        return None
    authorities = known.get("sslrootcert") or str(ROOT_CERTIFICATES.expanduser())
    return known.get("host") or "", authorities


def _check_authorities(known: Mapping[str, str]) -> None:
    named = known.get("sslrootcert")
    if named == "system" or Path(named or ROOT_CERTIFICATES).expanduser().is_file():
        return
    raise ConfigError(
        "there are no authorities to check the certificate of Postgres against",
        file=named,
        help="PGSSLROOTCERT=FILE; that of RDS is its global certificate bundle",
    )
