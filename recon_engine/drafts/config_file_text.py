"""The text of a configuration file: read, with the settings of a draft, and written.

A file that is there keeps its other tables, and is replaced only if a caller says so.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from recon_engine.config import Limits
from recon_engine.config_file import EMPTY, PYPROJECT, merge_tables, read_toml
from recon_engine.errors import ConfigError
from recon_engine.hint_settings import write_name
from recon_engine.options import OPTIONS, Group, Option
from recon_engine.records import dataclass
from recon_engine.toml_text import (
    PROPOSAL,
    read_header,
    set_value,
    write_header,
    write_key,
)


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


# Settings that no draft depends on: they may refuse files, and change no count.
POLICIES: Final = {"gates", "on_bad_row", "on_duplicate_keys", "on_schema_drift"}


@dataclass(frozen=True, slots=True)
class Revision:
    """The text of a file before and after the settings of a draft are in it.

    `replaces`: whether settings that are there change. `lost`: those that the draft
    does not have, by their places.
    """

    before: str
    after: str
    replaces: bool
    lost: tuple[str, ...]


def find_table(path: Path, dataset: str | None = None) -> tuple[str, ...]:
    """The table of a file that has the settings of a dataset; () is the whole file."""
    table = ("dataset", dataset) if dataset else ()
    return ("tool", "recon", *table) if path.name == PYPROJECT else table


def revise_config(path: Path, text: str, table: tuple[str, ...]) -> Revision:
    """What a file becomes with this text as its table, or as a whole.

    Raises ConfigError if it cannot be read, or be edited.
    """
    before = read_config_text(path) if path.exists() else ""
    if before and table:
        # It is edited, so that it has to be TOML.
        read_toml(path)
    after, replaces = _merge(before, text, table)
    try:
        tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            "the file cannot be edited automatically",
            file=str(path),
            why=f"the table {write_header(table)} has another form than recon reads",
            help="name another file with --config, and copy the settings from it",
        ) from None
    lost = tuple(_find_lost(before, after)) if replaces else ()
    return Revision(before, after, replaces, lost)


def override_top(path: Path, text: str, dataset: str) -> str:
    """The text of a dataset's table, so that the top of its file changes no result.

    What the top sets for the reading of files is set in the table too, as the draft has
    it. Raises ConfigError for what the top sets besides for the comparison.
    """
    table = find_table(path, dataset)
    file: Any = tomllib.loads(revise_config(path, text, table).after)
    for part in table[:-2]:
        file = file[part]
    # The table alone and below the top of the file: what differs is what the top sets.
    drafted = {"dataset": {dataset: file["dataset"][dataset]}}
    own = merge_tables(drafted, path, dataset).settings
    merged = merge_tables(file, path, dataset).settings
    besides = list[str]()
    for name, option in OPTIONS.items():
        plain = _find_default(option)
        mine = own.get(name, plain)
        value = merged.get(name, mine)
        if value == mine or not _changes_result(option):
            continue
        *sides, setting = str(option.in_file).split(".")
        if isinstance(value, dict):
            columns = (each for each in value if value[each] != mine.get(each))
            besides += (
                ".".join(map(write_key, (*sides, setting, write_name(each))))
                for each in columns
            )
        elif not _is_of_reading(option) or plain in {None, ""}:
            besides.append(".".join((*sides, setting)))
        else:
            text = set_value(text, (*table, *sides), setting, plain)
    if besides:
        raise ConfigError(
            f"the top of the file sets {', '.join(besides)}, which the draft of"
            f" {dataset} does not have",
            file=str(path),
            why="it is for every dataset, so that the result would be another one",
            help="move it to the datasets that need it, or name another file with"
            " --config, and copy the settings from it",
        )
    return text


def _changes_result(option: Option) -> bool:
    """Whether a setting decides what is compared, and is no policy about it."""
    of_files = option.group in {Group.INPUT, Group.COMPARISON}
    return of_files and option.sets is not Limits and option.name not in POLICIES


def _is_of_reading(option: Option) -> bool:
    """Whether a setting says how a file is read, as a draft finds out."""
    return option.group is Group.INPUT or option.name == "match_names"


def _find_default(option: Option) -> Any:
    """The default of an option; of one side, that of both."""
    both = OPTIONS[option.name.removeprefix(f"{option.side}_")]
    return EMPTY.get(both.shape, both.default)


def read_config_text(path: Path) -> str:
    """The text of a configuration file; raises ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8", file=str(path)) from None
    except OSError as error:
        raise ConfigError(
            "the configuration cannot be read", file=str(path), why=error.strerror
        ) from None


def write_config_text(path: Path, text: str) -> None:
    """Write a configuration file; one that is there is kept if that fails."""
    # Lazy: few commands write one.
    from recon_engine.storage.base import replace_at_end, translate_write_errors

    if not path.parent.is_dir():
        raise ConfigError(
            "the configuration cannot be written",
            file=str(path),
            why=f"there is no folder {path.parent}",
            help="make the folder, or name a file in another one",
        )
    with translate_write_errors(path), replace_at_end(path) as part:
        part.write_text(text, encoding="utf-8")


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
        # At the end of the file: a header ends the table above it.
        return f"{before.rstrip()}\n\n{text}", False
    kept = _without_table(before, table)
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
            # A list of which no item stays has another value, as a text may have.
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


def _without_table(text: str, table: tuple[str, ...]) -> str:
    """The text without a table and those in it.

    Comments above the next table are of that table: all behind an empty line, or those
    directly above it that propose nothing.
    """
    kept: list[str] = []
    above: list[str] = []
    is_apart = skipping = False
    for line in text.splitlines(keepends=True):
        # `[[suppress]]` is a table, too.
        head = read_header(line.rstrip().replace("[[", "[", 1).replace("]]", "]", 1))
        if head is not None:
            is_of_table = tuple(head[: len(table)]) == table
            if skipping and not is_of_table:
                kept += above
            skipping = is_of_table
        bare = line.lstrip()
        if not skipping:
            kept.append(line)
        elif (is_apart and not bare) or (
            bare.startswith("#") and (is_apart or not bare.startswith(PROPOSAL))
        ):
            above.append(line)
        else:
            above, is_apart = [], not bare
    return "".join(kept)
