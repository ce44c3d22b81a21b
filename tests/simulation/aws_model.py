"""AWS: one call moves an address or a route from any holder. The last call that lands wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.simulation.cloud import Cloud, Mover, Request, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.simulation.story import Story
    from tests.simulation.world import World


@dataclass(frozen=True, slots=True, eq=False)
class Describe(Request):
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Assign(Request):
    """AssignPrivateIpAddresses with AllowReassignment, ReplaceRoute or AssociateAddress."""

    writes: ClassVar[bool] = True
    group: str
    host: str


class Aws(Cloud):
    """A network in which each group leads to the host whose call landed last."""

    writes = (Assign,)

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self.leads_to: dict[str, str] = {}

    def apply(self, request: Request) -> object:
        match request:
            case Assign():
                self.leads_to[request.group] = request.host
                self.changed(f"assigned {request.group} to {request.host}")
            case Describe():
                return self.leads_to.get(request.group)
        return None

    def holders(self, group: str) -> list[str]:
        return [self.leads_to[group]] if group in self.leads_to else []


class Assigner(Mover):
    """Models `aws.secondary_ip`, `aws.route` and `aws.elastic_ip`."""

    def move(self) -> Steps[None]:
        yield Assign(self.group, self.host)

    def look(self) -> Steps[bool]:
        leads_to = yield Describe(self.group)
        return bool(leads_to == self.host)
