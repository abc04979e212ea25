"""The border: what others raise leaves as an error of ours, bare of what they said."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import polars as pl
import pyarrow as pa
import pytest
from support.canaries import everything

import recon_engine
from recon_engine.compare import local_engine
from recon_engine.errors import (
    ConfigError,
    DiskFull,
    InternalError,
    OutOfBudget,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)
from recon_engine.runtime import error_boundary
from recon_engine.runtime.error_boundary import to_recon_error, within_error_boundary


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "SECRET-CELL"


def undecodable() -> NoReturn:
    raise UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET)


def list_an_open_file() -> None:
    """The error has the number of the file as its name."""
    number = os.open(__file__, os.O_RDONLY)
    try:
        os.listdir(number)  # noqa: PTH208 - a number is no path
    finally:
        os.close(number)


def chained() -> None:
    cell = SECRET
    try:
        dict[str, str]()[cell]
    except KeyError as error:
        error.add_note(SECRET)
        problem = ConfigError("shown")
        problem.add_note(SECRET)
        raise problem from error


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def work() -> NoReturn:
        raise error

    return work


RAISED: dict[str, tuple[Callable[[], object], type[ReconError]]] = {
    "a cell that Polars cannot read": (
        lambda: pl.Series([SECRET]).cast(pl.Int8),
        InternalError,
    ),
    "rows that Polars cannot parse": (
        lambda: pl.read_csv(f'a,b\n1,"{SECRET}"x\n'.encode()),
        InternalError,
    ),
    "a column Polars does not know": (
        lambda: pl.DataFrame({SECRET: [1]}).select("x"),
        InternalError,
    ),
    "a cell that pyarrow cannot read": (
        lambda: pa.array([SECRET]).cast(pa.int8()),
        InternalError,
    ),
    "bytes that are no text": (undecodable, InternalError),
    "a panic of Rust": (lambda: pl.int_range(0, 1 << 62, eager=True), InternalError),
    "a key that is not there": (raising(KeyError(SECRET)), InternalError),
    "a stack too deep": (raising(RecursionError(SECRET)), InternalError),
    "no memory": (raising(MemoryError(SECRET)), OutOfBudget),
    "no memory, says pyarrow": (raising(pa.ArrowMemoryError(SECRET)), OutOfBudget),
    "no room": (raising(OSError(errno.ENOSPC, SECRET, SECRET)), DiskFull),
    "no right": (raising(PermissionError(errno.EACCES, SECRET)), PermissionDenied),
    "a disk that fails": (raising(OSError(errno.EIO, SECRET)), StorageUnavailable),
    "a disk that fails, unnumbered": (raising(OSError(SECRET)), StorageUnavailable),
    "no room, says Polars": (
        lambda: pl.DataFrame({"a": [SECRET * 1_000_000]}).write_csv("/dev/full"),
        DiskFull,
    ),
    "no room for a parquet file, says Polars": (
        lambda: pl.DataFrame({"a": [SECRET]}).write_parquet("/dev/full"),
        DiskFull,
    ),
    "an open file that is no folder": (list_an_open_file, ConfigError),
    "an error of ours with a past": (chained, ConfigError),
}


@pytest.mark.parametrize("case", RAISED.values(), ids=RAISED.keys())
def test_what_others_say_stays_behind(
    case: tuple[Callable[[], object], type[ReconError]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    work, kind = case
    with pytest.raises(ReconError) as caught:
        within_error_boundary(work)()
    assert type(caught.value) is kind
    assert SECRET not in "".join(everything(caught.value))
    assert caught.value.__context__ is None
    assert SECRET not in caplog.text


def test_an_unforeseen_error_says_where_it_arose() -> None:
    with pytest.raises(InternalError, match=r"UnicodeDecodeError at test_border.py:\d"):
        within_error_boundary(undecodable)()


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes(leaving: type[BaseException]) -> None:
    with pytest.raises(leaving):
        within_error_boundary(raising(leaving()))()
    with pytest.raises(leaving):
        to_recon_error(leaving())


def test_what_was_said_is_heard_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[BaseException] = []
    monkeypatch.setattr(error_boundary, "_listeners", [heard.append])
    with pytest.raises(InternalError):
        within_error_boundary(undecodable)()
    assert [SECRET in str(each) for each in heard] == [True]


def test_nothing_foreign_leaves_the_python_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "claims.csv"
    path.write_text(f"ID,NOTE\n1,{SECRET}\n")
    monkeypatch.setattr(
        local_engine, "compare_tables", lambda *_: pl.Series([SECRET]).cast(pl.Int8)
    )
    with pytest.raises(InternalError) as caught:
        recon_engine.diff(path, path, keys="ID")
    assert SECRET not in "".join(everything(caught.value))
    assert SECRET not in caplog.text


PROGRAM = f"""
import sys, threading, warnings
from recon_engine import api
from recon_cli import start
import polars as pl

def failing(*_, **__):
    warnings.warn("{SECRET}")
    thread = threading.Thread(target=lambda: int("{SECRET}"))
    thread.start()
    thread.join()
    class Finalized:
        def __del__(self):
            raise ValueError("{SECRET}")
    Finalized()
    pl.int_range(0, 1 << 62, eager=True)

api.compare_inputs = failing
start.main()
"""


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, "diff", "a", "b", "-k", "ID"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_stderr_is_ours_alone() -> None:
    found = ended()
    assert found.returncode == 70
    assert SECRET not in found.stdout + found.stderr
    for words in ("panicked", "Traceback", "capacity overflow", "RUST_BACKTRACE"):
        assert words not in found.stderr
    assert "error[INTERNAL_ERROR]: an unexpected PanicException" in found.stderr
    assert found.stderr.count('"event": "unforeseen"') == 2
    assert '"event": "library_log", "logger": "py.warnings"' in found.stderr


def test_debug_shows_all_that_was_said() -> None:
    found = ended("--debug")
    assert found.returncode == 70
    assert "panicked" in found.stderr
    assert SECRET in found.stderr
    assert "capacity overflow" in found.stderr
