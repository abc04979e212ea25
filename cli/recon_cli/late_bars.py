"""Progress bars of work that lasts: shorter work has ended before anybody reads them.

Importing and drawing bars takes a sixth of the time of a comparison of small files, so
nothing of it happens before.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

from recon_engine.runtime.progress import ignore_advance


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon_cli.progress_bars import ProgressBars


# Up to about a second a person's train of thought is not interrupted (J. Nielsen,
# "Usability Engineering", 1993, chapter 5).
SHOWN_AFTER_SECONDS: Final = 1.0


class LateBars:
    """Progress bars that appear after a while, with what was done until then."""

    def __init__(self) -> None:
        # It guards the fields below and those of all steps: a thread of its own shows
        # the bars, while others begin, advance and end steps.
        self._lock = threading.Lock()
        self._running: list[_LateStep] = []
        self._bars: ProgressBars | None = None
        self._shown = ExitStack()
        self._timer = threading.Timer(SHOWN_AFTER_SECONDS, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the bars, if there are any by now."""
        self._timer.cancel()
        self._timer.join()
        self._shown.close()

    def bind(self, **facts: str) -> None:
        """Ignore the facts, as bars do."""

    @contextmanager
    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Count what is done while the block runs, and show it once there are bars."""
        with ExitStack() as bar:
            step = _LateStep(name, total, unit, bar)
            with self._lock:
                self._running.append(step)
                if self._bars is not None:
                    step.show_on(self._bars)

            def advance(amount: int) -> None:
                with self._lock:
                    step.advance(amount)

            try:
                yield advance
            finally:
                with self._lock:
                    self._running.remove(step)

    def _show(self) -> None:
        from recon_cli.progress_bars import ProgressBars
        from recon_cli.session import make_console

        bars = ProgressBars(make_console(stderr=True))
        with self._lock:
            self._bars = self._shown.enter_context(bars)
            for step in self._running:
                step.show_on(bars)


class _LateStep:
    """A step that runs, and its bar once there are bars, which ends with `bar`."""

    def __init__(self, name: str, total: int | None, unit: str, bar: ExitStack) -> None:
        self._name, self._total, self._unit, self._bar = name, total, unit, bar
        self._began = time.monotonic()
        self._done = 0
        self._advance_bar: Callable[[int], None] = ignore_advance

    def advance(self, amount: int) -> None:
        self._done += amount
        self._advance_bar(amount)

    def show_on(self, bars: ProgressBars) -> None:
        opened = bars.step(
            self._name, total=self._total, unit=self._unit, began=self._began
        )
        self._advance_bar = self._bar.enter_context(opened)
        self._advance_bar(self._done)
