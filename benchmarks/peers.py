"""One reconciliation by one peer: `python peers.py NAME OLD NEW KEY` prints its counts.

recon-engine also accepts a memory budget after the key, and its options as JSON after
that. `python peers.py command …` runs another program, without what it prints.

Each peer runs in a separate environment, called as its documentation shows, with all
columns as text if it has such an option. A count that a peer does not report is absent;
`bench.py` compares the others with what the generator wrote.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Callable


Counts = dict[str, int]


def recon(
    old: str, new: str, key: str, budget: str | None = None, options: str = "{}"
) -> Counts:
    """This project, everything on: gate, kinds, signatures, samples."""
    import recon_engine as rx

    more = json.loads(options)
    n = rx.diff(old, new, keys=key, memory_budget=budget or None, **more).counts
    return {
        "matched": n.matched,
        "missing": n.missing,
        "extra": n.extra,
        "mismatched_rows": n.mismatched_rows,
    }


def duckdb(old: str, new: str, key: str) -> Counts:
    """A full outer join, hand-written, all columns as text."""
    import duckdb as db

    connection = db.connect()
    source = "read_csv('{}', all_varchar=true, header=true)"
    left, right = source.format(old), source.format(new)
    described = connection.execute(f"DESCRIBE FROM {left}").fetchall()
    names = [row[0] for row in described if row[0] != key]
    both = f'o."{key}" IS NOT NULL AND n."{key}" IS NOT NULL'
    differs = " OR ".join(f'o."{name}" IS DISTINCT FROM n."{name}"' for name in names)
    columns = ", ".join(
        f'count(*) FILTER ({both} AND o."{name}" IS DISTINCT FROM n."{name}")'
        for name in names
    )
    row = connection.execute(
        f'SELECT count(*) FILTER ({both}), count(*) FILTER (n."{key}" IS NULL), '
        f'count(*) FILTER (o."{key}" IS NULL), '
        f"count(*) FILTER ({both} AND ({differs})),"
        f' {columns} FROM {left} o FULL OUTER JOIN {right} n ON o."{key}" = n."{key}"'
    ).fetchone()
    assert row is not None
    return dict(
        zip(("matched", "missing", "extra", "mismatched_rows"), row[:4], strict=True)
    )


def polars_load(old: str, new: str, key: str) -> Counts:  # noqa: ARG001 - no key
    """Not a reconciliation: only loading both files into memory as text."""
    import polars as pl

    pl.collect_all([pl.scan_csv(path, infer_schema=False) for path in (old, new)])
    return {}


def polars_load_systems(old: str, new: str, key: str) -> Counts:  # noqa: ARG001
    """The same of a pair of `two_systems.py`."""
    import polars as pl

    pl.read_csv(old, infer_schema=False, separator=";", encoding="cp1252")
    pl.read_csv(new, infer_schema=False)
    return {}


def polars_import(old: str, new: str, key: str) -> Counts:  # noqa: ARG001 - none
    """Not a reconciliation: only the import that every use of Polars begins with."""
    import polars as pl  # noqa: F401

    return {}


def kernel_scan(old: str, new: str, key: str) -> Counts:
    """Not a reconciliation: only what the native kernel does, without Polars.

    It reads and validates both files, digests their rows, and matches them.
    """
    from contextlib import ExitStack

    from recon_engine.compare.early_scan import begin_scan
    from recon_engine.config import LIMITS, Options
    from recon_engine.inputs.tables import open_side, without_hashes
    from recon_engine.runtime.progress import SILENT

    asked = Options(keys=(key,))
    with ExitStack() as stack:
        left, right = (
            without_hashes(open_side(path, side, asked, LIMITS, stack, SILENT))
            for path, side in ((old, "old"), (new, "new"))
        )
        scanning = begin_scan(left, right, asked, None)
        assert scanning is not None
        stack.callback(scanning.close)
        scanning.wait(SILENT)
    return {}


def polars_join(old: str, new: str, key: str) -> Counts:
    """A naive full join of all columns, on the streaming engine."""
    import polars as pl

    left = pl.scan_csv(old, infer_schema=False).with_columns(_o=pl.lit(True))
    right = pl.scan_csv(new, infer_schema=False).with_columns(_n=pl.lit(True))
    names = [n for n in left.collect_schema().names() if n not in {key, "_o"}]
    both = pl.col("_o") & pl.col("_n")
    differ = [pl.col(n).ne_missing(pl.col(f"{n}_new")) & both for n in names]
    row = (
        left.join(right, on=key, how="full", suffix="_new", coalesce=True)
        .select(
            matched=both.sum(),
            missing=pl.col("_n").is_null().sum(),
            extra=pl.col("_o").is_null().sum(),
            mismatched_rows=pl.any_horizontal(differ).sum(),
            **{f"c{at}": each.sum() for at, each in enumerate(differ)},
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    return {n: row[n] for n in ("matched", "missing", "extra", "mismatched_rows")}


def diffly(old: str, new: str, key: str) -> Counts:
    """Lazy frames of text."""
    import diffly as peer
    import polars as pl

    frames = [pl.scan_csv(path, infer_schema=False) for path in (old, new)]
    found = peer.compare_frames(*frames, primary_key=[key])
    found.fraction_same()
    return {
        "matched": found.num_rows_joined(),
        "missing": found.num_rows_left_only(),
        "extra": found.num_rows_right_only(),
        "mismatched_rows": found.num_rows_joined_unequal(),
    }


def datacompy(old: str, new: str, key: str) -> Counts:
    """Its Polars backend, on frames of text."""
    import polars as pl
    from datacompy import PolarsCompare

    frames = [pl.read_csv(path, infer_schema=False) for path in (old, new)]
    found = PolarsCompare(*frames, join_columns=[key])
    matched = len(found.intersect_rows)
    return {
        "matched": matched,
        "missing": len(found.df1_unq_rows),
        "extra": len(found.df2_unq_rows),
        "mismatched_rows": matched - found.count_matching_rows(),
    }


def koala_diff(old: str, new: str, key: str) -> Counts:
    """Its Rust engine; it infers types and has no option against that."""
    import koala_diff as peer

    found = peer.DataDiff([key]).compare(old, new)
    return {
        "matched": found["joined_count"],
        "missing": found["removed"],
        "extra": found["added"],
        "mismatched_rows": found["modified_rows_count"],
    }


def fastrecon(old: str, new: str, key: str) -> Counts:
    """Its defaults."""
    import fastrecon as peer

    found = peer.compare(peer.CsvFile(old), peer.CsvFile(new), keys=[key])
    return {
        "missing": _count(found.missing_in_right),
        "extra": _count(found.missing_in_left),
        "mismatched_rows": _count(found.changed_rows),
    }


def datadiffer(old: str, new: str, key: str) -> Counts:
    """Its defaults."""
    import datadiffer as peer

    rows = peer.diff(old, new, keys=[key]).to_dict()["rows"]
    return {
        "matched": rows["matched"],
        "missing": rows["removed"],
        "extra": rows["added"],
        "mismatched_rows": rows["modified"],
    }


def csv_diff(old: str, new: str, key: str) -> Counts:
    """Python dicts."""
    import csv_diff as peer

    with open(old) as left, open(new) as right:  # noqa: PTH123
        found = peer.compare(
            peer.load_csv(left, key=key), peer.load_csv(right, key=key)
        )
    return {
        "missing": len(found["removed"]),
        "extra": len(found["added"]),
        "mismatched_rows": len(found["changed"]),
    }


def compara(old: str, new: str, key: str) -> Counts:
    """Its program; the start of this interpreter, some 15 ms, is ours, not its own."""
    import re
    import subprocess
    from pathlib import Path

    program = str(Path(sys.executable).with_name("compara"))
    command = [program, "compare", old, new, "-k", key]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    names = {
        "matched": "matched",
        "missing": "removed",
        "extra": "added",
        "mismatched_rows": "changed",
    }
    found = {ours: re.search(rf"{its} ([0-9,]+)", said) for ours, its in names.items()}
    return {
        ours: int(count[1].replace(",", ""))
        for ours, count in found.items()
        if count is not None
    }


def command(*given: str) -> Counts:
    """A program, which must not fail; a difference is no failure."""
    import subprocess

    ended = subprocess.run(given, check=False, stdout=subprocess.DEVNULL)
    if ended.returncode not in {0, 1}:
        sys.exit(ended.returncode)
    return {}


def _count(found: Any) -> int:
    return found if isinstance(found, int) else len(found)


PEERS: Final[dict[str, Callable[..., Counts]]] = {
    "recon-engine": recon,
    "duckdb": duckdb,
    "polars-import": polars_import,
    "kernel-scan": kernel_scan,
    "polars-load": polars_load,
    "polars-load-systems": polars_load_systems,
    "polars-join": polars_join,
    "diffly": diffly,
    "datacompy": datacompy,
    "koala-diff": koala_diff,
    "fastrecon": fastrecon,
    "datadiffer": datadiffer,
    "csv-diff": csv_diff,
    "compara": compara,
    "command": command,
}


if __name__ == "__main__":
    print(json.dumps(PEERS[sys.argv[1]](*sys.argv[2:])))
