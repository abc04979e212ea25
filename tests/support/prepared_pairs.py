"""Pairs of files that are prepared before rows are paired, and what is said of them."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support import pairing_oracle
from support.compared_pairs import rows_of
from support.pairing_oracle import Places, Prepared
from support.spark_cluster import InProcess
from support.suppressed_pairs import DAY

from recon_engine.compare.early_scan import begin_scan
from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.config import AS_DEFAULT, LIMITS, SideOptions
from recon_engine.inputs import scanned
from recon_engine.inputs.opening import open_input
from recon_engine.model import SIDES
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.memory import BASE_BYTES, Budget
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine import Reconciliation
    from recon_engine.compare.lookup import Ask
    from recon_engine.config import Options


def write_table(
    path: Path,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    bad: int = 0,
    frame: SideOptions = AS_DEFAULT,
) -> Path:
    """A file with all fields in quotes, and some malformed rows at its end.

    `frame`: what is around the table.
    """
    every = rows if frame.no_header else (names, *rows)
    lines = [",".join(f'"{text}"' for text in line) for line in every]
    if frame.trailing_delimiter:
        lines = [f"{line}," for line in lines]
    lines += ["x" + ",y" * len(names)] * bad
    title = ["a title, with a comma"] * frame.skip_lines
    trailer = [f"TRL,{len(rows) + bad}"] if frame.trailers else []
    text = "\n".join([*title, *lines, *trailer]) + "\n"
    path.write_text(text + "\x1a" * frame.eof_mark)
    return path


def draw_frames(names: Sequence[str]) -> list[SideOptions]:
    """Frames of a file with these columns."""
    return [
        SideOptions(),
        SideOptions(skip_lines=2, eof_mark=True),
        SideOptions(trailers=("TRL",), trailer_counts=("2",)),
        SideOptions(trailing_delimiter=True, skip_lines=1),
        SideOptions(no_header=True, names=tuple(names), trailers=("TRL",)),
    ]


def expression(tests: tuple[pairing_oracle.Test, ...]) -> str:
    """Tests as a user writes them."""

    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    return " and ".join(
        f"{name} in ({', '.join(map(quoted, values))})"
        if comparison == "in"
        else f'"{name}"{comparison} {quoted(values[0])}'
        for name, comparison, values in tests
    )


def said(d: Reconciliation, columns: list[str]) -> Prepared:
    """A result in the terms of the oracle; it has neither gates nor suppressions."""
    assert d.passes == d.agrees
    everything = [*d.keys, *columns]
    old, new = (
        Places(
            side.rows - side.rejected,
            side.left_out,
            side.partner_left_out,
            side.folded_away,
            side.unpairable,
        )
        for side in (d.old, d.new)
    )
    steps: Counter[str] = Counter()
    made_equal: Counter[tuple[str, int]] = Counter()
    for rule in d.rules:
        made_equal[rule.column, steps[rule.column]] = rule.made_equal
        steps[rule.column] += 1
    return Prepared(
        matched=d.counts.matched,
        tolerated_keys=d.counts.tolerated_keys,
        made_equal=made_equal,
        codes={each.column: each.codes[:3] for each in d.rules if each.codes},
        missing=rows_of(d.missing(), everything),
        extra=rows_of(d.extra(), everything),
        cells=Counter(
            (tuple(row["key"].values()), row["column"], row["old"], row["new"])
            for row in d.frames.mismatches.to_dicts()
        ),
        old=old,
        new=new,
    )


def is_emptied(places: Places) -> bool:
    return 0 < places.rows == places.left_out


def has_unreadable(
    plans: Sequence[pairing_oracle.SidePlan], chains: pairing_oracle.Chains
) -> bool:
    """Whether a filter has a value that the rules of its side cannot read."""
    return any(
        pairing_oracle.holds({name: value}, (name, comparison, (value,)), chains, side)
        is None
        for side, plan in zip(SIDES, plans, strict=True)
        for name, comparison, values in (*plan.own, *plan.both)
        for value in values
    )


def compare_by(
    how: str, paths: tuple[Path, Path], options: Options, ask: Ask | None = None
) -> Reconciliation:
    """Compare two files: in memory, on disk, in pieces of a bucket, on Spark.

    "kernel": as by default, where the native kernel reads what it can. `ask`: for the
    keys of open breaks, but not on Spark.
    """
    ours, theirs = (
        open_input(
            path,
            uri=str(path),
            side=side,
            options=options,
            limits=LIMITS,
            folder=path.parent,
        )
        for side, path in zip(SIDES, paths, strict=True)
    )
    headers = ours, theirs
    if how == "spark":
        return compare_on_cluster(
            headers,
            (LocalSource.of(headers[0]), LocalSource.of(headers[1])),
            options,
            DAY,
            cluster=InProcess(),
            settings=SparkSettings(span=40, bucket=40, sha256=False),
        )
    with pytest.MonkeyPatch.context() as patch:
        if how == "pieces":
            patch.setattr(Budget, "pieces", lambda *_: 3)
        patch.setattr(scanned, "RANGE_ROWS", 3)
        in_memory = how in {"memory", "kernel"}
        budget = None if in_memory else Budget(BASE_BYTES + 20_000)
        buckets = {"memory": 1, "kernel": None}.get(how, 3)
        with ExitStack() as stack:
            stack.enter_context(start_no_threads_if_small(0))
            scanning = None
            if how == "kernel":
                scanning = begin_scan(*headers, options, budget)
                if scanning is not None:
                    stack.callback(scanning.close)
            read = read_tables(
                *headers, options, buckets=buckets, budget=budget, scanning=scanning
            )
            return compare_tables(stack.enter_context(read), DAY, ask=ask)
