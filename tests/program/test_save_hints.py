"""Hints become settings: by --save-hints in recon.toml, in Python as rules."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from support.program import recon

import recon_engine as rx
from recon_engine.command_line import quoted, read_words
from recon_engine.hint_settings import read_settings, write_python, write_toml
from recon_engine.model import Hint, HintKind
from recon_engine.postgres.migrations import schema_folder


EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
DIFF = ("diff", "old.csv", "new.csv")
KEYS = ("-k", "CLM_ID,SEGMENT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def toml(folder: Path, name: str = "recon.toml") -> Any:
    return tomllib.loads((folder / name).read_text())


def test_hints_are_saved_as_comments_and_the_key_as_a_setting(folder: Path) -> None:
    ended = recon(*DIFF, *KEYS, "--ignore", "X Y", "--on-schema-drift", "compare",
                  "--save-hints", cwd=folder)  # fmt: skip
    assert "no file has" in ended.stderr
    assert not (folder / "recon.toml").exists()
    ended = recon("diff", *KEYS, "--save-hints", *DIFF[1:], cwd=folder)
    assert ended.returncode == 1
    assert ended.stderr == "saved 3 hints as comments: recon.toml\n"
    text = (folder / "recon.toml").read_text()
    assert toml(folder) == {"keys": ["CLM_ID", "SEGMENT"]}
    assert (
        "# 2. PAID: 2 differ, 50% number format; --rule PAID=decimal removes 1" in text
    )
    assert '#     PAID = "decimal"\n' in text
    again = recon(*DIFF, "--save-hints", cwd=folder)
    assert again.returncode == 1
    assert (folder / "recon.toml").read_text() == text


def test_chosen_hints_are_settings_that_the_next_diff_uses(folder: Path) -> None:
    recon(*DIFF, *KEYS, "--save-hints", cwd=folder)
    ended = recon(*DIFF, "--save-hints", "1,3", "-f", "json", cwd=folder)
    assert ended.stderr.endswith("saved 2 hints as settings: recon.toml\n")
    assert toml(folder)["rules"] == {
        "SERVICE_DT": "date(%Y%m%d|%Y-%m-%d)",
        "DRG": "lstrip0",
    }
    assert "hints" not in (folder / "recon.toml").read_text()
    ended = recon(*DIFF, "-f", "json", cwd=folder)
    assert json.loads(ended.stdout)["counts"]["mismatched_cells"] == 2
    refused = recon(*DIFF, "--save-hints=7", cwd=folder)
    assert refused.returncode == 2
    assert "there is no hint 7\n  why: the result has 1 hint\n" in refused.stderr


def test_hints_go_to_the_dataset_that_was_used_and_to_pyproject(folder: Path) -> None:
    path = folder / "pyproject.toml"
    path.write_text(
        '[project]\nname = "x"\n\n[tool.recon.dataset.claims]\n'
        'keys = ["CLM_ID", "SEGMENT"]\n\n[tool.recon.dataset.claims.rules]\n'
        'PAID = "trim"\n'
    )
    recon(*DIFF, "--save-hints", "2", cwd=folder)
    found = toml(folder, "pyproject.toml")
    assert found["tool"]["recon"]["dataset"]["claims"]["rules"] == {
        "PAID": ["trim", "decimal"]
    }
    assert found["project"] == {"name": "x"}


def test_a_file_that_cannot_be_edited_is_left_and_the_lines_are_shown(
    folder: Path,
) -> None:
    text = 'keys = ["CLM_ID", "SEGMENT"]\nrules = { PAID = "trim" }\n'
    (folder / "recon.toml").write_text(text)
    ended = recon(*DIFF, "--save-hints", "2", cwd=folder)
    assert ended.returncode == 2
    assert 'PAID = "decimal"' in ended.stderr
    assert (folder / "recon.toml").read_text() == text


def test_rules_that_are_suggested_can_be_given_as_they_are() -> None:
    paths = EXAMPLE / "old.csv", EXAMPLE / "new.csv"
    keys = ["CLM_ID", "SEGMENT"]
    first = rx.diff(*paths, keys=keys, rules={"*": "trim", "PAID": "casefold"})
    rules = first.suggested_rules()
    assert rules == {
        "*": ["trim"],
        "PAID": ["casefold", "decimal"],
        "SERVICE_DT": ["date(%Y%m%d|%Y-%m-%d)"],
        "DRG": ["lstrip0"],
    }
    second = rx.diff(*paths, keys=keys, rules=rules)
    explained = sum(hint.count for hint in first.hints)
    cells = first.counts.mismatched_cells - second.counts.mismatched_cells
    assert cells == explained == 7
    assert second.suggested_rules() == rules


def test_a_hint_is_a_flag_toml_and_python(folder: Path) -> None:
    ended = recon(*DIFF, *KEYS, "-f", "json", cwd=folder)
    document = json.loads(ended.stdout)
    validate(document, json.loads((schema_folder() / "result.schema.json").read_text()))
    hint = document["hints"][1]
    assert hint["flag"] == "--rule PAID=decimal"
    assert tomllib.loads(hint["toml"]) == {"rules": {"PAID": "decimal"}}
    assert hint["python"] == 'rules={"PAID": "decimal"}'


@pytest.mark.parametrize(
    ("flag", "toml_text", "python"),
    [
        ("--key A --key '\"B,C\"'", 'keys = ["A", "B,C"]', 'keys=["A", "B,C"]'),
        ("--map 'A B=C'", '[map]\n"A B" = "C"', 'renames={"A B": "C"}'),
        (
            "--rule 'x=nulls(NA)' --rule x=trim",
            '[rules]\nx = ["nulls(NA)", "trim"]',
            'rules={"x": ["nulls(NA)", "trim"]}',
        ),
        ("", "", ""),
    ],
)
def test_each_kind_of_hint_has_all_forms(
    flag: str, toml_text: str, python: str
) -> None:
    hint = Hint(HintKind.RULE, "x", flag, 1, 1, "text")
    settings = read_settings(hint)
    assert (write_toml(settings), write_python(settings)) == (toml_text, python)


@pytest.mark.parametrize(
    "word",
    ["a b", "it's", "$x", "$'", "é\u00a0b", "a\\b", "tab\there", '"q"', "'\u200b"],
)
def test_a_quoted_word_is_read_back(word: str) -> None:
    assert read_words(f"--rule {quoted(word)} x") == ["--rule", word, "x"]
