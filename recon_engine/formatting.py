"""Presentation: how keys, shares, kinds and hints are written for people."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Protocol

from recon_engine.characters import escaped, readable
from recon_engine.lazy import lazy_pattern
from recon_engine.model import EXACT, HintKind, SuppressionState
from recon_engine.records import dataclass
from recon_engine.suggestions import join_names, shown
from recon_engine.toml_text import write_value


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from recon_engine.model import (
        Column,
        Constant,
        Drift,
        Hint,
        Pattern,
        RuleCount,
        Side,
        Total,
    )


class _WithSides(Protocol):
    @property
    def old(self) -> Side: ...
    @property
    def new(self) -> Side: ...


# Of hints and of constants, in Markdown and in a notebook. The JSON has all.
LINES_SHOWN: Final = 8

# Of fewer things, counts say more than shares.
FEW: Final = 20
# For one thing, every other verb gets an s.
SINGULAR_VERBS: Final = {
    "are": "is",
    "carry": "carries",
    "do": "does",
    "have": "has",
    "match": "matches",
    "were": "was",
}

# What an option about the frame of a file did, by how often it was applied.
FRAME_FACTS: Final[Mapping[str, Callable[[int], str]]] = {
    "parts": lambda n: f"{format_count(n, 'part')} joined to one table",
    "skip_lines": lambda n: format_count(n, "line", "are skipped before the header"),
    "comment_prefix": lambda n: format_count(n, "comment line", "are skipped"),
    "no_header": lambda n: f"no header, {format_count(n, 'column', 'are named')}",
    "blank_names": lambda n: format_count(n, "blank name", "are numbered"),
    "repeat_names": lambda n: format_count(n, "repeated name", "are numbered"),
    "trailing_delimiter": lambda _: "each record ends with a delimiter",
    "trailer": lambda n: format_count(n, "trailer record", "are no row"),
    "quote": lambda _: "quotes are ordinary characters",
    "fixed": lambda n: f"fixed width, {format_count(n, 'column')}",
    "excel_text": lambda n: format_count(n, "field of the form of Excel", "are read"),
    "nulls": lambda n: format_count(n, "null", "are read as blanks"),
    "eof_mark": lambda n: format_count(n, "end mark", "are no data"),
}

NOTHING: Final = "nothing to compare: 0 rows"

NO_PAIR: Final = "no row was compared: 0 rows are matched"

# `<` and `&` begin HTML, which Markdown passes on. `~~` strikes a text out on GitHub.
MARKDOWN_CHARS: Final = lazy_pattern(r"[\\`*<\[&~]")


def pluralize(count: int, noun: str) -> str:
    """A noun for a count: `key` for 1, else `keys`; `cell of PAID`, `cells of PAID`."""
    if count == 1:
        return noun
    head, of, owner = noun.partition(" of ")
    return f"{head}s{of}{owner}"


def conjugate(count: int, predicate: str) -> str:
    """A predicate for a count: `differ` is `differs` for 1, `are equal` is `is equal`.

    Its first word is the verb, in the plural.
    """
    if count != 1:
        return predicate
    verb, space, others = predicate.partition(" ")
    return SINGULAR_VERBS.get(verb, f"{verb}s") + space + others


def format_count(count: int, noun: str, predicate: str = "") -> str:
    """A count of things, and what they do: `1 key repeats`, `2,000 keys repeat`."""
    words = f"{count:,} {pluralize(count, noun)}"
    return f"{words} {conjugate(count, predicate)}" if predicate else words


def format_share(part: int, whole: int, noun: str, predicate: str = "") -> str:
    """A part of a count: `1 of 6 old rows is missing`, `2 of 6 old rows are …`."""
    words = f"{part:,} of {whole:,} {pluralize(whole, noun)}"
    # `0 of 1 cell is open`: of one thing, none is.
    number = 1 if whole == 1 else part
    return f"{words} {conjugate(number, predicate)}" if predicate else words


def describe_columns(columns: Sequence[str], *, quotable: bool) -> str:
    """The names of columns; their number if a name may be a value."""
    if quotable:
        return "the columns are " + join_names(map(shown, columns))
    count, be = format_count(len(columns), "column"), conjugate(len(columns), "are")
    return f"there {be} {count}; does each file start with a header?"


def describe_side(name: str, side: Side) -> Iterator[str]:
    """A sentence each for quarantined rows, repeated keys and blank keys of a side."""
    if side.rejected:
        rejected = format_count(
            side.rejected, f"malformed row of {name}", "were quarantined"
        )
        yield f"{rejected}, not compared"
    if side.unpairable:
        rows = format_count(side.unpairable, f"row of {name}", "have no key or value")
        yield f"{rows} to be paired by, not compared"
    if side.duplicate_keys:
        repeated = format_count(side.duplicate_keys, "key", f"repeat in {name}")
        yield f"{repeated}, on {side.duplicate_key_rows:,} rows: paired by content"
    if side.blank_keys:
        yield format_count(side.blank_keys, f"row of {name}", "have a blank key")


def describe_frame(name: str, side: Side) -> Iterator[str]:
    """A sentence for what was applied to a file to read its table."""
    facts = [
        FRAME_FACTS[option](count)
        for option, count in (side.dialect.frame if side.dialect else {}).items()
        if count
    ]
    if facts:
        yield f"{name} file: {', '.join(facts)}"


def describe_drift(names: Sequence[str], drift: Drift) -> Iterator[str]:
    """A sentence for the columns that only one side has; `names`: of both sides."""
    for name, only in zip(names, (drift.only_in_old, drift.only_in_new), strict=True):
        if only:
            yield f"not compared, only in {name}: {escaped(', '.join(only))}"


def describe_ignored(columns: Sequence[str]) -> Iterator[str]:
    """A sentence for the columns that an option leaves out, if there are some."""
    if columns:
        yield f"not compared: {join_names(columns)} (ignore)"


def write_ignore(columns: Sequence[str]) -> str:
    """The setting that leaves out columns, in one line."""
    return readable(f"ignore = {write_value([*columns])}")


def unused_frame_options(result: _WithSides) -> Iterator[str]:
    """A sentence for each option about the frame of a file that applied to nothing."""
    for name, side in (("old", result.old), ("new", result.new)):
        for option, count in (side.dialect.frame if side.dialect else {}).items():
            if not count:
                flag = f"--{name}-{option.replace('_', '-')}"
                yield f"{flag} has no effect: there is nothing that it applies to"


def format_key(values: Sequence[str]) -> str:
    """A key for people: the value of one column, a JSON array of several."""
    # An array, because a value may hold any separator.
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def most_frequent_change(
    changes: Sequence[Pattern], kinds: Mapping[str, int]
) -> tuple[str, str]:
    """Old and new value of the most frequent change of the most frequent kind."""
    kind = max(kinds, key=lambda each: kinds[each], default=None)
    shown = next((each for each in changes if each.kind == kind), changes[0])
    return shown.old, shown.new


def list_kinds(column: Column) -> list[tuple[str, str]]:
    """The kinds of a column's differences, most cells first, each with its words.

    Several have their counts, as the column has: `807 case`. Percentages would not add
    up to 100.
    """
    found = [(kind, count) for kind, count in column.kinds.items() if count]
    # Ties by name, so that the order depends on nothing else.
    found.sort(key=lambda item: (-item[1], item[0]))
    if len(found) == 1:
        [(kind, _)] = found
        return [(kind, kind_words(kind))]
    return [(kind, f"{count:,} {kind_words(kind)}") for kind, count in found]


def kind_words(kind: str) -> str:
    """The name of a kind with spaces, such as `number format`."""
    return kind.replace("_", " ")


def name_both(column: str, new_names: Mapping[str, str]) -> str:
    """The name of a column in OLD, and that in NEW if it is another: `OLD (NEW)`."""
    theirs = new_names.get(column)
    return column if theirs is None else f"{column} ({theirs})"


def format_kinds(column: Column) -> str:
    """The kinds of a column's differences: `807 case, 368 text`; one has no count."""
    return ", ".join(words for _, words in list_kinds(column))


@dataclass(frozen=True, slots=True)
class ChangedSums:
    """The sums of both sides over some cells of a column, which `cells` describes."""

    cells: str
    old: Decimal
    new: Decimal

    @property
    def delta(self) -> Decimal:
        return EXACT.subtract(self.new, self.old)


def list_changed_sums(total: Total, column: Column) -> list[ChangedSums]:
    """The sums over the cells that differ, and over others that rules make equal.

    The latter only if rules, such as a tolerance, hide a delta, or if a total that was
    read from the tables does not tell them apart.
    """
    if not (total.old or total.new):
        return []
    differ = conjugate(column.mismatched, "differ")
    differing = f"{format_count(column.mismatched, 'cell')} that {differ}"
    equal = f"{format_count(column.tolerated, 'cell')} equal by a rule"
    if not column.tolerated:
        return [ChangedSums("changed cells", total.old, total.new)]
    if not column.mismatched:
        return [ChangedSums(equal, total.old, total.new)]
    if total.differing is None:
        return [ChangedSums(f"{differing} and {equal}", total.old, total.new)]
    mine = ChangedSums(differing, *total.differing)
    rest = ChangedSums(
        equal,
        EXACT.subtract(total.old, mine.old),
        EXACT.subtract(total.new, mine.new),
    )
    return [mine, *[rest] * bool(rest.delta)]


def format_constant(constant: Constant, by: str, *, accepted: bool) -> str:
    """How many cells have a constant change: `12 of 12 cells: new = old + 1.00`.

    `by`: how its number or text is spelled. `accepted`: whether its column is.
    """
    cells = format_share(constant.rows, constant.total, "cell")
    return f"{cells}: {constant.write_formula(by)}" + " (accepted)" * accepted


def list_sums(total: Total, column: Column | None) -> list[str]:
    """The sums of a column that are not zero; `column`: None without changed cells."""
    changed = list_changed_sums(total, column) if column else []
    unmatched = {
        f"{what} rows": value
        for what, value in (("missing", total.missing), ("extra", total.extra))
        if value
    }
    every = [n for each in changed for n in (each.old, each.new)]
    places = count_places([*every, *unmatched.values()])
    return [
        *(
            f"{each.cells}: old {each.old:,.{places}f} · new {each.new:,.{places}f}"
            f" · delta {each.delta:,.{places}f}"
            for each in changed
        ),
        *(f"{what}: {value:,.{places}f}" for what, value in unmatched.items()),
    ]


def count_places(amounts: Iterable[Decimal]) -> int:
    """With how many decimals amounts are written next to each other, all exactly.

    As few as one of them is written with, if the others end with zeros.
    """
    written: list[int] = []
    needed = [0]
    for amount in amounts:
        _, digits, exponent = amount.as_tuple()
        places = max(-int(exponent), 0)
        if places:
            written.append(places)
            text = "".join(map(str, digits)).zfill(places)[-places:]
            needed.append(len(text.rstrip("0")))
    return max(*needed, min(written, default=0))


def format_advice(
    hint: Hint, escape: Callable[[str], str] = str, code: Callable[[str], str] = str
) -> str:
    """A hint as one line: the finding, the flag, and the effect of the flag.

    `escape` and `code` mark up plain text and code.
    """
    if not hint.flag:
        return escape(hint.text)
    return f"{escape(hint.text)}; {code(hint.flag)} {describe_effect(hint)}"


def describe_effect(hint: Hint) -> str:
    """What the flag of a hint does: `removes 805`."""
    return {
        HintKind.RULE: f"removes {hint.count:,}",
        HintKind.KEY_RULE: f"pairs {hint.count:,}",
        HintKind.DROP_KEY: f"as the key pairs {hint.count:,}",
        HintKind.RENAME: "compares them",
        HintKind.UNIQUE_KEY: "is the unique key",
        HintKind.SPLIT: "",
        HintKind.DAMAGE: "",
    }[hint.kind]


def format_percent(part: int, whole: int) -> str:
    """A share for people, rounded down: `70%`, or `<1%`."""
    share = 100 * part / whole
    # Rounded down, so that `100%` means all.
    return "<1%" if share < 1 else f"{int(share)}%"


def format_rate(part: float, whole: float = 1, places: int = 2) -> str:
    """A share with decimals, such as `6.00%`; `<0.01%` and `>99.99%` at the ends.

    So `0.00%` means none, and `100.00%` means all.
    """
    share = 100 * part / whole if whole else 0.0
    least = 10**-places
    if 0 < share < least:
        return f"<{least:.{places}f}%"
    # The rounded text decides: a share below 1 may be written as `100.00%`.
    shown = f"{share:.{places}f}%"
    if part < whole and shown == f"{100:.{places}f}%":
        return f">{100 - least:.{places}f}%"
    return shown


def format_number_or_percent(part: int, whole: int) -> str:
    """A part at the begin of `… of the 9 cells`: `70%`, of few things `2`; `None`."""
    if not part:
        return "None"
    return f"{part:,}" if whole < FEW else format_percent(part, whole)


def unread(rules: Sequence[RuleCount]) -> Iterator[str]:
    """A sentence for each rule that read no value of a side that has some.

    A rule of `*` need not fit every column: it is reported for a column in which it
    read a value of the other side, and if it read no value in any column.
    """
    by_every = [each for each in rules if each.every]
    useless = {each.rule for each in by_every} - {
        each.rule for each in by_every if each.old.read or each.new.read
    }
    for each in rules:
        fits = each.old.read or each.new.read or each.rule in useless
        if each.every and not fits:
            continue
        what = "differing value" if each.of == "cells" else "value"
        for name, side in (("OLD", each.old), ("NEW", each.new)):
            if side.unread and not side.read:
                values = format_share(0, side.unread, what)
                yield f"the rule {each.name} read {values} of {name}"


# A failed suppression has the mark of a failed gate. One that accepts differences has
# not that of a passed gate, because they still differ.
SUPPRESSION_MARKS: Final = {
    SuppressionState.ACTIVE: "≈",
    SuppressionState.UNUSED: "▲",
    SuppressionState.EXPIRED: "✗",
    SuppressionState.EXCEEDED: "✗",
}


def _accepted(rows: int) -> str:
    return f" ({rows:,} accepted)" if rows else ""


def mark_accepted(rows: int, left: int) -> str:
    """What is said of missing or of extra rows, of which suppressions leave so many."""
    return " (accepted)" if rows and not left else _accepted(rows - left)


def describe_accepted_rows(rows: int) -> str:
    """How many more rows differ only in cells that suppressions accept."""
    return f"{rows:,} more only by an accepted difference"


# In tables of cells: whether one is accepted, as far as it is known.
ACCEPTED_WORDS: Final = {True: "yes", False: "", None: "unknown"}


def format_others(side: Side) -> str:
    """` + 3 rejected + 2 left out`, or nothing."""
    return "".join(f" + {count:,} {what}" for what, count in count_others(side))


def count_others(side: Side) -> Iterator[tuple[str, int]]:
    """What the rows are that are in no pair and not without a partner, and how many."""
    for what, count in (
        ("rejected", side.rejected),
        ("left out", side.left_out),
        ("partner left out", side.partner_left_out),
        ("folded away", side.folded_away),
        ("unpairable", side.unpairable),
    ):
        if count:
            yield what, count


def describe_aside(old: Side, new: Side) -> str:
    """The rows that an agreement is not about: `1 left out`, or nothing.

    Counts of both sides are one if they are equal, or if one of them is 0.
    """
    found = []
    for what, counts in (
        ("left out", (old.left_out, new.left_out)),
        ("partner left out", (old.partner_left_out, new.partner_left_out)),
        ("folded away", (old.folded_away, new.folded_away)),
    ):
        if not any(counts):
            continue
        if 0 in counts or counts[0] == counts[1]:
            found.append(f"{max(counts):,} {what}")
        else:
            found.append(f"{counts[0]:,} of OLD and {counts[1]:,} of NEW {what}")
    return ", ".join(found)


def _name(text: str) -> str:
    """A name as a code span of Markdown."""
    return markdown_code(escaped(text))


def markdown_code(text: str) -> str:
    """A code span of Markdown for any text."""
    # A code span ends at as many backticks as it begins with.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{text}{space}{fence}"


def escape_markdown(text: str) -> str:
    """A text without Markdown markup."""
    return MARKDOWN_CHARS.sub(r"\\\g<0>", readable(text))


def markdown_row(*cells: str) -> str:
    """A row of a Markdown table; `|` in a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
