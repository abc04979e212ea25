"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import polars as pl

from recon_engine.compare.buckets import DiskBuckets, MemoryBuckets, open_buckets
from recon_engine.compare.causes import analyze_columns
from recon_engine.compare.digests import (
    all_is_compared,
    choose_strategy,
    make_empty_rows,
)
from recon_engine.compare.engine import NO_HOOKS, Compared, Hooks
from recon_engine.compare.lookup import sightings, sought
from recon_engine.compare.multisets import drop_equal
from recon_engine.compare.pairing import (
    compare_rows,
    drop_identical,
    has_repeats,
    longest_run,
    merge_differences,
    with_kinds,
)
from recon_engine.compare.partial_result import (
    find_repeats,
    merge_repeats,
    no_repeats,
    summarize_difference,
)
from recon_engine.compare.plan import ComparisonPlan, make_plan
from recon_engine.compare.repeats import repeats_in_pieces
from recon_engine.compare.result_builder import build_result, reject_duplicate_keys
from recon_engine.errors import InternalError
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.encodings import told_for_both
from recon_engine.inputs.header import Header, head_of
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.memory import Budget, Differing, default_budget
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import Buckets
    from recon_engine.compare.digests import ColumnIds, Strategy
    from recon_engine.compare.engine import Inputs
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
# Repeated keys are sought piece by piece. A piece costs about 120 bytes a cell while it
# is parsed and hashed: 2M cells took a budget of 400 MiB up to 40% over, these 8%.
REPEAT_CELLS: Final = 1 << 19
SOUGHT_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """The comparison on this machine, within a budget of memory."""

    budget: Budget | None = None
    brings_whole_difference: ClassVar[bool] = True

    def compare(
        self,
        inputs: Inputs,
        options: Options,
        today: date,
        progress: Progress = SILENT,
        hooks: Hooks = NO_HOOKS,
    ) -> Compared:
        """Fetch, read and compare both, as `Engine` says."""
        with hooks.step("fetch"):
            old, new = inputs.open_both()
        with ExitStack() as stack:
            with hooks.step("read"):
                read = read_tables(old, new, options, progress, budget=self.budget)
                reading = stack.enter_context(read)
                hooks.take_tables(*reading.tables)
            with hooks.step("compare"):
                return Compared(compare_tables(reading, today, progress, hooks.ask))


@dataclass(frozen=True, slots=True)
class ReadTables:
    """Two tables that were read once: gated, counted, and reduced to digests.

    Of pairs, the first is OLD's. The digests are there to be taken once. `strategies`
    took them, and a sample of the rows.
    """

    plan: ComparisonPlan
    tables: tuple[Table, Table]
    strategies: Sequence[Strategy]
    digests: list[Buckets]
    buckets: int
    budget: Budget


@contextmanager
def read_tables(
    old: Unread,
    new: Unread,
    options: Options,
    progress: Progress = SILENT,
    *,
    budget: Budget | None = None,
    strategy: str | None = None,
    buckets: int | None = None,
) -> Iterator[ReadTables]:
    """Read both sides at once: files through the gate, and all rows into digests.

    `budget`: of memory; by default 60% of the container's or the machine's.
    `strategy` ("columns") and `buckets` force what is else chosen: the answer is the
    same. Raises KeyMissing, SchemaMismatch and ConfigError before any row is read,
    the errors of the gate, and OutOfBudget.
    """
    unread = (old, new)
    plan = make_plan(old, new, options)
    names = plan.names
    budget = budget or default_budget()
    expected = (old.expected_rows, new.expected_rows)
    count = buckets or budget.buckets(sum(expected))
    chosen = choose_strategy(unread, names, strategy)
    with ExitStack() as stack:
        digests = stack.enter_context(open_buckets(expected, count))
        with told_for_both(options, unread, lambda side: head_of(unread[side])):
            tables = _run_side_by_side(_read_side, unread, chosen, digests, progress)
        if any(each.inexact for each in chosen):
            stack.close()
            digests = stack.enter_context(open_buckets(expected, count))
            chosen = choose_strategy(unread, names, "columns")
            _run_side_by_side(_digest_table, tables, chosen, digests, progress)
        yield ReadTables(
            plan=plan,
            tables=tables,
            strategies=chosen,
            digests=digests,
            buckets=count,
            budget=budget,
        )


def _run_side_by_side(
    work: Callable[..., Table],
    sides: Sequence[Unread | Table],
    strategies: Sequence[Strategy],
    digests: Sequence[Buckets],
    progress: Progress,
) -> tuple[Table, Table]:
    every = zip(SIDES, sides, strategies, digests, strict=True)
    old, new = map_ordered(lambda side: work(*side, progress), every)
    return old, new


def _read_side(
    name: str, side: Unread, strategy: Strategy, into: Buckets, progress: Progress
) -> Table:
    """Read a side for the first time."""
    if not isinstance(side, Header):
        return _digest_table(name, side, strategy, into, progress)
    with progress.step(f"read {name}", total=side.bytes, unit="bytes") as advance:
        return read_rows(
            side,
            advance=advance,
            examine=strategy.digest,
            keep=into.add,
            keep_ends=isinstance(into, MemoryBuckets),
        )


def _digest_table(
    name: str, side: Table, strategy: Strategy, into: Buckets, progress: Progress
) -> Table:
    """Digest what is known to be good."""
    with progress.step(f"digest {name}", total=side.rows) as advance:
        frames = map_ordered(lambda part: strategy.digest(side.read(part)), side.parts)
        for frame in frames:
            assert frame is not None  # noqa: S101 - columns tell of all tables
            into.add(frame)
            advance(frame.height)
    return side


def compare_tables(
    reading: ReadTables,
    today: date,
    progress: Progress = SILENT,
    ask: Ask | None = None,
) -> Reconciliation:
    """What is missing, extra and changed from OLD to NEW, exactly; masked, if asked.

    `today`: the day for which suppressions are evaluated; `ask`: for the keys of open
    breaks, where breaks are tracked. Raises DuplicateKeys (policy `fail`) and
    OutOfBudget.
    """
    plan = reading.plan
    asked = sought(ask, plan)
    wanted = None if asked is None else asked.keys
    sides = tuple(map(_TableSide, reading.tables, plan.names))
    every = [
        _find_undecided_in_bucket(reading, at, wanted) for at in range(reading.buckets)
    ]
    rests = [left for left, _ in every]
    # Checked before any row is parsed, which takes far longer.
    differing = _differing(sides, rests)
    reading.budget.check_result(differing)
    repeats: list[tuple[Repeats, Repeats]] = []
    for _, suspects in every:
        repeats.append(_find_side_repeats(sides, suspects, repeats, reading.budget))
    of_sides = [merge_repeats(each) for each in zip(*repeats, strict=True)]
    reject_duplicate_keys(reading.tables, of_sides, plan.options)
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compare_undecided(sides, rests, reading.budget.batches(differing.text))
        advance(rows)
    identical = sum(each.identical for each in rests)
    seen = sightings(
        asked,
        [_sought_keys(at, side, rests) for at, side in enumerate(sides)],
        [side.worst for side in of_sides],
        found,
        plan.names[OLD],
    )
    return build_result(
        plan,
        reading.tables,
        summarize_difference(found, identical, of_sides, plan, seen),
        analyze_columns(found, plan),
        today=today,
        samples=[strategy.sample() for strategy in reading.strategies],
        blanks=[side.blanks for side in reading.digests],
        tallies=[strategy.tallies() for strategy in reading.strategies],
        strategy=reading.strategies[0].name,
        sought=asked,
    )


@dataclass(frozen=True, slots=True)
class _TableSide:
    """A table under names that are ours."""

    table: Table
    names: ColumnIds

    def take(self, digests: pl.DataFrame) -> Rows:
        """The rows that digests are of, in file order."""
        return self.table.take(digests["number"].to_numpy().astype(np.int64))


@dataclass(frozen=True, slots=True)
class Undecided:
    """What digests leave to look at in a bucket; pairs are of OLD and NEW.

    `left`: the digests of the rows that are not identical; `sought`: of those whose key
    seems to be sought; `of_key`: at most so many of `left` have one key, if keys seem
    to repeat.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    sought: tuple[pl.DataFrame, pl.DataFrame]
    of_key: int = 0


def _find_undecided_in_bucket(
    reading: ReadTables, at: int, wanted: pl.Series | None
) -> tuple[Undecided, Suspects]:
    old, new = reading.digests
    whole = all_is_compared(reading.plan.names)
    if isinstance(old, DiskBuckets) and isinstance(new, DiskBuckets):
        count = reading.budget.pieces(old.rows_in(at) + new.rows_in(at))
        if count > 1:
            return _rest_in_pieces((old, new), at, count, whole, wanted)
    return find_undecided(lambda side: reading.digests[side].bucket(at), whole, wanted)


def find_undecided(
    digests_of: Callable[[int], pl.DataFrame],
    whole: tuple[bool, bool],
    wanted: pl.Series | None = None,
) -> tuple[Undecided, Suspects]:
    """What is left to look at in one bucket, by the digests of either side.

    `whole`: whether all columns of a side are compared; `wanted`: the digests of keys
    that are looked up.
    """
    sides = list(map_ordered(digests_of, (OLD, NEW)))
    old, new = map_ordered(_suspects, sides)
    return _dropped(sides, (len(old) > 0, len(new) > 0), whole, wanted), (old, new)


def _with_keys(side: pl.DataFrame, keys: pl.Series | None) -> pl.DataFrame:
    if keys is None or keys.is_empty():
        return side.clear()
    return side.filter(side["key"].is_in(keys.implode()))


def _rest_in_pieces(
    sides: tuple[DiskBuckets, DiskBuckets],
    at: int,
    count: int,
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
) -> tuple[Undecided, Suspects]:
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
    found = Undecided(identical, (old, new), (ours, theirs), _of_key(old, new))
    return found, (old_suspects, new_suspects)


def _dropped(
    sides: list[pl.DataFrame],
    repeats: tuple[bool, bool],
    whole: tuple[bool, bool],
    wanted: pl.Series | None,
) -> Undecided:
    """Without the rows that are equal: first those that stand once, then others.

    `sides` are taken: they are not held beside what is left of them.
    """
    old, new = (_with_keys(side, wanted) for side in sides)
    left = drop_identical(*sides, repeats=repeats)
    sides.clear()
    if not any(repeats):
        return Undecided(left.identical, (left.old, left.new), (old, new))
    again = drop_equal(left.old, left.new, whole=whole)
    identical = left.identical + again.identical
    of_key = _of_key(again.old, again.new)
    return Undecided(identical, (again.old, again.new), (old, new), of_key)


def _of_key(old: pl.DataFrame, new: pl.DataFrame) -> int:
    return longest_run(old["key"]) + longest_run(new["key"])


def _suspects(side: pl.DataFrame) -> NDArray[np.uint32]:
    if not has_repeats(side["key"]):
        return np.empty(0, np.uint32)
    return side["number"].filter(side["key"].is_duplicated()).to_numpy()


def _compare_undecided(
    sides: Sequence[_TableSide], rests: Sequence[Undecided], count: int
) -> Difference:
    """Compare what is left, in about so many batches of buckets."""
    size = -(-len(rests) // count)
    batches = [rests[at : at + size] for at in range(0, len(rests), size)]
    parts = (part for batch in batches for part in _compare_batch(sides, batch))
    return with_kinds(merge_differences(parts, sides[0].names.keys))


def _differing(sides: Sequence[_TableSide], rests: Sequence[Undecided]) -> Differing:
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


def _compare_batch(
    sides: Sequence[_TableSide], batch: Sequence[Undecided]
) -> Iterator[Difference]:
    """Groups of keys are compared one by one: what is parsed at once stays small."""
    left = [
        pl.concat(digests).sort("number")
        for digests in zip(*(each.left for each in batch), strict=True)
    ]
    taken = list(
        map_ordered(lambda each: each[0].take(each[1]), zip(sides, left, strict=True))
    )
    keys = [digests["key"] for digests in left]
    return compare_groups(taken, keys, [side.names for side in sides])


def compare_groups(
    taken: Sequence[Rows], keys: Sequence[pl.Series], names: Sequence[ColumnIds]
) -> Iterator[Difference]:
    """Rows of both sides compared, group by group of the digests of their keys."""
    cells = sum(rows.rows for rows in taken) * len(names[0].all)
    count = 1 + cells // GROUP_CELLS
    groups = [_group_by_key(digests, count) for digests in keys]

    def compared(at: int) -> Difference:
        old, new = (
            parse_cells(rows.picked(group[at]), each)
            for rows, group, each in zip(taken, groups, names, strict=True)
        )
        return compare_rows(
            old,
            new,
            keys=names[0].keys,
            columns=names[0].columns,
            rules=names[0].rules,
        )

    return map_ordered(compared, range(count))


def parse_cells(rows: Rows, names: ColumnIds) -> pl.DataFrame:
    """All cells of some rows."""
    if not rows.rows:
        return make_empty_rows(names)
    # One chunk, because rows are gathered from it column by column.
    cells = rows.cells(names.all).collect(engine="in-memory").rechunk()
    if cells.height != rows.rows:
        raise InternalError(
            f"{cells.height:,} rows were parsed where {rows.rows:,} were taken"
        )
    return cells


def _group_by_key(keys: pl.Series, count: int) -> list[NDArray[np.int64]]:
    """Which rows are in which group, by their key."""
    # numpy sorts integers of 16 bits by radix, which is fastest by far.
    place = (keys.to_numpy() % np.uint64(count)).astype(np.min_scalar_type(count))
    order = np.argsort(place, kind="stable")
    return np.split(order, np.searchsorted(place[order], np.arange(1, count)))


def _sought_keys(
    at: int, side: _TableSide, rests: Sequence[Undecided]
) -> Iterator[pl.DataFrame]:
    """The keys of the rows that seem to have one that is sought, some at a time."""
    digests = pl.concat([each.sought[at] for each in rests]).sort("number")
    for some in digests.iter_slices(SOUGHT_ROWS):
        cells = side.take(some).cells(side.names.all)
        yield cells.select(side.names.keys).collect(engine="in-memory")


def _find_side_repeats(
    sides: Sequence[_TableSide],
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
    side: _TableSide,
    numbers: NDArray[np.uint32],
    telling: Iterable[str],
    budget: Budget,
) -> Repeats:
    def cells(some: NDArray[np.uint32]) -> pl.DataFrame:
        return parse_cells(side.table.take(some.astype(np.int64)), side.names)

    if not len(numbers):
        return no_repeats(side.names.keys, telling)
    rows = 1 + REPEAT_CELLS // len(side.names.all)
    if len(numbers) <= rows:
        return find_repeats(cells(numbers), side.names, telling)
    at_once = budget.hashed_columns(len(numbers))
    return repeats_in_pieces(
        cells, numbers, side.names, telling, piece_rows=rows, at_once=at_once
    )
