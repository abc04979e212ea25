"""Index the records and fields of a block, 64 bytes per machine word.

Each byte class becomes a mask of one bit per byte. The bytes inside quotes are then a
prefix XOR over words, and the delimiters before a newline a sum of popcounts. After
Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (VLDB Journal, 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.inputs.rfc4180 import CR, LF, QUOTE
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recon_engine.config import Limits

    Bits = NDArray[np.uint64]

WORD: Final = 64
TOP: Final = WORD - 1
DOUBLINGS: Final = tuple(1 << at for at in range(6))
# Above this many set bits per word, unpacking bits to bytes is faster than finding them
# one by one.
DENSE_BITS_PER_WORD: Final = 3
# Masks are built in strides through one reused buffer: page faults of a fresh buffer
# cost more than the comparison.
STRIDE_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class RaggedRecords:
    """Records with another number of fields than the header; each is one line.

    `numbers`: their positions among all records; `starts`, `ends`: their byte offsets;
    `lines`: the newlines before each; `fields`: the number of its fields.
    """

    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    fields: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """The index of whole records; all but `ragged` have the right number of fields.

    `ends`: the offset after the newline of each record; `crlf`: how many of these
    newlines are CRLF; `embedded`: how many newlines are inside fields; `delimiters`: a
    bit mask of the delimiters between fields; `quotes`: whether there are quotes.
    """

    ends: NDArray[np.int64]
    crlf: int
    embedded: int
    ragged: RaggedRecords | None
    delimiters: Bits
    quotes: bool = False

    @property
    def size(self) -> int:
        """The number of bytes of all records."""
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def rows(self) -> int:
        """The number of records with the right number of fields."""
        return len(self.ends) - (len(self.ragged.numbers) if self.ragged else 0)


def no_records() -> RecordIndex:
    """The index of nothing."""
    return RecordIndex(np.zeros(0, np.int64), 0, 0, None, np.zeros(0, np.uint64))


def index_records(
    data: bytes, delimiter: int, width: int, limits: Limits, *, ragged: bool = False
) -> RecordIndex | None:
    """Index whole records of `width` fields, including the last newline.

    Returns None if a record has another width (unless `ragged` is set and each such
    record is one line), a quote or carriage return is misplaced, a field exceeds the
    limits, or the bytes do not end with a record.
    """
    array = np.frombuffer(data, np.uint8)
    fields = _FieldMasks(array, delimiter)
    quotes = b'"' in data
    if quotes and not fields.quote():
        return None
    if b"\r" in data and not fields.has_valid_carriage_returns():
        return None
    ends = _find_set_bits(fields.newlines) + 1
    if not len(ends) or ends[-1] != len(data) or not fields.within(limits, ends):
        return None
    counts, unlike = fields.fields_per_record(ends), None
    if (counts != width).any():
        unlike = fields.ragged(np.flatnonzero(counts != width), ends, counts)
        if not ragged or unlike is None:
            return None
    inner = fields.delimiters
    return RecordIndex(ends, fields.crlf, fields.embedded, unlike, inner, quotes)


def ends_with_delimiter(data: bytes, index: RecordIndex, delimiter: int) -> bool:
    """Whether each record of an index ends with a delimiter that is no text."""
    text = np.frombuffer(data, np.uint8)
    ends = index.ends - 2
    ends = ends - (text[ends] == CR)
    # A record of one blank field has no byte before its newline.
    return bool((ends >= 0).all()) and bool((text[ends] == delimiter).all())


def has_marked_record(
    data: bytes, index: RecordIndex, delimiter: int, marks: Sequence[bytes]
) -> bool:
    """Whether the first field of a record is one of `marks`, quoted or not."""
    if not marks:
        return False
    text = np.frombuffer(data, np.uint8)
    starts = np.append(0, index.ends[:-1])
    first = text[starts]
    for start in starts[np.isin(first, [QUOTE, *(mark[0] for mark in marks)])]:
        for mark in marks:
            for field in (mark, b'"%s"' % mark):
                end = start + len(field)
                if data.startswith(field, start) and data[end] in {delimiter, CR, LF}:
                    return True
    return False


def is_utf8_without_nul(data: bytes) -> bool:
    """Whether bytes are UTF-8 without NUL. A character cut at the end is not UTF-8."""
    # As signed bytes, exactly the ASCII characters without NUL are above 0.
    if np.frombuffer(data, np.int8).min(initial=1) > 0:
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def whole_records_size(data: bytes, mark: bytes = b"\n") -> int:
    """The number of bytes up to the last newline outside of quotes, or another mark.

    These are whole records if no quote is misplaced. `data` begins with a record, or
    with a field if the mark is what ends one.
    """
    end = _end_of_last(mark, data, len(data))
    if not end or b'"' not in data:
        return end
    odd = _count_bits(_byte_mask(np.frombuffer(data, np.uint8, end), QUOTE)) % 2
    while end and odd:
        # Only a line with a quote decides: after a lost one there may be none for long.
        quote = data.rfind(b'"', 0, end)
        end = _end_of_last(mark, data, quote)
        odd = (odd + data.count(b'"', end, quote + 1)) % 2
    return end


def _end_of_last(mark: bytes, data: bytes, stop: int) -> int:
    """The offset behind the last mark before `stop`, 0 without one."""
    at = data.rfind(mark, 0, stop)
    return at + len(mark) if at >= 0 else 0


def find_newlines(data: bytes) -> NDArray[np.int64]:
    """The offsets of all line feeds, those in quotes included, ascending."""
    return _find_set_bits(_byte_mask(np.frombuffer(data, np.uint8), LF))


def next_set_bits(bits: Bits, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of the first set bit at or after each offset.

    There has to be one.
    """
    words = offsets >> 6
    within = (offsets & (WORD - 1)).astype(np.uint64)
    left = bits[words] >> within << within
    while len(ahead := np.flatnonzero(left == 0)):
        words[ahead] += 1
        left[ahead] = bits[words[ahead]]
    places: NDArray[np.int64] = words * WORD + _lowest_set_bits(left)
    return places


@dataclass(frozen=True, slots=True)
class NewlineCount:
    """The number of newlines of a kind, and the offset of the first one."""

    count: int
    first: int | None


def count_newlines(data: bytes) -> tuple[NewlineCount, NewlineCount]:
    """The newlines after an even and after an odd number of quotes."""
    array = np.frombuffer(data, np.uint8)
    if b'"' not in data:
        first = data.find(b"\n")
        count = int(np.count_nonzero(array == LF))
        return NewlineCount(count, first if first >= 0 else None), NewlineCount(0, None)
    inside, newlines = (
        _inside_quotes_mask(_byte_mask(array, QUOTE)),
        _byte_mask(array, LF),
    )
    return _summarize_newlines(newlines & ~inside), _summarize_newlines(
        newlines & inside
    )


class _FieldMasks:
    """The bit masks of a block.

    `delimiters` and `newlines` are those between fields.
    """

    def __init__(self, array: NDArray[np.uint8], delimiter: int) -> None:
        self.array = array
        self.delimiters = _byte_mask(array, delimiter)
        self.newlines = _byte_mask(array, LF)
        self.inside: Bits | None = None
        self.inner_newlines: Bits | None = None
        self.embedded = 0
        self.crlf = 0

    def quote(self) -> bool:
        """Remove quoted bytes from the masks.

        Return whether all quotes are in valid places.

        An opening quote must begin a field, a closing quote must end one, or the two
        must form one doubled quote. The block begins and ends at record boundaries.
        """
        quotes = _byte_mask(self.array, QUOTE)
        inside = _inside_quotes_mask(quotes)
        self.inside = inside
        self.inner_newlines = self.newlines & inside
        self.embedded = _count_bits(self.inner_newlines)
        self.newlines = self.newlines & ~inside
        self.delimiters = self.delimiters & ~inside
        opening, closing = quotes & inside, quotes & ~inside
        borders = self.delimiters | self.newlines
        ends = borders | opening | _byte_mask(self.array, CR)
        stray = opening & ~_places_after(borders | closing)
        stray |= closing & ~_places_before(ends)
        return not stray.any()

    def has_valid_carriage_returns(self) -> bool:
        """Whether each unquoted carriage return is followed by a newline."""
        returns = _byte_mask(self.array, CR)
        if self.inside is not None:
            returns &= ~self.inside
        self.crlf = _count_bits(returns)
        return not (returns & ~_places_before(self.newlines)).any()

    def fields_per_record(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of fields of each record."""
        return np.diff(_count_bits_below(self.delimiters, ends), prepend=0) + 1

    def ragged(
        self,
        numbers: NDArray[np.int64],
        ends: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> RaggedRecords | None:
        """The records of these numbers; None if one of them spans lines."""
        inner = np.zeros(0, np.int64)
        if self.inner_newlines is not None:
            inner = _find_set_bits(self.inner_newlines)
        starts, stops = np.append(0, ends)[numbers], ends[numbers]
        before = np.searchsorted(inner, starts)
        if (np.searchsorted(inner, stops) != before).any():
            return None
        return RaggedRecords(numbers, starts, stops, numbers + before, counts[numbers])

    def within(self, limits: Limits, ends: NDArray[np.int64]) -> bool:
        """Whether every field keeps the limits of bytes and lines."""
        if np.diff(ends, prepend=0).max() > limits.field_bytes:
            borders = _find_set_bits(self.delimiters | self.newlines)
            if np.diff(borders, prepend=-1).max() > limits.field_bytes:
                return False
        if self.inner_newlines is None or self.embedded < limits.field_lines:
            return True
        fields = _count_bits_below(
            self.delimiters | self.newlines, _find_set_bits(self.inner_newlines)
        )
        step = limits.field_lines - 1
        return not (fields[step:] == fields[: len(fields) - step]).any()


def _byte_mask(array: NDArray[np.uint8], byte: int) -> Bits:
    """The mask of a byte: one bit per position, lowest bit first, in whole words."""
    words = np.zeros(-(-len(array) // WORD), "<u8")
    packed = words.view(np.uint8)
    flags = np.empty(min(STRIDE_BYTES, len(array)), np.bool_)
    for start in range(0, len(array), STRIDE_BYTES):
        stretch = array[start : start + STRIDE_BYTES]
        found = np.equal(stretch, byte, out=flags[: len(stretch)])
        bits = np.packbits(found, bitorder="little")
        packed[start // 8 : start // 8 + len(bits)] = bits
    return words


def _inside_quotes_mask(quotes: Bits) -> Bits:
    """Set bits from each opening quote up to, not including, its closing quote."""
    # Prefix XOR in log2(64) steps: bit n becomes the parity of the quotes up to n.
    inside = quotes.copy()
    for distance in DOUBLINGS:
        inside ^= inside << distance
    # The top bit is the parity of a word; an odd number before a word inverts it.
    odd = np.bitwise_xor.accumulate(inside >> TOP)
    inside[1:] ^= np.negative(odd[:-1])
    return inside


def _places_after(bits: Bits) -> Bits:
    """The mask moved one position up; the beginning of the data counts as set."""
    moved = bits << np.uint64(1)
    moved[1:] |= bits[:-1] >> TOP
    moved[:1] |= np.uint64(1)
    return moved


def _places_before(bits: Bits) -> Bits:
    """The mask moved one position down."""
    moved = bits >> np.uint64(1)
    moved[:-1] |= bits[1:] << TOP
    return moved


def _count_bits_below(bits: Bits, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of set bits below each offset."""
    totals = np.zeros(len(bits) + 1, np.int64)
    np.cumsum(np.bitwise_count(bits), out=totals[1:])
    at, within = offsets >> 6, (offsets & (WORD - 1)).astype(np.uint64)
    padded = np.append(bits, np.uint64(0))
    below = np.bitwise_count(padded[at] & ((1 << within) - 1))
    ranks: NDArray[np.int64] = totals[at] + below
    return ranks


def _lowest_set_bits(words: Bits) -> NDArray[np.uint8]:
    """The position of the lowest set bit of each word; no word is 0."""
    # word - 1 sets exactly the bits below the lowest set bit: count them.
    places: NDArray[np.uint8] = np.bitwise_count((words - 1) & ~words)
    return places


def _count_bits(bits: Bits) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def _summarize_newlines(bits: Bits) -> NewlineCount:
    words = np.flatnonzero(bits)
    if not len(words):
        return NewlineCount(0, None)
    word = int(bits[words[0]])
    lowest = (word & -word).bit_length() - 1
    return NewlineCount(_count_bits(bits), int(words[0]) * WORD + lowest)


def _find_set_bits(bits: Bits) -> NDArray[np.int64]:
    """The positions of set bits, ascending."""
    if _count_bits(bits) > DENSE_BITS_PER_WORD * len(bits):
        return _find_dense_set_bits(bits)
    words = np.flatnonzero(bits != 0)
    left, found = bits[words], [np.zeros(0, np.int64)]
    while len(words):
        found.append(words * WORD + _lowest_set_bits(left))
        left &= left - 1
        more = np.flatnonzero(left != 0)
        words, left = words[more], left[more]
    places = np.concatenate(found)
    places.sort()
    return places


def _find_dense_set_bits(bits: Bits) -> NDArray[np.int64]:
    """As `_find_set_bits`, through one byte per bit: faster if many bits are set."""
    packed, stride = bits.view(np.uint8), STRIDE_BYTES // 8
    found = [np.zeros(0, np.int64)]
    for at in range(0, len(packed), stride):
        flags = np.unpackbits(packed[at : at + stride], bitorder="little")
        found.append(np.flatnonzero(flags.view(np.bool_)) + 8 * at)
    return np.concatenate(found)
