"""What `anyvip doctor` says of a real kernel, and that asking changes nothing."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from providers.base import Level
from providers.linux import kernel
from tests.lab.host.daemon import link
from tests.lab.host.namespaces import Namespace, eventually, namespaces, source_root

pytestmark = pytest.mark.netns

LIVENESS = 60.0  # seconds; generous
WEB = {"vips": ["10.77.0.100/24"], "providers": [{"type": "baremetal", "interface": "eth0"}]}
POWERLESS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@dataclass
class Patient:
    """A node in a namespace, with an interface on a LAN and one on another."""

    namespace: Namespace
    directory: Path
    store: dict[str, Any] = field(default_factory=dict)
    group: dict[str, Any] = field(default_factory=lambda: dict(WEB))

    @property
    def file(self) -> Path:
        return self.directory / "anyvip.yml"

    def command(self, *arguments: str, prefix: tuple[str, ...] = ()) -> list[str]:
        content = {
            "cluster": "test",
            "node": "n1",
            "state_dir": str(self.directory / "state"),
            "store": self.store or {"type": "file", "path": str(self.directory / "store")},
            "health": {"listen": ["127.0.0.1:9010"]},
            "groups": {"web": self.group},
        }
        self.file.write_text(json.dumps(content))
        anyvip = [sys.executable, "-m", "controller.cli.main", *arguments, "--config", str(self.file)]
        return ["ip", "netns", "exec", self.namespace.name, *prefix, *anyvip]

    def says(self, *prefix: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code; and of each subject that something is found of, how bad it is and what."""
        asked = subprocess.run(
            self.command("doctor", "--json", prefix=prefix),
            cwd=source_root(), capture_output=True, text=True, check=False, timeout=LIVENESS,
        )  # fmt: skip
        assert asked.stdout, asked.stderr
        report = json.loads(asked.stdout)
        found = {each["subject"]: (each["level"], each["message"]) for each in report["findings"]}
        errors = [each for each in report["findings"] if each["level"] == "error"]
        assert report["errors"] == len(errors)
        assert (asked.returncode == 1) is bool(errors)
        return asked.returncode, found

    def everything(self) -> str:
        """What there is that asking could have changed."""
        shown = [self.namespace.run(f"ip {what}") for what in ("address show", "link show", "route show table all")]
        files = sorted(str(path) for path in self.directory.rglob("*"))
        return "\n".join([*shown, self.namespace.run("nft list ruleset"), *files])


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with namespaces("d") as (namespace,):
        namespace.ip("link set lo up", *link("eth0", "10.77.0.11/24"), *link("eth1", "10.78.0.11/24"))
        yield Patient(namespace, tmp_path)


def test_a_sound_node_is_sound_and_stays_as_it_is(patient: Patient) -> None:
    patient.command()
    settled = eventually(lambda: patient.namespace.run("ip -6 address show").count("tentative") == 0, LIVENESS)
    assert settled, "duplicate address detection of the links' own addresses"
    before = patient.everything()
    code, found = patient.says()
    assert code == 0
    for subject in ("capabilities", "guard", "interface eth0", "reachable"):
        assert found[subject][0] == "ok", found
    assert patient.everything() == before


def test_beside_a_daemon_that_serves(patient: Patient) -> None:
    log = patient.directory / "log"
    with log.open("wb") as written:
        running = subprocess.Popen(patient.command("run"), cwd=source_root(), stdout=written, stderr=written)
    try:
        assert eventually(lambda: "to=active" in log.read_text(), LIVENESS), log.read_text()
        assert patient.says()[0] == 0
        assert "10.77.0.100" in patient.namespace.run("ip address show dev eth0")
    finally:
        running.terminate()
        assert running.wait(LIVENESS) == 0


def test_what_would_break_a_failover_is_an_error(patient: Patient) -> None:
    patient.namespace.run("ip link set eth0 down")
    code, found = patient.says()
    assert code == 1
    assert found["interface eth0"] == ("error", "is down")


def test_without_capabilities(patient: Patient) -> None:
    code, found = patient.says(*POWERLESS)
    assert code == 1
    assert "CAP_NET_ADMIN and CAP_NET_RAW missing" in found["capabilities"][1]
    assert found["guard"] == ("error", "needs CAP_NET_ADMIN to be tested")


def test_what_is_named_and_not_there(patient: Patient) -> None:
    patient.group = {
        "vips": ["10.77.0.100/24"],
        "providers": [{"type": "baremetal", "interface": "eth7"}],
        "hooks": {"promote": ["/nonexistent/program"]},
    }
    code, found = patient.says()
    assert code == 1
    assert found["interface eth7"] == ("error", "does not exist")
    assert found["groups.web.hooks.promote[0]"][0] == "error"


def test_a_provider_that_cannot_be_made(patient: Patient) -> None:
    patient.group = {"vips": ["192.0.2.9/32"], "providers": [{"type": "baremetal"}]}
    code, found = patient.says()
    assert code == 1
    assert found["preflight"][0] == "error"
    assert "no default route" in found["preflight"][1]


def test_a_store_that_does_not_answer(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    patient.store = {"type": "etcd", "endpoints": [f"http://127.0.0.1:{port}"]}
    code, found = patient.says()
    assert code == 1
    assert found["reachable"][0] == "error"
    assert str(port) in found["reachable"][1]


def test_settings_of_the_kernel_that_get_in_the_way(patient: Patient) -> None:
    patient.namespace.run("sysctl -q -w net.ipv4.conf.eth0.rp_filter=1 net.ipv6.conf.eth0.disable_ipv6=1")
    patient.namespace.run("ip address add 10.77.0.12/24 dev eth1")
    only = {"type": "baremetal", "interface": "eth0", "guard_interfaces": ["eth0"]}
    patient.group = {**WEB, "vips": ["10.77.0.100/24", "fd77::100/64"], "providers": [only]}
    code, found = patient.says()
    assert code == 1
    assert found["net.ipv6.conf.eth0.disable_ipv6"][0] == "error"
    assert found["net.ipv4.conf.eth0.rp_filter"][0] == "warning"
    assert found["interface eth1"][0] == "warning"
    assert "answers ARP" in found["interface eth1"][1]
    patient.namespace.run("sysctl -q -w net.ipv4.conf.eth0.rp_filter=2 net.ipv4.conf.eth1.arp_ignore=1")
    patient.namespace.run("sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=0")
    code, found = patient.says()
    assert code == 0
    assert not {"net.ipv6.conf.eth0.disable_ipv6", "net.ipv4.conf.eth0.rp_filter", "interface eth1"} & found.keys()
    patient.namespace.run("sysctl -q -w net.ipv4.conf.eth1.arp_ignore=0")
    patient.group = {**patient.group, "providers": [{"type": "baremetal", "interface": "eth0"}]}
    assert "interface eth1" not in patient.says()[1], "both are guarded by default"


def test_for_people(patient: Patient) -> None:
    patient.namespace.run("ip link set eth0 down")
    asked = subprocess.run(patient.command("doctor"), cwd=source_root(), capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    lines = asked.stdout.splitlines()
    at = lines.index("error    group web, baremetal: interface eth0: is down [baremetal.interface]")
    assert lines[at + 1].strip() == "-> ip link set eth0 up"
    assert lines[-1].startswith("n1 of test: errors 1")


def test_a_kernel_without_the_hook(patient: Patient) -> None:
    """There is none here: what would be said, and that forwarding matters then."""
    assert kernel._report_unguarded(errno.EOPNOTSUPP, needed=True).level is Level.ERROR
    assert kernel._report_unguarded(errno.EOPNOTSUPP, needed=False).level is Level.WARNING
    with patient.namespace.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        assert [finding.subject for finding in kernel._forwarding()] == ["net.ipv4.ip_forward"]
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        assert kernel._forwarding() == []
