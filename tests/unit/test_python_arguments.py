"""Errors, hints and notes for Python name arguments of `diff`, not flags."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from recon_engine.hint_settings import BY_FLAG, write_python
from recon_engine.options import OPTIONS, Option, Shape
from recon_engine.python_arguments import (
    UNSET,
    WORDS,
    write_flags,
    write_for_python,
)


if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum


SOURCES = Path(__file__).parents[2] / "recon_engine"
IN_PYTHON = [each for each in OPTIONS.values() if each.in_python and each.flags]
SAMPLES = {
    Shape.NAMES: ("PAID,LINE", '["PAID", "LINE"]'),
    Shape.VALUES: ("T", '["T"]'),
    Shape.RENAMES: ("'PAID AMT=PAID'", '{"PAID AMT": "PAID"}'),
    Shape.COLUMN_VALUE: ("PAID=redact", '{"PAID": "redact"}'),
    Shape.COLUMN_VALUES: ("'PAID=decimal(abs=0.01)'", '{"PAID": "decimal(abs=0.01)"}'),
}
# Modules whose texts only the command line shows.
SHELL_ONLY = ("postgres", "pipeline", "drafts", "build.py", "options.py", "status.py")


def sample_of(option: Option) -> tuple[str, str]:
    """A value on the command line, and the argument of `diff`."""
    if option.shape in SAMPLES:
        return SAMPLES[option.shape]
    if option.value_type is int:
        return "7", "7"
    if option.value_type not in {str, bool}:
        value = next(iter(cast("type[StrEnum]", option.value_type)))
        return str(value), f'"{value}"'
    return "'a b'", '"a b"'


@pytest.mark.parametrize("option", IN_PYTHON, ids=lambda each: each.name)
def test_each_option_is_an_argument_in_a_remedy(option: Option) -> None:
    name = option.in_python
    if option.value_type is bool:
        assert write_for_python(f"add {option.flag}; or not") == (
            f"add {name}=True; or not"
        )
        return
    word, value = sample_of(option)
    value = value.replace('["T"]', '"T"')
    assert write_for_python(f"use {option.flag} {word}, or not") == (
        f"use {name}={value}, or not"
    )
    assert write_for_python(f"{option.flag} is wrong") == f"{name} is wrong"
    # What is written is Python.
    ast.parse(f"diff({name}={value})")


def test_the_second_flag_of_a_switch_is_false() -> None:
    assert write_for_python("with --header, not") == "with no_header=False, not"
    assert {option.in_python for option in UNSET.values()} >= {"no_header", "fold"}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("or --map A=a --map B=b", 'or renames={"A": "a", "B": "b"}'),
        ("add --key ID --key LINE", 'add keys=["ID", "LINE"]'),
        (
            "--rule PAID=trim --old-rule 'PAID=decimal(comma)'",
            'rules={"PAID": "trim"} old_rules={"PAID": "decimal(comma)"}',
        ),
        ("such as --rule P=scale(2), and", 'such as rules={"P": "scale(2)"}, and'),
        ("(see --rule P=scale(2))", '(see rules={"P": "scale(2)"})'),
        ("add --delimiter ';:,': with it", 'add delimiter=";:,": with it'),
        ("add --delimiter ,: with it", 'add delimiter=",": with it'),
        (
            '--old-derive A,B=split(C,"_"): derived in 3 rows',
            'old_derive="A,B=split(C,\\"_\\")": derived in 3 rows',
        ),
        ("--encoding is utf-8", "encoding is utf-8"),
        ("--context X: no file", "--context X: no file"),
        ("a column -- of --unknown", "a column -- of --unknown"),
        # An invisible character is an escape, which Python reads.
        (r"--map $'A\u00a0B=C'", r'renames={"A\u00a0B": "C"}'),
        ("--key '\"A'", 'keys="\\"A"'),
    ],
)
def test_flags_in_a_text_become_arguments(text: str, written: str) -> None:
    assert write_for_python(text) == written


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a module that name an option, a placeholder for each value."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "old"
                for part in node.values
            )
        elif id(node) in parts | docstrings:
            continue
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.slow
def test_no_text_of_the_library_keeps_a_flag_in_python() -> None:
    """Of every text that the library has, whoever raises or prints it."""
    checked = 0
    for path in sorted(SOURCES.rglob("*.py")):
        if any(part in SHELL_ONLY for part in path.relative_to(SOURCES).parts):
            continue
        for text in texts_of(path):
            written = write_for_python(text)
            checked += written != text
            left = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", written))
            flags = {flag for flag in left if flag in BY_FLAG}
            kept = {flag for flag in flags if BY_FLAG[flag].in_python}
            assert not kept, f"{path.name}: {text}"
            assert written.count('"') % 2 == 0 or text.count('"') % 2, written
    assert checked > 80


def words_after_flags(tree: ast.AST) -> Iterator[str]:
    """The word that a text has directly after an option whose name is filled in."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for flag, text in itertools.pairwise(node.values):
            if isinstance(flag, ast.FormattedValue) and isinstance(text, ast.Constant):
                named = re.search(r"\bflag$|\bspell\(", ast.unparse(flag.value))
                word = re.match(r" ([a-z]+)\b", str(text.value))
                if named and word:
                    yield word[1]


def test_no_word_of_a_sentence_is_taken_for_the_value_of_an_option() -> None:
    texts = (path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    found = {word for text in texts for word in words_after_flags(ast.parse(text))}
    # These are values.
    assert found - {"none", "number"} <= WORDS
    assert {"compares", "would", "is"} <= found


def test_flags_of_a_hint_are_arguments() -> None:
    assert write_flags("--old-derive 'A=slice(B,2)' --ignore B --key A") == (
        'old_derive="A=slice(B,2)", ignore="B", keys="A"'
    )
    assert write_python({"fold": True, "skip_lines": 2}) == "fold=True, skip_lines=2"
