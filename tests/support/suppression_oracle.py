"""What suppressions are the first to fit, in plain Python, difference by difference."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from support import oracle
from support.strategies import KEYS
from support.suppressed_pairs import DAY

from recon_engine.model import Suppressible, Suppression


if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.compared_pairs import Rules
    from support.strategies import Pair

    from recon_engine import Reconciliation


SECRET = "s" * 32


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
            and it.kind in {None, found.kind}
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


def counted(
    known: Known, every: Sequence[Found], suppressions: Sequence[Suppression]
) -> tuple[list[int], Counter[tuple[int, ...]], Counter[str]]:
    """Differences by suppression, rows by the set of suppressions, and what is left.

    What is left is counted by column, and as `missing` and `extra`.
    """
    first = {each: known.first(suppressions, each) for each in every}
    counts = [0] * len(suppressions)
    rows: dict[int, set[int]] = {}
    left = Counter[str]()
    for each in every:
        if first[each] >= 0:
            counts[first[each]] += 1
        else:
            left[each.column or each.what] += 1
        if each.column:
            rows.setdefault(each.row, set()).add(first[each])
    return counts, Counter(tuple(sorted(by)) for by in rows.values()), left


@st.composite
def key_rules(draw: st.DrawFn, pair: Pair) -> tuple[Rules, Rules, Rules]:
    """Rules that make keys of `strategies.KEYS` equal: of both sides, OLD and NEW."""
    rule = st.lists(st.sampled_from(["trim", "casefold", "lstrip0"]), max_size=1)
    both, old, new = (
        {name: tuple(draw(rule)) for name in pair.keys if name != "*"} for _ in range(3)
    )
    return both, old, new


@st.composite
def accepted(
    draw: st.DrawFn, known: Known, every: Sequence[Found]
) -> list[Suppression]:
    """Narrow and general suppressions, most of them of the same rows or column."""
    pair = known.pair
    whats = [("missing", ""), ("extra", ""), *(("column", c) for c in pair.columns)]
    seen = [(each.what, each.column) for each in every]
    of_one = draw(st.sampled_from(seen or whats))
    some = st.lists(st.sampled_from([of_one, of_one, *whats]), min_size=1, max_size=5)
    return [draw(_suppression(known, every, *each)) for each in draw(some)]


@st.composite
def _suppression(
    draw: st.DrawFn, known: Known, every: Sequence[Found], what: str, column: str
) -> Suppression:
    mine = [each for each in every if (each.what, each.column) == (what, column)]
    facts: dict[str, Any] = {"column": column or None}
    if draw(st.integers(0, 2)):
        # As it is written, or as another text of the row is.
        text = st.one_of(KEYS, st.just(None))
        near = [each.key for each in mine] or [("",) * known.pair.width]
        keys = st.tuples(st.sampled_from(near), *[text] * known.pair.width).map(
            lambda drawn: known.show_key(
                tuple(
                    mine if other is None else other
                    for mine, other in zip(drawn[0], drawn[1:], strict=True)
                )
            )
        )
        facts["keys"] = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    if column and mine:
        near_cell = draw(st.sampled_from(mine))
        facts["kind"] = draw(st.sampled_from([None, None, near_cell.kind]))
        for side in oracle.SIDES:
            value = known.show(column, getattr(near_cell, side))
            facts[side] = draw(st.sampled_from([None, None, value]))
    return Suppression(
        what=Suppressible(what), reason="r", owner="o", until=DAY, **facts
    )
