"""Where a value could leak, all of it: what a canary test has to look through."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sites import FolderSite

CELL: Final = "CANARY"
PASSWORD: Final = "hunter2"


def everything(error: BaseException) -> Iterator[str]:
    """All that a log, a debugger or an error tracker finds in an exception.

    That is its text, its fields, those of its causes, and the variables of every frame
    of the engine that it comes from.
    """
    yield from (repr(error), str(vars(error)), *traceback.format_exception(error))
    for chained in (error.__context__, error.__cause__):
        if chained is not None:
            yield from everything(chained)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals["__name__"]).startswith("recon_"):
            yield repr(frame.f_locals)


def unheard(*texts: str, marker: str = CELL) -> None:
    """No text holds the marker, in whatever spelling."""
    for text in texts:
        at = text.lower().find(marker.lower())
        assert at < 0, text[max(0, at - 200) : at + 200]


def places_of(site: FolderSite) -> list[str]:
    return [
        "run",
        *(f"--{name}-s3={getattr(site, name)}" for name in ("inbound", "processed")),
        f"--out-s3={site.out}",
        "--dataset=claims",
        "--keys=ID",
    ]
