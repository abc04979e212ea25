"""What a hint proposes, as settings: for recon.toml and for Python.

A hint has its flags as text, also where it was read from a database. They are read back
here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from recon_engine.characters import readable
from recon_engine.command_line import (
    quote_name,
    read_words,
    split_list,
    split_names,
)
from recon_engine.options import OPTIONS, Option, Shape
from recon_engine.toml_text import write_header, write_setting


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recon_engine.model import Hint

    Settings = dict[str, Any]


KEYS: Final = "keys"
# Of a switch, `--no-header/--header`, both are flags: the first sets it.
BY_FLAG: Final = {
    flag.partition("/")[0]: each for each in OPTIONS.values() for flag in each.flags
}


def read_settings(hint: Hint) -> Settings:
    """The values that the flags of a hint set, by the name of the option.

    Empty for a hint without a flag.
    """
    return read_flags(read_words(hint.flag))


def read_flags(words: Iterable[str]) -> Settings:
    """The values that flags set, by the name of the option, as recon.toml has them."""
    found: Settings = {}
    remaining = iter(words)
    for flag in remaining:
        option = BY_FLAG[flag]
        if option.value_type is bool:
            found[option.name] = True
        else:
            _add_value(found, option, next(remaining))
    return found


def merge_settings(hints: Iterable[Hint]) -> Settings:
    """The values of several hints; later keys replace earlier ones."""
    merged: Settings = {}
    for hint in hints:
        for name, value in read_settings(hint).items():
            merged[name] = merge_value(merged.get(name), value, name)
    return merged


def merge_value(before: Any, value: Any, name: str) -> Any:
    """A value of the file with one of a hint, for the option of that name.

    Rules of a column are appended, and so are the items of a list, but for keys: a hint
    has all of them.
    """
    if isinstance(value, list) and name != KEYS and before:
        known = [before] if isinstance(before, str) else [*before]
        return [*known, *(each for each in value if each not in known)]
    if not isinstance(value, dict):
        return value
    merged = dict(before or {})
    for column, each in value.items():
        if not isinstance(each, list):
            merged[column] = each
            continue
        known = merged.get(column, [])
        known = [known] if isinstance(known, str) else [*known]
        merged[column] = [*known, *(rule for rule in each if rule not in known)]
    return merged


def list_toml(
    settings: Mapping[str, Any], table: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Each setting in recon.toml: its table, its name and its value.

    `table`: the table of the file, or of a dataset in it, whose own settings come
    first. A table of a file cannot be continued, so its settings are together.
    """
    places: dict[tuple[str, ...], list[tuple[str, Any]]] = {table: []}
    for name, value in settings.items():
        # `old.rules` is the setting `rules` of the table `[old]`.
        *sides, own = str(OPTIONS[name].in_file).split(".")
        place = (*table, *sides)
        written = _write_names(value, OPTIONS[name].shape)
        if isinstance(written, dict):
            found = places.setdefault((*place, own), [])
            found += [(column, _shorten(each)) for column, each in written.items()]
        else:
            places.setdefault(place, []).append((own, written))
    for place, found in places.items():
        for name, value in found:
            yield place, name, value


def write_name(name: str) -> str:
    """A name of a column as recon.toml has it: in quotes of its own only if needed."""
    needed = name != name.strip() or name.startswith('"')
    return quote_name(name, "") if needed else name


def _write_names(value: Any, shape: Shape) -> Any:
    """The value of an option with each name of a column in it as recon.toml has it."""
    match shape:
        case Shape.NAMES:
            return [*map(write_name, value)]
        case Shape.RENAMES:
            return {write_name(old): write_name(new) for old, new in value.items()}
        case Shape.COLUMN_VALUE | Shape.COLUMN_VALUES:
            return {write_name(column): each for column, each in value.items()}
        case _:
            return value


def write_toml(settings: Mapping[str, Any], table: tuple[str, ...] = ()) -> str:
    """The settings as lines of recon.toml, in a table of it."""
    lines: list[str] = []
    last: tuple[str, ...] = table
    for place, name, value in list_toml(settings, table):
        if place != last:
            lines.append(write_header(place))
            last = place
        lines.append(write_setting(name, value))
    return "\n".join(lines)


def write_python(settings: Mapping[str, Any]) -> str:
    """The settings as arguments of `recon_engine.diff`."""
    arguments = as_arguments(settings).items()
    return ", ".join(f"{name}={_write_value(value)}" for name, value in arguments)


def as_arguments(settings: Mapping[str, Any]) -> Settings:
    """Settings by the name of the option as arguments of `diff`, by their names."""
    return {
        str(OPTIONS[name].in_python): value
        for name, value in settings.items()
        if OPTIONS[name].in_python
    }


def _write_value(value: Any) -> str:
    """A value of an argument: text in double quotes, as people write it."""
    if isinstance(value, bool):
        return str(value)
    # Python reads the escapes of invisible characters, as JSON does.
    return readable(json.dumps(_shorten(value), ensure_ascii=False))


def _add_value(found: Settings, option: Option, text: str) -> None:
    match option.shape:
        case Shape.NAMES:
            found.setdefault(option.name, []).extend(split_names(text, ","))
        case Shape.RENAMES:
            for pair in split_list(text, ","):
                [name, value] = split_names(pair, "=")
                found.setdefault(option.name, {})[name] = value
        case Shape.COLUMN_VALUE:
            [name, value] = split_names(text, "=")
            found.setdefault(option.name, {})[name] = value
        case Shape.COLUMN_VALUES:
            [head, *_] = split_list(text, "=")
            [name] = split_names(head, "=")
            rules = found.setdefault(option.name, {}).setdefault(name, [])
            # The first `=` outside of quotes ends the name. A rule may hold more of
            # them, as `decimal(abs=0.01)` does.
            rules.append(text[len(head) + 1 :].strip())
        case Shape.VALUES:
            found.setdefault(option.name, []).append(text)
        case _:
            found[option.name] = int(text) if option.value_type is int else text


def _shorten(value: Any) -> Any:
    """A list of one item as the item, in a table by column."""
    if isinstance(value, dict):
        return {name: _shorten(each) for name, each in value.items()}
    # The schema of the file takes a text for a list of one (`config_file.OneOrMore`).
    return value[0] if isinstance(value, list) and len(value) == 1 else value
