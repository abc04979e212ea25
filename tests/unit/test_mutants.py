"""The seeded mistakes of `make mutants` are those of the code as it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.key)
def test_a_mutant_has_one_place_and_is_another_program(mutant: Mutant) -> None:
    source = (ROOT / mutant.path).read_text()
    assert source.count(mutant.old) == 1
    changed = source.replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
