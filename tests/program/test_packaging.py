"""The wheel: what is in it, and that it works alone in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from recon_engine.version import __version__


ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif("PACKAGING" not in os.environ, reason="make packaging")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_two_packages_and_every_schema(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "recon_engine",
        "recon_cli",
        f"recon_engine-{__version__}.dist-info",
    }
    for path in (ROOT / "schemas").rglob("*.*"):
        assert f"recon_engine/schemas/{path.relative_to(ROOT / 'schemas')}" in names
    for path in (ROOT / "recon_engine" / "report" / "templates").iterdir():
        assert f"recon_engine/report/templates/{path.name}" in names
    assert {"recon_engine/py.typed", "recon_cli/py.typed"} <= set(names)
    # The wheel is for one platform if the compiler is available for it, else for any.
    native = "recon_engine/inputs/native/_kernel.so" in names
    assert wheel.name.endswith("-any.whl") != native
    assert "recon_engine/inputs/native/kernel.c" in names


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install"]
    # Most modules are never imported here.
    pip += ["-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run(
        [*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True
    )
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    (tmp_path / "old.csv").write_text("ID,X\n1,2\n")
    said = subprocess.run(
        [binaries / "recon", "diff", "old.csv", "old.csv", "-k", "ID"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "AGREE" in said.stdout
    assert "native_kernel" not in said.stderr or wheel.name.endswith("-any.whl")
    migrated = subprocess.run(
        [binaries / "recon", "migrate"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "0001_reconciliation.sql" in migrated.stdout


def test_the_lock_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in text
    assert "http" not in text
