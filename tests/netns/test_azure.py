"""Two real daemons in a fake of Azure: whatever happens to one, the other serves, and Azure leads to whoever serves."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import pytest

from tests.lab.azure_lab import FRONTEND, NODES, OUTSIDE, AzureLab, azure_lab
from tests.lab.azure_world import nic, route_table
from tests.lab.cloud_lab import LIVENESS
from tests.lab.etcd import missing
from tests.lab.namespaces import eventually

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(240)]

MOVED_ONCE = ("web", "db", "lb")  # not the public address, which has no guard of its own


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureLab]:
    """One for all tests here: each finds it whole, and leaves it whole."""
    if reason := missing():
        pytest.skip(reason)
    with azure_lab(tmp_path_factory.mktemp("azure")) as made:
        yield made


def test_killed(lab: AzureLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.kill(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.start(active)
    assert lab.settled() == lab.other(active)


def test_cut_off(lab: AzureLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.cut(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.join()
    assert eventually(lambda: lab.stands_by(active), LIVENESS), lab.log()
    lab.moved_once(at, active, MOVED_ONCE)


def test_switched_over(lab: AzureLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    for group in lab.groups:
        lab.command(active, "switchover", group)
    lab.moved_once(at, active, MOVED_ONCE)
    assert lab.settled() == lab.other(active)


def test_a_standby_that_a_load_balancer_sends_to_refuses(lab: AzureLab) -> None:
    """The usual instructions for floating IP put the frontend's address on every backend: the guard alone refuses."""
    active = lab.settled()
    serving, standby = lab.nodes[active], lab.nodes[lab.other(active)]
    assert FRONTEND in serving.run("ip address show dev lo")
    assert FRONTEND not in standby.run("ip address show dev lo")
    standby.ip(f"address add {FRONTEND}/32 dev lo")
    try:
        assert lab.asked_from(standby, "lb") == lab.other(active), "it would answer, but for the guard"
        at = time.monotonic()
        lab.balancer.send_to_everybody(on=True)
        assert eventually(lambda: len(lab.view.answers(at, "lb")) > 60, LIVENESS)
        assert set(lab.view.answers(at, "lb")) == {None, active}, (
            "half of it goes to the standby, and nowhere from there"
        )
    finally:
        lab.balancer.send_to_everybody(on=False)
        standby.ip(f"address delete {FRONTEND}/32 dev lo")


def test_doctor_finds_azure_in_order_and_changes_nothing(lab: AzureLab) -> None:
    active = lab.settled()
    written = len(lab.arm.writes)
    for node in lab.nodes:
        found = [each for each in lab.doctor(node) if "azure" in each["about"]]
        assert [each for each in found if each["level"] == "error"] == []
        assert any("no subnet" in each["message"] for each in found), found
        assert any(each["subject"] == "permissions" for each in found), found
    assert len(lab.arm.writes) == written
    assert lab.served_by(active)


def test_what_a_late_call_of_a_former_owner_moves_comes_back(lab: AzureLab) -> None:
    """As one that Azure carries out after it has changed hands: seen by one of the looks after a promotion."""
    before = lab.settled()
    for group in lab.groups:
        lab.command(before, "switchover", group)
    active = lab.settled()
    former, owner = NODES[lab.other(active)], NODES[active]
    theirs, ours = copy.deepcopy(lab.arm.written(former.nic)), copy.deepcopy(lab.arm.written(owner.nic))
    vip = ours["properties"]["ipConfigurations"].pop()
    theirs["properties"]["ipConfigurations"].append(vip)
    told = {node: {"macAddress": nic(node)["properties"]["macAddress"]} for node in (owner, former)}
    for node, fresh in ((owner, ours), (former, theirs)):
        lab.arm.add(node.nic, {**fresh, "properties": {**fresh["properties"], **told[node]}})
    route_table(lab.arm, "t", f"{OUTSIDE}/32", former.address)
    lab.arm.tell()
    assert (lab.owners()["web"], lab.owners()["db"]) == (former.name, former.name)
    assert eventually(lambda: lab.served_by(active), LIVENESS), lab.log()
    assert lab.arm.broken == []
