"""`recon init`: two unknown files become settings, under which the truth shows."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import os
import pty
import random
import re
import subprocess
import sys
import tomllib
import zipfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.fault_table import small_disk
from support.program import recon
from support.unknown_pairs import STYLES, compare_with_truth, write_pair

import recon_engine as rx
from recon_engine.analysis.coded_columns import find_coded_columns
from recon_engine.config import LIMITS, Feed, Options
from recon_engine.config_file import load_configuration
from recon_engine.drafts.config_file_text import write_config_text
from recon_engine.drafts.config_text import write_config
from recon_engine.drafts.decision import Draft
from recon_engine.drafts.inputs import open_plain
from recon_engine.drafts.reading_choice import read_first_rows
from recon_engine.drafts.spelling import is_spelling
from recon_engine.drafts.spread_rows import read_spread_rows
from recon_engine.errors import DiskFull
from recon_engine.model import Hint, HintKind
from recon_engine.runtime.progress import SILENT
from recon_engine.toml_text import remove_proposal, set_value


if TYPE_CHECKING:
    from pathlib import Path


def settings(folder: Path) -> Any:
    return tomllib.loads((folder / "recon.toml").read_text())


def found_in(folder: Path, *arguments: str) -> Any:
    ended = recon("diff", "old.csv", "new.csv", *arguments, "-f", "json", cwd=folder)
    assert ended.returncode in {0, 1}, ended.stdout
    return json.loads(ended.stdout)


# Found by campaigns/drafts.py: lines before the header and a trailer; a key in parts
# that matches as many rows as another; settings of a side in two places.
FOUND = (15, 21, 26)
# NEW, and OLD, writes the claims of these as floats.
FLOATS = (2_001, 2_002)


@pytest.mark.parametrize("seed", [*range(len(STYLES)), *FOUND, *FLOATS])
def test_after_init_a_diff_shows_exactly_what_was_planted(
    seed: int, tmp_path: Path
) -> None:
    style, planted = write_pair(tmp_path, seed, 1_500 if seed < len(STYLES) else 200)
    assert compare_with_truth(tmp_path, style, planted) == []
    if style.codes:
        assert '#     STATUS = "map(@STATUS' in (tmp_path / "recon.toml").read_text()
    load_with_proposals(tmp_path / "recon.toml")


PROPOSED = re.compile(r"(?m)^(\s*)#     ")


def load_with_proposals(file: Path) -> int:
    """Load a drafted file with each of its proposals, and with all; their number."""
    lines = file.read_text().splitlines()
    # A proposal is a run of commented lines: a list may take several.
    runs = [
        [*run]
        for proposed, run in itertools.groupby(
            range(len(lines)), lambda at: bool(PROPOSED.match(lines[at]))
        )
        if proposed
    ]
    for some in (*([run] for run in runs), runs):
        at_once = {at for run in some for at in run}
        text = "\n".join(
            PROPOSED.sub(r"\1", line) if at in at_once else line
            for at, line in enumerate(lines)
        )
        active = file.with_name("active.toml")
        active.write_text(text)
        assert text != file.read_text()
        rx.load_config(active)
    return len(runs)


@pytest.mark.parametrize("seed", [0, 7, 3, 4, 1_000, 1_003])
def test_each_proposal_can_be_used_without_its_comment_sign(
    seed: int, tmp_path: Path
) -> None:
    """Files with half of a rule, a code, a filter and another number in each row."""
    write_pair(tmp_path, seed, 300)
    chance = random.Random(seed)
    old, new = [], []
    for at in range(400):
        half = chance.random() < 0.5
        cents = f"{at}.{at % 7}0"
        old.append(
            f"{at},{cents},{at:05},{'AB'[at % 2]},{at * 7},{chance.random()},X\n"
        )
        if at % 10:
            new.append(
                f"{at},{cents[:-1] if half else at + 0.75},"
                f"{at if half else at + 7},{'12'[at % 2]},{-at * 7},{chance.random()},"
                f"{'X ' if half else 'x'}\n"
            )
    old += [f"{at},1.0,00001,C,1,1.0,gone\n" for at in range(1_000, 1_100)]
    head = "ID,HALF,ZERO,CODE,SIGN,NOISE,CASE\n"
    (tmp_path / "a.csv").write_text(head + "".join(old))
    (tmp_path / "b.csv").write_text(head + "".join(new))
    tables: list[list[str]] = [
        [],
        ["--dataset", "claims"],
        ["--config", "pyproject.toml"],
    ]
    for names in (("old.csv", "new.csv"), ("a.csv", "b.csv")):
        more = tables[seed % 3]
        ended = recon("init", *names, "--yes", "--force", *more, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        file = tmp_path / ("pyproject.toml" if "--config" in more else "recon.toml")
        found = load_with_proposals(file)
        assert found > 2 or names[0] == "old.csv"


def test_a_rule_beside_an_active_one_is_proposed_in_its_list(tmp_path: Path) -> None:
    """The settings of one column are one list, in which a proposal can be used."""
    options = Options(keys=("ID",), rules={"A": ("trim",)})
    result = rx.diff(
        pl.DataFrame({"ID": ["1"], "A": ["x"]}),
        pl.DataFrame({"ID": ["1"], "A": ["y"]}),
        keys="ID",
    )
    hints = tuple(
        Hint(HintKind.RULE, "A", f"--rule A={rule}", 1, 2, f"by {rule}")
        for rule in ("casefold", "nfc")
    )
    text = write_config(Draft(options, (), result, hints, (), ()).choices, ())
    file = tmp_path / "recon.toml"
    file.write_text(text)
    assert load_with_proposals(file) == 2
    saved = set_value(
        remove_proposal(text, ("rules",), "A", ["trim", "nfc"]),
        ("rules",), "A", ["trim", "nfc"],
    )  # fmt: skip
    assert tomllib.loads(saved)["rules"]["A"] == ["trim", "nfc"]
    assert "by casefold" in saved
    assert "by nfc" not in saved
    file.write_text(saved)
    assert load_with_proposals(file) == 1


def test_the_decisions_have_evidence_and_the_file_repeats_it(tmp_path: Path) -> None:
    write_pair(tmp_path, 0)
    ended = recon("init", "old.csv", "new.csv", cwd=tmp_path, COLUMNS="200")
    lines = [line.rstrip() for line in ended.stdout.splitlines()]
    assert lines[0].split() == ["decision", "choice", "evidence", "alternatives"]
    assert lines[1].split()[:3] == ["OLD", "delimiter", "';'"]
    assert "12 columns in all 1,500 rows" in lines[1]
    key = next(line for line in lines if line.startswith("key "))
    assert "CLM_ID is unique on both sides, and 99.0% of the rows match by it" in key
    # Its rule is a row of its own, and no column has two rows of one label.
    [rule] = (line for line in lines if line.startswith("rule CLM_ID "))
    assert re.search("lstrip0 +[\\d,]+ keys are equal by a rule only$", rule)
    text = (tmp_path / "recon.toml").read_text()
    assert "# CLM_ID is unique on both sides" in text
    assert settings(tmp_path)["rules"]["CLM_ID"] == "lstrip0"
    assert ended.stderr.endswith("next: recon diff old.csv new.csv\n")


def test_only_what_nearly_all_cells_agree_with_is_active(tmp_path: Path) -> None:
    """A rule that explains half of a column, and a tolerance, are comments."""
    old = [f"{at},{at}.50,{at}.004\n" for at in range(100)]
    new = [
        f"{at},{at}.5{'0' if at % 2 else ''},{at}.00\n"
        if at % 10
        else f"{at},{at}.75,{at}.00\n"
        for at in range(100)
    ]
    (tmp_path / "old.csv").write_text("ID,A,B\n" + "".join(old))
    (tmp_path / "new.csv").write_text("ID,A,B\n" + "".join(new))
    recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    text = (tmp_path / "recon.toml").read_text()
    assert not settings(tmp_path).get("rules")
    assert '#     A = "decimal"' in text
    assert '#     B = "decimal(abs=' in text
    assert found_in(tmp_path)["counts"]["mismatched_cells"] == 150


def test_numbers_of_one_side_in_another_notation_are_active(tmp_path: Path) -> None:
    """A column that is renamed and has a decimal comma in OLD only."""
    cents = [100 * at + at % 97 for at in range(200)]
    old = "".join(f"{at};1.{each // 100:03},{each % 100:02}\n" for at, each in
                  enumerate(cents))  # fmt: skip
    new = "".join(f"{at},1{each // 100:03}.{each % 100:02}\n" for at, each in
                  enumerate(cents))  # fmt: skip
    (tmp_path / "old.csv").write_text("ID;BETRAG\n" + old)
    (tmp_path / "new.csv").write_text("ID,PAID\n" + new.replace("1042.42", "1042.43"))
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert settings(tmp_path)["map"] == {"BETRAG": "PAID"}
    assert "files, except the pairs of [map]:" in (tmp_path / "recon.toml").read_text()
    assert settings(tmp_path)["old"]["rules"] == {"BETRAG": "decimal(comma)"}
    assert "explains 199 of 200 differing cells" in " ".join(ended.stdout.split())
    assert found_in(tmp_path)["counts"]["mismatched_cells"] == 1


@pytest.mark.parametrize(
    ("rule", "spelling"),
    [
        ("trim", True),
        ("decimal", True),
        ("date(%Y%m%d|%Y-%m-%d)", True),
        ("decimal(abs=0.01)", False),
        ("date(%Y%m%d|%Y-%m-%d,within=1d)", False),
        ("map(@codes.csv)", False),
        ("decimal(comma,exp)", True),
        ("decimal(money=$)", False),
        ("decimal(trailing)", False),
        ("decimal(percent)", False),
        ("scale(2)", False),
        ("strip(-)", False),
    ],
)
def test_spelling_is_the_same_value(rule: str, *, spelling: bool) -> None:
    assert is_spelling(rule) is spelling


def test_yes_and_no_in_their_usual_sense_are_active(tmp_path: Path) -> None:
    """SWAPPED has the same words for the opposite, which is no spelling."""
    rows = [(at, at % 3 == 0) for at in range(90)]
    old = "".join(f"{at},{'NY'[yes]},{'NY'[yes]}\n" for at, yes in rows)
    new = "".join(f"{at},{str(yes).lower()},{int(not yes)}\n" for at, yes in rows)
    (tmp_path / "old.csv").write_text("ID,ACTIVE,SWAPPED\n" + old)
    (tmp_path / "new.csv").write_text("ID,ACTIVE,SWAPPED\n" + new)
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["rules"] == {"ACTIVE": "boolean"}
    assert found_in(tmp_path)["counts"]["mismatched_cells"] == 90


def test_a_filter_of_rows_that_one_file_has_is_a_comment_with_its_count(
    tmp_path: Path,
) -> None:
    rows = [f"{at},M{at},{'it' if at % 5 else chr(39)}\n" for at in range(500)]
    kept = [row for row in rows if not row.endswith("'\n")]
    (tmp_path / "old.csv").write_text("ID,M,PLAN X\n" + "".join(rows))
    (tmp_path / "new.csv").write_text("ID,M,PLAN X\n" + "".join(kept))
    recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    text = (tmp_path / "recon.toml").read_text()
    assert "# 100 missing rows, 100% of them, have one value of PLAN X (20.0%" in text
    assert found_in(tmp_path)["counts"]["missing"] == 100
    lines = text.partition("(20.0% of all rows)\n")[2].splitlines()
    active = "\n".join(line.removeprefix("#     ") for line in lines)
    (tmp_path / "recon.toml").write_text(f'keys = "ID"\n{active}\n')
    assert found_in(tmp_path)["counts"]["missing"] == 0


def test_a_date_whose_order_is_ambiguous_stays_a_comment(tmp_path: Path) -> None:
    days = [(1 + at % 12, 1 + at % 12) for at in range(100)]
    for name, form in (("old", "{0:02}/{1:02}/2025"), ("new", "2025-{0:02}-{1:02}")):
        rows = (f"{at},{form.format(*day)}\n" for at, day in enumerate(days))
        (tmp_path / f"{name}.csv").write_text("ID,DT\n" + "".join(rows))
    recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert not settings(tmp_path).get("rules")
    assert "date(" in (tmp_path / "recon.toml").read_text()


def test_a_file_that_exists_is_shown_as_a_difference_and_kept(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, rows=200)
    (tmp_path / "recon.toml").write_text("keys = 'X'\n")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 2
    assert "-keys = 'X'\n" in ended.stdout
    assert '+keys = ["CLM_ID"]\n' in ended.stdout
    assert "add --force to replace it" in ended.stderr
    # Said before the files are read, which may take long.
    assert ended.stderr.startswith(
        "recon.toml exists: it is kept, and what would change"
    )
    (tmp_path / "none.csv").unlink(missing_ok=True)
    gone = recon("init", "old.csv", "none.csv", "--yes", cwd=tmp_path)
    assert gone.stderr.startswith("recon.toml exists: it is kept")
    assert settings(tmp_path) == {"keys": "X"}
    ended = recon("init", "old.csv", "new.csv", "--yes", "--force", cwd=tmp_path)
    assert ended.returncode == 0
    assert settings(tmp_path)["keys"] == ["CLM_ID"]
    assert "removed" not in ended.stderr
    # What a person has added is named before it is lost.
    text = (tmp_path / "recon.toml").read_text()
    own = 'ignore = "UNITS"\n' + text + "\n[masks]\n"
    (tmp_path / "recon.toml").write_text(own + 'NAME = "redact"\n')
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "these settings are in no draft: ignore, masks.NAME\n" in ended.stderr
    ended = recon("init", "old.csv", "new.csv", "--yes", "--force", cwd=tmp_path)
    assert "the draft does not have them: ignore, masks.NAME\n" in ended.stderr


def test_a_file_that_cannot_be_edited_is_kept_and_named(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, rows=200)
    file = tmp_path / "recon.toml"
    for broken, words in ((b"keys = '\xe4'\n", "not UTF-8"), (b"keys =\n", "not TOML")):
        file.write_bytes(broken)
        ended = recon(
            "init", "old.csv", "new.csv", "--yes", "--dataset=a", cwd=tmp_path
        )
        assert (ended.returncode, words in ended.stderr) == (2, True)
        assert file.read_bytes() == broken


def test_a_file_that_cannot_be_written_whole_is_kept() -> None:
    with small_disk("4k") as folder:
        file = folder / "recon.toml"
        file.write_text("keys = 'X'\n")
        with pytest.raises(DiskFull):
            write_config_text(file, "# " + 10_000 * "x")
        assert file.read_text() == "keys = 'X'\n"
        assert [each.name for each in folder.iterdir()] == ["recon.toml"]


def test_a_dataset_is_added_beside_others(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, rows=200)
    before = "# mine\non_bad_row = 'fail'\n\n[dataset.members]\nkeys = 'M'\n"
    (tmp_path / "recon.toml").write_text(before)
    command = ("init", "old.csv", "new.csv", "--yes", "--dataset", "claims")
    assert recon(*command, cwd=tmp_path).returncode == 0
    text = (tmp_path / "recon.toml").read_text()
    assert text.startswith(before)
    assert settings(tmp_path)["dataset"]["claims"]["keys"] == ["CLM_ID"]
    located = text.replace('#     inbound_s3 = "inbound"', 'inbound_s3 = "inbound"')
    found = tomllib.loads(located)["dataset"]["claims"]
    assert found["inbound_s3"] == "inbound"
    again = recon(*command, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, again.stdout)
    assert (tmp_path / "recon.toml").read_text() == text
    found = found_in(tmp_path, "--dataset", "claims")
    assert found["keys"] == ["CLM_ID"]
    changed = text.replace('["CLM_ID"]', '["NAME"]')
    (tmp_path / "recon.toml").write_text(changed)
    refused = recon(*command, cwd=tmp_path)
    assert refused.returncode == 2
    assert "add --force to replace the settings of claims" in refused.stderr
    assert recon(*command, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "recon.toml").read_text() == text


def write_few(folder: Path) -> None:
    for name, point in (("old", ".0"), ("new", "")):
        rows = "".join(f"{at},{at}{point},a{at}\n" for at in range(100, 160))
        (folder / f"{name}.csv").write_text(f"ID,PAID,N\n{rows}")


@pytest.mark.parametrize("name", ["recon.toml", "pyproject.toml"])
def test_a_drafted_dataset_is_read_as_drafted_whatever_the_top_sets(
    tmp_path: Path, name: str
) -> None:
    write_few(tmp_path)
    root = "tool.recon." if name == "pyproject.toml" else ""
    top = (
        'delimiter = ";"\nskip_lines = 1\ntrailer = ["TRL"]\ngates = ["matched>=1"]\n'
        f'match_names = "casefold"\non_bad_row = "quarantine"\n[{root}old]\n'
        f'skip_lines = 3\nquote = "none"\n[{root}dataset.members]\nkeys = ["M"]\n'
    )
    head = f"[{root.removesuffix('.')}]\n" if root else ""
    (tmp_path / name).write_text(head + top)
    command = ("init", "old.csv", "new.csv", "--yes", "--dataset=two", "--config", name)
    ended = recon(*command, cwd=tmp_path)
    assert "AGREE: 60 rows" in ended.stdout, ended.stderr
    found = recon("diff", "old.csv", "new.csv", "--dataset", "two", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    text = (tmp_path / name).read_text()
    assert text.startswith(head + top)
    # What it sets is what the top has otherwise, and in one order.
    assert recon(*command, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / name).read_text() == text
    drafted = load_configuration(tmp_path / name, "two").settings
    assert (drafted["delimiter"], drafted["skip_lines"]) == (",", 0)
    assert (drafted["trailer"], drafted["on_bad_row"]) == ((), "quarantine")


@pytest.mark.parametrize(
    ("top", "named"),
    [
        ('ignore = ["PAID"]', "ignore"),
        ("where = \"ID > '0'\"", "where"),
        ('comment_prefix = "#"', "comment_prefix"),
        ('[old.rules]\n" A " = "trim"\n"*" = "trim"', 'old.rules.A, old.rules."*"'),
        ('[rules]\nPAID = "decimal"', ""),
        ('delimiter = ","\nignore = []', ""),
    ],
)
def test_what_the_top_changes_of_a_drafted_dataset_is_named(
    tmp_path: Path, top: str, named: str
) -> None:
    write_few(tmp_path)
    before = f"{top}\n[dataset.members]\n"
    (tmp_path / "recon.toml").write_text(before)
    command = ("init", "old.csv", "new.csv", "--yes", "--dataset", "two")
    ended = recon(*command, cwd=tmp_path)
    if not named:
        assert ended.returncode == 0, ended.stderr
        return
    assert ended.returncode == 2
    assert f"the top of the file sets {named}, which" in ended.stderr
    assert (tmp_path / "recon.toml").read_text() == before


def test_the_next_command_names_the_file_unless_it_is_found(tmp_path: Path) -> None:
    write_few(tmp_path)
    command = ("init", "old.csv", "new.csv", "--yes", "--force", "--config")
    found = "next: recon diff old.csv new.csv"
    for name, variable, named in (
        ("pyproject.toml", {}, False),
        ("recon.toml", {}, False),
        ("pyproject.toml", {}, True),
        ("recon.toml", {"RECON_CONFIG": "other.toml"}, True),
        ("other.toml", {}, True),
    ):
        ended = recon(*command, name, cwd=tmp_path, **variable)
        line = f"{found} --config {name}\n" if named else f"{found}\n"
        assert ended.stderr.endswith(line), (name, variable, ended.stderr)


def test_the_table_of_pyproject_is_written_beside_others(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, rows=200)
    before = '[project]\nname = "x"\n'
    file = tmp_path / "pyproject.toml"
    file.write_text(before)
    command = ("init", "old.csv", "new.csv", "--yes", "--config", "pyproject.toml")
    drafted = recon(*command, cwd=tmp_path)
    assert (drafted.returncode, file.read_text().startswith(before)) == (0, True)
    assert drafted.stderr.endswith("next: recon diff old.csv new.csv\n")
    assert tomllib.loads(file.read_text())["tool"]["recon"]["keys"] == ["CLM_ID"]
    assert found_in(tmp_path)["keys"] == ["CLM_ID"]
    text = file.read_text()
    file.write_text(text.replace('["CLM_ID"]', '["NAME"]') + "\n[tool.x]\na = 1\n")
    refused = recon(*command, cwd=tmp_path)
    assert "add --force to replace the settings of [tool.recon]" in refused.stderr
    assert recon(*command, "--force", cwd=tmp_path).returncode == 0
    assert tomllib.loads(file.read_text())["tool"] == {
        "x": {"a": 1},
        "recon": tomllib.loads(text)["tool"]["recon"],
    }


def test_a_larger_ratio_is_taken_and_written(tmp_path: Path) -> None:
    for name, paid in (("old.csv.gz", 1), ("new.csv.gz", 2)):
        rows = "".join(f"{at},{paid},{'x' * 20_000}\n" for at in range(900))
        text = gzip.compress(f"ID,PAID,NOTE\n{rows}".encode(), 1)
        (tmp_path / name).write_bytes(text)
    files = ("old.csv.gz", "new.csv.gz")
    refused = recon("init", *files, "--yes", cwd=tmp_path)
    assert "raise --max-ratio" in refused.stderr
    taken = recon("init", *files, "--yes", "--max-ratio", "5000", cwd=tmp_path)
    assert taken.returncode == 0
    assert settings(tmp_path)["max_ratio"] == 5000
    # All that follows takes it from the file.
    assert recon("diff", *files, cwd=tmp_path).returncode == 1
    assert recon("keys", *files, cwd=tmp_path).returncode == 0
    assert recon("explain", *files, "1", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("rows", [30, 60_000])
@pytest.mark.parametrize(
    ("option", "value", "note"),
    [
        ("--max-field-lines", "300", "line\n" * 150),
        ("--max-field-bytes", "3000000", "x" * (1 << 20 | 1)),
    ],
)
def test_longer_fields_are_taken_and_the_limit_is_written(
    tmp_path: Path, option: str, value: str, note: str, rows: int
) -> None:
    for name, last in (("old.csv", "a"), ("new.csv", "b")):
        texts = (note if at == 7 else f"{at}{last * (at == 3)}" for at in range(rows))
        lines = (f'{at},"{text}"\n' for at, text in enumerate(texts))
        (tmp_path / name).write_text("ID,NOTE\n" + "".join(lines))
    files = ("old.csv", "new.csv")
    refused = recon("init", *files, "--yes", cwd=tmp_path)
    assert refused.returncode == 3
    assert "a field of more than" in refused.stderr
    taken = recon("init", *files, "--yes", option, value, cwd=tmp_path)
    assert taken.returncode == 0, taken.stderr
    assert settings(tmp_path)["keys"] == ["ID"]
    assert settings(tmp_path)[option[2:].replace("-", "_")] == int(value)
    assert recon("diff", *files, cwd=tmp_path).returncode == 1


def test_a_table_is_replaced_however_its_header_is_written(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, rows=200)
    file = tmp_path / "recon.toml"
    command = ("init", "old.csv", "new.csv", "--yes", "--force", "--dataset", "a")
    other = "# of b\n[dataset.b]\nkeys = 'M'\n"
    for head in ("[dataset.a]", "[ dataset.'a' ]  # first"):
        file.write_text(f"{head}\nkeys = [\n  'NAME', ] # x\n\n{other}")
        assert recon(*command, cwd=tmp_path).returncode == 0
        text = file.read_text()
        assert text.startswith(other)
        assert text.count("keys = ") == len(settings(tmp_path)["dataset"])
    before = "dataset.a.keys = 'NAME'\n"
    file.write_text(before)
    refused = recon(*command, cwd=tmp_path)
    assert "the file cannot be edited automatically" in refused.stderr
    assert refused.returncode == 2
    assert file.read_text() == before


@pytest.mark.parametrize(
    "comments",
    ["# of b\n", "# 1\n#2\n", "\n# 1\n\n# of b\n", "  # 1\n", "\n#     x = 1\n"],
)
def test_comments_above_the_table_behind_a_replaced_one_stay(
    tmp_path: Path, comments: str
) -> None:
    (tmp_path / "old.csv").write_text("ID,A\n" + "".join(f"{n},x\n" for n in range(9)))
    file = tmp_path / "recon.toml"
    other = "[dataset.b]\nkeys = 'M'\n"
    gone = "# of a\nkeys = 'A'\n# why\n#     ignore = ['A']\n"
    file.write_text(f"[dataset.a]\n{gone}{comments}{other}")
    command = ("init", "old.csv", "old.csv", "--yes", "--force", "--dataset", "a")
    assert recon(*command, cwd=tmp_path).returncode == 0
    text = file.read_text()
    assert text.startswith(f"{comments.removeprefix(chr(10))}{other}\n[dataset.a]\n")
    assert not {"# of a", "# why"} & {*text.splitlines()}
    # Nothing of a draft is added to what is there by drafting again.
    assert recon(*command, cwd=tmp_path).returncode == 0
    assert file.read_text() == text


def test_what_is_drafted_is_loaded_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every kind of setting: a frame, a derived key, renames, rules of a side."""
    _, planted = write_pair(tmp_path, 2, rows=300)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rx.ReconError, match=r"no recon\.toml"):
        rx.load_config()
    recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    by_name = rx.diff("old.csv", "new.csv", **rx.load_config())
    assert by_name.counts.mismatched_cells == len(planted.cells)
    text = (tmp_path / "recon.toml").read_text()
    (tmp_path / "all.toml").write_text(
        f'inbound_s3 = "in"\non_bad_row = "quarantine"\n{text}'
    )
    found = rx.load_config("all.toml")
    assert found["on_bad_row"] == "quarantine"
    assert "inbound_s3" not in found
    assert rx.diff("old.csv", "new.csv", **found).counts == by_name.counts


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        (b"", b"ID\n1\n", 3, "OLD is empty"),
        (b"ID\n1\n", bytes(range(256)) * 4, 3, "NEW is no text"),
        (b"ID,A\n1,2\n3\n", b"ID,A\n1,2\n", 3, "a row of 1 field under a header of 2"),
        (b"ID,A\n1,x\n", b"KEY,B\n7,y\n", 2, "no key was found"),
        (b"ID,A\n1,x\n", b"ID,A\n7,y\n", 2, "no key was found"),
        (
            b"1001M0100010.00\n1002M0200020.00\n",
            b"ID,A\n1,x\n",
            2,
            "OLD has no delimiter, and its lines have 15 characters each",
        ),
        (b"ID\n", b"ID\n", 2, "no key was found"),
        (b"\x89PNG\r\n\x1a\n\0\0", b"ID\n1\n", 3, "OLD is no text"),
    ],
)
def test_files_that_cannot_be_compared_say_which_decision_failed(
    old: bytes, new: bytes, code: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").write_bytes(old)
    (tmp_path / "new.csv").write_bytes(new)
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert "help:" in ended.stderr
    assert not (tmp_path / "recon.toml").exists()


def test_a_fault_after_the_sample_is_found_by_reading_all_rows(tmp_path: Path) -> None:
    rows = "".join(f"{at};text {at}\n" for at in range(120_000))
    late = rows.replace("text 119999", "M\u00fcller")
    (tmp_path / "old.csv").write_bytes(("ID;T\n" + late).encode("cp1252"))
    with gzip.open(tmp_path / "new.csv.gz", "wb") as file:
        file.write(("ID;T\n" + late).encode())
    ended = recon("init", "old.csv", "new.csv.gz", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["encoding"] == "cp1252:utf-8"
    assert "AGREE: 120,000 rows" in ended.stdout


@pytest.mark.parametrize(("suffix", "packed"), [("bz2", bz2), ("xz", lzma)])
def test_packed_files_are_read_as_their_text(
    tmp_path: Path, suffix: str, packed: Any
) -> None:
    text = "".join(f"{at};M{at:02}\n" for at in range(60)).encode()
    (tmp_path / f"old.csv.{suffix}").write_bytes(packed.compress(b"ID;M\n" + text))
    (tmp_path / "new.csv").write_bytes(b"ID;M\n" + text)
    ended = recon("init", f"old.csv.{suffix}", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["delimiter"] == ";"
    assert "AGREE: 60 rows" in ended.stdout


@pytest.mark.parametrize("suffix", ["zip", "parquet", "arrow"])
def test_archives_and_tables_are_drafted_as_their_rows(
    tmp_path: Path, suffix: str
) -> None:
    rows = {"ID": [*range(60)], "M": [f"M{at:02}" for at in range(60)]}
    table, source = pl.DataFrame(rows), tmp_path / f"old.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("old.csv", table.write_csv(separator=";"))
    elif suffix == "parquet":
        table.write_parquet(source)
    else:
        table.write_ipc(source)
    (tmp_path / "new.csv").write_text(
        table.rename({"M": "MEMBER"}).write_csv(separator=";")
    )
    ended = recon("init", source.name, "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["map"] == {"M": "MEMBER"}
    assert "AGREE: 60 rows" in ended.stdout
    assert ("OLD format" in ended.stdout) is (suffix != "zip")
    assert recon("diff", source.name, "new.csv", "-q", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("old.csv.gz", b"ID\n1\n", "old.csv.gz"),
        ("old.zip", b"no archive", "the zip archive is corrupt or truncated"),
        ("old.parquet", b"no table", "the parquet file cannot be read"),
        ("missing.csv", None, "there is no such file"),
        ("folder", None, "it is a folder"),
    ],
)
def test_an_input_that_cannot_be_opened_is_named(
    name: str, data: bytes | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "new.csv").write_text("ID\n1\n")
    if data is not None:
        (tmp_path / name).write_bytes(data)
    ended = recon("init", name, "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode in {2, 3}
    assert message in ended.stderr
    assert f"--> {name}" in ended.stderr


@pytest.mark.parametrize(
    ("old", "rule"),
    [
        ("'0{at:04}", ["unwrap", "lstrip0"]),
        ("9-{at:04}", "strip(-./ )"),
        (" a{at:04}", ["trim", "casefold"]),
    ],
)
def test_a_key_is_found_in_another_spelling(
    old: str, rule: str | list[str], tmp_path: Path
) -> None:
    forms = {"unwrap": "{at}", "strip(-./ )": "9{at:04}", "trim": "A{at:04}"}
    new = forms[rule if isinstance(rule, str) else rule[0]]
    for name, form in (("old", old), ("new", new)):
        rows = (f"{form.format(at=at + 1000)},{at * at}.00\n" for at in range(90))
        (tmp_path / f"{name}.csv").write_text("ID,PAID\n" + "".join(rows))
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "AGREE: 90 rows" in ended.stdout, ended.stdout + ended.stderr
    assert settings(tmp_path)["rules"] == {"ID": rule}


@pytest.mark.parametrize(
    ("written", "setting"),
    [('="0{at}"', {"excel_text": True}), ('{at}" pipe', {"quote": "none"})],
)
def test_quotes_that_are_not_those_of_csv(
    written: str, setting: dict[str, object], tmp_path: Path
) -> None:
    bare = written.removeprefix('="').removesuffix('"').replace('"', '""')
    for name, form in (("old", written), ("new", f'"{bare}"')):
        rows = (f"{at},{form.format(at=at)}\n" for at in range(60))
        (tmp_path / f"{name}.csv").write_text("ID,SIZE\n" + "".join(rows))
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "AGREE: 60 rows" in ended.stdout, ended.stdout + ended.stderr
    assert settings(tmp_path)["old"] == setting
    assert "OLD quotes" in ended.stdout


def test_a_record_at_the_end_that_is_as_wide_as_a_row_is_a_trailer(
    tmp_path: Path,
) -> None:
    rows = "".join(f"{at},M{at},{at}.00\n" for at in range(1001, 1051))
    for name, end in (("old", "TRL,50,1.00\n"), ("new", "SMITH,50,1.00\n")):
        (tmp_path / f"{name}.csv").write_text("ID,M,PAID\n" + rows + end)
    recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert settings(tmp_path)["old"] == {"trailer": ["TRL"], "trailer_count": ["2"]}
    assert "new" not in settings(tmp_path)
    assert found_in(tmp_path)["counts"]["extra"] == 1


@pytest.mark.parametrize(
    ("end", "mark"),
    [("zwil", "zwil"), ("SUM,7", "SUM"), ("SUM,{rows}", None), ("trl", None)],
)
@pytest.mark.parametrize("rows", [40, 60_000])
def test_a_last_record_that_may_be_a_row_that_was_cut_is_uncertain(
    tmp_path: Path, rows: int, end: str, mark: str | None
) -> None:
    """Of many rows, the last record is found by reading the whole file."""
    lines = "".join(f"username{at},{at % 90}.50,1\n" for at in range(7, rows + 7))
    table = "NAME,PAID,NOTE\n" + lines
    end = end.format(rows=rows)
    (tmp_path / "old.csv").write_text(table)
    (tmp_path / "new.csv").write_text(table + end)
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    said = "uncertain: the last record is no row, or a row that was cut"
    shown = " ".join(ended.stdout.split())
    assert ("uncertain" in shown) is (mark is not None), shown
    text = (tmp_path / "recon.toml").read_text()
    assert (f"# NEW trailer: {mark}, {said}" in text) is (mark is not None)
    assert settings(tmp_path)["new"]["trailer"] == [end.partition(",")[0]]


@pytest.mark.parametrize(
    ("end", "setting"),
    [
        ("TRL,{rows},1.00", "2"),
        ("TRL,0001,{rows:09}", "3"),
        # It is unknown which field is the count, and that of another file is none.
        ("TRL,{rows},{rows}", None),
        ("TRL,{more},1.00", None),
        ("TRL,{rows}.5,x", None),
    ],
)
def test_a_trailer_that_says_the_number_of_rows_is_checked_from_then_on(
    tmp_path: Path, end: str, setting: str | None
) -> None:
    counts = {"old": 50, "new": 49}
    for name, count in counts.items():
        rows = "".join(f"{1000 + at},M{at},{at}.00\n" for at in range(count))
        last = end.format(rows=count, more=count + 1)
        (tmp_path / f"{name}.csv").write_text(f"ID,M,PAID\n{rows}{last}\n")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert settings(tmp_path)["trailer"] == ["TRL"]
    assert settings(tmp_path).get("trailer_count") == (setting and [setting])
    assert ("OLD trailer count" in ended.stdout) is (setting is not None)
    text = (tmp_path / "recon.toml").read_text()
    said = f"# NEW trailer count: field {setting}, it says 49, the number of all rows"
    assert (said in text) is (setting is not None)
    assert found_in(tmp_path)["counts"]["missing"] == 1
    cut = (tmp_path / "new.csv").read_text().replace("1001,M1,1.00\n", "")
    (tmp_path / "new.csv").write_text(cut)
    ended = recon("diff", "old.csv", "new.csv", cwd=tmp_path)
    assert ("the file has 48" in ended.stderr) is (setting is not None)


def test_the_draft_of_a_dataset_names_what_a_daily_run_needs(tmp_path: Path) -> None:
    """Each as a comment; without the comment signs the file has these settings."""
    for name in ("old", "new"):
        rows = "".join(f"{1000 + at},{at}.00\n" for at in range(50))
        (tmp_path / f"{name}.csv").write_text(f"ID,PAID\n{rows}")
    words = ("--dataset", "claims", "--yes")
    ended = recon("init", "old.csv", "new.csv", *words, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    path = tmp_path / "recon.toml"
    text = path.read_text()
    path.write_text(text.replace("#     ", ""))
    found = load_configuration(path, "claims").settings
    assert found["feed"] == Feed.FULL
    assert found["fail_on_no_files"] is True
    assert len(found["gates"]) == 4


def test_a_file_without_a_header_gets_the_names_of_the_other(tmp_path: Path) -> None:
    rows = [f"{1000 + at},M{at:02},{at}.00" for at in range(60)]
    (tmp_path / "old.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "new.csv").write_text("ID,M,PAID\n" + "\n".join(rows) + "\n")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["old"] == {
        "no_header": True,
        "names": ["ID", "M", "PAID"],
    }
    assert "AGREE: 60 rows" in ended.stdout


def test_the_first_row_of_a_quoted_file_without_a_header_is_a_row(
    tmp_path: Path,
) -> None:
    rows = [f'"{1000 + at}","M{at:03}","{at / 2:.2f}"' for at in range(60)]
    (tmp_path / "old.csv").write_text("\n".join(rows) + "\n")
    rows[0] = rows[0].replace("M000", "M777")
    (tmp_path / "new.csv").write_text("\n".join(rows) + "\n")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert re.search("OLD header +none", ended.stdout), ended.stdout + ended.stderr
    assert "DIFFER: 1 of 60 matched rows differs" in ended.stdout


@pytest.mark.parametrize("form", ['"{}"', '="{}"', '"{}\n"', '"{};\n"'])
def test_a_delimiter_at_the_end_of_each_quoted_record_is_found(
    form: str, tmp_path: Path
) -> None:
    for name, other in (("old", "Ann 0"), ("new", "Bob")):
        texts = [(other, at) if at == 0 else (f"Ann {at}", at) for at in range(60)]
        rows = (f'"{1000 + at}";{form.format(text)};\n' for text, at in texts)
        (tmp_path / f"{name}.csv").write_text('"ID";"NAME";\n' + "".join(rows))
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "DIFFER: 1 of 60 matched rows" in ended.stdout, ended.stdout + ended.stderr
    assert found_in(tmp_path)["counts"]["mismatched_rows"] == 1


def test_a_sample_is_a_number_or_all(tmp_path: Path) -> None:
    write_pair(tmp_path, 3, rows=300)
    texts = []
    for sample in ("all", "50"):
        command = ("init", "old.csv", "new.csv", "--yes", "--force", "--sample", sample)
        assert recon(*command, cwd=tmp_path).returncode == 0
        texts.append(settings(tmp_path))
    assert texts[0] == texts[1]
    wrong = recon("init", "old.csv", "new.csv", "--sample", "some", cwd=tmp_path)
    assert "--sample some: not a number of rows" in wrong.stderr


def answer_on_terminal(folder: Path, answer: bytes) -> tuple[int, bytes]:
    """Draft of two close keys, with an answer to the question; exit code and output."""
    rows = "".join(f"{at},{at + 5000},x\n" for at in range(200))
    for name in ("old.csv", "new.csv"):
        (folder / name).write_text("ID,NR,A\n" + rows)
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    with subprocess.Popen(
        [sys.executable, "-m", "recon_cli", "init", "old.csv", "new.csv"],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while part := os.read(ours, 1 << 16):
                shown += part
        os.close(ours)
        assert process.stderr
        said = process.stderr.read()
        return process.wait(), shown + said


def test_a_question_without_an_answer_is_a_usage_error(tmp_path: Path) -> None:
    code, shown = answer_on_terminal(tmp_path, b"\x04")
    assert code == 2
    assert b"no key was chosen" in shown
    assert not (tmp_path / "recon.toml").exists()


def test_a_terminal_asks_which_of_two_close_keys_it_is(tmp_path: Path) -> None:
    code, shown = answer_on_terminal(tmp_path, b"2\n")
    assert code == 0
    assert b"  2. NR: NR is unique on both sides" in shown
    assert settings(tmp_path)["keys"] == ["NR"]
    assert recon(
        "init", "old.csv", "new.csv", "--yes", "--force", cwd=tmp_path
    ).stdout.count("ID is unique")
    assert settings(tmp_path)["keys"] == ["ID"]


# How the whole key is written from a state of two letters and a number, the parts on
# the other side, and what derives them from what.
JOINED = {
    "constant lengths": ("{0}{1:05}", "{0}", "{1:05}", "slice"),
    "padded in one file": ("{0}{1:05}", "{0}", "{1}", "slice"),
    "another case": ("{0}{1:05}", "{2}", "{1:05}", "slice"),
    "digits of any length": ("{0}{1}", "{0}", "{1}", "slice"),
    "behind": ("{1:05}{0}", "{0}", "{1:05}", "slice"),
    "any length behind": ("{1}{0}", "{0}", "{1}", "join"),
}


@pytest.mark.parametrize("whole", ["old", "new"])
@pytest.mark.parametrize("form", JOINED)
def test_a_key_is_found_that_one_file_joins_without_a_separator(
    form: str, whole: str, tmp_path: Path
) -> None:
    joined, state, number, function = JOINED[form]
    rows = [
        (code, at * 97 % 8000 + 1, code.lower())
        for at in range(300)
        for code in ("TX", "NY")
    ]
    parts = "old" if whole == "new" else "new"
    kept = rows[5:]
    (tmp_path / f"{whole}.csv").write_text(
        "CLAIM,PAID\n"
        + "".join(f"{joined.format(*row)},{row[1] * 3}.50\n" for row in rows)
    )
    (tmp_path / f"{parts}.csv").write_text(
        "NUM,STATE,PAID\n"
        + "".join(
            f"{number.format(*row)},{state.format(*row)},{row[1] * 3}.50\n"
            for row in kept
        )
    )
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    derived = settings(tmp_path)[whole if function == "slice" else parts]["derive"]
    assert function in str(derived)
    counts = found_in(tmp_path)["counts"]
    assert counts["matched"] == 595
    assert counts["missing"] + counts["extra"] == 5
    assert counts["mismatched_cells"] == 0


@pytest.mark.parametrize("rows", [30_000, 41_000, 60_000, 110_000, 200_000])
@pytest.mark.parametrize("longest", [18, 58])
def test_the_rows_of_a_sample_do_not_repeat(
    longest: int, rows: int, tmp_path: Path
) -> None:
    """Blocks of a file of any size have no row in common, however long rows are."""
    paths = [tmp_path / f"{name}.csv" for name in ("old", "new")]
    chance = random.Random(rows)
    notes = ["x" * length for length in range(18, longest + 1)]
    for path in paths:
        # `randint` for each row takes longer than what is tested.
        drawn = chance.choices(notes, k=rows)
        lines = (f"{at},{at % 97},{note}\n" for at, note in enumerate(drawn))
        path.write_text("ID,CODE,NOTE\n" + "".join(lines))
    stack, limits = ExitStack(), LIMITS
    inputs = [open_plain(str(path), "old", limits, stack, SILENT) for path in paths]
    readings = [*map(read_first_rows, inputs, ("old", "new"), (limits, limits))]
    read = read_spread_rows(paths, readings, 20_000)
    assert read is not None
    for frame in read[0]:
        assert frame.height > 15_000
        assert frame["c0"].n_unique() == frame.height


@pytest.mark.parametrize("whole", ["old", "new"])
@pytest.mark.parametrize("name", ["CLAIM", "claim"])
@pytest.mark.parametrize(
    ("form", "first"), [("{0}-{1}", "{0}"), ("{0:06}/{1:02}", "{0:06}"), ("{1}{0}", "")]
)
def test_a_joined_key_is_found_that_has_the_name_of_its_part(
    form: str, first: str, name: str, whole: str, tmp_path: Path
) -> None:
    """Both files have a column CLAIM; in one of them it also has the line."""
    lines = "ABC" if not first else (1, 2, 3)
    rows = [(at * 97 % 8000 + 1000, line) for at in range(200) for line in lines]
    parts = "old" if whole == "new" else "new"
    line_form = "{1:02}" if "/" in form else "{1}"
    (tmp_path / f"{whole}.csv").write_text(
        f"{name},PAID,NOTE\n"
        + "".join(f"{form.format(*row)},{row[0] % 7}.50,n\n" for row in rows)
    )
    (tmp_path / f"{parts}.csv").write_text(
        "CLAIM,LINE,PAID,NOTE\n"
        + "".join(
            f"{(first or '{0}').format(*row)},{line_form.format(*row)},"
            f"{(row[0] + (at == 300)) % 7}.50,n\n"
            for at, row in enumerate(rows)
            if at >= 5
        )
    )
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    # Only OLD can give a column of NEW another name, so OLD derives.
    function = "join" if whole == "new" else "slice" if form == "{1}{0}" else "split"
    assert function in str(settings(tmp_path)["old"]["derive"])
    [mapped] = {*settings(tmp_path)["map"].values()} - {"LINE"}
    assert mapped.upper() == "CLAIM"
    found = found_in(tmp_path)
    counts = found["counts"]
    assert counts["matched"] == 595
    assert counts["missing"] + counts["extra"] == 5
    assert counts["mismatched_cells"] == 1
    assert found["columns"][0]["name"] == "PAID"


def test_numbers_that_are_parts_of_others_by_chance_are_no_key(tmp_path: Path) -> None:
    """Each pair of digits is in some row of NEW, but no key is."""
    old = "".join(f"{7919 * at % 10**6:06},{at}.00\n" for at in range(1, 500))
    new = "".join(f"{at % 1000:03},{at * 31 % 1000:03},{at}.75\n" for at in range(500))
    (tmp_path / "old.csv").write_text("NUMBER,PAID\n" + old)
    (tmp_path / "new.csv").write_text("A,B,PAID\n" + new)
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 2, ended.stdout
    assert "no key was found" in ended.stderr


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (("claims_20260105.csv", "neu_20260105.csv"), ("claims_*.csv", "neu_*.csv")),
        # Each pattern would match both files, or none is needed.
        (("claims_1.csv", "claims_2.csv"), None),
        (("claims.csv", "claims_NEWSYSTEM.csv"), None),
    ],
)
def test_a_drafted_dataset_says_in_comments_where_its_files_are(
    names: tuple[str, str], patterns: tuple[str, str] | None, tmp_path: Path
) -> None:
    write_pair(tmp_path, 1, rows=200)
    for name, drafted in zip(("old.csv", "new.csv"), names, strict=True):
        (tmp_path / name).rename(tmp_path / drafted)
    command = ("init", *names, "--yes", "--dataset", "claims")
    assert recon(*command, cwd=tmp_path).returncode == 0
    text = (tmp_path / "recon.toml").read_text()
    head, _, rest = text.partition("# CLM_ID is unique")
    active = head.replace("#     ", "")
    (tmp_path / "recon.toml").write_text(f"{active}# CLM_ID is unique{rest}")
    found = settings(tmp_path)["dataset"]["claims"]
    assert found["inbound_s3"] == "inbound"
    shown = found.get("old_pattern"), found.get("new_pattern")
    assert shown == (patterns or (None, None))


def test_yes_and_no_and_codes_pair_columns_of_other_names(tmp_path: Path) -> None:
    """Each by the one column that fits; of two that fit, neither is taken."""
    chance = random.Random(5)
    rows = [
        (chance.random() < 0.3, chance.choice("ABCD"), chance.choice("MF"),
         chance.choice("XY"))
        for _ in range(400)
    ]  # fmt: skip
    old = ["ID,DONE,STATE,SEX,KIND,FLAG"]
    new = ["ID,closed,condition,gender,title,other,last"]
    codes = {"A": "active", "B": "blocked", "C": "closed", "D": "denied"}
    for at, (yes, state, sex, kind) in enumerate(rows):
        old.append(f"{at},{'NJ'[yes]},{state},{sex},{kind},{'NJ'[at % 50 == 0]}")
        wrong = "active" if at == 7 else codes[state]
        titles = {"M": "Mr", "F": "Ms"}[sex]
        new.append(
            f"{at},{str(yes).lower()},{wrong},{'12'[sex == 'F']},{titles},"
            f"{chance.choice('VW')},{'01'[at % 50 == 25]}"
        )
    (tmp_path / "old.csv").write_text("\n".join(old) + "\n")
    (tmp_path / "new.csv").write_text("\n".join(new) + "\n")
    command = ("init", "old.csv", "new.csv", "--yes", "--force")
    ended = recon(*command, cwd=tmp_path, COLUMNS="200")
    assert settings(tmp_path)["map"] == {"DONE": "closed", "STATE": "condition"}
    assert settings(tmp_path)["rules"] == {"DONE": "boolean"}
    assert "400 of 400 sampled rows agree, as yes or no" in ended.stdout
    assert "by a table of 4 codes" in ended.stdout
    assert re.search("only in OLD +not compared", ended.stdout)
    text = (tmp_path / "recon.toml").read_text()
    assert '#     STATE = "map(@STATE.map.csv' in text
    assert "# without this setting, a column that one file has only is an error" in text
    # What a person knows is not decided.
    ended = recon(*command, "--map", "SEX=gender,KIND=other", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert settings(tmp_path)["map"] == {
        "DONE": "closed", "STATE": "condition", "SEX": "gender", "KIND": "other",
    }  # fmt: skip
    assert "# given by --map\nSEX" in (tmp_path / "recon.toml").read_text()
    refused = recon(*command, "--map", "SEX=nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--map SEX=nowhere: the files do not have both columns" in refused.stderr


def test_columns_of_few_values_are_not_paired_by_chance() -> None:
    """Of independent columns none agree, however rare a word is in both."""
    for seed in range(40):
        chance = random.Random(seed)
        share = chance.choice([0.5, 0.1, 0.01])

        def column(words: str) -> list[str]:
            return [words[chance.random() < share] for _ in range(500)]  # noqa: B023

        sides = [
            pl.DataFrame({"v0": column(words), "v1": column("PQ")})
            for words in ("NJ", "01")
        ]
        names = (["A", "B"], ["C", "D"])
        assert find_coded_columns((sides[0], sides[1]), names) == {}, seed


def test_the_command_that_uses_a_proposed_code_table_is_true(tmp_path: Path) -> None:
    write_pair(tmp_path, 3, 300)
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path, COLUMNS="200")
    assert re.search("STATUS +not decided +.* proposed in STATUS.map.csv", ended.stdout)
    command = re.findall("right: recon (.*)", ended.stderr)[0].split()
    saved = recon(*command, cwd=tmp_path)
    assert "saved 1 hint to recon.toml; run again to use it" in saved.stderr
    # The table has all codes, so that a new one tomorrow is unlisted.
    assert settings(tmp_path)["old"]["rules"]["STATUS"] == "map(@STATUS.map.csv)"
    columns = {each["name"]: each for each in found_in(tmp_path)["columns"]}
    assert columns["STATUS"]["mismatched"] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([f"{at}.0" for at in range(60)], [str(at) for at in range(60)]),
        (["true", "false"] * 30, ["Y", "N"] * 30),
    ],
)
def test_no_rule_is_drafted_for_a_column_whose_name_is_that_of_all(
    tmp_path: Path, old: list[str], new: list[str]
) -> None:
    for name, texts in (("old", old), ("new", new)):
        rows = (f"{at},{text}\n" for at, text in enumerate(texts, 100))
        (tmp_path / f"{name}.csv").write_text("ID,*\n" + "".join(rows))
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "DIFFER: 60 of 60 matched rows" in ended.stdout, ended.stderr
    assert "rules" not in settings(tmp_path)


def test_no_key_is_drafted_that_needs_a_rule_for_the_name_of_all(
    tmp_path: Path,
) -> None:
    for name, zero in (("old", "0"), ("new", "")):
        rows = "".join(f"{zero}{at},x\n" for at in range(100, 160))
        (tmp_path / f"{name}.csv").write_text(f"*,C\n{rows}")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert "no key was found" in ended.stderr, ended.stdout


def test_a_newline_in_a_name_sets_nothing(tmp_path: Path) -> None:
    names = ("AMT\nignore = ['id']", "NOTE\n[rules]\n'*' = 'digits'", "FLAG\x85\u2028")
    for file, sign in (("old.csv", ("1", "a", "Y")), ("new.csv", ("2", "A", "yes"))):
        rows = [
            f"{n},{sign[0]}{n * n},{sign[1]}bc {n},{sign[2] if n % 2 else 'N'}\n"
            for n in range(60)
        ]
        head = ",".join(["id", *(f'"{name}"' for name in names)])
        (tmp_path / file).write_text(f"{head}\n{''.join(rows)}")
    ended = recon("init", "old.csv", "new.csv", "--yes", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = settings(tmp_path)
    assert found["keys"] == ["id"]
    assert not {"ignore", "*"} & {*found, *found.get("rules", {})}
    # The proposals are in it, and those of a dataset leave the others as they are.
    lines = (tmp_path / "recon.toml").read_text().splitlines()
    assert any(r"AMT\nignore = " in line for line in lines if line.startswith("# "))
    before = "[dataset.a]\nkeys = ['id']\n"
    (tmp_path / "recon.toml").write_text(before)
    ended = recon("init", "old.csv", "new.csv", "--yes", "--dataset=b", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "recon.toml").read_text().startswith(before)
    written = load_configuration(tmp_path / "recon.toml", "b").settings
    assert written["keys"] == ("id",)
    # So do the hints of a diff.
    (tmp_path / "recon.toml").write_text(before)
    saved = recon(
        "diff", "old.csv", "new.csv", "--key=id", "--save-hints", cwd=tmp_path
    )
    assert saved.returncode == 1, saved.stderr
    text = (tmp_path / "recon.toml").read_text()
    assert "--- hints of recon diff" in text
    assert r"NOTE\n[rules]\n" in text
    assert tomllib.loads(text) == tomllib.loads(before)
