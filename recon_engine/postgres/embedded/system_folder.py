"""The folder where root keeps files that the account of the embedded server can reach.

It holds copies of the programs, and a subfolder (room) for each cluster whose home is
private to root: `cluster-18` in the home is then a link into the room. The room of a
temporary home, one below /tmp or $TMPDIR, has a link back, and is removed after its
home. Other homes may have been moved, so their rooms are kept.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterator


SYSTEM_FOLDER = Path("/var/lib/recon-engine")
TEMPORARY = Path("/tmp")  # noqa: S108 - a socket's path has 107 bytes, $TMPDIR may be long
BACK_LINK: Final = "home"


def ensure_system_folder() -> Path:
    """A folder that only root can write and everyone can read."""
    if not SYSTEM_FOLDER.is_dir():
        SYSTEM_FOLDER.mkdir(parents=True)
        SYSTEM_FOLDER.chmod(0o755)
    facts = SYSTEM_FOLDER.stat()
    if facts.st_uid != 0 or facts.st_mode & 0o022:
        raise ConfigError(
            f"{SYSTEM_FOLDER} is writable by accounts other than root",
            help=f"find out why, then run: chown root {SYSTEM_FOLDER}"
            f" && chmod 755 {SYSTEM_FOLDER}",
        )
    return SYSTEM_FOLDER


def link_into_system_folder(entry: Path) -> None:
    """Keep a cluster in a new room; of two processes, the second one's link loses."""
    room = Path(tempfile.mkdtemp(prefix="home-", dir=ensure_system_folder()))
    room.chmod(0o755)
    try:
        entry.symlink_to(room / entry.name)
    except FileExistsError:
        room.rmdir()
        return
    if _is_temporary(entry):
        (room / BACK_LINK).symlink_to(entry)


def _is_temporary(entry: Path) -> bool:
    """`entry` has no symbolic link above it; $TMPDIR may be one."""
    folders = (TEMPORARY, Path(tempfile.gettempdir()).resolve())
    return any(entry.is_relative_to(folder) for folder in folders)


def orphaned_homes() -> Iterator[Path]:
    """The rooms of temporary homes that are gone."""
    for room in SYSTEM_FOLDER.glob("home-*"):
        with suppress(OSError):
            if not _leads_to((room / BACK_LINK).readlink(), room):
                yield room


def _leads_to(entry: Path, room: Path) -> bool:
    return entry.is_symlink() and entry.readlink().parent == room
