"""A plain command line means the same with and without typer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recon_cli import direct, signatures
from recon_cli.app import app

from recon_engine.options import Option, options_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


OPTIONS = [option for option in options_of("diff") if option.flags]
# Also what no option takes, or what only typer may judge.
TEXTS = st.sampled_from(
    [
        *("ID", "a,b", "a=b", "0", "1", "01", "-1", "1_0", "٣", "99999", "2026-01-01"),
        *("json", "table", "pair", "local", "utf-8", "x=trim", "--key"),
        *("", ".", "/no/such/file"),
    ]
)


@st.composite
def words(draw: st.DrawFn) -> tuple[list[str], bool]:
    """Two inputs, or another number, among options in any order.

    And whether it is a plain command line in any case.
    """
    groups = [[name] for name in draw(st.lists(st.sampled_from(["old", "new"])))]
    if draw(st.integers(0, 3)):
        groups = [["old.csv"], ["new.csv"]]
    is_plain = len(groups) == 2
    for option in draw(st.lists(st.sampled_from(OPTIONS), max_size=4)):
        is_plain &= option.name not in direct.LEFT_TO_TYPER
        flag = draw(
            st.sampled_from([f for each in option.flags for f in _spelled(each)])
        )
        if option.value_type is bool:
            groups.append([flag])
            continue
        valid = _choices(option)
        text = draw(st.sampled_from(valid) if draw(st.integers(0, 3)) else TEXTS)
        is_plain &= text in valid
        joined = flag.startswith("--") and draw(st.booleans())
        groups.append([f"{flag}={text}"] if joined else [flag, text])
    return [word for group in draw(st.permutations(groups)) for word in group], is_plain


def _spelled(flag: str) -> Iterator[str]:
    yield from flag.split("/")


def _choices(option: Option) -> list[str]:
    values = getattr(option.value_type, "__members__", {}).values()
    valid = ["7"] if option.value_type is int else ["7", "text"]
    return [str(value) for value in values] or valid


class _Reached(Exception):
    """What typer has parsed: the options, the inputs, and which were given."""


def parse_with_typer(arguments: Sequence[str]) -> tuple[Any, ...]:
    """The values that a command is called with; raises what typer raises."""

    def stop(_: object, ctx: Any, options: Any, others: Any) -> None:
        sources = {name: ctx.get_parameter_source(name).name for name in options}
        on_line = {name for name, each in sources.items() if each == "COMMANDLINE"}
        raise _Reached(options, others, on_line)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(signatures, "call_command", stop)
        with pytest.raises(_Reached) as reached:
            app(["diff", *arguments], standalone_mode=False)
    return reached.value.args


@given(words())
def test_a_plain_command_line_is_parsed_as_by_typer(
    drawn: tuple[list[str], bool],
) -> None:
    arguments, is_plain = drawn
    plain = direct.parse_plain(["diff", *arguments])
    if plain is None:
        assert not is_plain
        return
    options, others, on_line = parse_with_typer(arguments)
    assert plain.options == dict(options)
    kinds = {name: type(value) for name, value in options.items() if value}
    assert {name: type(plain.options[name]) for name in kinds} == kinds
    assert {"old": plain.inputs[0], "new": plain.inputs[1]} == others
    assert plain.given == on_line


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_can_be_plain(option: Option) -> None:
    if option.name in direct.LEFT_TO_TYPER:
        return
    value = [] if option.value_type is bool else [_choices(option)[0]]
    for flag in (f for each in option.flags for f in _spelled(each)):
        assert direct.parse_plain(["diff", "a", "b", flag, *value]) is not None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["keys", "a", "b"],
        ["diff", "a"],
        ["diff", "a", "b", "c"],
        ["diff", "--help"],
        ["diff", "a", "b", "-h"],
        ["diff", "a", "b", "--key"],
        ["diff", "a", "b", "--key", "--yes"],
        ["diff", "a", "b", "--ke", "ID"],
        ["diff", "a", "b", "-kID"],
        ["diff", "a", "b", "--", "--key"],
        ["diff", "a", "b", "--dataset", "d"],
        ["diff", "a", "b", "--save-hints"],
        ["diff", "a", "-", "--key", "ID"],
        ["diff", "a", "b", "--detail-limit", "many"],
        ["diff", "a", "b", "--exit-zero=yes"],
    ],
)
def test_any_other_command_line_is_left_to_typer(arguments: list[str]) -> None:
    assert direct.parse_plain(arguments) is None


def test_a_variable_and_a_file_are_left_to_typer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = ["diff", "a", "b", "-k", "ID"]
    assert direct.parse_plain(plain) is not None
    with monkeypatch.context() as patched:
        patched.setenv("RECON_DELIMITER", "")
        assert direct.parse_plain(plain) is None
    Path("recon.toml").write_text('keys = ["ID"]\n')
    assert direct.parse_plain(plain) is None
