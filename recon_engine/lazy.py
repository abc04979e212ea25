"""A module that is imported once something of it is used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class Lazy(ModuleType):
    """Stands for a module by its name.

    Polars takes longer to import than a file of a hundred megabytes to read, so what
    decides how files are read does not wait for it.
    """

    def __getattr__(self, name: str) -> object:
        """Import the module; what is used again is found here."""
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value
