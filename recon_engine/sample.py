"""Which rows of a difference to show: by content, never by file order or chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_MIX: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST: Final = np.uint64(31)
_PRIME: Final = np.uint64(0x100000001B3)
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def choose(cells: pl.DataFrame, ranks: pl.Series, limit: int) -> pl.Series:
    """The rows to show, at most `limit`: round-robin over columns, then kinds.

    `cells` has `pair`, `column` and `kind`; `ranks` orders the pairs (`stable_hash` of
    their keys). A row is due when the first of its cells is. Answers pair numbers in
    the order in which they are due, so a smaller limit gives a prefix of a larger.
    """
    turn = pl.int_range(pl.len(), dtype=pl.UInt32)
    ranked = cells.select("pair", "column", "kind").with_columns(
        rank=ranks.gather(cells["pair"])
    )
    by_kind = ranked.sort("rank", "pair").with_columns(
        kind_turn=turn.over("column", "kind")
    )
    by_column = by_kind.sort("kind_turn", "kind", "rank", "pair").with_columns(
        turn=turn.over("column")
    )
    due = by_column.sort("turn", "column", "rank", "pair")
    return due.unique("pair", keep="first", maintain_order=True).head(limit)["pair"]


def stable_hash(rows: pl.DataFrame) -> pl.Series:
    """A 64-bit hash of each row of strings: the same in every process and version.

    A polynomial over the bytes of each cell, finished with the mixer of SplitMix64
    (Steele, Lea, Flood 2014). It orders samples; nothing rests on it being unguessable.
    """
    result = np.zeros(rows.height, np.uint64)
    with np.errstate(over="ignore"):
        for column in rows:
            result = _mixed(result * _PRIME + _polynomial(column) + _ODD)
    return pl.Series("hash", result)


def _polynomial(texts: pl.Series) -> NDArray[np.uint64]:
    array = texts.fill_null("").to_arrow().cast("large_binary")
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset :][: len(array) + 1]
    if len(array) == 0:
        return np.zeros(0, np.uint64)
    base, stop = int(ends[0]), int(ends[-1])
    raw = np.frombuffer(data, np.uint8)[base:stop] if stop > base else np.zeros(0)
    sizes = np.diff(ends)
    place = np.arange(stop - base) - np.repeat(ends[:-1] - base, sizes)
    terms = (raw.astype(np.uint64) + np.uint64(1)) * _powers(sizes)[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    total = sums[ends[1:] - base] - sums[ends[:-1] - base]
    result: NDArray[np.uint64] = total + sizes.astype(np.uint64)
    return result


def _powers(sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    longest = int(sizes.max(initial=0)) + 1
    return np.asarray(np.cumprod(np.full(longest, _ODD, np.uint64)), np.uint64)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in _MIX:
        value = (value ^ (value >> shift)) * factor
    return value ^ (value >> _LAST)


def payloads(cells: pl.DataFrame, names: Sequence[str]) -> dict[int, dict[str, str]]:
    """For each pair its differing columns as `old~new`, in column order."""
    rows: dict[int, dict[str, str]] = {}
    ordered = cells.select("pair", "column", "old", "new").sort("pair", "column")
    for pair, column, old, new in ordered.iter_rows():
        rows.setdefault(pair, {})[names[column]] = f"{old}~{new}"
    return rows
