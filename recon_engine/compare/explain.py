"""Explain one key: the files are read while Polars, which explains it, is imported."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

from recon_engine.compare.alignment import align_columns
from recon_engine.compare.early_scan import scan_for_keys
from recon_engine.config import LIMITS, Limits
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_count
from recon_engine.inputs.tables import open_headers
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.compare.explained_rows import Explanation
    from recon_engine.config import Options


@within_error_boundary
def explain_key(
    old: object,
    new: object,
    options: Options,
    values: Sequence[str],
    progress: Progress = SILENT,
    *,
    limits: Limits = LIMITS,
    context: Sequence[str] = (),
) -> Explanation:
    """Explain the key with these `values`, in the order of the key columns.

    Args:
        old: A path, a URL or a frame.
        new: A path, a URL or a frame.
        options: As for `diff`; rows are paired and masked as `diff` does.
        values: One value for each key column, or one JSON array, as results show keys.
        progress: Reports the steps.
        limits: Size limits of inputs.
        context: Columns that are shown besides the compared ones, such as those that
            are ignored or that one file has; "all" is every column.

    Raises ConfigError if neither side has the key, or no side a column of `context`.
    """
    key = _parse_key(values, options.keys)
    with ExitStack() as stack:
        opened = open_headers(old, new, options, limits, progress)
        sides = stack.enter_context(opened)
        layout = align_columns(
            sides[0].columns,
            sides[1].columns,
            options,
            uris=(sides[0].uri, sides[1].uri),
            heads=(sides[0].head, sides[1].head),
        )
        scanning = scan_for_keys(sides, layout)
        if scanning is not None:
            # For an error before `explain_rows` has taken the scan over.
            stack.callback(scanning.close)
        # Lazy: the kernel reads both files while Polars is imported.
        from recon_engine.compare.explained_rows import explain_rows

        return explain_rows(
            sides, layout, options, key, progress, context=context, scanning=scanning
        )


def _parse_key(values: Sequence[str], keys: Sequence[str]) -> list[str]:
    # With one key column the text is the value, also if it is JSON.
    if len(values) == 1 < len(keys):
        try:
            values = [str(each) for each in json.loads(values[0])]
        # Text that is no JSON, a number, or arrays that are nested too deeply.
        except (ValueError, TypeError, RecursionError):
            values = ()
    if len(values) != len(keys):
        raise ConfigError(
            f"the key has {format_count(len(keys), 'column')}: {', '.join(keys)}",
            help="give one value for each, in this order, or all as one JSON array",
        )
    return list(values)
