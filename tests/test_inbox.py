"""Telling the pair in a list of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.errors import InputError
from recon_engine.inbox import classify
from recon_engine.model import FilePair, SourceFile
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
def test_a_pair_is_told_by_the_mark_in_the_name(
    names: list[str], expected: tuple[str, str]
) -> None:
    found = classify(map(file, names))
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
        classify(map(file, names))
    assert caught.value.status == status
    assert all(name in caught.value.message for name in names)


@pytest.mark.parametrize("names", [[], ["a.txt"]])
def test_no_data_file_is_no_error(names: list[str]) -> None:
    assert classify(map(file, names)) is None


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
        return classify(map(file, names))
    except InputError as error:
        return error.message
