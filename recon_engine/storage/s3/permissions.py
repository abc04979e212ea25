"""What these credentials may do in a place of S3, found out without changing it.

To write and to delete are tried under conditions that no object meets: S3 looks at the
rights first, so that an answer about the condition proves them.
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


ABSENT_KEY: Final = ".recon-doctor"  # no data file, whoever lists it
UNMET_ETAG: Final = '"00000000000000000000000000000000"'
EMPTY_CRC32: Final = "AAAAAA=="  # a bucket under Object Lock wants a checksum
_NO_SUCH_BYTE = 416


def may_list(place: S3Prefix) -> bool:
    """Whether the place may be listed."""
    return _is_allowed(place, lambda: _first_key(place))


def may_read(place: S3Prefix) -> bool:
    """Whether an object may be read, and decrypted; one that is there, if there is."""

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
    """Whether objects may be deleted, if their ETag is named."""
    return _is_allowed(
        place,
        lambda: place.client.delete_object(**_absent_object(place), IfMatch=UNMET_ETAG),
    )


def versioning_status(place: S3Prefix) -> str | None:
    """`Enabled` where the bucket keeps versions; None where that may not be asked."""
    told: list[str] = []

    def ask() -> None:
        reply = place.client.get_bucket_versioning(Bucket=place.bucket)
        told.append(reply.get("Status", "Off"))

    return told[0] if _is_allowed(place, ask) and told else None


def clock_difference(place: S3Prefix) -> timedelta | None:
    """How far the clock of S3 is ahead of that of this machine."""
    with translate_s3_errors(place.url):
        try:
            reply = place.client.head_object(**_absent_object(place))
        except botocore.ClientError as error:
            reply = error.response
    told = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not told:
        return None
    # HTTP knows one time zone, however servers spell it.
    return parsedate_to_datetime(told).replace(tzinfo=UTC) - datetime.now(UTC)


def _is_allowed(place: S3Prefix, call: Callable[[], object]) -> bool:
    """Whether a call was refused for want of a right; other refusals are errors."""
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
