"""A small comparison is bounded by few queries, however many columns the files have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recon_engine as rx
from recon_engine.analysis import column_hints, few_cells, patterns, totals
from recon_engine.compare.pairing import find_repeated_keys, make_empty_repeats
from recon_engine.kinds import classify_cells
from recon_engine.result import Reconciliation


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


ROWS = 10_000
# Without the native kernel, digests are taken and matched by queries.
MOST_QUERIES = {"native": 20, "numpy": 53}


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for each query that Polars runs."""
    ran: list[str] = []

    def count(owner: object, name: str) -> None:
        run: Callable[..., object] = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            ran.append(name)
            return run(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    # `_collect_eager` runs those of `DataFrame.select`, `Series.str` and so on.
    count(pl.LazyFrame, "collect")
    count(pl.LazyFrame, "_collect_eager")
    count(pl, "collect_all")
    return ran


def write_pair(folder: Path, columns: int, rows: int) -> tuple[Path, Path]:
    """A pair in which each hundredth row differs, and some have no partner."""
    header = ",".join(["ID", *(f"C{at}" for at in range(columns))])
    old, new = [header], [header]
    for row in range(rows):
        cells = [str(row * at % 97) for at in range(1, columns + 1)]
        old.append(",".join([str(row), *cells]))
        if row % 100 == 0:
            cells[row // 100 % columns] += "9"
        if row % 200 != 7:
            new.append(",".join([str(row if row % 200 != 9 else rows + row), *cells]))
    paths = folder / "old.csv", folder / "new.csv"
    for path, lines in zip(paths, (old, new), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "rows"), [(8, ROWS), (64, ROWS), (512, ROWS // 10), (4_096, 3)]
)
def test_there_are_few_queries_and_no_more_for_more_columns(
    tmp_path: Path, queries: list[str], columns: int, rows: int
) -> None:
    result = rx.diff(*write_pair(tmp_path, columns, rows), keys="ID")
    assert result.counts.mismatched_cells > 0
    assert len(queries) <= MOST_QUERIES[result.engine.kernel or ""]


OUTPUTS: dict[str, Callable[[Reconciliation], object]] = {
    "terminal": str,
    "report": Reconciliation.to_html,
    "notebook": Reconciliation._repr_html_,
    "markdown": Reconciliation.to_markdown,
    "document": Reconciliation.to_json,
    "wide rows": Reconciliation.rows,
}
# Each of these goes through all columns.
OF_ALL_COLUMNS = ("differing", "summed", "changed", "left")


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_asks_no_more_of_all_columns_if_there_are_more(
    queries: list[str], monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    asked: list[str] = []

    def count(name: str) -> None:
        found = getattr(Reconciliation, name).fget

        def counted(self: Reconciliation) -> object:
            asked.append(name)
            return found(self)

        monkeypatch.setattr(Reconciliation, name, property(counted))

    def compare(columns: int) -> Reconciliation:
        rows = {"ID": ["1", "2"]} | {f"C{at}": ["1", "2"] for at in range(columns)}
        old = pl.DataFrame(rows)
        return rx.diff(old, old.with_columns(pl.exclude("ID") + "0"), keys="ID")

    for name in OF_ALL_COLUMNS:
        count(name)
    counts = []
    for columns in (20, 40):
        result = compare(columns)
        asked.clear()
        queries.clear()
        OUTPUTS[output](result)
        counts.append((Counter(asked), len(queries)))
    assert counts[0] == counts[1]


TEXTS = st.sampled_from(
    [
        *("", "1", "1.0", "1.5", "1.25", "1.254", "1.26", "1.3", "2", "-1.5", "+1.5"),
        *(
            "0012",
            "12",
            "1,200.5",
            "1200.50",
            "x",
            "X",
            " x",
            "x ",
            "NULL",
            r"\N",
            "N/A",
        ),
        *("20240131", "2024-01-31", "31.01.2024", "12345678", "Müller", "MÃ¼ller"),
        *("1" * 1_200, ".5", "5.", "12.50", "12.504", "12.5049999"),
        # Each hint of a rule has values for which it is proposed.
        *(".x", "x-y", "x y", "xy", "A-100", "A100", "1.200,50", "12,5"),
        *("$12", "12-", "-12", "(12)", "12%", "0.12", "1.2E1", '="12"', "0000001250"),
        *("01/02/2024", "02/01/2024", "2024-02-01", "x\r\ny", "x\ny", "x\u00a0y"),
        *("\u00e9", "e\u0301", "x\u200by"),
    ]
)
CELLS = st.lists(
    st.tuples(st.integers(0, 3), TEXTS, TEXTS, st.integers(0, 5)), max_size=60
)


def cells_of(drawn: list[tuple[int, str, str, int]]) -> pl.DataFrame:
    """Differing cells with their kinds."""
    rows = [(pair, at, old, new) for at, old, new, pair in drawn if old != new]
    schema = {
        "pair": pl.UInt32,
        "column": pl.UInt32,
        "old": pl.String,
        "new": pl.String,
    }
    return classify_cells(pl.DataFrame(rows, schema=schema, orient="row"))


@given(CELLS)
def test_all_columns_at_once_are_found_as_each_by_itself(
    drawn: list[tuple[int, str, str, int]],
) -> None:
    cells = cells_of(drawn)
    keys = pl.DataFrame({"k0": ["b", "a", "a", "c", "b", "a"], "k1": [*"qpqpqp"]})
    names, key_names = [*"ABCD"], ["K", "L"]
    changes = few_cells.group_changes(cells, keys)
    promising = column_hints.find_promising_columns(changes)
    found = few_cells.summarize_columns(changes, names, key_names)
    by_column = cells.partition_by("column", as_dict=True, include_key=False)
    singly = [
        (at, patterns.group_changes(part)) for (at,), part in sorted(by_column.items())
    ]
    shown = patterns.build_patterns(
        [(names[at], at, mine) for at, mine in singly], cells, keys, key_names
    )
    assert [(at, each, sums) for at, _, _, each, sums in found] == [
        (at, each, totals.sum_changes(mine))
        for (at, mine), each in zip(singly, shown if singly else (), strict=True)
    ]
    for at, mine in singly:
        if at not in promising:
            assert column_hints.for_column("C", mine) == []


@given(st.lists(st.tuples(*[TEXTS] * 6), max_size=40))
def test_many_cells_have_the_findings_of_few(rows: list[tuple[str, ...]]) -> None:
    """Columns are grouped one by one from a number of cells on."""
    keys = [str(at % 37) for at in range(len(rows))]
    old, new = (
        pl.DataFrame(
            {
                "ID": keys,
                **{f"C{at}": [row[first + at] for row in rows] for at in range(3)},
            },
            schema={"ID": pl.String, **{f"C{at}": pl.String for at in range(3)}},
        )
        for first in (0, 3)
    )
    few = rx.diff(old, new, keys="ID")
    with patch.object(few_cells, "MAX_CELLS", 0):
        many = rx.diff(old, new, keys="ID")
    assert many.findings == few.findings
    assert many.columns.equals(few.columns)


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(TEXTS, min_size=width, max_size=width), max_size=600
        )
    )
)
def test_forms_of_all_columns_are_those_of_each(rows: list[list[str]]) -> None:
    width = len(rows[0]) if rows else 2
    names = [f"c{at}" for at in range(width)]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    forms = [totals.sum_rows(frame.select(name))[name].form for name in names]
    assert list(totals.detect_forms(frame).values()) == forms
    assert list(totals.detect_forms(frame, names[:1])) == names[:1]


def test_no_repeats_have_the_types_of_some() -> None:
    keys = ["k0", "k1"]
    none = pl.DataFrame(schema=dict.fromkeys(keys, pl.String))
    assert make_empty_repeats(keys).schema == find_repeated_keys(none, keys, {}).schema
