"""Find a key that one file has in one column and the other in several, by values.

The parts may be joined by a separator, or without one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.key_parts import MOST_COLUMNS, MOST_PARTS, SEPARATORS
from recon_engine.analysis.measures import is_measure
from recon_engine.drafts.columns import (
    WIDEST,
    CommonValues,
    Values,
    find_weakest_rules,
)
from recon_engine.model import NEW, OLD
from recon_engine.name_forms import fold_name
from recon_engine.records import dataclass
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import normal_form


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from recon_engine.drafts.columns import Frames, Place, Sides
    from recon_engine.name_forms import NameForm


# Of the rows: the column of a whole key rarely repeats, and each value has all parts.
LEAST_DISTINCT: Final = 0.98
LEAST_SPLIT: Final = 0.98
# Of the values of a part, in both files; fewer may be by chance.
LEAST_SHARE: Final = 0.5
# How far the mean length of joined columns may be from that of the whole key.
MOST_PADDING: Final = 2.0
# How many values show where letters meet digits, and how many places are tried.
SOME_VALUES: Final = 500
MOST_PLACES: Final = 6
# How many columns are tried for each part, best first.
MOST_PARTNERS: Final = 3


@dataclass(frozen=True, slots=True)
class SplitKey:
    """How one side derives the key columns that the other has.

    `side`: 0 for OLD, 1 for NEW, which derives. `sources`: the places of the columns
    that it derives from; `texts`: the derivations. `columns`: the places of what is
    derived on the other side, `chains`: the rules of each. `matched`: the rows whose
    keys are on both sides.
    """

    side: int
    sources: tuple[int, ...]
    texts: tuple[str, ...]
    columns: tuple[int, ...]
    chains: tuple[tuple[str, ...], ...]
    matched: int


@dataclass(frozen=True, slots=True)
class _Whole:
    """A column that may be a whole key, and the rows of both sides.

    `free`: the columns of the other side that may be its parts; `forms`: their distinct
    values under the widest rules. `match_names`: the form in which names are equal.
    """

    sides: Sides
    rows: Frames
    side: int
    place: int
    free: tuple[int, ...]
    forms: Mapping[int, pl.Series]
    match_names: tuple[NameForm, ...]

    @property
    def texts(self) -> pl.Series:
        """The whole keys."""
        return self.rows[self.side][f"c{self.place}"]

    @property
    def name(self) -> str:
        """The name of the column, as a derivation has it."""
        return _quote(self.sides[self.side].names[self.place])

    @property
    def new_name(self) -> str:
        """The name of the whole key on the other side, which derives it; "" if none.

        Only OLD can give a column of NEW another name.
        """
        own = self.sides[self.side].names[self.place]
        free = self._rename_taken(own, 1 - self.side, "WHOLE")
        return "" if free != own and self.side == OLD else _quote(free)

    @property
    def others(self) -> pl.DataFrame:
        """The rows of the other side."""
        return self.rows[1 - self.side]

    def names(self, columns: Sequence[int]) -> list[str]:
        """The names of columns of the other side, as a derivation has them."""
        return [_quote(self.sides[1 - self.side].names[at]) for at in columns]

    def new_names(self, columns: Sequence[int]) -> list[str]:
        """The names of parts on the side of the whole key; none if it cannot have them.

        Only OLD can give a column of NEW another name.
        """
        names = [self.sides[1 - self.side].names[at] for at in columns]
        free = [self._rename_taken(name, self.side, "PART") for name in names]
        return [] if free != names and self.side == NEW else [*map(_quote, free)]

    def _rename_taken(self, name: str, side: int, suffix: str) -> str:
        """The name, or another if the side has a column of this name."""
        taken = {fold_name(each, self.match_names) for each in self.sides[side].names}
        free, number = name, 1
        while fold_name(free, self.match_names) in taken:
            free = f"{name}_{suffix}" + (f"_{number}" if number > 1 else "")
            number += 1
        return free


def find_split_key(
    sides: Sides,
    rows: Frames,
    paired: tuple[Collection[int], Collection[int]],
    match_names: tuple[NameForm, ...] = (),
) -> SplitKey | None:
    """The split of a column that matches most rows; None if it is no key.

    The parts of a column are between separators, or have a constant length, or are
    digits beside letters. If they are none of these, the columns of the other side are
    joined.

    Args:
        sides: OLD and NEW.
        rows: Rows of both with columns `c0`….
        paired: The columns that have the values of a column of the other file.
        match_names: The form in which names are equal.
    """
    wholes = [
        whole
        for side in (0, 1)
        for whole in _find_wholes(sides, rows, side, paired, match_names)
    ]
    for find in (_split_at_marks, _slice_at_places, _join_parts):
        found = [split for whole in wholes for split in find(whole)]
        if found:
            return max(found, key=lambda split: split.matched)
    return None


def _find_wholes(
    sides: Sides,
    rows: Frames,
    side: int,
    paired: tuple[Collection[int], Collection[int]],
    match_names: tuple[NameForm, ...],
) -> list[_Whole]:
    """Columns of a side that are unique, and may be the whole of others."""
    names, other = (
        [fold_name(name, match_names) for name in sides[at].names]
        for at in (side, 1 - side)
    )
    able = [
        at
        for at, column in enumerate(rows[1 - side].iter_columns())
        if at not in paired[1 - side] and not is_measure(column)
    ]
    places = [
        place
        for place, column in enumerate(rows[side].iter_columns())
        if place not in paired[side]
        and column.n_unique() >= LEAST_DISTINCT * column.len()
        and not is_measure(column)
    ][:MOST_COLUMNS]
    # A name that both files have is another column. Only a whole key may have the name
    # of its first part.
    free = {
        place: tuple(
            at for at in able if other[at] not in names or other[at] == names[place]
        )
        for place in places
    }
    forms = {
        at: _read(rows[1 - side][f"c{at}"].unique(), WIDEST).unique()
        for at in sorted({at for each in free.values() for at in each})
    }
    return [
        _Whole(sides, rows, side, place, free[place], forms, match_names)
        for place in places
    ]


def _split_at_marks(whole: _Whole) -> Iterator[SplitKey]:
    """The splits at a separator that nearly all values have."""
    texts = whole.texts
    for mark in filter(None, SEPARATORS):
        marks = texts.str.count_matches(mark, literal=True)
        for count in range(2, MOST_PARTS + 1):
            if (marks == count - 1).sum() < LEAST_SPLIT * texts.len():
                continue
            split = texts.alias("").str.split_exact(mark, count - 1).struct.unnest()
            for columns, chains, matched in _match_parts(whole, split):
                derived = ",".join(whole.new_names(columns))
                text = f'{derived}=split({whole.name},"{mark}")'
                if derived:
                    yield SplitKey(
                        whole.side, (whole.place,), (text,), columns, chains, matched
                    )


def _slice_at_places(whole: _Whole) -> Iterator[SplitKey]:
    """The splits at the same place of all values."""
    texts = whole.texts
    places = _find_places(whole)
    cuts = [
        each
        # At most 6 places and 3 parts: 21 cuts.
        for count in range(1, MOST_PARTS)
        for each in itertools.combinations(places, count)
    ]
    for cut in cuts:
        starts, ends = (0, *cut), (*cut, None)
        spans = [*zip(starts, ends, strict=True)]
        split = pl.DataFrame(
            [
                texts.str.slice(start, None if end is None else end - start).alias(
                    f"f{start}"
                )
                for start, end in spans
            ]
        )
        for columns, chains, matched in _match_parts(whole, split):
            derived = whole.new_names(columns)
            if not derived:
                continue
            made = [
                f"{name}=slice({whole.name},{start + 1}{_show_end(end)})"
                for name, (start, end) in zip(derived, spans, strict=True)
            ]
            yield SplitKey(
                whole.side, (whole.place,), tuple(made), columns, chains, matched
            )


def _show_end(end: int | None) -> str:
    return "" if end is None else f",{end}"


def _find_places(whole: _Whole) -> list[int]:
    """Where all values may be cut: behind as many characters, or before as many."""
    texts = whole.texts
    sizes = texts.str.len_chars()
    least, most = sizes.min(), sizes.max()
    if not isinstance(least, int) or not isinstance(most, int):
        return []
    found = set[int]()
    for at in whole.free:
        own = whole.others[f"c{at}"].str.len_chars()
        size = own.min()
        if isinstance(size, int) and size == own.max():
            found |= {size, most - size} if least == most else {size}
    sample = texts.head(SOME_VALUES).to_list()
    kinds = [{_kind(text[at]) for text in sample} for at in range(least)]
    found |= {
        at
        for at in range(1, least)
        if len(kinds[at - 1]) == len(kinds[at]) == 1 and kinds[at - 1] != kinds[at]
    }
    return sorted(at for at in found if 0 < at < least)[:MOST_PLACES]


def _kind(char: str) -> str:
    return "digit" if char.isdigit() else "letter" if char.isalpha() else char


def _join_parts(whole: _Whole) -> Iterator[SplitKey]:
    """Columns of the other side whose values, one after the other, are the whole.

    A separator is between them if nearly all values of the whole have it.
    """
    if not whole.new_name:
        return
    texts, others = whole.texts, whole.others
    wanted = Values(texts.unique())
    sizes = {at: others[f"c{at}"].str.len_chars().mean() or 0 for at in whole.free}
    size = texts.str.len_chars().mean() or 0
    few = whole.free[:MOST_COLUMNS]
    marked = {
        mark: int(texts.str.contains(mark, literal=True).sum())
        for mark in filter(None, SEPARATORS)
    }
    marks = [mark for mark, rows in marked.items() if rows >= LEAST_SPLIT * texts.len()]
    for count in range(2, MOST_PARTS + 1):
        for mark, columns in itertools.product(
            (*marks, ""), itertools.permutations(few, count)
        ):
            # The two keys have nearly all values in common, so nearly one length.
            # Through text for the type checker: the mean of a column may be of other
            # types.
            total = sum(float(str(sizes[at])) for at in columns)
            total += (count - 1) * len(mark)
            if abs(total - float(str(size))) > MOST_PADDING:
                continue
            joined = others.select(
                pl.concat_str([f"c{at}" for at in columns], separator=mark).alias("p0")
            )
            if joined["p0"].n_unique() < LEAST_DISTINCT * joined.height:
                continue
            found = find_weakest_rules(Values(joined["p0"].unique()), wanted, WIDEST)
            if found is None or found[0] < LEAST_SHARE:
                continue
            chains = (found[1],)
            matched = _count_matched(texts.to_frame(), joined, ("p0",), chains)
            if matched >= LEAST_SHARE * max(texts.len(), joined.height):
                sources = ",".join(whole.names(columns))
                text = f'{whole.new_name}=join({sources},"{mark}")'
                yield SplitKey(
                    1 - whole.side, columns, (text,), (whole.place,), chains, matched
                )


def _match_parts(
    whole: _Whole, split: pl.DataFrame
) -> Iterator[tuple[tuple[int, ...], tuple[tuple[str, ...], ...], int]]:
    """The columns of the other side that have the values of the parts."""
    others = whole.others
    parts = [part.drop_nulls() for part in split.iter_columns()]
    partners = [_partners(part, whole) for part in parts]
    for columns in itertools.product(*partners):
        if len(set(columns)) < len(columns):
            continue
        chains = tuple(
            found[1] if found else ()
            for part, at in zip(parts, columns, strict=True)
            for found in [
                find_weakest_rules(
                    Values(part.unique()), Values(others[f"c{at}"].unique()), WIDEST
                )
            ]
        )
        names = [f"c{at}" for at in columns]
        matched = _count_matched(split, others, names, chains)
        if matched >= LEAST_SHARE * max(split.height, others.height):
            yield columns, chains, matched


def _partners(part: pl.Series, whole: _Whole) -> list[int]:
    """The columns that have most of the values of a part, best first."""
    values = _read(part.unique(), WIDEST).unique()
    shares = {}
    for at in whole.free:
        theirs = whole.forms[at]
        most = max(1, values.len(), theirs.len())
        # As many values in common as the shorter list has are too few.
        if min(values.len(), theirs.len()) >= LEAST_SHARE * most:
            shares[at] = values.is_in(theirs.implode()).sum() / most
    best = sorted(shares, key=lambda at: -shares[at])
    return [at for at in best if shares[at] >= LEAST_SHARE][:MOST_PARTNERS]


def _count_matched(
    split: pl.DataFrame,
    others: pl.DataFrame,
    columns: Sequence[str],
    chains: Sequence[Sequence[str]],
) -> int:
    """The number of keys on both sides; 0 if they repeat on one."""
    keys = [
        pl.DataFrame(
            [
                _read(column, chain).alias(f"p{at}")
                for at, (column, chain) in enumerate(zip(read, chains, strict=True))
            ]
        )
        for read in (
            [*split.fill_null("").iter_columns()],
            [others[name] for name in columns],
        )
    ]
    if any(each.n_unique() < LEAST_DISTINCT * each.height for each in keys):
        return 0
    return keys[0].unique().join(keys[1], on=keys[0].columns, how="semi").height


def _read(texts: pl.Series, chain: Sequence[str]) -> pl.Series:
    form = normal_form(chain_of(*chain).of("old"), pl.col("v"))
    return texts.alias("v").to_frame().select(form).to_series()


def _quote(name: str) -> str:
    return command_line.quote_name(name, ",=()")


def list_parts(split: SplitKey, first: int) -> list[CommonValues]:
    """The parts as pairs of columns; `first`: the place of the first derived column."""
    found = []
    for at, (place, chain) in enumerate(zip(split.columns, split.chains, strict=True)):
        pair = (first + at, place) if split.side == 0 else (place, first + at)
        found.append(CommonValues(*pair, 1.0, chain))
    return found


def pair_parts(
    pairs: Mapping[Place, bool], parts: Sequence[CommonValues]
) -> dict[Place, bool]:
    """The pairs with those of a derived key, whatever the names of its parts are.

    A column that a part takes from another of the same name is in no other pair.
    """
    others = [
        (each.old, each.new)
        for each in parts
        if not pairs.get((each.old, each.new), False)
    ]
    old, new = ({pair[side] for pair in others} for side in (0, 1))
    kept = {
        (ours, theirs): same
        for (ours, theirs), same in pairs.items()
        if ours not in old and theirs not in new
    }
    return kept | dict.fromkeys(others, False)
