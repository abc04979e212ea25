"""What surrounds every command: error reports, progress, logging, the console."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from recon_engine.options import Format
from recon_engine.runtime.error_boundary import on_unexpected_error, to_recon_error
from recon_engine.status import STATUSES, RunStatus, exit_code_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.errors import ReconError
    from recon_engine.runtime.progress import Progress


log = logging.getLogger("recon")


@contextmanager
def report_errors(form: Format = Format.TABLE) -> Iterator[None]:
    """Turn an error into one message and an exit code; no traceback, no cell values."""
    try:
        yield
    except BrokenPipeError:
        # The reader of stdout has closed it (`| head`). Python flushes stdout at exit,
        # and would report the same error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(STATUSES[RunStatus.INTERRUPTED].exit_code) from None
    except (typer.Exit, typer.Abort):
        raise
    except BaseException as error:  # noqa: BLE001 - signals pass
        exit_with_error(to_recon_error(error), form)


def exit_with_error(
    error: ReconError,
    form: Format,
    exit_code: int | None = None,
    run: dict[str, object] | None = None,
) -> NoReturn:
    """Report an error and exit: JSON on stdout, or text on stderr."""
    if exit_code is None:
        exit_code = exit_code_of(error)
    if form is Format.JSON:
        # On stdout, where a program that asked for JSON reads its answer.
        document = _as_json(error, exit_code) | ({"run": run} if run else {})
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        from recon_cli.terminal import print_error

        print_error(make_console(stderr=True), error)
    raise typer.Exit(exit_code) from None


def _as_json(error: ReconError, exit_code: int) -> dict[str, object]:
    return {
        "schema": "recon-error/1",
        "status": error.status,
        "exit_code": exit_code,
        "file": error.file,
        "line": error.line,
        "byte_offset": error.byte_offset,
        "column": error.column,
        "counted_in": error.counted_in,
        "message": error.message,
        "why": error.why,
        "help": error.help,
    }


@contextmanager
def show_progress(*, logged: bool = True) -> Iterator[Progress]:
    """Show progress: bars if stderr is a terminal, else JSON lines if `logged`."""
    if sys.stderr.isatty():
        from recon_cli.terminal import ProgressBars

        with ProgressBars(make_console(stderr=True)) as bars:
            yield bars
    elif not logged:
        from recon_engine.runtime.progress import SILENT

        yield SILENT
    else:
        from recon_cli.logs import LoggedSteps

        with LoggedSteps() as steps:
            yield steps


def start_logging(*, debug: bool) -> None:
    """Send logs to stderr: as text on a terminal, as JSON lines elsewhere.

    `debug` adds tracebacks, which may quote cell values.
    """
    from recon_cli.logs import JsonLines, TextLines

    at_terminal = sys.stderr.isatty()
    handler = logging.StreamHandler()
    handler.setFormatter(TextLines(debug) if at_terminal else JsonLines(debug))
    level = "DEBUG" if debug else os.environ.get("RECON_LOG_LEVEL", "").upper()
    root = logging.getLogger()
    # A handler that a library has installed would write its texts to stderr.
    root.handlers[:] = [handler]
    # Libraries log at the level of the root: only their warnings, by name (`logs`).
    root.setLevel(logging.WARNING)
    if debug:
        on_unexpected_error(lambda error: log.debug("unforeseen", exc_info=error))
    for name in ("recon", "recon_engine"):
        # An unknown RECON_LOG_LEVEL leaves the level as it is.
        with suppress(ValueError):
            logger = logging.getLogger(name)
            logger.setLevel(level or ("WARNING" if at_terminal else "INFO"))


def make_console(*, stderr: bool = False) -> rich.console.Console:  # type: ignore[name-defined]  # noqa: F821
    """A console that prints values as they are: no markup, emoji or highlighting."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
