"""`python run.py --inbound-s3 … --dataset … --keys …`, as in the original project."""

from __future__ import annotations

import sys
from pathlib import Path


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here / "cli")]

    from recon_cli.entry import run_as_in_the_original

    run_as_in_the_original()
