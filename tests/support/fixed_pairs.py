"""Seeded pairs of files of which at least one has columns of a fixed width."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path

    Row = dict[str, str]


NAMES = ("CLAIM", "MEMBER", "NAME", "STATE", "PAID", "SERVICE")


@dataclass(frozen=True)
class Shape:
    """How one side writes its rows.

    `widths`: of the columns; none for a delimited file. `gap`: the blanks between two
    columns. `order`: the columns by their numbers. `header`, `trailer`: whether it has
    one.
    """

    widths: tuple[int, ...] = ()
    gap: int = 1
    order: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    header: bool = False
    trailer: bool = False
    encoding: str = "utf-8"
    newline: str = "\n"

    def write(self, path: Path, rows: list[Row]) -> None:
        """Write the rows as a file."""
        names = [NAMES[at] for at in self.order]
        lines = [";".join(row[name] for name in names) for row in rows]
        head = ";".join(names)
        if self.widths:
            lines = [self.line([row[name] for name in names]) for row in rows]
            head = self.line([name[: self.widths[at]] for at, name in enumerate(names)])
        if self.header or not self.widths:
            lines.insert(0, head)
        if self.trailer:
            lines.append(f"TRL{len(rows):09}")
        text = self.newline.join([*lines, ""])
        path.write_bytes(text.encode(self.encoding))

    def line(self, values: list[str]) -> str:
        """Numbers with a point are right-aligned, as names of such columns are."""
        written = [
            value.rjust(width) if number == NAMES.index("PAID") else value.ljust(width)
            for value, width, number in zip(
                values, self.widths, self.order, strict=True
            )
        ]
        return (" " * self.gap).join(written)


def write_fixed_pair(
    folder: Path, seed: int, old: Shape, new: Shape, letters: str, rows: int
) -> tuple[int, int, int]:
    """Write old.txt and new.txt; the number of missing, extra and changed rows."""
    chance = random.Random(seed)
    ours = [_make_row(chance, claim, letters) for claim in range(rows)]
    kept = [dict(row) for row in ours if chance.random() >= 0.02]
    changed = set()
    for row in kept:
        if chance.random() < 0.02:
            row["PAID"] = f"{float(row['PAID']) + 1:.2f}"
            changed.add(row["CLAIM"])
        if chance.random() < 0.02:
            row["NAME"] = row["NAME"][::-1].strip()[1:] + letters[0]
            changed.add(row["CLAIM"])
    extra = [_make_row(chance, rows + at, letters) for at in range(rows // 50)]
    old.write(folder / "old.txt", ours)
    new.write(folder / "new.txt", kept + extra)
    return len(ours) - len(kept), len(extra), len(changed)


def _make_row(chance: random.Random, claim: int, letters: str) -> Row:
    name = "".join(
        chance.choice("bdlmnrst" + letters) for _ in range(chance.randint(3, 10))
    )
    return {
        "CLAIM": str(100_000 + 7 * claim),
        "MEMBER": f"M{chance.randrange(10**6):06}",
        "NAME": f"{name} {chance.choice('ABC')}" if chance.random() < 0.3 else name,
        "STATE": chance.choice(("TX", "NY", "CA", "OH")),
        "PAID": f"{chance.randrange(100, 10 ** chance.choice((4, 6))) / 100:.2f}",
        "SERVICE": f"2024{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}",
    }
