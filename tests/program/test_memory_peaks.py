"""The memory budget holds: the peak of a process that compares more than it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest

from recon_engine.runtime.memory import BASE_BYTES, Budget


if TYPE_CHECKING:
    from pathlib import Path


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


def test_keys_of_files_larger_than_the_budget_are_proposed_within_it(
    tmp_path: Path,
) -> None:
    """In a process of its own, whose peak is its own: at most a quarter over."""
    lines = "".join(f"{at // 2:012},{at % 2},{at % 1000}\n" for at in range(600_000))
    (tmp_path / "a.csv").write_text("ID,SEGMENT,X\n" + lines)
    budget = BASE_BYTES + (32 << 20)
    command = [sys.executable, "-c", PROPOSED, str(tmp_path / "a.csv"), str(budget)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, peak, shares = json.loads(done.stdout)
    assert found == ["ID", "SEGMENT"]
    assert shares > 1
    assert peak <= 1.25 * budget


PROPOSED = """
import json, sys
from recon_engine.compare import key_search
from recon_engine.runtime.memory import Budget, peak_rss_bytes
shares = []
counted = key_search._count_shares
key_search._count_shares = lambda *given: shares.append(counted(*given)) or shares[0]
_, path, budget = sys.argv
found = key_search.propose_keys(path, path, budget=Budget(int(budget)))
print(json.dumps([found[0].columns, peak_rss_bytes(), shares[0]]))
"""


@pytest.mark.parametrize(
    ("begin", "end", "options", "fault"),
    [
        ('1||x\n2||"y\n', "\n", {}, "a field of more than 100 lines"),
        ("1||x", "", {"old_quote": "none"}, "a row of"),
        ("", "", {"old_fixed": "ID:1-4,A:5-9"}, "a line of more than"),
    ],
)
def test_a_fault_in_a_text_of_another_syntax_is_found_in_bounded_memory(
    tmp_path: Path, begin: str, end: str, options: dict[str, str], fault: str
) -> None:
    """A quote that is never closed, or no line end: 100 MB of one record."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    new.write_text("ID,A\n1,x\n")
    with old.open("w") as stream:
        stream.write("" if "old_fixed" in options else "ID||A\n" + begin)
        for at in range(100):
            stream.write(f"{at:05}||text of this row{end}" * 40_000)
    command = [sys.executable, "-c", REFUSED, str(old), str(new), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, peak = json.loads(done.stdout)
    assert fault in message
    assert peak <= 1.25 * BASE_BYTES


REFUSED = """
import json, sys
import recon_engine as rx
from recon_engine.runtime.memory import peak_rss_bytes
_, old, new, options = sys.argv
try:
    rx.diff(old, new, keys="ID", delimiter="||:,", **json.loads(options))
except rx.ReconError as error:
    print(json.dumps([str(error), peak_rss_bytes()]))
"""


ROWS = 1_500_000


def repeated_pair(folder: Path, shape: str) -> list[str]:
    """Two files of one key: all rows alike, all unlike, or a few of them changed."""
    for side in ("old", "new"):
        rows = pl.select(pl.lit("K").alias("ID"), paid(shape, side), NOTE=pl.lit("n"))
        rows.write_csv(folder / f"{side}.csv")
    return [str(folder / f"{side}.csv") for side in ("old", "new")]


def paid(shape: str, side: str) -> pl.Expr:
    at = pl.int_range(ROWS).alias("PAID")
    if shape == "one row":
        return at * 0 + 1
    if side == "old":
        return at
    # In another order too.
    changed = pl.lit(shape == "all changed") | (at % 1000 == 0)
    return pl.when(changed).then(at + ROWS).otherwise(at.xor(1)).alias("PAID")


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
    found = {"needed": parse_budget(error.help.split('"')[1]).total}
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
