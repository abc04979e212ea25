from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.suppressed_pairs import ALL, DAY, known, suppressed

from recon_engine import Reconciliation, diff
from recon_engine.config import Options
from recon_engine.errors import ConfigError
from recon_engine.kinds import Kind
from recon_engine.model import Suppression, SuppressionState


def states(result: Reconciliation) -> list[tuple[str, int]]:
    return [(each.state.value, each.count) for each in result.suppressed]


def test_what_is_suppressed_does_not_count_towards_gates() -> None:
    result = suppressed(*ALL, gates=["missing<=0", "extra<=0", "mismatches(PAID)<=0"])
    assert result.passes
    assert states(result) == [("active", 2), ("active", 1), ("active", 3)]
    # Row 2 differs in another column too, so it is left; 1 and 3 are not.
    assert result.left.mismatched_rows == 1
    assert not suppressed(*ALL, gates="mismatched_rows<=0").passes


def test_the_accounting_and_the_gates_show_the_same_suppressed_rows() -> None:
    gates = ["missing<=0", "missing_rate<=0", "extra<=9", "mismatched_rows<=9",
             "mismatched_cells<=9", "mismatches(PAID)<=9", "rows_old<=9"]  # fmt: skip
    result = suppressed(*ALL, gates=gates)
    assert "5 matched + 2 missing (2 accepted)" in result.accounting()
    assert result.accounting().endswith("5 matched + 1 extra (1 accepted)")
    said = {gate.gate: gate.text for gate in result.gates}
    assert said["missing<=0"] == (
        "0 of 7 old rows are missing (2 more are accepted), limit 0"
    )
    assert "(0%; 2 more are accepted), limit" in said["missing_rate<=0"]
    assert "accepted" not in said["rows_old<=9"]
    # Rows that differ and cells that are accepted are different counts, so they have
    # different words.
    for gate, words in (
        ("extra<=9", "1 more is accepted"),
        ("mismatched_rows<=9", "2 more only by an accepted difference"),
        ("mismatched_cells<=9", "3 more are accepted"),
        ("mismatches(PAID)<=9", "3 more are accepted"),
    ):
        assert f" ({words}), limit" in said[gate]
    assert any("3 cells found, until" in each.text for each in result.suppressed)


def test_what_is_not_active_is_not_called_suppressed() -> None:
    late = suppressed(known("missing"), gates=["missing<=9"], today=date.max)
    assert "accepted" not in late.accounting()
    assert "accepted" not in late.gates[0].text


def test_nothing_suppressed_is_lost() -> None:
    result = suppressed(*ALL)
    assert (result.counts.missing, result.counts.mismatched_cells) == (2, 4)
    assert len(result.to_dict()["suppressed"]) == 3  # type: ignore[arg-type]
    assert (result.agrees, result.verdict) == (False, "differ")


def test_a_pair_differs_only_in_what_is_suppressed_and_passes() -> None:
    result = suppressed(*ALL, known("column", column="CODE"))
    assert (result.passes, result.verdict) == (True, "differ")
    assert result.headline() == (
        "PASS: 3 of 5 matched rows differ only by an accepted difference, 2 missing"
        " (accepted), 1 extra (accepted); all differences are accepted"
    )


def test_the_headline_counts_what_is_accepted_apart() -> None:
    result = suppressed(known("column", column="PAID", kind="number_format"))
    assert result.headline() == (
        "DIFFER: 2 of 5 matched rows differ"
        " (1 more only by an accepted difference), 2 missing, 1 extra"
    )
    assert result.accepted_rows == 1


def test_the_headline_names_the_other_failures() -> None:
    late = known("missing", until=date(2026, 11, 1))
    result = suppressed(late, gates=["extra<=0", "mismatched_rows<=0", "matched>=1"])
    assert result.headline() == (
        "FAIL: 1 of 6 new rows is extra, limit 0;"
        " and 2 more: mismatched_rows<=0, expired suppression of missing"
    )


def test_each_state_of_a_suppression_has_its_own_words_and_mark() -> None:
    result = suppressed(
        known("column", column="PAID"),
        known("column", column="CODE", kind="date"),
        known("missing", until=date(2026, 11, 1)),
        known("extra", max=1),
        known("column", column="CODE", max=1),
    )
    lines = [line.strip() for line in str(result).splitlines()]
    begins = [line.split(":")[0] for line in lines if line[0:1] in {"≈", "▲", "✗"}]
    assert begins[1:] == [
        "≈ accepted",
        "▲ unused suppression",
        "✗ expired suppression",
        "≈ accepted",
        "≈ accepted",
    ]
    exceeded = suppressed(known("column", column="PAID", max=1))
    assert "✗ exceeded suppression: PAID: 3 cells found, accepted up to 1 only" in str(
        exceeded
    )


def test_what_is_accepted_is_neither_a_hint_nor_the_largest_cause() -> None:
    everything = suppressed()
    hints = [hint.column for hint in everything.hints]
    assert "PAID" in hints
    result = suppressed(known("column", column="PAID"))
    assert [hint.column for hint in result.hints] == hints
    assert "PAID" not in [hint.column for hint in result.hints_to_show]
    assert "help: PAID" in str(everything)
    assert "help: PAID" not in str(result)
    assert "Largest cause: <a" in result.to_html()
    assert "<code>PAID</code></a>, number" not in result.to_html().split("Largest")[1]
    assert "of all differing cells that are not accepted)" in result.to_html()
    both = suppressed(known("column", column="PAID"), known("column", column="CODE"))
    assert "Largest cause" not in both.to_html()


def test_a_suppression_may_be_of_one_kind() -> None:
    result = suppressed(known("column", column="PAID", kind="number_format"))
    assert states(result) == [("active", 2)]
    assert result.left.mismatches == {"PAID": 1, "CODE": 1}
    assert result.left.mismatched_rows == 2


def test_the_first_suppression_that_fits_counts() -> None:
    narrow = known("column", column="PAID", kind="number_format")
    wide = known("column", column="PAID")
    assert states(suppressed(narrow, wide)) == [("active", 2), ("active", 1)]
    assert states(suppressed(wide, narrow)) == [("active", 3), ("unused", 0)]


def test_it_holds_on_its_last_day_and_fails_on_the_next() -> None:
    last = known("missing", until=DAY)
    gate = "missing<=9"
    assert suppressed(last, gates=gate).passes
    late = suppressed(last, gates=gate, today=date(2026, 11, 26))
    assert states(late) == [("expired", 2)]
    assert (late.passes, late.verdict) == (False, "gates_failed")
    assert "expired suppression: missing: 2 rows found, accepted until 2026-11-25" in (
        late.headline()
    )
    assert late.left.missing == 2


def test_more_than_was_accepted_fails_and_covers_nothing() -> None:
    assert states(suppressed(known("missing", max=2))) == [("active", 2)]
    result = suppressed(known("missing", max=1), gates="missing<=2")
    assert states(result) == [("exceeded", 2)]
    assert (result.left.missing, result.verdict) == (2, "gates_failed")


def test_one_that_finds_nothing_is_reported_and_fails_nothing() -> None:
    result = suppressed(known("column", column="CODE", kind="date"), gates="missing<=2")
    assert states(result) == [("unused", 0)]
    assert result.passes
    late = suppressed(known("column", column="CODE", kind="date"), today=date.max)
    assert states(late) == [("unused", 0)]


@pytest.mark.parametrize(
    ("suppression", "words"),
    [
        (known("column"), "is inconsistent"),
        (known("missing", column="PAID"), "is inconsistent"),
        (known("missing", kind="case"), "is inconsistent"),
        (known("missing", reason=" "), "no reason"),
        (known("missing", owner=""), "no owner"),
        (known("missing", max=0), "out of range"),
    ],
)
def test_one_that_fits_nothing_or_that_nobody_owns_is_refused(
    suppression: Suppression, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Options(keys=("ID",), suppressions=(suppression,))


def test_one_of_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean PAID\?"):
        suppressed(known("column", column="PIAD"))


CELLS = st.sampled_from(["", "1", "01", "1.0", "a", "A", " a", "2"])
SUPPRESSIONS = st.lists(
    st.builds(
        lambda column, kind: known("column", column=column, kind=kind),
        st.sampled_from(["A", "B"]),
        st.sampled_from([None, *map(str, Kind)]),
    ),
    min_size=1,
    max_size=4,
)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), max_size=12),
    suppressions=SUPPRESSIONS,
)
def test_every_difference_is_suppressed_once_or_left(
    rows: list[tuple[str, str, str, str]], suppressions: list[Suppression]
) -> None:
    numbered = [(str(at), *row) for at, row in enumerate(rows)]
    schema = dict.fromkeys(["ID", "A", "B"], pl.String)
    olds = [row[:3] for row in numbered]
    news = [(row[0], *row[3:]) for row in numbered]
    old, new = (pl.DataFrame(each, schema, orient="row") for each in (olds, news))
    result = diff(old, new, keys="ID", suppressions=suppressions, today=DAY)
    left: dict[str, set[str]] = {}
    counts = [0] * len(suppressions)
    for cell in result.mismatches().iter_rows(named=True):
        fitting = [
            at
            for at, each in enumerate(suppressions)
            if each.column == cell["column"] and each.kind in {None, cell["kind"]}
        ]
        if fitting:
            counts[fitting[0]] += 1
        else:
            left.setdefault(cell["ID"], set()).add(cell["column"])
    assert [each.count for each in result.suppressed] == counts
    assert result.left.mismatched_rows == len(left)
    for name in ("A", "B"):
        assert result.left.mismatches[name] == sum(name in row for row in left.values())
    active = SuppressionState.ACTIVE
    assert all((each.state is active) == (each.count > 0) for each in result.suppressed)
