"""Import a module when it is first used.

NumPy takes half as long to import as Polars, and `recon diff` uses it only without the
native kernel, or for repeated keys: `np` is imported when one of its names is read.
"""

from __future__ import annotations

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


if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

__all__ = ["LazyModule", "np"]
