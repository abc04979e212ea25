"""The entry point: install signal handlers before anything slow is imported.

Without a handler, Python answers Ctrl-C with a traceback, and the imports of the
command line take a quarter of a second. Nothing has to be undone in that time, so a
signal ends the process at once, with the same exit code as later.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn


if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line."""
    # Imports leave no garbage; `run_on_worker` turns the collector on again.
    gc.disable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    from recon_cli import app

    app.main()


def run_as_in_the_original() -> None:
    """Run `recon run` with the given options: `python run.py --inbound-s3 …`."""
    sys.argv.insert(1, "run")
    main()


def _leave_at_once(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)
