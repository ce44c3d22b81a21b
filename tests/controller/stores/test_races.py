"""Several processes after the same keys: never two winners, never a write lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.stores.backends import racing
from tests.lab.stores.racer import COUNTER

if TYPE_CHECKING:
    from tests.lab.stores.backends import Backend
    from tests.lab.stores.racer import Score

PROCESSES = 8
ROUNDS = 50
FEWER_ROUNDS = {"dynamodb": 10, "s3": 8, "azure_blob": 6}  # `bench.races` makes 200


def check(scores: list[Score], counter: int) -> None:
    """Nobody won what somebody else won, and the counter moved for every win (or unknown outcome), for nothing else."""
    created = [number for score in scores for number in score.created]
    counted = [number for score in scores for number in score.counted]
    unsure = sum(score.unsure for score in scores)
    assert len(set(created)) == len(created), "two processes created the same key"
    assert len(set(counted)) == len(counted), "two processes made the same step"
    assert len(counted) <= counter <= len(counted) + unsure


async def test_of_eight_processes_one_wins_each_round(shared_backend: Backend) -> None:
    rounds = FEWER_ROUNDS.get(shared_backend.type, ROUNDS)
    with racing(shared_backend, PROCESSES, rounds) as racers:
        racers.go()
        scores = racers.scores()
    entries = await shared_backend.open("race").read("")
    check(scores, int(entries[COUNTER].value))
    assert sum(score.unsure for score in scores) == 0
    assert sum(len(score.created) for score in scores) == rounds
    assert len(entries) == rounds + 1
    for n, score in enumerate(scores):
        for number in score.created:
            assert entries[f"groups/round{number}"].value == f"racer{n}".encode()
    refused = sum(score.conflicts for score in scores)
    assert refused >= (PROCESSES - 1) * (rounds + 1), "all had read the counter before the first step: one made it"
