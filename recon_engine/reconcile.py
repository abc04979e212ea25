"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import pairs
from recon_engine.answer import answer, refuse_repeats
from recon_engine.buckets import InMemory, opened
from recon_engine.causes import told
from recon_engine.compare import any_repeats, diff, drop_identical, judged, merge
from recon_engine.csvfile import CsvFile
from recon_engine.digest import choose, no_rows
from recon_engine.errors import InternalError
from recon_engine.gate import read_rows
from recon_engine.header import Header
from recon_engine.memory import Budget, default_budget
from recon_engine.model import SIDES
from recon_engine.native.binding import Matched
from recon_engine.parallel import in_order
from recon_engine.partial import partial, repeats_among, together
from recon_engine.progress import SILENT, Progress
from recon_engine.question import Question, posed
from recon_engine.scanned import Drawn, scan
from recon_engine.scanning import KernelRefusal
from recon_engine.scanning import opened as under_way


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.buckets import Buckets
    from recon_engine.compare import Difference
    from recon_engine.config import Options
    from recon_engine.csvfile import Rows
    from recon_engine.digest import Strategy, Table, Unread
    from recon_engine.names import Names
    from recon_engine.partial import Repeats
    from recon_engine.reconciliation import Reconciliation
    from recon_engine.scanned import Scan
    from recon_engine.scanning import Scanning


log = logging.getLogger(__name__)

OLD, NEW = 0, 1
PAIRED: Final = (Matched.PAIRED_OLD, Matched.PAIRED_NEW)
REPEATED: Final = (Matched.REPEATED_OLD, Matched.REPEATED_NEW)
GROUP_CELLS: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Reading:
    """Two tables that were read once: gated, counted, and reduced to digests.

    Of pairs, the first is OLD's. The digests are there to be taken once. `strategies`
    took them, and a sample of the rows. `scan`: of the native kernel, which has
    matched what it could and left no digests.
    """

    question: Question
    tables: tuple[Table, Table]
    strategies: Sequence[Strategy | Drawn]
    digests: list[Buckets]
    buckets: int
    budget: Budget
    scan: Scan | None = None

    @property
    def files(self) -> tuple[CsvFile, CsvFile]:
        """The two, where both are files."""
        old, new = self.tables
        assert isinstance(old, CsvFile)  # noqa: S101 - the caller gave files
        assert isinstance(new, CsvFile)  # noqa: S101
        return old, new

    @property
    def blanks(self) -> list[int]:
        """In how many rows of each a part of the key is blank."""
        if self.scan is not None:
            return self.scan.blank_keys
        return [side.blanks for side in self.digests]

    @property
    def kernel(self) -> str | None:
        """Which has read the files, if they are some."""
        if not any(isinstance(table, CsvFile) for table in self.tables):
            return None
        return "numpy" if self.scan is None else "native"


@contextmanager
def read(
    old: Unread,
    new: Unread,
    options: Options,
    progress: Progress = SILENT,
    *,
    budget: Budget | None = None,
    strategy: str | None = None,
    buckets: int | None = None,
    begun: Scanning | None = None,
) -> Iterator[Reading]:
    """Read both sides at once: files through the gate, and all rows into digests.

    `budget`: of memory; by default 60% of the container's or the machine's.
    `strategy` ("columns") and `buckets` force what is else chosen: the answer is the
    same. `begun`: these files on their way through the native kernel; it is closed
    here. Raises KeyMissing, SchemaMismatch and ConfigError, the errors of the gate,
    and OutOfBudget.
    """
    unread = (old, new)
    question = posed(old, new, options)
    names = question.names
    budget = budget or default_budget()
    expected = (old.expected_rows, new.expected_rows)
    count = buckets or budget.buckets(sum(expected))
    chosen = choose(unread, names, strategy)
    refused = False
    with ExitStack() as stack:
        try:
            if count == 1 and not strategy and not buckets:
                begun = begun or under_way(unread, names)
            if begun is not None:
                found = stack.enter_context(scan(begun, progress))
                yield _scanned(question, found, chosen, budget)
                return
        except KernelRefusal as refusal:
            refused = refusal.fault
        digests = stack.enter_context(opened(expected, count))
        tables = _side_by_side(_read, unread, chosen, digests, progress)
        if any(each.inexact for each in chosen):
            stack.close()
            digests = stack.enter_context(opened(expected, count))
            chosen = choose(unread, names, "columns")
            _side_by_side(_digest, tables, chosen, digests, progress)
        if refused and not any(table.rejects.count for table in tables):
            log.warning("native_kernel_refused")
        yield Reading(
            question=question,
            tables=tables,
            strategies=chosen,
            digests=digests,
            buckets=count,
            budget=budget,
        )


def _scanned(
    question: Question, found: Scan, chosen: Sequence[Strategy], budget: Budget
) -> Reading:
    """What the kernel has read, and a sample of it."""
    old, new = (side.file() for side in found.sides)
    name = chosen[0].name if found.has_lines else "columns"
    drawn = [
        Drawn(name, side, each)
        for side, each in zip(found.sides, question.names, strict=True)
    ]
    return Reading(question, (old, new), drawn, [], 0, budget, found)


def _side_by_side(
    work: Callable[..., Table],
    sides: Sequence[Unread | Table],
    strategies: Sequence[Strategy],
    digests: Sequence[Buckets],
    progress: Progress,
) -> tuple[Table, Table]:
    every = zip(SIDES, sides, strategies, digests, strict=True)
    old, new = in_order(lambda side: work(*side, progress), every)
    return old, new


def _read(
    name: str, side: Unread, strategy: Strategy, into: Buckets, progress: Progress
) -> Table:
    """Read a side for the first time."""
    if not isinstance(side, Header):
        return _digest(name, side, strategy, into, progress)
    with progress.step(f"read {name}", total=side.bytes, unit="bytes") as advance:
        return read_rows(
            side,
            advance=advance,
            examine=strategy.digest,
            keep=into.add,
            keep_ends=isinstance(into, InMemory),
        )


def _digest(
    name: str, side: Table, strategy: Strategy, into: Buckets, progress: Progress
) -> Table:
    """Digest what is known to be good."""
    with progress.step(f"digest {name}", total=side.rows) as advance:
        frames = in_order(lambda part: strategy.digest(side.read(part)), side.parts)
        for frame in frames:
            assert frame is not None  # noqa: S101 - columns tell of all tables
            into.add(frame)
            advance(frame.height)
    return side


def reconcile(reading: Reading, progress: Progress = SILENT) -> Reconciliation:
    """What is missing, extra and changed from OLD to NEW, exactly; masked, if asked.

    Raises DuplicateKeys (policy `fail`) and OutOfBudget.
    """
    question = reading.question
    rests = [_rest(reading.digests, at) for at in range(reading.buckets)]
    if reading.scan is not None:
        rests = [_rest_of_scan(reading.scan)]
    sides = tuple(map(_Side, reading.tables, question.names))
    repeats = [_repeats(at, side, rests) for at, side in enumerate(sides)]
    refuse_repeats(reading.tables, repeats, question.options)
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compared(sides, rests, reading.budget, reading.scan)
        advance(rows)
    identical = sum(each.identical for each in rests)
    return answer(
        question,
        reading.tables,
        partial(found, identical, repeats, question),
        told(found, question),
        samples=[strategy.sample() for strategy in reading.strategies],
        blanks=reading.blanks,
        strategy=reading.strategies[0].name,
        kernel=reading.kernel,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """A table under names that are ours."""

    table: Table
    names: Names

    def take(self, digests: pl.DataFrame) -> Rows:
        """The rows that digests are of, in file order."""
        return self.table.take(digests["number"].to_numpy().astype(np.int64))


@dataclass(frozen=True, slots=True)
class Rest:
    """What digests leave to look at in a bucket; pairs are of OLD and NEW.

    `left`: the digests of the rows that are not identical; `suspects`: of those whose
    key seems to repeat.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    suspects: tuple[pl.DataFrame, pl.DataFrame]


def _rest(digests: Sequence[Buckets], at: int) -> Rest:
    return rest(lambda side: digests[side].bucket(at))


def rest(digests_of: Callable[[int], pl.DataFrame]) -> Rest:
    """What is left to look at in one bucket, by the digests of either side."""
    (old, old_suspects), (new, new_suspects) = in_order(
        lambda side: _with_suspects(digests_of(side)), (OLD, NEW)
    )
    repeats = not old_suspects.is_empty(), not new_suspects.is_empty()
    left = drop_identical(old, new, repeats=repeats)
    return Rest(left.identical, (left.old, left.new), (old_suspects, new_suspects))


def _rest_of_scan(found: Scan) -> Rest:
    """What the kernel leaves to be paired: the rows of repeated keys."""
    if any(len(found.lists[which]) for which in REPEATED):
        left = rest(lambda side: found.digests(REPEATED[side]))
    else:
        old, new = (found.digests(which) for which in REPEATED)
        left = Rest(0, (old, new), (old, new))
    return Rest(found.identical + left.identical, left.left, left.suspects)


def _with_suspects(side: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    if any_repeats(side["key"]):
        return side, side.filter(side["key"].is_duplicated())
    return side, side.clear()


def _compared(
    sides: Sequence[_Side],
    rests: Sequence[Rest],
    budget: Budget,
    found: Scan | None = None,
) -> Difference:
    """Compare what is left, in as many batches of buckets as the budget asks for."""
    known = found.differing if found is not None else (0, 0)
    differing = sum(
        int((left.height + more) * side.table.row_bytes)
        for each in rests
        for side, left, more in zip(sides, each.left, known, strict=True)
    )
    budget.check_result(differing)
    size = -(-len(rests) // budget.batches(differing))
    batches = [rests[at : at + size] for at in range(0, len(rests), size)]
    parts: Iterator[Difference] = (
        part for batch in batches for part in _differences(sides, batch)
    )
    if found is not None:
        parts = _differences_of_scan(sides, rests[0], found)
    return judged(merge(parts, sides[0].names.keys))


def _differences_of_scan(
    sides: Sequence[_Side], left: Rest, found: Scan
) -> Iterator[Difference]:
    """The pairs of the kernel, then what it has left to be paired by its text."""
    names = [side.names for side in sides]
    more: list[list[pl.DataFrame]] = [[each] for each in left.left]
    for part in pairs.differences(found, names):
        if isinstance(part, slice):
            for at, which in enumerate(PAIRED):
                more[at].append(found.digests(which, part))
        else:
            yield part
    old, new = (pl.concat(each) for each in more)
    yield pairs.without_partner(found, names)
    if old.height or new.height:
        yield from _differences(sides, [Rest(0, (old, new), left.suspects)])


def _differences(sides: Sequence[_Side], batch: Sequence[Rest]) -> Iterator[Difference]:
    """Groups of keys are compared one by one: what is parsed at once stays small."""
    left = [
        pl.concat(digests).sort("number")
        for digests in zip(*(each.left for each in batch), strict=True)
    ]
    taken = list(
        in_order(lambda each: each[0].take(each[1]), zip(sides, left, strict=True))
    )
    keys = [digests["key"] for digests in left]
    return differences(taken, keys, [side.names for side in sides])


def differences(
    taken: Sequence[Rows], keys: Sequence[pl.Series], names: Sequence[Names]
) -> Iterator[Difference]:
    """Rows of both sides compared, group by group of the digests of their keys."""
    cells = sum(rows.rows for rows in taken) * len(names[0].all)
    count = 1 + cells // GROUP_CELLS
    groups = [_groups(digests, count) for digests in keys]

    def compared(at: int) -> Difference:
        old, new = (
            cells_of(rows.picked(group[at]), each)
            for rows, group, each in zip(taken, groups, names, strict=True)
        )
        return diff(
            old,
            new,
            keys=names[0].keys,
            columns=names[0].columns,
            rules=names[0].rules,
        )

    return in_order(compared, range(count))


def cells_of(rows: Rows, names: Names) -> pl.DataFrame:
    """All cells of some rows."""
    if not rows.rows:
        return no_rows(names)
    # In one piece: rows are about to be gathered from it, column by column.
    cells = rows.cells(names.all).collect(engine="in-memory").rechunk()
    if cells.height != rows.rows:
        raise InternalError(
            f"{cells.height:,} rows were parsed where {rows.rows:,} were taken"
        )
    return cells


def _groups(keys: pl.Series, count: int) -> list[NDArray[np.int64]]:
    """Which rows are in which group, by their key."""
    # Numbers of 16 bits are sorted by radix, which is fastest by far.
    place = (keys.to_numpy() % np.uint64(count)).astype(np.min_scalar_type(count))
    order = np.argsort(place, kind="stable")
    return np.split(order, np.searchsorted(place[order], np.arange(1, count)))


def _repeats(at: int, side: _Side, rests: Sequence[Rest]) -> Repeats:
    """The repeated keys, exactly: digests only say which rows to look at."""
    names, every = side.names, []
    telling: Iterable[str] = names.columns
    for each in rests:
        if (suspects := each.suspects[at]).is_empty():
            cells = pl.DataFrame(schema=dict.fromkeys(names.keys, pl.String))
        else:
            cells = cells_of(side.take(suspects), names)
        found = repeats_among(cells, names, telling)
        every.append(found)
        telling = found.telling
    return together(every)
