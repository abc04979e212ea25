"""The pairs that show who counts right: their answers are those of the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from awkward import KEY, PAIRS, Awkward
from support import oracle

import recon_engine as rx


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.what)
def test_the_answer_of_a_pair_is_that_of_the_oracle(
    tmp_path: Path, pair: Awkward
) -> None:
    (names, old), (_, new) = map(oracle.read, (pair.old, pair.new))
    columns = [name for name in names if name != KEY]
    answer = oracle.reconcile(old, new, [KEY], columns)
    missing, extra = answer.missing.total(), answer.extra.total()
    matched = len(old) - missing
    assert pair.expected == {
        "matched": matched,
        "missing": missing,
        "extra": extra,
        "mismatched_rows": matched - answer.identical,
    }
    counts = rx.diff(*pair.write(tmp_path), keys=KEY).counts
    assert pair.expected == {name: getattr(counts, name) for name in pair.expected}
