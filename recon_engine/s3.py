"""A bucket and a prefix as a storage: the only module that knows boto3.

Four rules hold everywhere here: every read names the ETag (and version) it wants,
every write says whether it may replace, a delete names the ETag and never a version,
and no text of botocore or of the server passes the border, only its error code.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Event, Lock
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as botocore
from botocore.config import Config

from recon_engine.errors import (
    ConfigError,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)
from recon_engine.model import SourceFile
from recon_engine.progress import ignore
from recon_engine.storage import (
    appearing,
    archiving,
    changed,
    checked,
    conflict,
    disk_errors,
    is_data,
    pinned,
    sha256_of,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recon_engine.storage import Advance, Storage

    Client = Any  # boto3 makes its classes at run time and ships no types
    Reply = Mapping[str, Any]

OWNER = "RECON_EXPECTED_BUCKET_OWNER"

_RANGE = 16 << 20
_BLOCK = 1 << 20
_WORKERS = 8
_PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 10.0)
_SOURCE, _WRITER = "recon-source", "recon-writer"
_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
)
_CHECKSUMS = ("CRC64NVME", "CRC32", "CRC32C", "SHA256", "SHA1")
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".csv": "text/csv; charset=utf-8",
        ".gz": "application/gzip",
        ".html": "text/html; charset=utf-8",
        ".json": "application/json",
        ".jsonl": "application/x-ndjson",
        ".md": "text/markdown; charset=utf-8",
        ".parquet": "application/vnd.apache.parquet",
        ".txt": "text/plain; charset=utf-8",
        ".zst": "application/zstd",
    }
)


def open_prefix(bucket: str, prefix: str) -> S3Prefix:
    """A place in S3. All places of one environment share one client and its sign-in."""
    settings = (item for item in os.environ.items() if item[0].startswith(_SETTINGS))
    return S3Prefix(bucket, prefix, _shared(frozenset(settings)))


_SETTINGS = ("AWS_", OWNER)


@lru_cache(maxsize=1)
def _shared(_settings: frozenset[tuple[str, str]]) -> Client:
    return connect()


def connect(endpoint: str | None = None) -> Client:
    """A client that retries, and that names the expected owner on every call."""
    with _classified("S3"):
        client = boto3.session.Session().client(
            "s3", endpoint_url=endpoint, config=_config()
        )
    if owner := os.environ.get(OWNER):
        client.meta.events.register("provide-client-params.s3", _naming(owner))
    return client


def _config() -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": 6},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=2 * _WORKERS,
        tcp_keepalive=True,
    )


def _naming(owner: str) -> Callable[..., None]:
    """What adds the owner to the parameters of a call, where it knows them."""
    if not re.fullmatch("[0-9]{12}", owner):
        raise ConfigError(f"{OWNER} is not an AWS account", help="give its 12 digits")

    def name(params: dict[str, Any], model: Any, **_: object) -> None:
        known = model.input_shape.members if model.input_shape else ()
        wanted = {"ExpectedBucketOwner", "ExpectedSourceBucketOwner"}
        params |= dict.fromkeys(wanted.intersection(known), owner)

    return name


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """A place in S3: the keys that begin with a prefix and hold no further "/"."""

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
        with _classified(self.url):
            listed = [file for page in self._pages() for file in self._listed(page)]
        yield from sorted(listed, key=lambda file: file.name)

    def _pages(self) -> Iterator[Reply]:
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
        with _classified(file.name):
            head = self._head(file.name, **pin)
        if head is None:
            raise changed(file)
        return _identified(file, head)

    def fetch(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Copy the identified bytes by parallel, pinned, resumed range requests."""
        request = {**self._at(file.name), **self._pin(file)}
        with _classified(file.name), appearing(to) as part, part.open("xb") as out:
            _reserve(out.fileno(), file.size)
            _Download(self.client, request, file, out.fileno(), advance).run()

    def put(self, source: Path, name: str) -> str:
        """Upload a file, whatever its size; S3 checks its CRC-32 on arrival."""
        with _classified(name):
            self.client.upload_file(
                str(source),
                self.bucket,
                self._key(name),
                # The CRC of the whole file, given: s3transfer's own CRC of parts could
                # not be compared later, and CRC64NVME would need the CRT packages.
                ExtraArgs={"ContentType": _type(name), "ChecksumCRC32": _crc32(source)},
                Config=TransferConfig(preferred_transfer_client="classic"),
            )
        return self._uri(name)

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes unless the key is taken.

        A retry whose first reply was lost meets its own object; its mark tells.
        """
        writer = uuid4().hex
        with _classified(name):
            if self._create(name, lambda: BytesIO(data), {_WRITER: writer}):
                return True
            head = self._head(name)
        return head is not None and head["Metadata"].get(_WRITER) == writer

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Take a verified copy, within S3 if the origin is there as well."""
        with _classified(file.name):
            there = self._head(name) or self._take(file, origin, name)
            if not self._proves(there, file, origin, name):
                raise conflict(file, self.url)
        return self._uri(name)

    def remove(self, file: SourceFile) -> bool:
        """Delete the object if it still has the identified ETag; never a version."""
        with _classified(file.name):
            if _met(lambda: self._delete(file)):
                return True
            # Servers answer 404 or 412 for a missing key: only a look tells.
            if self._head(file.name) is None:
                return False
        raise conflict(file, self.url)

    def _delete(self, file: SourceFile) -> None:
        self.client.delete_object(**self._at(file.name), IfMatch=pinned(file))

    def _take(self, file: SourceFile, origin: Storage, name: str) -> Reply:
        """Copy if the name is free; answer what is there then, whoever put it there."""
        if isinstance(origin, S3Prefix) and self._is_beside(origin):
            self._copy(file, origin, name)
        else:
            self._upload(file, origin, name)
        there = self._head(name)
        if there is None:
            raise conflict(file, origin.url)
        return there

    def _copy(self, file: SourceFile, origin: S3Prefix, name: str) -> None:
        source, pin = origin.head(file), origin._pin(file)
        if source is None:
            raise conflict(file, origin.url)
        condition = {"CopySourceIfMatch": pin.pop("IfMatch"), "IfNoneMatch": "*"}
        _met(
            lambda: self.client.copy_object(
                **self._at(name),
                **condition,
                CopySource={**origin._at(file.name), **pin},
                MetadataDirective="REPLACE",
                Metadata=source["Metadata"] | _mark(file),
                **{header: source[header] for header in _HEADERS if header in source},
            )
        )

    def _upload(self, file: SourceFile, origin: Storage, name: str) -> None:
        with _fetched(file, origin) as path:
            self._create(name, lambda: path.open("rb"), _mark(file))

    def _create(
        self, name: str, opened: Callable[[], IO[bytes]], metadata: dict[str, str]
    ) -> bool:
        def create() -> None:
            with opened() as body:
                self.client.put_object(
                    **self._at(name),
                    Body=body,
                    ContentType=_type(name),
                    Metadata=metadata,
                    IfNoneMatch="*",
                )

        return _met(create)

    def _proves(
        self, there: Reply, file: SourceFile, origin: Storage, name: str
    ) -> bool:
        """Whether an object has the identified bytes: by the cheapest real proof."""
        if there["ContentLength"] != file.size:
            return False
        if there["ETag"] == pinned(file):
            return True
        same = self._same_checksum(there, file, origin)
        if same is not None:
            return same
        # ETags of parts and under KMS differ for equal bytes: then the mark of the
        # conditional copy speaks, also when the origin is gone.
        marked = _mark(file).items() <= there["Metadata"].items()
        return marked or self._reads_alike(there, file, origin, name)

    def _same_checksum(
        self, there: Reply, file: SourceFile, origin: Storage
    ) -> bool | None:
        if not isinstance(origin, S3Prefix):
            return None
        source = origin.head(file)
        return None if source is None else _agree(there, source)

    def head(self, file: SourceFile) -> Reply | None:
        """What S3 says of the identified object; None when it is there no more."""
        return self._head(file.name, **self._pin(file))

    def _reads_alike(
        self, there: Reply, file: SourceFile, origin: Storage, name: str
    ) -> bool:
        copy = _identified(SourceFile(self._uri(name), name, 0), there)
        with _fetched(file, origin) as path:
            expected = sha256_of(path)
        with _fetched(copy, self) as path:
            return sha256_of(path) == expected

    def _is_beside(self, origin: S3Prefix) -> bool:
        ours, theirs = self.client.meta, origin.client.meta
        return bool(ours.endpoint_url == theirs.endpoint_url)

    def _head(self, name: str, **pin: str) -> Reply | None:
        """What S3 says of an object; None when it is absent or not the pinned one."""
        try:
            head: Reply = self.client.head_object(
                **self._at(name), **pin, ChecksumMode="ENABLED"
            )
        except botocore.ClientError as error:
            if not _is_unmet(error):
                raise
            return None
        return head

    def _pin(self, file: SourceFile) -> dict[str, str]:
        version = {} if file.version is None else {"VersionId": file.version}
        return {"IfMatch": pinned(file), **version}

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(name)}

    def _key(self, name: str) -> str:
        return f"{self.prefix}{checked(name)}"

    def _name(self, key: str) -> str:
        return key.removeprefix(self.prefix)

    def _uri(self, name: str) -> str:
        return f"s3://{self.bucket}/{self._key(name)}"


@dataclass(slots=True)
class _Download:
    """One object on its way to a local file: ranges side by side, each resumed."""

    client: Client
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
        starts = range(0, self.file.size, _RANGE)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="s3-fetch") as pool:
            ranges = [pool.submit(self._read, start) for start in starts]
            try:
                for done in as_completed(ranges):
                    done.result()
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _check_empty(self) -> None:
        """No range of an empty object can be asked for, so its whole is."""
        reply = self._get()
        with closing(reply["Body"]):
            if reply["ContentLength"]:
                raise changed(self.file)

    def _read(self, start: int) -> None:
        """One range, going on from the byte reached when a body breaks.

        botocore retries a request, but not a body whose first byte has arrived.
        """
        stop = min(start + _RANGE, self.file.size)
        for pause in _PAUSES:
            self.stopped.wait(pause)
            if self.stopped.is_set():
                return
            start = self._read_once(start, stop)
            if start == stop:
                return
        if not self.stopped.is_set():
            raise StorageUnavailable(
                f"S3 broke off {len(_PAUSES)} times",
                file=self.file.name,
                byte_offset=start,
                help="run again",
            )

    def _read_once(self, start: int, stop: int) -> int:
        """Write what arrives; answer the byte at which it ended."""
        reply = self._get(Range=f"bytes={start}-{stop - 1}")
        with closing(reply["Body"]) as body, suppress(*_BROKEN_BODY):
            self._check_range(reply, start, stop)
            for block in body.iter_chunks(_BLOCK):
                self._write(block, start)
                start += len(block)
                if self.stopped.is_set():
                    break
        return start

    def _get(self, **span: str) -> Reply:
        try:
            reply: Reply = self.client.get_object(**self.request, **span)
        except botocore.ClientError as error:
            if _is_unmet(error) or _http(error) == _RANGE_NOT_SATISFIABLE:
                raise changed(self.file) from None
            raise
        return reply

    def _check_range(self, reply: Reply, start: int, stop: int) -> None:
        if reply["ETag"] != self.file.etag:
            raise changed(self.file)
        asked = f"bytes {start}-{stop - 1}/{self.file.size}", stop - start
        if (reply.get("ContentRange"), reply["ContentLength"]) != asked:
            raise StorageUnavailable(
                "S3 answered another range than it was asked for",
                file=self.file.name,
                byte_offset=start,
                help="check the endpoint and any proxy before it",
            )

    def _write(self, block: bytes, at: int) -> None:
        rest = memoryview(block)
        while rest:
            written = os.pwrite(self.descriptor, rest, at)
            rest, at = rest[written:], at + written
        with self.lock:
            self.advance(len(block))


_BROKEN_BODY = (
    botocore.ResponseStreamingError,
    botocore.IncompleteReadError,
    botocore.ReadTimeoutError,
)
_NOT_FOUND, _CONFLICT, _UNMET = 404, 409, 412
_RANGE_NOT_SATISFIABLE, _UNAUTHORIZED, _FORBIDDEN = 416, 401, 403


def _reserve(descriptor: int, size: int) -> None:
    """Take the room at once: a disk that is too small says so before the download."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


@contextmanager
def _fetched(file: SourceFile, origin: Storage) -> Iterator[Path]:
    """A local copy of the identified bytes, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        path = Path(folder) / "copy"
        with archiving(file, origin):
            origin.fetch(file, path, ignore)
        yield path


def _identified(file: SourceFile, head: Reply) -> SourceFile:
    version = head.get("VersionId")
    return replace(
        file,
        size=head["ContentLength"],
        etag=head["ETag"],
        version=None if version == "null" else version,
    )


def _mark(file: SourceFile) -> dict[str, str]:
    """Which identified bytes a copy was made of, kept with the copy."""
    return {_SOURCE: pinned(file).strip('"')}


def _agree(one: Reply, other: Reply) -> bool | None:
    """Whether two objects share a checksum of the whole; None when none is shared.

    A checksum of parts ends in "-" and their number, and says nothing about the whole.
    """
    names = (f"Checksum{kind}" for kind in _CHECKSUMS)
    pairs = [
        (one[name], other[name]) for name in names if name in one and name in other
    ]
    whole = [(here, there) for here, there in pairs if "-" not in here + there]
    return all(here == there for here, there in whole) if whole else None


def _type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def _crc32(path: Path) -> str:
    """The CRC-32 of a file as S3 writes it."""
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def _met(conditional: Callable[[], object]) -> bool:
    """Whether the condition of a call held; a race with another writer is run again."""
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            conditional()
        except botocore.ClientError as error:
            if _is_unmet(error):
                return False
            if _http(error) != _CONFLICT or pause == _PAUSES[-1]:
                raise
        else:
            return True
    return False


def _http(error: botocore.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: botocore.ClientError) -> str:
    """The code of the server, if it looks like one; else the HTTP status."""
    code = error.response.get("Error", {}).get("Code") or ""
    return code if re.fullmatch("[A-Za-z0-9.]{1,64}", code) else f"HTTP {_http(error)}"


def _is_unmet(error: botocore.ClientError) -> bool:
    """Whether an object is absent, or not the one that was named."""
    return _http(error) in (_NOT_FOUND, _UNMET) and _code(error) != "NoSuchBucket"


@contextmanager
def _classified(name: str) -> Iterator[None]:
    """The border: errors of botocore become ours, and their text stays behind."""
    try:
        with disk_errors(name):
            yield
    except (botocore.ClientError, botocore.BotoCoreError, Boto3Error) as error:
        raise _ours(error, name) from None


def _ours(error: Exception, name: str) -> ReconError:
    """The class by remedy. upload_file wraps what it met: look inside."""
    cause = error.__context__ if isinstance(error, Boto3Error) else error
    if isinstance(cause, botocore.ClientError):
        return _of_reply(_code(cause), _http(cause), name)
    why = type(cause or error).__name__
    if isinstance(cause, _NO_SIGN_IN):
        return _denied(name, why)
    if isinstance(cause, _NOT_SET_UP):
        return _misconfigured(name, why)
    return _unavailable(name, why)


def _of_reply(code: str, http: int, name: str) -> ReconError:
    if code in _MISCONFIGURED:
        return _misconfigured(name, code)
    if http in (_UNAUTHORIZED, _FORBIDDEN) or code in _DENIED or code[:4] == "KMS.":
        return _denied(name, code)
    return _unavailable(name, code)


def _denied(name: str, why: str) -> PermissionDenied:
    return PermissionDenied(
        "S3 refuses access",
        file=name,
        why=why,
        help="check the credentials, the role's policy, the KMS key and the clock",
    )


def _misconfigured(name: str, why: str) -> ConfigError:
    return ConfigError(
        "S3 cannot be reached with this configuration",
        file=name,
        why=why,
        help="check the bucket, AWS_REGION, AWS_PROFILE and AWS_ENDPOINT_URL_S3",
    )


def _unavailable(name: str, why: str) -> StorageUnavailable:
    return StorageUnavailable(
        "S3 did not carry out the request",
        file=name,
        why=why,
        help="run again; if it stays so, check the network and the endpoint",
    )


_NO_SIGN_IN = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.TokenRetrievalError,
    botocore.SSOError,
)
_NOT_SET_UP = (
    botocore.ConfigNotFound,
    botocore.ConfigParseError,
    botocore.EndpointProviderError,
    botocore.InvalidConfigError,
    botocore.InvalidRegionError,
    botocore.NoRegionError,
    botocore.ParamValidationError,
    botocore.ProfileNotFound,
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_MISCONFIGURED = frozenset(
    {
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "NoSuchBucket",
        "PermanentRedirect",
    }
)
