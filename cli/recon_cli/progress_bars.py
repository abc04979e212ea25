"""Progress bars on a terminal.

Apart from what prints a result, because their import takes a tenth as long as that of
Polars, and output to a file has none.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


class ProgressBars:
    """Progress bars with rates on a terminal; they are erased when the work ends."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            _Percent(),
            _Rate(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the bars."""
        self._bars.stop()

    def bind(self, **facts: str) -> None:
        """Ignore the facts: bars show none. Log lines do."""

    @contextmanager
    def step(
        self,
        name: str,
        *,
        total: int | None = None,
        unit: str = "rows",
        began: float | None = None,
    ) -> Iterator[Callable[[int], None]]:
        """Show one bar while the block runs; yield the function that advances it.

        `began`: when the step began, by `time.monotonic`, if that was before.
        """
        bar = self._bars.add_task(name, total=total, unit=unit)
        if began is not None:
            self._bars.tasks[bar].start_time = began
        yield lambda amount: self._bars.update(bar, advance=amount)
        # A bar without a total, or with a total of 0, also ends at 100%.
        done = self._bars.tasks[bar].completed if total is None else total
        self._bars.update(bar, total=done or 1, completed=done or 1)


class _Percent(ProgressColumn):
    """` 99%`, rounded down: `100%` means all."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        # Not of `percentage`, which is no whole number: 29 of 100 is a little less.
        share = min(int(100 * task.completed // task.total), 100) if task.total else 0
        return Text(f"{share:>3}%", style="progress.percentage")


class _Rate(ProgressColumn):
    """`201 MiB/s` or `444,710 rows/s`."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        if task.fields.get("unit") == "bytes":
            return Text(f"{speed / 2**20:,.0f} MiB/s", style="dim")
        return Text(f"{speed:,.0f} rows/s", style="dim")
