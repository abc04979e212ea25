"""Write logs and progress as JSON lines on stderr, where no person watches."""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Within a minute, the log shows that a silent process still works.
HEARTBEAT_SECONDS: Final = 30.0
# Of a record without extras: whatever else a record has was given as `extra`.
STANDARD_FIELDS: Final = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys() | {"message", "asctime"}
)

OWN_LOGGERS: Final = frozenset({"recon", "recon_engine", "recon_cli"})

log = logging.getLogger("recon")


class JsonLines(logging.Formatter):
    """One JSON object per line: ts, level, event, then the fields of the record.

    Texts of libraries and exceptions may quote cell values. So a library's record is
    reduced to the logger's name, an exception to its class. `debug` adds tracebacks.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__()
        self.debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            **self.facts(record),
        }
        return json.dumps(line, ensure_ascii=False, default=str)

    def facts(self, record: logging.LogRecord) -> dict[str, object]:
        """The fields of a record that are safe to log."""
        # The message of a library may quote a cell, and so may its extras.
        if record.name.partition(".")[0] not in OWN_LOGGERS:
            return {"event": "library_log", "logger": record.name}
        extras = {k: v for k, v in vars(record).items() if k not in STANDARD_FIELDS}
        facts = {"event": record.getMessage(), **extras}
        if record.exc_info and record.exc_info[0]:
            facts["exception"] = record.exc_info[0].__name__
            if self.debug:
                facts["traceback"] = self.formatException(record.exc_info)
        return facts


class TextLines(JsonLines):
    """The same fields as text for a person: `warning: event name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, followed by its traceback."""
        facts = self.facts(record)
        event, traceback = facts.pop("event"), facts.pop("traceback", None)
        fields = " ".join(f"{name}={value}" for name, value in facts.items())
        line = f"{record.levelname.lower()}: {event} {fields}".rstrip()
        return f"{line}\n{traceback}" if traceback else line


class LoggedSteps:
    """Log when a step starts and ends, and a heartbeat while it runs."""

    def __init__(self, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        """Log a heartbeat for each running step every `heartbeat_seconds` seconds."""
        self._every = heartbeat_seconds
        self._facts: dict[str, str] = {}
        self._running: dict[str, _Step] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._log_heartbeat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def bind(self, **facts: str) -> None:
        """Add these fields to every later line."""
        self._facts |= facts

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Log the start of a step and, at its end, its amount and seconds.

        Yields the function that counts work done. It is safe to call on any thread.
        """
        step = _Step(unit, total)
        self._running[name] = step
        log.info("step_started", extra=self._facts | {"step": name})
        try:
            yield step.advance
        except BaseException:
            log.info("step_failed", extra=self._facts | {"step": name} | step.facts())
            raise
        else:
            log.info("step_ended", extra=self._facts | {"step": name} | step.facts())
        finally:
            del self._running[name]

    def _log_heartbeat(self) -> None:
        from recon_engine.runtime.memory import peak_rss_bytes

        while not self._stop.wait(self._every):
            # A copy: steps start and end on other threads meanwhile.
            for name, step in list(self._running.items()):
                facts = {"step": name, "peak_rss_bytes": peak_rss_bytes()}
                log.info("heartbeat", extra=self._facts | facts | step.facts())


class _Step:
    """A running step: its unit, its total if known, the amount done, its start."""

    def __init__(self, unit: str, total: int | None) -> None:
        self.unit = unit
        self.total = total
        self.done = 0
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        # `+=` is a read and a write: two threads may advance one step.
        with self._lock:
            self.done += amount

    def facts(self) -> dict[str, object]:
        counted = {self.unit: self.done} if self.done else {}
        return {**counted, "seconds": round(time.monotonic() - self.began, 3)}
