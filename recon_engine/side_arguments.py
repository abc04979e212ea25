"""The options of sides as arguments of `recon_engine.diff`, for type checkers."""

from __future__ import annotations

from typing import TypedDict


class SidedArguments(TypedDict, total=False):
    """`X=` is for both files, `old_X=` and `new_X=` for one.

    A test compares the names with the table of options.
    """

    skip_lines: int
    old_skip_lines: int
    new_skip_lines: int
    old_where: str
    new_where: str
