"""Nothing lost, nothing twice: revisions, orphans, locks, history, and every status."""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import adbc_driver_manager
import adbc_driver_manager.dbapi
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.known_runs import run_once
from support.sites import NEW, OLD, REFUSED, FolderSite

from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.errors import ReconError
from recon_engine.model import FilePair
from recon_engine.pipeline import archive, runner
from recon_engine.pipeline.locations import Locations
from recon_engine.postgres import publish as database_module
from recon_engine.postgres import stage
from recon_engine.postgres.run_log import RunLog, open_locked
from recon_engine.runtime import failpoints
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.failpoints import Failpoint
from recon_engine.runtime.memory import Budget
from recon_engine.status import STATUSES, RunStatus, status_of
from recon_engine.storage import local


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon_engine.pipeline.runner import Outcome


LOG = "SELECT * FROM metrics.pipeline_run_log ORDER BY run_ts"
STAGE = "SELECT tablename FROM pg_tables WHERE schemaname = 'stage' ORDER BY 1"


@pytest.fixture
def folders(tmp_path: Path, database: str) -> FolderSite:
    (tmp_path / "inbound").mkdir()
    return FolderSite(str(tmp_path), database)


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def arm(text: str) -> None:
        monkeypatch.setattr(failpoints, "armed", Failpoint.parse(text))

    return arm


def staged(site: FolderSite) -> list[str]:
    return [row["tablename"] for row in site.rows(STAGE)]


def execute(site: FolderSite, statement: str) -> None:
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(statement.encode())


# --recompute


def test_recompute_is_a_new_revision_of_the_same_pair(folders: FolderSite) -> None:
    for revision in (1, 2, 3):
        folders.deliver()
        outcome = folders.run(recompute=True)
        assert outcome.record.status is RunStatus.SUCCEEDED
        log = folders.rows(LOG)
        assert [row["revision"] for row in log] == list(range(1, revision + 1))
    assert len({row["run_fp"] for row in log}) == 3
    assert [row["attempt"] for row in log] == [1, 1, 1]
    assert len(folders.rows("SELECT * FROM metrics.recon_summary")) == 3
    assert len(folders.names(folders.processed)) == 6
    folders.deliver()
    again = folders.run()
    assert again.record.status is RunStatus.ALREADY_DONE
    assert str(outcome.record.run_id) in str(again.record.message)


def test_recompute_of_a_new_pair_is_its_first_result(folders: FolderSite) -> None:
    folders.deliver()
    folders.run(recompute=True)
    [log] = folders.rows(LOG)
    assert log["revision"] == 1
    folders.deliver()
    assert folders.run().record.status is RunStatus.ALREADY_DONE


def test_recompute_without_inputs_says_where_they_are(folders: FolderSite) -> None:
    folders.deliver()
    first = folders.run()
    outcome = folders.run(recompute=True)
    assert outcome.record.status is RunStatus.NO_FILES
    message = str(outcome.record.message)
    place = message.rpartition(" ")[2].replace("<run_id>", str(first.record.run_id))
    for file in Path(place.removeprefix("file://")).iterdir():
        file.rename(Path(folders.inbound) / file.name)
    assert folders.run(recompute=True).record.status is RunStatus.SUCCEEDED
    assert [row["revision"] for row in folders.rows(LOG)] == [1, 1, 2]


def test_a_recompute_that_died_does_not_make_two_revisions(
    folders: FolderSite, armed: Callable[[str], None]
) -> None:
    folders.deliver()
    folders.run()
    folders.deliver()
    armed("publish-commit:raise")
    assert folders.run(recompute=True).record.exit_code == 70
    armed("archive-copy:raise")
    assert folders.run(recompute=True).record.exit_code == 70
    assert folders.run(recompute=True).record.status is RunStatus.NO_FILES
    results = [r for r in folders.rows(LOG) if r["status"] == "SUCCEEDED"]
    assert [(row["revision"], row["attempt"]) for row in results] == [(1, 1), (2, 2)]


# Readers of stage


@contextmanager
def reading(site: FolderSite, table: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database) as reader:
        reader.execute(sql.SQL("SELECT * FROM stage.{}").format(sql.Identifier(table)))
        yield reader


def test_a_reader_who_does_not_let_go_is_a_retry_and_loses_nothing(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")
    folders.deliver(day="20261122")
    folders.run()
    before = folders.rows("SELECT * FROM stage.claims_old")
    folders.deliver(OLD + b"9,9.00,z\n")
    with reading(folders, "claims_old"):
        outcome = folders.run()
    assert outcome.record.status is RunStatus.DATABASE_UNAVAILABLE
    assert outcome.error is not None
    assert "RECON_LOCK_TIMEOUT" in outcome.error.message
    assert outcome.error.why == "SQLSTATE 55P03"
    assert "pg_stat_activity" in str(outcome.error.help)
    assert len(folders.names(folders.inbound)) == 2
    assert folders.rows("SELECT * FROM stage.claims_old") == before
    assert staged(folders) == ["claims_new", "claims_old"]
    assert folders.run().record.status is RunStatus.SUCCEEDED
    assert len(folders.rows("SELECT * FROM stage.claims_old")) == 5


def test_a_reader_who_lets_go_in_time_is_waited_for(folders: FolderSite) -> None:
    folders.deliver(day="20261122")
    folders.run()
    folders.deliver()
    with reading(folders, "claims_new") as reader:
        done = threading.Timer(1.0, reader.rollback)
        done.start()
        assert folders.run().record.status is RunStatus.SUCCEEDED
        done.join()


# COMMIT


class _Cutting(Failpoint):
    """The publishing session is cut off right before its COMMIT."""

    def __init__(self, site: FolderSite) -> None:
        super().__init__("publish-commit", "raise")
        self.site = site

    def _act(self) -> None:
        execute(
            self.site,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'",
        )


def test_a_connection_cut_before_the_commit_is_rolled_back(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "armed", _Cutting(folders))
        outcome = folders.run()
    assert outcome.record.status is RunStatus.DATABASE_UNAVAILABLE
    assert folders.statuses() == ["DATABASE_UNAVAILABLE"]
    assert staged(folders) == []
    assert folders.run().record.status is RunStatus.SUCCEEDED


def test_a_lost_reply_to_commit_is_read_back(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    commit = adbc_driver_manager.dbapi.Connection.commit

    def committed_and_cut(connection: Any) -> None:
        commit(connection)
        if failpoints.armed is None:
            raise adbc_driver_manager.OperationalError(
                "lost", status_code=adbc_driver_manager.AdbcStatusCode.IO
            )

    class Publishing(Failpoint):
        def _act(self) -> None:
            monkeypatch.setattr(failpoints, "armed", None)

    monkeypatch.setattr(failpoints, "armed", Publishing("publish-commit", "raise"))
    monkeypatch.setattr(
        adbc_driver_manager.dbapi.Connection, "commit", committed_and_cut
    )
    assert folders.run().record.status is RunStatus.SUCCEEDED
    assert folders.names(folders.inbound) == {}


# Orphans


def orphan(site: FolderSite, status: str, dataset: str = "claims") -> str:
    """A private table, and the run it belongs to, as a dead worker leaves them."""
    site.deliver(day=status)
    config = site.config(dataset=dataset, inbound=f"{site.inbound}/{status}")
    Path(config.inbound).mkdir()
    places = Locations.of(config)
    with open_locked(places.with_canonical_urls(config)) as run_log, run_log.locked():
        pair = runner._find_pair(Locations.of(site.config()).inbound, config)
        assert isinstance(pair, FilePair)
        run = run_log.start(pair)
        name = stage.private_table_name(dataset, "old", run.run_id)
        run_log.connection.execute(f'CREATE TABLE stage."{name}" ()'.encode())
        run_log.connection.execute(
            "UPDATE metrics.pipeline_run_log SET status = %s WHERE run_id = %s",
            [status, run.run_id],
        )
    for file in Path(site.inbound).glob("*.csv"):
        file.unlink()
    return name


def test_private_tables_of_dead_runs_are_dropped_by_the_next_run(
    folders: FolderSite,
) -> None:
    gone = [orphan(folders, status) for status in ("ABANDONED", "INTERRUPTED")]
    # Another inbound place of the dataset, another dataset: another lock, alive.
    kept = [orphan(folders, "STARTED"), orphan(folders, "SUCCEEDED", "other")]
    execute(folders, 'CREATE TABLE stage."claims_old__cafecafe" ()')
    assert set(gone) <= set(staged(folders))
    folders.run()
    assert staged(folders) == sorted([*kept, "claims_old__cafecafe"])


def test_an_orphan_that_someone_reads_is_left_for_later(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ORPHAN_TIMEOUT", "100ms")
    name = orphan(folders, "ABANDONED")
    folders.deliver()
    with reading(folders, name):
        assert folders.run().record.status is RunStatus.SUCCEEDED
    assert name in staged(folders)
    folders.run()
    assert name not in staged(folders)


# The lock


def test_only_runs_without_a_live_lock_are_given_up(folders: FolderSite) -> None:
    folders.deliver()
    other = Path(folders.inbound).parent / "other"
    other.mkdir()
    config = Locations.of(folders.config()).with_canonical_urls(folders.config())
    with open_locked(config) as alive, alive.locked():
        pair = runner._find_pair(Locations.of(config).inbound, config)
        assert isinstance(pair, FilePair)
        run = alive.start(pair)
        # The same dataset from another place is another lock, and no judge of this one.
        folders.run(inbound=str(other))
        assert folders.statuses() == ["STARTED", "NO_FILES"]
    folders.run()
    first = folders.rows(LOG)[0]
    assert (first["run_id"], first["status"]) == (run.run_id, "ABANDONED")


# History


@pytest.fixture(scope="module")
def recorded(template: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a run in it, for statements that change nothing."""

    def runs(site: FolderSite) -> list[Outcome]:
        site.deliver()
        return [site.run()]

    known = run_once(template, tmp_path_factory.mktemp("recorded"), runs)
    # What refuses them is not that it can only be read.
    writable = "-c default_transaction_read_only=off"
    return make_conninfo(known.site.database, options=writable)


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE metrics.pipeline_run_log CASCADE",
        "TRUNCATE metrics.recon_summary",
        "UPDATE metrics.recon_summary SET missing = missing",
        "DELETE FROM metrics.recon_summary",
        "UPDATE metrics.mismatch_by_column SET ordinal = ordinal",
        "DELETE FROM metrics.mismatch_by_column",
        "TRUNCATE metrics.mismatch_signature",
        "DELETE FROM metrics.artifact",
        "UPDATE metrics.mismatch_detail_sample SET payload = '{}'",
        "UPDATE metrics.pipeline_run_log SET status = 'STARTED'",
    ],
)
def test_what_was_recorded_is_history(recorded: str, change: str) -> None:
    with (
        psycopg.connect(recorded, autocommit=True) as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute(change.encode())


def test_sampled_values_can_be_deleted(folders: FolderSite) -> None:
    folders.deliver()
    folders.run()
    execute(folders, "DELETE FROM metrics.mismatch_detail_sample")
    assert folders.rows("SELECT * FROM metrics.mismatch_detail_sample") == []


# Stop


@pytest.mark.parametrize("name", ["fetch", "stage-commit", "artifact", "manifest"])
def test_a_stop_before_the_result_takes_everything_back(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folders.deliver()
    stop: CancellationToken[Outcome] = CancellationToken()
    requested = _Requesting(name, stop)
    monkeypatch.setattr(failpoints, "armed", requested)
    outcome = runner.run_pipeline(folders.config(), stop=stop)
    assert (outcome.record.status, outcome.record.exit_code) == ("INTERRUPTED", 143)
    [log] = folders.rows(LOG)
    assert (log["status"], log["exit_code"]) == ("INTERRUPTED", 143)
    assert log["error_message"] == "stopped by SIGTERM"
    assert staged(folders) == []
    assert len(folders.names(folders.inbound)) == 2
    assert folders.run().record.status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("name", ["publish-commit", "archive-copy", "archive-remove"])
def test_a_stop_after_the_result_lets_it_be_archived(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folders.deliver()
    stop: CancellationToken[Outcome] = CancellationToken()
    monkeypatch.setattr(failpoints, "armed", _Requesting(name, stop))
    outcome = runner.run_pipeline(folders.config(), stop=stop)
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert folders.names(folders.inbound) == {}


class _Requesting(Failpoint):
    """A stop is requested there; `beside` tells what enforcing it answers."""

    def __init__(
        self, name: str, stop: CancellationToken[Outcome], *, enforce: bool = False
    ) -> None:
        super().__init__(name, "raise")
        self.stop = stop
        self.enforce = enforce
        self.beside: Outcome | None = None

    def _act(self) -> None:
        self.stop.request(signal.SIGTERM)
        if self.enforce:
            self.beside = self.stop.cancel_now()


def enforced_at(
    site: FolderSite, patch: pytest.MonkeyPatch, name: str
) -> tuple[Outcome | None, Outcome]:
    """What is answered beside, and what comes of a worker that is not left behind."""
    site.deliver()
    stop: CancellationToken[Outcome] = CancellationToken()
    requesting = _Requesting(name, stop, enforce=True)
    with patch.context() as local:
        local.setattr(failpoints, "armed", requesting)
        outcome = runner.run_pipeline(site.config(), stop=stop)
    return requesting.beside, outcome


@pytest.mark.parametrize(
    "name",
    ["recover-abandon", "start", "fetch", "stage-commit", "manifest", "publish-mark"],
)
def test_a_stop_enforced_from_beside_keeps_the_worker_from_publishing(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    beside, outcome = enforced_at(folders, monkeypatch, name)
    assert beside is not None
    assert ended(beside) == ("INTERRUPTED", 143)
    assert outcome.record.exit_code != 0
    assert "INTERRUPTED" in folders.statuses()
    assert folders.rows("SELECT * FROM metrics.recon_summary") == []
    assert folders.run().record.status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    "name", ["publish-commit", "publish-confirm", "archive-copy", "archive-remove"]
)
def test_a_result_is_not_stopped_from_beside(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    beside, outcome = enforced_at(folders, monkeypatch, name)
    assert beside is None
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert folders.statuses() == ["SUCCEEDED"]


# Every status of the table, each by what brings it about.

Ended = tuple[RunStatus, int]


def ended(outcome: Outcome) -> Ended:
    return outcome.record.status, outcome.record.exit_code


def raised(work: Callable[[], object]) -> Ended:
    with pytest.raises(ReconError) as caught:
        work()
    status = status_of(caught.value)
    return status, STATUSES[status].exit_code


def logged(site: FolderSite, status: RunStatus) -> Ended:
    assert status in site.statuses()
    return status, STATUSES[status].exit_code


class Scenarios:
    """One method for each status: how a run gets there."""

    def __init__(self, site: FolderSite, patch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.patch = patch

    def run(self, **changes: Any) -> Ended:
        return ended(self.site.run(**changes))

    def fail_at(self, text: str) -> None:
        self.patch.setattr(failpoints, "armed", Failpoint.parse(text))

    def started(self) -> Ended:
        self.site.deliver()
        self.patch.setattr(runner, "publish_run", _exit)
        with pytest.raises(SystemExit):
            self.site.run()
        return logged(self.site, RunStatus.STARTED)

    def reconciled(self) -> Ended:
        self.site.deliver()
        self.fail_at("archive-copy:raise")
        self.site.run()
        return logged(self.site, RunStatus.RECONCILED)

    def abandoned(self) -> Ended:
        self.started()
        self.patch.undo()
        self.site.run()
        return logged(self.site, RunStatus.ABANDONED)

    def succeeded(self) -> Ended:
        self.site.deliver()
        return self.run()

    def already_done(self) -> Ended:
        self.succeeded()
        return self.succeeded()

    def no_files(self) -> Ended:
        return self.run()

    def usage_error(self) -> Ended:
        return raised(lambda: self.site.run(out=self.site.inbound))

    def invalid_file_count(self) -> Ended:
        self.site.put("alone.csv", OLD)
        return self.run()

    def unusable_files(self) -> Ended:
        self.site.put("claims.txt", OLD)
        return self.run()

    def invalid_file_pair(self) -> Ended:
        self.site.put("a.csv", OLD)
        self.site.put("b.csv", OLD)
        return self.run()

    def refused(self, status: str) -> Ended:
        self.site.deliver(*REFUSED[status])
        strict = Options(keys=("ID",), on_duplicate_keys=OnDuplicateKeys.FAIL)
        return self.run(options=strict)

    def file_claimed(self) -> Ended:
        self.site.deliver()
        self.fail_at("archive-copy:raise")
        self.site.run()
        return self.run(dataset="other")

    def schema_mismatch(self) -> Ended:
        return self.refused("SCHEMA_MISMATCH")

    def key_missing(self) -> Ended:
        return self.refused("KEY_MISSING")

    def malformed_input(self) -> Ended:
        return self.refused("MALFORMED_INPUT")

    def encoding_error(self) -> Ended:
        return self.refused("ENCODING_ERROR")

    def empty_file(self) -> Ended:
        return self.refused("EMPTY_FILE")

    def duplicate_keys(self) -> Ended:
        return self.refused("DUPLICATE_KEYS")

    def permission_denied(self) -> Ended:
        role = f"nobody_{uuid4().hex}"
        execute(self.site, f"CREATE ROLE {role} LOGIN")
        stranger = f"{self.site.database} user={role}"
        return raised(lambda: self.site.run(database=stranger))

    def busy(self) -> Ended:
        config = self.site.config()
        with (
            open_locked(Locations.of(config).with_canonical_urls(config)) as other,
            other.locked(),
        ):
            self.run()
        return logged(self.site, RunStatus.BUSY)

    def input_changed(self) -> Ended:
        self.site.deliver()
        start = RunLog.start

        def replaced(*args: Any, **named: Any) -> Any:
            self.site.put("claims_20261123.csv", NEW)
            return start(*args, **named)

        self.patch.setattr(RunLog, "start", replaced)
        return self.run()

    def storage_unavailable(self) -> Ended:
        def broken(_path: Path) -> None:
            raise OSError(errno.EIO, "the disk has an error")

        self.patch.setattr(local, "_sync_to_disk", broken)
        self.site.deliver()
        return self.run()

    def database_unavailable(self) -> Ended:
        self.patch.setenv("RECON_LOCK_TIMEOUT", "1")
        self.succeeded()
        self.site.deliver(day="20261124")
        with reading(self.site, "claims_old"):
            return self.run()

    def commit_unknown(self) -> Ended:
        self.site.deliver()
        nowhere = f"host={self.site.out}"
        confirm = database_module._confirm_commit
        self.patch.setattr(
            database_module, "_confirm_commit", lambda _, *rest: confirm(nowhere, *rest)
        )
        return self.run()

    def disk_full(self) -> Ended:
        self.site.deliver()

        def full(_: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch.setattr(local, "_sync_to_disk", full)
        return self.run()

    def out_of_budget(self) -> Ended:
        self.site.deliver()
        return self.run(budget=Budget(1))

    def archive_conflict(self) -> Ended:
        self.site.deliver()
        archive_pair = archive.archive_inputs

        def replaced(*args: Any) -> Any:
            self.site.put("claims_20261123.csv", NEW)
            return archive_pair(*args)

        self.patch.setattr(runner, "archive_inputs", replaced)
        return self.run()

    def internal_error(self) -> Ended:
        self.site.deliver()
        self.fail_at("artifact:raise")
        return self.run()

    def interrupted(self) -> Ended:
        self.site.deliver()
        stop: CancellationToken[Outcome] = CancellationToken()
        stop.request(signal.SIGTERM)
        return ended(runner.run_pipeline(self.site.config(), stop=stop))


def _exit(*_: object) -> None:
    raise SystemExit


@pytest.mark.parametrize("status", RunStatus)
def test_every_status_is_reached(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, status: RunStatus
) -> None:
    reach = getattr(Scenarios(folders, monkeypatch), status.lower())
    assert reach() == (status, STATUSES[status].exit_code)
