"""Small pairs whose right answer is known by hand: which peer counts them right.

All values are text, and rows are paired by key as multisets: `tests/support/oracle.py`
has the definition, and the tests hold these counts to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = "ID"


@dataclass(frozen=True, slots=True)
class Awkward:
    """Two files and what a right answer counts in them."""

    what: str
    old: bytes
    new: bytes
    matched: int
    missing: int = 0
    extra: int = 0
    mismatched_rows: int = 0

    @property
    def expected(self) -> dict[str, int]:
        """The counts, by the names that `peers.py` prints."""
        return {
            "matched": self.matched,
            "missing": self.missing,
            "extra": self.extra,
            "mismatched_rows": self.mismatched_rows,
        }

    def write(self, folder: Path) -> list[str]:
        """Write OLD and NEW; their paths."""
        paths = [folder / "old.csv", folder / "new.csv"]
        for path, data in zip(paths, (self.old, self.new), strict=True):
            path.write_bytes(data)
        return [str(path) for path in paths]


def _differ(what: str, old: str, new: str) -> Awkward:
    """One of two rows differs in one cell."""
    one, other = (f"ID,A\n1,{value}\n2,same\n".encode() for value in (old, new))
    return Awkward(what, one, other, matched=2, mismatched_rows=1)


PAIRS: Final = (
    _differ("leading zeros", "00123", "123"),
    _differ("decimal places", "1.0", "1"),
    _differ("integers over 2^53", "9007199254740993", "9007199254740992"),
    _differ("the word NULL, and a blank", "NULL", ""),
    _differ("the word NA, and a blank", "NA", ""),
    _differ("a blank at the end of a value", "x", "x "),
    _differ("a blank at the start of a value", "x", " x"),
    _differ("case", "true", "TRUE"),
    _differ("exponents", "1000", "1e3"),
    _differ("composed and decomposed letters", "é", "e\u0301"),
    Awkward("a date that is written in two ways", b"ID,A\n1,2026-01-05\n",
            b"ID,A\n1,20260105\n", matched=1, mismatched_rows=1),
    Awkward("quoted and plain", b"ID,A\n1,x\n2,y\n", b'ID,A\n"1","x"\n2,"y"\n',
            matched=2),
    Awkward("a blank and a quoted blank", b"ID,A,B\n1,,x\n", b'ID,A,B\n1,"",x\n',
            matched=1),
    Awkward("a delimiter within quotes", b'ID,A,B\n1,"x,y",z\n', b'ID,A,B\n1,"x,y",w\n',
            matched=1, mismatched_rows=1),
    Awkward("doubled quotes", b'ID,A\n1,"say ""x"""\n', b'ID,A\n1,"say ""y"""\n',
            matched=1, mismatched_rows=1),
    Awkward("a newline within quotes", b'ID,A\n1,"x\ny"\n2,z\n',
            b'ID,A\n2,z\n1,"x\ny"\n', matched=2),
    Awkward("CRLF and LF", b"ID,A\r\n1,x\r\n2,y\r\n", b"ID,A\n1,x\n2,y\n", matched=2),
    Awkward("no newline at the end", b"ID,A\n1,x\n2,y", b"ID,A\n1,x\n2,y\n", matched=2),
    Awkward("a byte order mark in one file", b"\xef\xbb\xbfID,A\n1,x\n", b"ID,A\n1,x\n",
            matched=1),
    Awkward("another order of columns", b"ID,A,B\n1,x,y\n", b"B,A,ID\ny,x,1\n",
            matched=1),
    Awkward("keys that differ in zeros only", b"ID,A\n01,x\n1,y\n",
            b"ID,A\n1,y\n01,x\n", matched=2),
    Awkward("a repeated key, once less", b"ID,A\n1,x\n1,x\n2,y\n", b"ID,A\n1,x\n2,y\n",
            matched=2, missing=1),
    Awkward("repeated keys in another order", b"ID,A\n1,x\n1,y\n", b"ID,A\n1,y\n1,x\n",
            matched=2),
    Awkward("no rows in NEW", b"ID,A\n1,x\n2,y\n", b"ID,A\n", matched=0, missing=2),
    Awkward("a blank key", b"ID,A\n,x\n2,y\n", b"ID,A\n2,y\n,x\n", matched=2),
    Awkward("letters outside of ASCII in keys", "ID,A\né,x\n日,y\n".encode(),
            "ID,A\n日,y\né,z\n".encode(), matched=2, mismatched_rows=1),
)  # fmt: skip
