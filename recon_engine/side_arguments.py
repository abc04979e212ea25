"""The options of sides as arguments of `recon_engine.diff`, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SidedArguments(TypedDict, total=False):
    """`X=` is for both files, `old_X=` and `new_X=` for one.

    A test compares the names with the table of options.
    """

    skip_lines: int
    old_skip_lines: int | None
    new_skip_lines: int | None
    comment_prefix: str
    old_comment_prefix: str | None
    new_comment_prefix: str | None
    no_header: bool
    old_no_header: bool | None
    new_no_header: bool | None
    names: str | Sequence[str]
    old_names: str | Sequence[str] | None
    new_names: str | Sequence[str] | None
    repeat_names: str
    old_repeat_names: str | None
    new_repeat_names: str | None
    blank_names: str
    old_blank_names: str | None
    new_blank_names: str | None
    trailing_delimiter: bool
    old_trailing_delimiter: bool | None
    new_trailing_delimiter: bool | None
    trailer: str | Sequence[str]
    old_trailer: str | Sequence[str] | None
    new_trailer: str | Sequence[str] | None
    trailer_count: str | Sequence[str]
    old_trailer_count: str | Sequence[str] | None
    new_trailer_count: str | Sequence[str] | None
    trailer_sum: str | Sequence[str]
    old_trailer_sum: str | Sequence[str] | None
    new_trailer_sum: str | Sequence[str] | None
    trailer_delimiter: str
    old_trailer_delimiter: str | None
    new_trailer_delimiter: str | None
    eof_mark: bool
    old_eof_mark: bool | None
    new_eof_mark: bool | None
    old_where: str | None
    new_where: str | None
    derive: str | Sequence[str]
    old_derive: str | Sequence[str] | None
    new_derive: str | Sequence[str] | None
    fold: bool
    old_fold: bool | None
    new_fold: bool | None
    sum: str | Sequence[str]
    old_sum: str | Sequence[str] | None
    new_sum: str | Sequence[str] | None
    old_rules: Mapping[str, str | Sequence[str]] | None
    new_rules: Mapping[str, str | Sequence[str]] | None
    quote: str
    old_quote: str | None
    new_quote: str | None
    excel_text: bool
    old_excel_text: bool | None
    new_excel_text: bool | None
    fixed: str
    old_fixed: str | None
    new_fixed: str | None
    member: str
    old_member: str | None
    new_member: str | None
