"""Frames as tables: anything Polars can take, each cell as its text."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recon_engine.errors import ConfigError


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
    def bytes(self) -> int:
        """Its size in memory."""
        return int(self.data.estimated_size())

    @property
    def sha256(self) -> None:
        """A frame has no bytes of its own to pin."""

    def scan(self) -> pl.LazyFrame:
        """The cells as strings; nulls are blank."""
        return self.data.lazy()


def frame(source: object, uri: str) -> Frame:
    """A polars frame, or anything with `__arrow_c_stream__`, as a table of text."""
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    data = source if isinstance(source, pl.DataFrame) else _imported(source)
    if any("\0" in name or not name.strip() for name in data.columns):
        raise ConfigError("a frame has a column without a name", file=uri)
    nested = [name for name, kind in data.schema.items() if kind.is_nested()]
    if nested:
        raise ConfigError(
            f"column {nested[0]} holds nested values, not cells",
            file=uri,
            help="turn it into text or columns first",
        )
    return Frame(uri, data.select(pl.all().cast(pl.String).fill_null("")))


def _imported(source: object) -> pl.DataFrame:
    if not hasattr(source, "__arrow_c_stream__"):
        raise ConfigError(
            f"{type(source).__name__} is neither a path nor a frame",
            help="a path, a URL, a polars frame or anything with __arrow_c_stream__",
        )
    return pl.DataFrame(source)
