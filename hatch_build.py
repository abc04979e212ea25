"""Compile the native kernel into the wheel, also into an editable one.

`RECON_NATIVE=0` builds a wheel without the kernel. `RECON_NATIVE=required` fails if it
cannot be compiled; by default that is a warning. `RECON_WHEEL` is the platform tag of a
wheel for another platform (`make wheels`). On a platform that the compiler is no wheel
for, nothing is compiled.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.requirements import Requirement


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the kernel before a wheel is packed."""

    def dependencies(self) -> list[str]:
        """The compiler, if it is available for this platform."""
        return [str(self._compiler)] if self._is_compiled else []

    def initialize(
        self,
        version: str,
        build_data: dict[str, Any],
    ) -> None:
        """Compile, and set the platform of the wheel."""
        del version
        if not self._is_compiled:
            return
        build = _import_module(Path(self.root, "recon_engine/inputs/native/build.py"))
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
        build_data["artifacts"].append("/recon_engine/inputs/native/_kernel.so")

    @property
    def _compiler(self) -> Requirement:
        """The group `compiler` of pyproject.toml; its marker names the platforms."""
        project = tomllib.loads(Path(self.root, "pyproject.toml").read_text())
        [compiler] = project["dependency-groups"]["compiler"]
        return Requirement(compiler)

    @property
    def _is_compiled(self) -> bool:
        marker = self._compiler.marker
        return (
            self.target_name == "wheel"
            and os.environ.get("RECON_NATIVE") != "0"
            and (marker is None or marker.evaluate())
        )


def _import_module(path: Path) -> Any:
    """Import a module of the package, which is not installed yet."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - it is a file of ours
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
