"""What a draft searches for is found by less work with the same outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.analysis.measures import FEW, is_measure
from recon_engine.config import LIMITS, NO_KEY, Encoding, Options, SideOptions
from recon_engine.drafts import opened_files
from recon_engine.drafts.columns import (
    KEY_RULES,
    SEED,
    TableColumns,
    Values,
    parse_rules,
    share_values,
)
from recon_engine.drafts.draft import draft_settings
from recon_engine.drafts.opened_files import OpenedFiles
from recon_engine.drafts.sampled_rows import hold_sample
from recon_engine.drafts.spelling import most_rows_differ
from recon_engine.errors import MalformedInput
from recon_engine.inputs import scanned
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.native import binding
from recon_engine.inputs.scanned import GatheredRows, ScannedFile, find_source
from recon_engine.inputs.scanning import start_validation
from recon_engine.model import SIDES
from recon_engine.rules.chains import normal_form
from recon_engine.runtime.progress import SILENT


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine.drafts.sampled_rows import PairedRows
    from recon_engine.inputs.scanning import Scanning


WRITTEN = st.text(st.sampled_from("aAé0017.-/ '=\"\t\u00a0ß\x1c"), max_size=6)


@given(
    texts=st.lists(WRITTEN, min_size=1, max_size=8, unique=True),
    rules=st.sampled_from(KEY_RULES),
)
def test_rules_that_change_no_value_are_left_out(
    texts: list[str], rules: tuple[str, ...]
) -> None:
    values = pl.Series("v", texts)
    every = values.to_frame().select(normal_form(parse_rules(rules), pl.col("v")))
    expected = np.unique(every.to_series().hash(SEED).to_numpy())
    assert Values(values).under(rules).tolist() == expected.tolist()


# A share near 0 is 0 where no common value is among the least hashes.
@pytest.mark.parametrize(
    ("both", "share"),
    [
        (0, 0),
        (1, 0),
        (20, 0.004),
        (2_000, 0.4),
        (2_500, 0.5),
        (4_750, 0.95),
        (5_000, 1),
    ],
)
def test_the_share_of_common_values_is_exact_where_it_decides(
    both: int, share: float
) -> None:
    rows = 5_000
    old = Values(pl.Series("v", [f"K{at}" for at in range(rows)]))
    new = Values(pl.Series("v", [f"K{at + rows - both}" for at in range(rows)]))
    assert share_values(old, new, ()) == share


def test_no_value_is_common_to_an_empty_column() -> None:
    none = Values(pl.Series("v", [], pl.String))
    assert none.under(("trim",)).tolist() == []
    assert share_values(none, Values(pl.Series("v", ["a"])), ("trim",)) == 0.0


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1.5", "2.5"], True),
        (["15", "25"], False),
        (["15.0", "-25.0"], False),
        (["15.00", "25.0"], True),
        (["15.", "25.0"], True),
        (["1.5", "x"], False),
        (["2024-01-31", "2024-02-01"], True),
        (["2024-01-31", "1.5"], False),
        (["1.5", "2024-01-31"], False),
        (["20240131", "20240231"], False),
        ([".", ".5"], False),
        (["", " "], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("blanks", [0, FEW, 3 * FEW])
def test_a_measure_is_known_wherever_its_values_begin(
    texts: list[str], blanks: int, *, expected: bool
) -> None:
    column = pl.Series([""] * blanks + texts * FEW, dtype=pl.String)
    assert is_measure(column) is expected


@pytest.mark.parametrize(("last", "expected"), [("15", True), ("x", False)])
def test_one_text_behind_the_first_decides_on_a_measure(
    last: str, *, expected: bool
) -> None:
    assert is_measure(pl.Series(["7.5"] * (2 * FEW) + [last])) is expected


def hold_pair(old: pl.DataFrame, new: pl.DataFrame) -> PairedRows:
    left, right = (
        TableColumns(Frame(side, rows), tuple(rows.columns))
        for side, rows in zip(SIDES, (old, new), strict=True)
    )
    cells = left.read_rows(), right.read_rows()
    sample = hold_sample(cells, (left, right), [(0, 0)], [("lstrip0",)])
    return sample.pair_rows()


def test_most_rows_differ_by_what_both_sides_read_alike() -> None:
    rows = range(100)
    old = pl.DataFrame(
        {
            "ID": [f"{at:05}" for at in rows],
            "PAID": [f"{at},50" for at in rows],
            "DAY": ["31.01.2024"] * 100,
        }
    )
    new = old.with_columns(
        ID=pl.Series([str(at) for at in rows]),
        PAID=pl.col("PAID").str.replace(",", ".", literal=True),
    )
    of_key = Options(keys=("ID",), rules={"ID": ("lstrip0",)})
    # Without its rule, an amount differs by its bytes.
    assert most_rows_differ(of_key, hold_pair(old, new))
    read = replace(of_key, old=SideOptions(rules={"PAID": ("decimal(comma)",)}))
    # Digests know such amounts, and the key, by their forms.
    assert not most_rows_differ(read, hold_pair(old, new))
    later = new.with_columns(DAY=pl.lit("2024-01-31"))
    dated = replace(
        read, rules={"ID": ("lstrip0",), "DAY": ("date(%d.%m.%Y|%Y-%m-%d)",)}
    )
    # By the rule days are equal, but not by what is digested.
    assert most_rows_differ(dated, hold_pair(old, later))
    few = pl.concat([later.head(40), new.tail(60)])
    assert not most_rows_differ(dated, hold_pair(old, few))
    derived = replace(read, new=SideOptions(derive=("X=slice(ID,1)",)))
    assert not most_rows_differ(derived, hold_pair(old, later))


def write_systems(folder: Path, rows: int = 400, last: str = "") -> tuple[str, str]:
    old, new = folder / "old.csv", folder / "new.csv"
    old.write_text(
        "ID;NAME;DAY\n"
        + "".join(
            f"{at:06};Jürgen {at};{at % 28 + 1:02}.01.2024\n" for at in range(rows)
        )
        + last,
        "cp1252",
    )
    new.write_text(
        "NUMBER,NAME,DAY\n"
        + "".join(f"{at},Jürgen {at},2024-01-{at % 28 + 1:02}\n" for at in range(rows))
    )
    return str(old), str(new)


def test_files_are_read_to_their_ends_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def count_reading(sides: Sequence[object]) -> Scanning | None:
        read.append(len(sides))
        return start_validation(sides)

    monkeypatch.setattr(opened_files, "start_validation", count_reading)
    drafted = draft_settings(*write_systems(tmp_path))
    assert drafted.result.counts.matched == 400
    assert drafted.options.rules["DAY"] == ("date(%d.%m.%Y|%Y-%m-%d)",)
    assert read == [2]


def test_a_caller_is_told_that_the_search_begins_once_files_are_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    begin = OpenedFiles.begin

    def count_opening(*arguments: Any) -> None:
        steps.append("open")
        begin(*arguments)

    monkeypatch.setattr(OpenedFiles, "begin", count_opening)
    paths = write_systems(tmp_path, 60_000, "SUM;60000\n")
    drafted = draft_settings(*paths, begun=lambda: steps.append("begun"))
    assert drafted.options.old.trailers == ("SUM",)
    # The trailer is known once the files are read.
    assert steps == ["open", "begun", "open"]


def test_without_a_kernel_files_are_not_read_for_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draft_settings(*write_systems(tmp_path))
    monkeypatch.setattr(binding, "load_library", lambda: None)
    monkeypatch.delattr(OpenedFiles, "read")
    drafted = draft_settings(*write_systems(tmp_path))
    assert drafted.options == expected.options
    assert drafted.decisions == expected.decisions


def test_a_bad_row_at_the_end_is_reported_by_its_place(tmp_path: Path) -> None:
    rows = 60_000
    paths = write_systems(tmp_path, rows, "1;a;b;c\n2;d;01.01.2024\n")
    with pytest.raises(MalformedInput) as caught:
        draft_settings(*paths)
    assert caught.value.line == rows + 2


@pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
def test_reading_ends_with_the_files(tmp_path: Path) -> None:
    paths = write_systems(tmp_path)
    encodings = Encoding.CP1252, Encoding.UTF_8
    reading = Options(keys=NO_KEY, delimiter=";:,", encodings=encodings)
    opened = OpenedFiles(LIMITS, SILENT)
    opened.begin(paths, reading)
    opened.begin_reading()
    # Other readings begin anew, also while files are read.
    opened.begin(paths, reading)
    opened.begin_reading()
    # A reading that nothing has asked for ends, and another may begin.
    opened.stop_reading()
    tables = opened.read()
    opened.stop_reading()
    assert opened.read() is tables
    assert opened.read_natively() is tables
    assert [table.rows for table in tables] == [400, 400]
    assert all(find_source(table) for table in tables)
    opened.close()
    assert not any(find_source(table) for table in tables)


@pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
def test_the_first_rows_are_read_once_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanned, "ROW_GROUP_BYTES", 1 << 10)
    read: list[int] = []
    take_range = ScannedFile.take_range

    def count_rows(file: ScannedFile, ends: Any) -> GatheredRows:
        read.append(len(ends) - 1)
        return take_range(file, ends)

    opened = OpenedFiles(LIMITS, SILENT)
    encodings = Encoding.CP1252, Encoding.UTF_8
    reading = Options(keys=NO_KEY, delimiter=";:,", encodings=encodings)
    opened.begin(write_systems(tmp_path), reading)
    table = opened.read()[0]
    monkeypatch.setattr(ScannedFile, "take_range", count_rows)
    columns = TableColumns(table, ("ID", "NAME", "DAY"))
    rows = table.parts[0].rows
    assert columns.head.height == rows < table.rows
    assert columns.head.row(-1)[0] == f"{rows - 1:06}"
    assert read == [rows]
    opened.close()
