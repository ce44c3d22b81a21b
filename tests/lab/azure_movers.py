"""Movers of a node in the fake of Azure, made as the entry points make them, but for the guest's part."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface
from typing import Any

from providers.azure_own_nic import Here
from providers.base import Vip
from providers.moving import Moving

LONG = 30.0  # seconds; generous


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def soon() -> float:
    return clock() + LONG


def vips(*given: str) -> tuple[Vip, ...]:
    return tuple(ip_interface(each) for each in given)


@asynccontextmanager
async def moving(kind: Any, where: dict[str, Any], *addresses: str, **keys: Any) -> AsyncIterator[tuple[Any, Moving]]:
    """One node's mover of this class, and the provider made of it. `where`: the keys that lead to the fake."""
    options = kind.Options.model_validate_json(json.dumps({**where, **keys}), strict=True)
    here = Here.of(options, group="web", vips=vips(*addresses), clock=clock, link=None, threads=16)
    made = kind(options, here)
    provider = here.moving(made, options)
    try:
        yield made, provider
    finally:
        await provider.close()
