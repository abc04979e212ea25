"""The client of S3: where it signs in, how long it waits, and whose bucket it expects.

`AWS_*` are botocore's. Besides them `RECON_EXPECTED_BUCKET_OWNER` names an account,
which every call then demands as the owner, `RECON_SSE_KMS_KEY` the key that all objects
are encrypted with, and `RECON_S3_TIMEOUT` the seconds to wait for the next byte.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from recon_engine.aws import client as aws
from recon_engine.errors import ConfigError
from recon_engine.storage.s3.errors import classified


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OWNER: Final = "RECON_EXPECTED_BUCKET_OWNER"
KMS_KEY: Final = "RECON_SSE_KMS_KEY"
TIMEOUT: Final = "RECON_S3_TIMEOUT"
ATTEMPTS: Final = "AWS_MAX_ATTEMPTS"

_SETTINGS = ("AWS_", OWNER, KMS_KEY, TIMEOUT, aws.ALLOWED)
_CONNECTIONS = 16


def shared() -> Any:
    """The one client, with its one sign-in, of the environment as it is now."""
    settings = (item for item in os.environ.items() if item[0].startswith(_SETTINGS))
    return _of(frozenset(settings))


@lru_cache(maxsize=1)
def _of(_settings: frozenset[tuple[str, str]]) -> Any:
    return connect()


def connect(endpoint: str | None = None) -> Any:
    """A client that retries, and that names owner and key wherever S3 takes them."""
    with classified("S3"):
        client = aws.client("s3", _config(), endpoint=endpoint)
    for demanded in (_owner(), _encryption()):
        if demanded:
            client.meta.events.register("provide-client-params.s3", _adding(demanded))
    return client


def _config() -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": _number(ATTEMPTS, 6)},
        connect_timeout=5,
        read_timeout=_number(TIMEOUT, 60),
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise ConfigError(f"{name} is not a number above 0", help=f"such as {default}")
    return int(text)


def _owner() -> dict[str, str]:
    """Whose buckets all calls are meant for."""
    owner = os.environ.get(OWNER)
    if not owner:
        return {}
    if not re.fullmatch("[0-9]{12}", owner):
        raise ConfigError(f"{OWNER} is not an AWS account", help="give its 12 digits")
    return dict.fromkeys(("ExpectedBucketOwner", "ExpectedSourceBucketOwner"), owner)


def _encryption() -> dict[str, str]:
    """What objects are encrypted with; without it, as the bucket says."""
    key = os.environ.get(KMS_KEY)
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def _adding(demanded: Mapping[str, str]) -> Callable[..., None]:
    """What adds to the parameters of a call those that it knows."""

    def add(params: dict[str, Any], model: Any, **_: object) -> None:
        known = model.input_shape.members if model.input_shape else {}
        params |= {name: value for name, value in demanded.items() if name in known}

    return add
