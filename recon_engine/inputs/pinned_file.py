"""A local file that stays as it is from its header to the last of its rows."""

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
    """The descriptor of a file in a state; InputChanged if it is or gets another.

    `state` may be the end of one: of a file that several machines see, its size and
    time of change. What was read of a file that changed is worth nothing, whatever was
    found wrong in it: the change is what to tell of.
    """
    try:
        stream = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise _input_changed(uri) from None
    with stream:
        try:
            yield stream.fileno()
        except Exception:
            _check_unchanged(stream.fileno(), uri, state)
            raise
        _check_unchanged(stream.fileno(), uri, state)


def state_of(descriptor: int) -> State:
    """What changes about a file when it is written to."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _check_unchanged(descriptor: int, uri: str, state: State) -> None:
    if state_of(descriptor)[-len(state) :] != state:
        raise _input_changed(uri)


def _input_changed(uri: str) -> InputChanged:
    return InputChanged(
        "the file was written to while it was being read",
        file=uri,
        help="run again once its producer has finished",
    )
