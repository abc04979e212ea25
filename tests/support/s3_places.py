"""Places in the S3 servers of the tests, what is in them, and what is asked of them."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from recon_engine.model import SourceFile
from recon_engine.storage.s3.client import create_s3_client
from recon_engine.storage.s3.prefix import S3Prefix


if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "only-s3"
MIB = 1 << 20


@contextmanager
def connected(endpoint: str) -> Iterator[Any]:
    with closing(create_s3_client(endpoint)) as client:
        yield client


def with_bucket(endpoint: str) -> str:
    """The endpoint, once there is a bucket for the places of a test."""
    with connected(endpoint) as client:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        if BUCKET not in there:
            client.create_bucket(Bucket=BUCKET)
    return endpoint


def places(client: Any) -> tuple[S3Prefix, S3Prefix]:
    root = uuid4().hex
    return tuple(S3Prefix(BUCKET, f"{root}/{name}", client) for name in ("in", "done"))  # type: ignore[return-value]


def given(place: S3Prefix, name: str, data: bytes, **headers: Any) -> SourceFile:
    key = f"{place.prefix}{name}"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=data, **headers)
    return place.identify(SourceFile("", name, 0))


def content(place: S3Prefix, name: str) -> bytes:
    key = f"{place.prefix}{name}"
    with place.client.get_object(Bucket=place.bucket, Key=key)["Body"] as body:
        data: bytes = body.read()
    return data


def calls_of(client: Any) -> list[tuple[str, dict[str, Any]]]:
    """What is asked of S3 from now on, after every other hook has had its say."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        asked.append((model.name, dict(params)))

    client.meta.events.register_last("provide-client-params.s3", note)
    return asked
