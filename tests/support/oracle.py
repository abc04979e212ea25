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
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Row = tuple[str, ...]
Patterns = tuple[int, list[tuple[str, str, str, int, Row]]]

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
    totals: dict[str, tuple[Fraction, ...]] = field(default_factory=dict)


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
) -> Answer:
    """Group both sides by key, pair within each group, compare the pairs."""

    def key_of(row: dict[str, str]) -> Row:
        return tuple(normal(rules.get(key, ()), row[key]) for key in keys)

    groups: dict[Row, tuple[list[dict[str, str]], list[dict[str, str]]]] = defaultdict(
        lambda: ([], [])
    )
    for at, side in enumerate((old, new)):
        for row in side:
            groups[key_of(row)][at].append(row)
    pairs, missing, extra = [], [], []
    for left, right in groups.values():
        found, left_over, right_over = pair(left, right, sorted(columns), keys, rules)
        pairs += found
        missing += left_over
        extra += right_over
    cells: Counter[tuple[Row, str, str, str, str]] = Counter()
    signatures: Counter[tuple[str, ...]] = Counter()
    tolerated: Counter[str] = Counter()
    examples: dict[tuple[str, str, str], Row] = {}
    for ours, theirs in pairs:
        unequal = [name for name in columns if ours[name] != theirs[name]]
        differing = [
            name
            for name in unequal
            if not alike(rules.get(name, ()), ours[name], theirs[name])
        ]
        tolerated.update(set(unequal) - set(differing))
        if differing:
            signatures[tuple(differing)] += 1
        for name in differing:
            key = tuple(ours[part] for part in keys)
            o, n = ours[name], theirs[name]
            cells[(key, name, o, n, kind(o, n))] += 1
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
        rules=rule_counts(pairs, (old, new), keys, columns, rules),
        patterns=patterns(cells, examples),
        totals=totals(pairs, missing, extra, (old, new), columns),
        duplicates_old=repeats([left for left, _ in groups.values()], keys),
        duplicates_new=repeats([right for _, right in groups.values()], keys),
        blank_old=sum("" in key_of(row) for row in old),
        blank_new=sum("" in key_of(row) for row in new),
    )


def rule_counts(
    pairs: list[tuple[dict[str, str], dict[str, str]]],
    every: tuple[list[dict[str, str]], list[dict[str, str]]],
    keys: list[str],
    columns: list[str],
    rules: Mapping[str, Sequence[str]],
) -> dict[tuple[str, int], tuple[int, ...]]:
    """For each rule, by column and place: values read and unread of OLD, of NEW; pairs.

    Of keys all values are counted, of other columns those of pairs that are not the
    same text; a blank is no value. The pairs are those that it makes equal.
    """
    found = {}
    for name in (*keys, *columns):
        unlike = [(o[name], n[name]) for o, n in pairs if o[name] != n[name]]
        sides: list[list[str]] = [list(texts) for texts in zip(*unlike, strict=True)]
        if name in keys:
            sides = [[row[name] for row in side] for side in every]
        chain = rules.get(name, ())
        for at, rule in enumerate(chain):
            counts = []
            for texts in sides or [[], []]:
                values = [text for t in texts if (text := normal(chain[:at], t))]
                read = sum(READS[rule.split("(")[0]](text) for text in values)
                counts += [read, len(values) - read]
            last = at == len(chain) - 1
            made = sum(
                (alike(chain, o, n) if last else same_form(chain[: at + 1], o, n))
                and not same_form(chain[:at], o, n)
                for o, n in unlike
            )
            found[name, at] = (*counts, made)
    return found


def same_form(rules: Sequence[str], old: str, new: str) -> bool:
    """Whether two texts have one normal form."""
    return normal(rules, old) == normal(rules, new)


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


def totals(
    pairs: list[tuple[dict[str, str], dict[str, str]]],
    missing: list[dict[str, str]],
    extra: list[dict[str, str]],
    every: tuple[list[dict[str, str]], list[dict[str, str]]],
    columns: list[str],
) -> dict[str, tuple[Fraction, ...]]:
    """For each column of amounts its sums: old, new, missing, extra.

    `every`: all rows of both sides, which a small file is known by.
    """
    found = {}
    for name in columns:
        unlike = [(o, n) for o, n in pairs if o[name] != n[name]]
        parts = [
            given([o for o, _ in unlike], name),
            given([n for _, n in unlike], name),
            given(missing, name),
            given(extra, name),
        ]
        sides = [given(rows, name) for rows in every]
        if not any(parts) or any(map(are_names, sides)):
            continue
        if all(is_amount(text) for side in sides for text in side):
            found[name] = tuple(
                sum((Fraction(text.replace(",", "")) for text in part), Fraction(0))
                for part in parts
            )
    return found


def given(rows: list[dict[str, str]], name: str) -> list[str]:
    """What is not blank in a column."""
    return [text for row in rows if (text := row[name].strip(WHITE))]


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


def normal(rules: Sequence[str], text: str) -> str:
    """A text after the rules of a column; what was read begins with NUL."""
    for rule in rules:
        text = NORMAL[rule](text)
    return text


def alike(rules: Sequence[str], old: str, new: str) -> bool:
    """Whether two texts are equal under the rules of a column."""
    o, n = normal(rules, old), normal(rules, new)
    if o == n:
        return True
    if not (rules and rules[-1] in NEAR and o[:1] == n[:1] == "\0"):
        return False
    # A number has a point, and a day has none.
    if not all(("." in form) == rules[-1].startswith("decimal") for form in (o, n)):
        return False
    return NEAR[rules[-1]](Fraction(o[1:]), Fraction(n[1:]))


def _number_or_text(text: str) -> str:
    """Sign, a zero, digits, a point, digits: rows are put in order by this text."""
    found = number(text)
    if found is None:
        return text
    whole, _, part = f"{abs(found):f}".partition(".")
    sign = "-" if found < 0 else "+"
    return f"\0{sign}0{whole.lstrip('0')}.{part.rstrip('0')}"


def _day_or_text(text: str) -> str:
    for form, pattern in (
        ("%Y%m%d", "[0-9]{8}"),
        ("%Y-%m-%d", "[0-9]{4}(-[0-9]{2}){2}"),
    ):
        if re.fullmatch(pattern, text):
            try:
                day = datetime.strptime(text, form).date()  # noqa: DTZ007
                return f"\0{(day - date(1970, 1, 1)).days}"
            except ValueError:
                continue
    return text


NORMAL: dict[str, Callable[[str], str]] = {
    "trim": lambda text: text.strip(WHITE),
    "casefold": lambda text: text.upper().lower(),
    "nulls(NULL,NA)": lambda text: "" if text in {"NULL", "NA"} else text,
    "decimal": _number_or_text,
    "decimal(abs=0.5)": _number_or_text,
    "decimal(rel=0.5)": _number_or_text,
    "date(%Y%m%d|%Y-%m-%d)": _day_or_text,
    "date(%Y%m%d|%Y-%m-%d,within=1d)": _day_or_text,
    "zeropad(3)": lambda text: text.zfill(3) if re.fullmatch("[0-9]+", text) else text,
    "lstrip0": lambda text: (
        text.lstrip("0") or "0" if re.fullmatch("[0-9A-Za-z]+", text) else text
    ),
}
READS: dict[str, Callable[[str], bool]] = {
    "trim": lambda _: True,
    "casefold": lambda _: True,
    "nulls": lambda _: True,
    "decimal": lambda text: number(text) is not None,
    "date": lambda text: _day_or_text(text) != text,
    "zeropad": lambda text: re.fullmatch("[0-9]+", text) is not None,
    "lstrip0": lambda text: re.fullmatch("[0-9A-Za-z]+", text) is not None,
}
NEAR: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "decimal(abs=0.5)": lambda o, n: abs(o - n) <= Fraction(1, 2),
    "decimal(rel=0.5)": lambda o, n: abs(o - n) <= max(abs(o), abs(n)) / 2,
    "date(%Y%m%d|%Y-%m-%d,within=1d)": lambda o, n: abs(o - n) <= 1,
}


def pair(
    left: list[dict[str, str]],
    right: list[dict[str, str]],
    columns: list[str],
    keys: list[str],
    rules: Mapping[str, Sequence[str]],
) -> tuple[
    list[tuple[dict[str, str], dict[str, str]]],
    list[dict[str, str]],
    list[dict[str, str]],
]:
    """Equal rows first, then the rest one to one in sorted order; then who is left.

    Rules may call keys the same that are spelled in several ways: those that are
    spelled alike go first. Then rows of equal bytes, then rows of equal normal forms.
    The order is that of normal forms, then that of the texts; no tolerance pairs rows.
    """

    def forms(row: dict[str, str]) -> Row:
        return tuple(normal(rules.get(name, ()), row[name]) for name in columns)

    def texts(names: list[str]) -> Callable[[dict[str, str]], Row]:
        return lambda row: tuple(row[name] for name in names)

    pairs = []
    left, right = (
        sorted(side, key=lambda row: (forms(row), texts([*columns, *keys])(row)))
        for side in (left, right)
    )
    for same in (texts([*columns, *keys]), texts(columns), forms):
        unpaired = []
        for row in left:
            twin = next((r for r in right if same(r) == same(row)), None)
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
        if a == -b:
            return "sign_flip"
        if is_scaled(a, b):
            return "scale"
    # 100% cut to 1 is another number, no shorter text.
    ended = re.fullmatch(r"[+-]?[0-9][0-9.,]*(\s*%|[eE][+-]?[0-9]+|-)", old)
    if new and old.startswith(new) and not (ended and b is not None):
        return "truncated"
    if a is not None and b is not None:
        return "number"
    return "date" if all(days) else "text"


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
    for codec in ("cp1252", "latin-1"):
        # Python knows no cp1252 for five bytes; Windows reads them as controls.
        read = "".join(
            bytes([byte]).decode(codec, "replace").replace("\ufffd", chr(byte))
            for byte in whole.encode()
        )
        if read == other:
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
    return str(int(Decimal(a).scaleb(60))).rstrip("0") == str(
        int(Decimal(b).scaleb(60))
    ).rstrip("0")


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
