"""Options that can differ between OLD and NEW: one grammar wherever they are set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.flags import diff
from support.program import recon

from recon_engine.api import make_side_options
from recon_engine.command_line import rebuild_command
from recon_engine.config import Options, SideOptions
from recon_engine.config_file import load_configuration
from recon_engine.errors import ConfigError, MalformedInput
from recon_engine.postgres.history import _load_options


if TYPE_CHECKING:
    from pathlib import Path


TABLE = "ID,A\n1,x\n2,y\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for lines in range(4):
        text = "".join(f"line {n}\n" for n in range(lines)) + TABLE
        (tmp_path / f"{lines}.csv").write_text(text)
    return tmp_path


def skipped(folder: Path, *flags: str, file: str = "", **environment: str) -> Any:
    """The lines that are skipped in OLD and in NEW, by the rebuilt command."""
    (folder / "recon.toml").write_text(f'keys = "ID"\n{file}')
    arguments = ("3.csv", "1.csv", "--dataset", "claims", "-f", "json", *flags)
    ended = recon("diff", *arguments, cwd=folder, **environment)
    document = json.loads(ended.stdout)
    if "old" not in document:
        return document["message"]
    return tuple(
        document[side]["dialect"].get("frame", {}).get("skip_lines", 0)
        for side in ("old", "new")
    )


SIDES_FILE = """[old]
skip_lines = 3
[new]
skip_lines = 1
[dataset.claims]
"""
DATASET = """skip_lines = 9
[dataset.claims.old]
skip_lines = 3
[dataset.claims.new]
skip_lines = 1
"""


@pytest.mark.parametrize(
    ("flags", "file", "environment"),
    [
        (("--old-skip-lines", "3", "--new-skip-lines", "1"), "", {}),
        (("--skip-lines", "3", "--new-skip-lines", "1"), "", {}),
        (("--skip-lines=1", "--old-skip-lines=3"), "", {"RECON_NEW_SKIP_LINES": "7"}),
        ((), "", {"RECON_OLD_SKIP_LINES": "3", "RECON_SKIP_LINES": "1"}),
        (("--new-skip-lines", "1"), "", {"RECON_SKIP_LINES": "3"}),
        ((), "", {"RECON_OLD_SKIP_LINES": "3", "RECON_NEW_SKIP_LINES": "1"}),
        ((), SIDES_FILE, {}),
        ((), DATASET, {}),
        (("--new-skip-lines", "1"), "skip_lines = 3\n[dataset.claims]\n", {}),
        ((), "skip_lines = 3\n[dataset.claims]\nnew.skip_lines = 1\n", {}),
        ((), SIDES_FILE.replace("3", "8"), {"RECON_OLD_SKIP_LINES": "3"}),
    ],
)
def test_a_side_has_its_own_value_before_that_of_both(
    folder: Path, flags: tuple[str, ...], file: str, environment: dict[str, str]
) -> None:
    assert skipped(folder, *flags, file=file, **environment) == (3, 1)


def test_a_value_for_both_counts_before_one_of_a_side_that_is_further_off(
    folder: Path,
) -> None:
    (folder / "1.csv").write_text((folder / "3.csv").read_text())
    file = "[old]\nskip_lines = 8\n[dataset.claims]\n"
    assert skipped(folder, "--skip-lines", "3", file=file) == (3, 3)
    assert skipped(folder, file=file, RECON_SKIP_LINES="3") == (3, 3)
    both = file + "skip_lines = 3\n"
    assert skipped(folder, file=both) == (3, 3)
    flag = ("--skip-lines", "3")
    assert skipped(folder, *flag, RECON_OLD_SKIP_LINES="8") == (3, 3)


def test_settings_of_a_side_have_its_name(tmp_path: Path) -> None:
    path = tmp_path / "recon.toml"
    path.write_text("[old]\nskip_lines = 2\n[dataset.x.new]\nskip_lines = 0\n")
    assert load_configuration(path, "x").settings == {
        "old_skip_lines": 2,
        "new_skip_lines": 0,
        "suppressions": (),
    }
    path.write_text("[old]\nskip_line = 2\n")
    with pytest.raises(ConfigError, match=r"old.skip_line: .*mean skip_lines\?"):
        load_configuration(path)


def test_a_rebuilt_command_names_a_side_only_where_they_differ() -> None:
    three, one = SideOptions(skip_lines=3), SideOptions(skip_lines=1)

    def rebuilt(old: SideOptions, new: SideOptions) -> str:
        return rebuild_command(Options(keys=("A",), old=old, new=new), "o", "n")

    assert "diff o n --skip-lines 3 --key A" in rebuilt(three, three)
    assert "--old-skip-lines 3 --new-skip-lines 1 " in rebuilt(three, one)
    assert "diff o n --new-skip-lines 1 --key A" in rebuilt(SideOptions(), one)


def test_options_at_their_defaults_are_not_part_of_a_fingerprint() -> None:
    plain = Options(keys=("A",))
    assert not {"old", "new"} & plain.public.keys()
    # Of the version before these options: runs that it recorded are found again.
    digest = "12411479beb53744ee3a1bc60b8600d0a274a9f6b9ddc1dd5a244b60e1d8ef73"
    assert plain.digest == digest
    ruled = Options(
        keys=("A",),
        rules={"S": ("trim", "map(M=1,F=2)"), "D": ("date(%Y%m%d)",)},
        old=SideOptions(rules={"X": ("map(rest=same,a=b)",)}),
    )
    digest_ruled = "686fe488c9286cc66e7129fef3ca8148f6b658d893113821025d7dc64ea3faa1"
    assert ruled.digest == digest_ruled
    changed = Options(keys=("A",), old=SideOptions(skip_lines=3))
    assert changed.public["old"] == {"skip_lines": 3}
    assert changed.digest != digest
    stored = json.loads(json.dumps(changed.public))
    assert _load_options(stored) == changed


def test_python_has_an_argument_for_both_and_for_one(folder: Path) -> None:
    pair = folder / "3.csv", folder / "1.csv"
    for sided in (
        {"old_skip_lines": 3, "new_skip_lines": 1},
        {"skip_lines": 3, "new_skip_lines": 1},
    ):
        found = diff(*pair, keys="ID", **sided)
        assert found.agrees
        assert found.reading() == (
            "old file: 3 lines are skipped before the header",
            "new file: 1 line is skipped before the header",
        )


# An option, a value that does not fit the file, one that does not count, and what the
# error says of the option.
WRONG = [
    (("skip-lines", "99"), "1", " is 99"),
    (("trailer", "TRL"), "EOF", " is TRL, and the last record"),
    (("fixed", "ID:1-9"), "ID:1-8", " has 9 characters in each line"),
    (("derive", "B=slice(Q,1)"), "B=slice(A,1)", ": OLD has no column Q"),
    (("where", "Q = 1"), "A = 'x'", ": no column that "),
    (("trailer-delimiter", "ab"), ";", " needs --trailer"),
    (("comment-prefix", "ID"), "#", " would skip what may be"),
]


@pytest.mark.parametrize(("given", "other", "fact"), WRONG, ids=lambda w: w[0])
@pytest.mark.parametrize("how", ["both", "own", "together"])
def test_an_error_about_one_file_names_the_option_that_was_given(
    folder: Path, given: tuple[str, str], other: str, fact: str, how: str
) -> None:
    option, value = given
    if option == "comment-prefix":
        (folder / "0.csv").write_text("ID,B\n" + TABLE)
    both, own = f"--{option}", f"--old-{option}"
    flags = {
        "both": (both, value),
        "own": (own, value),
        "together": (both, other, own, value),
    }[how]
    ended = recon("diff", "0.csv", "0.csv", "-k", "ID", *flags, cwd=folder)
    shown = " ".join(ended.stderr.split())
    wanted, unwanted = (both, own) if how == "both" else (own, both)
    assert ended.returncode in {2, 3}
    assert f"{wanted}{fact}" in shown
    assert f"{unwanted} " not in shown.replace("needs --trailer", "")


@pytest.mark.parametrize(
    ("file", "environment", "flag"),
    [
        ("skip_lines = 99\n", {}, "--skip-lines"),
        ("[old]\nskip_lines = 99\n", {}, "--old-skip-lines"),
        ("skip_lines = 1\n[old]\nskip_lines = 99\n", {}, "--old-skip-lines"),
        ("[old]\nskip_lines = 1\n", {"RECON_SKIP_LINES": "99"}, "--skip-lines"),
        ("skip_lines = 1\n", {"RECON_OLD_SKIP_LINES": "99"}, "--old-skip-lines"),
    ],
)
def test_the_option_of_an_error_is_that_which_counts(
    folder: Path, file: str, environment: dict[str, str], flag: str
) -> None:
    (folder / "recon.toml").write_text(f'keys = "ID"\n{file}')
    ended = recon("diff", "0.csv", "0.csv", cwd=folder, **environment)
    assert f" {flag} is 99" in " ".join(ended.stderr.split())


@pytest.mark.parametrize("side", ["old", "new"])
def test_python_names_the_option_of_a_side_too(folder: Path, side: str) -> None:
    pair = folder / "0.csv", folder / "0.csv"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"skip_lines": 99}, "--skip-lines is 99"),
        ({f"{side}_skip_lines": 99}, f"--{side}-skip-lines is 99"),
        ({"skip_lines": 0, f"{side}_skip_lines": 99}, f"--{side}-skip-lines is 99"),
    ]
    for sided, why in cases:
        with pytest.raises(MalformedInput) as caught:
            diff(*pair, keys="ID", **sided)
        assert caught.value.why == why


def test_an_option_that_was_not_given_is_proposed_for_its_file(folder: Path) -> None:
    (folder / "ends.csv").write_text(TABLE.replace("\n", ",\n"))
    ended = recon("diff", "0.csv", "ends.csv", "-k", "ID", cwd=folder)
    assert "use --new-trailing-delimiter" in " ".join(ended.stderr.split())


def test_how_an_option_was_given_is_no_part_of_a_run() -> None:
    alike = [
        make_side_options("old", {"skip_lines": 3}),
        make_side_options("old", {"old_skip_lines": 3}),
        SideOptions(skip_lines=3),
    ]
    runs = [Options(keys=("A",), old=each) for each in alike]
    assert runs[0] == runs[1] == runs[2]
    assert len({run.digest for run in runs}) == 1
    assert runs[0].public["old"] == {"skip_lines": 3}
    assert [run.old.flags.spell("skip-lines") for run in runs] == [
        "--skip-lines",
        "--old-skip-lines",
        "--old-skip-lines",
    ]
