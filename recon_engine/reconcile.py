"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine import sample
from recon_engine.alignment import align
from recon_engine.buckets import InMemory, opened
from recon_engine.causes import Evidence
from recon_engine.compare import (
    Difference,
    any_repeats,
    diff,
    drop_identical,
    merge,
    repeated,
    telling_apart,
)
from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.csvfile import CsvFile
from recon_engine.digest import choose, named
from recon_engine.errors import DuplicateKeys, InternalError
from recon_engine.gate import read_rows
from recon_engine.header import Header
from recon_engine.masks import keyed, masked
from recon_engine.memory import Budget, default_budget, peak_rss_bytes
from recon_engine.model import (
    SIDES,
    Column,
    Counts,
    Side,
    Signature,
)
from recon_engine.parallel import in_order
from recon_engine.progress import SILENT, Progress
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.renames import agreements
from recon_engine.suppressions import coverage
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.alignment import Alignment
    from recon_engine.buckets import Buckets
    from recon_engine.csvfile import Rows
    from recon_engine.digest import Names, Strategy, Table, Unread
    from recon_engine.masks import Masks


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

    Of pairs, the first is OLD's. The digests are there to be taken once. `strategies`
    took them, and a sample of the rows.
    """

    tables: tuple[Table, Table]
    names: tuple[Names, Names]
    layout: Alignment
    masks: Masks
    strategies: Sequence[Strategy]
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
    layout = align(
        old.columns,
        new.columns,
        options,
        uris=(old.uri, new.uri),
        measure=partial(agreements, old, new),
    )
    masks = keyed(layout.masks)
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
            masks=masks,
            strategies=chosen,
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
    """What is missing, extra and changed from OLD to NEW, exactly; masked, if asked.

    Raises DuplicateKeys (policy `fail`) and OutOfBudget.
    """
    rests = [_rest(reading.digests, at) for at in range(reading.buckets)]
    sides = tuple(map(_Side, reading.tables, reading.names))
    repeats = [_repeats(at, side, rests) for at, side in enumerate(sides)]
    _refuse_repeats(reading.tables, repeats, reading.options)
    blanks = [side.blanks for side in reading.digests]
    rows = sum(table.rows for table in reading.tables)
    with progress.step("compare", total=rows) as advance:
        found = _compared(sides, rests, reading.budget)
        advance(rows)
    facts = [
        _facts(table, again.keys, blank)
        for table, again, blank in zip(reading.tables, repeats, blanks, strict=True)
    ]
    engine = Engine(
        strategy=reading.strategies[0].name,
        version=__version__,
        seconds=round(time.monotonic() - reading.started, 3),
        peak_rss_bytes=peak_rss_bytes(),
    )
    identical = sum(rest.identical for rest in rests)
    answer = _Answer(reading, identical, found, repeats)
    return masked(answer.assembled(facts, engine), reading.masks)


@dataclass(frozen=True, slots=True)
class _Side:
    """A table under names that are ours."""

    table: Table
    names: Names

    def take(self, digests: pl.DataFrame) -> Rows:
        """The rows that digests are of, in file order."""
        return self.table.take(digests["number"].to_numpy().astype(np.int64))

    def cells(self, rows: Rows) -> pl.DataFrame:
        """All their cells."""
        # In one piece: rows are about to be gathered from it, column by column.
        cells = rows.cells(self.names.all).collect().rechunk()
        if cells.height != rows.rows:
            raise InternalError(
                f"{cells.height:,} rows were parsed where {rows.rows:,} were taken",
                file=self.table.uri,
            )
        return cells


@dataclass(frozen=True, slots=True)
class _Rest:
    """What digests leave to look at in a bucket; pairs are of OLD and NEW.

    `left`: the digests of the rows that are not identical; `suspects`: of those whose
    key seems to repeat.
    """

    identical: int
    left: tuple[pl.DataFrame, pl.DataFrame]
    suspects: tuple[pl.DataFrame, pl.DataFrame]


def _rest(digests: Sequence[Buckets], at: int) -> _Rest:
    """What is left to look at in one bucket."""
    (old, old_suspects), (new, new_suspects) = in_order(
        lambda side: _with_suspects(side.bucket(at)), digests
    )
    repeats = not old_suspects.is_empty(), not new_suspects.is_empty()
    rest = drop_identical(old, new, repeats=repeats)
    return _Rest(rest.identical, (rest.old, rest.new), (old_suspects, new_suspects))


def _with_suspects(side: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    if any_repeats(side["key"]):
        return side, side.filter(side["key"].is_duplicated())
    return side, side.clear()


def _compared(
    sides: Sequence[_Side], rests: Sequence[_Rest], budget: Budget
) -> Difference:
    """Compare what is left, in as many batches of buckets as the budget asks for."""
    differing = sum(
        int(left.height * side.table.row_bytes)
        for rest in rests
        for side, left in zip(sides, rest.left, strict=True)
    )
    budget.check_result(differing)
    size = -(-len(rests) // budget.batches(differing))
    batches = [rests[at : at + size] for at in range(0, len(rests), size)]
    parts = (part for batch in batches for part in _differences(sides, batch))
    return merge(parts, sides[0].names.keys)


def _differences(
    sides: Sequence[_Side], batch: Sequence[_Rest]
) -> Iterator[Difference]:
    """Groups of keys are compared one by one: what is parsed at once stays small."""
    left = [
        pl.concat(digests).sort("number")
        for digests in zip(*(rest.left for rest in batch), strict=True)
    ]
    cells = sum(digests.height for digests in left) * len(sides[0].names.all)
    count = 1 + cells // GROUP_CELLS
    taken = list(
        in_order(lambda each: each[0].take(each[1]), zip(sides, left, strict=True))
    )
    groups = [_groups(digests["key"], count) for digests in left]
    names = sides[0].names

    def compared(at: int) -> Difference:
        old, new = (
            side.cells(rows.picked(group[at]))
            for side, rows, group in zip(sides, taken, groups, strict=True)
        )
        return diff(old, new, keys=names.keys, columns=names.columns, rules=names.rules)

    return in_order(compared, range(count))


def _groups(keys: pl.Series, count: int) -> list[NDArray[np.int64]]:
    """Which rows are in which group, by their key."""
    place = keys.to_numpy() % np.uint64(count)
    order = np.argsort(place, kind="stable")
    return np.split(order, np.searchsorted(place[order], np.arange(1, count)))


@dataclass(frozen=True, slots=True)
class _Repeats:
    """The keys that repeat on a side, and the columns with which none would."""

    keys: pl.DataFrame
    telling: frozenset[str]


def _repeats(at: int, side: _Side, rests: Sequence[_Rest]) -> _Repeats:
    """The repeated keys, exactly: digests only say which rows to look at."""
    keys, rules = side.names.keys, side.names.rules
    found, telling = [], side.names.columns
    for rest in rests:
        cells = side.cells(side.take(rest.suspects[at]))
        found.append(repeated(cells.select(keys), keys, rules))
        telling = telling_apart(cells, keys, telling, rules)
    every = pl.concat(found).sort("rows", "key", descending=[True, False])
    return _Repeats(every, frozenset(telling))


def _refuse_repeats(
    tables: Sequence[Table], repeats: Sequence[_Repeats], options: Options
) -> None:
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, found in zip(("OLD", "NEW"), tables, repeats, strict=True):
        again = found.keys
        if again.height:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{again.height:,} keys stand on {again['rows'].sum():,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _facts(table: Table, repeats: pl.DataFrame, blank_keys: int) -> Side:
    return Side(
        uri=table.uri,
        rows=table.rows + table.rejects.count,
        sha256=table.sha256,
        bytes=table.bytes,
        rejected=table.rejects.count,
        duplicate_key_rows=int(repeats["rows"].sum()),
        duplicate_keys=repeats.height,
        blank_keys=blank_keys,
        dialect=table.dialect,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The kernel's findings on their way back under the names of the user."""

    reading: Reading
    identical: int
    found: Difference
    repeats: Sequence[_Repeats]

    @property
    def layout(self) -> Alignment:
        """Which columns belong together."""
        return self.reading.layout

    def assembled(self, facts: Sequence[Side], engine: Engine) -> Reconciliation:
        """The result, whose laws are checked as it is made."""
        limit = self.reading.options.detail_limit
        found = self.found
        matched = self.identical + found.keys.height
        mismatched = found.cells["pair"].n_unique()
        columns = self.columns(matched)
        causes = self.evidence(columns).causes()
        return Reconciliation(
            keys=self.layout.keys,
            old=facts[0],
            new=facts[1],
            counts=Counts(
                matched=matched,
                missing=found.missing.height,
                extra=found.extra.height,
                identical=matched - mismatched,
                mismatched_rows=mismatched,
                mismatched_cells=found.cells.height,
                tolerated_cells=int(found.tolerated.sum()),
            ),
            by_column=columns,
            signatures=self.signatures(),
            drift=self.layout.drift,
            sample=self.sample(limit),
            engine=engine,
            frames=Frames(
                mismatches=self.mismatches(),
                missing=self.renamed(0, found.missing),
                extra=self.renamed(1, found.extra),
                duplicates_old=self.key_named(self.repeats[0].keys),
                duplicates_new=self.key_named(self.repeats[1].keys),
                rejects=self.rejects(),
            ),
            detail_limit=limit,
            coverage=coverage(
                found.cells, self.names, self.reading.options.suppressions
            ),
            patterns=causes.patterns,
            totals=causes.totals,
            segments=causes.segments,
            hints=causes.hints,
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
        cells, names = self.found.cells, self.names
        counted = cells.group_by("column", "kind").len().sort("column", "kind")
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

    def evidence(self, columns: Sequence[Column]) -> Evidence:
        """What may be told of causes; of columns that make the key unique, the best.

        That is the one that differs least, for it is to be a part of the key.
        """
        names, telling = self.reading.names[0], [each.telling for each in self.repeats]
        able = {
            name
            for ours, name in zip(names.columns, self.names, strict=True)
            if all(ours in each for each in telling)
        }
        best = min(
            (column for column in columns if column.name in able),
            key=lambda column: column.mismatched,
            default=None,
        )
        old, new = self.reading.strategies
        return Evidence(
            names,
            self.layout,
            self.found,
            (old.sample(), new.sample()),
            repeated=sum(each.keys.height for each in self.repeats),
            telling=best.name if best else None,
        )

    def signatures(self) -> tuple[Signature, ...]:
        """Sets of columns that differ together, the most frequent first."""
        cells, names = self.found.cells, self.names
        pair = cells["pair"].to_numpy()
        # Most rows differ in one cell: only the others need their sets put together.
        alone = pl.Series((np.bincount(pair) == 1)[pair], dtype=pl.Boolean)
        single = cells.filter(alone)["column"].value_counts()
        several = (
            cells.filter(~alone)
            .group_by("pair")
            .agg(pl.col("column").sort())
            .group_by("column")
            .agg(rows=pl.len())
        )
        sets = [([column], rows) for column, rows in single.iter_rows()]
        ordered = sorted(
            [*sets, *several.iter_rows()], key=lambda row: (-row[1], row[0])
        )
        return tuple(
            Signature(tuple(names[at] for at in columns), rows)
            for columns, rows in ordered
        )

    def sample(self, limit: int) -> tuple[SampleRow, ...]:
        """The rows to show, each with its differing cells."""
        found = self.found
        pairs = sample.choose(found.cells, sample.stable_hash(found.keys), limit)
        chosen = found.cells.filter(pl.col("pair").is_in(pairs.implode()))
        cells = sample.cells_by_pair(chosen, self.names)
        keys = found.keys[pairs].rows()
        return tuple(
            SampleRow(dict(zip(self.layout.keys, key, strict=True)), cells[pair])
            for pair, key in zip(pairs, keys, strict=True)
        )

    def mismatches(self) -> pl.LazyFrame:
        """Every differing cell, by key and column."""
        names = pl.lit(pl.Series(self.names, dtype=pl.String))
        keys = self.key_named(self.found.keys.to_struct("key").to_frame())
        return (
            self.found.cells.lazy()
            .select(
                pl.lit(keys["key"]).gather(pl.col("pair")),
                names.gather(pl.col("column")).alias("column"),
                "old",
                "new",
                "kind",
            )
            .sort("key", "column", "old", "new")
        )
