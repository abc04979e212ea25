"""The program on a terminal of our own: what it writes there, with its colours."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

from support.forked_program import start_with_streams


def environment(**changes: str) -> dict[str, str]:
    """Ours, of a terminal that has colours."""
    given = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR"}}
    return given | {"TERM": "xterm-256color"} | changes


def on_terminal(
    *arguments: str, columns: int, cwd: Path, progress: bool = False, **changes: str
) -> str:
    """What `recon` wrote to a terminal that wide.

    Progress goes elsewhere, unless `progress` is set.
    """
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", 40, columns, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    said = b""
    with Path(os.devnull).open("wb") as nowhere:
        streams = theirs, theirs, theirs if progress else nowhere.fileno()
        program = start_with_streams(arguments, environment(**changes), cwd, streams)
    with program:
        os.close(theirs)
        while part := _read(ours):
            said += part
        assert program.recv(9)
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody has its other end any more
        return b""
