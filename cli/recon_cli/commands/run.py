"""Commands that run the pipeline: run, demo."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recon_cli import database, session
from recon_cli.cloudwatch import emit_metrics
from recon_cli.run_end import RunClock, log_run_end
from recon_cli.worker import run_on_worker
from recon_engine.characters import readable
from recon_engine.config import RunConfig
from recon_engine.errors import ReconError
from recon_engine.options import Format, Group
from recon_engine.runtime.failpoints import failpoint


if TYPE_CHECKING:
    from recon_cli.settings import Settings
    from recon_engine.pipeline.runner import Outcome
    from recon_engine.report.result_page import PageFacts
    from recon_engine.result import Reconciliation


log = logging.getLogger("recon")

DemoFolder = Annotated[
    Path,
    typer.Option(
        "--folder",
        metavar="FOLDER",
        help="Folder in which the demo writes its files.",
        rich_help_panel=Group.STORAGE,
    ),
]
DemoRows = Annotated[
    int,
    typer.Option(
        "--rows",
        metavar="N",
        min=1,
        max=10_000_000,
        help="Number of claims in the old file.",
        rich_help_panel=Group.INPUT,
    ),
]


def run(settings: Settings) -> None:
    """Reconcile the pair in inbound, record the result, and archive.

    Examples:
      recon run --inbound-s3 in --processed-s3 done --out-s3 out --dataset claims -k ID
      recon run --config /srv/claims/recon.toml -q --log-file /srv/claims/run.log
      recon run --dataset claims --dry-run --format json
    """
    form, dry_run = settings["format"], settings["dry_run"]
    dataset = settings.required_dataset
    with (
        # In this order: `report_errors` makes an error the end of a command, whose exit
        # code the two around it write down.
        log_run_end(dataset, dry_run=dry_run) as clock,
        # A dry run records nothing, and alarms must not take it for a success.
        emit_metrics(dataset, emit=not dry_run) as meter,
        session.report_errors(form),
    ):
        from recon_cli import render
        from recon_engine.engines import choose_engine
        from recon_engine.pipeline import runner

        writers = render.check_targets(settings["output"], settings=settings)
        if not choose_engine(settings["engine"]).brings_whole_difference:
            render.reject_whole_outputs(
                writers, "the whole difference is among the artifacts of the run"
            )
        asked = settings.options
        home = database.choose_home(settings["config"])
        if home != database.EMBEDDED_HOME:
            clock.words = ("--config", str(settings["config"]))
        config = RunConfig(
            options=asked,
            # Its address is not known before it is open, and some checks come before.
            database="",
            limits=settings.limits,
            **settings.fields_of(RunConfig),
        )
        if not dry_run and database.is_yet_to_be_made(home):
            # A run that cannot begin leaves no database behind.
            runner.check_locations(config)
            clock.created = home.resolve()
        base = nullcontext("") if dry_run else database.open_database(home)
        work = runner.dry_run if dry_run else runner.run_pipeline
        with base as conninfo:
            if clock.created:
                log.info("database_created", extra={"home": str(clock.created)})
            config = replace(config, database=conninfo)
            with session.show_progress() as progress:
                outcome = run_on_worker(lambda stop: work(config, progress, stop))
            clock.outcome = outcome
            # The database is still open: an embedded server stops at the end of the
            # block.
            if not dry_run:
                meter.record_outcome(outcome, config)
                _sum_up(clock, config)
            if dry_run and outcome.result is not None:
                render.show_result(outcome.result, form)
                failed = _is_failure(outcome.result, config)
                headline = readable(outcome.result.headline())
                session.end_command(int(failed), f"{dataset}: {headline}")
            _finish_run(clock, form, writers, config)


def demo(folder: DemoFolder = Path("recon-demo"), rows: DemoRows = 20_000) -> None:
    """Generate a pair of extracts and run the whole pipeline on it.

    Everything is local: the files, and an embedded Postgres.

    Examples:
      recon demo
      recon demo --folder /tmp/recon-demo --rows 1000000
    """
    with session.report_errors():
        from recon_cli import render
        from recon_engine.pipeline import demo, runner

        clock = RunClock()
        config = demo.prepare_demo(folder, rows=rows)
        with database.open_embedded_database(database.EMBEDDED_HOME) as conninfo:
            with session.show_progress(logged=False) as progress:
                outcome = run_on_worker(
                    lambda stop: runner.run_pipeline(config(conninfo), progress, stop)
                )
            clock.outcome = outcome
            render.show_outcome(clock, Format.TABLE)
            if outcome.result is not None:
                render.show_tour(conninfo, outcome, folder)
        raise session.CommandEnded(outcome.record.exit_code)


def _finish_run(
    clock: RunClock,
    form: Format,
    writers: list[tuple[Path, str]],
    config: RunConfig,
) -> None:
    """Show how a run ended and leave with its exit code."""
    from recon_cli import render

    outcome = clock.outcome
    assert outcome is not None  # noqa: S101 - the caller has run it
    failpoint("report")
    if outcome.error is not None and outcome.result is None:
        code, facts = outcome.record.exit_code, render.run_facts(outcome)
        note = "; ".join(each.describe() for each in outcome.record.recovered)
        session.exit_with_error(outcome.error, form, code, facts, note)
    result = outcome.result

    def write() -> None:
        if result is not None:
            render.write_all(result, writers, lambda: _page_facts(outcome, config))

    session.show_then(lambda: render.show_outcome(clock, form), write)
    session.end_command(outcome.record.exit_code, render.describe_outcome(clock))


def _is_failure(result: Reconciliation, config: RunConfig) -> bool:
    """Whether the result of a dry run ends it with exit code 1, as that of a run."""
    return bool(result.failures) or (config.fail_on_diff and result.unsettled)


def _sum_up(clock: RunClock, config: RunConfig) -> None:
    """Find what is said of a run with a result that is recorded."""
    outcome = clock.outcome
    if outcome is None or outcome.result is None:
        return
    from recon_engine.postgres.changed_settings import list_changed_settings
    from recon_engine.postgres.clean_state import describe_clean_state
    from recon_engine.postgres.connection import open_connection

    run_id = outcome.record.run_id
    # A result that is recorded is not an error because it cannot be summed up.
    with suppress(ReconError), open_connection(config.database) as connection:
        clock.clean_state = describe_clean_state(connection, run_id)
        clock.changed_settings = list_changed_settings(
            connection, run_id, outcome.breaks
        )


def _page_facts(outcome: Outcome, config: RunConfig) -> PageFacts:
    from recon_engine.postgres import history
    from recon_engine.postgres.connection import open_connection

    record = outcome.record
    with open_connection(config.database) as connection:
        facts = history.load_facts(
            connection, record.run_id, config.dataset, record.started, config.options
        )
    return replace(facts, timed=True)
