"""The protocol holds in every world of the model; each mutant breaks its invariant."""

from __future__ import annotations

import inspect
import re
from itertools import chain, permutations

import pytest
from protocol_model import (
    ARCHIVE,
    CASTS,
    EFFECTS,
    MUTANTS,
    NO_LOCK,
    STEPS,
    Budget,
    Protocol,
    Report,
    World,
    explore,
    is_settled,
    settled,
)

from recon_engine.pipeline import runner


SHORT = {
    "crashes and a cut": (Protocol(), Budget(crashes=2, breaks=0), 50_000),
    "a cut and two writes": (Protocol(), Budget(0, 1, 0, 2), 8_000),
    "a broken lock": (Protocol(), Budget(cuts=0), 40_000),
    "no lock": (NO_LOCK, Budget(0, 0, 0, 1, runs=3), 40_000),
}


@pytest.fixture(scope="module", params=SHORT)
def explored(request: pytest.FixtureRequest) -> tuple[str, Report]:
    protocol, budget, _ = SHORT[request.param]
    return request.param, explore(protocol, budget)


def test_no_order_of_events_breaks_an_invariant(explored: tuple[str, Report]) -> None:
    name, report = explored
    print(f"{name}: {report.states:,} states, {report.moves.total():,} moves")
    assert report.broken == {}
    assert report.states > SHORT[name][2]  # it is the world that it was


@pytest.mark.parametrize("copies", [*permutations(ARCHIVE[:2])])
@pytest.mark.parametrize("removals", [*permutations(ARCHIVE[2:])])
def test_both_files_may_be_copied_and_removed_at_once(
    copies: tuple[str, str], removals: tuple[str, str]
) -> None:
    report = explore(Protocol(archive=copies + removals), Budget(1, 0, 0, 2))
    print(f"{report.states:,} states")
    assert report.broken == {}
    assert report.states > 8_000


def test_every_event_that_can_be_is_tried() -> None:
    report = explore(Protocol(), Budget(runs=1))
    only_mutants = {"stage old", "stage new"}
    mishaps = {
        "crash", "lock breaks", "producer writes", "COMMIT takes effect",
        "COMMIT never does",
    }  # fmt: skip
    assert set(report.moves) == STEPS.keys() - only_mutants | mishaps


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_breaks_the_invariant_that_its_change_upholds(name: str) -> None:
    mutant, invariant = MUTANTS[name]
    workers, datasets, budget = CASTS.get(name, (2, 1, Budget(runs=3)))
    report = explore(mutant, budget, workers, until=invariant, datasets=datasets)
    way = " > ".join(report.broken.get(invariant, ["nothing"]))
    print(f"{name}: {invariant} by {way}")
    assert invariant in report.broken


def test_the_unique_index_alone_keeps_a_pair_from_two_results() -> None:
    report = explore(NO_LOCK, Budget(0, 1, 0, 0, runs=2))
    assert report.broken == {}


TWO_DATASETS = {
    "a crash": (Protocol(), Budget(1, 0, 0, 0, runs=3), 2, 1_000),
    "a cut and a write": (Protocol(), Budget(0, 1, 0, 1, runs=2), 2, 5_000),
    "a broken lock": (Protocol(), Budget(0, 0, 1, 0, runs=3), 3, 2_000),
    "no lock and a cut": (NO_LOCK, Budget(0, 1, 0, 0, runs=2), 3, 10_000),
}


@pytest.mark.parametrize("name", TWO_DATASETS)
def test_of_two_datasets_on_one_prefix_one_has_each_file(name: str) -> None:
    protocol, budget, workers, least = TWO_DATASETS[name]
    report = explore(protocol, budget, workers, datasets=2)
    print(f"{name}: {report.states:,} states, {report.seconds:.1f} s")
    assert report.broken == {}
    assert report.states > least


TWO_SETTINGS = {
    "a crash": (Protocol(), Budget(1, 0, 0, 0, runs=3, again=2), 2_500),
    "a cut": (Protocol(), Budget(0, 1, 0, 0, runs=3, again=2), 1_500),
    "a broken lock": (Protocol(), Budget(0, 0, 1, 0, runs=3, again=2), 5_000),
    "no lock": (NO_LOCK, Budget(0, 0, 0, 0, runs=3, again=2), 100_000),
}


@pytest.mark.parametrize("name", TWO_SETTINGS)
def test_of_two_settings_each_has_results_of_a_pair_by_turns(name: str) -> None:
    protocol, budget, least = TWO_SETTINGS[name]
    report = explore(protocol, budget, settings=2)
    print(f"{name}: {report.states:,} states, {report.seconds:.1f} s")
    assert report.broken == {}
    assert report.states > least


@pytest.mark.parametrize(
    ("protocol", "results"),
    [
        (Protocol(), [(0, 1), (1, 1), (0, 2), (1, 2)]),
        # It does not apply settings again: their result is not the present state.
        (Protocol(last_result_decides=False), [(0, 1), (1, 1)]),
    ],
)
def test_a_pair_that_is_delivered_again_is_compared_if_its_last_settings_differ(
    protocol: Protocol, results: list[tuple[int, int]]
) -> None:
    world = World()
    for settings in (0, 0, 1, 0, 0, 1, 1):
        world = settled(protocol, world._replace(inbound=world.written), settings)
        assert is_settled(world)
        assert world.inbound == (0, 0)
    assert [(row.settings, row.revision) for row in world.log] == results


def test_an_undisturbed_run_archives_the_pair() -> None:
    end = settled(Protocol(), World())
    assert is_settled(end)
    assert end.inbound == (0, 0)
    assert end.processed == {(0, 0, 1), (0, 1, 1)}
    assert [row.status for row in end.log] == ["SUCCEEDED"]


def test_the_steps_of_the_model_are_those_of_the_pipeline() -> None:
    source = inspect.getsource(runner)
    numbered = dict(re.findall(r"\b(\d+) ([a-z]+)(?=,|\.|$)", source, re.MULTILINE))
    names = [numbered[str(number)] for number in range(len(EFFECTS))]
    assert names == list(EFFECTS)
    assert Protocol().plan == tuple(chain.from_iterable(EFFECTS.values()))
