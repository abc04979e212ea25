"""Read the first rows of a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanner import (
    index_records,
    is_utf8_without_nul,
    whole_records_size,
)


if TYPE_CHECKING:
    import polars as pl

    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.header import Header

    Reads = tuple[ReadAt, ReadAt]


# 4 MiB of each file: renamed columns are searched in them.
HEAD_BYTES: Final = 1 << 22


def read_first_cells(table: Header | Frame, read: ReadAt | None) -> pl.DataFrame | None:
    """The first rows of a table as cells; None if they are irregular."""
    names = [f"c{at}" for at in range(len(table.columns))]
    if isinstance(table, Frame):
        # As many rows as the bytes of a file would have at 128 bytes a row.
        head = table.data.head(HEAD_BYTES >> 7)
        head.columns = names
        return head
    data = read(HEAD_BYTES, len(table.raw)) if read else _read_first_bytes(table)
    data = data[: table.end - len(table.raw)]
    if len(data) < HEAD_BYTES:
        # The file ends here: blank lines at its end are no rows, and the last row may
        # have no newline.
        data = data.rstrip(b"\r\n") + b"\n"
    data = data[: whole_records_size(data)]
    if not is_utf8_without_nul(data):
        return None
    found = index_records(data, ord(table.delimiter), table.width, table.limits)
    if found is None:
        return None
    return (
        Block.of(data, table.delimiter, found, trailing=table.trailing)
        .cells(names)
        .collect(engine="in-memory")
    )


def _read_first_bytes(header: Header) -> bytes:
    with open_unchanged(header.path, header.uri, header.state) as descriptor:
        return os.pread(descriptor, HEAD_BYTES, len(header.raw))
