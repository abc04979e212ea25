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
LOCK: Final = ".lock"
SETTLED_SECONDS: Final = 60.0


@contextmanager
def scratch() -> Iterator[Path]:
    """Where temporary files go as long as the block lasts ($TMPDIR), gone afterwards.

    A killed process leaves its folder behind, and its lock on it is free: whoever
    comes next removes it.
    """
    home = Path(tempfile.gettempdir())
    _remove_abandoned(home)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with _locked(folder):
            yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(home: Path) -> None:
    for folder in home.glob(f"{PREFIX}*"):
        with suppress(OSError):
            facts = folder.lstat()
            # A young one may not have its lock yet.
            settled = time.time() - facts.st_mtime > SETTLED_SECONDS
            if facts.st_uid == os.geteuid() and (settled or (folder / LOCK).exists()):
                with _locked(folder):
                    shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock of a folder; BlockingIOError if its process lives."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
