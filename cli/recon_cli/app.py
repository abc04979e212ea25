"""The commands: each is options, one call into the engine, and one rendering."""

from __future__ import annotations

import itertools
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recon_cli import options as o
from recon_cli import session, sources
from recon_cli.cloudwatch import metered
from recon_cli.options import Format
from recon_cli.stderr import guard
from recon_cli.worker import Signalled, leave, listen, on_worker
from recon_engine.border import ours
from recon_engine.config import (
    BREAK_LIMIT,
    NO_KEY,
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
    from recon_engine.reconciliation import Reconciliation
    from recon_engine.report import Facts


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
    ctx: typer.Context,
    old: o.Old,
    new: o.New,
    key: o.Keys = None,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
    mask: o.Mask = None,
    gate: o.Gate = None,
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
    sha256: o.Sha256 = False,
    exit_zero: o.ExitZero = False,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
    dataset: o.DatasetOfConfig = None,  # noqa: ARG001
) -> None:
    """Reconcile two files; exit 0 if they agree, 1 if they differ."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.api import compare

        sources.check_dataset(ctx)
        writers = render.writers(output, old, new, rejects=rejects)
        if engine is EngineName.SPARK:
            render.refuse_whole(
                writers, "RECON_SPARK_OUT=URL has its tasks write the whole difference"
            )
        settings = _options(
            ctx, key, ignore, rename, rule, mask, gate, on_duplicate_keys,
            on_schema_drift, on_bad_row, delimiter, encoding, detail_limit,
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
                    sha256=sha256 or bool(writers),
                )
            )
        render.show(result, form, render.next_step(result, writers))
        render.write_all(result, writers, lambda: _asked(settings))
        raise typer.Exit(0 if result.passes or exit_zero else 1)


@app.command()
def keys(
    ctx: typer.Context,
    old: o.Old,
    new: o.New,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    most: o.MostColumns = 3,
    on_bad_row: o.OnBadRow = OnBadRow.FAIL,
    delimiter: o.Delimiter = ",",
    encoding: o.Encoding = "utf-8",
    memory_budget: o.MemoryBudget = None,
    form: o.OutputFormat = Format.TABLE,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
    dataset: o.DatasetOfConfig = None,  # noqa: ARG001
) -> None:
    """Propose the smallest sets of columns that are a key of both files."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.keys import proposed

        sources.check_dataset(ctx)
        filed = sources.filed(ctx)
        settings = Options(
            keys=NO_KEY,
            ignore=session.names(ignore, "RECON_IGNORE") or filed.get("ignore", ()),
            renames={**filed.get("map", {}), **session.mapping(rename)},
            on_bad_row=on_bad_row,
            delimiter=delimiter.replace("\\t", "\t"),
            encodings=parse_encodings(encoding),
        )
        budget = _budget(memory_budget)
        with session.watching(logged=False) as progress:
            found = on_worker(
                lambda stop: proposed(
                    old,
                    new,
                    settings,
                    stop.watching(progress),
                    most_columns=most,
                    budget=budget,
                )
            )
        render.proposals(found, form)
        raise typer.Exit(int(not any(each.is_key for each in found)))


@app.command()
def explain(
    ctx: typer.Context,
    old: o.Old,
    new: o.New,
    values: o.KeyValues,
    key: o.Keys = None,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
    mask: o.Mask = None,
    on_schema_drift: o.OnSchemaDrift = OnSchemaDrift.REFUSE,
    on_bad_row: o.OnBadRow = OnBadRow.FAIL,
    delimiter: o.Delimiter = ",",
    encoding: o.Encoding = "utf-8",
    form: o.OutputFormat = Format.TABLE,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
    dataset: o.DatasetOfConfig = None,  # noqa: ARG001
) -> None:
    """Show the rows of one key side by side: where they stand, how they differ."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.explain import explained

        sources.check_dataset(ctx)
        settings = _options(
            ctx, key, ignore, rename, rule, mask, None, OnDuplicateKeys.PAIR,
            on_schema_drift, on_bad_row, delimiter, encoding, 0,
        )  # fmt: skip
        with session.watching(logged=False) as progress:
            found = on_worker(
                lambda stop: explained(
                    old, new, settings, values, stop.watching(progress)
                )
            )
        render.explanation(found, form)
        raise typer.Exit(int(not found.agrees))


@app.command()
def run(
    ctx: typer.Context,
    inbound_s3: o.Inbound,
    processed_s3: o.Processed,
    out_s3: o.Out,
    dataset: o.Dataset,
    keys: o.Keys = None,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
    mask: o.Mask = None,
    gate: o.Gate = None,
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
    engine: o.Engine = EngineName.LOCAL,
    stage: o.Stage = None,
    stage_loader: o.StageLoader = StageLoader.ADBC,
    break_limit: o.BreakLimit = BREAK_LIMIT,
    form: o.OutputFormat = Format.TABLE,
    output: o.Output = None,
    fail_on_diff: o.FailOnDiff = False,
    fail_on_no_files: o.FailOnNoFiles = False,
    recompute: o.Recompute = False,
    dry_run: o.DryRun = False,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
) -> None:
    """Reconcile the pair in inbound, record the result, archive the inputs."""
    with metered(dataset, told=not dry_run) as meter, session.reporting(form):
        from recon_cli import render
        from recon_engine import pipeline

        writers = render.writers(output)
        if engine is EngineName.SPARK:
            render.refuse_whole(
                writers, "the whole difference is among the artifacts of the run"
            )
        settings = _options(
            ctx, keys, ignore, rename, rule, mask, gate, on_duplicate_keys,
            on_schema_drift, on_bad_row, delimiter, encoding, detail_limit,
        )  # fmt: skip
        base = nullcontext("") if dry_run else session.database()
        work = pipeline.dry_run if dry_run else pipeline.run
        with base as conninfo:
            asked = RunConfig(
                dataset=dataset,
                inbound=inbound_s3,
                processed=processed_s3,
                out=out_s3,
                options=settings,
                database=conninfo,
                fail_on_no_files=fail_on_no_files,
                recompute=recompute,
                budget=_budget(memory_budget),
                engine=engine,
                stage=stage,
                stage_loader=stage_loader,
                break_limit=break_limit,
                limits=Limits(max_field_bytes, max_field_lines, max_ratio),
            )
            with session.watching() as progress:
                outcome = on_worker(lambda stop: work(asked, progress, stop))
            if not dry_run:
                meter.ended(outcome, asked)
            if dry_run and outcome.result is not None:
                render.show(outcome.result, form)
                raise typer.Exit(_fails(outcome.result, fail_on_diff=fail_on_diff))
            _conclude(outcome, form, writers, asked, fail_on_diff=fail_on_diff)


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
def breaks(
    dataset: o.Dataset,
    state: o.BreakState = None,
    limit: o.BreakCount = 100,
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """The differences of a dataset that are open, with their age, oldest first."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.breaks import OPEN, listing

        with session.database() as conninfo:
            found = listing(conninfo, dataset, state or OPEN, limit)
        render.breaks(found, form)


@app.command()
def history(
    dataset: o.Dataset,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Runs, latest first.")
    ] = 30,
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """The runs of a dataset: verdicts, counts, rates and durations."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine import history
        from recon_engine.postgres import connect

        with session.database() as conninfo, connect(conninfo) as connection:
            render.history(history.runs(connection, dataset, limit), form)


@app.command()
def report(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The id of a run.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME",
            envvar="RECON_DATASET",
            help="The latest result of it, or its history.",
        ),
    ] = None,
    past: Annotated[
        int | None,
        typer.Option(
            "--history", metavar="N", min=1, help="The last N runs, not one of them."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page.")
    ] = Path("report.html"),
) -> None:
    """The HTML page of a stored run, or of the last runs of a dataset."""
    with session.reporting():
        from recon_cli import render
        from recon_engine import history, report, trend
        from recon_engine.postgres import connect

        path = render.page_path(output)
        with session.database() as conninfo, connect(conninfo) as connection:
            if past is None:
                run = history.identified(connection, run_id, dataset)
                page = report.page(*history.stored(connection, run))
            else:
                name = history.named(dataset)
                page = trend.page(name, history.runs(connection, name, past))
        render.save(page, path)


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
def roles() -> None:
    """Print the SQL by which an administrator makes the roles of a database."""
    with session.reporting():
        from recon_engine.migrations import access

        typer.echo(access("roles").decode().rstrip())


@app.command()
def doctor(
    ctx: typer.Context,
    inbound_s3: o.MaybeInbound = None,
    processed_s3: o.MaybeProcessed = None,
    out_s3: o.MaybeOut = None,
    form: o.OutputFormat = Format.TABLE,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
    dataset: o.DatasetOfConfig = None,  # noqa: ARG001
) -> None:
    """Check everything a run needs, change nothing, and say how to mend what is not."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine.doctor import State, examine

        places = {"inbound": inbound_s3, "processed": processed_s3, "out": out_s3}
        given = {name: url for name, url in places.items() if url}
        sources.check_dataset(ctx)
        masks = {**sources.filed(ctx).get("masks", {}), **session.masks(None)}
        with session.database() as address:
            findings = list(examine(given, address, masks))
        names = ("check", "state", "found", "remedy")
        table = [(f.check, f.state, f.found, f.remedy or "") for f in findings]
        render.rows(names, table, form)
        failed = any(finding.state is State.FAIL for finding in findings)
        raise typer.Exit(STATUSES[RunStatus.PERMISSION_DENIED].exit_code * failed)


@app.command()
def purge(
    older_than: o.OlderThan,
    dataset: o.MaybeDataset = None,
    artifacts: o.PurgeArtifacts = False,
    delete: o.Delete = False,
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """Delete values of old runs, in tables and stage; counts and the log stay."""
    with session.reporting(form):
        from recon_cli import render
        from recon_engine import retention

        age = retention.parse_age(older_than)
        with session.database() as address:
            found = retention.old_values(address, age, dataset, artifacts=artifacts)
            if delete:
                retention.delete(address, found)
        names = ("what", "dataset", "deleted" if delete else "would_delete")
        render.rows(names, retention.counted(found), form)


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
    name: Annotated[str, typer.Argument(help="result, config, error, …")] = "result",
) -> None:
    """Print the JSON Schema of a result, the configuration, an error, a manifest."""
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
    ctx: typer.Context,
    keys: list[str] | None,
    ignore: list[str] | None,
    rename: list[str] | None,
    rule: list[str] | None,
    mask: list[str] | None,
    gate: list[str] | None,
    duplicates: OnDuplicateKeys,
    drift: OnSchemaDrift,
    bad_row: OnBadRow,
    delimiter: str,
    encoding: str,
    detail_limit: int,
) -> Options:
    filed = sources.filed(ctx)
    return Options(
        keys=session.names(keys, "RECON_KEYS") or filed.get("keys", ()),
        ignore=session.names(ignore, "RECON_IGNORE") or filed.get("ignore", ()),
        renames={**filed.get("map", {}), **session.mapping(rename)},
        rules=session.rules(rule, filed.get("rules", {})),
        masks={**filed.get("masks", {}), **session.masks(mask)},
        gates=session.gates(gate) or filed.get("gates", ()),
        suppressions=filed.get("suppressions", ()),
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
    asked: RunConfig,
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
        render.write_all(outcome.result, writers, lambda: _facts(outcome, asked))
    raise typer.Exit(
        outcome.record.exit_code or _fails(outcome.result, fail_on_diff=fail_on_diff)
    )


def _fails(result: Reconciliation | None, *, fail_on_diff: bool) -> bool:
    """Whether the result of a run that went well ends it with exit code 1."""
    if result is None:
        return False
    return bool(result.failures) or (fail_on_diff and result.unsettled)


def _asked(settings: Options) -> Facts:
    from recon_engine.report import Facts

    return Facts(options=settings, timed=True)


def _facts(outcome: Outcome, asked: RunConfig) -> Facts:
    from recon_engine import history
    from recon_engine.postgres import connect

    record = outcome.record
    with connect(asked.database) as connection:
        told = history.facts(
            connection, record.run_id, asked.dataset, record.started, asked.options
        )
    return replace(told, timed=True)


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
