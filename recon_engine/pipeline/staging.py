"""Load both files into stage tables in the background, while they are compared."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recon_engine.model import SIDES
from recon_engine.postgres.stage import fits_columns, load_stage_table
from recon_engine.runtime.concurrency import use_shared_pool_share


if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from uuid import UUID

    from recon_engine.config import RunConfig
    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.postgres.stage import StageTable
    from recon_engine.runtime.progress import Progress


log = logging.getLogger(__name__)


@contextmanager
def load_in_background(
    config: RunConfig,
    run_id: UUID,
    files: tuple[CsvFile, CsvFile],
    progress: Progress,
) -> Iterator[list[Future[StageTable]]]:
    """Load OLD and NEW into their private stage tables while the block runs.

    Yields the two loads, OLD first. The comparison has priority: the loads get a share
    of the thread pool. If the block fails, the loads stop at their next batch and roll
    back; the block's end waits for that.
    """
    loader = _StageLoader(config, run_id, progress)
    with ThreadPoolExecutor(len(SIDES), "stage", use_shared_pool_share) as pool:
        loads = [
            pool.submit(loader.load, side, file)
            for side, file in zip(SIDES, files, strict=True)
        ]
        try:
            yield loads
        except BaseException:
            # The pool's exit waits for both loads: without the event, for all rows.
            loader.stopped.set()
            raise


@dataclass(frozen=True, slots=True)
class _StageLoader:
    config: RunConfig
    run_id: UUID
    progress: Progress
    stopped: threading.Event = field(default_factory=threading.Event)

    def load(self, side: str, file: CsvFile) -> StageTable:
        if not fits_columns(file.columns):
            log.warning("stage_as_array", extra={"columns": len(file.columns)})
        with self.progress.step(f"stage {side}", total=file.rows) as advance:

            def advance_or_stop(rows: int) -> None:
                if self.stopped.is_set():
                    raise InterruptedError
                advance(rows)

            return load_stage_table(
                self.config.database,
                self.config.dataset,
                side,
                self.run_id,
                file,
                advance_or_stop,
                self.config.stage_loader,
            )
