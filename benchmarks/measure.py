"""One process from start to end, by the operating system's account of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Any, Final


# Seconds; what takes longer is far from those that are compared.
SLOW: Final = 12.0


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds, bytes at the peak, and the JSON it printed last (None: it failed)."""

    wall: float
    cpu: float
    rss: int
    said: dict[str, Any] | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """The medians over some runs of one command, and what the last of them said."""

    wall: float
    cpu: float
    rss: int
    runs: int
    said: dict[str, Any] | None
    error: str | None = None

    @classmethod
    def of(cls, runs: list[Run]) -> Figure:
        """The medians; of a command that failed, the failed run."""
        wall, cpu, rss = (
            statistics.median(getattr(run, name) for run in runs)
            for name in ("wall", "cpu", "rss")
        )
        last = runs[-1]
        return cls(
            round(wall, 3), round(cpu, 3), int(rss), len(runs), last.said, last.error
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def in_turns(
    commands: dict[str, list[str]], *, runs: int, timeout: float
) -> dict[str, Figure]:
    """Run commands A B C A B C …: a machine whose speed drifts is fair to all.

    A first turn warms the page cache and is not counted, unless it fails, or takes more
    than SLOW seconds: such a command is run once.
    """
    found: dict[str, list[Run]] = {name: [] for name in commands}
    slow = set[str]()
    for turn in range(runs + 1):
        for name, command in commands.items():
            if name in slow:
                continue
            done = run(command, timeout)
            if done.said is None or (not turn and done.wall > SLOW):
                slow.add(name)
            if turn or name in slow:
                found[name].append(done)
            print(
                f"  {name:28} {done.wall:8.2f} s {done.rss >> 20:7,} MiB"
                + (f"  {done.error}" if done.error else ""),
                flush=True,
            )
    return {name: Figure.of(each) for name, each in found.items()}


def run(command: list[str], timeout: float) -> Run:
    """One process; killed after `timeout` seconds."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as p:
        killer = subprocess.Popen(
            ["/bin/sh", "-c", f"sleep {timeout}; kill -9 {p.pid}"],
            start_new_session=True,
        )
        assert p.stdout is not None
        said = p.stdout.read().decode()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        os.killpg(killer.pid, 9)
        killer.wait()
    wall, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
    rss = used.ru_maxrss << 10
    if p.returncode:
        why = (
            f"not done in {timeout:.0f} s"
            if wall >= timeout
            else f"exit {p.returncode}"
        )
        return Run(wall, cpu, rss, None, why)
    return Run(wall, cpu, rss, json.loads(said.splitlines()[-1]))
