"""Columns with two names: `A=B,C=D`, or `@FILE`, a CSV file of pairs of names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.command_line import QUOTED, read_name, split_list, split_names
from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


FLAG: Final = "--map"
HEADER: Final = ["old", "new"]


def parse_column_map(texts: Iterable[str]) -> dict[str, str]:
    """Names in OLD with their names in NEW, of lists of pairs and files of pairs.

    A name that holds `,` or `=` is in double quotes. Raises ConfigError for a text that
    is no pair, and for a name that is given twice on one side.
    """
    found: dict[str, str] = {}
    for text in texts:
        if text.strip().startswith("@"):
            path = text.strip()[1:]
            for line, old, new in _read_pairs(path):
                _add_pair(found, old, new, path, line)
        else:
            for pair in split_list(text, ","):
                _add_pair(found, *_parse_pair(pair))
    return found


def _add_pair(
    found: dict[str, str],
    old: str,
    new: str,
    file: str | None = None,
    line: int | None = None,
) -> None:
    for name, side, known in ((old, "OLD", found), (new, "NEW", found.values())):
        if name in known:
            raise ConfigError(
                f"{FLAG} names {name} of {side} twice",
                file=file,
                line=line,
                help="map each column once",
            )
    found[old] = new


def _parse_pair(text: str) -> tuple[str, str]:
    try:
        # The environment variable may hold a pair that is quoted as a whole.
        pair = read_name(text) if QUOTED.fullmatch(text.strip()) else text
        match split_names(pair, "="):
            case [old, new] if old and new:
                return old, new
    except ValueError:
        pass
    raise ConfigError(
        f"{FLAG} {text} has not the form OLD=NEW",
        help=f"such as {FLAG} PAID_AMT=PAID_AMOUNT; quote a name that holds , or =",
    )


def _read_pairs(path: str) -> Iterator[tuple[int, str, str]]:
    """The pairs of a file, each with its line; a header `old,new` is no pair."""
    import csv

    try:
        # Excel writes a byte order mark before CSV in UTF-8.
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            # Without `strict`, a quote that is never closed takes all later lines as
            # one name, and there is no error.
            reader = csv.reader(stream, strict=True)
            # The line of a record is known before it is read.
            line = 1
            for record in reader:
                names = [name.strip() for name in record]
                if len(names) != len(HEADER) or not all(names):
                    raise ConfigError(
                        "a line of the map file has not two names",
                        file=path,
                        line=line,
                        help="write OLD,NEW on each line; quote a name with a comma",
                    )
                if line > 1 or [name.casefold() for name in names] != HEADER:
                    yield line, names[0], names[1]
                line = reader.line_num + 1
    except OSError as error:
        raise ConfigError(
            f"{FLAG} @FILE: the file cannot be read",
            file=str(Path(path).absolute()),
            why=error.strerror,
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise ConfigError(
            f"{FLAG} @FILE: the file is not CSV in UTF-8",
            file=path,
            help="write OLD,NEW on each line",
        ) from None
