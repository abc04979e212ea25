"""What the kernel says of columns of text is what Polars and Python say of them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernel import stable

from recon_engine.analysis import segments, totals
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.texts import KernelTable, open_table


if TYPE_CHECKING:
    from recon_engine.analysis.amounts import AmountForm, ColumnSum


pytestmark = pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
SPACES: Final = "\t\n\v\f\r \x1c\x1f\x85\xa0\u1680\u2000\u200a\u200b\u2028\u2029\u202f"
SPACES_MORE: Final = SPACES + "\u205f\u3000\u180e\ufeff"
PIECES: Final = (
    *("", "0", "00", "007", "1", "12", "123", "1234", ",", "123,456", ",000", "."),
    *(".5", "5.", "0.00", "+", "-", "--", "e5", "9" * 19, "9" * 38, "0" * 40, "é", "٣"),
    *SPACES_MORE,
)
TEXTS: Final = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
AMOUNTS: Final = st.from_regex(rf"\A[ \xa0]?{totals.AMOUNT_PATTERN[1:-1]} ?\Z")
COLUMNS: Final = st.lists(
    st.one_of(st.lists(TEXTS, min_size=3, max_size=3), st.tuples(*[AMOUNTS] * 3)),
    min_size=1,
    max_size=4,
)


def frame_of(columns: list[list[str]]) -> pl.DataFrame:
    named = {f"v{at}": [*texts] for at, texts in enumerate(columns)}
    return pl.DataFrame(named, schema=dict.fromkeys(named, pl.String))


def forms_of(frame: pl.DataFrame) -> tuple[dict[str, AmountForm], dict[str, ColumnSum]]:
    return totals.detect_forms(frame), totals.sum_rows(frame)


@given(columns=COLUMNS)
@example(columns=[["1", "2"], ["1.5", ""], [" -.5 ", "+1,000."], ["", "\u3000"]])
@example(columns=[["9" * 38, "9" * 38], ["-" + "9" * 38, "0.1"], ["1e5", "."]])
@example(
    columns=[["9" * 37, "0." + "0" * 30 + "1"], ["0" * 3, "0"], ["1,00", "12,345"]]
)
def test_forms_and_sums_are_those_of_polars(columns: list[list[str]]) -> None:
    frame = frame_of(columns)
    forms, sums = forms_of(frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "load_library", lambda: None)
        expected, added = forms_of(frame)
    assert forms == expected
    assert sums == added
    # Equal decimals may differ in their places.
    for name, each in sums.items():
        if each.form.amounts:
            assert each.value.as_tuple() == added[name].value.as_tuple()


@given(
    rows=st.lists(st.tuples(TEXTS, st.text(max_size=40)), max_size=30),
    most=st.integers(0, 12),
    cuts=st.lists(st.integers(0, 30), max_size=3),
)
def test_values_are_counted_and_rows_are_hashed(
    rows: list[tuple[str, str]], most: int, cuts: list[int]
) -> None:
    schema = {"a": pl.String, "b": pl.String}
    whole = pl.DataFrame(rows, schema, orient="row")
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    # Batches, each a slice of other texts.
    parts = [
        whole.slice(start, stop - start) for start, stop in itertools.pairwise(edges)
    ]
    frame = pl.concat(parts, rechunk=False) if parts else whole
    with open_table(frame) as table:
        assert isinstance(table, KernelTable)
        counted, hashes = table.count_values(most), table.hash_rows()
    for at, name in enumerate(schema):
        counts = Counter(row[at] for row in rows)
        assert counted[name] == (counts if len(counts) <= most else None)
    assert hashes.to_list() == [
        stable(tuple(text.encode() for text in row)) for row in rows
    ]


def test_a_frame_with_nulls_or_numbers_is_left_to_polars() -> None:
    for frame in (
        pl.DataFrame({"a": ["x", None]}),
        pl.DataFrame({"a": [1]}),
        pl.DataFrame({"a": ["x"], "b": pl.Series(["y"], dtype=pl.Categorical)}),
        pl.DataFrame(),
    ):
        with open_table(frame) as table:
            assert table is None


def test_many_values_of_chosen_rows_are_counted() -> None:
    texts = [str(at % 300) for at in range(3_000)]
    frame = pl.DataFrame({"a": texts, "b": ["x"] * 3_000})
    some = pl.Series(range(0, 3_000, 2), dtype=pl.UInt32)
    assert segments.count_values(frame) == {"a": None, "b": Counter(x=3_000)}
    assert segments.count_values(frame, some) == {
        "a": Counter(texts[::2]),
        "b": Counter(x=1_500),
    }
