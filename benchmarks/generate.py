"""Seeded pairs of CSV files of any size: the same files for the same arguments.

    python benchmarks/generate.py FOLDER --shape beneficiary --rows 2000000

Shapes: `narrow` 8 columns, `beneficiary` 32 (after CMS's SynPUF beneficiary summary),
`inpatient` 81. NEW is OLD shuffled, with 0.5% of the rows missing, 0.5% extra, and in a
share `--changed` of the rows one cell that differs. The counts to expect are in
`expected.json` beside the files.

With `--systems` the two files are of 40 columns, as two systems write them
(`two_systems.py`): every row differs in spelling.

With `--repeated` the two files are of one key and three columns, and have the same
rows: `key` all unlike and NEW shuffled, `row` all alike.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from drawn_rows import draw_rows, mix_bits
from two_systems import generate_systems


if TYPE_CHECKING:
    from collections.abc import Callable


SHAPES: Final = {"narrow": 8, "beneficiary": 32, "inpatient": 81}
CHUNK: Final = 500_000
KEY: Final = "DESYNPUF_ID"


def generate(
    folder: Path,
    *,
    shape: str = "beneficiary",
    rows: int = 2_000_000,
    changed: float = 0.01,
    shuffled: bool = True,
    quoted: bool = False,
    seed: int = 2026,
) -> dict[str, int]:
    """Write `claims_old.csv`, `claims_NEWSYSTEM.csv`, `expected.json`; the counts."""
    folder.mkdir(parents=True, exist_ok=True)
    width = SHAPES[shape]
    drawn = draw_rows(rows, changed, seed, shuffled=shuffled)
    _write(folder / "claims_old.csv", np.arange(rows), None, width, quoted=quoted)
    new = folder / "claims_NEWSYSTEM.csv"
    _write(new, drawn.numbers, drawn.marks, width, quoted=quoted)
    return drawn.write_expected(folder)


def generate_repeated(folder: Path, *, rows: int, of: str, seed: int) -> dict[str, int]:
    """Write a pair of one key, of which all rows have a partner; the counts."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(rows) if of == "key" else np.zeros(rows, np.int64)
    for side in ("old", "NEWSYSTEM"):
        frame = pl.DataFrame({KEY: "K", "PAID": numbers, "NOTE": "n"})
        frame.write_csv(folder / f"claims_{side}.csv")
        np.random.default_rng(seed).shuffle(numbers)
    expected = {"rows_old": rows, "rows_new": rows, "matched": rows}
    expected |= {"missing": 0, "extra": 0, "mismatched_rows": 0}
    (folder / "expected.json").write_text(json.dumps(expected, indent=2))
    return expected


def _write(
    path: Path,
    numbers: np.ndarray,
    marks: np.ndarray | None,
    width: int,
    *,
    quoted: bool,
) -> None:
    with path.open("wb") as stream:
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            frame = _rows(part, marks[part] if marks is not None else None, width)
            frame.write_csv(
                stream,
                include_header=start == 0,
                quote_style="always" if quoted else "necessary",
            )


def _rows(numbers: np.ndarray, marks: np.ndarray | None, width: int) -> pl.DataFrame:
    """Rows by their numbers: each cell is a function of row number and column."""
    row = pl.Series("n", numbers.astype(np.uint64))
    columns = {KEY: _key(row)}
    for at in range(1, width):
        mixed = mix_bits(numbers, at)
        columns[f"C{at:02}_{KINDS[at % len(KINDS)][0]}"] = KINDS[at % len(KINDS)][1](
            mixed
        )
    frame = pl.DataFrame(columns)
    return frame if marks is None else _changed(frame, numbers, marks)


def _changed(
    frame: pl.DataFrame, numbers: np.ndarray, marks: np.ndarray
) -> pl.DataFrame:
    """Append a digit to one cell of each marked row; the row number says which."""
    names = frame.columns[1:]
    which = pl.Series(mix_bits(numbers, 0) % np.uint64(len(names)))
    mark = pl.Series(marks)
    return frame.with_columns(
        pl.when(mark & (which == at))
        .then(pl.col(name).fill_null("") + "7")
        .otherwise(name)
        .alias(name)
        for at, name in enumerate(names)
    )


def _key(row: pl.Series) -> pl.Series:
    return (row * 7919 % 10_000_000_019).cast(pl.String).str.zfill(16)


def _text(values: np.ndarray) -> pl.Series:
    return pl.Series(values).cast(pl.String)


def _money(values: np.ndarray) -> pl.Series:
    """Mostly nothing, else an amount, as in the yearly totals of a beneficiary."""
    amount = _text(values % np.uint64(9_000)) + ".00"
    return pl.select(
        pl.when(pl.Series(values % np.uint64(3) == 0))
        .then(amount)
        .otherwise(pl.lit("0.00"))
    ).to_series()


# The mix of SynPUF: flags and codes of one or two characters, some dates, amounts.
KINDS: Final[tuple[tuple[str, Callable[[np.ndarray], pl.Series]], ...]] = (
    ("AMT", _money),
    ("DT", lambda v: _text(np.uint64(20_200_101) + v % np.uint64(28))),
    ("CD", lambda v: _text(v % np.uint64(100)).str.zfill(2)),
    ("FLAG", lambda v: _text(v % np.uint64(2) + np.uint64(1))),
    ("CNT", lambda v: _text(v % np.uint64(12))),
    ("SEX", lambda v: _text(v % np.uint64(2) + np.uint64(1))),
    ("BLANK", lambda v: pl.Series([None], dtype=pl.String).new_from_index(0, len(v))),
    ("FLAG", lambda v: _text(v % np.uint64(2) + np.uint64(1))),
)


def main() -> None:
    """Take the arguments, write the pair, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="beneficiary")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--changed", type=float, default=0.01)
    parser.add_argument("--in-order", action="store_true")
    parser.add_argument("--quoted", action="store_true")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--repeated", choices=("key", "row"))
    parser.add_argument("--systems", action="store_true")
    given = parser.parse_args()
    if given.systems:
        counts = generate_systems(
            given.folder,
            rows=given.rows,
            changed=given.changed,
            shuffled=not given.in_order,
            seed=given.seed,
        )
        print(json.dumps(counts))
        return
    if given.repeated:
        facts = {"rows": given.rows, "of": given.repeated, "seed": given.seed}
        print(json.dumps(generate_repeated(given.folder, **facts)))
        return
    counts = generate(
        given.folder,
        shape=given.shape,
        rows=given.rows,
        changed=given.changed,
        shuffled=not given.in_order,
        quoted=given.quoted,
        seed=given.seed,
    )
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
