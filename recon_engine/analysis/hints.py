"""Hints: measured explanations of differences, each with the flag to paste. Pure.

Nothing is guessed: a rule is applied to the very cells or keys that differ, by the
functions that a run would use, and a hint says how many of them it explains. It is
given from 1% on (`MIN_SETTLED_ONE_IN`), and never applied automatically.

`column_hints` has those of cells, `key_hints` those of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from recon_engine.analysis.code_hints import (
    keep_translated,
    mask_codes,
    without_codes,
)
from recon_engine.analysis.column_hints import for_renames
from recon_engine.analysis.finding import Finding
from recon_engine.analysis.key_hints import (
    find_key_hints,
    for_duplicate_keys,
    for_splits,
)
from recon_engine.model import Hint, HintKind
from recon_engine.record_table import Field
from recon_engine.rules.assembly import ALL_COLUMNS


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.analysis.evidence import Evidence


def _find_hints(evidence: Evidence) -> Iterator[Hint]:
    """Hints about renames, splits and keys, then the rules of columns, most first."""
    yield from for_renames(evidence.renamed, evidence.agreements)
    yield from evidence.swapped
    # Splits refer to the compared columns by their ordinals: the sorted names.
    splits = for_splits(sorted(evidence.columns), *evidence.splits)
    yield from splits
    # If most repeated keys are splits, the column that makes their rows unique is a
    # line number, which the other side does not have.
    if 2 * sum(each.total for each in splits) < sum(evidence.repeated):
        yield from for_duplicate_keys(
            evidence.keys,
            evidence.unique_column,
            evidence.repeated,
            evidence.unchanged,
            evidence.matched,
        )
    yield from find_key_hints(evidence)
    rules = [
        hint
        for each in evidence.differing
        for hint in each.hints
        if hint.column != ALL_COLUMNS or not hint.flag
    ]
    kept = keep_translated(rules, evidence)
    yield from sorted(kept, key=lambda hint: -hint.total)


def _load_hint(*, kind: str, **values: Any) -> Hint:
    return Hint(HintKind(kind), **values)


HINTS: Final = Finding(
    name="hints",
    table="hint",
    fields=(
        Field("kind"),
        Field("column", "column_name"),
        Field("flag"),
        Field("count"),
        Field("total"),
        Field("text"),
    ),
    load=_load_hint,
    find=_find_hints,
    mask=mask_codes,
    # The table of the database has none: `strip` leaves the codes of a hint out.
    holds_values=False,
    strip=without_codes,
)
