"""Write logs and progress as JSON lines on stderr, where no person watches."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recon_engine.runtime.progress import Progress


# Within a minute, the log shows that a silent process still works.
HEARTBEAT_SECONDS: Final = 30.0
# Of --progress: build servers end a job that prints nothing for some minutes.
PROGRESS_SECONDS: Final = 10.0
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
    """The same fields as text for a person: `warning: event name=value`.

    `dated`: the time comes first, for lines that are read later.
    """

    def __init__(self, debug: bool = False, *, dated: bool = False) -> None:
        super().__init__(debug)
        self.dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, followed by its traceback."""
        facts = self.facts(record)
        event, traceback = facts.pop("event"), facts.pop("traceback", None)
        fields = " ".join(f"{name}={value}" for name, value in facts.items())
        line = f"{record.levelname.lower()}: {event} {fields}".rstrip()
        if self.dated:
            began = datetime.fromtimestamp(record.created, UTC)
            line = f"{began:%Y-%m-%dT%H:%M:%SZ} {line}"
        return f"{line}\n{traceback}" if traceback else line


class RunningSteps:
    """The steps that run, of which a thread reports every few seconds."""

    def __init__(self, every: float) -> None:
        """Report each running step every `every` seconds."""
        self._every = every
        self._running: dict[str, _Step] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report_regularly, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def bind(self, **facts: str) -> None:
        """Attach facts to all later reports; none are shown by default."""

    def report(self, name: str, step: _Step) -> None:
        """Report a step that still runs."""
        raise NotImplementedError

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Report the step while the block runs.

        Yields the function that counts work done. It is safe to call on any thread.
        """
        step = _Step(unit, total)
        self._running[name] = step
        try:
            yield step.advance
        finally:
            del self._running[name]

    def _report_regularly(self) -> None:
        while not self._stop.wait(self._every):
            # A copy: steps start and end on other threads meanwhile.
            for name, step in list(self._running.items()):
                self.report(name, step)


class LoggedSteps(RunningSteps):
    """Log when a step starts and ends, and a heartbeat while it runs."""

    def __init__(self, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        """Log a heartbeat for each running step every `heartbeat_seconds` seconds."""
        super().__init__(heartbeat_seconds)
        self._facts: dict[str, str] = {}

    def bind(self, **facts: str) -> None:
        """Add these fields to every later line."""
        self._facts |= facts

    def report(self, name: str, step: _Step) -> None:
        """Log a heartbeat."""
        from recon_engine.runtime.memory import peak_rss_bytes

        facts = {"step": name, "peak_rss_bytes": peak_rss_bytes()}
        log.info("heartbeat", extra=self._facts | facts | step.facts())

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Log the start of a step and, at its end, its amount and seconds."""
        with super().step(name, total=total, unit=unit) as advance:
            step = self._running[name]
            log.info("step_started", extra=self._facts | {"step": name})
            try:
                yield advance
            except BaseException:
                log.info(
                    "step_failed", extra=self._facts | {"step": name} | step.facts()
                )
                raise
            else:
                log.info(
                    "step_ended", extra=self._facts | {"step": name} | step.facts()
                )


class ProgressLines(RunningSteps):
    """Print a line for each running step every few seconds, where no terminal is."""

    def __init__(self, every: float = PROGRESS_SECONDS) -> None:
        super().__init__(every)

    def report(self, name: str, step: _Step) -> None:
        """Print how far a step is: `read old: 24%, 1,200 of 5,000 MiB, 10 s`."""
        sys.stderr.write(f"{name}: {step.describe()}\n")
        sys.stderr.flush()


class SeveralProgress:
    """Report each step to several."""

    def __init__(self, shown: Sequence[Progress]) -> None:
        """`shown`: all that watch."""
        self._shown = shown

    def bind(self, **facts: str) -> None:
        """Attach facts to all later steps."""
        for each in self._shown:
            each.bind(**facts)

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Enter the step in each; the yielded function advances it in each."""
        with ExitStack() as stack:
            advances = [
                stack.enter_context(each.step(name, total=total, unit=unit))
                for each in self._shown
            ]

            def advance(amount: int) -> None:
                for each in advances:
                    each(amount)

            yield advance


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

    def describe(self) -> str:
        """How far it is: `24%, 1,200 of 5,000 MiB, 10 s`."""
        unit, size = ("MiB", 2**20) if self.unit == "bytes" else (self.unit, 1)
        done, seconds = self.done, time.monotonic() - self.began
        amount = f"{done / size:,.0f}"
        if self.total:
            amount = f"{done / self.total:.0%}, {amount} of {self.total / size:,.0f}"
        return f"{amount} {unit}, {seconds:.0f} s" if done else f"{seconds:.0f} s"
