"""A long search for bytes on which the native kernel and the reference disagree.

    PYTHONPATH=tests python campaigns/fuzz_native.py [--inputs N] [--sanitize]
    PYTHONPATH=tests python campaigns/fuzz_native.py --every N

Inputs are random: mostly well-formed tables with a few bytes edited, moved to the
borders of machine words, and cut into blocks. Each is read with every set of
instructions of this machine and without any; accept or refuse, ends of rows, facts,
sample and digests have to be those of the reference. One in 16 is cut at every place.
Every 200th input goes through the whole engine, as a pair with the input before it,
often with an option about what surrounds the table: with and without the kernel, the
result or the error has to be the same. The first disagreement ends the search; its
input is printed, and `--seed` makes it again.

`--every N` reads all texts of at most N bytes over the letters a , " LF CR, in tables
of one, two and three columns, at the beginning of a record, within fields and within
quotes (`support.kernel_tree`). One of at most `--fully` bytes is read with each set of
instructions, with a border of 64 bytes at each of its places and cut into two blocks
at each; a longer one in one of these ways, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from support.draws import QuickDraws
from support.kernel import (
    Kernel,
    Question,
    Read,
    Row,
    Seen,
    check_digests,
    check_reading,
    compiled,
    reference,
    variants,
)
from support.kernel_batch import Batch
from support.kernel_tree import Compared, check_grammar, trees

import recon_engine
from recon_engine.config import LIMITS, Limits
from recon_engine.errors import ReconError
from recon_engine.inputs.native import binding


if TYPE_CHECKING:
    import random


ALPHABETS: Final = ('a,"\n', 'a,"\n\r', 'a,"\n\ré\0', 'ab,;"\n\r', "a,\n", "a,\n\r\\.")
EDITS: Final = (b"", b"\0", b'"', b"\r", b"\n", b",", b"\xff", b"\xe9", b"\xc3")
SOME: Final = (LIMITS, LIMITS, Limits(12, 100), Limits(1 << 20, 2), Limits(60, 3))
# One input in so many is cut at every place, if it is at most so long.
CUT_EVERY: Final = 16
CUT_EVERYWHERE: Final = 48
MORE_CUTS: Final = 12
SOME_CUTS: Final = 3
# One in so many is read again in Python, with a search for its keys.
SLOWLY: Final = 32
# Longer texts have their faults compared for minutes.
MOST_GRAMMAR: Final = 8
ENGINE_EVERY: Final = 200
FRAMES: Final = (
    *("", "", "skip_lines", "comment_prefix", "trailer", "eof_mark"),
    "trailing_delimiter",
)


def table(chance: random.Random, alphabet: str, width: int, delimiter: str) -> bytes:
    """A well-formed table, or almost."""

    def field() -> str:
        size = chance.choice((0, 1, 2, 3, 3, 40))
        letters = alphabet.replace("\0", "") + "aé"
        text = "".join(chance.choice(letters) for _ in range(size))
        if any(x in text for x in '"\n\r' + delimiter) or chance.random() < 0.3:
            return '"' + text.replace('"', '""') + '"'
        return text

    newline = chance.choice(("\n", "\r\n"))
    rows = chance.randrange(1, 7)
    lines = (delimiter.join(field() for _ in range(width)) for _ in range(rows))
    data = (newline.join(lines) + newline * chance.choice((0, 1, 1, 1, 2))).encode()
    if data and chance.random() < 0.4:
        at = chance.randrange(len(data))
        data = data[:at] + chance.choice(EDITS) + data[at + chance.randrange(2) :]
    return data


def made(chance: random.Random) -> tuple[bytes, Question]:
    """An input, and how to read it."""
    alphabet = chance.choice(ALPHABETS)
    width = chance.choice((1, 2, 2, 3, 5))
    delimiter = chance.choice(",,;") if ";" in alphabet else ","
    if chance.random() < 0.6:
        data = table(chance, alphabet, width, delimiter)
    else:
        size = chance.randrange(24)
        data = "".join(chance.choice(alphabet) for _ in range(size)).encode()
    if chance.random() < 0.5:
        row = delimiter.join(["a"] * width)
        size = (
            64 * chance.choice((1, 1, 1, 2, 2, 8)) - chance.randrange(14) - len(row) - 1
        )
        data = (row + "a" * max(0, size) + "\n").encode() + data
    asked = Question(
        width=width,
        keys=tuple(chance.sample(range(width), chance.randint(1, width))),
        order=()
        if chance.random() < 0.6
        else tuple(chance.sample(range(width), chance.randint(1, width))),
        delimiter=ord(delimiter),
        separator=ord(chance.choice((",", delimiter))),
        limits=chance.choice(SOME),
        bits=chance.choice((0, 3, 5)),
        every=chance.choice((1, 2, 3, 6, 8, 12)),
    )
    return data, asked


def cuts(data: bytes, chance: random.Random, *, every: bool) -> list[tuple[int, ...]]:
    """Where to end blocks: nowhere, at some places, and at several in one reading.

    `every`: at all places, one after the other, if there are not many.
    """
    places = range(1, len(data))
    few = SOME_CUTS if not every else 0 if len(data) <= CUT_EVERYWHERE else MORE_CUTS
    if few and len(places) > few:
        # Most of them where the input is, and not before it.
        places = sorted(chance.sample(places[-CUT_EVERYWHERE:], few))  # type: ignore[assignment]
    several = tuple(sorted(chance.randrange(len(data) + 1) for _ in range(4)))
    return [(), *((at,) for at in places), several]


def frame_options(chance: random.Random) -> tuple[dict[str, Any], bytes, bytes]:
    """Options about what surrounds a table, and what to write before and behind it."""
    kind = chance.choice(FRAMES)
    options: dict[str, Any] = {}
    before, behind = b"", b""
    if kind == "skip_lines":
        before = chance.choice((b"x\n", b'"\n', b"a,b\r\n"))
        options["skip_lines"] = 1
    elif kind == "comment_prefix":
        before = b"# x\n" * chance.randrange(3)
        options["comment_prefix"] = "#"
    elif kind == "trailer":
        behind = chance.choice((b"TRL\n", b"TRL,1\n", b'"TRL",2', b"TRL", b"TR\n", b""))
        options["trailer"] = "TRL"
    elif kind == "eof_mark":
        behind = chance.choice((b"\x1a", b"\x1a\x1a", b"", b"a"))
        options["eof_mark"] = True
    elif kind == "trailing_delimiter":
        options["trailing_delimiter"] = True
    return options, before, behind


def engine_answer(
    paths: list[Path], question: Question, framing: dict[str, Any], *, native: bool
) -> str:
    """The result of the whole engine, or its error, with or without the kernel."""
    keys = [f"c{at}" for at in question.keys]
    limits = question.limits
    library = binding.load_library if native else lambda: None
    with mock.patch.object(binding, "load_library", library):
        try:
            result = recon_engine.diff(
                *paths,
                keys=keys,
                delimiter=chr(question.delimiter),
                max_field_bytes=limits.field_bytes,
                max_field_lines=limits.field_lines,
                **framing,
            )
        except ReconError as error:
            return f"{type(error).__name__} {error} {vars(error)}"
    return json.dumps(result.to_dict() | {"engine": None}, default=str)


def check_engine(
    folder: Path, pair: list[bytes], question: Question, chance: random.Random
) -> None:
    """Raise AssertionError if the engine answers otherwise with the kernel."""
    framing, before, behind = frame_options(chance)
    delimiter = chr(question.delimiter)
    end = delimiter if "trailing_delimiter" in framing else ""
    names = delimiter.join(f"c{at}" for at in range(question.width)) + end
    paths = [folder / "old.csv", folder / "new.csv"]
    for path, data in zip(paths, pair, strict=True):
        if end:
            data = data.replace(b"\n", end.encode() + b"\n")  # noqa: PLW2901
        path.write_bytes(before + names.encode() + b"\n" + data + behind)
    answers = [
        engine_answer(paths, question, framing, native=way) for way in (True, False)
    ]
    assert answers[0] == answers[1], framing


def search(
    batch: Batch | None,
    kernels: list[Kernel],
    chance: random.Random,
    inputs: int,
    seconds: float,
    folder: Path | None = None,
) -> tuple[int, int, int]:
    """How many inputs were tried, how many of them passed, and how many readings.

    `batch`: without one, every input is read in Python, which takes longer. `folder`:
    where files for the whole engine are written; None leaves it out.
    """
    before = b""
    secret = chance.randbytes(kernels[0].library.random_size())
    seen, tried, passed, readings = Seen(), 0, 0, 0
    end = time.monotonic() + seconds
    while tried < inputs and time.monotonic() < end:
        data, asked = made(chance)
        if len(seen.found) > 1 << 20:
            seen = Seen()
        places = cuts(data, chance, every=tried % CUT_EVERY == 0)
        # Whole with each kernel, cut with any of them.
        ways: list[tuple[int, tuple[int, ...]]] = [
            *((which, ()) for which in range(len(kernels))),
            *((chance.randrange(len(kernels)), each) for each in places[1:]),
        ]
        wanted = reference(data, asked)
        try:
            if batch is not None:
                check_ways(batch, data, asked, secret, seen, ways, wanted)
                readings += len(ways)
            if batch is None or tried % SLOWLY == 0:
                for which, borders in ways:
                    question = replace(asked, borders=borders)
                    way = kernels[which], data, question, secret, seen, wanted
                    check_reading(*way)
                readings += len(ways)
        except AssertionError:
            print("disagreement:", [each.name for each in kernels], data, asked, ways)
            raise
        if folder is not None and tried % ENGINE_EVERY == 0:
            try:
                check_engine(folder, [before, data], asked, chance)
            except AssertionError:
                print("disagreement of the engine:", before, data, asked)
                raise
        before = data
        tried += 1
        passed += wanted is not None
    return tried, passed, readings


def check_ways(
    batch: Batch,
    data: bytes,
    asked: Question,
    secret: bytes,
    seen: Seen,
    ways: list[tuple[int, tuple[int, ...]]],
    wanted: tuple[list[Row], Read] | None,
) -> None:
    """Raise AssertionError where a kernel disagrees with the reference or another."""
    found = batch.read_in_ways(data, asked, secret, ways)
    if found is None or wanted is None:
        assert found is None
        assert wanted is None
        return
    rows, facts = wanted
    assert found[0] == facts
    check_digests(found[1], rows, asked, seen)


def sanitized(given: argparse.Namespace) -> int:
    """The same search with GCC's address and undefined-behaviour sanitizers.

    Each buffer is as small as it may be, so what is read over its end ends the search.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        print("gcc, which has the sanitizers, is not on this machine")
        return 2
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover")
    # With -O1 the compiler takes 1.4 times as long, for code that runs for a second.
    flags = ("-DSCALAR", "-g", "-Og", *sanitizers)
    asked = [gcc, "-print-file-name=libasan.so"]
    runtime = subprocess.run(asked, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder), *flags, compiler=gcc)
        command = [sys.executable, __file__, "--library", str(library)]
        for name in ("inputs", "seconds", "seed", "every", "fully"):
            value = getattr(given, name)
            command += [f"--{name}", str(value)] if value is not None else []
        return subprocess.run(
            command,
            check=False,
            env=os.environ
            | {
                "LD_PRELOAD": runtime.stdout.strip(),
                "ASAN_OPTIONS": "detect_leaks=0",
                "PYTHONMALLOC": "malloc",
            },
        ).returncode


def name_all(kernels: list[Kernel]) -> str:
    """The names of kernels."""
    return ", ".join(kernel.name for kernel in kernels)


def read_every(batch: Batch, secret: bytes, most: int, fully: int) -> Compared:
    """Read all texts of at most so many letters; what was compared.

    Raises AssertionError where a kernel disagrees with the state machine, or the
    reference of the product does.
    """
    grammar = check_grammar(min(most, MOST_GRAMMAR))
    print(f"{grammar:,} texts have the fault that the reference finds", flush=True)
    compared = Compared()
    for each in trees(most, fully):
        before = compared.texts
        each.check(batch, secret, compared)
        where = f"{each.asked.width} columns, {each.context.name}"
        where += f", behind a pad: {each.padded}"
        print(f"{compared.texts - before:,} readings: {where}", flush=True)
    compared.finish()
    return compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--library", type=Path)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--every", type=int, help="the longest text")
    parser.add_argument("--fully", type=int, default=5)
    given = parser.parse_args()
    if given.sanitize:
        sys.exit(sanitized(given))
    with tempfile.TemporaryDirectory() as folder:
        if given.library:
            kernels = [
                Kernel(binding.open_library(given.library), 0, given.library.name)
            ]
        else:
            kernels = list(variants(Path(folder)))
        chance = QuickDraws(given.seed)
        whole = None if given.library else Path(folder)
        batch = Batch.build(Path(folder), kernels)
        if given.every and batch is None:
            sys.exit("--every needs a C compiler")
        if given.every and batch is not None:
            secret = chance.randbytes(kernels[0].library.random_size())
            compared = read_every(batch, secret, given.every, given.fully)
            print(
                f"seed {given.seed}: {compared.texts:,} readings, of which"
                f" {compared.accepted:,} pass, by {name_all(kernels)}:"
                f" {compared.rows:,} rows; no disagreement"
            )
            return
        tried, passed, readings = search(
            batch, kernels, chance, given.inputs, given.seconds, whole
        )
    print(
        f"seed {given.seed}: {tried:,} inputs, of which {passed:,} pass, read "
        f"{readings:,} times by {name_all(kernels)}: no disagreement"
    )


if __name__ == "__main__":
    main()
