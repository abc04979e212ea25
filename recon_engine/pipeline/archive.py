"""Step 9: verified copies of both inputs in processed, then the inputs are deleted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recon_engine.errors import ArchiveConflict, ReconError
from recon_engine.runtime.concurrency import in_order
from recon_engine.runtime.failpoints import reached


log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from uuid import UUID

    from recon_engine.model import FilePair, SourceFile
    from recon_engine.pipeline.locations import Places


def _archive(
    places: Places, dataset: str, run_id: UUID, pair: FilePair
) -> ReconError | None:
    """Copy both, verified; only then remove both. A replaced input stays: a warning."""

    def copy(file: SourceFile) -> None:
        reached("archive-copy")
        name = f"{dataset}/{run_id}/{file.name}"
        places.processed.archive(file, places.inbound, name)

    def remove(file: SourceFile) -> ReconError | None:
        reached("archive-remove")
        try:
            places.inbound.remove(file)
        except ArchiveConflict as conflict:
            return _warned(conflict)
        return None

    both = (pair.old, pair.new)
    try:
        list(in_order(copy, both))
    except ArchiveConflict as conflict:
        return _warned(conflict)
    warnings = list(in_order(remove, both))
    return next(filter(None, warnings), None)


def _warned(conflict: ArchiveConflict) -> ArchiveConflict:
    log.warning("archive_conflict", extra={"file": conflict.file})
    return conflict
