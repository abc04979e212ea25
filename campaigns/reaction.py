"""How soon a run of a gigabyte ends after a SIGTERM, at moments all along it.

    python tests/reaction.py --rows 4500000 --moments 12

The pair is that of `benchmarks/generate.py`; the places are folders, Postgres is real.
Before the result is published the program has to be gone within a second; afterwards
it may finish its archive. Each time the run log has to say how it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from recon_engine.postgres import migrations
from recon_engine.postgres.embedded import server


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[1]
REACTION_SECONDS: Final = 1.0
STOP_SECONDS: Final = 10.0
FINISHED: Final = ("publish", "archive")


@dataclass(frozen=True, slots=True)
class Reaction:
    """A signal after `at` seconds, during `step`; gone after `took` seconds."""

    at: float
    step: str
    took: float
    code: int

    @property
    def in_time(self) -> bool:
        limit = STOP_SECONDS if self.step in FINISHED else REACTION_SECONDS
        return self.took < limit


@dataclass(frozen=True, slots=True)
class Yard:
    """A master pair, places, and a database."""

    folder: Path
    database: str

    def deliver(self) -> None:
        """The pair again, by links."""
        for master in (self.folder / "pair").glob("*.csv"):
            file = self.folder / "inbound" / master.name
            file.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)
            file.hardlink_to(master)

    def start(self) -> subprocess.Popen[str]:
        """The program, whose log goes to a file."""
        self.deliver()
        places = [
            argument
            for name in ("inbound", "processed", "out")
            for argument in (f"--{name}-s3", str(self.folder / name))
        ]
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with (self.folder / "log").open("w") as log:
            return subprocess.Popen(
                [
                    # A shell's background job passes on that SIGINT is ignored.
                    *("env", "--default-signal=INT"),
                    *(sys.executable, str(ROOT / "run.py"), *places),
                    *("--dataset", "claims", "--keys", "DESYNPUF_ID"),
                    "--recompute",
                ],
                env=os.environ
                | {"RECON_DATABASE_URL": self.database, "TMPDIR": str(temporary)},
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )

    def step(self) -> str:
        """The step that began last."""
        lines = map(json.loads, (self.folder / "log").read_text().splitlines())
        steps = [line["step"] for line in lines if line["event"] == "step_started"]
        return str(steps[-1]) if steps else "start"

    def status(self) -> tuple[str, int]:
        """How the last run ended, as logged."""
        with psycopg.connect(self.database) as connection:
            row = connection.execute(
                "SELECT status, exit_code FROM metrics.pipeline_run_log"
                " ORDER BY run_ts DESC, run_id DESC LIMIT 1"
            ).fetchone()
        return row or ("nothing", 0)

    def react(self, at: float, number: signal.Signals = signal.SIGTERM) -> Reaction:
        """Stop a run after `at` seconds; what it leaves has to be in order."""
        process = self.start()
        try:
            process.wait(at)
        except subprocess.TimeoutExpired:
            step = self.step()
            process.send_signal(number)
        else:
            step = "report"
        began = time.monotonic()
        code = process.wait(60)
        took = time.monotonic() - began
        if code == 128 + number and step not in {*FINISHED, "start"}:
            assert self.status() == ("INTERRUPTED", code), self.status()
            assert len(list((self.folder / "inbound").iterdir())) == 2
        else:
            assert code in {0, 128 + number, -number}, code
        assert not list((self.folder / "tmp").iterdir()), "a work folder is left"
        return Reaction(at, step, took, code)


@contextmanager
def yard(folder: Path) -> Iterator[Yard]:
    """A server for the pair in `folder`/pair."""
    with server.run_embedded_server(durable=False) as conninfo:
        migrations.apply_migrations(conninfo)
        yield Yard(folder, conninfo)


def main() -> None:
    """Generate the pair, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_500_000)
    parser.add_argument("--moments", type=int, default=12)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recon-reaction-") as name:
        folder = Path(name)
        subprocess.run(
            [
                sys.executable, str(ROOT / "benchmarks" / "generate.py"),
                str(folder / "pair"), "--rows", str(given.rows),
            ],
            check=True,
        )  # fmt: skip
        size = sum(path.stat().st_size for path in (folder / "pair").glob("*.csv"))
        print(f"{size / 1e9:.2f} GB in two files", flush=True)
        with yard(folder) as here:
            reactions = list(measured(here, given.moments))
    worst = max(r.took for r in reactions if r.step not in FINISHED)
    print(f"slowest before the result: {worst:.2f} s")
    sys.exit(not all(reaction.in_time for reaction in reactions))


def measured(here: Yard, moments: int) -> Iterator[Reaction]:
    """Reactions at moments all along a run, each printed."""
    began = time.monotonic()
    assert here.start().wait() == 0
    whole = time.monotonic() - began
    print(f"a whole run takes {whole:.1f} s", flush=True)
    for number in range(moments):
        reaction = here.react(whole * (number + 0.5) / moments)
        print(
            f"{reaction.at:6.1f} s  {reaction.step:12} exit {reaction.code:4}"
            f"  gone after {reaction.took:.2f} s",
            flush=True,
        )
        yield reaction


if __name__ == "__main__":
    main()
