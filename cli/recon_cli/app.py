"""The commands: each is options, one call into the engine, and one rendering."""

from __future__ import annotations

import io
import itertools
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recon_cli import config_lookup, database, parsing, session
from recon_cli import options as o
from recon_cli.cloudwatch import emit_metrics
from recon_cli.options import Format
from recon_cli.stderr import guard_stderr
from recon_cli.worker import Signalled, exit_process, run_on_worker, unwind_on_signal
from recon_engine.config import (
    BREAK_LIMIT,
    LIMITS,
    NO_KEY,
    EngineName,
    Feed,
    Limits,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    RunConfig,
    StageLoader,
    parse_encodings,
)
from recon_engine.errors import ConfigError
from recon_engine.model import MOST_COUNT
from recon_engine.runtime.error_boundary import to_recon_error
from recon_engine.runtime.failpoints import failpoint
from recon_engine.status import STATUSES, RunStatus
from recon_engine.suggestions import escape_bytes


if TYPE_CHECKING:
    from recon_engine.pipeline.runner import Outcome
    from recon_engine.report.result_page import PageFacts
    from recon_engine.result import Reconciliation
    from recon_engine.runtime.memory import Budget


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


def _show_version(value: bool) -> None:
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
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show it."
        ),
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
    exit_zero: o.ExitZero = False,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
    dataset: o.DatasetOfConfig = None,  # noqa: ARG001
) -> None:
    """Reconcile two files; exit 0 if they agree, 1 if they differ."""
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.api import compare_inputs
        from recon_engine.engines import choose_engine

        config_lookup.check_dataset(ctx)
        writers = render.check_targets(output, old, new, rejects=rejects)
        if not choose_engine(engine).brings_whole_difference:
            render.reject_whole_outputs(
                writers, "RECON_SPARK_OUT=URL has its tasks write the whole difference"
            )
        settings = _make_options(
            ctx, key, ignore, rename, rule, mask, gate, on_duplicate_keys,
            on_schema_drift, on_bad_row, delimiter, encoding, detail_limit,
        )  # fmt: skip
        limits = Limits(max_field_bytes, max_field_lines, max_ratio)
        budget = _parse_budget(memory_budget)
        with session.show_progress(logged=False) as progress:
            result = run_on_worker(
                lambda stop: compare_inputs(
                    old,
                    new,
                    settings,
                    stop.checking_on_advance(progress),
                    budget=budget,
                    limits=limits,
                    engine=engine,
                )
            )
        render.show_result(result, form, render.next_step(result, writers))
        render.write_all(result, writers, lambda: _facts_of_diff(settings))
        raise typer.Exit(0 if result.passes or exit_zero else 1)


@app.command()
def keys(
    ctx: typer.Context,
    old: o.Old,
    new: o.New,
    ignore: o.Ignore = None,
    rename: o.Map = None,
    rule: o.Rule = None,
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
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.compare.keys import propose_keys

        config_lookup.check_dataset(ctx)
        filed = config_lookup.settings_from_file(ctx)
        settings = Options(
            keys=NO_KEY,
            ignore=parsing.parse_names(ignore, "RECON_IGNORE")
            or filed.get("ignore", ()),
            renames={**filed.get("map", {}), **parsing.parse_mapping(rename)},
            rules=parsing.parse_rules(rule, filed.get("rules", {})),
            on_bad_row=on_bad_row,
            delimiter=delimiter.replace("\\t", "\t"),
            encodings=parse_encodings(encoding),
        )
        budget = _parse_budget(memory_budget)
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: propose_keys(
                    old,
                    new,
                    settings,
                    stop.checking_on_advance(progress),
                    most_columns=most,
                    budget=budget,
                )
            )
        render.show_proposals(found, form, lambda keys: _line(settings, keys, old, new))
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
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.compare.explain import explain_key

        config_lookup.check_dataset(ctx)
        settings = _make_options(
            ctx, key, ignore, rename, rule, mask, None, OnDuplicateKeys.PAIR,
            on_schema_drift, on_bad_row, delimiter, encoding, 0,
        )  # fmt: skip
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: explain_key(
                    old, new, settings, values, stop.checking_on_advance(progress)
                )
            )
        render.show_explanation(found, form)
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
    feed: o.Feed = Feed.INCREMENTAL,
    form: o.OutputFormat = Format.TABLE,
    output: o.Output = None,
    fail_on_diff: o.FailOnDiff = False,
    fail_on_no_files: o.FailOnNoFiles = False,
    recompute: o.Recompute = False,
    dry_run: o.DryRun = False,
    config: o.Config = None,  # noqa: ARG001 - acted on when it is parsed
) -> None:
    """Reconcile the pair in inbound, record the result, archive the inputs."""
    with emit_metrics(dataset, told=not dry_run) as meter, session.report_errors(form):
        from recon_cli import render
        from recon_engine.engines import choose_engine
        from recon_engine.pipeline import runner

        writers = render.check_targets(output)
        if not choose_engine(engine).brings_whole_difference:
            render.reject_whole_outputs(
                writers, "the whole difference is among the artifacts of the run"
            )
        settings = _make_options(
            ctx, keys, ignore, rename, rule, mask, gate, on_duplicate_keys,
            on_schema_drift, on_bad_row, delimiter, encoding, detail_limit,
        )  # fmt: skip
        base = nullcontext("") if dry_run else database.open_database()
        work = runner.dry_run if dry_run else runner.run_pipeline
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
                budget=_parse_budget(memory_budget),
                engine=engine,
                stage=stage,
                stage_loader=stage_loader,
                break_limit=break_limit,
                feed=feed,
                limits=Limits(max_field_bytes, max_field_lines, max_ratio),
            )
            with session.show_progress() as progress:
                outcome = run_on_worker(lambda stop: work(asked, progress, stop))
            if not dry_run:
                meter.ended(outcome, asked)
            if dry_run and outcome.result is not None:
                render.show_result(outcome.result, form)
                raise typer.Exit(_is_failure(outcome.result, fail_on_diff=fail_on_diff))
            _finish_run(outcome, form, writers, asked, fail_on_diff=fail_on_diff)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the demo lives.")
    ] = Path("recon-demo"),
    rows: Annotated[
        int, typer.Option("--rows", min=1, max=10_000_000, help="Claims in OLD.")
    ] = 20_000,
) -> None:
    """Make a pair of claims extracts and run the whole pipeline on it, locally."""
    with session.report_errors():
        from recon_cli import render
        from recon_engine.pipeline import demo, runner

        config = demo.prepare_demo(folder, rows=rows)
        with database.open_embedded_database(database.EMBEDDED_HOME) as conninfo:
            with session.show_progress(logged=False) as progress:
                outcome = run_on_worker(
                    lambda stop: runner.run_pipeline(config(conninfo), progress, stop)
                )
            render.show_outcome(outcome, Format.TABLE)
            if outcome.result is not None:
                render.show_tour(conninfo, outcome, folder)
        raise typer.Exit(outcome.record.exit_code)


@app.command()
def breaks(
    dataset: o.Dataset,
    state: o.BreakState = None,
    limit: o.BreakCount = 100,
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """The differences of a dataset that are open, with their age, oldest first."""
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres.breaks import list_breaks

        with database.past_runs() as conninfo:
            found = list_breaks(conninfo, dataset, state or None, limit)
        render.show_breaks(found, form)


@app.command()
def history(
    dataset: o.Dataset,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=1, max=MOST_COUNT, help="Runs, latest first."
        ),
    ] = 30,
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """The runs of a dataset: verdicts, counts, rates and durations."""
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres import history
        from recon_engine.postgres.connection import open_connection

        with database.past_runs() as conninfo, open_connection(conninfo) as connection:
            render.show_history(history.list_runs(connection, dataset, limit), form)


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
            "--history",
            metavar="N",
            min=1,
            max=10_000,
            help="The last N runs, not one of them.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page.")
    ] = Path("report.html"),
) -> None:
    """The HTML page of a stored run, or of the last runs of a dataset."""
    with session.report_errors():
        from recon_cli import render
        from recon_engine.postgres import history
        from recon_engine.postgres.connection import open_connection
        from recon_engine.report import history_page, result_page

        path = render.check_page_path(output)
        with database.past_runs() as conninfo, open_connection(conninfo) as connection:
            if past is None:
                run = history.find_run_id(connection, run_id, dataset)
                page = result_page.render_result(*history.load_result(connection, run))
            else:
                name = history.require_dataset(dataset)
                page = history_page.render_history(
                    name, history.list_runs(connection, name, past)
                )
        render.write_page(page, path)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT statement.")],
    form: o.OutputFormat = Format.TABLE,
) -> None:
    """Ask the metrics and stage tables, read-only: of the embedded server too."""
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres.connection import query_read_only

        with database.past_runs() as conninfo:
            render.show_rows(*query_read_only(conninfo, statement), form)


@app.command()
def migrate() -> None:
    """Bring the tables of the database up to date."""
    with session.report_errors():
        from recon_engine.postgres import migrations

        with database.open_database(up_to_date=False) as conninfo:
            applied = migrations.apply_migrations(conninfo)
        for name in applied or ("nothing to do: the tables are up to date",):
            typer.echo(name)


@app.command()
def roles() -> None:
    """Print the SQL by which an administrator makes the roles of a database."""
    with session.report_errors():
        from recon_engine.postgres.migrations import read_access_sql

        typer.echo(read_access_sql("roles").decode().rstrip())


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
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.pipeline.doctor import CheckState, examine_setup

        places = {"inbound": inbound_s3, "processed": processed_s3, "out": out_s3}
        given = {name: url for name, url in places.items() if url}
        config_lookup.check_dataset(ctx)
        masks = {
            **config_lookup.settings_from_file(ctx).get("masks", {}),
            **parsing.parse_masks(None),
        }
        known = not database.is_yet_to_be_made()
        with database.open_database() if known else nullcontext() as address:
            home = database.embedded_home()
            findings = list(examine_setup(given, address, masks, home))
        names = ("check", "state", "found", "remedy")
        table = [(f.check, f.state, f.found, f.remedy or "") for f in findings]
        render.show_rows(names, table, form)
        failed = any(finding.state is CheckState.FAIL for finding in findings)
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
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres import purge as retention

        age = retention.parse_age(older_than)
        with database.past_runs() as address:
            found = retention.find_old_values(
                address, age, dataset, artifacts=artifacts
            )
            if delete:
                retention.delete_old_values(address, found)
        names = ("what", "dataset", "deleted" if delete else "would_delete")
        render.show_rows(names, retention.count_old_values(found), form)


@app.command()
def statuses(form: o.OutputFormat = Format.TABLE) -> None:
    """How a run can end: status, exit code, whether to retry, meaning."""
    with session.report_errors(form):
        from recon_cli import render

        names = ("status", "exit", "retry", "meaning")
        table = [
            (str(status), row.exit_code, "yes" if row.retryable else "no", row.meaning)
            for status, row in STATUSES.items()
        ]
        render.show_rows(names, table, form)


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="result, config, error, …")] = "result",
) -> None:
    """Print the JSON Schema of a result, the configuration, an error, a manifest."""
    with session.report_errors():
        from recon_engine.postgres.migrations import schema_folder

        folder = schema_folder()
        known = sorted(f.name.split(".")[0] for f in folder.iterdir() if f.is_file())
        if name not in known:
            from recon_engine.suggestions import did_you_mean

            raise ConfigError(
                f"there is no schema {name}.{did_you_mean(name, known)}",
                help="one of: " + ", ".join(known),
            )
        typer.echo((folder / f"{name}.schema.json").read_text().rstrip())


def _make_options(
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
    filed = config_lookup.settings_from_file(ctx)
    return Options(
        keys=parsing.parse_names(keys, "RECON_KEYS") or filed.get("keys", ()),
        ignore=parsing.parse_names(ignore, "RECON_IGNORE") or filed.get("ignore", ()),
        renames={**filed.get("map", {}), **parsing.parse_mapping(rename)},
        rules=parsing.parse_rules(rule, filed.get("rules", {})),
        masks={**filed.get("masks", {}), **parsing.parse_masks(mask)},
        gates=parsing.parse_gates(gate) or filed.get("gates", ()),
        suppressions=filed.get("suppressions", ()),
        on_duplicate_keys=duplicates,
        on_schema_drift=drift,
        on_bad_row=bad_row,
        delimiter=delimiter.replace("\\t", "\t"),
        encodings=parse_encodings(encoding),
        detail_limit=detail_limit,
    )


def _line(settings: Options, keys: tuple[str, ...], old: str, new: str) -> str:
    """The command that compares two files by a key that was found."""
    from recon_engine.command_line import rebuild_command

    return rebuild_command(replace(settings, keys=keys), old, new)


def _parse_budget(text: str | None) -> Budget | None:
    from recon_engine.runtime.memory import parse_budget

    return None if text is None else parse_budget(text)


def _finish_run(
    outcome: Outcome,
    form: Format,
    writers: list[tuple[Path, str]],
    asked: RunConfig,
    *,
    fail_on_diff: bool,
) -> None:
    """Show how a run ended and leave with its exit code."""
    from recon_cli import render

    failpoint("report")
    if outcome.error is not None and outcome.result is None:
        code, facts = outcome.record.exit_code, render.run_facts(outcome)
        session.exit_with_error(outcome.error, form, code, facts)
    render.show_outcome(outcome, form)
    if outcome.result is not None:
        render.write_all(outcome.result, writers, lambda: _facts_of_run(outcome, asked))
    raise typer.Exit(
        outcome.record.exit_code
        or _is_failure(outcome.result, fail_on_diff=fail_on_diff)
    )


def _is_failure(result: Reconciliation | None, *, fail_on_diff: bool) -> bool:
    """Whether the result of a run that went well ends it with exit code 1."""
    if result is None:
        return False
    return bool(result.failures) or (fail_on_diff and result.unsettled)


def _facts_of_diff(settings: Options) -> PageFacts:
    from recon_engine.report.result_page import PageFacts

    return PageFacts(options=settings, timed=True)


def _facts_of_run(outcome: Outcome, asked: RunConfig) -> PageFacts:
    from recon_engine.postgres import history
    from recon_engine.postgres.connection import open_connection

    record = outcome.record
    with open_connection(asked.database) as connection:
        told = history.load_facts(
            connection, record.run_id, asked.dataset, record.started, asked.options
        )
    return replace(told, timed=True)


def main() -> None:
    """Run the command line, whose stderr is ours, and end with its exit code."""
    if "--debug" not in sys.argv:
        guard_stderr()
    unwind_on_signal()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files may hold bytes that are not UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _refuse_undecodable()
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
    """Report a wrong command line, or what no command has met, as is asked for."""
    form = Format.JSON if _wants_json(sys.argv) else Format.TABLE
    wrong = hasattr(error, "format_message")
    if wrong and form is Format.TABLE:
        error.show()
        return STATUSES[RunStatus.USAGE_ERROR].exit_code
    told = (
        ConfigError(error.format_message(), help="recon COMMAND --help")
        if wrong
        else to_recon_error(error)
    )
    try:
        session.exit_with_error(told, form)
    except typer.Exit as ended:
        return ended.exit_code


def _wants_json(arguments: list[str]) -> bool:
    following = dict(itertools.pairwise(arguments))
    asked = following.get("--format", following.get("-f"))
    given = asked or os.environ.get("RECON_FORMAT")
    return given == Format.JSON or "--format=json" in arguments
