"""Why two tables differ: what the rows that do tell, under the names of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine import hints, patterns, segments, totals


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from recon_engine.alignment import Alignment
    from recon_engine.compare import Difference
    from recon_engine.digest import Names, Strategy
    from recon_engine.model import Hint, Patterns, Segment, Total
    from recon_engine.segments import Of, Values


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
class Evidence:
    """What causes are found in.

    `names`: of the columns of OLD in `found`; `strategies`: they sampled OLD and NEW;
    `repeated`: how many keys repeat, on both sides; `telling`: the column with which
    none would.
    """

    names: Names
    layout: Alignment
    found: Difference
    strategies: Sequence[Strategy]
    repeated: int
    telling: str | None

    def causes(self) -> Causes:
        """Everything that can be told."""
        found, keys = self.found, self.layout.keys
        changes = list(self.changes())
        shown = patterns.patterns(changes, found.cells, found.keys, keys)
        rules = [
            hint
            for name, _, each in changes
            for hint in hints.for_column(name, each, self.layout.rules.get(name, ()))
        ]
        return Causes(
            tuple(shown) if changes else (),
            tuple(self.totals()),
            tuple(self.segments()),
            (*self.hints(), *sorted(rules, key=lambda hint: -hint.total)),
        )

    def changes(self) -> Iterator[tuple[str, int, pl.DataFrame]]:
        """Name, ordinal and changes of each column that differs, in OLD's order."""
        by_column = self.found.cells.partition_by("column", as_dict=True)
        ordinals = {name: at for at, name in enumerate(sorted(self.layout.columns))}
        for name in self.layout.columns:
            cells = by_column.pop((ordinals[name],), None)
            if cells is not None:
                yield name, ordinals[name], patterns.changes(cells)

    def totals(self) -> Iterator[Total]:
        """The control totals of each column that has some, in the order of OLD."""
        found, ours = (
            self.found,
            dict(zip(self.people, self.names.compared, strict=True)),
        )
        for name in self.layout.columns:
            at = ours[name]
            sums = totals.total(
                name, found.sums[at], found.missing[at], found.extra[at]
            )
            if sums is not None:
                yield sums

    def segments(self) -> Iterator[Segment]:
        """What the mismatched, the missing and the extra rows have in common."""
        people = dict(zip(self.names.compared, self.people, strict=True))
        for of, values in self.values().items():
            if any(values.values()):
                sample = self.strategies[SIDE_OF[of]].sample()
                yield from segments.segments(of, values, sample, people)

    def values(self) -> dict[Of, Values]:
        """How often each value is there, for each way in which rows differ."""
        compared = self.names.compared
        return {
            "mismatched": self.found.values,
            "missing": segments.counted(self.found.missing.select(compared)),
            "extra": segments.counted(self.found.extra.select(compared)),
        }

    def hints(self) -> Iterator[Hint]:
        """What other names and other keys would explain."""
        layout, found = self.layout, self.found
        yield from hints.for_renames(layout.drift.renamed, layout.agreements)
        yield from hints.for_repeats(layout.keys, self.telling, self.repeated)
        keys = dict(zip(self.names.keys, layout.keys, strict=True))
        if not (found.missing.is_empty() or found.extra.is_empty()):
            sides, rules = (found.missing, found.extra), self.names.rules
            sample = self.strategies[OLD].sample()
            yield from hints.for_keys(sides, keys, rules, sample)

    @property
    def people(self) -> list[str]:
        """What people call the columns that are `compared`."""
        return [*self.layout.keys, *sorted(self.layout.columns)]
