"""Start the command line: guard the streams, run the command, report an error."""

from __future__ import annotations

import io
import itertools
import os
import sys
from typing import TYPE_CHECKING

from recon_cli import direct, session
from recon_cli.stderr import guard_stderr
from recon_cli.worker import Signalled, exit_process, unwind_on_signal
from recon_engine.errors import ConfigError
from recon_engine.options import Format
from recon_engine.runtime.error_boundary import to_recon_error
from recon_engine.suggestions import escape_bytes


if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon_engine.errors import ReconError


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
        code = _run_command(sys.argv[1:])
    except Signalled as signalled:
        code = signalled.exit_code
    except session.CommandEnded as ended:
        code = ended.exit_code
    except Exception as error:  # noqa: BLE001 - reported, whatever it is
        code = _report_error(error)
    exit_process(code)


def _run_command(words: Sequence[str]) -> int | None:
    """Run the command, without typer if its command line is plain; its exit code."""
    plain = direct.parse_plain(words)
    if plain is not None:
        direct.run_plain(plain)
        return 0
    from recon_cli.app import run_with_typer

    return run_with_typer()


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


def _report_error(error: Exception) -> int:
    """Report a wrong command line or an unexpected error, in the requested format."""
    form = Format.JSON if _wants_json(sys.argv) else Format.TABLE
    # typer's errors have it.
    if hasattr(error, "format_message"):
        from recon_cli.usage import make_usage_error

        reported: ReconError = make_usage_error(error)
    else:
        reported = to_recon_error(error)
    try:
        with session.end_at_closed_pipe():
            session.exit_with_error(reported, form)
    except session.CommandEnded as ended:
        return ended.exit_code


def _wants_json(arguments: list[str]) -> bool:
    # Without parsing: the command line may be what is wrong.
    following = dict(itertools.pairwise(arguments))
    asked = following.get("--format", following.get("-f"))
    given = asked or os.environ.get("RECON_FORMAT")
    return given == Format.JSON or "--format=json" in arguments
