"""Show a draft of recon.toml as a table of decisions, and write the file."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING

from recon_cli.code_files import write_code_files
from recon_cli.config_lookup import read_config_text, write_config_text
from recon_cli.session import announce, echo, make_console, say
from recon_engine.command_line import quoted
from recon_engine.config_file import PYPROJECT, load_configuration, read_toml
from recon_engine.drafts.config_text import write_config
from recon_engine.drafts.decision import COLUMNS
from recon_engine.errors import ConfigError
from recon_engine.terminal import print_decisions
from recon_engine.toml_text import write_key


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from recon_engine.drafts.decision import Draft


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
    undecided = {column.name for column in draft.never}
    rows = [each.row for each in draft.decisions]
    print_decisions(make_console(), COLUMNS, rows)
    table = ("dataset", dataset) if dataset else ()
    if path.name == PYPROJECT:
        table = ("tool", "recon", *table)
    text = write_config(draft, table, names)
    before = read_config_text(path) if path.exists() else ""
    if before and table:
        # It is edited, so that it has to be TOML.
        read_toml(path)
    after, replaces = _merge(before, text, table)
    lost = ", ".join(_find_lost(before, after)) if replaces else ""
    if replaces and not force:
        echo()
        echo(_diff(before, after, path.name), end="")
        raise ConfigError(
            f"{path} exists already",
            why="the lines above show what would change"
            + (f"; these settings are in no draft: {lost}" if lost else ""),
            help="add --force to replace"
            + (f" the settings of {dataset or '[tool.recon]'}" if table else " it"),
        )
    files = write_code_files(draft.hints, path, force=force)
    write_config_text(path, after)
    load_configuration(path, dataset)
    echo()
    say(f"with these settings: {draft.result.headline()}")
    announce(f"written: {', '.join(map(str, (path, *files)))}")
    if lost:
        announce(f"removed, for the draft does not have them: {lost}")
    command = _next_command(path, dataset, names)
    announce(f"next: {command}")
    for number, hint in enumerate(draft.result.hints, 1):
        if hint in draft.hints and hint.code_file and hint.column in undecided:
            announce(
                f"use {hint.code_file} if it is right: {command} --save-hints {number}"
            )


def _next_command(path: Path, dataset: str | None, names: tuple[str, str]) -> str:
    words = ["recon", "diff", *names]
    if str(path) not in {"recon.toml", PYPROJECT}:
        words += ["--config", str(path)]
    if dataset is not None:
        words += ["--dataset", dataset]
    return " ".join(map(quoted, words))


def _merge(before: str, text: str, table: tuple[str, ...]) -> tuple[str, bool]:
    """The text of the file, and whether settings that are there are replaced.

    `table`: where the settings are; empty for the whole file.
    """
    if not before.strip():
        return text, False
    if not table:
        return text, before != text
    known: Any = tomllib.loads(before)
    for part in table:
        known = known.get(part) if isinstance(known, dict) else None
    if known is None:
        return f"{before.rstrip()}\n\n{text}", False
    kept = _without_table(before, ".".join(table))
    after = f"{kept.rstrip()}\n\n{text}" if kept.strip() else text
    return after, before != after


def _find_lost(before: str, after: str) -> Iterator[str]:
    """The settings of a file that another text does not have, by their places."""
    try:
        known = dict(_list_settings(tomllib.loads(before)))
    except tomllib.TOMLDecodeError:
        return
    kept = dict(_list_settings(tomllib.loads(after)))
    for place, value in known.items():
        if place not in kept:
            yield ".".join(map(write_key, place))
        elif isinstance(value, list) and isinstance(kept[place], list):
            some = [each for each in value if each not in kept[place]]
            if some and len(some) < len(value):
                yield f"a part of {'.'.join(map(write_key, place))}"


def _list_settings(
    table: Mapping[str, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The settings of a table and of those in it, each with its place."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _list_settings(value, (*place, name))
        else:
            yield (*place, name), value


def _without_table(text: str, table: str) -> str:
    """The text without a table and those in it."""
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            name = line.strip().strip("[]").replace('"', "")
            skipping = name == table or name.startswith(f"{table}.")
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
