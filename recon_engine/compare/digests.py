"""Rows as digests: one of the whole row, one of its key.

Rows are called identical on their digests alone, so they are 128 bits wide: two hashes
with seeds of their own, new in every run, either of which is enough. Both would have to
collide between the two versions of one changed row: for a billion changed rows, one
chance in 10^29.

The digest of a key is the same in every run: with it a few rows of a file are sampled,
all of some keys, whatever their order.

Two strategies take the row digest. `Lines` hashes the raw bytes of a line, unparsed;
equal bytes of one dialect are equal records, and different bytes decide nothing.
`Columns` hashes the parsed cells, which is exact for any two tables.
"""

from __future__ import annotations

import functools
import operator
import secrets
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recon_engine.errors import InternalError
from recon_engine.inputs.csvfile import Block, Blocks
from recon_engine.inputs.header import Header
from recon_engine.model import SIDES
from recon_engine.rules import Tallies, added, normal_form, read_and_counted


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from recon_engine.compare.alignment import Alignment
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.tables import Unread
    from recon_engine.rules import Rules


# Files whose rows have so many times more quotes than the other's are written by other
# hands: hardly a line would be equal.
ALIKE: Final = 1.5
KEY_SEED: Final = 0x9E3779B97F4A7C15
SAMPLED_ROWS: Final = 8_192
# To find more columns than these one after the other takes longer than a parser does.
FIRST: Final = 4


@dataclass(frozen=True, slots=True)
class ColumnIds:
    """Names that are ours: `k0`… for the key, `v0`… for what is compared, `x0`… not.

    Polars takes some names for patterns (`*`, `^a$`), so no name of a user ever goes
    into an expression. The numbers follow the sorted names, not the order in a file,
    and have seven digits: no header has room for more names.
    `rules` are those of the columns that have some.
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
        """The key columns, and the compared ones."""
        return [*self.keys, *self.columns]


def assign_ids(
    columns: Sequence[str], layout: Alignment, renames: Mapping[str, str]
) -> ColumnIds:
    """Name the columns of a side; `renames` gives OLD's names for its own."""
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
    """Of either side, whether no column is left out of the comparison."""
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
    """Equal on both sides; those of rows are new in every run."""

    row: int
    check: int
    key: int


class Strategy(Protocol):
    """How the digests of one side, `old` or `new`, are taken, some rows at a time."""

    @property
    def name(self) -> str:
        """As results show it."""
        ...

    @property
    def side(self) -> str:
        """Which of both."""
        ...

    @property
    def names(self) -> ColumnIds:
        """Those of its columns."""
        ...

    @property
    def seeds(self) -> Seeds:
        """With which digests are taken."""
        ...

    @property
    def every(self) -> int:
        """Of one in so many keys the rows are sampled."""
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
        """Keys and compared cells of the rows of one in so many keys: some thousands.

        Of a file that is not larger, all.
        """
        ...

    def tallies(self) -> Tallies:
        """What the rules of the key columns read of all rows."""
        ...


@dataclass(frozen=True, slots=True)
class CellDigests:
    """Digests of parsed cells; neither dialect nor order of columns has a part."""

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
        # As Arrow of its own: the strings of a frame share what they were parsed from.
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
    """Digests of raw lines; of the cells, only those of the key are parsed.

    `broken` is set once a record of either side was seen that is not one line.
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
        """Whether some record is not one line."""
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
        """The cells of the key, without a parser where they are among the first."""
        every, keys = self.names.all, self.names.keys
        count = 1 + max(every.index(name) for name in keys)
        if block.delimiters is None or count > min(FIRST, len(every) - 1):
            return block.cells(every).select(keys).collect(engine="in-memory")
        first = dict(zip(every, block.parse_first_cells(count), strict=False))
        return pl.DataFrame({name: first[name] for name in keys})


def choose_strategy(
    unread: Sequence[Unread], names: Sequence[ColumnIds], strategy: str | None = None
) -> list[Strategy]:
    """The cheapest strategy that promises to be exact, or the one that is named."""
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
    """Whether equal lines are equal records, and equal records mostly equal lines."""
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
    """The digests of keys, as `Strategy.digest` takes them; u64."""
    forms = cells.select(
        normal_form(names.rules.get(name, ()), pl.col(name)).alias(name)
        for name in names.keys
    )
    return _hash_cells(forms, seed)


def _digest_keys(
    cells: pl.DataFrame, strategy: Strategy
) -> tuple[dict[str, pl.Series], Tallies]:
    """The digests of keys, whether these have a blank, and what their rules read."""
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
        # The same numbers, without a wait for one of Polars' own threads.
        return cells.to_series().hash(seed)
    return cells.hash_rows(seed)
