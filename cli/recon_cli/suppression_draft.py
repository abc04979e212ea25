"""Print differences as `[[suppress]]` tables, to fill in and add to recon.toml."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from recon_cli.session import announce, echo
from recon_engine.compare.masks import PREFIX, reads_as_masked
from recon_engine.config_file import PYPROJECT, read_toml
from recon_engine.errors import ConfigError
from recon_engine.model import SIDES
from recon_engine.postgres.break_keys import read_key
from recon_engine.postgres.breaks import VALUE_CHARACTERS
from recon_engine.suppression_arguments import DAYS, draft_suppression
from recon_engine.toml_text import write_header, write_setting


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from recon_engine.model import Suppression
    from recon_engine.postgres.breaks import BreakPage
    from recon_engine.result import Reconciliation


# Refused as long as it is empty.
TO_FILL_IN: Final = (
    'reason = ""  # why it is accepted',
    'owner = ""  # who accepts it',
)


def print_for_columns(
    result: Reconciliation, names: Sequence[str], dataset: str | None, file: Path | None
) -> None:
    """Print a table for each column: its cells that differ and are not accepted.

    `names`: columns, or `missing` and `extra` for rows. `file`: the configuration file
    that they are for, if there is one. Raises ConfigError for another name.
    """
    drafted = {name: _draft(result, name) for name in names}
    header = write_header(_find_place(dataset, file))
    printed = False
    for name, each in drafted.items():
        if each is None:
            announce(f"{name}: no difference is left to accept")
            continue
        printed = True
        # A blank line: the tables may be appended to a file.
        echo(f"\n[{header}]")
        kinds = each.kinds and [*each.kinds]
        if kinds:
            echo('what = "column"')
            echo(write_setting("column", name))
            echo(write_setting("kind", kinds if kinds[1:] else kinds[0]))
        else:
            echo(write_setting("what", name))
        _print_end(each.max or 0)
    if printed:
        announce(
            f"fill in reason and owner, and add the tables to {file or 'recon.toml'};"
            " the next recon diff counts these differences apart"
        )


def _draft(result: Reconciliation, name: str) -> Suppression | None:
    """What accepts a column or rows, without reason and owner."""
    drift = result.drift
    try:
        return draft_suppression(
            name,
            result.by_column,
            result.left_by_kind,
            one_sided={*drift.only_in_old, *drift.only_in_new},
            reason="",
            owner="",
            until=None,
        )
    except ConfigError as error:
        remedy = error.help and f"{error.help} in recon.toml, or --ignore"
        raise ConfigError(f"--suppress {error.message}", help=remedy) from None


def _print_end(count: int) -> None:
    """Print the lines of a table that follow what it accepts."""
    for line in TO_FILL_IN:
        echo(line)
    echo(write_setting("max", count))
    until = date.today() + timedelta(DAYS)  # noqa: DTZ011 - a person's day
    echo(f"until = {until}")


def print_suppressions(page: BreakPage, dataset: str, file: Path | None) -> None:
    """Print a table for each column and kind of the listed breaks.

    `file`: the configuration file that they are for, if there is one.
    """
    header = write_header(_find_place(dataset, file))
    rows = [
        dict(zip((*page.names, "cells"), (*row, cells), strict=True))
        for row, cells in zip(page.rows, page.occurrences, strict=True)
    ]
    rows.sort(key=_group_of)
    for _, each in groupby(rows, key=_group_of):
        group = list(each)
        echo(f"\n[{header}]")
        for line in _write_table(group, page.key_columns):
            echo(line)
        _print_end(sum(row["cells"] for row in group))
    if rows:
        announce(
            f"fill in reason and owner, and add the tables to {file or 'recon.toml'};"
            " they apply from the next run"
        )


def _group_of(row: dict[str, Any]) -> tuple[str, str]:
    return row["column"] or "", row["kind"]


def _find_place(dataset: str | None, file: Path | None) -> list[str]:
    """The table of the file whose suppressions are those of the dataset."""
    root = ["tool", "recon"] if file and file.name == PYPROJECT else []
    if dataset is None:
        return [*root, "suppress"]
    known: dict[str, Any] = {"dataset": {dataset: {}}}
    if file:
        known = dict(read_toml(file))
    own = known.get("dataset", {}).get(dataset)
    # A list of the dataset would take the place of that at the top.
    if own is None or ("suppress" in known and "suppress" not in own):
        return [*root, "suppress"]
    return [*root, "dataset", dataset, "suppress"]


def _write_table(
    rows: Sequence[dict[str, Any]], key_columns: Sequence[str]
) -> Iterator[str]:
    """The lines of a table about what it accepts."""
    column, kind = rows[0]["column"], rows[0]["kind"]
    keys = [read_key(row["key"], key_columns) for row in rows]
    if any(_is_hidden(text) for key in keys for text in key):
        raise ConfigError(
            "the breaks cannot be accepted by their keys",
            why="redact or last4 masks a key column: one text is shown for many keys",
            help="accept a column and kind without keys, or mask the keys by hmac"
            " (docs/gates.md, Suppressions)",
        )
    if column:
        yield 'what = "column"'
        yield write_setting("column", column)
        yield write_setting("kind", kind)
    else:
        yield write_setting("what", kind)
    # One text for each key if the key is one column.
    yield write_setting("keys", [key[0] if len(key) == 1 else [*key] for key in keys])
    if column:
        yield from _write_values(rows)


def _write_values(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The values that all cells have on a side; a comment if they are not known."""
    if any(row["cells"] > 1 for row in rows):
        yield "# A key has several cells: old and new, which may differ, are left out."
        return
    for side in SIDES:
        values = {row[side] for row in rows}
        if len(values) > 1:
            continue
        [value] = values
        if len(value) >= VALUE_CHARACTERS and value.endswith("…"):
            yield f"# {side} is left out: it is cut to {VALUE_CHARACTERS} characters."
        elif _is_hidden(value):
            yield f"# {side} is left out: redact or last4 masks the column."
        else:
            yield write_setting(side, value)


def _is_hidden(text: str) -> bool:
    """Whether a mask shows this text in the place of many values."""
    return reads_as_masked(text) and not text.startswith(PREFIX)
