"""The engine on a Spark cluster of this machine beside the local one, on the same pair.

    python benchmarks/spark.py [--rows ROWS ...] [--workers N ...]

The workers are processes with one core each, two by default. The start of the session
is not counted. Each pair is compared twice in a session: the second time is what a
cluster takes whose Java and Python have run before. Prints a line of JSON for each size
and number of workers: seconds, shuffled bytes, and the peak resident memory of the
driver and of the Python of a task.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import urlopen

import generate


if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

DAEMON: Final = b"pyspark.worker"
PERIOD: Final = 0.2


def main() -> None:
    """Measure each size with each number of workers; each cluster is a new one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(on_spark(given.here, *given.workers)))
        return
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            generate.generate(Path(folder), rows=rows)
            measure(Path(folder), rows, given.workers)


def measure(folder: Path, rows: int, numbers: list[int]) -> None:
    """Both engines on one pair."""
    recon = str(Path(sys.executable).parent / "recon")
    pair = paths(folder)
    asked = ["--key", generate.KEY, "--exit-zero", "--format", "json"]
    local = timed([recon, "diff", *map(str, pair), *asked])
    size = sum(path.stat().st_size for path in pair)
    for workers in numbers:
        here = [sys.executable, __file__, "--here", str(folder)]
        found = timed([*here, "--workers", str(workers)])["document"]
        print(
            json.dumps(
                {"rows": rows, "bytes": size, "local_seconds": round(local["wall"], 2)}
                | found["figures"]
            ),
            flush=True,
        )
        if without_engine(found["document"]) != without_engine(local["document"]):
            sys.exit("what Spark answered is not what the local engine did")


def on_spark(folder: Path, workers: int) -> dict[str, Any]:
    """The figures of a run on a cluster, and its document."""
    from support.spark_cluster import SETTINGS, spark_cluster

    SETTINGS["spark.ui.enabled"] = "true"
    master = f"local-cluster[{workers},1,2048]"
    with spark_cluster(folder / str(workers), RECON_SPARK_MASTER=master) as session:
        import recon_engine as rx

        def compare() -> tuple[float, Any]:
            began = time.monotonic()
            d = rx.diff(*paths(folder), keys=generate.KEY, engine="spark")
            return time.monotonic() - began, d

        with peaks(folder) as peak:
            first, d = compare()
        document = json.loads(d.to_json())
        stages = status(session.sparkContext)
        later, again = compare()
        if without_engine(json.loads(again.to_json())) != without_engine(document):
            sys.exit("what Spark answered the second time is not what it did before")
    figures = {
        "workers": workers,
        "spark_seconds": round(first, 2),
        "later_seconds": round(later, 2),
        "task_seconds": round(sum(s["executorRunTime"] for s in stages) / 1000, 1),
        "shuffled_bytes": sum(stage["shuffleWriteBytes"] for stage in stages),
        "driver_peak_bytes": d.engine.peak_rss_bytes,
        "task_peak_bytes": max(peak.values()),
    }
    return {"figures": figures, "document": document}


def paths(folder: Path) -> list[Path]:
    """OLD and NEW."""
    return [folder / f"claims_{side}.csv" for side in ("old", "NEWSYSTEM")]


def without_engine(document: dict[str, Any]) -> str:
    """What both engines have to say alike, byte for byte."""
    return json.dumps(document | {"engine": None})


def timed(command: list[str]) -> dict[str, Any]:
    """A command's document and its wall time, interpreter and all."""
    began = time.monotonic()
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return {"wall": time.monotonic() - began, "document": json.loads(ended.stdout)}


@contextmanager
def peaks(folder: Path) -> Iterator[dict[str, int]]:
    """The peak resident bytes of each Python process of a task, while a block runs.

    `folder`: of the cluster. The operating system keeps the peaks, so none is missed
    except of a process that ends between two samples.
    """
    found, over = dict[str, int](), threading.Event()

    def look() -> None:
        while not over.wait(PERIOD):
            found.update(tasks(folder))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def tasks(folder: Path) -> Iterator[tuple[str, int]]:
    """The processes of a cluster in which tasks run, and the peak of each."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment, facts = (
                (process / name).read_bytes()
                for name in ("cmdline", "environ", "status")
            )
        except OSError:
            continue  # it has ended, or is not ours
        peak = re.search(rb"^VmHWM:\s+([0-9]+) kB$", facts, re.MULTILINE)
        if peak and DAEMON in command and os.fsencode(folder) in environment:
            yield process.name, int(peak[1]) << 10


def status(context: Any) -> list[dict[str, Any]]:
    """What Spark counted in each stage."""
    url = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
    with urlopen(url) as reply:  # noqa: S310 - the driver's own page
        stages: list[dict[str, Any]] = json.load(reply)
    return [stage for stage in stages if stage["status"] == "COMPLETE"]


if __name__ == "__main__":
    main()
