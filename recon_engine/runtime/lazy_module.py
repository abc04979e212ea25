"""Import a module when it is first used.

NumPy takes half as long to import as Polars, and `recon diff` uses it only without the
native kernel, or for repeated keys: `np` is imported when one of its names is read.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING


class LazyModule(ModuleType):
    """A placeholder that imports the module of its name.

    Importing Polars takes as long as reading a hundred megabytes. A module that is
    imported before files are read, and uses Polars after that, imports it so.
    """

    def __getattr__(self, name: str) -> object:
        """Import the module, and keep what was asked for."""
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


class _DeferredModule(LazyModule):
    """A placeholder for every importer; the first attribute loads the module."""

    def __getattr__(self, name: str) -> object:
        """Load the module in the place of this one, and keep what was asked for."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return super().__getattr__(name)


def defer_module(name: str) -> None:
    """Let every import of a submodule return at once: its first attribute loads it.

    For a module that a library imports, and that this project does not use.
    """
    if name not in sys.modules:
        package, _, child = name.rpartition(".")
        sys.modules[name] = _DeferredModule(name)
        setattr(import_module(package), child, sys.modules[name])


if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

__all__ = ["LazyModule", "defer_module", "np"]
