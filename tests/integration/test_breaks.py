"""Breaks over days, on a real Postgres: what a run makes of those before it."""

from __future__ import annotations

import json
import re
import shlex
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from jsonschema import validate
from recon_cli.app import app
from support.program import recon
from typer.testing import CliRunner

from recon_engine.config import Feed, OnBadRow, Options, SideOptions
from recon_engine.errors import ConfigError
from recon_engine.model import Breaks, BreakState, Tracking
from recon_engine.postgres import history
from recon_engine.postgres.breaks import (
    BreakFilter,
    format_breaks,
    list_breaks,
    read_breaks_of_run,
)
from recon_engine.postgres.clean_state import describe_clean_state
from recon_engine.postgres.connection import open_connection
from recon_engine.postgres.migrations import schema_folder
from recon_engine.report import result_page


if TYPE_CHECKING:
    from support.sites import FolderSite


STATES = "SELECT key_text, column_name, kind, state, runs_seen FROM metrics.break"


def csv(*rows: str) -> bytes:
    return "\n".join(["ID,PAID,NOTE", *rows, ""]).encode()


OLD = csv("1,10,a", "2,20,b", "3,30,c")


def look(site: FolderSite, day: str, *new: str, **changes: Any) -> Breaks:
    """A run on OLD and other rows; what it made of the breaks."""
    site.deliver(changes.pop("old", OLD), csv(*new), day)
    outcome = site.run(recompute=True, **changes)
    assert outcome.error is None
    assert outcome.breaks is not None
    return outcome.breaks


def counted(breaks: Breaks) -> dict[str, int]:
    """The counts that are not zero."""
    assert breaks.counts is not None
    states = {state: getattr(breaks.counts, state) for state in [*BreakState, "open"]}
    return {str(state): count for state, count in states.items() if count}


def states(site: FolderSite) -> dict[str, str]:
    found = site.rows(STATES)
    return {
        f"{r['key_text']} {r['column_name'] or r['kind']}": r["state"] for r in found
    }


def test_a_break_lives_from_new_to_resolved_and_back(site: FolderSite) -> None:
    same = ("1,10,a", "2,20,b", "3,30,c")
    assert counted(look(site, "1", "1,11,a", "2,20,b", "4,40,d")) == {
        "new": 3,
        "open": 3,
    }
    assert states(site) == {"1 PAID": "new", "3 missing": "new", "4 extra": "new"}
    assert counted(look(site, "2", "1,11,a", "2,21,b", "4,40,d")) == {
        "new": 1,
        "recurring": 3,
        "open": 4,
    }
    # The extra row is on neither side, so nobody compared it.
    assert counted(look(site, "3", "1,12,a", "2,21,b", "3,30,c")) == {
        "changed": 1,
        "recurring": 1,
        "resolved": 1,
        "unseen": 1,
        "open": 3,
    }
    found = look(site, "4", *same, feed=Feed.FULL)
    assert counted(found) == {"resolved": 2, "gone": 1}
    assert states(site) == {
        "1 PAID": "resolved",
        "2 PAID": "resolved",
        "3 missing": "resolved",
        "4 extra": "gone",
    }
    assert counted(look(site, "5", *same)) == {}
    assert counted(look(site, "6", "1,12,a", "2,20,b", "3,30,c")) == {
        "reopened": 1,
        "open": 1,
    }
    [row] = site.rows("SELECT * FROM metrics.break WHERE state = 'reopened'")
    assert (row["old_value"], row["new_value"], row["runs_seen"]) == ("10", "12", 4)
    assert (row["kind"], row["dataset"]) == ("number", "claims")
    summaries = site.rows("SELECT * FROM metrics.break_summary ORDER BY ordinal")
    assert [row["breaks_resolved"] for row in summaries] == [0, 0, 1, 2, 0, 0]
    assert [row["breaks_unseen"] for row in summaries] == [0, 0, 1, 0, 0, 0]
    assert [row["breaks_gone"] for row in summaries] == [0, 0, 0, 1, 0, 0]
    assert len({row["book"] for row in summaries}) == 1


def test_cells_of_a_key_that_repeats_are_one_break(site: FolderSite) -> None:
    old = csv("1,10,a", "1,20,a", "2,5,x", "2,5,x")
    found = look(site, "1", "1,11,a", "1,21,a", old=old)
    assert found.differences == 4
    assert counted(found) == {"new": 2, "open": 2}
    rows = site.rows("SELECT * FROM metrics.break ORDER BY key_text")
    assert [(r["kind"], r["occurrences"]) for r in rows] == [
        ("number", 2),
        ("missing", 2),
    ]
    # Only the second of the two pairs changes: the first is what is shown.
    assert counted(look(site, "2", "1,11,a", "1,22,a", "2,5,x", old=old)) == {
        "changed": 2,
        "open": 2,
    }


def test_the_last_pair_again_takes_the_place_of_its_earlier_look(
    site: FolderSite,
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    first = look(site, "2", "1,12,a", "2,21,b", "3,30,c")
    assert counted(first) == {"changed": 1, "new": 1, "open": 2}
    before = site.rows("SELECT * FROM metrics.break ORDER BY key_text")
    again = look(site, "2", "1,12,a", "2,21,b", "3,30,c")
    assert again == first
    ignoring = {"before", "as_of_run", "last_seen_run", "first_seen_run"}
    for one, two in zip(
        before,
        site.rows("SELECT * FROM metrics.break ORDER BY key_text"),
        strict=True,
    ):
        for name in one.keys() - ignoring:
            assert one[name] == two[name], name
    # With a rule that absorbs one of them it is as if it had never been there.
    rule = Options(keys=("ID",), rules={"PAID": ("decimal(abs=1)",)})
    assert counted(look(site, "2", "1,12,a", "2,21,b", "3,30,c", options=rule)) == {
        "changed": 1,
        "open": 1,
    }
    assert states(site) == {"1 PAID": "changed"}


def test_an_older_pair_again_changes_no_break(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    look(site, "2", "1,10,a", "2,21,b", "3,30,c")
    before = site.rows("SELECT * FROM metrics.break ORDER BY key_text")
    found = look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    assert (found.tracking, found.counts) == (Tracking.SUPERSEDED, None)
    assert "later pair" in format_breaks(found)
    assert site.rows("SELECT * FROM metrics.break ORDER BY key_text") == before


def test_a_column_that_is_not_compared_resolves_nothing(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,x", "3,30,c")
    options = Options(keys=("ID",), ignore=("NOTE",))
    found = look(site, "2", "1,10,a", "2,20,b", "3,30,c", options=options)
    assert counted(found) == {"resolved": 1, "unseen": 1, "open": 1}
    assert states(site) == {"1 PAID": "resolved", "2 NOTE": "unseen"}


def test_other_key_columns_are_a_book_of_their_own(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    both = Options(keys=("ID", "NOTE"))
    found = look(site, "2", "1,11,a", "2,20,b", "3,30,c", options=both)
    assert counted(found) == {"new": 1, "open": 1}
    listed = list_breaks(site.database, "claims")
    assert [row[0] for row in listed.rows] == ['["1", "a"]']
    assert counted(look(site, "3", "1,11,a", "2,20,b", "3,30,c")) == {
        "recurring": 1,
        "open": 1,
    }


def test_open_breaks_under_other_keys_are_named(
    site: FolderSite, tmp_path: Path
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    look(site, "2", "1,10,a", "2,21,b", "4,40,d", options=Options(keys=("NOTE", "ID")))
    other = Options(keys=("ID", "NOTE"))
    look(site, "3", "1,10,a", "2,20,b", "3,30,c", options=other)
    log = "SELECT run_id, run_ts FROM metrics.pipeline_run_log ORDER BY run_ts"
    first, _, last = [row["run_id"] for row in site.rows(log)]
    named = {
        "1 break under other keys is open: recon breaks --keys ID",
        "3 breaks under other keys are open: recon breaks --keys NOTE,ID",
    }
    with open_connection(site.database) as connection:
        state, *said = describe_clean_state(connection, last).split(" · ")
    assert state == "clean: no open break that is not accepted, no gate is set"
    assert {*said} == named
    listed = ran(site, "breaks", "--dataset=claims")
    note, *said = listed.stderr.splitlines()
    assert note.startswith("0 of 0 breaks, as of ")
    assert {*said} == named
    for words in (("--keys=ID",), ("--run", str(first))):
        listed = ran(site, "breaks", "--dataset=claims", *words)
        assert "1,PAID,number,new" in listed.stdout
        assert "not updated by the last run: it has other key columns" in listed.stderr
        assert "next: recon explain" in listed.stderr
    # The page of the last run with these keys says nothing of the present state.
    for run, states in ((first, 0), (last, 1)):
        page = tmp_path / "run.html"
        ran(site, "report", str(run), "-o", str(page))
        assert page.read_text().count("clean: ") == states
    with pytest.raises(ConfigError, match="under these key columns"):
        list_breaks(site.database, "claims", key_columns=("PAID",))
    # What the documentation proposes for keys that were a mistake.
    text = (Path(__file__).parents[2] / "docs" / "breaks.md").read_text()
    [statement] = re.findall(r"DELETE FROM metrics.break b .*?;", text, re.DOTALL)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(statement.replace("ID,SEG", "NOTE,ID").encode())
    assert list_breaks(site.database, "claims").others == (
        "1 break under other keys is open: recon breaks --keys ID",
    )


def test_breaks_that_the_last_run_did_not_track_are_said_to_be_earlier(
    site: FolderSite, tmp_path: Path, today: date
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    site.deliver(OLD, OLD, "2")
    assert site.run(break_limit=0).breaks is None
    said = "; not updated by the last run: it did not track breaks\n"
    assert said in ran(site, "breaks", "--dataset=claims").stderr
    page = tmp_path / "runs.html"
    ran(site, "report", "--dataset=claims", "--history=9", "-o", str(page))
    assert f"as of {today}, not of the last result" in page.read_text()


def test_over_the_limit_there_are_totals_and_it_is_said(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    before = states(site)
    found = look(site, "2", "1,11,a", "2,21,x", "4,40,d", break_limit=4)
    assert found == Breaks(Tracking.OVER_LIMIT, 5)
    assert format_breaks(found) == "not tracked: 5 differences are over --break-limit"
    assert states(site) == before
    [summary] = site.rows("SELECT * FROM metrics.break_summary WHERE differences = 5")
    assert (summary["tracking"], summary["breaks_new"]) == ("over_limit", None)
    outdated = "its differences are over --break-limit"
    assert list_breaks(site.database, "claims").outdated == outdated
    assert (
        "; not updated by the last run: its differences are over --break-limit\n"
        in ran(site, "breaks", "--dataset=claims").stderr
    )
    assert counted(look(site, "3", "1,11,a", "2,20,b", "3,30,c", break_limit=1)) == {
        "recurring": 1,
        "open": 1,
    }


def test_an_older_pair_that_was_over_the_limit_changes_no_break(
    site: FolderSite, today: date
) -> None:
    look(site, "1", "1,11,a", "2,21,b", "3,30,c", break_limit=1)
    look(site, "2", "1,10,a", "2,20,b", "3,30,c")
    found = look(site, "1", "1,11,a", "2,21,b", "3,30,c")
    assert (found.tracking, states(site)) == (Tracking.SUPERSEDED, {})
    # One that no other pair has followed is observed on its own day.
    look(site, "3", "1,11,a", "2,21,b", "3,30,c", break_limit=1)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE metrics.break_summary SET run_date = run_date - 3")
    look(site, "2", "1,10,a", "2,20,b", "3,30,c")
    found = look(site, "3", "1,11,a", "2,21,b", "3,30,c")
    assert counted(found) == {"new": 2, "open": 2}
    assert found.as_of == today - timedelta(3)


def test_with_a_limit_of_zero_nothing_is_tracked(site: FolderSite) -> None:
    site.deliver()
    assert site.run(break_limit=0).breaks is None
    assert site.rows("SELECT * FROM metrics.break_summary") == []
    with pytest.raises(ConfigError, match="no breaks are recorded for dataset claims"):
        list_breaks(site.database, "claims")
    with pytest.raises(ConfigError, match="--break-limit is too small"):
        site.config(break_limit=-1)


def test_a_long_value_is_cut_and_still_told_apart(site: FolderSite) -> None:
    long = "x" * 300
    look(site, "1", f"1,10,{long}1", "2,20,b", "3,30,c")
    found = look(site, "2", f"1,10,{long}2", "2,20,b", "3,30,c")
    assert counted(found) == {"changed": 1, "open": 1}
    [row] = site.rows("SELECT new_value FROM metrics.break")
    assert row["new_value"] == "x" * 255 + "…"


def test_breaks_can_be_deleted_and_their_summary_can_not(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    with psycopg.connect(site.database, autocommit=True) as connection:
        for statement in ("DELETE FROM", "TRUNCATE"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(f"{statement} metrics.break_summary".encode())
        connection.execute("DELETE FROM metrics.break")
    again = look(site, "2", "1,11,a", "2,20,b", "3,30,c")
    assert counted(again) == {"new": 1, "open": 1}


# The command line


def ran(site: FolderSite, *arguments: str) -> Any:
    ended = CliRunner().invoke(
        app, list(arguments), env={"RECON_DATABASE_URL": site.database}
    )
    assert ended.exit_code == 0, ended.output
    return ended


def run_command(site: FolderSite, *more: str) -> Any:
    places = (f"--{name}-s3={getattr(site, name)}" for name in ("inbound", "out"))
    processed = f"--processed-s3={site.processed}"
    return ran(site, "run", *places, processed, "--dataset=claims", "--keys=ID", *more)


def test_a_run_says_what_became_of_the_breaks(site: FolderSite, today: date) -> None:
    site.deliver(day="1")
    said = run_command(site).stdout
    assert (
        "\nbreaks:    new 4, recurring 0, changed 0, resolved 0, reopened 0, unseen 0,"
        " gone 0\n" in said
    )
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("UPDATE metrics.break SET first_seen = first_seen - 17")
    site.deliver(day="2")
    document = json.loads(run_command(site, "--format=json").stdout)
    validate(document, json.loads((schema_folder() / "result.schema.json").read_text()))
    assert document["run"]["breaks"] == {
        "tracking": "tracked",
        "differences": 4,
        "counts": {
            "new": 0, "recurring": 4, "changed": 0, "resolved": 0, "reopened": 0,
            "unseen": 0, "gone": 0, "open": 4, "oldest_days": 17,
            "accepted": 0, "accepted_appeared": 0, "oldest_unaccepted_days": 17,
        },
        "as_of": str(today),
        "rules_changed": False,
    }  # fmt: skip
    site.deliver(day="3")
    said = run_command(site).stdout
    assert f"; oldest 17 days, as of {today}\n" in said
    site.deliver(day="4")
    said = run_command(site, "--break-limit=3").stdout
    assert "breaks:    not tracked: 4 differences are over --break-limit" in said
    document = json.loads(run_command(site, "--format=json").stdout)
    validate(document, json.loads((schema_folder() / "run.schema.json").read_text()))
    assert document["run"]["breaks"] is None


def test_open_breaks_are_listed_oldest_first(site: FolderSite) -> None:
    look(site, "1", "1,10,a", "2,20,b", "3,33,c")
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("UPDATE metrics.break SET first_seen = first_seen - 3")
    look(site, "2", "1,10,a", "2,21,b", "3,33,c", "0,40,d")
    look(site, "3", "1,10,a", "2,20,b", "3,33,c", "0,40,d")
    listed = ran(site, "breaks", "--dataset", "claims", "--format", "json")
    rows = json.loads(listed.stdout)
    assert [(r["key"], r["column"], r["state"], r["age_days"]) for r in rows] == [
        ("3", "PAID", "recurring", 3),
        ("0", None, "recurring", 0),
    ]
    assert (rows[0]["old"], rows[0]["new"], rows[0]["runs_seen"]) == ("30", "33", 3)
    assert "2 of 2 breaks" in listed.stderr
    gone = ran(site, "breaks", "--dataset=claims", "--state=resolved")
    assert "2,PAID,number,resolved" in gone.stdout
    assert listed.stderr.endswith(": recurring 2\n")
    first = ran(site, "breaks", "--dataset=claims", "--limit=1", "--format=markdown")
    assert first.stdout.splitlines()[2].startswith("| 3 | PAID | number | recurring |")
    assert "1 of 2 breaks" in first.stderr


def test_a_dataset_without_breaks_is_refused_with_the_one_meant(
    site: FolderSite,
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    with pytest.raises(ConfigError, match=r"dataset clams\. Did you mean claims\?"):
        list_breaks(site.database, "clams")


def test_a_break_id_is_the_same_in_every_version(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    [row] = site.rows("SELECT book, break_id, content FROM metrics.break")
    assert row == {
        "book": UUID("604b3c4d-c661-6817-1313-91af218c5455"),
        "break_id": UUID("8f3de40c-3fbd-7904-3adc-8e2cf9fcce1f"),
        "content": UUID("e04713c3-22aa-8bc9-e968-91e32c1f5818"),
    }


# What was not compared, and what is on neither side

KEY = "0123456789abcdef" * 2


def state_of(site: FolderSite, day: str, *new: str, **changes: Any) -> str:
    """The state of the one break there is after a run."""
    look(site, day, *new, **changes)
    [state] = states(site).values()
    return state


def test_a_break_whose_key_is_on_neither_side_is_unseen(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    rest = csv("2,20,b", "3,30,c")
    found = look(site, "2", "2,20,b", "3,30,c", old=rest)
    assert counted(found) == {"unseen": 1, "open": 1}
    assert format_breaks(found).endswith("resolved 0, reopened 0, unseen 1, gone 0")
    assert counted(look(site, "3", "2,20,b", "3,30,c", old=rest)) == counted(found)
    [row] = site.rows("SELECT * FROM metrics.break")
    assert (row["state"], row["open"], row["runs_seen"]) == ("unseen", True, 1)
    assert [row[3] for row in list_breaks(site.database, "claims").rows] == ["unseen"]
    assert state_of(site, "4", "1,11,a", "2,20,b", "3,30,c") == "recurring"
    assert state_of(site, "5", "1,10,a", "2,20,b", "3,30,c") == "resolved"


def test_a_break_is_gone_only_from_a_full_feed(site: FolderSite) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    rest = csv("2,20,b", "3,30,c")
    quarantine = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    full = {"feed": Feed.FULL, "options": quarantine}
    same = "2,20,b", "3,30,c"
    for day, new, old in (
        ("2", (*same, "1,1,1,1"), rest),
        ("3", (), csv()),
        ("4", same, csv()),
        ("5", (), rest),
    ):
        look(site, day, *new, old=old, **full)
        assert states(site)["1 PAID"] == "unseen"
    look(site, "6", *same, old=rest, **full)
    assert states(site)["1 PAID"] == "gone"
    [row] = site.rows("SELECT open FROM metrics.break WHERE state = 'gone'")
    assert row["open"] is False
    assert list_breaks(site.database, "claims").total == 0
    assert (
        list_breaks(site.database, "claims", BreakFilter([BreakState.GONE])).total == 1
    )
    # A row that is back and equal changes nothing; one that differs opens the break.
    look(site, "7", "1,10,a", *same)
    assert states(site)["1 PAID"] == "gone"
    look(site, "8", "1,11,a", *same)
    assert states(site)["1 PAID"] == "reopened"


@pytest.mark.parametrize(
    ("where", "state"), [("ID != 3", "unseen"), ("ID != 7", "gone")]
)
def test_a_line_says_why_no_break_is_gone_beside_a_filter(
    where: str, state: str, site: FolderSite
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    given = {"options": Options(keys=("ID",), where=where), "feed": Feed.FULL}
    same = "2,20,b", "3,30,c"
    found = look(site, "2", *same, old=csv(*same), **given)
    assert counted(found)[state] == 1
    said = "; none is gone, because rows were not compared"
    assert format_breaks(found).endswith(said) is (state == "unseen")
    with open_connection(site.database) as connection:
        run_id = history.find_run_id(connection, None, "claims")
        recorded = read_breaks_of_run(connection, run_id, 10)
    assert recorded is not None
    assert recorded[0] == found


def test_a_quarantined_row_resolves_nothing(site: FolderSite) -> None:
    options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    look(site, "1", "1,11,a", "2,20,b", "3,30,c", options=options)
    found = look(site, "2", "1,10,a,more", "2,20,b", "3,30,c", options=options)
    assert counted(found) == {"new": 1, "unseen": 1, "open": 2}
    assert states(site) == {"1 PAID": "unseen", "1 missing": "new"}
    # Of a key that does not repeat, a row set aside elsewhere hides nothing.
    found = look(site, "3", "1,10,a", "2,20,b", "3,30,c,more", options=options)
    assert states(site)["1 PAID"] == states(site)["1 missing"] == "resolved"


def test_a_repeated_key_is_resolved_by_as_many_pairs(site: FolderSite) -> None:
    options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    twice = {"old": csv("1,10,a", "1,20,a", "2,5,x"), "options": options}
    once = {"old": csv("1,20,a", "2,5,x"), "options": options}
    assert state_of(site, "1", "1,11,a", "1,20,a", "2,5,x", **twice) == "new"
    [row] = site.rows("SELECT key_rows_old, key_rows_new FROM metrics.break")
    assert row == {"key_rows_old": 2, "key_rows_new": 2}
    assert state_of(site, "2", "1,20,a", "2,5,x", **once) == "unseen"
    found = look(site, "3", "1,10,a", "1,20,a", "2,5,x,more", **twice)
    assert counted(found) == {"new": 1, "unseen": 1, "open": 2}
    look(site, "4", "1,10,a", "1,20,a", "2,5,x", **twice)
    assert states(site) == {"1 PAID": "resolved", "2 missing": "resolved"}


@pytest.mark.parametrize("where", ["", "ID != 'x'"], ids=["all", "filtered"])
def test_a_folded_key_counts_as_one_row(where: str, site: FolderSite) -> None:
    folds = SideOptions(fold=True, sum=("PAID",))
    given = {"options": Options(keys=("ID",), new=folds, where=where)}
    new = "1,5,a", "2,3,b", "2,4,b", "3,1,c", "3,1,c", "x,1,x"
    old = csv("1,5,a", "3,9,c", "x,1,x")
    found = look(site, "1", *new, old=old, **given)
    assert counted(found) == {"new": 2, "open": 2}
    assert states(site) == {"2 extra": "new", "3 PAID": "new"}
    old = csv("1,5,a", "2,7,b", "3,2,c", "x,1,x")
    assert counted(look(site, "2", *new, old=old, **given)) == {"resolved": 2}


def test_a_pair_of_which_one_row_fails_the_filter_is_compared(
    site: FolderSite,
) -> None:
    options = Options(keys=("ID",), ignore=("NOTE",), where="NOTE = 'a'")
    new = "1,5,b", "2,5,a", "3,5,a"
    old = csv("1,6,a", "2,6,b", "3,5,a")
    found = look(site, "1", *new, old=old, options=options)
    assert counted(found) == {"new": 2, "open": 2}
    old = csv("1,5,a", "2,5,b", "3,5,a")
    found = look(site, "2", *new, old=old, options=options)
    assert counted(found) == {"resolved": 2}
    two = "1,5,b", "3,5,a"
    old = csv("1,6,a", "3,5,a")
    assert counted(look(site, "3", *two, old=old, options=options)) == {
        "reopened": 1,
        "open": 1,
    }
    # Both rows of key 1 fail: the pair is left out.
    old = csv("1,5,b", "3,5,a")
    assert counted(look(site, "4", *two, old=old, options=options)) == {
        "unseen": 1,
        "open": 1,
    }


def test_a_key_that_cannot_be_folded_ends_no_break(site: FolderSite) -> None:
    folds = SideOptions(fold=True, sum=("PAID",))
    given = {"options": Options(keys=("ID",), new=folds), "feed": Feed.FULL}
    old = csv("1,5,a", "2,7,b")
    found = look(site, "1", "1,5,a", "2,3,b", "2,3,b", old=old, **given)
    assert counted(found) == {"new": 1, "open": 1}
    for new in (("2,3,b", "2,4,c"), ("2,3,b", "2,,b")):
        found = look(site, "".join(new), "1,5,a", *new, old=old, **given)
        assert counted(found) == {"unseen": 1, "open": 1}
    found = look(site, "4", "1,5,a", "2,3,b", "2,4,b", old=old, **given)
    assert counted(found) == {"resolved": 1}


def test_a_key_is_found_however_it_is_spelled(site: FolderSite) -> None:
    options = Options(keys=("ID", "NOTE"), rules={"ID": ("lstrip0",)})
    assert state_of(site, "1", "01,11,a", old=csv("1,10,a"), options=options) == "new"
    spelled = {"old": csv("001,10,a"), "options": options}
    assert state_of(site, "2", "1,10,a", **spelled, feed=Feed.FULL) == "resolved"


@pytest.mark.parametrize("masks", [{}, {"ID": "hmac"}])
def test_a_break_is_carried_on_however_its_key_is_spelled(
    masks: dict[str, str], site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    given = {"options": Options(keys=("ID",), masks=masks, rules={"ID": ("lstrip0",)})}
    look(site, "1", "01,11,a", "5,1,x", old=csv("1,10,a", "4,1,x"), **given)
    assert counted(
        look(site, "2", "1,11,a", "005,1,x", old=csv("001,10,a", "04,1,x"), **given)
    ) == {"recurring": 3, "open": 3}
    assert counted(
        look(site, "3", "1,12,a", "05,1,x", old=csv("0001,10,a", "04,1,x"), **given)
    ) == {"recurring": 2, "changed": 1, "open": 3}
    assert counted(
        look(
            site, "4", "1,10,a", "4,1,x", "5,1,x", old=csv("01,10,a", "04,1,x"), **given
        )
    ) == {"recurring": 1, "resolved": 2, "open": 1}


@pytest.mark.parametrize("masks", [{}, {"ID": "hmac"}])
@pytest.mark.parametrize(
    ("feed", "ended"), [(Feed.INCREMENTAL, "unseen"), (Feed.FULL, "gone")]
)
def test_a_key_is_looked_up_by_the_rules_of_its_side(
    masks: dict[str, str],
    feed: Feed,
    ended: str,
    site: FolderSite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    of_old = SideOptions(rules={"ID": ("map(A=B,B=C)",)})
    options = Options(keys=("ID",), masks=masks, old=of_old)
    given = {"options": options, "feed": feed}
    # Key B of OLD is key C of NEW; key B of NEW is key A of OLD.
    found = look(site, "1", "B,1,a", "C,9,a", old=csv("A,1,a", "B,2,a"), **given)
    assert counted(found) == {"new": 1, "open": 1}
    found = look(site, "2", "B,1,a", old=csv("A,1,a"), **given)
    assert counted(found) == (
        {"unseen": 1, "open": 1} if ended == "unseen" else {"gone": 1}
    )


def test_a_key_that_one_file_spells_in_two_ways_is_one_break(site: FolderSite) -> None:
    given = {"options": Options(keys=("ID",), rules={"ID": ("lstrip0",)})}
    old = csv("1,10,a", "01,20,a", "7,1,x", "07,1,x")
    assert counted(look(site, "1", "1,11,a", "001,21,a", old=old, **given)) == {
        "new": 2,
        "open": 2,
    }
    old = csv("001,20,a", "01,10,a", "07,1,x", "007,1,x")
    assert counted(look(site, "2", "1,11,a", "1,21,a", old=old, **given)) == {
        "recurring": 2,
        "open": 2,
    }
    assert {row["occurrences"] for row in site.rows("TABLE metrics.break")} == {2}


def test_keys_that_a_new_rule_makes_equal_carry_on_one_break(site: FolderSite) -> None:
    old = csv("1,10,a")
    look(site, "1", "1,11,a", old=old)
    look(site, "2", "01,11,a", old=csv("01,10,a"))
    given = {"options": Options(keys=("ID",), rules={"ID": ("lstrip0",)})}
    found = look(site, "2", "01,11,a", old=csv("01,10,a"), **given)
    # The last pair again: the break that it began is none.
    assert counted(found) == {"recurring": 1, "open": 1}
    assert states(site) == {"1 PAID": "recurring"}


@pytest.mark.parametrize("names", [("1", "1", "1"), ("1", "2", "3")], ids=str)
def test_an_ended_break_is_reopened_only_by_its_own_text(
    names: tuple[str, str, str], site: FolderSite
) -> None:
    given = {"options": Options(keys=("ID",), rules={"ID": ("lstrip0",)})}
    first, second, third = names
    look(site, first, "1,1,x", old=csv("1,1,x", "007,10,a"), **given)
    found = look(site, second, "1,1,x", "7,10,a", old=csv("1,1,x", "7,10,a"), **given)
    assert counted(found) == {"resolved": 1}
    for _ in range(2):  # the second of which takes the place of the first
        found = look(site, third, "1,1,x", old=csv("1,1,x", "7,10,a"), **given)
        assert counted(found) == {"new": 1, "open": 1}
        assert states(site) == {"007 missing": "resolved", "7 missing": "new"}


def test_with_another_mask_no_break_is_carried_on(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    given = {"options": Options(keys=("ID",), rules={"ID": ("lstrip0",)})}
    look(site, "1", "1,11,a", old=csv("1,10,a"), **given)
    given = {
        "options": Options(
            keys=("ID",), masks={"ID": "hmac"}, rules={"ID": ("lstrip0",)}
        )
    }
    found = look(site, "2", "1,11,a", old=csv("01,10,a"), **given)
    assert counted(found) == {"new": 1, "unseen": 1, "open": 2}


def test_a_locator_is_unusable_once_the_rules_of_new_changed(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)

    def given(rule: str) -> dict[str, Any]:
        new = SideOptions(rules={"ID": (rule,)})
        options = Options(keys=("ID",), masks={"ID": "hmac"}, new=new)
        return {"options": options, "feed": Feed.FULL}

    old = csv("A1,10,a", "B2,20,b")
    first = look(
        site, "1", "A-1,10,a", "B2,20,b", "C.3,1,c", old=old, **given("strip(.)")
    )
    assert counted(first) == {"new": 3, "open": 3}
    found = look(
        site, "2", "A-1,10,a", "B2,20,b", "C.3,1,c", old=old, **given("strip(.-)")
    )
    # A1 was missing by OLD's rules, which are as they were, and A-1 was extra.
    assert BreakState.GONE not in counted(found)


@pytest.mark.parametrize("mask", ["hmac", "last4", "redact"])
def test_a_masked_key_is_looked_up_where_its_mask_allows(
    mask: str, site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    options = Options(keys=("ID",), masks={"ID": mask}, rules={"ID": ("trim",)})
    old = csv("100000001,10,a", "100000002,20,b")
    masked = {"options": options, "old": old, "feed": Feed.FULL}
    found = "100000001,10,a", "100000002,20,b"
    look(site, "1", "100000001,11,a", "100000002,21,b", **masked)
    [*rows] = site.rows("SELECT key_text, locator FROM metrics.break")
    assert "00000001" not in str(rows)
    known = mask == "hmac"
    assert all((row["locator"] is not None) == known for row in rows)
    monkeypatch.setenv("RECON_MASK_KEY", KEY[::-1])
    look(site, "2", *found, **masked)
    assert {*states(site).values()} == {"unseen"}
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    look(site, "3", found[0], **masked | {"old": csv(found[0])})
    ended = {"resolved", "gone"} if known else {"unseen"}
    assert {*states(site).values()} == ended


def test_a_key_that_was_masked_is_not_looked_up_as_it_is_shown(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", KEY)
    options = Options(keys=("ID",), masks={"ID": "hmac"})
    assert state_of(site, "1", "1,11,a", "2,20,b", "3,30,c", options=options) == "new"
    same = "1,10,a", "2,20,b", "3,30,c"
    assert state_of(site, "2", *same, feed=Feed.FULL) == "unseen"


def test_the_last_pair_again_opens_what_it_had_ended(site: FolderSite) -> None:
    rest = csv("2,20,b", "3,30,c")
    look(site, "1", "1,11,a", "2,21,b", "3,30,c")
    found = look(site, "2", "2,20,b", "3,30,c", old=rest, feed=Feed.FULL)
    assert counted(found) == {"resolved": 1, "gone": 1}
    # What an earlier version kept of a break does not say whether it was open.
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("UPDATE metrics.break SET before = before - 'open'")
    ignoring = Options(keys=("ID",), ignore=("PAID",))
    again = {"old": rest, "options": ignoring}
    assert counted(look(site, "2", "2,20,b", "3,30,c", **again)) == {
        "unseen": 2,
        "open": 2,
    }
    found = look(site, "2", "2,20,b", "3,30,c", old=rest, feed=Feed.FULL)
    assert counted(found) == {"resolved": 1, "gone": 1}


@pytest.mark.parametrize("said_by", ["flag", "environment", "file"])
def test_a_run_takes_a_feed_for_full_where_it_is_declared(
    said_by: str, site: FolderSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    rest = csv("2,20,b", "3,30,c")
    site.deliver(rest, rest, "2")
    more = []
    if said_by == "flag":
        more = ["--feed=full"]
    elif said_by == "environment":
        monkeypatch.setenv("RECON_FEED", "full")
    else:
        path = tmp_path / "recon.toml"
        path.write_text('[dataset.claims]\nfeed = "full"\n')
        more = [f"--config={path}"]
    assert "\nbreaks:    new 0, recurring 0, changed 0, resolved 0, reopened 0," in (
        said := run_command(site, *more).stdout
    )
    assert "unseen 0, gone 1\n" in said
    log = "SELECT config->>'feed' AS feed FROM metrics.pipeline_run_log ORDER BY run_ts"
    assert [row["feed"] for row in site.rows(log)] == ["incremental", "full"]
    listed = ran(site, "breaks", "--dataset=claims", "--state=gone").stdout
    assert "1,PAID,number,gone" in listed


# Ages


def earlier(site: FolderSite, days: int) -> None:
    """As if all runs so far had been so many days earlier."""
    with psycopg.connect(site.database, autocommit=True) as connection:
        for statement in (
            "ALTER TABLE metrics.break_summary DISABLE TRIGGER USER",
            (
                f"UPDATE metrics.break_summary SET run_date = run_date - {days},"
                f" as_of = as_of - {days}"
            ),
            "ALTER TABLE metrics.break_summary ENABLE TRIGGER USER",
            (
                f"UPDATE metrics.break SET first_seen = first_seen - {days},"
                f" last_seen = last_seen - {days}, as_of = as_of - {days}"
            ),
        ):
            connection.execute(statement.encode())


def ages(site: FolderSite) -> tuple[date, list[int]]:
    listed = list_breaks(site.database, "claims")
    at = listed.names.index("age_days")
    return listed.as_of, [row[at] for row in listed.rows]


def listed_as(site: FolderSite, *arguments: str) -> list[tuple[str, str | None]]:
    """The keys and columns of the breaks that `recon breaks` lists."""
    found = ran(site, "breaks", "--format=json", *arguments)
    assert found.exit_code == 0, found.stderr
    return [(row["key"], row["column"]) for row in json.loads(found.stdout)]


def test_breaks_are_filtered_by_column_kind_key_and_state(site: FolderSite) -> None:
    look(site, "1", "1,11,x", "2,20,b", "3,30,c")
    look(site, "2", "1,11,x", "2,20.0,b", "0,40,d", "3,30,c")
    every = [("1", "NOTE"), ("1", "PAID"), ("0", None), ("2", "PAID")]
    assert sorted(listed_as(site), key=str) == sorted(every, key=str)
    assert listed_as(site, "--column=PAID") == [("1", "PAID"), ("2", "PAID")]
    assert listed_as(site, "--column=PAID", "--kind=number") == [("1", "PAID")]
    assert listed_as(site, "--kind=extra") == [("0", None)]
    assert listed_as(site, "--key-value=1", "--column=NOTE") == [("1", "NOTE")]
    assert listed_as(site, '--key-value=["2"]', "--state=new") == [("2", "PAID")]
    assert listed_as(site, "--key-value=2", "--state=recurring") == []
    given = {"RECON_DATABASE_URL": site.database}
    wrong = CliRunner().invoke(app, ["breaks", "--kind=numbers"], env=given)
    assert "there is no kind of difference numbers. Did you mean number?" in (
        wrong.stderr
    )


def test_a_key_finds_its_breaks_however_the_rules_of_the_key_let_it_be_written(
    site: FolderSite,
) -> None:
    old = csv("00000007,10,a", " 8 ,20,b", "00000009,30,c")
    options = Options(
        keys=("ID",),
        rules={"ID": ("trim",)},
        old=SideOptions(rules={"ID": ("lstrip0",)}),
    )
    new = "7,11,a", "8,21,b", "10,5,d", "0044,5,d"
    look(site, "1", *new, old=old, options=options)
    paid, missing = ("00000007", "PAID"), ("00000009", None)
    assert listed_as(site, "--key-value=00000007") == [paid]
    assert listed_as(site, "--key-value=7") == [paid]
    assert listed_as(site, '--key-value=["007"]') == [paid]
    assert listed_as(site, "--key-value=8", "--column=PAID") == [(" 8 ", "PAID")]
    assert listed_as(site, "--key-value=9") == [missing]
    assert listed_as(site, "--key-value= 10 ") == [("10", None)]
    # Only OLD's zeros are stripped, and the row is extra.
    assert listed_as(site, "--key-value=44") == []
    assert listed_as(site, "--key-value=0044") == [("0044", None)]
    lost = ran(site, "breaks", "--key-value=0071")
    assert lost.stderr.splitlines()[1] == (
        "no open break has this key; --state resolved --state gone shows those that"
        " have ended"
    )
    assert "71" not in lost.stdout + lost.stderr
    ended = ran(site, "breaks", "--key-value=7", "--state=gone", "--kind=number")
    assert ended.stderr.splitlines()[1] == (
        "no break in this state has this key and fits the other options"
    )


def test_a_key_of_several_columns_finds_its_breaks_under_rules(
    site: FolderSite,
) -> None:
    options = Options(keys=("ID", "NOTE"), rules={"NOTE": ("casefold",)})
    look(site, "1", "1,11,A", old=csv("1,10,a"), options=options)
    for key in (["1", "a"], ["1", "A"]):
        values = [f"--key-value={value}" for value in key]
        assert listed_as(site, *values) == [('["1", "a"]', "PAID")]
    assert listed_as(site, '--key-value=["1", "A"]') == [('["1", "a"]', "PAID")]
    assert listed_as(site, "--key-value=1") == []
    for escape in ("\\ud800", "\\u0000"):
        assert listed_as(site, f'--key-value=["1", "{escape}"]') == []
        assert listed_as(site, f'--key-value=["{escape}"]') == []


def test_a_code_table_that_is_gone_leaves_the_key_as_it_is_listed(
    site: FolderSite, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("OLD,NEW\nA,1\nB,2\n")
    rules = {"ID": (f"map(@{codes})",)}
    options = Options(keys=("ID",), old=SideOptions(rules=rules))
    look(site, "1", "1,11,a", old=csv("A,10,a"), options=options)
    assert listed_as(site, "--key-value=1") == [("A", "PAID")]
    codes.unlink()
    assert listed_as(site, "--key-value=A") == [("A", "PAID")]
    assert listed_as(site, "--key-value=1") == []


def test_breaks_have_totals_by_state_kind_and_column(site: FolderSite) -> None:
    look(site, "1", "1,11,x", "2,20,b", "3,30,c")
    look(site, "2", "1,11,x", "2,20.0,b", "0,40,d", "3,30,c")
    found = ran(site, "breaks", "--totals")
    assert found.stdout.splitlines() == [
        "by,value,breaks",
        "state,new,2",
        "state,recurring,2",
        "kind,extra,1",
        "kind,number,1",
        "kind,number_format,1",
        "kind,text,1",
        "column,PAID,2",
        "column,NOTE,1",
        "column,missing and extra rows,1",
    ]
    assert found.stderr.startswith("4 breaks, as of ")


@pytest.mark.parametrize("key", ["1", "-12", "--key", "--"])
def test_the_key_of_a_break_is_explained_as_it_is_listed(
    key: str, site: FolderSite, tmp_path: Path
) -> None:
    look(site, "1", f"{key},11,x", old=csv(f"{key},10,a"))
    found = ran(site, "breaks", "--column=PAID")
    [command] = re.findall(r"^next: recon (.+)$", found.stderr, re.MULTILINE)
    for name, row in (("OLD", "10,a"), ("NEW", "11,x")):
        (tmp_path / name).write_text(f"ID,PAID,NOTE\n{key},{row}\n")
    explained = recon(*shlex.split(command), cwd=tmp_path)
    assert explained.stdout.startswith(f"ID={key}: 1 matched\n")


def test_breaks_that_an_earlier_run_began_or_ended_are_listed(
    site: FolderSite, tmp_path: Path, today: date
) -> None:
    """With the state they have now; what is not known is refused."""
    look(site, "1", "1,11,a", "2,21,b", "3,30,c", "4,1,x")
    look(site, "2", "1,10,a", "2,22,b", "3,33,c", feed=Feed.FULL)
    look(site, "3", "1,10,a", "2,20,b", "3,33,c", "5,1,x")
    runs = site.rows("SELECT run_id FROM metrics.pipeline_run_log ORDER BY run_ts")

    def of(run: int, *words: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        asked = ("--run", str(runs[run - 1]["run_id"]), *words, "-f", "json")
        found = json.loads(ran(site, "breaks", *asked).stdout)
        return {
            (each["key"], each["column"]): (each["state"], each["ended"])
            for each in found
        }

    paid, ended = "PAID", ("resolved", str(today))
    assert (
        of(1)
        == of(1, "--state", "new")
        == {
            ("1", paid): ended,
            ("2", paid): ended,
            ("4", None): ("gone", str(today)),
        }
    )
    assert of(2, "--state", "new") == {("3", paid): ("recurring", None)}
    assert of(2, "--state", "resolved") == {("1", paid): ended}
    assert of(2, "--state", "gone") == {("4", None): ("gone", str(today))}
    assert len(of(2)) == 3
    assert of(3) == {("2", paid): ended, ("5", None): ("new", None)}
    # Run 3 saw the break of key 3, which run 2 began.
    for more, which in (
        ((), "that the run began or ended"),
        (("--state", "new"), "of the run in this state"),
    ):
        lost = ran(site, "breaks", "--run", "latest", "--key-value=3", *more)
        assert lost.stdout.count("\n") == 1
        assert (
            f"no break {which} has this key; without --run, the open breaks of all runs"
            " are listed\n"
        ) in lost.stderr
    assert "3,PAID" in ran(site, "breaks", "--key-value=3").stdout
    latest = ran(site, "breaks", "--run", "latest", "--state", "resolved")
    assert latest.stdout.count("\n") == 2
    assert "accept them for a time" not in latest.stderr
    assert "accept them for a time" in ran(site, "breaks").stderr
    refused = recon(
        *("breaks", "--run", "latest", "--state", "changed"),
        cwd=tmp_path,
        RECON_DATABASE_URL=site.database,
    )
    assert refused.returncode == 2
    assert "--state takes new, resolved, gone here" in refused.stderr


def test_the_key_of_a_break_is_explained_with_the_settings_of_the_dataset(
    site: FolderSite, tmp_path: Path
) -> None:
    """From another folder, with the delimiter that only the file has."""
    texts = [each.replace(b",", b";") for each in (OLD, csv("1,11,x", "3,30,c"))]
    site.deliver(texts[0], texts[1], "1")
    outcome = site.run(options=Options(keys=("ID",), delimiter=";"))
    assert outcome.error is None
    file = tmp_path / "settings" / "recon.toml"
    file.parent.mkdir()
    file.write_text('[dataset.claims]\nkeys = ["ID"]\ndelimiter = ";"\n')
    listed = recon(
        *("breaks", "--config", str(file), "--column=PAID"),
        cwd=tmp_path,
        RECON_DATABASE_URL=site.database,
    )
    [command] = re.findall(r"^next: recon (.+)$", listed.stderr, re.MULTILINE)
    explained = recon(*shlex.split(command), cwd=tmp_path)
    assert explained.stdout.startswith("ID=1: 1 matched\n"), explained.stderr


def test_ages_count_to_the_date_that_is_printed(site: FolderSite, today: date) -> None:
    look(site, "1", "1,11,a", "2,20,b", "3,30,c")
    earlier(site, 17)
    first = look(site, "2", "1,11,a", "2,20,b", "3,30,c")
    assert format_breaks(first).endswith(f"; oldest 17 days, as of {today}")
    earlier(site, 5)
    then = today - timedelta(5)
    assert ages(site) == (then, [17])
    assert ran(site, "breaks", "--dataset=claims").stderr.startswith(
        f"1 of 1 break, as of {then}: "
    )
    # The last pair again: the age and the date are those of its first attempt.
    again = look(site, "2", "1,11,a", "2,20,b", "3,30,c")
    assert format_breaks(again).endswith(f"; oldest 17 days, as of {then}")
    assert ages(site) == (then, [17])
    with open_connection(site.database) as connection:
        [(run_id,)] = connection.execute(
            "SELECT run_id FROM metrics.break_summary ORDER BY ordinal DESC LIMIT 1"
        ).fetchall()
        _, facts = history.load_result(connection, run_id)
    assert facts.breaks is not None
    assert facts.breaks.summary == format_breaks(again)
    assert (facts.breaks.as_of, [each.age_days for each in facts.breaks.oldest]) == (
        then,
        [17],
    )


def test_a_run_that_changed_no_break_changes_no_date(
    site: FolderSite, today: date
) -> None:
    look(site, "1", "1,11,a", "2,21,b", "3,30,c")
    earlier(site, 3)
    look(site, "2", "1,11,a", "2,21,x", "3,33,x", break_limit=1)
    assert ages(site) == (today - timedelta(3), [0, 0])
    with open_connection(site.database) as connection:
        [(run_id,)] = connection.execute(
            "SELECT run_id FROM metrics.break_summary ORDER BY ordinal DESC LIMIT 1"
        ).fetchall()
        result, facts = history.load_result(connection, run_id)
    assert facts.breaks is not None
    assert (facts.breaks.open, facts.breaks.as_of) == (2, today - timedelta(3))
    assert f"Ages are as of {today - timedelta(3)}." in result_page.render_result(
        result, facts
    )
