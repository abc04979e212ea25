"""The memory budget: how much a reconciliation may use, will use, and has used."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from pathlib import Path
from typing import Final

from recon_engine.errors import ConfigError, OutOfBudget
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.runtime.concurrency import WORKERS


# The other 40% is for the page cache and other processes: less risks the OOM killer.
DEFAULT_SHARE: Final = 0.6
MOST_BYTES: Final = 1 << 60
# Each bucket is an open file on either side: this bounds the descriptors.
MAX_BUCKETS: Final = 1024
CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
PROCESS_STATUS: Final = Path("/proc/self/status")
PEAK_PATTERN: Final = lazy_pattern(r"^VmHWM:\s*([0-9]+) kB$", re.MULTILINE)
UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
# Of the sizes in errors, with the bits of each.
SHOWN_UNITS: Final = {"GiB": 30, "MiB": 20, "KiB": 10, "B": 0}
SIZE_PATTERN: Final = lazy_pattern(
    r"([0-9]+(?:[.][0-9]+)?) *([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII
)

# Measured with `benchmarks/bench.py memory`: the interpreter and its libraries with the
# blocks and groups under way; what a row of either side costs while digests are joined;
# and what a byte of a row that differs costs: its text and, several times, its cells.
# Digests get a share of the room, since how much will differ is not known yet.
BASE_BYTES: Final = (250 + 40 * WORKERS) << 20
ROW_BYTES: Final = 76
DIGESTS_SHARE: Final = 0.75
# The digests have 3 quarters of the room, so this is what is left.
HELD_SHARE: Final = 0.25
TEXT_FACTOR: Final = 1.5
RESULT_FACTOR: Final = 2.5
# Measured likewise: the least cost of a differing row, however short; the cost per row
# and cell of the rows of one key, which are paired at once; and, for keys that repeat,
# the digests and row numbers of a side that are held while its rows are parsed.
RESULT_ROW_BYTES: Final = 128
DIGEST_BYTES: Final = 28
KEY_ROW_BYTES: Final = 200
KEY_CELL_BYTES: Final = 48
KEY_TEXT_FACTOR: Final = 2
REPEATED_ROW_BYTES: Final = 16
NUMBER_BYTES: Final = 4
HASH_BYTES: Final = 8
BUCKET_BY_BUCKET: Final = "the pair does not fit even when compared bucket by bucket"
HASHES_SHARE: Final = 0.25
# The native kernel holds a row of a repeated key in its partition (32 bytes), in a list
# that grows by halves (48), and in a copy that is sorted (40).
KERNEL_ROW_BYTES: Final = 120


@dataclass(frozen=True, slots=True)
class Differing:
    """The rows that digests leave to compare, on both sides.

    `rows`: their number; `text`: their bytes in the files; `of_key`: an upper bound of
    the rows that share one key, 0 if that is few; `columns`: cells of a row.
    """

    rows: int
    text: int
    of_key: int
    columns: int

    @property
    def result_bytes(self) -> int:
        """Bytes that the differences take once they are found."""
        return int(max(self.text * RESULT_FACTOR, self.rows * RESULT_ROW_BYTES))

    @property
    def key_bytes(self) -> int:
        """Bytes that pairing the rows of the largest key takes."""
        row = KEY_ROW_BYTES + self.columns * KEY_CELL_BYTES
        text = self.text / max(self.rows, 1) * KEY_TEXT_FACTOR
        return int(self.of_key * (row + text))


@dataclass(frozen=True, slots=True)
class Budget:
    """The resident memory that a run may use, in bytes."""

    total: int

    @property
    def room(self) -> int:
        """Bytes left for rows."""
        return self.total - BASE_BYTES

    def buckets(self, rows: int) -> int:
        """The number of buckets that `rows` digests of both sides together need."""
        if self.room <= 0:
            raise self._refusal(BASE_BYTES + (32 << 20))
        count = math.ceil(rows * ROW_BYTES / (self.room * DIGESTS_SHARE)) or 1
        if count > MAX_BUCKETS:
            raise self._refusal(BASE_BYTES + rows * ROW_BYTES // MAX_BUCKETS)
        return count

    def holds(self, size: int) -> bool:
        """Whether the text of whole files, of so many bytes, fits beside their rows."""
        return size <= self.room * HELD_SHARE

    def batches(self, differing: int) -> int:
        """The number of batches in which `differing` bytes of rows are compared."""
        needed = differing * (TEXT_FACTOR + RESULT_FACTOR)
        return math.ceil(needed / self.room) or 1

    def check_result(self, differing: Differing) -> None:
        """Raise OutOfBudget for differences that do not fit even bucket by bucket."""
        needed, why = differing.result_bytes, BUCKET_BY_BUCKET
        if differing.of_key:
            needed += differing.rows * DIGEST_BYTES + differing.key_bytes
            why = f"{differing.of_key:,} of the differing rows share one key"
        if needed > self.room:
            raise self._refusal(BASE_BYTES + needed, why)

    def pieces(self, rows: int) -> int:
        """The number of pieces in which a bucket of `rows` rows is examined.

        It is more than one if a key occurs in many more rows than others.
        """
        needed = rows * REPEATED_ROW_BYTES
        if rows * ROW_BYTES <= self.room:
            return 1
        if needed > self.room:
            why = f"keys repeat too often: {rows:,} rows share few keys"
            raise self._refusal(BASE_BYTES + needed, why)
        free = self.room * DIGESTS_SHARE - rows * NUMBER_BYTES
        return math.ceil(rows * ROW_BYTES / free)

    def repeated_rows(self) -> int:
        """The rows of repeated keys that the native kernel may list."""
        return max(0, self.room) // KERNEL_ROW_BYTES

    def hashed_columns(self, rows: int) -> int:
        """The number of columns of which one hash per row fits at once."""
        return max(1, int(self.room * HASHES_SHARE / max(rows * HASH_BYTES, 1)))

    def _refusal(self, needed: int, why: str = BUCKET_BY_BUCKET) -> OutOfBudget:
        return OutOfBudget(
            f"the memory budget is {_format_size(self.total)},"
            f" but {_format_size(needed)} are needed",
            why=why,
            help=f"--memory-budget {_format_size(needed)}, or more memory for the task",
        )


def default_budget() -> Budget:
    """60% of the memory of the container, or else of the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Budget(int(DEFAULT_SHARE * min([machine, *_container_limits()])))


def parse_budget(text: str) -> Budget:
    """Parse a size such as `2GiB`, `1500M` or plain bytes.

    K, M, G, T are powers of 1024.
    """
    return Budget(parse_size(text, "the memory budget"))


def parse_size(text: str, name: str) -> int:
    """Parse a size from 1 to 2**60 bytes, such as `2GiB`, `1500M` or `4096`.

    `name` is what the error calls it.
    """
    found = SIZE_PATTERN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"{name} is not a valid size",
            help="such as 2GiB, 1500M, or a number of bytes",
        )
    size = float(found[1]) * 1024 ** UNITS[found[2].lower()]
    if not 1 <= size <= MOST_BYTES:
        raise ConfigError(
            f"{name} is too {'small' if size < 1 else 'large'}",
            help="from 1 byte to 1048576TiB",
        )
    return int(size)


def peak_rss_bytes() -> int:
    """The peak resident memory of this process, in bytes."""
    # /proc/self/status first: on Linux, rusage starts at the peak of the parent.
    if PROCESS_STATUS.is_file():
        # gVisor, which has the file, has no peak in it.
        found = PEAK_PATTERN.search(PROCESS_STATUS.read_text())
        if found:
            return int(found[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in CGROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def _format_size(size: int) -> str:
    # Rounded up: the size that the error names must be enough.
    unit, bits = next(
        (unit, bits) for unit, bits in SHOWN_UNITS.items() if size * 100 >= 2**bits
    )
    return f"{math.ceil(size / 2**bits * 100) / 100:.2f}{unit}"
