"""What cannot be seen has an escape, and every text is shown as no other one."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.program import recon
from support.strategies import FEWER

from recon_engine import command_line, diff
from recon_engine.characters import escaped, escapes, is_seen, readable


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ann\u00a0Lee", r"Ann\u00a0Lee"),
        ("A1\u200b", r"A1\u200b"),
        ("two\r\nlines\r\n\t", r"two\r\nlines\r\n\t"),
        ("\ufffd", "\ufffd"),
        (r"C:\new", r"C:\\new"),
        ("\x1b[31m\u202e", r"\x1b[31m\u202e".replace(r"\x1b", r"\u001b")),
        ("\U000e0041", r"\U000e0041"),
        ("x\ufe0f\u034f\u3164", r"x\ufe0f\u034f\u3164"),
        ("Köln", "Köln"),
        ("Ko\u0308ln", r"Ko\u0308ln"),
        ("क्षि", "क्षि"),
        ("", ""),
    ],
)
def test_what_is_not_seen_is_spelled(text: str, shown: str) -> None:
    assert escaped(text) == shown


HARD = st.text(
    st.sampled_from(["\\", "n", "u", "0", "a", "\n", "\r", "\xa0", "\u200b", "\u00e9"])
    | st.characters(exclude_categories=["Cs"])
)


@given(HARD)
def test_a_text_is_shown_as_no_other_one(text: str) -> None:
    """Spelled as Python spells characters, so it reads the text back."""
    shown = escaped(text)
    assert all(map(is_seen, shown))
    assert len(escapes(text)) == len(text)
    assert readable(shown) == shown
    back = json.loads('"' + "".join(map(_json, escapes(text))) + '"')
    assert back == text


def _json(each: str) -> str:
    if each.startswith("\\U"):
        return json.dumps(chr(int("0x" + each[2:], 0)))[1:-1]
    return each if each.startswith("\\") else json.dumps(each)[1:-1]


@FEWER
@given(
    st.lists(
        HARD.filter(lambda text: "\x00" not in text and bool(text)),
        min_size=1,
        max_size=10,
    )
)
@example(["A\u00a0B", "a'b\nc", "\u200b\\n", "C:\\x", "it's", "A B"])
def test_bash_reads_pasted_flags_as_the_names(names: list[str]) -> None:
    flags = " ".join(command_line.map_flag(name, "B") for name in names)
    assert all(map(is_seen, flags))
    shell = ["bash", "-c", rf"printf '%s\0' {flags}"]
    ended = subprocess.run(
        shell, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    words = ended.stdout.decode().split("\0")[:-1]
    assert words[::2] == ["--map"] * len(names)
    pairs = [command_line.split_names(word, "=") for word in words[1::2]]
    assert pairs == [[name, "B"] for name in names]


def test_every_output_for_people_spells_what_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("ID,A\u00a0B\n1,Ann Lee\n")
    (tmp_path / "new.csv").write_text("ID,A\u00a0B\n1,Ann\u00a0Lee\\\n")
    shown = recon("diff", "old.csv", "new.csv", "-k", "ID", cwd=tmp_path).stdout
    assert r"A\u00a0B" in shown
    assert r"Ann Lee → Ann\u00a0Lee\\" in shown
    result = diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="ID")
    assert r"A\u00a0B" in result.to_markdown()
    assert r"A\u00a0B" in result.to_html()
    explained = recon(
        "explain", "old.csv", "new.csv", "1", "-k", "ID", cwd=tmp_path
    ).stdout.splitlines()
    values, marks = explained[3], explained[4]
    assert r"Ann\u00a0Lee\\" in values
    start = values.index(r"Ann\u00a0Lee\\")
    assert marks[start : start + 17].rstrip() == "   ^^^^^^   ^^"


def test_a_true_replacement_character_is_itself() -> None:
    old = pl.DataFrame({"ID": ["1"], "\ufffd": ["a"]})
    new = pl.DataFrame({"ID": ["1"], "\ufffd": ["b"]})
    assert "\ufffd" in diff(old, new, keys="ID").to_markdown()
