"""The list of all managers."""

from __future__ import annotations

from controller.demo.lab import Host, Lab
from tests.lab.managers.base import Manager
from tests.lab.managers.ifupdown import Ifupdown
from tests.lab.managers.network_manager import NetworkManager
from tests.lab.managers.networkd import Networkd
from tests.lab.managers.radvd import Radvd

NAMES = (
    "ifupdown",
    "ifupdown, dhclient",
    "systemd-networkd",
    "systemd-networkd, DHCP",
    "NetworkManager",
    "NetworkManager, DHCP",
    "radvd",
)


def make_manager(name: str, lab: Lab, host: Host) -> Manager:
    """Return the manager of this name, for this node."""
    dhcp = "," in name
    match name.partition(",")[0]:
        case "ifupdown":
            return Ifupdown(lab, host, dhcp=dhcp)
        case "systemd-networkd":
            return Networkd(lab, host, dhcp=dhcp)
        case "NetworkManager":
            return NetworkManager(lab, host, dhcp=dhcp)
        case _:
            return Radvd(lab, host)
