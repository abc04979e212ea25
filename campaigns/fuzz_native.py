"""A long search for bytes on which the native kernel and the reference disagree.

    PYTHONPATH=tests python campaigns/fuzz_native.py [--inputs N] [--sanitize]

Inputs are random: mostly well-formed tables with a few bytes edited, moved to the
borders of machine words, and cut into blocks at every place. Each is read with every
set of instructions of this machine and without any; accept or refuse, ends of rows,
facts, sample and digests have to be those of the reference. Every 200th input goes
through the whole engine, as a pair with the input before it, often with an option about
what surrounds the table: with and without the kernel, the result or the error has to be
the same. The first disagreement ends the search; its input is printed, and `--seed`
makes it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

from support.kernel import Kernel, Question, Seen, check, compiled, variants

import recon_engine
from recon_engine.config import LIMITS, Limits
from recon_engine.errors import ReconError
from recon_engine.inputs.native import binding


ALPHABETS: Final = ('a,"\n', 'a,"\n\r', 'a,"\n\ré\0', 'ab,;"\n\r', "a,\n", "a,\n\r\\.")
EDITS: Final = (b"", b"\0", b'"', b"\r", b"\n", b",", b"\xff", b"\xe9", b"\xc3")
SOME: Final = (LIMITS, LIMITS, Limits(12, 100), Limits(1 << 20, 2), Limits(60, 3))
CUT_EVERYWHERE: Final = 48
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
        size = 64 * chance.choice((1, 2, 8)) - chance.randrange(14) - len(row) - 1
        data = (row + "a" * max(0, size) + "\n").encode() + data
    asked = Question(
        width=width,
        keys=tuple(chance.sample(range(width), chance.randint(1, width))),
        order=()
        if chance.random() < 0.6
        else tuple(chance.sample(range(width), chance.randint(1, width))),
        delimiter=ord(delimiter),
        limits=chance.choice(SOME),
        bits=chance.choice((0, 3, 5)),
        every=chance.choice((1, 2, 3, 6, 8, 12)),
    )
    return data, asked


def cuts(data: bytes, chance: random.Random) -> list[tuple[int, ...]]:
    """Where to end blocks: everywhere, one after the other, if there are not many."""
    places = range(1, len(data))
    if len(data) > CUT_EVERYWHERE:
        places = sorted(chance.sample(places, 12))  # type: ignore[assignment]
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
    kernels: list[Kernel],
    chance: random.Random,
    inputs: int,
    seconds: float,
    folder: Path | None = None,
) -> tuple[int, int, int]:
    """How many inputs were tried, how many of them passed, and how many readings.

    `folder`: where files for the whole engine are written; None leaves it out.
    """
    before = b""
    secret = chance.randbytes(kernels[0].library.random_size())
    seen, tried, passed, readings = Seen(), 0, 0, 0
    end = time.monotonic() + seconds
    while tried < inputs and time.monotonic() < end:
        data, asked = made(chance)
        if len(seen.found) > 1 << 20:
            seen = Seen()
        for at, borders in enumerate(cuts(data, chance)):
            every = kernels if at == 0 else [chance.choice(kernels)]
            for kernel in every:
                question = replace(asked, borders=borders)
                try:
                    fine = check(kernel, data, question, secret, seen)
                except AssertionError:
                    print("disagreement:", kernel.name, data, question)
                    raise
                readings += 1
        if folder is not None and tried % ENGINE_EVERY == 0:
            try:
                check_engine(folder, [before, data], asked, chance)
            except AssertionError:
                print("disagreement of the engine:", before, data, asked)
                raise
        before = data
        tried += 1
        passed += fine
    return tried, passed, readings


def sanitized(inputs: int, seconds: float, seed: int) -> int:
    """The same search with GCC's address and undefined-behaviour sanitizers.

    Each buffer is as small as it may be, so what is read over its end ends the search.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        print("gcc, which has the sanitizers, is not on this machine")
        return 2
    flags = ("-DSCALAR", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    asked = [gcc, "-print-file-name=libasan.so"]
    runtime = subprocess.run(asked, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder), *flags, compiler=gcc)
        command = [sys.executable, __file__, "--library", str(library)]
        limits = ["--inputs", str(inputs), "--seconds", str(seconds)]
        return subprocess.run(
            [*command, *limits, "--seed", str(seed)],
            check=False,
            env=os.environ
            | {
                "LD_PRELOAD": runtime.stdout.strip(),
                "ASAN_OPTIONS": "detect_leaks=0",
                "PYTHONMALLOC": "malloc",
            },
        ).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--library", type=Path)
    parser.add_argument("--sanitize", action="store_true")
    given = parser.parse_args()
    if given.sanitize:
        sys.exit(sanitized(given.inputs, given.seconds, given.seed))
    with tempfile.TemporaryDirectory() as folder:
        if given.library:
            kernels = [
                Kernel(binding.open_library(given.library), 0, given.library.name)
            ]
        else:
            kernels = list(variants(Path(folder)))
        chance = random.Random(given.seed)
        whole = None if given.library else Path(folder)
        tried, passed, readings = search(
            kernels, chance, given.inputs, given.seconds, whole
        )
    names = ", ".join(kernel.name for kernel in kernels)
    print(
        f"seed {given.seed}: {tried:,} inputs, of which {passed:,} pass, read "
        f"{readings:,} times by {names}: no disagreement"
    )


if __name__ == "__main__":
    main()
