"""The programs that configure a host's network, as Debian has them, each on one of the lab's nodes.

Only inside the sandbox: `hide_files` puts a layer in memory over /etc and /var, where they keep what they know.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from controller.demo.lab import ROOT, Host, Lab, ip

OWN6: Final = "fd77::11/64"
ROUTER: Final = "10.77.0.2"  # the lab's client; nothing that is sent to it leads anywhere
LIMIT_SECONDS: Final = 90.0  # generous
_BINARIES: Final = {
    "ifupdown": "/sbin/ifup",
    "isc-dhcp-client": "/sbin/dhclient",
    "systemd": "/lib/systemd/systemd-networkd",
    "network-manager": "/usr/sbin/NetworkManager",
    "radvd": "/usr/sbin/radvd",
    "dnsmasq-base": "/usr/sbin/dnsmasq",
    "dbus-daemon": "/usr/bin/dbus-daemon",
}

Event = Callable[[], None]


class Manager(Protocol):
    """One program that configures eth0 of a node."""

    name: str

    def start(self) -> None:
        """Configure eth0, as at boot. Returns when it is done."""

    def events(self) -> Mapping[str, Event]:
        """What operators, packages and the network do to it, by name. Each ends with eth0 as `start` made it."""


def missing() -> list[str]:
    """The Debian packages that are not installed here."""
    return [package for package, path in _BINARIES.items() if not Path(path).exists()]


def hide_files() -> None:
    """Put a layer in memory over /etc and /var, and start the system's D-Bus."""
    for name in ("etc", "var"):
        layer = ROOT.parent / "layers" / name
        for part in ("upper", "work"):
            (layer / part).mkdir(parents=True)
        options = f"lowerdir=/{name},upperdir={layer}/upper,workdir={layer}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, f"/{name}")
    for directory in ("network", "dbus", "systemd"):
        (ROOT.parent / directory).mkdir(exist_ok=True)
    for directory in ("/etc/systemd/network", "/etc/NetworkManager", "/etc/network/interfaces.d"):
        shutil.rmtree(directory, ignore_errors=True)
    run("dbus-daemon", "--system", "--fork", "--nopidfile")


def serve_dhcp(lab: Lab, on: Host, to: Host) -> None:
    """Give the node its own address by DHCP."""
    options = ["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--user=root"]
    leases = ["--dhcp-range=10.77.0.0,static,120", f"--dhcp-host={to.mac},{to.address}", f"--dhcp-option=3,{ROUTER}"]
    with (ROOT / "dnsmasq.log").open("ab") as log:
        lab.spawn(on, ["dnsmasq", *options, *leases, f"--dhcp-leasefile={ROOT}/leases"], log)


class OnHost:
    """A host, and what is done there."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.lab = lab
        self.host = host

    def run(self, *command: str) -> str:
        """Run one command, and return its output. Raises RuntimeError if it fails."""
        return run("ip", "netns", "exec", self.host.name, *command)

    def clear(self) -> None:
        """Take away what the lab configured."""
        ip(["addr flush dev eth0", "link set eth0 down"], where=self.host.name)


class Daemon(OnHost, ABC):
    """A manager that runs all the time, and configures again what it finds when it is restarted.

    It would wait for udev, which there is none of here. A read-only /sys tells it so (systemd's udev_available,
    NetworkManager's nm_platform).
    """

    program: str

    def __init__(self, lab: Lab, host: Host) -> None:
        super().__init__(lab, host)
        self._running: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def is_done(self) -> bool:
        """Whether it has configured eth0."""

    def begin(self) -> None:
        """Start the program, and wait until eth0 is configured."""
        with (ROOT / "manager.log").open("ab") as log:
            command = ["sh", "-c", f"mount -o remount,ro /sys && exec {self.program}"]
            self._running = self.lab.spawn(self.host, command, log)
        wait_until(self.is_done)

    def restart(self) -> None:
        """Stop the program, which leaves eth0 alone, and start it again."""
        assert self._running is not None
        self.lab.stop(self._running)
        self.begin()

    def ask(self, *command: str) -> str:
        """Run one command. Returns its output, also if it fails: the program may not answer yet."""
        there = ["ip", "netns", "exec", self.host.name, *command]
        return subprocess.run(there, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS).stdout

    def have(self, *command: str) -> None:
        """Run one command, and wait until eth0 is configured again."""
        self.run(*command)
        wait_until(self.is_done)


def run(*command: str) -> str:
    """Run one command, and return its output. Raises RuntimeError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def wait_until(true: Callable[[], bool]) -> None:
    """Raises TimeoutError if it does not come true within a generous time."""
    end = time.monotonic() + LIMIT_SECONDS
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not configured after {LIMIT_SECONDS:g} s")
        time.sleep(0.05)


def write(file: Path, content: str) -> None:
    """Write a file that only root may read, as some managers demand. Makes its directory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(0o600)
