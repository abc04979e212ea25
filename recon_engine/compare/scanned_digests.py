"""Digests of files that the native kernel has read, of rows that bytes do not decide.

A filter, a derived column and a rule of the key are about the text of few columns. The
kernel reads both files, and digests the other columns; those few are taken from it for
all rows, and what they say is added to its digests.
"""

from __future__ import annotations

import ctypes
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

import polars as pl

from recon_engine.compare.digests import (
    digest_keys,
    find_apart_forms,
    hash_cells,
    make_empty_sample,
    mark_places,
)
from recon_engine.errors import InternalError
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.forms import describe_reading
from recon_engine.records import dataclass
from recon_engine.rules.chains import READ, Tallies, added, no_tally
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.buckets import Buckets
    from recon_engine.compare.digests import ColumnIds, Seeds
    from recon_engine.inputs.native.binding import Reading
    from recon_engine.inputs.scanned import GatheredRows, ScannedFile
    from recon_engine.runtime.progress import Progress


# Of the digests of the kernel: key, row, check.
ROW, CHECK, WORDS = 1, 2, 3


class SideDigests(Protocol):
    """A side that the kernel has read, and that digests itself."""

    @property
    def side(self) -> str: ...
    @property
    def file(self) -> ScannedFile: ...

    def digest_groups(self) -> Iterator[pl.DataFrame]:
        """The digests of all rows, group by group."""
        ...


def digest_sides(
    sides: Sequence[SideDigests], buckets: Sequence[Buckets], progress: Progress
) -> None:
    """Digest both sides at once, with a step of progress for each."""

    def digest(pair: tuple[SideDigests, Buckets]) -> None:
        side, into = pair
        rows = side.file.scanned.side.facts.rows
        with progress.step(f"digest {side.side}", total=rows) as advance:
            for digests in side.digest_groups():
                into.add(digests)
                advance(digests.height)

    for _ in map_ordered(digest, zip(sides, buckets, strict=True)):
        pass


@dataclass(frozen=True, slots=True)
class ScannedDigests:
    """The digests of a file in the kernel.

    `name`: that of the strategy without the kernel. `mixed`: the columns of the key and
    the compared ones that the kernel does not digest. `random`: the secret of the forms
    of columns, the same for both sides.
    """

    side: str
    names: ColumnIds
    seeds: Seeds
    every: int
    name: str
    mixed: list[str]
    file: ScannedFile
    random: bytes
    sampled: list[NDArray[np.uint32]] = field(default_factory=list)
    counted: list[Tallies] = field(default_factory=list)

    def digest_groups(self) -> Iterator[pl.DataFrame]:
        """The digests of all rows, group by group; those of the kernel are freed."""
        side = self.file.scanned.side
        words = np.empty((side.facts.rows, WORDS), np.uint64)
        side.kernel.digests(side.pointer, words.ctypes.data)
        side.forget()
        groups = (
            (first, words[first : first + len(ends) - 1], ends)
            for first, ends in self.file.ranges()
        )
        return map_ordered(lambda group: self._digest_group(*group), groups)

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
        rows = self.file.take_range(ends)
        readings = self._describe_apart()
        by_kernel = self._mix_forms(rows, readings, words)
        cells = self._read_text(rows, readings)
        key, is_sampled, tallies = digest_keys(cells, self)
        forms, of_forms = find_apart_forms(cells, self, readings)
        digests = {"row": words[:, ROW], "check": words[:, CHECK]}
        # `find_apart_forms` appends the forms behind the cells.
        mixed = forms.select(*self.mixed, *forms.columns[cells.width :])
        if mixed.width:
            # Each part has a secret of its own, so rows that differ in both differ.
            digests["row"] ^= hash_cells(mixed, self.seeds.row).to_numpy()
            digests["check"] ^= hash_cells(mixed, self.seeds.check).to_numpy()
        found = pl.DataFrame({**digests, **key})
        found, is_sampled, aside = mark_places(found, is_sampled, cells, self)
        drawn = is_sampled.arg_true().to_numpy().astype(np.uint32)
        self.sampled.append(drawn + np.uint32(first))
        self.counted.append(tallies | of_forms | by_kernel | aside)
        return found

    def _describe_apart(self) -> dict[str, Reading]:
        """How the kernel reads columns that are read apart, for those that it can."""
        names = self.names
        # Keys are read as text, by `digest_keys`.
        in_file = {*self._columns} - {*names.keys}
        return {
            name: reading
            for name in names.read_apart
            if name in in_file and len(rules := names.chains[name].of(self.side)) == 1
            for reading in [describe_reading(rules[0])]
            if reading is not None
        }

    def _mix_forms(
        self,
        rows: GatheredRows,
        readings: Mapping[str, Reading],
        words: NDArray[np.uint64],
    ) -> Tallies:
        """Mix the forms of these columns into the digests; what rules read of them."""
        if not readings:
            return {}
        columns = binding.make_numbers([self._columns.index(n) for n in readings])
        how = [*map(ctypes.pointer, readings.values())]
        counts = (ctypes.c_uint64 * (2 * len(how)))()
        mixed = rows.kernel.digest_forms(
            ctypes.byref(rows.raw),
            rows.rows,
            len(how),
            columns,
            (ctypes.POINTER(binding.Reading) * len(how))(*how),
            self.random,
            words.ctypes.data,
            counts,
        )
        if not mixed:
            raise InternalError("the native kernel could not split rows it had read")
        found = {}
        for at, name in enumerate(readings):
            steps = self.names.chains[name].steps
            found[name] = no_tally(steps)
            for row, step in zip(found[name], steps, strict=True):
                if step.of(self.side) is not None:
                    row[READ[self.side]] = counts[2 * at : 2 * at + 2]
        return found

    def _read_text(self, rows: GatheredRows, but: Collection[str]) -> pl.DataFrame:
        """The columns that decide by more than their bytes, of some rows.

        `but`: those of them that are digested already.
        """
        names, prepared = self.names, self.names.prepared
        apart = [name for name in names.read_apart if name not in but]
        wanted = dict.fromkeys([*names.keys, *self.mixed, *apart, *prepared.judged])
        read = [name for name in wanted if name not in prepared.new_names]
        cells = prepared.with_derived(rows.frame(self._columns, read).lazy())
        return cells.select(*wanted).collect(engine="in-memory")

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns of the file, in its order."""
        return self.names.all[
            : len(self.names.all) - len(self.names.prepared.new_names)
        ]
