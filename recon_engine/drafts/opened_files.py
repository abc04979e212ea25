"""Both files of a draft, opened on another thread while their first rows are searched.

A file that is not UTF-8 is written as such, once for all passes over it. Both are read
to their ends once, beside the search if that is known to be needed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from signal import Signals
from typing import TYPE_CHECKING

from recon_engine.config import NO_KEY, Options
from recon_engine.drafts.reading_choice import are_written_otherwise, read_options
from recon_engine.inputs.scanning import start_validation
from recon_engine.inputs.tables import both_unread, open_tables, without_hashes
from recon_engine.runtime.cancellation import CancellationToken


if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from recon_engine.config import Limits
    from recon_engine.drafts.inputs import Input
    from recon_engine.drafts.reading import Reading
    from recon_engine.inputs.scanning import Scanning
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.runtime.progress import Progress


class OpenedFiles:
    """Opens both files as they are read now; what that takes on disk is its own."""

    def __init__(self, limits: Limits, progress: Progress) -> None:
        self._limits = limits
        self._progress = progress
        # One thread: a reading, which is submitted later, begins when the opening has
        # ended.
        self._thread = ThreadPoolExecutor(1, "open")
        self._files = ExitStack()
        self._stop: CancellationToken[None] = CancellationToken()
        self._options = Options(keys=NO_KEY)
        self._opening: Future[tuple[Unread, Unread]] | None = None
        self._reading: Future[Scanning | None] | None = None
        self._tables: tuple[Table, Table] | None = None

    def close(self) -> None:
        """End an opening under way, and remove what it wrote."""
        self._discard()
        self._thread.shutdown()

    def begin(self, sources: tuple[str, str], options: Options) -> None:
        """Begin to open both, in place of those that are open."""
        self._discard()
        self._options = options
        progress = self._stop.checking_on_advance(self._progress)
        self._opening = self._thread.submit(
            lambda: both_unread(
                *sources, options, self._limits, self._files, progress, hashes=False
            )
        )

    def begin_as(self, inputs: Sequence[Input], readings: Sequence[Reading]) -> None:
        """Begin to open both as they are read now, in place of those that are open.

        Where two systems write them, both are read to their ends, too: most rows differ
        in their bytes then, and all of them are compared.
        """
        old, new = (str(each.path) for each in inputs)
        self.begin((old, new), read_options(readings))
        if are_written_otherwise(readings):
            self.begin_reading()

    def both(self) -> tuple[Unread, Unread]:
        """OLD and NEW; raises the error of a file that cannot be opened."""
        assert self._opening is not None  # noqa: S101 - `begin` comes first
        return self._opening.result()

    def begin_reading(self) -> None:
        """Begin to read both to their ends, as soon as they are open."""
        if self._reading is None:
            self._reading = self._thread.submit(self._start_reading)

    def stop_reading(self) -> None:
        """End a reading under way that nothing has asked for yet."""
        if self._reading is not None and self._tables is None:
            scanning, self._reading = self._reading.result(), None
            if scanning is not None:
                scanning.close()

    def read_natively(self) -> tuple[Table, Table] | None:
        """As `read`; None without a native kernel for them."""
        self.begin_reading()
        assert self._reading is not None  # noqa: S101 - it has begun
        return None if self._reading.result() is None else self.read()

    def read(self) -> tuple[Table, Table]:
        """Both, read to their ends; raises the error of the first bad row."""
        if self._tables is None:
            self.begin_reading()
            assert self._reading is not None  # noqa: S101 - it has begun
            scanning = self._reading.result()
            old, new = map(without_hashes, self.both())
            self._tables = self._files.enter_context(
                open_tables(old, new, self._options, self._progress, scanning)
            )
        return self._tables

    def _start_reading(self) -> Scanning | None:
        scanning = start_validation([*map(without_hashes, self.both())])
        if scanning is not None:
            self._files.callback(scanning.close)
        return scanning

    def _discard(self) -> None:
        """End an opening under way, and remove its files."""
        if self._opening is not None:
            # No signal has come: any number makes the next advance of the opening
            # raise.
            self._stop.request(Signals.SIGTERM)
        for each in (self._opening, self._reading):
            if each is not None:
                # Its error, if it has one, is that of files which are not used.
                each.exception()
        self._files.close()
        self._files, self._stop = ExitStack(), CancellationToken()
        self._opening = self._reading = self._tables = None
