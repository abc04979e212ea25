"""The engine on a Spark cluster of this machine beside the local one, on the same pair.

    python benchmarks/spark.py [ROWS ...]

Two workers of one core each, in processes of their own; the start of the session is
not counted. Prints a line of JSON for each size: seconds, the peak resident memory of
the driver, and how many bytes were shuffled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import generate


sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main(sizes: list[int]) -> None:
    """Measure each size; its cluster is a new one."""
    for rows in sizes or [1_000_000, 4_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            generate.generate(Path(folder) / "pair", rows=rows)
            command = [sys.executable, __file__, "--here", folder, str(rows)]
            subprocess.run(command, check=True)


def measure(folder: Path, rows: int) -> None:
    """Both engines on one pair."""
    from spark_cluster import SETTINGS, spark_cluster

    pair = [folder / "pair" / f"claims_{side}.csv" for side in ("old", "NEWSYSTEM")]
    command = [Path(sys.executable).parent / "recon", "diff", *pair, "--exit-zero"]
    local: Any = timed([*map(str, command), "--key", generate.KEY, "--format", "json"])
    SETTINGS["spark.ui.enabled"] = "true"
    SETTINGS["spark.executorEnv.POLARS_MAX_THREADS"] = "1"
    with spark_cluster(folder) as session:
        import recon_engine as rx

        began = time.monotonic()
        d = rx.diff(*pair, keys=generate.KEY, engine="spark")
        seconds = time.monotonic() - began
        document = json.loads(d.to_json())
        stages = status(session.sparkContext)
    found = {
        "rows": rows,
        "bytes": sum(path.stat().st_size for path in pair),
        "local_seconds": round(local["wall"], 2),
        "spark_seconds": round(seconds, 2),
        "driver_peak_bytes": d.engine.peak_rss_bytes,
        "shuffled_bytes": sum(stage["shuffleWriteBytes"] for stage in stages),
        "task_seconds": round(sum(s["executorRunTime"] for s in stages) / 1000, 1),
    }
    print(json.dumps(found), flush=True)
    here, there = (
        json.dumps(each | {"engine": None}) for each in (local["document"], document)
    )
    if there != here:
        sys.exit("what Spark answered is not what the local engine did")


def timed(command: list[str]) -> dict[str, Any]:
    """A command's document and its wall time, interpreter and all."""
    began = time.monotonic()
    ended = subprocess.run(command, check=True, capture_output=True)
    return {"wall": time.monotonic() - began, "document": json.loads(ended.stdout)}


def status(context: Any) -> list[dict[str, Any]]:
    """What Spark counted in each stage."""
    url = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
    with urlopen(url) as reply:  # noqa: S310 - the driver's own page
        stages: list[dict[str, Any]] = json.load(reply)
    return [stage for stage in stages if stage["status"] == "COMPLETE"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main([int(size) for size in sys.argv[1:]])
