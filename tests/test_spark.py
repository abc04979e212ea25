"""Real separate processes of a Spark cluster answer what the local engine does."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
import test_cases
from recon_cli.app import app
from spark_cluster import spark_cluster
from test_corpus import FACTS, FILES, expected_of
from typer.testing import CliRunner

import recon_engine as rx
from recon_engine.config import Options
from recon_engine.errors import InputChanged
from recon_engine.header import read_header
from recon_engine.sources import LocalSource
from recon_engine.spark.driver import compare
from recon_engine.spark.session import SparkCluster


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recon_engine.spark.packets import Packet, Packets, Work

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SMALL = {"RECON_SPARK_SPAN_BYTES": "64", "RECON_SPARK_BUCKET_BYTES": "200"}
REFUSED = [path for path in FILES if "status" in expected_of(path)]
ACCEPTED = [path for path in FILES if "rows" in expected_of(path)]


@pytest.fixture(scope="module")
def session(
    tmp_path_factory: pytest.TempPathFactory, seaweed: str
) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("spark")
    with spark_cluster(folder, AWS_ENDPOINT_URL_S3=seaweed) as found:
        yield found


@pytest.fixture(autouse=True)
def small(session: SparkSession, monkeypatch: pytest.MonkeyPatch) -> SparkSession:
    """Sizes at which even a small file is many spans and buckets."""
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    return session


def document(*arguments: str) -> dict[str, Any]:
    ended = CliRunner().invoke(app, ["diff", *arguments, "--format", "json"])
    found: dict[str, Any] = json.loads(ended.stdout)
    found.pop("engine", None)
    return found


def on_both(*arguments: str) -> tuple[str, str]:
    """What the local engine and Spark print, but for `engine`."""
    here, there = (
        json.dumps(document(*arguments, "--engine", engine), indent=2)
        for engine in ("local", "spark")
    )
    return here, there


def test_tasks_run_in_two_processes_that_are_not_this_one(
    session: SparkSession,
) -> None:
    def work(at: int, _: Packets) -> Packets:
        import time

        from recon_engine.spark.packets import Packet

        time.sleep(0.5)
        yield Packet(at, True, str(os.getpid()).encode())

    cluster = SparkCluster(session)
    pids = {int(packet.data) for packet in cluster.collect(cluster.begin(4, work))}
    assert len(pids) >= 2
    assert os.getpid() not in pids


def case_arguments(case: Path) -> list[str]:
    files = [str(next(case.glob(f"{side}.csv*"))) for side in ("old", "new")]
    return [*files, *(case / "arguments").read_text().splitlines()]


@pytest.mark.parametrize("case", test_cases.CASES, ids=lambda case: case.name)
def test_a_golden_case_is_byte_for_byte_the_same(case: Path) -> None:
    here, there = on_both(*case_arguments(case))
    assert there == here


def options_of(path: Path) -> dict[str, str]:
    """How a file of the corpus is compared with itself: by its first column."""
    delimiter = expected_of(path).get("delimiter", ",")
    try:
        key = read_header(path, delimiter=delimiter).columns[0]
    except rx.errors.ReconError:
        key = "id"
    return {"keys": key, "delimiter": delimiter}


def test_refused_files_are_refused_at_the_same_place() -> None:
    """Side by side: a job is little work and much waiting."""
    # One of each message: the others are compared span by span in test_spans.
    chosen = {expected_of(path)["message"]: path for path in REFUSED}.values()
    assert len(chosen) > 10
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(_refused, chosen))
    for path, (here, there) in zip(chosen, answers, strict=True):
        assert there == here, path
        assert there["status"] == expected_of(path)["status"], path


def _refused(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found = []
    for engine in ("local", "spark"):
        with pytest.raises(rx.errors.ReconError) as raised:
            rx.diff(path, path, **options_of(path), engine=engine)  # type: ignore[arg-type]
        found.append({fact: getattr(raised.value, fact, None) for fact in FACTS})
    return found[0], found[1]


def test_awkward_files_are_read_the_same() -> None:
    chosen = [path for path in ACCEPTED if path.stat().st_size < 5000][::7]
    assert len(chosen) >= 10
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(_read, chosen))
    for path, (here, there) in zip(chosen, answers, strict=True):
        assert there == here, path


def _read(path: Path) -> tuple[str, str]:
    found = []
    for engine in ("local", "spark"):
        d = rx.diff(path, path, **options_of(path), engine=engine)  # type: ignore[arg-type]
        told = d.to_dict()
        told.pop("engine")
        found.append(json.dumps(told))
    return found[0], found[1]


def written(folder: Path, rows: int) -> tuple[Path, Path]:
    """A pair with changed, missing, extra and repeated rows, and quoted newlines."""
    old, new = folder / "old.csv", folder / "new.csv"
    lines = [f'{at % (rows - 9)},"x\n{at}",{at * 7 % 11}\n' for at in range(rows)]
    old.write_text("id,note,v\n" + "".join(lines))
    changed = [line.replace(",3\n", ",4\n") for at, line in enumerate(lines) if at % 53]
    new.write_text("id,note,v\n" + "".join(reversed(changed)))
    return old, new


class Killing:
    """A cluster one of whose workers is killed in the middle of a task, once."""

    def __init__(self, session: SparkSession, mark: Path) -> None:
        self.inner, self.mark = SparkCluster(session), mark

    def begin(self, count: int, work: Work) -> Any:
        return self.inner.begin(count, work)

    def then(self, packets: Any, places: int, work: Work) -> Any:
        mark = self.mark

        def killed(place: int, mine: Packets) -> Packets:
            yield from work(place, mine)
            if place == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return self.inner.then(packets, places, killed)

    def gather(self, packets: Any, places: int, work: Work) -> Any:
        return self.inner.gather(packets, places, work)

    def collect(self, packets: Any) -> list[Packet]:
        return self.inner.collect(packets)


def test_a_worker_that_is_killed_changes_nothing(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "2000")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "5000")
    paths = written(tmp_path, 1000)
    mark = tmp_path / "killed"
    old, new = map(read_header, paths)
    sources = LocalSource.of(old), LocalSource.of(new)
    options = Options(keys=("id",))
    there = compare((old, new), sources, options, cluster=Killing(session, mark))
    here = rx.diff(*paths, keys="id")
    assert mark.exists()
    told = [d.to_dict() | {"engine": None} for d in (here, there)]
    assert told[0] == told[1]
    assert here.counts.mismatched_cells


def test_an_object_is_read_in_ranges_by_the_tasks(
    tmp_path: Path, seaweed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "5000")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "9000")
    bucket = f"spark-{uuid4().hex[:8]}"
    client = boto3.client("s3", endpoint_url=seaweed)
    client.create_bucket(Bucket=bucket)
    for path in written(tmp_path, 1000):
        client.upload_file(str(path), bucket, f"in/{path.name}")
    client.close()
    urls = [f"s3://{bucket}/in/{name}.csv" for name in ("old", "new")]
    here, there = on_both(*urls, "--key", "id")
    assert there == here
    assert json.loads(there)["counts"]["mismatched_cells"]


def test_the_whole_difference_is_not_written_where_it_is_not(tmp_path: Path) -> None:
    old, new = map(str, written(tmp_path, 100))
    output = str(tmp_path / "all.csv")
    refused = document(old, new, "--key", "id", "--engine", "spark", "-o", output)
    assert refused["status"] == "USAGE_ERROR"
    assert "RECON_SPARK_OUT" in refused["help"]


def test_a_file_that_changes_is_refused_by_the_tasks(
    tmp_path: Path, session: SparkSession
) -> None:
    paths = written(tmp_path, 100)
    old, new = map(read_header, paths)
    paths[0].write_text("id,note,v\n")
    sources = LocalSource.of(old), LocalSource.of(new)
    options = Options(keys=("id",))
    with pytest.raises(InputChanged):
        compare((old, new), sources, options, cluster=SparkCluster(session))
