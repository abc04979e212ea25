"""Paths in recon.toml: they are relative to the folder of the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from recon_engine.model import SIDES
from recon_engine.rules.spelling import find_code_file


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


# As `storage.urls` finds a scheme: a malformed `s3:bucket` stays, and is refused there;
# a name of a folder may hold a colon.
URL_SCHEME: Final = re.compile(r"(?:s3|file):|[A-Za-z][A-Za-z0-9+.-]*:/")


def resolve_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The tables of a file, with each path in them relative to its folder.

    These are folders (`inbound_s3`), files to write, and files behind an `@`. What is
    not as a setting has it is kept: its check reports it.
    """
    found = _resolve_section(table, folder)
    datasets = table.get("dataset")
    if isinstance(datasets, dict):
        found["dataset"] = {
            name: _resolve_section(each, folder) if isinstance(each, dict) else each
            for name, each in datasets.items()
        }
    return found


def list_map_files(table: Mapping[str, Any]) -> list[str]:
    """The files of column maps that valid tables name: they are read with them."""
    sections = (table, *table.get("dataset", {}).values())
    named = (each.get("map") for each in sections)
    return [map_[1:] for map_ in named if isinstance(map_, str) and map_[:1] == "@"]


def _resolve_section(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(section)
    for name, value in section.items():
        # `[old]` and `[new]` name files by the same settings, such as `fixed`.
        if name in SIDES and isinstance(value, dict):
            found[name] = _resolve_section(value, folder)
        elif name in RESOLVED:
            found[name] = RESOLVED[name](value, folder)
    return found


def _resolve(name: str, folder: Path) -> str:
    # An absolute name stays as it is: `/` of pathlib drops the folder before it.
    return (folder / name).as_posix()


def _resolve_rules(value: Any, folder: Path) -> Any:
    """The rules of each column, one or several."""
    if isinstance(value, dict):
        return {name: _resolve_rules(each, folder) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolve_rules(each, folder) for each in value]
    name = find_code_file(value) if isinstance(value, str) else None
    if name is None:
        return value
    return value.replace(f"@{name}", f"@{_resolve(name, folder)}", 1)


def _resolve_named(value: Any, folder: Path) -> Any:
    """A file behind an `@`."""
    if not isinstance(value, str) or not value.strip().startswith("@"):
        return value
    return f"@{_resolve(value.strip()[1:], folder)}"


def _resolve_folder(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or not value or URL_SCHEME.match(value):
        return value
    return _resolve(value, folder)


def _resolve_files(value: Any, folder: Path) -> Any:
    """One path, or several."""
    if isinstance(value, list):
        return [_resolve_files(each, folder) for each in value]
    return _resolve(value, folder) if isinstance(value, str) and value else value


RESOLVED: Final[dict[str, Callable[[Any, Path], Any]]] = {
    "rules": _resolve_rules,
    "map": _resolve_named,
    "fixed": _resolve_named,
    "inbound_s3": _resolve_folder,
    "processed_s3": _resolve_folder,
    "out_s3": _resolve_folder,
    "output": _resolve_files,
}
