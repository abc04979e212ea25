"""What the first lines of a file show: counted, and never said of what is not there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from support.csv_files import open_csv
from support.strategies import tables

from recon_engine.inputs.file_shape import (
    HEAD_BYTES,
    count_data_names,
    count_trailing_delimiters,
    find_header_line,
    is_excel_text,
    measure_fixed_width,
)


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (b"a|b|\n1|2|\n", 2),
        (b"a|b|\r\n1|2|\r\n", 2),
        (b"a|b|\n1|2|", 2),
        (b"a|b|\n1|2\n", 0),
        (b'"a"|b|\n"1"|2|\n', 2),
        (b'a|b|\n"1|\n"|2|\n', 3),
        (b'a|b|\n"1\n"|2|\n', 0),
        (b"", 0),
    ],
)
def test_lines_that_end_with_a_delimiter_are_counted_if_all_do(
    head: bytes, count: int
) -> None:
    assert count_trailing_delimiters(head, "|") == count


def test_a_line_that_the_head_cuts_is_not_counted() -> None:
    lines = b"a|b|\n" * (HEAD_BYTES // 5) + b"a|b"
    head = lines[:HEAD_BYTES].ljust(HEAD_BYTES, b"x")
    assert count_trailing_delimiters(head, "|") == HEAD_BYTES // 5


@pytest.mark.parametrize(
    ("head", "names", "line"),
    [
        (b"title\n\nID,A\n1,2\n", ["ID"], 3),
        (b"# x\r\nID,A\r\n", ["A", "ID"], 2),
        (b"ID,A\n1,2\n", ["ID"], None),
        (b"title\nID,A\n", ["ID", "B"], None),
        (b'title\n"ID",A\n', ["ID"], None),
    ],
)
def test_the_header_is_found_behind_lines_before_it(
    head: bytes, names: list[str], line: int | None
) -> None:
    assert find_header_line(head, ",", names) == line


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"1001M01   00010.00\n1002M02   00020.00\n", (2, 18)),
        (b"1001M01   00010.00\n", None),
        (b"1001M01   00010.00\n1002M02\n", None),
        (b"ID\n01\n02\n", None),
    ],
)
def test_a_fixed_width_is_measured(head: bytes, found: tuple[int, int] | None) -> None:
    assert measure_fixed_width(head) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1001,M01,10.00\n1002,M02,20.00\n", 3),
        ("2021,2022\n1.5,2.5\n", 2),
        ("1001,10.00\n", 2),
        ("ID,M01,PAID\n1001,M02,20.00\n", 0),
        ("ID,2021,2022\n1,5,6\n", 0),
        ("CLM_1,DX_1\nabc,def\n", 0),
        ("ID,NAME\nA,Ann\n", 0),
        ("ID\nAB\n", 0),
        ('"1000","M000"\n"1001","M001"\n', 2),
        ('1000,M000\n"1001","M,\n001"\n', 0),
        ('"CLM_1","DX_1"\n"abc","d""ef"\n', 0),
        ('"M01"\n', 0),
    ],
)
def test_names_that_look_like_data_are_counted_if_all_do(text: str, count: int) -> None:
    names = text.split("\n", maxsplit=1)[0].replace('"', "").split(",")
    assert count_data_names(names, text.encode(), ",") == count


def test_names_that_look_like_data_are_warned_of_without_a_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1001,M01,10.00\n1002,M02,20.00\n")
    with caplog.at_level(logging.WARNING, "recon_engine"):
        assert open_csv(path).rows == 1
    [record] = caplog.records
    assert record.getMessage() == "column_names_look_like_data"
    assert (vars(record)["file"], vars(record)["names"]) == (str(path), 3)
    assert "1001" not in str(vars(record))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'="00123",x', True),
        (b'a,="00123"', True),
        (b'a\n="00123"', True),
        (b'a="00123"', False),
        (b'"00123"', False),
        (b'x"y', False),
    ],
)
def test_the_form_of_excel_is_known_at_the_beginning_of_a_field(
    data: bytes, *, found: bool
) -> None:
    assert is_excel_text(data, data.index(b'"'), ",") is found


@given(tables())
def test_any_table_can_be_asked(data: bytes) -> None:
    count_trailing_delimiters(data, ",")
    find_header_line(data, ",", ["id"])
    measure_fixed_width(data)
    count_data_names(["id"], data, ",")
