"""Tables as narrow frames: one digest of each row, one of its key.

Rows are called identical on their digests alone, so a silent false "equal" would take
a collision of 64 bits between the two versions of one changed row: the key digest has
to agree as well, and is taken with another seed. For a billion changed rows that is
one chance in 18 billion, on a hash whose seed is new in every run.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

import polars as pl


if TYPE_CHECKING:
    from collections.abc import Sequence


class Table(Protocol):
    """Rows of text under named columns: a gated file, or a frame."""

    @property
    def uri(self) -> str:
        """What people know it by."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Its column names, in its order."""
        ...

    @property
    def rows(self) -> int:
        """How many rows it has."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def sha256(self) -> str | None:
        """What pins its bytes, if it is a file."""
        ...

    def scan(self) -> pl.LazyFrame:
        """The cells as strings; a blank is the empty string."""
        ...


def seed() -> int:
    """A new seed for one run."""
    return secrets.randbits(63)


def digests(
    table: pl.LazyFrame, keys: Sequence[str], columns: Sequence[str], seed: int
) -> pl.DataFrame:
    """`row` and `key` of each row of `table`, both u64, in file order.

    `columns` are the compared ones; their order in the file has no part in `row`.
    """
    everything = [*keys, *sorted(columns)]
    return table.select(
        row=pl.struct(everything).hash(seed), key=pl.struct(keys).hash(seed + 1)
    ).collect(engine="streaming")
