"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from recon_engine import sample
from recon_engine.alignment import align
from recon_engine.buckets import opened
from recon_engine.compare import Difference, diff, drop_identical, merge, repeated
from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.digest import choose, digests, source
from recon_engine.errors import DuplicateKeys, InternalError
from recon_engine.memory import Budget, default_budget, peak_rss_bytes
from recon_engine.model import SIDES, Column, Counts, Side, Signature
from recon_engine.progress import SILENT, Progress
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.buckets import Buckets
    from recon_engine.digest import Source, Strategy, Table


def reconcile(
    old: Table,
    new: Table,
    options: Options,
    progress: Progress = SILENT,
    *,
    started: float | None = None,
    budget: Budget | None = None,
    strategy: str | None = None,
    buckets: int | None = None,
) -> Reconciliation:
    """What is missing, extra and changed from `old` to `new`, exactly.

    `started` (monotonic seconds): when the work on the pair began, if before now.
    `budget`: of memory; by default 60% of the container's or the machine's.
    `strategy` ("columns") and `buckets` force what is else chosen: the answer is the
    same. Raises OutOfBudget, KeyMissing, SchemaMismatch, DuplicateKeys
    (policy `fail`) and ConfigError.
    """
    started = time.monotonic() if started is None else started
    layout = align(old.columns, new.columns, options, uris=(old.uri, new.uri))
    sources = source(old, layout, {}), source(new, layout, layout.new_names)
    sides = choose(*sources, strategy)
    budget = budget or default_budget()
    count = buckets or budget.buckets(old.rows + new.rows)
    with opened(SIDES, count) as narrow:
        for name, side, into in zip(SIDES, sides, narrow, strict=True):
            _digest(name, side, into, progress)
        rests = [_rest(*(side.bucket(at) for side in narrow)) for at in range(count)]
    repeats = [_repeated_keys(at, side, rests) for at, side in enumerate(sources)]
    _refuse_repeats((old, new), repeats, options)
    blanks = [sum(rest.blanks[at] for rest in rests) for at in range(len(SIDES))]
    with progress.step("compare", total=old.rows + new.rows) as advance:
        found = _compared(sources, rests, budget)
        advance(old.rows + new.rows)
    facts = [
        _side(table, again, blank)
        for table, again, blank in zip((old, new), repeats, blanks, strict=True)
    ]
    engine = Engine(
        strategy=sides[0].name,
        version=__version__,
        seconds=round(time.monotonic() - started, 3),
        peak_rss_bytes=peak_rss_bytes(),
    )
    identical = sum(rest.identical for rest in rests)
    answer = _Answer(layout, sources, identical, found, repeats)
    return answer.assembled(facts, options, engine)


def _digest(name: str, side: Strategy, into: Buckets, progress: Progress) -> None:
    table = side.source.table
    with progress.step(f"digest {name}", total=table.rows) as advance:
        _check_rows(table, digests(side, into, advance), table.rows)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What digests leave to look at in a bucket; pairs are of OLD and NEW.

    `numbers` of the rows that are left, `suspects` of those whose key seems to
    repeat, `blanks` the count of rows with a blank in the key.
    """

    identical: int
    numbers: tuple[pl.Series, pl.Series]
    suspects: tuple[pl.Series, pl.Series]
    blanks: tuple[int, int]


def _rest(old: pl.DataFrame, new: pl.DataFrame) -> _Rest:
    left = drop_identical(old, new)
    return _Rest(
        left.identical,
        (left.old, left.new),
        (_suspects(old), _suspects(new)),
        (int(old["blank"].sum()), int(new["blank"].sum())),
    )


def _suspects(side: pl.DataFrame) -> pl.Series:
    if side["key"].n_unique() == side.height:
        return side["number"].clear()
    return side["number"].filter(side["key"].is_duplicated())


def _compared(
    sources: Sequence[Source], rests: Sequence[_Rest], budget: Budget
) -> Difference:
    """Compare what is left, all at once if that fits, else bucket by bucket."""
    left = [
        pl.concat([rest.numbers[at] for rest in rests]).sort()
        for at in range(len(sources))
    ]
    wide = sum(
        len(numbers) * side.table.bytes // max(side.table.rows, 1)
        for side, numbers in zip(sources, left, strict=True)
    )
    budget.check_result(wide)
    groups = [left] if budget.holds(wide) else [rest.numbers for rest in rests]
    old, new = sources
    return merge(
        (
            diff(
                _taken(old, numbers[0]),
                _taken(new, numbers[1]),
                keys=old.keys,
                columns=old.columns,
            )
            for numbers in groups
        ),
        old.keys,
    )


def _taken(side: Source, numbers: pl.Series) -> pl.DataFrame:
    """The rows of a side that are left to compare."""
    rows = side.take(numbers)
    _check_rows(side.table, rows.height, len(numbers))
    return rows


def _check_rows(table: Table, parsed: int, counted: int) -> None:
    if parsed != counted:
        raise InternalError(
            f"{parsed:,} rows were parsed where the gate counted {counted:,}",
            file=table.uri,
        )


def _repeated_keys(at: int, side: Source, rests: Sequence[_Rest]) -> pl.DataFrame:
    """The repeated keys, exactly: digests only say which rows to look at."""
    found = [
        repeated(side.take(rest.suspects[at]).select(side.keys), side.keys)
        for rest in rests
    ]
    return pl.concat(found).sort("rows", "key", descending=[True, False])


def _refuse_repeats(
    tables: Sequence[Table], repeats: Sequence[pl.DataFrame], options: Options
) -> None:
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, again in zip(("OLD", "NEW"), tables, repeats, strict=True):
        if again.height:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{again.height:,} keys stand on {again['rows'].sum():,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _side(table: Table, repeats: pl.DataFrame, blank_keys: int) -> Side:
    return Side(
        uri=table.uri,
        rows=table.rows,
        sha256=table.sha256,
        bytes=table.bytes,
        duplicate_key_rows=int(repeats["rows"].sum()),
        duplicate_keys=repeats.height,
        blank_keys=blank_keys,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The kernel's findings on their way back under the names of the user."""

    layout: Alignment
    sources: tuple[Source, Source]
    identical: int
    found: Difference
    repeats: Sequence[pl.DataFrame]

    def assembled(
        self, facts: Sequence[Side], options: Options, engine: Engine
    ) -> Reconciliation:
        """The result, whose laws are checked as it is made."""
        found = self.found
        matched = self.identical + found.keys.height
        mismatched = found.cells["pair"].n_unique()
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
            ),
            by_column=self.columns(matched),
            signatures=self.signatures(),
            drift=self.layout.drift,
            sample=self.sample(options.detail_limit),
            engine=engine,
            frames=Frames(
                mismatches=self.mismatches(),
                missing=self.renamed(0, found.missing),
                extra=self.renamed(1, found.extra),
                duplicates_old=self.key_named(self.repeats[0]),
                duplicates_new=self.key_named(self.repeats[1]),
            ),
            detail_limit=options.detail_limit,
        )

    @property
    def names(self) -> list[str]:
        """The compared columns by their ordinals in `cells`."""
        return sorted(self.layout.columns)

    def renamed(self, side: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Whole rows in the order of their file, under OLD's names."""
        named = rows.clone()
        renames = (dict[str, str](), self.layout.new_names)[side]
        columns = self.sources[side].table.columns
        named.columns = [renames.get(name, name) for name in columns]
        return named

    def key_named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`key`, a struct, with the names of the key columns as its fields."""
        keys = frame["key"].struct.rename_fields(list(self.layout.keys))
        return frame.with_columns(keys)

    def columns(self, matched: int) -> tuple[Column, ...]:
        """Each compared column in the order of OLD."""
        kinds: dict[str, dict[str, int]] = {}
        cells, names = self.found.cells, self.names
        counted = cells.group_by("column", "kind").len().sort("column", "kind")
        for column, kind, count in counted.iter_rows():
            kinds.setdefault(names[column], {})[kind] = count
        result = []
        for name in self.layout.columns:
            mine = kinds.get(name, {})
            wrong = sum(mine.values())
            result.append(Column(name, matched, matched - wrong, 0, wrong, mine))
        return tuple(result)

    def signatures(self) -> tuple[Signature, ...]:
        """Sets of columns that differ together, the most frequent first."""
        counted = (
            self.found.cells.lazy()
            .group_by("pair")
            .agg(pl.col("column").sort())
            .group_by("column")
            .agg(rows=pl.len())
            .collect()
        )
        names = self.names
        ordered = sorted(counted.iter_rows(), key=lambda row: (-row[1], row[0]))
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
