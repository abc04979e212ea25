"""The command line: streams, exit codes, formats, and what it imports.

What is printed and how it ends is read in this process; streams, what a process imports
and how it starts are those of a process.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import polars as pl
import psycopg
import pytest
from jsonschema import validate
from support.program import embedded_server_of, recon, recon_program

from recon_engine import diff
from recon_engine.command_line import read_words
from recon_engine.errors import ReconError
from recon_engine.postgres.migrations import schema_folder
from recon_engine.result_document import write_markdown
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Start = Callable[..., CompletedProcess[str]]


OLD = "ID,PAID\n1,10.00\n2,20.00\n3,30.00\n"
NEW = "ID,PAID\n1,10\n2,20.00\n4,SECRET-CELL\n"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "old.csv").write_text(OLD)
    (tmp_path / "new.csv").write_text(NEW)
    return tmp_path


def schema(name: str) -> Any:
    return json.loads((schema_folder() / f"{name}.schema.json").read_text())


def test_files_that_agree_exit_0(pair: Path) -> None:
    ended = recon_program("diff", "old.csv", "old.csv", "--key", "ID", cwd=pair)
    assert ended.returncode == 0
    assert ended.stdout.startswith("✓ AGREE  3 rows are the same on both sides\n")
    assert ended.stderr == ""


def test_files_that_differ_exit_1_and_say_how(pair: Path) -> None:
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", cwd=pair)
    assert ended.returncode == 1
    assert "✗ DIFFER  1 of 2 matched rows differs, 1 missing, 1 extra" in ended.stdout
    assert "old 3 = 2 matched + 1 missing · new 3 = 2 matched + 1 extra" in ended.stdout
    assert re.search(r"PAID +1 +50.00 +number format +10.00 → 10", ended.stdout)
    assert ended.stderr == ""


def test_exit_zero_is_for_those_who_only_want_to_look(pair: Path) -> None:
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", "--exit-zero", cwd=pair)
    assert ended.returncode == 0


def test_json_is_all_of_stdout_and_keeps_its_schema(pair: Path) -> None:
    ended = recon_program(
        "diff", "old.csv", "new.csv", "-k", "ID", "-f", "json", cwd=pair
    )
    document = json.loads(ended.stdout)
    validate(document, schema("result"))
    assert document["counts"]["missing"] == document["counts"]["extra"] == 1
    assert document["sample"] == [{"key": {"ID": "1"}, "payload": {"PAID": "10.00~10"}}]
    assert document["missing_sample"] == [{"ID": "3"}]


def test_markdown_is_a_table(pair: Path) -> None:
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", "-f", "markdown", cwd=pair)
    assert "| `PAID` | 1 | number format |" in ended.stdout
    assert (
        "0 of 1 differing cell is not explained by a hint; "
        "1 of the 1 differing cell is the same value written another way\n"
        in ended.stdout
    )


def test_markdown_counts_the_kinds_of_a_column() -> None:
    def shown(rows: int) -> str:
        ids = [str(at) for at in range(rows)]
        texts = ["x"] + ["X"] * (rows - 1)
        old = pl.DataFrame({"ID": ids, "A": texts})
        new = pl.DataFrame({"ID": ids, "A": ["y"] + ["x"] * (rows - 1)})
        return write_markdown(diff(old, new, keys="ID"))

    few, many = shown(4), shown(40)
    assert "| `A` | 4 | 3 case, 1 text |" in few
    assert "3 of the 4 differing cells are the same value written" in few
    assert "| `A` | 40 | 39 case, 1 text |" in many
    assert "97% of the 40 differing cells are the same value written" in many


def test_markdown_shows_any_name_as_it_is() -> None:
    name = "a`b|c``<b>\n*d*"
    old = pl.DataFrame({"ID": ["1"], name: ["1.00"]})
    new = pl.DataFrame({"ID": ["1"], name: ["1"]})
    shown = write_markdown(diff(old, new, keys="ID"))
    assert "| ``` a`b\\|c``<b>\\n*d* ``` | 1 |" in shown
    [hint] = (line for line in shown.splitlines() if line.startswith("- "))
    assert hint.startswith(
        r"- a\`b|c\`\`\<b>\\n\*d\*: 1 differs, 100% number format; ``` -"
    )
    assert r"``` --rule $'a`b|c``<b>\n*d*=decimal' ```" in hint


def test_a_file_of_cells_says_which_rows_it_does_not_have(pair: Path) -> None:
    command = ("diff", "old.csv", "new.csv", "-k", "ID")
    lines = [
        f"{name}: 1 cell differs; it does not have the 1 missing and 1 extra rows:"
        f" -o 'r s.xlsx' has all"
        for name in ("r s.csv", "r s.parquet")
    ]
    outputs = ("-o", "r s.csv", "-o", "r s.parquet")
    ended = recon(*command, *outputs, cwd=pair)
    assert ended.stderr.splitlines() == lines
    assert (pair / "r s.csv").read_text().count("\n") == 2
    assert recon(*command, *outputs, "-o", "r.xlsx", cwd=pair).stderr == ""
    assert lines[0] not in recon(*command, *outputs, "-q", cwd=pair).stderr
    # With nothing but cells, there is nothing to say.
    (pair / "new.csv").write_text("ID,PAID\n1,10\n2,20.00\n3,30.00\n")
    assert recon(*command, *outputs, cwd=pair).stderr == ""


def test_the_result_is_written_to_every_output(pair: Path) -> None:
    names = ("r.json", "r.md", "r.csv", "r.parquet", "r.html")
    outputs = [argument for name in names for argument in ("-o", name)]
    recon("diff", "old.csv", "new.csv", "-k", "ID", *outputs, cwd=pair)
    validate(json.loads((pair / "r.json").read_text()), schema("result"))
    assert (pair / "r.csv").read_text() == (
        "key.ID,column,old,new,kind\n1,PAID,10.00,10,number_format\n"
    )
    assert pl.read_parquet(pair / "r.parquet").height == 1
    assert "number format" in (pair / "r.md").read_text()
    assert "recon diff old.csv new.csv --key ID" in (pair / "r.html").read_text()


def test_rows_set_aside_are_reported_counted_and_written(pair: Path) -> None:
    with (pair / "old.csv").open("a") as old:
        old.write("SECRET-KEY\n")
    arguments = ["diff", "old.csv", "new.csv", "-k", "ID", "--on-bad-row", "quarantine"]
    ended = recon(*arguments, "--rejects", "r.csv", cwd=pair)
    assert ended.returncode == 1
    assert "old 4 = 2 matched + 1 missing + 1 rejected · new 3" in ended.stdout
    assert "1 malformed row of old was quarantined, not compared" in ended.stdout
    assert (pair / "r.csv").read_text() == (
        "file,line,byte_offset,reason\n"
        "old.csv,5,32,a row of 1 field under a header of 2\n"
    )
    ended = recon(*arguments, "-f", "json", cwd=pair, RECON_REJECTS="r.csv")
    document = json.loads(ended.stdout)
    validate(document, schema("result"))
    assert document["old"]["rejected"] == len(document["rejects"]) == 1
    assert "SECRET-KEY" not in ended.stdout
    assert recon(*arguments[:2], "old.csv", *arguments[3:], cwd=pair).returncode == 1


def test_limits_are_options(pair: Path) -> None:
    (pair / "old.csv").write_text('ID,PAID\n1,"a\n\n\n"\n2,bbbbbbbb\n')
    arguments = ["diff", "old.csv", "old.csv", "-k", "ID"]
    assert recon(*arguments, cwd=pair).returncode == 0
    for option, line in (("--max-field-lines=3", 2), ("--max-field-bytes=7", 6)):
        ended = recon(*arguments, option, cwd=pair)
        assert ended.returncode == 3
        assert f"line {line}" in ended.stderr
    assert recon(*arguments, cwd=pair, RECON_MAX_FIELD_BYTES="7").returncode == 3
    with gzip.open(pair / "zeros.csv.gz", "wb") as zeros:
        zeros.write(b"ID\n" + b"0\n" * (10 << 20))
    arguments = ["diff", "zeros.csv.gz", "zeros.csv.gz", "-k", "ID"]
    ended = recon(*arguments, "--max-ratio", "100", cwd=pair)
    assert (ended.returncode, "--max-ratio" in ended.stderr) == (3, True)


@pytest.mark.parametrize(
    ("limits", "variables"),
    [
        (("--max-field-lines", "200"), {}),
        ((), {"RECON_MAX_FIELD_LINES": "200"}),
        (("--config", "my.toml"), {}),
        (("--config", "small.toml", "--max-field-lines", "200"), {}),
    ],
)
def test_limits_are_those_of_keys_and_explain_too(
    pair: Path, limits: tuple[str, ...], variables: dict[str, str]
) -> None:
    files = ("old.csv", "new.csv")
    long = 150 * "\n"
    for name in files:
        text = (pair / name).read_text()
        (pair / name).write_text(f'{text}5,"{long}"\n')
    for command in ("diff", "keys", "explain"):
        refused = recon(command, *files, cwd=pair)
        assert "lines" in refused.stderr
        assert refused.returncode == 3

    def run_shown(text: str, pattern: str) -> int:
        [command] = re.findall(f"(?m){pattern}", text)
        return recon(*read_words(command), cwd=pair).returncode

    (pair / "my.toml").write_text("max_field_lines = 200\n")
    (pair / "small.toml").write_text("max_field_lines = 7\n")
    proposed = recon("keys", *files, *limits, cwd=pair, **variables)
    if "my.toml" not in limits:
        # The command that it shows does not name a file.
        assert run_shown(proposed.stderr, "^recon (diff .*)$") == 1
    assert proposed.returncode == 0
    proposed = recon("diff", *files, *limits, cwd=pair, **variables)
    assert "ID is unique on both sides" in proposed.stderr
    for path in pair.glob("*.toml"):
        path.write_text(f"{path.read_text()}keys = 'ID'\n")
    key = () if "--config" in limits else ("-k", "ID")
    arguments = (*files, *limits, *key, "-o", "page.html")
    shown = recon("diff", *arguments, cwd=pair, **variables)
    assert run_shown(shown.stdout, "^next: recon (explain .*)$") == 1
    page = html.unescape((pair / "page.html").read_text())
    assert run_shown(page, "recon (diff old[^<]*)<") == 1


def test_a_place_in_a_compressed_file_says_what_it_counts_in(pair: Path) -> None:
    (pair / "old.csv.gz").write_bytes(gzip.compress(b"ID,PAID\n1,2\n3\n"))
    arguments = ["diff", "old.csv.gz", "new.csv", "-k", "ID"]
    ended = recon(*arguments, cwd=pair)
    assert "line 3, byte 12 of the decompressed text, column PAID" in ended.stderr
    document = json.loads(recon(*arguments, "-f", "json", cwd=pair).stdout)
    validate(document, schema("error"))
    assert document["counted_in"] == "the decompressed text"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["diff", "old.csv"], 2, "missing argument 'NEW'"),
        (["diff", "old.csv", "new.csv"], 2, "no key column is named"),
        (["diff", "old.csv", "gone.csv", "-k", "ID"], 2, "there is no such file"),
        (["diff", "old.csv", ".", "-k", "ID"], 3, "bad.csv, line 2, byte 8"),
        (["diff", "old.csv", "z*", "-k", "ID"], 2, "no file has such a name"),
        (["diff", "old.csv", "new.csv", "-k", "IDD"], 3, "Did you mean ID?"),
        (["diff", "old.csv", "new.csv", "-k", "ID", "--ignore", "X"], 2, "no file has"),
        (["diff", "old.csv", "new.csv", "-k", "ID", "--map", "X"], 2, "OLD=NEW"),
        (["diff", "old.csv", "new.csv", "-k", "ID", "-o", "x.xls"], 2, ".parquet"),
        (
            ["diff", "old.csv", "new.csv", "-k", "ID", "-o", "no/x.md"],
            2,
            "folder does not exist",
        ),
        (["diff", "old.csv", "bad.csv", "-k", "ID"], 3, "line 2, byte 8"),
        (
            ["diff", "old.csv", "https://h/new.csv?sign=SECRET", "-k", "ID"],
            2,
            "unsupported URL scheme: https",
        ),
        (["schema", "resutl"], 2, "Did you mean result?"),
        (["nonsense"], 2, "there is no command nonsense"),
    ],
)
def test_a_mistake_is_one_clear_error(
    pair: Path, arguments: list[str], code: int, words: str
) -> None:
    (pair / "bad.csv").write_text("ID,PAID\n1\n")
    ended = recon(*arguments, cwd=pair)
    assert ended.returncode == code
    assert words in re.sub(r"[\s│]+", " ", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "SECRET" not in ended.stderr
    assert ended.stdout == ""


def test_an_error_is_json_where_json_was_asked_for(pair: Path) -> None:
    (pair / "bad.csv").write_text('ID,PAID\n1,SECRET"CELL\n')
    ended = recon("diff", "old.csv", "bad.csv", "-k", "ID", "-f", "json", cwd=pair)
    document = json.loads(ended.stdout)
    validate(document, schema("error"))
    assert document["status"] == "MALFORMED_INPUT"
    assert (document["line"], document["byte_offset"], document["column"]) == (
        2,
        16,
        "PAID",
    )
    assert "SECRET" not in ended.stdout + ended.stderr


def test_options_come_from_the_environment_too(pair: Path) -> None:
    ended = recon(
        "diff", "old.csv", "new.csv", cwd=pair, RECON_KEYS="ID", RECON_FORMAT="json"
    )
    assert json.loads(ended.stdout)["keys"] == ["ID"]


def test_a_name_with_a_comma_or_a_blank_can_be_a_key(pair: Path) -> None:
    (pair / "odd.csv").write_text('"a, b",MEMBER ID,x=y\n1,2,3\n')
    ended = recon(
        "diff", "odd.csv", "odd.csv", "-k", '"a, b",MEMBER ID', "--map", '"x=y"="x=y"',
        cwd=pair,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ended = recon("diff", "odd.csv", "odd.csv", cwd=pair, RECON_KEYS="MEMBER ID")
    assert ended.returncode == 0, ended.stderr


def test_a_file_without_a_header_has_no_value_reported(pair: Path) -> None:
    (pair / "bare.csv").write_text("123-45-6789,SMITH JOHN,SECRETVALUE\n1,2\n")
    (pair / "words.csv").write_text("SMITH,JOHN\n1,2\n")
    for name in ("bare.csv", "words.csv"):
        for key in ("ID", "SMITH JOHM"):
            ended = recon("diff", "old.csv", name, "-k", key, cwd=pair)
            assert ended.returncode in {2, 3}
            assert not re.search("SECRET|SMITH JOHN|JOHN,|6789", ended.stderr)


def test_a_wrong_command_is_json_where_json_was_asked_for(pair: Path) -> None:
    for wrong in (["--bogus"], [], ["new.csv", "-k", "ID", "--detail-limit", "x"]):
        ended = recon("diff", "old.csv", *wrong, "--format", "json", cwd=pair)
        assert ended.returncode == 2
        document = json.loads(ended.stdout)
        validate(document, schema("error"))
        assert document["status"] == "USAGE_ERROR"


def test_an_output_never_replaces_an_input(pair: Path) -> None:
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", "-o", "./new.csv", cwd=pair)
    assert ended.returncode == 2
    assert (pair / "new.csv").read_text() == NEW


def test_control_characters_of_a_file_are_not_sent_to_the_terminal(pair: Path) -> None:
    (pair / "a.csv").write_text("ID,x\x1b]0;pwn\x07\n1,2\n")
    (pair / "b.csv").write_text("ID,x\x1b]0;pwn\x07\n1,\x1b[31m3\n")
    ended = recon("diff", "a.csv", "b.csv", "-k", "ID", cwd=pair)
    assert ended.returncode == 1
    assert "\x1b" not in ended.stdout


def test_columns_can_be_mapped_and_ignored(pair: Path) -> None:
    (pair / "new.csv").write_text("NR,AMOUNT,LOADED\n1,10.00,x\n2,20.00,y\n3,30.00,z\n")
    ended = recon(
        "diff", "old.csv", "new.csv", "-k", "ID", "--map", "ID=NR",
        "--map", "PAID=AMOUNT", "--ignore", "LOADED", cwd=pair,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def options_of_a_run(folder: Path) -> tuple[str, ...]:
    return (
        "--inbound-s3", f"{folder}/in", "--processed-s3", f"{folder}/done",
        "--out-s3", f"{folder}/out", "--dataset", "claims", "--keys", "ID",
        "--detail-limit", "100",
    )  # fmt: skip


def run_in(
    folder: Path, *extra: str, start: Start = recon, **environment: str
) -> CompletedProcess[str]:
    return start("run", *options_of_a_run(folder), *extra, cwd=folder, **environment)


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    inbound = tmp_path / "in"
    inbound.mkdir()
    (inbound / "c.csv").write_text(OLD)
    (inbound / "c_NEWSYSTEM.csv").write_text(NEW)
    return tmp_path


def test_run_reconciles_a_delivery(delivered: Path, database: str) -> None:
    ended = run_in(delivered, "--format", "json", RECON_DATABASE_URL=database)
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    validate(document, schema("result"))
    assert document["run"]["status"] == "SUCCEEDED"
    assert not list((delivered / "in").iterdir())


def test_logs_are_json_lines_that_name_run_and_step(
    delivered: Path, database: str
) -> None:
    ended = run_in(delivered, RECON_DATABASE_URL=database)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {"ts", "level", "event", "step", "run_id", "dataset"} <= lines[0].keys()
    ends = {line["step"]: line for line in lines if line["event"] == "step_ended"}
    assert ends["read old"]["bytes"] == len(OLD)
    assert ends["stage new"]["rows"] == 3
    assert "publish" in ends
    assert "SECRET" not in ended.stderr


def test_run_py_is_the_same_command(delivered: Path, database: str) -> None:
    script = str(schema_folder() / ".." / "run.py")
    ended = subprocess.run(
        [sys.executable, script, *options_of_a_run(delivered)],
        cwd=delivered,
        env=os.environ | {"RECON_DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "SUCCEEDED" in ended.stdout


def test_a_run_can_fail_on_differences(delivered: Path, database: str) -> None:
    ended = run_in(delivered, "--fail-on-diff", RECON_DATABASE_URL=database)
    assert ended.returncode == 1


def test_a_dry_run_needs_no_database_and_moves_nothing(delivered: Path) -> None:
    ended = run_in(delivered, "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert "✗ DIFFER" in ended.stdout
    assert len(list((delivered / "in").iterdir())) == 2
    assert {path.name for path in delivered.iterdir()} == {"in"}


def test_a_refused_run_has_its_status_and_code(delivered: Path, database: str) -> None:
    (delivered / "in" / "c.csv").write_text("ID,PAID\n1,2\n\n3,4\n")
    ended = run_in(delivered, RECON_DATABASE_URL=database)
    assert ended.returncode == 3
    assert "error[MALFORMED_INPUT]: a blank line inside the file" in ended.stderr


def test_the_embedded_server_serves_without_any_database(delivered: Path) -> None:
    assert run_in(delivered, start=recon_program).returncode == 0
    asked = recon(
        "sql", "SELECT status, old_rows FROM metrics.pipeline_run_log", cwd=delivered
    )
    assert asked.stdout == "status,old_rows\nSUCCEEDED,3\n"
    with embedded_server_of(delivered):
        for change in (
            "DELETE FROM metrics.artifact",
            "SET transaction_read_only = off; DELETE FROM metrics.artifact; SELECT 1",
            "COMMIT; DELETE FROM metrics.artifact",
            "BEGIN READ WRITE; DELETE FROM metrics.artifact; COMMIT",
        ):
            refused = recon("sql", change, cwd=delivered)
            assert refused.returncode == 2
            assert "Postgres refuses the statement" in refused.stderr
            # The condition by its name in the standard, without the words of a driver.
            assert re.search(r"why: SQLSTATE \w{5}: [a-z ]+\n", refused.stderr)
        left = recon("sql", "SELECT count(*) FROM metrics.artifact", cwd=delivered)
    assert left.stdout == "count\n12\n"


@pytest.mark.parametrize(
    "command",
    [
        ("sql", "SELECT 1"),
        ("history", "--dataset", "claims"),
        ("breaks", "--dataset", "claims"),
        ("report",),
        ("report", "--dataset", "claims", "--history", "5"),
        ("purge", "--older-than", "1d"),
        ("purge", "--older-than", "1d", "--delete"),
    ],
)
@pytest.mark.parametrize("home", ["none", "empty"])
def test_without_runs_there_is_nothing_to_ask_and_no_server_is_made(
    tmp_path: Path, command: tuple[str, ...], home: str
) -> None:
    if home == "empty":
        (tmp_path / ".recon").mkdir()
    before = list(tmp_path.rglob("*"))
    ended = recon(*command, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error[USAGE_ERROR]: there are no runs yet\n")
    assert list(tmp_path.rglob("*")) == before


def test_the_doctor_makes_no_server_either(tmp_path: Path) -> None:
    ended = recon("doctor", cwd=tmp_path)
    assert "none yet: the first run creates an embedded PostgreSQL" in ended.stdout
    assert ended.returncode == 0, ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_busy_dataset_is_reported_with_its_row(
    delivered: Path, database: str
) -> None:
    inbound = (delivered / "in").resolve()
    name = f"recon:claims:file://{inbound}/"
    with psycopg.connect(database) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        ended = run_in(delivered, "--format", "json", RECON_DATABASE_URL=database)
        document = json.loads(ended.stdout)
        logged = connection.execute(
            "SELECT run_id::text, status, exit_code FROM metrics.pipeline_run_log"
        ).fetchall()
    assert (ended.returncode, document["status"]) == (4, "BUSY")
    assert logged == [(document["run"]["run_id"], "BUSY", 4)]
    assert len(list((delivered / "in").iterdir())) == 2


def test_an_empty_database_url_is_no_embedded_server(delivered: Path) -> None:
    ended = run_in(delivered, RECON_DATABASE_URL=" ")
    assert ended.returncode == 2
    assert len(list((delivered / "in").iterdir())) == 2


def test_every_run_is_one_json_document_of_a_known_schema(
    delivered: Path, database: str
) -> None:
    wanted = ["recon-result/1", "recon-run/1", "recon-error/1"]
    for name in wanted:
        ended = run_in(delivered, "--format", "json", RECON_DATABASE_URL=database)
        document = json.loads(ended.stdout)
        assert document["schema"] == name
        validate(document, schema(name.split("-")[1].split("/")[0]))
        assert document["run"]["exit_code"] == ended.returncode
        if document["run"]["status"] == "NO_FILES":
            (delivered / "in" / "alone.csv").write_text(OLD)


def test_a_failed_archive_is_an_error_beside_the_recorded_result(
    delivered: Path, database: str
) -> None:
    done = delivered / "done"
    done.mkdir()
    # A file where the folder of the dataset has to be made.
    (done / "claims").touch()
    ended = run_in(delivered, "--format", "json", RECON_DATABASE_URL=database)
    document = json.loads(ended.stdout)
    validate(document, schema("result"))
    assert document["run"]["status"] == "USAGE_ERROR"
    error = document["run"]["error"]
    validate(error, schema("error"))
    assert error["status"] == document["run"]["status"]
    assert error["exit_code"] == ended.returncode == 2
    assert error["file"].startswith(f"{done / 'claims'}/")
    assert all(error[name] for name in ("message", "why", "help"))
    (done / "claims").unlink()
    again = run_in(delivered, "--format", "json", RECON_DATABASE_URL=database)
    assert "error" not in json.loads(again.stdout)["run"]


@pytest.mark.parametrize("form", ["json", "table"])
def test_with_quiet_the_error_of_an_archive_is_on_stderr(
    delivered: Path, database: str, form: str
) -> None:
    (delivered / "done").mkdir()
    (delivered / "done" / "claims").touch()
    asked = ("--quiet", "--format", form)
    ended = run_in(delivered, *asked, RECON_DATABASE_URL=database)
    assert ended.stdout == ""
    assert ended.stderr.startswith("error[USAGE_ERROR]: ")
    assert f"\n  --> {delivered / 'done' / 'claims'}/" in ended.stderr
    assert "\n  help: " in ended.stderr


def test_a_demo_leaves_other_files_alone(tmp_path: Path) -> None:
    other = tmp_path / "d" / "inbound" / "claims_real.csv"
    other.parent.mkdir(parents=True)
    other.write_text(OLD)
    ended = recon("demo", "--folder", "d", "--rows", "10", cwd=tmp_path)
    assert ended.returncode == 3
    assert other.read_text() == OLD


def test_the_demo_leaves_something_in_every_table(tmp_path: Path) -> None:
    with embedded_server_of(tmp_path):
        ended = recon("demo", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        commands = re.findall(r'^  recon sql "(.+)"$', ended.stdout, re.MULTILINE)
        assert commands
        for statement in commands:
            assert recon("sql", statement, cwd=tmp_path).returncode == 0
    counts = dict(re.findall(r"^ +(\w+) +([\d,]+)$", ended.stdout, re.MULTILINE))
    assert len(counts) == 12
    assert all(count != "0" for count in counts.values())
    assert not list((tmp_path / "recon-demo" / "inbound").iterdir())
    assert list((tmp_path / "recon-demo" / "out").rglob("manifest.json"))


def test_s3_objects_can_be_compared_on_a_laptop(
    pair: Path, moto: str, bucket: str
) -> None:
    client = boto3.client("s3", endpoint_url=moto)
    client.upload_file(str(pair / "new.csv"), bucket, "x/new.csv")
    client.close()
    ended = recon("diff", "old.csv", f"s3://{bucket}/x/new.csv", "-k", "ID", cwd=pair)
    assert ended.returncode == 1, ended.stderr
    drafted = recon("init", "old.csv", f"s3://{bucket}/x/new.csv", "--yes", cwd=pair)
    assert drafted.returncode == 0, drafted.stderr
    assert f"next: recon diff old.csv s3://{bucket}/x/new.csv" in drafted.stderr
    gone = recon("init", "old.csv", f"s3://{bucket}/x/gone.csv", "--yes", cwd=pair)
    assert gone.returncode == 2
    assert "the file does not exist" in gone.stderr


def test_the_status_table_is_printed(tmp_path: Path) -> None:
    ended = recon("statuses", "--format", "json", cwd=tmp_path)
    printed = {row["status"]: row["exit"] for row in json.loads(ended.stdout)}
    assert printed == {status.value: row.exit_code for status, row in STATUSES.items()}


def subclasses(base: type[ReconError]) -> set[type[ReconError]]:
    return {base}.union(*(subclasses(each) for each in base.__subclasses__()))


def test_every_error_ends_a_run_with_a_row_of_the_table() -> None:
    codes = {
        each.__name__: STATUSES[RunStatus(each.status)]
        for each in subclasses(ReconError)
    }
    assert codes["ConfigError"].exit_code == 2
    assert codes["KeyMissing"].exit_code == 3
    assert codes["Busy"] == STATUSES[RunStatus.BUSY]
    assert all(codes[name].exit_code == 4 for name in ("InputChanged", "CommitUnknown"))


def test_the_option_in_a_hint_works_when_it_is_pasted(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes(b"ID\tA\n1\t2\n")
    new.write_bytes(b"ID;A\n1;2\n")
    command = ["diff", str(old), str(new), "-k", "ID"]
    refused = recon(*command, cwd=tmp_path)
    assert refused.returncode == 3
    option = refused.stderr.split("add ")[1].partition(": with it")[0]
    assert option == r"--delimiter '\t:;'"
    pasted = " ".join([sys.executable, "-m", "recon_cli", *command, option])
    subprocess.run(["/bin/sh", "-c", pasted], check=True, capture_output=True)


HEAVY = ("polars", "pyarrow", "boto3", "psycopg", "pydantic", "numpy", "rich.progress")
SPARK = ("pandas", "pyspark", "recon_engine.spark")
CLOUD = (
    "boto3",
    "botocore",
    "psycopg",
    "adbc_driver_postgresql",
    "adbc_driver_manager",
)


def loaded(program: str, cwd: Path) -> set[str]:
    code = f"import sys\ntry:\n    {program}\nexcept SystemExit:\n    pass\n"
    code += "print('\\n'.join(sys.modules), file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stderr.splitlines())


def test_a_run_loads_no_pandas_and_leaves_the_data_sets_of_arrow_to_others(
    tmp_path: Path,
) -> None:
    """ADBC imports `pyarrow.dataset`, which would import pandas."""
    program = "import recon_engine.pipeline.runner, pyarrow.dataset"
    assert "pandas" not in loaded(program, tmp_path)
    counted = "pyarrow.dataset.dataset(pyarrow.table({'a': [1, 2]})).count_rows()"
    assert loaded(f"{program}; assert {counted} == 2", tmp_path)


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    program = "from recon_cli.app import app; app(['--help'])"
    assert loaded(program, tmp_path).isdisjoint(HEAVY)


def test_a_local_diff_loads_no_cloud_no_database_and_no_spark(pair: Path) -> None:
    program = (
        "from recon_cli.app import app; app(['diff', 'old.csv', 'new.csv', '-k', 'ID'])"
    )
    modules = loaded(program, pair)
    assert "polars" in modules
    assert modules.isdisjoint({*CLOUD, *SPARK, "recon_engine.config_file", "tomllib"})


@pytest.mark.parametrize("name", ["JAVA_HOME", "SPARK_HOME"])
def test_a_wrong_path_of_java_or_spark_is_a_wrong_setting(
    pair: Path, name: str
) -> None:
    places = {"JAVA_HOME": "/usr", name: "/nonexistent"}
    command = ("diff", "old.csv", "new.csv", "-k", "ID", "--engine", "spark")
    ended = recon_program(*command, cwd=pair, **places)
    assert ended.returncode == 2
    assert "error[USAGE_ERROR]: Spark cannot be started" in ended.stderr
    assert "  help: check JAVA_HOME, SPARK_HOME" in ended.stderr


def test_importing_the_package_costs_nothing(tmp_path: Path) -> None:
    assert loaded("import recon_engine", tmp_path).isdisjoint(HEAVY)


def test_rules_come_from_flags_or_the_environment(pair: Path) -> None:
    (pair / "new.csv").write_text("ID,PAID\n1,10\n2,20.00\n3,30.01\n")
    command = ("diff", "old.csv", "new.csv", "-k", "ID")
    ended = recon(*command, "--rule", "PAID=decimal(abs=0.01)", cwd=pair)
    assert ended.returncode == 0, ended.stderr
    assert "2 cells are equal by a rule" in ended.stdout
    again = recon(*command, cwd=pair, RECON_RULE="*=trim;PAID=decimal(abs=0.01)")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    "rule", ["PAID", "PAID=tirm", "PAYED=trim", "ID=decimal(abs=1)"]
)
def test_a_rule_that_cannot_be_is_refused(pair: Path, rule: str) -> None:
    ended = recon("diff", "old.csv", "new.csv", "-k", "ID", "--rule", rule, cwd=pair)
    assert ended.returncode == 2
    assert "help:" in ended.stderr
