"""The entry point: install signal handlers before anything slow is imported.

Without a handler, Python answers Ctrl-C with a traceback, and the imports of the
command line take a quarter of a second. Nothing has to be undone in that time, so a
signal ends the process at once, with the same exit code as later.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn


if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line."""
    # Imports leave no garbage; `run_on_worker` turns the collector on again.
    gc.disable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    from recon_cli import start

    try:
        start.main()
    except SystemExit as ended:
        _end_quickly(ended)


def run_as_in_the_original() -> None:
    """Run `recon run` with the given options: `python run.py --inbound-s3 …`."""
    sys.argv.insert(1, "run")
    main()


def _end_quickly(ended: SystemExit) -> None:
    """End the process as `sys.exit` does, without taking all modules apart.

    That takes as long as a fifth of `import polars`.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Python reports what was not written, and has an exit code for it.
        raise ended from None
    os._exit(int(ended.code or 0))


def _leave_at_once(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
