"""What only S3 has: pages, conditions on the wire, broken bodies, foreign errors."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import botocore.endpoint
import botocore.exceptions
import pytest
from botocore.awsrequest import AWSResponse
from botocore.loaders import create_loader
from moto.s3.models import s3_backends
from support.s3_places import (
    BUCKET,
    MIB,
    calls_of,
    connected,
    content,
    given,
    places,
    with_bucket,
)
from support.s3_servers import dummy_credentials

from recon_engine.errors import (
    ArchiveConflict,
    ConfigError,
    DiskFull,
    InputChanged,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)
from recon_engine.model import SourceFile
from recon_engine.runtime.progress import ignore_advance
from recon_engine.storage.local import LocalFolder
from recon_engine.storage.s3 import download, errors, prefix
from recon_engine.storage.s3.client import (
    ATTEMPTS_VARIABLE,
    OWNER_VARIABLE,
    TIMEOUT_VARIABLE,
    create_s3_client,
)
from recon_engine.storage.s3.prefix import S3Prefix


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT = "123456789012"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def moto_endpoint(moto: str) -> str:
    return with_bucket(moto)


@pytest.fixture(scope="module")
def seaweed_endpoint(seaweed: str) -> str:
    return with_bucket(seaweed)


@pytest.fixture(scope="module", autouse=True)
def _no_real_account() -> Iterator[None]:
    loader = create_loader()  # the model of S3 is parsed once, not once a client
    with dummy_credentials(), patch("botocore.session.create_loader", lambda _: loader):
        yield


@pytest.fixture
def client(moto_endpoint: str) -> Iterator[Any]:
    with connected(moto_endpoint) as client:
        yield client


@pytest.fixture
def strict(seaweed_endpoint: str) -> Iterator[Any]:
    """A client of the server that enforces every condition."""
    with connected(seaweed_endpoint) as client:
        yield client


@pytest.fixture
def offline() -> Iterator[Any]:
    """A client whose requests are answered by the test, or by nobody."""
    with connected(NOWHERE) as client:
        yield client


def given_in_parts(place: S3Prefix, name: str, parts: list[bytes]) -> SourceFile:
    at = {"Bucket": place.bucket, "Key": f"{place.prefix}{name}"}
    upload = {**at, "UploadId": place.client.create_multipart_upload(**at)["UploadId"]}
    etags = [
        place.client.upload_part(**upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    done = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
    place.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
    return place.identify(SourceFile("", name, 0))


# --- listing


def test_more_than_a_thousand_keys_are_listed(client: Any) -> None:
    place, _ = places(client)
    store = s3_backends[ACCOUNT]["aws"]
    names = [f"{number:05}.csv" for number in range(1100)]
    for name in names:
        store.put_object(BUCKET, f"{place.prefix}{name}", b"1")
    asked = calls_of(client)
    assert [file.name for file in place.files()] == names
    assert [operation for operation, _ in asked] == ["ListObjectsV2"] * 2


def test_a_whole_bucket_is_a_place(client: Any) -> None:
    bucket = f"whole-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="a.csv", Body=b"1")
    client.put_object(Bucket=bucket, Key="sub/b.csv", Body=b"1")
    place = S3Prefix(bucket, "", client)
    assert [file.uri for file in place.files()] == [f"s3://{bucket}/a.csv"]


# --- what is sent


def test_every_call_names_the_owner_its_pin_and_whether_it_may_replace(
    moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OWNER_VARIABLE, ACCOUNT)
    (tmp_path / "large").write_bytes(bytes(9 * MIB))
    with connected(moto_endpoint) as client:
        inbound, done = places(client)
        file = given(inbound, "a.csv", b"content")
        asked = calls_of(client)
        run_through(inbound, done, file, tmp_path)
    sent = dict(asked)
    assert all(params["ExpectedBucketOwner"] == ACCOUNT for _, params in asked)
    assert sent["CopyObject"]["ExpectedSourceBucketOwner"] == ACCOUNT
    assert sent["CopyObject"]["CopySourceIfMatch"] == file.etag
    assert sent["CopyObject"]["IfNoneMatch"] == "*"
    assert sent["PutObject"]["IfNoneMatch"] == "*"
    assert sent["GetObject"]["IfMatch"] == file.etag
    assert sent["GetObject"]["Range"] == "bytes=0-6"
    assert sent["DeleteObject"]["IfMatch"] == file.etag
    assert {"UploadPart", "CompleteMultipartUpload", "HeadObject"} <= sent.keys()


def run_through(
    inbound: S3Prefix, done: S3Prefix, file: SourceFile, folder: Path
) -> None:
    list(inbound.files())
    inbound.fetch(file, folder / "copy", ignore_advance)
    done.put(folder / "large", "large.csv")
    done.put_once(b"1", "manifest.json")
    done.archive(file, inbound, "run/a.csv")
    inbound.remove(file)


def test_no_owner_is_named_unless_one_is_expected(client: Any) -> None:
    place, _ = places(client)
    asked = calls_of(client)
    list(place.files())
    assert "ExpectedBucketOwner" not in asked[0][1]


def test_an_owner_that_is_no_account_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OWNER_VARIABLE, "somebody")
    with pytest.raises(ConfigError, match=OWNER_VARIABLE):
        create_s3_client(NOWHERE)


def test_how_long_the_client_waits_is_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with connected(NOWHERE) as client:
        assert client.meta.config.read_timeout == 60
        assert client.meta.config.retries["total_max_attempts"] == 6
    monkeypatch.setenv(TIMEOUT_VARIABLE, "7")
    monkeypatch.setenv(ATTEMPTS_VARIABLE, "2")
    with connected(NOWHERE) as client:
        assert client.meta.config.read_timeout == 7
        assert client.meta.config.retries["total_max_attempts"] == 2


@pytest.mark.parametrize("name", [TIMEOUT_VARIABLE, ATTEMPTS_VARIABLE])
@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "soon", "1e3"])
def test_a_setting_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        create_s3_client(NOWHERE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/mismatches.csv", "text/csv; charset=utf-8"),
        ("manifest.json", "application/json"),
        ("report.HTML", "text/html; charset=utf-8"),
        ("detail.parquet", "application/vnd.apache.parquet"),
        ("all.csv.gz", "application/gzip"),
        ("README", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_name(
    client: Any, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / "s").write_bytes(b"1")
    place, _ = places(client)
    place.put(tmp_path / "s", name)
    head = client.head_object(Bucket=BUCKET, Key=f"{place.prefix}{name}")
    assert head["ContentType"] == kind


def test_an_upload_in_parts_carries_one_checksum_of_the_whole(
    strict: Any, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(random.Random(3).randbytes(9 * MIB))
    place, _ = places(strict)
    place.put(tmp_path / "s", "a.csv")
    key = f"{place.prefix}a.csv"
    head = strict.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert head["ChecksumCRC32"] == prefix._compute_crc32(tmp_path / "s")
    assert head["ETag"].endswith('-2"')


def test_an_upload_damaged_on_its_way_is_refused(
    strict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "_compute_crc32", lambda _: "AAAAAA==")
    (tmp_path / "s").write_bytes(b"content")
    place, _ = places(strict)
    with pytest.raises(StorageUnavailable):
        place.put(tmp_path / "s", "a.csv")
    assert list(place.files()) == []


# --- versions


def test_a_version_is_fetched_and_archived_although_it_was_replaced(
    client: Any, tmp_path: Path
) -> None:
    bucket = f"versioned-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    inbound, done = S3Prefix(bucket, "in", client), S3Prefix(bucket, "done", client)
    file = given(inbound, "a.csv", b"before")
    given(inbound, "a.csv", b"behind")
    assert file.version
    inbound.fetch(file, tmp_path / "a.csv", ignore_advance)
    assert (tmp_path / "a.csv").read_bytes() == b"before"
    done.archive(file, inbound, "a.csv")
    assert content(done, "a.csv") == b"before"
    with pytest.raises(ArchiveConflict):
        inbound.remove(file)
    assert content(inbound, "a.csv") == b"behind"


def test_a_delete_leaves_every_version(client: Any) -> None:
    bucket = f"versioned-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    place = S3Prefix(bucket, "in", client)
    file = given(place, "a.csv", b"content")
    assert place.remove(file) is True
    assert place.remove(file) is False
    kept = client.list_object_versions(Bucket=bucket)["Versions"]
    assert [version["VersionId"] for version in kept] == [file.version]


def test_the_version_of_a_bucket_without_versions_is_none(client: Any) -> None:
    place, _ = places(client)
    assert given(place, "a.csv", b"1").version is None
    head = {"ContentLength": 1, "ETag": '"e"', "VersionId": "null"}
    assert prefix._with_identity(SourceFile("", "a.csv", 0), head).version is None


# --- archive


def test_a_copy_keeps_the_headers_and_metadata_of_its_source(strict: Any) -> None:
    inbound, done = places(strict)
    headers = {"ContentType": "text/x-test", "ContentLanguage": "de"}
    file = given(inbound, "a.csv", b"1", Metadata={"sender": "x"}, **headers)
    done.archive(file, inbound, "a.csv")
    head = strict.head_object(Bucket=BUCKET, Key=f"{done.prefix}a.csv")
    assert headers.items() <= head.items()
    assert head["Metadata"]["sender"] == "x"


def test_a_file_in_parts_is_archived_and_proven_when_its_origin_is_gone(
    client: Any,
) -> None:
    inbound, done = places(client)
    file = given_in_parts(inbound, "a.csv", [bytes(5 * MIB), b"tail"])
    done.archive(file, inbound, "a.csv")
    head = client.head_object(Bucket=BUCKET, Key=f"{done.prefix}a.csv")
    assert head["ETag"] != file.etag
    assert inbound.remove(file)
    done.archive(file, inbound, "a.csv")


@pytest.mark.parametrize("same", [True, False])
def test_a_foreign_copy_without_comparable_etag_is_compared_by_its_bytes(
    client: Any, *, same: bool
) -> None:
    inbound, done = places(client)
    file = given_in_parts(inbound, "a.csv", [bytes(5 * MIB), b"tail"])
    given(done, "a.csv", bytes(5 * MIB) + (b"tail" if same else b"lead"))
    if same:
        done.archive(file, inbound, "a.csv")
    else:
        with pytest.raises(ArchiveConflict):
            done.archive(file, inbound, "a.csv")


@pytest.mark.parametrize("kind", ["origin", "target"])
def test_a_replacement_at_the_moment_of_the_copy_is_a_conflict(
    strict: Any, kind: str
) -> None:
    inbound, done = places(strict)
    file = given(inbound, "a.csv", b"before")
    place = {"origin": inbound, "target": done}[kind]

    def meanwhile(**_: object) -> None:
        given(place, "a.csv", b"behind")

    strict.meta.events.register("before-parameter-build.s3.CopyObject", meanwhile)
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "a.csv")
    assert content(place, "a.csv") == b"behind"
    assert [f.name for f in done.files()] == ["a.csv"] * (kind == "target")


@pytest.mark.parametrize("other", [b"CONTENT", b"content and more"])
def test_a_mark_alone_does_not_prove_a_copy(strict: Any, other: bytes) -> None:
    inbound, done = places(strict)
    file = given(inbound, "a.csv", b"content")
    given(done, "a.csv", other, Metadata=prefix._source_mark(file))
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "a.csv")


def test_checksums_are_compared_only_when_both_are_of_the_whole() -> None:
    whole, parts = {"ChecksumCRC32": "a"}, {"ChecksumCRC32": "a-2"}
    assert prefix._same_whole_checksum(whole, dict(whole)) is True
    assert prefix._same_whole_checksum(whole, {"ChecksumCRC32": "z"}) is False
    assert prefix._same_whole_checksum(parts, dict(parts)) is None
    assert prefix._same_whole_checksum(whole, parts) is None
    assert prefix._same_whole_checksum(whole, {"ChecksumSHA256": "a"}) is None


# --- retries that AWS asks for, and replies that are lost


def test_a_conflict_with_another_writer_is_run_again(client: Any) -> None:
    place, _ = places(client)
    answers = [(409, "ConditionalRequestConflict")] * 2
    client.meta.events.register("before-send.s3.PutObject", scripted(answers))
    assert place.put_once(b"1", "a.json") is True
    assert answers == []


def test_a_conflict_that_never_ends_is_not_run_for_ever(
    offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "PAUSES", (0.0, 0.01, 0.01))
    answers = [(409, "ConditionalRequestConflict")] * 9
    offline.meta.events.register("before-send.s3.PutObject", scripted(answers))
    with pytest.raises(StorageUnavailable):
        S3Prefix(BUCKET, "x", offline).put_once(b"1", "a.json")
    assert len(answers) == 6


def test_a_write_whose_reply_was_lost_is_known_as_our_own(client: Any) -> None:
    place, _ = places(client)
    real = client.put_object

    def put_twice(**params: Any) -> object:
        real(**params)
        params["Body"].seek(0)
        return real(**params)

    client.put_object = put_twice
    assert place.put_once(b"1", "a.json") is True
    assert place.put_once(b"1", "a.json") is False


def scripted(answers: list[tuple[int, str]]) -> Callable[..., AWSResponse | None]:
    """A hook that answers by itself until the script is used up."""

    def answer(request: Any, **_: object) -> AWSResponse | None:
        if not answers:
            return None
        status, code = answers.pop(0)
        body = f"<Error><Code>{code}</Code><Message>foreign text</Message></Error>"
        # Without a region botocore asks for it for ever when the status is 301.
        headers = {"x-amz-bucket-region": "us-east-1"}
        return AWSResponse(request.url, status, headers, Raw(body.encode()))

    return answer


@dataclass
class Raw:
    """The little of a urllib3 reply that botocore reads."""

    data: bytes

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.data


# --- errors at the border


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", PermissionDenied),
        (403, "InvalidAccessKeyId", PermissionDenied),
        (403, "SignatureDoesNotMatch", PermissionDenied),
        (403, "RequestTimeTooSkewed", PermissionDenied),
        (400, "ExpiredToken", PermissionDenied),
        (400, "KMS.DisabledException", PermissionDenied),
        (401, "Whatever", PermissionDenied),
        (404, "NoSuchBucket", ConfigError),
        (301, "PermanentRedirect", ConfigError),
        (400, "InvalidBucketName", ConfigError),
        (500, "InternalError", StorageUnavailable),
        (503, "SlowDown", StorageUnavailable),
        (400, "RequestTimeout", StorageUnavailable),
        (418, "Teapot", ConfigError),
        (429, "TooManyRequests", StorageUnavailable),
        (400, "KMS.ThrottlingException", StorageUnavailable),
    ],
)
def test_an_answer_of_s3_becomes_the_error_with_its_remedy(
    offline: Any,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: type[ReconError],
) -> None:
    without_waiting(monkeypatch)
    offline.meta.events.register("before-send.s3", scripted([(status, code)] * 20))
    caught = refusal(offline, kind)
    assert caught.why == code
    assert_nothing_foreign(caught)


@pytest.mark.parametrize("code", ["foreign text", "x" * 99, ""])
def test_a_code_that_is_none_is_replaced_by_the_status(offline: Any, code: str) -> None:
    hook = scripted([(403, code)])
    offline.meta.events.register("before-send.s3.ListObjectsV2", hook)
    caught = refusal(offline, PermissionDenied)
    assert caught.why in ("HTTP 403", "403")
    assert_nothing_foreign(caught)


def test_a_bucket_that_does_not_exist_is_a_mistake_of_the_configuration(
    client: Any, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(b"1")
    place = S3Prefix("no-such-bucket", "x", client)
    with pytest.raises(ConfigError):
        list(place.files())
    with pytest.raises(ConfigError):
        place.put(tmp_path / "s", "a.csv")
    with pytest.raises(ConfigError):
        place.put_once(b"1", "a.csv")


def test_an_upload_that_is_refused_names_the_refusal(
    offline: Any, tmp_path: Path
) -> None:
    (tmp_path / "s").write_bytes(b"1")
    hook = scripted([(403, "AccessDenied")])
    offline.meta.events.register("before-send.s3.PutObject", hook)
    with pytest.raises(PermissionDenied) as caught:
        S3Prefix(BUCKET, "x", offline).put(tmp_path / "s", "a.csv")
    assert (caught.value.why, caught.value.file) == ("AccessDenied", "a.csv")
    assert_nothing_foreign(caught.value)


def test_wrong_keys_are_refused(
    seaweed_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with connected(seaweed_endpoint) as client:
        assert refusal(client, PermissionDenied).why == "SignatureDoesNotMatch"


def test_missing_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with connected(NOWHERE) as client:
        assert refusal(client, PermissionDenied).why == "NoCredentialsError"


def test_an_unknown_profile_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "foreign")
    with pytest.raises(ConfigError) as caught:
        create_s3_client()
    assert_nothing_foreign(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
        ("AWS_ENDPOINT_URL_S3", "foreign text"),
        ("AWS_ENDPOINT_URL_S3", "http://[::1"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "foreign"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "foreign"),
        ("AWS_DEFAULTS_MODE", "foreign"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "foreign"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "foreign"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "foreign"),
    ],
)
def test_a_setting_that_aws_cannot_have_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    # The settings of instances are read where nothing else has credentials.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        create_s3_client()
    assert_nothing_foreign(caught.value)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (botocore.exceptions.SSLError, {"endpoint_url": "u", "error": "foreign"}),
        (botocore.exceptions.ProxyConnectionError, {"proxy_url": "foreign"}),
        (botocore.exceptions.ConnectTimeoutError, {"endpoint_url": "foreign"}),
        (botocore.exceptions.ReadTimeoutError, {"endpoint_url": "foreign"}),
    ],
)
def test_an_error_of_the_network_is_none_of_the_disk(
    kind: type[Exception], parameters: dict[str, str]
) -> None:
    with pytest.raises(StorageUnavailable) as caught, errors.translate_s3_errors("a"):
        raise kind(**parameters)
    assert (caught.value.why, caught.value.file) == (kind.__name__, "a")
    assert_nothing_foreign(caught.value)


def test_an_endpoint_nobody_listens_at_is_unavailable(
    offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waiting(monkeypatch)
    caught = refusal(offline, StorageUnavailable)
    assert caught.why == "EndpointConnectionError"
    assert "127.0.0.1" not in str(caught.args)


def test_a_full_disk_is_named_before_the_download(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "foreign text")

    place, _ = places(client)
    file = given(place, "a.csv", b"content")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull) as caught:
        place.fetch(file, tmp_path / "a.csv", ignore_advance)
    assert_nothing_foreign(caught.value)
    assert list(tmp_path.iterdir()) == []


def refusal(client: Any, kind: type[ReconError]) -> ReconError:
    with pytest.raises(kind) as caught:
        list(S3Prefix(BUCKET, "x", client).files())
    return caught.value


def assert_nothing_foreign(error: ReconError) -> None:
    """Neither the fields nor a printed traceback hold what others wrote."""
    fields = (error.message, error.file, error.why, error.help, str(error))
    assert not any("foreign" in field for field in fields if field)
    last = "".join(traceback.format_exception(error))
    assert "foreign text" not in last
    assert error.help


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore retry without its pauses."""
    instantly = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr(botocore.endpoint, "time", instantly)


# --- bodies that break


@dataclass
class Faults:
    """How the next bodies break, and what was asked of the server."""

    data: bytes
    breaks: list[int] = field(default_factory=list)
    how: str = "reset"
    etag: str = '"v1"'
    shift: int = 0
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_break(self, asked: str) -> int | None:
        with self.lock:
            self.asked.append(asked)
            return self.breaks.pop(0) if self.breaks else None


def handler(faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            start, stop = map(int, re.findall(r"\d+", asked))
            body = faults.data[start : stop + 1]
            at = f"bytes {start + faults.shift}-{stop}/{len(faults.data)}"
            self.send_response(206)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Range", at)
            self.send_header("ETag", faults.etag)
            self.end_headers()
            cut = faults.next_break(asked)
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.break_off()

        def break_off(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            if faults.how == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

    return Handler


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def breaking(faults: Faults) -> Iterator[tuple[S3Prefix, SourceFile]]:
    server = Quiet(("127.0.0.1", 0), handler(faults))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}
    )
    thread.start()
    try:
        with connected(f"http://127.0.0.1:{server.server_port}") as client:
            file = SourceFile("", "a.csv", len(faults.data), '"v1"')
            yield S3Prefix(BUCKET, "in", client), file
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_body_that_breaks_is_resumed_at_the_byte_reached(
    tmp_path: Path, how: str
) -> None:
    data = random.Random(4).randbytes(14 * MIB)
    # Far more than the sockets hold: a reset takes with it what was not read yet.
    faults = Faults(data, [12 * MIB + 7, 0, MIB], how)
    amounts: list[int] = []
    with breaking(faults) as (place, file):
        place.fetch(file, tmp_path / "a.csv", amounts.append)
    assert (tmp_path / "a.csv").read_bytes() == data
    assert sum(amounts) == len(data)
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in faults.asked]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert starts[-1] > 0


def test_parallel_ranges_break_and_resume_each_for_itself(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(40 * MIB)
    faults = Faults(data, [3 * MIB, 5 * MIB, 7 * MIB])
    amounts: list[int] = []
    with breaking(faults) as (place, file):
        place.fetch(file, tmp_path / "a.csv", amounts.append)
    assert (tmp_path / "a.csv").read_bytes() == data
    assert sum(amounts) == len(data)


def test_a_body_that_always_breaks_is_given_up_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.01, 0.02))
    faults = Faults(bytes(MIB), [0] * 99)
    with (
        breaking(faults) as (place, file),
        pytest.raises(StorageUnavailable, match="3 times"),
    ):
        place.fetch(file, tmp_path / "a.csv", ignore_advance)
    assert len(faults.asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_ignores_the_pin_is_found_out_by_its_etag(
    tmp_path: Path,
) -> None:
    with breaking(Faults(b"content", etag='"v2"')) as (place, file):
        with pytest.raises(InputChanged):
            place.fetch(file, tmp_path / "a.csv", ignore_advance)
        assert list(tmp_path.iterdir()) == []


def test_a_server_that_answers_another_range_is_found_out(tmp_path: Path) -> None:
    with (
        breaking(Faults(b"content", shift=1)) as (place, file),
        pytest.raises(StorageUnavailable, match="different range"),
    ):
        place.fetch(file, tmp_path / "a.csv", ignore_advance)


def test_a_size_that_is_not_the_object_s_is_found_out(
    client: Any, tmp_path: Path
) -> None:
    place, _ = places(client)
    file = given(place, "a.csv", b"content")
    for size in (0, 3, 8):
        with pytest.raises((InputChanged, StorageUnavailable)):
            place.fetch(replace(file, size=size), tmp_path / "a.csv", ignore_advance)
    assert list(tmp_path.iterdir()) == []


# --- one client for all places


def test_places_of_one_environment_share_a_client(
    moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_endpoint)
    one, other = prefix.open_prefix(BUCKET, "a"), prefix.open_prefix(BUCKET, "b")
    assert one.client is other.client
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOWHERE)
    assert prefix.open_prefix(BUCKET, "a").client is not one.client


def test_services_that_differ_copy_by_way_of_this_machine(
    client: Any, strict: Any, tmp_path: Path
) -> None:
    inbound, _ = places(client)
    _, done = places(strict)
    file = given(inbound, "a.csv", b"content")
    done.archive(file, inbound, "a.csv")
    assert content(done, "a.csv") == b"content"
    with pytest.raises(ArchiveConflict):
        done.archive(replace(file, etag='"other"'), LocalFolder(tmp_path), "a.csv")
