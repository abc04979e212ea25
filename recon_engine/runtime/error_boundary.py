"""The one border for what others raise: it leaves as an error of ours, or not at all.

What a library says of an error may quote a row or a password: Polars names the cell it
could not parse, a UnicodeDecodeError holds the bytes, a traceback holds the variables
of every frame. None of that passes. The borders of Postgres, S3 and the disk know more
of their errors and stand further in; `only_ours` stands around every way out.
"""

from __future__ import annotations

import re
import traceback
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from recon_engine.errors import InternalError, OutOfBudget, ReconError, error_from_errno


if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# The errno as Rust ends its messages with it; Polars passes it on in no other way.
OS_ERROR: Final = re.compile(r"\(os error ([0-9]{1,4})\)")

# Not a logger: a host may collect what is logged, whatever its level.
_listeners: Final[list[Callable[[BaseException], None]]] = []


def within_error_boundary(work: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let nothing but a ReconError out, which carries nothing of what it was made of.

    Interrupts and exits pass as they are.
    """

    @wraps(work)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return work(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is one
            refusal = to_recon_error(error)
        # Out here, where nothing is being handled that would become its context.
        raise refusal

    return guarded


def on_unexpected_error(listener: Callable[[BaseException], None]) -> None:
    """Have someone told what was said, which may quote data: for --debug alone."""
    _listeners.append(listener)


def to_recon_error(error: BaseException) -> ReconError:
    """The error to tell of: bare of causes, tracebacks and notes.

    Raises `error` as it is if that is no error, but an interrupt or an exit.
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
    """Whether Rust panicked; pyo3 makes each library a class of its own for that."""
    return type(error).__module__ == "pyo3_runtime"


def _classify_error(error: BaseException) -> ReconError:
    if isinstance(error, MemoryError):
        return OutOfBudget(
            "there is not enough memory",
            why="the system refused more of it",
            help="a smaller --memory-budget, or more memory for the task",
        )
    number = _find_errno(error)
    if isinstance(error, OSError) or number is not None:
        return error_from_errno(number)
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return InternalError(
        f"an unforeseen {type(error).__name__}{at}",
        why="this is a bug in recon-engine, or in a library under it",
        help="please report it; --debug shows the way it took",
    )


def _find_errno(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    found = OS_ERROR.search(str(error))
    return int(found[1]) if found else None
