"""Run an embedded PostgreSQL: one private server per folder, shared by its users.

The last user stops the server. If all users were killed, the server keeps running: the
next block on the same home attaches to it, and stops it at its end.

Every block also removes what killed blocks of any home left behind.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from recon_engine.errors import ConfigError, DatabaseUnavailable, DiskFull, ReconError
from recon_engine.postgres.embedded import system_folder
from recon_engine.postgres.embedded.cluster import Cluster, lock_file, majors, try_lock
from recon_engine.postgres.embedded.process import join_or_start, stop_server
from recon_engine.postgres.embedded.programs import Account, Programs
from recon_engine.postgres.embedded.system_folder import orphaned_homes


if TYPE_CHECKING:
    from collections.abc import Iterator


# A home that is younger may be one that another process is making just now.
ABANDONED_SECONDS = 60.0
HOME_PREFIX: Final = "recon-home-"

log = logging.getLogger("recon_engine.postgres.embedded.server")


class Unseen(NamedTuple):
    """Clusters of other major versions, which the server cannot read; the remedy."""

    found: str
    remedy: str


@contextmanager
def run_embedded_server(
    home: Path | None = None, *, durable: bool = True
) -> Iterator[str]:
    """Run a server for the block; yield its libpq connection string.

    `home` keeps the data, one cluster per major version; without a home they are
    deleted at the end. A server that already runs there is shared, with its settings.
    `durable`: False turns off fsync, for tests.
    """
    with ExitStack() as stack:
        with _translate_os_errors():
            reclaim_leftovers()
            # First, as it may copy them: a home without a user is soon taken for one
            # that was left behind.
            programs = Programs.find()
            folder = stack.enter_context(_temporary_home()) if home is None else home
            if home is not None and (unseen := unseen_clusters(home, programs.major)):
                log.warning("other_major_version", extra=unseen._asdict())
            cluster = Cluster.of(folder, programs)
            users = stack.enter_context(lock_file(cluster.sibling_path("users")))
            # Before the server is sought: whoever leaves now finds the lock shared and
            # does not stop it. If someone is stopping it, this waits until that is
            # done.
            fcntl.flock(users, fcntl.LOCK_SH)
            stack.callback(_leave_server, cluster, users)
            postmaster = join_or_start(cluster, programs, durable=durable)
        yield postmaster.conninfo


def unseen_clusters(home: Path, major: int | None = None) -> Unseen | None:
    """The clusters of a home that are of other major versions than the server.

    `major`: of the server, if that is known already.
    """
    if not (found := majors(home)):
        return None
    used = major or Programs.find().major
    others = [each for each in found if each != used]
    if not others:
        return None
    named = " and ".join(map(str, others))
    return Unseen(
        f"the embedded Postgres is version {used}; it cannot read runs, breaks and "
        f"gates that version {named} recorded in {home}",
        f"to use them, set RECON_PG_BIN to the bin folder of PostgreSQL {others[-1]}; "
        f"to discard them, remove {home / f'cluster-{others[-1]}'}",
    )


def _leave_server(cluster: Cluster, users: int) -> None:
    """The last user stops the server; a failed attempt gives our share up, too."""
    if try_lock(users):
        stop_server(cluster)


@contextmanager
def _temporary_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX, dir=system_folder.TEMPORARY))
    # The account of the server (`nobody`, for root) has to pass through.
    home.chmod(0o711)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        reclaim_leftovers()


def reclaim_leftovers() -> None:
    """Remove what is left of killed blocks, and of temporary homes that are gone."""
    for folder in (*_abandoned_homes(), *orphaned_homes()):
        with suppress(OSError):
            _clear_folder(folder)


def _abandoned_homes() -> Iterator[Path]:
    for home in system_folder.TEMPORARY.glob(f"{HOME_PREFIX}*"):
        with suppress(OSError):
            facts = home.lstat()
            age = time.time() - facts.st_mtime
            if facts.st_uid == os.geteuid() and age > ABANDONED_SECONDS:
                yield home


def _clear_folder(folder: Path) -> None:
    """Stop and remove, unless someone still uses it."""
    with ExitStack() as stack:
        for path in folder.glob("cluster-*.users"):
            users = stack.enter_context(lock_file(path))
            # In use. Where the lock is taken, it is held until the folder is gone, so
            # no new user attaches in between.
            if not try_lock(users):
                return
            stop_server(Cluster(path.with_suffix(""), Account.allowed()))
        shutil.rmtree(folder)


@contextmanager
def _translate_os_errors() -> Iterator[None]:
    """Say what the system refused, as an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise _translate_os_error(error) from None


def _translate_os_error(error: OSError) -> ReconError:
    where, why = error.filename and str(error.filename), error.strerror
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(
                "the disk is too full for the embedded Postgres",
                file=where,
                help="free disk space, or start in a folder of another disk (the"
                " database is in its .recon), or set RECON_DATABASE_URL",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return ConfigError(
                "the embedded Postgres has no permission to use this folder",
                file=where,
                why=why,
                help="start in a folder that you can write to (the database is in its"
                " .recon), or set RECON_DATABASE_URL",
            )
        case _:
            return DatabaseUnavailable(
                "the embedded Postgres could not be started",
                file=where,
                why=why,
                help="fix the system error above, or set RECON_DATABASE_URL",
            )
