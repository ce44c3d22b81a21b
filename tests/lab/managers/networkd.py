"""systemd-networkd, with a static address or its own DHCP client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.demo.lab import Host, Lab
from tests.lab.managers.base import OWN6, ROUTER, Daemon, Event, write

_NETWORK = """\
[Match]
Name=eth0
[Network]
Address={six}
{four}
"""


class Networkd(Daemon):
    """The daemon, and the command networkctl."""

    program = "/lib/systemd/systemd-networkd"

    def __init__(self, lab: Lab, host: Host, *, dhcp: bool) -> None:
        super().__init__(lab, host)
        self.name = "systemd-networkd, DHCP" if dhcp else "systemd-networkd"
        self._dhcp = dhcp

    def start(self) -> None:
        four = "DHCP=ipv4" if self._dhcp else f"Address={self.host.address}/24\nGateway={ROUTER}"
        write(Path("/etc/systemd/network/10-eth0.network"), _NETWORK.format(four=four, six=OWN6))
        Path("/etc/systemd/network/10-eth0.network").chmod(0o644)  # it is not root when it reads
        self.clear()
        self.begin()

    def events(self) -> Mapping[str, Event]:
        of_dhcp: dict[str, Event] = {"networkctl renew": lambda: self.have("networkctl", "renew", "eth0")}
        return {
            "restart": self.restart,
            "networkctl reconfigure": lambda: self.have("networkctl", "reconfigure", "eth0"),
            "networkctl down, up": self._down_and_up,
            **(of_dhcp if self._dhcp else {}),
        }

    def is_done(self) -> bool:
        return "configured" in self.ask("networkctl", "--no-legend", "list", "eth0").split()

    def _down_and_up(self) -> None:
        self.run("networkctl", "down", "eth0")
        self.have("networkctl", "up", "eth0")
