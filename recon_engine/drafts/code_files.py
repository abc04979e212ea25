"""Write the code tables that hints propose: a CSV file beside recon.toml for each."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from recon_engine.analysis.code_hints import read_codes
from recon_engine.drafts.config_file_text import write_config_text
from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from recon_engine.model import Hint


def write_code_files(
    hints: Iterable[Hint], config: Path, *, force: bool = False
) -> list[Path]:
    """Write the code table of each hint that has one; return the new files.

    Args:
        hints: The hints, with their codes.
        config: The configuration file, beside which they are written.
        force: Whether a file with other codes is replaced.

    Raises ConfigError for a file that exists with other codes, before any is written.
    """
    tables = {
        config.parent / hint.code_file: _write_table(hint)
        for hint in hints
        if hint.code_file
    }
    new = [path for path, text in tables.items() if _is_new(path, text, force=force)]
    for path in new:
        write_config_text(path, tables[path])
    return new


def _write_table(hint: Hint) -> str:
    text = io.StringIO(newline="")
    # The module csv ends lines with CRLF by default.
    writer = csv.writer(text, lineterminator="\n")
    # The reader of a code table takes the first line for a header.
    writer.writerow(("OLD", "NEW"))
    writer.writerows(read_codes(hint))
    return text.getvalue()


def _is_new(path: Path, text: str, *, force: bool) -> bool:
    if not path.exists():
        return True
    same = path.is_file() and path.read_bytes() == text.encode()
    if not (same or (force and path.is_file())):
        raise ConfigError(
            f"{path} exists already, with other codes",
            why="it may have been edited by hand",
            help="move it, or remove it to have it written again",
        )
    return not same
