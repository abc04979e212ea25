"""Begin to read two files in the native kernel before Polars is imported.

The kernel reads a file of a hundred megabytes in the time of that import. Therefore
nothing here loads Polars or NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recon_engine.compare.alignment import align_columns
from recon_engine.errors import ReconError
from recon_engine.inputs.header import Header
from recon_engine.inputs.scanning import (
    KernelRefusal,
    SideColumns,
    sampling_rate,
    start_scan,
    start_validation,
)
from recon_engine.runtime.memory import default_budget


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.compare.alignment import Alignment
    from recon_engine.config import Options
    from recon_engine.inputs.scanning import Scanning
    from recon_engine.runtime.memory import Budget


class _Undecided(Exception):
    """Values have to be read before it is known which columns belong together."""


def begin_scan(
    old: object, new: object, options: Options, budget: Budget | None
) -> Scanning | None:
    """Begin to read both, if the kernel applies and no value decides on the columns.

    None leaves it to `read_tables`, which also reports what is wrong.
    """
    if not (isinstance(old, Header) and isinstance(new, Header)):
        return None
    try:
        layout = align_columns(
            old.columns,
            new.columns,
            options,
            uris=(old.uri, new.uri),
            measure=_refuse_to_measure,
        )
        rows = old.expected_rows + new.expected_rows
        # Several buckets are kept on disk, and only the path in Python writes them.
        if (budget or default_budget()).buckets(rows) > 1:
            return None
        return scan_aligned((old, new), layout)
    # The usual path finds the same error again, with more to say about it.
    except (ReconError, KernelRefusal, _Undecided):
        return None


def scan_aligned(
    sides: Sequence[object], layout: Alignment, *, joins: bool = True
) -> Scanning | None:
    """Begin to read both sides, and with `joins` to match their rows.

    None if the kernel does not apply: if a side is no file, or rows are not compared by
    their bytes. Raises KernelRefusal if it cannot hold such columns.
    """
    headers = [side for side in sides if isinstance(side, Header)]
    columns = columns_by_bytes(headers, layout)
    if len(headers) < len(sides) or columns is None:
        return None
    return start_scan(headers, columns, joins=joins)


def columns_by_bytes(
    headers: Sequence[Header], layout: Alignment
) -> list[SideColumns] | None:
    """What the kernel does with the columns of both files.

    None if bytes do not decide which rows are equal: if a column of the key has rules,
    if a compared column is read in two ways, or if rows are prepared before they are
    paired.
    """
    by_bytes = all(chain.is_reflexive for chain in layout.rules.values())
    has_rules = any(key in layout.rules for key in layout.keys)
    if has_rules or not by_bytes or any(layout.prepared):
        return None
    every: Sequence[Mapping[str, str]] = ({}, layout.new_names)
    return [
        _side_columns(header, layout, renames)
        for header, renames in zip(headers, every, strict=False)
    ]


def scan_for_keys(sides: Sequence[object], layout: Alignment) -> Scanning | None:
    """Begin to read both sides so that rows can be found by their keys.

    If a column of the key has rules, or the digests exceed the memory, both are only
    validated. None if the kernel does not apply at all.
    """
    rows = sum(side.expected_rows for side in sides if isinstance(side, Header))
    try:
        if default_budget().buckets(rows) == 1:
            scanning = scan_aligned(sides, layout, joins=False)
            if scanning is not None:
                return scanning
    except (ReconError, KernelRefusal):
        pass
    return start_validation(sides)


def _side_columns(
    header: Header, layout: Alignment, renames: Mapping[str, str]
) -> SideColumns:
    names = [renames.get(name, name) for name in header.columns]
    compared = {*layout.keys, *layout.columns}
    return SideColumns(
        compared=[name if name in compared else None for name in names],
        keys=[names.index(key) for key in layout.keys],
        sample_every=sampling_rate(header.expected_rows),
    )


def _refuse_to_measure(*_: object) -> Any:
    raise _Undecided
