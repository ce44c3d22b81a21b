"""Routes in the fake EC2, by the real SDK: all tables at the same time, each with its own retries, then confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.aws.route import Route, RouteOptions
from providers.base import Place, ProviderError
from tests.lab.aws.access import Role
from tests.lab.aws.ec2 import Ec2, Fault
from tests.lab.aws.movers import Movers, grant
from tests.lab.aws.query import Refused
from tests.lab.aws.state import Table

VIP = "192.0.2.10/32"
VIP6 = "2001:db8::10/128"
TABLES = ("rtb-1", "rtb-2")


def leads_to(ec2: Ec2, destination: str = VIP) -> list[str | None]:
    return [table.routes.get(destination) for table in ec2.cloud.tables.values()]


def of_table(table: str) -> Any:
    return lambda params: params["RouteTableId"] == table


async def test_routes_are_created_once_and_replaced_from_then_on(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, VIP6, route_tables=TABLES)
    await provider.bind(grant())
    assert leads_to(ec2) == leads_to(ec2, VIP6) == ["eni-1", "eni-1"]
    assert len(ec2.asked("CreateRoute")) == 4
    ec2.calls.clear()
    for table in ec2.cloud.tables.values():
        table.routes = dict.fromkeys(table.routes, "eni-2")
    await provider.bind(grant(epoch=2))
    assert leads_to(ec2) == leads_to(ec2, VIP6) == ["eni-1", "eni-1"]
    assert ec2.names() == ["ReplaceRoute"] * 4 + ["DescribeRouteTables"]


async def test_tables_by_their_tags_also_those_that_come_later(ec2: Ec2, movers: Movers) -> None:
    ec2.cloud.tables["rtb-2"].tags = {"anyvip": "other"}
    ec2.cloud.tables["rtb-9"] = Table("rtb-9", tags={"anyvip": "shop"}, vpc="vpc-2")
    ec2.cloud.vpcs["vpc-2"] = []
    _, provider = movers.make(Route, VIP, route_table_tags={"anyvip": "shop"})
    await provider.bind(grant())
    assert leads_to(ec2) == ["eni-1", None, None]
    ec2.cloud.tables["rtb-2"].tags = {"anyvip": "shop"}
    await provider.bind(grant(epoch=2))
    assert leads_to(ec2) == ["eni-1", "eni-1", None]
    del ec2.cloud.tables["rtb-2"].routes[VIP]
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.NOWHERE, f"{VIP} in rtb-2 is missing")
    ec2.cloud.tables["rtb-1"].tags = ec2.cloud.tables["rtb-2"].tags = {}
    with pytest.raises(ProviderError, match="no route table has the tags"):
        await provider.inspect()


async def test_a_prefix_list_is_one_destination(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, "192.0.2.1/32", "192.0.2.2/32", route_tables=TABLES, prefix_list="pl-1")
    await provider.bind(grant())
    assert [table.routes for table in ec2.cloud.tables.values()] == [{"pl-1": "eni-1"}] * 2


async def test_one_table_that_fails_holds_up_no_other_and_is_tried_on_its_own(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=TABLES)
    for table in ec2.cloud.tables.values():
        table.routes[VIP] = "eni-2"
    ec2.fail("ReplaceRoute", Refused("RequestLimitExceeded", "slow down", 503), times=3, concerns=of_table("rtb-1"))
    await provider.bind(grant())
    assert leads_to(ec2) == ["eni-1", "eni-1"]
    assert [call.params["RouteTableId"] for call in ec2.asked("ReplaceRoute")].count("rtb-2") == 1


async def test_half_applied_is_an_error_that_names_the_other_half(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=TABLES)
    ec2.fail("*", Refused("UnauthorizedOperation", "no", 403), concerns=lambda p: p.get("RouteTableId") == "rtb-2")
    with pytest.raises(
        ProviderError, match=r"1 of 2 routes did not move: replace route rtb-2: .*UnauthorizedOperation"
    ):
        await provider.bind(grant())
    assert leads_to(ec2) == ["eni-1", None]
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.NOWHERE, f"{VIP} in rtb-2 is missing")
    ec2.faults.clear()
    await provider.bind(grant())
    assert leads_to(ec2) == ["eni-1", "eni-1"]


async def test_a_route_that_somebody_else_creates_meanwhile_is_replaced(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=("rtb-1",))
    ec2.fail("ReplaceRoute", Refused("InvalidParameterValue", "There is no route defined"), times=1)
    ec2.cloud.tables["rtb-1"].routes[VIP] = "eni-2"
    await provider.bind(grant())
    assert ec2.names()[:3] == ["ReplaceRoute", "CreateRoute", "ReplaceRoute"]
    assert leads_to(ec2)[0] == "eni-1"


async def test_a_route_created_without_an_answer_is_replaced(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=("rtb-1",), read_timeout_seconds=0.3)
    ec2.faults.append(Fault("CreateRoute", silent="after"))
    await provider.bind(grant())
    assert leads_to(ec2)[0] == "eni-1"


async def test_where_the_routes_lead_instead(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=TABLES)
    ec2.cloud.tables["rtb-1"].routes[VIP] = "eni-2"
    found = await provider.inspect()
    assert (found.place, found.where) == (Place.ELSEWHERE, f"{VIP} in rtb-1 leads to eni-2, {VIP} in rtb-2 is missing")


async def test_leaving_leaves_the_routes_to_the_next_owner(ec2: Ec2, movers: Movers) -> None:
    _, provider = movers.make(Route, VIP, route_tables=TABLES)
    await provider.bind(grant())
    ec2.calls.clear()
    await provider.unbind()
    assert (ec2.names(), leads_to(ec2)) == ([], ["eni-1", "eni-1"])


async def test_tables_of_another_account_by_its_role(ec2: Ec2, movers: Movers) -> None:
    arn = "arn:aws:iam::210987654321:role/routes"
    policy = {"Statement": [{"Effect": "Allow", "Action": ["ec2:*Route*"], "Resource": "*"}]}
    ec2.access.roles[arn] = Role(arn, frozenset({"AKIAEXAMPLE"}), "shop", policy)
    _, provider = movers.make(Route, VIP, route_tables=TABLES, role_arn=arn, external_id="shop")
    await provider.bind(grant())
    assert leads_to(ec2) == ["eni-1", "eni-1"]
    assert {call.key for call in ec2.asked("ReplaceRoute", "CreateRoute", "DescribeRouteTables")} == {
        "ASIA000000000001"
    }
    assert len(ec2.asked("AssumeRole")) == 1


async def test_all_tables_are_moved_at_once(ec2: Ec2, movers: Movers) -> None:
    names = tuple(f"rtb-{number}" for number in range(1, 26))
    for name in names:
        ec2.cloud.tables[name] = Table(name, {VIP: "eni-2"})
    ec2.delay_seconds = 0.3
    _, provider = movers.make(Route, VIP, route_tables=names)
    await provider.bind(grant())
    assert set(leads_to(ec2)) == {"eni-1"}
    assert ec2.most_at_once > 10


@pytest.mark.parametrize("options", [{}, {"route_tables": ["rtb-1"], "route_table_tags": {"a": "b"}}])
def test_tables_are_found_in_one_way(options: Any) -> None:
    with pytest.raises(ValidationError, match="either route_tables or route_table_tags"):
        RouteOptions.model_validate(options)
