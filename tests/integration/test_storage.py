"""One contract for every storage: a folder, S3 by moto, and S3 by SeaweedFS."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import random
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from recon_engine.errors import (
    ArchiveConflict,
    ConfigError,
    DiskFull,
    InputChanged,
    InternalError,
    PermissionDenied,
    ReconError,
    StorageUnavailable,
)
from recon_engine.model import SourceFile
from recon_engine.runtime.progress import ignore_advance
from recon_engine.storage import local
from recon_engine.storage.local import LocalFolder
from recon_engine.storage.s3.client import create_s3_client
from recon_engine.storage.s3.prefix import S3Prefix
from recon_engine.storage.urls import fetch_file, local_path, open_storage


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon_engine.storage.base import Storage

BUCKET = "contract"
WORKERS = 8
ODD_NAMES = (
    "plus+plus.csv",
    "a space.csv",
    "percent%2Bplus.csv",
    "nfc-\u00e9.csv",
    "nfd-e\u0301.csv",
    "\u65e5\u672c\u8a9e-\U0001f9ee.csv",
    "equals=and&and.csv",
    'it\'s "quoted".csv',
    "question?hash#.csv",
    "star*[1]{2}.csv",
    "less<more>;,:@$!~.csv",
    "tab\there.csv",
    "NO-EXTENSION",
)


class Lab(Protocol):
    """A kind of storage, and the producer's side of it, past the code under test."""

    def place(self, name: str) -> Storage: ...
    def write(self, place: Storage, name: str, data: bytes) -> None: ...
    def read(self, place: Storage, name: str) -> bytes | None: ...
    def drop(self, place: Storage, name: str) -> None: ...


@dataclass(frozen=True)
class Folders:
    root: Path

    def place(self, name: str) -> LocalFolder:
        (self.root / name).mkdir(exist_ok=True)
        return LocalFolder(self.root / name)

    def write(self, place: Storage, name: str, data: bytes) -> None:
        path = self.root / place.url.split("/")[-2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def read(self, place: Storage, name: str) -> bytes | None:
        path = self.root / place.url.split("/")[-2] / name
        return path.read_bytes() if path.exists() else None

    def drop(self, place: Storage, name: str) -> None:
        (self.root / place.url.split("/")[-2] / name).unlink()


@dataclass(frozen=True)
class Bucket:
    client: Any
    root: str

    def place(self, name: str) -> S3Prefix:
        return S3Prefix(BUCKET, f"{self.root}/{name}", self.client)

    def write(self, place: Storage, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=self._key(place, name), Body=data)

    def read(self, place: Storage, name: str) -> bytes | None:
        try:
            reply = self.client.get_object(Bucket=BUCKET, Key=self._key(place, name))
        except self.client.exceptions.NoSuchKey:
            return None
        with reply["Body"] as body:
            data: bytes = body.read()
        return data

    def drop(self, place: Storage, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=self._key(place, name))

    @staticmethod
    def _key(place: Storage, name: str) -> str:
        return f"{place.url.removeprefix(f's3://{BUCKET}/')}{name}"


@pytest.fixture(scope="session")
def moto_client(moto: str) -> Iterator[Any]:
    yield from _client(moto)


@pytest.fixture(scope="session")
def seaweed_client(seaweed: str) -> Iterator[Any]:
    yield from _client(seaweed)


def _client(endpoint: str) -> Iterator[Any]:
    client = create_s3_client(endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


_roots = count()


@pytest.fixture(params=["local", "no-links", "moto", "seaweed"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return _lab(request.param, request, tmp_path)


@pytest.fixture(params=["moto", "seaweed"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return _lab(request.param, request, tmp_path)


def _lab(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    if kind == "no-links":
        refuse_links(request.getfixturevalue("monkeypatch"), errno.EPERM)
    if kind in {"local", "no-links"}:
        (tmp_path / "lab").mkdir()
        return Folders(tmp_path / "lab")
    return Bucket(request.getfixturevalue(f"{kind}_client"), f"test-{next(_roots)}")


def refuse_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Make this machine's file systems such as have no hard links, like exFAT."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "folders").mkdir()
    return Folders(tmp_path / "folders")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir()
    return path


def given(lab: Lab, place: Storage, name: str, data: bytes) -> SourceFile:
    lab.write(place, name, data)
    return place.identify(next(file for file in place.files() if file.name == name))


def together(call: Callable[[int], object]) -> list[object]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(call, range(WORKERS)))


# --- files and identify


def test_files_are_listed_by_name_and_only_data_files(lab: Lab) -> None:
    place = lab.place("inbound")
    for name in ("b.csv", "a.csv", "C.csv", ".hidden", "_SUCCESS", "sub/nested.csv"):
        lab.write(place, name, name.encode())
    assert [(file.name, file.size) for file in place.files()] == [
        ("C.csv", 5),
        ("a.csv", 5),
        ("b.csv", 5),
    ]


def test_a_uri_is_the_url_of_the_place_and_the_name(lab: Lab) -> None:
    place = lab.place("inbound")
    lab.write(place, "a.csv", b"1")
    assert [file.uri for file in place.files()] == [f"{place.url}a.csv"]


def test_an_empty_place_has_no_files(lab: Lab) -> None:
    assert list(lab.place("inbound").files()) == []


def test_a_place_whose_name_begins_alike_is_another_place(lab: Lab) -> None:
    lab.write(lab.place("inbound2"), "evil.csv", b"1")
    assert list(lab.place("inbound").files()) == []


def test_what_is_ignored_is_logged_by_name(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    place = lab.place("inbound")
    for name in (".hidden", "_SUCCESS", "sub/nested.csv"):
        lab.write(place, name, b"content")
    with caplog.at_level(logging.INFO, "recon_engine.storage"):
        assert list(place.files()) == []
    said = [record.getMessage() for record in caplog.records]
    assert [text.split("'")[1] for text in sorted(said)] == [
        ".hidden",
        "_SUCCESS",
        "sub/",
    ]


def test_a_folder_marker_is_not_a_file(bucket: Lab) -> None:
    place = bucket.place("inbound")
    bucket.write(place, "", b"")
    bucket.write(place, "sub/", b"")
    assert list(place.files()) == []


def test_odd_names_survive_every_step(lab: Lab, spool: Path) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    for name in ODD_NAMES:
        lab.write(inbound, name, name.encode())
    files = [inbound.identify(file) for file in inbound.files()]
    assert [file.name for file in files] == sorted(ODD_NAMES)
    for file in files:
        inbound.fetch(file, spool / "copy", ignore_advance)
        assert (spool / "copy").read_bytes() == file.name.encode()
        done.archive(file, inbound, f"run/{file.name}")
        assert lab.read(done, f"run/{file.name}") == file.name.encode()
        assert inbound.remove(file)
    assert list(inbound.files()) == []


def test_a_backslash_is_part_of_a_name(
    folders: Folders, moto_client: Any, spool: Path
) -> None:
    # SeaweedFS turns it into a "/" by itself, S3 and moto do not.
    for lab in (folders, Bucket(moto_client, "backslash")):
        place = lab.place("inbound")
        file = given(lab, place, "back\\slash.csv", b"1")
        place.fetch(file, spool / "copy", ignore_advance)
        assert place.remove(file)


def test_a_file_that_is_gone_is_not_identified(lab: Lab) -> None:
    place = lab.place("inbound")
    with pytest.raises(InputChanged):
        place.identify(SourceFile(f"{place.url}a.csv", "a.csv", 1))


def test_a_file_that_is_not_what_its_etag_says_is_not_identified(lab: Lab) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"before")
    assert place.identify(file) == file
    lab.write(place, "a.csv", b"behind")
    with pytest.raises(InputChanged):
        place.identify(file)


# --- fetch


def test_exactly_the_identified_bytes_are_fetched(lab: Lab, spool: Path) -> None:
    data = random.Random(1).randbytes((33 << 20) + 5)
    place, amounts = lab.place("inbound"), list[int]()
    file = given(lab, place, "a.csv", data)
    place.fetch(file, spool / "a.csv", amounts.append)
    assert (spool / "a.csv").read_bytes() == data
    assert sum(amounts) == file.size == len(data)
    assert max(amounts) <= 8 << 20


def test_an_empty_file_is_fetched(lab: Lab, spool: Path) -> None:
    place = lab.place("inbound")
    place.fetch(given(lab, place, "a.csv", b""), spool / "a.csv", ignore_advance)
    assert (spool / "a.csv").read_bytes() == b""


@pytest.mark.parametrize("data", [b"before", b""])
def test_a_replaced_file_is_not_fetched(lab: Lab, spool: Path, data: bytes) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", data)
    lab.write(place, "a.csv", b"behind")
    with pytest.raises(InputChanged):
        place.fetch(file, spool / "a.csv", ignore_advance)
    assert list(spool.iterdir()) == []


def test_a_file_that_is_gone_is_not_fetched(lab: Lab, spool: Path) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"1")
    lab.drop(place, "a.csv")
    with pytest.raises(InputChanged):
        place.fetch(file, spool / "a.csv", ignore_advance)
    assert list(spool.iterdir()) == []


def test_a_fetch_that_is_interrupted_leaves_no_file(lab: Lab, spool: Path) -> None:
    def interrupt(_amount: int) -> None:
        raise KeyboardInterrupt

    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"x" * (20 << 20))
    with pytest.raises(KeyboardInterrupt):
        place.fetch(file, spool / "a.csv", interrupt)
    assert list(spool.iterdir()) == []


def test_a_file_that_was_not_identified_is_not_fetched(lab: Lab, spool: Path) -> None:
    place = lab.place("inbound")
    with pytest.raises(InternalError):
        place.fetch(SourceFile(place.url, "a.csv", 1), spool / "a.csv", ignore_advance)


# --- borrow


def test_exactly_the_identified_bytes_are_borrowed(lab: Lab, spool: Path) -> None:
    place, amounts = lab.place("inbound"), list[int]()
    file = given(lab, place, "a.csv", b"ID\n1\n")
    place.borrow(file, spool / "a.csv", amounts.append)
    assert (spool / "a.csv").read_bytes() == b"ID\n1\n"
    assert sum(amounts) == file.size


@pytest.mark.parametrize("data", [None, b"longer than before"])
def test_what_is_gone_or_longer_is_not_borrowed(
    lab: Lab, spool: Path, data: bytes | None
) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"before")
    if data is None:
        lab.drop(place, "a.csv")
    else:
        lab.write(place, "a.csv", data)
    with pytest.raises(InputChanged):
        place.borrow(file, spool / "a.csv", ignore_advance)
    assert list(spool.iterdir()) == []


def test_a_borrowed_file_of_a_folder_is_not_copied(
    folders: Folders, spool: Path
) -> None:
    place = folders.place("inbound")
    file = given(folders, place, "a.csv", b"1")
    path = local_path(place.url)
    (path / "b.csv").symlink_to(path / "a.csv")
    place.borrow(file, spool / "a.csv", ignore_advance)
    place.borrow(replace(file, name="b.csv"), spool / "b.csv", ignore_advance)
    assert (spool / "a.csv").samefile(path / "a.csv")
    assert (spool / "b.csv").samefile(path / "a.csv")
    assert not (spool / "b.csv").is_symlink()


def test_a_file_of_another_file_system_is_copied(folders: Folders) -> None:
    place = folders.place("inbound")
    file = given(folders, place, "a.csv", b"1")
    device = local_path(place.url).stat().st_dev
    elsewhere = next(
        folder
        for folder in ("/dev/shm", "/tmp", "/var/tmp")  # noqa: S108 - one of them
        if Path(folder).stat().st_dev != device
    )
    with tempfile.TemporaryDirectory(dir=elsewhere) as other:
        to = Path(other) / "a.csv"
        assert to.parent.stat().st_dev != device
        place.borrow(file, to, ignore_advance)
        assert to.read_bytes() == b"1"
        assert to.stat().st_nlink == 1


# --- put and put_once


def test_a_file_is_put_under_a_nested_name_and_replaced(lab: Lab, spool: Path) -> None:
    place = lab.place("out")
    for data in (b"first", b"second"):
        (spool / "s").write_bytes(data)
        url = place.put(spool / "s", "claims/run/summary.csv")
        assert url == f"{place.url}claims/run/summary.csv"
        assert lab.read(place, "claims/run/summary.csv") == data


def test_a_large_file_is_put_whole(lab: Lab, spool: Path) -> None:
    data = random.Random(2).randbytes(18 << 20)
    (spool / "s").write_bytes(data)
    place = lab.place("out")
    place.put(spool / "s", "large.parquet")
    assert lab.read(place, "large.parquet") == data


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "a//x", "", ".", "a/./x", "a\0x", "a/"]
)
def test_a_name_that_leaves_its_place_is_refused(
    lab: Lab, spool: Path, name: str
) -> None:
    (spool / "s").write_bytes(b"1")
    place = lab.place("out")
    with pytest.raises(ConfigError):
        place.put(spool / "s", name)
    with pytest.raises(ConfigError):
        place.put_once(b"1", name)


def test_bytes_are_put_once(lab: Lab) -> None:
    place = lab.place("out")
    assert place.put_once(b"first", "run/manifest.json") is True
    assert place.put_once(b"second", "run/manifest.json") is False
    assert place.put_once(b"first", "run/manifest.json") is False
    assert lab.read(place, "run/manifest.json") == b"first"


def test_one_of_many_writers_at_once_wins(lab: Lab) -> None:
    place = lab.place("out")
    for turn in range(3):
        name = f"run/manifest-{turn}.json"
        stored = together(lambda n, name=name: place.put_once(b"%d" % n, name))  # type: ignore[misc]
        assert stored.count(True) == 1
        assert lab.read(place, name) == b"%d" % stored.index(True)


# --- archive and remove


def test_an_archived_file_is_a_copy(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"content")
    assert done.archive(file, inbound, "run/a.csv") == f"{done.url}run/a.csv"
    assert lab.read(done, "run/a.csv") == lab.read(inbound, "a.csv") == b"content"


def test_an_archive_that_is_written_out_on_the_way_is_whole(lab: Lab) -> None:
    data = random.Random(3).randbytes((33 << 20) + 5)
    inbound, done = lab.place("inbound"), lab.place("done")
    done.archive(given(lab, inbound, "a.csv", data), inbound, "run/a.csv")
    assert lab.read(done, "run/a.csv") == data


def test_archiving_again_does_nothing_also_when_the_origin_is_gone(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"content")
    for _ in range(2):
        done.archive(file, inbound, "run/a.csv")
    inbound.remove(file)
    assert done.archive(file, inbound, "run/a.csv") == f"{done.url}run/a.csv"
    assert lab.read(done, "run/a.csv") == b"content"


@pytest.mark.parametrize("other", [b"CONTENT", b"longer content"])
def test_an_archive_never_overwrites_other_bytes(lab: Lab, other: bytes) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"content")
    lab.write(done, "run/a.csv", other)
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "run/a.csv")
    assert lab.read(done, "run/a.csv") == other
    assert lab.read(inbound, "a.csv") == b"content"


def test_a_copy_someone_else_made_is_accepted_by_its_bytes(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"content")
    lab.write(done, "run/a.csv", b"content")
    done.archive(file, inbound, "run/a.csv")


def test_a_replaced_origin_is_not_archived(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"before")
    lab.write(inbound, "a.csv", b"behind")
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "run/a.csv")
    assert lab.read(done, "run/a.csv") is None


def test_an_origin_that_is_gone_is_not_archived(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"before")
    lab.drop(inbound, "a.csv")
    with pytest.raises(ArchiveConflict):
        done.archive(file, inbound, "run/a.csv")


def test_an_input_that_another_worker_archives_first_is_archived(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"ID\n1\n")
    kind, step = (
        (S3Prefix, "head") if isinstance(done, S3Prefix) else (LocalFolder, "fetch")
    )
    original = getattr(kind, step)

    def overtaken(place: Any, *arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(kind, step, original)
        done.archive(file, inbound, "run/a.csv")
        inbound.remove(file)
        return original(place, *arguments, **named)

    monkeypatch.setattr(kind, step, overtaken)
    assert done.archive(file, inbound, "run/a.csv") == f"{done.url}run/a.csv"
    assert lab.read(done, "run/a.csv") == b"ID\n1\n"


def test_many_workers_archive_the_same_file_at_once(lab: Lab) -> None:
    inbound, done = lab.place("inbound"), lab.place("done")
    file = given(lab, inbound, "a.csv", b"content")
    urls = together(lambda _: done.archive(file, inbound, "run/a.csv"))
    assert urls == [f"{done.url}run/a.csv"] * WORKERS
    assert lab.read(done, "run/a.csv") == b"content"


def test_a_removed_file_is_gone_and_stays_gone(lab: Lab) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"1")
    assert place.remove(file) is True
    assert place.remove(file) is False
    assert lab.read(place, "a.csv") is None


def test_a_replaced_file_is_not_removed(lab: Lab) -> None:
    place = lab.place("inbound")
    file = given(lab, place, "a.csv", b"before")
    lab.write(place, "a.csv", b"behind")
    with pytest.raises(ArchiveConflict):
        place.remove(file)
    assert lab.read(place, "a.csv") == b"behind"


@pytest.mark.parametrize(
    ("code", "is_done"),
    [
        (errno.EPERM, True),
        (errno.EOPNOTSUPP, True),
        (errno.ENOSYS, True),
        (errno.ENOSPC, False),
    ],
)
def test_a_name_is_taken_at_once_also_without_links(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, code: int, *, is_done: bool
) -> None:
    inbound, done = folders.place("inbound"), folders.place("done")
    file = given(folders, inbound, "a.csv", b"content")
    refuse_links(monkeypatch, code)
    seen = []

    def die(part: Path, target: Path) -> None:
        seen.append((part.read_bytes(), os.path.lexists(target)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt if is_done else DiskFull):
            done.archive(file, inbound, "run/a.csv")
    # Whole before it has its name: nobody ever reads a part of it.
    assert seen == [(b"content", False)] * is_done
    assert folders.read(done, "run/a.csv") is None
    if is_done:
        done.archive(file, inbound, "run/a.csv")
        assert folders.read(done, "run/a.csv") == b"content"
        assert [path.name for path in (folders.root / "done/run").iterdir()] == [
            "a.csv"
        ]


def test_without_links_a_name_is_not_taken_between_a_look_and_a_rename(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = folders.place("done")
    sources = [folders.place(name) for name in ("first", "second")]
    files = [
        given(folders, place, "a.csv", place.url[-7:].encode()) for place in sources
    ]
    refuse_links(monkeypatch, errno.EPERM)
    looked, overtaken = Event(), Event()
    real = Path.rename

    def rename(part: Path, target: Path) -> Path:
        if not looked.is_set():
            looked.set()
            # With the lock, the second worker does not end before this one.
            overtaken.wait(0.5)
        return real(part, target)

    monkeypatch.setattr(Path, "rename", rename)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(done.archive, files[0], sources[0], "run/a.csv")
        assert looked.wait(60)
        second = pool.submit(done.archive, files[1], sources[1], "run/a.csv")
        second.add_done_callback(lambda _: overtaken.set())
        assert first.result() == f"{done.url}run/a.csv"
        with pytest.raises(ArchiveConflict):
            second.result()
    assert folders.read(done, "run/a.csv") == folders.read(sources[0], "a.csv")


def test_a_lock_that_is_refused_is_logged(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on NFS, which locks no folder."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    inbound, done = folders.place("inbound"), folders.place("done")
    file = given(folders, inbound, "a.csv", b"content")
    refuse_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr(fcntl, "flock", refuse)
    done.archive(file, inbound, "run/a.csv")
    assert folders.read(done, "run/a.csv") == b"content"
    [record] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == "folder_not_locked"
    facts = record.__dict__["folder"], record.__dict__["reason"]
    assert facts == (f"{done.url}run", "Bad file descriptor")


# --- between a folder and a bucket


@pytest.mark.parametrize("outward", [True, False], ids=["to-s3", "to-folder"])
class TestBetweenKinds:
    def test_a_copy_is_taken_and_needs_its_origin_only_once(
        self, bucket: Lab, folders: Folders, *, outward: bool
    ) -> None:
        here, there = (folders, bucket) if outward else (bucket, folders)
        inbound, done = here.place("inbound"), there.place("done")
        file = given(here, inbound, "a.csv", b"content")
        done.archive(file, inbound, "run/a.csv")
        assert there.read(done, "run/a.csv") == b"content"
        assert inbound.remove(file)
        assert done.archive(file, inbound, "run/a.csv") == f"{done.url}run/a.csv"

    def test_other_bytes_are_a_conflict(
        self, bucket: Lab, folders: Folders, *, outward: bool
    ) -> None:
        here, there = (folders, bucket) if outward else (bucket, folders)
        inbound, done = here.place("inbound"), there.place("done")
        file = given(here, inbound, "a.csv", b"content")
        there.write(done, "run/a.csv", b"CONTENT")
        with pytest.raises(ArchiveConflict):
            done.archive(file, inbound, "run/a.csv")
        assert there.read(done, "run/a.csv") == b"CONTENT"

    def test_a_replaced_origin_is_a_conflict(
        self, bucket: Lab, folders: Folders, *, outward: bool
    ) -> None:
        here, there = (folders, bucket) if outward else (bucket, folders)
        inbound, done = here.place("inbound"), there.place("done")
        file = given(here, inbound, "a.csv", b"before")
        here.write(inbound, "a.csv", b"behind")
        with pytest.raises(ArchiveConflict):
            done.archive(file, inbound, "run/a.csv")
        assert there.read(done, "run/a.csv") is None


# --- local folders only


def test_the_etag_of_a_local_file_is_its_sha256(folders: Folders) -> None:
    file = given(folders, folders.place("in"), "a.csv", b"content")
    assert file.etag == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert (file.size, file.version) == (7, None)


@pytest.mark.parametrize("name", ["nowhere", "file.csv"])
def test_a_missing_inbound_folder_says_how_to_create_it(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "file.csv").write_bytes(b"1")
    with pytest.raises(ConfigError, match=name) as caught:
        list(LocalFolder(tmp_path / name).files())
    assert caught.value.help


def test_missing_folders_for_results_are_made(tmp_path: Path, spool: Path) -> None:
    (spool / "s").write_bytes(b"1")
    place = LocalFolder(tmp_path / "not" / "yet")
    place.put(spool / "s", "a/b.csv")
    assert (tmp_path / "not/yet/a/b.csv").read_bytes() == b"1"


def test_each_new_folder_is_on_disk_before_a_file_is_in_it(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input is removed next, and may be in a folder that was there before."""
    synced = list[Path]()
    monkeypatch.setattr(local, "_sync_to_disk", synced.append)
    (spool / "s").write_bytes(b"1")
    LocalFolder(tmp_path / "not" / "yet").put(spool / "s", "a/b.csv")
    above = [tmp_path, tmp_path / "not", tmp_path / "not/yet"]
    assert synced[:3] == above
    assert synced[-2:] == [tmp_path / "not/yet/a", tmp_path / "not/yet"]


def test_what_is_neither_file_nor_folder_is_not_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert list(LocalFolder(tmp_path).files()) == []


def test_a_link_is_listed_as_a_link_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID\n")
    for name, target in (("b.csv", "a.csv"), ("c.csv", "nothing"), ("d.csv", ".")):
        (tmp_path / name).symlink_to(tmp_path / target)
    listed = LocalFolder(tmp_path).files()
    assert {file.name: file.is_link for file in listed} == {
        "a.csv": False, "b.csv": True, "c.csv": True, "d.csv": True,
    }  # fmt: skip


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path, spool: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(spool)
    with pytest.raises(ConfigError):
        LocalFolder(tmp_path / "out").put_once(b"1", "link/escaped")
    assert list(spool.iterdir()) == []


def test_a_folder_has_one_url_by_whatever_way_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    ways = (tmp_path / "real", tmp_path / "link", tmp_path / "real" / ".." / "real")
    assert len({LocalFolder(way).url for way in ways}) == 1


def test_a_put_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = LocalFolder(tmp_path / "out")
    place.put_once(b"old", "a.csv")
    (spool / "s").write_bytes(b"new")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(DiskFull):
        place.put(spool / "s", "a.csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.csv"]
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"old"


def failing(number: int) -> Callable[[object], None]:
    def fail(_descriptor: object) -> None:
        raise OSError(number, "foreign text", "a/foreign/name")

    return fail


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EACCES, PermissionDenied),
        (errno.EPERM, PermissionDenied),
        (errno.EROFS, PermissionDenied),
        (errno.EIO, StorageUnavailable),
        (errno.ESTALE, StorageUnavailable),
    ],
)
def test_an_error_of_the_disk_has_a_remedy_and_no_foreign_text(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[ReconError],
) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    with pytest.raises(kind) as caught:
        LocalFolder(tmp_path).put_once(b"1", "a.csv")
    assert caught.value.why == errno.errorcode[number]
    assert caught.value.help
    assert "foreign" not in "".join(traceback.format_exception(caught.value)[-1:])
    assert caught.value.__suppress_context__


def test_a_file_touched_while_it_is_verified_is_not_removed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folders.place("in")
    file = given(folders, place, "a.csv", b"content")
    real = hashlib.file_digest

    def digest_then_replace(*args: Any) -> object:
        found = real(*args)
        folders.write(place, "new", b"content of tomorrow")
        (folders.root / "in" / "new").replace(folders.root / "in" / "a.csv")
        return found

    monkeypatch.setattr(hashlib, "file_digest", digest_then_replace)
    with pytest.raises(ArchiveConflict):
        place.remove(file)
    assert folders.read(place, "a.csv") == b"content of tomorrow"


# --- URLs


def test_a_path_and_a_file_url_name_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a folder, 100% é"
    assert open_storage(str(folder)) == open_storage(folder.as_uri())
    assert open_storage(str(folder)) == LocalFolder(folder)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nul\0byte",
        "s3:",
        "s3://",
        "s3:///prefix",
        "s3:bucket/prefix",
        "s3://ab/too-short",
        "s3://KEY:secret@bucket/prefix",
        "file:relative",
        "file://",
        "file://elsewhere/folder",
        "file:///folder?query",
        "s3a://bucket/prefix",
        "S3://bucket/prefix",
        "https://user:secret@host/folder",
    ],
)
def test_a_url_that_names_no_place_is_refused_with_help(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(url)
    assert caught.value.help
    assert "secret" not in str(caught.value)


def test_a_misspelt_scheme_is_suggested() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean s3\?"):
        open_storage("s3a://bucket/prefix")


def test_an_s3_url_is_taken_as_it_is(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    place = open_storage("s3://bucket/a b/%2B?x#y")
    assert isinstance(place, S3Prefix)
    assert place.url == "s3://bucket/a b/%2B?x#y/"
    assert open_storage("s3://bucket").url == "s3://bucket/"


def test_one_file_is_fetched_by_its_url(
    lab: Lab, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(lab, Bucket):
        endpoint = lab.client.meta.endpoint_url
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    place, amounts = lab.place("inbound"), list[int]()
    lab.write(place, "a+b.csv", b"content")
    path = fetch_file(f"{place.url}a+b.csv", spool / "new", amounts.append)
    assert path == spool / "new" / "a+b.csv"
    assert path.read_bytes() == b"content"
    assert sum(amounts) == 7


def test_a_url_of_no_file_is_a_mistake_of_the_command(
    lab: Lab, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(lab, Bucket):
        endpoint = lab.client.meta.endpoint_url
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(ConfigError, match="the file does not exist"):
        fetch_file(f"{lab.place('inbound').url}a.csv", spool)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/a/.."])
def test_a_url_of_a_folder_is_not_one_file(
    moto: str, monkeypatch: pytest.MonkeyPatch, spool: Path, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    with pytest.raises(ConfigError):
        fetch_file(url, spool)


def test_local_work_never_imports_boto3(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1")
    program = """
import sys
from pathlib import Path
from recon_engine.storage.urls import fetch_file, open_storage
folder = Path(sys.argv[1])
assert len(list(open_storage(str(folder)).files())) == 1
fetch_file(str(folder / "a.csv"), folder / "copy")
cloud = {"boto3", "botocore", "recon_engine.storage.s3.prefix"}
sys.exit(bool(cloud & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0


def test_a_known_etag_of_another_storage_never_matches_by_chance(
    folders: Folders, spool: Path
) -> None:
    place = folders.place("in")
    file = given(folders, place, "a.csv", b"content")
    with pytest.raises(InputChanged):
        place.fetch(
            replace(file, etag='"not-a-digest"'), spool / "a.csv", ignore_advance
        )
