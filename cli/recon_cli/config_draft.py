"""Show a draft of recon.toml as a table of decisions, and write the file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from recon_cli.session import announce, echo, make_console, say, show_then
from recon_engine.command_line import quoted
from recon_engine.config_file import load_configuration
from recon_engine.config_place import is_found_here
from recon_engine.drafts.code_files import write_code_files
from recon_engine.drafts.config_file_text import (
    find_table,
    override_top,
    revise_config,
    write_config_text,
)
from recon_engine.drafts.config_text import write_config
from recon_engine.drafts.decision import COLUMNS
from recon_engine.errors import ConfigError
from recon_engine.hint_settings import list_toml, read_flags
from recon_engine.terminal import print_decisions
from recon_engine.toml_text import set_value


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine.drafts.decision import Draft


def write_draft(
    draft: Draft,
    path: Path,
    dataset: str | None,
    *,
    force: bool,
    names: tuple[str, str],
    limit_words: Sequence[str] = (),
) -> None:
    """Print the decisions and write the file; ConfigError if it would be replaced.

    Args:
        draft: The draft.
        path: The configuration file.
        dataset: The dataset whose settings these are; None for every dataset.
        force: Whether settings that are there may be replaced.
        names: OLD and NEW, for the command that comes next.
        limit_words: The options of limits that the files need, which are written, too.
    """
    rows = [each.row for each in draft.decisions]
    show_then(
        lambda: print_decisions(make_console(), COLUMNS, rows),
        lambda: _write_file(
            draft, path, dataset, force=force, names=names, limit_words=limit_words
        ),
    )


def _write_file(
    draft: Draft,
    path: Path,
    dataset: str | None,
    *,
    force: bool,
    names: tuple[str, str],
    limit_words: Sequence[str],
) -> None:
    undecided = {column.name for column in draft.never}
    table = find_table(path, dataset)
    text = write_config(draft.choices, table, names)
    for place, name, value in list_toml(read_flags(limit_words), table):
        text = set_value(text, place, name, value)
    if dataset is not None:
        text = override_top(path, text, dataset)
    found = revise_config(path, text, table)
    lost = ", ".join(found.lost)
    if found.replaces and not force:
        echo()
        echo(_diff(found.before, found.after, path.name), end="")
        raise ConfigError(
            f"{path} exists already",
            why="the lines above show what would change"
            + (f"; these settings are in no draft: {lost}" if lost else ""),
            help="add --force to replace"
            + (f" the settings of {dataset or '[tool.recon]'}" if table else " it"),
        )
    # Before recon.toml: if one of them has other codes, this raises, and nothing is
    # written.
    files = write_code_files(draft.hints, path, force=force)
    write_config_text(path, found.after)
    # The commands to come have to accept it, with all that is in the file besides.
    load_configuration(path, dataset)
    echo()
    say(f"with these settings: {draft.result.headline()}")
    announce(f"written: {', '.join(map(str, (path, *files)))}")
    if lost:
        announce(f"removed, for the draft does not have them: {lost}")
    command = _next_command(path, dataset, names)
    announce(f"next: {command}")
    # `--save-hints` counts all hints of the result, so these are counted, too.
    for number, hint in enumerate(draft.result.hints, 1):
        if hint in draft.hints and hint.code_file and hint.column in undecided:
            announce(
                f"use {hint.code_file} if it is right: {command} --save-hints {number}"
            )


def _next_command(path: Path, dataset: str | None, names: tuple[str, str]) -> str:
    words = ["recon", "diff", *names]
    if not is_found_here(path):
        words += ["--config", str(path)]
    if dataset is not None:
        words += ["--dataset", dataset]
    return " ".join(map(quoted, words))


def _diff(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        name,
        f"{name} of recon init",
    )
    return "".join(lines)
