"""Steps 1-3: which two of the files in inbound are OLD and NEW. Pure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from recon_engine.errors import InvalidFileCount, InvalidFilePair
from recon_engine.model import FilePair, SourceFile


if TYPE_CHECKING:
    from collections.abc import Iterable


DATA: Final = (".csv", ".csv.gz", ".csv.zst")
MARK: Final = "NEWSYSTEM"
NO_DATA: Final = "inbound holds no data file"

log = logging.getLogger(__name__)


def classify(files: Iterable[SourceFile]) -> FilePair | None:
    """OLD and NEW (NEWSYSTEM in its name); None where there is no data file.

    Files that are not `.csv`, `.csv.gz` or `.csv.zst` are no data files; their names
    are logged. Raises InvalidFileCount and InvalidFilePair.
    """
    data = []
    for file in sorted(files, key=lambda file: file.name):
        if file.name.lower().endswith(DATA):
            data.append(file)
        else:
            log.warning("ignored_file", extra={"file": file.name})
    if not data:
        return None
    names = ", ".join(file.name for file in data)
    if len(data) != 2:  # noqa: PLR2004 - a pair
        raise InvalidFileCount(
            f"inbound holds {len(data)} data files, not 2: {names}",
            help="leave one file of each system there",
        )
    new = [file for file in data if MARK in file.name.upper()]
    if len(new) != 1:
        raise InvalidFilePair(
            f"{len(new)} of the two files have {MARK} in the name, not 1: {names}",
            help=f"name the file of the new system so that it holds {MARK}",
        )
    old = next(file for file in data if file not in new)
    return FilePair(old, new[0])
