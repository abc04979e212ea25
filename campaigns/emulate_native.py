"""The native kernel for ARM, run by emulation, beside the one of this machine.

    PYTHONPATH=tests python campaigns/emulate_native.py [--inputs 20000] [--seed N]

Both are the same driver, `native_driver.c`, made by zig; the one for ARM runs in
`qemu-aarch64` (on Debian the package `qemu-user`). Every fact and every digest of the
inputs of `fuzz_native.py` has to be the same.
"""

from __future__ import annotations

import argparse
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from fuzz_native import made


DRIVER: Final = Path(__file__).parents[1] / "tests/support/native_driver.c"
TARGETS: Final = {"x86-64": "x86_64-linux-musl", "ARM": "aarch64-linux-musl"}


def written(path: Path, inputs: int, chance: random.Random) -> None:
    """Write inputs as the driver reads them."""
    with path.open("wb") as stream:
        for _ in range(inputs):
            data, asked = made(chance)
            words = [
                asked.delimiter,
                asked.width,
                len(asked.keys),
                len(asked.order),
                asked.limits.field_bytes,
                asked.limits.field_lines,
                len(data),
                chance.randrange(len(data) + 1),
                *asked.keys,
                *asked.order,
            ]
            stream.write(struct.pack(f"<{len(words)}I", *words) + data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        sys.exit("qemu-aarch64 is not on this machine")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = folder / "inputs"
        written(inputs, given.inputs, random.Random(given.seed))
        said = {}
        for machine, target in TARGETS.items():
            program = folder / target
            zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
            flags = ["-O3", "-std=gnu11", "-static", "-Wno-psabi", "-o", str(program)]
            subprocess.run([*zig, *flags, str(DRIVER)], check=True)
            run = [emulator] if machine == "ARM" else []
            said[machine] = subprocess.run(
                [*run, str(program), str(inputs)], check=True, capture_output=True
            ).stdout
    lines = said["ARM"].count(b"\n")
    if said["ARM"] != said["x86-64"] or lines != given.inputs:
        sys.exit(f"seed {given.seed}: ARM and x86-64 disagree")
    print(f"seed {given.seed}: {lines:,} inputs, on ARM as on x86-64")


if __name__ == "__main__":
    main()
