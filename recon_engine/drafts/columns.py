"""Which columns of two tables hold the same values: candidates for a key and renames.

Values are sampled by their hash, so that a value is in both samples or in neither,
whatever the order of the rows.
"""

from __future__ import annotations

import string
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.analysis.coded_columns import find_coded_columns
from recon_engine.analysis.rename_detection import compare_columns, match_rows
from recon_engine.compare.preparation import DerivedColumns
from recon_engine.derive_syntax import parse_derivation
from recon_engine.formatting import format_count, format_share
from recon_engine.inputs.scanned import find_source
from recon_engine.records import dataclass
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import normal_form
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.scanned import ScannedFile
    from recon_engine.inputs.tables import Table
    from recon_engine.rules.base import Rule

    Sides = tuple["TableColumns", "TableColumns"]
    Frames = tuple[pl.DataFrame, pl.DataFrame]


# What a key may have between its letters and digits.
STRIP: Final = "strip(-./ )"
# `100004` and `100004.0` are one number: a float column writes its integers so.
AS_NUMBER: Final = ("decimal",)
FLOAT_PATTERN: Final = r"^-?[0-9]+\.0$"
# In the order of trial: the weakest that finds as many common values is taken.
KEY_RULES: Final = (
    (),
    ("trim",),
    ("casefold",),
    ("lstrip0",),
    ("unwrap",),
    AS_NUMBER,
    ("trim", "casefold"),
    ("trim", "lstrip0"),
    ("casefold", "lstrip0"),
    ("trim", "casefold", "lstrip0"),
    ("unwrap", "lstrip0"),
    (STRIP,),
    (STRIP, "casefold"),
    (STRIP, "lstrip0"),
    ("unwrap", "trim", "casefold", STRIP, "lstrip0"),
)
WIDEST: Final = KEY_RULES[-1]
# A column of fewer values is a code: its values are in many columns.
MIN_VALUES: Final = 50
# As a share of the first rows: a part of a key has more values than a code.
MIN_DISTINCT: Final = 0.05
# Of the smaller side, in both as they are written: no rule is searched for.
MANY: Final = 0.9
# Of the smaller side, in both: fewer are more likely a coincidence.
MIN_OVERLAP: Final = 0.5
# As good as the best: some values may be missing on a side.
AS_GOOD: Final = 0.98
# As many as `draft.SAMPLE`.
HEAD_ROWS: Final = 20_000
# Any number, but one for both sides: values are chosen by equal hashes.
SEED: Final = 7
# One in 16 values has such a hash. Of columns that share half of their values, 64 of
# them share none with a chance of 2**-64.
LEAST_HASHES: Final = np.uint64(1 << 60)
FEW_HASHES: Final = 64
# Without one of these characters a rule changes no text in ASCII.
READ_BY: Final = {
    "trim": string.whitespace + "\x1c\x1d\x1e\x1f",
    "lstrip0": "0",
    "unwrap": "='\"",
    STRIP: "-./ ",
}

Place = tuple[int, int]
Way = tuple[tuple[str, ...], float]
# As they are written first: a form is computed for each row, which takes longer.
AS_WRITTEN: Final[tuple[Way, ...]] = (((), MANY),)
WAYS: Final[tuple[Way, ...]] = (
    *AS_WRITTEN,
    (AS_NUMBER, MIN_OVERLAP),
    (WIDEST, MIN_OVERLAP),
)


@dataclass(frozen=True)
class TableColumns:
    """A table whose columns are taken by their place, from 0.

    `derived`: how the last of them are made of the others, under the names `c0`….
    """

    table: Table
    names: tuple[str, ...]
    derived: tuple[DerivedColumns, ...] = ()

    def with_derived(self, text: str) -> TableColumns:
        """The same with the columns that a derivation makes."""
        derivation = parse_derivation(text)
        names = *self.names, *derivation.names
        places = {name: f"c{at}" for at, name in enumerate(names)}
        made = DerivedColumns(derivation, "").renamed(places)
        return TableColumns(self.table, names, (*self.derived, made))

    @property
    def _source(self) -> ScannedFile | None:
        """The kernel's access to the rows, if all columns are in the file.

        It splits records in a fifth of the time of the parser.
        """
        return None if self.derived else find_source(self.table)

    def read(self, columns: Sequence[int]) -> Iterator[pl.DataFrame]:
        """Some columns as `c0`…, of consecutive rows at a time."""
        source = self._source
        if source is None:
            yield from map_ordered(
                lambda part: self._cells(self.table.read(part), columns),
                self.table.parts,
            )
            return
        names = [f"c{at}" for at in range(len(self.names))]
        wanted = [names[at] for at in columns]
        yield from map_ordered(
            lambda group: source.take_range(group[1]).frame(names, wanted),
            source.ranges(),
        )

    def _cells(self, rows: Rows, columns: Sequence[int]) -> pl.DataFrame:
        found = rows.cells([f"c{at}" for at in range(len(self.table.columns))])
        for each in self.derived:
            found = found.with_columns(each.values())
        wanted = [f"c{at}" for at in columns]
        return found.select(wanted).collect(engine="in-memory")

    @cached_property
    def head(self) -> pl.DataFrame:
        """The first rows."""
        if not self.table.parts:
            return self._no_rows()
        first, source = self.table.parts[0], self._source
        rows: Rows = (
            self.table.read(first)
            if source is None
            else source.take_range(source.find_ends()[: first.rows + 1])
        )
        return self._cells(rows, range(len(self.names))).head(HEAD_ROWS)

    def read_rows(self) -> pl.DataFrame:
        """All rows."""
        return pl.concat([self._no_rows(), *self.read(range(len(self.names)))])

    def _no_rows(self) -> pl.DataFrame:
        names = (f"c{at}" for at in range(len(self.names)))
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))

    def sample_values(
        self, columns: Sequence[int], rules: Sequence[str], one_in: int
    ) -> list[pl.Series]:
        """For each column its distinct values whose form has a chosen hash."""
        form = parse_rules(rules)

        def choose(column: pl.Series) -> pl.Series:
            keep = pl.col("v") != ""
            if one_in > 1:
                shape = normal_form(form, pl.col("v"))
                keep &= shape.hash(SEED) % one_in == 0
            return column.alias("v").to_frame().filter(keep).unique().to_series()

        parts = [
            [*map_ordered(choose, rows.iter_columns())] for rows in self.read(columns)
        ]
        if len(parts) == 1:
            return parts[0]
        none = pl.Series("v", dtype=pl.String)
        return [
            pl.concat([none, *(part[at] for part in parts)]).unique()
            for at in range(len(columns))
        ]

    def sample_rows(
        self, keys: Sequence[int], chains: Sequence[Sequence[Rule]], one_in: int
    ) -> pl.DataFrame:
        """The rows whose key, under its rules, has a chosen hash, with all columns."""
        if one_in == 1:
            return self.read_rows()
        # Only the chosen rows are read with all columns.
        numbers, first = [np.zeros(0, np.int64)], 0
        for rows in self.read(keys):
            is_chosen = hash_keys(rows, keys, chains) % one_in == 0
            numbers.append(first + np.flatnonzero(is_chosen))
            first += rows.height
        chosen = self.table.take(np.concatenate(numbers))
        return self._cells(chosen, range(len(self.names)))


@dataclass(frozen=True, slots=True)
class CommonValues:
    """Two columns that share values; `rules`: the weakest under which they do.

    `shared`: the share of the values of the smaller side that are on both, from 0 to 1.
    """

    old: int
    new: int
    shared: float
    rules: tuple[str, ...]


def find_common_values(
    old: TableColumns,
    new: TableColumns,
    pairs: Mapping[Place, bool],
    sample: int | None,
    *,
    ways: Sequence[Way] = WAYS,
    any_of_them: bool = False,
) -> list[CommonValues]:
    """Pairs of columns of many values that share most of them, best first.

    Args:
        old: OLD.
        new: NEW.
        pairs: The pairs to compare, by place; True if they have the same name.
        sample: The number of values that is aimed at for a column; None is all.
        ways: The forms of values, with the least share of each.
        any_of_them: Whether pairs that share values in the first of these forms that
            has any are enough.
    """
    heads = [varied_columns(side) for side in (old, new)]
    wanted = [
        (ours, theirs)
        for ours, theirs in pairs
        if ours in heads[0] and theirs in heads[1]
    ]
    rows = max(old.table.rows, new.table.rows)
    one_in = 1 if sample is None else max(1, rows // sample)
    found: list[CommonValues] = []
    values = _SampledValues((old, new), one_in)
    for form, least in ways:
        able = _keep_floats((old, new), wanted) if form == AS_NUMBER else wanted
        found += _compare_samples(values, able, form, least)
        if any_of_them and found:
            break
        done = [{each.old for each in found}, {each.new for each in found}]
        wanted = [
            (ours, theirs)
            for ours, theirs in wanted
            if ours not in done[0] and theirs not in done[1]
        ]
    return sorted(found, key=lambda each: (-each.shared, len(each.rules)))


def _keep_floats(sides: Sides, pairs: Sequence[Place]) -> list[Place]:
    """The pairs of which one column alone has integers as a float column writes them.

    Others need no rule of numbers, or hold amounts, which are no key.
    """
    floats = [
        {at for at in {pair[side] for pair in pairs} if _are_floats(head[f"c{at}"])}
        for side, head in enumerate(each.head for each in sides)
    ]
    return [
        (ours, theirs)
        for ours, theirs in pairs
        if (ours in floats[0]) != (theirs in floats[1])
    ]


def _are_floats(texts: pl.Series) -> bool:
    """Whether all texts that are not blank are such as `100004.0`."""
    said = texts.filter(texts != "")
    # Most columns are none, which their first value shows.
    return all(
        not some.is_empty() and bool(some.str.contains(FLOAT_PATTERN).all())
        for some in (said.head(1), said)
    )


class _SampledValues:
    """The values of columns of both sides, of which one in so many is sampled."""

    def __init__(self, sides: Sides, one_in: int) -> None:
        self._sides = sides
        self._one_in = one_in
        self._form: Sequence[str] = ()
        self._known: list[dict[int, Values]] = [{}, {}]

    def sample(
        self, wanted: Sequence[Place], form: Sequence[str]
    ) -> list[dict[int, Values]]:
        """By side and place, those of pairs of columns, sampled by their form."""
        # All values are the same, whatever their form is.
        if self._one_in > 1 and form != self._form:
            self._known = [{}, {}]
        self._form = form
        for at, known in enumerate(self._known):
            places = sorted({pair[at] for pair in wanted} - known.keys())
            found = self._sides[at].sample_values(places, form, self._one_in)
            known.update(zip(places, map(Values, found), strict=True))
        return [
            {pair[at]: known[pair[at]] for pair in wanted}
            for at, known in enumerate(self._known)
        ]


def _compare_samples(
    sampled: _SampledValues,
    wanted: Sequence[Place],
    form: Sequence[str],
    least: float,
) -> Iterator[CommonValues]:
    """The pairs that share at least a share of the values, sampled by their form."""
    values = sampled.sample(wanted, form)
    every = [each for side in values for each in side.values()]
    for _ in map_ordered(lambda each: each.under(tuple(form)), every):
        pass
    for ours, theirs in wanted:
        best = find_weakest_rules(values[0][ours], values[1][theirs], form)
        if best is not None and best[0] >= least:
            yield CommonValues(ours, theirs, *best)


def sample_matching_rows(
    sides: Sides,
    keys: Sequence[Place],
    chains: Sequence[Sequence[str]],
    sample: int | None,
) -> Frames:
    """Rows of both sides with columns `c0`…, chosen by their key.

    Args:
        sides: OLD and NEW.
        keys: The places of each key column in OLD and in NEW.
        chains: The rules of each key column.
        sample: The number of rows that is aimed at; None is all.
    """
    rows = max(side.table.rows for side in sides)
    one_in = 1 if sample is None else max(1, rows // sample)
    rules = [parse_rules(chain) for chain in chains]
    old, new = (
        side.sample_rows([pair[at] for pair in keys], rules, one_in)
        for at, side in enumerate(sides)
    )
    return old, new


def find_renames(
    sides: Sides,
    rows: Frames,
    keys: Sequence[Place],
    chains: Sequence[Sequence[str]],
    alone: tuple[Sequence[int], Sequence[int]],
) -> dict[tuple[str, str], str]:
    """Columns of either side whose values agree, with how many do, in words.

    Args:
        sides: OLD and NEW.
        rows: Rows of both, of equal keys if there are such.
        keys: The places of each key column in OLD and in NEW.
        chains: The rules of each key column.
        alone: The columns without a partner, by place.
    """
    named = [(sides[0].names[ours], sides[1].names[theirs]) for ours, theirs in keys]
    by_name = {
        name: chain_of(*chain) for (name, _), chain in zip(named, chains, strict=True)
    }
    old, new = ((cells, side.names) for cells, side in zip(rows, sides, strict=True))
    both = match_rows(old, new, named, by_name)
    of_old, of_new = (
        (cells, side.names, [side.names[at] for at in others])
        for cells, side, others in zip(both, sides, alone, strict=True)
    )
    agreeing = compare_columns(of_old, of_new)
    found = {
        pair: _describe_agreement(*counts, both[0].height)
        for pair, counts in agreeing.items()
    }
    others = tuple(
        [name for name in every[2] if name not in {pair[at] for pair in agreeing}]
        for at, every in enumerate((of_old, of_new))
    )
    cells = [
        matched.select(
            pl.col(f"c{names.index(name)}").alias(f"v{at}")
            for at, name in enumerate(some)
        )
        for (matched, names, _), some in zip((of_old, of_new), others, strict=True)
    ]
    coded = find_coded_columns((cells[0], cells[1]), (others[0], others[1]))
    for pair, (alike, compared, codes) in coded.items():
        how = (
            f"by a table of {format_count(codes, 'code')}" if codes else "as yes or no"
        )
        agreement = _describe_agreement(alike, compared, both[0].height)
        found[pair] = f"{agreement}, {how}"
    return found


def _describe_agreement(alike: int, compared: int, rows: int) -> str:
    """How many of the rows of equal keys agree, and why some are not counted."""
    blank = (
        f", {rows - compared:,} are blank or a null word in both"
        if compared < rows
        else ""
    )
    return format_share(alike, compared, "sampled row", "agree") + blank


def varied_columns(side: TableColumns) -> set[int]:
    """The columns with many values in the first rows."""
    head = side.head
    # A small file has few values of anything.
    many = max(MIN_VALUES, int(MIN_DISTINCT * head.height))
    least = min(many, max(head.height // 2, 1))
    return {
        at
        for at, column in enumerate(head.iter_columns())
        if column.n_unique() >= least
    }


class Values:
    """The distinct values of a column, and what rules make of them."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self.forms: dict[tuple[str, ...], NDArray[np.uint64]] = {}

    def is_empty(self) -> bool:
        """Whether there is no value."""
        return self.values.is_empty()

    @cached_property
    def _text(self) -> str:
        """All values, one after the other."""
        return str(self.values.str.join("\0").item() or "")

    def _may_change(self, rule: str) -> bool:
        """Whether a rule may change a value: most columns lack what it reads."""
        if not self._text.isascii():
            return True
        if rule == "casefold":
            return self._text.upper() != self._text.lower()
        read = READ_BY.get(rule)
        return read is None or any(char in self._text for char in read)

    def under(self, rules: tuple[str, ...]) -> NDArray[np.uint64]:
        """The distinct hashes of the forms, ascending.

        They are compared sooner than texts. That two forms have one hash changes no
        share that decides.
        """
        if rules not in self.forms:
            needed = [rule for rule in rules if self._may_change(rule)]
            found = self.values
            if needed:
                form = normal_form(parse_rules(needed), pl.col("v"))
                found = found.alias("v").to_frame().select(form).to_series()
            # `np.unique` takes ten times as long.
            hashes = np.sort(found.hash(SEED).to_numpy())
            is_first = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
            self.forms[rules] = hashes[is_first]
        return self.forms[rules]


def find_weakest_rules(
    old: Values, new: Values, form: Sequence[str]
) -> tuple[float, tuple[str, ...]] | None:
    """The share of common values, and the first rules that find nearly all of them.

    `form`: the rules under which the values were sampled.
    """
    if old.is_empty() or new.is_empty():
        return None
    widest = share_values(old, new, tuple(form))
    if widest >= MIN_OVERLAP:
        for rules in KEY_RULES:
            if set(rules) <= set(form):
                share = share_values(old, new, rules)
                if share >= AS_GOOD * widest:
                    return share, rules
    return widest, tuple(form)


def share_values(old: Values, new: Values, rules: tuple[str, ...]) -> float:
    """How many of the values of the smaller side are on both, from 0 to 1.

    0 for a share near it.
    """
    ours, theirs = old.under(rules), new.under(rules)
    # Most columns have nothing in common, which the least hashes show.
    least = [each[: each.searchsorted(LEAST_HASHES)] for each in (ours, theirs)]
    if min(map(len, least)) >= FEW_HASHES and not _count_common(*least):
        return 0.0
    return _count_common(ours, theirs) / max(1, min(len(ours), len(theirs)))


def _count_common(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> int:
    """How many numbers are in both, which ascend."""
    few, many = sorted((some, others), key=len)
    places = many.searchsorted(few)
    places[places == len(many)] = 0
    return int((many[places] == few).sum()) if len(few) else 0


def hash_keys(
    rows: pl.DataFrame, keys: Sequence[int], chains: Sequence[Sequence[Rule]]
) -> pl.Series:
    """The hash of the key of each row under its rules; `keys`: places of columns."""
    return rows.select(
        normal_form(chain, pl.col(f"c{at}")).alias(f"k{place}")
        for place, (at, chain) in enumerate(zip(keys, chains, strict=True))
    ).hash_rows(SEED)


def parse_rules(rules: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of texts such as `lstrip0`, in order."""
    return chain_of(*rules).of("old")
