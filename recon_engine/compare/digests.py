"""Digest rows: one digest of the whole row, one of its key.

Rows are called identical by their digests alone, so these have 128 bits: two hashes
with independent seeds, new in every run. Both would have to collide between the two
versions of one changed row: for a billion changed rows, a chance of 1 in 10^29.

The digest of a key is the same in every run. A sample of rows (all rows of some keys)
does not depend on their order: a hash of the key selects it, which is the same in every
run, and the same that the native kernel takes.

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

from recon_engine.compare.preparation import (
    NO_PREPARATION,
    Place,
    Preparation,
    clear_places,
    with_places,
)
from recon_engine.compare.sampling import stable_hash
from recon_engine.errors import InternalError
from recon_engine.inputs.csvfile import Block, Blocks
from recon_engine.inputs.header import Header
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.inputs.scanning import sampling_rate
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules.chains import (
    Tallies,
    added,
    aside_tally,
    code_table,
    code_tally,
    count_codes,
    normal_column,
    read_and_counted,
    rules_of_side,
)


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pyarrow as pa

    from recon_engine.compare.alignment import Alignment
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.tables import Unread
    from recon_engine.rules.chains import Rules, SideRules


# If one file has this many times more quotes in a row than the other, they were written
# by different tools, so raw lines rarely match and `LineDigests` would parse most rows.
ALIKE: Final = 1.5
# Any constant will do: 2**64 divided by the golden ratio.
# It never changes: locators of masked breaks hold digests that were taken with it, and
# outlive a run.
KEY_SEED: Final = 0x9E3779B97F4A7C15
# Up to this many leading columns, scanning for delimiters is faster than the parser.
FIRST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnIds:
    """Internal column names of a side: `k0`… for the key, `v0`… for compared columns.

    Polars reads some names as patterns (`*`, `^a$`), so no user's name is used in an
    expression. Numbers follow the sorted names, not the order in a file; seven digits
    exceed the columns of any header.

    `all`: in the order of the file, with `x0`… for columns that are not compared.
    `keys`: in the order of the key; `columns`: the compared ones, in the order of the
    user's names. `user_names`: of the key and the compared columns, as in OLD.
    `chains`: of the columns that have rules; `rules`: those of them that read this
    side. `prepared`: what is done to rows before they are paired; the columns that it
    derives are the last of `all`.
    """

    all: tuple[str, ...]
    keys: list[str]
    columns: list[str]
    user_names: Mapping[str, str]
    rules: SideRules = field(default_factory=dict)
    chains: Rules = field(default_factory=dict)
    prepared: Preparation = NO_PREPARATION

    def read_cells(self, rows: Rows) -> pl.LazyFrame:
        """The cells of rows, and the columns that are derived of them."""
        if not self.prepared.derived:
            return rows.cells(self.all)
        count = len(self.all) - len(self.prepared.new_names)
        return self.prepared.with_derived(rows.cells(self.all[:count]))

    @property
    def compared(self) -> list[str]:
        """The ids of the key columns, then of the compared columns, each sorted."""
        return [*self.keys, *self.columns]

    @property
    def read_apart(self) -> list[str]:
        """The columns in which cells of equal bytes may be different, keys first."""
        return [
            name
            for name in self.compared
            if name in self.chains and not self.chains[name].is_reflexive
        ]

    @property
    def coded(self) -> SideRules:
        """The rules of the compared columns that have a code table on this side."""
        every = ((name, self.rules.get(name, ())) for name in self.read_apart)
        return {name: rules for name, rules in every if code_table(rules) is not None}

    @property
    def all_are_compared(self) -> bool:
        """Whether the side has no other columns."""
        return len(self.all) == len(self.compared)


def assign_ids(columns: Sequence[str], layout: Alignment, side: str) -> ColumnIds:
    """The internal names of the columns of "old" or "new"."""
    renames = layout.new_names if side == "new" else {}
    prepared = layout.prepared[SIDES.index(side)]
    ours = [*(renames.get(name, name) for name in columns), *prepared.new_names]
    keys = {name: f"k{at:07}" for at, name in enumerate(layout.keys)}
    compared = {name: f"v{at:07}" for at, name in enumerate(sorted(layout.columns))}
    ids = keys | compared
    others = sorted(set(ours) - ids.keys())
    every = ids | {name: f"x{at:07}" for at, name in enumerate(others)}
    # A column that only a filter of the other side tests is not here.
    rules = ((n, chain) for n, chain in layout.rules.items() if n in every)
    chains = {every[name]: chain for name, chain in rules}
    return ColumnIds(
        all=tuple(every[name] for name in ours),
        keys=[*keys.values()],
        columns=[*compared.values()],
        user_names={ids[name]: name for name in ids},
        rules=rules_of_side(chains, side),
        chains=chains,
        prepared=prepared.renamed(every),
    )


def all_is_compared(names: Sequence[ColumnIds]) -> tuple[bool, bool]:
    """For either side, whether every column is compared."""
    old, new = (each.all_are_compared for each in names)
    return old, new


def make_empty_rows(names: ColumnIds) -> pl.DataFrame:
    """A frame of strings with all columns of a side, and no rows."""
    # From a schema, Polars converts an empty list for each column: four times slower.
    empty = pl.Series(dtype=pl.String)
    return pl.DataFrame([empty.alias(name) for name in names.all])


def make_empty_sample(names: ColumnIds) -> pl.DataFrame:
    """A frame of strings with the keys and compared columns of a side, and no rows."""
    return make_empty_rows(names).select(names.compared)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Hash seeds, equal on both sides; those of rows are new in every run."""

    row: int
    check: int
    key: int


class DigestedSide(Protocol):
    """A side whose rows are digested, and how."""

    @property
    def side(self) -> str: ...

    @property
    def names(self) -> ColumnIds: ...

    @property
    def seeds(self) -> Seeds: ...

    @property
    def every(self) -> int:
        """The inverse of the sampling rate: 1 samples every key, 10 one in ten."""
        ...


class Strategy(DigestedSide, Protocol):
    """How the digests of one side are taken, block by block."""

    @property
    def name(self) -> str: ...

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
        """What the rules of key columns read, and of columns that are read apart."""
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
        """Hash the compared cells of each row, and its key after the rules."""
        names = self.names
        judged = [n for n in names.prepared.judged if n not in names.compared]
        every = names.read_cells(rows).select(*names.compared, *judged)
        read = every.collect(engine="in-memory")
        cells = read.select(names.compared) if judged else read
        key, is_sampled, tallies = digest_keys(cells, self)
        forms, of_forms = find_apart_forms(cells, self)
        digests = _digest_rows(forms, key, self.seeds, rows)
        digests, is_sampled, aside = mark_places(digests, is_sampled, read, self)
        # A copy as Arrow: the strings of a frame would keep the whole block in memory.
        few = cells.filter(is_sampled)
        self.drawn.append(few.to_arrow(compat_level=pl.CompatLevel.oldest()))
        self.counted.append(tallies | of_forms | aside)
        return digests

    def sample(self) -> pl.DataFrame:
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
        """Whether a record of either side spans several lines."""
        return self.broken.is_set()

    def digest(self, rows: Rows) -> pl.DataFrame | None:
        """Hash the raw line of each row, and its key after the rules."""
        if not isinstance(rows, Block) or rows.embedded_newlines:
            # A line is only a part of such a record. `inexact` makes both sides start
            # again with CellDigests.
            self.broken.set()
            return None
        if self.inexact:
            return None
        lines = rows.lines.to_frame()
        key, is_sampled, tallies = digest_keys(self.keys(rows), self)
        digests = _digest_rows(lines, key, self.seeds, rows)
        few = rows.lines.filter(is_sampled)
        # Copied: the lines are views of their block, and would keep it in memory.
        self.drawn.append(
            Block(
                "".join(few).encode(), len(few), rows.delimiter, trailing=rows.trailing
            )
        )
        self.counted.append(tallies)
        return digests

    def sample(self) -> pl.DataFrame:
        if not self.drawn:
            return make_empty_sample(self.names)
        drawn = Blocks(
            tuple(self.drawn), self.drawn[0].delimiter, self.drawn[0].trailing
        )
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
        # The last column ends with a newline, not with a delimiter, so it needs the
        # parser.
        if block.delimiters is None or count > min(FIRST, len(every) - 1):
            return block.cells(every).select(keys).collect(engine="in-memory")
        first = dict(zip(every, block.parse_first_cells(count), strict=False))
        return pl.DataFrame({name: first[name] for name in keys})


def choose_strategy(
    unread: Sequence[Unread], names: Sequence[ColumnIds], strategy: str | None = None
) -> list[Strategy]:
    """The cheapest exact strategy for both sides, or the named one."""
    # Rows are dropped as identical only if `row`, `check` and `key` are equal: 192
    # bits. The first two seeds are new in every run, so collisions cannot be
    # prepared.
    seeds = Seeds(secrets.randbits(64), secrets.randbits(64), KEY_SEED)
    sides = [
        (which, each, seeds, sampling_rate(side.expected_rows))
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
        # Equal ids in equal places: the order of columns is that of both lines. An id
        # with x is a column that is not compared, and it would be part of the line.
        names[0] == names[1]
        and not names[0].prepared
        and not names[0].read_apart
        and not any(name.startswith("x") for name in names[0].all)
        and (old.delimiter, old.trailing) == (new.delimiter, new.trailing)
        and more <= ALIKE * fewer
    )


def _digest_rows(
    cells: pl.DataFrame, key: Mapping[str, pl.Series], seeds: Seeds, rows: Rows
) -> pl.DataFrame:
    """The digests of rows: those of these cells, and those of their keys."""
    row, check = hash_cells(cells, seeds.row), hash_cells(cells, seeds.check)
    digests = pl.DataFrame({"row": row, "check": check, **key})
    if digests.height != rows.rows:
        raise InternalError(
            f"{digests.height:,} rows were parsed; the reader counted {rows.rows:,}"
        )
    return digests


def key_digest(
    cells: pl.DataFrame, names: ColumnIds, seed: int, side: str | None = None
) -> pl.Series:
    """The digests (u64) of keys, as `Strategy.digest` takes them.

    `side`: by whose rules; by default by those of the side that `names` is about.
    """
    rules = names.rules if side is None else rules_of_side(names.chains, side)
    forms = cells.select(normal_column(name, rules) for name in names.keys)
    return hash_cells(forms, seed)


def digest_keys(
    cells: pl.DataFrame, strategy: DigestedSide
) -> tuple[dict[str, pl.Series], pl.Series, Tallies]:
    """The digests and blank flags of keys, which are sampled, what their rules read."""
    rules, tallies = strategy.names.rules, Tallies()
    forms = cells.select(strategy.names.keys)
    for at, name in enumerate(forms.columns):
        if name in rules:
            texts, tallies[name] = read_and_counted(
                strategy.names.chains[name], forms[name], strategy.side, apply_natively
            )
            forms.replace_column(at, texts.alias(name))
    blank = functools.reduce(operator.or_, (column == "" for column in forms))
    key = {"key": hash_cells(forms, strategy.seeds.key), "blank": blank}
    return key, _is_sampled(forms, strategy.every), tallies


def mark_places(
    digests: pl.DataFrame,
    is_sampled: pl.Series,
    cells: pl.DataFrame,
    strategy: DigestedSide,
) -> tuple[pl.DataFrame, pl.Series, Tallies]:
    """The digests with the places of their rows, which rows are sampled, and codes.

    Rows that are not kept are neither counted as blank nor sampled; their codes are
    counted apart. `cells`: at least the columns that decide on places, and those with
    code tables.
    """
    prepared = strategy.names.prepared
    if not prepared.places:
        return digests, is_sampled, {}
    places = prepared.find_places(cells)
    if not (places != Place.KEPT).any():
        return digests.with_columns(clear_places(digests["check"])), is_sampled, {}
    kept = places == Place.KEPT
    marked = digests.with_columns(
        with_places(digests["check"], places).alias("check"), digests["blank"] & kept
    )
    return marked, is_sampled & kept, _count_aside_codes(cells, places, strategy)


def _count_aside_codes(
    cells: pl.DataFrame, places: pl.Series, strategy: DigestedSide
) -> Tallies:
    """The codes of rows that are not kept, for each column with a code table."""
    names, found = strategy.names, Tallies()
    required = {each.column for each in names.prepared.codes}
    aside = places != Place.KEPT
    for name, rules in names.coded.items():
        codes = count_codes(rules, cells[name].filter(aside))
        if name in required:
            # A code of a key that is not listed makes its row unpairable: it counts.
            able = cells[name].filter(aside & (places != Place.UNPAIRABLE))
            codes[-1] = count_codes(rules, able)[-1]
        found[aside_tally(name, strategy.side)] = codes
    return found


def find_apart_forms(
    cells: pl.DataFrame, strategy: DigestedSide, but: Collection[str] = ()
) -> tuple[pl.DataFrame, Tallies]:
    """The cells with the forms of columns that are read apart, and what rules read.

    Rows of equal bytes are identical only if the sides read them alike: the normal
    forms of columns in which they may not are hashed with the bytes. `but`: those of
    these columns that are digested elsewhere.
    """
    names, tallies = strategy.names, Tallies()
    forms, coded = cells.clone(), names.coded
    for name in names.read_apart:
        if name in but:
            continue
        texts, tally = read_and_counted(
            names.chains[name], cells[name], strategy.side, apply_natively
        )
        # What rules read of keys is counted by `digest_keys`.
        if name not in names.keys:
            tallies[name] = tally
        if name in coded:
            codes = count_codes(coded[name], cells[name])
            tallies[code_tally(name, strategy.side)] = codes
        forms = forms.with_columns(texts.alias(f"\0{name}"))
    return forms, tallies


def _is_sampled(keys: pl.DataFrame, every: int) -> pl.Series:
    """Whether a row is sampled: by a hash that the native kernel takes too."""
    if every == 1:
        return pl.repeat(True, keys.height, eager=True)
    # By key, so that the samples of both files have the same keys.
    return stable_hash(keys) % every == 0


def hash_cells(cells: pl.DataFrame, seed: int) -> pl.Series:
    """A hash (u64) of each row of at least one column of strings."""
    if cells.width == 1:
        # Series.hash gives the same numbers without waiting for Polars' thread pool.
        return cells.to_series().hash(seed)
    return cells.hash_rows(seed)
