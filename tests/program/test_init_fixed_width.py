"""`recon init` finds the columns of files of a fixed width, and says how surely."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.fixed_pairs import NAMES, Shape, write_fixed_pair
from support.program import recon


FIELD = Path(__file__).parents[1] / "field" / "36_fixed_width"
WIDE = (8, 8, 14, 3, 10, 8)
# No blank between STATE, PAID and SERVICE; PAID fills its width in some rows.
PACKED = (6, 7, 12, 2, 8, 8)
LATIN = "äöüß"
SHAPES = {
    "old, delimited new": (Shape(WIDE), Shape(), "aeio"),
    "new, delimited old": (Shape(), Shape(WIDE), "aeio"),
    "no blanks, delimited new": (Shape(PACKED, gap=0), Shape(), "aeio"),
    "no blanks, delimited old": (Shape(), Shape(PACKED, gap=0), LATIN),
    "one layout": (Shape(WIDE), Shape(WIDE), "aeio"),
    "two layouts": (Shape(WIDE), Shape((9, 9, 16, 4, 12, 10), gap=2), LATIN),
    "other order": (
        Shape(WIDE),
        Shape((8, 10, 8, 14, 8, 3), order=(0, 4, 1, 2, 5, 3)),
        "aeio",
    ),
    "header": (Shape(WIDE, header=True), Shape(), LATIN),
    "header, no blanks": (
        Shape((8, 9, 14, 7, 10, 8), gap=0, header=True),
        Shape(),
        "é",
    ),
    "trailer and CRLF": (Shape(WIDE, trailer=True, newline="\r\n"), Shape(), "aeio"),
    "cp1252": (Shape(WIDE, encoding="cp1252"), Shape(), LATIN),
    "UTF-16": (Shape(WIDE, encoding="utf-16"), Shape(WIDE), LATIN),
    "Greek": (Shape(WIDE), Shape(encoding="utf-16"), "αβγδ"),
}


def settings(folder: Path) -> Any:
    return tomllib.loads((folder / "recon.toml").read_text())


def find_counts(folder: Path) -> dict[str, int]:
    ended = recon("diff", "old.txt", "new.txt", "-f", "json", cwd=folder)
    assert ended.returncode in {0, 1}, ended.stdout
    counts: dict[str, int] = json.loads(ended.stdout)["counts"]
    return counts


@pytest.mark.parametrize("rows", [60, 700])
@pytest.mark.parametrize("shape", SHAPES)
def test_after_init_a_diff_shows_exactly_what_was_planted(
    shape: str, rows: int, tmp_path: Path
) -> None:
    old, new, letters = SHAPES[shape]
    planted = write_fixed_pair(tmp_path, rows, old, new, letters, rows)
    ended = recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    counts = find_counts(tmp_path)
    shown = counts["missing"], counts["extra"], counts["mismatched_rows"]
    assert shown == planted, (tmp_path / "recon.toml").read_text()


def test_the_field_case_needs_no_layout_from_a_person(tmp_path: Path) -> None:
    """The borders between digits and letters of 1001M01 are uncertain, and said so."""
    for name in ("old.txt", "new.txt"):
        shutil.copyfile(FIELD / name, tmp_path / name)
    ended = recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path, COLUMNS="200")
    assert settings(tmp_path)["fixed"] == "column_1:1-10,column_2:11-18"
    assert "columns may also meet between characters 4 and 5, 5 and 6" in ended.stdout
    text = (tmp_path / "recon.toml").read_text()
    assert "# OLD borders: uncertain, columns may also meet" in text
    assert "blank in all rows: 8-10" in text
    counts = find_counts(tmp_path)
    assert (counts["matched"], counts["mismatched_rows"]) == (2, 1)


def test_names_and_borders_have_evidence_from_the_other_file(tmp_path: Path) -> None:
    write_fixed_pair(tmp_path, 1, Shape(PACKED, gap=0), Shape(), "aeio", 400)
    assert recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path).returncode == 0
    layout = "CLAIM:1-6,MEMBER:7-13,NAME:14-25,STATE:26-27,PAID:28-35,SERVICE:36-43"
    assert settings(tmp_path)["old"]["fixed"] == layout
    assert settings(tmp_path)["rules"]["*"] == "trim"
    assert "map" not in settings(tmp_path)
    text = (tmp_path / "recon.toml").read_text()
    assert "36-43 have the values of SERVICE in" in text
    assert "# OLD names: by values, values agree with those of the other file" in text
    assert "uncertain" not in text


@pytest.mark.parametrize("names", [NAMES, ("CLM_NUMBER", *NAMES[1:])])
def test_a_header_names_the_columns(names: tuple[str, ...], tmp_path: Path) -> None:
    """Names that are not over their columns have the same order."""
    shape = Shape((8, 8, 14, 6, 10, 8), header=True)
    write_fixed_pair(tmp_path, 2, shape, shape, "aeio", 100)
    for name in ("old.txt", "new.txt"):
        lines = (tmp_path / name).read_text().splitlines(keepends=True)
        if names != NAMES:
            lines[0] = " ".join(names) + "\n"
        (tmp_path / name).write_text("".join(lines))
    assert recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path).returncode == 0
    found = settings(tmp_path)
    assert found["skip_lines"] == 1
    assert [each.partition(":")[0] for each in found["fixed"].split(",")] == [*names]


def test_a_delimiter_within_padded_texts_is_none(tmp_path: Path) -> None:
    for name, amount in (("old", 5), ("new", 7)):
        rows = [
            f"{1000 + at}  {'Li' * (1 + at % 3) + ', Jo':18}{at * amount:8}.00\n"
            for at in range(50)
        ]
        (tmp_path / f"{name}.txt").write_text("".join(rows))
    assert recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path).returncode == 0
    assert settings(tmp_path)["fixed"].count(":") >= 3
    assert find_counts(tmp_path)["mismatched_rows"] == 49


def test_delimited_lines_of_one_length_are_no_fixed_width(tmp_path: Path) -> None:
    rows = "".join(f"{1000 + at};AB  ;{at % 10}.00\n" for at in range(50))
    for name in ("old.txt", "new.txt"):
        (tmp_path / name).write_text("CLAIM;ST;PAID\n" + rows)
    assert recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path).returncode == 0
    assert settings(tmp_path) == {"delimiter": ";", "keys": ["CLAIM"]}


def test_lines_that_show_one_column_are_refused_with_what_is_known(
    tmp_path: Path,
) -> None:
    for name, letter in (("old", "A"), ("new", "B")):
        rows = (f"{at:06}{letter}{at * 7:08}\n" for at in range(30))
        (tmp_path / f"{name}.txt").write_text("".join(rows))
    ended = recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path)
    assert ended.returncode == 2
    assert "OLD has no delimiter, and its lines have 15 characters each" in ended.stderr
    assert "columns may also meet between characters 6 and 7, 7 and 8" in ended.stderr
    assert "--old-fixed NAME:FROM-TO" in ended.stderr
    assert not (tmp_path / "recon.toml").exists()


def test_a_line_of_another_length_is_refused_at_its_place(tmp_path: Path) -> None:
    shape = Shape(WIDE)
    write_fixed_pair(tmp_path, 3, shape, shape, "aeio", 100)
    lines = (tmp_path / "new.txt").read_text().splitlines(keepends=True)
    lines[40] = lines[40][1:]
    (tmp_path / "new.txt").write_text("".join(lines))
    ended = recon("init", "old.txt", "new.txt", "--yes", cwd=tmp_path)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "new.txt, line 41" in ended.stderr
    assert "NEW was read in lines of 56 characters as utf-8" in ended.stderr
