"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.answer import answer, refuse_repeats
from recon_engine.buckets import InMemory, opened
from recon_engine.causes import told
from recon_engine.compare import any_repeats, diff, drop_identical, judged, merge
from recon_engine.csvfile import CsvFile
from recon_engine.digest import choose, no_rows
from recon_engine.encodings import told_for_both
from recon_engine.errors import InternalError
from recon_engine.gate import read_rows
from recon_engine.header import Header, head_of
from recon_engine.lookup import sightings, sought
from recon_engine.memory import Budget, default_budget
from recon_engine.model import SIDES
from recon_engine.parallel import in_order
from recon_engine.partial import partial, repeats_among, together
from recon_engine.progress import SILENT, Progress
from recon_engine.question import Question, posed


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.buckets import Buckets
    from recon_engine.compare import Difference
    from recon_engine.config import Options
    from recon_engine.csvfile import Rows
    from recon_engine.digest import Names, Strategy, Table, Unread
    from recon_engine.lookup import Ask
    from recon_engine.partial import Repeats
    from recon_engine.reconciliation import Reconciliation


OLD, NEW = 0, 1
GROUP_CELLS: Final = 1 << 21
SOUGHT_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Reading:
    """Two tables that were read once: gated, counted, and reduced to digests.

    Of pairs, the first is OLD's. The digests are there to be taken once. `strategies`
    took them, and a sample of the rows.
    """

    question: Question
    tables: tuple[Table, Table]
    strategies: Sequence[Strategy]
    digests: list[Buckets]
    buckets: int
    budget: Budget

    @property
    def files(self) -> tuple[CsvFile, CsvFile]:
        """The two, where both are files."""
        old, new = self.tables
        assert isinstance(old, CsvFile)  # noqa: S101 - the caller gave files
        assert isinstance(new, CsvFile)  # noqa: S101
        return old, new


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
) -> Iterator[Reading]:
    """Read both sides at once: files through the gate, and all rows into digests.

    `budget`: of memory; by default 60% of the container's or the machine's.
    `strategy` ("columns") and `buckets` force what is else chosen: the answer is the
    same. Raises KeyMissing, SchemaMismatch and ConfigError before any row is read,
    the errors of the gate, and OutOfBudget.
    """
    unread = (old, new)
    question = posed(old, new, options)
    names = question.names
    budget = budget or default_budget()
    expected = (old.expected_rows, new.expected_rows)
    count = buckets or budget.buckets(sum(expected))
    chosen = choose(unread, names, strategy)
    with ExitStack() as stack:
        digests = stack.enter_context(opened(expected, count))
        with told_for_both(options, unread, lambda side: head_of(unread[side])):
            tables = _side_by_side(_read, unread, chosen, digests, progress)
        if any(each.inexact for each in chosen):
            stack.close()
            digests = stack.enter_context(opened(expected, count))
            chosen = choose(unread, names, "columns")
            _side_by_side(_digest, tables, chosen, digests, progress)
        yield Reading(
            question=question,
            tables=tables,
            strategies=chosen,
            digests=digests,
            buckets=count,
            budget=budget,
        )


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


def reconcile(
    reading: Reading, progress: Progress = SILENT, ask: Ask | None = None
) -> Reconciliation:
    """What is missing, extra and changed from OLD to NEW, exactly; masked, if asked.

    `ask`: for the keys of open breaks, where breaks are tracked. Raises DuplicateKeys
    (policy `fail`) and OutOfBudget.
    """
    question = reading.question
    asked = sought(ask, question)
    wanted = None if asked is None else asked.keys
    rests = [_rest(reading.digests, at, wanted) for at in range(reading.buckets)]
    sides = tuple(map(_Side, reading.tables, question.names))
    repeats = [_repeats(at, side, rests) for at, side in enumerate(sides)]
    refuse_repeats(reading.tables, repeats, question.options)
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compared(sides, rests, reading.budget)
        advance(rows)
    identical = sum(each.identical for each in rests)
    seen = sightings(
        asked,
        [_sought_keys(at, side, rests) for at, side in enumerate(sides)],
        [side.worst for side in repeats],
        found,
        question.names[OLD],
    )
    return answer(
        question,
        reading.tables,
        partial(found, identical, repeats, question, seen),
        told(found, question),
        samples=[strategy.sample() for strategy in reading.strategies],
        blanks=[side.blanks for side in reading.digests],
        tallies=[strategy.tallies() for strategy in reading.strategies],
        strategy=reading.strategies[0].name,
        sought=asked,
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
    key seems to repeat; `sought`: of those whose key seems to be sought.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    suspects: tuple[pl.DataFrame, pl.DataFrame]
    sought: tuple[pl.DataFrame, pl.DataFrame]


def _rest(digests: Sequence[Buckets], at: int, wanted: pl.Series | None) -> Rest:
    return rest(lambda side: digests[side].bucket(at), wanted)


def rest(
    digests_of: Callable[[int], pl.DataFrame], wanted: pl.Series | None = None
) -> Rest:
    """What is left to look at in one bucket, by the digests of either side.

    `wanted`: the digests of keys that are looked up.
    """
    (old, old_suspects), (new, new_suspects) = in_order(
        lambda side: _with_suspects(digests_of(side)), (OLD, NEW)
    )
    repeats = not old_suspects.is_empty(), not new_suspects.is_empty()
    left = drop_identical(old, new, repeats=repeats)
    return Rest(
        left.identical,
        (left.old, left.new),
        (old_suspects, new_suspects),
        (_with_keys(old, wanted), _with_keys(new, wanted)),
    )


def _with_keys(side: pl.DataFrame, keys: pl.Series | None) -> pl.DataFrame:
    if keys is None or keys.is_empty():
        return side.clear()
    return side.filter(side["key"].is_in(keys.implode()))


def _with_suspects(side: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    if any_repeats(side["key"]):
        return side, side.filter(side["key"].is_duplicated())
    return side, side.clear()


def _compared(
    sides: Sequence[_Side], rests: Sequence[Rest], budget: Budget
) -> Difference:
    """Compare what is left, in as many batches of buckets as the budget asks for."""
    differing = sum(
        int(left.height * side.table.row_bytes)
        for each in rests
        for side, left in zip(sides, each.left, strict=True)
    )
    budget.check_result(differing)
    size = -(-len(rests) // budget.batches(differing))
    batches = [rests[at : at + size] for at in range(0, len(rests), size)]
    parts = (part for batch in batches for part in _differences(sides, batch))
    return judged(merge(parts, sides[0].names.keys))


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


def _sought_keys(at: int, side: _Side, rests: Sequence[Rest]) -> Iterator[pl.DataFrame]:
    """The keys of the rows that seem to have one that is sought, some at a time."""
    digests = pl.concat([each.sought[at] for each in rests]).sort("number")
    for some in digests.iter_slices(SOUGHT_ROWS):
        cells = side.take(some).cells(side.names.all)
        yield cells.select(side.names.keys).collect(engine="in-memory")


def _repeats(at: int, side: _Side, rests: Sequence[Rest]) -> Repeats:
    """The repeated keys, exactly: digests only say which rows to look at."""
    names, every = side.names, []
    telling: Iterable[str] = names.columns
    for each in rests:
        cells = cells_of(side.take(each.suspects[at]), names)
        found = repeats_among(cells, names, telling)
        every.append(found)
        telling = found.telling
    return together(every)
