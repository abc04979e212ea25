"""Failpoints, and the short form of the crash matrix and of the races."""

from __future__ import annotations

import ast
import copy
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import crash_matrix
import pytest
import races
from recon_cli.worker import GRACE_SECONDS
from support import stand as test_stand
from support.sites import FolderSite

from recon_engine.compare import local_engine
from recon_engine.errors import ConfigError
from recon_engine.pipeline import runner
from recon_engine.runtime import failpoints
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.failpoints import NAMES, Failpoint


if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stand import Case, Stand

    from recon_engine.pipeline.runner import Outcome


ROOT = Path(__file__).parents[2]
# Prime to the actions and to the number of crashes, so that it meets all of them.
STRIDE = 29


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with test_stand.opened(runs_here=True) as opened:
        yield opened


@pytest.fixture
def case(stand: Stand) -> Iterator[Case]:
    with stand.case() as fresh:
        fresh.deliver("today")
        yield fresh


@pytest.fixture
def folders(tmp_path: Path, database: str) -> FolderSite:
    (tmp_path / "inbound").mkdir()
    return FolderSite(str(tmp_path), database)


class Recorder(Failpoint):
    """Notes what is passed, and acts as another failpoint would."""

    def __init__(self, text: str = "report:raise") -> None:
        name, _, rest = text.partition(":")
        action, _, hit = rest.partition(":")
        super().__init__(name, action, int(hit or 1))
        self.passed: list[str] = []

    def reached(self, name: str) -> None:
        self.passed.append(name)
        super().reached(name)


def named_in_the_code() -> Counter[str]:
    names: Counter[str] = Counter()
    for folder in ("recon_engine", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(ast.Name("failpoint"), [ast.Constant(str(name))]):
                        names[name] += 1
                    case ast.Call(ast.Name("failpoint")):
                        pytest.fail(f"{path.name}:{node.lineno}: name it by a literal")
    return names


def test_the_list_of_failpoints_is_that_of_the_code() -> None:
    assert set(named_in_the_code()) == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


# Calls that change something outside of the process, and those of them whose failpoint
# is in the one function that calls theirs.
EFFECTS = {
    "put", "put_once", "archive", "remove", "fetch", "borrow", "commit", "adbc_ingest"
}  # fmt: skip
CHANGES = re.compile(
    "(INSERT|UPDATE|CREATE|DROP|ALTER|ABANDON|CLAIM|INTERRUPT|RECONCILED)\\b"
)
GUARDED_BY_CALLER = {
    "ingest", "_try_commit", "_insert", "_insert_rows", "_ingest_rows",
    "_insert_as_text", "publish_table", "_mark_reconciled", "_claim_files",
    "_insert_parts",
}  # fmt: skip


def effects(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        match node:
            case ast.Call(ast.Attribute(_, name)) if name in EFFECTS:
                yield node
            case ast.Call(ast.Attribute(_, "execute" | "executemany"), [first, *_]):
                if CHANGES.search(ast.unparse(first)):
                    yield node


@pytest.mark.parametrize(
    "module",
    [
        "pipeline/archive",
        "pipeline/runner",
        "postgres/publish",
        "postgres/run_log",
        "postgres/stage",
    ],
)
def test_before_every_side_effect_there_is_a_failpoint(module: str) -> None:
    tree = ast.parse((ROOT / "recon_engine" / f"{module}.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = 0
    for function in functions:
        failpoints = [
            node.lineno
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoint"
        ]
        for effect in effects(function):
            found += 1
            guarded = any(line < effect.lineno for line in failpoints)
            assert guarded or function.name in GUARDED_BY_CALLER, ast.unparse(effect)
    assert found


def test_the_matrix_knows_what_a_clean_run_passes(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(failpoints, "armed", recorder)
    folders.deliver()
    folders.run()
    expected = Counter(place.partition(":")[0] for place in crash_matrix.PASSED)
    assert Counter([*recorder.passed, "report"]) == expected


def test_every_failpoint_is_on_some_way(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = {"report"}  # the command line's; the matrix goes there

    def run(
        text: str, day: str = "", stop: CancellationToken[Outcome] | None = None
    ) -> None:
        recorder = Recorder(text)
        monkeypatch.setattr(failpoints, "armed", recorder)
        if day:
            folders.deliver(day=day)
        try:
            runner.run_pipeline(folders.config(), stop=stop)
        finally:
            passed.update(recorder.passed)

    def die(*_: object) -> None:
        raise SystemExit

    run("archive-copy:raise", "1")
    run("report:raise")  # resumes
    with monkeypatch.context() as patch:
        patch.setattr(runner, "publish_run", die)
        with pytest.raises(SystemExit):
            run("report:raise", "2")
    run("artifact:raise")  # sweeps, discards
    stop: CancellationToken[Outcome] = CancellationToken()
    with monkeypatch.context() as patch:
        patch.setattr(
            local_engine, "compare_tables", lambda *_, **__: stop.cancel_now()
        )
        stop.request(signal.SIGTERM)
        stop._passed = True  # a worker that does not answer
        run("report:raise", stop=stop)
    assert passed == set(NAMES)


def test_failpoints_are_off_unless_asked_for() -> None:
    assert failpoints.armed is None


@pytest.mark.parametrize(
    "text", ["publish", "publish-mark:stop", "x:kill", "note:kill:"]
)
def test_a_failpoint_that_does_not_exist_is_refused(text: str) -> None:
    if text == "note:kill:":
        assert Failpoint.parse(text).name == "note"
    else:
        with pytest.raises(ConfigError, match="NAME:ACTION"):
            Failpoint.parse(text)


def test_a_crash_anywhere_loses_nothing_and_does_nothing_twice(stand: Stand) -> None:
    some = list(islice(crash_matrix.plans(), 0, None, STRIDE))
    outcomes = [crash_matrix.tried(stand, plan) for plan in some]
    assert [str(o.plan) for o in outcomes if o.violation] == []
    assert {plan.crashes[0][1] for plan in some} == set(failpoints.ACTIONS)
    assert {len(plan.crashes) for plan in some} == {1, 2}


def test_the_whole_matrix_is_large_enough_and_has_every_failpoint() -> None:
    every = list(crash_matrix.plans())
    assert len({str(plan) for plan in every}) == len(every)
    assert sum(len(plan.crashes) + 1 for plan in every) >= 500
    tried = {place.partition(":")[0] for plan in every for place, _ in plan.crashes}
    # Undoing an attempt is no step of a clean run: term and hang lead there.
    assert tried == set(NAMES) - {"discard", "interrupt"}


def test_a_process_that_is_killed_between_two_parts_loses_none(stand: Stand) -> None:
    places = ["archive-copy:2", "archive-remove:1", "archive-remove:4"]
    every = list(crash_matrix.part_plans())
    some = [plan for plan in every if plan.crashes[0][0] in places][::2]
    assert [plan.crashes[0][1] for plan in some] == ["kill"] * len(places)
    outcomes = [crash_matrix.tried(stand, plan) for plan in some]
    assert [str(o.plan) for o in outcomes if o.violation] == []
    assert all(outcome.reached == [True] for outcome in outcomes)


def test_the_matrix_kills_at_every_place_of_the_archive_of_parts(
    folders: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = test_stand.PARTS
    recorder = Recorder()
    monkeypatch.setattr(failpoints, "armed", recorder)
    for name, data in delivery.files("today").items():
        folders.put(name, data)
    outcome = folders.run(old_parts=2, new_parts=3, done_files=(test_stand.DONE,))
    assert outcome.result is not None
    assert (outcome.result.old.rows, outcome.result.new.rows) == (4, 4)
    passed = Counter(name for name in recorder.passed if name.startswith("archive"))
    planned = {plan.crashes[0] for plan in crash_matrix.part_plans()}
    assert planned == {
        (f"{name}:{at}", "kill")
        for name, count in passed.items()
        for at in range(1, 1 + count)
    }
    assert len(planned) == 2 * len(delivery.files("today")) == 12


def test_outcomes_of_several_processes_are_in_the_order_of_their_plans() -> None:
    every = [*islice(crash_matrix.plans(), 7), *crash_matrix.part_plans()]
    # As a process returns them: copies, also of the delivery of a plan.
    shares = copy.deepcopy(
        [[crash_matrix.Outcome(plan) for plan in every[at::3]] for at in range(3)]
    )
    outcomes = crash_matrix.put_in_order(shares)
    assert [each.plan for each in outcomes] == every
    assert [str(each.plan) for each in outcomes] == list(map(str, every))


def test_a_page_keeps_the_section_of_a_delivery_that_was_not_played() -> None:
    both = crash_matrix.write_page("", {"pair": "one\n", "parts": "two\n"})
    after = crash_matrix.write_page(both, {"parts": "three\n"})
    assert after == both.replace("two", "three")
    page = (ROOT / "docs" / "crash-matrix.md").read_text()
    assert crash_matrix.write_page(page, {}) == page


def test_of_workers_that_race_one_has_the_result(stand: Stand) -> None:
    for race in islice(races.races(seed=1), 0, 6, 2):
        assert races.run(stand, race).violation is None, str(race)


def test_a_pair_that_succeeded_is_left_alone_by_the_next_run(case: Case) -> None:
    assert case.run().status == "SUCCEEDED"
    case.deliver("today")
    again = case.run()
    assert (again.code, again.status) == (0, "ALREADY_DONE")
    assert case.run().status == "NO_FILES"
    case.check_end()


def test_a_second_signal_cuts_the_grace_short_and_corrupts_nothing(case: Case) -> None:
    process = case.start("archive-remove:hang:2")
    process.wait_until_it_says('"failpoint"')
    began = time.monotonic()
    while process.returncode is None:  # equal signals that come together count once
        process.terminate()
        time.sleep(0.1)
    assert time.monotonic() - began < GRACE_SECONDS
    ended = case.ended(process)
    assert ended.code == 143
    error = json.loads(ended.stdout)
    assert error["why"].startswith("the result may be recorded")
    assert error["help"].startswith("run again: that finishes a recorded result")
    [log] = case.log()
    assert log["status"] == "RECONCILED"
    case.check()
    case.until_idle()
    case.check_end()


def test_the_embedded_server_is_stopped_when_a_worker_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = FolderSite(str(tmp_path), "")
    site.deliver()
    monkeypatch.setenv("RECON_FAILPOINT", "stage-commit:hang")
    ended = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "--inbound-s3", site.inbound),
            *("--processed-s3", site.processed, "--out-s3", site.out),
            *("--dataset", "claims", "--keys", "ID"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 143
    assert "error[INTERRUPTED]: stopped by SIGTERM" in ended.stderr
    assert "Traceback" not in ended.stderr
    [home] = (tmp_path / ".recon").resolve().glob("cluster-??")
    assert not (home.resolve() / "postmaster.pid").exists()
    assert len(site.names(site.inbound)) == 2
