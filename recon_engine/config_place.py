"""Where the configuration file is. Nothing is loaded to look for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from recon_engine.lazy import lazy_pattern


OWN_FILE: Final = Path("recon.toml")
SHARED_FILE: Final = Path("pyproject.toml")
# Not [tool.reconcile] of another program, nor a comment.
TABLE_HEADER: Final = lazy_pattern(
    rb"(?m)^[ \t]*\[\[?[ \t]*tool[ \t]*\.[ \t]*recon[ \t]*[.\]]"
)


def find_config_file() -> Path | None:
    """recon.toml of the working directory, else pyproject.toml with [tool.recon]."""
    if OWN_FILE.is_file():
        return OWN_FILE
    if SHARED_FILE.is_file() and TABLE_HEADER.search(SHARED_FILE.read_bytes()):
        return SHARED_FILE
    return None


def is_found_here(path: Path) -> bool:
    """Whether a command in this folder finds a file without its name."""
    # A variable takes precedence over the file of the folder.
    return "RECON_CONFIG" not in os.environ and find_config_file() == path
