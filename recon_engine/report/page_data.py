"""The rows that a page carries: sampled cells and lone rows, compact and in columns."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final

from recon_engine.kinds import REWRITTEN


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from recon_engine.result import Reconciliation, SampleRow


# A page stays one that a browser opens, however wide the rows and large their cells.
MOST_CELLS: Final = 200_000
LONE_ROWS: Final = 200
LONGEST: Final = 240
BEFORE: Final = 40


def evidence(
    result: Reconciliation, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the page searches, as plain values; `files`: where each tab has all rows.

    Cell `i` is in the column and of the kind that `pairs[combinations[i]]` names, and
    says `old[i]` and `new[i]`. `cellsOf` has how many of them each sampled row has.
    """
    rows = within(result.sample, MOST_CELLS)
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
            was, now = excerpt(cell.old, cell.new)
            old.append(was)
            new.append(now)
    return {
        "keys": list(result.keys),
        "keyColumns": [[_head(row.key[name]) for row in rows] for name in result.keys],
        "compared": len(result.by_column),
        "columns": list(columns),
        "kinds": list(kinds),
        "rewritten": sorted(REWRITTEN),
        "pairs": [[columns[column], kinds[kind]] for column, kind in pairs],
        "cellsOf": [len(row.cells) for row in rows],
        "combinations": combinations,
        "old": old,
        "new": new,
        "missing": _lone(result.frames.missing),
        "extra": _lone(result.frames.extra),
        "files": files,
        "totals": {
            "cells": result.counts.mismatched_cells,
            "missing": result.counts.missing,
            "extra": result.counts.extra,
        },
    }


def within(rows: Sequence[SampleRow], cells: int) -> Sequence[SampleRow]:
    """The first rows that have not more cells than that in all."""
    sizes = itertools.accumulate([len(row.cells) for row in rows])
    return rows[: bisect_right([*sizes], cells)]


def excerpt(old: str | None, new: str) -> tuple[str | None, str]:
    """Both values; of long ones only what surrounds their first difference."""
    if len(new) <= LONGEST and len(old or "") <= LONGEST:
        return old, new
    same = sum(
        1
        for _ in itertools.takewhile(
            lambda two: two[0] == two[1], zip(old or "", new, strict=False)
        )
    )
    start = max(same - BEFORE, 0)
    return old and _cut(old, start), _cut(new, start)


def _cut(text: str, start: int) -> str:
    part = text[start : start + LONGEST]
    lead = "…" if start else ""
    tail = "…" if start + LONGEST < len(text) else ""
    told = f" ({len(text):,} characters)" if lead or tail else ""
    return f"{lead}{part}{tail}{told}"


def _head(text: str) -> str:
    return text if len(text) <= LONGEST else _cut(text, 0)


def _lone(rows: pl.DataFrame) -> dict[str, Any]:
    """The first rows of one side whole: each column as its values and their places."""
    values, indices = [], []
    for column in rows.head(LONE_ROWS).iter_columns():
        texts = column.to_list()
        places = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        values.append([_head(text) for text in places])
        indices.append([places[text] for text in texts])
    return {"columns": rows.columns, "values": values, "indices": indices}
