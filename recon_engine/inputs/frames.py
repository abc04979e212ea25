"""Frames as tables: anything Polars can take, each cell as its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.errors import ConfigError
from recon_engine.inputs.csvfile import FrameSlice, RowGroup
from recon_engine.model import Rejects


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


PART_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in memory under a name. A null is blank, as CSV has no null."""

    uri: str
    data: pl.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        """Its column names."""
        return tuple(self.data.columns)

    @property
    def rows(self) -> int:
        """Its height."""
        return self.data.height

    @property
    def head(self) -> bytes:
        """No bytes: it was not read from a file."""
        return b""

    @property
    def expected_rows(self) -> int:
        """Its height: nothing is left to be read."""
        return self.rows

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return int(self.data.estimated_size())

    @property
    def row_bytes(self) -> float:
        """How much of that a row takes, on average."""
        return self.bytes / max(self.rows, 1)

    @property
    def rejects(self) -> Rejects:
        """No row of a frame is malformed."""
        return Rejects()

    @property
    def dialect(self) -> None:
        """A frame is not written in any."""

    @property
    def sha256(self) -> None:
        """A frame has no bytes of its own to pin."""

    @property
    def parts(self) -> tuple[RowGroup, ...]:
        """Runs of rows."""
        return tuple(
            RowGroup(first, 0, first, min(PART_ROWS, self.rows - first))
            for first in range(0, self.rows, PART_ROWS)
        )

    def read(self, part: RowGroup) -> FrameSlice:
        """A run of rows."""
        return FrameSlice(self.data.slice(part.first, part.rows))

    def take(self, numbers: NDArray[np.int64]) -> FrameSlice:
        """Rows by their numbers."""
        return FrameSlice(self.data[numbers])


def import_frame(source: object, uri: str) -> Frame:
    """A polars frame, or anything with `__arrow_c_stream__`, as a table of text.

    Raises ConfigError for what is no table of cells; never with what Polars says.
    """
    refusal: ConfigError | None = None
    try:
        return Frame(uri, _cells_as_text(_to_polars(source), uri))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Polars says may quote cells
        refusal = ConfigError(
            f"the frame cannot be read as text: {type(error).__name__}",
            file=uri,
            help="cast its columns to strings, and collect it, before it is compared",
        )
    raise refusal


def _cells_as_text(data: pl.DataFrame, uri: str) -> pl.DataFrame:
    if any("\0" in name or not name.strip() for name in data.columns):
        raise ConfigError("a frame has a column without a name", file=uri)
    columns = []
    for column in data:
        if column.dtype.is_nested() or column.dtype in {pl.Object, pl.Binary}:
            raise ConfigError(
                f"column {column.name} holds {column.dtype}, not cells",
                file=uri,
                help="turn it into text or columns first",
            )
        # Under its own name Polars would take `^x$` for a pattern.
        text = column.alias("").cast(pl.String).fill_null("")
        columns.append(text.alias(column.name))
    table = pl.DataFrame(columns)
    # No file has one either: what a rule has read begins with it.
    for column in table.select(pl.all().str.contains("\0", literal=True).any()):
        if column.any():
            raise ConfigError(
                f"column {column.name} holds a NUL character",
                file=uri,
                help="take it out first",
            )
    return table


def _to_polars(source: object) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if not hasattr(source, "__arrow_c_stream__"):
        raise ConfigError(
            f"{type(source).__name__} is neither a path nor a frame",
            help="a path, a URL, a polars frame or anything with __arrow_c_stream__",
        )
    return pl.DataFrame(source)
