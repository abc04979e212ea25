"""Causes: a migration with known faults is shown by them; its hints lead to the rest.

OLD and NEW differ by reformatted dates, lost leading zeros, rounded amounts, drifted
keys, a renamed column, and two real changes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.databases import migrated
from support.program import recon

import recon_engine as rx
from recon_engine.analysis import totals


if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """`old.csv` and `new.csv`."""
    migrated(tmp_path)
    return tmp_path


def diff_of(folder: Path, *arguments: str) -> CompletedProcess[str]:
    return recon("diff", "old.csv", "new.csv", *arguments, cwd=folder)


def test_a_refused_drift_is_reported_with_the_rename_to_paste(pair: Path) -> None:
    refused = diff_of(pair, "-k", "ID")
    assert refused.returncode == 3
    assert "if it was renamed: --map STATE=REGION" in refused.stderr


CAUSES = (
    "STATE of OLD and REGION of NEW agree in 360 of 360 rows; --map STATE=REGION",
    (
        "ID: 40 rows are missing; 100% would match an extra row if leading "
        "zeros were ignored; "
    ),
    "; --rule ID=lstrip0 pairs 40\n",
    "DOB: 360 differ, 100% date format; ",
    "; --rule 'DOB=date(%Y%m%d|%Y-%m-%d)' removes 360\n",
    "CODE: 80 differ, 100% leading zeros; --rule CODE=lstrip0 removes 80\n",
    "PAID: 200 differ, 99% rounding; ",
    "; --rule 'PAID=decimal(abs=0.005)' removes 199\n",
    "not explained by any hint: 2 of 641 differing cells · 0 of 40 missing rows · ",
    "sum: PAID: ",
)


def test_the_verdict_names_each_cause_with_its_count(pair: Path) -> None:
    said = diff_of(pair, "-k", "ID", "--on-schema-drift", "compare").stdout
    assert [cause for cause in CAUSES if cause not in said] == [], said


RENAMED = re.compile(r"if it was renamed: (--map [^;]+);")
HELP = re.compile(
    r"^help \d+: .+?; (?P<flag>--.+) (?:removes|pairs) (?P<count>[\d,]+)$", re.MULTILINE
)


@pytest.mark.slow
def test_following_the_printed_hints_one_by_one_leaves_the_real_changes(
    pair: Path,
) -> None:
    """As a person does: paste the first flag that is printed, and look again."""
    [renamed] = RENAMED.findall(diff_of(pair, "-k", "ID").stderr)
    flags = ["-k", "ID", *shlex.split(renamed)]
    said, counts = look(pair, flags)
    followed = {}
    while printed := HELP.search(said):
        followed[printed["flag"]] = promised = int(printed["count"].replace(",", ""))
        flags += shlex.split(printed["flag"])
        before = counts
        said, counts = look(pair, flags)
        assert promised in (before - counts).values(), followed
    assert followed == {
        "--rule ID=lstrip0": 40,
        "--rule 'DOB=date(%Y%m%d|%Y-%m-%d)'": 400,
        "--rule 'PAID=decimal(abs=0.005)'": 199,
        "--rule CODE=lstrip0": 100,
    }
    assert "✗ DIFFER  2 of 400 matched rows differ\n" in said
    assert (counts["missing"], counts["extra"], counts["mismatched_cells"]) == (0, 0, 2)
    assert json.loads((pair / "result.json").read_text())["sample"] == [
        {"key": {"ID": "000013"}, "payload": {"NOTE": "n12~someone else"}},
        {"key": {"ID": "000012"}, "payload": {"PAID": "77.011~99999.00"}},
    ]


def look(folder: Path, flags: list[str]) -> tuple[str, Counter[str]]:
    """What is printed, and the counts, which are written to `result.json`."""
    said = diff_of(folder, *flags, "-o", "result.json").stdout
    return said, Counter(json.loads((folder / "result.json").read_text())["counts"])


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


AMOUNTS = st.from_regex(
    r"[+-]?(0|[1-9][0-9]{0,20}|[1-9][0-9]{0,2}(,[0-9]{3}){1,4})([.][0-9]{0,20})?",
    fullmatch=True,
    alphabet="+-,.0123456789",
)


@given(texts=st.lists(AMOUNTS, min_size=1, max_size=9), few=st.sampled_from([0, 1000]))
def test_sums_are_exact_in_integers_and_in_decimals(texts: list[str], few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(totals, "FEW_TEXTS", few)
        found = totals.sum_rows(pl.DataFrame({"v": texts}))["v"]
    exact = sum(Fraction(text.replace(",", "")) for text in texts)
    assert Fraction(found.value) == exact
