"""Golden cases: every folder under `tests/cases` is one, found by itself.

`ACCEPT_CASES=1 pytest tests/corpus/test_cases.py` writes `expected.json` anew: read it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from recon_cli.app import app
from support.golden_cases import CASES
from typer.testing import CliRunner


CHANGING = ("seconds", "peak_rss_bytes", "version", "kernel")


def result(case: Path) -> dict[str, Any]:
    arguments = (case / "arguments").read_text().splitlines()
    files = [str(next(case.glob(f"{side}.csv*"))) for side in ("old", "new")]
    form = ["--sha256", "--format", "json"]
    ended = CliRunner().invoke(app, ["diff", *files, *arguments, *form])
    document: dict[str, Any] = json.loads(ended.stdout)
    for fact in CHANGING:
        document["engine"].pop(fact)
    for side in ("old", "new"):
        document[side]["uri"] = Path(document[side]["uri"]).name
    for reject in document["rejects"]:
        reject["file"] = Path(reject["file"]).name
    return document


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_gives_what_is_expected(case: Path) -> None:
    found, path = result(case), case / "expected.json"
    if "ACCEPT_CASES" in os.environ:
        path.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    assert found == json.loads(path.read_text())


def test_there_are_cases() -> None:
    assert CASES
