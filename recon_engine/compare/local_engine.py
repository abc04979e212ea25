"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.compare.buckets import InMemory, OnDisk, opened
from recon_engine.compare.causes import told
from recon_engine.compare.digests import all_is_compared, choose, no_rows
from recon_engine.compare.lookup import sightings, sought
from recon_engine.compare.multisets import drop_equal
from recon_engine.compare.pairing import (
    any_repeats,
    diff,
    drop_identical,
    judged,
    longest_run,
    merge,
)
from recon_engine.compare.partial_result import partial, repeats_among, together
from recon_engine.compare.plan import Question, posed
from recon_engine.compare.repeats import repeats_in_pieces
from recon_engine.compare.result_builder import answer, refuse_repeats
from recon_engine.errors import InternalError
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.encodings import told_for_both
from recon_engine.inputs.header import Header, head_of
from recon_engine.model import SIDES
from recon_engine.runtime.concurrency import in_order
from recon_engine.runtime.memory import Budget, Differing, default_budget
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import Buckets
    from recon_engine.compare.digests import Names, Strategy
    from recon_engine.compare.lookup import Ask
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.partial_result import Repeats
    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.result import Reconciliation

    # The numbers of the rows of either side whose key seems to repeat, ascending.
    Suspects = tuple[NDArray[np.uint32], NDArray[np.uint32]]


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
    sides = tuple(map(_Side, reading.tables, question.names))
    every = [_rest(reading, at, wanted) for at in range(reading.buckets)]
    rests = [left for left, _ in every]
    # Before the rows are looked at, which takes far longer.
    differing = _differing(sides, rests)
    reading.budget.check_result(differing)
    repeats: list[tuple[Repeats, Repeats]] = []
    for _, suspects in every:
        repeats.append(_repeats(sides, suspects, repeats, reading.budget))
    of_sides = [together(each) for each in zip(*repeats, strict=True)]
    refuse_repeats(reading.tables, of_sides, question.options)
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compared(sides, rests, reading.budget.batches(differing.text))
        advance(rows)
    identical = sum(each.identical for each in rests)
    seen = sightings(
        asked,
        [_sought_keys(at, side, rests) for at, side in enumerate(sides)],
        [side.worst for side in of_sides],
        found,
        question.names[OLD],
    )
    return answer(
        question,
        reading.tables,
        partial(found, identical, of_sides, question, seen),
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

    `left`: the digests of the rows that are not identical; `sought`: of those whose key
    seems to be sought; `of_key`: at most so many of `left` have one key, if keys seem
    to repeat.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    sought: tuple[pl.DataFrame, pl.DataFrame]
    of_key: int = 0


def _rest(reading: Reading, at: int, wanted: pl.Series | None) -> tuple[Rest, Suspects]:
    old, new = reading.digests
    whole = all_is_compared(reading.question.names)
    if isinstance(old, OnDisk) and isinstance(new, OnDisk):
        count = reading.budget.pieces(old.rows_in(at) + new.rows_in(at))
        if count > 1:
            return _rest_in_pieces((old, new), at, count, whole, wanted)
    return rest(lambda side: reading.digests[side].bucket(at), whole, wanted)


def rest(
    digests_of: Callable[[int], pl.DataFrame],
    whole: tuple[bool, bool],
    wanted: pl.Series | None = None,
) -> tuple[Rest, Suspects]:
    """What is left to look at in one bucket, by the digests of either side.

    `whole`: whether all columns of a side are compared; `wanted`: the digests of keys
    that are looked up.
    """
    sides = list(in_order(digests_of, (OLD, NEW)))
    old, new = in_order(_suspects, sides)
    return _dropped(sides, (len(old) > 0, len(new) > 0), whole, wanted), (old, new)


def _with_keys(side: pl.DataFrame, keys: pl.Series | None) -> pl.DataFrame:
    if keys is None or keys.is_empty():
        return side.clear()
    return side.filter(side["key"].is_in(keys.implode()))


def _rest_in_pieces(
    sides: tuple[OnDisk, OnDisk],
    at: int,
    count: int,
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
) -> tuple[Rest, Suspects]:
    """The same of a bucket that is larger than others, with less of it in memory.

    Equal rows have equal digests, so these are in one piece.
    """
    old_suspects, new_suspects = (side.repeated(at) for side in sides)
    parts = []
    for number in range(count):
        piece = [side.piece(at, number, count) for side in sides]
        parts.append(_dropped(piece, (True, True), whole, wanted))
    old, new = (pl.concat(each) for each in zip(*(p.left for p in parts), strict=True))
    ours, theirs = (
        pl.concat(each) for each in zip(*(p.sought for p in parts), strict=True)
    )
    identical = sum(part.identical for part in parts)
    found = Rest(identical, (old, new), (ours, theirs), _of_key(old, new))
    return found, (old_suspects, new_suspects)


def _dropped(
    sides: list[pl.DataFrame],
    repeats: tuple[bool, bool],
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
) -> Rest:
    """Without the rows that are equal: first those that stand once, then others.

    `sides` are taken: they are not held beside what is left of them.
    """
    old, new = (_with_keys(side, wanted) for side in sides)
    left = drop_identical(*sides, repeats=repeats)
    sides.clear()
    if not any(repeats):
        return Rest(left.identical, (left.old, left.new), (old, new))
    again = drop_equal(left.old, left.new, whole=whole)
    identical = left.identical + again.identical
    of_key = _of_key(again.old, again.new)
    return Rest(identical, (again.old, again.new), (old, new), of_key)


def _of_key(old: pl.DataFrame, new: pl.DataFrame) -> int:
    return longest_run(old["key"]) + longest_run(new["key"])


def _suspects(side: pl.DataFrame) -> NDArray[np.uint32]:
    if not any_repeats(side["key"]):
        return np.empty(0, np.uint32)
    return side["number"].filter(side["key"].is_duplicated()).to_numpy()


def _compared(sides: Sequence[_Side], rests: Sequence[Rest], count: int) -> Difference:
    """Compare what is left, in about so many batches of buckets."""
    size = -(-len(rests) // count)
    batches = [rests[at : at + size] for at in range(0, len(rests), size)]
    parts = (part for batch in batches for part in _differences(sides, batch))
    return judged(merge(parts, sides[0].names.keys))


def _differing(sides: Sequence[_Side], rests: Sequence[Rest]) -> Differing:
    every = [
        (left, side.table.row_bytes)
        for each in rests
        for side, left in zip(sides, each.left, strict=True)
    ]
    columns = len(sides[0].names.all)
    of_key = max(each.of_key for each in rests)
    return Differing(
        rows=sum(left.height for left, _ in every),
        text=sum(int(left.height * row_bytes) for left, row_bytes in every),
        of_key=of_key if of_key * columns > GROUP_CELLS else 0,
        columns=columns,
    )


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


def _repeats(
    sides: Sequence[_Side],
    suspects: Suspects,
    before: Sequence[tuple[Repeats, Repeats]],
    budget: Budget,
) -> tuple[Repeats, Repeats]:
    """The repeated keys of a bucket, exactly: digests only say which rows to look at.

    `before`: those of other buckets; a column that is not telling there is no longer
    looked at.
    """
    old, new = (
        _repeats_of(
            side,
            suspects[at],
            before[-1][at].telling if before else side.names.columns,
            budget,
        )
        for at, side in enumerate(sides)
    )
    return old, new


def _repeats_of(
    side: _Side, numbers: NDArray[np.uint32], telling: Iterable[str], budget: Budget
) -> Repeats:
    def cells(some: NDArray[np.uint32]) -> pl.DataFrame:
        return cells_of(side.table.take(some.astype(np.int64)), side.names)

    rows = 1 + GROUP_CELLS // len(side.names.all)
    if len(numbers) <= rows:
        return repeats_among(cells(numbers), side.names, telling)
    at_once = budget.hashed_columns(len(numbers))
    return repeats_in_pieces(
        cells, numbers, side.names, telling, piece_rows=rows, at_once=at_once
    )
