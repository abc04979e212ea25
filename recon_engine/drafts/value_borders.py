"""Borders of columns of a fixed width that the values of the other file show.

Two columns may meet without a blank; the values of the other file say where.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.config import FixedColumn
from recon_engine.drafts.columns import MIN_OVERLAP, varied_columns
from recon_engine.drafts.layout import cut_at, find_changes
from recon_engine.drafts.layout_pairs import is_of_one_layout, pair_layouts
from recon_engine.formatting import format_share
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.columns import Sides
    from recon_engine.drafts.layout import Layout
    from recon_engine.drafts.reading import Reading


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


def _split_layout(layout: Layout, sides: Sides, at: int) -> Layout:
    """The layout with columns whose values are in columns of the other file."""
    other = sides[1 - at]
    rows, theirs = sides[at].head, other.head
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
        # Values of one length may begin anywhere: between digits no class changes.
        if len(sizes) == 1 and (size := sizes.pop()) > 1 and layout.width < MOST_WIDTH:
            windows = {(to, to + size) for to in range(layout.width - size + 1)}
        for start, stop in spans | windows:
            folded = [_fold(line[start:stop]) for line in lines]
            count = sum(text in own and text != "" for text in folded)
            if (
                count >= MIN_OVERLAP * len(lines)
                # Few distinct texts fit a column by chance.
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
