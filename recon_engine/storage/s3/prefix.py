"""A prefix of an S3 bucket as a storage.

Four rules hold for every call. A read names the ETag (and version) it requires. A write
says whether it may replace an object. A delete names the ETag and never a version. No
text of botocore or of the server is passed on, only its error code.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from boto3.s3.transfer import TransferConfig
from botocore import exceptions as botocore

from recon_engine.model import SourceFile
from recon_engine.runtime.progress import ignore_advance
from recon_engine.storage.base import (
    archive_conflict,
    check_name,
    input_changed,
    is_data,
    raise_conflict_if_changed,
    require_etag,
    sha256_of,
    write_atomically,
)
from recon_engine.storage.s3.client import shared_s3_client
from recon_engine.storage.s3.download import Download, ReadIntoMemory, reserve_space
from recon_engine.storage.s3.errors import (
    is_condition_unmet,
    translate_s3_errors,
    try_conditional,
)
from recon_engine.storage.s3.multipart import MultipartUpload, fits_at_once


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recon_engine.storage.base import Advance, Storage

    Client = Any  # boto3 makes its classes at run time and ships no types
    Reply = Mapping[str, Any]

_BLOCK_BYTES = 1 << 20
_SOURCE, _WRITER = "recon-source", "recon-writer"
# A copy that replaces metadata loses these headers, so they are sent again.
_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)
_CHECKSUMS = ("CRC64NVME", "CRC32", "CRC32C", "SHA256", "SHA1")
_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".arrow": "application/vnd.apache.arrow.file",
        ".bz2": "application/x-bzip2",
        ".csv": "text/csv; charset=utf-8",
        ".gz": "application/gzip",
        ".html": "text/html; charset=utf-8",
        ".json": "application/json",
        ".jsonl": "application/x-ndjson",
        ".md": "text/markdown; charset=utf-8",
        ".parquet": "application/vnd.apache.parquet",
        ".txt": "text/plain; charset=utf-8",
        ".xz": "application/x-xz",
        ".zip": "application/zip",
        ".zst": "application/zstd",
    }
)


def open_prefix(bucket: str, prefix: str) -> S3Prefix:
    """A prefix as a storage; all storages of one environment share one client."""
    return S3Prefix(bucket, prefix, shared_s3_client())


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """The keys of a bucket that begin with a prefix and have no further "/"."""

    bucket: str
    prefix: str
    client: Client = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """A prefix ends in "/": `inbound` alone would match `inbound2/` as well."""
        if self.prefix and not self.prefix.endswith("/"):
            object.__setattr__(self, "prefix", f"{self.prefix}/")

    @property
    def url(self) -> str:
        """The place itself, ending in "/"."""
        return f"s3://{self.bucket}/{self.prefix}"

    def files(self) -> Iterator[SourceFile]:
        """The data files directly in the place, by name, with their ETags."""
        with translate_s3_errors(self.url):
            # A list, not a generator: an error of a page has to occur inside this
            # block.
            listed = [
                file for page in self._list_pages() for file in self._listed(page)
            ]
        yield from sorted(listed, key=lambda file: file.name)

    def _list_pages(self) -> Iterator[Reply]:
        paginator = self.client.get_paginator("list_objects_v2")
        pages: Iterator[Reply] = iter(
            paginator.paginate(Bucket=self.bucket, Prefix=self.prefix, Delimiter="/")
        )
        return pages

    def _listed(self, page: Reply) -> Iterator[SourceFile]:
        for folder in page.get("CommonPrefixes", ()):
            is_data(self._name(folder["Prefix"]))
        for entry in page.get("Contents", ()):
            if (name := self._name(entry["Key"])) and is_data(name):
                yield SourceFile(self._uri(name), name, entry["Size"], entry["ETag"])

    def identify(self, file: SourceFile) -> SourceFile:
        """The file with its ETag, size and version; the ETag it has must still hold."""
        pin = {} if file.etag is None else {"IfMatch": file.etag}
        with translate_s3_errors(file.name):
            head = self._head(file.name, **pin)
        if head is None:
            raise input_changed(file)
        return _with_identity(file, head)

    def fetch(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Copy the identified bytes by parallel, pinned, resumed range requests."""
        request = {**self._at(file.name), **self._pin(file)}
        with (
            translate_s3_errors(file.name),
            write_atomically(to) as part,
            part.open("xb") as out,
        ):
            reserve_space(out.fileno(), file.size)
            Download(self.client, request, file, out.fileno(), advance).run()

    def borrow(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Copy the identified bytes: an object cannot be read in place."""
        self.fetch(file, to, advance)

    def read_range(self, file: SourceFile, size: int, offset: int) -> bytes:
        """Up to `size` of the identified bytes, from `offset` on."""
        stop = min(offset + size, file.size)
        if stop <= offset:
            return b""
        request = {**self._at(file.name), **self._pin(file)}
        with translate_s3_errors(file.name):
            stretch = ReadIntoMemory(self.client, request, file, -1, ignore_advance)
            stretch.read(offset, stop)
        return bytes(stretch.data)

    def put(self, source: Path, name: str) -> str:
        """Upload a file, whatever its size; S3 checks its CRC-32 on arrival."""
        with translate_s3_errors(name):
            self.client.upload_file(
                str(source),
                self.bucket,
                self._key(name),
                # The CRC of the whole file, given: s3transfer's own CRC of parts could
                # not be compared later, and CRC64NVME would need the CRT packages.
                ExtraArgs={
                    "ContentType": _content_type(name),
                    "ChecksumCRC32": _compute_crc32(source),
                },
                Config=TransferConfig(preferred_transfer_client="classic"),
            )
        return self._uri(name)

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes unless the key is taken.

        A retry whose first reply was lost finds the key taken by its own object. The
        metadata `recon-writer` identifies it.
        """
        writer = uuid4().hex
        with translate_s3_errors(name):
            if self._create(name, lambda: BytesIO(data), {_WRITER: writer}):
                return True
            head = self._head(name)
        return head is not None and head["Metadata"].get(_WRITER) == writer

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Take a verified copy, within S3 if the origin is there as well."""
        with translate_s3_errors(file.name):
            # A copy of a run that died later is not made again.
            there = self._head(name) or self._take(file, origin, name)
            if not self._is_proven_copy(there, file, origin, name):
                raise archive_conflict(file, self.url)
        return self._uri(name)

    def remove(self, file: SourceFile) -> bool:
        """Delete the object if it still has the identified ETag; never a version."""
        with translate_s3_errors(file.name):
            if try_conditional(lambda: self._delete(file)):
                return True
            # Servers answer 404 or 412 for a missing key: only HEAD distinguishes.
            if self._head(file.name) is None:
                return False
        raise archive_conflict(file, self.url)

    def _delete(self, file: SourceFile) -> None:
        # Without a version: in a bucket with versions, the bytes stay below a delete
        # marker.
        self.client.delete_object(**self._at(file.name), IfMatch=require_etag(file))

    def _take(self, file: SourceFile, origin: Storage, name: str) -> Reply:
        """Copy if the key is free; return the head of the object that is there then.

        Another writer may have won the race: the caller checks the bytes either way.
        """
        if isinstance(origin, S3Prefix) and self._is_in_same_s3(origin):
            self._copy(file, origin, name)
        else:
            self._upload(file, origin, name)
        there = self._head(name)
        if there is None:
            raise archive_conflict(file, origin.url)
        return there

    def _copy(self, file: SourceFile, origin: S3Prefix, name: str) -> None:
        source, pin = origin.head(file), origin._pin(file)
        # Another worker may have archived it meanwhile: the caller looks for the copy.
        if source is None:
            return
        condition = {
            "CopySourceIfMatch": pin.pop("IfMatch"),
            "CopySource": {**origin._at(file.name), **pin},
        }
        headers = {
            "Metadata": source["Metadata"] | _source_mark(file),
            **{header: source[header] for header in _HEADERS if header in source},
        }
        if fits_at_once(file.size):
            try_conditional(lambda: self._copy_at_once(name, condition, headers))
            return
        tags = origin._tags(file, source)
        copy = self._make_upload(name, file, headers | tags, _whole_checksums(source))
        try_conditional(lambda: copy.copy_parts(condition))

    def _copy_at_once(
        self, name: str, condition: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> None:
        self.client.copy_object(
            **self._at(name),
            **condition,
            **headers,
            MetadataDirective="REPLACE",
            IfNoneMatch="*",
        )

    def _tags(self, file: SourceFile, source: Reply) -> dict[str, str]:
        """The tags of an object as a header: only CopyObject takes them along."""
        if not source.get("TagCount"):
            return {}
        version = {} if file.version is None else {"VersionId": file.version}
        reply = self.client.get_object_tagging(**self._at(file.name), **version)
        tags = [(tag["Key"], tag["Value"]) for tag in reply["TagSet"]]
        return {"Tagging": urlencode(tags)}

    def _upload(self, file: SourceFile, origin: Storage, name: str) -> None:
        with _local_copy(file, origin) as path:
            if fits_at_once(file.size):
                self._create(name, lambda: path.open("rb"), _source_mark(file))
                return
            headers = {
                "ContentType": _content_type(name),
                "Metadata": _source_mark(file),
            }
            whole = {"ChecksumCRC32": _compute_crc32(path)}
            upload = self._make_upload(name, file, headers, whole)
            try_conditional(lambda: upload.upload_parts(path))

    def _make_upload(
        self,
        name: str,
        file: SourceFile,
        headers: Mapping[str, Any],
        whole: Mapping[str, str],
    ) -> MultipartUpload:
        return MultipartUpload(self.client, self._at(name), file.size, headers, whole)

    def _create(
        self, name: str, opened: Callable[[], IO[bytes]], metadata: dict[str, str]
    ) -> bool:
        # A bucket under Object Lock wants a checksum, whatever the environment says of
        # checksums to botocore.
        with opened() as body:
            checksum = _crc32_in(body)

        def create() -> None:
            with opened() as body:
                self.client.put_object(
                    **self._at(name),
                    Body=body,
                    ChecksumCRC32=checksum,
                    ContentType=_content_type(name),
                    Metadata=metadata,
                    IfNoneMatch="*",
                )

        return try_conditional(create)

    def _is_proven_copy(
        self, there: Reply, file: SourceFile, origin: Storage, name: str
    ) -> bool:
        """Whether an object has the identified bytes, by the cheapest proof first.

        The order is: ETag, a shared checksum, the mark of the conditional copy, and a
        download of both.
        """
        if there["ContentLength"] != file.size:
            return False
        if there["ETag"] == require_etag(file):
            return True
        same = self._same_checksum(there, file, origin)
        if same is not None:
            return same
        # ETags of multipart and KMS objects differ for equal bytes. The mark of the
        # conditional copy proves them, even if the origin no longer exists.
        marked = _source_mark(file).items() <= there["Metadata"].items()
        return marked or self._has_same_bytes(there, file, origin, name)

    def _same_checksum(
        self, there: Reply, file: SourceFile, origin: Storage
    ) -> bool | None:
        if not isinstance(origin, S3Prefix):
            return None
        source = origin.head(file)
        return None if source is None else _same_whole_checksum(there, source)

    def head(self, file: SourceFile) -> Reply | None:
        """The HEAD reply for the identified object; None if it no longer exists."""
        return self._head(file.name, **self._pin(file))

    def _has_same_bytes(
        self, there: Reply, file: SourceFile, origin: Storage, name: str
    ) -> bool:
        copy = _with_identity(SourceFile(self._uri(name), name, 0), there)
        with _local_copy(file, origin) as path:
            expected = sha256_of(path)
        with _local_copy(copy, self) as path:
            return sha256_of(path) == expected

    def _is_in_same_s3(self, origin: S3Prefix) -> bool:
        ours, theirs = self.client.meta, origin.client.meta
        return bool(ours.endpoint_url == theirs.endpoint_url)

    def _head(self, name: str, **pin: str) -> Reply | None:
        """The HEAD reply for an object; None if it is absent or not the pinned one."""
        try:
            head: Reply = self.client.head_object(
                **self._at(name), **pin, ChecksumMode="ENABLED"
            )
        except botocore.ClientError as error:
            if not is_condition_unmet(error):
                raise
            return None
        return head

    def _pin(self, file: SourceFile) -> dict[str, str]:
        version = {} if file.version is None else {"VersionId": file.version}
        return {"IfMatch": require_etag(file), **version}

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(name)}

    def _key(self, name: str) -> str:
        return f"{self.prefix}{check_name(name)}"

    def _name(self, key: str) -> str:
        return key.removeprefix(self.prefix)

    def _uri(self, name: str) -> str:
        return f"s3://{self.bucket}/{self._key(name)}"


@contextmanager
def _local_copy(file: SourceFile, origin: Storage) -> Iterator[Path]:
    """A local copy of the identified bytes, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        path = Path(folder) / "copy"
        with raise_conflict_if_changed(file, origin):
            origin.fetch(file, path, ignore_advance)
        yield path


def _with_identity(file: SourceFile, head: Reply) -> SourceFile:
    version = head.get("VersionId")
    return replace(
        file,
        size=head["ContentLength"],
        etag=head["ETag"],
        # Without versioning the id is `null`, which pins nothing: every write replaces
        # it.
        version=None if version == "null" else version,
    )


def _source_mark(file: SourceFile) -> dict[str, str]:
    """Metadata of a copy: the ETag that its source was required to have."""
    return {_SOURCE: require_etag(file).strip('"')}


def _same_whole_checksum(one: Reply, other: Reply) -> bool | None:
    """Whether the checksums of two objects agree; None if they share no kind."""
    here, there = _whole_checksums(one), _whole_checksums(other)
    both = here.keys() & there.keys()
    return all(here[name] == there[name] for name in both) if both else None


def _whole_checksums(head: Reply) -> dict[str, str]:
    """The checksums of a whole object, by name.

    A checksum of checksums of parts ends in "-" and their number: it is left out, as it
    depends on how the object was divided.
    """
    names = (f"Checksum{kind}" for kind in _CHECKSUMS)
    return {name: head[name] for name in names if "-" not in head.get(name, "-")}


def _content_type(name: str) -> str:
    return _CONTENT_TYPES.get(
        PurePosixPath(name).suffix.lower(), "application/octet-stream"
    )


def _compute_crc32(path: Path) -> str:
    """The CRC-32 of a file as S3 writes it."""
    with path.open("rb") as stream:
        return _crc32_in(stream)


def _crc32_in(stream: IO[bytes]) -> str:
    crc = 0
    while block := stream.read(_BLOCK_BYTES):
        crc = zlib.crc32(block, crc)
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
