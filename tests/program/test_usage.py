"""A wrong command line: one error of this program, with the command that was meant."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest
from recon_cli.commands import init
from support.program import recon
from support.screen import on_terminal
from typer.testing import CliRunner

from recon_engine.compare.key_search import Proposal
from recon_engine.options import options_of
from recon_engine.postgres.migrations import schema_folder


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "old.csv").write_text("ID,PAID\n1,10.00\n2,20.00\n3,30.00\n")
    (tmp_path / "new.csv").write_text("ID,PAID\n1,10\n2,20.00\n4,SECRET-CELL\n")
    return tmp_path


def test_the_list_of_commands_cuts_no_sentence(tmp_path: Path) -> None:
    said = recon("--help", cwd=tmp_path, COLUMNS="80").stdout
    commands = said.partition("Commands:")[2].partition("Exit codes")[0]
    assert commands.count("\n") > 16
    assert "..." not in commands


def test_two_files_without_a_command_are_meant_for_diff(pair: Path) -> None:
    ended = recon("old.csv", "new.csv", "-k", "ID", cwd=pair)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error[USAGE_ERROR]: old.csv is a file, not a command\n"
        "  help: did you mean: recon diff old.csv new.csv -k ID\n"
    )
    command = ended.stderr.rpartition(": recon ")[2]
    assert recon(*shlex.split(command), cwd=pair).returncode == 1


def test_files_that_do_not_exist_are_recognized_by_their_names(tmp_path: Path) -> None:
    for names in (("a b.csv", "s3://x/new.csv.gz"), ("OLD.TXT", "new.tsv.zst")):
        ended = recon(*names, cwd=tmp_path)
        assert ended.stderr.endswith(f"recon diff {shlex.join(names)}\n")


@pytest.mark.parametrize(
    ("arguments", "message", "help_line"),
    [
        (["dif", "a", "b"], "there is no command dif. Did you mean diff?", "recon -"),
        (
            ["diff", "a", "b", "--detial-limit", "3"],
            (
                "no such option: --detial-limit."
                " Did you mean --delimiter or --detail-limit?"
            ),
            "recon diff --help lists what it takes",
        ),
        (
            ["--key", "ID", "diff", "a", "b"],
            "no such option: --key",
            "write it after the command, such as: recon diff OLD NEW --key",
        ),
        (
            ["init", "a", "b", "--out", "x.toml"],
            "no such option: --out",
            "the option is --config; recon init --help",
        ),
        (
            ["diff", "a", "b", "-f", "tabel"],
            "--format: 'tabel' is not one of 'table', 'json', 'markdown'",
            "recon diff --help",
        ),
        (
            ["diff", "a", "b", "--detail-limit=-1"],
            "--detail-limit: it has to be at least 0",
            "recon diff --help",
        ),
        (
            ["diff", "a", "b", "--detail-limit", "many"],
            "--detail-limit: it has to be a whole number",
            "recon diff --help",
        ),
        (
            ["diff", "a", "b", "--detail-limit", "9" * 5_000],
            "--detail-limit: it has too many digits",
            "recon diff --help",
        ),
        (
            ["diff", "a", "b", "--key=ID", f"--save-hints={'9' * 5_000}"],
            f"--save-hints {'9' * 5_000}: not a list of numbers",
            "such as --save-hints 1,3",
        ),
        (
            ["init", "a", "b", "--sample", "9" * 400],
            f"--sample {'9' * 400}: not a number of rows",
            "such as 20000, or all",
        ),
        (
            ["report", "-o", "x.txt"],
            "-o x.txt: this report is written as HTML only",
            "use a name that ends in .html",
        ),
        (
            ["explain", "a", "b", "1", "--key", "ID", "--context", '"A'],
            '"A is not a list of names',
            "quote it as a field of a CSV file",
        ),
    ],
)
def test_a_wrong_word_is_an_error_of_this_program(
    tmp_path: Path, arguments: list[str], message: str, help_line: str
) -> None:
    ended = recon(*arguments, cwd=tmp_path)
    first, second = ended.stderr.splitlines()
    assert first == f"error[USAGE_ERROR]: {message}"
    assert second.startswith(f"  help: {help_line}")
    assert (ended.returncode, ended.stdout) == (2, "")


def test_a_value_of_a_variable_is_named_by_the_variable(tmp_path: Path) -> None:
    ended = recon("diff", "a", "b", cwd=tmp_path, RECON_DETAIL_LIMIT="-1")
    assert ended.stderr.startswith(
        "error[USAGE_ERROR]: RECON_DETAIL_LIMIT: it has to be at least 0\n"
    )


def test_no_variable_is_refused_in_the_words_of_a_library(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID\n1\n")
    words = re.compile(r"[Ii]nput should|[Ii]nput is|unable to|be a valid ")
    refused = []
    for option in options_of("diff"):
        for value in ("x y", "-7"):
            if option.env:
                given = {option.env: value}
                ended = recon(
                    "diff", "a.csv", "a.csv", "-k", "ID", cwd=tmp_path, **given
                )
                assert not words.search(ended.stderr), (option.env, ended.stderr)
                refused += [option.env] * (ended.returncode == 2)
    assert len({*refused}) > 40


def test_the_help_of_schema_names_each(tmp_path: Path) -> None:
    ended = recon("schema", "--help", cwd=tmp_path)
    names = {each.name for each in schema_folder().iterdir() if each.is_file()}
    assert {name.partition(".")[0] for name in names} <= {
        *ended.stdout.replace(",", "").replace(".", "").split()
    }


def test_the_short_help_of_a_long_command_has_its_examples_and_common_options(
    tmp_path: Path,
) -> None:
    short = recon("diff", "-h", cwd=tmp_path, COLUMNS="80").stdout
    whole = recon("diff", "--help", cwd=tmp_path, COLUMNS="80").stdout
    common = {
        option.flag for option in options_of("diff") if option.common and option.flags
    }
    assert 10 <= len(common) <= 12
    shown = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", short, re.MULTILINE))
    assert shown == common
    assert short.count("    recon diff old.csv") == 3
    assert short.endswith("\nAll options: recon diff --help\n")
    assert len(short.splitlines()) < 45 < len(whole.splitlines())
    assert "--max-ratio" in whole
    assert "-h shows the most used ones" in whole
    # Anywhere, also behind what is wrong; and --help has the last word.
    assert recon("diff", "a", "b", "-h", cwd=tmp_path, COLUMNS="80").stdout == short
    assert recon("diff", "-h", "--help", cwd=tmp_path, COLUMNS="80").stdout == whole


@pytest.mark.parametrize("command", ["breaks", "init", "doctor", "schema"])
def test_the_help_of_a_short_command_is_one(tmp_path: Path, command: str) -> None:
    short, whole = (
        recon(command, flag, cwd=tmp_path).stdout for flag in ("-h", "--help")
    )
    assert short == whole != ""


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    ended = recon(cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Usage: recon ")


def test_a_diff_without_a_key_proposes_one_in_a_command_to_paste(pair: Path) -> None:
    given = ("diff", "old.csv", "new.csv", "--ignore", "NO TE", "-o", "r.md")
    for path in ("old.csv", "new.csv"):
        (pair / path).write_text("ID,PAID,NO TE\n1,1,a\n2,1,b\n3,1,c\n")
    ended = recon(*given, cwd=pair)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error[USAGE_ERROR]: no key column is named\n"
        "  why: ID is unique on both sides, and 100.0% of the rows match by it\n"
        "  help: recon diff old.csv new.csv --ignore 'NO TE' -o r.md --key ID\n"
    )
    command = ended.stderr.rpartition("help: recon ")[2]
    assert recon(*shlex.split(command), cwd=pair).returncode == 0
    assert (pair / "r.md").exists()


def test_a_missing_option_may_be_set_in_the_file(pair: Path) -> None:
    ended = recon("run", "--inbound-s3", "in", "--key", "ID", cwd=pair)
    assert ended.returncode == 2
    assert "missing option '--processed-s3'" in ended.stderr
    assert "recon.toml can set inbound_s3, processed_s3, out_s3" in ended.stderr
    assert "each an S3 prefix or a local folder" in ended.stderr


def test_explain_without_a_key_proposes_one_too(pair: Path) -> None:
    ended = recon("explain", "old.csv", "new.csv", "--", "1", cwd=pair)
    assert ended.stderr.endswith("recon explain old.csv new.csv --key ID -- 1\n")
    command = ended.stderr.rpartition("help: recon ")[2]
    assert recon(*shlex.split(command), cwd=pair).returncode == 1


def test_a_pair_without_a_key_says_what_comes_closest(pair: Path) -> None:
    (pair / "old.csv").write_text("A,B\n1,1\n1,1\n")
    (pair / "new.csv").write_text("A,B\n1,1\n1,2\n")
    ended = recon("diff", "old.csv", "new.csv", cwd=pair)
    assert (
        "no set of columns that was tried is unique on both sides and matches rows;"
        " B repeats least" in ended.stderr
    )
    (pair / "new.csv").write_text("A,B\n3,3\n4,4\n")
    ended = recon("diff", "old.csv", "new.csv", cwd=pair)
    assert "no column that was tried has a value that is in both files" in ended.stderr
    assert ended.returncode == 2


def test_without_a_key_what_is_wrong_with_a_file_comes_first(pair: Path) -> None:
    (pair / "new.csv").write_text("ID,PAID\n1\n")
    ended = recon("diff", "old.csv", "new.csv", cwd=pair)
    assert ended.returncode == 3
    assert "new.csv, line 2" in ended.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("recon br", ["breaks"]),
        ("recon diff --on-b", ["--on-bad-row"]),
        ("recon diff --engine ", ["local", "spark"]),
    ],
)
def test_the_shell_completes_commands_options_and_values(
    typed: str, completed: list[str], tmp_path: Path
) -> None:
    asked = {
        "_RECON_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
    }
    ended = recon(cwd=tmp_path, **asked)
    assert ended.stdout.split() == completed


def write_unlike_files(folder: Path) -> None:
    """Two files of other delimiters, encodings and names, which no file describes."""
    rows = [(f"{n:08d}", f"Müller {n % 3}", n * 7 % 1000) for n in range(1, 60)]
    old = "".join(f"{key};{name};{paid},50\r\n" for key, name, paid in rows)
    (folder / "alt.csv").write_bytes(f"NR;NAME;BETRAG\r\n{old}".encode("cp1252"))
    new = "".join(f"{int(key)},{name},{paid}.50\n" for key, name, paid in rows)
    (folder / "neu.csv").write_text(f"claim,insured,amount\n{new}")


@pytest.mark.parametrize("given", [("diff",), ("keys",), ("diff", "--key", "NR")])
def test_an_undescribed_pair_names_its_delimiters_and_recon_init(
    tmp_path: Path, given: tuple[str, ...]
) -> None:
    write_unlike_files(tmp_path)
    command, *others = given
    ended = recon(command, "alt.csv", "neu.csv", *others, cwd=tmp_path)
    assert ended.returncode in {2, 3}
    last = ended.stderr.splitlines()[-1]
    # OLD is not UTF-8: its encoding is an error that comes after the delimiter.
    assert last.startswith(
        "  help: add --delimiter ';:,': with it OLD has 3 columns and NEW 3, and the"
        " first rows fit (59 and 59 were checked)"
    )
    assert last.endswith(
        "; recon init alt.csv neu.csv looks for delimiter, encoding, names, key and"
        " rules"
    )


@pytest.mark.parametrize("given", [(), ("--key", "NR"), ("--map", "NAME=amount")])
def test_an_undescribed_pair_is_described_by_the_command_that_its_error_names(
    tmp_path: Path, given: tuple[str, ...]
) -> None:
    write_unlike_files(tmp_path)
    read = ("--delimiter", ";:,", "--encoding", "cp1252:utf-8", *given)
    ended = recon("diff", "alt.csv", "neu.csv", *read, cwd=tmp_path)
    command, looks, _ = ended.stderr.rpartition("; recon ")[2].partition(" looks for ")
    assert looks
    assert recon(*shlex.split(command), cwd=tmp_path).returncode == 0
    assert recon("diff", "alt.csv", "neu.csv", cwd=tmp_path).returncode == 0
    # A configuration file describes the files now.
    ended = recon("diff", "alt.csv", "neu.csv", "--key", "X", cwd=tmp_path)
    assert ended.returncode == 3
    assert "recon init" not in ended.stderr


def test_swapped_files_are_named_as_such(tmp_path: Path) -> None:
    write_unlike_files(tmp_path)
    assert recon("init", "alt.csv", "neu.csv", cwd=tmp_path).returncode == 0
    ended = recon("diff", "neu.csv", "alt.csv", cwd=tmp_path)
    assert ended.returncode == 2
    assert (
        "OLD has no column NR, and NEW has it: are the files swapped?\n"
        "  why: all 3 pairs of names fit the files in the other order\n" in ended.stderr
    )
    assert ended.stderr.endswith("swapped? recon diff alt.csv neu.csv\n")
    ended = recon("diff", "alt.csv", "alt.csv", cwd=tmp_path)
    assert ended.returncode == 2
    assert "NEW has no column claim" in ended.stderr
    command = ended.stderr.partition(" fit both files: are both of OLD? recon ")[2]
    again = recon(*shlex.split(command), cwd=tmp_path)
    assert "AGREE" in again.stdout
    # A name that neither file has is no sign of it.
    given = ("--map", "NR=claim,NOPE=insured", "--key", "NR", "--config", "empty.toml")
    (tmp_path / "empty.toml").touch()
    ended = recon("diff", "neu.csv", "alt.csv", *given, cwd=tmp_path)
    assert "OLD has no column NR\n" in ended.stderr
    assert "swapped" not in ended.stderr


def write_with_trailers(folder: Path, config: str) -> None:
    """A pair whose sides have trailers in their own delimiters, and a second OLD."""
    (folder / "old.csv").write_text("ID;PAID\n1;10\n2;20\nTRL;2\n")
    (folder / "next.csv").write_text("ID;PAID\n1;10\n2;30\nTRL;2\n")
    (folder / "new.csv").write_text("ID,PAID\n1,10\n2,20\nTRL,2\n")
    (folder / "cut.csv").write_text("ID;PAID\n1;10\n")
    (folder / "recon.toml").write_text(f'keys = "ID"\ntrailer = "TRL"\n{config}')


BY_SIDE = 'delimiter = ";:,"\n'


def test_files_that_the_settings_of_the_other_sides_fit_are_swapped(
    tmp_path: Path,
) -> None:
    write_with_trailers(tmp_path, BY_SIDE)
    assert recon("diff", "old.csv", "new.csv", cwd=tmp_path).returncode == 0
    ended = recon("diff", "new.csv", "old.csv", cwd=tmp_path)
    assert ended.returncode == 3
    assert "the file does not end with a record TRL" in ended.stderr
    *_, last = ended.stderr.splitlines()
    assert last == (
        "  help: the settings of NEW fit new.csv, and those of OLD fit old.csv: are the"
        " two files swapped? recon diff old.csv new.csv"
    )
    again = recon(*shlex.split(last.partition("? recon ")[2]), cwd=tmp_path)
    assert again.returncode == 0
    (tmp_path / "recon.toml").rename(tmp_path / "other.toml")
    given = ("--config", "other.toml")
    ended = recon("explain", "new.csv", "old.csv", "1", *given, cwd=tmp_path)
    assert ended.stderr.endswith(
        "swapped? recon explain old.csv new.csv 1 --config other.toml\n"
    )
    (tmp_path / "other.toml").rename(tmp_path / "recon.toml")
    # A file that is cut has these settings, and is not of the other side.
    for files in (("cut.csv", "new.csv"), ("new.csv", "cut.csv")):
        ended = recon("diff", *files, cwd=tmp_path)
        assert ended.returncode == 3
        assert "swapped" not in ended.stderr
        assert "deliver the complete file again" in ended.stderr


def test_two_files_of_one_side_are_named_as_such(tmp_path: Path) -> None:
    write_with_trailers(tmp_path, BY_SIDE)
    ended = recon("diff", "old.csv", "next.csv", cwd=tmp_path)
    assert ended.returncode == 3
    said, _, command = ended.stderr.splitlines()[-1].partition("? recon ")
    assert said == "  help: the settings of OLD fit both files: are both of OLD"
    assert command == (
        "diff old.csv next.csv --delimiter ';' --trailer TRL --key ID"
        " --config /dev/null"
    )
    again = recon(*shlex.split(command), "-f", "json", cwd=tmp_path)
    assert json.loads(again.stdout)["counts"]["mismatched_cells"] == 1
    (tmp_path / "recon.toml").write_text(
        'keys = "NR"\ntrailer = "TRL"\ndelimiter = ";:,"\n[map]\nNR = "ID"\n'
    )
    ended = recon("explain", "new.csv", "new.csv", "1", cwd=tmp_path)
    *_, last = ended.stderr.splitlines()
    assert last == (
        "  help: the settings of NEW fit both files: are both of NEW? give them"
        " settings of their own: --config FILE"
    )


@pytest.mark.parametrize("forms", ["", 'match_names = "casefold"\n'])
def test_two_days_of_old_are_named_as_such_if_columns_are_renamed(
    tmp_path: Path, forms: str
) -> None:
    """As in a daily folder: both sides have the key, and NEW has a column more."""
    (tmp_path / "old.csv").write_text("ID;CITY;PAID\n1;a;10\n2;b;20\n")
    (tmp_path / "next.csv").write_text("ID;CITY;PAID\n1;a;10\n2;c;20\n")
    (tmp_path / "new.csv").write_text("ID;town;PAID;LOADED\n1;a;10;x\n2;b;20;x\n")
    (tmp_path / "recon.toml").write_text(
        f'keys = "ID"\ndelimiter = ";"\nignore = ["LOADED"]\n{forms}'
        'gates = ["missing<=0"]\n[map]\nCITY = "town"\n'
    )
    assert recon("diff", "old.csv", "new.csv", cwd=tmp_path).returncode == 0
    ended = recon("diff", "old.csv", "next.csv", "--key", "ID", cwd=tmp_path)
    assert ended.returncode == 2
    said, _, command = ended.stderr.splitlines()[-1].partition("? recon ")
    assert said == "  help: the settings of OLD fit both files: are both of OLD"
    again = recon(*shlex.split(command), "-f", "json", cwd=tmp_path)
    counts = json.loads(again.stdout)["counts"]
    assert (counts["matched"], counts["mismatched_cells"]) == (2, 1)
    # A column that is gone from NEW is no sign of it.
    (tmp_path / "gone.csv").write_text("ID;PAID;LOADED\n1;10;x\n")
    ended = recon("diff", "old.csv", "gone.csv", cwd=tmp_path)
    assert "NEW has no column town" in ended.stderr
    assert "settings of" not in ended.stderr


def test_of_settings_that_are_the_same_for_both_no_side_is_tried(
    tmp_path: Path,
) -> None:
    write_with_trailers(tmp_path, "")
    for files in (("new.csv", "old.csv"), ("cut.csv", "cut.csv")):
        ended = recon("diff", *files, cwd=tmp_path)
        assert ended.returncode == 3
        assert "deliver the complete file again" in ended.stderr


def test_an_encoding_of_the_other_side_is_named_as_such(tmp_path: Path) -> None:
    old, new = "ID,NAME\n1,Müller\n", "ID,NAME\n1,MÜLLER\n"
    (tmp_path / "old.csv").write_bytes(old.encode("utf-16"))
    (tmp_path / "new.csv").write_text(new)
    (tmp_path / "recon.toml").write_text('keys="ID"\nencoding="utf-16:utf-8"\n')
    ended = recon("diff", "new.csv", "old.csv", cwd=tmp_path)
    assert "error[ENCODING_ERROR]" in ended.stderr
    assert "are the two files swapped? recon diff old.csv new.csv" in ended.stderr
    assert "utf-16-le" not in ended.stderr


def test_an_unknown_encoding_of_files_without_settings_names_recon_init(
    tmp_path: Path,
) -> None:
    text = "ID,NAME\n" + "".join(f"{at},Müller {at}\n" for at in range(40))
    (tmp_path / "old.csv").write_bytes(text.encode("utf-16"))
    (tmp_path / "new.csv").write_text(text)
    ended = recon("diff", "old.csv", "new.csv", "--key", "ID", cwd=tmp_path)
    assert ended.stderr.startswith("error[ENCODING_ERROR]")
    last = ended.stderr.splitlines()[-1]
    assert "add --encoding utf-16:utf-8" in last or "--encoding utf-16" in last
    assert last.endswith(
        "; recon init old.csv new.csv looks for delimiter, encoding, names, key and"
        " rules"
    )
    # A file that has a fault is as it is under every setting.
    (tmp_path / "old.csv").write_text('ID,NAME\n1,"a\n')
    ended = recon("diff", "old.csv", "new.csv", "--key", "ID", cwd=tmp_path)
    assert ended.stderr.startswith("error[MALFORMED_INPUT]")
    assert "recon init" not in ended.stderr


def test_a_key_is_proposed_by_a_command_that_compares(tmp_path: Path) -> None:
    rows = [(at, f"{at * 7 % 50}.50") for at in range(1, 60)]
    old = "".join(f"{at},{paid},x\n" for at, paid in rows)
    new = "".join(f"{at},{paid}\n" for at, paid in rows)
    (tmp_path / "old.csv").write_text(f"ID,PAID,ONLY\n{old}")
    (tmp_path / "new.csv").write_text(f"ID,PAID\n{new}")
    files = ("old.csv", "new.csv")
    ended = recon("keys", *files, cwd=tmp_path)
    command = ended.stderr.strip()
    assert command == "recon diff old.csv new.csv --key ID --on-schema-drift compare"
    again = recon(*shlex.split(command)[1:], cwd=tmp_path)
    assert "old 59 = 59 matched + 0 missing" in again.stdout
    ended = recon("keys", *files, "--ignore", "ONLY", cwd=tmp_path)
    assert ended.stderr.strip() == "recon diff old.csv new.csv --key ID --ignore ONLY"


def test_counts_of_proposed_keys_have_commas_for_people(tmp_path: Path) -> None:
    text = "ID\n" + "".join(f"{at}\n" for at in range(1234))
    (tmp_path / "same.csv").write_text(text)
    shown = on_terminal("keys", "same.csv", "same.csv", columns=80, cwd=tmp_path)
    assert re.search(r"ID +1,234 +100.0%", shown)
    piped = recon("keys", "same.csv", "same.csv", cwd=tmp_path).stdout
    assert "ID,1234,100.0%,0,0" in piped


def test_a_diff_names_the_rows_that_differ_and_how_to_see_one(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text(
        "ID;LINE;A\n" + "".join(f"-{n};b {n};x\n" for n in range(15))
    )
    (tmp_path / "new.csv").write_text(
        "ID;LINE;A\n" + "".join(f"-{n};b {n};y\n" for n in range(15))
    )
    given = ("diff", "old.csv", "new.csv", "--key", "ID,LINE", "--delimiter", ";")
    shown = recon(*given, cwd=tmp_path).stdout
    keys = next(x for x in shown.splitlines() if x.startswith("rows that differ: "))
    assert keys.count(" · ") == 10
    assert keys.endswith(" · … and 5 more")
    command = shown.partition("\nnext: recon ")[2].partition("\n")[0]
    ended = recon(*shlex.split(command), cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    number, line = keys.partition(": ")[2].partition(" · ")[0].split(", ")
    assert ended.stdout.startswith(f"ID={number}, LINE={line}: 1 matched")
    masked = recon(*given, "--mask", "ID=redact", cwd=tmp_path).stdout
    assert "rows that differ: " in masked
    assert "recon explain" not in masked
    assert ": -" not in masked
    assert (
        "rows that differ"
        not in recon("diff", "old.csv", "old.csv", *given[3:], cwd=tmp_path).stdout
    )
    # A configuration file has the settings.
    (tmp_path / "recon.toml").write_text('keys = ["ID", "LINE"]\ndelimiter = ";"\n')
    shown = recon("diff", "old.csv", "new.csv", cwd=tmp_path).stdout
    command = shown.partition("\nnext: recon ")[2].partition("\n")[0]
    assert "--delimiter" not in command
    assert "--config" not in command
    assert recon(*shlex.split(command), cwd=tmp_path).returncode == 1
    # Another file is named, and any where a variable names one.
    (tmp_path / "recon.toml").rename(tmp_path / "other.toml")
    (tmp_path / "recon.toml").write_text('keys = ["LINE"]\n')
    named = ("diff", "old.csv", "new.csv", "--config")
    shown = recon(*named, "other.toml", cwd=tmp_path).stdout
    assert "\nnext: recon explain old.csv new.csv --config other.toml --" in shown
    (tmp_path / "other.toml").rename(tmp_path / "recon.toml")
    shown = recon(*named, "recon.toml", cwd=tmp_path, RECON_CONFIG="x.toml").stdout
    assert "\nnext: recon explain old.csv new.csv --config recon.toml --" in shown


def test_explain_without_a_value_shows_what_to_give(pair: Path) -> None:
    ended = recon("explain", "old.csv", "new.csv", "--key", "ID,PAID", cwd=pair)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error[USAGE_ERROR]: the key has 2 columns, and no value is given: ID, PAID\n"
        "  help: such as: recon explain old.csv new.csv --key ID,PAID VALUE1 VALUE2;"
        " recon diff lists the keys of the rows that differ\n"
    )
    words = ("old.csv", "new.csv", "--key=ID", "--rule=PAID=scale(2, abs=1)")
    one = recon("explain", *words, cwd=pair)
    named = "recon explain old.csv new.csv --key=ID '--rule=PAID=scale(2, abs=1)' VALUE"
    assert f"such as: {named};" in one.stderr


def test_without_hints_none_are_saved(pair: Path) -> None:
    given = ("diff", "old.csv", "old.csv", "--key", "ID", "--save-hints")
    ended = recon(*given, cwd=pair)
    assert ended.returncode == 0
    assert ended.stderr == "no hints to save\n"
    assert not (pair / "recon.toml").exists()


def test_a_person_is_asked_again_for_a_key_that_is_listed() -> None:
    def propose(*columns: str) -> Proposal:
        return Proposal(columns, 0, 0, 3, 1.0, 0, 0)

    keys = [propose("A"), propose("B"), propose("A", "C")]
    with CliRunner().isolation(input="9\nx\n2\n"):
        assert init._ask(keys) == 1
    assert init._is_open(keys)
    # One column is simpler than several.
    assert not init._is_open([keys[0], keys[2]])
    assert init._is_open([keys[2], keys[0]])
    assert not init._is_open(keys[:1])


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("diff", LONG, "new.csv", "-k", "ID"),
        ("diff", f"{LONG}/a.csv", "new.csv", "-k", "ID"),
        ("diff", f"{LONG}*", "new.csv", "-k", "ID"),
        ("diff", f"file:///tmp/{LONG}", "new.csv", "-k", "ID"),
        ("diff", LONG, "new.csv"),
        ("keys", "new.csv", LONG),
        ("explain", "new.csv", LONG, "1", "-k", "ID"),
        ("init", LONG, "new.csv"),
        ("init", "new.csv", "new.csv", "--config", LONG),
        ("demo", "--folder", LONG),
        ("demo", "--folder", "new.csv/x"),
        ("demo", "--folder", "loop"),
        (LONG,),
        (LONG, "new.csv"),
    ],
)
def test_a_path_that_there_cannot_be_is_an_error_of_usage(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "new.csv").write_text("ID,A\n1,2\n")
    (tmp_path / "loop").symlink_to("loop")
    ended = recon(*words, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "USAGE_ERROR" in ended.stderr
    named = words[0] == LONG or any(f"--> {name}" in ended.stderr for name in words)
    assert named or "--> new.csv/x" in ended.stderr or "--> loop" in ended.stderr
    assert "run again" not in ended.stderr
