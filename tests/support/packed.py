"""Compressed streams, as other tools write them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from typing import TYPE_CHECKING, Final


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable


CHECKED: Final = {int(zstd.CompressionParameter.checksum_flag): 1}


def gzip_of(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstd_of(data: bytes, *, window_log: int | None = None) -> bytes:
    """One frame; with a window of its own if that is given, as `zstd --long` has."""
    if window_log is None:
        return zstd.compress(data, options=CHECKED)
    window = {int(zstd.CompressionParameter.window_log): window_log}
    packing = zstd.ZstdCompressor(options=CHECKED | window)
    return packing.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK) + packing.flush()


PACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    ".csv.gz": gzip_of,
    ".csv.zst": zstd_of,
    ".csv.bz2": bz2.compress,
    ".csv.xz": lzma.compress,
}
