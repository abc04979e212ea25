"""What a notebook sees: names, texts, frames, typed columns, and errors with words."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from support.strategies import Pair, pairs

import recon_engine as rx
from recon_engine.errors import ConfigError
from recon_engine.inputs.frames import import_frame


OLD = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "4"],
        "LINE": ["1", "1", "1", "1"],
        "PAID": ["10.00", "20.00", "30.00", "40"],
        "DRG": ["033", "044", "055", "<b>"],
    }
)
NEW = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "5"],
        "LINE": ["1", "1", "1", "1"],
        "PAID": ["10", "20.00", "31.00", "40"],
        "DRG": ["33", "044", "<i>", "<b>"],
    }
)
KEYS = ["ID", "LINE"]
NEW_YEAR = dt.datetime(2025, 1, 1)  # noqa: DTZ001 - a column without a time zone


@pytest.fixture(scope="module")
def result() -> rx.Reconciliation:
    return rx.diff(OLD, NEW, keys=KEYS)


def test_the_package_lists_its_public_names_only() -> None:
    assert dir(rx) == sorted(rx.__all__)


def test_a_traceback_of_an_error_has_its_cause_and_remedy() -> None:
    """A notebook shows nothing else of an exception."""
    with pytest.raises(rx.ReconError) as caught:
        rx.diff(OLD, NEW)
    shown = "".join(traceback.format_exception_only(caught.value)).splitlines()
    assert shown == [
        "recon_engine.errors.ConfigError: no key column is named",
        f"  why: {caught.value.why}",
        "  help: add keys=['ID']",
    ]


def test_a_result_prints_as_the_terminal_table(result: rx.Reconciliation) -> None:
    lines = str(result).splitlines()
    assert lines[0] == "✗ DIFFER  2 of 3 matched rows differ, 1 missing, 1 extra"
    assert re.fullmatch(
        r"PAID +2 +66.67  number 50%, number format 50%  10.00 → 10", lines[5]
    )
    assert any(line.startswith("help: ") for line in lines)
    assert lines[-1].startswith("in Python: rules=d.suggested_rules()")
    assert "\x1b" not in str(result)
    assert repr(result) == (
        "<Reconciliation DIFFER: 2 of 3 matched rows differ, 1 missing, 1 extra>"
    )


def test_a_notebook_shows_hints_and_examples(result: rx.Reconciliation) -> None:
    page = result._repr_html_()
    assert "<code>10.00</code> → <code>10</code>" in page
    assert "rules={&#34;PAID&#34;: &#34;decimal&#34;}</code> removes 1" in page
    assert "Not explained by any hint: " in page
    assert "<i>" not in page
    assert "&lt;i&gt;" in rx.diff(OLD, NEW.filter(ID="3"), keys=KEYS)._repr_html_()
    masked = rx.diff(OLD, NEW, keys=KEYS, masks={"*": "redact"})._repr_html_()
    assert "10.00" not in masked


def test_mismatches_have_the_key_columns_by_name(result: rx.Reconciliation) -> None:
    found = result.mismatches()
    assert found.columns == ["ID", "LINE", "column", "old", "new", "kind"]
    assert found.rows() == [
        ("1", "1", "DRG", "033", "33", "leading_zeros"),
        ("1", "1", "PAID", "10.00", "10", "number_format"),
        ("3", "1", "DRG", "055", "<i>", "text"),
        ("3", "1", "PAID", "30.00", "31.00", "number"),
    ]


def test_rows_are_wide(result: rx.Reconciliation) -> None:
    assert result.rows().to_dicts() == [
        {"ID": "1", "LINE": "1", "PAID_old": "10.00", "PAID_new": "10",
         "DRG_old": "033", "DRG_new": "33"},
        {"ID": "3", "LINE": "1", "PAID_old": "30.00", "PAID_new": "31.00",
         "DRG_old": "055", "DRG_new": "<i>"},
    ]  # fmt: skip
    assert rx.diff(OLD, OLD, keys=KEYS).rows().shape == (0, 2)


def test_a_key_whose_name_is_taken_keeps_its_values() -> None:
    old = pl.DataFrame({"column": ["a"], "A_old": ["b"], "A": ["1"]})
    found = rx.diff(old, old.with_columns(A=pl.lit("2")), keys=["column", "A_old"])
    assert found.mismatches().to_dicts() == [
        {"key.column": "a", "A_old": "b", "column": "A", "old": "1", "new": "2",
         "kind": "number"}
    ]  # fmt: skip
    assert found.rows().to_dicts() == [
        {"column": "a", "key.A_old": "b", "A_old": "1", "A_new": "2"}
    ]


@given(pair=pairs())
def test_rows_are_the_paired_rows_of_mismatches(pair: Pair) -> None:
    """Cells of a repeated key stay with their own pair of rows."""
    old, new = (
        pl.DataFrame(side, dict.fromkeys(pair.names, pl.String), orient="row")
        for side in (pair.old, pair.new)
    )
    d = rx.diff(old, new, keys=pair.keys)
    wide, long = d.rows(), d.mismatches()
    assert wide.height == d.counts.mismatched_rows
    width = len(d.keys)
    cells = [
        (*row[:width], name.removesuffix("_old"), row[at], row[at + 1])
        for row in wide.iter_rows()
        for at, name in enumerate(wide.columns)
        if at >= width and (at - width) % 2 == 0 and row[at] is not None
    ]
    assert sorted(cells) == sorted(row[:-1] for row in long.iter_rows())
    olds = [dict(zip(pair.names, row, strict=True)) for row in pair.old]
    for row in wide.rows():
        values = dict(zip(wide.columns[width:], row[width:], strict=True))
        changed = {
            name.removesuffix("_old"): value
            for name, value in values.items()
            if name.endswith("_old") and value is not None
        }
        assert any(
            all(each[name] == value for name, value in changed.items()) for each in olds
        )


@pytest.mark.parametrize(
    ("arguments", "message", "help_text"),
    [
        ({"on": "ID"}, "diff has no argument on. Did you mean keys?", "write keys=…"),
        ({"key": "ID"}, "diff has no argument key. Did you mean keys?", "write keys=…"),
        (
            {"keys": "ID", "map": {}},
            "diff has no argument map. Did you mean renames?",
            "write renames=…",
        ),
        (
            {"keys": "ID", "delimeter": ";"},
            "diff has no argument delimeter. Did you mean delimiter?",
            "help(recon_engine.diff) lists them",
        ),
        ({}, "no key column is named", "add keys=['ID']"),
    ],
)
def test_a_wrong_argument_is_an_error_with_the_right_word(
    arguments: dict[str, Any], message: str, help_text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        rx.diff(OLD, NEW, **arguments)
    assert (caught.value.message, caught.value.help) == (message, help_text)


def test_an_index_of_pandas_is_no_key() -> None:
    frame = pd.DataFrame({"V": ["1"]}, index=pd.Index(["SECRET"], name="ID"))
    with pytest.raises(ConfigError) as caught:
        rx.diff(frame, frame, keys=frame.index)
    assert caught.value.message == "keys is a Index, not the names of columns"
    assert "SECRET" not in f"{caught.value.message} {caught.value.help}"
    old = OLD.with_columns(index="ID")
    for name in ("ID", "index"):
        with pytest.raises(ConfigError) as caught:
            rx.diff(old, frame, keys=name)
        if name == "ID":
            assert (
                caught.value.message == "ID is the index of the new frame, not a column"
            )
        else:
            assert caught.value.message.startswith("index is the index of the new")
        assert caught.value.help == "pass new.reset_index()"
    assert rx.diff(frame.reset_index(), frame.reset_index(), keys="ID").agrees


TYPED = {
    "boolean": ([True, False], ["true", "false"]),
    "integer": ([1, -2], ["1", "-2"]),
    "float": ([1.0, 0.1], ["1.0", "0.1"]),
    "decimal": ([Decimal("1.10"), Decimal("2.00")], ["1.10", "2.00"]),
    "date": ([dt.date(2025, 1, 1)] * 2, ["2025-01-01"] * 2),
    "datetime": (
        [NEW_YEAR, NEW_YEAR + dt.timedelta(seconds=3723, microseconds=4500)],
        ["2025-01-01 00:00:00", "2025-01-01 01:02:03.004500"],
    ),
    "datetime with a time zone": (
        [dt.datetime(2025, 1, 1, tzinfo=dt.UTC)] * 2,
        ["2025-01-01 00:00:00+00:00"] * 2,
    ),
    "time": ([dt.time(1, 2, 3), dt.time(1, 2, 3, 4)], ["01:02:03", "01:02:03.000004"]),
    "duration": ([dt.timedelta(hours=25)] * 2, ["P1DT1H"] * 2),
    "null": ([None, None], ["", ""]),
}


@pytest.mark.parametrize("kind", TYPED)
def test_typed_columns_become_text_as_documented(kind: str) -> None:
    values, texts = TYPED[kind]
    for frame in (pl.DataFrame({"v": values}), pa.table({"v": values})):
        assert import_frame(frame, "x").data["v"].to_list() == texts
    nanoseconds = pl.DataFrame({"v": values})
    if nanoseconds["v"].dtype == pl.Datetime:
        nanoseconds = nanoseconds.with_columns(pl.col("v").dt.cast_time_unit("ns"))
        assert import_frame(nanoseconds, "x").data["v"].to_list() == texts


def test_the_table_of_the_docs_has_these_texts() -> None:
    page = Path(__file__).parents[2] / "docs" / "python.md"
    rows = re.findall(r"^\| ([a-z ]+) \| (.*) \|$", page.read_text(), re.MULTILINE)
    shown = {kind: re.findall("`([^`]+)`", text) for kind, text in rows}
    for kind, (_, texts) in TYPED.items():
        assert [*dict.fromkeys(filter(None, texts))][: len(shown[kind])] == shown[kind]


def test_typed_columns_beside_text_get_hints() -> None:
    old = pl.DataFrame({"ID": [1, 2], "B": [True, False], "T": [NEW_YEAR] * 2})
    new = pl.DataFrame(
        {"ID": ["1", "2"], "B": ["True", "False"], "T": ["2025-01-01"] * 2}
    )
    d = rx.diff(old, new, keys="ID")
    assert {h.column: (h.flag, h.count) for h in d.hints} == {
        "B": ("--rule B=casefold", 2),
        "T": ("--rule 'T=date(%Y-%m-%d 00:00:00|%Y-%m-%d)'", 2),
    }


SOURCES = ("polars", "lazy", "pandas", "pyarrow", "duckdb", "path")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [*itertools.product(SOURCES, SOURCES)])
def test_tables_of_all_kinds_are_compared_in_any_mix(
    first: str, second: str, tmp_path: Any
) -> None:
    connection = duckdb.connect()

    def source(kind: str, frame: pl.DataFrame, name: str) -> object:
        path = tmp_path / f"{name}.csv"
        frame.write_csv(path)
        return {
            "polars": frame,
            "lazy": frame.lazy(),
            "pandas": pd.DataFrame(frame.to_dicts()),
            "pyarrow": frame.to_arrow(),
            "duckdb": connection.sql(
                f"SELECT * FROM read_csv('{path}', all_varchar => true)"
            ),
            "path": path,
        }[kind]

    d = rx.diff(source(first, OLD, "old"), source(second, NEW, "new"), keys=KEYS)
    n = d.counts
    assert (n.matched, n.missing, n.extra, n.mismatched_cells) == (3, 1, 1, 4)
    assert d.mismatches().to_pandas().shape == (4, 6)
