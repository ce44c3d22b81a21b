"""Two real daemons in a fake VPC: whatever happens to one, the other serves, and EC2 leads to whoever serves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.lab.aws.lab import Ec2Lab, ec2_lab
from tests.lab.cloud.lab import LIVENESS
from tests.lab.host.namespaces import eventually
from tests.lab.stores.etcd import missing

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(240)]

MOVED_ONCE = ("web", "web6", "db")  # not the Elastic IP, which has no guard of its own


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Lab]:
    """One for all tests here: each finds it whole, and leaves it whole."""
    if reason := missing():
        pytest.skip(reason)
    if shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with ec2_lab(tmp_path_factory.mktemp("aws")) as made:
        yield made


def test_killed(lab: Ec2Lab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.kill(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.start(active)
    assert lab.settled() == lab.other(active)


def test_frozen(lab: Ec2Lab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.freeze(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.thaw(active)
    assert eventually(lambda: lab.stands_by(active), LIVENESS), lab.log()
    lab.moved_once(at, active, MOVED_ONCE)


def test_partitioned(lab: Ec2Lab) -> None:
    active = lab.settled()
    at = time.monotonic()
    lab.cut(active)
    lab.moved_once(at, active, MOVED_ONCE)
    lab.join()
    assert eventually(lambda: lab.stands_by(active), LIVENESS), lab.log()
    lab.moved_once(at, active, MOVED_ONCE)


def test_switched_over(lab: Ec2Lab) -> None:
    active = lab.settled()
    at = time.monotonic()
    for group in ("web", "db", "pub"):
        lab.command(active, "switchover", group)
    lab.moved_once(at, active, MOVED_ONCE)
    assert lab.stands_by(active)


def test_what_somebody_else_moves_comes_back(lab: Ec2Lab) -> None:
    """A call of the former owner that lands late, or an operator: seen by the next look, and moved again."""
    active = lab.settled()
    other = lab.ec2.cloud.interfaces["eni-2" if active == "n1" else "eni-1"]
    changes = len(lab.led)
    lab.ec2.cloud.assign(other, ["10.77.0.100"], reassign=True)
    assert eventually(lambda: lab.served_by(active), LIVENESS), lab.log()
    assert lab.has_led(changes, lab.other(active), ["web"]), "there was something to undo"
