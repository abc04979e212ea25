"""Counts in sentences: nouns and verbs agree with them, in every output."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.program import recon

from recon_engine import diff
from recon_engine.formatting import (
    describe_side,
    format_count,
    format_rate,
    format_share,
)
from recon_engine.gate_syntax import METRICS
from recon_engine.model import PastResult, PastRun, Side
from recon_engine.report.history_page import render_history
from recon_engine.report.junit import render_junit


if TYPE_CHECKING:
    from pathlib import Path


# A count of 1 with a noun in the plural, or with the verb of one.
WRONG = re.compile(
    r"(?<![\d,.=])1 (?:"
    r"(?:[a-z]+ )?(?:keys|rows|cells|columns|values|lines|days|runs|bytes)\b"
    r"|(?:[a-z]+ )?(?:row|key|cell|column)(?: of [A-Z]+)? (?:are|have|were)\b"
    r"|(?:of \d+ (?:[a-z]+ )*rows )?differ\b)"
)


@pytest.mark.parametrize(
    ("count", "noun", "predicate", "text"),
    [
        (0, "key", "repeat", "0 keys repeat"),
        (1, "key", "repeat", "1 key repeats"),
        (2_000, "key", "repeat in OLD", "2,000 keys repeat in OLD"),
        (1, "key", "repeat in OLD", "1 key repeats in OLD"),
        (1, "row", "are missing", "1 row is missing"),
        (1, "old row", "have a blank key", "1 old row has a blank key"),
        (1, "row of OLD", "were quarantined", "1 row of OLD was quarantined"),
        (2, "row of OLD", "were quarantined", "2 rows of OLD were quarantined"),
        (1, "cell", "carry another value", "1 cell carries another value"),
        (1, "row", "match", "1 row matches"),
        (1, "row", "do not fulfil --where", "1 row does not fulfil --where"),
        (1, "data file", "", "1 data file"),
        (3, "data file", "", "3 data files"),
    ],
)
def test_noun_and_verb_agree_with_a_count(
    count: int, noun: str, predicate: str, text: str
) -> None:
    assert format_count(count, noun, predicate) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 1, "0 of 1 cell of A of B differs"),
        (0, 5, "0 of 5 cells of A of B differ"),
        (1, 1, "1 of 1 cell of A of B differs"),
        (1, 5, "1 of 5 cells of A of B differs"),
        (2, 1_000, "2 of 1,000 cells of A of B differ"),
    ],
)
def test_of_a_share_the_noun_agrees_with_the_whole_and_the_verb_with_the_part(
    part: int, whole: int, text: str
) -> None:
    assert format_share(part, whole, "cell of A of B", "differ") == text


def test_the_facts_of_a_side_are_sentences() -> None:
    one = Side("f.csv", 9, None, 9, 1, 2, 1, 1)
    assert list(describe_side("OLD", one)) == [
        "1 malformed row of OLD was quarantined, not compared",
        "1 key repeats in OLD, on 2 rows: paired by content",
        "1 row of OLD has a blank key",
    ]
    assert list(describe_side("NEW", Side("f.csv", 0, None, 0))) == []


def test_one_of_everything_is_singular_in_every_output(tmp_path: Path) -> None:
    """One repeated key, blank key, bad row, drift, missing, extra, tolerated cell."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(
        "id,v,w,gone\n1,001,a,\n2,2.0,b,\n3,3,c,\n3,3,d,\n,5,e,\n8,8,f,\nx\n"
    )
    new.write_text("id,v,w\n1,1,a\n2,2,b\n3,3,c\n3,3,d\n,5,e\n9,9,f\n")
    gates = [
        f"{name}(v)>=0" if metric.takes_column.value == "yes" else f"{name}>=0"
        for name, metric in METRICS.items()
        if name != "sum_delta"
    ]
    result = diff(
        old, new, keys="id", rules={"w": "trim"}, gates=gates,
        on_bad_row="quarantine", on_schema_drift="compare",
    )  # fmt: skip
    flags = ["--on-bad-row", "quarantine", "--on-schema-drift", "compare"]
    flags += ["--rule", "v=decimal", "-k", "id", *(f"--gate={each}" for each in gates)]
    markup = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL)
    outputs = {
        "terminal": recon("diff", old.name, new.name, *flags, cwd=tmp_path).stdout,
        "markdown": result.to_markdown(),
        "page": " ".join(unescape(markup.sub(" ", result.to_html())).split()),
        "junit": render_junit(result).decode(),
    }
    assert "1 key repeats in old, on 2 rows" in outputs["terminal"]
    assert "1 column on one side only" in result.differences()
    wrong = {name: WRONG.findall(text) for name, text in outputs.items()}
    assert not any(wrong.values()), wrong


@given(
    whole=st.integers(1, 10**12),
    parts=st.lists(st.integers(0, 10**12), min_size=2, max_size=5),
    places=st.integers(0, 2),
)
def test_none_and_all_are_said_of_none_and_all_only(
    whole: int, parts: list[int], places: int
) -> None:
    for part in sorted({*(each % (whole + 1) for each in parts), 0, 1, whole - 1}):
        text = format_rate(part, whole, places)
        number = float(text.strip("<>%"))
        share = 100 * part / whole
        assert (number == 0) == (part == 0), text
        assert (number == 100) == (part == whole), text
        if text[0] in "<>":
            assert share < number if text[0] == "<" else share > number
        else:
            assert abs(number - share) <= 0.501 * 10**-places, text


def test_every_output_has_the_same_share(tmp_path: Path) -> None:
    rows = [f"{n},a\n" for n in range(40_000)]
    (tmp_path / "o.csv").write_text("id,v\n" + "".join(rows))
    rows[7] = "7,b\n"
    (tmp_path / "n.csv").write_text("id,v\n" + "".join(rows[:-1]))
    ended = recon("diff", "o.csv", "n.csv", "--key", "id", "-o", "r.html", cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    [line] = [each for each in ended.stdout.splitlines() if each.startswith("v ")]
    assert line.split()[:3] == ["v", "1", "<0.01"]
    page = unescape((tmp_path / "r.html").read_text())
    assert ">99.99% of old" in page
    assert "1 of 39,999 matched rows differs (<0.01%)" in page
    result = PastResult(
        verdict="differ",
        passed=True,
        rows_old=40_000,
        rows_new=39_999,
        matched=39_999,
        missing=1,
        extra=0,
        mismatched_rows=1,
        mismatched_cells=1,
        accepted_rows=0,
    )
    began = datetime(2026, 11, 2, tzinfo=UTC)
    run = PastRun(UUID(int=1), began, "SUCCEEDED", 1.0, result)
    history = unescape(render_history("claims", [run]))
    assert "<0.01%" in history
    assert "0.00%" not in history


def test_a_gate_says_all_of_all_only(tmp_path: Path) -> None:
    lines = [f"{n},a\n" for n in range(5_000)]
    (tmp_path / "o.csv").write_text("id,v\n" + "".join(lines))
    for kept, percent in ((lines[:1], ">99.9%"), ([], "100%")):
        (tmp_path / "n.csv").write_text("id,v\n" + "".join(kept))
        found = diff(
            tmp_path / "o.csv", tmp_path / "n.csv", keys="id", gates="missing_rate<=5%"
        )
        [gate] = found.gates
        assert f"({percent})" in gate.text
