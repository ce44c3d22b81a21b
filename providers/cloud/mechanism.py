"""The base class of all clouds' mechanisms: it opens the provider of one group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from providers.baremetal.provider import BareMetal, BareMetalOptions
from providers.base import Vip
from providers.cloud.calls import Calls
from providers.cloud.mover import Mover
from providers.cloud.moving import Moving


class Mechanism(ABC):
    """A `Mover` that the registry opens. Each cloud defines once how its calls are made and how its movers are built.

    `options` are the class's own `Options`. They include those of `MovingOptions` and, with `in_guest`, `interface`.
    """

    in_guest: ClassVar[bool] = True  # whether the VIPs are also bound in the guest, on `interface`

    @classmethod
    def open(cls, options: Any, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Moving:
        """Make the provider of one group. Raises ProviderError."""
        local = None
        if cls.in_guest:
            local = BareMetal(BareMetalOptions(interface=options.interface), group, vips, clock, announced=False)
        interfaces = frozenset() if local is None else local.interfaces
        calls = cls.make_calls(options, group, vips, clock)
        mover = cls.make_mover(options, group=group, vips=vips, calls=calls, interfaces=interfaces)
        return Moving(mover, calls, group=group, clock=clock, options=options, local=local)

    @classmethod
    @abstractmethod
    def make_calls(cls, options: Any, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Calls:
        """Make the group's calls, with as many threads as the mechanism keeps busy."""

    @classmethod
    @abstractmethod
    def make_mover(
        cls, options: Any, *, group: str, vips: tuple[Vip, ...], calls: Calls, interfaces: frozenset[str]
    ) -> Mover:
        """Make the group's mover. `interfaces`: where the guest has the VIPs. Raises ProviderError."""
