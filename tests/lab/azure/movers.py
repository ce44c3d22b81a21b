"""Movers of a node in the fake of Azure, as the entry points make them, but without the guest's part."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface
from typing import Any

from providers.azure.own_nic import MoverParts, calls
from providers.base import Grant, Place, Vip
from providers.cloud.deadline import Deadline
from providers.cloud.mover import Mover
from providers.cloud.moving import Moving
from tests.lab.azure.arm import Arm, Fault
from tests.lab.host.processes import until

LONG = 30.0  # seconds; generous


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def soon(seconds: float = LONG) -> Deadline:
    return Deadline.within(seconds, clock)


def grant(epoch: int) -> Grant:
    return Grant("web", epoch, clock() + LONG)


def vips(*given: str) -> tuple[Vip, ...]:
    return tuple(ip_interface(each) for each in given)


@asynccontextmanager
async def moving(kind: Any, where: dict[str, Any], *addresses: str, **keys: Any) -> AsyncIterator[tuple[Any, Moving]]:
    """Open one node's mover of a class and the provider made of it. `where` has the keys that lead to the fake."""
    options = kind.Options.model_validate_json(json.dumps({**where, **keys}), strict=True)
    asking = calls("web", clock, threads=16)
    here = MoverParts.of(options, group="web", vips=vips(*addresses), calls=asking, link=None)
    made = kind(options, here)
    provider = Moving(made, asking, group="web", clock=clock, options=options)
    try:
        yield made, provider
    finally:
        await provider.close()


async def given_up_under_way(arm: Arm, former: Moving, path: str) -> None:
    """Let an owner send a write to a path that contains `path`, and cut the owner off before it gets an answer."""
    arm.faults = [Fault("PUT", path, "late"), Fault("PUT", path, "status", times=99, status=503)]
    binding = asyncio.create_task(former.bind(grant(8)))
    await until(lambda: bool(arm.under_way))
    binding.cancel()
    await asyncio.wait([binding])
    arm.faults = []


async def led_here(mover: Mover) -> None:
    """Wait until the mover's VIPs lead here. Raises TimeoutError."""
    async with asyncio.timeout(LONG):
        while (await mover.look(soon())).place is not Place.HERE:  # noqa: ASYNC110  (polling is intended)
            await asyncio.sleep(0.05)
