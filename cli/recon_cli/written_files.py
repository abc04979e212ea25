"""The files that a command writes: none is one that it reads, and no two are the same.

A file is known by its device and inode: paths, URLs, links and parts name it in many
ways.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recon_engine.errors import ConfigError
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from recon_cli.settings import Settings


# The number of the file that a shell opens as standard input.
STDIN: Final = 0
# What a file is used for. Each ends the sentence "the path is …".
INPUT: Final = "an input file or a folder"
SETTINGS_FILE: Final = "a file of the settings"
WOULD_BE_INPUT: Final = "in a folder whose files are inputs"
OTHER_NAME: Final = "choose another file name or folder"


class FilesInUse:
    """Files that a command may not write, or not once more, each with what it is."""

    def __init__(self) -> None:
        self._uses: dict[object, str] = {}
        self._would_be_inputs: list[Callable[[Path], bool]] = []

    def add(self, paths: Iterable[str | Path | int], use: str) -> None:
        """Add files; `use` ends the sentence "the path is …"."""
        for path in paths:
            identity = _identify(path)
            if identity is not None:
                self._uses.setdefault(identity, use)

    def add_inputs(self, *inputs: str) -> None:
        """Add the local files of inputs, and each path that would be a part of one."""
        from recon_engine.inputs.tables import STANDARD_INPUT, are_parts
        from recon_engine.storage.urls import local_path

        for name in inputs:
            if name == STANDARD_INPUT:
                self.add([STDIN], INPUT)
            elif not name.startswith("s3:"):
                # The command reports an input that cannot be read.
                with suppress(ConfigError, OSError):
                    source = local_path(name)
                    if are_parts(name):
                        # Imports Polars, which takes longer than a small comparison.
                        from recon_engine.inputs.parts import list_parts, would_be_part

                        self._would_be_inputs.append(
                            partial(would_be_part, source=source)
                        )
                        self.add((part for part, _ in list_parts(source)), INPUT)
                    else:
                        self.add([source], INPUT)

    def add_inbound(self, settings: Settings) -> None:
        """Add the files that a run may take from a local inbound, now or next time."""
        place = settings["inbound_s3"] if settings.has("inbound_s3") else None
        if place is None or place.startswith("s3:"):
            return
        from recon_engine.pipeline.inbox import is_data_file
        from recon_engine.storage.urls import local_path

        patterns = [settings[f"{side}_pattern"] for side in SIDES]

        def is_taken(path: Path) -> bool:
            return is_data_file(path.name) or any(
                pattern and fnmatchcase(path.name, pattern) for pattern in patterns
            )

        with suppress(ConfigError, OSError):
            inbound = local_path(place)
            self._would_be_inputs.append(
                lambda path: is_taken(path) and path.absolute().parent.samefile(inbound)
            )
            self.add((path for path in inbound.iterdir() if is_taken(path)), INPUT)

    def claim(self, option: str, path: Path) -> None:
        """Add a file that an option writes; ConfigError if it is in use."""
        use = self._uses.get(_identify(path))
        if use is None and self._would_be_input(path):
            use = WOULD_BE_INPUT
        if use is not None:
            raise ConfigError(f"{option} {path}: the path is {use}", help=OTHER_NAME)
        self.add([path], f"also that of {option}")

    def _would_be_input(self, path: Path) -> bool:
        # A folder that is not there is reported where the file is opened.
        with suppress(OSError):
            return any(takes(path) for takes in self._would_be_inputs)
        return False


def _identify(path: str | Path | int) -> object:
    """What all names of a file share; None for a folder, a pipe or a device.

    Two of these may be one: nothing that is written there replaces anything.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - a number, too
    except OSError:
        return None if isinstance(path, int) else os.path.realpath(path)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def refuse_log_in_use(settings: Settings, given: Mapping[str, Any]) -> None:
    """Refuse a log file that the command reads or writes besides: it is appended to.

    `given`: the values of the parameters that are not in the table of options. Raises
    ConfigError.
    """
    path = settings["log_file"] if settings.has("log_file") else None
    if path is None:
        return
    files = FilesInUse()
    files.add_inputs(*(given[name] for name in ("old", "new") if name in given))
    files.add_inbound(settings)
    files.add(settings.files_read, SETTINGS_FILE)
    for name in ("output", "rejects"):
        if settings.has(name) and (wanted := settings[name]):
            several = wanted if isinstance(wanted, tuple) else [wanted]
            files.add(several, f"also that of --{name}")
    files.claim("--log-file", path)
