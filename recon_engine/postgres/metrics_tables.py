"""The parts of a result that are records, and their tables in the schema `metrics`.

`metrics_rows` writes them and `history` reads them back. The tables of findings are
declared by the analyses (`findings.FINDINGS`).
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from recon_engine.kinds import KINDS
from recon_engine.model import (
    SIDES,
    CodeCounts,
    Column,
    GateResult,
    Reads,
    RuleCount,
    Sha256,
    Signature,
    Suppressed,
    Suppressible,
    Suppression,
    SuppressionState,
)
from recon_engine.record_table import Field, RecordTable


if TYPE_CHECKING:
    from recon_engine.kinds import Kind


def _count_kind(kind: Kind, column: Column) -> int:
    return column.kinds.get(kind, 0)


def _load_column(**values: Any) -> Column:
    kinds = {kind.value: values.pop(kind.value) for kind in KINDS}
    return Column(**values, kinds={kind: n for kind, n in kinds.items() if n})


def _load_rule(**values: Any) -> RuleCount:
    old, new = (
        Reads(values.pop(f"{side}_read"), values.pop(f"{side}_unread"))
        for side in SIDES
    )
    every = {name: values.pop(f"codes_{name}") for name in CodeCounts._fields}
    codes = None if every["right"] is None else CodeCounts(**every)
    return RuleCount(**values, old=old, new=new, codes=codes)


def _count_codes(name: str, rule: RuleCount) -> int | None:
    """One number of a code table; null for another rule."""
    return None if rule.codes is None else int(getattr(rule.codes, name))


def _load_signature(*, columns: list[str], rows: int) -> Signature:
    return Signature(tuple(columns), rows)


def _number_or_null(gate: GateResult) -> float | None:
    """The value of a gate; null for text, such as `no sum`."""
    try:
        return float(gate.value)
    except ValueError:
        return None


def _load_gate(*, value: float | None, **known: Any) -> GateResult:
    return GateResult(value=value or 0, **known)


def _field_of_suppression(name: str, column: str) -> Field:
    return Field(name, column, get=attrgetter(f"suppression.{name}"))


def _join_kinds(suppressed: Suppressed) -> str | None:
    """The kinds of a suppression as the table has them; the name of one is a word."""
    kinds = suppressed.suppression.kinds
    return None if kinds is None else ",".join(kinds)


def _load_suppressed(
    *,
    what: str,
    count: int,
    state: str,
    kinds: dict[str, int],
    spelled: list[str],
    **known: Any,
) -> Suppressed:
    known["keys"] = known["keys"] and tuple(map(Sha256, known["keys"]))
    if "," in (kind := known["kind"] or ""):
        known["kind"] = tuple(kind.split(","))
    for side in SIDES:
        known[side] = known[side] and Sha256(known[side])
    suppression = Suppression(what=Suppressible(what), **known)
    return Suppressed(
        suppression, count, SuppressionState(state), kinds, tuple(spelled)
    )


COLUMNS: Final = RecordTable(
    table="mismatch_by_column",
    fields=(
        Field("name", "column_name"),
        Field("compared"),
        Field("equal_exact"),
        Field("tolerated"),
        Field("mismatched"),
        *(Field(k.value, f"kind_{k}", get=partial(_count_kind, k)) for k in KINDS),
    ),
    load=_load_column,
)
RULES: Final = RecordTable(
    table="rule_count",
    fields=(
        Field("column", "column_name"),
        Field("rule"),
        Field("of", "counted"),
        Field("every", "every_column"),
        Field("old_read", get=attrgetter("old.read")),
        Field("old_unread", get=attrgetter("old.unread")),
        Field("new_read", get=attrgetter("new.read")),
        Field("new_unread", get=attrgetter("new.unread")),
        Field("made_equal"),
        Field("side"),
        Field("implied"),
        *(
            Field(f"codes_{name}", get=partial(_count_codes, name))
            for name in CodeCounts._fields
        ),
        Field("source"),
    ),
    load=_load_rule,
)
SIGNATURES: Final = RecordTable(
    table="mismatch_signature",
    fields=(Field("columns"), Field("rows")),
    load=_load_signature,
)
GATES: Final = RecordTable(
    table="gate_result",
    fields=(
        Field("gate"),
        Field("passed"),
        Field("value", get=_number_or_null),
        Field("text", "says"),
    ),
    load=_load_gate,
)
SUPPRESSIONS: Final = RecordTable(
    table="suppression",
    fields=(
        _field_of_suppression("what", "what"),
        _field_of_suppression("column", "column_name"),
        Field("kind", get=_join_kinds),
        _field_of_suppression("reason", "reason"),
        _field_of_suppression("owner", "owner"),
        _field_of_suppression("until", "until_date"),
        _field_of_suppression("max", "most"),
        _field_of_suppression("keys", "keys_sha256"),
        _field_of_suppression("old", "old_sha256"),
        _field_of_suppression("new", "new_sha256"),
        Field("count", "found"),
        Field("state"),
        Field("kinds", "found_by_kind"),
        Field("spelled", "spelled_sha256"),
    ),
    load=_load_suppressed,
)
