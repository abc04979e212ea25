"""The work folders of this process, below one that its death gives away."""

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
# A start takes milliseconds from the folder to its name; an older version, to its lock.
SETTLED_SECONDS: Final = 60.0


@contextmanager
def work_in_scratch_folder() -> Iterator[Path]:
    """Where temporary files go as long as the block lasts ($TMPDIR), gone afterwards.

    A killed process leaves its folder behind, and its lock on it is free: whoever
    comes next removes it.
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
    """A locked folder, gone afterwards.

    Nobody sees it under its name before its lock is taken: whoever removes abandoned
    folders takes one that has a lock file and no lock for that of a dead process.
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
    """The lock of a folder; BlockingIOError if its process lives."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
