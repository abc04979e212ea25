"""All texts over a few letters, read by a state machine, for the native kernel.

The machine is the grammar of RFC 4180 as a table. It walks the tree of all texts: what
it knows of a text is made from what it knows of the text without its last letter, for
all texts of one length at once. It shares no code with the product.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from support.kernel import Question
from support.kernel_batch import NAMES

from recon_engine.config import LIMITS
from recon_engine.inputs.rfc4180 import Fault, parse_records


if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from support.kernel_batch import Batch, TextsRead

    Numbers = NDArray[np.int64]

LETTERS: Final = b'a,"\n\r'
A, COMMA, QUOTE, LF, CR = range(len(LETTERS))
# Before the first byte of a record; before that of another field; in a field without
# quotes; within quotes; behind a quote that closes; behind a carriage return outside of
# quotes; behind a fault.
BEGIN, START, PLAIN, QUOTED, CLOSED, RETURN, DEAD = range(7)
# For each of these, what follows a letter of `LETTERS`.
NEXT: Final = np.array(
    [
        [PLAIN, START, QUOTED, BEGIN, RETURN],
        [PLAIN, START, QUOTED, BEGIN, RETURN],
        [PLAIN, START, DEAD, BEGIN, RETURN],
        [QUOTED, QUOTED, CLOSED, QUOTED, QUOTED],
        [DEAD, START, QUOTED, BEGIN, RETURN],
        [DEAD, DEAD, DEAD, BEGIN, DEAD],
        [DEAD, DEAD, DEAD, DEAD, DEAD],
    ]
)
# The content of a text is a number of digits of three bits: a letter, the end of a
# field, the end of a row. Letters count from 1.
FIELD_END, ROW_END = 6, 7
BITS: Final = 3
# What a pad brings to a content is above the digits of 12 letters.
OF_PAD: Final = 1 << 40
NO_FAULT: Final = -1
WORD_BYTES: Final = 64
# Texts that are held at once.
PART: Final = 5**7


@dataclass(frozen=True)
class Context:
    """What is before the texts: where a text begins, and the pad of some size.

    `fields`: how many fields of the record have begun.
    """

    name: str
    phase: int
    fields: int = 1

    def letters_of(self, pad: bytes) -> int:
        """How many letters the last field of a pad has, or the first one of its row."""
        return len(pad.split(b",")[0 if self.phase == BEGIN else -1].strip(b'"\n'))

    def pad(self, size: int, width: int) -> bytes:
        """So many bytes that lead to the context; b"" if they are too few."""
        if not size and self.phase == BEGIN:
            return b""
        if self.phase == BEGIN:
            end = b",p" * (width - 1) + b"\n"
            return b"p" * (size - len(end)) + end if size > len(end) else b""
        before = b"p," * (self.fields - 1) + b'"' * (self.phase == QUOTED)
        return before + b"p" * (size - len(before)) if size > len(before) else b""


CONTEXTS: Final = (
    Context("at the beginning of a record", BEGIN),
    Context("in a field", PLAIN),
    Context("in a field in quotes", QUOTED),
    Context("in the second field", PLAIN, 2),
    Context("in the second field in quotes", QUOTED, 2),
)


@dataclass
class Texts:
    """What the machine knows of texts of one length; each array has one for each text.

    `fault`: the offset of the first fault of the grammar; `opened`: that of the last
    quote that opens a field. `ragged`: whether the records do not fit the width.
    `ends`: the ends of records as bits. `bare`: whether the record has no byte;
    `used`: the number of letters in the field. `blank_key`: whether a field of the key
    is blank in this record; `blank_keys`: in how many rows.
    """

    phase: Numbers
    fields: Numbers
    fault: Numbers
    opened: Numbers
    ragged: Numbers
    bare: Numbers
    used: Numbers
    rows: Numbers
    ends: Numbers
    blanks: Numbers
    crlf: Numbers
    embedded: Numbers
    quotes: Numbers
    blank_key: Numbers
    blank_keys: Numbers
    content: Numbers
    size: int = field(default=0)

    @classmethod
    def behind(cls, context: Context, *, padded: bool) -> Texts:
        """The text of no letter, behind a pad or at the beginning of a file."""
        values: dict[str, Any] = {
            each.name: np.zeros(1, np.int64) for each in fields(cls)[:-1]
        }
        found = cls(**values)
        found.phase[:] = context.phase
        found.fields[:] = context.fields
        found.fault[:] = NO_FAULT
        found.bare[:] = context.phase == BEGIN
        # The pad is a row, or begins one.
        found.rows[:] = padded and context.phase == BEGIN
        found.ends[:] = padded and context.phase == BEGIN
        found.content[:] = ROW_END if padded and context.phase == BEGIN else 0
        found.used[:] = context.phase != BEGIN
        found.quotes[:] = context.phase == QUOTED
        return found

    def take(self, wanted: Numbers) -> Texts:
        """Some of the texts, also several times."""
        names = [each.name for each in fields(self)[:-1]]
        taken = {name: getattr(self, name)[wanted] for name in names}
        return Texts(**taken, size=self.size)

    def grow(self, letters: NDArray[np.uint8], asked: Question) -> Texts:
        """The texts with one letter more: for each text, each of these letters."""
        count = len(self.phase)
        new = self.take(np.repeat(np.arange(count), len(letters)))
        new.add(np.tile(letters.astype(np.int64), count), asked)
        return new

    def add(self, letter: Numbers, asked: Question) -> None:
        """A letter at the end of each text."""
        before = self.phase
        after = NEXT[before, letter]
        self.phase = after
        first = (before == BEGIN) | (before == START)
        dead = (after == DEAD) & (before != DEAD)
        # A carriage return is the fault, and not what is behind it.
        at = self.size - (before == RETURN)
        self.fault = np.where(dead, at, self.fault)
        self.opened = np.where(first & (letter == QUOTE), self.size, self.opened)
        # What is text: letters outside of quotes, all within them but a quote that may
        # close them, and a quote that doubles the one before it.
        text = (after == PLAIN) | (after == QUOTED) & (before == QUOTED)
        text |= (after == QUOTED) & (before == CLOSED)
        digit = np.where(text, letter + 1, 0)
        self.used += text
        self.quotes |= letter == QUOTE
        self.embedded += (before == QUOTED) & (letter == LF)
        field_ends = after == START
        self.note_key(field_ends, asked)
        digit = np.where(field_ends, FIELD_END, digit)
        self.fields += field_ends
        self.used = np.where(field_ends, 0, self.used)
        record_ends = (after == BEGIN) & (before != DEAD)
        self.crlf += record_ends & (before == RETURN)
        # A carriage return at the beginning of a record may end it.
        alone = (before == BEGIN) & (letter == CR)
        self.bare = np.where(record_ends | alone, self.bare, 0)
        self.size += 1
        row = self.end_records(record_ends, asked)
        digit = np.where(row, ROW_END, digit)
        self.content = np.where(digit > 0, self.content << BITS | digit, self.content)

    def note_key(self, ends: NDArray[np.bool_], asked: Question) -> None:
        """That a field ends."""
        key = np.isin(self.fields - 1, asked.keys)
        self.blank_key |= ends & key & (self.used == 0)

    def end_records(
        self, ends: NDArray[np.bool_], asked: Question
    ) -> NDArray[np.bool_]:
        """That records end; which of them are rows."""
        blank = ends & (self.bare > 0) & (asked.width > 1)
        row = ends & ~blank
        self.note_key(row, asked)
        self.ragged |= row & ((self.fields != asked.width) | (self.blanks > 0))
        self.blanks += blank
        self.rows += row
        self.ends = np.where(row, self.ends | 1 << self.size, self.ends)
        self.blank_keys += row & (self.blank_key > 0)
        for each, value in ((self.fields, 1), (self.used, 0), (self.blank_key, 0)):
            each[ends] = value
        self.bare = np.where(ends, 1, self.bare)
        return row

    def finish(self, asked: Question) -> Texts:
        """The same at the end of the file."""
        new = self.take(np.arange(len(self.phase)))
        quoted, returned = self.phase == QUOTED, self.phase == RETURN
        new.fault = np.where(quoted, self.opened, new.fault)
        new.fault = np.where(returned, self.size - 1, new.fault)
        unended = np.isin(self.phase, (START, PLAIN, CLOSED))
        new.end_records(unended, asked)
        new.content = np.where(unended, new.content << BITS | ROW_END, new.content)
        return new


def spelled(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes of letters."""
    return np.ascontiguousarray(np.frombuffer(LETTERS, np.uint8)[letters])


class Pairs:
    """That digests are equal if and only if contents are; checked when asked."""

    def __init__(self) -> None:
        self.new: list[NDArray[np.uint64]] = []
        self.known = np.empty((0, 2), np.uint64)
        self.waiting = 0

    def add(self, contents: Numbers, digests: NDArray[np.uint64]) -> None:
        """Contents, and the digest of each."""
        pair = np.stack([contents.astype(np.uint64), digests], 1)
        self.new.append(np.unique(pair, axis=0))
        self.waiting += len(self.new[-1])
        if self.waiting > 1 << 21:
            self.check()

    def check(self) -> None:
        """Raise AssertionError if two contents share a digest, or have two."""
        self.known = np.unique(np.concatenate([self.known, *self.new]), axis=0)
        self.new, self.waiting = [], 0
        for column in range(2):
            assert len(np.unique(self.known[:, column])) == len(self.known), "digests"


class Compared:
    """Compares what a kernel has read with what the machine knows."""

    def __init__(self) -> None:
        self.digests: dict[object, Pairs] = {}
        self.texts = self.accepted = self.rows = 0

    def check(
        self,
        found: TextsRead,
        final: Texts,
        asked: Question,
        context: Context,
        pad: bytes,
    ) -> None:
        """Raise AssertionError where they disagree."""
        accepted = (final.fault == NO_FAULT) & (final.ragged == 0)
        _check_equal("accepted", found.accepted, accepted)
        kept = np.flatnonzero(accepted)
        taken = final.take(kept)
        wanted = {
            "rows": taken.rows,
            "end": np.full(len(kept), len(pad) + final.size),
            "status": np.zeros(len(kept), np.int64),
            "blanks": taken.blanks,
            "crlf": taken.crlf,
            "embedded": taken.embedded,
            "quotes": taken.quotes,
            "end_of_copy": np.zeros(len(kept), np.int64),
            "blank_keys": taken.blank_keys,
            "sampled": taken.rows,
            "unended": (taken.phase != BEGIN).astype(np.int64),
        }
        assert tuple(wanted) == NAMES
        for at, (name, values) in enumerate(wanted.items()):
            _check_equal(name, found.facts[kept, at], values)
        _check_equal("ends", found.ends[kept], taken.ends)
        self.check_digests(found, taken, asked, context, pad)
        self.texts += len(accepted)
        self.accepted += len(kept)
        self.rows += len(found.words)

    def check_digests(
        self,
        found: TextsRead,
        taken: Texts,
        asked: Question,
        context: Context,
        pad: bytes,
    ) -> None:
        """Note the digests of all rows, with what is in these."""
        rows, keys = split_contents(taken, asked, context.fields - 1)
        assert len(rows) == len(found.words)
        if pad:
            first = np.cumsum(taken.rows) - taken.rows
            first = first[taken.rows > 0]
            rows[first] += OF_PAD * row_of_pad(context, pad, asked.width)
            keys[first] = keys_of_pad(context, pad, asked, keys[first])
        key, row, rest = found.words.T
        self.digests_of("key").add(keys, key)
        self.digests_of("row", asked.order).add(rows, row)
        # 32 bits of two contents are sometimes equal.
        both = row * np.uint64(0x9E3779B97F4A7C15) + rest
        self.digests_of("row and rest", asked.order).add(rows, both)

    def digests_of(self, *kind: object) -> Pairs:
        """The digests of one kind."""
        return self.digests.setdefault(kind, Pairs())

    def finish(self) -> None:
        """Raise AssertionError unless digests are equal if and only if contents are."""
        for pairs in self.digests.values():
            pairs.check()


def split_contents(
    taken: Texts, asked: Question, before: int
) -> tuple[Numbers, Numbers]:
    """What is in each row of some texts, and in its key, one row after the other.

    `before`: how many fields of the first row are in the pad.
    """
    [key_column] = asked.keys
    starts = np.cumsum(taken.rows) - taken.rows
    total = int(taken.rows.sum())
    rows, keys = np.zeros(total, np.int64), np.zeros(total, np.int64)
    row, key, number = (np.zeros(len(starts), np.int64) for _ in range(3))
    column = np.full(len(starts), before)
    for place in reversed(range(taken.size + 2)):
        digit = taken.content >> BITS * place & ROW_END
        letter = (digit > 0) & (digit < FIELD_END)
        ends = digit == ROW_END
        rows[(starts + number)[ends]] = row[ends]
        keys[(starts + number)[ends]] = key[ends]
        row = np.where(ends, 0, np.where(digit > 0, row << BITS | digit, row))
        in_key = letter & (column == key_column)
        key = np.where(ends, 0, np.where(in_key, key << BITS | digit, key))
        column = np.where(ends, 0, column + (digit == FIELD_END))
        number += ends
    return rows, keys


def row_of_pad(context: Context, pad: bytes, width: int) -> int:
    """A number for what a pad brings to its row, the same for the same content."""
    letters = context.letters_of(pad)
    if context.phase == BEGIN and width > 1:
        return 4096 * width + 4 * letters
    return 4 * letters + context.fields


def keys_of_pad(
    context: Context, pad: bytes, asked: Question, keys: Numbers
) -> Numbers:
    """What is in the key of a row that a pad begins, or is."""
    [column] = asked.keys
    padded = 0 if context.phase == BEGIN else context.fields - 1
    letters = context.letters_of(pad)
    if column == padded:
        return keys + OF_PAD * (4 * letters + 1)
    before = column < padded or context.phase == BEGIN
    # Another field of the pad is one letter.
    return keys + OF_PAD * (4 + 1) * before


def _check_equal(
    name: str, found: NDArray[np.generic], wanted: NDArray[np.generic]
) -> None:
    unlike = np.flatnonzero(found.astype(np.int64) != wanted.astype(np.int64))
    assert not len(unlike), (name, int(unlike[0]))


def walk(
    context: Context, asked: Question, most: int, *, padded: bool
) -> Iterator[tuple[NDArray[np.uint8], Texts]]:
    """All texts of at most so many letters, in parts: their letters, and the machine.

    A part has texts of one length.
    """
    every = np.arange(len(LETTERS), dtype=np.uint8)

    def grow(
        letters: NDArray[np.uint8], texts: Texts
    ) -> Iterator[tuple[NDArray[np.uint8], Texts]]:
        yield letters, texts
        if texts.size == most:
            return
        for start in range(0, len(letters), PART // len(LETTERS)):
            part = np.arange(start, min(start + PART // len(LETTERS), len(letters)))
            longer = np.repeat(letters[part], len(LETTERS), axis=0)
            last = np.tile(every, len(part))[:, None]
            grown = texts.take(part).grow(every, asked)
            yield from grow(np.hstack([longer, last]), grown)

    start = Texts.behind(context, padded=padded)
    yield from grow(np.empty((1, 0), np.uint8), start)


@dataclass(frozen=True)
class Tree:
    """All texts of at most `most` letters in one context, and how each is read.

    Those of at most `fully` letters are read at each place of a border of 64 bytes, in
    two blocks at each place, with each kernel; longer ones in one of these ways each.
    """

    context: Context
    asked: Question
    padded: bool
    most: int
    fully: int

    def check(self, batch: Batch, random: bytes, compared: Compared) -> None:
        """Raise AssertionError where a kernel disagrees with the machine."""
        turn = 0
        for letters, texts in walk(
            self.context, self.asked, self.most, padded=self.padded
        ):
            final = texts.finish(self.asked)
            data = spelled(letters)
            for each in self.ways(len(data), texts.size, len(batch.kernels), turn):
                chosen, kernel, border, cuts = each
                # The border is behind so many letters of the text.
                room = (WORD_BYTES if turn % 2 else 2 * WORD_BYTES) - border
                pad = self.context.pad(room, self.asked.width) if self.padded else b""
                found = batch.read_texts(
                    kernel,
                    self.asked,
                    random,
                    pad,
                    np.ascontiguousarray(data[chosen]),
                    cuts,
                )
                try:
                    of = final.take(chosen)
                    compared.check(found, of, self.asked, self.context, pad)
                except AssertionError as error:
                    name, *at = error.args[0]
                    text = data[chosen][at[0]].tobytes() if at else b""
                    raise AssertionError(
                        name, pad, text, self, batch.kernels[kernel].name, cuts[at]
                    ) from None
                turn += 1

    def ways(
        self, count: int, size: int, kernels: int, turn: int
    ) -> Iterator[tuple[Numbers, int, int, NDArray[np.uint8]]]:
        """Which texts are read in one call: kernel, border, ends of first blocks."""
        numbers, places = np.arange(count), size + 1
        borders = places if self.padded else 1
        if size <= self.fully:
            for kernel, border, cut in product(
                range(kernels), range(borders), range(places)
            ):
                yield numbers, kernel, border, np.full(count, cut, np.uint8)
            return
        # Each text in one way; neighbours, which end alike, in others.
        mixed = (numbers + turn) * 2654435761 % (1 << 32) >> 7
        for kernel, border in product(range(kernels), range(borders)):
            chosen = numbers[mixed % (kernels * borders) == kernel * borders + border]
            cuts = mixed[chosen] // (kernels * borders) % places
            yield chosen, kernel, border, cuts.astype(np.uint8)


def trees(most: int, fully: int) -> list[Tree]:
    """All contexts, with tables of one, two and three columns."""
    questions = (
        Question(width=1, keys=(0,)),
        Question(width=2, keys=(0,)),
        Question(width=2, keys=(1,), order=(1, 0)),
        Question(width=3, keys=(1,)),
    )
    return [
        Tree(context, asked, padded, most, fully)
        for asked in questions
        for context in CONTEXTS
        for padded in ((False, True) if context.phase == BEGIN else (True,))
        if context.fields <= asked.width
    ]


def check_grammar(most: int) -> int:
    """Check the reference of the product with the machine; return how many texts.

    Raises AssertionError where they disagree about a text of at most so many letters:
    whether it has a fault, where, and which.
    """
    asked, count = Question(width=1), 0
    for letters, texts in walk(CONTEXTS[0], asked, most, padded=False):
        final = texts.finish(asked)
        for row, at, phase in zip(
            spelled(letters), final.fault, texts.phase, strict=True
        ):
            data = row.tobytes()
            try:
                for _ in parse_records(data, ord(","), LIMITS):
                    pass
                found = None
            except Fault as fault:
                found = fault.offset, fault.reason, fault.line
            wanted = None
            if at != NO_FAULT:
                reason = fault_reason(data, int(at), ended=phase == QUOTED)
                wanted = int(at), reason, 1 + data[:at].count(b"\n")
            assert found == wanted, (data, found, wanted)
        count += len(letters)
    return count


def fault_reason(data: bytes, at: int, *, ended: bool) -> str:
    """What the first fault of a text is called; `ended`: at its end, in quotes."""
    if ended:
        return "a quoted field that never ends"
    if data[at : at + 1] == b"\r":
        return "a carriage return without a line feed"
    if data[at : at + 1] == b'"':
        return "a quote inside an unquoted field"
    return "text after a closing quote"
