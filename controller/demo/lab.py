"""Nodes, a client and a load balancer on one bridge, each in a network namespace, with processes and faults.

Use it only inside `sandbox.enter`: all names are private there, and everything left behind ends with the sandbox.

    n1 --+                          +-- e1
    n2 --+-- lan ======= store -----+-- e2      (etcd members, if wanted)
    client, monitor --+             +-- e3
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from controller.demo.recording import Recording
from controller.demo.samples import SampleKind

VIP = "10.77.0.100"
HEALTH_PORT = 9010
ROOT = Path("/run/lab")  # in memory and private, see sandbox.settle
STOP_SECONDS = 5.0

_UPLINK = "uplink"


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace with one interface, eth0. `number` is the last byte of its address."""

    name: str
    number: int

    @property
    def address(self) -> str:
        """The IPv4 address of eth0."""
        return f"10.77.0.{self.number}"

    @property
    def mac(self) -> str:
        """The MAC address of eth0."""
        return f"02:00:0a:4d:00:{self.number:02x}"

    @property
    def port(self) -> str:
        """The name of its port on the bridge."""
        return f"{self.name}-port"


class Lab:
    """A context manager that owns the network and every process started in it. Leaving it ends them all."""

    def __init__(self, nodes: int = 2, members: int = 0) -> None:
        self.nodes = [Host(f"n{i}", 10 + i) for i in range(1, nodes + 1)]
        self.members = [Host(f"e{i}", 20 + i) for i in range(1, members + 1)]
        self.client, self.monitor = Host("client", 2), Host("monitor", 3)
        self.recording = Recording()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._probers: dict[str, subprocess.Popen[bytes]] = {}
        self._recordings: set[Recording] = set()

    def __enter__(self) -> Self:
        ROOT.mkdir(exist_ok=True)
        lan, store = [*self.nodes, self.client, self.monitor], self.members
        lines = [f"netns add {host.name}" for host in (*lan, *store)]
        lines += _bridge("lan") + _bridge("store")
        lines += [
            f"link add {_UPLINK} type veth peer name downlink",
            f"link set {_UPLINK} addrgenmode none master lan up",
            "link set downlink addrgenmode none master store up",
        ]
        lines += [line for host in lan for line in _cable(host, "lan")]
        lines += [line for host in store for line in _cable(host, "store")]
        ip(lines)
        for host in (*lan, *store):
            ip(["link set lo up", "link set eth0 up", f"addr add {host.address}/24 dev eth0"], where=host.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            signal_group(process, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        for recording in self._recordings:
            recording.close()
        hosts = (*self.nodes, *self.members, self.client, self.monitor)
        ip([f"link delete {host.port}" for host in hosts] + [f"netns delete {host.name}" for host in hosts])
        ip([f"link delete {link}" for link in (_UPLINK, "lan", "store")])
        shutil.rmtree(ROOT)

    # --- processes -------------------------------------------------------------------------------------------------

    def spawn(self, host: Host, command: Sequence[str], log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Starts a command on that host in a new process group. Its output goes to `log`."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", host.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process with SIGTERM, then sends SIGKILL to its whole group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            signal_group(process, signal.SIGTERM)
            process.wait(STOP_SECONDS)
        signal_group(process, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    # --- probers ---------------------------------------------------------------------------------------------------

    def observe(self, cycle: float = 0.002, health_period: float = 0.1, path: str = "/health") -> None:
        """Starts the responders, the client, the monitor and the load balancer's prober. Periods are in seconds."""
        self.respond()
        self.watch(VIP, cycle, self.recording)
        self.balance(health_period, path)

    def respond(self) -> None:
        """Starts the service on every node."""
        for number, node in enumerate(self.nodes):
            self._probe(f"responder {node.name}", node, "responder", str(number))

    def watch(self, vip: str, cycle: float, recording: Recording) -> None:
        """Starts the client and the monitor of one VIP. Each VIP needs a recording of its own."""
        macs = [node.mac for node in self.nodes]
        self._probe(f"client {vip}", self.client, "client", vip, str(cycle), *macs, into=recording)
        monitor = (vip, str(cycle), self.monitor.mac, self.monitor.address, *macs)
        self._probe(f"monitor {vip}", self.monitor, "monitor", *monitor, into=recording)

    def balance(self, period: float, path: str = "/health", recording: Recording | None = None) -> None:
        """Starts only the load balancer's prober, of one path. `period` is in seconds."""
        addresses = [node.address for node in self.nodes]
        arguments = (str(HEALTH_PORT), str(period), path, *addresses)
        self._probe(f"balancer {path}", self.monitor, "balancer", *arguments, into=recording)

    def dead_probers(self) -> list[str]:
        """Returns the probers that have ended. Without them the samples prove nothing."""
        return [name for name, process in self._probers.items() if process.poll() is not None]

    def answering(self, within: float = 0.1, recording: Recording | None = None) -> list[Host]:
        """Returns the nodes that answered VIP traffic sent to their own MAC in the last `within` seconds."""
        now = time.monotonic()
        samples = (recording or self.recording).between(now - within, now)
        seen = {s.node for s in samples if s.kind == SampleKind.UDP}
        return [self.nodes[number] for number in sorted(seen)]

    def _probe(self, name: str, host: Host, module: str, *arguments: str, into: Recording | None = None) -> None:
        read_end, write_end = os.pipe()
        command = [sys.executable, "-P", "-m", f"controller.demo.{module}", *arguments]
        with (ROOT / "probers.log").open("ab") as log, os.fdopen(write_end, "wb") as tape:
            process = subprocess.Popen(
                ["ip", "netns", "exec", host.name, *command],
                stdin=subprocess.DEVNULL,
                stdout=tape,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        self._probers[name] = process
        recording = into or self.recording
        recording.attach(os.fdopen(read_end, "rb", buffering=0))
        self._recordings.add(recording)

    # --- faults ----------------------------------------------------------------------------------------------------

    def darken(self, host: Host) -> None:
        """Drops every frame from and to the host, which keeps its carrier."""
        ip([f"link set {host.port} nomaster"])

    def lighten(self, host: Host) -> None:
        """Undoes `darken`."""
        ip([f"link set {host.port} master lan"])

    def unplug(self, host: Host) -> None:
        """Takes the host's carrier away."""
        ip([f"link set {host.port} down"])

    def plug(self, host: Host) -> None:
        """Undoes `unplug`."""
        ip([f"link set {host.port} up"])

    def cut_from_store(self, host: Host) -> None:
        """Drops frames between the host and the store's bridge. All other frames pass."""
        _isolate((host.port, _UPLINK), "on")

    def join_to_store(self, host: Host) -> None:
        """Undoes `cut_from_store`."""
        _isolate((host.port, _UPLINK), "off")

    def cut_nodes(self) -> None:
        """Drops frames between nodes. The client still reaches all of them."""
        _isolate((node.port for node in self.nodes), "on")

    def join_nodes(self) -> None:
        """Undoes `cut_nodes`."""
        _isolate((node.port for node in self.nodes), "off")


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to a process and its group, unless all of it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def ip(lines: Iterable[str], where: str | None = None) -> None:
    """Runs `ip` commands as one batch, in the named namespace or in the lab's own. Raises CalledProcessError."""
    namespace = [] if where is None else ["-n", where]
    subprocess.run(
        ["ip", *namespace, "-batch", "-"],
        input="\n".join(lines).encode(),
        check=True,
    )


def _bridge(name: str) -> list[str]:
    """Makes a switch that learns, forwards immediately, and floods multicast."""
    return [
        f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {name} addrgenmode none up",
    ]


def _cable(host: Host, bridge: str) -> list[str]:
    return [
        f"link add {host.port} type veth peer name eth0 address {host.mac} netns {host.name}",
        f"link set {host.port} addrgenmode none master {bridge} up",
    ]


def _isolate(ports: Iterable[str], state: str) -> None:
    """Isolates ports or ends that. The bridge forwards nothing from one isolated port to another."""
    ip(f"link set {port} type bridge_slave isolated {state}" for port in ports)
