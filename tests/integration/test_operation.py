"""What a run tells its operators, what the doctor finds, and what retention removes."""

from __future__ import annotations

import json
import threading
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from jsonschema import validate
from support.program import recon
from support.s3_faults import ALWAYS, Fault, faulty_s3, refuse
from support.s3_places import calls_of
from support.sites import NEW, OLD, BucketSite, FolderSite

from recon_engine.aws import task
from recon_engine.config import Feed, Options
from recon_engine.errors import ConfigError, DatabaseUnavailable
from recon_engine.pipeline import runner
from recon_engine.pipeline.doctor import (
    CheckResult,
    CheckState,
    _check_clock,
    examine_setup,
)
from recon_engine.postgres import history, purge
from recon_engine.postgres.connection import open_connection
from recon_engine.postgres.embedded import server
from recon_engine.postgres.publish import ONE_AT_A_TIME, name_publish_lock
from recon_engine.report import result_page
from recon_engine.status import RunStatus
from recon_engine.storage.s3 import client as s3_client
from recon_engine.storage.s3.prefix import S3Prefix


if TYPE_CHECKING:
    from collections.abc import Iterator


ARN = "arn:aws:ecs:us-east-1:123456789012:task/recon/0123456789abcdef"
EMF = json.loads((Path(__file__).parents[1] / "emf.schema.json").read_text())
NAMED = {"RECON_METRICS_NAMESPACE": "ReconEngine"}


@pytest.fixture
def folders(tmp_path: Path, database: str) -> FolderSite:
    (tmp_path / "inbound").mkdir()
    return FolderSite(str(tmp_path), database)


# --- metrics


def measured(site: FolderSite, **environment: str) -> tuple[int, list[Any]]:
    """The exit code of a run, and the lines of metrics on its stderr."""
    places = [
        argument
        for name in ("inbound", "processed", "out")
        for argument in (f"--{name}-s3", getattr(site, name))
    ]
    ended = recon(
        *("run", *places, "--dataset", "claims", "--keys", "ID"),
        cwd=Path(site.inbound).parent,
        **({"RECON_DATABASE_URL": site.database} | environment),
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line[0] == "{"]
    return ended.returncode, [line for line in lines if "_aws" in line]


def test_a_run_tells_its_metrics_in_the_documented_format(folders: FolderSite) -> None:
    folders.deliver()
    code, [line] = measured(folders, **NAMED)
    validate(line, EMF)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "ReconEngine"
    assert directive["Dimensions"] == [["Dataset"]]
    assert line["Dataset"] == "claims"
    values = {each["Name"]: line[each["Name"]] for each in directive["Metrics"]}
    assert all(isinstance(value, int | float) for value in values.values())
    assert values.pop("RunSeconds") > 0
    assert values.pop("PeakRssBytes") > 1 << 20
    assert 0 <= values.pop("HoursSinceSuccess") < 0.1
    assert values == {
        "RunSucceeded": 1,
        "RunFailed": 0,
        "OldRows": 4,
        "NewRows": 4,
        "MatchedRows": 3,
        "MissingRows": 1,
        "ExtraRows": 1,
        "MismatchedRows": 2,
        "MismatchedCells": 2,
        "RejectedRows": 0,
        "BytesRead": len(OLD) + len(NEW),
    }
    assert (code, line["exit_code"], line["status"]) == (0, 0, "SUCCEEDED")


def test_a_run_that_fails_says_so_whatever_it_fails_at(folders: FolderSite) -> None:
    folders.put("claims.csv", OLD)
    code, [line] = measured(folders, **NAMED)
    assert (code, line["status"]) == (3, "INVALID_FILE_COUNT")
    assert (line["RunFailed"], line["RunSucceeded"]) == (1, 0)
    assert "HoursSinceSuccess" not in line
    nowhere = {"RECON_DATABASE_URL": f"host={folders.inbound}"}
    code, [line] = measured(folders, **NAMED, **nowhere)
    assert code == line["exit_code"] == 4
    assert line["RunFailed"] == 1
    validate(line, EMF)


def test_an_empty_inbound_is_no_failure_and_no_success(folders: FolderSite) -> None:
    _, [line] = measured(folders, **NAMED)
    assert (line["RunFailed"], line["RunSucceeded"]) == (0, 0)


def test_nothing_is_reported_unless_a_namespace_is_given(folders: FolderSite) -> None:
    folders.deliver()
    assert measured(folders) == (0, [])


# --- the task


@contextmanager
def agent(body: bytes) -> Iterator[str]:
    """What ECS runs beside a container."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v4/abc/task" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v4/abc"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_log_of_runs_names_the_task_of_ecs(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.deliver()
    with agent(json.dumps({"TaskARN": ARN}).encode()) as uri:
        monkeypatch.setenv(task.METADATA_VARIABLE, uri)
        folders.run()
    [row] = folders.rows("SELECT task_arn FROM metrics.pipeline_run_log")
    assert row == {"task_arn": ARN}


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"TaskARN": 7}'])
def test_an_agent_that_does_not_tell_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    with agent(body) as uri:
        monkeypatch.setenv(task.METADATA_VARIABLE, uri)
        assert task.task_arn() is None
    task._fetch_task_arn.cache_clear()
    assert task.task_arn() is None
    monkeypatch.setenv(task.METADATA_VARIABLE, "file:///etc")
    assert task.task_arn() is None


# --- the doctor


def found(places: dict[str, str], database: str) -> dict[str, CheckResult]:
    return {finding.check: finding for finding in examine_setup(places, database)}


def places_of(site: FolderSite | BucketSite) -> dict[str, str]:
    return {"inbound": site.inbound, "processed": site.processed, "out": site.out}


def test_the_doctor_finds_folders_and_a_database_well(folders: FolderSite) -> None:
    folders.deliver()
    findings = found(places_of(folders), folders.database)
    assert {f.state for f in findings.values()} == {CheckState.OK}, findings
    assert findings.keys() == {
        *("inbound", "processed", "out", "authorities", "database", "tables", "grants"),
        *("disk", "memory", "clock and database"),
    }


def test_the_doctor_accepts_the_folders_that_a_run_creates(
    tmp_path: Path, database: str
) -> None:
    site = FolderSite(str(tmp_path), database)
    site.deliver()
    site.processed, site.out = f"{tmp_path}/a/b/c", f"{tmp_path}/results/2026/out"
    findings = found(places_of(site), database)
    for name in ("processed", "out"):
        assert findings[name].state is CheckState.OK, findings[name]
        assert "the first run creates it" in findings[name].found
    assert not (tmp_path / "a").exists()
    assert site.run().record.status is RunStatus.SUCCEEDED
    findings = found(places_of(site), database)
    assert findings["out"].found.endswith("out can be read and written")


@pytest.mark.parametrize("inside", ["", "/b", "/b/c"])
def test_the_doctor_names_a_file_where_a_folder_has_to_be(
    tmp_path: Path, database: str, inside: str
) -> None:
    site = FolderSite(str(tmp_path), database)
    site.deliver()
    (tmp_path / "results").write_bytes(b"")
    site.out = f"{tmp_path}/results{inside}"
    finding = found(places_of(site), database)["out"]
    assert (finding.state, finding.found) == (
        CheckState.FAIL,
        f"{tmp_path}/results is no folder",
    )
    assert finding.remedy == "remove it, or name another location"
    assert site.run().record.exit_code > 1


def test_the_doctor_proves_every_right_and_leaves_nothing_behind(
    seaweed: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    site = BucketSite("doctor", seaweed, database)
    with closing(site.client) as client:
        client.create_bucket(Bucket="doctor")
        site.deliver()
        before = client.list_objects_v2(Bucket="doctor")["Contents"]
        findings = found(places_of(site), database)
        assert findings["versions"].state is CheckState.WARN
        client.put_bucket_versioning(
            Bucket="doctor", VersioningConfiguration={"Status": "Enabled"}
        )
        assert found(places_of(site), database)["versions"].state is CheckState.OK
        after = client.list_objects_v2(Bucket="doctor")["Contents"]
    assert [each["ETag"] for each in after] == [each["ETag"] for each in before]
    del findings["versions"]
    assert {f.state for f in findings.values()} == {CheckState.OK}, findings
    assert {"inbound: list", "inbound: read", "inbound: remove", "processed: write",
            "out: write", "clock and S3"} <= findings.keys()  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "check", "right"),
    [
        ("ListObjectsV2", "inbound: list", "s3:ListBucket"),
        ("GetObject", "inbound: read", "s3:GetObject"),
        ("DeleteObject", "inbound: remove", "s3:DeleteObject"),
        ("PutObject", "processed: write", "s3:PutObject"),
    ],
)
def test_a_right_that_is_missing_is_named_with_its_policy(
    seaweed: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    check: str,
    right: str,
) -> None:
    with faulty_s3(seaweed) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        site = BucketSite("denied", seaweed, database)
        with closing(site.client) as client:
            if "denied" not in str(client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket="denied")
        faults.plan(Fault(operation, refuse(403, "AccessDenied"), times=ALWAYS))
        finding = found(places_of(site), database)[check]
        s3_client.shared_s3_client().close()
    assert finding.state is CheckState.FAIL
    assert right in str(finding.remedy)


def test_the_doctor_goes_on_after_what_it_cannot_reach(tmp_path: Path) -> None:
    findings = found({"inbound": str(tmp_path / "none")}, f"host={tmp_path}")
    assert findings["inbound"].state is CheckState.FAIL
    assert findings["database"].state is CheckState.FAIL
    assert findings["memory"].state is CheckState.OK
    assert all(f.remedy for f in findings.values() if f.state is CheckState.FAIL)


def test_the_doctor_says_to_migrate(tmp_path: Path) -> None:
    with server.run_embedded_server(tmp_path / "pg", durable=False) as conninfo:
        findings = found({}, conninfo)
    assert findings["tables"].state is CheckState.FAIL
    assert findings["tables"].remedy == "run recon migrate"


def test_the_doctor_as_a_command_exits_3_if_something_is_to_be_repaired(
    folders: FolderSite,
) -> None:
    arguments = ("doctor", "--inbound-s3", folders.inbound, "--format", "json")
    cwd = Path(folders.inbound)
    well = recon(*arguments, cwd=cwd, RECON_DATABASE_URL=folders.database)
    assert (well.returncode, well.stderr) == (0, "")
    ill = recon(*arguments, cwd=cwd, RECON_DATABASE_URL=f"host={cwd}")
    assert ill.returncode == 3
    [line] = [each for each in json.loads(ill.stdout) if each["state"] == "fail"]
    assert line["check"] == "database"
    assert line["remedy"]


def test_the_doctor_reads_the_configuration_and_looks_for_the_key_of_its_masks(
    folders: FolderSite,
) -> None:
    cwd = Path(folders.inbound).parent
    (cwd / "recon.toml").write_text(
        f'[dataset.claims]\ninbound_s3 = "{folders.inbound}"\n'
        'masks = { ID = "hmac" }\n'
    )

    def shown(**environment: str) -> dict[str, Any]:
        arguments = ("doctor", "--dataset", "claims", "--format", "json")
        environment["RECON_DATABASE_URL"] = folders.database
        ended = recon(*arguments, cwd=cwd, **environment)
        return {each["check"]: each for each in json.loads(ended.stdout)}

    without, given = shown(), shown(RECON_MASK_KEY="0123456789abcdef")
    assert without["inbound"]["state"] == "ok"
    assert (without["masks"]["state"], given["masks"]["state"]) == ("fail", "ok")
    assert "RECON_MASK_KEY" in without["masks"]["remedy"]
    (cwd / "recon.toml").write_text("keyz = []")
    wrong = recon("doctor", cwd=cwd, RECON_DATABASE_URL=folders.database)
    assert (wrong.returncode, "keyz" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (0, CheckState.OK),
        (-59, CheckState.OK),
        (61, CheckState.WARN),
        (-601, CheckState.FAIL),
    ],
)
def test_a_clock_may_be_a_minute_off(seconds: int, state: CheckState) -> None:
    finding = _check_clock("clock", timedelta(seconds=seconds))
    assert finding.state is state


# --- encryption


def test_every_object_is_written_with_the_key_that_is_named(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(s3_client.KMS_KEY_VARIABLE, "alias/claims")
    (tmp_path / "a").write_bytes(bytes(9 << 20))
    with closing(s3_client.create_s3_client(moto)) as client:
        client.create_bucket(Bucket="encrypted")
        asked = calls_of(client)
        place = S3Prefix("encrypted", "out", client)
        place.put(tmp_path / "a", "large.csv")
        place.put_once(b"1", "manifest.json")
        head = client.head_object(Bucket="encrypted", Key="out/manifest.json")
    sent = dict(asked)
    for operation in ("CreateMultipartUpload", "PutObject"):
        assert sent[operation]["SSEKMSKeyId"] == "alias/claims"
        assert sent[operation]["ServerSideEncryption"] == "aws:kms"
    assert "SSEKMSKeyId" not in sent["UploadPart"]
    assert head["ServerSideEncryption"] == "aws:kms"


# --- retention


def aged(site: FolderSite) -> None:
    """Runs as if they had begun earlier; a trigger keeps that from being done."""
    log = "metrics.pipeline_run_log"
    with psycopg.connect(site.database) as connection:
        connection.execute(
            f"ALTER TABLE {log} DISABLE TRIGGER USER;"
            f"UPDATE {log} SET run_ts = run_ts - interval '91 days';"
            f"ALTER TABLE {log} ENABLE TRIGGER USER".encode()
        )


def test_what_is_old_is_reported_and_only_deleted_when_that_is_asked_for(
    folders: FolderSite,
) -> None:
    folders.deliver()
    folders.run()
    aged(folders)

    def purge(*more: str) -> list[dict[str, Any]]:
        ended = recon(
            *("purge", "--older-than", "90d", "--artifacts", "-f", "json", *more),
            cwd=Path(folders.inbound),
            RECON_DATABASE_URL=folders.database,
        )
        assert ended.returncode == 0, ended.stderr
        shown: list[dict[str, Any]] = json.loads(ended.stdout)
        return shown

    written = len(folders.names(folders.out))
    assert {each["what"]: each["would_delete"] for each in purge()} == {
        "rows with values": 4,
        "stage tables": 2,
        "artifacts": written,
    }
    assert len(folders.names(folders.out)) == written

    def draw_page() -> str:
        [run] = folders.rows("SELECT run_id FROM metrics.recon_summary")
        with open_connection(folders.database) as connection:
            loaded = history.load_result(connection, run["run_id"])
        return result_page.render_result(*loaded)

    deleted, file = "values were deleted (recon purge)", "/missing.csv"
    page = draw_page()
    assert (deleted in page, file in page) == (False, True)
    assert [each["deleted"] for each in purge("--delete")] == [written, 4, 2]
    page = draw_page()
    assert (deleted in page, file in page) == (True, False)
    assert folders.names(folders.out) == {}
    assert folders.rows("SELECT * FROM metrics.mismatch_detail_sample") == []
    assert folders.rows("SELECT * FROM metrics.mismatch_pattern") == []
    assert folders.rows("SELECT * FROM pg_tables WHERE schemaname = 'stage'") == []
    assert folders.rows("SELECT mismatched_rows FROM metrics.recon_summary") == [
        {"mismatched_rows": 2}
    ]
    assert purge("--delete") == []


def test_breaks_go_once_they_are_resolved_and_old(folders: FolderSite) -> None:
    def purged() -> list[tuple[str, str, int]]:
        found = purge.find_old_values(
            folders.database, purge.parse_age("90d"), None, artifacts=False
        )
        purge.delete_old_values(folders.database, found)
        return [each for each in purge.count_old_values(found) if "breaks" in each[0]]

    folders.deliver()
    folders.run()
    aged(folders)
    assert purged() == []
    folders.deliver(OLD, OLD)
    folders.run()
    states = "SELECT state, count(*)::int AS n FROM metrics.break GROUP BY 1 ORDER BY 1"
    found = folders.rows(states)
    assert found == [{"state": "resolved", "n": 3}, {"state": "unseen", "n": 1}]
    # Compared again without PAID, its break is open: it was not deleted.
    assert purged() == []
    folders.deliver(OLD, OLD)
    folders.run(options=Options(keys=("ID",), ignore=("PAID",)))
    assert folders.rows(states) == [
        {"state": "resolved", "n": 2},
        {"state": "unseen", "n": 2},
    ]
    folders.deliver(OLD, OLD)
    folders.run()
    aged(folders)
    assert purged() == [("breaks that have ended", "claims", 3)]
    assert folders.rows(states) == found[1:]
    folders.deliver(OLD, OLD + b"9,1,x\n", "20261125")
    folders.run(feed=Feed.FULL)
    assert purged() == []
    aged(folders)
    assert purged() == [("breaks that have ended", "claims", 1)]
    assert folders.rows(states) == [{"state": "new", "n": 1}]


def test_a_purge_keeps_the_stage_tables_of_a_run_that_came_meanwhile(
    folders: FolderSite,
) -> None:
    folders.deliver()
    folders.run()
    aged(folders)
    age = purge.parse_age("90d")
    found = purge.find_old_values(folders.database, age, None, artifacts=False)
    assert {*found.stage} == {"claims_old", "claims_new"}
    folders.deliver(OLD, OLD + b"9,1,x\n", "20261125")
    folders.run()
    rows = "SELECT * FROM stage.claims_new"
    published = folders.rows(rows)
    purge.delete_old_values(folders.database, found)
    assert folders.rows(rows) == published
    samples = folders.rows("SELECT run_id FROM metrics.mismatch_detail_sample")
    assert not {row["run_id"] for row in samples} & found.runs.keys()


def purge_stage(site: FolderSite) -> set[str]:
    """Purge what is old; the stage tables that are left."""
    age = purge.parse_age("90d")
    found = purge.find_old_values(site.database, age, None, artifacts=False)
    purge.delete_old_values(site.database, found)
    rows = site.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'stage'")
    return {row["tablename"] for row in rows}


def run_without_stage(site: FolderSite, day: str) -> None:
    """A later run that leaves the stage tables of an earlier one."""
    site.deliver(OLD, OLD + b"9,1,x\n", day)
    assert site.run(stage=False).record.status is RunStatus.SUCCEEDED


def test_stage_tables_are_as_old_as_the_run_that_loaded_them(
    folders: FolderSite,
) -> None:
    tables = {"claims_old", "claims_new"}
    folders.deliver()
    folders.run()
    run_without_stage(folders, "20261124")
    assert purge_stage(folders) == tables
    aged(folders)
    run_without_stage(folders, "20261125")
    folders.deliver(OLD, OLD, "20261126")
    folders.run(dataset="other")
    others = {"other_old", "other_new"}
    assert purge_stage(folders) == others
    # A run that loads them again, and one behind it that does not.
    folders.deliver(OLD, NEW, "20261127")
    folders.run()
    run_without_stage(folders, "20261128")
    assert purge_stage(folders) == tables | others


def test_stage_tables_without_a_record_are_as_old_as_the_last_run(
    folders: FolderSite,
) -> None:
    folders.deliver()
    folders.run()
    with psycopg.connect(folders.database) as connection:
        connection.execute("COMMENT ON TABLE stage.claims_old IS NULL")
        connection.execute("COMMENT ON TABLE stage.claims_new IS 'loaded by hand'")
    aged(folders)
    run_without_stage(folders, "20261124")
    assert purge_stage(folders) == {"claims_old", "claims_new"}
    aged(folders)
    assert purge_stage(folders) == set()


def test_a_purge_waits_for_a_run_that_publishes(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")
    folders.deliver()
    folders.run()
    aged(folders)
    age = purge.parse_age("90d")
    found = purge.find_old_values(folders.database, age, None, artifacts=False)
    with psycopg.connect(folders.database) as other:
        lock = name_publish_lock("claims")
        other.execute(ONE_AT_A_TIME.format("%s"), [lock])
        with pytest.raises(DatabaseUnavailable):
            purge.delete_old_values(folders.database, found)
    assert folders.rows("SELECT * FROM stage.claims_new")
    purge.delete_old_values(folders.database, found)
    assert folders.rows("SELECT * FROM pg_tables WHERE schemaname = 'stage'") == []


def test_what_is_young_or_not_finished_stays(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise SystemExit

    def purged(age: str, dataset: str | None = None) -> int:
        found = purge.find_old_values(
            folders.database, purge.parse_age(age), dataset, artifacts=False
        )
        return len(purge.count_old_values(found))

    folders.deliver()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "archive_inputs", crash)
        with pytest.raises(SystemExit):
            folders.run()
    aged(folders)
    assert folders.statuses() == ["RECONCILED"]
    assert purged("12w") == 0
    assert folders.run().record.status is RunStatus.NO_FILES
    assert (purged("14w"), purged("12w", "others"), purged("12w", "claims")) == (
        0,
        0,
        2,
    )


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "1y", "90 days"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid age"):
        purge.parse_age(text)


# --- the database that the environment names


@pytest.mark.parametrize(
    "environment",
    [
        {"RECON_DATABASE_URL": "host=/a", "RECON_DATABASE_IAM": "us-east-1"},
        {"RECON_DATABASE_URL": "host=/a", "RECON_DATABASE_SECRET": "arn:"},
        {"RECON_DATABASE_SECRET": " "},
        {"RECON_DATABASE_SECRET": "no-arn"},
        {"RECON_DATABASE_IAM": "us-east-1"},
    ],
)
def test_a_database_that_is_named_in_no_one_way_is_a_usage_error(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ended = recon("migrate", cwd=tmp_path, **environment)
    assert ended.returncode == 2
    assert "RECON_DATABASE_" in ended.stderr
    assert not (tmp_path / ".recon").exists()


def test_the_roles_are_printed_for_an_administrator(tmp_path: Path) -> None:
    ended = recon("roles", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ALTER SCHEMA metrics OWNER TO recon_owner;" in ended.stdout
