"""Both files of a draft, opened on another thread while their first rows are searched.

A file that is not UTF-8 is written as such, once for all passes over it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from signal import Signals
from typing import TYPE_CHECKING

from recon_engine.inputs.tables import both_unread
from recon_engine.runtime.cancellation import CancellationToken


if TYPE_CHECKING:
    from concurrent.futures import Future

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.tables import Unread
    from recon_engine.runtime.progress import Progress


class OpenedFiles:
    """Opens both files as they are read now; what that takes on disk is its own."""

    def __init__(self, limits: Limits, progress: Progress) -> None:
        self._limits = limits
        self._progress = progress
        self._thread = ThreadPoolExecutor(1, "open")
        self._files = ExitStack()
        self._stop: CancellationToken[None] = CancellationToken()
        self._opening: Future[tuple[Unread, Unread]] | None = None

    def close(self) -> None:
        """End an opening under way, and remove what it wrote."""
        self._discard()
        self._thread.shutdown()

    def begin(self, sources: tuple[str, str], options: Options) -> None:
        """Begin to open both, in place of those that are open."""
        self._discard()
        progress = self._stop.checking_on_advance(self._progress)
        self._opening = self._thread.submit(
            lambda: both_unread(*sources, options, self._limits, self._files, progress)
        )

    def both(self) -> tuple[Unread, Unread]:
        """OLD and NEW; raises the error of a file that cannot be opened."""
        assert self._opening is not None  # noqa: S101 - `begin` comes first
        return self._opening.result()

    def _discard(self) -> None:
        """End an opening under way, and remove its files."""
        if self._opening is not None:
            self._stop.request(Signals.SIGTERM)
            # Its error, if it has one, is that of files which are not used.
            self._opening.exception()
        self._files.close()
        self._files, self._stop = ExitStack(), CancellationToken()
        self._opening = None
