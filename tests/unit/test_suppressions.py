from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import date
from html import unescape
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate
from support.compared_pairs import written
from support.suppressed_pairs import ALL, DAY, known, pair, suppressed
from support.suppression_oracle import (
    SECRET,
    Found,
    Known,
    accepted,
    count_all,
    dense_pairs,
    key_rules,
    list_found,
)

from recon_engine import Reconciliation, diff
from recon_engine.config import Options
from recon_engine.errors import ConfigError
from recon_engine.inputs.native import binding
from recon_engine.kinds import Kind
from recon_engine.model import Cell, Suppressible, Suppression, SuppressionState
from recon_engine.postgres.migrations import schema_folder
from recon_engine.report.junit import render_junit


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.strategies import Pair


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


def test_a_suppression_of_several_kinds_counts_as_one() -> None:
    every = ("number", "number_format")
    one = known("column", column="PAID", kind=every, max=3)
    result = suppressed(one)
    assert states(result) == [("active", 3)]
    assert result.left.mismatches == {"PAID": 0, "CODE": 1}
    [said] = result.suppressed
    assert said.text.startswith(
        "accepted: PAID number, number_format: 3 cells found, until"
    )
    filed: Any = result.to_dict()["suppressed"]
    assert [each["kind"] for each in filed] == [[*every]]
    assert states(suppressed(replace(one, max=2))) == [("exceeded", 3)]
    assert states(suppressed(replace(one, kind=("case", "date")))) == [("unused", 0)]


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
    said = "expired suppression: missing: 2 rows found, accepted until 2026-11-25"
    assert said in late.failures[0]
    # With what differs, and each sentence once.
    assert late.headline() == (
        "FAIL: 3 of 5 matched rows differ, 2 missing, 1 extra;"
        " expired suppression of missing"
    )
    assert str(late).count("suppression: missing") == 1
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
        (known("column", column="PAID", kind=("case", "case")), "a kind twice"),
        (known("column", column="PAID", kind=()), "a kind twice, or none"),
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


def test_one_key_is_accepted_and_the_same_change_of_another_is_not() -> None:
    result = suppressed(known("column", column="PAID", keys=["1"], max=1))
    assert states(result) == [("active", 1)]
    assert result.left.mismatches == {"PAID": 2, "CODE": 1}
    assert result.left.mismatched_rows == 2
    assert "≈ accepted: PAID (1 key): 1 cell found, until" in str(result)
    late = suppressed(known("column", column="PAID", keys=["1"], until=date.min))
    assert states(late) == [("expired", 1)]
    assert late.left.mismatches == {"PAID": 3, "CODE": 1}
    two = known("column", column="PAID", keys=["1", "2", "9"], max=1)
    assert states(suppressed(two)) == [("exceeded", 2)]


def test_rows_of_one_side_are_accepted_by_key() -> None:
    result = suppressed(known("missing", keys=["7"]), known("extra", keys=["7"]))
    assert states(result) == [("active", 1), ("unused", 0)]
    assert (result.left.missing, result.left.extra) == (1, 1)
    assert "2 missing (1 accepted), 1 extra" in result.headline()
    assert "2 missing (1 accepted)" in result.accounting()
    assert "in old only (1 accepted)" in result.to_html()


def test_markdown_has_each_suppression_with_its_reason_and_owner() -> None:
    result = suppressed(known("column", column="PAID"), known("missing"))
    said = result.to_markdown().replace("\\", "")
    for each in result.suppressed:
        assert f"\n- {each.text}\n" in said


def test_another_value_than_the_accepted_one_is_left() -> None:
    values = known("column", column="PAID", old="30.00", new="30.01")
    assert states(suppressed(values)) == [("active", 1)]
    for other in ({"old": "30.00", "new": "30.02"}, {"new": "30.010"}, {"old": "30"}):
        again = suppressed(known("column", column="PAID", **other))
        assert states(again) == [("unused", 0)]


def test_what_is_left_of_a_kind_is_the_largest_cause() -> None:
    one = known("column", column="PAID", keys=["1"])
    page = suppressed(one, known("column", column="CODE")).to_html()
    # One number format is left, and one number.
    assert "Largest cause" not in page
    page = suppressed(one, known("column", column="CODE"),
                      known("column", column="PAID", keys=["2"])).to_html()  # fmt: skip
    assert "number (1 of" in page.split("Largest cause")[1][:400]


def test_a_key_is_compared_in_its_normal_form() -> None:
    old, new = pair()
    padded = [frame.with_columns(pl.col("ID").str.zfill(3)) for frame in (old, new)]
    asked: dict[str, Any] = {"keys": "ID", "today": DAY, "rules": {"ID": "lstrip0"}}
    for key in ("1", "001", "0000001"):
        narrow = known("column", column="PAID", keys=[key])
        result = diff(*padded, suppressions=[narrow], **asked)
        assert states(result) == [("active", 1)]


def test_a_result_holds_digests_of_keys_and_values() -> None:
    values = {"keys": ["Smith-4711"], "old": "Jones-4712", "new": "Brown-4713"}
    result = suppressed(known("column", column="PAID", **values))
    assert result.suppressed[0].suppression.name == (
        "PAID (1 key, one old value, one new value)"
    )
    for text in (result.to_json(), str(result), result.to_html(), repr(result.to_dict)):
        assert not any(secret in text for secret in ("4711", "4712", "4713"))
    document: Any = result.to_dict()
    schema = json.loads((schema_folder() / "result.schema.json").read_text())
    validate(json.loads(result.to_json()), schema)
    digest = hashlib.sha256(b"Jones-4712").hexdigest()
    assert document["suppressed"][0]["old"] == f"sha256:{digest}"
    # No field is added to what is recorded of others: their runs stay the same.
    assert set(known("missing").public) == {
        *("what", "reason", "owner", "until", "column", "kind", "max")
    }


@pytest.mark.parametrize(
    ("suppression", "masks", "words"),
    [
        (known("missing", keys=[]), {}, "lists no key"),
        (known("missing", keys=["1", "1"]), {}, "lists a key twice"),
        (known("missing", keys=["1", ("1",)]), {}, "lists a key twice"),
        (known("missing", keys=[("1", "2")]), {}, r"number of values \(2\) than .*1"),
        (known("missing", old="1"), {}, "is inconsistent"),
        (known("extra", new=""), {}, "is inconsistent"),
        (known("missing", keys=["1"]), {"ID": "redact"}, "values of ID, which redact"),
        (known("missing", keys=["1"]), {"*": "last4"}, "values of ID, which last4"),
        (known("missing", keys=["1"]), {"ID": "hmac"}, "value of ID that is no token"),
        (known("column", column="PAID", new="1"), {"PAID": "redact"}, "values of PAID"),
        (known("column", column="PAID", old="…0203"), {"PAID": "hmac"}, "no token"),
    ],
)  # fmt: skip
def test_keys_and_values_that_name_nothing_are_refused(
    suppression: Suppression,
    masks: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", SECRET)
    with pytest.raises(ConfigError, match=words) as caught:
        suppressed(suppression, masks=masks)
    assert caught.value.help


@pytest.mark.parametrize(
    ("keys", "masks"),
    [
        (["Smith-4711", "Smith-4711"], {}),
        ([("Smith-4711", "4711")], {}),
        (["Smith-4711"], {"ID": "redact"}),
        (["Smith-4711"], {"ID": "hmac"}),
    ],
)
def test_an_error_names_no_key(
    keys: list[Any], masks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", SECRET)
    with pytest.raises(ConfigError) as caught:
        suppressed(known("missing", keys=keys), masks=masks)
    assert "4711" not in f"{caught.value} {vars(caught.value)}"


CELLS = st.sampled_from(["", "1", "01", "1.0", "a", "A", " a", "2"])
SUPPRESSIONS = st.lists(
    st.builds(
        lambda column, kind: known("column", column=column, kind=kind),
        st.sampled_from(["A", "B"]),
        st.sampled_from([None, *map(str, Kind)])
        | st.permutations([*map(str, Kind)]).map(lambda every: tuple(every[:5])),
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
            if each.column == cell["column"]
            and (each.kinds is None or cell["kind"] in each.kinds)
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


@given(pair=dense_pairs(), data=st.data(), native=st.booleans())
def test_keys_and_values_decide_what_is_accepted(
    tmp_path: Path,
    pair: Pair,
    data: st.DataObject,
    native: bool,  # noqa: FBT001
) -> None:
    both, old, new = rules = data.draw(key_rules(pair))
    asked: dict[str, Any] = {
        "keys": pair.keys,
        "rules": both,
        "old_rules": old,
        "new_rules": new,
    }
    masked = data.draw(st.sets(st.sampled_from(pair.names), max_size=2))
    paths = written(tmp_path, pair, data)
    facts = Known(pair, rules, frozenset(masked))
    every = list_found(diff(*paths, **asked))
    suppressions = data.draw(accepted(facts, every))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECON_MASK_KEY", SECRET)
        if not native:
            patch.setattr(binding, "load_library", lambda: None)
        result = diff(
            *paths,
            **asked,
            masks=dict.fromkeys(masked, "hmac"),
            suppressions=suppressions,
            today=DAY,
        )
    expected = count_all(facts, every, suppressions)
    assert [each.count for each in result.suppressed] == expected.found
    assert Counter({each.by: each.rows for each in result.coverage}) == expected.rows
    left = Counter(
        {
            (name or kind, kind * bool(name)): n
            for (name, kind), n in result.left_by_kind.items()
        }
    )
    assert left == expected.left
    assert result.left.mismatched_rows == expected.rows_left
    assert result.left.missing == expected.left["missing", ""]
    assert result.left.extra == expected.left["extra", ""]
    for name, cells in result.left.mismatches.items():
        assert cells == sum(n for (of, _), n in expected.left.items() if of == name)
    check_each_difference(result, facts, every, suppressions)


def check_each_difference(
    result: Reconciliation,
    facts: Known,
    every: Sequence[Found],
    suppressions: Sequence[Suppression],
) -> None:
    """Whether it is accepted is right, or unknown where keys have rules."""
    active = {at for at, each in enumerate(suppressions) if each.until >= DAY}
    expected = {
        (
            each.what,
            facts.show_key(each.key),
            each.column,
            each.kind,
            facts.show(each.column, each.old),
            facts.show(each.column, each.new),
        ): facts.first(suppressions, each) in active
        for each in every
    }
    judge = result.acceptances
    found: list[tuple[Any, bool | None]] = []
    for row in result.sample:
        for name, cell in row.cells.items():
            shown = "column", (*row.key.values(),), name, cell.kind, cell.old, cell.new
            accepted = judge.accepts_cell(name, row.key_text, cell)
            found.append((shown, accepted))
    cells = sorted(str(accepted) for _, accepted in found)
    words = {"yes": "True", "": "False", "unknown": "None"}
    assert cells == sorted(words[word] for word in result.mark_cells())
    for what, rows in (("missing", result.missing()), ("extra", result.extra())):
        marks = result.mark_rows(Suppressible(what), rows)
        for each, mark in zip(rows.to_dicts(), marks, strict=True):
            key = tuple(each[name] for name in result.keys)
            known = {"yes": True, "": False}.get(mark)
            found.append(((what, key, "", "", "", ""), known))
    assert len(found) == len(every)
    ruled = any(each.of == "keys" for each in result.rules)
    keyed = any(each.keys for each in suppressions)
    for difference, accepted in found:
        unknown = accepted is None and ruled and keyed
        assert unknown or accepted == expected[difference]


def test_open_and_accepted_are_told_apart_on_the_terminal() -> None:
    lines = str(suppressed(known("column", column="PAID"))).splitlines()
    assert "  1 of 4 differing cells is open, 3 are accepted" in lines
    head, paid, code = [line.split() for line in lines if " PAID " in line or
                        line.startswith(("column", "PAID", "CODE"))][:3]  # fmt: skip
    assert head[:4] == ["column", "cells", "accepted", "%"]
    assert (paid[:3], code[:3]) == (["PAID", "3", "3"], ["CODE", "1", "0"])
    [keys] = [line for line in lines if line.startswith("rows that differ")]
    said, _, rest = keys.partition(": ")
    assert said == "rows that differ (1 open, 2 accepted)"
    first, *others = rest.split(" · ")
    assert (first, sorted(others)) == ("2", ["1 (accepted)", "3 (accepted)"])


def test_without_an_accepted_cell_nothing_is_said_of_open_ones() -> None:
    for result in (suppressed(), suppressed(known("missing"))):
        assert (result.describe_open(), result.accepted_cells) == ("", 0)
        for text in (str(result), result.to_markdown(), result._repr_html_()):
            assert " open" not in text
        assert "accepted  %" not in str(result)


def test_a_recorded_cell_without_its_kind_is_judged_by_its_column() -> None:
    result = suppressed(known("column", column="PAID"))
    judge = result.acceptances
    for cell in (Cell("1", "2", "unknown"), Cell(None, "1~2", "unknown")):
        assert judge.accepts_cell("PAID", "1", cell) is True
        assert judge.accepts_cell("CODE", "1", cell) is False
    judge = suppressed(known("column", column="PAID", keys=["1"])).acceptances
    assert judge.accepts_cell("PAID", "1", Cell(None, "1~2", "unknown")) is None
    assert judge.accepts_cell("PAID", "1", Cell("1", "2", "unknown")) is None


def test_kinds_and_short_values_of_a_suppression_are_words_for_people() -> None:
    said = known("column", column="PAID", kind="number_format", new="10")
    result = suppressed(said)
    line = 'accepted: PAID number format (new: "10"): 1 cell found, until'
    assert f"≈ {line}" in str(result)
    assert line in unescape(result.to_html())
    # Neither holds a value of a cell.
    for text in (result.to_markdown(), render_junit(result).decode()):
        assert "PAID number format (one new value): " in text.replace("\\", "")
    # JSON has the kind as recon.toml has it.
    document: Any = result.to_dict()
    assert document["suppressed"][0]["text"].startswith(
        "accepted: PAID number_format (one new value): 1 cell found"
    )
    late = suppressed(known("column", column="PAID", kind="number_format",
                            until=date.min))  # fmt: skip
    assert "expired suppression of PAID number format" in late.headline()


def test_open_cells_are_in_markdown_junit_and_a_notebook() -> None:
    result = suppressed(known("column", column="PAID"))
    said = "1 of 4 differing cells is open, 3 are accepted"
    markdown = result.to_markdown()
    assert f"\n{said}.\n" in markdown
    assert "| column | cells that differ | accepted | kinds |" in markdown
    assert "| `CODE` | 1 | 0 | case |" in markdown
    assert said in render_junit(result).decode()
    assert f"{said}." in result._repr_html_()
    assert ">accepted</th>" in result._repr_html_()
