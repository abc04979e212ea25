"""Whole records, some megabytes at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.scanner import whole


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


NEAR: Final = 1 << 14


def blocks(
    read: Callable[[int, int], bytes], start: int, size: int, longest: int
) -> Iterator[bytes]:
    """Whole records, about `size` bytes at a time; the last block as it is.

    `read(size, offset)` is `pread`. What has no end of a record within `longest` bytes
    is a block too.
    """
    wanted = size
    while data := read(wanted, start):
        cut = whole(data)
        if not cut and (len(data) > longest or not read(1, start + len(data))):
            cut = len(data)
        wanted = size if cut else 2 * wanted
        if cut:
            yield data[:cut]
        start += cut


def read_lines(descriptor: int, size: int, offset: int) -> bytes:
    """`pread`, not beyond the last newline if one is near: nothing is left to cut."""
    near = os.pread(descriptor, NEAR, offset + size - NEAR) if size > NEAR else b""
    over = len(near) - near.rfind(b"\n") - 1 if b"\n" in near else 0
    return os.pread(
        descriptor, size - NEAR + len(near) - over if near else size, offset
    )


def slices(data: bytes) -> Callable[[int, int], bytes]:
    """`pread` of bytes in memory."""
    return lambda size, offset: data[offset : offset + size]
