"""Column names that differ, paired by form or by a list; the columns to compare."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared_pairs import answer, expected
from support.flags import diff
from support.program import recon
from support.spark_cluster import InProcess
from support.strategies import Pair, pairs
from support.suppressed_pairs import DAY

import recon_engine as rx
from recon_engine.column_maps import parse_column_map
from recon_engine.command_line import map_flag, rebuild_command, split_list
from recon_engine.compare.explain import explain_key
from recon_engine.compare.key_search import propose_keys
from recon_engine.config import NO_KEY, Options
from recon_engine.errors import ConfigError, SchemaMismatch
from recon_engine.inputs.header import read_header
from recon_engine.name_forms import NameForm, parse_match_names, write_match_names
from recon_engine.result_document import write_markdown
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from pathlib import Path


OLD = pl.DataFrame({"CLAIM_ID": ["1", "2"], "PAID": ["10", "20"], "X": ["a", "b"]})
NEW = pl.DataFrame({"claim_id": ["1", "2"], "Paid": ["10", "21"], "x": ["a", "c"]})
BOTH = (NameForm.TRIM, NameForm.CASEFOLD)


def test_names_that_differ_in_case_are_paired_and_listed() -> None:
    d = diff(OLD, NEW, keys="CLAIM_ID", match_names="casefold")
    assert (d.counts.matched, d.counts.mismatched_cells) == (2, 2)
    assert d.name_pairs == (("CLAIM_ID", "claim_id"), ("PAID", "Paid"), ("X", "x"))
    line = "--match-names casefold: 3 names paired: CLAIM_ID=claim_id, PAID=Paid, X=x"
    assert [each.line for each in d.applied] == [line]
    assert line in write_markdown(d).replace("\\", "")
    assert line.partition(": ")[2] in d.to_html()
    assert d.to_dict()["name_pairs"] == [list(pair) for pair in d.name_pairs]
    assert d.summary()["name_pairs"] == dict(d.name_pairs)


def test_an_option_without_effect_is_reported_as_that() -> None:
    d = diff(OLD, OLD, keys="CLAIM_ID", match_names="trim,casefold")
    assert d.agrees
    assert [each.line for each in d.applied] == [
        "--match-names trim,casefold: no effect"
    ]


@pytest.mark.parametrize("spelled", ["PAID", "Paid", "paid", "pAID"])
def test_any_spelling_names_a_column_in_every_option(spelled: str) -> None:
    form: dict[str, Any] = {"match_names": "casefold"}
    d = diff(OLD, NEW, keys="Claim_Id", ignore=("X", spelled), **form)
    assert d.agrees
    d = diff(OLD, NEW, keys="claim_id", compare_only=spelled, **form)
    assert [column.name for column in d.by_column] == ["PAID"]
    d = diff(OLD, NEW, keys="claim_id", rules={spelled: "decimal(abs=1)"}, **form)
    assert {c.name: c.tolerated for c in d.by_column} == {"PAID": 1, "X": 0}
    d = diff(OLD, NEW, keys="claim_id", masks={spelled: "redact"}, **form)
    assert d.sample[0].payload["PAID"] == "(redacted)~(redacted)"
    d = diff(OLD, NEW, keys=spelled, ignore="X", **form)
    assert (d.keys, d.counts.matched) == (("PAID",), 1)
    other = NEW.rename({"Paid": "Amount"})
    d = diff(OLD, other, keys="CLAIM_ID", renames={spelled: "AMOUNT"}, **form)
    assert [column.name for column in d.by_column] == ["PAID", "X"]
    assert dict(d.name_pairs) == {"CLAIM_ID": "claim_id", "X": "x"}


@pytest.mark.parametrize(
    ("forms", "names", "clash"),
    [
        ("casefold", ["ID", "Paid", "PAID"], True),
        ("trim", ["ID", "PAID", "PAID "], True),
        ("trim", ["ID", "Paid", "PAID"], False),
        ("casefold", ["ID", "PAID", "PAID "], False),
        ("trim,casefold", ["ID", "PAID", "paid "], True),
    ],
)
@pytest.mark.parametrize("side", ["OLD", "NEW"])
def test_two_names_of_a_side_with_one_form_are_refused(
    forms: str, names: list[str], side: str, *, clash: bool
) -> None:
    frame = pl.DataFrame({name: ["1"] for name in names})
    two = (frame, OLD) if side == "OLD" else (OLD, frame)
    with pytest.raises(SchemaMismatch if clash else rx.ReconError) as caught:
        diff(*two, keys="ID", match_names=forms)
    assert (f"two columns of {side} have one name" in caught.value.message) == clash


def test_a_refusal_of_equal_forms_quotes_no_value() -> None:
    frame = pl.DataFrame({"1001": ["1"], "smith": ["2"], "SMITH": ["3"]})
    with pytest.raises(SchemaMismatch) as caught:
        diff(frame, OLD, keys="1001", match_names="casefold")
    assert "mith" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("names", "forms"),
    [
        (("claim_id", "Paid"), "casefold"),
        (("CLAIM_ID ", " PAID"), "trim"),
        (("claim_id ", " PAID"), "trim,casefold"),
    ],
)
def test_the_refusal_of_other_spellings_proposes_the_option(
    names: tuple[str, str], forms: str
) -> None:
    old, new = OLD.drop("X"), NEW.drop("x")
    new.columns = list(names)
    with pytest.raises(rx.ReconError) as caught:
        diff(old, new, keys="CLAIM_ID")
    assert f"--match-names {forms}, or --map" in str(caught.value.help)
    new.columns = ["CLAIM_ID", names[1]]
    with pytest.raises(SchemaMismatch) as caught:
        diff(old, new, keys="CLAIM_ID")
    assert str(caught.value.help).startswith("--match-names ")
    assert diff(old, new, keys="CLAIM_ID", match_names=forms).counts.matched == 2


@st.composite
def spellings(draw: st.DrawFn, name: str) -> str:
    """The same name in another case, with blanks around it."""
    cases = st.sampled_from([name, name.upper(), name.lower(), name.title()])
    blanks = st.sampled_from(["", " ", "\t", "  "])
    return draw(blanks) + draw(cases) + draw(blanks)


@given(pair=pairs(), data=st.data())
def test_names_in_any_spelling_give_the_answer_of_the_oracle(
    pair: Pair, data: st.DataObject
) -> None:
    theirs = [data.draw(spellings(name)) for name in pair.names]
    old, new = (
        pl.DataFrame(rows, dict.fromkeys(names, pl.String), orient="row")
        for rows, names in ((pair.old, pair.names), (pair.new, theirs))
    )
    d = diff(old, new, keys=pair.keys, match_names="trim,casefold")
    assert answer(d, pair.columns) == expected(pair)
    assert dict(d.name_pairs) == {
        o: n for o, n in zip(pair.names, theirs, strict=True) if o != n
    }


def write_pair(folder: Path) -> tuple[Path, Path]:
    paths = folder / "old.csv", folder / "new.csv"
    for frame, path in zip((OLD, NEW), paths, strict=True):
        frame.write_csv(path)
    return paths


def test_spark_keys_and_explain_pair_the_same_names(tmp_path: Path) -> None:
    old, new = write_pair(tmp_path)
    options = Options(
        keys=("claim_ID",), compare_only=("paid",), match_names=(NameForm.CASEFOLD,)
    )
    headers = read_header(old), read_header(new)
    spark = compare_on_cluster(
        headers,
        (LocalSource.of(headers[0]), LocalSource.of(headers[1])),
        options,
        DAY,
        cluster=InProcess(),
        settings=SparkSettings(span=20, bucket=20, sha256=False),
    )
    local = diff(old, new, keys="claim_ID", compare_only="paid", match_names="casefold")
    without = {"engine": ""}
    assert spark.to_dict() | without == local.to_dict() | without
    [first, *_] = propose_keys(
        old, new, Options(keys=NO_KEY, match_names=(NameForm.CASEFOLD,))
    )
    assert first.columns == ("CLAIM_ID",)
    found = explain_key(old, new, options, ["2"])
    assert [cell.column for cell in found.pairs[0].cells] == ["PAID"]


def test_the_command_line_and_the_file_take_the_same_options(tmp_path: Path) -> None:
    write_pair(tmp_path)
    done = recon(
        "diff", "old.csv", "new.csv", "-k", "claim_id", "--match-names", "casefold",
        "--compare-only", "paid,X", cwd=tmp_path,
    )  # fmt: skip
    assert "2 matched rows" in done.stdout.replace("1 of ", "")
    assert "3 names paired" in done.stdout
    (tmp_path / "recon.toml").write_text(
        'keys = "claim_id"\nmatch_names = "casefold"\ncompare_only = ["paid"]\n'
        'map = "X=x"\n'
    )
    done = recon("diff", "old.csv", "new.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "--compare-only paid: 1 column of OLD and 1 of NEW left out" in done.stdout


@pytest.mark.parametrize(
    "text", ["", "Case", "trim,trim", "exact,trim", "trim;casefold"]
)
def test_a_wrong_form_is_a_usage_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--match-names"):
        parse_match_names(text)


@given(st.sampled_from([(), *([each] for each in NameForm), BOTH]))
def test_forms_are_read_as_they_are_written(forms: tuple[NameForm, ...]) -> None:
    assert parse_match_names(write_match_names(forms)) == tuple(forms)


@pytest.mark.parametrize("wrong", ["NO_SUCH", "ID,NO_SUCH"])
def test_a_column_to_compare_that_no_file_has_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(ConfigError, match="--compare-only NO_SUCH: no file"):
        diff(OLD, OLD, keys="CLAIM_ID", compare_only=["CLAIM_ID", wrong[-7:]])


def test_a_column_to_compare_of_one_side_only_is_drift() -> None:
    with pytest.raises(SchemaMismatch, match="only in OLD: X"):
        diff(OLD, OLD.drop("X"), keys="CLAIM_ID", compare_only=["X", "PAID"])
    d = diff(OLD, OLD.drop("X"), keys="CLAIM_ID", compare_only="PAID")
    assert (d.agrees, d.drift) == (True, rx.model.Drift())


def test_a_column_cannot_be_compared_and_ignored_or_named_twice() -> None:
    for options in (
        {"compare_only": ("A",), "ignore": ("A",)},
        {"compare_only": ("A", "A")},
    ):
        with pytest.raises(ConfigError):
            Options(keys=("K",), **options)


def test_a_digest_of_options_recorded_earlier_stays() -> None:
    assert "match_names" not in Options(keys=("K",)).public
    assert "compare_only" in Options(keys=("K",), compare_only=("A",)).public


@given(
    st.dictionaries(
        st.text(st.sampled_from('aB ,="@'), min_size=1).filter(str.strip),
        st.text(st.sampled_from('aB ,="@'), min_size=1).filter(str.strip),
        min_size=1,
    ).filter(lambda found: len(set(found.values())) == len(found))
)
def test_a_map_that_is_written_is_read_as_it_is(renames: dict[str, str]) -> None:
    flags = [shlex.split(map_flag(*pair))[1] for pair in renames.items()]
    for texts in (flags, [",".join(flags)]):
        assert parse_column_map(texts) == renames
    line = rebuild_command(Options(keys=("K",), renames=renames), "o", "n")
    assert shlex.split(line)[7::2] == flags


def test_a_map_is_a_list_or_a_file(tmp_path: Path) -> None:
    wanted = {"A": "B", "C,D": "E=F"}
    assert parse_column_map(['A=B,"C,D"="E=F"']) == wanted
    assert split_list("A=B,C=D", ",") == ["A=B", "C=D"]
    path = tmp_path / "map.csv"
    for head in ("", "old,new\n", "\ufeffOld , NEW\r\n"):
        path.write_text(f'{head}A,B\n"C,D", E=F \n')
        assert parse_column_map([f"@{path}"]) == wanted
        assert parse_column_map([f"@{path}", "G=H"]) == wanted | {"G": "H"}
    old = pl.DataFrame({"ID": ["1"], "A": ["2"], "C,D": ["3"]})
    new = pl.DataFrame({"ID": ["1"], "B": ["2"], "E=F": ["3"]})
    assert diff(old, new, keys="ID", renames=f"@{path}").agrees


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["A=B,A=C"], None),
        (["A=B,C=B"], None),
        (["A=B", "C=B"], None),
        (["A"], None),
        (["A=B="], None),
        (["=B"], None),
        (["A,B\nA,C\n"], 2),
        (["A,B\nC,B\n"], 2),
        (["old,new\nA,B\nC\n"], 3),
        (["A,B,C\n"], 1),
        (['A,"B\n'], None),
        (["A,\n"], 1),
    ],
)
def test_a_wrong_map_is_a_usage_error(
    tmp_path: Path, texts: list[str], line: int | None
) -> None:
    if "\n" in texts[0]:
        path = tmp_path / "map.csv"
        path.write_text(texts[0])
        texts = [f"@{path}"]
    with pytest.raises(ConfigError) as caught:
        parse_column_map(texts)
    assert caught.value.line == line


def test_a_map_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_column_map([f"@{tmp_path / 'none.csv'}"])
    (tmp_path / "x.csv").write_bytes(b"A,\xff\n")
    with pytest.raises(ConfigError, match="not CSV in UTF-8"):
        parse_column_map([f"@{tmp_path / 'x.csv'}"])
