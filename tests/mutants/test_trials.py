"""The list contains every mutant, and a run of it names the survivors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.mutants import clouds, weakened
from tests.mutants.__main__ import main
from tests.mutants.election import MUTANTS
from tests.mutants.planting import NotTriedError, Plant
from tests.mutants.shell import OTHER_BOOT
from tests.mutants.trials import Trial, list_all, plant_trial
from tests.simulation.cloud_schedules import FINDS

HARMLESS = Plant(
    "harmless",
    "no rule",
    "nothing",
    OTHER_BOOT.module,
    OTHER_BOOT.before,
    OTHER_BOOT.before,
    OTHER_BOOT.caught_by,
)


def test_no_two_mutants_have_one_name() -> None:
    assert [name for name, times in Counter(trial.name for trial in list_all()).items() if times > 1] == []


def test_whatever_lacks_something_is_in_the_list() -> None:
    by_seeds = [mutant.mechanism for mutant in clouds.MUTANTS]
    used: set[type] = {part for each in by_seeds for part in (each.cloud, each.mover, each.process)}
    used |= {part for _, _, lacking, _ in FINDS for part in lacking.values()}
    used |= {part for each in MUTANTS.values() for part in (each.rules, each.guard, each.kernel, each.process)}
    there = {
        each
        for module in (clouds, weakened)
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    }
    assert {each.__name__ for each in there - used} == {"CloudMutant", "Whatever", "Relative"}, (
        "the parts that mutants are made of"
    )


def test_a_test_that_cannot_be_run_catches_nothing() -> None:
    nowhere = replace(OTHER_BOOT, caught_by="tests/controller/daemon/test_life.py::test_nowhere")
    broken = replace(OTHER_BOOT, after="        return (\n")
    for plant in (nowhere, broken):
        assert "could not be run" in (plant.survives() or "")


def test_a_survivor_is_named_and_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plant_trial(HARMLESS), plant_trial(OTHER_BOOT)]) == 1
    *_, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith("2 mutants, 1 caught, 1 SURVIVE: harmless, in ")


def test_without_a_survivor_the_run_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plant_trial(OTHER_BOOT)]) == 0
    first, summary = capsys.readouterr().out.splitlines()
    assert first.startswith(f"[1/1] otherBoot: {OTHER_BOOT.rule}: caught by {OTHER_BOOT.caught_by} (")
    assert summary.startswith("1 mutants, 1 caught, none survives, in ")


def not_tried() -> str | None:
    raise NotTriedError("its test is skipped here")


def test_a_mutant_that_is_not_tried_is_not_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Trial("somewhere", "a rule", "a test", not_tried)]) == 1
    assert "somewhere: a rule: SURVIVES: its test is skipped here" in capsys.readouterr().out
