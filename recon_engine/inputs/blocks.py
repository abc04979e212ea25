"""Split a file into blocks of whole records, some megabytes each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.scanner import whole_records_size


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Longer than almost every record; if no newline is found, the block is cut later.
LOOK_BEHIND_BYTES: Final = 1 << 14


def read_blocks(
    read: Callable[[int, int], bytes], start: int, size: int, longest: int
) -> Iterator[bytes]:
    """Yield blocks of whole records, about `size` bytes each; the last one as it is.

    `read(size, offset)` is `pread`. If no record ends within `longest` bytes, the bytes
    are yielded as a block too, and the caller reports the fault in it.
    """
    wanted = size
    while data := read(wanted, start):
        cut = whole_records_size(data)
        # No record ends here: more than a record may have, or the end of the file.
        if not cut and (len(data) > longest or not read(1, start + len(data))):
            cut = len(data)
        # Otherwise the same bytes are read again, and as many more.
        wanted = size if cut else 2 * wanted
        if cut:
            yield data[:cut]
        start += cut


def read_lines(descriptor: int, size: int, offset: int) -> bytes:
    """`pread` up to the last newline in the last 16 KiB: nothing has to be cut off."""
    # A short read of the end first: to cut a whole block in memory would copy it.
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
    """A reader of bytes in memory for `read_blocks`: `read(size, offset)`."""
    return lambda size, offset: data[offset : offset + size]
