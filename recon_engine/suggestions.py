"""Suggestions for misspelt names, and lists of names, for error texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.lazy import lazy_pattern


if TYPE_CHECKING:
    from collections.abc import Iterable


# What begins with a digit, is longer, or has other characters may be the value of a
# cell, which no error quotes.
NAME_PATTERN = lazy_pattern(r"[^\W\d][\w .:/#()-]{0,126}")


def join_names(names: Iterable[str], limit: int = 10) -> str:
    """Names joined by commas; after `limit` names, the number of the others."""
    every = list(names)
    more = f" and {len(every) - limit:,} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more


def escape_bytes(name: str) -> str:
    """A file name as text, with escapes for the bytes that are not UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shown(name: str) -> str:
    """A name for a sentence; quoted if it has surrounding spaces."""
    return name if name == name.strip() else f'"{name}"'


def looks_like_header(names: Iterable[str]) -> bool:
    """Whether all texts look like column names, not like the values of a row."""
    return all(NAME_PATTERN.fullmatch(name) for name in names)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the closest known name, `. Did you mean CLM_ID?`, or ""."""
    # Lazy: only an error needs it.
    from difflib import get_close_matches

    names = (each for each in known if NAME_PATTERN.fullmatch(each.strip()))
    by_fold = {each.strip().casefold(): each for each in names}
    close = get_close_matches(name.strip().casefold(), by_fold, n=1)
    return f". Did you mean {shown(by_fold[close[0]])}?" if close else ""
