"""Two real daemons in a fake of Azure: whatever happens to one, the other serves, and Azure leads to whoever serves."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import pytest

from tests.lab.azure.lab import NODES, OUTSIDE, AzureLab, azure_lab
from tests.lab.azure.world import nic, route_table
from tests.lab.cloud.balancer import refused_by_the_standby
from tests.lab.cloud.lab import LIVENESS
from tests.lab.host.namespaces import eventually
from tests.lab.stores.etcd import missing

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


def test_a_standby_refuses_what_the_load_balancer_sends_it(lab: AzureLab) -> None:
    refused_by_the_standby(lab, lab.balancer, "lb")


def test_doctor_finds_azure_in_order_and_changes_nothing(lab: AzureLab) -> None:
    active = lab.settled()
    written = len(lab.arm.writes)
    for node in lab.nodes:
        found = [each for each in lab.doctor(node) if "azure" in each["about"]]
        assert [each for each in found if each["level"] == "error"] == []
        assert any("not associated with any subnet" in each["message"] for each in found), found
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
    theirs["properties"]["ipConfigurations"].append(ours["properties"]["ipConfigurations"].pop())
    mine, others = (each["properties"]["ipConfigurations"][0]["properties"] for each in (ours, theirs))
    others["publicIPAddress"] = mine.pop("publicIPAddress")
    told = {node: {"macAddress": nic(node)["properties"]["macAddress"]} for node in (owner, former)}
    changes = len(lab.led)
    with lab.arm.at_once():
        for node, fresh in ((owner, ours), (former, theirs)):
            lab.arm.add(node.nic, {**fresh, "properties": {**fresh["properties"], **told[node]}})
        route_table(lab.arm, "t", f"{OUTSIDE}/32", former.address)
    assert eventually(lambda: lab.served_by(active), LIVENESS), lab.log()
    assert lab.has_led(changes, former.name, ("web", "db", "pub")), "there was something to undo"
    assert lab.arm.broken == []
