"""Print differences as `[[suppress]]` tables, to fill in and add to recon.toml."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from recon_cli.session import announce, echo
from recon_engine.characters import readable
from recon_engine.compare.masks import PREFIX, reads_as_masked
from recon_engine.config_file import PYPROJECT, read_toml
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_count
from recon_engine.hint_settings import write_name
from recon_engine.model import SIDES, Sha256, Suppressible, Suppression
from recon_engine.postgres.break_keys import read_key
from recon_engine.postgres.breaks import VALUE_CHARACTERS
from recon_engine.suppression_arguments import DAYS, draft_suppression
from recon_engine.suppressions import count_unfitted_by_kind, fits_kind
from recon_engine.toml_text import write_header, write_setting


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from recon_engine.model import Suppressed
    from recon_engine.postgres.breaks import BreakPage
    from recon_engine.result import Reconciliation


# A difference counts for the first suppression that fits it.
COMES_FIRST: Final = (
    "a table below it would have no effect; change its max or until, or remove it and"
    " draft again"
)
# Refused as long as it is empty.
TO_FILL_IN: Final = (
    'reason = ""  # why it is accepted',
    'owner = ""  # who accepts it',
)


def print_for_columns(
    result: Reconciliation, names: Sequence[str], dataset: str | None, file: Path | None
) -> None:
    """Print a table for each column: its cells that differ and no suppression fits.

    A difference counts for the first suppression that fits it, so those that fail are
    named. `names`: columns, or `missing` and `extra` for rows. `file`: the
    configuration file that they are for, if there is one. Raises ConfigError for
    another name.
    """
    drafted = {name: _draft(result, name) for name in names}
    header = write_header(_find_place(dataset, file))
    printed = False
    for name, each in drafted.items():
        first = [
            it for it in result.suppressed if it.failed and name == _name_subject(it)
        ]
        for it in first:
            announce(f"{readable(it.text)}: {COMES_FIRST}")
        if each is None:
            if not first:
                announce(f"{name}: no difference is left to accept")
            continue
        printed = True
        # A blank line: the tables may be appended to a file.
        echo(f"\n[{header}]")
        kinds = each.kinds and [*each.kinds]
        if kinds:
            echo('what = "column"')
            echo(write_setting("column", write_name(name)))
            echo(write_setting("kind", kinds if kinds[1:] else kinds[0]))
        else:
            echo(write_setting("what", name))
        _print_end(each.max or 0)
    if printed:
        announce(
            f"fill in reason and owner, and add the tables to {file or 'recon.toml'};"
            " the next recon diff counts these differences apart"
        )


def _name_subject(suppressed: Suppressed) -> str:
    """The column of a suppression, or its kind of rows."""
    return suppressed.suppression.column or suppressed.suppression.what.value


def _draft(result: Reconciliation, name: str) -> Suppression | None:
    """What accepts a column or rows, without reason and owner."""
    drift = result.drift
    unfitted = count_unfitted_by_kind(
        result.counts, result.by_column, result.suppressed
    )
    try:
        return draft_suppression(
            name,
            result.by_column,
            unfitted,
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


def print_suppressions(
    page: BreakPage,
    dataset: str,
    file: Path | None,
    suppressions: Sequence[dict[str, object]],
) -> None:
    """Print a table for each column and kind of the listed breaks.

    A break that a suppression fits has none: those that fit are named. `file`: the
    configuration file that they are for, if there is one. `suppressions`: those that
    come before the tables, each as `Suppression.public`.
    """
    header = write_header(_find_place(dataset, file))
    known = list(map(_read_public, suppressions))
    rows, fitted = list[dict[str, Any]](), Counter[int]()
    for values, cells in zip(page.rows, page.occurrences, strict=True):
        row = dict(zip((*page.names, "cells"), (*values, cells), strict=True))
        fits = (at for at, each in enumerate(known) if _fits_break(each, row))
        at = next(fits, None)
        if at is None:
            rows.append(row)
        else:
            fitted[at] += 1
    for at, count in sorted(fitted.items()):
        what = readable(f"the suppression of {known[at].name} ({known[at].owner})")
        announce(f"{format_count(count, 'break', 'fit')} {what}: {COMES_FIRST}")
    # `groupby` joins only neighbors.
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


def _read_public(values: dict[str, Any]) -> Suppression:
    """A suppression of its public fields: digests are in the place of its values."""
    lists = {name: tuple(it) for name, it in values.items() if isinstance(it, list)}
    what, until = Suppressible(values["what"]), date.fromisoformat(values["until"])
    return Suppression(**values | lists | {"what": what, "until": until})


def _fits_break(suppression: Suppression, row: Mapping[str, Any]) -> bool:
    """Whether a suppression, with digests, fits a break as it is listed.

    A value that is cut is not known, and fits none.
    """
    keys = suppression.keys
    return (
        fits_kind(suppression, row["column"], row["kind"])
        and (keys is None or Sha256.of(row["key"]) in keys)
        and all(
            (digest := getattr(suppression, side)) is None
            or digest == Sha256.of(row[side] or "")
            for side in SIDES
        )
    )


def _group_of(row: dict[str, Any]) -> tuple[str, str]:
    # Rows have no column, and None cannot be sorted among texts.
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
        yield write_setting("column", write_name(column))
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
        # A shorter value that ends so is whole.
        if len(value) >= VALUE_CHARACTERS and value.endswith("…"):
            yield f"# {side} is left out: it is cut to {VALUE_CHARACTERS} characters."
        elif _is_hidden(value):
            yield f"# {side} is left out: redact or last4 masks the column."
        else:
            yield write_setting(side, value)


def _is_hidden(text: str) -> bool:
    """Whether a mask shows this text in the place of many values."""
    return reads_as_masked(text) and not text.startswith(PREFIX)
