"""How much memory a reconciliation may use, will use, and has used."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recon_engine.errors import ConfigError, OutOfBudget
from recon_engine.parallel import WORKERS


SHARE: Final = 0.6
MOST_BYTES: Final = 1 << 60
MOST_BUCKETS: Final = 1024
LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
PROCESS: Final = Path("/proc/self/status")
PEAK: Final = re.compile(r"^VmHWM:\s*([0-9]+) kB$", re.MULTILINE)
UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
SIZE: Final = re.compile(
    r"([0-9]+(?:[.][0-9]+)?) *([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII
)

# Measured with `benchmarks/bench.py memory`: the interpreter and its libraries with the
# blocks and groups under way; what a row of either side costs while digests are joined;
# and what a byte of a row that differs costs: its text and, several times, its cells.
# Digests get a share of the room, since how much will differ is not known yet.
BASE_BYTES: Final = (250 + 40 * WORKERS) << 20
ROW_BYTES: Final = 76
DIGESTS_SHARE: Final = 0.75
TEXT_FACTOR: Final = 1.5
RESULT_FACTOR: Final = 2.5


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes of resident memory a run may take."""

    total: int

    @property
    def room(self) -> int:
        """What is left for rows."""
        return self.total - BASE_BYTES

    def buckets(self, rows: int) -> int:
        """In how many buckets `rows` of digests, of both sides together, fit."""
        if self.room <= 0:
            raise self._refusal(BASE_BYTES + (32 << 20))
        count = math.ceil(rows * ROW_BYTES / (self.room * DIGESTS_SHARE)) or 1
        if count > MOST_BUCKETS:
            raise self._refusal(BASE_BYTES + rows * ROW_BYTES // MOST_BUCKETS)
        return count

    def batches(self, differing: int) -> int:
        """In how many batches rows of so many bytes in their files are compared."""
        needed = differing * (TEXT_FACTOR + RESULT_FACTOR)
        return math.ceil(needed / self.room) or 1

    def check_result(self, differing: int) -> None:
        """Refuse differences that do not fit even one bucket after the other."""
        needed = int(differing * RESULT_FACTOR)
        if needed > self.room:
            raise self._refusal(BASE_BYTES + needed)

    def _refusal(self, needed: int) -> OutOfBudget:
        return OutOfBudget(
            f"the memory budget is {_gib(self.total)}, and {_gib(needed)} are needed",
            why="even bucket by bucket this pair does not fit",
            help=f"--memory-budget {_gib(needed)}, or more memory for the task",
        )


def default_budget() -> Budget:
    """60% of what the container or else the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Budget(int(SHARE * min([machine, *_container_limits()])))


def parse_budget(text: str) -> Budget:
    """A size such as `2GiB`, `1500M` or plain bytes; K, M, G, T are powers of 1024."""
    return Budget(parse_size(text, "the memory budget"))


def parse_size(text: str, name: str) -> int:
    """Bytes, from 1 to 2**60, as `2GiB`, `1500M` or `4096`; `name` is for the error."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"{name} is no size", help="such as 2GiB, 1500M, or a number of bytes"
        )
    size = float(found[1]) * 1024 ** UNITS[found[2].lower()]
    if not 1 <= size <= MOST_BYTES:
        raise ConfigError(
            f"{name} is too {'small' if size < 1 else 'large'} a size",
            help="from 1 byte to 1048576TiB",
        )
    return int(size)


def peak_rss_bytes() -> int:
    """The most resident memory this process has held."""
    # Where there is none, rusage serves; on Linux that begins with its parent's.
    if PROCESS.is_file():
        return int(PEAK.findall(PROCESS.read_text())[0]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _container_limits() -> list[int]:
    texts = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}GiB"
