"""A search for files on which a reader and the reference of frames disagree.

    PYTHONPATH=tests python campaigns/fuzz_frames.py [--inputs N] [--first SEED]

Each seed makes a file with a frame around its table (`tests/support/framed.py`). The
reference, the reader in Python, the native kernel and the splits of a cluster read it.
The first seed on which they disagree ends the search with exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from support.frame_reference import Frame, read_framed
from support.framed import by_kernel, by_numpy, in_splits, make_case, rows_alone

from recon_engine.inputs import csv_reader


PLAIN = Frame()
BLOCKS = (1, 7, 64, 1 << 18)


def judge(seed: int, path: Path) -> tuple[Frame, bool, bool]:
    """The frame of a seed, whether it is accepted, and whether all readers agree."""
    data, frame = make_case(seed)
    path.write_bytes(data)
    expected = read_framed(data, frame)
    csv_reader.BLOCK_BYTES = BLOCKS[seed % len(BLOCKS)]  # type: ignore[misc]
    agree = by_numpy(path, frame) == expected == by_kernel(path, frame)
    splits = in_splits(1 + seed % 13)
    agree = agree and splits(path, frame) == rows_alone(expected)
    return frame, expected is not None, agree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    used, accepted, began = Counter[str](), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.csv"
        for seed in range(arguments.first, arguments.first + arguments.inputs):
            frame, accepts, agree = judge(seed, path)
            accepted += accepts
            used.update(
                field.name
                for field in dataclasses.fields(frame)
                if getattr(frame, field.name) != getattr(PLAIN, field.name)
            )
            if not agree:
                print(f"seed {seed}: the readers disagree: {frame}")
                return 1
    seconds = time.monotonic() - began
    print(f"{arguments.inputs:,} files, {accepted:,} accepted, {seconds:,.0f} s")
    for name, count in sorted(used.items()):
        print(f"  {name}: {count:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
