"""`diff` with the errors that the command line prints: they name flags."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from recon_engine import api


if TYPE_CHECKING:
    from collections.abc import Callable

    from recon_engine import Reconciliation


# Without the decorator that names arguments in the place of flags.
diff: Final[Callable[..., Reconciliation]] = inspect.unwrap(api.diff)
