"""Detect text that was damaged by a wrong encoding. Pure.

Two ways are known. UTF-8 is read as Windows or Latin-1 text: `Köln` becomes `KÃ¶ln`.
Letters that an encoding lacks are replaced by `?` or U+FFFD, one for each letter or one
for each of its bytes: `Köln` becomes `K?ln` or `K??ln`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from recon_engine.lazy import lazy_pattern


MARKS: Final = frozenset("?\ufffd")
ASCII: Final = 0x7F
BYTE: Final = 0xFF
# A run of letters outside ASCII, or of marks: how many marks a letter has depends on
# its bytes.
LOST: Final = lazy_pattern("[?\x80-\U0010ffff]+")
# The bytes that are characters in cp1252 and controls in Latin-1. Five of them are
# undefined in cp1252.
CP1252: Final = {
    bytes([code]).decode("cp1252"): code
    for code in range(0x80, 0xA0)
    if code not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}


class Damage(StrEnum):
    """What happened to the letters of a text."""

    MISREAD = "misread"
    LOST = "lost"


def is_damaged(old: str, new: str) -> bool:
    """Whether one of two different texts is the other one, damaged."""
    return find_damage(old, new) is not None


def find_damage(old: str, new: str) -> tuple[str, Damage] | None:
    """The side whose text is that of the other one, damaged, and how."""
    for side, damaged, whole in (("new", new, old), ("old", old, new)):
        if whole.isascii():
            continue
        if _is_misread(damaged, whole):
            return side, Damage.MISREAD
        if _has_lost(damaged, whole):
            return side, Damage.LOST
    return None


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
