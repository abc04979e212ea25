"""What suppressions are the first to fit, in plain Python, difference by difference."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from support import oracle
from support.strategies import Pair
from support.suppressed_pairs import DAY

from recon_engine.kinds import KINDS
from recon_engine.model import Suppressible, Suppression


if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.compared_pairs import Rules

    from recon_engine import Reconciliation


SECRET = "s" * 32
# Texts of keys, each with one that a rule of `key_rules` makes equal.
OTHERWISE = {"1": "01", "01": "1", "a": "A", "A": "a"}


@dataclass(frozen=True)
class Found:
    """One difference: a row of one side, or a cell of the matched row `row`."""

    what: str
    key: tuple[str, ...]
    row: int = 0
    column: str = ""
    kind: str = ""
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class Known:
    """How a pair is compared and shown.

    `rules`: of both sides, of OLD and of NEW; `masked`: the columns masked by hmac.
    """

    pair: Pair
    rules: Sequence[Rules] = ({}, {}, {})
    masked: frozenset[str] = frozenset()

    def show(self, column: str, text: str) -> str:
        """A text as outputs show it."""
        if column not in self.masked or not text:
            return text
        digest = hmac.new(SECRET.encode(), text.encode(), "sha256").hexdigest()
        return f"hmac:{digest[:20]}"

    def show_key(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """A key as outputs show it."""
        return tuple(map(self.show, self.pair.keys, key))

    def normal(self, side: str, shown: Sequence[str]) -> tuple[str, ...]:
        """A shown key under the rules of a side; a token is what it is."""
        return tuple(
            text
            if name in self.masked
            else oracle.form(
                oracle.arrange(*(each.get(name, ()) for each in self.rules)), side, text
            )
            for name, text in zip(self.pair.keys, shown, strict=True)
        )

    def fits(self, suppression: Suppression, found: Found) -> bool:
        """Whether a suppression fits a difference."""
        it, side = suppression, "new" if found.what == "extra" else "old"
        shown = self.normal(side, self.show_key(found.key))
        return (
            it.what == found.what
            and it.column in {None, found.column}
            and found.kind in (it.kinds or {found.kind})
            and it.old in {None, self.show(found.column, found.old)}
            and it.new in {None, self.show(found.column, found.new)}
            and (
                it.keys is None
                or shown in {self.normal(side, each) for each in it.keys}
            )
        )

    def first(self, suppressions: Sequence[Suppression], found: Found) -> int:
        """The index of the first suppression that fits; -1 without one."""
        fitting = (at for at, each in enumerate(suppressions) if self.fits(each, found))
        return next(fitting, -1)


def list_found(result: Reconciliation) -> list[Found]:
    """The differences of a result without masks."""
    cells = result.frames.numbered.to_dicts()
    return [
        *(
            Found(
                "column",
                tuple(cell["key"].values()),
                *(cell[name] for name in ("pair", "column", "kind", "old", "new")),
            )
            for cell in cells
        ),
        *(
            Found("missing", _key_of(result, row))
            for row in result.missing().to_dicts()
        ),
        *(Found("extra", _key_of(result, row)) for row in result.extra().to_dicts()),
    ]


def _key_of(result: Reconciliation, row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in result.keys)


@dataclass
class Counted:
    """What suppressions do with differences.

    `found`: differences by suppression; `rows`: matched rows by the set of
    suppressions. `left`: what no active one fits first, by column (`missing` and
    `extra` without one) and kind.
    """

    found: list[int]
    rows: Counter[tuple[int, ...]]
    left: Counter[tuple[str, str]]
    rows_left: int


def count_all(
    known: Known, every: Sequence[Found], suppressions: Sequence[Suppression]
) -> Counted:
    """Count differences; a suppression is active up to its last day."""
    active = {at for at, each in enumerate(suppressions) if each.until >= DAY}
    found = [0] * len(suppressions)
    rows: dict[int, set[int]] = {}
    left = Counter[tuple[str, str]]()
    for each in every:
        first = known.first(suppressions, each)
        if first >= 0:
            found[first] += 1
        left[each.column or each.what, each.kind] += first not in active
        if each.column:
            rows.setdefault(each.row, set()).add(first)
    by_set = Counter(tuple(sorted(by)) for by in rows.values())
    return Counted(found, by_set, left, sum(not by <= active for by in rows.values()))


@st.composite
def dense_pairs(draw: st.DrawFn) -> Pair:
    """Small tables in which most rows differ, and keys repeat or are equal by rules."""
    width = draw(st.integers(1, 2))
    cells = st.sampled_from(["", "1", "2", "a", "A"])
    keys = st.tuples(*key_texts(width))
    pairs = draw(
        st.lists(st.tuples(keys, *[cells] * 4, st.booleans()), min_size=1, max_size=6)
    )
    old = [(*key, *values[:2]) for key, *values in pairs]
    # Most keys are in NEW, some of them spelled otherwise.
    new = [
        (*(_respell(key) if values[4] else key), *values[2:4])
        for key, *values in pairs
        if draw(st.integers(0, 2))
    ]
    extra = draw(st.lists(st.tuples(*key_texts(width), cells, cells), max_size=4))
    return Pair([*["k", "l"][:width], "A", "B"], width, old, [*new, *extra])


def key_texts(width: int) -> list[st.SearchStrategy[str]]:
    """The texts of each key column."""
    return [st.sampled_from([*OTHERWISE, ""])] * width


def _respell(key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(OTHERWISE.get(text, text) for text in key)


@st.composite
def key_rules(draw: st.DrawFn, pair: Pair) -> tuple[Rules, Rules, Rules]:
    """Rules that make some keys equal: of both sides, of OLD and of NEW."""
    rule = st.sampled_from([(), ("casefold",), ("lstrip0",), ("casefold", "lstrip0")])
    both, old, new = ({name: draw(rule) for name in pair.keys} for _ in range(3))
    return both, old, new


@st.composite
def accepted(
    draw: st.DrawFn, known: Known, every: Sequence[Found]
) -> list[Suppression]:
    """Narrow and general suppressions, most of them of the same rows or column."""
    pair = known.pair
    whats = [("missing", ""), ("extra", ""), *(("column", c) for c in pair.columns)]
    seen = sorted({(each.what, each.column) for each in every})
    of_one = draw(st.sampled_from(seen or whats))
    some = st.lists(st.sampled_from([*[of_one] * 4, *whats]), min_size=1, max_size=5)
    return [draw(_suppression(known, every, *each)) for each in draw(some)]


@st.composite
def _suppression(
    draw: st.DrawFn, known: Known, every: Sequence[Found], what: str, column: str
) -> Suppression:
    mine = [each for each in every if (each.what, each.column) == (what, column)]
    facts: dict[str, Any] = {"column": column or None}
    shapes = ["general", "keys", "keys", *(["values", "both"] if column else ["keys"])]
    shape = draw(st.sampled_from(shapes))
    if shape in {"keys", "both"}:
        written = [each.key for each in mine] or [("",) * known.pair.width]
        near = st.sampled_from(written)
        keys = st.one_of(
            near, near.map(_respell), st.tuples(*key_texts(known.pair.width))
        )
        shown = keys.map(known.show_key)
        facts["keys"] = draw(st.lists(shown, min_size=1, max_size=3, unique=True))
    if column and mine:
        cell = draw(st.sampled_from(mine))
        two = (cell.kind, draw(st.sampled_from([k for k in KINDS if k != cell.kind])))
        facts["kind"] = draw(st.sampled_from([None, cell.kind, two, two[::-1]]))
        if shape in {"values", "both"}:
            for side in draw(st.sampled_from([("old",), ("new",), oracle.SIDES])):
                facts[side] = known.show(column, getattr(cell, side))
    until = draw(st.sampled_from([DAY, DAY, date.min]))
    return Suppression(
        what=Suppressible(what), reason="r", owner="o", until=until, **facts
    )
