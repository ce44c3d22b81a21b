"""VIPs by routes: at no time without a route, never two that share, whatever a former owner still does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from providers.base import Place, Placement, ProviderError
from providers.gcp.route import Routes
from tests.lab.gcp.cloud import Route
from tests.lab.gcp.compute import Fault
from tests.providers.gcp.conftest import Project, cut_short, eventually, soon

VIP = "192.0.2.10/32"
N1, N2 = (f"projects/shop-1/zones/europe-west1-b/instances/{name}" for name in ("n1", "n2"))


def mover(gcp: Project, node: str, *vips: str, epoch: int = 1, **keys: Any) -> Any:
    made = gcp.mover(Routes, node, *(vips or (VIP,)), **keys)
    made.begin(epoch)
    return made


def table(gcp: Project, dest: str = VIP) -> list[tuple[str, int]]:
    """Return where the routes to a destination lead, and their priorities."""
    gcp.compute.leads_to("192.0.2.1")
    return [(r.machine.rpartition("/")[2], r.priority) for r in gcp.cloud.routes.values() if r.dest == dest]


@contextmanager
def watched(gcp: Project) -> Iterator[set[tuple[str, ...]]]:
    """Record where the network leads the VIP after each change. Between two changes it leads to one place."""
    seen: set[tuple[str, ...]] = set()

    def see() -> None:
        seen.add(tuple(gcp.cloud.leads_to("192.0.2.10")))

    see()
    gcp.compute.landed = see
    try:
        yield seen
    finally:
        gcp.compute.landed = lambda: None


async def only(gcp: Project, *routes: tuple[str, int]) -> None:
    """Wait until these are the routes: the mover does not wait for the end of routes that already lose."""
    await eventually(lambda: table(gcp) == list(routes))


async def test_the_first_owner_inserts_a_route(gcp: Project) -> None:
    node = mover(gcp, "n1", epoch=7)
    assert await node.look(soon()) == Placement(Place.NOWHERE, f"there is no route to {VIP}")
    await node.move(soon())
    assert table(gcp) == [("n1", 992)]
    (route,) = gcp.cloud.routes.values()
    assert route.name.startswith("anyvip-web-")
    assert "-7-" in route.name
    assert route.description == "anyvip: group web, epoch 7, node europe-west1-b/n1"
    assert await node.look(soon()) == Placement(Place.HERE)


async def test_a_move_leaves_no_moment_without_a_route_and_none_with_two(gcp: Project) -> None:
    gcp.compute.seconds = 0.1
    await mover(gcp, "n1", epoch=1).move(soon())
    with watched(gcp) as seen:
        for epoch in range(2, 6):
            await mover(gcp, f"n{epoch % 2 + 1}", epoch=epoch).move(soon())
        await only(gcp, ("n2", 994))
    assert seen == {("n1",), ("n2",)}


async def test_a_move_waits_for_one_operation_only(gcp: Project) -> None:
    await mover(gcp, "n1", epoch=1).move(soon())
    gcp.compute.seconds = 3.0
    node = mover(gcp, "n2", epoch=2)
    await node.move(soon())
    assert table(gcp) == [("n1", 998), ("n2", 997)]
    assert (await node.look(soon())).place is Place.HERE
    await only(gcp, ("n2", 997))


async def test_where_epochs_begin_anew_there_is_no_such_moment_either(gcp: Project) -> None:
    """The new route is the worse one and wins when the old one is deleted."""
    gcp.compute.seconds = 0.1
    await mover(gcp, "n1", epoch=998).move(soon())
    assert table(gcp) == [("n1", 1)]
    with watched(gcp) as seen:
        await mover(gcp, "n2", epoch=999).move(soon())
    assert seen == {("n1",), ("n2",)}
    assert table(gcp) == [("n2", 999)]


async def test_an_epoch_that_was_there_before_gets_another_priority(gcp: Project) -> None:
    """The store was wiped, so epochs begin anew."""
    await mover(gcp, "n1", epoch=5).move(soon())
    with watched(gcp) as seen:
        await mover(gcp, "n2", epoch=5).move(soon())
        await only(gcp, ("n2", 993))
    assert seen == {("n1",), ("n2",)}


async def test_ten_vips_move_at_once(gcp: Project) -> None:
    vips = [f"192.0.2.{number}/32" for number in range(10)]
    await mover(gcp, "n1", *vips, epoch=1).move(soon())
    node = mover(gcp, "n2", *vips, epoch=2)
    gcp.compute.faults.append(Fault("routes.insert", times=10, late=True))
    moving = asyncio.create_task(node.move(soon()))
    await eventually(lambda: gcp.compute.under_way == 10)
    gcp.compute.land()
    await moving
    assert (await node.look(soon())).place is Place.HERE
    assert len(gcp.compute.calls("routes.list")) == 3


async def test_ipv6_and_many_vips(gcp: Project) -> None:
    vips = [f"2001:db8::{number:x}/128" for number in range(1, 60)]
    node = mover(gcp, "n1", *vips)
    await node.move(soon())
    assert (await node.look(soon())).place is Place.HERE
    assert gcp.compute.leads_to("2001:db8::3b") == ["n1"]


async def test_on_the_same_node_the_next_epoch_has_a_route_of_its_own(gcp: Project) -> None:
    """A former owner's insert from the epoch in between would win over the old one."""
    await mover(gcp, "n1", epoch=3).move(soon())
    with watched(gcp) as seen:
        await mover(gcp, "n1", epoch=5).move(soon())
        await only(gcp, ("n1", 994))
    assert seen == {("n1",)}


async def test_a_move_that_is_done_already_changes_nothing(gcp: Project) -> None:
    node = mover(gcp, "n1")
    await node.move(soon())
    await node.move(soon())
    assert len(gcp.compute.calls("routes.insert")) == 1


async def test_leaving_leaves_the_route_for_the_next_owner(gcp: Project) -> None:
    node = mover(gcp, "n1")
    await node.move(soon())
    with watched(gcp) as seen:
        await node.leave(soon())
        await mover(gcp, "n2", epoch=2).move(soon())
    assert seen == {("n1",), ("n2",)}


async def test_a_late_insert_of_a_former_owner_never_wins_and_is_undone(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("routes.insert", late=True))
    await cut_short(gcp, mover(gcp, "n1", epoch=1).move(soon()))
    owner = mover(gcp, "n2", epoch=2)
    await owner.move(soon())
    with watched(gcp) as seen:
        gcp.compute.land()
    assert len(table(gcp)) == 2
    assert seen == {("n2",)}
    found = await owner.look(soon())
    assert found.place is Place.ELSEWHERE
    assert "leftover" in found.where
    await owner.move(soon())
    await only(gcp, ("n2", 997))
    assert (await owner.look(soon())).place is Place.HERE


async def test_a_late_delete_of_a_former_owner_shows(gcp: Project) -> None:
    """The delete names the route that the node saw; the next owner inserted another one."""
    first = mover(gcp, "n1", epoch=1)
    await first.move(soon())
    gcp.compute.faults.append(Fault("routes.delete", late=True))
    await cut_short(gcp, mover(gcp, "n2", epoch=2, worst_priority=1200, best_priority=1100).move(soon()))
    owner = mover(gcp, "n1", epoch=3)
    await owner.move(soon())
    gcp.compute.land()
    assert (await owner.look(soon())).place is Place.HERE
    await eventually(lambda: [node for node, _ in table(gcp)] == ["n1"])


async def test_a_route_that_cannot_be_deleted_holds_nothing_up_but_is_tried_again(gcp: Project) -> None:
    await mover(gcp, "n1", epoch=1).move(soon())
    gcp.compute.faults.append(Fault("routes.delete", status=403, reason="forbidden"))
    node = mover(gcp, "n2", epoch=2)
    await node.move(soon())
    assert gcp.compute.leads_to("192.0.2.10") == ["n2"]
    assert (await node.look(soon())).place is Place.HERE  # the promotion succeeds
    node._going.clear()  # a minute later
    assert (await node.look(soon())).place is Place.ELSEWHERE  # this leads to a repair
    await node.move(soon())
    await only(gcp, ("n2", 997))


async def test_one_that_would_still_win_does(gcp: Project) -> None:
    await mover(gcp, "n1", epoch=998).move(soon())
    gcp.compute.faults.append(Fault("routes.delete", status=403, reason="forbidden"))
    with pytest.raises(ProviderError, match="delete route anyvip-web-"):
        await mover(gcp, "n2", epoch=999).move(soon())


async def test_routes_of_others_are_left_alone_and_named(gcp: Project) -> None:
    gcp.cloud.routes["by-hand"] = Route("by-hand", "vpc", VIP, 900, N2)
    gcp.cloud.routes["elsewhere"] = Route("elsewhere", "outer", VIP, 1, N2)
    node = mover(gcp, "n1", epoch=1)
    await node.move(soon())
    assert (await node.look(soon())) == Placement(Place.ELSEWHERE, f"{VIP} by route by-hand of priority 900")
    node.begin(200)
    await node.move(soon())
    assert (await node.look(soon())).place is Place.HERE
    assert {"by-hand", "elsewhere"} < set(gcp.cloud.routes)


async def test_groups_and_vips_do_not_disturb_each_other(gcp: Project) -> None:
    await gcp.mover(Routes, "n1", "192.0.2.20/32", group="web").move(soon())
    await mover(gcp, "n1", epoch=1).move(soon())
    other = gcp.mover(Routes, "n2", VIP, group="web-1")
    other.begin(3)
    await other.move(soon())
    assert len(gcp.cloud.routes) == 3


@pytest.mark.parametrize("group", ["Web_Shop", "ü", "9lives", "a" * 80])
async def test_any_group_makes_a_name(gcp: Project, group: str) -> None:
    node = gcp.mover(Routes, "n1", VIP, group=group)
    node.begin(2**63)
    await node.move(soon())
    assert (await node.look(soon())).place is Place.HERE


async def test_an_insert_whose_answer_is_lost_is_made_once(gcp: Project) -> None:
    gcp.compute.faults.append(Fault("routes.insert", lost=True))
    await mover(gcp, "n1").move(soon())
    assert table(gcp) == [("n1", 998)]


async def test_an_insert_that_ends_in_an_error_deletes_nothing(gcp: Project) -> None:
    await mover(gcp, "n1", epoch=1).move(soon())
    gcp.compute.faults.append(Fault("routes.insert", error="QUOTA_EXCEEDED"))
    with pytest.raises(ProviderError, match="QUOTA_EXCEEDED"):
        await mover(gcp, "n2", epoch=2).move(soon())
    assert table(gcp) == [("n1", 998)]


async def test_a_list_comes_in_pages(gcp: Project) -> None:
    gcp.compute.methods.page_size = 1
    await mover(gcp, "n1", epoch=1).move(soon())
    gcp.cloud.routes["by-hand"] = Route("by-hand", "vpc", VIP, 1500, N2)
    await mover(gcp, "n2", epoch=2).move(soon())
    await only(gcp, ("n2", 1500), ("n2", 997))


def test_priorities_need_room(gcp: Project) -> None:
    with pytest.raises(ValidationError, match="at least 99 apart"):
        gcp.options(Routes, "n1", best_priority=950)
    with pytest.raises(ValidationError):
        gcp.options(Routes, "n1", worst_priority=65536)
