"""Steps 1-3: which two of the files in inbound are OLD and NEW. Pure."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine.errors import InvalidFileCount, InvalidFilePair, UnusableFiles
from recon_engine.model import FilePair, SourceFile
from recon_engine.suggestions import counted, escape_bytes, join_names


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


DATA_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zst")
NEW_MARK: Final = "NEWSYSTEM"
# What tables are delivered as, and is not read under that name.
DELIVERY: Final = re.compile(
    r"\.(txt|dat|tsv|psv)(\.gz|\.zst)?$|\.(zip|bz2|xz|xls|xlsx|parquet)$", re.IGNORECASE
)
README: Final = re.compile(r"readme(\.|$)", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoData:
    """Inbound holds no data file, and nothing that looks like a delivery."""

    ignored: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What is there instead, by name."""
        others = f"; there is {join_names(self.ignored)}" if self.ignored else ""
        return f"inbound holds no data file{others}"


def select_pair(files: Iterable[SourceFile]) -> FilePair | NoData:
    """OLD and NEW (NEWSYSTEM in its name), or that there is no data file.

    Files that are not `.csv`, `.csv.gz` or `.csv.zst` are no data files; their names
    are logged. Raises InvalidFileCount, InvalidFilePair and, where files were delivered
    that cannot be used, UnusableFiles.
    """
    data: list[SourceFile] = []
    ignored: list[str] = []
    for file in sorted(files, key=lambda file: file.name):
        if file.name.lower().endswith(DATA_SUFFIXES):
            data.append(file)
        else:
            ignored.append(name := escape_bytes(file.name))
            log.warning("ignored_file", extra={"file": name})
    _refuse_unusable(data)
    if not data:
        return _without_data(ignored)
    names = join_names(file.name for file in data)
    if len(data) != 2:  # noqa: PLR2004 - a pair
        beside = [name for name in ignored if _is_delivery(name)]
        others = f"; beside, no data file: {join_names(beside)}" if beside else ""
        raise InvalidFileCount(
            f"inbound holds {counted(len(data), 'data file')}, not 2: {names}{others}",
            help="leave one file of each system there",
        )
    new = [file for file in data if NEW_MARK in file.name.upper()]
    if len(new) != 1:
        raise InvalidFilePair(
            f"{len(new)} of the two files have {NEW_MARK} in the name, not 1: {names}",
            help=f"name the file of the new system so that it holds {NEW_MARK}",
        )
    old = next(file for file in data if file not in new)
    return FilePair(old, new[0])


def _refuse_unusable(data: Sequence[SourceFile]) -> None:
    """Refuse links, whose target would be archived, and names no table can hold."""
    if links := [escape_bytes(file.name) for file in data if file.is_link]:
        raise UnusableFiles(
            f"inbound holds a symbolic link: {join_names(links)}",
            why="to archive a link would leave the file that it leads to",
            help="deliver the file itself",
        )
    names = {file.name: escape_bytes(file.name) for file in data}
    if foreign := [shown for name, shown in names.items() if shown != name]:
        raise UnusableFiles(
            f"inbound holds a file whose name is not UTF-8: {join_names(foreign)}",
            why="names are recorded as text",
            help="rename it in ASCII or in UTF-8",
        )


def _without_data(ignored: Sequence[str]) -> NoData:
    if not any(map(_is_delivery, ignored)):
        return NoData(tuple(ignored))
    raise UnusableFiles(
        f"inbound holds {counted(len(ignored), 'file')}, none a data file: "
        f"{join_names(ignored)}",
        why=f"data files are {', '.join(DATA_SUFFIXES)}",
        help="deliver CSV, and name it so",
    )


def _is_delivery(name: str) -> bool:
    """Whether a file that is no data file seems to be meant as one."""
    if README.match(name):
        return False
    return NEW_MARK in name.upper() or DELIVERY.search(name) is not None
