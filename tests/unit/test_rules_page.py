"""Every example on docs/rules.md is what it says; every rule has its examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import equal_under_rules, read_forms
from recon_engine.rules.spelling import RULES


if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs/rules.md").read_text(encoding="utf-8")


def shown(text: str) -> str:
    r"""A text of the page, in which `\t` and `\u00a0` are escapes."""
    return re.sub(
        r"\\(?:u([0-9a-f]{4})|([trn]))",
        lambda found: (
            chr(int(found[1], 16))
            if found[1]
            else {"t": "\t", "r": "\r", "n": "\n"}[found[2]]
        ),
        text,
    )


def examples() -> Iterator[tuple[str, str, str, bool]]:
    """The rule, two texts, and whether they are equal."""
    for table in re.findall(r"<!-- rules: \w+ -->\n\|.*\n\|.*\n((?:\|.*\n)+)", PAGE):
        for row in table.splitlines():
            rule, *pairs = re.split(r"(?<!\\) \| ", row.strip("| "))
            assert len(pairs) == 4
            for pair in pairs:
                found = re.fullmatch(r"`(.*?)` ([=≠]) `(.*?)`", pair)
                assert found is not None, pair
                spelled = rule.strip("`").replace("\\|", "|")
                yield spelled, shown(found[1]), shown(found[3]), found[2] == "="


EXAMPLES = [*examples()]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "old", "new", "expected"), EXAMPLES)
def test_an_example_of_the_page_is_what_it_says(
    rule: str, old: str, new: str, *, expected: bool
) -> None:
    chain, texts = chain_of(rule), (pl.Series([old]), pl.Series([new]))
    assert equal_under_rules(chain, *texts).item() is expected
    assert equal_under_rules(chain, *texts[::-1]).item() is expected


def test_every_rule_has_its_examples() -> None:
    with_examples = {rule.partition("(")[0] for rule, *_ in EXAMPLES}
    assert with_examples == RULES.keys() - {"map"}
    assert "map(M=1,F=2)" in PAGE


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, *_ in EXAMPLES))
def test_a_form_is_read_as_itself(rule: str) -> None:
    """Idempotent: a rule leaves what it has made."""
    texts = pl.Series([text for _, *both, _ in EXAMPLES for text in both])
    chain = chain_of(rule)
    once = read_forms(chain.of("old"), texts)
    assert read_forms(chain.of("old"), once).to_list() == once.to_list()
