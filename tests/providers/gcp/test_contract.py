"""The movers of Google Cloud keep the published contract of movers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_interface
from typing import Any

import pytest

from controller.contracts import LogicalClock, MoverContract, Script
from providers.cloud.calls import Calls
from providers.cloud.mover import Mover
from providers.gcp.alias_ip import AliasIp
from providers.gcp.route import Routes
from providers.gcp.static_ip import StaticIp
from tests.lab.gcp.compute import Compute
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.http.rest import RestServer
from tests.lab.http.scripted import scripted
from tests.providers.gcp.conftest import Project, project

KINDS: dict[Any, str] = {AliasIp: "10.0.0.100/32", Routes: "192.0.2.10/32", StaticIp: "203.0.113.7/32"}


class TestMovers(MoverContract):
    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def gcp(self, script: Script) -> Iterator[Project]:
        compute = Compute(project())
        script.settle = compute.finish
        with ExitStack() as stack:
            url = stack.enter_context(RestServer(scripted(compute.answer, script))).url
            stack.callback(compute.close)
            metadata = {machine.name: MetadataServer(compute.cloud, machine) for machine in compute.cloud.machines}
            urls = {name: stack.enter_context(RestServer(each.answer)).url for name, each in metadata.items()}
            yield Project(compute, url, metadata, urls)
        assert compute.mismatches == []

    @pytest.fixture
    def make_mover(self, kind: Any, gcp: Project) -> Iterator[Callable[[str, LogicalClock], Mover]]:
        vips = (ip_interface(KINDS[kind]),)
        made: list[Calls] = []

        def make(node: str, clock: LogicalClock) -> Mover:
            options = gcp.options(kind, node, resource_manager_endpoint=gcp.url)
            made.append(kind.make_calls(options, "web", vips, clock))
            mover: Mover = kind(options, group="web", vips=vips, calls=made[-1], interface=None)
            return mover

        yield make
        for calls in made:
            calls.close()
