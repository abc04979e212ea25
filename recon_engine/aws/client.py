"""Create AWS clients that send data to AWS only, unless another endpoint is confirmed.

The environment or a profile may set an endpoint for other purposes. Data are sent to it
only if it is on this machine, or if RECON_AWS_ENDPOINT names it too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as botocore

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from botocore.config import Config


ENDPOINT_VARIABLE: Final = "RECON_AWS_ENDPOINT"
# The partitions of AWS and China, and the dual-stack endpoints.
AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
# Tests, and tunnels that the user has opened.
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# Errors of botocore without a reply: there are no credentials, or a setting is wrong.
# Neither passes by itself.
NO_SIGN_IN: Final = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.TokenRetrievalError,
    botocore.SSOError,
)
NOT_SET_UP: Final = (
    botocore.ConfigNotFound,
    botocore.ConfigParseError,
    botocore.EndpointProviderError,
    botocore.InvalidChecksumConfigError,
    botocore.InvalidConfigError,
    botocore.InvalidDefaultsMode,
    botocore.InvalidIMDSEndpointError,
    botocore.InvalidIMDSEndpointModeError,
    botocore.InvalidRegionError,
    botocore.InvalidRetryConfigurationError,
    botocore.InvalidS3UsEast1RegionalEndpointConfigError,
    botocore.InvalidSTSRegionalEndpointsConfigError,
    botocore.NoRegionError,
    botocore.ParamValidationError,
    botocore.ProfileNotFound,
)


def create_client(
    service: str,
    config: Config,
    *,
    region: str | None = None,
    endpoint: str | None = None,
) -> Any:
    """A client with the credentials of the environment.

    `endpoint`: chosen by the caller, so it needs no confirmation. Raises ConfigError if
    the environment or a profile sets an endpoint that is not confirmed, or that
    is not a URL.
    """
    try:
        made = boto3.session.Session().client(
            service, region_name=region, endpoint_url=endpoint, config=config
        )
    except botocore.BotoCoreError:
        raise
    except ValueError:
        made = None
    # Outside of the handler: the text of botocore has the endpoint, with a password.
    if made is None:
        raise ConfigError(
            "a setting of AWS cannot be read",
            why="AWS_ENDPOINT_URL or a similar variable is not a URL, or another one is"
            " not a number",
            help="write an endpoint with its scheme, such as http://localhost:9000;"
            " check the AWS_* variables and the profile",
        )
    if endpoint is None:
        _check_endpoint(made.meta.endpoint_url)
    return made


def _check_endpoint(url: str) -> None:
    # botocore takes an endpoint from variables and from profiles, so a line in a shared
    # file could divert all data.
    parts = urlsplit(url)
    host = parts.hostname or ""
    if (
        host in LOCAL_HOSTS
        or host.endswith(AWS_DOMAINS)
        or url == os.environ.get(ENDPOINT_VARIABLE)
    ):
        return
    # User info and a query may be secrets.
    secret = "@" in parts.netloc or parts.query
    raise ConfigError(
        f"data would be sent to {host}, which is not AWS",
        why="AWS_ENDPOINT_URL, a similar variable, or a profile sets this endpoint",
        help=f"unset it, or confirm it with {ENDPOINT_VARIABLE}="
        + ("…, the same URL" if secret else url),
    )
