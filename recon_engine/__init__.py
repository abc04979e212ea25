"""Given yesterday's system and today's, prove what is missing, extra and changed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from recon_engine.version import __version__


if TYPE_CHECKING:
    from recon_engine.api import diff, load_config
    from recon_engine.drafts.arguments import draft
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
    "draft",
    "load_config",
]

# The type checker reads the imports above, which do not run. This table is for what
# runs, and has the same names.
_HOMES = {
    "diff": "recon_engine.api",
    "draft": "recon_engine.drafts.arguments",
    "load_config": "recon_engine.api",
    "ReconError": "recon_engine.errors",
    "Reconciliation": "recon_engine.result",
    "Suppressible": "recon_engine.model",
    "Suppression": "recon_engine.model",
}
# What people try, as a command of the shell or by a name of another library.
_OTHER_NAMES = {
    **dict.fromkeys(
        ("init", "draft_settings", "infer", "suggest", "keys", "propose_keys"),
        "draft(old, new) returns the arguments of diff, and save() of these writes"
        " recon.toml, as recon init OLD NEW does in the shell",
    ),
    **dict.fromkeys(("reconcile", "Compare", "run"), "diff(old, new, keys=…) compares"),
    **dict.fromkeys(
        ("save", "save_config", "to_toml", "write_config"),
        "draft(old, new).save() writes recon.toml",
    ),
    "explain": "recon explain OLD NEW --key-value …, in the shell, shows a key",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use: importing the package costs nothing."""
    if name in _HOMES:
        from recon_engine.runtime.import_time import lighten_imports

        with lighten_imports():
            return getattr(import_module(_HOMES[name]), name)
    right = f": {_OTHER_NAMES[name]}" if name in _OTHER_NAMES else ""
    raise AttributeError(f"module 'recon_engine' has no attribute {name!r}{right}")


def __dir__() -> list[str]:
    """The public names only."""
    return sorted(__all__)
