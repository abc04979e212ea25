"""Create the S3 client: credentials, timeouts, expected bucket owner, encryption.

`AWS_*` variables are botocore's. RECON_EXPECTED_BUCKET_OWNER is the account that every
call requires as the owner of the bucket. RECON_SSE_KMS_KEY is the key that objects are
encrypted with. RECON_S3_TIMEOUT is how many seconds to wait for the next byte.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from recon_engine.aws import client as aws
from recon_engine.errors import ConfigError
from recon_engine.storage.s3.errors import translate_s3_errors


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OWNER_VARIABLE: Final = "RECON_EXPECTED_BUCKET_OWNER"
KMS_KEY_VARIABLE: Final = "RECON_SSE_KMS_KEY"
TIMEOUT_VARIABLE: Final = "RECON_S3_TIMEOUT"
ATTEMPTS_VARIABLE: Final = "AWS_MAX_ATTEMPTS"

_SETTINGS = (
    "AWS_",
    OWNER_VARIABLE,
    KMS_KEY_VARIABLE,
    TIMEOUT_VARIABLE,
    aws.ENDPOINT_VARIABLE,
)
# Both inputs at once, each with the workers of `download` and `multipart` (8).
_CONNECTIONS = 16


def shared_s3_client() -> Any:
    """The one client, with its one sign-in, of the environment as it is now."""
    settings = (item for item in os.environ.items() if item[0].startswith(_SETTINGS))
    return _client_for(frozenset(settings))


# By its settings: a client keeps the credentials and the endpoint it was made with, so
# a changed environment needs another one.
@lru_cache(maxsize=1)
def _client_for(_settings: frozenset[tuple[str, str]]) -> Any:
    return create_s3_client()


def create_s3_client(endpoint: str | None = None) -> Any:
    """A client that retries, and that names owner and key wherever S3 takes them."""
    with translate_s3_errors("S3"):
        client = aws.create_client("s3", _client_config(), endpoint=endpoint)
    for demanded in (_owner_parameters(), _encryption_parameters()):
        if demanded:
            client.meta.events.register(
                "provide-client-params.s3", _parameter_adder(demanded)
            )
    return client


def _client_config() -> Config:
    return Config(
        retries={
            "mode": "standard",
            "total_max_attempts": _read_number(ATTEMPTS_VARIABLE, 6),
        },
        connect_timeout=5,
        read_timeout=_read_number(TIMEOUT_VARIABLE, 60),
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
    )


def _read_number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise ConfigError(
            f"{name} is not a number from 1 to 99999", help=f"for example {default}"
        )
    return int(text)


def _owner_parameters() -> dict[str, str]:
    """Whose buckets all calls are meant for."""
    owner = os.environ.get(OWNER_VARIABLE)
    if not owner:
        return {}
    if not re.fullmatch("[0-9]{12}", owner):
        raise ConfigError(
            f"{OWNER_VARIABLE} is not an AWS account id",
            help="set it to the 12 digits of the account",
        )
    return dict.fromkeys(("ExpectedBucketOwner", "ExpectedSourceBucketOwner"), owner)


def _encryption_parameters() -> dict[str, str]:
    """What objects are encrypted with; without it, as the bucket says."""
    key = os.environ.get(KMS_KEY_VARIABLE)
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def _parameter_adder(demanded: Mapping[str, str]) -> Callable[..., None]:
    """What adds to the parameters of a call those that it knows."""

    def add(params: dict[str, Any], model: Any, **_: object) -> None:
        # botocore refuses a parameter that a call does not know.
        known = model.input_shape.members if model.input_shape else {}
        params |= {name: value for name, value in demanded.items() if name in known}

    return add
