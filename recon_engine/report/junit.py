"""Render a result as a JUnit report, which CI systems show. It holds no cell values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from recon_engine.model import SuppressionState


if TYPE_CHECKING:
    from recon_engine.result import Reconciliation


# Everything outside `Char` of XML 1.0, which has no escape for control characters.
UNWRITABLE: Final = re.compile(
    r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
SUITE: Final = "recon"


def render_junit(result: Reconciliation) -> bytes:
    """A report with one test case for each gate and each suppression.

    Without gates, one case says whether the files agree. The first case always passes:
    a result whose row counts do not add up is never built.
    """
    cases = [_make_case("accounting", "every row is accounted for", None)]
    cases += [
        _make_case("gates", gate.gate, None if gate.passed else gate.text)
        for gate in result.gates
    ]
    if not result.gates:
        # `unsettled`, because suppressed differences are no failure.
        differs = result.differences() if result.unsettled else None
        cases.append(_make_case("gates", "OLD and NEW agree", differs))
    for each in result.suppressed:
        case = _make_case(
            "suppressions",
            f"{each.suppression.describe({})}: {each.suppression.reason}",
            each.describe() if each.failed else None,
        )
        # An unused suppression is a warning: it shows as output, not as a failure.
        if each.state is SuppressionState.UNUSED:
            ET.SubElement(case, "system-out").text = _writable_text(each.describe())
        cases.append(case)
    return _make_document(cases, result)


def _make_case(group: str, name: str, failure: str | None) -> ET.Element:
    facts = {"classname": f"{SUITE}.{group}", "name": _writable_text(name), "time": "0"}
    case = ET.Element("testcase", facts)
    if failure is not None:
        attributes = {"type": "failed", "message": _writable_text(failure)}
        ET.SubElement(case, "failure", attributes)
    return case


def _make_document(cases: list[ET.Element], result: Reconciliation) -> bytes:
    failed = sum(case.find("failure") is not None for case in cases)
    suite = ET.Element(
        "testsuite",
        {
            "name": SUITE,
            "tests": str(len(cases)),
            "failures": str(failed),
            "errors": "0",
            "skipped": "0",
            "time": f"{result.engine.seconds:.3f}",
        },
    )
    suite.extend(cases)
    facts = [result.accounting(), *filter(None, (result.describe_open(),))]
    facts += [*result.reading(), *result.warnings()]
    facts += [f"rule {each.text}" for each in result.rules_to_show]
    ET.SubElement(suite, "system-out").text = _writable_text("\n".join(facts))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    text = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _writable_text(text: str) -> str:
    return UNWRITABLE.sub("�", text)
