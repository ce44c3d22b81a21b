"""Two nodes in a virtual network: a router that delivers packets as the fake Azure says, and the client's view.

Azure Resource Manager runs on the router. Each node has its own metadata service, at the address of the real one. The
router is also a load balancer with floating IP, which probes from the same address as Azure's.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trustme

from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Metadata
from tests.lab.azure.world import Node, ip_config, network, nic, public_ip, route_table
from tests.lab.cloud.balancer import Backend, Balancer, Probe
from tests.lab.cloud.lab import HEALTH_PORT, SERVICE_PORT, CloudLab
from tests.lab.host.namespaces import Namespace, namespaces
from tests.lab.http.rest import RestServer
from tests.lab.stores.etcd import start_etcd

GATEWAY, ARM_PORT, METADATA = "10.7.0.1", 8443, "169.254.169.254"
NODES = {node.name: node for node in (Node(1), Node(2))}
VIP, OUTSIDE, PUBLIC, FRONTEND = "10.7.0.100", "192.0.2.10", "198.51.100.7", "10.7.0.200"
TARGETS = {
    name: (address, SERVICE_PORT)
    for name, address in (("web", VIP), ("db", OUTSIDE), ("pub", PUBLIC), ("lb", FRONTEND))
}
PROBES = "168.63.129.16"
OPERATION_SECONDS = 0.3


class AzureLab(CloudLab):
    """The namespaces, the fakes and the processes of this lab. `azure_lab` makes it."""

    store: Mapping[str, Any] = {"type": "etcd", "endpoints": [f"http://{GATEWAY}:2379"]}

    def __init__(self, directory: Path, spaces: Sequence[Namespace], ending: ExitStack) -> None:
        nodes = dict(zip(NODES, spaces[2:], strict=True))
        super().__init__(directory, router=spaces[0], client=spaces[1], nodes=nodes, targets=TARGETS, ending=ending)
        self.arm = Arm(changed=self.deliver)
        network(self.arm)
        public_ip(self.arm, "pip", PUBLIC)
        for node in NODES.values():
            self.arm.add(node.nic, nic(node, *([ip_config("vip", VIP)] if node.number == 1 else [])))
        self.table = route_table(self.arm, "t", f"{OUTSIDE}/32", NODES["n1"].address)
        self.ca_file = directory / "ca.pem"
        backends = {name: Backend(node.address, f"{name}p") for name, node in NODES.items()}
        self.balancer = Balancer(self.router, FRONTEND, backends, Probe("/health/lb", HEALTH_PORT, PROBES))
        self._routes: dict[str, str] = {}

    @property
    def groups(self) -> Mapping[str, Mapping[str, Any]]:
        """The groups, one for each mechanism."""
        where = {"endpoint": self.arm.audience, "ca_file": str(self.ca_file), "polling_seconds": 0.1}
        moved: dict[str, tuple[str, dict[str, Any]]] = {
            "web": (f"{VIP}/24", {"type": "azure.ip_config", "nics": ["nic1", "nic2"]}),
            "db": (f"{OUTSIDE}/32", {"type": "azure.route", "route_tables": ["t"], "interface": "eth0"}),
            "pub": (f"{PUBLIC}/32", {"type": "azure.public_ip", "public_ip": "pip", "interface": "eth0"}),
        }
        balanced = {"vips": [f"{FRONTEND}/32"], "providers": [{"type": "load_balancer", "local": True}]}
        groups = {name: {"vips": [vip], "providers": [{**keys, **where}]} for name, (vip, keys) in moved.items()}
        return {**groups, "lb": balanced}

    def environment(self, name: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return the metadata service's real address, which the tests' environment replaces."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{METADATA}"}

    # --- setting up

    def wire(self) -> None:
        """Make the links, the addresses and the router's view of the virtual network."""
        self.router.ip("link set lo up", f"link add cp type veth peer name eth0 netns {self.client.name}")
        self.router.ip("link set cp up", "address add 10.78.0.1/24 dev cp")
        self.client.ip("link set lo up", "link set eth0 up", "address add 10.78.0.2/24 dev eth0")
        self.client.ip("route add default via 10.78.0.1")
        for name, space in self.nodes.items():
            node = NODES[name]
            mac = ":".join(node.mac[at : at + 2] for at in range(0, 12, 2))
            self.router.ip(
                f"link add {name}p type veth peer name eth0 address {mac} netns {space.name}",
                f"link set {name}p up",
                f"address add {GATEWAY}/32 dev {name}p",
            )
            space.ip("link set lo up", f"address add {METADATA}/32 dev lo", "link set eth0 up")
            space.ip(f"address add {node.address}/24 dev eth0", f"route add default via {GATEWAY}")
        self.router.run("sysctl -qw net.ipv4.ip_forward=1")
        self.deliver()

    def deliver(self) -> None:
        """Update the router to what has taken effect in the fake. The fake makes one such call at a time."""
        self.led.append(self.owners())  # first, because the next change can come while the router is updated
        neighbours, routes, translated = [], {}, {}
        publics = {each["id"].lower(): each["properties"]["ipAddress"] for each in self.arm.all("publicipaddresses")}
        ports, forwarding = {}, set()
        for name, node in NODES.items():
            found = next(each for each in self.arm.all("networkinterfaces") if each["id"] == node.nic)
            mac = found["properties"]["macAddress"].replace("-", ":")
            for config in found["properties"]["ipConfigurations"]:
                address = config["properties"]["privateIPAddress"]
                neighbours.append(f"neigh replace {address} lladdr {mac} dev {name}p nud permanent")
                routes[address] = f"dev {name}p"
                ports[address] = f"{name}p"
                if public := config["properties"].get("publicIPAddress"):
                    translated[publics[public["id"].lower()]] = address
            if found["properties"]["enableIPForwarding"]:
                forwarding.add(f"{name}p")
        for route in self._in_effect():
            hop = route["properties"]["nextHopIpAddress"]
            if ports.get(hop) in forwarding:  # otherwise Azure drops the packets
                routes[route["properties"]["addressPrefix"]] = f"via {hop} dev {ports[hop]} onlink"
        gone = [f"route delete {destination}" for destination in self._routes.keys() - routes.keys()]
        self._routes = routes
        self.router.ip(*gone, *neighbours, *(f"route replace {to} {way}" for to, way in routes.items()))
        self.translate(translated)

    def _in_effect(self) -> list[dict[str, Any]]:
        """Return the routes of the table without those that are being written."""
        (table,) = self.arm.all("routetables")
        routes: list[dict[str, Any]] = table["properties"]["routes"]
        return [route for route in routes if route["properties"]["provisioningState"] == "Succeeded"]

    def serve(self) -> None:
        """Start Azure on the router, a metadata service on each node, etcd, the service and the client."""
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(GATEWAY).configure_cert(context)
        authority.cert_pem.write_to_path(self.ca_file)
        with self.router.entered():
            server = RestServer(self.arm.answer, ("0.0.0.0", ARM_PORT), context, name=GATEWAY)
            self._ending.enter_context(server)
        self.arm.audience = server.url
        self.arm.seconds = OPERATION_SECONDS
        for name, space in self.nodes.items():
            with space.entered():
                answer = Metadata(NODES[name].machine).answer
                self._ending.enter_context(RestServer(answer, (METADATA, 80)))
        self._ending.enter_context(start_etcd(1, self.directory, (GATEWAY,), [self.router.name]))
        self.balancer.serve(self._ending)
        self.run_services()

    # --- owners by Azure

    def owners(self) -> Mapping[str, str | None]:
        """Return the node that Azure leads each target to, or None while that is changing."""
        nics = {each["id"]: each for each in self.arm.all("networkinterfaces")}
        having: dict[str, str | None] = {"web": None, "db": None, "pub": None, "lb": self.balancer.leads_to()}
        for name, node in NODES.items():
            for config in nics[node.nic]["properties"]["ipConfigurations"]:
                if config["properties"]["privateIPAddress"] == VIP:
                    having["web"] = name
                if "publicIPAddress" in config["properties"]:
                    having["pub"] = name
            if any(route["properties"]["nextHopIpAddress"] == node.address for route in self._in_effect()):
                having["db"] = name
        return having


@contextmanager
def azure_lab(directory: Path) -> Iterator[AzureLab]:
    """Make the lab with both daemons started, and remove all of it when the test ends."""
    with namespaces("vnet", "client", *NODES) as spaces, ExitStack() as ending:
        lab = AzureLab(directory, spaces, ending)
        lab.wire()
        lab.serve()
        lab.start_all()
        yield lab
