"""The line that says whether a run is clean, on a real Postgres."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg
from support.program import recon

from recon_engine.config import Feed, OnSchemaDrift, Options
from recon_engine.model import Suppressible, Suppression
from recon_engine.postgres import history
from recon_engine.postgres.clean_state import describe_clean_state
from recon_engine.postgres.connection import open_connection
from recon_engine.report.result_page import render_result


if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from support.sites import FolderSite

OLD = b"ID,PAID,NOTE\n1,10.00,a\n2,20.00,b\n3,30.00,c\n4,40.00,\n"
NEW = b"ID,PAID,NOTE\n1,10,a\n2,20.00,b\n3,30.00,C\n5,50.00,\n"
GATES = ("missing<=0", "extra<=0", "mismatched_rows<=0", "matched>=1")


def known(what: Suppressible, until: date, column: str | None = None) -> Suppression:
    return Suppression(
        what=what, until=until, column=column, reason="agreed", owner="claims"
    )


EVERYTHING = (
    known(Suppressible.MISSING, date(2099, 1, 1)),
    known(Suppressible.EXTRA, date(2098, 2, 2)),
    known(Suppressible.COLUMN, date(2097, 3, 3), "PAID"),
    known(Suppressible.COLUMN, date(2099, 1, 1), "NOTE"),
)


def state_after(
    site: FolderSite,
    day: int,
    new: bytes = NEW,
    run: dict[str, Any] | None = None,
    **set_to: Any,
) -> str:
    site.deliver(OLD, new, f"2026112{day}")
    outcome = site.run(options=Options(keys=("ID",), **set_to), **run or {})
    assert outcome.error is None
    with open_connection(site.database) as connection:
        said = describe_clean_state(connection, outcome.record.run_id)
        [listed] = history.list_runs(connection, "claims", 1)
    assert listed.clean is said.startswith("clean: ")
    return said


def test_a_run_is_clean_if_gates_pass_and_no_open_break_is_left(
    site: FolderSite,
) -> None:
    assert state_after(site, 1, gates=GATES) == (
        "not clean: 4 open breaks are not accepted (1 missing, 1 extra, 2 cells)"
        " · 3 of 4 gates fail"
    )
    assert state_after(site, 2, gates=GATES, suppressions=EVERYTHING) == (
        "clean: no open break that is not accepted, all gates pass"
        " · 4 breaks are accepted, the first until 2097-03-03"
    )
    assert state_after(site, 3, suppressions=EVERYTHING[:2]).startswith(
        "not clean: 2 open breaks are not accepted (2 cells) · 2 breaks are accepted"
    )
    # A full feed without the extra row: its break is gone, and not only unseen.
    full = {"feed": Feed.FULL}
    assert state_after(site, 4, OLD, full, gates=GATES[:1]) == (
        "clean: no open break that is not accepted, the gate passes"
    )


def test_what_was_not_compared_is_not_clean(site: FolderSite, tmp_path: Path) -> None:
    more = b"ID,PAID,NOTE,MORE\n1,10.00,a,\n2,20.00,b,\n3,30.00,c,\n4,40.00,,\n"
    said = state_after(site, 1, more, on_schema_drift=OnSchemaDrift.COMPARE)
    assert said == (
        'not clean: 1 column is on one side only; to leave out: ignore = ["MORE"]'
    )
    with open_connection(site.database) as connection:
        [past] = history.list_runs(connection, "claims", 1)
        page = render_result(*history.load_result(connection, past.run_id))
    assert "to leave out: ignore = [&#34;MORE&#34;]" in page
    for words in (("--column", "MORE"), ("--column", "MORE", "--suppress")):
        shown = recon("breaks", *words, cwd=tmp_path, RECON_DATABASE_URL=site.database)
        assert (
            "not compared, on one side only: MORE;"
            ' to leave out: ignore = ["MORE"] in recon.toml, or --ignore'
        ) in shown.stderr
        assert "fill in" not in shown.stderr
    said = state_after(site, 1, more, ignore=("MORE",))
    assert said == "clean: no open break that is not accepted, no gate is set"
    expired = known(Suppressible.COLUMN, date(2020, 1, 1), "NOTE")
    said = state_after(site, 2, suppressions=(expired,))
    assert "1 suppression is expired or exceeded" in said
    said = state_after(site, 3, run={"break_limit": 1})
    assert "breaks are not updated: its differences are over --break-limit" in said
    header = OLD.partition(b"\n")[0] + b"\n"
    site.deliver(header, header, "20261124")
    outcome = site.run(options=Options(keys=("ID",)))
    with open_connection(site.database) as connection:
        said = describe_clean_state(connection, outcome.record.run_id)
        [listed] = history.list_runs(connection, "claims", 1)
    assert "no row is matched" in said
    assert listed.clean is False


def test_history_and_report_say_whether_the_last_run_is_clean(
    site: FolderSite, tmp_path: Path
) -> None:
    state = state_after(site, 1, gates=GATES)

    def call(*words: str) -> str:
        said = recon(*words, cwd=tmp_path, RECON_DATABASE_URL=site.database)
        assert said.returncode == 0, said.stderr
        return said.stderr

    assert f": {state}" in call("history")
    call("report", "-o", "run.html")
    call("report", "--history", "9", "-o", "runs.html")
    for name in ("run.html", "runs.html"):
        assert state in (tmp_path / name).read_text()


def test_the_clean_runs_in_a_row_are_counted_back_from_the_last(
    site: FolderSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, today: date
) -> None:
    """Of a pair that is compared again the last result counts, and only results do."""
    # More results than are read at first.
    monkeypatch.setattr(history, "STREAK_RUNS", 2)

    def in_a_row() -> str:
        with open_connection(site.database) as connection:
            *_, line = history.describe_last_state(connection, "claims")
        return line.partition(", since ")[0]

    state_after(site, 1, OLD, gates=GATES)
    assert in_a_row() == "clean in a row: 1 run"
    state_after(site, 2, gates=GATES)
    last_clean = f"clean in a row: 0 runs; the last clean one is of {today}"
    assert in_a_row() == last_clean
    for day in (3, 4, 5):
        state_after(site, day, gates=GATES, suppressions=EVERYTHING)
    site.run()
    assert in_a_row() == "clean in a row: 3 runs"
    state_after(site, 5, gates=GATES[:1], suppressions=EVERYTHING)
    assert in_a_row() == "clean in a row: 3 runs"
    said = recon("history", cwd=tmp_path, RECON_DATABASE_URL=site.database)
    assert f"clean in a row: 3 runs, since {today}" in said.stderr
    said = recon(
        *("history", "-f", "json"), cwd=tmp_path, RECON_DATABASE_URL=site.database
    )
    states = [each["state"] for each in json.loads(said.stdout)]
    clean, no = "clean", "not clean"
    assert states == [clean, None, clean, clean, clean, no, clean]


def test_a_dataset_that_was_never_clean_says_so(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch, today: date
) -> None:
    monkeypatch.setattr(history, "STREAK_RUNS", 2)
    for day in (1, 2, 3):
        state_after(site, day, gates=GATES)
        with open_connection(site.database) as connection:
            *_, line = history.describe_last_state(connection, "claims")
        results = "1 result" if day == 1 else f"{day} results"
        since = f"never clean in {results} since {today}"
        assert line == f"clean in a row: 0 runs; {since}"


def test_the_state_of_a_run_of_an_earlier_version_is_unknown(site: FolderSite) -> None:
    """It had suppressions, and did not record how many breaks they accept."""
    state_after(site, 1, suppressions=EVERYTHING, gates=GATES)
    state_after(site, 2, OLD, {"feed": Feed.FULL}, gates=GATES)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE metrics.break_summary SET breaks_accepted = NULL,"
            " breaks_accepted_appeared = NULL"
        )
    with open_connection(site.database) as connection:
        runs = history.list_runs(connection, "claims", 2)
        *_, line = history.describe_last_state(connection, "claims")
    assert [run.clean for run in runs] == [True, None]
    assert line.startswith("clean in a row: 1 run, ")


def test_history_has_the_reason_of_a_refused_run(
    site: FolderSite, tmp_path: Path
) -> None:
    site.deliver(OLD + b"secret,too,many,fields\n", NEW)
    refused = site.run()
    assert refused.record.message

    def ask(*words: str) -> str:
        said = recon(*words, cwd=tmp_path, RECON_DATABASE_URL=site.database)
        assert said.returncode == 0, said.stderr
        return said.stdout

    [listed] = json.loads(ask("history", "-f", "json"))
    assert listed["reason"] == refused.record.message
    assert "secret" not in listed["reason"]
    ask("report", "--history", "9", "-o", "runs.html")
    page = (tmp_path / "runs.html").read_text()
    assert refused.record.message.partition(":")[0] in page
