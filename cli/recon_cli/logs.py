"""Progress and logs as JSON lines on stderr, for whoever is not at a terminal."""

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


HEARTBEAT_SECONDS: Final = 30.0
STANDARD_FIELDS: Final = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys() | {"message", "asctime"}
)

OWN_LOGGERS: Final = frozenset({"recon", "recon_engine", "recon_cli"})

log = logging.getLogger("recon")


class JsonLines(logging.Formatter):
    """One JSON object a line: ts, level, event, then the facts of the record.

    Libraries are named and not quoted, exceptions named: what they say may be data.
    Only with `debug` is a traceback told.
    """

    def __init__(self, debug: bool = False) -> None:
        """Tell tracebacks if `debug`."""
        super().__init__()
        self.debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            **self.facts(record),
        }
        return json.dumps(line, ensure_ascii=False, default=str)

    def facts(self, record: logging.LogRecord) -> dict[str, object]:
        """What the record says, as far as it may be told."""
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
    """The same for a person: level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback under it."""
        facts = self.facts(record)
        event, traceback = facts.pop("event"), facts.pop("traceback", None)
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        line = f"{record.levelname.lower()}: {event} {told}".rstrip()
        return f"{line}\n{traceback}" if traceback else line


class LoggedSteps:
    """Progress as a line when a step begins and ends, and a heartbeat in between."""

    def __init__(self, every: float = HEARTBEAT_SECONDS) -> None:
        """Give a sign of life after `every` seconds without another line."""
        self._every = every
        self._facts: dict[str, str] = {}
        self._running: dict[str, _Step] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._log_heartbeat, daemon=True)

    def __enter__(self) -> Self:
        """Start the heartbeat."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stop.set()
        self._thread.join()

    def bind(self, **facts: str) -> None:
        """Every later line carries these."""
        self._facts |= facts

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Log that a step begins and, when it ends, how much it did in what time."""
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
            for name, step in list(self._running.items()):
                facts = {"step": name, "peak_rss_bytes": peak_rss_bytes()}
                log.info("heartbeat", extra=self._facts | facts | step.facts())


class _Step:
    """How much of a step is done, in which unit, since when."""

    def __init__(self, unit: str, total: int | None) -> None:
        self.unit = unit
        self.total = total
        self.done = 0
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        with self._lock:
            self.done += amount

    def facts(self) -> dict[str, object]:
        counted = {self.unit: self.done} if self.done else {}
        return {**counted, "seconds": round(time.monotonic() - self.began, 3)}
