"""Routes to VIPs outside every subnet: the new route wins over the old one before that is deleted (docs/gcp.md).

Routes cannot be changed, and of several for one destination the lowest priority number wins. A route's number comes
from the epoch. So a route that a former owner inserts late loses, and no two owners ever insert the same number.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final, Self

from google.cloud import compute_v1
from google.cloud.compute_v1 import Route
from pydantic import Field, model_validator

from providers.baremetal.provider import InterfaceName
from providers.base import Finding, Level, Place, Placement, ProviderError, Topic, Vip
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import Deadline
from providers.cloud.mover import MovingOptions
from providers.gcp import preflight
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Compute, InstanceName, Terms, status
from providers.gcp.identity import ComputeMechanism, Identity

_log = logging.getLogger(__name__)

_GONE: Final = 404
_EXISTS: Final = 409
_PAGE: Final = 500  # the most routes that one answer lists
_FILTER: Final = 40  # the most destinations that one request names, so that its URL does not get too long
_THREADS: Final = 32
_GOING_SECONDS: Final = 60.0  # a route that is still there after so long must be deleted again

# terraform/gcp/policies/route.json
PERMISSIONS: Final = (
    "compute.globalOperations.get",
    "compute.instances.get",
    "compute.instances.use",
    "compute.networks.updatePolicy",
    "compute.routes.create",
    "compute.routes.delete",
    "compute.routes.list",
    "compute.subnetworks.list",
)


class RouteOptions(ComputeOptions, MovingOptions):
    """The configuration keys of `type: gcp.route`."""

    best_priority: int = Field(default=1, ge=0, le=65535, description="The lowest priority number that routes get.")
    worst_priority: int = Field(
        default=999, ge=0, le=65535, description="The highest one; 1000 is what other routes have by default."
    )
    interface: InterfaceName | None = Field(
        default=None, description="Where the VIPs are bound in the guest. Default: as for `type: baremetal`."
    )

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.worst_priority - self.best_priority < 99:
            raise ValueError("best_priority and worst_priority that are at least 99 apart")
        return self


@dataclass(frozen=True, slots=True)
class OwnPlace:
    """This virtual machine, and the network of its interface, by the path that the API uses."""

    name: InstanceName
    network: str

    @property
    def project(self) -> str:
        """Return the project that has the network's routes."""
        return self.network.split("/")[1]


class Routes(ComputeMechanism):
    """Leads the VIPs of one group to this virtual machine (`providers.cloud.mover.Mover`)."""

    Options = RouteOptions

    def __init__(
        self, options: RouteOptions, *, group: str, vips: tuple[Vip, ...], calls: Calls, interface: str | None
    ) -> None:
        """`interface` is where the VIPs are bound here; it identifies the interface in Compute Engine."""
        self._options = options
        self._group = group
        self._destinations = tuple(f"{vip.ip}/{vip.max_prefixlen}" for vip in vips)
        self._compute = Compute(options, calls)
        self._identity = Identity(options, self._compute, interface)
        self._here: OwnPlace | None = None
        self._epoch = 0
        self._going: dict[str, Deadline] = {}  # losing routes that are being deleted, and when they must be gone

    @classmethod
    def threads(cls, options: RouteOptions, vips: tuple[Vip, ...]) -> int:  # noqa: ARG003
        """Return one thread for each VIP and some more, within bounds."""
        return min(len(vips) + 2, _THREADS)

    def close(self) -> None:
        """Close all connections."""
        self._compute.close()

    def begin(self, epoch: int) -> None:
        """Set the epoch that the routes of the next moves carry."""
        self._epoch = epoch

    async def warm(self, until: Deadline) -> None:
        """Look up this instance and its network. The calls of `look` open the connections."""
        await self._where(until)

    async def move(self, until: Deadline) -> None:
        """Insert a route for each VIP, then delete those that led elsewhere, for all VIPs at the same time."""
        here = await self._where(until)
        found = await self._routes(here, until)
        await together(self._move(here, each, found[each], until) for each in self._destinations)

    async def leave(self, until: Deadline) -> None:
        """Do nothing: until the next owner's route wins, ours leads to a machine that refuses its packets."""

    async def look(self, until: Deadline) -> Placement:
        """Ask for the routes to our VIPs. Routes that are left over from former owners count as elsewhere, too."""
        here = await self._where(until)
        found = await self._routes(here, until)
        self._going = {name: end for name, end in self._going.items() if end.waiting()}
        placements = [self._placement(here, each, found[each]) for each in self._destinations]
        return max(placements, key=lambda each: list(Place).index(each.place))

    async def preflight(self) -> list[Finding]:
        """Return what would keep routes from leading the VIPs here."""
        until = self._compute.calls.within(preflight.SECONDS)
        try:
            here = await self._where(until)
            instance = await self._compute.instance(here.name, until)
        except ProviderError as error:
            return preflight.report_identity_failure(error)
        wanted = preflight.permissions(self._compute, [here.name], "route", PERMISSIONS, until)
        looks = {
            Topic("gcp.permission", "permissions"): wanted,
            Topic("gcp.vip_subnets", "subnets"): self._subnets(here, until),
            Topic("gcp.routes", "routes"): self._others(here, until),
        }
        identity = Finding(Level.OK, "gcp.identity", "identity", f"{here.name} in {here.network}")
        return [identity, *preflight.forwards(instance), *await preflight.run_checks(looks)]

    async def _subnets(self, here: OwnPlace, until: Deadline) -> list[Finding]:
        if here.project != here.name.project:
            remedy = "run the nodes in the host project, or move the VIPs with gcp.alias_ip"
            text = f"{here.network} belongs to another project, which refuses routes to instances of this one"
            return [Finding(Level.ERROR, "gcp.shared_vpc", "network", text, remedy)]
        found = await preflight.subnets(self._compute, here.project, here.network, until)
        return preflight.outside_all(found, self._destinations)

    async def _others(self, here: OwnPlace, until: Deadline) -> list[Finding]:
        """Check for routes to our VIPs that this group did not make and that would win."""
        found = await self._routes(here, until)
        winning = [
            f"{route.name} ({destination}, priority {route.priority})"
            for destination in self._destinations
            for route in found[destination]
            if not _of_group(route, self._make_route(here, destination))
            and route.priority <= self._options.worst_priority
        ]
        if winning:
            return [
                Finding(
                    Level.ERROR,
                    "gcp.routes",
                    "routes",
                    f"would win over this group's: {', '.join(winning)}",
                    "delete them",
                )
            ]
        return [Finding(Level.OK, "gcp.routes", "routes", "no other route to the VIPs wins over this group's")]

    async def _where(self, until: Deadline) -> OwnPlace:
        if self._here is None:
            name = await self._identity.name(until)
            nic = await self._identity.nic(await self._compute.instance(name, until), until)
            self._here = OwnPlace(name, "projects/" + nic.network.partition("/projects/")[2])
        return self._here

    # --- one destination ---

    async def _move(self, here: OwnPlace, destination: str, routes: Sequence[Route], until: Deadline) -> None:
        ours = self._make_route(here, destination)
        if not any(route.name == ours.name for route in routes):
            await self._insert(here, ours, routes, until)
        old = [route for route in routes if _of_group(route, ours) and route.name != ours.name]
        await together(self._delete(here, ours, route, until) for route in old)

    def _make_route(self, here: OwnPlace, destination: str) -> Route:
        """Return the route of this epoch. Its name holds the group, the VIP, the epoch and the node."""
        group = re.sub(r"[^a-z0-9]+", "-", self._group.lower()).strip("-")[:20]
        vip, node = _short(f"{here.network} {self._group} {destination}", 8), _short(here.name.path, 4)
        return Route(
            name=f"anyvip-{group}-{vip}-{self._epoch}-{node}",
            description=f"anyvip: group {self._group}, epoch {self._epoch}, node {here.name}",
            network=here.network,
            dest_range=destination,
            priority=next(self._priorities()),
            next_hop_instance=here.name.path,
        )

    def _priorities(self) -> Iterator[int]:
        """Yield this epoch's priority number, then those of the next epochs."""
        span = self._options.worst_priority - self._options.best_priority + 1
        return (self._options.worst_priority - (self._epoch + ahead) % span for ahead in range(span))

    async def _insert(self, here: OwnPlace, ours: Route, others: Sequence[Route], until: Deadline) -> None:
        taken = {route.priority for route in others}  # by an epoch from before a wipe of the store, or by other routes
        ours.priority = next((each for each in self._priorities() if each not in taken), ours.priority)
        try:
            await self._compute.change(
                f"insert route {ours.name}", None, partial(self._begin_insert, here.project, ours), until
            )
        except CallRefused as refused:
            if status(refused) != _EXISTS:
                raise

    async def _delete(self, here: OwnPlace, ours: Route, old: Route, until: Deadline) -> None:
        """Delete an old route, without waiting if ours already wins.

        Raises ProviderError when the old one would still win.
        """
        what, work = f"delete route {old.name}", partial(self._begin_delete, here.project, old.name)
        try:
            if old.priority <= ours.priority:
                await self._compute.change(what, None, work, until)
            else:
                self._going[old.name] = self._compute.calls.within(_GOING_SECONDS)
                await self._compute.begin(what, work, until)
        except ProviderError as error:
            if isinstance(error, CallRefused) and status(error) == _GONE:
                return
            if old.priority <= ours.priority:
                raise
            _log.warning("group %s: an old route stays, but the new one wins over it: %s", self._group, error)

    def _begin_insert(self, project: str, route: Route, request_id: str, terms: Terms) -> compute_v1.Operation:
        asked = compute_v1.InsertRouteRequest(project=project, route_resource=route, request_id=request_id)
        return self._compute.routes.insert_unary(asked, **terms)

    def _begin_delete(self, project: str, name: str, request_id: str, terms: Terms) -> compute_v1.Operation:
        asked = compute_v1.DeleteRouteRequest(project=project, route=name, request_id=request_id)
        return self._compute.routes.delete_unary(asked, **terms)

    def _placement(self, here: OwnPlace, destination: str, routes: Sequence[Route]) -> Placement:
        if not routes:
            return Placement(Place.NOWHERE, f"there is no route to {destination}")
        priority = min(route.priority for route in routes)
        best = [route for route in routes if route.priority == priority]
        elsewhere = [route.name for route in best if not _leads_to(route, here)]
        if elsewhere:
            return Placement(Place.ELSEWHERE, f"{destination} by route {', '.join(elsewhere)} of priority {priority}")
        ours = self._make_route(here, destination)
        left = [r.name for r in routes if _of_group(r, ours) and not _leads_to(r, here) and r.name not in self._going]
        if left:
            return Placement(Place.ELSEWHERE, f"{destination} has leftover routes: {', '.join(left)}")
        return Placement(Place.HERE)

    # --- all of them ---

    async def _routes(self, here: OwnPlace, until: Deadline) -> Mapping[str, list[Route]]:
        """Return the network's routes by destination, ours and others."""
        parts = [self._destinations[i : i + _FILTER] for i in range(0, len(self._destinations), _FILTER)]
        answers = await together(
            self._compute.ask("list routes", partial(self._list, here.project, part), until) for part in parts
        )
        found = defaultdict(list)
        for route in (route for answer in answers for route in answer):
            if route.network.endswith(here.network):
                found[route.dest_range].append(route)
        return found

    def _list(self, project: str, destinations: Iterable[str], terms: Terms) -> list[Route]:
        some = " OR ".join(f'(destRange = "{each}")' for each in destinations)
        request = compute_v1.ListRoutesRequest(project=project, filter=some, max_results=_PAGE)
        return list(self._compute.routes.list(request, **terms))


def _leads_to(route: Route, here: OwnPlace) -> bool:
    return route.next_hop_instance.endswith(here.name.path)


def _of_group(route: Route, ours: Route) -> bool:
    """Return whether the two are of one group and VIP, whatever their epoch and node."""
    return route.name.rsplit("-", 2)[0] == ours.name.rsplit("-", 2)[0]


def _short(text: str, length: int) -> str:
    return sha256(text.encode()).hexdigest()[:length]
