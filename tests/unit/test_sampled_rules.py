"""Rules from few rows of a sample, and what `recon init` does once for both files."""

from __future__ import annotations

import random
import tempfile
from typing import TYPE_CHECKING

import polars as pl
import pytest

from recon_engine.config import LIMITS, NO_KEY, Options
from recon_engine.drafts.column_choice import ColumnChoice, RowsToSearch
from recon_engine.drafts.columns import TableColumns
from recon_engine.drafts.draft import draft_settings
from recon_engine.drafts.sampled_rows import FEW_ROWS, hold_sample
from recon_engine.errors import ConfigError
from recon_engine.inputs.frames import Frame
from recon_engine.model import SIDES
from recon_engine.runtime.progress import SILENT


if TYPE_CHECKING:
    from pathlib import Path


def hold_rows(old: pl.DataFrame, new: pl.DataFrame) -> RowsToSearch:
    left, right = (
        TableColumns(Frame(side, rows), tuple(rows.columns))
        for side, rows in zip(SIDES, (old, new), strict=True)
    )
    return RowsToSearch(
        (old, new), (left, right), Options(keys=NO_KEY), None, whole=False
    )


def write_pair(folder: Path, old: pl.DataFrame, new: pl.DataFrame) -> tuple[str, str]:
    paths = folder / "old.csv", folder / "new.csv"
    for path, rows in zip(paths, (old, new), strict=True):
        rows.write_csv(path, separator=";")
    return str(paths[0]), str(paths[1])


def write_amounts(rows: int, exponents: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Amounts with a decimal comma against points, a few of OLD with an exponent."""
    drawn = random.Random(5)
    keys = [f"K{at:06}" for at in range(rows)]
    cents = [drawn.randrange(100, 10**7) for _ in keys]
    old = [f"{each // 100},{each % 100:02}" for each in cents]
    new = [f"{each // 100}.{each % 100:02}" for each in cents]
    for at in drawn.sample(range(rows), exponents):
        old[at], new[at] = "1,5e3", "1500"
    return (
        pl.DataFrame({"ID": keys, "PAID": old}),
        pl.DataFrame({"ID": keys, "PAID": new}),
    )


@pytest.mark.slow
def test_a_notation_of_few_rows_is_part_of_the_rule(tmp_path: Path) -> None:
    # One in five of these rows is among those by which rules are proposed first.
    paths = write_pair(tmp_path, *write_amounts(5 * FEW_ROWS, 3))
    found = draft_settings(*paths)
    rules = {**found.options.rules, **found.options.old.rules}
    assert "comma" in rules["PAID"][0]
    assert "exp" in rules["PAID"][0]
    assert found.result.agrees


def test_the_rows_of_a_sample_have_the_same_keys_on_both_sides() -> None:
    old, new = write_amounts(3 * FEW_ROWS, 0)
    held = hold_rows(old, new.sample(fraction=1.0, shuffle=True, seed=3))
    cells = tuple(side.read_rows() for side in held.sides)
    sample = hold_sample((cells[0], cells[1]), held.sides, [(0, 0)], [("casefold",)])
    few = sample.take_few()
    assert few is not None
    assert {*few[0]["ID"]} == {*few[1]["ID"]}
    assert FEW_ROWS // 2 < few[0].height < 2 * FEW_ROWS
    keys, (left, right) = sample.pair_rows()
    assert left["ID"].to_list() == right["ID"].to_list()
    assert len(keys) == old.height
    others = keys.filter(~left["ID"].is_in(few[0]["ID"].implode()))[:7]
    more = sample.take_few_and(others)
    assert more[0].height == more[1].height == few[0].height + 7


def test_few_rows_are_no_sample_of_less() -> None:
    held = hold_rows(*write_amounts(FEW_ROWS, 0))
    cells = tuple(side.read_rows() for side in held.sides)
    sample = hold_sample((cells[0], cells[1]), held.sides, [(0, 0)], [()])
    assert sample.take_few() is None


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, False), (0.6, False), (0.1, True), (0.0, False)]
)
def test_rows_of_two_orders_are_known_by_a_column_that_identifies_them(
    share: float, *, expected: bool
) -> None:
    rows = 1_000
    common = int(share * rows)
    names = [f"R{at}" for at in range(rows)]
    old = pl.DataFrame({"REF": names, "CODE": ["a", "b"] * (rows // 2)})
    theirs = names[:common] + [f"S{at}" for at in range(rows - common)]
    new = old.with_columns(REF=pl.Series(theirs))
    choice = ColumnChoice(SILENT, 0, None, LIMITS, {})
    assert choice.have_other_rows(hold_rows(old, new)) is expected


def test_a_draft_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    text = "ID;NAME\n" + "".join(f"K{at};Jürgen {at}\n" for at in range(300))
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(text, "cp1252")
    new.write_text(text, "utf-8")
    assert draft_settings(str(old), str(new)).result.agrees
    assert not [*spool.iterdir()]
    # Nor where it fails while both files are open.
    old.write_text(text.replace("K", "L"), "cp1252")
    new.write_text("A,B\n" + "1,x\n" * 300)
    with pytest.raises(ConfigError, match="no key was found"):
        draft_settings(str(old), str(new))
    assert not [*spool.iterdir()]
