"""`rows(context=…)`: the texts of equal columns in the rows that differ."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared_pairs import rules_for
from support.strategies import FEWER, Pair, pairs

import recon_engine as rx
from recon_engine.errors import ConfigError, InputChanged


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine.result import Reconciliation


OLD = "ID,NAME,PAID,NOTE\n1,a,10,x\n2,b,20,y\n3,c,30,z\n4,d,40,w\n"
NEW = "ID,NAME,PAID,NOTE\n1,a,11,x\n2,b,20,Y\n3,c,30,z\n5,e,50,v\n"


def write(folder: Path, old: str = OLD, new: str = NEW) -> tuple[Path, Path]:
    paths = folder / "old.csv", folder / "new.csv"
    for path, text in zip(paths, (old, new), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def compare(
    folder: Path, old: str = OLD, new: str = NEW, **more: Any
) -> Reconciliation:
    return rx.diff(*write(folder, old, new), **({"keys": "ID"} | more))


def test_columns_that_are_equal_have_their_texts(tmp_path: Path) -> None:
    d = compare(tmp_path)
    assert d.rows().to_dicts()[0]["NOTE_old"] is None
    assert d.rows(context="all").to_dicts() == [
        {
            "ID": "1",
            "NAME_old": "a",
            "NAME_new": "a",
            "PAID_old": "10",
            "PAID_new": "11",
            "NOTE_old": "x",
            "NOTE_new": "x",
            "differs": "PAID",
        },
        {
            "ID": "2",
            "NAME_old": "b",
            "NAME_new": "b",
            "PAID_old": "20",
            "PAID_new": "20",
            "NOTE_old": "y",
            "NOTE_new": "Y",
            "differs": "NOTE",
        },
    ]
    named = d.rows(context=["NOTE"])
    both = ["PAID_old", "PAID_new", "NOTE_old", "NOTE_new"]
    assert named.columns == ["ID", *both, "differs"]
    assert named["NOTE_new"].to_list() == ["x", "Y"]


@FEWER
@given(pair=pairs(), data=st.data())
def test_rows_with_context_are_rows_of_both_sides(
    pair: Pair, data: st.DataObject
) -> None:
    rules = data.draw(rules_for(pair))
    old, new = (
        pl.DataFrame(rows, schema=dict.fromkeys(pair.names, pl.String), orient="row")
        for rows in (pair.old, pair.new)
    )
    given_rules = {name: list(each) for name, each in rules.items()}
    d = rx.diff(old, new, keys=pair.keys, rules=given_rules)
    cells, whole = d.rows(), d.rows(context="all")
    assert whole.columns[pair.width :] == [
        *(f"{name}_{side}" for name in pair.columns for side in ("old", "new")),
        "differs",
    ]
    # A code that a table does not list differs from itself, too.
    listed = {name for name, each in rules.items() if any("map(" in r for r in each)}
    named = Counter[str]()
    for row in whole.rows():
        differing = row[-1].split(", ")
        named.update(differing)
        both = dict(zip(whole.columns, row, strict=True))
        assert all(
            both[f"{name}_old"] != both[f"{name}_new"]
            for name in differing
            if name not in listed
        )
        key, *texts = row[: pair.width], *row[pair.width : -1]
        assert (*key, *texts[0::2]) in pair.old
        assert tuple(texts[1::2]) in [each[pair.width :] for each in pair.new]
    assert named == Counter(d.mismatches()["column"])
    # Of each row, what differs is what `rows` has, and the rest is equal.
    at = [whole.columns.index(name) for name in cells.columns[pair.width :]]
    filled = Counter[tuple[str, ...]]()
    for row in whole.rows():
        filled[*row[: pair.width], *(row[place] for place in at)] += 1
    assert sum(filled.values()) == cells.height
    for row in cells.rows():
        assert any(
            all(mine in {None, theirs} for mine, theirs in zip(row, each, strict=True))
            for each in filled
        )


def test_columns_that_are_not_compared_are_context(tmp_path: Path) -> None:
    d = compare(
        tmp_path,
        "ID,PAID,SEEN,GONE\n1,10,m,g\n",
        "ID,AMOUNT,SEEN,CAME\n1,11,n,c\n",
        renames={"PAID": "AMOUNT"},
        ignore=["SEEN"],
        on_schema_drift="compare",
    )
    assert d.rows(context="all").to_dicts() == [
        {
            "ID": "1",
            "PAID_old": "10",
            "PAID_new": "11",
            "SEEN_old": "m",
            "SEEN_new": "n",
            "GONE_old": "g",
            "CAME_new": "c",
            "differs": "PAID",
        }
    ]
    with pytest.raises(ConfigError, match=r"context SEEM: .*Did you mean SEEN"):
        d.rows(context=["SEEM"])
    with pytest.raises(ConfigError, match=r"Did you mean all\?"):
        d.rows(context="ALL")


def test_rows_of_a_key_are_found_however_its_rules_let_it_be_written(
    tmp_path: Path,
) -> None:
    # `7` and `007` are one key, of which only one row differs.
    d = compare(
        tmp_path,
        "ID,A,B\n007,x,1\n7,y,2\n8,z,3\n",
        "ID,A,B\n7,x,9\n 07 ,y,2\n8,z,3\n",
        rules={"ID": ["trim", "lstrip0"]},
    )
    assert d.rows(context=["A"]).to_dicts() == [
        {
            "ID": "007",
            "A_old": "x",
            "A_new": "x",
            "B_old": "1",
            "B_new": "9",
            "differs": "B",
        }
    ]


def test_masks_hide_the_texts_and_do_not_hide_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", "0123456789abcdef0123456789abcdef")
    for mask in ("hmac", "redact"):
        d = compare(tmp_path, masks={"ID": mask, "NAME": "redact"})
        whole = d.rows(context="all")
        assert whole["ID"].to_list() == d.rows()["ID"].to_list()
        assert sorted(whole["PAID_new"]) == ["11", "20"]
        shown = set(whole["NAME_old"]) | set(whole["NAME_new"])
        assert shown == {"(redacted)"}


def test_rows_that_are_derived_filtered_and_folded_are_prepared_as_before(
    tmp_path: Path,
) -> None:
    d = compare(
        tmp_path,
        "ID,KIND,PAID\nA-1,k,10\nA-1,k,5\nB-2,k,1\nC-3,no,7\n",
        "ID,KIND,PAID\nA-1,k,16\nB-2,k,1\nC-3,no,8\n",
        derive="PART=slice(ID,1,1)",
        old_fold=True,
        old_sum="PAID",
        where="KIND = 'k'",
    )
    assert d.rows(context="all").to_dicts() == [
        {
            "ID": "A-1",
            "KIND_old": "k",
            "KIND_new": "k",
            "PAID_old": "15",
            "PAID_new": "16",
            "PART_old": "A",
            "PART_new": "A",
            "differs": "PAID",
        }
    ]


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame])
def test_frames_are_read_again(make: Any) -> None:
    old = make({"ID": ["1", "2"], "A": ["x", "y"], "B": ["p", "q"]})
    new = make({"ID": ["1", "2"], "A": ["x", "y"], "B": ["P", "q"]})
    d = rx.diff(old, new, keys="ID")
    assert d.rows(context=["A"]).rows() == [("1", "x", "x", "p", "P", "B")]


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    d = compare(tmp_path)
    # A column that is equal, in a file of the same size.
    path = tmp_path / "new.csv"
    path.write_text(NEW.replace("1,a,", "1,o,"), encoding="utf-8")
    with pytest.raises(InputChanged, match="not what it was") as caught:
        d.rows(context="all")
    assert "new.csv" in str(caught.value.where)
    path.unlink()
    with pytest.raises(InputChanged):
        d.rows(context="all")


def test_content_decides_if_the_time_of_a_file_is_the_same(tmp_path: Path) -> None:
    paths = write(tmp_path)
    before = paths[1].stat()
    for sha256, text in ((True, "1,o,11"), (False, "1,a,12")):
        d = rx.diff(*paths, keys="ID", sha256=sha256)
        paths[1].write_text(NEW.replace("1,a,11", text), encoding="utf-8")
        os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(InputChanged):
            d.rows(context="all")
        paths[1].write_text(NEW, encoding="utf-8")
        os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))
        d.rows(context="all")


def test_a_frame_that_changed_is_refused() -> None:
    old, new = (
        pd.DataFrame({"ID": ["1"], "A": ["x"]}),
        pd.DataFrame({"ID": ["1"], "A": ["y"]}),
    )
    d = rx.diff(old, new, keys="ID")
    new.loc[0, "A"] = "z"
    with pytest.raises(InputChanged):
        d.rows(context="all")


def test_a_result_that_was_pickled_has_no_inputs(tmp_path: Path) -> None:
    d = pickle.loads(pickle.dumps(compare(tmp_path)))  # noqa: S301 - made here
    assert d.rows().height == 2
    with pytest.raises(ConfigError, match="cannot be read again"):
        d.rows(context="all")


def test_parts_and_compressed_files_are_read_again(tmp_path: Path) -> None:
    for side, text in (("old", OLD), ("new", NEW)):
        head, *rows = text.splitlines()
        (tmp_path / side).mkdir()
        for at, part in enumerate((rows[:2], rows[2:])):
            path = tmp_path / side / f"{at}.csv"
            path.write_text("\n".join([head, *part, ""]), encoding="utf-8")
    d = rx.diff(tmp_path / "old", tmp_path / "new", keys="ID")
    assert d.rows(context="all").height == 2
    (tmp_path / "new" / "2.csv").write_text("ID,NAME,PAID,NOTE\n", encoding="utf-8")
    with pytest.raises(InputChanged):
        d.rows(context="all")


def test_a_cell_that_a_rule_makes_equal_is_not_named_as_different() -> None:
    old = pl.DataFrame({"differs": ["1"], "B": ["1,5"], "A": ["x"], "C": ["1"]})
    new = pl.DataFrame({"differs": ["1"], "B": ["1.5"], "A": ["y"], "C": ["2"]})
    rules = {"B": {"old": "decimal(comma)"}}
    [row] = rx.diff(old, new, keys="differs", rules=rules).rows("all").to_dicts()
    assert (row["key.differs"], row["differs"]) == ("1", "A, C")
    assert (row["B_old"], row["B_new"]) == ("1,5", "1.5")
