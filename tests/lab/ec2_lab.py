"""Two nodes in a VPC: a router that delivers as the fake EC2 says, the client's view, and HAProxy before the nodes.

    n1 --+
         +-- router (the VPC; EC2, metadata and etcd answer here) -- client
    n2 --+

The router knows nobody by ARP: what leads where is in the fake's interfaces, routes and associations alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.client import Client, NotThere
from tests.lab import ec2 as fake_ec2
from tests.lab import imds as fake_imds
from tests.lab.ec2 import Ec2
from tests.lab.ec2_network import NODES, small_network
from tests.lab.etcd import start_etcd
from tests.lab.imds import Imds
from tests.lab.namespaces import Namespace, namespaces, source_root

GATEWAY, GATEWAY6 = "10.77.0.1", "fd77::1"
SERVICE_PORT, HEALTH_PORT, EC2_PORT, IMDS_PORT = 7000, 9010, 8000, 8001
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

_SERVICE = f"""
import socket, sys
with socket.create_server(("::", {SERVICE_PORT}), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                connection.sendall(sys.argv[1].encode())
            except OSError:
                pass
"""
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


@dataclass(frozen=True)
class Seen:
    """One question of the client: when, and which node answered (None: none)."""

    at: float
    node: str | None


@dataclass
class View:
    """What the client sees, all the time."""

    seen: dict[str, list[Seen]] = field(default_factory=lambda: {name: [] for name in TARGETS})
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, client: Namespace, name: str) -> None:
        with client.entered():
            while not self.ending.is_set():
                at = time.monotonic()
                self.seen[name].append(Seen(at, _answer(TARGETS[name])))
                self.ending.wait(0.03)

    def now(self, name: str) -> str | None:
        return self.seen[name][-1].node if self.seen[name] else None

    def since(self, at: float, name: str) -> list[str]:
        """The nodes that answered from then on, each change once."""
        found: list[str] = []
        for each in self.seen[name]:
            if each.at >= at and each.node is not None and each.node not in found[-1:]:
                found.append(each.node)
        return found


def _answer(target: tuple[str, int]) -> str | None:
    try:
        with socket.create_connection(target, 0.25) as connection:
            return connection.recv(10).decode() or None
    except OSError:
        return None


class Ec2Lab:
    """The namespaces, the fakes, and what runs there. Made by `ec2_lab`."""

    def __init__(self, directory: Path, spaces: Sequence[Namespace], ending: ExitStack) -> None:
        self.directory = directory
        self.router, self.client = spaces[0], spaces[1]
        self.nodes = dict(zip(NODES, spaces[2:], strict=True))
        self.ec2: Ec2 = small_network()
        self.view = View()
        self._ending = ending
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._routes: dict[str, str] = {}

    # --- setting up

    def wire(self) -> None:
        """Cables, addresses, and the router's idea of the VPC."""
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
        self.router.run("nft add table ip vpc")
        self.ec2.cloud.changed = self.deliver
        self.deliver()

    def deliver(self) -> None:
        """Bring the router up to what the fake holds now."""
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
        self._translate()

    def _translate(self) -> None:
        """Elastic IPs lead to the private address that they are associated with."""
        rules = [
            f"ip daddr {elastic.public} dnat to {elastic.association.address}"
            for elastic in self.ec2.cloud.elastics.values()
            if elastic.association is not None
        ]
        chain = "\n".join(["type nat hook prerouting priority dstnat;", *rules])
        script = f"table ip vpc {{}}\ndelete table ip vpc\ntable ip vpc {{\nchain pre {{\n{chain}\n}}\n}}\n"
        self._nft(script)

    def serve(self) -> None:
        """EC2, and one metadata service for each node, on the router; etcd, the balancer, the service, the client."""
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
        for name, node in self.nodes.items():
            self.spawn(node, [sys.executable, "-c", _SERVICE, name])
        self._ending.callback(self.view.ending.set)
        for name in TARGETS:
            thread = threading.Thread(target=self.view.ask, args=(self.client, name))
            self._ending.callback(thread.join)
            thread.start()
        self._ending.callback(self.view.ending.set)

    def spawn(self, where: Namespace, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{Path(command[0]).name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", where.name, *command],
                cwd=source_root(),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._ending.callback(_end, process)
        return process

    # --- the daemons

    def start(self, name: str) -> None:
        number = list(NODES).index(name)
        file = self.directory / f"{name}.yml"
        file.write_text(json.dumps(self._configuration(name)))
        environment = {
            "AWS_ENDPOINT_URL": f"http://{GATEWAY}:{EC2_PORT}",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{GATEWAY}:{IMDS_PORT + number}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": str(self.directory / "none"),
        }
        command = [sys.executable, "-m", "controller.cli", "run", "--config", str(file)]
        self._daemons[name] = self.spawn(self.nodes[name], command, **environment)

    def _configuration(self, name: str) -> dict[str, Any]:
        return {
            "cluster": "lab",
            "node": name,
            "state_dir": str(self.directory / name),
            "store": {"type": "etcd", "endpoints": [f"http://{GATEWAY}:2379"]},
            "lease": {"duration_seconds": 2.0},
            "health": {"listen": [f"0.0.0.0:{HEALTH_PORT}"]},
            "groups": GROUPS,
        }

    def kill(self, name: str) -> None:
        self._daemons[name].kill()
        self._daemons[name].wait()

    def freeze(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGCONT)

    def cut(self, name: str) -> None:
        """Nothing passes between the node and the VPC; both keep their carrier."""
        hooks = ("ingress", "egress")
        chains = "\n".join(
            f"chain {hook} {{\ntype filter hook {hook} device {name}p priority 0; policy drop;\n}}" for hook in hooks
        )
        self._nft(f"table netdev cut {{\n{chains}\n}}\n")

    def join(self) -> None:
        """End `cut`."""
        self._nft("delete table netdev cut\n")

    def _nft(self, script: str) -> None:
        command = ["ip", "netns", "exec", self.router.name, "nft", "-f", "-"]
        subprocess.run(command, input=script, text=True, check=True)

    def ask(self, name: str, path: str) -> Any:
        return Client(self.directory / name / "anyvip.sock").get(path)

    def command(self, name: str, *words: str) -> None:
        command = [sys.executable, "-m", "controller.cli", *words, "--config", str(self.directory / f"{name}.yml")]
        subprocess.run(
            ["ip", "netns", "exec", self.nodes[name].name, *command], cwd=source_root(), check=True, capture_output=True
        )

    def role(self, name: str, group: str) -> str | None:
        try:
            view = self.ask(name, "/v1/status")["groups"].get(group)
        except (NotThere, OSError):
            return None
        return None if view is None else str(view["role"])

    def log(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-6000:] for file in self.directory.glob("*.log"))

    # --- who has it, by EC2

    def owners(self) -> dict[str, str | None]:
        """The node that EC2 leads each group to."""
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


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def ec2_lab(directory: Path) -> Iterator[Ec2Lab]:
    """All of it, with both daemons started; nothing of it is left however the test ends."""
    with namespaces("vpc", "client", *NODES) as spaces, ExitStack() as ending:
        lab = Ec2Lab(directory, spaces, ending)
        lab.wire()
        lab.serve()
        for name in NODES:
            lab.start(name)
        yield lab
