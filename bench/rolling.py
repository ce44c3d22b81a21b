"""The edits that are measured: what each scenario changes on one node after the other, and how one run is watched."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.measure import BEFORE_SECONDS, CYCLE_SECONDS, HEALTH_PERIOD_SECONDS, LAG_SECONDS, Void
from bench.peers import SETTLED_SECONDS, START_LIMIT_SECONDS, others, wait_for
from bench.witness import MEMBERS, witness
from controller.api.client import NotThere
from controller.api.status import NodeStatus
from controller.cli.output import status_text
from controller.demo.cluster import DemoCluster, group
from controller.demo.lab import VIP, Host, Lab
from controller.demo.recording import Recording
from controller.demo.samples import SampleKind, flaws, longest_silence, ownerless, two_answering, two_healthy

SECOND, THIRD = "10.77.0.101", "10.77.0.102"
HOLD_SECONDS = 1.0  # between the edit of one node and that of the other
WAITING_SECONDS = 10.0  # within which the node that was edited first must say that it waits
LIMIT_SECONDS = 20.0  # within which the service must be there after the last edit

Groups = Mapping[str, Sequence[str]]  # the VIPs of each group


class Unserved(Exception):  # noqa: N818  (a finding)
    """An edit ended without the address being served as both files say. The message is what the nodes showed."""


@dataclass(frozen=True, slots=True)
class View:
    """One VIP and one path of the health endpoint, and what the probers saw of them."""

    vip: str
    path: str
    recording: Recording


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run, in seconds."""

    edit: str
    outage: float  # the longest silence that a client of any of the VIPs saw
    nobody: float  # the longest time in which no node answered for one of the VIPs
    two: float  # total time in which two nodes answered for one VIP
    healthy: float  # total time in which two nodes answered 200 at one path
    said: list[str]  # what the waiting node's status showed, as `anyvip status` words it


class Stage:
    """Two daemons that agree through etcd, and the probers of each VIP."""

    def __init__(self, lab: Lab, cluster: DemoCluster, lease: float, views: Sequence[View]) -> None:
        self.lab = lab
        self.cluster = cluster
        self.lease = lease
        self.views = views

    def edit(self, host: Host, groups: Groups) -> None:
        """Write the node's file, have it reloaded, and wait until it is."""
        self.cluster.edit(host, sections(groups))
        self.cluster.signal(host, signal.SIGHUP)
        self._await_reload(host, groups)

    def _await_reload(self, host: Host, groups: Groups) -> None:
        if not wait_for(lambda: self._configured(host) == {name: list(vips) for name, vips in groups.items()}, 10.0):
            raise Unserved(f"{host.name} did not reload its file within 10 s\n{self.describe()}")

    def watch_waiting(self, host: Host) -> list[str]:
        """Return what this node's status shows of waiting, in order, from the first such line on for a while."""
        shown = dict[str, None]()

        def watch() -> bool:
            shown.update(dict.fromkeys(waits(self.status(host))))
            return bool(shown)

        wait_for(watch, WAITING_SECONDS)
        wait_for(lambda: not watch(), HOLD_SECONDS)
        return list(shown)

    def status(self, host: Host) -> NodeStatus | None:
        """Return the node's status; None while its daemon does not answer."""
        try:
            return self.cluster.status(host)
        except NotThere:
            return None

    def spread(self, groups: Groups, *, over_two: bool) -> None:
        """Have each node serve one of the two groups, or one node both."""
        hosts = [self.lab.answering(SETTLED_SECONDS, view.recording)[0] for view in self.views]
        if (hosts[0] != hosts[1]) is over_two:
            return
        name = next(name for name, vips in groups.items() if f"{self.views[1].vip}/24" in vips)
        self.cluster.command(hosts[1], "switchover", name)
        to = others(self.lab, hosts[1])
        done = wait_for(lambda: self.lab.answering(SETTLED_SECONDS, self.views[1].recording) == to, START_LIMIT_SECONDS)
        if not (done and wait_for(lambda: self.settled(groups), START_LIMIT_SECONDS)):
            raise Unserved(f"{name} did not move\n{self.describe()}")

    def settled(self, groups: Groups) -> bool:
        """Return whether both nodes are configured like this, and each VIP is answered by its group's one owner."""
        wanted = {name: list(vips) for name, vips in groups.items()}
        if any(self._configured(host) != wanted for host in self.lab.nodes):
            return False
        shown = [status for host in self.lab.nodes if (status := self.status(host)) is not None]
        if any(view["waits_for"] or view["error"] for status in shown for view in status["groups"].values()):
            return False
        fit = all(len([m for m in s["members"] if m["live"] and m["campaigning"]]) == len(shown) for s in shown)
        return fit and all(self._answered(view, shown, groups) for view in self.views)

    def _answered(self, view: View, shown: Sequence[NodeStatus], groups: Groups) -> bool:
        name = next(name for name, vips in groups.items() if f"{view.vip}/24" in vips)
        active = [s["node"] for s in shown if s["groups"][name]["role"] == "active"]
        now = time.monotonic()
        samples = view.recording.between(now - SETTLED_SECONDS, now)
        calm = longest_silence(samples, (SampleKind.CLIENT,), now - SETTLED_SECONDS, now) < SETTLED_SECONDS / 2
        answering = self.lab.answering(SETTLED_SECONDS, view.recording)
        return calm and [host.name for host in answering] == active

    def _configured(self, host: Host) -> Mapping[str, Sequence[str]]:
        status = self.status(host)
        return {} if status is None else {name: view["vips"] for name, view in status["groups"].items()}

    def complaints(self) -> list[str]:
        """Return the lines of the daemons' logs that no edit may cause."""
        logs = [self.cluster.log_file(host).read_text().splitlines() for host in self.lab.nodes]
        return [line for log in logs for line in log if "level=error" in line or "Traceback" in line]

    def describe(self) -> str:
        """Return what every node shows and who answers, for people to read."""
        lines = [f"{view.vip}: {[h.name for h in self.lab.answering(0.2, view.recording)]}" for view in self.views]
        for host in self.lab.nodes:
            status = self.status(host)
            for name, view in status["groups"].items() if status is not None else ():
                lines.append(f"{host.name}: {name} {view['vips']}: {view['role']}, active: {view['active']}")
            lines += [f"{host.name}: {said}" for said in waits(status)]
        return "\n".join(lines)


def waits(status: NodeStatus | None) -> list[str]:
    """Return the lines of `anyvip status` that say why this node waits."""
    return [] if status is None else [line for line in status_text(status).splitlines() if ": waits: " in line]


def sections(groups: Groups) -> Mapping[str, object]:
    """Return the section `groups` of a configuration. A single group keeps one health path, whatever its name."""
    path = {"health_path": PATH} if len(groups) == 1 else {}
    return {name: group(*vips, **path) for name, vips in groups.items()}


# --- the scenarios -----------------------------------------------------------------------------------------------

PATH = "/ready"
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


def _exchanged(number: int) -> Groups:
    vips = (VIP, SECOND) if number % 2 == 0 else (SECOND, VIP)
    return {name: [f"{vip}/24"] for name, vip in zip(("db", "web"), vips, strict=True)}


_TWO = ((VIP, "/health/db"), (SECOND, "/health/web"))
SCENARIOS = (
    Scenario("renamed, standby first", _renamed, _standby_first),
    Scenario("renamed, owner first", _renamed, _owner_first),
    Scenario("moved, standby first", _moved, _standby_first, _TWO, spread=False),
    Scenario("moved, owner first", _moved, _owner_first, _TWO, spread=False),
    Scenario("moved, standby killed", _moved, _standby_killed, _TWO, spread=False),
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
    time.sleep(BEFORE_SECONDS)
    owner = stage.lab.answering()[0]
    began = time.monotonic()
    said = scenario.act(stage, after, owner, others(stage.lab, owner)[0])
    if not wait_for(lambda: stage.settled(after), LIMIT_SECONDS):
        raise Unserved(f"{LIMIT_SECONDS:g} s after the last edit\n{stage.describe()}")
    end = time.monotonic()
    time.sleep(LAG_SECONDS)
    words = {} if len(before) > 1 else {next(iter(before)): "web", next(iter(after)): "www"}
    return _judge(stage, scenario.name, (began - BEFORE_SECONDS, end), stall, [_reword(text, words) for text in said])


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
