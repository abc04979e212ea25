"""The driver: it asks, and gets one answer, whatever the size of the inputs."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.compare.digests import choose, no_rows, nothing_drawn
from recon_engine.compare.lookup import sought
from recon_engine.compare.pairing import diff, judged
from recon_engine.compare.partial_result import partial, repeats_among
from recon_engine.compare.plan import posed
from recon_engine.compare.result_builder import answer, refuse_repeats
from recon_engine.inputs.encodings import told_for_both
from recon_engine.inputs.header import counted_in
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.spark.byte_sources import head_of_source
from recon_engine.spark.findings import FAN_IN, Adding, Findings, added
from recon_engine.spark.output_parts import commit, refuse_taken
from recon_engine.spark.session import SparkCluster, session
from recon_engine.spark.settings import Settings
from recon_engine.spark.split_reader import joined
from recon_engine.spark.split_tasks import counted, hashed, spans_of
from recon_engine.spark.splits import embedded
from recon_engine.spark.tasks import Job, Sampling


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.compare.lookup import Ask
    from recon_engine.compare.partial_result import Partial
    from recon_engine.compare.plan import Question
    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.model import Artifact
    from recon_engine.result import Reconciliation
    from recon_engine.spark.packets import Cluster
    from recon_engine.spark.split_tasks import Headers, Sources


def compare(
    headers: Headers,
    sources: Sources,
    options: Options,
    progress: Progress = SILENT,
    *,
    cluster: Cluster | None = None,
    settings: Settings | None = None,
) -> Reconciliation:
    """Reconcile two files that all tasks can read; the result is the local engine's.

    But for `engine`, and for frames: these hold as many rows as the detail limit asks
    for, since the driver gets no more. The whole difference is where RECON_SPARK_OUT
    says, if it does, once it is committed.
    """
    settings = settings or Settings.of_environment()
    if settings.out is not None:
        refuse_taken(settings.out)
    result, parts = reconcile(
        headers, sources, options, progress, cluster=cluster, settings=settings
    )
    if settings.out is not None:
        commit(result, parts, settings.out)
    return result


def reconcile(
    headers: Headers,
    sources: Sources,
    options: Options,
    progress: Progress,
    *,
    settings: Settings,
    cluster: Cluster | None = None,
    ask: Ask | None = None,
) -> tuple[Reconciliation, Sequence[Artifact]]:
    """The result, and the files of the whole difference, which nothing names yet.

    `ask`: for the keys of open breaks, where breaks are tracked.
    """
    old, new = sources
    with old.opened() as read_old, new.opened() as read_new:
        question = posed(*headers, options, (read_old, read_new))
    heads = tuple(zip(headers, sources, strict=True))
    with told_for_both(options, headers, lambda side: head_of_source(heads[side])):
        return _compared(question, headers, sources, progress, cluster, settings, ask)


def _compared(
    question: Question,
    headers: Headers,
    sources: Sources,
    progress: Progress,
    cluster: Cluster | None,
    settings: Settings,
    ask: Ask | None,
) -> tuple[Reconciliation, Sequence[Artifact]]:
    cluster = cluster or SparkCluster(session())
    hashes = functools.partial(_hashes, cluster, headers, sources, settings)
    with cluster.beside(hashes) as hashing:
        with progress.step("count"):
            found = counted(cluster, headers, sources, settings.span)
        inner = any(embedded(each) for each in found)
        first, second = choose(headers, question.names, "columns" if inner else None)
        job = Job(
            question=question,
            headers=headers,
            sources=sources,
            sampling=Sampling(first.name, first.seeds, (first.every, second.every)),
            spans=tuple(spans_of(headers, found)),
            buckets=-(-sum(each.bytes for each in headers) // settings.bucket) or 1,
            most=settings.most,
            whole=settings.whole,
            out=settings.out,
            sought=sought(ask, question),
        )
        with progress.step("compare"):
            findings = _found(cluster, job)
        if findings.error is not None:
            raise findings.error
        return _answered(job, findings, hashing.result()), findings.parts


def _hashes(
    cluster: Cluster, headers: Headers, sources: Sources, settings: Settings
) -> list[str | None]:
    """The SHA-256 of both files, taken beside all that is done to them."""
    return hashed(cluster, headers, sources) if settings.sha256 else [None, None]


def _found(cluster: Cluster, job: Job) -> Findings:
    """All that there is to find, merged by ever fewer tasks."""
    if not job.spans:
        return Findings()
    telling = job.telling
    packets = cluster.begin(len(job.spans), job.digests)
    packets = cluster.then(packets, job.buckets, job.leftovers)
    packets = cluster.then(packets, len(job.spans), job.reread)
    packets = cluster.then(packets, job.buckets, job.compared)
    if telling.places:
        tasks = min(telling.places, job.buckets)
        packets = cluster.then(packets, tasks, telling.counted)
        if telling.shares > 1:
            packets = cluster.then(packets, tasks, telling.together)
    tasks, adding = job.buckets, Adding(job.question, job.whole)
    while tasks > 1:
        tasks = -(-tasks // FAN_IN)
        packets = cluster.gather(packets, tasks, adding)
    every = (packet.open() for packet in cluster.collect(packets))
    return added(every, job.question, job.whole)


def _answered(
    job: Job, found: Findings, hashes: Sequence[str | None]
) -> Reconciliation:
    """The result, or the error of the file that has one."""
    question = job.question
    tables = _tables(job, found, hashes)
    whole = replace(found.partial or _nothing(question), identical=found.identical)
    refuse_repeats(tables, whole.repeats, question.options)
    return answer(
        question,
        tables,
        whole,
        found.told,
        samples=[
            pl.concat([nothing_drawn(names), *drawn])
            for names, drawn in zip(question.names, found.samples, strict=True)
        ],
        blanks=found.blanks,
        tallies=found.tallies,
        strategy=f"{job.sampling.strategy} on spark",
        sought=job.sought,
    )


def _tables(
    job: Job, found: Findings, hashes: Sequence[str | None]
) -> tuple[CsvFile, CsvFile]:
    """Both files, or the first error in the first that has one."""
    tables = []
    for side, (header, sha256) in enumerate(zip(job.headers, hashes, strict=True)):
        passages = (
            found.passages[side][at]
            for at, (of, _) in enumerate(job.spans)
            if of == side
        )
        with counted_in(header.origin):
            tables.append(joined(header, passages, sha256))
    old, new = tables
    return old, new


def _nothing(question: Question) -> Partial:
    """What is found where all rows are identical."""
    old, new = map(no_rows, question.names)
    first = question.names[0]
    none = judged(
        diff(old, new, keys=first.keys, columns=first.columns, rules=first.rules)
    )
    repeats = [
        repeats_among(rows, names, names.columns)
        for rows, names in zip((old, new), question.names, strict=True)
    ]
    return partial(none, 0, repeats, question)
