"""Many readings of the native kernel in one call, by `native_batch.c`."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from support.kernel import Kernel, Question, Read, compiled

from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import Facts, SideSettings


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SOURCE: Final = Path(__file__).with_name("native_batch.c")
FUNCTIONS: Final = (
    *("side_new", "side_free", "feed", "side_facts", "side_ends", "side_sample"),
    "digests",
)
NAMES: Final = tuple(field[0] for field in Facts._fields_)
SAMPLED: Final = NAMES.index("sampled")


class Calls(ctypes.Structure):
    """The functions of a kernel, as the batch calls them."""

    _fields_ = (*((name, c_void_p) for name in FUNCTIONS), ("slack", c_uint64))


@dataclass(frozen=True)
class TextsRead:
    """What was read of some texts.

    `accepted`: for each 1, or 0 if it is refused; `facts`: a row for each; `ends`: the
    ends of rows of each as bits; `words`: three for each row of those that are
    accepted.
    """

    accepted: NDArray[np.uint8]
    facts: NDArray[np.uint64]
    ends: NDArray[np.uint32]
    words: NDArray[np.uint64]


class Batch:
    """The compiled batch, for some kernels."""

    @classmethod
    def build(cls, folder: Path, kernels: Sequence[Kernel]) -> Batch | None:
        """Compile it; None without a compiler."""
        path = compiled(folder, source=SOURCE)
        return cls(path, kernels) if path else None

    def __init__(self, path: Path, kernels: Sequence[Kernel]) -> None:
        """`path`: the compiled batch."""
        self.kernels = list(kernels)
        self.calls = [_calls_of(kernel.library) for kernel in kernels]
        library = ctypes.CDLL(str(path))
        self.texts = library.read_texts
        self.texts.restype = c_int64
        self.ways = library.read_in_ways
        self.ways.restype = c_int64
        self.out, self.other = (np.empty(1 << 16, np.uint64) for _ in range(2))

    def read_texts(
        self,
        which: int,
        asked: Question,
        random: bytes,
        pad: bytes,
        texts: NDArray[np.uint8],
        cuts: NDArray[np.uint8],
    ) -> TextsRead:
        """Read texts of one size behind a pad with one of the kernels.

        `texts`: a row for each; `cuts`: after which of its bytes the first block ends.
        """
        count, size = texts.shape
        assert size < 32, "the ends of rows are bits of 32"
        assert texts.flags.c_contiguous
        accepted, ends = np.empty(count, np.uint8), np.empty(count, np.uint32)
        facts = np.empty((count, len(NAMES)), np.uint64)
        # Each byte may end a row, and so may the end of the text; the pad has one.
        words = np.empty((count * (size + 2), 3), np.uint64)
        held = _settings_of(asked, random, self.kernels[which].isa)
        rows = self.texts(
            byref(self.calls[which]),
            byref(held[0]),
            pad,
            c_uint64(len(pad)),
            c_void_p(texts.ctypes.data),
            c_uint64(size),
            c_uint64(count),
            c_void_p(cuts.ctypes.data),
            *(c_void_p(each.ctypes.data) for each in (accepted, facts, ends, words)),
        )
        assert rows >= 0, "memory is out"
        return TextsRead(accepted, facts, ends, words[:rows])

    def read_in_ways(
        self,
        data: bytes,
        asked: Question,
        random: bytes,
        ways: Sequence[tuple[int, Sequence[int]]],
    ) -> tuple[Read, list[tuple[int, int, int]]] | None:
        """What is read of a text, and its digests; None if it is refused.

        `ways`: the number of a kernel, and where blocks end. Raises AssertionError if
        two of them find something else.
        """
        room = 1 + len(NAMES) + 5 * (len(data) + 1)
        if room > len(self.out):
            self.out, self.other = (np.empty(room, np.uint64) for _ in range(2))
        held = {
            which: _settings_of(asked, random, self.kernels[which].isa)
            for which in {which for which, _ in ways}
        }
        flat = [border for _, borders in ways for border in borders]
        places = (c_uint64 * max(1, len(flat)))(*flat)
        words, at = list[int](), ctypes.addressof(places)
        for which, borders in ways:
            calls, settings = self.calls[which], held[which][0]
            words += ctypes.addressof(calls), ctypes.addressof(settings), at
            words.append(len(borders))
            at += 8 * len(borders)
        array = (c_uint64 * len(words))(*words)
        used = c_int64()
        agreeing = self.ways(
            array,
            c_uint64(len(ways)),
            data,
            c_uint64(len(data)),
            c_void_p(self.out.ctypes.data),
            c_void_p(self.other.ctypes.data),
            byref(used),
        )
        assert agreeing >= 0, "memory is out"
        assert agreeing == len(ways), (ways[0], ways[agreeing])
        return _as_read(self.out[: used.value // 8].tolist())


def _as_read(words: list[int]) -> tuple[Read, list[tuple[int, int, int]]] | None:
    """The words of `read_one`; None of a text that is refused."""
    accepted, *found = words
    if not accepted:
        return None
    assert accepted == 1, "a text ended within a record"
    facts = dict(zip(NAMES, found, strict=False))
    rows, at = facts["rows"], len(NAMES)
    ends, digests = found[at : at + rows], found[at + rows : at + 4 * rows]
    sample = found[at + 4 * rows :]
    triples = list(zip(*(digests[word::3] for word in range(3)), strict=True))
    return Read(ends, facts, sample), triples


def _calls_of(library: ctypes.CDLL) -> Calls:
    places = [ctypes.cast(getattr(library, name), c_void_p).value for name in FUNCTIONS]
    return Calls(*places, library.slack())


def _settings_of(
    asked: Question, random: bytes, isa: int
) -> tuple[SideSettings, list[object]]:
    """The settings of a side, and what has to live as long."""
    text = ctypes.create_string_buffer(random, len(random))
    keys, order = map(binding.make_numbers, (asked.keys, asked.order))
    settings = SideSettings(
        delimiter=asked.delimiter,
        separator=asked.separator,
        width=asked.width,
        key_count=len(asked.keys),
        order_count=len(asked.order),
        field_lines=asked.limits.field_lines,
        bits=asked.bits,
        isa=isa,
        field_bytes=asked.limits.field_bytes,
        sample_every=asked.every,
        keys=keys,
        order=order,
        random=ctypes.addressof(text),
        mark_sizes=binding.make_numbers(()),
        marks=b"",
    )
    return settings, [text, keys, order]
