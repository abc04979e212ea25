"""Import a module when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


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
