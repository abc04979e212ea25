"""Find out what the credentials may do in an S3 prefix, without changing anything.

Writes and deletes are tried with a condition that no object meets. S3 checks rights
before conditions, so a reply about the condition proves the permission.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from botocore import exceptions as botocore

from recon_engine.storage.s3.errors import (
    http_status,
    is_condition_unmet,
    is_denied,
    translate_s3_errors,
)


if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from recon_engine.storage.s3.prefix import S3Prefix


ABSENT_KEY: Final = ".recon-doctor"  # names that begin with "." are not data files
UNMET_ETAG: Final = '"00000000000000000000000000000000"'
EMPTY_CRC32: Final = "AAAAAA=="  # a bucket with Object Lock requires a checksum
# The reply for the first byte of an empty object: reading it was allowed.
_NO_SUCH_BYTE = 416


def may_list(place: S3Prefix) -> bool:
    """Whether the place may be listed."""
    return _is_allowed(place, lambda: _first_key(place))


def may_read(place: S3Prefix) -> bool:
    """Whether an object may be read and decrypted: the first in the place, if any."""

    def read_a_byte() -> None:
        at = {
            "Bucket": place.bucket,
            "Key": _first_key(place) or _absent_object(place)["Key"],
        }
        place.client.get_object(**at, Range="bytes=0-0")["Body"].close()

    return _is_allowed(place, read_a_byte)


def may_write(place: S3Prefix) -> bool:
    """Whether objects may be written."""
    return _is_allowed(
        place,
        lambda: place.client.put_object(
            **_absent_object(place),
            Body=b"",
            ChecksumCRC32=EMPTY_CRC32,
            IfMatch=UNMET_ETAG,
        ),
    )


def may_remove(place: S3Prefix) -> bool:
    """Whether objects may be deleted, conditional on their ETag."""
    return _is_allowed(
        place,
        lambda: place.client.delete_object(**_absent_object(place), IfMatch=UNMET_ETAG),
    )


def versioning_status(place: S3Prefix) -> str | None:
    """`Enabled` if the bucket keeps versions; None if it may not be read."""
    statuses: list[str] = []

    def read_status() -> None:
        reply = place.client.get_bucket_versioning(Bucket=place.bucket)
        statuses.append(reply.get("Status", "Off"))

    return statuses[0] if _is_allowed(place, read_status) and statuses else None


def clock_difference(place: S3Prefix) -> timedelta | None:
    """How far the clock of S3 is ahead of this machine's; None if it is unknown."""
    with translate_s3_errors(place.url):
        try:
            reply = place.client.head_object(**_absent_object(place))
        except botocore.ClientError as error:
            reply = error.response
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not date:
        return None
    # HTTP dates are always in UTC, however servers spell the time zone.
    return parsedate_to_datetime(date).replace(tzinfo=UTC) - datetime.now(UTC)


def _is_allowed(place: S3Prefix, call: Callable[[], object]) -> bool:
    """False if a call fails for a missing permission; other failures are errors."""
    with translate_s3_errors(place.url):
        try:
            call()
        except botocore.ClientError as error:
            if is_denied(error):
                return False
            if not is_condition_unmet(error) and http_status(error) != _NO_SUCH_BYTE:
                raise
    return True


def _first_key(place: S3Prefix) -> str | None:
    page = place.client.list_objects_v2(
        Bucket=place.bucket, Prefix=place.prefix, MaxKeys=1
    )
    contents = page.get("Contents", ())
    return contents[0]["Key"] if contents else None


def _absent_object(place: S3Prefix) -> dict[str, str]:
    return {"Bucket": place.bucket, "Key": f"{place.prefix}{ABSENT_KEY}"}
