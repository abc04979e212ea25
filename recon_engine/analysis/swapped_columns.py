"""Find two columns whose values are in each other's place in one of the files."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from recon_engine import command_line
from recon_engine.formatting import format_share
from recon_engine.model import Hint, HintKind


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.model import Cell


# Two values may be in each other's place by chance in a few rows.
LEAST_ROWS: Final = 20
# At most 1 in 20 of the rows in which one of the columns differs is anything else.
MOST_OTHERS_ONE_IN: Final = 20


def find_swapped(
    rows: Sequence[Mapping[str, Cell]],
    differing: Mapping[str, int],
    matched: int,
    new_names: Mapping[str, str],
    renames: Mapping[str, str],
) -> Iterator[Hint]:
    """Pairs of columns that `--map A=B,B=A` would make equal.

    Args:
        rows: The differing cells of the listed rows, by column. They are counted.
        differing: The differing cells of each column, of all rows.
        matched: The number of matched rows.
        new_names: What NEW calls columns whose names differ.
        renames: The names that `--map` gives now: a column is mapped once, so the
            proposed map replaces those of the two columns.

    A column is proposed only if it differs in most rows: in the others the swap would
    make equal cells different.
    """
    often = {name for name, cells in differing.items() if 2 * cells >= matched}
    if len(often) <= 1:
        return
    swapped, touched = Counter[tuple[str, str]](), Counter[str]()
    for cells in rows:
        touched.update(cells.keys())
        places = {(cell.old, cell.new): name for name, cell in cells.items()}
        for name, cell in cells.items():
            other = places.get((cell.new, cell.old or ""))
            if other is not None and name < other:
                swapped[name, other] += 1
    for (one, other), count in sorted(swapped.items()):
        total = max(touched[one], touched[other])
        others = MOST_OTHERS_ONE_IN * (total - count)
        if count >= LEAST_ROWS and others <= total and {one, other} <= often:
            share = format_share(count, total, "listed row")
            swap = {
                ours: new_names.get(theirs, theirs)
                for ours, theirs in ((one, other), (other, one))
            }
            renamed = one in new_names or other in new_names
            reverse = f"{other} is {swap[other]}" if renamed else "the reverse"
            given = {name: renames[name] for name in swap if name in renames}
            instead = f"; in place of {command_line.map_flags(given)}" if given else ""
            yield Hint(
                kind=HintKind.RENAME,
                column=one,
                flag=command_line.map_flags(swap),
                count=count,
                total=total,
                text=f"{one} of OLD is {swap[one]} of NEW, and {reverse}, in {share}"
                f"{instead}",
            )
