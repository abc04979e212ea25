"""Tasks that run before the comparison: find record boundaries, hash the files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from recon_engine.spark.findings import Findings
from recon_engine.spark.packets import Packet
from recon_engine.spark.splits import Census, Split, cut_splits, take_census


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.inputs.header import Header
    from recon_engine.spark.byte_sources import ByteSource
    from recon_engine.spark.packets import Cluster, Packets, Work

    Sources = tuple[ByteSource, ByteSource]
    Headers = tuple[Header, Header]

# A file is hashed by one task, in pieces of this size.
WINDOW_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class CensusTask:
    """The task that takes the census of a block of a side."""

    sources: Sources
    blocks: tuple[tuple[int, Split], ...]

    def __call__(self, number: int, _: Packets) -> Packets:
        side, block = self.blocks[number]
        with self.sources[side].opened() as read:
            counted = take_census(read, block.start, block.end)
        yield Packet.for_driver(number, (number, counted))


@dataclass(frozen=True, slots=True)
class HashTask:
    """The task that takes the SHA-256 of a whole file, which cannot be split."""

    sources: Sources
    sizes: tuple[int, int]

    def __call__(self, side: int, _: Packets) -> Packets:
        """Read a file from its beginning to its end."""
        digest = hashlib.sha256()
        with self.sources[side].opened() as read:
            for offset in range(0, self.sizes[side], WINDOW_BYTES):
                digest.update(read(WINDOW_BYTES, offset))
        yield Packet.for_driver(side, (side, digest.hexdigest()))


def blocks_of(headers: Headers, size: int) -> Iterator[tuple[int, Split]]:
    """The blocks of a size of both files, each with the number of its side."""
    for side, header in enumerate(headers):
        # From behind the header, which the driver has parsed: there, the number of open
        # quotes is even.
        for start in range(len(header.raw), header.end, size):
            yield side, Split(start, min(start + size, header.end), 0)


def count_splits(
    cluster: Cluster, headers: Headers, sources: Sources, size: int
) -> tuple[list[Census], list[Census]]:
    """The census of each side, block by block."""
    blocks = tuple(blocks_of(headers, size))
    if not blocks:
        return [], []
    found = dict(_collect_answers(cluster, len(blocks), CensusTask(sources, blocks)))
    old, new = (
        [found[at] for at, block in enumerate(blocks) if block[0] == side]
        for side in (0, 1)
    )
    return old, new


def hash_files(
    cluster: Cluster, headers: Headers, sources: Sources
) -> list[str | None]:
    """The SHA-256 of both files."""
    sizes = headers[0].bytes, headers[1].bytes
    found = dict(_collect_answers(cluster, 2, HashTask(sources, sizes)))
    return [found[0], found[1]]


def splits_of(
    headers: Headers, censuses_by_side: tuple[Sequence[Census], Sequence[Census]]
) -> Iterator[tuple[int, Split]]:
    """The spans of both files, each with the number of its side."""
    for side, (header, censuses) in enumerate(
        zip(headers, censuses_by_side, strict=True)
    ):
        start, line = len(header.raw), 1 + header.lines
        for span in cut_splits(censuses, start, header.end, line):
            yield side, span


def _collect_answers(cluster: Cluster, count: int, work: Work) -> list[Any]:
    """What tasks answer, one each; raises the error of one."""
    answers = [packet.open() for packet in cluster.collect(cluster.begin(count, work))]
    for answer in answers:
        if isinstance(answer, Findings) and answer.error is not None:
            raise answer.error
    return answers
