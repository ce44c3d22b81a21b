"""A node and a neighbour on one wire, each in a network namespace of its own; the test runs in the node's."""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

import pytest

from providers.baremetal.provider import BareMetal, BareMetalOptions
from providers.base import Guarded, Plan, Vip
from providers.linux import nftables as nft
from providers.linux.attributes import attributes
from providers.linux.guard import KernelGuard
from providers.linux.netlink import Message, NetlinkRefusal, Socket
from tests.lab.host.daemon import Host, link
from tests.lab.host.namespaces import Namespace, Neighbour, eventually, interface_mac, namespaces, source_root
from tests.lab.host.processes import LIVENESS

VIP4 = IPv4Interface("10.77.0.100/24")
VIP6 = IPv6Interface("fd77::100/64")


@dataclass
class Lan:
    """`node` and `peer` on one wire. `interface` is the node's."""

    node: Namespace
    peer: Namespace
    neighbour: Neighbour
    interface: str
    mac: bytes
    vip4: IPv4Interface = VIP4
    vip6: IPv6Interface = VIP6

    @property
    def vips(self) -> tuple[Vip, ...]:
        return (self.vip4, self.vip6)

    def plan(self, *groups: str) -> Plan:
        """Both VIPs in the first group, one more address in each other group."""
        others = {
            name: Guarded((ip_interface(f"10.77.1.{number}/16"),), (self.interface,))
            for number, name in enumerate(groups[1:], 1)
        }
        return {groups[0]: Guarded(self.vips, (self.interface,)), **others}

    def hold_vips(self) -> None:
        """Put the VIPs on the node for ever, so that the guard alone decides; not as the source of what it sends."""
        self.node.run(f"ip addr add {self.vip4} dev {self.interface}")
        self.node.run(f"ip addr add {self.vip6} dev {self.interface} nodad preferred_lft 0")
        group = f"ff0200000000000000000001ff{self.vip6.packed[-3:].hex()}"  # solicited-node (RFC 4291, 2.7.1)
        assert eventually(lambda: group in self.node.run("cat /proc/net/igmp6"), LIVENESS), "it is joined by a worker"


@pytest.fixture(params=["eth0"])
def interface(request: pytest.FixtureRequest) -> str:
    """The node's interface; tests may parametrize it."""
    return str(request.param)


@pytest.fixture
def lan(interface: str) -> Iterator[Lan]:
    with namespaces("n", "p") as (node, peer):
        node.ip(
            "link set lo up",
            f"link add name {interface} type veth peer name wire netns {peer.name}",
            *_host(interface, "11"),
        )
        peer.ip("link set lo up", *_host("wire", "50"))
        neighbour = Neighbour(peer, "wire", "10.77.0.50", "fd77::50")
        try:
            with node.entered():
                mac = interface_mac(interface)
                peer.ip(
                    *(f"neigh replace {vip.ip} lladdr {mac.hex(':')} dev wire nud permanent" for vip in (VIP4, VIP6))
                )
                yield Lan(node, peer, neighbour, interface, mac)
        finally:
            neighbour.close()


def _host(interface: str, number: str) -> tuple[str, ...]:
    return (
        f"link set {interface} up",
        f"addr add 10.77.0.{number}/24 dev {interface}",
        f"addr add fd77::{number}/64 dev {interface} nodad",
    )


@pytest.fixture
def guard(lan: Lan) -> Iterator[KernelGuard]:
    made = KernelGuard("test")
    yield made
    made.close()


class Before69:
    """A guard's socket, answering as Linux before 6.9 does: no table of an owner outlives it."""

    def __init__(self, wire: Socket) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def batch(self, messages: Sequence[Message], what: str) -> list[NetlinkRefusal]:
        for index, message in enumerate(messages):
            flags = dict(attributes(message.body, 4)).get(2, b"") if message.kind == nft.kind(nft.NEW_TABLE) else b""
            if int.from_bytes(flags, "big") & nft.PERSIST:
                return [NetlinkRefusal(index, errno.EOPNOTSUPP, "")]
        return self._wire.batch(messages, what)


@pytest.fixture
def ownerless(guard: KernelGuard) -> KernelGuard:
    """The guard as it is before Linux 6.9: anybody may change it."""
    guard._socket = Before69(guard._socket)  # type: ignore[assignment]
    return guard


@dataclass
class Echo:
    """Answers UDP on the VIPs, and counts what reaches it."""

    heard: int = 0
    sockets: dict[int, socket.socket] = field(default_factory=dict)


@pytest.fixture
def echo(lan: Lan) -> Iterator[Echo]:
    served = Echo()
    stop_here, stop_there = socket.socketpair()
    with selectors.DefaultSelector() as waiting:
        waiting.register(stop_here, selectors.EVENT_READ)
        for vip in lan.vips:
            bound = _freely_bound(vip)
            served.sockets[vip.version] = bound
            waiting.register(bound, selectors.EVENT_READ)
        thread = threading.Thread(target=_serve, args=(served, waiting, stop_here))
        thread.start()
        try:
            yield served
        finally:
            stop_there.send(b"!")
            thread.join()
            for each in (stop_here, stop_there, *served.sockets.values()):
                each.close()


def _freely_bound(vip: Vip) -> socket.socket:
    """A socket on an address that need not be here yet."""
    family, level, option = (
        (socket.AF_INET, socket.IPPROTO_IP, 15) if vip.version == 4 else (socket.AF_INET6, socket.IPPROTO_IPV6, 78)
    )
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.setsockopt(level, option, 1)  # IP_FREEBIND, IPV6_FREEBIND
    bound.bind((str(vip.ip), 7))
    bound.setblocking(False)
    return bound


def _serve(served: Echo, waiting: selectors.BaseSelector, stop: socket.socket) -> None:
    while True:
        for key, _ in waiting.select():
            if key.fileobj is stop:
                return
            assert isinstance(key.fileobj, socket.socket)
            with suppress(OSError):  # the guard refuses the answer
                data, sender = key.fileobj.recvfrom(100)
                served.heard += 1
                key.fileobj.sendto(data, sender)


class Process:
    """Another process in the node's namespace that carries out one line of Python after another, until it is ended."""

    def __init__(self, prelude: str) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-c", _LOOP, prelude],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=source_root(),
        )
        assert self._answer() == "ready"

    def do(self, line: str) -> Any:
        """Carry out `line` and return its value; raises what it raised, by name."""
        self.send(line)
        return self._answer()

    def send(self, line: str) -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(line + "\n")
        self._running.stdin.flush()

    def receive(self) -> Any:
        return self._answer()

    def freeze(self) -> None:
        os.kill(self._running.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._running.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        os.kill(self._running.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._running.kill()
        self._running.wait()
        for pipe in (self._running.stdin, self._running.stdout):
            assert pipe is not None
            pipe.close()

    def _answer(self) -> Any:
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        assert line, "the process has ended"
        kind, value = json.loads(line)
        if kind == "raised":
            raise AssertionError(value)
        return value


_LOOP = """
import asyncio, json, sys
scope = {}
exec(sys.argv[1], scope)
print(json.dumps(["done", "ready"]), flush=True)
with asyncio.Runner() as runner:
    for line in iter(sys.stdin.readline, ""):
        try:
            value = eval(line, scope)
            if asyncio.iscoroutine(value):
                async def run(coroutine=value):
                    return await coroutine
                value = runner.run(run())
            print(json.dumps(["done", value], default=str), flush=True)
        except Exception as error:
            print(json.dumps(["raised", f"{type(error).__name__}: {error}"]), flush=True)
"""


@pytest.fixture
def process(lan: Lan) -> Iterator[Callable[[str], Process]]:
    """Start processes in the node's namespace; they are killed at the end, frozen ones, too."""
    started: list[Process] = []

    def start(prelude: str) -> Process:
        started.append(Process(prelude))
        return started[-1]

    yield start
    for each in started:
        with suppress(ValueError):
            each.kill()


class Clock:
    """CLOCK_BOOTTIME, `ahead` of itself by what a test adds: grants end then, the kernel's timers go on as they are."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bare_metal(lan: Lan, clock: Callable[[], float]) -> AsyncIterator[Callable[..., BareMetal]]:
    """Make the provider of one group; closed at the end."""
    made: list[BareMetal] = []

    def make(*vips: Vip, group: str = "web", **options: Any) -> BareMetal:
        checked = BareMetalOptions.model_validate(options)
        made.append(BareMetal.open(checked, group=group, vips=vips or lan.vips, clock=clock))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with namespaces("d") as (namespace,):
        namespace.ip("link set lo up", *link("eth0", "10.77.0.11/24"), *link("eth1", "10.78.0.11/24"))
        made = Host(namespace, tmp_path)
        try:
            yield made
        finally:
            if made.running is not None and made.running.poll() is None:
                made.running.kill()
                made.running.wait()
