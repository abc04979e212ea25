"""The cluster protocol on Spark: steps are RDDs, packets are their elements."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import re
import shutil
import struct
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from recon_engine.errors import ConfigError, InputChanged, OutOfBudget, TransientError
from recon_engine.runtime.concurrency import run_inline
from recon_engine.runtime.error_boundary import to_recon_error
from recon_engine.spark.findings import Findings
from recon_engine.spark.packets import Packet
from recon_engine.spark.settings import MASTER, SESSION


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from pyspark import RDD
    from pyspark.sql import SparkSession

    from recon_engine.errors import ReconError
    from recon_engine.spark.packets import Answer, Packets, Work

    # Packets as bytes: a head, and what is pickled.
    Moving = RDD[bytes]

JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
DAEMON: Final = "recon_engine.spark.worker_daemon"
# The place of a packet, and whether it is `found`.
HEAD: Final = struct.Struct("<i?")
PLACE: Final = struct.Struct(">q")
# Between two requests to cancel the jobs of another thread.
CANCEL_SECONDS: Final = 0.1
STDERR: Final = 2
# How the error of PySpark begins if the Java that it starts ends before it answers.
JAVA_ENDED: Final = "[JAVA_GATEWAY_EXITED]"
# `local[4]` tries a task once, `local[4, 2]` twice. spark.task.maxFailures is ignored.
LOCAL_MASTER: Final = re.compile(r"local(?:\[[^,\]]*(?:,\s*([0-9]+))?\s*\])?")


def open_session() -> SparkSession:
    """The session of the environment: the one there is, or RECON_SPARK_* describes."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError(
            "--engine spark needs PySpark, which is not installed",
            help="install the extra spark from where recon-engine was installed, such"
            " as: pip install '/path/to/recon-engine[spark]'",
        ) from None
    if not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        raise ConfigError(
            "--engine spark needs a Java runtime, and none was found",
            help="install Java 17 or newer, or set JAVA_HOME",
        )
    builder = SparkSession.builder.appName("recon-engine")
    # Most of what is shuffled is digests, and hashes do not compress.
    builder = builder.config("spark.shuffle.compress", "false")
    # Spark reads these checksums only after it has failed to decompress.
    builder = builder.config("spark.shuffle.checksum.enabled", "false")
    # Over TCP the first bytes to every task wait 40 ms for a delayed acknowledgement.
    builder = builder.config("spark.python.unix.domain.socket.enabled", "true")
    master = os.environ.get(MASTER)
    if _starts_workers_here(master):
        # Spark would start the `python3` of $PATH, which may have other packages.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master:
        builder = builder.master(master)
        for name, value in settings_of_processes(master).items():
            builder = builder.config(name, value)
    for at, setting in enumerate(os.environ.get(SESSION, "").split(), 1):
        name, equals, value = setting.partition("=")
        if not equals:
            # The text is not shown: it may be a part of a secret with a space in it.
            raise ConfigError(
                f"setting {at} of {SESSION} is not name=value",
                help="separate settings by spaces; a value cannot contain a space",
            )
        builder = builder.config(name, value)
    try:
        # A new session: settings must not change in a session that already exists.
        with _spark_error_boundary():
            return builder.getOrCreate().newSession()
    except OSError:
        failure = _start_error("SPARK_HOME does not name a folder with Spark")
    raise failure


def _starts_workers_here(master: str | None) -> bool:
    """Whether the workers of Python are processes that this one starts by Java."""
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    return master.startswith("local") if master else not is_submitted


def settings_of_processes(master: str) -> dict[str, str]:
    """Settings of Java and Python, where both are started on this machine for a job.

    On another cluster these processes have the options of whoever runs it: Java does
    not start with two garbage collectors.
    """
    if not master.startswith("local"):
        return {}
    # Java only schedules tasks and moves bytes: a second compiler, and threads that
    # clear memory beside the tasks, cost seconds that they never save.
    return {
        "spark.driver.extraJavaOptions": JAVA_OPTIONS,
        "spark.executor.extraJavaOptions": JAVA_OPTIONS,
        "spark.python.daemon.module": DAEMON,
    }


@dataclass(frozen=True, slots=True)
class SparkCluster:
    """A Spark session. A task has a partition of an RDD, whose elements are packets."""

    session: SparkSession

    @property
    def attempts(self) -> int:
        """How often Spark tries a task: where all is one process, once."""
        local = LOCAL_MASTER.fullmatch(self.session.conf.get("spark.master", "") or "")
        if local:
            return int(local[1] or 1)
        return int(self.session.conf.get("spark.task.maxFailures", "4") or 4)

    def begin(self, count: int, work: Work) -> Moving:
        """Plan a partition for each number; nothing runs before `collect`."""
        numbers = self.session.sparkContext.parallelize(range(count), count)
        return numbers.mapPartitionsWithIndex(
            functools.partial(_run_by_number, work, self.attempts)
        )

    def then(
        self, packets: Moving, places: int, work: Work, tasks: int | None = None
    ) -> Moving:
        """A partition for each place, or `tasks` of which each has several."""
        moved = self._shuffle(packets, places)
        if tasks is not None and tasks < places:
            # Partitions are read one behind the other, so each place is together.
            moved = moved.coalesce(tasks)
        return moved.mapPartitions(
            functools.partial(_run_by_place, work, self.attempts)
        )

    def gather(self, packets: Moving, tasks: int, work: Work) -> Moving:
        """Spread all packets over `tasks` partitions, each of them one task."""
        return self._shuffle(packets, tasks).mapPartitionsWithIndex(
            functools.partial(_run_on_all_packets, work, self.attempts)
        )

    def _shuffle(self, packets: Moving, partitions: int) -> Moving:
        """Move packets to the partition of their place, modulo their number.

        As `RDD.partitionBy`, which would hold back all packets of a task, pickle them
        again, and make a serializer of some milliseconds for each partition of a task:
        Spark takes Kryo for keys and values of these types, unless it does not know
        them.
        """
        from pyspark import RDD
        from pyspark.serializers import NoOpSerializer

        context = self.session.sparkContext
        jvm: Any = context._jvm  # noqa: SLF001 - as the methods of `RDD` do
        keyed: Any = packets.mapPartitions(_add_partitions)
        keyed._bypass_serializer = True  # noqa: SLF001 - bytes are not pickled
        pairs = jvm.PairwiseRDD(keyed._jrdd.rdd()).toJavaRDD()  # noqa: SLF001
        untyped = jvm.org.apache.spark.api.java.JavaPairRDD.fromJavaRDD(pairs)
        moved = untyped.partitionBy(jvm.PythonPartitioner(partitions, 0))
        return RDD(jvm.PythonRDD.valueOfPair(moved), context, NoOpSerializer())

    def collect(self, packets: Moving) -> list[Packet]:
        """Run all planned steps; TransientError if Spark does not complete them."""
        with _spark_error_boundary():
            return [*_read_packets(packets.collect())]

    @contextmanager
    def run_concurrently(self, ask: Callable[[], Answer]) -> Iterator[Future[Answer]]:
        """Run jobs on a separate thread, as a group that can be cancelled."""
        context, group = self.session.sparkContext, f"recon-{uuid4()}"

        def asked() -> Answer:
            # Job groups belong to the thread, so only the jobs of this one are
            # cancelled.
            context.setJobGroup(group, "hash the inputs", interruptOnCancel=True)
            return ask()

        with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
            asking = pool.submit(asked)
            try:
                yield asking
            except BaseException:
                # Again, if its job was not there yet.
                while wait([asking], CANCEL_SECONDS).not_done:
                    context.cancelJobGroup(group)
                raise


def _run_by_number(
    work: Work, attempts: int, number: int, _: Iterable[object]
) -> Iterator[bytes]:
    return _write_packets(_run_task(work, attempts, number, iter(())))


def _run_by_place(
    work: Work, attempts: int, written: Iterable[bytes]
) -> Iterator[bytes]:
    def answered() -> Packets:
        passing: list[Packet] = []
        mine = _split_off_found(_read_packets(written), passing)
        # A place whose packets were all found needs no task.
        for place, packets in itertools.groupby(mine, key=lambda each: each.place):
            yield from _run_task(work, attempts, place, packets)
        yield from passing

    return _write_packets(answered())


def _run_on_all_packets(
    work: Work, attempts: int, number: int, written: Iterable[bytes]
) -> Iterator[bytes]:
    # Its number is the place of what it finds, by which the next tasks are chosen.
    return _write_packets(_run_task(work, attempts, number, _read_packets(written)))


def _add_partitions(written: Iterable[bytes]) -> Iterator[bytes]:
    """Before each packet its place, as Spark reads it."""
    for data in written:
        place, _ = HEAD.unpack_from(data)
        yield PLACE.pack(place)
        yield data


def _split_off_found(packets: Iterable[Packet], passing: list[Packet]) -> Packets:
    """Yield the packets to work on; append the `found` ones to `passing`."""
    for packet in packets:
        if packet.found:
            passing.append(packet)
        else:
            yield packet


def _run_task(work: Work, attempts: int, place: int, packets: Packets) -> Packets:
    """Run a task; return its error as a packet, without texts that may quote data.

    A transient error is raised instead, so that Spark retries the task, except in the
    last attempt.
    """
    # Raised or yielded outside of the handler: the original exception, whose text may
    # quote a cell, must not be the context of what Spark prints.
    failure: ReconError | None = None
    try:
        with _discard_stderr():
            yield from work(place, packets)
    except BaseException as error:  # noqa: BLE001 - the border of every task
        failure = to_recon_error(error)
    if failure is None:
        return
    deque(packets, maxlen=0)  # Spark expects that all of them are taken.
    # These are transient for a run, which may find other bytes or more memory. For a
    # task they are final: its input and its memory are the same at each attempt.
    final = isinstance(failure, InputChanged | OutOfBudget)
    passes = isinstance(failure, TransientError) and not final
    if passes and _attempt_number() < attempts - 1:
        raise failure
    yield Packet.for_driver(place, Findings(error=failure))


@contextmanager
def _discard_stderr() -> Iterator[None]:
    """Discard the executor's stderr: Rust's message for a panic may quote data."""
    kept, nowhere = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _spark_error_boundary() -> Iterator[None]:
    """Translate errors of Spark without their text: it may quote task output."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    # Raised outside of the handler, for the reason given in `_run_task`.
    try:
        yield
    except (Py4JError, PySparkException) as error:
        ended = str(error).startswith(JAVA_ENDED)
    else:
        return
    if ended:
        raise _start_error("Java ended at once, or JAVA_HOME has no Java")
    raise TransientError(
        "Spark did not complete the job",
        why="Spark cannot be reached, lost its executors, or rejected a setting",
        help="check the log of Spark; it is safe to run again",
    )


def _start_error(why: str) -> ConfigError:
    return ConfigError(
        "Spark cannot be started",
        why=why,
        help=f"check JAVA_HOME, SPARK_HOME and {SESSION}",
    )


def _attempt_number() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.attemptNumber() if context else 0


def _read_packets(written: Iterable[bytes]) -> Packets:
    for data in written:
        place, found = HEAD.unpack_from(data)
        yield Packet(place, found, memoryview(data)[HEAD.size :])


def _write_packets(packets: Packets) -> Iterator[bytes]:
    # Python's garbage collector runs after every task: freeze what exists before it.
    gc.freeze()
    run_inline()
    for packet in packets:
        yield HEAD.pack(packet.place, packet.found) + packet.data
