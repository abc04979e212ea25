"""Import Polars in less time: without garbage collection, and less of the library."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from recon_engine.runtime.lazy_module import defer_module


if TYPE_CHECKING:
    from collections.abc import Iterator

# Polars imports it for Iceberg tables. With what it imports itself (email, socket,
# zipfile) it is a seventh of the CPU time of `import polars`.
UNUSED: Final = "importlib.metadata"


@contextmanager
def lighten_imports() -> Iterator[None]:
    """Collect no garbage during the block, and defer what Polars imports in vain.

    An import makes no garbage: to search what it makes again and again takes a tenth of
    the time of `import polars`. Where Polars is there, the block is left as it is: to
    count frozen objects takes milliseconds, and objects of other work stay unfrozen.
    """
    if "polars" in sys.modules:
        yield
        return
    enabled = gc.isenabled()
    gc.disable()
    defer_module(UNUSED)
    try:
        yield
    finally:
        # A program that has frozen what it imported before freezes this, too. The
        # first collection would go through all of it, which took 17 ms or more. In a
        # notebook the objects of the user are left alone.
        if gc.get_freeze_count():
            gc.freeze()
        if enabled:
            gc.enable()
