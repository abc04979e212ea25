"""What is in a bucket, read as often as a test asks and fetched once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Contents:
    """The objects of a bucket; each version of one is fetched the first time only."""

    client: Any
    bucket: str
    _fetched: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def below(self, prefix: str) -> dict[str, bytes]:
        """All that a listing shows there now, by the rest of its key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        listed = [item for page in pages for item in page.get("Contents", ())]
        found = {}
        for key, etag in ((item["Key"], item["ETag"]) for item in listed):
            # A worker may be taking files away meanwhile.
            with suppress(self.client.exceptions.NoSuchKey):
                found[key.removeprefix(prefix)] = self._fetch(key, etag)
        return found

    def _fetch(self, key: str, etag: str) -> bytes:
        if (key, etag) in self._fetched:
            return self._fetched[key, etag]
        reply = self.client.get_object(Bucket=self.bucket, Key=key)
        with reply["Body"] as body:
            data: bytes = body.read()
        # It may be newer than the listing.
        self._fetched[key, reply["ETag"]] = data
        return data
