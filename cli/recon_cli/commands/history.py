"""Commands that read recorded runs: breaks, history, report, sql."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recon_cli import database, session
from recon_engine.config_place import find_config_file
from recon_engine.errors import ConfigError
from recon_engine.model import MOST_COUNT, BreakState
from recon_engine.options import Group


if TYPE_CHECKING:
    from recon_cli.settings import Settings
    from recon_engine.postgres.breaks import BreakFilter


def _limit_option(description: str) -> Any:
    return typer.Option(
        "--limit",
        metavar="N",
        min=1,
        max=MOST_COUNT,
        help=description,
        rich_help_panel=Group.OUTPUT,
    )


def _filter_option(
    flag: str,
    description: str,
    metavar: str | None = None,
    show_default: bool | str = True,
) -> Any:
    return typer.Option(
        flag,
        metavar=metavar,
        help=description,
        show_default=show_default,
        rich_help_panel=Group.OUTPUT,
    )


BreakStates = Annotated[
    list[BreakState] | None,
    _filter_option(
        "--state",
        "Show only breaks in this state. Repeatable.",
        show_default="every open state",
    ),
]
BreakColumns = Annotated[
    list[str] | None,
    _filter_option(
        "--column",
        "Show only breaks of cells in this column. Repeatable.",
        metavar="COL",
        show_default="every column, and missing and extra rows",
    ),
]
BreakKinds = Annotated[
    list[str] | None,
    _filter_option(
        "--kind",
        "Show only breaks of this kind, such as number, missing or extra. Repeatable.",
        metavar="KIND",
        show_default="every kind",
    ),
]
WithoutColumns = Annotated[
    list[str] | None,
    _filter_option(
        "--not-column",
        "Leave out breaks of cells in this column. Repeatable.",
        metavar="COL",
    ),
]
WithoutKinds = Annotated[
    list[str] | None,
    _filter_option(
        "--not-kind", "Leave out breaks of this kind. Repeatable.", metavar="KIND"
    ),
]
BreakRun = Annotated[
    str | None,
    _filter_option(
        "--run",
        "Show only breaks that were new in this run, and those that it ended and no"
        " later run reopened, with the state that they have now; --state new, resolved"
        " or gone has one of them. An id, its first digits, or 'latest'.",
        metavar="RUN",
        show_default="the state after the last run",
    ),
]
WithAccepted = Annotated[
    bool,
    _filter_option("--accepted", "Also show open breaks that a suppression accepts."),
]
BreakKey = Annotated[
    list[str] | None,
    _filter_option(
        "--key-value",
        "Show only breaks of this key: the value of each key column, in the order of"
        " the key; or all values as one JSON array.",
        metavar="VALUE",
        show_default="every key",
    ),
]
BreakTotals = Annotated[
    bool,
    typer.Option(
        "--totals",
        help="Print how many breaks there are by state, kind and column, not the"
        " breaks.",
        rich_help_panel=Group.OUTPUT,
    ),
]
BreakSuppressions = Annotated[
    bool,
    _filter_option(
        "--suppress",
        "Print [[suppress]] tables for recon.toml that accept the breaks, not the"
        " breaks: one for each column and kind, with the keys. Reason and owner are to"
        " be filled in.",
    ),
]
BreakKeys = Annotated[
    list[str] | None,
    _filter_option(
        "--keys",
        "Show the breaks under these key columns, which earlier runs had.",
        metavar="COL,…",
        show_default="those of the last run that tracked breaks",
    ),
]
BreakCount = Annotated[
    int, _limit_option("Largest number of breaks to print, oldest first.")
]
RunCount = Annotated[
    int, _limit_option("Largest number of runs to print, latest first.")
]
RunId = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Id of a run, its first four or more digits, or 'latest' (the default).",
    ),
]
PastRuns = Annotated[
    int | None,
    typer.Option(
        "--history",
        metavar="N",
        min=1,
        max=10_000,
        help="Render the history of the last N runs of the dataset.",
        rich_help_panel=Group.OUTPUT,
    ),
]
PageFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="HTML file to write.",
        show_default="report.html, or history.html with --history",
        rich_help_panel=Group.OUTPUT,
    ),
]
Statement = Annotated[
    str, typer.Argument(metavar="STATEMENT", help="One SELECT statement.")
]


def breaks(
    settings: Settings,
    state: BreakStates = None,
    run: BreakRun = None,
    column: BreakColumns = None,
    kind: BreakKinds = None,
    key_value: BreakKey = None,
    not_column: WithoutColumns = None,
    not_kind: WithoutKinds = None,
    keys: BreakKeys = None,
    accepted: WithAccepted = False,
    totals: BreakTotals = False,
    suppress: BreakSuppressions = False,
    limit: BreakCount = 100,
) -> None:
    """List the tracked differences of a dataset, oldest first.

    Examples:
      recon breaks --dataset claims --state new --not-column STATUS --totals -f json
      recon breaks --run 01a22d13-8 --state resolved
      recon breaks --key-value 10042 --key-value 3 --suppress
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_cli.parsing import parse_names
        from recon_engine.characters import readable
        from recon_engine.formatting import write_ignore
        from recon_engine.postgres.breaks import BreakFilter, list_breaks
        from recon_engine.postgres.connection import open_connection
        from recon_engine.postgres.history import choose_dataset, find_run_id

        if totals and suppress:
            raise ConfigError(
                "--totals and --suppress exclude each other", help="leave one out"
            )
        wanted = BreakFilter(
            states=state or (),
            columns=column or (),
            kinds=kind or (),
            key=key_value or (),
            not_columns=not_column or (),
            not_kinds=not_kind or (),
            accepted=accepted,
        )
        with database.past_runs(settings["config"]) as conninfo:
            with open_connection(conninfo) as connection:
                dataset = choose_dataset(connection, settings["dataset"])
                if run is not None:
                    of_run = find_run_id(connection, run, dataset)
                    wanted = replace(wanted, run=of_run)
            # Totals count all breaks, and no row of them is read.
            most = 0 if totals else limit
            found = list_breaks(
                conninfo, dataset, wanted, most, parse_names(keys or [])
            )
        filed = settings.suppressions_of(dataset)
        # With --dataset, the settings of the file are not read.
        path = settings["config"] or find_config_file()
        if totals:
            render.show_break_totals(found, form)
        elif suppress:
            from recon_cli import suppression_draft

            render.note_breaks(found)
            before = found.suppressions if filed is None else filed
            suppression_draft.print_suppressions(found, dataset, path, before or [])
        else:
            named = settings.file_words or _name_settings(path, dataset)
            render.show_breaks(found, form, named)
        if wanted.key and not found.total + found.left_out:
            session.announce(_say_key_is_not_found(wanted))
        if drifted := [name for name in wanted.columns if name in found.drifted]:
            session.announce(
                f"not compared, on one side only: {readable(', '.join(drifted))};"
                f" to leave out: {write_ignore(drifted)} in recon.toml, or --ignore"
            )
        known = None not in (filed, found.suppressions) and not found.outdated
        if known and filed != found.suppressions:
            session.announce(
                f"the suppressions of {settings.config_file} changed after the last"
                " run; they apply from the next run; to apply them to the pair of the"
                " last run, put its two files into inbound again and start recon run"
            )


def _name_settings(path: Path | None, dataset: str) -> tuple[str, ...]:
    """The flags by which a command has what a file sets for a dataset, if it does."""
    if path is None:
        return ()
    from recon_engine.config_file import load_configuration

    try:
        load_configuration(path, dataset)
    except ConfigError:
        return ()
    return "--config", str(path), "--dataset", dataset


def _say_key_is_not_found(wanted: BreakFilter) -> str:
    """That no break has the key of a filter, and what shows others."""
    others = (wanted.columns, wanted.kinds, wanted.not_columns, wanted.not_kinds)
    fits = " and fits the other options" if any(others) else ""
    if wanted.run is not None:
        which = (
            "of the run in this state"
            if wanted.states
            else "that the run began or ended"
        )
        return (
            f"no break {which} has this key{fits}; without --run,"
            " the open breaks of all runs are listed"
        )
    if wanted.states:
        return f"no break in this state has this key{fits}"
    return (
        f"no open break has this key{fits}; --state resolved --state gone shows those"
        " that have ended"
    )


def history(settings: Settings, limit: RunCount = 30) -> None:
    """List the runs of a dataset with verdicts, counts and rates.

    Examples:
      recon history --dataset claims
      recon history --dataset claims --limit 365 --format json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres import history
        from recon_engine.postgres.connection import open_connection

        with (
            database.past_runs(settings["config"]) as conninfo,
            open_connection(conninfo) as connection,
        ):
            dataset = history.choose_dataset(connection, settings["dataset"])
            runs = history.list_runs(connection, dataset, limit)
            render.show_history(runs, form)
            for line in history.describe_last_state(connection, dataset):
                session.announce(line)


def report(
    settings: Settings,
    run_id: RunId = None,
    past: PastRuns = None,
    output: PageFile = None,
) -> None:
    """Write the HTML page of a recorded run, or of many runs.

    Examples:
      recon report --dataset claims
      recon report --dataset claims --history 30
    """
    with session.report_errors():
        from recon_cli import render
        from recon_engine.formatting import format_count
        from recon_engine.postgres import history
        from recon_engine.postgres.connection import open_connection
        from recon_engine.report import history_page, result_page

        dataset = settings["dataset"]
        name = "report.html" if past is None else "history.html"
        path = render.check_page_path(output or Path(name))
        with (
            database.past_runs(settings["config"]) as conninfo,
            open_connection(conninfo) as connection,
        ):
            if past is None:
                run = history.find_run_id(connection, run_id, dataset)
                result, facts = history.load_result(connection, run)
                page = result_page.render_result(result, facts)
                what = f"run {run} of {facts.dataset}"
            else:
                name = history.choose_dataset(connection, dataset)
                runs = history.list_runs(connection, name, past)
                state = history.describe_last_state(connection, name)
                page = history_page.render_history(name, runs, state)
                what = f"{format_count(len(runs), 'run')} of {name}"
        render.write_page(page, path)
        session.announce(f"{path}: {what}")


def sql(statement: Statement, settings: Settings) -> None:
    """Query the metrics and stage tables, read-only.

    The database may be that of the embedded server.

    Examples:
      recon sql "SELECT run_id, status FROM metrics.pipeline_run_log"
      recon sql "SELECT count(*) FROM metrics.artifact" --format json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres.connection import query_read_only

        with database.past_runs(settings["config"]) as conninfo:
            render.show_rows(*query_read_only(conninfo, statement), form)
