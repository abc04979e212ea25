"""A file is run by one worker, and the divisible ones in portions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.work_division import FIRST, PORTION, FilesAndPortions, place_of
from xdist.workermanage import parse_tx_spec_config


if TYPE_CHECKING:
    import pytest


def test_a_file_is_one_share_and_a_divisible_one_has_several(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytestconfig.option, "tx", ["2*popen"])
    assert len(parse_tx_spec_config(pytestconfig)) == 2
    scheduler = FilesAndPortions(pytestconfig)
    whole = [f"tests/spark/test_spark.py::test_{at}[a::b]" for at in range(9)]
    cut = [f"tests/unit/test_gate.py::test_{at}[a]" for at in range(9)]
    assert len({scheduler._split_scope(each) for each in whole}) == 1
    shares = [scheduler._split_scope(each) for each in cut]
    assert [shares.count(each) for each in dict.fromkeys(shares)] == [
        PORTION,
        PORTION,
        1,
    ]
    # Where a test ends, its share is asked for again.
    assert [scheduler._split_scope(each) for each in cut] == shares


def test_long_files_come_first_and_divisible_ones_last() -> None:
    ids = ["tests/unit/test_gate.py::test_x", "tests/program/test_cli.py::test_x"]
    ids += [f"{path}::test_x" for path in reversed(FIRST)]
    assert sorted(ids, key=place_of) == [
        *(f"{path}::test_x" for path in FIRST),
        "tests/program/test_cli.py::test_x",
        "tests/unit/test_gate.py::test_x",
    ]
