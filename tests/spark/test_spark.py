"""Real separate processes of a Spark cluster answer what the local engine does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID, uuid4

import boto3
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recon_cli.app import app
from support import golden_cases
from support.compared_pairs import answer, expected, rules_of_sides
from support.compared_pairs import written as pair_written
from support.corpus_files import FACTS, FILES, expected_of
from support.databases import migrated
from support.packed import gzip_of
from support.sites import NEW, OLD, BucketSite, FolderSite, Site
from support.spark_cluster import BRIEF, SETTINGS, spark_cluster
from support.stand import METRICS
from support.strategies import Pair, pairs
from support.suppressed_pairs import DAY
from typer.testing import CliRunner

import recon_engine as rx
from recon_engine.config import EngineName, OnDuplicateKeys, OnSchemaDrift, Options
from recon_engine.errors import (
    ConfigError,
    InputChanged,
    InternalError,
    TransientError,
)
from recon_engine.inputs.header import read_header
from recon_engine.model import Suppressible, Suppression
from recon_engine.pipeline import runner
from recon_engine.spark import driver, kernel_splits
from recon_engine.spark.byte_sources import LocalSource, locate_in_place
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.session import SparkCluster
from recon_engine.spark.session import open_session as spark_session
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pyspark.sql import SparkSession
    from support.compared_pairs import Rules

    from recon_engine.result import Reconciliation
    from recon_engine.spark.packets import Answer, Packet, Packets, Work

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SMALL = {"RECON_SPARK_SPAN_BYTES": "64", "RECON_SPARK_BUCKET_BYTES": "200"}
REFUSED = [path for path in FILES if "status" in expected_of(path)]
ENGINES = (EngineName.LOCAL, EngineName.SPARK)
TABLES = {*METRICS, "gate_result", "suppression", "break_summary"} - {"artifact"}
JUDGED = Options(
    keys=("ID",),
    gates=("missing<=5", "mismatched_cells<=9"),
    suppressions=(
        Suppression(
            what=Suppressible.MISSING,
            keys=["1", "7"],
            reason="one row",
            owner="ops",
            until=date(2999, 1, 1),
        ),
        Suppression(
            what=Suppressible.MISSING,
            reason="known",
            owner="ops",
            until=date(2999, 1, 1),
        ),
    ),
)
UNLIKE = frozenset(
    {"run_id", "run_date", "created_ts", "seconds", "strategy", "dataset"}
)
SECRET = "Smith-4711"
IDS = {"break_summary": frozenset({"ordinal", "book", "pair"})}
ACCEPTED = [path for path in FILES if "rows" in expected_of(path)]


@pytest.fixture(scope="module")
def session(
    tmp_path_factory: pytest.TempPathFactory, seaweed: str
) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("spark")
    with spark_cluster(folder, BRIEF, AWS_ENDPOINT_URL_S3=seaweed) as found:
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
    if "engine" in found:
        spark = arguments[-2:] == ("--engine", "spark")
        assert found.pop("engine")["strategy"].endswith(" on spark") == spark
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


def test_tasks_read_with_the_native_kernel_unless_rules_or_the_user_forbid_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    old = "".join(f'{at},"{at % 7}, x",\n' for at in range(24))
    new = "".join(f'"{at % 8}, x",{at},"\n"\r\n' for at in range(20))
    paths[0].write_text("id,v,w\n" + old)
    paths[1].write_text("v,id,w\n" + new)

    def compare(**options: Any) -> tuple[str | None, str]:
        found = rx.diff(*paths, keys="id", **options)
        return found.engine.kernel, json.dumps(found.to_dict() | {"engine": None})

    answer = compare(engine="spark")
    assert answer == compare(engine="local")
    assert answer[0] == "native"
    assert compare(engine="spark", rules={"id": "zeropad(3)"})[0] == "numpy"
    with monkeypatch.context() as patch:
        patch.setattr(kernel_splits, "load_kernel", lambda _: None)
        assert compare(engine="spark") == ("numpy", answer[1])
    # The reader in Python reads the spans with such rows, and the kernel digests them.
    paths[0].write_text("id,v,w\n" + old + '61\n62,a,b,c\n63,"a\nb",\n\n')
    found = compare(engine="spark", on_bad_row="quarantine")
    assert found == ("native", compare(engine="local", on_bad_row="quarantine")[1])


def test_what_a_library_says_in_a_task_is_not_reported(session: SparkSession) -> None:
    def work(_: int, __: Packets) -> Packets:
        import polars as pl

        pl.int_range(0, 1 << 62, eager=True)  # a panic, which is no Exception
        yield from ()

    cluster = SparkCluster(session)
    [packet] = cluster.collect(cluster.begin(1, work))
    error = packet.open().error
    assert isinstance(error, InternalError)
    assert "PanicException" in error.message
    assert "capacity" not in str(vars(error))


def test_what_spark_says_is_not_reported(session: SparkSession) -> None:
    def work(_: int, __: Packets) -> Packets:
        yield SECRET  # type: ignore[misc]

    cluster = SparkCluster(session)
    with pytest.raises(TransientError) as raised:
        cluster.collect(cluster.begin(1, work))
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_setting_that_is_none_is_named_by_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECON_SPARK_CONF", f"spark.a=b spark.key= {SECRET}")
    with pytest.raises(ConfigError, match="setting 3 of RECON_SPARK_CONF") as raised:
        spark_session()
    assert SECRET not in str(vars(raised.value))


def test_a_session_that_there_is_keeps_its_settings(session: SparkSession) -> None:
    name = "spark.sql.shuffle.partitions"
    theirs = session.newSession()
    theirs.conf.set(name, "777")
    assert spark_session().conf.get(name) == SETTINGS[name]
    assert theirs.conf.get(name) == "777"


@pytest.mark.parametrize(
    ("master", "attempts"),
    [("local", 1), ("local[4]", 1), ("local[*, 3]", 3), ("local-cluster[2,1,9]", 4)],
)
def test_tasks_are_tried_as_often_as_spark_does(master: str, attempts: int) -> None:
    class Session:
        conf: ClassVar = {"spark.master": master}

    assert SparkCluster(Session()).attempts == attempts  # type: ignore[arg-type]


def test_an_error_does_not_wait_for_what_goes_on_beside(
    session: SparkSession, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"

    def work(_: int, __: Packets) -> Packets:
        import time

        begun.touch()
        time.sleep(600)
        yield from ()

    def asked() -> list[Packet]:
        return cluster.collect(cluster.begin(1, work))

    def failed() -> None:
        with cluster.run_concurrently(asked) as asking:
            asked_for.append(asking)
            while not begun.exists():
                time.sleep(0.05)
            raise ZeroDivisionError

    asked_for: list[Future[list[Packet]]] = []
    cluster, before = SparkCluster(session), time.monotonic()
    with pytest.raises(ZeroDivisionError):
        failed()
    assert isinstance(asked_for[0].exception(), TransientError)
    assert time.monotonic() - before < 60
    assert cluster.collect(cluster.begin(2, lambda _, packets: packets)) == []


def case_arguments(case: Path) -> list[str]:
    files = [str(next(case.glob(f"{side}.csv*"))) for side in ("old", "new")]
    return [*files, *(case / "arguments").read_text().splitlines()]


@pytest.mark.parametrize("case", golden_cases.CASES, ids=lambda case: case.name)
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


def test_the_encoding_to_paste_is_tried_on_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is far from the head, and the file larger than the sample."""
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "1000000")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "100000000")
    path = tmp_path / "old.csv"
    rows = [
        f"{at},caf\u00e9\n" if at == 150_000 else f"{at},x\n" for at in range(250_000)
    ]
    path.write_text("id,v\n" + "".join(rows), encoding="cp1252")
    assert path.stat().st_size > 2 << 20
    helps = []
    for engine in ("local", "spark"):
        with pytest.raises(rx.errors.EncodingError) as raised:
            rx.diff(path, path, keys="id", engine=engine)
        helps.append(raised.value.help)
    assert helps[0] == helps[1]
    assert 'add encoding="cp1252" (OLD: the 1,048,576 tried bytes' in str(helps[0])


def test_awkward_files_are_read_the_same() -> None:
    chosen = [path for path in ACCEPTED if path.stat().st_size < 5000][::7]
    assert len(chosen) >= 10
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(_read, chosen))
    for path, (here, there) in zip(chosen, answers, strict=True):
        assert there == here, path


FRAMED: dict[str, Any] = {
    "keys": "id",
    "skip_lines": 2,
    "comment_prefix": "#",
    "trailing_delimiter": True,
    "trailer": "T",
    "trailer_count": "2",
    "trailer_sum": "3=v",
    "eof_mark": True,
}


def test_a_frame_around_the_table_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "500")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "3000")
    for name, factor in (("old", 7), ("new", 8)):
        values = [at * factor % 11 for at in range(300)]
        rows = "".join(f'{at},"x\n{at}",{v},\n' for at, v in enumerate(values))
        text = f'say "\n\n# note\nid,note,v,\n{rows}T,300,{sum(values)}\n\x1a'
        (tmp_path / f"{name}.csv").write_text(text)
    pair = tmp_path / "old.csv", tmp_path / "new.csv"
    here, there = (
        rx.diff(*pair, **FRAMED, engine=engine) for engine in ("local", "spark")
    )
    assert here.counts.mismatched_rows > 200
    assert shown(there, "spark") == shown(here, "local")
    text = pair[1].read_text()
    refused = []
    for wrong in ("T,301,", "T,300,1", "T,1\nT,300,"):
        pair[1].write_text(text.replace("T,300,", wrong))
        for engine in ("local", "spark"):
            with pytest.raises(rx.errors.MalformedInput) as raised:
                rx.diff(*pair, **FRAMED, engine=engine)
            refused.append({fact: getattr(raised.value, fact, None) for fact in FACTS})
    assert refused[::2] == refused[1::2]


def test_parts_of_another_syntax_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "500")
    (tmp_path / "in").mkdir()
    rows = [(f"{at:04}", f"{at * 7 % 11:3}") for at in range(200)]
    for part in range(3):
        text = "".join(f"{key}{value}\n" for key, value in rows[part::3])
        (tmp_path / "in" / f"{part}.txt").write_text(
            f"{text}END|{len(rows[part::3])}\n"
        )
    new = "".join(f'{key}||="{value}"\n' for key, value in rows[5:])
    (tmp_path / "new.csv").write_text(f"ID||V\n{new}")
    options: dict[str, Any] = {
        "keys": "ID",
        "old_fixed": "ID:1-4,V:5-7",
        "old_trailer": "END",
        "old_trailer_delimiter": "|",
        "old_trailer_count": "2",
        "delimiter": ",:||",
        "new_excel_text": True,
    }
    here, there = (
        rx.diff(tmp_path / "in", tmp_path / "new.csv", **options, engine=engine)
        for engine in ("local", "spark")
    )
    assert (here.counts.matched, here.counts.missing) == (195, 5)
    assert shown(there, "spark") == shown(here, "local")


def _read(path: Path) -> tuple[str, str]:
    found = []
    for engine in ("local", "spark"):
        d = rx.diff(path, path, **options_of(path), engine=engine)  # type: ignore[arg-type]
        found.append(shown(d, engine))
    return found[0], found[1]


def shown(d: Reconciliation, engine: str) -> str:
    """The document of a result of that engine, but for `engine`."""
    document = d.to_dict()
    document.pop("engine")
    assert d.engine.strategy.endswith(" on spark") == (engine == "spark")
    return json.dumps(document)


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

    def then(
        self, packets: Any, places: int, work: Work, tasks: int | None = None
    ) -> Any:
        mark = self.mark

        def killed(place: int, mine: Packets) -> Packets:
            yield from work(place, mine)
            if place == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return self.inner.then(packets, places, killed, tasks)

    def gather(self, packets: Any, tasks: int, work: Work) -> Any:
        return self.inner.gather(packets, tasks, work)

    def collect(self, packets: Any) -> list[Packet]:
        return self.inner.collect(packets)

    def run_concurrently(
        self, ask: Callable[[], Answer]
    ) -> AbstractContextManager[Any]:
        return self.inner.run_concurrently(ask)


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
    there = compare_on_cluster(
        (old, new), sources, options, DAY, cluster=Killing(session, mark)
    )
    here = rx.diff(*paths, keys="id", sha256=True)
    assert mark.exists()
    assert shown(there, "spark") == shown(here, "local")
    assert here.counts.mismatched_cells


def test_causes_behind_masks_are_byte_for_byte_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "3000")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "9000")
    monkeypatch.setenv("RECON_MASK_KEY", "correct horse battery staple")
    paths = map(str, migrated(tmp_path))
    masks = ("--mask", "NOTE=hmac", "--mask", "ID=last4")
    gates = ("--gate", "mismatch_rate(PAID)<=5%", "--gate", "missing<=0")
    drift = ("--on-schema-drift", "compare", "--detail-limit", "50")
    here, there = on_both(*paths, "--key", "ID", *masks, *gates, *drift)
    assert there == here
    shown = json.loads(there)
    assert all(shown[part] for part in ("patterns", "totals", "hints", "gates"))


DELIVERED: dict[str, Any] = {
    "keys": "ID",
    "delimiter": ";:,",
    "old_trailer": "END",
    "old_trailer_count": "2",
    "old_trailer_sum": "3=PAID",
    "new_skip_lines": 1,
    "where": "PAID >= 0",
    "new_where": "SEX != 9",
    "old_rules": {
        "ID": "lstrip0",
        "SEX": "map(M=1,F=2)",
        "PAID": "decimal(comma)",
        "AT": "timestamp(%d.%m.%Y %H:%M:%S,zone=Europe/Berlin)",
    },
    "new_rules": {"AT": "timestamp(%Y-%m-%dT%H:%M:%S%z)"},
}


def test_a_delivery_in_parts_is_byte_for_byte_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trailers, a code table, instants, filters and parts in one pair."""
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "900")
    monkeypatch.setenv("RECON_SPARK_BUCKET_BYTES", "3000")
    sides = {"old": tmp_path / "old", "new": tmp_path / "new"}
    for folder in sides.values():
        folder.mkdir()
    for part in range(3):
        ours, theirs, total = [], [], 0
        for at in range(part * 60, part * 60 + 60):
            cents = at * 37 % 901 - 100
            total += cents
            sex = "MFX"[at % 41 % 3]
            ours.append(
                f"{at:06};{sex};{cents / 100:.2f}".replace(".", ",")
                + f";{1 + at % 28:02}.01.2026 12:00:00"
            )
            if at % 17:
                seconds = at % 13 == 0
                code = 1 if at % 23 == 0 else {"M": 1, "F": 2, "X": 9}[sex]
                theirs.append(
                    f"{at},2026-01-{1 + at % 28:02}T11:00:0{seconds:d}Z"
                    f",{cents / 100:.2f},{code}"
                )
        trailer = f"END;60;{total / 100:.2f}".replace(".", ",")
        (sides["old"] / f"part-{part}.csv").write_text(
            "\n".join(["ID;SEX;PAID;AT", *ours, trailer]) + "\n"
        )
        (sides["new"] / f"part-{part}.csv").write_text(
            "\n".join(["a title", "ID,AT,PAID,SEX", *theirs]) + "\n"
        )
    here, there = (
        rx.diff(*sides.values(), **DELIVERED, engine=engine)
        for engine in ("local", "spark")
    )
    assert shown(there, "spark") == shown(here, "local")
    counts = here.to_dict()
    assert all(counts["old"][name] for name in ("left_out", "partner_left_out"))  # type: ignore[index]
    assert here.counts.missing
    assert {column.name for column in here.differing} == {"SEX", "AT"}
    assert here.old.dialect is not None
    assert here.old.dialect.frame == {"parts": 3, "trailer": 3}
    (sides["old"] / "part-2.csv").write_text("ID;SEX;PAID;AT\nEND;0;0,01\n")
    messages = set()
    for engine in ("local", "spark"):
        with pytest.raises(rx.errors.MalformedInput) as raised:
            rx.diff(*sides.values(), **DELIVERED, engine=engine)
        messages.add((raised.value.message, raised.value.file, raised.value.line))
    assert len(messages) == 1


@settings(max_examples=max(5, settings().max_examples // 20))
@given(pair=pairs(), data=st.data())
def test_any_pair_is_byte_for_byte_the_same(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    none: Rules = {}
    both, old, new = data.draw(
        st.one_of(st.just((none, none, none)), rules_of_sides(pair))
    )
    rules = {"rules": both, "old_rules": old, "new_rules": new}
    paths = pair_written(tmp_path, pair, data)
    here, there = (
        rx.diff(*paths, keys=pair.keys, engine=engine, **rules)  # type: ignore[arg-type]
        for engine in ("local", "spark")
    )
    assert shown(there, "spark") == shown(here, "local")
    assert answer(there, pair.columns) == expected(pair, both, old, new)


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


def test_the_line_of_a_trailer_of_an_object_is_not_counted_in_another_file(
    tmp_path: Path, seaweed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    monkeypatch.chdir(tmp_path)
    bucket = f"spark-{uuid4().hex[:8]}"
    client = boto3.client("s3", endpoint_url=seaweed)
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="in/old.csv", Body=b"id,v\n1,a\n2,b\nTRL,3\n")
    client.close()
    # The name of the object, in the folder in which the program runs.
    (tmp_path / "old.csv").write_text(30 * "\n")
    url = f"s3://{bucket}/in/old.csv"
    trailer = ("--trailer", "TRL", "--trailer-count", "2")
    refused = document(url, url, "--key", "id", *trailer, "--engine", "spark")
    assert (refused["file"], refused["byte_offset"]) == (url, 13)
    assert refused["line"] is None


@pytest.fixture(params=["folders", "s3"])
def sites(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: str,
    seaweed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Site, ...]]:
    """A site for each engine, with the same deliveries."""
    if request.param == "folders":
        yield tuple(FolderSite(str(tmp_path / name), database) for name in ENGINES)
        return
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    made = [BucketSite(f"run-{uuid4().hex[:8]}", seaweed, database) for _ in ENGINES]
    for site in made:
        site.client.create_bucket(Bucket=site.bucket)
    yield tuple(made)
    for site in made:
        site.client.close()


def recorded(site: Site, run_id: UUID | None, dataset: str) -> dict[str, Any]:
    """What a run left in the tables, but for ids, clocks and the strategy."""
    found = {
        table: [
            {
                name: value
                for name, value in row.items()
                if name not in UNLIKE | IDS.get(table, frozenset())
            }
            for row in site.rows(
                f"SELECT * FROM metrics.{table} t WHERE run_id = '{run_id}'"
                " ORDER BY to_jsonb(t) - 'run_id' - 'dataset' - 'seconds'"
            )
        ]
        for table in TABLES
    }
    breaks = (
        "SELECT key_text, column_name, kind, state, occurrences, old_value, new_value"
        f" FROM metrics.break WHERE dataset = '{dataset}' ORDER BY 1, 2, 3"
    )
    return found | {"breaks": site.rows(breaks)}


def test_a_run_on_spark_records_what_one_on_this_machine_does(
    sites: tuple[Site, ...],
) -> None:
    for day, old, new in (("20261123", OLD, NEW), ("20261124", NEW, OLD)):
        shown = []
        for site, engine in zip(sites, ENGINES, strict=True):
            site.deliver(old, new, day)
            outcome = site.run(options=JUDGED, dataset=str(engine), engine=engine)
            assert outcome.record.status is RunStatus.SUCCEEDED, outcome.error
            assert site.names(site.inbound) == {}
            shown.append(recorded(site, outcome.record.run_id, engine))
        assert shown[1] == shown[0]
        assert {each["state"] for each in shown[1]["breaks"]} >= {"new"}
    here, there = (written_by(site) for site in sites)
    alone = {"missing.csv", "extra.csv", "mismatches.parquet"}
    assert here.keys() - there.keys() == alone
    parts = there.keys() - here.keys()
    assert {name.partition("/")[0] for name in parts} == {
        "mismatches", "missing", "extra",
    }  # fmt: skip
    manifest = json.loads(there.pop("manifest.json"))
    assert {each["name"] for each in manifest["artifacts"]} == there.keys()
    for each in manifest["artifacts"]:
        data = there[each["name"]]
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (
            each["sha256"],
            each["bytes"],
        )
    page = there["report.html"].decode()
    named = json.loads(re.search(r'"files":(\{[^}]*\})', page)[1])  # type: ignore[index]
    assert all(any(name.startswith(p) for name in there) for p in named.values())
    assert len(named) == len(alone)
    # The page names the dataset, and the manifest is of other files.
    for name in here.keys() & there.keys() - {"manifest.json", "report.html"}:
        assert there[name] == here[name], name
    there_only = "SELECT tablename FROM pg_tables WHERE schemaname = 'stage'"
    assert {row["tablename"] for row in sites[1].rows(there_only)} == {
        "local_old", "local_new",
    }  # fmt: skip


def test_without_a_sha256_each_delivery_of_the_same_names_is_a_pair(
    sites: tuple[Site, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_SPARK_SHA256", "off")
    site, head = sites[1], b"ID,V\n"

    def run(old: bytes, new: bytes) -> list[tuple[str, str, int]]:
        site.deliver(head + old, head + new)
        ended = site.run(engine=EngineName.SPARK, recompute=True)
        assert ended.record.status is RunStatus.SUCCEEDED, ended.error
        assert ended.result is not None
        # Nothing else pins a file of a folder.
        hashed = isinstance(site, FolderSite)
        assert (ended.result.old.sha256 is not None) is hashed
        found = site.rows("SELECT key_text, state, runs_seen FROM metrics.break")
        return sorted(
            (row["key_text"], row["state"], row["runs_seen"]) for row in found
        )

    assert run(b"1,a\n2,b\n", b"1,x\n2,b\n") == [("1", "new", 1)]
    assert run(b"1,a\n2,b\n", b"1,x\n2,y\n") == [("1", "recurring", 2), ("2", "new", 1)]
    # The same bytes are the same pair, which counts once.
    assert run(b"1,a\n2,b\n", b"1,x\n2,y\n") == [("1", "recurring", 2), ("2", "new", 1)]


def written_by(site: Site) -> dict[str, bytes]:
    """The artifacts of the last run, by name."""
    out = site.names(site.out)
    last = max(name.split("/")[1] for name in out)
    return {
        name.split("/", 2)[2]: data
        for name, data in out.items()
        if name.split("/")[1] == last
    }


def test_a_run_on_spark_loads_stage_if_it_is_asked_to(
    tmp_path: Path, database: str
) -> None:
    site = FolderSite(str(tmp_path), database)
    site.deliver()
    outcome = site.run(engine=EngineName.SPARK, stage=True)
    assert outcome.record.status is RunStatus.SUCCEEDED, outcome.error
    assert len(site.rows("SELECT * FROM stage.claims_old")) == 4


def test_what_is_unpacked_for_stage_is_not_unpacked_again(
    tmp_path: Path, database: str
) -> None:
    site = FolderSite(str(tmp_path), database)
    site.put("claims_20261123.csv.gz", gzip_of(OLD))
    site.put("claims_20261123_NEWSYSTEM.csv", NEW)
    outcome = site.run(engine=EngineName.SPARK, stage=True)
    assert outcome.record.status is RunStatus.SUCCEEDED, outcome.error
    assert len(site.rows("SELECT * FROM stage.claims_old")) == 4
    assert outcome.result is not None
    assert outcome.result.counts.mismatched_rows == 2


def test_a_dry_run_on_spark_answers_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    site = FolderSite(str(tmp_path), "")
    site.deliver()
    before = site.names(site.inbound)
    outcome = runner.dry_run(site.config(engine=EngineName.SPARK))
    assert outcome.result is not None
    assert outcome.result.counts.mismatched_rows == 2
    assert site.names(site.inbound) == before
    assert site.names(site.out) == {}


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (b'ID,PAID,NOTE\n1,"10.00,a\n', RunStatus.MALFORMED_INPUT),
        (b"NO,PAID,NOTE\n1,10.00,a\n", RunStatus.KEY_MISSING),
        (b"ID,PAID\n1,10.00\n", RunStatus.SCHEMA_MISMATCH),
        (b"ID,PAID,NOTE\n1,1,a\n1,2,b\n", RunStatus.DUPLICATE_KEYS),
        (b"ID,PAID,REMARK\n1,10.00,a\n", RunStatus.USAGE_ERROR),
        (None, RunStatus.NO_FILES),
    ],
    ids=["quote", "key", "columns", "keys", "rule", "gone"],
)
def test_what_is_wrong_with_a_replacement_is_not_reported_of_the_pair(
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    other: bytes | None,
    status: RunStatus,
) -> None:
    site = FolderSite(str(tmp_path), database)
    site.deliver()
    old, new = sorted((tmp_path / "inbound").iterdir())
    options = Options(
        keys=("ID",),
        rules={"NOTE": ("trim",)},
        on_duplicate_keys=OnDuplicateKeys.FAIL,
        on_schema_drift=(
            OnSchemaDrift.COMPARE
            if status is RunStatus.USAGE_ERROR
            else OnSchemaDrift.REFUSE
        ),
    )
    real = locate_in_place

    def replace_and_locate(*args: Any, **named: Any) -> Any:
        # Once, before OLD is located: what is read then stays as it is.
        if other is None:
            old.unlink(missing_ok=True)
        elif old.read_bytes() == OLD:
            old.write_bytes(other)
        return real(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "locate_in_place", replace_and_locate)
        outcome = site.run(engine=EngineName.SPARK, options=options)
        assert outcome.record.status is RunStatus.INPUT_CHANGED
        site.deliver()
        with pytest.raises(InputChanged):
            runner.dry_run(site.config(engine=EngineName.SPARK, options=options))
    if other is None:
        new.unlink()
    outcome = site.run(engine=EngineName.SPARK, options=options)
    assert outcome.record.status is status


@dataclass(frozen=True)
class Second(SparkCluster):
    """A cluster on which another run ends before the tasks of this one begin."""

    first: Callable[[], None]

    def collect(self, packets: Any) -> list[Packet]:
        self.first()
        return super().collect(packets)


def test_a_run_that_is_refused_leaves_the_committed_difference(
    tmp_path: Path, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o u t"
    out.mkdir()
    monkeypatch.setenv("RECON_SPARK_OUT", str(out))
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "old.csv").write_text(f"id,v\n1,a{number}\n2,a\n3,c\n")
        (folder / "new.csv").write_text(f"id,v\n1,b{number}\n2,a\n4,d\n")
        old, new = (read_header(folder / f"{side}.csv") for side in ("old", "new"))
        runs.append(((old, new), (LocalSource.of(old), LocalSource.of(new))))
    options = Options(keys=("id",))

    def commit_first() -> None:
        if not (out / "manifest.json").exists():
            compare_on_cluster(*runs[0], options, DAY, cluster=SparkCluster(session))

    with pytest.raises(ConfigError, match="already contains a difference"):
        compare_on_cluster(
            *runs[1], options, DAY, cluster=Second(session, commit_first)
        )
    parts = json.loads((out / "manifest.json").read_text())["parts"]
    assert {each["name"].split("/")[1] for each in parts} == {
        "mismatches",
        "missing",
        "extra",
    }
    for each in parts:
        data = (out / each["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["sha256"]
    [cell] = [
        pl.read_parquet(out / each["name"])
        for each in parts
        if "mismatches" in each["name"]
    ]
    assert {"a0", "b0"} <= {str(value) for value in cell.row(0)}


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
        compare_on_cluster(
            (old, new), sources, options, DAY, cluster=SparkCluster(session)
        )
