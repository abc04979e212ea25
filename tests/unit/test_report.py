"""The page of a result: whole by itself, true to it, and harmless whatever it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import statistics
import subprocess
import sys
from dataclasses import replace
from datetime import date
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import pages
from support.report_pairs import HOSTILE, pair, table

from recon_engine import diff
from recon_engine.characters import escaped as visible
from recon_engine.command_line import rebuild_command
from recon_engine.model import (
    UNMATCHED_ROWS,
    Acceptance,
    Cell,
    GateResult,
    Suppressed,
    Suppressible,
    Suppression,
    SuppressionState,
)
from recon_engine.report import artifacts, page_data, result_page
from recon_engine.report.chart import MIN_POINTS_FOR_MEDIAN, Point, draw_chart
from recon_engine.report.page_data import (
    FIRST_CELLS,
    FIRST_ROWS,
    excerpt_values,
    take_rows_up_to,
)


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine import Reconciliation
    from recon_engine.config import Options


class Outline(HTMLParser):
    """The tags of a page, their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self.within: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        code = tag == "style" or (tag == "script" and not attrs)
        self.within = tag if code else None

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's
        self.within = None

    def handle_data(self, data: str) -> None:
        if self.within:
            self.inside.append((self.within, data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def island(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found
    result: dict[str, Any] = json.loads(found[1])
    return result


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Reconciliation:
    return pages.claims(tmp_path_factory.mktemp("claims"), rows=3_000)


@pytest.fixture(scope="module")
def everything(claims: Reconciliation) -> str:
    return result_page.render_result(pages.with_everything(claims), pages.facts())


def test_a_page_loads_nothing(everything: str) -> None:
    outline = Outline(everything)
    assert not {"link", "img", "iframe", "object", "base"} & {
        t for t, _ in outline.tags
    }
    loading = {"src", "srcset", "action", "data", "xlink:href", "style"}
    assert not [a for _, a in outline.tags if loading & a.keys()]
    assert all(str(a["href"]).startswith("#") for a in outline.named("a"))
    assert "url(" not in everything
    assert "@import" not in everything


def test_the_policy_allows_the_scripts_and_styles_of_the_page_alone(
    everything: str,
) -> None:
    outline = Outline(everything)
    [policy] = [
        meta["content"] for meta in outline.named("meta") if "http-equiv" in meta
    ]
    assert policy is not None
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert [tag for tag, _ in outline.inside] == ["style", "script", "script"]
    for tag, text in outline.inside:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed[f"{tag}-src"]
    assert "unsafe" not in policy


def test_the_same_result_is_the_same_page(claims: Reconciliation) -> None:
    facts = replace(pages.facts(), timed=False)
    slower = replace(claims, engine=replace(claims.engine, seconds=99.0))
    assert result_page.render_result(claims, facts) == result_page.render_result(
        slower, facts
    )


def test_an_artifact_is_the_same_bytes_each_time(
    claims: Reconciliation, tmp_path: Path
) -> None:
    shas = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written = artifacts.write_artifacts(claims, tmp_path / name)
        shas.append({each.name: each.sha256 for each in written})
    assert "report.html" in shas[0]
    assert shas[0] == shas[1]


def test_what_cells_keys_and_headers_say_is_text(tmp_path: Path) -> None:
    header = ["ID", *HOSTILE]
    values = [f"v{at}{text}" for at, text in enumerate(HOSTILE)]
    old = pl.DataFrame([["k" + HOSTILE[0], *values]], schema=header, orient="row")
    new = old.with_columns(pl.col(HOSTILE) + "!")
    result = diff(old, new, keys="ID")
    named = replace(result, old=replace(result.old, uri=f"s3://b/{HOSTILE[1]}"))
    path = tmp_path / "r.html"
    named.to_html(path)
    text = named.to_html()
    assert path.read_text(encoding="utf-8") == text
    outline = Outline(text)
    assert len(outline.named("script")) == 3
    assert not outline.named("img")
    assert "\u202e" not in text.partition('id="data"')[0]
    found = island(text)
    assert sorted(found["columns"]) == sorted(HOSTILE)
    assert sorted(found["old"]) == sorted(values)
    assert found["keyColumns"] == [["k" + HOSTILE[0]]]
    assert "&lt;img" in named._repr_html_()
    assert "<img" not in named._repr_html_()


def of_breaks(text: str) -> str:
    """The section of two breaks that say it."""
    said = ("number", "new", date(2026, 11, 23), 0, 1)
    oldest = (
        result_page.OpenBreak(text, text, *said, text, text),
        result_page.OpenBreak(text, None, "missing", *said[1:], None, None),
    )
    facts = result_page.PageFacts(breaks=result_page.OpenBreaks("new 2", 2, oldest))
    page = result_page.render_result(pair(["a"], ["b"]), facts)
    [section] = re.findall(r'<section[^>]*"breaks">.*?</section>', page, re.DOTALL)
    return str(section)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_breaks_say_is_text(text: str) -> None:
    section = of_breaks(text)
    assert Outline(section).tags == Outline(of_breaks("x")).tags
    assert words(section).count(" ".join(visible(text).split())) == 5


def test_the_island_has_every_sampled_cell(claims: Reconciliation) -> None:
    found = island(result_page.render_result(claims))
    columns, kinds, pairs = found["columns"], found["kinds"], found["pairs"]
    embedded = sorted(
        (columns[pairs[at][0]], old, new, kinds[pairs[at][1]])
        for at, old, new in zip(
            found["combinations"], found["old"], found["new"], strict=True
        )
    )
    cells = claims.mismatches().select("column", "old", "new", "kind")
    assert embedded == sorted(cells.iter_rows())
    assert sum(found["cellsOf"]) == claims.counts.mismatched_cells
    assert [len(column) for column in found["keyColumns"]] == [len(claims.sample)] * 3


def test_the_rows_of_one_side_are_whole(claims: Reconciliation) -> None:
    unmatched = island(result_page.render_result(claims))["missing"]
    rows = [
        tuple(
            values[at] for values, at in zip(unmatched["values"], places, strict=True)
        )
        for places in zip(*unmatched["indices"], strict=True)
    ]
    assert unmatched["columns"] == claims.missing().columns
    assert rows == claims.missing().rows()


def test_only_so_many_rows_of_one_side_are_on_the_page() -> None:
    many = table(ID=[str(at) for at in range(UNMATCHED_ROWS + 9)])
    found = island(result_page.render_result(diff(many, many.head(0), keys="ID")))
    assert len(found["missing"]["indices"][0]) == UNMATCHED_ROWS
    assert found["totals"]["missing"] == UNMATCHED_ROWS + 9


def unscripted(text: str) -> str:
    """What the page shows of its rows without scripts."""
    return text.partition('<div id="unscripted">')[2].partition("</section>")[0]


def test_without_scripts_the_first_rows_of_each_list_are_there(
    claims: Reconciliation,
) -> None:
    shown = unscripted(result_page.render_result(claims))
    cells, _, unmatched = shown.partition('id="first-missing"')
    missing, _, extra = unmatched.partition('id="first-extra"')
    few = [cell for row in claims.sample[:FIRST_ROWS] for cell in row.cells.values()]
    # One more is the head of the table.
    assert cells.count("<tr><th") == 1 + len(few) > FIRST_ROWS
    first = few[0]
    assert f'"was">{first.old}</bdi> → <bdi class="is">{first.new}</bdi>' in cells
    for part, rows in ((missing, claims.missing()), (extra, claims.extra())):
        assert 0 < rows.height <= FIRST_ROWS
        assert part.count("<tr><td>") == rows.height
        assert all(f">{name}</th>" in part for name in rows.columns)
        assert all(f"<td>{text or '(blank)'}</td>" in part for text in rows.row(-1))


def test_without_scripts_the_page_has_a_bound() -> None:
    keys = [str(at) for at in range(80)]
    wide = {f"C{at}": ["a" * 300] * 80 for at in range(99)}
    old, new = table(ID=keys, **wide), table(ID=keys[:40])
    d = diff(old, new, keys="ID", on_schema_drift="compare")
    missing = unscripted(result_page.render_result(d))
    assert "40 of 40 rows, without the last 88 columns" in missing
    assert FIRST_CELLS - FIRST_ROWS < missing.count("<td>") <= FIRST_CELLS
    assert len(missing) < 200_000
    # Of one row with more cells than that, none is shown.
    many = {f"{name}.{at}": "ab" for name in wide for at in range(6)}
    sides = ({name: [text[at]] for name, text in many.items()} for at in range(2))
    d = diff(*(table(ID=["1"], **each) for each in sides), keys="ID")
    assert d.counts.mismatched_cells > FIRST_CELLS
    assert "<td>" not in unscripted(result_page.render_result(d))


def test_without_scripts_masks_hide_values() -> None:
    old, new = table(ID=["1", "2"], V=["S3CRET", "S3CRET"]), table(ID=["1"], V=["x"])
    text = result_page.render_result(diff(old, new, keys="ID", masks={"V": "redact"}))
    assert "S3CRET" not in text
    assert unscripted(text).count("(redacted)") == 3


def test_values_that_hold_a_tilde_are_told_apart() -> None:
    result = pair(["a~b", "a", "x"], ["c", "b~c", "y"])
    found = island(result_page.render_result(result))
    assert sorted(zip(found["old"], found["new"], strict=True)) == [
        ("a", "b~c"),
        ("a~b", "c"),
        ("x", "y"),
    ]


def test_a_joined_text_has_no_blank_beside_it() -> None:
    found = pair(["a~b"], ["a~c"])
    [row] = found.sample
    cells = {name: Cell(None, cell.text, "unknown") for name, cell in row.cells.items()}
    found = replace(found, sample=(replace(row, cells=cells),))
    text = unscripted(result_page.render_result(found))
    assert '<td><bdi class="is">a~b~a~c</bdi></td>' in text
    assert "(blank)" not in text


def test_the_page_says_how_many_rows_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pair(list("abc"), list("xyz"))
    assert "all 3 rows that differ" in result_page.render_result(found)
    monkeypatch.setattr(page_data, "PAGE_CELLS", 2)
    text = result_page.render_result(found)
    assert "a stable sample of 2 of 3 rows that differ" in text


def test_the_length_of_a_long_value_is_its_own() -> None:
    long = "x" * 1_000
    # Twice, as a repeated change has it.
    text = result_page.render_result(
        diff(
            table(ID=["1", "2", "3"], V=[f"{long}a", f"{long}a", long]),
            table(ID=["1", "2", "4"], V=[f"{long}b", f"{long}b", long]),
            keys="ID",
        )
    )
    assert "261 characters" not in text
    assert unscripted(text).count("(1,001 characters)") == 4
    [_, patterns] = text.split('id="patterns"')
    assert patterns.split('id="data"')[0].count("(1,001 characters)") == 2
    assert {*re.findall(r"\([\d,]+ characters\)", text)} == {
        "(1,000 characters)",
        "(1,001 characters)",
    }


def test_kinds_are_those_of_the_values_behind_a_mask() -> None:
    old, new = table(ID=["1"], V=["10.00"]), table(ID=["1"], V=["10"])
    found = island(
        result_page.render_result(diff(old, new, keys="ID", masks={"V": "redact"}))
    )
    assert found["kinds"] == ["number_format"]
    assert found["old"] == found["new"] == ["(redacted)"]


def test_of_a_megabyte_the_page_has_what_surrounds_the_difference() -> None:
    long = "x" * 1_000_000
    text = result_page.render_result(
        pair([f"{long}before{long}"], [f"{long}after{long}"])
    )
    assert len(text) < 100_000
    found = island(text)
    assert "before" in found["old"][0]
    assert "after" in found["new"][0]
    assert "(2,000,006 characters)" in found["old"][0]


@pytest.mark.parametrize("old", ["a" * 241, None])
def test_an_excerpt_of_equal_beginnings_shows_where_they_end(old: str | None) -> None:
    was, now = excerpt_values(old, "a" * 241 + "b")
    assert was is None if old is None else str(was).startswith("…")
    assert "(242 characters)" in now


def test_wide_rows_do_not_make_the_page_grow_without_end(
    claims: Reconciliation,
) -> None:
    few = take_rows_up_to(claims.sample, 10)
    assert 0 < sum(len(row.cells) for row in few) <= 10
    assert few == claims.sample[: len(few)]


def test_a_gate_that_failed_is_the_verdict(claims: Reconciliation) -> None:
    says = "15 missing, limit 0"
    gates = (GateResult("missing<=0", passed=False, value=15, text=says),)
    text = result_page.render_result(replace(claims, acceptance=Acceptance(gates, ())))
    assert "✗ FAIL" in text
    assert says in text


def test_differences_within_all_gates_pass(claims: Reconciliation) -> None:
    gates = (GateResult("missing<=99", passed=True, value=15),)
    assert "✓ PASS" in result_page.render_result(
        replace(claims, acceptance=Acceptance(gates, ()))
    )


def words(text: str) -> str:
    """What a page says, without its markup, styles and scripts."""
    bare = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(unescape(bare).split())


def test_in_a_few_sentences_it_says_what_why_and_how_much() -> None:
    old = table(ID=["1", "2", "3", "4"], PAID=["1.00", "2.00", "3.00", "4"])
    new = table(ID=["1", "2", "3", "5"], PAID=["1", "2", "9.00", "5"])
    said = words(result_page.render_result(diff(old, new, keys="ID")))
    for sentence in (
        "✗ DIFFER 3 of 3 matched rows differ (100.00%); 1 missing from NEW; 1 only in",
        "1 of 3 differing cells is not explained by a hint.",
        "2 of the 3 differing cells are the same value written another way.",
        "Largest cause: PAID , number format (2 of all differing cells).",
        "Missing 1 in old only Extra 1 in new only",
        "Rows that differ 3 3 cells in 1 column",
    ):
        assert sentence in said


def test_the_largest_cause_has_more_cells_than_all_others() -> None:
    first = table(ID=["1", "2", "3"], PAID=["1.00", "2", "3"], NAME=["a", "b", "c"])
    tied = table(ID=["1", "2", "3"], PAID=["1", "2", "3"], NAME=["x", "b", "c"])
    assert "Largest cause" not in diff(first, tied, keys="ID").to_html()
    most = table(ID=["1", "2", "3"], PAID=["1", "2", "3"], NAME=["x", "y", "c"])
    said = words(diff(first, most, keys="ID").to_html())
    # Of all cells, not of those of the column, which would be all.
    assert "Largest cause: NAME , text (2 of all differing cells)." in said
    three = table(ID=["1", "2", "3"], PAID=["1", "9", "3"], NAME=["x", "y", "c"])
    assert "Largest cause" not in diff(first, three, keys="ID").to_html()


def test_a_rule_of_one_side_has_no_count_of_the_other() -> None:
    old, new = table(ID=["1"], SEX=["M"]), table(ID=["1"], SEX=["1"])
    found = diff(old, new, keys="ID", old_rules={"SEX": "map(M=1)"})
    assert "SEX=map(M=1) 1 of 1 — 1 cell" in words(result_page.render_result(found))


def test_a_notebook_shows_the_same_in_short(claims: Reconciliation) -> None:
    said = words(claims._repr_html_())
    assert said.startswith("✗ DIFFER")
    assert claims.accounting() in said
    assert claims.rewriting() in said
    amounts = next(c for c in claims.by_column if c.name == "CLM_PMT_AMT")
    assert f"CLM_PMT_AMT {amounts.mismatched:,}" in said


def test_what_is_suppressed_is_reported(claims: Reconciliation) -> None:
    known = Suppression(
        what=Suppressible.MISSING,
        reason="purged",
        owner="claims",
        until=date(2099, 1, 1),
    )
    found = (Suppressed(known, claims.counts.missing, SuppressionState.ACTIVE),)
    said = words(
        result_page.render_result(replace(claims, acceptance=Acceptance((), found)))
    )
    assert "until 2099-01-01: purged (claims)" in said


NUMBERS = st.lists(st.integers(0, 10**9), min_size=1, max_size=120)


@given(NUMBERS)
def test_a_chart_draws_every_number_within_it(numbers: list[int]) -> None:
    drawn = draw_chart("n", [Point(n, str(at)) for at, n in enumerate(numbers)], str)
    assert [dot.text for dot in drawn.dots] == [
        f"{a}: {n}" for a, n in enumerate(numbers)
    ]
    assert all(
        drawn.left <= dot.x <= drawn.right and 0 < dot.y < drawn.height
        for dot in drawn.dots
    )
    lowest, highest = numbers.index(min(numbers)), numbers.index(max(numbers))
    assert drawn.dots[lowest].y >= drawn.dots[highest].y
    if len(numbers) >= MIN_POINTS_FOR_MEDIAN:
        assert drawn.median is not None
        assert drawn.median.text == f"median {statistics.median_high(numbers)}"
        assert drawn.median.y in {dot.y for dot in drawn.dots}


def test_the_trend_ends_with_this_run(claims: Reconciliation) -> None:
    past = pages.facts().past
    said = words(
        result_page.render_result(claims, replace(result_page.NO_FACTS, past=past))
    )
    earlier = [run.result.mismatched_rows for run in past if run.result]
    here = claims.counts.mismatched_rows
    assert f"median {statistics.median_high([*earlier, here]):,}" in said
    assert f"last {len(earlier) + 1} results" in said
    assert f"this run: {here:,}" in said


def test_files_that_agree_are_a_short_page() -> None:
    text = result_page.render_result(pair(["a"], ["a"]))
    assert "✓ AGREE" in text
    assert "1 row is the same on both sides." in text
    assert "No cell of a matched row differs." in text


@pytest.mark.parametrize(
    "section",
    ["gates", "breaks", "hints", "totals", "segments", "patterns", "trend"],
)
def test_sections_are_there_only_with_something_to_say(
    section: str, everything: str
) -> None:
    assert f'<h2 id="{section}">' in everything
    assert f'<h2 id="{section}">' not in result_page.render_result(pair(["a"], ["a"]))


def test_what_no_hint_settles_is_reported(claims: Reconciliation) -> None:
    assert claims.remainder()
    said = words(result_page.render_result(claims))
    assert f"Not explained by any hint: {claims.remainder()}" in said


def test_a_change_that_happened_once_does_not_repeat() -> None:
    text = result_page.render_result(pair(["5.0", "5.0", "7.0"], ["5", "5", "8"]))
    [section] = re.findall(r'<h2 id="patterns">.*?</section>', text, re.DOTALL)
    assert "5.0 → 5 number format 2" in words(section)
    assert "7.0" not in section
    assert "and 1 more, once" in words(section)
    ends = {
        "and 2 more, once each": ["a", "a", "b", "c"],
        "and 2 more": [at for at in "abcdefgh" for _ in "12"],
        "": ["a", "a"],
    }
    for end, old in ends.items():
        page = result_page.render_result(pair(old, [f"x{each}y" for each in old]))
        [section] = re.findall(r'<h2 id="patterns">.*?</section>', page, re.DOTALL)
        assert re.findall("and .*", words(section).strip()) == [end] * bool(end)
    assert 'id="patterns"' not in result_page.render_result(pair(["a"], ["b"]))


def test_the_accounting_is_shown_as_arithmetic(claims: Reconciliation) -> None:
    n, text = claims.counts, result_page.render_result(claims)
    assert f"{claims.old.rows:,} = {n.matched:,} + {n.missing:,}" in text
    assert f"{claims.new.rows:,} = {n.matched:,} + {n.extra:,}" in text


@pytest.mark.slow
def test_five_thousand_sampled_rows_are_half_a_megabyte(tmp_path: Path) -> None:
    result = pages.claims(tmp_path, rows=60_000)
    assert len(result.sample) == 5_000
    assert len(result_page.render_result(result, pages.facts()).encode()) <= 500_000


def test_the_command_on_the_page_makes_the_same_result(tmp_path: Path) -> None:
    name = 'A "B", =C'
    (tmp_path / "o d.csv").write_text(
        f'"{name.replace(chr(34), chr(34) * 2)}";X;N\n1;a ;7\n'
    )
    (tmp_path / "new.csv").write_text(
        f'"{name.replace(chr(34), chr(34) * 2)}";Y;N\n1;A;8\n'
    )
    options = pages_options(name)
    said = rebuild_command(options, "o d.csv", "new.csv")
    words = shlex.split(said)
    assert words[:4] == ["recon", "diff", "o d.csv", "new.csv"]
    ended = subprocess.run(
        [sys.executable, "-m", "recon_cli", *words[1:], "-f", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = json.loads(ended.stdout)["counts"]
    assert (counts["matched"], counts["mismatched_cells"]) == (1, 0)
    assert counts["tolerated_cells"] == 1


def pages_options(name: str) -> Options:
    from recon_engine.config import Options

    return Options(
        keys=(name,),
        ignore=("N",),
        renames={"X": "Y"},
        rules={"X": ("trim", "casefold")},
        delimiter=";",
        detail_limit=10,
    )


def test_columns_that_are_not_compared_are_named_everywhere() -> None:
    old = pl.DataFrame({"ID": ["1"], "UNITS": ["1"], "A": ["2"], "GONE": ["3"]})
    new = pl.DataFrame({"ID": ["1"], "UNITS": ["7"], "A": ["2"], "CAME": ["3"]})
    found = diff(old, new, keys="ID", ignore="UNITS", on_schema_drift="compare")
    ignored = "not compared: UNITS (ignore)"
    page = result_page.render_result(found)
    for text in (str(found), found.to_markdown(), page):
        assert ignored in text
        for side, name in (("old", "GONE"), ("new", "CAME")):
            sentence = f"not compared, only in {side}: {name}".casefold()
            assert sentence in text.casefold()
    assert ignored not in found.to_json()
    shown = diff(old, new, keys="ID", ignore=("UNITS", "GONE", "CAME"))
    assert "not compared: UNITS, GONE, CAME (ignore)" in str(shown)


def test_what_keeps_a_result_from_a_pass_is_named_with_its_remedy() -> None:
    old = pl.DataFrame({"ID": ["1", "2"], "A": ["2", "2"], "GONE": ["3", "3"]})
    compare: dict[str, Any] = {"keys": "ID", "on_schema_drift": "compare"}
    found = diff(old, old.drop("GONE"), **compare)
    said = 'nothing else is open: ignore="GONE" leaves it out of the verdict'
    assert str(found).count(said) == 1
    followed = diff(old, old.drop("GONE"), keys="ID", ignore="GONE")
    assert (found.passes, followed.passes) == (False, True)
    # Not if a row is missing, if a gate decides, if it may have another name, or if
    # no row is compared.
    by_row: dict[str, Any] = {"old_where": "A = '2'", "new_where": "A = '2'"}
    sides = (old.with_columns(A=pl.Series(list(each))) for each in ("23", "32"))
    first, second = sides
    for other in (
        diff(first, second.drop("GONE"), **by_row, **compare),
        diff(old, old.drop("GONE").head(1), **compare),
        diff(old, old.drop("GONE"), gates="missing<=0", **compare),
        diff(old, old.rename({"GONE": "CAME"}), **compare),
    ):
        assert "out of the verdict" not in str(other)


def test_the_key_comes_first_in_rows_of_one_side() -> None:
    old = pl.DataFrame({"A": ["1"], "^B$": ["2"], "ID": ["3"]})
    page = result_page.render_result(diff(old, old.head(0), keys="ID"))
    assert island(page)["missing"]["columns"] == ["ID", "A", "^B$"]
    assert "<td>3</td><td>1</td><td>2</td>" in unscripted(page)


def test_blanks_at_the_ends_of_a_value_are_seen() -> None:
    old = table(ID=["1", "2", "3"], V=["", "", "x"])
    new = table(ID=["1", "2"], V=[" later", " later"])
    found = diff(old.with_columns(V=pl.col("V") + " "), new, keys="ID")
    page = result_page.render_result(found)
    assert '<bdi class="was">·</bdi> → <bdi class="is">·later</bdi>' in page
    assert "<td>x·</td>" in unscripted(page)


def test_the_page_says_how_new_calls_the_columns() -> None:
    old = pl.DataFrame({"ID": ["1"], "CITY": ["x"], "A": ["2"]})
    new = pl.DataFrame({"NR": ["1"], "town": ["x"], "amount": ["3"]})
    renames = {"ID": "NR", "CITY": "town", "A": "amount"}
    page = result_page.render_result(diff(old, new, keys="ID", renames=renames))
    assert "<code>A (amount)</code>" in page
    assert "key <code>ID (NR)</code>" in page
    # A column that is equal on every row has no other place.
    assert re.search("names in NEW</dt><dd[^>]*>[^<]*CITY = town", page)
