"""The one place where an engine is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.compare.local import LocalEngine
from recon_engine.config import EngineName


if TYPE_CHECKING:
    from recon_engine.compare.engine import Engine, RunOutput
    from recon_engine.runtime.memory import Budget


def choose_engine(
    name: EngineName, budget: Budget | None = None, run: RunOutput | None = None
) -> Engine:
    """The engine of that name.

    `budget`: of memory of the local engine; `run`: what a pipeline run needs besides.
    """
    if name is EngineName.SPARK:
        # Lazy: a local comparison loads nothing of Spark.
        from recon_engine.spark.driver import SparkEngine

        return SparkEngine.for_run(run) if run else SparkEngine.from_environment()
    return LocalEngine(budget)
