"""The memory budget: what it allows, what it refuses, and what it says then."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING

import pytest
from support.fault_table import small_disk

import recon_engine as rx
from recon_engine.errors import ConfigError, DiskFull, OutOfBudget
from recon_engine.runtime import memory
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
    assert str(caught.value.message).startswith("the memory budget is 1.00MiB, but ")


def test_differences_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name in ("old", "new"):
        rows = "".join(f"{name}{at},{'x' * 1000}\n" for at in range(2_000))
        (tmp_path / f"{name}.csv").write_text("ID,X\n" + rows)
    files = tmp_path / "old.csv", tmp_path / "new.csv"
    with pytest.raises(OutOfBudget, match="are needed"):
        rx.diff(*files, keys="ID", memory_budget=str(BASE_BYTES + 1_000_000))
    assert rx.diff(*files, keys="ID").counts.missing == 2_000


def test_the_peak_is_known_where_the_status_of_the_process_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t1000 kB\n")
    monkeypatch.setattr(memory, "PROCESS_STATUS", tmp_path / "status")
    assert memory.peak_rss_bytes() > 10 << 20


def test_the_default_is_a_part_of_the_machine() -> None:
    assert 1 << 28 < default_budget().total < 1 << 44


def test_a_disk_that_digests_fill_is_reported_as_full(
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
