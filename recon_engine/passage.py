"""The gate over spans of a file that are read apart, and what they come to together.

The law: the file that `joined` answers, or the error that it raises, is the one of
`gate.read_rows` over the whole file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recon_engine.config import OnBadRow
from recon_engine.csvfile import CsvFile
from recon_engine.errors import InputError
from recon_engine.gate import Gate, blank_refusal, dialect_of
from recon_engine.model import Rejects
from recon_engine.rejects import LISTED


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import polars as pl

    from recon_engine.csvfile import Part
    from recon_engine.gate import Examine, ReadAt
    from recon_engine.header import Header
    from recon_engine.model import Reject
    from recon_engine.spans import Span


@dataclass(frozen=True, slots=True)
class Passage:
    """What there is in a span, as far as it was read: to its end, or to its `fault`.

    `begun`: whether it has a record, of which blank lines are none. `blanks`: the first
    of the blank lines at its end; `blank_lines`: how many these are.
    """

    rows: int
    newlines: Counter[str]
    embedded: int
    quotes: bool
    end_of_copy: bool
    begun: bool
    blanks: tuple[Reject, ...]
    blank_lines: int
    rejects: Rejects
    fault: InputError | None

    def listing(self, room: int) -> Passage:
        """The same, which lists no more rows than there is room for."""
        rejects = self.rejects.sample[:room]
        blanks = self.blanks[: room - len(rejects)]
        rejected = Rejects(self.rejects.count, rejects)
        return replace(self, rejects=rejected, blanks=blanks)


def read_span(
    header: Header,
    span: Span,
    read: ReadAt,
    examine: Examine,
    keep: Callable[[pl.DataFrame, Part], None],
) -> Passage:
    """Pass the records of a span; `keep` is called with what was found in each part."""
    gate = Gate(header, examine, keep_ends=False)
    gate.offset, gate.line = span.start, span.line
    # Its header was counted where the file begins; a hash of a span tells nothing.
    gate.newlines.clear()
    gate.hashes = False
    fault: InputError | None = None
    try:
        for found in gate.read(span.read(read), lambda _: None):
            if found is not None:
                keep(found, gate.parts[-1])
    except InputError as error:
        fault = error
    return Passage(
        rows=gate.rows,
        newlines=gate.newlines,
        embedded=gate.embedded,
        quotes=gate.quotes,
        end_of_copy=gate.end_of_copy,
        begun=gate.begun,
        blanks=tuple(gate.blanks),
        blank_lines=gate.blank_lines,
        rejects=gate.quarantine.rejects,
        fault=fault,
    )


def listed(every: Iterable[Mapping[int, Passage]]) -> dict[int, Passage]:
    """Passages by the numbers of their spans, with no more rows than can be listed."""
    found = {at: each for few in every for at, each in few.items()}
    room = LISTED
    for at in sorted(found):
        found[at] = found[at].listing(room)
        room -= len(found[at].rejects.sample) + len(found[at].blanks)
    return found


def joined(header: Header, passages: Iterable[Passage], sha256: str | None) -> CsvFile:
    """The file that its spans make up; or the first error in it."""
    whole = _Whole(header)
    for each in passages:
        whole.add(each)
    return CsvFile(
        path=header.path,
        uri=header.uri,
        columns=header.columns,
        rows=whole.rows,
        parts=(),
        bytes=header.origin.bytes if header.origin else header.bytes,
        sha256=header.origin.sha256 if header.origin else sha256,
        dialect=dialect_of(
            header,
            whole.newlines,
            quotes=whole.quotes,
            embedded=whole.embedded,
            blank_lines=whole.blank_lines,
        ),
        end_of_copy=whole.end_of_copy,
        state=header.state,
        rejects=Rejects(whole.rejected, tuple(whole.listed)),
    )


class _Whole:
    """What the spans that were added come to; blank lines may yet be inside."""

    def __init__(self, header: Header) -> None:
        first = Gate(header, lambda _: None, keep_ends=False)
        self.header = header
        self.rows = 0
        self.newlines: Counter[str] = Counter(first.newlines)
        self.quotes = first.quotes
        self.embedded = 0
        self.end_of_copy = False
        self.blanks: list[Reject] = []
        self.blank_lines = 0
        self.rejected = 0
        self.listed: list[Reject] = []

    def add(self, passage: Passage) -> None:
        """Add the next span; raises its fault, unless there is one before it."""
        if passage.begun:
            self.settle_blanks()
        if passage.fault is not None:
            raise passage.fault
        self.rows += passage.rows
        self.newlines.update(passage.newlines)
        self.quotes = self.quotes or passage.quotes
        self.embedded += passage.embedded
        self.end_of_copy = self.end_of_copy or passage.end_of_copy
        self.set_aside(passage.rejects.count, passage.rejects.sample)
        self.blank_lines += passage.blank_lines
        self.blanks += passage.blanks[: LISTED - len(self.blanks)]

    def settle_blanks(self) -> None:
        """A record follows the blank lines."""
        if self.blanks and self.header.on_bad_row is not OnBadRow.QUARANTINE:
            raise blank_refusal(self.header, self.blanks[0])
        self.set_aside(self.blank_lines, self.blanks)
        self.blanks, self.blank_lines = [], 0

    def set_aside(self, count: int, rejects: Iterable[Reject]) -> None:
        self.rejected += count
        self.listed += list(rejects)[: LISTED - len(self.listed)]
