"""Choose the differing rows to show: by content, never by file order or chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.inputs.native.texts import open_table
from recon_engine.model import Cell
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


TURN: Final = pl.int_range(pl.len(), dtype=pl.UInt32)
# Of so few cells all turns are taken by one query.
FEW_CELLS: Final = 1 << 12
WORD_BYTES: Final = 8
# SplitMix64 has these shifts and factors. The prime is that of FNV-1a in 64 bits, the
# odd number 2**64 divided by the golden ratio. `kernel.c` has the same.
_MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST: Final = 31
_PRIME: Final = 0x100000001B3
_ODD: Final = 0x9E3779B97F4A7C15


def choose_rows(cells: pl.DataFrame, ranks: pl.Series, limit: int) -> pl.Series:
    """The rows to show, at most `limit`: round-robin over columns, then kinds.

    `cells` has `pair`, `column` and `kind`; `ranks` orders the pairs (`stable_hash` of
    their keys). A row is due when the first of its cells is. Returns pair numbers in
    the order in which they are due, so a smaller limit gives a prefix of a larger one.
    """
    if cells.is_empty():
        return cells["pair"]
    ranked = cells.lazy().select(
        "pair", "column", "kind", rank=pl.lit(ranks).gather(pl.col("pair"))
    )
    # A cell after `limit` cells of one column is never due, so `limit` turns are
    # enough. With many columns far fewer are: start low and quadruple until
    # enough are due.
    # The order does not depend on the turns: `test_sample.py` checks the prefixes.
    turns, many = limit, cells.height > FEW_CELLS
    if many:
        ranked = ranked.collect(engine="in-memory").lazy()
        turns = min(limit, 1 + 2 * limit // cells["column"].n_unique())
    while True:
        first = ranked
        if many:
            # To sort what no turn reaches takes five times as long as to leave it out.
            last = pl.col("rank").bottom_k(turns).max().over("column", "kind")
            first = ranked.filter(pl.col("rank") <= last)
        due = _find_due_pairs(first, turns)
        if due.len() >= limit or turns >= limit:
            return due.head(limit)
        turns = min(limit, 4 * turns)


def _find_due_pairs(ranked: pl.LazyFrame, turns: int) -> pl.Series:
    """The pairs that are due within so many turns of each column.

    `ranked`: the cells that these turns reach, and maybe more, with the rank of each.
    """
    return (
        # Two keys may have one rank.
        ranked.sort("rank", "pair")
        .with_row_index("place")
        .with_columns(kind_turn=TURN.over("column", "kind"))
        .filter(pl.col("kind_turn") < turns)
        .sort("kind_turn", "kind", "place")
        .with_columns(turn=TURN.over("column"))
        .filter(pl.col("turn") < turns)
        .sort("turn", "column", "place")
        .unique("pair", keep="first", maintain_order=True)
        .collect(engine="in-memory")["pair"]
    )


def candidate_rows(cells: pl.DataFrame, ranks: pl.Series, limit: int) -> pl.Series:
    """The pairs that `choose_rows` may need, whatever other rows there are.

    In each column these are whole rounds over its kinds, up to `limit` cells: later
    rounds are due after that many rows, and cells of other pairs only delay them.
    """
    ranked = cells.select("pair", "column", "kind").with_columns(
        rank=ranks.gather(cells["pair"])
    )
    rounds = (
        ranked.sort("rank", "pair")
        .with_columns(round=TURN.over("column", "kind"))
        .sort("round")
        .with_columns(before=TURN.over("column"))
    )
    first = pl.col("before").min().over("column", "round")
    return rounds.filter(first < limit)["pair"].unique().sort()


def stable_hash(rows: pl.DataFrame) -> pl.Series:
    """A 64-bit hash of each row of strings, the same in every process and version.

    It absorbs eight bytes of a cell at a time, and mixes with the finalizer of
    SplitMix64 (Steele, Lea, Flood 2014). It orders samples and is not secure.
    """
    with open_table(rows) as table:
        if table is not None:
            return table.hash_rows()
    result = np.zeros(rows.height, np.uint64)
    with np.errstate(over="ignore"):
        for column in rows:
            _absorb_cells(result, column)
    return pl.Series("hash", result)


def _absorb_cells(state: NDArray[np.uint64], texts: pl.Series) -> None:
    """Mix a cell into the hash of each row: its bytes, then its length."""
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    ends = np.append(0, np.cumsum(sizes))
    # Words are read up to 8 bytes behind the last text.
    raw = texts.str.join("").item().encode() + bytes(WORD_BYTES)
    # A view with a stride of 1: the 8-byte word that begins at each byte.
    words = np.ndarray(len(raw) - WORD_BYTES + 1, "<u8", raw, strides=(1,))
    left = np.flatnonzero(sizes)
    at = 0
    while len(left):
        word = words[ends[left] + at]
        short = np.maximum(WORD_BYTES - (sizes[left] - at), 0).astype(np.uint64)
        word = (word << (short * 8)) >> (short * 8)
        state[left] = _mix_bits(state[left] * _PRIME + word + _ODD)
        at += WORD_BYTES
        left = left[sizes[left] > at]
    state[:] = _mix_bits(state * _PRIME + sizes.astype(np.uint64))


def _mix_bits(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in _MIX:
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(_LAST))


def cells_by_pair(
    cells: pl.DataFrame, pairs: pl.Series, names: Sequence[str]
) -> dict[int, dict[str, Cell]]:
    """The differing cells of these pairs, by column and in column order."""
    rows: dict[int, dict[str, Cell]] = {}
    if pairs.is_empty():
        return rows
    ordered = (
        cells.lazy()
        .filter(pl.col("pair").is_in(pl.lit(pairs).implode()))
        .select("pair", "column", "old", "new", "kind")
        .sort("pair", "column")
        .collect(engine="in-memory")
    )
    for pair, column, *cell in ordered.iter_rows():
        rows.setdefault(pair, {})[names[column]] = Cell(*cell)
    return rows
