"""Files that a command writes: whole or not at all, and in the place that is named."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support.fault_table import small_disk
from support.program import recon, recon_program

from recon_engine import diff
from recon_engine.drafts.config_file_text import write_config_text
from recon_engine.errors import DiskFull


if TYPE_CHECKING:
    from pathlib import Path


ROWS = 200
DIFF = ("diff", "old.csv", "new.csv", "-k", "ID", "--on-bad-row", "quarantine")
SUFFIXES = (".html", ".json", ".md", ".csv", ".parquet", ".xlsx", ".xml")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files whose cells all differ, and repeat nowhere."""
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, factor in zip(paths, (7, 11), strict=True):
        cells = (os.urandom(40).hex() for _ in range(ROWS * 2))
        rows = (f"{at},{factor * at},{next(cells)}\n" for at in range(ROWS))
        path.write_text("ID,PAID,NOTE\n" + "".join(rows) + "9,9\n")
    return paths


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))


def compare(pair: tuple[Path, Path], *options: str | Path) -> tuple[int, str]:
    ended = recon(*DIFF, *options, cwd=pair[0].parent)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("kind", [*SUFFIXES, "--rejects"])
def test_a_full_disk_keeps_the_file_that_is_there(
    pair: tuple[Path, Path], kind: str
) -> None:
    with small_disk("64k") as folder:
        path = folder / f"report{kind if kind in SUFFIXES else '.csv'}"
        path.write_text("of the day before\n")
        fill(folder / "other")
        options = ("--rejects", path) if kind == "--rejects" else ("-o", path)
        code, said = compare(pair, *options)
        assert (code, "DISK_FULL" in said) == (4, True)
        assert path.read_text() == "of the day before\n"
        assert {each.name for each in folder.iterdir()} == {path.name, "other"}


def test_a_full_disk_keeps_what_python_and_init_would_replace(
    pair: tuple[Path, Path],
) -> None:
    result = diff(*pair, keys="ID", on_bad_row="quarantine")
    with small_disk("4k") as folder:
        path = folder / "report.html"
        path.write_text("of the day before\n")
        with pytest.raises(OSError, match="No space"):
            result.to_html(path)
        with pytest.raises(DiskFull):
            write_config_text(path, "# " + 10_000 * "x")
        assert path.read_text() == "of the day before\n"
        assert [*folder.iterdir()] == [path]


def test_a_written_file_is_where_the_path_leads(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    compare(pair, "-o", tmp_path / "plain.md")
    text = (tmp_path / "plain.md").read_text()
    assert stat.S_IMODE((tmp_path / "plain.md").stat().st_mode) == 0o666 & ~umask()
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real.md"
    real.write_text("of the day before\n")
    real.chmod(0o640)
    os.link(real, tmp_path / "second.md")
    (tmp_path / "link.md").symlink_to("there/real.md")
    (tmp_path / "dangling.md").symlink_to("there/new.md")
    for name in ("link.md", "dangling.md"):
        assert compare(pair, "-o", tmp_path / name) == (1, "")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == text
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    # A second name of the file has the new text, too.
    assert (tmp_path / "second.md").read_text() == text
    real.unlink()
    assert compare(pair, "-o", tmp_path / "second.md") == (1, "")
    assert stat.S_IMODE((tmp_path / "second.md").stat().st_mode) == 0o640


def umask() -> int:
    """The mask of the modes of new files."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_pipe_and_a_stream_are_written_to(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    compare(pair, "-o", tmp_path / "plain.md")
    text = (tmp_path / "plain.md").read_text()
    pipe = tmp_path / "pipe.md"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert compare(pair, "-o", pipe) == (1, "")
    reader.join(60)
    assert (read, pipe.is_fifo()) == ([text], True)
    (tmp_path / "stream.md").symlink_to("/dev/stdout")
    ended = recon_program(*DIFF, "-f", "json", "-o", "stream.md", cwd=tmp_path)
    assert text in ended.stdout
    # The file that a shell has opened is written to, and not replaced.
    with (tmp_path / "written").open("w+") as written:
        words = [sys.executable, "-m", "recon_cli", *DIFF, "-q", "-o", "stream.md"]
        run = subprocess.run(words, cwd=tmp_path, stdout=written, check=False)
        assert run.returncode == 1
        assert text in written.read()


def test_a_path_that_no_file_can_have_is_an_error_of_usage(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "loop.md").symlink_to("loop.md")
    for name in ("loop.md", 300 * "x" + ".md"):
        code, said = compare(pair, "-o", tmp_path / name)
        assert (code, "the file cannot be written" in said) == (2, True)


@pytest.fixture
def files_in_use(tmp_path: Path) -> Path:
    """A folder with files that commands read, under several names.

    Its own name would be a pattern.
    """
    tmp_path /= "a [x]"
    tmp_path.mkdir()
    texts = {
        "old.csv": "ID,P\n1,5\n2,6\n",
        "new.csv": "ID,P\n1,5\n2,7\n",
        "parts/a.csv": "ID,P\n1,5\n",
        "parts/b.csv": "ID,P\n2,6\n",
        "in/old.csv": "ID,P\n1,5\n",
        "in/upper.CSV": "ID,P\n1,5\n",
        "in/NEWSYSTEM.csv": "ID,P\n1,5\n",
        "codes.csv": "OLD,NEW\n5,5\n6,7\n",
        "names.csv": "ID,1,2\n",
        "map.csv": "P,P\n",
        "own.toml": 'keys = ["ID"]\n',
        "mapped.toml": 'keys = ["ID"]\nmap = "@map.csv"\n',
        "laid.toml": 'keys = ["ID"]\n[old]\nfixed = "@names.csv"\n',
        "sets.toml": 'keys = ["ID"]\n[dataset.a]\n[dataset.b]\nmap = " @map.csv"\n',
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "second.csv").hardlink_to(tmp_path / "new.csv")
    (tmp_path / "link.csv").symlink_to("old.csv")
    (tmp_path / "linked").symlink_to("parts")
    return tmp_path


PLAIN = ("diff", "old.csv", "new.csv", "-k", "ID")
RUN = (
    *("run", "--inbound-s3", "in", "--processed-s3", "done", "--out-s3", "out"),
    *("--dataset", "d", "-k", "ID"),
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PLAIN, "-o", "link.csv"), "-o link.csv: the path is an input file"),
        ((*PLAIN, "-o", "second.csv"), "-o second.csv: the path is an input file"),
        (
            ("diff", "parts/*.csv", "new.csv", "-k", "ID", "-o", "parts/a.csv"),
            "-o parts/a.csv: the path is an input file",
        ),
        (
            ("diff", "parts", "new.csv", "-k", "ID", "--rejects", "parts/b.csv"),
            "--rejects parts/b.csv: the path is an input file",
        ),
        (
            ("diff", "old.csv", "file://HERE/new.csv", "-k", "ID", "-o", "new.csv"),
            "-o new.csv: the path is an input file",
        ),
        (
            (*PLAIN, "-o", "d.csv", "--rejects", "./d.csv"),
            "--rejects d.csv: the path is also that of -o",
        ),
        (
            (*PLAIN, "-o", "d.csv", "-o", "d.csv"),
            "-o d.csv: the path is also that of -o",
        ),
        (
            (*PLAIN, "--log-file", "old.csv"),
            "--log-file old.csv: the path is an input file",
        ),
        (
            ("keys", "old.csv", "new.csv", "--log-file", "link.csv"),
            "--log-file link.csv: the path is an input file",
        ),
        (
            (*PLAIN, "--log-file", "d.json", "-o", "d.json"),
            "--log-file d.json: the path is also that of --output",
        ),
        (
            (*PLAIN, "--rule", "P=map(@codes.csv)", "-o", "codes.csv"),
            "-o codes.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--rule", "P=map(rest=same,@codes.csv)", "-o", "codes.csv"),
            "-o codes.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--old-rule", "P=map(@codes.csv, rest=same)", "-o", "codes.csv"),
            "-o codes.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--map", "@map.csv", "--rejects", "map.csv"),
            "--rejects map.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--config", "mapped.toml", "-o", "map.csv"),
            "-o map.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--config", "mapped.toml", "--log-file", "map.csv"),
            "--log-file map.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--config", "sets.toml", "--dataset", "b", "-o", "map.csv"),
            "-o map.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--config", "laid.toml", "-o", "names.csv"),
            "-o names.csv: the path is a file of the settings",
        ),
        (
            (*RUN, "--config", "mapped.toml", "--log-file", "map.csv"),
            "--log-file map.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--fixed", "@names.csv", "--rejects", "names.csv"),
            "--rejects names.csv: the path is a file of the settings",
        ),
        (
            (*PLAIN, "--config", "own.toml", "--log-file", "own.toml"),
            "--log-file own.toml: the path is a file of the settings",
        ),
        (
            ("init", "old.csv", "new.csv", "--config", "old.csv", "--force"),
            "--config old.csv: the path is an input file",
        ),
        ((*RUN, "--log-file", "in/old.csv"), "in/old.csv: the path is an input file"),
        ((*RUN, "--log-file", "in/upper.CSV"), "upper.CSV: the path is an input file"),
        ((*RUN, "-o", "in/old.csv"), "-o in/old.csv: the path is an input file"),
        ((*RUN, "-o", "in/d.csv"), "-o in/d.csv: the path is in a folder whose files"),
        (
            (*RUN, "--old-pattern", "*.log", "--log-file", "./in/d.log"),
            "--log-file in/d.log: the path is in a folder whose files are inputs",
        ),
        (
            ("diff", "parts", "new.csv", "-k", "ID", "-o", "parts/d.html"),
            "-o parts/d.html: the path is in a folder whose files are inputs",
        ),
        (
            (
                "diff",
                "new.csv",
                "p*/*.csv",
                "-k",
                "ID",
                "--rejects",
                "parts/d.csv",
            ),
            "--rejects parts/d.csv: the path is in a folder whose files are inputs",
        ),
        (
            ("diff", "lin*/*.csv", "new.csv", "-k", "ID", "-o", "parts/d.csv"),
            "-o parts/d.csv: the path is in a folder whose files are inputs",
        ),
    ],
)
def test_a_file_in_use_is_never_written(
    files_in_use: Path, words: tuple[str, ...], said: str
) -> None:
    def read_all() -> dict[str, bytes]:
        paths = (path for path in files_in_use.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in paths}

    before = read_all()
    given = [word.replace("HERE", str(files_in_use)) for word in words]
    ended = recon(*given, cwd=files_in_use)
    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr
    assert read_all() == before


@pytest.mark.parametrize(
    ("source", "path"),
    [("parts", "parts/_d.csv"), ("parts/*.csv", "parts/d.json"), ("parts", "d.csv")],
)
def test_a_file_that_is_no_part_is_written(
    files_in_use: Path, source: str, path: str
) -> None:
    words = ("diff", source, "new.csv", "-k", "ID", "-o", path)
    ended = recon(*words, cwd=files_in_use)
    assert (ended.returncode, (files_in_use / path).exists()) == (1, True), ended.stderr
    # It is no part of the next comparison.
    again = recon(*words[:-2], "--format", "json", cwd=files_in_use)
    assert json.loads(again.stdout)["old"]["rows"] == 2, again.stderr


def test_the_key_of_masks_is_never_written(files_in_use: Path) -> None:
    (files_in_use / "key.csv").write_text("k" * 40)
    words = (*PLAIN, "--mask", "P=hmac", "-o", "key.csv")
    ended = recon(*words, cwd=files_in_use, RECON_MASK_KEY_FILE="key.csv")
    assert (ended.returncode, "a file of the settings" in ended.stderr) == (2, True)
    assert (files_in_use / "key.csv").read_text() == "k" * 40


def test_the_file_behind_standard_input_is_never_written(files_in_use: Path) -> None:
    with (files_in_use / "old.csv").open("rb") as stream:
        words = ["diff", "-", "new.csv", "-k", "ID", "-o", "link.csv"]
        ended = subprocess.run(
            [sys.executable, "-m", "recon_cli", *words],
            cwd=files_in_use,
            stdin=stream,
            capture_output=True,
            check=False,
        )
    assert (ended.returncode, b"an input file" in ended.stderr) == (2, True)
    assert (files_in_use / "old.csv").read_text() == "ID,P\n1,5\n2,6\n"
