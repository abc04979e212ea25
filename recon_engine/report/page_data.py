"""The rows that a page carries: sampled cells and lone rows, compact and in columns."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final

from recon_engine.kinds import REWRITING_KINDS


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from recon_engine.result import Reconciliation, SampleRow


# A page stays one that a browser opens, however wide the rows and large their cells.
MAX_CELLS: Final = 200_000
UNMATCHED_ROWS: Final = 200
MAX_TEXT: Final = 240
CONTEXT_BEFORE: Final = 40


def build_page_data(
    result: Reconciliation, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the page searches, as plain values; `files`: where each tab has all rows.

    Cell `i` is in the column and of the kind that `pairs[combinations[i]]` names, and
    says `old[i]` and `new[i]`. `cellsOf` has how many of them each sampled row has.
    """
    rows = take_rows_up_to(result.sample, MAX_CELLS)
    differing = (each.name for each in result.by_column if each.mismatched)
    columns = {name: at for at, name in enumerate(differing)}
    kinds: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    combinations, old, new = [], [], []
    for row in rows:
        for column, cell in row.cells.items():
            pair = column, cell.kind
            combinations.append(pairs.setdefault(pair, len(pairs)))
            kinds.setdefault(cell.kind, len(kinds))
            was, now = excerpt_values(cell.old, cell.new)
            old.append(was)
            new.append(now)
    return {
        "keys": list(result.keys),
        "keyColumns": [
            [_head_of_text(row.key[name]) for row in rows] for name in result.keys
        ],
        "compared": len(result.by_column),
        "columns": list(columns),
        "kinds": list(kinds),
        "rewritten": sorted(REWRITING_KINDS),
        "pairs": [[columns[column], kinds[kind]] for column, kind in pairs],
        "cellsOf": [len(row.cells) for row in rows],
        "combinations": combinations,
        "old": old,
        "new": new,
        "missing": _unmatched_rows(result.frames.missing),
        "extra": _unmatched_rows(result.frames.extra),
        "files": files,
        "totals": {
            "cells": result.counts.mismatched_cells,
            "missing": result.counts.missing,
            "extra": result.counts.extra,
        },
    }


def take_rows_up_to(rows: Sequence[SampleRow], cells: int) -> Sequence[SampleRow]:
    """The first rows that have not more cells than that in all."""
    sizes = itertools.accumulate([len(row.cells) for row in rows])
    return rows[: bisect_right([*sizes], cells)]


def excerpt_values(old: str | None, new: str) -> tuple[str | None, str]:
    """Both values; of long ones only what surrounds their first difference."""
    if len(new) <= MAX_TEXT and len(old or "") <= MAX_TEXT:
        return old, new
    same = sum(
        1
        for _ in itertools.takewhile(
            lambda two: two[0] == two[1], zip(old or "", new, strict=False)
        )
    )
    start = max(same - CONTEXT_BEFORE, 0)
    return old and _cut_text(old, start), _cut_text(new, start)


def _cut_text(text: str, start: int) -> str:
    part = text[start : start + MAX_TEXT]
    lead = "…" if start else ""
    tail = "…" if start + MAX_TEXT < len(text) else ""
    told = f" ({len(text):,} characters)" if lead or tail else ""
    return f"{lead}{part}{tail}{told}"


def _head_of_text(text: str) -> str:
    return text if len(text) <= MAX_TEXT else _cut_text(text, 0)


def _unmatched_rows(rows: pl.DataFrame) -> dict[str, Any]:
    """The first rows of one side whole: each column as its values and their places."""
    values, indices = [], []
    for column in rows.head(UNMATCHED_ROWS).iter_columns():
        texts = column.to_list()
        places = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        values.append([_head_of_text(text) for text in places])
        indices.append([places[text] for text in texts])
    return {"columns": rows.columns, "values": values, "indices": indices}
