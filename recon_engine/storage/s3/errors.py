"""Translate errors of botocore to recon_engine.errors, one class per remedy.

No text of botocore or of the server is passed on, only the error code of a reply or
the class name of an exception.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from boto3.exceptions import Boto3Error
from botocore import exceptions as botocore

from recon_engine.aws.client import NO_SIGN_IN, NOT_SET_UP
from recon_engine.errors import (
    ConfigError,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)
from recon_engine.storage.base import translate_disk_errors
from recon_engine.storage.s3.remedies import MOMENTARY, REMEDIES, remedy_of


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Seconds before each attempt, the first included: half a minute in all.
PAUSES: Final = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 10.0)

_NOT_FOUND, _CONFLICT, _UNMET = 404, 409, 412
_UNAUTHORIZED, _FORBIDDEN = 401, 403


def try_conditional(conditional: Callable[[], object]) -> bool:
    """Whether the condition of a call held; 409 Conflict is retried.

    S3 answers 409 if another request changes the object at the same moment.
    """
    for attempt, pause in enumerate(PAUSES, 1):
        time.sleep(pause)
        try:
            conditional()
        except botocore.ClientError as error:
            if is_condition_unmet(error):
                return False
            if http_status(error) != _CONFLICT or attempt == len(PAUSES):
                raise
        else:
            return True
    return False


def http_status(error: botocore.ClientError) -> int:
    """The HTTP status of a reply; 0 if it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _server_code(error: botocore.ClientError) -> str:
    """The code of the server, if it looks like one; else the HTTP status."""
    code = error.response.get("Error", {}).get("Code") or ""
    return (
        code
        if re.fullmatch("[A-Za-z0-9.]{1,64}", code)
        else f"HTTP {http_status(error)}"
    )


def is_condition_unmet(error: botocore.ClientError) -> bool:
    """Whether an object does not exist, or does not have the required ETag."""
    return (
        # The bucket's absence is a 404 too, but it means a wrong location.
        http_status(error) in (_NOT_FOUND, _UNMET)
        and _server_code(error) != "NoSuchBucket"
    )


@contextmanager
def translate_s3_errors(name: str) -> Iterator[None]:
    """Raise an error of recon_engine.errors for one of botocore, without its text."""
    # The disk comes last: errors of TLS, of a proxy and of time are OSErrors too.
    with translate_disk_errors(name):
        try:
            yield
        except (botocore.ClientError, botocore.BotoCoreError, Boto3Error) as error:
            raise _translate_error(error, name) from None


def _translate_error(error: Exception, name: str) -> ReconError:
    """The error for an exception; upload_file wraps the real one as its context."""
    cause = error.__context__ if isinstance(error, Boto3Error) else error
    if isinstance(cause, botocore.ClientError):
        return _error_from_reply(_server_code(cause), http_status(cause), name)
    why = type(cause or error).__name__
    if isinstance(cause, NO_SIGN_IN):
        return _permission_denied(name, why)
    if isinstance(cause, NOT_SET_UP):
        return _configuration_error(name, why)
    return _storage_unavailable(name, why)


def _error_from_reply(code: str, http: int, name: str) -> ReconError:
    if code in _MISCONFIGURED:
        return _configuration_error(name, code)
    if code not in REMEDIES and _is_of_rights(code, http):
        return _permission_denied(name, code)
    remedy = remedy_of(code, http)
    if remedy is None:
        return _storage_unavailable(name, code)
    return remedy.kind(remedy.message, file=name, why=code, help=remedy.help)


def _is_of_rights(code: str, http: int) -> bool:
    if code in MOMENTARY:
        return False
    return http in (_UNAUTHORIZED, _FORBIDDEN) or code in _DENIED or code[:4] == "KMS."


def is_denied(error: botocore.ClientError) -> bool:
    """Whether a permission is missing; other refusals also have HTTP status 403."""
    return http_status(error) == _FORBIDDEN and _server_code(error) not in REMEDIES


def _permission_denied(name: str, why: str) -> PermissionDenied:
    return PermissionDenied(
        "S3 denies access",
        file=name,
        why=why,
        help="check the credentials, the policies of the role and of the bucket, and "
        "the permissions on the KMS key",
    )


def _configuration_error(name: str, why: str) -> ConfigError:
    return ConfigError(
        "S3 cannot be reached with this configuration",
        file=name,
        why=why,
        help="check the bucket, AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_S3 and the"
        " other AWS_* variables",
    )


def _storage_unavailable(name: str, why: str) -> StorageUnavailable:
    return StorageUnavailable(
        "S3 did not carry out the request",
        file=name,
        why=why,
        help="run again; if it fails again, check the network and the endpoint",
    )


_DENIED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_MISCONFIGURED = frozenset(
    {
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "NoSuchBucket",
        "PermanentRedirect",
    }
)
