"""Debian's ifupdown, with a static address or with ISC's dhclient."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from controller.demo.lab import Host, Lab
from tests.lab.managers.base import OWN6, ROUTER, Event, OnHost, write

_INTERFACES = """\
auto eth0
iface eth0 inet {method}
iface eth0 inet6 static
  address {six}
"""


class Ifupdown(OnHost):
    """The commands ifup and ifdown."""

    def __init__(self, lab: Lab, host: Host, *, dhcp: bool) -> None:
        super().__init__(lab, host)
        self.name = "ifupdown, dhclient" if dhcp else "ifupdown"
        self._dhcp = dhcp

    def start(self) -> None:
        four = "dhcp" if self._dhcp else f"static\n  address {self.host.address}/24\n  gateway {ROUTER}"
        write(Path("/etc/network/interfaces"), _INTERFACES.format(method=four, six=OWN6))
        self.clear()
        self.run("ifup", "eth0")

    def events(self) -> Mapping[str, Event]:
        expired = ("env", "reason=EXPIRE", "interface=eth0", f"old_ip_address={self.host.address}", "dhclient-script")
        of_dhcp: dict[str, Event] = {
            "dhclient -r, dhclient": lambda: self._renew("dhclient", "-r", "eth0"),
            "the lease expires": lambda: self._renew(*expired),
        }
        return {
            "ifdown, ifup": self._restart,
            "ifdown, ifup 1.5 s later": lambda: self._restart(1.5),
            **(of_dhcp if self._dhcp else {}),
        }

    def _restart(self, pause: float = 0.0) -> None:
        self.run("ifdown", "eth0")
        time.sleep(pause)
        self.run("ifup", "eth0")

    def _renew(self, *command: str) -> None:
        """Run a command that takes the address away, and have the client get one anew, with ifupdown's options."""
        self.run(*command)
        files = ("-pf", "/run/dhclient.eth0.pid", "-lf", "/var/lib/dhcp/dhclient.eth0.leases")
        self.run("dhclient", "-4", *files, "eth0")
