"""The inputs of a result, to read the whole rows that differ from them again.

Polars is imported only by `read_rows`: a comparison opens its files before it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.compare.alignment import align_columns
from recon_engine.errors import ConfigError, InputChanged
from recon_engine.inputs.header import Header
from recon_engine.inputs.tables import are_parts, both_unread, is_piped, open_tables
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.progress import SILENT
from recon_engine.storage.urls import local_path


if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.tables import Table
    from recon_engine.model import Side
    from recon_engine.result import Reconciliation

    # Size and modification time (ns) of each local file of a source.
    State = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What `diff` was given, and the states of the files before they were read."""

    sources: tuple[object, object]
    options: Options
    limits: Limits
    states: tuple[State, State]

    @classmethod
    def pin(
        cls, old: object, new: object, options: Options, limits: Limits
    ) -> Inputs | None:
        """The inputs as they are now; None if one of them can be read only once."""
        sources = old, new
        if any(
            isinstance(each, str | Path) and is_piped(str(each)) for each in sources
        ):
            return None
        return cls(sources, options, limits, (_state_of(old), _state_of(new)))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A result that is pickled has no inputs: frames may be large, or no data."""
        return type(None), ()

    @within_error_boundary
    def read_rows(self, result: Reconciliation, context: Sequence[str]) -> pl.DataFrame:
        """The rows that differ in a result of these inputs, as `Reconciliation.rows`.

        `context`: the columns that are shown besides those that differ; "all" is every
        column.

        Raises InputChanged if the inputs are not those of the result, and ConfigError
        for an unknown column.
        """
        sides = result.old, result.new
        for source, state, side in zip(self.sources, self.states, sides, strict=True):
            if _state_of(source) != state:
                raise _refuse_changed(side.uri)
        with ExitStack() as stack:
            unread = both_unread(
                *self.sources, self.options, self.limits, stack, SILENT
            )
            old, new = (
                replace(each, hashes=side.sha256 is not None)
                if isinstance(each, Header)
                else each
                for each, side in zip(unread, sides, strict=True)
            )
            layout = align_columns(
                old.columns,
                new.columns,
                self.options,
                uris=(old.uri, new.uri),
                heads=(old.head, new.head),
            )
            opened = open_tables(old, new, self.options, SILENT, None)
            tables = stack.enter_context(opened)
            for table, side in zip(tables, sides, strict=True):
                _check_is_same(table, side)
            # Lazy: it imports Polars.
            from recon_engine.compare.context_rows import read_differing_rows

            found = read_differing_rows(tables, layout, result, context)
        if found is None:
            # Of two inputs, it is not known which one.
            raise _refuse_changed(None)
        return found


def _state_of(source: object) -> State:
    """The state of the local files of a source; empty for what is no such file."""
    if not isinstance(source, str | Path) or str(source).startswith("s3:"):
        return ()
    try:
        path = local_path(str(source))
        files = _list_files(path) if are_parts(str(source)) else []
        found = [os.stat(each) for each in files or [path]]  # noqa: PTH116 - as fast
    except (OSError, ConfigError):
        # Whoever reads the source has the right error.
        return ()
    return tuple((each.st_size, each.st_mtime_ns) for each in found)


def _list_files(folder: Path) -> list[Path]:
    # Lazy: it imports Polars.
    from recon_engine.inputs.parts import list_parts

    return [each for each, _ in list_parts(folder)]


def _check_is_same(table: Table, side: Side) -> None:
    """Raise InputChanged if what was read now is not what the result is of."""
    known = None not in (table.sha256, side.sha256)
    if table.rows + table.rejects.count != side.rows or (
        known and table.sha256 != side.sha256
    ):
        raise _refuse_changed(side.uri)


def _refuse_changed(uri: str | None) -> InputChanged:
    return InputChanged(
        "an input is not what it was when it was compared",
        file=uri,
        help="run diff again, then rows(context=…) on its result",
    )
