"""The run protocol as a small world that is explored whole: a specification to run.

Two workers, of one dataset or of two, with the same settings or others, do the steps of
the pipeline (`runner`), under its names. Between any two of them a worker may crash, a
reply to COMMIT may be lost (and the COMMIT take effect later, or never), the connection
that holds the lock may break, and a producer may write either input anew, or deliver a
pair again; bytes that were written over do not return. Every order of all that is
tried, within a `Budget`, and each world that can be reached is held against the
invariants:

I1  an input leaves inbound only after its metrics are committed
I2  of two results of a pair, one after the other, the settings differ
I3  no input is lost, also when the producer replaces it meanwhile
I4  what readers see in stage is all of one recorded run, and exactly its pair
I5  artifacts are visible only when complete: the manifest is last, and before a result
I6  after the next run at the latest the log tells how every attempt ended, and nothing
    that could be done is left; a row that tells an end is never changed
I7  a version of a file has results of one dataset

A step is one effect that others can see. What nobody sees (loading private tables,
comparing) is no step of its own: it commutes with everything.

`make model` explores further than the tests do, and reports.
"""

from __future__ import annotations

import functools
import gc
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pair = tuple[int, int]  # the versions of OLD and NEW; 0 is none
    Tables = tuple[tuple[int, int], tuple[int, int]]  # OLD and NEW: run, version
    Next = Iterator[tuple["World", "Worker"]]
    Step = Callable[["Protocol", "World", "Worker"], Next]

OLD, NEW = SIDES = (0, 1)
NOBODY: Final = -1
NOTHING: Final = (0, 0)
ROUNDS: Final = 4
NOT_STAGED: Final = (NOBODY, 0)

STARTED, RECONCILED, SUCCEEDED = "STARTED", "RECONCILED", "SUCCEEDED"
UNTOLD: Final = ""  # only mutants
RECORDED: Final = (RECONCILED, SUCCEEDED)

# The ten steps of pipeline.py (from 0), and which effects of each others can see.
EFFECTS: Final[dict[str, tuple[str, ...]]] = {
    "lock": ("lock",),
    "recover": ("recover",),
    "list": ("list",),
    "identify": ("identify", "start"),
    "fetch": ("fetch old", "fetch new"),
    "stage": (),
    "compare": (),
    "write": ("write artifacts", "write manifest"),
    "publish": ("publish",),
    "archive": ("copy old", "copy new", "remove old", "remove new"),
    "log": ("log",),
}
BEGIN: Final = (*EFFECTS["lock"], *EFFECTS["recover"], *EFFECTS["list"])
FETCH: Final = EFFECTS["fetch"]
WORK: Final = (*EFFECTS["identify"], *FETCH, *EFFECTS["write"], *EFFECTS["publish"])
ARCHIVE: Final = EFFECTS["archive"]


class Row(NamedTuple):
    """A run in the log; `read` are the bytes its metrics are of, once committed."""

    pair: Pair
    status: str
    read: Pair = NOTHING
    dataset: int = 0
    settings: int = 0
    revision: int = 1
    order: int = 0  # of the results of its pair, by publication

    @property
    def ended(self) -> bool:
        return self.status not in (UNTOLD, STARTED, RECONCILED)

    @property
    def holds(self) -> bool:
        """Whether its claims are alive: it has a result, or may still have one."""
        return self.status in RECORDED or not self.ended


class Worker(NamedTuple):
    """A process: what it has yet to do, and what it knows; idle with nothing to do."""

    todo: tuple[str, ...] = ()
    run: int = NOBODY  # its own row of the log
    home: int = NOBODY  # the run under whose name it archives
    pair: Pair = NOTHING
    read: Pair = NOTHING
    locked: bool = False
    run_log: bool = True  # the connection of lock and log
    dataset: int = 0
    settings: int = 0
    revision: int = 1


# An idle worker of each dataset, with each settings.
IDLE: Final = tuple(
    tuple(Worker(dataset=dataset, settings=settings) for settings in (0, 1))
    for dataset in (0, 1)
)


class World(NamedTuple):
    """All that outlives a worker, the workers, and what may still go wrong."""

    inbound: Pair = (1, 1)
    processed: frozenset[tuple[int, int, int]] = frozenset()  # run, side, version
    out: frozenset[tuple[int, str]] = frozenset()
    stage: tuple[Tables, ...] = ((NOT_STAGED, NOT_STAGED),)  # of each dataset
    log: tuple[Row, ...] = ()
    claims: frozenset[tuple[int, int, int]] = frozenset()  # side, version, run
    committing: frozenset[tuple[int, Pair]] = frozenset()  # sent, not yet in effect
    removed: frozenset[tuple[int, int]] = frozenset()  # by a worker: side, version
    written: Pair = (1, 1)  # the newest version of each side
    begun: int = 0
    workers: tuple[Worker, ...] = (Worker(), Worker())
    crashes: int = 0
    cuts: int = 0
    breaks: int = 0
    writes: int = 0
    again: int = 0


# So many fields outlive the workers, who come next.
LASTING: Final = World._fields.index("workers")


@dataclass(frozen=True)
class Budget:
    """How much may go wrong, and how many runs may be begun."""

    crashes: int = 1
    cuts: int = 1
    breaks: int = 1
    writes: int = 1
    runs: int = 9
    again: int = 0


@dataclass(frozen=True)
class Protocol:
    """The protocol as it is; each field changed is a mutant."""

    work: tuple[str, ...] = WORK
    archive: tuple[str, ...] = ARCHIVE
    lock: bool = True
    recover_when_empty: bool = True
    abandon: bool = True
    log_start: bool = True
    pin_reads: bool = True
    pin_copies: bool = True
    pin_deletes: bool = True
    unique_index: bool = True
    only_started_publishes: bool = True
    publish_marks: bool = True
    claim_at_start: bool = True
    claim_at_publish: bool = True
    last_result_decides: bool = True

    @functools.cached_property
    def plan(self) -> tuple[str, ...]:
        """A run that meets nothing."""
        return (*BEGIN, *self.work, *self.archive, "log")

    @property
    def finish(self) -> tuple[str, ...]:
        """What is left of a run whose result is recorded."""
        return (*self.archive, "log")


# --- the steps, in the order of pipeline.py


def lock(protocol: Protocol, world: World, me: Worker) -> Next:
    """Take the lock, or end as BUSY; it lives as long as its connection."""
    others = (each for each in world.workers if each.dataset == me.dataset)
    if protocol.lock and any(each.locked for each in others):
        return
    yield world, done(me, locked=protocol.lock)


def recover(protocol: Protocol, world: World, me: Worker) -> Next:
    """Give up what is dead, then finish what is recorded: one run, then look again."""
    if any(world.log[run].dataset == me.dataset for run, _ in world.committing):
        return  # the row is locked until that COMMIT has taken effect, or not
    if not protocol.recover_when_empty and world.inbound == NOTHING:
        yield world, done(me)
        return
    dead = [
        at
        for at, row in enumerate(world.log)
        if row.status == STARTED and row.dataset == me.dataset
    ]
    for at in dead if protocol.abandon else ():
        world = ended(world, at, "ABANDONED", (STARTED,))
    log = world.log
    unfinished = [
        at
        for at, row in enumerate(log)
        if row.status == RECONCILED and row.dataset == me.dataset
    ]
    if unfinished:
        todo = (*protocol.finish, *me.todo)
        run, pair = unfinished[0], log[unfinished[0]].pair
        yield world, me._replace(todo=todo, run=run, home=run, pair=pair)
    else:
        yield world, done(me, run=NOBODY, home=NOBODY)


def list_(_: Protocol, world: World, me: Worker) -> Next:
    """NO_FILES and INVALID_FILE_COUNT end the attempt."""
    whole = all(world.inbound)
    yield world, done(me, pair=world.inbound) if whole else idle(me)


def identify(protocol: Protocol, world: World, me: Worker) -> Next:
    """Pinned to the listing; a pair whose last result is of these settings is done."""
    if world.inbound != me.pair:
        yield world, idle(me)
        return
    results = results_of(world, me)
    mine = [at for at in results if world.log[at].settings == me.settings]
    if mine and (mine[-1] == results[-1] or not protocol.last_result_decides):
        yield world, me._replace(todo=protocol.finish, home=mine[-1])
    else:
        yield world, done(me, revision=1 + len(mine))


def start(protocol: Protocol, world: World, me: Worker) -> Next:
    """Log that work begins, and claim both files; FILE_CLAIMED ends the attempt."""
    if any(share_a_file(world.log[run].pair, me.pair) for run, _ in world.committing):
        return  # the claim is locked until that COMMIT has taken effect, or not
    status = STARTED if protocol.log_start else UNTOLD
    row = Row(me.pair, status, NOTHING, me.dataset, me.settings, me.revision)
    begun = world._replace(log=(*world.log, row), begun=world.begun + 1)
    run = begun.begun - 1
    if protocol.claim_at_start and is_claimed_elsewhere(begun, run):
        yield world, idle(me)
        return
    if protocol.claim_at_start:
        begun = claimed(begun, run)
    yield begun, done(me, run=run, home=run)


def fetch(side: int) -> Step:
    """Exactly the identified bytes, else INPUT_CHANGED."""

    def step(protocol: Protocol, world: World, me: Worker) -> Next:
        there = world.inbound[side]
        if there and (there == me.pair[side] or not protocol.pin_reads):
            yield world, done(me, read=put(me.read, side, there))
        else:
            yield from closed(world, me, "INPUT_CHANGED")

    return step


def write(what: str) -> Step:
    """Artifacts under the run's own name."""

    def step(_: Protocol, world: World, me: Worker) -> Next:
        yield world._replace(out=world.out | {(me.run, what)}), done(me)

    return step


def publish(protocol: Protocol, world: World, me: Worker) -> Next:
    """Stage, metrics and RECONCILED in one transaction; the reply may be lost."""
    mine = world.log[me.run]
    for run, _ in world.committing:
        other = world.log[run]
        if other.dataset == me.dataset or share_a_file(other.pair, me.pair):
            return  # one publication of a dataset at a time, and one of a file
    given_up = protocol.only_started_publishes and mine.status != STARTED
    earlier = revision_of(world, me) if protocol.unique_index else NOBODY
    if earlier != NOBODY:
        yield world, me._replace(todo=protocol.finish, home=earlier)
    elif given_up:
        yield world, idle(me)  # BUSY
    elif protocol.claim_at_publish and is_claimed_elsewhere(world, me.run):
        yield from closed(world, me, "FILE_CLAIMED")
    else:
        yield committed(protocol, world, me.run, me.read), done(me)
        if world.cuts:
            cut = world._replace(cuts=world.cuts - 1)
            sent = cut._replace(committing=cut.committing | {(me.run, me.read)})
            yield sent, me._replace(todo=("confirm", *me.todo[1:]))


def confirm(_: Protocol, world: World, me: Worker) -> Next:
    """COMMIT's reply was lost: read back, if Postgres answers; else COMMIT_UNKNOWN."""
    yield world, idle(me)
    if world.log[me.run].status == RECONCILED:
        yield world, done(me)
    elif (me.run, me.read) not in world.committing:  # closing waits for the row
        yield from closed(world, me, "DATABASE_UNAVAILABLE")


def copy(side: int) -> Step:
    """A verified copy of the identified object; a conflict leaves both where they are.

    A copy that is there already needs no origin.
    """

    def step(protocol: Protocol, world: World, me: Worker) -> Next:
        there = world.inbound[side]
        if (me.home, side, me.pair[side]) in world.processed:
            yield world, done(me)
        elif there and (there == me.pair[side] or not protocol.pin_copies):
            processed = world.processed | {(me.home, side, there)}
            yield world._replace(processed=processed), done(me)
        else:
            yield world, me._replace(todo=me.todo[me.todo.index("log") :])

    return step


def remove(side: int) -> Step:
    """Delete the identified object; another one stays, with a warning."""

    def step(protocol: Protocol, world: World, me: Worker) -> Next:
        there = world.inbound[side]
        if there and (there == me.pair[side] or not protocol.pin_deletes):
            world = world._replace(
                inbound=put(world.inbound, side, 0),
                removed=world.removed | {(side, there)},
            )
        yield world, done(me)

    return step


def log(_: Protocol, world: World, me: Worker) -> Next:
    """RECONCILED -> SUCCEEDED; who lost a race is ALREADY_DONE, as is who was late."""
    if me.run == NOBODY:
        yield world, done(me)
    elif me.run != me.home:
        yield from closed(world, me, "ALREADY_DONE")
    else:
        yield ended(world, me.run, SUCCEEDED, RECORDED), done(me)


def swap(side: int) -> Step:
    """Only mutants: a stage table that readers see before the run is recorded."""

    def step(_: Protocol, world: World, me: Worker) -> Next:
        tables = put(world.stage[me.dataset], side, staged(me, side))
        yield world._replace(stage=with_tables(world, me.dataset, tables)), done(me)

    return step


STEPS: Final[dict[str, Step]] = {
    "lock": lock,
    "recover": recover,
    "list": list_,
    "identify": identify,
    "start": start,
    "fetch old": fetch(OLD),
    "fetch new": fetch(NEW),
    "stage old": swap(OLD),
    "stage new": swap(NEW),
    "write artifacts": write("artifacts"),
    "write manifest": write("manifest"),
    "publish": publish,
    "confirm": confirm,
    "copy old": copy(OLD),
    "copy new": copy(NEW),
    "remove old": remove(OLD),
    "remove new": remove(NEW),
    "log": log,
}
JOURNAL: Final = {"recover", "identify", "start", "log"}


# --- what the steps are made of


def done(me: Worker, **learned: object) -> Worker:
    """One step further; a worker at the end of its list is idle."""
    todo = me.todo[1:]
    if not todo:
        return idle(me)
    # `_replace` takes five times as long, and most steps teach nothing.
    further = Worker(todo, *me[1:])
    return further._replace(**learned) if learned else further  # type: ignore[arg-type]


def idle(me: Worker) -> Worker:
    return IDLE[me.dataset][me.settings]


def put(pair: tuple, side: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (value, pair[NEW]) if side == OLD else (pair[OLD], value)


def staged(me: Worker, side: int) -> tuple[int, int]:
    return me.run, me.read[side]


def with_tables(world: World, dataset: int, tables: Tables) -> tuple[Tables, ...]:
    return (*world.stage[:dataset], tables, *world.stage[dataset + 1 :])


def results_of(world: World, me: Worker) -> list[int]:
    """The runs of this dataset that have recorded a result of this pair, in order."""
    found = [
        (row.order, at)
        for at, row in enumerate(world.log)
        if (row.pair, row.dataset) == (me.pair, me.dataset) and row.status in RECORDED
    ]
    return [at for _, at in sorted(found)]


def revision_of(world: World, me: Worker) -> int:
    """The run that has recorded the result that a worker is about to record."""
    for at in results_of(world, me):
        row = world.log[at]
        if (row.settings, row.revision) == (me.settings, me.revision):
            return at
    return NOBODY


def share_a_file(one: Pair, other: Pair) -> bool:
    return any(one[side] == other[side] for side in SIDES)


def is_claimed_elsewhere(world: World, run: int) -> bool:
    """Whether another dataset has one of the files of a run."""
    row = world.log[run]
    holders = (
        world.log[holder]
        for side, version, holder in world.claims
        if row.pair[side] == version
    )
    return any(other.holds and other.dataset != row.dataset for other in holders)


def claimed(world: World, run: int) -> World:
    """Both files claimed for a run; a run of its dataset that has a result keeps them.

    The key is side and version: a file has one claim.
    """
    pair = world.log[run].pair
    kept = {
        (side, version, holder)
        for side, version, holder in world.claims
        if pair[side] != version or world.log[holder].status in RECORDED
    }
    taken = {(side, version) for side, version, _ in kept}
    mine = {(side, pair[side], run) for side in SIDES} - {
        (side, version, run) for side, version in taken
    }
    return world._replace(claims=frozenset(kept | mine))


def committed(protocol: Protocol, world: World, run: int, read: Pair) -> World:
    if protocol.claim_at_publish:
        world = claimed(world, run)
    row = world.log[run]
    status = RECONCILED if protocol.publish_marks else row.status
    results = [each for each in world.log if each.read != NOTHING]
    order = 1 + sum(
        (each.pair, each.dataset) == (row.pair, row.dataset) for each in results
    )
    row = row._replace(status=status, read=read, order=order)
    tables = (run, read[OLD]), (run, read[NEW])
    return world._replace(
        log=(*world.log[:run], row, *world.log[run + 1 :]),
        stage=with_tables(world, row.dataset, tables),
        committing=world.committing - {(run, read)},
    )


def ended(world: World, run: int, status: str, only: tuple[str, ...]) -> World:
    """A row's end; of a row that is not in one of `only` nothing changes."""
    row = world.log[run]
    if row.status not in only:
        return world
    row = row._replace(status=status)
    return world._replace(log=(*world.log[:run], row, *world.log[run + 1 :]))


def closed(world: World, me: Worker, status: str) -> Next:
    """The attempt ends without a result of its own, if its row can be reached."""
    if me.run_log:
        world = ended(world, me.run, status, (STARTED,))
    yield world, idle(me)


# --- everything that can happen next


def moves(protocol: Protocol, world: World, runs: int) -> Iterator[tuple[str, World]]:
    """Each next world, by the name of what happened."""
    for at, me in enumerate(world.workers):
        for after, next_me in steps(protocol, world, me, runs):
            yield name_of(me), with_worker(after, at, next_me)
    yield from mishaps(protocol, world)


def name_of(me: Worker) -> str:
    return me.todo[0] if me.todo else "lock"


def steps(protocol: Protocol, world: World, me: Worker, runs: int) -> Next:
    """What a worker can do now; without its journal, what needs one ends it."""
    if not me.todo:
        me = Worker(protocol.plan, *me[1:])
    name = me.todo[0]
    if name in JOURNAL and not me.run_log:
        yield world, idle(me)
    elif not (name == "start" and world.begun >= runs):
        yield from STEPS[name](protocol, world, me)


def with_worker(world: World, at: int, me: Worker) -> World:
    """Workers are alike: one order of them is enough."""
    workers = sorted([*world.workers[:at], me, *world.workers[at + 1 :]])
    return World._make((*world[:LASTING], tuple(workers), *world[LASTING + 1 :]))


def mishaps(protocol: Protocol, world: World) -> Iterator[tuple[str, World]]:
    """What neither worker does."""
    for run, read in world.committing:
        yield "COMMIT takes effect", committed(protocol, world, run, read)
        yield (
            "COMMIT never does",
            world._replace(committing=world.committing - {(run, read)}),
        )
    for at, me in enumerate(world.workers):
        if me.todo and world.crashes:
            fewer = world._replace(crashes=world.crashes - 1)
            yield "crash", with_worker(fewer, at, idle(me))
        if me.locked and world.breaks:
            fewer = world._replace(breaks=world.breaks - 1)
            deaf = me._replace(locked=False, run_log=False)
            yield "lock breaks", with_worker(fewer, at, deaf)
    if world.again and world.inbound == NOTHING:
        yield (
            "producer delivers again",
            world._replace(inbound=world.written, again=world.again - 1),
        )
    if world.writes:
        for side in SIDES:
            version = world.written[side] + 1
            yield (
                "producer writes",
                world._replace(
                    inbound=put(world.inbound, side, version),
                    written=put(world.written, side, version),
                    writes=world.writes - 1,
                ),
            )


# --- the invariants


def broken(world: World) -> Iterator[str]:
    """Which of I1 to I5, and of I7, a world breaks."""
    if not all(has_metrics(world, side, version) for side, version in world.removed):
        yield "I1"
    if not all(is_archived_by(world, *copied) for copied in world.processed):
        yield "I1"
    results = [row for row in world.log if row.read != NOTHING]
    results.sort(key=lambda row: (row.dataset, row.pair, row.order))
    kept = [(row.dataset, row.pair, row.settings) for row in results]
    if any(one == other for one, other in pairwise(kept)):
        yield "I2"
    copies = {(side, version) for _, side, version in world.processed}
    if not world.removed <= copies:
        yield "I3"
    if not all(is_whole(world, tables) for tables in world.stage):
        yield "I4"
    for at, row in enumerate(world.log):
        complete = {(at, "artifacts"), (at, "manifest")} <= world.out
        visible = row.read != NOTHING or (at, "manifest") in world.out
        if visible and not complete:
            yield "I5"
    if any(len(each) > 1 for each in datasets_of_files(world).values()):
        yield "I7"


def datasets_of_files(world: World) -> dict[tuple[int, int], set[int]]:
    """The datasets that have a result of each version of a file."""
    found: dict[tuple[int, int], set[int]] = {}
    for row in world.log:
        if row.read != NOTHING:
            for side in SIDES:
                found.setdefault((side, row.read[side]), set()).add(row.dataset)
    return found


def has_metrics(world: World, side: int, version: int) -> bool:
    return any(row.read[side] == version == row.pair[side] for row in world.log)


def is_archived_by(world: World, run: int, side: int, version: int) -> bool:
    row = world.log[run]
    return row.read[side] == version == row.pair[side]


def is_whole(world: World, tables: Tables) -> bool:
    (old, old_version), (new, new_version) = tables
    if old == new == NOBODY:
        return True
    row = world.log[old]
    return old == new and row.read == row.pair == (old_version, new_version)


def changes_an_end(before: World, after: World) -> bool:
    """Whether a row that reports an end reports another."""
    if after.log is before.log:
        return False
    pairs = zip(before.log, after.log, strict=False)
    return any(one.ended and one != two for one, two in pairs)


def settled(protocol: Protocol, world: World, settings: int = 0) -> World:
    """The world after every worker died and one of each dataset ran, some times."""
    for _ in range(ROUNDS):
        before = world
        for dataset in range(len(world.stage)):
            me = Worker(protocol.plan, dataset=dataset, settings=settings)
            world = world._replace(workers=(idle(me),))
            # Nothing that `steps` is for disturbs it: its journal is there.
            while me.todo:
                [(world, me)] = STEPS[me.todo[0]](protocol, world, me)
        if world == before:
            break  # every further round would do as little
    return world


def is_settled(world: World) -> bool:
    """Every attempt has an end in the log, and no pair waits in inbound."""
    shown = all(row.ended for row in world.log)
    return shown and not all(world.inbound)


# --- exploring


@dataclass
class Report:
    """What was seen; `broken` has the shortest way to each invariant that broke."""

    states: int = 0
    moves: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    broken: dict[str, list[str]] = field(default_factory=dict)


def explore(
    protocol: Protocol,
    budget: Budget,
    workers: int = 2,
    until: str | None = None,
    datasets: int = 1,
    settings: int = 1,
) -> Report:
    """Visit every reachable world, breadth first, or until an invariant breaks."""
    with _without_collections():
        return _explore(protocol, budget, workers, until, datasets, settings)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Worlds are kept, none in a cycle: looking for one takes a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _explore(
    protocol: Protocol,
    budget: Budget,
    workers: int,
    until: str | None,
    datasets: int,
    settings: int,
) -> Report:
    began = time.monotonic()
    first = World(
        stage=World().stage * datasets,
        workers=tuple(
            sorted(
                Worker(dataset=at % datasets, settings=at % settings)
                for at in range(workers)
            )
        ),
        crashes=budget.crashes,
        cuts=budget.cuts,
        breaks=budget.breaks,
        writes=budget.writes,
        again=budget.again,
    )
    report = Report()
    came: dict[World, tuple[World, str] | None] = {first: None}
    held: set[tuple[object, ...]] = set()
    todo = deque([first])
    while todo and until not in report.broken:
        world = todo.popleft()
        # The invariants are of what outlives the workers.
        lasting = world[:LASTING]
        if lasting not in held:
            held.add(lasting)
            for invariant in broken(world):
                report.broken.setdefault(invariant, way_to(world, came))
            if not ends_well(protocol, world):
                report.broken.setdefault("I6", way_to(world, came))
        for name, after in moves(protocol, world, budget.runs):
            report.moves[name] += 1
            if changes_an_end(world, after):
                report.broken.setdefault("I6", [*way_to(world, came), name])
            if after not in came:
                came[after] = world, name
                todo.append(after)
    report.states = len(came)
    report.seconds = time.monotonic() - began
    return report


def ends_well(protocol: Protocol, world: World) -> bool:
    """Whether the next runs bring all to an end, whatever became of a COMMIT."""
    outcomes = [world._replace(crashes=0, cuts=0, breaks=0, writes=0)]
    for run, read in world.committing:
        never = [
            each._replace(committing=each.committing - {(run, read)})
            for each in outcomes
        ]
        outcomes = never + [committed(protocol, each, run, read) for each in outcomes]
    return all(is_settled(settled(protocol, each)) for each in outcomes)


def way_to(world: World, came: dict[World, tuple[World, str] | None]) -> list[str]:
    way: list[str] = []
    while (step := came[world]) is not None:
        world, name = step
        way.append(name)
    return way[::-1]


def changed(step: str, *instead: str) -> Protocol:
    """The protocol with other steps in the place of one; each is done only once."""
    kept = [name for name in WORK if name == step or name not in instead]
    at = kept.index(step)
    return Protocol(work=(*kept[:at], *instead, *kept[at + 1 :]))


NO_LOCK: Final = Protocol(lock=False)
MUTANTS: Final[dict[str, tuple[Protocol, str]]] = {
    "reads without a pin": (Protocol(pin_reads=False), "I4"),
    "copies without a pin": (Protocol(pin_copies=False), "I1"),
    "unconditional delete": (Protocol(pin_deletes=False), "I3"),
    "no unique index, and no lock": (replace(NO_LOCK, unique_index=False), "I2"),
    "no recovery on an empty prefix": (Protocol(recover_when_empty=False), "I6"),
    "the dead are not given up": (Protocol(abandon=False), "I6"),
    "no row before the result": (
        Protocol(log_start=False, only_started_publishes=False),
        "I6",
    ),
    "the result is marked last": (Protocol(publish_marks=False), "I2"),
    "a run that was given up records": (Protocol(only_started_publishes=False), "I6"),
    "manifest before artifacts": (
        changed("write artifacts", "write manifest", "write artifacts"),
        "I5",
    ),
    "artifacts after the result": (
        changed("publish", "publish", "write artifacts", "write manifest"),
        "I5",
    ),
    "stage tables that all can see": (
        changed("write artifacts", "stage old", "stage new", "write artifacts"),
        "I4",
    ),
    "inputs are claimed by moving them": (
        replace(changed("write artifacts", *ARCHIVE, "write artifacts"), archive=()),
        "I1",
    ),
    "no claims": (Protocol(claim_at_start=False, claim_at_publish=False), "I7"),
    "claims only at the start, and no lock": (
        replace(NO_LOCK, claim_at_publish=False),
        "I7",
    ),
    "delete before copy": (
        Protocol(archive=("remove old", "remove new", "copy old", "copy new")),
        "I3",
    ),
}


# Mutants that two datasets are needed for: workers, datasets, and a budget that does.
CASTS: Final = {
    "no claims": (2, 2, Budget(0, 0, 0, 0, runs=2)),
    "claims only at the start, and no lock": (3, 2, Budget(0, 0, 0, 1, runs=3)),
}

DEEP: Final = (
    ("two workers", Protocol(), Budget(), 2, 1),
    ("two workers", Protocol(), Budget(crashes=2, breaks=0, writes=2), 2, 1),
    ("two workers", Protocol(), Budget(crashes=3, breaks=0), 2, 1),
    ("two workers", Protocol(), Budget(crashes=2, cuts=0), 2, 1),
    ("three workers", Protocol(), Budget(crashes=0, cuts=0, breaks=2), 3, 1),
    ("no lock", NO_LOCK, Budget(cuts=0, breaks=0, runs=3), 2, 1),
    ("no lock", NO_LOCK, Budget(crashes=0, breaks=0, runs=3), 2, 1),
    ("two datasets", Protocol(), Budget(breaks=0), 2, 2),
    ("two datasets", Protocol(), Budget(crashes=0, cuts=2, breaks=0), 2, 2),
    ("two datasets, no lock", NO_LOCK, Budget(0, 1, 0, 0, runs=3), 3, 2),
)


def main() -> None:
    """Deeper than the tests: some minutes, a gigabyte."""
    for name, protocol, budget, workers, datasets in DEEP:
        report = explore(protocol, budget, workers, datasets=datasets)
        print(
            f"{name}, {budget}: {report.states:,} states,"
            f" {report.moves.total():,} moves, {report.seconds:.0f} s,"
            f" broken: {report.broken or 'none'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
