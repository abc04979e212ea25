"""Read a CSV file as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.config import OnBadRow
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.header import read_header
from recon_engine.runtime.progress import ignore_advance


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recon_engine.config import Limits
    from recon_engine.inputs.csvfile import CsvFile


def open_csv(
    path: Path,
    *,
    delimiter: str = ",",
    limits: Limits | None = None,
    on_bad_row: OnBadRow = OnBadRow.FAIL,
    advance: Callable[[int], None] = ignore_advance,
) -> CsvFile:
    """Its header and its rows, validated."""
    header = read_header(
        path, delimiter=delimiter, limits=limits, on_bad_row=on_bad_row
    )
    return read_rows(header, advance=advance)
