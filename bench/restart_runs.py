"""One manager of a host's network and one peer: each event once, what clients saw, and what became of the host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Protocol

from bench.measure import BEFORE_SECONDS, CYCLE_SECONDS, HEALTH_PERIOD_SECONDS, LAG_SECONDS
from bench.peers import START_LIMIT_SECONDS, Anyvip, Keepalived, one_serves, others, wait_for
from controller.demo.cluster import GROUP, group
from controller.demo.lab import ROOT, VIP, Host, Lab, ip
from controller.demo.samples import Sample, SampleKind, flaws, longest_silence, two_answering
from tests.lab.host.description import describe, without_ours
from tests.lab.managers.base import LIMIT_SECONDS, Event, Manager, serve_dhcp
from tests.lab.managers.every import make_manager

VIPS: Final = (f"{VIP}/24", "fd77::100/64")
AWAY: Final = ("10.77.0.50", "198.51.100.1", "fd77::50", "2001:db8::1")
LEASE_SECONDS: Final = 3.0
ADVERT_SECONDS: Final = 1.0
CALM_SECONDS: Final = 1.0  # without a pause, after which an event is over
PAUSE_SECONDS: Final = 0.1
STABLE_SECONDS: Final = 1.5  # without a change, after which a host's description counts
ROLES: Final = ("active", "standby", "moving")
PEERS: Final = ("nobody", "anyvip", "keepalived")


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one event. Times in seconds; descriptions as `tests.lab.host.description` makes them."""

    manager: str
    event: str
    role: str  # of the node whose network is restarted
    peer: str
    outage: float  # the longest silence that a client of the VIP saw
    back: float  # from the end of the event until the client was answered without a pause
    two: float  # total time in which two nodes answered
    served: bool  # whether the client was answered without a pause in the end
    flaws: list[str]  # why the times prove nothing
    after: list[str]  # the host, after the event
    left: list[str]  # the host, after the peer gave the VIP up there


class Keeper(Protocol):
    """Who keeps the VIP on one of the nodes."""

    def place(self, host: Host) -> None:
        """Have that node serve, and the other ready to."""

    def begin_move(self, host: Host) -> None:
        """Begin a planned move away from that node, where there is one."""

    def leave(self, host: Host) -> None:
        """Have that node give the VIP up, if it serves."""

    def stop(self) -> None:
        """Stop it everywhere."""


class _ByAnyvip:
    def __init__(self, lab: Lab) -> None:
        store = {"type": "file", "path": str(ROOT / "store")}
        self._lab = lab
        self._peer = Anyvip(lab, store, LEASE_SECONDS, {GROUP: group(*VIPS)})

    def place(self, host: Host) -> None:
        self._peer.reset()
        if self._lab.answering() != [host]:
            self._move(others(self._lab, host)[0])
            self._peer.reset()

    def begin_move(self, host: Host) -> None:
        self._peer.switchover(host)

    def leave(self, host: Host) -> None:
        if self._lab.answering() == [host]:
            self._move(host)

    def _move(self, host: Host) -> None:
        asked = self._peer.switchover(host)
        assert asked is not None
        asked.wait(START_LIMIT_SECONDS)
        wait_for(lambda: self._lab.answering() == list(others(self._lab, host)), START_LIMIT_SECONDS)

    def stop(self) -> None:
        self._peer.stop()


class _ByKeepalived:
    def __init__(self, lab: Lab, first: Host) -> None:
        self._lab = lab
        self._peer = Keepalived(lab, ADVERT_SECONDS, first=first, also=VIPS[1])
        self._peer.reset()
        self._left: Host | None = None

    def place(self, host: Host) -> None:
        if self._left is not None:
            self._peer.start(self._left)
            self._left = None
        wait_for(lambda: self._lab.answering() == [host], START_LIMIT_SECONDS)
        one_serves(self._lab, START_LIMIT_SECONDS)

    def begin_move(self, host: Host) -> None:
        """Do nothing: its planned move is its end."""

    def leave(self, host: Host) -> None:
        self._peer.leave(host)
        self._left = host

    def stop(self) -> None:
        self._peer.stop()


def measure_all(manager: str, peer: str, role: str) -> Iterator[Run]:
    """Yield a run of each of the manager's events. Call it inside the sandbox, with its files hidden."""
    with Lab() as lab:
        host = lab.nodes[0]
        serve_dhcp(lab, lab.monitor, host)
        made = make_manager(manager, lab, host)
        made.start()
        lab.observe(CYCLE_SECONDS, HEALTH_PERIOD_SECONDS)
        keeper = _start_keeper(peer, lab, host if role != "standby" else lab.nodes[1])
        try:
            for name, event in made.events().items():
                yield _measure(lab, made, (name, event), keeper, (peer, role))
        finally:
            if keeper is not None:
                keeper.stop()


def _start_keeper(peer: str, lab: Lab, first: Host) -> Keeper | None:
    if peer == "nobody":
        return None
    return _ByAnyvip(lab) if peer == "anyvip" else _ByKeepalived(lab, first)


def _measure(lab: Lab, manager: Manager, what: tuple[str, Event], keeper: Keeper | None, who: tuple[str, str]) -> Run:
    (name, event), (peer, role), host = what, who, lab.nodes[0]
    if keeper is None:
        event()
        after = _settled(host)
        return Run(manager.name, name, role, peer, 0.0, 0.0, 0.0, False, [], after, after)
    keeper.place(host if role != "standby" else lab.nodes[1])
    lab.recording.forget()
    time.sleep(BEFORE_SECONDS)
    began = time.monotonic()
    if role == "moving":
        keeper.begin_move(host)
    event()
    done = time.monotonic()
    served = wait_for(lambda: time.monotonic() - done > CALM_SECONDS and _is_calm(lab), LIMIT_SECONDS)
    end = time.monotonic()
    after = without_ours(_settled(host))
    time.sleep(LAG_SECONDS)
    samples = lab.recording.between(began - BEFORE_SECONDS, end)
    two = two_answering(lab.recording.between(began - BEFORE_SECONDS, time.monotonic()), len(lab.nodes))
    keeper.leave(host)
    return Run(
        manager.name,
        name,
        role,
        peer,
        longest_silence(samples, (SampleKind.CLIENT,), began - BEFORE_SECONDS, end),
        _back(samples, done, end),
        two,
        served,
        [*(f"{prober} has ended" for prober in lab.dead_probers()), *flaws(samples, PAUSE_SECONDS)],
        after,
        _settled(host),
    )


def _is_calm(lab: Lab) -> bool:
    now = time.monotonic()
    recent = lab.recording.between(now - CALM_SECONDS, now)
    return longest_silence(recent, (SampleKind.CLIENT,), now - CALM_SECONDS, now) < PAUSE_SECONDS


def _back(samples: Sequence[Sample], done: float, end: float) -> float:
    """Return how long after `done` the last pause ended; 0 if none reached so far."""
    moments = [sample.received for sample in samples if sample.kind == SampleKind.CLIENT]
    pauses = [after for before, after in pairwise([*moments, end]) if after - before > PAUSE_SECONDS]
    return max(0.0, *(after - done for after in pauses)) if pauses else 0.0


def _settled(host: Host) -> list[str]:
    """Return the host's description, once it has not changed for a while and no address waits to be usable."""
    ip(["neigh flush dev eth0"], where=host.name)
    found, since, began = _describe(host), time.monotonic(), time.monotonic()
    while (now := time.monotonic()) - since < STABLE_SECONDS and now - began < LIMIT_SECONDS:
        time.sleep(0.1)
        seen = _describe(host)
        if seen != found or _ask(host, "ip -6 address show dev eth0 tentative"):
            found, since = seen, now
    return found


def _describe(host: Host) -> list[str]:
    return describe(partial(_ask, host), VIPS, AWAY)


def _ask(host: Host, command: str) -> str:
    """Return what a command prints on that host, if anything: a host without a route answers with an error."""
    there = ["ip", "netns", "exec", host.name, *command.split()]
    return subprocess.run(there, capture_output=True, text=True, check=False).stdout
