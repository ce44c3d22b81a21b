"""Terraform's own verdicts on every module and example; the examples applied, planned again and destroyed.

All of it begins when the first of it is asked for: AWS's provider sleeps for minutes, other things are done meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.lab.host.servers import Server
from tests.lab.stores.moto import CREDENTIALS, REGION
from tests.lab.terraform.roots import ROOT, Ran, Tree, roots

EXAMPLES = [root for root in roots() if root.startswith("examples/")]


@dataclass(frozen=True)
class Examined:
    """One root, and what its own tests said."""

    init: Ran
    test: Ran

    def said(self, kind: str) -> list[Any]:
        """What `terraform test` said of this kind, in its machine-readable form."""
        lines = [json.loads(line) for line in self.test.output.splitlines() if line.startswith("{")]
        return [line[kind] for line in lines if line["type"] == kind]

    def outputs(self) -> list[dict[str, Any]]:
        """The outputs of what its tests applied."""
        found = [state["outputs"] for state in self.said("test_state")]
        return [{name: output["value"] for name, output in outputs.items()} for outputs in found]


@dataclass(frozen=True)
class Applied:
    """An example: made, planned again, destroyed; with its outputs in between."""

    init: Ran
    apply: Ran
    again: Ran
    destroy: Ran
    outputs: Mapping[str, Any] = field(default_factory=dict)


# A bucket's name in front of the host's finds no way to a server on loopback.
PATH_STYLE = 'provider "aws" {\n  s3_use_path_style = true\n}\n'


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with Tree(tmp_path_factory.mktemp("terraform")) as made:
        if made.terraform is None:
            pytest.skip("terraform is not on PATH")
        for root in EXAMPLES:
            if root.startswith("examples/aws"):
                (made.directory / "terraform" / root / "loopback_override.tf").write_text(PATH_STYLE)
        yield made


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """AWS with the network that an account is born with."""
    command = [sys.executable, "-m", "tests.lab.stores.moto_at_once", "127.0.0.1", "0"]
    with Server.start(command, tmp_path_factory.mktemp("moto") / "log", ROOT) as server:
        yield server


def given(moto: Server, wheel: Wheel) -> dict[str, str]:
    """What the caller of an example on AWS gives it, as environment; what an example does not ask for is ignored."""
    ec2: Any = boto3.session.Session().client(
        "ec2", REGION, endpoint_url=moto.url, aws_access_key_id="operator", aws_secret_access_key="operator"
    )
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: str(subnet["AvailabilityZone"]))
    first, second = (subnet["SubnetId"] for subnet in subnets[:2])
    network = ip_network(subnets[0]["CidrBlock"])
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_VAR_region": REGION,
        "TF_VAR_vpc_id": subnets[0]["VpcId"],
        "TF_VAR_subnet_id": first,
        "TF_VAR_vip": f"{network[100]}/{network.prefixlen}",
        "TF_VAR_subnet_ids": f'["{first}", "{second}"]',
        "TF_VAR_route_table_ids": f'["{ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]}"]',
        "TF_VAR_image_id": ec2.describe_images()["Images"][0]["ImageId"],
        "TF_VAR_client_cidrs": '["10.0.0.0/8"]',
        "TF_VAR_wheel": wheel.url,
        "TF_VAR_deletion_protection": "false",
    }


@dataclass
class Wheel:
    """anyvip's wheel: where it will be, and how it gets there."""

    directory: Path

    @property
    def url(self) -> str:
        return (self.directory / f"anyvip-{version('anyvip')}-py3-none-any.whl").as_uri()

    def build(self) -> None:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(self.directory)]
        subprocess.run([*command, str(ROOT)], check=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    return Wheel(tmp_path_factory.mktemp("wheel"))


class Work:
    """What is under way, by root."""

    def __init__(self, tree: Tree, environments: Mapping[str, Mapping[str, str]]) -> None:
        """`environments`: what the clouds' examples are given, by cloud; those of other clouds are not applied."""
        self._tree = tree
        self._environments = environments
        self._one = ThreadPoolExecutor(1)
        self._two = ThreadPoolExecutor(2)
        self._sleepers = ThreadPoolExecutor(4)
        slowest_first = sorted(roots(), key=lambda root: (not root.startswith("examples/aws"), root))
        self._inits = {root: self._one.submit(tree.init, root) for root in slowest_first}
        self._applied = {root: self._sleepers.submit(self._apply, root) for root in EXAMPLES if self.given(root)}
        self._examined = {root: self._two.submit(self._examine, root) for root in slowest_first}

    def given(self, root: str) -> Mapping[str, str] | None:
        return self._environments.get(root.removeprefix("examples/").partition("-")[0])

    def examined(self, root: str) -> Examined:
        found = self._result(root, self._examined)
        assert isinstance(found, Examined)
        return found

    def applied(self, root: str) -> Applied:
        found = self._result(root, self._applied)
        assert isinstance(found, Applied)
        return found

    def close(self) -> None:
        for pool in (self._one, self._two, self._sleepers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _result(self, root: str, asked: Mapping[str, Future[Any]]) -> Examined | Applied:
        init = self._inits[root].result()
        if "Failed to query available provider packages" in init.output:
            pytest.skip(f"terraform init finds no providers: {init.output.strip().splitlines()[-1]}")
        assert init.code == 0, init
        found: Examined | Applied = asked[root].result()
        return found

    def _examine(self, root: str) -> Examined:
        init = self._inits[root].result()
        if init.code:
            return Examined(init, init)
        return Examined(init, self._tree.run(root, "test", "-json", "-verbose"))

    def _apply(self, root: str) -> Applied:
        init = self._inits[root].result()
        if init.code:
            return Applied(init, init, init, init)
        given = self.given(root) or {}
        flags = ("-input=false", "-no-color")
        apply = self._tree.run(root, "apply", "-auto-approve", *flags, **given)
        outputs = self._tree.outputs(root) if apply.code == 0 else {}
        again = self._tree.run(root, "plan", "-detailed-exitcode", *flags, **given)
        destroy = self._tree.run(root, "destroy", "-auto-approve", *flags, **given)
        return Applied(init, apply, again, destroy, outputs)


@pytest.fixture(scope="session")
def work(tree: Tree, moto: Server, wheel: Wheel) -> Iterator[Work]:
    made = Work(tree, {"aws": given(moto, wheel)})
    yield made
    made.close()


@pytest.fixture(scope="session")
def applied(work: Work) -> Callable[[str], Applied]:
    return work.applied


@pytest.fixture(scope="session")
def examined(work: Work) -> Callable[[str], Examined]:
    return work.examined
