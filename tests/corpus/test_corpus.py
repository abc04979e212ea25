"""Awkward files, each with its outcome: of the gate, and of `recon diff`.

Every `corpus/THREAT/NAME.csv` is one, found by itself; what is expected of it is in
`corpus/THREAT/expected.json`, with the options it is read with. To add a file, put it
there and write its outcome with `ACCEPT_CASES=1 pytest tests/corpus/test_corpus.py`:
read it. That `recon run` ends as `recon diff` does is a test of
`integration/test_corpus_runs.py`, for a sample.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest
from support.corpus_files import (
    CORPUS,
    FILES,
    PLACE,
    diff_with_itself,
    expected_in,
    expected_of,
    name_of,
)
from support.csv_files import open_csv
from support.reading import Accepted, cells, read_by_reference

from recon_engine.config import Limits
from recon_engine.errors import ReconError


def outcome(path: Path, delimiter: str) -> dict[str, Any]:
    """What the gate makes of a file."""
    try:
        file = open_csv(path, delimiter=delimiter)
    except ReconError as error:
        place = {fact: getattr(error, fact) for fact in PLACE}
        return {"status": error.status, **place}
    written = asdict(file.dialect)
    written.pop("delimiter")
    assert not written.pop("frame")  # only options name other lines than records
    return {"rows": file.rows, "columns": len(file.columns), **written}


@pytest.fixture(scope="module", autouse=True)
def accepted() -> None:
    if "ACCEPT_CASES" not in os.environ:
        return
    for threat in sorted({path.parent.name for path in FILES}):
        known = expected_in(threat)
        fresh = {}
        for path in sorted((CORPUS / threat).glob("*.csv")):
            delimiter = known.get(path.stem, {}).get("delimiter")
            given = {"delimiter": delimiter} if delimiter else {}
            fresh[path.stem] = given | outcome(path, delimiter or ",")
        text = json.dumps(fresh, ensure_ascii=False, indent=1)
        (CORPUS / threat / "expected.json").write_text(text + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_passes_the_gate_or_is_refused_as_expected(path: Path) -> None:
    expected = dict(expected_of(path))
    found = outcome(path, expected.pop("delimiter", ","))
    assert found == expected
    assert "rows" in found or found["line"]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_is_expected_of_a_file_is_what_the_reference_says(path: Path) -> None:
    if path.parent.name == "not_csv":
        return
    expected, data = expected_of(path), path.read_bytes()
    delimiter = ord(expected.get("delimiter", ","))
    read = read_by_reference(data, delimiter, Limits())
    if not isinstance(read, Accepted):
        known = expected["status"], expected["line"], expected["byte_offset"]
        unmarked = data[:2] not in {b"\xff\xfe", b"\xfe\xff", b"\0\0"}
        assert (read.kind.status, read.line, read.offset) == known or not unmarked
        return
    file = open_csv(path, delimiter=chr(delimiter))
    assert (file.columns, tuple(cells(file))) == (read.columns, read.rows)
    assert expected["rows"] == len(read.rows)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_outcome_of_a_diff_is_that_of_the_gate(path: Path) -> None:
    expected = dict(expected_of(path))
    compared = diff_with_itself(path, expected.pop("delimiter", ","))
    if "rows" in expected:
        assert compared["verdict"] == "agree"
        for side in ("old", "new"):
            assert compared[side]["rows"] == expected["rows"]
    else:
        assert expected == {fact: compared[fact] for fact in expected}
        assert Path(compared["file"]).name == path.name


LONGEST: Final = 1 << 20
GROWN: Final = {
    "a field of 1 MiB": (b"x" * LONGEST, None),
    "a field of 1 MiB and a byte": (b"x" * (LONGEST + 1), 7),
    "a field of 1 MiB with quotes": (b'"' + b"x" * (LONGEST - 2) + b'"', None),
    "a quoted field longer than 1 MiB": (b'"' + b"x" * (LONGEST - 1) + b'"', 7),
    "a quote lost 2 MiB ago": (b'"' + b"x,y\n" * (LONGEST // 2), 7),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", GROWN.values(), ids=GROWN.keys())
def test_fields_are_long_up_to_1_mib(
    tmp_path: Path, case: tuple[bytes, int | None]
) -> None:
    field, refused_at = case
    path = tmp_path / "long.csv"
    path.write_bytes(b"id,v\n1," + field + b"\n2,a\n")
    found = outcome(path, ",")
    assert found.get("byte_offset") == refused_at
    assert found.get("rows") == (2 if refused_at is None else None)


def test_there_are_files_and_none_is_forgotten() -> None:
    assert len(FILES) >= 150
    for threat in {path.parent.name for path in FILES}:
        names = {path.stem for path in FILES if path.parent.name == threat}
        assert names == expected_in(threat).keys()


DOCS: Final = Path(__file__).parents[2] / "docs" / "csv.md"
ROW: Final = re.compile(r"^\| .+ \| `?(accepted|[A-Z_]+)`? \| (.+) \|$", re.MULTILINE)


def reason(expected: dict[str, Any]) -> str:
    """Why a file is refused, whatever the numbers."""
    return re.sub(r"\d+(,? ?\d+)*", "N", str(expected.get("message", "accepted")))


def test_the_table_of_the_docs_is_true_and_whole() -> None:
    shown = set()
    rows = ROW.findall(DOCS.read_text())
    assert rows
    for outcome_shown, examples in rows:
        for example in examples.split(", "):
            expected = expected_of(CORPUS / f"{example}.csv")
            assert expected.get("status", "accepted") == outcome_shown, example
            shown.add(reason(expected))
    assert shown == {reason(expected_of(path)) for path in FILES}
