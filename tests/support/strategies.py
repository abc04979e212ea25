"""Pairs of tables, and the many ways to write one as CSV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st
from support import oracle


# Of a property whose example is several comparisons, of 50 ms each, and that is not the
# first to say what their answer is. 40 examples in the tests, so that CI ends within 20
# minutes on two cores; 2,000 in `make long`.
FEWER = settings(max_examples=settings().max_examples * 2 // 5)

CELL_TEXTS = (
    "", " ", "a", "A", "a ", "b", "0", "00", "1", "1.0", "1.00", "-1", "+1",
    "10", "1,000", "1000", "00123", "123", "NULL", "NA", "\\N", "20200131",
    "2020-01-31", "31/01/2020", "01/31/2020", "31-Jan-2020", "2020-02-01",
    "9007199254740993", "9007199254740992", "12345678901234567890.10",
    "12345678901234567890.20", 'q"q', '"', '""', ",", "a,b", "line\nbreak",
    "cr\rlf\r\n", "$1,000", "(1.00)", "1E+03", "1.000,00", "1,5", "1-", "50%",
    "true", "Y", "0", "J", "2020-1-31", "31JAN2020", "31-jan-20", '="00123"',
    "'00123", "A-1", "a\u200b", "2020-01-31T05:00:00Z", "2020-01-31 00:00:00",
    "2020-01-31T00:00:00.5-05:00", "2020-03-08 02:30:00",
    "é", "é", "ß", "日本", "🙂", "~", "#", "'", "\ufeff",
)  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(CELL_TEXTS),
    st.text(st.sampled_from('abA01 ,"\n\r\t.é-'), max_size=4),
)
KEY_TEXTS = ("", "1", "01", "2", "a", "A", "a ", 'k"', "k,1", "k\n")
KEYS = st.sampled_from(KEY_TEXTS)
NAMES = [
    "id",
    "part",
    "v",
    "w x",
    'q"n',
    "é",
    "old",
    "new",
    "key",
    "row",
    "rows",
    "*",
    "^x$",
    "^.*$",
]
# Most tables have a column beside the key, and OLD has a row.
SOME_NAMES = st.sampled_from([1, 2, 2, 3, 3, 3, 4, 5]).flatmap(
    lambda count: st.lists(
        st.sampled_from(NAMES), min_size=count, max_size=count, unique=True
    )
)
FEWEST = st.sampled_from([1, 1, 1, 0])
WIDTHS = st.sampled_from([1, 1, 1, 2])
# Of a row of OLD in NEW: a sixth is dropped, and nearly half of the others changed.
FATES = st.integers(0, 17)


@dataclass(frozen=True)
class Pair:
    """Two tables of the same columns; the first `width` of `names` are the key."""

    names: list[str]
    width: int
    old: list[tuple[str, ...]]
    new: list[tuple[str, ...]]

    @property
    def keys(self) -> list[str]:
        return self.names[: self.width]

    @property
    def columns(self) -> list[str]:
        return self.names[self.width :]


PLAIN = st.text(st.sampled_from("ab1 é日🙂\t\ufeff"), max_size=4).filter(
    lambda text: not text.startswith("\ufeff")
)


@st.composite
def plain_pairs(draw: st.DrawFn) -> Pair:
    """Of cells that need no quotes; the key is the first column, and repeats."""
    keys = st.sampled_from(draw(st.lists(PLAIN, min_size=1, max_size=6)))
    rows = st.lists(st.tuples(keys, PLAIN, PLAIN), max_size=12)
    old, new = list[tuple[str, ...]](draw(rows)), list[tuple[str, ...]](draw(rows))
    return Pair(["id", "v", "w"], 1, old, new)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """NEW is OLD with rows kept, changed, dropped, repeated and added."""
    names = draw(SOME_NAMES)
    width = min(draw(WIDTHS), len(names))
    cells = [KEYS] * width + [CELLS] * (len(names) - width)
    row = st.tuples(*cells)
    old = draw(st.lists(row, min_size=draw(FEWEST), max_size=9))
    fates = zip(old, draw(st.tuples(*[FATES] * len(old))), strict=True)
    new = [_change(draw, r, width, change=fate > 10) for r, fate in fates if fate > 2]
    new += draw(st.lists(row, max_size=3))
    again = draw(st.lists(st.sampled_from(old), max_size=3)) if old else []
    return Pair(names, width, old, draw(st.permutations(new + again)))


def drop_repeats(pair: Pair) -> Pair:
    """The first row of each key of either side, and of keys that most rules make so."""

    def key_of(row: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(cell.strip().lower().lstrip("0") for cell in row[: pair.width])

    old, new = (
        list({key_of(row): row for row in reversed(side)}.values())[::-1]
        for side in (pair.old, pair.new)
    )
    return replace(pair, old=old, new=new)


def _change(
    draw: st.DrawFn, row: tuple[str, ...], width: int, *, change: bool
) -> tuple[str, ...]:
    """The row, or the row with another cell, or its key in another spelling."""
    if not change:
        return row
    at = draw(st.integers(0, len(row) - 1))
    is_key = at < width
    spelled_otherwise = find_twins(row[at], KEY_TEXTS if is_key else CELL_TEXTS)
    if spelled_otherwise and (is_key or draw(st.integers(0, 3))):
        cell = draw(st.sampled_from(spelled_otherwise))
    else:
        cell = row[at] if is_key else draw(CELLS)
    return (*row[:at], cell, *row[at + 1 :])


@cache
def find_twins(text: str, among: tuple[str, ...]) -> list[str]:
    """The other texts that some rule makes equal to a text; random ones seldom are."""
    return [each for each in among if each != text and find_rules(text, each)]


@cache
def find_rules(one: str, other: str) -> list[str]:
    """The rules by themselves that make two texts equal."""
    return [
        rule for rule, normal in oracle.NORMAL.items() if normal(one) == normal(other)
    ]


@st.composite
def csv_bytes(
    draw: st.DrawFn, names: list[str], rows: list[tuple[str, ...]]
) -> tuple[bytes, list[str]]:
    """One of the valid spellings of a table, columns in any order."""
    order = draw(st.permutations(range(len(names))))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    # Which fields of a line are quoted, in one draw: a bit for each.
    quoted = st.integers(0, (1 << len(order)) - 1)
    lines = []
    for row in [tuple(names), *rows]:
        bits = draw(quoted)
        fields = [
            spelled(row[at], quote=bool(bits >> place & 1))
            for place, at in enumerate(order)
        ]
        lines.append(",".join(fields))
    text = newline.join(lines)
    # A last line that is empty text needs its newline to be seen at all.
    if draw(st.booleans()) or lines[-1] == "":
        text += newline
        if len(names) > 1:
            text += newline * draw(st.integers(0, 2))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + text).encode(), [names[at] for at in order]


def spelled(cell: str, *, quote: bool) -> str:
    """A cell as a CSV field, quoted where it must be."""
    if quote or any(char in cell for char in '",\r\n') or cell.startswith("\ufeff"):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A valid file."""
    pair = draw(pairs())
    data, _ = draw(csv_bytes(pair.names, pair.old))
    return data


@st.composite
def edited(draw: st.DrawFn, data: bytes) -> bytes:
    """The same with a few bytes overwritten, inserted, deleted or repeated."""
    result = bytearray(data)
    byte = st.one_of(st.sampled_from(b'",\r\n;a\0\xff'), st.integers(0, 255))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(result)))
        match draw(st.integers(0, 3)):
            case 0:
                result[at : at + 1] = bytes([draw(byte)])
            case 1:
                result[at:at] = bytes([draw(byte)])
            case 2:
                del result[at : at + draw(st.integers(1, 3))]
            case _:
                result[at:at] = result[at : at + draw(st.integers(1, 20))]
    return bytes(result)
