"""Find a key that is in parts on one side only, by the first rows of both files."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.formatting import format_share
from recon_engine.inputs.first_rows import read_first_cells
from recon_engine.model import SIDES
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.inputs.first_rows import Reads
    from recon_engine.inputs.frames import Frame
    from recon_engine.inputs.header import Header


SEPARATORS: Final = ("-", "_", "/", "|", ":", ".", " ", "#", "")
# More parts, or more columns to choose them from, take too many trials.
MOST_PARTS: Final = 3
MOST_COLUMNS: Final = 8
# Fewer rows may fit by chance. The others may be missing or extra.
LEAST_ROWS: Final = 3
LEAST_SHARE: Final = 0.5


def propose_derivation(
    old: Header | Frame,
    new: Header | Frame,
    at: int,
    missing: Sequence[str],
    *,
    reads: Reads | None = None,
) -> str | None:
    """The derivation of key columns that one side lacks, and in how many rows it fits.

    Args:
        old: OLD with its header read.
        new: NEW with its header read.
        at: The side that lacks the columns: 0 for OLD, 1 for NEW.
        missing: The key columns that it lacks.
        reads: `pread` of both files, if they are not local.

    Returns:
        The remedy; None if no column has the parts of the key, and no columns are its
        parts.
    """
    sides = old, new
    lacking, having = sides[at], sides[1 - at]
    if not 1 <= len(missing) <= MOST_PARTS or not set(missing) <= set(having.columns):
        return None
    read = reads or (None, None)
    rows = read_first_cells(lacking, read[at])
    others = read_first_cells(having, read[1 - at])
    if rows is None or others is None:
        return None
    wanted = others.select(
        f"c{having.columns.index(name)}" for name in missing
    ).unique()
    own = [
        (name, rows[f"c{place}"])
        for place, name in enumerate(lacking.columns)
        if name not in having.columns
    ][:MOST_COLUMNS]
    tried = _splits(own, missing) if len(missing) > 1 else _joins(own, missing[0])
    best, count = None, max(LEAST_ROWS, LEAST_SHARE * rows.height)
    for text, keys in tried:
        keys.columns = wanted.columns
        found = keys.join(wanted, on=wanted.columns, how="semi").height
        if found >= count and found:
            best, count = text, found + 1
    if best is None:
        return None
    side = SIDES[at]
    flag = f"--{side}-derive {command_line.quoted(best)}"
    share = format_share(int(count) - 1, rows.height, "row")
    return (
        f"use {flag}: it gives {join_names(missing)} of {SIDES[1 - at].upper()} in"
        f" {share} of {side.upper()} that were read"
    )


def _splits(
    own: Sequence[tuple[str, pl.Series]], missing: Sequence[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each column that splits into as many parts, in each order of the parts."""
    for (name, texts), mark in itertools.product(own, SEPARATORS):
        if not mark:
            continue
        parts = texts.alias("").str.split_exact(mark, len(missing)).struct.unnest()
        last = parts.columns[-1]
        fits = parts.filter(
            pl.col(parts.columns[-2]).is_not_null() & pl.col(last).is_null()
        ).drop(last)
        for order in itertools.permutations(range(len(missing))):
            names = [missing[place] for place in order]
            columns = [fits.columns[order.index(at)] for at in range(len(missing))]
            shown = ",".join(_name(each) for each in names)
            yield (
                f'{shown}=split({_name(name)},"{mark}")',
                fits.select(
                    pl.col(each).alias(f"p{at}") for at, each in enumerate(columns)
                ),
            )


def _joins(
    own: Sequence[tuple[str, pl.Series]], missing: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Two or three columns in each order, with each separator between them."""
    for count in range(2, MOST_PARTS + 1):
        for columns, mark in itertools.product(
            itertools.permutations(own, count), SEPARATORS
        ):
            parts = pl.DataFrame(
                [texts.alias(f"p{at}") for at, (_, texts) in enumerate(columns)]
            )
            joined = parts.select(pl.concat_str(pl.all(), separator=mark).alias("p"))
            sources = ",".join(_name(name) for name, _ in columns)
            yield f'{_name(missing)}=join({sources},"{mark}")', joined


def _name(name: str) -> str:
    return command_line.quote_name(name, ",=()")
