"""Two files of which at least one has columns of a fixed width: one layout, and names.

What the lines of one file do not show, those of the other can. Polars is not imported
here: files are opened before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.drafts.layout import is_number, make_layout
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.layout import Layout
    from recon_engine.drafts.reading import Reading


# The padding of a fixed width is no part of a value.
PADDING: Final = {"*": ("trim",)}


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
        # A place is blank in all rows of both files or it is no border, so there may be
        # fewer columns.
        both = make_layout(ours.shown.merged(theirs.shown))
        if len(both.columns) >= min(len(ours.columns), len(theirs.columns)):
            ours, theirs = (replace(both, shown=each.shown) for each in (ours, theirs))
    if _list_places(ours) != _list_places(theirs):
        first = len(ours.columns) + 1
        names = [f"column_{first + at}" for at in range(len(theirs.columns))]
        theirs = theirs.with_names(names)
    return [old.with_layout(ours), new.with_layout(theirs)]


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
