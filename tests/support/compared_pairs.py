"""A generated pair compared by the product and by the oracle."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import groupby, product
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from support import oracle
from support.strategies import Pair, csv_bytes, find_rules


if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from recon_engine import Reconciliation

    Rules = dict[str, tuple[str, ...]]


def answer(d: Reconciliation, columns: list[str]) -> oracle.Answer:
    """A reconciliation in the oracle's terms."""
    everything = [*d.keys, *sorted(columns)]
    return oracle.Answer(
        matched=d.counts.matched,
        missing=rows_of(d.missing(), everything),
        extra=rows_of(d.extra(), everything),
        identical=d.counts.identical,
        cells=Counter(
            (
                tuple(row.values())[: len(d.keys)],
                row["column"],
                row["old"],
                row["new"],
                row["kind"],
            )
            for row in d.mismatches().to_dicts()
        ),
        signatures=Counter({tuple(sorted(s.columns)): s.rows for s in d.signatures}),
        duplicates_old=repeats(d.duplicates("old")),
        duplicates_new=repeats(d.duplicates("new")),
        blank_old=d.old.blank_keys,
        blank_new=d.new.blank_keys,
        tolerated=Counter({c.name: c.tolerated for c in d.by_column if c.tolerated}),
        tolerated_keys=d.counts.tolerated_keys,
        rules=rules_of(d),
        patterns=patterns_of(d),
        constants={
            each.column: (str(each.change), each.by, each.rows, each.total)
            for each in d.constants
        },
        totals={
            total.column: tuple(map(Fraction, total.parts().values()))
            for total in d.totals
        },
        unpairable=(d.old.unpairable, d.new.unpairable),
    )


def rules_of(d: Reconciliation) -> dict[tuple[str, int], tuple[int, ...]]:
    """What each rule did, by its column and its place among the rules of that."""
    return {
        (column, at): (*each.old, *each.new, each.made_equal)
        for column, rules in groupby(d.rules, lambda each: each.column)
        for at, each in enumerate(rules)
    }


def patterns_of(d: Reconciliation) -> dict[str, oracle.Patterns]:
    return {
        column.column: (
            column.distinct,
            [
                (each.old, each.new, each.kind, each.rows, tuple(each.example.values()))
                for each in column.top
            ],
        )
        for column in d.patterns
    }


def rows_of(frame: pl.DataFrame, names: list[str]) -> Counter[oracle.Row]:
    """The rows of a frame; by position, as Polars takes some names for patterns."""
    at = [frame.columns.index(name) for name in names]
    return Counter(tuple(row[i] for i in at) for row in frame.rows())


def repeats(frame: pl.DataFrame) -> dict[oracle.Row, int]:
    return {row[:-1]: row[-1] for row in frame.iter_rows()}


def expected(
    pair: Pair,
    rules: Rules | None = None,
    old_rules: Rules | None = None,
    new_rules: Rules | None = None,
) -> oracle.Answer:
    old, new = (
        [dict(zip(pair.names, row, strict=True)) for row in side]
        for side in (pair.old, pair.new)
    )
    of_sides = (each or {} for each in (rules, old_rules, new_rules))
    return oracle.reconcile(old, new, pair.keys, sorted(pair.columns), *of_sides)


@st.composite
def rules_for(draw: st.DrawFn, pair: Pair) -> Rules:
    """Rules for some columns: up to one typed rule, on a key without a tolerance.

    None for one that is named `*`: that is every compared column.
    """
    found: Rules = {}
    for name in (name for name in pair.names if name != "*"):
        chosen = draw(TWO_TEXTS)
        own = [each for each in likely_rules(pair, name) if each not in chosen]
        if own and draw(st.integers(0, 3)) > 0:
            chosen.append(draw(st.sampled_from(own)))
        elif draw(st.booleans()):
            chosen.append(draw(TYPED if name in pair.columns else TYPED_EXACT))
        if chosen:
            found[name] = _in_any_order(draw, chosen)
    return found


def likely_rules(pair: Pair, name: str) -> list[str]:
    """The rules without a tolerance that make two cells of a column equal."""
    at = pair.names.index(name)
    old, new = ({row[at] for row in side} for side in (pair.old, pair.new))
    found = {
        rule
        for one, other in product(old, new)
        if one != other
        for rule in find_rules(one, other)
    }
    return sorted(found - oracle.NEAR.keys())


def _in_any_order(draw: st.DrawFn, rules: list[str]) -> tuple[str, ...]:
    return tuple(draw(st.permutations(rules)) if len(rules) > 1 else rules)


# Strategies are made once: to make one takes longer than to draw from it.
TEXTS = [rule for rule in oracle.NORMAL if not oracle.is_typed(rule)]
ONE_TEXT = st.lists(st.sampled_from(TEXTS), max_size=1)
TWO_TEXTS = st.lists(st.sampled_from(TEXTS), max_size=2, unique=True)
BY_FAMILY: dict[str, list[str]] = {}
for _rule in filter(oracle.is_typed, oracle.NORMAL):
    BY_FAMILY.setdefault(_rule.split("(")[0], []).append(_rule)
EXACT_BY_FAMILY = {
    name: [rule for rule in rules if rule not in oracle.NEAR]
    for name, rules in BY_FAMILY.items()
}
TYPED = st.sampled_from([rule for rules in BY_FAMILY.values() for rule in rules])
TYPED_EXACT = st.sampled_from(
    [rule for rules in EXACT_BY_FAMILY.values() for rule in rules]
)
FAMILY = st.sampled_from(sorted(BY_FAMILY))
# Of a family: a rule, or none.
PERHAPS = {
    name: st.one_of(st.none(), st.sampled_from(rules))
    for name, rules in BY_FAMILY.items()
}
PERHAPS_EXACT = {
    name: st.one_of(st.none(), st.sampled_from(rules))
    for name, rules in EXACT_BY_FAMILY.items()
}


def typed_rules(draw: st.DrawFn, *, near: bool) -> tuple[list[str], ...]:
    """Typed rules that can be combined: for both sides, for OLD, for NEW.

    `near`: whether a rule of both sides may have a tolerance.
    """
    name = draw(FAMILY)
    both = draw((PERHAPS if near else PERHAPS_EXACT)[name])
    old, new = (draw(PERHAPS_EXACT[name]) for _ in range(2))
    # A number implies how the other side is read, and a code is compared with a text.
    if name not in {"decimal", "scale", "map"} and both is None and not (old and new):
        own = st.sampled_from(EXACT_BY_FAMILY[name])
        old, new = draw(own), draw(own)
    return tuple([each] if each else [] for each in (both, old, new))


@st.composite
def rules_of_sides(draw: st.DrawFn, pair: Pair) -> tuple[Rules, Rules, Rules]:
    """Rules for both sides, for OLD and for NEW."""
    found: tuple[Rules, Rules, Rules] = ({}, {}, {})
    for name in (name for name in pair.names if name != "*"):
        typed: tuple[list[str], ...] = ([], [], [])
        likely = likely_rules(pair, name)
        if likely and draw(st.integers(0, 3)) > 0:
            typed = ([draw(st.sampled_from(likely))], [], [])
        elif draw(st.integers(0, 2)):
            typed = typed_rules(draw, near=name in pair.columns)
        for rules, own in zip(found, typed, strict=True):
            texts = [each for each in draw(ONE_TEXT) if each not in own]
            if texts or own:
                rules[name] = _in_any_order(draw, [*texts, *own])
    return found


def written(folder: Path, pair: Pair, data: st.DataObject) -> tuple[Path, Path]:
    paths = folder / "old.csv", folder / "new.csv"
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        raw, _ = data.draw(csv_bytes(pair.names, rows))
        path.write_bytes(raw)
    return paths
