from __future__ import annotations

import itertools
import json
import shlex
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.program import recon

from recon_engine import diff
from recon_engine.compare import key_search
from recon_engine.compare.key_search import propose_keys
from recon_engine.config import NO_KEY, Options
from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from pathlib import Path


ZEROS = {"ID": ("lstrip0",)}


def table(**columns: str | list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: list(values) for name, values in columns.items()})


def test_the_smallest_sets_are_proposed_and_none_that_holds_another() -> None:
    old = table(ID="1234", A="xxyy", B="pqpq", C="zzzz")
    new = old.with_columns(ID=pl.Series(list("5678")))
    found = {each.columns for each in propose_keys(old, new)}
    assert found == {("A", "B")}


def test_no_larger_key_is_looked_for_where_one_has_its_values_on_both_sides() -> None:
    old = table(ID="1234", A="xxyy", B="pqpq")
    assert [each.columns for each in propose_keys(old, old)] == [("ID",)]


def test_a_key_is_unique_on_both_sides() -> None:
    old, new = table(ID="123", NR="abc"), table(ID="122", NR="abd")
    assert [each.columns for each in propose_keys(old, new)] == [("NR",)]


def test_a_key_that_was_made_anew_and_has_nothing_in_common_is_none() -> None:
    old = table(ROW="123", CLAIM="aab", LINE="xyx")
    new = table(ROW="789", CLAIM="aab", LINE="xyx")
    [only] = propose_keys(old, new)
    assert (only.columns, only.matched, only.overlap) == (("CLAIM", "LINE"), 3, 1)
    assert propose_keys(table(ROW="123"), table(ROW="789")) == []


def test_blanks_are_counted_and_rank_behind() -> None:
    old = pl.DataFrame({"A": ["", "1", "2"], "B": ["x", "y", "z"]})
    first, second = propose_keys(old, old)
    assert (first.columns, first.blanks_old) == (("B",), 0)
    assert (second.columns, second.blanks_old, second.blanks_new) == (("A",), 1, 1)


def test_without_a_key_the_nearest_sets_say_how_often_they_repeat() -> None:
    old = table(A="1123", B="xxyy")
    found = propose_keys(old, old)
    assert not any(each.is_key for each in found)
    assert (found[0].columns, found[0].repeats_old) == (("A",), 1)


def test_mapped_columns_are_one_and_ignored_ones_none() -> None:
    old, new = table(ID="12", X="ab"), table(NR="12", X="ab")
    options = Options(keys=NO_KEY, renames={"ID": "NR"}, ignore=("X",))
    assert [each.columns for each in propose_keys(old, new, options)] == [("ID",)]
    with pytest.raises(ConfigError, match="no column in common"):
        propose_keys(old, new, Options(keys=NO_KEY, ignore=("X",)))


def test_rules_say_which_keys_are_the_same() -> None:
    old, new = table(ID=["01", "02", "03"], P="123"), table(ID="123", P="123")
    [first, *_] = propose_keys(
        old, new, Options(keys=NO_KEY, ignore=("P",), rules=ZEROS)
    )
    assert (first.columns, first.matched, first.overlap) == (("ID",), 3, 1)
    assert propose_keys(old, new, Options(keys=NO_KEY, ignore=("P",))) == []
    # Under the rule two keys of OLD are one.
    again = table(ID=["01", "1", "03"])
    found = propose_keys(again, again, Options(keys=NO_KEY, rules=ZEROS))
    assert (found[0].is_key, found[0].repeats_old) == (False, 1)
    of_new = Options(keys=NO_KEY, renames={"ID": "NR"}, rules={"NR": ("lstrip0",)})
    assert propose_keys(old.select("ID"), new.select(NR="ID"), of_new)[0].matched == 3
    near = Options(keys=NO_KEY, rules={"P": ("decimal(abs=1)",)})
    assert [each.columns for each in propose_keys(old, old, near)] == [("ID",)]
    with pytest.raises(ConfigError, match="--rule IDD: no common column"):
        propose_keys(old, new, Options(keys=NO_KEY, rules={"IDD": ("trim",)}))


def test_amounts_and_dates_come_last() -> None:
    old = pl.DataFrame({
        "PAID": ["1.00", "2.50", "3.00", "4.00"],
        "DAY": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"],
        "CLAIM": ["a", "a", "b", "b"],
        "LINE": ["1", "2", "1", "2"],
    })  # fmt: skip
    found = [each.columns for each in propose_keys(old, old)]
    assert found == [("CLAIM", "LINE"), ("PAID",), ("DAY",)]


def test_a_line_to_paste_has_the_options_that_were_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID;X\n01;q\n02;q\n")
    (tmp_path / "b.csv").write_text("NR,X\n1,q\n2,q\n")
    files, given = ("a.csv", "b.csv"), ("--map", "ID=NR", "--rule", "ID=lstrip0")
    refused = recon("keys", *files, *given, cwd=tmp_path)
    assert refused.returncode == 2
    hint = "add --delimiter ';:,': with it OLD has 2 columns and NEW 2"
    assert hint in refused.stderr
    ended = recon("keys", *files, *given, "--delimiter", ";:,", cwd=tmp_path)
    assert ended.stdout.splitlines()[1] == "ID,2,100.0%,0,0"
    pasted = ended.stderr.splitlines()[-1]
    given_again = "--delimiter ';:,' --key ID --map ID=NR --rule ID=lstrip0"
    assert pasted == f"recon diff a.csv b.csv {given_again}"
    assert recon(*shlex.split(pasted)[1:], cwd=tmp_path).returncode == 0
    none = recon("keys", *files, "--map", "ID=NR", "--delimiter", ";:,", cwd=tmp_path)
    # No number of ID is in both files; X has one value.
    assert (none.returncode, none.stdout.splitlines()[1:]) == (1, ["X,1,50.0%,0,2"])
    assert (
        "ID is unique on both sides and has no value in common; of the others, these"
        " repeat the least" in none.stderr
    )


@pytest.mark.parametrize("rows", [20_000, 1])
def test_columns_with_common_values_are_tried_if_no_key_has_one(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """A surrogate key, and a set that repeats less than others, have none."""
    monkeypatch.setattr(key_search, "SAMPLE_ROWS", rows)
    old, new = table(R="1234", A="uvwu", S="xxyy"), table(R="5678", A="rstr", S="xyyy")
    [found] = propose_keys(old, new)
    assert (found.columns, found.matched, found.is_key) == (("S",), 2, False)
    assert (found.repeats_old, found.repeats_new) == (2, 2)
    assert found.reason == (
        "R is unique on both sides and has no value in common; of the others, S repeats"
        " least, in 4 rows"
    )
    assert propose_keys(old, new, keys_only=True) == []
    with pytest.raises(ConfigError, match="no key column is named") as caught:
        diff(old, new)
    assert caught.value.why == found.reason
    # Hardly a key: the numbers of R have another name in NEW, or are new ones.
    assert (caught.value.help or "").startswith('add keys="COLUMN"; renames=')
    assert propose_keys(table(R="12", S="xx"), table(R="34", S="yy")) == []


@pytest.mark.parametrize(
    ("again", "remedy"),
    [
        (1, "recon diff old.csv new.csv --key CLAIM"),
        (30, "add --key COLUMN; --map OLD=NEW pairs columns with other names"),
    ],
)
def test_unique_columns_without_a_common_value_are_named(
    tmp_path: Path, again: int, remedy: str
) -> None:
    """A key that repeats is proposed beside them if few of its rows do."""
    for name, prefix in (("old.csv", "A"), ("new.csv", "B")):
        rows = [f"{prefix}{n},{n}{prefix},{max(n, again)},x\n" for n in range(100)]
        (tmp_path / name).write_text("ID,NR,CLAIM,ST\n" + "".join(rows))
    without = "ID, NR are unique on both sides and have no value in common"
    ended = recon("diff", "old.csv", "new.csv", cwd=tmp_path)
    assert f"{without}; of the others, CLAIM repeats least, in" in ended.stderr
    drafting = "recon init old.csv new.csv looks for"
    assert f"help: {remedy}; {drafting}" in ended.stderr
    ended = recon("keys", "old.csv", "new.csv", cwd=tmp_path)
    assert f"{without}; of the others, these repeat the least" in ended.stderr


def test_what_repeats_behind_the_sample_is_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_search, "SAMPLE_ROWS", 2)
    old = table(A="1231", B="xyzw")
    assert [each.columns for each in propose_keys(old, old)] == [("B",)]


def test_share_by_share_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (f"{at}", f"{at // 2}", f"{at % 2}", f"{at % 7}" * (at % 3))
        for at in range(500)
    ]
    old = pl.DataFrame(rows, schema=list("ABCD"), orient="row")
    new = old.tail(400).with_columns(A=pl.col("A") + "x")
    at_once = [
        propose_keys(old, new),
        propose_keys(old, new, Options(keys=NO_KEY, ignore=("A", "B"))),
    ]
    monkeypatch.setattr(key_search, "_count_shares", lambda *_: 7)
    assert propose_keys(old, new) == at_once[0]
    assert propose_keys(old, new, Options(keys=NO_KEY, ignore=("A", "B"))) == at_once[1]
    assert not any(each.is_key for each in at_once[1])


CELLS = st.sampled_from(["", "a", "b", "c"])
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8)


def closest_sets(
    old: list[tuple[str, ...]],
    new: list[tuple[str, ...]],
    unmatched: list[tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """For each size the set with the most distinct rows; one that matches some first.

    `unmatched`: unique sets without a common value, so no set that holds one has any.
    """

    def parts(columns: tuple[int, ...]) -> list[set[tuple[str, ...]]]:
        return [{tuple(r[at] for at in columns) for r in side} for side in (old, new)]

    def rank(columns: tuple[int, ...]) -> tuple[bool, int]:
        first, second = parts(columns)
        return bool(unmatched and first & second), len(first) + len(second)

    best = []
    for size in (1, 2, 3):
        sets = [
            columns
            for columns in itertools.combinations(range(3), size)
            if not any(set(key) <= set(columns) for key in unmatched)
        ]
        best += [max(sets, key=rank)] if sets else []
    found = [columns for columns in best if set.intersection(*parts(columns))]
    return found if found or unmatched or not best else closest_sets(old, new, best)


@given(old=ROWS, new=ROWS)
def test_the_keys_are_those_of_an_exhaustive_search(
    old: list[tuple[str, ...]], new: list[tuple[str, ...]]
) -> None:
    names = ("A", "B", "C")
    unique: list[tuple[int, ...]] = []
    enough = False
    for size in (1, 2, 3):
        for columns in itertools.combinations(range(3), size):
            keyed = [
                [tuple(r[at] for at in columns) for r in side] for side in (old, new)
            ]
            alone = all(len(set(side)) == len(side) for side in keyed)
            if alone and not any(set(key) <= set(columns) for key in unique):
                unique.append(columns)
                shared = len(set(keyed[0]) & set(keyed[1]))
                enough = enough or shared >= 0.8 * max(len(old), len(new))
        if enough:
            break
    left, right = (
        pl.DataFrame(side, dict.fromkeys(names, pl.String), orient="row")
        for side in (old, new)
    )
    found = propose_keys(left, right)
    keys_found = {each.columns for each in found if each.is_key}
    in_common = [
        columns
        for columns in unique
        if len(
            {tuple(r[at] for at in columns) for r in old}
            & {tuple(r[at] for at in columns) for r in new}
        )
    ]
    assert keys_found == {tuple(names[at] for at in columns) for columns in in_common}
    closest = [] if in_common else closest_sets(old, new, unique)
    assert {each.columns for each in found if not each.is_key} == {
        tuple(names[at] for at in columns) for columns in closest
    }
    for each in found:
        at = [names.index(name) for name in each.columns]
        olds, news = (
            [tuple(row[i] for i in at) for row in side] for side in (old, new)
        )
        assert each.matched == len(set(olds) & set(news))
        assert each.repeats_old == len(olds) - len(set(olds))
        assert each.repeats_new == len(news) - len(set(news))
        assert each.blanks_old == sum("" in key for key in olds)
        assert each.blanks_new == sum("" in key for key in news)


def test_the_command_prints_what_key_takes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"x, y",B,C\n1,1,q\n1,2,q\n2,1,q\n')
    ended = recon("keys", "a.csv", "a.csv", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    key = '"""x, y"",B"'
    assert ended.stdout == (f"key,in both,of rows,blank,repeated\n{key},3,100.0%,0,0\n")
    pasted = ended.stderr.splitlines()[-1]
    assert pasted == """recon diff a.csv a.csv --key '"x, y"' --key B"""
    assert recon(*shlex.split(pasted)[1:], cwd=tmp_path).returncode == 0
    ended = recon("keys", "a.csv", "a.csv", "-f", "json", cwd=tmp_path)
    assert json.loads(ended.stdout)[0]["columns"] == ["x, y", "B"]
    ended = recon("keys", "a.csv", "a.csv", "--max-columns", "1", cwd=tmp_path)
    assert (ended.returncode, "no set of columns is a key;" in ended.stderr) == (
        1,
        True,
    )
