"""The cost of the CSV reader on one core: `python gate.py HOW FILE [--make LIKE]`.

HOW is `structure` (where records and fields end, of blocks in memory), `sha256`
(reading and hashing only), `gate` (the whole reader: reading, SHA-256, UTF-8,
structure, counting; one worker), or `polars` (its parse of the same file, all text, one
thread: it validates less). Prints bytes, rows and CPU seconds of all threads together:
the median of five runs, after one to warm up.

`--make LIKE` writes FILE first, from an unquoted file. HOW is then how it is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Callable

RUNS: Final = 5
NTH: Final = 8


def structure(path: Path) -> Callable[[], int]:
    """The rows that `structure` finds in the blocks of the CSV reader."""
    from recon_engine.inputs.blocks import read_blocks
    from recon_engine.inputs.csv_reader import BLOCK_BYTES
    from recon_engine.inputs.header import read_header
    from recon_engine.inputs.scanner import index_records

    header = read_header(path)
    data = path.read_bytes()

    def read(size: int, offset: int) -> bytes:
        return data[offset : offset + size]

    found = list(
        read_blocks(read, len(header.raw), BLOCK_BYTES, header.limits.field_bytes)
    )
    width = len(header.columns)

    def rows(block: bytes) -> int:
        regular = index_records(block, ord(","), width, header.limits)
        assert regular is not None
        return regular.rows

    return lambda: sum(map(rows, found))


def sha256(path: Path) -> Callable[[], int]:
    """No rows: only what taking the digest of a file costs."""

    def digest() -> int:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")
        return 0

    return digest


def gate(path: Path) -> Callable[[], int]:
    """The rows that the whole CSV reader accepts."""
    from recon_engine.inputs.csv_reader import read_rows
    from recon_engine.inputs.header import read_header
    from recon_engine.runtime import concurrency

    concurrency.WORKERS = 1  # type: ignore[misc]
    return lambda: read_rows(read_header(path)).rows


def polars(path: Path) -> Callable[[], int]:
    """The rows of Polars."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl

    return lambda: pl.scan_csv(path, infer_schema=False).collect().height


WORK: Final = {"structure": structure, "sha256": sha256, "gate": gate, "polars": polars}


def unquoted(_at: int, line: bytes) -> bytes:
    """As it is."""
    return line


def quoted(_at: int, line: bytes) -> bytes:
    """Every field in quotes."""
    return b'"' + line.replace(b",", b'","') + b'"'


def embedded(at: int, line: bytes) -> bytes:
    """A quote, a delimiter and a newline in the last field of every eighth row."""
    return line + b'"a ""note"",\nof two lines"' if at and at % NTH == 0 else line


def accented(at: int, line: bytes) -> bytes:
    """Some letters of two bytes in every row."""
    return line + "Ærøskøbing".encode() if at else line


WRITTEN: Final = {
    "unquoted": unquoted,
    "every field quoted": quoted,
    "newlines in quotes": embedded,
    "not all ASCII": accented,
}


def make(how: str, path: Path, like: Path) -> None:
    """The same table, with a free last column, written in one of the ways."""
    write = WRITTEN[how]
    with like.open("rb") as source, path.open("wb") as target:
        for at, line in enumerate(source):
            last = b"," if at else b",NOTE"
            target.write(write(at, line.rstrip(b"\n") + last) + b"\n")


def main() -> None:
    """Make a file, or time one way on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("how", choices=[*WORK, *WRITTEN])
    parser.add_argument("file", type=Path)
    parser.add_argument("--make", type=Path, metavar="LIKE")
    given = parser.parse_args()
    if given.make:
        make(given.how, given.file, given.make)
        return
    work = WORK[given.how](given.file)
    rows, spent = work(), []
    for _ in range(RUNS):
        began = time.process_time()
        assert work() == rows
        spent.append(time.process_time() - began)
    seconds = statistics.median(spent)
    size = given.file.stat().st_size
    print(json.dumps({"bytes": size, "rows": rows, "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
