"""The stories written by hand: each matches what the simulator sees, and each mutant has a story that catches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.election import MUTANTS
from tests.simulation.script import WRONG, ScriptError, Stage, transcript

SCRIPTS = Path(__file__).parent.parent / "scripts"
ALL = sorted(SCRIPTS.glob("**/*.txt"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_what_is_seen_is_what_the_story_says(path: Path) -> None:
    told = path.read_text(encoding="utf-8")
    assert transcript(told) == told, f"python -m tests.simulation.script {path.name} rewrites it"
    assert WRONG not in told


def test_every_mutant_is_caught_by_a_story() -> None:
    caught = {
        line.split()[1]
        for path in ALL
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("without ")
    }
    assert caught == set(MUTANTS)


def test_a_story_that_expects_what_is_not_so_goes_wrong() -> None:
    told = transcript("node a\nstart a\nrun 1s\nexpect web on a\n")
    assert f"{WRONG} web: 200 from nobody" in told


def test_a_rule_that_is_removed_without_harm_goes_wrong() -> None:
    assert f"{WRONG} nothing is broken" in transcript("node a\nstart a\nrun 1s\nwithout noFence\n")


def test_a_command_that_nobody_understands_is_an_error() -> None:
    with pytest.raises(ScriptError, match="no such command: explode a"):
        list(Stage(MUTANTS["noFence"]).play("explode a"))
