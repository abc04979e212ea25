"""Begin to read two files in the native kernel before Polars is imported.

The kernel reads a file of a hundred megabytes in the time of that import. Therefore
nothing here loads Polars or NumPy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recon_engine.compare.alignment import align_columns
from recon_engine.compare.preparation import are_plain_numbers
from recon_engine.errors import ReconError
from recon_engine.inputs.header import Header
from recon_engine.inputs.scanning import (
    Folding,
    KernelRefusal,
    SideColumns,
    sampling_rate,
    start_scan,
    start_validation,
)
from recon_engine.model import SIDES
from recon_engine.runtime.memory import default_budget
from recon_engine.where_syntax import parse_where


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

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
    plain = _without_filters(options)
    try:
        layout = align_columns(
            old.columns,
            new.columns,
            plain,
            uris=(old.uri, new.uri),
            measure=_refuse_to_measure,
        )
        rows = old.expected_rows + new.expected_rows
        # Several buckets are kept on disk, and only the path in Python writes them.
        if (budget or default_budget()).buckets(rows) > 1:
            return None
        matches = plain == options or _are_filtered_alike(options, layout)
        return scan_both((old, new), layout, matches=matches)
    # The usual path finds the same error again, with more to say about it.
    except (ReconError, KernelRefusal, _Undecided):
        return None


def scan_both(
    sides: Sequence[object], layout: Alignment, *, matches: bool = True
) -> Scanning | None:
    """Begin to read both sides, to match their rows or only to digest them.

    The kernel matches rows that are compared by their bytes. `matches`: False if there
    are filters, of which `layout` does not know, by more than these bytes. None if the
    kernel does not apply. Raises KernelRefusal if it cannot hold such columns.
    """
    scanning = scan_aligned(sides, layout) if matches else None
    headers = [side for side in sides if isinstance(side, Header)]
    if scanning is not None or len(headers) < len(sides):
        return scanning
    columns = columns_to_digest(headers, layout)
    return None if columns is None else start_scan(headers, columns, joins=False)


def scan_aligned(
    sides: Sequence[object], layout: Alignment, *, joins: bool = True
) -> Scanning | None:
    """Begin to read both sides, and with `joins` to match their rows.

    None if the kernel does not apply: if a side is no file, or rows are neither
    compared by their bytes nor folded by bytes and plain numbers. Raises KernelRefusal
    if it cannot hold such columns.
    """
    headers = [side for side in sides if isinstance(side, Header)]
    columns = columns_by_bytes(headers, layout)
    if columns is None and joins:
        columns = columns_to_fold(headers, layout)
    if len(headers) < len(sides) or columns is None:
        return None
    return start_scan(headers, columns, joins=joins)


def columns_by_bytes(
    headers: Sequence[Header], layout: Alignment
) -> list[SideColumns] | None:
    """What the kernel does with the columns of both files.

    None if bytes do not decide which rows are equal: if a column of the key has rules,
    if a compared column is read in two ways, or if rows of equal bytes may be prepared
    in two ways before they are paired.
    """
    if not (_are_read_alike(layout) and _are_prepared_alike(layout)):
        return None
    # `headers` lacks a side that is a frame. `scan_aligned` drops these columns then.
    every: Sequence[Mapping[str, str]] = ({}, layout.new_names)
    compared = {*layout.keys, *layout.columns}
    return [
        _side_columns(header, renames, compared, layout.keys)
        for header, renames in zip(headers, every, strict=False)
    ]


def columns_to_fold(
    headers: Sequence[Header], layout: Alignment
) -> list[SideColumns] | None:
    """What the kernel does with the columns of both files if rows are folded.

    None if bytes and plain numbers do not decide which rows are equal then, as
    `columns_by_bytes`: also if a column that is added up has a rule but `decimal`.
    """
    folds = [side.fold for side in layout.prepared]
    if not any(folds) or any(side.places for side in layout.prepared):
        return None
    counts = {name for side in layout.prepared for name in side.new_names}
    # In one order: the kernel pairs the numbers of both sides by their places.
    sums = sorted({name for side in layout.prepared for name in side.sums} - counts)
    numbers = [layout.rules[n] for n in (*sums, *counts) if n in layout.rules]
    if not _are_read_alike(layout) or not all(
        are_plain_numbers(chain.of(side)) for chain in numbers for side in SIDES
    ):
        return None
    counted = not counts.isdisjoint(layout.columns)
    digested = {*layout.keys, *layout.columns} - counts - {*sums}
    every: Sequence[Mapping[str, str]] = ({}, layout.new_names)
    found = []
    for header, renames, its in zip(headers, every, layout.prepared, strict=False):
        names = [renames.get(name, name) for name in header.columns]
        folding = Folding(
            folds=its.fold,
            sums=[names.index(name) for name in sums],
            added=[name in its.sums for name in sums],
            counted=counted,
        )
        side = _side_columns(header, renames, digested, layout.keys)
        found.append(replace(side, folding=folding))
    return found


def _are_read_alike(layout: Alignment) -> bool:
    """Whether keys of equal bytes are equal, no others, and so are other cells."""
    has_rules = any(key in layout.rules for key in layout.keys)
    return not has_rules and all(chain.is_reflexive for chain in layout.rules.values())


def _are_prepared_alike(layout: Alignment) -> bool:
    """Whether rows of equal bytes have equal derived columns, and the same place.

    Where that is so, a place is found for each row that the kernel has matched.
    """
    old, new = layout.prepared
    known = {*layout.keys, *layout.columns}
    steps = [[each.derivation for each in side.derived] for side in (old, new)]
    # `judged` of OLD is that of NEW, since both derive alike and neither has a filter
    # of its own. A key has to be in the file: the kernel derives nothing.
    return not (
        old.either_folds
        or any(side.own or side.codes for side in (old, new))
        or steps[0] != steps[1]
        or not known.issuperset(old.judged)
        or not {*layout.keys}.isdisjoint(old.new_names)
    )


def columns_to_digest(
    headers: Sequence[Header], layout: Alignment
) -> list[SideColumns] | None:
    """What the kernel digests, where more than bytes decides which rows are equal.

    The columns that are compared, and that both files have. None if there are none, or
    if rows are folded: only their cells decide then.
    """
    derived = {name for side in layout.prepared for name in side.new_names}
    shared = [n for n in (*layout.keys, *layout.columns) if n not in derived]
    if not shared or any(side.either_folds for side in layout.prepared):
        return None
    # The kernel digests no row without a key; that of the rows is taken elsewhere.
    return [
        _side_columns(header, renames, {*shared}, shared[:1], sample_every=0)
        for header, renames in zip(headers, ({}, layout.new_names), strict=True)
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
    # A budget that is too small for digests is no error here: without them the rows of
    # the key are found by parsing all.
    except (ReconError, KernelRefusal):
        pass
    return start_validation(sides)


def _side_columns(
    header: Header,
    renames: Mapping[str, str],
    compared: AbstractSet[str],
    keys: Sequence[str],
    *,
    sample_every: int | None = None,
) -> SideColumns:
    names = [renames.get(name, name) for name in header.columns]
    if sample_every is None:
        sample_every = sampling_rate(header.expected_rows)
    return SideColumns(
        compared=[name if name in compared else None for name in names],
        keys=[names.index(key) for key in keys],
        sample_every=sample_every,
    )


def _are_filtered_alike(options: Options, layout: Alignment) -> bool:
    """Whether rows are filtered alike, by columns that are compared, and not folded.

    A column that a filter calls by another name than the result does is not found.
    """
    sides = options.old, options.new
    if any(side.where or side.fold for side in sides):
        return False
    tested = {condition.column for condition in parse_where(options.where)}
    return tested <= {*layout.keys, *layout.columns}


def _without_filters(options: Options) -> Options:
    """The same without filters, whose values are read with Polars.

    They decide on no column that is compared.
    """
    old, new = (replace(options.side(side), where="") for side in SIDES)
    return replace(options, where="", old=old, new=new)


def _refuse_to_measure(*_: object) -> Any:
    raise _Undecided
