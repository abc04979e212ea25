"""The files of the corpus and what each is expected to give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final


CORPUS: Final = Path(__file__).parents[1] / "corpus"

FILES: Final = sorted(CORPUS.glob("*/*.csv"))

PLACE: Final = ("line", "byte_offset", "column", "message")

FACTS: Final = ("status", "exit_code", *PLACE, "why", "help")


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def expected_in(threat: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(
        (CORPUS / threat / "expected.json").read_text()
    )
    return found


def expected_of(path: Path) -> dict[str, Any]:
    known = expected_in(path.parent.name)
    assert path.stem in known, "no outcome is known: see the head of this file"
    return known[path.stem]
