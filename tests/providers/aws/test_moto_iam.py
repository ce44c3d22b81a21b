"""The shipped policies under moto's own enforcement of IAM: they are enough and minimal.

These tests cover only what moto does like EC2. moto answers AccessDenied instead of UnauthorizedOperation, and moves no
address from another holder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest
from botocore.session import get_session

from providers.aws.elastic_ip import ElasticIp
from providers.aws.route import Route
from providers.aws.secondary_ip import SecondaryIp
from providers.base import Place, ProviderError
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.access import Policy, without
from tests.lab.aws.imds import Imds
from tests.lab.aws.movers import Movers, grant
from tests.lab.aws.state import Cloud, Interface, Subnet
from tests.lab.stores.moto import start_moto
from tests.providers.aws.conftest import MODELS
from tests.providers.aws.test_policies import policy

pytestmark = pytest.mark.timeout(300)  # moto takes long to start on a busy machine

OFF = b"1000000000"
MOVES = {
    "secondary_ip": ("ec2:AssignPrivateIpAddresses", "ec2:DescribeNetworkInterfaces"),
    "route": ("ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DescribeRouteTables"),
    "elastic_ip": ("ec2:AssociateAddress", "ec2:DescribeAddresses"),
}


@dataclass
class Account:
    """A network in moto with a user whose policy the test sets."""

    url: str
    interface: str
    tables: tuple[str, ...]
    public: str
    key: str = ""
    secret: str = ""

    def client(self, service: Any) -> Any:
        session = get_session()
        session.register_component("data_loader", MODELS)
        return session.create_client(
            service,
            "eu-central-1",
            endpoint_url=self.url,
            aws_access_key_id="operator",
            aws_secret_access_key="operator",
        )

    def enforce(self, body: bytes = b"0") -> None:
        """Set the policy from the next request on. `OFF` ends the enforcement."""
        request = Request(f"{self.url}/moto-api/reset-auth", body, {"Content-Type": "text/plain"})
        with urlopen(request, timeout=60):
            pass

    def allow(self, given: Policy) -> None:
        self.enforce(OFF)
        document = json.dumps(given)
        self.client("iam").put_user_policy(UserName="anyvip", PolicyName="anyvip", PolicyDocument=document)
        self.enforce()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    server = start_moto(tmp_path_factory.mktemp("moto") / "log")
    try:
        made = Account(server.url, "", (), "")
        ec2, iam = made.client("ec2"), made.client("iam")
        vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.0.0/24")["Subnet"]["SubnetId"]
        eni = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.77.0.11")["NetworkInterface"]
        made.interface = eni["NetworkInterfaceId"]
        made.tables = tuple(ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2))
        made.public = ec2.allocate_address(Domain="vpc")["PublicIp"]
        iam.create_user(UserName="anyvip")
        key = iam.create_access_key(UserName="anyvip")["AccessKey"]
        made.key, made.secret = key["AccessKeyId"], key["SecretAccessKey"]
        yield made
    finally:
        server.stop()


@pytest.fixture
def user(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Make this node the user, on an instance with that network interface."""
    cloud = Cloud(subnets={"subnet-1": Subnet("subnet-1", "10.77.0.0/24")})
    with fake_imds.serving(Imds(cloud, [Interface(account.interface, "subnet-1", ["10.77.0.11"])])) as imds:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", account.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", account.secret)
        yield account
        account.enforce(OFF)


async def life(user: Account, name: str, **options: Any) -> None:
    """Take over as a provider does, and confirm it, with new routes each time."""
    movers = Movers()
    try:
        if name == "secondary_ip":
            _, provider = movers.make(SecondaryIp, "10.77.0.100/24", **options)
        elif name == "route":
            _, provider = movers.make(Route, "192.0.2.10/32", route_tables=user.tables, **options)
        else:
            _, provider = movers.make(ElasticIp, f"{user.public}/32", **options)
        await provider.bind(grant())
        assert (await provider.inspect()).place is Place.HERE
    finally:
        await movers.close()


def without_routes(user: Account) -> None:
    user.enforce(OFF)
    ec2 = user.client("ec2")
    for table in ec2.describe_route_tables(RouteTableIds=list(user.tables))["RouteTables"]:
        for route in table["Routes"]:
            if route.get("DestinationCidrBlock") == "192.0.2.10/32":
                ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="192.0.2.10/32")


@pytest.mark.parametrize("name", MOVES)
async def test_the_policy_is_enough(user: Account, name: str) -> None:
    user.allow(policy(name))
    await life(user, name)
    await life(user, name)  # and once more, when everything exists already


@pytest.mark.parametrize(("name", "action"), [(name, action) for name in MOVES for action in MOVES[name]])
async def test_each_action_is_missed_and_named(user: Account, name: str, action: str) -> None:
    without_routes(user)
    user.allow(without(policy(name), action))
    with pytest.raises(ProviderError, match=rf"{action.removeprefix('ec2:')}: (AccessDenied|UnauthorizedOperation)"):
        await life(user, name, move_seconds=10)


def test_the_enforcement_is_on(user: Account) -> None:
    user.allow(policy("route"))
    session = get_session()
    session.register_component("data_loader", MODELS)
    ec2: Any = session.create_client("ec2", "eu-central-1")
    with pytest.raises(Exception, match="AccessDenied"):
        ec2.describe_instances()
