"""What `recon diff` makes of an awkward file is what `recon run` makes of it.

A run reads its inputs as a diff does, so a sample of the corpus shows it: files of each
folder and of each status. What each file gives is checked in `corpus/test_corpus.py`.
"""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from support.corpus_files import (
    FACTS,
    FILES,
    call,
    expected_of,
    name_of,
    options_of,
)


if TYPE_CHECKING:
    from pathlib import Path


MANY: Final = 30


def kind_of(path: Path) -> tuple[str, str]:
    """The folder of a file and its status."""
    return path.parent.name, expected_of(path).get("status", "accepted")


def sampled() -> list[Path]:
    """One file of each folder and status, then a second one of each, up to so many."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in FILES:
        kinds.setdefault(kind_of(path), []).append(path)
    rounds = chain.from_iterable(zip_longest(*kinds.values()))
    chosen = [path for path in rounds if path is not None]
    return sorted(chosen[: max(MANY, len(kinds))])


SAMPLE: Final = sampled()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places")


@pytest.fixture(scope="module")
def database_of_all(template: str) -> str:
    """A database for all of them; each file has an inbound place of its own."""
    with psycopg.connect(template, autocommit=True) as connection:
        connection.execute("CREATE DATABASE corpus TEMPLATE template")
    return f"{template} dbname=corpus"


def deliver(path: Path, root: Path) -> list[Path]:
    """A pair of copies: of one path given twice, a refusal speaks of both sides."""
    inbound = root / "in"
    inbound.mkdir(parents=True)
    pair = [inbound / name for name in ("c.csv", "c_NEWSYSTEM.csv")]
    for copy in pair:
        copy.write_bytes(path.read_bytes())
    return pair


@pytest.mark.parametrize("path", SAMPLE, ids=name_of)
def test_the_outcome_is_the_same_in_diff_and_in_run(
    path: Path, places: Path, database_of_all: str
) -> None:
    expected, root = dict(expected_of(path)), places / name_of(path)
    options = options_of(path, expected.pop("delimiter", ","))
    compared = call("diff", *map(str, deliver(path, root)), *options)
    ran = call(
        "run", f"--inbound-s3={root}/in", f"--processed-s3={root}/processed",
        f"--out-s3={root}/out", "--dataset=claims", *options,
        RECON_DATABASE_URL=database_of_all,
    )  # fmt: skip
    if "rows" in expected:
        assert ran["verdict"] == "agree"
        assert ran["run"]["status"] == "SUCCEEDED"
        for side in ("old", "new"):
            assert compared[side]["rows"] == ran[side]["rows"]
        assert compared["counts"] == ran["counts"]
    else:
        # Only `recon diff` names `recon init`: the files of a run are described.
        compared["help"] = (compared["help"] or "").partition("; recon init ")[
            0
        ] or None
        assert [compared[fact] for fact in FACTS] == [ran[fact] for fact in FACTS]
        assert ran["run"]["status"] == expected["status"]


def test_the_sample_has_every_folder_and_every_status() -> None:
    assert {kind_of(path) for path in SAMPLE} == {kind_of(path) for path in FILES}
    assert len(SAMPLE) >= MANY
