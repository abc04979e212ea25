"""Digest rows: one digest of the whole row, one of its key.

Rows are called identical by their digests alone, so these have 128 bits: two hashes
with independent seeds, new in every run. Both would have to collide between the two
versions of one changed row: for a billion changed rows, a chance of 1 in 10^29.

The digest of a key is the same in every run. It selects a sample of rows (all rows of
some keys) that does not depend on their order.

There are two strategies for the row digest. `LineDigests` hashes the raw bytes of a
line: equal bytes of one dialect are equal records; different bytes decide nothing.
`CellDigests` hashes the parsed cells, which is exact for any two tables.
"""

from __future__ import annotations

import functools
import operator
import secrets
from dataclasses import field
from threading import Event
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recon_engine.errors import InternalError
from recon_engine.inputs.csvfile import Block, Blocks
from recon_engine.inputs.header import Header
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules import Tallies, added, normal_form, read_and_counted


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from recon_engine.compare.alignment import Alignment
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.tables import Unread
    from recon_engine.rules import Rules


# If one file has this many times more quotes in a row than the other, they were written
# by different tools, so raw lines rarely match and `LineDigests` would parse most rows.
ALIKE: Final = 1.5
# Any constant will do: 2**64 divided by the golden ratio.
KEY_SEED: Final = 0x9E3779B97F4A7C15
# The baseline of segments and totals: more rows cost memory and gain little precision.
SAMPLED_ROWS: Final = 8_192
# Up to this many leading columns, scanning for delimiters is faster than the parser.
FIRST: Final = 4


@dataclass(frozen=True, slots=True)
class ColumnIds:
    """Internal column names.

    `k0`… for the key, `v0`… for compared columns, `x0`… for others.

    Polars reads some names as patterns (`*`, `^a$`), so no user's name is used in an
    expression. Numbers follow the sorted names, not the order in a file; seven digits
    exceed the columns of any header. `rules`: of the columns that have some.
    """

    all: tuple[str, ...]
    rules: Rules = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The key columns, in the order of the key."""
        return sorted(name for name in self.all if name.startswith("k"))

    @property
    def columns(self) -> list[str]:
        """The compared columns, in the order of their real names."""
        return sorted(name for name in self.all if name.startswith("v"))

    @property
    def compared(self) -> list[str]:
        """The key columns, then the compared ones."""
        return [*self.keys, *self.columns]


def assign_ids(
    columns: Sequence[str], layout: Alignment, renames: Mapping[str, str]
) -> ColumnIds:
    """The internal names of a side's columns.

    `renames` maps them to the names of OLD.
    """
    ours = [renames.get(name, name) for name in columns]
    names = {name: f"k{at:07}" for at, name in enumerate(layout.keys)}
    names |= {name: f"v{at:07}" for at, name in enumerate(sorted(layout.columns))}
    others = sorted(set(ours) - names.keys())
    names |= {name: f"x{at:07}" for at, name in enumerate(others)}
    return ColumnIds(
        tuple(names[name] for name in ours),
        {names[name]: rules for name, rules in layout.rules.items()},
    )


def all_is_compared(names: Sequence[ColumnIds]) -> tuple[bool, bool]:
    """For either side, whether every column is compared."""
    old, new = (not any(n.startswith("x") for n in each.all) for each in names)
    return old, new


def make_empty_rows(names: ColumnIds) -> pl.DataFrame:
    """A side without rows."""
    return pl.DataFrame(schema=dict.fromkeys(names.all, pl.String))


def make_empty_sample(names: ColumnIds) -> pl.DataFrame:
    """A sample without rows."""
    return make_empty_rows(names).select(names.compared)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Hash seeds, equal on both sides; those of rows are new in every run."""

    row: int
    check: int
    key: int


class Strategy(Protocol):
    """How the digests of one side are taken, block by block."""

    @property
    def name(self) -> str: ...

    @property
    def side(self) -> str: ...

    @property
    def names(self) -> ColumnIds: ...

    @property
    def seeds(self) -> Seeds: ...

    @property
    def every(self) -> int:
        """One in so many keys is sampled."""
        ...

    @property
    def inexact(self) -> bool:
        """Whether it turned out not to be exact for these files."""
        ...

    def digest(self, rows: Rows) -> pl.DataFrame | None:
        """`row`, `check`, `key` (u64), and `blank` (a part of the key is blank).

        None once this strategy is inexact. Each row is digested once.
        """
        ...

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows, some thousands.

        All rows of a small file.
        """
        ...

    def tallies(self) -> Tallies:
        """What the rules of the key columns read."""
        ...


@dataclass(frozen=True, slots=True)
class CellDigests:
    """Digests of parsed cells; independent of dialect and column order."""

    side: str
    names: ColumnIds
    seeds: Seeds
    every: int
    name: str = "columns"
    inexact: bool = False
    drawn: list[pa.Table] = field(default_factory=list)
    counted: list[Tallies] = field(default_factory=list)

    def digest(self, rows: Rows) -> pl.DataFrame:
        """Hashes of all compared cells, and of the key."""
        cells = (
            rows.cells(self.names.all)
            .select(self.names.compared)
            .collect(engine="in-memory")
        )
        key, tallies = _digest_keys(cells, self)
        digests = _check_row_count(
            pl.DataFrame(
                {
                    "row": _hash_cells(cells, self.seeds.row),
                    "check": _hash_cells(cells, self.seeds.check),
                    **key,
                }
            ),
            rows,
        )
        # A copy as Arrow: the strings of a frame would keep the whole block in memory.
        few = cells.filter(key["key"] % self.every == 0)
        self.drawn.append(few.to_arrow(compat_level=pl.CompatLevel.oldest()))
        self.counted.append(tallies)
        return digests

    def sample(self) -> pl.DataFrame:
        """The rows that were drawn."""
        return pl.concat(
            [make_empty_sample(self.names), *map(pl.DataFrame, self.drawn)]
        )

    def tallies(self) -> Tallies:
        """What the rules of the key columns read."""
        return added(self.counted)


@dataclass(frozen=True, slots=True)
class LineDigests:
    """Digests of raw lines; only the key columns are parsed.

    `broken` is shared by both sides and set once a record of either spans lines.
    """

    side: str
    names: ColumnIds
    seeds: Seeds
    every: int
    broken: Event
    name: str = "line"
    drawn: list[Block] = field(default_factory=list)
    counted: list[Tallies] = field(default_factory=list)

    @property
    def inexact(self) -> bool:
        """Whether some record spans lines."""
        return self.broken.is_set()

    def digest(self, rows: Rows) -> pl.DataFrame | None:
        """Hashes of the line, and of the key."""
        if not isinstance(rows, Block) or rows.embedded_newlines:
            self.broken.set()
            return None
        if self.inexact:
            return None
        lines = rows.lines.to_frame()
        key, tallies = _digest_keys(self.keys(rows), self)
        digests = _check_row_count(
            pl.DataFrame(
                {
                    "row": _hash_cells(lines, self.seeds.row),
                    "check": _hash_cells(lines, self.seeds.check),
                    **key,
                }
            ),
            rows,
        )
        few = rows.lines.filter(key["key"] % self.every == 0)
        self.drawn.append(Block("".join(few).encode(), len(few), rows.delimiter))
        self.counted.append(tallies)
        return digests

    def sample(self) -> pl.DataFrame:
        """The rows that were drawn."""
        if not self.drawn:
            return make_empty_sample(self.names)
        drawn = Blocks(tuple(self.drawn), self.drawn[0].delimiter)
        return (
            drawn.cells(self.names.all)
            .select(self.names.compared)
            .collect(engine="in-memory")
        )

    def tallies(self) -> Tallies:
        """What the rules of the key columns read."""
        return added(self.counted)

    def keys(self, block: Block) -> pl.DataFrame:
        """The key columns; without a parser if they are among the first columns."""
        every, keys = self.names.all, self.names.keys
        count = 1 + max(every.index(name) for name in keys)
        if block.delimiters is None or count > min(FIRST, len(every) - 1):
            return block.cells(every).select(keys).collect(engine="in-memory")
        first = dict(zip(every, block.parse_first_cells(count), strict=False))
        return pl.DataFrame({name: first[name] for name in keys})


def choose_strategy(
    unread: Sequence[Unread], names: Sequence[ColumnIds], strategy: str | None = None
) -> list[Strategy]:
    """The cheapest exact strategy for both sides, or the named one."""
    seeds = Seeds(secrets.randbits(64), secrets.randbits(64), KEY_SEED)
    sides = [
        (which, each, seeds, max(1, side.expected_rows // SAMPLED_ROWS))
        for which, each, side in zip(SIDES, names, unread, strict=True)
    ]
    if strategy != "columns" and _lines_represent_records(unread, names):
        broken = Event()
        return [LineDigests(*each, broken) for each in sides]
    return [CellDigests(*each) for each in sides]


def _lines_represent_records(
    unread: Sequence[Unread], names: Sequence[ColumnIds]
) -> bool:
    """Whether equal lines are equal records, and equal records usually equal lines."""
    old, new = unread
    if not (isinstance(old, Header) and isinstance(new, Header)):
        return False
    fewer, more = sorted((old.row_quotes, new.row_quotes))
    return (
        names[0] == names[1]
        and not any(name.startswith("x") for name in names[0].all)
        and old.delimiter == new.delimiter
        and more <= ALIKE * fewer
    )


def _check_row_count(digests: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    if digests.height != rows.rows:
        raise InternalError(
            f"{digests.height:,} rows were parsed where the gate counted {rows.rows:,}"
        )
    return digests


def key_digest(cells: pl.DataFrame, names: ColumnIds, seed: int) -> pl.Series:
    """The digests (u64) of keys, as `Strategy.digest` takes them."""
    forms = cells.select(
        normal_form(names.rules.get(name, ()), pl.col(name)).alias(name)
        for name in names.keys
    )
    return _hash_cells(forms, seed)


def _digest_keys(
    cells: pl.DataFrame, strategy: Strategy
) -> tuple[dict[str, pl.Series], Tallies]:
    """The digests of keys, their blank flags, and what their rules read."""
    rules, tallies = strategy.names.rules, Tallies()
    forms = cells.select(strategy.names.keys)
    for at, name in enumerate(forms.columns):
        if name in rules:
            texts, tallies[name] = read_and_counted(
                rules[name], forms[name], strategy.side
            )
            forms.replace_column(at, texts.alias(name))
    blank = functools.reduce(operator.or_, (column == "" for column in forms))
    return {"key": _hash_cells(forms, strategy.seeds.key), "blank": blank}, tallies


def _hash_cells(cells: pl.DataFrame, seed: int) -> pl.Series:
    if cells.width == 1:
        # Series.hash gives the same numbers without waiting for Polars' thread pool.
        return cells.to_series().hash(seed)
    return cells.hash_rows(seed)
