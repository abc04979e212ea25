"""Keep libraries and Python from writing to stderr: they may quote cell values.

Rust prints panics. Python prints warnings, errors of threads and finalizers, and logs
that cannot be written. Python's errors are logged by their class only; all other output
to the file descriptor is discarded.
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
    """Keep stderr for this program. Call it only in a process of this program."""
    if sys.stderr is None:
        return
    sys.stderr.flush()
    # Native code writes to descriptor 2, which becomes /dev/null. Python's sys.stderr
    # goes on with a duplicate of the real one.
    real = os.dup(sys.stderr.fileno())
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stderr.fileno())
    os.close(devnull)
    sys.stderr = os.fdopen(
        real, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"
    )
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.excepthook = _log_unexpected
    threading.excepthook = lambda raised: _log_unexpected(raised.exc_type)
    sys.unraisablehook = lambda raised: _log_unexpected(raised.exc_type)


def _log_unexpected(
    kind: type[BaseException],
    _: BaseException | None = None,
    __: TracebackType | None = None,
) -> None:
    log.error("unforeseen", extra={"exception": kind.__name__})
