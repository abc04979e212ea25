"""Write the artifacts of a run: CSV, Parquet, the report and the manifest.

Artifacts are deterministic: the same result gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine.findings import FINDINGS
from recon_engine.report import result_page
from recon_engine.report.csv_writer import format_record, write_frame
from recon_engine.report.result_page import NO_FACTS
from recon_engine.storage.base import sha256_of
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from recon_engine.model import Artifact
    from recon_engine.report.result_page import PageFacts
    from recon_engine.result import Reconciliation


# Stored last: a folder without it is incomplete, and readers ignore it.
MANIFEST = "manifest.json"

# The complete difference, by the tab of the report that shows a part of it.
FILES: Final = {
    "cells": "mismatches.parquet",
    "missing": "missing.csv",
    "extra": "extra.csv",
}
# The same from Spark: folders of part files.
PARTS: Final = {"cells": "mismatches/", "missing": "missing/", "extra": "extra/"}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file in the work folder.

    `rows`: data rows without the header, None if it is no table. `bytes`: its size.
    """

    path: Path
    rows: int | None
    sha256: str
    bytes: int

    @property
    def name(self) -> str:
        """The file's name below the folder of the run."""
        return self.path.name


def write_artifacts(
    result: Reconciliation,
    folder: Path,
    facts: PageFacts = NO_FACTS,
    *,
    whole: bool = True,
) -> Iterator[WrittenFile]:
    """Write every artifact except the manifest into `folder`, each as it is iterated.

    `facts`: what the report shows besides the result. `whole`: whether the result holds
    all rows and cells. Spark's result holds a sample: its tasks write the other rows.
    """
    summary = {
        name: _to_json(value) if isinstance(value, list | dict) else value
        for name, value in result.summary().items()
    }
    yield _write_table(
        folder / "summary.csv", tuple(summary), [tuple(summary.values())]
    )
    yield _write_frame(folder / "mismatch_by_column.csv", result.columns)
    yield _write_table(
        folder / "mismatch_detail_sample.csv",
        ("key_text", "key", "payload"),
        ((r.key_text, _to_json(r.key), _to_json(r.payload)) for r in result.sample),
    )
    if whole:
        yield _write_frame(folder / "missing.csv", result.missing())
        yield _write_frame(folder / "extra.csv", result.extra())
    for finding in FINDINGS:
        rows = finding.csv_rows(result.findings[finding])
        yield _write_table(folder / f"{finding.name}.csv", finding.header, rows)
    if result.old.rejected or result.new.rejected:
        yield _write_frame(folder / "rejects.csv", result.rejects())
    if not result.unpairable().is_empty():
        yield _write_frame(folder / "unpairable.csv", result.unpairable())
    if whole:
        yield _write_parquet(folder / "mismatches.parquet", result.frames.mismatches)
    yield _write_text(folder / "report.html", result_page.render_result(result, facts))


def build_manifest(
    result: Reconciliation,
    written: Sequence[Artifact],
    *,
    run_id: str,
    dataset: str,
) -> bytes:
    """The manifest: hash, size and row count of each artifact, as JSON in UTF-8.

    Store it last. Its presence says that every artifact it names is complete.
    """
    document = {
        "schema": "recon-manifest/1",
        "run_id": run_id,
        "dataset": dataset,
        "engine_version": __version__,
        "verdict": result.verdict,
        "old": {"uri": result.old.uri, "sha256": result.old.sha256},
        "new": {"uri": result.new.uri, "sha256": result.new.sha256},
        "artifacts": [
            {
                "name": each.name,
                "sha256": each.sha256,
                "bytes": each.bytes,
                "rows": each.rows,
            }
            for each in written
        ],
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> WrittenFile:
    count = 0
    # `format_record` has the line ends, which Python must not translate.
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(format_record(header))
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last one is the count
            stream.write(format_record(row))
    return _describe_file(path, count)


def _write_frame(path: Path, frame: pl.DataFrame) -> WrittenFile:
    with path.open("wb") as stream:
        write_frame(frame, stream)
    return _describe_file(path, frame.height)


def _write_parquet(path: Path, frame: pl.DataFrame) -> WrittenFile:
    frame.write_parquet(path, compression="zstd")
    return _describe_file(path, frame.height)


def _write_text(path: Path, text: str) -> WrittenFile:
    path.write_text(text, encoding="utf-8")
    return _describe_file(path, None)


def _describe_file(path: Path, rows: int | None) -> WrittenFile:
    return WrittenFile(path, rows, sha256_of(path), path.stat().st_size)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
