"""Named places before each side effect where a test can make the program fail.

`RECON_FAILPOINT=publish-commit:kill` ends the process there with SIGKILL. `term` sends
SIGTERM and continues, `hang` sends SIGTERM and never returns, `raise` raises.
`artifact:kill:3` acts when the place is reached for the third time. Without the
variable, a failpoint costs one comparison.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import Final

from recon_engine.errors import ConfigError


VARIABLE: Final = "RECON_FAILPOINT"

# In the order in which a run reaches them.
NAMES: Final = (
    "recover-abandon",
    "recover-sweep",
    "recover-resume",
    "start",
    "claim",
    "fetch",
    "stage-create",
    "stage-commit",
    "artifact",
    "manifest",
    "publish-mark",
    "publish-claim",
    "publish-metrics",
    "publish-breaks",
    "publish-swap",
    "publish-commit",
    "publish-confirm",
    "archive-copy",
    "archive-remove",
    "discard",
    "interrupt",
    "close",
    "close-steps",
    "note",
    "report",
)
ACTIONS: Final = ("kill", "term", "hang", "raise")
# Gives a signal the time to arrive: os.kill returns before its handler has run.
SIGNAL_SECONDS: Final = 0.05

log = logging.getLogger(__name__)


class FailpointReached(Exception):
    """Raised by a failpoint with the action `raise`."""


class Failpoint:
    """One place, one action, and the number of hits that are left."""

    def __init__(self, name: str, action: str, hit: int = 1) -> None:
        """Act when `name` is reached for the `hit`th time."""
        self.name = name
        self.action = action
        self._left = hit
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str) -> Failpoint:
        """Parse `name:action` or `name:action:hit`."""
        name, _, setting = text.partition(":")
        action, _, hit = setting.partition(":")
        if name not in NAMES or action not in ACTIONS or not (hit or "1").isdecimal():
            raise ConfigError(
                f"{VARIABLE} is not NAME:ACTION or NAME:ACTION:HIT",
                why="names: " + ", ".join(NAMES),
                help="actions: " + ", ".join(ACTIONS),
            )
        return cls(name, action, int(hit or 1))

    def reached(self, name: str) -> None:
        """Act if this is the place and the hit."""
        if name != self.name:
            return
        with self._lock:
            self._left -= 1
            due = self._left == 0
        if due:
            self._act()

    def _act(self) -> None:
        log.warning("failpoint", extra={"failpoint": self.name, "action": self.action})
        if self.action == "raise":
            raise FailpointReached(self.name)
        number = signal.SIGKILL if self.action == "kill" else signal.SIGTERM
        os.kill(os.getpid(), number)
        time.sleep(SIGNAL_SECONDS)
        while self.action == "hang":
            time.sleep(SIGNAL_SECONDS)


_setting = os.environ.get(VARIABLE)
armed: Failpoint | None = Failpoint.parse(_setting) if _setting else None


def failpoint(name: str) -> None:
    """Mark the place just before the side effect `name`."""
    if armed is not None:
        armed.reached(name)
