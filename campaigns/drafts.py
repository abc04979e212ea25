"""A search for pairs of files of which `recon init` hides a difference, or adds one.

    PYTHONPATH=tests python campaigns/drafts.py [--pairs N] [--first SEED] [--minutes M]

Each seed draws how two systems write the same rows (`tests/support/unknown_pairs.py`),
and what differs. `recon init --yes` and `recon diff` have to show exactly these
differences. Seeds from 1,000 on also have files of a fixed width, and keys that are
joined without a separator; from 2,000 on, keys that are integers in one file and floats
(`70013.0`) in the other. The seeds for which they do not are printed; exit code 1 if
there are any.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

from support.unknown_pairs import STYLES, compare_with_truth, write_pair


SIZES = (200, 600, 1_500)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--first", type=int, default=len(STYLES))
    parser.add_argument("--minutes", type=float, default=math.inf)
    arguments = parser.parse_args()
    planted_in_all = wrong_pairs = pairs = 0
    began = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.pairs):
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        pairs += 1
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            style, planted = write_pair(folder, seed, SIZES[seed % len(SIZES)])
            wrong = compare_with_truth(folder, style, planted)
        planted_in_all += sum(map(len, vars(planted).values()))
        if wrong:
            wrong_pairs += 1
            print(f"seed {seed}: {style}", *wrong, sep="\n  ")
    seconds = time.monotonic() - began
    print(
        f"{pairs:,} pairs with {planted_in_all:,} planted differences:"
        f" {wrong_pairs:,} are not shown exactly, {seconds:,.0f} s"
    )
    return 1 if wrong_pairs else 0


if __name__ == "__main__":
    sys.exit(main())
