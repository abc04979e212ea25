"""Two files of which at least one has columns of a fixed width: borders and names.

What the lines of one file do not show, the values of the other can: where two columns
meet without a blank, and how a column is called.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.config import FixedColumn
from recon_engine.drafts.columns import MIN_OVERLAP, varied_columns
from recon_engine.drafts.layout import cut_at, find_changes, is_number, make_layout
from recon_engine.formatting import format_share
from recon_engine.records import dataclass
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.columns import Sides
    from recon_engine.drafts.layout import Layout
    from recon_engine.drafts.reading import Reading


# The padding of a fixed width is no part of a value.
PADDING: Final = {"*": ("trim",)}
# Rows whose parts are searched for among all values of the other file that were read.
SOME_ROWS: Final = 500
# Longer lines have too many parts.
MOST_WIDTH: Final = 500
MOST_CHANGES: Final = 12
# A text may be blank at one place in all rows, which is no border then.
MOST_JOINED: Final = 3


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the lines, and the column of the other file that has its values.

    `count`: in how many lines. `changes`: how many borders it adds or removes.
    """

    start: int
    stop: int
    name: str
    count: int
    changes: int


def is_padded(readings: Sequence[Reading]) -> bool:
    """Whether columns are padded to a width that the other file does not have."""
    old, new = (each.layout for each in readings)
    if old is None or new is None:
        return old is not new
    return _list_places(old) != _list_places(new)


def pair_layouts(readings: Sequence[Reading]) -> list[Reading]:
    """The readings with one layout for lines of one width, and names that differ.

    Columns without a header have the same names on both sides only if they have the
    same places. Otherwise their values show which of them are the same.
    """
    old, new = readings
    if old.layout is None or new.layout is None:
        # The delimiter of a file that has none is that of the other.
        mark = old.delimiter if new.layout else new.delimiter
        return [replace(each, delimiter=mark) for each in readings]
    if old.layout.named or new.layout.named:
        return list(readings)
    ours, theirs = old.layout, new.layout
    if ours.width == theirs.width and _list_places(ours) != _list_places(theirs):
        both = make_layout(ours.shown.merged(theirs.shown))
        if len(both.columns) >= min(len(ours.columns), len(theirs.columns)):
            ours, theirs = (replace(both, shown=each.shown) for each in (ours, theirs))
    if _list_places(ours) != _list_places(theirs):
        first = len(ours.columns) + 1
        names = [f"column_{first + at}" for at in range(len(theirs.columns))]
        theirs = theirs.with_names(names)
    return [old.with_layout(ours), new.with_layout(theirs)]


def split_columns(readings: Sequence[Reading], sides: Sides) -> list[Reading]:
    """The readings with borders that the values of the other file show.

    Args:
        readings: How the files are read.
        sides: Rows of both files, read so.
    """
    if is_of_one_layout(readings):
        return list(readings)
    found = []
    for at, reading in enumerate(readings):
        layout = reading.layout
        if layout is not None:
            layout = _split_layout(layout, sides, at)
        found.append(reading if layout is None else reading.with_layout(layout))
    return list(readings) if found == [*readings] else pair_layouts(found)


def is_of_one_layout(readings: Sequence[Reading]) -> bool:
    """Whether both files have columns at the same places."""
    old, new = (each.layout for each in readings)
    return bool(old and new and _list_places(old) == _list_places(new))


def adopt_names(
    readings: Sequence[Reading],
    renames: Mapping[str, str],
    agreeing: Mapping[str, str],
) -> list[Reading]:
    """The readings with the names of the other file for columns without one.

    Args:
        readings: How the files are read.
        renames: The columns of OLD that have the values of a column of NEW.
        agreeing: How many rows agree, by the name in OLD.
    """
    old, new = readings
    taken: dict[str, str] = {}
    for ours, theirs in renames.items():
        if new.layout is not None and is_number(theirs):
            taken[theirs] = ours
        elif old.layout is not None and is_number(ours):
            taken[ours] = theirs
    shares = {theirs: agreeing.get(ours, "") for ours, theirs in renames.items()}
    shares |= {ours: agreeing.get(ours, "") for ours in renames}
    found = []
    for reading in readings:
        names = [taken.get(name, name) for name in reading.columns]
        usable = reading.layout is not None and len(set(names)) == len(names)
        if not usable or names == list(reading.columns):
            found.append(reading)
            continue
        texts = [
            f"{taken[name]} ({shares[name]})" if shares[name] else taken[name]
            for name in reading.columns
            if name in taken
        ]
        given = f"values agree with those of the other file: {join_names(texts)}"
        assert reading.layout is not None  # noqa: S101 - `usable`
        found.append(reading.with_layout(reading.layout.with_names(names, given)))
    return found


def _list_places(layout: Layout) -> list[tuple[int, int]]:
    return [(each.start, each.stop) for each in layout.columns]


def _split_layout(layout: Layout, sides: Sides, at: int) -> Layout:
    """The layout with columns whose values are in columns of the other file."""
    other = sides[1 - at]
    rows, theirs = sides[at].head(), other.head()
    lines = rows.head(SOME_ROWS).select(pl.concat_str(pl.all())).to_series().to_list()
    values = {
        other.names[place]: {*map(_fold, theirs[f"c{place}"])}
        for place in sorted(varied_columns(other))
    }
    parts = _find_parts(layout, lines, values)
    borders = {each.start for each in layout.columns} - {0}
    kept = {
        border
        for border in borders
        if not any(each.start < border < each.stop for each in parts)
    }
    kept |= {end for each in parts for end in (each.start, each.stop)}
    kept -= {0, layout.width}
    if kept == borders:
        return layout
    reasons = [
        f"{each.start + 1}-{each.stop} have the values of {each.name} in"
        f" {format_share(each.count, len(lines), 'sampled row')}"
        for each in parts
        if not {each.start, each.stop} <= {0, layout.width, *borders}
        or any(each.start < border < each.stop for border in borders)
    ]
    names = {(each.start, each.stop): each.name for each in layout.columns}
    columns = [
        FixedColumn(names.get(span, f"column_{number}"), *span)
        for number, span in enumerate(cut_at(layout.width, sorted(kept)), 1)
    ]
    if not layout.named:
        columns = [
            replace(each, name=f"column_{number}")
            for number, each in enumerate(columns, 1)
        ]
    return layout.with_columns(columns, reasons)


def _find_parts(
    layout: Layout, lines: Sequence[str], values: Mapping[str, set[str]]
) -> list[_Part]:
    """Parts of the lines that are the values of a column of the other file."""
    borders = sorted({0, layout.width, *(each.start for each in layout.columns)})
    ends = sorted({*borders, *find_changes(layout.shown.classes)[:MOST_CHANGES]})
    spans = {
        (start, stop)
        for start, stop in itertools.combinations(ends, 2)
        if sum(start < border < stop for border in borders) < MOST_JOINED
    }
    found = []
    for name, own in values.items():
        sizes = {*map(len, own)} - {0}
        windows = set[tuple[int, int]]()
        if len(sizes) == 1 and (size := sizes.pop()) > 1 and layout.width < MOST_WIDTH:
            windows = {(to, to + size) for to in range(layout.width - size + 1)}
        for start, stop in spans | windows:
            folded = [_fold(line[start:stop]) for line in lines]
            count = sum(text in own and text != "" for text in folded)
            if (
                count >= MIN_OVERLAP * len(lines)
                and 2 * len({*folded}) >= count
                and not any(map(layout.has_mark_at, {start, stop} - {*borders}))
            ):
                crossed = sum(start < border < stop for border in borders)
                new = 2 - len({start, stop} & {*borders})
                found.append(_Part(start, stop, name, count, crossed + new))
    kept: list[_Part] = []
    for each in sorted(found, key=lambda part: (-part.count, part.changes, part.start)):
        if all(
            (each.stop <= other.start or other.stop <= each.start)
            and each.name != other.name
            for other in kept
        ):
            kept.append(each)
    return sorted(
        (_with_zeros(part, lines, borders) for part in kept),
        key=lambda part: part.start,
    )


def _with_zeros(part: _Part, lines: Sequence[str], borders: Sequence[int]) -> _Part:
    """The part with the zeros before it that all lines have."""
    start = part.start
    while start not in borders and all(line[start - 1] == "0" for line in lines):
        start -= 1
    return replace(part, start=start)


def _fold(text: str) -> str:
    """A value without what a layout adds to it."""
    bare = text.strip()
    return bare.lstrip("0") or bare
