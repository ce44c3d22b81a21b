"""Replaces systemctl without systemd: starts a service as its unit says, and waits until it is ready.

It supports the settings that the daemon depends on: Type=notify, ExecStart, Environment, RuntimeDirectory, and the
capabilities, which it limits to those in the unit. The user stays root, because an ordinary user might not be able to
read this interpreter. Without its capabilities, root has no more rights than an ordinary user.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

UNITS = Path("/etc/systemd/system")
READY_SECONDS = 60.0


def main(verb: str, *arguments: str) -> None:
    if verb == "daemon-reload":
        return
    if (verb, arguments[0]) != ("enable", "--now"):
        sys.exit(f"systemctl {verb} {arguments}: not supported here")
    start(UNITS / arguments[1])


def start(unit: Path) -> None:
    said = settings(unit)
    runtime = Path("/run") / said["RuntimeDirectory"]
    runtime.mkdir(exist_ok=True)
    capabilities = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in said["AmbientCapabilities"].split())
    only = [f"--{kind}=-all,{capabilities}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    name, _, value = said["Environment"].partition("=")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, Path("/run/log").open("ab") as log:
        notified.bind("/run/notify")
        notified.settimeout(READY_SECONDS)
        subprocess.Popen(
            ["setpriv", *only, "--no-new-privs", *shlex.split(said["ExecStart"])],
            env={**os.environ, name: value, "NOTIFY_SOCKET": "/run/notify"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while b"READY=1" not in notified.recv(4096):
                pass
        except TimeoutError:
            sys.exit(f"{unit.name} is not ready:\n{Path('/run/log').read_text()}")


def settings(unit: Path) -> dict[str, str]:
    """Return the settings in the unit's [Service] section. The last one wins if a key is set twice."""
    service = unit.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    lines = (line.partition("=") for line in service.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


if __name__ == "__main__":
    main(*sys.argv[1:])
