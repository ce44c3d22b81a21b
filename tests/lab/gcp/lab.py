"""Two nodes in a VPC of Google Cloud: a router that delivers packets as the fake says, and the client's view.

Compute Engine and a metadata service for each node run on the router, which is also a passthrough load balancer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.lab.cloud.balancer import Backend, Balancer, Probe
from tests.lab.cloud.lab import HEALTH_PORT, LIVENESS, SERVICE_PORT, CloudLab
from tests.lab.gcp.cloud import Address, Cloud, Machine, Nic, Subnet
from tests.lab.gcp.compute import Compute
from tests.lab.gcp.metadata import MetadataServer
from tests.lab.host.namespaces import Namespace, eventually, namespaces
from tests.lab.http.rest import RestServer
from tests.lab.stores.etcd import start_etcd

NODES = ("n1", "n2")
GATEWAY = "10.77.0.1"
API_PORT, METADATA_PORT = 8000, 8001
MOVED = {"web": "10.77.0.100", "db": "192.0.2.10", "pub": "198.51.100.7"}  # by Compute Engine
FRONTEND = "10.77.0.200"
TARGETS = {group: (address, SERVICE_PORT) for group, address in {**MOVED, "lb": FRONTEND}.items()}
PROBES = "35.191.0.1"


def vpc() -> Cloud:
    """Return a VPC with two machines in one subnet and two zones."""
    zones = ("europe-west1-b", "europe-west1-c")
    machines = [
        Machine(name, zone, [Nic("nic0", "inner", f"10.77.0.1{number}", mac=f"42:01:0a:4d:00:1{number}")])
        for number, (name, zone) in enumerate(zip(NODES, zones, strict=True), 1)
    ]
    return Cloud(machines, [Subnet("inner", "10.77.0.0/24")], addresses=[Address("shop-ip", MOVED["pub"])])


class GcpLab(CloudLab):
    """The namespaces, the fakes and the processes of this lab. `gcp_lab` makes it."""

    store: Mapping[str, Any] = {"type": "etcd", "endpoints": [f"http://{GATEWAY}:2379"]}

    def __init__(self, directory: Path, spaces: Sequence[Namespace], ending: ExitStack) -> None:
        nodes = dict(zip(NODES, spaces[2:], strict=True))
        super().__init__(directory, router=spaces[0], client=spaces[1], nodes=nodes, targets=TARGETS, ending=ending)
        self.compute = Compute(vpc(), seconds=0.2)
        self._delivered: dict[str, str | None] = {}
        backends = {machine.name: _backend(machine) for machine in self.compute.cloud.machines}
        probe = Probe("/health/lb", HEALTH_PORT, PROBES, at=FRONTEND)
        self.balancer = Balancer(self.router, FRONTEND, backends, probe)

    @property
    def groups(self) -> Mapping[str, Mapping[str, Any]]:
        """The groups, one for each mechanism. Each node finds its identity and its interfaces by itself."""
        api = {"endpoint": f"http://{GATEWAY}:{API_PORT}"}
        inside = {**api, "interface": "eth0"}
        instances = [f"{machine.zone}/{machine.name}" for machine in self.compute.cloud.machines]
        mechanisms: dict[str, dict[str, Any]] = {
            "web": {"type": "gcp.alias_ip", "instances": instances, **inside},
            "db": {"type": "gcp.route", **inside},
            "pub": {"type": "gcp.static_ip", **api},
            "lb": {"type": "gcp.load_balancer", **api},
        }
        return {group: {"vips": [f"{TARGETS[group][0]}/32"], "providers": [keys]} for group, keys in mechanisms.items()}

    def environment(self, name: str) -> Mapping[str, str]:
        """Return the environment that names the node's own metadata service."""
        return {"GCE_METADATA_HOST": f"{GATEWAY}:{METADATA_PORT + NODES.index(name)}"}

    # --- setting up

    def wire(self) -> None:
        """Make the links, the addresses and the router's view of the VPC."""
        self.router.ip("link set lo up", "link add cp type veth peer name eth0 netns " + self.client.name)
        self.router.ip("link set cp up", "address add 10.78.0.1/24 dev cp")
        self.client.ip("link set lo up", "link set eth0 up", "address add 10.78.0.2/24 dev eth0")
        self.client.ip("route add default via 10.78.0.1")
        for machine in self.compute.cloud.machines:
            node, (nic,), port = self.nodes[machine.name], machine.nics, f"{machine.name}p"
            self.router.ip(
                f"link add {port} type veth peer name eth0 address {nic.mac} netns {node.name}",
                f"link set {port} up",
                f"address add {GATEWAY}/32 dev {port}",
                f"route add {nic.ip}/32 dev {port}",
                f"neigh replace {nic.ip} lladdr {nic.mac} dev {port} nud permanent",
            )
            node.ip("link set lo up", "link set eth0 up", f"address add {nic.ip}/32 dev eth0")
            node.ip(f"route add {GATEWAY}/32 dev eth0", f"route add default via {GATEWAY}")
            node.ip(f"route add to local {FRONTEND} scope host dev eth0 proto 66")  # as the guest agent does
        self.router.run("sysctl -qw net.ipv4.ip_forward=1")
        self.compute.landed = self.deliver

    def deliver(self) -> None:
        """Update the router to the state of the fake."""
        leads = {group: _only(self.compute.cloud.leads_to(address)) for group, address in MOVED.items()}
        changed = {group for group in MOVED if leads[group] != self._delivered.get(group)}
        self._delivered = leads
        for group in changed - {"pub"}:
            self._route(MOVED[group], leads[group])
        if "pub" in changed:
            node = leads["pub"]
            self.translate({MOVED["pub"]: self._machine(node).nics[0].ip} if node else {})
        self.led.append(leads)

    def _route(self, address: str, node: str | None) -> None:
        if node is None:
            self.router.ip(f"route delete {address}/32")
        else:
            backend = _backend(self._machine(node))
            self.router.ip(f"route replace {address}/32 via {backend.address} dev {backend.link} onlink")

    def _machine(self, node: str) -> Machine:
        return self.compute.cloud.machines[NODES.index(node)]

    def serve(self) -> None:
        """Start the API and a metadata service for each node on the router, etcd, the service and the client."""
        with self.router.entered():
            self._ending.callback(self.compute.close)
            self._ending.enter_context(RestServer(self.compute.answer, ("0.0.0.0", API_PORT)))
            for number, machine in enumerate(self.compute.cloud.machines):
                metadata = MetadataServer(self.compute.cloud, machine)
                self._ending.enter_context(RestServer(metadata.answer, ("0.0.0.0", METADATA_PORT + number)))
        self._ending.enter_context(start_etcd(1, self.directory, (GATEWAY,), [self.router.name]))
        self.balancer.serve(self._ending)
        self.run_services()

    # --- owners by Compute Engine

    def owners(self) -> dict[str, str | None]:
        """Return the node that the network leads each group to."""
        moved = {group: _only(self.compute.leads_to(address)) for group, address in MOVED.items()}
        return {**moved, "lb": self.balancer.leads_to()}


def _backend(machine: Machine) -> Backend:
    return Backend(machine.nics[0].ip, f"{machine.name}p")


def _only(nodes: Sequence[str]) -> str | None:
    return nodes[0] if len(nodes) == 1 else None


@contextmanager
def gcp_lab(directory: Path) -> Iterator[GcpLab]:
    """Make the lab with both daemons started, and remove all of it when the test ends."""
    with namespaces("vpc", "client", *NODES) as spaces, ExitStack() as ending:
        lab = GcpLab(directory, spaces, ending)
        lab.wire()
        lab.serve()
        lab.start_all()
        # Importing the SDK alone takes seconds, and many on a busy machine.
        assert eventually(lambda: all(lab.role(name, "db") for name in NODES), 5 * LIVENESS), lab.log()
        yield lab
    assert lab.compute.mismatches == []
