"""Archive the inputs: verified copies in processed, then delete both from inbound."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recon_engine.errors import ArchiveConflict, ReconError
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.failpoints import failpoint


log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from uuid import UUID

    from recon_engine.model import FilePair, SourceFile
    from recon_engine.pipeline.locations import Locations


def archive_inputs(
    locations: Locations, dataset: str, run_id: UUID, pair: FilePair
) -> ReconError | None:
    """Copy both inputs, and only then remove both; return a conflict as a warning.

    An input that was replaced since it was read is neither archived nor removed. The
    result is recorded by now, so the conflict does not fail the run. If the process
    dies in between, the next run repeats this: a copy that exists is not made again,
    and removing a file that is gone does nothing.
    """

    def copy(file: SourceFile) -> None:
        failpoint("archive-copy")
        name = f"{dataset}/{run_id}/{file.name}"
        locations.processed.archive(file, locations.inbound, name)

    def remove(file: SourceFile) -> ReconError | None:
        failpoint("archive-remove")
        try:
            locations.inbound.remove(file)
        except ArchiveConflict as conflict:
            return _log_conflict(conflict)
        return None

    # Both copies are verified before either input is removed: after a crash in between,
    # what is gone from inbound is in processed.
    both = (pair.old, pair.new)
    try:
        list(map_ordered(copy, both))
    except ArchiveConflict as conflict:
        return _log_conflict(conflict)
    warnings = list(map_ordered(remove, both))
    return next(filter(None, warnings), None)


def _log_conflict(conflict: ArchiveConflict) -> ArchiveConflict:
    log.warning("archive_conflict", extra={"file": conflict.file})
    return conflict
