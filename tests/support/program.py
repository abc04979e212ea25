"""The command line: in this process, or as a program where the process is the point."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from recon_cli import start
from recon_cli.database import EMBEDDED_HOME
from recon_cli.worker import HANDLED_SIGNALS

from recon_engine.postgres.embedded import server
from recon_engine.runtime import error_boundary


if TYPE_CHECKING:
    from collections.abc import Iterator


WIDTH = {"COLUMNS": "100"}


def recon(
    *arguments: str | Path, cwd: Path, **environment: str
) -> CompletedProcess[str]:
    """Call what the program calls, with the streams in files, and read them.

    It is the whole of `main`: its handlers of signals, its guard of stderr and its logs
    are set and, unlike in a process that ends, set back.
    """
    argv = ["recon", *map(str, arguments)]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        stack.enter_context(_process_kept())
        stack.enter_context(chdir(cwd))
        stack.enter_context(patch.dict(os.environ, WIDTH | environment))
        stack.enter_context(patch.object(sys, "argv", argv))
        for name, path in (("stdout", out), ("stderr", err)):
            stream = stack.enter_context(path.open("w", encoding="utf-8"))
            stack.enter_context(patch.object(sys, name, stream))
        code = _exit_code_of_main()
        # The guard of stderr has put another stream in the place of ours.
        for ended in (sys.stdout, sys.stderr):
            ended.close()
        texts = [path.read_text(encoding="utf-8") for path in (out, err)]
    return CompletedProcess(argv, code, *texts)


def recon_program(
    *arguments: str | Path, cwd: Path, **environment: str
) -> CompletedProcess[str]:
    """Start `python -m recon_cli` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "recon_cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | WIDTH | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextmanager
def embedded_server_of(folder: Path) -> Iterator[None]:
    """Keep the server of a folder, which every command in it would start and stop."""
    with server.run_embedded_server(folder / EMBEDDED_HOME, durable=False):
        yield


def _exit_code_of_main() -> int:
    try:
        start.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("main has to end the process")


@contextmanager
def _process_kept() -> Iterator[None]:
    """Set back what `main` sets for its process."""
    loggers = [logging.getLogger(name) for name in ("", "recon", "recon_engine")]
    levels = [logger.level for logger in loggers]
    handlers = list(loggers[0].handlers)
    signals = {number: signal.getsignal(number) for number in HANDLED_SIGNALS}
    with ExitStack() as stack:
        for owner, name in (
            (sys, "excepthook"),
            (sys, "unraisablehook"),
            (threading, "excepthook"),
            (logging, "raiseExceptions"),
        ):
            stack.enter_context(patch.object(owner, name, getattr(owner, name)))
        listeners = list(error_boundary._listeners)
        stack.enter_context(patch.object(error_boundary, "_listeners", listeners))
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)
            loggers[0].handlers[:] = handlers
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for number, handler in signals.items():
                signal.signal(number, handler)
