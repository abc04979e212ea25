"""Columns of two files that belong together by their names."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from recon_engine.name_forms import NameForm, fold_name


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.columns import Frames, Place, Sides


FORMS: Final = ((), (NameForm.TRIM,), (NameForm.CASEFOLD,), tuple(NameForm))


def name_cells(cells: Frames, sides: Sides) -> Frames:
    """Rows under the names of their file, without derived columns."""
    named = []
    for rows, side in zip(cells, sides, strict=True):
        count = len(side.table.columns)
        own = rows.select(rows.columns[:count])
        own.columns = list(side.names[:count])
        named.append(own)
    return named[0], named[1]


def find_name_forms(old: Sequence[str], new: Sequence[str]) -> tuple[NameForm, ...]:
    """The weakest form of names under which most columns have a partner."""

    def common(forms: tuple[NameForm, ...]) -> int:
        folded = [[fold_name(name, forms) for name in side] for side in (old, new)]
        # A form that makes two names of one file equal pairs none of them.
        if any(len(set(side)) < len(side) for side in folded):
            return 0
        return len(set(folded[0]) & set(folded[1]))

    return max(FORMS, key=lambda forms: (common(forms), -len(forms)))


def pair_by_name(
    sides: Sides,
    forms: tuple[NameForm, ...],
    given: Mapping[str, str] = MappingProxyType({}),
) -> tuple[dict[Place, bool], tuple[list[int], list[int]]]:
    """Pairs of columns that may belong together, and those that have no equal name.

    A pair is True if the names are equal, and otherwise of columns without a partner,
    or `given` by their names in OLD and NEW. A given column is in no other pair.
    """
    old, new = (side.names for side in sides)
    places = [{name: at for at, name in enumerate(names)} for names in (old, new)]
    fixed = [
        (places[0][ours], places[1][theirs])
        for ours, theirs in given.items()
        if ours in places[0] and theirs in places[1]
    ]
    taken_old, taken_new = ({pair[side] for pair in fixed} for side in (0, 1))
    theirs = {fold_name(name, forms): at for at, name in enumerate(new)}
    common = [
        (at, theirs[folded])
        for at, name in enumerate(old)
        if at not in taken_old
        and (folded := fold_name(name, forms)) in theirs
        and theirs[folded] not in taken_new
    ]
    paired = [{pair[side] for pair in (*fixed, *common)} for side in (0, 1)]
    alone_old, alone_new = (
        [at for at in range(len(names)) if at not in taken]
        for names, taken in zip((old, new), paired, strict=True)
    )
    # Columns of other names are paired each with each: their values decide.
    pairs = dict.fromkeys(common, True)
    pairs |= {(ours, theirs): False for ours in alone_old for theirs in alone_new}
    return pairs | dict.fromkeys(fixed, False), (alone_old, alone_new)
