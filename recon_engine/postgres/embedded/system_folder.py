"""Where root keeps what the account of an embedded PostgreSQL could not reach.

Copies of the programs, and a room for each cluster whose home is in a private folder:
`cluster-18` in the home is then a link to it. The room of a temporary home, one below
/tmp, has a link back, and goes when its home is gone. Any other home may have been
moved, and its room stays.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterator


SHELF = Path("/var/lib/recon-engine")
TEMPORARY = Path("/tmp")  # noqa: S108 - a socket's path has 107 bytes, $TMPDIR may be long
BACK: Final = "home"


def shelf() -> Path:
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


def link_to_room(entry: Path) -> None:
    """Keep a cluster in a new room; of two processes, the second one's link loses."""
    room = Path(tempfile.mkdtemp(prefix="home-", dir=shelf()))
    room.chmod(0o755)
    try:
        entry.symlink_to(room / entry.name)
    except FileExistsError:
        room.rmdir()
        return
    if entry.is_relative_to(TEMPORARY):
        (room / BACK).symlink_to(entry)


def rooms_without_home() -> Iterator[Path]:
    """The rooms of temporary homes that are gone."""
    for room in SHELF.glob("home-*"):
        with suppress(OSError):
            if not _leads_to((room / BACK).readlink(), room):
                yield room


def _leads_to(entry: Path, room: Path) -> bool:
    return entry.is_symlink() and entry.readlink().parent == room
