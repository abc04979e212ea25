"""Tables as narrow frames: digests of each row, and one of its key.

Rows are called identical on their digests alone, so they are 128 bits wide: two hashes
with seeds of their own, new in every run, either of which is enough. Both would have to
collide between the two versions of one changed row: for a billion changed rows, one
chance in 10^29.

Two strategies take the row digest. `Lines` hashes the raw bytes of a line, unparsed;
equal bytes of one dialect are equal records, and different bytes decide nothing.
`Columns` hashes the parsed cells, which is exact for any two tables.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from recon_engine.csvfile import CsvFile, Part
from recon_engine.parallel import in_order


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.buckets import Buckets


class Table(Protocol):
    """Rows of text under named columns: a gated file, or a frame."""

    @property
    def uri(self) -> str:
        """What people know it by."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Its column names, in its order."""
        ...

    @property
    def rows(self) -> int:
        """How many rows it has."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def sha256(self) -> str | None:
        """What pins its bytes, if it is a file."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Runs of rows that are read together."""
        ...

    def cells(self, part: Part, names: Sequence[str]) -> pl.LazyFrame:
        """The cells of a part as strings under these names; a blank is ""."""
        ...

    def take(self, numbers: pl.Series, names: Sequence[str]) -> pl.DataFrame:
        """Whole rows by their numbers, which ascend."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A table under names that are ours: `k0`… the key, `v0`… compared, `x0`… not.

    Polars takes some names for patterns (`*`, `^a$`), so no name of a user ever goes
    into an expression. The numbers follow the sorted names, not the order in a file.
    """

    table: Table
    names: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The key columns, in the order of the key."""
        return sorted(name for name in self.names if name.startswith("k"))

    @property
    def columns(self) -> list[str]:
        """The compared columns, in the order of their real names."""
        return sorted(name for name in self.names if name.startswith("v"))

    def cells(self, part: Part) -> pl.LazyFrame:
        """The cells of a part."""
        return self.table.cells(part, self.names)

    def take(self, numbers: pl.Series) -> pl.DataFrame:
        """Whole rows by their numbers."""
        return self.table.take(numbers, self.names)


def source(table: Table, layout: Alignment, renames: Mapping[str, str]) -> Source:
    """Name the columns of a side; `renames` gives OLD's names for its own."""
    ours = [renames.get(name, name) for name in table.columns]
    names = {name: f"k{at:05}" for at, name in enumerate(layout.keys)}
    names |= {name: f"v{at:05}" for at, name in enumerate(sorted(layout.columns))}
    others = sorted(set(ours) - names.keys())
    names |= {name: f"x{at:05}" for at, name in enumerate(others)}
    return Source(table, tuple(names[name] for name in ours))


class Strategy(Protocol):
    """How the digests of one side are taken, part by part."""

    @property
    def name(self) -> str:
        """As results show it."""
        ...

    @property
    def source(self) -> Source:
        """The side."""
        ...

    def digest(self, part: Part) -> pl.DataFrame:
        """`row`, `check`, `key` (u64), and `blank` (a part of the key is blank)."""
        ...


@dataclass(frozen=True, slots=True)
class Seeds:
    """New in every run, equal on both sides."""

    row: int
    check: int
    key: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Digests of parsed cells; neither dialect nor order of columns has a part."""

    source: Source
    seeds: Seeds
    name: str = "columns"

    def digest(self, part: Part) -> pl.DataFrame:
        """Hashes of all compared cells, and of the key."""
        keys = self.source.keys
        cells = self.source.cells(part)
        rows = _row([*keys, *self.source.columns], self.seeds)
        return cells.select(*rows, *_key(keys, self.seeds)).collect()


@dataclass(frozen=True, slots=True)
class Lines:
    """Digests of raw lines; of the cells, only those of the key are parsed."""

    source: Source
    file: CsvFile
    seeds: Seeds
    name: str = "line"

    def digest(self, part: Part) -> pl.DataFrame:
        """Hashes of the line, and of the key."""
        data = self.file.read(part)
        lines = self.file.lines(data).select(_row(["line"], self.seeds))
        cells = self.file.parsed(data, self.source.names)
        keys = cells.select(_key(self.source.keys, self.seeds))
        return pl.concat([lines.collect(), keys.collect()], how="horizontal")


def choose(
    old: Source, new: Source, strategy: str | None = None
) -> tuple[Strategy, Strategy]:
    """The cheapest strategy that is exact for a pair; or the one that is named."""
    seeds = Seeds(*(secrets.randbits(64) for _ in range(3)))
    one, other = old.table, new.table
    if isinstance(one, CsvFile) and isinstance(other, CsvFile):  # noqa: SIM102 - types
        if strategy != "columns" and _lines_tell(one, other, old, new):
            return Lines(old, one, seeds), Lines(new, other, seeds)
    return Columns(old, seeds), Columns(new, seeds)


def _lines_tell(one: CsvFile, other: CsvFile, old: Source, new: Source) -> bool:
    """Whether equal lines are equal records, and equal records mostly equal lines."""
    return (
        one.has_lines
        and other.has_lines
        and old.names == new.names
        and not any(name.startswith("x") for name in old.names)
        and one.dialect.delimiter == other.dialect.delimiter
        and one.dialect.quotes == other.dialect.quotes
    )


def digests(strategy: Strategy, into: Buckets, advance: Callable[[int], None]) -> int:
    """The digests of a whole side, in file order; answers how many rows it has."""
    rows = 0
    for frame in in_order(strategy.digest, strategy.source.table.parts):
        into.add(frame)
        rows += frame.height
        advance(frame.height)
    return rows


def _row(columns: Sequence[str], seeds: Seeds) -> tuple[pl.Expr, pl.Expr]:
    row, check = _hash(columns, seeds.row), _hash(columns, seeds.check)
    return row.alias("row"), check.alias("check")


def _key(keys: Sequence[str], seeds: Seeds) -> tuple[pl.Expr, pl.Expr]:
    blank = pl.any_horizontal(pl.col(name) == "" for name in keys)
    return _hash(keys, seeds.key).alias("key"), blank.alias("blank")


def _hash(columns: Sequence[str], seed: int) -> pl.Expr:
    if len(columns) == 1:
        return pl.col(columns[0]).hash(seed)
    return pl.struct(columns).hash(seed)
