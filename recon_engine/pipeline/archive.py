"""Archive the inputs: verified copies in processed, then delete them from inbound."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from recon_engine.errors import ArchiveConflict, InputChanged, ReconError
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.failpoints import failpoint
from recon_engine.storage.base import require_etag


log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from recon_engine.model import FilePair, SourceFile
    from recon_engine.pipeline.locations import Locations
    from recon_engine.storage.base import Storage


def archive_inputs(
    locations: Locations, dataset: str, run_id: UUID, pair: FilePair
) -> ReconError | None:
    """Copy all inputs, and only then remove them; return a conflict as a warning.

    An input that was replaced since it was read is neither archived nor removed. The
    result is recorded by now, so the conflict does not fail the run. If the process
    dies in between, the next run repeats this: a copy that exists is not made again,
    and removing a file that is gone does nothing.
    """

    def copy(file: SourceFile) -> None:
        failpoint("archive-copy")
        name = f"{dataset}/{run_id}/{file.name}"
        try:
            locations.processed.archive(file, locations.inbound, name)
        except ArchiveConflict:
            if file not in pair.done:
                raise
            # The same parts were delivered again, with another done file.
            again = f"{name}.{hashlib.sha256(require_etag(file).encode()).hexdigest()}"
            locations.processed.archive(file, locations.inbound, again)

    def remove(file: SourceFile) -> ReconError | None:
        failpoint("archive-remove")
        try:
            locations.inbound.remove(file)
        except ArchiveConflict as conflict:
            return _log_conflict(conflict)
        return None

    # All copies are verified before any input is removed: after a crash in between,
    # what is gone from inbound is in processed.
    try:
        list(map_ordered(copy, (*pair.files, *pair.done)))
    except ArchiveConflict as conflict:
        return _log_conflict(conflict)
    # Done files first: parts that are left by a crash are then no complete delivery.
    # If all parts are gone, a done file of the same bytes is that of the next delivery.
    done = pair.done if _is_any_left(locations.inbound, pair.files) else ()
    warnings = [*map(remove, done), *map_ordered(remove, pair.files)]
    return next(filter(None, warnings), None)


def _is_any_left(inbound: Storage, files: Sequence[SourceFile]) -> bool:
    """Whether an input with the identified bytes is still in inbound."""
    for file in files:
        with suppress(InputChanged):
            inbound.identify(file)
            return True
    return False


def _log_conflict(conflict: ArchiveConflict) -> ArchiveConflict:
    log.warning("archive_conflict", extra={"file": conflict.file})
    return conflict
