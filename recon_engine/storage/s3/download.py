"""Download one object by parallel range requests, pinned to its ETag and resumed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as botocore

from recon_engine.errors import StorageUnavailable
from recon_engine.storage.base import input_changed
from recon_engine.storage.s3.errors import PAUSES, http_status, is_condition_unmet


if TYPE_CHECKING:
    from collections.abc import Mapping

    from recon_engine.model import SourceFile
    from recon_engine.storage.base import Advance


# A broken connection repeats nothing that has arrived, so a range may be large.
RANGE_BYTES: Final = 16 << 20
# Both inputs are fetched at once: twice this is `client._CONNECTIONS`.
WORKERS: Final = 8

# Also how late a range notices that another one failed.
_BLOCK_BYTES = 1 << 20
_RANGE_NOT_SATISFIABLE = 416
_BROKEN_BODY = (
    botocore.ResponseStreamingError,
    botocore.IncompleteReadError,
    botocore.ReadTimeoutError,
)


def reserve_space(descriptor: int, size: int) -> None:
    """Allocate the whole file: a disk that is too small fails before the download."""
    # posix_fallocate refuses a size of 0, and macOS does not have it.
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


@dataclass(slots=True)
class Download:
    """The download of one object to an open file; each range is resumed by itself."""

    client: Any
    request: dict[str, str]
    file: SourceFile
    descriptor: int
    advance: Advance
    stopped: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def run(self) -> None:
        """Read every range; the first error stops the others."""
        if not self.file.size:
            self._check_empty()
            return
        starts = range(0, self.file.size, RANGE_BYTES)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="s3-fetch") as pool:
            ranges = [
                pool.submit(self.read, start, min(start + RANGE_BYTES, self.file.size))
                for start in starts
            ]
            try:
                for done in as_completed(ranges):
                    done.result()
            except BaseException:
                # Ranges that run end at their next block, those that wait never begin:
                # the error is not delayed by gigabytes that nobody needs.
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _check_empty(self) -> None:
        """Request the whole object: an empty one has no range to request."""
        reply = self._get()
        with closing(reply["Body"]):
            if reply["ContentLength"]:
                raise input_changed(self.file)

    def read(self, start: int, stop: int) -> None:
        """Read one range; resume at the byte reached if the connection breaks.

        botocore retries a request, but not a body whose first byte has arrived.
        """
        for pause in PAUSES:
            # An interruptible sleep: another range may have failed for good.
            self.stopped.wait(pause)
            if self.stopped.is_set():
                return
            start = self._read_once(start, stop)
            if start == stop:
                return
        if not self.stopped.is_set():
            raise StorageUnavailable(
                f"S3 closed the connection {len(PAUSES)} times during the download",
                file=self.file.name,
                byte_offset=start,
                help="run again",
            )

    def _read_once(self, start: int, stop: int) -> int:
        """Write what arrives; return the offset after the last byte written."""
        reply = self._get(Range=f"bytes={start}-{stop - 1}")
        with closing(reply["Body"]) as body, suppress(*_BROKEN_BODY):
            self._check_range(reply, start, stop)
            for block in body.iter_chunks(_BLOCK_BYTES):
                self._write(block, start)
                start += len(block)
                if self.stopped.is_set():
                    break
        return start

    def _get(self, **span: str) -> Mapping[str, Any]:
        try:
            reply: Mapping[str, Any] = self.client.get_object(**self.request, **span)
        except botocore.ClientError as error:
            if (
                is_condition_unmet(error)
                or http_status(error) == _RANGE_NOT_SATISFIABLE
            ):
                raise input_changed(self.file) from None
            raise
        return reply

    def _check_range(self, reply: Mapping[str, Any], start: int, stop: int) -> None:
        # The request has the condition already. A proxy or storage that ignores
        # conditions is found out here.
        if reply["ETag"] != self.file.etag:
            raise input_changed(self.file)
        expected = f"bytes {start}-{stop - 1}/{self.file.size}", stop - start
        if (reply.get("ContentRange"), reply["ContentLength"]) != expected:
            raise StorageUnavailable(
                "S3 returned a different range than requested",
                file=self.file.name,
                byte_offset=start,
                help="check the endpoint and any proxy in front of it",
            )

    def _write(self, block: bytes, offset: int) -> None:
        # pwrite takes its offset, so ranges share the descriptor without a lock. It may
        # write less than it is given.
        unwritten = memoryview(block)
        while unwritten:
            written = os.pwrite(self.descriptor, unwritten, offset)
            unwritten, offset = unwritten[written:], offset + written
        # Held for the call only: progress is counted by one thread at a time.
        with self.lock:
            self.advance(len(block))


@dataclass(slots=True)
class ReadIntoMemory(Download):
    """Some bytes of an object, in memory."""

    data: bytearray = field(default_factory=bytearray)

    def _write(self, block: bytes, offset: int) -> None:  # noqa: ARG002 - they come in order
        self.data += block
