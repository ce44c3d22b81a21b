"""Measures one fault once, from what the probers saw."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.faults import Fault, Scene
from bench.peers import others, wait_for
from controller.demo.lab import Host
from controller.demo.samples import (
    Sample,
    SampleKind,
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
CALM_SECONDS = 3.0  # without a pause, after which the effects of a heal are over
CALM_PAUSE_SECONDS = 0.1
TAIL_LIMIT_SECONDS = 40.0  # a client's ARP cache can stay wrong for up to 34 s
LAG_SECONDS = 0.15  # until the probers have written what they saw


class Void(Exception):  # noqa: N818  (a measurement without a result)
    """The run proves nothing and must be repeated. The message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run, in seconds. None: the fault has no such figure, or it did not happen."""

    peer: str
    fault: str
    takeover: float | None  # fault to first answer of another node
    outage: float  # longest silence that the client saw from the fault until it was undone
    nobody: float  # longest time in which no node answered, over the same period
    heal_outage: float | None  # longest silence after it was undone
    astray: float  # longest time for which the client sent to the wrong MAC, after the heal (or the fault)
    two: float  # total time in which two nodes answered VIP traffic or ARP
    healthy: float  # total time in which two nodes answered the load balancer with 200


def measure(scene: Scene, fault: Fault, stall: float) -> Run:
    """Strike the active node and watch. Raises Void, or TimeoutError when the peer does not get ready.

    `stall`: how long a prober may stall, in seconds. During a stall it can miss that two nodes answer.
    """
    scene.peer.reset()
    scene.lab.recording.forget()
    time.sleep(BEFORE_SECONDS)
    if not (answering := scene.lab.answering()):
        raise Void("no node serves before the fault")
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
    """Leave the fault in place until its effects have been seen."""
    limit = 2 * scene.peer.patience + AFTER_SECONDS
    if fault.moves:
        wait_for(lambda: any(host in scene.lab.answering() for host in others(scene.lab, owner)), limit)
        time.sleep(AFTER_SECONDS)
    else:
        time.sleep(scene.peer.patience + AFTER_SECONDS)


def _calm_down(scene: Scene) -> None:
    """Wait until the client has got answers without a pause for a while."""
    since = time.monotonic()

    def calm() -> bool:
        now = time.monotonic()
        if now - since < CALM_SECONDS:
            return False
        samples = scene.lab.recording.between(now - CALM_SECONDS, now)
        return longest_silence(samples, (SampleKind.CLIENT,), now - CALM_SECONDS, now) < CALM_PAUSE_SECONDS

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
        longest_silence(samples, (SampleKind.CLIENT,), struck - BEFORE_SECONDS, undone),
        ownerless(samples, nodes, struck - BEFORE_SECONDS, undone),
        None if healed is None else longest_silence(samples, (SampleKind.CLIENT,), healed, end),
        astray(samples, nodes, struck if healed is None else healed),
        two_answering(samples, nodes),
        two_healthy(samples, nodes, HEALTH_PERIOD_SECONDS),
    )
