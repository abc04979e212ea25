"""Two or three workers at once on one inbound place: one of them has the result.

    PYTHONPATH=tests python campaigns/races.py docs/races.md

The workers start at random offsets; a third of the races are with the lock, a third
with the lock lost, as when its connection breaks, and a third without any: then only
the unique index keeps a second result away. The invariants are those of the crash
matrix.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import stand

from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.stand import Ran, Stand


RACES: Final = 300
SEED: Final = 2026
# A run takes about a second, the first half of which is its start.
OFFSET_SECONDS: Final = 0.4
HEAD: Final = """# The races

`make races` writes this page.
[campaigns/races.py](../campaigns/races.py) defines a race.

*locked*: the program as it is. *lock lost*: each worker runs as if it held the lock,
and takes the others for dead. *no lock*: the same, but nobody is taken for dead, so
only the unique index decides.
"""


@dataclass(frozen=True, slots=True)
class Race:
    """When each worker starts, in seconds, and by which of the `stand`'s programs."""

    offsets: tuple[float, ...]
    program: str

    def __str__(self) -> str:
        return f"{len(self.offsets)} workers, {self.program}"


@dataclass(slots=True)
class Outcome:
    """What came of a race."""

    race: Race
    runs: list[Ran] = field(default_factory=list)
    violation: str | None = None


def races(count: int = RACES, seed: int = SEED) -> Iterator[Race]:
    """Two and three workers, with the lock and without it, in turn."""
    chance = random.Random(seed)
    kinds = itertools.cycle(itertools.product(stand.PROGRAMS, (2, 3)))
    for program, workers in itertools.islice(kinds, count):
        offsets = (chance.uniform(0, OFFSET_SECONDS) for _ in range(workers))
        yield Race(tuple(sorted(offsets)), program)


def run(servers: Stand, race: Race) -> Outcome:
    """Let the workers race, and then run until all is done."""
    outcome = Outcome(race)
    try:
        with servers.case() as case:
            case.deliver("today")
            started = []
            for wait, offset in itertools.pairwise((0.0, *race.offsets)):
                time.sleep(offset - wait)
                started.append(case.start(program=race.program))
            outcome.runs = [case.ended(process) for process in started]
            case.check()
            case.until_idle()
            case.check_end()
            _check_answers(outcome)
    except Exception as error:  # noqa: BLE001 - whatever it is, the race is broken
        outcome.violation = str(error).partition("\n")[0] or repr(error)
    return outcome


def _check_answers(outcome: Outcome) -> None:
    statuses = [run.status for run in outcome.runs]
    assert statuses.count("SUCCEEDED") <= 1, f"I2: {statuses}"
    assert 70 not in {run.code for run in outcome.runs}, f"a bug: {statuses}"
    if outcome.race.program != "lock lost":
        assert statuses.count("SUCCEEDED") == 1, f"nobody had the result: {statuses}"


def report(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The campaign as a page."""
    kinds = sorted({str(outcome.race) for outcome in outcomes})
    broken = [outcome for outcome in outcomes if outcome.violation]
    lines = [
        HEAD,
        f"recon-engine {__version__}: {len(outcomes)} races in {seconds:.0f} s.",
        "After each race, the pair has exactly one result and is archived once.",
        "",
        "| race | times | broken | how the workers ended |",
        "|---|---:|---:|---|",
        *(_row(kind, outcomes) for kind in kinds),
        "",
        *(f"- {outcome.race}: {outcome.violation}" for outcome in broken),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _row(kind: str, outcomes: Sequence[Outcome]) -> str:
    mine = [outcome for outcome in outcomes if str(outcome.race) == kind]
    ends = Counter(str(run.status) for outcome in mine for run in outcome.runs)
    shown = ", ".join(f"{status} {count}" for status, count in ends.most_common())
    broken = sum(outcome.violation is not None for outcome in mine)
    return f"| {kind} | {len(mine)} | {broken} | {shown} |"


def main() -> None:
    """Run the campaign and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--races", type=int, default=RACES)
    parser.add_argument("--jobs", type=int, default=2, help="races at the same time")
    given = parser.parse_args()
    began = time.monotonic()
    with stand.opened() as servers, ThreadPoolExecutor(given.jobs) as pool:
        outcomes = list(pool.map(lambda race: run(servers, race), races(given.races)))
    given.report.write_text(report(outcomes, time.monotonic() - began))
    sys.exit(any(outcome.violation for outcome in outcomes))


if __name__ == "__main__":
    main()
