"""The states of breaks in plain dicts, from the whole history of looks each time.

No SQL, polars or engine code: what it shares with the engine is the specification.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from support import oracle


Row = tuple[str, str, str]
Key = tuple[str, str]
# The codes of OLD for the keys of NEW, on a day that is turned.
TURNED = {"1": "2", "2": "3", "3": "4", "4": "1"}


@dataclass(frozen=True)
class Day:
    """One look: the rows of both sides, and what was not compared.

    A row is its key, and its values in A and B. `rejects`: rows (side, place) that are
    set aside. `late`: by how many days its date is before its turn; `fails`: where the
    first attempt to publish is cut off. `ruled`: whether a rule strips the zeros that
    lead a key; each file writes a key with some, which the pair decides. `turned`:
    whether OLD has other codes for keys then, each of which is that of another key.
    `folds`: the sides of which the rows of a key become one.
    """

    pair: int
    columns: tuple[str, ...]
    old: tuple[Row, ...]
    new: tuple[Row, ...]
    rejects: tuple[tuple[int, int], ...]
    full: bool
    limit: int
    late: int
    fails: str | None
    ruled: bool
    turned: bool
    folds: tuple[int, ...]

    def write(self, side: int, key: str) -> str:
        """A key as the file of a side has it."""
        zeros = max(0, (self.pair // (1 + side) + int(key)) % 5 - 2)
        return "0" * zeros + key

    def form(self, side: int, text: str) -> str:
        """A key that a side writes, as it is compared."""
        if not self.ruled:
            return text
        code = text.lstrip("0")
        return TURNED[code] if self.turned and side == 0 else code

    def find_written(self, side: int, form: str) -> str:
        """How the file of a side writes the key of this form."""
        if not self.ruled:
            return form
        return next(
            text
            for text in (self.write(side, code) for code in TURNED)
            if self.form(side, text) == form
        )

    def written(self, side: int) -> list[Row]:
        """The rows of the file of a side."""
        rows = (self.old, self.new)[side]
        return [(self.write(side, key), a, b) for key, a, b in rows]

    def kept(self, side: int) -> list[dict[str, str]]:
        """The rows of a side that are read, each with the form of its key."""
        rows = self.written(side)
        kept = [row for at, row in enumerate(rows) if (side, at) not in self.rejects]
        return [
            dict(zip(("ID", "A", "B"), (self.form(side, key), *values), strict=True))
            for key, *values in kept
        ]

    def rows(self, side: int) -> list[dict[str, str]]:
        """The rows of a side that are compared: one of each key if it folds."""
        bad = self.unfoldable
        rows = [row for row in self.kept(side) if row["ID"] not in bad]
        if side not in self.folds:
            return rows
        return [*{row["ID"]: row for row in reversed(rows)}.values()]

    @property
    def unfoldable(self) -> set[str]:
        """The keys with rows that cannot become one, which no side compares."""
        values: dict[tuple[int, str], set[tuple[str, ...]]] = defaultdict(set)
        for side in self.folds:
            for row in self.kept(side):
                compared = tuple(row[name] for name in self.columns)
                values[side, row["ID"]].add(compared)
        return {key for (_, key), several in values.items() if len(several) > 1}

    @property
    def rejected(self) -> bool:
        """Whether any row is set aside."""
        sides = (self.old, self.new)
        rejects = any(at < len(sides[side]) for side, at in self.rejects)
        return rejects or bool(self.unfoldable)

    def count(self, key: str) -> tuple[int, int]:
        """How many rows of both sides have a key."""
        old, new = (sum(row["ID"] == key for row in self.rows(at)) for at in (0, 1))
        return old, new

    def seen(self) -> dict[Key, list[tuple[str, ...]]]:
        """Each difference, by the form of its key, with its content."""
        answer = oracle.reconcile(
            self.rows(0), self.rows(1), ["ID"], list(self.columns)
        )
        found: dict[Key, list[tuple[str, ...]]] = defaultdict(list)
        for ((key,), name, old, new, _), times in sorted(answer.cells.items()):
            found[key, name] += [(old, new)] * times
        for name, rows in (("missing", answer.missing), ("extra", answer.extra)):
            for row, times in rows.items():
                found[row[0], name] += [()] * times
        return dict(found)


@dataclass
class Break:
    """A difference over days; dates are numbers of days."""

    state: str
    first: int
    last: int
    runs: int
    content: object
    rows: tuple[int, int]

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state not in {"resolved", "gone"}


def states(days: list[tuple[int, Day]]) -> tuple[dict[Key, Break], str, int, list[str]]:
    """Every break; how the last look was tracked, its date, and what it said of which.

    A break has the key as it was written when the break began.
    `days`: with their dates, in the order in which they were published.
    """
    looks: list[tuple[int, Day]] = []
    first: dict[int, int] = {}
    said = ""
    for at, day in days:
        first.setdefault(day.pair, at)
        order = [*first]
        last = looks[-1][1].pair if looks else day.pair
        if sum(map(len, day.seen().values())) > day.limit:
            said = "over_limit"
        elif order.index(day.pair) < order.index(last):
            said = "superseded"
        else:
            looks[:] = [look for look in looks if look[1].pair != day.pair]
            looks.append((first[day.pair], day))
            said = "tracked"
    breaks: dict[Key, Break] = {}
    touched: list[str] = []
    for at, day in looks:
        seen = {find_break(breaks, day, key): key for key in day.seen()}
        unseen = dict.fromkeys(breaks.keys() - seen.keys())
        touched = [
            look_at(breaks, at, key, form, day)
            for key, form in {**seen, **unseen}.items()
        ]
    return breaks, said, looks[-1][0] if looks else 0, touched


def find_break(breaks: dict[Key, Break], day: Day, seen: Key) -> Key:
    """The break that a difference carries on, or the one that it begins.

    An open one of the same key under the rule of the day: best the one that is written
    as now. An ended one has to be written as now.
    """
    form, name = seen
    text = day.find_written(side_of(name), form)
    same = [
        key
        for key, each in breaks.items()
        if each.open and key[1] == name and day.form(side_of(name), key[0]) == form
    ]
    return min(same, key=lambda key: (key[0] != text, key[0]), default=(text, name))


def side_of(name: str) -> int:
    """The side that writes the keys of such breaks."""
    return int(name == "extra")


def look_at(
    breaks: dict[Key, Break], at: int, key: Key, seen: Key | None, day: Day
) -> str:
    """Carry one break on, `seen` in this form or not; what the look says of it."""
    before = breaks.get(key)
    if seen is not None:
        content = day.seen()[seen]
        state = (
            "new"
            if before is None
            else "reopened"
            if not before.open
            else "recurring"
            if content == before.content
            else "changed"
        )
        first, runs = (before.first, before.runs) if before else (at, 0)
        rows = day.count(seen[0])
        breaks[key] = Break(state, first, at, runs + 1, content, rows)
        return state
    assert before is not None
    if not before.open:
        return ""
    before.state = ended(before, key, day)
    return before.state


def ended(before: Break, key: Key, day: Day) -> str:
    """What becomes of an open break that a look did not see."""
    form = day.form(side_of(key[1]), key[0])
    rows = day.count(form)
    compared = min(rows) > 0 and key[1] in {*day.columns, "missing", "extra"}
    if (form, key[1]) in day.seen():  # another break of the same key is carried on
        compared = False
    repeats = max(*rows, *before.rows) > 1
    again = min(rows) >= min(before.rows) and not day.rejected
    if compared and (again or not repeats):
        return "resolved"
    complete = day.full and not day.rejected and day.rows(0) and day.rows(1)
    return "gone" if complete and not any(rows) else "unseen"
