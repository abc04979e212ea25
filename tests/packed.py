"""Compressed streams, as other tools write them."""

from __future__ import annotations

import gzip
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


def zstd_of(data: bytes) -> bytes:
    return zstd.compress(data, options=CHECKED)


PACK: Final[dict[str, Callable[[bytes], bytes]]] = {
    ".csv.gz": gzip_of,
    ".csv.zst": zstd_of,
}
