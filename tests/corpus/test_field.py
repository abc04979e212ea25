"""Files as two systems export them: what a person types, and what has to be said.

Every folder of `field/` has the commands in `cmd`, and in `expect` what a user needs in
the end. The table below holds what is said today, word for word where it matters: a
result, or a refusal that names what is there. A capability that comes later changes its
row here. `must_not`: what was said once, and misleads.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from recon_cli.app import app
from typer.testing import CliRunner


FIELD: Final = Path(__file__).parents[1] / "field"
# What a shell does and a list of arguments does not.
OF_A_SHELL: Final = ("|", "<(", "&&", "mkdir")
SHELL: Final = f'recon() {{ {shlex.quote(sys.executable)} -m recon_cli "$@"; }}\n'


@dataclass(frozen=True)
class Row:
    """What a command of a folder ends with; `at` is its line in `cmd`, from 0."""

    folder: str
    at: int
    exit_code: int
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()


MAP_LINE: Final = (
    "--map CLAIM_ID=claim_id --map MEMBER_ID=member_id --map PAID_AMT=paid_amt "
    "--map SVC_DT=svc_dt"
)
ANOTHER_PROGRAM: Final = "export the file again with a CSV writer"
ONE: Final = "there are 1 columns"

TABLE: Final = (
    Row(
        "01_trailing_delimiter",
        0,
        3,
        (
            "the header has no name in column 4",
            "4 lines were examined; each ends with a delimiter",
            "use --old-trailing-delimiter",
        ),
        ("give every column a unique name",),
    ),
    Row(
        "01_trailing_delimiter",
        1,
        3,
        (
            "a row of 4 fields under a header of 3",
            "3 lines were examined after the header; each ends with a delimiter",
            "use --old-trailing-delimiter",
        ),
        ("is missing",),
    ),
    # A trailer with as many fields as the header is a row, and its count a value.
    Row("02_trailer_record", 0, 1, ("2 of 4 matched rows differ",)),
    Row(
        "02_trailer_record",
        1,
        3,
        ("line 5", "the last line of the file: a trailer record", "--old-trailer"),
        ("is missing",),
    ),
    Row(
        "03_preamble_lines",
        0,
        3,
        (
            (
                "the header is in line 4 of OLD: 2 rows after it fit it; "
                "use --old-skip-lines 3"
            ),
        ),
        (ONE, "--delimiter"),
    ),
    Row(
        "03_preamble_lines",
        1,
        3,
        (
            (
                "the header is in line 3 of OLD: 2 rows after it fit it; "
                "use --old-skip-lines 2"
            ),
        ),
        (ONE,),
    ),
    Row(
        "04_no_header",
        0,
        3,
        (
            "3 of 3 column names of OLD look like data",
            "if the file has no header use --old-no-header",
        ),
        (ONE,),
    ),
    Row("04_no_header", 1, 1, ("column_names_look_like_data", "1 of 2 matched")),
    Row("04_no_header", 2, 0, ("column_names_look_like_data", "AGREE", "2 rows")),
    Row(
        "05_upper_lower_column_names",
        0,
        3,
        (
            'key column CLAIM_ID is not in NEW, which has "claim_id"',
            "--match-names casefold, or " + MAP_LINE,
        ),
        ("does each file start with a header",),
    ),
    Row("05_upper_lower_column_names", 1, 1, ("1 of 3 matched rows differs",)),
    Row("07_money_written_for_people", 0, 1, ("4 of 4 matched rows differ",)),
    Row(
        "07_money_written_for_people",
        1,
        1,
        (
            "4 of 4 matched rows differ",
            "the rule PAID=decimal read 0 of 4 differing values of OLD",
            "rule PAID=decimal: 4 of 4 values of OLD are not read",
        ),
    ),
    Row("09_excel_text_wrapper", 0, 1, ("2 missing, 2 extra",)),
    Row("09_excel_text_wrapper", 1, 1, ("2 of 2 matched rows differ", "NPI")),
    Row(
        "09_excel_text_wrapper",
        2,
        3,
        (
            "a quote inside an unquoted field",
            'the field uses the Excel form of text: ="…"',
            "use --old-excel-text",
        ),
        (ANOTHER_PROGRAM,),
    ),
    Row(
        "10_scientific_notation",
        0,
        1,
        (
            "2 of 3 matched rows differ",
            "the rule AMT=decimal read 0 of 2 differing values of NEW",
        ),
    ),
    Row(
        "10_scientific_notation",
        1,
        1,
        ("3 missing, 3 extra", "no row was compared: 0 rows are matched"),
        ("--key AMT",),
    ),
    Row(
        "11_timestamps_and_zones",
        0,
        2,
        ("USAGE_ERROR", "%H in the format %Y-%m-%d %H:%M:%S"),
        ("INTERNAL_ERROR",),
    ),
    Row(
        "11_timestamps_and_zones",
        1,
        2,
        ("USAGE_ERROR", "%H in the format %Y-%m-%dT%H:%M:%S%z"),
        ("INTERNAL_ERROR",),
    ),
    Row(
        "13_invisible_characters",
        0,
        1,
        (
            "3 of 3 matched rows differ",
            "unicode form",
            "Ko\\u0308ln",
            "invisible",
            "A1\\u200b",
            "Ann\\u00a0Lee",
        ),
        ("\ufffd",),
    ),
    Row("13_invisible_characters", 1, 1, ("3 of 3 matched rows differ",), ("\ufffd",)),
    Row(
        "13_invisible_characters",
        2,
        0,
        ("AGREE", "3 rows", "2 keys are equal by a rule"),
    ),
    Row("20_code_crosswalk", 0, 1, ("4 of 4 matched rows differ", "SEX")),
    Row("23_one_to_many_split", 0, 1, ("2 of 3 matched rows differ, 2 extra",)),
    Row(
        "23_one_to_many_split",
        1,
        1,
        (
            "2 of 3 matched rows differ, 2 extra",
            "1 row of OLD corresponds to 2 of NEW in 2 keys; PAID adds up in 1 of them",
        ),
        ("--key PAID",),
    ),
    Row("25_kinds_of_files", 0, 0, ("AGREE", "3 rows")),
    Row("25_kinds_of_files", 1, 0, ("AGREE", "3 rows")),
    Row(
        "25_kinds_of_files",
        2,
        3,
        ("the file is JSON lines, not CSV", "polars.read_ndjson"),
        ("a quote inside", ANOTHER_PROGRAM),
    ),
    Row("25_kinds_of_files", 3, 0, ("AGREE", "3 rows", "parts joined to one table")),
    Row("25_kinds_of_files", 4, 0, ("AGREE", "3 rows")),
    Row("25_kinds_of_files", 5, 0, ("AGREE", "3 rows")),
    Row(
        "26_pipeline_names",
        1,
        3,
        (
            "UNUSABLE_FILES",
            "2 files, none a data file: claims.txt, claims_NEWSYSTEM.txt",
            ".csv, .csv.gz, .csv.zst, .csv.bz2",
        ),
        ("NO_FILES",),
    ),
    Row(
        "27_subset_of_columns_and_rows", 0, 1, ("1 of 2 matched rows differs, 1 miss",)
    ),
    Row("27_subset_of_columns_and_rows", 1, 1, ("not compared, only in old: NAME",)),
    Row("27_subset_of_columns_and_rows", 2, 2, ("No such option", "--only")),
    Row(
        "27_subset_of_columns_and_rows",
        3,
        1,
        (
            "1 of 2 matched rows differs (1 left out)",
            "old 3 = 2 matched + 0 missing + 1 left out · new 2 = 2 matched + 0 extra",
        ),
    ),
    Row("33_punctuation_in_codes", 0, 1, ("3 missing, 3 extra",)),
    Row("33_punctuation_in_codes", 1, 1, ("3 of 3 matched rows differ",)),
    Row(
        "36_fixed_width",
        0,
        3,
        (
            "OLD has 1 column, and its first 2 lines have 18 bytes each",
            "a fixed-width file",
            "use --old-fixed NAME:FROM-TO",
        ),
        (ONE,),
    ),
    Row("38_result_opened_in_excel", 0, 1, ("1 missing, 1 extra",)),
    Row("38_result_opened_in_excel", 1, 1, ("1 missing, 1 extra",)),
)


@dataclass(frozen=True)
class Ended:
    """The exit code of a command, and all that it printed, on one line."""

    exit_code: int
    said: str


def do(command: str, environment: dict[str, str]) -> Ended:
    """Type a command in this folder."""
    if any(sign in command for sign in OF_A_SHELL):
        ran = subprocess.run(
            [str(shutil.which("bash")), "-c", SHELL + command],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ran.returncode, " ".join((ran.stdout + ran.stderr).split()))
    ended = CliRunner().invoke(app, shlex.split(command)[1:], env=environment)
    return Ended(ended.exit_code, " ".join(ended.output.split()))


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.folder}-{row.at}")
def test_a_delivery_of_the_field_is_answered_honestly(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / row.folder
    shutil.copytree(FIELD / row.folder, here)
    monkeypatch.chdir(here)
    commands = (here / "cmd").read_text().splitlines()
    for before in commands[: row.at]:
        if "mkdir" in before:
            do(before, {})
    ended = do(commands[row.at], {"NO_COLOR": "1", "COLUMNS": "200"})
    assert "Traceback" not in ended.said
    assert ended.exit_code == row.exit_code, ended.said
    for words in row.must:
        assert words in ended.said
    for words in row.must_not:
        assert words not in ended.said


def test_every_command_of_every_folder_has_its_row() -> None:
    rows = {(row.folder, row.at) for row in TABLE}
    commands = {
        (folder.name, at)
        for folder in FIELD.iterdir()
        for at, line in enumerate((folder / "cmd").read_text().splitlines())
        if "recon" in line
    }
    assert rows == commands
    assert len({folder for folder, _ in rows}) == 18


def test_the_map_line_of_a_refusal_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(
        shutil.copytree(FIELD / "05_upper_lower_column_names", tmp_path / "x")
    )
    refused = do("recon diff old.csv new.csv --key CLAIM_ID", {})
    line = refused.said[refused.said.index("--map") :]
    ended = do(f"recon diff old.csv new.csv --key CLAIM_ID {line}", {})
    assert "1 of 3 matched rows differs" in ended.said
