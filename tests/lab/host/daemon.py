"""A whole daemon in a namespace of its own, on a host with two interfaces."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from controller.api.client import Client, NotThere
from providers.linux.guard_table import table_name
from tests.lab.host.namespaces import Namespace, eventually, source_root

LIVENESS = 60.0  # seconds; generous
WEB = {"vips": ["10.77.0.100/24"]}
DB = {"vips": ["10.77.0.101/24"]}


@dataclass
class Host:
    """A namespace with two interfaces, and the daemon in it. The lease is short, so that tests are, but no busy machine loses it."""

    namespace: Namespace
    directory: Path
    running: subprocess.Popen[bytes] | None = None
    listen: str = "127.0.0.1:9010"
    lease: float = 2.0
    store: dict[str, Any] | None = None  # None: a directory

    @property
    def file(self) -> Path:
        return self.directory / "anyvip.yml"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def configure(self, **groups: Any) -> None:
        content = {
            "cluster": "test",
            "node": "n1",
            "state_dir": str(self.directory / "state"),
            "store": self.store or {"type": "file", "path": str(self.directory / "store")},
            "lease": {"duration_seconds": self.lease},
            "health": {"listen": [self.listen]},
            "groups": groups,
        }
        self.file.write_text(json.dumps(content))

    def start(self, **groups: Any) -> subprocess.Popen[bytes]:
        self.configure(**groups)
        command = [sys.executable, "-m", "controller.cli.main", "run", "--config", str(self.file)]
        with (self.directory / "log").open("wb") as log:
            self.running = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace.name, *command], cwd=source_root(), stdout=log, stderr=log
            )
        return self.running

    def check(self) -> subprocess.CompletedProcess[str]:
        """`anyvip check-config`."""
        command = [sys.executable, "-m", "controller.cli.main", "check-config", "--config", str(self.file)]
        in_it = ["ip", "netns", "exec", self.namespace.name, *command]
        return subprocess.run(in_it, cwd=source_root(), capture_output=True, text=True, check=False)

    def reload(self, **groups: Any) -> str:
        """What the log says of it."""
        assert self.running is not None
        before = len(self.log)
        self.configure(**groups)
        self.running.send_signal(signal.SIGHUP)
        assert eventually(lambda: "reloaded" in self.log[before:], LIVENESS), self.log
        return self.log[before:]

    def becomes(self, group: str, role: str) -> bool:
        return eventually(lambda: self.role(group) == role, LIVENESS)

    @property
    def client(self) -> Client:
        return Client(self.directory / "state" / "anyvip.sock")

    def status(self) -> Any:
        return self.client.get("/v1/status")

    def view(self, group: str) -> dict[str, Any]:
        """The group's status; empty before the daemon answers."""
        assert self.running is not None
        assert self.running.poll() is None, self.log
        try:
            view: dict[str, Any] = self.status()["groups"].get(group, {})
        except NotThere:
            return {}
        return view

    def role(self, group: str) -> str | None:
        return self.view(group).get("role")

    def says(self, path: str) -> str:
        """The endpoint's answer."""
        with self.namespace.entered(), closing(HTTPConnection(self.listen, timeout=LIVENESS)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode().strip()

    def addresses(self) -> str:
        return self.namespace.run("ip -o -4 address show")

    def guarded(self) -> bool:
        return table_name("test") in self.namespace.run("nft list tables")

    def stop(self) -> int:
        assert self.running is not None
        self.running.terminate()
        return self.running.wait(LIVENESS)


def link(name: str, address: str) -> tuple[str, ...]:
    return (
        f"link add {name} type veth peer name {name}p",
        f"link set {name}p up",
        f"link set {name} up",
        f"address add {address} dev {name}",
    )


def on(interface: str, **group: Any) -> dict[str, Any]:
    return {**group, "providers": [{"type": "baremetal", "interface": interface}]}
