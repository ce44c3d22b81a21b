"""The example on AWS, from its user data to a failover: two hosts boot with it, a load balancer follows their health.

The hosts are namespaces, the witness is DynamoDB by moto's server, the load balancer is HAProxy.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from tests.lab.host.namespaces import Namespace, eventually, namespaces
from tests.lab.stores.moto import CREDENTIALS, make_table, start_moto
from tests.lab.terraform.roots import ROOT
from tests.terraform.conftest import Applied, Wheel

LIVENESS = 240.0  # seconds; generous: a virtual environment and an installation are in it
CLOUD, BALANCER = "10.77.0.9", "10.77.0.5"
HOSTS = {"n1": "10.77.0.11", "n2": "10.77.0.12"}

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend clients
  bind {balancer}:80
  default_backend nodes
backend nodes
  option httpchk GET /health/web
  http-check expect status 200
  default-server port 9010 inter 500ms fall 2 rise 2
{servers}
"""


@dataclass
class Host:
    """A host that boots with its user data, in a namespace, and the application on it."""

    name: str
    namespace: Namespace
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def booted(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "\nbooted\n" in self.log.read_text()

    def die(self) -> None:
        """With all that runs on it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def booting(name: str, namespace: Namespace, user_data: str, url: str, directory: Path) -> Iterator[Host]:
    directory.mkdir()
    (directory / "name").write_text(name)
    (directory / "user-data").write_text(user_data)
    alone = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    script = Path(__file__).parents[1] / "lab" / "terraform" / "first_boot.py"
    # What pip finds here it need not fetch; anyvip itself comes from the wheel all the same.
    environment = {
        **os.environ,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": url,
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    command = ["ip", "netns", "exec", namespace.name, *alone, sys.executable, "-P", str(script)]
    app = [sys.executable, "-P", "-m", "http.server", "80", "--directory", str(directory)]
    with (directory / "log").open("wb") as log, (directory / "app.log").open("wb") as app_log:
        booted = subprocess.Popen(
            [*command, str(directory / "user-data"), name], env=environment, cwd=directory, stdout=log, stderr=log
        )
        serving = subprocess.Popen(["ip", "netns", "exec", namespace.name, *app], stdout=app_log, stderr=app_log)
        try:
            yield Host(name, namespace, directory / "log", booted)
        finally:
            for process in (booted, serving):
                process.kill()
                process.wait()


@contextmanager
def balancing(namespace: Namespace, directory: Path) -> Iterator[Callable[[], str | None]]:
    """HAProxy in front of the hosts; yields what asks it who serves."""
    file = directory / "haproxy.cfg"
    servers = "\n".join(f"  server {name} {address}:80 check" for name, address in HOSTS.items())
    file.write_text(HAPROXY.format(balancer=BALANCER, servers=servers))
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if haproxy is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    with (directory / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, haproxy, "-f", str(file), "-db"], stdout=log, stderr=log
        )

    def who() -> str | None:
        try:
            with namespace.entered(), urlopen(f"http://{BALANCER}/name", timeout=60) as answer:
                return str(answer.read().decode())
        except (URLError, ConnectionError, TimeoutError):
            return None

    try:
        yield who
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def lan() -> Iterator[dict[str, Namespace]]:
    """The two hosts, the cloud and the load balancer on one wire."""
    with namespaces("a", "b", "c", "h", "w") as (first, second, cloud, balancer, wire):
        made = {"n1": first, "n2": second, "cloud": cloud, "balancer": balancer}
        wire.ip("link add lan type bridge", "link set lan up")
        addresses = {**HOSTS, "cloud": CLOUD, "balancer": BALANCER}
        for number, (name, namespace) in enumerate(made.items()):
            namespace.ip(
                "link set lo up",
                f"link add eth0 type veth peer name port{number} netns {wire.name}",
                f"addr add {addresses[name]}/24 dev eth0",
                "link set eth0 up",
            )
            wire.ip(f"link set port{number} master lan up")
        yield made


def test_the_load_balancer_follows_from_the_first_boot_through_a_failover(
    applied: Callable[[str], Applied], wheel: Wheel, lan: dict[str, Namespace], tmp_path: Path
) -> None:
    user_data = applied("examples/aws-load-balancer").outputs["user_data"]
    (config,) = {file["content"] for file in yaml.safe_load(user_data["n1"])["write_files"] if "yml" in file["path"]}
    wheel.build()
    with ExitStack() as running:
        inside = ("ip", "netns", "exec", lan["cloud"].name)
        moto = running.enter_context(start_moto(tmp_path / "moto", host=CLOUD, port=5000, inside=inside))
        with lan["cloud"].entered():
            make_table(moto.url, yaml.safe_load(config)["store"]["table"])
        hosts = [
            running.enter_context(booting(name, lan[name], user_data[name], moto.url, tmp_path / name))
            for name in HOSTS
        ]
        who = running.enter_context(balancing(lan["balancer"], tmp_path))
        said = [host.log for host in hosts]

        def told() -> str:
            return "\n".join(f"--- {path}\n{path.read_text()}" for path in said)

        assert eventually(lambda: all(host.booted for host in hosts), LIVENESS), told()
        assert eventually(lambda: who() in HOSTS, LIVENESS), told()
        active = who()
        assert {who() for _ in range(10)} == {active}, "one of them, and only one"
        next(host for host in hosts if host.name == active).die()
        (other,) = {*HOSTS} - {active}
        assert eventually(lambda: who() == other, LIVENESS), told()
        assert {who() for _ in range(10)} == {other}
        assert f"{ROOT}" not in user_data["n1"]
