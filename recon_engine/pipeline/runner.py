"""The ten steps: two files in an inbound place become a recorded, archived result."""

from __future__ import annotations

import logging
import signal
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.lookup import Lookup
from recon_engine.config import EngineName
from recon_engine.errors import (
    Busy,
    InputError,
    Interrupted,
    ReconError,
)
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.encodings import opened_both
from recon_engine.inputs.header import head_of, open_input
from recon_engine.model import SIDES, Artifact, FilePair, RunRecord
from recon_engine.pipeline import inbox
from recon_engine.pipeline.archive import archive_inputs
from recon_engine.pipeline.locations import Locations
from recon_engine.pipeline.staging import load_in_background
from recon_engine.postgres import history
from recon_engine.postgres.breaks import Observation, standing
from recon_engine.postgres.publish import LostRace, Publication, publish_run
from recon_engine.postgres.run_log import Run, RunLog, make_record, new_run, open_locked
from recon_engine.postgres.stage import (
    StageTable,
    drop_orphans,
    drop_tables,
    private_table_name,
)
from recon_engine.report import artifacts
from recon_engine.report.result_page import TREND_RUNS, PageFacts
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.error_boundary import to_recon_error, within_error_boundary
from recon_engine.runtime.failpoints import failpoint
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.status import RunStatus, status_of
from recon_engine.storage.base import input_changed, may_have_digest
from recon_engine.storage.local import LocalFolder


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from datetime import date
    from uuid import UUID

    from recon_engine.compare.local_engine import ReadTables
    from recon_engine.compare.lookup import Ask
    from recon_engine.config import RunConfig
    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.header import Header
    from recon_engine.model import Breaks, Side, SourceFile
    from recon_engine.postgres.breaks import OpenBreak
    from recon_engine.result import Reconciliation
    from recon_engine.spark.byte_sources import ByteSource
    from recon_engine.storage.base import Storage


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, its result if there is one, and what was wrong if not."""

    record: RunRecord
    result: Reconciliation | None = None
    error: ReconError | None = None
    artifacts_at: str | None = None
    breaks: Breaks | None = None


@within_error_boundary
def run_pipeline(
    config: RunConfig,
    progress: Progress = SILENT,
    stop: CancellationToken[Outcome] | None = None,
) -> Outcome:
    """Reconcile the pair in inbound, record the result, archive the inputs.

    However it ends, it is in the run log and in the answer. It raises only where there
    is no log to write to: ConfigError, PermissionDenied, DatabaseUnavailable.
    A requested `stop` ends it as INTERRUPTED until the result is recorded; what comes
    then is finished.
    """
    stop = stop or CancellationToken()
    progress = stop.checking_on_advance(progress)
    places = Locations.of(config)
    config = places.with_canonical_urls(config)
    with open_locked(config) as run_log, ExitStack() as stack:
        try:
            stack.enter_context(run_log.locked())  # 0 lock
            stop.on_cancel(lambda error: _log_early_interrupt(config, error))
            finished = _recover_earlier_runs(run_log, places, stop)  # 1 recover
            pair = _find_pair(places.inbound)  # 2 list, 3 identify
            if isinstance(pair, inbox.NoData):
                return _log_empty_inbox(run_log, finished, pair)
            earlier = run_log.results_of(pair)
            if earlier and not config.recompute:
                return _archive_earlier_result(run_log, places, earlier[-1], pair)
            stop.check()
            attempt = run_log.start(pair, revision=1 + len(earlier))
        except BaseException as error:  # noqa: BLE001 - interrupts pass
            return _log_failure_without_pair(run_log, to_recon_error(error))
        return _Attempt(config, places, run_log, attempt, pair, progress, stop).run()


@within_error_boundary
def dry_run(
    config: RunConfig,
    progress: Progress = SILENT,
    stop: CancellationToken[Outcome] | None = None,
) -> Outcome:
    """Reconcile the pair in inbound; write and move nothing, ask no database."""
    progress = (stop or CancellationToken()).checking_on_advance(progress)
    places = Locations.of(config)
    attempt = new_run(config.dataset)
    pair = _find_pair(places.inbound)
    if isinstance(pair, inbox.NoData):
        message = _no_data_message(pair, config)
        return Outcome(make_record(attempt, config, RunStatus.NO_FILES, message))
    with _work_folder() as folder:
        if config.engine is EngineName.SPARK:
            result, _ = _compare_on_spark(
                places, pair, config, folder, progress, attempt.started.date()
            )
        else:
            files = _fetch_pair(places, pair, config, folder, progress)
            options, budget = config.options, config.budget
            with read_tables(*files, options, progress, budget=budget) as reading:
                result = compare_tables(reading, attempt.started.date(), progress)
    return Outcome(make_record(attempt, config, RunStatus.SUCCEEDED), result)


@dataclass(frozen=True, slots=True)
class _ComparedPair:
    """A pair compared, and what else was done meanwhile.

    `stage`: the loads; `parts`: the files of the whole difference, if not in `result`.
    """

    result: Reconciliation
    stage: Sequence[Future[StageTable]]
    parts: Sequence[Artifact] | None = None


@dataclass(slots=True)
class _Attempt:
    """Steps 4 to 10 of one attempt. Until `published`, forgetting it undoes it."""

    config: RunConfig
    places: Locations
    run_log: RunLog
    attempt: Run
    pair: FilePair
    progress: Progress
    stop: CancellationToken[Outcome]
    result: Reconciliation | None = None
    artifacts_at: str | None = None
    breaks: Breaks | None = None
    standing: Sequence[OpenBreak] = ()
    published: bool = False

    def run(self) -> Outcome:
        """Do the work, and log how it ended."""
        self.progress.bind(run_id=str(self.attempt.run_id), dataset=self.config.dataset)
        self.stop.on_cancel(self.interrupt_attempt)
        try:
            return self.work()
        except LostRace:
            return self.lost()
        except KeyboardInterrupt:
            self.close(RunStatus.INTERRUPTED, Interrupted(signal.SIGINT))
            raise
        except BaseException as error:  # noqa: BLE001 - interrupts have passed
            return self.failed(to_recon_error(error))

    def work(self) -> Outcome:
        """The steps, in the one order that loses nothing."""
        with _work_folder() as folder:
            compared = {EngineName.LOCAL: self.here, EngineName.SPARK: self.on_spark}
            with compared[self.config.engine](folder) as found:
                self.result = found.result
                with self.attempt.step("write"), self.progress.step("write"):
                    written = self.write(self.result, folder, found.parts)  # 7 write
                    publication = self.publication(self.result, written)
                with self.attempt.step("stage"):
                    tables = [table.result() for table in found.stage]
            self.stop.point_of_no_return()
            with self.attempt.step("publish"), self.progress.step("publish"):
                self.publish(publication, tables)  # 8 publish
        with self.attempt.step("archive"), self.progress.step("archive"):
            warning = archive_inputs(
                self.places, self.config.dataset, self.attempt.run_id, self.pair
            )  # 9 archive
        record = self.run_log.close(
            self.attempt, RunStatus.SUCCEEDED, warning
        )  # 10 log
        return self.outcome(record, warning)

    @contextmanager
    def here(self, folder: Path) -> Iterator[_ComparedPair]:
        """The pair compared on this machine, while stage is being loaded."""
        with self.attempt.step("fetch"), self.unchanged():
            spooled = self.fetched(folder)  # 4 fetch
        with (
            self.reading(spooled) as reading,
            self.staging(reading.files) as stage,  # 5 stage
        ):
            with self.attempt.step("compare"):
                result = compare_tables(
                    reading, self.attempt.started.date(), self.progress, self.ask
                )  # 6 compare
            yield _ComparedPair(result, stage)

    @contextmanager
    def on_spark(self, folder: Path) -> Iterator[_ComparedPair]:
        """The pair compared by a cluster, which writes the whole difference to out."""
        out = f"{self.places.out.url}{self.config.dataset}/{self.attempt.run_id}/"
        with ExitStack() as stack:
            stage: list[Future[StageTable]] = []
            spooled = None
            if self.config.stages:
                with self.attempt.step("fetch"), self.unchanged():
                    spooled = self.fetched(folder)
                with self.attempt.step("read"), self.unchanged():
                    old, new = map_ordered(read_rows, spooled)
                    _check_unchanged(self.pair, (old, new))
                stage = stack.enter_context(self.staging((old, new)))
            with self.attempt.step("compare"):
                result, parts = _compare_on_spark(
                    self.places,
                    self.pair,
                    self.config,
                    folder,
                    self.progress,
                    self.attempt.started.date(),
                    out,
                    spooled,
                    self.ask,
                )
            for side in (result.old, result.new):
                _warn_of_rejects(side.uri, side.rejected)
            yield _ComparedPair(result, stage, parts)

    @property
    def ask(self) -> Ask | None:
        """What is asked of the comparison for breaks, where they are tracked."""
        return self.lookup if self.config.break_limit else None

    def lookup(self, keys: Sequence[str]) -> Lookup:
        """The keys of the breaks that this pair may end."""
        connection, dataset = self.run_log.connection, self.config.dataset
        self.standing = standing(connection, dataset, keys, self.pair)
        return Lookup([each.key for each in self.standing], self.config.break_limit)

    def fetched(self, folder: Path) -> tuple[Header, Header]:
        """Exactly the identified bytes on local disk, as text."""
        return _fetch_pair(self.places, self.pair, self.config, folder, self.progress)

    def staging(
        self, files: tuple[CsvFile, CsvFile]
    ) -> AbstractContextManager[list[Future[StageTable]]]:
        """Both files on their way into stage, if they are to be there."""
        if not self.config.stages:
            return nullcontext([])
        return load_in_background(
            self.config, self.attempt.run_id, files, self.progress
        )

    @contextmanager
    def reading(self, spooled: tuple[Header, Header]) -> Iterator[ReadTables]:
        """Both files through the gate."""
        with ExitStack() as stack:
            with self.attempt.step("read"), self.unchanged():
                options, budget = self.config.options, self.config.budget
                read_ = read_tables(*spooled, options, self.progress, budget=budget)
                reading = stack.enter_context(read_)
                _check_unchanged(self.pair, reading.files)
            for file in reading.files:
                _warn_of_rejects(file.uri, file.rejects.count)
            yield reading

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Of a borrowed file that is another by now, tell that and nothing else."""
        try:
            yield
        except InputError:
            if isinstance(self.places.inbound, LocalFolder):
                for file in (self.pair.old, self.pair.new):
                    self.places.inbound.identify(file)
            raise

    def write(
        self, result: Reconciliation, folder: Path, parts: Sequence[Artifact] | None
    ) -> list[Artifact]:
        """Store the artifacts, and the manifest when all it names is there."""
        run_id, dataset = str(self.attempt.run_id), self.config.dataset
        prefix = f"{dataset}/{run_id}"
        out = folder / "out"
        out.mkdir()
        stored = []
        whole = parts is None
        facts = self.facts(artifacts.FILES if whole else artifacts.PARTS)
        for each in artifacts.write_artifacts(result, out, facts, whole=whole):
            failpoint("artifact")
            uri = self.places.out.put(each.path, f"{prefix}/{each.name}")
            stored.append(Artifact(each.name, uri, each.sha256, each.bytes, each.rows))
        stored += sorted(parts or (), key=lambda part: part.name)
        manifest = artifacts.build_manifest(
            result, stored, run_id=run_id, dataset=dataset
        )
        failpoint("manifest")
        self.places.out.put_once(manifest, f"{prefix}/{artifacts.MANIFEST}")
        self.artifacts_at = f"{self.places.out.url}{prefix}/"
        return stored

    def facts(self, files: Mapping[str, str]) -> PageFacts:
        """What the report tells besides the result: no clock and no id."""
        past = history.list_runs(
            self.run_log.connection,
            self.config.dataset,
            TREND_RUNS,
            before=self.attempt.run_id,
            results=True,
        )
        return PageFacts(
            dataset=self.config.dataset,
            options=self.config.options,
            past=past,
            files=files,
        )

    def publication(
        self, result: Reconciliation, written: Sequence[Artifact]
    ) -> Publication:
        """What is to be made visible."""
        dataset, day = self.config.dataset, self.attempt.started.date()
        run_id, feed = self.attempt.run_id, self.config.feed
        look = Observation(result, dataset, run_id, day, feed, self.standing)
        return Publication.of(look, written, self.config.break_limit)

    def publish(self, publication: Publication, tables: Sequence[StageTable]) -> None:
        """Make stage and metrics visible, and this run the one of its pair."""
        self.breaks = publish_run(self.config.database, publication, tables)
        self.published = True

    def failed(self, error: ReconError) -> Outcome:
        """Log a failure. A result that is recorded stays: the next run archives it."""
        record = self.close(status_of(error), error)
        if not self.published:
            return Outcome(record, error=error)
        return self.outcome(record, error)

    def outcome(self, record: RunRecord, error: ReconError | None) -> Outcome:
        """How it ended, with a result."""
        return Outcome(record, self.result, error, self.artifacts_at, self.breaks)

    def lost(self) -> Outcome:
        """Another worker was first: drop own work, and help it to archive."""
        earlier = self.run_log.result_of(self.pair, self.attempt.revision)
        if earlier is None:
            return self.failed(
                Busy(
                    "another worker took this run for dead and gave it up",
                    why="the lock of the dataset was lost, as when a connection breaks",
                    help="run again",
                )
            )
        warning = archive_inputs(self.places, self.config.dataset, earlier, self.pair)
        record = self.close(RunStatus.ALREADY_DONE, warning, earlier)
        return Outcome(record, error=warning)

    def interrupt_attempt(self, error: Interrupted) -> Outcome | None:
        """End the attempt from beside its worker; None if it has a result, or may."""
        record = None
        with suppress(ReconError), open_locked(self.config) as run_log:
            record = run_log.interrupt(self.attempt, error)
        if record is None:
            return None
        self.drop()
        return Outcome(record, error=error)

    def close(
        self,
        status: RunStatus,
        error: ReconError | None = None,
        result: UUID | None = None,
    ) -> RunRecord:
        """Log how the attempt ended, unless its result is recorded: that stands."""
        if self.published:
            message = error.message if error else None
            return make_record(self.attempt, self.config, status, message, error)
        self.drop()
        return self.run_log.close(self.attempt, status, error, result)

    def drop(self) -> None:
        """Drop the stage tables of this attempt; if not now, the next run does."""
        dataset, run_id = self.config.dataset, self.attempt.run_id
        with suppress(ReconError):
            drop_tables(
                self.config.database,
                [private_table_name(dataset, side, run_id) for side in SIDES],
            )


def _log_failure_without_pair(run_log: RunLog, error: ReconError) -> Outcome:
    """Log an attempt that failed before there was a pair to work on."""
    return Outcome(run_log.note(status_of(error), error.message, error), error=error)


def _log_early_interrupt(config: RunConfig, error: Interrupted) -> Outcome:
    """The same, from beside a worker that does not answer."""
    with open_locked(config) as run_log:
        return _log_failure_without_pair(run_log, error)


def _recover_earlier_runs(
    run_log: RunLog, places: Locations, stop: CancellationToken[Outcome]
) -> list[UUID]:
    """Finish what earlier runs recorded; give up what they did not, and tidy up.

    Answers the runs that it finished.
    """
    finished = []
    for run_id in run_log.abandon_dead_runs():
        log.warning("run_abandoned", extra={"dead_run_id": str(run_id)})
    for table in drop_orphans(run_log.connection, run_log.config.dataset):
        log.warning("orphan_dropped", extra={"table": table})
    for unfinished in run_log.unfinished():
        if unfinished.pair is not None:
            stop.check()
            log.warning("run_resumed", extra={"dead_run_id": str(unfinished.run_id)})
            failpoint("recover-resume")
            warning = archive_inputs(
                places, unfinished.dataset, unfinished.run_id, unfinished.pair
            )
            run_log.close(unfinished, RunStatus.SUCCEEDED, warning)
            finished.append(unfinished.run_id)
    return finished


def _log_empty_inbox(
    run_log: RunLog, finished: list[UUID], found: inbox.NoData
) -> Outcome:
    """No delivery. Who finished a run in place of a dead worker answers for it."""
    message = _no_data_message(found, run_log.config)
    if finished:
        message += f"; finished run {', '.join(map(str, finished))}"
    return Outcome(run_log.note(RunStatus.NO_FILES, message, results=finished))


def _no_data_message(found: inbox.NoData, config: RunConfig) -> str:
    if not config.recompute:
        return found.message
    return (
        f"{found.message}; to recompute a result, copy its inputs back there from"
        f" {config.processed}{config.dataset}/<run_id>/"
    )


def _find_pair(inbound: Storage) -> FilePair | inbox.NoData:
    found = inbox.select_pair(inbound.files())
    if isinstance(found, inbox.NoData):
        return found
    return FilePair(*map_ordered(inbound.identify, (found.old, found.new)))


def _archive_earlier_result(
    run_log: RunLog, places: Locations, earlier: UUID, pair: FilePair
) -> Outcome:
    """The pair has a result: do nothing twice, only see that it is archived."""
    warning = archive_inputs(places, run_log.config.dataset, earlier, pair)
    message = f"reconciled before, by run {earlier}"
    record = run_log.note(RunStatus.ALREADY_DONE, message, warning, [earlier])
    return Outcome(record, error=warning)


def _fetch_pair(
    places: Locations,
    pair: FilePair,
    config: RunConfig,
    folder: Path,
    progress: Progress,
) -> tuple[Header, Header]:
    """Exactly the identified bytes on local disk, as text."""
    return opened_both(
        lambda each: _fetch_side(places, *each, config, folder, progress),
        zip(SIDES, (pair.old, pair.new), strict=True),
        config.options,
        head_of,
    )


def _fetch_side(
    places: Locations,
    side: str,
    file: SourceFile,
    config: RunConfig,
    folder: Path,
    progress: Progress,
) -> Header:
    path = folder / f"{side}.csv"
    failpoint("fetch")
    with progress.step(f"fetch {side}", total=file.size, unit="bytes") as advance:
        places.inbound.borrow(file, path, advance)
    header = open_input(
        path,
        uri=file.uri,
        side=side,
        options=config.options,
        limits=config.limits,
        folder=folder,
        progress=progress,
    )
    if header.path != path:
        path.unlink()
    return header


def _compare_on_spark(
    places: Locations,
    pair: FilePair,
    config: RunConfig,
    folder: Path,
    progress: Progress,
    today: date,
    out: str | None = None,
    spooled: tuple[Header, Header] | None = None,
    ask: Ask | None = None,
) -> tuple[Reconciliation, Sequence[Artifact]]:
    """The pair compared by a cluster; what tasks cannot read is unpacked here.

    `spooled`: both files, if they are on this disk already; `ask`: for the keys of open
    breaks.
    """
    from recon_engine.spark import driver
    from recon_engine.spark.byte_sources import (
        LocalSource,
        head_of_source,
        locate_in_place,
    )
    from recon_engine.spark.settings import SparkSettings

    def source(side: str, file: SourceFile) -> tuple[Header, ByteSource]:
        found = locate_in_place(
            places.inbound, file, side, config.options, config.limits
        )
        if found is not None:
            return found
        at = SIDES.index(side)
        here = spooled and spooled[at]
        header = here or _fetch_side(places, side, file, config, folder, progress)
        return header, LocalSource.of(header)

    (old, old_source), (new, new_source) = opened_both(
        lambda each: source(*each),
        zip(SIDES, (pair.old, pair.new), strict=True),
        config.options,
        head_of_source,
        each=map,
    )
    settings = replace(
        SparkSettings.from_environment(), out=out, whole=config.break_limit
    )
    result, parts = driver.reconcile_on_cluster(
        (old, new),
        (old_source, new_source),
        config.options,
        today,
        progress,
        settings=settings,
        ask=ask,
    )
    _check_unchanged(pair, (result.old, result.new))
    return result, parts


def _check_unchanged(pair: FilePair, read: Iterable[CsvFile | Side]) -> None:
    """Raise InputChanged for a file of a folder that is not what was identified."""
    for file, side in zip((pair.old, pair.new), read, strict=True):
        if side.sha256 is not None and not may_have_digest(file, side.sha256):
            raise input_changed(file)


def _warn_of_rejects(uri: str, rows: int) -> None:
    if rows:
        log.warning("rows_set_aside", extra={"file": uri, "rows": rows})


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A work folder on local disk ($TMPDIR), gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        yield Path(folder)
