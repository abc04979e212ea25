"""Find repeated keys among more rows than are parsed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.digests import make_empty_rows
from recon_engine.compare.pairing import (
    added_keys,
    columns_that_make_unique,
    counted_keys,
    has_repeats,
    hashed_with_key,
    repeated_among,
)
from recon_engine.compare.partial_result import Repeats
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds

    Cells = Callable[[NDArray[np.uint32]], pl.DataFrame]


# The sample that rules most columns out: rows to start with, and its maximum.
FEW: Final = 4_096
MOST_FEW: Final = 1 << 16


def repeats_in_pieces(
    cells: Cells,
    numbers: NDArray[np.uint32],
    names: ColumnIds,
    columns: Iterable[str],
    *,
    piece_rows: int,
    at_once: int,
) -> Repeats:
    """The keys that repeat among rows; `columns` are candidates to make them unique.

    Args:
        cells: Returns all columns of rows, by ascending row numbers.
        numbers: The row numbers.
        names: The columns of the side.
        columns: The candidates.
        piece_rows: How many rows are parsed at once.
        at_once: For how many columns one hash per row is kept at once.

    Hash collisions can only reject a candidate: with 10 million rows, one in 400,000.
    """

    def pieces() -> Iterator[pl.DataFrame]:
        for start in range(0, len(numbers), piece_rows):
            yield cells(numbers[start : start + piece_rows])

    few = _Few(names, max(1, len(numbers) // FEW))
    counts = _added(
        (counted_keys(few.seen(piece), names.keys) for piece in pieces()),
        names,
        piece_rows,
    )
    found = repeated_among(counts, names.keys, names.rules)
    left = columns_that_make_unique(few.rows, names.keys, columns, names.rules)
    telling: list[str] = []
    for start in range(0, len(left), at_once):
        some = left[start : start + at_once]
        telling += _telling(pieces(), len(numbers), names, some)
    return Repeats(found.height, int(found["rows"].sum()), found, frozenset(telling))


class _Few:
    """All rows of a few keys, up to a maximum, among those that pass through."""

    def __init__(self, names: ColumnIds, every: int) -> None:
        self.names = names
        self.every = every
        self.rows = make_empty_rows(names)

    def seen(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Return the piece, and keep some of its rows."""
        if self.rows.is_empty():
            self.rows = piece.head(FEW)
        elif self.rows.height < MOST_FEW:
            # By key: a sample of rows would hardly have two rows of one key.
            drawn = pl.struct(self.names.keys).hash() % self.every == 0
            self.rows = pl.concat([self.rows, piece.filter(drawn)]).head(MOST_FEW)
        return piece


def _added(parts: Iterable[pl.DataFrame], names: ColumnIds, most: int) -> pl.DataFrame:
    """Add counts of keys, whenever as many wait as are added already."""
    waiting = [counted_keys(make_empty_rows(names), names.keys)]
    for part in parts:
        waiting.append(part)
        # What waits is at most as large as what was added, so memory stays within twice
        # the result, and a count is added a logarithmic number of times.
        if sum(each.height for each in waiting[1:]) > max(waiting[0].height, most):
            waiting = [added_keys(waiting, names.keys)]
    return added_keys(waiting, names.keys)


def _telling(
    pieces: Iterable[pl.DataFrame], rows: int, names: ColumnIds, columns: list[str]
) -> list[str]:
    """Which of these columns are unique together with the key."""
    hashes = {name: np.empty(rows, np.uint64) for name in columns}
    start = 0
    for piece in pieces:
        for name, into in hashes.items():
            hashed = hashed_with_key(piece, names.keys, name, names.rules)
            into[start : start + piece.height] = hashed.to_numpy()
        start += piece.height
    return [name for name in columns if not has_repeats(pl.Series(hashes.pop(name)))]
