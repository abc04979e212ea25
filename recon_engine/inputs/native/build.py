"""Compile the native kernel with a C compiler that is installed as a wheel.

    python recon_engine/inputs/native/build.py [--target zig-target] [--output path]

It imports nothing of this package: the build hook runs it before the installation.
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
    # Vectors of two sums, that are taken apart again to multiply, slow digests down.
    "-fno-slp-vectorize",
    "-s",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
)
# For each wheel its platform tag and the target of the compiler. manylinux accepts no
# glibc before 2.17; a library for 2.17 runs with all later ones.
TARGETS: Final = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "macosx_13_0_x86_64": "x86_64-macos.13.0",
    "macosx_13_0_arm64": "aarch64-macos.13.0",
}


def source_hash() -> str:
    """The SHA-256 of the source, which a library compiled from it returns."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def package_version() -> str:
    """The version of the package, which a library compiled for it returns."""
    text = (FOLDER.parents[1] / "version.py").read_text()
    found = re.search(r'__version__ = "(.*)"', text)
    assert found is not None  # noqa: S101 - the file is ours
    return found[1]


def compile_kernel(
    output: Path = LIBRARY, target: str | None = None, extra: tuple[str, ...] = ()
) -> None:
    """Compile the library.

    Without a `target` it is for this platform, and for any CPU of its architecture.
    Raises OSError and CalledProcessError.
    """
    macros = [f'-DVERSION="{package_version()}"', f'-DSOURCE="{source_hash()}"']
    # Without either option, zig compiles for the CPU that it runs on.
    kind = ["-target", target] if target else ["-mcpu=baseline"]
    part = output.with_name(f"{output.name}.{os.getpid()}")
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *kind, *macros, *extra]
    try:
        subprocess.run([*command, str(SOURCE), "-o", str(part)], check=True)
        # A rename: a process that has mapped the old library keeps it.
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    """Compile as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target")
    parser.add_argument("--output", type=Path, default=LIBRARY)
    parser.add_argument("extra", nargs="*")
    arguments = parser.parse_args()
    compile_kernel(arguments.output, arguments.target, tuple(arguments.extra))


if __name__ == "__main__":
    main()
