"""Write the complete difference as Parquet files, and commit it with a manifest.

A task writes the files of its bucket atomically, under names that depend on the bucket
only. So a task that runs again replaces them by the same rows. The folder that a run
writes to is its own, so that no other run replaces them. The driver stores
`manifest.json` last and once: readers must ignore a location without it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from recon_engine.compare.masks import mask_cells, mask_rows
from recon_engine.errors import ConfigError
from recon_engine.model import Artifact
from recon_engine.storage.base import sha256_of
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.result import Reconciliation

MANIFEST: Final = "manifest.json"


def reject_existing_output(url: str) -> None:
    """Raise ConfigError if the location already holds a committed difference."""
    place = open_storage(url)
    if any(file.name == MANIFEST for file in place.files()):
        raise ConfigError(
            "the output location already contains a difference",
            file=place.url,
            help="set RECON_SPARK_OUT to another location",
        )


def name_folder(url: str) -> tuple[str, str]:
    """A folder of the location for the parts of one run: its name, and its URL.

    Two runs may be there at once, of which one is refused only when it commits.
    """
    name = uuid4().hex
    return name, f"{open_storage(url).url}{name}/"


def write_bucket(
    difference: Difference, bucket: int, plan: ComparisonPlan, url: str
) -> Iterator[Artifact]:
    """Write the difference of a bucket, masked; yield a record of each file."""
    place, masks = open_storage(url), plan.masks
    frames = {
        "mismatches": mask_cells(plan.cells(difference).drop("pair").collect(), masks),
        "missing": mask_rows(plan.rows(0, difference.missing), masks),
        "extra": mask_rows(plan.rows(1, difference.extra), masks),
    }
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        for kind, frame in frames.items():
            if frame.height:
                name, path = f"{kind}/part-{bucket:06}.parquet", Path(folder) / kind
                frame.write_parquet(path, compression="zstd")
                sha256, size = sha256_of(path), path.stat().st_size
                uri = place.put(path, name)
                yield Artifact(name, uri, sha256, size, frame.height)


def commit_parts(
    result: Reconciliation, parts: Iterable[Artifact], url: str, folder: str
) -> None:
    """Store the manifest; ConfigError if another run has stored one first.

    `folder`: the one of the location that has the parts.
    """
    document = {
        "schema": "recon-difference/1",
        "old": {"uri": result.old.uri, "sha256": result.old.sha256},
        "new": {"uri": result.new.uri, "sha256": result.new.sha256},
        "parts": [
            {"name": f"{folder}/{each.name}", "sha256": each.sha256, "rows": each.rows}
            for each in sorted(parts, key=lambda part: part.name)
        ],
    }
    data = (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
    # Another run may have committed since `reject_existing_output` was called first.
    if not open_storage(url).put_once(data, MANIFEST):
        reject_existing_output(url)
