"""Each schedule holds for the movers as they are, and finds the movers that lack a rule."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from tests.simulation.cloud_scene import Scene
from tests.simulation.cloud_schedules import FINDS, HOLDS, Schedule, survives


@pytest.mark.parametrize(("schedule", "mechanism"), HOLDS)
def test_the_schedule_holds(schedule: Schedule, mechanism: str) -> None:
    with closing(Scene(mechanism)) as scene:
        schedule(scene)


@pytest.mark.parametrize(("schedule", "mechanism", "lacking", "finds"), FINDS)
def test_the_schedule_finds(schedule: Schedule, mechanism: str, lacking: Mapping[str, Any], finds: str) -> None:
    assert survives(schedule, mechanism, lacking, finds) is None
