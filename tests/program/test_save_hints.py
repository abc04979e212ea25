"""Hints become settings: by --save-hints in recon.toml, in Python as rules."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import validate
from recon_cli import save_hints as saving
from recon_cli.save_hints import save_hints
from support.program import recon

import recon_engine as rx
from recon_engine.command_line import quoted, read_words
from recon_engine.config import Options
from recon_engine.errors import ConfigError
from recon_engine.hint_settings import read_settings, write_python, write_toml
from recon_engine.model import Hint, HintKind
from recon_engine.postgres.migrations import schema_folder


if TYPE_CHECKING:
    from collections.abc import Iterator


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
    assert ended.stderr == "saved 3 hints to recon.toml; as comments\n"
    text = (folder / "recon.toml").read_text()
    assert toml(folder) == {"keys": ["CLM_ID", "SEGMENT"]}
    assert (
        "# 2. PAID: 2 differ, 50% number format; --rule PAID=decimal removes 1" in text
    )
    assert '#     PAID = "decimal"\n' in text
    again = recon(*DIFF, "--save-hints", cwd=folder)
    assert again.returncode == 1
    assert (folder / "recon.toml").read_text() == text


OWN = """\
[[suppress]]
what = "column"
column = "DRG"
reason = "the new system pads"
owner = "c"
until = 2126-12-31
max = 9
"""


def edit_block(text: str) -> Iterator[str]:
    """The text with each edit that a user may make in the block of saved hints."""
    lines = text.splitlines()
    [start] = [at for at, line in enumerate(lines) if line.startswith("# --- hints")]
    for at in range(start, len(lines)):
        before, line, after = lines[:at], lines[at], lines[at + 1 :]
        # `PAID = "decimal"`, in place: the table above the block is [rules].
        setting = line.removeprefix("#     ")
        bare = [setting] if setting != line and "=" in setting else []
        for changed in ([], bare, [line, "# a comment of mine"]):
            for tail in ("", OWN, f"# another comment\n\n{OWN}"):
                yield "\n".join([*before, *changed, *after]) + f"\n{tail}"
        if at > start:
            yield "\n".join([*before, *OWN.splitlines(), line, *after]) + "\n"


def test_what_a_user_writes_among_saved_hints_is_kept(folder: Path) -> None:
    path = folder / "recon.toml"
    path.write_text('keys = ["CLM_ID", "SEGMENT"]\n\n[rules]\nMEMBER = "trim"\n')
    options = Options(keys=("CLM_ID", "SEGMENT"))
    result = rx.diff(folder / "old.csv", folder / "new.csv", keys=options.keys)
    source = {"file": str(path)}
    save_hints(result, options, None, source)
    saved = path.read_text()
    edits = [*edit_block(saved)]
    assert any('"trim"\n\n# --- hints' in each and "\nPAID" in each for each in edits)
    for text in edits:
        edited = tomllib.loads(text)
        comments = [line for line in text.splitlines() if "comment" in line]
        for numbers in (None, [3]):
            path.write_text(text)
            save_hints(result, options, numbers, source)
            found = path.read_text()
            kept = tomllib.loads(found)
            if numbers is None:
                # The hints are there once, or twice if their first line is not.
                assert found.count("# 1. ") == 1 + ("# --- hints" not in text)
            else:
                # The third hint is for DRG.
                edited["rules"]["DRG"] = "lstrip0"
            assert kept == edited
            assert all(found.count(line) == text.count(line) for line in comments)


def test_a_new_file_that_later_commands_refuse_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("it is refused")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(saving, "load_configuration", refuse)
    options = Options(keys=("CLM_ID", "SEGMENT"))
    result = rx.diff("old.csv", "new.csv", keys=options.keys)
    with pytest.raises(ConfigError, match="it is refused"):
        save_hints(result, options, [1], {})
    assert not (folder / "recon.toml").exists()


def test_chosen_hints_are_settings_that_the_next_diff_uses(folder: Path) -> None:
    recon(*DIFF, *KEYS, "--save-hints", cwd=folder)
    ended = recon(*DIFF, "--save-hints", "1,3", "-f", "json", cwd=folder)
    assert ended.stderr.endswith("saved 2 hints to recon.toml; run again to use them\n")
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


def test_a_new_file_has_the_limits_of_the_command(folder: Path) -> None:
    limits = ("--max-field-lines", "200", "--max-ratio", "300")
    recon(*DIFF, *KEYS, *limits, "--save-hints", "1", cwd=folder)
    found = toml(folder)
    assert (found["max_field_lines"], found["max_ratio"]) == (200, 300)
    assert found["keys"] == ["CLM_ID", "SEGMENT"]
    assert recon(*DIFF, cwd=folder).returncode == 1


def test_what_a_hint_is_called_and_what_is_not_saved(folder: Path) -> None:
    recon("init", "old.csv", "new.csv", "--yes", cwd=folder)
    before = (folder / "recon.toml").read_text()
    assert '#     PAID = "decimal"' in before
    ended = recon(*DIFF, "--save-hints", "1", "--ignore", "MEMBER", cwd=folder)
    assert (
        "help 1: PAID: 2 differ, 50% number format; --rule PAID=decim" in ended.stdout
    )
    assert ended.stderr.endswith(
        "saved 1 hint to recon.toml; run again to use it\n"
        "not saved, of this command line: --ignore\n"
    )
    text = (folder / "recon.toml").read_text()
    assert toml(folder)["rules"]["PAID"] == "decimal"
    # What was proposed is active, and no comment any more; its evidence stays above it.
    assert "#     " not in text
    assert re.search(
        r'\n# PAID: 2 differ, 50% number format.*\nPAID = "decimal"\n', text
    )
    assert text.count("50% number format") == 1
    assert "Proposals" not in text


CODED = 'SEX = "map(@SEX.map.csv,rest=same)"'
CODES = "OLD,NEW\nF,2\nM,1\n"


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """Two files with a code table, and one cell that is anything else."""
    codes = {"M": "1", "F": "2", "U": "U"}
    rows = [(at, "MFU"[at % 3]) for at in range(120)]
    old = "".join(f"{at},{code}\n" for at, code in rows)
    new = "".join(f"{at},{'9' if at == 6 else codes[code]}\n" for at, code in rows)
    (tmp_path / "old.csv").write_text(f"ID,SEX\n{old}")
    (tmp_path / "new.csv").write_text(f"ID,SEX\n{new}")
    return tmp_path


def test_the_codes_of_a_hint_are_saved_as_a_file_beside_the_settings(
    coded: Path,
) -> None:
    ended = recon(*DIFF, "-k", "ID", "--save-hints", "1", cwd=coded)
    assert "--old-rule 'SEX=map(F=2,M=1,rest=same)' removes 79" in " ".join(
        ended.stdout.split()
    )
    assert ended.stderr == (
        "saved 1 hint to recon.toml, SEX.map.csv; run again to use it\n"
    )
    assert (coded / "SEX.map.csv").read_text() == CODES
    assert CODED in (coded / "recon.toml").read_text()
    ended = recon(*DIFF, "-f", "json", cwd=coded)
    counts = json.loads(ended.stdout)["counts"]
    assert (counts["tolerated_cells"], counts["mismatched_cells"]) == (79, 1)


def test_a_file_with_other_codes_is_not_replaced(coded: Path) -> None:
    (coded / "SEX.map.csv").write_text("OLD,NEW\nM,7\n")
    ended = recon(*DIFF, "-k", "ID", "--save-hints", cwd=coded)
    assert ended.returncode == 2
    assert "SEX.map.csv exists already, with other codes" in ended.stderr
    assert "7" in (coded / "SEX.map.csv").read_text()
    assert not (coded / "recon.toml").exists()
    (coded / "SEX.map.csv").write_text(CODES)
    ended = recon(*DIFF, "-k", "ID", "--save-hints", cwd=coded)
    assert ended.stderr == "saved 1 hint to recon.toml; as comments\n"


def test_a_code_table_is_beside_a_configuration_elsewhere(coded: Path) -> None:
    (coded / "conf").mkdir()
    (coded / "conf" / "my.toml").write_text('keys = "ID"\n')
    recon(*DIFF, "--config", "conf/my.toml", "--save-hints", "1", cwd=coded)
    assert (coded / "conf" / "SEX.map.csv").read_text() == CODES
    assert CODED in (coded / "conf" / "my.toml").read_text()
    for folder, path in ((coded, "conf/my.toml"), (coded / "conf", "my.toml")):
        files = [str(coded / name) for name in DIFF[1:]]
        ended = recon("diff", *files, "--config", path, "-f", "json", cwd=folder)
        assert json.loads(ended.stdout)["counts"]["mismatched_cells"] == 1
    (coded / "conf" / "SEX.map.csv").unlink()
    ended = recon(*DIFF, "--config", "conf/my.toml", cwd=coded)
    assert ended.returncode == 2
    assert f"rule map: there is no file {coded}/conf/SEX.map.csv" in ended.stderr


def test_init_proposes_a_code_table_as_a_comment_with_its_count(coded: Path) -> None:
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=coded)
    assert "written: recon.toml, SEX.map.csv" in ended.stderr
    text = (coded / "recon.toml").read_text()
    assert "# SEX: 80 differ, 79 of them by a code table" in text
    assert f"#     {CODED}" in text
    assert "SEX" not in str(toml(coded))
    assert (coded / "SEX.map.csv").read_text() == CODES
    # Once it is used, its evidence stays above it.
    recon(*DIFF, "--save-hints", "1", cwd=coded)
    [reason] = re.findall("(?m)^# SEX: .*$", text)
    saved = (coded / "recon.toml").read_text()
    assert f"{reason}\n{CODED}\n" in saved
    assert saved.count("SEX: 80 differ") == 1
    # Without the comment signs it is active.
    active = re.sub("(?m)^#     ", "", text)
    (coded / "recon.toml").write_text(active)
    ended = recon(*DIFF, "-f", "json", cwd=coded)
    assert json.loads(ended.stdout)["counts"]["mismatched_cells"] == 1


def test_a_markdown_comment_has_no_code(coded: Path) -> None:
    ended = recon(*DIFF, "-k", "ID", "-f", "markdown", cwd=coded)
    assert "map(@SEX.map.csv,rest=same)" in ended.stdout
    assert "M=1" not in ended.stdout


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


@pytest.mark.parametrize(
    ("name", "head"), [("recon.toml", ""), ("pyproject.toml", "tool.recon.")]
)
def test_a_hint_of_a_dataset_adds_to_the_rules_of_the_top(
    tmp_path: Path, name: str, head: str
) -> None:
    (tmp_path / "old.csv").write_text("ID,PAID,A\n1, 1.0,x\n2, 2.0,x\n")
    (tmp_path / "new.csv").write_text("ID,PAID,A\n1,1,y\n2,2,y\n")
    (tmp_path / name).write_text(
        f'[{head}rules]\nPAID = "trim"\n[{head}dataset.rules]\nkeys = ["ID"]\n'
    )
    ended = recon(*DIFF, "--dataset", "rules", "--save-hints", "1", cwd=tmp_path)
    assert "saved 1 hint" in ended.stderr, ended.stderr
    found = recon(*DIFF, "--dataset", "rules", "-f", "json", cwd=tmp_path)
    columns = {each["name"]: each for each in json.loads(found.stdout)["columns"]}
    assert columns["PAID"]["mismatched"] == 0


def test_names_with_spaces_and_quotes_are_saved_as_they_are_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.csv").write_text(' ID,PAID ,"""A"""\n1,1.0,x \n2,2.0,x \n')
    (tmp_path / "new.csv").write_text(' ID,PAID ,"""A"""\n1,1,x\n2,2,x\n')
    ended = recon(*DIFF, "--key", '" ID"', "--save-hints", "1,2", cwd=tmp_path)
    assert "saved 2 hints" in ended.stderr, ended.stderr
    assert recon(*DIFF, cwd=tmp_path).returncode == 0
    # Those that are there are kept.
    text = (tmp_path / "recon.toml").read_text().replace('= "decimal"', '= "lstrip0"')
    (tmp_path / "recon.toml").write_text(text)
    again = recon(*DIFF, "--save-hints=1", cwd=tmp_path)
    assert "saved 1 hint" in again.stderr, again.stderr
    assert toml(tmp_path)["rules"]['"PAID "'] == ["lstrip0", "decimal"]
    (tmp_path / "recon.toml").unlink()
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "AGREE" in ended.stdout, ended.stdout + ended.stderr
    assert recon(*DIFF, cwd=tmp_path).returncode == 0
    # So is the column of a suppression.
    keyed = """keys = '" ID"'\n"""
    (tmp_path / "recon.toml").write_text(keyed)
    drafted = recon(*DIFF, "--suppress", '"PAID "', cwd=tmp_path).stdout
    filled = drafted.replace('reason = ""', 'reason = "r"')
    filled = filled.replace('owner = ""', 'owner = "o"')
    (tmp_path / "recon.toml").write_text(keyed + filled)
    found = recon(*DIFF, "-f", "json", cwd=tmp_path)
    [used] = json.loads(found.stdout)["suppressed"]
    assert (used["column"], used["count"]) == ("PAID ", 2)


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
