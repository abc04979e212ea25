"""Detect text that was damaged by a wrong encoding. Pure.

Two ways are known. UTF-8 is read as Windows or Latin-1 text: `Köln` becomes `KÃ¶ln`.
Letters that an encoding lacks are replaced by `?` or U+FFFD, one for each letter or one
for each of its bytes: `Köln` becomes `K?ln` or `K??ln`.
"""

from __future__ import annotations

from typing import Final

from recon_engine.lazy import lazy_pattern


MARKS: Final = frozenset("?\ufffd")
ASCII: Final = 0x7F
BYTE: Final = 0xFF
LOST: Final = lazy_pattern("[?\x80-\U0010ffff]+")
# The bytes that are characters in cp1252 and controls in Latin-1. Five of them are
# undefined in cp1252.
CP1252: Final = {
    bytes([code]).decode("cp1252"): code
    for code in range(0x80, 0xA0)
    if code not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}


def is_damaged(old: str, new: str) -> bool:
    """Whether one of two different texts is the other one, damaged."""
    return any(
        _is_misread(damaged, whole) or _has_lost(damaged, whole)
        for damaged, whole in ((new, old), (old, new))
        if not whole.isascii()
    )


def _is_misread(damaged: str, whole: str) -> bool:
    """Whether UTF-8 bytes were decoded as cp1252 or Latin-1."""
    data = whole.encode()
    if len(damaged) != len(data):
        return False
    codes = [CP1252.get(c, ord(c)) for c in damaged]
    return max(codes) <= BYTE and bytes(codes) == data


def _has_lost(damaged: str, whole: str) -> bool:
    """Whether letters outside ASCII were replaced by marks."""
    if MARKS.isdisjoint(damaged):
        return False
    if len(damaged) == len(whole):
        return all(
            d == w or (d in MARKS and ord(w) > ASCII and w not in MARKS)
            for d, w in zip(damaged, whole, strict=True)
        )
    # One mark for each byte of a letter: the damaged text has no letter outside ASCII.
    bare = damaged.replace("\ufffd", "?")
    return (
        bare.isascii()
        and len(damaged) > len(whole)
        and LOST.sub("?", bare) == LOST.sub("?", whole)
    )
