"""Two daemons that are edited and reloaded, what their status shows, and who answers for their addresses."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.peers import SETTLED_SECONDS, START_LIMIT_SECONDS, others, wait_for
from controller.api.client import NotThere
from controller.api.status import NodeStatus
from controller.cli.output import status_text
from controller.demo.cluster import DemoCluster, group
from controller.demo.lab import Host, Lab
from controller.demo.recording import Recording
from controller.demo.samples import SampleKind, longest_silence

PATH = "/ready"  # the health path of a group that is alone, whatever its name
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

    def owner(self) -> Host:
        """Return the node that answers for the first VIP. Raises Unserved."""
        found: list[Host] = []

        def answered() -> bool:
            found[:] = self.lab.answering()
            return bool(found)

        if not wait_for(answered, LIMIT_SECONDS):
            raise Unserved(f"nobody answers before the edit\n{self.describe()}")
        return found[0]

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
