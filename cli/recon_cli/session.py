"""What surrounds every command: error reports, progress, logging, the console."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from recon_engine.errors import ConfigError
from recon_engine.options import Format, LogFormat
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import on_unexpected_error, to_recon_error
from recon_engine.status import STATUSES, RunStatus, exit_code_of


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from recon_engine.errors import ReconError
    from recon_engine.runtime.progress import Progress


log = logging.getLogger("recon")
# Set by Jupyter for a kernel, and so for `!recon` in a notebook: it has a terminal that
# shows each redraw of a bar as a line.
KERNEL: Final = "JPY_PARENT_PID"


class CommandEnded(SystemExit):
    """A command has ended, with this exit code."""

    @property
    def exit_code(self) -> int:
        """The exit code, by the name that errors and signals have for it."""
        return int(self.code or 0)


@dataclass(frozen=True, slots=True)
class View:
    """What a command shows besides its result, as `options` describes it."""

    debug: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool | None = None
    log_format: LogFormat | None = None
    log_file: Path | None = None


_view: View = View()
# Errors name options by their flags; a setting may be of a file instead.
_name_setting: Callable[[str], str] = str


def name_settings(name: Callable[[str], str]) -> None:
    """Let errors name settings that are not from the command line.

    `name`: returns the message of an error with their places instead of their flags.
    """
    global _name_setting  # noqa: PLW0603 - one for the process, as the view is
    _name_setting = name


@contextmanager
def report_errors(form: Format = Format.TABLE) -> Iterator[None]:
    """Turn an error into one message and an exit code; no traceback, no cell values."""
    with end_at_closed_pipe():
        try:
            yield
        except (CommandEnded, BrokenPipeError):
            raise
        except BaseException as error:  # noqa: BLE001 - signals pass
            exit_with_error(to_recon_error(error), form)


@contextmanager
def end_at_closed_pipe() -> Iterator[None]:
    """End the command as interrupted if the reader of stdout has left (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes stdout at exit, and would report the same error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandEnded(STATUSES[RunStatus.INTERRUPTED].exit_code) from None


def show_then(show: Callable[[], None], finish: Callable[[], None]) -> None:
    """Print a result, then do the rest of a command, also if nobody reads stdout.

    `| head` closes it when it has enough. A file that is not written would leave the
    one of the day before in its place.
    """
    try:
        with end_at_closed_pipe():
            show()
    except CommandEnded:
        # What is printed from now on goes nowhere.
        finish()
        raise
    finish()


def exit_with_error(
    error: ReconError,
    form: Format,
    exit_code: int | None = None,
    run: dict[str, object] | None = None,
    note: str = "",
) -> NoReturn:
    """Report an error and exit: JSON on stdout, or text on stderr.

    `note`: what the message of `run` says besides the error.
    """
    if exit_code is None:
        exit_code = exit_code_of(error)
    error.message = _name_setting(error.message)
    if form is Format.JSON and not _view.quiet:
        # On stdout, where a program that asked for JSON reads its answer.
        document = describe_error(error, exit_code) | ({"run": run} if run else {})
        echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        from recon_engine.terminal import print_error

        print_error(make_console(stderr=True), error)
        if run and _view.quiet:
            # One mail may have the lines of several datasets.
            ended = f"{run['dataset']}: run ended as {run['status']}"
            say(f"{ended} · run {run['run_id']}", stderr=True)
        if note:
            say(note, stderr=True)
    raise CommandEnded(exit_code) from None


def end_command(code: int, reason: str) -> NoReturn:
    """End a command whose output is complete.

    `reason`: why the exit code is not 0, in one line. With --quiet, which discards the
    output, it goes to stderr.
    """
    if code and _view.quiet:
        say(reason, stderr=True)
    raise CommandEnded(code)


def describe_error(error: ReconError, exit_code: int) -> dict[str, object]:
    """An error as a JSON document."""
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


def echo(text: str = "", *, end: str = "\n", stream: TextIO | None = None) -> None:
    """Write a text to stdout, or to `stream`, at once.

    A reader that is gone is noticed here, and the two streams keep their order.
    """
    print(text, end=end, file=stream, flush=True)


def say(text: str, *, stderr: bool = False) -> None:
    """Print a sentence, which a terminal breaks between words."""
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty():
        echo(text, stream=stream)
        return
    from rich.text import Text

    from recon_engine.terminal import print_line

    print_line(make_console(stderr=stderr), Text(text))


def announce(text: str) -> None:
    """Print a note on stderr, unless nothing but errors is wanted."""
    if not _view.quiet:
        say(text, stderr=True)


def is_in_notebook() -> bool:
    """Whether the command is a cell of a notebook: it has a terminal and no person."""
    return KERNEL in os.environ


def is_quiet() -> bool:
    """Whether -q discards the output."""
    return _view.quiet


def shows_details() -> bool:
    """Whether -v asks for what is usually left out."""
    return _view.verbose


@contextmanager
def show_progress(*, logged: bool = True) -> Iterator[Progress]:
    """Show progress on stderr: bars on a terminal, lines elsewhere.

    `logged`: whether the steps are logged if neither a terminal nor an option decides.
    """
    from recon_engine.runtime.progress import SILENT

    shown = list(_progress_of(_view, logged=logged))
    with ExitStack() as stack:
        entered = [stack.enter_context(each) for each in shown]
        if len(entered) > 1:
            from recon_cli.logs import SeveralProgress

            yield SeveralProgress(entered)
        else:
            yield entered[0] if entered else SILENT


def _progress_of(
    view: View, *, logged: bool
) -> Iterator[AbstractContextManager[Progress]]:
    at_terminal = sys.stderr.isatty()
    to_log = view.verbose or view.log_file is not None or (logged and not at_terminal)
    if view.progress and not at_terminal and view.log_format is LogFormat.JSON:
        to_log = True
    if to_log and (view.log_file or not view.quiet):
        from recon_cli.logs import HEARTBEAT_SECONDS, PROGRESS_SECONDS, LoggedSteps

        yield LoggedSteps(PROGRESS_SECONDS if view.progress else HEARTBEAT_SECONDS)
    # Log lines on the same stream would break the bars, and repeat the lines.
    if view.quiet or view.progress is False or (to_log and view.log_file is None):
        return
    if at_terminal and not is_in_notebook():
        if view.progress:
            from recon_cli.progress_bars import ProgressBars

            yield ProgressBars(make_console(stderr=True))
        else:
            from recon_cli.late_bars import LateBars

            yield LateBars()
    elif view.progress:
        from recon_cli.logs import ProgressLines

        yield ProgressLines()


def start_logging(*, debug: bool) -> None:
    """Log to stderr, until `set_view` knows the options of the command.

    `debug` adds tracebacks, which may quote cell values.
    """
    name_settings(str)
    # A handler that a library has installed would write its texts to stderr.
    _set_view(View(debug=debug))
    # Libraries log at the level of the root: only their warnings, by name (`logs`).
    logging.getLogger().setLevel(logging.WARNING)
    if debug:
        on_unexpected_error(lambda error: log.debug("unforeseen", exc_info=error))


def set_view(options: Mapping[str, Any]) -> None:
    """Show and log what the options of a command say; ConfigError for a log file."""
    known = {
        each.name: options[each.name] for each in fields(View) if each.name in options
    }
    if options.get("no_color"):
        os.environ["NO_COLOR"] = "1"
    _set_view(replace(_view, **known))
    if _view.quiet:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _set_view(view: View) -> None:
    global _view  # noqa: PLW0603 - one for the process, as its streams are
    from recon_cli.logs import JsonLines, TextLines

    at_terminal = sys.stderr.isatty() and view.log_file is None
    in_text = view.log_format is LogFormat.TEXT or (
        view.log_format is None and at_terminal
    )
    handler = _open_log(view.log_file)
    handler.setFormatter(
        TextLines(view.debug, dated=not at_terminal)
        if in_text
        else JsonLines(view.debug)
    )
    logging.getLogger().handlers[:] = [handler]
    silent = view.quiet and view.log_file is None
    level = "DEBUG" if view.debug else os.environ.get("RECON_LOG_LEVEL", "").upper()
    usual = "INFO" if view.verbose or not at_terminal else "WARNING"
    for name in ("recon", "recon_engine"):
        # An unknown RECON_LOG_LEVEL leaves the level as it is.
        with suppress(ValueError):
            logger = logging.getLogger(name)
            logger.setLevel("CRITICAL" if silent else level or usual)
    _view = view


def _open_log(path: Path | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler()
    try:
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "the log file cannot be opened",
            file=str(path),
            why=error.strerror,
            help="name a file in a folder that exists and can be written",
        ) from None


def make_console(*, stderr: bool = False) -> rich.console.Console:  # type: ignore[name-defined]  # noqa: F821
    """A console that prints values as they are: no markup, emoji or highlighting."""
    from rich.console import Console

    class PipedConsole(Console):
        """A console whose closed pipe has the exit code that it has everywhere."""

        def on_broken_pipe(self) -> None:
            # By default rich ends the process with 1, which says that rows differ.
            raise BrokenPipeError

    # In a kernel's process, rich would display each print as an output of its own.
    return PipedConsole(
        stderr=stderr, force_jupyter=False, highlight=False, markup=False, emoji=False
    )
