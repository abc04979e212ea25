"""Objects over 5 GiB, with the limit lowered: parts keep what one request keeps."""

from __future__ import annotations

import logging
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
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

from recon_engine.errors import ArchiveConflict, StorageUnavailable
from recon_engine.storage.local import LocalFolder
from recon_engine.storage.s3 import multipart, prefix
from recon_engine.storage.s3.client import OWNER_VARIABLE
from recon_engine.storage.s3.multipart import UploadPart, divide_into_parts
from recon_engine.storage.s3.prefix import S3Prefix


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recon_engine.model import SourceFile

ACCOUNT = "123456789012"
DATA = random.Random(7).randbytes(12 * MIB)
PARTS = 3


@pytest.fixture(autouse=True)
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "MAX_SINGLE_REQUEST", MIB)
    monkeypatch.setattr(multipart, "PART_BYTES", 5 * MIB)


@pytest.fixture(scope="module")
def endpoints(moto: str, seaweed: str) -> dict[str, str]:
    return {"moto": with_bucket(moto), "seaweed": with_bucket(seaweed)}


@pytest.fixture(params=["moto", "seaweed"])
def client(request: pytest.FixtureRequest, endpoints: dict[str, str]) -> Iterator[Any]:
    with connected(endpoints[request.param]) as client:
        yield client


@pytest.fixture
def strict(endpoints: dict[str, str]) -> Iterator[Any]:
    with connected(endpoints["seaweed"]) as client:
        yield client


def uploads_left(place: S3Prefix) -> list[dict[str, Any]]:
    left: list[dict[str, Any]] = place.client.list_multipart_uploads(
        Bucket=place.bucket, Prefix=place.prefix
    ).get("Uploads", [])
    return left


def head(place: S3Prefix, name: str) -> dict[str, Any]:
    key = f"{place.prefix}{name}"
    found: dict[str, Any] = place.client.head_object(
        Bucket=place.bucket, Key=key, ChecksumMode="ENABLED"
    )
    return found


@pytest.mark.parametrize("size", [1, 10_000 * 5 * MIB, 10_000 * 5 * MIB + 1, 5 << 40])
def test_parts_cover_an_object_and_are_no_more_than_s3_takes(size: int) -> None:
    parts = list(divide_into_parts(size))
    assert len(parts) <= 10_000
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].start == 0
    assert parts[-1].stop == size
    assert all(one.stop == two.start for one, two in pairwise(parts))
    assert all(part.stop - part.start <= 5 << 30 for part in parts)


def test_the_limits_are_those_of_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert multipart.fits_at_once(5 * 1024**3)
    assert not multipart.fits_at_once(5 * 1024**3 + 1)
    assert next(divide_into_parts(6 << 30)) == UploadPart(1, 0, 256 * MIB)


def test_a_large_object_is_copied_in_parts_and_proven(client: Any) -> None:
    inbound, done = places(client)
    file = given(inbound, "a.csv", DATA)
    asked = calls_of(client)
    done.archive(file, inbound, "a.csv")
    names = [name for name, _ in asked]
    assert names.count("UploadPartCopy") == PARTS
    assert not {"CopyObject", "GetObject"} & set(names)
    assert content(done, "a.csv") == DATA
    assert uploads_left(done) == []
    inbound.remove(file)
    done.archive(file, inbound, "a.csv")  # proven also when the origin is gone


def test_every_part_and_the_whole_carry_the_conditions(
    endpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OWNER_VARIABLE, ACCOUNT)
    with connected(endpoints["moto"]) as client:
        client.create_bucket(Bucket="versions-of-parts")
        client.put_bucket_versioning(
            Bucket="versions-of-parts", VersioningConfiguration={"Status": "Enabled"}
        )
        inbound = S3Prefix("versions-of-parts", "in", client)
        done = S3Prefix(BUCKET, "done", client)
        file = given(inbound, "a.csv", DATA)
        given(inbound, "a.csv", b"behind")
        asked = calls_of(client)
        done.archive(file, inbound, "a.csv")
        assert content(done, "a.csv") == DATA
    assert file.version
    parts = [params for name, params in asked if name == "UploadPartCopy"]
    source = {"Bucket": inbound.bucket, "Key": "in/a.csv", "VersionId": file.version}
    for part in parts:
        assert part["CopySource"] == source
        assert part["CopySourceIfMatch"] == file.etag
        assert part["ExpectedSourceBucketOwner"] == ACCOUNT
    spans = {part["PartNumber"]: part["CopySourceRange"] for part in parts}
    assert spans == {
        1: f"bytes=0-{5 * MIB - 1}",
        2: f"bytes={5 * MIB}-{10 * MIB - 1}",
        3: f"bytes={10 * MIB}-{12 * MIB - 1}",
    }
    completed = dict(asked)["CompleteMultipartUpload"]
    assert completed["IfNoneMatch"] == "*"
    assert completed["MpuObjectSize"] == len(DATA)
    assert all(params["ExpectedBucketOwner"] == ACCOUNT for _, params in asked)


def test_a_copy_in_parts_keeps_what_a_single_copy_keeps(client: Any) -> None:
    inbound, done = places(client)
    file = given(
        inbound,
        "a.csv",
        DATA,
        ContentType="text/x-test",
        ContentLanguage="de",
        Metadata={"sender": "x"},
        Tagging="kind=a%20b&c=%3D",
    )
    done.archive(file, inbound, "a.csv")
    found = head(done, "a.csv")
    assert (found["ContentType"], found["ContentLanguage"]) == ("text/x-test", "de")
    assert found["Metadata"]["sender"] == "x"
    assert found["Metadata"]["recon-source"] == str(file.etag).strip('"')
    tags = client.get_object_tagging(Bucket=BUCKET, Key=f"{done.prefix}a.csv")
    assert {tag["Key"]: tag["Value"] for tag in tags["TagSet"]} == {
        "kind": "a b",
        "c": "=",
    }


def test_s3_itself_checks_the_whole_of_a_copy_in_parts(
    strict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").write_bytes(DATA)
    inbound, done = places(strict)
    inbound.put(tmp_path / "s", "a.csv")
    [file] = [inbound.identify(file) for file in inbound.files()]
    asked = calls_of(strict)
    done.archive(file, inbound, "a.csv")
    crc = head(inbound, "a.csv")["ChecksumCRC32"]
    assert dict(asked)["CompleteMultipartUpload"]["ChecksumCRC32"] == crc
    assert head(done, "a.csv")["ChecksumCRC32"] == crc

    monkeypatch.setattr(
        prefix,
        "_whole_checksums",
        lambda _: {"ChecksumCRC32": "AAAAAA=="},
    )
    with pytest.raises(StorageUnavailable):
        done.archive(file, inbound, "b.csv")
    assert [file.name for file in done.files()] == ["a.csv"]
    assert uploads_left(done) == []


def test_a_checksum_that_s3_cannot_add_up_is_not_asked_for(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        prefix,
        "_whole_checksums",
        lambda _: {"ChecksumSHA256": "x"},
    )
    inbound, done = places(client)
    file = given(inbound, "a.csv", DATA)
    asked = calls_of(client)
    done.archive(file, inbound, "a.csv")
    sent = dict(asked)
    assert "ChecksumAlgorithm" not in sent["CreateMultipartUpload"]
    assert "ChecksumType" not in sent["CompleteMultipartUpload"]
    assert content(done, "a.csv") == DATA


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("origin", "CreateMultipartUpload"),
        ("target", "CreateMultipartUpload"),
        ("target", "CompleteMultipartUpload"),
    ],
)
def test_a_replacement_while_parts_are_copied_is_a_conflict(
    strict: Any, kind: str, at: str
) -> None:
    inbound, done = places(strict)
    file = given(inbound, "a.csv", DATA)
    place = {"origin": inbound, "target": done}[kind]

    def meanwhile(**_: object) -> None:
        given(place, "a.csv", b"behind")

    strict.meta.events.register(f"before-parameter-build.s3.{at}", meanwhile)
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "a.csv")
    assert content(place, "a.csv") == b"behind"
    assert [f.name for f in done.files()] == ["a.csv"] * (kind == "target")
    assert uploads_left(done) == []


def test_a_replacement_between_two_parts_is_a_conflict(
    strict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "WORKERS", 1)
    inbound, done = places(strict)
    file = given(inbound, "a.csv", DATA)

    def meanwhile(params: dict[str, Any], **_: object) -> None:
        if params["PartNumber"] == PARTS:
            given(inbound, "a.csv", DATA[::-1])

    event = "before-parameter-build.s3.UploadPartCopy"
    strict.meta.events.register(event, meanwhile)
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "a.csv")
    assert list(done.files()) == []
    assert uploads_left(done) == []


def test_what_interrupts_a_copy_in_parts_leaves_none(client: Any) -> None:
    inbound, done = places(client)
    file = given(inbound, "a.csv", DATA)

    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    client.meta.events.register("before-call.s3.CompleteMultipartUpload", stop)
    with pytest.raises(KeyboardInterrupt):
        done.archive(file, inbound, "a.csv")
    assert uploads_left(done) == []
    assert len(content(inbound, "a.csv")) == len(DATA)


def test_parts_that_cannot_be_taken_back_are_reported(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    inbound, done = places(client)
    file = given(inbound, "a.csv", DATA)

    def refuse(model: Any, **_: object) -> None:
        answer = {"Error": {"Code": "SlowDown"}}
        raise ClientError(answer, model.name)

    for name in ("CompleteMultipartUpload", "AbortMultipartUpload"):
        client.meta.events.register(f"before-call.s3.{name}", refuse)
    with pytest.raises(StorageUnavailable), caplog.at_level(logging.WARNING):
        done.archive(file, inbound, "a.csv")
    [record] = caplog.records
    assert record.message == "upload_not_aborted"


def local(folder: Path) -> tuple[LocalFolder, SourceFile]:
    (folder / "a.csv").write_bytes(DATA)
    inbound = LocalFolder(folder)
    return inbound, inbound.identify(next(inbound.files()))


def test_a_large_local_file_is_archived_in_parts(client: Any, tmp_path: Path) -> None:
    inbound, file = local(tmp_path)
    _, done = places(client)
    asked = calls_of(client)
    done.archive(file, inbound, "a.csv")
    assert content(done, "a.csv") == DATA
    assert [name for name, _ in asked].count("UploadPart") == PARTS
    assert dict(asked)["CompleteMultipartUpload"]["IfNoneMatch"] == "*"
    assert head(done, "a.csv")["ContentType"] == "text/csv; charset=utf-8"
    inbound.remove(file)
    done.archive(file, inbound, "a.csv")


def test_a_large_local_file_never_overwrites(client: Any, tmp_path: Path) -> None:
    inbound, file = local(tmp_path)
    _, done = places(client)

    def meanwhile(**_: object) -> None:
        given(done, "a.csv", b"other")

    event = "before-parameter-build.s3.CompleteMultipartUpload"
    client.meta.events.register(event, meanwhile)
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "a.csv")
    assert content(done, "a.csv") == b"other"
    assert uploads_left(done) == []


def test_a_large_local_file_damaged_on_its_way_is_refused(
    strict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "_compute_crc32", lambda _: "AAAAAA==")
    inbound, file = local(tmp_path)
    _, done = places(strict)
    with pytest.raises(StorageUnavailable):
        done.archive(file, inbound, "a.csv")
    assert list(done.files()) == []
    assert uploads_left(done) == []
