"""Nodes in a cloud's network: a router that delivers packets as the cloud's fake says, and a client that always asks.

    n1 --+
         +-- router (the cloud; its API and etcd run here) -- client
    n2 --+

The router does not use ARP: only the fake knows where an address leads.
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
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.api.client import Client, NotThere
from tests.lab.host.namespaces import Namespace, eventually, source_root

SERVICE_PORT, HEALTH_PORT = 7000, 9010
LIVENESS = 60.0  # seconds, generous because the machine can be busy

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


@dataclass(frozen=True)
class Seen:
    """One request of the client: its time, and the node that answered (None if none did)."""

    at: float
    node: str | None


@dataclass
class View:
    """What the client sees of each target (host and port). It asks all the time."""

    targets: Mapping[str, tuple[str, int]]
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, client: Namespace, name: str) -> None:
        self.seen[name] = []
        with client.entered():
            while not self.ending.is_set():
                at = time.monotonic()
                self.seen[name].append(Seen(at, _answer(self.targets[name])))
                self.ending.wait(0.03)

    def now(self, name: str) -> str | None:
        return self.seen[name][-1].node if self.seen.get(name) else None

    def answers(self, at: float, name: str) -> list[str | None]:
        """Return the answer to each request since `at`."""
        return [each.node for each in self.seen[name] if each.at >= at]

    def since(self, at: float, name: str) -> list[str]:
        """Return the nodes that answered since `at`, without repetitions in a row."""
        found: list[str] = []
        for node in self.answers(at, name):
            if node is not None and node not in found[-1:]:
                found.append(node)
        return found


def _answer(target: tuple[str, int]) -> str | None:
    try:
        with socket.create_connection(target, 0.25) as connection:
            return connection.recv(10).decode() or None
    except OSError:
        return None


class CloudLab(ABC):
    """The namespaces and their processes. A cloud's lab links them, serves its fakes, and reports the owners."""

    store: Mapping[str, Any]  # as in the daemons' configuration
    lease_seconds = 4.0  # one that a busy machine keeps

    def __init__(
        self,
        directory: Path,
        *,
        router: Namespace,
        client: Namespace,
        nodes: Mapping[str, Namespace],
        targets: Mapping[str, tuple[str, int]],
        ending: ExitStack,
    ) -> None:
        """Prepare the lab. `ending` ends its processes."""
        self.directory = directory
        self.router, self.client, self.nodes = router, client, nodes
        self.view = View(targets)
        self.led: list[Mapping[str, str | None]] = []  # where the cloud led, after each change in it
        self._ending = ending
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    # --- what differs between clouds

    @property
    @abstractmethod
    def groups(self) -> Mapping[str, Mapping[str, Any]]:
        """The groups, as in the daemons' configuration."""

    @abstractmethod
    def owners(self) -> Mapping[str, str | None]:
        """Return the node that the cloud leads each of its targets to."""

    def environment(self, name: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return what the node's daemon finds in its environment in addition to the test's."""
        return {}

    # --- setting up

    def run_services(self) -> None:
        """Run a service on each node that answers with the node's name, and let the client ask from now on."""
        for name, node in self.nodes.items():
            self.spawn(node, [sys.executable, "-c", _SERVICE, name])
        for name in self.view.targets:
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

    def nft(self, script: str) -> None:
        """Change the router's rules."""
        command = ["ip", "netns", "exec", self.router.name, "nft", "-f", "-"]
        subprocess.run(command, input=script, text=True, check=True)

    def translate(self, public: Mapping[str, str]) -> None:
        """Make the router send packets for these public addresses to private ones."""
        rules = (f"ip daddr {address} dnat to {private}" for address, private in public.items())
        chain = "\n".join(["type nat hook prerouting priority dstnat;", *rules])
        self.nft(f"table ip cloud {{}}\ndelete table ip cloud\ntable ip cloud {{\nchain pre {{\n{chain}\n}}\n}}\n")

    # --- the daemons

    def start(self, name: str) -> None:
        file = self.directory / f"{name}.yml"
        file.write_text(json.dumps(self._configuration(name)))
        command = [sys.executable, "-m", "controller.cli.main", "run", "--config", str(file)]
        self._daemons[name] = self.spawn(self.nodes[name], command, **self.environment(name))

    def start_all(self) -> None:
        """Start the daemons one after another, because started at the same time each might take some groups."""
        for name in self.nodes:
            self.start(name)
            assert eventually(lambda: any(self.served_by(node) for node in self._daemons), 5 * LIVENESS), self.log()

    def _configuration(self, name: str) -> dict[str, Any]:
        return {
            "cluster": "lab",
            "node": name,
            "state_dir": str(self.directory / name),
            "store": self.store,
            "lease": {"duration_seconds": self.lease_seconds},
            "health": {"listen": [f"0.0.0.0:{HEALTH_PORT}"]},
            "reconcile": {"looks_per_minute": 60},  # so many groups, taken over every few seconds, need that
            "groups": self.groups,
        }

    def kill(self, name: str) -> None:
        self._daemons[name].kill()
        self._daemons[name].wait()

    def freeze(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGCONT)

    def cut(self, name: str) -> None:
        """Stop all packets between the node and the router. Both keep their carrier."""
        hooks = ("ingress", "egress")
        chains = "\n".join(
            f"chain {hook} {{\ntype filter hook {hook} device {name}p priority 0; policy drop;\n}}" for hook in hooks
        )
        self.nft(f"table netdev cut {{\n{chains}\n}}\n")

    def join(self) -> None:
        """End `cut`."""
        self.nft("delete table netdev cut\n")

    def ask(self, name: str, path: str) -> Any:
        return Client(self.directory / name / "anyvip.sock").get(path)

    def command(self, name: str, *words: str) -> None:
        command = [sys.executable, "-m", "controller.cli.main", *words, "--config", str(self.directory / f"{name}.yml")]
        done = subprocess.run(
            ["ip", "netns", "exec", self.nodes[name].name, *command],
            cwd=source_root(), check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def doctor(self, name: str) -> list[dict[str, str]]:
        """Return what `anyvip doctor` finds on the node."""
        command = [sys.executable, "-m", "controller.cli.main", "doctor", "--json"]
        asked = subprocess.run(
            [
                "ip", "netns", "exec", self.nodes[name].name,
                *command, "--config", str(self.directory / f"{name}.yml"),
            ],
            cwd=source_root(), env={**os.environ, **self.environment(name)},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert asked.stdout, asked.stderr
        found: list[dict[str, str]] = json.loads(asked.stdout)["findings"]
        return found

    def role(self, name: str, group: str) -> str | None:
        try:
            view = self.ask(name, "/v1/status")["groups"].get(group)
        except (NotThere, OSError):
            return None
        return None if view is None else str(view["role"])

    def log(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-6000:] for file in self.directory.glob("*.log"))

    # --- who serves

    def asked_from(self, where: Namespace, name: str) -> str | None:
        """Return the node that answers a request for a target from a namespace."""
        with where.entered():
            return _answer(self.view.targets[name])

    def other(self, node: str) -> str:
        """Return the other node."""
        return next(name for name in self.nodes if name != node)

    def served_by(self, node: str) -> bool:
        """Report whether this node answers the client and the cloud leads there, for every target."""
        led = all(owner == node for owner in self.owners().values())
        return led and all(self.view.now(name) == node for name in self.view.targets)

    def has_led(self, since: int, node: str, targets: Iterable[str]) -> bool:
        """Report whether the cloud led all targets to the node at some time after its first `since` changes (`led`)."""
        return any(all(led[name] == node for name in targets) for led in self.led[since:])

    def stands_by(self, node: str) -> bool:
        return all(self.role(node, group) == "standby" for group in self.groups)

    def has_successor(self, node: str) -> bool:
        """Report whether the node knows that the other one is fit for every group, so that it would hand over."""
        try:
            members = self.ask(node, "/v1/status")["members"]
        except (NotThere, OSError):
            return False
        others = [m for m in members if m["node"] != node and m["live"] and m["campaigning"]]
        return any(all(m["groups"].get(group, {}).get("healthy") for group in self.groups) for m in others)

    def settled(self) -> str:
        """Wait until one node serves everything and knows that the other one stands by, and return it."""
        found: list[str] = []

        def look() -> bool:
            found.extend(filter(self._is_settled, self.nodes))
            return bool(found)

        assert eventually(look, LIVENESS), self.log()
        return found[0]

    def _is_settled(self, active: str) -> bool:
        return self.served_by(active) and self.stands_by(self.other(active)) and self.has_successor(active)

    def moved_once(self, since: float, before: str, targets: Iterable[str]) -> None:
        """Check that everything moves to the other node, in the cloud, too, and that no target goes back in between."""
        after = self.other(before)
        assert eventually(lambda: self.served_by(after), LIVENESS), self.log()
        for name in targets:
            assert self.view.since(since, name) in ([after], [before, after]), name


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
