"""The random search: the core survives it, weaker cores do not, and a seed is always the same world."""

from __future__ import annotations

from functools import partial
from multiprocessing import Pool
from random import Random
from typing import TYPE_CHECKING

import pytest

from controller.core.rules import Rules
from tests.mutants import weakened
from tests.mutants.election import MUTANTS
from tests.simulation.mutant import NONE, Mutant
from tests.simulation.profiles import PROFILES, draw_setting
from tests.simulation.seeds import run_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.seeds import Outcome

pytestmark = pytest.mark.timeout(900)  # minutes of processor time, on a machine that others use, too

SHORT = 120  # seeds; `make simulate SEEDS=...` runs more


def search(mutant: Mutant, seeds: range) -> Iterator[Outcome]:
    with Pool(2) as pool:
        yield from pool.imap(partial(run_seed, mutant=mutant), seeds, chunksize=5)


@pytest.mark.parametrize("seeds", [range(SHORT // 2), range(SHORT // 2, SHORT)], ids=str)
def test_the_core_keeps_every_promise(seeds: range) -> None:
    outcomes = search(NONE, seeds)
    assert [(outcome.seed, outcome.broken) for outcome in outcomes if outcome.broken] == []


def test_every_profile_is_among_its_seeds() -> None:
    drawn = {draw_setting(Random(seed)).profile.name for seed in range(SHORT)}
    assert drawn == {profile.name for profile in PROFILES}


@pytest.mark.parametrize("name", ["noKernel", "noWatchFence", "releaseFirst", "guard_outlives_watch"])
def test_the_search_finds_what_a_weaker_core_does(name: str) -> None:
    found = (outcome.broken for outcome in search(MUTANTS[name], range(200)))
    assert any(broken is not None and "guard" in broken for broken in found)


def test_a_seed_is_the_same_world_each_time_and_tells_its_story() -> None:
    mutant = MUTANTS["noKernel"]
    seed = next(seed for seed in range(100) if run_seed(seed, mutant).broken)
    first, again = run_seed(seed, mutant), run_seed(seed, mutant, listening=True)
    assert first.broken == again.broken
    assert again.story[0].startswith(f"seed {seed}, profile ")
    assert again.story[-1] == again.broken


def test_a_weaker_rule_replaces_a_rule_that_exists() -> None:
    weaker = [found for found in vars(weakened).values() if isinstance(found, type) and issubclass(found, Rules)]
    names = {name for rules in weaker if rules is not Rules for name in vars(rules) if not name.startswith("_")}
    assert names <= set(vars(Rules))
    assert {name for name in vars(Rules) if not name.startswith("_")} == names
