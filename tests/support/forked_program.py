"""Processes of the program that are forked from one that has imported it.

A process that starts anew spends 0.7 s of CPU on imports and 0.2 s on a short run.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import socket
import sys
import time
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

import recon_cli

from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.synchronize import Event
    from typing import NoReturn

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
        # By the end of a run.
        "boto3.s3.inject",
        "polars._utils.parquet",
        "pyarrow.pandas_compat",
        "recon_cli.logs",
        "recon_cli.render",
        "recon_cli.scratch",
        "recon_engine.postgres.changed_settings",
        "recon_engine.result_document",
        "support.warmed_program",
    ]
)
TESTS = Path(__file__).parents[1]
STREAMS = {"stdout": 1, "stderr": 2}


class ForkedProgram:
    """A process of the command line, with its streams in files.

    `changes` is code that runs before the program, in its process.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], changes: str = ""
    ) -> None:
        _start_fork_server()
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
    for name, number in STREAMS.items():
        with Path(folder, name).open("wb") as stream:
            os.dup2(stream.fileno(), number)
    exec(changes, {})  # noqa: S102 - of the tests
    _run_main(words, environment)


def _run_main(words: Sequence[str], environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    # The module was imported before the variable was set.
    setting = environment.get(failpoints.VARIABLE)
    failpoints.armed = Failpoint.parse(setting) if setting else None
    # As of `python -m recon_cli`.
    sys.argv = [str(Path(recon_cli.__file__).with_name("__main__.py")), *words]

    from recon_cli.entry import main

    main()


@functools.cache
def _start_fork_server() -> None:
    """Start the process that has imported all, some of it from here."""
    with patch.dict(os.environ, PYTHONPATH=str(TESTS)):
        forkserver.ensure_running()


# What a shell starts: it hands over its words, its environment, its folder and its
# streams, and ends as the fork does. It imports nothing that is not needed for that.
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    given = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(server, [given], [0, 1, 2])
    sys.exit(int(server.recv(9)))
"""


def write_command(path: Path) -> None:
    """Write `recon` as a command for a shell, each call of which is a fork."""
    client = path.with_name(f".{path.name}.py")
    client.write_text(CLIENT.format(address=_start_server()))
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {client} "$@"\n')
    path.chmod(0o755)


def start_with_streams(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    streams: tuple[int, int, int],
) -> socket.socket:
    """Start the program in a folder, with these streams; its exit code will be sent."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(_start_server())
    given = json.dumps([list(words), dict(environment), str(folder)]).encode()
    socket.send_fds(server, [given], streams)
    return server


@functools.cache
def _start_server() -> str:
    """The address of a process that forks for each connection; it ends with this."""
    _start_fork_server()
    folder = TemporaryDirectory()
    address = str(Path(folder.name, "socket"))
    ready = CONTEXT.Event()
    server = CONTEXT.Process(target=_serve, args=(address, ready), daemon=True)
    server.start()
    assert ready.wait(60)
    FOLDERS.append(folder)
    return address


# Of sockets: they are removed at the end of this process.
FOLDERS: list[TemporaryDirectory[str]] = []


def _serve(address: str, ready: Event) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        ready.set()
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _answer(connection)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(connection: socket.socket) -> NoReturn:
    """Run the program in a child, and send how it ended as a shell tells it."""
    given, streams, *_ = socket.recv_fds(connection, 1 << 18, 3)
    words, environment, folder = json.loads(given)
    program = os.fork()
    if program == 0:
        connection.close()
        os.chdir(folder)
        _take_streams(streams)
        _run_main(words, environment)
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    connection.send(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def _take_streams(streams: Sequence[int]) -> None:
    """Take them as the standard streams, as Python does where it starts."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name, mode in (
        (0, "stdin", "r"),
        (1, "stdout", "w"),
        (2, "stderr", "w"),
    ):
        lines = number == 2 or os.isatty(number)
        errors = "backslashreplace" if number == 2 else "strict"
        opened = open(  # noqa: SIM115 - for as long as the process is there
            number, mode, 1 if lines else -1, "utf-8", errors, closefd=False
        )
        setattr(sys, name, opened)
