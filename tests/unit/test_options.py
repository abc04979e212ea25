"""The table of options: each has one default, and reaches every place it names."""

from __future__ import annotations

import dataclasses
import inspect
import os
from typing import TYPE_CHECKING, Any

import pytest
from recon_cli.app import app
from support.flags import diff
from support.program import recon
from typer.main import get_command
from typer.testing import CliRunner

from recon_engine.command_line import rebuild_command
from recon_engine.config import Limits, Options, RunConfig, SideOptions
from recon_engine.config_file import File, Section, SideSection
from recon_engine.errors import ConfigError
from recon_engine.model import SIDES
from recon_engine.options import (
    OPTIONS,
    SIDED,
    Format,
    Group,
    Option,
    Shape,
    options_of,
)
from recon_engine.side_arguments import SidedArguments


if TYPE_CHECKING:
    from pathlib import Path


GROUP: Any = get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
EVERY = pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
DATACLASSES = (Options, Limits, RunConfig, SideOptions)
# Fields that are made of other options, or are not a user's to set.
NO_OPTION = {"options", "database", "limits", "old", "new", "flags", "set_aside"}
NO_PARAMETER = {"old", "new", "today", "sided"}


@EVERY
def test_a_command_takes_an_option_with_its_flags_variable_and_group(
    option: Option,
) -> None:
    for command in option.commands if option.flags else ():
        [param] = [p for p in COMMANDS[command].params if p.name == option.name]
        spelled = "/".join([*param.opts, *param.secondary_opts])
        assert spelled == "/".join(option.flags)
        assert param.rich_help_panel == option.group
        assert param.hidden == (option.side is not None)
        assert param.required == (command in option.required_by)
        assert param.help.startswith(option.help)
        if option.shape is Shape.VALUE:
            assert param.envvar == option.env
            assert param.required or param.default == option.default
        else:
            assert option.env is None or f"[env var: {option.env}" in param.help


def test_every_option_of_a_command_has_a_group() -> None:
    for command in COMMANDS.values():
        for param in command.params:
            if param.param_type_name == "option":
                assert param.rich_help_panel in set(Group)


def test_the_file_has_the_settings_of_the_table_with_their_defaults() -> None:
    filed = {
        option.in_file: option
        for option in OPTIONS.values()
        if option.in_file and not option.side
    }
    assert Section.model_fields.keys() == {*filed, *SIDES}
    assert File.model_fields.keys() == {*filed, *SIDES, "dataset"}
    assert SideSection.model_fields.keys() == {option.in_file for option in SIDED}
    for name, option in filed.items():
        field = Section.model_fields[name]
        assert field.description == option.help
        wanted = option.default if option.shape is Shape.VALUE else None
        assert (field.default or None) == (wanted or None)


def test_diff_has_the_parameters_of_the_table_with_their_defaults() -> None:
    parameters = inspect.signature(diff).parameters
    options = {
        option.in_python: option
        for option in OPTIONS.values()
        if option.in_python and option.sets is not SideOptions
    }
    assert parameters.keys() == {*options, *NO_PARAMETER}
    for name, option in options.items():
        default = parameters[str(name)].default
        if option.shape is Shape.VALUE:
            assert default == option.default
        else:
            assert default in ((), None, inspect.Parameter.empty)


@pytest.mark.parametrize("kind", DATACLASSES)
def test_every_field_is_set_by_one_option(kind: type) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    setting = [
        option.field
        for option in OPTIONS.values()
        if option.sets is kind and option.side in {None, "old" if option.adds else None}
    ]
    assert sorted(setting) == sorted(set(fields) - NO_OPTION)


@EVERY
def test_a_default_is_written_once(option: Option) -> None:
    """In the field that the option sets, or else in the table."""
    assert option.sets is None or option.own_default is None
    assert option.without is None or option.default is None


@EVERY
def test_a_help_text_stands_alone(option: Option) -> None:
    assert option.help[0].isupper()
    assert option.help.endswith(".")


def test_names_of_flags_and_variables_are_used_once() -> None:
    for names in (
        [flag for option in OPTIONS.values() for flag in option.flags],
        [option.env for option in OPTIONS.values() if option.env],
        [option.in_file for option in OPTIONS.values() if option.in_file],
        [option.in_python for option in OPTIONS.values() if option.in_python],
    ):
        assert len(set(names)) == len(names)


def test_a_rebuilt_command_line_has_what_is_not_by_default() -> None:
    assert rebuild_command(Options(keys=("A",)), "o", "n") == "recon diff o n --key A"
    changed: dict[str, Any] = {
        "keys": ("A", "B,C"),
        "ignore": ("D",),
        "compare_only": ("J", "K,L"),
        "match_names": ("trim", "casefold"),
        "renames": {"E": "F=G"},
        "rules": {"H": ("trim", "casefold")},
        "masks": {"I": "last4"},
        "gates": ("missing<=0",),
        "on_duplicate_keys": "fail",
        "on_schema_drift": "compare",
        "on_bad_row": "quarantine",
        "delimiter": ";",
        "encodings": ("cp1252", "utf-8"),
        "detail_limit": 7,
        "where": "A = 'x y'",
    }
    line = rebuild_command(Options(**changed), "o", "n")
    setting = [o for o in options_of("diff") if o.sets is Options and o.flags]
    assert {option.field for option in setting} == changed.keys()
    for option in setting:
        assert f" {option.flag} " in line
    assert "--encoding cp1252:utf-8" in line
    assert "--match-names trim,casefold" in line
    none = Options(keys=("A",), detail_limit=0)
    assert rebuild_command(none, "o", "n").endswith(" --detail-limit 0")


def test_the_arguments_of_sides_are_those_of_the_table() -> None:
    names = {
        option.in_python for option in OPTIONS.values() if option.sets is SideOptions
    }
    assert SidedArguments.__annotations__.keys() == names
    with pytest.raises(ConfigError, match="Did you mean old_skip_lines"):
        diff("a", "b", keys="ID", old_skip_line=1)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_its_groups_in_order_and_examples(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"]).output
    lines = shown.splitlines()
    sections = [line[:-1] for line in lines if line[:-1] in set(Group)]
    assert sections == [str(group) for group in Group if group in sections]
    examples = lines[lines.index("  Examples:") + 1 :]
    assert 2 <= len(examples) <= 3
    for example in examples:
        assert f"recon {name}" in example


def test_the_formats_are_those_that_are_printed() -> None:
    for each in Format:
        done = CliRunner().invoke(app, ["statuses", "--format", each])
        assert (done.exit_code, "SUCCEEDED" in done.output) == (0, True)


def test_a_run_takes_its_dataset_without_a_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("c.csv", "c_NEWSYSTEM.csv"):
        (tmp_path / "in" / name).write_text("ID\n1\n")
    places = ["--inbound-s3", "in", "--processed-s3", "done", "--out-s3", "out"]
    given = ["--dataset", "claims", "--keys", "ID", "--dry-run"]
    done = CliRunner().invoke(app, ["run", *places, *given])
    assert done.exit_code == 0, done.output


def test_no_variable_of_the_table_is_set_here() -> None:
    """The tests of defaults rely on it."""
    assert not {o.env for o in OPTIONS.values() if o.env} & os.environ.keys()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("where", "X", "--old-where: the column of condition 1 is not followed"),
        ("derive", "A=b", "--old-derive: A is not made by split"),
        ("names", "A", "--old-names needs --no-header"),
        ("fixed", "x", "--old-fixed is malformed from character 1 on"),
        ("trailer_count", "2", "--old-trailer-count needs --trailer"),
        ("trailer_delimiter", "ab", "--old-trailer-delimiter needs --trailer"),
        ("derive", "A=slice(Q,1)", "--old-derive: OLD has no column Q"),
        ("where", "Q=1", "--old-where: no column that the file has is called Q"),
        ("skip_lines", -1, "--old-skip-lines"),
    ],
)
def test_an_error_names_the_option_of_a_side_as_it_was_given(
    tmp_path: Path, option: str, value: Any, message: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_text("ID,A\n1,x\n")
    with pytest.raises(ConfigError) as caught:
        diff(path, path, keys="ID", **{f"old_{option}": value})
    assert str(caught.value).startswith(message)
    flag = f"--old-{option.replace('_', '-')}"
    ended = recon(
        "diff", str(path), str(path), "-k", "ID", flag, str(value), cwd=tmp_path
    )
    assert ended.returncode == 2
    assert message in ended.stderr or f"'{flag}'" in ended.stderr
    if option in {"where", "skip_lines"}:
        return
    with pytest.raises(ConfigError) as caught:
        diff(path, path, keys="ID", **{option: value})
    assert str(caught.value).startswith(message.replace("--old-", "--"))
