"""What a process of the tests does before it imports what it tests.

Polars has as many threads as it finds when it is imported. Three workers on two cores
with two threads each spend a seventh of their time on threads that search for work. So
the first worker has all threads, for results that depend on them, and each other worker
has one. The variable is gone afterwards: programs that tests start have all threads.

Imports and the collection of tests make a million objects, and no garbage: they are not
searched for it, neither then nor later.
"""

from __future__ import annotations

import gc
import os
from unittest.mock import patch


gc.disable()
ALONE = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
with patch.dict(os.environ, {} if ALONE else {"POLARS_MAX_THREADS": "1"}):
    import polars  # noqa: F401, ICN001


# A search of the youngest objects finds next to nothing: as seldom as in the command.
NEW_OBJECTS = 50_000


def search_garbage_of_tests_only() -> None:
    """Begin to collect garbage, without what there is now."""
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    gc.enable()
