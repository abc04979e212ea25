"""The Python API: `recon_engine.diff`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from recon_engine.border import only_ours
from recon_engine.config import (
    EngineName,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    parse_encodings,
)
from recon_engine.errors import ConfigError
from recon_engine.header import Header, open_input
from recon_engine.memory import Budget, parse_budget
from recon_engine.model import SIDES
from recon_engine.parallel import in_order
from recon_engine.progress import SILENT, Progress
from recon_engine.rfc4180 import LIMITS, Limits
from recon_engine.scanning import begin
from recon_engine.spool import is_text
from recon_engine.storage import disk_errors, local_path


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from recon_engine.digest import Unread
    from recon_engine.model import Suppression
    from recon_engine.reconciliation import Reconciliation
    from recon_engine.sources import Source


Policy = TypeVar("Policy", bound=StrEnum)


def diff(
    old: object,
    new: object,
    /,
    *,
    keys: str | Sequence[str],
    ignore: str | Sequence[str] = (),
    renames: Mapping[str, str] | None = None,
    rules: Mapping[str, str | Sequence[str]] | None = None,
    masks: Mapping[str, str] | None = None,
    on_duplicate_keys: str = "pair",
    on_schema_drift: str = "refuse",
    on_bad_row: str = "fail",
    delimiter: str = ",",
    encoding: str = "utf-8",
    detail_limit: int = 5000,
    memory_budget: str | None = None,
    max_field_bytes: int = LIMITS.field_bytes,
    max_field_lines: int = LIMITS.field_lines,
    max_ratio: int = LIMITS.ratio,
    gates: str | Sequence[str] = (),
    suppressions: Sequence[Suppression] = (),
    today: date | None = None,
    engine: str = "local",
    sha256: bool = False,
) -> Reconciliation:
    """Reconcile two tables by `keys`; all values are text, nothing is inferred.

    `old`, `new`: a path, an `s3://` URL, a polars frame, or anything with
    `__arrow_c_stream__`; neither is changed. A file named `.gz` or `.zst` is unpacked.
    `renames` maps names in OLD to names in NEW. `rules` says by column what else is
    equal: `{"PAID": "decimal", "*": "trim"}`. `masks` says what is shown of a column:
    `{"MEMBER_ID": "hmac", "NAME": "redact", "PHONE": "last4"}`; hmac takes its key from
    $RECON_MASK_KEY or the file $RECON_MASK_KEY_FILE. `encoding`, such as "cp1252", is
    of both files, "cp1252:utf-8" of one each. `memory_budget`, such as "2GiB", is 60%
    of what there is by default. `max_ratio`: how many times its size a compressed file
    may unpack to. `gates`, such as "mismatch_rate(PAID)<=0.1%", and `suppressions` say
    what `passes`; `today` is the day on which the latter may have expired, in UTC.
    `engine`: "spark" does it on a cluster (docs/spark.md). `sha256`: take it of plain
    files, which costs as much as reading them. Raises a ReconError, which
    says what, where, why and how to mend it.
    """
    options = Options(
        keys=_names(keys),
        ignore=_names(ignore),
        renames=dict(renames or {}),
        rules={name: _names(each) for name, each in (rules or {}).items()},
        masks=dict(masks or {}),
        on_duplicate_keys=_policy(OnDuplicateKeys, on_duplicate_keys),
        on_schema_drift=_policy(OnSchemaDrift, on_schema_drift),
        on_bad_row=_policy(OnBadRow, on_bad_row),
        delimiter=delimiter,
        encodings=parse_encodings(encoding),
        detail_limit=detail_limit,
        gates=_names(gates),
        suppressions=tuple(suppressions),
    )
    budget = parse_budget(memory_budget) if memory_budget else None
    limits = Limits(max_field_bytes, max_field_lines, max_ratio)
    return compare(
        old,
        new,
        options,
        budget=budget,
        limits=limits,
        today=today,
        engine=_policy(EngineName, engine),
        sha256=sha256,
    )


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _policy(policy: type[Policy], given: str) -> Policy:
    if given not in set(policy):
        raise ConfigError(
            f"{given} is none of " + ", ".join(policy), help=policy.__doc__
        )
    return policy(given)


@only_ours
def compare(
    old: object,
    new: object,
    options: Options,
    progress: Progress = SILENT,
    *,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
    today: date | None = None,
    engine: EngineName = EngineName.LOCAL,
    sha256: bool = True,
) -> Reconciliation:
    """`diff` with its options as one value, and someone to watch."""
    with ExitStack() as stack:
        if engine is EngineName.SPARK:
            result = _on_spark(old, new, options, limits, stack, progress)
        else:
            left, right = in_order(
                lambda side: unread(*side, options, limits, stack, progress),
                zip((old, new), SIDES, strict=True),
            )
            left, right = (
                replace(side, hashes=sha256) if isinstance(side, Header) else side
                for side in (left, right)
            )
            begun = begin((left, right), options, budget)
            if begun is not None:
                stack.callback(begun.close)
            # Both files are read while these are imported.
            from recon_engine.reconcile import read, reconcile

            reading = read(left, right, options, progress, budget=budget, begun=begun)
            result = reconcile(stack.enter_context(reading), progress)
    from recon_engine.judgement import judged

    return judged(result, options, today or datetime.now(UTC).date())


def _on_spark(
    old: object,
    new: object,
    options: Options,
    limits: Limits,
    stack: ExitStack,
    progress: Progress,
) -> Reconciliation:
    """Inputs stay where they are; each task reads its own part of them."""
    from recon_engine.spark import driver

    (left, left_source), (right, right_source) = (
        _input(source, name, options, limits, stack, progress)
        for source, name in zip((old, new), SIDES, strict=True)
    )
    sources = left_source, right_source
    return driver.compare((left, right), sources, options, progress)


def _input(
    source: object,
    name: str,
    options: Options,
    limits: Limits,
    stack: ExitStack,
    progress: Progress,
) -> tuple[Header, Source]:
    """A header, and what any machine can read the rows from."""
    from recon_engine.sources import LocalSource, ObjectSource

    uri = str(source)
    if uri.startswith("s3:") and is_text(uri, options.encoding_of(name)):
        pinned = ObjectSource.of(uri)
        return pinned.header(name, options, limits), pinned
    found = unread(source, name, options, limits, stack, progress)
    if not isinstance(found, Header):
        raise ConfigError(
            f"{name} is a frame in memory, and the engine is spark",
            help="give files, or leave frames to the local engine",
        )
    return found, LocalSource.of(found)


def unread(
    source: object,
    name: str,
    options: Options,
    limits: Limits,
    stack: ExitStack,
    progress: Progress,
) -> Unread:
    """One side with its header read; what it takes on disk is `stack`'s to remove."""
    if not isinstance(source, str | Path):
        from recon_engine.frames import frame

        return frame(source, name)
    uri, folder = str(source), Path()
    remote = uri.startswith("s3:")
    if remote or not is_text(uri, options.encoding_of(name)):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recon-")))
    if remote:
        from recon_engine.storage import fetch_one

        with progress.step(f"fetch {name}", unit="bytes") as advance:
            path = fetch_one(uri, folder / "fetched", advance)
    else:
        path = local_path(uri)
    with disk_errors(uri):
        if not path.is_file():
            raise ConfigError(
                "it is not a file" if path.exists() else "there is no such file",
                file=uri,
                help="give the path of a CSV file",
            )
        return open_input(
            path,
            uri=uri,
            side=name,
            options=options,
            limits=limits,
            folder=folder,
            progress=progress,
        )
