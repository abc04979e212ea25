"""What the kernel says of columns of text is what Polars and Python say of them."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Final

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernel import stable

from recon_engine.analysis import segments, totals
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.forms import apply_natively, describe_reading
from recon_engine.inputs.native.texts import KernelTable, open_table
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.base import Apart
from recon_engine.rules.chains import apply_rule
from recon_engine.rules.spelling import parse_rule


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


# Rules that the kernel reads, and rules that it leaves to Polars.
NUMBER_RULES: Final = (
    *("decimal", "decimal(comma)", "decimal(trailing)", "decimal(comma,trailing)"),
    *("scale(1)", "scale(2)", "scale(30)"),
)
DAY_RULES: Final = (
    *("date(iso)", "date(eu)", "date(us)", "date(%Y%m%d)", "date(%d%m%Y|%Y-%m-%d)"),
    *("date(%d.%m.%Y|%Y-%m-%d)", "date(%m_%d:%Y)"),
)
LEFT_TO_POLARS: Final = (
    *("decimal(exp)", "decimal(percent)", "decimal(money=$)", "date(%d-%b-%Y)"),
    *("date(%d.%m.%y,pivot=30)", "date(%d %m %Y)", "trim", "map(A=B)"),
)
NUMBERS: Final = st.one_of(
    st.text("0123456789.,+-", max_size=14),
    st.from_regex(r"\A[+-]?0{0,2}[0-9]{1,3}([.,][0-9]{3}){0,3}([.,][0-9]{0,3})?-?\Z"),
    TEXTS,
)
DAYS: Final = st.one_of(
    st.builds(
        lambda form, year, month, day: form.format(year, month, day),
        st.sampled_from(
            (
                *("{2:02}.{1:02}.{0}", "{2}.{1}.{0:04}", "{0}-{1:02}-{2:02}"),
                *(
                    "{0:04}{1:02}{2:02}",
                    "{2:02}{1:02}{0}",
                    "{1}/{2}/{0}",
                    "{1}_{2}:{0}",
                ),
            )
        ),
        st.one_of(st.integers(0, 10_000), st.sampled_from((1000, 1900, 2000, 2024))),
        st.integers(0, 13),
        st.integers(0, 32),
    ),
    st.text("0123.-/", max_size=11),
    TEXTS,
)


@pytest.mark.parametrize(
    ("rules", "drawn"), [(NUMBER_RULES, NUMBERS), (DAY_RULES, DAYS)]
)
@given(data=st.data())
def test_forms_of_values_are_those_of_their_rule(
    rules: tuple[str, ...], drawn: st.SearchStrategy[str], data: st.DataObject
) -> None:
    texts = pl.Series(data.draw(st.lists(drawn, max_size=60)), dtype=pl.String)
    rule = parse_rule(data.draw(st.sampled_from(rules)))
    side = data.draw(st.sampled_from(["", "old", "new"]))
    rule = Apart(rule, side) if side else rule
    assert describe_reading(rule) is not None
    forms, *counts = apply_natively(rule, texts)
    expected, *expected_counts = apply_rule(rule, texts)
    assert forms.to_list() == expected.to_list()
    assert counts == expected_counts


def test_all_days_of_four_centuries_have_the_form_of_their_rule() -> None:
    first, last = date(1599, 1, 1), date(2001, 12, 31)
    days = pl.date_range(first, last, eager=True).dt.strftime("%d.%m.%Y")
    rule = parse_rule("date(%d.%m.%Y|%Y-%m-%d)")
    forms, read, unread = apply_natively(rule, days)
    assert (read, unread) == (len(days), 0)
    assert forms.to_list() == [
        f"\0{(first - date(1970, 1, 1)).days + at}" for at in range(len(days))
    ]


def test_what_the_kernel_does_not_read_is_left_to_the_rule() -> None:
    texts = pl.Series(
        ["1e3", "5%", "$5", "03-Feb-2024", "1.2.24", "1 2 2024", " x", "A"]
    )
    for spelled in LEFT_TO_POLARS:
        rule = parse_rule(spelled)
        assert describe_reading(rule) is None
        found, expected = apply_natively(rule, texts), apply_rule(rule, texts)
        assert found[0].to_list() == expected[0].to_list()
        assert found[1:] == expected[1:]


@given(
    spelled=st.sampled_from(["decimal(comma)", "scale(2)", "decimal"]),
    texts=st.lists(st.one_of(NUMBERS, AMOUNTS), max_size=20),
)
@example(spelled="decimal(comma)", texts=["9" * 37, "-0,5", "00,10", "."])
@example(spelled="scale(2)", texts=["9" * 60, "-5", "1234"])
def test_sums_by_forms_are_those_of_polars(spelled: str, texts: list[str]) -> None:
    chain = chain_of(spelled).of("old")
    cells = pl.Series(texts, dtype=pl.String)
    forms = apply_rule(chain[0], cells)[0]
    summed = totals.sum_read(chain, cells, forms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "load_library", lambda: None)
        expected = totals.sum_read(chain, cells, forms)
    assert summed.form == expected.form
    if summed.form.amounts:
        assert summed.value == expected.value


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
