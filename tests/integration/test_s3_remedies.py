"""Each refusal of S3 has its own remedy, and none of them is to run again."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from recon_engine.errors import ConfigError, StorageUnavailable
from recon_engine.pipeline.doctor import CheckState, examine_setup
from recon_engine.status import RunStatus
from recon_engine.storage.s3 import client as s3_client
from recon_engine.storage.s3 import permissions
from recon_engine.storage.s3.errors import _error_from_reply
from recon_engine.storage.s3.prefix import S3Prefix
from recon_engine.storage.s3.remedies import MOMENTARY, REMEDIES, UNKNOWN
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from pathlib import Path

    from support.sites import BucketSite

    from recon_engine.model import SourceFile
    from recon_engine.storage.base import Storage


OTHERS = (
    "EntityTooSmall",
    "InvalidBucketState",
    "InvalidPart",
    "InvalidStorageClass",
    "MalformedXML",
    "MetadataTooLarge",
    "MissingContentLength",
    "RestoreAlreadyInProgress",
    "UnresolvableGrantByEmailAddress",
)


SITES = ("s3",)


@pytest.mark.parametrize("code", [*REMEDIES, *OTHERS, "HTTP 418"])
@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 411])
def test_a_refusal_does_not_say_to_run_again(code: str, status: int) -> None:
    error = _error_from_reply(code, status, "claims.csv")
    assert error.help is not None
    assert "run again" not in error.help
    assert (error.file, error.why) == ("claims.csv", code)
    if code in REMEDIES:
        assert (error.message, error.help) == REMEDIES[code][1:]
    elif status != 403:
        assert error.message == UNKNOWN.message


def test_each_remedy_is_another() -> None:
    said = {(each.message, each.help) for each in REMEDIES.values()}
    assert len(said) == len(set(REMEDIES.values()))
    assert "restore" in REMEDIES["InvalidObjectState"].help


@pytest.mark.parametrize("code", sorted(MOMENTARY))
def test_what_passes_by_itself_is_run_again(code: str) -> None:
    for status in (400, 403, 408, 429, 503):
        error = _error_from_reply(code, status, "claims.csv")
        assert isinstance(error, StorageUnavailable)
        assert "run again" in str(error.help)


def archive(site: BucketSite, name: str, data: bytes) -> None:
    site.client.put_object(
        Bucket=site.bucket,
        Key=f"{site.root}/inbound/{name}",
        Body=data,
        StorageClass="GLACIER",
    )


def test_an_archived_input_has_to_be_restored(site: BucketSite) -> None:
    site.deliver()
    archive(site, "claims_20261123.csv", b"ID,PAID,NOTE\n1,1,a\n")
    outcome = site.run()
    error = outcome.error
    assert isinstance(error, ConfigError)
    assert error.why == "InvalidObjectState"
    assert error.message.startswith("the object is archived")
    assert "restore-object" in str(error.help)
    assert str(error.file).endswith("claims_20261123.csv")
    assert outcome.record.status is RunStatus.USAGE_ERROR
    assert len(site.client.list_objects_v2(Bucket=site.bucket)["Contents"]) == 2


def test_the_doctor_takes_an_archived_object_for_no_missing_right(
    site: BucketSite,
) -> None:
    archive(site, "claims_20261123.csv", b"ID\n")
    places = {"inbound": site.inbound}
    found = {each.check: each for each in examine_setup(places, site.database)}
    assert not any("denies it" in each.found for each in found.values())
    finding = found["inbound"]
    assert finding.state is CheckState.FAIL
    assert "restore-object" in str(finding.remedy)


def test_every_write_has_a_checksum_whatever_the_environment_says(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket under Object Lock refuses a write without one."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    with closing(boto3.client("s3", endpoint_url=moto)) as other:
        other.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        other.put_object(Bucket="locked", Key="in/a.csv", Body=b"a\n1\n")
    (tmp_path / "small.csv").write_bytes(b"a\n1\n")
    with closing(s3_client.create_s3_client(moto)) as client:
        sent: dict[str, bool] = {}

        def note(request: Any, **_: object) -> None:
            if request.method == "PUT":
                names = {name.lower() for name in request.headers}
                checked = any(name.startswith("x-amz-checksum-") for name in names)
                copied = "x-amz-copy-source" in names
                sent[request.url] = checked or copied or "content-md5" in names

        client.meta.events.register("before-send.s3", note)
        place = S3Prefix("locked", "out", client)
        place.put(tmp_path / "small.csv", "small.csv")
        assert place.put_once(b"{}", "manifest.json")
        permissions.may_write(place)
        origin = S3Prefix("locked", "in", client)
        [file] = origin.files()
        place.archive(origin.identify(file), origin, "a.csv")
        place.archive(_local(tmp_path), _folder(tmp_path), "b.csv")
    assert len(sent) == 5
    assert all(sent.values()), sent


def _folder(path: Path) -> Storage:
    return open_storage(str(path))


def _local(path: Path) -> SourceFile:
    folder = _folder(path)
    [file] = [each for each in folder.files() if each.name == "small.csv"]
    return folder.identify(file)
