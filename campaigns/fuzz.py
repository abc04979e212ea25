"""A long search for bytes on which a reader and its reference disagree.

    PYTHONPATH=tests python campaigns/fuzz.py [--target text|frames] [--blind]
        [--inputs N] [--folder F] [--seconds S] [--seed N]

Inputs are made by libFuzzer (atheris), guided by the branches that the reference and
the readers take. Each piece starts where the last one ended, so the search can be
stopped and resumed. There are two targets:

- `text`: an input is a file, or numbers of tokens. Each is indexed and compared with a
  scan of single bytes. One in 64 goes as a file through the reader and the reference;
  one in 2048 goes through the whole engine.
- `frames`: an input decides the draws of `support.framed.make_case`, which makes a file
  with a frame around its table. The native kernel and the reference read each file. The
  reader in Python reads one in 8, the splits of a cluster one in 32, the parsers of
  Polars and Arrow one in 256. Files are read in blocks of one byte and more. What the
  pieces judged is counted for each option. With `--blind` the same generator draws
  without atheris, which is faster: 8 files in turn have the same options, and the
  kernel reads two at once. With `--each N` the search goes on until each option was in
  N files, and prefers files with the options that are furthest from that.

The first disagreement is kept in the folder and ends the search with exit code 1.
`--replay FILE` judges it again; one of a search with `--blind` is in disagreement.txt.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import gc
import importlib
import io
import json
import logging
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support.csv_files import open_csv
from support.draws import ByteDraws, QuickDraws
from support.frame_reference import Frame
from support.framed import (
    Checker,
    Depth,
    make_case,
    make_file,
    make_layout,
    read_in_blocks,
)
from support.reading import (
    UNLIMITED,
    Accepted,
    Refused,
    cells,
    read_by_reference,
    scalar_newlines,
    scalar_structure,
)

import recon_engine
from recon_engine.config import Limits
from recon_engine.errors import InputError
from recon_engine.inputs import csv_reader
from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.native import binding
from recon_engine.inputs.rfc4180 import parse_records
from recon_engine.inputs.scanner import RecordIndex, count_newlines, index_records


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from support.framed import Layout

DELIMITERS: Final = b",;\t|"
LIMITS: Final = (Limits(), Limits(40, 100), Limits(1 << 20, 3), Limits(90, 2))
BLOCKS: Final = (1, 7, 64, 1 << 18)
SIZES: Final = tuple(range(1, 14))
SEEDS: Final = (
    b"\0\0id,v\n1,a\n2,b\n",
    b'\0\0"id","v"\r\n"1","a""b"\r\n"2","c\nd"\r\n',
    b'\x04\0id;v\n1;"a;b"\n\n\n',
    b"\x08\0\xef\xbb\xbfid\tv\n1\t\xc3\xa9",
    b'\x1c\0id\n"a"\n\n"b"\n',
    b'\x21\0a,b,c\n1,"' + b"x" * 70 + b'",3\n4,,"\n\n\n\n"\n',
    *(bytes((knobs, form)) + bytes(range(40)) for knobs in (0, 48) for form in (1, 3)),
)
TOKENS: Final = (
    b"a", b"1", b"", b"D", b"D", b"D", b"\n", b"\n", b"\n", b"\r\n", b" ", b"\r",
    b"aD\n", b"aDb\n", b"aDb\r\n", b"D\n", b"\n\n", b'"', b'"', b'""', b'"D"', b'"\n',
    b'"a"D"b"\n', b'aD"\n"\n', b'"\r\n"', b'""D""\n', b"x" * 63, b"\xc3\xa9",
    b"\xef\xbb\xbf", b"\xf0\x9f\x99\x82", b"\0", b"\xff",
)  # fmt: skip
HEADER: Final = b"xDy\n"
TEXT: Final = bytes(0x30 if byte == 0 else byte for byte in range(256))
GATED: Final = 64
RECONCILED: Final = 2048
# One file in so many is read by the reader in Python, which takes twice as long as all
# others; by the splits of a cluster; by Polars and Arrow.
PYTHON: Final = 8
SPLIT: Final = 32
PARSED: Final = 256
# So many files in turn have the same options, which take as long to check as a file.
ALIKE: Final = 8
# With `--each`, so many layouts are drawn for one that is used.
DRAWN: Final = 6
# After so many inputs what was judged is written down: libFuzzer never returns.
COUNTED: Final = 1_000
PLAIN: Final = Frame()
STARTS_AS_TEXT: Final = re.compile(rb"(\xef\xbb\xbf)?[ -~\r\n]([ -~\r\n]|$)")


@dataclass(frozen=True)
class Case:
    """An input: two bytes are the knobs, the others are the file or tokens of it."""

    data: bytes
    delimiter: int
    limits: Limits
    block: int
    chance: int

    @classmethod
    def of(cls, given: bytes) -> Case:
        knobs, form = given[:2].ljust(2, b"\0")
        delimiter = DELIMITERS[knobs & 3 : (knobs & 3) + 1]
        data = HEADER.replace(b"D", delimiter) if form & 2 else b""
        if form & 1:
            tokens = (TOKENS[byte % len(TOKENS)] for byte in given[2:])
            data += b"".join(tokens).replace(b"D", delimiter)
        else:
            data += given[2:]
        return cls(
            data,
            delimiter[0],
            LIMITS[knobs >> 2 & 3],
            BLOCKS[knobs >> 4 & 3],
            zlib.crc32(given),
        )

    def check(self, path: Path, *, deeply: bool = False) -> Iterable[str]:
        """Raise AssertionError where two of them disagree."""
        self.check_structure()
        if deeply or self.chance % GATED == 0:
            self.check_gate(path)
        if deeply or self.chance % RECONCILED == 0:
            self.check_engine(path)
        return ()

    def check_structure(self) -> None:
        """`structure` knows no encoding: it is given text, and asked without limits."""
        text = self.data.translate(TEXT).decode("latin-1").encode()
        width = 1 + text.partition(b"\n")[0].count(self.delimiter)
        found = index_records(text, self.delimiter, width, UNLIMITED)
        shown = found and (found.ends.tolist(), found.crlf, found.embedded)
        assert shown == scalar_structure(text, self.delimiter, width)
        counted = [(each.count, each.first) for each in count_newlines(text)]
        assert counted == scalar_newlines(text)
        if found and width > 1 and not found.embedded:
            self.check_cells(text, found, width)

    def check_cells(self, text: bytes, found: RecordIndex, width: int) -> None:
        """What is found without a parser, in all columns but the last."""
        block = Block.of(text, chr(self.delimiter), found)
        shown = [cells.to_list() for cells in block.parse_first_cells(width - 1)]
        every = parse_records(text, self.delimiter, UNLIMITED)
        wanted = [[field.decode() for field in record.fields[:-1]] for record in every]
        assert list(map(list, zip(*shown, strict=True))) == wanted

    def check_gate(self, path: Path) -> None:
        """The gate in blocks of any size, against the reference in one."""
        if not STARTS_AS_TEXT.match(self.data):
            return
        csv_reader.BLOCK_BYTES = self.block  # type: ignore[misc]
        csv_reader.STRETCH_BYTES = min(self.block, 64)  # type: ignore[misc]
        path.write_bytes(self.data)
        found = self.judged(path)
        wanted = read_by_reference(self.data, self.delimiter, self.limits)
        if self.is_beyond(wanted):
            assert isinstance(found, Refused)
        else:
            assert found == wanted

    def is_beyond(self, wanted: Accepted | Refused) -> bool:
        """Whether a record may be too long to be held, and is refused unread."""
        width = 1 + self.data.partition(b"\n")[0].count(self.delimiter)
        longest = (self.limits.field_bytes + 1) * (width + 1)
        return isinstance(wanted, Refused) and len(self.data) > longest

    def judged(self, path: Path) -> Accepted | Refused:
        try:
            file = open_csv(path, delimiter=chr(self.delimiter), limits=self.limits)
        except InputError as error:
            return Refused(type(error), error.line, error.byte_offset, error.column)
        return Accepted(file.columns, tuple(cells(file)))

    def check_engine(self, path: Path) -> None:
        """A file agrees with itself written in another way, and differs if changed."""
        found = read_by_reference(self.data, self.delimiter, LIMITS[0])
        if isinstance(found, Refused) or not STARTS_AS_TEXT.match(self.data):
            return
        path.write_bytes(self.data)
        again = path.with_suffix(".again")
        given = chr(self.delimiter)
        again.write_bytes(written(found.columns, found.rows, given))
        key = found.columns[0]
        same = recon_engine.diff(path, again, keys=[key], delimiter=given)
        assert same.agrees
        assert same.counts.matched == len(found.rows)
        if found.rows:
            changed = (*found.rows[0][:-1], found.rows[0][-1] + "~"), *found.rows[1:]
            again.write_bytes(written(found.columns, changed, given))
            other = recon_engine.diff(path, again, keys=[key], delimiter=given)
            assert not other.agrees


@dataclass(frozen=True)
class FramedCase:
    """A file with a frame around its table; the input decides how it is drawn."""

    data: bytes
    frame: Frame
    chance: int

    @classmethod
    def of(cls, given: bytes) -> FramedCase:
        return cls(*make_case(ByteDraws(given)), zlib.crc32(given))

    def check(self, path: Path, *, deeply: bool = False) -> Iterable[str]:
        """The options of the frame; `accepted` if the file fits them.

        Raises AssertionError where a reader and the reference disagree.
        """
        read_in_blocks(BLOCKS[self.chance % len(BLOCKS)])
        depth = Depth(
            python=deeply or self.chance % PYTHON == 0,
            size=1 + self.chance % 13 if deeply or self.chance % SPLIT == 0 else 0,
            parsers=deeply or self.chance % PARSED == 0,
        )
        checker = checker_in(path.parent)
        accepted = checker.check(self.data, self.frame, depth)
        # The next input is another process, if this one is judged again.
        checker.finish()
        used = used_options(self.frame)
        return (*used, "accepted") if accepted else used


@functools.cache
def checker_in(folder: Path) -> Checker:
    """What checks the files of this process."""
    return Checker(folder, kernel=binding.load_library() is not None)


@functools.lru_cache(maxsize=64)
def used_options(frame: Frame) -> tuple[str, ...]:
    """The names of the options that are set."""
    return tuple(
        field.name
        for field in dataclasses.fields(Frame)
        if getattr(frame, field.name) != getattr(PLAIN, field.name)
    )


@dataclass(frozen=True)
class Target:
    """What is searched.

    `seeds`: the first inputs. `modules`: those whose branches guide the search.
    `piece`: the inputs of one process, which takes some minutes.
    """

    case: type[Case | FramedCase]
    seeds: tuple[bytes, ...]
    modules: tuple[str, ...]
    piece: int


READERS: Final = (
    "recon_engine.inputs.rfc4180",
    "recon_engine.inputs.csv_reader",
    "recon_engine.inputs.header",
)
TARGETS: Final = {
    "text": Target(Case, SEEDS, READERS, 250_000),
    "frames": Target(
        FramedCase,
        tuple(random.Random(seed).randbytes(120) for seed in range(200)),
        (
            "support.frame_reference",
            "recon_engine.inputs.opening",
            "recon_engine.inputs.trailers",
            "recon_engine.inputs.translation",
            *READERS,
        ),
        20_000,
    ),
}


def written(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], delimiter: str
) -> bytes:
    """A table by another writer: everything quoted, CRLF."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def scratch() -> Path:
    """A file in memory, where there is such a place."""
    folder = tempfile.mkdtemp(prefix="recon-fuzz-", dir=memory_folder())
    return Path(folder) / "f.csv"


def memory_folder() -> Path | None:
    """A folder in memory, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - one writer, its own folder
    return memory if memory.is_dir() else None


def search(target: Target, folder: Path, runs: int, seed: int) -> None:
    """One piece, in a process of its own: libFuzzer never returns."""
    import atheris

    # Most of the files would be warned of.
    logging.disable()
    # Of its module, which also has the scan of single bytes: that would take longer.
    atheris.instrument_func(read_by_reference)
    for module in target.modules:
        for each in vars(importlib.import_module(module)).values():
            if callable(each) and getattr(each, "__module__", "") == module:
                instrument(each)
    path = scratch()
    # What the readers write beside the file goes to memory too.
    tempfile.tempdir = str(path.parent.parent)
    counts, every = Counter[str](), min(COUNTED, runs)

    def judge(given: bytes) -> None:
        used = target.case.of(given).check(path)
        counts.update(used)
        counts["inputs"] += 1
        if counts["inputs"] % every == 0:
            (folder / "piece.json").write_text(json.dumps(counts))

    options = [
        f"-runs={runs}", f"-seed={seed}", "-max_len=160", "-timeout=60",
        "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0",
        f"-artifact_prefix={folder}/",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], judge)
    atheris.Fuzz()


def search_blindly(
    folder: Path, runs: int, seed: int, missing: Mapping[str, float]
) -> None:
    """One piece of files with a frame without guidance, which is faster.

    `missing`: the options that files should have, and how much each counts.
    """
    logging.disable()
    # What a file leaves behind is no cycle, except for some errors.
    gc.freeze()
    gc.set_threshold(50_000)
    draw, counts, done = QuickDraws(seed), Counter[str](), 0
    made: tuple[bytes, Frame] | None = None
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        tempfile.tempdir = name
        checker = Checker(Path(name), kernel=binding.load_library() is not None)
        try:
            while done < runs:
                layout = draw_layout(draw, missing)
                read_in_blocks(draw.choice(BLOCKS))
                for _ in range(min(ALIKE, runs - done)):
                    made = make_file(draw, layout)
                    depth = Depth(
                        python=draw.random() < 1 / PYTHON,
                        size=draw.choice(SIZES) if draw.random() < 1 / SPLIT else 0,
                        parsers=draw.random() < 1 / PARSED,
                    )
                    counts["accepted"] += checker.check(*made, depth)
                    counts.update(used_options(made[1]))
                    done += 1
            checker.finish()
        except AssertionError as error:
            (folder / "disagreement.txt").write_text(f"{error}\n")
            raise
        finally:
            tempfile.tempdir = None
    counts["inputs"] = done
    (folder / "piece.json").write_text(json.dumps(counts))


def draw_layout(draw: QuickDraws, missing: Mapping[str, float]) -> Layout:
    """A layout; of several, the one whose files have most of the missing options."""
    if not missing:
        return make_layout(draw)

    def weigh(layout: Layout) -> float:
        used = used_options(layout.frame(layout.lines))
        return sum(missing.get(option, 0.0) for option in used)

    return max((make_layout(draw) for _ in range(DRAWN)), key=weigh)


def find_missing(counts: Mapping[str, int], each: int) -> dict[str, float]:
    """The options that were in fewer files, and the share of these that is missing."""
    names = [field.name for field in dataclasses.fields(Frame)]
    return {name: 1 - counts[name] / each for name in names if counts[name] < each}


def instrument(each: object) -> None:
    """Have the branches of a function, or of the methods of a class, counted."""
    import atheris

    if isinstance(each, type):
        for name, method in vars(each).items():
            if callable(method) and hasattr(method, "__code__") and name[:2] != "__":
                atheris.instrument_func(method)
    elif hasattr(each, "__code__"):
        atheris.instrument_func(each)


def campaign(name: str, folder: Path, goal: Goal, seed: int, *, blind: bool) -> int:
    """Pieces until the goal is reached; the exit code.

    The seed of a piece is this one and the number of inputs before it.
    """
    record, counted = folder / "record.json", folder / "piece.json"
    prepare(TARGETS[name], folder)
    known = json.loads(record.read_text()) if record.exists() else {}
    done, spent = known.get("inputs", 0), known.get("seconds", 0.0)
    cpu = known.get("cpu_seconds", 0.0) - children_cpu()
    counts = Counter[str](known.get("counts", {}))
    began = time.monotonic()
    while not goal.is_reached(done, counts, time.monotonic() - began):
        runs = min(TARGETS[name].piece, goal.inputs - done)
        command = [sys.executable, __file__, "--folder", str(folder)]
        command += ["--target", name, "--piece", str(runs)]
        command += ["--seed", str(seed + done), *["--blind"] * blind]
        if goal.each:
            command += ["--missing", json.dumps(find_missing(counts, goal.each))]
        start = time.monotonic()
        counted.unlink(missing_ok=True)
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        if ended.returncode:
            print(ended.stdout, ended.stderr, sep="\n")
            return 1
        done, spent = done + runs, spent + time.monotonic() - start
        counts.update(json.loads(counted.read_text()))
        found = {
            "inputs": done,
            "seconds": round(spent),
            "cpu_seconds": round(cpu + children_cpu()),
            "counts": counts,
        }
        record.write_text(json.dumps(found) + "\n")
        print(f"{done:,} inputs in {spent:,.0f} s, no disagreement", flush=True)
    for option, count in sorted(counts.items()):
        print(f"  {option}: {count:,}")
    return 0


@dataclass(frozen=True)
class Goal:
    """When a campaign ends: after so many inputs in all, or seconds of this call.

    `each`: it ends too when each option was in so many files, if not 0.
    """

    inputs: int
    seconds: float
    each: int = 0

    def is_reached(self, done: int, counts: Counter[str], seconds: float) -> bool:
        """Whether no piece is left to do."""
        enough = self.each > 0 and not find_missing(counts, self.each)
        return enough or done >= self.inputs or seconds >= self.seconds


def children_cpu() -> float:
    """The seconds of a core that the pieces have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def prepare(target: Target, folder: Path) -> None:
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(target.seeds):
        (folder / "corpus" / f"seed-{at}").write_bytes(seed)


def main() -> None:
    """Search, or judge one input again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=TARGETS, default="text")
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="by default in .fuzz")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--piece", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="frames, without guidance")
    parser.add_argument("--each", type=int, default=0, help="files with each option")
    parser.add_argument(
        "--missing", type=json.loads, default={}, help=argparse.SUPPRESS
    )
    given = parser.parse_args()
    target = TARGETS[given.target]
    if given.blind and given.target != "frames":
        parser.error("only --target frames is searched with --blind")
    if given.each and not given.blind:
        parser.error("--each is for a search with --blind")
    names = {"text": "", "frames": "blind" if given.blind else "frames"}
    folder = given.folder or Path(".fuzz", names[given.target])
    if given.replay:
        target.case.of(given.replay.read_bytes()).check(scratch(), deeply=True)
    elif given.piece and given.blind:
        search_blindly(folder, given.piece, given.seed, given.missing)
    elif given.piece:
        search(target, folder, given.piece, given.seed)
    else:
        goal = Goal(given.inputs, given.seconds, given.each)
        sys.exit(campaign(given.target, folder, goal, given.seed, blind=given.blind))


if __name__ == "__main__":
    main()
