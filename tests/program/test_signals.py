"""SIGTERM and Ctrl-C: heard at once, exit codes, no traceback, nothing left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import reaction
from recon_cli.scratch import LOCK, PREFIX, work_in_scratch_folder


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess


ROWS = 150_000
# How much slower than a quiet machine a busy one may be; `make reaction` knows none.
BUSY = 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that takes seconds."""
    folder = tmp_path_factory.mktemp("signals")
    script = Path(__file__).parents[2] / "benchmarks" / "generate.py"
    subprocess.run(
        [sys.executable, script, folder / "pair", "--rows", str(ROWS)],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def here(pair: Path) -> Iterator[reaction.Yard]:
    with reaction.yard(pair) as opened:
        yield opened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_a_diff_that_is_stopped_is_gone_within_a_second(
    pair: Path, tmp_path: Path, number: signal.Signals, seconds: float
) -> None:
    command = [sys.executable, "-m", "recon_cli", "diff", "claims_old.csv"]
    with subprocess.Popen(
        [*command, "claims_NEWSYSTEM.csv", "--key", "DESYNPUF_ID"],
        cwd=pair / "pair",
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.iterdir()):  # its work folder: now it works
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail("the diff makes no work folder")
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(number)
        began = time.monotonic()
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - began
    assert process.returncode == 128 + number
    assert f"error[INTERRUPTED]: stopped by {number.name}" in err
    assert "Traceback" not in err
    assert out == ""
    assert took < reaction.REACTION_SECONDS * BUSY
    assert list(tmp_path.iterdir()) == []


def run_without_reader(words: list[str], folder: Path) -> CompletedProcess[str]:
    """Run a command whose stdout nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "recon_cli", *words],
            check=False,
            cwd=folder,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        ["diff", "{old}", "{new}", "--key", "ID"],
        ["diff", "{old}", "{new}", "--key", "ID", "--format", "json"],
        ["diff", "{old}", "{new}", "--key", "UNKNOWN", "--format", "json"],
        ["diff", "{old}", "--format", "json"],
        ["keys", "{old}", "{new}"],
        ["init", "{old}", "{new}", "--yes"],
    ],
    ids=" ".join,
)
def test_a_reader_of_stdout_that_has_left_ends_the_command_quietly(
    tmp_path: Path, arguments: list[str]
) -> None:
    """Also where the output is an error as JSON; 1 would say that rows differ."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("ID,V\n1,a\n2,b\n")
    new.write_text("ID,V\n1,a\n2,c\n")
    words = [each.format(old=old, new=new) for each in arguments]
    ended = run_without_reader(words, tmp_path)
    assert ended.returncode == 128 + signal.SIGTERM
    assert "BrokenPipe" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (
            ["diff", "old.csv", "new.csv", "-k", "ID", "-o", "r.html", "-o", "d.csv"],
            {"r.html", "d.csv"},
        ),
        (
            ["diff", "old.csv", "new.csv", "-k", "ID", "--save-hints"],
            {"recon.toml"},
        ),
        (["init", "old.csv", "new.csv", "--yes"], {"recon.toml"}),
    ],
    ids=["outputs", "hints", "draft"],
)
def test_files_are_written_also_if_nobody_reads_stdout(
    tmp_path: Path, words: list[str], files: set[str]
) -> None:
    """As with `| head`: yesterday's file would stay in the place of today's."""
    (tmp_path / "old.csv").write_text("ID,V\n1,a\n2,b\n")
    (tmp_path / "new.csv").write_text("ID,V\n1,a\n2,B\n")
    before = {path.name for path in tmp_path.iterdir()}
    ended = run_without_reader(words, tmp_path)
    assert ended.returncode == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} - before == files


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_is_undone_within_a_second(
    here: reaction.Yard, share: float, number: signal.Signals
) -> None:
    whole = 2.0
    reacted = here.react(share * whole, number)
    assert reacted.in_time, reacted


def test_work_folders_of_killed_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, young, other = (tmp_path / f"{PREFIX}{n}" for n in ("dead", "young", "other"))
    for folder in (dead, young):
        folder.mkdir()
    (dead / LOCK).touch()
    (dead / "old.csv").write_text("ID\n")
    other.write_text("no folder of ours")
    with work_in_scratch_folder() as alive:
        assert not dead.exists()
        with work_in_scratch_folder():
            assert alive.exists()
        assert tempfile.gettempdir() == str(alive)
        assert young.exists()
        os.utime(young, (0, 0))
    assert not alive.exists()
    with work_in_scratch_folder():
        assert not young.exists()
    assert other.exists()


def test_no_step_of_a_start_lets_another_start_remove_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process starts after each call that the first makes to the system."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    steps: list[str] = []

    def interrupted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            with monkeypatch.context() as other:
                for owner, each, real in REAL:
                    other.setattr(owner, each, real)
                program = (
                    "from recon_cli.scratch import work_in_scratch_folder\n"
                    "with work_in_scratch_folder(): pass"
                )
                subprocess.run(
                    [sys.executable, "-c", program],
                    check=True,
                    env=os.environ | {"TMPDIR": str(tmp_path)},
                )
            steps.append(name)
            return result

        return called

    with ExitStack() as started:
        with monkeypatch.context() as watched:
            for owner, name, real in REAL:
                watched.setattr(owner, name, interrupted(name, real))
            folder = started.enter_context(work_in_scratch_folder())
        (folder / "spooled").touch()
        assert {"mkdtemp", "open", "flock"} <= set(steps)
    assert list(tmp_path.iterdir()) == []


# What a start asks of the system, one call after the other.
REAL = (
    (tempfile, "mkdtemp", tempfile.mkdtemp),
    (os, "open", os.open),
    (fcntl, "flock", fcntl.flock),
    (Path, "rename", Path.rename),
)
