"""Two tables of text become what is missing, extra and changed. Pure.

`drop_identical` removes, by digest, the rows that are unchanged on both sides;
`compare_rows` pairs and compares the others. The removal changes no result: equal rows
of a key are paired first in any case, and equal rows are interchangeable.
"""

from __future__ import annotations

import itertools
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis import segments, totals
from recon_engine.compare.buckets import DIGEST_COLUMNS
from recon_engine.compare.set_aside import NOTHING_ASIDE, SetAside, merge_set_aside
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.kinds import classify_cells, classify_read
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules import chains
from recon_engine.rules.chains import (
    MADE_EQUAL,
    NO_CHAIN,
    NO_RULES,
    code_table,
    count_codes,
    equal_and_counted,
    equal_with_forms,
    no_tally,
    normal_column,
    rules_of_side,
    wrong_tally,
)
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from recon_engine.analysis.amounts import SumPair
    from recon_engine.analysis.evidence import ValueCounts
    from recon_engine.rules.chains import Chain, Rules, SideRules, Tallies, Tally


NO_PAIRS: Final = pl.DataFrame(schema={"old": pl.UInt32, "new": pl.UInt32})
# The reader refuses NUL in a header, so no user's column has such a name.
_OLD: Final = "\0old"
_NEW: Final = "\0new"
# Instead of the number of a row, where there is none.
_ALONE: Final = -1
_NTH: Final = "\0nth"
_NORMAL: Final = "\0normal"
_COUNT: Final = "\0count"
# A sample of this size rules out most columns before all rows are grouped.
FEW_PAIRS: Final = 4_096
# Columns are compared together up to so many cells: a step costs as much as a thousand.
GATHERED_CELLS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class NonIdentical:
    """What remains after equal rows are removed: the digests of each side."""

    identical: int
    old: pl.DataFrame
    new: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sets of rows reconciled.

    `keys`: the key columns of the matched pairs, in pair order, as in OLD. `cells`:
    `pair`, `column` (its ordinal), `old`, `new` of each mismatched cell, and `kind`
    after `with_kinds`. `tolerated`: cells that are equal only by rules, by column.
    `tolerated_keys`: pairs whose keys are. `tallies`: what rules did, by column: in
    cells of pairs whose bytes differ; for keys only what they made equal. `sums`: of
    the tolerated cells of columns with rules. `missing`, `extra`: whole rows, unordered
    until they are merged. `values`: counts of the values of OLD in mismatched pairs,
    keys included. `aside`: the rows that are set aside.
    """

    keys: pl.DataFrame
    cells: pl.DataFrame
    tolerated: list[int]
    tolerated_keys: int
    tallies: Tallies
    sums: dict[str, SumPair]
    missing: pl.DataFrame
    extra: pl.DataFrame
    values: ValueCounts
    aside: SetAside = NOTHING_ASIDE

    def with_aside(self, aside: SetAside) -> Difference:
        """The same with the rows that are set aside."""
        return replace(self, aside=aside)


def drop_identical(
    old: pl.DataFrame, new: pl.DataFrame, *, repeats: tuple[bool, bool]
) -> NonIdentical:
    """Pair rows of equal digests that occur once on each side; return the others.

    `old`, `new`: the `row`, `check` and `key` digests and the row `number`; `repeats`:
    whether a key repeats. Rows of a repeated row digest are left to `compare_rows`,
    which pairs them by content.
    """
    identical, kept = _find_identical(old, new, repeats=repeats)
    left = map_ordered(
        lambda side: side[0].filter(side[1]), zip((old, new), kept, strict=True)
    )
    return NonIdentical(identical, *left)


def count_identical(old: pl.DataFrame, new: pl.DataFrame) -> int:
    """How many rows `drop_identical` drops, of digests that do not repeat."""
    return _find_identical(old, new, repeats=(False, False))[0]


def _find_identical(
    old: pl.DataFrame, new: pl.DataFrame, *, repeats: tuple[bool, bool]
) -> tuple[int, list[NDArray[np.bool_]]]:
    """The number of pairs that `drop_identical` drops, and which rows are kept."""
    kept = [np.ones(side.height, bool) for side in (old, new)]
    identical = _mark_natively((old, new), kept)
    if identical is None:
        identical = _mark_identical((old, new), kept, repeats=repeats)
    return identical, kept


def _mark_natively(
    sides: Sequence[pl.DataFrame], kept: Sequence[NDArray[np.bool_]]
) -> int | None:
    """Take the rows that `drop_identical` drops out of `kept`; None without the kernel.

    Returns how many pairs these are.
    """
    kernel = binding.load_library()
    if kernel is None or any(side.height > binding.MOST_ROWS for side in sides):
        return None
    columns = [
        [
            np.ascontiguousarray(side[name].to_numpy(), np.uint64)
            for name in DIGEST_COLUMNS
        ]
        for side in sides
    ]
    old, new = (
        binding.DigestArrays(*(column.ctypes.data for column in each), len(each[0]))
        for each in columns
    )
    arrays = (binding.DigestArrays * 2)(old, new)
    identical = kernel.drop_identical(arrays, *(each.ctypes.data for each in kept))
    if identical < 0:
        raise MemoryError
    return int(identical)


def _mark_identical(
    sides: Sequence[pl.DataFrame],
    kept: Sequence[NDArray[np.bool_]],
    *,
    repeats: tuple[bool, bool],
) -> int:
    """The same without the kernel."""
    old, new = sides
    # The cheapest join has one integer key and no payload. The other two digests are
    # compared afterwards.
    left, right = (
        _index_rows(side, name, unrepeated=again)
        for side, name, again in zip((old, new), ("old", "new"), repeats, strict=True)
    )
    same_row = (
        left.join(right, on="row", how="inner")
        .select("old", "new")
        .collect(engine="streaming")
    )

    numbers = {side: same_row[side].to_numpy() for side in ("old", "new")}

    def agreeing(digest: str) -> NDArray[np.bool_]:
        mine, theirs = old[digest].to_numpy(), new[digest].to_numpy()
        same: NDArray[np.bool_] = mine[numbers["old"]] == theirs[numbers["new"]]
        return same

    check, key = map_ordered(agreeing, ("check", "key"))
    both = check & key

    for rows, name in zip(kept, ("old", "new"), strict=True):
        rows[numbers[name][both]] = False
    return int(both.sum())


def compare_rows(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    rules: Rules = NO_RULES,
    pairs: pl.DataFrame | None = None,
) -> Difference:
    """Reconcile two frames of strings by `keys`, cell by cell over `columns`.

    Args:
        old: Rows of OLD.
        new: Rows of NEW, under the same column names.
        keys: The key columns; their rules say which keys are equal.
        columns: The compared columns.
        rules: The chains of columns that have rules.
        pairs: What `pair_rows` returns, of rows that are paired already.

    Each row of `old` is in exactly one pair or missing, each of `new` in exactly one
    pair or extra, independent of file order.
    """
    if pairs is None:
        pairs = pair_rows(old, new, keys=keys, columns=columns, rules=rules)
    paired = pairs.lazy()
    matched, missing, extra = pl.collect_all(
        [
            paired.drop_nulls(),
            paired.filter(pl.col("new").is_null()),
            paired.filter(pl.col("old").is_null()),
        ],
        engine="in-memory",
    )
    cells, tolerated, tallies, sums = _compare_cells(old, new, matched, columns, rules)
    tolerated_keys, of_keys = count_equal_keys(old, new, matched, keys, rules)
    mismatched = matched["old"][find_differing_pairs(cells, matched.height)]
    return Difference(
        keys=old[list(keys)][matched["old"]],
        cells=cells,
        tolerated=tolerated,
        tolerated_keys=tolerated_keys,
        tallies=tallies | of_keys,
        sums=sums,
        missing=old[missing["old"]],
        extra=new[extra["new"]],
        values=segments.count_values(old[[*keys, *columns]], mismatched),
    )


def pair_rows(
    old: pl.DataFrame,
    new: pl.DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    rules: Rules = NO_RULES,
) -> pl.DataFrame:
    """The pairs of `compare_rows` as row numbers `old` and `new`.

    Null without a partner.
    """
    by, left, right = _read_forms(old, new, keys, rules)
    # Most keys do not repeat. They take one plain join; only the others are paired by
    # content.
    pairs = _join_unrepeated(left, right, by)
    if pairs is None:
        pairs = _match_rows(left, right, keys, by, columns, rules)
    return pairs


def pair_unrepeated_keys(
    old: pl.DataFrame,
    new: pl.DataFrame,
    digests: Sequence[pl.Series],
    *,
    keys: Sequence[str],
    rules: Rules,
) -> pl.DataFrame | None:
    """As `pair_rows`, of the key columns alone; None if a key repeats on a side.

    `digests`: those of the keys of both sides; equal keys have equal ones. Numbers are
    joined sooner than texts, and the texts of a pair are compared afterwards.
    """
    by, left, right = _read_forms(old, new, keys, rules)
    if not any(map(has_repeats, digests)):
        pairs = _join_digests(*digests)
        both = pairs.drop_nulls()
        if all(
            (left[name][both["old"]] == right[name][both["new"]]).all() for name in by
        ):
            return pairs
    # A key repeats, or two keys have one digest.
    return _join_unrepeated(left, right, by)


def _join_digests(old: pl.Series, new: pl.Series) -> pl.DataFrame:
    """The rows of equal digests, as `pair_rows` has them; none repeats on a side."""
    ours, theirs = old.to_numpy(), new.to_numpy()
    orders = np.argsort(ours), np.argsort(theirs)
    left, right = ours[orders[0]], theirs[orders[1]]
    # Behind the last number there is none: a number is not that of another place.
    places = np.searchsorted(right, left) % max(1, len(right))
    equal = right[places] == left if len(right) else np.zeros(len(left), np.bool_)
    partners = np.full(len(ours), _ALONE)
    partners[orders[0][equal]] = orders[1][places[equal]]
    alone = np.ones(len(theirs), np.bool_)
    alone[partners[partners != _ALONE]] = False
    extra = np.flatnonzero(alone)
    return pl.DataFrame(
        {
            "old": np.append(np.arange(len(ours)), np.full(len(extra), _ALONE)),
            "new": np.append(partners, extra),
        }
    ).cast(pl.UInt32, strict=False)


def _read_forms(
    old: pl.DataFrame, new: pl.DataFrame, keys: Sequence[str], rules: Rules
) -> tuple[list[str], pl.DataFrame, pl.DataFrame]:
    """The columns by which rows are paired, and the rows of both sides with them."""
    left, right = map_ordered(
        lambda side: _with_forms(side[0], keys, rules_of_side(rules, side[1])),
        zip((old, new), SIDES, strict=True),
    )
    return [_form(name, rules) for name in keys], left, right


def _join_unrepeated(
    left: pl.DataFrame, right: pl.DataFrame, by: Sequence[str]
) -> pl.DataFrame | None:
    """The pairs of rows by one plain join; None if a key repeats on a side."""
    if any(_repeats(side, by) for side in (left, right)):
        return None
    return _join_numbered(left, right, by)


def _join_numbered(
    left: pl.DataFrame, right: pl.DataFrame, by: Sequence[str]
) -> pl.DataFrame:
    """The pairs of rows that do not repeat, as `pair_rows` has them."""
    return _join_full(_numbered(left, by, _OLD), _numbered(right, by, _NEW), by)


def merge_differences(parts: Iterable[Difference], keys: Sequence[str]) -> Difference:
    """The differences of disjoint sets of keys as one.

    Unmatched rows in content order.
    """
    found = list(parts)
    if len(found) == 1:
        [one] = found
        sides = (one.missing, one.extra)
        missing, extra = map_ordered(lambda rows: sort_by_content(rows, keys), sides)
        aside = _sort_aside(one.aside, keys)
        return replace(one, missing=missing, extra=extra, aside=aside)
    offsets = [0, *itertools.accumulate(part.keys.height for part in found)]
    cells = [
        part.cells.with_columns(pl.col("pair") + pl.lit(offset, pl.UInt32))
        if offset and not part.cells.is_empty()
        else part.cells
        for part, offset in zip(found, offsets, strict=False)
    ]
    missing = _concat_rows([part.missing for part in found])
    extra = _concat_rows([part.extra for part in found])
    missing, extra = map_ordered(
        lambda rows: sort_by_content(rows, keys), (missing, extra)
    )
    return Difference(
        keys=pl.concat([part.keys for part in found]),
        cells=pl.concat(cells),
        tolerated=[*map(sum, zip(*(part.tolerated for part in found), strict=True))],
        tolerated_keys=sum(part.tolerated_keys for part in found),
        tallies=chains.added(part.tallies for part in found),
        sums=totals.merge_sum_pairs(part.sums for part in found),
        missing=missing,
        extra=extra,
        values=segments.merge_value_counts(part.values for part in found),
        aside=_sort_aside(merge_set_aside([part.aside for part in found]), keys),
    )


def _sort_aside(aside: SetAside, keys: Sequence[str]) -> SetAside:
    """The rows that are listed, in content order."""
    return aside.with_rows(lambda _, rows: sort_by_content(rows, keys))


def _concat_rows(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All rows; a frame without any costs as much as others if it has many columns."""
    some = [part for part in parts if not part.is_empty()] or parts[:1]
    return some[0] if len(some) == 1 else pl.concat(some)


def with_kinds(
    difference: Difference, columns: Sequence[str] = (), rules: Rules = NO_RULES
) -> Difference:
    """The difference with the `kind` of each cell.

    `columns`: the compared ones, by ordinal; `rules`: the chains of those with rules.
    """
    cells = classify_cells(difference.cells)
    if not rules:
        return replace(difference, cells=cells)
    kinds = cells["kind"]
    for ordinal, name in enumerate(columns):
        if name in rules:
            mine = (cells["column"] == ordinal).arg_true()
            if not mine.is_empty():
                read = classify_read(
                    rules[name], *(cells[s].gather(mine) for s in SIDES)
                )
                kinds = kinds.scatter(mine, read)
    return replace(difference, cells=cells.with_columns(kinds))


def find_repeated_keys(
    rows: pl.DataFrame, keys: Sequence[str], rules: SideRules
) -> pl.DataFrame:
    """The keys that repeat: a struct `key` and `rows`, most rows first.

    Of keys that are equal under a rule, the first in sorted order is shown.
    """
    return repeated_among(counted_keys(rows, keys), keys, rules)


def make_empty_repeats(keys: Sequence[str]) -> pl.DataFrame:
    """What `find_repeated_keys` returns if no key repeats."""
    key = pl.Struct(dict.fromkeys(keys, pl.String))
    return pl.DataFrame(schema={"key": key, "rows": pl.get_index_type()})


def counted_keys(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Each key as it is written, and the number of its rows."""
    return rows.group_by(keys).agg(pl.len().alias(_COUNT))


def added_keys(counts: Iterable[pl.DataFrame], keys: Sequence[str]) -> pl.DataFrame:
    """The counts of several sets of rows as one."""
    return pl.concat(counts).group_by(keys).agg(pl.col(_COUNT).sum())


def repeated_among(
    counts: pl.DataFrame, keys: Sequence[str], rules: SideRules
) -> pl.DataFrame:
    """The keys that repeat, from the counts of `counted_keys` or `added_keys`.

    Has the columns and the order of `find_repeated_keys`.
    """
    by = [normal_column(name, rules).alias(f"{_NORMAL}{name}") for name in keys]
    return (
        counts.lazy()
        .sort(keys)
        .group_by(by, maintain_order=True)
        .agg(key=pl.struct(keys).first(), rows=pl.col(_COUNT).sum())
        .filter(pl.col("rows") > 1)
        .select("key", "rows")
        .sort("rows", "key", descending=[True, False])
        .collect(engine="in-memory")
    )


def columns_that_make_unique(
    rows: pl.DataFrame,
    keys: Sequence[str],
    columns: Iterable[str],
    rules: SideRules,
) -> list[str]:
    """The columns each of which would make the key unique among these rows."""
    if rows.is_empty():
        return [*columns]
    by = [f"{_NORMAL}{name}" for name in keys]
    keyed = rows.with_columns(
        normal_column(name, rules).alias(form)
        for name, form in zip(keys, by, strict=True)
    )
    # First the rows of a few keys, which rule most columns out.
    every = max(1, rows.height // FEW_PAIRS)
    parts = [keyed]
    if every > 1:
        parts.insert(0, keyed.filter(pl.struct(by).hash() % every == 0))
    return [
        name
        for name in columns
        if not any(part.select(*by, name).is_duplicated().any() for part in parts)
    ]


def hashed_with_key(
    rows: pl.DataFrame,
    keys: Sequence[str],
    column: str,
    rules: SideRules,
) -> pl.Series:
    """A hash of the key, in normal form, and of one more column."""
    forms = rows.select(*(normal_column(name, rules) for name in keys), column)
    return forms.hash_rows(0)


def has_repeats(numbers: pl.Series) -> bool:
    """Whether a number (u64) occurs twice."""
    kernel = binding.load_library()
    if kernel is not None and len(numbers) <= binding.MOST_ROWS:
        words = np.ascontiguousarray(numbers.to_numpy(), np.uint64)
        found = kernel.has_repeats(words.ctypes.data, len(words))
        if found < 0:
            raise MemoryError
        return bool(found)
    # Sorting is cheaper than hashing by Polars.
    ordered = np.sort(numbers.to_numpy())
    return bool((ordered[1:] == ordered[:-1]).any())


def count_distinct(numbers: pl.Series) -> int:
    """How many numbers (u64) there are, each counted once."""
    ordered = np.sort(numbers.to_numpy())
    edges = int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    return edges + bool(len(ordered))


def longest_run(numbers: pl.Series) -> int:
    """The number of occurrences of the most frequent number."""
    ordered = np.sort(numbers.to_numpy())
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return int(np.diff(np.concatenate(([0], edges, [len(ordered)]))).max())


def sort_by_content(rows: pl.DataFrame, first: Sequence[str]) -> pl.DataFrame:
    """Rows sorted by `first`, then by all other columns in the order of their names."""
    if rows.height < 2:  # noqa: PLR2004 - nothing to sort
        return rows
    others = set(rows.columns) - {*first, _OLD, _NEW}
    return rows.sort([*first, *sorted(others)])


def _index_rows(side: pl.DataFrame, index: str, *, unrepeated: bool) -> pl.LazyFrame:
    rows = side.lazy().select("row").with_row_index(index)
    return rows.filter(pl.col("row").is_unique()) if unrepeated else rows


def _match_rows(
    old: pl.DataFrame,
    new: pl.DataFrame,
    keys: Sequence[str],
    by: Sequence[str],
    columns: Sequence[str],
    rules: Rules,
) -> pl.DataFrame:
    """Row numbers `old` and `new`, one row for each pair; null without a partner.

    `by`: the keys, or the normal forms of those that have rules.
    """
    left, right = old.with_row_index(_OLD), new.with_row_index(_NEW)
    keyed = [side.select(by) for side in (old, new)]
    many = pl.concat([rows.filter(_are_duplicated(rows)) for rows in keyed]).unique()
    single = _join_full(
        left.lazy().join(many.lazy(), on=by, how="anti"),
        right.lazy().join(many.lazy(), on=by, how="anti"),
        by,
    )
    multiple = _pair_multisets(
        left.join(many, on=by, how="semi"),
        right.join(many, on=by, how="semi"),
        keys,
        by,
        columns,
        rules,
    )
    return pl.concat([single, *multiple])


def _repeats(rows: pl.DataFrame, by: Sequence[str]) -> bool:
    """Whether some rows are equal in these columns."""
    if len(by) == 1:
        return rows[by[0]].n_unique() < rows.height
    return rows.n_unique(by) < rows.height


def _are_duplicated(rows: pl.DataFrame) -> pl.Series:
    """Which rows are equal to another one."""
    # Of one column Polars knows it without a copy of each row.
    if rows.width == 1:
        return rows.to_series().is_duplicated()
    return rows.is_duplicated()


def _numbered(rows: pl.DataFrame, by: Sequence[str], name: str) -> pl.LazyFrame:
    """Some columns of rows, and the number of each row."""
    return rows[list(by)].lazy().with_row_index(name)


def _pair_multisets(
    old: pl.DataFrame,
    new: pl.DataFrame,
    keys: Sequence[str],
    by: Sequence[str],
    columns: Sequence[str],
    rules: Rules,
) -> Iterator[pl.DataFrame]:
    """Pair rows under repeated keys: equal rows first, the others in sorted order.

    Rows that also spell their key alike come first, then all of equal bytes, then those
    of equal normal forms. The order is that of normal forms, then of bytes. Where the
    sides are read differently, equal bytes are equal only if their forms are.
    """
    columns = sorted(columns)
    apart = [name for name in columns if not rules.get(name, NO_CHAIN).is_reflexive]
    cells = [*by, *columns, *(_form(name, rules) for name in apart)]
    forms = [*by, *(_form(name, rules) for name in columns)]
    left, right = (
        # Positions within a key follow content, not file order, so the pairs are the
        # same for every order of rows.
        sort_by_content(
            _with_forms(rows, columns, rules_of_side(rules, side)), [*forms, *columns]
        )
        for rows, side in zip((old, new), SIDES, strict=True)
    )
    ways_to_be_equal = ([*cells, *keys], cells, forms)
    # Without rules, several ways name the same columns: each is taken once.
    for same in dict.fromkeys(tuple(dict.fromkeys(way)) for way in ways_to_be_equal):
        # In content order, equal rows are neighbors; spellings of a key are no content.
        equal = _pair_equal_rows(
            left, right, same, ordered={*same} <= {*forms, *columns}
        )
        if equal.is_empty():
            continue
        yield equal
        left, right = (
            side.join(
                equal, left_on=at, right_on=pair, how="anti", maintain_order="left"
            )
            for side, at, pair in ((left, _OLD, "old"), (right, _NEW, "new"))
        )
    yield _join_full(
        _number_within_groups(left, by), _number_within_groups(right, by), [*by, _NTH]
    )


def _pair_equal_rows(
    left: pl.DataFrame, right: pl.DataFrame, same: Sequence[str], *, ordered: bool
) -> pl.DataFrame:
    """Rows that are equal in some columns, the first with the first, and so on.

    `ordered`: whether equal rows of a side are neighbors.
    """
    left, right = left.select(*same, _OLD), right.select(*same, _NEW)
    # Most rows are in no pair, and a hash finds these sooner than a join of texts. Rows
    # of equal cells have equal hashes, so all of a group are kept, or none.
    mine, other = (side.select(same).hash_rows() for side in (left, right))
    left = left.filter(mine.is_in(other.implode()))
    right = right.filter(other.is_in(mine.implode()))
    if left.is_empty() or right.is_empty():
        return NO_PAIRS
    if not ordered:
        left, right = (s.sort(same, maintain_order=True) for s in (left, right))
    return (
        _number_within_groups(left, same)
        .join(_number_within_groups(right, same), on=[*same, _NTH], how="inner")
        .select(old=_OLD, new=_NEW)
        .collect(engine="in-memory")
    )


def _number_within_groups(rows: pl.DataFrame, by: Sequence[str]) -> pl.LazyFrame:
    """The position of a row among the rows with equal `by`, which are neighbors."""
    # A window over each group takes microseconds for each of them, however small it is.
    begins = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(name).shift()) for name in by
    )
    at = pl.int_range(pl.len(), dtype=pl.UInt32)
    first = pl.when(begins | (at == 0)).then(at).forward_fill()
    return rows.lazy().with_columns((at - first).alias(_NTH))


def _join_full(
    old: pl.DataFrame | pl.LazyFrame,
    new: pl.DataFrame | pl.LazyFrame,
    on: Sequence[str],
) -> pl.DataFrame:
    """The full outer join as row numbers, in the order of `old`."""
    return (
        old.lazy()
        .select(*on, _OLD)
        .join(
            new.lazy().select(*on, _NEW),
            on=on,
            how="full",
            coalesce=False,
            maintain_order="left",
        )
        .select(old=_OLD, new=_NEW)
        .collect(engine="in-memory")
    )


def _compare_cells(
    old: pl.DataFrame,
    new: pl.DataFrame,
    pairs: pl.DataFrame,
    columns: Sequence[str],
    rules: Rules,
) -> tuple[pl.DataFrame, list[int], Tallies, dict[str, SumPair]]:
    """Differing cells, tolerated cells by column, tallies, and tolerated sums."""
    numbers, ordinals = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint32)]
    lefts, rights = ([pl.Series(dtype=pl.String)] for _ in range(2))
    tolerated = [0] * len(columns)
    tallies: Tallies = {}
    sums: dict[str, SumPair] = {}
    start, height = 0, pairs.height
    for names, left, right in _paired_columns(old, new, pairs, columns):
        differs = left != right
        for at, name in enumerate(names):
            if name not in rules:
                continue
            unlike = differs[at * height :][:height].arg_true()
            if not rules[name].is_reflexive:
                # Cells of equal bytes may be different.
                unlike = pl.Series(np.arange(height, dtype=np.uint32))
            if unlike.is_empty():
                continue
            places = at * height + unlike
            cells = judge_cells(rules[name], left.gather(places), right.gather(places))
            differs = differs.scatter(places, ~cells.alike)
            tolerated[start + at] = int(cells.tolerated.sum())
            tallies |= {name: cells.tally, **cells.count_wrong_codes(name)}
            sums[name] = cells.sums
        found = np.flatnonzero(differs.to_numpy())
        # The columns are concatenated: the quotient is the column, the remainder the
        # pair.
        numbers.append((found % max(1, height)).astype(np.uint32))
        ordinals.append((start + found // max(1, height)).astype(np.uint32))
        lefts.append(left.filter(differs))
        rights.append(right.filter(differs))
        start += len(names)
    differing = pl.DataFrame(
        {
            "pair": np.concatenate(numbers),
            "column": np.concatenate(ordinals),
            "old": pl.concat(lefts),
            "new": pl.concat(rights),
        }
    )
    return differing, tolerated, tallies, sums


def _paired_columns(
    old: pl.DataFrame, new: pl.DataFrame, pairs: pl.DataFrame, columns: Sequence[str]
) -> Iterator[tuple[list[str], pl.Series, pl.Series]]:
    """The cells of both sides in the order of pairs, some columns at a time.

    Yields the names of columns, and their cells one column after another.
    """
    width = max(1, GATHERED_CELLS // max(1, pairs.height))
    for start in range(0, len(columns), width):
        names = list(columns[start : start + width])
        left, right = (
            pl.concat(side[names][pairs[number]].get_columns())
            for side, number in ((old, "old"), (new, "new"))
        )
        yield names, left, right


def find_differing_pairs(cells: pl.DataFrame, pairs: int) -> NDArray[np.int64]:
    """The pairs that have a differing cell, ascending; `pairs`: how many there are."""
    # Of many cells this takes a tenth of the time of `np.unique`.
    return np.flatnonzero(np.bincount(cells["pair"].to_numpy(), minlength=pairs))


@dataclass(frozen=True, slots=True)
class JudgedCells:
    """Pairs of cells judged by the chain of their column.

    `alike`: which are equal; `tolerated`: which of these differ in bytes. `sums`: of
    the tolerated ones. `wrong`: for sides with a code table, one number: the unequal
    cells whose code is listed.
    """

    alike: pl.Series
    tolerated: pl.Series
    tally: Tally
    sums: SumPair
    wrong: Mapping[str, Tally] = field(default_factory=dict)

    def count_wrong_codes(self, column: str) -> Tallies:
        """The tallies of listed codes that are wrong, by their names."""
        return {wrong_tally(column, side): each for side, each in self.wrong.items()}


def judge_cells(chain: Chain, old: pl.Series, new: pl.Series) -> JudgedCells:
    """Compare cells of a column that has rules."""
    alike, tally, forms = equal_with_forms(chain, old, new, apply_natively)
    tolerated = alike & (old != new)
    every = tolerated.all()
    sum_old, sum_new = (
        totals.sum_read(chain.of(side), texts, forms[side])
        if every
        else totals.sum_read(
            chain.of(side), texts.filter(tolerated), forms[side].filter(tolerated)
        )
        for side, texts in zip(SIDES, (old, new), strict=True)
    )
    wrong = {
        side: np.array([count_codes(chain.of(side), texts.filter(~alike))[:-1].sum()])
        for side, texts in zip(SIDES, (old, new), strict=True)
        if code_table(chain.of(side)) is not None
    }
    return JudgedCells(alike, tolerated, tally, (sum_old, sum_new), wrong)


def count_equal_keys(
    old: pl.DataFrame,
    new: pl.DataFrame,
    pairs: pl.DataFrame,
    keys: Sequence[str],
    rules: Rules,
) -> tuple[int, Tallies]:
    """The pairs whose keys differ in bytes, and which rules made them equal."""
    tallies: Tallies = {}
    unlike = np.zeros(pairs.height, bool)
    for name in keys:
        if name not in rules:
            continue
        left, right = old[name].gather(pairs["old"]), new[name].gather(pairs["new"])
        differs = left != right
        unlike |= differs.to_numpy()
        # What rules read of keys is counted on all rows, by `digests`.
        tally = tallies[name] = no_tally(rules[name].steps)
        if len(tally) == 1:
            # Keys of a pair are equal in the end, so the only rule made them so.
            tally[0, MADE_EQUAL] = differs.sum()
            continue
        _, counted = equal_and_counted(
            rules[name], left.filter(differs), right.filter(differs)
        )
        tally[:, MADE_EQUAL] = counted[:, MADE_EQUAL]
    return int(unlike.sum()), tallies


def _with_forms(
    side: pl.DataFrame, names: Sequence[str], rules: SideRules
) -> pl.DataFrame:
    """Add the normal forms of the columns that have rules."""
    if not any(name in rules for name in names):
        return side
    return side.with_columns(
        normal_column(name, rules).alias(_form(name, rules))
        for name in names
        if name in rules
    )


def _form(name: str, rules: Rules | SideRules) -> str:
    """The column with the normal forms of a column: itself without rules."""
    return f"{_NORMAL}{name}" if name in rules else name
