"""The driver: it plans the tasks of a comparison, and merges what they return."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from recon_engine.compare.digests import (
    choose_strategy,
    make_empty_rows,
    make_empty_sample,
)
from recon_engine.compare.engine import NO_HOOKS, Compared, Hooks
from recon_engine.compare.lookup import sought
from recon_engine.compare.pairing import compare_rows, with_kinds
from recon_engine.compare.partial_result import find_repeats, summarize_difference
from recon_engine.compare.plan import make_plan
from recon_engine.compare.result_builder import (
    ReadBy,
    Samples,
    build_result,
    reject_duplicate_keys,
    sample_differing_rows,
)
from recon_engine.config import OnBadRow
from recon_engine.errors import ConfigError
from recon_engine.inputs.encodings import name_both_encodings, open_both
from recon_engine.inputs.header import Header, annotate_counted_in
from recon_engine.inputs.scanner import count_newlines
from recon_engine.inputs.tables import read_both_tables
from recon_engine.model import SIDES, RowCounts
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.spark.byte_sources import (
    LocalSource,
    locate_in_place,
    read_source_sample,
)
from recon_engine.spark.findings import FAN_IN, Findings, MergeTask, merge_findings
from recon_engine.spark.kernel_splits import plan_for_kernel
from recon_engine.spark.output_parts import (
    commit_parts,
    name_folder,
    reject_existing_output,
)
from recon_engine.spark.session import SparkCluster, open_session
from recon_engine.spark.settings import SparkSettings
from recon_engine.spark.split_reader import check_split_sums, join_results
from recon_engine.spark.split_tasks import (
    blocks_of,
    count_splits,
    hash_files,
    splits_of,
)
from recon_engine.spark.splits import count_embedded_newlines
from recon_engine.spark.tasks import Job, Sampling
from recon_engine.storage.local import LocalFolder


if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from recon_engine.compare.engine import Inputs, RunOutput
    from recon_engine.compare.lookup import Ask, Sought
    from recon_engine.compare.partial_result import PartialResult
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.tables import Unread
    from recon_engine.model import Artifact
    from recon_engine.result import Reconciliation
    from recon_engine.spark.byte_sources import ByteSource
    from recon_engine.spark.packets import Cluster
    from recon_engine.spark.split_tasks import Headers, Sources
    from recon_engine.spark.splits import Census


@dataclass(frozen=True, slots=True)
class SparkEngine:
    """The comparison on a cluster: each task reads its own part of the inputs.

    `commits`: whether the whole difference is committed here, and not by a run.
    """

    settings: SparkSettings
    commits: bool
    brings_whole_difference: ClassVar[bool] = False

    @classmethod
    def from_environment(cls) -> SparkEngine:
        """An engine that writes the whole difference where RECON_SPARK_OUT says."""
        return cls(SparkSettings.from_environment(), commits=True)

    @classmethod
    def for_run(cls, run: RunOutput) -> SparkEngine:
        """An engine whose files the manifest of a run names."""
        settings = SparkSettings.from_environment()
        settings = replace(settings, out=run.out, whole=run.break_limit)
        return cls(settings, commits=False)

    def compare(
        self,
        inputs: Inputs,
        options: Options,
        today: date,
        progress: Progress = SILENT,
        hooks: Hooks = NO_HOOKS,
    ) -> Compared:
        """Compare both where they are, as `Engine` says.

        What tasks cannot read is unpacked on this machine; once, if the caller needs
        the tables here as well.
        """
        opened: tuple[Unread, Unread] | None = None
        if hooks.needs_tables:
            with hooks.step("fetch"):
                opened = inputs.open_both()
            with hooks.step("read"):
                first, second = map(_as_file, opened, SIDES)
                read = read_both_tables(first, second, options, progress)
                hooks.take_tables(*read)
        with hooks.step("compare"):
            (old, old_source), (new, new_source) = open_both(
                lambda at: _locate_source(inputs, at, options, opened),
                range(len(SIDES)),
                options,
                read_source_sample,
                each=map,
            )
            headers, sources = (old, new), (old_source, new_source)
            if self.commits:
                return Compared(
                    compare_on_cluster(
                        headers,
                        sources,
                        options,
                        today,
                        progress,
                        settings=self.settings,
                    )
                )
            return Compared(
                *reconcile_on_cluster(
                    headers,
                    sources,
                    options,
                    today,
                    progress,
                    settings=self._settings_for(inputs),
                    ask=hooks.ask,
                )
            )

    def _settings_for(self, inputs: Inputs) -> SparkSettings:
        """The settings of a run: a file of a folder is hashed even if `sha256` is off.

        Its SHA-256 is all that says that the run has read what it identified. An object
        is pinned to its ETag.
        """
        located = filter(None, map(inputs.locate, SIDES))
        in_folder = any(isinstance(place, LocalFolder) for place, _ in located)
        return replace(self.settings, sha256=self.settings.sha256 or in_folder)


def _locate_source(
    inputs: Inputs, at: int, options: Options, opened: tuple[Unread, Unread] | None
) -> tuple[Header, ByteSource]:
    """A header, and where any machine can read the rows."""
    side = SIDES[at]
    located = inputs.locate(side)
    if located is not None:
        found = locate_in_place(*located, side, options, inputs.limits)
        if found is not None:
            header, source = found
            return replace(header, hashes=inputs.hashes), source
    header = _as_file(opened[at] if opened else inputs.open_side(side), side)
    return header, LocalSource.of(header)


def _as_file(side: Unread, name: str) -> Header:
    if not isinstance(side, Header):
        raise ConfigError(
            f"{name} is a frame in memory, and the engine is spark",
            help="give files, or leave frames to the local engine",
        )
    return side


def compare_on_cluster(
    headers: Headers,
    sources: Sources,
    options: Options,
    today: date,
    progress: Progress = SILENT,
    *,
    cluster: Cluster | None = None,
    settings: SparkSettings | None = None,
) -> Reconciliation:
    """Reconcile two files that all tasks can read; the result is the local engine's.

    But for `engine`, and for frames: these hold as many rows as are shown, since the
    driver gets no more. The whole difference is where RECON_SPARK_OUT says, if it does,
    once it is committed.
    """
    settings = settings or SparkSettings.from_environment()
    out, folder = settings.out, ""
    if out is not None:
        reject_existing_output(out)
        folder, own = name_folder(out)
        settings = replace(settings, out=own)
    result, parts = reconcile_on_cluster(
        headers, sources, options, today, progress, cluster=cluster, settings=settings
    )
    if out is not None:
        commit_parts(result, parts, out, folder)
    return result


def reconcile_on_cluster(
    headers: Headers,
    sources: Sources,
    options: Options,
    today: date,
    progress: Progress,
    *,
    settings: SparkSettings,
    cluster: Cluster | None = None,
    ask: Ask | None = None,
) -> tuple[Reconciliation, Sequence[Artifact]]:
    """The result, and the files of the whole difference, which nothing names yet.

    `ask`: for the keys of open breaks, where breaks are tracked.
    """
    old, new = sources
    with old.opened() as read_old, new.opened() as read_new:
        plan = make_plan(*headers, options, (read_old, read_new))
    heads = tuple(zip(headers, sources, strict=True))
    with name_both_encodings(
        options, headers, lambda side, start: read_source_sample(heads[side], start)
    ):
        return _compared(
            plan, headers, sources, today, progress, cluster, settings, ask
        )


def _compared(
    plan: ComparisonPlan,
    headers: Headers,
    sources: Sources,
    today: date,
    progress: Progress,
    cluster: Cluster | None,
    settings: SparkSettings,
    ask: Ask | None,
) -> tuple[Reconciliation, Sequence[Artifact]]:
    cluster = cluster or SparkCluster(open_session())
    hashes = functools.partial(_hash_inputs, cluster, headers, sources, settings)
    # One task reads a whole file for its hash: it runs beside the other tasks, not
    # before them.
    with cluster.run_concurrently(hashes) as hashing:
        job = _plan_job(plan, headers, sources, settings, sought(ask, plan))
        findings = Findings(miscut=True)
        if job.kernel is not None and not any(map(_may_be_miscut, headers)):
            with progress.step("compare"):
                findings = _collect_findings(cluster, job)
        if findings.miscut:
            with progress.step("count"):
                found = count_splits(cluster, headers, sources, settings.span)
            job = _with_exact_splits(job, found)
            with progress.step("compare"):
                findings = _collect_findings(cluster, job)
        # An error travels as a finding: Spark would retry the task that raises it, and
        # log its text.
        if findings.error is not None:
            raise findings.error
        return _build_result(job, findings, hashing.result(), today), findings.parts


def _plan_job(
    plan: ComparisonPlan,
    headers: Headers,
    sources: Sources,
    settings: SparkSettings,
    looked_up: Sought | None,
) -> Job:
    """The job with blocks that tasks cut at newlines."""
    first, second = choose_strategy(headers, plan.names)
    return Job(
        plan=plan,
        headers=headers,
        sources=sources,
        sampling=Sampling(first.name, first.seeds, (first.every, second.every)),
        splits=tuple(blocks_of(headers, settings.span)),
        is_counted=False,
        bits=settings.bucket_bits(sum(each.bytes for each in headers)),
        max_bytes=settings.most,
        whole=settings.whole,
        out=settings.out,
        sought=looked_up,
        # The keys of open breaks are known by digests that outlive a job.
        kernel=plan_for_kernel(headers, plan) if looked_up is None else None,
    )


def _may_be_miscut(header: Header) -> bool:
    """Whether lines are probably not records, so that a count is faster than a try."""
    if header.on_bad_row is OnBadRow.QUARANTINE:
        return True
    _, inside = count_newlines(header.head)
    return inside.count > 0


def _with_exact_splits(job: Job, found: tuple[list[Census], list[Census]]) -> Job:
    """The job with the spans of whole records, which were counted."""
    # A line is a record only in files without newlines inside fields.
    inner = any(count_embedded_newlines(each) for each in found)
    sampling = job.sampling
    if inner:
        sampling = replace(sampling, strategy="columns")
    return replace(
        job,
        sampling=sampling,
        splits=tuple(splits_of(job.headers, found)),
        is_counted=True,
    )


def _hash_inputs(
    cluster: Cluster, headers: Headers, sources: Sources, settings: SparkSettings
) -> list[str | None]:
    """The SHA-256 of both files, computed while they are compared."""
    if not (settings.sha256 and all(header.hashes for header in headers)):
        return [None, None]
    return hash_files(cluster, headers, sources)


def _collect_findings(cluster: Cluster, job: Job) -> Findings:
    """All that there is to find, merged by ever fewer tasks."""
    if not job.splits:
        return Findings()
    telling = job.column_changes
    packets = cluster.begin(len(job.splits), job.digest_split)
    packets = cluster.then(packets, job.buckets, job.find_undecided_rows)
    packets = cluster.then(packets, len(job.splits), job.read_wanted_rows)
    packets = cluster.then(packets, job.buckets, job.compare_bucket)
    if telling.task_count:
        # Wide files with few buckets would get a task for each column, most of them
        # tiny.
        tasks = min(telling.task_count, job.buckets)
        packets = cluster.then(packets, telling.task_count, telling.count_share, tasks)
        if telling.shares > 1:
            columns = len(job.plan.columns)
            packets = cluster.then(packets, columns, telling.merge_shares, tasks)
    # On the cluster: the driver merges the findings of few tasks, not of all buckets.
    tasks, adding = job.buckets, MergeTask(job.plan, job.whole)
    while tasks > FAN_IN:
        tasks = -(-tasks // FAN_IN)
        packets = cluster.gather(packets, tasks, adding)
    every = (packet.open() for packet in cluster.collect(packets))
    return merge_findings(every, job.plan, job.whole)


def _build_result(
    job: Job, findings: Findings, hashes: Sequence[str | None], today: date
) -> Reconciliation:
    """The result, or the error of the file that has one."""
    plan = job.plan
    tables = _join_tables(job, findings, hashes)
    whole = replace(
        findings.partial or _make_empty_partial(plan), identical=findings.identical
    ).with_aside(*(RowCounts(left_out=rows) for rows in findings.left_out))
    reject_duplicate_keys(tables, whole.repeats, plan.options)
    return build_result(
        plan,
        tables,
        whole,
        findings.column_findings,
        today=today,
        samples=Samples(
            sample_differing_rows(whole.shown, plan),
            [
                pl.concat([make_empty_sample(names), *drawn])
                for names, drawn in zip(plan.names, findings.samples, strict=True)
            ],
        ),
        blanks=findings.blanks,
        tallies=findings.tallies,
        read_by=ReadBy(
            f"{_name_strategy(job, findings)} on spark",
            "native" if job.kernel else "numpy",
        ),
        sought=job.sought,
    )


def _name_strategy(job: Job, findings: Findings) -> str:
    """How rows are digested; a line is a record only without newlines in fields."""
    split_results = (each for side in findings.split_results for each in side.values())
    if any(each.counts.embedded for each in split_results):
        return "columns"
    return job.sampling.strategy


def _join_tables(
    job: Job, findings: Findings, hashes: Sequence[str | None]
) -> tuple[CsvFile, CsvFile]:
    """Both files, or the first error in the first that has one."""
    sides = [
        [found[at] for at, (of, _) in enumerate(job.splits) if of == side]
        for side, found in enumerate(findings.split_results)
    ]
    tables = []
    for header, split_results, sha256 in zip(job.headers, sides, hashes, strict=True):
        with annotate_counted_in(header.origin):
            tables.append(join_results(header, split_results, sha256))
    # After both: a row that is refused comes before a sum, on whatever side.
    for header, split_results, table in zip(job.headers, sides, tables, strict=True):
        with annotate_counted_in(header.origin):
            check_split_sums(header, split_results, table, job.plan.options)
    old, new = tables
    return old, new


def _make_empty_partial(plan: ComparisonPlan) -> PartialResult:
    """What is found where all rows are identical."""
    old, new = map(make_empty_rows, plan.names)
    first = plan.names[0]
    none = with_kinds(
        compare_rows(
            old, new, keys=first.keys, columns=first.columns, rules=first.chains
        )
    )
    repeats = [
        find_repeats(rows, names, names.columns)
        for rows, names in zip((old, new), plan.names, strict=True)
    ]
    return summarize_difference(none, 0, repeats, plan)
