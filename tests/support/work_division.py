"""Which worker of pytest-xdist runs which tests.

`--dist loadgroup` would do it by marks, but xdist 3.8 writes the groups to an attribute
that pytest 9.2 no longer reads: every test would be a group of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from xdist.scheduler import LoadScopeScheduling


# What needs no server and no fixture of a module: any worker takes a few of these tests
# at a time, at the end, so that all workers end together.
DIVISIBLE: Final = (
    "tests/unit",
    "tests/corpus",
    # Apart from the others, two of its tests at a time.
    "tests/program/test_memory_peaks.py",
)
PORTION: Final = 4
# Of the other files each is run by one worker, and with it its servers. These are long,
# and so begin early.
FIRST: Final = (
    "tests/spark/test_spark.py",
    "tests/faults/test_protocol_model.py",
    "tests/faults/test_crashes.py",
    "tests/faults/test_faults.py",
    "tests/integration/test_pipeline.py",
    "tests/integration/test_localpg.py",
)


def place_of(nodeid: str) -> int:
    """The place of a test in the order in which files begin."""
    path = _path_of(nodeid)
    if path.startswith(DIVISIBLE):
        return len(FIRST) + 1
    return FIRST.index(path) if path in FIRST else len(FIRST)


class FilesAndPortions(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker a file, or a portion of one of those that are divisible."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counts: Counter[str] = Counter()
        self.scopes: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        """The name of what is run by one worker; called first in the tests' order."""
        if nodeid not in self.scopes:
            path = _path_of(nodeid)
            portion = self.counts[path] // PORTION if path.startswith(DIVISIBLE) else 0
            self.counts[path] += 1
            self.scopes[nodeid] = f"{path} {portion}"
        return self.scopes[nodeid]


def _path_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
