"""Azure: resources are written whole, by one operation at a time, and an address must be free before it is added.

It is unknown whether Azure respects `If-Match` on these resources, so it does in some seeds and not in others.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from tests.simulation.cloud import BUSY, FAILED, IN_USE, PAUSE_SECONDS, STALE, Cloud, Mover, Refused, Request, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.simulation.story import Story
    from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as Azure shows it.

    `effective` is what packets meet: while the resource is being written, still its content before the write.
    """

    key: str
    content: Any = None
    etag: int | None = None
    updating: bool = False
    failed: bool = False
    effective: Any = None

    @property
    def settled(self) -> bool:
        """Report whether the provisioning state is `Succeeded`."""
        return not self.updating and not self.failed


@dataclass(frozen=True, slots=True, eq=False)
class Get(Request):
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class Put(Request):
    """Writes a whole resource. `etag` is the one it was read with, for If-Match, or None if there was none."""

    writes: ClassVar[bool] = True
    key: str
    content: Any
    etag: int | None


class Arm(Cloud):
    """The reads and writes of Azure Resource Manager. A key is `PARENT` or `PARENT/CHILD`."""

    writes = (Put,)

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self.resources: dict[str, Resource] = {}
        self.heeds = rng.random() < 0.5  # If-Match
        self._etags = count(1)

    def apply(self, request: Request) -> object:
        if isinstance(request, Put):
            self._begin(request)
        elif isinstance(request, Get):
            return self.resources.get(request.key, Resource(request.key))
        return None

    def _begin(self, put: Put) -> None:
        """Accept a write or refuse it. An accepted write is shown immediately."""
        before = self.resources.get(put.key, Resource(put.key))
        parent = put.key.partition("/")[0]
        if any(each.updating and key.partition("/")[0] == parent for key, each in self.resources.items()):
            raise Refused(BUSY)
        if self.heeds and put.etag is not None and put.etag != before.etag:
            raise Refused(STALE)
        self.admit(put)
        self.resources[put.key] = replace(before, content=put.content, etag=next(self._etags), updating=True)
        self.world.after(self.lasts(), self._end, put.key, self.breaks())

    def _end(self, key: str, failed: bool) -> None:
        found = self.resources[key]
        effective = self.half_done(found) if failed else found.content
        self.resources[key] = Resource(key, found.content, next(self._etags), failed=failed, effective=effective)
        self.changed(f"wrote {key} as {shown(found.content)}{' in vain' * failed}")

    @abstractmethod
    def half_done(self, found: Resource) -> object:
        """Return what packets meet after a write of this resource has failed, until the next write."""

    def admit(self, put: Put) -> None:
        """Raise Refused for an impossible write."""


def shown(content: object) -> str:
    """Return the content as a story shows it."""
    return " ".join(sorted(content)) or "nothing" if isinstance(content, frozenset) else str(content)


class Nics(Arm):
    """Network interfaces, one for each host, with the groups whose VIPs they have."""

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self.overwrites = not self.heeds
        nobody: frozenset[str] = frozenset()
        self.resources = {host: Resource(host, nobody, next(self._etags), effective=nobody) for host in hosts}

    def admit(self, put: Put) -> None:
        """Refuse an address that another NIC has, gets or is about to lose."""
        for other in self.resources.values():
            if other.key != put.key and put.content & (other.content | other.effective):
                raise Refused(IN_USE)

    def half_done(self, found: Resource) -> object:
        """Return the content without what the write removed and without what it added."""
        return found.content & found.effective

    def holders(self, group: str) -> list[str]:
        return [nic.key for nic in self.resources.values() if group in nic.effective]

    def check(self) -> None:
        effective = [group for nic in self.resources.values() for group in nic.effective]
        if len(set(effective)) != len(effective):
            raise self.violated("a VIP is on two network interfaces")


class Tables(Arm):
    """Two route tables, each with one route to each group's VIP: `TABLE/GROUP` holds the host that it points to."""

    NAMES = ("east", "west")

    def half_done(self, found: Resource) -> object:
        return found.effective

    def holders(self, group: str) -> list[str]:
        routes = [self.resources.get(f"{table}/{group}") for table in self.NAMES]
        return sorted({"nobody" if route is None else route.effective or "nobody" for route in routes})


class _Writer(Mover):
    """Writes a resource and waits until the write is complete (`providers.azure.network.AzureNetwork`)."""

    def move(self) -> Steps[None]:
        while True:
            try:
                return (yield from self._move())
            except Refused as refused:
                if refused.code != STALE:
                    raise
            yield PAUSE_SECONDS

    @abstractmethod
    def _move(self) -> Steps[None]:
        """Make one attempt, which reads everything anew."""

    def _write(self, key: str, content: object, etag: int | None) -> Steps[None]:
        yield Put(key, content, etag)
        written = yield from self._at_rest(Resource(key, updating=True))
        if not written.settled:
            raise Refused(FAILED)

    def _at_rest(self, found: Resource) -> Steps[Resource]:
        while found.updating:
            yield PAUSE_SECONDS
            found = yield Get(found.key)
        return found


class IpConfig(_Writer):
    """Models `azure.ip_config`: remove the address where it is, then add it here. NICs are written whole."""

    def _move(self) -> Steps[None]:
        own, others = yield from self._read()
        holders = [nic for nic in others if self.group in nic.content]
        if not holders and self.group in own.content and own.settled:
            return
        # Without a holder, the address might be leaving a NIC that is being written.
        for nic in holders or [nic for nic in others if nic.updating]:
            yield from self._remove(nic)
        yield from self._add(own)

    def _read(self) -> Steps[tuple[Resource, list[Resource]]]:
        own = yield Get(self.host)
        others = []
        for host in self.hosts:
            if host != self.host:
                others.append((yield Get(host)))  # noqa: PERF401  (a comprehension cannot yield)
        return own, others

    def _remove(self, nic: Resource) -> Steps[None]:
        nic = yield from self._at_rest(nic)
        if self.group in nic.content:
            yield from self._write(nic.key, nic.content - {self.group}, nic.etag)

    def _add(self, own: Resource) -> Steps[None]:
        own = yield from self._at_rest(own)
        if self.group not in own.content or not own.settled:
            yield from self._write(own.key, own.content | {self.group}, own.etag)

    def look(self) -> Steps[bool]:
        own = yield Get(self.host)
        return self.group in own.content and own.settled


class Route(_Writer):
    """Models `azure.route`: point one route of each table here. A table that refuses does not delay the others."""

    def _move(self) -> Steps[None]:
        refusals = []
        for table in Tables.NAMES:
            try:
                yield from self._point(f"{table}/{self.group}")
            except Refused as refused:
                refusals.append(refused)
        if refusals:
            raise refusals[0]

    def _point(self, key: str) -> Steps[None]:
        route = yield from self._at_rest((yield Get(key)))
        if route.content != self.host or not route.settled:
            yield from self._write(key, self.host, route.etag)

    def look(self) -> Steps[bool]:
        for table in Tables.NAMES:
            route = yield Get(f"{table}/{self.group}")
            if route.content != self.host or not route.settled:
                return False
        return True
