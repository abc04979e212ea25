"""Two datasets on one inbound place: a version of a file has results of one of them."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from recon_cli.app import app
from support.sites import NEW, OLD, FolderSite, Site
from typer.testing import CliRunner

from recon_engine.pipeline import runner
from recon_engine.postgres import migrations, run_log
from recon_engine.postgres import publish as database_module
from recon_engine.postgres.embedded import server
from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint


if TYPE_CHECKING:
    from collections.abc import Callable

    from recon_engine.pipeline.runner import Outcome


BOTH = ("claims", "other")
ORDERS = [BOTH, BOTH[::-1]]
CLAIMS = """
SELECT c.uri, c.dataset, r.status FROM metrics.file_claim c
JOIN metrics.pipeline_run_log r USING (run_id) ORDER BY c.uri
"""


# Each test of this module that has a site runs in each of them.
SITES = ("folders", "s3")


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    def arm(text: str | None) -> None:
        armed = text and Failpoint.parse(text)
        monkeypatch.setattr(failpoints, "armed", armed)

    return arm


class Meeting(Failpoint):
    """Two workers pass a place together."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "raise")
        self.barrier = threading.Barrier(2, timeout=60)

    def reached(self, name: str) -> None:
        if name == self.name:
            self.barrier.wait()


class Meanwhile(Failpoint):
    """What happens when the first worker is at a place."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        super().__init__(name, "raise")
        self.work = work

    def _act(self) -> None:
        self.work()


def status(outcome: Outcome) -> str:
    return str(outcome.record.status)


def results(site: Site) -> list[str]:
    rows = site.rows("SELECT dataset FROM metrics.recon_summary ORDER BY dataset")
    return [row["dataset"] for row in rows]


@pytest.mark.parametrize(("first", "second"), ORDERS)
def test_the_second_dataset_on_a_prefix_is_refused_by_name(
    site: Site, fail_at: Callable[[str | None], None], first: str, second: str
) -> None:
    site.deliver()
    fail_at("archive-copy:raise")
    mine = site.run(dataset=first)
    fail_at(None)
    assert results(site) == [first]
    copied = site.names(site.processed)

    refused = site.run(dataset=second)
    error = refused.error
    assert error is not None
    assert (status(refused), refused.record.exit_code) == ("FILE_CLAIMED", 3)
    assert error.message == f"the file belongs to the dataset {first}"
    assert error.file is not None
    assert error.file.endswith("claims_20261123.csv")
    assert error.why == (
        f"run {mine.record.run_id} of {first} has claimed it and is RECONCILED"
    )
    assert len(site.names(site.inbound)) == 2
    assert site.names(site.processed) == copied
    assert site.statuses() == ["RECONCILED", "FILE_CLAIMED"]

    assert status(site.run(dataset=first)) == "NO_FILES"
    assert site.names(site.inbound) == {}
    assert {name.split("/")[0] for name in site.names(site.processed)} == {first}
    assert status(site.run(dataset=second)) == "NO_FILES"
    assert results(site) == [first]


@pytest.mark.parametrize("place", ["start", "claim"])
def test_of_two_datasets_at_once_one_has_the_pair(
    site: Site, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    site.deliver()
    monkeypatch.setattr(failpoints, "armed", Meeting(place))
    ended: dict[str, Outcome] = {}
    workers = [
        threading.Thread(
            target=lambda name=name: ended.update({name: site.run(dataset=name)})
        )
        for name in BOTH
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(map(status, ended.values())) == ["FILE_CLAIMED", "SUCCEEDED"]
    [winner] = results(site)
    assert status(ended[winner]) == "SUCCEEDED"
    assert {name.split("/")[0] for name in site.names(site.processed)} == {winner}
    assert len(site.names(site.processed)) == 2
    assert site.names(site.inbound) == {}


@pytest.mark.parametrize(("first", "second"), ORDERS)
def test_a_claim_ends_when_its_run_ends_without_a_result(
    site: Site, fail_at: Callable[[str | None], None], first: str, second: str
) -> None:
    site.deliver()
    fail_at("artifact:raise")
    assert status(site.run(dataset=first)) == "INTERNAL_ERROR"
    fail_at(None)
    assert status(site.run(dataset=second)) == "SUCCEEDED"
    site.deliver()
    assert status(site.run(dataset=first)) == "FILE_CLAIMED"
    assert status(site.run(dataset=second)) == "ALREADY_DONE"
    assert results(site) == [second]


def test_a_failed_run_on_a_file_with_a_result_leaves_the_claim(
    folders: FolderSite, fail_at: Callable[[str | None], None]
) -> None:
    folders.deliver()
    folders.run()
    folders.deliver()
    fail_at("artifact:raise")
    assert status(folders.run(recompute=True)) == "INTERNAL_ERROR"
    fail_at(None)
    assert status(folders.run(dataset="other")) == "FILE_CLAIMED"


def test_the_claim_of_a_dead_worker_ends_with_the_next_run_of_its_dataset(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    folders.deliver()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "publish_run", die)
        with pytest.raises(SystemExit):
            folders.run()
    refused = folders.run(dataset="other")
    assert refused.error is not None
    assert status(refused) == "FILE_CLAIMED"
    assert "is STARTED" in str(refused.error.why)
    assert "the next run of that dataset releases its claim" in str(refused.error.help)
    names = folders.names(folders.inbound)
    for name in names:
        (Path(folders.inbound) / name).unlink()
    assert status(folders.run()) == "NO_FILES"
    folders.deliver()
    assert status(folders.run(dataset="other")) == "SUCCEEDED"


def test_two_datasets_on_one_prefix_take_different_files(site: Site) -> None:
    for day, dataset in (("1", "claims"), ("2", "other"), ("3", "claims")):
        site.deliver(day=day)
        assert status(site.run(dataset=dataset)) == "SUCCEEDED"
    assert results(site) == ["claims", "claims", "other"]
    assert {row["status"] for row in site.rows(CLAIMS)} == {"SUCCEEDED"}
    assert len(site.rows(CLAIMS)) == 6


def test_two_datasets_take_different_files_at_the_same_time(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is about to publish while the second does all of its work."""
    aside = Path(folders.inbound).with_name("aside")
    others: list[Outcome] = []

    def meanwhile() -> None:
        Path(folders.inbound).rename(aside)
        folders.deliver(day="2")
        others.append(folders.run(dataset="other"))
        for file in aside.iterdir():
            file.rename(Path(folders.inbound) / file.name)

    folders.deliver(day="1")
    monkeypatch.setattr(failpoints, "armed", Meanwhile("publish-mark", meanwhile))
    assert status(folders.run()) == "SUCCEEDED"
    assert [status(each) for each in others] == ["SUCCEEDED"]
    assert results(folders) == ["claims", "other"]
    assert folders.names(folders.inbound) == {}


def test_one_claimed_file_of_a_pair_is_enough_to_refuse_it(site: Site) -> None:
    site.deliver(day="1")
    assert status(site.run()) == "SUCCEEDED"
    site.put("claims_1.csv", OLD)
    site.put("claims_2_NEWSYSTEM.csv", NEW)
    refused = site.run(dataset="other")
    assert status(refused) == "FILE_CLAIMED"
    assert refused.error is not None
    assert str(refused.error.file).endswith("claims_1.csv")
    # The other file has no claim: nothing of the refused run stays.
    assert len(site.rows(CLAIMS)) == 2
    assert status(site.run()) == "SUCCEEDED"


def test_another_version_of_a_file_is_another_file(site: Site) -> None:
    site.deliver()
    site.run()
    site.deliver(OLD + b"6,1.00,z\n", NEW + b"z,6,1\n")
    assert status(site.run(dataset="other")) == "SUCCEEDED"


def test_a_claim_that_was_lost_meanwhile_is_noticed_when_publishing(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock: it passes on, by a second run of the dataset that fails."""
    monkeypatch.setattr(run_log, "LOCK", "SELECT %s::text IS NOT NULL")
    monkeypatch.setattr(run_log, "ABANDON", "SELECT 1 WHERE %s::text = %s::text")
    real = database_module.publish_run
    others: list[str] = []

    def meanwhile(*args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(runner, "publish_run", real)
            patch.setattr(failpoints, "armed", Failpoint.parse("artifact:raise"))
            others.append(status(folders.run()))
            patch.setattr(failpoints, "armed", None)
            others.append(status(folders.run(dataset="other")))
        return real(*args)

    folders.deliver()
    monkeypatch.setattr(runner, "publish_run", meanwhile)
    outcome = folders.run()
    assert others == ["INTERNAL_ERROR", "SUCCEEDED"]
    assert status(outcome) == "FILE_CLAIMED"
    assert outcome.error is not None
    assert outcome.error.message.endswith("dataset other")
    assert results(folders) == ["other"]
    assert (
        folders.rows(
            "SELECT * FROM pg_tables WHERE tablename LIKE '%\\_\\_%'"
            " AND schemaname = 'stage'"
        )
        == []
    )
    assert {name.split("/")[0] for name in folders.names(folders.processed)} == {
        "other"
    }


def test_the_database_keeps_one_claim_for_each_file(folders: FolderSite) -> None:
    folders.deliver()
    folders.run()
    insert = "INSERT INTO metrics.file_claim SELECT * FROM metrics.file_claim"
    with (
        psycopg.connect(folders.database) as connection,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        connection.execute(insert)
    for change in ("DELETE FROM", "TRUNCATE"):
        with (
            psycopg.connect(folders.database) as connection,
            pytest.raises(psycopg.errors.RestrictViolation),
        ):
            connection.execute(f"{change} metrics.file_claim".encode())


def test_the_refusal_is_reported_by_the_command_with_its_run(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    folders.run()
    folders.deliver()
    monkeypatch.setenv("RECON_DATABASE_URL", str(folders.config().database))
    places = [
        argument
        for name in ("inbound", "processed", "out")
        for argument in (f"--{name}-s3", getattr(folders, name))
    ]
    asked = ["run", *places, "--dataset", "other", "--keys", "ID", "--format", "json"]
    ended = CliRunner().invoke(app, asked)
    document = json.loads(ended.stdout)
    assert ended.exit_code == document["exit_code"] == 3
    assert document["status"] == document["run"]["status"] == "FILE_CLAIMED"
    assert "the dataset claims" in document["message"]


def test_what_was_recorded_before_there_were_claims_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two datasets that both have a result of a file, the earlier one keeps it."""
    before = tmp_path / "schemas"
    shutil.copytree(str(migrations.schema_folder()), before)
    for file in (before / "migrations").iterdir():
        if file.name >= "0011":
            file.unlink()
    grants = before / "access" / "grants.sql"
    grants.write_text("SELECT 1;")
    runs = [
        ("late", "SUCCEEDED", "a", "2026-01-02"),
        ("early", "SUCCEEDED", "a", "2026-01-01"),
        ("dead", "STARTED", "a", "2025-12-31"),
        ("alone", "STARTED", "b", "2026-01-01"),
        ("failed", "ABANDONED", "c", "2026-01-01"),
    ]
    with server.run_embedded_server(durable=False) as conninfo:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "schema_folder", lambda: before)
            migrations.apply_migrations(conninfo)
        with psycopg.connect(conninfo) as connection:
            for dataset, ended, name, day in runs:
                connection.execute(
                    "INSERT INTO metrics.pipeline_run_log (run_id, run_fp, dataset,"
                    " status, run_ts, old_uri, old_etag, old_size, new_uri,"
                    " new_version, new_etag, new_size) VALUES (%s, %s, %s, %s, %s,"
                    " %s, 'e', 1, %s, 'v', 'f', 2)",
                    [uuid4(), dataset, dataset, ended, day, name, f"{name}_NEW"],
                )
        assert migrations.apply_migrations(conninfo)[0].startswith("0011")
        with psycopg.connect(conninfo) as connection:
            found = connection.execute(
                "SELECT uri, dataset FROM metrics.file_claim ORDER BY uri"
            ).fetchall()
    assert found == [
        ("a", "early"), ("a_NEW", "early"), ("b", "alone"), ("b_NEW", "alone")
    ]  # fmt: skip
