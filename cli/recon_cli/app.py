"""The application: its commands, the options before a command, and its start."""

from __future__ import annotations

import io
import itertools
import os
import sys
from typing import Annotated, Any

import typer
from typer._click.exceptions import NoArgsIsHelpError

from recon_cli import session
from recon_cli.commands import admin, compare, history, init, run
from recon_cli.signatures import CommandGroup, add_command
from recon_cli.stderr import guard_stderr
from recon_cli.usage import make_usage_error
from recon_cli.worker import Signalled, exit_process, unwind_on_signal
from recon_engine.errors import ConfigError
from recon_engine.options import Format
from recon_engine.runtime.error_boundary import to_recon_error
from recon_engine.status import STATUSES, RunStatus
from recon_engine.suggestions import escape_bytes


app = typer.Typer(
    name="recon",
    cls=CommandGroup,
    no_args_is_help=True,
    # Without rich, whose import takes time, and which would read brackets as markup.
    rich_markup_mode=None,
    # typer's own tracebacks show local variables, which may hold cells.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare the CSV files of an old and a new system and prove what is missing,"
    " extra and changed.",
    epilog="Exit codes: 0 agree or done, 1 differ, 2 usage error, 3 input refused,"
    " 4 retry later, 70 internal error. All statuses: recon statuses",
)


def _show_version(value: bool) -> None:
    if value:
        from recon_engine.version import __version__

        typer.echo(f"recon {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show tracebacks of errors. They may contain cell values."
        ),
    ] = False,
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Take the options before the command."""
    session.start_logging(debug=debug)


for command in (
    init.init,
    compare.diff,
    compare.keys,
    compare.explain,
    run.run,
    run.demo,
    history.breaks,
    history.history,
    history.report,
    history.sql,
    admin.migrate,
    admin.roles,
    admin.doctor,
    admin.purge,
    admin.statuses,
    admin.schema,
):
    add_command(app, command)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # First of all: what a library prints before this may quote a cell. The arguments
    # are not parsed yet.
    if "--debug" not in sys.argv:
        guard_stderr()
    unwind_on_signal()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may hold bytes that are not UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _refuse_undecodable()
        # Otherwise typer would report errors and exit by itself, in its own words.
        code = app(prog_name="recon", standalone_mode=False)
    except Signalled as signalled:
        code = signalled.exit_code
    except Exception as error:  # noqa: BLE001 - reported, whatever it is
        code = _report_error(error)
    exit_process(code)


def _refuse_undecodable() -> None:
    """Refuse an argument or a variable that is not UTF-8, unless it names a file."""
    given = {f"argument {at}": text for at, text in enumerate(sys.argv[1:], 1)}
    given |= {n: text for n, text in os.environ.items() if n.startswith("RECON_")}
    for name, text in given.items():
        if escape_bytes(text) != text and not os.path.lexists(text):
            raise ConfigError(
                f"{name} is not UTF-8: {escape_bytes(text)}",
                help="write it in UTF-8, as the locale of the terminal has it",
            )


def _report_error(error: Any) -> int:
    """Report a wrong command line or an unexpected error, in the requested format."""
    form = Format.JSON if _wants_json(sys.argv) else Format.TABLE
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return STATUSES[RunStatus.USAGE_ERROR].exit_code
    wrong = hasattr(error, "format_message")
    reported = make_usage_error(error) if wrong else to_recon_error(error)
    try:
        session.exit_with_error(reported, form)
    except typer.Exit as ended:
        return ended.exit_code


def _wants_json(arguments: list[str]) -> bool:
    # Without parsing: the command line may be what is wrong.
    following = dict(itertools.pairwise(arguments))
    asked = following.get("--format", following.get("-f"))
    given = asked or os.environ.get("RECON_FORMAT")
    return given == Format.JSON or "--format=json" in arguments
