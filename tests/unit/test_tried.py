"""Hints to paste were tried on these files: followed, they do what they say."""

from __future__ import annotations

import itertools
import re
import shlex
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import oracle
from support.flags import diff
from support.program import recon
from support.strategies import FEWER

from recon_engine.errors import ConfigError, EncodingError, KeyMissing
from recon_engine.inputs.encodings import tried


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import recon_engine as rx
    from recon_engine.model import Hint

TEXT = "ID,CITY\n1,Köln\n2,Łódź\n3,Nice\n".replace("Ł", "L").replace("ź", "z")
ENCODINGS = ["utf-8", "cp1252", "utf-16", "cp850"]


def pasted(text: str | None) -> dict[str, str]:
    """The options that a hint has to paste, as parameters of `diff`."""
    words = shlex.split(re.sub(r" \(.*|: with it.*", "", text or ""))
    return {
        option.removeprefix("--"): value
        for option, value in itertools.pairwise(words)
        if option.startswith("--")
    }


# Encodings


@pytest.mark.parametrize("old", ENCODINGS)
@pytest.mark.parametrize("new", ENCODINGS)
def test_the_encoding_to_paste_is_of_this_pair(
    tmp_path: Path, old: str, new: str
) -> None:
    """Of every pair of encodings, wherever the first odd byte is."""
    names = tmp_path / "old.csv", tmp_path / "new.csv"
    for name, encoding in zip(names, (old, new), strict=True):
        name.write_bytes(TEXT.encode(encoding))
    if old == new == "utf-8":
        assert diff(*names, keys="ID").agrees
        return
    with pytest.raises(EncodingError) as caught:
        diff(*names, keys="ID")
    flag = pasted(caught.value.help)["encoding"]
    assert flag == (old if old == new else f"{old}:{new}")
    assert diff(*names, keys="ID", encoding=flag).agrees


def test_the_header_too_says_the_encoding_of_the_pair(tmp_path: Path) -> None:
    names = tmp_path / "old.csv", tmp_path / "new.csv"
    names[0].write_text("ID,Größe\n1,é\n", encoding="utf-8")
    names[1].write_text("ID,Größe\n1,é\n", encoding="cp1252")
    for command in (("diff", "-k", "ID"), ("keys",), ("explain", "1", "-k", "ID")):
        verb, *others = command
        files = ["old.csv", "new.csv"]
        ended = recon(verb, *files, *others, cwd=tmp_path)
        assert ended.returncode == 3
        assert "add --encoding utf-8:cp1252 (NEW: the " in ended.stderr
        assert "3 characters outside ASCII)" in ended.stderr
    followed = ("--encoding", "utf-8:cp1252")
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", *followed, cwd=tmp_path)
    assert ended.returncode == 0


def test_a_mark_says_the_encoding_of_one_file_only(tmp_path: Path) -> None:
    names = tmp_path / "old.csv", tmp_path / "new.csv"
    names[0].write_bytes(TEXT.encode("cp1252"))
    names[1].write_bytes(TEXT.encode("utf-8-sig"))
    with pytest.raises(EncodingError) as caught:
        diff(*names, keys="ID", encoding="cp1252")
    assert pasted(caught.value.help) == {"encoding": "cp1252:utf-8"}
    assert diff(*names, keys="ID", encoding="cp1252:utf-8").agrees


def test_a_damaged_file_is_given_no_encoding(tmp_path: Path) -> None:
    """Read as cp1252 its other letters would be wrong."""
    (tmp_path / "a.csv").write_bytes("ID,C\n1,Köln\n".encode() + b"2,K\xf6ln\n")
    with pytest.raises(EncodingError) as caught:
        diff(tmp_path / "a.csv", tmp_path / "a.csv", keys="ID")
    assert not pasted(caught.value.help).get("encoding", "").startswith("cp1252:u")
    assert "save it as UTF-8" in str(caught.value.help)
    assert tried("Köln".encode() + b"\xf6") is None
    assert tried(b"a\x81b") is not None


# Delimiters


def files(folder: Path, old: str, new: str) -> tuple[Path, Path]:
    (folder / "old.csv").write_text(old)
    (folder / "new.csv").write_text(new)
    return folder / "old.csv", folder / "new.csv"


ROWS = "ID;A\n1;x\n2;y\n"


@pytest.mark.parametrize("ours", [";", ",", "\t", "|"])
@pytest.mark.parametrize("theirs", [";", ",", "\t", "|"])
def test_the_delimiter_to_paste_reads_both_files(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    pair = files(tmp_path, ROWS.replace(";", ours), ROWS.replace(";", theirs))
    if ours == theirs == ",":
        return
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID")
    assert "2 and 2 were checked" in str(caught.value.help)
    flag = pasted(caught.value.help)["delimiter"].replace("\\t", "\t")
    assert diff(*pair, keys="ID", delimiter=flag).agrees


@pytest.mark.parametrize(
    "old",
    [
        "Claims; all\nID,A\n1,x\n",
        "ID;A\n1;x;y\n",
    ],
)
def test_no_delimiter_is_proposed_that_does_not_read_the_files(
    tmp_path: Path, old: str
) -> None:
    pair = files(tmp_path, old, "ID,A\n1,x\n")
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID")
    assert "--delimiter" not in str(caught.value.help)


def test_a_delimiter_is_proposed_although_the_names_differ(tmp_path: Path) -> None:
    """With it, the next error can say which columns there are."""
    pair = files(tmp_path, "ID2;A\n1;x\n", "ID,A\n1,x\n")
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID")
    assert pasted(caught.value.help) == {"delimiter": ";:,"}
    assert not caught.value.is_settled
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID", delimiter=";:,")
    assert "Did you mean ID2?" in caught.value.message


@pytest.mark.parametrize("mark", ["|~|", "||", "::", "~|"])
def test_a_delimiter_of_several_characters_is_proposed(
    tmp_path: Path, mark: str
) -> None:
    pair = files(tmp_path, ROWS.replace(";", mark), ROWS.replace(";", ","))
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID")
    assert f"OLD seems to be delimited by {mark}" in str(caught.value.help)
    flag = pasted(caught.value.help)["delimiter"]
    assert diff(*pair, keys="ID", delimiter=flag).agrees


def test_names_that_are_mapped_are_looked_for_as_well(tmp_path: Path) -> None:
    pair = files(tmp_path, ROWS, ROWS.replace("A", "B"))
    with pytest.raises(ConfigError) as caught:
        diff(*pair, keys="ID", renames={"A": "B"})
    assert pasted(caught.value.help) == {"delimiter": ";"}
    assert diff(*pair, keys="ID", renames={"A": "B"}, delimiter=";").agrees


def test_lines_before_the_header_are_counted(tmp_path: Path) -> None:
    pair = files(
        tmp_path,
        "Claims extract;run 2026-03-01\nRegion: North\n\nID,A\n1,x\n2,y\n",
        "ID,A\n1,x\n2,y\n",
    )
    with pytest.raises(KeyMissing) as caught:
        diff(*pair, keys="ID")
    assert caught.value.help == (
        "the header is in line 4 of OLD: 2 rows after it fit it; use --old-skip-lines 3"
    )
    assert diff(*pair, keys="ID", old_skip_lines=3).agrees


# Keys


def hints_of(d: rx.Reconciliation) -> list[tuple[str, str, int, int]]:
    return [(hint.kind, hint.flag, hint.count, hint.total) for hint in d.hints]


def test_a_column_that_matches_no_row_makes_no_key() -> None:
    """Three claims are one number now, and nothing but the amounts tells them apart."""
    old = pl.DataFrame({"CLAIM": ["11", "12", "13"], "AMT": ["1", "2", "3"]})
    new = old.with_columns(CLAIM=pl.lit("1E1"))
    [hint] = diff(old, new, keys="CLAIM").hints
    assert (hint.kind, hint.flag) == ("damage", "")


def test_a_column_that_makes_the_key_unique_says_how_many_rows_match_with_it() -> None:
    old = pl.DataFrame(
        [(f"{at // 2}", f"{at}.50", f"{at % 2}", f"{at}") for at in range(20)],
        schema=["ID", "PAID", "LINE", "X"],
        orient="row",
    )
    new = old.with_columns(X=pl.lit("x") + pl.col("X"))
    [hint] = [h for h in diff(old, new, keys="ID").hints if h.kind == "unique_key"]
    assert (hint.column, hint.flag) == ("LINE", "--key ID --key LINE")
    assert hint.text == (
        "10 keys of OLD and 10 of NEW repeat; with LINE in the key none repeats, and"
        " 20 of 20 matched rows still match"
    )
    amounts = [each.drop("LINE", "X") for each in (old, new)]
    [hint] = diff(*amounts, keys="ID").hints
    assert hint.column == "PAID"
    [hint] = diff(old.head(3), new.head(2), keys="ID", ignore="X").hints
    assert hint.text.startswith("1 key of OLD and 1 of NEW repeat; ")
    one = old.filter(LINE="0").with_columns(X=pl.lit("a"))
    [hint] = diff(old.drop("PAID"), one.drop("PAID"), keys="ID", ignore="X").hints
    assert hint.text.startswith("10 keys of OLD repeat; ")


# One row for several


def split(old: Sequence[tuple[str, ...]], new: Sequence[tuple[str, ...]]) -> list[Hint]:
    names = ["ID", "LINE", "PAID", "UNITS"]
    sides = [pl.DataFrame(rows, schema=names, orient="row") for rows in (old, new)]
    found = diff(*sides, keys="ID")
    return [hint for hint in found.hints if hint.kind == "split"]


@pytest.mark.slow
def test_one_row_for_several_is_said_as_it_was_measured() -> None:
    old = [(f"{at}", "1", "100.00", "3") for at in range(2_000)]
    new = [
        (key, f"{line}", paid, units)
        for key, *_ in old
        for line, paid, units in ((1, "60.00", "1"), (2, "40", "2"))
    ]
    [hint] = split(old, new)
    assert hint.text == (
        "1 row of OLD corresponds to 2 of NEW in 2,000 keys; PAID adds up in 2,000 of "
        "them, UNITS in 2,000"
    )
    [back] = split(new, old)
    assert back.text == hint.text.replace("OLD", "?").replace("NEW", "OLD").replace(
        "?", "NEW"
    )
    # No key with the line number is proposed beside it.
    names = ["ID", "LINE", "PAID", "UNITS"]
    sides = [pl.DataFrame(rows, schema=names, orient="row") for rows in (old, new)]
    kinds = {hint.kind for hint in diff(*sides, keys="ID").hints}
    assert "unique_key" not in kinds


PARTS = st.lists(st.sampled_from(["1", "2.50", "0", "", "-1", "x"]), max_size=3)
ADDENDS = st.lists(st.sampled_from(["1", "2.50", "-7", "0"]), min_size=2, max_size=3)


def add_up(addends: list[str], more: str, order: int) -> tuple[list[str], ...]:
    """Several rows of a side, and one of the other that is their sum, or more."""
    whole = sum(map(Decimal, addends), Decimal(more))
    return (addends, [str(whole)])[::order]


SPLITS = st.builds(
    add_up, ADDENDS, st.sampled_from(["0", "0", "0", "0.01"]), st.sampled_from([1, -1])
)


@FEWER
@given(
    st.lists(
        st.one_of(SPLITS, SPLITS, SPLITS, st.tuples(PARTS, PARTS)),
        min_size=1,
        max_size=8,
    )
)
def test_sums_of_splits_are_those_of_fractions(
    groups: list[tuple[list[str], ...]],
) -> None:
    names = ["ID", "PAID"]
    sides = [
        pl.DataFrame(
            [(f"{at}", paid) for at, both in enumerate(groups) for paid in both[side]],
            schema=dict.fromkeys(names, pl.String),
            orient="row",
        )
        for side in (0, 1)
    ]
    expected = []
    for several, one in ((1, 0), (0, 1)):
        keys, adding = 0, 0
        for both in groups:
            single, many = both[one], both[several]
            if len(single) != 1 or len(many) < 2 or single[0] in many:
                continue
            keys += 1
            numbers = [oracle.number(text) for text in (*single, *many)]
            first, *others = [Fraction(n) if n is not None else None for n in numbers]
            if first is not None and None not in others and first == sum(others):  # type: ignore[arg-type]
                adding += 1
        if keys and adding * 2 >= keys:
            expected.append((adding, keys))
    found = diff(*sides, keys="ID").hints
    assert [(h.count, h.total) for h in found if h.kind == "split"] == expected
