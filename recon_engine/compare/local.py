"""The engine of this machine: it reads files while Polars is imported."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from recon_engine.compare.early_scan import begin_scan
from recon_engine.compare.engine import NO_HOOKS, Compared, Hooks
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.import_time import lighten_imports
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from datetime import date

    from recon_engine.compare.engine import Inputs
    from recon_engine.config import Options
    from recon_engine.runtime.memory import Budget


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """The comparison on this machine, within a budget of memory."""

    budget: Budget | None = None
    brings_whole_difference: ClassVar[bool] = True

    def compare(
        self,
        inputs: Inputs,
        options: Options,
        today: date,
        progress: Progress = SILENT,
        hooks: Hooks = NO_HOOKS,
    ) -> Compared:
        """Fetch, read and compare both, as `Engine` says."""
        with hooks.step("fetch"):
            old, new = inputs.open_both()
        with ExitStack() as stack:
            stack.enter_context(start_no_threads_if_small(old.bytes + new.bytes))
            with hooks.step("read"):
                scanning = begin_scan(old, new, options, self.budget)
                if scanning is not None:
                    # For an error before `read_tables` has taken the scan over.
                    stack.callback(scanning.close)
                # Lazy: the kernel reads both files while Polars is imported.
                with lighten_imports():
                    from recon_engine.compare import local_engine

                read = local_engine.read_tables(
                    old, new, options, progress, budget=self.budget, scanning=scanning
                )
                reading = stack.enter_context(read)
                hooks.take_tables(*reading.tables)
            with hooks.step("compare"):
                compare = local_engine.compare_tables
                return Compared(compare(reading, today, progress, hooks.ask))
