"""A load balancer that keeps the destination address: it routes to the nodes that answer 200, or drops if none does.

Azure's with floating IP and Google's passthrough ones do the same. A connection goes to one of the healthy nodes,
depending on its ports.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tests.lab.cloud.lab import LIVENESS, CloudLab
from tests.lab.host.namespaces import Namespace, eventually

_PAUSE_SECONDS = 0.2  # 1 s or more in the clouds
_TIMEOUT_SECONDS = 10.0
_FIRST_TABLE = 100


@dataclass(frozen=True)
class Backend:
    """A node's own address and the router's link to it."""

    address: str
    link: str


@dataclass(frozen=True)
class Probe:
    """The request and the source address of the probes. They go to each node's own address, or all to `at`."""

    path: str
    port: int
    source: str
    at: str | None = None


class Balancer:
    """A load balancer on the router. Clients connect to the address `frontend`."""

    def __init__(self, router: Namespace, frontend: str, backends: Mapping[str, Backend], probe: Probe) -> None:
        """Prepare the load balancer. `backends` is by node name."""
        self.router = router
        self.frontend = frontend
        self._backends = backends
        self._probe = probe
        self._healthy: frozenset[str] = frozenset()
        self._to_everybody = False
        self._changing = threading.Lock()
        self._ending = threading.Event()

    def serve(self, ending: ExitStack) -> None:
        """Route and probe from now on, until `ending` is closed."""
        self.router.run("sysctl -qw net.ipv4.fib_multipath_hash_policy=1")
        self.router.ip("link set lo up", f"address add {self._probe.source}/32 dev lo")
        for table, backend in enumerate(self._backends.values(), _FIRST_TABLE):
            self.router.ip(
                f"rule add oif {backend.link} lookup {table}",  # only probes, which are bound to the link, use it
                f"route add default via {backend.address} dev {backend.link} onlink table {table}",
            )
        self._route()
        with self.router.entered():
            for name in self._backends:
                thread = threading.Thread(target=self._follow, args=(name,))
                ending.callback(thread.join)
                thread.start()
        ending.callback(self._ending.set)

    def leads_to(self) -> str | None:
        """Return the only healthy node, or None if there is none or several."""
        healthy = self._healthy
        return next(iter(healthy)) if len(healthy) == 1 else None

    def send_to_everybody(self, *, on: bool) -> None:
        """Route to all nodes, healthy or not, as load balancers can do when they find no healthy node."""
        with self._changing:
            self._to_everybody = on
            self._route()

    def _follow(self, name: str) -> None:
        while not self._ending.is_set():
            told = {name} if self._says_200(self._backends[name]) else set()
            with self._changing:
                if (healthy := self._healthy - {name} | told) != self._healthy:
                    self._healthy = healthy
                    self._route()
            self._ending.wait(_PAUSE_SECONDS)

    def _says_200(self, backend: Backend) -> bool:
        with socket.socket() as probing:
            probing.settimeout(_TIMEOUT_SECONDS)
            probing.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, backend.link.encode())
            try:
                probing.bind((self._probe.source, 0))
                probing.connect((self._probe.at or backend.address, self._probe.port))
                probing.sendall(f"GET {self._probe.path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
                return probing.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    def _route(self) -> None:
        names: Collection[str] = self._backends if self._to_everybody else sorted(self._healthy)
        hops = (f"nexthop via {self._backends[name].address} dev {self._backends[name].link} onlink" for name in names)
        way = f"{self.frontend}/32 {' '.join(hops)}" if names else f"blackhole {self.frontend}/32"
        self.router.ip(f"route replace {way}")


def refused_by_the_standby(lab: CloudLab, balancer: Balancer, target: str) -> None:
    """Check that the standby's guard alone refuses traffic.

    The VIP is on the standby's loopback, as in the usual instructions for such load balancers.
    """
    active = lab.settled()
    other = lab.other(active)
    vip, standby = f"{balancer.frontend}/32", lab.nodes[other]
    assert vip in lab.nodes[active].run("ip address show dev lo")
    assert vip not in standby.run("ip address show dev lo")
    standby.ip(f"address add {vip} dev lo")
    try:
        assert eventually(lambda: lab.asked_from(standby, target) == other), (
            "without the guard the standby would answer"
        )
        at = time.monotonic()
        balancer.send_to_everybody(on=True)
        assert eventually(lambda: {None, active} <= set(lab.view.answers(at, target)[20:]), LIVENESS)
        assert set(lab.view.answers(at, target)) == {None, active}, (
            "half of the traffic goes to the standby, whose guard drops it"
        )
    finally:
        balancer.send_to_everybody(on=False)
        standby.ip(f"address delete {vip} dev lo")
