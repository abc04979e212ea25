"""The entry point of the image.

`--inbound-s3 …` and `run.py --inbound-s3 …` mean `recon run`; all other arguments are
those of `recon`.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Final

from recon_cli.entry import main


GLOBAL_OPTIONS: Final = ("--help", "-h", "--version", "--debug")


def recon_arguments(given: list[str]) -> list[str]:
    """The arguments of `recon` for the arguments of the container."""
    names = [PurePath(each).name for each in given]
    match names[:2]:
        case ["run.py", *_]:
            return ["run", *given[1:]]
        case ["python" | "python3", "run.py"]:
            return ["run", *given[2:]]
        case ["recon", *_]:
            return given[1:]
        case [first, *_] if first.startswith("-") and first not in GLOBAL_OPTIONS:
            return ["run", *given]
        case _:
            return given


if __name__ == "__main__":
    sys.argv[1:] = recon_arguments(sys.argv[1:])
    main()
