"""The golden cases: folders of two files and what comparing them gives."""

from __future__ import annotations

from pathlib import Path


CASES = sorted(
    path.parent for path in Path(__file__).parents[1].glob("cases/*/old.csv*")
)
