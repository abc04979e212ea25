"""Compile the kernel with a C compiler that comes as a wheel.

    python recon_engine/native/build.py [--target zig-target] [--output path]

It imports nothing of this package: the build hook runs it before there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final


FOLDER: Final = Path(__file__).parent
SOURCE: Final = FOLDER / "kernel.c"
LIBRARY: Final = FOLDER / "_kernel.so"
FLAGS: Final = (
    "-std=gnu11",
    "-O3",
    "-s",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
)
# Of each wheel: its platform tag and the target of the compiler. glibc 2.17 is the
# oldest that manylinux knows; a wheel for it runs on all later ones.
TARGETS: Final = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "macosx_13_0_x86_64": "x86_64-macos.13.0",
    "macosx_13_0_arm64": "aarch64-macos.13.0",
}


def source_hash() -> str:
    """What a library says that was made from this source."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def version() -> str:
    """The version of the package, which a library is made for."""
    text = (FOLDER.parent / "version.py").read_text()
    found = re.search(r'__version__ = "(.*)"', text)
    assert found is not None  # noqa: S101 - the file is ours
    return found[1]


def compile_kernel(
    output: Path = LIBRARY, target: str | None = None, extra: tuple[str, ...] = ()
) -> None:
    """Make the library; without a target for this machine, and any CPU of its kind.

    Raises OSError and CalledProcessError.
    """
    macros = [f'-DVERSION="{version()}"', f'-DSOURCE="{source_hash()}"']
    # Without either, zig compiles for the very CPU it runs on.
    kind = ["-target", target] if target else ["-mcpu=baseline"]
    made = output.with_name(f"{output.name}.{os.getpid()}")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *kind, *macros, *extra]
    try:
        subprocess.run([*command, str(SOURCE), "-o", str(made)], check=True)
        # A process that has the old library mapped keeps it.
        made.replace(output)
    finally:
        made.unlink(missing_ok=True)


def main() -> None:
    """Compile as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target")
    parser.add_argument("--output", type=Path, default=LIBRARY)
    parser.add_argument("extra", nargs="*")
    given = parser.parse_args()
    compile_kernel(given.output, given.target, tuple(given.extra))


if __name__ == "__main__":
    main()
