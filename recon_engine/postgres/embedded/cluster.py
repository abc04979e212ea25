"""The data folder (cluster) of an embedded PostgreSQL, and its locks.

Two lock files lie beside it. The kernel releases a lock when its holder dies:

- `cluster-18.lock` is held exclusively by the server. Every process of the server
  inherits it, so the lock is free if and only if none of them is alive.
- `cluster-18.users` is held in shared mode by everyone who uses the server.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.errors import ConfigError
from recon_engine.postgres.embedded.system_folder import link_into_system_folder


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.postgres.embedded.programs import Account, Programs


PROCESSES = Path("/proc")
CLUSTER = re.compile(r"cluster-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The data folder of one major version, and the account it belongs to."""

    path: Path
    account: Account

    @classmethod
    def of(cls, home: Path, programs: Programs) -> Cluster:
        """That of a home, which is made if it is not there; the cluster is not."""
        home.mkdir(parents=True, exist_ok=True)
        entry, account = home.resolve() / f"cluster-{programs.major}", programs.account
        if not (
            entry.is_symlink() or entry.exists() or account.can_enter(entry.parent)
        ):
            link_into_system_folder(entry)
        cluster = cls(entry.resolve(), account)
        cluster.check(entry)
        return cluster

    def sibling_path(self, suffix: str) -> Path:
        """A file that belongs to it and is not in it."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def check(self, entry: Path) -> None:
        """Raise ConfigError where data may exist that this process cannot see."""
        place = self.path.parent
        if not (place.is_dir() and self.account.can_enter(place)):
            raise ConfigError(
                f"{entry} is kept in {place}, which is gone or cannot be entered",
                help=f"restore it; or remove {entry} to start with an empty database;"
                " or start in another folder, or set RECON_DATABASE_URL",
            )
        if self.path.exists() and self.path.stat().st_uid != self.account.uid:
            raise ConfigError(
                f"{entry} was created by another account",
                help="run as that account, or start in another folder, or set"
                " RECON_DATABASE_URL",
            )


def majors(home: Path) -> list[int]:
    """The major versions of which a home has a cluster."""
    found = (CLUSTER.fullmatch(entry.name) for entry in home.glob("cluster-*"))
    return sorted(int(each[1]) for each in found if each)


@contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """A file to take locks on; closing it gives them up."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take a lock for ourselves alone, if that is possible now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_unlocked(path: Path) -> bool:
    """Whether nobody holds a lock on it now."""
    with lock_file(path) as lock:
        return try_lock(lock)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server that accepts connections."""

    pid: int
    sockets: Path
    port: int

    @property
    def conninfo(self) -> str:
        """The address for libpq: a Unix socket, which takes no password."""
        return f"host={self.sockets} port={self.port} user=recon dbname=postgres"


def find_postmaster(cluster: Cluster) -> Postmaster | None:
    """The server of a cluster, if one is ready: its pid file says so, and it answers.

    The file alone proves nothing: it outlives a crash, and its number is then reused;
    it is copied with a copy of the home.
    """
    lines = read_pid_file(cluster)
    # Of `postmaster.pid`, line 2 is the data folder and line 8 the state. Line 4 is the
    # port and line 5 the folder of the socket.
    if [line.strip() for line in lines[1:8:6]] != [str(cluster.path), "ready"]:
        return None
    said = Postmaster(int(lines[0]), Path(lines[4]), int(lines[3]))
    return said if _is_listening(said, cluster.account.uid) else None


def read_pid_file(cluster: Cluster) -> list[str]:
    """The lines that a server writes of itself; none if there is no file."""
    try:
        return (cluster.path / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_listening(postmaster: Postmaster, uid: int) -> bool:
    """Whether that very process, of that account, listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(postmaster.sockets / f".s.PGSQL.{postmaster.port}"))
        except OSError:
            return False
        return _peer_of_socket(probe) in {(postmaster.pid, uid), None}


def _peer_of_socket(connected: socket.socket) -> tuple[int, int] | None:
    """The pid and uid at the other end of a socket; None except on Linux."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    # struct ucred of Linux: pid, uid, gid.
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def find_server_pid(cluster: Cluster) -> int | None:
    """The server's process, ready or not: its cluster is its working folder (Linux)."""
    # Without /proc (macOS) only a server that answers is known.
    if not (PROCESSES / "self").exists():
        found = find_postmaster(cluster)
        return found.pid if found else None
    pid = (read_pid_file(cluster) or [""])[0].strip()
    with suppress(OSError):
        if (PROCESSES / pid / "cwd").readlink() == cluster.path:
            return int(pid)
    return None
