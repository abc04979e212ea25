"""Show a draft of recon.toml as a table of decisions, and write the file."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Final

import typer

from recon_cli.config_lookup import read_config_text, write_config_text
from recon_cli.session import announce, make_console
from recon_engine.command_line import quoted
from recon_engine.config_file import load_configuration, read_toml
from recon_engine.drafts.config_text import write_config
from recon_engine.errors import ConfigError
from recon_engine.terminal import print_decisions


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from recon_engine.drafts.draft import Draft


# Below this width the evidence needs the room of the alternatives.
WIDE: Final = 100
COLUMNS: Final = ("decision", "choice", "evidence", "alternatives")


def parse_sample(text: str) -> int | None:
    """The number of rows of a sample; None for `all`."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ConfigError(
            f"--sample {text}: not a number of rows", help="such as 20000, or all"
        )
    return int(text)


def write_draft(
    draft: Draft,
    path: Path,
    dataset: str | None,
    *,
    force: bool,
    names: tuple[str, str],
) -> None:
    """Print the decisions and write the file; ConfigError if it would be replaced.

    Args:
        draft: The draft.
        path: The configuration file.
        dataset: The dataset whose settings these are; None for every dataset.
        force: Whether settings that are there may be replaced.
        names: OLD and NEW, for the command that comes next.
    """
    rows = [
        (each.about, each.choice, each.evidence, each.alternatives)
        for each in draft.decisions
    ]
    console = make_console()
    if not any(row[-1] for row in rows) or console.width < WIDE:
        print_decisions(console, COLUMNS[:-1], [row[:-1] for row in rows])
    else:
        print_decisions(console, COLUMNS, rows)
    text = write_config(draft, dataset)
    before = read_config_text(path) if path.exists() else ""
    if before and dataset is not None:
        # It is edited, so that it has to be TOML.
        read_toml(path)
    after, replaces = _merge(before, text, dataset)
    if replaces and not force:
        typer.echo()
        typer.echo(_diff(before, after, path.name), nl=False)
        raise ConfigError(
            f"{path} exists already",
            why="the lines above show what would change",
            help="add --force to replace"
            + (f" the settings of {dataset}" if dataset else " it"),
        )
    write_config_text(path, after)
    load_configuration(path, dataset)
    typer.echo()
    typer.echo(f"with these settings: {draft.result.headline()}")
    announce(f"written: {path}")
    announce(f"next: {_next_command(path, dataset, names)}")


def _next_command(path: Path, dataset: str | None, names: tuple[str, str]) -> str:
    words = ["recon", "diff", *names]
    if str(path) != "recon.toml":
        words += ["--config", str(path)]
    if dataset is not None:
        words += ["--dataset", dataset]
    return " ".join(map(quoted, words))


def _merge(before: str, text: str, dataset: str | None) -> tuple[str, bool]:
    """The text of the file, and whether settings that are there are replaced."""
    if not before.strip():
        return text, False
    if dataset is None:
        return text, before != text
    known: Mapping[str, Any] = tomllib.loads(before)
    if dataset not in known.get("dataset", {}):
        return f"{before.rstrip()}\n\n{text}", False
    kept = _without_dataset(before, dataset)
    after = f"{kept.rstrip()}\n\n{text}" if kept.strip() else text
    return after, before != after


def _without_dataset(text: str, dataset: str) -> str:
    """The text without the tables of a dataset."""
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            name = line.strip().strip("[]").replace('"', "")
            skipping = name == f"dataset.{dataset}" or name.startswith(
                f"dataset.{dataset}."
            )
        if not skipping:
            kept.append(line)
    return "".join(kept)


def _diff(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        name,
        f"{name} of recon init",
    )
    return "".join(lines)
