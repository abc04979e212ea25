"""Filters, derived columns and folding in plain Python, before the oracle pairs rows.

No polars, numpy or engine code. A row is a dict; a place is one letter: `k` kept, `f`
fails the filter of both sides, `o` left out by the filter of its side, `u` unpairable.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from support import oracle


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Line = dict[str, str]
# By column; one without rules has an empty chain.
Chains = defaultdict[str, oracle.Chain]
# Rules of numbers without a notation.
PLAIN = ("decimal", "decimal(abs=0.5)")
# A column, a comparison, its values.
Test = tuple[str, str, tuple[str, ...]]
ORDERS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class SidePlan:
    """What is done to the rows of a side before they are paired."""

    derive: tuple[tuple[str, ...], ...] = ()
    own: tuple[Test, ...] = ()
    both: tuple[Test, ...] = ()
    fold: bool = False
    sums: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """How many rows of a side have which place."""

    rows: int = 0
    left_out: int = 0
    partner_left_out: int = 0
    folded_away: int = 0
    unpairable: int = 0


@dataclass(frozen=True)
class Prepared:
    """What a comparison says of its rows, in sets and counts.

    `made_equal`: the pairs that a rule makes equal, by its column and its place there.
    `codes`: by a column with a code table, the codes of pairs that are right, wrong and
    unlisted; of a key, those that are not listed are of unpairable rows.
    `compared`: by the form of a key, the rows of each side that are in a pair, or kept
    without one; a result does not say it.
    """

    matched: int
    tolerated_keys: int
    made_equal: Counter[tuple[str, int]]
    codes: dict[str, tuple[int, int, int]]
    missing: Counter[oracle.Row]
    extra: Counter[oracle.Row]
    cells: Counter[tuple[oracle.Row, str, str, str]]
    old: Places
    new: Places
    compared: tuple[Counter[oracle.Row], ...] = field(default=(), compare=False)


@dataclass
class _Side:
    name: str
    plan: SidePlan
    # Each row with its place and the number of rows that it represents.
    rows: list[tuple[Line, str, int]] = field(default_factory=list)

    def of(self, place: str) -> list[tuple[Line, str, int]]:
        return [each for each in self.rows if each[1] == place]


def compare(  # noqa: C901 - the steps in their order
    old: list[Line],
    new: list[Line],
    keys: list[str],
    columns: list[str],
    chains: Chains,
    plans: tuple[SidePlan, SidePlan],
) -> Prepared:
    """Prepare both sides, and pair what is left."""
    sides = []
    for name, rows, plan in zip(oracle.SIDES, (old, new), plans, strict=True):
        side = _Side(name, plan)
        for row in rows:
            line, unmade = _derive(row, plan)
            listed = all(oracle.is_listed(chains[key], name, line[key]) for key in keys)
            place = _place(line, plan, chains, name, unmade, listed=listed)
            side.rows.append((line, place, 1))
        sides.append(side)
    if any(plan.fold for plan in plans):
        _fold_sides(sides, keys, columns, chains)
    groups: dict[oracle.Row, list[dict[str, list[tuple[Line, str, int]]]]] = (
        defaultdict(lambda: [defaultdict(list), defaultdict(list)])
    )
    for at, side in enumerate(sides):
        for each in side.rows:
            if each[1] != "u":
                key = tuple(_form(chains, side.name, k, each[0][k]) for k in keys)
                groups[key][at][each[1]].append(each)
    pairs: list[tuple[Line, Line]] = []
    alone: tuple[list[Line], list[Line]] = [], []
    gone: tuple[list[Line], list[Line]] = [], []
    left: list[Line] = []
    for ours, theirs in groups.values():
        o, n = ({p: [e[0] for e in side[p]] for p in "kfo"} for side in (ours, theirs))

        def step(
            a: list[Line], b: list[Line]
        ) -> tuple[list[tuple[Line, Line]], list[Line], list[Line]]:
            return oracle.pair(a, b, sorted(columns), keys, chains)

        first, k_old, k_new = step(o["k"], n["k"])
        second, k_old, f_new = step(k_old, n["f"])
        third, f_old, k_new = step(o["f"], k_new)
        lost_old, k_old, _ = step(k_old, n["o"])
        lost_new, _, k_new = step(o["o"], k_new)
        pairs += first + second + third
        alone[0].extend(k_old)
        alone[1].extend(k_new)
        gone[0].extend(pair[0] for pair in lost_old)
        gone[1].extend(pair[1] for pair in lost_new)
        left += f_old + f_new + o["o"] + n["o"]
    weights = {id(row): size for side in sides for row, _, size in side.rows}
    in_pairs = ([o for o, _ in pairs], [n for _, n in pairs])
    found = [
        Places(
            rows=len(rows),
            left_out=sum(
                weights[id(row)]
                for row, place, _ in side.rows
                if place in "fo" and not any(row is each for each in in_pairs[at])
            ),
            partner_left_out=sum(weights[id(row)] for row in gone[at]),
            folded_away=sum(
                weights[id(row)] - 1 for row in (*in_pairs[at], *alone[at])
            ),
            unpairable=sum(size for _, place, size in side.rows if place == "u"),
        )
        for at, (side, rows) in enumerate(zip(sides, (old, new), strict=True))
    ]
    cells: Counter[tuple[oracle.Row, str, str, str]] = Counter()
    for left_row, right_row in pairs:
        for name in columns:
            o_text, n_text = left_row[name], right_row[name]
            if not oracle.alike(chains[name], o_text, n_text):
                cells[tuple(left_row[k] for k in keys), name, o_text, n_text] += 1
    everything = [*keys, *columns]
    made_equal: Counter[tuple[str, int]] = Counter()
    for name in everything:
        unlike = [(o[name], n[name]) for o, n in pairs if o[name] != n[name]]
        made_equal.update(
            (name, oracle.since(chains[name], *texts))
            for texts in unlike
            if oracle.alike(chains[name], *texts)
        )
    compared = tuple(
        Counter(
            tuple(_form(chains, side.name, key, row[key]) for key in keys)
            for row in (*in_pairs[at], *alone[at], *gone[at])
        )
        for at, side in enumerate(sides)
    )
    return Prepared(
        matched=len(pairs),
        tolerated_keys=sum(any(o[key] != n[key] for key in keys) for o, n in pairs),
        made_equal=made_equal,
        codes={
            name: counts
            for name in everything
            if (counts := _count_codes(name, sides, pairs, keys, chains[name]))
        },
        missing=Counter(tuple(row[n] for n in everything) for row in alone[0]),
        extra=Counter(tuple(row[n] for n in everything) for row in alone[1]),
        cells=cells,
        old=found[0],
        new=found[1],
        compared=compared,
    )


def _count_codes(
    name: str,
    sides: list[_Side],
    pairs: list[tuple[Line, Line]],
    keys: list[str],
    chain: oracle.Chain,
) -> tuple[int, int, int] | None:
    """The codes of a column on the first side that has a table for it."""
    tables = [oracle.is_table((chain.of(side) or [""])[-1]) for side in oracle.SIDES]
    at = tables.index(True) if any(tables) else 0
    if not (any(tables) and sides[at].rows):
        return None
    side = oracle.SIDES[at]
    listed = {code for code, _ in oracle.table(chain.of(side)[-1])}
    counts = Counter[str]()
    for both in pairs:
        # The text that the table reads.
        code = oracle.until(chain, side, len(chain.steps) - 1, both[at][name])
        if code in listed:
            is_right = oracle.alike(chain, both[0][name], both[1][name])
            counts["right" if is_right else "wrong"] += 1
        else:
            counts["unlisted"] += code != ""
    if name in keys:
        counts["unlisted"] += sum(
            not oracle.is_listed(chain, side, row[name])
            for row, place, _ in sides[at].rows
            if place == "u"
        )
    return counts["right"], counts["wrong"], counts["unlisted"]


def chains_of(
    both: Mapping[str, Sequence[str]],
    old: Mapping[str, Sequence[str]] = MappingProxyType({}),
    new: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Chains:
    """The chain of each column, of the rules for both sides, OLD and NEW."""
    found = defaultdict(lambda: oracle.arrange((), (), ()))
    for name in {*both, *old, *new}:
        parts = (rules.get(name, ()) for rules in (both, old, new))
        found[name] = oracle.arrange(*parts)
    return found


def _form(chains: Chains, side: str, name: str, text: str) -> str:
    """A text under the rules of its column that read the side."""
    return oracle.form(chains[name], side, text)


def _derive(row: Line, plan: SidePlan) -> tuple[Line, set[str]]:
    """The row with new columns, and those that could not be made.

    A derivation is `split NAME NAME SOURCE SEPARATOR`, `join NAME SOURCE SOURCE
    SEPARATOR`, or `slice NAME SOURCE FIRST LAST`, the last of which may be blank.
    """
    row = dict(row)
    unmade: set[str] = set()
    for function, *words in plan.derive:
        if function == "split":
            *names, source, separator = words
            sources = [source]
            parts = row[source].split(separator)
            fits = len(parts) == len(names)
            row |= dict(zip(names, parts if fits else [""] * len(names), strict=True))
        elif function == "join":
            name, *sources, separator = words
            names = [name]
            row[name], fits = separator.join(row[each] for each in sources), True
        else:
            name, source, first, last = words
            names, sources = [name], [source]
            end = int(last) if last else None
            fits = len(row[source]) >= (end or int(first))
            row[name] = row[source][int(first) - 1 : end] if fits else ""
        if not fits or not unmade.isdisjoint(sources):
            unmade.update(names)
    return row, unmade


def _place(
    row: Line,
    plan: SidePlan,
    chains: Chains,
    side: str,
    unmade: set[str],
    *,
    listed: bool,
) -> str:
    """The place of a row; a column that could not be made fails no test."""
    own = [holds(row, test, chains, side) for test in plan.own if test[0] not in unmade]
    both = [holds(row, test, chains, side) for test in plan.both]
    if False in own:
        return "o"
    if unmade or not listed or None in own:
        return "u"
    if False in both:
        return "f"
    return "u" if None in both else "k"


def holds(row: Line, test: Test, chains: Chains, side: str) -> bool | None:
    """Whether a row fulfils a test; None if the comparison cannot read its value."""
    column, comparison, values = test
    typed = [rule for rule in chains[column].of(side) if oracle.is_typed(rule)]
    form = _form(chains, side, column, row[column])
    forms = [_form(chains, side, column, value) for value in values]
    unlisted = form.startswith("\0\0")
    if typed and oracle.is_table(typed[-1]):
        if unlisted:
            return None
        typed = []
    if typed:
        is_number = oracle.FAMILIES[typed[-1].split("(")[0]] == "number"
        read = form.startswith("\0") and not unlisted and ("." in form) == is_number
        if not read and (form or comparison in ORDERS):
            return None
    if comparison not in ORDERS:
        return (form in forms) != (comparison == "!=")
    if typed:
        return bool(
            ORDERS[comparison](Fraction(form[1:] or 0), Fraction(forms[0][1:] or 0))
        )
    # Code points, as Python compares texts.
    return bool(ORDERS[comparison](form, forms[0]))


def _fold_sides(
    sides: list[_Side],
    keys: list[str],
    columns: list[str],
    chains: Chains,
) -> None:
    """Make one row of the rows of a key and place; find keys that cannot be folded."""

    def key_of(row: Line, side: str) -> oracle.Row:
        return tuple(_form(chains, side, key, row[key]) for key in keys)

    bad: set[oracle.Row] = set()
    folded: list[list[tuple[Line, str, int]]] = []
    for side in sides:
        groups: dict[tuple[oracle.Row, str], list[Line]] = defaultdict(list)
        others = []
        for row, place, size in side.rows:
            if side.plan.fold and place in "kf":
                groups[key_of(row, side.name), place].append(row)
            else:
                others.append((row, place, size))
        for (key, place), rows in groups.items():
            line = _fold(rows, keys, columns, chains, side)
            if line is None:
                bad.add(key)
                others += [(row, place, 1) for row in rows]
            else:
                others.append((line, place, len(rows)))
        folded.append(others)
    for side, lines in zip(sides, folded, strict=True):
        side.rows = [
            (
                row,
                "u" if place in "kf" and key_of(row, side.name) in bad else place,
                size,
            )
            for row, place, size in lines
        ]


def _fold(
    rows: list[Line],
    keys: list[str],
    columns: list[str],
    chains: Chains,
    side: _Side,
) -> Line | None:
    """The row that some rows of a key become; None if they cannot be folded."""
    line = {key: min(row[key] for row in rows) for key in keys}
    for name in columns:
        texts = [row[name] for row in rows]
        chain = chains[name].of(side.name)
        forms = [_form(chains, side.name, name, text) for text in texts]
        if name in side.plan.sums:
            if not all(form[:2] in {"\0+", "\0-"} and "." in form for form in forms):
                return None
            # As they are written, if plain numbers are read alike on both sides;
            # otherwise as they are read.
            plain = len(chain) == 1 and chain[0] in PLAIN
            written = texts if plain and not chains[name].reads_apart else forms
            places = max(_places(text) for text in written)
            text = _as_text(sum(Fraction(form[1:]) for form in forms), places)
            line[name] = _in_notation(text, chain)
        else:
            if len(set(forms)) > 1:
                return None
            line[name] = min(texts)
    return line


def _places(text: str) -> int:
    """The digits after the point of a number as it is written."""
    return len(text.partition(".")[2])


def _in_notation(text: str, chain: Sequence[str]) -> str:
    """A plain number as the rules of its column read it."""
    typed = [rule for rule in chain if oracle.is_typed(rule)][-1]
    if "comma" in typed:
        return text.replace(".", ",")
    if typed == "scale(2)":
        whole, _, part = text.partition(".")
        return whole + part.ljust(2, "0")
    return text


def _as_text(total: Fraction | int, places: int) -> str:
    scaled = int(total * 10**places)
    digits = str(abs(scaled)).zfill(places + 1)
    sign = "-" if scaled < 0 else ""
    whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
    return sign + whole + ("." + part if places else "")
