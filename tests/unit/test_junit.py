from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from support.program import recon
from support.suppressed_pairs import ALL, known, pair, suppressed

from recon_engine import Reconciliation, diff
from recon_engine.model import Acceptance, GateResult
from recon_engine.report.junit import render_junit


if TYPE_CHECKING:
    from pathlib import Path


SUITE = {"name", "tests", "failures", "errors", "skipped", "time"}


def cases(result: Reconciliation) -> dict[str, ET.Element]:
    """The cases by name; the report obeys what CI systems ask of one."""
    suites = ET.fromstring(render_junit(result))
    assert suites.tag == "testsuites"
    [suite] = suites
    found = suite.findall("testcase")
    assert suite.attrib.keys() == SUITE
    assert int(suite.attrib["tests"]) == len(found)
    failed = [case for case in found if case.find("failure") is not None]
    assert int(suite.attrib["failures"]) == len(failed)
    for case in found:
        assert case.attrib.keys() == {"classname", "name", "time"}
        assert float(case.attrib["time"]) >= 0
        assert {child.tag for child in case} <= {"failure", "system-out"}
    return {case.attrib["name"]: case for case in found}


def failure(case: ET.Element) -> str | None:
    found = case.find("failure")
    return None if found is None else found.attrib["message"]


def test_each_gate_is_a_case() -> None:
    old, new = pair()
    found = cases(diff(old, new, keys="ID", gates=["missing<=2", "extra<=0"]))
    assert set(found) == {"every row is accounted for", "missing<=2", "extra<=0"}
    assert failure(found["missing<=2"]) is None
    assert failure(found["extra<=0"]) == "1 of 6 new rows is extra, limit 0"


def test_without_gates_the_agreement_is_a_case() -> None:
    old, new = pair()
    agree = cases(diff(old, old, keys="ID"))["OLD and NEW agree"]
    differ = cases(diff(old, new, keys="ID"))["OLD and NEW agree"]
    assert failure(agree) is None
    assert failure(differ) == "3 of 5 matched rows differ, 2 missing, 1 extra"
    expired = cases(suppressed(known("missing", until=date.min)))["OLD and NEW agree"]
    assert failure(expired) == failure(differ)


def test_each_suppression_is_a_case() -> None:
    unused = known("column", column="CODE", kind="date")
    found = cases(suppressed(*ALL, known("missing", max=1), unused))
    assert failure(found["missing: a defect"]) is None
    found = cases(suppressed(known("missing", max=1)))
    assert "accepted up to 1 only" in (failure(found["missing: a defect"]) or "")
    shown = cases(suppressed(unused))["CODE date: a defect"].find("system-out")
    assert shown is not None
    assert "nothing found" in (shown.text or "")


@cache
def agreeing() -> Reconciliation:
    old, _ = pair()
    return diff(old, old, keys="ID")


@given(name=st.text(min_size=1), text=st.text())
def test_a_hostile_name_is_reported_and_breaks_nothing(name: str, text: str) -> None:
    hostile = GateResult(name, passed=False, value=0, text=text)
    gates = hostile, GateResult("x", True, 0, "")
    result = replace(agreeing(), acceptance=Acceptance(gates, ()))
    assert cases(result)
    verdict, own, other = ET.fromstring(render_junit(result)).iter("testcase")
    assert failure(own) is not None
    assert failure(verdict) is failure(other) is None


def test_no_value_of_a_cell_is_in_it() -> None:
    old = pl.DataFrame({"ID": ["CANARY-1", "CANARY-2"], "A": ["CANARY-3", "x"]})
    new = pl.DataFrame({"ID": ["CANARY-1", "CANARY-4"], "A": ["CANARY-5", "x"]})
    gates = ["missing<=0", "mismatches(A)<=0", "sum_delta(A)<=0"]
    assert b"CANARY" not in render_junit(diff(old, new, keys="ID", gates=gates))


def test_an_output_named_xml_is_a_report(tmp_path: Path) -> None:
    for name, side in zip(("old.csv", "new.csv"), pair(), strict=True):
        side.write_csv(tmp_path / name)
    options = ("-k", "ID", "--gate", "missing<=0", "-o", "r.xml")
    ended = recon("diff", "old.csv", "new.csv", *options, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    suites = ET.fromstring((tmp_path / "r.xml").read_bytes())
    assert suites[0].attrib["failures"] == "1"
