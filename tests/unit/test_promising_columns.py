"""A column that one query leaves out has no hint of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.analysis import column_hints, few_cells
from recon_engine.kinds import classify_cells


if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[int], tuple[str, str]]

CODES = ("A", "B", "C", "D", "E")
# What two systems write for the same value, for numbers from 0 to 999.
FAMILIES: dict[str, Change] = {
    "order of day and month": lambda n: (
        f"{n % 12 + 1:02}/{n % 16 + 13}/2026",
        f"{n % 16 + 13}/{n % 12 + 1:02}/2026",
    ),
    "order of short day and month": lambda n: (
        f"{n % 12 + 1}/{n % 16 + 13}/2026",
        f"{n % 16 + 13}/{n % 12 + 1}/2026",
    ),
    "days": lambda n: (f"202601{n % 28 + 1:02}", f"2026-01-{n % 28 + 1:02}"),
    "days of months by name": lambda n: (
        f"{n % 28 + 1:02}-Mar-2026",
        f"{n % 28 + 1:02}.03.2026",
    ),
    "days with midnight": lambda n: (
        f"2026-01-{n % 28 + 1:02} 00:00:00",
        f"{n % 28 + 1:02}.01.2026",
    ),
    "zones": lambda n: (
        f"2026-01-01T{n % 20 + 2:02}:{n % 60:02}:00Z",
        f"2026-01-01T{n % 20 + 3:02}:{n % 60:02}:00+01:00",
    ),
    "zones that are not written": lambda n: (
        f"2026-01-01 {n % 20 + 2:02}:{n % 60:02}:00.5",
        f"2026-01-01 {n % 20 + 3:02}:{n % 60:02}:00.500",
    ),
    "digits of a second": lambda n: (
        f"2026-01-01 {n % 20 + 2:02}:{n % 60:02}:00.5",
        f"2026-01-01 {n % 20 + 2:02}:{n % 60:02}:00.500",
    ),
    "implied point": lambda n: (f"{n + 1}25", f"{n + 1}.25"),
    "implied point behind zeros": lambda n: (f"{n + 1:08}25", f"{n + 1}.25"),
    "rounding": lambda n: (f"{n}.1251", f"{n}.13"),
    "cut digits": lambda n: (f"{n}.1299", f"{n}.12"),
    "rounding to whole numbers": lambda n: (f"{n}.4", f"{n}"),
    "zeros at the end": lambda n: (f"{n}.5", f"{n}.50"),
    "decimal comma": lambda n: (f"1.{n:03},50", f"1{n:03}.50"),
    "grouped thousands": lambda n: (f"1,{n:03}.50", f"1{n:03}.50"),
    "currency": lambda n: (f"${n}.50", f"{n}.50"),
    "parentheses": lambda n: (f"({n + 1}.50)", f"-{n + 1}.50"),
    "trailing sign": lambda n: (f"{n + 1}-", f"-{n + 1}"),
    "percent": lambda n: (f"{n + 1}%", f"{(n + 1) / 100:.2f}"),
    "exponent": lambda n: (f"{n + 1}E2", f"{n + 1}00"),
    "marker of no value": lambda n: ("NULL", "") if n else ("N/A", ""),
    "text of a spreadsheet": lambda n: (f'="{n:05}"', f"{n:05}"),
    "yes and no": lambda n: ("YN"[n % 2], "10"[n % 2]),
    "punctuation": lambda n: (f"A-{n:03}", f"A{n:03}"),
    "codes": lambda n: (CODES[n % 5], f"{n % 5 + 10}"),
    "blanks": lambda n: (f"claim  {n}", f"claim {n}"),
    "case": lambda n: (f"claim {n}", f"CLAIM {n}"),
    "leading zeros": lambda n: (f"{n + 1:06}", f"{n + 1}"),
    "line breaks": lambda n: (f"claim\r\n{n}", f"claim\n{n}"),
    "forms of a letter": lambda n: (f"caf\u00e9 {n}", f"cafe\u0301 {n}"),
    "misread letters": lambda n: (f"M\u00fcller {n}", f"M\u00c3\u00bcller {n}"),
}


def changes_of(cells: list[tuple[str, str]]) -> pl.DataFrame:
    """The distinct changes of a column, with their kinds."""
    keys = pl.DataFrame({"K": [str(at) for at in range(len(cells))]})
    rows = [(at, 0, old, new) for at, (old, new) in enumerate(cells) if old != new]
    schema = {
        "pair": pl.UInt32,
        "column": pl.UInt32,
        "old": pl.String,
        "new": pl.String,
    }
    found = classify_cells(pl.DataFrame(rows, schema=schema, orient="row"))
    return few_cells.group_changes(found, keys)


@given(
    family=st.sampled_from([*FAMILIES]),
    numbers=st.lists(st.integers(0, 999), min_size=1, max_size=40, unique=True),
    order=st.sampled_from([(0, 1), (1, 0)]),
    margins=st.tuples(*[st.sampled_from(["", "", " "])] * 2),
    others=st.lists(st.sampled_from([("x", "y"), ("1", "2"), ("", "z")]), max_size=3),
)
def test_a_column_that_is_left_out_has_no_hint(
    family: str,
    numbers: list[int],
    order: tuple[int, int],
    margins: tuple[str, str],
    others: list[tuple[str, str]],
) -> None:
    pairs = [FAMILIES[family](number) for number in numbers]
    written = [(old + margins[0], margins[1] + new) for old, new in pairs]
    cells = [(each[order[0]], each[order[1]]) for each in written]
    changes = changes_of(cells + others)
    if not changes.is_empty() and not column_hints.find_promising_columns(changes):
        assert column_hints.for_column("C", changes) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_a_hint(family: str) -> None:
    """Otherwise the test above would show nothing."""
    changes = changes_of([FAMILIES[family](number) for number in range(7, 150, 3)])
    assert column_hints.find_promising_columns(changes)
    assert column_hints.for_column("C", changes)
