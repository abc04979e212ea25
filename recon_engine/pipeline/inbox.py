"""Choose OLD and NEW from the files in inbound. Pure functions on the listing."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from recon_engine.errors import InvalidFileCount, InvalidFilePair, UnusableFiles
from recon_engine.formatting import format_count
from recon_engine.model import FilePair, SourceFile
from recon_engine.suggestions import escape_bytes, join_names


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


DATA_SUFFIXES: Final = (
    *(".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".csv.xz", ".csv.zip"),
    *(".parquet", ".arrow"),
)
NEW_MARK: Final = "NEWSYSTEM"
# Names that tables are often delivered under, and that are not read: they are errors,
# so that a misnamed delivery is not taken for an empty inbox.
DELIVERY: Final = re.compile(
    r"\.(txt|dat|tsv|psv)(\.gz|\.zst|\.bz2|\.xz)?$|\.(zip|bz2|xz|xls|xlsx|parquet)$",
    re.IGNORECASE,
)
README: Final = re.compile(r"readme(\.|$)", re.IGNORECASE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoData:
    """Inbound contains no data file and nothing that looks like a delivery."""

    ignored: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """One line that also names the files that are there instead."""
        others = f"; it contains {join_names(self.ignored)}" if self.ignored else ""
        return f"inbound contains no data file{others}"


def select_pair(files: Iterable[SourceFile]) -> FilePair | NoData:
    """OLD and NEW (the file with NEWSYSTEM in its name), or NoData.

    Data files end in one of `DATA_SUFFIXES`; other names are logged and ignored.
    Raises InvalidFileCount, InvalidFilePair, and UnusableFiles for files that look like
    a delivery but cannot be used.
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
        others = f"; not data files: {join_names(beside)}" if beside else ""
        raise InvalidFileCount(
            f"inbound contains {format_count(len(data), 'data file')}, not 2: "
            f"{names}{others}",
            help="keep exactly one file of each system in inbound",
        )
    new = [file for file in data if NEW_MARK in file.name.upper()]
    if len(new) != 1:
        raise InvalidFilePair(
            f"{len(new)} of the two files have {NEW_MARK} in the name, not 1: {names}",
            help=f"rename the file of the new system so that it contains {NEW_MARK}",
        )
    old = next(file for file in data if file not in new)
    return FilePair(old, new[0])


def select_by_patterns(
    files: Iterable[SourceFile], old: str, new: str
) -> FilePair | NoData:
    """The one file that each pattern matches, whatever its ending, or NoData.

    Names are compared with case. Raises as `select_pair` does.
    """
    every = sorted(files, key=lambda file: file.name)
    found = [
        [file for file in every if fnmatchcase(file.name, pattern)]
        for pattern in (old, new)
    ]
    chosen = {file.name for each in found for file in each}
    others = [escape_bytes(file.name) for file in every if file.name not in chosen]
    for name in others:
        log.warning("ignored_file", extra={"file": name})
    _refuse_unusable([file for each in found for file in each])
    why = f"--old-pattern is {old}, --new-pattern is {new}"
    if not chosen:
        if not any(map(_is_delivery, others)):
            return NoData(tuple(others))
        raise UnusableFiles(
            f"inbound contains {format_count(len(others), 'file')}, none of a name that"
            f" is looked for: {join_names(others)}",
            why=why,
            help="deliver files of such names, or change the patterns",
        )
    if both := [file.name for file in found[0] if file in found[1]]:
        raise InvalidFilePair(
            f"both patterns match {join_names(both)}",
            why=why,
            help="use patterns of which each matches the files of one system",
        )
    if any(len(each) != 1 for each in found):
        raise InvalidFileCount(
            f"inbound contains {format_count(len(found[0]), 'file')} of OLD and"
            f" {len(found[1]):,} of NEW, not 1 of each: {join_names(sorted(chosen))}",
            why=why,
            help="keep exactly one file of each system in inbound",
        )
    return FilePair(found[0][0], found[1][0])


def _refuse_unusable(data: Sequence[SourceFile]) -> None:
    """Reject links, which cannot be archived, and names that Postgres cannot store."""
    if links := [escape_bytes(file.name) for file in data if file.is_link]:
        raise UnusableFiles(
            f"inbound contains a symbolic link: {join_names(links)}",
            why="archiving a link would leave its target in place",
            help="deliver the file itself",
        )
    names = {file.name: escape_bytes(file.name) for file in data}
    if foreign := [shown for name, shown in names.items() if shown != name]:
        raise UnusableFiles(
            f"inbound contains a file whose name is not UTF-8: {join_names(foreign)}",
            why="file names are recorded as text",
            help="rename the file in ASCII or UTF-8",
        )


def _without_data(ignored: Sequence[str]) -> NoData:
    if not any(map(_is_delivery, ignored)):
        return NoData(tuple(ignored))
    raise UnusableFiles(
        f"inbound contains {format_count(len(ignored), 'file')}, none a data file: "
        f"{join_names(ignored)}",
        why=f"data files end in {', '.join(DATA_SUFFIXES)}",
        help="deliver CSV files with one of these endings",
    )


def _is_delivery(name: str) -> bool:
    """Whether a name that is not a data file's looks like a delivered table."""
    if README.match(name):
        return False
    return NEW_MARK in name.upper() or DELIVERY.search(name) is not None
