"""What to do about each answer of S3 that the same request would meet again.

Rights and the sign-in have one remedy for all, and are not here; nor is what passes by
itself: throttling, time-outs and errors of the server.
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
    "the object is archived, and S3 does not give its bytes before it is restored",
    "aws s3api restore-object, wait until it is restored, then start the run; a "
    "lifecycle rule should not archive what is in inbound",
)
KEY_OUT_OF_USE: Final = Remedy(
    PermissionDenied,
    "the KMS key of the object is disabled, deleted or not there",
    "enable the key, or name another by RECON_SSE_KMS_KEY for what is written",
)
DAMAGED: Final = Remedy(
    StorageUnavailable,
    "the bytes that arrived at S3 are not those that were sent",
    "look for a proxy that changes requests, or faulty memory",
)
OTHER_WRITER: Final = Remedy(
    StorageUnavailable,
    "another request changes the same object or bucket",
    "find the other writer in this place and wait for its end",
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
        "let the machine follow a time service",
    ),
    "KeyTooLongError": Remedy(
        ConfigError,
        "the key of the object is longer than 1,024 bytes",
        "give the place a shorter prefix, or the file a shorter name",
    ),
    "NoSuchKey": Remedy(
        InputChanged,
        "the object is no longer there",
        "find out who removed it, and deliver it anew",
    ),
    "NoSuchVersion": Remedy(
        InputChanged,
        "this version of the object is no longer there",
        "find out who removed it, and deliver it anew",
    ),
    "NoSuchUpload": Remedy(
        StorageUnavailable,
        "the parts of an upload under way were removed",
        "let AbortIncompleteMultipartUpload wait for a day or more",
    ),
    "InvalidRequest": Remedy(
        ConfigError,
        "S3 does not accept the request for this object or bucket",
        "an object under SSE-C cannot be read: encrypt it by KMS; compare the bucket's "
        "encryption and Object Lock with operations.md",
    ),
    "InvalidArgument": Remedy(
        ConfigError,
        "S3 does not accept an argument of the request",
        "check RECON_SSE_KMS_KEY (signature version 4, this region), and that the "
        "endpoint is S3",
    ),
    "MethodNotAllowed": Remedy(
        ConfigError,
        "S3 does not allow this operation on the object",
        "check that the endpoint is S3, and that the version is no delete marker",
    ),
    "NotImplemented": Remedy(
        ConfigError,
        "the storage does not know conditional requests, which a run needs",
        "use S3, or a storage that honours If-Match and If-None-Match",
    ),
}
# Of 4xx these pass by themselves, and are refusals of the moment.
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
    "the list of error codes of S3 says what this one asks for; check the bucket's "
    "policy and settings, the KMS key and the endpoint",
)


def remedy_of(code: str, http: int) -> Remedy | None:
    """The remedy for an answer; None where it is of the moment, or of the server."""
    if code in REMEDIES:
        return REMEDIES[code]
    refused = 400 <= http < 500 and code not in MOMENTARY  # noqa: PLR2004 - HTTP 4xx
    return UNKNOWN if refused else None
