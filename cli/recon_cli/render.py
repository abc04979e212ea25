"""Print and write what a command found: one function per shape, one branch per format.

Library imports are inside functions: `recon --help` loads neither polars nor rich.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_cli.run_end import format_summary
from recon_cli.session import (
    announce,
    describe_error,
    echo,
    is_quiet,
    make_console,
    say,
    shows_details,
)
from recon_cli.written_files import (
    INPUT,
    OTHER_NAME,
    SETTINGS_FILE,
    FilesInUse,
)
from recon_engine.characters import readable
from recon_engine.errors import ConfigError
from recon_engine.formatting import (
    escape_markdown,
    format_count,
    format_rate,
    format_share,
    markdown_row,
)
from recon_engine.model import PAGE_CELLS
from recon_engine.options import Format
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from recon_cli.run_end import RunClock
    from recon_cli.settings import Settings
    from recon_engine.compare.explained_rows import Explanation
    from recon_engine.compare.key_search import Proposal
    from recon_engine.model import Breaks, PastRun
    from recon_engine.pipeline.runner import Outcome
    from recon_engine.postgres.breaks import BreakPage
    from recon_engine.report.result_page import PageFacts
    from recon_engine.result import Reconciliation


HTML: Final = ".html"
WORKBOOK: Final = ".xlsx"
# They have one table.
CELLS_ONLY: Final = (".csv", ".parquet")
REJECTS: Final = "--rejects"


def _write_markdown(result: Reconciliation) -> str:
    from recon_engine.result_document import write_markdown

    return write_markdown(result)


def _write_workbook(
    result: Reconciliation, path: Path, facts: PageFacts | None = None
) -> tuple[str, ...]:
    """Write the workbook; return a sentence for each thing that did not fit."""
    from recon_engine.report.result_page import repeat_command, write_settings
    from recon_engine.report.workbook import write_workbook

    day = (facts and facts.started) or datetime.now(UTC)
    made_by = [("compared on", f"{day:%Y-%m-%d}")]
    if facts and (command := repeat_command(result, facts)):
        made_by.append(("command", command))
    if facts and (settings := write_settings(result, facts)):
        made_by += [("recon.toml", line) for line in settings.splitlines()]
    return write_workbook(result, path, made_by)


WRITERS: Final[dict[str, Callable[[Reconciliation, Path], object]]] = {
    REJECTS: lambda d, path: _csv(d.rejects(), path),
    ".json": lambda d, path: path.write_text(d.to_json() + "\n", encoding="utf-8"),
    HTML: lambda d, path: d.to_html(path),
    ".md": lambda d, path: path.write_text(_write_markdown(d), encoding="utf-8"),
    ".parquet": lambda d, path: _list_cells(d).write_parquet(path),
    ".xml": lambda d, path: path.write_bytes(_render_junit(d)),
    # `key.CLM_ID`: a key column may be named `column`, `old`, `new` or `kind`.
    ".csv": lambda d, path: _csv(_list_cells(d).unnest("key", separator="."), path),
    WORKBOOK: _write_workbook,
}


def _csv(frame: pl.DataFrame, path: Path) -> None:
    from recon_engine.report.csv_writer import write_frame

    with path.open("wb") as stream:
        write_frame(frame, stream)


def _list_cells(result: Reconciliation) -> pl.DataFrame:
    """The cells that differ; with suppressions, which of them they accept."""
    cells = result.frames.mismatches
    return cells.with_columns(result.mark_cells()) if result.suppressed else cells


def _render_junit(result: Reconciliation) -> bytes:
    from recon_engine.report.junit import render_junit

    return render_junit(result)


def check_targets(
    paths: Sequence[Path] | None,
    *inputs: str,
    settings: Settings | None = None,
    rejects: Path | None = None,
) -> list[tuple[Path, str]]:
    """Check every -o and --rejects before the comparison starts, which may take hours.

    `settings`: name files that are read, too. Returns each path with its kind, a key of
    `WRITERS`. Raises ConfigError for a path that is a folder, or a file that is read or
    written besides, an unknown suffix, or a missing folder.
    """
    wanted = [("-o", path, path.suffix.lower()) for path in paths or []]
    if rejects is not None:
        wanted.append((REJECTS, rejects, REJECTS))
    files = FilesInUse()
    # Without a file to write nothing can be replaced, and folders of parts are not
    # listed.
    if wanted:
        files.add_inputs(*inputs)
        if settings is not None:
            files.add_inbound(settings)
            files.add(settings.files_read, SETTINGS_FILE)
    for option, path, kind in wanted:
        # `Path.is_dir` raises for a name that is too long.
        if os.path.isdir(path):  # noqa: PTH112
            raise ConfigError(f"{option} {path}: the path is {INPUT}", help=OTHER_NAME)
        files.claim(option, path)
        if kind not in WRITERS:
            raise ConfigError(
                f"{option} {path}: unknown output format: "
                f"{kind or 'the file name has no suffix'}",
                help="use one of "
                + ", ".join(name for name in WRITERS if name != REJECTS),
            )
        if not path.absolute().parent.is_dir():
            raise ConfigError(
                f"{option} {path}: the folder does not exist", help="create it"
            )
    return [(path, kind) for _, path, kind in wanted]


def reject_whole_outputs(targets: list[tuple[Path, str]], there: str) -> None:
    """Reject -o formats that hold every differing cell: on Spark they stay distributed.

    `there`: the remedy, which says where the complete difference is written instead.
    """
    for path, kind in targets:
        if kind in {*CELLS_ONLY, WORKBOOK}:
            raise ConfigError(
                f"-o {path}: Spark returns a sample of the differing cells, not all",
                help=there,
            )


def check_page_path(path: Path) -> Path:
    """Check the -o of a command that writes a page of stored runs."""
    if path.suffix.lower() != HTML:
        raise ConfigError(
            f"-o {path}: this report is written as HTML only",
            help="use a name that ends in .html",
        )
    [(checked, _)] = check_targets([path])
    return checked


def write_page(page: str, path: Path) -> None:
    """Write a page and print its path."""
    from recon_engine.storage.base import replace_at_end, translate_write_errors

    with translate_write_errors(path), replace_at_end(path) as part:
        part.write_text(page, encoding="utf-8")
    echo(str(path))


def write_all(
    result: Reconciliation,
    targets: list[tuple[Path, str]],
    facts: Callable[[], PageFacts] | None = None,
) -> None:
    """Write a result to each target; `facts` are what a report shows besides it.

    `facts` is a function: only a report needs them, and they may cost a query.
    """
    from recon_engine.storage.base import replace_at_end, translate_write_errors

    for path, suffix in targets:
        # Of two files, the first stays if the second cannot be written.
        with translate_write_errors(path), replace_at_end(path) as part:
            if suffix == HTML and facts is not None:
                _write_html(result, part, facts())
            elif suffix == WORKBOOK:
                shown = facts() if facts is not None else None
                for note in _write_workbook(result, part, shown):
                    # The first sheet has it, too.
                    announce(f"{path}: {note}")
            else:
                WRITERS[suffix](result, part)
    _say_what_is_not_written(result, targets)


def _say_what_is_not_written(
    result: Reconciliation, targets: list[tuple[Path, str]]
) -> None:
    """Print that files of cells have no missing and extra rows, if there are some."""
    n = result.counts
    if not n.missing + n.extra or any(kind == WORKBOOK for _, kind in targets):
        return
    for path, kind in targets:
        if kind in CELLS_ONLY:
            from recon_engine.command_line import quoted

            cells = format_count(n.mismatched_cells, "cell", "differ")
            workbook = quoted(str(path.with_suffix(WORKBOOK)))
            announce(
                f"{path}: {cells}; it does not have the {n.missing:,} missing and"
                f" {n.extra:,} extra rows: -o {workbook} has all"
            )


def _write_html(result: Reconciliation, path: Path, facts: PageFacts) -> None:
    from recon_engine.report import result_page

    path.write_text(result_page.render_result(result, facts), encoding="utf-8")


def show_result(
    result: Reconciliation,
    form: Format,
    then: str = "",
    *,
    explaining: str = "",
    numbered: bool = False,
) -> None:
    """Print a result on stdout; the table also suggests the next step, `then`.

    `explaining`: the command that shows one of the rows that differ.
    `numbered`: whether hints have the numbers by which they can be saved.
    """
    if form is Format.JSON:
        echo(result.to_json())
    elif form is Format.MARKDOWN:
        echo(_write_markdown(result), end="")
    else:
        from recon_engine.terminal import print_result

        print_result(
            make_console(),
            result,
            then,
            explaining=explaining,
            numbered=numbered,
            every_rule=shows_details(),
        )


def next_step(
    result: Reconciliation,
    targets: list[tuple[Path, str]],
    *,
    described: bool,
    whole: bool,
) -> str:
    """Which files are written, or which to ask for; nothing if the files agree.

    `described`: whether a configuration file describes them. Then, without a hint,
    what is left is corrected or accepted. `whole`: whether the result has every
    difference, not a sample.
    """
    if targets:
        return "writes " + ", ".join(str(path) for path, _ in targets)
    if result.agrees:
        return ""
    n = result.counts
    # A page has the sampled rows, up to so many cells.
    sampled = len(result.sample) < n.mismatched_rows or n.mismatched_cells > PAGE_CELLS
    then = "next: add -o report.html"
    if not (n.missing or n.extra or sampled):
        then += " for all differences"
    elif whole:
        then += ", or -o diff.xlsx for all keys"
    left = result.left.mismatches
    if described and not result.hints_to_show and any(left.values()):
        from recon_engine.command_line import quote_name, quoted

        column = quoted(quote_name(max(left, key=lambda name: left[name]), ","))
        then += f"; or --suppress {column} for what accepts its differences"
    return then


def show_outcome(clock: RunClock, form: Format) -> None:
    """Print how a run ended; in JSON, the result with a `run` object."""
    ended = clock.outcome
    assert ended is not None  # noqa: S101 - the run is over
    if form is Format.JSON:
        document: dict[str, object] = {"schema": "recon-run/1"}
        if ended.result is not None:
            document = ended.result.to_dict()
        document["run"] = run_facts(ended)
        echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        if ended.result is not None:
            show_result(ended.result, form)
            echo()
        say(_describe_end(ended))
        if clock.created:
            say(f"database:  created {clock.created}: no history before this run")
        for line in format_summary(clock, _program_name()):
            say(line)
    if ended.error is None or ended.result is None:
        return
    # The document has it, but -q discards that.
    if form is not Format.JSON or is_quiet():
        from recon_engine.terminal import print_error

        print_error(make_console(stderr=True), ended.error)


def describe_outcome(clock: RunClock) -> str:
    """One line that names the dataset: the verdict, what is new, the state, the end."""
    ended = clock.outcome
    assert ended is not None  # noqa: S101 - the caller has run it
    counts = ended.breaks.counts if ended.breaks else None
    facts = (
        readable(ended.result.headline()) if ended.result else None,
        f"breaks: new {counts.new:,}, reopened {counts.reopened:,}" if counts else None,
        clock.clean_state,
        # The verdict has said which gate failed, and the exit code that one did.
        _describe_end(ended, short=True),
    )
    return f"{ended.record.dataset}: " + " · ".join(fact for fact in facts if fact)


def _describe_end(ended: Outcome, *, short: bool = False) -> str:
    """One line on how the run ended. It never uses the words of a verdict.

    A successful run may have found differences or a failed gate: `complete` is said of
    the run, `differ` or `fail` of the files.
    """
    record = ended.record
    if record.status is RunStatus.SUCCEEDED:
        recorded = "" if short else ": result recorded, inputs archived"
        what = f"run complete (SUCCEEDED){recorded}"
    else:
        what = f"run ended as {record.status}"
    # The message has said so of a run that this one finished.
    failed = record.failed and not (short and ended.result)
    cause = f"{_name_cause(ended.result)}: exit code 1" if failed else None
    facts = (what, f"run {record.run_id}", record.message, cause)
    return " · ".join(fact for fact in facts if fact)


def _name_cause(result: Reconciliation | None) -> str:
    """What made the exit code of a recorded result 1, as the verdict names it."""
    if result is None:
        return "the recorded result failed"
    gate = any(not each.passed for each in result.gates)
    suppression = any(each.failed for each in result.suppressed)
    failed = ["a gate"] * gate + ["a suppression"] * suppression
    return f"{' and '.join(failed)} failed" if failed else "the files differ"


def run_facts(ended: Outcome) -> dict[str, object]:
    """The `run` object of JSON documents: how a run ended.

    `error`: why, if there is a result beside it. Otherwise the document is the error.
    """
    record = ended.record
    facts = {
        "run_id": str(record.run_id),
        "dataset": record.dataset,
        "status": record.status,
        "exit_code": record.exit_code,
        "message": record.message,
        "artifacts": ended.artifacts_at,
        "breaks": ended.breaks and _breaks_to_json(ended.breaks),
    }
    if ended.error is not None and ended.result is not None:
        facts["error"] = describe_error(ended.error, record.exit_code)
    return facts


def _breaks_to_json(breaks: Breaks) -> dict[str, object]:
    """The break counts of a run as plain JSON values."""
    facts = asdict(breaks)
    # Only a sentence in the line of a run.
    facts.pop("lacks_rows")
    return facts | {"as_of": breaks.as_of and breaks.as_of.isoformat()}


def show_proposals(
    proposals: Sequence[Proposal],
    form: Format,
    line: Callable[[Proposal], str],
) -> None:
    """Print proposed keys, best first, with how often each repeats.

    `line`: builds the command that compares by the best key. It goes to stderr, so that
    stdout stays readable for programs.
    """
    names = ("key", "in both", "of rows", "blank", "repeated")
    # Elsewhere programs read the counts.
    for_people = form is Format.TABLE and make_console().is_terminal
    count = "{:,}".format if for_people else str
    shown = [
        (
            _csv_line(each.columns),
            count(each.matched),
            each.share,
            count(each.blanks_old + each.blanks_new),
            count(each.repeats_old + each.repeats_new),
        )
        for each in proposals
    ]
    if form is Format.JSON:
        facts = [asdict(each) for each in proposals]
        for each in facts:
            # For people only.
            del each["unmatched"]
        echo(json.dumps(facts, ensure_ascii=False))
    else:
        show_rows(names, shown, form)
    if not proposals:
        announce("no column that was tried has a value that is in both files")
    elif not proposals[0].is_key:
        begin = proposals[0].without_match or "no set of columns is a key;"
        announce(f"{begin} these repeat the least")
    elif form is not Format.JSON:
        announce(line(proposals[0]))


def show_explanation(explanation: Explanation, form: Format) -> None:
    """Print the rows of one key."""
    if form is Format.JSON:
        document = {"schema": "recon-explanation/1", "agrees": explanation.agrees}
        found = asdict(explanation)
        if not explanation.aside:
            del found["aside"]
        # For people only.
        del found["new_names"]
        for pair in found["pairs"]:
            del pair["factors"]
        echo(json.dumps(document | found, ensure_ascii=False, indent=2))
        return
    from recon_engine.terminal import print_explanation

    print_explanation(make_console(), explanation)


def show_history(runs: Sequence[PastRun], form: Format) -> None:
    """Print the runs of a dataset, latest first."""
    from recon_engine.report import history_page

    table = []
    # A terminal has no room for what JSON and CSV have in full.
    short = form is Format.TABLE and make_console().is_terminal and not shows_details()
    # None, of a run that did not count what is accepted, is not 0 either: it has a
    # column.
    accepts = any(
        (run.result and run.result.accepted_rows != 0)
        or (run.breaks and run.breaks.accepted != 0)
        for run in runs
    )
    for run in runs:
        found = run.result
        counts = (
            (found.rows_old, found.rows_new, found.matched, found.missing, found.extra)
            if found
            else (None,) * 5
        )
        seconds = None if run.seconds is None else round(run.seconds, 1)
        differ = (
            (found.mismatched_rows, format_rate(found.mismatched_rows, found.matched))
            if found
            else (None, None)
        )
        tracked = run.breaks
        breaks = (
            (
                tracked.open,
                tracked.appeared,
                tracked.resolved,
                tracked.unseen,
                tracked.gone,
            )
            if tracked
            else (None,) * 5
        )
        unaccepted = (
            *(
                (found.unaccepted_rows, history_page.format_unaccepted_rate(found))
                if found
                else (None, None)
            ),
            *(
                (tracked.unaccepted, tracked.unaccepted_appeared)
                if tracked
                else (None, None)
            ),
        )
        began = f"{run.started:%Y-%m-%d %H:%M}"
        named = run.file or None, run.replaced
        state = history_page.clean_word(run)
        ended = (*counts, *differ, *breaks, *unaccepted, state, *named, seconds)
        verdict = history_page.verdict_word(run)
        run_id = str(run.run_id)
        if short:
            verdict += " (replaced)" if run.replaced else ""
            # Its milliseconds; the other commands take the first digits of an id.
            run_id = run_id[:RUN_ID_CHARACTERS]
        reason = None if found else run.message
        table.append((began, verdict, *ended, reason, run_id))
    if not short:
        show_rows(HISTORY_COLUMNS, table, form)
        return
    # Without an acceptance the counts of what is not accepted are equal to the others.
    first = () if accepts else UNACCEPTED_COLUMNS
    spare = dict.fromkeys(("replaced", "reason", *first, *SPARE_COLUMNS))
    show_rows(
        [SHORT_HEADS.get(name, name) for name in HISTORY_COLUMNS],
        table,
        form,
        [SHORT_HEADS.get(name, name) for name in spare],
    )


def show_rows(
    names: Sequence[str],
    table: Sequence[Sequence[Any]],
    form: Format,
    spare: Sequence[str] = (),
) -> None:
    """Print a table: formatted on a terminal, else CSV; or JSON objects, or Markdown.

    Objects number the names of columns that are equal: `count`, `count_2`.
    `spare`: columns that a narrow terminal leaves out, first to last.
    """
    if form is Format.JSON:
        numbered = _number_equal_names(names)
        objects = [dict(zip(numbered, row, strict=True)) for row in table]
        echo(json.dumps(objects, ensure_ascii=False, indent=2, default=str))
    elif form is Format.MARKDOWN:
        heads = map(escape_markdown, names)
        lines = ([escape_markdown(_format_value(value)) for value in r] for r in table)
        for line in (heads, ["---"] * len(names), *lines):
            echo(markdown_row(*line))
    elif make_console().is_terminal:
        from recon_engine.terminal import print_table

        shown = [[_format_value(value) for value in row] for row in table]
        print_table(make_console(), names, shown, spare)
    else:
        from recon_engine.report.csv_writer import format_record

        for line in (
            names,
            *([_format_value(value) for value in row] for row in table),
        ):
            echo(format_record(line), end="")


def _number_equal_names(names: Sequence[str]) -> list[str]:
    """The names of columns as those of an object: `count`, `count_2`.

    A statement may have several columns of one name.
    """
    found = list[str]()
    for name in names:
        free, number = name, 1
        while free in found or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def show_breaks(page: BreakPage, form: Format, words: Sequence[str] = ()) -> None:
    """Print breaks on stdout, and on stderr how many there are and as of when.

    A terminal shows what fits; all fields with -v, and elsewhere. `words`: the options
    that the command which explains a break needs besides its key.
    """
    if form is Format.TABLE and make_console().is_terminal and not shows_details():
        from recon_engine.terminal import print_breaks

        listed = [dict(zip(page.names, row, strict=True)) for row in page.rows]
        several = len(page.keys) > 1
        keys = [
            ", ".join(json.loads(each["key"])) if several else each["key"]
            for each in listed
        ]
        print_breaks(
            make_console(),
            [each | {"key": key} for each, key in zip(listed, keys, strict=True)],
        )
    else:
        show_rows(page.names, page.rows, form)
    note_breaks(page)
    if page.rows and page.keys and form is Format.TABLE:
        from recon_engine.command_line import explain_command, quote_name

        rows = [dict(zip(page.names, row, strict=True)) for row in page.rows]
        old, new = map(_path_of, page.inputs) if page.inputs else ("OLD", "NEW")
        keys = [word for name in page.keys for word in ("--key", quote_name(name, ","))]
        command = explain_command(old, new, [rows[0]["key"]], [*keys, *words])
        announce(f"next: {command}")
        if any(not (row["ended"] or row["accepted"]) for row in rows):
            announce(
                "accept them for a time: add --suppress, which prints [[suppress]]"
                " tables for recon.toml (docs/gates.md, Suppressions)"
            )


def note_breaks(page: BreakPage) -> None:
    """Print on stderr how many breaks were listed, as of when, and their states."""
    _note_breaks(page, format_share(len(page.rows), page.total, "break"))


def _path_of(url: str) -> str:
    """A local file as a path, relative to the working directory if it is below it."""
    from recon_engine.storage.urls import local_path

    if url.startswith("s3:"):
        return url
    path, here = local_path(url), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def show_break_totals(page: BreakPage, form: Format) -> None:
    """Print the numbers of breaks by state, by kind and by column."""
    table = [
        (by, "missing and extra rows" if value is None else value, count)
        for by in ("state", "kind", "column")
        for value, count in page.totals.get(by, {}).items()
    ]
    show_rows(("by", "value", "breaks"), table, form)
    _note_breaks(page, format_count(page.total, "break"))


def _note_breaks(page: BreakPage, shown: str) -> None:
    """Print on stderr which breaks were shown, as of when, and their states."""
    states = page.totals.get("state", {})
    by_state = ", ".join(f"{state} {count:,}" for state, count in states.items())
    note = f"{shown}, as of {page.as_of}" + (f": {by_state}" if by_state else "")
    if page.outdated:
        note += f"; not updated by the last run: {page.outdated}"
    if page.left_out:
        more = format_count(page.left_out, "more open break", "are")
        note += f"; {more} accepted by a suppression: add --accepted to show them"
    for line in (note, *page.others):
        announce(line)


def _format_value(value: object) -> str:
    """A database value as text; NULL is blank, jsonb and arrays are JSON."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _csv_line(names: Sequence[str]) -> str:
    """Column names as the option --key accepts them."""
    from recon_engine.command_line import quote_name

    return ",".join(quote_name(name, ",") for name in names)


def show_tour(conninfo: str, ended: Outcome, folder: Path) -> None:
    """Print what the demo wrote to the tables, and commands that show it."""
    from recon_engine.postgres.connection import query_read_only

    echo(f"inputs:    moved to {folder / 'processed'}")
    # The names of tables are those below, and the id is a UUID: no text of a user is in
    # the statement.
    counted = " UNION ALL ".join(
        f"SELECT '{name}', count(*) FROM metrics.{name} "  # noqa: S608 - names above
        f"WHERE run_id = '{ended.record.run_id}'"
        for name in TABLES
    )
    _, counts = query_read_only(conninfo, counted)
    echo("tables:    rows of this run in schema metrics")
    for name, count in counts:
        echo(f"           {name:<24}{count:>6,}")
    echo("\nnext, try:")
    for line in TOUR:
        echo(f"  {_program_name()} {line}")


def _program_name() -> str:
    """How to call this program from here: `recon` if that is on PATH, else its path."""
    program = Path(sys.argv[0])
    found = shutil.which("recon")
    if program.name != "recon" or (found and Path(found).samefile(program)):
        return "recon"
    return os.path.relpath(program)


HISTORY_COLUMNS: Final = (
    "began",
    "verdict",
    "old",
    "new",
    "matched",
    "missing",
    "extra",
    "differ",
    "rate",
    "open",
    "appeared",
    "resolved",
    "unseen",
    "gone",
    "unaccepted_rows",
    "unaccepted_rate",
    "unaccepted_open",
    "unaccepted_appeared",
    "state",
    "file",
    "replaced",
    "seconds",
    "reason",
    "run",
)
UNACCEPTED_COLUMNS: Final = (
    "unaccepted_appeared",
    "unaccepted_open",
    "unaccepted_rate",
    "unaccepted_rows",
)
# What a terminal leaves out, first to last.
SPARE_COLUMNS: Final = (
    "matched",
    "old",
    "new",
    "gone",
    "resolved",
    "unseen",
    "seconds",
    "unaccepted_appeared",
    "unaccepted_rate",
    "unaccepted_rows",
    "file",
    "rate",
    "differ",
    "extra",
    "missing",
    "open",
    "unaccepted_open",
    "appeared",
)
# Narrow names on a terminal; `new` is then not the rows of NEW.
SHORT_HEADS: Final = {
    "old": "old rows",
    "new": "new rows",
    "appeared": "new",
    "unaccepted_rows": "unacc. rows",
    "unaccepted_rate": "unacc. rate",
    "unaccepted_open": "unaccepted",
    "unaccepted_appeared": "unacc. new",
}
# Twelve digits of a UUID of version 7 and a hyphen.
RUN_ID_CHARACTERS: Final = 13
TABLES: Final = (
    "pipeline_run_log",
    "recon_summary",
    "mismatch_by_column",
    "mismatch_signature",
    "mismatch_detail_sample",
    "mismatch_pattern",
    "constant_change",
    "control_total",
    "segment",
    "hint",
    "run_step",
    "artifact",
)
TOUR: Final = (
    'sql "SELECT * FROM metrics.recon_summary ORDER BY run_date DESC LIMIT 5"',
    'sql "SELECT key_text, payload FROM metrics.mismatch_detail_sample LIMIT 5"',
    "demo   # generate a new pair and run again",
)
