"""Telling the pair in a list of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.errors import InputError, UnusableFiles
from recon_engine.model import FilePair, SourceFile
from recon_engine.pipeline.inbox import NoData, select_by_patterns, select_pair
from recon_engine.status import RunStatus


def file(name: str) -> SourceFile:
    return SourceFile(uri=f"s3://b/NEWSYSTEM/{name}", name=name, size=1)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.csv", "a_NEWSYSTEM.csv"], ("a.csv", "a_NEWSYSTEM.csv")),
        (["NEWSYSTEM.CSV", "old.CSV"], ("old.CSV", "NEWSYSTEM.CSV")),
        (["x-newsystem-1.csv", "x.csv", "x.md5"], ("x.csv", "x-newsystem-1.csv")),
        (["a.csv", "NEWSYSTEM.csv.gz"], ("a.csv", "NEWSYSTEM.csv.gz")),
        (["a.CSV.ZST", "newsystem.csv", "b.gz"], ("a.CSV.ZST", "newsystem.csv")),
    ],
)
def test_a_pair_is_recognized_by_the_mark_in_the_name(
    names: list[str], expected: tuple[str, str]
) -> None:
    found = select_pair(map(file, names))
    assert isinstance(found, FilePair)
    assert (found.old.name, found.new.name) == expected


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["a.csv"], RunStatus.INVALID_FILE_COUNT),
        (["a.csv", "b.csv", "c_NEWSYSTEM.csv"], RunStatus.INVALID_FILE_COUNT),
        (["a.csv", "b.csv"], RunStatus.INVALID_FILE_PAIR),
        (["a_NEWSYSTEM.csv", "b_NEWSYSTEM.csv"], RunStatus.INVALID_FILE_PAIR),
    ],
)
def test_what_is_no_pair_says_which_case_it_is(
    names: list[str], status: RunStatus
) -> None:
    with pytest.raises(InputError) as caught:
        select_pair(map(file, names))
    assert caught.value.status == status
    assert all(name in caught.value.message for name in names)


@pytest.mark.parametrize(
    ("names", "old", "new", "expected"),
    [
        (["c.txt", "c_NEWSYSTEM.txt"], "c.txt", "c_NEW*.txt", (0, 1)),
        (["a.dat", "b.dat", "x.csv", "README"], "b.*", "?.dat.gz", None),
        (["legacy_1.csv", "modern_1.csv"], "legacy_*", "modern_*", (0, 1)),
        (["NEWSYSTEM_a.csv", "b.csv"], "NEWSYSTEM_*", "b*", (0, 1)),
    ],
)
def test_a_pair_is_recognized_by_the_patterns_of_a_dataset(
    names: list[str], old: str, new: str, expected: tuple[int, int] | None
) -> None:
    if expected is None:
        with pytest.raises(InputError, match="1 file of OLD and 0 of NEW"):
            select_by_patterns(map(file, names), old, new)
        return
    found = select_by_patterns(map(file, names), old, new)
    assert isinstance(found, FilePair)
    assert (found.old.name, found.new.name) == tuple(names[at] for at in expected)


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["old.txt"], RunStatus.INVALID_FILE_COUNT),
        (["old.txt", "old.csv", "new.txt"], RunStatus.INVALID_FILE_COUNT),
        (["oldnew", "new.txt"], RunStatus.INVALID_FILE_PAIR),
        (["claims.txt", "other.csv.zip"], RunStatus.UNUSABLE_FILES),
    ],
)
def test_what_the_patterns_do_not_tell_apart_is_refused(
    names: list[str], status: RunStatus
) -> None:
    with pytest.raises(InputError) as caught:
        select_by_patterns(map(file, names), "old*", "*new*")
    assert caught.value.status == status
    assert "the pattern of OLD is old*" in str(caught.value.why)
    assert isinstance(select_by_patterns(map(file, ["README"]), "a", "b"), NoData)


def test_a_table_of_arrow_is_a_data_file_by_each_of_its_names() -> None:
    found = select_pair(map(file, ["NEWSYSTEM.feather", "old.arrow"]))
    assert isinstance(found, FilePair)
    assert (found.old.name, found.new.name) == ("old.arrow", "NEWSYSTEM.feather")


NOTHING = [
    [],
    ["README"],
    ["readme.txt"],
    ["README.md", "schema.json"],
    ["claims"],
    ["claims.csv.part"],
    ["x.md5", "x.log"],
]


@pytest.mark.parametrize("names", NOTHING, ids=str)
def test_no_delivery_is_no_error_and_what_is_there_is_named(names: list[str]) -> None:
    found = select_pair(map(file, names))
    assert found == NoData(tuple(sorted(names)))
    assert found.message.startswith("inbound contains no data file")
    assert all(name in found.message for name in names)


UNUSABLE = [
    ["claims.txt", "claims_NEWSYSTEM.txt"],
    *([f"claims{end}"] for end in (".txt", ".dat", ".tsv", ".psv", ".TXT")),
    *([f"claims{end}"] for end in (".txt.gz", ".dat.zst", ".TSV.GZ")),
    *([f"claims{end}"] for end in (".zip", ".bz2", ".txt.xz", ".xls", ".XLSX")),
    ["claims.xlsx", "README"],
    ["claims_NEWSYSTEM"],
    ["claims_newsystem.json"],
]


@pytest.mark.parametrize("names", UNUSABLE, ids=str)
def test_a_delivery_of_other_names_is_refused_and_named(names: list[str]) -> None:
    with pytest.raises(UnusableFiles) as caught:
        select_pair(map(file, names))
    error = caught.value
    assert error.status == RunStatus.UNUSABLE_FILES
    plural = "file" if len(names) == 1 else "files"
    assert f"{len(names)} {plural}, none a data file" in error.message
    assert all(name in error.message for name in names)
    assert error.help


def test_a_delivery_beside_one_data_file_is_named() -> None:
    with pytest.raises(InputError) as caught:
        select_pair(map(file, ["claims.csv", "claims_NEWSYSTEM.txt", "README"]))
    assert caught.value.status == RunStatus.INVALID_FILE_COUNT
    assert caught.value.message == (
        "inbound contains 1 data file, not 2: claims.csv; not data files: "
        "claims_NEWSYSTEM.txt"
    )


@pytest.mark.parametrize(
    ("name", "here", "missing"),
    [("a.csv", "OLD", "NEW"), ("a_NEWSYSTEM.csv", "NEW", "OLD")],
)
def test_the_help_names_the_system_whose_file_has_not_arrived(
    name: str, here: str, missing: str
) -> None:
    said = (
        f"{name} is the file of {here}, and that of {missing} has not arrived: run"
        " again when it has"
    )
    with pytest.raises(InputError) as caught:
        select_pair([file(name)])
    assert caught.value.help == said
    with pytest.raises(InputError) as caught:
        select_by_patterns([file(name)], "a.*", "a_*")
    assert caught.value.help == said
    with pytest.raises(InputError) as caught:
        select_pair(map(file, ["1.csv", "2.csv", "1_NEWSYSTEM.csv", "2_NEWSYSTEM.csv"]))
    assert "move the later pairs to another folder and run" in str(caught.value.help)


def test_a_link_is_refused_by_its_name() -> None:
    link = SourceFile("file:///in/b_NEWSYSTEM.csv", "b_NEWSYSTEM.csv", 1, is_link=True)
    with pytest.raises(UnusableFiles, match=r"symbolic link: b_NEWSYSTEM\.csv"):
        select_pair([file("a.csv"), link])


def test_a_name_that_is_not_utf_8_is_refused_with_escapes() -> None:
    with pytest.raises(UnusableFiles) as caught:
        select_pair(map(file, ["a.csv", "b\udcff_NEWSYSTEM.csv"]))
    assert r"not UTF-8: b\xff_NEWSYSTEM.csv" in caught.value.message
    with pytest.raises(UnusableFiles, match=r"b\\xff\.txt"):
        select_pair([file("b\udcff.txt")])


@given(
    st.lists(
        st.sampled_from(["a.csv", "b.csv", "NEWSYSTEM.csv", "x.txt"]), max_size=4
    ).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names)))
)
def test_the_order_of_the_listing_has_no_part_in_it(
    both: tuple[list[str], list[str]],
) -> None:
    one, other = both
    assert answer(one) == answer(other)


def answer(names: list[str]) -> object:
    try:
        return select_pair(map(file, names))
    except InputError as error:
        return error.message
