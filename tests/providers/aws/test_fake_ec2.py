"""The fake refuses what EC2 refuses. If it were more lenient, a test against it would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.lab.aws.access import Key
from tests.lab.aws.ec2 import Ec2, Fault
from tests.lab.aws.query import Refused
from tests.lab.host.namespaces import eventually

OVERLAY = "192.0.2.10/32"


def refusal(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def assign(client: Any, eni: str, *addresses: str, **more: Any) -> Any:
    return client.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=list(addresses), **more)


def test_an_address_in_use_is_moved_only_when_asked_so(ec2: Ec2, client: Any) -> None:
    assign(client, "eni-1", "10.77.0.100")
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        assign(client, "eni-2", "10.77.0.100")
    moved = assign(client, "eni-2", "10.77.0.100", AllowReassignment=True)
    assert moved["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": "10.77.0.100"}]
    assert ec2.cloud.owner("10.77.0.100") == "eni-2"
    assert ec2.cloud.interfaces["eni-1"].addresses == ["10.77.0.11"]


@pytest.mark.parametrize("address", ["10.77.9.1", "10.77.0.3", "10.77.0.255", "10.77.0.12"])
def test_addresses_that_cannot_be_assigned(client: Any, address: str) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        assign(client, "eni-1", address, AllowReassignment=True)


def test_an_interface_has_room_for_so_many(ec2: Ec2, client: Any) -> None:
    ec2.cloud.addresses_per_interface = 2
    with pytest.raises(ClientError, match="PrivateIpAddressLimitExceeded"):
        assign(client, "eni-1", "10.77.0.100", "10.77.0.101")


def test_assigning_has_no_dry_run(client: Any) -> None:
    with pytest.raises(Exception, match="DryRun"):
        assign(client, "eni-1", "10.77.0.100", DryRun=True)


def test_only_a_secondary_address_that_is_there_is_unassigned(client: Any) -> None:
    for address in ("10.77.0.100", "10.77.0.11"):
        asked = {"NetworkInterfaceId": "eni-1", "PrivateIpAddresses": [address]}
        assert refusal(client.unassign_private_ip_addresses, **asked) == "InvalidParameterValue"


def test_an_ipv6_address_in_use_is_never_moved(client: Any) -> None:
    client.assign_ipv6_addresses(NetworkInterfaceId="eni-1", Ipv6Addresses=["fd77::100"])
    asked = {"NetworkInterfaceId": "eni-2", "Ipv6Addresses": ["fd77::100"]}
    assert refusal(client.assign_ipv6_addresses, **asked) == "InvalidParameterValue"
    assert refusal(client.unassign_ipv6_addresses, **asked) == "InvalidParameterValue"


def test_a_route_is_replaced_only_where_there_is_one_and_created_only_where_there_is_none(client: Any) -> None:
    route = {"RouteTableId": "rtb-1", "DestinationCidrBlock": OVERLAY, "NetworkInterfaceId": "eni-1"}
    assert refusal(client.replace_route, **route) == "InvalidParameterValue"
    client.create_route(**route)
    assert refusal(client.create_route, **route) == "RouteAlreadyExists"
    client.replace_route(**route)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DestinationCidrBlock": "10.77.0.100/32"}, "InvalidParameterValue"),
        ({"NetworkInterfaceId": "eni-9"}, "InvalidNetworkInterfaceID.NotFound"),
        ({"RouteTableId": "rtb-9"}, "InvalidRouteTableID.NotFound"),
        ({"InstanceId": "i-1"}, "InvalidParameterCombination"),
        ({"DestinationIpv6CidrBlock": "fd00::1/128"}, "InvalidParameterCombination"),
    ],
    ids=str,
)
def test_routes_that_cannot_be(client: Any, changes: dict[str, str], code: str) -> None:
    route = {"RouteTableId": "rtb-1", "DestinationCidrBlock": OVERLAY, "NetworkInterfaceId": "eni-1"}
    assert refusal(client.create_route, **{**route, **changes}) == code


def test_a_dry_run_changes_nothing(ec2: Ec2, client: Any) -> None:
    route = {"RouteTableId": "rtb-1", "DestinationCidrBlock": OVERLAY, "NetworkInterfaceId": "eni-1"}
    assert refusal(client.create_route, **route, DryRun=True) == "DryRunOperation"
    assert ec2.cloud.tables["rtb-1"].routes == {}


def test_the_route_of_an_instance_that_is_gone_is_a_black_hole(ec2: Ec2, client: Any) -> None:
    ec2.cloud.tables["rtb-1"].routes[OVERLAY] = "eni-1"
    ec2.cloud.interfaces["eni-1"].instance = None
    (table,) = client.describe_route_tables(RouteTableIds=["rtb-1"])["RouteTables"]
    assert [route["State"] for route in table["Routes"]] == ["active", "active", "blackhole"]


def test_an_elastic_ip_moves_and_its_former_association_is_nothing_any_more(ec2: Ec2, client: Any) -> None:
    asked = {"AllocationId": "eipalloc-1", "NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.77.0.11"}
    first = client.associate_address(**asked)["AssociationId"]
    assert client.associate_address(**asked)["AssociationId"] == first
    asked |= {"NetworkInterfaceId": "eni-2", "PrivateIpAddress": "10.77.0.12"}
    assert refusal(client.associate_address, **asked, AllowReassociation=False) == "Resource.AlreadyAssociated"
    client.associate_address(**asked)
    assert refusal(client.disassociate_address, AssociationId=first) == "InvalidAssociationID.NotFound"
    assert refusal(client.associate_address, **{**asked, "PrivateIpAddress": "10.77.0.99"}) == "InvalidParameterValue"


def test_an_elastic_ip_goes_where_its_private_address_goes(ec2: Ec2, client: Any) -> None:
    assign(client, "eni-1", "10.77.0.100")
    asked = {"AllocationId": "eipalloc-1", "NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.77.0.100"}
    client.associate_address(**asked)
    assign(client, "eni-2", "10.77.0.100", AllowReassignment=True)
    (shown,) = client.describe_addresses(AllocationIds=["eipalloc-1"])["Addresses"]
    assert shown["NetworkInterfaceId"] == "eni-2"


def test_who_may_not_is_told_so(ec2: Ec2, client: Any) -> None:
    statement = {"Effect": "Allow", "Action": ["ec2:Describe*"], "Resource": "*"}
    only = {"Effect": "Allow", "Action": ["ec2:CreateRoute"], "Resource": "arn:aws:ec2:*:*:*/*-1"}
    ec2.access.keys["AKIAEXAMPLE"].policy = {"Statement": [statement, only]}
    client.describe_route_tables()
    route = {"DestinationCidrBlock": OVERLAY, "NetworkInterfaceId": "eni-1"}
    client.create_route(RouteTableId="rtb-1", **route)
    assert refusal(client.create_route, RouteTableId="rtb-2", **route) == "UnauthorizedOperation"
    assert refusal(client.replace_route, RouteTableId="rtb-1", **route, DryRun=True) == "UnauthorizedOperation"


def test_who_is_not_known_is_refused(ec2: Ec2, client: Any) -> None:
    ec2.access.keys["AKIAEXAMPLE"].expired = True
    assert refusal(client.describe_route_tables) == "RequestExpired"
    ec2.access.keys = {"AKIAEXAMPLE": Key(token="other")}
    assert refusal(client.describe_route_tables) == "AuthFailure"
    ec2.access.keys = {}
    assert refusal(client.describe_route_tables) == "AuthFailure"


def test_filters_and_pages(ec2: Ec2, client: Any) -> None:
    ec2.cloud.tables["rtb-2"].tags = {}
    tagged = client.describe_route_tables(Filters=[{"Name": "tag:anyvip", "Values": ["shop"]}])["RouteTables"]
    assert [table["RouteTableId"] for table in tagged] == ["rtb-1"]
    ec2.cloud.prefix_lists["pl-1"] = [f"192.0.2.{n}/32" for n in range(101)]
    first = client.get_managed_prefix_list_entries(PrefixListId="pl-1")
    assert len(first["Entries"]) == 100
    rest = client.get_managed_prefix_list_entries(PrefixListId="pl-1", NextToken=first["NextToken"])
    assert len(rest["Entries"]) == 1
    bad = {"Filters": [{"Name": "colour", "Values": ["red"]}]}
    assert refusal(client.describe_route_tables, **bad) == "InvalidParameterValue"


def test_faults_come_as_ordered(ec2: Ec2, client: Any) -> None:
    ec2.throttle("DescribeSubnets", times=1)
    assert refusal(client.describe_subnets) == "RequestLimitExceeded"
    client.describe_subnets()
    ec2.fail("*", Refused("InternalError", "oops", 500), times=1)
    assert refusal(client.describe_subnets) == "InternalError"


def test_a_write_may_land_without_an_answer(ec2: Ec2, client: Any) -> None:
    ec2.faults.append(Fault("AssignPrivateIpAddresses", silent="after"))
    client.meta.events.register("before-send", lambda request, **_: request.context.update(read_timeout=0.2))
    with pytest.raises(ReadTimeoutError):
        assign(client, "eni-1", "10.77.0.100")
    assert eventually(lambda: ec2.cloud.owner("10.77.0.100") == "eni-1")


def test_descriptions_may_be_late(ec2: Ec2, client: Any) -> None:
    ec2.stale_seconds = 60.0
    assign(client, "eni-1", "10.77.0.100")
    (eni,) = client.describe_network_interfaces(NetworkInterfaceIds=["eni-1"])["NetworkInterfaces"]
    assert len(eni["PrivateIpAddresses"]) == 1
    ec2.stale_seconds = 0.0
    (eni,) = client.describe_network_interfaces(NetworkInterfaceIds=["eni-1"])["NetworkInterfaces"]
    assert len(eni["PrivateIpAddresses"]) == 2


def test_a_request_that_no_model_knows_is_refused(ec2: Ec2) -> None:
    scope = "20261122/eu-central-1/ec2/aws4_request"
    signed = f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/{scope}, SignedHeaders=host, Signature={'0' * 64}"
    asked = {"Action": "DescribeSubnets", "Version": "2016-11-15"}

    def answered(**form: str) -> str:
        found = ec2.handle({"authorization": signed}, {**asked, **form})
        assert found is not None
        return found[1]

    assert "<DescribeSubnetsResponse" in answered()
    assert "UnknownParameter" in answered(Colour="red")
    assert "InvalidParameterValue" in answered(Version="2013-01-01")
    assert "InvalidAction" in answered(Action="Nonsense")
    assert "InvalidParameterValue" in answered(DryRun="yes")
    assert "UnsupportedOperation" in answered(Action="DescribeHosts")
    unsigned = ec2.handle({}, asked)
    assert unsigned is not None
    assert "MissingAuthenticationToken" in unsigned[1]
