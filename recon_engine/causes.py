"""Why two tables differ: what the rows that do tell, under the names of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import hints, patterns, segments, totals
from recon_engine.parallel import in_order


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recon_engine.alignment import Alignment
    from recon_engine.compare import Difference
    from recon_engine.digest import Names
    from recon_engine.model import Hint, Patterns, Segment, Total
    from recon_engine.segments import Of, Values
    from recon_engine.totals import Sums


OLD, NEW = 0, 1
SIDE_OF: Final[Mapping[Of, int]] = {"mismatched": OLD, "missing": OLD, "extra": NEW}


@dataclass(frozen=True, slots=True)
class Causes:
    """Patterns, totals, segments and hints of one reconciliation."""

    patterns: tuple[Patterns, ...]
    totals: tuple[Total, ...]
    segments: tuple[Segment, ...]
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What one column tells: its `changes`, as `patterns` has them, if it differs."""

    name: str
    ordinal: int
    changes: pl.DataFrame | None
    hints: list[Hint]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Evidence:
    """What causes are found in.

    `names`: of the columns of OLD in `found`; `samples`: of all rows of OLD and NEW;
    `repeated`: how many keys repeat, on both sides; `telling`: the column with which
    none would.
    """

    names: Names
    layout: Alignment
    found: Difference
    samples: tuple[pl.DataFrame, pl.DataFrame]
    repeated: int
    telling: str | None

    def causes(self) -> Causes:
        """Everything that can be told."""
        told = list(in_order(lambda column: self.told(*column), self.columns()))
        changes = [
            (each.name, each.ordinal, each.changes)
            for each in told
            if each.changes is not None
        ]
        found, keys = self.found, self.layout.keys
        shown = patterns.patterns(changes, found.cells, found.keys, keys)
        rules = (hint for each in told for hint in each.hints)
        return Causes(
            tuple(shown) if changes else (),
            tuple(self.totals(told)),
            tuple(self.segments()),
            (*self.hints(), *sorted(rules, key=lambda hint: -hint.total)),
        )

    def columns(self) -> Iterator[tuple[str, int, pl.DataFrame | None]]:
        """Name, ordinal and differing cells of each column, in OLD's order."""
        by_column = self.found.cells.partition_by("column", as_dict=True)
        ordinals = {name: at for at, name in enumerate(sorted(self.layout.columns))}
        for name in self.layout.columns:
            yield name, ordinals[name], by_column.pop((ordinals[name],), None)

    def told(self, name: str, ordinal: int, cells: pl.DataFrame | None) -> Told:
        """What the column that people call `name` tells."""
        ours, found = self.names.columns[ordinal], self.found
        sums = found.sums.get(ours, totals.NO_CELLS)
        changes: pl.DataFrame | None = None
        helps: list[Hint] = []
        if cells is not None:
            changes = patterns.changes(cells)
            sums = totals.both(sums, totals.of_changes(changes))
            helps = hints.for_column(name, changes, self.layout.rules.get(name, ()))
        return Told(name, ordinal, changes, helps, sums)

    def totals(self, told: Iterable[Told]) -> Iterator[Total]:
        """The control totals of the columns that have some."""
        names = self.names.columns
        written = [totals.forms(rows.select(names)) for rows in self.samples]
        lone = [
            totals.of_rows(rows.select(names))
            for rows in (self.found.missing, self.found.extra)
        ]
        for each in told:
            ours = names[each.ordinal]
            one, other = (sums[ours] for sums in lone)
            old, new = (forms[ours] for forms in written)
            total = totals.total(each.name, each.sums, (one, other), (old, new))
            if total is not None:
                yield total

    def segments(self) -> Iterator[Segment]:
        """What the mismatched, the missing and the extra rows have in common."""
        people = dict(zip(self.names.compared, self.people, strict=True))
        for of, values in self.values().items():
            sample = self.samples[SIDE_OF[of]]
            yield from segments.segments(of, values, sample, people)

    def values(self) -> dict[Of, Values]:
        """How often each value is there, for each way in which rows differ."""
        missing, extra = (
            segments.counted(rows.select(self.names.compared), every)
            for rows in (self.found.missing, self.found.extra)
            for every in [pl.int_range(rows.height, dtype=pl.UInt32, eager=True)]
        )
        return {"mismatched": self.found.values, "missing": missing, "extra": extra}

    def hints(self) -> Iterator[Hint]:
        """What other names and other keys would explain."""
        layout, found = self.layout, self.found
        yield from hints.for_renames(layout.drift.renamed, layout.agreements)
        yield from hints.for_repeats(layout.keys, self.telling, self.repeated)
        keys = dict(zip(self.names.keys, layout.keys, strict=True))
        if not (found.missing.is_empty() or found.extra.is_empty()):
            sides, rules = (found.missing, found.extra), self.names.rules
            yield from hints.for_keys(sides, keys, rules, self.samples[OLD])

    @property
    def people(self) -> list[str]:
        """What people call the columns that are `compared`."""
        return [*self.layout.keys, *sorted(self.layout.columns)]
