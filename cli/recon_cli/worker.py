"""Work on a thread of its own, so that the main thread can hear signals.

Python runs handlers on the main thread, and only when no library is busy there. So the
main thread waits, and a worker works. When a signal comes, the worker is asked to stop;
one that does not answer is undone from beside, and the process leaves without it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from signal import Signals
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from recon_cli.scratch import work_in_scratch_folder
from recon_engine.errors import Interrupted
from recon_engine.runtime.cancellation import CancellationToken


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


Result = TypeVar("Result")

HANDLED_SIGNALS: Final = (Signals.SIGINT, Signals.SIGTERM)
WORKER_ENDED: Final = 0  # no signal has this number
# Until a worker that does not answer is undone from beside it.
PATIENCE_SECONDS: Final = 0.3
# Until a result that is recorded is left for the next run to archive.
GRACE_SECONDS: Final = 7.0


class Signalled(BaseException):
    """A signal reached the main thread while no worker was at work."""

    def __init__(self, number: int) -> None:
        """By the number of the signal."""
        super().__init__(number)
        self.exit_code = 128 + number


_stopping = threading.Event()


def unwind_on_signal() -> None:
    """Have the first signal unwind the main thread, and ignore those that follow."""
    _on_signals(_raise_signalled)


def exit_process(exit_code: int | None) -> NoReturn:
    """End the process; after a signal at once, with whatever its threads are at."""
    if not _stopping.is_set():
        # The work is done: a signal in the last instants changes nothing.
        _on_signals(_ignore_signal)
        sys.exit(exit_code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code or 0)


def run_on_worker(work: Callable[[CancellationToken[Result]], Result]) -> Result:
    """Do the work on a thread, and answer as it does; Interrupted if it has no end.

    After a first signal it has `PATIENCE_SECONDS` to stop, and `GRACE_SECONDS` if its
    result is recorded already. A further signal cuts either short.
    """
    stop: CancellationToken[Result] = CancellationToken()
    with work_in_scratch_folder(), _receive_signals() as ears:
        worker = _start_thread(lambda: work(stop), ears)
        event = ears.next()
        if event:
            _stopping.set()
            stop.request(Signals(event))
            return _await_stop(stop, Signals(event), worker, ears)
        return worker.result()


def _await_stop(
    stop: CancellationToken[Result],
    number: Signals,
    worker: Future[Result],
    ears: _SignalQueue,
) -> Result:
    deadline = time.monotonic() + GRACE_SECONDS
    if ears.next(PATIENCE_SECONDS) == WORKER_ENDED:
        return worker.result()
    undoing = _start_thread(stop.enforce, ears)
    while ears.next(deadline - time.monotonic()) == WORKER_ENDED:
        if worker.done():
            return worker.result()
        if (undone := undoing.result()) is not None:
            return undone
    raise Interrupted(
        number, why="a result that is recorded is archived by the next run"
    )


def _start_thread(work: Callable[[], Result], ears: _SignalQueue) -> Future[Result]:
    """Work on a daemon thread, whose end is heard."""
    future: Future[Result] = Future()

    def fulfil() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is the future's to raise
            future.set_exception(error)
        ears.signal_end()

    threading.Thread(target=fulfil, name="worker", daemon=True).start()
    return future


class _SignalQueue:
    """Signals and ends of threads, as bytes of a socket.

    The handler in C writes them there, whichever thread the system interrupts: a lock
    that the main thread waited for would not wake it if that is another one.
    """

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self.signalled = False

    def next(self, seconds: float | None = None) -> int | None:
        """A signal, or ENDED; None if there is neither for so long."""
        timeout = None if seconds is None else max(seconds, 0)
        if not select.select([self._near], [], [], timeout)[0]:
            return None
        event = self._near.recv(1)[0]
        self.signalled = self.signalled or event != WORKER_ENDED
        return event

    def signal_end(self) -> None:
        """Let the end of a thread be heard, if anyone still listens."""
        with suppress(OSError):
            self._far.send(bytes([WORKER_ENDED]))

    def open(self) -> None:
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._near.close()
        self._far.close()


@contextmanager
def _receive_signals() -> Iterator[_SignalQueue]:
    """Signals are heard; once there was one, nothing disturbs what ends the process."""
    ears = _SignalQueue()
    ears.open()
    before = _on_signals(_ignore_signal)
    try:
        yield ears
    finally:
        if not ears.signalled:
            for number, handler in before.items():
                signal.signal(number, handler)
        ears.close()


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> dict[Signals, Any]:
    return {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}


def _raise_signalled(number: int, _: FrameType | None) -> None:
    _on_signals(_ignore_signal)
    raise Signalled(number)


def _ignore_signal(_number: int, _: FrameType | None) -> None:
    """Heard elsewhere, or ending already."""
