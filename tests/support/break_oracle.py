"""The states of breaks in plain dicts, from the whole history of looks each time.

No SQL, polars or engine code: what it shares with the engine is the specification.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from support import oracle


Row = tuple[str, str, str]
Key = tuple[str, str]


@dataclass(frozen=True)
class Day:
    """One look: the rows of both sides, and what was not compared.

    A row is its key, and its values in A and B. `rejects`: rows (side, place) that are
    set aside. `late`: by how many days its date is before its turn; `fails`: where the
    first attempt to publish is cut off.
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

    def rows(self, side: int) -> list[dict[str, str]]:
        """The rows of a side that are compared."""
        rows = (self.old, self.new)[side]
        kept = [row for at, row in enumerate(rows) if (side, at) not in self.rejects]
        return [dict(zip(("ID", "A", "B"), row, strict=True)) for row in kept]

    @property
    def rejected(self) -> bool:
        """Whether any row is set aside."""
        return any(at < len((self.old, self.new)[side]) for side, at in self.rejects)

    def count(self, key: str) -> tuple[int, int]:
        """How many rows of both sides have a key."""
        old, new = (sum(row["ID"] == key for row in self.rows(at)) for at in (0, 1))
        return old, new

    def seen(self) -> dict[Key, list[tuple[str, ...]]]:
        """Each difference with its content."""
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

    `days`: with their dates, in the order in which they were published.
    """
    looks: list[tuple[int, Day]] = []
    said = ""
    for at, day in days:
        pairs = [look.pair for _, look in looks]
        if sum(map(len, day.seen().values())) > day.limit:
            said = "over_limit"
        elif pairs and pairs[-1] == day.pair:
            looks[-1] = looks[-1][0], day
            said = "tracked"
        elif day.pair in pairs:
            said = "superseded"
        else:
            looks.append((at, day))
            said = "tracked"
    breaks: dict[Key, Break] = {}
    touched: list[str] = []
    for at, day in looks:
        touched = [look_at(breaks, at, key, day) for key in {*breaks, *day.seen()}]
    return breaks, said, looks[-1][0] if looks else 0, touched


def look_at(breaks: dict[Key, Break], at: int, key: Key, day: Day) -> str:
    """Carry one break on; what the look says of it."""
    content, before = day.seen().get(key), breaks.get(key)
    if content is not None:
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
        rows = day.count(key[0])
        breaks[key] = Break(state, first, at, runs + 1, content, rows)
        return state
    assert before is not None
    if not before.open:
        return ""
    before.state = ended(before, key, day)
    return before.state


def ended(before: Break, key: Key, day: Day) -> str:
    """What becomes of an open break that a look did not see."""
    rows = day.count(key[0])
    compared = min(rows) > 0 and key[1] in {*day.columns, "missing", "extra"}
    repeats = max(*rows, *before.rows) > 1
    again = min(rows) >= min(before.rows) and not day.rejected
    if compared and (again or not repeats):
        return "resolved"
    complete = day.full and not day.rejected and day.rows(0) and day.rows(1)
    return "gone" if complete and not any(rows) else "unseen"
