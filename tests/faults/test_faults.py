"""Every fault of the table: how the run ends, and that the next one finishes.

The pipeline is the real one, on a real Postgres and on the S3 server that enforces
every condition; proxies before both break what a `Fault` or a `Moment` says. The table
of `docs/faults.md` is that of `fault_table.py`: `ACCEPT_DOCS=1` writes it anew.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import Counter
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.endpoint
import psycopg
import pytest
from support.canaries import everything
from support.fault_table import (
    BUCKET,
    DONE,
    LOG_IS_GONE,
    SCENARIOS,
    SECRET,
    SENT,
    Place,
    Scenario,
    grow,
)
from support.postgres_faults import faulty_postgres
from support.s3_faults import FOREIGN, Faults, faulty_s3
from support.sites import BucketSite

from recon_engine.errors import ReconError
from recon_engine.status import STATUSES, RunStatus, status_of
from recon_engine.storage.s3 import download, errors
from recon_engine.storage.s3.client import ATTEMPTS_VARIABLE


if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def proxy(seaweed: str) -> Iterator[tuple[str, Faults]]:
    """One proxy, and with it one client, for all."""
    with faulty_s3(seaweed) as proxy:
        client = boto3.client("s3", endpoint_url=seaweed)
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield proxy


@pytest.fixture
def place(
    proxy: tuple[str, Faults],
    seaweed: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    endpoint, faults = proxy
    faults.plan()
    impatient(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with faulty_postgres(database) as postgres:
        site = BucketSite(BUCKET, seaweed, postgres.conninfo, uuid4().hex)
        with closing(site.client), ExitStack() as undo:
            place = Place(site, faults, postgres, database, undo)
            for name, data in SENT.items():
                place.deliver(name, data)
            yield place


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is waited for is waited for, only not for long."""
    monkeypatch.setenv(ATTEMPTS_VARIABLE, "3")
    instantly = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr(botocore.endpoint, "time", instantly)
    for module in (errors, download):
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.01, 0.02, 0.03, 0.04))
    monkeypatch.setenv("RECON_LOCK_TIMEOUT", "1")


def ran(place: Place, **changes: Any) -> tuple[RunStatus, int, ReconError | None]:
    """How a run ends, whether it says so or raises."""
    try:
        outcome = place.site.run(**changes)
    except ReconError as error:
        status = status_of(error)
        return status, STATUSES[status].exit_code, error
    return outcome.record.status, outcome.record.exit_code, outcome.error


@pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=lambda scenario: scenario.fault.replace(" ", "_")
)
def test_a_fault_ends_as_the_table_says_and_the_next_run_finishes(
    place: Place, scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="recon_engine")
    scenario.inject(place)
    status, code, error = ran(place, **place.options)
    assert (status, code) == (scenario.status, scenario.exit_code)
    assert place.s3.left == []
    assert place.postgres.moment is None
    assert_reported(error, failed=scenario.status != DONE)
    assert_nothing_lost(place)
    if scenario.status not in LOG_IS_GONE:
        assert "STARTED" not in place.site.statuses()

    repair(place)
    assert ran(place)[0] == scenario.next_status
    assert_nothing_lost(place)
    assert_all_is_reported_and_whole(place)
    if scenario.is_logged:
        codes = place.site.rows("SELECT error_code FROM metrics.pipeline_run_log")
        assert scenario.status in {row["error_code"] for row in codes}
    assert SECRET not in caplog.text
    assert FOREIGN not in caplog.text


def repair(place: Place) -> None:
    """Take the fault away, and wait until the server knows that all have left."""
    place.s3.plan()
    place.site.database = place.direct
    if place.full is None:
        place.undo.close()
    else:
        grow(place.full)
    deadline = time.monotonic() + 60
    while not is_alone(place.direct):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alone(conninfo: str) -> bool:
    others = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with psycopg.connect(conninfo) as connection:
            return connection.execute(others).fetchall() == []
    except psycopg.OperationalError:  # it recovers from a crash
        return False


def assert_reported(error: ReconError | None, *, failed: bool) -> None:
    """What went wrong and how to repair it, without a word of others or a value."""
    assert (error is not None) is failed
    if error is not None:
        assert error.help
        text = "".join(everything(error))
        assert SECRET not in text
        assert FOREIGN not in text
        assert "terminating connection" not in text


def assert_nothing_lost(place: Place) -> None:
    """All that was delivered, and not overwritten by its producer, is somewhere."""
    kept = set(place.inbound().items())
    kept |= {
        (name.rpartition("/")[2], data)
        for name, data in place.site.names(place.site.processed).items()
    }
    assert {each for each, ours in place.delivered.items() if ours} <= kept


def assert_all_is_reported_and_whole(place: Place) -> None:
    """Every attempt has an end, every result is one and whole, and nothing is left."""
    log = place.site.rows("SELECT * FROM metrics.pipeline_run_log")
    assert not {"STARTED", "RECONCILED"} & {row["status"] for row in log}
    assert SECRET not in str(log)
    assert FOREIGN not in str(log)
    succeeded = [row for row in log if row["status"] == DONE]
    assert max(Counter(row["run_fp"] for row in succeeded).values(), default=1) == 1
    summaries = place.site.rows("SELECT run_id FROM metrics.recon_summary")
    assert {row["run_id"] for row in summaries} == {row["run_id"] for row in succeeded}
    tables = place.site.rows("SELECT tablename FROM pg_tables WHERE schemaname='stage'")
    public = {"claims_old", "claims_new"} if succeeded else set()
    assert {row["tablename"] for row in tables} == public
    out = place.site.names(place.site.out)
    for row in succeeded:
        assert_whole(out, f"claims/{row['run_id']}")


def assert_whole(out: dict[str, bytes], prefix: str) -> None:
    for each in json.loads(out[f"{prefix}/manifest.json"])["artifacts"]:
        data = out[f"{prefix}/{each['name']}"]
        assert sha256(data).hexdigest() == each["sha256"]


def test_the_table_of_the_docs_is_that_of_the_tests() -> None:
    text = DOCS.read_text()
    rows = [
        f"| {each.fault} | `{each.status}` | {each.exit_code} | {each.then} |"
        for each in SCENARIOS
    ]
    head = ["| fault | the run ends as | exit | the next run |", "|---|---|---|---|"]
    table = "\n".join([*head, *rows])
    found = re.compile(r"\| fault \|.*?(?=\n\n)", re.DOTALL)
    if "ACCEPT_DOCS" in os.environ:
        DOCS.write_text(found.sub(lambda _: table, text))
    assert table in text
