"""Create AWS clients that send data to AWS only, unless another endpoint is confirmed.

The environment or a profile may set an endpoint for other purposes. Data are sent to it
only if it is on this machine, or if RECON_AWS_ENDPOINT names it too.
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
# The partitions of AWS and China, and the dual-stack endpoints.
AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
# Tests, and tunnels that the user has opened.
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def create_client(
    service: str,
    config: Config,
    *,
    region: str | None = None,
    endpoint: str | None = None,
) -> Any:
    """A client with the credentials of the environment.

    `endpoint`: chosen by the caller, so it needs no confirmation. Raises ConfigError if
    the environment or a profile sets an endpoint that is not confirmed.
    """
    made = boto3.session.Session().client(
        service, region_name=region, endpoint_url=endpoint, config=config
    )
    if endpoint is None:
        _check_endpoint(made.meta.endpoint_url)
    return made


def _check_endpoint(url: str) -> None:
    # botocore takes an endpoint from variables and from profiles, so a line in a shared
    # file could divert all data.
    host = urlsplit(url).hostname or ""
    if (
        host in LOCAL_HOSTS
        or host.endswith(AWS_DOMAINS)
        or url == os.environ.get(ENDPOINT_VARIABLE)
    ):
        return
    raise ConfigError(
        f"data would be sent to {host}, which is not AWS",
        why="AWS_ENDPOINT_URL, a similar variable, or a profile sets this endpoint",
        help=f"unset it, or confirm it with {ENDPOINT_VARIABLE}={url}",
    )
