"""Runs with gates and suppressions: what they record, and how they end."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from jsonschema import validate
from support.program import recon
from support.suppressed_pairs import known

from recon_engine.config import Options
from recon_engine.pipeline import runner
from recon_engine.postgres.migrations import schema_folder
from recon_engine.postgres.run_log import RunLog
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.progress import SILENT


if TYPE_CHECKING:
    from uuid import UUID

    from support.sites import FolderSite

    from recon_engine.model import Suppression
    from recon_engine.pipeline.runner import Outcome


@pytest.fixture
def site(site: FolderSite) -> FolderSite:
    """The site of all tests, with a delivery."""
    site.deliver()
    return site


def judged(*gates: str, suppressions: tuple[Suppression, ...] = ()) -> Options:
    return Options(keys=("ID",), gates=gates, suppressions=suppressions)


def today() -> date:
    return datetime.now(UTC).date()


def test_a_failed_gate_is_a_recorded_result_with_exit_code_1(site: FolderSite) -> None:
    outcome = site.run(options=judged("missing<=0", "mismatch_rate<=70%"))
    assert (outcome.record.status, outcome.record.exit_code) == ("SUCCEEDED", 1)
    [log] = site.rows("SELECT * FROM metrics.pipeline_run_log")
    assert (log["status"], log["exit_code"], log["error_code"]) == (
        "SUCCEEDED",
        1,
        None,
    )
    assert log["config"]["options"]["gates"] == ["missing<=0", "mismatch_rate<=70%"]
    [summary] = site.rows("SELECT * FROM metrics.recon_summary")
    assert summary["verdict"] == "gates_failed"
    recorded = site.rows("SELECT * FROM metrics.gate_result ORDER BY ordinal")
    facts = [(row["gate"], row["passed"], row["value"]) for row in recorded]
    assert facts == [("missing<=0", False, 1), ("mismatch_rate<=70%", True, 2 / 3)]
    assert recorded[1]["says"] == "2 of 3 matched rows differ (66.7%), limit 70%"
    assert site.names(site.inbound) == {}


def test_gates_that_pass_make_an_exit_code_of_0(site: FolderSite) -> None:
    outcome = site.run(options=judged("missing<=1"))
    assert (outcome.record.status, outcome.record.exit_code) == ("SUCCEEDED", 0)
    [summary] = site.rows("SELECT * FROM metrics.recon_summary")
    assert summary["verdict"] == "differ"


def test_what_is_not_measured_is_recorded_without_a_value(site: FolderSite) -> None:
    site.run(options=judged("sum_delta(NOTE)<=1"))
    [row] = site.rows("SELECT * FROM metrics.gate_result")
    assert (row["passed"], row["value"]) == (False, None)
    assert row["says"].startswith("NOTE has no sum: it is masked, not all its values")


def test_suppressions_are_recorded_with_what_they_found(site: FolderSite) -> None:
    later = today() + timedelta(days=9)
    suppressions = (
        known("column", column="PAID", kind="number_format", until=later, max=5),
        known("missing", until=today() - timedelta(days=1)),
    )
    outcome = site.run(options=judged(suppressions=suppressions))
    assert outcome.record.exit_code == 1
    active, expired = site.rows("SELECT * FROM metrics.suppression ORDER BY ordinal")
    assert (active["state"], active["found"], active["most"]) == ("active", 1, 5)
    assert (active["column_name"], active["kind"]) == ("PAID", "number_format")
    assert (active["until_date"], active["owner"]) == (later, "claims")
    assert (expired["state"], expired["found"], expired["what"]) == (
        "expired",
        1,
        "missing",
    )


def test_a_run_that_failed_its_gates_keeps_that_through_a_recovery(
    site: FolderSite,
) -> None:
    die_before_the_archive(site, "missing<=0")
    again = site.run(options=judged("missing<=0"))
    assert (again.record.status, again.record.exit_code) == ("NO_FILES", 1)
    first, second = site.rows("SELECT * FROM metrics.pipeline_run_log ORDER BY run_ts")
    assert (first["status"], first["exit_code"]) == ("SUCCEEDED", 1)
    assert (second["status"], second["exit_code"]) == ("NO_FILES", 1)
    assert second["error_code"] is None
    assert f"finished run {first['run_id']}" in second["error_message"]
    # It is reported now: an empty inbound is no failure of its own.
    assert site.run(options=judged("missing<=0")).record.exit_code == 0


def die_before_the_archive(site: FolderSite, gate: str) -> UUID:
    """A run whose worker dies when its result is recorded; its id."""

    def crash(*_: object) -> None:
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "archive_inputs", crash)
        with pytest.raises(SystemExit):
            site.run(options=judged(gate))
    log = "SELECT run_id FROM metrics.pipeline_run_log WHERE status = 'RECONCILED'"
    [row] = site.rows(log)
    run_id: UUID = row["run_id"]
    return run_id


# The next delivery, and the status and the exit code of its own.
NEXT_DELIVERY = {
    "equal": (b"ID,PAID\n1,1\n", b"ID,PAID\n1,1\n", "SUCCEEDED", 0),
    "refused": (b'ID,PAID\n1,"1\n', b"ID,PAID\n1,1\n", "MALFORMED_INPUT", 3),
    "none": (b"", b"", "NO_FILES", 0),
}
# How the run ends whose worker dies, by what is asked of it and of the next one.
ENDS = {
    ("--gate=missing<=0",): "gates_failed, exit code 1",
    ("--gate=missing<=9",): "differ",
    ("--gate=missing<=9", "--fail-on-diff"): "differ, exit code 1",
}


@pytest.mark.parametrize("delivery", NEXT_DELIVERY)
@pytest.mark.parametrize("asked", ENDS)
def test_the_next_run_says_how_the_run_that_it_finishes_ended(
    site: FolderSite, tmp_path: Path, delivery: str, asked: tuple[str, ...]
) -> None:
    gate = asked[0].removeprefix("--gate=")
    dead = die_before_the_archive(site, gate)
    old, new, status, code = NEXT_DELIVERY[delivery]
    if old:
        site.deliver(old, new, "20261124")
    ended, told, errors = run(site, tmp_path, *places(site), *asked)
    code = code or int("exit code 1" in ENDS[asked])
    assert ended == code, errors
    says = f"finished run {dead} ({ENDS[asked]})"
    lines = (told + errors).splitlines()
    events = [json.loads(line) for line in lines if line[:1] == "{"]
    for_people = [line for line in lines if line[:1] != "{"]
    assert [says in line for line in for_people].count(True) == 1
    assert "".join(for_people).count("exit code 1") == ENDS[asked].count("exit code 1")
    [last_event] = [each for each in events if each["event"] == "run_ended"]
    assert [each["run_id"] for each in last_event["finished"]] == [str(dead)]
    assert (last_event["status"], last_event["exit_code"]) == (status, code)
    log = "SELECT * FROM metrics.pipeline_run_log ORDER BY run_ts DESC LIMIT 1"
    [last] = site.rows(log)
    assert (last["status"], last["exit_code"]) == (status, code)
    assert last["error_message"].endswith(says)
    # It has been told now.
    _, told, errors = run(site, tmp_path, *places(site), *asked)
    assert str(dead) not in told + errors


@pytest.mark.parametrize("delivery", NEXT_DELIVERY)
@pytest.mark.parametrize("form", ["--quiet", "--format=json"])
def test_a_quiet_run_and_a_document_say_it_too(
    site: FolderSite, tmp_path: Path, delivery: str, form: str
) -> None:
    dead = die_before_the_archive(site, "missing<=0")
    old, new, _, code = NEXT_DELIVERY[delivery]
    if old:
        site.deliver(old, new, "20261124")
    asked = (*places(site), "--gate=missing<=0", form)
    ended, told, errors = run(site, tmp_path, *asked)
    assert ended == (code or 1)
    says = f"finished run {dead} (gates_failed, exit code 1)"
    if form == "--quiet":
        assert (told, errors.count(says), errors.count("exit code 1")) == ("", 1, 1)
    else:
        document = json.loads(told)["run"]
        assert (says in document["message"], document["exit_code"]) == (True, ended)


FAILING = {each: ends for each, ends in ENDS.items() if "exit code 1" in ends}


@pytest.mark.parametrize("asked", FAILING)
def test_a_run_that_fails_too_names_both(
    site: FolderSite, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    dead = die_before_the_archive(site, asked[0].removeprefix("--gate="))
    site.deliver(day="20261124")
    code, told, _ = run(site, tmp_path, *places(site), *asked)
    [last] = [line for line in told.splitlines() if "SUCCEEDED" in line]
    assert code == 1
    cause = "the files differ" if "--fail-on-diff" in asked else "a gate failed"
    assert last.endswith(
        f" · finished run {dead} ({FAILING[asked]}) · {cause}: exit code 1"
    )


@pytest.mark.parametrize("asked", FAILING)
@pytest.mark.parametrize("form", [(), ("--quiet",)])
def test_a_recorded_result_that_fails_too_is_named(
    site: FolderSite, tmp_path: Path, asked: tuple[str, ...], form: tuple[str, ...]
) -> None:
    gate = asked[0].removeprefix("--gate=")
    assert site.run(options=judged(gate)).record.status == "SUCCEEDED"
    site.deliver(b"ID,PAID\n1,1\n2,2\n", b"ID,PAID\n1,1\n", "20261124")
    dead = die_before_the_archive(site, gate)
    site.deliver()
    code, told, errors = run(site, tmp_path, *places(site), *asked, *form)
    lines = (told + errors).splitlines()
    [last] = [line for line in lines if "run ended as ALREADY_DONE" in line]
    assert code == 1
    assert last.endswith(
        f"finished run {dead} ({FAILING[asked]}) · the recorded result failed:"
        " exit code 1"
    )


@pytest.mark.parametrize("step", ["_find_pair", "open_input"])
def test_an_interrupt_from_another_thread_names_the_finished_run(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    dead = die_before_the_archive(site, "missing<=0")
    site.deliver(day="20261124")
    reached, released = Event(), Event()
    real = getattr(runner, step)

    def hang(*args: Any, **named: Any) -> Any:
        reached.set()
        assert released.wait(60)
        return real(*args, **named)

    monkeypatch.setattr(runner, step, hang)
    stop: CancellationToken[Outcome] = CancellationToken()
    with ThreadPoolExecutor(1) as pool:
        config = site.config(options=judged("missing<=0"))
        worker = pool.submit(runner.run_pipeline, config, SILENT, stop)
        try:
            assert reached.wait(60)
            stop.request(signal.SIGTERM)
            outcome = stop.cancel_now()
            log = "SELECT * FROM metrics.pipeline_run_log ORDER BY run_ts DESC LIMIT 1"
            [last] = site.rows(log)
        finally:
            released.set()
        worker.result()
    assert outcome is not None
    record = outcome.record
    assert (record.status, record.exit_code) == ("INTERRUPTED", 143)
    assert [each.run_id for each in record.recovered] == [dead]
    assert last["run_id"] == record.run_id
    assert last["error_message"] == record.message
    says = f"stopped by SIGTERM; finished run {dead} (gates_failed, exit code 1)"
    assert record.message == says


def places(site: FolderSite) -> list[str]:
    named = ("inbound", "processed", "out")
    found = (f"--{name}-s3={getattr(site, name)}" for name in named)
    return [*found, "--keys=ID"]


def test_a_pair_that_failed_its_gates_fails_again(site: FolderSite) -> None:
    gated = judged("missing<=0")
    assert site.run(options=gated).record.exit_code == 1
    site.deliver()
    again = site.run(options=gated)
    assert (again.record.status, again.record.exit_code) == ("ALREADY_DONE", 1)
    [log] = site.rows(
        "SELECT * FROM metrics.pipeline_run_log WHERE status = 'ALREADY_DONE'"
    )
    assert (log["exit_code"], log["error_code"]) == (1, None)


@pytest.mark.parametrize("until", [None, 1, -1])
def test_a_result_that_fails_by_its_differences_fails_again(
    until: int | None, site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without suppressions, with those that accept all, and with expired ones."""
    last = today() + timedelta(days=until or 0)
    everything = (
        known("missing", until=last),
        known("extra", until=last),
        known("column", column="PAID", until=last),
        known("column", column="NOTE", until=last),
    )
    asked = {
        "options": judged(suppressions=everything if until else ()),
        "fail_on_diff": True,
    }
    code = 0 if until == 1 else 1

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runner, "archive_inputs", crash)
        with pytest.raises(SystemExit):
            site.run(**asked)
    finished = site.run(**asked)
    assert (finished.record.status, finished.record.exit_code) == ("NO_FILES", code)
    site.deliver()
    again = site.run(**asked)
    assert (again.record.status, again.record.exit_code) == ("ALREADY_DONE", code)
    site.deliver()
    last_run = site.run(**asked, recompute=True)
    assert (last_run.record.status, last_run.record.exit_code) == ("SUCCEEDED", code)
    log = site.rows("SELECT exit_code FROM metrics.pipeline_run_log ORDER BY run_ts")
    assert [row["exit_code"] for row in log] == [code] * 4


def test_who_loses_a_race_answers_for_the_result_of_the_winner(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = judged("missing<=0")
    assert site.run(options=gated).record.exit_code == 1
    site.deliver()
    with monkeypatch.context() as patch:
        # As if the other worker had published after this one had looked.
        patch.setattr(RunLog, "results_of", lambda *_: [])
        late = site.run(options=gated)
    assert (late.record.status, late.record.exit_code) == ("ALREADY_DONE", 1)
    assert len(site.rows("SELECT * FROM metrics.recon_summary")) == 1


def test_other_gates_are_another_run(site: FolderSite) -> None:
    assert site.run(options=judged("missing<=0")).record.exit_code == 1
    site.deliver()
    assert site.run(options=judged("missing<=1")).record.exit_code == 0


def test_what_was_judged_is_history(site: FolderSite) -> None:
    site.run(options=judged("missing<=0", suppressions=(known("missing"),)))
    for table in ("gate_result", "suppression"):
        with (
            psycopg.connect(site.database) as connection,
            pytest.raises(psycopg.errors.RestrictViolation),
        ):
            connection.execute(f"DELETE FROM metrics.{table}".encode())


def run(site: FolderSite, folder: Path, *arguments: str) -> tuple[int, str, str]:
    ended = recon(
        "run", "--dataset", "claims", *arguments, cwd=folder,
        RECON_DATABASE_URL=site.database,
    )  # fmt: skip
    return ended.returncode, ended.stdout, ended.stderr


def test_a_run_takes_everything_from_the_file(site: FolderSite, tmp_path: Path) -> None:
    (tmp_path / "recon.toml").write_text(
        f"""\
        keys = ["ID"]
        [dataset.claims]
        inbound_s3 = "{site.inbound}"
        processed_s3 = "{site.processed}"
        out_s3 = "{site.out}"
        gates = ["missing<=0"]
        [[dataset.claims.suppress]]
        what = "extra"
        reason = "late arrivals"
        owner = "claims"
        until = 9999-12-31
        """
    )
    code, text, errors = run(site, tmp_path, "--dry-run")
    assert (code, "✗ FAIL  1 of 4 old rows is missing, limit 0" in text) == (1, True)
    code, text, errors = run(site, tmp_path, "--format", "json", "-o", "r.xml")
    assert code == 1, errors
    document = json.loads(text)
    validate(document, json.loads((schema_folder() / "result.schema.json").read_text()))
    assert document["verdict"] == "gates_failed"
    assert document["run"]["exit_code"] == 1
    assert document["suppressed"][0]["count"] == 1
    assert b'failures="1"' in (tmp_path / "r.xml").read_bytes()


def test_a_failed_gate_and_a_complete_run_are_no_contradiction(
    site: FolderSite, tmp_path: Path
) -> None:
    """FAIL is the verdict on the files, and the last line is the end of the run."""
    asked = (*places(site), "--gate", "missing<=0")
    code, text, _ = run(site, tmp_path, *asked)
    [last] = [line for line in text.splitlines() if "SUCCEEDED" in line]
    [run_id] = site.rows("SELECT run_id FROM metrics.pipeline_run_log")[0].values()
    assert (code, text.splitlines()[0].split("  ")[0]) == (1, "✗ FAIL")
    assert last == (
        "run complete (SUCCEEDED): result recorded, inputs archived"
        f" · run {run_id} · a gate failed: exit code 1"
    )
    code, text, _ = run(site, tmp_path, *asked)
    assert (code, text.splitlines()[-1].split(" · ")[0]) == (0, "run ended as NO_FILES")


@pytest.mark.parametrize(
    ("gates", "until", "cause"),
    [
        ("", "2026-01-01", "a suppression"),
        ('"rows_old<=1"', "9999-12-31", "a gate"),
        ('"rows_old<=1"', "2026-01-01", "a gate and a suppression"),
    ],
)
def test_the_end_of_a_run_names_what_failed(
    site: FolderSite, tmp_path: Path, gates: str, until: str, cause: str
) -> None:
    (tmp_path / "recon.toml").write_text(
        f"""\
        keys = "ID"
        gates = [{gates}]
        inbound_s3 = "{site.inbound}"
        processed_s3 = "{site.processed}"
        out_s3 = "{site.out}"
        [[suppress]]
        what = "missing"
        reason = "r"
        owner = "o"
        until = {until}
        """
    )
    delivered = {path: path.read_bytes() for path in Path(site.inbound).iterdir()}
    code, text, _ = run(site, tmp_path)
    [last] = [line for line in text.splitlines() if "SUCCEEDED" in line]
    assert (code, last.rpartition(" · ")[2]) == (1, f"{cause} failed: exit code 1")
    for path, content in delivered.items():
        path.write_bytes(content)
    code, text, _ = run(site, tmp_path)
    assert "ALREADY_DONE" in text
    assert (code, text.count("the recorded result failed: exit code 1")) == (1, 1)


def test_fail_on_diff_minds_no_gate_but_what_is_suppressed(
    site: FolderSite, tmp_path: Path
) -> None:
    accepted = "".join(
        f"""
        [[suppress]]
        what = "{what}"
        {column}
        reason = "r"
        owner = "o"
        until = 9999-12-31
        """
        for what, column in (
            ("missing", ""),
            ("extra", ""),
            ("column", 'column = "PAID"'),
            ("column", 'column = "NOTE"'),
        )
    )
    places = f"""
        keys = "ID"
        fail_on_diff = true
        gates = ["missing<=9"]
        inbound_s3 = "{site.inbound}"
        processed_s3 = "{site.processed}"
        out_s3 = "{site.out}"
        """
    (tmp_path / "recon.toml").write_text(places)
    assert run(site, tmp_path, "--dry-run")[0] == 1
    (tmp_path / "recon.toml").write_text(places + accepted)
    assert run(site, tmp_path, "--dry-run")[0] == 0
