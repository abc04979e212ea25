"""Check that a local file does not change from its header to its last row."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recon_engine.errors import InputChanged


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    State = tuple[int, ...]


@contextmanager
def open_unchanged(path: Path, uri: str, state: State) -> Iterator[int]:
    """Yield a descriptor of the file; raise InputChanged unless `state` is its state.

    `state` may be the last items of `state_of`: a file that several machines read is
    identified by its size and modification time only. Errors in a file that changed are
    meaningless, so InputChanged replaces any other exception.
    """
    try:
        # A descriptor alone: an object of Python would take four times as long.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise _input_changed(uri) from None
    try:
        try:
            yield descriptor
        except Exception:
            _check_unchanged(descriptor, uri, state)
            raise
        # After the reads: only then is it known that all of them were of this state.
        _check_unchanged(descriptor, uri, state)
    finally:
        os.close(descriptor)


def state_of(descriptor: int) -> State:
    """Device, inode, size and modification time (ns): a write changes one of them."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_unchanged(descriptor: int, uri: str, state: State) -> None:
    # A full state has four parts, one of several machines the last two.
    if state_of(descriptor)[-len(state) :] != state:
        raise _input_changed(uri)


def _input_changed(uri: str) -> InputChanged:
    return InputChanged(
        "the file changed while it was being read",
        file=uri,
        help="run again once its producer has finished",
    )
