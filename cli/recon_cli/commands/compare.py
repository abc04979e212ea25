"""Commands that compare two files and keep nothing: diff, keys, explain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from recon_cli import session, signatures
from recon_cli.worker import run_on_worker
from recon_engine.options import Group


if TYPE_CHECKING:
    from recon_engine.config import Options
    from recon_engine.report.result_page import PageFacts


Old = Annotated[
    str, typer.Argument(metavar="OLD", help="The old file: a CSV path or an s3:// URL.")
]
New = Annotated[
    str, typer.Argument(metavar="NEW", help="The new file: a CSV path or an s3:// URL.")
]
KeyValues = Annotated[
    list[str],
    typer.Argument(
        metavar="VALUE...",
        help="The value of each key column, in the order of the key; or all values as"
        " one JSON array.",
    ),
]
MaxColumns = Annotated[
    int,
    typer.Option(
        "--max-columns",
        metavar="N",
        min=1,
        max=4,
        help="Largest number of columns in a proposed key.",
        rich_help_panel=Group.COMPARISON,
    ),
]


def diff(old: Old, new: New, settings: signatures.Settings) -> None:
    """Compare two files; exit with 0 if they agree, with 1 if they differ.

    Examples:
      recon diff old.csv new.csv --key CLM_ID
      recon diff old.csv new.csv -k CLM_ID --rule 'PAID=decimal(abs=0.01)' -o r.html
      recon diff old.csv.gz s3://claims/new.csv -k CLM_ID --gate 'missing<=0' -f json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.api import compare_inputs
        from recon_engine.engines import choose_engine

        engine = settings["engine"]
        writers = render.check_targets(
            settings["output"], old, new, rejects=settings["rejects"]
        )
        if not choose_engine(engine).brings_whole_difference:
            render.reject_whole_outputs(
                writers, "RECON_SPARK_OUT=URL has its tasks write the whole difference"
            )
        asked, limits = settings.options, settings.limits
        budget = settings["memory_budget"]
        with session.show_progress(logged=False) as progress:
            result = run_on_worker(
                lambda stop: compare_inputs(
                    old,
                    new,
                    asked,
                    stop.checking_on_advance(progress),
                    budget=budget,
                    limits=limits,
                    engine=engine,
                    # A file that is written outlives the inputs, so it names them by
                    # their hashes.
                    sha256=settings["sha256"] or bool(writers),
                )
            )
        render.show_result(result, form, render.next_step(result, writers))
        render.write_all(result, writers, lambda: _page_facts(asked))
        raise typer.Exit(0 if result.passes or settings["exit_zero"] else 1)


def keys(
    old: Old, new: New, settings: signatures.Settings, max_columns: MaxColumns = 3
) -> None:
    """Propose the smallest sets of columns that are a key of both files.

    Examples:
      recon keys old.csv new.csv
      recon keys old.csv new.csv --max-columns 4 --ignore LOADED_AT
      recon keys old.csv new.csv --map PAID_AMT=PAID_AMOUNT -f json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.compare.keys import propose_keys

        asked = settings.options_without_key
        budget = settings["memory_budget"]
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: propose_keys(
                    old,
                    new,
                    asked,
                    stop.checking_on_advance(progress),
                    most_columns=max_columns,
                    budget=budget,
                )
            )
        render.show_proposals(found, form, lambda keys: _command(asked, keys, old, new))
        raise typer.Exit(int(not any(each.is_key for each in found)))


def explain(
    old: Old, new: New, values: KeyValues, settings: signatures.Settings
) -> None:
    """Show the rows of one key side by side: their places in the files and differences.

    Examples:
      recon explain old.csv new.csv 10042 --key CLM_ID
      recon explain old.csv new.csv 10042 3 --key CLM_ID,LINE -f json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.compare.explain import explain_key

        asked = settings.options
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: explain_key(
                    old, new, asked, values, stop.checking_on_advance(progress)
                )
            )
        render.show_explanation(found, form)
        raise typer.Exit(int(not found.agrees))


def _command(asked: Options, keys: tuple[str, ...], old: str, new: str) -> str:
    """The command that compares two files by a key that was found."""
    from recon_engine.command_line import rebuild_command

    return rebuild_command(replace(asked, keys=keys), old, new)


def _page_facts(asked: Options) -> PageFacts:
    from recon_engine.report.result_page import PageFacts

    return PageFacts(options=asked, timed=True)
