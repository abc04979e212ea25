"""Print results and errors for people (rich).

Every value that comes from a file passes `visible` or `readable` first, so no control
character reaches the terminal.
"""

from __future__ import annotations

import io
import itertools
import re
from functools import partial
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from recon_engine.characters import dotted, escapes, readable
from recon_engine.characters import escaped as visible
from recon_engine.command_line import quote_name, quoted
from recon_engine.formatting import (
    SUPPRESSION_MARKS,
    describe_drift,
    describe_side,
    format_advice,
    format_constant,
    format_count,
    format_rate,
    list_kinds,
    list_sums,
    name_both,
)
from recon_engine.kinds import REWRITING_KINDS, Kind
from recon_engine.model import SIDES, SuppressionState
from recon_engine.python_arguments import write_flags, write_for_python


if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from rich.console import RenderableType

    from recon_engine.compare.explained_rows import (
        ExplainedPair,
        ExplainedRow,
        Explanation,
    )
    from recon_engine.errors import ReconError
    from recon_engine.model import Column, GateResult
    from recon_engine.result import Reconciliation

    # Characters, from the first up to the one behind the last.
    Spans = Sequence[tuple[int, int]]


# A result fits one screen: the JSON and the report hold the full lists.
COLUMNS_SHOWN = 12
HINTS, CONSTANTS, TOTALS, SEGMENTS, KEYS = 8, 5, 5, 2, 10
# Terminal cells for all keys of missing, and of extra rows.
KEYS_WIDTH = 160
# Terminal cells for both values of an example together, arrow included: two ISO
# timestamps fit uncut.
MAX_EXAMPLE_WIDTH = 43
# Equal characters shown before the first difference of a long value.
CONTEXT_BEFORE = 5
COLUMN_HEADS = ("column", "cells", "%", "what changed", "example old → new")
# Behind the cells, if some are accepted.
ACCEPTED_HEAD = "accepted"
# Below this width `what changed` wraps rather than pushing the examples out.
KINDS_WIDTH = 26
# No column gets narrower than this, even where the table then overflows.
NARROW = 12
# Below this width the evidence of a decision needs the room of the alternatives: it
# would have 30 cells beside them.
WIDE = 120
BREAK_HEADS = ("key", "column", "kind", "state", "age", "old", "new")
# The columns of that table that are cut first, and next.
VALUES_OF_BREAKS, NAMES_OF_BREAKS = (5, 6), (0, 1)
# They all fit 80 terminal cells then.
LEAST_OF_BREAK = 8
# A long line breaks behind ` ·`, and before a flag, an argument or the first sum.
FOLD_POINTS = re.compile(r"(?<= ·) | (?=--|[a-z_]+=[\[{\"]|old -?\d)")
# What fits no line breaks between words. A quoted argument is one word: a command can
# be copied from the terminal.
WORDS = re.compile(r" *(?:(?<=[ =])'[^']*'|[^ ])+| +")
MARGIN = " " * 6
NUMBER_PATTERN = re.compile(r"-?[\d.,]+%?|")
PLAIN_NUMBER = re.compile(r"([+-]?)(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]*)?")
# `1.234` and `1,234` are a thousand in some notations.
UNSURE_NUMBER = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
# Differences of values that are digits in places.
PLACED_KINDS = frozenset({Kind.NUMBER, Kind.DATE})
ARROW = " → "
BLANK = "(blank)"
GOOD, BAD, QUIET, STRONG = "green", "red", "dim", "bold"
SUPPRESSION_STYLES = {
    SuppressionState.ACTIVE: QUIET,
    SuppressionState.UNUSED: "yellow",
    SuppressionState.EXPIRED: BAD,
    SuppressionState.EXCEEDED: BAD,
}


def print_result(
    console: Console,
    result: Reconciliation,
    then: str = "",
    *,
    explaining: str = "",
    numbered: bool = False,
    every_rule: bool = False,
    in_python: bool = False,
) -> None:
    """Print verdict, accounting, gates, warnings, columns and causes, then the cost.

    Args:
        console: Where it is printed.
        result: The result.
        then: The next step to suggest, after the cost on the last line.
        explaining: The command that shows one of the rows that differ.
        numbered: Whether the hints have the numbers by which they can be saved.
        every_rule: Whether each rule is listed, also one that read every value.
        in_python: Whether options are named as arguments of `diff`, and long lines
            are folded.
    """
    spell = write_for_python if in_python else str
    show = partial(print_line, console, folds=in_python)
    show(_verdict_line(result))
    show(_accounting_line(result, console.width))
    for text in result.reading():
        show(Text(f"  {readable(spell(text))}"))
    for gate in result.gates if len(result.gates) > 1 else ():
        show(_gate_line(gate))
    for line in _suppression_lines(result):
        show(line)
    for warning in map(spell, _warning_lines(result)):
        show(Text(f"  ▲ {warning}", style="yellow"))
    if result.counts.mismatched_cells:
        console.print()
        console.print(_column_table(result, console.width))
    code = write_flags if in_python else str
    hints = _hint_lines(result, code, spell, numbered=numbered)
    for part in (
        [*_rules(result, every=every_rule), *_key_lines(result, explaining)],
        [
            *hints,
            *_constant_lines(result),
            *_total_lines(result),
            *_segment_lines(result),
        ],
    ):
        if part:
            console.print()
        for line in part:
            show(line)
    console.print()
    cost = Text(_cost_line(result), style=QUIET)
    line = cost + (f" · {then}" if then else "")
    if console.is_terminal and line.cell_len > console.width:
        line = cost + f"\n{then}"
    show(line)


def print_line(console: Console, text: Text, *, folds: bool = False) -> None:
    """Print lines, which a terminal breaks between words.

    Piped output keeps a line whole, so that it can be searched, unless it `folds`.
    """
    if folds or console.is_terminal:
        lines = [_fold_line(line, console.width) for line in text.split("\n")]
        text = Text("\n").join(lines)
    console.print(text, soft_wrap=True)


def render_text(result: Reconciliation, width: int) -> str:
    """The same for Python, as plain text for lines of a width in terminal cells."""
    return _render_plain(
        lambda console: print_result(console, result, in_python=True), width
    )


def render_decisions(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> str:
    """What `print_decisions` prints, as plain text for lines of a width."""
    return _render_plain(lambda console: print_decisions(console, names, rows), width)


def _render_plain(show: Callable[[Console], None], width: int) -> str:
    """What is shown on a console without colors, as text."""
    stream = io.StringIO()
    # In a notebook, rich would display each print as an output of its own.
    console = Console(
        file=stream,
        width=width,
        color_system=None,
        force_jupyter=False,
        force_terminal=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    show(console)
    # Tables pad their last column.
    return "\n".join(map(str.rstrip, stream.getvalue().splitlines())).rstrip()


def _verdict_line(result: Reconciliation) -> Text:
    word, _, facts = result.headline().partition(": ")
    mark, colour = ("✓", GOOD) if result.passes else ("✗", BAD)
    return Text.assemble(
        (f"{mark} {word}", f"{STRONG} {colour}"), f"  {readable(facts)}"
    )


def _gate_line(gate: GateResult) -> Text:
    mark = ("✓", GOOD) if gate.passed else ("✗", BAD)
    return Text.assemble("  ", mark, f" {visible(gate.gate)}: {readable(gate.text)}")


def _suppression_lines(result: Reconciliation) -> Iterator[Text]:
    """How many cells are open, and a line for each suppression, with its mark."""
    if result.accepted_cells:
        yield Text(f"  {result.describe_open()}")
    for each in result.suppressed:
        mark, style = SUPPRESSION_MARKS[each.state], SUPPRESSION_STYLES[each.state]
        text = f" {readable(result.describe_suppressed(each))}"
        yield Text.assemble("  ", (mark, style), (text, "" if each.failed else style))


def _accounting_line(result: Reconciliation, width: int) -> Text:
    """Both sides on one line, or on two lines if they do not fit."""
    text = f"  {result.accounting()}"
    return Text(text if len(text) <= width else text.replace(" · ", "\n  "))


def _rules(result: Reconciliation, *, every: bool) -> Iterator[Text]:
    """One line per rule that left a value unread or a code unlisted; or per rule."""
    shown = [
        f"rule {visible(rule.text if every else rule.shortfall)}"
        for rule in result.rules_to_show
        if every or rule.shortfall
    ]
    yield from map(Text, shown[:COLUMNS_SHOWN])
    more = len(shown) - COLUMNS_SHOWN
    if more > 0:
        rules = format_count(more, "more rule")
        yield Text(f"… and {rules}, in the JSON", style=QUIET)


def _key_lines(result: Reconciliation, explaining: str) -> Iterator[Text]:
    """The first keys of rows that differ, of missing and of extra rows."""
    if result.sample:
        n = result.counts.mismatched_rows
        shown, accepted = result.split_sample()
        what = "rows that differ"
        if result.accepted_rows:
            # What is still to be done comes first.
            done = result.accepted_rows
            what += f" ({n - done:,} open, {done:,} accepted)"
        yield _list_keys(
            what,
            n,
            [[*row.key.values()] for row in (*shown, *accepted)[:KEYS]],
            {len(shown) + at for at, _ in enumerate(accepted)},
        )
    for what, count, rows in (
        ("missing in NEW", result.counts.missing, result.frames.missing),
        ("extra in NEW", result.counts.extra, result.frames.extra),
    ):
        # The rows of a stored result are in its artifacts.
        if not count or not rows.width:
            continue
        keys = [rows.get_column(name).head(KEYS).to_list() for name in result.keys]
        yield _list_keys(what, count, zip(*keys, strict=True))
    if explaining:
        yield Text.assemble(("next: ", GOOD), explaining)


def _list_keys(
    what: str,
    count: int,
    keys: Iterable[Sequence[str]],
    accepted: Container[int] = (),
) -> Text:
    """The first keys of so many rows, on one line; some are marked as accepted."""
    every = [
        ", ".join(map(_format_cell, key)) + " (accepted)" * (at in accepted)
        for at, key in enumerate(keys)
    ]
    sizes = itertools.accumulate(cell_len(each) for each in every)
    # Long keys are fewer; the first is shown whatever its length.
    fitting = sum(size <= KEYS_WIDTH for size in sizes)
    shown = every[: max(fitting, 1)]
    more = count - len(shown)
    return Text(f"{what}: " + " · ".join(shown)) + Text(
        f" · … and {more:,} more" if more else "", style=QUIET
    )


def _warning_lines(result: Reconciliation) -> Iterator[str]:
    # The headline already carries some warnings: each is printed once.
    headline = result.headline()
    yield from (readable(text) for text in result.warnings() if text not in headline)
    for name, side in (("old", result.old), ("new", result.new)):
        yield from describe_side(name, side)
    yield from describe_drift(SIDES, result.drift)
    if names := result.columns_to_ignore:
        flags = " ".join(f"--ignore {quoted(quote_name(each, ','))}" for each in names)
        leaves = f"leaves {'it' if len(names) == 1 else 'them'} out of the verdict"
        yield f"nothing else is open: {readable(flags)} {leaves}"


def _column_table(result: Reconciliation, width: int) -> RenderableType:
    """The differing columns, most differences first; only examples are truncated."""
    differing = result.differing
    examples = result.examples()
    left, open_kinds = result.left.mismatches, result.left_by_kind
    accepts = bool(result.accepted_cells)
    name, cells, *others = COLUMN_HEADS
    heads = (name, cells, *[ACCEPTED_HEAD] * accepts, *others)
    lines = [
        (
            Text(visible(column.name)),
            Text(f"{column.mismatched:,}"),
            *[Text(f"{column.mismatched - left[column.name]:,}")] * accepts,
            Text(format_rate(column.mismatched, column.compared).removesuffix("%")),
            _format_kinds(column, open_kinds),
            Text(_format_example(examples[column.name], MAX_EXAMPLE_WIDTH)),
        )
        for column in differing[:COLUMNS_SHOWN]
    ]
    *widths, kinds, example = _fit_widths(heads, lines, width)
    if accepts and example < max(line[-1].cell_len for line in lines):
        # An example says more than the share of cells of which some are accepted.
        share = heads.index("%")
        heads = (*heads[:share], *heads[share + 1 :])
        lines = [(*line[:share], *line[share + 1 :]) for line in lines]
        *widths, kinds, example = _fit_widths(heads, lines, width)
    table = _make_table()
    for at, each in enumerate(widths):
        justify: Literal["left", "right"] = "right" if at else "left"
        table.add_column(heads[at], width=each, justify=justify, no_wrap=True)
    table.add_column(heads[-2], width=kinds)
    if example:
        table.add_column(heads[-1], width=example, no_wrap=True)
    for column, line in zip(differing, lines, strict=False):
        shown = [Text(_format_example(examples[column.name], example))] * bool(example)
        table.add_row(*line[:-1], *shown)
    more = len(differing) - COLUMNS_SHOWN
    return (
        Group(table, Text(f"… and {more:,} more", style=QUIET)) if more > 0 else table
    )


def _fold_line(line: Text, width: int) -> Text:
    """Break a line that is wider than the terminal: before a flag or a sum.

    A part between two of them that fits no line breaks between words.
    """
    if line.cell_len <= width:
        return line
    folded, used = Text(), 0
    for part in _foldable_parts(line, width - len(MARGIN)):
        if used and used + part.cell_len > width:
            begin = len(part) - len(part.plain.lstrip(" "))
            folded.append("\n" + MARGIN).append_text(part[begin:])
            used = len(MARGIN) + part[begin:].cell_len
        else:
            folded.append_text(part)
            used += part.cell_len
    return folded


def _foldable_parts(line: Text, room: int) -> Iterator[Text]:
    """The parts of a line; the words of each that is wider than the room for it."""
    for part in line.divide([at.start() for at in FOLD_POINTS.finditer(line.plain)]):
        if part.cell_len <= room:
            yield part
        else:
            yield from part.divide([at.start() for at in WORDS.finditer(part.plain)])


def _hint_lines(
    result: Reconciliation,
    code: Callable[[str], str],
    spell: Callable[[str], str],
    *,
    numbered: bool,
) -> Iterator[Text]:
    shown = result.hints_to_show
    # The numbers are those of `--save-hints`, which counts the hints not shown too.
    hints = [each for each in enumerate(result.hints, 1) if each[1] in shown]
    for number, hint in hints[:HINTS]:
        # Only a hint with a setting can be saved.
        head = f"help {number}: " if numbered and hint.flag else "help: "
        advice = format_advice(hint, spell, code)
        yield Text.assemble((head, GOOD), readable(advice))
    yield from _count_more("help: ", len(hints) - HINTS)
    if result.remainder():
        yield Text(f"not explained by any hint: {result.remainder()}")


def _constant_lines(result: Reconciliation) -> Iterator[Text]:
    """The changes that cells have in common: open ones, then those of most cells."""
    accepted = result.accepted_columns
    found = sorted(result.constants, key=lambda c: (c.column in accepted, -c.rows))
    for each in found[:CONSTANTS]:
        by = _truncate_text(visible(each.by), MAX_EXAMPLE_WIDTH)
        text = format_constant(each, by, accepted=each.column in accepted)
        yield Text(f"change: {visible(each.column)}: {text}")
    yield from _count_more("change: ", len(found) - CONSTANTS)
    if names := result.unexplained_columns():
        yield Text(f"no hint and no common change: {readable(names)}")


def _total_lines(result: Reconciliation) -> Iterator[Text]:
    """The sums that are shown, largest delta first."""
    columns = {each.name: each for each in result.by_column}
    # Stable: equal deltas keep the order of the columns.
    amounts = sorted(result.totals_to_show, key=lambda each: -each.delta.copy_abs())
    for total in amounts[:TOTALS]:
        changed = total.column in result.summed
        sums = list_sums(total, columns[total.column] if changed else None)
        yield Text(f"sum: {visible(total.column)}: " + " · ".join(sums))
    yield from _count_more("sum: ", len(amounts) - TOTALS)


def _segment_lines(result: Reconciliation) -> Iterator[Text]:
    more = 0
    for of in ("mismatched", "missing", "extra"):
        segments = [segment for segment in result.segments if segment.of == of]
        for segment in segments[:SEGMENTS]:
            value = _truncate_text(_format_cell(segment.value), MAX_EXAMPLE_WIDTH)
            share = format_rate(segment.share, places=0)
            base = format_rate(segment.base, places=1)
            yield Text(
                f"segment: {share} of the {of} rows have "
                f"{visible(segment.column)} = {value} ({base} of all rows)"
            )
        more += len(segments[SEGMENTS:])
    yield from _count_more("segment: ", more)


def _count_more(head: str, more: int) -> Iterator[Text]:
    """A line for the lines with this head that are not shown, if there are some."""
    if more > 0:
        indent = " " * len(head)
        yield Text(f"{indent}… and {more:,} more, in the JSON", style=QUIET)


def _fit_widths(
    heads: Sequence[str], lines: Sequence[Sequence[Text]], width: int
) -> list[int]:
    """The width of each column: names shrink first, then examples; kinds wrap.

    The last width is 0 if the examples do not fit at all.
    """
    name, *counts, kinds, example = [
        max(len(head), *(cell.cell_len for cell in column))
        for head, column in zip(heads, zip(*lines, strict=True), strict=True)
    ]
    widest = kinds
    name = min(name, max(width // 3, NARROW))
    room = width - name - sum(counts) - 2 * (len(heads) - 1)
    kinds = max(min(kinds, max(room - example, KINDS_WIDTH)), len(heads[-2]))
    # Narrower than its head, an example shows nothing useful.
    remaining = min(example, room - kinds)
    if remaining < len(heads[-1]):
        return [name, *counts, max(min(widest, room + 2), NARROW), 0]
    return [name, *counts, kinds, remaining]


def _format_example(values: Sequence[str], width: int) -> str:
    """An old and a new value; long values are cut to their first difference.

    Fewer equal characters are shown before a difference that fits only behind them.
    """
    texts = [_format_cell(value) for value in values]
    if Text(ARROW.join(texts)).cell_len > width:
        room = (width - len(ARROW)) // 2
        shared = _count_shared(texts)
        # Behind them, both may end alike.
        ends = _count_shared([text[shared:][::-1] for text in texts])
        differing = max(cell_len(text[shared : len(text) - ends]) for text in texts)
        # Beside two marks of a cut. What fits in no way is cut behind its beginning.
        left = room - 2 - differing
        context = min(CONTEXT_BEFORE, left if left > 0 else room // 2)
        if shared > context:
            texts = [f"…{text[shared - context :]}" for text in texts]
        texts = [_truncate_text(text, room) for text in texts]
    return ARROW.join(texts)


def _count_shared(texts: list[str]) -> int:
    """The number of characters with which all texts begin."""
    return len(commonprefix(texts))  # noqa: RUF071 - of texts, not of paths


def _truncate_text(value: str, width: int) -> str:
    cut = Text(value)
    cut.truncate(width, overflow="ellipsis")
    return cut.plain


def _format_kinds(
    column: Column, open_cells: Mapping[tuple[str | None, str], int]
) -> Text:
    """The kinds by share; kinds that change the value are highlighted.

    One of which every cell is accepted is not: there is nothing to do.
    """

    def style(kind: str) -> str:
        if not open_cells[column.name, kind]:
            return QUIET
        return "" if kind in REWRITING_KINDS else BAD

    parts = [Text(words, style=style(kind)) for kind, words in list_kinds(column)]
    return Text(", ").join(parts)


def _format_cell(value: str) -> str:
    """A cell on one line: `(blank)` if empty, spaces at the ends shown as `·`."""
    if not value:
        return BLANK
    return dotted(visible(value))


def _cost_line(result: Reconciliation) -> str:
    seconds = max(result.engine.seconds, 0.001)
    size = result.old.bytes + result.new.bytes
    peak = result.engine.peak_rss_bytes
    rate = f"{size / seconds / 2**20:,.0f} MiB/s"
    return f"{seconds:.2f} s · {rate} · peak {peak / 2**20:,.0f} MiB"


def print_table(
    console: Console,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    spare: Sequence[str] = (),
) -> None:
    """Print a table; drop columns of `spare`, in order, until it fits.

    A table that still does not fit is printed as one list of values per row.
    """
    # Not by name: a statement may have several columns of one name.
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    columns = [
        (name, Text(visible(name)), [Text(visible(value)) for value in values])
        for name, values in zip(names, by_column, strict=True)
    ]
    for name in spare:
        if _table_width(columns) > console.width:
            columns = [each for each in columns if each[0] != name]
    if _table_width(columns) > console.width and rows:
        _print_records(console, columns)
        return
    table = _make_table()
    for _, head, values in columns:
        numbers = bool(values) and all(
            NUMBER_PATTERN.fullmatch(each.plain) for each in values
        )
        table.add_column(head, justify="right" if numbers else "left")
    for row in zip(*(values for *_, values in columns), strict=True):
        table.add_row(*row)
    console.print(table)


def print_breaks(console: Console, breaks: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each break; long values, then long names and keys, are cut.

    A missing or extra row has neither a column nor values.
    """
    rows = [
        [
            visible(each["key"]),
            visible(each["column"] or ""),
            each["kind"].replace("_", " ") + ("?" if each["uncertain"] else ""),
            each["state"] + (", accepted" if each["accepted"] else ""),
            format_count(each["age_days"], "day"),
            *("" if each[side] is None else _format_cell(each[side]) for side in SIDES),
        ]
        for each in breaks
    ]
    widths = [
        max(map(cell_len, column)) for column in zip(BREAK_HEADS, *rows, strict=True)
    ]
    room = console.width - 2 * (len(widths) - 1)
    for group in (VALUES_OF_BREAKS, NAMES_OF_BREAKS):
        while sum(widths) > room:
            widest = max(group, key=widths.__getitem__)
            if widths[widest] <= LEAST_OF_BREAK:
                break
            widths[widest] -= 1
    table = _make_table()
    for head in BREAK_HEADS:
        table.add_column(head, no_wrap=True)
    for row in rows:
        cut = (_truncate_text(*each) for each in zip(row, widths, strict=True))
        table.add_row(*map(Text, cut))
    console.print(table)


def print_decisions(
    console: Console, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table of texts whose third column, the longest, takes several lines.

    The last column is left out if it is blank, and where the third needs its room.
    """
    if console.width < WIDE or not any(row[-1] for row in rows):
        names, rows = names[:-1], [row[:-1] for row in rows]
    table = _make_table(*names)
    for row in rows:
        table.add_row(*(Text(readable(cell)) for cell in row))
    console.print(table)


def _table_width(columns: Sequence[tuple[str, Text, Sequence[Text]]]) -> int:
    """The width of a table in terminal cells."""
    widths = (
        max(head.cell_len, *(each.cell_len for each in values), 0)
        for _, head, values in columns
    )
    return sum(widths) + 2 * (len(columns) - 1)


def _print_records(
    console: Console, columns: Sequence[tuple[str, Text, Sequence[Text]]]
) -> None:
    heads = [head for _, head, _ in columns]
    rows = zip(*(values for *_, values in columns), strict=True)
    for index, row in enumerate(rows):
        if index:
            console.print()
        grid = Table.grid(padding=(0, 2, 0, 0))
        for head, value in zip(heads, row, strict=True):
            grid.add_row(Text(head.plain, style=STRONG), value)
        console.print(grid)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print each pair side by side with its differences marked, then unmatched rows."""
    key = ", ".join(f"{name}={value}" for name, value in explanation.key.items())
    counts = (
        (len(explanation.pairs), "matched"),
        (len(explanation.missing), "missing"),
        (len(explanation.extra), "extra"),
        (len(explanation.aside), "set aside"),
    )
    summary = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    print_line(console, Text(f"{visible(key)}: {summary}"))
    for pair in explanation.pairs:
        console.print()
        console.print(_pair_table(pair, explanation.new_names))
    for what, rows in (("OLD", explanation.missing), ("NEW", explanation.extra)):
        for row in rows:
            console.print()
            console.print(_unmatched_table(row, what, explanation.new_names))
    for each in explanation.aside:
        console.print()
        print_line(console, Text(f"{visible(each.reason)}:"))
        console.print(
            _unmatched_table(each.row, each.side.upper(), explanation.new_names)
        )


def _pair_table(pair: ExplainedPair, new_names: Mapping[str, str]) -> RenderableType:
    table = _make_table(
        "column",
        f"OLD{_line_suffix(pair.old_line)}",
        f"NEW{_line_suffix(pair.new_line)}",
    )
    table.add_column("")
    for cell in pair.cells:
        style = "" if cell.differs else QUIET
        # Of cells that are equal by a rule, or by a factor, no character is wrong.
        spans: tuple[Spans, Spans] = ((), ())
        if cell.differs:
            spans = cell.old_spans, cell.new_spans
        if cell.state == Kind.SCALE:
            spans = ((), ())
        if cell.state in PLACED_KINDS and cell.old and cell.new:
            spans = _differing_places(cell.old, cell.new, cell.state)
        rules = f" by {', '.join(cell.rules)}" if cell.state == "tolerated" else ""
        state = "" if cell.state == "equal" else cell.state.replace("_", " ") + rules
        if cell.column in pair.factors:
            state += f" (\u00d7 {pair.factors[cell.column]})"
        table.add_row(
            Text(visible(name_both(cell.column, new_names)), style=style),
            _mark_differences(cell.old, spans[0], style),
            _mark_differences(cell.new, spans[1], style),
            Text(state, style=BAD if cell.differs else QUIET),
        )
    return table


def _differing_places(old: str, new: str, kind: str) -> tuple[Spans, Spans]:
    """The digits of two numbers or dates that differ in their places, as spans.

    `13.5` and `13.50` differ in none. Of values whose notations may differ, such as
    two forms of a date, the whole is marked. report.js does the same.
    """
    places = _places_of_numbers if kind == Kind.NUMBER else _places_of_dates
    found = places(old, new)
    if found is None:
        # A mask may show one text for both.
        return ([], []) if old == new else ([(0, len(old))], [(0, len(new))])
    digits = [
        {place: c for place, c in zip(side, text, strict=True) if place is not None}
        for side, text in zip(found, (old, new), strict=True)
    ]
    ours, theirs = (
        [
            (at, at + 1)
            for at, place in enumerate(side)
            if place is not None and mine[place] != other.get(place, "0")
        ]
        for side, mine, other in zip(found, digits, digits[::-1], strict=True)
    )
    return ours, theirs


def _places_of_numbers(old: str, new: str) -> tuple[list[int | None], ...] | None:
    """The place of each digit, 0 before the point; None for another notation."""
    read = [PLAIN_NUMBER.fullmatch(text) for text in (old, new)]
    if not all(read) or any(map(UNSURE_NUMBER.fullmatch, (old, new))):
        return None
    if len({found[1].replace("+", "") for found in read if found}) > 1:
        return None
    return tuple(map(_number_digits, (old, new)))


def _number_digits(text: str) -> list[int | None]:
    place = sum(map(str.isdigit, text.partition(".")[0]))
    places: list[int | None] = []
    for c in text:
        place -= c.isdigit()
        places.append(place if c.isdigit() else None)
    return places


def _places_of_dates(old: str, new: str) -> tuple[list[int | None], ...] | None:
    """The places of two dates of one notation; None for two notations."""
    if re.sub("[0-9]", "0", old) != re.sub("[0-9]", "0", new):
        return None
    places: list[int | None] = [*range(len(old))]
    return places, places


def _unmatched_table(
    row: ExplainedRow, side: str, new_names: Mapping[str, str]
) -> RenderableType:
    table = _make_table("column", f"{side} only{_line_suffix(row.line)}")
    for name, value in row.values.items():
        table.add_row(
            Text(visible(name_both(name, new_names))), Text(_format_cell(value))
        )
    return table


def _make_table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=STRONG)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _line_suffix(line: int | None) -> str:
    return "" if line is None else f", line {line:,}"


def _mark_differences(
    value: str | None, spans: Iterable[tuple[int, int]], style: str
) -> Text:
    """A value, and under it a caret for each character that differs.

    `spans` count characters of the value. An escaped character is several
    terminal cells wide, so carets are placed by cells, not by characters.
    """
    if value is None:
        return Text("")
    shown = escapes(value)
    marks = ""
    for start, end in spans:
        marks += " " * (cell_len("".join(shown[:start])) - len(marks))
        marks += "^" * cell_len("".join(shown[start:end]))
    lines = Text(_format_cell(value), style=style)
    return Text("\n").join([lines, Text(marks, style=BAD)]) if marks else lines


def print_error(console: Console, error: ReconError) -> None:
    """Print what failed, where, why and how to fix it."""
    head = Text.assemble((f"error[{error.status}]", f"{STRONG} {BAD}"), ": ")
    print_line(console, head + Text(readable(error.message)))
    if error.where:
        print_line(console, Text(f"  --> {readable(error.where)}"))
    for index, reason in enumerate(error.why.splitlines() if error.why else ()):
        lead = "       " if index else "  why: "
        print_line(console, Text(f"{lead}{readable(reason)}"))
    if error.help:
        line = Text.assemble(("  help: ", GOOD), readable(error.help))
        print_line(console, line)
