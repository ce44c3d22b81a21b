"""The AWS movers keep the published contract of movers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_interface
from typing import Any

import pytest

from controller.contracts import LogicalClock, LostReply, MoverContract, Script
from controller.contracts import ScriptedRefusal as RefusedByScript
from providers.aws.ec2 import Ec2 as Asking
from providers.aws.elastic_ip import ElasticIp
from providers.aws.identity import Imds as Asked
from providers.aws.identity import nic
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from providers.cloud.calls import Calls
from providers.cloud.mover import Mover
from tests.lab.aws import ec2 as fake_ec2
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.imds import Imds
from tests.lab.aws.network import NODES, small_network
from tests.lab.aws.query import Refused

CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "an IPv4 address": (SecondaryIp, "10.77.0.100/24", {}),
    "an IPv6 address": (SecondaryIp, "fd77::100/64", {}),
    "a route": (Route, "192.0.2.10/32", {"route_tables": ["rtb-1"]}),
    "an Elastic IP": (ElasticIp, "198.51.100.7/32", {}),
}


class ScriptedEc2(Ec2):
    """EC2 as the script allows it. Every call except a Describe operation is a write."""

    script: Script

    def _carried_out(self, key: str, name: str, params: Any) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            return super(ScriptedEc2, self)._carried_out(key, name, params)

        writes = not name.startswith("Describe") and not params.get("DryRun")
        try:
            return self.script.serve(name, effect, writes=writes)
        except RefusedByScript:
            raise Refused("UnauthorizedOperation", "refused by the script", 403) from None
        except LostReply:
            raise Refused("RequestTimeout", "the answer is lost", 503) from None


class TestMovers(MoverContract):
    @pytest.fixture(params=CASES)
    def case(self, request: pytest.FixtureRequest) -> tuple[Any, str, dict[str, Any]]:
        return CASES[request.param]

    @pytest.fixture
    def ec2(self, script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2]:
        made = ScriptedEc2(small_network().cloud)
        made.script = script
        with fake_ec2.serving(made) as fake:
            monkeypatch.setenv("AWS_ENDPOINT_URL", fake.url)
            yield fake

    @pytest.fixture
    def metadata(self, ec2: Ec2) -> Iterator[dict[str, str]]:
        """Return the address of each node's metadata service."""
        with ExitStack() as stack:
            services = {name: Imds(ec2.cloud, [ec2.cloud.interfaces[eni]]) for name, eni in NODES.items()}
            yield {name: stack.enter_context(fake_imds.serving(imds)).url for name, imds in services.items()}

    @pytest.fixture
    def make_mover(
        self, case: tuple[Any, str, dict[str, Any]], metadata: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[str, LogicalClock], Mover]]:
        kind, vip, keys = case
        made: list[Calls] = []

        def make(node: str, clock: LogicalClock) -> Mover:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata[node])
            options = kind.Options.model_validate({"region": "eu-central-1", **keys})
            vips = (ip_interface(vip),)
            made.append(kind.make_calls(options, "web", vips, clock))
            asking = Asking(options, made[-1], interface=None)
            asking._nic = nic(Asked(), None)  # asking later would return the interface of the last node made
            mover: Mover = kind(asking, vips, options)
            return mover

        yield make
        for calls in made:
            calls.close()
