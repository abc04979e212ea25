"""A scratch folder per process; folders of killed processes are removed later."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator


PREFIX: Final = "recon-work-"
YOUNG: Final = f".{PREFIX}"
LOCK: Final = ".lock"
# A folder without a lock or a final name is being created, which takes milliseconds.
# After a minute its process is taken for dead.
SETTLED_SECONDS: Final = 60.0


@contextmanager
def work_in_scratch_folder() -> Iterator[Path]:
    """Put temporary files of the block into one folder below $TMPDIR; remove it after.

    A killed process leaves its folder behind, but the kernel releases its lock. The
    next process that starts removes such folders.
    """
    home = Path(tempfile.gettempdir())
    _remove_abandoned(home)
    before = tempfile.tempdir
    try:
        with _make_folder(home) as folder:
            tempfile.tempdir = str(folder)
            yield folder
    finally:
        tempfile.tempdir = before


@contextmanager
def _make_folder(home: Path) -> Iterator[Path]:
    """Create a locked folder, and remove it at the end of the block.

    It gets its final name only after its lock is taken. Otherwise a process that
    removes abandoned folders could see an unlocked lock file and take the owner for
    dead.
    """
    young = Path(tempfile.mkdtemp(prefix=YOUNG, dir=home))
    folder = home / young.name.removeprefix(".")
    try:
        with _hold_lock(young):
            young.rename(folder)
            yield folder
    finally:
        for path in (young, folder):
            shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(home: Path) -> None:
    for folder in (*home.glob(f"{PREFIX}*"), *home.glob(f"{YOUNG}*")):
        with suppress(OSError):
            facts = folder.lstat()
            named = folder.name.startswith(PREFIX) and (folder / LOCK).exists()
            settled = time.time() - facts.st_mtime > SETTLED_SECONDS
            if facts.st_uid == os.geteuid() and (named or settled):
                with _hold_lock(folder):
                    shutil.rmtree(folder)


@contextmanager
def _hold_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; BlockingIOError if its process is alive."""
    # CLOEXEC: a child that outlives this process must not hold the lock.
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
