"""The client of S3: where it signs in, how long it waits, and whose bucket it expects.

`AWS_*` are botocore's. Besides them `RECON_EXPECTED_BUCKET_OWNER` names an account,
which every call then demands as the owner, and `RECON_S3_TIMEOUT` the seconds to wait
for the next byte.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from recon_engine.errors import ConfigError
from recon_engine.s3_errors import classified


if TYPE_CHECKING:
    from collections.abc import Callable

OWNER: Final = "RECON_EXPECTED_BUCKET_OWNER"
TIMEOUT: Final = "RECON_S3_TIMEOUT"
ATTEMPTS: Final = "AWS_MAX_ATTEMPTS"

_SETTINGS = ("AWS_", OWNER, TIMEOUT)
_CONNECTIONS = 16


def shared() -> Any:
    """The one client, with its one sign-in, of the environment as it is now."""
    settings = (item for item in os.environ.items() if item[0].startswith(_SETTINGS))
    return _of(frozenset(settings))


@lru_cache(maxsize=1)
def _of(_settings: frozenset[tuple[str, str]]) -> Any:
    return connect()


def connect(endpoint: str | None = None) -> Any:
    """A client that retries, and that names the expected owner on every call."""
    with classified("S3"):
        client = boto3.session.Session().client(
            "s3", endpoint_url=endpoint, config=_config()
        )
    if owner := os.environ.get(OWNER):
        client.meta.events.register("provide-client-params.s3", _naming(owner))
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


def _naming(owner: str) -> Callable[..., None]:
    """What adds the owner to the parameters of a call, where it knows them."""
    if not re.fullmatch("[0-9]{12}", owner):
        raise ConfigError(f"{OWNER} is not an AWS account", help="give its 12 digits")

    def name(params: dict[str, Any], model: Any, **_: object) -> None:
        known = model.input_shape.members if model.input_shape else ()
        wanted = {"ExpectedBucketOwner", "ExpectedSourceBucketOwner"}
        params |= dict.fromkeys(wanted.intersection(known), owner)

    return name
