"""Runs real anyvip daemons on the lab's nodes: configuration files, processes, commands."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from controller.api.client import Client
from controller.api.status import NodeStatus
from controller.config.paths import SOCKET
from controller.demo.lab import HEALTH_PORT, ROOT, VIP, Host, Lab, signal_group

GROUP = "web"
COMMAND_SECONDS = 15.0

# The code of the console script. It works wherever this package is installed; with -P, no file in the working directory
# can take its place.
ANYVIP = (sys.executable, "-P", "-c", "import sys; from controller.cli.main import main; sys.exit(main())")


class DemoCluster:
    """One daemon per node. `store`, `lease` and `groups` are sections of its configuration. Default: one VIP."""

    def __init__(
        self, lab: Lab, store: Mapping[str, Any], lease: Mapping[str, Any], groups: Mapping[str, Any] | None = None
    ) -> None:
        self._lab = lab
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._store, self._lease = store, lease
        for host in lab.nodes:
            self.edit(host, groups or {GROUP: group(f"{VIP}/24")})

    @staticmethod
    def config_file(host: Host) -> Path:
        """Returns the path of the node's configuration."""
        return ROOT / f"{host.name}.yml"

    @staticmethod
    def log_file(host: Host) -> Path:
        """Returns the path of the log of the node's daemon. All its lives append to it."""
        return ROOT / f"{host.name}.log"

    def edit(self, host: Host, groups: Mapping[str, Any]) -> None:
        """Writes the node's configuration with these groups. A running daemon reads it when it is reloaded."""
        config = configuration(host, self._store, self._lease, groups)
        self.config_file(host).write_text(yaml.safe_dump(config, sort_keys=False))

    def start(self, host: Host) -> None:
        """Starts the node's daemon. Does not wait until it is ready."""
        with self.log_file(host).open("ab") as log:
            command = [*ANYVIP, "run", "--config", str(self.config_file(host))]
            self._daemons[host.name] = self._lab.spawn(host, command, log)

    def signal(self, host: Host, number: signal.Signals) -> None:
        """Sends a signal to the node's daemon."""
        signal_group(self._daemons[host.name], number)

    def pid(self, host: Host) -> int:
        """Returns the process id of the node's daemon."""
        return self._daemons[host.name].pid

    def running(self, host: Host) -> bool:
        """Reports whether the node's daemon still runs."""
        return self._daemons[host.name].poll() is None

    def status(self, host: Host) -> NodeStatus:
        """Asks the node's daemon for its status. Raises NotThere."""
        answer: NodeStatus = Client(_state_dir(host) / SOCKET).get("/v1/status")
        return answer

    def stop(self) -> None:
        """Stops every daemon with SIGTERM, so that it leaves the cluster."""
        for name in sorted(self._daemons):
            self._lab.stop(self._daemons.pop(name))

    def command(self, host: Host, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts one `anyvip` command on that node. Its output goes to the node's log."""
        with self.log_file(host).open("ab") as log:
            verb, *rest = arguments
            return self._lab.spawn(host, [*ANYVIP, verb, *rest, "--config", str(self.config_file(host))], log)


def _state_dir(host: Host) -> Path:
    return ROOT / "state" / host.name


def group(*vips: str, **keys: Any) -> dict[str, Any]:
    """Returns the configuration of a group with these VIPs on the lab's interface. `keys`: more of its keys."""
    return {"vips": list(vips), "providers": [{"type": "baremetal", "interface": "eth0"}], **keys}


def configuration(
    host: Host, store: Mapping[str, Any], lease: Mapping[str, Any], groups: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the content of a node's configuration file."""
    return {
        "cluster": "lab",
        "node": host.name,
        "state_dir": str(_state_dir(host)),
        "store": dict(store),
        "lease": dict(lease),
        "health": {"listen": [f"0.0.0.0:{HEALTH_PORT}"]},
        "groups": dict(groups),
    }
