"""A load balancer that leaves the destination as it is: HAProxy in front of two nodes that have the VIP on lo.

Each node has a link of its own to it, and HAProxy connects to the VIP by one link or the other. The standby has the VIP
on lo, too, put there by hand as guest agents and instructions for direct server return do: the guard alone refuses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from controller.api.client import Client, NotThere
from controller.daemon.clock import boottime
from providers.base import Grant, Guarded, Level, Place, StaleGrant
from providers.cloud.load_balancer import LoadBalancer, LoadBalancerOptions
from tests.lab.host.namespaces import Namespace, eventually, namespaces, source_root
from tests.netns.conftest import Lan

pytestmark = pytest.mark.netns

VIP = "192.0.2.10"
LIVENESS = 90.0  # seconds; generous
NODES = {"n1": "10.79.1", "n2": "10.79.2"}
ON_THE_NODE = {"type": "load_balancer", "local": True}
SERVICE = """
import http.server, socketserver, sys
class Named(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *_): pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("0.0.0.0", 80), Named).serve_forever()
"""
HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout check 10s
  timeout client 60s
  timeout server 60s
  retries 0
frontend web
  bind 127.0.0.1:8080
  default_backend nodes
backend nodes
  balance roundrobin
  http-reuse never
"""
FOLLOWING = "  option httpchk GET /health\n  http-check expect status 200\n"


@dataclass
class Lab:
    """`lb`, `n1` and `n2`, each with its processes, which end with the test."""

    spaces: dict[str, Namespace]
    directory: Path
    running: ExitStack
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, where: str, *command: str, log: str) -> subprocess.Popen[bytes]:
        with (self.directory / log).open("wb") as written:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.spaces[where].name, *command],
                cwd=source_root(), stdout=written, stderr=written,
            )  # fmt: skip
        self.running.callback(process.wait)
        self.running.callback(process.kill)
        return process

    def daemon(self, node: str, provider: Mapping[str, Any] = ON_THE_NODE) -> None:
        content = {
            "cluster": "test",
            "node": node,
            "state_dir": str(self.directory / node),
            "store": {"type": "file", "path": str(self.directory / "store")},
            "health": {"listen": ["0.0.0.0:9010"]},
            "groups": {"web": {"vips": [f"{VIP}/32"], "providers": [provider]}},
        }
        file = self.directory / f"{node}.yml"
        file.write_text(json.dumps(content))
        command = [sys.executable, "-m", "controller.cli.main", "run", "--config", str(file)]
        self.daemons[node] = self.start(node, *command, log=f"{node}.log")

    def role(self, node: str) -> str:
        try:
            return str(Client(self.directory / node / "anyvip.sock").get("/v1/status")["groups"]["web"]["role"])
        except NotThere:
            return ""

    def balance(self, checks: str) -> None:
        check = " check inter 200ms fall 1 rise 1 port 9010 addr {addr}" if checks else ""
        servers = "".join(
            f"  server {node} {VIP}:80 source 0.0.0.0 interface to{node}{check.format(addr=network + '.2')}\n"
            for node, network in NODES.items()
        )
        file = self.directory / "haproxy.cfg"
        file.write_text(HAPROXY + checks + servers)
        self.start("lb", "haproxy", "-db", "-f", str(file), log="haproxy.log")

    def answers(self) -> str:
        """The node that answers a client of the load balancer; empty where none does."""
        asked = subprocess.run(
            ["ip", "netns", "exec", self.spaces["lb"].name, "curl", "-sf", "-m", "60", "http://127.0.0.1:8080/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return asked.stdout

    def log(self) -> str:
        return "\n".join((self.directory / f"{node}.log").read_text() for node in NODES)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    for program in ("haproxy", "curl"):
        if which(program) is None:
            pytest.skip(f"no {program} here")
    with namespaces("b", "m", "n") as (balancer, first, second), ExitStack() as running:
        spaces = {"lb": balancer, "n1": first, "n2": second}
        balancer.ip("link set lo up")
        for metric, (node, network) in enumerate(NODES.items(), 1):
            there = spaces[node]
            balancer.ip(f"link add to{node} type veth peer name eth0 netns {there.name}")
            balancer.ip(f"address add {network}.1/24 dev to{node}", f"link set to{node} up")
            there.ip("link set lo up", f"address add {network}.2/24 dev eth0", "link set eth0 up")
            there.ip(f"route add default via {network}.1")
            balancer.ip(f"route add {VIP}/32 via {network}.2 dev to{node} metric {metric}")
        made = Lab(spaces, tmp_path, running)
        for node in NODES:
            made.start(node, sys.executable, "-c", SERVICE, node, log=f"{node}-service.log")
        made.daemon("n1")
        assert eventually(lambda: made.role("n1") == "active", LIVENESS), made.log()
        made.daemon("n2")
        assert eventually(lambda: made.role("n2") == "standby", LIVENESS), made.log()
        spaces["n2"].ip(f"address add {VIP}/32 dev lo")
        assert spaces["n2"].run(f"curl -sf -m 60 http://{VIP}/") == "n2", "it would answer, but for the guard"
        yield made


def test_the_load_balancer_follows_the_health_endpoint(lab: Lab) -> None:
    lab.balance(FOLLOWING)
    assert eventually(lambda: lab.answers() == "n1", LIVENESS), lab.log()
    lab.daemons["n1"].kill()
    seen = ["n1"]
    end = time.monotonic() + LIVENESS
    while seen[-1] != "n2" and time.monotonic() < end:
        answer = lab.answers()
        if answer not in ("", seen[-1]):
            seen.append(answer)
    assert seen == ["n1", "n2"], lab.log()
    assert [lab.answers() for _ in range(5)] == ["n2"] * 5


def test_a_load_balancer_that_sends_to_everybody_is_refused_by_the_standby(lab: Lab) -> None:
    lab.balance("")
    assert eventually(lambda: lab.answers() == "n1", LIVENESS), lab.log()
    answers = [lab.answers() for _ in range(10)]
    assert set(answers) == {"n1", ""}, "every other one goes to the standby, and nowhere from there"
    lab.daemons["n2"].terminate()
    assert lab.daemons["n2"].wait(LIVENESS) == 0
    lab.spaces["n2"].ip(f"address replace {VIP}/32 dev lo")
    assert eventually(lambda: lab.answers() == "n2", LIVENESS), "without a guard it would have answered"


def test_a_group_that_binds_nothing_here_is_served_by_its_health_alone(tmp_path: Path) -> None:
    with namespaces("d") as (alone,), ExitStack() as running:
        alone.ip("link set lo up")
        lab = Lab({"n1": alone}, tmp_path, running)
        lab.daemon("n1", {"type": "load_balancer"})
        asked = "curl -s -o /dev/null -w %{http_code} http://127.0.0.1:9010/health/web"
        assert eventually(lambda: lab.role("n1") == "active", LIVENESS), (tmp_path / "n1.log").read_text()
        assert alone.run(asked) == "200"
        assert VIP not in alone.run("ip address show")


# --- the provider ------------------------------------------------------------------------------------------------


async def test_without_a_local_vip_there_is_nothing_to_do(clock: Callable[[], float]) -> None:
    made = LoadBalancer.open(LoadBalancerOptions(), group="web", vips=(ip_interface("192.0.2.10/24"),), clock=clock)
    await made.bind(Grant("web", 1, boottime() + 5))
    with pytest.raises(StaleGrant):
        await made.bind(Grant("web", 1, boottime() - 1))
    assert (await made.inspect()).place is Place.HERE
    assert made.guarded() == Guarded((), ())
    assert [finding.level for finding in await made.preflight()] == [Level.OK]
    await made.unbind()


def test_a_vip_of_somebody_else_s_doing_is_guarded_where_named(clock: Callable[[], float]) -> None:
    vips = (ip_interface("192.0.2.10/24"),)
    made = LoadBalancer.open(LoadBalancerOptions(ingress=("eth0",)), group="web", vips=vips, clock=clock)
    assert made.guarded() == Guarded(vips, ("eth0",))


async def test_on_lo_the_vip_comes_alone_and_is_guarded_where_packets_come_in(
    lan: Lan, clock: Callable[[], float]
) -> None:
    made = LoadBalancer.open(LoadBalancerOptions(local=True), group="web", vips=(lan.vip4,), clock=clock)
    await made.bind(Grant("web", 1, clock() + 30))
    assert f"inet {lan.vip4.ip}/32 " in lan.node.run("ip address show dev lo")
    assert f"local {lan.vip4.network}" not in lan.node.run("ip route show table local")
    assert made.guarded().interfaces == (lan.interface,)
    found = {finding.subject: finding for finding in await made.preflight()}
    assert found[f"interface {lan.interface}"].level is Level.WARNING, "in the VIP's network, ARP would be answered"
    lan.node.run(f"sysctl -q -w net.ipv4.conf.{lan.interface}.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")
    assert f"interface {lan.interface}" not in {finding.subject for finding in await made.preflight()}
    await made.unbind()
    assert str(lan.vip4.ip) not in lan.node.run("ip address show dev lo")
    await made.close()  # type: ignore[union-attr]  # it is the one with an address
