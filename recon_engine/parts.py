"""The whole difference as Parquet files, written where it is found, and then committed.

A task writes the files of its bucket under names that only the bucket decides, each at
once, so a task that is run again writes the same rows over them. What a reader may
trust is in `manifest.json`, which the driver stores last, once: without it there is no
difference, whatever lies there.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.errors import ConfigError
from recon_engine.storage import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.compare import Difference
    from recon_engine.header import Header
    from recon_engine.reconciliation import Reconciliation

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of `rows` below the place of the difference."""

    name: str
    rows: int


def refuse_taken(url: str) -> None:
    """Raise ConfigError where there is a difference already."""
    place = open_storage(url)
    if any(file.name == MANIFEST for file in place.files()):
        raise ConfigError(
            "there is a difference already",
            file=place.url,
            help="name another place for this one",
        )


def write(
    found: Difference,
    bucket: int,
    layout: Alignment,
    headers: Sequence[Header],
    url: str,
) -> Iterator[Part]:
    """Write the difference of a bucket, under the names of the user."""
    place = open_storage(url)
    frames = {
        "mismatches": _mismatches(found, layout),
        "missing": _named(found.missing, headers[0].columns, {}),
        "extra": _named(found.extra, headers[1].columns, layout.new_names),
    }
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        for kind, frame in frames.items():
            if frame.height:
                name, path = f"{kind}/part-{bucket:06}.parquet", Path(folder) / kind
                frame.write_parquet(path, compression="zstd")
                place.put(path, name)
                yield Part(name, frame.height)


def commit(result: Reconciliation, parts: Iterable[Part], url: str) -> None:
    """Make the parts the difference, if no one else was first."""
    document = {
        "schema": "recon-difference/1",
        "old": {"uri": result.old.uri, "sha256": result.old.sha256},
        "new": {"uri": result.new.uri, "sha256": result.new.sha256},
        "parts": [asdict(part) for part in sorted(parts, key=lambda part: part.name)],
    }
    data = (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
    if not open_storage(url).put_once(data, MANIFEST):
        refuse_taken(url)


def _mismatches(found: Difference, layout: Alignment) -> pl.DataFrame:
    """Every differing cell, by key and column."""
    keys = found.keys.to_struct("key").struct.rename_fields(list(layout.keys))
    names = pl.Series("column", sorted(layout.columns), pl.String)
    return found.cells.select(
        keys.gather(found.cells["pair"]),
        names.gather(found.cells["column"]),
        "old",
        "new",
        pl.col("kind").cast(pl.String),
    ).sort("key", "column", "old", "new")


def _named(
    rows: pl.DataFrame, columns: Sequence[str], renames: Mapping[str, str]
) -> pl.DataFrame:
    named = rows.clone()
    named.columns = [renames.get(name, name) for name in columns]
    return named
