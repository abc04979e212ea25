"""Every failpoint x kill, term, hang, raise x one crash, or two: nothing lost or twice.

    PYTHONPATH=tests python campaigns/crash_matrix.py docs/crash-matrix.md
        [--delivery pair|parts]

A case delivers a pair, or tables in parts with a done file. It lets the program fail at
one place, in most cases lets the next run fail as well, and runs it again until there
is nothing to do. After every run the invariants are checked (`stand.py`); at the end
the bytes equal those of a clean run.

The page has a section for each delivery. With `--delivery` only that one is played, and
the other section stays as it is.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import stand

from recon_engine.formatting import format_count
from recon_engine.runtime.failpoints import ACTIONS
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from support.stand import Case, Delivery, Ran, Stand


# What a clean run passes, in this order; `tests/test_crashes.py` holds it to that.
PASSED: Final = (
    "recover-abandon",
    "start",
    "claim",
    *(f"fetch:{at}" for at in (1, 2)),
    *(f"stage-create:{at}" for at in (1, 2)),
    *(f"stage-commit:{at}" for at in (1, 2)),
    *(f"artifact:{at}" for at in range(1, 13)),
    "manifest",
    "publish-mark",
    "publish-claim",
    "publish-metrics",
    "publish-breaks",
    *(f"publish-swap:{at}" for at in (1, 2)),
    "publish-commit",
    "publish-confirm",
    *(f"archive-copy:{at}" for at in (1, 2)),
    *(f"archive-remove:{at}" for at in (1, 2)),
    "close",
    "close-steps",
    "report",
)
# What the run after a crash passes: before there is a result, and afterwards.
AGAIN: Final = ("recover-sweep:1", "recover-sweep:2", *PASSED)
RESUMED: Final = (
    "recover-abandon",
    "recover-resume",
    *PASSED[PASSED.index("archive-copy:1") :],
    "note",
)
# A run in parts passes the same places, those of the archive once for each file.
PART_FILES: Final = len(stand.PARTS.files("today"))
PART_PLACES: Final = tuple(
    f"{place}:{at}"
    for place in ("archive-copy", "archive-remove")
    for at in range(1, 1 + PART_FILES)
)
PARTS_RESUMED: Final = (
    "recover-abandon",
    "recover-resume",
    *PART_PLACES,
    *PASSED[PASSED.index("close") :],
    "note",
)
DELIVERIES: Final = {each.name: each for each in (stand.PAIR, stand.PARTS)}
EXIT_CODES: Final = {
    "kill": {-9},
    "raise": {70},
    "hang": {143},
    # A worker that goes on may be done before it is stopped.
    "term": {0, 143},
}
INVARIANTS: Final = {
    "I1": "inputs archived without metrics",
    "I2": "duplicate results",
    "I3": "inputs lost",
    "I4": "stale or half loaded stage tables",
    "I5": "incomplete artifacts visible",
    "I6": "outcomes missing in the run log",
}
HEAD: Final = """# The crash matrix

`make crash-matrix` writes this page.
[campaigns/crash_matrix.py](../campaigns/crash_matrix.py) defines a case.
[protocol.md](protocol.md) describes each place.

I1 to I6 are the guarantees 1 to 6 of protocol.md. `kill` is SIGKILL, `term` is SIGTERM,
`hang` is SIGTERM to a worker that does not answer, and `raise` is an exception.
"""
TITLES: Final = {
    stand.PAIR.name: "## One file on each side",
    stand.PARTS.name: """## A delivery in parts

OLD has {} parts, NEW has {}, and a done file comes last. The process is killed before
each copy and before each removal of the archive. Another failure follows in half of the
cases.""".format(*stand.PARTS.parts),
}
STOP_SECONDS: Final = 10.0
SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the first run of a case fails, and how; then where the next one does."""

    crashes: tuple[tuple[str, str], ...]
    delivery: Delivery = stand.PAIR

    def __str__(self) -> str:
        crashes = ", then ".join(f"{action} at {name}" for name, action in self.crashes)
        return crashes + (", in parts" if self.delivery != stand.PAIR else "")

    @property
    def failpoints(self) -> list[str]:
        return [_spelled(name, action) for name, action in self.crashes]


def _spelled(place: str, action: str) -> str:
    name, _, hit = place.partition(":")
    return f"{name}:{action}:{hit}" if hit else f"{name}:{action}"


def plans(seconds: int = SECONDS) -> Iterator[Plan]:
    """One crash at each place in each way; then each again, with others to follow."""
    committed = PASSED.index("publish-confirm")
    firsts = [
        (at, name, action) for at, name in enumerate(PASSED) for action in ACTIONS
    ]
    for number, (at, name, action) in enumerate(firsts):
        yield Plan(((name, action),))
        pool = RESUMED if at >= committed else AGAIN
        for more in range(seconds):
            step = number * seconds + more
            second = pool[(step * 7) % len(pool)]
            yield Plan(((name, action), (second, ACTIONS[step % len(ACTIONS)])))


def part_plans() -> Iterator[Plan]:
    """A process that is killed at each place of the archive, between any two parts.

    Then each again, with another failure to follow.
    """
    for number, place in enumerate(PART_PLACES):
        yield Plan(((place, "kill"),), stand.PARTS)
        second = PARTS_RESUMED[(number * 7) % len(PARTS_RESUMED)]
        after = (second, ACTIONS[number % len(ACTIONS)])
        yield Plan(((place, "kill"), after), stand.PARTS)


@dataclass(slots=True)
class Outcome:
    """What came of a case."""

    plan: Plan
    runs: list[Ran] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)
    violation: str | None = None


def tried(stand: Stand, plan: Plan) -> Outcome:
    """Play a case; a broken invariant is its outcome, not an exception."""
    outcome = Outcome(plan)
    try:
        with stand.case(delivery=plan.delivery) as case:
            case.deliver("today")
            _play(case, plan, outcome)
    except Exception as error:  # noqa: BLE001 - whatever it is, the case is broken
        outcome.violation = str(error).partition("\n")[0] or "an unnamed assertion"
    return outcome


def try_all(some: Sequence[Plan]) -> list[Outcome]:
    """Play these cases on servers that no other process uses.

    A run that is not killed, stopped or left to hang is a call in this process.
    """
    outcomes = []
    with stand.opened(runs_here=True) as servers:
        for plan in some:
            outcomes.append(tried(servers, plan))
            if outcomes[-1].violation:
                print(f"{plan}: {outcomes[-1].violation}", flush=True)
            if len(outcomes) % 25 == 0:
                print(f"{len(outcomes)} of {len(some)}", flush=True)
    return outcomes


def _play(case: Case, plan: Plan, outcome: Outcome) -> None:
    for (_, action), failpoint in zip(plan.crashes, plan.failpoints, strict=True):
        run = case.run(failpoint)
        outcome.runs.append(run)
        was_reached = '"event": "failpoint"' in run.stderr
        outcome.reached.append(was_reached)
        assert was_reached or len(outcome.runs) > 1, "the first crash did not happen"
        if was_reached:
            assert run.code in EXIT_CODES[action], f"exit code {run.code}: {plan}"
            stop = run.stopped_after or 0
            assert stop < STOP_SECONDS, f"{stop:.1f} s to stop: {plan}"
        case.check()
    outcome.runs += case.until_idle()
    case.check_end()


def report(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The cases of one delivery as a section of the page."""
    violations = [each for each in outcomes if each.violation]
    named = Counter((each.violation or "").partition(":")[0] for each in violations)
    double = sum(len(each.plan.crashes) > 1 for each in outcomes)
    runs = sum(len(each.runs) for each in outcomes)
    crashes = sum(sum(each.reached) for each in outcomes)
    lines = [
        f"recon-engine {__version__}: {len(outcomes):,} cases, {double:,} of them with",
        f"a second crash during recovery; {runs:,} runs of the program, {crashes:,} of",
        f"them made to fail, in {format_count(round(seconds / 60), 'minute')}.",
        "",
        "| broken | times |",
        "|---|---:|",
        *(
            f"| {what} ({name}) | {named.pop(name, 0)} |"
            for name, what in INVARIANTS.items()
        ),
        f"| anything else | {sum(named.values())} |",
        "",
        f"Slowest end after a SIGTERM: {slowest(outcomes):.1f} s.",
        "",
        "| first failure at | " + " | ".join(ACTIONS) + " | runs | broken |",
        "|---|" + "---:|" * (len(ACTIONS) + 2),
        *_rows(outcomes),
        "",
        *(f"- {each.plan}: {each.violation}" for each in violations),
    ]
    return "\n".join(lines).strip() + "\n"


def put_in_order(shares: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """The outcomes of plans that were dealt out in turn, in the order of the plans."""
    dealt = itertools.zip_longest(*shares)
    return [each for turn in dealt for each in turn if each is not None]


def write_page(before: str, sections: Mapping[str, str]) -> str:
    """The page with new sections; the others stay as they are in it."""
    known = {
        name: before.partition(title)[2].partition("\n## ")[0].strip()
        for name, title in TITLES.items()
    }
    body = {name: sections.get(name, known[name]).strip() for name in TITLES}
    parts = [f"{title}\n\n{body[name]}\n" for name, title in TITLES.items()]
    return "\n".join([HEAD, *parts])


def slowest(outcomes: Sequence[Outcome]) -> float:
    """Seconds from a SIGTERM to the end of the process, at the worst."""
    runs = [run for each in outcomes for run in each.runs]
    return max((run.stopped_after or 0 for run in runs), default=0)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for place in dict.fromkeys(each.plan.crashes[0][0] for each in outcomes):
        here = [each for each in outcomes if each.plan.crashes[0][0] == place]
        counts = Counter(each.plan.crashes[0][1] for each in here)
        cells = [
            *(counts[action] for action in ACTIONS),
            sum(len(each.runs) for each in here),
            sum(each.violation is not None for each in here),
        ]
        yield f"| `{place}` | " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Run the campaign and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="first failures whose name has it")
    parser.add_argument("--delivery", choices=DELIVERIES, help="default: both")
    given = parser.parse_args()
    broken = False
    for name in [given.delivery] if given.delivery else DELIVERIES:
        began = time.monotonic()
        every = part_plans() if name == stand.PARTS.name else plans(given.seconds)
        chosen = [plan for plan in every if given.only in plan.crashes[0][0]]
        with ProcessPoolExecutor(given.jobs) as pool:
            dealt = (chosen[at :: given.jobs] for at in range(given.jobs))
            outcomes = put_in_order(list(pool.map(try_all, dealt)))
        # At once: the next delivery takes as long again.
        before = given.report.read_text() if given.report.exists() else ""
        section = report(outcomes, time.monotonic() - began)
        given.report.write_text(write_page(before, {name: section}))
        broken |= any(outcome.violation for outcome in outcomes)
    sys.exit(broken)


if __name__ == "__main__":
    main()
