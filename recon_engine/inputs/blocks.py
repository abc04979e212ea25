"""Whole records, some megabytes at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.scanner import whole_records_size


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LOOK_BEHIND_BYTES: Final = 1 << 14


def read_blocks(
    read: Callable[[int, int], bytes], start: int, size: int, longest: int
) -> Iterator[bytes]:
    """Whole records, about `size` bytes at a time; the last block as it is.

    `read(size, offset)` is `pread`. What has no end of a record within `longest` bytes
    is a block too.
    """
    wanted = size
    while data := read(wanted, start):
        cut = whole_records_size(data)
        if not cut and (len(data) > longest or not read(1, start + len(data))):
            cut = len(data)
        wanted = size if cut else 2 * wanted
        if cut:
            yield data[:cut]
        start += cut


def read_lines(descriptor: int, size: int, offset: int) -> bytes:
    """`pread`, not beyond the last newline if one is near: nothing is left to cut."""
    near = (
        os.pread(descriptor, LOOK_BEHIND_BYTES, offset + size - LOOK_BEHIND_BYTES)
        if size > LOOK_BEHIND_BYTES
        else b""
    )
    over = len(near) - near.rfind(b"\n") - 1 if b"\n" in near else 0
    return os.pread(
        descriptor,
        size - LOOK_BEHIND_BYTES + len(near) - over if near else size,
        offset,
    )


def make_bytes_reader(data: bytes) -> Callable[[int, int], bytes]:
    """`pread` of bytes in memory."""
    return lambda size, offset: data[offset : offset + size]
