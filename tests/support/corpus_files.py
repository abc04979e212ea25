"""The files of the corpus and what each is expected to give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from recon_cli.app import app
from typer.testing import CliRunner

from recon_engine.errors import ReconError
from recon_engine.inputs.header import read_header


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


def call(*arguments: str, **environment: str) -> dict[str, Any]:
    """The JSON a command ends with, all that it prints, and no exception."""
    ended = CliRunner().invoke(app, [*arguments, "--format", "json"], env=environment)
    assert isinstance(ended.exception, SystemExit | None)
    assert "Traceback" not in ended.output
    document: dict[str, Any] = json.loads(ended.stdout)
    assert document.get("exit_code", ended.exit_code) == ended.exit_code
    return document


def options_of(path: Path, delimiter: str) -> list[str]:
    """Its delimiter, and as its key the first column if there is one to be read."""
    try:
        name = read_header(path, delimiter=delimiter).columns[0]
    except ReconError:
        name = "id"
    key = name.replace('"', '""')
    return [f'--key="{key}"', f"--delimiter={delimiter}"]


def diff_with_itself(path: Path, delimiter: str) -> dict[str, Any]:
    return call("diff", str(path), str(path), *options_of(path, delimiter))
