"""A draft as arguments, and the arguments that an error about the key proposes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.program import recon

import recon_engine as rx
from recon_engine import api
from recon_engine.errors import ConfigError, KeyMissing


if TYPE_CHECKING:
    from pathlib import Path


ROWS = 400
DRAFTED = {
    "keys": ["CLAIM"],
    "rules": {"CLAIM": ["lstrip0"]},
    "old_rules": {"PAID": ["decimal(comma)"]},
    "renames": {"CLAIM": "id", "PAID": "amount", "CITY": "town"},
}


def make_pair() -> tuple[pl.DataFrame, pl.DataFrame]:
    """One table as two systems write it, in another order."""
    numbers = random.Random(7)
    rows = [
        (n, numbers.randrange(100, 9_000_000), numbers.choice(["Köln", "Ulm", "Jena"]))
        for n in range(1, ROWS + 1)
    ]
    old = [(f"{n:06}", f"{p // 100},{p % 100:02}", c) for n, p, c in rows]
    new = [(str(n), f"{p // 100}.{p % 100:02}", c) for n, p, c in rows[::-1]]
    return (
        pl.DataFrame(old, ["CLAIM", "PAID", "CITY"], orient="row"),
        pl.DataFrame(new, ["id", "amount", "town"], orient="row"),
    )


@pytest.fixture(scope="module")
def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    return make_pair()


@pytest.fixture(scope="module")
def files(
    frames: tuple[pl.DataFrame, pl.DataFrame], tmp_path_factory: Any
) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("draft")
    old, new = folder / "old.csv", folder / "new.csv"
    old.write_bytes(frames[0].write_csv(separator=";").encode("cp1252"))
    new.write_bytes(frames[1].write_csv().encode())
    return old, new


def test_a_draft_is_the_arguments_of_a_comparison(
    files: tuple[Path, Path], frames: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    for pair, reading in (
        (files, {"delimiter": ";:,", "encoding": "cp1252:utf-8"}),
        (frames, {}),
        ((files[0], frames[1]), {"delimiter": ";:,", "encoding": "cp1252:utf-8"}),
    ):
        found = rx.draft(*pair)
        own = {name: found[name] for name in DRAFTED | reading}
        assert own == DRAFTED | reading
        d = rx.diff(*pair, **found)
        assert d.agrees, str(d)
        assert d.counts.matched == ROWS


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("floats", ["old", "new"])
def test_a_key_of_integers_in_one_frame_and_of_floats_in_the_other_is_found(
    floats: str, *, typed: bool
) -> None:
    """A trailer makes a column of integers text; blanks make it one of floats."""
    numbers = random.Random(3)
    rows = [
        (
            70_000 + 13 * n,
            f"M{numbers.randrange(3 * ROWS)}",
            f"n{numbers.randrange(90)}",
        )
        for n in range(ROWS)
    ]
    plain = pl.DataFrame(rows, ["CLAIM", "MEMBER", "NOTE"], orient="row")
    other = plain.slice(5).with_columns(pl.col("CLAIM").cast(pl.Float64))
    if not typed:
        plain, other = (each.cast(pl.String) for each in (plain, other))
    pair = (other, plain) if floats == "old" else (plain, other)
    found = rx.draft(*pair)
    assert found["keys"] == ["CLAIM"]
    assert found["rules"] == {"CLAIM": ["decimal"]}
    [key] = found.decisions.filter(pl.col("decision") == "key")["evidence"]
    assert "if number formats are ignored (decimal)" in key
    [rule] = found.decisions.filter(pl.col("decision") == "rule CLAIM")["evidence"]
    assert rule == f"{ROWS - 5} keys are equal by a rule only"
    d = rx.diff(*pair, **found)
    assert (d.counts.matched, d.counts.mismatched_rows) == (ROWS - 5, 0)


def test_amounts_of_which_one_side_has_more_places_are_no_key() -> None:
    amounts = [f"{n}.5" for n in range(ROWS)]
    old = pl.DataFrame({"PAID": amounts, "ID": [f"K{n}" for n in range(ROWS)]})
    new = old.with_columns(pl.col("PAID") + "0")
    assert rx.draft(old, new)["keys"] == ["ID"]


def test_a_draft_has_its_decisions_and_prints_the_table_of_init(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    found = rx.draft(*files)
    decisions = found.decisions
    assert decisions.columns == ["decision", "choice", "evidence", "alternatives"]
    assert set(decisions.dtypes) == {pl.String}
    [key] = decisions.filter(pl.col("decision").str.contains("key")).to_dicts()[:1]
    assert key["choice"] == "CLAIM"
    assert key["evidence"]
    folder = files[0].parent
    shown = recon("init", *map(str, files), "--force", cwd=folder, COLUMNS="120")
    table = shown.stdout.partition("\n\n")[0]
    assert str(found) == "\n".join(map(str.rstrip, table.splitlines()))
    # It is still the arguments, as a person copies them.
    assert repr(found) == repr(dict(found))
    assert rx.diff(*files, **found).agrees


def test_a_draft_is_the_file_of_init_and_reads_back_as_itself(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    shown = recon("init", *map(str, files), "--yes", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    file = tmp_path / "recon.toml"
    found = rx.draft(*files)
    assert found.to_toml() == file.read_text()
    assert rx.load_config(file) == found
    # The same text is no other setting.
    assert found.save(file) == [file]
    file.write_text('keys = "X"\nignore = ["Y"]\n')
    with pytest.raises(ConfigError) as caught:
        found.save(file)
    assert "these are not among them: ignore" in (caught.value.why or "")
    assert "force=True" in (caught.value.help or "")
    assert file.read_text() == 'keys = "X"\nignore = ["Y"]\n'
    found.save(file, force=True)
    assert rx.load_config(file) == found


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    found = rx.draft(*make_pair())
    file = tmp_path / "handover" / "recon.toml"
    with pytest.raises(ConfigError) as refused:
        found.save(file)
    assert refused.value.why == f"there is no folder {file.parent}"
    assert refused.value.help == "make the folder, or name a file in another one"


def test_what_a_caller_changes_in_a_draft_is_in_its_file(
    frames: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    file = tmp_path / "claims.toml"
    found = rx.draft(*frames)
    changed = found | {"ignore": "CITY", "old_skip_lines": 2, "delimiter": (";", ",")}
    assert changed | {} == changed != found
    changed.save(file)
    assert rx.load_config(file) == dict(found) | {
        "ignore": ["CITY"],
        "old_skip_lines": 2,
        "delimiter": ";:,",
    }
    text = file.read_text()
    assert '# set after the draft\nignore = ["CITY"]' in text
    assert "# set after the draft\nkeys" not in text
    with pytest.raises(ConfigError) as caught:
        (found | {"key": "CLAIM"}).to_toml()
    assert "Did you mean keys?" in caught.value.message
    with pytest.raises(ConfigError, match="sha256 is no setting"):
        (found | {"sha256": True}).save(file, force=True)
    assert file.read_text() == text


def test_a_draft_is_a_table_of_a_project_beside_others(
    frames: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "claims"\n')
    found = rx.draft(*frames)
    found.save(file)
    assert file.read_text().startswith('[project]\nname = "claims"\n\n[tool.recon]\n')
    assert rx.load_config(file) == found


def test_the_error_without_a_key_has_what_pairs_the_rows(
    files: tuple[Path, Path],
) -> None:
    """The key is found by values: under other names, delimiters, and rules."""
    with pytest.raises(ConfigError) as caught:
        rx.diff(*files)
    assert caught.value.message == "no key column is named"
    assert (caught.value.why or "").startswith("CLAIM is unique on both sides")
    arguments, _, _ = (caught.value.help or "").removeprefix("add ").partition("; ")
    assert arguments == (
        'keys="CLAIM", delimiter=";:,", encoding="cp1252:utf-8",'
        ' renames={"CLAIM": "id"}, rules={"CLAIM": "lstrip0"}'
    )
    proposed = eval(f"dict({arguments})")  # noqa: S307 - what a caller pastes
    d = rx.diff(*files, **proposed, on_schema_drift="compare")
    assert d.counts.matched == ROWS


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, 'add delimiter=";:,", encoding="cp1252:utf-8", renames={"CLAIM": "id"}'),
        (
            {"delimiter": ";:,", "encoding": "cp1252:utf-8"},
            'add renames={"CLAIM": "id"}, rules={"CLAIM": "lstrip0"};',
        ),
        (
            {
                "delimiter": (";", ","),
                "encoding": "cp1252:utf-8",
                "rules": {"PAID": "trim"},
            },
            'rules={"PAID": "trim", "CLAIM": "lstrip0"};',
        ),
    ],
)
def test_a_key_of_one_side_gets_its_name_in_the_other_by_values(
    files: tuple[Path, Path], settings: dict[str, Any], needed: str
) -> None:
    with pytest.raises(KeyMissing) as caught:
        rx.diff(*files, keys="CLAIM", **settings)
    assert needed in (caught.value.help or "")


def test_a_key_that_no_file_has_gets_no_names(
    frames: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    with pytest.raises(KeyMissing) as caught:
        rx.diff(*frames, keys="CLAIMS")
    assert "Did you mean CLAIM?" in caught.value.message
    assert "renames" not in (caught.value.help or "")


def test_a_key_that_matches_nearly_all_rows_under_a_rule_is_preferred() -> None:
    """The columns with equal text match fewer rows than the number without zeros."""
    old = make_pair()[0].drop("PAID")
    old = old.with_columns(K=pl.int_range(pl.len()).cast(pl.String))
    by_claim = old.with_columns(pl.col("CLAIM").str.strip_chars_start("0"))
    theirs = (
        by_claim.with_columns(
            pl.when(pl.int_range(pl.len()) < 40).then(pl.lit("x") + pl.col("K"))
            .otherwise(pl.col("K")).alias("K")
        )
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        rx.diff(old, theirs)
    assert (caught.value.help or "").startswith(
        'add keys="CLAIM", rules={"CLAIM": "lstrip0"}'
    )


def test_a_large_input_is_not_drafted_for_an_error(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MOST_DRAFTED", 100)
    with pytest.raises(KeyMissing) as caught:
        rx.diff(*files, keys="CLAIM", encoding="cp1252:utf-8")
    # The delimiters are tried in any case.
    assert 'add delimiter=";:,": with it OLD has 3 columns' in (caught.value.help or "")


def test_a_caller_who_says_how_files_are_read_is_not_corrected(
    files: tuple[Path, Path],
) -> None:
    with pytest.raises(KeyMissing) as caught:
        rx.diff(*files, keys="CLAIM", encoding="cp1252:utf-8", quote="none")
    assert "draft" not in (caught.value.help or "")


def test_no_value_of_a_cell_is_in_the_error_of_a_file_without_a_header(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    rows = [f"OTHER{chr(65 + n)},Bert" for n in range(20)]
    old.write_text("\n".join(["SECRET,Anna", *rows, ""]))
    new.write_text("\n".join(["HIDDEN;Carl", *rows, ""]).replace(",", ";"))
    for keys in (None, "ID"):
        with pytest.raises(rx.ReconError) as caught:
            rx.diff(old, new, keys=keys)
        shown = f"{caught.value} {caught.value.why} {caught.value.help}"
        assert not any(name in shown for name in ("SECRET", "Anna", "HIDDEN", "Carl"))
        assert 'add delimiter=",:;"' in shown


@pytest.mark.parametrize(
    ("name", "right"),
    [("init", "draft(old, new)"), ("reconcile", "diff(old, new, keys")],
)
def test_a_name_that_the_package_lacks_names_the_right_one(
    name: str, right: str
) -> None:
    with pytest.raises(AttributeError, match="recon_engine") as caught:
        getattr(rx, name)
    assert right in str(caught.value)


def test_a_name_that_a_draft_lacks_names_the_right_one(
    frames: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    found = rx.draft(*frames)
    for name, right in (
        ("write_toml", 'Use save("recon.toml")'),
        ("to_tom", "Did you mean to_toml?"),
        ("explain", "Use decisions, or print"),
        ("nothing", "They are a dict, with decisions, to_toml() and save()."),
    ):
        with pytest.raises(AttributeError) as caught:
            getattr(found, name)
        assert right in str(caught.value)
        # One sentence, whatever follows the name.
        assert f"no attribute {name}. " in str(caught.value)


def test_the_format_of_a_frame_is_no_file(
    files: tuple[Path, Path], frames: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    stored = tmp_path / "new.parquet"
    frames[1].write_parquet(stored)
    for pair, formats in (
        (frames, ["frame", "frame"]),
        ((frames[0], stored), ["frame", "parquet"]),
        (files, []),
    ):
        found = rx.draft(*pair).decisions
        named = found.filter(pl.col("decision").str.ends_with(" format"))
        assert named["choice"].to_list() == formats


def test_a_notebook_shows_the_decisions_and_print_leaves_them_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = make_pair()
    old = old.with_columns(pl.lit("<b>").alias("ON<b>LY"))
    new = new.with_columns(pl.lit("other").alias("OTHER"))
    found = rx.draft(old, new)
    page = found._repr_html_()
    assert page.startswith("<table>")
    assert page.count("<tr>") == found.decisions.height + 1
    assert "alternatives" in page
    assert "ON&lt;b&gt;LY" in page
    assert "<b>" not in page
    # Options have the names of arguments.
    assert "--map" not in f"{page}{found}"
    assert "renames=" in str(found)
    monkeypatch.setenv("COLUMNS", "100")
    head, *lines = str(found).splitlines()
    start = head.index("evidence")
    assert "alternatives" not in head
    assert max(len(line[start:]) for line in lines) > 50
    monkeypatch.setenv("COLUMNS", "140")
    assert "alternatives" in str(found).splitlines()[0]
