"""Two tables become one result: align, digest, drop equal rows, compare the others."""

from __future__ import annotations

import logging
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recon_engine.compare import groups, pairs
from recon_engine.compare.buckets import DiskBuckets, MemoryBuckets, open_buckets
from recon_engine.compare.causes import analyze_columns
from recon_engine.compare.digests import (
    KEY_SEED,
    all_is_compared,
    choose_strategy,
    key_digest,
)
from recon_engine.compare.early_scan import scan_both
from recon_engine.compare.lookup import sightings, sought
from recon_engine.compare.pairing import (
    merge_differences,
    with_kinds,
)
from recon_engine.compare.partial_result import (
    find_repeats,
    merge_repeats,
    no_repeats,
    summarize_difference,
)
from recon_engine.compare.placed_files import as_unpairable, find_places
from recon_engine.compare.plan import ComparisonPlan, make_plan
from recon_engine.compare.preparation import Place
from recon_engine.compare.repeats import repeats_in_pieces
from recon_engine.compare.result_builder import (
    ReadBy,
    Samples,
    build_result,
    reject_duplicate_keys,
    sample_differing_rows,
)
from recon_engine.compare.scanned_digests import ScannedDigests, digest_sides
from recon_engine.compare.undecided import (
    NO_SUSPECTS,
    Undecided,
    are_judged,
    find_undecided,
    find_undecided_in_pieces,
)
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.encodings import name_both_encodings
from recon_engine.inputs.header import Header, read_sample
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.inputs.scanned import (
    DIGESTS,
    PAIRED,
    REPEATED,
    open_matched,
    open_scanned,
)
from recon_engine.inputs.scanning import KernelRefusal
from recon_engine.inputs.trailer_sums import check_sums
from recon_engine.model import NEW, OLD, SIDES, RowCounts
from recon_engine.records import dataclass
from recon_engine.rules.chains import read_and_counted
from recon_engine.runtime.concurrency import map_ordered, run_beside
from recon_engine.runtime.lazy_module import np
from recon_engine.runtime.memory import Budget, Differing, default_budget
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import Buckets
    from recon_engine.compare.digests import ColumnIds, Strategy
    from recon_engine.compare.lookup import Ask, Sought
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.partial_result import Repeats
    from recon_engine.compare.placed_files import PlacedFiles
    from recon_engine.compare.undecided import Numbers, Suspects
    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.scanned import MatchedFiles, ScannedFile
    from recon_engine.inputs.scanning import Scanning
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.result import Reconciliation
    from recon_engine.rules.chains import Tallies


log = logging.getLogger(__name__)

# Repeated keys are sought piece by piece. A piece costs about 120 bytes a cell while it
# is parsed and hashed: 2M cells took a budget of 400 MiB up to 40% over, these 8%.
REPEAT_CELLS: Final = 1 << 19
SOUGHT_ROWS: Final = 1 << 16


class ReadRows(Protocol):
    """What is kept of a side that was read, as `digests.Strategy` has it."""

    @property
    def name(self) -> str: ...

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows."""
        ...

    def tallies(self) -> Tallies:
        """What the rules of key columns read, and of columns that are read apart."""
        ...


@dataclass(frozen=True, slots=True)
class ReadTables:
    """Two tables that were read once: validated, counted, and reduced to digests.

    The first of each pair is that of OLD. A bucket of `digests` can be taken once.
    `strategies` computed the digests, and hold a sample of the rows. `matched`: what
    the native kernel has matched; it leaves no digests. `placed`: the places of these
    rows, if some may not be kept. `by_kernel`: whether it has read the tables.
    `by_keys`: whether only keys were digested, so that all rows are compared.
    """

    plan: ComparisonPlan
    tables: tuple[Table, Table]
    strategies: Sequence[ReadRows]
    digests: list[Buckets]
    buckets: int
    budget: Budget
    matched: MatchedFiles | None = None
    placed: PlacedFiles | None = None
    by_kernel: bool = False
    by_keys: bool = False

    @property
    def paired(self) -> MatchedFiles | None:
        """What the kernel has matched, if its pairs are those of the comparison."""
        if self.matched is None or self.matched.folds or self.placed is not None:
            return None
        return self.matched

    @property
    def blanks(self) -> list[int]:
        """The rows of each side whose key has a blank."""
        if self.placed is not None:
            return [side.blank_keys for side in self.placed.sides]
        if self.matched is not None:
            return self.matched.blank_keys
        return [side.blanks for side in self.digests]

    @property
    def kernel(self) -> str | None:
        """What has read the files: "native" or "numpy"; None if there was no file."""
        if not any(isinstance(table, CsvFile) for table in self.tables):
            return None
        return "native" if self.by_kernel else "numpy"


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
    scanning: Scanning | None = None,
) -> Iterator[ReadTables]:
    """Read both sides in parallel: validate files, and reduce all rows to digests.

    Args:
        old: OLD, with its header read.
        new: NEW, with its header read.
        options: How the files are read and compared.
        progress: Reports the bytes read.
        budget: The memory to use; by default 60% of what the container or the machine
            has.
        strategy: "columns" forces digests of parsed cells. The answer is the same.
        buckets: Forces the number of buckets. The answer is the same.
        scanning: The scan of both files by the native kernel, if it has begun. It is
            closed here.

    Raises:
        KeyMissing: Before any row is read, as the next two.
        SchemaMismatch: A column is in one file only.
        ConfigError: An option does not fit the columns.
        InputError: A file is refused, as by `read_rows`.
        OutOfBudget: A bucket does not fit the budget.
    """
    unread = (old, new)
    plan = make_plan(old, new, options)
    names = plan.names
    budget = budget or default_budget()
    expected = (old.expected_rows, new.expected_rows)
    count = buckets or budget.buckets(sum(expected))
    chosen = choose_strategy(unread, names, strategy)
    refused = False
    with ExitStack() as stack:
        try:
            # Only the path in Python writes several buckets. What a caller forces is
            # about that path, too.
            if scanning is None and count == 1 and not (strategy or buckets):
                scanning = scan_both(unread, plan.layout)
            if scanning is not None and scanning.joins:
                matched = stack.enter_context(
                    open_matched(scanning, progress, budget.repeated_rows())
                )
                reading = _describe_matched(plan, matched, chosen, budget)
                check_sums(unread, reading.tables, options)
                yield reading
                return
            if scanning is not None:
                files = stack.enter_context(open_scanned(scanning, progress))
                digests = stack.enter_context(open_buckets(expected, 1))
                reading = _digest_scanned(
                    plan, files, chosen, digests, progress, budget
                )
                check_sums(unread, reading.tables, options)
                yield reading
                return
        except KernelRefusal as refusal:
            refused = refusal.fault
        digests = stack.enter_context(open_buckets(expected, count))
        with name_both_encodings(
            options, unread, lambda side, start: read_sample(unread[side], start)
        ):
            tables = _run_side_by_side(_read_side, unread, chosen, digests, progress)
        check_sums(unread, tables, options)
        # The files are valid, but a record spans lines, so digests of raw lines are not
        # those of records. The first buckets are closed: the budget is for one set.
        if any(each.inexact for each in chosen):
            stack.close()
            digests = stack.enter_context(open_buckets(expected, count))
            chosen = choose_strategy(unread, names, "columns")
            _run_side_by_side(_digest_table, tables, chosen, digests, progress)
        # The reader has accepted what the kernel has refused, without a quarantined row
        # that would explain it. The result is right, and the kernel has a bug.
        if refused and not any(table.rejects.count for table in tables):
            log.warning("native_kernel_refused")
        yield ReadTables(
            plan=plan,
            tables=tables,
            strategies=chosen,
            digests=digests,
            buckets=count,
            budget=budget,
        )


def _describe_matched(
    plan: ComparisonPlan,
    matched: MatchedFiles,
    strategies: Sequence[Strategy],
    budget: Budget,
) -> ReadTables:
    """What the kernel has read; `strategies`: those that it makes needless."""
    old, new = (side.file() for side in matched.sides)
    name = strategies[0].name if matched.has_one_line_per_record else "columns"
    samples = [
        pairs.KernelSample(name, side, names)
        for side, names in zip(matched.sides, plan.names, strict=True)
    ]
    are_placed = are_judged(plan.names)
    return ReadTables(
        plan=plan,
        tables=(old, new),
        strategies=samples,
        digests=[],
        buckets=0,
        budget=budget,
        matched=matched,
        placed=find_places(matched, plan.names) if are_placed else None,
        by_kernel=True,
    )


def _digest_scanned(
    plan: ComparisonPlan,
    files: Sequence[ScannedFile],
    strategies: Sequence[Strategy],
    digests: list[Buckets],
    progress: Progress,
    budget: Budget,
) -> ReadTables:
    """Digest what the kernel has read; `strategies`: those that it makes needless."""
    one_line = all(file.has_one_line_per_record for file in files)
    derived = {name for names in plan.names for name in names.prepared.new_names}
    random = secrets.token_bytes(files[OLD].scanned.side.kernel.random_size())
    made = [
        ScannedDigests(
            side=each.side,
            names=each.names,
            seeds=each.seeds,
            every=each.every,
            name=each.name if one_line else "columns",
            mixed=[name for name in each.names.compared if name in derived],
            file=file,
            random=random,
        )
        for each, file in zip(strategies, files, strict=True)
    ]
    old, new = (file.file() for file in files)
    digest_sides(made, digests, progress)
    return ReadTables(plan, (old, new), made, digests, 1, budget, by_kernel=True)


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
    """Validate a side and digest it in the same pass; frames are validated already."""
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
    """Digest a validated side: a frame, or a file whose first strategy was inexact."""
    with progress.step(f"digest {name}", total=side.rows) as advance:
        frames = map_ordered(lambda part: strategy.digest(side.read(part)), side.parts)
        for frame in frames:
            assert frame is not None  # noqa: S101 - "columns" is exact
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
    # The kernel leaves no buckets, so `every` is empty before.
    if reading.matched is not None:
        every = [
            _find_undecided_by_kernel(
                reading.matched, reading.placed, plan, sides, asked
            )
        ]
    rests = [left for left, _ in every]
    # Checked before any row is parsed, which takes far longer.
    differing = _differing(sides, rests, reading.paired)
    reading.budget.check_result(differing)
    repeats: list[tuple[Repeats, Repeats]] = []
    for _, suspects in every:
        repeats.append(_find_side_repeats(sides, suspects, repeats, reading.budget))
    of_sides = [merge_repeats(each) for each in zip(*repeats, strict=True)]
    reject_duplicate_keys(reading.tables, of_sides, plan.options)
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        batches = reading.budget.batches(differing.text)
        found = _compare_undecided(sides, rests, batches, reading.paired)
        advance(rows)
    identical = sum(each.identical for each in rests)
    old_aside, new_aside = (
        RowCounts(
            left_out=sum(each.left_out[at] for each in rests),
            folded_away=sum(each.folded_away[at] for each in rests),
        )
        for at in (OLD, NEW)
    )
    seen = sightings(
        asked,
        [_sought_keys(at, side, rests) for at, side in enumerate(sides)],
        [side.worst for side in of_sides],
        found,
        plan.names,
    )
    # Neither needs the other, and the analysis takes longer.
    with run_beside(
        lambda: (
            summarize_difference(found, identical, of_sides, plan, seen),
            sample_differing_rows(found, plan),
            [strategy.sample() for strategy in reading.strategies],
        )
    ) as wait_for_summary:
        column_findings = analyze_columns(found, plan)
    partial, shown, samples = wait_for_summary()
    return build_result(
        plan,
        reading.tables,
        partial.with_aside(old_aside, new_aside),
        column_findings,
        today=today,
        samples=Samples(shown, samples),
        blanks=reading.blanks,
        tallies=_count_reads(reading, found),
        read_by=ReadBy(
            reading.strategies[0].name, reading.kernel, counts_cells=reading.by_keys
        ),
        sought=asked,
    )


def _count_reads(reading: ReadTables, found: Difference) -> list[Tallies]:
    """What rules read of all rows: of keys, and of columns that are read apart.

    Where only keys were digested, the difference has counted the cells of all pairs.
    """
    counted = [strategy.tallies() for strategy in reading.strategies]
    if reading.by_keys:
        ours = reading.plan.names[OLD]
        apart = [name for name in ours.read_apart if name not in ours.keys]
        counted += [
            {
                name: read_and_counted(
                    ours.chains[name], rows[name], side, apply_natively
                )[1]
            }
            for side, rows in zip(SIDES, (found.missing, found.extra), strict=True)
            for name in apart
        ]
    return counted


@dataclass(frozen=True, slots=True)
class _TableSide:
    """A table whose columns have ids in place of their names."""

    table: Table
    names: ColumnIds

    def take(self, digests: pl.DataFrame) -> Rows:
        """The rows with the `number`s of digests, in file order."""
        return self.table.take(digests["number"].to_numpy().astype(np.int64))


def _find_undecided_in_bucket(
    reading: ReadTables, at: int, wanted: pl.Series | None
) -> tuple[Undecided, Suspects]:
    old, new = reading.digests
    names = reading.plan.names
    whole, judged = all_is_compared(names), are_judged(names)
    # A piece has all rows of a row digest. To fold takes all rows of a key.
    cut = not names[0].prepared.either_folds
    if cut and isinstance(old, DiskBuckets) and isinstance(new, DiskBuckets):
        count = reading.budget.pieces(old.rows_in(at) + new.rows_in(at))
        if count > 1:
            return find_undecided_in_pieces(
                (old, new), at, count, whole, wanted, judged=judged
            )
    return find_undecided(
        lambda side: reading.digests[side].bucket(at),
        whole,
        wanted,
        judged=judged,
        by_cells=reading.by_keys or names[0].prepared.either_folds,
    )


def _find_undecided_by_kernel(
    matched: MatchedFiles,
    placed: PlacedFiles | None,
    plan: ComparisonPlan,
    sides: Sequence[_TableSide],
    asked: Sought | None,
) -> tuple[Undecided, Suspects]:
    """What the kernel leaves to be paired: the rows of repeated keys.

    If it has folded rows: of all keys whose rows it has not found to be identical. If
    rows have places: all that are not identical, and identical ones that are listed as
    unpairable.
    """
    # First: it needs the digests, which are freed before pairs are compared.
    old, new = (_find_sought_rows(matched, at, sides[at], asked) for at in (OLD, NEW))
    matched.forget_digests()
    if placed is not None:
        found, suspects = _find_undecided_by_places(placed, plan)
        ours, theirs = placed.keep(OLD, old), placed.keep(NEW, new)
        return replace(found, sought=(ours, theirs)), suspects
    if matched.has_repeats:
        left, suspects = find_undecided(
            lambda side: matched.take_digests(REPEATED[side]),
            all_is_compared(plan.names),
            by_cells=matched.folds,
        )
    else:
        none, suspects = pl.DataFrame(schema=DIGESTS), NO_SUSPECTS
        left = Undecided(0, (none, none), (none, none))
    identical = matched.identical + left.identical
    found = replace(left, identical=identical, sought=(old, new))
    return replace(found, folded_away=matched.folded_away), suspects


def _find_undecided_by_places(
    placed: PlacedFiles, plan: ComparisonPlan
) -> tuple[Undecided, Suspects]:
    """The rows that the kernel leaves to be paired where rows have places.

    All that are not identical, without those that fail the filter like their partner,
    and identical ones that are listed as unpairable.
    """
    # Before `take_repeated` frees lists that tell which rows are identical.
    unkept = [placed.find_unkept(at) for at in (OLD, NEW)]
    unpairable = [rows.filter(pl.col("place") == Place.UNPAIRABLE) for rows in unkept]
    found, suspects = find_undecided(
        placed.take_repeated, all_is_compared(plan.names), judged=True
    )
    listed, failing = placed.find_listed()
    left = [
        pl.concat([rows, listed[at], as_unpairable(unpairable[at]["number"])])
        for at, rows in enumerate(found.left)
    ]
    left_out = [
        count + failing[at] + unkept[at].height - unpairable[at].height
        for at, count in enumerate(found.left_out)
    ]
    return (
        replace(
            found,
            # Identical rows are not kept on both sides, or on none.
            identical=placed.matched.identical + found.identical - unkept[OLD].height,
            left=(left[OLD], left[NEW]),
            left_out=(left_out[OLD], left_out[NEW]),
        ),
        suspects,
    )


def _find_sought_rows(
    matched: MatchedFiles, at: int, side: _TableSide, asked: Sought | None
) -> pl.DataFrame:
    """The numbers of the rows whose key seems to be sought."""
    numbers = []
    if asked is not None and asked.texts:
        numbers.append(matched.find_keys(at, asked.texts))
    if asked is not None and not asked.masked.is_empty():
        numbers.extend(_find_masked_keys(side, asked.masked))
    if not numbers:
        return pl.DataFrame(schema={"number": pl.UInt32})
    return pl.DataFrame({"number": np.unique(np.concatenate(numbers))})


def _find_masked_keys(
    side: _TableSide, keys: pl.Series
) -> Iterator[NDArray[np.uint32]]:
    """The rows whose key has one of these digests: all keys are parsed for it."""
    table, names = side.table, side.names
    for part in table.parts:
        cells = names.read_cells(table.read(part)).select(names.keys)
        digests = key_digest(cells.collect(engine="in-memory"), names, KEY_SEED)
        places = digests.is_in(keys.implode()).arg_true().to_numpy()
        yield (places + part.first).astype(np.uint32)


def _compare_undecided(
    sides: Sequence[_TableSide],
    rests: Sequence[Undecided],
    count: int,
    paired: MatchedFiles | None,
) -> Difference:
    """Compare what is left, in about so many batches of buckets.

    `paired`: the files whose pairs the kernel lists.
    """
    parts: Iterator[Difference]
    if paired is not None:
        parts = _compare_matched(sides, rests[0], paired)
    else:
        size = -(-len(rests) // count)
        batches = [rests[at : at + size] for at in range(0, len(rests), size)]
        parts = (part for batch in batches for part in _compare_batch(sides, batch))
    ours = sides[0].names
    return with_kinds(merge_differences(parts, ours.keys), ours.columns, ours.chains)


def _compare_matched(
    sides: Sequence[_TableSide], left: Undecided, matched: MatchedFiles
) -> Iterator[Difference]:
    """Compare the pairs of the kernel, then what is paired by its text."""
    names = [side.names for side in sides]
    more: list[list[pl.DataFrame]] = [[digests] for digests in left.left]
    for part in pairs.compare_pairs(matched, names):
        if isinstance(part, slice):
            for at, which in enumerate(PAIRED):
                more[at].append(matched.digests(which, part))
        else:
            yield part
    yield pairs.unmatched_rows(matched, names)
    # Last, because `more` is complete only after all pairs were compared.
    old, new = (pl.concat(digests) for digests in more)
    if old.height or new.height:
        repeat = any(digests.height for digests in left.left)
        yield from _compare_batch(
            sides, [replace(left, left=(old, new))], repeat=repeat
        )


def _differing(
    sides: Sequence[_TableSide],
    rests: Sequence[Undecided],
    paired: MatchedFiles | None,
) -> Differing:
    known = (0, 0) if paired is None else paired.differing
    every = [
        (left.height + more, side.table.row_bytes)
        for each in rests
        for side, left, more in zip(sides, each.left, known, strict=True)
    ]
    columns = len(sides[0].names.all)
    of_key = max(each.of_key for each in rests)
    return Differing(
        rows=sum(rows for rows, _ in every),
        text=sum(int(rows * row_bytes) for rows, row_bytes in every),
        # The rows of a key are paired at once. Up to the size of a group that costs no
        # more than any group.
        of_key=of_key if of_key * columns > groups.GROUP_CELLS else 0,
        columns=columns,
    )


def _compare_batch(
    sides: Sequence[_TableSide], batch: Sequence[Undecided], *, repeat: bool = False
) -> Iterator[Difference]:
    """Groups of keys are compared one by one: what is parsed at once stays small.

    `repeat`: whether keys are known to repeat.
    """
    # Ascending, as `take` requires. The keys below have the same order.
    left = [
        pl.concat(digests).sort("number")
        for digests in zip(*(each.left for each in batch), strict=True)
    ]
    taken = list(
        map_ordered(lambda each: each[0].take(each[1]), zip(sides, left, strict=True))
    )
    keys = [digests["key"] for digests in left]
    names = [side.names for side in sides]
    return groups.compare_groups(taken, keys, names, repeat=repeat)


def _sought_keys(
    at: int, side: _TableSide, rests: Sequence[Undecided]
) -> Iterator[pl.DataFrame]:
    """The keys of the rows that seem to have one that is sought, some at a time."""
    digests = pl.concat([each.sought[at] for each in rests]).sort("number")
    for some in digests.iter_slices(SOUGHT_ROWS):
        cells = side.names.read_cells(side.take(some))
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
    numbers: Numbers,
    telling: Iterable[str],
    budget: Budget,
) -> Repeats:
    def cells(some: NDArray[np.uint32]) -> pl.DataFrame:
        return groups.parse_cells(side.table.take(some.astype(np.int64)), side.names)

    # No key of a side repeats after its rows are folded.
    folded = side.names.prepared.fold
    if folded or isinstance(numbers, tuple) or not len(numbers):
        return no_repeats(side.names.keys, telling)
    rows = 1 + REPEAT_CELLS // len(side.names.all)
    if len(numbers) <= rows:
        return find_repeats(cells(numbers), side.names, telling)
    at_once = budget.hashed_columns(len(numbers))
    return repeats_in_pieces(
        cells, numbers, side.names, telling, piece_rows=rows, at_once=at_once
    )
