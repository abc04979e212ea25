"""What a command shows besides its result: progress, the log, colors, the summary."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from recon_cli.logs import LoggedSteps, ProgressLines, SeveralProgress
from support.program import recon
from support.screen import on_terminal


if TYPE_CHECKING:
    from pathlib import Path


DIFF = ("diff", "old.csv", "new.csv", "-k", "ID")


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "old.csv").write_text("ID,PAID\n1,10.00\n2,20.00\n3,30.00\n")
    (tmp_path / "new.csv").write_text("ID,PAID\n1,10\n2,20.00\n4,SECRET-CELL\n")
    return tmp_path


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_quiet_says_why_the_exit_code_is_not_0_and_nothing_else(
    pair: Path, form: str
) -> None:
    (pair / "recon.toml").write_text("ignore = []\n")
    ended = recon(*DIFF, "-q", "-f", form, "-o", "r.json", cwd=pair)
    said = "DIFFER: 1 of 2 matched rows differs, 1 missing, 1 extra\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)
    assert json.loads((pair / "r.json").read_text())["counts"]["missing"] == 1
    same = recon("diff", "old.csv", "old.csv", "-k", "ID", cwd=pair, RECON_QUIET="1")
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    for command, code, said in (
        (("keys", "old.csv", "new.csv"), 0, ""),
        (("explain", *DIFF[1:], "1"), 1, "the rows of the key differ\n"),
        (("explain", *DIFF[1:], "2"), 0, ""),
        (
            ("explain", *DIFF[1:], "2", "--where", "PAID = '10'"),
            1,
            "no row of the key is compared: left out\n",
        ),
        (
            ("explain", *DIFF[1:], "4", "--where", "PAID > 1", "--rule=PAID=decimal"),
            1,
            "no row of the key is compared: --where cannot read PAID\n",
        ),
    ):
        ended = recon(*command, "-q", cwd=pair)
        assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", said)


def test_quiet_keeps_errors_on_stderr(pair: Path) -> None:
    ended = recon(
        "diff", "old.csv", "gone.csv", "-k", "ID", "-q", "-f", "json", cwd=pair
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error[USAGE_ERROR]: there is no such file\n")


def test_verbose_logs_each_step(pair: Path) -> None:
    ended = recon(*DIFF, "-v", cwd=pair)
    ends = [e["step"] for e in events(ended.stderr) if e["event"] == "step_ended"]
    assert {"read old", "read new", "compare"} <= {*ends}
    ended = recon(*DIFF, "-v", "--log-format", "text", cwd=pair)
    first = ended.stderr.splitlines()[0]
    assert re.fullmatch(r"20\S+Z info: step_started step=read (old|new)", first)
    assert "SECRET" not in ended.stderr


def test_the_log_goes_to_a_file_which_is_appended_to(pair: Path) -> None:
    for _ in range(2):
        ended = recon(*DIFF, "--log-file", "recon.log", cwd=pair)
        assert ended.stderr == ""
    logged = events((pair / "recon.log").read_text())
    assert [e["step"] for e in logged if e["event"] == "step_ended"].count(
        "compare"
    ) == 2
    refused = recon(*DIFF, "--log-file", "no/such/file", cwd=pair)
    assert refused.returncode == 2
    assert "the log file cannot be opened\n  --> no/such/file" in refused.stderr


def test_colors_are_left_out_on_request(pair: Path) -> None:
    color = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
    assert color.search(on_terminal(*DIFF, columns=80, cwd=pair))
    assert not color.search(on_terminal(*DIFF, "--no-color", columns=80, cwd=pair))


def test_progress_elsewhere_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (
        ProgressLines(every=0.01) as lines,
        lines.step("read old", total=4 << 20, unit="bytes") as advance,
    ):
        advance(1 << 20)
        shown = ""
        # A slow machine shows a line of 0% before the step advances.
        line = re.compile(r"^read old: 25%, 1 of 4 MiB, [0-9]+ s$", re.MULTILINE)
        deadline = time.monotonic() + 10
        while not line.search(shown) and time.monotonic() < deadline:
            shown += capsys.readouterr().err
    assert line.search(shown)


def test_a_step_can_be_watched_by_several(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="recon")
    with LoggedSteps() as first, LoggedSteps() as second:
        both = SeveralProgress([first, second])
        both.bind(run_id="r")
        with both.step("read", unit="bytes") as advance:
            advance(3)
    ended = [vars(r) for r in caplog.records if r.getMessage() == "step_ended"]
    assert [(e["run_id"], e["bytes"]) for e in ended] == [("r", 3)] * 2


def test_a_short_command_with_progress_prints_no_line(pair: Path) -> None:
    assert recon(*DIFF, "--progress", cwd=pair).stderr == ""


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    inbound = tmp_path / "in"
    inbound.mkdir()
    (inbound / "c.csv").write_text("ID,PAID\n1,10.00\n2,20.00\n3,30.00\n")
    (inbound / "c_NEWSYSTEM.csv").write_text("ID,PAID\n1,10\n2,20.00\n4,SECRET-CELL\n")
    (tmp_path / "recon.toml").write_text(
        "inbound_s3 = 'in'\nprocessed_s3 = 'done'\nout_s3 = 'out'\n"
        "[dataset.claims]\nkeys = 'ID'\ngates = ['missing<=0']\n"
    )
    return tmp_path


def test_a_run_needs_no_option_and_ends_with_a_summary(
    delivered: Path, database: str
) -> None:
    ended = recon("run", cwd=delivered, RECON_DATABASE_URL=database)
    assert ended.returncode == 1, ended.stderr
    _, _, summary = ended.stdout.partition("\nrun complete (SUCCEEDED): ")
    facts = dict(re.findall(r"^(\w+): +(.+)$", summary, re.MULTILINE))
    assert list(facts) == [
        *("time", "verdict", "breaks", "state", "artifacts", "report", "page", "next")
    ]
    total, _, shares = facts["time"].partition(" s of the command: ")
    assert float(total) > 0
    named = dict(re.findall(r"(\w+) ([0-9]+|<1)%", shares))
    steps = ("start", "fetch", "read", "compare", "write", "stage", "publish",
             "archive", "other")  # fmt: skip
    assert [name for name in steps if name in named] == [*named]
    assert {"compare", "publish", "other"} <= named.keys()
    assert 90 <= sum(int(share) for share in named.values() if share != "<1") <= 100
    assert facts["verdict"] == "FAIL: 1 of 3 old rows is missing, limit 0"
    command = facts["next"].split()[1:]
    assert command == ["breaks", "--dataset", "claims", "--state", "new"]
    shown = recon(*command, cwd=delivered, RECON_DATABASE_URL=database)
    assert shown.stdout.count("\n") == 4


def test_a_run_names_the_settings_that_changed(delivered: Path, database: str) -> None:
    recon("run", cwd=delivered, RECON_DATABASE_URL=database)
    for name in ("c.csv", "c_NEWSYSTEM.csv"):
        (delivered / "in" / name).write_text("ID,PAID\n7,SECRET-CELL\n")
    given = ("run", "--ignore", "NOPE", "--on-schema-drift", "compare")
    refused = recon(*given, cwd=delivered, RECON_DATABASE_URL=database)
    assert "settings:" not in refused.stdout
    given = ("run", "--ignore", "PAID", "--detail-limit", "7")
    ended = recon(*given, cwd=delivered, RECON_DATABASE_URL=database)
    assert (
        "\nsettings:  changed since the last result: ignore, detail_limit\n"
        in ended.stdout
    )


def test_the_log_of_a_run_ends_with_how_it_ended(
    delivered: Path, database: str
) -> None:
    file = delivered / "recon.toml"
    gates = "['missing<=0', 'sum_delta(PAID)<=0']"
    file.write_text(file.read_text().replace("['missing<=0']", gates))
    ended = recon("run", cwd=delivered, RECON_DATABASE_URL=database)
    first, *_, last = events(ended.stderr)
    assert (first["event"], first["file"], first["dataset"], first["key"]) == (
        "settings_read", "recon.toml", "claims", "ID",
    )  # fmt: skip
    assert last["event"] == "run_ended"
    assert type(last["exit_code"]) is int
    assert (last["status"], last["exit_code"], last["verdict"]) == (
        "SUCCEEDED", 1, "gates_failed",
    )  # fmt: skip
    # A count or a rate is a fact of the run; a sum is made of values of cells.
    assert last["gates"] == [
        {"gate": "missing<=0", "passed": False, "value": 1},
        {"gate": "sum_delta(PAID)<=0", "passed": False},
    ]
    assert (last["counts"]["old"], last["counts"]["missing"]) == (3, 1)
    assert last["breaks"]["new"] == 3
    assert 0 < sum(last["steps"].values()) <= last["seconds"]
    assert "SECRET" not in ended.stderr
    again = recon("run", cwd=delivered, RECON_DATABASE_URL=database)
    last = events(again.stderr)[-1]
    assert (last["event"], last["status"], last["exit_code"]) == (
        "run_ended", "NO_FILES", 0,
    )  # fmt: skip


def test_a_run_that_fails_logs_its_end_too(delivered: Path, database: str) -> None:
    (delivered / "in" / "c.csv").write_text("ID,PAID\n1\n")
    ended = recon(
        "run", "--log-file", "r.log", cwd=delivered, RECON_DATABASE_URL=database
    )
    last = events((delivered / "r.log").read_text())[-1]
    assert (last["event"], last["status"], last["exit_code"]) == (
        "run_ended", "MALFORMED_INPUT", 3,
    )  # fmt: skip
    assert ended.stderr.startswith("error[MALFORMED_INPUT]: ")


def test_a_run_without_a_dataset_says_which_there_are(delivered: Path) -> None:
    with (delivered / "recon.toml").open("a") as file:
        file.write("[dataset.members]\n")
    ended = recon("run", cwd=delivered)
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "error[USAGE_ERROR]: no dataset is named\n"
        "  --> recon.toml\n"
        "  help: add --dataset NAME, one of: claims, members\n"
    )
