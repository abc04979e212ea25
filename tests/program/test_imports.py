"""What a command imports: a quick start is a promise that one import can break."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from recon_engine.inputs.native.binding import load_library


if TYPE_CHECKING:
    from pathlib import Path


PROGRAM = """
import atexit, os, sys
# The command line takes stderr for itself.
out = os.dup(2)
atexit.register(lambda: os.write(out, " ".join(sys.modules).encode()))
sys.argv = ["recon", *sys.argv[1:]]
from recon_cli.entry import main
main()
"""
# It ends where a draft begins to open its files.
ENDING_EARLY = """
import os, sys
out = os.dup(2)
sys.argv = ["recon", *sys.argv[1:]]
def end(*_, **__):
    os.write(out, " ".join(sys.modules).encode())
    os._exit(0)
%s
from recon_cli.entry import main
main()
"""
OPENING = (
    ENDING_EARLY
    % """
from recon_engine.drafts.opened_files import OpenedFiles
OpenedFiles.begin = end
"""
)
SCANNING = (
    ENDING_EARLY
    % """
from recon_engine.inputs import scanning
scanning.Scanning.__init__ = end
"""
)
# It prints how often the garbage collector ran.
COLLECTED = """
import atexit, gc, os, sys
out = os.dup(2)
began = []
gc.callbacks.append(lambda phase, _: began.append(phase))
atexit.register(lambda: os.write(out, str(len(began)).encode()))
sys.argv = ["recon", *sys.argv[1:]]
from recon_cli.entry import main
main()
"""
HELP = {"recon_cli", "recon_engine", "typer", "annotated_doc", "shellingham"}
POLARS = {"polars", "_polars_runtime_32", "typing_extensions"}
# A plain `diff` starts without typer.
DIFF = {"recon_cli", "recon_engine", *POLARS, "numpy", "pyarrow", "rich", "backports"}
HELP_MODULES = {
    *("recon_engine", "recon_engine.characters", "recon_engine.command_line"),
    *("recon_engine.column_maps", "recon_engine.name_forms"),
    *("recon_engine.derive_syntax", "recon_engine.where_syntax"),
    *("recon_engine.config", "recon_engine.config_place", "recon_engine.errors"),
    "recon_engine.gate_syntax",
    *("recon_engine.lazy", "recon_engine.model", "recon_engine.options"),
    *("recon_engine.records", "recon_engine.runtime", "recon_engine.status"),
    *("recon_engine.runtime.error_boundary", "recon_engine.runtime.failpoints"),
    *("recon_engine.suggestions", "recon_engine.version"),
}
# Each takes as long to import as a small comparison takes to run.
SLOW = {
    *(
        "asyncio",
        "concurrent.futures",
        "email",
        "hashlib",
        "http",
        "importlib.metadata",
    ),
    *("multiprocessing", "tempfile", "tomllib", "unittest"),
}


def imported(*arguments: str, exit_code: int = 0, program: str = PROGRAM) -> set[str]:
    """The modules that a command has imported when it ends."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == exit_code, ended.stderr
    return set(ended.stderr.split())


def third_party(modules: set[str]) -> set[str]:
    """The packages that do not come with Python."""
    known = {*sys.stdlib_module_names, "__main__", "_distutils_hack"}
    packages = {name.partition(".")[0] for name in modules} - known
    # Cython and the configuration of Python have modules under names of their own.
    own = ("cython", "_cython", "_sysconfigdata")
    return {name for name in packages if not name.startswith(own)}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["diff", "--help"], ["diff", "-h"], ["--version"]]
)
def test_help_imports_the_options_and_typer_only(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert third_party(modules) <= HELP
    ours = {name for name in modules if name.startswith("recon_engine")}
    assert ours <= HELP_MODULES
    assert not modules & SLOW


@pytest.mark.parametrize(
    "form", [[], ["-f", "json"], ["-f", "markdown"], ["--detail-limit", "5"]]
)
def test_a_diff_imports_polars_and_few_others(tmp_path: Path, form: list[str]) -> None:
    for name, paid in (("old", "10"), ("new", "11")):
        (tmp_path / f"{name}.csv").write_text(f"ID,PAID\n1,{paid}\n2,20\n")
    old, new = (str(tmp_path / f"{name}.csv") for name in ("old", "new"))
    modules = imported("diff", old, new, "-k", "ID", *form, exit_code=1)
    # Without the kernel, NumPy reads the files.
    unused = {"numpy", "pyarrow"} if load_library() else set()
    assert third_party(modules) <= DIFF - unused
    assert not modules & {"pydantic", "typer", "rich.progress"}
    # Polars imports these for Iceberg tables: a seventh of the time of its import.
    assert not modules & {"importlib.metadata._meta", "email.message", "zipfile"}


def test_a_small_diff_collects_no_garbage(tmp_path: Path) -> None:
    """A collection goes through all that Polars has made, unless this is frozen."""
    for name, paid in (("old", "10"), ("new", "11")):
        (tmp_path / f"{name}.csv").write_text(f"ID,PAID\n1,{paid}\n2,20\n")
    old, new = (str(tmp_path / f"{name}.csv") for name in ("old", "new"))
    began = imported("diff", old, new, "-k", "ID", program=COLLECTED, exit_code=1)
    assert began == {"0"}


@pytest.mark.skipif(not load_library(), reason="the kernel reads beside the imports")
@pytest.mark.parametrize(
    "options", [[], ["-o", "report.html"], ["--rule", "PAID=trim"]]
)
def test_a_diff_begins_to_read_before_it_imports_polars(
    tmp_path: Path, options: list[str]
) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text("ID,PAID\n1,10\n2,20\n")
    old, new = (str(tmp_path / f"{name}.csv") for name in ("old", "new"))
    modules = imported("diff", old, new, "-k", "ID", *options, program=SCANNING)
    assert "recon_engine.compare.early_scan" in modules
    assert not modules & {"polars", "numpy", "pyarrow"}


@pytest.mark.parametrize("options", [[], ["--config", "given.toml"]])
def test_a_draft_opens_both_files_before_it_imports_polars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("old.csv", "new.csv"):
        (tmp_path / name).write_text("ID,PAID\n1,10\n2,20\n")
    # A path that exists is as plain as any other.
    (tmp_path / "given.toml").touch()
    modules = imported("init", "old.csv", "new.csv", *options, program=OPENING)
    assert "recon_engine.drafts.draft" in modules
    assert not modules & {"polars", "pyarrow", "pydantic", "rich.progress"}
