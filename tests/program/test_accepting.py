"""On a laptop: print what accepts a difference, repeat the comparison, write files."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.program import recon


EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
DIFF = ("diff", "old.csv", "new.csv")
KEYS = ("-k", "CLM_ID,SEGMENT")
FILLED_IN = (
    ('reason = ""', 'reason = "known"'),
    ('owner = ""', 'owner = "ana"'),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old.csv", "new.csv"):
        shutil.copy(EXAMPLE / name, tmp_path)
    return tmp_path


def draft(folder: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """What --suppress prints, and the same as tables."""
    ended = recon(*DIFF, "--suppress", *options, cwd=folder)
    assert ended.returncode == 1
    assert "fill in reason and owner, and add the tables to" in ended.stderr
    return ended.stdout, tomllib.loads(ended.stdout)


def accept(folder: Path, text: str, before: str = "", name: str = "recon.toml") -> None:
    """Add a draft to the settings, with reason and owner."""
    for blank, filled in FILLED_IN:
        text = text.replace(blank, filled)
    (folder / name).write_text(before + text)


def test_a_drafted_suppression_accepts_what_differs_in_a_column(folder: Path) -> None:
    text, tables = draft(folder, "PAID", *KEYS)
    [table] = tables["suppress"]
    assert table["kind"] == ["number_format", "number"]
    assert (table["what"], table["column"], table["max"]) == ("column", "PAID", 2)
    # As it is printed, it is not accepted: nobody has signed it.
    (folder / "recon.toml").write_text(text)
    refused = recon(*DIFF, *KEYS, cwd=folder)
    assert refused.returncode == 2
    assert "it is empty: write who accepts them" in refused.stderr
    accept(folder, text)
    result = json.loads(recon(*DIFF, *KEYS, "-f", "json", cwd=folder).stdout)
    [found] = result["suppressed"]
    assert (found["state"], found["count"]) == ("active", 2)
    assert found["kind"] == ["number_format", "number"]
    ended = recon(*DIFF, *KEYS, "--suppress", "PAID", cwd=folder)
    assert (ended.stdout, ended.returncode) == ("", 1)
    assert "PAID: no difference is left to accept\n" in ended.stderr


def test_a_difference_that_a_suppression_fits_has_no_draft(folder: Path) -> None:
    """It counts for the first that fits it: a table below that accepts nothing."""
    text, _ = draft(folder, "PAID", *KEYS)
    both = '["number_format", "number"]'
    assert both in text
    for change, drafted in (
        (("max = 2", "max = 1"), None),
        ((f"kind = {both}", 'kind = "number"\nold = "no"'), [both]),
        ((f"kind = {both}", 'kind = "number"'), ['"number_format"']),
    ):
        expired = re.sub("until = .*", "until = 2026-01-01", text)
        accept(folder, expired.replace(*change))
        ended = recon(*DIFF, *KEYS, "--suppress", "PAID", cwd=folder)
        assert ended.returncode == 1
        kinds = re.findall("kind = (.*)", ended.stdout)
        assert kinds == (drafted or [])
        assert ("a table below it would have no effect" in ended.stderr) == (
            drafted != [both]
        )
        # What was drafted, below the others, accepts what it says.
        before = (folder / "recon.toml").read_text()
        accept(folder, ended.stdout, before)
        found = json.loads(recon(*DIFF, *KEYS, "-f", "json", cwd=folder).stdout)
        assert [each["state"] for each in found["suppressed"][1:]] == (
            ["active"] * len(kinds)
        )


def test_what_no_hint_explains_names_how_it_is_accepted(folder: Path) -> None:
    (folder / "recon.toml").write_text('keys = ["CLM_ID", "SEGMENT"]\n')
    assert "--suppress" not in recon(*DIFF, cwd=folder).stdout
    rules = ("--rule", "SERVICE_DT=date(%Y%m%d|iso)", "--rule", "PAID=decimal",
             "--rule", "DRG=lstrip0")  # fmt: skip
    ended = recon(*DIFF, *rules, cwd=folder)
    assert "; or --suppress PAID for what accepts its differences" in ended.stdout
    # Without settings of a file, they are looked for first.
    (folder / "recon.toml").unlink()
    assert "--suppress" not in recon(*DIFF, *rules, *KEYS, cwd=folder).stdout


def test_everything_that_differs_can_be_drafted_at_once(folder: Path) -> None:
    names = "PAID,DRG,SERVICE_DT,missing,extra"
    text, tables = draft(folder, names, "--suppress", "MEMBER", *KEYS)
    what = [
        (each["what"], each.get("column"), each.get("kind"), each["max"])
        for each in tables["suppress"]
    ]
    assert what == [
        ("column", "PAID", ["number_format", "number"], 2),
        ("column", "DRG", "leading_zeros", 1),
        ("column", "SERVICE_DT", "date_format", 5),
        ("missing", None, None, 1),
        ("extra", None, None, 1),
    ]
    accept(folder, text)
    ended = recon(*DIFF, *KEYS, cwd=folder)
    assert ended.returncode == 0
    assert "all differences are accepted" in ended.stdout.replace("\n", " ")
    # One row more than was looked at fails.
    with (folder / "old.csv").open("a") as stream:
        stream.write("999999,1,00123,20260105,033,1.00\n")
    assert recon(*DIFF, *KEYS, cwd=folder).returncode == 1


@pytest.mark.parametrize(
    ("name", "before", "place"),
    [
        ("recon.toml", 'keys = ["CLM_ID", "SEGMENT"]\n', "[[suppress]]"),
        (
            "recon.toml",
            '[dataset.claims]\nkeys = ["CLM_ID", "SEGMENT"]\n',
            "[[dataset.claims.suppress]]",
        ),
        (
            "pyproject.toml",
            '[tool.recon]\nkeys = ["CLM_ID", "SEGMENT"]\n',
            "[[tool.recon.suppress]]",
        ),
    ],
)
def test_a_draft_is_for_the_file_that_is_used(
    folder: Path, name: str, before: str, place: str
) -> None:
    (folder / name).write_text(before)
    text, _ = draft(folder, "DRG")
    assert text.startswith(f"\n{place}\n")
    accept(folder, text, before, name)
    assert "≈ accepted: DRG" in recon(*DIFF, cwd=folder).stdout


def test_a_column_that_is_not_compared_has_no_draft(folder: Path) -> None:
    for name, meant in (("PAD", ". Did you mean PAID?"), ("CLM_ID", ""), ("X", "")):
        ended = recon(*DIFF, *KEYS, "--suppress", name, cwd=folder)
        assert (ended.returncode, ended.stdout) == (2, "")
        said = f"--suppress {name}: no such column is compared{meant}\n"
        assert said in ended.stderr


def test_a_column_on_one_side_only_is_left_out_and_not_accepted(folder: Path) -> None:
    more = folder / "more.csv"
    new = (folder / "new.csv").read_text().splitlines()
    more.write_text(
        "".join(f"{line},{'MORE' * (not at)}\n" for at, line in enumerate(new))
    )
    words = ("diff", "old.csv", "more.csv", *KEYS, "--on-schema-drift", "compare")
    ended = recon(*words, "--suppress", "MORE", cwd=folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--suppress MORE: the column is on one side only" in ended.stderr
    assert 'leave it out: ignore = ["MORE"] in recon.toml, or --ignore' in ended.stderr


def test_a_setting_names_what_each_comparison_writes(folder: Path) -> None:
    (folder / "recon.toml").write_text(
        'keys = ["CLM_ID", "SEGMENT"]\noutput = ["r.html", "sub/r.json"]\n'
    )
    refused = recon(*DIFF, cwd=folder)
    assert refused.returncode == 2
    assert (
        "`output` in recon.toml: sub/r.json: the folder does not exist"
        in refused.stderr
    )
    (folder / "sub").mkdir()
    ended = recon(*DIFF, cwd=folder)
    assert "writes r.html, sub/r.json" in ended.stdout
    assert json.loads((folder / "sub" / "r.json").read_text())["counts"]["missing"] == 1
    page = (folder / "r.html").read_text()
    assert "recon diff old.csv new.csv --config recon.toml" in page
    # Paths are relative to the file, and those of the command line take their place.
    (folder / "r.html").unlink()
    other = folder / "other"
    other.mkdir()
    files = ("diff", "../old.csv", "../new.csv", "--config", "../recon.toml")
    recon(*files, cwd=other)
    assert (folder / "r.html").is_file()
    assert not [*other.iterdir()]
    (folder / "r.html").unlink()
    recon(*files, "-o", "own.md", cwd=other)
    assert [path.name for path in other.iterdir()] == ["own.md"]
    assert not (folder / "r.html").exists()


def test_one_output_is_a_text_and_an_unknown_one_is_refused(folder: Path) -> None:
    config = folder / "recon.toml"
    config.write_text('keys = ["CLM_ID", "SEGMENT"]\noutput = "r.md"\n')
    recon(*DIFF, cwd=folder)
    assert (folder / "r.md").read_text().startswith("**DIFFER: ")
    for text, said in (
        ('"r.doc"', "unknown output format: .doc"),
        ('"old.csv"', "old.csv: the path is an input file or a folder"),
        ("[1]", "output[0]: it has to be a text in quotes"),
        ('""', "it is empty: give a text"),
    ):
        config.write_text(f'keys = ["CLM_ID", "SEGMENT"]\noutput = {text}\n')
        ended = recon(*DIFF, cwd=folder)
        assert ended.returncode == 2
        assert said in ended.stderr
