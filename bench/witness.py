"""Runs the store in the lab: etcd's members, or a stand-in for another store, each on hosts of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.demo.lab import ROOT, Lab
from tests.lab.host.servers import Server
from tests.lab.http.serving import start_fake
from tests.lab.stores import azurite, moto
from tests.lab.stores.etcd import EtcdCluster, start_etcd
from tests.lab.stores.fakes import PROCESSES

MEMBERS: Mapping[str, int] = {
    "etcd": 3,
    "file": 0,
    "dynamodb": 1,
    "s3": 1,
    "azure_blob": 1,
    **dict.fromkeys(PROCESSES, 1),
}
SERVERS: Mapping[str, str] = {
    "etcd": "etcd",
    "file": "none: a directory",
    "dynamodb": "moto",
    "s3": "moto",
    "azure_blob": "Azurite",
    **dict.fromkeys(PROCESSES, "none: a fake"),
}
_LEAST_LEASES = {"gcs": 6.0}  # seconds: it accepts one write per second of an object
STANDINS = frozenset(MEMBERS) - {"etcd", "file"}
_NAME = "anyvip"  # of the table, the bucket, the container
_PORT = 5000
_DELETED = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='DELETE'), timeout=10)"


class EtcdWitness:
    """etcd's members, which can be killed and restarted.

    `config`: the section of the configuration; `url`: the first member's.
    """

    def __init__(self, cluster: EtcdCluster) -> None:
        self.config: Mapping[str, Any] = {"type": "etcd", "endpoints": cluster.endpoints}
        self.url = cluster.endpoints[0]
        self._cluster = cluster

    def stop(self) -> None:
        """Kill every member."""
        self._cluster.stop()

    def start(self) -> None:
        """Start every member, with its previous data."""
        for member in self._cluster.members:
            member.start()


class Standin:
    """moto, Azurite or a fake. They keep everything in memory, so they are frozen and thawed.

    `config`, `url`: as for `EtcdWitness`.
    """

    def __init__(self, kind: str, server: Server, lab: Lab) -> None:
        self.url = server.url
        self.config: Mapping[str, Any] = options(kind, server.url)
        self._kind = kind
        self._server = server
        self._inside = ["ip", "netns", "exec", lab.members[0].name, sys.executable]
        if kind not in PROCESSES:
            self._operator("make")

    def stop(self) -> None:
        """Freeze it: it no longer answers, and keeps its data."""
        self._server.freeze()

    def start(self) -> None:
        """End `stop`."""
        self._server.thaw()

    def wipe(self) -> None:
        """Delete the table, bucket or container and make it again; delete all data of a fake."""
        if self._kind in PROCESSES:
            subprocess.run([*self._inside, "-c", _DELETED, self.url], check=True)
        else:
            self._operator("wipe")

    def _operator(self, verb: str) -> None:
        url = _account(self._kind, self.url)
        command = [*self._inside, "-m", "tests.lab.stores.operator", verb, self._kind, url, _NAME]
        subprocess.run(command, cwd=moto.ROOT, check=True)


Witness = EtcdWitness | Standin


def allowed(kind: str, lease: float) -> float:
    """Return the lease, or the shortest one that the store allows. Seconds."""
    return max(lease, _LEAST_LEASES.get(kind, 0.0))


def options(kind: str, url: str, name: str = _NAME, directory: Path = ROOT) -> dict[str, Any]:
    """Return the configuration of a store whose server is at that URL. Writes files that it needs into `directory`."""
    if kind in PROCESSES:
        return {"type": kind, **PROCESSES[kind][1](url, directory)}
    if kind == "etcd":
        return {"type": kind, "endpoints": [url]}
    if kind == "azure_blob":
        return {
            "type": kind,
            "account": azurite.ACCOUNT,
            "container": name,
            "endpoint": _account(kind, url),
            "account_key_file": str(azurite.key_file(directory)),
        }
    where = {"table": name} if kind == "dynamodb" else {"bucket": name}
    return {"type": kind, "region": moto.REGION, "endpoint_url": url, **where}


def _account(kind: str, url: str) -> str:
    """Return the account's URL: Azurite serves each account under a path of its own."""
    return f"{url}/{azurite.ACCOUNT}" if kind == "azure_blob" else url


@contextmanager
def witness(kind: str, lab: Lab, host: str | None = None) -> Iterator[Witness | None]:
    """Yield the store of this type; None for `file`, which is not a process.

    `host`: where it listens, if not on the LAN.
    """
    if kind == "file":
        yield None
    elif kind == "etcd":
        with etcd_cluster(lab, host) as cluster:
            yield EtcdWitness(cluster)
    else:
        member = lab.members[0]
        with _server(kind, host or member.address, ("ip", "netns", "exec", member.name)) as server:
            yield Standin(kind, server, lab)


def etcd_cluster(lab: Lab, host: str | None = None) -> EtcdCluster:
    """Start etcd with its default timing, data in memory, and no member on a node that is hurt."""
    hosts = [host or member.address for member in lab.members]
    return start_etcd(len(hosts), ROOT, hosts, [member.name for member in lab.members])


def _server(kind: str, host: str, inside: tuple[str, ...]) -> Server:
    if kind in PROCESSES:
        return start_fake(PROCESSES[kind][0], ROOT / "fake.log", host=host, inside=inside)
    os.environ.update(moto.CREDENTIALS)  # the daemons inherit them
    begin = azurite.start_azurite if kind == "azure_blob" else moto.start_moto
    return begin(ROOT / "cloud.log", host=host, port=_PORT, inside=inside)
