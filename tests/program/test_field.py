"""Deliveries of the field with the options that read them, and variants of each kind.

A command of `field/` ends as its `expect` says once the options are added. The variants
have other widths, sides, alphabets and positions, and the truth about them is known.
"""

from __future__ import annotations

import bz2
import csv
import io
import json
import lzma
import random
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import openpyxl
import polars as pl
import pytest
from support.packed import gzip_of, zstd_of
from support.program import recon


if TYPE_CHECKING:
    from collections.abc import Sequence


FIELD: Final = Path(__file__).parents[1] / "field"
VARIANTS: Final = 20


@dataclass(frozen=True)
class Expected:
    """A folder with its options, and the counts and values of `expect`."""

    folder: str
    command: str
    matched: int = 0
    differing: int = 0
    change: tuple[str, str, str] | None = None
    rows: tuple[int, int] | None = None
    refusal: str = ""


EXPECTED: Final = (
    Expected(
        "01_trailing_delimiter",
        "old.txt new.txt --key CLAIM --delimiter | --old-trailing-delimiter",
        3,
        1,
        ("PAID", "30.00", "31.00"),
    ),
    Expected(
        "01_trailing_delimiter",
        "old2.txt new.txt --key CLAIM --delimiter | --old-trailing-delimiter",
        3,
        1,
        ("PAID", "30.00", "31.00"),
    ),
    Expected(
        "01_trailing_delimiter",
        "old.txt new.txt --key CLAIM --delimiter |",
        refusal="each ends with a delimiter",
    ),
    Expected(
        "01_trailing_delimiter",
        "old.txt new.txt --key CLAIM --delimiter | --trailing-delimiter",
        refusal="is set, and the record does not end with a delimiter",
    ),
    Expected(
        "02_trailer_record",
        "old.csv new.csv --key CLAIM_ID --trailer TRL --trailer-count 2"
        " --trailer-sum 3=PAID",
        3,
        1,
        ("PAID", "30.00", "31.00"),
        (3, 3),
    ),
    Expected(
        "02_trailer_record",
        "old_short.csv new_short.csv --key CLAIM_ID --trailer TRL"
        " --trailer-delimiter | --trailer-count 2",
        3,
        1,
        ("PAID", "30.00", "31.00"),
        (3, 3),
    ),
    Expected(
        "02_trailer_record",
        "old.csv old.csv --key CLAIM_ID --trailer TRL --trailer-count 2",
        3,
        0,
    ),
    Expected(
        "03_preamble_lines",
        "old.csv new.csv --key CLAIM_ID --old-skip-lines 3",
        2,
        1,
    ),
    Expected(
        "03_preamble_lines",
        "old_hash.csv new.csv --key CLAIM_ID --old-comment-prefix #",
        2,
        1,
    ),
    Expected(
        "03_preamble_lines",
        "old.csv new.csv --key CLAIM_ID",
        refusal="the header is in line 4 of OLD: 2 rows after it fit it; use"
        " --old-skip-lines 3",
    ),
    Expected(
        "04_no_header",
        "old.csv new.csv --key ID --no-header --names ID,MEMBER,PAID",
        3,
        1,
        ("PAID", "20.00", "21.00"),
    ),
    Expected("04_no_header", "old.csv new.csv --key c1 --no-header", 3, 1),
    Expected("04_no_header", "old.csv old.csv --key c1 --no-header", 3, 0),
    Expected(
        "09_excel_text_wrapper",
        "old_raw.csv new.csv --key ID --old-excel-text",
        2,
        1,
        ("NPI", "0011223345", "0011223349"),
    ),
    Expected(
        "36_fixed_width",
        "old.txt new.txt --key ID --fixed ID:1-4,MEMBER:5-10,PAID:11-18",
        2,
        1,
        ("PAID", "00020.00", "00021.00"),
    ),
    Expected(
        "36_fixed_width",
        "old.txt new.txt --key ID --fixed ID:1-4,MEMBER:5-10,PAID:11-17",
        refusal="a line of 18 characters",
    ),
    *(
        Expected("25_kinds_of_files", f"{old} new.csv --key ID", 3, 0, None, (3, 3))
        for old in (
            "old.parquet",
            "old.csv.bz2",
            "old.csv.zip",
            "old.zip",
            "parts",
            "parts/*",
            "OLD2.CSV.GZ",
            "old_noext",
        )
    ),
    Expected(
        "25_kinds_of_files",
        "old.ndjson new.csv --key ID",
        refusal="the file is JSON lines, not CSV",
    ),
    Expected(
        "04_no_header",
        "old.csv new.csv --key 1",
        refusal="if the file has no header use --old-no-header",
    ),
)


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row.command[:60])
def test_a_delivery_with_its_options_has_the_outcome_of_its_folder(
    row: Expected, tmp_path: Path
) -> None:
    here = shutil.copytree(FIELD / row.folder, tmp_path / row.folder)
    document = run(here, row.command.split())
    if row.refusal:
        said = " ".join(str(document[name]) for name in ("message", "why", "help"))
        assert row.refusal in said
        return
    assert document["counts"]["matched"] == row.matched
    assert document["counts"]["mismatched_rows"] == row.differing
    assert document["counts"]["missing"] == document["counts"]["extra"] == 0
    if row.rows:
        assert (document["old"]["rows"], document["new"]["rows"]) == row.rows
    if row.change:
        [column], [sample] = document["columns_differing"], document["sample"]
        name, old, new = row.change
        assert column == name
        assert sample["payload"] == {name: f"{old}~{new}"}


def run(folder: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """The document that `recon diff` ends with."""
    ended = recon("diff", *arguments, "-f", "json", cwd=folder)
    assert "Traceback" not in ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    if "columns" in document:
        document["columns_differing"] = [
            each["name"] for each in document["columns"] if each["mismatched"]
        ]
    return document


ALPHABETS: Final = (
    "abcxyz0123456789",
    "äöüßÄÖÜéàç ",
    "日本語データ",
    "АБВГдежз-",
    "0123456789.",
    "a,;|\"'b ",
)


@dataclass
class Pair:
    """Two tables with known differences; `changed`: the keys of rows that differ."""

    names: list[str]
    old: list[list[str]]
    new: list[list[str]]
    changed: set[str] = field(default_factory=set)
    sums: tuple[int, int] = (0, 0)


def make_pair(draw: random.Random) -> Pair:
    """Tables with a key, an amount, and columns of some alphabet."""
    width, rows = draw.randint(1, 5), draw.randint(1, 30)
    letters = draw.choice(ALPHABETS)
    names = ["KEY", "AMOUNT", *(f"COL_{at}" for at in range(width))]
    old = [
        [
            f"k{at}",
            str(draw.randint(0, 999)),
            *(
                "".join(draw.choices(letters, k=draw.randint(0, 9)))
                for _ in range(width)
            ),
        ]
        for at in range(rows)
    ]
    new = [list(row) for row in old]
    changed = set()
    for row in draw.sample(new, draw.randint(0, min(3, rows))):
        at = draw.randrange(2, len(names))
        row[at] += "+"
        changed.add(row[0])
    draw.shuffle(new)
    sums = sum(int(row[1]) for row in old), sum(int(row[1]) for row in new)
    return Pair(names, old, new, changed, sums)


def to_csv(rows: Sequence[Sequence[str]], delimiter: str, end: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return text.getvalue()


@dataclass(frozen=True)
class Dressed:
    """A file in the form of a kind, with the options that read it."""

    data: bytes
    options: list[str]
    delimiter: str = ""
    suffix: str = ""


Kind = "Callable[[random.Random, Pair, list[list[str]], str], Dressed]"


def trailing(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    with_names = draw.random() < 0.5
    lines = [pair.names + [""] * with_names, *([*row, ""] for row in rows)]
    return Dressed(
        to_csv(lines, d, draw.choice(("\n", "\r\n"))).encode(), ["trailing-delimiter"]
    )


def trailer(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    prefix = draw.choice(("TRL", "Z9", "ENDE", "99", "Σ"))
    total = str(sum(int(row[1]) for row in rows))
    fields = [prefix, str(len(rows)), total, *["x"] * draw.randint(0, 3)]
    other = draw.choice([each for each in ",;|\t" if each != d])
    own = draw.choice((d, other))
    end = draw.choice(("\n", "\r\n"))
    text = to_csv([pair.names, *rows], d, end) + own.join(fields)
    text += draw.choice(("", end, end * 2))
    options = [f"trailer={prefix}", "trailer-count=2", "trailer-sum=3=AMOUNT"]
    options += [f"trailer-delimiter={own}"] if own != d else []
    mark = draw.random() < 0.3
    return Dressed(text.encode() + b"\x1a" * mark, options + ["eof-mark"] * mark)


def preamble(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    lines = [
        draw.choice(('Report "A', "", f"a{d}b", "Größe", " ", f"KEY{d}x{d}y{d}z"))
        for _ in range(draw.randint(1, 9))
    ]
    text = "".join(f"{line}\n" for line in lines)
    table = to_csv([pair.names, *rows], d, draw.choice(("\n", "\r\n")))
    bom = "\ufeff" * (draw.random() < 0.3)
    return Dressed((bom + text + table).encode(), [f"skip-lines={len(lines)}"])


def comments(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    mark = draw.choice(("#", "--", "%%", "§"))
    lines = [f"{mark} {draw.choice(ALPHABETS[:4])}" for _ in range(draw.randint(1, 5))]
    text = "".join(f"{line}\n" for line in lines)
    return Dressed(
        (text + to_csv([pair.names, *rows], d, "\n")).encode(),
        [f"comment-prefix={mark}"],
    )


def no_header(
    draw: random.Random, pair: Pair, rows: list[list[str]], d: str
) -> Dressed:
    text = to_csv(rows, d, draw.choice(("\n", "\r\n")))
    return Dressed(text.encode(), ["no-header", "names=" + ",".join(pair.names)])


def excel(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    def form(text: str) -> str:
        quoted = '"' + text.replace('"', '""') + '"'
        needed = any(each in text for each in ('"', d, "\n", "\r"))
        return "=" + quoted if draw.random() < 0.6 else quoted if needed else text

    end = draw.choice(("\n", "\r\n"))
    text = end.join(d.join(map(form, row)) for row in [pair.names, *rows]) + end
    return Dressed(text.encode(), ["excel-text"])


def long(draw: random.Random, pair: Pair, rows: list[list[str]], _: str) -> Dressed:
    mark = draw.choice(("||", "|~|", "¦", "::", "\\x1f", "<;>"))
    own = {"\\x1f": "\x1f"}.get(mark, mark)

    def write(text: str) -> str:
        needed = any(each in text for each in ('"', *own))
        return '"' + text.replace('"', '""') + '"' if needed else text

    end = draw.choice(("\n", "\r\n"))
    text = end.join(own.join(map(write, row)) for row in [pair.names, *rows]) + end
    return Dressed(text.encode(), [], mark.replace(":", "\\x3a"))


def unquoted(draw: random.Random, pair: Pair, rows: list[list[str]], _: str) -> Dressed:
    # A delimiter that no value has: nothing encloses one.
    end = draw.choice(("\n", "\r\n"))
    text = end.join("\t".join(row) for row in [pair.names, *rows]) + end
    return Dressed(text.encode(), ["quote=none"], "\\t")


def fixed(draw: random.Random, pair: Pair, rows: list[list[str]], _: str) -> Dressed:
    """Padding stays text, so keys and values are padded on both sides."""
    widths = [max(len(row[at]) for row in (*pair.old, *pair.new)) + 1
              for at in range(len(pair.names))]  # fmt: skip
    starts = [1 + sum(widths[:at]) for at in range(len(widths))]
    layout = ",".join(
        f"{name}:{start}-{start + width - 1}"
        for name, start, width in zip(pair.names, starts, widths, strict=True)
    )
    end = draw.choice(("\n", "\r\n"))
    lines = [
        "".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows
    ]
    return Dressed((end.join(lines) + end).encode(), [f"fixed={layout}"])


def packed(draw: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    text = to_csv([pair.names, *rows], d, "\n").encode()
    suffix = draw.choice((".gz", ".bz2", ".xz", ".zip", ".csv.ZIP", ".zst"))
    if suffix.lower().endswith(".zip"):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("any name.txt", text)
            if draw.random() < 0.5:
                archive.writestr("other.txt", "x")
                options = ["member=any name.txt"]
                return Dressed(target_of(archive, target), options, "", suffix)
        return Dressed(target.getvalue(), [], "", suffix)
    make = {".gz": gzip_of, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd_of}
    return Dressed(make[suffix](text), [], "", suffix)


def target_of(archive: zipfile.ZipFile, target: io.BytesIO) -> bytes:
    archive.close()
    return target.getvalue()


def columns(_: random.Random, pair: Pair, rows: list[list[str]], __: str) -> Dressed:
    target = io.BytesIO()
    cells = dict(zip(pair.names, zip(*rows, strict=True), strict=True))
    pl.DataFrame({name: list(texts) for name, texts in cells.items()}).write_parquet(
        target
    )
    return Dressed(target.getvalue(), [], "", ".parquet")


def plain(_: random.Random, pair: Pair, rows: list[list[str]], d: str) -> Dressed:
    return Dressed(to_csv([pair.names, *rows], d, "\n").encode(), [])


KINDS: Final = {
    "01_trailing_delimiter": trailing,
    "02_trailer_record": trailer,
    "03_preamble_lines": preamble,
    "03_comment_lines": comments,
    "04_no_header": no_header,
    "09_excel_text": excel,
    "long_delimiter": long,
    "quotes_are_ordinary": unquoted,
    "36_fixed_width": fixed,
    "25_packed": packed,
    "25_parquet": columns,
}


@pytest.mark.parametrize("seed", range(VARIANTS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_variant_of_a_kind_has_the_differences_that_were_made(
    kind: str, seed: int, tmp_path: Path
) -> None:
    draw = random.Random(f"{kind}{seed}")
    pair = make_pair(draw)
    dress = KINDS[kind]
    # Padding is text: a padded file is compared with a padded one.
    both = draw.random() < 0.3 or dress is fixed
    dressed_side = draw.choice(("old", "new"))
    flags, delimiters, names = ["--key=KEY", "--rule=KEY=trim"], [], []
    for side, rows in (("old", pair.old), ("new", pair.new)):
        d = draw.choice(",;|")
        make = dress if both or side == dressed_side else plain
        found = make(draw, pair, rows, d)
        name = side + found.suffix
        (tmp_path / name).write_bytes(found.data)
        names.append(name)
        flags += [f"--{side}-{option}" for option in found.options]
        delimiters.append(found.delimiter or d)
    flags.append(f"--delimiter={':'.join(delimiters)}")
    document = run(tmp_path, [*names, *flags])
    assert document.get("counts"), document
    assert document["counts"]["matched"] == len(pair.old)
    assert document["counts"]["missing"] == document["counts"]["extra"] == 0
    changed = {row["key"]["KEY"].strip() for row in document["sample"]}
    assert changed == pair.changed


def test_a_result_for_excel_keeps_every_text(tmp_path: Path) -> None:
    here = shutil.copytree(FIELD / "38_result_opened_in_excel", tmp_path / "x")
    command = ("diff", "old.csv", "new.csv", "--key", "ID")
    ended = recon(*command, "-o", "result.csv", "-o", "result.xlsx", cwd=here)
    assert ended.returncode == 1, ended.stderr
    exact = list(csv.reader((here / "result.csv").read_text("utf-8").splitlines()))
    book = openpyxl.load_workbook(here / "result.xlsx")
    sheet = list(book["mismatches"].iter_rows(values_only=True))
    heads, *others = exact
    assert [*sheet[0]] == [name.removeprefix("key.") for name in heads]
    # The kind is in words there: `leading zeros`.
    assert [[cell or "" for cell in row[:-1]] for row in sheet[1:]] == [
        row[:-1] for row in others
    ]
    assert [row[-1] for row in sheet[1:]] == [
        row[-1].replace("_", " ") for row in others
    ]
    assert all(
        cell.data_type in {"s", "n"} and not isinstance(cell.value, int | float)
        for name in ("mismatches", "missing", "extra")
        for row in book[name].iter_rows()
        for cell in row
    )
    assert book["missing"].max_row == book["extra"].max_row == 2


def test_a_run_finds_files_by_the_patterns_of_its_dataset(tmp_path: Path) -> None:
    here = shutil.copytree(FIELD / "26_pipeline_names", tmp_path / "x")
    (here / "in").mkdir()
    shutil.copy(here / "old.csv", here / "in" / "claims.txt")
    shutil.copy(here / "new.csv", here / "in" / "claims_NEWSYSTEM.txt")
    places = ("--inbound-s3", "in", "--processed-s3", "proc", "--out-s3", "out")
    command = ("run", *places, "--dataset", "t", "--key", "ID", "--dry-run")
    refused = recon(*command, cwd=here)
    assert refused.returncode == 3
    assert "none a data file: claims.txt, claims_NEWSYSTEM.txt" in refused.stderr
    flags = ("--old-pattern", "claims.txt", "--new-pattern", "*_NEWSYSTEM.txt")
    ended = recon(*command, *flags, cwd=here)
    assert ended.returncode == 0, ended.stderr
    (here / "recon.toml").write_text(
        '[dataset.t]\nold_pattern = "claims.txt"\nnew_pattern = "*_NEWSYSTEM.txt"\n'
    )
    assert recon(*command, cwd=here).returncode == 0
    alone = recon(*command, "--new-pattern", "x", "--config", "no.toml", cwd=here)
    assert alone.returncode == 2
