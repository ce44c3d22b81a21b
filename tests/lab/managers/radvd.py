"""The kernel's own IPv6 configuration, from the router advertisements of radvd on the lab's monitor."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from controller.demo.lab import ROOT, Host, Lab, ip
from tests.lab.managers.base import ROUTER, Event, OnHost, wait_until, write

_VALID_SECONDS = 1200
_PREFERRED_SECONDS = 600
_RADVD = """\
interface eth0 {{
  AdvSendAdvert on;
  MinRtrAdvInterval 3;
  MaxRtrAdvInterval 4;
  prefix fd77::/64 {{ AdvPreferredLifetime {preferred}; AdvValidLifetime {valid}; }};
}};
"""


class Radvd(OnHost):
    """IPv4 is static."""

    def __init__(self, lab: Lab, host: Host) -> None:
        super().__init__(lab, host)
        self.name = "radvd"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.clear()
        self.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=1", "net.ipv6.conf.eth0.autoconf=1")
        ip([f"addr add {self.host.address}/24 dev eth0"], where=self.host.name)
        self._up()
        self._advertise(_PREFERRED_SECONDS)

    def events(self) -> Mapping[str, Event]:
        return {
            "the router restarts": lambda: self._advertise(_PREFERRED_SECONDS),
            "the prefix is deprecated, and is not": self._deprecate,
            "link down, up": self._flap,
        }

    def _up(self) -> None:
        ip(["link set eth0 up", f"route replace default via {ROUTER}"], where=self.host.name)

    def _advertise(self, preferred: int) -> None:
        if self._running is not None:
            self.lab.stop(self._running)
        config = ROOT / "radvd.conf"
        write(config, _RADVD.format(preferred=preferred, valid=_VALID_SECONDS))
        command = ["radvd", "--nodaemon", "--config", str(config), "--pidfile", str(ROOT / "radvd.pid")]
        with (ROOT / "manager.log").open("ab") as log:
            self._running = self.lab.spawn(self.lab.monitor, command, log)
        wait_until(lambda: self._is_deprecated() is (preferred == 0))

    def _is_deprecated(self) -> bool | None:
        """Whether the address from the prefix is; None while there is none."""
        shown = self.run("ip", "-6", "-oneline", "address", "show", "dev", "eth0", "mngtmpaddr")
        return "deprecated" in shown if "fd77::" in shown else None

    def _deprecate(self) -> None:
        self._advertise(0)
        self._advertise(_PREFERRED_SECONDS)

    def _flap(self) -> None:
        ip(["link set eth0 down"], where=self.host.name)
        self._up()
        wait_until(lambda: self._is_deprecated() is False)
