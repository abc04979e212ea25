"""How long Postgres may keep a statement: waiting for a lock, or altogether.

`RECON_LOCK_TIMEOUT` and `RECON_STATEMENT_TIMEOUT` are whole seconds. Without them a
lock that another session never releases would keep a run, and its dataset, without end.
"""

from __future__ import annotations

import os
import re
from typing import Final

from recon_engine.errors import ConfigError


LOCK: Final = "RECON_LOCK_TIMEOUT"
STATEMENT: Final = "RECON_STATEMENT_TIMEOUT"
# A reader of stage ends within seconds; a statement of control does no work that grows
# with the files.
LOCK_SECONDS: Final = 30
STATEMENT_SECONDS: Final = 60


def lock_timeout() -> str:
    """The statement that bounds every wait for a lock of a session."""
    return f"SET lock_timeout = '{_seconds(LOCK, LOCK_SECONDS)}s'"


def statement_timeout() -> str:
    """The statement that bounds every statement of a session."""
    return f"SET statement_timeout = '{_seconds(STATEMENT, STATEMENT_SECONDS)}s'"


def _seconds(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise ConfigError(
            f"{name} is not a number of seconds from 1 to 999999",
            help=f"such as {name}={default}",
        )
    return int(text)
