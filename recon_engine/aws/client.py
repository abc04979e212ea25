"""Clients of AWS, which go to AWS and nowhere else unless that is asked for.

An endpoint may be set in the environment or in a profile, for other purposes and by
others. Data go to one only if it is on this machine, or if `RECON_AWS_ENDPOINT` says
the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from botocore.config import Config


ENDPOINT_VARIABLE: Final = "RECON_AWS_ENDPOINT"
AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def create_client(
    service: str,
    config: Config,
    *,
    region: str | None = None,
    endpoint: str | None = None,
) -> Any:
    """A client of the environment's credentials; an `endpoint` given is asked for."""
    made = boto3.session.Session().client(
        service, region_name=region, endpoint_url=endpoint, config=config
    )
    if endpoint is None:
        _check_endpoint(made.meta.endpoint_url)
    return made


def _check_endpoint(url: str) -> None:
    host = urlsplit(url).hostname or ""
    if (
        host in LOCAL_HOSTS
        or host.endswith(AWS_DOMAINS)
        or url == os.environ.get(ENDPOINT_VARIABLE)
    ):
        return
    raise ConfigError(
        f"data would go to {host}, which is not AWS",
        why="AWS_ENDPOINT_URL, one of its kind, or a profile says so",
        help=f"unset it; or, if it is meant: {ENDPOINT_VARIABLE}={url}",
    )
