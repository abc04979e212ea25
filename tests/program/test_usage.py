"""A wrong command line: one error of this program, with the command that was meant."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from support.program import recon


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "old.csv").write_text("ID,PAID\n1,10.00\n2,20.00\n3,30.00\n")
    (tmp_path / "new.csv").write_text("ID,PAID\n1,10\n2,20.00\n4,SECRET-CELL\n")
    return tmp_path


def test_two_files_without_a_command_are_meant_for_diff(pair: Path) -> None:
    ended = recon("old.csv", "new.csv", "-k", "ID", cwd=pair)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error[USAGE_ERROR]: old.csv is a file, not a command\n"
        "  help: did you mean: recon diff old.csv new.csv -k ID\n"
    )
    command = ended.stderr.rpartition(": recon ")[2]
    assert recon(*shlex.split(command), cwd=pair).returncode == 1


def test_files_that_do_not_exist_are_recognized_by_their_names(tmp_path: Path) -> None:
    for names in (("a b.csv", "s3://x/new.csv.gz"), ("OLD.TXT", "new.tsv.zst")):
        ended = recon(*names, cwd=tmp_path)
        assert ended.stderr.endswith(f"recon diff {shlex.join(names)}\n")


@pytest.mark.parametrize(
    ("arguments", "message", "help_line"),
    [
        (["dif", "a", "b"], "there is no command dif. Did you mean diff?", "recon -"),
        (
            ["diff", "a", "b", "--detial-limit", "3"],
            (
                "no such option: --detial-limit."
                " Did you mean --delimiter or --detail-limit?"
            ),
            "recon diff --help lists what it takes",
        ),
        (
            ["--key", "ID", "diff", "a", "b"],
            "no such option: --key",
            "write it after the command, such as: recon diff OLD NEW --key",
        ),
        (
            ["diff", "a", "b", "-f", "tabel"],
            (
                "invalid value for '--format' / '-f' (env var: 'RECON_FORMAT'):"
                " 'tabel' is not one of 'table', 'json', 'markdown'"
            ),
            "recon diff --help",
        ),
    ],
)
def test_a_wrong_word_is_an_error_of_this_program(
    tmp_path: Path, arguments: list[str], message: str, help_line: str
) -> None:
    ended = recon(*arguments, cwd=tmp_path)
    first, second = ended.stderr.splitlines()
    assert first == f"error[USAGE_ERROR]: {message}"
    assert second.startswith(f"  help: {help_line}")
    assert (ended.returncode, ended.stdout) == (2, "")


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    ended = recon(cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Usage: recon ")
