"""AWS providers as the registry makes them, but without the guest's part, which needs its own kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any

from providers.aws.ec2 import Ec2, calls
from providers.aws.elastic_ip import ElasticIp
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from providers.base import Grant
from providers.cloud.deadline import Deadline
from providers.cloud.moving import Moving

LIVENESS = 60.0  # seconds, generous because the machine can be busy

Kind = type[SecondaryIp | Route | ElasticIp]


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def soon() -> Deadline:
    return Deadline.within(LIVENESS, clock)


def grant(epoch: int = 1, seconds: float = LIVENESS) -> Grant:
    return Grant("web", epoch, clock() + seconds)


@dataclass
class Movers:
    """Makes movers. `close` ends their threads and connections."""

    made: list[Moving] = field(default_factory=list)
    interface: str | None = None

    def make(self, kind: Kind, *vips: str, **options: Any) -> tuple[Any, Moving]:
        """Return a mover and the provider made of it."""
        given = kind.Options.model_validate({"region": "eu-central-1", "move_seconds": LIVENESS, **options})
        asking = calls("web", clock)
        ec2 = Ec2(given, asking, interface=self.interface)
        mover: Any = kind(ec2, tuple(map(ip_interface, vips)), given)  # type: ignore[arg-type]
        self.made.append(Moving(mover, asking, group="web", clock=clock, options=given))
        return mover, self.made[-1]

    async def close(self) -> None:
        for each in self.made:
            await each.close()
