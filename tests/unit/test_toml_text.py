"""TOML is written so that it reads back as what was meant, beside what was there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine import toml_text


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES: Any = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.lists(TEXTS, max_size=30)
    | st.dictionaries(TEXTS, TEXTS, max_size=3)
)
FILE = """\
# For every dataset.
keys = ["ID"]   # the key

[rules]
"*" = "trim"
PAID = ["trim",
        "decimal"]

[dataset.claims]
gates = []

# A comment at the end.
[dataset.claims.rules]
"A B" = 'casefold'
"""


@given(value=VALUES)
def test_a_value_reads_back_as_itself(value: Any) -> None:
    text = toml_text.write_setting("a b", value)
    assert tomllib.loads(text) == {"a b": value}
    # An editor, which may split lines at other characters, changes none of them.
    assert text.splitlines() == text.split("\n")


@given(text=TEXTS)
def test_a_comment_is_one_line(text: str) -> None:
    comment = toml_text.write_comment(text)
    assert tomllib.loads(comment) == {}
    assert comment.splitlines() == [comment]


@given(
    value=VALUES,
    name=st.sampled_from(["keys", "new", "*", "A B", "gates"]) | TEXTS,
    path=st.sampled_from(
        [(), ("rules",), ("map",), ("dataset", "claims"),
         ("dataset", "claims", "rules"), ("dataset", "a.b", "rules")]
    ),
)  # fmt: skip
def test_one_setting_changes_and_all_else_stays(
    value: Any, name: str, path: tuple[str, ...]
) -> None:
    expected = tomllib.loads(FILE)
    table = expected
    for part in path:
        table = table.setdefault(part, {})
    if isinstance(table.get(name), dict):
        return
    table[name] = value
    edited = toml_text.set_value(FILE, path, name, value)
    assert tomllib.loads(edited) == expected
    for comment in ("# For every dataset.", "# A comment at the end."):
        assert comment in edited


def test_a_setting_is_added_at_the_end_of_its_table() -> None:
    edited = toml_text.set_value(FILE, (), "ignore", ["X"])
    assert edited.splitlines()[1:4] == [
        'keys = ["ID"]   # the key',
        'ignore = ["X"]',
        "",
    ]
    assert toml_text.set_value("", ("rules",), "A", "trim") == '[rules]\nA = "trim"\n'


def test_a_list_of_several_lines_is_replaced() -> None:
    edited = toml_text.set_value(FILE, ("rules",), "PAID", "nfc")
    assert edited == FILE.replace('PAID = ["trim",\n        "decimal"]', 'PAID = "nfc"')


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("rules = { A = 'trim' }\n", ("rules",), "A"),
        ('k = """\na = 1\n"""\n', (), "a"),
    ],
)
def test_what_cannot_be_edited_is_refused(
    text: str, path: tuple[str, ...], name: str
) -> None:
    with pytest.raises(ValueError, match="another form"):
        toml_text.set_value(text, path, name, "x")
