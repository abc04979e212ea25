"""What surrounds a command: who watches, which database, and how errors end it."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from recon_cli.options import Format
from recon_engine.border import ours, overhear
from recon_engine.errors import ConfigError, ReconError
from recon_engine.flags import QUOTED, read_name, split_list, split_names
from recon_engine.status import STATUSES, RunStatus, exit_code_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recon_engine.config import Address
    from recon_engine.progress import Progress


RULE: Final = re.compile(r'(\s*"(?:[^"]|"")*"\s*|[^"=]*)=(.+)', re.DOTALL)
EMBEDDED: Final = Path(".recon")
SOURCES: Final = ("RECON_DATABASE_URL", "RECON_DATABASE_SECRET", "RECON_DATABASE_IAM")
LIBPQ: Final = (
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGSERVICE",
)

log = logging.getLogger("recon")


@contextmanager
def reporting(form: Format = Format.TABLE) -> Iterator[None]:
    """Turn an error into one message and its exit code; no traceback, no values."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read stdout has seen enough; keep the interpreter from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(STATUSES[RunStatus.INTERRUPTED].exit_code) from None
    except (typer.Exit, typer.Abort):
        raise
    except BaseException as error:  # noqa: BLE001 - signals pass
        fail(ours(error), form)


def fail(
    error: ReconError,
    form: Format,
    exit_code: int | None = None,
    run: dict[str, object] | None = None,
) -> NoReturn:
    """Report an error and leave: JSON on stdout, or text on stderr."""
    if exit_code is None:
        exit_code = exit_code_of(error)
    if form is Format.JSON:
        document = _as_json(error, exit_code) | ({"run": run} if run else {})
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        from recon_cli.terminal import print_error

        print_error(console(stderr=True), error)
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
def watching(*, logged: bool = True) -> Iterator[Progress]:
    """Bars where stderr is a terminal; elsewhere JSON lines, or nothing."""
    if sys.stderr.isatty():
        from recon_cli.terminal import Bars

        with Bars(console(stderr=True)) as bars:
            yield bars
    elif not logged:
        from recon_engine.progress import SILENT

        yield SILENT
    else:
        from recon_cli.logs import LoggedSteps

        with LoggedSteps() as steps:
            yield steps


def start_logging(*, debug: bool) -> None:
    """Logs go to stderr: as JSON lines, or as words where a person reads them.

    Only to `debug` the words of libraries are told.
    """
    from recon_cli.logs import JsonLines, Words

    at_terminal = sys.stderr.isatty()
    handler = logging.StreamHandler()
    handler.setFormatter(Words(debug) if at_terminal else JsonLines(debug))
    level = "DEBUG" if debug else os.environ.get("RECON_LOG_LEVEL", "").upper()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    if debug:
        overhear(lambda said: log.debug("unforeseen", exc_info=said))
    for name in ("recon", "recon_engine"):
        with suppress(ValueError):
            ours = logging.getLogger(name)
            ours.setLevel(level or ("WARNING" if at_terminal else "INFO"))


@contextmanager
def past_runs() -> Iterator[Address]:
    """The database, to ask what is in it: no embedded server is made for that."""
    if is_yet_to_be_made():
        raise ConfigError(
            "there are no runs yet",
            why=f"no database is named, and {EMBEDDED} in this folder has none",
            help="go to the folder of the runs, or name their database by "
            "RECON_DATABASE_URL; recon run makes the first one here",
        )
    with database() as address:
        yield address


def is_yet_to_be_made() -> bool:
    """Whether the database is an embedded server that no run has made yet."""
    return _named() is None and not any(EMBEDDED.glob("cluster-*"))


@contextmanager
def database(*, up_to_date: bool = True) -> Iterator[Address]:
    """The database that the environment names, else the embedded server.

    The tables of the embedded one are brought `up_to_date`; others are their owner's.
    """
    address = _named()
    if address is not None:
        yield address
    else:
        with embedded(EMBEDDED, up_to_date=up_to_date) as conninfo:
            yield conninfo


def _named() -> Address | None:
    """By URL, by a secret, by tokens of IAM, or by libpq's own variables."""
    given = {name: os.environ[name] for name in SOURCES if name in os.environ}
    if len(given) > 1:
        raise ConfigError(
            f"{' and '.join(given)} are both set", help="name one database, in one way"
        )
    for name, value in given.items():
        if not value.strip():
            raise ConfigError(
                f"{name} is set, and empty",
                help="give it a value, or unset it for the embedded server",
            )
    match given:
        case {"RECON_DATABASE_URL": url}:
            return url
        case {"RECON_DATABASE_SECRET": arn}:
            from recon_engine.rds import Secret

            return Secret(arn)
        case {"RECON_DATABASE_IAM": region}:
            from recon_engine.rds import IamToken

            return IamToken(region)
    by_libpq = any(name in os.environ for name in LIBPQ)
    return "application_name=recon-engine" if by_libpq else None


def embedded_home() -> Path | None:
    """The home of the embedded server, unless the environment names a database."""
    return EMBEDDED if _named() is None else None


@contextmanager
def embedded(home: Path, *, up_to_date: bool = True) -> Iterator[str]:
    """The embedded server of a folder."""
    from recon_engine import localpg, migrations

    with localpg.server(home) as conninfo:
        if up_to_date:
            migrations.apply(conninfo)
        yield conninfo


def console(*, stderr: bool = False) -> rich.console.Console:  # type: ignore[name-defined]  # noqa: F821
    """A console that leaves values as they are: no markup, no colours of its own."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def mapping(pairs: list[str] | None) -> dict[str, str]:
    """`OLD=NEW` arguments; a name that holds `=` stands in double quotes."""
    result: dict[str, str] = {}
    for text in _given(pairs, "RECON_MAP"):
        match _fields(text, "="):
            case [old, new] if old and new and old not in result:
                result[old] = new
            case _:
                raise ConfigError(
                    f"--map {text} is not OLD=NEW, once for each OLD",
                    help="such as --map PAID_AMT=PAID_AMOUNT",
                )
    return result


def rules(
    texts: list[str] | None, before: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`COLUMN=RULE` arguments; a name that holds `=` stands in double quotes.

    They come after those of a column that were there `before`, as hints are measured.
    """
    result = dict(before)
    for text in texts or os.environ.get("RECON_RULE", "").split(";"):
        found = RULE.fullmatch(text)
        if found is None and text.strip():
            raise ConfigError(
                f"--rule {text} is not COLUMN=RULE",
                help="such as --rule PAID_AMT=decimal, or --rule '*=trim'",
            )
        if found is not None:
            [name] = _fields(found[1], "=")
            result[name] = (*result.get(name, ()), found[2].strip())
    return result


def gates(texts: list[str] | None) -> tuple[str, ...]:
    """Repeated --gate arguments, or the environment's, by semicolons."""
    given = texts or os.environ.get("RECON_GATE", "").split(";")
    return tuple(text.strip() for text in given if text.strip())


def masks(texts: list[str] | None) -> dict[str, str]:
    """`COLUMN=MASK` arguments; a name that holds `=` stands in double quotes."""
    result: dict[str, str] = {}
    for text in filter(str.strip, texts or os.environ.get("RECON_MASK", "").split(";")):
        match _fields(text, "="):
            case [name, mask] if name and mask and name not in result:
                result[name] = mask
            case _:
                raise ConfigError(
                    f"--mask {text} is not COLUMN=MASK, once for each column",
                    help="such as --mask MEMBER_ID=hmac, or --mask '*=redact'",
                )
    return result


def names(texts: list[str] | None, variable: str) -> tuple[str, ...]:
    """Repeated and comma-separated names, without the blanks around them.

    A name that holds a comma, or blanks at its ends, is in double quotes.
    """
    return tuple(
        name for text in _given(texts, variable) for name in _fields(text, ",") if name
    )


def _given(texts: list[str] | None, variable: str) -> list[str]:
    """The arguments, or the environment's: one value, whatever blanks it holds."""
    if texts:
        return texts
    value = os.environ.get(variable, "")
    if not value:
        return []
    if variable != "RECON_MAP":
        return [value]
    # A pair may be in quotes as a whole, or each of its names by itself.
    pairs = (pair.strip() for pair in split_list(value, ","))
    return [read_name(pair) if QUOTED.fullmatch(pair) else pair for pair in pairs]


def _fields(text: str, delimiter: str) -> list[str]:
    try:
        return split_names(text, delimiter)
    except ValueError:
        raise ConfigError(
            f"{text} is no list of names", help="quote it as a field of a CSV file"
        ) from None
