"""The sample: by content, balanced, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.compare import sampling
from recon_engine.compare.sampling import choose_rows, stable_hash


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    keys = pl.DataFrame({"a": ["", "1", "é", "long" * 10], "b": ["x", "", "é", "1"]})
    assert stable_hash(keys).to_list() == [
        16673252379767402661, 10594557161958464046,
        10419893391953689055, 5725153031882236086,
    ]  # fmt: skip


@given(st.lists(st.text(max_size=4), min_size=1, unique=True))
def test_the_hash_of_a_row_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = stable_hash(pl.DataFrame({"k": texts})).to_list()
    alone = [stable_hash(pl.DataFrame({"k": [text]})).item() for text in texts]
    assert together == alone
    assert len(set(together)) == len(texts)


def cells(*columns: list[str]) -> pl.DataFrame:
    """One cell for each pair that differs in a column: `kinds[pair]` or ""."""
    rows = [
        (pair, column, kind, "o", "n")
        for column, kinds in enumerate(columns)
        for pair, kind in enumerate(kinds)
        if kind
    ]
    names = ["pair", "column", "kind", "old", "new"]
    found = pl.DataFrame(rows, schema=names, orient="row")
    return found.cast({"pair": pl.UInt32, "column": pl.UInt32})


def ranks(count: int) -> pl.Series:
    return pl.Series(list(range(count)), dtype=pl.UInt64)


def test_columns_take_turns() -> None:
    many = ["case"] * 10 + [""]
    rare = [""] * 10 + ["text"]
    assert choose_rows(cells(many, rare), ranks(11), 2).to_list() == [0, 10]


def test_kinds_take_turns_within_a_column() -> None:
    column = ["case"] * 10 + ["text"]
    assert 10 in choose_rows(cells(column), ranks(11), 2).to_list()


def test_a_smaller_limit_gives_the_beginning_of_a_larger_one() -> None:
    found = cells(["case", "text", "", "case"], ["", "case", "case", ""])
    full = choose_rows(found, ranks(4), 10).to_list()
    assert sorted(full) == [0, 1, 2, 3]
    for limit in range(4):
        assert choose_rows(found, ranks(4), limit).to_list() == full[:limit]


def choose_by_hand(found: pl.DataFrame, ranks: pl.Series, limit: int) -> list[int]:
    """The same choice, cell by cell."""
    every = found.select("pair", "column", "kind").rows()
    every.sort(key=lambda cell: (ranks[cell[0]], cell[0]))
    of_kind: Counter[tuple[int, str]] = Counter()
    turns = []
    for pair, column, kind in every:
        turns.append((of_kind[column, kind], kind, ranks[pair], pair, column))
        of_kind[column, kind] += 1
    of_column: Counter[int] = Counter()
    due = []
    for *_, rank, pair, column in sorted(turns):
        due.append((of_column[column], column, rank, pair))
        of_column[column] += 1
    return list(dict.fromkeys(pair for *_, pair in sorted(due)))[:limit]


CHOSEN_KINDS = st.sampled_from(["", "case", "text", "number"])


@pytest.mark.parametrize("few", [0, sampling.FEW_CELLS])
@given(
    columns=st.integers(1, 40).flatmap(
        lambda rows: st.lists(
            st.lists(CHOSEN_KINDS, min_size=rows, max_size=rows), min_size=1, max_size=4
        )
    ),
    limit=st.integers(0, 60),
    data=st.data(),
)
def test_the_choice_is_that_of_an_independent_count(
    few: int, columns: list[list[str]], limit: int, data: st.DataObject
) -> None:
    found = cells(*columns)
    # Some keys have one rank.
    sizes = st.integers(0, 9) if data.draw(st.booleans()) else st.integers(0, 2**64 - 1)
    rows = len(columns[0])
    ranked = data.draw(st.lists(sizes, min_size=rows, max_size=rows))
    order = pl.Series(ranked, dtype=pl.UInt64)
    if found.is_empty():
        return
    with patch.object(sampling, "FEW_CELLS", few):
        chosen = choose_rows(found, order, limit).to_list()
    assert chosen == choose_by_hand(found, order, limit)
