"""The Azure movers keep the published contract of movers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest

from controller.contracts import LogicalClock, MoverContract, Script
from providers.azure.ip_config import IpConfig
from providers.azure.own_nic import MoverParts
from providers.azure.public_ip import PublicIp
from providers.azure.route import Route
from providers.cloud.calls import Calls
from providers.cloud.mover import Mover
from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.world import Node, network, nic, public_ip, route_table
from tests.lab.http.rest import RestServer
from tests.lab.http.scripted import scripted
from tests.providers.azure.conftest import Tls

KINDS: dict[Any, tuple[str, dict[str, Any]]] = {
    IpConfig: ("10.7.0.100/24", {}),
    PublicIp: ("203.0.113.7/32", {"public_ip": "pip"}),
    Route: ("10.99.0.1/32", {"route_tables": ["t0"]}),
}


class TestMovers(MoverContract):
    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def arm(self, script: Script, tls: Tls, metadata: Metadata) -> Iterator[Arm]:  # noqa: ARG002  (the movers use it)
        fake = Arm()
        network(fake)
        for node in (Node(1), Node(2)):
            fake.add(node.nic, nic(node))
        public_ip(fake, "pip", "203.0.113.7")
        route_table(fake, "t0", "10.99.0.1/32", "10.7.0.99")
        with RestServer(scripted(fake.answer, script), tls=tls.server) as server:
            fake.audience = server.url
            yield fake
        assert fake.broken == [], "the fake gives answers that Azure's models refuse"

    @pytest.fixture
    def make_mover(self, kind: Any, arm: Arm, tls: Tls) -> Iterator[Callable[[str, LogicalClock], Mover]]:
        vip, keys = KINDS[kind]
        made: list[Calls] = []

        def make(node: str, clock: LogicalClock) -> Mover:
            own = Node(int(node.removeprefix("n")))
            common = {
                "endpoint": arm.audience,
                "ca_file": tls.ca_file,
                "polling_seconds": 0.1,
                "nic": f"nic{own.number}",
            }
            given = {**common, **keys, **({"next_hop": [own.address]} if kind is Route else {})}
            options = kind.Options.model_validate_json(json.dumps(given), strict=True)
            vips = (ip_interface(vip),)
            made.append(kind.make_calls(options, "web", vips, clock))
            mover: Mover = kind(options, MoverParts.of(options, group="web", vips=vips, calls=made[-1], link=None))
            return mover

        yield make
        for calls in made:
            calls.close()
