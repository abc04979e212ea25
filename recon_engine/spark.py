"""The same reconciliation on Spark, which runs tasks and moves bytes, and nothing else.

Spark never sees a cell. What goes from task to task are packets of ours, routed by a
number, in three shuffles:

    spans    --digests of all rows, by bucket of keys-->  drop what is identical
    buckets  --the places of what is left, by span-->     read these rows again
    spans    --their bytes, by bucket-->                  pair and compare

Each step is the code of the local engine: the gate, the digests, `rest`, `differences`.
What is found of a bucket is a `Partial`; these are merged on the cluster, each with no
more to show than the detail limit, so the driver gets one, whatever the size of the
inputs. Every task may be run again, or twice: it writes nothing, and answers the same.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import pickle
import secrets
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from recon_engine.alignment import align
from recon_engine.border import ours
from recon_engine.buckets import DIGESTS
from recon_engine.compare import diff, merge, repeated
from recon_engine.csvfile import Block
from recon_engine.digest import Columns, Lines, Seeds, choose, named
from recon_engine.errors import ConfigError, InputChanged, OutOfBudget, TransientError
from recon_engine.header import counted_in
from recon_engine.memory import Budget
from recon_engine.partial import merged, partial
from recon_engine.parts import commit, refuse_taken, write
from recon_engine.passage import joined, read_span
from recon_engine.progress import SILENT, Progress
from recon_engine.reconcile import (
    Reading,
    assembled,
    cells_of,
    differences,
    refuse_repeats,
    rest,
)
from recon_engine.rfc4180 import records
from recon_engine.spans import Census, census, embedded, spans
from recon_engine.structure import structure


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recon_engine.alignment import Alignment
    from recon_engine.config import Options
    from recon_engine.csvfile import CsvFile
    from recon_engine.csvfile import Part as Run
    from recon_engine.digest import Names, Strategy
    from recon_engine.errors import ReconError
    from recon_engine.gate import ReadAt
    from recon_engine.header import Header
    from recon_engine.partial import Partial
    from recon_engine.parts import Part
    from recon_engine.passage import Passage
    from recon_engine.reconciliation import Reconciliation
    from recon_engine.sources import Source
    from recon_engine.spans import Span

    Batches = Iterator[pa.RecordBatch]
    Packets = Iterator["Packet"]
    Work = Callable[[int, Packets], Packets]

MASTER: Final = "RECON_SPARK_MASTER"
SETTINGS: Final = "RECON_SPARK_CONF"
SPAN: Final = "RECON_SPARK_SPAN_BYTES"
BUCKET: Final = "RECON_SPARK_BUCKET_BYTES"
MOST: Final = "RECON_SPARK_BUCKET_LIMIT"
OUT: Final = "RECON_SPARK_OUT"
SHA256: Final = "RECON_SPARK_SHA256"

SCHEMA: Final = "place int, found boolean, packet binary"
NAMES: Final = ("place", "found", "packet")
BATCH: Final = 1 << 23
WINDOW: Final = 1 << 22
FAN_IN: Final = 32
ATTEMPTS: Final = 4
LEFT: Final = 1
SUSPECT: Final = 2
ROW: Final = np.dtype(
    [*((name, "<u8") for name in DIGESTS), ("offset", "<u8"), ("size", "<u4")]
)
WANTED: Final = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("key", "<u8"), ("why", "u1")]
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says of sizes, in bytes.

    `span`: read by a task at once; `bucket`: of the inputs, by which buckets are
    counted; `most`: of digests or rows that one bucket may hold. `out`: where the whole
    difference goes, part by part, if it is asked for.
    """

    span: int = 64 << 20
    bucket: int = 128 << 20
    most: int = 1 << 30
    sha256: bool = True
    out: str | None = None

    @classmethod
    def of_environment(cls) -> Settings:
        """As RECON_SPARK_* say."""
        return cls(
            _size(SPAN, cls().span),
            _size(BUCKET, cls().bucket),
            _size(MOST, cls().most),
            os.environ.get(SHA256, "on") != "off",
            os.environ.get(OUT),
        )


@dataclass(frozen=True, slots=True)
class Packet:
    """Bytes for a place; `found` ones are on their way to the driver."""

    place: int
    found: bool
    data: bytes

    def open(self) -> Any:
        """What is in it. Only tasks of the same run make packets."""
        return pickle.loads(self.data)  # noqa: S301


@dataclass(frozen=True, slots=True)
class Digested:
    """Digests of rows of a side, and where these are, by the number of their span."""

    side: int
    span: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of a bucket that are to be read again, and why."""

    bucket: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of a side, as they are written, each with a newline."""

    side: int
    text: bytes
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Findings:
    """What some tasks have found; they add up in any order.

    `parts`: the files that hold the difference of their buckets.
    """

    passages: dict[int, Passage] = field(default_factory=dict)
    blanks: tuple[int, int] = (0, 0)
    identical: int = 0
    partial: Partial | None = None
    error: ReconError | None = None
    parts: tuple[Part, ...] = ()

    def packed(self, place: int) -> Packet:
        """On their way to the driver."""
        return Packet(place, True, pickle.dumps(self))


@dataclass(frozen=True, slots=True)
class Job:
    """What every task knows: the inputs, and how they are read and compared.

    `spans`: with the number of their side; `most`: bytes of a bucket; `out`: where the
    whole difference goes.
    """

    headers: tuple[Header, Header]
    sources: tuple[Source, Source]
    names: tuple[Names, Names]
    seeds: Seeds
    strategy: str
    spans: tuple[tuple[int, Span], ...]
    buckets: int
    limit: int
    most: int
    layout: Alignment
    out: str | None = None

    def strategy_of(self, side: int) -> Strategy:
        """How digests are taken. Where records are lines was counted before."""
        if self.strategy == "line":
            return Lines(self.names[side], self.seeds, Event())
        return Columns(self.names[side], self.seeds)

    def digests(self, at: int, _: Packets) -> Packets:
        """Pass a span, and send the digests of its rows to their buckets."""
        side, span = self.spans[at]
        header, strategy = self.headers[side], self.strategy_of(side)
        found: list[NDArray[np.void]] = []
        blank = 0

        def examine(block: Block) -> pl.DataFrame | None:
            digests = strategy.digest(block)
            sizes = np.diff(_ends(block, header), prepend=0)
            return None if digests is None else digests.with_columns(size=sizes)

        def keep(frame: pl.DataFrame, part: Run) -> None:
            nonlocal blank
            blank += int(frame["blank"].sum())
            found.append(_placed(frame, part))

        with self.sources[side].opened() as read:
            passage = read_span(header, span, read, examine, keep)
        blanks = (0, blank) if side else (blank, 0)
        yield Findings(passages={at: passage}, blanks=blanks).packed(at)
        rows = np.concatenate([np.empty(0, ROW), *found])
        # The high bits: the low ones choose the group within a bucket.
        place = (rows["key"] >> np.uint64(32)) % np.uint64(self.buckets)
        for bucket, part in _split(rows, place):
            yield Packet(bucket, False, pickle.dumps(Digested(side, at, part)))

    def leftovers(self, bucket: int, packets: Packets) -> Packets:
        """Drop what is identical in a bucket; have the rest read again."""
        sides: tuple[list[Digested], list[Digested]] = [], []
        for packet in self.within(packets):
            digested = packet.open()
            sides[digested.side].append(digested)
        tables = [_table(side) for side in sides]
        old, new = (_frame(rows) for rows, _ in tables)
        found = rest(old, new)
        yield Findings(identical=found.identical).packed(bucket)
        for (rows, span), left, suspects in zip(
            tables, found.left, found.suspects, strict=True
        ):
            why = np.zeros(len(rows), "u1")
            why[left["number"].to_numpy()] |= LEFT
            why[suspects["number"].to_numpy()] |= SUSPECT
            wanted = np.empty(np.count_nonzero(why), WANTED)
            for name in ("offset", "size", "key"):
                wanted[name] = rows[name][why > 0]
            wanted["why"] = why[why > 0]
            for at, part in _split(wanted, span[why > 0]):
                yield Packet(at, False, pickle.dumps(Wanted(bucket, part)))

    def reread(self, at: int, packets: Packets) -> Packets:
        """Read the rows of a span that are wanted, and send them to their buckets."""
        every = [packet.open() for packet in packets]
        rows = np.concatenate([each.rows for each in every])
        bucket = np.repeat(
            [each.bucket for each in every], [len(e.rows) for e in every]
        )
        order = np.argsort(rows["offset"])
        rows, bucket = rows[order], bucket[order]
        side, _ = self.spans[at]
        with self.sources[side].opened() as read:
            for start, stop in _windows(rows):
                yield from _taken(side, read, rows[start:stop], bucket[start:stop])

    def compared(self, bucket: int, packets: Packets) -> Packets:
        """Pair and compare the rows of a bucket."""
        sides: tuple[list[Taken], list[Taken]] = [], []
        for packet in self.within(packets):
            taken = packet.open()
            sides[taken.side].append(taken)
        blocks, whys, keys = zip(*map(self.block, (0, 1), sides), strict=True)
        left = [np.flatnonzero(why & LEFT) for why in whys]
        rows = [block.picked(which) for block, which in zip(blocks, left, strict=True)]
        digests = [pl.Series(key[which]) for key, which in zip(keys, left, strict=True)]
        by = self.names[0].keys
        found = merge(differences(rows, digests, self.names), by)
        repeats = [
            repeated(
                cells_of(block.picked(np.flatnonzero(why & SUSPECT)), each).select(by),
                by,
                each.rules,
            )
            for block, why, each in zip(blocks, whys, self.names, strict=True)
        ]
        part = partial(found, 0, repeats).limited(self.limit, by)
        parts = (
            write(found, bucket, self.layout, self.headers, self.out)
            if self.out is not None
            else ()
        )
        yield Findings(partial=part, parts=tuple(parts)).packed(bucket)

    def block(
        self, side: int, taken: Sequence[Taken]
    ) -> tuple[Block, NDArray[np.uint8], NDArray[np.uint64]]:
        """The rows of a side, why they were wanted, and the digests of their keys."""
        rows = np.concatenate([np.empty(0, WANTED), *(each.rows for each in taken)])
        text = b"".join([each.text for each in taken])
        ends = np.cumsum(rows["size"], dtype=np.int64)
        delimiter = self.headers[side].delimiter
        block = Block(text, len(rows), delimiter, ends=ends)
        return block, rows["why"], rows["key"]

    def within(self, packets: Packets) -> Packets:
        """Packets of one bucket, as long as they fit into a task."""
        size = 0
        for packet in packets:
            size += len(packet.data)
            if size > self.most:
                raise OutOfBudget(
                    f"a bucket of keys is more than {self.most:,} bytes",
                    why="one key stands on very many rows, or buckets are too large",
                    help=f"add a column to the key; or a smaller {BUCKET}; or a larger"
                    f" {MOST}, with more memory for each task",
                )
            yield packet

    def together(self, place: int, packets: Packets) -> Packets:
        """Merge what was found."""
        yield self.sum(packet.open() for packet in packets).packed(place)

    def sum(self, every: Iterable[Findings]) -> Findings:
        """All findings as one, a few at a time."""
        total = Findings()
        found = iter(every)
        while few := list(itertools.islice(found, FAN_IN)):
            total = self.added([total, *few])
        return total

    def added(self, few: Sequence[Findings]) -> Findings:
        """A few of them as one."""
        parts = [each.partial for each in few if each.partial is not None]
        by = self.names[0].keys
        passages = dict[int, Any]()
        for each in few:
            passages |= each.passages
        errors = [each.error for each in few if each.error is not None]
        return Findings(
            passages=passages,
            blanks=(sum(e.blanks[0] for e in few), sum(e.blanks[1] for e in few)),
            identical=sum(each.identical for each in few),
            partial=merged(parts, by).limited(self.limit, by) if parts else None,
            error=errors[0] if errors else None,
            parts=tuple(part for each in few for part in each.parts),
        )


class Cluster(Protocol):
    """Who runs tasks, and brings packets from one to another."""

    def begin(self, count: int, work: Work) -> Any:
        """Run the tasks 0 to `count` - 1, to which no packets come."""
        ...

    def then(self, packets: Any, places: int, work: Work) -> Any:
        """Run a task for each place that packets are for; found ones pass by."""
        ...

    def gather(self, packets: Any, places: int, work: Work) -> Any:
        """Bring all packets, the found ones, to a few places, and do the work there."""
        ...

    def collect(self, packets: Any) -> list[Packet]:
        """All packets."""
        ...


@dataclass(frozen=True, slots=True)
class SparkCluster:
    """A Spark session. A task is a call of `mapInArrow`, a packet is a row."""

    session: SparkSession

    def begin(self, count: int, work: Work) -> DataFrame:
        """A partition for each task."""
        numbers = self.session.range(0, count, 1, count)
        return numbers.mapInArrow(functools.partial(_numbered, work), SCHEMA)

    def then(self, packets: DataFrame, places: int, work: Work) -> DataFrame:
        """One place after the other, since several may share a partition."""
        moved = packets.repartition(places, "place").sortWithinPartitions("place")
        return moved.mapInArrow(functools.partial(_routed, work), SCHEMA)

    def gather(self, packets: DataFrame, places: int, work: Work) -> DataFrame:
        """Whatever place they were for."""
        moved = packets.repartition(places)
        return moved.mapInArrow(functools.partial(_gathered, work), SCHEMA)

    def collect(self, packets: DataFrame) -> list[Packet]:
        """Run the job."""
        rows = packets.collect()
        return [
            Packet(row["place"], row["found"], bytes(row["packet"])) for row in rows
        ]


def _numbered(work: Work, batches: Batches) -> Batches:
    numbers = (at for batch in batches for at in batch.column(0).to_pylist())
    return _batched(packet for at in numbers for packet in _told(work, at, iter(())))


def _routed(work: Work, batches: Batches) -> Batches:
    places = itertools.groupby(_packets(batches), key=lambda packet: packet.place)

    def answered() -> Packets:
        for place, packets in places:
            passing: list[Packet] = []
            mine = _apart(packets, passing)
            first = next(mine, None)
            if first is not None:
                yield from _told(work, place, itertools.chain([first], mine))
            yield from passing

    return _batched(answered())


def _gathered(work: Work, batches: Batches) -> Batches:
    return _batched(_told(work, 0, _packets(batches)))


def _apart(packets: Iterable[Packet], passing: list[Packet]) -> Packets:
    """Those that are not found yet."""
    for packet in packets:
        if packet.found:
            passing.append(packet)
        else:
            yield packet


def _told(work: Work, place: int, packets: Packets) -> Packets:
    """Do the work; what is wrong is told in words of ours, which quote no data.

    What may pass is left to Spark to try again, until its last attempt.
    """
    failure: ReconError | None = None
    try:
        yield from work(place, packets)
    except Exception as error:  # noqa: BLE001 - the border of every task
        failure = ours(error)
    if failure is None:
        return
    deque(packets, maxlen=0)  # Spark expects that all of them are taken.
    final = isinstance(failure, InputChanged | OutOfBudget)
    passes = isinstance(failure, TransientError) and not final
    if passes and _attempt() < ATTEMPTS - 1:
        raise failure
    yield Findings(error=failure).packed(place)


def _attempt() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.attemptNumber() if context else ATTEMPTS


def _packets(batches: Batches) -> Packets:
    for batch in batches:
        places, found, packed = batch.columns
        for place, passing, data in zip(
            places.to_pylist(), found.to_pylist(), packed, strict=True
        ):
            # What passes by is packed again; the rest is opened where it is.
            yield Packet(place, passing, data.as_py() if passing else data.as_buffer())


def _batched(packets: Packets) -> Batches:
    """Some megabytes of packets at a time."""
    waiting, size = list[Packet](), 0
    for packet in packets:
        waiting.append(packet)
        size += len(packet.data)
        if size > BATCH:
            yield _batch(waiting)
            waiting, size = [], 0
    if waiting:
        yield _batch(waiting)


def _batch(packets: Sequence[Packet]) -> pa.RecordBatch:
    columns = [
        pa.array([packet.place for packet in packets], pa.int32()),
        pa.array([packet.found for packet in packets], pa.bool_()),
        pa.array([packet.data for packet in packets], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(NAMES))


def compare(
    headers: tuple[Header, Header],
    sources: tuple[Source, Source],
    options: Options,
    progress: Progress = SILENT,
    *,
    cluster: Cluster | None = None,
    settings: Settings | None = None,
) -> Reconciliation:
    """Reconcile two files that all tasks can read; the result is the local engine's.

    But for `engine`, and for frames: these hold as many rows as the detail limit asks
    for, since the driver gets no more.
    """
    started = time.monotonic()
    cluster = cluster or SparkCluster(session())
    settings = settings or Settings.of_environment()
    old, new = headers
    layout = align(old.columns, new.columns, options, uris=(old.uri, new.uri))
    names = (
        named(old.columns, layout, {}),
        named(new.columns, layout, layout.new_names),
    )
    with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        hashing = pool.submit(_sha256, cluster, headers, sources, settings)
        with progress.step("count"):
            counted = _counted(cluster, headers, sources, settings.span)
        inner = any(embedded(each) for each in counted)
        strategy = choose(headers, names, "columns" if inner else None)[0].name
        total = sum(header.bytes for header in headers)
        job = Job(
            headers=headers,
            sources=sources,
            names=names,
            seeds=Seeds(*(secrets.randbits(64) for _ in range(3))),
            strategy=strategy,
            spans=tuple(_spans(headers, counted)),
            buckets=-(-total // settings.bucket) or 1,
            limit=options.detail_limit,
            most=settings.most,
            layout=layout,
            out=settings.out,
        )
        if settings.out is not None:
            refuse_taken(settings.out)
        with progress.step("compare"):
            found = _found(cluster, job)
        if found.error is not None:
            raise found.error
        hashes = hashing.result()
    reading = Reading(
        tables=_tables(job, found, hashes),
        names=names,
        layout=layout,
        strategy=f"{strategy} on spark",
        digests=[],
        buckets=job.buckets,
        options=options,
        budget=Budget(settings.most),
        started=started,
    )
    whole = replace(found.partial or _nothing(job), identical=found.identical)
    old_again, new_again = whole.repeats
    refuse_repeats(
        reading, [(old_again.keys, old_again.rows), (new_again.keys, new_again.rows)]
    )
    result = assembled(reading, whole, found.blanks)
    if settings.out is not None:
        commit(result, found.parts, settings.out)
    return result


def session() -> SparkSession:
    """The session of the environment: the one there is, or RECON_SPARK_* describes."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError(
            "--engine spark needs PySpark, which is not installed",
            help="pip install 'recon-engine[spark]'",
        ) from None
    if "JAVA_HOME" not in os.environ and not shutil.which("java"):
        raise ConfigError(
            "--engine spark needs a Java runtime, and there is none",
            help="install Java 17 or newer, or set JAVA_HOME",
        )
    builder = SparkSession.builder.appName("recon-engine")
    # Most of what is shuffled is digests, and hashes do not compress.
    builder = builder.config("spark.shuffle.compress", "false")
    if master := os.environ.get(MASTER):
        builder = builder.master(master)
    for setting in os.environ.get(SETTINGS, "").split():
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(
                f"{SETTINGS} has {name} without a value", help="name=value"
            )
        builder = builder.config(name, value)
    # A packet is a row of up to some megabytes: few of them are enough for a batch.
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "32")
    return builder.getOrCreate()


def _found(cluster: Cluster, job: Job) -> Findings:
    """All that there is to find, merged by ever fewer tasks."""
    if not job.spans:
        return Findings()
    packets = cluster.begin(len(job.spans), job.digests)
    packets = cluster.then(packets, job.buckets, job.leftovers)
    packets = cluster.then(packets, len(job.spans), job.reread)
    packets = cluster.then(packets, job.buckets, job.compared)
    places = job.buckets
    while places > 1:
        places = -(-places // FAN_IN)
        packets = cluster.gather(packets, places, job.together)
    return job.sum(packet.open() for packet in cluster.collect(packets))


def _nothing(job: Job) -> Partial:
    """What is found where all rows are identical."""
    old, new = (
        pl.DataFrame(schema=dict.fromkeys(names.all, pl.String)) for names in job.names
    )
    first = job.names[0]
    none = diff(old, new, keys=first.keys, columns=first.columns, rules=first.rules)
    repeats = [repeated(each.select(first.keys), first.keys) for each in (old, new)]
    return partial(none, 0, repeats)


def _tables(
    job: Job, found: Findings, hashes: Sequence[str | None]
) -> tuple[CsvFile, CsvFile]:
    """Both files, or the first error in the first that has one."""
    tables = []
    for side, (header, sha256) in enumerate(zip(job.headers, hashes, strict=True)):
        passages = (
            found.passages[at] for at, (of, _) in enumerate(job.spans) if of == side
        )
        with counted_in(header.origin):
            tables.append(joined(header, passages, sha256))
    old, new = tables
    return old, new


@dataclass(frozen=True, slots=True)
class _Counting:
    """The task that takes the census of a block."""

    sources: tuple[Source, Source]
    blocks: tuple[tuple[int, int, int], ...]

    def __call__(self, at: int, _: Packets) -> Packets:
        side, start, end = self.blocks[at]
        with self.sources[side].opened() as read:
            counted = census(read, start, end)
        yield Packet(at, True, pickle.dumps((at, counted)))


@dataclass(frozen=True, slots=True)
class _Hashing:
    """The task that takes the SHA-256 of a whole file, which cannot be split."""

    sources: tuple[Source, Source]
    sizes: tuple[int, int]

    def __call__(self, side: int, _: Packets) -> Packets:
        digest = hashlib.sha256()
        with self.sources[side].opened() as read:
            for offset in range(0, self.sizes[side], WINDOW):
                digest.update(read(WINDOW, offset))
        yield Packet(side, True, pickle.dumps((side, digest.hexdigest())))


def _counted(
    cluster: Cluster,
    headers: tuple[Header, Header],
    sources: tuple[Source, Source],
    size: int,
) -> tuple[list[Census], list[Census]]:
    """The census of each side, block by block."""
    blocks = tuple(
        (side, start, min(start + size, header.bytes))
        for side, header in enumerate(headers)
        for start in range(len(header.raw), header.bytes, size)
    )
    if not blocks:
        return [], []
    found = dict(_answers(cluster, len(blocks), _Counting(sources, blocks)))
    old, new = (
        [found[at] for at, block in enumerate(blocks) if block[0] == side]
        for side in (0, 1)
    )
    return old, new


def _sha256(
    cluster: Cluster,
    headers: tuple[Header, Header],
    sources: tuple[Source, Source],
    settings: Settings,
) -> list[str | None]:
    """Of both files, beside all that is done to them."""
    if not settings.sha256:
        return [None, None]
    sizes = headers[0].bytes, headers[1].bytes
    found = dict(_answers(cluster, 2, _Hashing(sources, sizes)))
    return [found[0], found[1]]


def _answers(cluster: Cluster, count: int, work: Work) -> list[Any]:
    """What tasks answer, one each; raises the error of one."""
    answers = [packet.open() for packet in cluster.collect(cluster.begin(count, work))]
    for answer in answers:
        if isinstance(answer, Findings) and answer.error is not None:
            raise answer.error
    return answers


def _spans(
    headers: tuple[Header, Header], counted: tuple[list[Census], list[Census]]
) -> Iterator[tuple[int, Span]]:
    for side, (header, censuses) in enumerate(zip(headers, counted, strict=True)):
        start, line = len(header.raw), 1 + header.lines
        for span in spans(censuses, start, header.bytes, line):
            yield side, span


def _ends(block: Block, header: Header) -> NDArray[np.integer]:
    """The offset behind each record of a block that passed the gate."""
    if block.ends is not None:
        return block.ends
    data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
    delimiter, width = ord(header.delimiter), len(header.columns)
    found = structure(data, delimiter, width, header.limits)
    if found is not None:
        ends = found.ends
    else:
        every = records(data, delimiter, header.limits)
        ends = np.array([record.end for record in every], np.int64)
    ends[-1] = len(block.data)
    return ends


def _placed(frame: pl.DataFrame, part: Run) -> NDArray[np.void]:
    """Rows of a part, by their places in the file."""
    rows = np.empty(frame.height, ROW)
    for name in (*DIGESTS, "size"):
        rows[name] = frame[name].to_numpy()
    starts = np.cumsum(rows["size"], dtype=np.int64) - rows["size"]
    if part.gaps is not None:
        first, last = part.gaps.astype(np.int64).T
        gone = np.cumsum(last - first)
        # Where each gap was closed, among the bytes that are left.
        seams = first - np.append(0, gone[:-1])
        at = np.searchsorted(seams, starts, side="right")
        starts += np.append(0, gone)[at]
    rows["offset"] = part.offset + starts
    return rows


def _split(
    rows: NDArray[np.void], place: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The rows of each place that has some."""
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    for at, part in zip(places, np.split(rows[order], starts[1:]), strict=False):
        yield int(at), part


def _table(side: Sequence[Digested]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All digests of a side, and the number of the span of each."""
    rows = np.concatenate([np.empty(0, ROW), *(each.rows for each in side)])
    span = np.repeat([each.span for each in side], [len(each.rows) for each in side])
    return rows, span.astype(np.int64)


def _frame(rows: NDArray[np.void]) -> pl.DataFrame:
    digests = {name: np.ascontiguousarray(rows[name]) for name in DIGESTS}
    frame = pl.DataFrame(digests, schema=dict.fromkeys(DIGESTS, pl.UInt64))
    return frame.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


def _windows(rows: NDArray[np.void]) -> Iterator[tuple[int, int]]:
    """Runs of rows that are read at once."""
    ends = rows["offset"] + rows["size"]
    start = 0
    while start < len(rows):
        within = np.searchsorted(ends, int(rows["offset"][start]) + WINDOW, "right")
        stop = max(start + 1, int(within))
        yield start, stop
        start = stop


def _taken(
    side: int, read: ReadAt, rows: NDArray[np.void], bucket: NDArray[np.integer]
) -> Packets:
    """A window of rows, by bucket."""
    first = int(rows["offset"][0])
    data = memoryview(read(int(rows["offset"][-1] + rows["size"][-1]) - first, first))
    starts = rows["offset"].astype(np.int64) - first
    for at, which in _split_numbers(bucket):
        mine = rows[which].copy()
        texts = [
            bytes(data[start : start + size])
            for start, size in zip(
                starts[which].tolist(), mine["size"].tolist(), strict=True
            )
        ]
        if not texts[-1].endswith(b"\n"):
            texts[-1] += b"\n"
            mine["size"][-1] += 1
        taken = Taken(side, b"".join(texts), mine)
        yield Packet(at, False, pickle.dumps(taken))


def _split_numbers(
    place: NDArray[np.integer],
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    for at, part in zip(places, np.split(order, starts[1:]), strict=False):
        yield int(at), part


def _size(name: str, default: int) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    from recon_engine.memory import parse_budget

    return parse_budget(text).total
