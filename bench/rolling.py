"""The edits that are measured: what each scenario changes on one node after the other, and how one run is watched."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.measure import BEFORE_SECONDS, CYCLE_SECONDS, HEALTH_PERIOD_SECONDS, LAG_SECONDS, Void
from bench.peers import START_LIMIT_SECONDS, others, wait_for
from bench.stage import HOLD_SECONDS, LIMIT_SECONDS, PATH, Groups, Stage, Unserved, View, sections, waits
from bench.witness import MEMBERS, witness
from controller.demo.cluster import DemoCluster
from controller.demo.lab import VIP, Host, Lab
from controller.demo.recording import Recording
from controller.demo.samples import SampleKind, flaws, longest_silence, ownerless, two_answering, two_healthy

SECOND, THIRD = "10.77.0.101", "10.77.0.102"


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run, in seconds."""

    edit: str
    outage: float  # the longest silence that a client of any of the VIPs saw
    nobody: float  # the longest time in which no node answered for one of the VIPs
    two: float  # total time in which two nodes answered for one VIP
    healthy: float  # total time in which two nodes answered 200 at one path
    said: list[str]  # what the waiting node's status showed, as `anyvip status` words it


# --- the scenarios -----------------------------------------------------------------------------------------------

Act = Callable[[Stage, Groups, Host, Host], list[str]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`groups(number)` changes with every run; `act` edits both nodes, and returns what the waiting one showed.

    `watched`: VIPs and health paths. `spread`: each node serves one of two groups, instead of one node both.
    """

    name: str
    groups: Callable[[int], Groups]
    act: Act
    watched: tuple[tuple[str, str], ...] = ((VIP, PATH),)
    spread: bool | None = None


def _standby_first(stage: Stage, groups: Groups, owner: Host, standby: Host) -> list[str]:
    stage.edit(standby, groups)
    said = stage.watch_waiting(standby)
    stage.edit(owner, groups)
    return said


def _owner_first(stage: Stage, groups: Groups, owner: Host, standby: Host) -> list[str]:
    return _standby_first(stage, groups, standby, owner)


def _failover(stage: Stage, groups: Groups, owner: Host, standby: Host) -> list[str]:
    stage.cluster.edit(standby, sections(groups))
    stage.cluster.signal(owner, signal.SIGKILL)
    stage.cluster.signal(standby, signal.SIGHUP)
    said = stage.watch_waiting(standby)
    wait_for(lambda: standby in stage.lab.answering(), LIMIT_SECONDS)
    stage.cluster.edit(owner, sections(groups))
    stage.cluster.start(owner)
    return said


def _standby_killed(stage: Stage, groups: Groups, owner: Host, standby: Host) -> list[str]:
    """Edit the owner while the other node is down. It comes back with the new file."""
    stage.cluster.signal(standby, signal.SIGKILL)
    stage.edit(owner, groups)
    said = stage.watch_waiting(owner)
    if not wait_for(lambda: not waits(stage.status(owner)), LIMIT_SECONDS):
        raise Unserved(f"still waiting for a node that is down\n{stage.describe()}")
    stage.cluster.edit(standby, sections(groups))
    stage.cluster.start(standby)
    return said


def _cut_off(stage: Stage, groups: Groups, cut: Host, other: Host) -> list[str]:
    """Cut a node off for so long that it is fenced, and edit it meanwhile."""
    stage.lab.cut_from_store(cut)
    time.sleep(stage.lease * 1.1 + 0.5)
    stage.edit(cut, groups)
    time.sleep(HOLD_SECONDS)
    stage.lab.join_to_store(cut)
    said = stage.watch_waiting(cut)
    stage.edit(other, groups)
    return said


def _renamed(number: int) -> Groups:
    return {f"web{number}": [f"{VIP}/24"]}  # a new name each time: a record that no node has seen is the harder case


def _moved(number: int) -> Groups:
    sets = ([SECOND, VIP], [THIRD]) if number % 2 == 0 else ([SECOND], [THIRD, VIP])
    return {name: [f"{vip}/24" for vip in vips] for name, vips in zip(("db", "web"), sets, strict=True)}


def _split(number: int) -> Groups:
    """Split a group, then merge the two."""
    whole = {"web": [f"{VIP}/24", f"{SECOND}/24"]}
    return whole if number % 2 == 0 else {"web": whole["web"][:1], "api": whole["web"][1:]}


def _exchanged(number: int) -> Groups:
    vips = (VIP, SECOND) if number % 2 == 0 else (SECOND, VIP)
    return {name: [f"{vip}/24"] for name, vip in zip(("db", "web"), vips, strict=True)}


_TWO = ((VIP, "/health/db"), (SECOND, "/health/web"))
_PARTS = ((VIP, "/health/web"), (SECOND, "/health/api"))
SCENARIOS = (
    Scenario("renamed, standby first", _renamed, _standby_first),
    Scenario("renamed, owner first", _renamed, _owner_first),
    Scenario("moved, standby first", _moved, _standby_first, _TWO, spread=False),
    Scenario("moved, owner first", _moved, _owner_first, _TWO, spread=False),
    Scenario("moved, standby killed", _moved, _standby_killed, _TWO, spread=False),
    Scenario("split or merged, standby first", _split, _standby_first, _PARTS),
    Scenario("split or merged, owner first", _split, _owner_first, _PARTS),
    Scenario("exchanged, standby first", _exchanged, _standby_first, _TWO, spread=False),
    Scenario("exchanged, owner first", _exchanged, _owner_first, _TWO, spread=False),
    Scenario("exchanged between two nodes", _exchanged, _standby_first, _TWO, spread=True),
    Scenario("renamed, owner killed", _renamed, _failover),
    Scenario("renamed, standby cut off", _renamed, lambda s, g, owner, standby: _cut_off(s, g, standby, owner)),
    Scenario("renamed, owner cut off", _renamed, _cut_off),
)


@contextmanager
def stage_of(scenario: Scenario, lease: float) -> Iterator[Stage]:
    """Yield two daemons with the scenario's first groups, with etcd and the probers."""
    with Lab(members=MEMBERS["etcd"]) as lab, witness("etcd", lab) as where:
        assert where is not None
        views = [View(*watched, Recording()) for watched in scenario.watched[1:]]
        views.insert(0, View(*scenario.watched[0], lab.recording))
        lab.respond()
        for view in views:
            lab.watch(view.vip, CYCLE_SECONDS * len(views), view.recording)
            lab.balance(HEALTH_PERIOD_SECONDS, view.path, view.recording)
        cluster = DemoCluster(lab, where.config, {"duration_seconds": lease}, sections(scenario.groups(0)))
        for host in lab.nodes:
            cluster.start(host)
        try:
            yield Stage(lab, cluster, lease, views)
        finally:
            cluster.stop()


def measure(stage: Stage, scenario: Scenario, number: int, stall: float) -> Run:
    """Edit both nodes from the groups of this number to the next. Raises Void, Unserved.

    `stall`: how long a prober may stall, in seconds. During a stall it can miss that two nodes answer.
    """
    before, after = scenario.groups(number), scenario.groups(number + 1)
    if not wait_for(lambda: stage.settled(before), START_LIMIT_SECONDS):
        raise Unserved(f"not settled before the edit\n{stage.describe()}")
    if scenario.spread is not None:
        stage.spread(before, over_two=scenario.spread)
    for view in stage.views:
        view.recording.forget()
    began = time.monotonic()
    time.sleep(BEFORE_SECONDS)
    owner = stage.owner()
    said = scenario.act(stage, after, owner, others(stage.lab, owner)[0])
    if not wait_for(lambda: stage.settled(after), LIMIT_SECONDS):
        raise Unserved(f"{LIMIT_SECONDS:g} s after the last edit\n{stage.describe()}")
    time.sleep(HOLD_SECONDS)  # for what might happen late
    end = time.monotonic()
    time.sleep(LAG_SECONDS)
    words = {} if len(before) > 1 else {next(iter(before)): "web", next(iter(after)): "www"}
    return _judge(stage, scenario.name, (began, end), stall, [_reword(text, words) for text in said])


def _reword(text: str, words: Mapping[str, str]) -> str:
    """Return the text without the numbers of the groups that are renamed in every run."""
    return re.sub(r"\bweb\d+\b", lambda found: words.get(found[0], found[0]), text)


def _judge(stage: Stage, name: str, span: tuple[float, float], stall: float, said: list[str]) -> Run:
    nodes = len(stage.lab.nodes)
    seen = [view.recording.between(*span) for view in stage.views]
    dead = [f"{prober} has ended" for prober in stage.lab.dead_probers()]
    problems = dead + [problem for samples in seen for problem in flaws(samples, stall)]
    if problems:
        raise Void(problems[0])
    return Run(
        name,
        max(longest_silence(samples, (SampleKind.CLIENT,), *span) for samples in seen),
        max(ownerless(samples, nodes, *span) for samples in seen),
        sum(two_answering(samples, nodes) for samples in seen),
        sum(two_healthy(samples, nodes, HEALTH_PERIOD_SECONDS) for samples in seen),
        said,
    )
