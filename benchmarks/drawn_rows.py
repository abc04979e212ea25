"""Which rows of a seeded pair NEW has, in which order, and which of them differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np


if TYPE_CHECKING:
    from pathlib import Path


MISSING: Final = 0.005


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """OLD has the rows from 0 on; NEW has `numbers`, in this order.

    `marks`: by row number, also of the extra rows, whether it differs. `expected`: the
    counts of the comparison.
    """

    numbers: np.ndarray
    marks: np.ndarray
    expected: dict[str, int]

    def write_expected(self, folder: Path) -> dict[str, int]:
        """Write the counts beside the files, and return them."""
        (folder / "expected.json").write_text(json.dumps(self.expected, indent=2))
        return self.expected


def draw_rows(rows: int, changed: float, seed: int, *, shuffled: bool) -> DrawnRows:
    """Draw the rows of NEW; of those of OLD a share `changed` differs."""
    chance = np.random.default_rng(seed)
    missing = chance.random(rows) < MISSING
    differs = ~missing & (chance.random(rows) < changed)
    extra = max(1, rows // 200)
    numbers = np.concatenate([np.flatnonzero(~missing), np.arange(rows, rows + extra)])
    if shuffled:
        chance.shuffle(numbers)
    marks = np.concatenate([differs, np.zeros(extra, bool)])
    expected = {
        "rows_old": rows,
        "rows_new": len(numbers),
        "matched": rows - int(missing.sum()),
        "missing": int(missing.sum()),
        "extra": extra,
        "mismatched_rows": int(differs.sum()),
    }
    return DrawnRows(numbers, marks, expected)


def mix_bits(numbers: np.ndarray, at: int) -> np.ndarray:
    """The finaliser of SplitMix64: well-spread bits from a row and a column."""
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    value += np.uint64(at * 0xD1B54A32D192ED03 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(31))
