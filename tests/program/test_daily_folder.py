"""A folder that is run every day: its database, quiet runs, and the doctor."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from support.program import recon


if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

OLD = "ID,PAID\n1,10.00\n2,20.00\n3,30.00\n"
NEW = "ID,PAID\n1,10\n2,20.00\n4,40.00\n"
CONFIG = """\
[dataset.claims]
keys = ["ID"]
inbound_s3 = "inbound"
processed_s3 = "processed"
out_s3 = "out"
gates = ["missing<=0", "extra<=0"]
fail_on_no_files = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recon.toml").write_text(CONFIG)
    (tmp_path / "inbound").mkdir()
    return tmp_path


def deliver(folder: Path, day: str = "20261121", new: str = NEW) -> None:
    (folder / "inbound" / f"claims_{day}.csv").write_text(OLD)
    (folder / "inbound" / f"claims_{day}_NEWSYSTEM.csv").write_text(new)


def absolute(folder: Path) -> Path:
    """A configuration that works from any folder."""
    text = CONFIG
    for name in ("inbound", "processed", "out"):
        text = text.replace(f'= "{name}"', f'= "{folder / name}"')
    path = folder / "recon.toml"
    path.write_text(text)
    return path


def events(said: CompletedProcess[str]) -> list[str]:
    lines = said.stderr.splitlines()
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


def test_a_configuration_keeps_its_history_from_any_folder(
    folder: Path, tmp_path: Path
) -> None:
    config = absolute(folder)
    deliver(folder, new=OLD)
    first = recon("run", cwd=folder)
    assert first.returncode == 0, first.stderr
    created = f"database:  created {folder}/.recon: no history before this run"
    assert created in first.stdout
    assert "database_created" in events(first)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    deliver(folder, day="20261122")
    second = recon("run", "--config", config, cwd=elsewhere)
    assert second.returncode == 1, second.stderr
    assert "created" not in second.stdout
    assert not (elsewhere / ".recon").exists()
    listed = recon("history", "--config", config, "-f", "json", cwd=elsewhere)
    assert [each["verdict"] for each in json.loads(listed.stdout)] == ["fail", "agree"]
    # So do the commands that the run names, and those that read no settings.
    named = f" --config {config}"
    printed = re.findall(
        r"^(?:page|next): +.*?\brecon (.*)", second.stdout, re.MULTILINE
    )
    assert [named in line for line in printed] == [True, True], second.stdout
    page, following = (line.split(" writes it")[0].split() for line in printed)
    for command in (
        page,
        following,
        ["history", "--dataset", "claims", "--config", str(config)],
        ["sql", "SELECT 1 FROM metrics.pipeline_run_log", "--config", str(config)],
        ["purge", "--older-than", "1d", "--config", str(config)],
    ):
        ended = recon(*command, cwd=elsewhere)
        assert ended.returncode == 0, ended.stderr
    assert not (elsewhere / ".recon").exists()
    variables = {"RECON_CONFIG": str(config), "RECON_DATASET": "claims"}
    listed = recon("breaks", "-f", "table", cwd=elsewhere, **variables)
    assert f" --config {config} --dataset claims" in listed.stderr
    # A file that sets nothing for the dataset is not named.
    config.write_text("[dataset.another]\n")
    wanted = ("breaks", "--dataset", "claims", "-f", "table", "--config", str(config))
    listed = recon(*wanted, cwd=elsewhere)
    assert re.search(r"next: recon explain (?!.*--config)", listed.stderr)
    # A database of the working directory that exists is not left behind silently.
    shutil.copytree(folder / ".recon", elsewhere / ".recon")
    both = recon("history", "--config", config, "-f", "json", cwd=elsewhere)
    assert "two_databases" in events(both)
    assert str(folder / ".recon") in both.stderr


def test_a_run_that_cannot_begin_creates_no_database(folder: Path) -> None:
    (folder / "inbound").rmdir()
    ended = recon("run", cwd=folder)
    assert ended.returncode == 2
    assert "inbound does not exist" in ended.stderr
    assert [path.name for path in folder.iterdir()] == ["recon.toml"]
    same = recon("run", "--processed-s3", "out", cwd=folder)
    assert "two of inbound, processed and out are the same" in same.stderr
    assert [path.name for path in folder.iterdir()] == ["recon.toml"]


def test_a_quiet_run_prints_one_line_if_its_exit_code_is_not_0(
    folder: Path, database: str
) -> None:
    def run(*options: str) -> tuple[int, str, str]:
        ended = recon("run", "-q", *options, cwd=folder, RECON_DATABASE_URL=database)
        return ended.returncode, ended.stdout, ended.stderr

    code, out, said = run()
    assert (code, out, said.count("\n")) == (3, "", 1)
    assert said.startswith("claims: run ended as NO_FILES · run ")
    deliver(folder)
    code, out, said = run()
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert said.startswith(
        "claims: FAIL: 1 of 3 old rows is missing, limit 0; and 1 more: extra<=0 · "
        "breaks: new 3, reopened 0 · not clean: 3 open breaks are not accepted"
        " (1 missing, 1 extra, 1 cell) · 2 of 2 gates fail"
        " · run complete (SUCCEEDED) · run "
    )
    assert "exit code" not in said
    deliver(folder)
    code, out, said = run()
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert "ALREADY_DONE" in said
    deliver(folder, day="20261122", new=OLD)
    assert run("--log-file", "run.log") == (0, "", "")
    deliver(folder, day="20261123")
    code, out, said = run("--dry-run")
    assert (code, out, said.count("\n")) == (1, "", 1)


def test_the_doctor_says_that_differences_raise_no_alarm(folder: Path) -> None:
    def found(*options: str) -> str:
        ended = recon("doctor", *options, cwd=folder)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    assert "gates" not in found()
    (folder / "recon.toml").write_text(CONFIG.replace("gates =", "# gates ="))
    warned = "gates,warn,none: differences do not change the exit code of recon run"
    assert warned in found()
    assert warned not in found("--fail-on-diff")


def test_a_quiet_doctor_names_the_failed_checks(folder: Path) -> None:
    (folder / "inbound").rmdir()
    ended = recon("doctor", "-q", cwd=folder)
    assert ended.returncode != 0
    assert (ended.stdout, ended.stderr) == ("", "checks failed: inbound\n")


def test_the_doctor_says_which_folders_do_not_exist_yet(folder: Path) -> None:
    found = recon("doctor", cwd=folder).stdout
    assert f"inbound,ok,{folder}/inbound can be read and written" in found
    for name in ("processed", "out"):
        said = f"{folder}/{name} does not exist yet: the first run creates it"
        assert f"{name},ok,{said}" in found
        (folder / name).mkdir()
    found = recon("doctor", cwd=folder).stdout
    assert f"out,ok,{folder}/out can be read and written" in found


def test_a_quiet_run_that_is_refused_names_its_dataset_and_its_run(
    folder: Path, database: str
) -> None:
    config = folder / "recon.toml"
    patterns = 'old_pattern = "old.csv"\nnew_pattern = "new.csv"\n'
    config.write_text(config.read_text() + patterns)
    (folder / "inbound" / "old.csv").write_text(OLD)
    ended = recon("run", "-q", cwd=folder, RECON_DATABASE_URL=database)
    assert "INVALID_FILE_COUNT" in ended.stderr
    [*_, last] = ended.stderr.splitlines()
    assert last.startswith("claims: run ended as INVALID_FILE_COUNT · run ")
    assert "why: the pattern of OLD is old.csv, that of NEW is new.csv" in ended.stderr


def test_the_doctor_names_each_location_that_is_not_set(folder: Path) -> None:
    (folder / "recon.toml").write_text('[dataset.claims]\nkeys = ["ID"]\n')
    ended = recon("doctor", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    for name in ("inbound", "processed", "out"):
        remedy = f'"name {name}_s3 in recon.toml, or --{name}-s3"'
        assert f"{name},warn,not set: a run needs it,{remedy}" in ended.stdout


def test_the_doctor_does_not_log_the_folders_of_earlier_runs(folder: Path) -> None:
    for place in ("processed", "out"):
        (folder / place / "claims").mkdir(parents=True)
    ended = recon("doctor", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "ignored" not in ended.stderr
