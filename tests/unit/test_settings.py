"""`recon.toml`: what it may say, how its mistakes are shown, what overrides it."""

from __future__ import annotations

import itertools
import json
import re
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, ValidationError, validate
from support.program import recon

from recon_engine.config import OnBadRow
from recon_engine.config_file import Accepted, File, load_configuration
from recon_engine.config_place import find_config_file
from recon_engine.errors import ConfigError
from recon_engine.model import Suppressible, Suppression
from recon_engine.postgres.migrations import schema_folder
from recon_engine.toml_text import write_setting


if TYPE_CHECKING:
    from pathlib import Path


FILE = """\
keys = ["ID"]
ignore = "LOADED"
on_bad_row = "quarantine"
gates = ["missing<=0"]

[rules]
"*" = "trim"
PAID = ["decimal(abs=0.01)"]

[dataset.claims]
keys = ["ID", "LINE"]
gates = ["mismatch_rate(PAID)<=0.1%", "rejected<=0"]
inbound_s3 = "s3://claims/inbound/"

[dataset.claims.rules]
PAID = "decimal"

[[dataset.claims.suppress]]
what = "column"
column = "PAID"
kind = "number_format"
reason = "the new system writes no trailing zeros"
owner = "claims-platform"
until = 2027-03-31
max = 100

[dataset.members]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recon.toml"
    path.write_text(FILE)
    return path


def refusal(path: Path, text: str, dataset: str | None = None) -> ConfigError:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(path, dataset)
    return caught.value


def test_the_top_is_for_every_dataset(file: Path) -> None:
    settings = load_configuration(file).settings
    assert settings == load_configuration(file, "members").settings
    assert settings == {
        "keys": ("ID",),
        "ignore": ("LOADED",),
        "on_bad_row": OnBadRow.QUARANTINE,
        "gates": ("missing<=0",),
        "rules": {"*": ("trim",), "PAID": ("decimal(abs=0.01)",)},
        "suppressions": (),
    }


def test_a_dataset_replaces_values_and_adds_to_tables(file: Path) -> None:
    settings = load_configuration(file, "claims").settings
    assert settings["keys"] == ("ID", "LINE")
    assert settings["gates"] == ("mismatch_rate(PAID)<=0.1%", "rejected<=0")
    assert settings["rules"] == {"*": ("trim",), "PAID": ("decimal",)}
    assert settings["ignore"] == ("LOADED",)
    assert settings["suppressions"] == (
        Suppression(
            what=Suppressible.COLUMN,
            column="PAID",
            kind="number_format",
            reason="the new system writes no trailing zeros",
            owner="claims-platform",
            until=date(2027, 3, 31),
            max=100,
        ),
    )


def test_the_filter_of_a_dataset_is_beside_that_of_a_side(folder: Path) -> None:
    sides = "keys = 'ID'\n[old]\nwhere = \"PAID != '1'\"\nskip_lines = 1\n"
    dataset = "[dataset.claims]\nwhere = \"ID < '3'\"\nskip_lines = 0\n"
    (folder / "recon.toml").write_text(sides + dataset)
    settings = load_configuration(folder / "recon.toml").settings
    assert settings == {
        "keys": ("ID",),
        "where": "ID < '3'",
        "old_where": "PAID != '1'",
        "skip_lines": 0,
        "suppressions": (),
    }
    ended = recon("diff", "old.csv", "new.csv", "-f", "json", cwd=folder)
    flags = ("--where", "ID < '3'", "--old-where", "PAID != '1'", "-k", "ID")
    (folder / "recon.toml").unlink()
    again = recon("diff", "old.csv", "new.csv", *flags, "-f", "json", cwd=folder)
    of_file, of_flags = (json.loads(each.stdout) for each in (ended, again))
    assert of_file["counts"] == of_flags["counts"]
    assert of_file["old"] == of_flags["old"]


def test_a_dataset_that_the_file_does_not_have_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean claims\?"):
        load_configuration(file, "claim")


def test_a_file_without_datasets_is_for_any(file: Path) -> None:
    file.write_text('keys = ["ID"]\n')
    assert load_configuration(file, "claims").settings["keys"] == ("ID",)


def test_all_mistakes_are_reported_at_once_each_by_its_path(file: Path) -> None:
    error = refusal(
        file,
        """\
        detail_limit = "many"
        keyz = ["ID"]
        [rules]
        "A B" = ["trim", "tirm"]
        [dataset.claims]
        on_bad_row = "quarantin"
        gates = ["missing<=0", "mising<=0"]
        delimiter = "123456789"
        encoding = "utf9"
        memory_budget = "lots"
        [[dataset.claims.suppress]]
        what = "column"
        reason = "r"
        owner = "o"
        until = 2027-01-01
        [[dataset.claims.suppress]]
        what = "missing"
        ownr = "o"
        """,
    )
    assert error.message == "the configuration has 13 mistakes"
    where = re.compile(r" \(table of line [0-9]+\)")
    lines = where.sub("", error.why or "").splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    assert sorted(where.findall(error.why or "")) == [
        *[" (table of line 11)"],
        *[" (table of line 16)"] * 4,
    ]
    assert shown.keys() == {
        "detail_limit",
        "keyz",
        'rules."A B"[1]',
        "dataset.claims.on_bad_row",
        "dataset.claims.gates[1]",
        "dataset.claims.delimiter",
        "dataset.claims.encoding",
        "dataset.claims.memory_budget",
        "dataset.claims.suppress[0]",
        "dataset.claims.suppress[1].ownr",
        "dataset.claims.suppress[1].reason",
        "dataset.claims.suppress[1].owner",
        "dataset.claims.suppress[1].until",
    }
    for path, meant in (
        ("keyz", "keys"),
        ('rules."A B"[1]', "trim"),
        ("dataset.claims.on_bad_row", "quarantine"),
        ("dataset.claims.gates[1]", "missing"),
        ("dataset.claims.encoding", "utf-8"),
        ("dataset.claims.suppress[1].ownr", "owner"),
    ):
        assert f"Did you mean {meant}?" in shown[path], path


def test_a_suppression_that_is_not_filled_in_is_named_by_its_line(file: Path) -> None:
    table = 'what = "missing"\nreason = "{}"\nowner = "o"\nuntil = 2027-01-01\n'
    text = "# a\n[[dataset.claims.suppress]]\n"
    text += (
        table.format("r") + "\n [[dataset.claims.suppress]] # b\n" + table.format("")
    )
    assert refusal(file, text).message == (
        "dataset.claims.suppress[1].reason (table of line 8): it is empty: write why"
        ' the differences are accepted, such as reason = "known rounding, TICKET-1"'
    )
    text = text.replace('owner = "o"', 'owner = ""')
    assert "it is empty: write who accepts them" in str(refusal(file, text).why)
    inline = (
        'suppress = [{what = "missing", reason = "", owner = "o", until = 2027-01-01}]'
    )
    assert refusal(file, inline).message.startswith("suppress[0].reason: it is empty")
    assert refusal(file, 'member = ""').message == "member: it is empty: give a text"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('until = "2027-3-31"', "write the day as 2027-03-31"),
        ('until = "2027.12.1"', "write the day as 2027-12-01"),
        ('until = "31.3.2027"', "it has to be a day, such as 2027-03-31"),
        ('until = "2027-02-30"', "it has to be a day, such as 2027-03-31"),
        ("until = 20270331", "it has to be a day, such as 2027-03-31"),
        ("until = 2027-03-31T12:00:00", "it has to be a day, such as 2027-03-31"),
        ("until = true", "it has to be a day, such as 2027-03-31"),
        ("max = 0", "it has to be at least 1"),
        ('max = "5"', "it has to be a whole number, without quotes"),
        ("reason = 5", "it has to be a text in quotes"),
        ("kind = 5", "it has to be a text, or a list of texts"),
        ('kind = "caes"', "Did you mean case?"),
    ],
)
def test_a_mistake_of_a_suppression_is_explained(
    file: Path, text: str, said: str
) -> None:
    name, _, _ = text.partition(" ")
    lines = {
        "what": 'what = "column"',
        "column": 'column = "A"',
        "reason": 'reason = "r"',
        "owner": 'owner = "o"',
        "until": "until = 2027-01-01",
    }
    table = "\n".join((lines | {name: text}).values())
    message = refusal(file, f"[[suppress]]\n{table}\n").message
    assert message.startswith(f"suppress[0].{name}")
    assert said in message


def test_no_setting_is_refused_in_the_words_of_a_library(file: Path) -> None:
    words = re.compile(
        r"[Ii]nput|should|instance|unable to|valid (string|integer|bool|date|dict|list)"
    )
    wrong: list[Any] = [
        *(7, -1, True, "", "x y", "1" * 20, [], [7], ["", "a"], {}, {"a": 7}),
        *({"a": {}}, {"": "x"}, [[]], [{}], {"a": []}, {"a": [7]}),
    ]
    good = {"what": "column", "column": "A", "reason": "r", "owner": "o"}
    refused: dict[str, int] = {}
    for name, value in itertools.product(File.model_fields, wrong):
        refused[name] = refused.get(name, 0) + _is_refused(
            file, write_setting(name, value), words
        )
    for name, value in itertools.product(Accepted.model_fields, wrong):
        lines = "\n".join(
            write_setting(*each) for each in (good | {name: value}).items()
        )
        until = "" if name == "until" else "\nuntil = 2027-01-01"
        refused[f"suppress.{name}"] = refused.get(f"suppress.{name}", 0) + _is_refused(
            file, f"[[suppress]]\n{lines}{until}\n", words
        )
    # Each has values of another type among these.
    assert min(refused.values()) > 3


def _is_refused(file: Path, text: str, words: re.Pattern[str]) -> bool:
    file.write_text(text)
    said = ""
    try:
        load_configuration(file)
    except ConfigError as error:
        said = f"{error.message}\n{error.why}"
    assert not words.search(said), text
    return bool(said)


@pytest.mark.parametrize(
    "line",
    [
        'database_url = "postgresql://me:hush@db/x"',
        'password = "hush"',
        'aws_secret_access_key = "hush"',
        'mask_key = "hush"',
        'inbound_s3 = "s3://me:hush@bucket/x/"',
    ],
)
def test_a_secret_is_refused_with_where_it_belongs(file: Path, line: str) -> None:
    for text in (line, f"[dataset.claims]\n{line}"):
        error = refusal(file, text)
        assert "RECON_DATABASE_URL" in error.message
        assert "hush" not in f"{error.message}{error.why}{error.help}"


@pytest.mark.parametrize(
    ("text", "line"),
    [("keys = ID\n", 1), ("keys = [\n", None)],
)
def test_what_is_no_toml_is_reported_with_its_line(
    file: Path, text: str, line: int | None
) -> None:
    error = refusal(file, text)
    assert (error.message[:14], error.line) == ("it is not TOML", line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[old.rules]\nA = "trim"\n\n[ old . "rules" ]\nB = "trim"\n',
            "the table [old.rules] is in the file twice, in lines 1 and 4",
        ),
        (
            '[rules]\nA = "trim"\n[old.rules]\nA = "nfc"\nB = "x"\n"A" = [\n"trim"]\n',
            "`A` is set twice in one table, in lines 4 and 7",
        ),
    ],
)
def test_what_a_file_has_twice_is_named_with_both_lines(
    file: Path, text: str, message: str
) -> None:
    error = refusal(file, text)
    assert error.message == message
    assert message.endswith(f" and {error.line}")


def test_each_suppression_is_a_table_of_its_own(file: Path) -> None:
    table = '[[dataset.a.suppress]]\nwhat = "missing"\nowner = {}\n'
    error = refusal(file, table.format('"ann"') + table.format("bob"))
    assert (error.message[:14], error.line) == ("it is not TOML", 6)


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ("map", "whole file; move it above the first [table]"),
        ("rules", "whole file; move it above the first [table]"),
        ("old.rules", "whole file; move it above the first [table]"),
        ("new", "whole file; move it above the first [table]"),
        (
            "dataset.a.old.rules",
            "whole dataset; move it directly below [dataset.a]",
        ),
    ],
)
def test_a_setting_of_the_file_below_a_table_says_where_it_belongs(
    file: Path, table: str, place: str
) -> None:
    error = refusal(file, f'[{table}]\nignore = ["STATUS"]\n')
    assert error.message == f"`ignore` is a setting of the {place}"
    # A column may have the name of a setting.
    file.write_text('[rules]\nignore = "trim"\n[map]\nkeys = "KEYS"\n')
    load_configuration(file)


def test_a_setting_that_is_of_a_pair_of_files_says_how_a_pair_is_written(
    file: Path,
) -> None:
    error = refusal(file, '[old]\ndelimiter = ";"\n')
    assert error.message == (
        "`delimiter` is a setting of the whole file;"
        " move it above the first [table], as OLD:NEW"
    )


def test_a_setting_of_the_file_below_a_suppression_says_where_it_belongs(
    file: Path,
) -> None:
    table = (
        '[[suppress]]\nwhat = "missing"\nreason = "r"\nowner = "o"\nuntil = 2027-03-31'
    )
    error = refusal(file, f'{table}\noutput = ["r.html"]\n')
    assert error.message == (
        "`output` is a setting of the whole file; move it above the first [table]"
    )


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    """Of every setting that names a file or a folder, at the top and in a dataset."""
    folder = tmp_path / "a, b"
    folder.mkdir()
    (folder / "codes.csv").write_text("OLD,NEW\nM,1\n")
    (folder / "names.csv").write_text("A,B\n")
    (folder / "layout.csv").write_text("ID,1,3\n")
    own = (
        'inbound_s3 = "in/"\nprocessed_s3 = "s3://b/done/"\nout_s3 = "/out"\n{0}'
        'fixed = "@layout.csv"\nmap = "@names.csv"\n'
        '[{1}rules]\nX = "map(@codes.csv)"\nY = ["trim", "map(@codes.csv,rest=same)"]\n'
        'W = "map( rest=same , @codes.csv )"\n'
        '[{1}old]\nfixed = "@layout.csv"\n[{1}old.rules]\nZ = "map(@codes.csv)"\n'
    )
    of_dataset = "[dataset.d]\n" + own.format("", "dataset.d.")
    for dataset, text in ((None, own.format("", "")), ("d", of_dataset)):
        (folder / "my.toml").write_text(text)
        found = load_configuration(folder / "my.toml", dataset).settings
        assert found["inbound_s3"] == f"{folder}/in"
        assert (found["processed_s3"], found["out_s3"]) == ("s3://b/done/", "/out")
        assert found["rules"] == {
            "X": (f"map(@{folder}/codes.csv)",),
            "Y": ("trim", f"map(@{folder}/codes.csv,rest=same)"),
            "W": (f"map( rest=same , @{folder}/codes.csv )",),
        }
        assert found["old_rules"] == {"Z": (f"map(@{folder}/codes.csv)",)}
        assert found["fixed"] == found["old_fixed"] == f"@{folder}/layout.csv"
        assert found["map"] == {"A": "B"}
    for name in ("codes", "names", "layout"):
        path = folder / f"{name}.csv"
        path.rename(path.with_suffix(".gone"))
        with pytest.raises(ConfigError) as caught:
            load_configuration(folder / "my.toml", "d")
        shown = f"{caught.value.message}{caught.value.why}{caught.value.file}"
        assert str(path) in shown
        path.with_suffix(".gone").rename(path)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_configuration(path)
    (tmp_path / "latin.toml").write_bytes(b'keys = ["Gr\xf6\xdfe"]')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_configuration(tmp_path / "latin.toml")


def test_a_dataset_has_a_name_that_can_name_tables(file: Path) -> None:
    assert 'dataset."a b"' in refusal(file, '[dataset."a b"]').message


def test_pyproject_has_a_table_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.recon]\nkeys = ["ID"]\n[project]\nname = "x"\n')
    assert load_configuration(path).settings["keys"] == ("ID",)
    path.write_text("[tool.recon]\n")
    assert load_configuration(path, None).settings == {"suppressions": ()}
    for other in ("tool = 1", "[tool]", "[tool.recno]", "[[tool]]\nrecon = 1"):
        assert refusal(path, other).message == "there is no table [tool.recon]"
    error = refusal(path, "[tool.recon]\nkeyz = 1\n[project]\n")
    assert error.message.startswith("tool.recon.keyz: ")
    assert "recon" in refusal(path, "[tool]\nrecon = 1\n").message
    assert "[[suppress]]" in refusal(path, "[tool.recon]\nsuppress = 1\n").message


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("[tool.recon]", True),
        ("  [ tool . recon ]  # ours", True),
        ("[[tool.recon.suppress]]", True),
        ("[tool.recon.dataset.claims]", True),
        ("[tool.reconcile]", False),
        ("# [tool.recon]", False),
    ],
)
def test_pyproject_is_the_configuration_if_it_has_the_table(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    found: bool,  # noqa: FBT001 - expected
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n\n{line}\n')
    assert (find_config_file() is not None) == found


def test_the_published_schema_is_that_of_the_code() -> None:
    path = schema_folder() / "config.schema.json"
    published = json.loads(path.read_text())
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "recon-config/1",
    }
    assert published == head | File.model_json_schema()
    Draft202012Validator.check_schema(published)


@pytest.mark.slow
def test_the_schema_takes_what_is_taken_and_refuses_what_is_refused() -> None:
    published = json.loads((schema_folder() / "config.schema.json").read_text())
    validate({"keys": "ID", "rules": {"A": ["trim"]}, "dataset": {"c": {}}}, published)
    unknown: dict[str, object] = {"keyz": []}
    for wrong in (unknown, {"detail_limit": -1}, {"dataset": {"c": {"x": 1}}}):
        with pytest.raises(ValidationError):
            validate(wrong, published)


OLD = "ID,PAID\n1,10.00\n2,20.00\n3,30.00\n"
NEW = "ID,PAID\n1,10\n2,20.00\n4,40.00\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old.csv").write_text(OLD)
    (tmp_path / "new.csv").write_text(NEW)
    (tmp_path / "recon.toml").write_text(
        """\
        keys = ["ID"]
        detail_limit = 1
        gates = ["missing<=0"]
        [rules]
        PAID = "decimal"
        [dataset.lenient]
        gates = ["missing<=1"]
        [dataset.other]
        """
    )
    return tmp_path


def test_a_diff_takes_its_settings_from_the_file(folder: Path) -> None:
    ended = recon("diff", "old.csv", "new.csv", cwd=folder)
    assert ended.returncode == 1, ended.stderr
    assert "✗ FAIL  1 of 3 old rows is missing, limit 0\n" in ended.stdout
    assert "1 cell is equal by a rule" in ended.stdout
    chosen = recon("diff", "old.csv", "new.csv", "--dataset", "lenient", cwd=folder)
    assert chosen.returncode == 0, chosen.stderr
    assert "✓ PASS  1 missing, 1 extra; the gate missing<=1 passes\n" in chosen.stdout


def test_the_only_dataset_of_the_file_need_not_be_named(folder: Path) -> None:
    path = folder / "recon.toml"
    path.write_text(path.read_text().replace("[dataset.other]", ""))
    ended = recon("diff", "old.csv", "new.csv", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "; the gate missing<=1 passes\n" in ended.stdout
    assert ended.stderr == "settings: recon.toml, dataset lenient, key ID\n"
    quiet = recon("diff", "old.csv", "new.csv", "-f", "json", cwd=folder)
    assert quiet.stderr == ""


def test_the_key_of_the_file_is_used_by_every_command_that_takes_one(
    folder: Path,
) -> None:
    ended = recon("explain", "old.csv", "new.csv", "1", cwd=folder)
    assert ended.stdout.startswith("ID=1: 1 matched\n")
    assert ended.stderr == "settings: recon.toml, key ID\n"


def test_a_key_that_only_datasets_have_is_not_guessed(folder: Path) -> None:
    (folder / "recon.toml").write_text(
        "[dataset.a]\nkeys = 'ID'\n[dataset.b]\nkeys = 'PAID'\n"
    )
    ended = recon("diff", "old.csv", "new.csv", cwd=folder)
    assert ended.returncode == 2
    assert "add --dataset NAME, one of: a, b; or add --key COLUMN" in ended.stderr


def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    folder: Path,
) -> None:
    def limit(*flags: str, **environment: str) -> int:
        (folder / "new.csv").write_text("ID,PAID\n1,a\n2,b\n3,c\n")
        arguments = ("diff", "old.csv", "new.csv", "-f", "json", *flags)
        ended = recon(*arguments, cwd=folder, **environment)
        return len(json.loads(ended.stdout)["sample"])

    assert limit() == 1
    assert limit(RECON_DETAIL_LIMIT="2") == 2
    assert limit("--detail-limit", "3", RECON_DETAIL_LIMIT="2") == 3
    gates = {"RECON_GATE": "missing<=5; extra<=5"}
    assert recon("diff", "old.csv", "new.csv", cwd=folder, **gates).returncode == 0
    flag = ("--gate", "matched>=9")
    strict = recon("diff", "old.csv", "new.csv", *flag, cwd=folder, **gates)
    assert "3 rows are matched, at least 9" in strict.stdout


def test_columns_to_leave_out_come_from_one_place(folder: Path) -> None:
    (folder / "recon.toml").write_text('keys = "ID"\nignore = "PAID"\n')
    (folder / "old.csv").write_text("ID,PAID,X\n1,a,b\n")
    (folder / "new.csv").write_text("ID,PAID,X\n1,c,d\n")
    command = ("diff", "old.csv", "new.csv", "-f", "json")

    def differing(*flags: str, **environment: str) -> list[str]:
        ended = recon(*command, *flags, cwd=folder, **environment)
        return [each["name"] for each in json.loads(ended.stdout)["columns"]]

    assert differing() == ["X"]
    assert differing(RECON_IGNORE="X") == ["PAID"]
    assert differing("--ignore", "PAID", RECON_IGNORE="X") == ["X"]


def test_a_rule_on_the_command_line_comes_after_those_of_the_file(folder: Path) -> None:
    """A hint is measured after the rules of the file: pasted, it does what it says."""
    (folder / "recon.toml").write_text('keys = "ID"\nrules.PAID = "trim"\n')
    (folder / "old.csv").write_text("ID,PAID,X\n1, 10.00,a\n2,20 ,a\n")
    (folder / "new.csv").write_text("ID,PAID,X\n1,10,A\n2,20,a\n")
    ended = recon("diff", "old.csv", "new.csv", cwd=folder)
    assert "; --rule PAID=decimal removes 1\n" in ended.stdout
    pasted = ("--rule", "PAID=decimal", "--rule", "X=casefold")
    ended = recon("diff", "old.csv", "new.csv", *pasted, cwd=folder)
    assert "✓ AGREE" in ended.stdout
    ended = recon(
        "diff", "old.csv", "new.csv", cwd=folder, RECON_RULE="PAID=decimal;X=casefold"
    )
    assert "✓ AGREE" in ended.stdout


def test_a_typed_rule_of_the_command_line_replaces_that_of_the_file(
    folder: Path,
) -> None:
    (folder / "recon.toml").write_text(
        'keys = "ID"\nrules.PAID = ["trim", "decimal"]\nold.rules.X = "map(a=A)"\n'
    )
    (folder / "old.csv").write_text("ID,PAID,X\n1, 10.00,a\n2,20,a\n")
    (folder / "new.csv").write_text("ID,PAID,X\n1,10,A\n2,21,A\n")
    rule = ("--rule", "PAID=decimal(abs=1)")
    ended = recon("diff", "old.csv", "new.csv", *rule, cwd=folder)
    assert "✓ AGREE" in ended.stdout, ended.stderr
    ended = recon("diff", "old.csv", "new.csv", *rule, *rule, cwd=folder)
    assert "two typed rules" in ended.stderr
    other = ("--old-rule", "X=map(a=B)")
    ended = recon("diff", "old.csv", "new.csv", *rule, *other, cwd=folder)
    assert "2 of 2 matched rows differ" in ended.stdout


NARROWED = """\
keys = "ID"
[map]
PAID = "AMOUNT"
[rules]
ID = "trim"
PAID = "decimal"
NOTE = "casefold"
[old.rules]
PAID = "trim"
[[suppress]]
what = "column"
column = "NOTE"
reason = "known"
owner = "us"
until = 2099-12-31
"""


def test_settings_of_columns_that_the_command_line_excludes_do_not_apply(
    folder: Path,
) -> None:
    file = folder / "recon.toml"
    file.write_text(NARROWED)
    (folder / "old.csv").write_text("ID,PAID,NOTE\n1 ,1,a\n2,2,b\n")
    (folder / "new.csv").write_text("ID,AMOUNT,NOTE\n1,1,A\n2,3,x\n")

    def run(*flags: str, **environment: str) -> tuple[str, str]:
        ended = recon("diff", "old.csv", "new.csv", *flags, cwd=folder, **environment)
        return ended.stdout, ended.stderr

    assert "1 of 2 matched rows differs\n" in run("--ignore", "NOTE")[0]
    assert "1 of 2 matched rows differs\n" in run("--compare-only", "PAID")[0]
    assert "PASS" in run("--compare-only", "NOTE")[0]
    # Named as in NEW, and excluded by a variable.
    assert "PASS" in run("--ignore", "AMOUNT")[0]
    assert "PASS" in run(RECON_IGNORE="AMOUNT")[0]
    # What the command line says itself is no setting of the file.
    both = run("--ignore", "PAID", "--rule", "PAID=scale(2)")[1]
    assert "PAID: no compared column has that name" in both
    file.write_text(NARROWED.replace('PAID = "decimal"', 'PAYD = "decimal"'))
    assert (
        "PAYD: no file has that column. Did you mean"
        in run("--compare-only", "NOTE")[1]
    )
    assert "PAYD: no compared column has" in run("--ignore", "NOTE")[1]
    # The file itself may not contradict itself.
    file.write_text(NARROWED.replace("[map]", 'ignore = "NOTE"\n[map]'))
    assert "NOTE: no compared column has that name" in run()[1]


def test_a_mask_of_the_file_masks_and_one_of_a_flag_goes_before_it(
    folder: Path,
) -> None:
    text = (folder / "recon.toml").read_text()
    (folder / "recon.toml").write_text(f'{text}\n[masks]\nID = "redact"\n')
    command = ("diff", "old.csv", "new.csv", "-f", "json")
    document = json.loads(recon(*command, cwd=folder).stdout)
    assert document["missing_sample"] == [{"ID": "(redacted)"}]
    hashed = recon(*command, "--mask", "ID=hmac", cwd=folder, RECON_MASK_KEY="k" * 32)
    assert json.loads(hashed.stdout)["missing_sample"][0]["ID"].startswith("hmac:")
    wrong = refusal(folder / "recon.toml", '[masks]\nID = "redacted"\n')
    assert wrong.message.startswith("masks.ID: ")
    assert "Did you mean redact?" in wrong.message


def test_the_file_may_have_another_place(folder: Path) -> None:
    (folder / "recon.toml").rename(folder / "other.toml")
    command = ("diff", "old.csv", "new.csv")
    assert recon(*command, cwd=folder).returncode == 2
    assert recon(*command, "--config", "other.toml", cwd=folder).returncode == 1
    assert recon(*command, cwd=folder, RECON_CONFIG="other.toml").returncode == 1
    gone = recon(*command, "--config", "gone.toml", cwd=folder)
    assert "gone.toml" in gone.stderr
    assert gone.returncode == 2


def test_a_dataset_without_a_file_is_refused(folder: Path) -> None:
    (folder / "recon.toml").unlink()
    command = ("diff", "old.csv", "new.csv", "-k", "ID", "--dataset", "lenient")
    ended = recon(*command, cwd=folder)
    assert (ended.returncode, "no configuration file" in ended.stderr) == (2, True)
    assert recon(*command[:5], cwd=folder, RECON_DATASET="x").returncode == 1


def test_mistakes_are_lines_for_people_and_one_text_for_programs(folder: Path) -> None:
    (folder / "recon.toml").write_text("keyz = 1\ngate = 2\n")
    ended = recon("diff", "old.csv", "new.csv", cwd=folder)
    assert ended.returncode == 2
    assert "  why: keyz: there is no such setting. Did you mean keys?\n" in ended.stderr
    assert (
        "       gate: there is no such setting. Did you mean gates?\n" in ended.stderr
    )
    ended = recon("diff", "old.csv", "new.csv", "-f", "json", cwd=folder)
    document = json.loads(ended.stdout)
    assert (document["file"], document["exit_code"]) == ("recon.toml", 2)


def test_a_command_that_reads_no_settings_minds_no_file(folder: Path) -> None:
    (folder / "recon.toml").write_text("broken")
    assert recon("statuses", cwd=folder).returncode == 0
    assert recon("diff", "--help", cwd=folder).returncode == 0


def test_an_error_about_a_setting_of_the_file_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("ID,A,NOTE\n1,2,3\n")
    (tmp_path / "new.csv").write_text("ID,A,TEXT\n1,2,3\n")
    file = tmp_path / "recon.toml"

    def said(text: str, *flags: str) -> str:
        file.write_text(f'keys = "ID"\n{text}')
        ended = recon("diff", "old.csv", "new.csv", *flags, cwd=tmp_path)
        assert ended.returncode in {2, 3}
        return ended.stderr.partition("]: ")[2].partition("\n")[0]

    mapped = '[map]\nNOTE = "note"\n'
    assert said(mapped).startswith("[map] in recon.toml: NOTE=note: NEW has no column")
    # A pair of the flag is one of the flag, whatever the file has besides.
    assert said(mapped, "--map", "A=B").startswith("[map] in recon.toml: NOTE=note")
    assert said('[map]\nNOTE = "TEXT"\n', "--map", "A=B").startswith("--map A=B: ")
    assert said('ignore = "X"\n').startswith("`ignore` in recon.toml: X: no file has")
    assert said("", "--ignore", "X").startswith("--ignore X: no file has")
    own = said('[map]\nNOTE = "TEXT"\n[old.rules]\nX = "trim"\n')
    assert own.startswith("[old.rules] in recon.toml: X: no compared column")
    own = said('[map]\nNOTE = "TEXT"\n[old]\nwhere = "X = 1"\n')
    assert own.startswith("`where` of [old] in recon.toml")


def test_columns_of_one_side_are_named_if_others_are_paired_by_an_option(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.csv").write_text("NR,STATUS\n1,2\n")
    (tmp_path / "new.csv").write_text("claim_id,status,added\n1,2,3\n")
    asked = ("-k", "NR", "--map", "NR=claim_id", "--match-names", "casefold")
    ended = recon("diff", "old.csv", "new.csv", *asked, cwd=tmp_path)
    assert ended.returncode == 3
    assert "only in NEW: added" in ended.stderr


def test_a_report_repeats_a_comparison_by_its_file(tmp_path: Path) -> None:
    for name, value in (("old", 1), ("new", 2)):
        (tmp_path / f"{name}.csv").write_text(f"ID,A,B\n1,{value},3\n")
    (tmp_path / "my.toml").write_text('[dataset.a]\nkeys = "ID"\nignore = "B"\n')
    command = ("diff", "old.csv", "new.csv", "--config", "my.toml", "-o", "r.html")
    for flags, shown in (
        ((), "recon diff old.csv new.csv --config my.toml --dataset a</pre>"),
        (("--rule", "A=trim"), "recon diff old.csv new.csv --key ID --ignore B --rule"),
    ):
        ended = recon(*command, *flags, "-o", "d.xlsx", cwd=tmp_path)
        assert ended.stdout.endswith("writes r.html, d.xlsx\n")
        page = (tmp_path / "r.html").read_text()
        assert shown in page
        assert "recon diff … -o FILE.xlsx writes the same rows" in page
