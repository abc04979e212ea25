"""Variants of two field folders: results for Excel, and names of a delivery."""

from __future__ import annotations

import random
from itertools import chain
from typing import TYPE_CHECKING

import openpyxl
import polars as pl
import pytest

import recon_engine as rx
from recon_engine.characters import readable
from recon_engine.errors import InputError
from recon_engine.model import FilePair, SourceFile
from recon_engine.pipeline.inbox import NoData, select_by_patterns, select_pair
from recon_engine.report.workbook import CONTROL, CUT, MOST_CHARACTERS, write_workbook


if TYPE_CHECKING:
    from pathlib import Path

# What Excel would run as a formula, or read as a number, a date or an error.
AWKWARD = (
    *("=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")', "=cmd|' /C calc'!A0"),
    *("00123", "1E5", "12345678901234567", "1/2", "2026-01-05", "TRUE", "#N/A", "'7"),
    *("a\nb", "a\tb", " a ", "\u00e9\u4e2d\U0001f600", "_x0041_", "<b>&", "a\x01b"),
    *("", "x" * (MOST_CHARACTERS + 1)),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_every_text_of_a_result_is_a_text_in_excel(tmp_path: Path, seed: int) -> None:
    """Variants of 38_result_opened_in_excel."""
    draw = random.Random(seed)
    keys = [f"{draw.choice(('=', '00', '-', '@', '1E'))}{n}" for n in range(8)]
    old = pl.DataFrame({"ID": keys[:7], "A": draw.sample(AWKWARD, 7)})
    new = pl.DataFrame({"ID": keys[1:], "A": draw.sample(AWKWARD, 7)})
    result = rx.diff(old, new, keys="ID")
    path = tmp_path / "result.xlsx"
    write_workbook(result, path)
    book = openpyxl.load_workbook(path)
    sheets = (book[name] for name in ("mismatches", "missing", "extra"))
    cells = list(chain.from_iterable(chain.from_iterable(sheets)))
    # A text is `s` in the file, and a blank one is `n` without a value.
    assert all(
        cell.data_type == "s" or (cell.data_type == "n" and cell.value is None)
        for cell in cells
    )
    for name, frame in (
        ("mismatches", in_words(result.mismatches())),
        ("missing", result.missing()),
        ("extra", result.extra()),
    ):
        shown = [
            # Excel reads `_x0041_` as `A`: its first character is written as a code,
            # which openpyxl does not read back.
            [(cell or "").replace("_x005F_", "_") for cell in row]
            for row in book[name].iter_rows(min_row=2, values_only=True)
        ]
        assert shown == [[in_excel(text) for text in row] for row in frame.rows()]


def in_words(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.with_columns(pl.col("kind").cast(pl.String).str.replace_all("_", " "))


def in_excel(text: str) -> str:
    text = readable(text) if CONTROL.search(text) else text
    cut = text[: MOST_CHARACTERS - len(CUT)] + CUT
    return cut if len(text) > MOST_CHARACTERS else text


ENDINGS = (".txt", ".dat", ".csv", ".TXT", ".csv.gz", ".tsv", "", ".parquet")


@pytest.mark.parametrize("seed", range(24))
def test_files_of_a_run_are_found_by_patterns_whatever_their_names(seed: int) -> None:
    """Variants of 26_pipeline_names."""
    draw = random.Random(seed)
    day = f"2026{draw.randint(1, 12):02}{draw.randint(1, 28):02}"
    mark = draw.choice(("_new", "-NEWSYSTEM", ".v2", "_cloud", "_\u00e9"))
    end = draw.choice(ENDINGS)
    front = draw.random() < 0.5
    old = f"claims_{day}{end}"
    new = f"{mark[1:]}claims_{day}{end}" if front else f"claims_{day}{mark}{end}"
    others = draw.sample(["README", "notes.md", "x.csv", "claims.md5", "a.txt"], 2)
    listed = [SourceFile(f"s3://b/in/{n}", n, 1) for n in (old, new, *others)]
    draw.shuffle(listed)
    patterns = f"claims_????????{end}", f"*{mark[1:]}*"
    found = select_by_patterns(listed, *patterns)
    assert isinstance(found, FilePair)
    assert (found.old.name, found.new.name) == (old, new)
    with pytest.raises(InputError, match="1 file of OLD and 0 of NEW"):
        select_by_patterns([f for f in listed if f.name != new], *patterns)
    pair = [file for file in listed if file.name in {old, new}]
    if end and not end.startswith((".csv", ".parquet")):
        # Files of other names are no empty inbox.
        with pytest.raises(InputError, match="2 files, none a data file") as caught:
            select_pair(pair)
        assert old in caught.value.message
    elif not end and mark != "-NEWSYSTEM":
        assert isinstance(select_pair(pair), NoData)
