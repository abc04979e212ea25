"""Breaks beside differences that a suppression accepts, on a real Postgres."""

from __future__ import annotations

import io
import json
import re
import shlex
import tomllib
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recon_cli import render
from recon_cli.run_end import RunClock, format_summary
from rich.console import Console
from support.known_runs import KnownRuns, run_once
from support.program import recon
from support.suppressed_pairs import DAY
from support.suppression_oracle import (
    Known,
    accepted,
    dense_pairs,
    key_rules,
    list_found,
)

from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.lookup import Lookup
from recon_engine.config import Options, SideOptions
from recon_engine.config_file import load_configuration
from recon_engine.errors import ConfigError, InputChanged
from recon_engine.formatting import format_key
from recon_engine.inputs.frames import import_frame
from recon_engine.inputs.opening import open_input
from recon_engine.model import Suppressible, Suppression
from recon_engine.options import Format
from recon_engine.pipeline import runner
from recon_engine.postgres import history, run_log
from recon_engine.postgres.breaks import (
    BreakFilter,
    Observation,
    format_breaks,
    list_breaks,
)
from recon_engine.postgres.changed_settings import list_changed_settings
from recon_engine.postgres.connection import open_connection
from recon_engine.postgres.publish import Publication, publish_run
from recon_engine.postgres.run_log import make_uuid7
from recon_engine.report import history_page, result_page


if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from support.sites import FolderSite
    from support.strategies import Pair

    from recon_engine import Reconciliation
    from recon_engine.pipeline.runner import Outcome

IN_CASE = Suppression(
    what=Suppressible.COLUMN,
    column="STATUS",
    kind="case",
    reason="agreed",
    owner="claims",
    until=date(2099, 1, 1),
)
ACCEPTING = Options(keys=("ID",), suppressions=(IN_CASE,))


def claims(rows: int, *, lower: bool, wrong: int = 0) -> bytes:
    """Claims with a status in upper or lower case, of which the first are unpaid."""
    status = "paid" if lower else "PAID"
    lines = (f"{at},{0 if at < wrong else 10 + at},{status}" for at in range(rows))
    return "\n".join(["ID,AMT,STATUS", *lines, ""]).encode()


def run_day(
    site: FolderSite, day: int, rows: int, wrong: int, options: Options = ACCEPTING
) -> Outcome:
    """A day on which every status differs in case, and some amounts too."""
    old, new = claims(rows, lower=False), claims(rows, lower=True, wrong=wrong)
    site.deliver(old, new, f"2026112{day}")
    outcome = site.run(options=options)
    assert outcome.error is None
    return outcome


def three_days(site: FolderSite) -> list[Outcome]:
    """On the first of the three days nothing is accepted yet."""
    first = run_day(site, 1, 40, 2, replace(ACCEPTING, suppressions=()))
    return [first, run_day(site, 2, 45, 3), run_day(site, 3, 50, 8)]


@pytest.fixture(scope="module")
def known(template: str, tmp_path_factory: pytest.TempPathFactory) -> KnownRuns:
    """For tests that only read."""
    return run_once(template, tmp_path_factory.mktemp("known"), three_days)


def summary(outcome: Outcome) -> list[str]:
    clock = RunClock()
    clock.outcome = outcome
    return list(format_summary(clock, "recon"))


def test_what_is_accepted_is_open_and_counted_apart(known: KnownRuns) -> None:
    last = known.ended[-1]
    assert last.breaks is not None
    counts = last.breaks.counts
    assert counts is not None
    assert (counts.open, counts.accepted, counts.unaccepted) == (58, 50, 8)
    assert (counts.appeared, counts.unaccepted_appeared) == (10, 5)
    assert format_breaks(last.breaks).endswith(
        "; 8 of 58 open breaks are not accepted, 5 of them new or reopened"
    )
    lines = summary(last)
    assert "verdict:   DIFFER: 8 of 50 matched rows differ" in lines[1]
    assert "(42 more only by an accepted difference)" in lines[1]
    assert lines[-1] == "next:      recon breaks --dataset claims --state new"
    command = f"recon report {last.record.run_id}"
    assert lines[-2] == f"page:      {command} writes it with the state and the breaks"


def test_breaks_leaves_accepted_ones_out_and_says_how_many(
    known: KnownRuns, tmp_path: Path
) -> None:
    asked = ("breaks", "--dataset", "claims")
    said = recon(*asked, cwd=tmp_path, RECON_DATABASE_URL=known.site.database)
    assert said.stdout.count("\n") == 1 + 8
    assert "STATUS" not in said.stdout
    assert "8 of 8 breaks, as of" in said.stderr
    more = "; 50 more open breaks are accepted by a suppression: add --accepted"
    assert more in said.stderr
    every = recon(
        *asked,
        "--accepted",
        "-f",
        "json",
        cwd=tmp_path,
        RECON_DATABASE_URL=known.site.database,
    )
    listed = json.loads(every.stdout)
    assert {(each["column"], each["accepted"]) for each in listed} == {
        ("AMT", False),
        ("STATUS", True),
    }
    assert "accepted by a suppression" not in every.stderr


def test_the_next_command_names_the_archived_files(
    known: KnownRuns, tmp_path: Path
) -> None:
    asked = ("breaks", "--dataset", "claims", "--limit", "1")
    said = recon(*asked, cwd=tmp_path, RECON_DATABASE_URL=known.site.database)
    [line] = [line for line in said.stderr.splitlines() if line.startswith("next: ")]
    command, *arguments = shlex.split(line.removeprefix("next: recon "))
    assert command == "explain"
    assert "20261123" in arguments[0]
    explained = recon(command, *arguments, cwd=tmp_path)
    assert explained.returncode == 1, explained.stderr
    assert "AMT" in explained.stdout


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (BreakFilter(accepted=True), {"AMT": 1, "STATUS": 3, None: 1}),
        (BreakFilter(not_columns=["STATUS"]), {"AMT": 1, None: 1}),
        (BreakFilter(not_kinds=["missing", "case"]), {"AMT": 1}),
        (BreakFilter(not_columns=["AMT", "STATUS"]), {None: 1}),
    ],
)
def test_breaks_of_a_column_or_kind_can_be_left_out(
    site: FolderSite, wanted: BreakFilter, found: dict[str | None, int]
) -> None:
    old = b"ID,AMT,STATUS\n1,10,A\n2,20,B\n3,30,C\n4,40,D\n"
    site.deliver(old, b"ID,AMT,STATUS\n1,11,a\n2,20,b\n3,30,c\n", "20261121")
    site.run(options=Options(keys=("ID",)))
    page = list_breaks(site.database, "claims", wanted)
    assert page.totals["column"] == found
    assert (page.total, page.left_out) == (sum(found.values()), 0)


def test_an_unknown_kind_to_leave_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no kind of difference csae"):
        BreakFilter(not_kinds=["csae"])


def test_history_and_its_charts_show_what_is_not_accepted(known: KnownRuns) -> None:
    ended = known.ended
    with open_connection(known.site.database) as connection:
        runs = history.list_runs(connection, "claims", 10)
        pages = [
            result_page.render_result(
                *history.load_result(connection, each.record.run_id)
            )
            for each in ended
        ]
        kept, facts = history.load_result(connection, ended[-1].record.run_id)
    results = [run.result for run in reversed(runs) if run.result]
    assert [each.mismatched_rows for each in results] == [40, 45, 50]
    assert [each.unaccepted_rows for each in results] == [40, 3, 8]
    opened = [run.breaks for run in reversed(runs) if run.breaks]
    assert [each.open for each in opened] == [42, 48, 58]
    assert [each.unaccepted for each in opened] == [42, 3, 8]
    page = history_page.render_history("claims", runs)
    assert "share of the matched rows, without what suppressions accept" in page
    assert "Open breaks, 3 results: latest 8" in page
    assert "8 rows differ, 42 more only by an accepted difference" in page
    assert ended[-1].result is not None
    # Also of the stored result, from the tables alone.
    assert kept.headline() == ended[-1].result.headline()
    assert facts.breaks is not None
    assert (facts.breaks.open, facts.breaks.accepted) == (8, 50)
    assert "8 of 50 matched rows differ (16%; 42 more only by" in pages[-1].replace(
        "16.00%", "16%"
    )
    assert "50 more are accepted by suppressions." in pages[-1]


def test_history_lists_both_counts_and_the_file(
    known: KnownRuns, tmp_path: Path
) -> None:
    said = recon(
        *("history", "--dataset", "claims", "-f", "json"),
        cwd=tmp_path,
        RECON_DATABASE_URL=known.site.database,
    )
    latest, *_, first = json.loads(said.stdout)
    assert (latest["open"], latest["differ"], latest["rate"]) == (58, 50, "100.00%")
    assert (latest["unaccepted_open"], latest["unaccepted_rows"]) == (8, 8)
    assert (latest["unaccepted_appeared"], latest["unaccepted_rate"]) == (5, "16.00%")
    assert "20261123" in latest["file"]
    assert "20261121" in first["file"]
    assert list(latest)[-1] == "run"


@pytest.mark.parametrize("width", [100, 130, 400])
def test_a_terminal_shows_what_is_not_accepted_first(
    known: KnownRuns, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    with open_connection(known.site.database) as connection:
        runs = history.list_runs(connection, "claims", 10)
    shown = io.StringIO()
    console = Console(file=shown, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(render, "make_console", lambda: console)
    render.show_history(runs, Format.TABLE)
    head, latest, *_ = shown.getvalue().splitlines()
    assert len(head.rstrip()) <= width
    always = "began verdict missing extra differ open new unaccepted state run"
    assert {*always.split()} <= {*head.split()}
    assert ("16.00%" in latest) == ("unacc. rate" in head) == (width == 400)
    assert "not clean" in latest
    # The other commands take the first digits of an id.
    shortened = latest.split()[-1]
    assert shortened == str(runs[0].run_id)[:13]
    with open_connection(known.site.database) as connection:
        assert history.find_run_id(connection, shortened, None) == runs[0].run_id


def test_a_narrow_terminal_marks_a_replaced_run(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_day(site, 1, 40, 2)
    run_day(site, 1, 40, 2, Options(keys=("ID",)))
    with open_connection(site.database) as connection:
        runs = history.list_runs(connection, "claims", 10)
    shown = io.StringIO()
    console = Console(file=shown, width=110, force_terminal=True, color_system=None)
    monkeypatch.setattr(render, "make_console", lambda: console)
    render.show_history(runs, Format.TABLE)
    _, latest, earlier = shown.getvalue().splitlines()
    assert "(replaced)" in earlier
    assert "(replaced)" not in latest
    page = history_page.render_history("claims", runs)
    counted = "1 result, 1 replaced by a later run of the same files"
    assert f"<title>claims · {counted}</title>" in page
    assert "of 2 runs, 1 replaced by a later run of the same files" in page


SUPPRESS = """
[dataset.claims]
keys = ["ID"]

[[dataset.claims.suppress]]
what = "column"
column = "STATUS"
kind = "case"
reason = "agreed"
owner = "claims"
until = 2099-01-01
"""


def test_breaks_says_that_suppressions_changed_after_the_last_run(
    site: FolderSite, tmp_path: Path
) -> None:
    def said(*options: str) -> str:
        asked = ("breaks", *options)
        ended = recon(*asked, cwd=tmp_path, RECON_DATABASE_URL=site.database)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr

    changed = "the suppressions of recon.toml changed after the last run"
    plain = replace(ACCEPTING, suppressions=())
    run_day(site, 1, 40, 2, plain)
    assert changed not in said("--dataset", "claims")
    (tmp_path / "recon.toml").write_text(SUPPRESS)
    assert changed in said()
    # What the note proposes: the same two files again, without --recompute.
    again = run_day(site, 1, 40, 2)
    assert again.record.status == "SUCCEEDED"
    assert again.breaks is not None
    assert again.breaks.counts is not None
    assert (again.breaks.counts.new, again.breaks.counts.accepted) == (42, 40)
    assert changed not in said()
    (tmp_path / "recon.toml").write_text(SUPPRESS + "max = 50\n")
    assert changed in said()
    # Another dataset than that of the settings.
    site.deliver(claims(3, lower=False), claims(3, lower=True), "20261125")
    assert site.run(dataset="others", options=plain).error is None
    (tmp_path / "recon.toml").unlink()
    assert changed not in said("--dataset", "others")


def test_a_report_counts_rows_as_its_headline_does(known: KnownRuns) -> None:
    last = known.ended[-1]
    assert last.result is not None
    page = last.result.to_html()
    still_open = 58 - last.result.accepted_cells
    assert 0 < still_open < 58
    note = f"and 42 accepted rows; 58 cells in [^,]*, {still_open} of them open<"
    assert re.search(f"Rows that differ</dt><dd[^>]*>8</dd><dd[^>]*>{note}", page)


def test_a_recorded_report_marks_what_is_accepted(known: KnownRuns) -> None:
    last = known.ended[-1]
    assert last.result is not None
    with open_connection(known.site.database) as connection:
        stored, _ = history.load_result(connection, last.record.run_id)
    judge = stored.acceptances
    found = Counter(
        judge.accepts_cell(name, row.key_text, cell)
        for row in stored.sample
        for name, cell in row.cells.items()
    )
    open_cells = 58 - last.result.accepted_cells
    assert found == {True: 58 - open_cells, False: open_cells}
    for text in (str(stored), stored.to_html()):
        assert last.result.describe_open() in text


def test_a_terminal_lists_a_break_on_one_line(
    known: KnownRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(render, "make_console", lambda: console)
    render.show_breaks(list_breaks(known.site.database, "claims"), Format.TABLE)
    head, *lines = shown.getvalue().splitlines()
    assert head.split() == ["key", "column", "kind", "state", "age", "old", "new"]
    assert len(lines) == 8
    assert lines[0].split()[:4] == ["0", "AMT", "number", "recurring"]


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("breaks", ("first_seen", "runs_seen", "uncertain")),
        ("history", ("replaced", "file", "unseen")),
    ],
)
def test_a_terminal_shows_every_field_of_a_list_with_v(
    known: KnownRuns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    fields: tuple[str, ...],
) -> None:

    def printed(*flags: str) -> set[str]:
        shown = io.StringIO()
        console = Console(file=shown, width=100, force_terminal=True, color_system=None)
        monkeypatch.setattr(render, "make_console", lambda: console)
        url = {"RECON_DATABASE_URL": known.site.database}
        assert recon(command, *flags, cwd=tmp_path, **url).returncode == 0
        return {*shown.getvalue().split()}

    assert {*fields} <= printed("-v")
    assert not {*fields} & printed()


def test_a_run_of_an_earlier_version_is_not_counted_as_accepted(
    site: FolderSite,
) -> None:
    first, second, _ = three_days(site)
    # What an upgrade leaves: the columns exist, and the earlier runs have no counts.
    with psycopg.connect(site.database) as owner:
        owner.execute(
            "ALTER TABLE metrics.recon_summary DISABLE TRIGGER ALL;"
            "ALTER TABLE metrics.break_summary DISABLE TRIGGER ALL;"
            "UPDATE metrics.recon_summary SET accepted_rows = NULL;"
            "UPDATE metrics.break_summary SET breaks_accepted = NULL,"
            " breaks_accepted_appeared = NULL, oldest_unaccepted_days = NULL"
        )
    with open_connection(site.database) as connection:
        runs = {run.run_id: run for run in history.list_runs(connection, "claims", 10)}
    # Without a suppression, nothing was accepted.
    known, unknown = (runs[each.record.run_id] for each in (first, second))
    assert known.result is not None
    assert known.breaks is not None
    assert (known.result.unaccepted_rows, known.breaks.unaccepted) == (40, 42)
    assert unknown.result is not None
    assert unknown.breaks is not None
    assert (unknown.result.unaccepted_rows, unknown.breaks.unaccepted) == (None, None)
    page = history_page.render_history("claims", list(runs.values()))
    assert "Open breaks, 1 result: latest 42" in page
    assert "Oldest break, 1 result: latest 0 days" in page


def until(site: FolderSite) -> str:
    """The first end of a suppression that the state of the last run names."""
    with open_connection(site.database) as connection:
        state, _ = history.describe_last_state(connection, "claims")
    return state.partition("accepted, the first until ")[2]


def test_a_break_that_is_not_seen_again_stays_accepted_while_the_suppression_holds(
    site: FolderSite,
) -> None:
    three_days(site)
    # Of a later day, none of the rows is delivered: the suppression finds nothing.
    head = b"ID,AMT,STATUS\n"
    site.deliver(head + b"99,1,X\n", head + b"99,1,X\n", "20261124")
    site.run(options=ACCEPTING)
    page = list_breaks(site.database, "claims")
    assert (page.total, page.left_out) == (8, 50)
    assert until(site) == "2099-01-01"
    # One that fits no open break, or after another one, ends nothing.
    others = (
        replace(IN_CASE, column="AMT", kind="text", until=date(2098, 1, 1)),
        IN_CASE,
        replace(IN_CASE, kind=None, until=date(2097, 1, 1)),
    )
    site.deliver(head + b"97,1,X\n", head + b"97,1,X\n", "20261126")
    site.run(options=replace(ACCEPTING, suppressions=others))
    assert until(site) == "2099-01-01"
    one = replace(IN_CASE, keys=("7",), until=date(2096, 1, 1))
    site.deliver(head + b"96,1,X\n", head + b"96,1,X\n", "20261127")
    site.run(options=replace(ACCEPTING, suppressions=(one, IN_CASE)))
    assert until(site) == "2096-01-01"
    # Its end is evaluated on each run.
    late = replace(IN_CASE, until=date(2026, 1, 1))
    site.deliver(head + b"98,1,X\n", head + b"98,1,X\n", "20261125")
    site.run(options=replace(ACCEPTING, suppressions=(late,)))
    page = list_breaks(site.database, "claims")
    assert (page.total, page.left_out) == (58, 0)


def test_a_break_of_several_cells_is_accepted_only_if_all_of_them_are(
    site: FolderSite,
) -> None:
    head = b"ID,STATUS\n"
    old, new = head + b"1,A\n1,B\n2,C\n", head + b"1,a\n1,ZZ\n2,c\n"
    site.deliver(old, new, "20261121")
    site.run(options=ACCEPTING)
    page = list_breaks(site.database, "claims")
    rows = [dict(zip(page.names, row, strict=True)) for row in page.rows]
    assert [(row["key"], row["kind"]) for row in rows] == [("1", "text")]
    assert page.left_out == 1


def test_a_pair_that_is_compared_again_counts_once(site: FolderSite) -> None:
    run_day(site, 1, 20, 1, replace(ACCEPTING, suppressions=()))
    run_day(site, 2, 20, 2, replace(ACCEPTING, suppressions=()))
    run_day(site, 2, 20, 2)
    with open_connection(site.database) as connection:
        runs = history.list_runs(connection, "claims", 10)
    assert [run.replaced for run in runs] == [False, True, False]
    page = history_page.render_history("claims", runs)
    assert "1 replaced by a later run of the same files" in page
    assert "Open breaks, 2 results: latest 2" in page
    assert page.count("(replaced)") == 1


def test_results_are_in_the_order_of_publication_whatever_the_clock_of_a_worker(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(hours=2)

    run_day(site, 1, 20, 1, replace(ACCEPTING, suppressions=()))
    with monkeypatch.context() as patch:
        patch.setattr(run_log, "datetime", Clock)
        last = run_day(site, 1, 20, 1)
    with open_connection(site.database) as connection:
        runs = history.list_runs(connection, "claims", 10)
        latest = history.find_run_id(connection, "latest", "claims")
        settings = list_changed_settings(connection, last.record.run_id)
        before = history.list_runs(connection, "claims", 10, before=latest)
    assert [run.replaced for run in runs] == [False, True]
    assert latest == runs[0].run_id == last.record.run_id
    assert [run.run_id for run in before] == [runs[1].run_id]
    assert settings == ["suppress"]


def test_a_run_says_that_the_rules_changed(site: FolderSite) -> None:
    run_day(site, 1, 20, 1, Options(keys=("ID",)))
    ruled = Options(keys=("ID",), rules={"STATUS": ("casefold",)})
    second = run_day(site, 2, 20, 1, ruled)
    third = run_day(site, 3, 20, 1, ruled)
    assert second.breaks is not None
    assert third.breaks is not None
    shown = format_breaks(second.breaks)
    assert "resolved 20," in shown
    assert shown.endswith("; the rules changed since the last run")
    assert not third.breaks.rules_changed
    with open_connection(site.database) as connection:
        facts = [
            history.load_result(connection, each.record.run_id)[1]
            for each in (second, third)
        ]
    summaries = [each.breaks and each.breaks.summary for each in facts]
    assert summaries == [shown, format_breaks(third.breaks)]
    # A pair that is compared again is compared with the other pair before it.
    run_day(site, 4, 20, 1, Options(keys=("ID",)))
    again = run_day(site, 4, 20, 1, ruled)
    assert again.breaks is not None
    assert not again.breaks.rules_changed
    again = run_day(site, 4, 20, 1, Options(keys=("ID",)))
    assert again.breaks is not None
    assert again.breaks.rules_changed
    with open_connection(site.database) as connection:
        _, page = history.load_result(connection, again.record.run_id)
    assert page.breaks is not None
    assert page.breaks.summary == format_breaks(again.breaks)


CODES = {"old": "PAID,paid", "new": "paid,PAID"}


@pytest.mark.parametrize("side", CODES)
def test_a_code_table_is_what_is_in_it_and_not_where_it_is(
    site: FolderSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    monkeypatch.chdir(tmp_path)
    codes = tmp_path / "a,b.csv"

    def run(day: int, entry: str, name: str = "a,b.csv") -> tuple[str, bool | None]:
        codes.write_text(f"CODE,IS\n{entry}\n")
        rules = SideOptions(rules={"STATUS": (f"map(@{name})",)})
        of_side: dict[str, Any] = {side: rules}
        options = Options(keys=("ID",), **of_side)
        ended = run_day(site, day, 20, 1, options)
        if ended.breaks is None:
            return ended.record.status, None
        with open_connection(site.database) as connection:
            _, facts = history.load_result(connection, ended.record.run_id)
        assert facts.breaks is not None
        assert facts.breaks.summary == format_breaks(ended.breaks)
        return ended.record.status, ended.breaks.rules_changed

    right = CODES[side]
    assert run(1, "X,Y") == ("SUCCEEDED", False)
    assert run(1, "X,Y") == ("ALREADY_DONE", None)
    assert run(1, right) == ("SUCCEEDED", True)
    assert run(1, right, str(codes)) == ("ALREADY_DONE", None)
    assert run(2, right, str(codes)) == ("SUCCEEDED", False)
    assert run(2, right, f"{codes},rest=same") == ("SUCCEEDED", True)
    assert run(3, right) == ("SUCCEEDED", True)
    assert run(4, "X,Y") == ("SUCCEEDED", True)


def test_a_run_whose_code_table_is_gone_is_in_the_run_log(
    site: FolderSite, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("CODE,IS\nPAID,paid\n")
    rules = SideOptions(rules={"STATUS": (f"map(@{codes})",)})
    options = Options(keys=("ID",), old=rules)
    codes.unlink()
    site.deliver(claims(9, lower=False), claims(9, lower=True))
    outcome = site.run(options=options)
    assert isinstance(outcome.error, ConfigError)
    assert "there is no file" in outcome.error.message
    assert site.statuses() == ["USAGE_ERROR"]


@pytest.mark.parametrize("other", ["CODE,IS\nPAID,sent\n", "CODE", None])
def test_no_result_is_recorded_under_another_content_of_a_code_table(
    site: FolderSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: str | None,
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("CODE,IS\nPAID,paid\n")
    rules = SideOptions(rules={"STATUS": (f"map(@{codes})",)})
    options = Options(keys=("ID",), old=rules)

    def replace_codes(*args: Any, **named: Any) -> Any:
        if other is None:
            codes.unlink(missing_ok=True)
        else:
            codes.write_text(other)
        return open_input(*args, **named)

    site.deliver(claims(9, lower=False), claims(9, lower=True))
    with monkeypatch.context() as patch:
        patch.setattr(runner, "open_input", replace_codes)
        outcome = site.run(options=options)
    assert isinstance(outcome.error, InputChanged)
    assert str(codes) in outcome.error.message
    codes.write_text("CODE,IS\nPAID,paid\n")
    assert site.run(options=options).record.status == "SUCCEEDED"
    assert site.statuses() == ["INPUT_CHANGED", "SUCCEEDED"]


def test_runs_recorded_without_the_content_of_a_table_compare_its_name(
    site: FolderSite, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("CODE,IS\nPAID,paid\n")
    rules = SideOptions(rules={"STATUS": (f"map(@{codes})",)})
    first, second = (
        run_day(site, day, 20, 1, Options(keys=("ID",), old=rules)) for day in (1, 2)
    )
    with psycopg.connect(site.database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE metrics.pipeline_run_log SET config = config - 'rules'"
            " WHERE run_id = %s",
            [first.record.run_id],
        )
    with open_connection(site.database) as connection:
        _, facts = history.load_result(connection, second.record.run_id)
    assert facts.breaks is not None
    assert "rules changed" not in facts.breaks.summary


def narrow(**facts: Any) -> Suppression:
    """A suppression of some keys or values of AMT, or of rows of one side."""
    plain = replace(IN_CASE, column="AMT", kind=None)
    if "what" in facts:
        plain = replace(plain, column=None)
    return replace(plain, **facts)


def run_pair(
    site: FolderSite,
    day: int,
    old: str,
    new: str,
    *accepted: Suppression,
    **options: Any,
) -> list[tuple[str, str | None, bool]]:
    """A day with these rows; each open break with whether it is accepted."""
    head = "ID,AMT\n"
    site.deliver((head + old).encode(), (head + new).encode(), f"202611{day:02}")
    asked = Options(keys=("ID",), suppressions=accepted, **options)
    outcome = site.run(options=asked)
    assert outcome.error is None
    page = list_breaks(site.database, "claims", BreakFilter(accepted=True))
    rows = [dict(zip(page.names, row, strict=True)) for row in page.rows]
    counts = outcome.breaks and outcome.breaks.counts
    assert counts
    assert counts.accepted == sum(row["accepted"] for row in rows)
    return sorted((row["key"], row["column"], row["accepted"]) for row in rows)


def test_one_break_is_accepted_with_the_value_that_was_seen(site: FolderSite) -> None:
    one = narrow(keys=["1"], old="10", new="11", max=1)
    old, new = "1,10\n2,10\n", "1,11\n2,11\n"
    assert run_pair(site, 1, old, new, one) == [("1", "AMT", True), ("2", "AMT", False)]
    with open_connection(site.database) as connection:
        [run] = history.list_runs(connection, "claims", 10)
        state = history.describe_last_state(connection, "claims")
    assert run.breaks is not None
    assert run.result is not None
    assert (run.breaks.unaccepted, run.result.unaccepted_rows) == (1, 1)
    assert "not clean: 1 open break is not accepted (1 cell)" in state[0]
    assert "1 break is accepted, the first until 2099-01-01" in state[0]
    # The same key with another value is listed again.
    assert run_pair(site, 2, old, "1,12\n2,10\n", one) == [("1", "AMT", False)]
    # It is not seen, and its value was not the accepted one.
    assert run_pair(site, 3, "9,1\n", "9,1\n", one) == [("1", "AMT", False)]
    again = replace(one, new="12")
    assert run_pair(site, 4, "9,1\n", "9,1\n", again) == [("1", "AMT", True)]
    ended = replace(again, until=date(2026, 1, 1))
    assert run_pair(site, 5, "9,1\n", "9,1\n", ended) == [("1", "AMT", False)]


def test_a_suppression_of_several_kinds_accepts_breaks_of_each(
    site: FolderSite,
) -> None:
    old, new = "1,10\n2,x\n3,y\n4,5\n", "1,11\n2,X\n3,z\n4,\n"
    several = narrow(kind=("number", "case"), keys=None)
    expected = [
        ("1", "AMT", True),
        ("2", "AMT", True),
        *((k, "AMT", False) for k in "34"),
    ]
    assert run_pair(site, 1, old, new, several) == expected
    # Also of breaks that are not seen, and if it names keys.
    assert run_pair(site, 2, "9,1\n", "9,1\n", several) == expected
    one = replace(several, keys=["1", "3"])
    expected[1] = ("2", "AMT", False)
    assert run_pair(site, 3, old, new, one) == expected
    assert run_pair(site, 4, "9,1\n", "9,1\n", one) == expected
    # A general one before it that does not fit hides nothing.
    other = replace(several, kind=("date", "text"), until=date(2026, 1, 1))
    expected[0] = ("1", "AMT", True)
    assert run_pair(site, 5, "9,1\n", "9,1\n", other, one) == expected
    with open_connection(site.database) as connection:
        [run] = history.list_runs(connection, "claims", 1)
        result, _ = history.load_result(connection, run.run_id)
    kinds = [each.suppression.kind for each in result.suppressed]
    assert kinds == [("date", "text"), ("number", "case")]


def test_rows_of_one_side_are_accepted_by_key(site: FolderSite) -> None:
    missing = narrow(what=Suppressible.MISSING, keys=["2", "3"])
    extra = narrow(what=Suppressible.EXTRA, keys=["1"])
    found = run_pair(site, 1, "1,1\n2,1\n", "3,1\n", missing, extra)
    assert found == [("1", None, False), ("2", None, True), ("3", None, False)]


def test_the_first_that_fits_decides_of_a_break(site: FolderSite) -> None:
    old, new = "1,10\n2,10\n", "1,11\n2,11\n"
    late = narrow(until=date(2026, 1, 1))
    one, other = narrow(keys=["1"]), narrow(keys=["1"], until=date(2026, 1, 1))
    both = [("1", "AMT", True), ("2", "AMT", True)]
    first = [("1", "AMT", True), ("2", "AMT", False)]
    none = [("1", "AMT", False), ("2", "AMT", False)]
    second = [("1", "AMT", False), ("2", "AMT", True)]
    assert run_pair(site, 1, old, new, one, late) == first
    assert run_pair(site, 2, old, new, late, one) == none
    assert run_pair(site, 3, old, new, other, narrow(), one) == second
    assert run_pair(site, 4, old, new, one, other, narrow()) == both
    assert run_pair(site, 5, old, new, narrow(), other) == both


def test_a_break_is_found_by_a_key_that_is_equal_by_a_rule(site: FolderSite) -> None:
    rules = {"rules": {"ID": ("lstrip0",)}}
    one = narrow(keys=["7", "12"])
    found = run_pair(site, 1, "007,10\n012,10\n", "7,11\n12,11\n", one, **rules)
    assert found == [("007", "AMT", True), ("012", "AMT", True)]
    # Also if it is not seen.
    found = run_pair(site, 2, "009,1\n", "9,1\n", narrow(keys=["07"]), **rules)
    assert found == [("007", "AMT", True), ("012", "AMT", False)]


def test_a_value_that_is_cut_is_compared_as_a_whole(site: FolderSite) -> None:
    long = "x" * 300
    one = narrow(old=long + "1", new=long + "2")
    found = run_pair(site, 1, f"1,{long}1\n2,{long}1\n", f"1,{long}2\n2,{long}3\n", one)
    expected = [("1", "AMT", True), ("2", "AMT", False)]
    assert found == expected
    assert run_pair(site, 2, "9,1\n", "9,1\n", one) == expected
    # The pair of that day again: its observation is undone first.
    assert run_pair(site, 2, "9,1\n", "9,1\n", one, narrow(keys=["8"])) == expected


def test_each_cell_of_a_repeated_key_has_to_be_accepted(site: FolderSite) -> None:
    old, new = "1,a\n1,b\n", "1,c\n1,d\n"
    first, second = narrow(new="c"), narrow(keys=["1"], new="d")
    assert run_pair(site, 1, old, new, first) == [("1", "AMT", False)]
    assert run_pair(site, 2, old, new, second) == [("1", "AMT", False)]
    assert run_pair(site, 3, old, new, first, second) == [("1", "AMT", True)]


def draft(site: FolderSite, folder: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """What `recon breaks --suppress` prints, and the same as tables."""
    asked = ("breaks", "--dataset", "claims", "--suppress", *options)
    ended = recon(*asked, cwd=folder, RECON_DATABASE_URL=site.database)
    assert ended.returncode == 0, ended.stderr
    assert "fill in reason and owner" in ended.stderr
    return ended.stdout, tomllib.loads(ended.stdout)


def test_drafted_suppressions_accept_the_breaks_once_they_are_filled_in(
    site: FolderSite, tmp_path: Path
) -> None:
    old = "1,10\n2,10\n3,x\n4,1\n5,9\n"
    new = "1,11\n2,11\n3,X\n6,1\n5,8\n"
    run_pair(site, 1, old, new)
    text, tables = draft(site, tmp_path)
    drafted = tables["dataset"]["claims"]["suppress"]
    assert [(each["what"], each.get("kind"), each["keys"]) for each in drafted] == [
        ("extra", None, ["6"]),
        ("missing", None, ["4"]),
        ("column", "case", ["3"]),
        ("column", "number", ["1", "2", "5"]),
    ]
    assert [each["max"] for each in drafted] == [1, 1, 1, 3]
    assert (drafted[2]["old"], drafted[2]["new"]) == ("x", "X")
    # The values of the three numbers are not the same.
    assert not {"old", "new"} & {*drafted[3]}
    today = datetime.now(UTC).date()
    assert {(each["until"] - today).days for each in drafted} <= {89, 90, 91}
    path = tmp_path / "recon.toml"
    path.write_text('[dataset.claims]\nkeys = ["ID"]\n\n' + text)
    with pytest.raises(ConfigError, match="8 mistakes"):
        load_configuration(path, "claims")
    path.write_text(
        path.read_text()
        .replace('reason = ""', 'reason = "agreed"')
        .replace('owner = ""', 'owner = "ana"')
    )
    filed = load_configuration(path, "claims").settings["suppressions"]
    assert all(accepted for *_, accepted in run_pair(site, 1, old, new, *filed))
    # They are those of the last run.
    said = recon("breaks", cwd=tmp_path, RECON_DATABASE_URL=site.database)
    assert said.returncode == 0
    assert "changed after the last run" not in said.stderr
    # Another value of a key that is accepted for any value, and one that is not.
    again = run_pair(site, 2, "1,10\n3,x\n", "1,12\n3,y\n", *filed)
    held = {key: is_accepted for key, _, is_accepted in again}
    assert (held["1"], held["3"]) == (True, False)


def test_a_draft_has_the_values_that_all_its_cells_have(
    site: FolderSite, tmp_path: Path
) -> None:
    long = "y" * 300
    run_pair(
        site, 1, "1,10\n2,10\n3,a\n4,b\n4,c\n", f"1,11\n2,12\n3,{long}\n4,d\n4,e\n"
    )
    text, tables = draft(site, tmp_path)
    one, several = tables["dataset"]["claims"]["suppress"]
    assert (one["kind"], one["keys"], one["old"]) == ("number", ["1", "2"], "10")
    assert "new" not in one
    assert (several["keys"], several["max"]) == (["3", "4"], 3)
    assert "# A key has several cells: old and new" in text
    text, tables = draft(site, tmp_path, "--key-value", "3")
    [alone] = tables["dataset"]["claims"]["suppress"]
    assert (alone["old"], alone["max"]) == ("a", 1)
    assert "new" not in alone
    assert "# new is left out: it is cut to 256 characters." in text


def test_a_break_that_a_suppression_fits_has_no_draft(
    site: FolderSite, tmp_path: Path
) -> None:
    """The table would be below it, and accept nothing."""
    pair = "1,10\n2,10\n3,10\n4,a\n", "1,11\n2,11\n3,12\n4,A\n"
    exceeded = replace(narrow(keys=["1", "3"]), max=1)
    of_value = replace(narrow(new="11"), until=date(2026, 1, 1))
    for before, keys in (
        ([exceeded], [["4"], ["2"]]),
        ([exceeded, of_value], [["4"]]),
        ([of_value], [["4"], ["3"]]),
    ):
        found = run_pair(site, 1, *pair, *before)
        assert not any(accepted for *_, accepted in found)
        text, tables = draft(site, tmp_path)
        drafted = tables["dataset"]["claims"]["suppress"]
        assert [each["keys"] for each in drafted] == keys
        # Behind those of the run, they accept their breaks.
        for blank in ("reason", "owner"):
            text = text.replace(f'{blank} = ""', f'{blank} = "x"')
        path = tmp_path / "filled.toml"
        path.write_text('[dataset.claims]\nkeys = ["ID"]\n\n' + text)
        added = load_configuration(path, "claims").settings["suppressions"]
        again = run_pair(site, 1, *pair, *before, *added)
        accepted = [key for key, _, is_accepted in again if is_accepted]
        assert sorted(accepted) == sorted(key for [key] in keys)
    asked = ("breaks", "--dataset", "claims", "--suppress", "--key-value", "1")
    run_pair(site, 2, *pair, exceeded)
    ended = recon(*asked, cwd=tmp_path, RECON_DATABASE_URL=site.database)
    assert ended.stdout == ""
    said = "1 break fits the suppression of AMT (2 keys) (claims): a table below"
    assert said in ended.stderr


def test_a_draft_is_for_the_table_that_the_file_has(
    site: FolderSite, tmp_path: Path
) -> None:
    run_pair(site, 1, "1,10\n", "1,11\n")
    (tmp_path / "recon.toml").write_text('keys = ["ID"]\n')
    assert "suppress" in draft(site, tmp_path)[1]
    (tmp_path / "recon.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.recon.dataset.claims]\n")
    [table] = draft(site, tmp_path)[1]["tool"]["recon"]["dataset"]["claims"]["suppress"]
    assert table["keys"] == ["1"]


def test_a_draft_of_keys_that_are_hidden_is_refused(
    site: FolderSite, tmp_path: Path
) -> None:
    run_pair(site, 1, "1,10\n", "1,11\n", masks={"ID": "redact"})
    asked = ("breaks", "--dataset", "claims", "--suppress")
    ended = recon(*asked, cwd=tmp_path, RECON_DATABASE_URL=site.database)
    assert ended.returncode == 2
    assert "masks a key column" in ended.stderr
    both = recon(*asked, "--totals", cwd=tmp_path, RECON_DATABASE_URL=site.database)
    assert "exclude each other" in both.stderr


def test_a_key_of_several_columns_is_drafted_as_a_list(
    site: FolderSite, tmp_path: Path
) -> None:
    head = b"ID,LINE,AMT\n"
    site.deliver(head + b"7,1,10\n", head + b"7,1,11\n", "20261101")
    site.run(options=Options(keys=("ID", "LINE"), masks={"AMT": "redact"}))
    text, tables = draft(site, tmp_path)
    [table] = tables["dataset"]["claims"]["suppress"]
    assert table["keys"] == [["7", "1"]]
    assert text.count("is left out: redact or last4 masks the column.") == 2


def test_a_masked_key_is_accepted_by_its_token(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", "k" * 32)
    masks = {"masks": {"ID": "hmac", "AMT": "hmac"}}
    old, new = "1,10\n2,10\n", "1,11\n2,11\n"
    [(token, _, _), (other, _, _)] = run_pair(site, 1, old, new, **masks)
    page = list_breaks(site.database, "claims", BreakFilter(key=[token]))
    shown = dict(zip(page.names, page.rows[0], strict=True))
    one = narrow(keys=[token], old=shown["old"], new=shown["new"])
    expected = [(token, "AMT", True), (other, "AMT", False)]
    assert run_pair(site, 1, old, new, one, **masks) == expected


def test_the_tables_hold_no_key_and_no_value(site: FolderSite) -> None:
    one = narrow(keys=["Smith-4711"], old="Jones-4712", new="Brown-4713")
    run_pair(site, 1, "1,1\n", "1,2\n", one)
    kept = site.rows("SELECT config::text, run_fp FROM metrics.pipeline_run_log")
    kept += site.rows("SELECT * FROM metrics.suppression")
    assert not any(text in str(kept) for text in ("4711", "4712", "4713"))
    assert "sha256:" in str(kept[0])


@settings(max_examples=2 * settings().max_examples // 5)
@given(pair=dense_pairs(), data=st.data())
def test_a_break_is_accepted_if_all_its_cells_are(
    database: str, pair: Pair, data: st.DataObject
) -> None:
    """Of random pairs and suppressions, by plain Python."""
    rules = data.draw(key_rules(pair))
    both, old_rules, new_rules = rules
    sides = [
        pl.DataFrame(rows, dict.fromkeys(pair.names, pl.String), orient="row")
        for rows in (pair.old, pair.new)
    ]
    facts = Known(pair, rules)
    asked: dict[str, Any] = {
        "keys": tuple(pair.keys),
        "rules": both,
        "old": SideOptions(rules=old_rules),
        "new": SideOptions(rules=new_rules),
    }
    plain = compare(sides, Options(**asked))
    every = list_found(plain)
    given = tuple(data.draw(accepted(facts, every)))
    dataset = f"d{uuid4().hex}"
    result = compare(sides, Options(**asked, suppressions=given))
    run_id = make_uuid7()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO metrics.pipeline_run_log"
            " (run_id, run_fp, dataset, status, old_uri, new_uri)"
            " VALUES (%s, %s, %s, 'STARTED', %s, %s)",
            [run_id, str(run_id), dataset, f"{dataset} old", f"{dataset} new"],
        )
    observation = Observation(result, dataset, run_id, DAY)
    published = publish_run(database, Publication.of(observation, (), 1000), ())
    page = list_breaks(database, dataset, BreakFilter(accepted=True))
    listed = [dict(zip(page.names, row, strict=True)) for row in page.rows]
    active = {at for at, each in enumerate(given) if each.until == DAY}
    expected: dict[tuple[str, str | None], bool] = {}
    # Texts of one key are one break, which has the first of them.
    texts: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    sides_of = ["new" if each.what == "extra" else "old" for each in every]
    forms = [
        (side, facts.normal(side, each.key))
        for side, each in zip(sides_of, every, strict=True)
    ]
    for form, each in zip(forms, every, strict=True):
        texts[form] = min(texts.get(form, each.key), each.key)
    for form, each in zip(forms, every, strict=True):
        which = format_key(texts[form]), each.column or each.what
        held = facts.first(given, each) in active
        expected[which] = expected.get(which, True) and held
    assert {
        (each["key"], each["column"] or each["kind"]): each["accepted"]
        for each in listed
    } == expected
    assert published is not None
    assert published.counts is not None
    assert published.counts.accepted == sum(expected.values())


def compare(sides: list[pl.DataFrame], options: Options) -> Reconciliation:
    """Two frames, with the look-ups of break tracking."""
    old, new = (import_frame(side, "frame") for side in sides)
    with read_tables(old, new, options) as reading:
        return compare_tables(reading, DAY, ask=lambda _: Lookup((), 1000))
