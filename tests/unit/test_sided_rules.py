"""Rules of one side: what they mean, what is refused, and no false agreement."""

from __future__ import annotations

import hashlib
import io
import random
import re
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.flags import diff

from recon_engine.compare.explain import explain_key
from recon_engine.config import Options, SideOptions
from recon_engine.errors import ConfigError
from recon_engine.inputs import scanning
from recon_engine.rules import code_tables
from recon_engine.rules.base import Apart
from recon_engine.rules.chains import Chain, Step, read_forms
from recon_engine.rules.zones import zone_data_version
from recon_engine.runtime.memory import Budget


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine import Reconciliation

# With the characters that mark a form of several codes, and a blank.
CODES = st.text("AB|,\t", max_size=3)
TABLE = "ID,SEX,PAID\n1,M,1\n2,F,2\n3,,3\n"


def compared(folder: Path, old: str, new: str, **asked: Any) -> Reconciliation:
    for name, text in (("old", old), ("new", new)):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    paths = folder / "old.csv", folder / "new.csv"
    return diff(paths[0], paths[1], keys="ID", **asked)


def kinds(d: Reconciliation) -> dict[str, dict[str, int]]:
    return {each.name: dict(each.kinds) for each in d.by_column if each.kinds}


# No false agreement


NOT_REFLEXIVE: list[tuple[dict[str, Any], int]] = [
    ({"old_rules": {"SEX": "map(M=1,F=2)"}}, 2),
    ({"new_rules": {"SEX": "map(M=1,F=2)"}}, 2),
    ({"rules": {"SEX": "map(M=1)"}}, 1),
    ({"old_rules": {"SEX": "decimal(comma)"}}, 2),
    ({"old_rules": {"PAID": "scale(2)"}}, 3),
    ({"old_rules": {"SEX": "map(M=F,F=M)"}}, 2),
    ({"old_rules": {"SEX": "map(M=F,rest=same)"}}, 1),
    ({"old_rules": {"PAID": "nulls(1)"}}, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "cells"), NOT_REFLEXIVE)
@pytest.mark.parametrize("way", ["native", "numpy", "lines", "frames", "buckets"])
def test_equal_files_differ_where_the_sides_are_read_differently(
    tmp_path: Path, way: str, asked: dict[str, Any], cells: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The fast paths call rows of equal bytes identical. These rows are not."""
    if way == "numpy":
        monkeypatch.setattr(scanning, "start_scan", lambda *_, **__: None)
    if way == "buckets":
        monkeypatch.setattr(Budget, "buckets", lambda *_: 3)
    d = compared(tmp_path, TABLE, TABLE, **asked)
    if way == "frames":
        tables = [pl.read_csv(tmp_path / "old.csv", infer_schema=False) for _ in "on"]
        d = diff(tables[0], tables[1], keys="ID", **asked)
    assert not d.agrees
    assert d.counts.mismatched_cells == cells
    assert d.counts.identical == 3 - d.counts.mismatched_rows


def test_equal_files_agree_where_both_sides_are_read_alike(tmp_path: Path) -> None:
    for asked in (
        {"rules": {"SEX": "map(M=1,rest=same)", "PAID": "decimal(comma)"}},
        {"old_rules": {"PAID": "trim"}, "new_rules": {"PAID": "trim"}},
        {"old_rules": {"PAID": "decimal"}},
    ):
        assert compared(tmp_path, TABLE, TABLE, **asked).agrees


def test_many_identical_rows_are_skipped_and_their_codes_counted(
    tmp_path: Path,
) -> None:
    rows = [f"{at},{'A' if at % 3 else 'M'},x" for at in range(3_000)]
    old = "ID,C,V\n" + "\n".join(rows) + "\n"
    new = old.replace(",M,", ",1,")
    d = compared(tmp_path, old, new, old_rules={"C": "map(M=1,A=A,Z=9)"})
    assert d.agrees
    assert d.counts.tolerated_cells == 1_000
    [rule] = d.rules
    assert rule.codes is not None
    assert rule.codes._asdict() == {
        "right": 3_000, "wrong": 0, "unlisted": 0, "unused": 1,
    }  # fmt: skip
    assert (rule.of, rule.old, rule.new) == ("values", (3_000, 0), (0, 0))


# What is read how


def test_a_side_has_its_text_rules_then_those_of_both_then_one_typed_rule(
    tmp_path: Path,
) -> None:
    old, new = "ID,V\n1, =1.5-\n2,NA\n", "ID,V\n1,-1.50\n2,\n"
    d = compared(
        tmp_path, old, new,
        rules={"V": ["decimal(abs=0.005)", "nulls(NA)", "trim"]},
        old_rules={"V": ["decimal(trailing)", "strip(=)"]},
    )  # fmt: skip
    assert d.agrees
    assert [(each.rule, each.side) for each in d.rules] == [
        ("strip(=)", "old"), ("nulls(NA)", "both"), ("trim", "both"),
        ("decimal(trailing)", "old"), ("decimal(abs=0.005)", "new"),
    ]  # fmt: skip


def test_the_other_side_of_a_number_is_read_by_plain_decimal_and_it_is_said(
    tmp_path: Path,
) -> None:
    d = compared(
        tmp_path, 'ID,V\n1,"1.234,50"\n2,"7,00"\n', "ID,V\n1,1234.5\n2,7.01\n",
        old_rules={"V": "decimal(comma)"},
    )  # fmt: skip
    assert [(each.rule, each.side, each.implied) for each in d.rules] == [
        ("decimal(comma)", "old", False), ("decimal", "new", True),
    ]  # fmt: skip
    assert "implied by the rule of the other side" in d.to_markdown()
    rows = re.findall(r'<th scope="row"><code>V=([^<]*)</code>(.*?)</th>', d.to_html())
    assert [(name, "implied by the rule of" in note) for name, note in rows] == [
        ("decimal(comma)", False), ("decimal", True),
    ]  # fmt: skip
    assert (d.counts.tolerated_cells, kinds(d)) == (1, {"V": {"number": 1}})


def test_a_tolerance_is_about_what_both_sides_read(tmp_path: Path) -> None:
    old, new = "ID,V\n1,100\n2,100\n", "ID,V\n1,1.005\n2,1.02\n"
    asked = {"rules": {"V": "decimal(abs=0.01)"}, "old_rules": {"V": "scale(2)"}}
    d = compared(tmp_path, old, new, **asked)
    assert d.mismatches()["ID"].to_list() == ["2"]


def test_what_cannot_be_read_equals_nothing_but_a_blank_a_blank(tmp_path: Path) -> None:
    text = "ID,V\n1,n/a\n2,\n3,7\n"
    d = compared(tmp_path, text, text, old_rules={"V": "decimal(comma)"})
    assert d.mismatches()["ID"].to_list() == ["1"]
    assert kinds(d) == {"V": {"text": 1}}
    same = compared(tmp_path, text, text, rules={"V": "decimal(comma)"})
    assert same.agrees


@pytest.mark.parametrize(
    ("within", "days", "column"),
    [("1h", 0, "V"), ("23h", 0, "*"), ("24h", 1, "*"), ("49h", 2, "V")],
)
def test_a_tolerance_of_instants_is_one_of_whole_days_where_both_sides_have_days(
    tmp_path: Path, within: str, days: int, column: str
) -> None:
    old = "ID,V\n1,01/05/2026\n2,01/05/2026\n3,01/05/2026\n4,01/05/2026\n"
    new = "ID,V\n1,2026-01-05\n2,2026-01-06\n3,2026-01-07\n4,2026-01-08\n"
    asked = {
        "rules": {column: f"timestamp(%Y-%m-%d %H:%M,zone=UTC,within={within})"},
        "old_rules": {"V": "date(us)"},
        "new_rules": {"V": "date(iso)"},
    }
    d = compared(tmp_path, old, new, **asked)
    assert d.mismatches()["ID"].to_list() == ["2", "3", "4"][days:]


def test_a_day_is_an_instant_at_midnight_of_the_zone(tmp_path: Path) -> None:
    old = "ID,V\n1,2026-01-05\n2,2026-07-05\n3,2026-01-05\n"
    new = (
        "ID,V\n1,2026-01-04T23:00:00Z\n2,2026-07-04T22:00:00Z\n3,2026-01-05T00:00:00Z\n"
    )
    asked = {
        "old_rules": {"V": "date(iso)"},
        "new_rules": {"V": "timestamp(%Y-%m-%dT%H:%M:%S%z,zone=Europe/Berlin)"},
    }
    d = compared(tmp_path, old, new, **asked)
    assert d.mismatches()["ID"].to_list() == ["3"]
    assert d.rules[1].source == f"tzdata {zone_data_version()}"
    assert kinds(d) == {"V": {"date": 1}}


@pytest.mark.parametrize(
    ("formats", "text"),
    [
        ("%Y%j", "2024031"),
        ("%F", "2024-01-31"),
        ("%D,pivot=30", "01/31/24"),
        ("%Y %b %e", "2024 Jan 31"),
        ("%-d.%-m.%Y", "31.1.2024"),
        ("iso|%Y-%m-%d|%Y%j", "2024031"),
    ],
)
def test_a_day_of_any_format_of_a_date_is_an_instant(
    tmp_path: Path, formats: str, text: str
) -> None:
    asked = {
        "old_rules": {"V": f"date({formats})"},
        "new_rules": {"V": "timestamp(%Y-%m-%d %H:%M:%S,zone=UTC)"},
    }
    new = "ID,V\n1,2024-01-31 00:00:00\n2,2024-02-01 00:00:00\n"
    d = compared(tmp_path, f"ID,V\n1,{text}\n2,{text}\n", new, **asked)
    assert d.mismatches()["ID"].to_list() == ["2"]
    assert [(count.old, count.new) for count in d.rules] == [
        ((2, 0), (0, 0)),
        ((0, 0), (2, 0)),
    ]


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("%y%j", ["50031", "29031", "30031"]),
        ("%-m/%-d/%y", ["1/31/50", "1/31/29", "1/31/30"]),
        ("%d-%b-%-y", ["31-Jan-50", "31-Jan-29", "31-Jan-30"]),
        ("%D", ["01/31/50", "01/31/29", "01/31/30"]),
        ("%C%y-%-m-%d|%D", ["1950-1-31", "2029-1-31", "01/31/30"]),
    ],
)
def test_a_year_of_two_digits_is_of_the_century_of_its_pivot_in_every_format(
    tmp_path: Path, form: str, texts: list[str]
) -> None:
    days = ["1950-01-31", "2029-01-31", "1930-01-31", *["2050-01-31"] * 3]
    old, new = (
        "ID,V\n" + "".join(f"{at},{text}\n" for at, text in enumerate(each))
        for each in (texts * 2, days)
    )
    d = compared(tmp_path, old, new, rules={"V": f"date({form}|iso,pivot=30)"})
    assert d.mismatches()["ID"].to_list() == ["3", "4", "5"]
    assert kinds(d) == {"V": {"date": 3}}


def test_a_format_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    rule = "timestamp(iso|%Y-%m-%d|%Y-%m-%d %H:%M:%S,zone=UTC)"
    old, new = "ID,V\n1,2024-01-31\n", "ID,V\n1,2024-01-31 00:00:00\n"
    assert compared(tmp_path, old, new, rules={"V": rule}).agrees


def test_local_times_that_do_not_exist_once_are_unread_and_counted(
    tmp_path: Path,
) -> None:
    texts = ["2026-03-29 02:30:00", "2026-10-25 02:30:00", "2026-03-29 03:00:00"]
    table = "ID,V\n" + "".join(f"{at},{text}\n" for at, text in enumerate(texts))
    other = table.replace(" 0", "  0")
    rule = "timestamp(%Y-%m-%d %H:%M:%S|%Y-%m-%d  %H:%M:%S,zone=Europe/Berlin)"
    d = compared(tmp_path, table, other, rules={"V": rule})
    [count] = d.rules
    assert (count.old, count.new) == ((1, 2), (1, 2))
    assert d.mismatches()["ID"].to_list() == ["0", "1"]


# Code tables


def test_codes_are_counted_apart(tmp_path: Path) -> None:
    old = "ID,C\n1,M\n2,F\n3,X\n4,M\n5,\n6,\n7,M\n"
    new = "ID,C\n1,1\n2,1\n3,X\n4,M\n5,\n6,1\n8,1\n"
    d = compared(tmp_path, old, new, old_rules={"C": "map(M=1,F=2,U=9)"})
    assert kinds(d) == {"C": {"unlisted": 1, "code": 2, "blank_to_value": 1}}
    [rule] = d.rules
    assert rule.codes == (1, 2, 1, 1)
    said = d.to_markdown()
    assert "codes: 1 right, 2 wrong, 1 unlisted, 1 never used" in said


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        # A folded row counts once; its code is wrong.
        ({"old_fold": True, "old_sum": "P", "new_fold": True}, (1, 1, 0, 1)),
        ({"old_fold": True, "new_fold": True}, (1, 0, 0, 1)),
        # One row of NEW fulfils the filter: its pair is kept.
        ({"where": "P = '6'"}, (0, 1, 0, 1)),
        ({"where": "ID = '2'"}, (1, 0, 0, 1)),
        ({"old_where": "ID = '2'"}, (1, 0, 0, 1)),
        ({"new_where": "P = '6'"}, (0, 1, 0, 1)),
        ({}, (1, 1, 0, 1)),
    ],
)
def test_only_codes_of_rows_that_are_compared_are_counted(
    tmp_path: Path, asked: dict[str, Any], codes: tuple[int, ...]
) -> None:
    old = "ID,SEX,P\n1,M,1\n1,M,2\n1,M,3\n2,M,4\n3,X,4\n"
    new = "ID,SEX,P\n1,9,6\n2,1,4\n"
    asked = {"old_rules": {"SEX": "map(M=1,F=2)"}} | asked
    d = compared(tmp_path, old, new, **asked)
    assert d.rules[0].codes == codes
    assert ("1 of 2 codes" in d.rules[0].shortfall) == (codes[:2] == (1, 1))


def test_a_file_of_codes_may_list_several_that_are_right(tmp_path: Path) -> None:
    path = tmp_path / "icd.csv"
    path.write_text("old,new\n25000,E119\n25000,E1165\n4019,I10\n", encoding="utf-8")
    rules = {"C": f"map(@{path})"}
    old = "ID,C\n1,25000\n2,25000\n3,25000\n4,4019\n"
    new = "ID,C\n1,E119\n2,E1165\n3,I10\n4,I10\n"
    d = compared(tmp_path, old, new, old_rules=rules)
    assert d.mismatches()["ID"].to_list() == ["3"]
    [rule] = d.rules
    assert rule.codes == (3, 1, 0, 0)
    assert rule.source == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    back = compared(tmp_path, new, old, new_rules=rules)
    assert back.mismatches()["ID"].to_list() == ["3"]
    with pytest.raises(ConfigError, match="several translations for one"):
        compared(tmp_path, "ID,V\n", "ID,V\n", old_rules={"ID": f"map(@{path})"})


@given(
    st.dictionaries(CODES, st.sets(CODES, min_size=1, max_size=3), min_size=1),
    st.sampled_from(["old", "new"]),
)
@example({"E11": {"A", "B"}}, "old")
def test_of_several_codes_exactly_those_that_are_listed_are_right(
    table: dict[str, set[str]], side: str
) -> None:
    """Also for codes and cells of the characters that mark a form of several."""
    cells = [*map("".join, [(), *product("A|"), *product("A|,", repeat=2)]), "B", "\t|"]
    pairs = [(code, cell) for code in table for cell in cells]
    codes = code_tables.make_code_table(
        [(code, right) for code, each in table.items() for right in each],
        rest_same=False,
        sha256="0" * 64,
    )
    other = "new" if side == "old" else "old"
    rule = Apart(codes, side)
    read = (rule, None) if side == "old" else (None, rule)
    chain = Chain((Step("map", *read),))
    forms = {
        name: read_forms(chain.of(name), pl.Series(texts))
        for name, texts in zip((side, other), zip(*pairs, strict=True), strict=True)
    }
    near = chain.are_near(forms["old"], forms["new"]).to_list()
    assert near == [cell in table[code] for code, cell in pairs]


@pytest.mark.parametrize("way", ["native", "numpy", "frames"])
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_cell_of_what_marks_several_codes_is_no_code(
    tmp_path: Path, way: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "numpy":
        monkeypatch.setattr(scanning, "start_scan", lambda *_, **__: None)
    path = tmp_path / "dx.csv"
    path.write_text("OLD,NEW\nE11,A\nE11,B\n", encoding="utf-8")
    texts = ["ID,C\n1,E11\n2,E11\n", "ID,C\n1,|\n2,B\n"]
    old, new = texts if side == "old" else reversed(texts)
    d = compared(tmp_path, old, new, **{f"{side}_rules": {"C": f"map(@{path})"}})
    if way == "frames":
        tables = [pl.read_csv(io.StringIO(text)) for text in (old, new)]
        asked = {f"{side}_rules": {"C": f"map(@{path})"}}
        tables = [each.with_columns(pl.col("ID").cast(pl.String)) for each in tables]
        d = diff(*tables, keys="ID", **asked)
    assert d.mismatches()["ID"].to_list() == ["1"]


def test_a_code_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    """It stands between the codes of a form: a part of a code would be right."""
    path = tmp_path / "dx.csv"
    path.write_bytes(b"OLD,NEW\nE11,A\nE11,B\0C\n")
    with pytest.raises(ConfigError, match="a NUL byte"):
        compared(tmp_path, "ID,C\n", "ID,C\n", old_rules={"C": f"map(@{path})"})


def test_several_codes_may_have_one_translation(tmp_path: Path) -> None:
    d = compared(
        tmp_path,
        "ID,C\n1,M\n2,m\n",
        "ID,C\n1,1\n2,1\n",
        old_rules={"C": "map(M=1,m=1)"},
    )
    assert d.agrees


def test_a_listed_blank_is_a_code(tmp_path: Path) -> None:
    d = compared(
        tmp_path, "ID,C\n1,\n2,M\n", "ID,C\n1,U\n2,1\n", old_rules={"C": "map(=U,M=1)"}
    )
    assert d.agrees


# Keys


def test_keys_are_paired_by_the_rules_of_each_side(tmp_path: Path) -> None:
    old = "ID,V\nA-1,a\nB-2,b\nC-3,c\n"
    new = "ID,V\n1,a\n2,x\n9,c\n"
    d = compared(tmp_path, old, new, old_rules={"ID": ["map(A1=1,B2=2)", "strip(-)"]})
    # The table does not list C3, so it is not known whether its partner is there.
    assert (d.counts.matched, d.counts.missing, d.counts.extra) == (2, 0, 1)
    [lost] = d.unpairable().to_dicts()
    assert (lost["side"], lost["row"]) == ("old", '{"ID": "C-3", "V": "c"}')
    assert lost["reason"] == "the code table of ID does not list the code"
    assert d.old.unpairable == 1
    assert not d.agrees
    assert "1 extra may be among 1 unpairable of old" in d.warnings()
    same = compared(
        tmp_path, old, new, old_rules={"ID": ["map(A1=1,B2=2,rest=same)", "strip(-)"]}
    )
    assert (same.counts.matched, same.counts.missing, same.old.unpairable) == (2, 1, 0)
    assert d.counts.tolerated_keys == 2
    assert d.mismatches().select("ID", "old", "new").rows() == [("B-2", "b", "x")]
    options = Options(
        keys=("ID",), old=SideOptions(rules={"ID": ("map(A1=1,B2=2)", "strip(-)")})
    )
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for spelled in ("B-2", "2"):
        [pair] = explain_key(*paths, options, [spelled]).pairs
        assert (pair.cells[0].old, pair.cells[0].new) == ("B-2", "2")


def test_repeated_keys_are_paired_by_normal_forms(tmp_path: Path) -> None:
    old = "ID,C\nk,M\nk,F\nk,1\n"
    d = compared(
        tmp_path, old, "ID,C\nk,1\nk,2\nk,F\n", old_rules={"C": "map(M=1,F=2)"}
    )
    assert d.counts.tolerated_cells == 2
    assert d.mismatches().select("old", "new").rows() == [("1", "F")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_changes_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    old = [f"{chance.randint(1, 4)},{chance.choice('MF1')}" for _ in range(20)]
    new = [f"{chance.randint(1, 4)},{chance.choice('12M')}" for _ in range(20)]
    found = []
    for _ in range(2):
        tables = ["ID,C\n" + "".join(f"{row}\n" for row in rows) for rows in (old, new)]
        d = compared(tmp_path, *tables, old_rules={"C": "map(M=1,F=2)"})
        found.append(d.to_dict() | {"engine": "", "old": "", "new": ""})
        chance.shuffle(old)
        chance.shuffle(new)
    assert found[0] == found[1]


# What is refused


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rules": {"V": ["decimal", "date(iso)"]}}, "two typed rules"),
    ({"old_rules": {"V": ["scale(2)", "decimal"]}}, "--old-rule V: two typed rules"),
    ({"old_rules": {"V": "decimal(abs=1)"}}, "a rule of one side has no tolerance"),
    ({"new_rules": {"V": "scale(2,abs=1)"}}, "a rule of one side has no tolerance"),
    ({"old_rules": {"V": "date(iso)"}}, "reads one side only"),
    ({"new_rules": {"V": "boolean"}}, "reads one side only"),
    ({"rules": {"V": "date(iso)"}, "old_rules": {"V": "decimal"}}, "different things"),
    ({"rules": {"V": "decimal"}, "old_rules": {"V": "map(M=1)"}}, "different things"),
    ({"old_rules": {"W": "trim"}}, "--old-rule W: no compared column"),
    ({"rules": {"V": "date(%d-%b-%y)"}}, "a year of two digits"),
    ({"rules": {"V": "date(oracle)"}}, "a year of two digits"),
    ({"rules": {"V": "date(iso,pivot=30)"}}, "has no year of two digits"),
    ({"rules": {"V": "date(%C%y%m%d,pivot=30)"}}, "has no year of two digits"),
    ({"rules": {"V": "date(%D|iso)"}}, "has a year of two digits"),
    ({"rules": {"V": "date(%d-%b-%-y)"}}, "has a year of two digits"),
    ({"rules": {"V": "date(%d.%m.%_y)"}}, "has a year of two digits"),
    ({"rules": {"V": "date(%g-%V-%u)"}}, "has a year of two digits"),
    ({"rules": {"V": "date(%g-%V-%u,pivot=30)"}}, "no week or weekday"),
    ({"rules": {"V": "date(%a %d.%m.%y,pivot=30)"}}, "no week or weekday"),
    ({"rules": {"V": "timestamp(%Y-%m-%d %H:%M:%S)"}}, "no offset, and there is no"),
    ({"rules": {"V": "timestamp(%Y-%m-%d,zone=Europe/Berln)"}}, "mean Europe/Berlin"),
    ({"rules": {"V": "timestamp(%Y-%m-%d %H,%q,zone=UTC)"}}, "%q in the format"),
    ({"rules": {"V": "timestamp(%D %H:%M,zone=UTC)"}}, "%D in the format"),
    ({"rules": {"V": "timestamp(%H:%M,zone=UTC)"}}, "is not complete"),
    ({"rules": {"V": "timestamp(%Y-%m-%d %H,zone=UTC)"}}, "is not complete"),
    ({"rules": {"V": "timestamp(%Y-%m-%d %I %p,zone=UTC)"}}, "is not complete"),
    ({"rules": {"V": "timestamp(%z%Y-%m-%d)"}}, "at another place"),
    ({"rules": {"V": "date(%Y-%m-%d %H)"}}, "is not part of a date"),
    ({"rules": {"V": "map(M=1,M=2)"}}, "lists a code twice"),
    ({"rules": {"V": "map(@nowhere.csv)"}}, "nowhere.csv"),
    ({"rules": {"V": "decimal(money=1)"}}, "currency sign"),
    ({"rules": {"V": "decimal(comma,comma)"}}, "malformed"),
    ({"rules": {"V": "scale(0)"}}, "malformed"),
    ({"rules": {"V": "strip()"}}, "malformed"),
    ({"rules": {"V": "date(iso,within=1h)"}}, "malformed"),
    ({"rules": {"V": "boolean(1)"}}, "malformed"),
    ({"rules": {"ID": "timestamp(%Y-%m-%d,zone=UTC,within=1s)"}}, "have a tolerance"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "words"), REFUSED)
def test_wrong_use_is_refused_before_a_row_is_read(
    tmp_path: Path, asked: dict[str, Any], words: str
) -> None:
    # The row is malformed: it is not reached.
    with pytest.raises(ConfigError) as caught:
        compared(tmp_path, "ID,V\n1\n", "ID,V\n1\n", **asked)
    assert words in str(caught.value)
    assert caught.value.help


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("old,new\nSECRET,1,2\n", "record 2 of the file"),
        ("old,new\nSECRET,1\nSECRET,1\n", "lists a code twice"),
        ("old,new\n", "has 0 codes"),
        ("", "cannot read the file"),
        ('old,new\n"SECRET,1\n', "cannot read the file"),
    ],
)
def test_a_file_of_codes_is_refused_without_a_code_of_it(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "codes.csv").write_text(text)
    with pytest.raises(ConfigError) as caught:
        compared(
            tmp_path, "ID,V\n", "ID,V\n",
            old_rules={"V": f"map(@{tmp_path / 'codes.csv'})"},
        )  # fmt: skip
    assert words in str(caught.value)
    assert "SECRET" not in f"{caught.value} {caught.value.help} {caught.value.why}"


def test_a_rule_of_every_column_gives_way_to_that_of_a_column(tmp_path: Path) -> None:
    d = compared(
        tmp_path, "ID,V,W\n1,1.0,20260105\n", "ID,V,W\n1,1,2026-01-05\n",
        rules={"*": ["trim", "decimal"], "W": "date(%Y%m%d|iso)"},
    )  # fmt: skip
    assert d.agrees
    assert [each.rule for each in d.rules if each.column == "W"] == [
        "trim", "date(%Y%m%d|iso)",
    ]  # fmt: skip
