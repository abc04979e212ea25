"""Another major version of Postgres begins with an empty history, and says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.program import recon
from support.tls_postgres import programs

from recon_engine.pipeline.doctor import CheckState, examine_setup
from recon_engine.postgres.embedded import server


if TYPE_CHECKING:
    from pathlib import Path


DATASET = ("--dataset", "claims", "--format", "json")
PLACES = (
    *("--inbound-s3", "in", "--processed-s3", "processed", "--out-s3", "out"),
    *("--keys", "ID", *DATASET),
)


def deliver(folder: Path, paid: int) -> None:
    (folder / "in").mkdir(exist_ok=True)
    for name, amount in (("claims.csv", 1), ("claims_NEWSYSTEM.csv", paid)):
        (folder / "in" / name).write_text(f"ID,PAID\n1,{amount}\n2,5\n")


def test_a_run_under_another_major_version_says_what_it_does_not_see(
    tmp_path: Path,
) -> None:
    deliver(tmp_path, 2)
    first = recon("run", *PLACES, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "other_major_version" not in first.stderr
    deliver(tmp_path, 3)
    second = recon("run", *PLACES, cwd=tmp_path, RECON_PG_BIN=str(programs()))
    assert second.returncode == 0, second.stderr
    [said] = [
        line
        for line in map(json.loads, second.stderr.splitlines())
        if line["event"] == "other_major_version"
    ]
    assert "runs, breaks and gates that version 18 recorded in .recon" in said["found"]
    assert "set RECON_PG_BIN to" in said["remedy"]
    # Also where they are looked up, and by the doctor.
    past = recon("history", *DATASET, cwd=tmp_path)
    assert "that version 17 recorded in" in past.stderr
    assert len(json.loads(past.stdout)) == 1
    shown = recon("doctor", "--format", "json", cwd=tmp_path)
    [found] = [each for each in json.loads(shown.stdout) if each["check"] == "history"]
    assert found["state"] == "warn"
    assert "that version 17 recorded in" in found["found"]
    assert "RECON_PG_BIN" in found["remedy"]


def test_a_home_of_one_version_is_well(tmp_path: Path, database: str) -> None:
    for home in (tmp_path, tmp_path / "none"):
        found = {each.check: each for each in examine_setup({}, database, home=home)}
        assert found["history"].state is CheckState.OK
    assert "history" not in {each.check for each in examine_setup({}, database)}


@pytest.mark.parametrize("name", ["cluster-17.lock", "cluster-old", "cluster-17.new"])
def test_what_is_no_cluster_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert server.unseen_clusters(tmp_path, 18) is None
