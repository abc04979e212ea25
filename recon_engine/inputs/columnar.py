"""Parquet and Arrow IPC files as CSV: each value becomes the text that a frame has.

Batches of rows are converted and written one after the other, so memory is bounded
whatever the size of the file.
"""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from recon_engine.characters import escaped
from recon_engine.errors import ConfigError, MalformedInput, ReconError
from recon_engine.records import dataclass
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from recon_engine.model import Compression

BATCH_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Columnar:
    """An open file: its columns, and its batches of rows."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def write_as_csv(
    path: Path,
    kind: Compression,
    *,
    uri: str,
    to: Path,
    advance: Callable[[int], None],
) -> int:
    """Write the table of a Parquet or Arrow IPC file as CSV; returns its nulls.

    Raises ConfigError for a column that has no text, MalformedInput for a damaged file
    and for two columns of one name.
    """
    refusal: MalformedInput | None = None
    nulls = 0
    try:
        with path.open("rb") as stream, to.open("xb") as target:
            # The size is reported at the end: columns are read in any order.
            nulls = _write(_open(stream, kind), uri, target)
    except (ReconError, MemoryError):
        raise
    except Exception as error:  # the text of the error may quote values
        # The system has a number for what it refuses, such as a full disk. Arrow's own
        # errors about a damaged file are of the same class, without one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refusal = MalformedInput(
            f"the {kind} file cannot be read: {type(error).__name__}",
            file=uri,
            why="it is damaged, cut, or of a newer version of the format",
            help="deliver the complete file again",
        )
    if refusal is not None:
        raise refusal
    advance(path.stat().st_size)
    return nulls


def _open(stream: BinaryIO, kind: Compression) -> _Columnar:
    import pyarrow as pa

    if kind == "parquet":
        import pyarrow.parquet as pq

        file = pq.ParquetFile(stream)
        return _Columnar(file.schema_arrow, file.iter_batches(BATCH_ROWS))
    # A file has its schema at the end too, a stream at the beginning only.
    try:
        found = pa.ipc.open_file(stream)
    except pa.ArrowInvalid:
        stream.seek(0)
        reader = pa.ipc.open_stream(stream)
        return _Columnar(reader.schema, iter(reader))
    batches = (found.get_batch(at) for at in range(found.num_record_batches))
    return _Columnar(found.schema, batches)


def _write(file: _Columnar, uri: str, target: IO[bytes]) -> int:
    import polars as pl

    from recon_engine.inputs.frames import cells_as_text

    _check_columns(file.schema, uri)
    nulls, empty = 0, file.schema.empty_table()
    # One batch is in memory at a time.
    for number, batch in enumerate(itertools.chain([empty], file.batches)):
        frame = pl.DataFrame(batch)
        nulls += sum(frame.null_count().row(0)) if frame.height else 0
        text = io.BytesIO()
        cells_as_text(frame, uri).write_csv(
            text, include_header=not number, quote_style="always"
        )
        # Written here: an error of Polars has no number that tells a full disk.
        target.write(text.getbuffer())
    return nulls


def _check_columns(schema: pa.Schema, uri: str) -> None:
    """Refuse columns that are no table, or that Polars has no type for."""
    import pyarrow as pa

    if not schema.names:
        raise MalformedInput("the file has no column", file=uri)
    by_name: dict[str, list[str]] = defaultdict(list)
    for at, name in enumerate(schema.names, 1):
        by_name[name].append(str(at))
    for numbers in by_name.values():
        if len(numbers) > 1:
            raise MalformedInput(
                f"the file repeats a name: columns {join_names(numbers)}",
                file=uri,
                why="columns are found by their names",
                help="write the file again with a name of its own for each column",
            )
    if _is_readable(schema):
        return
    for field in schema:
        if not _is_readable(pa.schema([field])):
            raise ConfigError(
                f"column {escaped(field.name)} has type {field.type}, which is not"
                " text",
                file=uri,
                help="convert it to text or to separate columns first",
            )


def _is_readable(schema: pa.Schema) -> bool:
    """Whether Polars has the types of columns; for some, it panics."""
    import polars as pl
    import pyarrow as pa

    # Polars takes such a column as long as it has no row.
    if any(map(pa.types.is_decimal256, schema.types)):
        return False
    try:
        pl.DataFrame(schema.empty_table())
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001 - any refusal
        return False
    return True
