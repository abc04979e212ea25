"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import sample
from recon_engine.alignment import align
from recon_engine.buckets import InMemory, opened
from recon_engine.compare import (
    Difference,
    any_repeats,
    diff,
    drop_identical,
    merge,
    repeated,
)
from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.csvfile import CsvFile
from recon_engine.digest import choose, named
from recon_engine.errors import DuplicateKeys, InternalError
from recon_engine.gate import read_rows
from recon_engine.header import Header
from recon_engine.memory import Budget, default_budget, peak_rss_bytes
from recon_engine.model import SIDES, Column, Counts, Side, Signature
from recon_engine.parallel import in_order
from recon_engine.partial import partial
from recon_engine.progress import SILENT, Progress
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.alignment import Alignment
    from recon_engine.buckets import Buckets
    from recon_engine.csvfile import Rows
    from recon_engine.digest import Names, Strategy, Table, Unread
    from recon_engine.partial import Partial, Repeats


GROUP_CELLS: Final = 1 << 21
REJECTS: Final = {
    "file": pl.String,
    "line": pl.Int64,
    "byte_offset": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Two tables that were read once: gated, counted, and reduced to digests.

    Of pairs, the first is OLD's. The digests are there to be taken once.
    """

    tables: tuple[Table, Table]
    names: tuple[Names, Names]
    layout: Alignment
    strategy: str
    digests: list[Buckets]
    buckets: int
    options: Options
    budget: Budget
    started: float

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
    started = time.monotonic()
    unread = (old, new)
    layout = align(old.columns, new.columns, options, uris=(old.uri, new.uri))
    names = (
        named(old.columns, layout, {}),
        named(new.columns, layout, layout.new_names),
    )
    budget = budget or default_budget()
    expected = (old.expected_rows, new.expected_rows)
    count = buckets or budget.buckets(sum(expected))
    chosen = choose(unread, names, strategy)
    with ExitStack() as stack:
        digests = stack.enter_context(opened(expected, count))
        tables = _side_by_side(_read, unread, chosen, digests, progress)
        if any(each.inexact for each in chosen):
            stack.close()
            digests = stack.enter_context(opened(expected, count))
            chosen = choose(unread, names, "columns")
            _side_by_side(_digest, tables, chosen, digests, progress)
        yield Reading(
            tables=tables,
            names=names,
            layout=layout,
            strategy=chosen[0].name,
            digests=digests,
            buckets=count,
            options=options,
            budget=budget,
            started=started,
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


def reconcile(reading: Reading, progress: Progress = SILENT) -> Reconciliation:
    """What is missing, extra and changed from OLD to NEW, exactly.

    Raises DuplicateKeys (policy `fail`) and OutOfBudget.
    """
    rests = [
        rest(*(side.bucket(at) for side in reading.digests))
        for at in range(reading.buckets)
    ]
    sides = tuple(map(_Side, reading.tables, reading.names))
    repeats = [_repeated_keys(at, side, rests) for at, side in enumerate(sides)]
    refuse_repeats(
        reading, [(each.height, int(each["rows"].sum())) for each in repeats]
    )
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compared(sides, rests, reading.budget)
        advance(rows)
    identical = sum(each.identical for each in rests)
    blanks = [side.blanks for side in reading.digests]
    return assembled(reading, partial(found, identical, repeats), blanks)


def assembled(
    reading: Reading, found: Partial, blanks: Sequence[int]
) -> Reconciliation:
    """The result, whose laws are checked as it is made.

    `found` of all buckets; `blanks`: in how many rows of a side the key has a blank.
    """
    facts = [
        _facts(table, again, blank)
        for table, again, blank in zip(
            reading.tables, found.repeats, blanks, strict=True
        )
    ]
    engine = Engine(
        strategy=reading.strategy,
        version=__version__,
        seconds=round(time.monotonic() - reading.started, 3),
        peak_rss_bytes=peak_rss_bytes(),
    )
    return _Answer(reading, found).assembled(facts, engine)


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


def rest(old: pl.DataFrame, new: pl.DataFrame) -> Rest:
    """What is left to look at in one bucket, by its digests."""
    (old, old_suspects), (new, new_suspects) = in_order(_with_suspects, (old, new))
    repeats = not old_suspects.is_empty(), not new_suspects.is_empty()
    left = drop_identical(old, new, repeats=repeats)
    return Rest(left.identical, (left.old, left.new), (old_suspects, new_suspects))


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
    return merge(parts, sides[0].names.keys)


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
    # In one piece: rows are about to be gathered from it, column by column.
    cells = rows.cells(names.all).collect().rechunk()
    if cells.height != rows.rows:
        raise InternalError(
            f"{cells.height:,} rows were parsed where {rows.rows:,} were taken"
        )
    return cells


def _groups(keys: pl.Series, count: int) -> list[NDArray[np.int64]]:
    """Which rows are in which group, by their key."""
    place = keys.to_numpy() % np.uint64(count)
    order = np.argsort(place, kind="stable")
    return np.split(order, np.searchsorted(place[order], np.arange(1, count)))


def _repeated_keys(at: int, side: _Side, rests: Sequence[Rest]) -> pl.DataFrame:
    """The repeated keys, exactly: digests only say which rows to look at."""
    keys, rules = side.names.keys, side.names.rules
    found = [
        repeated(
            cells_of(side.take(each.suspects[at]), side.names).select(keys), keys, rules
        )
        for each in rests
    ]
    return pl.concat(found).sort("rows", "key", descending=[True, False])


def refuse_repeats(reading: Reading, repeats: Sequence[tuple[int, int]]) -> None:
    """Raise DuplicateKeys where the policy is `fail`; of how many keys and rows."""
    options = reading.options
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, (keys, rows) in zip(
        ("OLD", "NEW"), reading.tables, repeats, strict=True
    ):
        if keys:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{keys:,} keys stand on {rows:,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _facts(table: Table, repeats: Repeats, blank_keys: int) -> Side:
    return Side(
        uri=table.uri,
        rows=table.rows + table.rejects.count,
        sha256=table.sha256,
        bytes=table.bytes,
        rejected=table.rejects.count,
        duplicate_key_rows=repeats.rows,
        duplicate_keys=repeats.keys,
        blank_keys=blank_keys,
        dialect=table.dialect,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The kernel's findings on their way back under the names of the user."""

    reading: Reading
    partial: Partial

    @property
    def found(self) -> Difference:
        """What there is to show."""
        return self.partial.shown

    @property
    def layout(self) -> Alignment:
        """Which columns belong together."""
        return self.reading.layout

    def assembled(self, facts: Sequence[Side], engine: Engine) -> Reconciliation:
        """The result, whose laws are checked as it is made."""
        limit = self.reading.options.detail_limit
        whole, found = self.partial, self.found
        matched = whole.identical + whole.matched
        return Reconciliation(
            keys=self.layout.keys,
            old=facts[0],
            new=facts[1],
            counts=Counts(
                matched=matched,
                missing=whole.missing,
                extra=whole.extra,
                identical=matched - whole.mismatched,
                mismatched_rows=whole.mismatched,
                mismatched_cells=int(whole.kinds["len"].sum()),
                tolerated_cells=int(found.tolerated.sum()),
            ),
            by_column=self.columns(matched),
            signatures=self.signatures(),
            drift=self.layout.drift,
            sample=self.sample(limit),
            engine=engine,
            frames=Frames(
                mismatches=self.mismatches(),
                missing=self.renamed(0, found.missing),
                extra=self.renamed(1, found.extra),
                duplicates_old=self.key_named(whole.repeats[0].worst),
                duplicates_new=self.key_named(whole.repeats[1].worst),
                rejects=self.rejects(),
            ),
            detail_limit=limit,
        )

    @property
    def names(self) -> list[str]:
        """The compared columns by their ordinals in `cells`."""
        return sorted(self.layout.columns)

    def renamed(self, side: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Whole rows in the order of their file, under OLD's names."""
        named = rows.clone()
        renames = (dict[str, str](), self.layout.new_names)[side]
        columns = self.reading.tables[side].columns
        named.columns = [renames.get(name, name) for name in columns]
        return named

    def key_named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`key`, a struct, with the names of the key columns as its fields."""
        keys = frame["key"].struct.rename_fields(list(self.layout.keys))
        return frame.with_columns(keys)

    def rejects(self) -> pl.DataFrame:
        """The listed rows of both sides that were set aside, by place."""
        return pl.DataFrame(
            [
                (table.uri, row.line, row.byte_offset, row.reason)
                for table in self.reading.tables
                for row in table.rejects.sample
            ],
            schema=REJECTS,
            orient="row",
        )

    def columns(self, matched: int) -> tuple[Column, ...]:
        """Each compared column in the order of OLD."""
        kinds: dict[str, dict[str, int]] = {}
        names, counted = self.names, self.partial.kinds.sort("column", "kind")
        for column, kind, count in counted.iter_rows():
            kinds.setdefault(names[column], {})[kind] = count
        tolerated = dict(zip(names, self.found.tolerated.tolist(), strict=True))
        result = []
        for name in self.layout.columns:
            mine, near = kinds.get(name, {}), tolerated[name]
            wrong = sum(mine.values())
            equal = matched - wrong - near
            result.append(Column(name, matched, equal, near, wrong, mine))
        return tuple(result)

    def signatures(self) -> tuple[Signature, ...]:
        """Sets of columns that differ together, the most frequent first."""
        names, sets = self.names, self.partial.signatures.iter_rows()
        ordered = sorted(sets, key=lambda row: (-row[1], row[0]))
        return tuple(
            Signature(tuple(names[at] for at in columns), rows)
            for columns, rows in ordered
        )

    def sample(self, limit: int) -> tuple[SampleRow, ...]:
        """The rows to show, each with its differing cells."""
        found = self.found
        pairs = sample.choose(found.cells, sample.stable_hash(found.keys), limit)
        chosen = found.cells.filter(pl.col("pair").is_in(pairs.implode()))
        payloads = sample.payloads(chosen, self.names)
        keys = found.keys[pairs].rows()
        return tuple(
            SampleRow(dict(zip(self.layout.keys, key, strict=True)), payloads[pair])
            for pair, key in zip(pairs, keys, strict=True)
        )

    def mismatches(self) -> pl.DataFrame:
        """Every differing cell, by key and column."""
        cells = self.found.cells
        names = pl.Series("column", self.names, pl.String)
        named = self.key_named(self.found.keys.to_struct("key").to_frame())
        return cells.select(
            named["key"].gather(cells["pair"]),
            names.gather(cells["column"]),
            "old",
            "new",
            "kind",
        ).sort("key", "column", "old", "new")
