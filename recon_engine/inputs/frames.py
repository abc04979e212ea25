"""Frames as tables: anything Polars can read, each cell as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.characters import escaped
from recon_engine.errors import ConfigError
from recon_engine.inputs.csvfile import FrameSlice, RowGroup
from recon_engine.model import Rejects
from recon_engine.records import dataclass


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Rows of a row group: fewer cost more calls, more of them cost memory at once.
PART_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame in memory with a name. A null is a blank, as CSV has no null."""

    uri: str
    data: pl.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.data.columns)

    @property
    def rows(self) -> int:
        return self.data.height

    @property
    def head(self) -> bytes:
        """Empty: a frame has no bytes of a file."""
        return b""

    @property
    def expected_rows(self) -> int:
        """The exact number of rows; for a file, this property is an estimate."""
        return self.rows

    @property
    def bytes(self) -> int:
        """The estimated size in memory, in bytes."""
        return int(self.data.estimated_size())

    @property
    def row_bytes(self) -> float:
        """The average size of a row in memory, in bytes."""
        return self.bytes / max(self.rows, 1)

    @property
    def rejects(self) -> Rejects:
        """Empty: no row of a frame is malformed."""
        return Rejects()

    @property
    def dialect(self) -> None:
        """None: a frame has no CSV dialect."""

    @property
    def sha256(self) -> None:
        """None: a frame has no file whose bytes could be hashed."""

    @property
    def parts(self) -> tuple[RowGroup, ...]:
        """Consecutive row groups of at most `PART_ROWS` rows."""
        return tuple(
            RowGroup(first, 0, first, min(PART_ROWS, self.rows - first))
            for first in range(0, self.rows, PART_ROWS)
        )

    def read(self, part: RowGroup) -> FrameSlice:
        """The rows of a row group, without a copy."""
        return FrameSlice(self.data.slice(part.first, part.rows))

    def take(self, numbers: NDArray[np.int64]) -> FrameSlice:
        """A copy of the rows of `numbers`, which count from 0."""
        return FrameSlice(self.data[numbers])


def import_frame(source: object, uri: str) -> Frame:
    """Convert a polars frame or an object with `__arrow_c_stream__` to text.

    Raises ConfigError for columns that have no text form. The text of a Polars error is
    dropped, because it may quote cells.
    """
    refusal: ConfigError | None = None
    try:
        return Frame(uri, cells_as_text(_to_polars(source), uri))
    except ConfigError:
        raise
    # Whatever Polars says may quote cells; for some types it panics.
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
        refusal = (
            _refuse_repeated(source, uri)
            or _refuse_mixed(source, uri)
            or ConfigError(
                f"the frame cannot be read as text: {type(error).__name__}",
                file=uri,
                help="cast its columns to strings and collect it first",
            )
        )
    raise refusal


def _refuse_repeated(source: Any, uri: str) -> ConfigError | None:
    """The error about a name that two columns have; None if there is none."""
    # The columns of an Arrow table are arrays; those of a pandas frame are names.
    names = list(
        map(str, getattr(source, "column_names", getattr(source, "columns", ())))
    )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is None:
        return None
    at = [str(at) for at, name in enumerate(names, 1) if name == repeated]
    return ConfigError(
        f"the frame repeats the column name {escaped(repeated)}:"
        f" columns {', '.join(at)}",
        file=uri,
        why="columns are compared by name",
        help="give every column a unique name",
    )


def _refuse_mixed(source: Any, uri: str) -> ConfigError | None:
    """The error about the columns of a pandas frame that no type fits; None if none."""
    columns = getattr(source, "columns", ())
    mixed = [
        name
        for at, name in enumerate(columns)
        if hasattr(source, "iloc") and not _is_readable(source.iloc[:, [at]])
    ]
    if not mixed:
        return None
    first = mixed[0]
    return ConfigError(
        f"column {escaped(str(first))} has values of several types"
        + f", and so have {len(mixed) - 1:,} more" * (len(mixed) > 1),
        file=uri,
        help=f'make it text: frame[{first!r}] = frame[{first!r}].astype("string");'
        " or read all columns as text, with read_csv(…, dtype=str)",
    )


def _is_readable(source: object) -> bool:
    try:
        _to_polars(source)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def cells_as_text(data: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Each cell as text, a null as a blank; raises ConfigError for other types."""
    if any("\0" in name or not name.strip() for name in data.columns):
        raise ConfigError("a frame has a column without a name", file=uri)
    columns = []
    for column in data:
        if column.dtype.is_nested() or column.dtype in {pl.Object, pl.Binary}:
            raise ConfigError(
                f"column {column.name} has type {column.dtype}, which is not text",
                file=uri,
                help="convert it to text or to separate columns first",
            )
        if column.dtype == pl.String and not column.null_count():
            # Most columns of a sample: a query for each costs more than its cells.
            columns.append(column)
            continue
        # The name is removed first: Polars reads a name such as `^x$` as a pattern.
        text = _as_text(column.alias("")).fill_null("")
        columns.append(text.alias(column.name))
    table = pl.DataFrame(columns)
    # Files cannot contain NUL either: `rules.base.NORMAL_PREFIX` relies on it.
    for column in table.select(pl.all().str.contains("\0", literal=True).any()):
        if column.any():
            raise ConfigError(
                f"column {column.name} holds a NUL character",
                file=uri,
                help="remove it first",
            )
    return table


def _as_text(column: pl.Series) -> pl.Series:
    """A column as docs/python.md has it: a time has a fraction only if it is not 0."""
    match column.dtype:
        case pl.Datetime() as moment:
            zone = "%:z" if moment.time_zone else ""
            return column.dt.to_string("%Y-%m-%d %H:%M:%S%.f" + zone)
        case pl.Time():
            return column.dt.to_string("%H:%M:%S%.f")
        case pl.Duration():
            return column.dt.to_string("iso")
        case _:
            return column.cast(pl.String)


def _to_polars(source: object) -> pl.DataFrame:
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if not hasattr(source, "__arrow_c_stream__"):
        raise ConfigError(
            f"{type(source).__name__} is neither a path nor a frame",
            help="pass a path, a URL, a polars frame or an object with "
            "__arrow_c_stream__",
        )
    return pl.DataFrame(source)
