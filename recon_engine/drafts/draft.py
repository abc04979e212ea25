"""Draft how two files are compared, from the files alone.

In this order: how each file is read; names and values that columns share; the key with
its rules; renamed columns by rows of equal keys; rules by the hints of a comparison of
all rows. Each later decision relies on those before it.

The first is made here, without Polars. `drafting` makes the others.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from recon_engine.config import LIMITS, Limits
from recon_engine.drafts.inputs import name_inputs, open_plain
from recon_engine.drafts.opened_files import OpenedFiles
from recon_engine.drafts.reading_choice import (
    correct_reading,
    name_columns,
    read_first_rows,
)
from recon_engine.errors import ConfigError, EncodingError, MalformedInput
from recon_engine.model import SIDES
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.import_time import lighten_imports
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recon_engine.drafts.decision import Draft
    from recon_engine.runtime.memory import Budget


# `recon init --sample` has the same default (docs/init.md).
SAMPLE: Final = 20_000
# Before each trial but the first, one fault of a late row is corrected: the encoding or
# the trailer of one file.
MOST_TRIALS: Final = 4


@within_error_boundary
def draft_settings(
    old: str,
    new: str,
    progress: Progress = SILENT,
    *,
    sample: int | None = SAMPLE,
    key: int = 0,
    counts_keys: bool = False,
    renames: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
    begun: Callable[[], None] = lambda: None,
) -> Draft:
    """Decide how two files are compared, and compare them so.

    Args:
        old: The path or the s3:// URL of OLD.
        new: The path or the s3:// URL of NEW.
        progress: Reports the steps.
        sample: The number of rows and values that are searched for candidates; None
            is all. What is decided is checked on all rows in any case.
        key: Which of the `Draft.close_keys` is the key, from 0.
        counts_keys: Whether all of them are counted on all rows, for a person.
        renames: Names in OLD with their names in NEW, which are given and not decided.
        budget: Memory.
        limits: Size limits of inputs.
        begun: Called once all is imported and both files are being read: what a caller
            needs afterwards can be imported then, beside the search.

    Raises the error of the decision that failed, which says what it would need.
    """
    with ExitStack() as stack:
        inputs = tuple(
            open_plain(uri, side, limits, stack, progress)
            for side, uri in zip(SIDES, (old, new), strict=True)
        )
        opened = OpenedFiles(limits, progress)
        # Registered after the temporary files of the inputs, so called before they are
        # removed: they may still be read.
        stack.callback(opened.close)
        with name_inputs(inputs):
            first = map(read_first_rows, inputs, SIDES, (limits, limits))
            readings = name_columns([*first])
            opened.begin_as(inputs, readings)
            # Lazy: both files are read while Polars is imported.
            with lighten_imports():
                from recon_engine.drafts.drafting import Drafting

            begun()
            for _ in range(MOST_TRIALS):
                drafting = Drafting(
                    inputs,
                    opened,
                    progress,
                    sample=sample,
                    key=key,
                    counts_keys=counts_keys,
                    renames=dict(renames or {}),
                    budget=budget,
                    limits=limits,
                )
                try:
                    return drafting.draft_from(readings)
                except (EncodingError, MalformedInput) as error:
                    readings = correct_reading(inputs, readings, error)
                opened.begin_as(inputs, readings)
    raise ConfigError(
        "recon init could not read the files",
        why="no combination of encoding, delimiter, quotes and header that was tried"
        " fits all rows",
        help="name encoding and delimiter in recon.toml, and use recon diff",
    )
