"""NetworkManager, with a static address or its own DHCP client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.demo.lab import Host, Lab
from tests.lab.managers.base import OWN6, ROUTER, Daemon, Event, write

_MAIN = """\
[main]
plugins=keyfile
dns=none
rc-manager=unmanaged
"""
_CONNECTION = """\
[connection]
id=eth0
type=ethernet
interface-name=eth0
[ipv4]
{four}
[ipv6]
method=manual
address1={six}
"""


class NetworkManager(Daemon):
    """The daemon, and the command nmcli."""

    program = "NetworkManager --no-daemon"

    def __init__(self, lab: Lab, host: Host, *, dhcp: bool) -> None:
        super().__init__(lab, host)
        self.name = "NetworkManager, DHCP" if dhcp else "NetworkManager"
        self._dhcp = dhcp

    def start(self) -> None:
        four = "method=auto" if self._dhcp else f"method=manual\naddress1={self.host.address}/24,{ROUTER}"
        directory = Path("/etc/NetworkManager")
        write(directory / "NetworkManager.conf", _MAIN)
        write(directory / "system-connections/eth0.nmconnection", _CONNECTION.format(four=four, six=OWN6))
        self.clear()
        self.begin()

    def events(self) -> Mapping[str, Event]:
        return {
            "restart": self.restart,
            "nmcli device reapply": lambda: self.have("nmcli", "device", "reapply", "eth0"),
            "nmcli connection up": lambda: self.have("nmcli", "connection", "up", "eth0"),
            "nmcli networking off, on": self._off_and_on,
        }

    def is_done(self) -> bool:
        shown = self.ask("nmcli", "--get-values", "DEVICE,STATE", "device")
        return "eth0:connected" in shown.splitlines()

    def _off_and_on(self) -> None:
        self.run("nmcli", "networking", "off")
        self.have("nmcli", "networking", "on")
