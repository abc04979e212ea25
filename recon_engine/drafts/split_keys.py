"""Find a key that one file has in one column and the other in several, by values."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.key_parts import MOST_COLUMNS, MOST_PARTS, SEPARATORS
from recon_engine.analysis.measures import is_measure
from recon_engine.drafts.columns import (
    KEY_RULES,
    CommonValues,
    Values,
    find_weakest_rules,
)
from recon_engine.records import dataclass
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import normal_form


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from recon_engine.drafts.columns import Frames, Sides


# Of the rows: the column of a whole key rarely repeats, and each value has all parts.
LEAST_DISTINCT: Final = 0.98
LEAST_SPLIT: Final = 0.98
# Of the values of a part, in both files; fewer may be by chance.
LEAST_SHARE: Final = 0.5
# How many columns are tried for each part, best first.
MOST_PARTNERS: Final = 3
WIDEST: Final = KEY_RULES[-1]


@dataclass(frozen=True, slots=True)
class SplitKey:
    """How one side derives the key that the other has in several columns.

    `side`: 0 for OLD, 1 for NEW, which has the whole key in one column. `source`: that
    column; `text`: the derivation. `columns`: the places of the parts on the other
    side, `chains`: the rules of each. `matched`: the rows whose keys are on both sides.
    """

    side: int
    source: int
    text: str
    columns: tuple[int, ...]
    chains: tuple[tuple[str, ...], ...]
    matched: int


def find_split_key(
    sides: Sides,
    rows: Frames,
    paired: tuple[Collection[int], Collection[int]],
) -> SplitKey | None:
    """The split of a column that matches most rows; None if it is no key.

    Args:
        sides: OLD and NEW.
        rows: Rows of both with columns `c0`….
        paired: The columns that have the values of a column of the other file.
    """
    found = [
        split
        for side in (0, 1)
        for place, mark, count in _whole_keys(rows[side], paired[side])
        for split in _match_parts(sides, rows, side, place, mark, count)
    ]
    return max(found, key=lambda split: split.matched, default=None)


def _whole_keys(
    rows: pl.DataFrame, paired: Collection[int]
) -> Iterator[tuple[int, str, int]]:
    """Columns that are unique and split into parts: place, separator, parts."""
    tried = 0
    for place, column in enumerate(rows.iter_columns()):
        distinct = column.n_unique() >= LEAST_DISTINCT * rows.height
        if place in paired or not distinct or is_measure(column):
            continue
        for mark in filter(None, SEPARATORS):
            marks = column.str.count_matches(mark, literal=True)
            for count in range(2, MOST_PARTS + 1):
                if (marks == count - 1).sum() >= LEAST_SPLIT * rows.height:
                    yield place, mark, count
                    tried += 1
        if tried >= MOST_COLUMNS:
            return


def _match_parts(
    sides: Sides,
    rows: Frames,
    side: int,
    place: int,
    mark: str,
    count: int,
) -> Iterator[SplitKey]:
    """The columns of the other side that have the values of the parts."""
    texts, others = rows[side][f"c{place}"], rows[1 - side]
    split = texts.alias("").str.split_exact(mark, count - 1).struct.unnest()
    parts = [part.drop_nulls() for part in split.iter_columns()]
    names = sides[1 - side].names
    # A name that both files have is another column.
    free = [
        at
        for at, column in enumerate(others.iter_columns())
        if names[at] not in sides[side].names and not is_measure(column)
    ]
    partners = [_partners(part, others, free) for part in parts]
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
        matched = _count_matched(split, others, columns, chains)
        if matched >= LEAST_SHARE * max(split.height, others.height):
            derived = ",".join(_quote(names[at]) for at in columns)
            source = _quote(sides[side].names[place])
            text = f'{derived}=split({source},"{mark}")'
            yield SplitKey(side, place, text, columns, chains, matched)


def _partners(part: pl.Series, others: pl.DataFrame, free: Sequence[int]) -> list[int]:
    """The columns that have most of the values of a part, best first."""
    values = _read(part.unique(), WIDEST).unique()
    shares = {}
    for at in free:
        theirs = _read(others[f"c{at}"].unique(), WIDEST).unique()
        common = values.is_in(theirs.implode()).sum()
        shares[at] = common / max(1, values.len(), theirs.len())
    best = sorted(free, key=lambda at: -shares[at])
    return [at for at in best if shares[at] >= LEAST_SHARE][:MOST_PARTNERS]


def _count_matched(
    split: pl.DataFrame,
    others: pl.DataFrame,
    columns: Sequence[int],
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
            [others[f"c{at}"] for at in columns],
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
