"""The faults that strike the active node, and how each is undone."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from bench.peers import Peer
from bench.witness import STANDINS, Standin, Witness
from controller.demo.lab import Host, Lab

EVERY = frozenset({"etcd", "file", "keepalived"}) | STANDINS
NETWORK = frozenset({"etcd", "keepalived"}) | STANDINS  # the file store is not reached over the lab's network


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a fault can act on."""

    lab: Lab
    peer: Peer
    witness: Witness | None


Act = Callable[[Scene, Host], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` hits the active node; `heal`, if any, undoes it; `moves`: another node should take over.

    `where`: the stores and peers for which the fault makes sense.
    """

    name: str
    strike: Act
    heal: Act | None = None
    moves: bool = True
    where: frozenset[str] = EVERY


def _signal(number: signal.Signals) -> Act:
    return lambda scene, host: scene.peer.signal(host, number)


def _restart(scene: Scene, host: Host) -> None:
    """Send SIGKILL and start a new process immediately, well within half of any lease of a second."""
    scene.peer.signal(host, signal.SIGKILL)
    scene.peer.start(host)


def _stop_store(scene: Scene, _host: Host) -> None:
    assert scene.witness is not None
    scene.witness.stop()


def _start_store(scene: Scene, _host: Host) -> None:
    assert scene.witness is not None
    scene.witness.start()


def _wipe_store(scene: Scene, _host: Host) -> None:
    assert isinstance(scene.witness, Standin)  # etcd has no bucket to delete
    scene.witness.wipe()


def _ask(scene: Scene, host: Host) -> None:
    scene.peer.switchover(host)


FAULTS = (
    Fault("SIGKILL, not restarted", _signal(signal.SIGKILL)),
    Fault("SIGSTOP, then SIGCONT", _signal(signal.SIGSTOP), _signal(signal.SIGCONT)),
    Fault(
        "partition, healed",
        lambda scene, host: scene.peer.cut(host),
        lambda scene, host: scene.peer.join(host),
        where=NETWORK,
    ),
    Fault(
        "host dark, healed",
        lambda scene, host: scene.lab.darken(host),
        lambda scene, host: scene.lab.lighten(host),
        where=NETWORK,
    ),
    Fault(
        "link down, up",
        lambda scene, host: scene.lab.unplug(host),
        lambda scene, host: scene.lab.plug(host),
    ),
    Fault("store down, back", _stop_store, _start_store, moves=False, where=STANDINS | {"etcd"}),
    Fault("store deleted, made again", _wipe_store, moves=False, where=STANDINS),
    Fault("planned switchover", _ask, where=STANDINS | {"etcd", "file"}),
    Fault("SIGTERM", _signal(signal.SIGTERM)),
    Fault("SIGKILL, restarted at once", _restart, moves=False),
)
