"""The semantics in plain dicts, lists and Decimals: slow, short, and independent.

No polars, numpy or engine code: what it shares with the engine is the specification.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Row = tuple[str, ...]
Patterns = tuple[int, list[tuple[str, str, str, int, Row]]]
# The form, the number, span or text, and of how many cells of how many.
Constant = tuple[str, str, int, int]

EXACT = Context(prec=10_000, Emax=99_999, Emin=-99_999, traps=[Inexact])
WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


# By code: controls that are no white space, then Default_Ignorable_Code_Point.
HIDDEN = (
    (0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F),
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Everything a reconciliation says of its rows, in sets and counts."""

    matched: int
    missing: Counter[Row]
    extra: Counter[Row]
    identical: int
    cells: Counter[tuple[Row, str, str, str, str]]
    signatures: Counter[tuple[str, ...]]
    duplicates_old: dict[Row, int]
    duplicates_new: dict[Row, int]
    blank_old: int
    blank_new: int
    tolerated: Counter[str] = field(default_factory=Counter)
    tolerated_keys: int = 0
    rules: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    patterns: dict[str, Patterns] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    totals: dict[str, tuple[Fraction, ...]] = field(default_factory=dict)
    unpairable: tuple[int, int] = (0, 0)


def read(data: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a valid file; trailing blank lines are none."""
    text = data.decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    if len(header) == 1:
        rows = [row or [""] for row in rows]
    while rows and not rows[-1]:
        rows.pop()
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def reconcile(
    old: list[dict[str, str]],
    new: list[dict[str, str]],
    keys: list[str],
    columns: list[str],
    rules: Mapping[str, Sequence[str]] = MappingProxyType({}),
    old_rules: Mapping[str, Sequence[str]] = MappingProxyType({}),
    new_rules: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Answer:
    """Group both sides by key, pair within each group, compare the pairs."""
    every = {*rules, *old_rules, *new_rules}
    chains = defaultdict(lambda: arrange((), (), ())) | {
        name: arrange(
            rules.get(name, ()), old_rules.get(name, ()), new_rules.get(name, ())
        )
        for name in every
    }

    def key_of(row: dict[str, str], side: str) -> Row:
        return tuple(form(chains[key], side, row[key]) for key in keys)

    groups: dict[Row, tuple[list[dict[str, str]], list[dict[str, str]]]] = defaultdict(
        lambda: ([], [])
    )
    able = (
        [row for row in old if _is_pairable(row, keys, chains, "old")],
        [row for row in new if _is_pairable(row, keys, chains, "new")],
    )
    for at, rows in enumerate(able):
        for row in rows:
            groups[key_of(row, SIDES[at])][at].append(row)
    pairs, missing, extra = [], [], []
    for left, right in groups.values():
        found, left_over, right_over = pair(left, right, sorted(columns), keys, chains)
        pairs += found
        missing += left_over
        extra += right_over
    cells: Counter[tuple[Row, str, str, str, str]] = Counter()
    signatures: Counter[tuple[str, ...]] = Counter()
    tolerated: Counter[str] = Counter()
    examples: dict[tuple[str, str, str], Row] = {}
    for ours, theirs in pairs:
        differing = [
            name
            for name in columns
            if not alike(chains[name], ours[name], theirs[name])
        ]
        unequal = {name for name in columns if ours[name] != theirs[name]}
        tolerated.update(unequal - set(differing))
        if differing:
            signatures[tuple(differing)] += 1
        for name in differing:
            key = tuple(ours[part] for part in keys)
            o, n = ours[name], theirs[name]
            cells[(key, name, o, n, kind_read(chains[name], o, n))] += 1
            examples[name, o, n] = min(examples.get((name, o, n), key), key)
    everything = [*keys, *columns]
    return Answer(
        matched=len(pairs),
        missing=Counter(tuple(row[name] for name in everything) for row in missing),
        extra=Counter(tuple(row[name] for name in everything) for row in extra),
        identical=len(pairs) - signatures.total(),
        cells=cells,
        signatures=signatures,
        tolerated=tolerated,
        tolerated_keys=sum(any(o[key] != n[key] for key in keys) for o, n in pairs),
        rules=rule_counts(pairs, (old, new), keys, columns, chains),
        patterns=patterns(cells, examples),
        constants=constants(cells, chains),
        totals=totals(pairs, missing, extra, able, columns, chains),
        duplicates_old=repeats([left for left, _ in groups.values()], keys),
        duplicates_new=repeats([right for _, right in groups.values()], keys),
        blank_old=sum("" in key_of(row, "old") for row in able[0]),
        blank_new=sum("" in key_of(row, "new") for row in able[1]),
        unpairable=(len(old) - len(able[0]), len(new) - len(able[1])),
    )


def rule_counts(
    pairs: list[tuple[dict[str, str], dict[str, str]]],
    every: tuple[list[dict[str, str]], list[dict[str, str]]],
    keys: list[str],
    columns: list[str],
    chains: Mapping[str, Chain],
) -> dict[tuple[str, int], tuple[int, ...]]:
    """For each rule, by column and place: values read and unread of OLD, of NEW; pairs.

    Of keys, and of columns whose sides are read differently, all values are counted; of
    other columns those of pairs that are not the same text; a blank is no value. The
    pairs are those that it makes equal; of two typed rules, the first that was given
    makes them.
    """
    found: dict[tuple[str, int], tuple[int, ...]] = {}
    for name in (*keys, *columns):
        chain = chains[name]
        unlike = [(o[name], n[name]) for o, n in pairs if o[name] != n[name]]
        sides: list[list[str]] = [list(texts) for texts in zip(*unlike, strict=True)]
        if name in keys or chain.reads_apart:
            sides = [[row[name] for row in side] for side in every]
        counts = [[0, 0, 0, 0, 0] for _ in chain.steps]
        for at, step in enumerate(chain.steps):
            for side, texts in enumerate(sides or [[], []]):
                if step.side in {"both", SIDES[side]}:
                    before = [until(chain, SIDES[side], at, text) for text in texts]
                    values = [text for text in before if text]
                    read = sum(READS[step.rule.split("(")[0]](step.rule, text)
                               for text in values)  # fmt: skip
                    counts[at][2 * side : 2 * side + 2] = read, len(values) - read
        for o, n in unlike:
            if alike(chain, o, n):
                counts[since(chain, o, n)][4] += 1
        found |= {(name, at): tuple(each) for at, each in enumerate(counts)}
    return found


def until(chain: Chain, side: str, count: int, text: str) -> str:
    """A text after the first rules of a chain."""
    for step in chain.steps[:count]:
        if step.side in {"both", side}:
            text = read_by(chain, step.rule, side, text)
    return text


def since(chain: Chain, old: str, new: str) -> int:
    """The rule from which on two texts are equal, which they are in the end.

    Typed rules of two sides are one: the first of them that was given.
    """
    typed = [at for at, step in enumerate(chain.steps) if is_typed(step.rule)]
    given = [at for at in typed if not chain.steps[at].implied]
    for at in reversed(range(len(chain.steps))):
        first = typed[0] if at in typed else at
        if until(chain, "old", first, old) != until(chain, "new", first, new):
            return given[0] if at in typed else at
    raise AssertionError


def patterns(
    cells: Counter[tuple[Row, str, str, str, str]],
    examples: dict[tuple[str, str, str], Row],
) -> dict[str, Patterns]:
    """For each column how many distinct changes, and the ten commonest of them."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for (_, *change), rows in cells.items():
        counts[tuple(change)] += rows  # type: ignore[index]
    found: dict[str, list[tuple[str, str, str, int, Row]]] = defaultdict(list)
    for (name, old, new, kind), rows in counts.items():
        found[name].append((old, new, kind, rows, examples[name, old, new]))
    return {
        name: (len(each), sorted(each, key=lambda e: (-e[3], e[0], e[1]))[:10])
        for name, each in found.items()
    }


def constants(
    cells: Counter[tuple[Row, str, str, str, str]], chains: Mapping[str, Chain]
) -> dict[str, Constant]:
    """For each column the change that most cells have in common, if one has."""
    columns: dict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    for (_, name, *change), rows in cells.items():
        columns[name][tuple(change)] += rows  # type: ignore[index]
    found = {
        name: constant_of(
            [
                (value(chains[name], "old", o), value(chains[name], "new", n), kind, n_)
                for (o, n, kind), n_ in changes.items()
            ]
        )
        for name, changes in columns.items()
    }
    return {name: each for name, each in found.items() if each}


def value(chain: Chain, side: str, text: str) -> str:
    """What the rules of a side make of a text; a day as text, with a time."""
    read = form(chain, side, text)
    rules = chain.of(side)[-1:]
    are_days = rules and FAMILIES.get(rules[0].split("(")[0]) == "day"
    if are_days and read[:1] == "\0" != read[1:2]:
        seconds, part = divmod(int(value_of(read)), 10**9)
        start = datetime(1970, 1, 1)  # noqa: DTZ001
        return f"{start + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}.{part:09}"
    return shown(read)


FORMS = (
    "shift", "add", "multiply", "divide", "append", "prepend", "cut_end", "cut_start",
)  # fmt: skip
SAME_VALUE = {
    "whitespace", "line_break", "invisible", "case", "unicode_form", "leading_zeros",
    "number_format", "date_format",
}  # fmt: skip
FEWEST_CELLS = 5
UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def constant_of(changes: list[tuple[str, str, str, int]]) -> Constant | None:
    """The constant change of a column, of its changes: old, new, kind and rows."""
    every = sum(rows for *_, rows in changes)
    others = [each for each in changes if each[0] and each[1]]
    others = [each for each in others if each[2] not in SAME_VALUE]
    best = [
        *common(others, {form: partial(affix, form) for form in FORMS[4:]}),
        *common(
            [each for each in others if numbers_of(*each[:3])],
            {form: partial(step, form) for form in FORMS[1:4]},
        ),
        *spans(others),
    ]
    if not best:
        return None
    rows, form, by = min(best, key=lambda each: (-each[0], FORMS.index(each[1])))
    # The text alone, from a blank or to one.
    whole = {"append": ("", by), "prepend": ("", by)}
    whole |= {"cut_end": (by, ""), "cut_start": (by, "")}
    if form in whole:
        rows += sum(n for old, new, _, n in changes if (old, new) == whole[form])
    return form, by, rows, every


Found = tuple[int, str, str]
Change = tuple[str, str, str]


def common(
    changes: list[tuple[str, str, str, int]],
    forms: Mapping[str, Callable[[str, str, str], tuple[Any, int] | None]],
) -> list[Found]:
    """Of each form the change that half of these cells have, of several pairs."""
    total = sum(rows for *_, rows in changes)
    found = []
    for form, how in forms.items():
        by_change: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for *change, rows in changes:
            one = how(*change)
            if one is not None:
                by_change[one[0]].append((rows, one[1]))
        able = []
        for by, each in by_change.items():
            cells, places = sum(n for n, _ in each), max(p for _, p in each)
            if cells >= FEWEST_CELLS and 2 * cells >= total and len(each) > 1:
                digits = text = str(by)
                if isinstance(by, Decimal):
                    digits = f"{EXACT.scaleb(by, 18):.0f}"
                    text = f"{EXACT.quantize(by, Decimal(1).scaleb(-places)):f}"
                # Of equally frequent ones the shorter, then the first by content.
                able.append((-cells, len(digits), digits, text))
        if able:
            cells, _, _, text = min(able)
            found.append((-cells, form, text))
    return found


def affix(form: str, old: str, new: str, _: str) -> tuple[str, int] | None:
    """What is after or before the shorter text in the longer one."""
    whole, part = (new, old) if form in {"append", "prepend"} else (old, new)
    if whole == part:
        return None
    if form in {"append", "cut_end"}:
        return (whole[len(part) :], 0) if whole.startswith(part) else None
    rest = whole[: len(whole) - len(part)]
    return (rest, 0) if whole.endswith(part) else None


def numbers_of(old: str, new: str, kind: str) -> tuple[Decimal, Decimal] | None:
    """Two numbers that are not too long; a code of a table is none."""
    if kind not in {"number", "sign_flip", "scale", "truncated"}:
        return None
    both = [number(text.strip(WHITE)) for text in (old, new)]
    for text in (old, new):
        whole, _, part = text.strip(WHITE).replace(",", "").partition(".")
        if len(whole.lstrip("+-")) > 18 or len(part) > 18:
            return None
    return None if None in both else (both[0], both[1])  # type: ignore[return-value]


def step(form: str, old: str, new: str, kind: str) -> tuple[Any, int] | None:
    """The difference or the factor of two numbers, and their decimal places."""
    both = numbers_of(old, new, kind)
    assert both is not None
    o, n = both
    if form == "add":
        places = max(len(t.strip(WHITE).partition(".")[2]) for t in (old, new))
        return (EXACT.subtract(n, o), places) if n != o else None
    whole, part = (n, o) if form == "multiply" else (o, n)
    if not o or not n or o == n or Fraction(whole) % Fraction(part):
        return None
    return int(Fraction(whole) / Fraction(part)), 0


def spans(changes: list[tuple[str, str, str, int]]) -> list[Found]:
    """The common span of times, by the order of day and month that reads them all."""
    able, read = [], dict.fromkeys(("us", "eu"), 0)
    some = 0
    for change in changes:
        old, new, kind, rows = change
        eight = all(re.fullmatch("[12][0-9]{7}", t.strip(WHITE)) for t in (old, new))
        eight = eight and kind in {"number", "sign_flip", "scale"}
        if not (kind == "date" or eight or (":" in old and ":" in new)):
            continue
        orders = {
            order
            for order in read
            for o, n in [(moment(old, order), moment(new, order))]
            if o is not None and n is not None and o[0] == n[0]
        }
        if eight or orders or kind == "date":
            able.append(change)
        if orders or kind == "date":
            some += rows
        for order in orders:
            read[order] += rows
    found = [
        common(able, {order: partial(span, order)})
        for order in read
        if read[order] == some
    ]
    texts = {tuple((cells, by) for cells, _, by in each) for each in found}
    if len(texts) != 1:
        return []
    return [(cells, "shift", in_words(int(by))) for cells, by in texts.pop()]


def span(order: str, old: str, new: str, _: str) -> tuple[int, int] | None:
    """The seconds between two times."""
    o, n = moment(old, order), moment(new, order)
    if o is None or n is None or o[0] != n[0] or o[2] != n[2] or o[1] == n[1]:
        return None
    return n[1] - o[1], 0


def in_words(seconds: int) -> str:
    """A span in its largest whole unit."""
    unit, size = next(each for each in UNITS.items() if seconds % each[1] == 0)
    count = seconds // size
    return f"{count:,} {unit}{'' if abs(count) == 1 else 's'}"


def moment(text: str, order: str) -> tuple[bool, int, str] | None:
    """Whether a time has a day, its seconds, and its fraction and offset."""
    text = text.strip(WHITE)
    if ":" not in text:
        day = day_of(text, order)
        return None if day is None else (True, day * 86_400, "")
    found = re.fullmatch(
        r"(?:([^\s]{8,11}?)[ T])?(\d{1,2}):(\d\d)(?::(\d\d)((?:\.\d{1,9})?"
        r"(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?))?",
        text,
        re.ASCII,
    )
    if not found or int(found[2]) > 23 or int(found[3]) > 59 or int(found[4] or 0) > 59:
        return None
    second = int(found[2]) * 3_600 + int(found[3]) * 60 + int(found[4] or 0)
    if found[1] is None:
        return False, second, found[5] or ""
    day = day_of(found[1], order)
    return None if day is None else (True, day * 86_400 + second, found[5] or "")


def day_of(text: str, order: str) -> int | None:
    """The day since 1970 of a text in one of the known formats."""
    for pattern in (
        "(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
        "(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
        "(?P<y>[0-9]{4})/(?P<m>[0-9]{2})/(?P<d>[0-9]{2})",
        "(?P<m>[0-9]{2})/(?P<d>[0-9]{2})/(?P<y>[0-9]{4})"
        if order == "us"
        else "(?P<d>[0-9]{2})/(?P<m>[0-9]{2})/(?P<y>[0-9]{4})",
        r"(?P<d>[0-9]{2})\.(?P<m>[0-9]{2})\.(?P<y>[0-9]{4})",
        "(?P<d>[0-9]{2})-(?P<m>[A-Za-z]{3})-(?P<y>[0-9]{4})",
    ):
        found = re.fullmatch(pattern, text)
        if found and (found["m"].isdigit() or found["m"].title() in MONTHS):
            return day_number(found["y"], found["m"], found["d"])
    return None


def totals(
    pairs: list[tuple[dict[str, str], dict[str, str]]],
    missing: list[dict[str, str]],
    extra: list[dict[str, str]],
    every: tuple[list[dict[str, str]], list[dict[str, str]]],
    columns: list[str],
    chains: Mapping[str, Chain],
) -> dict[str, tuple[Fraction, ...]]:
    """For each column of amounts its sums: old, new, missing, extra.

    `every`: all rows of both sides that can be paired: a small file is known by them.
    """
    found = {}
    for name in columns:
        unlike = [
            (o, n)
            for o, n in pairs
            if o[name] != n[name] or not alike(chains[name], o[name], n[name])
        ]
        chain = chains[name]
        parts = [
            given([o for o, _ in unlike], name, chain, "old"),
            given([n for _, n in unlike], name, chain, "new"),
            given(missing, name, chain, "old"),
            given(extra, name, chain, "new"),
        ]
        sides = [
            given(rows, name, chain, side)
            for side, rows in zip(SIDES, every, strict=True)
        ]
        if not any(parts) or any(map(are_names, sides)):
            continue
        if all(is_amount(text) for side in sides for text in side):
            found[name] = tuple(
                sum((Fraction(text.replace(",", "")) for text in part), Fraction(0))
                for part in parts
            )
    return found


def given(rows: list[dict[str, str]], name: str, chain: Chain, side: str) -> list[str]:
    """What is not blank in a column; numbers of another notation as plain ones."""
    last = chain.of(side)[-1:]
    other = last and FAMILIES.get(last[0].split("(")[0]) == "number"
    if other and not re.fullmatch(r"decimal(\((abs|rel)=[^)]*\))?", last[0]):
        forms = [(row[name], form(chain, side, row[name])) for row in rows]
        texts = [
            shown(read) if read[:2] in {"\0+", "\0-"} else text for text, read in forms
        ]
    else:
        texts = [row[name] for row in rows]
    return [text for each in texts if (text := each.strip(WHITE))]


def is_amount(text: str) -> bool:
    """Whether a number is no code, which may have zeros before its digits."""
    return number(text) is not None and not re.match("[+-]?0[0-9,]", text)


def are_names(texts: list[str]) -> bool:
    """Whether whole numbers are all equally wide, and wide, as identifiers are."""
    widths = {len(text) for text in texts}
    whole = not any("." in text for text in texts)
    return whole and len(widths) == 1 and min(widths) >= 8


def repeats(groups: list[list[dict[str, str]]], keys: list[str]) -> dict[Row, int]:
    """How many rows each repeated key has, under the first of its spellings."""
    return {
        min(tuple(row[key] for key in keys) for row in rows): len(rows)
        for rows in groups
        if len(rows) > 1
    }


SIDES = ("old", "new")
# Typed rules, and what is compared with what.
FAMILIES = {
    "decimal": "number", "scale": "number", "date": "day", "timestamp": "day",
    "map": "code", "boolean": "boolean",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A rule, the side that it reads (`both`, `old`, `new`), and if it is implied."""

    rule: str
    side: str
    implied: bool = False


@dataclass(frozen=True)
class Chain:
    """The rules of a column in order, and the typed rule with a tolerance."""

    steps: tuple[Step, ...]
    tolerance: str = ""

    def of(self, side: str) -> list[str]:
        """The rules that read a side."""
        return [step.rule for step in self.steps if step.side in {"both", side}]

    @property
    def reads_apart(self) -> bool:
        """Whether texts of equal bytes may be different values."""
        tables = any(is_table(rule) for side in SIDES for rule in self.of(side))
        return tables or self.of("old") != self.of("new")


def is_typed(rule: str) -> bool:
    """Whether a rule reads values of one type."""
    return rule.split("(", maxsplit=1)[0] in FAMILIES


def is_table(rule: str) -> bool:
    """Whether a rule translates codes."""
    return rule.startswith("map(")


def arrange(both: Sequence[str], old: Sequence[str], new: Sequence[str]) -> Chain:
    """Text rules of a side, text rules of both, one typed rule for each side."""
    given = {"old": old, "new": new, "both": both}
    steps = [
        Step(rule, side)
        for side, rules in given.items()
        for rule in rules
        if not is_typed(rule)
    ]
    typed = {side: next(filter(is_typed, rules), None) for side, rules in given.items()}
    read = {side: typed[side] or typed["both"] for side in SIDES}
    one = read["old"] or read["new"]
    if one is None:
        return Chain(tuple(steps))
    if read["old"] == read["new"]:
        steps.append(Step(one, "both"))
    else:
        plain = "decimal" if FAMILIES[one.split("(")[0]] == "number" else None
        steps += [
            Step(rule, side, implied=read[side] is None)
            for side in SIDES
            if (rule := read[side] or plain)
        ]
    tolerance = typed["both"]
    return Chain(tuple(steps), tolerance if tolerance in NEAR else "")


def form(chain: Chain, side: str, text: str) -> str:
    """A text after the rules of a side; what was read begins with NUL."""
    return until(chain, side, len(chain.steps), text)


def read_by(chain: Chain, rule: str, side: str, text: str) -> str:
    """A text after one rule. Where sides are read apart, the unread equals nothing."""
    read = (_code(rule) if is_table(rule) else NORMAL[rule])(text)
    unread = not READS[rule.split("(", maxsplit=1)[0]](rule, text)
    if is_typed(rule) and chain.reads_apart and text and unread:
        return f"\0\0{side}\0{text}"
    return read


def _is_pairable(
    row: dict[str, str], keys: list[str], chains: Mapping[str, Chain], side: str
) -> bool:
    return all(is_listed(chains[key], side, row[key]) for key in keys)


def is_listed(chain: Chain, side: str, text: str) -> bool:
    """Whether the code table of a side, if it has one, lists a code of a key."""
    tables = any(is_table(rule) for rule in chain.of(side))
    return not (tables and form(chain, side, text).startswith("\0\0"))


def alike(chain: Chain, old: str, new: str) -> bool:
    """Whether two texts are equal under the rules of a column."""
    o, n = form(chain, "old", old), form(chain, "new", new)
    if o == n:
        return True
    for several, one in ((o, n), (n, o)):
        if several.startswith("\0|\0") and one in several[3:-1].split("\0"):
            return True
    read = all(each[:1] == "\0" != each[1:2] for each in (o, n))
    if not (chain.tolerance and read):
        return False
    return NEAR[chain.tolerance](value_of(o), value_of(n))


def value_of(form: str) -> Fraction:
    """A number, or the nanoseconds of a day or an instant."""
    if "." in form:
        return Fraction(form[1:])
    day, _, nanosecond = form[1:].partition("T")
    return int(day) * DAY_NANOSECONDS + Fraction(nanosecond or 0)


def kind_read(chain: Chain, old: str, new: str) -> str:
    """The kind of a difference, of the values as the rules have read them.

    If one of the two is not read, it is that of the texts that the typed rules got.
    """
    forms = form(chain, "old", old), form(chain, "new", new)
    rules = [(side, rule) for side in SIDES for rule in chain.of(side)[-1:]]
    for side, rule in rules:
        if is_table(rule) and f"\0\0{side}\0" in forms[SIDES.index(side)]:
            return "unlisted"
    texts = sum(not is_typed(step.rule) for step in chain.steps)
    o, n = (
        until(chain, side, texts, text)
        for side, text in zip(SIDES, (old, new), strict=True)
    )
    for side, rule in rules:
        if is_table(rule) and (o, n)[SIDES.index(side)] in dict(table(rule)):
            return "code"
    if all(each[:1] == "\0" != each[1:2] for each in forms):
        o, n = shown(forms[0]), shown(forms[1])
        if any(FAMILIES.get(rule.split("(")[0]) == "day" for _, rule in rules):
            return "date"
    return "text" if o == n else kind(o, n)


def shown(form: str) -> str:
    """What a form says, as a text."""
    if form.startswith("\0|\0"):
        return form[3:-1].split("\0", maxsplit=1)[0]
    if form.startswith("\0\0"):
        return form[2:].partition("\0")[2]
    if form[:2] in {"\0+", "\0-"} and "." in form:
        whole, _, part = form[3:].partition(".")
        sign = "-" if form[1] == "-" else ""
        return sign + (whole or "0") + ("." + part if part else "")
    return form.removeprefix("\0")


def _number_or_text(text: str) -> str:
    """Sign, a zero, digits, a point, digits: rows are put in order by this text."""
    found = number(text)
    if found is None:
        return text
    whole, _, part = f"{found.copy_abs():f}".partition(".")
    sign = "-" if found < 0 else "+"
    return f"\0{sign}0{whole.lstrip('0')}.{part.rstrip('0')}"


MONTHS = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
]  # fmt: skip
DAY_NANOSECONDS = 86_400 * 10**9


def day_number(year: str, month: str, day: str) -> int | None:
    """Days since 1970 of a day of the years 1000 to 9999."""
    number = 1 + MONTHS.index(month.title()) if month.isalpha() else int(month)
    try:
        found = date(int(year), number, int(day))
    except ValueError:
        return None
    return (found - date(1970, 1, 1)).days if int(year) >= 1000 else None


Y, M, D, B = "([0-9]{4})", "([0-9]{1,2})", "([0-9]{1,2})", "([A-Za-z]{3})"
# How texts of a rule are written, and in which groups the year, month and day are.
DAYS: dict[str, list[tuple[str, tuple[int, int, int]]]] = {
    "%Y%m%d|%Y-%m-%d": [("([0-9]{4})([0-9]{2})([0-9]{2})", (1, 2, 3)),
                        (f"{Y}-{M}-{D}", (1, 2, 3))],
    "iso": [(f"{Y}-{M}-{D}", (1, 2, 3))],
    "us": [(f"{M}/{D}/{Y}", (3, 1, 2))],
    "eu": [(rf"{D}\.{M}\.{Y}", (3, 2, 1)), (f"{D}/{M}/{Y}", (3, 2, 1))],
    "sas": [(f"{D}{B}{Y}", (3, 2, 1))],
    "sas|iso": [(f"{D}{B}{Y}", (3, 2, 1)), (f"{Y}-{M}-{D}", (1, 2, 3))],
    "oracle|iso,pivot=30": [(f"{D}-{B}-([0-9]{{2}})", (3, 2, 1)),
                            (f"{D}-{B}-{Y}", (3, 2, 1)), (f"{Y}-{M}-{D}", (1, 2, 3))],
}  # fmt: skip


def arguments(rule: str) -> str:
    """What is in the parentheses of a rule."""
    return rule.partition("(")[2].removesuffix(")")


def _day(rule: str) -> Callable[[str], str]:
    spelled = arguments(rule).split(",within=")[0]

    def read(text: str) -> str:
        for pattern, places in DAYS[spelled]:
            found = re.fullmatch(pattern, text)
            if not found:
                continue
            year, month, day = (found[place] for place in places)
            if month.isalpha() and month.title() not in MONTHS:
                continue
            if len(year) == 2:
                year = ("20" if int(year) < 30 else "19") + year
            number = day_number(year, month, day)
            if number is not None:
                return f"\0{number}"
        return text

    return read


def _instant(rule: str) -> Callable[[str], str]:
    """Dates with or without a time; local in the zone unless they have an offset."""
    zone = ZoneInfo(re.search("zone=([^,)]*)", rule)[1])  # type: ignore[index]

    def read(text: str) -> str:  # noqa: PLR0911 - a ladder
        found = re.fullmatch(
            "([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
            r"(?:[T ]([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?)?"
            "(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
            text,
        )
        if not found or int(found[1]) < 1000 or (found[8] and "T" not in text):
            return text
        if "." in text and "T" in text and not found[8]:
            return text
        if (found[8] and not found[4]) or ("T" in text and not found[8]):
            return text
        try:
            numbers = [int(found[at] or 0) for at in range(1, 7)]
            local = datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001
        except ValueError:
            return text
        if found[8]:
            sign = -1 if found[8][0] == "-" else 1
            digits = found[8][1:].replace(":", "")
            if int(digits[:2] or 0) > 23 or int(digits[2:] or 0) > 59:
                return text
            offset = sign * (int(digits[:2] or 0) * 3600 + int(digits[2:] or 0) * 60)
            seconds = _seconds(local) - offset
        else:
            offsets = [
                local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)
            ]
            ways = {
                _seconds(local) - int(each.total_seconds())
                for each in offsets
                if each is not None
            }
            there = [each for each in ways if _local(each, zone) == local]
            if len(there) != 1:
                return text
            [seconds] = there
        day, second = divmod(seconds, 86_400)
        nanosecond = second * 10**9 + int((found[7] or "0").ljust(9, "0"))
        return f"\0{day}T{nanosecond:014}"

    return read


_YMD = "(?P<Y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})"
_DMY = "(?P<d>[0-9]{1,2})[.](?P<m>[0-9]{1,2})[.](?P<Y>[0-9]{4})"
_KANJI = "(?P<Y>[0-9]{4})年(?P<m>[0-9]{1,2})月(?P<d>[0-9]{1,2})日"
_AT_TIME = " (?P<H>[0-9]{1,2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})"
_OFFSET = "(?P<z>Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
# How texts of formats of instants are written. Where digits follow one another, each
# number has all its digits.
INSTANTS: dict[str, str] = {
    "%Y%m%d %H%M%S": _YMD + " (?P<H>[0-9]{2})(?P<M>[0-9]{2})(?P<S>[0-9]{2})",
    "%Y%m%d%H%M%S": _YMD + "(?P<H>[0-9]{2})(?P<M>[0-9]{2})(?P<S>[0-9]{2})",
    "%Y%m%d%H%M": _YMD + "(?P<H>[0-9]{2})(?P<M>[0-9]{2})",
    "%Y%m%d%H:%M": _YMD + "(?P<H>[0-9]{2}):(?P<M>[0-9]{2})",
    "%Y%m%dT%H%M%S.%f%z": _YMD
    + f"T(?P<H>[0-9]{{2}})(?P<M>[0-9]{{2}})(?P<S>[0-9]{{2}})[.](?P<f>[0-9]+){_OFFSET}",
    "%d.%m.%Y %H%M": _DMY + " (?P<H>[0-9]{2})(?P<M>[0-9]{2})",
    "%d.%m.%Y %H:%M": _DMY + " (?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})",
    "%d.%m.%Y %I%M %p": _DMY + " (?P<I>[0-9]{2})(?P<M>[0-9]{2}) (?P<p>[AaPp][Mm])",
    "%d.%m.%Y %I:%M%p": _DMY + " (?P<I>[0-9]{1,2}):(?P<M>[0-9]{2})(?P<p>[AaPp][Mm])",
    "%d.%m.%Y %p%I:%M": _DMY + " (?P<p>[AaPp][Mm])(?P<I>[0-9]{1,2}):(?P<M>[0-9]{2})",
    "%Y年%m月%d日 %H:%M:%S%z": _KANJI + _AT_TIME + _OFFSET,
    "%Y年%m月%d日 %H:%M:%S.%f": _KANJI + _AT_TIME + "[.](?P<f>[0-9]+)",
    "%Y年%m月%d日 %H:%M:%S,%f %z": _KANJI + _AT_TIME + f",(?P<f>[0-9]+) {_OFFSET}",
}


def instant_in_utc(pattern: str, text: str) -> str:
    """The normal form of a text that is written as a pattern of INSTANTS says."""
    found = re.fullmatch(pattern, text)
    if found is None:
        return text
    part = {"H": "0", "S": "0", "f": "0", "z": "Z"} | found.groupdict()
    hour = int(part["H"])
    if "I" in part:
        if not 1 <= int(part["I"]) <= 12:
            return text
        hour = int(part["I"]) % 12 + 12 * (part["p"].upper() == "PM")
    days = day_number(part["Y"], part["m"], part["d"])
    minute, second = int(part["M"]), int(part["S"])
    if days is None or hour > 23 or max(minute, second) > 59 or len(part["f"]) > 9:
        return text
    digits = part["z"][1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        return text
    offset = 3_600 * int(digits[:2]) + 60 * int(digits[2:])
    seconds = 3_600 * hour + 60 * minute + second
    seconds += offset if part["z"][0] == "-" else -offset
    more, seconds = divmod(seconds, 86_400)
    return f"\0{days + more}T{seconds * 10**9 + int(part['f'].ljust(9, '0')):014}"


def _seconds(moment: datetime) -> int:
    """Seconds since 1970 of a time without a zone."""
    return round((moment - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001


def _local(seconds: int, zone: ZoneInfo) -> datetime | None:
    """The local time of an instant; None if Python has no such year."""
    try:
        return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def notation(rule: str) -> tuple[set[str], str]:
    """The words of a decimal rule, and its currency sign."""
    parts = arguments(rule).split(",")
    money = next((p.removeprefix("money=") for p in parts if p[:6] == "money="), "")
    return {part for part in parts if part.isalpha()}, money


def written_number(rule: str, text: str) -> Decimal | None:  # noqa: C901 - a ladder
    """The number of a text in the notation of a rule, sign by sign."""
    words, money = notation(rule)
    below, signs = False, 0
    gap = "[ \u00a0\u202f]?"
    if money and text.startswith("(") and text.endswith(")"):
        text, below, signs = text[1:-1], True, 1
    leading = re.match("[+-]", text)
    if leading and not signs:
        text, below, signs = text[1:], leading[0] == "-", 1
    if money:
        before = re.match(re.escape(money) + gap, text)
        after = re.search(gap + re.escape(money) + "$", text)
        if before:
            text = text[before.end() :]
            again = re.match("[+-]", text)
            if again and not signs:
                text, below, signs = text[1:], again[0] == "-", 1
        elif after:
            text = text[: after.start()]
    if "trailing" in words and text[-1:] in {"+", "-"} and not signs:
        text, below = text[:-1], text[-1] == "-"
    power = 0
    if "percent" in words and (found := re.search(gap + "%$", text)):
        text, power = text[: found.start()], -2
    if "exp" in words and (found := re.search("[eE]([+-]?[0-9]+)$", text)):
        if abs(int(found[1])) > 400:
            return None
        text, power = text[: found.start()], power + int(found[1])
    if "comma" in words:
        text = text.translate(str.maketrans(".,", ",."))
    if text[:1] in {"+", "-"} or (value := number(text)) is None:
        return None
    moved = EXACT.scaleb(value, power)
    return moved.copy_negate() if below else moved


def _written_or_text(rule: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        found = written_number(rule, text)
        return text if found is None else _number_or_text(f"{found:f}")

    return read


def _implied_or_text(text: str) -> str:
    if not re.fullmatch("[+-]?[0-9]+", text):
        return text
    return _number_or_text(f"{EXACT.scaleb(Decimal(text), -2):f}")


def table(rule: str) -> list[tuple[str, list[str]]]:
    """The codes of a table, each with those that are right for it."""
    pairs = [each.split("=") for each in arguments(rule).split(",")]
    return [(code, [right]) for code, right in pairs if code != "rest"]


def _code(rule: str) -> Callable[[str], str]:
    codes = {code: right for code, [right] in table(rule)}
    return lambda text: codes.get(text, text)


def _truth(text: str) -> str:
    if text.lower() in {"true", "y", "j", "1"}:
        return "\0true"
    return "\0false" if text.lower() in {"false", "n", "0"} else text


def _unwrapped(text: str) -> str:
    """The text in `="…"` or behind an apostrophe, if it is not wrapped again."""
    if text.startswith('="') and text.endswith('"') and len(text) >= 3:
        inner = text[2:-1]
    elif text.startswith("'"):
        inner = text[1:]
    else:
        return text
    wrapped = inner.startswith(("'", '="'))
    if text.startswith('="') and ('"' in inner or inner.startswith("=")):
        wrapped = True
    return text if wrapped else inner


def _blanks(text: str) -> str:
    return spaced("".join(c for c in text if not hidden(ord(c)))).strip(" ")


DAY_RULE = "date(%Y%m%d|%Y-%m-%d)"
STAMP = (
    "timestamp(%Y-%m-%dT%H:%M:%S%z|%Y-%m-%dT%H:%M:%S.%f%z|%Y-%m-%d %H:%M:%S"
    "|%Y-%m-%d %H:%M:%S.%f|%Y-%m-%d,zone=America/New_York)"
)
STAMP_NEAR = STAMP.replace(")", ",within=1s)")
NORMAL: dict[str, Callable[[str], str]] = {
    "trim": lambda text: text.strip(WHITE),
    "casefold": lambda text: text.upper().lower(),
    "nulls(NULL,NA)": lambda text: "" if text in {"NULL", "NA"} else text,
    "zeropad(3)": lambda text: text.zfill(3) if re.fullmatch("[0-9]+", text) else text,
    "lstrip0": lambda text: (
        text.lstrip("0") or "0" if re.fullmatch("[0-9A-Za-z]+", text) else text
    ),
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "blanks": _blanks,
    "newlines": lambda text: text.replace("\r\n", "\n").replace("\r", "\n"),
    "strip(-. ())": lambda text: "".join(c for c in text if c not in "-. ()"),
    "unwrap": _unwrapped,
    "decimal": _number_or_text,
    "decimal(abs=0.5)": _number_or_text,
    "decimal(rel=0.5)": _number_or_text,
    "scale(2)": _implied_or_text,
    DAY_RULE: _day(DAY_RULE),
    DAY_RULE.replace(")", ",within=1d)"): _day(DAY_RULE),
    "boolean": _truth,
    STAMP: _instant(STAMP),
    STAMP_NEAR: _instant(STAMP),
}
NORMAL |= {
    rule: _written_or_text(rule)
    for rule in (
        "decimal(comma)", "decimal(exp)", "decimal(trailing)", "decimal(percent)",
        "decimal(money=$)", "decimal(money=€,comma,trailing)",
        "decimal(money=$,exp,trailing,percent)",
    )
}  # fmt: skip
NORMAL |= {
    rule: _day(rule)
    for rule in (f"date({each})" for each in DAYS if each != "%Y%m%d|%Y-%m-%d")
}
NORMAL |= {rule: _code(rule) for rule in ("map(a=1,b=2)", "map(1=a,A=,rest=same)")}
READS: dict[str, Callable[[str, str], bool]] = {
    "zeropad": lambda _, text: re.fullmatch("[0-9]+", text) is not None,
    "lstrip0": lambda _, text: re.fullmatch("[0-9A-Za-z]+", text) is not None,
    "map": lambda rule, text: "rest=same" in rule or text in dict(table(rule)),
} | {
    name: lambda _, __: True
    for name in ("trim", "casefold", "nulls", "nfc", "blanks", "newlines", "strip",
                 "unwrap")
} | {
    name: lambda rule, text: NORMAL[rule](text)[:1] == "\0"
    for name in ("decimal", "scale", "date", "timestamp", "boolean")
}  # fmt: skip
NEAR: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "decimal(abs=0.5)": lambda o, n: abs(o - n) <= Fraction(1, 2),
    "decimal(rel=0.5)": lambda o, n: abs(o - n) <= max(abs(o), abs(n)) / 2,
    DAY_RULE.replace(")", ",within=1d)"): lambda o, n: abs(o - n) <= DAY_NANOSECONDS,
    STAMP_NEAR: lambda o, n: abs(o - n) <= 10**9,
}


def pair(
    left: list[dict[str, str]],
    right: list[dict[str, str]],
    columns: list[str],
    keys: list[str],
    chains: Mapping[str, Chain],
) -> tuple[
    list[tuple[dict[str, str], dict[str, str]]],
    list[dict[str, str]],
    list[dict[str, str]],
]:
    """Equal rows first, then the rest one to one in sorted order; then who is left.

    Rules may call keys the same that are spelled in several ways: those that are
    spelled alike go first. Then rows of equal bytes, then rows of equal normal forms.
    The order is that of normal forms, then that of the texts; no tolerance pairs rows.
    Where the sides are read apart, equal bytes count only with equal normal forms.
    """
    apart = [name for name in columns if chains[name].reads_apart]

    def forms(row: dict[str, str], side: str) -> Row:
        return tuple(form(chains[name], side, row[name]) for name in columns)

    def texts(names: list[str]) -> Callable[[dict[str, str], str], Row]:
        return lambda row, side: (
            *(row[name] for name in names),
            *(form(chains[name], side, row[name]) for name in apart),
        )

    def ordered(rows: list[dict[str, str]], side: str) -> list[dict[str, str]]:
        everything = [*columns, *keys]
        return sorted(
            rows,
            key=lambda row: (forms(row, side), [row[name] for name in everything]),
        )

    pairs = []
    left, right = ordered(left, "old"), ordered(right, "new")
    for same in (texts([*columns, *keys]), texts(columns), forms):
        unpaired = []
        for row in left:
            mine = same(row, "old")
            twin = next((r for r in right if same(r, "new") == mine), None)
            if twin is None:
                unpaired.append(row)
            else:
                right = [r for r in right if r is not twin]
                pairs.append((row, twin))
        left = unpaired
    both = min(len(left), len(right))
    pairs += list(zip(left[:both], right[:both], strict=True))
    return pairs, left[both:], right[both:]


def kind(old: str, new: str) -> str:  # noqa: C901, PLR0911, PLR0912 - a ladder
    """The first kind of difference that fits."""
    if new == "":
        return "value_to_blank"
    if old == "":
        return "blank_to_value"
    old, new = old.strip(WHITE), new.strip(WHITE)
    if old == new or spaced(old) == spaced(new):
        return "whitespace"
    if on_one_line(old) == on_one_line(new):
        return "line_break"
    if seen(old) == seen(new):
        return "invisible"
    if old.lower() == new.lower() or old.upper() == new.upper():
        return "case"
    if len({unicodedata.normalize("NFC", seen(text)) for text in (old, new)}) == 1:
        return "unicode_form"
    codes = all(re.fullmatch("[0-9A-Za-z]+", text) for text in (old, new))
    if codes and old.lstrip("0") == new.lstrip("0"):
        return "leading_zeros"
    a, b = number(old), number(new)
    if a is not None and a == b:
        return "number_format"
    days = dates(old), dates(new)
    if days[0] & days[1]:
        return "date_format"
    if damaged(old, new) or damaged(new, old):
        return "encoding_damage"
    if a is not None and b is not None:
        # Not `-b`, which rounds to 28 digits.
        if a == b.copy_negate():
            return "sign_flip"
        if is_scaled(a, b):
            return "scale"
    # 100% cut to 1 is another number, no shorter text.
    ended = re.fullmatch(r"[+-]?[0-9][0-9.,]*(\s*%|[eE][+-]?[0-9]+|-)", old)
    if new and old.startswith(new) and not (ended and b is not None):
        return "truncated"
    if a is not None and b is not None:
        return "number"
    if all(days):
        return "date"
    marked = any(unicodedata.category(c)[0] in "PS" for c in old + new)
    return "punctuation" if marked and bare(old) == bare(new) != "" else "text"


def bare(text: str) -> str:
    """The letters, digits and marks of a text."""
    return "".join(c for c in text if unicodedata.category(c)[0] in "LNM")


def spaced(text: str) -> str:
    """A text in which each run of blanks is one space, and none beside line breaks."""
    lines = re.split("([\r\n]+)", text)
    return "".join(
        line if at % 2 else on_one_line(line) for at, line in enumerate(lines)
    )


def on_one_line(text: str) -> str:
    """A text in which line breaks are blanks as well."""
    return " ".join(
        filter(None, "".join(" " if c in WHITE else c for c in text).split(" "))
    )


def seen(text: str) -> str:
    """What a reader sees of a text, on one line."""
    return on_one_line("".join(c for c in text if not hidden(ord(c))))


def hidden(code: int) -> bool:
    """Whether a character is a control or is ignorable by default (Unicode 16)."""
    return any(first <= code <= last for first, last in HIDDEN)


def damaged(whole: str, other: str) -> bool:
    """Whether one text is what a wrong encoding makes of another."""
    if whole.isascii():
        return False
    # Each byte by itself: programs differ in which controls of cp1252 they read.
    data = whole.encode()
    if len(data) == len(other) and all(
        char in {bytes([byte]).decode("cp1252", "replace"), chr(byte)} - {"\ufffd"}
        for byte, char in zip(data, other, strict=True)
    ):
        return True
    if len(whole) == len(other):
        return "?" in other.replace("\ufffd", "?") and all(
            o == w or (o in "?\ufffd" and not w.isascii() and w != "\ufffd")
            for w, o in zip(whole, other, strict=True)
        )
    marks = [
        "".join("?" if c in "?\ufffd" or not c.isascii() else c for c in text)
        for text in (whole, other)
    ]
    return (
        len(other) > len(whole)
        and "?" in marks[1]
        and all(c == "\ufffd" or c.isascii() for c in other)
        and len({re.sub(r"\?+", "?", text) for text in marks}) == 1
    )


def number(text: str) -> Decimal | None:
    """The number a text writes, with thousands commas at most."""
    if re.fullmatch(r"[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)?(\.[0-9]*)?", text) is None:
        return None
    if re.search("[0-9]", text) is None:
        return None
    return Decimal(text.replace(",", ""))


def is_scaled(a: Decimal, b: Decimal) -> bool:
    """Whether one is the other times a power of ten."""
    if a == 0 or b == 0 or (a < 0) != (b < 0):
        return False
    digits = ["".join(map(str, each.as_tuple().digits)) for each in (a, b)]
    return digits[0].strip("0") == digits[1].strip("0")


FORMATS = {
    "%Y%m%d": r"[12][0-9]{7}",
    "%Y-%m-%d": r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ]00:00:00)?",
    "%Y/%m/%d": r"[12][0-9]{3}/[0-9]{2}/[0-9]{2}",
    "%m/%d/%Y": r"[0-9]{2}/[0-9]{2}/[12][0-9]{3}",
    "%d/%m/%Y": r"[0-9]{2}/[0-9]{2}/[12][0-9]{3}",
    "%d.%m.%Y": r"[0-9]{2}\.[0-9]{2}\.[12][0-9]{3}",
    "%d-%b-%Y": r"[0-9]{2}-[A-Za-z]{3}-[12][0-9]{3}",
}


def dates(text: str) -> set[date]:
    """Every day a text may mean."""
    found = set()
    for form, pattern in FORMATS.items():
        if re.fullmatch(pattern, text):
            head = text[:10] if form == "%Y-%m-%d" else text
            try:
                found.add(datetime.strptime(head, form).date())  # noqa: DTZ007
            except ValueError:
                continue
    return found
