"""Real anyvip daemons on the lab's nodes: their configuration files, their processes, their commands."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from controller.api.client import Client
from controller.api.status import Status
from controller.config.paths import SOCKET
from controller.demo.lab import HEALTH_PORT, ROOT, VIP, Host, Lab, signal_group

GROUP = "web"
COMMAND_SECONDS = 15.0

# The console script's own code: it is found wherever this package is installed, and nothing in the working
# directory can take its place (-P).
ANYVIP = (sys.executable, "-P", "-c", "import sys; from controller.cli.main import main; sys.exit(main())")


class Cluster:
    """One daemon per node. `store` and `lease` are those sections of the configuration; `vips` default to one."""

    def __init__(
        self, lab: Lab, store: Mapping[str, Any], lease: Mapping[str, Any], groups: Mapping[str, Any] | None = None
    ) -> None:
        self._lab = lab
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for host in lab.nodes:
            config = configuration(host, store, lease, groups or {GROUP: group(f"{VIP}/24")})
            self.config_file(host).write_text(yaml.safe_dump(config, sort_keys=False))

    @staticmethod
    def config_file(host: Host) -> Path:
        """Where the node's configuration is."""
        return ROOT / f"{host.name}.yml"

    @staticmethod
    def log_file(host: Host) -> Path:
        """Where the node's daemon logs to, one life after the other."""
        return ROOT / f"{host.name}.log"

    def start(self, host: Host) -> None:
        """Start the node's daemon; it needs a moment to be ready."""
        with self.log_file(host).open("ab") as log:
            command = [*ANYVIP, "run", "--config", str(self.config_file(host))]
            self._daemons[host.name] = self._lab.spawn(host, command, log)

    def signal(self, host: Host, number: signal.Signals) -> None:
        """Signal the node's daemon."""
        signal_group(self._daemons[host.name], number)

    def pid(self, host: Host) -> int:
        """The process id of the node's daemon."""
        return self._daemons[host.name].pid

    def running(self, host: Host) -> bool:
        """Whether the node's daemon has not ended."""
        return self._daemons[host.name].poll() is None

    def status(self, host: Host) -> Status:
        """What the node's daemon says of itself. Raises NotThere."""
        answer: Status = Client(_state_dir(host) / SOCKET).get("/v1/status")
        return answer

    def stop(self) -> None:
        """Let every daemon leave."""
        for name in sorted(self._daemons):
            self._lab.stop(self._daemons.pop(name))

    def command(self, host: Host, *arguments: str) -> subprocess.Popen[bytes]:
        """Run one `anyvip` command on that node, its output into the node's log."""
        with self.log_file(host).open("ab") as log:
            verb, *rest = arguments
            return self._lab.spawn(host, [*ANYVIP, verb, *rest, "--config", str(self.config_file(host))], log)


def _state_dir(host: Host) -> Path:
    return ROOT / "state" / host.name


def group(*vips: str) -> dict[str, Any]:
    """A group of these addresses on the lab's interface."""
    return {"vips": list(vips), "providers": [{"type": "baremetal", "interface": "eth0"}]}


def configuration(
    host: Host, store: Mapping[str, Any], lease: Mapping[str, Any], groups: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole of a node's configuration file."""
    return {
        "cluster": "lab",
        "node": host.name,
        "state_dir": str(_state_dir(host)),
        "store": dict(store),
        "lease": dict(lease),
        "health": {"listen": [f"0.0.0.0:{HEALTH_PORT}"]},
        "groups": dict(groups),
    }
