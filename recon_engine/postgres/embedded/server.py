"""An embedded PostgreSQL: one private server for a folder, shared by all who ask.

Whoever leaves last stops the server. A server whose users were all killed runs on; the
next block on the same home attaches to it, and stops it at its own end.

What killed blocks left behind, or temporary homes that were deleted, is removed by the
next block, whatever its home.
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


ABANDONED_SECONDS = 60.0
HOME_PREFIX: Final = "recon-home-"

log = logging.getLogger("recon_engine.postgres.embedded.server")


class Unseen(NamedTuple):
    """What a server does not see, and how to see it, in words."""

    found: str
    remedy: str


@contextmanager
def run_embedded_server(
    home: Path | None = None, *, durable: bool = True
) -> Iterator[str]:
    """A libpq connection string, good for as long as the block lasts.

    The data stay in `home`, one cluster for each major version; without a home they
    are thrown away. A server that already runs there is shared, settings and all.
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
            users = stack.enter_context(lock_file(cluster.beside("users")))
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
        f"the embedded Postgres is version {used}; runs, breaks and gates recorded "
        f"in {home} with version {named} are not seen",
        f"to go on with them: RECON_PG_BIN=the bin folder of PostgreSQL {others[-1]}; "
        f"to give them up: remove {home / f'cluster-{others[-1]}'}",
    )


def _leave_server(cluster: Cluster, users: int) -> None:
    """The last user stops the server; a failed attempt gives our share up, too."""
    if try_lock(users):
        stop_server(cluster)


@contextmanager
def _temporary_home() -> Iterator[Path]:
    """A home for one block."""
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX, dir=system_folder.TEMPORARY))
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
