"""Columns that are in each other's place, and keys that are in parts on one side."""

from __future__ import annotations

import json
import random
import shlex
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.flags import diff
from support.program import recon
from support.spark_cluster import InProcess
from support.suppressed_pairs import DAY

from recon_engine.analysis.key_parts import propose_derivation
from recon_engine.analysis.swapped_columns import find_swapped
from recon_engine.config import Options
from recon_engine.errors import KeyMissing
from recon_engine.hint_settings import read_settings
from recon_engine.inputs.frames import import_frame
from recon_engine.inputs.header import read_header
from recon_engine.model import Cell
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from pathlib import Path


def swapped_pair(rows: int, wrong: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A pair of which NEW has PAID in ALLOWED and the reverse, in all rows but some."""
    draw = random.Random(rows)
    ids = [str(at) for at in range(rows)]
    paid, allowed = ([str(draw.randint(1, 10**6)) for _ in ids] for _ in range(2))
    old = pl.DataFrame({"ID": ids, "PAID": paid, "ALLOWED": allowed})
    other = ["x" if at < wrong else text for at, text in enumerate(paid)]
    return old, pl.DataFrame({"ID": ids, "PAID": allowed, "ALLOWED": other})


def test_swapped_columns_are_proposed_as_a_map_that_makes_them_equal() -> None:
    old, new = swapped_pair(100, 3)
    d = diff(old, new, keys="ID")
    [hint] = [each for each in d.hints if each.flag.startswith("--map")]
    assert hint.flag == "--map ALLOWED=PAID,PAID=ALLOWED"
    assert (hint.count, hint.total) == (97, 100)
    assert hint.text == (
        "ALLOWED of OLD is PAID of NEW, and the reverse, in 97 of 100 listed rows"
    )
    swap = {"ALLOWED": "PAID", "PAID": "ALLOWED"}
    mapped = diff(old, new, keys="ID", renames=swap)
    assert mapped.counts.mismatched_cells == 3
    assert not [each for each in mapped.hints if each.flag.startswith("--map")]
    assert read_settings(hint) == {"map": swap}


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ({"renames": {"PAID": "paid"}}, "; in place of --map PAID=paid"),
        ({"match_names": "casefold"}, ""),
    ],
)
def test_a_swap_is_proposed_with_the_names_that_new_has(
    asked: dict[str, Any], instead: str
) -> None:
    old, new = swapped_pair(100, 0)
    new = new.rename({"PAID": "paid"})
    [hint] = [
        each
        for each in diff(old, new, keys="ID", **asked).hints
        if each.flag.startswith("--map")
    ]
    assert hint.flag == "--map ALLOWED=paid,PAID=ALLOWED"
    assert hint.text == (
        "ALLOWED of OLD is paid of NEW, and PAID is ALLOWED, in 100 of 100 listed rows"
        + instead
    )
    swap = {"ALLOWED": "paid", "PAID": "ALLOWED"}
    assert read_settings(hint) == {"map": swap}
    assert diff(old, new, keys="ID", **{**asked, "renames": swap}).agrees


@pytest.mark.parametrize(("rows", "wrong"), [(100, 6), (19, 0)])
def test_columns_that_are_not_swapped_often_are_not_proposed(
    rows: int, wrong: int
) -> None:
    d = diff(*swapped_pair(rows, wrong), keys="ID")
    assert not [each for each in d.hints if each.flag.startswith("--map")]


def test_columns_that_differ_in_few_rows_are_not_proposed() -> None:
    old, new = swapped_pair(30, 0)
    same = pl.DataFrame(
        {
            "ID": [f"s{at}" for at in range(40)],
            "PAID": ["1"] * 40,
            "ALLOWED": ["2"] * 40,
        }
    )
    d = diff(pl.concat([old, same]), pl.concat([new, same]), keys="ID")
    assert not [each for each in d.hints if each.flag.startswith("--map")]


def coded_pair() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A pair with two translated codes, and one that is the same on both sides."""
    codes = ["M", "F", "U"] * 20
    old = pl.DataFrame({"ID": [str(at) for at in range(60)], "SEX": codes})
    return old, old.with_columns(SEX=pl.col("SEX").replace({"M": "1", "F": "2"}))


def same_codes() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A pair of which some rows have other codes, and most have the same."""
    old, new = coded_pair()
    changed = pl.int_range(pl.len()) < 40
    return old, new.with_columns(
        SEX=pl.when(changed).then(pl.col("SEX")).otherwise(old["SEX"])
    )


PREFIX = (
    "--old-derive 'ID_PART=slice(ID,3)' --new-derive 'ID_PART=slice(ID,1)'"
    " --ignore ID --key ID_PART"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "flags"),
    [
        (swapped_pair(60, 1), ["--map ALLOWED=PAID,PAID=ALLOWED"]),
        (coded_pair(), ["--old-rule 'SEX=map(F=2,M=1,rest=same)'"]),
        (same_codes(), []),
        (
            (coded_pair()[0].with_columns(ID="C-" + pl.col("ID")), coded_pair()[0]),
            [
                PREFIX,
            ],
        ),
    ],
    ids=["swapped", "codes", "same codes", "prefix"],
)
def test_spark_proposes_the_same(
    tmp_path: Path, pair: tuple[pl.DataFrame, pl.DataFrame], flags: list[str]
) -> None:
    paths = tmp_path / "o.csv", tmp_path / "n.csv"
    for frame, path in zip(pair, paths, strict=True):
        frame.write_csv(path)
    old, new = map(read_header, paths)
    spark = compare_on_cluster(
        (old, new),
        (LocalSource.of(old), LocalSource.of(new)),
        Options(keys=("ID",)),
        DAY,
        cluster=InProcess(),
        settings=SparkSettings(span=100, bucket=100, sha256=False),
    )
    assert spark.hints == diff(*paths, keys="ID").hints
    assert [each.flag for each in spark.hints] == flags


CLAIMS = [("C1", "1"), ("C1", "2"), ("C2", "1"), ("C7", "9")]
PARTS = pl.DataFrame({"CLM": [c for c, _ in CLAIMS], "LINE": [n for _, n in CLAIMS]})


def joined(mark: str, order: tuple[int, int] = (0, 1)) -> pl.DataFrame:
    texts = [mark.join(claim[at] for at in order) for claim in CLAIMS[:3]]
    return pl.DataFrame({"CLAIM": [*texts, "lost"]})


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["-", "/", "_", " "])
def test_a_key_in_one_column_is_split(mark: str) -> None:
    for order in ((0, 1), (1, 0)):
        for side in ("old", "new"):
            pair = (joined(mark, order), PARTS)
            pair = pair if side == "old" else (pair[1], pair[0])
            with pytest.raises(KeyMissing) as caught:
                diff(*pair, keys=["CLM", "LINE"])
            names = ",".join(("CLM", "LINE")[at] for at in order)
            derive = f'{names}=split(CLAIM,"{mark}")'
            assert str(caught.value.help).startswith(f"use --{side}-derive '{derive}'")
            assert "in 3 of 4 rows" in str(caught.value.help)
            d = (
                diff(*pair, keys=["CLM", "LINE"], old_derive=derive)
                if side == "old"
                else diff(*pair, keys=["CLM", "LINE"], new_derive=derive)
            )
            assert d.counts.matched == 3


@pytest.mark.parametrize("mark", ["-", ""])
def test_a_key_in_parts_is_joined(mark: str, tmp_path: Path) -> None:
    old, new = tmp_path / "o.csv", tmp_path / "n.csv"
    joined(mark).write_csv(old)
    PARTS.write_csv(new)
    with pytest.raises(KeyMissing) as caught:
        diff(old, new, keys="CLAIM")
    derive = f'CLAIM=join(CLM,LINE,"{mark}")'
    assert str(caught.value.help).startswith(f"use --new-derive '{derive}'")
    assert diff(old, new, keys="CLAIM", new_derive=derive).counts.matched == 3


@pytest.mark.slow
def test_of_random_columns_nothing_is_proposed() -> None:
    """1,000 seeds of columns without a relation."""
    for seed in range(1_000):
        draw = random.Random(seed)
        rows = draw.randint(20, 40)
        a, b, c = (
            [f"{draw.choice('abc')}-{draw.randint(1, 40)}" for _ in range(rows)]
            for _ in range(3)
        )
        cells = [
            {"A": Cell(x, y, "text"), "B": Cell(y, z, "text")}
            for x, y, z in zip(a, b, c, strict=True)
        ]
        assert not [*find_swapped(cells, {"A": rows, "B": rows}, rows, {}, {})]
        # A trial of a key reads the rows of both sides: fewer of them take long enough.
        if seed % 20:
            continue
        old = import_frame(pl.DataFrame({"X": a, "B": b}), "old")
        new = import_frame(pl.DataFrame({"C": b, "D": c}), "new")
        assert propose_derivation(old, new, 0, ["C", "D"]) is None


NUMBERS = [f"{at:05d}" for at in range(40)]
AFFIXES = {
    "prefix": ("C-{}", "first 2 characters", "3"),
    "letter": ("C{}", "first 1 character", "2"),
    "suffix": ("{}-A", "last 2 characters", "1,5"),
}


def keyed(texts: list[str], **more: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"ID": texts, **more, "V": NUMBERS[: len(texts)]})


@pytest.mark.parametrize("kind", AFFIXES)
@pytest.mark.parametrize("side", ["old", "new"])
def test_characters_that_all_keys_of_a_side_share_are_named(
    kind: str, side: str
) -> None:
    form, characters, bounds = AFFIXES[kind]
    with_affix = keyed([form.format(text) for text in NUMBERS])
    pair = (with_affix, keyed(NUMBERS[:-2]))
    pair = pair if side == "old" else (pair[1], pair[0])
    [hint] = diff(*pair, keys="ID").hints
    missing = len(pair[0])
    assert (hint.kind, hint.count, hint.total) == ("key_rule", 38, missing)
    assert hint.text == (
        f"ID: {missing} rows are missing; 38 would match an extra row without the"
        f" {characters} of {side.upper()}, which are the same in all of its 40"
        " unmatched rows"
    )
    slices = {"old": "1", "new": "1", side: bounds}
    assert hint.flag == (
        f"--old-derive 'ID_PART=slice(ID,{slices['old']})'"
        f" --new-derive 'ID_PART=slice(ID,{slices['new']})'"
        " --ignore ID --key ID_PART"
    )
    after = diff(*pair, **read_settings(hint))
    assert (after.counts.matched, after.counts.mismatched_cells) == (38, 0)


def test_an_affix_is_named_without_a_setting_if_other_rows_match() -> None:
    """The column would be cut in the rows that match, too."""
    old = keyed([f"C-{text}" for text in NUMBERS[:30]] + NUMBERS[30:])
    [hint] = diff(old, keyed(NUMBERS), keys="ID").hints
    assert (hint.count, hint.total, hint.flag) == (30, 30, "")
    longer = [text.lstrip("0") or "0" for text in NUMBERS]
    old = keyed([f"{text}-A" for text in longer])
    [hint] = diff(old, keyed(longer), keys="ID").hints
    # A suffix of keys of several lengths has no slice.
    assert (hint.count, hint.flag) == (40, "")


def test_an_affix_is_found_in_one_column_of_a_key_and_under_another_name() -> None:
    lines = [str(at % 3) for at in range(40)]
    old = keyed(NUMBERS, LINE=lines)
    new = keyed([f"CLM{text}" for text in NUMBERS], LINE=lines).rename({"ID": "NO"})
    [hint] = diff(old, new, keys=["ID", "LINE"], renames={"ID": "NO"}).hints
    assert hint.flag.startswith("--old-derive 'ID_PART=slice(ID,1)' --new-derive")
    assert hint.flag.endswith("=slice(NO,4)' --ignore ID --key ID_PART --key LINE")
    settings = read_settings(hint)
    after = diff(old, new, renames={"ID": "NO"}, **settings)
    assert (after.agrees, after.counts.matched) == (True, 40)


@pytest.mark.parametrize("source", ["K", "ID"])
def test_the_derived_column_is_added_to_those_that_both_sides_derive(
    source: str,
) -> None:
    """Pasted behind `--derive`, `--old-derive` replaces it for OLD."""
    derive = ["K=slice(ID,1)"] if source == "K" else ["LINE=slice(V,5)"]
    keys = ["K"] if source == "K" else ["ID", "LINE"]
    old, new = keyed([f"C-{text}" for text in NUMBERS]), keyed(NUMBERS)
    [hint] = diff(old, new, keys=keys, derive=derive).hints
    settings = read_settings(hint)
    assert settings["old_derive"] == [*derive, f"{source}_PART=slice({source},3)"]
    after = diff(old, new, derive=derive, **settings)
    assert after.counts.matched == 40


@pytest.mark.parametrize(
    ("typed", "filed", "again"),
    [
        (("Z", "Z"), (), ((), ())),
        (("Z", "Y"), (), ((), ())),
        ((), ("Z", "Y"), (("Z",), ("Y",))),
        ((), ("Z", "Z"), (("Z",), ("Z",))),
        # A flag that is typed takes the place of the file.
        (("Z", "Z"), ("Y", "X"), ((), ())),
    ],
)
def test_a_command_with_the_flags_of_the_hint_derives_what_it_did(
    tmp_path: Path,
    typed: tuple[str, ...],
    filed: tuple[str, ...],
    again: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    """A flag that is typed once more adds a column; one of a file is replaced."""
    frames = keyed([f"C-{text}" for text in NUMBERS]), keyed(NUMBERS)
    for name, frame in zip(("old.csv", "new.csv"), frames, strict=True):
        frame.write_csv(tmp_path / name)
    lines = [
        f"[{side}]\nderive = '{name}=slice(V,1,2)'\n"
        for side, name in zip(("old", "new"), filed, strict=False)
    ]
    (tmp_path / "recon.toml").write_text("".join(lines))
    command = ["diff", "old.csv", "new.csv", "--on-schema-drift", "compare"]
    flags = [
        word
        for side, name in zip(("old", "new"), typed, strict=False)
        for word in (f"--{side}-derive", f"{name}=slice(V,1,2)")
    ]
    asked = [*command, *flags]
    ended = recon(*asked, "--key", "ID", "-f", "json", cwd=tmp_path)
    [hint] = json.loads(ended.stdout)["hints"]
    expected = [
        [*(f"{name}=slice(V,1,2)" for name in names), f"ID_PART=slice(ID,{cut})"]
        for names, cut in zip(again, (3, 1), strict=True)
    ]
    words = shlex.split(hint["flag"])
    assert words[: words.index("--ignore")] == [
        word
        for side, texts in zip(("old", "new"), expected, strict=True)
        for text in texts
        for word in (f"--{side}-derive", text)
    ]
    ended = recon(*asked, *words, "-f", "json", cwd=tmp_path)
    assert json.loads(ended.stdout)["counts"]["matched"] == 40


def test_in_python_an_argument_has_all_derivations_of_its_side() -> None:
    old, new = keyed([f"C-{text}" for text in NUMBERS]), keyed(NUMBERS)
    z, y = (f"{name}=slice(V,1,2)" for name in "ZY")
    asked = {"old_derive": z, "new_derive": y, "on_schema_drift": "compare"}
    [hint] = diff(old, new, keys="ID", **asked).hints
    settings = read_settings(hint)
    assert settings["old_derive"] == [z, "ID_PART=slice(ID,3)"]
    assert settings["new_derive"] == [y, "ID_PART=slice(ID,1)"]
    assert diff(old, new, **{**asked, **settings}).counts.matched == 40


@pytest.mark.parametrize(
    ("column", "asked"),
    [
        ("ID_PART", {"ignore": ["ID_PART"]}),
        ("ID_PART", {"on_schema_drift": "compare"}),
        ("ID_PART", {"renames": {"X": "ID_PART"}}),
        ("id_part ", {"ignore": ["id_part "], "match_names": "trim,casefold"}),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_the_derived_column_has_a_name_that_no_column_of_a_file_has(
    column: str, asked: dict[str, Any], side: int
) -> None:
    pair = [keyed([f"C-{text}" for text in NUMBERS]), keyed(NUMBERS)]
    same = ["q"] * len(NUMBERS)
    pair[side] = pair[side].with_columns(pl.Series(column, same))
    if "renames" in asked:
        pair[1 - side] = pair[1 - side].with_columns(X=pl.Series(same))
        asked = asked if side else {"renames": {"ID_PART": "X"}}
    [hint] = diff(*pair, keys="ID", **asked).hints
    assert hint.flag.endswith("--ignore ID --key ID_PART2")
    settings = read_settings(hint)
    ignored = [*asked.get("ignore", ()), *settings.pop("ignore")]
    after = diff(*pair, **{**asked, **settings, "ignore": ignored})
    assert after.counts.matched == 40


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Less than half would pair.
        ([f"C-{text}" for text in NUMBERS], [f"9{text}" for text in NUMBERS[:39]]),
        # A key that would pair repeats on one side.
        ([f"C-{text}" for text in NUMBERS], [*NUMBERS[:39], NUMBERS[0]]),
        # One more digit makes another number.
        ([f"9{text}" for text in NUMBERS], NUMBERS),
        # Too few rows.
        (["C-1", "C-2"], ["1", "2"]),
        # Not all keys of the side have it.
        ([f"C-{t}" for t in NUMBERS[:20]] + [f"D-{t}" for t in NUMBERS[20:]], NUMBERS),
    ],
)
def test_an_affix_that_does_not_pair_unique_keys_is_not_named(
    old: list[str], new: list[str]
) -> None:
    found = diff(keyed(old), keyed(new), keys="ID").hints
    assert not [hint for hint in found if "character" in hint.text]


def test_the_affix_of_a_masked_key_is_not_shown() -> None:
    old = keyed([f"QX-{text}" for text in NUMBERS])
    [hint] = diff(old, keyed(NUMBERS), keys="ID", masks={"ID": "redact"}).hints
    assert hint.count == 40
    assert "QX" not in str(hint)
