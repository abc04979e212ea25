"""The semantics in plain dicts, lists and Decimals: slow, short, and independent.

No polars, numpy or engine code: what it shares with the engine is the specification.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


Row = tuple[str, ...]

WHITE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


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
) -> Answer:
    """Group both sides by key, pair within each group, compare the pairs."""
    groups: dict[Row, tuple[list[dict[str, str]], list[dict[str, str]]]] = defaultdict(
        lambda: ([], [])
    )
    for at, side in enumerate((old, new)):
        for row in side:
            groups[tuple(row[key] for key in keys)][at].append(row)
    pairs, missing, extra = [], [], []
    for left, right in groups.values():
        found, left_over, right_over = pair(left, right, sorted(columns))
        pairs += found
        missing += left_over
        extra += right_over
    cells: Counter[tuple[Row, str, str, str, str]] = Counter()
    signatures: Counter[tuple[str, ...]] = Counter()
    for ours, theirs in pairs:
        differing = [name for name in columns if ours[name] != theirs[name]]
        if differing:
            signatures[tuple(differing)] += 1
        for name in differing:
            key = tuple(ours[part] for part in keys)
            o, n = ours[name], theirs[name]
            cells[(key, name, o, n, kind(o, n))] += 1
    everything = [*keys, *columns]
    return Answer(
        matched=len(pairs),
        missing=Counter(tuple(row[name] for name in everything) for row in missing),
        extra=Counter(tuple(row[name] for name in everything) for row in extra),
        identical=len(pairs) - signatures.total(),
        cells=cells,
        signatures=signatures,
        duplicates_old={k: len(v[0]) for k, v in groups.items() if len(v[0]) > 1},
        duplicates_new={k: len(v[1]) for k, v in groups.items() if len(v[1]) > 1},
        blank_old=sum(any(row[key] == "" for key in keys) for row in old),
        blank_new=sum(any(row[key] == "" for key in keys) for row in new),
    )


def pair(
    left: list[dict[str, str]], right: list[dict[str, str]], columns: list[str]
) -> tuple[
    list[tuple[dict[str, str], dict[str, str]]],
    list[dict[str, str]],
    list[dict[str, str]],
]:
    """Equal rows first, then the rest one to one in sorted order; then who is left."""
    content = {id(row): tuple(row[name] for name in columns) for row in left + right}
    left = sorted(left, key=lambda row: content[id(row)])
    right = sorted(right, key=lambda row: content[id(row)])
    pairs, unpaired = [], []
    for row in left:
        twin = next((r for r in right if content[id(r)] == content[id(row)]), None)
        if twin is None:
            unpaired.append(row)
        else:
            right = [r for r in right if r is not twin]
            pairs.append((row, twin))
    both = min(len(unpaired), len(right))
    pairs += list(zip(unpaired[:both], right[:both], strict=True))
    return pairs, unpaired[both:], right[both:]


def kind(old: str, new: str) -> str:  # noqa: C901, PLR0911 - a ladder
    """The first kind of difference that fits."""
    if new == "":
        return "value_to_blank"
    if old == "":
        return "blank_to_value"
    old, new = old.strip(WHITE), new.strip(WHITE)
    if old == new:
        return "whitespace"
    if old.lower() == new.lower() or old.upper() == new.upper():
        return "case"
    codes = all(re.fullmatch("[0-9A-Za-z]+", text) for text in (old, new))
    if codes and old.lstrip("0") == new.lstrip("0"):
        return "leading_zeros"
    a, b = number(old), number(new)
    if a is not None and a == b:
        return "number_format"
    days = dates(old), dates(new)
    if days[0] & days[1]:
        return "date_format"
    if a is not None and b is not None:
        if a == -b:
            return "sign_flip"
        if is_scaled(a, b):
            return "scale"
    if new and old.startswith(new):
        return "truncated"
    if a is not None and b is not None:
        return "number"
    return "date" if all(days) else "text"


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
