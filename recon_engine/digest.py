"""Rows as digests: one of the whole row, one of its key.

Rows are called identical on their digests alone, so they are 128 bits wide: two hashes
with seeds of their own, new in every run, either of which is enough. Both would have to
collide between the two versions of one changed row: for a billion changed rows, one
chance in 10^29.

Of some keys all rows are drawn for a sample, whatever their order: by a hash of the
key that is the same in every run, and the one that the native kernel takes.

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

from recon_engine.csvfile import NO_TEXTS, Block, Blocks, text_frame
from recon_engine.errors import InternalError
from recon_engine.header import Header
from recon_engine.names import SAMPLED, Names
from recon_engine.rules import normal_form
from recon_engine.sample import stable_hash


if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from recon_engine.csvfile import CsvFile, Rows
    from recon_engine.frames import Frame

    Unread = Header | Frame
    Table = CsvFile | Frame

# Files whose rows have so many times more quotes than the other's are written by other
# hands: hardly a line would be equal.
ALIKE: Final = 1.5
KEY_SEED: Final = 0x9E3779B97F4A7C15
# To find more columns than these one after the other takes longer than a parser does.
FIRST: Final = 4


def no_rows(names: Names) -> pl.DataFrame:
    """A side without rows."""
    return text_frame(names.all, [NO_TEXTS] * len(names.all))


def nothing_drawn(names: Names) -> pl.DataFrame:
    """A sample without rows."""
    return no_rows(names).select(names.compared)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Equal on both sides; those of rows are new in every run."""

    row: int
    check: int
    key: int


class Strategy(Protocol):
    """How the digests of one side are taken, some rows at a time."""

    @property
    def name(self) -> str:
        """As results show it."""
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


@dataclass(frozen=True, slots=True)
class Columns:
    """Digests of parsed cells; neither dialect nor order of columns has a part."""

    names: Names
    seeds: Seeds
    every: int
    name: str = "columns"
    inexact: bool = False
    drawn: list[pa.Table] = field(default_factory=list)

    def digest(self, rows: Rows) -> pl.DataFrame:
        """Hashes of all compared cells, and of the key."""
        cells = (
            rows.cells(self.names.all)
            .select(self.names.compared)
            .collect(engine="in-memory")
        )
        forms = _forms(cells, self.names)
        digests = _checked(
            pl.DataFrame(
                {
                    "row": _hash(cells, self.seeds.row),
                    "check": _hash(cells, self.seeds.check),
                    **_key(forms, self.seeds),
                }
            ),
            rows,
        )
        # As Arrow of its own: the strings of a frame share what they were parsed from.
        few = cells.filter(_drawn(forms, self.every))
        self.drawn.append(few.to_arrow(compat_level=pl.CompatLevel.oldest()))
        return digests

    def sample(self) -> pl.DataFrame:
        """The rows that were drawn."""
        return pl.concat([nothing_drawn(self.names), *map(pl.DataFrame, self.drawn)])


@dataclass(frozen=True, slots=True)
class Lines:
    """Digests of raw lines; of the cells, only those of the key are parsed.

    `broken` is set once a record of either side was seen that is not one line.
    """

    names: Names
    seeds: Seeds
    every: int
    broken: Event
    name: str = "line"
    drawn: list[Block] = field(default_factory=list)

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
        forms = _forms(self.keys(rows), self.names)
        digests = _checked(
            pl.DataFrame(
                {
                    "row": _hash(lines, self.seeds.row),
                    "check": _hash(lines, self.seeds.check),
                    **_key(forms, self.seeds),
                }
            ),
            rows,
        )
        few = rows.lines.filter(_drawn(forms, self.every))
        self.drawn.append(Block("".join(few).encode(), len(few), rows.delimiter))
        return digests

    def sample(self) -> pl.DataFrame:
        """The rows that were drawn."""
        if not self.drawn:
            return nothing_drawn(self.names)
        drawn = Blocks(tuple(self.drawn), self.drawn[0].delimiter)
        return (
            drawn.cells(self.names.all)
            .select(self.names.compared)
            .collect(engine="in-memory")
        )

    def keys(self, block: Block) -> pl.DataFrame:
        """The cells of the key, without a parser where they are among the first."""
        every, keys = self.names.all, self.names.keys
        count = 1 + max(every.index(name) for name in keys)
        if block.delimiters is None or count > min(FIRST, len(every) - 1):
            return block.cells(every).select(keys).collect(engine="in-memory")
        first = dict(zip(every, block.first_cells(count), strict=False))
        return pl.DataFrame({name: first[name] for name in keys})


def choose(
    unread: Sequence[Unread], names: Sequence[Names], strategy: str | None = None
) -> list[Strategy]:
    """The cheapest strategy that promises to be exact, or the one that is named."""
    seeds = Seeds(secrets.randbits(64), secrets.randbits(64), KEY_SEED)
    sides = [
        (each, seeds, max(1, side.expected_rows // SAMPLED))
        for each, side in zip(names, unread, strict=True)
    ]
    if strategy != "columns" and _lines_tell(unread, names):
        broken = Event()
        return [Lines(*each, broken) for each in sides]
    return [Columns(*each) for each in sides]


def _lines_tell(unread: Sequence[Unread], names: Sequence[Names]) -> bool:
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


def _checked(digests: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    if digests.height != rows.rows:
        raise InternalError(
            f"{digests.height:,} rows were parsed where the gate counted {rows.rows:,}"
        )
    return digests


def _forms(cells: pl.DataFrame, names: Names) -> pl.DataFrame:
    """The key columns in their normal forms."""
    return cells.select(
        normal_form(names.rules.get(name, ()), pl.col(name)).alias(name)
        for name in names.keys
    )


def _drawn(forms: pl.DataFrame, every: int) -> pl.Series:
    """Which rows are of one in so many keys."""
    if every == 1:
        return pl.repeat(True, forms.height, eager=True)
    return stable_hash(forms) % every == 0


def _key(forms: pl.DataFrame, seeds: Seeds) -> dict[str, pl.Series]:
    blank = functools.reduce(operator.or_, (column == "" for column in forms))
    return {"key": _hash(forms, seeds.key), "blank": blank}


def _hash(cells: pl.DataFrame, seed: int) -> pl.Series:
    if cells.width == 1:
        # The same numbers, without a wait for one of Polars' own threads.
        return cells.to_series().hash(seed)
    return cells.hash_rows(seed)
