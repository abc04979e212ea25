"""The ten steps: two files in an inbound place become a recorded, archived result."""

from __future__ import annotations

import logging
import signal
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.command_line import option_words
from recon_engine.compare.engine import Hooks, RunOutput
from recon_engine.compare.lookup import Lookup
from recon_engine.engines import choose_engine
from recon_engine.errors import (
    Busy,
    ConfigError,
    InputChanged,
    InputError,
    Interrupted,
    InvalidFileCount,
    ReconError,
)
from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.encodings import open_both
from recon_engine.inputs.header import read_sample
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.tables import fetch_parts
from recon_engine.model import SIDES, Artifact, FilePair, RunRecord, SourceFile
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
from recon_engine.rules.spelling import spell_by_content
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.error_boundary import to_recon_error, within_error_boundary
from recon_engine.runtime.failpoints import failpoint
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.status import RunStatus, status_of
from recon_engine.storage.base import input_changed, join_parts, may_have_digest
from recon_engine.storage.local import LocalFolder
from recon_engine.suggestions import escape_bytes, join_names


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from uuid import UUID

    from recon_engine.compare.engine import Compared, Engine
    from recon_engine.config import Limits, RunConfig
    from recon_engine.inputs.header import Header
    from recon_engine.inputs.tables import Table
    from recon_engine.model import Breaks, Side
    from recon_engine.postgres.breaks import OpenBreak
    from recon_engine.result import Reconciliation
    from recon_engine.storage.base import Storage


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, its result if there is one, and what was wrong if not.

    `steps`: the name and the seconds of each step that ended, in their order.
    """

    record: RunRecord
    result: Reconciliation | None = None
    error: ReconError | None = None
    artifacts_at: str | None = None
    breaks: Breaks | None = None
    steps: tuple[tuple[str, float], ...] = ()


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
            # Held until the function returns: one worker at a time recovers, works and
            # logs for a dataset and an inbound location.
            stack.enter_context(run_log.locked())  # 0 lock
            stop.on_cancel(lambda error: _log_early_interrupt(run_log, error))
            _recover_earlier_runs(run_log, places, stop)  # 1 recover
            pair = _find_pair(places.inbound, config)  # 2 list, 3 identify
            if isinstance(pair, inbox.NoData):
                return _log_empty_inbox(run_log, pair)
            earlier = run_log.results_of(pair)
            is_done = bool(earlier) and run_log.is_last(earlier[-1])
            if is_done and not config.recompute:
                return _archive_earlier_result(run_log, places, earlier[-1], pair)
            stop.check()
            attempt = run_log.start(pair, revision=1 + len(earlier))
        except BaseException as error:  # noqa: BLE001 - interrupts pass
            return _log_failure_without_pair(run_log, to_recon_error(error))
        return _Attempt(config, places, run_log, attempt, pair, progress, stop).run()


@within_error_boundary
def check_locations(config: RunConfig) -> None:
    """Raise ConfigError if two locations are the same, or a folder is not there."""
    inbound = Locations.of(config).inbound
    if isinstance(inbound, LocalFolder):
        list(inbound.files())


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
    pair = _find_pair(places.inbound, config)
    if isinstance(pair, inbox.NoData):
        message = _no_data_message(pair, config)
        return Outcome(make_record(attempt, config, RunStatus.NO_FILES, message))
    with _work_folder() as folder:
        inputs = _DeliveredPair(places, pair, config, folder, progress)
        compared = _choose_engine(config, out=None).compare(
            inputs,
            config.options,
            attempt.started.date(),
            progress,
            _InputHooks(places.inbound, pair),
        )
    result = compared.result
    _check_unchanged(pair, (result.old, result.new))
    return Outcome(make_record(attempt, config, RunStatus.SUCCEEDED), result)


@dataclass(slots=True)
class _Attempt:
    """Steps 4 to 10 of one attempt. Until `published`, forgetting it undoes it."""

    config: RunConfig
    locations: Locations
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
        outcome = self.run_and_log()
        steps = tuple((name, seconds) for name, _, seconds in self.attempt.steps)
        return replace(outcome, steps=steps)

    def run_and_log(self) -> Outcome:
        """Do the steps; a failure is logged and becomes an outcome."""
        self.progress.bind(run_id=str(self.attempt.run_id), dataset=self.config.dataset)
        self.stop.on_cancel(self.interrupt_attempt)
        try:
            return self.run_or_yield()
        except KeyboardInterrupt:
            self.close(RunStatus.INTERRUPTED, Interrupted(signal.SIGINT))
            raise
        except BaseException as error:  # noqa: BLE001 - interrupts have passed
            return self.log_failure(to_recon_error(error))

    def run_or_yield(self) -> Outcome:
        """Do the steps, or help the worker whose result was first."""
        try:
            return self.run_steps()
        except LostRace:
            return self.yield_to_winner()

    def run_steps(self) -> Outcome:
        """Do the steps in the one order that loses nothing.

        The worker may die between any two of them. Whatever it leaves behind is either
        named by nothing, and dropped or ignored by the next run, or recorded as
        RECONCILED, and finished by it.
        """
        with _work_folder() as folder:
            with ExitStack() as stack:
                # 4 fetch, 5 stage, 6 compare. These write only to the work folder and
                # to stage tables under names of this run, which nobody reads. Gates are
                # evaluated here, before anything is written: artifacts, metrics and
                # exit code have one verdict.
                hooks = _RunHooks(self, stack)
                compared = self.compare(folder, hooks)
                self.result = compared.result
                # 7 write. Before publish: a metrics row names the URI and the digest
                # of each artifact, so none may be missing. The folder has the id of
                # the run, so what a dead worker left in it is in nobody's way.
                with self.attempt.step("write"), self.progress.step("write"):
                    written = self.write(self.result, folder, compared.parts)
                    publication = self.publication(self.result, written)
                # The loads of step 5 ran behind all this. One that failed ends the run
                # here, while nothing is visible.
                with self.attempt.step("stage"):
                    tables = [table.result() for table in hooks.stage]
            # From here on a request to stop is too late: whether the commit arrived
            # may be unknown, and an interrupt must not deny a result that exists.
            self.stop.point_of_no_return()
            # 8 publish. One transaction renames the stage tables, inserts the metrics,
            # claims both files and marks the run RECONCILED: readers see all of it or
            # nothing. A unique index lets one of two workers win; the other undoes its
            # work.
            with self.attempt.step("publish"), self.progress.step("publish"):
                self.breaks = publish_run(self.config.database, publication, tables)
                self.published = True
        # 9 archive. After publish: inputs leave inbound only when their result is
        # recorded. The next run repeats what a dead worker did not finish, for each
        # copy is verified before its input is removed.
        with self.attempt.step("archive"), self.progress.step("archive"):
            warning = archive_inputs(
                self.locations, self.config.dataset, self.attempt.run_id, self.pair
            )
        # 10 log. Last: SUCCEEDED says that nothing is left to do.
        record = self.run_log.close(self.attempt, RunStatus.SUCCEEDED, warning)
        return Outcome(record, self.result, warning, self.artifacts_at, self.breaks)

    def compare(self, folder: Path, hooks: _RunHooks) -> Compared:
        """Compare the identified bytes; what is read for it may go to stage too."""
        config = self.config
        out = f"{self.locations.out.url}{config.dataset}/{self.attempt.run_id}/"
        inputs = _DeliveredPair(
            self.locations, self.pair, config, folder, self.progress
        )
        day = self.attempt.started.date()
        try:
            compared = _choose_engine(config, out).compare(
                inputs, config.options, day, self.progress, hooks
            )
        except ConfigError:
            # It may be one of a code table that is being replaced.
            self.check_code_tables()
            raise
        self.check_code_tables()
        sides = compared.result.old, compared.result.new
        _check_unchanged(self.pair, sides)
        if not hooks.took_tables:
            for side in sides:
                _warn_of_rejects(side.uri, side.rejected)
        return compared

    def check_code_tables(self) -> None:
        """Raise InputChanged for a code table that is not what the run log has."""
        for rule, content in self.attempt.rules.items():
            # A file that is gone cannot be read.
            with suppress(ConfigError):
                if spell_by_content(rule) == content:
                    continue
            raise InputChanged(
                f"the code table of the rule {rule} is gone or was replaced during the"
                " run",
                help="run again once the file is complete",
            )

    def lookup(self, keys: Sequence[str]) -> Lookup:
        """The keys of the breaks that this pair may end."""
        connection, dataset = self.run_log.connection, self.config.dataset
        self.standing = standing(connection, dataset, keys, self.pair)
        return Lookup([each.key for each in self.standing], self.config.break_limit)

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
        files = artifacts.FILES if whole else artifacts.PARTS
        facts = self.page_facts(result, files)
        for each in artifacts.write_artifacts(result, out, facts, whole=whole):
            failpoint("artifact")
            uri = self.locations.out.put(each.path, f"{prefix}/{each.name}")
            stored.append(Artifact(each.name, uri, each.sha256, each.bytes, each.rows))
        stored += sorted(parts or (), key=lambda part: part.name)
        manifest = artifacts.build_manifest(
            result, stored, run_id=run_id, dataset=dataset
        )
        # Last, and once: a folder with a manifest is complete.
        failpoint("manifest")
        self.locations.out.put_once(manifest, f"{prefix}/{artifacts.MANIFEST}")
        self.artifacts_at = f"{self.locations.out.url}{prefix}/"
        return stored

    def page_facts(self, result: Reconciliation, files: Mapping[str, str]) -> PageFacts:
        """What the report shows besides the result: no time and no id."""
        past = history.list_runs(
            self.run_log.connection,
            self.config.dataset,
            TREND_RUNS,
            before=self.attempt.run_id,
            results=True,
            replacing=result,
        )
        return PageFacts(
            dataset=self.config.dataset,
            options=self.config.options,
            limit_words=tuple(option_words(self.config.limits)),
            past=past,
            files=files,
            before_recorded=True,
        )

    def publication(
        self, result: Reconciliation, written: Sequence[Artifact]
    ) -> Publication:
        """The result and its artifacts as rows, built before the transaction begins."""
        dataset, day = self.config.dataset, self.attempt.started.date()
        observed = Observation(
            result,
            dataset,
            self.attempt.run_id,
            day,
            self.config.feed,
            self.standing,
            self.pair,
        )
        return Publication.of(observed, written, self.config.break_limit)

    def log_failure(self, error: ReconError) -> Outcome:
        """Log a failure. A result that is recorded stays: the next run archives it."""
        record = self.close(status_of(error), error)
        if not self.published:
            return Outcome(record, error=error)
        return Outcome(record, self.result, error, self.artifacts_at, self.breaks)

    def yield_to_winner(self) -> Outcome:
        """Another worker was first: drop own work, and help it to archive."""
        earlier = self.run_log.result_of(self.pair, self.attempt.revision)
        if earlier is None:
            return self.log_failure(
                Busy(
                    "another worker marked this run as dead",
                    why="the lock of the dataset was lost, as with a broken connection",
                    help="run again",
                )
            )
        warning = archive_inputs(
            self.locations, self.config.dataset, earlier, self.pair
        )
        record = self.close(RunStatus.ALREADY_DONE, warning, earlier)
        return Outcome(record, error=warning)

    def interrupt_attempt(self, error: Interrupted) -> Outcome | None:
        """End the attempt from another thread; None if it has a result, or may have."""
        record = None
        # A connection of its own, and no lock: the worker that does not answer uses the
        # one of this attempt, and holds the lock.
        recovered = self.run_log.recovered
        with suppress(ReconError), open_locked(self.config, recovered) as run_log:
            record = run_log.interrupt(self.attempt, error)
        if record is None:
            return None
        self.drop_stage_tables()
        return Outcome(record, error=error)

    def close(
        self,
        status: RunStatus,
        error: ReconError | None = None,
        result: UUID | None = None,
    ) -> RunRecord:
        """Log how the attempt ended; a recorded result is never changed."""
        if self.published:
            message = error.message if error else None
            record = make_record(self.attempt, self.config, status, message, error)
            return self.run_log.with_recovered(record)
        self.drop_stage_tables()
        return self.run_log.close(self.attempt, status, error, result)

    def drop_stage_tables(self) -> None:
        """Drop the stage tables of this attempt; if not now, the next run does."""
        dataset, run_id = self.config.dataset, self.attempt.run_id
        with suppress(ReconError):
            drop_tables(
                self.config.database,
                [private_table_name(dataset, side, run_id) for side in SIDES],
            )


def _log_failure_without_pair(run_log: RunLog, error: ReconError) -> Outcome:
    """Log an attempt that failed before there was a pair to work on."""
    return Outcome(
        run_log.record_without_pair(status_of(error), error.message, error), error=error
    )


def _log_early_interrupt(of_worker: RunLog, error: Interrupted) -> Outcome:
    """The same from another thread, while the worker does not answer."""
    with open_locked(of_worker.config, of_worker.recovered) as run_log:
        return _log_failure_without_pair(run_log, error)


def _recover_earlier_runs(
    run_log: RunLog, locations: Locations, stop: CancellationToken[Outcome]
) -> None:
    """Finish what earlier runs recorded; abandon what they did not, and tidy up."""
    # Abandon first: only then are the stage tables of a dead run those of an ended one,
    # which `drop_orphans` drops. The caller holds the lock of dataset and inbound, so
    # no worker of such a run is alive, except one that has lost the lock: it can no
    # longer publish, because its run is not STARTED.
    for run_id in run_log.abandon_dead_runs():
        log.warning("run_abandoned", extra={"dead_run_id": str(run_id)})
    for table in drop_orphans(run_log.connection, run_log.config.dataset):
        log.warning("orphan_dropped", extra={"table": table})
    for unfinished in run_log.unfinished():
        if unfinished.pair is not None:
            stop.check()
            log.warning("run_resumed", extra={"dead_run_id": str(unfinished.run_id)})
            failpoint("recover-resume")
            # SUCCEEDED last, as in a run: a worker that dies here too leaves it
            # RECONCILED, for the next one.
            warning = archive_inputs(
                locations, unfinished.dataset, unfinished.run_id, unfinished.pair
            )
            done = run_log.finish(unfinished, warning)
            facts = {"verdict": done.verdict, "exit_code": int(done.failed)}
            log.warning("run_finished", extra={"dead_run_id": str(done.run_id)} | facts)


def _log_empty_inbox(run_log: RunLog, found: inbox.NoData) -> Outcome:
    """Log that there is no delivery."""
    message = _no_data_message(found, run_log.config)
    return Outcome(run_log.record_without_pair(RunStatus.NO_FILES, message))


def _no_data_message(found: inbox.NoData, config: RunConfig) -> str:
    if not config.recompute:
        return found.message
    return (
        f"{found.message}; to recompute a result, copy its inputs back there from"
        f" {config.processed}{config.dataset}/<run_id>/"
    )


def _find_pair(inbound: Storage, config: RunConfig) -> FilePair | inbox.NoData:
    # Before the listing: what is listed after a done file was seen is complete.
    done, missing = _find_done_files(inbound, config.done_files)
    old, new = config.old_pattern, config.new_pattern
    files = [file for file in inbound.files() if file.name not in config.done_files]
    if missing:
        names = tuple(escape_bytes(file.name) for file in files)
        return inbox.NoData(names, tuple(missing))
    if old and new:
        found = inbox.select_by_patterns(files, old, new, config.part_counts)
    elif config.takes_parts:
        found = inbox.select_parts(files, config.part_counts)
    else:
        found = inbox.select_pair(files)
    if isinstance(found, inbox.NoData):
        if done:
            raise InvalidFileCount(
                f"the done file is there, and {found.message}",
                why=f"inbound contains {join_names(config.done_files)}",
                help="deliver the files, or remove the done file",
            )
        return found
    identified = iter(list(map_ordered(inbound.identify, found.files)))
    old_file, new_file = (
        join_parts(inbound.url, side.name, list(islice(identified, len(side.parts))))
        if side.parts
        else next(identified)
        for side in (found.old, found.new)
    )
    return FilePair(old_file, new_file, done)


def _find_done_files(
    inbound: Storage, names: Sequence[str]
) -> tuple[tuple[SourceFile, ...], list[str]]:
    """The files that say that a delivery is complete, and the names of missing ones."""
    found, missing = [], []
    for name in names:
        try:
            found.append(inbound.identify(SourceFile(f"{inbound.url}{name}", name, 0)))
        except InputChanged:  # there is no such file
            missing.append(name)
    return tuple(found), missing


def _archive_earlier_result(
    run_log: RunLog, locations: Locations, earlier: UUID, pair: FilePair
) -> Outcome:
    """The pair has a result: do nothing twice, only see that it is archived."""
    warning = archive_inputs(locations, run_log.config.dataset, earlier, pair)
    message = f"reconciled before, by run {earlier}"
    record = run_log.record_without_pair(
        RunStatus.ALREADY_DONE, message, warning, earlier
    )
    return Outcome(record, error=warning)


class _InputHooks(Hooks):
    """What every run does where its inputs are read."""

    def __init__(self, inbound: Storage, pair: FilePair) -> None:
        self.inbound = inbound
        self.pair = pair

    @contextmanager
    def step(self, name: str) -> Iterator[None]:  # noqa: ARG002 - for those that time
        """Raise InputChanged in place of what is wrong with bytes of another file.

        In every step: which of them reads a file depends on the engine. An error of the
        configuration may be one of a file, such as a rule for a column that it lacks.
        """
        try:
            yield
        except (InputError, ConfigError, FileNotFoundError):
            if isinstance(self.inbound, LocalFolder):
                for file in self.pair.files:
                    self.inbound.identify(file)
            raise


class _RunHooks(_InputHooks):
    """What a run does around the steps of its engine: it times, checks and loads.

    `stage`: the loads of both files, which run until `stack` is closed.
    """

    def __init__(self, run: _Attempt, stack: ExitStack) -> None:
        super().__init__(run.locations.inbound, run.pair)
        self.run = run
        self.stack = stack
        self.stage: list[Future[StageTable]] = []
        self.took_tables = False
        self.needs_tables = run.config.stages
        self.ask = run.lookup if run.config.break_limit else None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        with self.run.attempt.step(name), super().step(name):
            yield

    def take_tables(self, old: Table, new: Table) -> None:
        """Check that both are what was identified, and begin to load them."""
        assert isinstance(old, CsvFile)  # noqa: S101 - a pair consists of files
        assert isinstance(new, CsvFile)  # noqa: S101
        files, run = (old, new), self.run
        _check_unchanged(run.pair, files)
        for file in files:
            _warn_of_rejects(file.uri, file.rejects.count)
        self.took_tables = True
        if run.config.stages:
            loads = load_in_background(
                run.config, run.attempt.run_id, files, run.progress
            )
            self.stage = self.stack.enter_context(loads)


def _choose_engine(config: RunConfig, out: str | None) -> Engine:
    """The engine of a run; `out`: where it writes what it does not bring here."""
    run = RunOutput(out, config.break_limit)
    return choose_engine(config.engine, config.budget, run)


@dataclass(frozen=True, slots=True)
class _DeliveredPair:
    """The pair of inbound, pinned to the bytes that were identified."""

    places: Locations
    pair: FilePair
    config: RunConfig
    folder: Path
    progress: Progress

    @property
    def limits(self) -> Limits:
        return self.config.limits

    @property
    def hashes(self) -> bool:
        return True  # `_check_unchanged` compares it with that of the identified file

    def open_both(self) -> tuple[Header, Header]:
        return open_both(self.open_side, SIDES, self.config.options, read_sample)

    def open_side(self, side: str) -> Header:
        file = self._file(side)
        failpoint("fetch")
        if file.parts:
            own = self.folder / f"{side}.parts"
            own.mkdir()
            return fetch_parts(
                file.uri,
                self.places.inbound,
                file.parts,
                side,
                self.config.options,
                self.limits,
                own,
                self.progress,
            )
        path = self.folder / f"{side}.csv"
        with self.progress.step(
            f"fetch {side}", total=file.size, unit="bytes"
        ) as advance:
            self.places.inbound.borrow(file, path, advance)
        header = open_input(
            path,
            uri=file.uri,
            side=side,
            options=self.config.options,
            limits=self.limits,
            folder=self.folder,
            progress=self.progress,
        )
        # Offsets of a translated text are mapped back by the text it was made from.
        if header.path != path and not (header.origin and header.origin.translation):
            path.unlink()
        return header

    def locate(self, side: str) -> tuple[Storage, SourceFile] | None:
        file = self._file(side)
        return None if file.parts else (self.places.inbound, file)

    def _file(self, side: str) -> SourceFile:
        return (self.pair.old, self.pair.new)[SIDES.index(side)]


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
