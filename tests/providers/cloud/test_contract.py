"""`Moving` keeps the published contract of providers, and the small cloud's mover that of movers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from controller.contracts import LogicalClock, MoverContract, Script, TakeoverContract
from providers.base import Provider
from providers.cloud.calls import Calls
from providers.cloud.mover import Mover
from tests.lab.cloud.small_cloud import Cloud, CloudMover, moving, translate


class TestMoving(TakeoverContract):
    @pytest.fixture
    def make_provider(self) -> Callable[[str, LogicalClock], Provider]:
        cloud = Cloud()
        return lambda node, clock: moving(cloud, node=node, clock=clock)[0]


class TestMover(MoverContract):
    @pytest.fixture
    def make_mover(self, script: Script) -> Iterator[Callable[[str, LogicalClock], Mover]]:
        cloud = Cloud(script)
        made: list[Calls] = []

        def make(node: str, clock: LogicalClock) -> Mover:
            made.append(Calls(node, clock=clock, translate=translate, threads=2))
            return CloudMover(cloud, made[-1], node)

        yield make
        for calls in made:
            calls.close()
