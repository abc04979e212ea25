"""Temporary files of the tests in memory: none of them outlives its test.

A run syncs each file that it writes, and a database is 400 files. On a disk the tests
wait for both as long as they compute.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from recon_engine.postgres.embedded import system_folder


SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Linux has it
# Three workers, each with a server (its WAL is the larger part) and files of 10 MB.
ENOUGH_BYTES: Final = 3 * (2 << 30)


def keep_temporary_files_in_memory() -> None:
    """Set $TMPDIR for this process and those it starts, and move embedded servers.

    A $TMPDIR that somebody has chosen is kept.
    """
    if "TMPDIR" not in os.environ and _is_usable():
        os.environ["TMPDIR"] = tempfile.tempdir = str(SHARED_MEMORY)
    if os.environ.get("TMPDIR") == str(SHARED_MEMORY):
        system_folder.TEMPORARY = SHARED_MEMORY


def _is_usable() -> bool:
    """Whether there is room, and programs can be started there: tests write some."""
    if not os.access(SHARED_MEMORY, os.W_OK):
        return False
    facts = os.statvfs(SHARED_MEMORY)
    free = facts.f_bavail * facts.f_frsize
    return free >= ENOUGH_BYTES and not facts.f_flag & os.ST_NOEXEC
