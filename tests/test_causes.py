"""Causes: a migration with known faults is told by them; its hints lead to the rest.

OLD and NEW differ by reformatted dates, lost leading zeros, rounded amounts, drifted
keys, a renamed column, and two real changes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import recon_engine as rx


if TYPE_CHECKING:
    from pathlib import Path


ROWS = 400
OPTIONS_OF_KEYS = {"drop_key", "unique_key"}


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """`old.csv` and `new.csv`."""
    migrated(tmp_path)
    return tmp_path


def migrated(folder: Path) -> tuple[Path, Path]:
    """Write the pair."""
    old, new = ["ID,DOB,CODE,PAID,STATE,NOTE"], ["ID,DOB,CODE,PAID,REGION,NOTE"]
    for at in range(ROWS):
        key, day, code = f"{at + 1:06}", at % 28 + 1, f"{at % 90:03}"
        amount = f"{at * 7}.{at % 1000:03}"
        old.append(f"{key},202601{day:02},{code},{amount},S{at % 7},n{at}")
        note, code = f"n{at}", code.lstrip("0") or "0" if at % 4 == 0 else code
        paid = f"{at * 7 + (at % 1000) / 1000:.2f}" if at % 2 else amount
        if at == 11:
            paid = "99999.00"
        if at == 12:
            note = "someone else"
        key = key.lstrip("0") if at % 10 == 0 else key
        new.append(f"{key},2026-01-{day:02},{code},{paid},S{at % 7},{note}")
    paths = folder / "old.csv", folder / "new.csv"
    for path, lines in zip(paths, (old, new), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


def recon(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recon_cli", "diff", "old.csv", "new.csv", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def document(folder: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recon(folder, *arguments, "-f", "json").stdout)
    return found


def test_a_refused_drift_is_told_with_the_rename_to_paste(pair: Path) -> None:
    refused = recon(pair, "-k", "ID")
    assert refused.returncode == 3
    assert "if it was renamed: --map STATE=REGION" in refused.stderr


def test_the_verdict_names_each_cause_with_its_count(pair: Path) -> None:
    said = recon(pair, "-k", "ID", "--on-schema-drift", "compare").stdout
    for cause in (
        "--map STATE=REGION compares them",
        "ID: 40 rows are missing, 100% of them extra under another leading zeros",
        "--rule ID=lstrip0 pairs 40",
        "DOB: 360 differ, 100% date format",
        "--rule 'DOB=date(%Y%m%d|%Y-%m-%d)' removes 360",
        "--rule CODE=lstrip0 removes",
        "--rule 'PAID=decimal(abs=0.005)' removes",
        "sum: PAID: ",
    ):
        assert cause in said, said


def test_following_the_hints_one_by_one_leaves_the_real_changes(pair: Path) -> None:
    keys, flags = ["-k", "ID"], ["--on-schema-drift", "compare"]
    followed = []
    while hints := document(pair, *keys, *flags)["hints"]:
        flag = shlex.split(hints[0]["flag"])
        assert flag not in followed
        followed.append(flag)
        if hints[0]["kind"] in OPTIONS_OF_KEYS:
            keys = flag
        else:
            flags += flag
    left = document(pair, *keys, *flags)
    assert left["counts"]["missing"] == left["counts"]["extra"] == 0
    assert left["schema_drift"]["only_in_old"] == []
    assert sorted(row["payload"].popitem()[0] for row in left["sample"]) == [
        "NOTE",
        "PAID",
    ]
    assert left["counts"]["mismatched_cells"] == 2


def test_a_column_that_makes_the_key_unique_is_hinted(tmp_path: Path) -> None:
    rows = "".join(f"{at // 2},{at % 2},same\n" for at in range(10))
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text("ID,SEGMENT,X\n" + rows)
    found = rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="ID").hints
    assert [(hint.kind, hint.flag) for hint in found] == [
        ("unique_key", "--key ID --key SEGMENT")
    ]
    keys = ["ID", "SEGMENT"]
    assert not rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys=keys).hints


def test_a_value_that_differences_concentrate_in_is_a_segment(tmp_path: Path) -> None:
    rows = [(f"{at}", f"S{at % 20}") for at in range(2_000)]
    lines = [f"{key},{state}\n" for key, state in rows]
    kept = [f"{key},{state}\n" for key, state in rows if state != "S7"]
    (tmp_path / "old.csv").write_text("ID,STATE\n" + "".join(lines))
    (tmp_path / "new.csv").write_text("ID,STATE\n" + "".join(kept))
    [segment] = rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="ID").segments
    assert (segment.of, segment.column, segment.value) == ("missing", "STATE", "S7")
    assert (segment.rows, segment.share, segment.base) == (100, 1.0, 0.05)


def test_differences_all_over_have_no_segment(tmp_path: Path) -> None:
    rows = [(f"{at}", f"S{at * 7 % 20}", at % 9 == 0) for at in range(2_000)]
    for name, changed in (("old", "a"), ("new", "b")):
        (tmp_path / f"{name}.csv").write_text(
            "ID,STATE,X\n"
            + "".join(f"{k},{s},{changed if c else ''}\n" for k, s, c in rows)
        )
    found = rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="ID").segments
    assert {segment.column for segment in found} <= {"X"}


def test_totals_are_of_the_cells_that_differ_tolerated_or_not(tmp_path: Path) -> None:
    found = totals_of(
        tmp_path,
        "1,10.00,5.00\n2,20.00,5.00\n3,30.00,5.00\n",
        "1,10.00,5.00\n2,20.01,5.00\n3,35.00,5.00\n4,1.50,\n",
        rules={"PAID": ["decimal(abs=0.01)"]},
    )
    assert found == {
        "PAID": {"old": "50.00", "new": "55.01", "missing": "0", "extra": "1.50"}
    }


@pytest.mark.parametrize(
    ("old", "new", "others"),
    [
        ("470", "471", "007"),
        ("470", "471", "none"),
        ("20251231", "20260101", "20260202"),
    ],
)
def test_codes_have_no_totals_though_the_changed_ones_are_numbers(
    tmp_path: Path, old: str, new: str, others: str
) -> None:
    assert totals_of(tmp_path, *(f"1,{one}\n2,{others}\n" for one in (old, new))) == {}


def totals_of(folder: Path, old: str, new: str, **options: Any) -> dict[str, Any]:
    width = 1 + old.partition("\n")[0].count(",")
    header = ",".join(["ID", "PAID", "FEE"][:width]) + "\n"
    (folder / "old.csv").write_text(header + old)
    (folder / "new.csv").write_text(header + new)
    result = rx.diff(folder / "old.csv", folder / "new.csv", keys="ID", **options)
    return {
        each.column: {name: f"{value:f}" for name, value in each.parts().items()}
        for each in result.totals
    }
