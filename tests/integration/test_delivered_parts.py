"""A run of tables in parts: complete sets only, all parts archived, none lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import boto3
import pytest
from support.sites import BucketSite, FolderSite, Site

import recon_engine as rx
from recon_engine.errors import ConfigError
from recon_engine.model import FilePair
from recon_engine.pipeline import runner
from recon_engine.pipeline.locations import Locations
from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITES: Final = ("folders", "bucket")
OLD: Final = {
    "c-1.csv": b"ID,PAID\n1,10.00\n",
    "c-2.csv": b"ID,PAID\n2,20.00\n3,30.00\n",
}
NEW: Final = {
    "c_NEWSYSTEM-1.csv": b"ID,PAID\n1,10.00\n2,20.00\n",
    "c_NEWSYSTEM-2.csv": b"ID,PAID\n3,33.00\n",
    "c_NEWSYSTEM-3.csv": b"ID,PAID\n",
}
SET: Final = OLD | NEW
COUNTS: Final[dict[str, Any]] = {"old_parts": 2, "new_parts": 3}
DONE: Final[dict[str, Any]] = {"done_files": ("_SUCCESS",)}
MARK: Final = {"_SUCCESS": b"5 files\n"}


def deliver(site: Site, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        site.put(name, data)


def archived(site: Site) -> dict[str, bytes]:
    """What is in processed, without the folders of dataset and run."""
    found = site.names(site.processed)
    assert len({name.rpartition("/")[0] for name in found}) <= 1
    return {name.rpartition("/")[2]: data for name, data in found.items()}


@pytest.mark.parametrize("options", [COUNTS, DONE, COUNTS | DONE], ids=str)
def test_a_set_is_one_table_and_is_archived_whole(
    site: Site, options: dict[str, Any]
) -> None:
    files = SET | (MARK if "done_files" in options else {})
    deliver(site, files)
    outcome = site.run(**options)
    assert outcome.record.status is RunStatus.SUCCEEDED, outcome.error
    result = outcome.result
    assert result is not None
    assert (result.old.rows, result.new.rows, result.counts.matched) == (3, 3, 3)
    assert result.counts.mismatched_rows == 1
    assert result.old.dialect is not None
    assert result.old.dialect.frame["parts"] == 2
    assert site.names(site.inbound) == {}
    assert archived(site) == files
    logged = site.rows("SELECT side, number, name, size FROM metrics.run_part")
    assert {row["name"]: row["size"] for row in logged} == {
        name: len(data) for name, data in files.items()
    }
    staged = site.rows("SELECT count(*) AS n FROM stage.claims_old")
    assert staged == [{"n": 3}]

    deliver(site, files)
    again = site.run(**options)
    # A bucket without versions cannot tell the same bytes that arrive again.
    assert again.record.status is RunStatus.ALREADY_DONE
    assert site.names(site.inbound) == {}
    assert archived(site) == files


@pytest.mark.parametrize(
    ("files", "options", "status", "message"),
    [
        (
            OLD | {"c_NEWSYSTEM-1.csv": b"ID,PAID\n"},
            {"parts": 2},
            RunStatus.INVALID_FILE_COUNT,
            "2 files of OLD and 1 of NEW, not 2 of each",
        ),
        (
            OLD,
            COUNTS,
            RunStatus.INVALID_FILE_COUNT,
            "2 files of OLD and 0 of NEW, not 2 of OLD and 3 of NEW",
        ),
        (SET, {"parts": 2}, RunStatus.INVALID_FILE_COUNT, "2 files of OLD and 3 of"),
        (SET, DONE, RunStatus.NO_FILES, "the delivery has no _SUCCESS yet; it contain"),
        (SET, COUNTS | DONE, RunStatus.NO_FILES, "has no _SUCCESS yet"),
        (
            MARK,
            DONE,
            RunStatus.INVALID_FILE_COUNT,
            "the done file is there, and inbound contains no",
        ),
        (OLD | MARK, DONE, RunStatus.INVALID_FILE_COUNT, "0 of NEW, not at least 1"),
        (SET, {}, RunStatus.INVALID_FILE_COUNT, "inbound contains 5 data files, not 2"),
    ],
)
def test_a_set_that_is_not_complete_is_left_where_it_is(
    folders: FolderSite,
    files: dict[str, bytes],
    options: dict[str, Any],
    status: RunStatus,
    message: str,
) -> None:
    deliver(folders, files)
    outcome = folders.run(**options)
    assert outcome.record.status is status
    assert message in str(outcome.record.message)
    assert folders.names(folders.inbound) == files
    assert folders.names(folders.processed) == folders.names(folders.out) == {}


def test_patterns_name_the_parts(folders: FolderSite) -> None:
    files = {
        "a1.txt": b"ID\n1\n",
        "a2.txt": b"ID\n2\n",
        "b.txt": b"ID\n1\n2\n",
        "x": b"",
    }
    deliver(folders, files)
    outcome = folders.run(old_pattern="a?.txt", new_pattern="b.txt", old_parts=2)
    assert outcome.result is not None
    assert outcome.result.agrees
    assert outcome.result.old.uri.endswith("/inbound/a?.txt")
    assert folders.names(folders.inbound) == {"x": b""}
    assert set(archived(folders)) == {"a1.txt", "a2.txt", "b.txt"}


@pytest.mark.parametrize("place", ["archive-copy", "archive-remove"])
def test_a_crash_between_two_parts_loses_none(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for hit in range(1, len(SET | MARK) + 1):
        # Another set each time: the same one has a result.
        row = b"%d,1.00\n" % (hit + 9)
        files = {name: data + row for name, data in SET.items()} | MARK
        deliver(folders, files)
        before = folders.names(folders.processed)
        point = Failpoint(place, "raise", hit)
        with monkeypatch.context() as patch:
            patch.setattr(failpoints, "armed", point)
            folders.run(**DONE)
        assert folders.statuses()[-1] == "RECONCILED"
        left = folders.names(folders.inbound)
        moved = {
            name.rpartition("/")[2]
            for name in folders.names(folders.processed).keys() - before.keys()
        }
        assert left.keys() | moved == files.keys()
        assert "_SUCCESS" not in left or left == files
        outcome = folders.run(**DONE)
        assert outcome.record.status is RunStatus.NO_FILES
        assert folders.statuses()[-2:] == ["SUCCEEDED", "NO_FILES"]
        assert folders.names(folders.inbound) == {}
        found = folders.names(folders.processed)
        now = {n.rpartition("/")[2]: found[n] for n in found.keys() - before.keys()}
        assert now == files


def test_a_done_file_of_the_next_set_stays_when_a_dead_run_is_finished(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(site, SET | MARK)
    with monkeypatch.context() as patch:
        # The worker dies when everything has moved, and only the log is open.
        patch.setattr(failpoints, "armed", Failpoint("close", "raise"))
        site.run(**DONE)
    assert site.statuses() == ["RECONCILED"]
    following = {name: data + b"9,9\n" for name, data in SET.items()} | MARK
    deliver(site, following)
    outcome = site.run(**DONE)
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert outcome.result is not None
    assert outcome.result.old.rows == 5
    assert site.statuses() == ["SUCCEEDED", "SUCCEEDED"]
    assert site.names(site.inbound) == {}
    assert len(site.names(site.processed)) == 2 * len(following)


def test_a_set_that_comes_again_with_another_done_file_is_done(
    folders: FolderSite,
) -> None:
    deliver(folders, SET | MARK)
    folders.run(**DONE)
    deliver(folders, SET | {"_SUCCESS": b"second time\n"})
    assert folders.run(**DONE).record.status is RunStatus.ALREADY_DONE
    assert folders.names(folders.inbound) == {}
    kept = sorted(folders.names(folders.processed).values())
    assert kept == sorted([*SET.values(), *MARK.values(), b"second time\n"])


def test_a_part_that_is_replaced_ends_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(site, SET)
    config = site.config(**COUNTS)
    pair = runner._find_pair(Locations.of(config).inbound, config)
    assert isinstance(pair, FilePair)
    deliver(site, {"c-2.csv": b"ID,PAID\n2,20.00\n3,99.00\n"})
    monkeypatch.setattr(runner, "_find_pair", lambda *_: pair)
    outcome = site.run(**COUNTS)
    assert outcome.record.status is RunStatus.INPUT_CHANGED
    assert site.names(site.inbound).keys() == SET.keys()
    assert site.names(site.processed) == {}


def test_a_part_belongs_to_one_dataset(folders: FolderSite) -> None:
    deliver(folders, SET)
    config = folders.config(**COUNTS)
    pair = runner._find_pair(Locations.of(config).inbound, config)
    assert isinstance(pair, FilePair)
    folders.run(**COUNTS)
    deliver(folders, {"c-2.csv": OLD["c-2.csv"], "NEWSYSTEM.csv": b"ID,PAID\n2,1\n"})
    other = folders.run(dataset="other")
    assert other.record.status is RunStatus.FILE_CLAIMED
    assert other.error is not None
    assert str(other.error.file).endswith("/c-2.csv")


def test_a_damaged_part_refuses_the_set_by_its_name(site: Site) -> None:
    deliver(site, SET | {"c-2.csv": b"ID,PAID\n2\n"})
    outcome = site.run(**COUNTS)
    assert outcome.record.status is RunStatus.MALFORMED_INPUT
    assert outcome.error is not None
    assert str(outcome.error.file).endswith("/inbound/c-2.csv")
    assert outcome.error.line == 2
    assert len(site.names(site.inbound)) == len(SET)


@pytest.fixture
def strict(
    seaweed: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BucketSite]:
    """Prefixes of a bucket of a server that enforces every condition."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    name = f"recon-{uuid4().hex[:12]}"
    site = BucketSite(name, seaweed, database)
    site.client.create_bucket(Bucket=name)
    yield site
    site.client.close()


def test_a_server_with_conditions_loses_no_part_in_a_crash(
    strict: BucketSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(strict, SET | MARK)
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "armed", Failpoint("archive-remove", "raise", 3))
        strict.run(**DONE)
    assert strict.statuses() == ["RECONCILED"]
    assert "_SUCCESS" not in strict.names(strict.inbound)
    strict.run(**DONE)
    assert strict.statuses() == ["SUCCEEDED", "NO_FILES"]
    assert strict.names(strict.inbound) == {}
    assert archived(strict) == SET | MARK


@pytest.mark.parametrize("name", ["in/", "in/part-*.csv", "in/part-?.csv"])
def test_a_prefix_or_a_pattern_of_a_bucket_is_one_table(
    bucket: str, moto: str, tmp_path: Path, name: str
) -> None:
    client = boto3.client("s3", endpoint_url=moto)
    for key, data in (
        ("in/part-1.csv", b"ID,A\n1,x\n"),
        ("in/part-2.csv", b"ID,A\n2,y\n"),
        ("in/_SUCCESS", b""),
        ("in/sub/part-3.csv", b"ID,A\n3,z\n"),
    ):
        client.put_object(Bucket=bucket, Key=key, Body=data)
    client.close()
    (tmp_path / "new.csv").write_bytes(b"ID,A\n1,x\n2,y\n")
    found = rx.diff(f"s3://{bucket}/{name}", tmp_path / "new.csv", keys="ID")
    assert found.agrees
    assert found.old.uri == f"s3://{bucket}/{name}"
    with pytest.raises(ConfigError, match="no file"):
        rx.diff(f"s3://{bucket}/none/", tmp_path / "new.csv", keys="ID")
