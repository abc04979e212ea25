"""The entry point of the image: the arguments of the original, or a command.

`--inbound-s3 …` and `run.py --inbound-s3 …` are `recon run`; all else is what it would
be after `recon`.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Final

from recon_cli.entry import main


GLOBAL_OPTIONS: Final = ("--help", "-h", "--version", "--debug")


def recon_arguments(given: list[str]) -> list[str]:
    """What `recon` is given."""
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
