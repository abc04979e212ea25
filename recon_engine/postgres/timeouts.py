"""Limits on how long a statement waits for a lock, and on how long it runs.

RECON_LOCK_TIMEOUT and RECON_STATEMENT_TIMEOUT are whole seconds. Without limits, a lock
that another session never releases would block a run, and its dataset, indefinitely.
"""

from __future__ import annotations

import os
import re
from typing import Final

from recon_engine.errors import ConfigError


LOCK: Final = "RECON_LOCK_TIMEOUT"
STATEMENT: Final = "RECON_STATEMENT_TIMEOUT"
# A query on stage tables usually ends within seconds, so 30 seconds rarely fail a run.
# Control statements do no work that grows with the files: after a minute it hangs.
LOCK_SECONDS: Final = 30
STATEMENT_SECONDS: Final = 60


def lock_timeout() -> str:
    """The SET statement that limits each wait for a lock in a session."""
    return f"SET lock_timeout = '{_seconds(LOCK, LOCK_SECONDS)}s'"


def statement_timeout() -> str:
    """The SET statement that limits the run time of each statement in a session."""
    return f"SET statement_timeout = '{_seconds(STATEMENT, STATEMENT_SECONDS)}s'"


def _seconds(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise ConfigError(
            f"{name} is not a number of seconds from 1 to 999999",
            help=f"for example {name}={default}",
        )
    return int(text)
