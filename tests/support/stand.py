"""A stand for campaigns: the real program, a real Postgres, and an S3 that conditions.

A case is one delivery, of a pair or in parts, with a database and a prefix of its own,
in which yesterday's pair is staged already. After each run of the program the six
invariants are checked; when all is done, the bytes are compared with those of a clean
run.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import psycopg
from psycopg.rows import dict_row
from support.forked_program import ForkedProgram
from support.program import recon
from support.s3_contents import Contents
from support.s3_servers import seaweed_s3

from recon_engine.postgres import migrations
from recon_engine.postgres.embedded import server
from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[2]
BUCKET = "stand"
DATASET = "claims"
DAYS = {
    "yesterday": (
        b"ID,PAID,NOTE\n1,1.00,y\n2,2.00,y\n",
        b"ID,PAID,NOTE\n1,1.00,y\n2,2.50,y\n",
    ),
    "today": (
        b"ID,PAID,NOTE\n1,10.00,a\n2,20.00,b\n3,30.00,c\n4,40.00,\n",
        b'NOTE,ID,PAID\na,1,10\nb,2,20.00\nC,3,30.00\n"",5,50.00\n',
    ),
}
NAMES = ("claims_{}.csv", "claims_{}_NEWSYSTEM.csv")
DONE = "_SUCCESS"
METRICS = (
    "recon_summary",
    "mismatch_by_column",
    "mismatch_signature",
    "mismatch_detail_sample",
    "mismatch_pattern",
    "constant_change",
    "control_total",
    "segment",
    "hint",
    "artifact",
)
BREAKS = (
    "SELECT key_text, column_name, kind, state, runs_seen, old_value, new_value"
    " FROM metrics.break ORDER BY break_id"
)
CLOCK_AND_IDS = frozenset({"run_id", "run_date", "created_ts", "seconds", "uri"})
# The program as it is, and as it would be without the lock: with the lock lost, each
# worker takes the others for dead; with nobody judged, only the unique index decides.
LOCK_LOST = """
import recon_engine.postgres.run_log as journal
journal.LOCK = "SELECT %s::text IS NOT NULL"
"""
NOBODY_JUDGED = """
journal.ABANDON = "SELECT NULL WHERE %s::text IS NULL AND %s::text IS NULL"
"""
PROGRAMS = {
    "locked": "",
    "lock lost": LOCK_LOST,
    "no lock": LOCK_LOST + NOBODY_JUDGED,
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the tables of a day arrive: the parts of OLD and NEW, and a done file."""

    name: str
    parts: tuple[int, int] = (1, 1)
    done: bool = False

    def files(self, day: str) -> dict[str, bytes]:
        """What is delivered, by name; the done file comes last."""
        if self.parts == (1, 1):
            return dict(
                zip((name.format(day) for name in NAMES), DAYS[day], strict=True)
            )
        found = {}
        for name, data, count in zip(NAMES, DAYS[day], self.parts, strict=True):
            header, *rows = data.splitlines(keepends=True)
            for at in range(count):
                # A part may have a header only.
                part = name.format(day).replace(".csv", f"-{at + 1}.csv")
                found[part] = header + b"".join(rows[at::count])
        return found | ({DONE: b"complete\n"} if self.done else {})

    @property
    def arguments(self) -> list[str]:
        """The options of a run that takes it."""
        old, new = self.parts
        parts = ["--old-parts", str(old), "--new-parts", str(new)]
        done = ["--done-file", DONE] if self.done else []
        return [*(parts if self.parts != (1, 1) else []), *done]


PAIR = Delivery("pair")
PARTS = Delivery("parts", (2, 3), done=True)


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run of the program ended."""

    code: int
    status: str | None
    stopped_after: float | None
    stdout: str
    stderr: str


@dataclass(slots=True)
class Stand:
    """The servers, and what a clean run of each delivery ends with.

    `runs_here`: a run that is not killed, stopped or left to hang needs no process.
    """

    postgres: str
    endpoint: str
    client: Any
    runs_here: bool = False
    clean: dict[str, Any] = field(default_factory=dict)
    contents: Contents = field(init=False)

    def __post_init__(self) -> None:
        self.contents = Contents(self.client, BUCKET)

    def clean_result(self, delivery: Delivery) -> dict[str, Any]:
        """What a run of it that nothing disturbs ends with; it is run once."""
        if delivery.name not in self.clean:
            with self.case(delivery=delivery) as case:
                case.deliver("today")
                assert case.run().status == "SUCCEEDED"
                self.clean[delivery.name] = case.result()
        result: dict[str, Any] = self.clean[delivery.name]
        return result

    @contextmanager
    def case(
        self, template: str = "seeded", delivery: Delivery = PAIR
    ) -> Iterator[Case]:
        """A database and a prefix of its own."""
        name = f"case_{uuid4().hex[:12]}"
        # Files are copied in half of the time that writing them to the WAL takes.
        create = f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
        self.administer(create)
        try:
            with ExitStack() as stack:
                address = f"{self.postgres} dbname={name}"
                yield Case(self, name, address, stack, delivery)
        finally:
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def administer(self, statement: str) -> None:
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def opened(*, runs_here: bool = False) -> Iterator[Stand]:
    """A stand whose clean run is done and known."""
    with (
        server.run_embedded_server(durable=False) as postgres,
        seaweed_s3() as endpoint,
    ):
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket=BUCKET)
        stand = Stand(postgres, endpoint, client, runs_here)
        stand.administer("CREATE DATABASE template")
        migrations.apply_migrations(f"{postgres} dbname=template")
        with stand.case("template") as seed:
            seed.deliver("yesterday")
            assert seed.run().status == "SUCCEEDED"
            stand.administer(f"CREATE DATABASE seeded TEMPLATE {seed.name}")
        stand.clean_result(PAIR)
        yield stand
        client.close()


@dataclass(slots=True)
class Case:
    """One delivery and all runs of the program on it."""

    stand: Stand
    name: str
    database: str
    stack: ExitStack
    delivery: Delivery = PAIR
    _reader: psycopg.Connection[dict[str, Any]] | None = None

    def deliver(self, day: str) -> None:
        for name, data in self.delivery.files(day).items():
            key = f"{self.name}/inbound/{name}"
            self.stand.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def start(
        self, failpoint: str | None = None, program: str = "locked"
    ) -> ForkedProgram:
        """The program, at work."""
        environment = os.environ | self.environment
        if failpoint:
            environment[failpoints.VARIABLE] = failpoint
        words = ["run", *self.arguments]
        return ForkedProgram(words, environment, PROGRAMS[program])

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.stand.endpoint,
            "RECON_DATABASE_URL": self.database,
            "POLARS_MAX_THREADS": "2",
        }

    @property
    def arguments(self) -> list[str]:
        places = [
            argument
            for name in ("inbound", "processed", "out")
            for argument in (f"--{name}-s3", f"s3://{BUCKET}/{self.name}/{name}/")
        ]
        return [
            *places,
            *("--dataset", DATASET, "--keys", "ID", "--format", "json"),
            *self.delivery.arguments,
        ]

    def run(self, failpoint: str | None = None) -> Ran:
        armed = Failpoint.parse(failpoint) if failpoint else None
        if not self.stand.runs_here or (armed and armed.action != "raise"):
            return self.ended(self.start(failpoint))
        with patch.object(failpoints, "armed", armed):
            ended = recon("run", *self.arguments, cwd=ROOT, **self.environment)
        return _read_end(ended.returncode, ended.stdout, ended.stderr)

    def ended(self, process: ForkedProgram) -> Ran:
        """Wait for a run, and check what it leaves."""
        out, err = process.communicate(timeout=120)
        assert process.returncode is not None
        return _read_end(process.returncode, out, err)

    def until_idle(self, limit: int = 4) -> list[Ran]:
        """Run again until there is nothing to do."""
        runs = []
        for _ in range(limit):
            runs.append(self.run())
            self.check()
            if runs[-1].status == "NO_FILES":
                return runs
        raise AssertionError(f"not idle after {limit} runs: {runs}")

    # What there is.

    def objects(self, place: str) -> dict[str, bytes]:
        """Everything below a place, by relative key."""
        return self.stand.contents.below(f"{self.name}/{place}/")

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """What a statement finds now; one connection reads all of a case."""
        if self._reader is None:
            reader = psycopg.connect(
                self.database, row_factory=dict_row, autocommit=True
            )
            self._reader = self.stack.enter_context(reader)
        return self._reader.execute(statement.encode()).fetchall()

    def log(self) -> list[dict[str, Any]]:
        """The runs of this case, without that of yesterday."""
        return self.rows(
            "SELECT * FROM metrics.pipeline_run_log"
            f" WHERE config->>'inbound' LIKE '%/{self.name}/%' ORDER BY run_ts, run_id"
        )

    def results(self) -> list[str]:
        """The runs whose metrics are committed."""
        ours = {str(row["run_id"]) for row in self.log()}
        found = self.rows("SELECT run_id FROM metrics.recon_summary")
        return [str(row["run_id"]) for row in found if str(row["run_id"]) in ours]

    def stage(self) -> dict[str, list[tuple[str, ...]]]:
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname='stage'")
        return {
            name: sorted(
                tuple(row[column] for column in ("ID", "PAID", "NOTE"))
                for row in self.rows(f'SELECT * FROM stage."{name}"')
            )
            for name in (row["tablename"] for row in tables)
        }

    def result(self) -> dict[str, Any]:
        """The bytes and rows that every history has to end with."""
        [run_id] = self.results()
        prefix = f"{DATASET}/{run_id}/"
        out = {
            name.removeprefix(prefix): data.replace(run_id.encode(), b"RUN").replace(
                self.name.encode(), b"CASE"
            )
            for name, data in self.objects("out").items()
            if name.startswith(prefix)
        }
        metrics = {
            table: [
                {k: v for k, v in row.items() if k not in CLOCK_AND_IDS}
                for row in self.rows(
                    f"SELECT * FROM metrics.{table} WHERE run_id = '{run_id}'"
                )
            ]
            for table in METRICS
        }
        return {
            "inbound": self.objects("inbound"),
            "processed": {
                name.removeprefix(prefix): data
                for name, data in self.objects("processed").items()
            },
            "out": out,
            "metrics": metrics,
            "breaks": self.rows(BREAKS),
            "stage": self.stage(),
        }

    # The invariants.

    def check(self, *, idle: bool = False) -> None:
        """All six, as far as they hold at any moment."""
        results = self.results()
        log = {str(row["run_id"]): row for row in self.log()}
        self._check_inputs(results)
        assert len(results) <= 1, "I2: two results of one pair"
        recorded = [
            run_id
            for run_id, row in log.items()
            if row["status"] in {"RECONCILED", "SUCCEEDED"}
        ]
        assert recorded == results, "I2: the log and the metrics disagree"
        self._check_stage("today" if results else "yesterday", idle=idle)
        self._check_artifacts(results, set(log))
        if idle:
            open_runs = {row["status"] for row in log.values()} & {
                "STARTED",
                "RECONCILED",
            }
            assert not open_runs, "I6: a run without an outcome"

    def _check_inputs(self, results: list[str]) -> None:
        inbound, processed = self.objects("inbound"), self.objects("processed")
        for today, data in self.delivery.files("today").items():
            archived = [processed.get(f"{DATASET}/{each}/{today}") for each in results]
            if inbound.get(today) != data:
                assert results, "I1: an input left before its metrics"
                assert archived == [data], "I3: an input is lost"
        assert {key.split("/")[1] for key in processed} <= set(results), "I1"

    def _check_stage(self, day: str, *, idle: bool) -> None:
        stage = self.stage()
        for side, data in zip(("old", "new"), DAYS[day], strict=True):
            assert stage.pop(f"{DATASET}_{side}") == _parsed(data), f"I4: not of {day}"
        assert not (stage and idle), "an orphan of stage"

    def _check_artifacts(self, results: list[str], runs: set[str]) -> None:
        out = self.objects("out")
        folders = Counter(name.split("/")[1] for name in out)
        assert set(folders) <= runs, "I6: artifacts of an unknown run"
        for run_id in folders:
            manifest = out.get(f"{DATASET}/{run_id}/manifest.json")
            assert manifest or run_id not in results, "I5: a result without a manifest"
            for each in json.loads(manifest)["artifacts"] if manifest else ():
                data = out[f"{DATASET}/{run_id}/{each['name']}"]
                assert hashlib.sha256(data).hexdigest() == each["sha256"], "I5"

    def check_end(self) -> None:
        """Idle: every run has an outcome, and the bytes are those of a clean run."""
        self.check(idle=True)
        assert self.result() == self.stand.clean_result(self.delivery)
        for row in self.log():
            if row["exit_code"] is not None:
                known = STATUSES[RunStatus(row["error_code"] or row["status"])]
                assert row["exit_code"] == known.exit_code


def _read_end(code: int, out: str, err: str) -> Ran:
    """How a run that has just ended did so, by what it printed."""
    now = time.time()
    assert "Traceback" not in err, err
    document = json.loads(out or "{}")
    status = document.get("run", document).get("status")
    stopped = [
        now - datetime.fromisoformat(line["ts"]).timestamp()
        for line in map(json.loads, err.splitlines())
        if line["event"] == "failpoint" and line["action"] in {"term", "hang"}
    ]
    return Ran(code, status, stopped[0] if stopped else None, out, err)


def _parsed(data: bytes) -> list[tuple[str, ...]]:
    header, *lines = data.decode().splitlines()
    names = header.split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    return sorted(
        tuple(row[column].strip('"') for column in ("ID", "PAID", "NOTE"))
        for row in rows
    )
