"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import sample
from recon_engine.alignment import align
from recon_engine.compare import Difference, diff, drop_identical, repeated
from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.digest import choose, digests, source
from recon_engine.errors import DuplicateKeys, InternalError
from recon_engine.memory import peak_rss_bytes
from recon_engine.model import Column, Counts, Side, Signature
from recon_engine.progress import SILENT, Progress
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.digest import Source, Strategy, Table


SIDES: Final = ("old", "new")


def reconcile(
    old: Table,
    new: Table,
    options: Options,
    progress: Progress = SILENT,
    *,
    started: float | None = None,
    strategy: str | None = None,
) -> Reconciliation:
    """What is missing, extra and changed from `old` to `new`, exactly.

    `started` (monotonic seconds): when the work on the pair began, if before now.
    `strategy`: "columns" where lines would do as well; the answer is the same.
    Raises KeyMissing, SchemaMismatch, DuplicateKeys (policy `fail`) and ConfigError.
    """
    started = time.monotonic() if started is None else started
    layout = align(old.columns, new.columns, options, uris=(old.uri, new.uri))
    sources = source(old, layout, {}), source(new, layout, layout.new_names)
    sides = choose(*sources, strategy)
    narrow = [
        _digests(name, side, progress) for name, side in zip(SIDES, sides, strict=True)
    ]
    repeats = [
        _repeated_keys(side, frame["key"])
        for side, frame in zip(sources, narrow, strict=True)
    ]
    _refuse_repeats((old, new), repeats, options)
    blanks = [int(frame["blank"].sum()) for frame in narrow]
    with progress.step("compare", total=old.rows + new.rows) as advance:
        rest = drop_identical(*narrow)
        del narrow
        found = diff(
            _taken(sources[0], rest.old),
            _taken(sources[1], rest.new),
            keys=sources[0].keys,
            columns=sources[0].columns,
        )
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
    answer = _Answer(layout, sources, rest.identical, found, repeats)
    return answer.assembled(facts, options, engine)


def _digests(name: str, side: Strategy, progress: Progress) -> pl.DataFrame:
    table = side.source.table
    with progress.step(f"digest {name}", total=table.rows) as advance:
        narrow = digests(side, advance)
    _check_rows(table, narrow.height, table.rows)
    return narrow


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


def _repeated_keys(side: Source, key: pl.Series) -> pl.DataFrame:
    """The repeated keys, exactly: digests only say which rows to look at."""
    if key.n_unique() == len(key):
        suspects = pl.Series(dtype=pl.UInt32)
    else:
        suspects = key.is_duplicated().arg_true()
    return repeated(side.take(suspects).select(side.keys), side.keys)


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
