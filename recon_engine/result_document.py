"""A result as plain values, which are its JSON, and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

from recon_engine.analysis.code_hints import without_codes
from recon_engine.formatting import (
    LINES_SHOWN,
    _name,
    describe_drift,
    escape_markdown,
    format_advice,
    format_constant,
    format_kinds,
    markdown_code,
    markdown_row,
)
from recon_engine.hint_settings import read_settings, write_python, write_toml
from recon_engine.model import ROWS_ASIDE, SIDES
from recon_engine.python_arguments import write_flags, write_for_python


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from recon_engine.model import Constant, Hint, RuleCount, Side, Suppressed
    from recon_engine.result import Reconciliation


def write_document(result: Reconciliation) -> dict[str, object]:
    """The result as plain values, in the schema `recon-result/1`."""
    return {
        "schema": "recon-result/1",
        "verdict": result.verdict,
        "keys": list(result.keys),
        "old": _side_facts(result.old),
        "new": _side_facts(result.new),
        "counts": asdict(result.counts),
        "columns": [asdict(c) | {"kinds": dict(c.kinds)} for c in result.by_column],
        "rules": [_rule(each) for each in result.rules],
        "warnings": list(result.warnings()),
        "signatures": [
            {"columns": list(s.columns), "rows": s.rows} for s in result.signatures
        ],
        "schema_drift": {
            "only_in_old": list(result.drift.only_in_old),
            "only_in_new": list(result.drift.only_in_new),
            "renamed": [list(pair) for pair in result.drift.renamed],
        },
        **_applied_options(result),
        "sample": [{"key": r.key, "payload": r.payload} for r in result.sample],
        "missing_sample": _keys_of(result, result.frames.missing),
        "extra_sample": _keys_of(result, result.frames.extra),
        **_unpairable_sample(result),
        "rejects": result.frames.rejects.head(result.detail_limit).to_dicts(),
        **result.findings.to_dict(),
        "hints": [_hint_as_dict(each) for each in result.hints],
        "gates": [asdict(each) for each in result.gates],
        "suppressed": [_suppression_as_dict(each) for each in result.suppressed],
        "engine": asdict(result.engine),
    }


def write_markdown(result: Reconciliation, *, in_python: bool = False) -> str:
    """Verdict, row accounting, differing columns and hints: no cell's value.

    `in_python`: whether options are named as arguments of `diff`.
    """
    spell = write_for_python if in_python else str
    advise = _advise_python if in_python else _advise_shell
    lines = [f"**{escape_markdown(result.headline())}**", "", result.accounting(), ""]
    for text in result.reading():
        lines += [escape_markdown(spell(text)), ""]
    for warning in (*result.warnings(), *describe_drift(SIDES, result.drift)):
        # The headline has some of them: each is printed once.
        if warning not in result.headline():
            lines += [f"Warning: {escape_markdown(spell(warning))}", ""]
    if result.counts.mismatched_cells:
        lines += [result.rewriting(), ""]
    lines += _list_acceptance(result, spell)
    if result.differing:
        lines += _list_columns(result)
    if result.rules_to_show:
        lines += [
            "",
            *(f"- rule {escape_markdown(each.text)}" for each in result.rules_to_show),
        ]
    lines += _list_causes(result, advise)
    return "\n".join(lines).rstrip() + "\n"


def _list_causes(
    result: Reconciliation, advise: Callable[[Hint], str]
) -> Iterator[str]:
    """Constants, columns without a cause, hints, and what no hint explains."""
    accepted = result.accepted_columns
    if common := result.constants_to_show[:LINES_SHOWN]:
        yield from ("", *(f"- {_describe_constant(each, accepted)}" for each in common))
    if names := result.unexplained_columns():
        yield from ("", f"No hint and no common change: {escape_markdown(names)}")
    if hints := result.hints_to_show[:LINES_SHOWN]:
        yield from ("", *(f"- {advise(each)}" for each in hints))
    if remainder := result.remainder():
        yield from ("", f"Not explained by any hint: {remainder}")


def _list_columns(result: Reconciliation) -> Iterator[str]:
    """A table of the columns that differ; with what is accepted, if some cells are."""
    accepted, left = result.accepted_cells, result.left.mismatches
    yield f"| column | cells that differ | {'accepted | ' * bool(accepted)}kinds |"
    yield f"|---|---:|{'---:|' * bool(accepted)}---|"
    for each in result.differing:
        own = [f"{each.mismatched - left[each.name]:,}"] * bool(accepted)
        cells = _name(each.name), f"{each.mismatched:,}", *own, format_kinds(each)
        yield markdown_row(*cells)


def _list_acceptance(
    result: Reconciliation, spell: Callable[[str], str]
) -> Iterator[str]:
    """A table of the gates, and a list of the suppressions."""
    if result.gates:
        yield from ("| gate | | |", "|---|---|---|")
        for gate in result.gates:
            passed = "pass" if gate.passed else "**fail**"
            yield markdown_row(_name(gate.gate), passed, escape_markdown(gate.text))
        yield ""
    if result.suppressed:
        if text := result.describe_open():
            yield from (f"{text}.", "")
        for each in result.suppressed:
            yield f"- {escape_markdown(spell(each.describe()))}"
        yield ""


def _describe_constant(constant: Constant, accepted: Container[str]) -> str:
    """A constant change; a text, which is a part of values, is left out."""
    by = "…" if constant.is_text else constant.by
    text = format_constant(constant, by, accepted=constant.column in accepted)
    return f"{_name(constant.column)}: {escape_markdown(text)}"


def _advise_shell(hint: Hint) -> str:
    return format_advice(without_codes(hint), escape_markdown, markdown_code)


def _advise_python(hint: Hint) -> str:
    """A hint with arguments of `diff`; a code table, which has values, by its source.

    There is no file with the codes in Python, and no value may be in the text.
    """

    def spell(text: str) -> str:
        return escape_markdown(write_for_python(text))

    def code(flag: str) -> str:
        table = "**d.suggested()"
        return markdown_code(table if hint.code_file else write_flags(flag))

    return format_advice(hint, spell, code)


def _unpairable_sample(result: Reconciliation) -> dict[str, object]:
    """The first rows that could not be paired; empty without any."""
    rows = result.frames.unpairable.head(result.detail_limit).to_dicts()
    # The frame has the row as JSON. As a text it would be quoted twice.
    listed = [each | {"row": json.loads(each["row"])} for each in rows]
    return {"unpairable_sample": listed} if listed else {}


def _applied_options(result: Reconciliation) -> dict[str, object]:
    """What options changed before rows were compared; empty without them."""
    found = {
        "name_pairs": [list(pair) for pair in result.name_pairs],
        "renames": [list(pair) for pair in result.mapped_names.items()],
        "applied": [asdict(each) for each in result.applied],
    }
    return {name: listed for name, listed in found.items() if listed}


def _keys_of(result: Reconciliation, rows: pl.DataFrame) -> list[dict[str, str]]:
    # The rows of a stored result are in its artifacts.
    if not rows.width:
        return []
    # Not `select`, which would read some names as patterns.
    columns = [rows.get_column(name) for name in result.keys]
    return pl.DataFrame(columns).head(result.detail_limit).to_dicts()


def _side_facts(side: Side) -> dict[str, Any]:
    """A side as plain values; of the rows that are set aside only if there are some."""
    facts = asdict(side) | {"dialect": side.dialect_facts()}
    return {
        name: value for name, value in facts.items() if value or name not in ROWS_ASIDE
    }


def _rule(each: RuleCount) -> dict[str, object]:
    # `asdict` keeps named tuples, which JSON writes as lists without names.
    sides = {"old": each.old._asdict(), "new": each.new._asdict()}
    codes = None if each.codes is None else each.codes._asdict()
    return asdict(each) | sides | {"codes": codes}


def _hint_as_dict(hint: Hint) -> dict[str, object]:
    """A hint, with its settings as recon.toml and Python have them."""
    settings = read_settings(hint)
    return asdict(hint) | {
        "kind": str(hint.kind),
        "toml": write_toml(settings),
        "python": write_python(settings),
    }


def _suppression_as_dict(suppressed: Suppressed) -> dict[str, object]:
    return suppressed.suppression.public | {
        "count": suppressed.count,
        "state": suppressed.state,
        "text": suppressed.text,
    }
