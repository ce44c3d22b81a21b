"""The programs that are measured, anyvip and keepalived: started, hurt and stopped alike, on the same nodes."""

from __future__ import annotations

import compileall
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import controller
import health
import providers
from controller.api.client import NotThere
from controller.api.status import Member
from controller.demo.cluster import GROUP, DemoCluster
from controller.demo.lab import ROOT, VIP, Host, Lab, ip, signal_group
from controller.demo.samples import SampleKind, longest_silence

START_LIMIT_SECONDS = 60.0
SETTLED_SECONDS = 0.5
SECOND_ANNOUNCEMENT_SECONDS = 6.0  # keepalived announces again 5 s after becoming master; a fault must come later

_KEEPALIVED = """\
vrrp_instance web {{
  interface eth0
  state BACKUP
  version 3
  virtual_router_id 51
  priority {priority}
  advert_int {advert}
  virtual_ipaddress {{
    {vip}/24 dev eth0
  }}
{more}}}
"""
_ALSO = """\
  virtual_ipaddress_excluded {{
    {vip} dev eth0
  }}
"""


class Peer(Protocol):
    """One way to keep an address on exactly one of two nodes."""

    name: str
    patience: float  # seconds within which, by its own timing, it notices a dead owner

    def reset(self) -> None:
        """Recover from whatever was done to it: both nodes run, one serves, and this has settled."""

    def start(self, host: Host) -> None:
        """Start it on that node."""

    def signal(self, host: Host, number: signal.Signals) -> None:
        """Signal all of its processes on that node."""

    def cut(self, host: Host) -> None:
        """Partition the node from what lets it serve: the store, or the other node."""

    def join(self, host: Host) -> None:
        """End `cut`."""

    def switchover(self, host: Host) -> subprocess.Popen[bytes] | None:
        """Start a planned move away from that node. Returns None when the peer has none."""

    def stop(self) -> None:
        """Stop it everywhere, and leave nothing behind."""


class Anyvip:
    """Two daemons and a store. `reset` starts only what is not running, so that sessions live on as in practice."""

    def __init__(
        self, lab: Lab, store: Mapping[str, Any], lease: float, groups: Mapping[str, Any] | None = None
    ) -> None:
        self.name = f"anyvip, {store['type']}, lease {lease:g} s"
        self.patience = lease * 1.1 + 0.5
        self._lab = lab
        self._cluster = DemoCluster(lab, store, {"duration_seconds": lease}, groups)
        self._started: set[Host] = set()

    def reset(self) -> None:
        """Start what is not running, and wait until all nodes are ready."""
        for host in self._lab.nodes:
            if host not in self._started or not self._cluster.running(host):
                self.start(host)
        one_serves(self._lab, START_LIMIT_SECONDS)
        if not wait_for(self._all_ready, START_LIMIT_SECONDS):
            raise TimeoutError(f"after {START_LIMIT_SECONDS:g} s not every node is known to be fit")

    def _all_ready(self) -> bool:
        """Return whether one node answers 200 and knows every other node to be fit to take over."""
        now = time.monotonic()
        recent = self._lab.recording.between(now - SETTLED_SECONDS, now)
        codes = {s.node: s.value for s in recent if s.kind == SampleKind.HEALTH}
        if sorted(codes.values()) != [200] + [503] * (len(self._lab.nodes) - 1):
            return False
        try:
            status = self._cluster.status(self._lab.answering()[0])
        except (NotThere, IndexError):  # it has just ended
            return False
        fit = {m["node"] for m in status["members"] if m["live"] and m["campaigning"] and _healthy(m)}
        return fit == {host.name for host in self._lab.nodes}

    def start(self, host: Host) -> None:
        """Start it on that node."""
        self._cluster.start(host)
        self._started.add(host)

    def signal(self, host: Host, number: signal.Signals) -> None:
        """Signal the daemon."""
        self._cluster.signal(host, number)

    def cut(self, host: Host) -> None:
        """Lose all frames between the node and the store."""
        self._lab.cut_from_store(host)

    def join(self, host: Host) -> None:
        """End `cut`."""
        self._lab.join_to_store(host)

    def switchover(self, host: Host) -> subprocess.Popen[bytes] | None:
        """Run `anyvip switchover` on that node."""
        return self._cluster.command(host, "switchover", GROUP)

    def stop(self) -> None:
        """Stop both daemons."""
        self._cluster.stop()
        self._started.clear()


class Keepalived:
    """VRRPv3 with two priorities and preemption, as in its manual's first example.

    `advert` in seconds; `first`: the node of the higher priority; `also`: a second VIP, with its prefix length.
    """

    def __init__(self, lab: Lab, advert: float, *, first: Host | None = None, also: str = "") -> None:
        self.name = f"keepalived, advert {advert:g} s"
        self._first = first or lab.nodes[0]
        self._more = _ALSO.format(vip=also) if also else ""
        self.patience = 4 * advert
        self._lab = lab
        self._advert = advert
        self._running: dict[Host, subprocess.Popen[bytes]] = {}

    def reset(self) -> None:
        """Restart everything, and wait until it has settled."""
        self.stop()
        for host in self._lab.nodes:
            self.start(host)
        one_serves(self._lab, START_LIMIT_SECONDS)
        time.sleep(SECOND_ANNOUNCEMENT_SECONDS)

    def start(self, host: Host) -> None:
        """Start it on that node."""
        config, pid = ROOT / f"{host.name}.conf", ROOT / f"{host.name}.keepalived"
        priority = 150 if host == self._first else 100
        config.write_text(_KEEPALIVED.format(priority=priority, advert=self._advert, vip=VIP, more=self._more))
        command = ["keepalived", "-n", "-l", "-P", "-f", str(config), "-p", f"{pid}.pid", "-r", f"{pid}.vrrp.pid"]
        with (ROOT / f"{host.name}.keepalived.log").open("ab") as log:
            self._running[host] = self._lab.spawn(host, command, log)

    def signal(self, host: Host, number: signal.Signals) -> None:
        """Signal the parent and its VRRP process."""
        parent = self._running[host].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(parent, signal.SIGSTOP)  # it would restart a killed child, and an orphaned child would clean up
        for pid in (*map(int, children), parent):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number != signal.SIGSTOP:
            os.kill(parent, signal.SIGCONT)

    def cut(self, _host: Host) -> None:
        """Lose all frames between the nodes."""
        self._lab.cut_nodes()

    def join(self, _host: Host) -> None:
        """End `cut`."""
        self._lab.join_nodes()

    def switchover(self, _host: Host) -> subprocess.Popen[bytes] | None:
        """Return None: keepalived's planned move is SIGTERM."""
        return None

    def leave(self, host: Host) -> None:
        """Stop it on that node, where it runs."""
        self._lab.stop(self._running.pop(host))

    def stop(self) -> None:
        """Stop both, and remove the address that a killed one leaves behind."""
        for process in self._running.values():
            signal_group(process, signal.SIGCONT)
            self._lab.stop(process)
        self._running.clear()
        for host in self._lab.nodes:
            ip([f"addr flush dev eth0 to {VIP}/32"], where=host.name)


def _healthy(member: Member) -> bool:
    return all(group["healthy"] for group in member["groups"].values())


def compile_packages() -> None:
    """Compile anyvip to bytecode, as installing it does, so that no measured start includes the compiler."""
    for package in (controller, health, providers):
        compileall.compile_dir(str(Path(package.__path__[0])), quiet=1)


def one_serves(lab: Lab, limit: float) -> None:
    """Wait until only one node has answered for a while, and the client has got answers. Raises TimeoutError."""
    since = time.monotonic()

    def settled() -> bool:
        now = time.monotonic()
        recent = lab.recording.between(now - SETTLED_SECONDS, now)
        served = longest_silence(recent, (SampleKind.CLIENT,), now - SETTLED_SECONDS, now) < SETTLED_SECONDS / 2
        return served and len(lab.answering(SETTLED_SECONDS)) == 1 and now - since > SETTLED_SECONDS

    ip(["neigh flush dev eth0"], where=lab.client.name)  # entries of an earlier fault must not count in this run
    if not wait_for(settled, limit):
        raise TimeoutError(f"after {limit:g} s these nodes answer: {[host.name for host in lab.answering()]}")


def wait_for(condition: Callable[[], bool], limit: float) -> bool:
    """Poll the condition, and return whether it became true within `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def others(lab: Lab, host: Host) -> Sequence[Host]:
    """Return every node but this one."""
    return [node for node in lab.nodes if node != host]
