"""Two nodes in a VPC: a router that delivers packets as the fake EC2 says, the client's view, and HAProxy.

EC2 and a metadata service for each node run on the router.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.lab.aws import ec2 as fake_ec2
from tests.lab.aws import imds as fake_imds
from tests.lab.aws.ec2 import Ec2
from tests.lab.aws.imds import Imds
from tests.lab.aws.network import NODES, small_network
from tests.lab.cloud.lab import HEALTH_PORT, SERVICE_PORT, CloudLab
from tests.lab.host.namespaces import Namespace, namespaces
from tests.lab.stores.etcd import start_etcd

GATEWAY, GATEWAY6 = "10.77.0.1", "fd77::1"
EC2_PORT, IMDS_PORT = 8000, 8001
BALANCED = ("10.78.0.1", 7001)
GROUPS: dict[str, dict[str, Any]] = {
    "web": {"vips": ["10.77.0.100/24", "fd77::100/64"], "providers": [{"type": "aws.secondary_ip"}]},
    "db": {
        "vips": ["192.0.2.10/32"],
        "providers": [{"type": "aws.route", "route_table_tags": {"anyvip": "shop"}, "interface": "eth0"}],
    },
    "pub": {"vips": ["198.51.100.7/32"], "providers": [{"type": "aws.elastic_ip", "interface": "eth0"}]},
}
TARGETS = {
    "web": ("10.77.0.100", SERVICE_PORT),
    "web6": ("fd77::100", SERVICE_PORT),
    "db": ("192.0.2.10", SERVICE_PORT),
    "pub": ("198.51.100.7", SERVICE_PORT),
    "balanced": BALANCED,
}

_BALANCER = """
defaults
  mode tcp
  timeout connect 300ms
  timeout client 5s
  timeout server 5s
listen service
  bind {host}:{port}
  option httpchk GET /health/web
  http-check expect status 200
  default-server check port {health} inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
  server n1 10.77.0.11:{service}
  server n2 10.77.0.12:{service}
"""


class Ec2Lab(CloudLab):
    """The namespaces, the fakes and the processes of this lab. `ec2_lab` makes it."""

    store: Mapping[str, Any] = {"type": "etcd", "endpoints": [f"http://{GATEWAY}:2379"]}

    def __init__(self, directory: Path, spaces: Sequence[Namespace], ending: ExitStack) -> None:
        nodes = dict(zip(NODES, spaces[2:], strict=True))
        super().__init__(directory, router=spaces[0], client=spaces[1], nodes=nodes, targets=TARGETS, ending=ending)
        self.ec2: Ec2 = small_network()
        self._routes: dict[str, str] = {}

    @property
    def groups(self) -> Mapping[str, Mapping[str, Any]]:
        """The groups, one for each mechanism."""
        return GROUPS

    # --- setting up

    def wire(self) -> None:
        """Make the links, the addresses and the router's view of the VPC."""
        self.router.ip("link set lo up", "link add cp type veth peer name eth0 netns " + self.client.name)
        self.router.ip("link set cp up", "address add 10.78.0.1/24 dev cp", "address add fd78::1/64 dev cp nodad")
        self.client.ip("link set lo up", "link set eth0 up", "address add 10.78.0.2/24 dev eth0")
        self.client.ip("address add fd78::2/64 dev eth0 nodad", "route add default via 10.78.0.1")
        self.client.ip("route add default via fd78::1")
        for name, node in self.nodes.items():
            eni = self.ec2.cloud.interfaces[NODES[name]]
            port = f"{name}p"
            self.router.ip(
                f"link add {port} type veth peer name eth0 address {eni.mac} netns {node.name}",
                f"link set {port} up",
                f"address add {GATEWAY}/32 dev {port}",
                f"address add {GATEWAY6}/128 dev {port} nodad",
            )
            node.ip("link set lo up", "link set eth0 up", f"address add {eni.addresses[0]}/24 dev eth0")
            node.ip(f"address add {eni.ipv6[0]}/64 dev eth0 nodad", f"route add default via {GATEWAY}")
            node.ip(f"route add default via {GATEWAY6}")
        self.router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.ec2.cloud.changed = self.deliver
        self.deliver()

    def deliver(self) -> None:
        """Update the router to the state of the fake."""
        self.led.append(self.owners())  # first, because the next change can come while the router is updated
        cloud = self.ec2.cloud
        ports = {NODES[name]: f"{name}p" for name in self.nodes}
        neighbours, routes = [], {}
        for eni in cloud.interfaces.values():
            for address in (*eni.addresses, *eni.ipv6):
                neighbours.append(f"neigh replace {address} lladdr {eni.mac} dev {ports[eni.id]} nud permanent")
                routes[address] = f"dev {ports[eni.id]}"
        for destination, target in cloud.tables["rtb-1"].routes.items():
            routes[destination] = f"via {cloud.interfaces[target].addresses[0]} dev {ports[target]} onlink"
        gone = [f"route delete {destination}" for destination in self._routes.keys() - routes.keys()]
        self._routes = routes
        self.router.ip(*gone, *neighbours, *(f"route replace {to} {way}" for to, way in routes.items()))
        elastics = cloud.elastics.values()
        self.translate({each.public: each.association.address for each in elastics if each.association is not None})

    def serve(self) -> None:
        """Start EC2 and a metadata service for each node on the router, etcd, balancer, service and client."""
        with self.router.entered():
            self._ending.enter_context(fake_ec2.serving(self.ec2, "0.0.0.0", EC2_PORT))
            for number, eni in enumerate(NODES.values()):
                imds = Imds(self.ec2.cloud, [self.ec2.cloud.interfaces[eni]])
                self._ending.enter_context(fake_imds.serving(imds, "0.0.0.0", IMDS_PORT + number))
        self._ending.enter_context(start_etcd(1, self.directory, (GATEWAY,), [self.router.name]))
        config = self.directory / "haproxy.cfg"
        host, port = BALANCED
        config.write_text(_BALANCER.format(host=host, port=port, health=HEALTH_PORT, service=SERVICE_PORT))
        self.spawn(self.router, ["haproxy", "-db", "-f", str(config)])
        self.run_services()

    def environment(self, name: str) -> Mapping[str, str]:
        """Return the environment that names EC2, the metadata service and a key that IAM knows."""
        number = list(NODES).index(name)
        return {
            "AWS_ENDPOINT_URL": f"http://{GATEWAY}:{EC2_PORT}",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{GATEWAY}:{IMDS_PORT + number}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": str(self.directory / "none"),
        }

    # --- owners by EC2

    def owners(self) -> dict[str, str | None]:
        """Return the node that EC2 leads each group to."""
        cloud = self.ec2.cloud
        names = {eni: name for name, eni in NODES.items()}
        elastic = cloud.elastics["eipalloc-1"].association
        tables = {table.routes.get("192.0.2.10/32") for table in cloud.tables.values()}
        return {
            "web": names.get(str(cloud.owner("10.77.0.100"))),
            "web6": names.get(str(cloud.owner("fd77::100"))),
            "db": names.get(str(tables.pop())) if len(tables) == 1 else None,
            "pub": names.get(elastic.interface) if elastic is not None else None,
        }


@contextmanager
def ec2_lab(directory: Path) -> Iterator[Ec2Lab]:
    """Make the lab with both daemons started, and remove all of it when the test ends."""
    with namespaces("vpc", "client", *NODES) as spaces, ExitStack() as ending:
        lab = Ec2Lab(directory, spaces, ending)
        lab.wire()
        lab.serve()
        lab.start_all()
        yield lab
