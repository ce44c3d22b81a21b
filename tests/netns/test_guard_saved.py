"""What `nft list ruleset` prints of the guard, saved by an administrator and loaded again."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from providers.base import GuardState
from providers.linux.guard import KernelGuard
from tests.lab.host.namespaces import Namespace, namespaces
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns.conftest import Echo, Lan

pytestmark = pytest.mark.netns

FIREWALL = "table inet filter {\n\tchain input {\n\t\ttcp dport 22 accept\n\t}\n}\n"


@pytest.fixture
def rebooted(lan: Lan) -> Iterator[Namespace]:
    """Another namespace with the node's links, and no daemon in it."""
    with namespaces("b") as (namespace,):
        namespace.ip(f"link add name {lan.interface} type veth peer name other", f"link set {lan.interface} up")
        yield namespace


def load(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nft", *options, "-f", "-"], input=text, capture_output=True, text=True, check=False)


async def saved(lan: Lan, guard: KernelGuard) -> str:
    """The ruleset of a node that serves, as the documentation of nftables says how to save it."""
    guard.install(lan.plan("web", "db-1.example"))
    for slot in (0, 1):
        await guard.start(slot, 300.0)
        await guard.arm(slot, {"web"})
    assert load(FIREWALL).returncode == 0
    return "flush ruleset\n" + lan.node.run("nft list ruleset")


@pytest.mark.parametrize("interface", ["eth0", "bond-a.7", "we@ird"], indirect=True)
async def test_it_can_be_read_back(lan: Lan, guard: KernelGuard, rebooted: Namespace) -> None:
    file = await saved(lan, guard)
    for expected in ("goto group_web", "goto group_db-1.example", "ip daddr vmap @vips4", "anyvip guard", "dport 22"):
        assert expected in file
    with rebooted.entered():
        checked = load(file, "-c")
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("flags", ["as saved", "none"])
async def test_loaded_at_boot_it_is_harmless_and_the_daemon_makes_it_its_own(
    lan: Lan, guard: KernelGuard, rebooted: Namespace, flags: str
) -> None:
    """With nft 1.0.6 the table lives no longer than nft; with later ones it waits for the daemon."""
    file = await saved(lan, guard)
    if flags == "none":
        file = re.sub(r"^\tflags owner.*\n", "", file, flags=re.MULTILINE)
    with rebooted.entered():
        done = load(file)
        assert done.returncode == 0, done.stderr
        assert "dport 22" in rebooted.run("nft list ruleset")
        next_life = KernelGuard("test")
        next_life.install(lan.plan("web", "db-1.example"))
        assert next_life.owned == guard.owned
        if flags == "none" and guard.owned:
            assert await next_life.inspect() == GuardState(frozenset(), None)
        await next_life.shut({"web"})
        assert await next_life.inspect() == GuardState(frozenset(), None)
        next_life.close()


async def test_loaded_while_the_daemon_lives_it_is_refused_whole_and_says_why(lan: Lan, guard: KernelGuard) -> None:
    file = await saved(lan, guard)
    if not guard.owned:
        pytest.skip("this kernel has no persistent table owners (before 6.9)")
    done = load(file)
    assert done.returncode != 0
    assert "Operation not permitted" in done.stderr
    assert guard.table in done.stderr
    assert (await guard.inspect()).open_groups == {"web"}
    without = re.sub(rf"table netdev {guard.table} \{{.*?^\}}\n", "", file, flags=re.MULTILINE | re.DOTALL)
    assert load(without).returncode == 0
    assert (await guard.inspect()).open_groups == {"web"}


async def test_a_guard_without_an_owner_can_be_loaded_over_itself(lan: Lan, ownerless: KernelGuard, echo: Echo) -> None:
    """It comes back shut, although it was saved while it was open."""
    lan.hold_vips()
    file = await saved(lan, ownerless)
    assert lan.neighbour.echoed(lan.vip4.ip, LIVENESS)
    done = load(file)
    assert done.returncode == 0, done.stderr
    for vip in lan.vips:
        assert not lan.neighbour.echoed(vip.ip, 0.15)
    ownerless.install(lan.plan("web", "db-1.example"))
    assert await ownerless.inspect() == GuardState(frozenset(), None)
