"""Regular expressions that are compiled where they are first used.

Compiling one takes as long as importing a small module, and most commands use few of
those that they import.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, AnyStr, cast


if TYPE_CHECKING:
    from re import Pattern


class _LazyPattern:
    """A pattern that compiles itself when an attribute is first read."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        # Kept: a later read of the attribute does not come here.
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)
        return value


def lazy_pattern(text: AnyStr, flags: int = 0) -> Pattern[AnyStr]:
    """As `re.compile`, but errors of the pattern appear at its first use."""
    return cast("Pattern[AnyStr]", _LazyPattern(text, flags))
