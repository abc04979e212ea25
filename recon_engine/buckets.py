"""Digests by bucket of keys: in memory if they fit, else spilled to local disk.

All rows of a key are in one bucket, on both sides, so buckets are reconciled one by one
and their results merged by addition.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import polars as pl


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


RECORD: Final = np.dtype(
    [
        ("row", "<u8"),
        ("check", "<u8"),
        ("key", "<u8"),
        ("number", "<u4"),
        ("blank", "?"),
    ]
)


DIGESTS: Final = {
    "row": pl.UInt64,
    "check": pl.UInt64,
    "key": pl.UInt64,
    "blank": pl.Boolean,
}


class Buckets(Protocol):
    """The digests of one side."""

    def add(self, frame: pl.DataFrame) -> None:
        """Take the digests of the rows that follow: `DIGESTS`."""
        ...

    def bucket(self, at: int) -> pl.DataFrame:
        """The `DIGESTS` and the row `number` of a bucket, in file order; once."""
        ...


class InMemory:
    """One bucket, held."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Hold it."""
        self._frames.append(frame)

    def bucket(self, at: int) -> pl.DataFrame:  # noqa: ARG002 - there is only one
        """All of it, held here no longer."""
        frame = pl.concat([pl.DataFrame(schema=DIGESTS), *self._frames], rechunk=True)
        self._frames.clear()
        return frame.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


class OnDisk:
    """Several buckets, each a file of fixed-size records."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self._paths = [folder / f"{name}-{at}" for at in range(count)]
        self._files = [path.open("wb") for path in self._paths]
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append each row to the file of its key's bucket."""
        records = np.empty(frame.height, RECORD)
        for name in DIGESTS:
            records[name] = frame[name].to_numpy()
        records["number"] = np.arange(self._rows, self._rows + frame.height)
        self._rows += frame.height
        place = self._place(records["key"])
        for at, file in enumerate(self._files):
            records[place == at].tofile(file)

    def bucket(self, at: int) -> pl.DataFrame:
        """Read one back."""
        self._files[at].close()
        records = np.fromfile(self._paths[at], RECORD)
        return pl.DataFrame(
            {name: np.ascontiguousarray(records[name]) for name in RECORD.names or ()}
        )

    def close(self) -> None:
        """Close what was never read."""
        for file in self._files:
            file.close()

    def _place(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # The high bits: the low ones choose the place within a join's hash table.
        return (keys >> np.uint64(32)) % np.uint64(len(self._files))


@contextmanager
def opened(names: Iterable[str], count: int) -> Iterator[list[Buckets]]:
    """Room for the digests of some sides in `count` buckets, as long as it lasts."""
    if count == 1:
        yield [InMemory() for _ in names]
        return
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        sides = [OnDisk(Path(folder), name, count) for name in names]
        try:
            yield list(sides)
        finally:
            for side in sides:
                side.close()
