"""Cancellation requested by the signal handler's thread, obeyed by the worker thread.

The worker checks between two pieces of work. During one long query it cannot check;
then `cancel_now` undoes the work from the other thread, and the process exits.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from recon_engine.errors import Interrupted


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from signal import Signals

    from recon_engine.runtime.progress import Progress


Result = TypeVar("Result")


class CancellationToken(Generic[Result]):
    """Shared by two threads: one calls `request` and `cancel_now`, the other `check`.

    No lock is needed: each attribute is written by one thread only, and assignment of
    an attribute is atomic.
    """

    def __init__(self) -> None:
        self._signal: Signals | None = None
        self._passed = False
        self._undo: Callable[[Interrupted], Result | None] | None = None

    def request(self, signal: Signals) -> None:
        """Ask the work to end at its next check."""
        self._signal = signal

    def check(self) -> None:
        """Raise Interrupted if that was requested and the work can still be undone."""
        if self._signal is not None and not self._passed:
            raise Interrupted(self._signal)

    def point_of_no_return(self) -> None:
        """Check for the last time: work after this call is finished, not undone."""
        # In this order: a request that arrives in between is ignored, and the work
        # finished. In the other order, a request before the call would be ignored.
        self.check()
        self._passed = True

    def on_cancel(self, undo: Callable[[Interrupted], Result | None]) -> None:
        """Set how the work from here on is undone from another thread.

        `undo` returns the result to end with, or None if it is too late to undo.
        """
        self._undo = undo

    def cancel_now(self) -> Result | None:
        """Undo the work of the worker thread.

        Returns None if only waiting for the worker is left. Raises Interrupted if there
        is nothing to undo.
        """
        if self._signal is None:
            return None
        interrupted = Interrupted(self._signal)
        if self._undo is None:
            raise interrupted
        return self._undo(interrupted)

    def checking_on_advance(self, progress: Progress) -> Progress:
        """Wrap a Progress so that every advance checks."""
        return _CheckedProgress(progress, self.check)


class _CheckedProgress:
    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress = progress
        self._check = check

    def bind(self, **facts: str) -> None:
        self._progress.bind(**facts)

    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> AbstractContextManager[Callable[[int], None]]:
        return self._checked(self._progress.step(name, total=total, unit=unit))

    @contextmanager
    def _checked(
        self, step: AbstractContextManager[Callable[[int], None]]
    ) -> Iterator[Callable[[int], None]]:
        self._check()
        with step as advance:

            def advance_and_check(amount: int) -> None:
                advance(amount)
                self._check()

            yield advance_and_check
