"""Two tables become one result: align, digest, drop the equal, diff the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import polars as pl

from recon_engine import sample
from recon_engine.alignment import Alignment, align
from recon_engine.compare import Difference, diff, drop_identical, repeated
from recon_engine.config import OnDuplicateKeys, Options
from recon_engine.digest import digests, seed
from recon_engine.errors import DuplicateKeys, InternalError
from recon_engine.memory import peak_rss_bytes
from recon_engine.model import Column, Counts, Side, Signature
from recon_engine.progress import SILENT, Progress
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.digest import Table


def reconcile(
    old: Table,
    new: Table,
    options: Options,
    progress: Progress = SILENT,
    *,
    started: float | None = None,
) -> Reconciliation:
    """What is missing, extra and changed from `old` to `new`, exactly.

    `started` (monotonic seconds): when the work on the pair began, if before now.
    Raises KeyMissing, SchemaMismatch, DuplicateKeys (policy `fail`) and ConfigError.
    """
    started = time.monotonic() if started is None else started
    layout = align(old.columns, new.columns, options, uris=(old.uri, new.uri))
    scans = old.scan(), new.scan().rename(dict(layout.new_names))
    narrow = _digests((old, new), scans, layout, progress)
    duplicates = [
        _duplicates(scan, side["key"], layout.keys)
        for scan, side in zip(scans, narrow, strict=True)
    ]
    _refuse_duplicates((old, new), duplicates, options)
    blanks = [_blank_keys(scan, layout.keys) for scan in scans]
    with progress.step("compare", total=old.rows + new.rows) as advance:
        rest = drop_identical(*narrow)
        wide = [
            _rows(scan, index)
            for scan, index in zip(scans, (rest.old, rest.new), strict=True)
        ]
        found = diff(*wide, keys=layout.keys, columns=layout.columns)
        advance(old.rows + new.rows)
    sides = [
        _side(table, repeats, blank)
        for table, repeats, blank in zip((old, new), duplicates, blanks, strict=True)
    ]
    return _assemble(layout, sides, rest.identical, found, duplicates, options, started)


def _digests(
    tables: Sequence[Table],
    scans: Sequence[pl.LazyFrame],
    layout: Alignment,
    progress: Progress,
) -> list[pl.DataFrame]:
    salt = seed()
    result = []
    for name, table, scan in zip(("old", "new"), tables, scans, strict=True):
        with progress.step(f"digest {name}", total=table.rows) as advance:
            narrow = digests(scan, layout.keys, layout.columns, salt)
            advance(narrow.height)
        if narrow.height != table.rows:
            raise InternalError(
                f"{narrow.height:,} rows were parsed where the gate counted "
                f"{table.rows:,}",
                file=table.uri,
            )
        result.append(narrow)
    return result


def _duplicates(
    scan: pl.LazyFrame, key: pl.Series, keys: Sequence[str]
) -> pl.DataFrame:
    """The repeated keys, exactly: digests only say which rows to look at."""
    if key.n_unique() == len(key):
        return repeated(pl.DataFrame(schema=dict.fromkeys(keys, pl.String)), keys)
    suspects = key.is_duplicated().arg_true()
    return repeated(_rows(scan.select(keys), suspects), keys)


def _refuse_duplicates(
    tables: Sequence[Table], duplicates: Sequence[pl.DataFrame], options: Options
) -> None:
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, repeats in zip(("OLD", "NEW"), tables, duplicates, strict=True):
        if repeats.height:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{repeats.height:,} keys stand on {repeats['rows'].sum():,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _blank_keys(scan: pl.LazyFrame, keys: Sequence[str]) -> int:
    blank = pl.any_horizontal(pl.col(name) == "" for name in keys)
    return int(scan.select(blank.sum()).collect(engine="streaming").item() or 0)


def _rows(scan: pl.LazyFrame, index: pl.Series) -> pl.DataFrame:
    """The rows with these numbers, in file order."""
    number = "\0row"
    wanted = index.alias(number).to_frame().lazy()
    return (
        scan.with_row_index(number)
        .join(wanted, on=number, how="semi", maintain_order="left")
        .drop(number)
        .collect(engine="streaming")
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


def _assemble(
    layout: Alignment,
    sides: Sequence[Side],
    identical: int,
    found: Difference,
    duplicates: Sequence[pl.DataFrame],
    options: Options,
    started: float,
) -> Reconciliation:
    matched = identical + found.keys.height
    mismatched = found.cells["pair"].n_unique()
    return Reconciliation(
        keys=layout.keys,
        old=sides[0],
        new=sides[1],
        counts=Counts(
            matched=matched,
            missing=found.missing.height,
            extra=found.extra.height,
            identical=matched - mismatched,
            mismatched_rows=mismatched,
            mismatched_cells=found.cells.height,
        ),
        by_column=_columns(found.cells, layout.columns, matched),
        signatures=_signatures(found.cells, layout.columns),
        drift=layout.drift,
        sample=_sample(found, layout.columns, options.detail_limit),
        engine=Engine(
            strategy="columns",
            version=__version__,
            seconds=round(time.monotonic() - started, 3),
            peak_rss_bytes=peak_rss_bytes(),
        ),
        frames=Frames(
            mismatches=_mismatches(found, layout.columns),
            missing=found.missing,
            extra=found.extra,
            duplicates_old=duplicates[0],
            duplicates_new=duplicates[1],
        ),
        detail_limit=options.detail_limit,
    )


def _columns(
    cells: pl.DataFrame, names: Sequence[str], matched: int
) -> tuple[Column, ...]:
    kinds: dict[int, dict[str, int]] = {}
    counted = cells.group_by("column", "kind").len().sort("column", "kind")
    for column, kind, count in counted.iter_rows():
        kinds.setdefault(column, {})[kind] = count
    result = []
    for ordinal, name in enumerate(names):
        found = kinds.get(ordinal, {})
        wrong = sum(found.values())
        result.append(Column(name, matched, matched - wrong, 0, wrong, found))
    return tuple(result)


def _signatures(cells: pl.DataFrame, names: Sequence[str]) -> tuple[Signature, ...]:
    """Sets of columns that differ together, the most frequent first."""
    counted = (
        cells.lazy()
        .group_by("pair")
        .agg(pl.col("column").sort())
        .group_by("column")
        .agg(rows=pl.len())
        .collect()
    )
    ordered = sorted(counted.iter_rows(), key=lambda row: (-row[1], row[0]))
    return tuple(
        Signature(tuple(names[at] for at in columns), rows) for columns, rows in ordered
    )


def _sample(
    found: Difference, names: Sequence[str], limit: int
) -> tuple[SampleRow, ...]:
    by_name = pl.Series(names, dtype=pl.String).rank("ordinal") - 1
    cells = found.cells.with_columns(
        by_name.gather(found.cells["column"]).alias("column")
    )
    pairs = sample.choose(cells, sample.stable_hash(found.keys), limit)
    chosen = found.cells.filter(pl.col("pair").is_in(pairs.implode()))
    payloads = sample.payloads(chosen, names)
    keys = found.keys[pairs].to_dicts()
    return tuple(
        SampleRow(key, payloads[pair]) for pair, key in zip(pairs, keys, strict=True)
    )


def _mismatches(found: Difference, names: Sequence[str]) -> pl.DataFrame:
    keys = found.keys.select(key=pl.struct(pl.all()))["key"]
    cells = found.cells
    return (
        cells.select(
            keys.gather(cells["pair"]),
            pl.Series("column", list(names), pl.String).gather(cells["column"]),
            "old",
            "new",
            "kind",
        )
        .with_columns(cells["column"].alias("ordinal"))
        .sort("key", "ordinal", "old", "new")
        .drop("ordinal")
    )
