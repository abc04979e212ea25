"""Processes of the program that are forked from one that has imported it.

A process that starts anew spends 0.7 s of CPU on imports and 0.2 s on a short run.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "recon_cli.app",
        "recon_cli.entry",
        "recon_engine.compare.local_engine",
        "recon_engine.pipeline.runner",
        "recon_engine.storage.s3.prefix",
        # These two by the load of stage: pyarrow takes pandas where it is installed.
        "pandas",
        "pyarrow.csv",
    ]
)
STREAMS = {"stdout": 1, "stderr": 2}


class ForkedProgram:
    """A process of the command line, with its streams in files.

    `changes` is code that runs before the program, in its process.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], changes: str = ""
    ) -> None:
        self._folder = TemporaryDirectory()
        self._process = CONTEXT.Process(
            target=_run_program,
            args=(list(words), dict(environment), changes, self._folder.name),
            daemon=True,  # One that is left behind ends with the session of tests.
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As that of `subprocess.Popen`; None while it runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def wait_until_it_says(self, text: str, timeout: float = 60) -> None:
        """Wait until a text is on stderr."""
        until = time.monotonic() + timeout
        path = Path(self._folder.name, "stderr")
        while not (path.exists() and text in path.read_text()):
            assert self.returncode is None, f"it ended without {text}"
            assert time.monotonic() < until, f"it did not say {text}"
            time.sleep(0.01)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait until it ends, and read its streams; one that does not end is killed."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"the program did not end within {timeout} s")
        with self._folder as folder:
            out, err = (Path(folder, name).read_text() for name in STREAMS)
        return out, err


def _run_program(
    words: list[str], environment: dict[str, str], changes: str, folder: str
) -> None:
    """Be the program, in a process that was just forked."""
    os.environ.clear()
    os.environ.update(environment)
    for name, number in STREAMS.items():
        with Path(folder, name).open("wb") as stream:
            os.dup2(stream.fileno(), number)
    # The module was imported before the variable was set.
    setting = environment.get(failpoints.VARIABLE)
    failpoints.armed = Failpoint.parse(setting) if setting else None
    exec(changes, {})  # noqa: S102 - of the tests
    sys.argv = ["recon", *words]

    from recon_cli.entry import main

    main()
