"""A freeze at any point between clock, call and reply neither opens the guard nor keeps it open."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from providers.base import GuardState
from providers.linux.guard import KernelGuard
from tests.lab.host.namespaces import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns.conftest import Echo, Lan, Process

pytestmark = pytest.mark.netns

SHUT = frozenset[str]()
TIMER = 0.12  # seconds that each started slot may keep the guard open
TICK = 0.05  # seconds; more than the kernel's coarse clock and its timers can be apart
FROZEN = TIMER * 2  # longer than any timer that ran before
# What a daemon does round after round: `start` before a renewal leaves, `arm` when reply and listing are there.
ROUNDS = ["start 0", "arm 0", "start 1", "arm 1", "start 0", "arm 0"]
PRELUDE = f"""
import time
from ipaddress import ip_interface
from providers.base import Guarded
from providers.linux.guard import KernelGuard
guard = KernelGuard("test")
guard.install({{"web": Guarded((ip_interface("10.77.0.100/24"), ip_interface("fd77::100/64")), ("eth0",))}})
def start(slot, seconds={TIMER}): return guard.start(slot, seconds)
def arm(slot): return guard.arm(slot, {{"web"}})
async def open_groups(): return sorted((await guard.inspect()).open_groups)
"""


async def do(guard: KernelGuard, step: str) -> None:
    action, slot = step.split()
    if action == "start":
        await guard.start(int(slot), TIMER)
    else:
        await guard.arm(int(slot), {"web"})


@pytest.mark.parametrize("frozen_before", range(len(ROUNDS) + 1))
async def test_stopped_before_any_call(lan: Lan, guard: KernelGuard, frozen_before: int) -> None:
    guard.install(lan.plan("web"))
    for step in ROUNDS[:frozen_before]:
        await do(guard, step)
    await asyncio.sleep(FROZEN)
    assert (await guard.inspect()).open_groups == SHUT, "kept open"
    for step in ROUNDS[frozen_before:]:
        await do(guard, step)
        if step.startswith("start"):  # whose arm was not frozen: a new renewal
            break
        assert (await guard.inspect()).open_groups == SHUT, "opened late"
    assert (await guard.inspect()).open_groups == SHUT


@pytest.mark.parametrize("frozen_before", range(len(ROUNDS) + 1))
async def test_process_stopped_before_any_call(
    lan: Lan, process: Callable[[str], Process], echo: Echo, frozen_before: int
) -> None:
    lan.hold_vips()
    daemon = process(PRELUDE)
    for step in ROUNDS[:frozen_before]:
        daemon.do("{}({})".format(*step.split()))
    daemon.freeze()
    await asyncio.sleep(FROZEN)
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.05), "kept open while frozen"
    rest = ROUNDS[frozen_before : frozen_before + 1]
    for step in rest:
        daemon.send("{}({})".format(*step.split()))  # under way when it is thawed
    daemon.thaw()
    for _ in rest:
        daemon.receive()
    assert daemon.do("open_groups()") == []
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.05), "opened by a thawed process"

    for step in ("start(0, 30.0)", "arm(0)"):  # a new round opens it again
        daemon.do(step)
    assert daemon.do("open_groups()") == ["web"]


async def test_a_late_arm_opens_nothing_however_often(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    await guard.start(0, 0.02)
    assert eventually_ended(guard)
    for _ in range(50):
        await guard.arm(0, {"web"})
        assert (await guard.inspect()) == GuardState(SHUT, None)


def eventually_ended(guard: KernelGuard) -> bool:
    return eventually(lambda: "expires" not in printed(guard))


def printed(guard: KernelGuard) -> str:
    return subprocess.run(
        ["nft", "list", "set", "netdev", guard.table, "live_0"], capture_output=True, text=True, check=True
    ).stdout


async def test_armed_for_an_earlier_timer_is_not_armed_for_the_next(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    await guard.start(0, TIMER)
    await guard.arm(0, {"web"})
    for _ in range(20):  # renewals leave, no reply comes
        await guard.start(0, 30.0)
        assert (await guard.inspect()).open_groups == SHUT
        await guard.start(1, 30.0)
        assert (await guard.inspect()).open_groups == SHUT


async def test_frozen_after_opening_it_shuts_when_the_timer_ends(
    lan: Lan, process: Callable[[str], Process], echo: Echo
) -> None:
    lan.hold_vips()
    daemon = process(PRELUDE)
    late = [last_answer(lan, daemon, timer) for timer in (0.1, 0.2, 0.3) for _ in range(3)]
    assert max(late) < TICK


def kernel_time() -> float:
    """CLOCK_MONOTONIC_COARSE: it stands still while the kernel's tick does, as on a virtual machine without its turn.

    The timers of nftables count the same ticks (clock_gettime(2)).
    """
    return time.clock_gettime(6)


def last_answer(lan: Lan, daemon: Process, timer: float) -> float:
    """Seconds from the timer's end to the last question that was answered; below 0, as it came before.

    The timer runs at the latest when its start has returned, and a question that is asked after its end is never
    answered, however long the machine stands still.
    """
    for longer in (1, 2, 4, 8, 16):  # one that stands still for longer than the timer asks nothing in time
        answered = last_answered(lan, daemon, timer * longer)
        if answered is not None:
            return answered
    pytest.fail("never answered")


def last_answered(lan: Lan, daemon: Process, timer: float) -> float | None:
    """The same, asked once each millisecond; None where no question was answered.

    Questions are numbered, because an answer that was late is read after the next question has been sent.
    """
    with lan.peer.entered():
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.connect((str(lan.vip4.ip), 7))
        asking.settimeout(0.001)
        daemon.do(f"start(0, {timer})")
        ends = kernel_time() + timer
        daemon.do("arm(0)")
        daemon.freeze()
        asked: list[float] = []
        last = None
        while kernel_time() < ends + 3 * TICK:
            try:
                asked.append(kernel_time())
                asking.send(str(len(asked) - 1).encode())
                last = asked[int(asking.recv(10))]
            except (TimeoutError, ConnectionRefusedError):
                continue
            time.sleep(0.001)
        daemon.thaw()
    return None if last is None else last - ends
