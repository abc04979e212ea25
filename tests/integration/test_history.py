"""Earlier runs and stored results, from the tables alone."""

from __future__ import annotations

import json
import random
import re
import shlex
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from support.known_runs import KnownRuns, run_once
from support.program import recon
from support.sites import NEW, OLD, FolderSite

from recon_engine.analysis.code_hints import without_codes
from recon_engine.config import Options, SideOptions
from recon_engine.errors import ConfigError
from recon_engine.kinds import Kind
from recon_engine.model import (
    BreakCounts,
    Breaks,
    PastRun,
    Suppressible,
    Suppression,
    Tracking,
)
from recon_engine.name_forms import NameForm
from recon_engine.postgres import breaks, history
from recon_engine.postgres.connection import open_connection
from recon_engine.report import history_page, result_page


if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from recon_engine.pipeline.runner import Outcome


OPTIONS = Options(
    keys=("ID",),
    rules={"PAID": ("decimal",)},
    match_names=(NameForm.CASEFOLD,),
)


def three_days(site: FolderSite) -> list[Outcome]:
    """A day that agrees, one without files, and one that differs."""
    ended = []
    site.deliver(OLD, OLD, day="20261121")
    ended.append(site.run())
    ended.append(site.run())
    site.deliver(OLD, NEW.replace(b"NOTE", b"Note"), day="20261123")
    ended.append(site.run(options=OPTIONS))
    return ended


@pytest.fixture(scope="module")
def runs(template: str, tmp_path_factory: pytest.TempPathFactory) -> KnownRuns:
    """For tests that only read."""
    return run_once(template, tmp_path_factory.mktemp("runs"), three_days)


def ask(site: FolderSite, folder: Path, *arguments: str) -> CompletedProcess[str]:
    return recon(*arguments, cwd=folder, RECON_DATABASE_URL=site.database)


def test_runs_come_latest_first_with_what_they_found(runs: KnownRuns) -> None:
    first, second, third = runs.ended
    with open_connection(runs.site.database) as connection:
        found = history.list_runs(connection, "claims", 10)
        results = history.list_runs(connection, "claims", 10, results=True)
        earlier = history.list_runs(
            connection, "claims", 10, before=third.record.run_id
        )
        elsewhere = history.list_runs(connection, "other", 10)
    ids = [outcome.record.run_id for outcome in (third, second, first)]
    assert [run.run_id for run in found] == ids
    assert [run.run_id for run in results] == [ids[0], ids[2]]
    assert [run.run_id for run in earlier] == ids[1:]
    assert elsewhere == []
    assert [run.result and run.result.verdict for run in found] == [
        "differ",
        None,
        "agree",
    ]
    assert found[0].result is not None
    assert (found[0].result.missing, found[0].result.mismatched_rows) == (1, 1)
    assert all(run.seconds is not None and run.seconds >= 0 for run in found)


def test_a_stored_result_is_the_one_that_was_recorded(runs: KnownRuns) -> None:
    outcome = runs.ended[-1]
    live = outcome.result
    assert live is not None
    with open_connection(runs.site.database) as connection:
        kept, facts = history.load_result(connection, outcome.record.run_id)
    assert kept.summary() == live.summary()
    assert kept.sample == live.sample
    assert kept.by_column == live.by_column
    assert kept.signatures == live.signatures
    assert live.rules
    assert live.name_pairs
    assert (kept.name_pairs, kept.applied) == (live.name_pairs, live.applied)
    assert (kept.rules, kept.warnings()) == (live.rules, live.warnings())
    assert (kept.patterns, kept.totals) == (live.patterns, live.totals)
    assert kept.constants == live.constants
    assert (kept.segments, kept.hints) == (live.segments, live.hints)
    assert (kept.old, kept.new) == (live.old, live.new)
    assert facts.options == OPTIONS
    assert facts.dataset == "claims"
    assert facts.breaks is not None
    assert outcome.breaks is not None
    assert facts.breaks.summary == breaks.format_breaks(outcome.breaks)
    assert facts.breaks.open == len(facts.breaks.oldest) == outcome.breaks.differences
    assert {each.state for each in facts.breaks.oldest} == {"new"}
    assert ("NOTE", "c", "C") in {each[1:2] + each[7:] for each in facts.breaks.oldest}
    assert [run.result.verdict for run in facts.past if run.result] == ["agree"]


def test_a_code_table_is_stored_without_its_codes(site: FolderSite) -> None:
    codes = {"QQA": "ZZ1", "QQB": "ZZ2"}
    rows = [(at, code) for at in range(30) for code in codes]
    old = "".join(f"{at}-{code},{code}\n" for at, code in rows)
    new = "".join(f"{at}-{code},{codes[code]}\n" for at, code in rows)
    keyed = old.replace("-QQ", "-"), new.replace("-QQ", "-")
    before, after = (f"ID,SEX\n{text}".encode() for text in keyed)
    site.deliver(before, after, day="20261121")
    outcome = site.run(options=Options(keys=("ID",)))
    assert outcome.result is not None
    [live] = outcome.result.hints
    assert live.flag == "--old-rule 'SEX=map(QQA=ZZ1,QQB=ZZ2)'"
    stored = site.rows("SELECT * FROM metrics.hint")
    assert [(each["flag"], each["count"], each["total"]) for each in stored] == [
        ("--old-rule 'SEX=map(@SEX.map.csv)'", 60, 60)
    ]
    assert not any(code in str(stored) for pair in codes.items() for code in pair)
    with open_connection(site.database) as connection:
        kept, _ = history.load_result(connection, outcome.record.run_id)
    assert kept.hints == (without_codes(live),)
    # Outputs that have values by design have the codes.
    [artifact] = [
        data for name, data in site.names(site.out).items() if "hints.csv" in name
    ]
    assert b"QQA=ZZ1" in artifact


def random_pair(seed: int) -> tuple[bytes, bytes]:
    """Two files whose columns are written in another way on each side."""
    draw = random.Random(seed)
    old, new = ["ID,PAID,RATE,DAY,SEX,NOTE"], ["ID,amount,RATE,DAY,SEX,NOTE"]
    for at in range(40):
        cents = [draw.choice((0, 100, 1250, 123456, -5)) for _ in range(4)]
        days = [date(2026, 1, draw.randint(1, 3)) for _ in range(2)]
        before, after = (f"{draw.choice('ab ')}{draw.choice('xX')}" for _ in range(2))
        money = [f"{each / 100:.2f}" for each in cents]
        comma = [f'"{each.replace(".", ",")}"' for each in money]
        paid = draw.choice((money[1], money[0], "", "none"))
        sexes = draw.choice("123"), draw.choice(("male", "female", "x"))
        old.append(f"{at},{comma[0]},{comma[2]},{days[0]:%d.%m.%Y},{sexes[0]},{before}")
        new.append(f"{at},{paid},{money[3]},{days[1]:%Y%m%d},{sexes[1]},{after}")
    return "\n".join(old).encode(), "\n".join(new).encode()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sides", ["as given", "exchanged"])
def test_the_kinds_of_a_stored_sample_are_those_that_were_found(
    seed: int, sides: str, site: FolderSite
) -> None:
    """Under the rules of one side, of both, and of every column."""
    old, new = random_pair(seed)
    given = {
        "PAID": ("decimal(comma)", ""),
        "RATE": ("decimal(comma)", ""),
        "DAY": ("date(%d.%m.%Y)", "date(%Y%m%d)"),
        "SEX": ("map(1=male,2=female)", ""),
    }
    rules = [
        {name: (each[at],) for name, each in given.items() if each[at]} for at in (0, 1)
    ]
    renames = {"PAID": "amount"}
    if sides == "exchanged":
        old, new = new, old
        renames = {"amount": "PAID"}
        rules.reverse()
    site.deliver(old, new)
    outcome = site.run(
        options=Options(
            keys=("ID",),
            renames=renames,
            rules={"*": ("trim",), "RATE": ("decimal(abs=0.05)",)},
            old=SideOptions(rules=rules[0]),
            new=SideOptions(rules=rules[1]),
        )
    )
    live = outcome.result
    assert live is not None
    with open_connection(site.database) as connection:
        kept, _ = history.load_result(connection, outcome.record.run_id)
    assert kept.sample == live.sample
    kinds = {cell.kind for row in live.sample for cell in row.cells.values()}
    assert kinds >= {Kind.NUMBER, Kind.DATE, Kind.CODE, Kind.UNLISTED, Kind.CASE}


@pytest.mark.parametrize("mask", ["", "last4", "hmac", "redact"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("abcdef12~3", "abcdef45~6"),
        ("abcdef12~3", "abcdef4567"),
        ("abcdef1234", "abcdef45~6"),
        ("abcdef1234", "abcdef4567"),
        ("~", "abcdef~~~~"),
    ],
)
def test_a_stored_cell_is_split_only_where_it_was_joined(
    old: str, new: str, mask: str, site: FolderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", 40 * "x")
    site.deliver(f"ID,NOTE\n1,{old}\n".encode(), f"ID,NOTE\n1,{new}\n".encode())
    masks = {"NOTE": mask} if mask else {}
    outcome = site.run(options=Options(keys=("ID",), masks=masks))
    assert outcome.result is not None
    [live] = outcome.result.sample
    with open_connection(site.database) as connection:
        stored, _ = history.load_result(connection, outcome.record.run_id)
    [kept] = stored.sample
    known, shown = live.cells["NOTE"], kept.cells["NOTE"]
    assert shown.text == known.text
    split = shown.old is not None
    assert split == (known.text.count("~") == 1)
    assert not split or shown[:2] == known[:2]
    assert split or shown.kind == (history.MASKED if mask else history.UNKNOWN)


def test_without_its_code_table_the_kind_of_a_stored_cell_is_unknown(
    site: FolderSite, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("old,new\na,x\nb,y\nc,z\n")
    site.deliver()
    outcome = site.run(
        options=Options(
            keys=("ID",), old=SideOptions(rules={"NOTE": (f"map(@{codes})",)})
        )
    )
    assert outcome.result is not None
    with open_connection(site.database) as connection:
        kept, _ = history.load_result(connection, outcome.record.run_id)
        codes.unlink()
        less, _ = history.load_result(connection, outcome.record.run_id)
    assert kept.sample == outcome.result.sample
    found = {name: cell.kind for row in less.sample for name, cell in row.cells.items()}
    assert found == {"PAID": Kind.NUMBER_FORMAT, "NOTE": history.UNKNOWN}


def known(what: Suppressible, column: str | None = None) -> Suppression:
    last = date(2099, 1, 1)
    return Suppression(
        what=what, reason="agreed", owner="claims", until=last, column=column
    )


ALL_KNOWN = (
    known(Suppressible.MISSING),
    known(Suppressible.EXTRA),
    known(Suppressible.COLUMN, "NOTE"),
)


@pytest.mark.parametrize(
    ("gates", "suppressions", "word"),
    [
        ((), (), "differ"),
        (("missing<=1",), (), "pass"),
        (("missing<=0",), (), "fail"),
        ((), ALL_KNOWN, "pass"),
        ((), ALL_KNOWN[1:], "differ"),
        ((), ALL_KNOWN[:2], "differ"),
        ((), (replace(ALL_KNOWN[0], until=date(2020, 1, 1)),), "fail"),
        ((), (*ALL_KNOWN[:2], replace(ALL_KNOWN[2], keys=["1", "nowhere"])), "differ"),
        ((), (replace(ALL_KNOWN[2], old="a", keys=["2"]), *ALL_KNOWN), "pass"),
    ],
)
def test_a_stored_verdict_is_the_one_that_was_given(
    site: FolderSite,
    gates: tuple[str, ...],
    suppressions: tuple[Suppression, ...],
    word: str,
) -> None:
    site.deliver()
    asked = Options(
        keys=("ID",),
        rules=OPTIONS.rules,
        gates=gates,
        suppressions=suppressions,
    )
    live = site.run(options=asked).result
    with open_connection(site.database) as connection:
        [run] = history.list_runs(connection, "claims", 1)
        kept, _ = history.load_result(connection, run.run_id)
    assert live is not None
    assert (kept.headline(), kept.failures) == (live.headline(), live.failures)
    assert kept.suppressed == live.suppressed
    assert kept.left_by_kind == live.left_by_kind
    assert run.result is not None
    assert run.result.passed is live.passes
    assert history_page.verdict_word(run) == word


def test_a_stored_result_keeps_the_order_of_keys_and_columns(site: FolderSite) -> None:
    old = b"BBB,A,Z,CC\n1,2,x,x\n"
    new = b"BBB,A,Z,CC\n1,2,y,y\n"
    site.deliver(old, new)
    outcome = site.run(options=Options(keys=("BBB", "A")))
    with open_connection(site.database) as connection:
        kept, _ = history.load_result(connection, outcome.record.run_id)
    assert list(kept.sample[0].key) == ["BBB", "A"]
    assert list(kept.sample[0].payload) == ["Z", "CC"]


def test_the_report_of_a_run_is_among_its_artifacts(runs: KnownRuns) -> None:
    outcome = runs.ended[-1]
    prefix = f"claims/{outcome.record.run_id}"
    page = runs.site.names(runs.site.out)[f"{prefix}/report.html"].decode()
    assert "✗ DIFFER" in page
    assert "--rule PAID=decimal" in page
    assert 'id="trend"' in page


def test_the_page_of_a_run_follows_its_breaks(site: FolderSite, tmp_path: Path) -> None:
    three_days(site)
    site.deliver(OLD, NEW.replace(b"C,3", b"D,3"), day="20261124")
    places = ("inbound", "processed", "out")
    asked = [
        argument
        for place in places
        for argument in (f"--{place}-s3", getattr(site, place))
    ]
    asked += ["--dataset", "claims", "--keys", "ID", "--rule", "PAID=decimal"]
    said = ask(site, tmp_path, "run", *asked, "-o", "live.html")
    assert said.returncode == 0, said.stderr
    ask(site, tmp_path, "report", "--dataset", "claims", "-o", "kept.html")
    for name in ("live.html", "kept.html"):
        page = (tmp_path / name).read_text()
        assert "new 0, recurring 2, changed 1, resolved 0, reopened 0" in page
        assert "All open breaks." in page
        assert re.search(r"<code>3</code>.*\s.*>c</bdi> → <bdi.*>D</bdi>", page)
        assert 'id="trend"' in page


def test_a_page_from_the_tables_says_where_the_unmatched_rows_are(
    runs: KnownRuns,
) -> None:
    outcome = runs.ended[-1]
    with open_connection(runs.site.database) as connection:
        page = result_page.render_result(
            *history.load_result(connection, outcome.record.run_id)
        )
    assert f'"missing":"{outcome.artifacts_at}missing.csv"' in page
    beside = runs.site.names(runs.site.out)[
        f"claims/{outcome.record.run_id}/report.html"
    ]
    assert b'"missing":"missing.csv"' in beside


def test_a_page_from_the_tables_names_what_the_page_of_the_run_names(
    site: FolderSite,
) -> None:
    """Ignored and renamed columns are shown, and the rename is in another form."""
    old = OLD.replace(b"PAID,NOTE", b"PAID,Text") + b"6,1,x\n"
    new = b"id,amount,LOADED,TEXT\n1,10,5,A\n2,20.00,5,b\n"
    site.deliver(old, new)
    asked = Options(
        keys=("ID",),
        renames={"Paid": "amount"},
        ignore=("LOADED",),
        match_names=(NameForm.CASEFOLD,),
    )
    outcome = site.run(options=asked)
    live = outcome.result
    assert live is not None
    with open_connection(site.database) as connection:
        stored = history.load_result(connection, outcome.record.run_id)
    kept, _ = stored
    assert (kept.new_names, kept.ignored) == (live.new_names, live.ignored)
    assert kept.renaming() == live.renaming() == ("renamed: PAID is amount in NEW",)
    beside = site.names(site.out)[f"claims/{outcome.record.run_id}/report.html"]
    recorded = result_page.render_result(*stored)
    for page in (beside.decode(), recorded):
        assert "not compared: LOADED (ignore)" in page
        assert "renamed: PAID is amount in NEW" in page
        assert "<code>PAID (amount)</code>" in page
    hint = "The page with the day, the state and the breaks: <code>recon report RUN"
    assert hint in beside.decode()
    assert hint not in recorded
    assert str(outcome.record.run_id) in recorded


def test_a_page_counts_files_that_are_compared_again_once(site: FolderSite) -> None:
    """Also the page of the run that replaces a result and is not recorded yet."""
    site.deliver(OLD, OLD, day="20261121")
    site.run(options=OPTIONS)
    for options in (Options(keys=("ID",)), OPTIONS):
        site.deliver(OLD, NEW, day="20261122")
        outcome = site.run(options=options)
        assert outcome.error is None
    with open_connection(site.database) as connection:
        recorded = result_page.render_result(
            *history.load_result(connection, outcome.record.run_id)
        )
    beside = site.names(site.out)[f"claims/{outcome.record.run_id}/report.html"]
    for page in (beside.decode(), recorded):
        assert re.findall(r"the last \d+ results", page) == ["the last 2 results"]


def test_a_run_without_a_result_has_no_report(runs: KnownRuns) -> None:
    nothing = runs.ended[1].record.run_id
    with (
        open_connection(runs.site.database) as connection,
        pytest.raises(ConfigError, match="there is no result"),
    ):
        history.load_result(connection, nothing)


def test_history_is_a_table_on_stdout(runs: KnownRuns, tmp_path: Path) -> None:
    said = ask(runs.site, tmp_path, "history", "--dataset", "claims")
    lines = said.stdout.splitlines()
    assert lines[0].startswith(
        "began,verdict,old,new,matched,missing,extra,differ,rate,open,appeared,resolved"
    )
    assert [line.split(",")[1] for line in lines[1:]] == ["differ", "NO_FILES", "agree"]
    limited = ("--limit", "1", "--format", "json")
    said = ask(runs.site, tmp_path, "history", "--dataset", "claims", *limited)
    [latest] = json.loads(said.stdout)
    assert (latest["verdict"], latest["missing"], latest["rate"]) == (
        "differ",
        1,
        "33.33%",
    )
    assert (latest["open"], latest["appeared"], latest["resolved"]) == (3, 3, 0)
    assert (latest["unseen"], latest["gone"]) == (0, 0)


def test_what_is_unseen_or_gone_is_apart_and_unknown_of_earlier_versions() -> None:
    def run_with(unseen: int | None, gone: int | None) -> PastRun:
        counts = BreakCounts(1, 2, 3, 4, 5, unseen, gone, open=6, oldest_days=17)
        began = datetime(2026, 11, 23, tzinfo=UTC)
        return PastRun(uuid4(), began, "SUCCEEDED", 1.0, None, counts)

    page = history_page.render_history(
        "claims", [run_with(7_001, 8_002), run_with(None, None)]
    )
    assert "the oldest is 17 days old, 7,001 unseen" in page
    cells = '<td class="number">4</td><td class="number">{}</td><td class="number">{}<'
    assert cells.format("7,001", "8,002") in page
    assert cells.format("", "") in page
    known = Breaks(Tracking.TRACKED, 9, run_with(7, 8).breaks, date(2026, 11, 28))
    assert breaks.format_breaks(known) == (
        "new 1, recurring 2, changed 3, resolved 4, reopened 5, unseen 7, gone 8"
        "; oldest 17 days, as of 2026-11-28"
    )
    earlier = replace(known, counts=run_with(None, None).breaks)
    assert "reopened 5; oldest" in breaks.format_breaks(earlier)


def test_report_writes_the_page_of_a_run(runs: KnownRuns, tmp_path: Path) -> None:
    first, _, last = runs.ended
    said = ask(runs.site, tmp_path, "report", str(first.record.run_id))
    assert said.stdout == "report.html\n"
    assert f"report.html: run {first.record.run_id} of claims" in said.stderr
    assert "✓ AGREE" in (tmp_path / "report.html").read_text()
    asked = ("--dataset", "claims", "-o", "latest.html")
    ask(runs.site, tmp_path, "report", *asked)
    page = (tmp_path / "latest.html").read_text()
    assert str(last.record.run_id) in page
    assert '"old":["c"],"new":["C"]' in page


def test_a_run_of_another_dataset_is_refused_and_its_dataset_is_named(
    site: FolderSite, tmp_path: Path
) -> None:
    site.deliver(OLD, NEW, day="20261121")
    claims = site.run().record.run_id
    site.deliver(OLD, NEW, day="20261122")
    members = site.run(dataset="members-2").record.run_id
    for asked in (("breaks", "--run", str(members)), ("report", str(members))):
        refused = ask(site, tmp_path, *asked, "--dataset", "claims")
        assert refused.returncode == 2
        assert f"no run of claims begins with {members}" in refused.stderr
        assert f"{members} is a run of members-2" in refused.stderr
        [remedy] = re.findall("add (--dataset .*), or", refused.stderr)
        found = ask(site, tmp_path, *asked, *shlex.split(remedy))
        assert (found.returncode, "error" in found.stderr) == (0, False)
    assert ask(site, tmp_path, "report", str(members)).returncode == 0
    # The first digits of both runs are the same: the dataset decides.
    digits = str(claims)[:4]
    with open_connection(site.database) as connection:
        for dataset, run in (("claims", claims), ("members-2", members)):
            assert history.find_run_id(connection, digits, dataset) == run
        with pytest.raises(ConfigError, match="several runs begin"):
            history.find_run_id(connection, digits, None)
        with pytest.raises(ConfigError, match="no run begins"):
            history.find_run_id(connection, "ffff", "claims")


def test_report_of_the_history_is_one_page(runs: KnownRuns, tmp_path: Path) -> None:
    asked = ("--history", "90", "--dataset", "claims")
    said = ask(runs.site, tmp_path, "report", *asked)
    assert said.stdout == "history.html\n"
    assert "history.html: 3 runs of claims" in said.stderr
    assert not (tmp_path / "report.html").exists()
    page = (tmp_path / "history.html").read_text()
    assert page.count("<tr>") == 4
    assert page.count("<svg") == 6
    assert "1 differ, 1 NO_FILES, 1 agree" in page
    assert "Open breaks, 2 results: latest 3" in page
    assert "NO_FILES" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there are no runs yet"),
        (("--history", "9"), "there are no runs yet"),
        (("12",), "this is not a run id"),
        (("--dataset", "nobody"), "no run of nobody has a result"),
        (
            ("01a2103e-09b1-7a26-8ad3-7b022f01d674",),
            "no run begins with 01a2103e-09b1-7a26",
        ),
        (("12", "-o", "r.json"), "written as HTML only"),
    ],
)
def test_a_report_that_cannot_be_says_why(
    arguments: tuple[str, ...], message: str, site: FolderSite, tmp_path: Path
) -> None:
    said = ask(site, tmp_path, "report", *arguments)
    assert said.returncode == 2
    assert message in said.stderr
    assert not (tmp_path / "report.html").exists()


def test_a_stored_result_is_plain_values_and_has_empty_frames(runs: KnownRuns) -> None:
    first, *_ = runs.ended
    with open_connection(runs.site.database) as connection:
        stored, _ = history.load_result(connection, first.record.run_id)
    known = first.result
    assert known is not None
    kept, fresh = stored.to_dict(), known.to_dict()
    assert kept["missing_sample"] == kept["extra_sample"] == kept["rejects"] == []
    assert kept["sample"] == fresh["sample"]
    assert kept["counts"] == fresh["counts"]
    assert stored.mismatches().schema.names() == known.mismatches().schema.names()
    assert stored.rows().schema.names() == known.rows().schema.names()
    assert stored.duplicates("old").is_empty()
    assert str(stored).splitlines()[0] == str(known).splitlines()[0]
    assert stored.to_json()
    assert repr(stored) == repr(known)


def test_a_run_is_named_by_its_first_digits_or_as_the_latest(
    runs: KnownRuns, tmp_path: Path
) -> None:
    first, _, last = runs.ended
    pages = []
    text = str(first.record.run_id)
    for run in (text, text.replace("-", "").upper(), text[:32], "latest", "LATEST"):
        said = ask(runs.site, tmp_path, "report", run)
        assert said.returncode == 0, said.stderr
        pages.append((tmp_path / "report.html").read_text())
    assert pages[0] == pages[1] == pages[2] != pages[3] == pages[4]
    assert str(last.record.run_id) in pages[3]
    said = ask(runs.site, tmp_path, "report", text[:4])
    assert f"several runs begin with {text[:4]}" in said.stderr
    assert text in said.stderr


def test_the_only_dataset_need_not_be_named(site: FolderSite, tmp_path: Path) -> None:
    three_days(site)
    for command in ("history", "breaks", "report"):
        said = ask(site, tmp_path, command)
        assert said.returncode == 0, said.stderr
    (tmp_path / "recon.toml").write_text("[dataset.other]\n")
    for command in ("history", "report"):
        named = ask(site, tmp_path, command, "--dataset", "claims")
        assert named.returncode == 0, named.stderr
    assert "for dataset other" in ask(site, tmp_path, "breaks").stderr
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO metrics.pipeline_run_log (run_id, dataset, status)"
            " VALUES (gen_random_uuid(), 'other', 'NO_FILES')"
        )
    (tmp_path / "recon.toml").unlink()
    said = ask(site, tmp_path, "history")
    assert "add --dataset NAME, one of: claims, other" in said.stderr


def test_a_history_without_results_is_a_page_all_the_same(site: FolderSite) -> None:
    site.run()
    with open_connection(site.database) as connection:
        page = history_page.render_history(
            "claims", history.list_runs(connection, "claims", 5)
        )
    assert "no result" in page
    assert "<svg" not in page


def test_the_first_result_of_a_dataset_has_no_trend(site: FolderSite) -> None:
    site.deliver()
    outcome = site.run()
    with open_connection(site.database) as connection:
        page = result_page.render_result(
            *history.load_result(connection, outcome.record.run_id)
        )
    assert 'id="trend"' not in page
    assert re.search(r'"missing":\{"columns":\[\]', page)
