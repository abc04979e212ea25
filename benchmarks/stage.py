"""The whole pipeline, or only its load: `python stage.py HOW OLD NEW KEY`.

HOW is `bare` (both files as text into two Postgres tables by ADBC and nothing else,
hand-written), `adbc` or `copy` (the whole pipeline with that stage loader: reader,
comparison, artifacts, metrics, archive). Prints the seconds of the work, and of each
step. The embedded server is created before, and its start is not in the figures.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa

from recon_engine.config import Options, RunConfig, StageLoader
from recon_engine.pipeline import runner
from recon_engine.postgres import migrations
from recon_engine.postgres.connection import query_read_only
from recon_engine.postgres.embedded import server


BATCH: Final = 5_000
STEPS: Final = "SELECT step, seconds FROM metrics.run_step ORDER BY started_ts"


def bare(conninfo: str, old: Path, new: Path) -> dict[str, float]:
    """Load both in parallel, each on a separate connection."""

    def load(side: str, path: Path) -> None:
        table = pl.read_csv(path, infer_schema=False)
        data = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        columns = ", ".join(f'"{name}" text' for name in data.column_names)
        reader = pa.RecordBatchReader.from_batches(data.schema, data.to_batches(BATCH))
        with adbc.connect(conninfo) as connection:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"CREATE TABLE stage.bare_{side} ({columns})")
                cursor.adbc_ingest(
                    f"bare_{side}", reader, mode="append", db_schema_name="stage"
                )
            connection.commit()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load, ("old", "new"), (old, new)))
    return {}


def whole(conninfo: str, old: Path, new: Path, key: str, how: str) -> dict[str, float]:
    """Run the pipeline on copies of the files."""
    root = old.parent / "site"
    shutil.rmtree(root, ignore_errors=True)
    (root / "inbound").mkdir(parents=True)
    for path in (old, new):
        (root / "inbound" / path.name).hardlink_to(path)
    config = RunConfig(
        dataset="bench",
        inbound=str(root / "inbound"),
        processed=str(root / "processed"),
        out=str(root / "out"),
        options=Options(keys=(key,)),
        database=conninfo,
        stage_loader=StageLoader(how),
    )
    ended = runner.run_pipeline(config)
    assert ended.record.status == "SUCCEEDED", ended.record
    shutil.rmtree(root)
    _, steps = query_read_only(conninfo, STEPS)
    return dict(steps)


def main() -> None:
    """Take the arguments, do the work, print the seconds."""
    how, old, new, key = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    with (
        tempfile.TemporaryDirectory(dir=old.parent) as home,
        server.run_embedded_server(Path(home)) as conninfo,
    ):
        migrations.apply_migrations(conninfo)
        began = time.perf_counter()
        if how == "bare":
            steps = bare(conninfo, old, new)
        else:
            steps = whole(conninfo, old, new, key, how)
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "steps": steps}))


if __name__ == "__main__":
    main()
