"""Settings for Spark from the environment: RECON_SPARK_*."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from recon_engine.errors import ConfigError
from recon_engine.runtime.memory import parse_size


MASTER: Final = "RECON_SPARK_MASTER"
SESSION: Final = "RECON_SPARK_CONF"
SPAN: Final = "RECON_SPARK_SPAN_BYTES"
BUCKET: Final = "RECON_SPARK_BUCKET_BYTES"
MOST: Final = "RECON_SPARK_BUCKET_LIMIT"
OUT: Final = "RECON_SPARK_OUT"
SHA256: Final = "RECON_SPARK_SHA256"
# The kernel has as many partitions.
MOST_BITS: Final = 16
MAX_SPAN: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """How the work is cut, in bytes, and what besides is done.

    `span`: read by a task at once; `bucket`: of the inputs, by which buckets are
    counted; `most`: of digests or rows that one bucket may hold. `out`: where the whole
    difference goes, part by part, if it is asked for. `whole`: up to so many
    differences come to the driver whatever is shown of them.
    """

    # A task with these sizes took 0.26 GB outside of the heap (docs/spark.md); larger
    # inputs take larger ones, as each span sends a packet to each bucket.
    span: int = 128 << 20
    bucket: int = 256 << 20
    most: int = 1 << 30
    sha256: bool = True
    out: str | None = None
    whole: int = 0

    @classmethod
    def from_environment(cls) -> SparkSettings:
        """The settings of RECON_SPARK_*; ConfigError for a wrong one."""
        span = _read_size(SPAN, cls().span)
        if span > MAX_SPAN:
            raise ConfigError(
                f"{SPAN} is more than 4GiB",
                why="the place of a row in its span has 32 bits",
                help="set it to 4GiB or less",
            )
        out = os.environ.get(OUT)
        if out is not None and not out.strip():
            raise ConfigError(
                f"{OUT} is set to an empty value",
                help="set it to a folder or an s3:// URL, or unset it",
            )
        return cls(
            span,
            _read_size(BUCKET, cls().bucket),
            _read_size(MOST, cls().most),
            os.environ.get(SHA256, "on") != "off",
            out,
        )

    def bucket_bits(self, size: int) -> int:
        """How many bits of a key choose its bucket, for inputs of so many bytes."""
        return min(MOST_BITS, (max(1, -(-size // self.bucket)) - 1).bit_length())


def _read_size(name: str, default: int) -> int:
    text = os.environ.get(name)
    return default if text is None else parse_size(text, name)
