"""Commands that compare two files and keep nothing: diff, keys, explain."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_cli import session
from recon_cli.parsing import parse_names
from recon_cli.worker import run_on_worker
from recon_engine.characters import readable
from recon_engine.errors import (
    ConfigError,
    EncodingError,
    KeyMissing,
    MalformedInput,
    NoCommonColumn,
    SchemaMismatch,
    UnfitNames,
)


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_cli.parameters import Context, KeyValues, MaxColumns, New, Old
    from recon_cli.settings import Settings
    from recon_engine.compare.key_search import Proposal
    from recon_engine.config import Options
    from recon_engine.errors import ReconError
    from recon_engine.report.result_page import PageFacts
    from recon_engine.result import Reconciliation

MOST_KEY_COLUMNS: Final = 3
# Errors of files that are read otherwise than they are written.
UNFIT: Final = (
    EncodingError,
    KeyMissing,
    MalformedInput,
    NoCommonColumn,
    SchemaMismatch,
    UnfitNames,
)


def diff(old: Old, new: New, settings: Settings) -> None:
    """Compare two files: exit 0 if they agree, 1 if they differ.

    Examples:
      recon diff old.csv new.csv --key CLM_ID
      recon diff old.csv new.csv -k CLM_ID --rule 'PAID=decimal(abs=0.01)' -o r.html
      recon diff old.csv.gz s3://claims/new.csv -k CLM_ID --gate 'missing<=0' -f json
    """
    form = settings["format"]
    with session.report_errors(form), _naming_remedies(old, new, settings):
        from recon_cli import render
        from recon_engine.api import compare_inputs
        from recon_engine.engines import choose_engine

        engine = settings["engine"]
        writers = render.check_targets(
            settings["output"],
            old,
            new,
            settings=settings,
            rejects=settings["rejects"],
        )
        whole = choose_engine(engine).brings_whole_difference
        if not whole:
            render.reject_whole_outputs(
                writers, "RECON_SPARK_OUT=URL has its tasks write the whole difference"
            )
        # With Spark no file is read here for a proposal: the options of the comparison
        # refuse to have no key.
        if not settings["keys"] and whole:
            raise _propose_key(old, new, settings)
        asked, limits = settings.options, settings.limits
        wanted = settings["save_hints"]
        if wanted is not None:
            from recon_cli.save_hints import parse_numbers, save_hints

            # Checked before the comparison, which may take hours.
            numbers = parse_numbers(wanted)
        budget = settings["memory_budget"]
        started = datetime.now(UTC)
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

        def show() -> None:
            if drafted := settings["suppression_draft"]:
                from recon_cli.suppression_draft import print_for_columns

                source = settings.source
                file = Path(source["file"]) if source else None
                print_for_columns(result, drafted, source.get("dataset"), file)
                return
            described = bool(settings.source)
            then = render.next_step(result, writers, described=described, whole=whole)
            explaining = _explaining(old, new, result, asked, settings)
            render.show_result(result, form, then, explaining=explaining, numbered=True)

        def write() -> None:
            facts = partial(_page_facts, asked, settings, started)
            render.write_all(result, writers, facts)
            if wanted is None:
                return
            words = settings.limit_words
            saved = save_hints(result, asked, numbers, settings.source, words)
            session.announce(saved)
            flags = settings.flags_besides_file
            if flags:
                session.announce(f"not saved, of this command line: {', '.join(flags)}")

        session.show_then(show, write)
        failed = not (result.passes or settings["exit_zero"])
        session.end_command(int(failed), readable(result.headline()))


def keys(
    old: Old,
    new: New,
    settings: Settings,
    max_columns: MaxColumns = MOST_KEY_COLUMNS,
) -> None:
    """Propose the smallest sets of columns that are a key.

    A key with an amount or a date, which two rows may share, comes after all others.
    The exit code is 1 if there is none.

    Examples:
      recon keys old.csv new.csv
      recon keys old.csv new.csv --max-columns 4 --ignore LOADED_AT
      recon keys old.csv new.csv --map PAID_AMT=PAID_AMOUNT -f json
    """
    form = settings["format"]
    with session.report_errors(form), _naming_remedies(old, new, settings):
        from recon_cli import render

        asked = settings.options_without_key
        found = _find_keys(old, new, settings, max_columns)
        render.show_proposals(
            found,
            form,
            lambda best: _command(asked, best, old, new, settings.limit_words),
        )
        session.end_command(
            int(not any(each.is_key for each in found)), "no set of columns is a key"
        )


def explain(
    old: Old,
    new: New,
    settings: Settings,
    values: KeyValues = None,
    context: Context = None,
) -> None:
    """Show the rows of one key side by side.

    The exit code is 0 if they agree, else 1: also if none is compared, because a filter
    leaves them out.

    Examples:
      recon explain old.csv new.csv 10042 --key CLM_ID
      recon explain old.csv new.csv 10042 3 --key CLM_ID,LINE -f json
      recon explain old.csv new.csv 10042 --key CLM_ID --context all
    """
    form = settings["format"]
    with session.report_errors(form), _naming_remedies(old, new, settings):
        from recon_cli import render
        from recon_engine.compare.explain import explain_key

        if not settings["keys"]:
            raise _propose_key(old, new, settings)
        asked = settings.options
        if not values:
            raise _request_values(asked.keys)
        shown = parse_names(context or ())
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: explain_key(
                    old,
                    new,
                    asked,
                    values,
                    stop.checking_on_advance(progress),
                    limits=settings.limits,
                    context=shown,
                )
            )
        render.show_explanation(found, form)
        session.end_command(int(not found.agrees), found.disagreement)


@contextmanager
def _naming_remedies(old: str, new: str, settings: Settings) -> Iterator[None]:
    """Let the errors of two files name what describes them.

    That is `recon init` if nobody has described them, or the settings of the other
    side.
    """
    try:
        yield
    except UNFIT as error:
        # What was typed for these files may be wrong; a file describes other days, too.
        described = settings.source and settings.has("keys") and settings["keys"]
        if described and (other := _find_other_side(old, new, settings)):
            error.help = other
        elif _is_of_reading(error):
            remedies = (error.help, _drafting(old, new, settings))
            error.help = "; ".join(filter(None, remedies)) or None
        raise


def _find_other_side(old: str, new: str, settings: Settings) -> str | None:
    from recon_cli.other_side import find_other_side

    return find_other_side(old, new, settings.options, settings.limits)


def _is_of_reading(error: ReconError) -> bool:
    """Whether `recon init` finds a reading of files that have this error."""
    match error:
        case KeyMissing():
            return not error.is_settled
        case MalformedInput():
            return "--delimiter" in (error.help or "")
        case _:
            return isinstance(error, EncodingError | NoCommonColumn)


def _drafting(old: str, new: str, settings: Settings) -> str | None:
    """What `recon init` does for two files, with the command.

    None if a configuration file describes them, and for what is no file.
    """
    from recon_engine.command_line import quoted

    if settings.source or not all(Path(each).is_file() for each in (old, new)):
        return None
    command = " ".join(map(quoted, ("recon", "init", old, new)))
    return f"{command} looks for delimiter, encoding, names, key and rules"


def _find_keys(
    old: str, new: str, settings: Settings, most_columns: int
) -> list[Proposal]:
    """The keys of two files, best first, found with progress on a worker."""
    from recon_engine.compare.key_search import propose_keys

    asked = settings.options_without_key
    # `explain` also proposes a key, and has no option for memory.
    budget = settings["memory_budget"] if settings.has("memory_budget") else None
    with session.show_progress(logged=False) as progress:
        return run_on_worker(
            lambda stop: propose_keys(
                old,
                new,
                asked,
                stop.checking_on_advance(progress),
                most_columns=most_columns,
                budget=budget,
                limits=settings.limits,
            )
        )


def _propose_key(old: str, new: str, settings: Settings) -> ConfigError:
    """The error of a command without a key, with the best key of the two files.

    Both files are read for it. Their own errors are raised: they come first.
    """
    if settings.other_datasets:
        names = ", ".join(settings.other_datasets)
        return ConfigError(
            "no key column is named",
            why=f"{settings.source['file']} has several datasets, and none is chosen",
            help=f"add --dataset NAME, one of: {names}; or add --key COLUMN",
        )
    found = _find_keys(old, new, settings, MOST_KEY_COLUMNS)
    why = "no column that was tried has a value that is in both files"
    remedy = "add --key COLUMN; --map OLD=NEW pairs columns with other names"
    if found:
        why = found[0].reason
        if found[0].is_likely:
            remedy = _with_key(found[0].columns)
    drafting = None
    if not (found and found[0].is_key):
        drafting = _drafting(old, new, settings)
    return ConfigError(
        "no key column is named",
        why=why,
        help="; ".join(filter(None, (remedy, drafting))),
    )


def _request_values(keys: Sequence[str]) -> ConfigError:
    """The error of `explain` without the value of a key."""
    from recon_engine.formatting import format_count

    values = [f"VALUE{number}" for number in range(1, len(keys) + 1)]
    command = _with_words(*(values if keys[1:] else ("VALUE",)))
    return ConfigError(
        f"the key has {format_count(len(keys), 'column')}, and no value is given:"
        f" {', '.join(keys)}",
        help=f"such as: {command}; recon diff lists the keys of the rows that differ",
    )


def _with_key(columns: Sequence[str]) -> str:
    """The command line of this process with a key."""
    from recon_engine.command_line import key_flags

    return _with_words(key_flags(columns))


def _with_words(*more: str) -> str:
    """The command line of this process with more words, quoted for the shell."""
    from recon_engine.command_line import quoted

    words = [quoted(word) for word in sys.argv[1:]]
    # What follows `--` is no option.
    at = words.index("--") if "--" in words else len(words)
    return " ".join(["recon", *words[:at], *more, *words[at:]])


def _command(
    asked: Options, best: Proposal, old: str, new: str, limits: Sequence[str]
) -> str:
    """The command that compares two files by a key that was found."""
    from recon_engine.command_line import rebuild_command
    from recon_engine.config import OnSchemaDrift

    if best.drift:
        # Without it, the proposed command would refuse the columns of one file.
        asked = replace(asked, on_schema_drift=OnSchemaDrift.COMPARE)
    asked = replace(asked, keys=best.columns)
    return rebuild_command(asked, old, new, limits=limits)


def _explaining(
    old: str, new: str, result: Reconciliation, asked: Options, settings: Settings
) -> str:
    """The command that shows the first listed row that differs; "" if there is none.

    A masked key finds no row. An input that is no file, such as a pipe, was read, and
    of settings from several places it is not known which of them the command needs.
    """
    from recon_engine.command_line import explain_command, option_words

    files = all(Path(each).is_file() for each in (old, new))
    if not result.sample or asked.masks or not files:
        return ""
    if not settings.source:
        # Of the options of `diff`, `explain` takes only some.
        words = [*option_words(asked, explain.__name__)]
    elif settings.are_from_file:
        words = [*settings.words_here]
    else:
        return ""
    words += settings.limit_words
    shown, accepted = result.split_sample()
    key = [*(*shown, *accepted)[0].key.values()]
    return explain_command(old, new, key, words)


def _page_facts(asked: Options, settings: Settings, started: datetime) -> PageFacts:
    from recon_engine.report.result_page import PageFacts

    words = settings.file_words if settings.are_from_file else ()
    return PageFacts(
        options=asked,
        timed=True,
        words=words,
        limit_words=settings.limit_words,
        started=started,
    )
