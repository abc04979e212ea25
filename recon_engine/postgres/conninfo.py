"""Build the connection string, and require verified TLS for a remote server.

A server on another machine must prove its host name (`sslmode=verify-full`), unless
RECON_DATABASE_TLS=unverified turns that off explicitly. libpq's own default, `prefer`,
would send the password to whoever answers.
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
# The parameters that decide whether TLS is needed, with libpq's variable for each.
VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def conninfo_of(address: Address) -> str:
    """The current connection string, with `sslmode=verify-full` for a remote server.

    An address that is a function is called: its password may change at any time.
    Raises ConfigError if TLS cannot be verified, psycopg.ProgrammingError for a
    malformed address.
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
            f"sslmode={mode} does not verify the identity of the server",
            why="the database is not on this machine",
            help=f"set sslmode={TLS_VERIFIED}, or turn verification off with"
            f" {TLS_VARIABLE}={TLS_UNVERIFIED}",
        )
    # libpq connects to `hostaddr`, and compares the certificate with `host`.
    if any(address and not name for address, name in _hosts(known)):
        raise ConfigError(
            "the address of the database has no host name to verify",
            why="the database is not on this machine, and hostaddr is an IP address",
            help="set host=NAME in addition to hostaddr, or PGHOST to PGHOSTADDR",
        )
    _check_authorities(known)
    return make_conninfo(conninfo, sslmode=TLS_VERIFIED)


def _check_ports(ports: str) -> None:
    """Raise ConfigError for an invalid port: libpq would report it as unreachable."""
    for port in filter(None, ports.split(",")):
        if not PORT.fullmatch(port.strip()) or not 1 <= int(port) <= MOST_PORT:
            raise ConfigError(
                "the port of the database is not a number from 1 to 65535",
                help="correct PGPORT, or the port in RECON_DATABASE_URL",
            )


def _is_waived() -> bool:
    value = os.environ.get(TLS_VARIABLE, "")
    if value not in {"", TLS_UNVERIFIED}:
        raise ConfigError(
            f"{TLS_VARIABLE} can only be {TLS_UNVERIFIED}",
            help="set it to that, or unset it",
        )
    return value == TLS_UNVERIFIED


def _by_variables() -> dict[str, str]:
    """The parameters that libpq takes from variables, if the address has none."""
    return {
        name: os.environ[variable]
        for name, variable in VARIABLES.items()
        if variable in os.environ
    }


def _is_local(known: Mapping[str, str]) -> bool:
    """Whether every host that libpq may connect to is this machine."""
    return all(_is_loopback(address or name) for address, name in _hosts(known))


def _hosts(known: Mapping[str, str]) -> list[tuple[str, str]]:
    """The address and name of each host; libpq resolves the name without an address."""
    addresses = known.get("hostaddr", "").split(",")
    names = known.get("host", "").split(",")
    return list(zip_longest(addresses, names, fillvalue=""))


def _is_loopback(host: str) -> bool:
    """Whether a host is a Unix socket or a loopback address."""
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def authorities_of(conninfo: str) -> tuple[str, str] | None:
    """The host of a connection string, and the file of authorities it is verified by.

    None if the server is not verified: it is local, or verification is turned off.
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
    # libpq's name for the certificates that its TLS library trusts.
    if named == "system" or Path(named or ROOT_CERTIFICATES).expanduser().is_file():
        return
    raise ConfigError(
        "the CA bundle to verify the certificate of Postgres does not exist",
        file=named,
        help="set PGSSLROOTCERT=FILE; for RDS, the global certificate bundle of RDS",
    )
