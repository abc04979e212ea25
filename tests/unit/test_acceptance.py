"""A result is judged by construction: none exists without its gates evaluated."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from support.spark_cluster import InProcess
from support.suppressed_pairs import DAY, known, pair

from recon_engine import Reconciliation, diff
from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.result_builder import build_result
from recon_engine.config import Options
from recon_engine.inputs.frames import import_frame
from recon_engine.inputs.header import read_header
from recon_engine.model import Acceptance, SuppressionState
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from pathlib import Path


GATES = ("missing<=1", "extra<=9", "sum_delta(PAID)<=0")


def fields_of(result: Reconciliation) -> dict[str, Any]:
    return {each.name: getattr(result, each.name) for each in fields(Reconciliation)}


def test_a_result_cannot_be_made_without_an_acceptance() -> None:
    facts = fields_of(diff(*pair(), keys="ID"))
    assert Reconciliation(**facts).acceptance == Acceptance((), ())
    del facts["acceptance"]
    with pytest.raises(TypeError, match="acceptance"):
        Reconciliation(**facts)


def test_an_acceptance_has_no_default_for_gates_or_suppressions() -> None:
    assert all(each.default is MISSING for each in fields(Acceptance))
    assert all(each.default_factory is MISSING for each in fields(Acceptance))
    with pytest.raises(TypeError, match="'gates' and 'suppressed'"):
        Acceptance()  # type: ignore[call-arg]


@pytest.mark.parametrize("builder", [build_result, compare_tables, compare_on_cluster])
def test_whatever_builds_a_result_has_to_know_the_day(builder: Any) -> None:
    day = inspect.signature(builder).parameters["today"]
    assert day.default is inspect.Parameter.empty


def evaluated_by(result: Reconciliation) -> list[tuple[str, bool]]:
    return [(each.gate, each.passed) for each in result.gates]


def test_the_comparison_itself_evaluates_gates_and_suppressions(tmp_path: Path) -> None:
    """Not its caller: each engine answers with a verdict, and the same one."""
    expired = known("extra", until=DAY.replace(year=2020))
    options = Options(keys=("ID",), gates=GATES, suppressions=(expired,))
    sides = [import_frame(frame, "frame") for frame in pair()]
    with read_tables(sides[0], sides[1], options) as reading:
        local = compare_tables(reading, DAY)
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for frame, path in zip(pair(), paths, strict=True):
        frame.write_csv(path)
    old, new = map(read_header, paths)
    spark = compare_on_cluster(
        (old, new),
        (LocalSource.of(old), LocalSource.of(new)),
        options,
        DAY,
        cluster=InProcess(),
        settings=SparkSettings(span=40, bucket=20, sha256=False),
    )
    assert evaluated_by(local) == [
        (GATES[0], False),
        (GATES[1], True),
        (GATES[2], False),
    ]
    assert evaluated_by(spark) == evaluated_by(local)
    for result in (local, spark):
        assert [each.state for each in result.suppressed] == [SuppressionState.EXPIRED]
        assert (result.passes, result.verdict) == (False, "gates_failed")


def test_a_mask_is_applied_before_its_gate_is_evaluated() -> None:
    result = diff(*pair(), keys="ID", masks={"PAID": "redact"}, gates=GATES)
    assert [each.gate for each in result.gates] == list(GATES)
    assert result.gates[2].value == "no sum"
    assert "masked" in result.gates[2].text


def test_a_changed_copy_keeps_its_acceptance() -> None:
    result = diff(*pair(), keys="ID", gates=GATES)
    copy = replace(result, detail_limit=1)
    assert copy.acceptance == result.acceptance
    assert not copy.passes
