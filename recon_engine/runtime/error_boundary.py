"""The outermost boundary: foreign exceptions become a ReconError without data.

The text of a library's exception may quote a row or a password: Polars names the cell
it could not parse, a UnicodeDecodeError holds the bytes, a traceback the variables of
every frame. None of it passes. Postgres, S3 and the disk have boundaries further in
that translate their errors in detail; `within_error_boundary` wraps every public entry
point.
"""

from __future__ import annotations

import os
import traceback
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from recon_engine.errors import (
    NO_PATH,
    InternalError,
    OutOfBudget,
    ReconError,
    error_from_errno,
)
from recon_engine.lazy import lazy_pattern
from recon_engine.suggestions import escape_bytes


if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# Polars passes on an errno only as the end of the message that Rust writes.
OS_ERROR: Final = lazy_pattern(r"\(os error ([0-9]{1,4})\)")

# Not a logger: a host application may collect log records of every level.
_listeners: Final[list[Callable[[BaseException], None]]] = []


def within_error_boundary(work: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Decorate an entry point: every exception leaves as a ReconError without context.

    Interrupts and exits pass unchanged.
    """

    @wraps(work)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return work(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is one
            refusal = to_recon_error(error)
        # Raised outside the handler, so that the original is not its __context__.
        raise refusal

    return guarded


def on_unexpected_error(listener: Callable[[BaseException], None]) -> None:
    """Register a listener for original exceptions, which may quote data.

    For --debug only.
    """
    _listeners.append(listener)


def to_recon_error(error: BaseException) -> ReconError:
    """The ReconError for an exception, without cause, traceback and notes.

    Raises `error` itself if it is an interrupt or an exit.
    """
    if isinstance(error, ReconError):
        return _strip_context(error)
    if not isinstance(error, Exception) and not _is_panic(error):
        raise error
    for listener in _listeners:
        listener(error)
    return _classify_error(error)


def _strip_context(error: ReconError) -> ReconError:
    error.__context__ = error.__cause__ = None
    vars(error).pop("__notes__", None)
    return error.with_traceback(None)


def _is_panic(error: BaseException) -> bool:
    """Whether it is a Rust panic; pyo3 defines the class once in each library."""
    return type(error).__module__ == "pyo3_runtime"


def _classify_error(error: BaseException) -> ReconError:
    if isinstance(error, MemoryError):
        return OutOfBudget(
            "out of memory",
            why="the operating system refused an allocation",
            help="use a smaller --memory-budget, or give the task more memory",
        )
    number = _find_errno(error)
    if isinstance(error, OSError) or number is not None:
        named = getattr(error, "filename", None) if number in NO_PATH else None
        # An open file has a number in the place of a name.
        name = os.fsdecode(named) if isinstance(named, str | bytes) else None
        return error_from_errno(number, name and escape_bytes(name))
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return InternalError(
        f"an unexpected {type(error).__name__}{at}",
        why="this is a bug in recon-engine, or in a library under it",
        help="please report it; recon --debug, in the shell, shows the traceback",
    )


def _find_errno(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    found = OS_ERROR.search(str(error))
    return int(found[1]) if found else None
