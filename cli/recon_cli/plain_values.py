"""Convert valid values of the command line directly; typer imports pydantic for it.

That takes a fifth as long as `import polars`. Whatever is not plainly valid is left to
typer, which has the error messages.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from recon_engine.model import MOST_COUNT


if TYPE_CHECKING:
    from typer._click import Context, Parameter


class NotPlain(Exception):
    """A value that is left to typer."""


def convert_directly(params: list[Parameter]) -> list[Parameter]:
    """Give parameters of typer a conversion that is tried before theirs."""
    for param in params:
        # `get_runtime_param` of typer returns it, and builds one of pydantic only if it
        # is None.
        param._runtime_param = _DirectConversion()  # type: ignore[attr-defined]  # noqa: SLF001
    return params


@dataclass(frozen=True)
class _DirectConversion:
    """What typer calls to convert the value of a parameter."""

    def coerce(self, value: Any, param: Any, ctx: Context) -> Any:
        """Return the value as the type of the parameter."""
        try:
            return _convert(value, param)
        except NotPlain:
            from typer._coercion import build_runtime_param

            return build_runtime_param(param.type_descriptor).coerce(
                value, param=param, ctx=ctx
            )


def _convert(value: Any, param: Any) -> Any:
    kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if param.multiple or param.nargs != 1:
        if value is None:
            return ()
        if get_origin(kind) is not list or not isinstance(value, list | tuple):
            raise NotPlain
        [kind] = get_args(kind)
        return [convert_plain(each, kind, info.min, info.max) for each in value]
    return None if value is None else convert_plain(value, kind, info.min, info.max)


def convert_plain(value: Any, kind: Any, least: int | None, most: int | None) -> Any:
    """Return one value as a type of `Option.value_type`; raise NotPlain if in doubt.

    `least`, `most`: the bounds of a number.
    """
    if kind is str and type(value) is str:
        return value
    if kind is int and is_whole_number(str(value)):
        number = int(value)
        if (least is None or least <= number) and (most is None or number <= most):
            return number
    # typer has an error for a path that exists and is not readable.
    if kind is Path and isinstance(value, str | Path) and _may_be_read(value):
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum) and value in list(kind):
        return kind(value)
    raise NotPlain


def is_whole_number(text: str) -> bool:
    """Return whether a text is digits only, as many as a number of an option has.

    int() also accepts blanks, underscores and digits of other scripts, and it fails for
    thousands of digits.
    """
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_COUNT))


def _may_be_read(path: str | Path) -> bool:
    return not os.path.exists(path) or os.access(path, os.R_OK)  # noqa: PTH110
