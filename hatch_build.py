"""Build the native kernel into the wheel, or a wheel of Python alone.

`RECON_NATIVE=0` builds without the kernel, `RECON_NATIVE=required` fails where it
cannot be compiled; by default that is a warning. `RECON_WHEEL` is the platform tag of a
wheel for another machine (`make wheels`).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


ZIGLANG = "ziglang==0.17.1"
# Where the compiler comes as a wheel. Elsewhere nothing is required, and nothing built.
MACHINES = {
    "linux": {"x86_64", "aarch64"},
    "darwin": {"x86_64", "arm64"},
}


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles before the wheel is packed; an editable one too."""

    def dependencies(self) -> list[str]:
        """The compiler, where it is wanted and is to be had."""
        return [ZIGLANG] if self.target_name == "wheel" and _wanted() else []

    def initialize(
        self,
        version: str,
        build_data: dict[str, Any],
    ) -> None:
        """Compile, and tell what platform the wheel is for."""
        del version
        if self.target_name != "wheel" or not _wanted():
            return
        build = _module(Path(self.root, "recon_engine/native/build.py"))
        platform = os.environ.get("RECON_WHEEL")
        build.LIBRARY.unlink(missing_ok=True)
        try:
            target = build.TARGETS[platform] if platform else None
            build.compile_kernel(target=target)
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("RECON_NATIVE") == "required":
                raise
            self.app.display_warning(f"a wheel without the native kernel: {error}")
            return
        tag = platform or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{tag}"
        build_data["pure_python"] = False
        build_data["artifacts"].append("/recon_engine/native/_kernel.so")


def _wanted() -> bool:
    here = sysconfig.get_platform().rpartition("-")[2]
    return os.environ.get("RECON_NATIVE") != "0" and here in MACHINES.get(
        sys.platform, set()
    )


def _module(path: Path) -> Any:
    """A module of the package, which is not installed yet."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - it is a file of ours
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
