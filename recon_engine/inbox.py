"""Steps 1-3: which two of the files in inbound are OLD and NEW. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine.model import FilePair, SourceFile
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Iterable


DATA: Final = (".csv",)
MARK: Final = "NEWSYSTEM"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoPair:
    """Why there is nothing to reconcile."""

    status: RunStatus
    message: str
    help: str | None = None


def classify(files: Iterable[SourceFile]) -> FilePair | NoPair:
    """OLD and NEW (NEWSYSTEM in its name), or why there is no such pair.

    Files that are not `.csv` are no data files; their names are logged.
    """
    data = []
    for file in sorted(files, key=lambda file: file.name):
        if file.name.lower().endswith(DATA):
            data.append(file)
        else:
            log.warning("ignored_file", extra={"file": file.name})
    if not data:
        return NoPair(RunStatus.NO_FILES, "inbound holds no data file")
    names = ", ".join(file.name for file in data)
    if len(data) != 2:  # noqa: PLR2004 - a pair
        return NoPair(
            RunStatus.INVALID_FILE_COUNT,
            f"inbound holds {len(data)} data files, not 2: {names}",
            help="leave one file of each system there",
        )
    new = [file for file in data if MARK in file.name.upper()]
    if len(new) != 1:
        return NoPair(
            RunStatus.INVALID_FILE_PAIR,
            f"{len(new)} of the two files have {MARK} in the name, not 1: {names}",
            help=f"name the file of the new system so that it holds {MARK}",
        )
    old = next(file for file in data if file not in new)
    return FilePair(old, new[0])
