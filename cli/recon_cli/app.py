"""The commands, and the options before a command, as typer takes them."""

from __future__ import annotations

from typing import Annotated

import typer
from typer._click.exceptions import NoArgsIsHelpError

from recon_cli import session
from recon_cli.commands import admin, compare, history, init, run
from recon_cli.signatures import CommandGroup, add_command
from recon_engine.status import STATUSES, RunStatus


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


def run_with_typer() -> int | None:
    """Parse the arguments of the process and run the command; its exit code, if any.

    Commands end by `CommandEnded`. Raises what typer raises for a wrong command line.
    """
    try:
        # Otherwise typer would report errors and exit by itself, in its own words.
        code: int | None = app(prog_name="recon", standalone_mode=False)
    except NoArgsIsHelpError as error:
        error.show()
        return STATUSES[RunStatus.USAGE_ERROR].exit_code
    return code
