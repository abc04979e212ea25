"""The kernel by ctypes: every call lets go of the interpreter's lock.

`library()` is None where there is none to use: with `RECON_NATIVE=0`, and, after one
warning, where it is missing, cannot be loaded, or is of another version.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

LIBRARY: Final = Path(__file__).with_name("_kernel.so")
SEPARATOR: Final = ord(",")


class Status(IntEnum):
    """How a call ended. What is refused, the reader in Python reads and words."""

    OK = 0
    REFUSED = 1
    UNSUPPORTED = 2
    IO = 3
    MEMORY = 4
    CANCELLED = 5
    CHANGED = 6


class Matched(IntEnum):
    """The lists of a join; pairs that differ are in the same order on both sides."""

    PAIRED_OLD = 0
    PAIRED_NEW = 1
    MISSING = 2
    EXTRA = 3
    REPEATED_OLD = 4
    REPEATED_NEW = 5


class Settings(ctypes.Structure):
    """What `side_new` takes; the numbers of columns are of the file."""

    _fields_ = (
        ("delimiter", c_uint32),
        ("separator", c_uint32),
        ("width", c_uint32),
        ("key_count", c_uint32),
        ("order_count", c_uint32),
        ("field_lines", c_uint32),
        ("bits", c_uint32),
        ("isa", c_int32),
        ("field_bytes", c_uint64),
        ("offset", c_uint64),
        ("sample_every", c_uint64),
        ("keys", POINTER(c_uint32)),
        ("order", POINTER(c_uint32)),
        ("random", c_void_p),
    )


class Facts(ctypes.Structure):
    """What is known of a side that was read.

    `end`: behind the last byte that was taken; `crlf`: how many of the newlines that
    end rows and blank lines are CRLF; `embedded`: how many are in fields; `blanks`: the
    blank lines at the end; `unended`: whether the last row has no newline.
    """

    _fields_ = tuple(
        (name, c_uint64)
        for name in (
            "rows",
            "end",
            "status",
            "blanks",
            "crlf",
            "embedded",
            "quotes",
            "end_of_copy",
            "blank_keys",
            "sampled",
            "unended",
        )
    )


class Rows(ctypes.Structure):
    """Rows as they were gathered, for `extract` and `compare`."""

    _fields_ = (
        ("text", c_void_p),
        ("offsets", c_void_p),
        ("delimiter", c_uint32),
        ("width", c_uint32),
    )


SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "version": (c_char_p,),
    "source": (c_char_p,),
    "best_isa": (c_int,),
    "random_size": (c_uint64,),
    "slack": (c_uint32,),
    "side_new": (c_void_p, POINTER(Settings)),
    "side_free": (None, c_void_p),
    "side_forget": (None, c_void_p),
    "side_facts": (None, c_void_p, POINTER(Facts)),
    "side_sample": (c_void_p, c_void_p),
    "side_ends": (None, c_void_p, c_void_p),
    "side_start": (c_uint64, c_void_p, c_uint64),
    "side_runs": (c_uint64, c_void_p, c_uint64, c_void_p, c_uint64),
    "feed": (c_int64, c_void_p, c_void_p, c_uint64, c_int),
    "scan": (c_int, c_void_p, c_int, c_uint64, c_void_p, c_void_p),
    "join": (c_void_p, c_void_p, c_void_p, c_uint32, c_uint32),
    "found_list": (c_uint64, c_void_p, c_int, POINTER(c_void_p)),
    "found_free": (None, c_void_p),
    "gathered_offsets": (c_int, c_void_p, c_void_p, c_uint64, c_void_p),
    "gather": (c_int, c_void_p, c_int, c_void_p, c_uint64, c_void_p, c_void_p),
    "extract": (
        c_void_p,
        POINTER(Rows),
        c_uint64,
        c_uint64,
        c_uint32,
        POINTER(c_uint32),
    ),
    "compare": (
        c_void_p,
        POINTER(Rows),
        POINTER(Rows),
        c_uint64,
        c_uint64,
        c_uint32,
        c_uint32,
        POINTER(c_uint32),
        POINTER(c_uint32),
    ),
    "columns_text": (
        c_uint64,
        c_void_p,
        c_uint32,
        POINTER(c_void_p),
        POINTER(c_void_p),
    ),
    "columns_cells": (c_uint64, c_void_p, POINTER(c_void_p), POINTER(c_void_p)),
    "columns_free": (None, c_void_p),
    "digests": (None, c_void_p, c_void_p),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library of this package, if it is to be used and there is one."""
    if os.environ.get("RECON_NATIVE") == "0":
        return None
    try:
        found = load(LIBRARY)
    except (OSError, AttributeError) as error:
        log.warning("native_kernel_missing", extra={"reason": type(error).__name__})
        return None
    if (built := found.version().decode()) != __version__:
        log.warning("native_kernel_of_another_version", extra={"built_for": built})
        return None
    return found


def load(path: Path) -> ctypes.CDLL:
    """A library with its functions declared; raises OSError and AttributeError."""
    found = ctypes.CDLL(str(path))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def numbers(values: Sequence[int]) -> ctypes.Array[c_uint32]:
    """An array that the kernel reads."""
    return (c_uint32 * max(1, len(values)))(*values)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is to be read.

    `keys` and `order` are numbers of columns; where `order` is not empty, a row's
    digest is of these columns alone, in this order. `random`: as many bytes as
    `random_size` says, the same for both sides, as is `bits`, by which digests are
    partitioned. `sample_every`: the rows of one in so many keys are listed, or none.
    """

    width: int
    keys: Sequence[int]
    random: bytes
    delimiter: int = SEPARATOR
    order: Sequence[int] = ()
    offset: int = 0
    field_bytes: int = 1 << 20
    field_lines: int = 100
    bits: int = 0
    sample_every: int = 0
    isa: int = -1


class Side:
    """One file as the kernel reads it; `free` it once it is of no more use.

    Raises MemoryError, also for a column that the file has not.
    """

    def __init__(self, kernel: ctypes.CDLL, plan: Plan) -> None:
        self.kernel = kernel
        text = ctypes.create_string_buffer(plan.random, len(plan.random))
        settings = Settings(
            delimiter=plan.delimiter,
            separator=SEPARATOR,
            width=plan.width,
            key_count=len(plan.keys),
            order_count=len(plan.order),
            field_lines=plan.field_lines,
            bits=plan.bits,
            isa=plan.isa,
            field_bytes=plan.field_bytes,
            offset=plan.offset,
            sample_every=plan.sample_every,
            keys=numbers(plan.keys),
            order=numbers(plan.order),
            random=ctypes.addressof(text),
        )
        self.pointer = kernel.side_new(byref(settings))
        if not self.pointer:
            raise MemoryError

    @property
    def facts(self) -> Facts:
        """What is known by now."""
        found = Facts()
        self.kernel.side_facts(self.pointer, byref(found))
        return found

    def scan(
        self,
        descriptor: int,
        block: int,
        cancel: c_uint32 | None = None,
        done: c_uint64 | None = None,
    ) -> Status:
        """Read all of a file from `offset` on, in one call.

        `cancel`, set by another thread, ends it; `done` shows how far it is.
        """
        words = (byref(word) if word is not None else None for word in (cancel, done))
        return Status(self.kernel.scan(self.pointer, descriptor, block, *words))

    def feed(self, address: int, size: int, *, last: bool) -> int:
        """Take a block, with `slack` bytes behind it that may be written.

        How many of its bytes were whole records; -1 where `facts` says what is wrong.
        """
        return int(self.kernel.feed(self.pointer, address, size, int(last)))

    def forget(self) -> None:
        """Let go of the digests, which were joined; where rows are stays known."""
        self.kernel.side_forget(self.pointer)

    def free(self) -> None:
        """Let go of everything."""
        pointer, self.pointer = self.pointer, None
        self.kernel.side_free(pointer)
