r"""Escape characters that a page or a terminal does not show. Pure.

Escapes are those of JSON and Python: `Ann\u00a0Lee`, `two\r\nlines`. A backslash is
doubled, so that `\n` of two characters differs from a newline. The mark of a decomposed
letter is escaped, because the letter looks like the composed one: `Ko\u0308ln`.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from recon_engine.lazy import lazy_pattern


# Controls but white space, and every character with the Unicode property
# Default_Ignorable_Code_Point.
INVISIBLE: Final = (
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
UNSEEN: Final = lazy_pattern(INVISIBLE)
# Of U+0020 only. To Python, no other space is printable, so `escapes` has escaped it.
OUTER_BLANKS: Final = lazy_pattern("^ +| +$")
SHORT: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
# The last code point that `\u` and four digits can write.
FOUR_DIGITS: Final = 0xFFFF


def escaped(text: str) -> str:
    """A text in which any two different texts look different."""
    return "".join(escapes(text))


def escapes(text: str) -> list[str]:
    """The characters of a text, each as itself or as its escape."""
    # Most texts are such, and need no test of each character.
    if text.isascii() and text.isprintable() and "\\" not in text:
        return list(text)
    # A composed text can hold marks, too. There is no composed letter for them, so no
    # other text is shown alike.
    apart = not unicodedata.is_normalized("NFC", text)
    return [
        r"\\"
        if c == "\\"
        else _escape(c)
        if not is_seen(c) or (apart and unicodedata.category(c) == "Mn")
        else c
        for c in text
    ]


def dotted(text: str) -> str:
    """A text with the spaces at its ends shown as `·`."""
    return OUTER_BLANKS.sub(lambda blanks: "·" * len(blanks[0]), text)


def readable(sentence: str) -> str:
    r"""A sentence or a flag to paste: as `escaped`, but backslashes are kept.

    A backslash may be a part of a flag, as in `--delimiter '\t'`.
    """
    if sentence.isascii() and sentence.isprintable():
        return sentence
    return "".join(c if is_seen(c) else _escape(c) for c in sentence)


def is_seen(character: str) -> bool:
    """Whether a character is shown as itself."""
    return character.isprintable() and not UNSEEN.match(character)


def may_be_in_a_file(text: str) -> bool:
    """Whether a file may hold a text: no NUL, and no half of a surrogate pair.

    JSON can write both.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _escape(character: str) -> str:
    code = ord(character)
    wide = f"\\U{code:08x}" if code > FOUR_DIGITS else f"\\u{code:04x}"
    return SHORT.get(character, wide)
