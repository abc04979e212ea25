"""Columns of text between Polars and the native kernel, by Arrow's C interface.

`take_columns` hands columns of the kernel over to Polars. `KernelTable` has the texts
of a frame, and answers in one pass what would take Polars a query for each column.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.errors import InternalError
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import (
    ArrowArray,
    ArrowSchema,
    Reading,
    SummedColumn,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Counts = dict[str, Counter[str] | None]

# Of the counts that `read_counts` takes over.
COUNTS: Final = ("column", "rows", "text")

_make_capsule = ctypes.pythonapi.PyCapsule_New
_make_capsule.restype = ctypes.py_object
_make_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_open_capsule = ctypes.pythonapi.PyCapsule_GetPointer
_open_capsule.restype = ctypes.c_void_p
_open_capsule.argtypes = (ctypes.py_object, ctypes.c_char_p)


class ArrowExport:
    """An array of the kernel, which any library can import by Arrow, once.

    Arrow's C data interface costs nothing; pyarrow takes a third as long to import as
    Polars. `export` fills the array and its schema; MemoryError if it returns 0.
    """

    def __init__(
        self, kernel: ctypes.CDLL, export: Callable[[object, object], int]
    ) -> None:
        self._kernel = kernel
        self._array, self._schema = ArrowArray(), ArrowSchema()
        if not export(ctypes.byref(self._array), ctypes.byref(self._schema)):
            raise MemoryError

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        """Capsules of the schema and of the array; the consumer takes the memory."""
        del requested_schema
        return (
            # A capsule keeps the address of its name: a literal lives as long as this
            # code.
            _make_capsule(ctypes.addressof(self._schema), b"arrow_schema", None),
            _make_capsule(ctypes.addressof(self._array), b"arrow_array", None),
        )

    def __del__(self) -> None:
        """Free the memory if no consumer has taken it."""
        self._kernel.array_free(ctypes.byref(self._array))
        self._kernel.schema_free(ctypes.byref(self._schema))


def take_columns(
    kernel: ctypes.CDLL, columns: int | None, names: Sequence[str]
) -> tuple[pl.DataFrame, int]:
    """Columns of the kernel under these names, and the cells of keys that differ.

    `columns`: what a function of the kernel returned; it is freed.
    """
    if not columns:
        raise InternalError("the native kernel could not split rows it had read")
    texts = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
    try:
        exported = ArrowExport(
            kernel, lambda *to: kernel.columns_export(columns, texts, *to)
        )
        taken = pl.Series(exported).struct.unnest()
        return taken, kernel.columns_collisions(columns)
    finally:
        kernel.columns_free(columns)


def read_counts(
    kernel: ctypes.CDLL,
    columns: int | None,
    names: Sequence[str],
    full: Iterable[int],
) -> Counts:
    """The rows by value of each column; None for those that are `full`."""
    counted, _ = take_columns(kernel, columns, COUNTS)
    every: list[Counter[str]] = [Counter() for _ in names]
    for column, rows, text in counted.iter_rows():
        every[column][text] = rows
    return {
        name: None if is_full else counts
        for name, counts, is_full in zip(names, every, full, strict=False)
    }


class KernelTable:
    """The texts of a frame, read in place."""

    def __init__(
        self, kernel: ctypes.CDLL, pointer: int, columns: Sequence[str]
    ) -> None:
        self._kernel = kernel
        self._pointer = pointer
        self._columns = columns

    def hash_rows(self) -> pl.Series:
        """The hash of each row, as `sampling.stable_hash` defines it."""
        export = self._kernel.table_hashes
        return pl.Series(
            ArrowExport(self._kernel, lambda *to: export(self._pointer, *to))
        )

    def count_values(self, most: int) -> Counts:
        """The rows by value; None for a column with more than `most` values."""
        full = (ctypes.c_ubyte * max(1, len(self._columns)))()
        counted = self._kernel.table_counts(self._pointer, most, full)
        return read_counts(self._kernel, counted, self._columns, full)

    def sum_columns(self) -> Mapping[str, SummedColumn]:
        """How the texts of each column are written, and their sum."""
        sums = (SummedColumn * max(1, len(self._columns)))()
        self._kernel.table_sums(self._pointer, sums)
        return dict(zip(self._columns, sums, strict=False))

    def read_forms(self, reading: Reading) -> tuple[pl.Series, int, int]:
        """The normal forms of the first column, and the read and the unread texts.

        Blanks are neither. Raises MemoryError, also for more bytes than views can point
        to.
        """
        counts = (ctypes.c_uint64 * 2)()
        how = self._pointer, ctypes.byref(reading)
        forms = ArrowExport(
            self._kernel, lambda *to: self._kernel.table_forms(*how, *to, counts)
        )
        return pl.Series(forms), counts[0], counts[1]


@contextmanager
def open_table(frame: pl.DataFrame) -> Iterator[KernelTable | None]:
    """Yield the texts of a frame; None without the kernel, or with nulls."""
    kernel = binding.load_library()
    if kernel is None or not frame.width:
        yield None
        return
    # `table_new` takes all batches over, so the stream itself is not needed later.
    stream = frame.__arrow_c_stream__()
    pointer = kernel.table_new(_open_capsule(stream, b"arrow_array_stream"))
    try:
        yield KernelTable(kernel, pointer, frame.columns) if pointer else None
    finally:
        kernel.table_free(pointer)
