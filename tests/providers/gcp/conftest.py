"""A small project of Google Cloud: three machines, two in one zone, each with its metadata server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any

import pytest

from controller.daemon.clock import boottime
from providers.base import Vip
from providers.cloud.calls import Calls
from providers.cloud.deadline import Deadline
from providers.gcp.compute import translate
from tests.lab.gcp.cloud import Address, Cloud, Machine, Nic, Subnet
from tests.lab.gcp.compute import Compute
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.host.processes import LIVENESS
from tests.lab.http.rest import RestServer

SECONDS = 60.0  # the limit of a move; generous


def project() -> Cloud:
    """Make n1 and n2 in europe-west1-b, n3 in europe-west1-c. VIPs belong to nic1; nic0 must stay as it is."""
    names = {"n1": "europe-west1-b", "n2": "europe-west1-b", "n3": "europe-west1-c"}
    machines = [
        Machine(
            name,
            zone,
            [
                Nic("nic0", "plain", f"10.9.0.{number}", mac=f"42:01:0a:09:00:0{number}"),
                Nic("nic1", "inner", f"10.0.0.{number}", mac=f"42:01:0a:00:00:0{number}"),
            ],
        )
        for number, (name, zone) in enumerate(names.items(), 2)
    ]
    return Cloud(
        machines,
        [
            Subnet("plain", "10.9.0.0/24", network="outer"),
            Subnet("inner", "10.0.0.0/24", secondary={"vips": "10.1.0.0/24"}),
        ],
        addresses=[Address("shop-ip", "203.0.113.7"), Address("other-ip", "203.0.113.8")],
    )


@dataclass
class Project:
    """The fakes, their addresses, and movers made as the registry makes them."""

    compute: Compute
    url: str
    metadata: dict[str, MetadataServer]
    metadata_urls: dict[str, str]
    made: list[tuple[Any, Calls]] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.compute.cloud

    def options(self, kind: Any, node: str, **keys: Any) -> Any:
        """Make options as the configuration does: from JSON, strictly."""
        given = {"endpoint": self.url, "metadata_endpoint": self.metadata_urls[node], "nic": "nic1", **keys}
        return kind.Options.model_validate_json(json.dumps(given), strict=True)

    def mover(self, kind: Any, node: str, *vips: str, group: str = "web", **keys: Any) -> Any:
        """Make one node's mover of a group; it is closed when the test ends."""
        calls = Calls(f"{node}-{group}", clock=boottime, translate=translate, threads=12)
        wanted: tuple[Vip, ...] = tuple(map(ip_interface, vips))
        mover = kind(self.options(kind, node, **keys), group=group, vips=wanted, calls=calls, interface=None)
        self.made.append((mover, calls))
        return mover

    def close(self) -> None:
        for mover, calls in self.made:
            calls.close()
            mover.close()


@pytest.fixture
def gcp() -> Iterator[Project]:
    """Yield the fakes. Every request and answer must match Google's discovery document."""
    compute = Compute(project())
    with ExitStack() as stack:
        url = stack.enter_context(RestServer(compute.answer)).url
        stack.callback(compute.close)  # before the server waits for its requests
        metadata = {machine.name: MetadataServer(compute.cloud, machine) for machine in compute.cloud.machines}
        urls = {name: stack.enter_context(RestServer(each.answer)).url for name, each in metadata.items()}
        made = Project(compute, url, metadata, urls)
        stack.callback(made.close)
        yield made
    assert compute.mismatches == []


def soon() -> Deadline:
    """Return a deadline that no test comes near."""
    return Deadline.within(SECONDS, boottime)


async def cut_short(gcp: Project, work: Coroutine[Any, Any, None]) -> None:
    """Begin this, and cancel it as soon as one of its calls is under way (`Fault.late`)."""
    doing = asyncio.create_task(work)
    await eventually(lambda: gcp.compute.under_way == 1 or doing.done())
    assert not doing.done(), doing
    doing.cancel()
    await asyncio.wait([doing])


async def leaves_and_takes_over_again(gcp: Project, node: Any) -> None:
    """What it gives up is under way when it moves again, and takes effect when the move waits for it, or is done."""
    await node.move(soon())
    gcp.compute.seconds = SECONDS
    await node.leave(soon())
    gcp.compute.seconds = 0.02
    again = asyncio.create_task(node.move(soon()))
    await eventually(lambda: again.done() or gcp.compute.seen[-1].method == "zoneOperations.wait")
    gcp.compute.finish()
    await again


async def eventually(holds: Callable[[], Awaitable[bool] | bool], seconds: float = LIVENESS) -> None:
    """Poll until the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)
