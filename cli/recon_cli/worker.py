"""Run the work on a second thread, so that the main thread can react to signals.

Python runs signal handlers on the main thread, and only between bytecodes: a library
call there would delay them. So the main thread only waits. On a signal it asks the
worker to stop. If the worker does not stop in time, the main thread revokes the run
through another connection, and the process exits without waiting for the worker.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from signal import Signals
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from recon_engine.errors import Interrupted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from types import FrameType

    from recon_engine.runtime.cancellation import CancellationToken


Result = TypeVar("Result")

HANDLED_SIGNALS: Final = (Signals.SIGINT, Signals.SIGTERM)
WORKER_ENDED: Final = 0  # no signal has this number
# How long the worker may take to stop by itself before the run is revoked. A person at
# a terminal sees no delay.
PATIENCE_SECONDS: Final = 0.3
# How long a worker with a recorded result may take to finish its archive. Below the 10
# seconds that Docker waits between SIGTERM and SIGKILL.
GRACE_SECONDS: Final = 7.0


class Signalled(BaseException):
    """A signal reached the main thread while no worker was running."""

    def __init__(self, number: int) -> None:
        """Keep the exit code that shells give this signal: 128 plus its number."""
        super().__init__(number)
        self.exit_code = 128 + number


_stopping = threading.Event()


def unwind_on_signal() -> None:
    """Let the first signal unwind the main thread, and ignore later ones."""
    _on_signals(_raise_signalled)


def exit_process(exit_code: int | None) -> NoReturn:
    """End the process; after a signal at once, without waiting for other threads.

    `sys.exit` would join the worker, which may be stuck in a library call.
    """
    if not _stopping.is_set():
        # The work is complete: a signal from now on must not change the exit code.
        _on_signals(_ignore_signal)
        sys.exit(exit_code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code or 0)


def run_on_worker(work: Callable[[CancellationToken[Result]], Result]) -> Result:
    """Run `work` on a thread; return its result or raise its error.

    After a first signal it has PATIENCE_SECONDS to stop, or GRACE_SECONDS if its result
    is already recorded. A second signal ends either wait. Raises Interrupted if the
    worker has not ended by then.
    """
    from recon_cli.scratch import work_in_scratch_folder
    from recon_engine.runtime.cancellation import CancellationToken

    if not gc.isenabled():
        # What is imported by now stays: the collector need not go through it.
        gc.freeze()
        gc.enable()
    stop: CancellationToken[Result] = CancellationToken()
    # Handlers first: when the work folder is there, a signal is reported.
    with _receive_signals() as events, work_in_scratch_folder():
        worker = _start_thread(lambda: work(stop), events)
        event = events.wait_for_signal()
        if event:
            _stopping.set()
            stop.request(Signals(event))
            return _await_stop(stop, Signals(event), worker, events)
        return worker.result()


def _await_stop(
    stop: CancellationToken[Result],
    number: Signals,
    worker: Future[Result],
    events: _SignalQueue,
) -> Result:
    """Wait for the worker; revoke its run if it does not stop by itself.

    Revoking runs on a third thread, as the database may not answer either. The first of
    the two threads to end decides. A revocation that returns None came too late: the
    result is recorded, and the worker has until the deadline to archive.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    if events.wait_for_signal(PATIENCE_SECONDS) == WORKER_ENDED:
        return worker.result()
    revocation = _start_thread(stop.cancel_now, events)
    while events.wait_for_signal(deadline - time.monotonic()) == WORKER_ENDED:
        if worker.done():
            return worker.result()
        if (revoked := revocation.result()) is not None:
            return revoked
    raise Interrupted(number, may_be_recorded=True)


def _start_thread(work: Callable[[], Result], events: _SignalQueue) -> Future[Result]:
    """Run `work` on a daemon thread; its end is an event of the queue."""
    from concurrent.futures import Future

    future: Future[Result] = Future()

    def fulfil() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is the future's to raise
            future.set_exception(error)
        events.put_thread_end()

    # A daemon, so that the process can exit while a library call does not return.
    threading.Thread(target=fulfil, name="worker", daemon=True).start()
    return future


class _SignalQueue:
    """A queue of signals and thread ends, one byte each in a socket.

    Python's C handler writes the byte (`set_wakeup_fd`), whichever thread the system
    interrupts. A lock or `queue.Queue` would not do: the main thread, waiting on it,
    would not wake if the signal interrupts another thread.
    """

    def __init__(self) -> None:
        import socket

        self._near, self._far = socket.socketpair()
        # The C handler must never block; a full buffer holds signals enough.
        self._far.setblocking(False)
        self.signalled = False

    def wait_for_signal(self, seconds: float | None = None) -> int | None:
        """The next signal number, or WORKER_ENDED; None after so many seconds."""
        timeout = None if seconds is None else max(seconds, 0)
        if not select.select([self._near], [], [], timeout)[0]:
            return None
        event = self._near.recv(1)[0]
        self.signalled = self.signalled or event != WORKER_ENDED
        return event

    def put_thread_end(self) -> None:
        # OSError: the main thread has closed the queue and gone on.
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
    """Queue signals for the block. After one, later signals stay ignored at its end.

    The process is then about to exit, and a second signal must not interrupt that.
    """
    events = _SignalQueue()
    events.open()
    before = _on_signals(_ignore_signal)
    try:
        yield events
    finally:
        if not events.signalled:
            for number, handler in before.items():
                signal.signal(number, handler)
        events.close()


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> dict[Signals, Any]:
    return {number: signal.signal(number, handler) for number in HANDLED_SIGNALS}


def _raise_signalled(number: int, _: FrameType | None) -> None:
    _on_signals(_ignore_signal)
    raise Signalled(number)


def _ignore_signal(_number: int, _: FrameType | None) -> None:
    """Do nothing: the queue has the signal, or the process is already ending."""
