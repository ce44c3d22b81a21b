"""The store in the lab: etcd's members, or one stand-in for a cloud's store, each on hosts of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from controller.demo.lab import ROOT, Lab
from tests.lab import azurite, moto
from tests.lab.etcd import EtcdCluster, start_etcd
from tests.lab.fakes import PROCESSES
from tests.lab.servers import Server
from tests.lab.serving import start_fake

MEMBERS: Mapping[str, int] = {
    "etcd": 3,
    "file": 0,
    "dynamodb": 1,
    "s3": 1,
    "azure_blob": 1,
    **dict.fromkeys(PROCESSES, 1),
}
CLOUD = frozenset({"dynamodb", "s3", "azure_blob", *PROCESSES})
_NAME = "anyvip"  # of the table, the bucket, the container
_PORT = 5000


class Witness(Protocol):
    """What keeps the store, as far as faults may take hold of it. `config` is the section of the configuration."""

    config: Mapping[str, Any]

    def stop(self) -> None:
        """It no longer answers; what it holds is kept."""

    def start(self) -> None:
        """End `stop`."""

    def wipe(self) -> None:
        """All that it holds is deleted."""


class EtcdWitness:
    """Three members, killed and started again."""

    def __init__(self, cluster: EtcdCluster) -> None:
        self.config: Mapping[str, Any] = {"type": "etcd", "endpoints": cluster.endpoints}
        self._cluster = cluster

    def stop(self) -> None:
        """Kill every member."""
        self._cluster.stop()

    def start(self) -> None:
        """Start every member with the data of before."""
        for member in self._cluster.members:
            member.start()

    def wipe(self) -> None:
        """Not for etcd: it has no bucket that one deletes."""
        raise NotImplementedError


class CloudWitness:
    """moto or Azurite, which keep everything in memory: frozen and thawed."""

    def __init__(self, kind: str, server: Server, lab: Lab) -> None:
        self._kind = kind
        self._server = server
        self._lab = lab
        self._url = f"{server.url}/{azurite.ACCOUNT}" if kind == "azure_blob" else server.url
        self._operator("make")
        self.config: Mapping[str, Any] = options(kind, self._url)

    def stop(self) -> None:
        """Freeze it."""
        self._server.freeze()

    def start(self) -> None:
        """Thaw it."""
        self._server.thaw()

    def wipe(self) -> None:
        """Delete the table, bucket or container, and make it again."""
        self._operator("wipe")

    def _operator(self, verb: str) -> None:
        inside = ["ip", "netns", "exec", self._lab.members[0].name]
        command = [*inside, sys.executable, "-m", "tests.lab.operator", verb, self._kind, self._url, _NAME]
        subprocess.run(command, cwd=moto.ROOT, check=True)


class FakeWitness:
    """A fake of Consul, Kubernetes or Google Cloud Storage, which keeps everything in memory: frozen and thawed."""

    def __init__(self, kind: str, server: Server, lab: Lab) -> None:
        self._server = server
        self._lab = lab
        self.config: Mapping[str, Any] = {"type": kind, **PROCESSES[kind][1](server.url, ROOT)}

    def stop(self) -> None:
        """Freeze it."""
        self._server.freeze()

    def start(self) -> None:
        """Thaw it."""
        self._server.thaw()

    def wipe(self) -> None:
        """Delete all that it holds."""
        asked = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='DELETE'), timeout=10)"
        inside = ["ip", "netns", "exec", self._lab.members[0].name]
        subprocess.run([*inside, sys.executable, "-c", asked, self._server.url], check=True)


def options(kind: str, url: str, name: str = _NAME, directory: Path = ROOT) -> dict[str, Any]:
    """The configuration of a store on that stand-in; a key is put into the directory."""
    if kind == "azure_blob":
        key = str(azurite.key_file(directory))
        return {
            "type": kind,
            "account": azurite.ACCOUNT,
            "container": name,
            "endpoint": url,
            "account_key_file": key,
        }
    where = {"table": name} if kind == "dynamodb" else {"bucket": name}
    return {"type": kind, "region": moto.REGION, "endpoint_url": url, **where}


@contextmanager
def witness(kind: str, lab: Lab, host: str | None = None) -> Iterator[Witness | None]:
    """The store of this type; None for `file`, which is no process. `host`: where it listens, if not on the LAN."""
    if kind == "file":
        yield None
    elif kind == "etcd":
        with etcd_cluster(lab) as cluster:
            yield EtcdWitness(cluster)
    elif kind in PROCESSES:
        member = lab.members[0]
        inside = ("ip", "netns", "exec", member.name)
        with start_fake(PROCESSES[kind][0], ROOT / "fake.log", host=host or member.address, inside=inside) as server:
            yield FakeWitness(kind, server, lab)
    else:
        member = lab.members[0]
        inside = ("ip", "netns", "exec", member.name)
        os.environ.update(moto.CREDENTIALS)  # the daemons' too
        begin = azurite.start_azurite if kind == "azure_blob" else moto.start_moto
        with begin(ROOT / "cloud.log", host=host or member.address, port=_PORT, inside=inside) as server:
            yield CloudWitness(kind, server, lab)


def etcd_cluster(lab: Lab) -> EtcdCluster:
    """With etcd's default timing, data in memory, and no member on a node that is hurt."""
    hosts, spaces = [member.address for member in lab.members], [member.name for member in lab.members]
    return start_etcd(len(hosts), ROOT, hosts, spaces)
