"""The memory budget: what it allows, what it refuses, and what it says then."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from support.fault_table import small_disk

import recon_engine as rx
from recon_engine.errors import ConfigError, DiskFull, OutOfBudget
from recon_engine.runtime.memory import (
    BASE_BYTES,
    DIGESTS_SHARE,
    ROW_BYTES,
    Budget,
    default_budget,
    parse_budget,
)


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("2GiB", 2 << 30),
        ("1500M", 1500 << 20),
        ("1.5 gb", 3 << 29),
        ("7k", 7 << 10),
    ],
)
def test_a_budget_is_a_size(text: str, size: int) -> None:
    assert parse_budget(text).total == size


@pytest.mark.parametrize("text", ["", "much", "-1", "2GiBs", "1e9"])
def test_what_is_no_size_is_a_wrong_command(text: str) -> None:
    with pytest.raises(ConfigError, match="not a valid size"):
        parse_budget(text)


def test_there_are_as_many_buckets_as_the_budget_needs() -> None:
    budget = Budget(BASE_BYTES + math.ceil(1_000 * ROW_BYTES / DIGESTS_SHARE))
    assert [budget.buckets(rows) for rows in (0, 1_000, 1_001, 5_000)] == [1, 1, 2, 5]


def test_a_budget_below_the_least_is_refused_with_what_is_needed() -> None:
    with pytest.raises(OutOfBudget) as caught:
        Budget(1 << 20).buckets(1)
    # Rounded upwards: with a little less it would be refused again.
    needed = math.ceil((BASE_BYTES + (32 << 20)) / (1 << 30) * 100) / 100
    assert f"--memory-budget {needed:.2f}GiB" in str(caught.value.help)


def test_differences_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name in ("old", "new"):
        rows = "".join(f"{name}{at},{'x' * 1000}\n" for at in range(2_000))
        (tmp_path / f"{name}.csv").write_text("ID,X\n" + rows)
    files = tmp_path / "old.csv", tmp_path / "new.csv"
    with pytest.raises(OutOfBudget, match="are needed"):
        rx.diff(*files, keys="ID", memory_budget=str(BASE_BYTES + 1_000_000))
    assert rx.diff(*files, keys="ID").counts.missing == 2_000


def test_a_pair_larger_than_its_budget_stays_within_it(tmp_path: Path) -> None:
    """In a process of its own, whose peak is its own: at most a quarter over."""
    rows = range(600_000)
    (tmp_path / "old.csv").write_text(
        "ID,X\n" + "".join(f"{at:012},{at}\n" for at in rows)
    )
    (tmp_path / "new.csv").write_text(
        "ID,X\n" + "".join(f"{at:012},{at + (at % 100 == 0)}\n" for at in rows)
    )
    budget = BASE_BYTES + (24 << 20)
    assert Budget(budget).buckets(2 * len(rows)) > 1
    files = [str(tmp_path / name) for name in ("old.csv", "new.csv")]
    command = [sys.executable, "-c", WITHIN, *files, str(budget)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["mismatched"] == len(rows) // 100
    assert found["peak"] <= 1.25 * budget


WITHIN = """
import json, sys
import recon_engine as rx
d = rx.diff(sys.argv[1], sys.argv[2], keys="ID", memory_budget=sys.argv[3])
n = d.counts.mismatched_rows
print(json.dumps({"peak": d.engine.peak_rss_bytes, "mismatched": n}))
"""


def test_the_default_is_a_part_of_the_machine() -> None:
    assert 1 << 28 < default_budget().total < 1 << 44


def test_a_disk_that_digests_fill_is_told_as_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.csv"
    path.write_text("ID\n" + "".join(f"{at}\n" for at in range(200_000)))
    little = f"{BASE_BYTES + (40 << 20)}"
    with small_disk("2m") as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(DiskFull) as caught:
            rx.diff(path, path, keys="ID", memory_budget=little)
    assert caught.value.why == "ENOSPC"


ROWS = 1_500_000


def repeated_pair(folder: Path, shape: str) -> list[str]:
    """Two files of one key: all rows alike, all unlike, or a few of them changed."""
    for side in ("old", "new"):
        with (folder / f"{side}.csv").open("w") as file:
            file.write("ID,PAID,NOTE\n")
            file.writelines(f"K,{paid(shape, side, at)},n\n" for at in range(ROWS))
    return [str(folder / f"{side}.csv") for side in ("old", "new")]


def paid(shape: str, side: str, at: int) -> int:
    if shape == "one row":
        return 1
    changed = side == "new" and (shape == "all changed" or at % 1000 == 0)
    # In another order too.
    return at + ROWS if changed else at if side == "old" else (at ^ 1)


def run_within(files: list[str], budget: int) -> dict[str, int]:
    command = [sys.executable, "-c", REPEATED, *files, str(budget)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


REPEATED = """
import json, sys
import recon_engine as rx
from recon_engine.runtime.memory import parse_budget, peak_rss_bytes
try:
    d = rx.diff(sys.argv[1], sys.argv[2], keys="ID", memory_budget=sys.argv[3])
    found = {"matched": d.counts.matched, "differ": d.counts.mismatched_rows}
    found["repeats"] = d.old.duplicate_key_rows
except rx.ReconError as error:
    assert error.status == "OUT_OF_BUDGET", error
    found = {"needed": parse_budget(error.help.split()[1].rstrip(",")).total}
print(json.dumps({"peak": peak_rss_bytes(), **found}))
"""


@pytest.mark.parametrize("shape", ["one row", "a few changed"])
def test_one_key_in_all_rows_stays_within_the_budget(
    tmp_path: Path, shape: str
) -> None:
    budget = BASE_BYTES + (72 << 20)
    assert Budget(budget).pieces(2 * ROWS) > 1
    found = run_within(repeated_pair(tmp_path, shape), budget)
    changed = 0 if shape == "one row" else ROWS // 1000
    assert (found["matched"], found["differ"]) == (ROWS, changed)
    assert found["repeats"] == ROWS
    assert found["peak"] <= 1.25 * budget


def test_one_key_that_cannot_be_paired_in_the_budget_is_refused_with_what_is_needed(
    tmp_path: Path,
) -> None:
    files = repeated_pair(tmp_path, "all changed")
    budget = BASE_BYTES + (72 << 20)
    refused = run_within(files, budget)
    assert refused["peak"] <= 1.25 * budget
    found = run_within(files, refused["needed"])
    assert (found["matched"], found["differ"]) == (ROWS, ROWS)
    assert found["peak"] <= 1.25 * refused["needed"]


@pytest.mark.parametrize("swapped", [False, True])
def test_which_of_equal_rows_is_left_over_has_nothing_to_do_with_file_order(
    tmp_path: Path, *, swapped: bool
) -> None:
    """They are equal but for a column that is ignored."""
    rows = ["K,1,a\n", "K,1,b\n"]
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("ID,PAID,NOTE\n" + "".join(reversed(rows) if swapped else rows))
    new.write_text("ID,PAID,NOTE\nK,1,c\n")
    found = rx.diff(old, new, keys="ID", ignore=["NOTE"])
    assert found.missing()["NOTE"].to_list() == ["b"]
    back = rx.diff(new, old, keys="ID", ignore=["NOTE"])
    assert back.extra()["NOTE"].to_list() == ["b"]
