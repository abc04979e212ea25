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
    *(".parquet", ".arrow", ".feather"),
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


# How many files OLD and NEW have; None for any number, which a done file completes.
Counts = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class NoData:
    """Inbound contains no data file and nothing that looks like a delivery.

    `missing`: done files that are not there yet. Then there may be data files.
    """

    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """One line that also names the files that are there instead."""
        others = f"; it contains {join_names(self.ignored)}" if self.ignored else ""
        if self.missing:
            return f"the delivery has no {join_names(self.missing)} yet{others}"
        return f"inbound contains no data file{others}"


def is_data_file(name: str) -> bool:
    """Whether a name ends as that of a data file, in letters of either case."""
    return name.lower().endswith(DATA_SUFFIXES)


def select_pair(files: Iterable[SourceFile]) -> FilePair | NoData:
    """OLD and NEW (the file with NEWSYSTEM in its name), or NoData.

    Data files end in one of `DATA_SUFFIXES`; other names are logged and ignored.
    Raises InvalidFileCount, InvalidFilePair, and UnusableFiles for files that look like
    a delivery but cannot be used.
    """
    data, ignored = _list_data_files(files)
    if not data:
        return _without_data(ignored)
    names = join_names(file.name for file in data)
    if len(data) != 2:  # noqa: PLR2004 - a pair
        beside = [name for name in ignored if _is_delivery(name)]
        others = f"; not data files: {join_names(beside)}" if beside else ""
        raise InvalidFileCount(
            f"inbound contains {format_count(len(data), 'data file')}, not 2: "
            f"{names}{others}",
            help=_remedy_for_count(*_split_systems(data)),
        )
    new = [file for file in data if NEW_MARK in file.name.upper()]
    if len(new) != 1:
        raise InvalidFilePair(
            f"{len(new)} of the two files have {NEW_MARK} in the name, not 1: {names}",
            help=f"rename the file of the new system so that it contains {NEW_MARK}, or"
            " name both files by old_pattern and new_pattern in recon.toml, or by"
            " --old-pattern and --new-pattern",
        )
    old = next(file for file in data if file not in new)
    return FilePair(old, new[0])


def select_by_patterns(
    files: Iterable[SourceFile], old: str, new: str, counts: Counts = (1, 1)
) -> FilePair | NoData:
    """The files that each pattern matches, whatever their endings, or NoData.

    Names are compared with case. `counts`: how many files each side has. Raises as
    `select_pair` does.
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
    why = f"the pattern of OLD is {old}, that of NEW is {new}"
    if not chosen:
        if not any(map(_is_delivery, others)):
            return NoData(tuple(others))
        raise UnusableFiles(
            f"inbound contains {format_count(len(others), 'file')}, and none matches"
            f" --old-pattern or --new-pattern: {join_names(others)}",
            why=why,
            help="deliver files of such names, or change the patterns",
        )
    if both := [file.name for file in found[0] if file in found[1]]:
        raise InvalidFilePair(
            f"both patterns match {join_names(both)}",
            why=why,
            help="use patterns of which each matches the files of one system",
        )
    _check_counts(found, counts, why)
    return FilePair(_as_side(found[0], old), _as_side(found[1], new))


def select_parts(files: Iterable[SourceFile], counts: Counts) -> FilePair | NoData:
    """The data files without NEWSYSTEM in their names, and those with it, or NoData.

    `counts`: how many files each side has. Raises as `select_pair` does.
    """
    data, ignored = _list_data_files(files)
    if not data:
        return _without_data(ignored)
    old, new = _split_systems(data)
    _check_counts((old, new), counts, f"files of NEW have {NEW_MARK} in their names")
    return FilePair(_as_side(old, "*"), _as_side(new, f"*{NEW_MARK}*"))


def _check_counts(
    found: Sequence[Sequence[SourceFile]], counts: Counts, why: str
) -> None:
    """Raise InvalidFileCount if a side has another number of files than expected."""
    if all(
        len(files) == count if count else files
        for files, count in zip(found, counts, strict=True)
    ):
        return
    old, new = (f"{count:,}" if count else "at least 1" for count in counts)
    expected = f"{old} of each" if old == new else f"{old} of OLD and {new} of NEW"
    names = join_names(sorted(file.name for files in found for file in files))
    if counts == (1, 1):
        remedy = _remedy_for_count(*found)
    else:
        remedy = "run again when all parts are there, or correct --parts"
    raise InvalidFileCount(
        f"inbound contains {format_count(len(found[0]), 'file')} of OLD and"
        f" {len(found[1]):,} of NEW, not {expected}{names and ': '}{names}",
        why=why,
        help=remedy,
    )


def _split_systems(
    data: Sequence[SourceFile],
) -> tuple[list[SourceFile], list[SourceFile]]:
    """The files without NEWSYSTEM in their names, and those with it."""
    new = [file for file in data if NEW_MARK in file.name.upper()]
    return [file for file in data if file not in new], new


def _remedy_for_count(old: Sequence[SourceFile], new: Sequence[SourceFile]) -> str:
    """What to do about another number of files than one of each system."""
    match len(old), len(new):
        case (1, 0):
            here, missing = "OLD", "NEW"
        case (0, 1):
            here, missing = "NEW", "OLD"
        case _:
            return (
                "keep exactly one file of each system in inbound; of several days, move"
                " the later pairs to another folder and run, then move the next pair"
                " back and run again"
            )
    [file] = (*old, *new)
    return (
        f"{file.name} is the file of {here}, and that of {missing} has not arrived: run"
        " again when it has"
    )


def _as_side(files: Sequence[SourceFile], name: str) -> SourceFile:
    """The one file of a side, or its parts, which are not yet identified."""
    if len(files) == 1:
        return files[0]
    return SourceFile(name, name, sum(file.size for file in files), parts=tuple(files))


def _list_data_files(files: Iterable[SourceFile]) -> tuple[list[SourceFile], list[str]]:
    """The data files by name, and the names of the others, which are logged.

    Raises UnusableFiles for a data file that cannot be used.
    """
    data: list[SourceFile] = []
    ignored: list[str] = []
    for file in sorted(files, key=lambda file: file.name):
        if is_data_file(file.name):
            data.append(file)
        else:
            ignored.append(name := escape_bytes(file.name))
            log.warning("ignored_file", extra={"file": name})
    _refuse_unusable(data)
    return data, ignored


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
        help="deliver CSV files with one of these endings, or name the files by"
        " --old-pattern and --new-pattern",
    )


def _is_delivery(name: str) -> bool:
    """Whether a name that is not a data file's looks like a delivered table."""
    if README.match(name):
        return False
    return NEW_MARK in name.upper() or DELIVERY.search(name) is not None
