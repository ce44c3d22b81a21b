"""Two real daemons in a fake VPC: whatever happens to one, the other serves, and EC2 leads to whoever serves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.lab.ec2_lab import TARGETS, Ec2Lab, ec2_lab
from tests.lab.etcd import missing
from tests.lab.namespaces import eventually

pytestmark = [pytest.mark.netns, pytest.mark.etcd, pytest.mark.timeout(120)]

LIVENESS = 40.0  # seconds; generous
OTHER = {"n1": "n2", "n2": "n1"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Lab]:
    """One for all tests here: each finds it whole, and leaves it whole."""
    if reason := missing():
        pytest.skip(reason)
    if shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with ec2_lab(tmp_path_factory.mktemp("aws")) as made:
        yield made


def served_by(lab: Ec2Lab, node: str) -> bool:
    """Whether the client is answered by this node alone, and EC2 leads there, for every group."""
    led = all(owner == node for owner in lab.owners().values())
    return led and all(lab.view.now(name) == node for name in TARGETS)


def settled(lab: Ec2Lab) -> str:
    """The node that serves everything; the other stands by."""
    assert eventually(lambda: any(served_by(lab, node) for node in OTHER), LIVENESS), lab.log()
    active = next(node for node in OTHER if served_by(lab, node))
    assert eventually(lambda: standby(lab, OTHER[active]), LIVENESS), lab.log()
    return active


def standby(lab: Ec2Lab, node: str) -> bool:
    return all(lab.role(node, group) == "standby" for group in ("web", "db", "pub"))


def moved_once(lab: Ec2Lab, since: float, before: str) -> None:
    """Every group goes to the other node, EC2 as well, and none comes back in between."""
    after = OTHER[before]
    assert eventually(lambda: served_by(lab, after), LIVENESS), lab.log()
    for name in ("web", "web6", "db"):
        assert lab.view.since(since, name) in ([after], [before, after]), name


def test_killed(lab: Ec2Lab) -> None:
    active = settled(lab)
    at = time.monotonic()
    lab.kill(active)
    moved_once(lab, at, active)
    lab.start(active)
    assert settled(lab) == OTHER[active]


def test_frozen(lab: Ec2Lab) -> None:
    active = settled(lab)
    at = time.monotonic()
    lab.freeze(active)
    moved_once(lab, at, active)
    lab.thaw(active)
    assert eventually(lambda: standby(lab, active), LIVENESS), lab.log()
    moved_once(lab, at, active)


def test_partitioned(lab: Ec2Lab) -> None:
    active = settled(lab)
    at = time.monotonic()
    lab.cut(active)
    moved_once(lab, at, active)
    lab.join()
    assert eventually(lambda: standby(lab, active), LIVENESS), lab.log()
    moved_once(lab, at, active)


def test_switched_over(lab: Ec2Lab) -> None:
    active = settled(lab)
    at = time.monotonic()
    for group in ("web", "db", "pub"):
        lab.command(active, "switchover", group)
    moved_once(lab, at, active)
    assert standby(lab, active)


def test_what_somebody_else_moves_comes_back(lab: Ec2Lab) -> None:
    """A call of the former owner that lands late, or an operator: seen by the next look, and moved again."""
    active = settled(lab)
    other = lab.ec2.cloud.interfaces["eni-2" if active == "n1" else "eni-1"]
    lab.ec2.cloud.assign(other, ["10.77.0.100"], reassign=True)
    assert lab.owners()["web"] == OTHER[active]
    assert eventually(lambda: served_by(lab, active), LIVENESS), lab.log()
