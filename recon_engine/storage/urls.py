"""Open a storage by URL: a local folder, or a prefix of an S3 bucket."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from recon_engine.errors import ConfigError, InputChanged
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SourceFile
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.progress import ignore_advance
from recon_engine.storage.base import (
    Advance,
    Storage,
    check_name,
    translate_disk_errors,
)
from recon_engine.storage.local import LocalFolder
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Sequence


_HOW_TO_NAME = "use a folder, file:///a/folder or s3://bucket/prefix"

_SCHEMES = ("s3", "file")

# `s3:` and `file:` are schemes even without a slash, so that `s3:bucket` is an error.
# Any other word needs `:/`, because a file name may contain a colon.
_URL = lazy_pattern("(s3|file)(?=:)|[A-Za-z][A-Za-z0-9+.-]*(?=:/)")

# Up to 255 characters, and capitals: old buckets of us-east-1 have such names.
_BUCKET = lazy_pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")


def open_storage(url: str) -> Storage:
    """The storage that a URL or a path names; ConfigError for a malformed one."""
    if _scheme_of(url) == "s3":
        # Lazy: a local run never loads boto3.
        from recon_engine.storage.s3.prefix import open_prefix

        return open_prefix(*_parse_s3_url(url))
    return LocalFolder(local_path(url))


def fetch_file(url: str, into: Path, advance: Advance = ignore_advance) -> Path:
    """Copy the one file or object a URL names into a local folder."""
    place, name = _split_file_url(url)
    try:
        file = place.identify(SourceFile(uri=url, name=name, size=0))
    # `identify` reports a file that is gone as changed. Here nothing was listed before,
    # so the name is wrong.
    except InputChanged:
        raise ConfigError(
            f"the file does not exist in {place.url}",
            file=name,
            help="check the spelling; names are case-sensitive",
        ) from None
    with translate_disk_errors(name):
        into.mkdir(parents=True, exist_ok=True)
    place.fetch(file, into / name, advance)
    return into / name


def list_objects(url: str) -> tuple[Storage, list[SourceFile]] | None:
    """The objects of an s3 URL that names several; None for a URL of one object.

    A prefix ends in "/". The last part of a pattern has `*` or `?`, and is no key.
    """
    place, name = _split_url(url)
    if not name:
        return place, list(place.files())
    if "*" not in name and "?" not in name:
        return None
    every = list(place.files())
    if any(file.name == name for file in every):
        return None
    return place, [file for file in every if fnmatchcase(file.name, name)]


def fetch_objects(
    place: Storage, files: Sequence[SourceFile], into: Path, advance: Advance
) -> list[Path]:
    """Copy listed files into a local folder, each under its number."""
    with translate_disk_errors(into.name):
        into.mkdir(parents=True, exist_ok=True)

    def fetch(numbered: tuple[int, SourceFile]) -> Path:
        number, file = numbered
        place.borrow(file, into / str(number), advance)
        return into / str(number)

    return list(map_ordered(fetch, enumerate(files)))


def _split_url(url: str) -> tuple[Storage, str]:
    """The place of an s3 URL, and what is behind its last "/"."""
    place, _, name = url.rpartition("/")
    return open_storage(f"{place}/"), name


def _split_file_url(url: str) -> tuple[Storage, str]:
    if _scheme_of(url) == "s3":
        storage, name = _split_url(url)
        return storage, check_name(name)
    path = local_path(url)
    return LocalFolder(path.parent), check_name(path.name)


def _scheme_of(url: str) -> str | None:
    """The scheme of a URL; None for a path, which may contain a colon."""
    found = _URL.match(url)
    if found is None or found[0] in _SCHEMES:
        return found and found[0]
    # Only the scheme is shown: what follows may hold a password or a signature.
    raise ConfigError(
        f"unsupported URL scheme: {found[0]}{did_you_mean(found[0], _SCHEMES)}",
        help=_HOW_TO_NAME,
    )


def _parse_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix, without URL decoding: a key may contain any character."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ConfigError("the s3 URL does not name a bucket", help=_HOW_TO_NAME)
    return bucket, prefix


def local_path(url: str) -> Path:
    """The path that a path or a file URL names; ConfigError for other kinds."""
    path = url if _scheme_of(url) is None else _parse_file_url(url)
    if not path or "\0" in path:
        raise ConfigError("the path does not name a folder", help=_HOW_TO_NAME)
    return Path(path)


def _parse_file_url(url: str) -> str:
    host, slash, path = url.removeprefix("file://").partition("/")
    here = url.startswith("file://") and slash and host in ("", "localhost")
    if not here or "?" in path or "#" in path:
        raise ConfigError(
            "the file URL does not name a folder on this machine",
            help=f'{_HOW_TO_NAME}; in a URL write "?" as %3F and "#" as %23',
        )
    # Bytes, not text: a file name on disk need not be UTF-8.
    return f"/{os.fsdecode(unquote_to_bytes(path))}"
