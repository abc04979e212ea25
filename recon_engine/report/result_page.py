"""Render a result as one HTML page: verdict, causes, evidence and run facts.

`render_result` is deterministic: the same arguments give the same text, without a
clock. Every value that comes from a file passes `visible` or `readable`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from recon_engine.characters import dotted, readable
from recon_engine.characters import escaped as visible
from recon_engine.command_line import rebuild_command
from recon_engine.formatting import (
    LINES_SHOWN,
    NO_PAIR,
    SUPPRESSION_MARKS,
    conjugate,
    count_others,
    count_places,
    describe_accepted_rows,
    describe_aside,
    describe_drift,
    describe_effect,
    describe_frame,
    describe_ignored,
    describe_side,
    format_count,
    format_number_or_percent,
    format_rate,
    format_share,
    kind_words,
    list_changed_sums,
    list_kinds,
    mark_accepted,
    name_both,
    pluralize,
)
from recon_engine.kinds import REWRITING_KINDS
from recon_engine.python_arguments import write_flags, write_for_python
from recon_engine.report import html as pages
from recon_engine.report.chart import Chart, Point, draw_chart
from recon_engine.report.page_data import (
    build_page_data,
    excerpt_values,
    list_first_cells,
    list_first_rows,
)
from recon_engine.settings_text import write_options


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from recon_engine.config import Options
    from recon_engine.model import Column, PastRun, Pattern, Patterns, Reads, Side
    from recon_engine.result import Reconciliation


# Rows shown per list, so that the page reads in one pass: the JSON and the artifacts
# hold the full lists.
MAX_SETS: Final = 6
MAX_CHANGES: Final = 6
# Columns in a notebook's cell; the page itself lists every differing column.
MAX_COLUMNS: Final = 12
# Characters of a value there.
EXAMPLE_CHARS: Final = 30
# A month of daily runs.
TREND_RUNS: Final = 30
MIB: Final = 2**20
DELETED: Final = "values were deleted (recon purge)"


class OpenBreak(NamedTuple):
    """An open break: its key and column, its age in days, the runs that saw it.

    `column`, `old` and `new` are None for a missing or extra row.
    """

    key: str
    column: str | None
    kind: str
    state: str
    first_seen: date
    age_days: int
    runs_seen: int
    old: str | None
    new: str | None


class OpenBreaks(NamedTuple):
    """The breaks of a run: a summary, the open count, and the oldest open breaks.

    Only the last run of a dataset has more than the summary: the table of breaks holds
    the present state. Ages count up to the day `as_of`. `open` and `oldest` are without
    the `accepted` breaks. `state`: whether the run is clean, in one line.
    """

    summary: str
    open: int = 0
    oldest: tuple[OpenBreak, ...] = ()
    as_of: date | None = None
    accepted: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What a page shows besides the result; unknown facts are left out.

    `title`: the heading, if it is neither the dataset nor the names of the files.
    `in_python`: whether options are named as arguments of `diff`.
    `past`: earlier runs of the dataset, latest first. `timed`: show duration and peak
    memory. `files`: for each tab of the evidence, the file that holds all its rows.
    `words`: the options of the command that repeats the comparison, if a configuration
    file has all of them. `limit_words`: those of the limits of the inputs that the file
    does not have. `before_recorded`: the page is written before its run is
    recorded, and says where its state and its breaks are. `deleted`: a purge has
    deleted the values.
    """

    dataset: str | None = None
    run_id: UUID | None = None
    started: datetime | None = None
    options: Options | None = None
    past: Sequence[PastRun] = ()
    breaks: OpenBreaks | None = None
    files: Mapping[str, str] | None = None
    timed: bool = False
    words: tuple[str, ...] = ()
    limit_words: tuple[str, ...] = ()
    title: str | None = None
    in_python: bool = False
    before_recorded: bool = False
    deleted: bool = False


NO_FACTS: Final = PageFacts()


def render_result(result: Reconciliation, facts: PageFacts = NO_FACTS) -> str:
    """The HTML page of a result. It holds values of cells, masked if masks are set."""
    spell = write_for_python if facts.in_python else str
    data = build_page_data(result, facts.files)
    code = write_flags if facts.in_python else str
    return pages.render_page(
        "report.html",
        ("theme.js", "report.js"),
        result=result,
        heading=facts.title
        or facts.dataset
        or f"{file_name_of(result.old)} → {file_name_of(result.new)}",
        day=facts.started and f"{facts.started:%Y-%m-%d}",
        run_id=facts.run_id,
        cost=_format_cost(result) if facts.timed else None,
        verdict=_build_verdict(result),
        cells=_build_cells(result),
        keys=[visible(name_both(name, result.new_names)) for name in result.keys],
        open_cells=result.describe_open(),
        accepted=list(_list_accepted(result)),
        notes=[*describe_ignored(result.ignored), *map(spell, result.text_filters)],
        warnings=[spell(each) for each in _list_warnings(result)],
        hints=[
            {
                "text": spell(hint.text),
                "code": code(hint.flag),
                "explains": f"{hint.count:,} of {hint.total:,}",
            }
            for hint in result.hints_to_show
        ],
        old=_build_side(result.old),
        new=_build_side(result.new),
        tiles=_build_tiles(result),
        gates=[
            {"gate": visible(g.gate), "value": readable(g.text), "passed": g.passed}
            for g in result.gates
        ],
        breaks=facts.breaks and _build_breaks(facts.breaks, result.keys),
        before_recorded=facts.before_recorded,
        columns=_build_columns(result),
        agreeing=_count_agreeing(result),
        chart=_draw_trend(result, facts),
        accounting=[
            each | {"name": spell(each["name"])} for each in _check_accounting(result)
        ],
        rules=_build_rules(result),
        together=_build_column_sets(result),
        segments=_build_segments(result),
        changed=_build_changed_totals(result),
        unmatched=_build_unmatched_totals(result),
        constants=_build_constants(result),
        patterns=_build_patterns(result),
        sampled=DELETED
        if facts.deleted
        else _describe_sample(len(data["cellsOf"]), result.counts.mismatched_rows),
        facts=list(_list_facts(result, facts)),
        command=repeat_command(result, facts),
        settings=write_settings(result, facts),
        stored=facts.files is not None,
        first=_build_first_rows(result, data),
        island=pages.json_for_script(data),
    )


def repeat_command(result: Reconciliation, facts: PageFacts) -> str | None:
    """The command that repeats a comparison; None without its options.

    None with masks and a filter, too, which may name a value of a masked column.
    """
    options = facts.options
    if options is None or (options.masks and options.has_filters):
        return None
    return rebuild_command(
        options,
        file_name_of(result.old),
        file_name_of(result.new),
        facts.words,
        facts.limit_words,
    )


def write_settings(result: Reconciliation, facts: PageFacts) -> str | None:
    """The settings of a comparison as recon.toml has them; None without its options.

    None with masks, too: a filter may name a value of a masked column.
    """
    if facts.options is None or facts.options.masks:
        return None
    text = write_options(facts.options, facts.dataset)
    absent = len(result.suppressed) - len(facts.options.suppressions)
    if absent > 0:
        # The run log has digests in the place of their keys and values.
        text = f"# without {format_count(absent, 'suppression')}\n{text}"
    return text


def render_fragment(result: Reconciliation, more_lines: Sequence[str]) -> str:
    """An HTML fragment for a notebook: verdict, accounting, columns, examples, hints.

    The examples are values of cells, masked as everywhere. `more_lines`: behind hints.
    """
    examples = result.examples()
    columns = [
        row | {"example": [_format_example(e) for e in examples.get(column.name, ())]}
        for row, column in zip(_build_columns(result), result.differing, strict=True)
    ]
    advice = [
        {
            "text": write_for_python(hint.text),
            "code": write_flags(hint.flag),
            "effect": describe_effect(hint),
        }
        for hint in result.hints_to_show[:LINES_SHOWN]
    ]
    return pages.render_page(
        "fragment.html",
        (),
        result=result,
        verdict=_build_verdict(result),
        open_cells=result.describe_open(),
        columns=columns[:MAX_COLUMNS],
        more=max(len(columns) - MAX_COLUMNS, 0),
        advice=advice,
        facts=[
            *describe_drift(("OLD", "NEW"), result.drift),
            *(
                f"change: {each['column']}: {each['cells']} cells: {each['formula']}"
                for each in _build_constants(result)[:LINES_SHOWN]
            ),
            *(f"{each['mark']} {each['text']}" for each in _list_accepted(result)),
        ],
        more_lines=more_lines,
        remainder=result.remainder(),
    )


def _format_example(value: str) -> str:
    """A value as the terminal shows it, cut to what fits a cell of a table."""
    text = visible(value) or "(blank)"
    return text if len(text) <= EXAMPLE_CHARS else text[: EXAMPLE_CHARS - 1] + "…"


def file_name_of(side: Side) -> str:
    """The file name in a URI: a page is passed on, and must not show folders."""
    # A name that is not UTF-8 has its escapes already.
    return readable(PurePosixPath(side.uri).name or side.uri)


def link_to_cells(**filters: str) -> str:
    """A link within the page that filters the evidence: `column=…`, `kind=…`."""
    # A fragment, which browsers do not send to a server.
    return "#" + urlencode(filters)


def _build_verdict(result: Reconciliation) -> dict[str, Any]:
    # The same word as on the terminal and in Markdown.
    word, _, _ = result.headline().partition(": ")
    return {
        "word": word,
        "passed": result.passes,
        "failures": [readable(failure) for failure in result.failures],
        "sentence": _summarize_result(result),
    }


def _summarize_result(result: Reconciliation) -> str:
    n, drift = result.counts, result.drift
    aside = describe_aside(result.old, result.new)
    if result.agrees and aside:
        rows = max(result.old.rows, result.new.rows)
        return f"{format_share(n.matched, rows, 'row', 'agree')} ({aside})."
    if result.agrees:
        every = "All " if n.matched > 1 else ""
        return f"{every}{result.agreement()}."
    left = result.left
    differ = format_share(left.mismatched_rows, n.matched, "matched row", "differ")
    facts = [format_rate(left.mismatched_rows, n.matched)]
    if result.accepted_rows:
        facts.append(describe_accepted_rows(result.accepted_rows))
    drifted = len(drift.only_in_old) + len(drift.only_in_new)
    rejected = result.old.rejected + result.new.rejected
    unpairable = result.old.unpairable + result.new.unpairable
    parts = (
        (n.mismatched_rows, f"{differ} ({'; '.join(facts)})"),
        (
            n.missing,
            f"{n.missing:,} missing from NEW{mark_accepted(n.missing, left.missing)}",
        ),
        (n.extra, f"{n.extra:,} only in NEW{mark_accepted(n.extra, left.extra)}"),
        (drifted, f"{format_count(drifted, 'column')} on one side only"),
        (rejected, f"{format_count(rejected, 'malformed row')} quarantined"),
        (unpairable, f"{format_count(unpairable, 'row')} unpairable"),
        (aside, aside),
    )
    return ("; ".join(text for count, text in parts if count) or NO_PAIR) + "."


def _build_cells(result: Reconciliation) -> dict[str, Any] | None:
    """How many differing cells keep their value, and the largest cause.

    The largest cause is the kind of change of one column that has most of the cells
    that no suppression accepts. One with less is not named: the table of columns says
    as much.
    """
    total, same = result.counts.mismatched_cells, result.rewritten_cells
    if not total:
        return None
    causes = [
        (column, kind, count)
        for (column, kind), count in result.left_by_kind.items()
        if column is not None and count
    ]
    open_cells = sum(count for _, _, count in causes)
    # There is at most one with more than half of the cells.
    largest = [each for each in causes if 2 * each[2] > open_cells]
    not_accepted = " that are not accepted" if open_cells < total else ""
    return {
        "same_share": format_number_or_percent(same, total),
        "unexplained": result.unexplained(),
        "all": format_count(total, "differing cell", "are"),
        "other": total - same,
        "carry": f"{pluralize(total - same, 'cell')} "
        f"{conjugate(total - same, 'carry')}",
        "cause": _describe_cause(*largest[0], open_cells) if largest else None,
        "not_accepted": not_accepted,
    }


def _describe_cause(column: str, kind: str, count: int, total: int) -> dict[str, str]:
    return {
        "column": visible(column),
        "kind": kind_words(kind),
        "share": format_number_or_percent(count, total),
        "link": link_to_cells(column=column, kind=kind),
    }


def _list_warnings(result: Reconciliation) -> Iterator[str]:
    # The headline already carries some warnings.
    headline = result.headline()
    yield from (readable(text) for text in result.warnings() if text not in headline)
    for name, side in (("OLD", result.old), ("NEW", result.new)):
        yield from describe_side(name, side)
    yield from describe_drift(("OLD", "NEW"), result.drift)


def _list_accepted(result: Reconciliation) -> Iterator[dict[str, str]]:
    """The suppressions that did not fail, each with its mark on the terminal."""
    for each in result.suppressed:
        if not each.failed:
            mark = SUPPRESSION_MARKS[each.state]
            text = readable(result.describe_suppressed(each))
            yield {"mark": mark, "text": text}


def _build_side(side: Side) -> dict[str, str]:
    return {"name": file_name_of(side), "size": _format_size(side.bytes)}


def _build_tiles(result: Reconciliation) -> list[dict[str, Any]]:
    n, old, new, left = result.counts, result.old, result.new, result.left
    accepted = ""
    if result.accepted_rows:
        accepted = f"and {format_count(result.accepted_rows, 'accepted row')}; "
    columns = sum(1 for column in result.by_column if column.mismatched)
    cells = format_count(n.mismatched_cells, "cell")
    cells += f" in {format_count(columns, 'column')}"
    if result.accepted_cells:
        cells += f", {n.mismatched_cells - result.accepted_cells:,} of them open"
    difference = f"{new.rows - old.rows:+,} against old" if new.rows != old.rows else ""
    # Rows that are set aside are not in the rate.
    of = "old" if not old.aside.total else format_count(old.rows_of_rates, "old row")
    return [
        {
            "name": "Old rows",
            "count": old.rows,
            "note": _format_size(old.bytes),
            "bad": False,
        },
        {
            "name": "New rows",
            "count": new.rows,
            "note": difference or "same as old",
            "bad": False,
        },
        {
            "name": "Matched",
            "count": n.matched,
            "note": f"{format_rate(n.matched, old.rows_of_rates)} of {of}",
            "bad": False,
        },
        {
            "name": "Missing",
            "count": n.missing,
            "note": "in old only" + mark_accepted(n.missing, left.missing),
            "bad": left.missing > 0,
        },
        {
            "name": "Extra",
            "count": n.extra,
            "note": "in new only" + mark_accepted(n.extra, left.extra),
            "bad": left.extra > 0,
        },
        {
            # As the headline counts them; the cells are those of all these rows.
            "name": "Rows that differ",
            "count": left.mismatched_rows,
            "note": f"{accepted}{cells}",
            "bad": left.mismatched_rows > 0,
        },
    ]


def _build_columns(result: Reconciliation) -> list[dict[str, Any]]:
    # The first column has the most differences: the widths are relative to it.
    differing = result.differing
    left, open_kinds = result.left.mismatches, result.left_by_kind
    return [
        {
            "name": visible(name_both(column.name, result.new_names)),
            "link": link_to_cells(column=column.name),
            "mismatched": column.mismatched,
            "width": f"{100 * column.mismatched / differing[0].mismatched:.1f}",
            "rate": format_rate(column.mismatched, column.compared),
            "accepted": column.mismatched - left[column.name],
            "settled": not left[column.name],
            "kinds": _build_kinds(column, open_kinds),
        }
        for column in differing
    ]


def _count_agreeing(result: Reconciliation) -> str:
    """`the other 3 columns agree on every row`."""
    agreeing = len(result.by_column) - len(result.differing)
    if agreeing == 1:
        return "the other column agrees on every row"
    return f"the other {agreeing:,} columns agree on every row"


def _build_kinds(
    column: Column, open_cells: Mapping[tuple[str | None, str], int]
) -> list[dict[str, Any]]:
    return [
        {
            "text": words,
            "settled": not open_cells[column.name, kind],
            "same": kind in REWRITING_KINDS,
            "link": link_to_cells(column=column.name, kind=kind),
        }
        for kind, words in list_kinds(column)
    ]


def _draw_trend(result: Reconciliation, facts: PageFacts) -> Chart | None:
    """Earlier results and this one; None if this is the first result."""
    past = [
        (run.result.unaccepted_rows, f"{run.started:%d %b}")
        for run in facts.past
        if run.result is not None
        and run.result.unaccepted_rows is not None
        and not run.replaced
        # This result is the last point.
    ][: TREND_RUNS - 1]
    if not past:
        return None
    # The same count as that of the past runs: without accepted rows.
    here = result.left.mismatched_rows
    points = [Point(rows, when) for rows, when in reversed(past)]
    points.append(Point(here, "this run", "bad" if here else "good"))
    return draw_chart("Rows that differ", points, lambda value: f"{value:,.0f}")


def _check_accounting(result: Reconciliation) -> Iterator[dict[str, Any]]:
    n = result.counts
    for name, side, unmatched, count in (
        ("old", result.old, "missing", n.missing),
        ("new", result.new, "extra", n.extra),
    ):
        others = dict(count_others(side))
        others |= {"quarantined": others.pop("rejected")} if side.rejected else {}
        yield {
            "name": " + ".join((f"{name} = matched", unmatched, *others)),
            "sum": f"{side.rows:,} = {n.matched:,} + {count:,}"
            + "".join(f" + {rows:,}" for rows in others.values()),
            "holds": side.rows == n.matched + count + sum(others.values()),
        }
    yield {
        "name": "matched = identical + differing",
        "sum": f"{n.matched:,} = {n.identical:,} + {n.mismatched_rows:,}",
        "holds": n.matched == n.identical + n.mismatched_rows,
    }
    for name, fact in (
        ("repeated keys", "duplicate_keys"),
        ("rows with a blank key", "blank_keys"),
        ("quarantined rows", "rejected"),
    ):
        both = (getattr(result.old, fact), getattr(result.new, fact))
        text = "none" if not any(both) else f"{both[0]:,} in old, {both[1]:,} in new"
        # A fact, not an equation: it gets no check mark.
        yield {"name": name, "sum": text, "holds": False}
    for option in result.applied:
        text = option.line.removeprefix(f"{option.option}: ")
        name = visible(option.option)
        yield {"name": name, "sum": visible(text), "holds": False, "names": True}
    for what, count in (("keys", n.tolerated_keys), ("cells", n.tolerated_cells)):
        if count:
            name = f"{what} equal by a rule"
            yield {"name": name, "sum": f"{count:,}", "holds": False}


def _build_rules(result: Reconciliation) -> list[dict[str, Any]]:
    """How many values each rule parsed on either side, and how many it made equal."""
    return [
        {
            "name": visible(each.name),
            "origin": each.origin,
            "old": "—" if each.side == "new" else _format_reads(each.old),
            "new": "—" if each.side == "old" else _format_reads(each.new),
            "made_equal": each.made_equal,
            "what": pluralize(each.made_equal, "key" if each.of == "keys" else "cell"),
        }
        for each in result.rules_to_show
    ]


def _format_reads(reads: Reads) -> str:
    return f"{reads.read:,} of {reads.values:,}" if reads.values else "no value"


def _build_column_sets(result: Reconciliation) -> dict[str, Any] | None:
    """The most common sets of two or more columns that differ in the same rows."""
    several = [each for each in result.signatures if len(each.columns) > 1]
    if not several:
        return None
    return {"of": len(several), "sets": several[:MAX_SETS]}


def _build_segments(result: Reconciliation) -> list[dict[str, Any]]:
    return [
        {
            "of": each.of,
            "rows": each.rows,
            "column": visible(each.column),
            "value": _format_value(each.value),
            "share": format_rate(each.share, places=1),
            "base": format_rate(each.base, places=1),
        }
        for each in result.segments
    ]


def _build_changed_totals(result: Reconciliation) -> list[dict[str, Any]]:
    """Sums over the cells that differ, of each column with one.

    And over those that a rule, such as a tolerance, makes equal and leaves a delta.
    """
    columns = {each.name: each for each in result.by_column}
    shown = result.summed
    return [
        {
            "column": visible(total.column),
            "cells": each.cells,
            "old": _format_amount(each.old, places),
            "new": _format_amount(each.new, places),
            "delta": _format_amount(each.delta, places, "+"),
            "moved": bool(each.delta),
        }
        for total in result.totals_to_show
        if total.column in shown
        for each in list_changed_sums(total, columns[total.column])
        for places in [count_places((each.old, each.new))]
    ]


def _build_unmatched_totals(result: Reconciliation) -> list[dict[str, Any]]:
    """Sums over missing and extra rows, for each column whose sums are not both 0."""
    return [
        {
            "column": visible(each.column),
            "missing": _format_amount(each.missing, places),
            "extra": _format_amount(each.extra, places),
        }
        for each in result.totals_to_show
        if each.missing or each.extra
        for places in [count_places((each.missing, each.extra))]
    ]


def _build_constants(result: Reconciliation) -> list[dict[str, Any]]:
    accepted = result.accepted_columns
    return [
        {
            "column": visible(each.column),
            "cells": f"{each.rows:,} of {each.total:,}",
            "formula": each.write_formula(visible(excerpt_values(None, each.by)[1])),
            "accepted": each.column in accepted,
        }
        for each in result.constants_to_show
    ]


def _build_patterns(result: Reconciliation) -> list[dict[str, Any]]:
    open_cells = result.left_by_kind
    return [
        {
            "column": visible(each.column),
            "distinct": each.distinct,
            "others": _count_others(each, repeating),
            "top": [
                _build_change(change)
                | {"settled": not open_cells.get((each.column, change.kind), 1)}
                for change in repeating[:MAX_CHANGES]
            ],
        }
        for each in result.patterns
        # A change of one row is no pattern.
        if (repeating := [change for change in each.top if change.rows > 1])
    ]


def _count_others(patterns: Patterns, repeating: Sequence[Pattern]) -> str:
    """How many changes are not listed: `and 2 more, once each`; empty without any."""
    more = patterns.distinct - len(repeating[:MAX_CHANGES])
    if not more:
        return ""
    # One that occurs once is among the most frequent, so all others occur once.
    are_single = len(repeating) <= MAX_CHANGES and len(repeating) < len(patterns.top)
    return f"and {more:,} more" + (", once" + " each" * (more > 1)) * are_single


def _build_change(change: Pattern) -> dict[str, Any]:
    return {
        **_build_sides(*excerpt_values(change.old, change.new)),
        "kind": kind_words(change.kind),
        "same": change.kind in REWRITING_KINDS,
        "rows": change.rows,
    }


def _build_sides(old: str | None, new: str) -> dict[str, str | None]:
    """Excerpts of both values; `old` stays None where only the joined text is known."""
    return {"old": None if old is None else _show(old), "new": _show(new)}


def _build_breaks(breaks: OpenBreaks, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "summary": breaks.summary,
        "state": breaks.state,
        "open": breaks.open,
        "accepted": breaks.accepted,
        "as_of": breaks.as_of and f"{breaks.as_of:%Y-%m-%d}",
        "oldest": [
            {
                "since": f"{each.first_seen:%Y-%m-%d}",
                "age": format_count(each.age_days, "day"),
                "seen": format_count(each.runs_seen, "run"),
                "state": each.state,
                "key": _format_key(each.key, keys),
                "column": each.column and visible(each.column),
                **_build_sides(*excerpt_values(each.old or "", each.new or "")),
                "kind": kind_words(each.kind),
                "same": each.kind in REWRITING_KINDS,
            }
            for each in breaks.oldest
        ],
    }


def _format_key(text: str, names: Sequence[str]) -> str:
    """A key as `A · B`. The text of a key of several columns is a JSON array."""
    values = json.loads(text) if len(names) > 1 else [text]
    return " · ".join(map(_format_value, values))


def _describe_sample(rows: int, total: int) -> str:
    """How many rows that differ the page holds: `rows` of `total`."""
    if not total:
        return "no row differs"
    if rows == total:
        return (
            f"all {total:,} rows that differ" if total > 1 else "the row that differs"
        )
    # The sample is chosen by hashes of the keys, so a rerun shows the same rows.
    return f"a stable sample of {rows:,} of {total:,} rows that differ"


def _build_first_rows(
    result: Reconciliation, data: Mapping[str, Any]
) -> dict[str, Any]:
    """What tables show of the first rows, where the page may not run its scripts."""
    n = result.counts
    cells = list_first_cells(data)
    return {
        "cells": [
            {
                "key": " · ".join(map(_show, each.key)),
                "column": visible(name_both(each.column, result.new_names)),
                **_build_sides(each.old, each.new),
                "kind": kind_words(each.kind),
                "same": each.kind in REWRITING_KINDS,
                "accepted": each.accepted,
            }
            for each in cells
        ],
        "shown": format_share(len(cells), n.mismatched_cells, "cell"),
        "unmatched": [
            {
                "name": name,
                "shown": format_share(len(first.rows), count, "row"),
                "columns": [
                    (visible(name_both(each, result.new_names)), False)
                    for each in first.columns
                ],
                "left_out": first.width - len(first.columns),
                "rows": [[_show(each) for each in row] for row in first.rows],
            }
            for name, count in (("missing", n.missing), ("extra", n.extra))
            for first in [list_first_rows(data[name])]
            if first.rows
        ],
    }


def _list_facts(result: Reconciliation, facts: PageFacts) -> Iterator[dict[str, Any]]:
    def fact(name: str, value: object, *, code: bool = False) -> dict[str, Any]:
        return {"name": name, "value": value, "code": code}

    if facts.dataset:
        yield fact("dataset", facts.dataset, code=True)
    if facts.run_id:
        yield fact("run", facts.run_id, code=True)
    if facts.started:
        yield fact("started", f"{facts.started:%Y-%m-%d %H:%M:%S} UTC")
    for name, side in (("OLD", result.old), ("NEW", result.new)):
        yield fact(name, file_name_of(side), code=True)
        yield fact(
            "",
            f"{format_count(side.rows, 'row')}, {format_count(side.bytes, 'byte')}"
            f"{_describe_dialect(side)}",
        )
        for text in describe_frame(name, side):
            yield fact("", text)
        if side.sha256:
            yield fact(f"sha256 of {name}", side.sha256, code=True)
    yield fact("keys", visible(", ".join(result.keys)), code=True)
    yield fact("columns compared", f"{len(result.by_column):,}")
    if result.new_names:
        renamed = (f"{old} = {new}" for old, new in result.new_names.items())
        yield fact("names in NEW", visible(", ".join(renamed)), code=True)
    yield fact("engine", f"recon-engine {result.engine.version}")
    if facts.timed:
        yield fact("duration", _format_cost(result))


def _describe_dialect(side: Side) -> str:
    """Encoding, newline, delimiter and other facts of how a file is written."""
    if side.dialect is None:
        return ""
    dialect = side.dialect
    words = (
        dialect.encoding,
        dialect.newline,
        f"delimiter {visible(dialect.delimiter)}",
        "quoted fields" if dialect.quotes else None,
        "byte order mark" if dialect.bom else None,
        dialect.compression,
    )
    return ": " + ", ".join(word for word in words if word)


def _format_cost(result: Reconciliation) -> str:
    seconds, peak = result.engine.seconds, result.engine.peak_rss_bytes
    return f"{seconds:.2f} s, peak {peak / MIB:,.0f} MiB"


def _format_value(value: str | None) -> str:
    """The value of a cell as the page shows it: cut and escaped."""
    return _show(excerpt_values(None, value or "")[1])


def _show(excerpt: str) -> str:
    """A text that is cut already, escaped; `(blank)` if it is empty."""
    return dotted(visible(excerpt)) or "(blank)"


def _format_amount(value: Decimal, places: int, sign: str = "") -> str:
    return f"{value:{sign},.{places}f}"


def _format_size(count: int) -> str:
    return f"{count / MIB:,.1f} MiB" if count >= MIB else f"{count / 1024:,.1f} KiB"
