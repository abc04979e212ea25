"""Where the configuration file is. Nothing is loaded to look for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final


OWN_FILE: Final = Path("recon.toml")
SHARED_FILE: Final = Path("pyproject.toml")
TABLE_HEADER: Final = b"[tool.recon"


def find_config_file() -> Path | None:
    """recon.toml of the working directory, else pyproject.toml with [tool.recon]."""
    if OWN_FILE.is_file():
        return OWN_FILE
    if SHARED_FILE.is_file() and TABLE_HEADER in SHARED_FILE.read_bytes():
        return SHARED_FILE
    return None


def is_found_here(path: Path) -> bool:
    """Whether a command in this folder finds a file without its name."""
    # A variable takes precedence over the file of the folder.
    return "RECON_CONFIG" not in os.environ and find_config_file() == path
