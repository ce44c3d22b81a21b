"""Deciding only the groups that an event concerns gives the same result as deciding all of them."""

from __future__ import annotations

from math import inf

import pytest

from controller.core import machine
from controller.core.machine import Policy, State, decide
from controller.core.state import Agenda
from controller.core.turn import Turn
from controller.core.values import replace
from tests.simulation.seeds import run_seed

pytestmark = pytest.mark.timeout(900)  # minutes of processor time, on a machine that others use, too

SEEDS = range(20)


@pytest.mark.parametrize("seeds", [SEEDS[first::4] for first in range(4)], ids=str)
def test_deciding_the_concerned_groups_is_deciding_all_groups(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[tuple[State, float, Policy]] = []

    class Recorded(Turn):
        def __init__(self, state: State, now: float, policy: Policy) -> None:
            super().__init__(state, now, policy)
            if state.agenda.concerned is not None:
                decided.append((state, now, policy))

    with monkeypatch.context() as patched:
        patched.setattr(machine, "Turn", Recorded)
        assert [outcome.broken for outcome in map(run_seed, seeds) if outcome.broken] == []
    for state, now, policy in decided:
        few, every = decide(state, now, policy), decide(concerning_all(state), now, policy)
        assert few.actions == every.actions
        assert few.transitions == every.transitions
        assert replace(few.state, agenda=Agenda()) == replace(every.state, agenda=Agenda())
        assert earliest(few.wake_at) <= earliest(every.wake_at)  # waking too early does no harm, waking too late does
    assert len(decided) > 1000


def concerning_all(state: State) -> State:
    return replace(state, agenda=replace(state.agenda, concerned=None))


def earliest(wake_at: float | None) -> float:
    return inf if wake_at is None else wake_at
