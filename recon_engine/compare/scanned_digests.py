"""Digests of files that the native kernel has read, of rows that bytes do not decide.

A filter, a derived column and a rule of the key are about the text of few columns. The
kernel reads both files, and digests the other columns; those few are taken from it for
all rows, and what they say is added to its digests.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.digests import (
    digest_keys,
    find_apart_forms,
    hash_cells,
    make_empty_sample,
    mark_places,
)
from recon_engine.records import dataclass
from recon_engine.rules.chains import Tallies, added
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import Buckets
    from recon_engine.compare.digests import ColumnIds, Seeds
    from recon_engine.inputs.scanned import ScannedFile


# Rows at once, at most, and about the bytes of them: a group takes some milliseconds,
# however small it is.
GROUP_ROWS: Final = 1 << 17
GROUP_BYTES: Final = 1 << 24
# Of the digests of the kernel: key, row, check.
ROW, CHECK, WORDS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class ScannedDigests:
    """The digests of a file in the kernel.

    `name`: that of the strategy without the kernel. `mixed`: the compared columns that
    the kernel does not digest.
    """

    side: str
    names: ColumnIds
    seeds: Seeds
    every: int
    name: str
    mixed: list[str]
    file: ScannedFile
    sampled: list[NDArray[np.uint32]] = field(default_factory=list)
    counted: list[Tallies] = field(default_factory=list)

    def digest_all(self, into: Buckets, advance: Callable[[int], None]) -> None:
        """Digest all rows, and free the digests of the kernel."""
        side = self.file.scanned.side
        words = np.empty((side.facts.rows, WORDS), np.uint64)
        side.kernel.digests(side.pointer, words.ctypes.data)
        side.forget()
        ends = self.file.find_ends()
        row_bytes = int(ends[-1] - ends[0]) // max(1, len(words)) + 1
        size = min(GROUP_ROWS, 1 + GROUP_BYTES // row_bytes)
        groups = (
            (first, words[first : first + size], ends[first : first + size + 1])
            for first in range(0, len(words), size)
        )
        for digests in map_ordered(lambda group: self._digest_group(*group), groups):
            into.add(digests)
            advance(digests.height)

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows."""
        if not self.sampled:
            return make_empty_sample(self.names)
        rows = self.file.take(np.concatenate(self.sampled))
        cells = self.names.read_cells(rows).select(self.names.compared)
        return cells.collect(engine="in-memory")

    def tallies(self) -> Tallies:
        """What the rules of key columns read, and of columns that are read apart."""
        return added(self.counted)

    def _digest_group(
        self, first: int, words: NDArray[np.uint64], ends: NDArray[np.uint64]
    ) -> pl.DataFrame:
        names = self.names
        cells = self._read_text(ends)
        key, is_sampled, tallies = digest_keys(cells, self)
        forms, of_forms = find_apart_forms(cells, self)
        digests = {"row": words[:, ROW], "check": words[:, CHECK]}
        mixed = forms.select(*self.mixed, *forms.columns[cells.width :])
        if mixed.width:
            # Each part has a secret of its own, so rows that differ in both differ.
            digests["row"] ^= hash_cells(mixed, self.seeds.row).to_numpy()
            digests["check"] ^= hash_cells(mixed, self.seeds.check).to_numpy()
        found = pl.DataFrame({**digests, **key})
        found, is_sampled = mark_places(found, is_sampled, cells, names)
        drawn = is_sampled.arg_true().to_numpy().astype(np.uint32)
        self.sampled.append(drawn + np.uint32(first))
        self.counted.append(tallies | of_forms)
        return found

    def _read_text(self, ends: NDArray[np.uint64]) -> pl.DataFrame:
        """The columns that decide by more than their bytes, of some rows."""
        names, prepared = self.names, self.names.prepared
        wanted = dict.fromkeys(
            [*names.keys, *self.mixed, *names.read_apart, *prepared.judged]
        )
        read = [name for name in wanted if name not in prepared.new_names]
        rows = self.file.take_range(ends)
        cells = prepared.with_derived(rows.frame(self._columns, read).lazy())
        return cells.select(*wanted).collect(engine="in-memory")

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns of the file, in its order."""
        return self.names.all[
            : len(self.names.all) - len(self.names.prepared.new_names)
        ]
