"""Real etcd members on this machine, on loopback or each in its own network namespace."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.request import Request, urlopen

from tests.lab.host.processes import freeze

if TYPE_CHECKING:
    from collections.abc import Sequence

READY = b"ready to serve client requests"
START_SECONDS = 30.0


def missing() -> str | None:
    """Return why etcd cannot start here, or None if it can."""
    return None if shutil.which("etcd") else "etcd is not on PATH (Debian: apt-get install etcd-server)"


@dataclass(frozen=True)
class Address:
    """The host and ports that one member listens on, and their namespace (None for this one)."""

    host: str
    client_port: int
    peer_port: int
    netns: str | None = None


@dataclass
class Member:
    """One etcd process, which is ended by its process id."""

    name: str
    endpoint: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _log_begin: int = field(default=0, repr=False)

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    def start(self) -> None:
        """Start the member, or start it again with its previous data. Does not wait."""
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Return when the member has joined a cluster with a leader and serves clients."""
        give_up_at = time.monotonic() + START_SECONDS
        while READY not in self._log():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.name} does not serve: {self._log()[-2000:].decode()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the process, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        freeze(self.process)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _log(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            return log.read()


@dataclass
class EtcdCluster:
    """Members that form one cluster. Leaving its context ends all of them."""

    members: list[Member]

    @property
    def endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    @property
    def pids(self) -> list[int]:
        return [member.pid for member in self.members]

    def stop(self) -> None:
        for member in self.members:
            member.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_etcd(
    members: int,
    directory: Path,
    hosts: Sequence[str] = ("127.0.0.1",),
    netns: Sequence[str | None] | None = None,
    *,
    heartbeat_ms: int = 100,
    election_ms: int = 1000,
    client_scheme: str = "http",
    extra: Sequence[str] = (),
) -> EtcdCluster:
    """Start members, and wait until each serves.

    Member i listens on hosts[i] in namespace netns[i]. If there are fewer of these than members, they are used in turn.
    A member gets free ports in this namespace, and 2379 and 2380 (plus 10 for each further member) in another one.
    """
    spaces = cycle(netns or [None])
    addresses = [_address(n, host, next(spaces)) for n, host in zip(range(members), cycle(hosts), strict=False)]
    peers = ",".join(f"m{n}=http://{at.host}:{at.peer_port}" for n, at in enumerate(addresses))
    timing = [f"--heartbeat-interval={heartbeat_ms}", f"--election-timeout={election_ms}"]
    cluster = EtcdCluster(
        [
            Member(
                name=f"m{n}",
                endpoint=f"{client_scheme}://{at.host}:{at.client_port}",
                command=[*_command(n, at, directory, peers, client_scheme), *timing, *extra],
                log=directory / f"m{n}.log",
            )
            for n, at in enumerate(addresses)
        ],
    )
    try:
        for member in cluster.members:
            member.start()
        for member in cluster.members:
            member.wait_ready()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def leader_of(cluster: EtcdCluster) -> Member:
    """Wait for a leader and return it. Asks over HTTP, so the members must be reachable from this namespace."""
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        for member in cluster.members:
            request = Request(f"{member.endpoint}/v3/maintenance/status", b"{}")
            with urlopen(request, timeout=10) as answer:
                status = json.load(answer)
            if status.get("leader") == status["header"]["member_id"]:
                return member
        time.sleep(0.02)  # the election is running
    raise RuntimeError("no member reports that it leads")


def _address(number: int, host: str, netns: str | None) -> Address:
    if netns is None:
        return Address(host, _free_port(host), _free_port(host))
    return Address(host, 2379 + 10 * number, 2380 + 10 * number, netns)


def _command(number: int, at: Address, directory: Path, peers: str, scheme: str) -> list[str]:
    client, peer = f"{scheme}://{at.host}:{at.client_port}", f"http://{at.host}:{at.peer_port}"
    inside = ["ip", "netns", "exec", at.netns] if at.netns else []
    return [
        *inside,
        "etcd",
        f"--name=m{number}",
        f"--data-dir={directory / f'm{number}'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={peers}",
        "--initial-cluster-state=new",
        "--logger=capnslog",
    ]


_given: set[int] = set()


def _free_port(host: str) -> int:
    """Return a TCP port that nothing listens on and that was not returned before.

    It is outside the kernel's ephemeral range, so a member that was killed gets the same port again.
    """
    while True:
        port = secrets.choice(range(20_000, 32_768))
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            if port not in _given:
                _given.add(port)
                return port
