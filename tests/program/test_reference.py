"""References that are made from the code: `ACCEPT_DOCS=1` writes them anew."""

from __future__ import annotations

import inspect
import json
import os
import re
import tomllib
from enum import EnumType
from pathlib import Path
from typing import Any

import psycopg
import pytest
from recon_cli.app import app
from typer.main import get_command

from recon_engine import errors
from recon_engine.errors import ReconError
from recon_engine.model import SIDES
from recon_engine.options import OPTIONS, SIDED, Group
from recon_engine.status import STATUSES, RunStatus


LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
VARIABLE = re.compile("RECON_[A-Z0-9]+(?:_[A-Z0-9]+)*")
BY_HAND = re.compile(r"\[(env var): (.+?)\](?=  |$)")
DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = """
SELECT c.relname, obj_description(c.oid, 'pg_class'), a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(c.oid, a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'metrics'::regnamespace AND c.relkind IN ('r', 'v')
    AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""


def held(name: str, text: str) -> None:
    """The document is what the code makes of it."""
    path = DOCS / name
    if "ACCEPT_DOCS" in os.environ:
        path.write_text(text)
    assert path.read_text() == text, f"ACCEPT_DOCS=1 writes docs/{name} anew"


def test_the_data_dictionary_is_that_of_the_migrations(database: str) -> None:
    lines = [
        "# Data dictionary",
        "",
        "Every table of the schema `metrics`, from the comments in the database.",
        "The schema `stage` has the tables `<dataset>_old` and `<dataset>_new` of the",
        "latest run that loaded them, which their comments name. All columns are",
        "`text`. A file with more than 387 columns, or with a name that Postgres",
        "cannot use, has one column `cells text[]` instead.",
    ]
    last = None
    with psycopg.connect(database) as connection:
        for row in connection.execute(COLUMNS):
            table, about, column, kind, required, meaning = row
            if table != last:
                lines += ["", f"## metrics.{table}", "", about, ""]
                lines += ["| column | type | | meaning |", "|---|---|---|---|"]
                last = table
            needed = "required" if required else ""
            lines.append(f"| `{column}` | {kind} | {needed} | {meaning} |")
    held("data-dictionary.md", "\n".join(lines) + "\n")


def test_the_reference_of_errors_is_that_of_the_code() -> None:
    lines = [
        "# Statuses and errors",
        "",
        "The first table lists every status in which a run or a command can end.",
        "`recon statuses` prints it. The [runbook](runbook.md) has the next steps.",
        "",
        "| status | exit | safe to repeat | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [`{status}`](runbook.md#{status.lower()}) | {row.exit_code} |"
        f" {'yes' if row.retryable else 'no'} | {row.meaning} |"
        for status, row in STATUSES.items()
    ]
    lines += [
        "",
        "## Errors in Python",
        "",
        "All are in `recon_engine.errors`. Each has `message`, `file`, `line`,",
        "`byte_offset`, `column`, `why` and `help`; none holds the value of a cell.",
        "",
        "| class | is a | status | when |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{kind.__name__}` | `{kind.__mro__[1].__name__}` | `{kind.status}` |"
        f" {(inspect.getdoc(kind) or '').partition(chr(10))[0]} |"
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ReconError)
    ]
    held("errors.md", "\n".join(lines) + "\n")


def option(param: Any) -> str:
    """A line of a command's table."""
    about = re.sub(r"\s*\[[^]]+: .+\]$", "", param.help or "").replace("|", "\\|")
    said = dict(BY_HAND.findall(param.help or ""))
    variable = param.envvar or said.get("env var", "")
    if param.required:
        default = "required"
    elif isinstance(getattr(param, "show_default", None), str):
        default = param.show_default
    elif (
        param.default is False
        or param.default in (None, (), "")
        or callable(param.default)
    ):
        default = ""
    else:
        default = f"`{param.default}`"
    kind: Any = type(param.default)
    choices = kind if isinstance(kind, EnumType) else ()
    takes = (param.metavar or "|".join(choices)).replace("|", "\\|")
    argument = param.param_type_name == "argument"
    spelled = [*sorted(param.opts, key=len), *param.secondary_opts]
    names = [] if argument else [f"`{name}`" for name in spelled]
    name = ", ".join(names) + f" `{takes}`" * bool(takes)
    variable = re.sub("^[A-Z_0-9]+", lambda found: f"`{found[0]}`", variable)
    return f"| {name.strip()} | {variable} | {default} | {about} |"


def sections_of(params: list[Any]) -> dict[str, list[Any]]:
    """The arguments, then the options by group, as the help has them."""
    sections: dict[str, list[Any]] = {"Arguments": [], **{g: [] for g in Group}}
    for param in params:
        argument = param.param_type_name == "argument"
        sections["Arguments" if argument else param.rich_help_panel].append(param)
    return {name: each for name, each in sections.items() if each}


def test_the_reference_of_commands_is_that_of_the_code() -> None:
    group: Any = get_command(app)
    lines = [
        "# Commands",
        "",
        "Every command with its options, as `recon COMMAND --help` shows them. A flag",
        "overrides its variable, which overrides [recon.toml](configuration.md).",
        "[errors.md](errors.md) has the exit codes.",
        "",
        "`recon --version`, `--debug` (tracebacks, which may have values of cells),",
        "`--install-completion` and `--show-completion` need no command. Variables",
        "without an option are in [operations.md](operations.md),",
        "[masks.md](masks.md), [spark.md](spark.md) and [native.md](native.md).",
    ]
    for name, command in sorted(group.commands.items()):
        lines += ["", f"## recon {name}", "", command.help or "", ""]
        if command.epilog:
            examples = command.epilog.partition("Examples:\n")[2]
            lines += ["```", *map(str.strip, examples.splitlines()), "```", ""]
        if not command.params:
            lines.append("It has no options.")
            continue
        if command.has_short_help:
            # The first long flag, as in `Option.flag`.
            flags = (
                next(flag for flag in each.opts if flag.startswith("--"))
                for each in command.common_options
            )
            common = ", ".join(f"`{flag}`" for flag in flags)
            lines += [f"`recon {name} -h` shows the most used options: {common}.", ""]
        lines += ["| option | variable | default | |", "|---|---|---|---|"]
        for section, params in sections_of(command.params).items():
            lines.append(f"| **{section}** | | | |")
            # The option for both files names those for one, which are hidden.
            lines += [
                option(param) for param in params if not getattr(param, "hidden", False)
            ]
    held("commands.md", "\n".join(lines) + "\n")


@pytest.mark.parametrize("status", RunStatus)
def test_the_runbook_has_a_section_for_every_status(status: RunStatus) -> None:
    text = (DOCS / "runbook.md").read_text()
    found = re.search(
        rf"^## {status}\n\n(.+?)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"docs/runbook.md says nothing of {status}"
    assert len(found[1]) > 40


def test_the_runbook_has_no_section_for_what_is_no_status() -> None:
    text = (DOCS / "runbook.md").read_text()
    sections = set(re.findall(r"^## ([A-Z_]+)$", text, re.MULTILINE))
    assert sections == set(RunStatus)


def headings(path: Path) -> set[str]:
    """What may be linked to in a document, as GitHub spells it."""
    found = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in found}


def test_every_document_and_section_that_is_linked_is_there() -> None:
    for path in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for target, section in LINK.findall(path.read_text()):
            linked = path.parent / target if target else path
            assert linked.exists(), f"{path.name} links to {target}"
            if section:
                assert section in headings(linked), f"{path.name}: {target}#{section}"


def test_every_variable_is_documented() -> None:
    root = DOCS.parent
    named = {
        name
        for folder in ("recon_engine", "cli/recon_cli")
        for path in (root / folder).rglob("*.py")
        for name in VARIABLE.findall(path.read_text())
    }
    # docs/files.md documents once how the variables of one side are spelled.
    of_a_side = {option.of_side(side).env for option in SIDED for side in SIDES}
    named |= {option.env for option in OPTIONS.values() if option.env} - of_a_side
    shown = "".join(
        path.read_text() for path in (*DOCS.glob("*.md"), root / "README.md")
    )
    # Prefixes of names are none.
    whole = {name for name in named if not any(n.startswith(f"{name}_") for n in named)}
    spelled = set(re.findall("`(RECON_[A-Z0-9_]+)", shown))
    assert whole - spelled == set()


def test_the_options_that_the_page_on_spark_names_are_there() -> None:
    page = (DOCS / "spark.md").read_text()
    [submit] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    command, *given = json.loads(submit)["sparkSubmit"]["entryPointArguments"]
    lines = re.findall(r"recon (diff .*)", page)
    group: Any = get_command(app)
    known = {name for each in group.commands[command].params for name in each.opts}
    assert {each for each in given if each.startswith("--")} <= known
    for line in lines:
        assert {each for each in line.split() if each.startswith("--")} <= known
    assert lines


def test_every_command_that_the_documents_name_is_there() -> None:
    documents = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    named = {
        name
        for path in documents
        for name in re.findall(r"(?:`|\n)recon ([a-z]+)", path.read_text())
    }
    known = {
        command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
    }
    assert named <= known


def test_the_picture_of_the_layers_is_the_contract() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())
    [contract] = (
        each
        for each in project["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers" and each.get("containers") == ["recon_engine"]
    )
    [picture] = re.findall(
        r"```\n(  recon_cli .*?)```", (DOCS / "design.md").read_text(), re.DOTALL
    )
    # The names are in the left column of each level.
    drawn = [
        [name for line in level.splitlines() for name in re.findall(r"\w+", line[:33])]
        for level in re.split(r"─+\n", picture)
    ]
    levels = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    assert drawn == [["recon_cli"], *levels]
