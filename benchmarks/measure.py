"""One process from start to end, by the operating system's account of it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final


# Seconds; what takes longer is far from those that are compared.
SLOW: Final = 12.0
LAUNCH: Final = Path(__file__).with_name("launch.py")


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
    launched = [sys.executable, "-I", "-S", str(LAUNCH), str(timeout), *command]
    done = subprocess.run(launched, check=True, stdout=subprocess.PIPE, text=True)
    *said, last = done.stdout.splitlines()
    facts = json.loads(last)
    wall, cpu, rss = facts["wall"], facts["cpu"], facts["rss"]
    if facts["code"]:
        why = (
            f"not done in {timeout:.0f} s"
            if wall >= timeout
            else f"exit {facts['code']}"
        )
        return Run(wall, cpu, rss, None, why)
    printed = [line for line in said if line]
    return Run(wall, cpu, rss, json.loads(printed[-1]))
