"""A first boot with the modules' user data: ``python tests/lab/terraform/first_boot.py USER_DATA NAME``.

It does what cloud-init does. It must run in the host's network namespace, as the first process of its own mount, PID
and UTS namespaces: /etc, /opt and /usr/local are layers in memory over this machine's, and they end with this process.
Packages are this machine's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

SYSTEMCTL = Path(__file__).with_name("service.py")


def main(user_data: str, name: str) -> None:
    settle(name)
    content = yaml.safe_load(Path(user_data).read_text())
    for file in content["write_files"]:
        path = Path(file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
        path.chmod(int(file["permissions"], 8))
    for command in content["runcmd"]:
        print("+", *command, flush=True)
        subprocess.run(command, check=True)
    print("booted", flush=True)
    while True:
        time.sleep(3600)


def settle(name: str) -> None:
    """Make this process a separate host, as far as the user data can tell."""
    subprocess.run(["hostname", name], check=True)
    for where in ("/run", "/mnt"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], check=True)
    for where in ("/etc", "/opt", "/usr/local"):
        upper, work = (Path("/mnt") / part / where.strip("/").replace("/", "-") for part in ("upper", "work"))
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        layers = f"lowerdir={where},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, where], check=True)
    systemctl = Path("/usr/local/bin/systemctl")
    systemctl.write_text(f'#!/bin/sh\nexec {sys.executable} -P {SYSTEMCTL} "$@"\n')
    systemctl.chmod(0o755)
    os.environ["PATH"] = f"/usr/local/bin:{sys.base_prefix}/bin:{os.environ['PATH']}"


if __name__ == "__main__":
    main(*sys.argv[1:])
