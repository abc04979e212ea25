"""Signals before there is a command: the exit code of the signal, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
# The process signals itself while a module is being looked for.
SIGNALLED = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
        return None

sys.meta_path.insert(0, Finder())
sys.argv = ["recon", "--version"]
{start}
"""
STARTS = {
    "recon": "from recon_cli.entry import main; main()",
    "run.py": "import runpy; runpy.run_path({path!r}, run_name='__main__')".format(
        path=str(ROOT / "run.py")
    ),
    "python -m recon_cli, as in the image": (
        "import runpy; runpy.run_module('recon_cli', run_name='__main__')"
    ),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["recon_cli.app", "typer", "recon_engine.config"])
def test_a_signal_while_modules_are_imported_ends_it_without_a_traceback(
    module: str, number: signal.Signals
) -> None:
    check(STARTS["recon"], module, number)


@pytest.mark.parametrize("start", STARTS)
def test_every_way_to_start_hears_signals_first(start: str) -> None:
    check(STARTS[start], "typer", signal.SIGINT)


def check(start: str, module: str, number: signal.Signals) -> None:
    code = SIGNALLED.format(module=module, number=int(number), start=start)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"},
    )
    assert ended.returncode == 128 + number
    assert (ended.stdout, ended.stderr) == ("", "")


def test_the_command_is_installed_with_this_entry() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert 'recon = "recon_cli.entry:main"' in project


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_file_name_that_is_not_utf_8_is_read_and_shown_with_escapes(
    form: str, tmp_path: Path
) -> None:
    for name in (b"old\xff.csv", b"new\xff.csv"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_text("ID\n1\n")
    command = [os.fsencode(sys.executable), b"-m", b"recon_cli", b"diff"]
    command += [b"old\xff.csv", b"new\xff.csv"]
    ended = subprocess.run(
        [*command, b"--key=ID", b"-f", form.encode(), b"-o", b"page.html"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (rb"old\\xff.csv" in ended.stdout) == (form == "json")
    assert r"old\xff.csv" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        ([b"--key", b"\xff"], {}, rb"argument 5 is not UTF-8: \xff"),
        ([b"--key=\xff"], {}, rb"argument 4 is not UTF-8: --key=\xff"),
        ([], {b"RECON_KEYS": b"\xff"}, rb"RECON_KEYS is not UTF-8: \xff"),
        ([b"\xff.csv"], {}, rb"argument 4 is not UTF-8: \xff.csv"),
    ],
)
def test_an_argument_that_is_not_utf_8_and_no_file_is_a_usage_error(
    arguments: list[bytes],
    environment: dict[bytes, bytes],
    named: bytes,
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("ID\n1\n")
    ended = subprocess.run(
        [sys.executable, "-m", "recon_cli", "diff", "a.csv", "a.csv", *arguments],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={**{os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}}
        | environment,
    )
    assert ended.returncode == 2
    assert b"error[USAGE_ERROR]: " + named in ended.stderr
    assert b"Traceback" not in ended.stderr
