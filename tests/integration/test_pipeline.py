"""The ten steps on a real Postgres, over folders and over S3."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pytest
from jsonschema import validate
from support.csv_files import open_csv
from support.packed import gzip_of, zstd_of
from support.s3_servers import fill_moto
from support.sites import NEW, OLD, REFUSED, BucketSite, FolderSite, Site

from recon_engine.compare import local_engine
from recon_engine.config import (
    Feed,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    StageLoader,
    parse_encodings,
)
from recon_engine.errors import (
    ConfigError,
    DatabaseUnavailable,
    InputChanged,
    InputError,
)
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.pinned_file import state_of
from recon_engine.pipeline import runner
from recon_engine.pipeline.locations import Locations
from recon_engine.postgres import history, run_log, stage
from recon_engine.postgres import publish as database_module
from recon_engine.postgres.connection import open_connection
from recon_engine.postgres.migrations import schema_folder
from recon_engine.postgres.run_log import new_run, open_locked
from recon_engine.report.history_page import render_history
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from recon_engine.pipeline.runner import Outcome


README = (Path(__file__).parents[2] / "README.md").read_text()
README_STATEMENTS = README.partition("```sql\n")[2].partition("```")[0].splitlines()


# Each test of this module that has a site runs in each of them.
SITES = ("folders", "s3")


def test_a_pair_is_reconciled_recorded_and_archived(site: Site) -> None:
    site.deliver()
    outcome = site.run()
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert outcome.record.exit_code == 0
    run_id = str(outcome.record.run_id)

    assert site.names(site.inbound) == {}
    assert site.names(site.processed) == {
        f"claims/{run_id}/claims_20261123.csv": OLD,
        f"claims/{run_id}/claims_20261123_NEWSYSTEM.csv": NEW,
    }

    [log] = site.rows("SELECT * FROM metrics.pipeline_run_log")
    assert (log["status"], log["exit_code"], log["error_code"]) == (
        "SUCCEEDED",
        0,
        None,
    )
    assert (log["old_rows"], log["new_rows"]) == (4, 4)
    assert log["old_sha256"] == hashlib.sha256(OLD).hexdigest()
    assert log["new_sha256"] == hashlib.sha256(NEW).hexdigest()
    assert log["config"]["options"]["keys"] == ["ID"]

    [summary] = site.rows("SELECT * FROM metrics.recon_summary")
    counts = ("matched", "missing", "extra", "identical", "mismatched_rows")
    assert [summary[name] for name in counts] == [3, 1, 1, 1, 2]
    assert summary["verdict"] == "differ"

    by_column = {
        row["column_name"]: row
        for row in site.rows("SELECT * FROM metrics.mismatch_by_column")
    }
    assert (
        by_column["PAID"]["kind_number_format"] == by_column["PAID"]["mismatched"] == 1
    )
    assert by_column["NOTE"]["kind_case"] == by_column["NOTE"]["mismatched"] == 1

    sample = site.rows(
        "SELECT key_text, key, payload FROM metrics.mismatch_detail_sample"
    )
    assert sorted(sample, key=lambda row: row["key_text"]) == [
        {"key_text": "1", "key": {"ID": "1"}, "payload": {"PAID": "10.00~10"}},
        {"key_text": "3", "key": {"ID": "3"}, "payload": {"NOTE": "c~C"}},
    ]
    assert {row["step"] for row in site.rows("SELECT step FROM metrics.run_step")} == {
        "fetch", "read", "compare", "write", "stage", "publish", "archive",
    }  # fmt: skip


BAD = OLD.replace(b"2,", b"\n2,x,y,z\n2,", 1) + b"9\n7,\xff,\n"


@pytest.mark.parametrize("loader", StageLoader)
def test_rows_set_aside_are_counted_listed_and_in_no_table(
    site: Site, loader: StageLoader
) -> None:
    site.deliver(old=BAD)
    options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    outcome = site.run(options=options, stage_loader=loader)
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert outcome.result is not None
    assert outcome.result.old.rejected == 4

    [summary] = site.rows("SELECT * FROM metrics.recon_summary")
    counts = ("rows_old", "matched", "missing", "rejected_old", "rejected_new")
    assert [summary[name] for name in counts] == [8, 3, 1, 4, 0]
    stage = site.rows("SELECT * FROM stage.claims_old")
    assert sorted(row["ID"] for row in stage) == list("1234")

    prefix = f"claims/{outcome.record.run_id}/"
    out = site.names(site.out)
    rejects = list(csv.DictReader(out[f"{prefix}rejects.csv"].decode().splitlines()))
    at = BAD.index(b"\n\n") + 1
    assert [row["byte_offset"] for row in rejects[:2]] == [str(at), str(at + 1)]
    assert [row["line"] for row in rejects] == ["3", "4", "8", "9"]
    assert {row["file"].rpartition("/")[2] for row in rejects} == {
        "claims_20261123.csv"
    }
    manifest = json.loads(out[f"{prefix}manifest.json"])
    assert "rejects.csv" in {each["name"] for each in manifest["artifacts"]}


def test_rows_set_aside_on_both_sides_are_no_agreement(folders: FolderSite) -> None:
    folders.deliver(old=BAD, new=BAD)
    options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    outcome = folders.run(options=options)
    assert outcome.result is not None
    assert outcome.result.verdict == "differ"
    assert outcome.result.counts.mismatched_rows == 0
    [summary] = folders.rows("SELECT * FROM metrics.recon_summary")
    assert (summary["verdict"], summary["identical"]) == ("differ", 4)


@pytest.mark.parametrize("loader", StageLoader)
def test_compressed_and_foreign_files_are_read_staged_and_archived_as_they_are(
    site: Site, loader: StageLoader
) -> None:
    old = gzip_of(OLD.replace(b"a", "é".encode("cp1252")))
    new = zstd_of(NEW.replace(b"a", "é".encode()).decode().encode("utf-16"))
    site.put("claims_20261123.csv.gz", old)
    site.put("claims_20261123_NEWSYSTEM.csv.zst", new)
    options = Options(keys=("ID",), encodings=parse_encodings("cp1252:utf-16"))
    outcome = site.run(options=options, stage_loader=loader)
    assert outcome.record.status is RunStatus.SUCCEEDED
    run_id = outcome.record.run_id
    assert site.names(site.processed) == {
        f"claims/{run_id}/claims_20261123.csv.gz": old,
        f"claims/{run_id}/claims_20261123_NEWSYSTEM.csv.zst": new,
    }
    [log] = site.rows("SELECT * FROM metrics.pipeline_run_log")
    assert log["old_sha256"] == hashlib.sha256(old).hexdigest()
    assert log["new_sha256"] == hashlib.sha256(new).hexdigest()
    assert log["config"]["options"]["encodings"] == ["cp1252", "utf-16"]
    [summary] = site.rows("SELECT * FROM metrics.recon_summary")
    counts = ("matched", "missing", "extra", "identical", "mismatched_rows")
    assert [summary[name] for name in counts] == [3, 1, 1, 1, 2]
    assert summary["dialect_old"]["compression"] == "gzip"
    assert summary["dialect_new"]["encoding"] == "utf-16"
    stage = site.rows("SELECT * FROM stage.claims_old")
    assert "é" in {row["NOTE"] for row in stage}


def test_a_broken_stream_is_refused_and_stays_in_inbound(site: Site) -> None:
    old = gzip_of(OLD)[:-3]
    site.put("claims.csv.gz", old)
    site.put("claims_NEWSYSTEM.csv", NEW)
    outcome = site.run()
    assert outcome.record.status is RunStatus.MALFORMED_INPUT
    assert outcome.error is not None
    assert outcome.error.byte_offset == len(old)
    assert len(site.names(site.inbound)) == 2


def test_stage_holds_both_files_as_text(site: Site) -> None:
    site.deliver()
    site.run()
    assert site.rows('SELECT * FROM stage.claims_old ORDER BY "ID"')[3] == {
        "ID": "4",
        "PAID": "40.00",
        "NOTE": "",
    }
    assert [r["ID"] for r in site.rows("SELECT * FROM stage.claims_new")] == list(
        "1235"
    )
    types = site.rows(
        "SELECT DISTINCT data_type FROM information_schema.columns"
        " WHERE table_schema = 'stage'"
    )
    assert types == [{"data_type": "text"}]
    tables = site.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'stage'")
    assert {t["tablename"] for t in tables} == {"claims_old", "claims_new"}


def test_artifacts_are_complete_and_the_manifest_says_so(site: Site) -> None:
    site.deliver()
    outcome = site.run()
    prefix = f"claims/{outcome.record.run_id}/"
    found = {
        name.removeprefix(prefix): data for name, data in site.names(site.out).items()
    }
    manifest = json.loads(found.pop("manifest.json"))
    validate(
        manifest, json.loads((schema_folder() / "manifest.schema.json").read_text())
    )
    assert {each["name"] for each in manifest["artifacts"]} == set(found) == {
        "summary.csv", "mismatch_by_column.csv", "mismatch_detail_sample.csv",
        "missing.csv", "extra.csv", "patterns.csv", "constants.csv", "totals.csv",
        "segments.csv", "hints.csv", "mismatches.parquet", "report.html",
    }  # fmt: skip
    for each in manifest["artifacts"]:
        data = found[each["name"]]
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["bytes"] == len(data)
    assert found["missing.csv"] == b'ID,PAID,NOTE\n4,40.00,""\n'
    assert found["extra.csv"] == b'NOTE,ID,PAID\n"",5,50.00\n'
    [summary] = csv.DictReader(found["summary.csv"].decode().splitlines())
    assert (summary["verdict"], summary["matched"]) == ("differ", "3")
    cells = pl.read_parquet(found["mismatches.parquet"])
    assert cells.unnest("key").rows() == [
        ("1", "PAID", "10.00", "10", "number_format"),
        ("3", "NOTE", "c", "C", "case"),
    ]
    recorded = site.rows("SELECT name, uri, sha256, rows FROM metrics.artifact")
    assert {r["name"]: r["sha256"] for r in recorded} == {
        each["name"]: each["sha256"] for each in manifest["artifacts"]
    }


def test_equal_results_give_equal_bytes(site: Site) -> None:
    site.deliver(day="20261122")
    first = site.run()
    site.deliver(day="20261123")
    second = site.run()
    files = site.names(site.out)
    for name in ("missing.csv", "extra.csv", "mismatch_detail_sample.csv"):
        one, two = (
            files[f"claims/{outcome.record.run_id}/{name}"]
            for outcome in (first, second)
        )
        assert one == two
    cells = [
        files[f"claims/{outcome.record.run_id}/mismatches.parquet"]
        for outcome in (first, second)
    ]
    assert cells[0] == cells[1]


@pytest.mark.parametrize("statement", README_STATEMENTS)
def test_the_statements_of_the_original_readme_run(
    folders: FolderSite, statement: str
) -> None:
    folders.deliver()
    folders.run()
    assert folders.rows(statement)


def test_the_same_pair_again_is_already_done(site: Site) -> None:
    site.deliver()
    first = site.run()
    site.deliver()
    second = site.run()
    assert second.record.status is RunStatus.ALREADY_DONE
    assert second.record.exit_code == 0
    assert str(first.record.run_id) in str(second.record.message)
    assert site.names(site.inbound) == {}
    assert len(site.rows("SELECT * FROM metrics.recon_summary")) == 1


def test_other_options_are_another_run(folders: FolderSite) -> None:
    folders.deliver()
    folders.run()
    folders.deliver()
    again = folders.run(options=Options(keys=("ID",), ignore=("NOTE",)))
    assert again.record.status is RunStatus.SUCCEEDED
    assert len(folders.rows("SELECT * FROM metrics.recon_summary")) == 2


def test_earlier_settings_are_applied_again(folders: FolderSite) -> None:
    """What was recorded under other settings of a pair is not the present state."""
    rule = Options(keys=("ID",), rules={"PAID": ("decimal(abs=1)",)})

    def run(day: int = 23, **changes: Any) -> tuple[str, int]:
        folders.deliver(day=f"202611{day}")
        ended = folders.run(**changes)
        of_run = f"WHERE run_id = '{ended.record.run_id}'"
        log = f"SELECT status, revision FROM metrics.pipeline_run_log {of_run}"
        [row] = folders.rows(log)
        assert folders.names(folders.inbound) == {}
        return row["status"], row["revision"]

    assert run() == ("SUCCEEDED", 1)
    assert run(options=rule) == ("SUCCEEDED", 1)
    assert run() == ("SUCCEEDED", 2)
    assert run() == ("ALREADY_DONE", 1)
    [changed] = folders.rows(
        "SELECT state FROM metrics.break WHERE column_name = 'PAID'"
    )
    assert changed == {"state": "new"}
    assert run(options=rule) == ("SUCCEEDED", 2)
    assert run(24, options=rule) == ("SUCCEEDED", 1)
    # The last result of this pair is of these settings, whatever came later.
    assert run(options=rule) == ("ALREADY_DONE", 1)
    assert run(options=rule, feed=Feed.FULL) == ("SUCCEEDED", 3)
    assert run(options=rule, feed=Feed.FULL) == ("ALREADY_DONE", 1)
    assert run(options=rule) == ("SUCCEEDED", 4)


def test_bytes_that_return_under_their_names_are_compared_again(
    folders: FolderSite,
) -> None:
    """The last result is of other bytes, and says nothing of those in inbound."""

    def run(new: bytes) -> Outcome:
        folders.deliver(OLD, new)
        return folders.run()

    ended = [run(new) for new in (NEW, OLD, NEW, NEW, OLD)]
    statuses = [each.record.status for each in ended]
    done, again = RunStatus.SUCCEEDED, RunStatus.ALREADY_DONE
    assert statuses == [done, done, done, again, done]
    verdicts = [each.result and each.result.verdict for each in ended]
    assert verdicts == ["differ", "agree", "differ", None, "agree"]
    tracked = [each.breaks and each.breaks.tracking for each in ended]
    # Breaks know the bytes: those of an earlier pair may have been copied back.
    assert tracked == ["tracked", "tracked", "superseded", None, "tracked"]


def test_earlier_settings_are_applied_again_after_a_crash(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that died makes no result, and one that is recorded is the last."""

    def crash(*_: object) -> None:
        raise SystemExit

    rule = Options(keys=("ID",), rules={"PAID": ("decimal(abs=1)",)})
    folders.deliver()
    folders.run()
    folders.deliver()
    folders.run(options=rule)
    folders.deliver()
    for name in ("publish_run", "archive_inputs"):
        with monkeypatch.context() as patch:
            patch.setattr(runner, name, crash)
            with pytest.raises(SystemExit):
                folders.run()
    assert folders.run().record.status is RunStatus.NO_FILES
    folders.deliver()
    assert folders.run().record.status is RunStatus.ALREADY_DONE
    results = folders.rows(
        "SELECT revision FROM metrics.pipeline_run_log r"
        " JOIN metrics.recon_summary s USING (run_id) ORDER BY s.created_ts"
    )
    assert [row["revision"] for row in results] == [1, 1, 2]


def one_file(site: Site) -> None:
    site.put("claims.csv", OLD)


def three_files(site: Site) -> None:
    site.deliver()
    site.put("more.csv", OLD)


def two_old(site: Site) -> None:
    site.put("a.csv", OLD)
    site.put("b.csv", OLD)


def two_new(site: Site) -> None:
    site.put("a_NEWSYSTEM.csv", NEW)
    site.put("b_newsystem.csv", NEW)


def no_data(site: Site) -> None:
    site.put("readme.txt", b"hello")
    site.put("_SUCCESS", b"")
    site.put(".hidden.csv", OLD)
    site.put("nested/claims.csv", OLD)


def other_names(site: Site) -> None:
    site.put("claims.txt", OLD)
    site.put("claims_NEWSYSTEM.txt", NEW)


@pytest.mark.parametrize(
    ("deliver", "status", "code"),
    [
        (no_data, RunStatus.NO_FILES, 0),
        (other_names, RunStatus.UNUSABLE_FILES, 3),
        (one_file, RunStatus.INVALID_FILE_COUNT, 3),
        (three_files, RunStatus.INVALID_FILE_COUNT, 3),
        (two_old, RunStatus.INVALID_FILE_PAIR, 3),
        (two_new, RunStatus.INVALID_FILE_PAIR, 3),
    ],
)
def test_what_is_no_pair_is_logged_and_left_alone(
    site: Site, deliver: Callable[[Site], None], status: RunStatus, code: int
) -> None:
    deliver(site)
    before = site.names(site.inbound)
    outcome = site.run()
    assert (outcome.record.status, outcome.record.exit_code) == (status, code)
    assert site.statuses() == [status]
    assert site.names(site.inbound) == before


def test_what_lies_there_is_named_in_the_run_log(folders: FolderSite) -> None:
    folders.put("README.md", b"hello")
    assert folders.run().record.status is RunStatus.NO_FILES
    folders.put("claims.txt", OLD)
    assert folders.run().error is not None
    messages = [
        row["error_message"]
        for row in folders.rows(
            "SELECT error_message FROM metrics.pipeline_run_log ORDER BY run_ts"
        )
    ]
    assert messages == [
        "inbound contains no data file; it contains README.md",
        "inbound contains 2 files, none a data file: README.md, claims.txt",
    ]


def test_a_link_in_inbound_is_refused_and_its_target_stays(
    folders: FolderSite, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere.csv"
    target.write_bytes(NEW)
    folders.put("claims.csv", OLD)
    inbound = Path(folders.inbound)
    (inbound / "claims_NEWSYSTEM.csv").symlink_to(target)
    outcome = folders.run()
    assert outcome.record.status is RunStatus.UNUSABLE_FILES
    assert "symbolic link: claims_NEWSYSTEM.csv" in str(outcome.record.message)
    assert target.read_bytes() == NEW
    assert (inbound / "claims_NEWSYSTEM.csv").is_symlink()
    assert folders.names(folders.processed) == {}


def test_a_file_name_that_is_not_utf_8_is_refused_and_stays(
    folders: FolderSite,
) -> None:
    folders.put("claims.csv", OLD)
    inbound = Path(folders.inbound)
    foreign = os.fsencode(inbound) + b"/claims\xff_NEWSYSTEM.csv"
    with open(foreign, "wb") as stream:  # noqa: PTH123 - a name of bytes
        stream.write(NEW)
    outcome = folders.run()
    assert outcome.record.status is RunStatus.UNUSABLE_FILES
    assert r"claims\xff_NEWSYSTEM.csv" in str(outcome.record.message)
    assert len(list(inbound.iterdir())) == 2


def test_no_files_can_be_a_failure(folders: FolderSite) -> None:
    assert folders.run(fail_on_no_files=True).record.exit_code == 3


@pytest.mark.parametrize("status", REFUSED)
def test_a_refused_input_is_logged_and_left_alone(site: Site, status: str) -> None:
    old, new = REFUSED[status]
    site.deliver(old, new)
    before = site.names(site.inbound)
    strict = Options(keys=("ID",), on_duplicate_keys=OnDuplicateKeys.FAIL)
    outcome = site.run(options=strict)
    assert outcome.record.status == status
    assert outcome.record.exit_code == 3
    assert outcome.error is not None
    assert outcome.error.file is not None
    assert outcome.error.help or outcome.error.why
    [log] = site.rows("SELECT * FROM metrics.pipeline_run_log")
    assert (log["status"], log["error_code"], log["exit_code"]) == (status, status, 3)
    assert log["finished_ts"] is not None
    assert site.names(site.inbound) == before
    assert site.names(site.out) == site.names(site.processed) == {}
    assert site.rows("SELECT * FROM pg_tables WHERE schemaname = 'stage'") == []


def test_drift_can_be_compared_and_is_reported(folders: FolderSite) -> None:
    folders.deliver(b"ID,X,A\n1,2,3\n", b"ID,X,B\n1,2,3\n")
    outcome = folders.run(
        options=Options(keys=("ID",), on_schema_drift=OnSchemaDrift.COMPARE)
    )
    assert outcome.record.status is RunStatus.SUCCEEDED
    [row] = folders.rows("SELECT * FROM metrics.recon_summary")
    assert (row["only_in_old"], row["only_in_new"]) == (["A"], ["B"])
    assert row["verdict"] == "differ"


def test_a_crash_after_publishing_is_finished_by_the_next_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deliver()

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runner, "archive_inputs", crash)
        with pytest.raises(SystemExit):
            site.run()
    assert site.statuses() == ["RECONCILED"]
    assert len(site.names(site.inbound)) == 2
    with open_connection(site.database) as connection:
        [unfinished] = history.list_runs(connection, "claims", 1)
        page = render_history("claims", [unfinished])
    assert unfinished.seconds is None
    assert "Rows that differ, 1 result" in page
    assert "Duration, 1 result" not in page
    outcome = site.run()
    assert outcome.record.status is RunStatus.NO_FILES
    # Not when the next run finished it, which may be a day later.
    ended = "SELECT finished_ts, created_ts FROM metrics.pipeline_run_log"
    [times] = site.rows(f"{ended} JOIN metrics.recon_summary USING (run_id)")
    assert times["finished_ts"] == times["created_ts"]
    assert site.statuses() == ["SUCCEEDED", "NO_FILES"]
    assert site.names(site.inbound) == {}
    assert len(site.names(site.processed)) == 2


def test_a_crash_before_publishing_is_abandoned_and_done_again(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()

    def crash(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runner, "publish_run", crash)
        with pytest.raises(SystemExit):
            folders.run()
    assert folders.statuses() == ["STARTED"]
    assert folders.run().record.status is RunStatus.SUCCEEDED
    assert folders.statuses() == ["ABANDONED", "SUCCEEDED"]
    attempts = folders.rows(
        "SELECT attempt FROM metrics.pipeline_run_log ORDER BY run_ts"
    )
    assert [row["attempt"] for row in attempts] == [1, 2]


def test_a_bug_is_logged_by_its_place_and_not_by_its_words(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()

    def broken(*_: object, **__: object) -> None:
        raise ValueError("could not parse 'SECRET-CELL'")

    monkeypatch.setattr(local_engine, "compare_tables", broken)
    outcome = folders.run()
    assert outcome.record.status is RunStatus.INTERNAL_ERROR
    assert outcome.record.exit_code == 70
    [log] = folders.rows("SELECT * FROM metrics.pipeline_run_log")
    assert "ValueError" in log["error_message"]
    assert "SECRET" not in str(log)
    assert len(folders.names(folders.inbound)) == 2


def test_a_replaced_input_stays_with_a_warning(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    real = database_module.publish_run

    def publish_and_overwrite(*args: Any) -> None:
        real(*args)
        folders.put("claims_20261123.csv", b"ID,PAID,NOTE\n9,9,9\n")

    monkeypatch.setattr(runner, "publish_run", publish_and_overwrite)
    outcome = folders.run()
    assert outcome.record.status is RunStatus.ARCHIVE_CONFLICT
    assert outcome.record.exit_code == 4
    assert outcome.result is not None
    assert folders.names(folders.inbound) == {
        "claims_20261123.csv": b"ID,PAID,NOTE\n9,9,9\n",
        "claims_20261123_NEWSYSTEM.csv": NEW,
    }
    [log] = folders.rows("SELECT status, error_code FROM metrics.pipeline_run_log")
    assert log == {"status": "SUCCEEDED", "error_code": "ARCHIVE_CONFLICT"}


@pytest.mark.parametrize(
    ("module", "before"),
    [
        (runner, "open_input"),
        (runner, "load_in_background"),
        (local_engine, "compare_tables"),
    ],
    ids=["fetch", "stage", "compare"],
)
def test_an_input_that_is_written_over_in_its_place_is_left_to_the_next_run(
    folders: FolderSite,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    before: str,
) -> None:
    folders.deliver()
    [old, new] = sorted(Path(folders.inbound).iterdir())
    other = OLD.replace(b"1", b"2", 1)
    real = getattr(module, before)

    def overwritten(*args: Any, **options: Any) -> Any:
        old.write_bytes(other)
        os.utime(old, ns=(0, time.time_ns()))
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, before, overwritten)
        outcome = folders.run()
    assert len(other) == len(OLD)
    assert outcome.record.status is RunStatus.INPUT_CHANGED
    assert outcome.record.exit_code == 4
    assert folders.rows("SELECT * FROM metrics.recon_summary") == []
    assert folders.names(folders.inbound) == {old.name: other, new.name: NEW}
    assert folders.run().record.status is RunStatus.SUCCEEDED


def test_what_is_wrong_with_a_replacement_is_not_reported_of_the_pair(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    [old, _] = sorted(Path(folders.inbound).iterdir())
    real = local_engine.read_tables

    def read_another(first: Any, *args: Any, **options: Any) -> Any:
        old.write_bytes(OLD.replace(b"1", b'"', 1))
        state = state_of_path(first.path)
        return real(replace(first, state=state), *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(local_engine, "read_tables", read_another)
        assert folders.run().record.status is RunStatus.INPUT_CHANGED
    assert folders.run().record.status is RunStatus.MALFORMED_INPUT


@pytest.mark.parametrize("other", [b'ID\n"\n', b"ID,ID\n1,1\n", b"ID,X\n1,1\n"])
def test_a_dry_run_says_of_a_replacement_what_a_run_says(
    other: bytes, folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    [old, _] = sorted(Path(folders.inbound).iterdir())

    def open_another(*args: Any, **options: Any) -> Any:
        old.write_bytes(other)
        return open_input(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "open_input", open_another)
        with pytest.raises(InputChanged):
            runner.dry_run(folders.config())
        folders.deliver()
        assert folders.run().record.status is RunStatus.INPUT_CHANGED
    with pytest.raises(InputError):
        runner.dry_run(folders.config())


def state_of_path(path: Path) -> tuple[int, ...]:
    with path.open("rb") as stream:
        return state_of(stream.fileno())


def test_an_interrupt_after_publishing_takes_nothing_back(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "archive_inputs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folders.run()
    assert folders.statuses() == ["RECONCILED"]
    folders.run()
    assert folders.statuses() == ["SUCCEEDED", "NO_FILES"]
    assert len(folders.rows("SELECT * FROM metrics.recon_summary")) == 1


def test_a_commit_whose_outcome_is_unknown_is_finished_by_the_next_run(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()

    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(database_module, "open_connection", gone)
        outcome = folders.run()
    assert (outcome.record.status, outcome.record.exit_code) == ("COMMIT_UNKNOWN", 4)
    assert folders.statuses() == ["RECONCILED"]
    folders.run()
    assert folders.statuses() == ["SUCCEEDED", "NO_FILES"]
    assert len(folders.rows("SELECT * FROM metrics.recon_summary")) == 1


def test_a_run_that_was_given_up_records_nothing(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    real = database_module.publish_run

    def given_up_first(*args: Any) -> None:
        with psycopg.connect(folders.database) as connection:
            connection.execute("UPDATE metrics.pipeline_run_log SET status='ABANDONED'")
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "publish_run", given_up_first)
        assert folders.run().record.status is RunStatus.BUSY
    assert folders.rows("SELECT * FROM metrics.recon_summary") == []
    assert folders.rows("SELECT * FROM pg_tables WHERE schemaname = 'stage'") == []
    assert folders.run().record.status is RunStatus.SUCCEEDED


def test_recovery_finds_files_whose_names_look_odd(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("old %41 ü file.csv", OLD)
    site.put("new %41 ü NEWSYSTEM.csv", NEW)

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runner, "archive_inputs", crash)
        with pytest.raises(SystemExit):
            site.run()
    site.run()
    assert site.statuses() == ["SUCCEEDED", "NO_FILES"]
    assert site.names(site.inbound) == {}
    assert {
        name.rsplit("/", 1)[1]: data
        for name, data in site.names(site.processed).items()
    } == {
        "old %41 ü file.csv": OLD,
        "new %41 ü NEWSYSTEM.csv": NEW,
    }


def test_neither_input_is_deleted_unless_both_are_archived(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    real = database_module.publish_run

    def publish_and_occupy(conninfo: str, publication: Any, stage: Any) -> None:
        real(conninfo, publication, stage)
        taken = Path(folders.processed) / "claims" / str(publication.observation.run_id)
        taken.mkdir(parents=True)
        (taken / "claims_20261123_NEWSYSTEM.csv").write_bytes(b"other bytes")

    monkeypatch.setattr(runner, "publish_run", publish_and_occupy)
    assert folders.run().record.status is RunStatus.ARCHIVE_CONFLICT
    assert len(folders.names(folders.inbound)) == 2


def test_a_failure_before_there_is_a_pair_is_logged_too(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("SECRET")

    monkeypatch.setattr(runner, "_recover_earlier_runs", broken)
    assert folders.run().record.exit_code == 70
    [log] = folders.rows("SELECT status, error_message FROM metrics.pipeline_run_log")
    assert log["status"] == "INTERNAL_ERROR"
    assert "SECRET" not in log["error_message"]


@pytest.mark.parametrize("name", ["ctid", "xmin", "x" * 64, "y" * 6_000])
def test_names_that_postgres_cannot_have_are_staged_in_an_array(
    folders: FolderSite, name: str
) -> None:
    data = f"ID,{name}\n1,2\n".encode()
    folders.deliver(data, data)
    assert folders.run().record.status is RunStatus.SUCCEEDED
    assert folders.rows("SELECT cells FROM stage.claims_new") == [{"cells": ["1", "2"]}]


def test_of_two_workers_without_a_lock_one_records(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "LOCK", "SELECT %s::text IS NOT NULL")
    monkeypatch.setattr(run_log, "ABANDON", "SELECT 1 WHERE %s::text = %s::text")
    folders.deliver()
    gate = threading.Barrier(2, timeout=60)
    real = database_module.publish_run

    def together(*args: Any) -> None:
        gate.wait()
        real(*args)

    monkeypatch.setattr(runner, "publish_run", together)
    ended: list[str] = []
    workers = [
        threading.Thread(target=lambda: ended.append(folders.run().record.status))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(ended) == ["ALREADY_DONE", "SUCCEEDED"]
    assert len(folders.rows("SELECT * FROM metrics.recon_summary")) == 1
    assert folders.names(folders.inbound) == {}
    left = folders.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'stage'")
    assert {row["tablename"] for row in left} == {"claims_old", "claims_new"}


def test_a_dataset_that_is_being_reconciled_is_busy(folders: FolderSite) -> None:
    places = Locations.of(folders.config())
    with (
        open_locked(places.with_canonical_urls(folders.config())) as other,
        other.locked(),
    ):
        folders.deliver()
        outcome = folders.run()
    assert outcome.error is not None
    [log] = folders.rows("SELECT * FROM metrics.pipeline_run_log")
    assert (log["status"], log["exit_code"], log["error_code"]) == ("BUSY", 4, "BUSY")
    assert log["run_id"] == outcome.record.run_id
    assert log["error_message"] == "another worker is reconciling claims"
    assert len(folders.names(folders.inbound)) == 2


def test_stage_falls_back_to_an_array_where_columns_do_not_fit(
    folders: FolderSite,
) -> None:
    names = ["ID", *(f"C{at}" for at in range(400))]
    row = ["1", *(f"{at}" for at in range(400))]
    data = "\n".join(",".join(line) for line in (names, row)).encode()
    folders.deliver(data, data)
    assert folders.run().record.status is RunStatus.SUCCEEDED
    assert folders.rows("SELECT cells FROM stage.claims_old") == [{"cells": row}]


def test_odd_columns_and_values_are_staged_as_they_are(folders: FolderSite) -> None:
    data = 'ID,"a ""b"", c",Ünï\n1,"x\ny",\\N\n2,\\.,NULL\n'.encode()
    folders.deliver(data, data)
    outcome = folders.run()
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert folders.rows('SELECT * FROM stage.claims_old ORDER BY "ID"') == [
        {"ID": "1", 'a "b", c': "x\ny", "Ünï": "\\N"},
        {"ID": "2", 'a "b", c': "\\.", "Ünï": "NULL"},
    ]


def test_a_dry_run_writes_and_moves_nothing(site: Site) -> None:
    site.deliver()
    outcome = runner.dry_run(site.config(database="host=/nowhere"))
    assert outcome.result is not None
    assert outcome.result.counts.mismatched_rows == 2
    assert len(site.names(site.inbound)) == 2
    assert site.names(site.out) == site.names(site.processed) == {}
    assert site.statuses() == []


def test_a_database_without_tables_says_to_migrate(
    folders: FolderSite, template: str
) -> None:
    folders.deliver()
    with pytest.raises(ConfigError, match="tables") as caught:
        folders.run(database=f"{template} dbname=postgres")
    assert "recon migrate" in str(caught.value.help)


def test_an_unreachable_database_is_reported_without_its_address(
    folders: FolderSite, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        folders.run(database=f"host={tmp_path} password=hunter2")
    assert "hunter2" not in str(vars(caught.value))


def test_places_must_differ(folders: FolderSite) -> None:
    with pytest.raises(ConfigError, match="same location"):
        folders.run(out=folders.inbound + "/")
    with pytest.raises(ConfigError, match="same location"):
        folders.run(out=folders.processed)


def test_more_objects_than_a_page_holds_are_counted(site: Site) -> None:
    if not isinstance(site, BucketSite):
        pytest.skip("folders have no pages")
    keys = [f"{site.root}/inbound/{at:04}.csv" for at in range(1_001)]
    fill_moto(site.bucket, keys, b"ID\n")
    outcome = site.run()
    assert "1,001 data files" in str(outcome.record.message)


def test_keys_that_look_odd_are_read_and_moved(site: Site) -> None:
    site.put("claims +1 é&=%2B 'q'.csv", OLD)
    site.put("claims +1 é&=%2B 'q' NEWSYSTEM.csv", NEW)
    outcome = site.run()
    assert outcome.record.status is RunStatus.SUCCEEDED
    assert site.names(site.inbound) == {}
    assert {name.rsplit("/", 1)[1] for name in site.names(site.processed)} == {
        "claims +1 é&=%2B 'q'.csv",
        "claims +1 é&=%2B 'q' NEWSYSTEM.csv",
    }


def test_a_batch_that_breaks_off_says_its_own_error(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    monkeypatch.setattr(stage, "BATCH_ROWS", 1)

    def stop(_: int) -> None:
        raise InterruptedError

    file = open_csv(Path(folders.inbound) / "claims_20261123.csv")
    run_id = new_run("claims").run_id
    with pytest.raises(InterruptedError):
        stage.load_stage_table(folders.database, "claims", "old", run_id, file, stop)
    assert folders.rows("SELECT * FROM pg_tables WHERE schemaname = 'stage'") == []
