"""What reaches stderr: what we say, and nothing a library or the interpreter says.

Rust prints what a panic says, and Python prints warnings, errors of threads and of
finalizers, and logs that cannot be written: each may quote data. They are named in the
log, and not told.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger("recon")


def guard_stderr() -> None:
    """Keep stderr for this program alone; it is no guest in the process of another."""
    if sys.stderr is None:
        return
    sys.stderr.flush()
    ours = os.dup(sys.stderr.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)
    sys.stderr = os.fdopen(
        ours, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
    )
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.excepthook = _log_unexpected
    threading.excepthook = lambda told: _log_unexpected(told.exc_type)
    sys.unraisablehook = lambda told: _log_unexpected(told.exc_type)


def _log_unexpected(
    kind: type[BaseException],
    _: BaseException | None = None,
    __: TracebackType | None = None,
) -> None:
    log.error("unforeseen", extra={"exception": kind.__name__})
