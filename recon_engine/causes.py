"""Why two tables differ: what the rows that do tell, under the names of the user.

Everything here is a sum: of groups of rows what is told can be told apart, and added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine import columns_at_once, hints, patterns, segments, totals
from recon_engine.parallel import in_order


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from recon_engine.compare import Difference
    from recon_engine.model import Hint, Patterns, Segment, Total
    from recon_engine.question import Question
    from recon_engine.segments import Of, Values
    from recon_engine.totals import Sum, Sums

    Learned = tuple[tuple[Hint, ...], Sums]


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
    """What the cells of a column tell that differ."""

    patterns: Patterns
    hints: tuple[Hint, ...]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Lone:
    """The rows that are on one side only: how many, and what they have.

    `keys`: their key columns, None of too many.
    """

    rows: int
    sums: dict[str, Sum]
    values: Values
    keys: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What causes are found in.

    `told`: of each column that differs; `tolerated`: the sums of the cells that rules
    make equal; `values`: of mismatched rows; `lone`: the missing and the extra ones;
    `samples`: of all rows of OLD and NEW; `repeated`: how many keys repeat, on both
    sides; `telling`: the column with which none would.
    """

    question: Question
    told: Mapping[str, Told]
    tolerated: Mapping[str, Sums]
    values: Values
    lone: tuple[Lone, Lone]
    samples: Sequence[pl.DataFrame]
    repeated: int
    telling: str | None

    def causes(self) -> Causes:
        """Everything that can be told."""
        layout = self.question.layout
        told = [self.told[name] for name in layout.columns if name in self.told]
        rules = (hint for each in told for hint in each.hints)
        return Causes(
            tuple(each.patterns for each in told),
            tuple(self.totals()),
            tuple(self.segments()),
            (*self.hints(), *sorted(rules, key=lambda hint: -hint.total)),
        )

    def totals(self) -> Iterator[Total]:
        """The control totals of the columns that have some, in the order of OLD."""
        question = self.question
        ours = question.names[OLD].columns
        found = {
            name: (at, self._sums(name, at))
            for name, at in zip(question.columns, ours, strict=True)
        }
        asked = {at for at, sums in found.values() if totals.have_amounts(sums)}
        written = [totals.forms(rows.select(asked)) for rows in self.samples]
        for name in question.layout.columns:
            at, sums = found[name]
            if at in asked:
                old, new = (forms[at] for forms in written)
                yield from totals.total(name, sums, (old, new))

    def _sums(self, name: str, at: str) -> tuple[Sum, Sum, Sum, Sum]:
        """Of a column: its cells that differ in OLD and NEW, and the lone ones."""
        changed = self.tolerated.get(at, totals.NO_CELLS)
        if name in self.told:
            changed = totals.both(changed, self.told[name].sums)
        missing, extra = (side.sums[at] for side in self.lone)
        return *changed, missing, extra

    def segments(self) -> Iterator[Segment]:
        """What the mismatched, the missing and the extra rows have in common."""
        question = self.question
        people = [*question.layout.keys, *question.columns]
        names = dict(zip(question.names[OLD].compared, people, strict=True))
        missing, extra = self.lone
        every: dict[Of, Values] = {
            "mismatched": self.values,
            "missing": missing.values,
            "extra": extra.values,
        }
        for of, values in every.items():
            sample = self.samples[SIDE_OF[of]]
            yield from segments.segments(of, values, sample, names)

    def hints(self) -> Iterator[Hint]:
        """What other names and other keys would explain."""
        layout, names = self.question.layout, self.question.names[OLD]
        yield from hints.for_renames(layout.drift.renamed, layout.agreements)
        yield from hints.for_repeats(layout.keys, self.telling, self.repeated)
        keys = dict(zip(names.keys, layout.keys, strict=True))
        old, new = (side.keys for side in self.lone)
        if old is None or new is None or old.is_empty() or new.is_empty():
            return
        yield from hints.for_keys((old, new), keys, names.rules, self.samples[OLD])


def told(found: Difference, question: Question) -> dict[str, Told]:
    """What each column tells that differs."""
    if 0 < found.cells.height <= columns_at_once.MOST_CELLS:
        return _told_at_once(found, question)

    def tell(column: tuple[int, pl.DataFrame]) -> tuple[pl.DataFrame, Learned]:
        at, cells = column
        changes = patterns.changes(cells)
        rules = rule_hints(question.columns[at], changes, question)
        return changes, (rules, totals.of_changes(changes))

    by_column = found.cells.partition_by("column", as_dict=True, include_key=False)
    columns = [(int(at), cells) for (at,), cells in by_column.items()]
    every = list(in_order(tell, columns))
    changes = [
        (question.columns[at], at, each)
        for (at, _), (each, _) in zip(columns, every, strict=True)
    ]
    keys = question.layout.keys
    shown = patterns.patterns(changes, found.cells, found.keys, keys) if every else ()
    return {
        each.column: Told(each, *facts)
        for each, (_, facts) in zip(shown, every, strict=True)
    }


def _told_at_once(found: Difference, question: Question) -> dict[str, Told]:
    """The same, of all columns in a few queries."""
    every = columns_at_once.changes(found.cells)
    seen = columns_at_once.glance(every)
    sums = columns_at_once.sums(every, seen)
    names, keys = question.columns, question.layout.keys
    shown = columns_at_once.in_short(every, seen, names, found.cells, found.keys, keys)
    result, start = {}, 0
    for at, facts in seen.items():
        name, stop = names[at], start + facts["distinct"]
        rules: tuple[Hint, ...] = ()
        if facts["hints"] or name in question.layout.rules:
            rules = rule_hints(name, every[start:stop].drop("column"), question)
        result[name] = Told(shown[at], rules, sums[at])
        start = stop
    return result


def rule_hints(
    column: str, changes: pl.DataFrame, question: Question
) -> tuple[Hint, ...]:
    """The rules that would settle the changes of a column."""
    given = question.layout.rules.get(column, ())
    return tuple(hints.for_column(column, changes, given))


def lone(rows: pl.DataFrame, question: Question) -> Lone:
    """What rows tell that are on one side only."""
    names = question.names[OLD]
    if rows.is_empty():
        sums = dict.fromkeys(names.columns, totals.NOTHING)
        values: Values = dict.fromkeys(names.compared, segments.NO_VALUES)
        return Lone(0, sums, values, rows.select(names.keys))
    return Lone(
        rows.height,
        totals.of_rows(rows.select(names.columns)),
        segments.counted(rows.select(names.compared)),
        rows.select(names.keys),
    )
