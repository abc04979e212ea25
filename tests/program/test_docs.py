"""The documentation does what it says: its commands are run, their output compared.

`ACCEPT_DOCS=1 pytest tests/program/test_docs.py` writes the output anew: read the
change.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import polars as pl
import psycopg
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator
from recon_cli.app import app
from support.forked_program import write_command
from support.program import embedded_server_of, recon
from typer import Context
from typer.main import get_command

from recon_engine.config_file import Accepted, load_configuration
from recon_engine.gate_syntax import METRICS
from recon_engine.options import OPTIONS, Group, Option
from recon_engine.postgres.migrations import schema_folder


if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from recon_engine import Reconciliation


ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (
    README,
    DOCS / "init.md",
    DOCS / "gates.md",
    DOCS / "configuration.md",
    DOCS / "masks.md",
    DOCS / "breaks.md",
)
CONSOLE = re.compile(
    r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL
)
CHANGING = (
    r'time="[\d.]+"',
    r"time: +\d.*",
    r"[\d.,]+ s · [\d.,]+ MiB/s · peak [\d.,]+ MiB",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"\b20\d\d-\d\d-\d\d\b",
    r"(?<=_)20\d{6}T\d{6,12}",
)


# What a shell reads otherwise than as a list of words.
SHELL = re.compile(r"[|&;<>$`*?\\\n]")
SIMPLE = re.compile(r"(?P<assigned>([A-Z_]+=\w+ )*)recon (?P<arguments>.*)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (ROOT / "docs" / "example").iterdir():
        shutil.copy(path, tmp_path)
    write_command(tmp_path / "recon")
    return tmp_path


def call(command: str, folder: Path, **environment: str) -> CompletedProcess[str]:
    """Do a command: in this process, unless a shell or another program is needed."""
    if (simple := SIMPLE.fullmatch(command)) and not SHELL.search(command):
        assigned = dict(each.split("=", 1) for each in simple["assigned"].split())
        arguments = shlex.split(simple["arguments"])
        return recon(*arguments, cwd=folder, **environment | assigned)
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def said(command: str, folder: Path) -> str:
    """What a reader sees: all output, then the messages that are no log."""
    ended = call(command, folder, COLUMNS="88")
    lines = ended.stderr.splitlines(keepends=True)
    output = ended.stdout + "".join(line for line in lines if line[0] != "{")
    here = output.replace(str(folder.resolve()), "/srv")
    short = re.sub(r"file:///\S+?/recon-demo", "file:///…/recon-demo", here)
    return re.sub(r" +$", "", short, flags=re.MULTILINE)


def steady(text: str) -> str:
    """Without what is different in every run."""
    for pattern in CHANGING:
        text = re.sub(pattern, "…", text)
    return text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_say_what_it_shows(page: Path, folder: Path) -> None:
    text = page.read_text()
    blocks = list(CONSOLE.finditer(text))
    assert blocks
    shown = text
    with embedded_server_of(folder) if "recon demo" in text else nullcontext():
        for block in blocks:
            output = said(block["command"], folder)
            whole = f"```console\n$ {block['command']}\n{output}```"
            shown = shown.replace(block[0], whole)
    if "ACCEPT_DOCS" in os.environ:
        page.write_text(shown)
    assert steady(shown) == steady(text)


def test_the_hard_pair_of_the_readme_agrees_in_either_way(folder: Path) -> None:
    page = README.read_text()
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert (folder / "german.toml").read_text() in shown
    assert f"```\n{(folder / 'german.csv').read_text()}```" in page
    [command] = re.findall(r"\$ recon (diff german.csv iso.csv --key .*)", page)
    by_flags = recon(*shlex.split(command), "--format", "json", cwd=folder)
    config = ("--config", "german.toml", "--format", "json")
    by_file = recon("diff", "german.csv", "iso.csv", *config, cwd=folder)
    assert by_flags.returncode == by_file.returncode == 0
    said_by = [json.loads(ended.stdout) for ended in (by_flags, by_file)]
    assert all(result["counts"]["matched"] == 3 for result in said_by)
    assert said_by[0]["counts"] == said_by[1]["counts"]


def test_the_accepting_settings_of_the_readme_are_those_of_the_example(
    folder: Path,
) -> None:
    shown = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert (folder / "accepted.toml").read_text() in shown
    ended = recon("diff", "old.csv", "new.csv", "--config", "accepted.toml", cwd=folder)
    assert "writes report.html, diff.xlsx" in ended.stdout
    written = folder / "report.html"
    assert "recon diff old.csv new.csv --config accepted.toml" in written.read_text()
    assert (folder / "diff.xlsx").is_file()


def test_the_daily_folder_of_the_readme_has_the_settings_that_it_shows(
    folder: Path,
) -> None:
    shown = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert (folder / "claims.toml").read_text() in shown


def test_the_python_of_the_readme_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Reconciliation] = {}
    with pytest.raises(AssertionError, match="DIFFER"):
        exec(code, names)  # noqa: S102 - as the reader does
    assert names["d"].counts.missing == 1


def test_the_page_about_python_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / "python.md").read_text()
    cells = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    counts = []
    for code in cells:
        exec(code, names)  # noqa: S102 - as the reader does
        counts.append(names["d"].counts.mismatched_cells)
    assert len(cells) == 7
    assert counts[:2] == [8, 0]
    # The draft leaves half of PAID to a person; the hints are applied as they are.
    assert counts[2:] == [2, 1, 1, 1, 1]
    assert [each.state for each in names["second"].suppressed] == ["active", "active"]
    assert names["second"].left.mismatches["PAID"] == 0
    assert names["total"].delta == Decimal("25.01")
    assert names["paid"]["delta"].to_list() == [Decimal("25.01")]
    read = names["read_amount"]
    amounts = pl.DataFrame({"old": ["27.721,94", ""], "new": ["1,027,722.94", "5.0"]})
    shown = amounts.select(read("new"), read("old", ".", ","))
    assert shown.rows() == [
        (Decimal("1027722.94"), Decimal("27721.94")),
        (Decimal(5), None),
    ]


def test_the_python_of_gates_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / "gates.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Reconciliation] = {}
    exec(code, names)  # noqa: S102 - as the reader does
    assert names["d"].passes
    assert names["d"].gates[0].text == "1 of 6 old rows is missing, limit 1"


def test_the_file_of_the_docs_is_taken_and_is_what_its_schema_says(
    tmp_path: Path,
) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    [text] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "recon.toml").write_text(text)
    assert load_configuration(tmp_path / "recon.toml", "claims").settings["keys"] == (
        "CLM_ID",
        "SEGMENT",
    )


def shell(page: Path) -> list[str]:
    """The commands of a page that show no output, each on one line."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0] for line in lines if line]


OURS = [
    (page.name, line)
    for page in (README, *DOCS.glob("*.md"))
    for line in shell(page)
    if re.match("([A-Z_]+=\\S+ )*recon ", line)
]


@pytest.mark.parametrize(("page", "line"), OURS)
def test_the_commands_that_show_no_output_run(
    page: str, line: str, database: str, folder: Path
) -> None:
    command = re.sub("^RECON_DATABASE_SECRET=\\S+ ", "", line)
    ended = call(command, folder, RECON_DATABASE_URL=database)
    assert ended.returncode == 0, f"{page}: {ended.stderr}"


@pytest.mark.parametrize("page", [README, *DOCS.glob("*.md")], ids=lambda p: p.name)
def test_the_sql_of_a_page_runs(page: Path, database: str) -> None:
    with psycopg.connect(database) as connection:
        for block in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL):
            connection.execute(block)


# What the command line of AWS adds to the interfaces.
ADDED = ("cloudformation deploy", "ecr get-login-password", "logs tail", "s3 cp")
OF_AWS = [
    command
    for page in (README, *DOCS.glob("*.md"))
    for line in shell(page)
    for command in re.findall(r"\baws [^|]+", line)
    if not command.startswith(tuple(f"aws {name}" for name in ADDED))
]


@pytest.mark.parametrize("command", OF_AWS)
def test_a_command_of_aws_is_one_that_its_model_knows(command: str) -> None:
    _, service, operation, *arguments = shlex.split(command)
    client = boto3.client("s3" if service == "s3api" else service)
    model = client.meta.service_model
    client.close()
    [name] = [n for n in model.operation_names if xform_name(n, "-") == operation]
    members = {
        xform_name(member, "-"): shape
        for member, shape in model.operation_model(name).input_shape.members.items()
    }
    for option, value in itertools.pairwise([*arguments, ""]):
        if option.startswith("--") and option != "--query":
            shape = members[option.removeprefix("--")]
            if value.startswith("{"):
                report = ParamValidator().validate(json.loads(value), shape)
                assert not report.has_errors(), report.generate_report()


def default_of(option: Option) -> str:
    if option.default in (None, ""):
        return option.without or ""
    return f"`{json.dumps(option.default)}`"


def settings() -> str:
    """A table of all settings, by the table of options."""
    lines = ["| setting | flag | default | |", "|---|---|---|---|"]
    # `[old]` and `[new]` have the settings of the table that are about one file.
    filed = [o for o in OPTIONS.values() if o.in_file and not o.side]
    for group in (group for group in Group if any(o.group is group for o in filed)):
        lines.append(f"| **{group}** | | | |")
        for option in filed:
            if option.group is group:
                flag = f"`{option.flag}`" if option.flags else ""
                about = option.help.replace("|", "\\|")
                about += " Also in `[old]`, `[new]`." if option.sided else ""
                lines.append(
                    f"| `{option.in_file}` | {flag} | {default_of(option)} | {about} |"
                )
    return "\n".join(lines)


def suppressions() -> str:
    """A table of what a suppression has, by the model that reads it."""
    lines = ["| setting | | |", "|---|---|---|"]
    for name, field in Accepted.model_fields.items():
        required = "required" if field.is_required() else ""
        lines.append(f"| `{name}` | {required} | {field.description} |")
    return "\n".join(lines)


def metrics() -> str:
    lines = ["| metric | takes a column | |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {metric.takes_column} |"
        f" {metric.meaning}{', as a rate' * metric.rate} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("page", "name", "table"),
    [
        ("configuration.md", "settings", settings()),
        ("configuration.md", "suppressions", suppressions()),
        ("gates.md", "metrics", metrics()),
    ],
)
def test_the_tables_of_the_docs_are_those_of_the_code(
    page: str, name: str, table: str
) -> None:
    path = ROOT / "docs" / page
    before, mark, rest = path.read_text().partition(f"<!-- {name} -->\n")
    shown, end, after = rest.partition(f"<!-- /{name} -->")
    assert mark
    assert end
    if "ACCEPT_DOCS" in os.environ:
        path.write_text(f"{before}{mark}\n{table}\n\n{end}{after}")
    assert shown.strip() == table


def test_contributing_has_a_place_for_each_package_and_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    places = text.partition("\n## Where code belongs\n")[2].partition("\n### ")[0]
    package = ROOT / "recon_engine"
    modules = {each.name for each in package.glob("*.py")} - {"__init__.py"}
    packages = {f"{each.parent.name}/" for each in package.glob("*/__init__.py")}
    rows = "".join(line for line in places.splitlines() if line.startswith("| "))
    named = {*re.findall(r"`(\w+(?:\.py|/))`", rows)}
    # `embedded/` and `native/` are inside packages.
    inner = {f"{each.name}/" for each in package.glob("*/*") if each.is_dir()}
    assert modules | packages <= named <= modules | packages | inner


def test_every_option_of_the_readme_exists() -> None:
    text = README.read_text()
    options = set(re.findall(r"`(?:-\w`, `)?(--[a-z-]+)", text))
    group: Any = get_command(app)
    # A command keeps the option for help of the first context that asks for it.
    parent = Context(group, **group.context_settings)
    known = {
        flag
        for command in (group, *group.commands.values())
        for param in command.get_params(Context(command, parent=parent))
        for flag in (*param.opts, *param.secondary_opts)
    }
    assert options <= known
    assert (schema_folder() / "result.schema.json").is_file()
