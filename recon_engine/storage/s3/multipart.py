"""Upload and copy objects in parts: one S3 request takes at most 5 GiB.

The guarantees are those of a single request. Every part of a copy is read under the
ETag (and version) of its source, and the complete object appears only if its key is
free.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as botocore
from s3transfer.utils import ReadFileChunk

from recon_engine.storage.s3.errors import is_condition_unmet


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Send = Callable[[dict[str, Any], "UploadPart"], Mapping[str, Any]]

# Limits of S3: 5 GiB per request, 10,000 parts per upload. Parts of 256 MiB are enough
# for 2.4 TiB; `divide_into_parts` makes those of a larger object larger.
MAX_SINGLE_REQUEST: Final = 5 << 30
MAX_PARTS: Final = 10_000
PART_BYTES: Final = 256 << 20
# Both inputs are archived at once: twice this is `client._CONNECTIONS`.
WORKERS: Final = 8
# CRCs of parts combine to that of the whole object; SHA-1 and SHA-256 do not.
ADDITIVE_CHECKSUMS: Final = ("ChecksumCRC64NVME", "ChecksumCRC32", "ChecksumCRC32C")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadPart:
    """The bytes from `start` up to `stop`, the `number`th part from 1."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An object to be uploaded: its key, size, headers, and checksums of the whole.

    If S3 can compute one of the checksums from the parts, it rejects other bytes.
    """

    client: Any
    at: Mapping[str, str]
    size: int
    headers: Mapping[str, Any]
    whole: Mapping[str, str]

    def copy_parts(self, source: Mapping[str, Any]) -> None:
        """Have S3 copy the parts of another object, each under the same condition."""

        def send(upload: dict[str, Any], part: UploadPart) -> Mapping[str, Any]:
            span = f"bytes={part.start}-{part.stop - 1}"
            reply: Mapping[str, Any] = self.client.upload_part_copy(
                **upload, **source, CopySourceRange=span
            )
            return reply["CopyPartResult"]  # type: ignore[no-any-return]

        self._assemble(send)

    def upload_parts(self, path: Path) -> None:
        """Send the parts of a local file."""

        def send(upload: dict[str, Any], part: UploadPart) -> Mapping[str, Any]:
            size = part.stop - part.start
            with ReadFileChunk.from_filename(str(path), part.start, size) as body:
                reply: Mapping[str, Any] = self.client.upload_part(
                    **upload, Body=body, **self._algorithm
                )
            return reply

        self._assemble(send)

    def _assemble(self, send: Send) -> None:
        """Create, send, complete; a failure leaves neither an object nor its parts."""
        checksum = self._checksum
        kind = {"ChecksumType": "FULL_OBJECT"} if checksum else {}
        created = self.client.create_multipart_upload(
            **self.at, **self.headers, **self._algorithm, **kind
        )
        upload = {**self.at, "UploadId": created["UploadId"]}
        try:
            self.client.complete_multipart_upload(
                **upload,
                MultipartUpload={"Parts": self._send_parts(send, upload)},
                # Checked when the object appears, not when the upload begins: of two
                # uploads to one key, the one that completes first wins.
                IfNoneMatch="*",
                MpuObjectSize=self.size,
                **checksum,
                **kind,
            )
        except BaseException:
            self._abort(upload)
            raise

    def _send_parts(self, send: Send, upload: dict[str, Any]) -> list[dict[str, Any]]:
        def one(part: UploadPart) -> dict[str, Any]:
            reply = send({**upload, "PartNumber": part.number}, part)
            return {"PartNumber": part.number, "ETag": reply["ETag"]}

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="s3-part") as pool:
            return list(pool.map(one, divide_into_parts(self.size)))

    def _abort(self, upload: dict[str, Any]) -> None:
        """Remove the parts. If that fails, log it: the lifecycle rule removes them."""
        try:
            self.client.abort_multipart_upload(**upload)
        except (botocore.ClientError, botocore.BotoCoreError) as error:
            # A 404: the upload no longer exists, and neither do its parts.
            if not (
                isinstance(error, botocore.ClientError) and is_condition_unmet(error)
            ):
                log.warning("upload_not_aborted", extra={"file": upload["Key"]})

    @property
    def _checksum(self) -> dict[str, str]:
        # One suffices: an upload has one algorithm.
        names = [name for name in ADDITIVE_CHECKSUMS if name in self.whole]
        return {name: self.whole[name] for name in names[:1]}

    @property
    def _algorithm(self) -> dict[str, str]:
        names = [name.removeprefix("Checksum") for name in self._checksum]
        return {"ChecksumAlgorithm": names[0]} if names else {}


def fits_at_once(size: int) -> bool:
    """Whether one request can store or copy an object of this size."""
    return size <= MAX_SINGLE_REQUEST


def divide_into_parts(size: int) -> Iterator[UploadPart]:
    """The parts of an object of this size: equal ones, and a smaller last one."""
    step = max(PART_BYTES, -(-size // MAX_PARTS))
    for at, start in enumerate(range(0, size, step)):
        yield UploadPart(at + 1, start, min(start + step, size))
