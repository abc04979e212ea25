"""Build the data that a report page embeds: sampled cells and unmatched rows.

The data is stored by column, with repeated values stored once, to keep the page small.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recon_engine.formatting import ACCEPTED_WORDS
from recon_engine.kinds import REWRITING_KINDS
from recon_engine.model import PAGE_CELLS, UNMATCHED_ROWS, Suppressible
from recon_engine.result_frames import put_key_first


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.result import Reconciliation, SampleRow


# Without scripts the page shows the first rows of each list, up to so many cells.
FIRST_ROWS: Final = 50
FIRST_CELLS: Final = 500
# Characters of a longer cell that are shown, and how many of them precede the first
# difference.
MAX_TEXT: Final = 240
CONTEXT_BEFORE: Final = 40
# Whether a row is accepted, by what `Reconciliation.mark_rows` says of it.
ROW_MARKS: Final = {ACCEPTED_WORDS[each]: each for each in ACCEPTED_WORDS}


def build_page_data(
    result: Reconciliation, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The data that report.js searches, as plain JSON values.

    `files`: for each tab, the file that holds all its rows; None if there is none.

    Cell `i` has the values `old[i]` and `new[i]`. `pairs[combinations[i]]` gives its
    column and kind, as indices of `columns` and `kinds`. `cellsOf[r]` is the number of
    cells of sampled row `r`; cells are in row order. `rewritten` are the kinds that
    keep the value. `totals` count the whole result, not the sample. `accepted[i]`:
    whether suppressions accept cell `i`, and in `missing` and `extra` a row: 1, 0, or
    null if that is not known. They are null if none accepts any.
    """
    rows = take_rows_up_to(result.sample, PAGE_CELLS)
    accepts = result.acceptances.accepts_cell if result.accepted_cells else None
    accepted: list[int | None] = []
    differing = (each.name for each in result.by_column if each.mismatched)
    columns = {name: at for at, name in enumerate(differing)}
    kinds: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    # Lists of values, not objects: no name is repeated for each of up to 200,000 cells.
    combinations, old, new = [], [], []
    for row in rows:
        key = row.key_text
        for column, cell in row.cells.items():
            if accepts is not None:
                accepted.append(_as_number(accepts(column, key, cell)))
            pair = column, cell.kind
            combinations.append(pairs.setdefault(pair, len(pairs)))
            kinds.setdefault(cell.kind, len(kinds))
            was, now = excerpt_values(cell.old, cell.new)
            old.append(was)
            new.append(now)
    return {
        "keys": list(result.keys),
        "newNames": dict(result.new_names),
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
        "accepted": None if accepts is None else accepted,
        "missing": _unmatched_rows(result, Suppressible.MISSING),
        "extra": _unmatched_rows(result, Suppressible.EXTRA),
        "files": files,
        "totals": {
            "cells": result.counts.mismatched_cells,
            "missing": result.counts.missing,
            "extra": result.counts.extra,
        },
    }


class FirstCell(NamedTuple):
    """A cell that differs, with the values of the key of its row."""

    key: list[str]
    column: str
    old: str | None
    new: str
    kind: str
    accepted: bool


class FirstRows(NamedTuple):
    """The first rows of one side: as many columns as fit, of `width`, and the rows."""

    columns: list[str]
    width: int
    rows: list[tuple[str, ...]]


def list_first_cells(data: Mapping[str, Any]) -> list[FirstCell]:
    """The cells of the first rows that differ, of what `build_page_data` returns."""
    cells: list[FirstCell] = []
    for at, size in enumerate(data["cellsOf"][:FIRST_ROWS]):
        start = len(cells)
        if start + size > FIRST_CELLS:
            break
        key = [texts[at] for texts in data["keyColumns"]]
        for cell in range(start, start + size):
            column, kind = data["pairs"][data["combinations"][cell]]
            names = data["columns"][column], data["kinds"][kind]
            values = data["old"][cell], data["new"][cell]
            accepted = bool(data["accepted"] and data["accepted"][cell])
            cells.append(FirstCell(key, names[0], *values, names[1], accepted))
    return cells


def list_first_rows(unmatched: Mapping[str, Any]) -> FirstRows:
    """The first missing or extra rows, of what `build_page_data` returns for them."""
    names = unmatched["columns"]
    # Without columns, the rows of a recorded result are not kept.
    rows = min(FIRST_ROWS, len(unmatched["indices"][0])) if names else 0
    width = max(1, FIRST_CELLS // max(rows, 1))
    columns = [
        [values[at] for at in places[:rows]]
        for values, places in zip(
            unmatched["values"][:width], unmatched["indices"], strict=False
        )
    ]
    return FirstRows(names[:width], len(names), list(zip(*columns, strict=True)))


def take_rows_up_to(rows: Sequence[SampleRow], cells: int) -> Sequence[SampleRow]:
    """The longest prefix of `rows` that has at most `cells` cells in total."""
    sizes = itertools.accumulate([len(row.cells) for row in rows])
    # `sizes` ascends, so the longest prefix is found by bisection.
    return rows[: bisect_right([*sizes], cells)]


def excerpt_values(old: str | None, new: str) -> tuple[str | None, str]:
    """Both values; if one is longer than MAX_TEXT, only the text around the difference.

    Both excerpts begin at the same character. `old` may be None, for one value alone.
    """
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
    length = f" ({len(text):,} characters)" if lead or tail else ""
    return f"{lead}{part}{tail}{length}"


def _head_of_text(text: str) -> str:
    return text if len(text) <= MAX_TEXT else _cut_text(text, 0)


def _as_number(accepted: bool | None) -> int | None:  # noqa: FBT001 - of three values
    """Shorter than `true` and `false`, for each of up to 200,000 cells."""
    return None if accepted is None else int(accepted)


def _unmatched_rows(result: Reconciliation, what: Suppressible) -> dict[str, Any]:
    """The first rows of one side: per column its distinct values and an index per row.

    Column `c` of row `r` is `values[c][indices[c][r]]`.
    """
    frames = result.frames
    rows = frames.missing if what is Suppressible.MISSING else frames.extra
    rows = put_key_first(rows.head(UNMATCHED_ROWS), result.keys)
    marks = result.mark_rows(what, rows)
    values, indices = [], []
    for column in rows.iter_columns():
        texts = column.to_list()
        # Columns of few distinct values are short: each is written once.
        places = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        values.append([_head_of_text(text) for text in places])
        indices.append([places[text] for text in texts])
    accepted = [_as_number(ROW_MARKS[each]) for each in marks]
    return {
        "columns": rows.columns,
        "values": values,
        "indices": indices,
        "accepted": accepted if any(marks) else None,
    }
