"""One fault, once, and what the probers saw of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.faults import Fault, Scene
from bench.peers import others, wait_for
from controller.demo.lab import Host
from controller.demo.samples import (
    Kind,
    Sample,
    astray,
    first_answer,
    flaws,
    longest_silence,
    ownerless,
    two_answering,
    two_healthy,
)

CYCLE_SECONDS = 0.001
HEALTH_PERIOD_SECONDS = 0.025
BEFORE_SECONDS = 0.2
AFTER_SECONDS = 1.0  # how long the new owner is watched before the fault is undone
CALM_SECONDS = 3.0  # so long without a pause, and a heal has been got over
CALM_PAUSE_SECONDS = 0.1
TAIL_LIMIT_SECONDS = 40.0  # a client's ARP cache believes the wrong for up to 34 s
LAG_SECONDS = 0.15  # until what was seen has been written


class Void(Exception):  # noqa: N818  (a measurement that says nothing)
    """The run proves nothing, and must be made again; the message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """All in seconds. None: there is no such thing in this run, or it did not come to pass."""

    peer: str
    fault: str
    takeover: float | None  # fault to first answer of another node
    outage: float  # longest silence that the client saw from the fault until it was undone
    nobody: float  # longest time in which no node answered, the same
    heal_outage: float | None  # longest silence after it was undone
    astray: float  # longest time for which the client sent to the wrong MAC, after the heal (or the fault)
    two: float  # two nodes answering VIP traffic or ARP, in all
    healthy: float  # two nodes telling the load balancer 200, in all


def measure(scene: Scene, fault: Fault, stall: float) -> Run:
    """Strike the active node and watch. Raises Void, or TimeoutError when the peer does not get ready.

    `stall`: how long a prober may stand still, in seconds; in that time it may miss two who answer.
    """
    scene.peer.reset()
    scene.lab.recording.forget()
    time.sleep(BEFORE_SECONDS)
    if not (answering := scene.lab.answering()):
        raise Void("nobody serves before the fault")
    owner = answering[0]
    struck = time.monotonic()
    fault.strike(scene, owner)
    _hold(scene, fault, owner)
    healed = None
    if fault.heal is not None:
        healed = time.monotonic()
        fault.heal(scene, owner)
        _calm_down(scene)
    end = time.monotonic()
    time.sleep(LAG_SECONDS)
    samples = scene.lab.recording.between(struck - BEFORE_SECONDS, end)
    dead = scene.lab.dead_probers()
    problems = [*(f"{name} has ended" for name in dead), *flaws(samples, stall)]
    if problems:
        raise Void(problems[0])
    return _judge(scene, fault, owner, samples, (struck, healed, end))


def _hold(scene: Scene, fault: Fault, owner: Host) -> None:
    """Leave the fault as it is for as long as there is something to see."""
    limit = 2 * scene.peer.patience + AFTER_SECONDS
    if fault.moves:
        wait_for(lambda: any(host in scene.lab.answering() for host in others(scene.lab, owner)), limit)
        time.sleep(AFTER_SECONDS)
    else:
        time.sleep(scene.peer.patience + AFTER_SECONDS)


def _calm_down(scene: Scene) -> None:
    """Wait until the client has been answered without a pause for a while."""
    since = time.monotonic()

    def calm() -> bool:
        now = time.monotonic()
        if now - since < CALM_SECONDS:
            return False
        samples = scene.lab.recording.between(now - CALM_SECONDS, now)
        return longest_silence(samples, (Kind.CLIENT,), now - CALM_SECONDS, now) < CALM_PAUSE_SECONDS

    wait_for(calm, TAIL_LIMIT_SECONDS)


def _judge(
    scene: Scene, fault: Fault, owner: Host, samples: list[Sample], moments: tuple[float, float | None, float]
) -> Run:
    struck, healed, end = moments
    nodes, undone = len(scene.lab.nodes), end if healed is None else healed
    firsts = [first_answer(samples, scene.lab.nodes.index(host), struck) for host in others(scene.lab, owner)]
    answered = min((moment for moment in firsts if moment is not None), default=None)
    return Run(
        scene.peer.name,
        fault.name,
        answered - struck if fault.moves and answered is not None else None,
        longest_silence(samples, (Kind.CLIENT,), struck - BEFORE_SECONDS, undone),
        ownerless(samples, nodes, struck - BEFORE_SECONDS, undone),
        None if healed is None else longest_silence(samples, (Kind.CLIENT,), healed, end),
        astray(samples, nodes, struck if healed is None else healed),
        two_answering(samples, nodes),
        two_healthy(samples, nodes, HEALTH_PERIOD_SECONDS),
    )
