"""The remedy for each error code of S3 that a retry would not fix.

Two kinds are not here. Missing permissions and failed sign-ins share one remedy
(`errors`). Throttling, timeouts and server errors pass by themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from recon_engine.errors import (
    ConfigError,
    InputChanged,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)


class Remedy(NamedTuple):
    """The error for a code of S3."""

    kind: type[ReconError]
    message: str
    help: str


ARCHIVED: Final = Remedy(
    ConfigError,
    "the object is archived, and S3 cannot read it until it is restored",
    "run aws s3api restore-object, wait for it to finish, then start the run; no "
    "lifecycle rule should archive objects in inbound",
)
KEY_OUT_OF_USE: Final = Remedy(
    PermissionDenied,
    "the KMS key of the object is disabled, deleted or does not exist",
    "enable the key; for objects that are written, RECON_SSE_KMS_KEY can name another",
)
DAMAGED: Final = Remedy(
    StorageUnavailable,
    "S3 received other bytes than were sent",
    "check for a proxy that changes requests, or for faulty memory",
)
OTHER_WRITER: Final = Remedy(
    StorageUnavailable,
    "another request is changing the same object or bucket",
    "find the other writer in this location and wait for it to end",
)
TOO_LARGE: Final = Remedy(
    ConfigError,
    "the object is too large for this storage",
    "compress the file (.csv.gz, .csv.zst), or deliver it in two datasets",
)
REMEDIES: Final[dict[str, Remedy]] = {
    "InvalidObjectState": ARCHIVED,
    "ObjectNotInActiveTierError": ARCHIVED,
    "KMS.DisabledException": KEY_OUT_OF_USE,
    "KMS.InvalidStateException": KEY_OUT_OF_USE,
    "KMS.KMSInvalidStateException": KEY_OUT_OF_USE,
    "KMS.NotFoundException": KEY_OUT_OF_USE,
    "BadDigest": DAMAGED,
    "InvalidDigest": DAMAGED,
    "XAmzContentChecksumMismatch": DAMAGED,
    "XAmzContentSHA256Mismatch": DAMAGED,
    "ConditionalRequestConflict": OTHER_WRITER,
    "OperationAborted": OTHER_WRITER,
    "EntityTooLarge": TOO_LARGE,
    "RequestTimeTooSkewed": Remedy(
        PermissionDenied,
        "the clock of this machine differs too much from that of S3",
        "synchronize the clock with a time service (NTP)",
    ),
    "KeyTooLongError": Remedy(
        ConfigError,
        "the key of the object is longer than 1,024 bytes",
        "use a shorter prefix or a shorter file name",
    ),
    "NoSuchKey": Remedy(
        InputChanged,
        "the object no longer exists",
        "find out who removed it, and deliver it again",
    ),
    "NoSuchVersion": Remedy(
        InputChanged,
        "this version of the object no longer exists",
        "find out who removed it, and deliver it again",
    ),
    "NoSuchUpload": Remedy(
        StorageUnavailable,
        "the parts of an upload in progress were removed",
        "set AbortIncompleteMultipartUpload of the bucket to one day or more",
    ),
    "InvalidRequest": Remedy(
        ConfigError,
        "S3 does not accept the request for this object or bucket",
        "objects encrypted with SSE-C cannot be read: use KMS; compare the bucket's "
        "encryption and Object Lock with operations.md",
    ),
    "InvalidArgument": Remedy(
        ConfigError,
        "S3 does not accept an argument of the request",
        "check that RECON_SSE_KMS_KEY is a key of this region, and that the endpoint "
        "is S3",
    ),
    "MethodNotAllowed": Remedy(
        ConfigError,
        "S3 does not allow this operation on the object",
        "check that the endpoint is S3, and that the version is not a delete marker",
    ),
    "NotImplemented": Remedy(
        ConfigError,
        "the storage does not support conditional requests, which a run needs",
        "use S3, or a storage that supports If-Match and If-None-Match",
    ),
}
# These errors have a 4xx status but pass by themselves, so they are retried.
MOMENTARY: Final = frozenset(
    {
        "KMS.ThrottlingException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "HTTP 408",
        "HTTP 429",
        "408",
        "429",
    }
)
UNKNOWN: Final = Remedy(
    ConfigError,
    "S3 refuses the request",
    "look up the error code in the S3 documentation; check the bucket's policy and "
    "settings, the KMS key and the endpoint",
)


def remedy_of(code: str, http: int) -> Remedy | None:
    """The remedy for a reply; None for throttling and server errors, which pass."""
    if code in REMEDIES:
        return REMEDIES[code]
    refused = 400 <= http < 500 and code not in MOMENTARY  # noqa: PLR2004 - HTTP 4xx
    return UNKNOWN if refused else None
