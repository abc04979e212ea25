"""The places of rows that the native kernel has matched by their bytes.

Where both sides are prepared alike, from columns that are compared by their bytes, rows
of equal bytes have equal derived columns and one place. So the kernel matches all rows
as if none was prepared. The place of each row is found afterwards, from the text of a
few columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from recon_engine.compare.preparation import Place, with_places
from recon_engine.inputs.scanned import DIGESTS, PAIRED, REPEATED, UNMATCHED
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.inputs.scanned import MatchedFiles, ScannedFile


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """The `Place` (u8) of each row of a file.

    `blank_keys`: the number of kept rows whose key has a blank.
    """

    places: NDArray[np.uint8]
    blank_keys: int


@dataclass(frozen=True, slots=True)
class PlacedFiles:
    """Both files, matched by their bytes, and the places of their rows."""

    matched: MatchedFiles
    sides: tuple[PlacedRows, PlacedRows]

    def take_repeated(self, at: int) -> pl.DataFrame:
        """The digests of the rows of a side whose keys repeat, with their places."""
        digests = self.matched.take_digests(REPEATED[at])
        places = self.sides[at].places[digests["number"].to_numpy()]
        marked = with_places(digests["check"], pl.Series(places))
        return digests.with_columns(marked.alias("check"))

    def find_listed(self) -> tuple[list[pl.DataFrame], list[int]]:
        """The digests of the other rows that are not identical, for each side.

        Without those that fail the filter and have no partner that does not: these are
        left out, and counted.
        """
        pairs = [self.matched.digests(which) for which in PAIRED]
        alone = [self.matched.digests(which) for which in UNMATCHED]
        fail = [self._find_failing(at, rows) for at, rows in enumerate(pairs)]
        listed, left_out = [], []
        for at, (ours, theirs) in enumerate(zip(pairs, alone, strict=True)):
            # The lists of pairs have one order, so a place is a pair. It is left out
            # only if both of its rows fail.
            kept = ours.filter(~(fail[0] & fail[1]))
            others = theirs.filter(~self._find_failing(at, theirs))
            listed.append(pl.concat([kept, others]))
            left_out.append(ours.height + theirs.height - listed[at].height)
        return listed, left_out

    def _find_failing(self, at: int, rows: pl.DataFrame) -> NDArray[np.bool_]:
        places = self.sides[at].places[rows["number"].to_numpy()]
        found: NDArray[np.bool_] = places == Place.FAILING
        return found

    def find_unkept(self, at: int) -> pl.DataFrame:
        """The `number`s of identical rows that are not kept, with the `place` of each.

        Both rows of a pair have the same place. Callable before `take_repeated`.
        """
        places = self.sides[at].places
        unkept = places != Place.KEPT
        if unkept.any():
            # A row that is in no list of the kernel is identical to its partner.
            for which in (PAIRED[at], UNMATCHED[at], REPEATED[at]):
                unkept[self.matched.numbers(which)] = False
        numbers = np.flatnonzero(unkept)
        return pl.DataFrame({"number": numbers, "place": places[numbers]})

    def keep(self, at: int, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of some rows of a side that are kept, by their `number`."""
        return rows.filter(
            self.sides[at].places[rows["number"].to_numpy()] == Place.KEPT
        )


def find_places(matched: MatchedFiles, names: Sequence[ColumnIds]) -> PlacedFiles:
    """The places of all rows of both files, which are read once more for it."""
    old, new = map_ordered(
        lambda side: _find_side_places(*side), zip(matched.sides, names, strict=True)
    )
    return PlacedFiles(matched, (old, new))


def as_unpairable(numbers: pl.Series) -> pl.DataFrame:
    """Rows by their numbers as digests, none of which finds a partner."""
    frame = numbers.cast(DIGESTS["number"]).to_frame("number")
    # No digest of these rows is used: their places are found again from their cells,
    # and without a partner they may be in any group of keys.
    zeros = (pl.lit(0, kind).alias(n) for n, kind in DIGESTS.items() if n != "number")
    return frame.with_columns(zeros).select(*DIGESTS)


def _find_side_places(file: ScannedFile, names: ColumnIds) -> PlacedRows:
    prepared, facts = names.prepared, file.scanned.side.facts
    count = len(names.all) - len(prepared.new_names)
    # Keys are read only if one has a blank: few files have such keys.
    wanted = dict.fromkeys(
        [*prepared.judged, *(names.keys if facts.blank_keys else ())]
    )
    read = [name for name in wanted if name not in prepared.new_names]

    def place_group(ends: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], int]:
        frame = file.take_range(ends).frame(names.all[:count], read).lazy()
        cells = prepared.with_derived(frame).select(*wanted).collect(engine="in-memory")
        places = prepared.find_places(cells)
        kept = cells.filter(places == Place.KEPT)
        blank = pl.any_horizontal(pl.col(names.keys) == "")
        return (
            places.to_numpy(),
            kept.select(blank.sum()).item() if facts.blank_keys else 0,
        )

    found = [*map_ordered(place_group, (ends for _, ends in file.ranges()))]
    places = np.concatenate([np.empty(0, np.uint8), *(each for each, _ in found)])
    return PlacedRows(places, sum(blanks for _, blanks in found))
