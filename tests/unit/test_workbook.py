"""The workbook: text in every cell, read back by another library, and its limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from decimal import Decimal
from typing import TYPE_CHECKING

import openpyxl
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.program import recon

import recon_engine as rx
from recon_engine.characters import readable
from recon_engine.report import workbook
from recon_engine.report.workbook import write_workbook


if TYPE_CHECKING:
    from pathlib import Path

AWKWARD = (
    "007",
    "=1+1",
    "@SUM(A1)",
    "+1",
    "-1",
    "1-2",
    "12345678901234567890",
    "https://example.org/x",
    "a\nb",
    " b ",
    "_x0041_",
    "ä日\U0001f600",
    "<&>",
    "TRUE",
    "1e5",
)


TARGETS = ("r.xlsx", "r.csv", "r.parquet")


def shown(cell: str | None) -> str:
    """A cell as Excel shows it: what looks like an escape is escaped in the file."""
    return (cell or "").replace("_x005F_", "_")


def pair(folder: Path, values: tuple[str, ...]) -> tuple[Path, Path]:
    def write(name: str, texts: tuple[str, ...]) -> Path:
        path = folder / name
        quoted = (text.replace('"', '""') for text in texts)
        rows = "".join(f'{at},"{text}"\n' for at, text in enumerate(quoted))
        path.write_bytes(("ID,A\n" + rows).encode())
        return path

    return write("o.csv", values), write("n.csv", tuple(f"{each}!" for each in values))


def test_every_cell_is_the_text_of_the_value(tmp_path: Path) -> None:
    found = rx.diff(*pair(tmp_path, AWKWARD), keys="ID")
    assert write_workbook(found, tmp_path / "r.xlsx") == ()
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    assert book.sheetnames == ["summary", "columns", "mismatches", "missing", "extra"]
    sheet = book["mismatches"]
    head, *rows = sheet.iter_rows()
    assert [cell.value for cell in head] == ["ID", "column", "old", "new", "kind"]
    found_texts = {int(row[0].value): shown(row[2].value) for row in rows}
    assert found_texts == dict(enumerate(AWKWARD))
    assert {cell.data_type for row in rows for cell in row} == {"s"}
    assert {cell.number_format for row in rows for cell in row} == {"@"}
    summary = {row[0].value: row[1].value for row in book["summary"].iter_rows()}
    assert summary["verdict"] == found.headline()
    assert summary["rows"] == found.accounting()
    columns = [[cell.value for cell in row] for row in book["columns"].iter_rows()]
    assert columns[1][:5] == ["A", 15, 0, 0, 15]
    assert (summary["key"], summary["rows that differ"]) == ("ID", 15)


def test_columns_have_the_names_of_both_sides(tmp_path: Path) -> None:
    old = pl.DataFrame({"NR": ["1", "2"], "BETRAG": ["9", "8"], "X": ["a", "b"]})
    new = pl.DataFrame({"ID": ["1", "3"], "AMOUNT": ["7", "8"], "X": ["c", "b"]})
    d = rx.diff(old, new, keys="NR", renames={"NR": "ID", "BETRAG": "AMOUNT"})
    write_workbook(d, tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    rows = {
        name: [[cell.value for cell in row] for row in book[name].iter_rows()]
        for name in book.sheetnames
    }
    assert [row[0] for row in rows["columns"]] == ["column", "BETRAG (AMOUNT)", "X"]
    assert [row[:2] for row in rows["mismatches"]] == [
        ["NR (ID)", "column"],
        ["1", "BETRAG (AMOUNT)"],
        ["1", "X"],
    ]
    names = ["NR (ID)", "BETRAG (AMOUNT)", "X"]
    assert rows["missing"] == [names, ["2", "8", "b"]]
    assert rows["extra"] == [names, ["3", "8", "b"]]
    # The frames and JSON keep the names of OLD.
    assert d.extra().columns == ["NR", "BETRAG", "X"]


def test_a_key_may_be_called_as_a_column_of_the_sheet(tmp_path: Path) -> None:
    old = pl.DataFrame({"column": ["1"], "A": ["x"]})
    new = pl.DataFrame({"spalte": ["1"], "A": ["y"]})
    d = rx.diff(old, new, keys="column", renames={"column": "spalte"})
    write_workbook(d, tmp_path / "r.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx")["mismatches"]
    assert [*sheet.iter_rows(values_only=True)] == [
        ("key.column", "column", "old", "new", "kind"),
        ("1", "A", "x", "y", "text"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "keys", "renames", "heads"),
    [
        ("K,A,A (B)", "K,B,A (B)", ["K"], {"A": "B"}, ["K", "A (B)", "A (B)"]),
        ("K,K (L),A", "L,K (L),A", ["K", "K (L)"], {"K": "L"}, ["K (L)", "K (L)", "A"]),
    ],
)
def test_two_columns_may_have_one_head(
    tmp_path: Path,
    old: str,
    new: str,
    keys: list[str],
    renames: dict[str, str],
    heads: list[str],
) -> None:
    (tmp_path / "o.csv").write_text(f"{old}\n1,1,x\n2,2,x\n")
    (tmp_path / "n.csv").write_text(f"{new}\n1,1,y\n3,3,x\n")
    pair = tmp_path / "o.csv", tmp_path / "n.csv"
    write_workbook(rx.diff(*pair, keys=keys, renames=renames), tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    cells = [cell.value for cell in book["mismatches"][1]]
    assert cells == [*heads[: len(keys)], "column", "old", "new", "kind"]
    for name, key in (("missing", "2"), ("extra", "3")):
        assert [*book[name].values] == [tuple(heads), (key, key, "x")]


@pytest.mark.parametrize(
    ("kib", "target"), [("4", "r.xlsx"), ("unlimited", "full.xlsx")]
)
def test_a_workbook_that_does_not_fit_the_disk_leaves_no_file(
    tmp_path: Path, kib: str, target: str
) -> None:
    """Too large is a sheet before it is packed, or the workbook."""
    (tmp_path / "full.xlsx").symlink_to("/dev/full")
    pair(tmp_path, tuple(map(str, range(2_000))))
    (scratch := tmp_path / "scratch").mkdir()
    command = ("-m", "recon_cli", "diff", "o.csv", "n.csv", "-k", "ID", "-q")
    ended = subprocess.run(
        [
            *("bash", "-c", f'ulimit -f {kib}; exec "$0" "$@"', sys.executable),
            *(*command, "-o", target),
        ],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 4
    assert re.match(r"error\[(STORAGE_UNAVAILABLE|DISK_FULL)\]: ", ended.stderr)
    assert [*scratch.iterdir()] == []
    assert not (tmp_path / "r.xlsx").exists()


def test_the_summary_says_what_was_decided_and_the_sheets_mark_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "o.csv").write_text("NR,A,B,LEFT\n1,1.50,x,1\n2,2.50,y,1\n3,3.50,z,1\n")
    (tmp_path / "n.csv").write_text("A,ID,B\n2.00,1,x\n2.5,2,\n9.75,4,w\n")
    accept = 'reason = "known"\nowner = "us"\nuntil = 2099-12-31\n'
    (tmp_path / "recon.toml").write_text(
        'keys = "NR"\non_schema_drift = "compare"\n[map]\nNR = "ID"\n'
        '[rules]\nA = "decimal"\n'
        f'[[suppress]]\nwhat = "column"\ncolumn = "B"\n{accept}'
        f'[[suppress]]\nwhat = "extra"\n{accept}'
    )
    targets = [word for name in TARGETS for word in ("-o", name)]
    recon("diff", "o.csv", "n.csv", *targets, cwd=tmp_path)
    # Tables of cells have the mark, too.
    marked = (tmp_path / "r.csv").read_text().splitlines()
    assert marked == [
        "key.NR,column,old,new,kind,accepted",
        '1,A,1.50,2.00,number,""',
        '2,B,y,"",value_to_blank,yes',
    ]
    assert pl.read_parquet(tmp_path / "r.parquet")["accepted"].to_list() == ["", "yes"]
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    rows = {sheet.title: [*sheet.iter_rows(values_only=True)] for sheet in book}
    summary = [
        tuple(cell for cell in row if cell is not None) for row in rows["summary"]
    ]
    assert summary[1][0] == "compared on"
    for line in (
        ("command", "recon diff o.csv n.csv --config recon.toml"),
        ("key", "NR (ID)"),
        ("rows that differ", 2),
        ("rows that differ, accepted", 1),
        ("open", "1 of 2 differing cells is open, 1 is accepted"),
        ("cells that differ, accepted", 1),
        ("missing rows", 1),
        ("extra rows, accepted", 1),
        ("warning", "not compared, only in old: LEFT"),
        ("suppression", "accepted: B: 1 cell found, until 2099-12-31: known (us)"),
        ("sum of A", "1 cell that differs, new minus old", 0.5),
        ("sum of A", "missing rows", 3.5),
        ("recon.toml", 'what = "column"'),
    ):
        assert line in summary
    assert [row[-1] for row in rows["columns"]] == ["accepted", 0, 1]
    assert any(row[0] == "rule" and row[1].startswith("A=decimal") for row in summary)
    assert rows["mismatches"] == [
        ("NR (ID)", "column", "old", "new", "kind", "accepted"),
        ("1", "A", "1.50", "2.00", "number", ""),
        ("2", "B", "y", "", "value to blank", "yes"),
    ]
    assert rows["missing"][0] == ("NR (ID)", "A", "B", "LEFT")
    assert rows["extra"] == [
        ("NR (ID)", "A", "B", "accepted"),
        ("4", "9.75", "w", "yes"),
    ]


def test_the_summary_has_the_sums_that_the_terminal_prints(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("ID,LINE,PAID\n1,1,1.50\n2,7,2.25\n3,8,4.75\n")
    (tmp_path / "n.csv").write_text("ID,LINE,PAID\n1,1,2.00\n")
    result = rx.diff(tmp_path / "o.csv", tmp_path / "n.csv", keys="ID")
    # Numbers of lines are no amounts beside a column that has fractions.
    assert [each.column for each in result.totals] == ["LINE", "PAID"]
    write_workbook(result, tmp_path / "r.xlsx")
    rows = openpyxl.load_workbook(tmp_path / "r.xlsx")["summary"].values
    sums = {str(row[0]) for row in rows if str(row[0]).startswith("sum of ")}
    assert sums == {"sum of PAID"}


def test_a_number_that_excel_would_round_is_text() -> None:
    exact: tuple[int | Decimal, ...] = (
        0,
        10**15 - 1,
        Decimal("0.1"),
        Decimal("123456789012.34"),
    )
    rounded: tuple[int | Decimal, ...] = (
        10**15 + 1,
        Decimal("1234567890123456.78"),
        Decimal("0.1" + "0" * 19 + "1"),
    )
    assert [*map(workbook._fits_number, (*exact, *rounded))] == [True] * 4 + [False] * 3


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_any_text_is_read_back_or_shown_by_its_escapes(
    tmp_path: Path, texts: list[str]
) -> None:
    found = rx.diff(*pair(tmp_path, tuple(texts)), keys="ID")
    write_workbook(found, tmp_path / "r.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx")["mismatches"]
    cells = {row[0]: row[2:4] for row in sheet.iter_rows(min_row=2, values_only=True)}
    for at, text in enumerate(texts):
        for cell, value in zip(cells[str(at)], (text, f"{text}!"), strict=True):
            escaped = workbook.CONTROL.search(value)
            assert shown(cell) == (readable(value) if escaped else value)


def test_what_does_not_fit_is_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    old, new = pair(tmp_path, ("a", "b", "x" * 40_000, "d"))
    found = rx.diff(old, new, keys="ID")
    notes = write_workbook(found, tmp_path / "r.xlsx")
    assert notes == ("sheet mismatches: 2 rows are left out, for a sheet has 3 rows",)
    monkeypatch.setattr(workbook, "MOST_ROWS", 50)
    notes = write_workbook(found, tmp_path / "r.xlsx")
    assert notes == (
        "sheet mismatches: 2 values are cut, for a cell has 32,767 characters",
    )
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    cell = book["mismatches"].cell(4, 3).value
    assert (len(cell), cell.endswith(" (cut)")) == (32_767, True)
    assert notes[0] in [row[1].value for row in book["summary"].iter_rows()]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("x" * 32_767, True),
        ("x" * 32_768, False),
        ("\U0001f600" * 16_383 + "x", True),
        ("\U0001f600" * 16_384, False),
        # The cut is between the halves of a character, or beside them.
        ("x" + "\U0001f600" * 20_000, False),
        ("xx" + "\U0001f600" * 20_000, False),
        ("é" * 32_767, True),
    ],
)
def test_a_cell_has_as_many_characters_as_excel_counts(
    tmp_path: Path, text: str, *, fits: bool
) -> None:
    old = pl.DataFrame({"ID": ["1"], "A": [text]})
    new = pl.DataFrame({"ID": ["1"], "A": ["n"]})
    notes = write_workbook(rx.diff(old, new, keys="ID"), tmp_path / "r.xlsx")
    cell = openpyxl.load_workbook(tmp_path / "r.xlsx")["mismatches"].cell(2, 3).value
    assert (cell == text) is fits
    if fits:
        assert notes == ()
        return
    assert notes == (
        "sheet mismatches: 1 value is cut, for a cell has 32,767 characters",
    )
    assert cell.endswith(workbook.CUT)
    assert text.startswith(cell.removesuffix(workbook.CUT))
    assert 32_766 <= len(cell.encode("utf-16-le")) // 2 <= 32_767


def test_a_quiet_command_that_passes_prints_no_note(tmp_path: Path) -> None:
    for name, text in (("o.csv", "x" * 40_000), ("n.csv", "y")):
        (tmp_path / name).write_text(f"ID,A\n1,{text}\n")
    asked = ("diff", "o.csv", "n.csv", "-k", "ID", "--gate", "mismatched_rows<=1")
    for words in (("-q",), ()):
        ended = recon(*asked, "-o", "r.xlsx", *words, cwd=tmp_path)
        assert ended.returncode == 0
        assert ("1 value is cut" in ended.stderr) is not bool(words)
        assert bool(ended.stderr) is not bool(words)


def test_columns_that_do_not_fit_are_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file that is written does not depend on the limit of the library.
    monkeypatch.setattr(workbook, "MOST_COLUMNS", 6)
    names = ["ID", *(f"C{at}" for at in range(8))]
    old = pl.DataFrame({name: ["1", "2"] for name in names})
    found = rx.diff(old, old.head(1), keys="ID")
    notes = write_workbook(found, tmp_path / "r.xlsx")
    assert notes == tuple(
        f"sheet {sheet}: 3 columns are left out, for a sheet has 6 columns"
        for sheet in ("missing", "extra")
    )
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    assert [*book["missing"].values] == [tuple(names[:6]), ("2",) * 6]
    assert book["missing"].auto_filter.ref == "A1:F2"
    said = [row[1].value for row in book["summary"].iter_rows()]
    assert {*notes} <= {*said}


def test_masks_hold_in_a_workbook_and_the_command_writes_one(tmp_path: Path) -> None:
    pair(tmp_path, ("secret-1", "secret-2"))
    command = ("diff", "o.csv", "n.csv", "-k", "ID", "--mask", "A=redact")
    ended = recon(*command, "-o", "r.xlsx", cwd=tmp_path)
    assert ended.returncode == 1
    with zipfile.ZipFile(tmp_path / "r.xlsx") as book:
        assert not any(b"secret" in book.read(name) for name in book.namelist())


@pytest.mark.slow
def test_a_workbook_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    pair(tmp_path, ("a",))
    ended = recon("diff", "o.csv", "n.csv", "-k", "ID", "-o", "no/r.xlsx", cwd=tmp_path)
    assert ended.returncode == 2
    assert "the folder does not exist" in ended.stderr


def test_names_stay_in_view_and_columns_are_as_wide_as_their_texts(
    tmp_path: Path,
) -> None:
    old = pl.DataFrame({"ID": ["1", "2"], "NOTE": ["a" * 30, "b" * 500]})
    new = pl.DataFrame({"ID": ["1"], "NOTE": ["a" * 29]})
    write_workbook(rx.diff(old, new, keys="ID"), path := tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(path)
    for name, filtered in (("columns", "A1:F2"), ("mismatches", "A1:E2")):
        assert book[name].freeze_panes == "A2"
        assert book[name].auto_filter.ref == filtered
    assert book["summary"].freeze_panes is None
    widths = book["mismatches"].column_dimensions
    assert 30 < widths["C"].width < 36
    assert 60 < book["missing"].column_dimensions["B"].width < 66
