"""Read libpq's service file: the section that `service=NAME` or PGSERVICE names.

libpq takes parameters from the address first, then the service, then `PG*` variables.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


OWN: Final = Path("~/.pg_service.conf")
SHARED: Final = "pg_service.conf"


def defined_by(given: Mapping[str, str]) -> dict[str, str] | None:
    """The parameters of the service of an address; empty if it names no service.

    None if the definition cannot be found: it may be in the folder that libpq was built
    with, or in a directory (LDAP), and neither is known here.
    """
    name = given.get("service", os.environ.get("PGSERVICE"))
    if name is None:
        return {}
    for path in _files(given):
        try:
            lines = path.read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            continue
        if (found := _section(lines, name)) is not None:
            return None if _asks_a_directory(found) else _facts(found)
    return None


def _files(given: Mapping[str, str]) -> Iterator[Path]:
    """The service file of the user, then that of the system."""
    own = given.get("servicefile", os.environ.get("PGSERVICEFILE"))
    yield (Path(own) if own is not None else OWN).expanduser()
    if (folder := os.environ.get("PGSYSCONFDIR")) is not None:
        yield Path(folder) / SHARED


def _section(lines: list[str], name: str) -> list[str] | None:
    """The lines below `[name]`, up to the next section; None without a `[name]`."""
    found: list[str] | None = None
    for line in map(str.strip, lines):
        if line.startswith("["):
            if found is not None:
                break
            if line.startswith(f"[{name}]"):
                found = []
        elif found is not None and line and not line.startswith("#"):
            found.append(line)
    return found


def _asks_a_directory(lines: list[str]) -> bool:
    return any(line.startswith("ldap") for line in lines)


def _facts(lines: list[str]) -> dict[str, str]:
    """The parameters in the lines of a section; the first value of each counts."""
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        facts.setdefault(name, value)
    return facts
