"""Start, attach to and stop the server process of a cluster.

The server listens on a Unix socket in a folder that only its account can enter, never
on a network. It admits only the account that started it: for root, the server runs as
`nobody`, and other services may use that account too. Its log holds no statement
errors, which could quote a cell.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recon_engine.errors import DatabaseUnavailable
from recon_engine.postgres.embedded import system_folder
from recon_engine.postgres.embedded.cluster import (
    PROCESSES,
    find_postmaster,
    find_server_pid,
    is_unlocked,
    lock_file,
    read_pid_file,
    try_lock,
)
from recon_engine.postgres.embedded.programs import (
    clean_environment,
    own_name,
    run_program,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon_engine.postgres.embedded.cluster import Cluster, Postmaster
    from recon_engine.postgres.embedded.programs import Account, Programs

    Process = subprocess.Popen[bytes]

Found = TypeVar("Found")


# After a crash the server first replays its WAL, up to `max_wal_size` of it.
START_SECONDS = 120.0
STOP_SECONDS = 30.0

# With `wal_level` minimal Postgres writes no WAL for the rows of a table that the same
# transaction has created, which is how stage tables are loaded. A server without
# replication needs no more. The `log_*` settings keep statements, which could quote a
# cell, out of the log.
SETTINGS = {
    "listen_addresses": "",
    # The port is only a part of the socket's name: no network is used.
    "port": "5432",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
INITDB = ("-U", "recon", "-A", "peer", "-E", "UTF8", "--locale=C", "--no-instructions")
HBA = "local all all peer map=recon\n"
# `all` is a word since PostgreSQL 16: the roles of migrations are tried out on it too.
IDENT = 'recon "{name}" recon\nrecon "{name}" all\n'
# For clusters whose data nobody needs after a crash of the machine, as in tests.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def join_or_start(cluster: Cluster, programs: Programs, *, durable: bool) -> Postmaster:
    """Attach to the running server, or start it, or wait for whoever starts it."""
    with lock_file(cluster.sibling_path("lock")) as lock:

        def attached_or_started() -> Postmaster | None:
            if running := find_postmaster(cluster):
                return running
            # Whoever holds the lock is starting the server, or is a server that is
            # ending.
            if try_lock(lock):
                return _start_server(cluster, programs, lock, durable=durable)
            return None

        if joined := wait_until(START_SECONDS, attached_or_started):
            return joined
    raise DatabaseUnavailable(
        "the embedded Postgres is running but does not accept connections",
        file=str(cluster.path),
        help=f"stop its process {find_server_pid(cluster) or ''}".rstrip()
        + " and run again",
    )


def wait_until(seconds: float, find: Callable[[], Found | None]) -> Found | None:
    """Ask until there is something true, or too late."""
    deadline = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def _start_server(
    cluster: Cluster, programs: Programs, lock: int, *, durable: bool
) -> Postmaster:
    with _open_log(cluster) as log:
        if not cluster.path.is_dir():
            _create_cluster(cluster, programs, log, durable=durable)
        _remove_stale_pid_file(cluster)
        process = _spawn_server(cluster, programs, lock, log, durable=durable)
    try:
        ready = _wait_until_ready(cluster, process)
    except BaseException:
        _end_process(process)
        raise
    # Who stops the server may be another process: here it only has to be reaped.
    threading.Thread(target=process.wait, name="postgres", daemon=True).start()
    return ready


@contextmanager
def _open_log(cluster: Cluster) -> Iterator[int]:
    """The log of one server, from its start."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(cluster.sibling_path("log"), flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _create_cluster(
    cluster: Cluster, programs: Programs, log: int, *, durable: bool
) -> None:
    """Under another name first, so that a cluster is whole or not there."""
    fresh = cluster.sibling_path("new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    cluster.account.own(fresh)
    options = (*INITDB, *(() if durable else ("--no-sync",)))
    made = run_program(
        [programs.folder / "initdb", "-D", fresh, *options], cluster.account
    )
    os.write(log, (made.stdout + made.stderr).encode())
    if made.returncode:
        raise _start_error(cluster)
    fresh.rename(cluster.path)


def _remove_stale_pid_file(cluster: Cluster) -> None:
    """Remove the pid file of a server that is gone.

    Postgres does so itself, unless the number now belongs to another process.
    """
    if (PROCESSES / "self").exists() and find_server_pid(cluster) is None:
        (cluster.path / "postmaster.pid").unlink(missing_ok=True)


def _spawn_server(
    cluster: Cluster, programs: Programs, lock: int, log: int, *, durable: bool
) -> Process:
    sockets = _socket_folder(cluster.account)
    settings = {
        **_access(cluster),
        **SETTINGS,
        "unix_socket_directories": str(sockets),
    }
    flags = [
        part
        for name, value in (settings | ({} if durable else NOT_DURABLE)).items()
        for part in ("-c", f"{name}={value}")
    ]
    return subprocess.Popen(
        [programs.folder / "postgres", "-D", cluster.path, *flags],
        cwd="/",
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # The lock of `_start_server` goes to the server: it is held until its last
        # process ends, even if this one dies before.
        pass_fds=[lock],
        start_new_session=True,  # Ctrl-C is for us, who then stop the server in order
        user=cluster.account.user,
        group=cluster.account.group,
        extra_groups=cluster.account.groups,
    )


def _access(cluster: Cluster) -> dict[str, str]:
    """Who may connect: whoever runs this, under any role.

    Beside the cluster and not in it, so one that an earlier version made with `trust`
    is held to it too, and the server's own account cannot change it.
    """
    files = {"hba": HBA, "ident": IDENT.format(name=own_name().replace('"', '""'))}
    for suffix, text in files.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(
            os.open(cluster.sibling_path(suffix), flags, 0o644), "w"
        ) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
    return {f"{suffix}_file": str(cluster.sibling_path(suffix)) for suffix in files}


def _socket_folder(account: Account) -> Path:
    """Only the account of the server, and root, gets in."""
    folder = Path(tempfile.mkdtemp(prefix="recon-pg-", dir=system_folder.TEMPORARY))
    account.own(folder)
    return folder


def _wait_until_ready(cluster: Cluster, process: Process) -> Postmaster:
    def settled() -> bool:
        return process.poll() is not None or find_postmaster(cluster) is not None

    wait_until(START_SECONDS, settled)
    ready = find_postmaster(cluster)
    if ready and ready.pid == process.pid:
        return ready
    raise _start_error(cluster)


def _start_error(cluster: Cluster) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "the embedded Postgres did not start",
        file=str(cluster.path),
        help=f"see its log for the cause: {cluster.sibling_path('log')}",
    )


def _end_process(process: Process) -> None:
    """Stop a server of which nobody else knows yet."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stop_server(cluster: Cluster) -> None:
    """Ask for a fast shutdown and wait until no process of the server is left."""
    # First: the server removes its pid file when it ends, which may be any moment.
    lines = read_pid_file(cluster)
    if (pid := find_server_pid(cluster)) is None:
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(STOP_SECONDS, lambda: is_unlocked(cluster.sibling_path("lock"))):
            break
    # The folder of the socket; a server that only starts has not written it yet.
    for folder in lines[4:5]:
        with suppress(OSError):
            Path(folder).rmdir()
