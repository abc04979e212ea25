"""Given yesterday's system and today's, prove what is missing, extra and changed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from recon_engine.version import __version__


if TYPE_CHECKING:
    from recon_engine.api import diff, load_config
    from recon_engine.errors import ReconError
    from recon_engine.model import Suppressible, Suppression
    from recon_engine.result import Reconciliation


__all__ = [
    "ReconError",
    "Reconciliation",
    "Suppressible",
    "Suppression",
    "__version__",
    "diff",
    "load_config",
]

_HOMES = {
    "diff": "recon_engine.api",
    "load_config": "recon_engine.api",
    "ReconError": "recon_engine.errors",
    "Reconciliation": "recon_engine.result",
    "Suppressible": "recon_engine.model",
    "Suppression": "recon_engine.model",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use: importing the package costs nothing."""
    if name in _HOMES:
        from recon_engine.runtime.collector import pause_collector

        with pause_collector():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'recon_engine' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names only."""
    return sorted(__all__)
