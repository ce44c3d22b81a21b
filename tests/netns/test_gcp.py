"""Two real daemons in a fake VPC of Google Cloud: the network leads to whoever serves, whatever happens to one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.cloud.balancer import refused_by_the_standby
from tests.lab.cloud.lab import LIVENESS
from tests.lab.gcp.cloud import Route
from tests.lab.gcp.lab import MOVED, NODES, GcpLab, gcp_lab
from tests.lab.host.namespaces import eventually
from tests.lab.stores.etcd import missing

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(600)]

MOVED_ONCE = ("web", "db", "lb")  # not the external address, which has no guard of its own


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpLab]:
    """One for all tests here: each finds it whole, and leaves it whole."""
    if reason := missing():
        pytest.skip(reason)
    with gcp_lab(tmp_path_factory.mktemp("gcp")) as made:
        yield made


def test_killed(lab: GcpLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.kill(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.start(active)
    assert lab.settled() == lab.other(active)


def test_frozen(lab: GcpLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.freeze(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.thaw(active)
    assert eventually(lambda: lab.stands_by(active), LIVENESS), lab.log()
    lab.moved_once(at, active, MOVED_ONCE)


def test_a_standby_refuses_what_the_load_balancer_sends_it(lab: GcpLab) -> None:
    refused_by_the_standby(lab, lab.balancer, "lb")


def test_switched_over(lab: GcpLab) -> None:
    active = lab.settled()
    at = time.monotonic()
    for group in lab.groups:
        lab.command(active, "switchover", group)
    lab.moved_once(at, active, MOVED_ONCE)


def test_what_a_former_owner_does_late_is_undone(lab: GcpLab) -> None:
    """Soon after a takeover, when late calls come, the active node looks more often."""
    active = lab.settled()
    cloud, changes = lab.compute.cloud, len(lab.led)
    owner, former = (cloud.machines[NODES.index(node)].nics[0] for node in (active, lab.other(active)))
    ours = next(iter(cloud.routes.values()))
    late = ours.name.rsplit("-", 2)[0] + "-0-late"
    with lab.compute.at_once():
        former.aliases, owner.aliases = owner.aliases, []
        former.access, owner.access = owner.access, []
        path = cloud.machines[NODES.index(lab.other(active))].path
        cloud.routes[late] = Route(late, ours.network, ours.dest, ours.priority - 1, path)
    assert eventually(lambda: late not in cloud.routes and lab.served_by(active), 3 * LIVENESS), lab.log()
    assert lab.has_led(changes, lab.other(active), MOVED), "there was something to undo"
