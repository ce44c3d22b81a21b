"""Troubled clusters in each cloud's network: at the end it leads to the node that serves, in spite of late calls."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.mutants.clouds import MUTANTS, CloudMutant
from tests.simulation.cloud_seeds import MECHANISMS, run_seed, run_seeds

pytestmark = pytest.mark.timeout(900)  # minutes of processor time, on a machine that others use, too

SEEDS = int(os.environ.get("ANYVIP_CLOUD_SEEDS", "5"))  # of each mechanism

# What must happen in these seeds. Otherwise they prove nothing.
HAPPENS = {
    *("late call", "lost", "copied", "long operation", "failed"),
    *("assigned", "wrote", "gave", "inserted", "deleted", "Put refused: busy", "Patch refused: busy"),
}


def test_the_network_leads_to_whoever_serves() -> None:
    outcomes = run_seeds(range(SEEDS), MECHANISMS.values())
    assert [(each.mechanism, each.seed, each.broken) for each in outcomes if each.broken] == []
    seen = sum((each.seen for each in outcomes), Counter[str]())
    assert HAPPENS - set(+seen) == set()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_who_lacks_a_rule_is_found_out(mutant: CloudMutant) -> None:
    assert mutant.survives() is None


def test_a_seed_is_the_same_world_each_time() -> None:
    mechanism = next(mutant.mechanism for mutant in MUTANTS if mutant.name == "NeverLooks azure.ip_config")
    first, again = run_seed(0, mechanism), run_seed(0, mechanism, listening=True)
    assert first.broken is not None
    assert (first.broken, first.seen) == (again.broken, again.seen)
    assert again.story
