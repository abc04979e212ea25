"""The commands: each is options, one call into the engine, and one rendering."""

from __future__ import annotations

import itertools
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recon_cli import options as o
from recon_cli import session
from recon_cli.options import Format
from recon_cli.stderr import guard
from recon_cli.worker import Signalled, leave, listen, on_worker
from recon_engine.border import ours
from recon_engine.config import (
    EngineName,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    RunConfig,
    StageLoader,
    parse_encodings,
)
from recon_engine.errors import ConfigError
from recon_engine.failpoint import reached
from recon_engine.rfc4180 import LIMITS, Limits
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from recon_engine.memory import Budget
    from recon_engine.pipeline import Outcome


app = typer.Typer(
    name="recon",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Given yesterday's system and today's, prove what is missing, extra and "
    "changed.",
    epilog="Exit codes: 0 agree or done, 1 differ, 2 usage, 3 input refused, 4 try "
    "again, 70 a bug. All statuses: recon statuses",
)


def _version(value: bool) -> None:
    if value:
        from recon_engine.version import __version__

        typer.echo(f"recon {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks, which may quote data.")
    ] = False,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it."),
    ] = False,
) -> None:
    """Take the options before the command."""
    session.start_logging(debug=debug)


@app.command()
def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="A CSV file, or s3:// URL.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one to compare.")],
    key: o.Keys = None,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
    on_duplicate_keys: o.OnDuplicateKeys = OnDuplicateKeys.PAIR,
    on_schema_drift: o.OnSchemaDrift = OnSchemaDrift.REFUSE,
    on_bad_row: o.OnBadRow = OnBadRow.FAIL,
    delimiter: o.Delimiter = ",",
    encoding: o.Encoding = "utf-8",
    detail_limit: o.DetailLimit = 5000,
    memory_budget: o.MemoryBudget = None,
    engine: o.Engine = EngineName.LOCAL,
    max_field_bytes: o.MaxFieldBytes = LIMITS.field_bytes,
    max_field_lines: o.MaxFieldLines = LIMITS.field_lines,
    max_ratio: o.MaxRatio = LIMITS.ratio,
    form: o.OutputFormat = Format.TABLE,
    output: o.Output = None,
    rejects: o.Rejects = None,
    exit_zero: o.ExitZero = False,
) -> None:
    """Reconcile two files; exit 0 if they agree, 1 if they differ."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.api import compare

        writers = render.writers(output, old, new, rejects=rejects)
        if engine is EngineName.SPARK:
            render.refuse_whole(writers)
        settings = _options(
            key, ignore, rename, rule, on_duplicate_keys, on_schema_drift, on_bad_row,
            delimiter, encoding, detail_limit,
        )  # fmt: skip
        limits = Limits(max_field_bytes, max_field_lines, max_ratio)
        budget = _budget(memory_budget)
        with session.watching(logged=False) as progress:
            result = on_worker(
                lambda stop: compare(
                    old,
                    new,
                    settings,
                    stop.watching(progress),
                    budget=budget,
                    limits=limits,
                    engine=engine,
                )
            )
        render.show(result, form)
        render.write_all(result, writers)
        raise typer.Exit(0 if result.agrees or exit_zero else 1)


@app.command()
def run(
    inbound_s3: o.Inbound,
    processed_s3: o.Processed,
    out_s3: o.Out,
    dataset: o.Dataset,
    keys: o.Keys = None,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
    on_duplicate_keys: o.OnDuplicateKeys = OnDuplicateKeys.PAIR,
    on_schema_drift: o.OnSchemaDrift = OnSchemaDrift.REFUSE,
    on_bad_row: o.OnBadRow = OnBadRow.FAIL,
    delimiter: o.Delimiter = ",",
    encoding: o.Encoding = "utf-8",
    detail_limit: o.DetailLimit = 5000,
    memory_budget: o.MemoryBudget = None,
    max_field_bytes: o.MaxFieldBytes = LIMITS.field_bytes,
    max_field_lines: o.MaxFieldLines = LIMITS.field_lines,
    max_ratio: o.MaxRatio = LIMITS.ratio,
    stage_loader: o.StageLoader = StageLoader.ADBC,
    form: o.OutputFormat = Format.TABLE,
    output: o.Output = None,
    fail_on_diff: o.FailOnDiff = False,
    fail_on_no_files: o.FailOnNoFiles = False,
    recompute: o.Recompute = False,
    dry_run: o.DryRun = False,
) -> None:
    """Reconcile the pair in inbound, record the result, archive the inputs."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine import pipeline

        writers = render.writers(output)
        settings = _options(
            keys, ignore, rename, rule, on_duplicate_keys, on_schema_drift, on_bad_row,
            delimiter, encoding, detail_limit,
        )  # fmt: skip
        base = nullcontext("") if dry_run else session.database()
        work = pipeline.dry_run if dry_run else pipeline.run
        with base as conninfo, session.watching() as progress:
            config = RunConfig(
                dataset=dataset,
                inbound=inbound_s3,
                processed=processed_s3,
                out=out_s3,
                options=settings,
                database=conninfo,
                fail_on_no_files=fail_on_no_files,
                recompute=recompute,
                budget=_budget(memory_budget),
                stage_loader=stage_loader,
                limits=Limits(max_field_bytes, max_field_lines, max_ratio),
            )
            outcome = on_worker(lambda stop: work(config, progress, stop))
        if dry_run and outcome.result is not None:
            render.show(outcome.result, form)
            raise typer.Exit(int(fail_on_diff and not outcome.result.agrees))
        _conclude(outcome, form, writers, fail_on_diff=fail_on_diff)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the demo lives.")
    ] = Path("recon-demo"),
    rows: Annotated[int, typer.Option("--rows", min=1, help="Claims in OLD.")] = 20_000,
) -> None:
    """Make a pair of claims extracts and run the whole pipeline on it, locally."""
    with session.reporting():
        from recon_cli import render
        from recon_engine import demo, pipeline

        config = demo.prepare(folder, rows=rows)
        with session.embedded(session.EMBEDDED) as conninfo:
            with session.watching(logged=False) as progress:
                outcome = on_worker(
                    lambda stop: pipeline.run(config(conninfo), progress, stop)
                )
            render.outcome(outcome, Format.TABLE)
            if outcome.result is not None:
                render.tour(conninfo, outcome, folder)
        raise typer.Exit(outcome.record.exit_code)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT statement.")],
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """Ask the metrics and stage tables, read-only: of the embedded server too."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.postgres import ask

        with session.database() as conninfo:
            render.rows(*ask(conninfo, statement), form)


@app.command()
def migrate() -> None:
    """Bring the tables of the database up to date."""
    with session.reporting():
        from recon_engine import migrations

        with session.database(up_to_date=False) as conninfo:
            applied = migrations.apply(conninfo)
        for name in applied or ("nothing to do: the tables are up to date",):
            typer.echo(name)


@app.command()
def statuses(form: o.OutputFormat = Format.TABLE) -> None:
    """How a run can end: status, exit code, whether to retry, meaning."""
    with session.reporting(form):
        from recon_cli import render

        names = ("status", "exit", "retry", "meaning")
        table = [
            (str(status), row.exit_code, "yes" if row.retryable else "no", row.meaning)
            for status, row in STATUSES.items()
        ]
        render.rows(names, table, form)


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="result, error or manifest.")] = "result",
) -> None:
    """Print the JSON Schema of what --format json prints."""
    with session.reporting():
        from recon_engine.migrations import schemas

        folder = schemas()
        known = sorted(f.name.split(".")[0] for f in folder.iterdir() if f.is_file())
        if name not in known:
            from recon_engine.errors import did_you_mean

            raise ConfigError(
                f"there is no schema {name}.{did_you_mean(name, known)}",
                help="one of: " + ", ".join(known),
            )
        typer.echo((folder / f"{name}.schema.json").read_text().rstrip())


def _options(
    keys: list[str] | None,
    ignore: list[str] | None,
    rename: list[str] | None,
    rule: list[str] | None,
    duplicates: OnDuplicateKeys,
    drift: OnSchemaDrift,
    bad_row: OnBadRow,
    delimiter: str,
    encoding: str,
    detail_limit: int,
) -> Options:
    return Options(
        keys=session.names(keys, "RECON_KEYS"),
        ignore=session.names(ignore, "RECON_IGNORE"),
        renames=session.mapping(rename),
        rules=session.rules(rule),
        on_duplicate_keys=duplicates,
        on_schema_drift=drift,
        on_bad_row=bad_row,
        delimiter=delimiter.replace("\\t", "\t"),
        encodings=parse_encodings(encoding),
        detail_limit=detail_limit,
    )


def _budget(text: str | None) -> Budget | None:
    from recon_engine.memory import parse_budget

    return None if text is None else parse_budget(text)


def _conclude(
    outcome: Outcome,
    form: Format,
    writers: list[tuple[Path, str]],
    *,
    fail_on_diff: bool,
) -> None:
    """Show how a run ended and leave with its exit code."""
    from recon_cli import render

    reached("report")
    if outcome.error is not None and outcome.result is None:
        code, facts = outcome.record.exit_code, render.run_facts(outcome)
        session.fail(outcome.error, form, code, facts)
    render.outcome(outcome, form)
    if outcome.result is not None:
        render.write_all(outcome.result, writers)
    differs = outcome.result is not None and not outcome.result.agrees
    code = outcome.record.exit_code or int(fail_on_diff and differs)
    raise typer.Exit(code)


def run_as_in_the_original() -> None:
    """`python run.py --inbound-s3 …`: the options of `recon run`, no command."""
    sys.argv.insert(1, "run")
    main()


def main() -> None:
    """Run the command line, whose stderr is ours, and end with its exit code."""
    if "--debug" not in sys.argv:
        guard()
    listen()
    try:
        code = app(prog_name="recon", standalone_mode=False)
    except Signalled as signalled:
        code = signalled.exit_code
    except Exception as error:  # noqa: BLE001 - reported, whatever it is
        code = _reported(error)
    leave(code)


def _reported(error: Any) -> int:
    """Report a wrong command line, or what no command has met, as is asked for."""
    form = Format.JSON if _wants_json(sys.argv) else Format.TABLE
    wrong = hasattr(error, "format_message")
    if wrong and form is Format.TABLE:
        error.show()
        return STATUSES[RunStatus.USAGE_ERROR].exit_code
    told = (
        ConfigError(error.format_message(), help="recon COMMAND --help")
        if wrong
        else ours(error)
    )
    try:
        session.fail(told, form)
    except typer.Exit as ended:
        return ended.exit_code


def _wants_json(arguments: list[str]) -> bool:
    following = dict(itertools.pairwise(arguments))
    asked = following.get("--format", following.get("-f"))
    given = asked or os.environ.get("RECON_FORMAT")
    return given == Format.JSON or "--format=json" in arguments
