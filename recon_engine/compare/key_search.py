"""Propose keys: the smallest sets of columns that are unique on both sides.

A set that repeats in some rows is no key, so a sample rules most sets out. The others
are tried on all rows by hashes: different hashes prove different rows. Proposals are
counted on the values themselves. If all rows exceed the memory budget, they are
examined in shares by hash: equal keys have equal hashes, so they are in one share.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis.measures import is_measure
from recon_engine.compare.alignment import align_columns, given_rules, rules_of
from recon_engine.compare.column_names import pair_names
from recon_engine.compare.pairing import (
    count_distinct,
    count_identical,
    has_repeats,
)
from recon_engine.compare.side_plans import derive_columns
from recon_engine.config import LIMITS, NO_KEY, Limits, OnSchemaDrift, Options
from recon_engine.errors import (
    ConfigError,
    NoCommonColumn,
    ReconError,
    SchemaMismatch,
)
from recon_engine.formatting import format_count
from recon_engine.inputs.delimiters import other_reading, splits_more
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.header import Header
from recon_engine.inputs.scanned import open_matched
from recon_engine.inputs.scanning import (
    KernelRefusal,
    SideColumns,
    start_scan,
    start_validation,
)
from recon_engine.inputs.tables import open_headers, open_tables
from recon_engine.rules.assembly import RULE_FLAGS
from recon_engine.rules.chains import NO_CHAIN, normal_column, rules_of_side
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.memory import default_budget
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.suggestions import did_you_mean, join_names


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.compare.column_names import NamePairs
    from recon_engine.compare.preparation import DerivedColumns
    from recon_engine.inputs.csvfile import RowGroup
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.rules.base import Rule
    from recon_engine.rules.chains import Chain
    from recon_engine.runtime.memory import Budget


# A larger sample rules out more sets before all rows are read, and makes each of up to
# 5,000 trials slower.
SAMPLE_ROWS: Final = 20_000
# How many sets of a size are tried on the sample, and how many of them on all rows.
MAX_SETS: Final = 5_000
MAX_TRIED: Final = 40
# The sets of one pass over the files: more save passes and cost memory.
AT_ONCE: Final = 8
# So many sets at most are read by the kernel, each in a pass: the parser reads all sets
# of `AT_ONCE` in one.
FEW_SETS: Final = 3
PROPOSALS_SHOWN: Final = 10
# Once a key has this share of its values on both sides, larger sets are not tried.
ENOUGH_OVERLAP: Final = 0.8
# A set that repeats is proposed beside unique ones without a common value if so many
# rows repeat at most, as a share of the values that it has on both sides.
FEW_REPEATS: Final = 0.1
SEED: Final = 0
# Odd, so that it maps no two hashes to one; in binary it has no pattern.
MULTIPLIER: Final = pl.Series([0x9E37_79B9_7F4A_7C15], dtype=pl.UInt64)
# Measured: the memory of a row while it is counted, in units of a row of digests.
DIGESTS: Final = 4

ColumnSet = tuple[str, ...]
Derived = tuple[list["DerivedColumns"], list["DerivedColumns"]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A set of columns as a key, with its counts.

    `repeats_old`, `repeats_new`: rows whose key another row has. `matched`: distinct
    keys on both sides; `overlap`: as a share of the rows of the larger side, from 0 to
    1. `blanks_old`, `blanks_new`: rows with a blank part. `drift`: whether a column is
    in one file only, so that a comparison by it has to say what becomes of the column.
    `unmatched`: the smallest sets that are unique on both sides without a common value,
    if it is proposed for lack of another key.
    """

    columns: ColumnSet
    repeats_old: int
    repeats_new: int
    matched: int
    overlap: float
    blanks_old: int
    blanks_new: int
    drift: bool = False
    unmatched: tuple[ColumnSet, ...] = ()

    @property
    def is_likely(self) -> bool:
        """Whether a comparison by it is likely to tell anything.

        Unique sets without a common value rather say that the columns of a key have
        other names in NEW, or other spellings, than that a set that repeats is one.
        """
        repeats = self.repeats_old + self.repeats_new
        return not self.unmatched or repeats <= FEW_REPEATS * self.matched

    @property
    def is_key(self) -> bool:
        """Whether no value of the columns repeats, in OLD and in NEW."""
        return not (self.repeats_old or self.repeats_new)

    @property
    def share(self) -> str:
        """`overlap` for people: `100.0%` means all."""
        shown = f"{self.overlap:.1%}"
        return "99.9%" if shown == "100.0%" and self.overlap < 1 else shown

    @property
    def reason(self) -> str:
        """Why it is proposed, in a sentence."""
        name = _name_set(self.columns)
        if self.is_key:
            return (
                f"{name} is unique on both sides, and {self.share} of the rows"
                " match by it"
            )
        repeats = format_count(self.repeats_old + self.repeats_new, "row")
        if self.unmatched:
            return f"{self.without_match} {name} repeats least, in {repeats}"
        return (
            "no set of columns that was tried is unique on both sides and matches"
            f" rows; {name} repeats least, in {repeats}"
        )

    @property
    def without_match(self) -> str:
        """How a sentence about other sets than `unmatched` begins; "" without them."""
        if not self.unmatched:
            return ""
        names = join_names(map(_name_set, self.unmatched))
        are = (
            "are unique on both sides and have"
            if self.unmatched[1:]
            else "is unique on both sides and has"
        )
        return f"{names} {are} no value in common; of the others,"


def _name_set(columns: ColumnSet) -> str:
    return " with ".join(columns)


@within_error_boundary
def propose_keys(
    old: object,
    new: object,
    options: Options | None = None,
    progress: Progress = SILENT,
    *,
    most_columns: int = 3,
    exact: bool = False,
    keys_only: bool = False,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
) -> list[Proposal]:
    """The smallest keys, best first; if there is none, the sets that come closest.

    Args:
        old: A path, a URL or a frame.
        new: A path, a URL or a frame.
        options: How files are read, `renames`, `ignore` and `rules`; other options are
            unused.
        progress: Reports the steps.
        most_columns: The largest size of a key.
        exact: Whether larger sets are tried even if a key matches nearly all rows, and
            one more matched row ranks higher.
        keys_only: Whether no other set is tried if there are keys, none of which has a
            value that is on both sides.
        budget: Memory; larger files are read several times.
        limits: Size limits of inputs.

    Keys rank by the percentage of values on both sides, then by few columns and few
    blanks; keys with an amount or a date come last. Sets without a common value are
    left out, and larger sets once a key has `ENOUGH_OVERLAP`.
    """
    options = options or Options(keys=NO_KEY)
    with open_headers(old, new, options, limits, progress) as sides:
        derived = derive_columns(sides[0].columns, sides[1].columns, options)
        names, columns = _pair_common_columns(*sides, options, derived)
        rules = _rules(columns, names, options)
        # Values of such columns are equal without equal forms, so they do not join. A
        # comparison refuses them as keys, too.
        columns = [
            name
            for name in columns
            for chain in [rules.get(name, NO_CHAIN)]
            if not (chain.has_tolerance or chain.has_several)
        ]
        scanning = start_validation(sides)
        with (
            open_tables(*sides, options, progress, scanning) as (left, right),
            progress.step("keys"),
        ):
            named = (
                _make_side(
                    sides[0],
                    left,
                    columns,
                    rules_of_side(rules, "old"),
                    {},
                    derived[0],
                ),
                _make_side(
                    sides[1],
                    right,
                    columns,
                    rules_of_side(rules, "new"),
                    names.renames,
                    derived[1],
                ),
            )
            search = _KeySearch(
                named,
                columns,
                budget or default_budget(),
                1.0 if exact else ENOUGH_OVERLAP,
            )
            found = list(search.keys(most_columns))
            unmatched = _list_unmatched(found)
            if not found:
                found = search.nearest(most_columns)
            if not keys_only and not any(each.matched for each in found):
                found = search.nearest(most_columns, unmatched=found)
        drift = bool(found) and _has_drift(*sides, options, found[0].columns)
    common = [
        replace(each, drift=drift, unmatched=unmatched)
        for each in found
        if each.matched
    ]
    return sorted(
        common, key=lambda each: _rank_proposal(each, columns, search.measures, exact)
    )[:PROPOSALS_SHOWN]


def _list_unmatched(keys: Sequence[Proposal]) -> tuple[ColumnSet, ...]:
    """The smallest keys, if no key has a common value."""
    if any(each.matched for each in keys):
        return ()
    least = min((len(each.columns) for each in keys), default=0)
    return tuple(each.columns for each in keys if len(each.columns) == least)


def _has_drift(old: Unread, new: Unread, options: Options, keys: ColumnSet) -> bool:
    """Whether a comparison is refused for the columns that are in one file only."""
    asked = replace(options, keys=keys, on_schema_drift=OnSchemaDrift.REFUSE)
    try:
        align_columns(old.columns, new.columns, asked, uris=(old.uri, new.uri))
    except SchemaMismatch:
        return True
    except ReconError:
        # What else is wrong with the options is said when they are used.
        return False
    return False


def _count_shares(tables: Sequence[Table], budget: Budget) -> int:
    """The number of shares in which the rows of both sides fit the budget."""
    rows = sum(table.rows for table in tables)
    text = int(sum(table.rows * table.row_bytes for table in tables))
    return max(budget.buckets(DIGESTS * rows), budget.batches(text))


def _pair_common_columns(
    old: Unread, new: Unread, options: Options, derived: Derived
) -> tuple[NamePairs, list[str]]:
    """The pairs of names, and the columns of both sides that are not ignored."""
    more = [[name for each in side for name in each.names] for side in derived]

    def hint() -> str | None:
        return other_reading(old, new, options, fits)

    def fits(ours: Sequence[str], theirs: Sequence[str]) -> bool:
        try:
            return bool(_common_columns(pair_names(ours, theirs, options), options))
        except ReconError:
            return False

    names = pair_names(
        [*old.columns, *more[0]],
        [*new.columns, *more[1]],
        options,
        uris=(old.uri, new.uri),
        hint=hint,
        retry=functools.partial(other_reading, old, new, options),
    )
    columns = _common_columns(names, options)
    if not columns:
        split = None
        if min(len(old.columns), len(new.columns)) == 1:
            split = other_reading(old, new, options, splits_more)
        # Of a frame, names are names; the first line of a file may be a row.
        named = isinstance(old, Frame) and isinstance(new, Frame)
        raise NoCommonColumn(
            "the two files have no column in common",
            why=f"OLD has {join_names(old.columns)}; NEW has {join_names(new.columns)}"
            if named
            else None,
            help=hint()
            or split
            or "use --match-names casefold for other spellings, --map"
            " OLD=NEW for other names; check that each file starts with a header",
        )
    return names, columns


def _common_columns(names: NamePairs, options: Options) -> list[str]:
    ignored = set(map(names.find, options.ignore))
    both = set(names.renamed) - ignored
    return [name for name in names.old if name in both]


def _rules(
    columns: Sequence[str], names: NamePairs, options: Options
) -> dict[str, Chain]:
    """The chains of the columns that have some; `*` applies to no key."""
    known = {*columns, *map(names.find, options.ignore), "*"}
    for side, rules in given_rules(options).items():
        for name in rules:
            if names.find(name) not in known:
                raise ConfigError(
                    f"{RULE_FLAGS[side]} {name}: no common column has that name"
                    + did_you_mean(name, columns),
                    help=f"{RULE_FLAGS[side]} COLUMN=RULE",
                )
    return rules_of(options, columns, names)


def _rank_proposal(
    proposal: Proposal,
    columns: Sequence[str],
    measures: _Measures,
    exact: bool,  # noqa: FBT001
) -> tuple[object, ...]:
    return (
        not proposal.is_key,
        proposal.overlap < ENOUGH_OVERLAP,
        measures.has_any(proposal.columns),
        # In whole percent: a few more matched rows do not outrank a smaller set.
        -proposal.overlap if exact else -int(100 * proposal.overlap),
        proposal.repeats_old + proposal.repeats_new,
        len(proposal.columns),
        proposal.blanks_old + proposal.blanks_new,
        [columns.index(name) for name in proposal.columns],
    )


@dataclass(frozen=True, slots=True)
class HashShare:
    """One of `count` shares of all rows, by the hashes of their keys."""

    at: int
    count: int

    def has(self, hashes: pl.Series) -> pl.Series:
        """Which rows with these hashes are in the share."""
        return hashes % self.count == self.at

    def of(self, rows: pl.DataFrame) -> pl.Series:
        """The hashes of the rows in the share."""
        hashes = rows.hash_rows(SEED)
        return hashes.filter(self.has(hashes))


@dataclass(frozen=True, slots=True)
class _KeySide:
    """A table under column names that both sides share.

    `unread`: the same before it was read; `derived`: how the last columns are made of
    the others.
    """

    unread: Unread
    table: Table
    names: list[str]
    rules: Mapping[str, Sequence[Rule]]
    derived: Sequence[DerivedColumns] = ()

    def sample(self) -> pl.DataFrame:
        """The cells of the first rows."""
        none = pl.DataFrame(schema=dict.fromkeys(self.names, pl.String))
        first = [self._cells(part, self.names) for part in self._parts()[:1]]
        return pl.concat([none, *first]).head(SAMPLE_ROWS)

    def hashes(self, sets: Sequence[ColumnSet], share: HashShare) -> list[pl.Series]:
        """The hashes of each set of columns, for a share of the rows."""
        wanted = sorted({name for columns in sets for name in columns})

        def hashed(part: RowGroup) -> list[pl.Series]:
            cells = self._cells(part, wanted)
            return [share.of(cells.select(columns)) for columns in sets]

        none = [pl.Series(dtype=pl.UInt64) for _ in sets]
        parts = map_ordered(hashed, self._parts())
        return [pl.concat(each) for each in zip(none, *parts, strict=True)]

    def values(self, columns: ColumnSet, share: HashShare) -> pl.DataFrame:
        """The cells of some columns, for a share of the rows."""

        def picked(part: RowGroup) -> pl.DataFrame:
            cells = self._cells(part, columns)
            if share.count == 1:
                return cells
            return cells.filter(share.has(cells.hash_rows(SEED)))

        parts = map_ordered(picked, self._parts())
        return pl.concat(
            [pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), *parts]
        )

    def columns_for_kernel(self, columns: ColumnSet) -> SideColumns:
        """How the native kernel reads the values of some columns as keys."""
        compared = [name if name in columns else None for name in self.names]
        keys = [self.names.index(name) for name in columns]
        return SideColumns(compared, keys, sample_every=0)

    def _parts(self) -> Sequence[RowGroup]:
        return self.table.parts

    def _cells(self, part: RowGroup, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns in normal form."""
        read = (normal_column(name, self.rules) for name in columns)
        count = len(self.table.columns)
        cells = self.table.read(part).cells(self.names[:count])
        for each in self.derived:
            cells = cells.with_columns(each.values())
        return cells.select(read).collect(engine="in-memory")


def _make_side(
    unread: Unread,
    table: Table,
    columns: Sequence[str],
    rules: Mapping[str, Sequence[Rule]],
    renames: Mapping[str, str],
    derived: Sequence[DerivedColumns],
) -> _KeySide:
    """Name the common columns `v0`…, by their place in `columns`."""
    by_place = {
        f"v{at:05}": rules[name] for at, name in enumerate(columns) if name in rules
    }
    ours = {renames.get(name, name): f"v{at:05}" for at, name in enumerate(columns)}
    names = [ours.get(name, f"x{at:05}") for at, name in enumerate(table.columns)]
    every = dict(zip(table.columns, names, strict=True))
    new_names = [name for each in derived for name in each.names]
    every |= {n: ours.get(n, f"d{at:05}") for at, n in enumerate(new_names)}
    made = [each.renamed(every) for each in derived]
    names += [every[name] for name in new_names]
    return _KeySide(unread, table, names, by_place, made)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What is counted of a set of columns.

    `has_repeats`: whether it repeats on a side, or seems to, by 64 bits of a digest;
    `matched`: the values on both sides; `blanks`: the rows of each with a blank part.
    """

    has_repeats: bool
    matched: int
    blanks: Sequence[int]


class _Measures:
    """Which columns are measures in a sample; computed for those that are asked for.

    `cells`: of each column those of both sides.
    """

    def __init__(self, cells: Mapping[str, Sequence[pl.Series]]) -> None:
        self._cells = cells
        self._known: dict[str, bool] = {}

    def has_any(self, columns: Sequence[str]) -> bool:
        """Whether one of these columns is a measure on a side."""
        for name in columns:
            if name not in self._known:
                self._known[name] = any(map(is_measure, self._cells[name]))
        return any(self._known[name] for name in columns)


class _KeySearch:
    """Search sets of columns, from small to large."""

    def __init__(
        self,
        sides: Sequence[_KeySide],
        names: Sequence[str],
        budget: Budget,
        enough_overlap: float,
    ) -> None:
        self.sides = sides
        self.enough_overlap = enough_overlap
        self.budget = budget
        shares = _count_shares([side.table for side in sides], budget)
        self.shares = [HashShare(at, shares) for at in range(shares)]
        self.names = {f"v{at:05}": name for at, name in enumerate(names)}
        cells = [side.sample() for side in sides]
        self.samples = [
            pl.DataFrame([column.hash(SEED) for column in each]) for each in cells
        ]
        self._distinct: dict[ColumnSet, int] = {}
        self.blanks = [{column.name: column == "" for column in each} for each in cells]
        self.measures = _Measures(
            {name: [each[at] for each in cells] for at, name in self.names.items()}
        )

    @functools.cached_property
    def _by_distinct(self) -> list[str]:
        """The columns, those with the most distinct values in the sample first."""
        distinct = {
            name: min(count_distinct(sample[name]) for sample in self.samples)
            for name in self.names
        }
        return sorted(self.names, key=lambda name: -distinct[name])

    def keys(self, max_columns: int) -> Iterator[Proposal]:
        """Yield the smallest sets that are unique on both sides."""
        found: list[ColumnSet] = []
        enough = False
        for size in range(1, max_columns + 1):
            if enough:
                return
            tried = list(
                itertools.islice(self._sets_without_repeats(size, found), MAX_TRIED)
            )
            for at in range(0, len(tried), AT_ONCE):
                for columns, proposal in self._find_unique(tried[at : at + AT_ONCE]):
                    found.append(columns)
                    enough = enough or (
                        proposal.overlap >= self.enough_overlap
                        and not self.measures.has_any(proposal.columns)
                    )
                    yield proposal

    def nearest(
        self, max_columns: int, unmatched: Sequence[Proposal] = ()
    ) -> list[Proposal]:
        """For each size the set with the most distinct rows in the sample.

        `unmatched`: sets without a common value, which no other set with them has
        either. If there are some, sets with a common value in the samples come first.
        """
        ids = {name: internal for internal, name in self.names.items()}
        known = [tuple(ids[name] for name in each.columns) for each in unmatched]
        common = {name for name in self.names if known and self._share_rows((name,))}
        sizes = range(1, min(max_columns, len(self.names)) + 1)
        sets = [self._sets_of_size(size, known) for size in sizes]
        nearest = [self._find_nearest(each, common) for each in sets if each]
        return [self._count_proposal(columns) for columns in nearest]

    def _find_nearest(self, sets: Sequence[ColumnSet], common: set[str]) -> ColumnSet:
        """The set with the most distinct rows in the samples.

        `common`: the columns with a common value in the samples. A set of them that has
        one too comes first.
        """
        able = [columns for columns in sets if common >= {*columns}]
        for columns in sorted(able, key=self._count_distinct, reverse=True):
            if self._share_rows(columns):
                return columns
        return max(sets, key=self._count_distinct)

    def _count_distinct(self, columns: ColumnSet) -> int:
        """The distinct rows of a set in the samples."""
        if columns not in self._distinct:
            hashes = (_hash_rows(sample, columns) for sample in self.samples)
            self._distinct[columns] = sum(map(count_distinct, hashes))
        return self._distinct[columns]

    def _share_rows(self, columns: ColumnSet) -> bool:
        """Whether the samples have a row of these columns in common."""
        # Less than the sum of both samples: a row is in both.
        hashes = pl.concat([_hash_rows(sample, columns) for sample in self.samples])
        return count_distinct(hashes) < self._count_distinct(columns)

    def _find_unique(
        self, sets: Sequence[ColumnSet]
    ) -> Iterator[tuple[ColumnSet, Proposal]]:
        """Those that do not repeat on all rows of either side, with their counts."""
        if self._holds_all_rows:
            for columns in sets:
                yield columns, self._as_proposal(columns, self._count_sampled(columns))
            return
        # A pass of the kernel for each set is shorter than one of the parser for few.
        first = sets if len(sets) <= FEW_SETS else ()
        counts = {columns: self._count_by_kernel(columns) for columns in first}
        open_sets = [columns for columns in sets if counts.get(columns) is None]
        unique = {*self._keep_unique(open_sets)} if open_sets else set[ColumnSet]()
        for columns in sets:
            found = counts.get(columns)
            if columns in unique:
                counted = None if columns in counts else self._count_by_kernel(columns)
                # The hashes of these rows do not repeat, so no key does. What the
                # kernel saw repeat is two keys with one digest.
                if counted is None or counted.has_repeats:
                    counted = self._count_unique(columns)
                yield columns, self._as_proposal(columns, counted)
            elif found is not None and not found.has_repeats:
                yield columns, self._as_proposal(columns, found)

    def _keep_unique(self, sets: Sequence[ColumnSet]) -> Sequence[ColumnSet]:
        """Those that do not repeat on all rows of either side."""
        for side, share in itertools.product(self.sides, self.shares):
            hashes = side.hashes(sets, share)
            sets = [
                columns
                for columns, each in zip(sets, hashes, strict=True)
                if not has_repeats(each)
            ]
            if not sets:
                break
        return sets

    def _as_proposal(self, columns: ColumnSet, counted: _Counts) -> Proposal:
        """A set that does not repeat, with its counts."""
        return Proposal(
            columns=tuple(self.names[name] for name in columns),
            repeats_old=0,
            repeats_new=0,
            matched=counted.matched,
            overlap=counted.matched / max(1, *(side.table.rows for side in self.sides)),
            blanks_old=counted.blanks[0],
            blanks_new=counted.blanks[1],
        )

    @functools.cached_property
    def _holds_all_rows(self) -> bool:
        """Whether the samples are all rows, so that no set of `keys` repeats."""
        return all(
            sample.height == side.table.rows
            for sample, side in zip(self.samples, self.sides, strict=True)
        )

    def _count_sampled(self, columns: ColumnSet) -> _Counts:
        """The counts of a set that does not repeat, where samples are all rows."""
        old, new = (
            pl.DataFrame({"row": row, "check": rows.hash_rows(SEED + 1), "key": row})
            for sample in self.samples
            for rows in [sample.select(columns)]
            for row in [rows.hash_rows(SEED)]
        )
        matched = count_identical(old, new)
        blanks = [
            int(functools.reduce(operator.or_, (each[at] for at in columns)).sum())
            for each in self.blanks
        ]
        return _Counts(has_repeats=False, matched=matched, blanks=blanks)

    def _count_by_kernel(self, columns: ColumnSet) -> _Counts | None:
        """What the native kernel counts of a set.

        None if it cannot count it: rows have to be files that fit the budget, and no
        column has a rule.
        """
        headers = [
            side.unread
            for side in self.sides
            if isinstance(side.unread, Header)
            and side.rules.keys().isdisjoint(columns)
            and not side.derived
        ]
        # The kernel holds the digests of all rows at once.
        if len(headers) < len(self.sides) or len(self.shares) > 1:
            return None
        try:
            scanning = start_scan(
                headers, [side.columns_for_kernel(columns) for side in self.sides]
            )
            if scanning is None:
                return None
            most = self.budget.repeated_rows()
            with open_matched(scanning, SILENT, most) as matched:
                # No other column is compared, so rows of one key are identical.
                return _Counts(
                    matched.has_repeats, matched.identical, matched.blank_keys
                )
        except KernelRefusal:
            return None

    def _count_unique(self, columns: ColumnSet) -> _Counts:
        """The counts of a set whose hashes do not repeat, so that no value does."""
        matched, blanks = 0, [0, 0]
        blank = pl.any_horizontal(pl.col(columns) == "")
        for share in self.shares:
            rows = [side.values(columns, share) for side in self.sides]
            matched += rows[0].join(rows[1], on=columns, how="semi").height
            for at, each in enumerate(rows):
                blanks[at] += int(each.select(blank.sum()).item())
        return _Counts(has_repeats=False, matched=matched, blanks=blanks)

    def _count_proposal(self, columns: ColumnSet) -> Proposal:
        """A set with its counts, on the values themselves."""
        counts = Counter[str]()
        blank = pl.any_horizontal(pl.col(columns) == "")
        for share in self.shares:
            old, new = (side.values(columns, share) for side in self.sides)
            both = old.unique().join(new.unique(), on=columns, how="semi")
            counts["matched"] += both.height
            for name, rows in (("old", old), ("new", new)):
                counts[f"repeats_{name}"] += rows.height - rows.n_unique()
                counts[f"blanks_{name}"] += rows.filter(blank).height
        most = max(side.table.rows for side in self.sides)
        return Proposal(
            columns=tuple(self.names[name] for name in columns),
            overlap=counts["matched"] / max(most, 1),
            repeats_old=counts["repeats_old"],
            repeats_new=counts["repeats_new"],
            matched=counts["matched"],
            blanks_old=counts["blanks_old"],
            blanks_new=counts["blanks_new"],
        )

    def _sets_without_repeats(
        self, size: int, found: Sequence[ColumnSet]
    ) -> Iterator[ColumnSet]:
        """The sets of a size that do not repeat in the sample."""
        return (
            columns
            for columns in self._sets_of_size(size, found)
            if not any(
                has_repeats(_hash_rows(sample, columns)) for sample in self.samples
            )
        )

    def _sets_of_size(
        self, size: int, known_keys: Sequence[ColumnSet]
    ) -> list[ColumnSet]:
        """Sets of a size that contain no found key.

        With too many, of the most distinct columns.
        """
        count = len(self.names)
        while math.comb(count, size) > MAX_SETS:
            count -= 1
        # Most tables have so few columns that nothing has to be counted.
        telling = self.names if count == len(self.names) else self._by_distinct[:count]
        sets = itertools.combinations(sorted(telling), size)
        return [
            columns
            for columns in sets
            if not any(set(key) <= set(columns) for key in known_keys)
        ]


def _hash_rows(hashes: pl.DataFrame, columns: ColumnSet) -> pl.Series:
    """A hash of each row, of those of its cells; cheaper than `hash_rows` of Polars."""
    return functools.reduce(
        lambda found, name: found * MULTIPLIER + hashes[name],
        columns[1:],
        hashes[columns[0]],
    )
